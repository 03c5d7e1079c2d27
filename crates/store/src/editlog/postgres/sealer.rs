//! The thread that seals: of all processes that have a log open, one at a time seals it, a moment after its events were
//! committed.
//!
//! Which one is told by an advisory lock of its session. When it ends, however it ends, the database lets go of the lock and
//! another process takes it. Since events become visible in the order of their ids, everything that is seen is a prefix of
//! the log, and can be sealed: no watermark of transactions is needed, which a long transaction of anybody would hold back.
//! Leaves, nodes and the checkpoint over them are one transaction; whoever goes on after a crash finds all of it or nothing.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use postgres::{Client, Transaction};
use stet_domain::DatasetName;
use stet_editlog::tile::TILE_HEIGHT;
use stet_editlog::{Checkpoint, Tree};

use super::schema::{self, LogSql};
use super::seal::{Missing, Stored, sealed_row};
use super::{Shared, writer};
use crate::editlog::{Sealing, WriteStep};
use crate::error::{Doing, StoreError};
use crate::postgres::{PostgresConfig, quoted};

/// How many events are sealed in one transaction, with one checkpoint.
const SEAL_EVENTS: i64 = 4_096;

/// How many bytes of text these events may have: no more are read than one event beyond that.
const SEAL_BYTES: i64 = 16 * 1024 * 1024;

/// How often a log is looked at. Together with one transaction this is well below a second.
const SEAL_INTERVAL: Duration = Duration::from_millis(250);

/// How long a database that is away, or refuses, is left alone.
const RETRY_INTERVAL: Duration = Duration::from_millis(1_000);

/// What this process knows of the seal of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SealState {
    /// Whether it is the one that seals it.
    pub leads: bool,
    /// How many events it has found sealed or sealed itself, if it leads.
    pub sealed: u64,
    /// Why it could not, the last time.
    pub failure: Option<String>,
}

/// The connection that seals, and how far each log is.
struct Sealer {
    client: Client,
    logs: HashMap<DatasetName, SealedLog>,
}

/// A log as it was left; true only if the last transaction was committed.
struct SealedLog {
    /// The identity of its table.
    table: i64,
    leads: bool,
    /// The role that may seal it, if the connection itself may not.
    role: Option<String>,
    tree: Option<Tree>,
    /// The size of the last checkpoint.
    signed: u64,
}

/// Seals the open logs until the other end of `stopped` is dropped, and then once more.
pub(super) fn run(shared: &Shared, sealing: &Sealing, stopped: &Receiver<()>) {
    let (mut sealer, mut interval) = (None, SEAL_INTERVAL);
    loop {
        let ends = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
        interval = SEAL_INTERVAL;
        for sql in shared.positions.known() {
            let sealed = seal(shared, sealing, &mut sealer, &sql);
            if sealed.is_err() {
                // Its locks go with it, so that another process may do better.
                (sealer, interval) = (None, RETRY_INTERVAL);
            }
            note(shared, &sql.original, sealed);
        }
        if ends {
            return;
        }
    }
}

/// Remembers how it went, for whoever asks, and says so once when it fails or gets well again.
fn note(shared: &Shared, original: &DatasetName, sealed: Result<Option<u64>, StoreError>) {
    let state = match sealed {
        Ok(sealed) => SealState { leads: sealed.is_some(), sealed: sealed.unwrap_or(0), failure: None },
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, %original, "sealing failed");
            SealState { leads: false, sealed: 0, failure: Some(error.to_string()) }
        }
    };
    let mut seals = shared.seals.lock().unwrap_or_else(PoisonError::into_inner);
    let before = seals.insert(original.clone(), state.clone()).unwrap_or_default();
    match (&before.failure, &state.failure) {
        (None, Some(failure)) => tracing::error!(%original, failure, "the editlog is not sealed"),
        (Some(_), None) => tracing::info!(%original, "the editlog is sealed again"),
        _ => {}
    }
}

/// Seals what is new in a log, if this process is the one that does: how far. None if it is not.
fn seal(
    shared: &Shared,
    sealing: &Sealing,
    sealer: &mut Option<Sealer>,
    sql: &LogSql,
) -> Result<Option<u64>, StoreError> {
    let config = &shared.config;
    if sealer.as_ref().is_some_and(|sealer| sealer.client.is_closed()) {
        *sealer = None;
    }
    let sealer = match sealer {
        Some(sealer) => sealer,
        None => sealer.insert(Sealer { client: config.connect_to_look_up()?, logs: HashMap::new() }),
    };
    let (table, stored, last) = look(config, &mut sealer.client, sql)?;
    let log = match sealer.logs.get_mut(&sql.original) {
        Some(log) if log.table == table => log,
        _ => {
            // No other node's log is sealed.
            schema::check_registered(config, &mut sealer.client, sql)?;
            let log = SealedLog { table, leads: false, role: None, tree: None, signed: 0 };
            sealer.logs.entry(sql.original.clone()).insert_entry(log).into_mut()
        }
    };
    if !log.leads {
        if !lead(config, &mut sealer.client, sql, table)? {
            return Ok(None);
        }
        (log.role, log.leads, log.tree) = (sealing_role(config, &mut sealer.client, sql)?, true, None);
    }
    if stored > last {
        return Err(damaged(
            config,
            format!(
                "the editlog of `{}` ends after {last} events, and {stored} were sealed: `stet editlog verify` tells more",
                sql.original
            ),
        ));
    }
    loop {
        if let Some(tree) = &log.tree
            && tree.size() == last.unsigned_abs()
            && log.signed >= tree.size()
        {
            return Ok(Some(log.signed));
        }
        let before = log.tree.as_ref().map_or(0, Tree::size);
        let was_loaded = log.tree.is_some();
        // Put back after the commit: what is known of a seal is worth nothing if the transaction is rolled back.
        let (tree, signed) = step(shared, sealing, &mut sealer.client, sql, log)?;
        let grown = tree.size() > before;
        (log.tree, log.signed) = (Some(tree), signed);
        if was_loaded && !grown {
            return Ok(Some(log.signed));
        }
    }
}

