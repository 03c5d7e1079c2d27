//! What a changed definition does to edits that were logged under the earlier one: they stay in the log, and some of them
//! may no longer fit.

use std::ops::ControlFlow;

use serde::Serialize;
use stet_domain::project::{Project, Webapp};
use stet_domain::{ColumnType, Event, EventId};

use crate::App;
use crate::error::AppError;

/// The most events that are listed one by one.
const LISTED_MAX: usize = 10_000;

/// What becomes of the logged edits of one original.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HistoryEffect {
    /// The original.
    pub original: String,
    /// The events in the log.
    pub events: u64,
    /// Of these, how many name a column that can no longer be edited.
    pub not_editable: u64,
    /// How many have a value that no longer fits the type of its column.
    pub misfits: u64,
    /// How many have a key that cannot be one any more, since the primary key changes.
    pub orphans: u64,
    /// Those events, as far as they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<HistoryRow>,
}

/// An event that no longer fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryRow {
    /// The event.
    pub event: EventId,
    /// The row that it edited.
    pub key: String,
    /// The column, if it named one.
    pub column: Option<String>,
    /// Its value.
    pub value: Option<String>,
    /// `not_editable`, `misfit` or `orphan`.
    pub fate: &'static str,
}

impl HistoryEffect {
    /// How many events no longer fit.
    pub fn lost(&self) -> u64 {
        self.not_editable + self.misfits + self.orphans
    }
}

/// What a webapp lets an event do.
struct Rules<'a> {
    webapp: &'a Webapp,
    /// The types of the key columns, as far as they are declared.
    keys: Vec<Option<ColumnType>>,
}

impl<'a> Rules<'a> {
    fn new(project: &'a Project, webapp: &'a Webapp) -> Rules<'a> {
        let columns = project.datasets.get(&webapp.original).and_then(|dataset| dataset.columns.as_ref());
        let type_of =
            |name: &String| columns?.iter().find(|column| column.name == *name).map(|column| column.column_type);
        Rules { keys: webapp.primary_keys.iter().map(type_of).collect(), webapp }
    }

    /// How an event fails to fit, if it does.
    fn fate(&self, event: &Event) -> Option<&'static str> {
        let fits = event.key.parts(self.keys.len()).is_ok_and(|parts| {
            parts.iter().zip(&self.keys).all(|(text, column_type)| {
                // A key is found by its canonical text.
                column_type.is_none_or(|column_type| column_type.canonical(text).is_ok_and(|same| same == *text))
            })
        });
        if !fits {
            return Some("orphan");
        }
        let column = event.column_name.as_ref()?;
        // The key columns of a created row are named in its events and never edited.
        if self.webapp.primary_keys.contains(column) {
            return None;
        }
        let Some(editable) = self.webapp.editable(column) else { return Some("not_editable") };
        let value = event.value.as_ref()?;
        let fits = editable.column_type.is_none_or(|column_type| column_type.read(value).is_ok());
        (!fits).then_some("misfit")
    }
}

impl App {
    /// What becomes of the edits that are logged on this node when `next` takes the place of `current`. An event counts when
    /// it fits now and would not any more; a changed primary key makes orphans of all. Blocks.
    pub(super) fn history_effects(
        &self,
        current: Option<&Project>,
        next: &Project,
        with_rows: bool,
    ) -> Result<Vec<HistoryEffect>, AppError> {
        let mut effects = Vec::new();
        let Some(current) = current else { return Ok(effects) };
        for webapp in current.webapps.values() {
            let original = &webapp.original;
            let reader = match self.editlog_reader_of(current, original) {
                Ok(reader) => reader,
                // Without an editlog there is nothing to lose.
                Err(_) => continue,
            };
            let after = next.webapp_on(original);
            let before = Rules::new(current, webapp);
            let rules = after.map(|after| Rules::new(next, after));
            let keys_change = after.is_some_and(|after| after.primary_keys != webapp.primary_keys);
            let mut effect = HistoryEffect { original: original.to_string(), ..HistoryEffect::default() };
            reader.scan(None, None, &mut |event| {
                if !event.action.is_edit() {
                    return ControlFlow::Continue(());
                }
                effect.events += 1;
                // A webapp that goes takes no edits away: they stay in the log, and come back with it.
                let Some(rules) = &rules else { return ControlFlow::Continue(()) };
                let fate = match (before.fate(&event), rules.fate(&event)) {
                    (None, _) if keys_change => "orphan",
                    (None, Some(fate)) => fate,
                    _ => return ControlFlow::Continue(()),
                };
                match fate {
                    "orphan" => effect.orphans += 1,
                    "misfit" => effect.misfits += 1,
                    _ => effect.not_editable += 1,
                }
                if with_rows && effect.rows.len() < LISTED_MAX {
                    effect.rows.push(HistoryRow {
                        event: event.id,
                        key: event.key.to_string(),
                        column: event.column_name.clone(),
                        value: event.value.clone(),
                        fate,
                    });
                }
                ControlFlow::Continue(())
            })?;
            effects.push(effect);
        }
        Ok(effects)
    }
}
