//! Finding the rows of an original that a log knows, and the rows that cannot be edited for want of a key of their own.

use std::hash::BuildHasher;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use stet_domain::project::Column;
use stet_domain::replay::{Replay, RowState};
use stet_domain::{ColumnType, Key};

use crate::cell::CellReader;
use crate::control::Control;
use crate::error::EngineError;
use crate::read::FileSource;

/// How many rows without a key, and how many keys of several rows, an error lists.
pub const KEYS_LISTED_MAX: usize = 20;

/// The most hashes of keys kept at once to find keys of several rows: 128 MiB. A larger original is looked through
/// several times, for one part of the hashes each time.
const HASHES_MAX: usize = 16 * 1024 * 1024;

const BATCH_ROWS: usize = 32 * 1024;

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

    /// The place in [`KeyIndex::rows`] of the log's row for a row of a batch.
    pub(super) fn find(&self, keys: &BatchKeys<'_>, row: usize) -> Option<usize> {
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
        Part::Text(text.into_boxed_str())
    }

    fn hash(&self) -> u64 {
        match self {
            Part::Integer(integer) => STATE.hash_one(*integer),
            Part::Text(text) => hash_text(text),
        }
    }
}

/// The keys of the rows of one batch.
pub(super) struct BatchKeys<'a> {
    columns: Vec<KeyColumn<'a>>,
    /// The hash of each row's key; meaningless for a row of `nulls`.
    pub(super) hashes: Vec<u64>,
    /// Rows of which a key column is null, in order.
    pub(super) nulls: Vec<usize>,
}

enum KeyColumn<'a> {
    Integer(Int64Array),
    /// Any other type, and whether the array has nulls.
    Other(CellReader<'a>, bool),
}

