//! Exports: datasets and editlogs in a form that other programs read.

use std::io::Write;
use std::path::Path;

use arrow_array::RecordBatch;
use stet_domain::project::Column;
use stet_domain::value::datetime_of;
use stet_domain::{ColumnType, Event, Value};

use crate::cell::{Appender, schema_of};
use crate::control::Control;
use crate::error::EngineError;
use crate::read::FileSource;
use crate::write::{DatasetWriter, WriteOptions, Written, write_file, write_to};

const BATCH_ROWS: usize = 8_192;
const BATCH_EVENTS: usize = 8_192;

/// Writes the rows of a dataset to anything (a response, standard output); gives it back with the count of rows.
///
/// # Errors
/// When the dataset cannot be read or the rows not written, and when the work is cancelled: what was written until then
/// is not whole.
pub fn export<W: Write + Send>(
    source: &FileSource,
    out: W,
    options: WriteOptions,
    control: &Control,
) -> Result<(W, u64), EngineError> {
    write_to(out, source.batches(None, BATCH_ROWS)?, options, control)
}

/// Writes the rows of a dataset to a file that appears when it is whole.
///
/// # Errors
/// As [`export`]; what stood in the file's place is untouched then.
pub fn export_file(
    source: &FileSource,
    path: &Path,
    options: WriteOptions,
    control: &Control,
) -> Result<Written, EngineError> {
    write_file(path, source.batches(None, BATCH_ROWS)?, options, control)
}

/// The result of the step that reads events: the caller's own error stays what it is.
pub type ExportedEvent<E> = Result<Event, E>;

/// The columns of an exported editlog: the six plain ones of the log first, then what stands beside them.
fn event_columns() -> Vec<Column> {
    let column = |(name, column_type): (&str, ColumnType)| Column { name: name.to_owned(), column_type };
    [
        ("id", ColumnType::Integer),
        ("date", ColumnType::Instant),
        ("user", ColumnType::Text),
        ("action", ColumnType::Text),
        ("key", ColumnType::Text),
        ("column_name", ColumnType::Text),
        ("value", ColumnType::Text),
        ("previous", ColumnType::Text),
        ("batch_id", ColumnType::Text),
        ("source", ColumnType::Text),
        ("reason", ColumnType::Text),
        ("event_id", ColumnType::Text),
    ]
    .map(column)
    .into()
}

/// Writes the events of an editlog, in their order; gives `out` back with the count of events.
///
/// # Errors
/// When an event cannot be read (the caller's error) or written, and when the work is cancelled.
pub fn write_events<W: Write + Send, E: From<EngineError>>(
    events: impl Iterator<Item = ExportedEvent<E>>,
    out: W,
    options: WriteOptions,
    control: &Control,
) -> Result<(W, u64), E> {
    let schema = schema_of(&event_columns());
    let appenders = || -> Vec<Appender> {
        schema.fields().iter().map(|field| Appender::new(field.data_type(), BATCH_EVENTS)).collect()
    };
    let mut writer = DatasetWriter::new(out, &schema, options)?;
    let mut batch = appenders();
    let mut count = 0u64;
    let mut flush = |appenders: &mut Vec<Appender>| -> Result<(), EngineError> {
        let arrays: Result<Vec<_>, _> = appenders.iter_mut().map(Appender::finish).collect();
        let batch = RecordBatch::try_new(schema.clone(), arrays?)
            .map_err(|source| EngineError::Internal { action: "making rows", source: Box::new(source) })?;
        writer.write(&batch)
    };
    for event in events {
        append_event(&mut batch, event?);
        count += 1;
        if count.is_multiple_of(BATCH_EVENTS as u64) {
            flush(&mut batch)?;
            control.report(count, None)?;
        }
    }
    flush(&mut batch)?;
    Ok((writer.finish()?, count))
}

fn append_event(appenders: &mut [Appender], event: Event) {
    let text = |text: String| Some(Value::Text(text));
    let values = [
        Some(Value::Integer(event.id.0)),
        datetime_of(i128::from(event.date.micros()) * 1_000).map(Value::Instant),
        text(event.user.into()),
        text(event.action.to_string()),
        text(event.key.as_str().to_owned()),
        event.column_name.map(Value::Text),
        event.value.map(Value::Text),
        event.previous.map(Value::Text),
        text(event.batch_id.to_string()),
        text(event.source.to_string()),
        event.reason.map(Value::Text),
        text(event.event_id.0.to_string()),
    ];
    for (appender, value) in appenders.iter_mut().zip(values) {
        if !appender.append(value) {
            appender.append_null();
        }
    }
}
