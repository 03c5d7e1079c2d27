//! Which node the editlogs of a file belong to, and the one way by which events go.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction};
use uuid::Uuid;

use super::schema::{self, LogSql};
use crate::error::{Doing, StoreError};

const OWNER: &str = "CREATE TABLE IF NOT EXISTS main.stet_owner (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  node TEXT NOT NULL,
  name TEXT NOT NULL,
  since TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
CREATE TRIGGER IF NOT EXISTS main.stet_owner_refuse_update BEFORE UPDATE ON stet_owner
FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'the owner of an editlog does not change'); END;
CREATE TRIGGER IF NOT EXISTS main.stet_owner_refuse_delete BEFORE DELETE ON stet_owner
FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'the owner of an editlog does not change'); END";

/// Writes the node into the file, if no node is there.
pub(super) fn claim(transaction: &Transaction<'_>, path: &Path, node: Uuid, name: &str) -> Result<(), StoreError> {
    let writing = |error| StoreError::from_engine(path, Doing::Writing, error);
    if owner(transaction, path)?.is_none() {
        transaction.execute_batch(OWNER).map_err(writing)?;
        transaction
            .execute("INSERT INTO main.stet_owner (only, node, name) VALUES (1, ?1, ?2)", (node.to_string(), name))
            .map_err(writing)?;
    }
    check(transaction, path, node)
}

/// Fails with `OtherNode` if the file belongs to another node.
pub(super) fn check(connection: &Connection, path: &Path, node: Uuid) -> Result<(), StoreError> {
    match owner(connection, path)? {
        Some((id, name)) if id != node.to_string() => {
            Err(StoreError::OtherNode { path: path.to_owned(), owner: name, owner_id: id })
        }
        _ => Ok(()),
    }
}

/// The node that the file belongs to: id and name.
fn owner(connection: &Connection, path: &Path) -> Result<Option<(String, String)>, StoreError> {
    let reading = |error| StoreError::from_engine(path, Doing::Reading, error);
    let there: bool = connection
        .query_row("SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = 'stet_owner')", [], |row| row.get(0))
        .map_err(reading)?;
    if !there {
        return Ok(None);
    }
    connection
        .query_row("SELECT node, name FROM main.stet_owner", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(reading)
}

/// Makes the editlog anew, without its events. How many there were.
pub(super) fn reset(
    transaction: &Transaction<'_>,
    path: &Path,
    sql: &LogSql,
    only_empty: bool,
) -> Result<u64, StoreError> {
    let writing = |error| StoreError::from_engine(path, Doing::Writing, error);
    let mut events = 0;
    match schema::check(transaction, sql) {
        // One that is not there is made; one that is damaged is not hidden by a new one.
        Err(StoreError::NotInitialised { .. }) => return schema::create(transaction, sql).map(|()| 0),
        other => drop(other?),
    }
    if let Some(count) =
        transaction.query_row(&sql.count, [], |row| row.get::<_, i64>(0)).optional().map_err(writing)?
    {
        events = count.unsigned_abs();
    }
    if only_empty && events > 0 {
        return Err(StoreError::HasEvents { original: sql.original.clone(), events });
    }
    let original = sql.original.as_str();
    // Dropping a table takes its triggers and indexes along, and fires none of them.
    let tables = sql.objects.iter().chain(&sql.seal_objects).filter(|(_, made)| made.starts_with("CREATE TABLE"));
    for (name, _) in tables {
        transaction.execute_batch(&format!("DROP TABLE IF EXISTS main.\"{name}\"")).map_err(writing)?;
    }
    transaction.execute("DELETE FROM main.stet_editlogs WHERE original = ?1", [original]).map_err(writing)?;
    schema::create(transaction, sql)?;
    Ok(events)
}
