//! Sets of row numbers.

/// A set of row numbers, one bit for each row of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct RowSet {
    words: Vec<u64>,
}

impl RowSet {
    pub fn new(rows: impl IntoIterator<Item = u32>) -> RowSet {
        let mut set = RowSet::default();
        for row in rows {
            set.insert(row);
        }
        set
    }

    /// Puts a row in; whether it was not in it before.
    pub fn insert(&mut self, row: u32) -> bool {
        let word = row as usize / 64;
        if word >= self.words.len() {
            // Rows come in any order: room for far more at once keeps this linear.
            self.words.resize((word + 1).max(self.words.len() * 2), 0);
        }
        let bit = 1 << (row % 64);
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}