impl<'a> BatchKeys<'a> {
    /// Looks at the key columns of a batch, whose places are given.
    pub(super) fn new(batch: &'a RecordBatch, places: &[usize]) -> Result<BatchKeys<'a>, EngineError> {
        let rows = batch.num_rows();
        let mut keys =
            BatchKeys { columns: Vec::with_capacity(places.len()), hashes: vec![0; rows], nulls: Vec::new() };
        let mut text = String::new();
        for place in places {
            let array = batch.column(*place);
            let column = KeyColumn::new(array.as_ref())?;
            match &column {
                KeyColumn::Integer(array) => {
                    for (hash, integer) in keys.hashes.iter_mut().zip(array.values()) {
                        *hash = combine(*hash, STATE.hash_one(*integer));
                    }
                }
                KeyColumn::Other(reader, _) => {
                    for (row, hash) in keys.hashes.iter_mut().enumerate() {
                        let part = match reader.str(row) {
                            Some(text) => hash_text(text),
                            None => {
                                text.clear();
                                reader.write(row, &mut text);
                                hash_text(&text)
                            }
                        };
                        *hash = combine(*hash, part);
                    }
                }
            }
            keys.columns.push(column);
        }
        if keys.columns.iter().any(KeyColumn::has_nulls) {
            keys.nulls = (0..rows).filter(|row| keys.columns.iter().any(|column| column.is_null(*row))).collect();
        }
        Ok(keys)
    }

    /// The key of a row.
    pub(super) fn key(&self, row: usize) -> Key {
        let parts: Vec<String> = self.columns.iter().map(|column| column.text(row)).collect();
        Key::from_parts(&parts)
    }

    /// The keys, when they are whole numbers of one column without nulls.
    fn integers(&self) -> Option<&[i64]> {
        match self.columns.as_slice() {
            [KeyColumn::Integer(array)] if array.null_count() == 0 => Some(array.values()),
            _ => None,
        }
    }
}

impl<'a> KeyColumn<'a> {
    fn new(array: &'a dyn Array) -> Result<KeyColumn<'a>, EngineError> {
        let is_integer = array.data_type().is_integer() && *array.data_type() != DataType::UInt64;
        if !is_integer {
            return Ok(KeyColumn::Other(CellReader::new(array), array.logical_null_count() > 0));
        }
        let wide = cast(array, &DataType::Int64)
            .map_err(|source| EngineError::Internal { action: "reading key columns", source: Box::new(source) })?;
        Ok(KeyColumn::Integer(wide.as_primitive::<Int64Type>().clone()))
    }

    fn has_nulls(&self) -> bool {
        match self {
            KeyColumn::Integer(array) => array.null_count() > 0,
            KeyColumn::Other(_, has_nulls) => *has_nulls,
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            KeyColumn::Integer(array) => array.is_null(row),
            KeyColumn::Other(reader, _) => reader.is_null(row),
        }
    }

    fn is(&self, row: usize, part: &Part) -> bool {
        match (self, part) {
            (KeyColumn::Integer(array), Part::Integer(integer)) => array.is_valid(row) && array.value(row) == *integer,
            (KeyColumn::Other(reader, _), Part::Text(text)) => match reader.str(row) {
                Some(own) => own == &**text,
                None => reader.text(row).is_some_and(|own| own == **text),
            },
            _ => false,
        }
    }

    fn text(&self, row: usize) -> String {
        match self {
            KeyColumn::Integer(array) => array.value(row).to_string(),
            KeyColumn::Other(reader, _) => reader.text(row).unwrap_or_default(),
        }
    }
}

fn hash_text(text: &str) -> u64 {
    STATE.hash_one(text.as_bytes())
}

fn combine(hash: u64, part: u64) -> u64 {
    (hash.rotate_left(23) ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Checks that every row of an original has a key of its own.
///
/// # Errors
/// When rows have none, or several rows have the same: the first ones are listed with their rows. When the data cannot
/// be read, its key columns are missing, or the work is cancelled.
pub fn check_keys(source: &FileSource, key: &[String], control: &Control) -> Result<(), EngineError> {
    let keys = KeyColumns::find(&source.dataset, &source.columns()?, key)?;
    let mut check = KeyCheck::new();
    let places: Vec<usize> = (0..keys.places.len()).collect();
    for batch in source.batches(Some(&keys.places), BATCH_ROWS)?.batches {
        control.check()?;
        check.take(&BatchKeys::new(&batch?, &places)?);
    }
    check.finish(source, &keys, control)
}

/// The check that every row has a key of its own, made beside another pass over the rows.
#[derive(Debug)]
pub(super) struct KeyCheck {
    rows: u64,
    /// The first rows without a key, and how many there are.
    nulls_first: Vec<u64>,
    nulls: u64,
    seen: Seen,
}

/// What is kept of the keys that were seen.
#[derive(Debug)]
enum Seen {
    /// So far the keys are whole numbers that ascend, as row numbers do: none of them can be there twice.
    Ascending(Option<i64>),
    /// The hashes of all keys.
    Hashes(Vec<u64>),
    /// Nothing: the keys have to be looked through again.
    Nothing,
}

impl KeyCheck {
    pub(super) fn new() -> KeyCheck {
        KeyCheck { rows: 0, nulls_first: Vec::new(), nulls: 0, seen: Seen::Ascending(None) }
    }

    /// How many rows were taken.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes the keys of the next rows.
    pub(super) fn take(&mut self, keys: &BatchKeys<'_>) {
        for row in &keys.nulls {
            self.nulls += 1;
            if self.nulls_first.len() < KEYS_LISTED_MAX {
                self.nulls_first.push(self.rows + *row as u64 + 1);
            }
        }
        if let Seen::Ascending(last) = &mut self.seen {
            let ascends = keys.integers().is_some_and(|integers| {
                let first = last.is_none_or(|last| integers.first().is_none_or(|first| *first > last));
                first && integers.windows(2).all(|pair| pair[0] < pair[1])
            });
            if ascends {
                *last = keys.integers().and_then(|integers| integers.last().copied()).or(*last);
            } else {
                self.seen = if self.rows == 0 { Seen::Hashes(Vec::new()) } else { Seen::Nothing };
            }
        }
        if let Seen::Hashes(hashes) = &mut self.seen {
            if hashes.len() + keys.hashes.len() > HASHES_MAX {
                self.seen = Seen::Nothing;
            } else {
                hashes.extend(&keys.hashes);
            }
        }
        self.rows += keys.hashes.len() as u64;
    }

    /// Ends the check.
    pub(super) fn finish(
        mut self,
        source: &FileSource,
        keys: &KeyColumns,
        control: &Control,
    ) -> Result<(), EngineError> {
        let mut doubled = match std::mem::replace(&mut self.seen, Seen::Nothing) {
            Seen::Ascending(_) => Vec::new(),
            Seen::Hashes(hashes) => repeated(hashes),
            Seen::Nothing => repeated_in_passes(source, keys, self.rows, control)?,
        };
        doubled.sort_unstable();
        // Different keys can have one hash, so the keys themselves decide.
        let doubled = if doubled.is_empty() { Vec::new() } else { rows_of_repeated(source, keys, &doubled, control)? };
        if self.nulls == 0 && doubled.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = keys.columns.iter().map(|column| column.name.as_str()).collect();
        let key = names.join("`, `");
        let mut message = Vec::new();
        if self.nulls > 0 {
            let rows: Vec<String> = self.nulls_first.iter().map(u64::to_string).collect();
            message.push(format!(
                "{} row(s) have no value in the key column(s) `{key}`: row {}{}",
                self.nulls,
                rows.join(", "),
                if self.nulls > rows.len() as u64 { ", ..." } else { "" }
            ));
        }
        if !doubled.is_empty() {
            let listed: Vec<String> = doubled
                .iter()
                .take(KEYS_LISTED_MAX)
                .map(|(key, rows)| {
                    let rows: Vec<String> = rows.iter().map(u64::to_string).collect();
                    format!("{key} in rows {}", rows.join(", "))
                })
                .collect();
            message.push(format!(
                "{} key(s) of `{key}` are those of several rows: {}{}",
                doubled.len(),
                listed.join("; "),
                if doubled.len() > listed.len() { "; ..." } else { "" }
            ));
        }
        Err(EngineError::Keys { dataset: source.dataset.clone(), message: message.join("; ") })
    }
}

/// The hashes that occur more than once.
fn repeated(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    let mut repeated: Vec<u64> = hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}

/// The same for an original with more rows than hashes may be kept at once: one part of the hashes in each pass.
fn repeated_in_passes(
    source: &FileSource,
    keys: &KeyColumns,
    rows: u64,
    control: &Control,
) -> Result<Vec<u64>, EngineError> {
    let places: Vec<usize> = (0..keys.places.len()).collect();
    let parts = rows.div_ceil(HASHES_MAX as u64).max(1);
    let mut all = Vec::new();
    for part in 0..parts {
        let mut hashes = Vec::new();
        for batch in source.batches(Some(&keys.places), BATCH_ROWS)?.batches {
            control.check()?;
            let batch = batch?;
            hashes.extend(BatchKeys::new(&batch, &places)?.hashes.iter().filter(|hash| (*hash >> 32) % parts == part));
        }
        all.append(&mut repeated(hashes));
    }
    Ok(all)
}

/// The keys of several rows among those with some hashes, with the first of their rows, in order of their first rows.
fn rows_of_repeated(
    source: &FileSource,
    keys: &KeyColumns,
    hashes: &[u64],
    control: &Control,
) -> Result<Vec<(String, Vec<u64>)>, EngineError> {
    let places: Vec<usize> = (0..keys.places.len()).collect();
    let mut rows_of: HashMap<Key, Vec<u64>, FixedState> = HashMap::with_hasher(STATE);
    let mut rows = 0u64;
    for batch in source.batches(Some(&keys.places), BATCH_ROWS)?.batches {
        control.check()?;
        let batch = batch?;
        let keys = BatchKeys::new(&batch, &places)?;
        let mut nulls = keys.nulls.iter().copied().peekable();
        for (row, hash) in keys.hashes.iter().enumerate() {
            if nulls.next_if_eq(&row).is_some() || hashes.binary_search(hash).is_err() {
                continue;
            }
            let rows_of_key = rows_of.entry(keys.key(row)).or_default();
            if rows_of_key.len() < 5 {
                rows_of_key.push(rows + row as u64 + 1);
            }
        }
        rows += batch.num_rows() as u64;
    }
    let mut repeated: Vec<(String, Vec<u64>)> = rows_of
        .into_iter()
        .filter(|(_, rows)| rows.len() > 1)
        .map(|(key, rows)| (format!("`{}`", key.as_str().chars().take(100).collect::<String>()), rows))
        .collect();
    repeated.sort_by_key(|(_, rows)| rows[0]);
    Ok(repeated)
}
