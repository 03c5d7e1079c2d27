//! How the cells of Arrow columns look to SQL, and the hash index over them.

use std::borrow::Cow;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rusqlite::types::ValueRef;
use std::hash::BuildHasher;
use stet_domain::{ColumnType, Value};

use crate::cell::{CellReader, column_type_of};
use crate::error::EngineError;

/// Rows of a table as SQL sees them: one reader for each column that the query uses.
#[derive(Debug)]
pub(super) struct Chunk {
    /// By the table's columns; none for a column that the query does not use.
    pub(super) columns: Vec<Option<SqlColumn>>,
    /// How many.
    pub(super) rows: usize,
}

/// A column, ready to be read cell by cell.
#[derive(Debug)]
pub(super) enum SqlColumn {
    Boolean(BooleanArray),
    Integer(Int64Array),
    Number(Float64Array),
    Decimal(Decimal128Array, u8),
    /// Texts, and the canonical texts of dates, moments and nested values.
    Text(StringArray),
}

/// A cell as SQL sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SqlCell<'a> {
    Null,
    Integer(i64),
    Number(f64),
    Text(Cow<'a, str>),
}

impl Chunk {
    /// Takes a batch whose columns are `used` of the table's `width` columns.
    pub(super) fn new(batch: &RecordBatch, used: &[usize], width: usize) -> Result<Chunk, EngineError> {
        let mut columns: Vec<Option<SqlColumn>> = (0..width).map(|_| None).collect();
        for (array, place) in batch.columns().iter().zip(used) {
            columns[*place] = Some(SqlColumn::new(array)?);
        }
        Ok(Chunk { columns, rows: batch.num_rows() })
    }

    /// A cell; null for a column that the query does not use.
    pub(super) fn cell(&self, column: usize, row: usize) -> SqlCell<'_> {
        match self.columns.get(column) {
            Some(Some(column)) => column.cell(row),
            _ => SqlCell::Null,
        }
    }
}

impl SqlColumn {
    fn new(array: &ArrayRef) -> Result<SqlColumn, EngineError> {
        let rows = array.len();
        Ok(match (column_type_of(array.data_type()), array.data_type()) {
            (_, DataType::Boolean) => SqlColumn::Boolean(array.as_boolean().clone()),
            (_, DataType::Float64) => SqlColumn::Number(array.as_primitive::<Float64Type>().clone()),
            (_, DataType::Utf8) => SqlColumn::Text(array.as_string::<i32>().clone()),
            (_, DataType::Decimal128(_, scale)) if *scale >= 0 => {
                SqlColumn::Decimal(array.as_primitive::<Decimal128Type>().clone(), scale.unsigned_abs())
            }
            (ColumnType::Integer, _) => {
                let wide = cast(array, &DataType::Int64)
                    .map_err(|source| EngineError::Internal { action: "reading a column", source: Box::new(source) })?;
                SqlColumn::Integer(wide.as_primitive::<Int64Type>().clone())
            }
            (column_type, _) => {
                let reader = CellReader::new(array.as_ref());
                match column_type {
                    ColumnType::Boolean => SqlColumn::Boolean((0..rows).map(|row| boolean(&reader, row)).collect()),
                    ColumnType::Number => SqlColumn::Number((0..rows).map(|row| number(&reader, row)).collect()),
                    ColumnType::Decimal { scale, .. } => {
                        SqlColumn::Decimal((0..rows).map(|row| digits(&reader, row)).collect(), scale)
                    }
                    _ => SqlColumn::Text((0..rows).map(|row| reader.text(row)).collect()),
                }
            }
        })
    }

    fn cell(&self, row: usize) -> SqlCell<'_> {
        match self {
            SqlColumn::Boolean(array) if array.is_valid(row) => SqlCell::Integer(i64::from(array.value(row))),
            SqlColumn::Integer(array) if array.is_valid(row) => SqlCell::Integer(array.value(row)),
            SqlColumn::Number(array) if array.is_valid(row) => SqlCell::Number(array.value(row)),
            SqlColumn::Decimal(array, scale) if array.is_valid(row) => decimal(array.value(row), *scale),
            SqlColumn::Text(array) if array.is_valid(row) => SqlCell::Text(Cow::Borrowed(array.value(row))),
            _ => SqlCell::Null,
        }
    }
}

