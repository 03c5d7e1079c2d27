//! Editlogs in PostgreSQL: tables of a schema, written by one thread with a connection of its own and read through the
//! pool of the database. Several processes may share them.

mod append;
mod erase;
mod insert;
mod parts;
mod protection;
mod read;
mod schema;
mod seal;
mod sealed;
mod sealer;
mod secure;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postgres::Client;
use stet_domain::{DatasetName, Event, EventId};
use stet_editlog::erasure::Erasure;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::protection::protection;
pub use self::protection::{Protection, ProtectionFinding, ProtectionMode};
pub(crate) use self::read::PostgresReader;
use self::schema::LogSql;
pub(crate) use self::sealed::PostgresSealed;
pub(crate) use self::sealer::SealState;
pub(crate) use self::secure::{explain, run as run_secure, script};
use super::positions::{NamedLog, Positions};
use super::{Append, EditlogSettings, EditlogStats, EditlogTables, Faults, Outcome, SealProgress};
use crate::error::StoreError;
use crate::postgres::{Link, Postgres, PostgresConfig, start_thread};

/// How often it is looked whether everything is sealed, by those who wait for it.
const SETTLE_INTERVAL: Duration = Duration::from_millis(20);

/// A schema, or one table, of PostgreSQL that holds editlogs.
///
/// Three threads serve it, and end when it is dropped: the writer, which owns the only connection that appends; the
/// watcher, which looks for commits of other processes; and the sealer.
pub(crate) struct PostgresEditlogs {
    postgres: Postgres,
    tables: EditlogTables,
    shared: Arc<Shared>,
    settings: EditlogSettings,
    /// The writer ends when this is dropped.
    requests: mpsc::Sender<writer::Request>,
    /// The watcher ends when this is dropped.
    _watching: std::sync::mpsc::Sender<()>,
    /// The sealer ends when this is dropped.
    _sealing: std::sync::mpsc::Sender<()>,
}

/// What the threads share with the handles.
struct Shared {
    config: Arc<PostgresConfig>,
    faults: Option<Faults>,
    positions: Positions<LogSql>,
    /// How sealing goes, for each open log.
    seals: Mutex<HashMap<DatasetName, SealState>>,
    commits: AtomicU64,
    requests: AtomicU64,
    events: AtomicU64,
    failures: AtomicU64,
}

impl NamedLog for LogSql {
    fn original(&self) -> &DatasetName {
        &self.original
    }
}

impl PostgresEditlogs {
    pub(crate) fn open(
        postgres: &Postgres,
        tables: EditlogTables,
        settings: EditlogSettings,
    ) -> Result<Arc<PostgresEditlogs>, StoreError> {
        let shared = Arc::new(Shared {
            config: Arc::clone(postgres.shared_config()),
            faults: settings.faults.clone(),
            positions: Positions::default(),
            seals: Mutex::default(),
            commits: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            events: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        let (requests, waiting) = mpsc::channel(settings.queue_requests_max.max(1));
        let for_writer = Arc::clone(&shared);
        start_thread("stet-editlog-write", move || writer::run(&for_writer, waiting))?;

        let (watching, stopped) = std::sync::mpsc::channel();
        let for_watcher = Arc::clone(&shared);
        let interval = Duration::from_millis(settings.poll_interval_ms.max(1));
        start_thread("stet-editlog-watch", move || watch_others(&for_watcher, interval, &stopped))?;

        let (sealing, stopped) = std::sync::mpsc::channel();
        if let Some(with) = settings.sealing.clone() {
            let for_sealer = Arc::clone(&shared);
            start_thread("stet-editlog-seal", move || sealer::run(&for_sealer, &with, &stopped))?;
        }

        Ok(Arc::new(PostgresEditlogs {
            postgres: postgres.clone(),
            tables,
            shared,
            settings,
            requests,
            _watching: watching,
            _sealing: sealing,
        }))
    }

    pub(crate) async fn initialise(self: &Arc<Self>, original: &DatasetName) -> Result<PostgresEditlog, StoreError> {
        let sql = Arc::new(self.tables.sql(original)?);
        let config = Arc::clone(&self.shared.config);
        self.postgres.pool().read(move |client| schema::create(&config, client, &sql)).await?;
        self.editlog(original).await
    }

    pub(crate) async fn is_initialised(&self, original: &DatasetName) -> Result<bool, StoreError> {
        let sql = self.tables.sql(original)?;
        self.read(move |config, client| Ok(schema::registered(config, client, &sql)?.is_some())).await
    }

    pub(crate) async fn originals(&self) -> Result<Vec<DatasetName>, StoreError> {
        let schema = self.tables.schema.clone();
        self.read(move |config, client| schema::originals(config, client, &schema)).await
    }

    pub(crate) async fn editlog(self: &Arc<Self>, original: &DatasetName) -> Result<PostgresEditlog, StoreError> {
        let sql = Arc::new(self.tables.sql(original)?);
        let checked = Arc::clone(&sql);
        self.read(move |config, client| schema::check(config, client, &checked)).await?;
        // Known to the watcher before the position is read, so that no commit in between is missed.
        self.shared.positions.add(&sql);
        let log = PostgresEditlog { editlogs: Arc::clone(self), sql };
        let position = log.position().await?;
        self.shared.positions.advance(original, position);
        Ok(log)
    }

    /// See [`super::Editlogs::reset`].
    pub(crate) async fn reset(&self, original: &DatasetName, only_empty: bool) -> Result<u64, StoreError> {
        let sql = self.tables.sql(original)?;
        let config = Arc::clone(&self.shared.config);
        let session = crate::postgres::Session::start(Arc::clone(&config))?;
        let resetting = tokio::task::spawn_blocking(move || {
            session.run_blocking(move |link| schema::reset(&config, link.client()?, &sql, only_empty))
        });
        let events = resetting.await.unwrap_or(Err(StoreError::Closed))?;
        // Who follows the old log is told that it has ended.
        self.shared.positions.remove(original);
        Ok(events)
    }

    /// See [`super::Editlogs::erase`].
    pub(crate) async fn erase(
        &self,
        original: &DatasetName,
        erasure: Erasure,
        admin_url: Option<String>,
    ) -> Result<u64, StoreError> {
        let sql = self.tables.sql(original)?;
        let config = Arc::clone(&self.shared.config);
        let erasing = tokio::task::spawn_blocking(move || {
            // The client must not be used on a thread of the runtime.
            std::thread::scope(|scope| {
                let erasing = scope.spawn(|| match &admin_url {
                    Some(url) => {
                        let (admin, password) = secure::administrator(&config, url)?;
                        erase::erase(&admin, &mut admin.connect_with(password.as_deref())?, &sql, &erasure)
                    }
                    None => erase::erase(&config, &mut config.connect()?, &sql, &erasure),
                });
                erasing.join().unwrap_or(Err(StoreError::Closed))
            })
        });
        let erased = erasing.await.unwrap_or(Err(StoreError::Closed))?;
        self.shared.positions.forget_recent(original);
        Ok(erased)
    }

    /// How sealing goes; none if it was not tried yet.
    pub(crate) fn seal_state(&self, original: &DatasetName) -> Option<SealState> {
        self.shared.seals.lock().unwrap_or_else(PoisonError::into_inner).get(original).cloned()
    }

    /// Waits until everything that is known is sealed, if this process is the one that does, and `at_most` so long.
    pub(crate) async fn settle(&self, at_most: Duration) {
        let waiting = || {
            let seals = self.shared.seals.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.positions.known().iter().any(|sql| {
                let last = self.shared.positions.add(sql).borrow().map_or(0, |id| id.0.unsigned_abs());
                seals.get(&sql.original).is_some_and(|state| state.leads && state.sealed < last)
            })
        };
        let settled = async {
            while waiting() {
                tokio::time::sleep(SETTLE_INTERVAL).await;
            }
        };
        // What is not sealed by then is sealed by whoever opens the log next.
        let _ = tokio::time::timeout(at_most, settled).await;
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

    async fn read<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&PostgresConfig, &mut Client) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let config = Arc::clone(&self.shared.config);
        self.postgres.pool().read(move |client| work(&config, client)).await
    }
}

/// One editlog in PostgreSQL.
#[derive(Clone)]
pub(crate) struct PostgresEditlog {
    editlogs: Arc<PostgresEditlogs>,
    sql: Arc<LogSql>,
}

impl PostgresEditlog {
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
        self.read(move |config, client, sql| read::page(config, client, sql, after, None, limit)).await
    }

