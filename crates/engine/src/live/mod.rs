//! Live tables: an original with the edits of this second, by page, in any order and through any filter.
//!
//! A [`LiveTable`] holds a snapshot and the replay of the editlog. What it shows is what a build at the same log position
//! writes: overrides are judged by the same rules of the domain (`fit`, `standing`, `ColumnMap`). Orders of rows are
//! worked out once for each query, kept, and patched by every edit.

mod ask;
mod columns;
mod groups;
mod link;
mod order;
mod overrides;
mod plan;
mod progress;
mod query;
mod report;
mod rows;
mod scan;
mod search;
mod set;
mod state;
mod top;
mod waiting;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use stet_domain::{Action, ColumnType, Event, Key};

use crate::cell::{holding, stored};
use crate::error::EngineError;
use crate::snapshot::Snapshot;
use ask::{First, Wanted};
use columns::Columns;
use groups::KnownGroups;
use order::OrderCache;
use plan::Plan;
use progress::Works;
use set::RowSet;
use state::{State, View};
use waiting::Waiting;

pub use columns::{EditableSpec, LiveColumn, TableSpec};
pub use groups::{GROUP_COLUMNS_MAX, GROUP_PAGE_MAX, GROUPS_MAX, Group, GroupPage, GroupQuery, GroupSort};
pub use link::{LINK_OPTIONS_MAX, LINK_ROWS_MAX, LinkIndex, LinkOptions, LinkRow};
pub use progress::{Step, WorkProgress};
pub use query::{
    Count, FILTER_BYTES_MAX, FILTER_VALUES_MAX, FILTERS_MAX, Filter, PAGE_BYTES_MAX, PAGE_ROWS_MAX, Query,
    SORT_COLUMNS_MAX, Sort, StateFilter, Test,
};
pub use rows::{Cell, Edit, EditState, LastEdit, LinkText, Links, Page, Row, Rows};

/// How many bytes the orders of one table may take, unless a table is opened with another limit: three whole orders of
/// ten million rows.
pub const ORDER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How many rows of a new sort are sorted before the first page is shown; of more, the first ones are found by themselves
/// and the others are sorted afterwards.
pub const SORTED_AT_ONCE_ROWS_MAX: usize = 200_000;

/// How long work on rows goes on after everybody who waited for them has gone: who scrolls on, or sends a request again that
/// took too long, finds it further on.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

/// The limits of one table.
#[derive(Debug, Clone, Copy)]
pub struct TableLimits {
    /// See [`ORDER_BYTES_MAX`].
    pub order_bytes_max: usize,
    /// See [`SORTED_AT_ONCE_ROWS_MAX`].
    pub sorted_at_once_rows_max: usize,
    /// See [`GIVEN_UP_AFTER`].
    pub given_up_after: Duration,
    /// See [`PAGE_BYTES_MAX`].
    pub page_bytes_max: usize,
}

impl Default for TableLimits {
    fn default() -> Self {
        TableLimits {
            order_bytes_max: ORDER_BYTES_MAX,
            sorted_at_once_rows_max: SORTED_AT_ONCE_ROWS_MAX,
            given_up_after: GIVEN_UP_AFTER,
            page_bytes_max: PAGE_BYTES_MAX,
        }
    }
}

/// With more changed keys at once, orders are merged anew in one pass rather than patched row by row.
const PATCHED_KEYS_MAX: usize = 256;

/// The table of one open webapp. Any number of threads may read it at the same time; they wait for a push of events, which
/// is short, and not for each other. A page deep in a new order waits for the order, and for others that are worked out.
#[derive(Debug)]
pub struct LiveTable {
    snapshot: Arc<Snapshot>,
    columns: Columns,
    /// Locked before `orders`, always.
    state: RwLock<State>,
    /// Every order in it is up to date with `state` whenever `state` is not locked for writing.
    orders: Mutex<OrderCache>,
    /// The position of `state`, to be read without waiting for a push.
    version: AtomicI64,
    limits: TableLimits,
    /// First rows of orders that are not there yet.
    firsts: Mutex<Vec<First>>,
    /// The groups that were asked for last; held while groups are counted.
    groups: Mutex<Option<KnownGroups>>,
    /// Held while an order is worked out: one at a time, which also bounds the memory for it.
    working: Mutex<()>,
    /// How many wait for `working` with somebody before a page.
    waiting: AtomicUsize,
    /// Who waits for rows that are not there yet.
    asking: Waiting,
    /// What is worked on, and how far it is.
    works: Works,
    wanted: Mutex<Wanted>,
    /// Asks the background work to give up what it is at.
    stop: AtomicBool,
}

