//! The last known positions of editlogs, who waits for them to move, and the events that were appended last.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use stet_domain::{DatasetName, Event, EventId};
use tokio::sync::watch;

use super::Outcome;

/// The most events of each editlog that are kept at hand after they were appended, and the most bytes of their texts.
const RECENT_EVENTS_MAX: usize = 1_024;
const RECENT_BYTES_MAX: usize = 1024 * 1024;

/// The names and statements of one editlog in some database.
pub(super) trait NamedLog {
    /// The original dataset whose edits are in the log.
    fn original(&self) -> &DatasetName;
}

/// The last known position of each open editlog; guarded by the mutex, moved forward only.
pub(super) struct Positions<S>(Mutex<HashMap<DatasetName, KnownLog<S>>>);

struct KnownLog<S> {
    sql: Arc<S>,
    position: watch::Sender<Option<EventId>>,
    /// The last events that this process appended, without a gap.
    recent: VecDeque<Event>,
    recent_bytes: usize,
}

impl<S> Default for Positions<S> {
    fn default() -> Self {
        Positions(Mutex::default())
    }
}

impl<S: NamedLog> Positions<S> {
    /// Makes an editlog known, if it is not, and subscribes to its position.
    pub(super) fn add(&self, sql: &Arc<S>) -> watch::Receiver<Option<EventId>> {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = positions.entry(sql.original().clone()).or_insert_with(|| KnownLog {
            sql: Arc::clone(sql),
            position: watch::Sender::new(None),
            recent: VecDeque::new(),
            recent_bytes: 0,
        });
        known.position.subscribe()
    }

    /// Keeps events at hand that were just appended, each one's id one more than that of the one before.
    pub(super) fn keep(&self, original: &DatasetName, events: Vec<Event>) {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = positions.get_mut(original) else { return };
        let (Some(first), Some(before)) = (events.first(), known.recent.back()) else {
            return known.keep_all(events);
        };
        if first.id.0 != before.id.0 + 1 {
            // Another process has appended in between.
            known.recent.clear();
            known.recent_bytes = 0;
        }
        known.keep_all(events);
    }

    /// Keeps no event at hand: what is stored has changed.
    pub(super) fn forget_recent(&self, original: &DatasetName) {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = positions.get_mut(original) {
            known.recent.clear();
            known.recent_bytes = 0;
        }
    }

    pub(super) fn recent_since(
        &self,
        original: &DatasetName,
        after: Option<EventId>,
        limit: usize,
    ) -> Option<Vec<Event>> {
        let positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = &positions.get(original)?.recent;
        let next = after.map_or(0, |id| id.0) + 1;
        let skip = usize::try_from(next - recent.front()?.id.0).ok().filter(|skip| *skip < recent.len())?;
        Some(recent.iter().skip(skip).take(limit).cloned().collect())
    }

    /// Moves the position of an editlog forward, and never back.
    pub(super) fn advance(&self, original: &DatasetName, position: Option<EventId>) {
        let positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = positions.get(original) {
            known.position.send_if_modified(|known| {
                let moved = position > *known;
                if moved {
                    *known = position;
                }
                moved
            });
        }
    }

    /// Forgets an editlog; its followers are told that it has ended.
    pub(super) fn remove(&self, original: &DatasetName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(original);
    }

    pub(super) fn known(&self) -> Vec<Arc<S>> {
        let positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        positions.values().map(|known| Arc::clone(&known.sql)).collect()
    }
}

impl<S> KnownLog<S> {
    fn keep_all(&mut self, events: Vec<Event>) {
        self.recent_bytes += events.iter().map(bytes_of).sum::<usize>();
        self.recent.extend(events);
        while self.recent.len() > RECENT_EVENTS_MAX || self.recent_bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.recent.pop_front() else { return };
            self.recent_bytes -= bytes_of(&oldest);
        }
    }
}

fn bytes_of(event: &Event) -> usize {
    let texts = [&event.column_name, &event.value, &event.previous, &event.reason];
    size_of::<Event>() + event.key.as_str().len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

/// The events that a batch of requests has appended to each log, in log order.
pub(super) fn appended<'a>(
    answers: impl Iterator<Item = (&'a DatasetName, &'a Vec<Outcome>)>,
) -> HashMap<&'a DatasetName, Vec<Event>> {
    let mut appended: HashMap<&DatasetName, Vec<Event>> = HashMap::new();
    for (original, outcomes) in answers {
        let events = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Appended(event) => Some(event.clone()),
            _ => None,
        });
        appended.entry(original).or_default().extend(events);
    }
    appended
}
