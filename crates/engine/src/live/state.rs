//! What the log says of the rows of a table: overrides, deletions and creations, resolved to row numbers.
//!
//! Rows of the original have their own numbers; each creation gets the next number after them, so that created rows come
//! last and in order of creation. A row that was created, deleted and created again has two numbers; the first is hidden.

use std::cmp::Ordering;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use stet_domain::apply::{ColumnMap, Standing, fit, standing};
use stet_domain::key::key_parts;
use stet_domain::replay::{CellState, ColumnIndex, Override, Replay, RowState};
use stet_domain::{EventId, Key, Value};

use super::columns::{Columns, LiveColumn};
use super::overrides::Overrides;
use super::plan::{CellRef, Plan, SortColumn};
use super::query::StateFilter;
use super::set::RowSet;
use crate::cell::{CellReader, Ordered, ordered_value, stored};
use crate::ordering::compare_values;
use crate::snapshot::Snapshot;

/// The log's state at one position. Guarded by the table's lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub replay: Replay,
    /// Every row that the log knows and the table has or had.
    pub touched: HashMap<u32, Touched, FixedState>,
    /// The cells of `touched` by their columns.
    pub overrides: Overrides,
    /// Creations of rows that are not in the original, in order.
    slots: Vec<Slot>,
    /// The latest slot of each created key.
    slot_of: HashMap<Key, u32, FixedState>,
    /// Rows that are not shown, sorted.
    pub hidden: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    created: EventId,
}

/// A row that the log knows.
#[derive(Debug)]
pub(super) struct Touched {
    pub key: Key,
    /// Deleted, or a creation that was taken back.
    pub hidden: bool,
    pub created: bool,
    edited: bool,
    stale: bool,
    /// The cells that differ from the original by an override in force, by place in the table's columns.
    cells: Vec<(u32, Option<Value>)>,
}

/// A table at one position of its log: what every reader works with.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub columns: &'a Columns,
    pub state: &'a State,
}

/// What an override comes to in its column.
pub(super) enum InForce {
    /// It stands in the cell; none means emptied.
    Value(Option<Value>, Standing),
    /// It does not fit the column, so the original stands.
    Misfit,
}

impl State {
    /// How many rows are shown.
    pub fn rows_shown(&self, snapshot: &Snapshot) -> usize {
        snapshot.rows() + self.slots.len() - self.hidden.len()
    }

    /// The rows for which the log matters to a query that looks at these columns: those with an override in one of them,
    /// created ones and hidden ones. Any other row is, to the query, as it is in the snapshot, however much of it was edited.
    pub fn concerned(&self, snapshot: &Snapshot, plan: &Plan, by: &[usize]) -> Vec<u32> {
        if !plan.states.is_empty() {
            return self.touched.keys().copied().collect();
        }
        let created = (0..self.slots.len() as u32).map(|slot| snapshot.rows() as u32 + slot);
        let mut known = RowSet::default();
        let mut concerned: Vec<u32> = Vec::new();
        let overridden = plan.columns().chain(by.iter().copied()).flat_map(|column| self.overrides.rows(column));
        concerned.extend(created.chain(self.hidden.iter().copied()).chain(overridden).filter(|row| known.insert(*row)));
        concerned
    }

    /// The rows of a key before and after its state changed are among these: the original's row, or the latest slot.
    pub fn row_of(&self, snapshot: &Snapshot, key: &Key) -> Option<u32> {
        snapshot.find(key.as_str()).or_else(|| self.slot_of.get(key).map(|slot| snapshot.rows() as u32 + slot))
    }

    /// The shown rows in the order of the original, from `offset`, at most `limit`.
    pub fn natural_page(&self, snapshot: &Snapshot, offset: usize, limit: usize) -> Vec<u32> {
        // Before the hidden row number i there are as many shown rows as its number less i.
        let (mut low, mut high) = (0, self.hidden.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.hidden[middle] as usize - middle <= offset { low = middle + 1 } else { high = middle }
        }
        let end = snapshot.rows() + self.slots.len();
        let mut hidden = self.hidden[low..].iter().peekable();
        (offset.saturating_add(low)..end)
            .map(|row| row as u32)
            .filter(|row| hidden.next_if_eq(&row).is_none())
            .take(limit)
            .collect()
    }

