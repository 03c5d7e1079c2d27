//! What can go wrong in a store, in words that say what to do.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;
use stet_domain::{ClientEventId, DatasetName, GroupName, Login};

use crate::postgres::PostgresConfig;

/// The database engine's own words: for the log of the node, never for an answer to a user.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct EngineError(Arc<dyn std::error::Error + Send + Sync>);

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        EngineError(Arc::new(error))
    }
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        EngineError(Arc::new(error))
    }
}

impl From<postgres::Error> for EngineError {
    fn from(error: postgres::Error) -> Self {
        EngineError(Arc::new(error))
    }
}

/// A failure of a store. The engine's text is only in `source`. It can be cloned, since one failure of the disk answers
/// many requests.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file does not exist, or this process may not open it.
    #[error("cannot open `{}`: check that the file and its folder exist and that this user may read and write them", path.display())]
    CannotOpen { path: PathBuf, source: EngineError },
    /// The file is something else than a SQLite database.
    #[error("`{}` is not a SQLite database: name another file, or move this one away", path.display())]
    NotADatabase { path: PathBuf, source: EngineError },
    /// The file can be read and not written.
    #[error("`{}` cannot be written: give this user the right to write the file and its folder", path.display())]
    ReadOnly { path: PathBuf },
    /// The file was moved, deleted or replaced while it was open. What is written now would be lost.
    #[error("`{}` was moved or replaced while it was in use: put the file back, or restart the node", path.display())]
    FileReplaced { path: PathBuf },
    /// A database on another machine, or another program, cannot be used at present.
    #[error("cannot connect to the database {connection}: {reason}")]
    CannotConnect { connection: String, reason: String, source: Option<EngineError> },
    /// The database does not let our user do what is needed.
    #[error(
        "the user of the connection {connection} may not {what}: let the administrator of the database grant it, or use another connection"
    )]
    NotAllowed { connection: String, what: &'static str, source: Option<EngineError> },
    /// Something that was asked for is not in the database.
    #[error("{connection} has no {what}: check the name, and whether it is there already")]
    NotThere { connection: String, what: String },
    /// What was asked for makes no sense for this database.
    #[error("{0}")]
    Unusable(String),
    /// Made by a later version of Stet.
    #[error(
        "{what} has format version {found} and this version of Stet knows versions up to {known}: use a newer Stet"
    )]
    NewerVersion { what: String, found: i64, known: i64 },
    /// There is no editlog for the dataset yet.
    #[error(
        "the editlog of `{original}` is not initialised: make it with `stet editlog init PROJECT.{original}`, or for SQLite by opening its table once"
    )]
    NotInitialised { original: DatasetName },
    /// A table, trigger or index of the editlog is not the one that Stet made.
    #[error(
        "the editlog of `{original}` is not protected as it was when it was created: `{object}` {problem}; restore it from a backup"
    )]
    Altered { original: DatasetName, object: String, problem: &'static str },
    /// Another original dataset has this editlog: the names differ only in upper and lower case.
    #[error(
        "the editlog of `{original}` would be the same table as that of `{existing}`: names must differ in more than upper and lower case"
    )]
    NameTaken { original: DatasetName, existing: String },
    /// The editlogs in a file belong to another node.
    #[error(
        "the editlogs in `{}` belong to the node `{owner}` ({owner_id}), and this is another node: no node writes into the log of another. So that this node starts a log of its own, move the file away, or let the connection lead to another database; or, if this is that node restored from a backup, restore its node.sqlite as well",
        path.display()
    )]
    OtherNode { path: PathBuf, owner: String, owner_id: String },
    /// Only an editlog without events may be reset here.
    #[error(
        "the editlog of `{original}` has {events} events, and edits in production are never reset: they stay. Use `revert` to take single edits back"
    )]
    HasEvents { original: DatasetName, events: u64 },
    /// Editlogs in a database are emptied by its administrator.
    #[error(
        "the editlog of `{original}` is a table of a database: Stet has no right to empty it. Its administrator drops the table, then `stet editlog init` makes a new one"
    )]
    NoReset { original: DatasetName },
    /// The database keeps names of this form for itself.
    #[error(
        "`{original}` cannot have an editlog in SQLite, which keeps names that start with `sqlite_` for itself: rename the dataset"
    )]
    NameReserved { original: DatasetName },
    /// More is waiting than the store can write in time.
    #[error("the store is busy: nothing was saved after {waited_ms} ms of waiting; try again shortly")]
    Busy { waited_ms: u64 },
    /// Another process holds the database for too long.
    #[error("`{}` is locked by another program: nothing was saved; end that program, or try again shortly", path.display())]
    Locked { path: PathBuf, source: EngineError },
    /// No room for the write. Nothing of it was kept.
    #[error("there is no room left to write `{}`: nothing was saved; free some space, then try again", path.display())]
    Full { path: PathBuf, source: EngineError },
    /// The write failed before its commit. Nothing of it was kept.
    #[error("writing to `{}` failed: nothing was saved; try again, and look at the disk and at the log of the node", path.display())]
    WriteFailed { path: PathBuf, source: EngineError },
    /// The commit failed or its answer was lost: nobody can tell whether the write was kept.
    #[error("it is not known whether this was saved: send it again with the same event ids, which saves nothing twice")]
    OutcomeUnknown { source: Option<EngineError> },
    /// A read failed.
    #[error("reading `{}` failed: look at the disk and at the log of the node", path.display())]
    ReadFailed { path: PathBuf, source: EngineError },
    /// The last event has a later date than the clock of this machine shows.
    #[error(
        "the clock of this machine is {behind_ms} ms behind the last event of the editlog, and dates in an editlog never go back: nothing was saved; set the clock right"
    )]
    ClockWentBack { behind_ms: i64 },
    /// One request has more events than are written in one transaction.
    #[error("{events} events are too many for one request: the most are {events_max}; split it, or import a file")]
    TooManyEvents { events: usize, events_max: usize },
    /// One event is longer than the store takes.
    #[error("an event of {bytes} bytes is too long: the most are {bytes_max}")]
    EventTooLong { bytes: usize, bytes_max: usize },
    /// One request names the same event twice.
    #[error("two events of this request have the same event id {}: give each event its own", event_id.0)]
    EventIdTwice { event_id: ClientEventId },
    /// An event that has no meaning. Nothing of its request was kept.
    #[error("an event of this request is malformed: {reason}; nothing was saved")]
    Malformed { reason: &'static str },
    /// A rule of the database refused the write. Nothing of it was kept.
    #[error("the database refused this: nothing was saved; the log of the node says which rule it was")]
    Refused { source: EngineError },
    /// What is stored cannot be read as what it should be.
    #[error("`{}` is damaged: {what}; restore it from a backup", path.display())]
    Damaged { path: PathBuf, what: String, source: Option<EngineError> },
    /// A user with this login (in upper or lower case) is there already.
    #[error("there is already a user `{login}`: choose another login")]
    LoginTaken { login: Login },
    /// No user has this login.
    #[error("there is no user `{login}`")]
    NoSuchUser { login: Login },
    /// A group of this name (in upper or lower case) is there already.
    #[error("there is already a group `{group}`: choose another name")]
    GroupTaken { group: GroupName },
    /// No group has this name.
    #[error("there is no group `{group}`")]
    NoSuchGroup { group: GroupName },
    /// The user has a token of this name.
    #[error("`{login}` already has a token named `{name}`: revoke it, or choose another name")]
    TokenNameTaken { login: Login, name: String },
    /// No build has this id.
    #[error("there is no build {id}")]
    NoSuchBuild { id: uuid::Uuid },
    /// The store is closed, or the program is ending.
    #[error("the store is closed: the node is stopping")]
    Closed,
}

