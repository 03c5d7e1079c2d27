//! Bundles, their approvals, what was activated when, and what was refused.

use rusqlite::{OptionalExtension, Row};
use stet_domain::{DeployScopes, LogDate, Login, ProjectKey};
use uuid::Uuid;

use super::{NodeDatabase, TokenHash, date, date_or_none, limit_of, parsed};
use crate::error::StoreError;

/// The tables of this module and of the runs of scenarios.
pub(super) const TABLES: &str = "
CREATE TABLE bundle_sequences (
  project TEXT NOT NULL,
  content_sha256 TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  PRIMARY KEY (project, content_sha256),
  UNIQUE (project, sequence)
) STRICT;

CREATE TABLE bundles (
  digest TEXT NOT NULL PRIMARY KEY,
  project TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  source_node TEXT NOT NULL,
  source_name TEXT NOT NULL,
  author TEXT NOT NULL,
  notes TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  received_by TEXT NOT NULL,
  made_here INTEGER NOT NULL CHECK (made_here IN (0, 1))
) STRICT;
CREATE INDEX bundles_by_project ON bundles (project, received_at);

CREATE TABLE bundle_approvals (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL,
  person TEXT NOT NULL,
  envelope TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  received_by TEXT NOT NULL,
  UNIQUE (digest, envelope)
) STRICT;

CREATE TABLE deployments (
  id TEXT NOT NULL PRIMARY KEY,
  project TEXT NOT NULL,
  digest TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('activate', 'rollback')),
  state TEXT NOT NULL CHECK (state IN ('started', 'done', 'failed')),
  started_by TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  error TEXT,
  document TEXT NOT NULL
) STRICT;
CREATE INDEX deployments_by_project ON deployments (project, id);
CREATE INDEX deployments_unfinished ON deployments (id) WHERE state = 'started';

CREATE TABLE deploy_events (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  project TEXT,
  digest TEXT,
  actor TEXT NOT NULL,
  kind TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE INDEX deploy_events_by_project ON deploy_events (project, id);
CREATE TRIGGER deploy_events_refuse_update BEFORE UPDATE ON deploy_events
FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'deploy_events is append-only'); END;
CREATE TRIGGER deploy_events_refuse_delete BEFORE DELETE ON deploy_events
FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'deploy_events is append-only'); END;

CREATE TABLE deploy_tokens (
  token_hash BLOB NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
  name TEXT NOT NULL CHECK (name <> ''),
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX deploy_tokens_by_name ON deploy_tokens (name) WHERE revoked_at IS NULL;

CREATE TABLE scenario_runs (
  id TEXT NOT NULL PRIMARY KEY,
  project TEXT NOT NULL,
  scenario TEXT NOT NULL,
  state TEXT NOT NULL,
  started_by TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  error TEXT,
  document TEXT NOT NULL
) STRICT;
CREATE INDEX scenario_runs_by_project ON scenario_runs (project, id);

CREATE TABLE scenario_log_lines (
  run_id TEXT NOT NULL REFERENCES scenario_runs (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;
";

/// The most events of deployments that one read returns.
pub const DEPLOY_EVENTS_MAX: usize = 1_000;

/// A bundle that the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRecord {
    /// SHA-256 of its manifest, in hexadecimal.
    pub digest: String,
    /// The project.
    pub project: ProjectKey,
    /// Its number among the bundles of its source node.
    pub sequence: u64,
    /// The node that made it.
    pub source_node: Uuid,
    /// The name of that node.
    pub source_name: String,
    /// Who made it.
    pub author: String,
    /// Its release notes.
    pub notes: String,
    /// The size of its archive.
    pub bytes: u64,
    /// When it was made here, or arrived.
    pub received_at: LogDate,
    /// Who made it here, or brought it.
    pub received_by: String,
    /// Whether this node made it.
    pub made_here: bool,
}

/// An approval as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// The bundle.
    pub digest: String,
    /// Who approves, as the statement says.
    pub person: String,
    /// The signed statement, as JSON text.
    pub envelope: String,
    /// When it arrived.
    pub received_at: LogDate,
    /// Who brought it.
    pub received_by: String,
}

/// An activation or a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// A UUID of version 7, so that ids sort by time.
    pub id: Uuid,
    /// The project.
    pub project: ProjectKey,
    /// The bundle.
    pub digest: String,
    /// Its number.
    pub sequence: u64,
    /// `activate` or `rollback`.
    pub kind: String,
    /// `started`, `done` or `failed`.
    pub state: String,
    /// Who did it.
    pub started_by: Login,
    /// When it began.
    pub started_at: LogDate,
    /// When it ended.
    pub finished_at: Option<LogDate>,
    /// Why it failed, in plain words.
    pub error: Option<String>,
    /// What was planned and approved, as JSON text.
    pub document: String,
}