    /// Works out what the replay now says of a key; gives the rows whose state changed by it.
    pub fn refresh(&mut self, snapshot: &Snapshot, columns: &Columns, key: &Key, changed: &mut Vec<u32>) {
        let Some(row_state) = self.replay.row(key.as_str()) else { return };
        let map = ColumnMap::new(&self.replay, &columns.editable);
        if let Some(row) = snapshot.find(key.as_str()) {
            let original =
                |column: usize| columns.all[column].original.and_then(|original| snapshot.text(row as usize, original));
            let touched = Touched::new(columns, &map, key, row_state, false, original);
            self.put(columns, row, touched);
            changed.push(row);
            return;
        }
        let first = snapshot.rows() as u32;
        let latest = self.slot_of.get(key).copied();
        let current = latest.filter(|slot| Some(self.slots[*slot as usize].created) == row_state.created);
        if let Some(slot) = latest.filter(|_| current.is_none()) {
            // The creation of this slot was taken back.
            let row = first + slot;
            if let Some(touched) = self.touched.get_mut(&row) {
                touched.hidden = true;
            }
            changed.push(row);
        }
        let Some(created) = row_state.created else { return };
        let slot = current.unwrap_or_else(|| {
            self.slots.push(Slot { created });
            self.slots.len() as u32 - 1
        });
        self.slot_of.insert(key.clone(), slot);
        let touched = Touched::new(columns, &map, key, row_state, true, |_| None);
        self.put(columns, first + slot, touched);
        changed.push(first + slot);
    }

    fn put(&mut self, columns: &Columns, row: u32, touched: Touched) {
        let before = self.touched.get(&row).map_or(&[][..], |before| &before.cells);
        self.overrides.exchange(columns, row, before, &touched.cells);
        self.touched.insert(row, touched);
    }

    /// Brings the list of hidden rows up to date for rows whose state changed.
    pub fn hide(&mut self, changed: &[u32]) {
        if changed.len() > 256 {
            self.hidden = self.touched.iter().filter(|(_, touched)| touched.hidden).map(|(row, _)| *row).collect();
            self.hidden.sort_unstable();
            return;
        }
        for row in changed {
            let hidden = self.touched.get(row).is_some_and(|touched| touched.hidden);
            match (self.hidden.binary_search(row), hidden) {
                (Err(place), true) => self.hidden.insert(place, *row),
                (Ok(place), false) => {
                    self.hidden.remove(place);
                }
                _ => {}
            }
        }
    }

    /// About how many bytes the state takes.
    pub fn bytes(&self) -> usize {
        let touched: usize = self
            .touched
            .values()
            .map(|touched| touched.key.as_str().len() + touched.cells.len() * (size_of::<(u32, Option<Value>)>() + 96))
            .sum();
        let each = size_of::<(u32, Touched)>() + 32;
        touched
            + self.replay.len() * each
            + self.replay.bytes()
            + self.overrides.bytes()
            + self.hidden.capacity() * 4
            + self.slots.capacity() * size_of::<Slot>()
    }
}

impl Touched {
    fn new(
        columns: &Columns,
        map: &ColumnMap<'_>,
        key: &Key,
        row: RowState<'_>,
        created: bool,
        original: impl Fn(usize) -> Option<String>,
    ) -> Touched {
        let mut touched =
            Touched { key: key.clone(), hidden: row.deleted, created, edited: false, stale: false, cells: Vec::new() };
        for (column, _, overriding) in row.overrides() {
            let Some(place) = place_of(columns, map, column) else { continue };
            if let InForce::Value(value, standing) = in_force(&columns.all[place], overriding, || original(place)) {
                touched.edited = true;
                touched.stale |= standing == Standing::SourceChanged;
                touched.cells.push((place as u32, value));
            }
        }
        if created {
            match key_values(columns, key.as_str()) {
                Some(values) => {
                    touched.cells.retain(|(place, _)| !columns.key_places.contains(&(*place as usize)));
                    let places = columns.key_places.iter().map(|place| *place as u32);
                    touched.cells.extend(places.zip(values.into_iter().map(Some)));
                }
                // A build cannot write a row whose key is not of the key columns' types, and reports it.
                None => touched.hidden = true,
            }
        }
        touched
    }

    /// The override of a cell; `Some(None)` means emptied.
    pub fn cell(&self, column: usize) -> Option<Option<&Value>> {
        self.cells.iter().find(|(place, _)| *place as usize == column).map(|(_, value)| value.as_ref())
    }
}

/// The typed parts of a created row's key; none when they do not fit the key columns.
pub(super) fn key_values(columns: &Columns, key: &str) -> Option<Vec<Value>> {
    let parts = key_parts(key, columns.key_places.len()).ok()?;
    let typed = parts.iter().zip(&columns.key_places).map(|(part, place)| {
        let column = &columns.all[*place];
        stored(&column.data_type, column.column_type.read(part).ok()?)
    });
    typed.collect()
}

/// The place in the table's columns of a column that events named, if it is editable now.
pub(super) fn place_of(columns: &Columns, map: &ColumnMap<'_>, column: ColumnIndex) -> Option<usize> {
    let (place, _) = map.get(column)?;
    columns.editable_places.get(place).copied()
}