/// What was being done when the engine reported a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Opening,
    Reading,
    Writing,
    Committing,
}

impl StoreError {
    /// What a failure of PostgreSQL means. The path of errors that have one is the connection's description.
    pub(crate) fn from_postgres(config: &PostgresConfig, doing: Doing, error: postgres::Error) -> StoreError {
        let path = PathBuf::from(config.to_string());
        let connection = config.to_string();
        let state = error.code().map(|state| state.code().to_owned());
        let lost =
            error.is_closed() || (error.code().is_none() && error.source().is_some_and(|s| s.is::<std::io::Error>()));
        let source = EngineError::from(error);
        match (state.as_deref(), doing) {
            (_, Doing::Committing) => match state.as_deref().map(|state| &state[..2]) {
                // Refused before anything was made durable: by a deferred rule, a serialisation, a lack of room.
                Some("23" | "40" | "53" | "25") => StoreError::WriteFailed { path, source },
                _ => StoreError::OutcomeUnknown { source: Some(source) },
            },
            (Some("ST001"), _) => StoreError::ClockWentBack { behind_ms: 1 },
            (Some("53100"), _) => StoreError::Full { path, source },
            (Some("55P03" | "57014" | "40001" | "40P01"), _) => StoreError::Locked { path, source },
            (Some("42501"), Doing::Reading) => {
                StoreError::NotAllowed { connection, what: "read this", source: Some(source) }
            }
            (Some("42501"), _) => StoreError::NotAllowed { connection, what: "do this", source: Some(source) },
            (Some("25006"), _) => StoreError::ReadOnly { path },
            (Some("42P01" | "3F000"), _) => {
                StoreError::NotThere { connection, what: "such table or schema".to_owned() }
            }
            (Some(class), Doing::Writing) if class.starts_with("23") || class.starts_with("P0") => {
                StoreError::Refused { source }
            }
            (Some(class), Doing::Reading | Doing::Opening) if class.starts_with("57P") || class.starts_with("08") => {
                let reason = "the connection was lost".to_owned();
                StoreError::CannotConnect { connection, reason, source: Some(source) }
            }
            (None, Doing::Reading | Doing::Opening) if lost => {
                let reason = "the connection was lost".to_owned();
                StoreError::CannotConnect { connection, reason, source: Some(source) }
            }
            (_, Doing::Writing) => StoreError::WriteFailed { path, source },
            (_, Doing::Reading | Doing::Opening) => StoreError::ReadFailed { path, source },
        }
    }

