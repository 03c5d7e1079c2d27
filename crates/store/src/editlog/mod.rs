//! Editlogs: append-only logs of edit events, protected by the database that holds them.
//!
//! [`Editlogs`], [`Editlog`] and [`EditlogReader`] are plain structs over an enum of the databases that we know, not
//! traits: there are few of them and they are all ours, `async` methods need no boxes, handles are cheap to clone, and no
//! type parameter or `dyn` spreads through the crates above. What a test wants to replace in a store are its failures,
//! and those it injects through [`EditlogSettings::faults`] into the real one.

mod batches;
mod positions;
mod postgres;
mod sealed;
mod sqlite;

pub use postgres::{Protection, ProtectionFinding, ProtectionMode};

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stet_domain::key::KEY_BYTES_MAX;
use stet_domain::replay::Edit;
use stet_domain::{Action, DatasetName, Event, EventId, NewEvent};
use stet_editlog::erasure::{Erasure, FieldMask, mask};
use stet_editlog::event::{Secret, encode_secrets};
use stet_editlog::{Field, Personal};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::StoreError;
use crate::postgres::Postgres;

pub use self::sealed::{SealProgress, SealedLog, SealedPage, Sealing, WriterLink};

/// The most events in one [`Append`].
pub const REQUEST_EVENTS_MAX: usize = 100_000;

/// The longest event, in bytes of all its texts.
pub const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What stands in the column of an erased user, which must not be NULL.
const ERASED_USER: &str = "erased";

/// The most events that one read returns; larger limits are cut to it.
pub const READ_EVENTS_MAX: usize = 100_000;

/// Events to append together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// All or nothing: if one event meets a conflict or a taken event id, none is appended.
    pub atomic: bool,
    /// The events in log order, each with what its author had seen. At most [`REQUEST_EVENTS_MAX`], each with an
    /// `event_id` of its own and at most [`EVENT_BYTES_MAX`] bytes long.
    pub events: Vec<(NewEvent, Expected)>,
}

/// What the author of an event had seen when making it.
///
/// Events of the same request never conflict with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Append whatever happened in between.
    Any,
    /// The last event that the author had seen, or none. A later event of another request is a conflict if it moved what
    /// this event edits:
    ///
    /// - an `update` or `revert` of a cell: an event of that cell, or one of its whole row; give `RowState::seen`;
    /// - a `delete`, or a `revert` of a whole row: any event of that key; give `RowState::last_event`;
    /// - a `create`: an event of the whole row, so nobody created, deleted or reverted the key since; give
    ///   `RowState::row_event`.
    ///
    /// An event of a whole row is a `delete`, a `revert` without a column, and the first `create` of a row's life: the
    /// same as `RowState::row_event`. An id beyond the end of the log was never seen, and counts as having seen nothing.
    Seen(Option<EventId>),
}

/// What became of one event of an [`Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log, durably.
    Appended(Event),
    /// The same event was appended by an earlier request; this is it.
    AlreadyThere(Event),
    /// Not appended: this event moved the cell or row after the author saw it.
    Conflict(Event),
    /// Not appended: this event, of other content, has the same `event_id`.
    EventIdTaken(Event),
    /// Not appended because another event of the same atomic request was not.
    NotDone,
}

impl Outcome {
    /// The event that is in the log now.
    pub fn saved(&self) -> Option<EventId> {
        match self {
            Outcome::Appended(event) | Outcome::AlreadyThere(event) => Some(event.id),
            Outcome::Conflict(_) | Outcome::EventIdTaken(_) | Outcome::NotDone => None,
        }
    }
}

/// Which tables of a PostgreSQL database hold editlogs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EditlogTables {
    /// The schema.
    pub schema: String,
    /// The table, for the editlog of one original; none for `<original>_editlog` of any.
    pub table: Option<String>,
}

