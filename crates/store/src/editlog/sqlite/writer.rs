//! The thread that appends: it commits all requests that wait together, with one wait for the disk.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, ffi};
use stet_domain::{DatasetName, Event, EventId, LogDate, NewEvent};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::schema::{CLOCK_REFUSED, LogSql};
use super::seal::{self, Seal};
use super::{Shared, read};
use crate::editlog::batches::Batches;
use crate::editlog::{Append, Expected, Outcome, WriteStep, positions};
use crate::error::{Doing, EngineError, StoreError};
use crate::sqlite::{self, Access};

/// A clock that is behind by up to this is waited for. By more, appends fail until somebody sets it right: every date
/// in the log is one that the clock did show, in order.
const CLOCK_WAIT_MS_MAX: i64 = 2_000;

/// A request on its way to the writer.
pub(super) struct Request {
    pub sql: Arc<LogSql>,
    pub append: Append,
    pub answer: oneshot::Sender<Result<Vec<Outcome>, StoreError>>,
}

/// What became of each request of a batch, and where the logs end after it.
struct Written {
    answers: Vec<Vec<Outcome>>,
    ends: Vec<(DatasetName, Option<EventId>)>,
}

/// The connection that appends, and what was set on it.
struct Writer {
    connection: Connection,
    file_bytes_max: u64,
    /// How far each editlog is sealed, as of the last commit.
    seals: HashMap<DatasetName, Seal>,
}

impl Writer {
    fn new(connection: Connection) -> Writer {
        Writer { connection, file_bytes_max: 0, seals: HashMap::new() }
    }
}

