//! Replay: the fold that turns an editlog into the present state of every edited row.
//!
//! The same fold serves the live table (one event at a time, as they are appended) and the replay recipe (a whole log).
//!
//! Rules, in log order, for each key:
//! - `update` sets the override of one cell; the last one wins.
//! - `revert` with a column takes the override of that cell away; without a column it takes away everything that was
//!   done to the row: overrides, a deletion, and for a created row its creation.
//! - `delete` hides the row and keeps its overrides in the record.
//! - `create` adds a row. After a `delete` it starts afresh: nothing of the earlier life of the key remains.

mod rows;

use serde::{Deserialize, Serialize};

use crate::event::{Action, Event, EventId, LogDate};
use crate::key::Key;
use crate::name::Login;

use rows::Rows;

/// A column's place in [`Replay::columns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ColumnIndex(pub u32);

/// A user's place in [`Replay::users`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserIndex(pub u32);

/// The state of all edited rows at one position of an editlog.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    rows: Rows,
    columns: Vec<String>,
    users: Vec<Login>,
    position: Option<EventId>,
    events: u64,
}

/// What the log says of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowState {
    /// One entry for each column that an event ever named since the row's last start; sorted by column.
    cells: Vec<(ColumnIndex, CellState)>,
    /// Whether the row is hidden.
    pub deleted: bool,
    /// The event that created the row; none for a row that the log did not create.
    pub created: Option<EventId>,
    /// The last event about the whole row (delete, revert of the row, create); none when there is none.
    pub row_event: Option<EventId>,
    /// The first action since the row's last start.
    pub first_action: Action,
    /// The last action.
    pub last_action: Action,
    /// The last event.
    pub last_event: EventId,
    /// When the last event was appended.
    pub last_date: LogDate,
    /// Who made the last event.
    pub last_user: UserIndex,
}

/// What the log says of one cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CellState {
    /// The last event that named the cell.
    pub event: EventId,
    /// When it was appended.
    pub date: LogDate,
    /// Who made it.
    pub user: UserIndex,
    /// The override; none after a revert.
    pub overriding: Option<Override>,
}

/// A value that stands in place of the original's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Canonical text; none means emptied.
    pub value: Option<Box<str>>,
    /// The value of the original that the override was made over, as its author saw it.
    ///
    /// It is the `previous` of the first update since the cell had no override. A later update keeps it when its
    /// author saw the override; when the author saw something else (the original's new value, in the review of source
    /// changes), what was seen becomes the base, which settles the source change.
    pub base: Option<Box<str>>,
}

impl RowState {
    /// The state of a cell, if an event ever named it.
    pub fn cell(&self, column: ColumnIndex) -> Option<&CellState> {
        let place = self.cells.binary_search_by_key(&column, |(c, _)| *c).ok()?;
        Some(&self.cells[place].1)
    }

    /// The cells that events named, with or without an override now.
    pub fn cells(&self) -> impl Iterator<Item = (ColumnIndex, &CellState)> {
        self.cells.iter().map(|(column, cell)| (*column, cell))
    }

    /// The cells that have an override.
    pub fn overrides(&self) -> impl Iterator<Item = (ColumnIndex, &CellState, &Override)> {
        self.cells.iter().filter_map(|(column, cell)| Some((*column, cell, cell.overriding.as_ref()?)))
    }

    /// The event that an edit of this cell must have seen: the last one that named the cell or its whole row.
    pub fn seen(&self, column: Option<ColumnIndex>) -> Option<EventId> {
        column.and_then(|column| self.cell(column)).map(|cell| cell.event).max(self.row_event)
    }

    /// Whether the row stands in the result by creation.
    pub fn is_created(&self) -> bool {
        self.created.is_some() && !self.deleted
    }

    fn cell_mut(&mut self, column: ColumnIndex, event: EventId, date: LogDate, user: UserIndex) -> &mut CellState {
        let place = match self.cells.binary_search_by_key(&column, |(c, _)| *c) {
            Ok(place) => place,
            Err(place) => {
                // Most rows have one edited cell, and there can be millions of rows: no room is kept for others.
                if self.cells.len() == self.cells.capacity() {
                    self.cells.reserve_exact(self.cells.len().max(1));
                }
                self.cells.insert(place, (column, CellState { event, date, user, overriding: None }));
                place
            }
        };
        let cell = &mut self.cells[place].1;
        cell.event = event;
        cell.date = date;
        cell.user = user;
        cell
    }

    fn clear(&mut self) {
        self.cells.clear();
        self.deleted = false;
        self.created = None;
    }
}

impl Replay {
    /// The state of an empty log.
    pub fn new() -> Replay {
        Replay::default()
    }