/// The limits of a place that holds editlogs.
#[derive(Clone)]
pub struct EditlogSettings {
    /// The most requests that wait to be written; owned by the callers until then.
    pub queue_requests_max: usize,
    /// How long a request waits for a place in the queue before it fails with `Busy`.
    pub queue_timeout_ms: u64,
    /// How long a write or read waits for another process that holds the database.
    pub busy_timeout_ms: u64,
    /// The most reads at a time.
    pub read_connections_max: usize,
    /// The largest size of the database, in bytes; none for the engine's own limit. Beyond it, appends fail with `Full`.
    pub file_bytes_max: Option<u64>,
    /// How often to look for commits of other processes.
    pub poll_interval_ms: u64,
    /// Who signs what is appended; none to keep leaves without checkpoints, for which a later opening signs.
    pub sealing: Option<Sealing>,
    /// Failures to inject in tests of failure; none otherwise.
    pub faults: Option<Faults>,
}

impl Default for EditlogSettings {
    fn default() -> Self {
        EditlogSettings {
            queue_requests_max: 1024,
            queue_timeout_ms: 5_000,
            busy_timeout_ms: 5_000,
            read_connections_max: 4,
            file_bytes_max: None,
            poll_interval_ms: 200,
            sealing: None,
            faults: None,
        }
    }
}

/// Called by the writer before each step; `true` makes the step fail as if the disk had.
pub type Faults = Arc<dyn Fn(WriteStep) -> bool + Send + Sync>;

/// The steps of a write at which a failure can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteStep {
    /// Before the database is opened again after a failure.
    Reopen,
    /// Before the transaction begins.
    Begin,
    /// Before an event is inserted.
    Insert,
    /// Before the transaction is committed: nothing is kept.
    Commit,
    /// After the transaction is committed and before anybody is told: everything is kept.
    Committed,
    /// Before events are sealed. In SQLite that is in the transaction that appends them, in PostgreSQL in one of its own.
    SealBegin,
    /// Before leaves are kept.
    SealLeaves,
    /// Before a checkpoint is signed and kept.
    SealCheckpoint,
    /// Before a sealing is committed by itself: nothing of it is kept.
    SealCommit,
    /// After a sealing was committed by itself.
    SealCommitted,
}

/// What the writer has done since the place was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EditlogStats {
    /// Transactions committed, each with one wait for the disk.
    pub commits: u64,
    /// Requests answered after a commit.
    pub requests: u64,
    /// Events appended.
    pub events: u64,
    /// Transactions that failed and of which nothing was acknowledged.
    pub failures: u64,
}

/// A place that holds editlogs: a SQLite file, or tables of PostgreSQL. Cheap to clone; it is closed when the last clone and the last [`Editlog`]
/// of it are gone.
#[derive(Clone)]
pub struct Editlogs(EditlogsBackend);

#[derive(Clone)]
enum EditlogsBackend {
    Sqlite(Arc<sqlite::SqliteEditlogs>),
    Postgres(Arc<postgres::PostgresEditlogs>),
}

impl Editlogs {
    /// Opens a SQLite file for appending and reading, and creates it if there is none. Blocks shortly.
    ///
    /// Fails with `CannotOpen`, `NotADatabase`, `ReadOnly`, `Locked` or `NewerVersion`.
    pub fn open_sqlite(path: &Path, settings: EditlogSettings) -> Result<Editlogs, StoreError> {
        Ok(Editlogs(EditlogsBackend::Sqlite(sqlite::SqliteEditlogs::open(path, settings)?)))
    }

    /// Takes tables of PostgreSQL for appending and reading. Nothing is connected before it is used, so that a database
    /// that is away for the moment keeps nobody from starting.
    pub fn open_postgres(
        postgres: &Postgres,
        tables: EditlogTables,
        settings: EditlogSettings,
    ) -> Result<Editlogs, StoreError> {
        Ok(Editlogs(EditlogsBackend::Postgres(postgres::PostgresEditlogs::open(postgres, tables, settings)?)))
    }

