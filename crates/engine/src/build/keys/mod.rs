//! Finding the rows of an original that a log knows, and the rows that cannot be edited for want of a key of their own.

mod batch;
mod check;
mod filter;
mod packed;
mod table;

use std::hash::BuildHasher;
use std::ops::Range;

use arrow_schema::DataType;
use foldhash::fast::FixedState;
use parquet::file::statistics::Statistics;
use stet_domain::ColumnType;
use stet_domain::key::{KEY_BYTES_MAX, key_parts};
use stet_domain::project::Column;
use stet_domain::replay::{Replay, RowNumber, RowState};

use crate::cell::{Ordered, ordered_value};
use crate::error::EngineError;

pub(super) use batch::BatchKeys;
pub(super) use check::{EndedRun, KeyCheck, KeyRun};
pub use check::{KEYS_LISTED_MAX, check_keys};
pub(super) use filter::{KeyFilter, KeyFilters};

use table::KeyTable;

/// The most threads that read the keys of a log, and the rows that are worth a thread.
const THREADS_MAX: usize = 8;
const ROWS_PER_THREAD_MIN: usize = 50_000;

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
    replay: &'a Replay,
    /// The parts of the keys of the rows, one row after the other by their numbers: see [`Part::write`].
    parts: Vec<u8>,
    /// Where the parts of each row start; a row whose key is no key of these columns has none, and no place in `table`.
    starts: Vec<usize>,
    table: KeyTable,
}

/// One part of a key.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Integer(i64),
    Text(&'a str),
}

impl<'a> KeyIndex<'a> {
    /// Indexes the rows of a log for key columns.
    pub(super) fn new(replay: &'a Replay, columns: &[Column]) -> KeyIndex<'a> {
        let rows = replay.len();
        // A thread takes longer to start than a few keys to look at.
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let threads = threads.min(rows / ROWS_PER_THREAD_MIN + 1);
        let (mut parts, mut starts, mut hashes) = (Vec::new(), Vec::with_capacity(rows), Vec::with_capacity(rows));
        if threads == 1 {
            read_keys(replay, columns, 0..rows, &mut parts, &mut starts, &mut hashes);
        } else {
            let share = rows.div_ceil(threads);
            let read: Vec<_> = std::thread::scope(|scope| {
                let work = |thread: usize| {
                    let own = (thread * share).min(rows)..((thread + 1) * share).min(rows);
                    let (mut parts, mut starts, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
                    read_keys(replay, columns, own, &mut parts, &mut starts, &mut hashes);
                    (parts, starts, hashes)
                };
                let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
                threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
            });
            for read in read {
                let (own_parts, own_starts, own_hashes) = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                let base = parts.len();
                parts.extend_from_slice(&own_parts);
                starts.extend(own_starts.into_iter().map(|start| base + start));
                hashes.extend(own_hashes);
            }
        }
        let table = KeyTable::of(&hashes, threads > 1);
        KeyIndex { replay, parts, starts, table }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// A row of the log by its number, with its key.
    pub(super) fn row(&self, known: usize) -> (&'a str, RowState<'a>) {
        self.replay.at(RowNumber(known as u32))
    }

    /// The same as bytes, for [`Replay::put_record`] and [`Replay::read_record`].
    pub(super) fn record(&self, known: usize) -> &'a [u8] {
        self.replay.record(RowNumber(known as u32))
    }

    /// All rows, by their numbers.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&'a str, RowState<'a>)> {
        self.replay.rows()
    }

    /// Puts rows in order of their last events.
    pub(super) fn sort_by_last_event(&self, rows: &mut [usize]) {
        rows.sort_by_cached_key(|known| self.row(*known).1.last_event);
    }

    fn parts_of(&self, known: usize) -> Parts<'_> {
        let end = self.starts.get(known + 1).copied().unwrap_or(self.parts.len());
        Parts(&self.parts[self.starts[known]..end])
    }

