//! What a changed definition does to edits that were logged under the earlier one: they stay in the log, and some of them
//! may no longer fit. They are held against the settings and the original as they are and as they would be: types as the
//! original really has them, keys as they are really there.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use stet_domain::access::may_read_dataset;
use stet_domain::project::{Project, Webapp};
use stet_domain::{Action, Actor, ColumnType, DatasetName, Event, EventId, Key};
use stet_engine::control::Control;
use stet_engine::snapshot::Snapshot;

use crate::App;
use crate::access::not_allowed;
use crate::datasets::{blocking, find};
use crate::error::{AppError, Chain};
use crate::webapp::Resolved;

/// The most events that are listed one by one in a plan.
const LISTED_MAX: usize = 10_000;

/// The most events of a page.
pub const PLAN_EDITS_MAX: usize = 1_000;

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
    /// How many are of a row that would not be there: the original or its primary key changes.
    pub orphans: u64,
    /// How many would be applied to the row that has their key under another primary key.
    pub rekeyed: u64,
    /// Why the original could not be looked at, if so: then rows are judged by the form of their keys alone.
    pub not_looked_at: Option<String>,
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
    /// `not_editable`, `misfit`, `orphan` or `rekeyed`.
    pub fate: Fate,
}

/// Some of the events that no longer fit, in log order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The events.
    pub rows: Vec<HistoryRow>,
    /// After which event the next page begins; none at the end.
    pub next: Option<EventId>,
}

/// How an event no longer fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Its column can no longer be edited.
    NotEditable,
    /// Its value does not fit the type of its column.
    Misfit,
    /// Its row is not there.
    Orphan,
    /// Its key names a row by another primary key.
    Rekeyed,
}

impl Fate {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::NotEditable => "not_editable",
            Fate::Misfit => "misfit",
            Fate::Orphan => "orphan",
            Fate::Rekeyed => "rekeyed",
        }
    }
}

impl HistoryEffect {
    /// How many events no longer fit.
    pub fn lost(&self) -> u64 {
        self.not_editable + self.misfits + self.orphans
    }

    /// How they no longer fit, such as `2 orphans, 1 of columns that are no longer editable`.
    pub(super) fn in_words(&self) -> String {
        let counted = |count: u64, one: &str, more: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {more}")),
        };
        let parts = [
            counted(self.orphans, "orphan", "orphans"),
            counted(self.misfits, "misfit", "misfits"),
            counted(
                self.not_editable,
                "of a column that is no longer editable",
                "of columns that are no longer editable",
            ),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn count(&mut self, fate: Fate) {
        match fate {
            Fate::NotEditable => self.not_editable += 1,
            Fate::Misfit => self.misfits += 1,
            Fate::Orphan => self.orphans += 1,
            Fate::Rekeyed => self.rekeyed += 1,
        }
    }
}

/// What a webapp lets an event do.
struct Rules<'a> {
    webapp: &'a Webapp,
    /// The types of the key columns, as far as they are known.
    keys: Vec<Option<ColumnType>>,
    /// The types of the editable columns, as far as they are known.
    types: HashMap<&'a str, ColumnType>,
    /// The rows that are there; none when the original could not be looked at.
    rows: Option<Arc<Snapshot>>,
    /// Why not.
    reason: Option<String>,
}

impl<'a> Rules<'a> {
    /// By what the files say alone.
    fn declared(project: &Project, webapp: &'a Webapp, reason: Option<String>) -> Rules<'a> {
        let columns = project.datasets.get(&webapp.original).and_then(|dataset| dataset.columns.as_ref());
        let type_of = |name: &str| columns?.iter().find(|column| column.name == name).map(|column| column.column_type);
        let types = webapp.editable.iter().filter_map(|editable| {
            Some((editable.column.as_str(), editable.column_type.or_else(|| type_of(&editable.column))?))
        });
        let keys = webapp.primary_keys.iter().map(|name| type_of(name)).collect();
        Rules { keys, types: types.collect(), rows: None, reason, webapp }
    }

    /// How an event fails to fit, if it does; `is_created` when people added its row.
    fn fate(&self, event: &Event, is_created: bool) -> Option<Fate> {
        let has_form = event.key.parts(self.keys.len()).is_ok_and(|parts| {
            parts.iter().zip(&self.keys).all(|(text, column_type)| {
                // A key is found by its canonical text.
                column_type.is_none_or(|column_type| column_type.canonical(text).is_ok_and(|same| same == *text))
            })
        });
        let is_there = is_created || self.rows.as_ref().is_none_or(|rows| rows.find(event.key.as_str()).is_some());
        if !has_form || !is_there {
            return Some(Fate::Orphan);
        }
        let column = event.column_name.as_ref()?;
        // The key columns of a created row are named in its events and never edited.
        if self.webapp.primary_keys.contains(column) {
            return None;
        }
        if self.webapp.editable(column).is_none() {
            return Some(Fate::NotEditable);
        }
        let value = event.value.as_ref()?;
        let column_type = self.types.get(column.as_str())?;
        column_type.read(value).is_err().then_some(Fate::Misfit)
    }
}

impl App {
    /// What becomes of the edits that are logged on this node when `next` takes the place of `current`. An event counts when
    /// it fits now and would not any more. Blocks.
    pub(super) fn history_effects(
        &self,
        current: Option<&Project>,
        next: &Project,
        with_rows: bool,
    ) -> Result<Vec<HistoryEffect>, AppError> {
        let mut effects = Vec::new();
        let Some(current) = current else { return Ok(effects) };
        for webapp in current.webapps.values() {
            let mut rows = Vec::new();
            let effect = self.history_of(current, webapp, next, &mut |row| {
                if with_rows && rows.len() < LISTED_MAX {
                    rows.push(row);
                }
                ControlFlow::Continue(())
            })?;
            effects.extend(effect.map(|effect| HistoryEffect { rows, ..effect }));
        }
        Ok(effects)
    }