    /// Creates the editlog of an original dataset, with all that protects it; if it is there already, checks it.
    ///
    /// Fails like [`Editlogs::editlog`], and with `NameTaken` or `NameReserved` for a name that the database cannot keep
    /// apart.
    pub async fn initialise(&self, original: &DatasetName) -> Result<Editlog, StoreError> {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => {
                Ok(Editlog(EditlogBackend::Sqlite(editlogs.initialise(original).await?)))
            }
            EditlogsBackend::Postgres(editlogs) => {
                Ok(Editlog(EditlogBackend::Postgres(editlogs.initialise(original).await?)))
            }
        }
    }

    /// Whether the original dataset has an editlog here.
    pub async fn is_initialised(&self, original: &DatasetName) -> Result<bool, StoreError> {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => editlogs.is_initialised(original).await,
            EditlogsBackend::Postgres(editlogs) => editlogs.is_initialised(original).await,
        }
    }

    /// The editlog of an original dataset, after checking that nothing of what protects it is missing.
    ///
    /// Fails with `NotInitialised`, `Altered` or `NewerVersion`. Must be called within a tokio runtime, as all `async`
    /// functions of this crate.
    pub async fn editlog(&self, original: &DatasetName) -> Result<Editlog, StoreError> {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => Ok(Editlog(EditlogBackend::Sqlite(editlogs.editlog(original).await?))),
            EditlogsBackend::Postgres(editlogs) => {
                Ok(Editlog(EditlogBackend::Postgres(editlogs.editlog(original).await?)))
            }
        }
    }

    /// Writes into a SQLite file which node its editlogs belong to, if it belongs to none; two nodes never share one. In
    /// PostgreSQL each editlog says it for itself, from its initialisation on, and no other node opens it.
    ///
    /// Fails with `OtherNode` if it belongs to another.
    pub async fn claim(&self, node: Uuid, name: &str) -> Result<(), StoreError> {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => editlogs.claim(node, name).await,
            EditlogsBackend::Postgres(_) => Ok(()),
        }
    }

    /// Makes the editlog of an original anew, without its events, and tells how many there were; makes it if it is not
    /// there. This is the only way by which events go. Whoever follows the old one has to open the new one.
    ///
    /// Fails like [`Editlogs::editlog`], with `HasEvents` if there are some and `only_empty` is asked for, and with `NoReset`
    /// for a table of PostgreSQL that does not belong to our user.
    pub async fn reset(&self, original: &DatasetName, only_empty: bool) -> Result<u64, StoreError> {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => editlogs.reset(original, only_empty).await,
            EditlogsBackend::Postgres(editlogs) => editlogs.reset(original, only_empty).await,
        }
    }

    /// Erases personal data of events: texts and salts go, and their commitments stay, so that the log still verifies. The
    /// erasure has to be an event of the log already. How many events had something to erase.
    ///
    /// In PostgreSQL only the owner of the tables can; for a log that was made securely `admin_url` is the connection of
    /// somebody who may act for it, used once. Fails with `NotAllowed` without that right.
    pub async fn erase(
        &self,
        original: &DatasetName,
        erasure: Erasure,
        admin_url: Option<String>,
    ) -> Result<u64, StoreError> {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => editlogs.erase(original, erasure).await,
            EditlogsBackend::Postgres(editlogs) => editlogs.erase(original, erasure, admin_url).await,
        }
    }

    /// Why events of an original wait to be sealed, if sealing failed the last time. In SQLite nothing waits: what cannot
    /// be sealed is not appended.
    pub fn sealing_failure(&self, original: &DatasetName) -> Option<String> {
        match &self.0 {
            EditlogsBackend::Sqlite(_) => None,
            EditlogsBackend::Postgres(editlogs) => editlogs.seal_state(original)?.failure,
        }
    }

    /// Waits until everything is sealed that this process is to seal, `at_most` so long: before it ends.
    pub async fn settle(&self, at_most: Duration) {
        match &self.0 {
            EditlogsBackend::Sqlite(_) => {}
            EditlogsBackend::Postgres(editlogs) => editlogs.settle(at_most).await,
        }
    }

    /// Whether this process is the one that seals the editlog of an original, of all that have it open.
    pub fn seals(&self, original: &DatasetName) -> bool {
        match &self.0 {
            EditlogsBackend::Sqlite(_) => true,
            EditlogsBackend::Postgres(editlogs) => editlogs.seal_state(original).is_some_and(|state| state.leads),
        }
    }

    /// The original datasets that have an editlog here, by name.
    pub async fn originals(&self) -> Result<Vec<DatasetName>, StoreError> {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => editlogs.originals().await,
            EditlogsBackend::Postgres(editlogs) => editlogs.originals().await,
        }
    }

    /// The original datasets that have an editlog in a SQLite file, by name. Blocks.
    ///
    /// Fails with `CannotOpen` or `NotADatabase`.
    pub fn originals_sqlite(path: &Path) -> Result<Vec<DatasetName>, StoreError> {
        sqlite::SqliteReader::originals(path)
    }

    /// Changes [`EditlogSettings::file_bytes_max`] from the next write on. PostgreSQL has limits of its own.
    pub fn set_file_bytes_max(&self, file_bytes_max: Option<u64>) {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => editlogs.set_file_bytes_max(file_bytes_max),
            EditlogsBackend::Postgres(_) => {}
        }
    }

    /// What the writer has done since the place was opened.
    pub fn stats(&self) -> EditlogStats {
        match &self.0 {
            EditlogsBackend::Sqlite(editlogs) => editlogs.stats(),
            EditlogsBackend::Postgres(editlogs) => editlogs.stats(),
        }
    }
}

