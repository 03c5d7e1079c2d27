//! The audit trail of the node: who did what, when, from where, and with which outcome. Append-only: triggers refuse a
//! change to every connection, ours included, and each entry holds a hash over itself and the one before.
//!
//! The hash of an entry is SHA-256 over the hash of the entry before (32 zero bytes for the first) and the entry's fields in
//! order, each as its length in bytes (8 bytes, big-endian) and its UTF-8 text; numbers are decimal texts.
//!
//! The same fields are the leaf of a Merkle tree (RFC 6962), whose root is signed as a checkpoint in the transaction of the
//! entry, as those of editlogs are.

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use sha2::{Digest, Sha256};
use stet_domain::LogDate;
use stet_editlog::tree::{Subtrees, Tree, consistency_proof};
use stet_editlog::{Checkpoint, Hash, SignerKey};

use std::sync::Arc;

use super::{NodeDatabase, date, limit_of};
use crate::error::StoreError;

/// The longest text of one field, in characters; what is longer is cut, since much of it was typed by strangers.
const FIELD_CHARACTERS_MAX: usize = 500;

pub(super) const TABLES: &str = "
CREATE TABLE audit_tree (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  size INTEGER NOT NULL,
  peaks BLOB NOT NULL
) STRICT;

CREATE TABLE audit_checkpoints (
  size INTEGER NOT NULL PRIMARY KEY,
  note TEXT NOT NULL
) STRICT;
";

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

    /// The same database, whose audit trail is sealed by this key.
    pub fn sealed(self, signer: Arc<SignerKey>) -> NodeDatabase {
        NodeDatabase { signer: Some(signer), ..self }
    }

    /// The last checkpoints of the trail as signed notes, newest first, with the sizes that they are kept under.
    pub async fn audit_checkpoints(&self, limit: usize) -> Result<Vec<(u64, String)>, StoreError> {
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT size, note FROM audit_checkpoints ORDER BY size DESC LIMIT ?1")?;
            let notes = statement
                .query_map([limit_of(limit)], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))?;
            Ok(notes.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The checkpoint of a size, if it is kept.
    pub async fn audit_checkpoint(&self, size: u64) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT note FROM audit_checkpoints WHERE size = ?1";
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            Ok(connection.query_row(sql, [size], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// The consistency proof between the trees of `old_size` and `size` entries; none if the old tree is the larger one, or
    /// there are not so many. It reads the entries that the proof is over.
    pub async fn prove_audit_consistency(&self, old_size: u64, size: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        self.read(move |connection| {
            let count: i64 = connection.query_row("SELECT count(*) FROM audit_events", [], |row| row.get(0))?;
            if size > count.unsigned_abs() {
                return Ok(None);
            }
            Ok(consistency_proof(&Entries(connection), old_size, size)?)
        })
        .await
    }

    /// Reads the whole trail and works out its hashes and its tree, to compare with those that are kept and with `roots`:
    /// sizes and what the root has to be there.
    pub async fn verify_audit(&self, mut roots: Vec<(u64, Hash)>) -> Result<AuditCheck, StoreError> {
        roots.sort_unstable_by_key(|(size, _)| *size);
        self.read(move |connection| {
            let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM audit_events ORDER BY id"))?;
            let mut check = AuditCheck::default();
            let mut previous = FIRST;
            let mut tree = Tree::new();
            let mut roots = roots.into_iter().peekable();
            while roots.next_if(|(size, root)| *size == 0 && *root == tree.root()).is_some() {}
            for entry in statement.query_map([], from_row)? {
                let entry = entry?;
                check.entries += 1;
                let (leaf, hash) = hashes(&previous, entry.id, &entry.event);
                if check.altered.is_none() && (u64::try_from(entry.id) != Ok(check.entries) || entry.hash != hash) {
                    check.altered = Some(entry.id);
                }
                previous = entry.hash;
                tree.append(leaf);
                while let Some((size, root)) = roots.next_if(|(size, _)| *size <= check.entries) {
                    if size != check.entries || root != tree.root() {
                        check.forked.push(size);
                    }
                }
            }
            // A checkpoint of more entries than there are: the end was cut off.
            check.truncated = roots.map(|(size, _)| size).collect();
            Ok(check)
        })
        .await
    }
}

/// The entries as leaves of a tree.
struct Entries<'a>(&'a Connection);

impl Subtrees for Entries<'_> {
    type Error = rusqlite::Error;

    fn subtree(&self, height: u32, index: u64) -> Result<Hash, rusqlite::Error> {
        let (first, last) = ((index << height) + 1, (index + 1) << height);
        let mut statement = self
            .0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM audit_events WHERE id BETWEEN ?1 AND ?2 ORDER BY id"))?;
        let mut tree = Tree::new();
        for entry in statement.query_map((first.cast_signed(), last.cast_signed()), from_row)? {
            let entry = entry?;
            tree.append(hashes(&FIRST, entry.id, &entry.event).0);
        }
        Ok(tree.root())
    }
}

