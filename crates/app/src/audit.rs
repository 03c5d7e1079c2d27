//! The node's audit trail: writing to it, searching it, and verifying it. `shipping` sends it elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stet_domain::Actor;
use stet_editlog::Checkpoint;
use stet_store::node::NewAuditEvent;
pub use stet_store::node::{AuditEvent, AuditOutcome, AuditQuery};

use crate::App;
use crate::error::AppError;
use crate::sealing::Unreached;

/// The most entries in one answer.
pub const AUDIT_EVENTS_MAX: usize = 1_000;

/// How many entries are read at a time for an export.
const EXPORT_EVENTS_AT_ONCE: usize = 5_000;

/// The most checkpoints of its own that a verification compares the trail with: the last ones.
const OWN_CHECKPOINTS_MAX: usize = 2_000;

/// What the verification of the audit trail found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditVerification {
    /// How many entries there are.
    pub entries: u64,
    /// How many of them a checkpoint covers.
    pub sealed: u64,
    /// What is wrong, in words; nothing when the trail is whole.
    pub problems: Vec<String>,
    /// Where the checkpoints from elsewhere were kept.
    pub outside: Vec<String>,
}

/// An entry of the audit trail as a line of JSON.
#[derive(Debug, Serialize)]
pub struct AuditLine<'a> {
    /// Its place in the trail, from 1.
    pub id: i64,
    /// When, in UTC.
    pub at: String,
    /// Who.
    pub user: &'a str,
    /// What.
    pub action: &'a str,
    /// To what.
    pub object: &'a str,
    /// From where.
    pub address: Option<&'a str>,
    /// `done`, `refused` or `failed`.
    pub outcome: &'static str,
    /// More, in plain words.
    pub detail: &'a str,
    /// Over this entry and all before it, in hexadecimal.
    pub hash: String,
}

impl<'a> From<&'a AuditEvent> for AuditLine<'a> {
    fn from(entry: &'a AuditEvent) -> AuditLine<'a> {
        let event = &entry.event;
        AuditLine {
            id: entry.id,
            at: event.at.to_string(),
            user: &event.user,
            action: &event.action,
            object: &event.object,
            address: event.address.as_deref(),
            outcome: event.outcome.as_str(),
            detail: &event.detail,
            hash: crate::password::hex(&entry.hash),
        }
    }
}

impl App {
    /// An entry about something that an actor does now.
    pub(crate) fn entry(
        &self,
        actor: &Actor,
        action: &str,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) -> NewAuditEvent {
        self.entry_of(Some(actor), action, object, detail)
    }

    /// An entry about something that an actor does now, or the node itself.
    pub(crate) fn entry_of(
        &self,
        actor: Option<&Actor>,
        action: &str,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) -> NewAuditEvent {
        NewAuditEvent {
            at: self.inner.clock.now(),
            user: actor.map_or_else(|| "system".to_owned(), |actor| actor.login.to_string()),
            action: action.to_owned(),
            object: object.into(),
            address: actor.and_then(|actor| actor.address.clone()),
            outcome: AuditOutcome::Done,
            detail: detail.into(),
        }
    }

    /// Writes down what was done without a write to the node database of its own.
    pub(crate) async fn note(&self, entry: NewAuditEvent) -> Result<(), AppError> {
        Ok(self.inner.node.append_audit(entry).await?)
    }

    /// As [`App::note`], from a thread of the runtime that may block.
    pub(crate) fn note_blocking(&self, entry: NewAuditEvent) -> Result<(), AppError> {
        tokio::runtime::Handle::current().block_on(self.note(entry))
    }

