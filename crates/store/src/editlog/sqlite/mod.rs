//! Editlogs in a SQLite file: any number of them, one table each, written by one thread and read by a few connections.

mod erase;
mod fold;
mod owner;
mod read;
mod schema;
mod seal;
mod watcher;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stet_domain::{DatasetName, Event, EventId};
use stet_editlog::erasure::Erasure;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub(crate) use self::read::SqliteReader;
use self::schema::LogSql;
pub(crate) use self::seal::{READ_HASHES, SqliteSealed};
use super::positions::{NamedLog, Positions};
use super::{Append, EditlogSettings, EditlogStats, Faults, Outcome, Sealing};
use crate::error::{Doing, StoreError};
use crate::sqlite::{self, Access, FileIdentity, Pool};

/// A SQLite file that holds editlogs.
///
/// Two threads serve it, and end when it is dropped: the writer, which owns the only connection that appends, and the
/// watcher, which looks for commits of other processes.
pub(crate) struct SqliteEditlogs {
    shared: Arc<Shared>,
    settings: EditlogSettings,
    readers: Arc<Pool>,
    /// The writer ends when this is dropped.
    requests: mpsc::Sender<writer::Request>,
    /// The watcher ends when this is dropped.
    _watching: std::sync::mpsc::Sender<()>,
}

/// What the threads of one file share with its handles.
struct Shared {
    path: PathBuf,
    busy_timeout_ms: u64,
    /// Which file was opened; the writer refuses to write when the path names another one.
    identity: Option<FileIdentity>,
    /// 0 for no limit.
    file_bytes_max: AtomicU64,
    faults: Option<Faults>,
    sealing: Option<Sealing>,
    positions: Positions<LogSql>,
    commits: AtomicU64,
    requests: AtomicU64,
    events: AtomicU64,
    failures: AtomicU64,
}

impl SqliteEditlogs {
    pub(crate) fn open(path: &Path, settings: EditlogSettings) -> Result<Arc<SqliteEditlogs>, StoreError> {
        let connection = sqlite::open(path, Access::Create, settings.busy_timeout_ms)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            busy_timeout_ms: settings.busy_timeout_ms,
            identity: sqlite::file_identity(path),
            file_bytes_max: AtomicU64::new(settings.file_bytes_max.unwrap_or(0)),
            faults: settings.faults.clone(),
            sealing: settings.sealing.clone(),
            positions: Positions::default(),
            commits: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            events: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        let readers = Pool::new(
            path,
            Access::Read,
            settings.read_connections_max,
            settings.busy_timeout_ms,
            settings.queue_timeout().max(Duration::from_secs(30)),
        );

        let (requests, waiting) = mpsc::channel(settings.queue_requests_max.max(1));
        let for_writer = Arc::clone(&shared);
        start("stet-editlog-write", path, move || writer::run(&for_writer, connection, waiting))?;

        let (watching, stopped) = std::sync::mpsc::channel();
        let for_watcher = Arc::clone(&shared);
        let interval = Duration::from_millis(settings.poll_interval_ms.max(1));
        start("stet-editlog-watch", path, move || watcher::run(&for_watcher, interval, &stopped))?;

        Ok(Arc::new(SqliteEditlogs { shared, settings, readers, requests, _watching: watching }))
    }

    pub(crate) async fn initialise(self: &Arc<Self>, original: &DatasetName) -> Result<SqliteEditlog, StoreError> {
        let shared = Arc::clone(&self.shared);
        let sql = Arc::new(LogSql::new(original));
        let created = tokio::task::spawn_blocking(move || {
            // A connection of its own, since this is rare and the writer's is busy with appends.
            shared.check_identity()?;
            let mut connection = sqlite::open(&shared.path, Access::Write, shared.busy_timeout_ms)?;
            writer::in_transaction(&shared.path, &mut connection, |transaction| {
                schema::create(transaction, &sql)?;
                seal::seal(transaction, &sql, None, shared.sealing.as_ref(), |_, _| {}).map(drop)
            })
        });
        created.await.unwrap_or(Err(StoreError::Closed))?;
        self.opened(original).await
    }

