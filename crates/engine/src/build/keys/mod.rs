//! Finding the rows of an original that a log knows, and the rows that cannot be edited for want of a key of their own.

mod batch;
mod check;
mod filter;

use std::hash::BuildHasher;

use arrow_schema::DataType;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use parquet::file::statistics::Statistics;
use stet_domain::project::Column;
use stet_domain::replay::{Replay, RowState};
use stet_domain::{ColumnType, Key};

use crate::cell::{Ordered, ordered_value};
use crate::error::EngineError;

pub(super) use batch::BatchKeys;
pub use check::{KEYS_LISTED_MAX, check_keys};
pub(super) use check::{KeyCheck, KeyRun};
pub(super) use filter::{KeyFilter, KeyFilters};

const STATE: FixedState = FixedState::with_seed(0x5374_6574);

/// Where the key columns are in the original.
#[derive(Debug, Clone)]
pub(super) struct KeyColumns {
    /// Places in the original's columns, in the configured order of the key.
    pub(super) places: Vec<usize>,
    /// The columns.
    pub(super) columns: Vec<Column>,
}

impl KeyColumns {
    /// Finds the key columns by name.
    ///
    /// # Errors
    /// When one is missing or cannot be part of a key.
    pub(super) fn find(dataset: &str, columns: &[Column], key: &[String]) -> Result<KeyColumns, EngineError> {
        let schema_error = |message| EngineError::Schema { dataset: dataset.to_owned(), message };
        let mut found = KeyColumns { places: Vec::new(), columns: Vec::new() };
        for name in key {
            let Some(place) = columns.iter().position(|column| column.name == *name) else {
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).take(30).collect();
                return Err(schema_error(format!(
                    "the key column `{name}` is not in the data; the columns are {}",
                    names.join(", ")
                )));
            };
            if !columns[place].column_type.is_key() {
                return Err(schema_error(format!("the column `{name}` has a type that cannot be part of a key")));
            }
            found.places.push(place);
            found.columns.push(columns[place].clone());
        }
        if found.places.is_empty() {
            return Err(schema_error("there is no key column: name at least one as primary key".into()));
        }
        Ok(found)
    }
}

/// The rows that a log knows, found by the cells of key columns without making key texts for rows that it does not know.
#[derive(Debug)]
pub(super) struct KeyIndex<'a> {
    /// The rows, in order of their last events.
    pub(super) rows: Vec<(&'a Key, &'a RowState)>,
    /// The parts of their keys, `width` for each row; a row whose key is no key of these columns has no place in `table`.
    parts: Vec<Part>,
    width: usize,
    table: HashTable<u32>,
}

/// One part of a key.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Integer(i64),
    Text(Box<str>),
}