/// The identity of the table, the last leaf, and the last event.
fn look(config: &PostgresConfig, client: &mut Client, sql: &LogSql) -> Result<(i64, i64, i64), StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let row = client.query_one(&sql.seal.state, &[&sql.qualified]).map_err(reading)?;
    let get = |place| row.try_get::<_, i64>(place).map_err(reading);
    Ok((get(0)?, get(1)?, get(2)?))
}

/// Takes the lock of whoever seals, if it is free.
fn lead(config: &PostgresConfig, client: &mut Client, sql: &LogSql, table: i64) -> Result<bool, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    client.query_one(&sql.seal.lead, &[&table]).and_then(|row| row.try_get(0)).map_err(reading)
}

/// The role in which a log that was made securely is sealed: the connections that append do not have its rights.
fn sealing_role(config: &PostgresConfig, client: &mut Client, sql: &LogSql) -> Result<Option<String>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let leaves = sql.qualified_beside(super::parts::LEAVES);
    let may: bool =
        client.query_one(&sql.seal.may_insert, &[&leaves]).and_then(|row| row.try_get(0)).map_err(reading)?;
    Ok((!may).then(|| sql.roles(config).sealer))
}

/// Seals up to [`SEAL_EVENTS`] events, or [`SEAL_BYTES`] of them, and signs the tree, in one transaction; the tree and what
/// of it is signed.
fn step(
    shared: &Shared,
    sealing: &Sealing,
    client: &mut Client,
    sql: &LogSql,
    log: &mut SealedLog,
) -> Result<(Tree, u64), StoreError> {
    let config = &*shared.config;
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    writer::fault(shared, WriteStep::SealBegin)?;
    let mut transaction = client.transaction().map_err(writing)?;
    if let Some(role) = &log.role {
        transaction.batch_execute(&format!("SET LOCAL ROLE {}", quoted(role))).map_err(writing)?;
    }
    let size: i64 = transaction.query_one(&sql.seal.size, &[]).and_then(|row| row.try_get(0)).map_err(writing)?;
    let mut tree = match log.tree.take().filter(|tree| tree.size() == size.unsigned_abs()) {
        Some(tree) => tree,
        None => Stored::new(config, &mut transaction, sql).tree(size.unsigned_abs())?,
    };
    append(shared, &mut transaction, sql, &mut tree)?;
    let signed: i64 =
        transaction.query_one(&sql.seal.last_checkpoint, &[]).and_then(|row| row.try_get(0)).map_err(writing)?;
    let mut signed = signed.unsigned_abs();
    if tree.size() > signed {
        writer::fault(shared, WriteStep::SealCheckpoint)?;
        let checkpoint = Checkpoint {
            origin: sealing.origin(&sql.original),
            size: tree.size(),
            root: tree.root(),
            extensions: Vec::new(),
        };
        let note = checkpoint.sign(&sealing.signer).to_string();
        signed = tree.size();
        let size = signed.cast_signed();
        transaction.execute(&sql.seal.insert_checkpoint, &[&size, &note]).map_err(writing)?;
        transaction.execute(&sql.seal.thin_checkpoints, &[&size]).map_err(writing)?;
    }
    writer::fault(shared, WriteStep::SealCommit)?;
    transaction.commit().map_err(|error| StoreError::from_postgres(config, Doing::Committing, error))?;
    writer::fault(shared, WriteStep::SealCommitted)?;
    Ok((tree, signed))
}

/// Appends the leaves of the next events.
fn append(shared: &Shared, transaction: &mut Transaction<'_>, sql: &LogSql, tree: &mut Tree) -> Result<(), StoreError> {
    let config = &*shared.config;
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let from = tree.size().cast_signed();
    let rows = transaction.query(&sql.seal.events_to_seal, &[&from, &SEAL_EVENTS, &SEAL_BYTES]).map_err(writing)?;
    if rows.is_empty() {
        return Ok(());
    }
    let (mut ids, mut hashes, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
    let (mut levels, mut places, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = Vec::new();
    for (row, expected) in rows.iter().zip(tree.size() + 1..) {
        let sealed = sealed_row(config, row, Missing::Make)?;
        if sealed.event.id != expected {
            return Err(damaged(
                config,
                format!("event {expected} is missing from the editlog of `{}`, which is sealed up to it", sql.original),
            ));
        }
        let hash = sealed.event.leaf_hash(&mut buffer);
        tree.append_with(hash, |node| {
            if node.height % TILE_HEIGHT == 0 {
                levels.push((node.height / TILE_HEIGHT) as i16);
                places.push(node.index.cast_signed());
                nodes.push(node.hash.0.to_vec());
            }
        });
        ids.push(expected.cast_signed());
        hashes.push(hash.0.to_vec());
        secrets.push(sealed.made);
    }
    writer::fault(shared, WriteStep::SealLeaves)?;
    transaction.execute(&sql.seal.insert_leaves, &[&ids, &hashes, &secrets]).map_err(writing)?;
    if !nodes.is_empty() {
        transaction.execute(&sql.seal.insert_nodes, &[&levels, &places, &nodes]).map_err(writing)?;
    }
    Ok(())
}

fn damaged(config: &PostgresConfig, what: String) -> StoreError {
    StoreError::Damaged { path: config.to_string().into(), what, source: None }
}
