//! The lawful erasure of personal data in an editlog.

use stet_domain::{Action, Actor, ClientEventId, Key, NewEvent, Source};
use stet_editlog::Field;
use stet_editlog::erasure::{Erasure, mask};
use stet_store::{Append, Expected, Outcome};
use uuid::Uuid;

use crate::App;
use crate::error::AppError;

/// The most events that are erased at once.
pub const ERASED_EVENTS_MAX: u64 = 10_000;

/// The longest list of events in the log, in bytes: that of a key.
const LIST_BYTES_MAX: usize = stet_domain::key::KEY_BYTES_MAX;

/// What is to be erased.
#[derive(Debug, Clone)]
pub struct ErasureRequest {
    /// The first and the last id of ranges of events.
    pub events: Vec<(u64, u64)>,
    /// What of them.
    pub fields: Vec<Field>,
    /// Why; it stays in the log.
    pub reason: String,
    /// The connection of an administrator of the database, where the node's own user may not erase.
    pub admin_url: Option<String>,
}

/// What an erasure did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// The event that says so.
    pub event: i64,
    /// How many events had something to erase.
    pub events: u64,
}

impl App {
    /// Erases personal data of events of an editlog, in the log alone: first it is logged, with the reason, and then texts
    /// and salts are taken away. Whoever repeats it after a failure in between logs it once more and takes away the rest.
    ///
    /// In a database that was made securely only its administrator can; the connection is used once and kept nowhere. No server may have the log open, since its tables would still show what was erased.
    ///
    /// # Errors
    /// When the actor is no administrator, there are no such events, or the database refuses.
    pub async fn erase_events(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        request: ErasureRequest,
    ) -> Result<Erased, AppError> {
        let ErasureRequest { events, fields, reason, admin_url } = request;
        self.require_administrator(actor)?;
        let project = self.project(actor, project)?;
        let original = self.original_of(&project, dataset)?;
        if reason.trim().is_empty() {
            return Err(AppError::Invalid("an erasure needs a reason, which stays in the log".to_owned()));
        }
        let editlogs = self.editlogs(&project, &original).await?;
        let log = editlogs.editlog(&original).await?;
        let last = log.position().await?.map_or(0, |id| id.0.unsigned_abs());
        let erasure = Erasure { ranges: merged(&events), fields: mask(fields.iter().copied()) };
        let (key, names) = erasure.texts();
        let count: u64 = erasure.ranges.iter().map(|(first, last)| (last - first).saturating_add(1)).sum();
        if count == 0 || count > ERASED_EVENTS_MAX || key.len() > LIST_BYTES_MAX || erasure.fields == 0 {
            return Err(AppError::Invalid(format!(
                "name from 1 to {ERASED_EVENTS_MAX} events, in a list of at most {LIST_BYTES_MAX} bytes, and what to erase of them"
            )));
        }
        if let Some((_, beyond)) = erasure.ranges.iter().find(|(_, end)| *end > last) {
            return Err(AppError::not_found(format!("event {beyond} in this editlog, which has {last} events")));
        }
        for (first, last) in &erasure.ranges {
            let after = (*first > 1).then(|| stet_domain::EventId(first.cast_signed() - 1));
            let found = log.read_since(after, usize::try_from(last - first + 1).unwrap_or(usize::MAX)).await?;
            if let Some(event) = found.iter().find(|event| !event.action.is_edit()) {
                return Err(AppError::Invalid(format!(
                    "event {} is about the log itself and holds the reason of an erasure or a note: it stays",
                    event.id
                )));
            }
        }
        // Whether the database lets us is tried before anything is logged: with an erasure of nothing.
        let nothing = Erasure { ranges: Vec::new(), fields: erasure.fields };
        editlogs.erase(&original, nothing, admin_url.clone()).await?;

        let event = NewEvent {
            user: actor.login.clone(),
            action: Action::Erase,
            key: Key::from_text(&key),
            column_name: Some(names),
            value: None,
            previous: None,
            batch_id: Uuid::new_v4(),
            source: Source::Api,
            reason: Some(reason.clone()),
            event_id: ClientEventId(Uuid::new_v4()),
        };
        let outcomes = log.append(Append { atomic: true, events: vec![(event, Expected::Any)] }).await?;
        let Some(Outcome::Appended(logged)) = outcomes.into_iter().next() else {
            return Err(AppError::Conflict("the erasure was not logged: nothing was erased".to_owned()));
        };
        let object = format!("editlog {}.{original}", project.key);
        self.note(self.entry(
            actor,
            "editlog.erase",
            object,
            format!("events {key}, by event {}: {reason}", logged.id),
        ))
        .await?;
        let events = editlogs.erase(&original, erasure, admin_url).await?;
        self.inner.webapps.forget(&project.key, &original);
        Ok(Erased { event: logged.id.0, events })
    }
}

/// Ranges in ascending order, none of which touches the next.
fn merged(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn ranges_that_touch_become_one() {
        assert_eq!(merged(&[(7, 9), (3, 3), (10, 10), (8, 12), (20, 20)]), [(3, 3), (7, 12), (20, 20)]);
        assert_eq!(merged(&[]), []);
    }
}