/// The editlog of one original dataset. Cheap to clone.
#[derive(Clone)]
pub struct Editlog(EditlogBackend);

#[derive(Clone)]
enum EditlogBackend {
    Sqlite(sqlite::SqliteEditlog),
    Postgres(postgres::PostgresEditlog),
}

impl Editlog {
    /// The original dataset whose edits are in this log.
    pub fn original(&self) -> &DatasetName {
        match &self.0 {
            EditlogBackend::Sqlite(log) => log.original(),
            EditlogBackend::Postgres(log) => log.original(),
        }
    }

    /// Appends events and answers, once they are durable, what became of each, in their order.
    ///
    /// Requests that wait at the same time are committed together. If the caller stops waiting, the events may still be
    /// appended. An error means that nothing of the request is known to be kept; sending it again with the same event
    /// ids is always safe, whatever the error.
    ///
    /// Fails with `Busy`, `Locked`, `Full`, `WriteFailed`, `OutcomeUnknown`, `FileReplaced`, `ClockWentBack`,
    /// `TooManyEvents`, `EventTooLong`, `EventIdTwice`, `Malformed` or `Refused`.
    pub async fn append(&self, request: Append) -> Result<Vec<Outcome>, StoreError> {
        check_request(&request)?;
        match &self.0 {
            EditlogBackend::Sqlite(log) => log.append(request).await,
            EditlogBackend::Postgres(log) => log.append(request).await,
        }
    }

    /// The events after `after` (all, if none) as far as this process has appended them lately, in log order, at most
    /// `limit`, without asking the database. None when that is not known: then [`Editlog::read_since`] tells.
    pub fn recent_since(&self, after: Option<EventId>, limit: usize) -> Option<Vec<Event>> {
        match &self.0 {
            EditlogBackend::Sqlite(log) => log.recent_since(after, limit),
            EditlogBackend::Postgres(log) => log.recent_since(after, limit),
        }
    }

    /// The events after `after` (all, if none), in log order, at most `limit`.
    pub async fn read_since(&self, after: Option<EventId>, limit: usize) -> Result<Vec<Event>, StoreError> {
        match &self.0 {
            EditlogBackend::Sqlite(log) => log.read_since(after, limit).await,
            EditlogBackend::Postgres(log) => log.read_since(after, limit).await,
        }
    }