impl<'a> KeyIndex<'a> {
    /// Indexes the rows of a log for key columns.
    pub(super) fn new(replay: &'a Replay, columns: &[Column]) -> KeyIndex<'a> {
        let rows = replay.rows_by_last_event();
        let width = columns.len();
        let mut parts: Vec<Part> = Vec::with_capacity(rows.len() * width);
        let mut hashes: Vec<Option<u64>> = Vec::with_capacity(rows.len());
        for (key, _) in &rows {
            match key.parts(width) {
                Ok(texts) => {
                    let from = parts.len();
                    parts.extend(texts.into_iter().zip(columns).map(|(text, column)| Part::of(text, column)));
                    hashes.push(Some(parts[from..].iter().fold(0, |hash, part| combine(hash, part.hash()))));
                }
                Err(_) => {
                    parts.extend((0..width).map(|_| Part::Text("".into())));
                    hashes.push(None);
                }
            }
        }
        let mut table = HashTable::with_capacity(rows.len());
        for (row, hash) in hashes.iter().enumerate() {
            if let Some(hash) = hash {
                table.insert_unique(*hash, row as u32, |row| hashes[*row as usize].unwrap_or(0));
            }
        }
        KeyIndex { rows, parts, width, table }
    }

    /// The rows of a batch that the log knows, in order, with their places in [`KeyIndex::rows`].
    pub(super) fn hits(&self, keys: &BatchKeys<'_>) -> impl Iterator<Item = (usize, usize)> {
        let mut nulls = keys.nulls.iter().copied().peekable();
        (0..keys.hashes.len())
            .filter(move |row| nulls.next_if_eq(row).is_none())
            .filter_map(|row| Some((row, self.find(keys, row)?)))
    }

    /// Whether a run of rows may have one of the rows `known` of the log, by the smallest and largest values of its key
    /// columns; a column without them says nothing.
    pub(super) fn may_be_in(&self, known: usize, statistics: &[Option<(&Statistics, DataType)>]) -> bool {
        let from = known * self.width;
        let parts = &self.parts[from..from + self.width];
        parts.iter().zip(statistics).all(|(part, statistics)| match statistics {
            Some((statistics, data_type)) => part.may_be_in(statistics, data_type),
            None => true,
        })
    }

    /// The hash of the key of one of the rows; none when it is no key of these columns.
    pub(super) fn hash(&self, known: usize) -> Option<u64> {
        let from = known * self.width;
        self.rows[known].0.parts(self.width).ok()?;
        Some(self.parts[from..from + self.width].iter().fold(0, |hash, part| combine(hash, part.hash())))
    }

    /// The place in [`KeyIndex::rows`] of the log's row for a row of a batch.
    fn find(&self, keys: &BatchKeys<'_>, row: usize) -> Option<usize> {
        let found = self.table.find(keys.hashes[row], |candidate| {
            let from = *candidate as usize * self.width;
            keys.columns.iter().zip(&self.parts[from..from + self.width]).all(|(column, part)| column.is(row, part))
        })?;
        Some(*found as usize)
    }
}

impl Part {
    fn of(text: String, column: &Column) -> Part {
        if column.column_type == ColumnType::Integer
            && let Ok(integer) = text.parse::<i64>()
            // Only canonical text is a key: `007` is not the key of row 7.
            && integer.to_string() == text
        {
            return Part::Integer(integer);
        }
        if column.column_type == ColumnType::Date
            && let Some(day) = day_of(&text)
        {
            return Part::Integer(day);
        }
        Part::Text(text.into_boxed_str())
    }

    /// Whether a column with these statistics may hold the part.
    fn may_be_in(&self, statistics: &Statistics, data_type: &DataType) -> bool {
        let is_signed = matches!(
            data_type,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32
        );
        let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match (self, statistics) {
            (Part::Integer(integer), Statistics::Int32(range)) if is_signed => {
                range.min_opt().is_none_or(|min| i64::from(*min) <= *integer)
                    && range.max_opt().is_none_or(|max| i64::from(*max) >= *integer)
            }
            (Part::Integer(integer), Statistics::Int64(range)) if is_signed => {
                range.min_opt().is_none_or(|min| min <= integer) && range.max_opt().is_none_or(|max| max >= integer)
            }
            (Part::Text(text), Statistics::ByteArray(range)) if is_text => {
                range.min_opt().is_none_or(|min| min.data() <= text.as_bytes())
                    && range.max_opt().is_none_or(|max| max.data() >= text.as_bytes())
            }
            _ => true,
        }
    }

    fn hash(&self) -> u64 {
        match self {
            Part::Integer(integer) => STATE.hash_one(*integer),
            Part::Text(text) => hash_text(text),
        }
    }
}

/// The day since 1970-01-01 that a canonical text of a date means, also one beyond the calendar (see
/// [`CellReader::write`]).
fn day_of(text: &str) -> Option<i64> {
    if let Some(days) = text.strip_prefix("day ") {
        return days.strip_suffix(" after 1970-01-01")?.parse().ok();
    }
    let value = ColumnType::Date.read(text).ok()?;
    match ordered_value(&value) {
        Ordered::Integer(day) if value.to_string() == text => i64::try_from(day).ok(),
        _ => None,
    }
}

fn hash_text(text: &str) -> u64 {
    STATE.hash_one(text.as_bytes())
}

fn combine(hash: u64, part: u64) -> u64 {
    (hash.rotate_left(23) ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
