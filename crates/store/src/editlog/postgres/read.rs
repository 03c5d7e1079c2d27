//! Reading an editlog in PostgreSQL.

use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use postgres::{Client, GenericClient, Row};
use stet_domain::{ClientEventId, Event, EventId, Key, LogDate};
use uuid::Uuid;

use super::schema::{self, LogSql};
use crate::editlog::READ_EVENTS_MAX;
use crate::error::{Doing, EngineError, StoreError};
use crate::postgres::{Micros, Postgres, PostgresConfig, Session, decode, encode};

/// How many events a scan reads before it lets go of the database.
const SCAN_EVENTS: usize = 4_096;

/// A blocking reader of one editlog with a connection of its own.
pub(crate) struct PostgresReader {
    config: Arc<PostgresConfig>,
    session: Session,
    sql: Arc<LogSql>,
}

impl PostgresReader {
    pub(super) fn open(postgres: &Postgres, sql: Arc<LogSql>) -> Result<PostgresReader, StoreError> {
        let config = Arc::clone(postgres.shared_config());
        let reader = PostgresReader { session: Session::start(Arc::clone(&config))?, config, sql };
        reader.read(schema::check_events)?;
        Ok(reader)
    }

    pub(super) fn is_initialised(postgres: &Postgres, sql: Arc<LogSql>) -> Result<bool, StoreError> {
        let config = Arc::clone(postgres.shared_config());
        let reader = PostgresReader { session: Session::start(Arc::clone(&config))?, config, sql };
        reader.read(|config, client, sql| Ok(schema::registered(config, client, sql)?.is_some()))
    }

    pub(crate) fn scan(
        &self,
        after: Option<EventId>,
        up_to: Option<EventId>,
        visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<EventId>, StoreError> {
        let mut visited = after;
        loop {
            let page = self.page(visited, up_to, SCAN_EVENTS)?;
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
        self.page(after, None, limit)
    }

    fn page(&self, after: Option<EventId>, up_to: Option<EventId>, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(move |config, client, sql| page(config, client, sql, after, up_to, limit))
    }

    pub(crate) fn history(
        &self,
        key: &str,
        column: Option<&str>,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let (key, column) = (key.to_owned(), column.map(str::to_owned));
        self.read(move |config, client, sql| history(config, client, sql, &key, column.as_deref(), before, limit))
    }

    pub(crate) fn position(&self) -> Result<Option<EventId>, StoreError> {
        self.read(position)
    }

    pub(crate) fn count(&self) -> Result<u64, StoreError> {
        self.read(count)
    }

    fn read<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&PostgresConfig, &mut Client, &LogSql) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (config, sql) = (Arc::clone(&self.config), Arc::clone(&self.sql));
        self.session.run_blocking(move |link| link.read(|client| work(&config, client, &sql)))
    }
}

/// One page of the log. The ids must follow each other: a gap means that somebody took an event away.
pub(super) fn page(
    config: &PostgresConfig,
    client: &mut Client,
    sql: &LogSql,
    after: Option<EventId>,
    up_to: Option<EventId>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let after = after.map_or(0, |id| id.0.max(0));
    let up_to = up_to.map_or(i64::MAX, |id| id.0);
    let rows = client
        .query(&sql.since, &[&after, &up_to, &limit_of(limit)])
        .map_err(|error| StoreError::from_postgres(config, Doing::Reading, error))?;
    let mut events = Vec::with_capacity(rows.len());
    for (row, expected) in rows.iter().zip(after.saturating_add(1)..) {
        let event = event(config, row)?;
        if event.id.0 != expected {
            return Err(damaged(config, format!("event {expected} is missing from the editlog of `{}`", sql.original)));
        }
        events.push(event);
    }
    Ok(events)
}

pub(super) fn history(
    config: &PostgresConfig,
    client: &mut Client,
    sql: &LogSql,
    key: &str,
    column: Option<&str>,
    before: Option<EventId>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let (key, limit) = (encode(key), limit_of(limit));
    let before = before.map_or(i64::MAX, |id| id.0);
    let rows = match column.map(encode) {
        Some(column) => client.query(&sql.history_of_cell, &[&key, &before, &limit, &column]),
        None => client.query(&sql.history_of_row, &[&key, &before, &limit]),
    };
    let rows = rows.map_err(|error| StoreError::from_postgres(config, Doing::Reading, error))?;
    rows.iter().map(|row| event(config, row)).collect()
}

pub(super) fn position(
    config: &PostgresConfig,
    client: &mut Client,
    sql: &LogSql,
) -> Result<Option<EventId>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let row = client.query_opt(&sql.last, &[]).map_err(reading)?;
    row.map(|row| row.try_get(0).map(EventId)).transpose().map_err(reading)
}

pub(super) fn count(config: &PostgresConfig, client: &mut Client, sql: &LogSql) -> Result<u64, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let count: i64 = client.query_one(&sql.count, &[]).and_then(|row| row.try_get(0)).map_err(reading)?;
    Ok(count.unsigned_abs())
}

/// Events by their ids or event ids.
pub(super) fn events(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    statement: &postgres::Statement,
    ids: &(dyn postgres::types::ToSql + Sync),
) -> Result<Vec<Event>, StoreError> {
    let rows =
        client.query(statement, &[ids]).map_err(|error| StoreError::from_postgres(config, Doing::Writing, error))?;
    rows.iter().map(|row| event(config, row)).collect()
}

/// An event from a row with all columns in the order of the table.
pub(super) fn event(config: &PostgresConfig, row: &Row) -> Result<Event, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let text = |place: usize| row.try_get::<_, String>(place).map_err(reading);
    let perhaps =
        |place: usize| Ok::<_, StoreError>(row.try_get::<_, Option<String>>(place).map_err(reading)?.map(decode));
    Ok(Event {
        id: EventId(row.try_get(0).map_err(reading)?),
        date: LogDate::from_micros(row.try_get::<_, Micros>(1).map_err(reading)?.0),
        user: parsed(config, &text(2)?)?,
        action: parsed(config, &text(3)?)?,
        key: Key::from_text(decode(text(4)?)),
        column_name: perhaps(5)?,
        value: perhaps(6)?,
        previous: perhaps(7)?,
        batch_id: row.try_get::<_, Uuid>(8).map_err(reading)?,
        source: parsed(config, &text(9)?)?,
        reason: perhaps(10)?,
        event_id: ClientEventId(row.try_get(11).map_err(reading)?),
    })
}

fn parsed<T: FromStr>(config: &PostgresConfig, text: &str) -> Result<T, StoreError>
where
    T::Err: std::error::Error,
{
    text.parse().map_err(|error: T::Err| damaged(config, error.to_string()))
}

fn damaged(config: &PostgresConfig, what: String) -> StoreError {
    StoreError::Damaged { path: config.to_string().into(), what, source: None::<EngineError> }
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit.min(READ_EVENTS_MAX)).unwrap_or(i64::MAX)
}
