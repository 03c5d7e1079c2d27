//! A sealed editlog in PostgreSQL as it is, to be verified and proven.

use std::sync::Arc;

use postgres::Client;
use stet_editlog::Hash;
use stet_editlog::tile::{StoredHashes as _, Tile, TileTree};
use stet_editlog::tree::{consistency_proof, inclusion_proof};

use super::schema::{self, LogSql};
use super::seal::{Missing, Stored, hashes, sealed_row};
use crate::editlog::SealProgress;
use crate::editlog::sealed::EventsAndLinks;
use crate::error::{Doing, StoreError};
use crate::postgres::{Micros, Postgres, PostgresConfig, Session};

/// One state of an editlog: what is read is read in one transaction, however long that takes. Nothing is assumed about it,
/// not even that it is protected.
pub(crate) struct PostgresSealed {
    config: Arc<PostgresConfig>,
    session: Session,
    sql: Arc<LogSql>,
    /// Whether the tables of its seal are there.
    has_seal: bool,
}

impl PostgresSealed {
    pub(super) fn open(postgres: &Postgres, sql: Arc<LogSql>) -> Result<PostgresSealed, StoreError> {
        let config = Arc::clone(postgres.shared_config());
        let session = Session::start(Arc::clone(&config))?;
        let mut sealed = PostgresSealed { config, session, sql, has_seal: false };
        let (shared, for_sql) = (Arc::clone(&sealed.config), Arc::clone(&sealed.sql));
        sealed.has_seal = sealed.session.run_blocking(move |link| {
            let (config, sql, client) = (&*shared, &*for_sql, link.client()?);
            let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
            // Whoever takes what is read may be slow.
            client
                .batch_execute(
                    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
                     BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                )
                .map_err(reading)?;
            if schema::registered(config, client, sql)?.is_none() {
                return Err(StoreError::NotInitialised { original: sql.original.clone() });
            }
            let there = client.query_one(&format!("SELECT {}", sql.seal.tables), &[]);
            there.and_then(|row| row.try_get::<_, bool>(0)).map_err(reading)
        })?;
        Ok(sealed)
    }

    /// What protects the log and is missing or changed.
    pub(crate) fn protection(&self) -> Result<(), StoreError> {
        self.run(schema::check)
    }

    pub(crate) fn last_event(&self) -> Result<u64, StoreError> {
        self.run(|config, client, sql| number(config, client, &sql.seal.last_event))
    }

    pub(crate) fn size(&self) -> Result<u64, StoreError> {
        if !self.has_seal {
            return Ok(0);
        }
        self.run(|config, client, sql| number(config, client, &sql.seal.size))
    }

    /// The checkpoints, the last one first, at most `limit` of them.
    pub(crate) fn checkpoints(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        if !self.has_seal {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run(move |config, client, sql| {
            let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
            let rows = client.query(&sql.seal.checkpoints, &[&limit]).map_err(reading)?;
            rows.iter().map(|row| row.try_get(0).map_err(reading)).collect()
        })
    }

    pub(crate) fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<(u64, Hash)>, StoreError> {
        if !self.has_seal {
            return Ok(Vec::new());
        }
        self.run(move |config, client, sql| hashes(config, client, sql, level, start, count))
    }

    /// The events after an id, each with its place in the chain of its writer.
    pub(crate) fn events(&self, after: i64, limit: usize) -> Result<EventsAndLinks, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let has_seal = self.has_seal;
        self.run(move |config, client, sql| {
            let statement = if has_seal { &sql.seal.events } else { &sql.seal.events_alone };
            let rows = client
                .query(statement, &[&after, &limit])
                .map_err(|error| StoreError::from_postgres(config, Doing::Reading, error))?;
            let (mut events, mut links) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
            for row in &rows {
                let sealed = sealed_row(config, row, Missing::Keep)?;
                events.push(sealed.event);
                links.push(sealed.link);
            }
            Ok((events, links))
        })
    }

    pub(crate) fn prove_inclusion(&self, index: u64, size: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        self.run(move |config, client, sql| inclusion_proof(&TileTree(&Stored::new(config, client, sql)), index, size))
    }

    pub(crate) fn prove_consistency(&self, old_size: u64, size: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        self.run(move |config, client, sql| {
            consistency_proof(&TileTree(&Stored::new(config, client, sql)), old_size, size)
        })
    }

    pub(crate) fn tile(&self, tile: Tile) -> Result<Vec<Hash>, StoreError> {
        let start = tile.index * stet_editlog::tile::TILE_HASHES;
        self.run(move |config, client, sql| {
            Stored::new(config, client, sql).hashes(tile.level, start, u64::from(tile.width))
        })
    }

    pub(crate) fn progress(&self) -> Result<SealProgress, StoreError> {
        if !self.has_seal {
            return Ok(SealProgress { events: self.last_event()?, sealed: 0, behind_ms: None });
        }
        self.run(progress)
    }

    /// Runs a read in the transaction. It is never run again on another connection, which would see another state.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PostgresConfig, &mut Client, &LogSql) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (config, sql) = (Arc::clone(&self.config), Arc::clone(&self.sql));
        self.session.run_blocking(move |link| work(&config, link.same_client()?, &sql))
    }
}

/// How far a log is sealed.
pub(super) fn progress(config: &PostgresConfig, client: &mut Client, sql: &LogSql) -> Result<SealProgress, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let row = client.query_one(&sql.seal.progress, &[]).map_err(reading)?;
    let number = |place: usize| row.try_get::<_, i64>(place).map(i64::unsigned_abs).map_err(reading);
    let oldest: Option<Micros> = row.try_get(2).map_err(reading)?;
    let now: Micros = row.try_get(3).map_err(reading)?;
    let behind_ms = oldest.map(|oldest| now.0.saturating_sub(oldest.0).max(0).unsigned_abs() / 1000);
    Ok(SealProgress { events: number(0)?, sealed: number(1)?, behind_ms })
}

fn number(config: &PostgresConfig, client: &mut Client, statement: &str) -> Result<u64, StoreError> {
    let number = client.query_one(statement, &[]).and_then(|row| row.try_get::<_, i64>(0));
    number.map(i64::unsigned_abs).map_err(|error| StoreError::from_postgres(config, Doing::Reading, error))
}
