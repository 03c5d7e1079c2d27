//! Sealed editlogs, as they are read to be verified and proven.

use std::path::Path;
use std::sync::Arc;

use stet_domain::DatasetName;
use stet_editlog::tile::{StoredHashes, TileTree};
use stet_editlog::tree::{consistency_proof, inclusion_proof};
use stet_editlog::{Event, Hash, SignerKey};

use super::EditlogTables;
use super::postgres::PostgresSealed;
use super::sqlite::{READ_HASHES, SqliteSealed};
use crate::error::StoreError;
use crate::postgres::Postgres;

/// How many events are read at a time.
const PAGE_EVENTS: usize = READ_HASHES as usize;

/// How long a verification waits for a writer that is recovering the file.
const BUSY_TIMEOUT_MS: u64 = 5_000;

/// How the editlogs of a place are sealed.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The key that signs checkpoints.
    pub signer: Arc<SignerKey>,
    /// What comes before the name of the original dataset in the origin of a log: together they are a name that no other
    /// log has.
    pub origin_prefix: String,
}

impl Sealing {
    /// The origin of the log of an original dataset.
    pub fn origin(&self, original: &DatasetName) -> String {
        format!("{}/{original}", self.origin_prefix)
    }
}

/// One state of an editlog with its seal, to be verified: nothing is assumed about it, not even that the database still
/// protects it. Blocking.
pub struct SealedLog(SealedBackend);

enum SealedBackend {
    Sqlite(Box<SqliteSealed>),
    Postgres(PostgresSealed),
}

/// The place of an event in the hash chain of the process that wrote it; see [`stet_editlog::chain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterLink {
    /// The writer's name.
    pub writer: String,
    /// The number of the event among those of its writer, from 1.
    pub number: u64,
    /// The hash over the writer's event before it.
    pub previous: Hash,
}

/// How far an editlog is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealProgress {
    /// The id of the last event; 0 for an empty log.
    pub events: u64,
    /// How many events the last checkpoint covers.
    pub sealed: u64,
    /// How long the first event that it does not cover has been waiting; none if it covers all, or that is not known.
    pub behind_ms: Option<u64>,
}

impl SealedLog {
    /// Opens the editlog of an original dataset in a SQLite file.
    ///
    /// Fails with `CannotOpen`, `NotADatabase` or `NotInitialised`.
    pub fn open_sqlite(path: &Path, original: &DatasetName) -> Result<SealedLog, StoreError> {
        Ok(SealedLog(SealedBackend::Sqlite(Box::new(SqliteSealed::open(path, original, BUSY_TIMEOUT_MS)?))))
    }

    /// Opens the editlog of an original dataset in tables of PostgreSQL, with a connection of its own.
    ///
    /// Fails with `CannotConnect` or `NotInitialised`.
    pub fn open_postgres(
        postgres: &Postgres,
        tables: &EditlogTables,
        original: &DatasetName,
    ) -> Result<SealedLog, StoreError> {
        Ok(SealedLog(SealedBackend::Postgres(tables.sealed(postgres, original)?)))
    }

