//! Orders of the rows of a snapshot, without edits: filtering and sorting all rows, on several threads.
//!
//! Sorting is by words of 32 bits, the least significant column first: each column becomes whole numbers whose order is
//! the column's (texts by their rank among the distinct ones), and each word of them is one stable radix pass.

use std::borrow::Cow;
use std::hash::BuildHasher;

use arrow_array::{Array, RecordBatch};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::columns::Columns;
use super::plan::{CellRef, Plan, Predicate, SortColumn};
use super::progress::{Step, Watch};
use super::set::RowSet;
use crate::cell::{CellReader, Ordered};
use crate::ordering::{
    EMPTY, compare_text, folded_bytes, folded_prefix, has_quick_keys, is_text, order_number, write_keys,
};
use crate::snapshot::{BATCH_ROWS, Snapshot};

/// Below this many rows a second thread costs more than it saves.
const PARALLEL_ROWS_MIN: usize = 50_000;

/// Bits of a radix digit: three passes for a word.
const DIGIT_BITS: u32 = 11;

/// How many items are looked at to tell how many different texts there are.
const SAMPLE_ROWS: usize = 10_000;

/// How many rows are sorted or merged between two looks at whether to stop, where there are no batches.
const WATCHED_ROWS: usize = 65_536;

/// How often all items are gone through for the words of a column of numbers, or of texts, as long as that takes.
const NUMBERS_COST: u64 = 2;
const TEXTS_COST: u64 = 6;

/// And to sort by one word.
const WORD_COST: u64 = 4;

/// And to make an order of sorted rows.
const ORDER_COST: u64 = 1;

/// How many batches are looked at before anything is known of how often a row passes: one for each of two processors.
const FIRST_BATCHES: usize = 2;

/// The code of an empty cell.
const NULL_CODE: u32 = u32::MAX;

/// Rows of the snapshot, in its order.
pub(super) enum Items {
    /// Every one.
    All,
    /// These.
    Rows(Vec<u32>),
}

impl Items {
    pub fn len(&self, snapshot: &Snapshot) -> usize {
        match self {
            Items::All => snapshot.rows(),
            Items::Rows(rows) => rows.len(),
        }
    }
}

/// The rows of the snapshot that pass the filters, sorted, as if there were no edits. With filters on what the log says
/// of a row there are none: rows without edits do not pass. `items` are what [`filtered`] gives, if it was asked already.
/// None when `watch` says to stop, which it is asked now and then.
pub(super) fn rows(
    snapshot: &Snapshot,
    columns: &Columns,
    plan: &Plan,
    items: Option<&Items>,
    watch: Watch<'_>,
) -> Option<Vec<u32>> {
    if !plan.states.is_empty() {
        return Some(Vec::new());
    }
    let found;
    let items = match items {
        Some(items) => items,
        None => {
            found = filtered(snapshot, columns, plan, watch)?;
            &found
        }
    };
    let items = match items {
        Items::All => (0..snapshot.rows() as u32).collect(),
        Items::Rows(rows) => rows.clone(),
    };
    if watch.stops() {
        return None;
    }
    sort(snapshot, columns, plan, items, watch)
}

/// What it costs to sort rows by some columns and to make an order of them.
fn sort_cost(columns: &Columns, sorts: &[SortColumn], rows: usize) -> u64 {
    let cost = |sort: &SortColumn| words_cost(columns, sort) + WORD_COST;
    rows as u64 * (sorts.iter().map(cost).sum::<u64>() + ORDER_COST)
}

fn words_cost(columns: &Columns, sort: &SortColumn) -> u64 {
    if is_text(columns.all[sort.column].column_type) { TEXTS_COST } else { NUMBERS_COST }
}

