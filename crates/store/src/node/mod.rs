//! The node's own database: users, groups, sessions, API tokens, sign-in attempts, connections, builds, and the audit
//! trail. Never data of a project, and never a secret that could be used: passwords and tokens are there as hashes only, and
//! what has to be known again is sealed by a key that is elsewhere.
//!
//! It has no clock: every time is passed in, in microseconds since the epoch as a [`LogDate`].

mod audit;
mod builds;
mod connections;
mod deployments;
mod groups;
mod identities;
mod outside;
mod passkeys;
mod scenarios;
mod schema;
mod second_factors;
mod sessions;
mod sign_in;
mod targets;
mod tokens;
mod users;
mod watcher;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Row, Transaction, TransactionBehavior};
use stet_domain::LogDate;
use stet_editlog::SignerKey;
use uuid::Uuid;

pub use self::audit::{AuditCheck, AuditEvent, AuditOutcome, AuditQuery, NewAuditEvent};
pub use self::builds::{Build, BuildLogLine, LOG_LINES_MAX, NewLogLine};
pub use self::connections::{SealedBytes, SecretKind, SecretPlace, StoredConnection};
pub use self::deployments::{
    ApprovalRecord, BundleRecord, DEPLOY_EVENTS_MAX, DeployEvent, DeployToken, Deployment, NewDeployEvent,
    NewDeployToken,
};
pub use self::groups::Group;
pub use self::identities::Identity;
pub use self::outside::{CosignedCheckpoint, NamedSecret};
pub use self::passkeys::StoredPasskey;
pub use self::scenarios::{RUN_LOG_LINES_MAX, ScenarioLogLine, ScenarioRun};
pub use self::second_factors::SecondFactor;
pub use self::sessions::{ListedSession, NewSession, Session, SessionMethod};
pub use self::sign_in::SignInFailures;
pub use self::targets::StoredTarget;
pub use self::tokens::{ApiToken, NewApiToken};
pub use self::users::{NewUser, PasswordHash, User};

use self::watcher::Watcher;
use crate::error::{Doing, StoreError};
use crate::sqlite::{self, Access, Pool};

/// The most reads at a time.
const READ_CONNECTIONS_MAX: usize = 4;
const BUSY_TIMEOUT_MS: u64 = 5_000;
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The node's own database. Cheap to clone. Its functions must be called within a tokio runtime.
///
/// All of them can fail with `Busy`, `Locked`, `Full`, `WriteFailed`, `OutcomeUnknown`, `ReadFailed` or `Damaged`; what
/// else a function fails with is said there. A write is durable when its function returns.
#[derive(Debug, Clone)]
pub struct NodeDatabase {
    /// Has one connection, so that writes wait for each other here and not in the database.
    writer: Arc<Pool>,
    readers: Arc<Pool>,
    /// Only ever asked for its version; opened when it is first asked.
    watcher: Arc<Mutex<Option<Watcher>>>,
    /// What each write of this handle is told as in the audit trail; see [`NodeDatabase::audited`].
    audit: Option<NewAuditEvent>,
    /// What signs the audit trail; see [`NodeDatabase::sealed`].
    signer: Option<Arc<SignerKey>>,
}

/// Which node this database belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMeta {
    /// Chosen when the database was created.
    pub id: Uuid,
    /// When the database was created.
    pub created_at: LogDate,
}

/// The SHA-256 hash of a session's or API token: enough to find it, useless to whoever reads the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

impl NodeDatabase {
    /// Opens the database and brings its tables to this version; creates it if there is none. Blocks shortly.
    ///
    /// A database of this version that cannot be written (a disk that is full or may only be read) is opened for reading:
    /// every write then fails. `now` becomes the creation date of a new one. Fails with `CannotOpen`, `NotADatabase`,
    /// `ReadOnly`, or `NewerVersion` if a later version of Stet has used it.
    pub fn open(path: &Path, now: LogDate) -> Result<NodeDatabase, StoreError> {
        sqlite::create_private(path);
        let opened = sqlite::open(path, Access::Create, BUSY_TIMEOUT_MS)
            .and_then(|mut connection| schema::migrate(path, &mut connection, now));
        if let Err(error) = opened
            && !schema::is_readable(path)
        {
            return Err(error);
        }
        Ok(NodeDatabase {
            writer: Pool::new(path, Access::Write, 1, BUSY_TIMEOUT_MS, WAIT_TIMEOUT),
            readers: Pool::new(path, Access::Read, READ_CONNECTIONS_MAX, BUSY_TIMEOUT_MS, WAIT_TIMEOUT),
            watcher: Arc::default(),
            audit: None,
            signer: None,
        })
    }

    /// A number that changes with every commit to the database, of this and of any other process: what was read under
    /// one number is still so under the same number. Costs a look into shared memory and no wait for the disk. Do not
    /// compare numbers of two handles that were opened apart.
    pub fn version(&self) -> Result<i64, StoreError> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.readers.path();
        let watcher = match &mut *watcher {
            Some(watcher) => watcher,
            None => watcher.insert(Watcher::open(path)?),
        };
        // A connection that failed is kept: another one would give numbers that mean something else.
        watcher.version().map_err(|error| StoreError::from_engine(path, Doing::Reading, error))
    }

    /// Which node this is.
    pub async fn meta(&self) -> Result<NodeMeta, StoreError> {
        self.read(|connection| {
            let meta = connection.query_row("SELECT id, created_at FROM node", [], |row| {
                Ok(NodeMeta { id: parsed(row, 0)?, created_at: date(row, 1)? })
            })?;
            Ok(meta)
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.readers.path().to_owned();
        self.readers.run(move |connection| work(connection).map_err(|error| error.at(&path, Doing::Reading))).await
    }

    /// Runs `work` in a transaction of its own.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.writer.path().to_owned();
        let (audit, signer) = (self.audit.clone(), self.signer.clone());
        self.writer
            .run(move |connection| {
                let transaction = connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)
                    .map_err(|error| StoreError::from_engine(&path, Doing::Writing, error))?;
                let result = work(&transaction).map_err(|error| error.at(&path, Doing::Writing))?;
                if let Some(entry) = &audit {
                    audit::append(&transaction, entry, signer.as_deref())
                        .map_err(|error| StoreError::from_engine(&path, Doing::Writing, error))?;
                }
                transaction.commit().map_err(|error| StoreError::from_engine(&path, Doing::Committing, error))?;
                Ok(result)
            })
            .await
    }
}

/// What a piece of work fails with, before it is known in which file.
enum Failure {
    Engine(rusqlite::Error),
    Store(StoreError),
}

impl Failure {
    fn at(self, path: &Path, doing: Doing) -> StoreError {
        match self {
            Failure::Engine(error) => StoreError::from_engine(path, doing, error),
            Failure::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Engine(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

/// The most rows that a list returns; larger limits are cut to it.
const LIST_ROWS_MAX: usize = 10_000;

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit.min(LIST_ROWS_MAX)).unwrap_or(i64::MAX)
}

/// The text of a column as the type that it must be.
fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: fmt::Display,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error: T::Err| {
        let error = error.to_string().into();
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    })
}

fn date(row: &Row<'_>, column: usize) -> rusqlite::Result<LogDate> {
    row.get(column).map(LogDate::from_micros)
}

fn date_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<LogDate>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(LogDate::from_micros))
}
