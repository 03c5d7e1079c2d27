//! The rows of a result, kept until the last one tells what types the columns have.

use std::borrow::Cow;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use stet_domain::{ColumnType, Value};
use tempfile::SpooledTempFile;

use super::column::SqlCell;
use crate::error::EngineError;

/// Results up to this size stay in memory; larger ones go to a temporary file.
const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The largest whole number up to which every one is also a 64-bit number with a floating point.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// Rows being collected.
pub(super) struct Spool {
    out: BufWriter<SpooledTempFile>,
    seen: Vec<Seen>,
    rows: u64,
}

/// What kinds of values a column was seen to have.
#[derive(Debug, Clone)]
struct Seen {
    /// The type that the column has if all its values fit.
    expected: Option<ColumnType>,
    fits: bool,
    integers: bool,
    large_integers: bool,
    numbers: bool,
    texts: bool,
}

/// Rows that were collected, to be read from the first on.
pub(super) struct Spooled {
    input: BufReader<SpooledTempFile>,
    width: usize,
    /// Rows that are still to be read.
    rows: u64,
}

impl Spool {
    /// Starts collecting rows of columns; for some of them a type may be expected.
    pub(super) fn new(expected: &[Option<ColumnType>]) -> Spool {
        let seen = |expected: &Option<ColumnType>| Seen {
            expected: *expected,
            fits: true,
            integers: false,
            large_integers: false,
            numbers: false,
            texts: false,
        };
        Spool {
            out: BufWriter::with_capacity(256 * 1024, SpooledTempFile::new(MEMORY_BYTES_MAX)),
            seen: expected.iter().map(seen).collect(),
            rows: 0,
        }
    }

    /// Takes the next cell of the present row.
    pub(super) fn push(&mut self, column: usize, cell: &SqlCell<'_>) -> Result<(), EngineError> {
        self.seen[column].take(cell);
        write_cell(&mut self.out, cell).map_err(EngineError::io("write", std::env::temp_dir()))
    }

    /// Ends the present row.
    pub(super) fn end_row(&mut self) -> u64 {
        self.rows += 1;
        self.rows
    }

