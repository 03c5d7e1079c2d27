//! Linked datasets: reference rows that are offered in a dropdown, found by key and by typing a part.

use std::borrow::Cow;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::cell::CellReader;
use crate::control::Control;
use crate::error::EngineError;
use crate::read::{FileSource, Fingerprint, near_name};
use crate::similarity::push_plain;

/// The most rows of a linked dataset.
pub const LINK_ROWS_MAX: usize = 2_000_000;

/// The most text of a linked dataset that is kept, in bytes.
const LINK_BYTES_MAX: usize = 1 << 30;

/// The most options that one search gives.
pub const LINK_OPTIONS_MAX: usize = 200;

const BATCH_ROWS: usize = 16 * 1024;

/// Between the folded fields of a row: no typed term has it.
const FIELD_END: char = '\u{1f}';

/// The rows of a linked dataset, in memory: key, label and lookups as texts. Rows without a key are left out; of rows with
/// the same key the first one counts.
#[derive(Debug)]
pub struct LinkIndex {
    dataset: String,
    fingerprint: Fingerprint,
    lookups: usize,
    /// The fields of all rows: key, label, lookups.
    text: String,
    /// Where each field ends in `text`, with the highest bit set for null.
    ends: Vec<u32>,
    /// The fields of all rows in lower case and without accents, each followed by [`FIELD_END`].
    folded: String,
    /// Where each row ends in `folded`.
    folded_ends: Vec<u32>,
    /// Row numbers by key.
    rows: HashTable<u32>,
}

const NULL_BIT: u32 = 1 << 31;

/// A row of a linked dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow<'a> {
    /// The value that is stored in a linked column.
    pub key: &'a str,
    /// What is shown for it; none for null.
    pub label: Option<&'a str>,
    /// What is shown beside the label; none for null.
    pub lookups: Vec<Option<&'a str>>,
}

/// The answer to a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkOptions<'a> {
    /// The best rows, best first.
    pub rows: Vec<LinkRow<'a>>,
    /// Whether there are more.
    pub more: bool,
}

