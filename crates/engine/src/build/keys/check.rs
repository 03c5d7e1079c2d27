//! The check that every row of an original has a key of its own.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use stet_domain::Key;

use super::packed::{PackedHashes, cut, repeated};
use super::{BatchKeys, KeyColumns, KeyFilter, STATE};
use crate::control::Control;
use crate::error::EngineError;
use crate::read::FileSource;

/// How many rows without a key, and how many keys of several rows, an error lists.
pub const KEYS_LISTED_MAX: usize = 20;

/// The most memory for the hashes of all keys, in bytes: enough for more than twenty-five million. A larger original is looked
/// through several times, for one part of the hashes each time, of at most so many.
const HASHES_BYTES_MAX: usize = 128 * 1024 * 1024;
const HASHES_MAX: usize = 16 * 1024 * 1024;

const BATCH_ROWS: usize = 32 * 1024;

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

/// What one run of rows (a batch, a row group) has for keys, as far as the check for doubled keys needs it.
#[derive(Debug, Default)]
pub(in crate::build) struct KeyRun {
    rows: u64,
    /// The first rows without a key, counted from the start of the run, and how many there are.
    nulls_first: Vec<u64>,
    nulls: u64,
    /// The first and last value of a column that ascends from row to row, as row numbers do.
    ascending: Option<(i64, i64)>,
    /// The hashes of all keys.
    hashes: Vec<u64>,
}

/// A run that is over. What is left of the hashes is little, and nothing when a column ascends: no key can be there twice
/// then.
#[derive(Debug)]
pub(in crate::build) struct EndedRun {
    rows: u64,
    nulls_first: Vec<u64>,
    nulls: u64,
    ascending: Option<(i64, i64)>,
    hashes: PackedHashes,
}

impl KeyRun {
    /// Takes the keys of the next rows of the run.
    pub(in crate::build) fn take(&mut self, keys: &BatchKeys<'_>) {
        for row in &keys.nulls {
            self.nulls += 1;
            if self.nulls_first.len() < KEYS_LISTED_MAX {
                self.nulls_first.push(self.rows + *row as u64);
            }
        }
        if !keys.hashes.is_empty() {
            let range = keys.integers().and_then(ascending);
            self.ascending = match (self.ascending, range) {
                (None, Some(range)) if self.rows == 0 => Some(range),
                (Some((first, last)), Some((next, end))) if next > last => Some((first, end)),
                _ => None,
            };
        }
        self.hashes.extend(&keys.hashes);
        self.rows += keys.hashes.len() as u64;
    }

    /// A filter that tells whether a key may be in the run; it says nothing for a run that ascends, of which the first and
    /// last key tell enough.
    pub(in crate::build) fn filter(&self) -> KeyFilter {
        if self.ascending.is_some() { KeyFilter::default() } else { KeyFilter::of(&self.hashes) }
    }

    /// Ends the run.
    pub(in crate::build) fn ended(self) -> EndedRun {
        let KeyRun { rows, nulls_first, nulls, ascending, hashes } = self;
        let hashes = if ascending.is_some() { PackedHashes::default() } else { PackedHashes::of(&hashes) };
        EndedRun { rows, nulls_first, nulls, ascending, hashes }
    }
}

fn ascending(integers: &[i64]) -> Option<(i64, i64)> {
    let ascends = integers.windows(2).all(|pair| pair[0] < pair[1]);
    if ascends { Some((*integers.first()?, *integers.last()?)) } else { None }
}

/// The check that every row has a key of its own, made beside another pass over the rows.
#[derive(Debug)]
pub(in crate::build) struct KeyCheck {
    rows: u64,
    /// The first rows without a key, and how many there are.
    nulls_first: Vec<u64>,
    nulls: u64,
    /// The ranges of the runs whose keys ascend.
    ranges: Vec<(i64, i64)>,
    /// The hashes of the keys of the other runs, and how many bytes they take.
    hashes: Vec<PackedHashes>,
    hashes_bytes: usize,
    /// Whether there are too many hashes to keep them all: the keys have to be looked through again.
    is_overfull: bool,
}

impl KeyCheck {
    pub(in crate::build) fn new() -> KeyCheck {
        KeyCheck {
            rows: 0,
            nulls_first: Vec::new(),
            nulls: 0,
            ranges: Vec::new(),
            hashes: Vec::new(),
            hashes_bytes: 0,
            is_overfull: false,
        }
    }

    /// How many rows were taken.
    pub(in crate::build) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes the keys of the next rows.
    pub(in crate::build) fn take(&mut self, keys: &BatchKeys<'_>) {
        let mut run = KeyRun::default();
        run.take(keys);
        self.add(run.ended());
    }

    /// Takes the next run of rows.
    pub(in crate::build) fn add(&mut self, run: EndedRun) {
        self.nulls += run.nulls;
        let room = KEYS_LISTED_MAX.saturating_sub(self.nulls_first.len());
        self.nulls_first.extend(run.nulls_first.iter().take(room).map(|row| self.rows + row + 1));
        self.rows += run.rows;
        match (run.ascending, self.ranges.last_mut()) {
            (Some((first, last)), Some(range)) if first > range.1 => range.1 = last,
            (Some(range), _) => self.ranges.push(range),
            (None, _) => {
                self.hashes_bytes += run.hashes.bytes();
                self.is_overfull |= self.hashes_bytes > HASHES_BYTES_MAX;
                if self.is_overfull {
                    self.hashes = Vec::new();
                } else {
                    self.hashes.push(run.hashes);
                }
            }
        }
    }

    /// The cut hashes that several rows have, from what was kept; none when that does not tell.
    fn repeated_hashes(&mut self) -> Option<Vec<u64>> {
        if self.is_overfull {
            return None;
        }
        self.ranges.sort_unstable();
        let is_apart = self.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        match (self.ranges.is_empty(), self.hashes.is_empty()) {
            (true, _) => Some(repeated(&std::mem::take(&mut self.hashes))),
            (false, true) if is_apart => Some(Vec::new()),
            _ => None,
        }
    }

    /// Ends the check.
    pub(in crate::build) fn finish(
        mut self,
        source: &FileSource,
        keys: &KeyColumns,
        control: &Control,
    ) -> Result<(), EngineError> {
        let mut doubled = match self.repeated_hashes() {
            Some(doubled) => doubled,
            None => repeated_in_passes(source, keys, self.rows, control)?,
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

/// The cut hashes that several rows have, for an original with more rows than hashes may be kept at once: one part of the hashes in each pass.
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
        all.append(&mut repeated(&[PackedHashes::of(&hashes)]));
    }
    Ok(all)
}

/// The keys of several rows among those with some cut hashes, with the first of their rows, in order of their first rows.
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
            if nulls.next_if_eq(&row).is_some() || hashes.binary_search(&cut(*hash)).is_err() {
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