    /// The state after a whole log, in log order.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Replay {
        let mut replay = Replay::new();
        for event in events {
            replay.push(event);
        }
        replay
    }

    /// A state without rows that knows the columns and users of this one by the same places, and stands at the same
    /// position: for folding a log in parts, each of which has all events of some keys.
    pub fn without_rows(&self) -> Replay {
        Replay {
            rows: Rows::default(),
            columns: self.columns.clone(),
            users: self.users.clone(),
            position: self.position,
            events: self.events,
        }
    }

    /// Takes note of the next event of the log, with its column and user, and leaves its row to another state.
    pub fn note(&mut self, event: &Event) {
        self.intern_user(&event.user);
        if let Some(name) = &event.column_name {
            self.intern_column(name);
        }
        self.position = Some(event.id);
        self.events += 1;
    }

    /// Puts a row that another state has folded, with the same columns and users, into this one.
    pub fn put(&mut self, key: Key, row: RowState) {
        self.rows.insert(key, row);
    }

    /// Takes the next event of the log.
    pub fn push(&mut self, event: &Event) {
        self.position = Some(event.id);
        self.events += 1;
        if !event.action.is_edit() {
            return;
        }
        let user = self.intern_user(&event.user);
        let column = event.column_name.as_deref().map(|name| self.intern_column(name));

        let row = self.rows.get_or_insert(&event.key, || RowState {
            cells: Vec::new(),
            deleted: false,
            created: None,
            row_event: None,
            first_action: event.action,
            last_action: event.action,
            last_event: event.id,
            last_date: event.date,
            last_user: user,
        });
        row.last_action = event.action;
        row.last_event = event.id;
        row.last_date = event.date;
        row.last_user = user;

        match (event.action, column) {
            (Action::Update, Some(column)) => set_cell(row, column, event, user),
            // An update of no column has nothing to set; the row still counts as edited.
            (Action::Update, None) => {}
            (Action::Create, column) => {
                if row.deleted {
                    row.clear();
                    row.first_action = Action::Create;
                }
                if row.created.is_none() {
                    row.created = Some(event.id);
                    row.row_event = Some(event.id);
                }
                if let Some(column) = column {
                    set_cell(row, column, event, user);
                }
            }
            (Action::Delete, _) => {
                row.deleted = true;
                row.row_event = Some(event.id);
            }
            (Action::Revert, Some(column)) => {
                row.cell_mut(column, event.id, event.date, user).overriding = None;
            }
            (Action::Revert, None) => {
                row.clear();
                row.row_event = Some(event.id);
            }
            // They are of no row, and went back above.
            (Action::Erase | Action::Note, _) => {}
        }
    }

    /// What the log says of a key, if anything.
    pub fn row(&self, key: &str) -> Option<&RowState> {
        self.rows.get(key)
    }

    /// All edited rows, in no particular order.
    pub fn rows(&self) -> impl Iterator<Item = (&Key, &RowState)> {
        self.rows.iter()
    }

    /// The rows that stand by creation, in order of creation.
    pub fn created_rows(&self) -> Vec<(&Key, &RowState)> {
        let mut rows: Vec<_> = self.rows.iter().filter(|(_, row)| row.is_created()).collect();
        rows.sort_unstable_by_key(|(_, row)| row.created);
        rows
    }

    /// All edited rows, in order of their last event: the order of `editlog_pivoted`.
    pub fn rows_by_last_event(&self) -> Vec<(&Key, &RowState)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(_, row)| row.last_event);
        rows
    }

    /// How many keys were ever edited.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was ever edited.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// The last event taken; none for an empty log.
    pub fn position(&self) -> Option<EventId> {
        self.position
    }

    /// How many events were taken.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The columns that events named, in the order in which they first appeared.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The place of a column, if an event ever named it.
    pub fn column(&self, name: &str) -> Option<ColumnIndex> {
        self.columns.iter().position(|column| column == name).map(|place| ColumnIndex(place as u32))
    }

    /// The name of a column.
    pub fn column_name(&self, column: ColumnIndex) -> &str {
        &self.columns[column.0 as usize]
    }

    /// The name of a user.
    pub fn user(&self, user: UserIndex) -> &Login {
        &self.users[user.0 as usize]
    }

    /// The place of a user, if the log has an event of theirs.
    pub fn user_index(&self, login: &Login) -> Option<UserIndex> {
        self.users.iter().position(|user| user == login).map(|place| UserIndex(place as u32))
    }

    fn intern_column(&mut self, name: &str) -> ColumnIndex {
        self.column(name).unwrap_or_else(|| {
            self.columns.push(name.to_owned());
            ColumnIndex(self.columns.len() as u32 - 1)
        })
    }

    fn intern_user(&mut self, login: &Login) -> UserIndex {
        // The same user often makes many events in a row.
        self.users.iter().rposition(|user| user == login).map_or_else(
            || {
                self.users.push(login.clone());
                UserIndex(self.users.len() as u32 - 1)
            },
            |place| UserIndex(place as u32),
        )
    }
}

fn set_cell(row: &mut RowState, column: ColumnIndex, event: &Event, user: UserIndex) {
    let cell = row.cell_mut(column, event.id, event.date, user);
    let saw = event.previous.as_deref();
    let base = match cell.overriding.take() {
        Some(earlier) if earlier.value.as_deref() == saw => earlier.base,
        _ => saw.map(Box::from),
    };
    cell.overriding = Some(Override { value: event.value.as_deref().map(Box::from), base });
}