    /// See [`super::Editlogs::claim`].
    pub(crate) async fn claim(&self, node: Uuid, name: &str) -> Result<(), StoreError> {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        let claimed = tokio::task::spawn_blocking(move || {
            let mut connection = sqlite::open(&shared.path, Access::Write, shared.busy_timeout_ms)?;
            writer::in_transaction(&shared.path, &mut connection, |transaction| {
                owner::claim(transaction, &shared.path, node, &name)
            })
        });
        claimed.await.unwrap_or(Err(StoreError::Closed))
    }

    /// See [`super::Editlogs::reset`].
    pub(crate) async fn reset(&self, original: &DatasetName, only_empty: bool) -> Result<u64, StoreError> {
        let shared = Arc::clone(&self.shared);
        let sql = LogSql::new(original);
        let reset = tokio::task::spawn_blocking(move || {
            shared.check_identity()?;
            let mut connection = sqlite::open(&shared.path, Access::Write, shared.busy_timeout_ms)?;
            writer::in_transaction(&shared.path, &mut connection, |transaction| {
                owner::reset(transaction, &shared.path, &sql, only_empty)
            })
        });
        let events = reset.await.unwrap_or(Err(StoreError::Closed))?;
        // Who follows the old log is told that it has ended.
        self.shared.positions.remove(original);
        Ok(events)
    }

    /// See [`super::Editlogs::erase`].
    pub(crate) async fn erase(&self, original: &DatasetName, erasure: Erasure) -> Result<u64, StoreError> {
        let shared = Arc::clone(&self.shared);
        let sql = LogSql::new(original);
        let erased = tokio::task::spawn_blocking(move || {
            shared.check_identity()?;
            let mut connection = sqlite::open(&shared.path, Access::Write, shared.busy_timeout_ms)?;
            let writing = |error| StoreError::from_engine(&shared.path, Doing::Writing, error);
            // What is erased is overwritten in the file, and does not stay in the journal either.
            connection.pragma_update(None, "secure_delete", true).map_err(writing)?;
            let erased = writer::in_transaction(&shared.path, &mut connection, |transaction| {
                erase::erase(transaction, &shared.path, &sql, &erasure)
            })?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(writing)?;
            Ok(erased)
        });
        let erased = erased.await.unwrap_or(Err(StoreError::Closed))?;
        self.shared.positions.forget_recent(original);
        Ok(erased)
    }

    pub(crate) async fn is_initialised(&self, original: &DatasetName) -> Result<bool, StoreError> {
        Ok(self.originals().await?.contains(original))
    }

    pub(crate) async fn originals(&self) -> Result<Vec<DatasetName>, StoreError> {
        self.readers.run(|connection| schema::originals(connection)).await
    }

    pub(crate) async fn editlog(self: &Arc<Self>, original: &DatasetName) -> Result<SqliteEditlog, StoreError> {
        let sql = Arc::new(LogSql::new(original));
        let shared = Arc::clone(&self.shared);
        let behind = move |connection: &mut rusqlite::Connection| {
            let version = schema::check(connection, &sql)?;
            Ok(!schema::is_current(version) || seal::is_behind(connection, &sql, shared.sealing.as_ref())?)
        };
        // What an older Stet or another program has appended is sealed now.
        if self.readers.run(behind).await? { self.initialise(original).await } else { self.opened(original).await }
    }

    async fn opened(self: &Arc<Self>, original: &DatasetName) -> Result<SqliteEditlog, StoreError> {
        let sql = Arc::new(LogSql::new(original));
        // Known to the writer and the watcher before the position is read, so that no commit in between is missed.
        let checked = Arc::clone(&sql);
        self.readers.run(move |connection| schema::check(connection, &checked).map(drop)).await?;
        self.shared.positions.add(&sql);
        let log = SqliteEditlog { editlogs: Arc::clone(self), sql };
        let position = log.position().await?;
        self.shared.positions.advance(original, position);
        Ok(log)
    }

