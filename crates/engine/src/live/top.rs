//! The first rows of an order, found without sorting all of them: what somebody who sorts a column sees at once, while the
//! whole order is still worked out.
//!
//! The zones of the snapshot tell where the best rows can be: those that begin with the best cell are looked at first, and
//! when enough rows are found that are better than whatever the next zone begins with, the others need not be. Where
//! the zones do not tell, because nothing is known of the column or its cells begin too much alike, every row is looked at.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;

use super::columns::Columns;
use super::plan::{Plan, SortColumn};
use super::scan::{Filters, in_parallel};
use super::set::RowSet;
use crate::cell::{CellReader, Ordered};
use crate::ordering::{compare_values, further_key, is_exact, is_text, key_of, write_keys};
use crate::snapshot::{BATCH_ROWS, Bound, Snapshot, ZONE_ROWS, Zone};

/// Of so many zones one is looked at before all rows are: then the zones do not tell enough.
const ZONES_PART: usize = 4;

/// When more of the rows than one in so many are to choose from, zones tell which of them to look at.
const ROWS_PART: usize = 16;

/// Of so many rows in a batch one is to choose from before the keys of all are made at once.
const BATCH_PART: usize = 8;

/// The rows to choose from.
#[derive(Clone, Copy)]
pub(super) enum Among<'a> {
    All,
    /// These, in ascending order.
    Rows(&'a [u32]),
}

/// An order in which rows are looked for.
#[derive(Clone, Copy)]
pub(super) struct Sorting<'a> {
    pub snapshot: &'a Snapshot,
    pub columns: &'a Columns,
    pub sort: &'a [SortColumn],
}

/// The first `count` rows of an order, as if there were no edits; those in `out` do not count.
pub(super) fn top_rows(sorting: Sorting<'_>, among: Among<'_>, out: &RowSet, count: usize) -> Vec<u32> {
    let snapshot = sorting.snapshot;
    let Some(leading) = Leading::of(sorting) else {
        return match among {
            Among::All => (0..snapshot.rows() as u32).filter(|row| !out.contains(*row)).take(count).collect(),
            Among::Rows(rows) => rows.iter().copied().filter(|row| !out.contains(*row)).take(count).collect(),
        };
    };
    let by_zones = match among {
        Among::All => leading.by_zones(count, |row| !out.contains(row)),
        Among::Rows(rows) if rows.len() > snapshot.rows() / ROWS_PART => {
            leading.by_zones(count, |row| !out.contains(row) && rows.binary_search(&row).is_ok())
        }
        Among::Rows(_) => None,
    };
    by_zones.unwrap_or_else(|| leading.by_batches(among, out, count))
}

/// The first `count` rows of an order that pass the filters of the plan, as if there were no edits; those in `out` do not
/// count. None when the zones do not tell where they are; then whoever asks had better look for all rows that pass.
pub(super) fn top_passing(sorting: Sorting<'_>, plan: &Plan, out: &RowSet, count: usize) -> Option<Vec<u32>> {
    let filters = Filters::of(sorting.columns, plan);
    Leading::of(sorting)?.by_zones(count, |row| !out.contains(row) && filters.pass(sorting.snapshot, row))
}

/// The order of two rows of the snapshot as if there were no edits; equal only for the same row.
fn compare_rows(sorting: Sorting<'_>, a: u32, b: u32) -> Ordering {
    compare_cells(sorting, a, b).then(a.cmp(&b))
}

/// The order of the cells of two rows, which can be equal.
fn compare_cells(sorting: Sorting<'_>, a: u32, b: u32) -> Ordering {
    for by in sorting.sort {
        let Some(original) = sorting.columns.all[by.column].original else { continue };
        let cell = |row| ordered_at(sorting.snapshot, original, row);
        let order = compare_values(&cell(a), &cell(b), by.descending);
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn ordered_at(snapshot: &Snapshot, original: usize, row: u32) -> Ordered<'_> {
    let (array, place) = snapshot.array_at(row as usize, original);
    CellReader::new(array.as_ref()).ordered(place)
}

/// The first column of an order that orders anything: one that the webapp adds is empty in every row.
struct Leading<'a> {
    sorting: Sorting<'a>,
    /// Its place in the table.
    column: usize,
    /// Its place in the snapshot.
    original: usize,
    text: bool,
    descending: bool,
}

