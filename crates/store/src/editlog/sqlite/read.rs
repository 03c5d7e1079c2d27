//! Reading an editlog in SQLite.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};
use stet_domain::{ClientEventId, DatasetName, Event, EventId, Key, Login};
use uuid::Uuid;

use super::schema::{self, LogSql};
use crate::editlog::READ_EVENTS_MAX;
use crate::error::{Doing, StoreError};
use crate::sqlite::{self, Access};

/// How many events a scan reads before it lets go of the database.
const SCAN_EVENTS: usize = 4_096;

/// How long a reader waits for a writer that is recovering the file.
pub(super) const READER_BUSY_TIMEOUT_MS: u64 = 5_000;

/// A blocking reader of one editlog with a connection of its own.
pub(crate) struct SqliteReader {
    path: PathBuf,
    connection: Connection,
    sql: Arc<LogSql>,
}

impl SqliteReader {
    pub(crate) fn open(path: &Path, original: &DatasetName) -> Result<SqliteReader, StoreError> {
        let connection = sqlite::open(path, Access::Read, READER_BUSY_TIMEOUT_MS)?;
        let sql = Arc::new(LogSql::new(original));
        schema::check(&connection, &sql)?;
        Ok(SqliteReader { path: path.to_owned(), connection, sql })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn sql(&self) -> &LogSql {
        &self.sql
    }

    pub(crate) fn is_initialised(path: &Path, original: &DatasetName) -> Result<bool, StoreError> {
        if !path.exists() {
            return Ok(false);
        }
        Ok(SqliteReader::originals(path)?.contains(original))
    }

    pub(crate) fn originals(path: &Path) -> Result<Vec<DatasetName>, StoreError> {
        let connection = sqlite::open(path, Access::Read, READER_BUSY_TIMEOUT_MS)?;
        schema::originals(&connection)
    }

    pub(crate) fn scan(
        &self,
        after: Option<EventId>,
        up_to: Option<EventId>,
        visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<EventId>, StoreError> {
        let mut visited = after;
        loop {
            let page = page(&self.connection, &self.path, &self.sql, visited, up_to, SCAN_EVENTS)?;
            let ended = page.len() < SCAN_EVENTS;
            for event in page {
                visited = Some(event.id);
                if visit(event).is_break() {
                    return Ok(visited);
                }
            }
            if ended {
                return Ok(visited);
            }
        }
    }

    pub(crate) fn read_since(&self, after: Option<EventId>, limit: usize) -> Result<Vec<Event>, StoreError> {
        page(&self.connection, &self.path, &self.sql, after, None, limit)
    }

    pub(crate) fn history(
        &self,
        key: &str,
        column: Option<&str>,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        history(&self.connection, &self.path, &self.sql, key, column, before, limit)
    }

    pub(crate) fn position(&self) -> Result<Option<EventId>, StoreError> {
        position(&self.connection, &self.path, &self.sql)
    }

    pub(crate) fn count(&self) -> Result<u64, StoreError> {
        count(&self.connection, &self.path, &self.sql)
    }
}

/// One page of the log. The ids must follow each other: a gap means that somebody took an event away.
pub(super) fn page(
    connection: &Connection,
    path: &Path,
    sql: &LogSql,
    after: Option<EventId>,
    up_to: Option<EventId>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let reading = |error| StoreError::from_engine(path, Doing::Reading, error);
    let after = after.map_or(0, |id| id.0.max(0));
    let up_to = up_to.map_or(i64::MAX, |id| id.0);
    let mut statement = connection.prepare_cached(&sql.since).map_err(reading)?;
    let mut rows = statement.query((after, up_to, limit_of(limit))).map_err(reading)?;
    let mut events = Vec::new();
    let mut expected = after;
    while let Some(row) = rows.next().map_err(reading)? {
        let event = event(row).map_err(reading)?;
        expected = expected.saturating_add(1);
        if event.id.0 != expected {
            return Err(missing(path, sql, expected));
        }
        events.push(event);
    }
    Ok(events)
}

/// Says that somebody took an event away.
pub(super) fn missing(path: &Path, sql: &LogSql, id: i64) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        what: format!("event {id} is missing from the editlog of `{}`", sql.original),
        source: None,
    }
}

pub(super) fn history(
    connection: &Connection,
    path: &Path,
    sql: &LogSql,
    key: &str,
    column: Option<&str>,
    before: Option<EventId>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let reading = |error| StoreError::from_engine(path, Doing::Reading, error);
    let before = before.map_or(i64::MAX, |id| id.0);
    let limit = limit_of(limit);
    match column {
        Some(column) => {
            let mut statement = connection.prepare_cached(&sql.history_of_cell).map_err(reading)?;
            let events = statement.query_map((key, before, limit, column), event).map_err(reading)?;
            events.collect::<Result<_, _>>().map_err(reading)
        }
        None => {
            let mut statement = connection.prepare_cached(&sql.history_of_row).map_err(reading)?;
            let events = statement.query_map((key, before, limit), event).map_err(reading)?;
            events.collect::<Result<_, _>>().map_err(reading)
        }
    }
}

pub(super) fn position(connection: &Connection, path: &Path, sql: &LogSql) -> Result<Option<EventId>, StoreError> {
    let reading = |error| StoreError::from_engine(path, Doing::Reading, error);
    let mut statement = connection.prepare_cached(&sql.last).map_err(reading)?;
    let id = statement.query_row([], |row| row.get(0)).optional().map_err(reading)?;
    Ok(id.map(EventId))
}

pub(super) fn count(connection: &Connection, path: &Path, sql: &LogSql) -> Result<u64, StoreError> {
    let reading = |error| StoreError::from_engine(path, Doing::Reading, error);
    let count: i64 = connection.query_row(&sql.count, [], |row| row.get(0)).map_err(reading)?;
    Ok(count.unsigned_abs())
}

/// An event from a row with all columns in the order of the table.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: EventId(row.get(0)?),
        date: parsed(row, 1)?,
        user: parsed::<Login>(row, 2)?,
        action: parsed(row, 3)?,
        key: Key::from_text(row.get::<_, String>(4)?),
        column_name: row.get(5)?,
        value: row.get(6)?,
        previous: row.get(7)?,
        batch_id: parsed::<Uuid>(row, 8)?,
        source: parsed(row, 9)?,
        reason: row.get(10)?,
        event_id: ClientEventId(parsed::<Uuid>(row, 11)?),
    })
}

/// The text of a column as the type that it must be.
pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit.min(READ_EVENTS_MAX)).unwrap_or(i64::MAX)
}
