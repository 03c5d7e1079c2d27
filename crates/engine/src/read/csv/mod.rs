//! CSV files: with an optional byte order mark, a header line, the delimiter and the encoding that the dataset names, quotes
//! as in RFC 4180. An empty field is null; in quotes it is the empty text, in columns of text.

mod decode;
mod records;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use stet_domain::ColumnType;
use stet_domain::project::{Column, Delimiter, Encoding};

use self::decode::decoded;
use self::records::{Record, RecordError, Records};

use super::infer::Candidates;
use super::typed::{BatchBuilder, Layout};
use super::{FileSource, RECORD_BYTES_MAX, UTF16, check_count, check_names, open_text, place_columns};
use crate::error::EngineError;

/// The columns of CSV files without declared ones: names from the header, types from all values.
pub(super) fn infer(source: &FileSource, files: &[PathBuf]) -> Result<Vec<Column>, EngineError> {
    let mut columns: Vec<Column> = Vec::new();
    let mut candidates: Vec<Candidates> = Vec::new();
    for (index, path) in files.iter().enumerate() {
        let mut file = OpenCsv::open(source, path)?;
        if index == 0 {
            columns =
                file.names.iter().map(|name| Column { name: name.clone(), column_type: ColumnType::Text }).collect();
            candidates = vec![Candidates::new(); columns.len()];
        }
        let places = place_columns(source, path, &file.names, &columns)?;
        while file.next(source)? {
            for (candidate, place) in candidates.iter_mut().zip(&places) {
                let (field, _) = file.field(source, *place)?;
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
    let is_text = |place: &usize| layout.columns[*place].column_type == ColumnType::Text;
    let is_text = layout.projection.iter().map(is_text).collect();
    let mut stream = CsvStream { layout, files: files.into_iter(), open: None, builder, is_text, failed: false };
    // The first header is checked at once: a wrong column is an error of the call, not of the first batch.
    stream.open_next()?;
    Ok(stream)
}

/// The line on which each of these rows starts.
pub(super) fn lines_of(
    source: &FileSource,
    files: &[PathBuf],
    rows: &[u64],
) -> Result<Vec<(u64, PathBuf, u64)>, EngineError> {
    let mut wanted: Vec<u64> = rows.to_vec();
    wanted.sort_unstable();
    let mut wanted = wanted.into_iter().peekable();
    let mut found = Vec::new();
    let mut row = 0;
    for path in files {
        let (mut records, mut record) = (records_of(source, path)?, Record::default());
        // What cannot be read has no rows here; whoever reads the rows is told.
        let has_header = header(source, &mut records, &mut record).is_ok_and(|more| more);
        let mut next = |record: &mut Record| records.next(record).is_ok_and(|more| more);
        while has_header && wanted.peek().is_some() && next(&mut record) {
            while wanted.next_if_eq(&row).is_some() {
                found.push((row, path.clone(), record.line));
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
    /// For each wanted column whether it holds texts.
    is_text: Vec<bool>,
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
                    let (field, is_quoted) = file.field(&self.layout.source, *place)?;
                    // Quotes around nothing mean the empty text where there is one.
                    let is_null = field.is_empty() && !(is_quoted && self.is_text[column]);
                    let field = (!is_null).then_some(field);
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
    records: Records<Box<dyn Read + Send>>,
    names: Vec<String>,
    record: Record,
}

impl OpenCsv {
    fn open(source: &FileSource, path: &Path) -> Result<OpenCsv, EngineError> {
        let mut records = records_of(source, path)?;
        let mut header = Record::default();
        let found = self::header(source, &mut records, &mut header);
        if !found.map_err(|error| record_error(source, path, &header, error))? {
            return Err(source.bad_data(path, String::new(), "the file is empty: it needs a header line at least"));
        }
        if matches!(header.field(0).0, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) {
            return Err(source.bad_data(path, String::new(), UTF16));
        }
        let place = || format!("line {}", header.line);
        check_count(source, path, &place(), header.len())?;
        let mut names = (0..header.len())
            .map(|column| match std::str::from_utf8(header.field(column).0) {
                Ok(name) => Ok(name.to_owned()),
                Err(error) => Err(source.bad_data(path, place(), not_utf8(header.field(column).0, error))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_separator(source, path, &place(), &names)?;
        name_by_place(&mut names);
        check_names(source, path, &place(), &names)?;
        check_delimiter(source, path, &place(), &names)?;
        Ok(OpenCsv { path: path.to_owned(), records, names, record: header })
    }

    /// Moves to the next record; false at the end of the file.
    fn next(&mut self, source: &FileSource) -> Result<bool, EngineError> {
        let more = self.records.next(&mut self.record);
        let more = more.map_err(|error| record_error(source, &self.path, &self.record, error))?;
        if more && self.record.len() != self.names.len() {
            let message = format!(
                "the header has {} columns and this line {}: look for a missing or extra `{}`, or a quote that is not closed",
                self.names.len(),
                self.record.len(),
                source.csv.delimiter.written()
            );
            return Err(source.bad_data(&self.path, format!("line {}", self.line()), message));
        }
        Ok(more)
    }

    /// The line on which the record at hand starts, from 1.
    fn line(&self) -> u64 {
        self.record.line
    }

    /// A field's text and whether it stood in quotes.
    fn field(&self, source: &FileSource, place: usize) -> Result<(&str, bool), EngineError> {
        let (bytes, is_quoted) = self.record.field(place);
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok((text, is_quoted)),
            Err(error) => {
                let place = format!("line {}, column `{}`", self.line(), self.names[place]);
                Err(source.bad_data(&self.path, place, not_utf8(bytes, error)))
            }
        }
    }
}

/// What the first line of a file begins with that says in which way its fields are separated, as spreadsheets write it.
const SEPARATOR_LINE: &str = "sep=";

/// Reads the header: the first record, or the second one if the first says how fields are separated.
fn header(
    source: &FileSource,
    records: &mut Records<Box<dyn Read + Send>>,
    record: &mut Record,
) -> Result<bool, RecordError> {
    if !records.next(record)? {
        return Ok(false);
    }
    let delimiter = [source.csv.delimiter.byte()];
    // The delimiter itself ends a field, unless the line is in quotes.
    let is_separator = match record.len() {
        1 => record.field(0).0.strip_prefix(SEPARATOR_LINE.as_bytes()) == Some(&delimiter),
        2 => record.field(0).0 == SEPARATOR_LINE.as_bytes() && record.field(1).0.is_empty(),
        _ => false,
    };
    if is_separator { records.next(record) } else { Ok(true) }
}

/// A first line that names another delimiter than the dataset does is told.
fn check_separator(source: &FileSource, path: &Path, place: &str, names: &[String]) -> Result<(), EngineError> {
    let [name] = names else { return Ok(()) };
    let Some(named) = name.strip_prefix(SEPARATOR_LINE) else { return Ok(()) };
    match Delimiter::ALL.into_iter().find(|delimiter| named.as_bytes() == [delimiter.byte()]) {
        None => Ok(()),
        Some(delimiter) => {
            let message = format!(
                "the line says that fields are separated by `{0}`, and the dataset that they are by `{1}`: write \
                 `delimiter = \"{0}\"` in the file of the dataset",
                delimiter.written(),
                source.csv.delimiter.written(),
            );
            Err(source.bad_data(path, place.to_owned(), message))
        }
    }
}

/// Columns without a name in the header, such as the row numbers that data frames write, are called by their place.
fn name_by_place(names: &mut [String]) {
    for place in 0..names.len() {
        if !names[place].is_empty() {
            continue;
        }
        let mut name = format!("column_{}", place + 1);
        while names.contains(&name) {
            name.push('_');
        }
        names[place] = name;
    }
}

fn records_of(source: &FileSource, path: &Path) -> Result<Records<Box<dyn Read + Send>>, EngineError> {
    let file = open_text(source, path)?;
    let text = decoded(file, source.csv.encoding).map_err(EngineError::io("read", path))?;
    Ok(Records::new(text, source.csv.delimiter.byte(), RECORD_BYTES_MAX))
}

/// The first bytes of a file as text, for whoever guesses how it is written. What cannot be decoded ends them.
///
/// # Errors
/// When the file cannot be opened.
pub fn beginning(path: &Path, encoding: Encoding, bytes: u64) -> Result<Vec<u8>, EngineError> {
    let file = File::open(path).map_err(EngineError::io("open", path))?;
    let mut text = Vec::new();
    let decoded = decoded(file, encoding).map_err(EngineError::io("read", path))?;
    // What was read before an error is in `text`.
    let _ = decoded.take(bytes).read_to_end(&mut text);
    Ok(text)
}

/// A header of one name in which another delimiter stands is of a file with that delimiter, unless the name is declared.
fn check_delimiter(source: &FileSource, path: &Path, place: &str, names: &[String]) -> Result<(), EngineError> {
    let [name] = names else { return Ok(()) };
    if source.columns.iter().flatten().any(|column| column.name == *name) {
        return Ok(());
    }
    match Delimiter::ALL.into_iter().find(|delimiter| name.as_bytes().contains(&delimiter.byte())) {
        None => Ok(()),
        Some(delimiter) => {
            let message = format!(
                "the header is one column, `{}`: if its fields are separated by `{2}` and not by `{1}`, write \
                 `delimiter = \"{2}\"` in the file of the dataset; if it is one column, declare it in `columns`",
                name.chars().take(100).collect::<String>(),
                source.csv.delimiter.written(),
                delimiter.written(),
            );
            Err(source.bad_data(path, place.to_owned(), message))
        }
    }
}

fn record_error(source: &FileSource, path: &Path, record: &Record, error: RecordError) -> EngineError {
    match error {
        RecordError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            source.bad_data(path, format!("line {}", record.line), error.to_string())
        }
        RecordError::Io(error) => EngineError::io("read", path)(error),
        RecordError::TooLong => {
            let message = "a record is longer than 64 MB: a quote is probably not closed";
            source.bad_data(path, format!("line {}", record.line), message)
        }
        RecordError::Unclosed(line) => {
            let message = "the quote that is opened here is not closed: write \"\" for a quote inside a text";
            source.bad_data(path, format!("line {line}"), message)
        }
    }
}

fn not_utf8(bytes: &[u8], error: std::str::Utf8Error) -> String {
    let at = error.valid_up_to();
    let shown: String = String::from_utf8_lossy(bytes).chars().take(60).collect();
    format!(
        "the text `{shown}` is not UTF-8 (byte 0x{:02X}): save the file as UTF-8, or write its `encoding` in the file of the dataset, \
         such as \"windows-1252\"",
        bytes[at]
    )
}