    /// The rows of a batch that the log knows, in order, with their numbers in [`KeyIndex::row`].
    pub(super) fn hits(&self, keys: &BatchKeys<'_>) -> Vec<(usize, usize)> {
        let is_same = |row: usize, known: u32| {
            let mut parts = self.parts_of(known as usize);
            keys.columns.iter().all(|column| parts.next().is_some_and(|part| column.is(row, &part)))
        };
        let mut hits = self.table.find_all(&keys.hashes, |known| self.parts[self.starts[known as usize]], is_same);
        let mut nulls = keys.nulls.iter().copied().peekable();
        hits.retain(|(row, _)| {
            while nulls.next_if(|null| null < row).is_some() {}
            nulls.peek() != Some(row)
        });
        hits
    }

    /// Whether a run of rows may have one of the rows `known` of the log, by the smallest and largest values of its key
    /// columns; a column without them says nothing.
    pub(super) fn may_be_in(&self, known: usize, statistics: &[Option<(&Statistics, DataType)>]) -> bool {
        self.parts_of(known).zip(statistics).all(|(part, statistics)| match statistics {
            Some((statistics, data_type)) => part.may_be_in(statistics, data_type),
            None => true,
        })
    }

    /// The hash of the key of one of the rows; none when it is no key of these columns.
    pub(super) fn hash(&self, known: usize) -> Option<u64> {
        let mut parts = self.parts_of(known).peekable();
        parts.peek()?;
        Some(parts.fold(0, |hash, part| combine(hash, part.hash())))
    }
}

/// Reads the keys of some rows of a log: their parts, where those of each row start, and the hash of each row that has some.
fn read_keys(
    replay: &Replay,
    columns: &[Column],
    rows: Range<usize>,
    parts: &mut Vec<u8>,
    starts: &mut Vec<usize>,
    hashes: &mut Vec<(u64, u32)>,
) {
    let mut row_parts = Vec::new();
    for known in rows {
        let key = replay.key(RowNumber(known as u32));
        starts.push(parts.len());
        row_parts.clear();
        let mut hash = 0;
        let mut take = |text: &str, column| {
            let part = Part::of(text, column);
            hash = combine(hash, part.hash());
            part.write(&mut row_parts);
        };
        if let [column] = columns
            && key.len() <= KEY_BYTES_MAX
        {
            take(key, column);
        } else {
            let Ok(texts) = key_parts(key, columns.len()) else { continue };
            texts.iter().zip(columns).for_each(|(text, column)| take(text, column));
        }
        parts.extend_from_slice(&row_parts);
        hashes.push((hash, known as u32));
    }
}

/// The parts of the key of one row, as [`Part::write`] has written them.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        let head = i64::from_le_bytes(*head);
        let (kind, rest) = rest.split_first()?;
        if *kind == 0 {
            self.0 = rest;
            return Some(Part::Integer(head));
        }
        let (text, rest) = rest.split_at_checked(usize::try_from(head).ok()?)?;
        self.0 = rest;
        Some(Part::Text(std::str::from_utf8(text).ok()?))
    }
}

impl<'a> Part<'a> {
    fn of(text: &'a str, column: &Column) -> Part<'a> {
        if column.column_type == ColumnType::Integer
            && let Ok(integer) = text.parse::<i64>()
            // Only canonical text is a key: `007` is not the key of row 7.
            && integer.to_string() == text
        {
            return Part::Integer(integer);
        }
        if column.column_type == ColumnType::Date
            && let Some(day) = day_of(text)
        {
            return Part::Integer(day);
        }
        Part::Text(text)
    }

    /// Writes an integer, or the length of a text, then a byte that tells which, and the text.
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Part::Integer(integer) => {
                bytes.extend_from_slice(&integer.to_le_bytes());
                bytes.push(0);
            }
            Part::Text(text) => {
                bytes.extend_from_slice(&(text.len() as i64).to_le_bytes());
                bytes.push(1);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
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
