//! Rows as texts, for data that comes from or goes to a place that the engine does not know, such as a database.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use stet_domain::project::{Column, Format};
use stet_domain::{ColumnType, Value};

use crate::cell::{Appender, CellReader, schema_of};
use crate::control::Control;
use crate::error::EngineError;
use crate::read::{Batches, FileSource};
use crate::write::{AtomicFile, DatasetWriter, WriteOptions, Written, at, write_file};

const BATCH_ROWS: usize = 8_192;

/// A batch ends early at this size, in bytes of its texts.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A row: texts that read as the types of their columns, none for null.
pub type TextRow = Vec<Option<String>>;

/// Writes rows to a Parquet file, which appears when it is whole. `rows` is called with the place to put them.
///
/// # Errors
/// When a text does not read as its column's type, with the row; when the file cannot be written; what `rows` answers.
pub fn write_rows<E: From<EngineError>>(
    path: &Path,
    columns: &[Column],
    rows: impl FnOnce(&mut (dyn FnMut(TextRow) -> Result<(), EngineError> + Send)) -> Result<(), E>,
) -> Result<Written, E> {
    let schema = schema_of(columns);
    let file = AtomicFile::create(path)?;
    let mut writer = DatasetWriter::new(file, &schema, WriteOptions::from(Format::Parquet))?;
    let new_appenders =
        || -> Vec<Appender> { schema.fields().iter().map(|field| Appender::new(field.data_type(), 1024)).collect() };
    let mut appenders = new_appenders();
    let (mut waiting, mut bytes, mut written) = (0usize, 0usize, 0u64);
    let mut flush = |appenders: &mut Vec<Appender>, rows: usize| -> Result<(), EngineError> {
        let arrays: Result<Vec<_>, _> = appenders.iter_mut().map(Appender::finish).collect();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays?, &options)
            .map_err(|source| EngineError::Internal { action: "making rows", source: Box::new(source) })?;
        writer.write(&batch).map_err(|error| at(path, error))
    };
    rows(&mut |row| {
        for ((appender, column), text) in appenders.iter_mut().zip(columns).zip(row) {
            bytes += text.as_ref().map_or(0, String::len);
            let wrong = |message: String| EngineError::BadData {
                path: path.to_owned(),
                place: format!("row {}, column `{}`", written + 1, column.name),
                message,
            };
            let value = match (column.column_type, text) {
                (_, None) => None,
                // A text has no limit here but that of the row.
                (ColumnType::Text | ColumnType::Other, Some(text)) => Some(Value::Text(text)),
                (column_type, Some(text)) => Some(column_type.read(&text).map_err(|error| wrong(error.to_string()))?),
            };
            if !appender.append(value) {
                return Err(wrong("the value is beyond what the column can hold".to_owned()));
            }
        }
        written += 1;
        waiting += 1;
        if waiting == BATCH_ROWS || bytes > BATCH_BYTES_MAX {
            flush(&mut appenders, waiting)?;
            (waiting, bytes) = (0, 0);
        }
        Ok(())
    })?;
    if waiting > 0 {
        flush(&mut appenders, waiting)?;
    }
    let file = writer.finish().map_err(|error| at(path, error))?;
    Ok(Written { rows: written, file: file.commit()?, columns: columns.to_vec() })
}

/// Writes the rows of a dataset to a Parquet file with their numbers, from 1 on, as a column of this name before the others,
/// which are as they were.
///
/// # Errors
/// When the data cannot be read or the file not written, and when the work is cancelled.
pub fn write_numbered(source: &FileSource, name: &str, path: &Path, control: &Control) -> Result<Written, EngineError> {
    let input = source.batches(None, BATCH_ROWS)?;
    let mut fields = vec![Arc::new(Field::new(name, DataType::Int64, false))];
    fields.extend(input.schema.fields().iter().cloned());
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let numbered = schema.clone();
    let mut rows = 0i64;
    let batches = input.batches.map(move |batch| {
        let batch = batch?;
        // No dataset has 2^63 rows.
        let to = rows + batch.num_rows() as i64;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows + 1..=to));
        rows = to;
        let columns = std::iter::once(numbers).chain(batch.columns().iter().cloned()).collect();
        RecordBatch::try_new(numbered.clone(), columns)
            .map_err(|source| EngineError::Internal { action: "numbering rows", source: Box::new(source) })
    });
    let numbered = Batches { schema, batches: Box::new(batches) };
    write_file(path, numbered, WriteOptions::from(Format::Parquet), control)
}

/// Gives every row of a dataset in files, as canonical texts.
///
/// # Errors
/// When the data cannot be read, or the work is cancelled; what `visit` answers.
pub fn read_rows<E: From<EngineError>>(
    source: &FileSource,
    control: &Control,
    visit: &mut dyn FnMut(TextRow) -> Result<(), E>,
) -> Result<u64, E> {
    let mut rows = 0;
    for batch in source.batches(None, BATCH_ROWS)?.batches {
        let batch = batch?;
        let readers: Vec<CellReader<'_>> =
            batch.columns().iter().map(|array| CellReader::new(array.as_ref())).collect();
        for row in 0..batch.num_rows() {
            visit(readers.iter().map(|reader| reader.text(row)).collect())?;
        }
        rows += batch.num_rows() as u64;
        control.report(rows, None)?;
    }
    Ok(rows)
}
