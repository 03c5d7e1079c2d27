//! The log of a table, and taking edits back.

use serde::{Deserialize, Serialize};
use stet_app::webapp::{LogFilter, LogPage, RevertChange, RevertPlan, Reverted};
use stet_domain::{Action, EventId, LogDate, Source};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::edit::EditResultView;
use super::table::EventView;
use crate::error::Problem;

/// Which events; those that fit everything that is said.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// By this user.
    user: Option<String>,
    /// `update`, `create`, `delete` or `revert`.
    action: Option<String>,
    /// Of this row.
    key: Option<String>,
    /// Of this column.
    column: Option<String>,
    /// Of this batch: what was pasted, filled or approved together.
    batch_id: Option<String>,
    /// `grid`, `paste`, `fill`, `undo`, `import` or `api`.
    source: Option<String>,
    /// From this moment on, such as `2026-11-22T10:00:00Z`.
    since: Option<String>,
    /// Until this moment, itself included.
    until: Option<String>,
    /// Only events before this one.
    before: Option<i64>,
    /// How many, 500 at most; 100 without it.
    limit: Option<usize>,
}

impl LogQuery {
    /// Where the page begins.
    pub(crate) fn before(&self) -> Option<EventId> {
        self.before.map(EventId)
    }

    /// How many events.
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(100)
    }

    /// The filter.
    pub(crate) fn filter(self) -> Result<LogFilter, Problem> {
        Filter {
            user: self.user,
            action: self.action,
            key: self.key,
            column: self.column,
            batch_id: self.batch_id,
            source: self.source,
            since: self.since,
            until: self.until,
        }
        .read()
    }
}

/// Which edits to take back; those that fit everything that is said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevertBody {
    /// Which edits.
    filter: Filter,
    /// The `up_to` of the plan: what came later is not meant.
    #[serde(default)]
    up_to: Option<i64>,
    /// Why, in the author's words.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

impl RevertBody {
    /// What is meant, and up to which event.
    pub(crate) fn scope(self) -> Result<(LogFilter, Option<EventId>), Problem> {
        Ok((self.filter.read()?, self.up_to.map(EventId)))
    }
}

/// A filter of events, as in the query of the log.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = LogFilter)]
struct Filter {
    user: Option<String>,
    action: Option<String>,
    key: Option<String>,
    column: Option<String>,
    batch_id: Option<String>,
    source: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

impl Filter {
    fn read(self) -> Result<LogFilter, Problem> {
        fn one<T>(
            name: &str,
            text: Option<String>,
            read: impl Fn(&str) -> Option<T>,
            how: &str,
        ) -> Result<Option<T>, Problem> {
            let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
            match read(&text) {
                Some(value) => Ok(Some(value)),
                None => Err(Problem::refused(format!("`{name}` cannot be `{text}`: {how}"))),
            }
        }
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let moment = "write a moment such as 2026-11-22T10:00:00Z";
        Ok(LogFilter {
            user: given(self.user),
            action: one(
                "action",
                self.action,
                |text| text.parse::<Action>().ok(),
                "use update, create, delete or revert",
            )?,
            // The key of a row can be the empty text.
            key: self.key,
            column: given(self.column),
            batch_id: one(
                "batch_id",
                self.batch_id,
                |text| text.parse::<Uuid>().ok(),
                "copy it from an event of the log",
            )?,
            source: one(
                "source",
                self.source,
                |text| text.parse::<Source>().ok(),
                "use grid, paste, fill, undo, import or api",
            )?,
            since: one("since", self.since, |text| text.parse::<LogDate>().ok(), moment)?,
            until: one("until", self.until, |text| text.parse::<LogDate>().ok(), moment)?,
        })
    }
}

/// Events of a log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogPageView {
    events: Vec<LogEventView>,
    /// Go on with the events before this one; null when there are no more. A page can have fewer events than asked for, even
    /// none, and more before it: a request looks at a bounded part of the log.
    before: Option<i64>,
    /// The last event of the log.
    position: i64,
}

/// An event with the row that it is about.
#[derive(Debug, Serialize, ToSchema)]
struct LogEventView {
    key: String,
    #[serde(flatten)]
    event: EventView,
}

impl From<LogPage> for LogPageView {
    fn from(page: LogPage) -> LogPageView {
        let events = page.events.into_iter();
        LogPageView {
            events: events.map(|event| LogEventView { key: event.key.to_string(), event: event.into() }).collect(),
            before: page.before.map(|id| id.0),
            position: page.position,
        }
    }
}

/// The most changes that a plan lists; it counts them all.
const LISTED_CHANGES_MAX: usize = 500;

/// What taking edits back comes to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevertPlanView {
    /// How many events are meant.
    events: usize,
    /// Give this back with the request that does it, so that it takes back what was shown and nothing later.
    up_to: i64,
    /// How many cells and rows change.
    count: usize,
    /// How many of the events need nothing, since later edits have taken their place.
    overtaken: usize,
    /// The first 500 changes.
    changes: Vec<RevertChangeView>,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
struct RevertChangeView {
    key: String,
    /// Null for a whole row.
    column: Option<String>,
    #[schema(examples("update", "create", "delete", "revert"))]
    action: &'static str,
    /// The value now.
    from: Option<String>,
    /// The value after it.
    to: Option<String>,
}

impl From<RevertChange> for RevertChangeView {
    fn from(change: RevertChange) -> RevertChangeView {
        RevertChangeView {
            key: change.key.to_string(),
            column: change.column,
            action: change.action.as_str(),
            from: change.from,
            to: change.to,
        }
    }
}

impl From<RevertPlan> for RevertPlanView {
    fn from(plan: RevertPlan) -> RevertPlanView {
        RevertPlanView {
            events: plan.events,
            up_to: plan.up_to,
            count: plan.changes.len(),
            overtaken: plan.overtaken,
            changes: plan.changes.into_iter().take(LISTED_CHANGES_MAX).map(RevertChangeView::from).collect(),
        }
    }
}

/// What became of taking edits back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevertedView {
    /// The batch of the new events.
    batch_id: String,
    /// How many cells and rows changed.
    changed: usize,
    /// What was not changed, and why.
    failed: Vec<RevertFailedView>,
}

/// A change that was not made.
#[derive(Debug, Serialize, ToSchema)]
struct RevertFailedView {
    #[serde(flatten)]
    change: RevertChangeView,
    result: EditResultView,
}

impl From<Reverted> for RevertedView {
    fn from(reverted: Reverted) -> RevertedView {
        let failed = reverted.failed.into_iter();
        RevertedView {
            batch_id: reverted.batch_id.to_string(),
            changed: reverted.changed,
            failed: failed
                .take(LISTED_CHANGES_MAX)
                .map(|(change, result)| RevertFailedView { change: change.into(), result: result.into() })
                .collect(),
        }
    }
}
