//! The thread that appends: it commits all requests that wait together, with one wait for the disk.
//!
//! A batch of requests costs five round trips for each log, however many requests there are: the lock and the end of the
//! log; which event ids are there already; what moved the cells that are edited; the insert; the commit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postgres::{Client, Statement, Transaction};
use sha2::{Digest, Sha256};
use stet_domain::{Action, DatasetName, Event, EventId, LogDate, NewEvent};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::schema::LogSql;
use super::{Shared, read};
use crate::editlog::{Append, Expected, Outcome, WriteStep, positions};
use crate::error::{Doing, EngineError, StoreError};
use crate::postgres::{Micros, PostgresConfig, encode};

/// The most requests, and about the most events, in one commit: so that nobody waits long for others.
const COMMIT_REQUESTS_MAX: usize = 512;
const COMMIT_EVENTS_MAX: usize = 20_000;

/// The most events, and about the most bytes of their texts, in one statement.
const INSERT_EVENTS_MAX: usize = 5_000;
const INSERT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A clock that is behind by up to this is waited for; see the same in the SQLite writer.
const CLOCK_WAIT_MS_MAX: i64 = 2_000;

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
    writer: Uuid,
    statements: HashMap<String, Statement>,
    chains: HashMap<DatasetName, Chain>,
}

/// Where the chain of one log on one connection stands: each event carries the hash over the one before it.
#[derive(Debug, Clone, Default)]
struct Chain {
    events: i64,
    hash: [u8; 32],
}

struct Written {
    answers: Vec<Vec<Outcome>>,
    ends: Vec<(DatasetName, Option<EventId>)>,
    chains: Vec<(DatasetName, Chain)>,
    events: u64,
}

/// Serves requests until all senders are gone.
pub(super) fn run(shared: &Shared, mut requests: mpsc::Receiver<Request>) {
    let mut writer = None;
    while let Some(first) = requests.blocking_recv() {
        let mut events = first.append.events.len();
        let mut batch = vec![first];
        while batch.len() < COMMIT_REQUESTS_MAX && events < COMMIT_EVENTS_MAX {
            let Ok(next) = requests.try_recv() else { break };
            events += next.append.events.len();
            batch.push(next);
        }
        serve(shared, &mut writer, batch);
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
            let client = config.connect()?;
            writer.insert(Writer { client, writer: Uuid::new_v4(), statements: HashMap::new(), chains: HashMap::new() })
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
            writer: writer.writer,
            chain: writer.chains.get(original).cloned().unwrap_or_default(),
            end: 0,
        };
        log.end = log.lock()?;
        let requests: Vec<&Append> = places.iter().map(|place| &batch[*place].append).collect();
        let answers = log.append(&requests)?;
        written.ends.push((original.clone(), (log.end > 0).then_some(EventId(log.end))));
        written.events += log.chain.events.unsigned_abs()
            - writer.chains.get(original).map_or(0, |chain| chain.events.unsigned_abs());
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

/// One log within a transaction that holds its lock.
struct Log<'a, 'c> {
    shared: &'a Shared,
    transaction: &'a mut Transaction<'c>,
    statements: &'a mut HashMap<String, Statement>,
    sql: &'a LogSql,
    writer: Uuid,
    chain: Chain,
    /// The last id.
    end: i64,
}

/// What becomes of an event, as far as it can be known before the insert. `New` and its like name an event by its place
/// among those that the batch inserts.
enum Decided {
    Known(Outcome),
    Inserted(usize),
    AlreadyInserted(usize),
    ConflictWithInserted(usize),
    ConflictWithStored(i64),
    TakenByInserted(usize),
}

/// What the log says, before the batch, of a cell and its row.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    cell: Option<i64>,
    row: Option<i64>,
    /// The last delete or revert of the whole row.
    boundary: Option<i64>,
    /// The first create after that.
    first_create: Option<i64>,
}

/// The events that a batch will insert, with what is needed to compare later ones with them.
#[derive(Default)]
struct Fresh<'e> {
    events: Vec<&'e NewEvent>,
    by_event_id: HashMap<Uuid, usize>,
    by_key: HashMap<&'e str, Vec<usize>>,
}

type CellKey<'e> = (&'e str, Option<&'e str>);