/// Something that happened around bundles, to note for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeployEvent {
    /// When.
    pub at: LogDate,
    /// The project, if it is known.
    pub project: Option<String>,
    /// The bundle, if it is known.
    pub digest: Option<String>,
    /// Who did it.
    pub actor: String,
    /// What happened, in one word such as `refused`.
    pub kind: String,
    /// In plain words.
    pub text: String,
}

/// Something that happened around bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployEvent {
    /// Its place, without gaps.
    pub id: u64,
    /// What happened.
    pub event: NewDeployEvent,
}

/// A token to create that may bring bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeployToken {
    /// The hash of the token.
    pub token_hash: TokenHash,
    /// What it is for; unique among those that are not revoked.
    pub name: String,
    /// What it is good for.
    pub scopes: DeployScopes,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: LogDate,
    /// From when on it is no longer good; none for never.
    pub expires_at: Option<LogDate>,
}

/// A token that may bring bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployToken {
    /// What it is for.
    pub name: String,
    /// What it is good for.
    pub scopes: DeployScopes,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: LogDate,
    /// From when on it is no longer good.
    pub expires_at: Option<LogDate>,
    /// When it was revoked.
    pub revoked_at: Option<LogDate>,
}

const BUNDLE: &str = "digest, project, sequence, source_node, source_name, author, notes, bytes, received_at, received_by, \
                      made_here";
const DEPLOYMENT: &str =
    "id, project, digest, sequence, kind, state, started_by, started_at, finished_at, error, document";

fn bundle_of(row: &Row<'_>) -> rusqlite::Result<BundleRecord> {
    Ok(BundleRecord {
        digest: row.get(0)?,
        project: parsed(row, 1)?,
        sequence: row.get::<_, i64>(2)?.unsigned_abs(),
        source_node: parsed(row, 3)?,
        source_name: row.get(4)?,
        author: row.get(5)?,
        notes: row.get(6)?,
        bytes: row.get::<_, i64>(7)?.unsigned_abs(),
        received_at: date(row, 8)?,
        received_by: row.get(9)?,
        made_here: row.get(10)?,
    })
}

fn deployment_of(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    Ok(Deployment {
        id: parsed(row, 0)?,
        project: parsed(row, 1)?,
        digest: row.get(2)?,
        sequence: row.get::<_, i64>(3)?.unsigned_abs(),
        kind: row.get(4)?,
        state: row.get(5)?,
        started_by: parsed(row, 6)?,
        started_at: date(row, 7)?,
        finished_at: date_or_none(row, 8)?,
        error: row.get(9)?,
        document: row.get(10)?,
    })
}

fn projects_text(scopes: &DeployScopes) -> String {
    scopes.projects.iter().map(ProjectKey::as_str).collect::<Vec<_>>().join(" ")
}

fn scopes_text(scopes: &DeployScopes) -> &'static str {
    match (scopes.approvals, scopes.activate) {
        (false, false) => "",
        (true, false) => "approvals",
        (false, true) => "activate",
        (true, true) => "approvals activate",
    }
}