/// Memory of an open table, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Orders of rows that were asked for lately.
    pub orders: usize,
    /// How many orders these are.
    pub orders_kept: usize,
    /// The state of the log; an estimate.
    pub edits: usize,
    /// Rows of the original, mapped from disk: the system drops and reads them as it likes.
    pub rows_mapped: u64,
    /// The key index, mapped from disk.
    pub index_mapped: u64,
}

/// What a batch of events does to one key.
#[derive(Default)]
struct Change {
    whole_row: bool,
    columns: Vec<usize>,
}

impl Change {
    fn affects(&self, plan: &Plan) -> bool {
        self.whole_row || !plan.states.is_empty() || self.columns.iter().any(|column| plan.looks_at(*column))
    }
}

impl LiveTable {
    /// A table over a snapshot, without edits: push the events of its log so far.
    ///
    /// # Errors
    /// When the spec names a column that is neither in the original nor added with a type, or names one twice.
    pub fn open(snapshot: Arc<Snapshot>, spec: &TableSpec) -> Result<LiveTable, EngineError> {
        LiveTable::open_with(snapshot, spec, TableLimits::default())
    }

    /// As [`LiveTable::open`], with other limits.
    ///
    /// # Errors
    /// See [`LiveTable::open`].
    pub fn open_with(snapshot: Arc<Snapshot>, spec: &TableSpec, limits: TableLimits) -> Result<LiveTable, EngineError> {
        let columns = Columns::new(&snapshot, spec)?;
        Ok(LiveTable {
            snapshot,
            columns,
            state: RwLock::default(),
            orders: Mutex::new(OrderCache::new(limits.order_bytes_max)),
            version: AtomicI64::new(0),
            limits,
            firsts: Mutex::default(),
            groups: Mutex::default(),
            working: Mutex::new(()),
            waiting: AtomicUsize::new(0),
            asking: Waiting::default(),
            works: Works::default(),
            wanted: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// The same log over another snapshot or with other settings: what a reload shows. The events so far are taken along;
    /// push those that came meanwhile before the new table takes the old one's place.
    ///
    /// # Errors
    /// See [`LiveTable::open`].
    pub fn reopen(&self, snapshot: Arc<Snapshot>, spec: &TableSpec) -> Result<LiveTable, EngineError> {
        let table = LiveTable::open(snapshot, spec)?;
        let replay = self.read().replay.clone();
        {
            let mut state = table.state.write().unwrap_or_else(PoisonError::into_inner);
            let mut keys: Vec<_> = replay.rows().map(|(key, row)| (row.created, Key::from_text(key))).collect();
            // Created rows get their numbers in order of creation.
            keys.sort_unstable();
            state.replay = replay;
            let mut changed = Vec::new();
            for (_, key) in &keys {
                state.refresh(&table.snapshot, &table.columns, key, &mut changed);
            }
            state.hide(&changed);
            table.version.store(version_of(&state), Ordering::Release);
        }
        Ok(table)
    }

    /// Takes the next events of the log, in its order; those taken already are passed over. Gives the keys that changed,
    /// each once.
    pub fn push(&self, events: &[Event]) -> Vec<Key> {
        let mut guard = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let taken = state.replay.position();
        let events = &events[events.partition_point(|event| Some(event.id) <= taken)..];
        let (keys, changes) = self.changes(events);
        let mut orders = lock(&self.orders);
        let patched = keys.len() <= PATCHED_KEYS_MAX;
        if patched {
            self.take_out(state, &mut orders, &keys, &changes);
        }
        for event in events {
            state.replay.push(event);
        }
        // Created rows get their numbers in order of creation, whatever else was said of their keys before.
        let mut by_creation: Vec<usize> = (0..keys.len()).collect();
        by_creation.sort_by_key(|index| state.replay.row(keys[*index].as_str()).and_then(|row| row.created));
        let mut rows: Vec<(usize, u32)> = Vec::with_capacity(keys.len());
        let mut changed = Vec::new();
        for index in by_creation {
            changed.clear();
            state.refresh(&self.snapshot, &self.columns, &keys[index], &mut changed);
            rows.extend(changed.iter().map(|row| (index, *row)));
        }
        let changed: Vec<u32> = rows.iter().map(|(_, row)| *row).collect();
        state.hide(&changed);
        let view = self.view(state);
        for entry in orders.entries() {
            let plan = &entry.plan;
            let affected = rows.iter().filter(|(key, _)| changes[*key].affects(plan)).map(|(_, row)| *row);
            if patched {
                for row in affected.filter(|row| view.passes(plan, *row)) {
                    entry.order.insert(row, |other| view.compare(&plan.sort, other, row));
                }
            } else {
                let mut changed: Vec<u32> = affected.collect();
                changed.sort_unstable();
                changed.dedup();
                let sorted = ask::placed(view, plan, changed.iter().copied());
                let changed = RowSet::new(changed);
                entry.order.retain(|row| !changed.contains(*row));
                entry.order.insert_sorted(&sorted, |a, b| view.compare(&plan.sort, a, b));
            }
        }
        self.version.store(version_of(view.state), Ordering::Release);
        keys
    }

    /// The position of the log that the table shows; 0 for an empty log.
    pub fn version(&self) -> i64 {
        self.version.load(Ordering::Acquire)
    }

    /// The snapshot under the table.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The shown columns, in order.
    pub fn columns(&self) -> &[LiveColumn] {
        self.columns.shown()
    }

    /// A column by name, shown or not.
    pub fn column(&self, name: &str) -> Option<&LiveColumn> {
        self.columns.all.iter().find(|column| column.name == name)
    }

    /// A canonical text of a column's type as the column keeps it: the original's exact type may be narrower, such as
    /// numbers of 32 bits, which round, or whole numbers of 8 bits.
    ///
    /// # Errors
    /// Why the column cannot keep it, in plain words.
    pub fn value_kept(&self, column: &str, text: String) -> Result<String, String> {
        let Some(column) = self.column(column).filter(|column| column.column_type != ColumnType::Text) else {
            return Ok(text);
        };
        let value = column.column_type.read(&text).map_err(|error| error.to_string())?;
        match stored(&column.data_type, value) {
            Some(value) => Ok(value.to_string()),
            None => Err(format!("`{text}` does not fit here: the column holds {}", holding(&column.data_type))),
        }
    }

    /// How many rows there are without filters.
    pub fn total(&self) -> usize {
        self.read().rows_shown(&self.snapshot)
    }

    /// How many keys the log knows.
    pub fn keys_edited(&self) -> usize {
        self.read().replay.len()
    }

    /// Memory in use.
    pub fn memory(&self) -> MemoryUse {
        let edits = self.read().bytes();
        let (rows_mapped, index_mapped) = self.snapshot.bytes_mapped();
        let (orders, orders_kept) = {
            let mut orders = lock(&self.orders);
            (orders.bytes(), orders.entries().len())
        };
        MemoryUse { orders, orders_kept, edits, rows_mapped, index_mapped }
    }

    /// Gives up the orders that are kept; the next page of each has to work it out again.
    pub fn release_orders(&self) {
        lock(&self.orders).clear();
        lock(&self.firsts).clear();
        *lock(&self.groups) = None;
    }

    fn changes(&self, events: &[Event]) -> (Vec<Key>, Vec<Change>) {
        let mut keys: Vec<Key> = Vec::new();
        let mut changes: Vec<Change> = Vec::new();
        let mut places: HashMap<&Key, usize, FixedState> = HashMap::default();
        for event in events.iter().filter(|event| event.action.is_edit()) {
            let place = *places.entry(&event.key).or_insert_with(|| {
                keys.push(event.key.clone());
                changes.push(Change::default());
                keys.len() - 1
            });
            let change = &mut changes[place];
            match (event.action, &event.column_name) {
                (Action::Update | Action::Revert, Some(name)) => {
                    change.columns.extend(self.columns.all.iter().position(|column| column.name == *name));
                }
                _ => change.whole_row = true,
            }
        }
        (keys, changes)
    }

    /// Takes the rows of keys that are about to change out of the orders, while their old values are still known.
    fn take_out(&self, state: &State, orders: &mut OrderCache, keys: &[Key], changes: &[Change]) {
        if orders.entries().is_empty() {
            return;
        }
        let view = self.view(state);
        for (key, change) in keys.iter().zip(changes) {
            let Some(row) = state.row_of(&self.snapshot, key) else { continue };
            for entry in orders.entries() {
                let plan = &entry.plan;
                if change.affects(plan) && view.passes(plan, row) {
                    entry.order.remove(row, |other| view.compare(&plan.sort, other, row));
                }
            }
        }
    }

    fn view<'a>(&'a self, state: &'a State) -> View<'a> {
        View { snapshot: &self.snapshot, columns: &self.columns, state }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn version_of(state: &State) -> i64 {
    state.replay.position().map_or(0, |position| position.0)
}