    /// How far the log is sealed.
    pub fn progress(&self) -> Result<SealProgress, StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => {
                let note = log.checkpoints(1)?.into_iter().next();
                let sealed = note.and_then(|note| stet_editlog::Checkpoint::peek(&note).ok());
                let sealed = sealed.map_or(0, |checkpoint| checkpoint.size);
                Ok(SealProgress { events: log.last_event()?, sealed, behind_ms: None })
            }
            SealedBackend::Postgres(log) => log.progress(),
        }
    }

    /// Whether all that protects the log is there as it was made.
    ///
    /// Fails with `Altered` or `NewerVersion` if not.
    pub fn protection(&self) -> Result<(), StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => log.protection(),
            SealedBackend::Postgres(log) => log.protection(),
        }
    }

    /// The id of the last event; 0 for an empty log.
    pub fn last_event(&self) -> Result<u64, StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => log.last_event(),
            SealedBackend::Postgres(log) => log.last_event(),
        }
    }

    /// How many leaves are stored.
    pub fn size(&self) -> Result<u64, StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => log.size(),
            SealedBackend::Postgres(log) => log.size(),
        }
    }

    /// The stored checkpoints as signed notes, the last one first, at most `limit`.
    pub fn checkpoints(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => log.checkpoints(limit),
            SealedBackend::Postgres(log) => log.checkpoints(limit),
        }
    }

    /// Visits hashes of leaves and events in turns, a page of each: first the hashes, at their places and without gaps (a
    /// missing one is all zeros), then the events. At the end, whichever is longer goes on alone.
    ///
    /// Fails with what reading fails with, or with what `visit` fails.
    pub fn scan<E: From<StoreError>>(&self, visit: &mut dyn FnMut(SealedPage) -> Result<(), E>) -> Result<(), E> {
        let size = self.size()?;
        let (mut hashes, mut after, mut ended) = (0, i64::MIN, false);
        loop {
            let mut page = SealedPage::default();
            if hashes < size {
                let count = READ_HASHES.min(size - hashes);
                page.hashes = vec![Hash::default(); usize::try_from(count).unwrap_or_default()];
                for (place, hash) in self.hashes(0, hashes, count)? {
                    if let Some(slot) = usize::try_from(place - hashes).ok().and_then(|at| page.hashes.get_mut(at)) {
                        *slot = hash;
                    }
                }
                hashes += count;
            }
            page.hashes_ended = hashes >= size;
            if !ended {
                (page.events, page.links) = self.events(after, PAGE_EVENTS)?;
                ended = page.events.len() < PAGE_EVENTS;
                after = page.events.last().map_or(after, |event| event.id.cast_signed());
            }
            let done = ended && page.hashes_ended;
            visit(page)?;
            if done {
                return Ok(());
            }
        }
    }

    /// One event with what its leaf is made of; none if there is no such event.
    pub fn event(&self, id: u64) -> Result<Option<Event<'static>>, StoreError> {
        let after = i64::try_from(id).unwrap_or(i64::MAX).saturating_sub(1);
        let (found, _) = self.events(after, 1)?;
        Ok(found.into_iter().next().filter(|event| event.id == id))
    }

    /// The inclusion proof of the leaf `index`, from 0, in the tree of `size` leaves.
    ///
    /// Fails with `Damaged` if hashes are missing; none if there is no such leaf.
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => inclusion_proof(&TileTree(&log.tiles()), index, size),
            SealedBackend::Postgres(log) => log.prove_inclusion(index, size),
        }
    }

    /// The consistency proof between the trees of `old_size` and `size` leaves.
    ///
    /// Fails with `Damaged` if hashes are missing; none if the old tree is the larger one.
    pub fn prove_consistency(&self, old_size: u64, size: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => consistency_proof(&TileTree(&log.tiles()), old_size, size),
            SealedBackend::Postgres(log) => log.prove_consistency(old_size, size),
        }
    }

    /// The hashes of a tile, to be copied elsewhere.
    ///
    /// Fails with `Damaged` if some are missing.
    pub fn tile(&self, tile: stet_editlog::tile::Tile) -> Result<Vec<Hash>, StoreError> {
        let start = tile.index * stet_editlog::tile::TILE_HASHES;
        match &self.0 {
            SealedBackend::Sqlite(log) => log.tiles().hashes(tile.level, start, u64::from(tile.width)),
            SealedBackend::Postgres(log) => log.tile(tile),
        }
    }

    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<(u64, Hash)>, StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => log.hashes(level, start, count),
            SealedBackend::Postgres(log) => log.hashes(level, start, count),
        }
    }

    fn events(&self, after: i64, limit: usize) -> Result<EventsAndLinks, StoreError> {
        match &self.0 {
            SealedBackend::Sqlite(log) => {
                let events = log.events(after, limit)?;
                let links = vec![None; events.len()];
                Ok((events, links))
            }
            SealedBackend::Postgres(log) => log.events(after, limit),
        }
    }
}

/// Events, and beside each its place in the chain of its writer.
pub(super) type EventsAndLinks = (Vec<Event<'static>>, Vec<Option<WriterLink>>);

/// A part of a sealed log, in log order.
#[derive(Debug, Default)]
pub struct SealedPage {
    /// Hashes of leaves.
    pub hashes: Vec<Hash>,
    /// Events.
    pub events: Vec<Event<'static>>,
    /// Beside each event its place in the chain of its writer; none where there is no such chain, as in SQLite.
    pub links: Vec<Option<WriterLink>>,
    /// Whether no hashes follow.
    pub hashes_ended: bool,
}