/// The rows that pass all filters; none when `watch` says to stop.
pub(super) fn filtered(snapshot: &Snapshot, columns: &Columns, plan: &Plan, watch: Watch<'_>) -> Option<Items> {
    let filters = match Filters::of(columns, plan) {
        Filters::None => return Some(Items::All),
        Filters::Nothing => return Some(Items::Rows(Vec::new())),
        filters @ Filters::Columns(_) => filters,
    };
    let (batches, rows) = (snapshot.batches().len(), snapshot.rows());
    watch.meter.begin(Step::Filtering, rows, rows as u64, sort_cost(columns, &plan.sort, rows));
    let found = in_parallel(batches, rows, |range| filters.batches(snapshot, range, watch));
    let found: Option<Vec<Vec<u32>>> = found.into_iter().collect();
    Some(Items::Rows(found?.concat()))
}

/// The first rows of the snapshot that pass all filters and are not `out`: at least `count`, or else all there are, in
/// ascending order. Few batches are looked at first, and then as many again as were looked at so far. None when `watch` says to
/// stop.
pub(super) fn first_passing(
    snapshot: &Snapshot,
    columns: &Columns,
    plan: &Plan,
    out: &RowSet,
    count: usize,
    watch: Watch<'_>,
) -> Option<Vec<u32>> {
    let filters = Filters::of(columns, plan);
    // What is left when enough are found before all were looked at.
    let rows = snapshot.rows();
    watch.meter.begin(Step::Filtering, rows, rows as u64, rows as u64);
    let (mut found, mut from, mut length) = (Vec::new(), 0, FIRST_BATCHES);
    while found.len() < count && from < snapshot.batches().len() {
        let to = (from + length).min(snapshot.batches().len());
        let parts = in_parallel(to - from, (to - from) * BATCH_ROWS, |range| {
            filters.batches(snapshot, from + range.start..from + range.end, watch)
        });
        for part in parts {
            found.extend(part?.into_iter().filter(|row| !out.contains(*row)));
        }
        (from, length) = (to, to);
    }
    Some(found)
}