impl Log<'_, '_> {
    /// Takes the lock of the log, waits for a clock that is a little behind, and gives the last id, or 0.
    fn lock(&mut self) -> Result<i64, StoreError> {
        let lock = self.prepare(|sql| &sql.lock)?;
        self.transaction.execute(&lock, &[]).map_err(|error| failed(&self.shared.config, error))?;
        let (mut end, mut behind_ms) = self.look()?;
        if (1..=CLOCK_WAIT_MS_MAX).contains(&behind_ms) {
            std::thread::sleep(Duration::from_millis(behind_ms.unsigned_abs()));
            (end, behind_ms) = self.look()?;
        }
        if behind_ms > 0 { Err(StoreError::ClockWentBack { behind_ms }) } else { Ok(end) }
    }

    fn look(&mut self) -> Result<(i64, i64), StoreError> {
        let last = self.prepare(|sql| &sql.last)?;
        let config = &self.shared.config;
        let Some(row) = self.transaction.query_opt(&last, &[]).map_err(|error| failed(config, error))? else {
            return Ok((0, 0));
        };
        let get = |place| row.try_get::<_, Micros>(place).map_err(|error| failed(config, error));
        let behind = get(1)?.0.saturating_sub(get(2)?.0).max(0);
        // Rounded up: a wait that ends too early would be for nothing.
        Ok((row.try_get(0).map_err(|error| failed(config, error))?, (behind + 999) / 1000))
    }

    /// Appends requests in their order; each sees those before it.
    fn append(&mut self, requests: &[&Append]) -> Result<Vec<Vec<Outcome>>, StoreError> {
        let stored = self.stored(requests)?;
        let none = HashSet::new();
        let mut moved =
            self.moved(requests.iter().copied().filter(|request| own(request, &stored).is_empty()), &none)?;
        let mut fresh = Fresh::default();
        let mut decided = Vec::with_capacity(requests.len());
        for request in requests {
            let own = own(request, &stored);
            if !own.is_empty() {
                // A request that is repeated, which is rare: its own earlier events do not count for it.
                let of_own = self.moved(std::iter::once(*request), &own)?;
                decided.push(self.decide(request, &stored, &of_own, &mut fresh));
            } else {
                decided.push(self.decide(request, &stored, &moved, &mut fresh));
            }
        }
        moved.clear();
        let inserted = self.insert(&fresh.events)?;
        let conflicts = self.by_ids(&decided)?;
        let resolve = |decided: Decided| match decided {
            Decided::Known(outcome) => outcome,
            Decided::Inserted(place) => Outcome::Appended(inserted[place].clone()),
            Decided::AlreadyInserted(place) => Outcome::AlreadyThere(inserted[place].clone()),
            Decided::ConflictWithInserted(place) => Outcome::Conflict(inserted[place].clone()),
            Decided::TakenByInserted(place) => Outcome::EventIdTaken(inserted[place].clone()),
            // An event of a locked log cannot go away: every id that the log gave is among those that were read.
            Decided::ConflictWithStored(id) => {
                conflicts.get(&id).map_or(Outcome::NotDone, |e| Outcome::Conflict(e.clone()))
            }
        };
        Ok(decided.into_iter().map(|outcomes| outcomes.into_iter().map(resolve).collect()).collect())
    }

    /// The events of the log that have event ids of the requests.
    fn stored(&mut self, requests: &[&Append]) -> Result<HashMap<Uuid, Event>, StoreError> {
        let ids: Vec<Uuid> =
            requests.iter().flat_map(|request| &request.events).map(|(event, _)| event.event_id.0).collect();
        let statement = self.prepare(|sql| &sql.by_event_ids)?;
        let events = read::events(&self.shared.config, self.transaction, &statement, &ids)?;
        Ok(events.into_iter().map(|event| (event.event_id.0, event)).collect())
    }

