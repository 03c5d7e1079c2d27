//! Typed columns out of text fields: what CSV and JSON lines have in common.

use std::path::Path;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
};
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{PrimitiveArray, TimestampMicrosecondArray};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use stet_domain::project::Column;
use stet_domain::{ColumnType, Value};

use super::{BATCH_BYTES_MAX, FileSource};
use crate::cell::{Ordered, arrow_type_of, ordered_value};
use crate::error::EngineError;

/// What a stream of batches is made to: settled before the first file is opened.
pub(super) struct Layout {
    pub source: FileSource,
    /// All columns of the dataset.
    pub columns: Vec<Column>,
    /// The places in `columns` that are wanted, in the wanted order.
    pub projection: Vec<usize>,
    /// The schema of the wanted columns.
    pub schema: SchemaRef,
    pub rows_max: usize,
}

/// A batch in the making.
pub(super) struct BatchBuilder {
    builders: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
}

enum ColumnBuilder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Decimal(Decimal128Builder, ColumnType),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    /// Microseconds since 1970-01-01.
    Time(Int64Builder, ColumnType),
}

impl Layout {
    /// An empty batch for this layout.
    pub fn builder(&self) -> BatchBuilder {
        let builders = self.projection.iter().map(|place| ColumnBuilder::new(self.columns[*place].column_type));
        BatchBuilder { builders: builders.collect(), rows: 0, bytes: 0 }
    }

    /// The error for a value that is not of its column's type.
    pub fn value_error(&self, path: &Path, line: u64, column: usize, message: &str) -> EngineError {
        let column = &self.columns[column];
        self.source.bad_data(
            path,
            format!("line {line}, column `{}`", column.name),
            format!("{message}. Correct the file, or declare the column with another type, such as `text`"),
        )
    }
}

impl BatchBuilder {
    /// Appends one field of the row in the making; `column` is a place in the projection. The error says why the text is
    /// not of the column's type.
    pub fn push(&mut self, column: usize, field: Option<&str>) -> Result<(), String> {
        self.bytes += field.map_or(0, str::len);
        self.builders[column].push(field)
    }

    /// Ends a row; true when the batch is full.
    pub fn end_row(&mut self, rows_max: usize) -> bool {
        self.rows += 1;
        self.rows >= rows_max || self.bytes >= BATCH_BYTES_MAX
    }

    /// Whether no row was ended.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The batch; the builder is then empty again.
    pub fn finish(&mut self, schema: &SchemaRef) -> Result<RecordBatch, EngineError> {
        let columns: Vec<ArrayRef> = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(|source| EngineError::Internal { action: "making a batch of rows", source: source.into() })
    }
}

impl ColumnBuilder {
    fn new(column_type: ColumnType) -> ColumnBuilder {
        match column_type {
            ColumnType::Text | ColumnType::Other => ColumnBuilder::Text(StringBuilder::new()),
            ColumnType::Integer => ColumnBuilder::Integer(Int64Builder::new()),
            ColumnType::Number => ColumnBuilder::Number(Float64Builder::new()),
            ColumnType::Decimal { .. } => {
                ColumnBuilder::Decimal(Decimal128Builder::new().with_data_type(arrow_type_of(column_type)), column_type)
            }
            ColumnType::Boolean => ColumnBuilder::Boolean(BooleanBuilder::new()),
            ColumnType::Date => ColumnBuilder::Date(Date32Builder::new()),
            ColumnType::DateTime | ColumnType::Instant => ColumnBuilder::Time(Int64Builder::new(), column_type),
        }
    }

    fn push(&mut self, field: Option<&str>) -> Result<(), String> {
        let read = |column_type: ColumnType, text: &str| column_type.read(text).map_err(|error| error.to_string());
        match (self, field) {
            (ColumnBuilder::Text(builder), field) => builder.append_option(field),
            (ColumnBuilder::Integer(builder), None) | (ColumnBuilder::Time(builder, _), None) => builder.append_null(),
            (ColumnBuilder::Number(builder), None) => builder.append_null(),
            (ColumnBuilder::Decimal(builder, _), None) => builder.append_null(),
            (ColumnBuilder::Boolean(builder), None) => builder.append_null(),
            (ColumnBuilder::Date(builder), None) => builder.append_null(),
            (ColumnBuilder::Integer(builder), Some(text)) => match text.parse::<i64>() {
                Ok(integer) => builder.append_value(integer),
                Err(_) => match read(ColumnType::Integer, text)? {
                    Value::Integer(integer) => builder.append_value(integer),
                    _ => builder.append_null(),
                },
            },
            (ColumnBuilder::Number(builder), Some(text)) => match read(ColumnType::Number, text)? {
                Value::Number(number) => builder.append_value(number),
                _ => builder.append_null(),
            },
            (ColumnBuilder::Decimal(builder, column_type), Some(text)) => match read(*column_type, text)? {
                Value::Decimal(digits, _) => builder.append_value(digits),
                _ => builder.append_null(),
            },
            (ColumnBuilder::Boolean(builder), Some(text)) => match read(ColumnType::Boolean, text)? {
                Value::Boolean(boolean) => builder.append_value(boolean),
                _ => builder.append_null(),
            },
            (ColumnBuilder::Date(builder), Some(text)) => {
                let value = read(ColumnType::Date, text)?;
                let day = match ordered_value(&value) {
                    Ordered::Integer(day) => i32::try_from(day).ok(),
                    _ => None,
                };
                builder.append_value(day.ok_or_else(|| format!("`{text}` is too far from the present"))?);
            }
            (ColumnBuilder::Time(builder, column_type), Some(text)) => {
                let value = read(*column_type, text)?;
                let nanoseconds = match ordered_value(&value) {
                    Ordered::Integer(nanoseconds) => nanoseconds,
                    _ => return Err(format!("`{text}` is too far from the present")),
                };
                if nanoseconds % 1_000 != 0 {
                    return Err(format!("`{text}` has more than six digits after the second"));
                }
                let micros = i64::try_from(nanoseconds / 1_000);
                builder.append_value(micros.map_err(|_| format!("`{text}` is too far from the present"))?);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Text(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Integer(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Number(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Decimal(builder, _) => Arc::new(builder.finish()),
            ColumnBuilder::Boolean(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Date(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Time(builder, column_type) => {
                let micros: PrimitiveArray<Int64Type> = builder.finish();
                let times: TimestampMicrosecondArray = micros.reinterpret_cast::<TimestampMicrosecondType>();
                match column_type {
                    ColumnType::Instant => Arc::new(times.with_timezone("UTC")),
                    _ => Arc::new(times),
                }
            }
        }
    }
}
