//! What becomes of each event of a batch, decided under the lock of its log before anything is inserted.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use postgres::{Statement, Transaction};
use stet_domain::{Action, Event, NewEvent};
use uuid::Uuid;

use super::insert::{Chain, WriterName};
use super::schema::LogSql;
use super::writer::failed;
use super::{Shared, read};
use crate::editlog::{Append, Expected, Outcome};
use crate::error::StoreError;
use crate::postgres::{Micros, encode};

/// A clock that is behind by up to this is waited for; see the same in the SQLite writer.
const CLOCK_WAIT_MS_MAX: i64 = 2_000;

/// One log within a transaction that holds its lock.
pub(super) struct Log<'a, 'c> {
    pub shared: &'a Shared,
    pub transaction: &'a mut Transaction<'c>,
    pub statements: &'a mut HashMap<String, Statement>,
    pub sql: &'a LogSql,
    pub writer: &'a WriterName,
    pub chain: Chain,
    /// The last id.
    pub end: i64,
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
    /// Takes the lock of the log, waits for a clock that is a little behind, and finds the last id, or 0.
    pub(super) fn lock(&mut self) -> Result<(), StoreError> {
        let lock = self.prepare(|sql| &sql.lock)?;
        self.transaction.execute(&lock, &[]).map_err(|error| failed(&self.shared.config, error))?;
        let (mut end, mut behind_ms) = self.look()?;
        if (1..=CLOCK_WAIT_MS_MAX).contains(&behind_ms) {
            std::thread::sleep(Duration::from_millis(behind_ms.unsigned_abs()));
            (end, behind_ms) = self.look()?;
        }
        if behind_ms > 0 {
            return Err(StoreError::ClockWentBack { behind_ms });
        }
        self.end = end;
        Ok(())
    }

    fn look(&mut self) -> Result<(i64, i64), StoreError> {
        let last = self.prepare(|sql| &sql.last)?;
        let config = &self.shared.config;
        let Some(row) = self.transaction.query_opt(&last, &[]).map_err(|error| failed(config, error))? else {
            self.chain.of_table(None);
            return Ok((0, 0));
        };
        self.chain.of_table(Some(row.try_get(3).map_err(|error| failed(config, error))?));
        let get = |place| row.try_get::<_, Micros>(place).map_err(|error| failed(config, error));
        let behind = get(1)?.0.saturating_sub(get(2)?.0).max(0);
        // Rounded up: a wait that ends too early would be for nothing.
        Ok((row.try_get(0).map_err(|error| failed(config, error))?, (behind + 999) / 1000))
    }

    /// Appends requests in their order; each sees those before it.
    pub(super) fn append(&mut self, requests: &[&Append]) -> Result<Vec<Vec<Outcome>>, StoreError> {
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

    pub(super) fn prepare(&mut self, text: fn(&LogSql) -> &str) -> Result<Statement, StoreError> {
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
