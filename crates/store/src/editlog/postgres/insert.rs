//! Inserting events, each with the salts of its seal and its place in the chain of its writer.

use std::borrow::Cow;

use stet_domain::{Event, EventId, LogDate, NewEvent};
use stet_editlog::event::{Secret, Secrets, encode_secrets};
use stet_editlog::{Field, Hash, Personal, chain};
use uuid::Uuid;

use super::append::Log;
use super::seal::new_secrets;
use super::writer::{failed, fault};
use crate::editlog::WriteStep;
use crate::error::StoreError;
use crate::postgres::{Micros, encode};

/// The most events, and about the most bytes of their texts, in one statement.
const INSERT_EVENTS_MAX: usize = 5_000;
const INSERT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Who the events of a connection say that they come from.
pub(super) struct WriterName {
    pub id: Uuid,
    /// The same as the text that is hashed.
    text: String,
}

impl WriterName {
    pub(super) fn new(id: Uuid) -> WriterName {
        WriterName { id, text: id.hyphenated().to_string() }
    }
}

/// Where the chain of one log on one connection stands: each event carries the hash over the one before it. The date and
/// the id are not in it, since the database gives them when the events of a batch are sent already.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    /// How many events it has.
    pub events: u64,
    /// What the next one carries.
    hash: Hash,
    /// The identity of the table that they are in.
    table: Option<i64>,
}

impl Chain {
    /// Starts anew if the log was: its table is another one, or has no events.
    pub(super) fn of_table(&mut self, table: Option<i64>) {
        if self.table != table {
            *self = Chain::default();
        }
    }

    fn push(&mut self, writer: &WriterName, event: &stet_editlog::Event<'_>) {
        self.events += 1;
        self.hash = chain::link(self.hash, &writer.text, self.events, event);
    }
}

/// An event as it will be sealed, but for its place and date.
fn to_be_sealed<'a>(event: &'a NewEvent, secrets: &Secrets) -> stet_editlog::Event<'a> {
    let personal = |field: Field, text: Option<&'a str>| match (secrets[field as usize], text) {
        (Secret::Salt(salt), Some(text)) => Personal::Clear(Cow::Borrowed(text), salt),
        _ => Personal::Absent,
    };
    stet_editlog::Event {
        id: 0,
        date_micros: 0,
        user: personal(Field::User, Some(event.user.as_str())),
        action: Cow::Borrowed(event.action.as_str()),
        key: Cow::Borrowed(event.key.as_str()),
        column_name: event.column_name.as_deref().map(Cow::Borrowed),
        value: personal(Field::Value, event.value.as_deref()),
        previous: personal(Field::Previous, event.previous.as_deref()),
        batch_id: event.batch_id.into_bytes(),
        source: Cow::Borrowed(event.source.as_str()),
        reason: personal(Field::Reason, event.reason.as_deref()),
        event_id: event.event_id.0.into_bytes(),
    }
}

impl Log<'_, '_> {
    /// Inserts events and checks that each is where it was to be.
    pub(super) fn insert(&mut self, events: &[&NewEvent]) -> Result<Vec<Event>, StoreError> {
        let mut inserted = Vec::with_capacity(events.len());
        let mut rest = events;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(INSERT_EVENTS_MAX).take_while(|event| {
                let first = bytes == 0;
                bytes +=
                    64 + event.value.as_ref().map_or(0, String::len) + event.previous.as_ref().map_or(0, String::len);
                first || bytes <= INSERT_BYTES_MAX
            });
            let (part, others) = rest.split_at(fits.count());
            self.insert_part(part, &mut inserted)?;
            rest = others;
        }
        Ok(inserted)
    }

    fn insert_part(&mut self, events: &[&NewEvent], inserted: &mut Vec<Event>) -> Result<(), StoreError> {
        for _ in events {
            fault(self.shared, WriteStep::Insert)?;
        }
        let texts = |text: fn(&NewEvent) -> Option<&str>| -> Vec<Option<std::borrow::Cow<'_, str>>> {
            events.iter().map(|event| text(event).map(encode)).collect()
        };
        let users = texts(|event| Some(event.user.as_str()));
        let actions = texts(|event| Some(event.action.as_str()));
        let keys = texts(|event| Some(event.key.as_str()));
        let columns = texts(|event| event.column_name.as_deref());
        let values = texts(|event| event.value.as_deref());
        let previous = texts(|event| event.previous.as_deref());
        let batches: Vec<Uuid> = events.iter().map(|event| event.batch_id).collect();
        let sources = texts(|event| Some(event.source.as_str()));
        let reasons = texts(|event| event.reason.as_deref());
        let event_ids: Vec<Uuid> = events.iter().map(|event| event.event_id.0).collect();
        let mut numbers = Vec::with_capacity(events.len());
        let mut hashes = Vec::with_capacity(events.len());
        let mut secrets = Vec::with_capacity(events.len());
        for event in events {
            let own = new_secrets([true, event.value.is_some(), event.previous.is_some(), event.reason.is_some()]);
            numbers.push((self.chain.events + 1).cast_signed());
            hashes.push(self.chain.hash.0.to_vec());
            self.chain.push(self.writer, &to_be_sealed(event, &own));
            secrets.push(encode_secrets(&own));
        }
        let insert = self.prepare(|sql| &sql.insert)?;
        let config = &self.shared.config;
        let rows = self
            .transaction
            .query(
                &insert,
                &[
                    &users,
                    &actions,
                    &keys,
                    &columns,
                    &values,
                    &previous,
                    &batches,
                    &sources,
                    &reasons,
                    &event_ids,
                    &self.writer.id,
                    &numbers,
                    &hashes,
                    &secrets,
                ],
            )
            .map_err(|error| failed(config, error))?;
        for (place, event) in events.iter().enumerate() {
            // An insert that a foreign trigger or rule has swallowed or moved is never taken for a success.
            let row = rows.get(place).ok_or_else(|| self.swallowed())?;
            let id: i64 = row.try_get(0).map_err(|error| failed(config, error))?;
            let date: Micros = row.try_get(1).map_err(|error| failed(config, error))?;
            self.chain.table = Some(row.try_get(2).map_err(|error| failed(config, error))?);
            if id != self.end + 1 {
                return Err(self.swallowed());
            }
            self.end = id;
            inserted.push(Event {
                id: EventId(id),
                date: LogDate::from_micros(date.0),
                user: event.user.clone(),
                action: event.action,
                key: event.key.clone(),
                column_name: event.column_name.clone(),
                value: event.value.clone(),
                previous: event.previous.clone(),
                batch_id: event.batch_id,
                source: event.source,
                reason: event.reason.clone(),
                event_id: event.event_id,
            });
        }
        Ok(())
    }

    fn swallowed(&self) -> StoreError {
        StoreError::Altered {
            original: self.sql.original.clone(),
            object: self.sql.table.clone(),
            problem: "does not keep what is inserted: somebody has added a trigger or a rule",
        }
    }
}