    /// What the log says of every cell that the requests compare.
    fn moved<'e>(
        &mut self,
        requests: impl Iterator<Item = &'e Append>,
        own: &HashSet<i64>,
    ) -> Result<HashMap<CellKey<'e>, Moved>, StoreError> {
        let mut places: HashMap<CellKey<'e>, Moved> = HashMap::new();
        for (event, expected) in requests.flat_map(|request| &request.events) {
            if *expected != Expected::Any {
                places.insert(cell_of(event), Moved::default());
            }
        }
        if places.is_empty() {
            return Ok(places);
        }
        let cells: Vec<CellKey<'e>> = places.keys().copied().collect();
        let keys: Vec<_> = cells.iter().map(|(key, _)| encode(key)).collect();
        let columns: Vec<_> = cells.iter().map(|(_, column)| column.map(encode)).collect();
        let own: Vec<i64> = own.iter().copied().collect();
        let statement = self.prepare(|sql| &sql.moved)?;
        let config = &self.shared.config;
        let rows =
            self.transaction.query(&statement, &[&keys, &columns, &own]).map_err(|error| failed(config, error))?;
        for (cell, row) in cells.iter().zip(&rows) {
            let get = |place| row.try_get::<_, Option<i64>>(place).map_err(|error| failed(config, error));
            places.insert(*cell, Moved { cell: get(0)?, row: get(1)?, boundary: get(2)?, first_create: get(3)? });
        }
        Ok(places)
    }

    /// What becomes of each event of a request; those that are to be inserted are added to `fresh`.
    fn decide<'e>(
        &self,
        request: &'e Append,
        stored: &HashMap<Uuid, Event>,
        moved: &HashMap<CellKey<'e>, Moved>,
        fresh: &mut Fresh<'e>,
    ) -> Vec<Decided> {
        let there = |event: &NewEvent| {
            let place = *fresh.by_event_id.get(&event.event_id.0)?;
            is_same(fresh.events[place], event).then_some(place)
        };
        let own: HashSet<usize> = request.events.iter().filter_map(|(event, _)| there(event)).collect();
        // None for an event that is to be inserted.
        let mut decided: Vec<Option<Decided>> = Vec::with_capacity(request.events.len());
        for (event, expected) in &request.events {
            decided.push(if let Some(there) = stored.get(&event.event_id.0) {
                Some(Decided::Known(if there.is_same_request(event) {
                    Outcome::AlreadyThere(there.clone())
                } else {
                    Outcome::EventIdTaken(there.clone())
                }))
            } else if let Some(place) = fresh.by_event_id.get(&event.event_id.0) {
                let same = is_same(fresh.events[*place], event);
                Some(if same { Decided::AlreadyInserted(*place) } else { Decided::TakenByInserted(*place) })
            } else {
                self.conflict(&own, event, *expected, moved, fresh)
            });
        }
        let fails = |decided: &Decided| {
            !matches!(decided, Decided::AlreadyInserted(_) | Decided::Known(Outcome::AlreadyThere(_)))
        };
        if request.atomic && decided.iter().flatten().any(fails) {
            return decided.into_iter().map(|d| d.unwrap_or(Decided::Known(Outcome::NotDone))).collect();
        }
        let insert = |(decided, (event, _)): (Option<Decided>, &'e (NewEvent, Expected))| {
            decided.unwrap_or_else(|| Decided::Inserted(fresh.add(event)))
        };
        decided.into_iter().zip(&request.events).map(insert).collect()
    }

    /// The event that moved what `event` edits after its author looked, if there is one. Events of the batch in `own`,
    /// which are of the same request, do not count.
    fn conflict<'e>(
        &self,
        own: &HashSet<usize>,
        event: &'e NewEvent,
        expected: Expected,
        moved: &HashMap<CellKey<'e>, Moved>,
        fresh: &Fresh<'e>,
    ) -> Option<Decided> {
        let Expected::Seen(seen) = expected else { return None };
        let before = moved.get(&cell_of(event)).copied().unwrap_or_default();
        // Places in the batch, newest first.
        let of_key = fresh.by_key.get(event.key.as_str()).map(Vec::as_slice).unwrap_or_default();
        let newest = || of_key.iter().rev().copied().filter(|place| !own.contains(place));
        let row_event = || {
            let mut first_create = None;
            for place in newest() {
                let earlier = fresh.events[place];
                match (earlier.action, &earlier.column_name) {
                    (Action::Create, _) => first_create = Some(place),
                    (_, None) => return Some(self.id_of(first_create.unwrap_or(place))),
                    _ => {}
                }
            }
            // The log goes on where the batch ends: its own first create, if its row stands by one, comes before ours.
            before.first_create.or(first_create.map(|place| self.id_of(place))).or(before.boundary)
        };
        let last = match (event.action, event.column_name.as_deref()) {
            (Action::Create, _) => row_event(),
            (_, Some(column)) => {
                let of_cell = newest().find(|place| fresh.events[*place].column_name.as_deref() == Some(column));
                of_cell.map(|place| self.id_of(place)).or(before.cell).max(row_event())
            }
            (_, None) => newest().next().map(|place| self.id_of(place)).or(before.row),
        };
        // An id beyond the end comes from another log, such as one that was reset since.
        let seen = seen.map_or(0, |id| id.0);
        let seen = if seen > self.end + fresh.events.len() as i64 { 0 } else { seen };
        let last = last.filter(|last| *last > seen)?;
        Some(if last > self.end {
            Decided::ConflictWithInserted(usize::try_from(last - self.end - 1).unwrap_or_default())
        } else {
            Decided::ConflictWithStored(last)
        })
    }

    /// The id that an event of the batch will have.
    fn id_of(&self, place: usize) -> i64 {
        self.end + 1 + place as i64
    }

    fn by_ids(&mut self, decided: &[Vec<Decided>]) -> Result<HashMap<i64, Event>, StoreError> {
        let ids: Vec<i64> = decided
            .iter()
            .flatten()
            .filter_map(|decided| match decided {
                Decided::ConflictWithStored(id) => Some(*id),
                _ => None,
            })
            .collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let statement = self.prepare(|sql| &sql.by_ids)?;
        let events = read::events(&self.shared.config, self.transaction, &statement, &ids)?;
        Ok(events.into_iter().map(|event| (event.id.0, event)).collect())
    }

    /// Inserts events and checks that each is where it was to be.
    fn insert(&mut self, events: &[&NewEvent]) -> Result<Vec<Event>, StoreError> {
        let mut inserted = Vec::with_capacity(events.len());
        let mut rest = events;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(INSERT_EVENTS_MAX).take_while(|event| {
                let first = bytes == 0;
                bytes +=
                    64 + event.value.as_ref().map_or(0, String::len) + event.previous.as_ref().map_or(0, String::len);
                first || bytes <= INSERT_BYTES_MAX
            });
            let (part, others) = rest.split_at(fits.count());
            self.insert_part(part, &mut inserted)?;
            rest = others;
        }
        Ok(inserted)
    }

    fn insert_part(&mut self, events: &[&NewEvent], inserted: &mut Vec<Event>) -> Result<(), StoreError> {
        for _ in events {
            fault(self.shared, WriteStep::Insert)?;
        }
        let texts = |text: fn(&NewEvent) -> Option<&str>| -> Vec<Option<std::borrow::Cow<'_, str>>> {
            events.iter().map(|event| text(event).map(encode)).collect()
        };
        let users = texts(|event| Some(event.user.as_str()));
        let actions = texts(|event| Some(event.action.as_str()));
        let keys = texts(|event| Some(event.key.as_str()));
        let columns = texts(|event| event.column_name.as_deref());
        let values = texts(|event| event.value.as_deref());
        let previous = texts(|event| event.previous.as_deref());
        let batches: Vec<Uuid> = events.iter().map(|event| event.batch_id).collect();
        let sources = texts(|event| Some(event.source.as_str()));
        let reasons = texts(|event| event.reason.as_deref());
        let event_ids: Vec<Uuid> = events.iter().map(|event| event.event_id.0).collect();
        let mut numbers = Vec::with_capacity(events.len());
        let mut hashes = Vec::with_capacity(events.len());
        for event in events {
            self.chain.events += 1;
            numbers.push(self.chain.events);
            hashes.push(self.chain.hash.to_vec());
            self.chain.hash = link(&self.chain, self.writer, event);
        }
        let insert = self.prepare(|sql| &sql.insert)?;
        let config = &self.shared.config;
        let rows = self
            .transaction
            .query(
                &insert,
                &[
                    &users,
                    &actions,
                    &keys,
                    &columns,
                    &values,
                    &previous,
                    &batches,
                    &sources,
                    &reasons,
                    &event_ids,
                    &self.writer,
                    &numbers,
                    &hashes,
                ],
            )
            .map_err(|error| failed(config, error))?;
        for (place, event) in events.iter().enumerate() {
            // An insert that a foreign trigger or rule has swallowed or moved is never taken for a success.
            let row = rows.get(place).ok_or_else(|| self.swallowed())?;
            let id: i64 = row.try_get(0).map_err(|error| failed(config, error))?;
            let date: Micros = row.try_get(1).map_err(|error| failed(config, error))?;
            if id != self.end + 1 {
                return Err(self.swallowed());
            }
            self.end = id;
            inserted.push(Event {
                id: EventId(id),
                date: LogDate::from_micros(date.0),
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
            });
        }
        Ok(())
    }

    fn swallowed(&self) -> StoreError {
        StoreError::Altered {
            original: self.sql.original.clone(),
            object: self.sql.table.clone(),
            problem: "does not keep what is inserted: somebody has added a trigger or a rule",
        }
    }

    fn prepare(&mut self, text: fn(&LogSql) -> &str) -> Result<Statement, StoreError> {
        let text = text(self.sql);
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.transaction.prepare(text).map_err(|error| failed(&self.shared.config, error))?;
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl<'e> Fresh<'e> {
    fn add(&mut self, event: &'e NewEvent) -> usize {
        let place = self.events.len();
        self.events.push(event);
        self.by_event_id.insert(event.event_id.0, place);
        self.by_key.entry(event.key.as_str()).or_default().push(place);
        place
    }
}

/// What an event is compared by: its key, and its column if it has one.
fn cell_of(event: &NewEvent) -> CellKey<'_> {
    (event.key.as_str(), event.column_name.as_deref())
}

