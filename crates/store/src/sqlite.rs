//! Opening SQLite files, and a pool of connections for work that must not block the runtime.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::error::{Doing, StoreError};

/// The journal is cut back to this size after a checkpoint.
const JOURNAL_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// The journal is copied into the file when it has this many pages. More than the engine's own 1,000: under many edits at
/// once the same pages are written again and again, and the copying makes everybody wait for the disk twice more.
const JOURNAL_PAGES_CHECKPOINT: i64 = 8_000;

/// The most memory for pages that a connection that writes keeps.
const WRITER_CACHE_KIBIBYTES_MAX: i64 = 32 * 1024;

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Write, and create the file if there is none.
    Create,
    /// Write a file that is there.
    Write,
    /// Read only: the file is never changed.
    Read,
}

/// Makes an empty file that nobody but its owner reads, if there is none; SQLite gives its journals the same rights.
pub(crate) fn create_private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Whatever else is wrong with the path is told by opening it.
    let _ = options.open(path);
}

/// Opens a SQLite file. Writers use a write-ahead log and wait for the disk at every commit.
pub(crate) fn open(path: &Path, access: Access, busy_timeout_ms: u64) -> Result<Connection, StoreError> {
    // Without SQLITE_OPEN_URI no part of a path has a meaning of its own.
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
        | match access {
            Access::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
    let opening = |error| StoreError::from_engine(path, Doing::Opening, error);
    let prepare = |connection: Connection| {
        connection.busy_timeout(Duration::from_millis(busy_timeout_ms))?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "trusted_schema", false)?;
        // A statement is planned once, whatever is bound to it. Without statistics, which no file of ours has, another plan
        // would be the same one, made anew at every use.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // The first statement that reads the file: what is not a database is found out here.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(connection)
    };
    let opened = Connection::open_with_flags(path, flags).and_then(prepare);
    let connection = match opened {
        Err(error) if access == Access::Read && has_no_journal(path) => {
            let unchanging = Connection::open_with_flags(unchanging_name(path), flags | OpenFlags::SQLITE_OPEN_URI);
            unchanging.and_then(prepare).map_err(|_| opening(error))?
        }
        opened => opened.map_err(opening)?,
    };
    if access == Access::Read {
        connection.pragma_update(None, "query_only", true).map_err(opening)?;
        return Ok(connection);
    }
    if connection.is_readonly("main").map_err(opening)? {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)).map_err(opening)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(opening)?;
    connection.pragma_update(None, "recursive_triggers", true).map_err(opening)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIBIBYTES_MAX).map_err(opening)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(opening)?;
    connection
        .pragma_update_and_check(None, "wal_autocheckpoint", JOURNAL_PAGES_CHECKPOINT, |row| row.get::<_, i64>(0))
        .map_err(opening)?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", JOURNAL_BYTES_MAX, |row| row.get::<_, i64>(0))
        .map_err(opening)?;
    Ok(connection)
}

/// An index of a journal is at least this long, in bytes, once somebody has used the database.
const JOURNAL_INDEX_BYTES_MIN: u64 = 32 * 1024;

/// Whether all of a database is in its file, and nobody has it open.
fn has_no_journal(path: &Path) -> bool {
    let bytes_beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        std::fs::metadata(name).map_or(0, |metadata| metadata.len())
    };
    path.is_file() && bytes_beside("-wal") == 0 && bytes_beside("-shm") < JOURNAL_INDEX_BYTES_MIN
}

/// The name by which SQLite reads a file as one that nobody changes: without the files beside it, which it cannot make on a
/// disk that may only be read or is full.
fn unchanging_name(path: &Path) -> String {
    use std::fmt::Write;
    let mut name = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        // Writing to a String cannot fail.
        let _ = match byte {
            b'/' | b'.' | b'-' | b'_' => write!(name, "{}", char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => write!(name, "{}", char::from(*byte)),
            byte => write!(name, "%{byte:02X}"),
        };
    }
    name.push_str("?immutable=1");
    name
}

/// A bounded pool of connections to one file. Work runs on the runtime's blocking threads.
#[derive(Debug)]
pub(crate) struct Pool {
    path: PathBuf,
    access: Access,
    busy_timeout_ms: u64,
    wait_timeout: Duration,
    permits: Arc<Semaphore>,
    /// Open and unused connections, at most as many as there are permits.
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(crate) fn new(
        path: &Path,
        access: Access,
        connections_max: usize,
        busy_timeout_ms: u64,
        wait_timeout: Duration,
    ) -> Arc<Pool> {
        Arc::new(Pool {
            path: path.to_owned(),
            access,
            busy_timeout_ms,
            wait_timeout,
            permits: Arc::new(Semaphore::new(connections_max.max(1))),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Runs `work` on a connection. A connection on which something failed is closed, so that a lasting fault of one
    /// never outlives it.
    ///
    /// Fails with `Busy` if no connection becomes free in time; else with what `work` fails.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Pool>,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = tokio::time::timeout(self.wait_timeout, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Busy { waited_ms: self.wait_timeout.as_millis() as u64 })?
            .map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work ends, even if the caller stops waiting for it.
            let _permit = permit;
            let idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => open(&pool.path, pool.access, pool.busy_timeout_ms)?,
            };
            let result = work(&mut connection);
            if result.is_ok() && connection.is_autocommit() {
                pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            result
        });
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Which file a path names now, to notice that it was moved or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

/// The identity of the file at `path`; none if there is no file.
#[cfg(unix)]
pub(crate) fn file_identity(path: &Path) -> Option<FileIdentity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some(FileIdentity { device: metadata.dev(), inode: metadata.ino() })
}

/// The identity of the file at `path`; none if there is no file. Here files cannot be replaced while they are open.
#[cfg(not(unix))]
pub(crate) fn file_identity(path: &Path) -> Option<FileIdentity> {
    path.exists().then_some(FileIdentity { device: 0, inode: 0 })
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_planned_once_whatever_is_bound_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&folder.path().join("plans.sqlite"), Access::Create, 1_000).unwrap();
        connection.execute_batch("CREATE TABLE log (id INTEGER PRIMARY KEY, key TEXT)").unwrap();
        let mut statement = connection.prepare("SELECT key FROM log WHERE id > ?1 ORDER BY id LIMIT ?2").unwrap();
        for (after, limit) in [(0, 0), (1, 10), (7, 1), (100, 4_096)] {
            let rows = statement.query_map((after, limit), |row| row.get::<_, String>(0)).unwrap();
            assert_eq!(rows.count(), 0);
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
