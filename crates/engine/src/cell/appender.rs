//! Making arrays of an exact Arrow type out of values.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use stet_domain::value::nanoseconds_of;
use stet_domain::{ColumnType, Value};

use super::reader::nanoseconds_in;
use super::stored::{day_of, stored, whole_units};
use super::{arrow_type_of, column_type_of};
use crate::error::EngineError;

/// Builds an array of one exact Arrow type, value by value.
#[derive(Debug)]
pub struct Appender {
    data_type: DataType,
    builder: Builder,
}

#[derive(Debug)]
enum Builder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Unsigned(UInt64Builder),
    Number(Float64Builder),
    Decimal(Decimal128Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    /// Counts of the unit since 1970-01-01.
    Time(Int64Builder, TimeUnit),
    /// A type that Stet does not edit: only nulls can be appended.
    Nulls(usize),
}

impl Appender {
    /// An empty array of this type with room for `capacity` values.
    pub fn new(data_type: &DataType, capacity: usize) -> Appender {
        let mut exact = data_type;
        while let DataType::Dictionary(_, values) = exact {
            exact = values;
        }
        let builder = match (column_type_of(exact), exact) {
            (_, DataType::UInt64) => Builder::Unsigned(UInt64Builder::with_capacity(capacity)),
            (ColumnType::Text, _) => Builder::Text(StringBuilder::with_capacity(capacity, capacity * 8)),
            (ColumnType::Integer, _) => Builder::Integer(Int64Builder::with_capacity(capacity)),
            (ColumnType::Number, _) => Builder::Number(Float64Builder::with_capacity(capacity)),
            (column_type @ ColumnType::Decimal { .. }, _) => {
                Builder::Decimal(Decimal128Builder::with_capacity(capacity).with_data_type(arrow_type_of(column_type)))
            }
            (ColumnType::Boolean, _) => Builder::Boolean(BooleanBuilder::with_capacity(capacity)),
            (ColumnType::Date, _) => Builder::Date(Date32Builder::with_capacity(capacity)),
            (_, DataType::Timestamp(unit, _)) => Builder::Time(Int64Builder::with_capacity(capacity), *unit),
            _ => Builder::Nulls(0),
        };
        Appender { data_type: data_type.clone(), builder }
    }

    /// How many values were appended.
    pub fn len(&self) -> usize {
        use arrow_array::builder::ArrayBuilder;
        match &self.builder {
            Builder::Text(builder) => builder.len(),
            Builder::Integer(builder) | Builder::Time(builder, _) => builder.len(),
            Builder::Unsigned(builder) => builder.len(),
            Builder::Number(builder) => builder.len(),
            Builder::Decimal(builder) => builder.len(),
            Builder::Boolean(builder) => builder.len(),
            Builder::Date(builder) => builder.len(),
            Builder::Nulls(count) => *count,
        }
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a null.
    pub fn append_null(&mut self) {
        match &mut self.builder {
            Builder::Text(builder) => builder.append_null(),
            Builder::Integer(builder) | Builder::Time(builder, _) => builder.append_null(),
            Builder::Unsigned(builder) => builder.append_null(),
            Builder::Number(builder) => builder.append_null(),
            Builder::Decimal(builder) => builder.append_null(),
            Builder::Boolean(builder) => builder.append_null(),
            Builder::Date(builder) => builder.append_null(),
            Builder::Nulls(count) => *count += 1,
        }
    }

    /// Appends a value, or null for none. False, and nothing appended, when the type cannot hold the value: see
    /// [`stored`].
    #[must_use]
    pub fn append(&mut self, value: Option<Value>) -> bool {
        let Some(value) = value else {
            self.append_null();
            return true;
        };
        let Some(value) = stored(&self.data_type, value) else { return false };
        match (&mut self.builder, value) {
            (Builder::Text(builder), Value::Text(text)) => builder.append_value(text),
            (Builder::Integer(builder), Value::Integer(integer)) => builder.append_value(integer),
            (Builder::Unsigned(builder), Value::Decimal(digits, _)) => match u64::try_from(digits) {
                Ok(digits) => builder.append_value(digits),
                Err(_) => return false,
            },
            (Builder::Number(builder), Value::Number(number)) => builder.append_value(number),
            (Builder::Decimal(builder), Value::Decimal(digits, _)) => builder.append_value(digits),
            (Builder::Boolean(builder), Value::Boolean(boolean)) => builder.append_value(boolean),
            (Builder::Date(builder), Value::Date(date)) => match i32::try_from(day_of(date)) {
                Ok(day) => builder.append_value(day),
                Err(_) => return false,
            },
            (Builder::Time(builder, unit), value) => {
                let nanoseconds = match value {
                    Value::DateTime(time) | Value::Instant(time) => Some(nanoseconds_of(time)),
                    _ => None,
                };
                match nanoseconds.and_then(|nanoseconds| whole_units(nanoseconds, nanoseconds_in(*unit))) {
                    Some(units) => builder.append_value(units),
                    None => return false,
                }
            }
            _ => return false,
        }
        true
    }

    /// The array of what was appended, in the exact type; the appender is then empty again.
    ///
    /// # Errors
    /// When a dictionary type has too few keys for the distinct values.
    pub fn finish(&mut self) -> Result<ArrayRef, EngineError> {
        let plain: ArrayRef = match &mut self.builder {
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Integer(builder) | Builder::Time(builder, _) => Arc::new(builder.finish()),
            Builder::Unsigned(builder) => Arc::new(builder.finish()),
            Builder::Number(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder) => Arc::new(builder.finish()),
            Builder::Boolean(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Nulls(count) => new_null_array(&self.data_type, std::mem::take(count)),
        };
        if *plain.data_type() == self.data_type {
            return Ok(plain);
        }
        // Every value fits by now, so a cast that cannot keep one is an error rather than a null.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&plain, &self.data_type, &options).map_err(|source| EngineError::Internal {
            action: "making a column of edited values",
            source: source.into(),
        })
    }
}
