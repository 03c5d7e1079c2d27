//! Apply: how an original and the state of its editlog make the edited rows, and the account that is given of it.
//!
//! The rules, for each original row with its key: a deleted row is dropped; a cell with an override takes it if it still
//! fits the column; everything else stays as it is. Created rows follow in order of creation. What cannot be applied is
//! never lost silently: it is counted and listed in [`ApplyReport`].

use serde::{Deserialize, Serialize};

use crate::event::EventId;
use crate::replay::{CellState, ColumnIndex, Override, Replay, RowState};
use crate::value::{ColumnType, Value};

/// The most orphans, misfits and not-editable overrides that a report lists each; all are counted.
pub const REPORT_ITEMS_MAX: usize = 1_000;

/// How an override stands to the present original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The original has the value that the author saw: the override is what makes the difference.
    Needed,
    /// The original has the override's value by now.
    Agrees,
    /// The original has changed since the author saw it: a person should look.
    SourceChanged,
}

/// Classifies an override against the original's present value (canonical text; none for null, and for a column that
/// the original does not have).
pub fn standing(overriding: Override<'_>, original: Option<&str>) -> Standing {
    if overriding.value == original {
        Standing::Agrees
    } else if overriding.base == original {
        Standing::Needed
    } else {
        Standing::SourceChanged
    }
}

/// The typed value of an override, if it fits the column: `Some(None)` is an emptied cell, `None` a misfit.
pub fn fit(overriding: Override<'_>, column_type: ColumnType) -> Option<Option<Value>> {
    match overriding.value {
        None => Some(None),
        Some(text) => column_type.read(text).ok().map(Some),
    }
}

/// A column that the webapp lets people edit, with its type in the edited dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditableColumn {
    /// The column's name.
    pub name: String,
    /// The column's type now, which an override has to fit.
    pub column_type: ColumnType,
}

/// The editable columns, looked up by their place in a [`Replay`].
#[derive(Debug, Clone)]
pub struct ColumnMap<'a> {
    editable: &'a [EditableColumn],
    /// For each column of the replay, its place among the editable ones.
    places: Vec<Option<usize>>,
}

impl<'a> ColumnMap<'a> {
    /// Relates the columns that events named to the columns that are editable now.
    pub fn new(replay: &Replay, editable: &'a [EditableColumn]) -> ColumnMap<'a> {
        let places =
            replay.columns().iter().map(|name| editable.iter().position(|column| column.name == *name)).collect();
        ColumnMap { editable, places }
    }

    /// The editable column that a column of the replay is now, with its place among the editable columns.
    pub fn get(&self, column: ColumnIndex) -> Option<(usize, &'a EditableColumn)> {
        let place = (*self.places.get(column.0 as usize)?)?;
        Some((place, &self.editable[place]))
    }
}

/// What becomes of one row that the log knows.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOutcome {
    /// The row is dropped.
    Deleted,
    /// The cells that change: place among the editable columns, and the new value (none means emptied). May be empty.
    Cells(Vec<(usize, Option<Value>)>),
}

/// The pure fold of the apply recipe. It is shown every original row whose key the log knows, and then the rest of the
/// log; it says what becomes of each row and keeps the account.
#[derive(Debug)]
pub struct Apply<'a> {
    replay: &'a Replay,
    columns: ColumnMap<'a>,
    report: ApplyReport,
}

