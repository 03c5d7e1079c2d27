//! Edits of one request that build on each other: made one after the other, as they are written.
//!
//! Most requests have none: each of their edits is of another cell, and all go to the log together. But a paste can hold
//! values of a row and the tick that approves them, a program can add a row and then fill it, and what comes later has to
//! see what came before.

use std::collections::{HashMap, HashSet};

use stet_domain::{EventId, Key};

use super::edit::{Change, Edit};
use super::resolve::Resolved;
use super::rows::Row;

/// What the edits of a request so far have done to a row, since its last step began.
#[derive(Default)]
struct Touched {
    step: usize,
    whole: bool,
    columns: HashSet<String>,
}

/// An edit of a request.
pub(super) struct Placed {
    /// Its place in the request.
    pub(super) place: usize,
    pub(super) edit: Edit,
    /// Whether it has to see what an earlier edit of the request has done.
    pub(super) builds_on: bool,
}

/// The edits of a request, step by step. No edit is in the same step as an earlier one of its cell, or as one that adds,
/// deletes, reverts or approves its whole row.
pub(super) fn steps(resolved: &Resolved, edits: Vec<Edit>) -> Vec<Vec<Placed>> {
    if edits.len() < 2 {
        let edits = edits.into_iter().enumerate();
        return vec![edits.map(|(place, edit)| Placed { place, edit, builds_on: false }).collect()];
    }
    let mut rows: HashMap<Key, Touched> = HashMap::new();
    let mut steps: Vec<Vec<Placed>> = vec![Vec::with_capacity(edits.len())];
    for (place, edit) in edits.into_iter().enumerate() {
        let Some((key, column)) = target(resolved, &edit.change) else {
            steps[0].push(Placed { place, edit, builds_on: false });
            continue;
        };
        let row = rows.entry(key).or_default();
        let builds_on = match &column {
            Some(column) => row.whole || row.columns.contains(column),
            None => row.whole || !row.columns.is_empty(),
        };
        if builds_on {
            *row = Touched { step: row.step + 1, ..Touched::default() };
        }
        match column {
            Some(column) => drop(row.columns.insert(column)),
            None => row.whole = true,
        }
        if steps.len() <= row.step {
            steps.resize_with(row.step + 1, Vec::new);
        }
        steps[row.step].push(Placed { place, edit, builds_on });
    }
    steps
}

/// The row that a change is of, and its column; no column for the whole row. None for a row that cannot be added.
fn target(resolved: &Resolved, change: &Change) -> Option<(Key, Option<String>)> {
    match change {
        Change::Update { key, column, value, .. } => {
            let approves = value.is_some() && resolved.webapp.validation_column.as_ref() == Some(column);
            Some((Key::from_text(key.as_str()), (!approves).then(|| column.clone())))
        }
        Change::Revert { key, column } => Some((Key::from_text(key.as_str()), column.clone())),
        Change::Delete { key } => Some((Key::from_text(key.as_str()), None)),
        Change::Create { values } => {
            let part = |column: &stet_domain::project::Column| {
                let (_, value) = values.iter().find(|(name, _)| *name == column.name)?;
                column.column_type.canonical(value.as_deref()?).ok()
            };
            let parts: Vec<String> = resolved.keys.iter().map(part).collect::<Option<_>>()?;
            Some((Key::from_parts(&parts), None))
        }
    }
}

/// The events that a request has made in its steps so far.
#[derive(Debug, Default)]
pub(super) struct OwnEvents(pub(super) HashSet<EventId>);

impl OwnEvents {
    /// What an edit has seen of a cell, by what its author says: an author has seen what the same request did before.
    pub(super) fn seen(&self, said: Option<EventId>, row: &Row, column: &str) -> Option<EventId> {
        self.past(said, row.seen(column))
    }

    /// Whether nothing of the request is in the log yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As [`OwnEvents::seen`], of a whole row.
    pub(super) fn seen_row(&self, said: Option<EventId>, row: &Row) -> Option<EventId> {
        if self.0.is_empty() {
            return said;
        }
        let events = row.edits.values().map(|edit| edit.event).chain(row.event);
        let later: Vec<EventId> = events.filter(|event| Some(*event) > said).collect();
        if later.iter().all(|event| self.0.contains(event)) { later.into_iter().max().or(said) } else { said }
    }

    fn past(&self, said: Option<EventId>, last: Option<EventId>) -> Option<EventId> {
        last.filter(|last| self.0.contains(last)).max(said)
    }
}