impl<'a> Leading<'a> {
    fn of(sorting: Sorting<'a>) -> Option<Leading<'a>> {
        let of = |by: &SortColumn| Some((*by, sorting.columns.all[by.column].original?));
        let (by, original) = sorting.sort.iter().find_map(of)?;
        let text = is_text(sorting.columns.all[by.column].column_type);
        Some(Leading { sorting, column: by.column, original, text, descending: by.descending })
    }

    /// Looks at the zones with the best cells, until there are none that could have a better one than those that were
    /// found. `is_in` tells whether a row is to choose from, and is asked only of those that may be among the best. None when so
    /// many zones would have to be looked at that it is not worth while.
    fn by_zones(&self, count: usize, is_in: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
        let snapshot = self.sorting.snapshot;
        let zones = snapshot.zones().of(self.original, self.descending)?;
        let mut zones: BinaryHeap<Reverse<Zone>> = zones.map(Reverse).collect();
        let mut left = zones.len().div_ceil(ZONES_PART);
        let mut best = Best::new(self, count);
        let mut keys = Vec::new();
        while let Some(Reverse(zone)) = zones.pop() {
            match best.is_before(zone) {
                Before::All => break,
                Before::This => continue,
                Before::Not => left = left.checked_sub(1)?,
            }
            let first = zone.number as usize * ZONE_ROWS;
            let rows = ZONE_ROWS.min(snapshot.rows() - first);
            let (array, place) = snapshot.array_at(first, self.original);
            write_keys(array.slice(place, rows).as_ref(), self.text, self.descending, &mut keys);
            keys.iter().zip(first as u32..).for_each(|(key, row)| best.see(*key, row, &is_in));
            best.settle();
        }
        Some(best.finish().into_iter().map(|(_, row)| row).collect())
    }

    /// Looks at all rows to choose from, on several threads.
    fn by_batches(&self, among: Among<'_>, out: &RowSet, count: usize) -> Vec<u32> {
        let snapshot = self.sorting.snapshot;
        let is_in = |row: u32| !out.contains(row);
        let best_of = |batches: Range<usize>| {
            let mut best = Best::new(self, count);
            let mut keys = Vec::new();
            for batch in batches {
                let array = snapshot.batches()[batch].column(self.original).as_ref();
                let first = (batch * BATCH_ROWS) as u32;
                let rows = match among {
                    Among::All => None,
                    Among::Rows(rows) => {
                        let end = first as usize + array.len();
                        let to = rows.partition_point(|row| (*row as usize) < end);
                        Some(&rows[rows[..to].partition_point(|row| *row < first)..to])
                    }
                };
                match rows {
                    Some(rows) if rows.len() < array.len() / BATCH_PART => {
                        let reader = CellReader::new(array);
                        for row in rows {
                            let cell = reader.ordered((row - first) as usize);
                            best.see(key_of(&cell, self.text, self.descending), *row, &is_in);
                        }
                    }
                    Some(rows) => {
                        write_keys(array, self.text, self.descending, &mut keys);
                        rows.iter().for_each(|row| best.see(keys[(row - first) as usize], *row, &is_in));
                    }
                    None => {
                        write_keys(array, self.text, self.descending, &mut keys);
                        keys.iter().zip(first..).for_each(|(key, row)| best.see(*key, row, &is_in));
                    }
                }
            }
            best.finish()
        };
        let mut found: Vec<(u64, u32)> = in_parallel(snapshot.batches().len(), snapshot.rows(), best_of).concat();
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.compare(a.0, a.1, b.1)));
        found.truncate(count);
        found.into_iter().map(|(_, row)| row).collect()
    }

    /// Whether rows with this key are equal, so that their cells need not be looked at: with one column most often.
    fn ends(&self, key: u64) -> bool {
        self.sorting.sort.len() == 1 && is_exact(key, self.text)
    }

    /// The order of two rows with the same key.
    fn compare(&self, key: u64, a: u32, b: u32) -> Ordering {
        if self.ends(key) { a.cmp(&b) } else { compare_rows(self.sorting, a, b) }
    }

    /// What tells most texts apart that begin alike.
    fn further(&self, row: u32) -> u64 {
        let (array, place) = self.sorting.snapshot.array_at(row as usize, self.original);
        if self.text { further_key(array.as_ref(), place, self.descending) } else { 0 }
    }
}