/// What filters ask of the rows of a snapshot.
pub(super) enum Filters<'a> {
    /// Every row passes.
    None,
    /// No row passes.
    Nothing,
    /// Tests by the columns of the snapshot.
    Columns(Vec<(usize, &'a Predicate)>),
}

impl<'a> Filters<'a> {
    pub fn of(columns: &Columns, plan: &'a Plan) -> Filters<'a> {
        let mut filters: Vec<(usize, &Predicate)> = Vec::new();
        for (column, predicate) in &plan.filters {
            match columns.all[*column].original {
                Some(original) => filters.push((original, predicate)),
                // An added column is empty in every row without edits.
                None if predicate.test(&CellRef::Value(None), &mut String::new()) => {}
                None => return Filters::Nothing,
            }
        }
        if filters.is_empty() { Filters::None } else { Filters::Columns(filters) }
    }

    /// Whether a row passes.
    pub fn pass(&self, snapshot: &Snapshot, row: u32) -> bool {
        match self {
            Filters::None => true,
            Filters::Nothing => false,
            Filters::Columns(filters) => filters.iter().all(|(column, predicate)| {
                let (array, place) = snapshot.array_at(row as usize, *column);
                predicate.test(&CellRef::Array(&CellReader::new(array.as_ref()), place), &mut String::new())
            }),
        }
    }

    /// The rows of some batches that pass; none when `watch` says to stop.
    fn batches(&self, snapshot: &Snapshot, range: std::ops::Range<usize>, watch: Watch<'_>) -> Option<Vec<u32>> {
        let mut passed = Vec::new();
        for index in range {
            if watch.stops() {
                return None;
            }
            let batch = &snapshot.batches()[index];
            watch.meter.add(batch.num_rows());
            let rows = self.passing(batch);
            passed.extend(rows.iter().map(|row| (index * BATCH_ROWS) as u32 + row));
        }
        Some(passed)
    }

    /// The rows of a batch that pass.
    fn passing(&self, batch: &RecordBatch) -> Vec<u32> {
        let rows = batch.num_rows();
        let filters = match self {
            Filters::None => return (0..rows as u32).collect(),
            Filters::Nothing => return Vec::new(),
            Filters::Columns(filters) => filters,
        };
        let mut text = String::new();
        let mut found: Option<Vec<u32>> = None;
        for (place, predicate) in filters {
            let array = batch.column(*place).as_ref();
            if let Some(passing) = predicate.find_all(array) {
                found = Some(match found {
                    Some(mut found) => {
                        let mut passing = passing.into_iter().peekable();
                        found.retain(|row| {
                            while passing.next_if(|passing| passing < row).is_some() {}
                            passing.peek() == Some(row)
                        });
                        found
                    }
                    None => passing,
                });
                continue;
            }
            let reader = CellReader::new(array);
            let mut test = |row: &u32| predicate.test(&CellRef::Array(&reader, *row as usize), &mut text);
            match &mut found {
                Some(found) => found.retain(|row| test(row)),
                None => found = Some((0..rows as u32).filter(|row| test(row)).collect()),
            }
        }
        found.unwrap_or_default()
    }
}

fn sort(snapshot: &Snapshot, columns: &Columns, plan: &Plan, items: Vec<u32>, watch: Watch<'_>) -> Option<Vec<u32>> {
    let mut order: Option<Vec<u32>> = None;
    let rows = items.len();
    for (place, sort) in plan.sort.iter().enumerate().rev() {
        let column = &columns.all[sort.column];
        // An added column is empty in every row without edits.
        let Some(original) = column.original else { continue };
        let word_cost = rows as u64 * WORD_COST;
        let cost_after = sort_cost(columns, &plan.sort[..place], rows);
        let cost = rows as u64 * words_cost(columns, sort);
        watch.meter.begin(Step::Sorting, rows, cost, word_cost + cost_after);
        let words = if is_text(column.column_type) {
            vec![text_ranks(snapshot, original, &items, sort.descending, watch)?]
        } else {
            number_words(snapshot, original, &items, sort.descending, watch)
        };
        if watch.stops() {
            return None;
        }
        for (number, word) in words.iter().enumerate() {
            let words_after = (words.len() - 1 - number) as u64;
            watch.meter.begin(Step::Sorting, rows, word_cost, words_after * word_cost + cost_after);
            let places = order.take().unwrap_or_else(|| (0..items.len() as u32).collect());
            order = Some(sort_by_word(places, word, watch)?);
            if watch.stops() {
                return None;
            }
        }
    }
    watch.meter.begin(if plan.sort.is_empty() { Step::Filtering } else { Step::Sorting }, rows, rows as u64, 0);
    Some(match order {
        None => items,
        // Every row and its place are the same number when nothing was filtered out.
        Some(order) if items.len() == snapshot.rows() => order,
        Some(mut order) => {
            order.iter_mut().for_each(|place| *place = items[*place as usize]);
            order
        }
    })
}

/// The words of a column's values relative to the least one, the least significant word first; empty cells are after all.
fn number_words(
    snapshot: &Snapshot,
    column: usize,
    items: &[u32],
    descending: bool,
    watch: Watch<'_>,
) -> Vec<Vec<u32>> {
    if let Some(words) = words_of_keys(snapshot, column, items, descending, watch) {
        return words;
    }
    let (first, second) = halves(items.len(), items.len(), |range| {
        let mut bounds: Option<(i128, i128)> = None;
        walk(snapshot, column, &items[range], watch, |_, reader, row| {
            if let Some(number) = order_number(&reader.ordered(row)) {
                let (min, max) = bounds.unwrap_or((number, number));
                bounds = Some((min.min(number), max.max(number)));
            }
        });
        bounds
    });
    let bounds = first.into_iter().chain(second.flatten());
    let Some((min, max)) = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else { return Vec::new() };
    let span = max.wrapping_sub(min) as u128;
    // One more than the greatest stands for null, so it has to fit too.
    let null = span.saturating_add(1);
    let word_count = (128 - null.leading_zeros()).div_ceil(32).max(1) as usize;
    let fill = |items: &[u32], words: &mut [&mut [u32]]| {
        walk(snapshot, column, items, watch, |place, reader, row| {
            let key = match order_number(&reader.ordered(row)) {
                Some(number) if descending => max.wrapping_sub(number) as u128,
                Some(number) => number.wrapping_sub(min) as u128,
                None => null,
            };
            for (index, word) in words.iter_mut().enumerate() {
                word[place] = (key >> (32 * index)) as u32;
            }
        });
    };
    filled(items, word_count, fill)
}

/// The same by the sort keys of the cells, which are made many at a time; none for types whose keys do not tell all cells
/// apart.
fn words_of_keys(
    snapshot: &Snapshot,
    column: usize,
    items: &[u32],
    descending: bool,
    watch: Watch<'_>,
) -> Option<Vec<Vec<u32>>> {
    if !has_quick_keys(snapshot.schema().field(column).data_type()) {
        return None;
    }
    let (first, second) = halves(items.len(), items.len(), |range| {
        let (mut min, mut max, mut is_told) = (u64::MAX, 0, true);
        walk_keys(snapshot, column, &items[range], watch, |_, key, is_empty| {
            if !is_empty {
                (min, max) = (min.min(key), max.max(key));
                // Numbers beyond 64 bits share the first key or the last one, which is that of empty cells too.
                is_told &= key != EMPTY && key != 0;
            }
        });
        (min, max, is_told)
    });
    let second = second.unwrap_or((u64::MAX, 0, true));
    let (min, max) = (first.0.min(second.0), first.1.max(second.1));
    if !first.2 || !second.2 {
        return None;
    }
    if min > max {
        return Some(Vec::new());
    }
    // One more than the greatest stands for an empty cell.
    let null = (max - min).checked_add(1)?;
    let word_count = (u64::BITS - null.leading_zeros()).div_ceil(32) as usize;
    let fill = |items: &[u32], words: &mut [&mut [u32]]| {
        walk_keys(snapshot, column, items, watch, |place, key, is_empty| {
            let key = match (is_empty, descending) {
                (true, _) => null,
                (false, true) => max - key,
                (false, false) => key - min,
            };
            for (index, word) in words.iter_mut().enumerate() {
                word[place] = (key >> (32 * index)) as u32;
            }
        });
    };
    Some(filled(items, word_count, fill))
}

/// Shows the sort keys of a column's cells, and whether they are empty, as [`walk`] shows the cells.
fn walk_keys(
    snapshot: &Snapshot,
    column: usize,
    items: &[u32],
    watch: Watch<'_>,
    mut see: impl FnMut(usize, u64, bool),
) {
    let (mut keys, mut place) = (Vec::new(), 0);
    while place < items.len() {
        let begin = place;
        let batch = items[place] as usize / BATCH_ROWS;
        let array = snapshot.batches()[batch].column(column);
        write_keys(array.as_ref(), false, false, &mut keys);
        let nulls = array.nulls();
        while place < items.len() && items[place] as usize / BATCH_ROWS == batch {
            let row = items[place] as usize % BATCH_ROWS;
            see(place, keys[row], keys[row] == EMPTY && nulls.is_some_and(|nulls| nulls.is_null(row)));
            place += 1;
        }
        watch.meter.add(place - begin);
    }
}

/// Words of as many items, filled by two threads: each gets some of the items and the same places of all words.
fn filled(items: &[u32], word_count: usize, fill: impl Fn(&[u32], &mut [&mut [u32]]) + Sync) -> Vec<Vec<u32>> {
    let mut words = vec![vec![0u32; items.len()]; word_count];
    let middle = if items.len() < PARALLEL_ROWS_MIN { items.len() } else { items.len() / 2 };
    let (mut lower, mut upper): (Vec<&mut [u32]>, Vec<&mut [u32]>) =
        words.iter_mut().map(|word| word.split_at_mut(middle)).unzip();
    std::thread::scope(|scope| {
        scope.spawn(|| fill(&items[middle..], &mut upper));
        fill(&items[..middle], &mut lower);
    });
    words
}

/// For each item the rank of its text among the distinct ones; empty cells are after all. None when `watch` says to stop.
fn text_ranks(
    snapshot: &Snapshot,
    column: usize,
    items: &[u32],
    descending: bool,
    watch: Watch<'_>,
) -> Option<Vec<u32>> {
    if is_mostly_distinct(snapshot, column, items, watch) {
        ranks_by_sorting(snapshot, column, items, descending, watch)
    } else {
        Some(ranks_by_distinct(snapshot, column, items, descending, watch))
    }
}

/// Whether a sample of the items has so many different texts that a table of them would only cost.
fn is_mostly_distinct(snapshot: &Snapshot, column: usize, items: &[u32], watch: Watch<'_>) -> bool {
    if items.len() < PARALLEL_ROWS_MIN {
        return false;
    }
    let sample: Vec<u32> = items.iter().copied().step_by(items.len() / SAMPLE_ROWS).collect();
    let mut distinct = Distinct::default();
    let mut seen = 0;
    walk(snapshot, column, &sample, watch, |_, reader, row| {
        if let Some(text) = reader.str(row) {
            distinct.code(Cow::Borrowed(text));
            seen += 1;
        }
    });
    seen > SAMPLE_ROWS / 2 && distinct.texts.len() * 2 > seen
}

/// Ranks by sorting all items by their texts.
fn ranks_by_sorting(
    snapshot: &Snapshot,
    column: usize,
    items: &[u32],
    descending: bool,
    watch: Watch<'_>,
) -> Option<Vec<u32>> {
    let text = |place: u32| {
        let (array, row) = snapshot.array_at(items[place as usize] as usize, column);
        CellReader::new(array.as_ref()).str(row).unwrap_or_default()
    };
    let (first, second) = halves(items.len(), items.len(), |range| {
        let start = range.start as u32;
        let mut half: Vec<(TextKey, u32)> = Vec::with_capacity(range.len());
        walk(snapshot, column, &items[range], watch, |place, reader, row| {
            half.extend(reader.str(row).map(|text| (text_key(text), start + place as u32)));
        });
        sort_by_text_keys(&mut half, &text, watch)?;
        Some(half)
    });
    let (first, second) = (first?, second.unwrap_or_else(|| Some(Vec::new()))?);
    let mut ranks = vec![NULL_CODE; items.len()];
    let compare =
        |a: &(TextKey, u32), b: &(TextKey, u32)| a.0.cmp(&b.0).then_with(|| compare_text(text(a.1), text(b.1)));
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    let mut last: Option<(TextKey, u32)> = None;
    let (mut rank, mut merged) = (0, 0);
    loop {
        if merged == WATCHED_ROWS {
            watch.meter.add(std::mem::take(&mut merged));
            if watch.stops() {
                return None;
            }
        }
        merged += 1;
        let next = match (first.peek(), second.peek()) {
            (Some(a), Some(b)) if compare(a, b).is_le() => first.next(),
            (Some(_), None) => first.next(),
            _ => second.next(),
        };
        let Some(next) = next else { break };
        if last.is_some_and(|last| compare(&last, &next).is_ne()) {
            rank += 1;
        }
        last = Some(next);
        ranks[next.1 as usize] = rank;
    }
    let null = rank + 1;
    ranks.iter_mut().for_each(|other| match *other {
        NULL_CODE => *other = null,
        ascending if descending => *other = rank - ascending,
        _ => {}
    });
    Some(ranks)
}

/// The first sixteen bytes of a text in lower case, as numbers that compare as they do. They are made where the texts lie one
/// behind the other; in an order they lie all over memory, and each look at one is waited for.
type TextKey = (u64, u64);

/// How many eight bytes a text key has.
const TEXT_KEY_LEVELS: usize = 2;

fn text_key(text: &str) -> TextKey {
    (folded_bytes(text, 0), folded_bytes(text, 1))
}

/// Sorts items by their texts, of which they have the keys. None when `watch` says to stop.
fn sort_by_text_keys<'a>(items: &mut [(TextKey, u32)], text: &impl Fn(u32) -> &'a str, watch: Watch<'_>) -> Option<()> {
    items.sort_unstable_by_key(|item| item.0);
    // What is counted is each item twice: before and after the runs of equal keys are sorted.
    watch.meter.add(2 * items.len());
    let mut seen = 0;
    for run in items.chunk_by_mut(|a, b| a.0 == b.0) {
        seen += run.len();
        if seen >= WATCHED_ROWS {
            watch.meter.add(2 * std::mem::take(&mut seen));
            if watch.stops() {
                return None;
            }
        }
        if run.len() > 1 {
            let level = TEXT_KEY_LEVELS;
            let mut rest: Vec<(u64, u32)> =
                run.iter().map(|(_, place)| (folded_bytes(text(*place), level), *place)).collect();
            sort_texts(&mut rest, level, text, watch)?;
            run.iter_mut().zip(rest).for_each(|(item, (_, place))| item.1 = place);
        }
    }
    watch.meter.add(2 * seen);
    Some(())
}

/// Up to this many items with equal keys are compared by their texts.
const COMPARED_MAX: usize = 16;

/// How many times eight bytes are looked at before texts are compared as a whole.
const LEVELS_MAX: usize = 8;

/// Sorts items by their texts. Each has the eight bytes of its text at this level as its key, those before are equal; the
/// keys are the same afterwards. Texts that begin alike are so read a few times each, rather than at every comparison. None
/// when `watch` says to stop.
fn sort_texts<'a>(
    items: &mut [(u64, u32)],
    level: usize,
    text: &impl Fn(u32) -> &'a str,
    watch: Watch<'_>,
) -> Option<()> {
    items.sort_unstable_by_key(|item| item.0);
    let mut rest = items;
    while let Some(last) = rest.get(..WATCHED_ROWS).unwrap_or(rest).last() {
        if rest.len() > WATCHED_ROWS && watch.stops() {
            return None;
        }
        // Runs are not cut.
        let key = last.0;
        let (some, others) = rest.split_at_mut(rest.partition_point(|item| item.0 <= key));
        sort_runs(some, level, text, watch)?;
        rest = others;
    }
    Some(())
}

