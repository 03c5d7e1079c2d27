//! Cells: how the values of Stet and the arrays of Arrow stand for each other.
//!
//! [`CellReader`] gives canonical text and typed values out of an array, [`Appender`] makes an array of an exact Arrow
//! type out of values, and [`stored`] says what a column of an exact type makes of a value.

mod appender;
mod nested;
mod reader;
mod stored;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use stet_domain::ColumnType;
use stet_domain::project::Column;
use stet_domain::value::DECIMAL_PRECISION_MAX;

pub use appender::Appender;
pub(crate) use reader::one_nan;
pub use reader::{CellReader, Ordered};
pub(crate) use stored::holding;
pub use stored::{ordered_value, stored};

/// The most digits of an unsigned integer of 64 bits.
const UINT64_PRECISION: u8 = 20;

/// What Stet takes a column of an Arrow type to hold. Every integer but `UInt64` is an integer; `UInt64`, whose upper half
/// does not fit 64 bits with a sign, is a decimal of 20 digits; dictionaries are what their values are.
pub fn column_type_of(data_type: &DataType) -> ColumnType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::Text,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => ColumnType::Integer,
        DataType::UInt64 => ColumnType::Decimal { precision: UINT64_PRECISION, scale: 0 },
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ColumnType::Number,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => decimal(*precision, *scale),
        DataType::Boolean => ColumnType::Boolean,
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(_, None) => ColumnType::DateTime,
        DataType::Timestamp(_, Some(_)) => ColumnType::Instant,
        DataType::Dictionary(_, values) => column_type_of(values),
        _ => ColumnType::Other,
    }
}

fn decimal(precision: u8, scale: i8) -> ColumnType {
    match u8::try_from(scale) {
        Ok(scale) if (1..=DECIMAL_PRECISION_MAX).contains(&precision) && scale <= precision => {
            ColumnType::Decimal { precision, scale }
        }
        _ => ColumnType::Other,
    }
}

/// The Arrow type of a column that has no exact type of its own: one that is read from text, or that a webapp adds.
/// [`ColumnType::Other`] becomes text, so that it can be shown.
pub fn arrow_type_of(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Text | ColumnType::Other => DataType::Utf8,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale.min(precision) as i8),
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Date => DataType::Date32,
        ColumnType::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
    }
}

/// What Stet takes a column to hold: by its type, and by what [`schema_of`] noted of texts that are JSON.
pub fn column_type_of_field(field: &Field) -> ColumnType {
    if is_json(field) { ColumnType::Other } else { column_type_of(field.data_type()) }
}

/// The columns of an Arrow schema, in its order.
pub fn columns_of(schema: &Schema) -> Vec<Column> {
    schema
        .fields()
        .iter()
        .map(|field| Column { name: field.name().clone(), column_type: column_type_of_field(field) })
        .collect()
}

/// What is noted of a column of texts that are JSON: nested values of JSON lines. Other programs know the name of Arrow's
/// own extension type; the other note tells such a column from a text that some program calls JSON, which can be edited.
const JSON_NOTES: [(&str, &str); 3] =
    [("ARROW:extension:name", "arrow.json"), ("ARROW:extension:metadata", ""), ("stet", "nested")];

/// Whether the texts of a column are nested values, as JSON.
pub fn is_json(field: &Field) -> bool {
    let is_text = column_type_of(field.data_type()) == ColumnType::Text;
    is_text && JSON_NOTES.iter().all(|(name, note)| field.metadata().get(name).is_some_and(|found| found == note))
}

/// The Arrow schema of columns that have no exact types of their own; every column may hold nulls.
pub fn schema_of(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| {
        let field = Field::new(&column.name, arrow_type_of(column.column_type), true);
        match column.column_type {
            ColumnType::Other => {
                let notes = JSON_NOTES.iter().map(|(name, note)| ((*name).to_owned(), (*note).to_owned()));
                field.with_metadata(notes.collect::<HashMap<String, String>>())
            }
            _ => field,
        }
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The canonical text of one cell; none for null. For many cells of one array make a [`CellReader`] once.
pub fn text(array: &dyn Array, row: usize) -> Option<String> {
    CellReader::new(array).text(row)
}
