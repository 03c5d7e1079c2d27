//! The first rows of an order, found in one pass over the rows of the snapshot and without sorting all of them: what
//! somebody who sorts a column sees at once, while the whole order is still worked out.

use std::cmp::Ordering;
use std::ops::Range;

use super::columns::Columns;
use super::plan::{SortColumn, compare_values};
use super::scan::in_parallel;
use super::set::RowSet;
use super::sort_keys::{further_key, is_exact, is_text, write_keys};
use crate::cell::{CellReader, Ordered};
use crate::snapshot::{BATCH_ROWS, Snapshot};

/// The rows to choose from.
#[derive(Clone, Copy)]
pub(super) enum Among<'a> {
    All,
    /// These, in ascending order.
    Rows(&'a [u32]),
}

/// The first `count` rows by `sort`, as if there were no edits, in order; those in `out` do not count.
pub(super) fn top_rows(
    snapshot: &Snapshot,
    columns: &Columns,
    sort: &[SortColumn],
    among: Among<'_>,
    out: &RowSet,
    count: usize,
) -> Vec<u32> {
    // A column that the webapp adds is empty in every row, so it orders nothing.
    let leading = sort.iter().find_map(|by| Some((by, columns.all[by.column].original?)));
    let Some((leading, original)) = leading else {
        return match among {
            Among::All => (0..snapshot.rows() as u32).filter(|row| !out.contains(*row)).take(count).collect(),
            Among::Rows(rows) => rows.iter().copied().filter(|row| !out.contains(*row)).take(count).collect(),
        };
    };
    let text = is_text(columns.all[leading.column].column_type);
    // With one column, rows with equal keys are most often equal, and their cells need not be looked at.
    let ends = |key: u64| sort.len() == 1 && is_exact(key, text);
    let compare = |key: u64, a: u32, b: u32| {
        if ends(key) { a.cmp(&b) } else { compare_rows(snapshot, columns, sort, a, b) }
    };
    // Texts that begin alike are most often told apart by what comes next.
    let further = |row: u32| {
        let (array, place) = snapshot.array_at(row as usize, original);
        if text { further_key(array.as_ref(), place, leading.descending) } else { 0 }
    };
    let best_of = |batches: Range<usize>| {
        let mut best = Best { found: Vec::new(), last: None, count, compare: &compare, further: &further };
        let mut keys = Vec::new();
        for batch in batches {
            let array = snapshot.batches()[batch].column(original);
            write_keys(array.as_ref(), text, leading.descending, &mut keys);
            let first = (batch * BATCH_ROWS) as u32;
            match among {
                Among::All => {
                    for (key, row) in keys.iter().zip(first..) {
                        best.see(*key, row, out);
                    }
                }
                Among::Rows(rows) => {
                    let end = first as u64 + keys.len() as u64;
                    let from = rows.partition_point(|row| *row < first);
                    for row in rows[from..].iter().copied().take_while(|row| u64::from(*row) < end) {
                        let key = keys[(row - first) as usize];
                        best.see(key, row, out);
                    }
                }
            }
        }
        best.finish()
    };
    let mut found: Vec<(u64, u32)> = in_parallel(snapshot.batches().len(), snapshot.rows(), best_of).concat();
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| compare(a.0, a.1, b.1)));
    found.truncate(count);
    found.into_iter().map(|(_, row)| row).collect()
}

/// The order of two rows of the snapshot as if there were no edits; equal only for the same row.
pub(super) fn compare_rows(snapshot: &Snapshot, columns: &Columns, sort: &[SortColumn], a: u32, b: u32) -> Ordering {
    for by in sort {
        let Some(original) = columns.all[by.column].original else { continue };
        let order =
            compare_values(&ordered_at(snapshot, original, a), &ordered_at(snapshot, original, b), by.descending);
        if order.is_ne() {
            return order;
        }
    }
    a.cmp(&b)
}

pub(super) fn ordered_at(snapshot: &Snapshot, original: usize, row: u32) -> Ordered<'_> {
    let (array, place) = snapshot.array_at(row as usize, original);
    CellReader::new(array.as_ref()).ordered(place)
}

/// The best rows of one thread so far.
struct Best<'a, C, F> {
    /// Those that may be among the best, with their keys; sorted and cut whenever there are too many.
    found: Vec<(u64, u32)>,
    /// No row after this one, of which key and further key are known, is among the best.
    last: Option<(u64, u64, u32)>,
    count: usize,
    compare: &'a C,
    /// The further key of a row, which orders rows with equal keys as far as it goes.
    further: &'a F,
}

impl<C: Fn(u64, u32, u32) -> Ordering, F: Fn(u32) -> u64> Best<'_, C, F> {
    /// Looks at a row; rows come in ascending order.
    #[inline]
    fn see(&mut self, key: u64, row: u32, out: &RowSet) {
        if let Some((last_key, last_further, last_row)) = self.last
            && (key > last_key || (key == last_key && self.is_after(key, row, last_further, last_row)))
        {
            return;
        }
        if out.contains(row) {
            return;
        }
        self.found.push((key, row));
        if self.found.len() >= (self.count * 2).max(4_096) {
            self.cut();
        }
    }

    /// Whether a row comes after another one with the same key.
    fn is_after(&self, key: u64, row: u32, other_further: u64, other: u32) -> bool {
        let order = (self.further)(row).cmp(&other_further);
        order.then_with(|| (self.compare)(key, row, other)).is_gt()
    }

    fn cut(&mut self) {
        let compare = self.compare;
        self.found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| compare(a.0, a.1, b.1)));
        self.found.truncate(self.count);
        if self.found.len() == self.count {
            self.last = self.found.last().map(|(key, row)| (*key, (self.further)(*row), *row));
        }
    }

    fn finish(mut self) -> Vec<(u64, u32)> {
        self.cut();
        self.found
    }
}