/// Sorts the items of each run, whose keys are equal.
fn sort_runs<'a>(
    items: &mut [(u64, u32)],
    level: usize,
    text: &impl Fn(u32) -> &'a str,
    watch: Watch<'_>,
) -> Option<()> {
    for run in items.chunk_by_mut(|a, b| a.0 == b.0) {
        let key = run[0].0;
        let mut longer = false;
        if run.len() > COMPARED_MAX && level + 1 < LEVELS_MAX {
            for item in &mut *run {
                let text = text(item.1);
                // Letters may fold to more bytes than they are; of such texts nothing is concluded.
                longer |= text.len() > 8 * (level + 1) || !text.is_ascii();
                item.0 = folded_bytes(text, level + 1);
            }
        }
        if longer {
            sort_texts(run, level + 1, text, watch)?;
        } else if run.len() > 1 {
            run.sort_unstable_by(|a, b| compare_text(text(a.1), text(b.1)));
        }
        run.iter_mut().for_each(|item| item.0 = key);
    }
    Some(())
}

/// Ranks by giving every different text a code, and sorting only those.
fn ranks_by_distinct(
    snapshot: &Snapshot,
    column: usize,
    items: &[u32],
    descending: bool,
    watch: Watch<'_>,
) -> Vec<u32> {
    let (mut distinct, second) = halves(items.len(), items.len(), |range| {
        let items = &items[range];
        let mut distinct = Distinct::default();
        distinct.codes.reserve_exact(items.len());
        walk(snapshot, column, items, watch, |_, reader, row| {
            let code = match reader.str(row) {
                Some(text) => distinct.code(Cow::Borrowed(text)),
                None => match reader.ordered(row) {
                    Ordered::Text(text) => distinct.code(text),
                    _ => NULL_CODE,
                },
            };
            distinct.codes.push(code);
        });
        distinct
    });
    let mut codes = std::mem::take(&mut distinct.codes);
    if let Some(second) = second {
        let known: Vec<u32> = second.texts.into_iter().map(|text| distinct.code(text)).collect();
        codes.extend(second.codes.iter().map(|code| known.get(*code as usize).copied().unwrap_or(NULL_CODE)));
    }
    let ranks = distinct.ranks(descending);
    let null = ranks.len() as u32;
    codes.iter_mut().for_each(|code| *code = ranks.get(*code as usize).copied().unwrap_or(null));
    codes
}

