//! Writing datasets: record batches to Parquet, CSV, JSON lines and JSON.
//!
//! The same rows always give the same bytes. Files appear whole or not at all (see [`AtomicFile`]).
//!
//! How cells are written, beside Parquet, which holds them as they are:
//!
//! | | CSV | JSON lines, JSON |
//! |---|---|---|
//! | null | nothing between the commas | `null` |
//! | empty text | `""` (a null of a dataset with one column too, since readers skip empty lines) | `""` |
//! | whole numbers | digits | a number with all its digits, 64 bits included |
//! | numbers | as in an editlog | a number; `"NaN"`, `"Infinity"` and `"-Infinity"` as texts, since JSON has none |
//! | decimals | all digits | a number up to 15 digits of precision, a text above, so that no reader rounds it |
//! | true and false | `true`, `false` | `true`, `false` |
//! | dates and times | ISO 8601 | ISO 8601 as text |
//! | nested values | JSON | JSON |
//! | binary values, times of day, durations | as Arrow shows them | the same as text |

mod csv;
mod file;
mod folder;
mod hashed;
mod json;
mod lock;
mod parquet;
mod target;

use std::io::Write;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use stet_domain::project::{Column, Format};

use crate::cell::columns_of;
use crate::control::Control;
use crate::error::EngineError;
use crate::read::Batches;

pub(crate) use file::temporary_prefix;
pub use file::{AtomicFile, Digested, digest_text};
pub(crate) use folder::AtomicFolder;
pub(crate) use json::push_json_text;
pub use lock::OutputLock;
pub use parquet::writer_properties;
pub(crate) use parquet::{ROW_GROUP_ROWS, parquet_error, plain};
pub(crate) use target::{Output, OutputWriter, is_folder};

/// The form in which rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values (RFC 4180) in UTF-8 with a header line; lines end with LF.
    Csv,
    /// One JSON object on each line.
    Jsonl,
    /// One JSON array of objects, one object on each line.
    Json,
}

impl From<Format> for OutputFormat {
    fn from(format: Format) -> OutputFormat {
        match format {
            Format::Csv => OutputFormat::Csv,
            Format::Parquet => OutputFormat::Parquet,
            Format::Jsonl => OutputFormat::Jsonl,
        }
    }
}

/// Whether texts that a spreadsheet would take for formulas stay as they are in CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Formulas {
    /// Every text stays as it is: for programs.
    #[default]
    Keep,
    /// A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets a `'` before it: for people, who may
    /// open the file in a spreadsheet. Numbers stay as they are.
    Defuse,
}

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// The form.
    pub format: OutputFormat,
    /// What becomes of formulas in CSV.
    pub formulas: Formulas,
}

impl From<Format> for WriteOptions {
    /// For programs: every text stays as it is.
    fn from(format: Format) -> WriteOptions {
        WriteOptions { format: format.into(), formulas: Formulas::Keep }
    }
}

/// Writes record batches in one of the forms.
pub enum DatasetWriter<W: Write + Send> {
    /// See [`OutputFormat::Parquet`].
    Parquet(Box<parquet::ParquetWriter<W>>),
    /// See [`OutputFormat::Csv`].
    Csv(csv::CsvWriter<W>),
    /// See [`OutputFormat::Jsonl`] and [`OutputFormat::Json`].
    Json(json::JsonWriter<W>),
}

/// What was written to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Size and hash of the file.
    pub file: Digested,
    /// The columns, with the types that the values had when they were written.
    pub columns: Vec<Column>,
}

impl<W: Write + Send> DatasetWriter<W> {
    /// Starts with the columns of `schema`.
    ///
    /// # Errors
    /// When the header cannot be written, or Parquet has no form for a column's type.
    pub fn new(out: W, schema: &SchemaRef, options: WriteOptions) -> Result<DatasetWriter<W>, EngineError> {
        Ok(match options.format {
            OutputFormat::Parquet => DatasetWriter::Parquet(Box::new(parquet::ParquetWriter::new(out, schema)?)),
            OutputFormat::Csv => DatasetWriter::Csv(csv::CsvWriter::new(out, schema, options.formulas)?),
            OutputFormat::Jsonl => DatasetWriter::Json(json::JsonWriter::lines(out, schema)?),
            OutputFormat::Json => DatasetWriter::Json(json::JsonWriter::array(out, schema)?),
        })
    }

    /// Writes the rows of a batch of the schema.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        match self {
            DatasetWriter::Parquet(writer) => writer.write(batch),
            DatasetWriter::Csv(writer) => writer.write(batch),
            DatasetWriter::Json(writer) => writer.write(batch),
        }
    }

    /// Ends the file and gives what it was written to.
    ///
    /// # Errors
    /// When the end cannot be written.
    pub fn finish(self) -> Result<W, EngineError> {
        match self {
            DatasetWriter::Parquet(writer) => writer.finish(),
            DatasetWriter::Csv(writer) => writer.finish(),
            DatasetWriter::Json(writer) => writer.finish(),
        }
    }
}

/// Writes a stream to a file that appears when it is whole.
///
/// # Errors
/// When the stream cannot be read or the file not written, and when the work is cancelled: what stood in the file's place
/// is untouched then.
pub fn write_file(
    path: &Path,
    batches: Batches,
    options: WriteOptions,
    control: &Control,
) -> Result<Written, EngineError> {
    let columns = columns_of(&batches.schema);
    let (file, rows) = write_to(AtomicFile::create(path)?, batches, options, control).map_err(|e| at(path, e))?;
    Ok(Written { rows, file: file.commit()?, columns })
}

/// Writes a stream to anything; gives it back with the count of rows.
///
/// # Errors
/// When the stream cannot be read or its rows not written, and when the work is cancelled.
pub fn write_to<W: Write + Send>(
    out: W,
    batches: Batches,
    options: WriteOptions,
    control: &Control,
) -> Result<(W, u64), EngineError> {
    let mut writer = DatasetWriter::new(out, &batches.schema, options)?;
    let mut rows = 0;
    for batch in batches.batches {
        let batch = batch?;
        writer.write(&batch)?;
        rows += batch.num_rows() as u64;
        control.report(rows, None)?;
    }
    Ok((writer.finish()?, rows))
}

/// Tells an error of writing with the path of the file that was written.
pub(crate) fn at(path: &Path, error: EngineError) -> EngineError {
    match error {
        EngineError::Io { action, path: unknown, source } if unknown.as_os_str().is_empty() => {
            EngineError::Io { action, path: path.to_owned(), source }
        }
        other => other,
    }
}

/// An IO error of writing; [`at`] adds the path where it is known.
fn io_error(source: std::io::Error) -> EngineError {
    EngineError::Io { action: "write", path: std::path::PathBuf::new(), source }
}