fn boolean(reader: &CellReader<'_>, row: usize) -> Option<bool> {
    if let Some(Value::Boolean(boolean)) = reader.value(row) { Some(boolean) } else { None }
}

fn number(reader: &CellReader<'_>, row: usize) -> Option<f64> {
    if let Some(Value::Number(number)) = reader.value(row) { Some(number) } else { None }
}

fn digits(reader: &CellReader<'_>, row: usize) -> Option<i128> {
    if let Some(Value::Decimal(digits, _)) = reader.value(row) { Some(digits) } else { None }
}

/// A decimal is a number in SQL if no digit is lost by it, and its text if one would be.
fn decimal(digits: i128, scale: u8) -> SqlCell<'static> {
    if scale == 0
        && let Ok(integer) = i64::try_from(digits)
    {
        return SqlCell::Integer(integer);
    }
    let text = Value::Decimal(digits, scale).to_string();
    // Fifteen digits always survive a 64-bit number.
    if digits.unsigned_abs() < 1_000_000_000_000_000 {
        return text.parse().map_or(SqlCell::Null, SqlCell::Number);
    }
    SqlCell::Text(text.into())
}

impl SqlCell<'_> {
    /// The cell as SQLite takes it.
    pub(super) fn as_sqlite(&self) -> ValueRef<'_> {
        match self {
            SqlCell::Null => ValueRef::Null,
            SqlCell::Integer(integer) => ValueRef::Integer(*integer),
            SqlCell::Number(number) => ValueRef::Real(*number),
            SqlCell::Text(text) => ValueRef::Text(text.as_bytes()),
        }
    }
}

/// Finds the rows of a chunk whose cells may be equal, for SQLite's `=`, to given values. SQLite compares the rows that
/// are found itself, so it does no harm to find too many.
#[derive(Debug)]
pub(super) struct HashIndex {
    first: HashMap<u64, u32, FixedState>,
    /// For each row the next one with the same hash, or [`HashIndex::END`].
    next: Vec<u32>,
}

impl HashIndex {
    pub(super) const END: u32 = u32::MAX;

    /// Indexes some columns.
    pub(super) fn new(chunk: &Chunk, columns: &[usize]) -> HashIndex {
        let mut first = HashMap::with_capacity_and_hasher(chunk.rows, STATE);
        let mut next = vec![HashIndex::END; chunk.rows];
        // From the last row to the first, so that equal rows are found in the order of the table.
        for row in (0..chunk.rows).rev() {
            let Some(hash) = hash_all(columns.iter().map(|column| chunk.cell(*column, row))) else { continue };
            if let Some(later) = first.insert(hash, row as u32) {
                next[row] = later;
            }
        }
        HashIndex { first, next }
    }

    /// The first row for some values, or [`HashIndex::END`].
    pub(super) fn first<'a>(&self, values: impl Iterator<Item = SqlCell<'a>>) -> u32 {
        hash_all(values).and_then(|hash| self.first.get(&hash).copied()).unwrap_or(HashIndex::END)
    }

    /// The row after a row, or [`HashIndex::END`].
    pub(super) fn next(&self, row: u32) -> u32 {
        self.next[row as usize]
    }
}

const STATE: FixedState = FixedState::with_seed(0x5354_4554);

/// None when a cell is null, since null is equal to nothing.
fn hash_all<'a>(cells: impl Iterator<Item = SqlCell<'a>>) -> Option<u64> {
    let mut all = 0u64;
    for cell in cells {
        let hash = match &cell {
            SqlCell::Null => return None,
            // SQLite may compare a text with a number, as numbers or as texts: texts that read as numbers hash as these.
            SqlCell::Integer(integer) => hash_number(*integer as f64),
            SqlCell::Number(number) => hash_number(*number),
            SqlCell::Text(text) => match text.trim().parse::<f64>() {
                Ok(number) => hash_number(number),
                Err(_) => STATE.hash_one(text.as_ref()),
            },
        };
        all = (all.rotate_left(5) ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    Some(all)
}

fn hash_number(number: f64) -> u64 {
    // The two zeros are equal.
    STATE.hash_one(if number == 0.0 { 0u64 } else { number.to_bits() })
}
