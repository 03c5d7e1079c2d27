//! The log of a table as a whole: finding events in it, and taking edits back.
//!
//! Edits are taken back by new events. What they were is decided by replay: the state of each row *as if these edits had
//! not been made*, held against its state now. So a later edit by somebody else stays, whatever is taken back below it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use stet_domain::access::Use;
use stet_domain::replay::{Replay, RowState};
use stet_domain::{Action, Actor, Event, EventId, Key, LogDate, Source};
use stet_store::Editlog;
use uuid::Uuid;

use super::edit::{Change, Edit, EditAnswer, EditRequest, EditResult, Seen};
use super::open::OpenWebapp;
use super::viewer::Viewer;
use crate::App;
use crate::error::AppError;

/// The most events in one page of the log.
pub const LOG_PAGE_MAX: usize = 500;

/// The most events that one request looks at; a search that has found too little by then says where to go on.
const LOOKED_AT_MAX: usize = 200_000;

/// How many events are read at a time.
const READ_EVENTS: usize = 5_000;

/// The most changes that are taken back at once.
pub const REVERT_CHANGES_MAX: usize = 10_000;

/// The longest history of one row that is replayed to take edits back.
const ROW_EVENTS_MAX: usize = 100_000;

/// Which events are meant; those that fit everything that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// By this user; case does not count.
    pub user: Option<String>,
    /// Of this kind.
    pub action: Option<Action>,
    /// Of this row.
    pub key: Option<String>,
    /// Of this column; events of whole rows have none and do not fit.
    pub column: Option<String>,
    /// Of this batch.
    pub batch_id: Option<Uuid>,
    /// That came this way.
    pub source: Option<Source>,
    /// From this moment on.
    pub since: Option<LogDate>,
    /// Until this moment, itself included.
    pub until: Option<LogDate>,
}

impl LogFilter {
    fn takes(&self, event: &Event) -> bool {
        self.user.as_deref().is_none_or(|user| user.eq_ignore_ascii_case(event.user.as_str()))
            && self.action.is_none_or(|action| action == event.action)
            && self.key.as_deref().is_none_or(|key| key == event.key.as_str())
            && self.column.as_deref().is_none_or(|column| event.column_name.as_deref() == Some(column))
            && self.batch_id.is_none_or(|batch| batch == event.batch_id)
            && self.source.is_none_or(|source| source == event.source)
            && self.since.is_none_or(|since| since <= event.date)
            && self.until.is_none_or(|until| event.date <= until)
    }

    fn is_everything(&self) -> bool {
        *self == LogFilter::default()
    }
}

/// Events of a log, newest first.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// The events.
    pub events: Vec<Event>,
    /// Go on with the events before this one; none when there are no more.
    pub before: Option<EventId>,
    /// The last event of the log.
    pub position: i64,
}

/// What taking edits back comes to.
#[derive(Debug, Clone)]
pub struct RevertPlan {
    /// How many events are meant.
    pub events: usize,
    /// The last event of the log that was looked at: what came later is not meant.
    pub up_to: i64,
    /// What changes, by row.
    pub changes: Vec<RevertChange>,
    /// How many of the meant events need nothing, since later edits have taken their place.
    pub overtaken: usize,
}

/// One change that takes edits back.
#[derive(Debug, Clone)]
pub struct RevertChange {
    /// The row.
    pub key: Key,
    /// The column; none for a whole row.
    pub column: Option<String>,
    /// What is done.
    pub action: Action,
    /// The value now.
    pub from: Option<String>,
    /// The value after it.
    pub to: Option<String>,
    /// The last event on the cell or row when this was planned.
    seen: Option<EventId>,
    /// Of a created row: its values.
    values: Vec<(String, Option<String>)>,
}

/// What became of taking edits back.
#[derive(Debug, Clone)]
pub struct Reverted {
    /// The batch of the new events.
    pub batch_id: Uuid,
    /// How many changes were made.
    pub changed: usize,
    /// The changes that were not, with what became of each.
    pub failed: Vec<(RevertChange, EditResult)>,
}