/// Serves requests until all senders are gone.
pub(super) fn run(shared: &Shared, connection: Connection, requests: mpsc::Receiver<Request>) {
    let mut writer = Some(Writer::new(connection));
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
    let of_one_request = matches!(failure, Some(StoreError::Refused { .. } | StoreError::ClockWentBack { .. }));
    if of_one_request && batch.len() > 1 {
        // What is wrong with one request, or with one of the logs, concerns nobody else: each is written by itself.
        // That is rare, since requests are checked before they get here.
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

/// Runs `work` in a transaction that no other process can write beside.
pub(super) fn in_transaction<T>(
    path: &Path,
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| StoreError::from_engine(path, Doing::Writing, error))?;
    let result = work(&transaction)?;
    transaction.commit().map_err(|error| StoreError::from_engine(path, Doing::Committing, error))?;
    Ok(result)
}

/// Writes a batch in one transaction. After an error nothing of it is kept, but for `OutcomeUnknown`, where nobody knows.
fn write(shared: &Shared, writer: &mut Option<Writer>, batch: &[Request]) -> Result<Written, StoreError> {
    shared.check_identity()?;
    let writer = match writer {
        Some(writer) => writer,
        None => {
            fault(shared, WriteStep::Reopen, Doing::Opening)?;
            let connection = sqlite::open(&shared.path, Access::Write, shared.busy_timeout_ms)?;
            writer.insert(Writer::new(connection))
        }
    };
    limit_size(shared, writer)?;
    fault(shared, WriteStep::Begin, Doing::Writing)?;
    let mut events = 0;
    // Put back after the commit: what is known of a seal is worth nothing if the transaction is rolled back.
    let mut seals = std::mem::take(&mut writer.seals);
    let written = in_transaction(&shared.path, &mut writer.connection, |transaction| {
        let mut ends: HashMap<&DatasetName, i64> = HashMap::new();
        let mut answers = Vec::with_capacity(batch.len());
        for request in batch {
            let original = &request.sql.original;
            let end = match ends.get(original) {
                Some(end) => *end,
                None => end_of_log(shared, transaction, &request.sql)?,
            };
            let log = Log { shared, transaction, sql: &request.sql, end };
            let (outcomes, appended) = append(&log, &request.append)?;
            events += appended.unsigned_abs();
            ends.insert(original, end + appended);
            answers.push(outcomes);
        }
        let mut sealed = HashSet::new();
        let mut dates: HashMap<&DatasetName, HashMap<i64, LogDate>> = HashMap::new();
        for sql in batch.iter().map(|request| &request.sql).filter(|sql| sealed.insert(&sql.original)) {
            fault(shared, WriteStep::SealBegin, Doing::Writing)?;
            let dates = dates.entry(&sql.original).or_default();
            let known = seals.remove(&sql.original);
            let seal = seal::seal(transaction, sql, known, shared.sealing.as_ref(), |id, date| {
                dates.insert(id, date);
            })?;
            seals.insert(sql.original.clone(), seal);
        }
        for (request, outcomes) in batch.iter().zip(&mut answers) {
            date(outcomes, dates.get(&request.sql.original))?;
        }
        fault(shared, WriteStep::Commit, Doing::Writing)?;
        let ends = ends.into_iter().map(|(original, end)| (original.clone(), (end > 0).then_some(EventId(end))));
        Ok(Written { answers, ends: ends.collect() })
    })?;
    writer.seals = seals;
    shared.events.fetch_add(events, Ordering::Relaxed);
    fault(shared, WriteStep::Committed, Doing::Committing)?;
    Ok(written)
}

/// Gives the new events the dates that the database gave them, as the sealing read them. An event that was not there to be
/// sealed was not kept, whatever the insert said: that is never to be taken for a success.
fn date(outcomes: &mut [Outcome], dates: Option<&HashMap<i64, LogDate>>) -> Result<(), StoreError> {
    for outcome in outcomes {
        if let Outcome::Appended(event) = outcome {
            let date = dates.and_then(|dates| dates.get(&event.id.0));
            event.date = *date.ok_or_else(|| swallowed(0))?;
        }
    }
    Ok(())
}

/// The failure of an insert that the database took and did not carry out.
fn swallowed(rows: usize) -> StoreError {
    StoreError::Refused { source: EngineError::from(rusqlite::Error::StatementChangedRows(rows)) }
}

/// The last id of a log, or 0. Waits for a clock that is a little behind the last event.
fn end_of_log(shared: &Shared, transaction: &Transaction<'_>, sql: &LogSql) -> Result<i64, StoreError> {
    let look = || -> rusqlite::Result<(i64, i64)> {
        let mut statement = transaction.prepare_cached(&sql.last)?;
        let last = statement.query_row([], |row| {
            let (date, now): (LogDate, LogDate) = (read::parsed(row, 1)?, read::parsed(row, 2)?);
            Ok((row.get(0)?, date.micros().saturating_sub(now.micros()).max(0) / 1000))
        });
        Ok(last.optional()?.unwrap_or((0, 0)))
    };
    let look = || look().map_err(|error| StoreError::from_engine(&shared.path, Doing::Writing, error));
    let (mut end, mut behind_ms) = look()?;
    if (1..=CLOCK_WAIT_MS_MAX).contains(&behind_ms) {
        std::thread::sleep(Duration::from_millis(behind_ms.unsigned_abs()));
        (end, behind_ms) = look()?;
    }
    if behind_ms > 0 { Err(StoreError::ClockWentBack { behind_ms }) } else { Ok(end) }
}

/// Appends one request; what became of each event, and how many are new.
///
/// Everything is decided before anything is inserted, which needs no savepoint to take an atomic request back: what is
/// decided depends only on events before the request.
fn append(log: &Log<'_>, request: &Append) -> Result<(Vec<Outcome>, i64), StoreError> {
    let mut stored = Vec::with_capacity(request.events.len());
    for (event, _) in &request.events {
        stored.push(log.by_event_id(event)?);
    }
    let own: HashSet<i64> = stored
        .iter()
        .zip(&request.events)
        .filter_map(|(stored, (event, _))| stored.as_ref().filter(|stored| stored.is_same_request(event)))
        .map(|stored| stored.id.0)
        .collect();

    // None for an event that is to be inserted.
    let mut decided = Vec::with_capacity(request.events.len());
    for ((event, expected), stored) in request.events.iter().zip(stored) {
        decided.push(match stored {
            Some(stored) if stored.is_same_request(event) => Some(Outcome::AlreadyThere(stored)),
            Some(stored) => Some(Outcome::EventIdTaken(stored)),
            None => log.conflict(event, *expected, &own)?.map(Outcome::Conflict),
        });
    }
    let fails = |outcome: &Outcome| !matches!(outcome, Outcome::AlreadyThere(_));
    if request.atomic && decided.iter().flatten().any(fails) {
        return Ok((decided.into_iter().map(|outcome| outcome.unwrap_or(Outcome::NotDone)).collect(), 0));
    }

    let mut outcomes = Vec::with_capacity(decided.len());
    let mut appended = 0;
    for ((event, _), decided) in request.events.iter().zip(decided) {
        outcomes.push(match decided {
            Some(outcome) => outcome,
            None => {
                appended += 1;
                Outcome::Appended(log.insert(log.end + appended, event)?)
            }
        });
    }
    Ok((outcomes, appended))
}

/// One log within a transaction, up to where it ended before the request.
struct Log<'a> {
    shared: &'a Shared,
    transaction: &'a Transaction<'a>,
    sql: &'a LogSql,
    end: i64,
}