    /// The events of a row, newest first, at most `limit`, and only those before `before` if it is given. With a
    /// column: those of that cell and those without a column, which concern the whole row.
    pub async fn history(
        &self,
        key: &str,
        column: Option<&str>,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        match &self.0 {
            EditlogBackend::Sqlite(log) => log.history(key, column, before, limit).await,
            EditlogBackend::Postgres(log) => log.history(key, column, before, limit).await,
        }
    }

    /// How far the log is sealed. In SQLite that is always all of it.
    pub async fn seal_progress(&self) -> Result<SealProgress, StoreError> {
        match &self.0 {
            EditlogBackend::Sqlite(log) => {
                let events = log.count().await?;
                Ok(SealProgress { events, sealed: events, behind_ms: None })
            }
            EditlogBackend::Postgres(log) => log.seal_progress().await,
        }
    }

    /// The last event; none for an empty log.
    pub async fn position(&self) -> Result<Option<EventId>, StoreError> {
        match &self.0 {
            EditlogBackend::Sqlite(log) => log.position().await,
            EditlogBackend::Postgres(log) => log.position().await,
        }
    }

    /// How many events there are, counted.
    pub async fn count(&self) -> Result<u64, StoreError> {
        match &self.0 {
            EditlogBackend::Sqlite(log) => log.count().await,
            EditlogBackend::Postgres(log) => log.count().await,
        }
    }

    /// The log's position as it moves: at once with our own commits, and soon after those of other processes. It never
    /// goes back.
    pub fn watch(&self) -> watch::Receiver<Option<EventId>> {
        match &self.0 {
            EditlogBackend::Sqlite(log) => log.watch(),
            EditlogBackend::Postgres(log) => log.watch(),
        }
    }

    /// A blocking reader with a connection of its own, for builds.
    pub fn reader(&self) -> Result<EditlogReader, StoreError> {
        match &self.0 {
            EditlogBackend::Sqlite(log) => Ok(EditlogReader(ReaderBackend::Sqlite(log.reader()?))),
            EditlogBackend::Postgres(log) => Ok(EditlogReader(ReaderBackend::Postgres(log.reader()?))),
        }
    }
}

/// Reads one editlog, blocking, and never writes: for builds, and for the command line beside a running or stopped node.
pub struct EditlogReader(ReaderBackend);

enum ReaderBackend {
    Sqlite(sqlite::SqliteReader),
    Postgres(postgres::PostgresReader),
}

impl EditlogReader {
    /// Opens the editlog of an original dataset in a SQLite file.
    ///
    /// Fails with `CannotOpen`, `NotADatabase`, `NotInitialised`, `Altered` or `NewerVersion`.
    pub fn open_sqlite(path: &Path, original: &DatasetName) -> Result<EditlogReader, StoreError> {
        Ok(EditlogReader(ReaderBackend::Sqlite(sqlite::SqliteReader::open(path, original)?)))
    }

    /// Checks that the editlogs in a SQLite file belong to this node, or to none; a file that is not there does.
    ///
    /// Fails with `OtherNode`, `CannotOpen` or `NotADatabase`.
    pub fn check_owner_sqlite(path: &Path, node: Uuid) -> Result<(), StoreError> {
        sqlite::check_owner(path, node)
    }

    /// Whether an original dataset has an editlog in a SQLite file.
    ///
    /// Fails with `CannotOpen` or `NotADatabase`; a file that is not there is one without editlogs.
    pub fn is_initialised_sqlite(path: &Path, original: &DatasetName) -> Result<bool, StoreError> {
        sqlite::SqliteReader::is_initialised(path, original)
    }

    /// Opens the editlog of an original dataset in tables of PostgreSQL, with a connection of its own.
    ///
    /// Fails with `CannotConnect`, `NotInitialised`, `Altered` or `NewerVersion`.
    pub fn open_postgres(
        postgres: &Postgres,
        tables: &EditlogTables,
        original: &DatasetName,
    ) -> Result<EditlogReader, StoreError> {
        Ok(EditlogReader(ReaderBackend::Postgres(tables.reader(postgres, original)?)))
    }