    pub(crate) fn from_engine(path: &Path, doing: Doing, error: rusqlite::Error) -> StoreError {
        let path = path.to_owned();
        let code = error.sqlite_error_code();
        let conversion = matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
        );
        let what = error.to_string();
        let source = EngineError::from(error);
        match (code, doing) {
            (Some(ErrorCode::NotADatabase), _) => StoreError::NotADatabase { path, source },
            (Some(ErrorCode::ReadOnly), _) => StoreError::ReadOnly { path },
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => StoreError::Locked { path, source },
            (Some(ErrorCode::DatabaseCorrupt), _) => {
                StoreError::Damaged { path, what: "its pages contradict each other".to_owned(), source: Some(source) }
            }
            // At a commit too: the frame that makes a transaction valid is written last, so it is not there.
            (Some(ErrorCode::DiskFull), Doing::Writing | Doing::Committing) => StoreError::Full { path, source },
            (Some(ErrorCode::ConstraintViolation), Doing::Writing) => StoreError::Refused { source },
            (Some(ErrorCode::CannotOpen), _) | (_, Doing::Opening) => StoreError::CannotOpen { path, source },
            _ if conversion => StoreError::Damaged { path, what, source: None },
            (_, Doing::Reading) => StoreError::ReadFailed { path, source },
            (_, Doing::Writing) => StoreError::WriteFailed { path, source },
            (_, Doing::Committing) => StoreError::OutcomeUnknown { source: Some(source) },
        }
    }
}
