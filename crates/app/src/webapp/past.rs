//! A table as it stood: the events of its log up to a moment, over the original that is loaded now.

use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stet_domain::{Actor, ActorKind, Event, EventId, LogDate};
use stet_engine::live::{Count, LiveTable, Query, TableLimits};

use super::open::{EVENTS_AT_ONCE, OpenWebapp};
use super::read::table_spec;
use super::rows::{Page, labels};
use super::viewer::Asked;
use super::waits::{WaitedAt, WaitedFor, in_vain};
use crate::App;
use crate::datasets::blocking;
use crate::error::AppError;

/// The most moments of one table that are kept for the next page.
const KEPT_MAX: usize = 2;

/// For how long a moment is kept that nobody looks at.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// A moment of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// After this event.
    Event(EventId),
    /// With the events up to this time, itself included.
    Date(LogDate),
}

impl FromStr for AsOf {
    type Err = AppError;

    fn from_str(text: &str) -> Result<AsOf, AppError> {
        let event = text.parse().ok().filter(|id| *id >= 0).map(|id| AsOf::Event(EventId(id)));
        event.or_else(|| text.parse().ok().map(AsOf::Date)).ok_or_else(|| {
            AppError::Invalid(format!(
                "`as_of` is the number of an event, or a moment such as 2026-03-01T12:00:00Z, not `{text}`"
            ))
        })
    }
}

impl AsOf {
    fn takes(self, event: &Event) -> bool {
        match self {
            AsOf::Event(last) => event.id <= last,
            AsOf::Date(until) => event.date <= until,
        }
    }

    /// Whether nothing that comes after an event can be taken.
    fn ends_after(self, event: &Event) -> bool {
        matches!(self, AsOf::Event(last) if event.id >= last)
    }
}

/// Moments of a table that were looked at last.
#[derive(Default)]
pub(super) struct Past(tokio::sync::Mutex<Vec<PastTable>>);

struct PastTable {
    as_of: AsOf,
    live: Arc<LiveTable>,
    used: Instant,
}

impl Past {
    /// Closes what nobody has looked at for a while; not while one is being replayed.
    pub(super) fn forget_old(&self) {
        let Ok(mut kept) = self.0.try_lock() else { return };
        kept.retain(|past| {
            let keep = past.used.elapsed() < KEPT_FOR;
            if !keep {
                past.live.close();
            }
            keep
        });
    }
}

impl App {
    /// Rows of the table as it stood at a moment, filtered and sorted, from a place on. The original is the one of now.
    ///
    /// # Errors
    /// As of [`App::rows`]; and when the actor may see only some rows, since a row may have been another's then.
    #[allow(clippy::too_many_arguments)]
    pub async fn rows_as_of(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        as_of: AsOf,
        query: Asked<Query>,
        offset: usize,
        limit: usize,
    ) -> Result<Page, AppError> {
        super::read::check_limit(limit)?;
        if actor.kind == ActorKind::Visitor {
            return Err(AppError::NotSignedIn);
        }
        let open = self.open_webapp(actor, project, webapp).await?;
        let viewer = self.viewer(actor, project, webapp).await?;
        if viewer.is_limited() {
            let message = "you see only some rows of this table, so it cannot be shown to you as it stood earlier";
            return Err(AppError::NotAllowed(message.to_owned()));
        }
        let (wait, login) = (query.wait, actor.login.clone());
        let query = Arc::new(viewer.asked(query)?);
        let live = self.past_table(&open, as_of).await?;
        let (table, rows) = (WaitedAt::Then(open, live.clone()), WaitedFor::Rows(query.clone()));
        let (_waiting, waited) = self.begin_wait(actor, &viewer, wait, table, rows);
        blocking(move || {
            let page =
                live.page_watched((&query, Count::Exact), offset, limit, &login, &waited.control).map_err(in_vain)?;
            // It could be cancelled until now.
            drop(waited);
            if page.order_pending {
                drop(tokio::task::spawn_blocking(move || live.make_orders()));
            }
            Ok(Page {
                version: page.version,
                snapshot: page.snapshot,
                total: page.total,
                total_pending: page.total_pending,
                offset,
                links: labels(page.links),
                rows: page.rows.into_iter().filter_map(|row| viewer.shown(row.into())).collect(),
            })
        })
        .await
    }

    /// The table at a moment, replayed if it is not there from the last page. Those who ask for it together wait for one.
    async fn past_table(&self, open: &Arc<OpenWebapp>, as_of: AsOf) -> Result<Arc<LiveTable>, AppError> {
        let mut kept = open.past.0.lock().await;
        if let Some(past) = kept.iter_mut().find(|past| past.as_of == as_of) {
            past.used = Instant::now();
            return Ok(Arc::clone(&past.live));
        }
        let limits =
            TableLimits { order_bytes_max: self.inner.config.limits.order_bytes_max(), ..TableLimits::default() };
        let table = Arc::clone(open);
        let live = blocking(move || {
            let snapshot = Arc::clone(table.live.snapshot());
            let live = LiveTable::open_with(snapshot, &table_spec(&table.resolved, &table.links), limits)?;
            let Ok(log) = table.editlog() else { return Ok(live) };
            let mut events = Vec::new();
            log.reader()?.scan(None, None, &mut |event| {
                let ends = as_of.ends_after(&event);
                if as_of.takes(&event) {
                    events.push(event);
                }
                if events.len() == EVENTS_AT_ONCE {
                    live.push(&events);
                    events.clear();
                }
                if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            live.push(&events);
            Ok(live)
        })
        .await?;
        if kept.len() == KEPT_MAX
            && let Some(oldest) = (0..kept.len()).min_by_key(|place| kept[*place].used)
        {
            kept.swap_remove(oldest).live.close();
        }
        let live = Arc::new(live);
        // A moment that is still to come is another one with the next event.
        let is_past = match as_of {
            AsOf::Event(event) => event.0 <= open.version(),
            AsOf::Date(date) => date < self.inner.clock.now(),
        };
        if is_past {
            kept.push(PastTable { as_of, live: Arc::clone(&live), used: Instant::now() });
        }
        Ok(live)
    }
}