/// What a look at the whole trail found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditCheck {
    /// How many entries there are.
    pub entries: u64,
    /// The place of the first entry whose hash does not fit, if there is one.
    pub altered: Option<i64>,
    /// The sizes at which the tree has another root than it should.
    pub forked: Vec<u64>,
    /// The sizes that the trail should have reached and has not.
    pub truncated: Vec<u64>,
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

/// Writes an entry in the transaction of what it tells of, and seals it.
pub(super) fn append(
    connection: &Connection,
    event: &NewAuditEvent,
    signer: Option<&SignerKey>,
) -> rusqlite::Result<()> {
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
    let (leaf, hash) = hashes(&previous, id, &event);
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
            hash,
        ),
    )?;
    signer.map_or(Ok(()), |signer| seal(connection, id, leaf, signer))
}

/// The name of the trail in its checkpoints: that of the key, and what it is.
pub(super) fn origin(signer: &SignerKey) -> String {
    format!("{}/audit", signer.verifier().name())
}

/// Adds the leaf of the entry that was just written to the tree, with those of entries that came without a key, and signs.
fn seal(connection: &Connection, id: i64, leaf: Hash, signer: &SignerKey) -> rusqlite::Result<()> {
    let kept = connection
        .query_row("SELECT size, peaks FROM audit_tree", [], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    let peaks = |bytes: Vec<u8>| bytes.chunks(32).map(Hash::from_slice).collect::<Option<Vec<Hash>>>();
    // A tree that was tampered with is made anew from the entries: the checkpoints that were signed tell.
    let tree = kept.and_then(|(size, bytes)| Tree::from_peaks(size, peaks(bytes)?));
    let mut tree = tree.filter(|tree| i64::try_from(tree.size()).is_ok_and(|size| size < id)).unwrap_or_default();
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM audit_events WHERE id > ?1 AND id < ?2 ORDER BY id"))?;
    for entry in statement.query_map((i64::try_from(tree.size()).unwrap_or(i64::MAX), id), from_row)? {
        let entry = entry?;
        tree.append(hashes(&FIRST, entry.id, &entry.event).0);
    }
    tree.append(leaf);
    let (size, root) = (tree.size(), tree.root());
    let peaks: Vec<u8> = tree.peaks().iter().flat_map(|hash| hash.0).collect();
    connection.execute("INSERT OR REPLACE INTO audit_tree (only, size, peaks) VALUES (1, ?1, ?2)", (id, peaks))?;
    let note = Checkpoint { origin: origin(signer), size, root, extensions: Vec::new() }.sign(signer).to_string();
    connection.execute("INSERT OR REPLACE INTO audit_checkpoints (size, note) VALUES (?1, ?2)", (id, note))?;
    Ok(())
}

/// The leaf of an entry, and its hash in the chain.
fn hashes(previous: &[u8; 32], id: i64, event: &NewAuditEvent) -> (Hash, [u8; 32]) {
    let (id, at) = (id.to_string(), event.at.micros().to_string());
    let address = event.address.as_deref().unwrap_or_default();
    let fields = [&id, &at, &event.user, &event.action, &event.object, address, event.outcome.as_str(), &event.detail];
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend((field.len() as u64).to_be_bytes());
        bytes.extend(field.as_bytes());
    }
    let chained = Sha256::new().chain_update(previous).chain_update(&bytes).finalize();
    (Hash::leaf(&bytes), chained.into())
}
