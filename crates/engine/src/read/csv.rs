//! CSV files: UTF-8 with an optional byte order mark, a header line, quotes as in RFC 4180. An empty field is null.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::RecordBatch;
use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};
use stet_domain::project::Column;

use super::infer::Candidates;
use super::typed::{BatchBuilder, Layout};
use super::{FileSource, RECORD_BYTES_MAX, check_names, place_columns};
use crate::error::EngineError;

const BUFFER_BYTES: usize = 1024 * 1024;

/// The columns of CSV files without declared ones: names from the header, types from all values.
pub(super) fn infer(source: &FileSource, files: &[PathBuf]) -> Result<Vec<Column>, EngineError> {
    let mut columns: Vec<Column> = Vec::new();
    let mut candidates: Vec<Candidates> = Vec::new();
    for (index, path) in files.iter().enumerate() {
        let mut file = OpenCsv::open(source, path)?;
        if index == 0 {
            columns = file
                .names
                .iter()
                .map(|name| Column { name: name.clone(), column_type: stet_domain::ColumnType::Text })
                .collect();
            candidates = vec![Candidates::new(); columns.len()];
        }
        let places = place_columns(source, path, &file.names, &columns)?;
        while file.next(source)? {
            for (candidate, place) in candidates.iter_mut().zip(&places) {
                let field = file.field(source, *place)?;
                if !field.is_empty() {
                    candidate.see_text(field);
                }
            }
        }
    }
    for (column, candidate) in columns.iter_mut().zip(&candidates) {
        column.column_type = candidate.column_type();
    }
    Ok(columns)
}

/// The rows of CSV files as batches.
pub(super) fn stream(layout: Layout, files: Vec<PathBuf>) -> Result<CsvStream, EngineError> {
    let builder = layout.builder();
    let mut stream = CsvStream { layout, files: files.into_iter(), open: None, builder, failed: false };
    // The first header is checked at once: a wrong column is an error of the call, not of the first batch.
    stream.open_next()?;
    Ok(stream)
}

/// The line on which each of these rows starts.
pub(super) fn lines_of(files: &[PathBuf], rows: &[u64]) -> Result<Vec<(u64, PathBuf, u64)>, EngineError> {
    let mut wanted: Vec<u64> = rows.to_vec();
    wanted.sort_unstable();
    let mut wanted = wanted.into_iter().peekable();
    let mut found = Vec::new();
    let mut row = 0;
    for path in files {
        let (mut reader, _) = reader(path)?;
        let mut record = ByteRecord::new();
        while wanted.peek().is_some() && reader.read_byte_record(&mut record).is_ok_and(|more| more) {
            while wanted.next_if_eq(&row).is_some() {
                found.push((row, path.clone(), record.position().map_or(0, |position| position.line())));
            }
            row += 1;
        }
    }
    Ok(found)
}

pub(super) struct CsvStream {
    layout: Layout,
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(OpenCsv, Vec<usize>)>,
    builder: BatchBuilder,
    failed: bool,
}

impl CsvStream {
    fn open_next(&mut self) -> Result<(), EngineError> {
        self.open = match self.files.next() {
            None => None,
            Some(path) => {
                let file = OpenCsv::open(&self.layout.source, &path)?;
                let places = place_columns(&self.layout.source, &path, &file.names, &self.layout.columns)?;
                let places = self.layout.projection.iter().map(|column| places[*column]).collect();
                Some((file, places))
            }
        };
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        while let Some((file, places)) = &mut self.open {
            let mut full = false;
            while !full && file.next(&self.layout.source)? {
                for (column, place) in places.iter().enumerate() {
                    let field = file.field(&self.layout.source, *place)?;
                    let field = Some(field).filter(|field| !field.is_empty());
                    self.builder.push(column, field).map_err(|message| {
                        let column = self.layout.projection[column];
                        self.layout.value_error(&file.path, file.line(), column, &message)
                    })?;
                }
                full = self.builder.end_row(self.layout.rows_max);
            }
            if full {
                return self.builder.finish(&self.layout.schema).map(Some);
            }
            self.open_next()?;
        }
        if self.builder.is_empty() { Ok(None) } else { self.builder.finish(&self.layout.schema).map(Some) }
    }
}