/// What an override comes to in its column, by the rules of the domain's apply.
pub(super) fn in_force(
    column: &LiveColumn,
    overriding: Override<'_>,
    original: impl FnOnce() -> Option<String>,
) -> InForce {
    let fits = match fit(overriding, column.column_type) {
        Some(Some(value)) => stored(&column.data_type, value).map(Some),
        Some(None) => Some(None),
        None => None,
    };
    match fits {
        None => InForce::Misfit,
        Some(value) => InForce::Value(value, standing(overriding, original().as_deref())),
    }
}

impl<'a> View<'a> {
    /// Whether the row is one of the original's.
    pub fn is_original(&self, row: u32) -> bool {
        (row as usize) < self.snapshot.rows()
    }

    /// The row's key.
    pub fn key(&self, row: u32) -> Key {
        if let Some(touched) = self.state.touched.get(&row) {
            return touched.key.clone();
        }
        let mut text = String::new();
        if self.is_original(row) {
            self.snapshot.write_row_key(row as usize, &mut text);
        }
        Key::from_text(text)
    }

    /// The shown text of a cell; none when it is empty.
    pub fn text(&self, row: u32, column: usize) -> Option<String> {
        self.text_of(row, self.state.touched.get(&row), column)
    }

    /// The same for a row of which is known what the log says of it.
    pub fn text_of(&self, row: u32, touched: Option<&Touched>, column: usize) -> Option<String> {
        match touched.and_then(|touched| touched.cell(column)) {
            Some(value) => value.map(Value::to_string),
            None => self.original_text(row, column),
        }
    }

    /// The text of a cell in the original; none when it is empty there, or not in the original at all.
    pub fn original_text(&self, row: u32, column: usize) -> Option<String> {
        let original = self.columns.all[column].original?;
        if self.is_original(row) { self.snapshot.text(row as usize, original) } else { None }
    }

    /// The cell in the form that sorting compares.
    pub fn ordered(&self, row: u32, column: usize) -> Ordered<'a> {
        if let Some(value) = self.state.touched.get(&row).and_then(|touched| touched.cell(column)) {
            return value.map_or(Ordered::Null, ordered_value);
        }
        self.original_ordered(row, column)
    }

    /// The same of the original, whatever the log says of it.
    pub fn original_ordered(&self, row: u32, column: usize) -> Ordered<'a> {
        match self.columns.all[column].original {
            Some(original) if self.is_original(row) => {
                let (array, place) = self.snapshot.array_at(row as usize, original);
                CellReader::new(array.as_ref()).ordered(place)
            }
            _ => Ordered::Null,
        }
    }

    /// The order of two rows; equal only for the same row.
    pub fn compare(&self, sort: &[SortColumn], a: u32, b: u32) -> Ordering {
        for column in sort {
            let (left, right) = (self.ordered(a, column.column), self.ordered(b, column.column));
            let order = compare_values(&left, &right, column.descending);
            if order.is_ne() {
                return order;
            }
        }
        a.cmp(&b)
    }

    /// Whether a row that the log knows is in the result of a query.
    pub fn passes(&self, plan: &Plan, row: u32) -> bool {
        let touched = self.state.touched.get(&row);
        if touched.is_some_and(|touched| touched.hidden) || (touched.is_none() && !self.is_original(row)) {
            return false;
        }
        let in_state = |state: &StateFilter| {
            touched.is_some_and(|touched| match state {
                StateFilter::Edited => touched.edited,
                StateFilter::Stale => touched.stale,
                StateFilter::Created => touched.created,
                StateFilter::Mine => self.is_mine(plan, touched),
            })
        };
        if !plan.states.is_empty() && !plan.states.iter().any(in_state) {
            return false;
        }
        let mut text = String::new();
        plan.filters.iter().all(|(column, predicate)| {
            if let Some(value) = touched.and_then(|touched| touched.cell(*column)) {
                return predicate.test(&CellRef::Value(value), &mut text);
            }
            match self.columns.all[*column].original {
                Some(original) if self.is_original(row) => {
                    let (array, place) = self.snapshot.array_at(row as usize, original);
                    predicate.test(&CellRef::Array(&CellReader::new(array.as_ref()), place), &mut text)
                }
                _ => predicate.test(&CellRef::Value(None), &mut text),
            }
        })
    }

    fn is_mine(&self, plan: &Plan, touched: &Touched) -> bool {
        let replay = &self.state.replay;
        let me = plan.me.as_ref().and_then(|me| replay.user_index(me));
        let (Some(me), Some(row)) = (me, replay.row(touched.key.as_str())) else { return false };
        let map = ColumnMap::new(replay, &self.columns.editable);
        row.overrides().any(|(column, cell, overriding): (ColumnIndex, CellState<'_>, Override<'_>)| {
            cell.user == me
                && place_of(self.columns, &map, column).is_some_and(|place| {
                    matches!(in_force(&self.columns.all[place], overriding, || None), InForce::Value(..))
                })
        })
    }
}
