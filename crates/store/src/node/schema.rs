//! The tables of the node's database, and how they came to be.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use stet_domain::LogDate;
use uuid::Uuid;

use super::BUSY_TIMEOUT_MS;
use crate::error::{Doing, StoreError};
use crate::sqlite::{self, Access};

/// One entry for each version, never changed after its release: the next version is a new entry.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE node (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  id TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
  login TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
  display_name TEXT NOT NULL,
  profile TEXT NOT NULL CHECK (profile IN ('reader', 'designer', 'admin')),
  password_hash TEXT,
  disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at INTEGER NOT NULL,
  last_sign_in INTEGER
) STRICT;

CREATE TABLE sessions (
  token_hash BLOB NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
  login TEXT NOT NULL COLLATE NOCASE REFERENCES users (login),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_login ON sessions (login, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE api_tokens (
  token_hash BLOB NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
  login TEXT NOT NULL COLLATE NOCASE REFERENCES users (login),
  name TEXT NOT NULL CHECK (name <> ''),
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX api_tokens_by_name ON api_tokens (login, name) WHERE revoked_at IS NULL;

CREATE TABLE sign_in_failures (
  login TEXT NOT NULL COLLATE NOCASE,
  client TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_in_failures_by_login ON sign_in_failures (login, at);
CREATE INDEX sign_in_failures_by_client ON sign_in_failures (client, at);
CREATE INDEX sign_in_failures_by_date ON sign_in_failures (at);

CREATE TABLE builds (
  id TEXT NOT NULL PRIMARY KEY,
  project TEXT NOT NULL,
  dataset TEXT NOT NULL,
  mode TEXT NOT NULL,
  state TEXT NOT NULL,
  started_by TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  error TEXT,
  document TEXT NOT NULL
) STRICT;
CREATE INDEX builds_by_project ON builds (project, id);
CREATE INDEX builds_unfinished ON builds (id) WHERE finished_at IS NULL;

CREATE TABLE build_log_lines (
  build_id TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (build_id, number)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE groups (
  name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
  description TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE group_members (
  login TEXT NOT NULL COLLATE NOCASE REFERENCES users (login),
  group_name TEXT NOT NULL COLLATE NOCASE REFERENCES groups (name),
  PRIMARY KEY (login, group_name)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_by_group ON group_members (group_name, login);

ALTER TABLE api_tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT 'read,edit,build,admin';
",
    super::deployments::TABLES,
    "
CREATE TABLE audit_events (
  id INTEGER NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL,
  user TEXT NOT NULL,
  action TEXT NOT NULL CHECK (action <> ''),
  object TEXT NOT NULL,
  address TEXT,
  outcome TEXT NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
  detail TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_events_by_user ON audit_events (user, id);
CREATE INDEX audit_events_by_date ON audit_events (at);

CREATE TRIGGER audit_events_go_on BEFORE INSERT ON audit_events
WHEN NEW.id <> (SELECT coalesce(max(id), 0) + 1 FROM audit_events)
BEGIN SELECT raise(ABORT, 'the audit trail has no gaps and replaces nothing'); END;
CREATE TRIGGER audit_events_stay BEFORE UPDATE ON audit_events
BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_events_are_kept BEFORE DELETE ON audit_events
BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;

CREATE TABLE known_devices (
  token_hash BLOB NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
  login TEXT NOT NULL COLLATE NOCASE REFERENCES users (login),
  last_used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX known_devices_by_login ON known_devices (login, last_used_at);

ALTER TABLE sessions ADD COLUMN client TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
",
    super::connections::TABLES,
    super::second_factors::TABLES,
    super::identities::TABLES,
    super::audit::TABLES,
    super::outside::TABLES,
    super::targets::TABLES,
    super::passkeys::TABLES,
];

/// Brings the tables to this version.
pub(super) fn migrate(path: &Path, connection: &mut Connection, now: LogDate) -> Result<(), StoreError> {
    // Most of the time there is nothing to do, which needs no room on the disk.
    if is_current(connection).unwrap_or(false) {
        return Ok(());
    }
    let writing = |error| StoreError::from_engine(path, Doing::Writing, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(writing)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(writing)?;
    let known = MIGRATIONS.len() as i64;
    if version > known {
        let what = format!("the node database `{}`", path.display());
        return Err(StoreError::NewerVersion { what, found: version, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(migration).map_err(writing)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(writing)?;
    transaction
        .execute(
            "INSERT INTO node (only, id, created_at) VALUES (1, ?1, ?2) ON CONFLICT DO NOTHING",
            (Uuid::new_v4().to_string(), now.micros()),
        )
        .map_err(writing)?;
    transaction.commit().map_err(|error| StoreError::from_engine(path, Doing::Committing, error))
}

/// Whether the database can be read, and has the tables of this version.
pub(super) fn is_readable(path: &Path) -> bool {
    path.is_file()
        && sqlite::open(path, Access::Read, BUSY_TIMEOUT_MS)
            .is_ok_and(|connection| is_current(&connection).unwrap_or(false))
}

fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != MIGRATIONS.len() as i64 {
        return Ok(false);
    }
    connection.query_row("SELECT count(*) > 0 FROM node", [], |row| row.get(0))
}