/// The distinct texts of a column, with a code for each in the order in which they were met.
#[derive(Default)]
pub(super) struct Distinct<'a> {
    table: HashTable<u32>,
    texts: Vec<Cow<'a, str>>,
    /// The code of every item.
    codes: Vec<u32>,
}

impl<'a> Distinct<'a> {
    /// The text with this code.
    pub fn text(&self, code: u32) -> &str {
        &self.texts[code as usize]
    }

    /// The code of a text; a new one if it was not met before.
    pub fn code(&mut self, text: Cow<'a, str>) -> u32 {
        let hasher = FixedState::default();
        let hash = |text: &str| hasher.hash_one(text.as_bytes());
        let texts = &self.texts;
        let is_same = |code: &u32| texts[*code as usize] == text;
        match self.table.entry(hash(&text), is_same, |code| hash(&texts[*code as usize])) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let code = texts.len() as u32;
                entry.insert(code);
                self.texts.push(text);
                code
            }
        }
    }

    /// For each code the rank of its text.
    fn ranks(&self, descending: bool) -> Vec<u32> {
        let compare = |a: &(u64, u32), b: &(u64, u32)| {
            a.0.cmp(&b.0).then_with(|| compare_text(&self.texts[a.1 as usize], &self.texts[b.1 as usize]))
        };
        let mut sorted: Vec<(u64, u32)> = Vec::with_capacity(self.texts.len());
        let (first, second) = halves(self.texts.len(), self.texts.len(), |range| {
            let mut half: Vec<(u64, u32)> = range.map(|code| (folded_prefix(&self.texts[code]), code as u32)).collect();
            half.sort_unstable_by(compare);
            half
        });
        let (mut first, mut second) = (first.into_iter().peekable(), second.unwrap_or_default().into_iter().peekable());
        while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
            sorted.extend(if compare(a, b).is_le() { first.next() } else { second.next() });
        }
        sorted.extend(first);
        sorted.extend(second);
        if descending {
            sorted.reverse();
        }
        let mut ranks = vec![0u32; self.texts.len()];
        for (rank, (_, code)) in sorted.iter().enumerate() {
            ranks[*code as usize] = rank as u32;
        }
        ranks
    }
}