    /// The edits that are logged here and would no longer fit when a bundle is activated, one by one.
    ///
    /// # Errors
    /// When the actor may not see the edits of this original, or there is no such bundle or original.
    pub async fn plan_edits(
        &self,
        actor: &Actor,
        digest: &str,
        original: &str,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<HistoryPage, AppError> {
        let bundle = self.bundle(actor, digest).await?;
        let text = original.escape_debug().to_string();
        let missing = move || AppError::not_found(format!("table on `{text}` in this project"));
        let name = DatasetName::new(original).map_err(|_| missing())?;
        let deployed = self.deployed_archive(&bundle.record.project).await?;
        let current = match self.inner.projects.get(&bundle.record.project) {
            Ok(project) => project,
            Err(error) => {
                let (app, key, path) = (self.clone(), bundle.record.project.clone(), deployed.clone());
                let found = blocking(move || Ok(path.and_then(|path| app.as_deployed(&key, &path)))).await?;
                found.ok_or(error)?
            }
        };
        if actor.deploy.is_some() || !may_read_dataset(actor, &current, &name.editlog()) {
            return Err(not_allowed(
                "you may see how many edits would no longer fit, and not the edits: they are for those who see the table",
            ));
        }
        let limit = limit.clamp(1, PLAN_EDITS_MAX);
        let app = self.clone();
        blocking(move || {
            let next = app.next_project(&bundle, deployed.as_deref())?;
            let webapp = current.webapp_on(&name).ok_or_else(missing)?;
            let mut page = HistoryPage { rows: Vec::new(), next: None };
            app.history_of(&current, webapp, &next, &mut |row| {
                if after.is_some_and(|after| row.event <= after) {
                    return ControlFlow::Continue(());
                }
                if page.rows.len() == limit {
                    page.next = page.rows.last().map(|row| row.event);
                    return ControlFlow::Break(());
                }
                page.rows.push(row);
                ControlFlow::Continue(())
            })?;
            Ok(page)
        })
        .await
    }

    /// Holds the log of one original against both definitions, and shows each event that would no longer fit. None when it
    /// has no log.
    fn history_of(
        &self,
        current: &Project,
        webapp: &Webapp,
        next: &Project,
        visit: &mut dyn FnMut(HistoryRow) -> ControlFlow<()>,
    ) -> Result<Option<HistoryEffect>, AppError> {
        let original = &webapp.original;
        // Without an editlog there is nothing to lose.
        let Ok(reader) = self.editlog_reader_of(current, original) else { return Ok(None) };
        let mut effect = HistoryEffect { original: original.to_string(), ..HistoryEffect::default() };
        if reader.position()?.is_none() {
            return Ok(Some(effect));
        }
        let before = self.rules(current, webapp, "before");
        let rules = next.webapp_on(original).map(|after| self.rules(next, after, "after"));
        let keys_change = rules.as_ref().is_some_and(|rules| rules.webapp.primary_keys != webapp.primary_keys);
        effect.not_looked_at = rules.as_ref().and_then(|rules| rules.reason.clone());
        let mut created: HashSet<Key> = HashSet::new();
        reader.scan(None, None, &mut |event| {
            if event.action == Action::Create {
                created.insert(event.key.clone());
            }
            if !event.action.is_edit() {
                return ControlFlow::Continue(());
            }
            effect.events += 1;
            // A webapp that goes takes no edits away: they stay in the log, and come back with it.
            let Some(rules) = &rules else { return ControlFlow::Continue(()) };
            let is_created = created.contains(&event.key);
            // The form of the key of a row that people added is still another one.
            let fate = match (before.fate(&event, is_created), rules.fate(&event, is_created && !keys_change)) {
                (None, Some(fate)) => fate,
                (None, None) if keys_change && rules.rows.is_none() => Fate::Orphan,
                (None, None) if keys_change => Fate::Rekeyed,
                _ => return ControlFlow::Continue(()),
            };
            effect.count(fate);
            visit(HistoryRow {
                event: event.id,
                key: event.key.to_string(),
                column: event.column_name.clone(),
                value: event.value.clone(),
                fate,
            })
        })?;
        Ok(Some(effect))
    }

    /// What a webapp lets an event do, by its original as it is on this node.
    fn rules<'a>(&self, project: &Project, webapp: &'a Webapp, which: &str) -> Rules<'a> {
        let look = || -> Result<Rules<'a>, AppError> {
            let dataset = find(project, webapp.original.as_str())?;
            let source = self.ready_source(project, dataset)?;
            let resolved = Resolved::new(webapp, &source.columns()?)?;
            // Beside the folder of the open tables, whose snapshots it must not take away.
            let cache = self.inner.folder.cache(&project.key).join("planned").join(which);
            std::fs::create_dir_all(&cache).map_err(AppError::internal)?;
            let rows = Snapshot::open(&source, &webapp.primary_keys, &cache, &Control::unwatched())?;
            let types = webapp.editable.iter().filter_map(|editable| {
                let found = resolved.editable(&editable.column).ok()?;
                Some((editable.column.as_str(), found.column_type))
            });
            let keys = resolved.keys.iter().map(|key| Some(key.column_type)).collect();
            Ok(Rules { keys, types: types.collect(), rows: Some(rows), reason: None, webapp })
        };
        look().unwrap_or_else(|error| Rules::declared(project, webapp, Some(Chain(&error).to_string())))
    }
}
