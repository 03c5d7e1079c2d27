//! Rows of the table as they are given to clients, and what is asked for.

use std::collections::BTreeMap;

use stet_domain::{EventId, LogDate, Login};
pub use stet_engine::live::EditState;
use stet_engine::live::{self, Count};

pub use stet_engine::live::PAGE_ROWS_MAX;

/// A row as it is now: replay and apply over the original.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its key.
    pub key: String,
    /// Canonical texts in the order of the table's columns; none for null.
    pub cells: Vec<Option<String>>,
    /// The last event about the whole row.
    pub event: Option<EventId>,
    /// Whether it stands by creation.
    pub created: bool,
    /// The cells that events named, by column.
    pub edits: BTreeMap<String, CellEdit>,
}

impl Row {
    /// The event that an edit of a cell has to have seen: the last one on the cell or its whole row.
    pub fn seen(&self, column: &str) -> Option<EventId> {
        self.edits.get(column).map(|edit| edit.event).max(self.event)
    }
}

/// What the log says of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellEdit {
    /// The last event that moved it: what an edit has to have seen.
    pub event: EventId,
    /// Who did.
    pub user: Login,
    /// When.
    pub date: LogDate,
    /// How its override stands.
    pub state: EditState,
    /// The original's value now.
    pub original: Option<String>,
}

/// Rows from one place of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The position of the log that the rows show.
    pub version: i64,
    /// The identity of the original that the rows show.
    pub snapshot: String,
    /// How many rows there are with these filters; when they are still to be counted, how many there are at least.
    pub total: usize,
    /// Whether not all rows were counted yet.
    pub total_pending: bool,
    /// The place of the first row.
    pub offset: usize,
    /// The rows.
    pub rows: Vec<Row>,
    /// The labels of linked values on the page: by column, by value.
    pub links: LinkLabels,
}

/// Which rows of a query are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The place of the first row, from 0.
    pub offset: usize,
    /// How many rows, [`PAGE_ROWS_MAX`] at most.
    pub limit: usize,
    /// Whether all rows of the query are counted before the answer.
    pub count: Count,
}

/// Groups of rows that have the same values, from one place of their order.
#[derive(Debug, Clone, PartialEq)]
pub struct RowGroups {
    /// The position of the log that the groups show.
    pub version: i64,
    /// The identity of the original that they show.
    pub snapshot: String,
    /// How many rows there are in all groups.
    pub rows: usize,
    /// How many groups there are.
    pub total: usize,
    /// The place of the first group.
    pub offset: usize,
    /// The groups.
    pub groups: Vec<live::Group>,
    /// The labels of linked values in the groups: by column, by value.
    pub links: LinkLabels,
}

/// The labels of linked values: by column, by value.
pub type LinkLabels = BTreeMap<String, BTreeMap<String, LinkLabel>>;

/// What a linked value means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkLabel {
    /// The label column's value.
    pub label: Option<String>,
    /// The lookup columns' values, in the order of the settings.
    pub lookups: Vec<Option<String>>,
}

/// A choice for a linked column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkOption {
    /// The value to store.
    pub value: String,
    /// What it means.
    pub label: LinkLabel,
}

impl From<live::Row> for Row {
    fn from(row: live::Row) -> Row {
        let edit = |edit: live::Edit| {
            let live::Edit { column, event, user, date, state, original } = edit;
            (column, CellEdit { event, user, date, state, original })
        };
        Row {
            key: row.key.to_string(),
            cells: row.cells,
            event: row.event,
            created: row.created,
            edits: row.edits.into_iter().map(edit).collect(),
        }
    }
}

impl From<live::LinkText> for LinkLabel {
    fn from(text: live::LinkText) -> LinkLabel {
        LinkLabel { label: text.label, lookups: text.lookups }
    }
}

impl From<live::LinkRow<'_>> for LinkLabel {
    fn from(row: live::LinkRow<'_>) -> LinkLabel {
        LinkLabel {
            label: row.label.map(str::to_owned),
            lookups: row.lookups.into_iter().map(|lookup| lookup.map(str::to_owned)).collect(),
        }
    }
}

/// The labels of linked values as the engine has them.
pub(super) fn labels(links: live::Links) -> LinkLabels {
    links
        .into_iter()
        .map(|(column, values)| (column, values.into_iter().map(|(value, text)| (value, text.into())).collect()))
        .collect()
}