impl LinkIndex {
    /// Reads a linked dataset.
    ///
    /// # Errors
    /// When it cannot be read, lacks one of the columns, or is too large for a dropdown.
    pub fn load(
        source: &FileSource,
        key: &str,
        label: &str,
        lookups: &[String],
        control: &Control,
    ) -> Result<LinkIndex, EngineError> {
        let fingerprint = source.fingerprint()?;
        let source = source.settled()?;
        let names: Vec<String> = source.columns()?.into_iter().map(|column| column.name).collect();
        let projection = [key, label]
            .into_iter()
            .chain(lookups.iter().map(String::as_str))
            .map(|name| {
                names.iter().position(|other| other == name).ok_or_else(|| {
                    let near = near_name(name, &names).map(|near| format!("; it has `{near}`")).unwrap_or_default();
                    let message = format!("a linked record needs the column `{name}`, which is not there{near}");
                    EngineError::Schema { dataset: source.dataset.clone(), message }
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut index = LinkIndex {
            dataset: source.dataset.clone(),
            fingerprint,
            lookups: lookups.len(),
            text: String::new(),
            ends: Vec::new(),
            folded: String::new(),
            folded_ends: Vec::new(),
            rows: HashTable::new(),
        };
        let rows_total = source.rows_known()?;
        let mut rows_done = 0;
        for batch in source.batches(Some(&projection), BATCH_ROWS)?.batches {
            let batch = batch?;
            let readers: Vec<CellReader> =
                batch.columns().iter().map(|column| CellReader::new(column.as_ref())).collect();
            for row in 0..batch.num_rows() {
                index.push(&readers, row);
            }
            if index.len() > LINK_ROWS_MAX || index.text.len().max(index.folded.len()) > LINK_BYTES_MAX {
                return Err(EngineError::Schema {
                    dataset: source.dataset.clone(),
                    message: format!("it is too large for a linked record: the most is {LINK_ROWS_MAX} rows and 1 GB"),
                });
            }
            rows_done += batch.num_rows() as u64;
            control.report(rows_done, rows_total)?;
        }
        index.text.shrink_to_fit();
        index.folded.shrink_to_fit();
        index.ends.shrink_to_fit();
        Ok(index)
    }

    /// The dataset's name.
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// The files as they were when they were read.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.folded_ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.folded_ends.is_empty()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        let words = self.ends.capacity() + self.folded_ends.capacity();
        self.text.capacity() + self.folded.capacity() + words * 4 + self.rows.capacity() * 5
    }

    /// Whether a value is a key of the linked dataset.
    pub fn contains(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The row with this key.
    pub fn get(&self, key: &str) -> Option<LinkRow<'_>> {
        self.find(key).map(|row| self.row(row as usize))
    }

    /// All rows, in the order of the dataset.
    pub fn rows(&self) -> impl Iterator<Item = LinkRow<'_>> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// The rows in which every word of the term occurs, in the key, the label or a lookup, without regard to case and
    /// accents. First come those whose key or label is the term, then those whose key or label starts with it, then those
    /// that have words starting so, then the others; shorter labels first within each. An empty term gives the first rows.
    pub fn search(&self, term: &str, limit: usize) -> LinkOptions<'_> {
        let limit = limit.min(LINK_OPTIONS_MAX);
        let term = fold(term.trim()).into_owned();
        let words: Vec<&str> = term.split_whitespace().collect();
        let mut best: BinaryHeap<(u8, usize, usize)> = BinaryHeap::with_capacity(limit + 1);
        let mut more = false;
        for row in 0..self.len() {
            let folded = self.folded(row);
            if !words.iter().all(|word| folded.contains(word)) {
                continue;
            }
            if words.is_empty() {
                if best.len() == limit {
                    more = true;
                    break;
                }
                best.push((0, 0, row));
                continue;
            }
            let mut fields = folded.split(FIELD_END);
            let (key, label) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            best.push((rank(&term, &words, key, label, folded), label.len(), row));
            if best.len() > limit {
                best.pop();
                more = true;
            }
        }
        LinkOptions { rows: best.into_sorted_vec().into_iter().map(|(_, _, row)| self.row(row)).collect(), more }
    }

    fn push(&mut self, readers: &[CellReader<'_>], row: usize) {
        let start = self.text.len();
        if !readers[0].write(row, &mut self.text) {
            return;
        }
        let number = self.folded_ends.len() as u32;
        let (text, ends, fields) = (&self.text, &self.ends, self.lookups + 2);
        let key_of = |row: u32| {
            let first = row as usize * fields;
            let start = if first == 0 { 0 } else { (ends[first - 1] & !NULL_BIT) as usize };
            &text[start..(ends[first] & !NULL_BIT) as usize]
        };
        let key = &text[start..];
        match self.rows.entry(hash(key), |other| key_of(*other) == key, |other| hash(key_of(*other))) {
            Entry::Occupied(_) => {
                self.text.truncate(start);
                return;
            }
            Entry::Vacant(entry) => {
                entry.insert(number);
            }
        }
        self.ends.push(self.text.len() as u32);
        let mut folded = fold(&self.text[start..]).into_owned();
        folded.push(FIELD_END);
        for reader in &readers[1..] {
            let start = self.text.len();
            let null = if reader.write(row, &mut self.text) { 0 } else { NULL_BIT };
            self.ends.push(self.text.len() as u32 | null);
            folded.push_str(&fold(&self.text[start..]));
            folded.push(FIELD_END);
        }
        self.folded.push_str(&folded);
        self.folded_ends.push(self.folded.len() as u32);
    }

    fn find(&self, key: &str) -> Option<u32> {
        let is_same = |row: &u32| self.field(*row as usize, 0) == Some(key);
        self.rows.find(hash(key), is_same).copied()
    }

    fn row(&self, row: usize) -> LinkRow<'_> {
        LinkRow {
            key: self.field(row, 0).unwrap_or_default(),
            label: self.field(row, 1),
            lookups: (0..self.lookups).map(|lookup| self.field(row, lookup + 2)).collect(),
        }
    }

    fn field(&self, row: usize, field: usize) -> Option<&str> {
        let place = row * (self.lookups + 2) + field;
        let start = if place == 0 { 0 } else { (self.ends[place - 1] & !NULL_BIT) as usize };
        let end = self.ends[place];
        (end & NULL_BIT == 0).then(|| &self.text[start..end as usize])
    }

    fn folded(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.folded_ends[row - 1] as usize };
        &self.folded[start..self.folded_ends[row] as usize]
    }
}

fn rank(term: &str, words: &[&str], key: &str, label: &str, folded: &str) -> u8 {
    let starts_word = |word: &str| {
        folded.match_indices(word).any(|(at, _)| !folded[..at].chars().next_back().is_some_and(char::is_alphanumeric))
    };
    if key == term {
        0
    } else if label == term {
        1
    } else if key.starts_with(term) || label.starts_with(term) {
        2
    } else if words.iter().all(|word| starts_word(word)) {
        3
    } else {
        4
    }
}

fn hash(key: &str) -> u64 {
    FixedState::default().hash_one(key.as_bytes())
}

/// The text in lower case and without accents and strokes.
fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return crate::ordering::fold_case(text);
    }
    let letters = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
    let mut folded = String::with_capacity(text.len());
    letters.for_each(|letter| push_plain(&mut folded, letter));
    Cow::Owned(folded)
}