/// From the columns `projects` and `scopes`, which begin at `column`.
fn scopes_from_row(row: &Row<'_>, column: usize) -> rusqlite::Result<DeployScopes> {
    let (projects, scopes): (String, String) = (row.get(column)?, row.get(column + 1)?);
    // A project that cannot be read must not become a token for all projects.
    let projects = projects.split_whitespace().map(ProjectKey::new).collect::<Result<_, _>>().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.to_string().into())
    })?;
    let has = |name: &str| scopes.split_whitespace().any(|scope| scope == name);
    Ok(DeployScopes { projects, approvals: has("approvals"), activate: has("activate") })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl NodeDatabase {
    /// The number of a bundle with this content: the one that it was given before, or the next of its project.
    pub async fn bundle_sequence(&self, project: &ProjectKey, content_sha256: &str) -> Result<u64, StoreError> {
        let (project, content) = (project.clone(), content_sha256.to_owned());
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO bundle_sequences (project, content_sha256, sequence)
                 SELECT ?1, ?2, 1 + coalesce(max(sequence), 0) FROM bundle_sequences WHERE project = ?1
                 ON CONFLICT (project, content_sha256) DO NOTHING",
                (project.as_str(), &content),
            )?;
            let sequence: i64 = transaction.query_row(
                "SELECT sequence FROM bundle_sequences WHERE project = ?1 AND content_sha256 = ?2",
                (project.as_str(), &content),
                |row| row.get(0),
            )?;
            Ok(sequence.unsigned_abs())
        })
        .await
    }

    /// Notes that the node has a bundle; one that is known already stays as it was noted.
    pub async fn insert_bundle(&self, bundle: BundleRecord) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                &format!(
                    "INSERT INTO bundles ({BUNDLE}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                     ON CONFLICT (digest) DO NOTHING"
                ),
                (
                    bundle.digest,
                    bundle.project.as_str(),
                    signed(bundle.sequence),
                    bundle.source_node.to_string(),
                    bundle.source_name,
                    bundle.author,
                    bundle.notes,
                    signed(bundle.bytes),
                    bundle.received_at.micros(),
                    bundle.received_by,
                    bundle.made_here,
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// The bundles of a project, newest first.
    pub async fn bundles(&self, project: &ProjectKey, limit: usize) -> Result<Vec<BundleRecord>, StoreError> {
        let project = project.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {BUNDLE} FROM bundles WHERE project = ?1 ORDER BY received_at DESC, sequence DESC LIMIT ?2"
            ))?;
            let bundles = statement.query_map((project.as_str(), limit_of(limit)), bundle_of)?;
            Ok(bundles.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The bundles whose digest begins with this text, two at most: more than one means that the text is too short.
    pub async fn bundles_by_prefix(&self, prefix: &str) -> Result<Vec<BundleRecord>, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {BUNDLE} FROM bundles WHERE substr(digest, 1, length(?1)) = ?1 ORDER BY digest LIMIT 2"
            ))?;
            Ok(statement.query_map([prefix], bundle_of)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Keeps an approval. Whether it is a new one.
    pub async fn insert_approval(&self, approval: ApprovalRecord) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let changed = transaction.execute(
                "INSERT INTO bundle_approvals (digest, person, envelope, received_at, received_by)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                (
                    approval.digest,
                    approval.person,
                    approval.envelope,
                    approval.received_at.micros(),
                    approval.received_by,
                ),
            )?;
            Ok(changed > 0)
        })
        .await
    }

    /// The approvals of a bundle, in the order of their arrival.
    pub async fn approvals(&self, digest: &str) -> Result<Vec<ApprovalRecord>, StoreError> {
        let digest = digest.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT digest, person, envelope, received_at, received_by FROM bundle_approvals
                 WHERE digest = ?1 ORDER BY id LIMIT ?2",
            )?;
            let approvals = statement.query_map((digest, limit_of(usize::MAX)), |row| {
                Ok(ApprovalRecord {
                    digest: row.get(0)?,
                    person: row.get(1)?,
                    envelope: row.get(2)?,
                    received_at: date(row, 3)?,
                    received_by: row.get(4)?,
                })
            })?;
            Ok(approvals.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Notes an activation that begins.
    pub async fn insert_deployment(&self, deployment: Deployment) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                &format!(
                    "INSERT INTO deployments ({DEPLOYMENT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                ),
                (
                    deployment.id.to_string(),
                    deployment.project.as_str(),
                    deployment.digest,
                    signed(deployment.sequence),
                    deployment.kind,
                    deployment.state,
                    deployment.started_by.as_str(),
                    deployment.started_at.micros(),
                    deployment.finished_at.map(LogDate::micros),
                    deployment.error,
                    deployment.document,
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// Notes how an activation ended.
    pub async fn finish_deployment(
        &self,
        id: Uuid,
        state: &str,
        error: Option<String>,
        at: LogDate,
    ) -> Result<(), StoreError> {
        let state = state.to_owned();
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE deployments SET state = ?2, error = ?3, finished_at = ?4 WHERE id = ?1 AND state = 'started'",
                (id.to_string(), state, error, at.micros()),
            )?;
            Ok(())
        })
        .await
    }

    /// The activations of a project, newest first.
    pub async fn deployments(&self, project: &ProjectKey, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        let project = project.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {DEPLOYMENT} FROM deployments WHERE project = ?1 ORDER BY id DESC LIMIT ?2"
            ))?;
            let deployments = statement.query_map((project.as_str(), limit_of(limit)), deployment_of)?;
            Ok(deployments.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The last activation of a project that was carried out: what is deployed now.
    pub async fn deployed(&self, project: &ProjectKey) -> Result<Option<Deployment>, StoreError> {
        let project = project.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {DEPLOYMENT} FROM deployments WHERE project = ?1 AND state = 'done' ORDER BY id DESC LIMIT 1"
            ))?;
            Ok(statement.query_row([project.as_str()], deployment_of).optional()?)
        })
        .await
    }

    /// The activations whose end was never noted, because the node was stopped in the middle.
    pub async fn unfinished_deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {DEPLOYMENT} FROM deployments WHERE state = 'started' ORDER BY id LIMIT ?1"
            ))?;
            Ok(statement.query_map([limit_of(usize::MAX)], deployment_of)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Notes something that happened around bundles; nothing changes or deletes it.
    pub async fn append_deploy_event(&self, event: NewDeployEvent) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO deploy_events (at, project, digest, actor, kind, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (event.at.micros(), event.project, event.digest, event.actor, event.kind, event.text),
            )?;
            Ok(())
        })
        .await
    }

    /// What happened around the bundles of a project, newest first.
    pub async fn deploy_events(&self, project: &str, limit: usize) -> Result<Vec<DeployEvent>, StoreError> {
        let project = project.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, at, project, digest, actor, kind, text FROM deploy_events
                 WHERE project = ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let events = statement.query_map((project, limit_of(limit.min(DEPLOY_EVENTS_MAX))), |row| {
                Ok(DeployEvent {
                    id: row.get::<_, i64>(0)?.unsigned_abs(),
                    event: NewDeployEvent {
                        at: date(row, 1)?,
                        project: row.get(2)?,
                        digest: row.get(3)?,
                        actor: row.get(4)?,
                        kind: row.get(5)?,
                        text: row.get(6)?,
                    },
                })
            })?;
            Ok(events.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Creates a token that may bring bundles. False when there is one of this name.
    pub async fn create_deploy_token(&self, token: NewDeployToken) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let changed = transaction.execute(
                "INSERT INTO deploy_tokens (token_hash, name, created_by, created_at, expires_at, projects, scopes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
                (
                    token.token_hash.0,
                    token.name,
                    token.created_by,
                    token.created_at.micros(),
                    token.expires_at.map(LogDate::micros),
                    projects_text(&token.scopes),
                    scopes_text(&token.scopes),
                ),
            )?;
            Ok(changed > 0)
        })
        .await
    }

    /// The tokens that may bring bundles, newest first; revoked and expired ones too.
    pub async fn deploy_tokens(&self) -> Result<Vec<DeployToken>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, created_by, created_at, expires_at, revoked_at, projects, scopes FROM deploy_tokens
                 ORDER BY created_at DESC, name LIMIT ?1",
            )?;
            let tokens = statement.query_map([limit_of(usize::MAX)], |row| {
                Ok(DeployToken {
                    name: row.get(0)?,
                    created_by: row.get(1)?,
                    created_at: date(row, 2)?,
                    expires_at: date_or_none(row, 3)?,
                    revoked_at: date_or_none(row, 4)?,
                    scopes: scopes_from_row(row, 5)?,
                })
            })?;
            Ok(tokens.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The name of the token with this hash and what it is good for, if it is good at `now`.
    pub async fn deploy_token(
        &self,
        token_hash: TokenHash,
        now: LogDate,
    ) -> Result<Option<(String, DeployScopes)>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, projects, scopes FROM deploy_tokens
                 WHERE token_hash = ?1 AND revoked_at IS NULL AND coalesce(expires_at > ?2, TRUE)",
            )?;
            let found =
                statement.query_row((token_hash.0, now.micros()), |row| Ok((row.get(0)?, scopes_from_row(row, 1)?)));
            Ok(found.optional()?)
        })
        .await
    }

    /// Revokes a token by its name. Whether there was one to revoke.
    pub async fn revoke_deploy_token(&self, name: &str, at: LogDate) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| {
            let changed = transaction.execute(
                "UPDATE deploy_tokens SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL",
                (name, at.micros()),
            )?;
            Ok(changed > 0)
        })
        .await
    }
}