/// Whether the rows that were found come before those of a zone.
enum Before {
    /// And before those of all zones after it.
    All,
    /// Before those of this one.
    This,
    /// Some of its rows may be better.
    Not,
}

/// The best rows of one thread so far.
struct Best<'a> {
    leading: &'a Leading<'a>,
    /// Those that may be among the best, with their keys; sorted and cut whenever there are too many.
    found: Vec<(u64, u32)>,
    /// No row after this one, of which key and further key are known, is among the best.
    last: Option<(Bound, u32)>,
    count: usize,
}

impl<'a> Best<'a> {
    fn new(leading: &'a Leading<'a>, count: usize) -> Best<'a> {
        Best { leading, found: Vec::new(), last: None, count }
    }

    /// Looks at a row.
    #[inline]
    fn see(&mut self, key: u64, row: u32, is_in: &impl Fn(u32) -> bool) {
        if let Some((last, last_row)) = self.last
            && (key > last.key || (key == last.key && self.is_after(key, row, last.further, last_row)))
        {
            return;
        }
        if !is_in(row) {
            return;
        }
        self.found.push((key, row));
        if self.found.len() >= (self.count * 2).max(4_096) {
            self.cut();
        }
    }

    /// Whether a row comes after another one with the same key.
    fn is_after(&self, key: u64, row: u32, other_further: u64, other: u32) -> bool {
        let order = self.leading.further(row).cmp(&other_further);
        order.then_with(|| self.leading.compare(key, row, other)).is_gt()
    }

    /// Whether all rows that were found come before those of a zone.
    fn is_before(&self, zone: Zone) -> Before {
        let leading = self.leading;
        let Some((last, last_row)) = self.last else { return Before::Not };
        match (last.cmp(&zone.bound), zone.best) {
            (Ordering::Less, _) => Before::All,
            (Ordering::Greater, _) => Before::Not,
            // The zones come in order of their bounds, and of the rows where these are equal.
            (Ordering::Equal, None) if leading.ends(last.key) => {
                if (last_row as usize) < zone.number as usize * ZONE_ROWS { Before::All } else { Before::Not }
            }
            (Ordering::Equal, None) => Before::Not,
            (Ordering::Equal, Some(best)) => {
                let sorting = leading.sorting;
                let by = [SortColumn { column: leading.column, descending: leading.descending }];
                let one = Sorting { sort: &by, ..sorting };
                // By further columns a row with the same cell may come earlier.
                let order = match sorting.sort.len() {
                    1 => compare_rows(one, last_row, best),
                    _ => compare_cells(one, last_row, best),
                };
                if order.is_lt() { Before::This } else { Before::Not }
            }
        }
    }

    /// Cuts when there are so many more than wanted that the last of them is most likely a better one now.
    fn settle(&mut self) {
        if self.found.len() > self.count + self.count / 4 || (self.last.is_none() && self.found.len() >= self.count) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let leading = self.leading;
        self.found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| leading.compare(a.0, a.1, b.1)));
        self.found.truncate(self.count);
        if self.found.len() == self.count {
            let bound = |(key, row): &(u64, u32)| (Bound { key: *key, further: leading.further(*row) }, *row);
            self.last = self.found.last().map(bound);
        }
    }

    fn finish(mut self) -> Vec<(u64, u32)> {
        self.cut();
        self.found
    }
}

#[cfg(test)]
mod tests {
    use stet_domain::ColumnType;
    use stet_domain::project::{Column, CsvForm, Format};

    use super::*;
    use crate::control::Control;
    use crate::live::TableSpec;
    use crate::read::FileSource;

    const ROWS: usize = 16 * ZONE_ROWS + 100;

