//! What one actor sees of a table and may change in it: the rows that the webapp's rules give them, the columns that are
//! theirs to edit, and, for visitors, no names of people.
//!
//! Whatever leaves an open table goes through here, and whatever comes in is asked here first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use stet_domain::access::{Condition, Permission, Use, permissions_of, webapp_use};
use stet_domain::project::Project;
use stet_domain::validate::Refusal;
use stet_domain::{Actor, ActorKind, Event, Key, Login};
use stet_engine::live::{Filter, GroupQuery, Query, Test};
use uuid::Uuid;

use super::edit::{Change, EditResult};
use super::feed::{FeedEvent, Presence};
use super::open::{OpenWebapp, find_webapp};
use super::rows::Row;
use crate::App;
use crate::access::VIEW_ONLY;
use crate::error::AppError;

/// What an actor sees of an open table.
pub struct Viewer {
    open: Arc<OpenWebapp>,
    granted: Use,
    /// The rows that the actor sees; none for all.
    see: Option<Limit>,
    /// The rows that the actor may change; none for all that they see.
    edit: Option<Limit>,
    /// The editable columns that are others' to edit.
    locked: BTreeSet<String>,
    /// The rows that are assigned to the actor; none when the table has no column that tells.
    assigned: Option<Filter>,
    visitor: bool,
}

/// What is asked of a table.
#[derive(Debug, Clone, Default)]
pub struct Asked<Q> {
    /// The rows, or groups of them.
    pub query: Q,
    /// Only rows that are assigned to whoever asks.
    pub assigned_to_me: bool,
    /// By which name to ask how far it is, and to cancel it; chosen by whoever asks.
    pub wait: Option<Uuid>,
}

/// Rows by the values of some columns: all of them have to be among those given.
struct Limit(Vec<LimitOfColumn>);

struct LimitOfColumn {
    column: String,
    place: usize,
    values: BTreeSet<String>,
}

impl App {
    /// What an actor sees of a table now.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or it cannot be opened.
    pub async fn viewer(&self, actor: &Actor, project: &str, webapp: &str) -> Result<Viewer, AppError> {
        let project = self.authorise_webapp(actor, project, webapp, Use::View)?;
        self.viewer_in(actor, project, webapp).await
    }

    /// What an actor who may use a webapp sees of its table.
    pub(super) async fn viewer_in(&self, actor: &Actor, found: Arc<Project>, webapp: &str) -> Result<Viewer, AppError> {
        let open = self.open_table(found.clone(), webapp).await?;
        let (_, definition) = find_webapp(&found, webapp)?;
        let granted = webapp_use(actor, &found, definition).ok_or(AppError::NotSignedIn)?;
        let free = permissions_of(actor, &found.permissions).has(Permission::Administer) || actor.is_administrator();
        let limit = |condition: &Option<Condition>| match condition {
            Some(condition) if !free => Limit::new(condition, actor, &open).map(Some),
            _ => Ok(None),
        };
        let locked = definition
            .editable
            .iter()
            .filter(|column| !free && !column.editable_by.is_empty() && !column.editable_by.includes(actor));
        let assigned = definition.assigned_to.as_ref().filter(|column| open.resolved.place(column).is_some());
        Ok(Viewer {
            assigned: assigned
                .map(|column| Filter { column: column.clone(), test: Test::In(vec![Some(actor.login.to_string())]) }),
            see: limit(&definition.see)?,
            edit: limit(&definition.edit)?,
            locked: locked.map(|column| column.column.clone()).collect(),
            visitor: actor.kind == ActorKind::Visitor,
            granted,
            open,
        })
    }
}

impl Limit {
    fn new(condition: &Condition, actor: &Actor, open: &OpenWebapp) -> Result<Limit, AppError> {
        let of_column = |comparison: &stet_domain::access::Comparison| {
            let place = open.resolved.place(&comparison.column).ok_or_else(|| no_column(open, &comparison.column))?;
            let column_type = open.resolved.columns[place].column_type;
            let values = comparison.values(actor).into_iter();
            Ok(LimitOfColumn {
                column: comparison.column.clone(),
                place,
                // What is no value of the column is equal to none.
                values: values.filter_map(|text| column_type.canonical(&text).ok()).collect(),
            })
        };
        condition.comparisons.iter().map(of_column).collect::<Result<_, AppError>>().map(Limit)
    }

    fn holds(&self, row: &Row) -> bool {
        self.0.iter().all(|limit| {
            row.cells.get(limit.place).and_then(Option::as_ref).is_some_and(|value| limit.values.contains(value))
        })
    }