    /// Entries of the audit trail before a place, newest first.
    ///
    /// # Errors
    /// When the actor is no administrator, or `limit` is above [`AUDIT_EVENTS_MAX`].
    pub async fn audit_events(
        &self,
        actor: &Actor,
        query: AuditQuery,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEvent>, AppError> {
        self.require_administrator(actor)?;
        if limit > AUDIT_EVENTS_MAX {
            return Err(AppError::Invalid(format!(
                "{limit} entries are too many at once: the most are {AUDIT_EVENTS_MAX}"
            )));
        }
        Ok(self.inner.node.audit_events(query, before, limit).await?)
    }

    /// The next of all entries that fit a query, newest first, from before an entry on; none when there are no more. That
    /// they are taken is an entry itself, written with the first ones.
    ///
    /// # Errors
    /// When the actor is no administrator.
    pub async fn export_audit(
        &self,
        actor: &Actor,
        query: AuditQuery,
        before: Option<i64>,
    ) -> Result<Vec<AuditEvent>, AppError> {
        self.require_administrator(actor)?;
        if before.is_none() {
            self.note(self.entry(actor, "audit.export", "", "")).await?;
        }
        Ok(self.inner.node.audit_events(query, before, EXPORT_EVENTS_AT_ONCE).await?)
    }

    /// Works the whole trail out anew and compares it with its own hashes and checkpoints and with those that were pushed
    /// elsewhere or are given, each with where it was kept.
    ///
    /// # Errors
    /// When the actor is no administrator, or something cannot be read.
    pub async fn verify_audit(
        &self,
        actor: &Actor,
        given: Vec<(String, String)>,
    ) -> Result<AuditVerification, AppError> {
        self.require_administrator(actor)?;
        let (origin, trusted) = (self.audit_origin(), self.sealing_keys(actor));
        let mut found = AuditVerification::default();
        let own = self.inner.node.audit_checkpoints(OWN_CHECKPOINTS_MAX).await?;
        let own = own.into_iter().map(|(_, note)| (note, "the node's own".to_owned()));
        let mut elsewhere = given;
        let app = self.clone();
        let kept = crate::datasets::blocking(move || {
            let mut kept = app.cosigned_checkpoints(&app.audit_origin(), &app.witness_keys())?;
            let mut unreached = Vec::new();
            for place in app.kept_places(&app.audit_origin()) {
                match place.map(|place| (place.checkpoint(), place.name())) {
                    Ok((Ok(note), name)) => kept.extend(note.map(|note| (note, name))),
                    Ok((Err(error), name)) => unreached.push(Unreached::new(name, &error)),
                    Err(cannot) => unreached.push(cannot),
                }
            }
            Ok((kept, unreached))
        });
        let (kept, unreached) = kept.await?;
        elsewhere.extend(kept);
        found.problems.extend(unreached.iter().map(ToString::to_string));
        found.outside = elsewhere.iter().map(|(_, place)| place.clone()).collect();
        let mut places: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        let mut roots = Vec::new();
        for (note, place) in own.chain(elsewhere) {
            match Checkpoint::open(&note, &origin, &trusted) {
                Ok(checkpoint) => {
                    found.sealed = found.sealed.max(checkpoint.size);
                    places.entry(checkpoint.size).or_default().insert(place);
                    roots.push((checkpoint.size, checkpoint.root));
                }
                Err(error) => found.problems.push(format!("FORGED: a checkpoint ({place}): {error}")),
            }
        }
        let check = self.inner.node.verify_audit(roots).await?;
        found.entries = check.entries;
        if let Some(entry) = check.altered {
            found.problems.push(format!("MODIFIED: entry {entry} is not the one that was written"));
        }
        let kept = |size: &u64| {
            let places = places.get(size).map(|places| places.iter().cloned().collect::<Vec<_>>().join(", "));
            places.unwrap_or_default()
        };
        // The first one tells where; the others follow from it.
        if let Some(size) = check.forked.first() {
            found.problems.push(format!(
                "FORKED: the first {size} entries are not those of the checkpoint that is kept ({})",
                kept(size)
            ));
        }
        if let Some(size) = check.truncated.last() {
            let entries = check.entries;
            found.problems.push(format!(
                "TRUNCATED: there are {entries} entries, and a checkpoint tells of {size} ({})",
                kept(size)
            ));
        }
        if found.sealed < check.entries {
            found.problems.push(format!("UNSEALED: {} entries at the end", check.entries - found.sealed));
        }
        Ok(found)
    }

    /// The name of the trail in its checkpoints.
    pub(crate) fn audit_origin(&self) -> String {
        format!("{}/audit", self.inner.sealing_key.verifier().name())
    }
}