impl App {
    /// Events of a table's log that fit a filter, newest first.
    ///
    /// A request looks at a bounded part of the log: with few fitting events among many it may give fewer than `limit`,
    /// even none, and say in `before` where to go on.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or the log cannot be read.
    pub async fn search_log(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        filter: LogFilter,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<LogPage, AppError> {
        let open = self.open_webapp(actor, project, webapp).await?;
        let limit = limit.clamp(1, LOG_PAGE_MAX);
        if open.waiting.is_some() {
            return Ok(LogPage { events: Vec::new(), before: None, position: 0 });
        }
        let position = open.editlog()?.position().await?.map_or(0, |id| id.0);
        let viewer = self.viewer(actor, project, webapp).await?;
        let (events, before) = find(&viewer, &open, &filter, before, position, limit).await?;
        Ok(LogPage { events: events.into_iter().filter_map(|event| viewer.event(event)).collect(), before, position })
    }

    /// What would change if the edits that fit a filter were taken back. Nothing is written.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, the filter says nothing, or too many edits fit it.
    pub async fn plan_revert(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        filter: LogFilter,
        up_to: Option<EventId>,
    ) -> Result<RevertPlan, AppError> {
        self.authorise_webapp(actor, project, webapp, Use::Edit)?;
        let viewer = self.viewer(actor, project, webapp).await?;
        let open = self.open_webapp(actor, project, webapp).await?;
        plan(&viewer, &open, &filter, up_to).await
    }

    /// Takes the edits that fit a filter back, by new events of one batch.
    ///
    /// `up_to` is the plan's: edits that came later are not meant. A cell that moved since is left alone and told.
    ///
    /// # Errors
    /// As of [`App::plan_revert`], or when nothing can be written.
    pub async fn revert(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        filter: LogFilter,
        up_to: Option<EventId>,
        reason: Option<String>,
    ) -> Result<Reverted, AppError> {
        self.authorise_webapp(actor, project, webapp, Use::Edit)?;
        let viewer = self.viewer(actor, project, webapp).await?;
        let open = self.open_webapp(actor, project, webapp).await?;
        let plan = plan(&viewer, &open, &filter, up_to).await?;
        let batch_id = Uuid::now_v7();
        let (rows, cells): (Vec<RevertChange>, Vec<RevertChange>) =
            plan.changes.into_iter().partition(|change| change.column.is_none());
        let mut reverted = Reverted { batch_id, changed: 0, failed: Vec::new() };
        // Rows come back before their cells are set.
        let restored: BTreeSet<Key> = rows.iter().map(|change| change.key.clone()).collect();
        for changes in [rows, cells].into_iter().filter(|changes| !changes.is_empty()) {
            let edits = changes.iter().map(|change| edit_of(change, &restored)).collect();
            let request = EditRequest {
                batch_id: Some(batch_id),
                source: Source::Undo,
                reason: reason.clone(),
                signature: None,
                atomic: false,
                edits,
            };
            let EditAnswer { results, .. } = self.edit_open(actor, &viewer, &open, request).await?;
            for (change, result) in changes.into_iter().zip(results) {
                match result {
                    EditResult::Saved { .. } | EditResult::Unchanged { .. } => reverted.changed += 1,
                    failed => reverted.failed.push((change, failed)),
                }
            }
        }
        Ok(reverted)
    }
}

/// A change as an edit. The cells of a row that the same request brought back have been seen as they are.
fn edit_of(change: &RevertChange, restored: &BTreeSet<Key>) -> Edit {
    let key = change.key.to_string();
    let seen = match &change.column {
        Some(_) if restored.contains(&change.key) => Seen::Unsaid,
        _ => Seen::Event(change.seen),
    };
    let asked = match (change.action, &change.column) {
        (Action::Update, Some(column)) => {
            Change::Update { key, column: column.clone(), value: change.to.clone(), previous: None }
        }
        (Action::Create, _) => Change::Create { values: change.values.clone() },
        (Action::Delete, _) => Change::Delete { key },
        // Nothing else is ever planned: what is about the log itself is not taken back.
        (Action::Revert | Action::Update | Action::Erase | Action::Note, column) => {
            Change::Revert { key, column: column.clone() }
        }
    };
    Edit { event_id: None, change: asked, seen, seen_row: None }
}

/// Looks for events that the viewer may read, from the newest on, and says where to go on. What they may not read leaves no
/// trace: neither in how many are found nor in where to go on.
async fn find(
    viewer: &Viewer,
    open: &OpenWebapp,
    filter: &LogFilter,
    before: Option<EventId>,
    position: i64,
    limit: usize,
) -> Result<(Vec<Event>, Option<EventId>), AppError> {
    let editlog = open.editlog()?;
    let mut known = HashMap::new();
    if filter.key.as_deref().is_some_and(|key| !viewer.sees_key(key)) {
        return Ok((Vec::new(), None));
    }
    let mut end = before.map_or(position + 1, |before| before.0.min(position + 1));
    // Dates never go back in the log, so they are found by halving.
    if let Some(until) = filter.until {
        end = end.min(first_from(editlog, LogDate::from_micros(until.micros().saturating_add(1)), position).await?);
    }
    let start = match filter.since {
        Some(since) => first_from(editlog, since, position).await?,
        None => 1,
    };
    let (mut found, mut looked_at) = (Vec::new(), 0);
    while end > start && looked_at < LOOKED_AT_MAX {
        let page: Vec<Event> = match &filter.key {
            Some(key) => {
                let column = filter.column.as_deref();
                editlog.history(key, column, Some(EventId(end)), READ_EVENTS).await?
            }
            None => {
                let from = (end - READ_EVENTS as i64).max(start);
                let after = Some(EventId(from - 1)).filter(|id| id.0 > 0);
                let mut page = editlog.read_since(after, usize::try_from(end - from).unwrap_or(READ_EVENTS)).await?;
                // Databases leave gaps between ids, so that a page can reach beyond its end, or be empty.
                page.retain(|event| event.id.0 < end);
                page.reverse();
                if page.is_empty() {
                    end = from;
                    looked_at += 1;
                    continue;
                }
                page
            }
        };
        let Some(last) = page.last().map(|event| event.id.0) else { return Ok((found, None)) };
        looked_at += page.len();
        for event in page {
            if event.id.0 < start {
                return Ok((found, None));
            }
            end = event.id.0;
            if filter.takes(&event) && viewer.sees_event(&event, &mut known) {
                found.push(event);
                if found.len() == limit {
                    return Ok((found, Some(EventId(end)).filter(|id| id.0 > start)));
                }
            }
        }
        end = last;
    }
    Ok((found, Some(EventId(end)).filter(|id| id.0 > start)))
}

/// The first event of a moment or later; one past the end when there is none.
async fn first_from(editlog: &Editlog, date: LogDate, position: i64) -> Result<i64, AppError> {
    let (mut low, mut high) = (1, position + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let after = Some(EventId(middle - 1)).filter(|id| id.0 > 0);
        let event = editlog.read_since(after, 1).await?;
        match event.first() {
            Some(event) if event.date < date => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

async fn plan(
    viewer: &Viewer,
    open: &Arc<OpenWebapp>,
    filter: &LogFilter,
    up_to: Option<EventId>,
) -> Result<RevertPlan, AppError> {
    if filter.is_everything() {
        return Err(AppError::Invalid(
            "say which edits to take back: those of a user, a batch, a row, a cell, or since a moment".to_owned(),
        ));
    }
    let position = open.editlog()?.position().await?.map_or(0, |id| id.0);
    let up_to = up_to.map_or(position, |id| id.0.min(position));
    let mut meant: BTreeMap<Key, BTreeSet<EventId>> = BTreeMap::new();
    let (mut events, mut before) = (0, Some(EventId(up_to + 1)));
    while let Some(end) = before {
        let (mut found, next) = find(viewer, open, filter, Some(end), position, READ_EVENTS).await?;
        // What is about the log itself is not taken back.
        found.retain(|event| event.action.is_edit());
        events += found.len();
        if events > REVERT_CHANGES_MAX {
            return Err(AppError::Invalid(format!(
                "more than {REVERT_CHANGES_MAX} edits would be taken back at once: narrow the filter, by a shorter time for instance"
            )));
        }
        for event in found {
            meant.entry(event.key).or_default().insert(event.id);
        }
        before = next;
    }
    let mut plan = RevertPlan { events, up_to, changes: Vec::new(), overtaken: 0 };
    for (key, ids) in meant {
        let mut history = open.editlog()?.history(key.as_str(), None, None, ROW_EVENTS_MAX).await?;
        if history.len() == ROW_EVENTS_MAX {
            return Err(AppError::Invalid(format!("the row `{key}` has too many edits to take some of them back")));
        }
        history.reverse();
        let changes = changes_of(open, &key, &history, &ids)?;
        let changed: BTreeSet<Option<&str>> = changes.iter().map(|change| change.column.as_deref()).collect();
        plan.overtaken += history
            .iter()
            .filter(|event| ids.contains(&event.id))
            .filter(|event| !changed.contains(&None) && !changed.contains(&event.column_name.as_deref()))
            .count();
        plan.changes.extend(changes);
    }
    Ok(plan)
}

/// What leads from a row as it is to the row as if some events had not been.
fn changes_of(
    open: &OpenWebapp,
    key: &Key,
    history: &[Event],
    without: &BTreeSet<EventId>,
) -> Result<Vec<RevertChange>, AppError> {
    let now = Replay::of(history);
    let wanted = Replay::of(history.iter().filter(|event| !without.contains(&event.id)));
    let Some(now_row) = now.row(key.as_str()) else { return Ok(Vec::new()) };
    let wanted_row = wanted.row(key.as_str());
    let is_there = |row: Option<RowState<'_>>, in_original: bool| match row {
        Some(row) => !row.deleted && (in_original || row.created.is_some()),
        None => in_original,
    };
    let in_original = open.live.snapshot().find(key.as_str()).is_some();
    let (there, wanted_there) = (is_there(Some(now_row), in_original), is_there(wanted_row, in_original));
    let change = |column: Option<String>, action: Action, from: Option<String>, to: Option<String>| RevertChange {
        seen: now_row.seen(column.as_deref().and_then(|column| now.column(column))),
        key: key.clone(),
        column,
        action,
        from,
        to,
        values: Vec::new(),
    };
    let overrides = |replay: &Replay, row: Option<RowState<'_>>| -> BTreeMap<String, Option<String>> {
        let cells = row.into_iter().flat_map(|row| row.overrides());
        cells.map(|(column, _, over)| (replay.column_name(column).to_owned(), over.value.map(str::to_owned))).collect()
    };
    let wanted_cells = overrides(&wanted, wanted_row);
    let mut changes = Vec::new();
    if there && !wanted_there {
        let mut deletion = change(None, Action::Delete, None, None);
        deletion.seen = Some(now_row.last_event);
        return Ok(vec![deletion]);
    }
    if !there && !wanted_there {
        return Ok(Vec::new());
    }
    let mut now_cells = overrides(&now, Some(now_row));
    if !there {
        if wanted_row.is_some_and(|row| row.created.is_some()) && !in_original {
            let mut creation = change(None, Action::Create, None, None);
            creation.values = key_values(open, key)?;
            creation.values.extend(wanted_cells);
            creation.seen = now_row.row_event;
            return Ok(vec![creation]);
        }
        changes.push(change(None, Action::Revert, None, None));
        now_cells.clear();
    }
    let columns: BTreeSet<&String> = now_cells.keys().chain(wanted_cells.keys()).collect();
    for column in columns {
        let (is, wanted) = (now_cells.get(column), wanted_cells.get(column));
        if is == wanted {
            continue;
        }
        // A column that the table no longer has keeps what was done to it.
        if open.resolved.place(column).is_none() {
            continue;
        }
        let original = open.live.cell(key, column)?.and_then(|cell| cell.original);
        let from = is.cloned().unwrap_or_else(|| original.clone());
        changes.push(match wanted {
            Some(value) => change(Some(column.clone()), Action::Update, from, value.clone()),
            None => change(Some(column.clone()), Action::Revert, from, original),
        });
    }
    Ok(changes)
}

fn key_values(open: &OpenWebapp, key: &Key) -> Result<Vec<(String, Option<String>)>, AppError> {
    let parts = key.parts(open.resolved.keys.len()).map_err(|error| AppError::Invalid(error.to_string()))?;
    Ok(open.resolved.keys.iter().zip(parts).map(|(column, part)| (column.name.clone(), Some(part))).collect())
}
