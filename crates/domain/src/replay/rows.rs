//! The rows of a state, found by their keys.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::RowState;
use crate::key::Key;

/// Rows kept together: enough that a state of millions has few chunks, few enough that a small one takes little.
const CHUNK_ROWS: usize = 4_096;

const STATE: FixedState = FixedState::with_seed(0);

/// A map of rows that stays small for its content. A table of whole rows is half empty after it has grown, and there twice
/// while it grows; here the table has numbers of rows, and the rows lie in chunks that never move.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    /// The place of each row in `chunks`.
    table: HashTable<u32>,
    chunks: Vec<Vec<(Key, RowState)>>,
}

impl Rows {
    pub(super) fn get(&self, key: &str) -> Option<&RowState> {
        let place = self.place(key)?;
        Some(&self.at(place).1)
    }

    /// The row of a key, put there by `new` if there is none.
    pub(super) fn get_or_insert(&mut self, key: &Key, new: impl FnOnce() -> RowState) -> &mut RowState {
        let place = match self.place(key.as_str()) {
            Some(place) => place,
            None => self.push(key.clone(), new()),
        };
        &mut self.chunks[place as usize / CHUNK_ROWS][place as usize % CHUNK_ROWS].1
    }

    /// Puts a row in the place of what is there of its key.
    pub(super) fn insert(&mut self, key: Key, row: RowState) {
        match self.place(key.as_str()) {
            Some(place) => self.chunks[place as usize / CHUNK_ROWS][place as usize % CHUNK_ROWS].1 = row,
            None => {
                self.push(key, row);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &RowState)> {
        self.chunks.iter().flatten().map(|(key, row)| (key, row))
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    fn at(&self, place: u32) -> &(Key, RowState) {
        &self.chunks[place as usize / CHUNK_ROWS][place as usize % CHUNK_ROWS]
    }

    fn place(&self, key: &str) -> Option<u32> {
        self.table.find(hash(key), |place| self.at(*place).0.as_str() == key).copied()
    }

    fn push(&mut self, key: Key, row: RowState) -> u32 {
        let place = self.table.len() as u32;
        let hashed = hash(key.as_str());
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_ROWS => chunk.push((key, row)),
            // The first chunk grows as it needs to: most states have a few rows.
            None => self.chunks.push(vec![(key, row)]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK_ROWS);
                chunk.push((key, row));
                self.chunks.push(chunk);
            }
        }
        let chunks = &self.chunks;
        self.table.insert_unique(hashed, place, |place| {
            hash(chunks[*place as usize / CHUNK_ROWS][*place as usize % CHUNK_ROWS].0.as_str())
        });
        place
    }
}

fn hash(key: &str) -> u64 {
    STATE.hash_one(key)
}