impl Iterator for CsvStream {
    type Item = Result<RecordBatch, EngineError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_batch().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// A CSV file that is being read, with the record at hand.
struct OpenCsv {
    path: PathBuf,
    reader: Reader<Limited>,
    /// Bytes read since the last record.
    since_record: Arc<AtomicUsize>,
    names: Vec<String>,
    record: ByteRecord,
}

impl OpenCsv {
    fn open(source: &FileSource, path: &Path) -> Result<OpenCsv, EngineError> {
        let (mut reader, since_record) = reader(path)?;
        let header = reader.byte_headers().map_err(|error| csv_error(source, path, error))?.clone();
        if header.is_empty() {
            return Err(source.bad_data(path, String::new(), "the file is empty: it needs a header line at least"));
        }
        if matches!(header.as_slice(), [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) {
            return Err(source.bad_data(path, String::new(), "the text is UTF-16: save the file as UTF-8"));
        }
        let names = header
            .iter()
            .map(|name| match std::str::from_utf8(name) {
                Ok(name) => Ok(name.to_owned()),
                Err(error) => Err(source.bad_data(path, "line 1".to_owned(), not_utf8(name, error))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_names(source, path, "line 1", &names)?;
        since_record.store(0, Ordering::Relaxed);
        Ok(OpenCsv { path: path.to_owned(), reader, since_record, names, record: ByteRecord::new() })
    }

    /// Moves to the next record; false at the end of the file.
    fn next(&mut self, source: &FileSource) -> Result<bool, EngineError> {
        self.since_record.store(0, Ordering::Relaxed);
        let more =
            self.reader.read_byte_record(&mut self.record).map_err(|error| csv_error(source, &self.path, error))?;
        if more && self.record.len() != self.names.len() {
            let message = format!(
                "the header has {} columns and this line {}: look for a missing or extra comma, or a quote that is not closed",
                self.names.len(),
                self.record.len()
            );
            return Err(source.bad_data(&self.path, format!("line {}", self.line()), message));
        }
        Ok(more)
    }

    /// The line on which the record at hand starts, from 1.
    fn line(&self) -> u64 {
        self.record.position().map_or(0, |position| position.line())
    }

    fn field(&self, source: &FileSource, place: usize) -> Result<&str, EngineError> {
        let bytes = &self.record[place];
        std::str::from_utf8(bytes).map_err(|error| {
            let place = format!("line {}, column `{}`", self.line(), self.names[place]);
            source.bad_data(&self.path, place, not_utf8(bytes, error))
        })
    }
}

fn reader(path: &Path) -> Result<(Reader<Limited>, Arc<AtomicUsize>), EngineError> {
    let file = File::open(path).map_err(EngineError::io("open", path))?;
    let since_record = Arc::new(AtomicUsize::new(0));
    let limited = Limited { file, since_record: since_record.clone() };
    let reader = ReaderBuilder::new().flexible(true).buffer_capacity(BUFFER_BYTES).from_reader(limited);
    Ok((reader, since_record))
}

/// A file that refuses to be read much further than one record may be long.
struct Limited {
    file: File,
    since_record: Arc<AtomicUsize>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_record.load(Ordering::Relaxed) > RECORD_BYTES_MAX {
            return Err(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                "a record is longer than 64 MB: a quote is probably not closed",
            ));
        }
        let read = self.file.read(buffer)?;
        self.since_record.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

fn csv_error(source: &FileSource, path: &Path, error: csv::Error) -> EngineError {
    let line = error.position().map(|position| format!("line {}", position.line())).unwrap_or_default();
    match error.into_kind() {
        ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            source.bad_data(path, line, error.to_string())
        }
        ErrorKind::Io(error) => EngineError::io("read", path)(error),
        _ => source.bad_data(path, line, "this is not CSV that can be read"),
    }
}

fn not_utf8(bytes: &[u8], error: std::str::Utf8Error) -> String {
    let at = error.valid_up_to();
    let shown: String = String::from_utf8_lossy(bytes).chars().take(60).collect();
    format!("the text `{shown}` is not UTF-8 (byte 0x{:02X}): save the file as UTF-8", bytes[at])
}