    /// Values that lie in order, in no order, few ones, ones that begin alike, and empty ones.
    fn snapshot(folder: &std::path::Path) -> std::sync::Arc<Snapshot> {
        let mut text = "id,number,few,moment,name,alike,empty\n".to_owned();
        for row in 0..ROWS {
            let scrambled = row * 7_919 % 100_003;
            let few = if row % 7 == 0 { "" } else { ["b", "B", "a", "\u{e9}", "C"][row / 900 % 5] };
            let number = if row % 11 == 0 { String::new() } else { format!("{}.5", scrambled as i64 % 1_000 - 500) };
            let moment = format!("2020-01-{:02}T00:00:{:02}", row / 400 + 1, row % 60);
            text +=
                &format!("{row},{number},{few},{moment},Name {scrambled},https://example.org/{},\n", scrambled % 1_500);
        }
        let columns = [
            ("id", ColumnType::Integer),
            ("number", ColumnType::Number),
            ("few", ColumnType::Text),
            ("moment", ColumnType::DateTime),
            ("name", ColumnType::Text),
            ("alike", ColumnType::Text),
            ("empty", ColumnType::Integer),
        ];
        let path = folder.join("rows.csv");
        std::fs::write(&path, text).unwrap();
        let columns =
            columns.into_iter().map(|(name, column_type)| Column { name: name.into(), column_type }).collect();
        let (dataset, csv) = ("rows".to_owned(), CsvForm::default());
        let source = FileSource { dataset, path, format: Format::Csv, csv, columns: Some(columns) };
        Snapshot::open(&source, &["id".to_owned()], &folder.join("cache"), &Control::unwatched()).unwrap()
    }

    #[test]
    fn zones_give_the_rows_that_looking_at_all_of_them_gives() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = snapshot(folder.path());
        let columns = Columns::new(&snapshot, &TableSpec { name: "table".into(), ..TableSpec::default() }).unwrap();
        let out = RowSet::new((0..ROWS as u32).filter(|row| row % 5 == 3));
        let some: Vec<u32> = (0..ROWS as u32).filter(|row| row % 3 > 0).collect();
        let mut told = [0; 7];
        for (column, told) in told.iter_mut().enumerate() {
            for (descending, then) in [(false, None), (true, None), (false, Some(4)), (true, Some(1))] {
                let by = |column, descending| SortColumn { column, descending };
                let sort: Vec<SortColumn> =
                    [by(column, descending)].into_iter().chain(then.map(|then| by(then, true))).collect();
                let sorting = Sorting { snapshot: &snapshot, columns: &columns, sort: &sort };
                let mut expected: Vec<u32> = some.iter().copied().filter(|row| !out.contains(*row)).collect();
                expected.sort_by(|a, b| compare_rows(sorting, *a, *b));
                let leading = Leading::of(sorting).unwrap();
                for count in [1, 10, 200, 2_000] {
                    let expected = &expected[..count.min(expected.len())];
                    let is_in = |row: u32| !row.is_multiple_of(3) && !out.contains(row);
                    let case = format!("column {column} {descending} {then:?}, {count} rows");
                    if let Some(by_zones) = leading.by_zones(count, is_in) {
                        assert_eq!(by_zones, expected, "{case} by zones");
                        *told += 1;
                    }
                    let by_batches = leading.by_batches(Among::Rows(&some), &out, count);
                    assert_eq!(by_batches, expected, "{case} by batches");
                }
            }
        }
        // Ids, few texts and moments lie together; the others lie everywhere.
        assert!([0, 2, 3].iter().all(|column| told[*column] >= 8), "{told:?}");
    }

    #[test]
    fn only_zones_that_can_have_better_rows_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = snapshot(folder.path());
        let columns = Columns::new(&snapshot, &TableSpec { name: "table".into(), ..TableSpec::default() }).unwrap();
        let rows_seen = |column, count| {
            let sort = [SortColumn { column, descending: true }];
            let sorting = Sorting { snapshot: &snapshot, columns: &columns, sort: &sort };
            let seen = std::cell::Cell::new(0);
            let is_in = |_| {
                seen.set(seen.get() + 1);
                true
            };
            let found = Leading::of(sorting).unwrap().by_zones(count, is_in);
            (found.is_some(), seen.get())
        };
        // The last, short zone has the greatest ids.
        assert_eq!(rows_seen(0, 50), (true, 100));
        assert_eq!(rows_seen(0, 150), (true, 100 + ZONE_ROWS));
        // All of these texts begin with the same sixteen bytes, and the best of them lie in more than a quarter of the zones.
        assert!(!rows_seen(5, 200).0);
    }
}
