//! The thread that appends: it commits all requests that wait together, with one wait for the disk.
//!
//! A batch of requests costs five round trips for each log, however many requests there are: the lock and the end of the
//! log; which event ids are there already; what moved the cells that are edited; the insert; the commit.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use postgres::{Client, Statement};
use stet_domain::{DatasetName, EventId};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Shared;
use super::append::Log;
use super::insert::{Chain, WriterName};
use super::schema::LogSql;
use crate::editlog::batches::Batches;
use crate::editlog::{Append, Outcome, WriteStep, positions};
use crate::error::{Doing, EngineError, StoreError};
use crate::postgres::PostgresConfig;

/// A request on its way to the writer.
pub(super) struct Request {
    pub sql: Arc<LogSql>,
    pub append: Append,
    pub answer: oneshot::Sender<Result<Vec<Outcome>, StoreError>>,
}

/// The connection that appends, and the chains of events that were appended on it.
struct Writer {
    client: Client,
    /// Who the events of this connection say that they come from. A new connection is another writer, since nobody may
    /// know where the chain of a lost one ends.
    name: WriterName,
    statements: HashMap<String, Statement>,
    chains: HashMap<DatasetName, Chain>,
}

struct Written {
    answers: Vec<Vec<Outcome>>,
    ends: Vec<(DatasetName, Option<EventId>)>,
    chains: Vec<(DatasetName, Chain)>,
    events: u64,
}

/// Serves requests until all senders are gone.
pub(super) fn run(shared: &Shared, requests: mpsc::Receiver<Request>) {
    let mut writer = None;
    let mut batches = Batches::new(requests, |request| request.append.events.len());
    while let Some(batch) = batches.next() {
        let (requests, started) = (batch.len(), Instant::now());
        serve(shared, &mut writer, batch);
        batches.committed(requests, started.elapsed());
    }
}

/// Writes a batch and answers its requests.
fn serve(shared: &Shared, writer: &mut Option<Writer>, batch: Vec<Request>) {
    // A panic is a bug of ours; it must cost one batch and not all later edits. The requests are dropped without an
    // answer, which tells the callers that nobody knows whether their events were kept.
    let written = std::panic::catch_unwind(AssertUnwindSafe(|| write(shared, writer, &batch)));
    let failure = match written {
        Ok(Ok(written)) => {
            shared.commits.fetch_add(1, Ordering::Relaxed);
            shared.requests.fetch_add(batch.len() as u64, Ordering::Relaxed);
            let recent = positions::appended(batch.iter().map(|request| &request.sql.original).zip(&written.answers));
            for (original, events) in recent {
                shared.positions.keep(original, events);
            }
            for (original, position) in written.ends {
                shared.positions.advance(&original, position);
            }
            for (request, outcomes) in batch.into_iter().zip(written.answers) {
                // Whoever stopped waiting does not need the answer.
                let _ = request.answer.send(Ok(outcomes));
            }
            return;
        }
        Ok(Err(failure)) => Some(failure),
        Err(_) => None,
    };
    // What is wrong with one log or request concerns nobody else: each is written by itself.
    let of_one_request = matches!(
        failure,
        Some(
            StoreError::Refused { .. }
                | StoreError::ClockWentBack { .. }
                | StoreError::NotAllowed { .. }
                | StoreError::NotThere { .. }
                | StoreError::Altered { .. }
        )
    );
    if of_one_request && batch.len() > 1 {
        for request in batch {
            serve(shared, writer, vec![request]);
        }
        return;
    }
    shared.failures.fetch_add(1, Ordering::Relaxed);
    if !of_one_request {
        *writer = None;
    }
    let Some(failure) = failure else { return };
    tracing::error!(error = &failure as &dyn std::error::Error, requests = batch.len(), "an append failed");
    for request in batch {
        let _ = request.answer.send(Err(failure.clone()));
    }
}

/// Writes a batch in one transaction. After an error nothing of it is kept, but for `OutcomeUnknown`, where nobody knows.
fn write(shared: &Shared, writer: &mut Option<Writer>, batch: &[Request]) -> Result<Written, StoreError> {
    let config = &shared.config;
    if writer.as_ref().is_some_and(|writer| writer.client.is_closed()) {
        *writer = None;
    }
    let writer = match writer {
        Some(writer) => writer,
        None => {
            fault(shared, WriteStep::Reopen)?;
            let client = config.connect_to_look_up()?;
            writer.insert(Writer {
                client,
                name: WriterName::new(Uuid::new_v4()),
                statements: HashMap::new(),
                chains: HashMap::new(),
            })
        }
    };
    fault(shared, WriteStep::Begin)?;

    // In order of their names, so that two processes that write to the same logs never wait for each other.
    let mut logs: BTreeMap<&DatasetName, (&Arc<LogSql>, Vec<usize>)> = BTreeMap::new();
    for (place, request) in batch.iter().enumerate() {
        logs.entry(&request.sql.original).or_insert_with(|| (&request.sql, Vec::new())).1.push(place);
    }
    let mut transaction =
        writer.client.transaction().map_err(|error| StoreError::from_postgres(config, Doing::Writing, error))?;
    let mut written =
        Written { answers: vec![Vec::new(); batch.len()], ends: Vec::new(), chains: Vec::new(), events: 0 };
    for (original, (sql, places)) in logs {
        let mut log = Log {
            shared,
            transaction: &mut transaction,
            statements: &mut writer.statements,
            sql,
            writer: &writer.name,
            chain: writer.chains.get(original).cloned().unwrap_or_default(),
            end: 0,
        };
        log.lock()?;
        let before = log.end;
        let requests: Vec<&Append> = places.iter().map(|place| &batch[*place].append).collect();
        let answers = log.append(&requests)?;
        written.ends.push((original.clone(), (log.end > 0).then_some(EventId(log.end))));
        written.events += (log.end - before).unsigned_abs();
        written.chains.push((original.clone(), log.chain));
        for (place, answer) in places.into_iter().zip(answers) {
            written.answers[place] = answer;
        }
    }
    fault(shared, WriteStep::Commit)?;
    transaction.commit().map_err(|error| StoreError::from_postgres(config, Doing::Committing, error))?;
    shared.events.fetch_add(written.events, Ordering::Relaxed);
    fault(shared, WriteStep::Committed)?;
    writer.chains.extend(written.chains.drain(..));
    Ok(written)
}

pub(super) fn failed(config: &PostgresConfig, error: postgres::Error) -> StoreError {
    StoreError::from_postgres(config, Doing::Writing, error)
}

/// Fails as the database would if a test asks for it.
pub(super) fn fault(shared: &Shared, step: WriteStep) -> Result<(), StoreError> {
    let Some(faults) = &shared.faults else { return Ok(()) };
    if !faults(step) {
        return Ok(());
    }
    let source = EngineError::from(std::io::Error::other("a failure that a test asked for"));
    let path = std::path::PathBuf::from(shared.config.to_string());
    Err(match step {
        WriteStep::Reopen => StoreError::CannotConnect {
            connection: shared.config.to_string(),
            reason: "a test says so".to_owned(),
            source: Some(source),
        },
        WriteStep::Committed | WriteStep::SealCommitted => StoreError::OutcomeUnknown { source: Some(source) },
        WriteStep::Begin
        | WriteStep::Insert
        | WriteStep::Commit
        | WriteStep::SealBegin
        | WriteStep::SealLeaves
        | WriteStep::SealCheckpoint
        | WriteStep::SealCommit => StoreError::WriteFailed { path, source },
    })
}