    /// Whether an original dataset has an editlog in tables of PostgreSQL.
    ///
    /// Fails with `CannotConnect`.
    pub fn is_initialised_postgres(
        postgres: &Postgres,
        tables: &EditlogTables,
        original: &DatasetName,
    ) -> Result<bool, StoreError> {
        tables.is_initialised(postgres, original)
    }

    /// Visits the events after `after` up to and with `up_to` (to the end, if none), in log order, in bounded memory,
    /// until `visit` breaks. Returns the last event visited.
    ///
    /// It holds no lock between pages of events, so a slow visitor is in nobody's way.
    pub fn scan(
        &self,
        after: Option<EventId>,
        up_to: Option<EventId>,
        visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<EventId>, StoreError> {
        match &self.0 {
            ReaderBackend::Sqlite(reader) => reader.scan(after, up_to, visit),
            ReaderBackend::Postgres(reader) => reader.scan(after, up_to, visit),
        }
    }

    /// As [`EditlogReader::scan`] from the first event on, with what a fold needs of each, which costs much less than whole
    /// events: several pieces of a SQLite file are read at once, and none of their texts is copied for itself.
    pub fn scan_edits(
        &self,
        up_to: Option<EventId>,
        visit: &mut dyn FnMut(&Edit<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        match &self.0 {
            ReaderBackend::Sqlite(reader) => reader.scan_edits(up_to, visit),
            ReaderBackend::Postgres(reader) => {
                reader.scan(None, up_to, &mut |event| visit(&Edit::from(&event))).map(drop)
            }
        }
    }

    /// See [`Editlog::read_since`].
    pub fn read_since(&self, after: Option<EventId>, limit: usize) -> Result<Vec<Event>, StoreError> {
        match &self.0 {
            ReaderBackend::Sqlite(reader) => reader.read_since(after, limit),
            ReaderBackend::Postgres(reader) => reader.read_since(after, limit),
        }
    }

    /// See [`Editlog::history`].
    pub fn history(
        &self,
        key: &str,
        column: Option<&str>,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        match &self.0 {
            ReaderBackend::Sqlite(reader) => reader.history(key, column, before, limit),
            ReaderBackend::Postgres(reader) => reader.history(key, column, before, limit),
        }
    }

    /// See [`Editlog::position`].
    pub fn position(&self) -> Result<Option<EventId>, StoreError> {
        match &self.0 {
            ReaderBackend::Sqlite(reader) => reader.position(),
            ReaderBackend::Postgres(reader) => reader.position(),
        }
    }

    /// See [`Editlog::count`].
    pub fn count(&self) -> Result<u64, StoreError> {
        match &self.0 {
            ReaderBackend::Sqlite(reader) => reader.count(),
            ReaderBackend::Postgres(reader) => reader.count(),
        }
    }
}

impl fmt::Debug for Editlogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editlogs").finish_non_exhaustive()
    }
}

impl fmt::Debug for Editlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editlog").field("original", self.original()).finish_non_exhaustive()
    }
}

impl fmt::Debug for EditlogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EditlogReader").finish_non_exhaustive()
    }
}

/// The secure initialisation of editlogs in PostgreSQL, and what protects them.
impl EditlogTables {
    /// The script that makes the editlog of an original so that its owner cannot log in and the node's user can only
    /// append and read: for an administrator of the database. It can be run again.
    ///
    /// # Errors
    /// `Unusable` for a name that PostgreSQL would cut.
    pub fn secure_script(&self, postgres: &Postgres, original: &DatasetName) -> Result<String, StoreError> {
        postgres::script(postgres, self, original)
    }

    /// What [`EditlogTables::secure_script`] does, in plain words.
    ///
    /// # Errors
    /// As there.
    pub fn secure_explanation(&self, postgres: &Postgres, original: &DatasetName) -> Result<Vec<String>, StoreError> {
        postgres::explain(postgres, self, original)
    }