    /// The rows, and the type of each column: the expected one if all values fit it, and otherwise the narrowest one
    /// that holds all of them without loss.
    pub(super) fn finish(self) -> Result<(Spooled, Vec<ColumnType>), EngineError> {
        let types = self.seen.iter().map(Seen::column_type).collect();
        let width = self.seen.len();
        let io = || EngineError::io("write", std::env::temp_dir());
        let mut file = self.out.into_inner().map_err(|error| io()(error.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(io())?;
        Ok((Spooled { input: BufReader::with_capacity(256 * 1024, file), width, rows: self.rows }, types))
    }
}

impl Seen {
    fn take(&mut self, cell: &SqlCell<'_>) {
        match cell {
            SqlCell::Null => return,
            SqlCell::Integer(integer) => {
                self.integers = true;
                self.large_integers |= integer.unsigned_abs() > EXACT_INTEGER_MAX;
            }
            SqlCell::Number(_) => self.numbers = true,
            SqlCell::Text(_) => self.texts = true,
        }
        if self.fits
            && let Some(expected) = self.expected
        {
            self.fits = is_exactly(cell, expected);
        }
    }

    fn column_type(&self) -> ColumnType {
        match self.expected {
            Some(expected) if self.fits => expected,
            _ if self.texts => ColumnType::Text,
            // As a number with a floating point a large whole number would lose digits, so both become texts.
            _ if self.numbers && self.large_integers => ColumnType::Text,
            _ if self.numbers => ColumnType::Number,
            _ if self.integers => ColumnType::Integer,
            _ => ColumnType::Text,
        }
    }
}

/// Whether a cell is a value of a type, with nothing lost and nothing guessed.
fn is_exactly(cell: &SqlCell<'_>, column_type: ColumnType) -> bool {
    match (column_type, cell) {
        (ColumnType::Text, SqlCell::Text(_)) => true,
        (ColumnType::Text, _) => false,
        (ColumnType::Boolean, SqlCell::Integer(integer)) => (0..=1).contains(integer),
        (ColumnType::Boolean, _) => false,
        (ColumnType::Integer, SqlCell::Integer(_)) => true,
        (ColumnType::Integer, _) => false,
        (ColumnType::Number, SqlCell::Integer(integer)) => integer.unsigned_abs() <= EXACT_INTEGER_MAX,
        (ColumnType::Number, SqlCell::Number(_)) => true,
        (ColumnType::Number, _) => false,
        // SQLite has no decimals, so a decimal is a number that is near it.
        (ColumnType::Decimal { .. }, cell) => convert(cell, column_type).is_ok(),
        (_, SqlCell::Text(text)) => column_type.read(text).is_ok(),
        _ => false,
    }
}

/// A cell as a value of a type.
///
/// # Errors
/// When it is none; the message says so in plain words.
pub(super) fn convert(cell: &SqlCell<'_>, column_type: ColumnType) -> Result<Option<Value>, String> {
    let read = |text: &str| column_type.read(text).map(Some).map_err(|error| error.to_string());
    match (cell, column_type) {
        (SqlCell::Null, _) => Ok(None),
        (SqlCell::Text(text), _) => read(text),
        (SqlCell::Integer(integer), ColumnType::Integer) => Ok(Some(Value::Integer(*integer))),
        (SqlCell::Integer(integer), ColumnType::Number) => Ok(Some(Value::Number(*integer as f64))),
        (SqlCell::Integer(integer), _) => read(&integer.to_string()),
        (SqlCell::Number(number), ColumnType::Number) => Ok(Some(Value::Number(*number))),
        (SqlCell::Number(number), ColumnType::Integer)
            if number.fract() == 0.0 && number.abs() <= EXACT_INTEGER_MAX as f64 =>
        {
            Ok(Some(Value::Integer(*number as i64)))
        }
        (SqlCell::Number(number), ColumnType::Decimal { scale, .. }) if number.is_finite() => {
            read(&format!("{number:.scale$}", scale = usize::from(scale)))
        }
        (SqlCell::Number(number), _) => read(&Value::Number(*number).to_string()),
    }
}

impl Spooled {
    /// Reads the next row, cell by cell; none after the last one.
    pub(super) fn next_row(&mut self) -> Result<Option<Vec<SqlCell<'static>>>, EngineError> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.rows -= 1;
        let cells: io::Result<Vec<_>> = (0..self.width).map(|_| read_cell(&mut self.input)).collect();
        cells.map(Some).map_err(EngineError::io("read", std::env::temp_dir()))
    }
}

fn write_cell(out: &mut impl Write, cell: &SqlCell<'_>) -> io::Result<()> {
    match cell {
        SqlCell::Null => out.write_all(b"0"),
        SqlCell::Integer(integer) => {
            out.write_all(b"i")?;
            out.write_all(&integer.to_le_bytes())
        }
        SqlCell::Number(number) => {
            out.write_all(b"n")?;
            out.write_all(&number.to_le_bytes())
        }
        SqlCell::Text(text) => {
            out.write_all(b"t")?;
            out.write_all(&(text.len() as u64).to_le_bytes())?;
            out.write_all(text.as_bytes())
        }
    }
}

fn read_cell(input: &mut impl Read) -> io::Result<SqlCell<'static>> {
    let mut kind = [0; 1];
    input.read_exact(&mut kind)?;
    if kind == *b"0" {
        return Ok(SqlCell::Null);
    }
    let mut eight = [0; 8];
    input.read_exact(&mut eight)?;
    Ok(match &kind {
        b"i" => SqlCell::Integer(i64::from_le_bytes(eight)),
        b"n" => SqlCell::Number(f64::from_le_bytes(eight)),
        _ => {
            let mut bytes = vec![0; usize::try_from(u64::from_le_bytes(eight)).map_err(io::Error::other)?];
            input.read_exact(&mut bytes)?;
            SqlCell::Text(Cow::Owned(String::from_utf8(bytes).map_err(io::Error::other)?))
        }
    })
}