    pub(crate) async fn history(
        &self,
        key: &str,
        column: Option<&str>,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let (key, column) = (key.to_owned(), column.map(str::to_owned));
        self.read(move |config, client, sql| read::history(config, client, sql, &key, column.as_deref(), before, limit))
            .await
    }

    pub(crate) async fn seal_progress(&self) -> Result<SealProgress, StoreError> {
        self.read(sealed::progress).await
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

    pub(crate) fn reader(&self) -> Result<PostgresReader, StoreError> {
        PostgresReader::open(&self.editlogs.postgres, Arc::clone(&self.sql))
    }

    async fn read<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&PostgresConfig, &mut Client, &LogSql) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let sql = Arc::clone(&self.sql);
        self.editlogs.read(move |config, client| work(config, client, &sql)).await
    }
}

impl EditlogTables {
    fn sql(&self, original: &DatasetName) -> Result<LogSql, StoreError> {
        let table = self.table.clone().unwrap_or_else(|| original.editlog().to_string());
        LogSql::new(original, &self.schema, &table)
    }

    /// A blocking reader of the editlog of an original in these tables.
    pub(super) fn reader(&self, postgres: &Postgres, original: &DatasetName) -> Result<PostgresReader, StoreError> {
        PostgresReader::open(postgres, Arc::new(self.sql(original)?))
    }

    /// One state of the editlog of an original, to be verified.
    pub(super) fn sealed(&self, postgres: &Postgres, original: &DatasetName) -> Result<PostgresSealed, StoreError> {
        PostgresSealed::open(postgres, Arc::new(self.sql(original)?))
    }

    /// Whether the editlog of an original is in these tables.
    pub(super) fn is_initialised(&self, postgres: &Postgres, original: &DatasetName) -> Result<bool, StoreError> {
        PostgresReader::is_initialised(postgres, Arc::new(self.sql(original)?))
    }
}

/// Looks at the ends of the open logs every `interval` until the other end of `stopped` is dropped. Asking costs a look at
/// one page of an index; a notification would cost every writer a lock that all databases of the server share.
fn watch_others(shared: &Shared, interval: Duration, stopped: &Receiver<()>) {
    let mut link = Link::new(Arc::clone(&shared.config));
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        for sql in shared.positions.known() {
            // A database that is away is asked again at the next round; whoever reads or writes is told.
            let Ok(position) = link.read(|client| read::position(&shared.config, client, &sql)) else { break };
            shared.positions.advance(&sql.original, position);
        }
    }
}
