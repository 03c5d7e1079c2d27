//! The audit trail of the node: who did what, when, from where, and with which outcome. Append-only: triggers refuse a
//! change to every connection, ours included, and each entry holds a hash over itself and the one before.
//!
//! The hash of an entry is SHA-256 over the hash of the entry before (32 zero bytes for the first) and the entry's fields in
//! order, each as its length in bytes (8 bytes, big-endian) and its UTF-8 text; numbers are decimal texts.

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use sha2::{Digest, Sha256};
use stet_domain::LogDate;

use super::{NodeDatabase, date, limit_of};
use crate::error::StoreError;

/// The longest text of one field, in characters; what is longer is cut, since much of it was typed by strangers.
const FIELD_CHARACTERS_MAX: usize = 500;

/// What happened, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuditEvent {
    /// When.
    pub at: LogDate,
    /// Who did it: a login, or what was typed as one.
    pub user: String,
    /// What was done, such as `user.add`.
    pub action: String,
    /// To what, such as `user rita` or `dataset BIRDSTRIKES.strikes`; may be empty.
    pub object: String,
    /// The network address that it came from; none at the shell.
    pub address: Option<String>,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// What else is to be known, in plain words; may be empty. Never a secret.
    pub detail: String,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was not allowed, or what was shown did not match.
    Refused,
    /// It was tried and failed.
    Failed,
}

/// An entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Its place in the trail, from 1, without gaps.
    pub id: i64,
    /// What happened.
    pub event: NewAuditEvent,
    /// Over this entry and all before it.
    pub hash: [u8; 32],
}

/// Which entries are asked for. All of what is given has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// By this user.
    pub user: Option<String>,
    /// This action, or a group of them: `user` is `user.add` as well as `user.disable`.
    pub action: Option<String>,
    /// With this text in the object or the detail.
    pub text: Option<String>,
    /// With this outcome.
    pub outcome: Option<AuditOutcome>,
    /// Not before this moment.
    pub from: Option<LogDate>,
    /// Before this moment.
    pub to: Option<LogDate>,
}

impl AuditOutcome {
    /// As it is kept and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Done => "done",
            AuditOutcome::Refused => "refused",
            AuditOutcome::Failed => "failed",
        }
    }
}

impl std::str::FromStr for AuditOutcome {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "done" => Ok(AuditOutcome::Done),
            "refused" => Ok(AuditOutcome::Refused),
            "failed" => Ok(AuditOutcome::Failed),
            other => Err(format!("`{other}` is not an outcome: use done, refused or failed")),
        }
    }
}

impl NodeDatabase {
    /// The same database, whose next writes each come with this entry of the audit trail: both are there, or none.
    pub fn audited(&self, event: NewAuditEvent) -> NodeDatabase {
        NodeDatabase { audit: Some(event), ..self.clone() }
    }

    /// Writes an entry that belongs to no other write.
    pub async fn append_audit(&self, event: NewAuditEvent) -> Result<(), StoreError> {
        self.audited(event).write(|_| Ok(())).await
    }

    /// Entries before a place, newest first; from the newest on if no place is given.
    pub async fn audit_events(
        &self,
        query: AuditQuery,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        self.read(move |connection| {
            let (condition, values) = query.condition();
            let before = before.unwrap_or(i64::MAX);
            let sql = format!(
                "SELECT {COLUMNS} FROM audit_events WHERE id < {before}{condition} ORDER BY id DESC LIMIT {}",
                limit_of(limit)
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let events = statement.query_map(params_from_iter(values), from_row)?;
            Ok(events.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Entries after a place, oldest first.
    pub async fn audit_events_after(&self, after: i64, limit: usize) -> Result<Vec<AuditEvent>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM audit_events WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
            let events = statement.query_map((after, limit_of(limit)), from_row)?;
            Ok(events.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The place of the first entry whose hash does not fit, if there is one, and how many entries there are. Reads all.
    pub async fn verify_audit(&self) -> Result<(u64, Option<i64>), StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM audit_events ORDER BY id"))?;
            let mut previous = FIRST;
            let mut count = 0;
            for entry in statement.query_map([], from_row)? {
                let entry = entry?;
                count += 1;
                if u64::try_from(entry.id) != Ok(count) || entry.hash != hash(&previous, entry.id, &entry.event) {
                    return Ok((count, Some(entry.id)));
                }
                previous = entry.hash;
            }
            Ok((count, None))
        })
        .await
    }
}

impl AuditQuery {
    /// The conditions as SQL with the values of its places.
    fn condition(&self) -> (String, Vec<rusqlite::types::Value>) {
        let (mut sql, mut values) = (String::new(), Vec::<rusqlite::types::Value>::new());
        let mut add = |condition: &str, value: rusqlite::types::Value| {
            values.push(value);
            sql.push_str(" AND ");
            sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
        };
        if let Some(user) = &self.user {
            add("user = ? COLLATE NOCASE", user.clone().into());
        }
        if let Some(action) = &self.action {
            add("(action = ? OR substr(action, 1, length(?) + 1) = ? || '.')", action.clone().into());
        }
        if let Some(text) = &self.text {
            add("instr(lower(object || ' ' || detail), lower(?)) > 0", text.clone().into());
        }
        if let Some(outcome) = self.outcome {
            add("outcome = ?", outcome.as_str().to_owned().into());
        }
        if let Some(from) = self.from {
            add("at >= ?", from.micros().into());
        }
        if let Some(to) = self.to {
            add("at < ?", to.micros().into());
        }
        (sql, values)
    }
}

const COLUMNS: &str = "id, at, user, action, object, address, outcome, detail, hash";

/// Stands for the hash before the first entry.
const FIRST: [u8; 32] = [0; 32];

fn from_row(row: &Row<'_>) -> rusqlite::Result<AuditEvent> {
    Ok(AuditEvent {
        id: row.get(0)?,
        event: NewAuditEvent {
            at: date(row, 1)?,
            user: row.get(2)?,
            action: row.get(3)?,
            object: row.get(4)?,
            address: row.get(5)?,
            outcome: super::parsed(row, 6)?,
            detail: row.get(7)?,
        },
        hash: row.get(8)?,
    })
}

/// Writes an entry in the transaction of what it tells of.
pub(super) fn append(connection: &Connection, event: &NewAuditEvent) -> rusqlite::Result<()> {
    let cut = |text: &str| text.chars().take(FIELD_CHARACTERS_MAX).collect::<String>();
    let event = NewAuditEvent {
        user: cut(&event.user),
        action: cut(&event.action),
        object: cut(&event.object),
        address: event.address.as_deref().map(cut),
        detail: cut(&event.detail),
        ..*event
    };
    let mut statement = connection.prepare_cached("SELECT id, hash FROM audit_events ORDER BY id DESC LIMIT 1")?;
    let last = statement.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional()?;
    let (id, previous) = last.map_or((1, FIRST), |(id, hash)| (id + 1, hash));
    connection.execute(
        "INSERT INTO audit_events (id, at, user, action, object, address, outcome, detail, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            id,
            event.at.micros(),
            &event.user,
            &event.action,
            &event.object,
            &event.address,
            event.outcome.as_str(),
            &event.detail,
            hash(&previous, id, &event),
        ),
    )?;
    Ok(())
}

fn hash(previous: &[u8; 32], id: i64, event: &NewAuditEvent) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(previous);
    let (id, at) = (id.to_string(), event.at.micros().to_string());
    let address = event.address.as_deref().unwrap_or_default();
    let fields = [&id, &at, &event.user, &event.action, &event.object, address, event.outcome.as_str(), &event.detail];
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    hash.finalize().into()
}
