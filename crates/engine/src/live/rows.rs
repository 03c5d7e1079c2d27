//! Rows of a live table as they are shown: cells, what was edited in them, and the labels of linked values.

use std::collections::BTreeMap;

use stet_domain::apply::{ColumnMap, Standing};
use stet_domain::replay::RowState;
use stet_domain::{Action, EventId, Key, LogDate, Login};

use super::query::{Count, Query};
use super::state::{InForce, View, in_force, place_of};
use super::{LiveTable, version_of};
use crate::control::Control;
use crate::error::EngineError;

/// A page of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The position of the log that the page shows.
    pub version: i64,
    /// The identity of the snapshot under it.
    pub snapshot: String,
    /// How many rows the query has in all; when they are still to be counted, how many it has at least.
    pub total: usize,
    /// Whether more rows may pass than `total`: only where [`Count::Later`] was asked for.
    pub total_pending: bool,
    /// Where the page starts.
    pub offset: usize,
    /// The rows.
    pub rows: Vec<Row>,
    /// Labels of the linked values in the rows.
    pub links: Links,
    /// Whether the whole order is not known yet, so that [`LiveTable::make_orders`] has something to do.
    pub order_pending: bool,
}

/// Rows by key.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The position of the log that the rows show.
    pub version: i64,
    /// The rows that are shown, in the order of the asked keys.
    pub rows: Vec<Row>,
    /// The asked keys that are not shown: deleted, or never there.
    pub deleted: Vec<Key>,
    /// Labels of the linked values in the rows.
    pub links: Links,
}

/// For each linked column the labels of the values that occur.
pub type Links = BTreeMap<String, BTreeMap<String, LinkText>>;

/// What is shown for a linked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkText {
    /// The label; none for null.
    pub label: Option<String>,
    /// The lookups, in their order.
    pub lookups: Vec<Option<String>>,
}

/// A row as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The row's key.
    pub key: Key,
    /// Canonical texts in the order of the shown columns; none for empty.
    pub cells: Vec<Option<String>>,
    /// The last event about the whole row.
    pub event: Option<EventId>,
    /// Whether the row was created here.
    pub created: bool,
    /// What the log says of single cells of the row, in the order of the table's columns.
    pub edits: Vec<Edit>,
}

/// What the log says of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// The column.
    pub column: String,
    /// The last event that named the cell.
    pub event: EventId,
    /// Who made it.
    pub user: Login,
    /// When it was appended.
    pub date: LogDate,
    /// How the edit stands.
    pub state: EditState,
    /// The value of the original; none for empty, and for what is not in the original.
    pub original: Option<String>,
}

/// How the last edit of a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditState {
    /// See [`Standing::Needed`].
    Needed,
    /// See [`Standing::Agrees`].
    Agrees,
    /// See [`Standing::SourceChanged`].
    SourceChanged,
    /// The override was taken away: the original stands.
    Reverted,
    /// The override does not fit the column any more: the original stands.
    Misfit,
}

/// One cell, with what an edit of it has to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The shown value; none for empty.
    pub value: Option<String>,
    /// The value of the original; none for empty, and for what is not in the original.
    pub original: Option<String>,
    /// The event that an edit has to have seen; none for a cell that no event touched.
    pub seen: Option<EventId>,
}

/// The last thing that the log says of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct LastEdit {
    /// The event.
    pub event: EventId,
    /// What it did.
    pub action: Action,
    /// Who made it.
    pub user: Login,
    /// When it was appended.
    pub date: LogDate,
    /// The last event about the whole row.
    pub row_event: Option<EventId>,
    /// Whether the row is deleted.
    pub deleted: bool,
}

impl LiveTable {
    /// The rows of a query from `offset`, at most `limit` and [`super::PAGE_ROWS_MAX`]. `me` is who asks.
    ///
    /// # Errors
    /// [`EngineError::Request`] for unknown columns, filter values that are not of the column's type, and limits that are
    /// passed.
    pub fn page(&self, query: &Query, offset: usize, limit: usize, me: &Login) -> Result<Page, EngineError> {
        self.page_watched((query, Count::Exact), offset, limit, me, &Control::unwatched())
    }

    /// As [`LiveTable::page`], for somebody who may go away: what takes long is given up when nobody has waited for it for
    /// [`super::TableLimits::given_up_after`].
    ///
    /// # Errors
    /// As [`LiveTable::page`]; and [`EngineError::Cancelled`] when it was given up.
    pub fn page_watched(
        &self,
        query: (&Query, Count),
        offset: usize,
        limit: usize,
        me: &Login,
        control: &Control,
    ) -> Result<Page, EngineError> {
        let (state, found) = self.find_rows(query, offset, limit, me, control)?;
        let view = self.view(&state);
        let rows = page_rows(view, &found.rows, self.limits.page_bytes_max)?;
        let links = links(view, &rows);
        Ok(Page {
            version: version_of(view.state),
            snapshot: view.snapshot.identity().to_owned(),
            total: found.total,
            total_pending: found.total_pending,
            offset,
            rows,
            links,
            order_pending: found.order_pending,
        })
    }

    /// The rows with these keys, all at one position of the log.
    pub fn rows(&self, keys: &[Key]) -> Rows {
        let state = self.read();
        let view = self.view(&state);
        let (mut numbers, mut deleted) = (Vec::with_capacity(keys.len()), Vec::new());
        for key in keys {
            match shown_row(view, key) {
                Some(row) => numbers.push(row),
                None => deleted.push(key.clone()),
            }
        }
        let rows = rows(view, &numbers);
        let links = links(view, &rows);
        Rows { version: version_of(&state), rows, deleted, links }
    }

    /// One row; none when it is deleted or was never there.
    pub fn row(&self, key: &Key) -> Option<Row> {
        let state = self.read();
        let view = self.view(&state);
        rows(view, &[shown_row(view, key)?]).pop()
    }