    fn filters(&self) -> impl Iterator<Item = Filter> {
        self.0.iter().map(|limit| Filter {
            column: limit.column.clone(),
            test: Test::In(limit.values.iter().cloned().map(Some).collect()),
        })
    }
}

/// A rule that cannot be held gives nobody anything.
fn no_column(open: &OpenWebapp, column: &str) -> AppError {
    AppError::Invalid(format!(
        "the rows of webapps/{}.toml are limited by the column `{column}`, which the table does not show: add it to \
         [layout], or take the limit out",
        open.resolved.webapp.name
    ))
}

impl Viewer {
    /// The table that they look at.
    pub(super) fn table(&self) -> &Arc<OpenWebapp> {
        &self.open
    }

    /// Why the actor cannot change anything; none when they can.
    pub(super) fn read_only(&self) -> Option<&'static str> {
        (self.granted < Use::Edit).then_some(VIEW_ONLY)
    }

    /// The editable columns that the actor may not edit.
    pub(super) fn locked(&self) -> &BTreeSet<String> {
        &self.locked
    }

    /// What was asked, for the rows that the actor sees.
    pub(super) fn asked(&self, asked: Asked<Query>) -> Result<Query, AppError> {
        let mut query = self.query(asked.query);
        query.filters.extend(self.assigned(asked.assigned_to_me)?);
        Ok(query)
    }

    /// What was asked for groups, of the rows that the actor sees.
    pub(super) fn asked_groups(&self, asked: Asked<GroupQuery>) -> Result<GroupQuery, AppError> {
        let mut query = asked.query;
        query.filters.extend(self.see.iter().flat_map(Limit::filters));
        query.filters.extend(self.assigned(asked.assigned_to_me)?);
        Ok(query)
    }

    fn assigned(&self, asked: bool) -> Result<Option<Filter>, AppError> {
        let none = "no column of this table tells whose rows are whose: [rows] assigned_to in its file names one";
        match &self.assigned {
            _ if !asked => Ok(None),
            Some(filter) => Ok(Some(filter.clone())),
            None => Err(AppError::Invalid(none.to_owned())),
        }
    }

    /// A query, for the rows that the actor sees.
    fn query(&self, mut query: Query) -> Query {
        query.filters.extend(self.see.iter().flat_map(Limit::filters));
        query
    }

    /// Whether the actor sees only some rows.
    pub(super) fn is_limited(&self) -> bool {
        self.see.is_some()
    }

    /// Whether the actor sees a row.
    pub(super) fn sees(&self, row: &Row) -> bool {
        self.see.as_ref().is_none_or(|limit| limit.holds(row))
    }

    /// Whether the actor sees the row of a key; a row that is not there is only seen by those who see all.
    pub(super) fn sees_key(&self, key: &str) -> bool {
        self.see.is_none() || self.open.row(key).is_some_and(|row| self.sees(&row))
    }

    /// A row as the actor sees it.
    pub(super) fn shown(&self, mut row: Row) -> Option<Row> {
        if !self.sees(&row) {
            return None;
        }
        if self.visitor {
            for edit in row.edits.values_mut() {
                edit.user = self.name(&edit.user);
            }
        }
        Some(row)
    }

    /// What a person is called towards the actor: visitors are told no names.
    pub(super) fn name(&self, user: &Login) -> Login {
        if self.visitor && *user != Login::none() { Login::someone() } else { user.clone() }
    }

    /// What became of an edit, as the actor is told.
    pub(super) fn result(&self, mut result: EditResult) -> EditResult {
        if let EditResult::Conflict { current, .. } = &mut result {
            current.user = self.name(&current.user);
        }
        result
    }

    /// An event of the log as the actor sees it; none when it is of a column that is not in the table.
    pub(super) fn event(&self, mut event: Event) -> Option<Event> {
        if self.visitor {
            if event.column_name.as_ref().is_some_and(|column| self.open.resolved.place(column).is_none()) {
                return None;
            }
            if event.user != Login::none() {
                event.user = Login::someone();
                event.reason = None;
            }
        }
        Some(event)
    }

    /// Whether the actor may read an event of the log, for many events at a time: what is known of a key is kept in `known`.
    pub(crate) fn sees_event(&self, event: &Event, known: &mut HashMap<Key, bool>) -> bool {
        if self.see.is_none() {
            return true;
        }
        *known.entry(event.key.clone()).or_insert_with(|| self.sees_key(event.key.as_str()))
    }

    /// What a listener is told of something that happened.
    pub fn feed_event(&self, event: FeedEvent) -> FeedEvent {
        if self.see.is_none() && !self.visitor {
            return event;
        }
        match event {
            FeedEvent::Edit { version, user, rows, deleted, invalidate } => {
                let before = rows.len() + deleted.len();
                let rows: Vec<Row> = rows.iter().filter_map(|row| self.shown(row.clone())).collect();
                // A row may have gone out of sight, which cannot be told by its key: the key of a row that was never in
                // sight is not theirs to know.
                let hidden = self.is_limited() && rows.len() < before;
                let deleted = if self.is_limited() { Arc::default() } else { deleted };
                // Nor who is at work on rows that they do not see.
                let user = if hidden && rows.is_empty() { Login::someone() } else { self.name(&user) };
                FeedEvent::Edit { version, user, rows: Arc::new(rows), deleted, invalidate: invalidate || hidden }
            }
            FeedEvent::Reloaded { snapshot, version, user, .. } => {
                let user = user.map(|user| self.name(&user));
                FeedEvent::Reloaded { snapshot, version, total: self.total(), user }
            }
            event => event,
        }
    }

    /// Where others are, as far as the actor may know.
    pub fn presence(&self, presence: Vec<Presence>) -> Vec<Presence> {
        if self.visitor {
            return Vec::new();
        }
        let hide = |mut presence: Presence| {
            if presence.key.as_ref().is_some_and(|key| !self.sees_key(key)) {
                (presence.key, presence.column, presence.editing) = (None, None, false);
            }
            presence
        };
        presence.into_iter().map(hide).collect()
    }

    /// How many rows the actor sees.
    pub(super) fn total(&self) -> usize {
        match &self.see {
            None => self.open.total(),
            Some(_) => {
                let query = self.query(Query::default());
                self.open.live.page(&query, 0, 0, &Login::none()).map_or(0, |page| page.total)
            }
        }
    }

    /// Why the actor may not make a change, if they may not.
    pub(super) fn refuses(&self, change: &Change) -> Option<Refusal> {
        let (key, columns): (_, Vec<&str>) = match change {
            Change::Create { values } => return self.refuses_new_row(values),
            Change::Update { key, column, .. } => (key, vec![column]),
            Change::Revert { key, column: Some(column) } => (key, vec![column]),
            // The whole row: everything that was edited in it.
            Change::Revert { key, column: None } | Change::Delete { key } => (key, Vec::new()),
        };
        if self.see.is_some() || self.edit.is_some() {
            match self.open.row(key) {
                Some(row) if !self.sees(&row) => return Some(super::edit::no_row(key)),
                Some(row) if self.edit.as_ref().is_some_and(|limit| !limit.holds(&row)) => {
                    return Some(Refusal::new("rows", "this row is not yours to change"));
                }
                Some(_) => {}
                // A deleted row has no values that could tell whose it is.
                None => return Some(super::edit::no_row(key)),
            }
        }
        if let Some(column) = columns.iter().find(|column| self.locked.contains(**column)) {
            return Some(not_yours(column));
        }
        if columns.is_empty() && !self.locked.is_empty() {
            let row = self.open.row(key);
            let edited = row.iter().flat_map(|row| row.edits.keys()).find(|column| self.locked.contains(*column));
            return edited.map(|column| not_yours(column));
        }
        None
    }

    fn refuses_new_row(&self, values: &[(String, Option<String>)]) -> Option<Refusal> {
        if let Some((column, _)) = values.iter().find(|(column, value)| value.is_some() && self.locked.contains(column))
        {
            return Some(not_yours(column));
        }
        for limit in self.see.iter().chain(&self.edit).flat_map(|limit| &limit.0) {
            let column_type = self.open.resolved.columns[limit.place].column_type;
            let given =
                values.iter().find(|(column, _)| *column == limit.column).and_then(|(_, value)| value.as_deref());
            let fits = given
                .and_then(|text| column_type.canonical(text).ok())
                .is_some_and(|text| limit.values.contains(&text));
            if !fits {
                let message = match limit.values.iter().next() {
                    Some(value) => format!("a row of yours has `{value}` in `{}`", limit.column),
                    None => "you cannot add rows to this table: none of them would be yours".to_owned(),
                };
                return Some(Refusal::new("rows", message));
            }
        }
        None
    }
}

fn not_yours(column: &str) -> Refusal {
    Refusal::new("editable", format!("the column `{column}` is not yours to edit"))
}
