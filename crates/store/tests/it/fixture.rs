//! What the tests share: places to keep editlogs in, and short ways to make events.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};

use stet_domain::{Action, ClientEventId, DatasetName, Event, EventId, Key, LogDate, Login, NewEvent, Source};
use stet_store::editlog::{Faults, WriteStep};
use stet_store::{
    Append, Editlog, EditlogReader, EditlogSettings, EditlogTables, Editlogs, Expected, Outcome, Postgres,
    PostgresConfig,
};
use stet_testkit::postgres::{SUPERUSER, TestDatabase};
use tempfile::TempDir;
use tokio::sync::Notify;
use uuid::Uuid;

/// A kind of place that holds editlogs, to run the conformance suite on.
pub trait Backend: Send + Sync {
    /// Opens the place. A second time it is the same place, as another process would open it.
    fn open(&self, settings: EditlogSettings) -> Editlogs;
    /// A blocking reader of one editlog in the place.
    fn reader(&self, original: &DatasetName) -> EditlogReader;
}

/// A SQLite file in a folder of its own.
pub struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub fn new() -> Sqlite {
        Sqlite { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("editlogs.sqlite")
    }

    /// Any other program's connection.
    pub fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

impl Backend for Sqlite {
    fn open(&self, settings: EditlogSettings) -> Editlogs {
        Editlogs::open_sqlite(&self.path(), settings).unwrap()
    }

    fn reader(&self, original: &DatasetName) -> EditlogReader {
        EditlogReader::open_sqlite(&self.path(), original).unwrap()
    }
}

/// A schema in a PostgreSQL database of its own.
pub struct PostgresPlace {
    pub database: TestDatabase,
}

impl PostgresPlace {
    pub fn new() -> PostgresPlace {
        PostgresPlace { database: TestDatabase::new() }
    }

    /// The database as its superuser reaches it.
    pub fn config(&self) -> PostgresConfig {
        let server = &self.database.server;
        let socket = server.socket.to_str().unwrap();
        PostgresConfig::new("pg", socket, server.port, &self.database.name, SUPERUSER)
    }

    pub fn postgres(&self) -> Postgres {
        Postgres::new(self.config())
    }

    pub fn tables(&self) -> EditlogTables {
        EditlogTables { schema: "edit".to_owned(), table: None }
    }
}

impl Backend for PostgresPlace {
    fn open(&self, settings: EditlogSettings) -> Editlogs {
        Editlogs::open_postgres(&self.postgres(), self.tables(), settings).unwrap()
    }

    fn reader(&self, original: &DatasetName) -> EditlogReader {
        EditlogReader::open_postgres(&self.postgres(), &self.tables(), original).unwrap()
    }
}

/// Holds the writer at a step until the gate is opened, for good.
pub struct Gate {
    faults: Faults,
    reached: Arc<Notify>,
    /// The writer waits until this is dropped.
    closed: mpsc::Sender<()>,
}

impl Gate {
    pub fn new(at: WriteStep) -> Gate {
        let (closed, opened) = mpsc::channel();
        let (opened, reached) = (Mutex::new(opened), Arc::new(Notify::new()));
        let reaching = Arc::clone(&reached);
        let faults = Arc::new(move |step| {
            if step == at {
                reaching.notify_one();
                // Fails, and so ends, when the gate is opened.
                let _ = opened.lock().unwrap().recv();
            }
            false
        });
        Gate { faults, reached, closed }
    }

    pub fn faults(&self) -> Faults {
        Arc::clone(&self.faults)
    }

    /// Waits until the writer waits.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    pub fn open(self) {
        drop(self.closed);
    }
}

pub fn strikes() -> DatasetName {
    dataset("strikes")
}

pub fn dataset(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

pub async fn strikes_log(backend: &impl Backend) -> Editlog {
    backend.open(EditlogSettings::default()).initialise(&strikes()).await.unwrap()
}

pub fn update(key: &str, column: &str, value: Option<&str>) -> NewEvent {
    event(Action::Update, key, Some(column), value)
}

pub fn event(action: Action, key: &str, column: Option<&str>, value: Option<&str>) -> NewEvent {
    NewEvent {
        user: Login::new("ada@example.org").unwrap(),
        action,
        key: Key::from_text(key),
        column_name: column.map(str::to_owned),
        value: value.map(str::to_owned),
        previous: None,
        batch_id: Uuid::new_v4(),
        source: Source::Grid,
        reason: None,
        event_id: ClientEventId(Uuid::new_v4()),
    }
}

pub async fn append_one(log: &Editlog, event: NewEvent, expected: Expected) -> Outcome {
    let mut outcomes = log.append(Append { atomic: false, events: vec![(event, expected)] }).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Appends an event whatever happened before, and gives its id.
pub async fn appended(log: &Editlog, event: NewEvent) -> EventId {
    match append_one(log, event, Expected::Any).await {
        Outcome::Appended(event) => event.id,
        other => panic!("{other:?}"),
    }
}

pub fn seen(id: EventId) -> Expected {
    Expected::Seen(Some(id))
}

pub fn ids(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.id.0).collect()
}

pub fn micros(micros: i64) -> LogDate {
    LogDate::from_micros(micros)
}