    /// Runs the script with the credentials of an administrator (a connection URL), which are used once and kept nowhere.
    /// Blocks.
    ///
    /// # Errors
    /// `CannotConnect`; `NotAllowed` when the administrator may not make roles; `Unusable` with the reason when the script
    /// refuses to run.
    pub fn initialise_securely(
        &self,
        postgres: &Postgres,
        original: &DatasetName,
        admin_url: &str,
    ) -> Result<(), StoreError> {
        postgres::run_secure(postgres, self, original, admin_url)
    }

    /// What the database really enforces on the editlog of an original: read from its catalogue, and tried with the node's
    /// own credentials in a transaction that is rolled back. Blocks.
    ///
    /// # Errors
    /// `NotInitialised`, `CannotConnect`.
    pub fn protection(&self, postgres: &Postgres, original: &DatasetName) -> Result<Protection, StoreError> {
        postgres::protection(postgres, self, original)
    }
}

/// What a request must be before any database sees it: within the limits, and of a meaning. The databases have the same
/// rules for those who write to them by other ways.
fn check_request(request: &Append) -> Result<(), StoreError> {
    let events = request.events.len();
    if events > REQUEST_EVENTS_MAX {
        return Err(StoreError::TooManyEvents { events, events_max: REQUEST_EVENTS_MAX });
    }
    let mut ids = HashSet::with_capacity(events);
    for (event, _) in &request.events {
        if !ids.insert(event.event_id) {
            return Err(StoreError::EventIdTwice { event_id: event.event_id });
        }
        if let Some(reason) = malformed(event) {
            return Err(StoreError::Malformed { reason });
        }
        let texts = [&event.column_name, &event.value, &event.previous, &event.reason];
        let bytes = event.key.as_str().len() + texts.into_iter().flatten().map(String::len).sum::<usize>();
        if bytes > EVENT_BYTES_MAX {
            return Err(StoreError::EventTooLong { bytes, bytes_max: EVENT_BYTES_MAX });
        }
    }
    Ok(())
}

fn malformed(event: &NewEvent) -> Option<&'static str> {
    let (column, value) = (event.column_name.as_deref(), event.value.is_some());
    match (event.action, column) {
        _ if event.key.as_str().len() > KEY_BYTES_MAX => Some("its key is longer than 8192 bytes"),
        (_, Some("")) => Some("the name of its column is empty"),
        (Action::Update, None) => Some("an update names the column that it sets"),
        (Action::Delete, Some(_)) => Some("a delete is of a whole row and names no column"),
        (Action::Erase, None) => Some("an erasure names the fields that it erases"),
        (Action::Note, Some(_)) => Some("a note is of no column"),
        (Action::Erase | Action::Note, _) if event.reason.is_none() => Some("an erasure or a note has a reason"),
        (Action::Delete | Action::Revert | Action::Erase | Action::Note, _) if value => {
            Some("only an update or a create has a value")
        }
        (Action::Create, None) if value => Some("a value needs the column that it is for"),
        _ => None,
    }
}

/// The secrets of an event of which some fields are erased; none if there is nothing to erase, or the salts of what would
/// be kept are not known.
fn erased_secrets(event: &stet_editlog::Event<'_>, fields: FieldMask) -> Option<Vec<u8>> {
    let (mut erases, mut known) = (false, true);
    let secrets = Field::ALL.map(|field| match event.personal(field) {
        Personal::Absent => Secret::Absent,
        Personal::Erased(commitment) => Secret::Erased(*commitment),
        Personal::Clear(_, salt) if *salt == stet_editlog::Salt::default() => {
            known = false;
            Secret::Absent
        }
        personal @ Personal::Clear(_, salt) => match personal.commitment().filter(|_| fields & mask([field]) != 0) {
            Some(commitment) => {
                erases = true;
                Secret::Erased(commitment)
            }
            None => Secret::Salt(*salt),
        },
    });
    (erases && known).then(|| encode_secrets(&secrets))
}

impl EditlogSettings {
    fn queue_timeout(&self) -> Duration {
        Duration::from_millis(self.queue_timeout_ms)
    }
}