    pub(crate) fn set_file_bytes_max(&self, file_bytes_max: Option<u64>) {
        self.shared.file_bytes_max.store(file_bytes_max.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> EditlogStats {
        let shared = &self.shared;
        EditlogStats {
            commits: shared.commits.load(Ordering::Relaxed),
            requests: shared.requests.load(Ordering::Relaxed),
            events: shared.events.load(Ordering::Relaxed),
            failures: shared.failures.load(Ordering::Relaxed),
        }
    }
}

/// One editlog of a SQLite file.
#[derive(Clone)]
pub(crate) struct SqliteEditlog {
    editlogs: Arc<SqliteEditlogs>,
    sql: Arc<LogSql>,
}

impl SqliteEditlog {
    pub(crate) fn original(&self) -> &DatasetName {
        &self.sql.original
    }

    pub(crate) async fn append(&self, request: Append) -> Result<Vec<Outcome>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let request = writer::Request { sql: Arc::clone(&self.sql), append: request, answer };
        let timeout_ms = self.editlogs.settings.queue_timeout_ms;
        self.editlogs.requests.send_timeout(request, Duration::from_millis(timeout_ms)).await.map_err(|error| {
            match error {
                mpsc::error::SendTimeoutError::Timeout(_) => StoreError::Busy { waited_ms: timeout_ms },
                mpsc::error::SendTimeoutError::Closed(_) => StoreError::Closed,
            }
        })?;
        // Without an answer, the writer ended in the middle of the work.
        answered.await.unwrap_or(Err(StoreError::OutcomeUnknown { source: None }))
    }

    pub(crate) fn recent_since(&self, after: Option<EventId>, limit: usize) -> Option<Vec<Event>> {
        self.editlogs.shared.positions.recent_since(&self.sql.original, after, limit)
    }

    pub(crate) async fn read_since(&self, after: Option<EventId>, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(move |connection, path, sql| read::page(connection, path, sql, after, None, limit)).await
    }

    pub(crate) async fn history(
        &self,
        key: &str,
        column: Option<&str>,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let (key, column) = (key.to_owned(), column.map(str::to_owned));
        self.read(move |connection, path, sql| {
            read::history(connection, path, sql, &key, column.as_deref(), before, limit)
        })
        .await
    }

    pub(crate) async fn position(&self) -> Result<Option<EventId>, StoreError> {
        self.read(read::position).await
    }

    pub(crate) async fn count(&self) -> Result<u64, StoreError> {
        self.read(read::count).await
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<EventId>> {
        self.editlogs.shared.positions.add(&self.sql)
    }

    pub(crate) fn reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::open(&self.editlogs.shared.path, &self.sql.original)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection, &Path, &LogSql) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let sql = Arc::clone(&self.sql);
        let path = self.editlogs.readers.path().to_owned();
        self.editlogs.readers.run(move |connection| work(connection, &path, &sql)).await
    }
}

impl Shared {
    /// Fails if the path names another file than the one that was opened: what is written to a deleted file is lost.
    fn check_identity(&self) -> Result<(), StoreError> {
        if sqlite::file_identity(&self.path) == self.identity {
            Ok(())
        } else {
            Err(StoreError::FileReplaced { path: self.path.clone() })
        }
    }
}

impl NamedLog for LogSql {
    fn original(&self) -> &DatasetName {
        &self.original
    }
}

/// See [`super::EditlogReader::check_owner_sqlite`].
pub(crate) fn check_owner(path: &Path, node: Uuid) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let connection = sqlite::open(path, Access::Read, EditlogSettings::default().busy_timeout_ms)?;
    owner::check(&connection, path, node)
}

fn start(name: &str, path: &Path, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    match std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot start a thread for the editlogs");
            Err(StoreError::Busy { waited_ms: 0 })
        }
    }
}