/// Sorts places by a word of each, stably. None when `watch` says to stop.
fn sort_by_word(mut places: Vec<u32>, words: &[u32], watch: Watch<'_>) -> Option<Vec<u32>> {
    let highest = words.iter().copied().max().unwrap_or(0);
    if highest == 0 {
        return Some(places);
    }
    if places.len() < PARALLEL_ROWS_MIN {
        places.sort_by_key(|place| words[*place as usize]);
        return Some(places);
    }
    // The word above, the place below: a pass moves both together.
    let mut packed: Vec<u64> =
        places.iter().map(|place| u64::from(words[*place as usize]) << 32 | u64::from(*place)).collect();
    let mut room = vec![0u64; packed.len()];
    let middle = packed.len() / 2;
    let bits = 32 - highest.leading_zeros();
    {
        let (lower, upper) = packed.split_at_mut(middle);
        let (lower_room, upper_room) = room.split_at_mut(middle);
        std::thread::scope(|scope| {
            scope.spawn(|| radix_sort(upper, upper_room, bits, watch));
            radix_sort(lower, lower_room, bits, watch);
        });
    }
    if watch.stops() {
        return None;
    }
    let (lower, upper) = packed.split_at(middle);
    let (mut a, mut b) = (0, 0);
    for place in &mut places {
        // On equal words the lower half goes first.
        let take_lower = b == upper.len() || (a < lower.len() && lower[a] >> 32 <= upper[b] >> 32);
        *place = if take_lower { lower[a] as u32 } else { upper[b] as u32 };
        a += usize::from(take_lower);
        b += usize::from(!take_lower);
    }
    Some(places)
}