    /// One cell; none when the row is deleted or was never there.
    ///
    /// # Errors
    /// When the table knows no such column.
    pub fn cell(&self, key: &Key, column: &str) -> Result<Option<Cell>, EngineError> {
        let Some(place) = self.columns.all.iter().position(|other| other.name == column) else {
            return Err(EngineError::Request(format!("this table has no column `{column}`")));
        };
        let state = self.read();
        let view = self.view(&state);
        Ok(shown_row(view, key).map(|row| Cell {
            value: view.text(row, place),
            original: view.original_text(row, place),
            seen: state.replay.row(key.as_str()).and_then(|row| row.seen(state.replay.column(column))),
        }))
    }

    /// The shown values of all editable columns of a row, in the order of the settings: what a validation logs. None when
    /// the row is deleted or was never there.
    pub fn editable_cells(&self, key: &Key) -> Option<Vec<(String, Cell)>> {
        let state = self.read();
        let view = self.view(&state);
        let row = shown_row(view, key)?;
        let row_state = state.replay.row(key.as_str());
        let cells = self.columns.editable_places.iter().map(|place| {
            let name = &self.columns.all[*place].name;
            let seen = row_state.and_then(|row| row.seen(state.replay.column(name)));
            (name.clone(), Cell { value: view.text(row, *place), original: view.original_text(row, *place), seen })
        });
        Some(cells.collect())
    }

    /// The last thing that the log says of a key, whether its row is shown or not.
    pub fn last_edit(&self, key: &Key) -> Option<LastEdit> {
        let state = self.read();
        let row = state.replay.row(key.as_str())?;
        Some(LastEdit {
            event: row.last_event,
            action: row.last_action,
            user: state.replay.user(row.last_user).clone(),
            date: row.last_date,
            row_event: row.row_event,
            deleted: row.deleted,
        })
    }
}

fn shown_row(view: View<'_>, key: &Key) -> Option<u32> {
    let row = view.state.row_of(view.snapshot, key)?;
    let hidden = view.state.touched.get(&row).is_some_and(|touched| touched.hidden);
    (!hidden).then_some(row)
}

/// The rows of a page, unless they are too much for one.
fn page_rows(view: View<'_>, numbers: &[u32], bytes_max: usize) -> Result<Vec<Row>, EngineError> {
    let mut bytes = 0;
    let mut rows = Vec::with_capacity(numbers.len());
    for row in each_row(view, numbers) {
        bytes += row.cells.iter().flatten().map(String::len).sum::<usize>();
        rows.push(row);
        // A single row is shown whatever its size: there is no less to ask for.
        if bytes > bytes_max && numbers.len() > 1 {
            return Err(EngineError::Request(format!(
                "the first {} of these {} rows have more than {bytes_max} bytes: ask for fewer rows at once",
                rows.len(),
                numbers.len(),
            )));
        }
    }
    Ok(rows)
}

fn rows(view: View<'_>, numbers: &[u32]) -> Vec<Row> {
    each_row(view, numbers).collect()
}

fn each_row<'a>(view: View<'a>, numbers: &'a [u32]) -> impl Iterator<Item = Row> + 'a {
    let map = ColumnMap::new(&view.state.replay, &view.columns.editable);
    let originals = view.columns.shown().iter().filter_map(|column| column.original);
    view.snapshot.fetch(numbers, originals);
    numbers.iter().map(move |number| {
        let key = view.key(*number);
        let touched = view.state.touched.get(number);
        let row_state = touched.and_then(|_| view.state.replay.row(key.as_str()));
        Row {
            cells: (0..view.columns.shown).map(|column| view.text_of(*number, touched, column)).collect(),
            event: row_state.and_then(|row| row.row_event),
            created: touched.is_some_and(|touched| touched.created),
            edits: row_state.map(|row| edits(view, &map, *number, row)).unwrap_or_default(),
            key,
        }
    })
}

fn edits(view: View<'_>, map: &ColumnMap<'_>, number: u32, row: RowState<'_>) -> Vec<Edit> {
    let mut edits: Vec<(usize, Edit)> = row
        .cells()
        .filter_map(|(column, cell)| {
            let place = place_of(view.columns, map, column)?;
            let column = &view.columns.all[place];
            let original = view.original_text(number, place);
            let state = match cell.overriding {
                None => EditState::Reverted,
                Some(overriding) => match in_force(column, overriding, || original.clone()) {
                    InForce::Misfit => EditState::Misfit,
                    InForce::Value(_, Standing::Needed) => EditState::Needed,
                    InForce::Value(_, Standing::Agrees) => EditState::Agrees,
                    InForce::Value(_, Standing::SourceChanged) => EditState::SourceChanged,
                },
            };
            let user = view.state.replay.user(cell.user).clone();
            let edit = Edit { column: column.name.clone(), event: cell.event, user, date: cell.date, state, original };
            Some((place, edit))
        })
        .collect();
    edits.sort_by_key(|(place, _)| *place);
    edits.into_iter().map(|(_, edit)| edit).collect()
}

fn links(view: View<'_>, rows: &[Row]) -> Links {
    let mut links = Links::new();
    for (place, column) in view.columns.shown().iter().enumerate() {
        let Some(link) = &column.link else { continue };
        let texts = links.entry(column.name.clone()).or_default();
        for value in rows.iter().filter_map(|row| row.cells[place].as_ref()) {
            if let Some(row) = link.get(value).filter(|_| !texts.contains_key(value)) {
                let lookups = row.lookups.iter().map(|text| text.map(str::to_owned)).collect();
                texts.insert(value.clone(), LinkText { label: row.label.map(str::to_owned), lookups });
            }
        }
    }
    links
}