impl Log<'_> {
    fn by_event_id(&self, event: &NewEvent) -> Result<Option<Event>, StoreError> {
        let mut statement = self.prepare(&self.sql.by_event_id)?;
        let mut buffer = Uuid::encode_buffer();
        let event_id: &str = event.event_id.0.hyphenated().encode_lower(&mut buffer);
        statement.query_row([event_id], read::event).optional().map_err(|error| self.failed(error))
    }

    /// The event that moved what `event` edits after its author looked, if there is one. Events in `own`, which are of
    /// the same request, do not count.
    fn conflict(&self, event: &NewEvent, expected: Expected, own: &HashSet<i64>) -> Result<Option<Event>, StoreError> {
        let Expected::Seen(seen) = expected else { return Ok(None) };
        let key = event.key.as_str();
        let last = match (event.action, event.column_name.as_deref()) {
            (stet_domain::Action::Create, _) => self.row_event(key, own)?,
            (_, Some(column)) => {
                let of_cell = self.last(&self.sql.last_of_cell, (key, column, self.end), own)?;
                of_cell.max(self.row_event(key, own)?)
            }
            (_, None) => self.last(&self.sql.last_of_row, (key, self.end), own)?,
        };
        // An id beyond the end comes from another log, such as one that was reset since.
        let seen = seen.map_or(0, |id| id.0);
        let seen = if seen > self.end { 0 } else { seen };
        match last {
            Some(last) if last > seen => {
                let mut statement = self.prepare(&self.sql.by_id)?;
                statement.query_row([last], read::event).map(Some).map_err(|error| self.failed(error))
            }
            _ => Ok(None),
        }
    }

    /// The last id that a statement gives, passing over those in `own`.
    fn last(
        &self,
        statement: &str,
        parameters: impl rusqlite::Params,
        own: &HashSet<i64>,
    ) -> Result<Option<i64>, StoreError> {
        let mut statement = self.prepare(statement)?;
        let ids = statement.query_map(parameters, |row| row.get(0)).map_err(|error| self.failed(error))?;
        for id in ids {
            let id = id.map_err(|error| self.failed(error))?;
            if !own.contains(&id) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The last event of the whole row: its last delete or revert, or the first create after that.
    fn row_event(&self, key: &str, own: &HashSet<i64>) -> Result<Option<i64>, StoreError> {
        let mut statement = self.prepare(&self.sql.row_events)?;
        let rows = statement
            .query_map((key, self.end), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))
            .map_err(|error| self.failed(error))?;
        let mut first_create = None;
        for row in rows {
            let (id, is_create) = row.map_err(|error| self.failed(error))?;
            match (own.contains(&id), is_create) {
                (true, _) => {}
                (false, true) => first_create = Some(id),
                (false, false) => return Ok(first_create.or(Some(id))),
            }
        }
        Ok(first_create)
    }

    /// Inserts an event. Its date is not known before it is sealed, see [`date`]: an insert that gives back what it has stored
    /// makes a table in memory for that, anew at every use.
    fn insert(&self, id: i64, event: &NewEvent) -> Result<Event, StoreError> {
        fault(self.shared, WriteStep::Insert, Doing::Writing)?;
        let mut statement = self.prepare(&self.sql.insert)?;
        let inserted = statement.execute((
            id,
            event.user.as_str(),
            event.action.as_str(),
            event.key.as_str(),
            event.column_name.as_deref(),
            event.value.as_deref(),
            event.previous.as_deref(),
            &*event.batch_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
            event.source.as_str(),
            event.reason.as_deref(),
            &*event.event_id.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
        ));
        let rows = inserted.map_err(|error| match &error {
            rusqlite::Error::SqliteFailure(_, Some(message)) if message.contains(CLOCK_REFUSED) => {
                StoreError::ClockWentBack { behind_ms: 1 }
            }
            _ => self.failed(error),
        })?;
        if rows != 1 {
            return Err(swallowed(rows));
        }
        Ok(Event {
            id: EventId(id),
            date: LogDate::from_micros(0),
            user: event.user.clone(),
            action: event.action,
            key: event.key.clone(),
            column_name: event.column_name.clone(),
            value: event.value.clone(),
            previous: event.previous.clone(),
            batch_id: event.batch_id,
            source: event.source,
            reason: event.reason.clone(),
            event_id: event.event_id,
        })
    }

    fn prepare(&self, statement: &str) -> Result<rusqlite::CachedStatement<'_>, StoreError> {
        self.transaction.prepare_cached(statement).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        StoreError::from_engine(&self.shared.path, Doing::Writing, error)
    }
}

/// Holds the file to its largest size; what does not fit fails like a full disk.
fn limit_size(shared: &Shared, writer: &mut Writer) -> Result<(), StoreError> {
    /// The engine's own limit on pages.
    const PAGES_MAX: u64 = 4_294_967_294;
    let bytes_max = shared.file_bytes_max.load(Ordering::Relaxed);
    if bytes_max == writer.file_bytes_max {
        return Ok(());
    }
    let limit = || -> rusqlite::Result<i64> {
        let page_bytes: i64 = writer.connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages_max = if bytes_max == 0 { PAGES_MAX } else { bytes_max / page_bytes.unsigned_abs().max(1) };
        let pages_max = pages_max.clamp(1, PAGES_MAX).cast_signed();
        writer.connection.pragma_update_and_check(None, "max_page_count", pages_max, |row| row.get(0))
    };
    limit().map_err(|error| StoreError::from_engine(&shared.path, Doing::Writing, error))?;
    writer.file_bytes_max = bytes_max;
    Ok(())
}

/// Fails as the disk would if a test asks for it.
fn fault(shared: &Shared, step: WriteStep, doing: Doing) -> Result<(), StoreError> {
    match &shared.faults {
        Some(faults) if faults(step) => {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), None);
            Err(StoreError::from_engine(&shared.path, doing, error))
        }
        _ => Ok(()),
    }
}