/// The ids of the events that an earlier sending of this request has appended.
fn own(request: &Append, stored: &HashMap<Uuid, Event>) -> HashSet<i64> {
    let there = |(event, _): &(NewEvent, Expected)| {
        stored.get(&event.event_id.0).filter(|stored| stored.is_same_request(event)).map(|stored| stored.id.0)
    };
    request.events.iter().filter_map(there).collect()
}

/// Whether two events of one batch are the same request, by the rule for an event that is stored.
fn is_same(earlier: &NewEvent, event: &NewEvent) -> bool {
    let content = |event: &NewEvent| {
        (
            event.event_id,
            event.user.clone(),
            event.action,
            event.key.clone(),
            event.column_name.clone(),
            event.value.clone(),
        )
    };
    content(earlier) == content(event)
}

/// The hash that the next event of a chain carries: SHA-256 over the hash that this event carries, its number, its writer
/// and its content, each part with its length before it, so that no two contents have the same bytes. The date and the id
/// are not in it, since the database gives them when the events of a batch are sent already.
fn link(chain: &Chain, writer: Uuid, event: &NewEvent) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut part = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => {
            hasher.update((bytes.len() as u64 + 1).to_be_bytes());
            hasher.update(bytes);
        }
        None => hasher.update(0_u64.to_be_bytes()),
    };
    part(Some(b"stet writer chain 1"));
    part(Some(&chain.hash));
    part(Some(&chain.events.to_be_bytes()));
    part(Some(writer.as_bytes()));
    part(Some(event.user.as_str().as_bytes()));
    part(Some(event.action.as_str().as_bytes()));
    part(Some(event.key.as_str().as_bytes()));
    part(event.column_name.as_deref().map(str::as_bytes));
    part(event.value.as_deref().map(str::as_bytes));
    part(event.previous.as_deref().map(str::as_bytes));
    part(Some(event.batch_id.as_bytes()));
    part(Some(event.source.as_str().as_bytes()));
    part(event.reason.as_deref().map(str::as_bytes));
    part(Some(event.event_id.0.as_bytes()));
    hasher.finalize().into()
}

fn failed(config: &PostgresConfig, error: postgres::Error) -> StoreError {
    StoreError::from_postgres(config, Doing::Writing, error)
}

/// Fails as the database would if a test asks for it.
fn fault(shared: &Shared, step: WriteStep) -> Result<(), StoreError> {
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
        WriteStep::Committed => StoreError::OutcomeUnknown { source: Some(source) },
        WriteStep::Begin | WriteStep::Insert | WriteStep::Commit => StoreError::WriteFailed { path, source },
    })
}