impl<'a> Apply<'a> {
    /// Starts the fold over the state of a log.
    pub fn new(replay: &'a Replay, editable: &'a [EditableColumn]) -> Apply<'a> {
        Apply { replay, columns: ColumnMap::new(replay, editable), report: ApplyReport::default() }
    }

    /// Takes an original row that the log knows. `original` gives the canonical text of an editable column, by its
    /// place, in the original row; none for null and for a column that the original does not have.
    pub fn original_row(
        &mut self,
        key: &str,
        row: RowState<'_>,
        original: impl Fn(usize) -> Option<String>,
    ) -> RowOutcome {
        if self.row(row) {
            return RowOutcome::Deleted;
        }
        let mut cells = Vec::new();
        for (column, cell, overriding) in row.overrides() {
            cells.extend(self.cell(key, column, cell, overriding, &original));
        }
        RowOutcome::Cells(cells)
    }

    /// Takes an original row that the log knows as a whole, for callers that give its overrides one by one to
    /// [`Apply::cell`]; true when the row is dropped, and its overrides with it.
    pub fn row(&mut self, row: RowState<'_>) -> bool {
        self.report.rows_deleted += u64::from(row.deleted);
        row.deleted
    }

    /// Takes one override of an original row that is not dropped: the place of its column among the editable ones and the
    /// new value; none when it cannot be applied. `original` is as in [`Apply::original_row`].
    pub fn cell(
        &mut self,
        key: &str,
        column: ColumnIndex,
        cell: CellState<'_>,
        overriding: Override<'_>,
        original: impl Fn(usize) -> Option<String>,
    ) -> Option<(usize, Option<Value>)> {
        let Some((place, editable)) = self.columns.get(column) else {
            self.not_editable(key, column, cell.event, overriding);
            return None;
        };
        let Some(value) = fit(overriding, editable.column_type) else {
            self.misfit(key, editable, cell.event, overriding);
            return None;
        };
        match standing(overriding, original(place).as_deref()) {
            Standing::Needed => self.report.stale.needed += 1,
            Standing::Agrees => self.report.stale.agrees += 1,
            Standing::SourceChanged => self.report.stale.source_changed += 1,
        }
        self.report.edits_applied += 1;
        Some((place, value))
    }

    /// The place among the editable columns of a column of the log; none when it is not editable.
    pub fn place(&self, column: ColumnIndex) -> Option<usize> {
        self.columns.get(column).map(|(place, _)| place)
    }

    /// Takes over the account of a fold over other rows of the same original.
    pub fn absorb(&mut self, other: ApplyReport) {
        self.report.absorb(other);
    }

    /// Takes a row that stands by creation and is not in the original.
    pub fn created_row(&mut self, key: &str, row: RowState<'_>) -> Vec<(usize, Option<Value>)> {
        self.report.rows_created += 1;
        match self.original_row(key, row, |_| None) {
            RowOutcome::Deleted => Vec::new(),
            RowOutcome::Cells(cells) => cells,
        }
    }

    /// Takes a row that the log knows, that is not in the original and that does not stand by creation: whatever is
    /// still in force on it is orphaned. Rows that were created and deleted again are no orphans.
    pub fn missing_row(&mut self, key: &str, row: RowState<'_>) {
        if row.created.is_some() {
            return;
        }
        for (column, cell, overriding) in row.overrides() {
            self.report.stale.orphan += 1;
            let item = self.item(key, column, cell.event, overriding, "the original has no row with this key");
            self.report.orphans.add(item);
        }
        if row.deleted {
            self.report.stale.orphan += 1;
            self.report.orphans.add(ReportItem {
                event: row.row_event.unwrap_or(row.last_event),
                key: key.to_owned(),
                column: None,
                value: None,
                reason: "the row that was to be deleted is not in the original".to_owned(),
            });
        }
    }

    /// The state of the log that the fold works on.
    pub fn replay(&self) -> &'a Replay {
        self.replay
    }

    /// Ends the fold and gives the account. The caller fills in the counts of rows read and written.
    pub fn finish(self) -> ApplyReport {
        self.report
    }

    fn not_editable(&mut self, key: &str, column: ColumnIndex, event: EventId, overriding: Override<'_>) {
        let item = self.item(key, column, event, overriding, "the column is no longer editable");
        self.report.not_editable.add(item);
    }

    fn misfit(&mut self, key: &str, editable: &EditableColumn, event: EventId, overriding: Override<'_>) {
        self.report.misfits.add(ReportItem {
            event,
            key: key.to_owned(),
            column: Some(editable.name.clone()),
            value: overriding.value.map(str::to_owned),
            reason: format!("the column now holds {}", editable.column_type.description()),
        });
    }

    fn item(
        &self,
        key: &str,
        column: ColumnIndex,
        event: EventId,
        overriding: Override<'_>,
        reason: &str,
    ) -> ReportItem {
        ReportItem {
            event,
            key: key.to_owned(),
            column: Some(self.replay.column_name(column).to_owned()),
            value: overriding.value.map(str::to_owned),
            reason: reason.to_owned(),
        }
    }
}

/// The account of an apply: what was done with every override.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyReport {
    /// Rows read from the original.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Cells that took an override, created rows included.
    pub edits_applied: u64,
    /// Rows appended.
    pub rows_created: u64,
    /// Original rows dropped.
    pub rows_deleted: u64,
    /// Overrides whose key is gone from the original.
    pub orphans: ReportList,
    /// Overrides whose value no longer fits the column.
    pub misfits: ReportList,
    /// Overrides of columns that are no longer editable.
    pub not_editable: ReportList,
    /// How the overrides stand to the present original.
    pub stale: StandingCounts,
}

impl ApplyReport {
    /// Adds the account of other rows of the same original. The counts of rows read and written are added too.
    pub fn absorb(&mut self, other: ApplyReport) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.edits_applied += other.edits_applied;
        self.rows_created += other.rows_created;
        self.rows_deleted += other.rows_deleted;
        self.orphans.absorb(other.orphans);
        self.misfits.absorb(other.misfits);
        self.not_editable.absorb(other.not_editable);
        self.stale.needed += other.stale.needed;
        self.stale.agrees += other.stale.agrees;
        self.stale.source_changed += other.stale.source_changed;
        self.stale.orphan += other.stale.orphan;
    }
}

/// How many overrides stand how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingCounts {
    /// See [`Standing::Needed`].
    pub needed: u64,
    /// See [`Standing::Agrees`].
    pub agrees: u64,
    /// See [`Standing::SourceChanged`].
    pub source_changed: u64,
    /// Overrides whose key is gone.
    pub orphan: u64,
}

/// A count with the first items of what was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportList {
    /// How many there are.
    pub count: u64,
    /// The first [`REPORT_ITEMS_MAX`] of them.
    pub items: Vec<ReportItem>,
}

/// An override that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportItem {
    /// The event that set it.
    pub event: EventId,
    /// The row.
    pub key: String,
    /// The column; none for a whole row.
    pub column: Option<String>,
    /// Its value; none means emptied.
    pub value: Option<String>,
    /// Why, in plain words.
    pub reason: String,
}

impl ReportList {
    fn add(&mut self, item: ReportItem) {
        self.count += 1;
        if self.items.len() < REPORT_ITEMS_MAX {
            self.items.push(item);
        }
    }

    fn absorb(&mut self, other: ReportList) {
        self.count += other.count;
        let room = REPORT_ITEMS_MAX.saturating_sub(self.items.len());
        self.items.extend(other.items.into_iter().take(room));
    }

    /// Puts the items in order of their events: the order in which rows were met does not show.
    pub fn sort(&mut self) {
        self.items.sort_unstable_by(|a, b| (a.event, &a.key).cmp(&(b.event, &b.key)));
    }
}
