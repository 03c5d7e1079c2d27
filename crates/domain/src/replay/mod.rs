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

mod record;
mod rows;

use serde::{Deserialize, Serialize};

use crate::event::{Action, Event, EventId, LogDate};
use crate::name::Login;

use record::{Cells, Draft};
use rows::Rows;

/// A column's place in [`Replay::columns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ColumnIndex(pub u32);

/// A user's place in [`Replay::users`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserIndex(pub u32);

/// The number of a row in a [`Replay`]: how many keys appeared in the log before its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowNumber(pub u32);

/// The state of all edited rows at one position of an editlog.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    rows: Rows,
    columns: Vec<String>,
    users: Vec<Login>,
    position: Option<EventId>,
    events: u64,
    /// Whether a row was ever created, also one that does not stand any more.
    has_creations: bool,
    /// Room for the record that is being written.
    room: Vec<u8>,
}

/// What a fold needs of an event, without texts of its own: see [`Replay::push_edit`].
#[derive(Debug, Clone, Copy)]
pub struct Edit<'a> {
    /// The event.
    pub id: EventId,
    /// When it was appended.
    pub date: LogDate,
    /// Who made it.
    pub user: &'a Login,
    /// What it does.
    pub action: Action,
    /// The text of the row's key.
    pub key: &'a str,
    /// The column; none for the whole row.
    pub column: Option<&'a str>,
    /// The new value; none means emptied.
    pub value: Option<&'a str>,
    /// The value that the author saw.
    pub previous: Option<&'a str>,
}

impl<'a> From<&'a Event> for Edit<'a> {
    fn from(event: &'a Event) -> Edit<'a> {
        Edit {
            id: event.id,
            date: event.date,
            user: &event.user,
            action: event.action,
            key: event.key.as_str(),
            column: event.column_name.as_deref(),
            value: event.value.as_deref(),
            previous: event.previous.as_deref(),
        }
    }
}

/// What the log says of one key.
#[derive(Debug, Clone, Copy)]
pub struct RowState<'a> {
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
    /// One entry for each column that an event ever named since the row's last start; sorted by column.
    cells: Cells<'a>,
}

/// What the log says of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellState<'a> {
    /// The last event that named the cell.
    pub event: EventId,
    /// When it was appended.
    pub date: LogDate,
    /// Who made it.
    pub user: UserIndex,
    /// The override; none after a revert.
    pub overriding: Option<Override<'a>>,
}

/// A value that stands in place of the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override<'a> {
    /// Canonical text; none means emptied.
    pub value: Option<&'a str>,
    /// The value of the original that the override was made over, as its author saw it.
    ///
    /// It is the `previous` of the first update since the cell had no override. A later update keeps it when its
    /// author saw the override; when the author saw something else (the original's new value, in the review of source
    /// changes), what was seen becomes the base, which settles the source change.
    pub base: Option<&'a str>,
}

/// Bytes that are no row of a state: see [`Replay::put_record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no row of an editlog's state")]
pub struct NoRecord;

impl<'a> RowState<'a> {
    /// The state of a cell, if an event ever named it.
    pub fn cell(&self, column: ColumnIndex) -> Option<CellState<'a>> {
        { self.cells }.find(|(named, _)| *named == column).map(|(_, cell)| cell)
    }

    /// The cells that events named, with or without an override now.
    pub fn cells(&self) -> impl Iterator<Item = (ColumnIndex, CellState<'a>)> + use<'a> {
        self.cells
    }

    /// The cells that have an override.
    pub fn overrides(&self) -> impl Iterator<Item = (ColumnIndex, CellState<'a>, Override<'a>)> + use<'a> {
        self.cells.filter_map(|(column, cell)| Some((column, cell, cell.overriding?)))
    }

    /// The event that an edit of this cell must have seen: the last one that named the cell or its whole row.
    pub fn seen(&self, column: Option<ColumnIndex>) -> Option<EventId> {
        column.and_then(|column| self.cell(column)).map(|cell| cell.event).max(self.row_event)
    }

    /// Whether the row stands in the result by creation.
    pub fn is_created(&self) -> bool {
        self.created.is_some() && !self.deleted
    }
}

