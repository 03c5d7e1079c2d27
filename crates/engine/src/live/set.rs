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
            let word = row as usize / 64;
            if word >= set.words.len() {
                // Rows come in any order: room for far more at once keeps this linear.
                set.words.resize((word + 1).max(set.words.len() * 2), 0);
            }
            set.words[word] |= 1 << (row % 64);
        }
        set
    }

    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}
