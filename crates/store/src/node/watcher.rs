//! Noticing that the database was written to, by whichever process.
//!
//! The number that tells it is SQLite's own (`PRAGMA data_version`), which takes and gives back a lock at every question. But
//! every commit changes the head of the index of the journal, a file that all processes share; as long as that is as it
//! was, so is the number. Reading it takes a sixth of the time.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;

use rusqlite::Connection;

use crate::error::StoreError;
use crate::sqlite::{self, Access};

use super::BUSY_TIMEOUT_MS;

/// How long the head of the journal's index is: the first of its two copies, which a reader looks at first.
const HEAD_BYTES: usize = 48;

type Head = [u8; HEAD_BYTES];

/// Who watches a database.
#[derive(Debug)]
pub(super) struct Watcher {
    connection: Connection,
    /// The index of the journal, if it can be read. It is never closed: with any handle that a process closes, it loses all
    /// locks that it has on the file, and SQLite has some.
    index: Option<ManuallyDrop<File>>,
    /// The number that was given last, and the head under which it was.
    known: Option<(Head, i64)>,
}

impl Watcher {
    pub(super) fn open(path: &Path) -> Result<Watcher, StoreError> {
        let connection = sqlite::open(path, Access::Read, BUSY_TIMEOUT_MS)?;
        let mut index = path.as_os_str().to_owned();
        index.push("-shm");
        // The connection that is open keeps the file in its place.
        let index = File::open(index).ok().map(ManuallyDrop::new);
        Ok(Watcher { connection, index, known: None })
    }

    /// See [`super::NodeDatabase::version`].
    pub(super) fn version(&mut self) -> rusqlite::Result<i64> {
        // Read before the number is asked for: a commit in between makes the head another one.
        let head = self.index.as_ref().and_then(|index| head_of(index).ok());
        if let (Some(head), Some((known, version))) = (&head, &self.known)
            && head == known
        {
            return Ok(*version);
        }
        let version = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))?;
        self.known = head.map(|head| (head, version));
        Ok(version)
    }
}

#[cfg(unix)]
fn head_of(index: &File) -> io::Result<Head> {
    let mut head = [0; HEAD_BYTES];
    std::os::unix::fs::FileExt::read_exact_at(index, &mut head, 0)?;
    Ok(head)
}

/// Elsewhere the number is asked for each time.
#[cfg(not(unix))]
fn head_of(_: &File) -> io::Result<Head> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_of_another_connection_gives_another_number_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watched.sqlite");
        let writer = sqlite::open(&path, Access::Create, 1_000).unwrap();
        writer.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        let mut watcher = Watcher::open(&path).unwrap();
        let mut known = watcher.version().unwrap();
        assert_eq!(watcher.known.is_some(), cfg!(unix));
        for n in 0..200 {
            assert_eq!(watcher.version().unwrap(), known);
            writer.execute("INSERT INTO t (n) VALUES (?1)", [n]).unwrap();
            if n % 20 == 7 {
                // The journal begins anew.
                writer.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
            }
            let now = watcher.version().unwrap();
            assert_ne!(now, known, "after commit {n}");
            known = now;
        }
    }
}