/// Sorts by the `bits` lowest bits of the upper half of each number, stably.
fn radix_sort(packed: &mut [u64], room: &mut [u64], bits: u32, watch: Watch<'_>) {
    let mut in_packed = true;
    let mut shift = 32;
    while shift < 32 + bits {
        let (from, to) = if in_packed { (&mut *packed, &mut *room) } else { (&mut *room, &mut *packed) };
        let digit = |number: u64| (number >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut starts = vec![0usize; 1 << DIGIT_BITS];
        from.iter().for_each(|number| starts[digit(*number)] += 1);
        let mut start = 0;
        for slot in &mut starts {
            start += std::mem::replace(slot, start);
        }
        for number in from.iter() {
            let slot = &mut starts[digit(*number)];
            to[*slot] = *number;
            *slot += 1;
        }
        in_packed = !in_packed;
        shift += DIGIT_BITS;
        watch.meter.add(packed.len());
    }
    if !in_packed {
        packed.copy_from_slice(room);
    }
}

/// Shows a column's cells of rows that are in ascending order: the place among the items, a reader and the row in it.
fn walk<'a>(
    snapshot: &'a Snapshot,
    column: usize,
    items: &[u32],
    watch: Watch<'_>,
    mut see: impl FnMut(usize, &CellReader<'a>, usize),
) {
    let mut place = 0;
    while place < items.len() {
        let begin = place;
        let batch = items[place] as usize / BATCH_ROWS;
        let reader = CellReader::new(snapshot.batches()[batch].column(column).as_ref());
        while place < items.len() && items[place] as usize / BATCH_ROWS == batch {
            see(place, &reader, items[place] as usize % BATCH_ROWS);
            place += 1;
        }
        watch.meter.add(place - begin);
    }
}

/// The most threads that one request keeps busy.
const THREADS_MAX: usize = 8;

/// Does work on ranges of `0..pieces` on as many threads as there are processors; gives what they give, in order. On one
/// thread when there are few rows.
pub(super) fn in_parallel<T: Send>(
    pieces: usize,
    rows: usize,
    work: impl Fn(std::ops::Range<usize>) -> T + Sync,
) -> Vec<T> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MAX);
    let threads = if rows < PARALLEL_ROWS_MIN { 1 } else { processors.min(pieces).max(1) };
    let bound = |thread: usize| pieces * thread / threads;
    std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> =
            (1..threads).map(|thread| scope.spawn(move || work(bound(thread)..bound(thread + 1)))).collect();
        let mut results = vec![work(bound(0)..bound(1))];
        for other in others {
            match other.join() {
                Ok(result) => results.push(result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

/// Does work on the two halves of `0..len` at the same time, or on all of it at once when there are few rows.
fn halves<T: Send>(len: usize, rows: usize, work: impl Fn(std::ops::Range<usize>) -> T + Sync) -> (T, Option<T>) {
    if rows < PARALLEL_ROWS_MIN {
        return (work(0..len), None);
    }
    let middle = len / 2;
    std::thread::scope(|scope| {
        let second = scope.spawn(|| work(middle..len));
        let first = work(0..middle);
        match second.join() {
            Ok(second) => (first, Some(second)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
