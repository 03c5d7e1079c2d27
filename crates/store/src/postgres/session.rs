//! Connections, each with a thread of its own, and a pool of them.
//!
//! The client of PostgreSQL blocks and must not be used, nor dropped, on a thread of an asynchronous runtime. So it lives
//! on a thread of its own, to which work is sent; whoever sends it may wait either way.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use postgres::Client;
use tokio::sync::{Semaphore, oneshot};

use super::config::PostgresConfig;
use crate::error::StoreError;

type Job = Box<dyn FnOnce(&mut Link) + Send>;

/// A connection that is made when it is first used, and again after it was lost.
pub(crate) struct Link {
    config: Arc<PostgresConfig>,
    client: Option<Client>,
}

impl Link {
    pub(crate) fn new(config: Arc<PostgresConfig>) -> Link {
        Link { config, client: None }
    }

    /// The connection; made if there is none.
    pub(crate) fn client(&mut self) -> Result<&mut Client, StoreError> {
        if self.client.as_ref().is_some_and(Client::is_closed) {
            self.client = None;
        }
        match &mut self.client {
            Some(client) => Ok(client),
            none => Ok(none.insert(self.config.connect()?)),
        }
    }

    /// The connection as it was left; for work that goes on in a transaction.
    ///
    /// Fails with `CannotConnect` if it was lost.
    pub(crate) fn same_client(&mut self) -> Result<&mut Client, StoreError> {
        match self.client.as_mut().filter(|client| !client.is_closed()) {
            Some(client) => Ok(client),
            None => Err(StoreError::CannotConnect {
                connection: self.config.to_string(),
                reason: "the connection was lost".to_owned(),
                source: None,
            }),
        }
    }

    /// Runs work that may run twice: again on a new connection if the one at hand turns out to be lost.
    pub(crate) fn read<T>(
        &mut self,
        mut work: impl FnMut(&mut Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let was_open = self.client.is_some();
        let result = work(self.client()?);
        let lost = self.client.as_ref().is_none_or(Client::is_closed);
        match result {
            Err(_) if lost && was_open => work(self.client()?),
            Err(error) => {
                // What failed may have left a transaction open.
                self.client = None;
                Err(error)
            }
            done => done,
        }
    }
}

/// A connection on its thread, which ends when this is dropped.
pub(crate) struct Session {
    jobs: mpsc::Sender<Job>,
}

impl Session {
    pub(crate) fn start(config: Arc<PostgresConfig>) -> Result<Session, StoreError> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let work = move || {
            let mut link = Link::new(config);
            while let Ok(job) = waiting.recv() {
                job(&mut link);
            }
        };
        start_thread("stet-postgres", work)?;
        Ok(Session { jobs })
    }

    /// Runs work on the connection's thread and waits for it on this one.
    pub(crate) fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Link) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.send(Box::new(move |link| {
            // Whoever stopped waiting does not need the answer.
            let _ = answer.send(work(link));
        }))?;
        answered.recv().unwrap_or(Err(StoreError::Closed))
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).map_err(|_| StoreError::Closed)
    }
}

/// A bounded pool of connections for reading.
pub(crate) struct Pool {
    config: Arc<PostgresConfig>,
    permits: Arc<Semaphore>,
    wait_timeout: Duration,
    /// Unused connections, at most as many as there are permits.
    idle: Mutex<Vec<Session>>,
}

impl Pool {
    pub(crate) fn new(config: Arc<PostgresConfig>) -> Arc<Pool> {
        let permits = Arc::new(Semaphore::new(config.connections_max.max(1)));
        let wait_timeout = Duration::from_millis(config.statement_timeout_ms.max(1_000));
        Arc::new(Pool { config, permits, wait_timeout, idle: Mutex::default() })
    }

    /// Runs a read, which may run twice if the connection turns out to be lost.
    ///
    /// Fails with `Busy` if no connection becomes free in time; else with what `work` fails.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Pool>,
        work: impl FnMut(&mut Client) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = tokio::time::timeout(self.wait_timeout, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Busy { waited_ms: self.wait_timeout.as_millis() as u64 })?
            .map_err(|_| StoreError::Closed)?;
        let session = self.take()?;
        let (answer, answered) = oneshot::channel();
        session.send(Box::new(move |link| {
            let result = link.read(work);
            // Held until the work ends, even if the caller stopped waiting for it.
            drop(permit);
            let _ = answer.send(result);
        }))?;
        let result = answered.await.unwrap_or(Err(StoreError::Closed));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        result
    }

    /// [`Pool::read`] for threads that may block. It does not wait for a permit: whoever blocks a thread has one of few.
    pub(crate) fn read_blocking<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Client) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let session = self.take()?;
        let result = session.run_blocking(move |link| link.read(work));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.config.connections_max {
            idle.push(session);
        }
        result
    }

    fn take(&self) -> Result<Session, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(session) => Ok(session),
            None => Session::start(Arc::clone(&self.config)),
        }
    }
}

/// Starts a thread; `Busy` when the system has none left.
pub(crate) fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    match std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::error!(%error, "cannot start a thread for the database");
            Err(StoreError::Busy { waited_ms: 0 })
        }
    }
}