impl<'a> Draft<'a> {
    /// What the next event makes of a row; `earlier` is none for the first event of its key.
    fn of(earlier: Option<RowState<'a>>, event: &Edit<'a>, column: Option<ColumnIndex>, user: UserIndex) -> Draft<'a> {
        let row = earlier.unwrap_or(RowState {
            deleted: false,
            created: None,
            row_event: None,
            first_action: event.action,
            last_action: event.action,
            last_event: event.id,
            last_date: event.date,
            last_user: user,
            cells: Cells::none(),
        });
        let mut draft = Draft { cells: row.cells().collect(), row };
        let row = &mut draft.row;
        row.last_action = event.action;
        row.last_event = event.id;
        row.last_date = event.date;
        row.last_user = user;
        match (event.action, column) {
            (Action::Update, Some(column)) => draft.set_cell(column, event, user),
            // An update of no column has nothing to set; the row still counts as edited.
            (Action::Update, None) => {}
            (Action::Create, column) => {
                if row.deleted {
                    draft.clear();
                    draft.row.first_action = Action::Create;
                }
                let row = &mut draft.row;
                if row.created.is_none() {
                    row.created = Some(event.id);
                    row.row_event = Some(event.id);
                }
                if let Some(column) = column {
                    draft.set_cell(column, event, user);
                }
            }
            (Action::Delete, _) => {
                row.deleted = true;
                row.row_event = Some(event.id);
            }
            (Action::Revert, Some(column)) => draft.cell_mut(column, event, user).overriding = None,
            (Action::Revert, None) => {
                draft.clear();
                draft.row.row_event = Some(event.id);
            }
            // They are of no row, and were let pass before.
            (Action::Erase | Action::Note, _) => {}
        }
        draft
    }

    fn set_cell(&mut self, column: ColumnIndex, event: &Edit<'a>, user: UserIndex) {
        let cell = self.cell_mut(column, event, user);
        let saw = event.previous;
        let base = match cell.overriding {
            Some(earlier) if earlier.value == saw => earlier.base,
            _ => saw,
        };
        cell.overriding = Some(Override { value: event.value, base });
    }

    /// The cell of a column, which an event has just named.
    fn cell_mut(&mut self, column: ColumnIndex, event: &Edit<'_>, user: UserIndex) -> &mut CellState<'a> {
        let named = |overriding| CellState { event: event.id, date: event.date, user, overriding };
        let place = match self.cells.binary_search_by_key(&column, |(column, _)| *column) {
            Ok(place) => {
                self.cells[place].1 = named(self.cells[place].1.overriding);
                place
            }
            Err(place) => {
                self.cells.insert(place, (column, named(None)));
                place
            }
        };
        &mut self.cells[place].1
    }

    fn clear(&mut self) {
        self.cells.clear();
        self.row.deleted = false;
        self.row.created = None;
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
            has_creations: false,
            room: Vec::new(),
        }
    }

    /// Takes note of the next event of the log, with its column and user, and leaves its row to another state.
    pub fn note(&mut self, event: &Event) {
        self.position = Some(event.id);
        self.events += 1;
        if !event.action.is_edit() {
            return;
        }
        self.intern_user(&event.user);
        if let Some(name) = &event.column_name {
            self.intern_column(name);
        }
    }

    /// A row as bytes, to be taken by [`Replay::put_record`].
    pub fn record(&self, number: RowNumber) -> &[u8] {
        self.rows.record_at(number)
    }

    /// The row in the bytes of [`Replay::record`], and its key; none when they are none.
    pub fn read_record(record: &[u8]) -> Option<(&str, RowState<'_>)> {
        record::read(record)
    }

    /// The key of an edited row by its number.
    pub fn key(&self, number: RowNumber) -> &str {
        self.rows.key_at(number)
    }

    /// The keys of all edited rows, in the order in which they first appeared.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.rows.numbers().map(|number| self.rows.key_at(number))
    }

    /// Puts a row that another state has folded, with the same columns and users, into this one.
    ///
    /// # Errors
    /// When the bytes are not those of [`Replay::record`].
    pub fn put_record(&mut self, record: &[u8]) -> Result<(), NoRecord> {
        if !record::is_whole(record) {
            return Err(NoRecord);
        }
        self.has_creations |= record::read(record).is_some_and(|(_, row)| row.created.is_some());
        self.rows.put(record);
        Ok(())
    }

    /// Takes the next event of the log.
    pub fn push(&mut self, event: &Event) {
        self.push_edit(&Edit::from(event));
    }

    /// As [`Replay::push`], of an event that lies in somebody else's memory.
    pub fn push_edit(&mut self, event: &Edit<'_>) {
        self.position = Some(event.id);
        self.events += 1;
        if !event.action.is_edit() {
            return;
        }
        let user = self.intern_user(event.user);
        let column = event.column.map(|name| self.intern_column(name));
        self.has_creations |= event.action == Action::Create;
        let (known, hash) = self.rows.find_hashed(event.key);
        let earlier = known.map(|number| self.rows.at(number).1);
        let draft = Draft::of(earlier, event, column, user);
        record::write(&mut self.room, event.key, &draft);
        self.rows.put_at(known, hash, &self.room);
    }

    /// What the log says of a key, if anything.
    pub fn row(&self, key: &str) -> Option<RowState<'_>> {
        self.rows.get(key)
    }

    /// The row with a number, and its key.
    ///
    /// # Panics
    /// When the number is not of this state.
    pub fn at(&self, number: RowNumber) -> (&str, RowState<'_>) {
        self.rows.at(number)
    }

    /// All edited rows with their keys, in the order in which the keys first appeared.
    pub fn rows(&self) -> impl Iterator<Item = (&str, RowState<'_>)> {
        self.rows.iter()
    }

    /// Whether rows stand by creation. Where none was ever created, which is most logs, no row is looked at.
    pub fn has_created(&self) -> bool {
        self.has_creations && self.rows.iter().any(|(_, row)| row.is_created())
    }

    /// The rows that stand by creation, in order of creation.
    pub fn created_rows(&self) -> Vec<(&str, RowState<'_>)> {
        let mut rows: Vec<_> = self.rows.iter().filter(|(_, row)| row.is_created()).collect();
        rows.sort_unstable_by_key(|(_, row)| row.created);
        rows
    }

    /// The numbers of all edited rows, in order of their last events: the order of `editlog_pivoted`.
    pub fn by_last_event(&self) -> Vec<RowNumber> {
        let mut numbers: Vec<RowNumber> = self.rows.numbers().collect();
        numbers.sort_by_cached_key(|number| self.rows.at(*number).1.last_event);
        numbers
    }

    /// About how many bytes of memory the rows take.
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
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
