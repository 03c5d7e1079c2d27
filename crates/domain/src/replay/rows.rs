//! The rows of a state, found by their keys.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{RowNumber, RowState, record};

/// Records lie together in pieces of memory of about this size, which never move.
const CHUNK_BYTES: usize = 256 * 1024;

/// Records that were replaced are cleared away when they are this much, and more than those that are there.
const CLEARED_BYTES_MIN: usize = 1024 * 1024;

const STATE: FixedState = FixedState::with_seed(0);

/// A map of rows that stays small for its content: a table of numbers, and the records of the rows in a few large pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    /// The number of each row.
    table: HashTable<u32>,
    /// Where the record of each row is, by its number.
    places: Vec<Place>,
    chunks: Vec<Vec<u8>>,
    /// Bytes of records, and of those that were replaced.
    bytes: usize,
    bytes_replaced: usize,
}

/// Where a record is.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    start: u32,
    length: u32,
}

impl Rows {
    pub(super) fn get(&self, key: &str) -> Option<RowState<'_>> {
        Some(self.at(self.find(key)?).1)
    }

    fn find(&self, key: &str) -> Option<RowNumber> {
        self.find_hashed(key).0
    }

    /// The row of a key, if there is one, and the hash of the key, for [`Rows::put_at`].
    pub(super) fn find_hashed(&self, key: &str) -> (Option<RowNumber>, u64) {
        let hashed = hash(key.as_bytes());
        let found = self.table.find(hashed, |number| record::key(self.record(*number)) == key.as_bytes());
        (found.map(|number| RowNumber(*number)), hashed)
    }

    pub(super) fn key_at(&self, number: RowNumber) -> &str {
        // See `at`: keys were texts when they were written.
        std::str::from_utf8(record::key(self.record(number.0))).unwrap_or_default()
    }

    pub(super) fn at(&self, number: RowNumber) -> (&str, RowState<'_>) {
        // Every record was made by `record::write`, or looked through by `record::is_whole`.
        record::read(self.record(number.0)).unwrap_or_else(|| unreachable!("a record that was written can be read"))
    }

    pub(super) fn record_at(&self, number: RowNumber) -> &[u8] {
        self.record(number.0)
    }

    /// Puts a record in the place of what is there of its key.
    pub(super) fn put(&mut self, record: &[u8]) {
        let key = record::key(record);
        let hashed = hash(key);
        let known = self.table.find(hashed, |number| record::key(self.record(*number)) == key).copied();
        self.put_at(known.map(RowNumber), hashed, record);
    }

    /// Puts a record in the place of what [`Rows::find_hashed`] has found of its key.
    pub(super) fn put_at(&mut self, known: Option<RowNumber>, hashed: u64, record: &[u8]) {
        let Some(RowNumber(number)) = known else {
            let number = self.places.len() as u32;
            let place = self.append(record);
            self.places.push(place);
            let (places, chunks) = (&self.places, &self.chunks);
            let hash_of = |number: &u32| hash(record::key(in_chunks(chunks, places[*number as usize])));
            self.table.insert_unique(hashed, number, hash_of);
            return;
        };
        let place = self.places[number as usize];
        if place.length as usize == record.len() {
            let start = place.start as usize;
            self.chunks[place.chunk as usize][start..start + record.len()].copy_from_slice(record);
            return;
        }
        self.bytes -= place.length as usize;
        self.bytes_replaced += place.length as usize;
        self.places[number as usize] = self.append(record);
        if self.bytes_replaced > CLEARED_BYTES_MIN.max(self.bytes) {
            self.clear_away();
        }
    }

    /// All rows, in the order in which their keys first appeared.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, RowState<'_>)> {
        self.numbers().map(|number| self.at(number))
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = RowNumber> + use<> {
        (0..self.places.len() as u32).map(RowNumber)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum::<usize>()
            + self.places.capacity() * size_of::<Place>()
            + self.table.allocation_size()
    }

    fn record(&self, number: u32) -> &[u8] {
        in_chunks(&self.chunks, self.places[number as usize])
    }

    fn append(&mut self, record: &[u8]) -> Place {
        let has_room = self.chunks.last().is_some_and(|chunk| chunk.len() + record.len() <= CHUNK_BYTES);
        if !has_room {
            // The first chunk grows as it needs to: most states have a few rows.
            let room = if self.chunks.is_empty() { record.len() } else { CHUNK_BYTES.max(record.len()) };
            self.chunks.push(Vec::with_capacity(room));
        }
        assert!(u32::try_from(record.len()).is_ok(), "what the log says of one row takes more than 4 GB");
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        let start = chunk.len() as u32;
        chunk.extend_from_slice(record);
        self.bytes += record.len();
        Place { chunk: last as u32, start, length: record.len() as u32 }
    }

    /// Moves the records together.
    fn clear_away(&mut self) {
        let chunks = std::mem::take(&mut self.chunks);
        (self.bytes, self.bytes_replaced) = (0, 0);
        for number in 0..self.places.len() {
            let place = self.append(in_chunks(&chunks, self.places[number]));
            self.places[number] = place;
        }
    }
}

fn in_chunks(chunks: &[Vec<u8>], place: Place) -> &[u8] {
    let start = place.start as usize;
    &chunks[place.chunk as usize][start..start + place.length as usize]
}

fn hash(key: &[u8]) -> u64 {
    STATE.hash_one(key)
}
