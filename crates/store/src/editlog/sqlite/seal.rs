//! Sealing in SQLite: every event gets its leaf in the transaction that appends it, or, if another program inserted it, in
//! the next one of ours.
//!
//! Beside each editlog stand its leaves with their salts, the inner nodes that make up the tiles of higher levels, and
//! checkpoints: the last one, and one for each minute in which something was appended.

use std::borrow::Cow;
use std::path::Path;

use rand::Rng as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Statement, Transaction};
use stet_domain::{DatasetName, LogDate};
use stet_editlog::event::{Secret, Secrets, decode_secrets, encode_secrets};
use stet_editlog::tile::{LEVEL_MAX, StoredHashes, TILE_HASHES, TILE_HEIGHT, TileTree};
use stet_editlog::tree::Subtrees as _;
use stet_editlog::{Checkpoint, Event, Field, Hash, Personal, Tree, line};

use super::schema::LogSql;
use crate::editlog::{ERASED_USER, Sealing};
use crate::error::{Doing, StoreError};

/// Of the checkpoints of one such time, only the last is kept.
const KEPT_EVERY_MICROS: i64 = 60_000_000;

/// The statements that seal one editlog.
#[derive(Debug)]
pub(super) struct SealSql {
    pub size: String,
    pub insert_leaf: String,
    pub insert_node: String,
    pub leaf_hashes: String,
    pub node_hashes: String,
    pub last_checkpoints: String,
    pub delete_checkpoint: String,
    pub insert_checkpoint: String,
    pub checkpoints: String,
    pub events: String,
    pub events_alone: String,
    pub last_event: String,
}

impl SealSql {
    pub(super) fn new(name: &str, columns: &str) -> SealSql {
        let log = format!("main.\"{name}\"");
        let leaves = format!("main.\"{name}_leaves\"");
        let nodes = format!("main.\"{name}_nodes\"");
        let checkpoints = format!("main.\"{name}_checkpoints\"");
        SealSql {
            size: format!("SELECT coalesce(max(id), 0) FROM {leaves}"),
            insert_leaf: format!("INSERT INTO {leaves} (id, hash, secrets) VALUES (?1, ?2, ?3)"),
            insert_node: format!("INSERT INTO {nodes} (level, place, hash) VALUES (?1, ?2, ?3)"),
            leaf_hashes: format!("SELECT id, hash FROM {leaves} WHERE id > ?1 AND id <= ?2 ORDER BY id"),
            node_hashes: format!(
                "SELECT place, hash FROM {nodes} WHERE level = ?1 AND place >= ?2 AND place < ?3 ORDER BY place"
            ),
            last_checkpoints: format!("SELECT size, date FROM {checkpoints} ORDER BY size DESC LIMIT 2"),
            delete_checkpoint: format!("DELETE FROM {checkpoints} WHERE size = ?1"),
            insert_checkpoint: format!("INSERT INTO {checkpoints} (size, date, note) VALUES (?1, ?2, ?3)"),
            checkpoints: format!("SELECT note FROM {checkpoints} ORDER BY size DESC"),
            events: format!(
                "SELECT {columns}, secrets FROM (SELECT * FROM {log} WHERE id > ?1 ORDER BY id LIMIT ?2) AS events
                 LEFT JOIN (SELECT id AS leaf, secrets FROM {leaves}) ON leaf = id ORDER BY id"
            ),
            events_alone: format!("SELECT {columns}, NULL FROM {log} WHERE id > ?1 ORDER BY id LIMIT ?2"),
            last_event: format!("SELECT coalesce(max(id), 0) FROM {log}"),
        }
    }
}

/// The tables that hold the seal of an editlog, as (name, statement).
pub(super) fn objects(name: &str) -> Vec<(String, String)> {
    let table = |suffix: &str, columns: &str| {
        let table = format!("{name}_{suffix}");
        let sql = format!("CREATE TABLE \"{table}\" {columns}");
        (table, sql)
    };
    let refusing = |suffix: &str, event: &str| {
        let trigger = format!("{name}_{suffix}_refuse_{}", event.to_ascii_lowercase());
        let sql = format!(
            "CREATE TRIGGER \"{trigger}\" BEFORE {event} ON \"{name}_{suffix}\"\nFOR EACH ROW BEGIN\n  \
             SELECT RAISE(ABORT, 'the seal of an editlog is append-only: {event} refused');\nEND"
        );
        (trigger, sql)
    };
    vec![
        table(
            "leaves",
            "(\n  id INTEGER PRIMARY KEY,\n  hash BLOB NOT NULL CHECK (length(hash) = 32),\n  secrets BLOB NOT NULL\n) STRICT",
        ),
        table(
            "nodes",
            "(\n  level INTEGER NOT NULL,\n  place INTEGER NOT NULL,\n  hash BLOB NOT NULL CHECK (length(hash) = 32),\n  \
             PRIMARY KEY (level, place)\n) STRICT, WITHOUT ROWID",
        ),
        table("checkpoints", "(\n  size INTEGER PRIMARY KEY,\n  date TEXT NOT NULL,\n  note TEXT NOT NULL\n) STRICT"),
        refusing("leaves", "UPDATE"),
        refusing("leaves", "DELETE"),
        refusing("nodes", "UPDATE"),
        refusing("nodes", "DELETE"),
    ]
}

/// How far an editlog is sealed; owned by the writer between its transactions, and true only if the last one was
/// committed.
pub(super) struct Seal {
    tree: Tree,
    /// Size and date of the last checkpoint.
    last: Option<(u64, LogDate)>,
    /// The date of the checkpoint before it.
    before: Option<LogDate>,
}

/// Whether something of an editlog waits to be sealed.
pub(super) fn is_behind(connection: &Connection, sql: &LogSql, sealing: Option<&Sealing>) -> Result<bool, StoreError> {
    let reading = |error| StoreError::from_engine(path(connection), Doing::Reading, error);
    let number = |statement: &str| connection.query_row(statement, [], |row| row.get::<_, i64>(0)).map_err(reading);
    let end = number(&sql.seal.last_event)?;
    if number(&sql.seal.size)? < end {
        return Ok(true);
    }
    let signed =
        connection.query_row(&sql.seal.last_checkpoints, [], |row| row.get::<_, i64>(0)).optional().map_err(reading)?;
    Ok(sealing.is_some() && signed.unwrap_or(0) < end)
}

/// Seals everything of an editlog that is not sealed, and signs the result. `seal` is what is known of it from before;
/// `sealed` is told the id and date of each event, in order, as they are stored.
pub(super) fn seal(
    transaction: &Transaction<'_>,
    sql: &LogSql,
    seal: Option<Seal>,
    sealing: Option<&Sealing>,
    mut sealed: impl FnMut(i64, LogDate),
) -> Result<Seal, StoreError> {
    let failed = |error| StoreError::from_engine(path(transaction), Doing::Writing, error);
    let size: i64 =
        transaction.prepare_cached(&sql.seal.size).map_err(failed)?.query_row([], |row| row.get(0)).map_err(failed)?;
    let mut seal = match seal.filter(|seal| seal.tree.size() == size.unsigned_abs()) {
        Some(seal) => seal,
        // Another process has sealed in between, or this is the first time.
        None => load(transaction, sql, size.unsigned_abs())?,
    };
    let mut date = None;
    let mut leaves = || -> rusqlite::Result<()> {
        let mut insert_leaf = transaction.prepare_cached(&sql.seal.insert_leaf)?;
        let mut events = transaction.prepare_cached(&sql.seal.events_alone)?;
        let mut rows = events.query((seal.tree.size().cast_signed(), i64::MAX))?;
        let mut buffer = Vec::new();
        while let Some(row) = rows.next()? {
            let event = event(row, Secrecy::New)?;
            let of_event = LogDate::from_micros(event.date_micros);
            append(transaction, sql, &mut insert_leaf, &mut seal.tree, &event, &mut buffer)?;
            sealed(event.id.cast_signed(), of_event);
            date = Some(of_event);
        }
        Ok(())
    };
    leaves().map_err(failed)?;
    if let Some(sealing) = sealing {
        sign(transaction, sql, &mut seal, sealing, date)?;
    }
    Ok(seal)
}

fn append(
    transaction: &Transaction<'_>,
    sql: &LogSql,
    insert_leaf: &mut Statement<'_>,
    tree: &mut Tree,
    event: &Event<'_>,
    buffer: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let hash = event.leaf_hash(buffer);
    let secrets: Secrets = Field::ALL.map(|field| match event.personal(field) {
        Personal::Absent => Secret::Absent,
        Personal::Clear(_, salt) => Secret::Salt(*salt),
        Personal::Erased(commitment) => Secret::Erased(*commitment),
    });
    insert_leaf.execute((event.id.cast_signed(), hash.0, encode_secrets(&secrets)))?;
    let mut nodes = Vec::new();
    tree.append_with(hash, |node| {
        if node.height % TILE_HEIGHT == 0 {
            nodes.push(node);
        }
    });
    for node in nodes {
        let mut insert = transaction.prepare_cached(&sql.seal.insert_node)?;
        insert.execute((node.height / TILE_HEIGHT, node.index.cast_signed(), node.hash.0))?;
    }
    Ok(())
}

/// Signs the tree as it is, if the last checkpoint does not cover it. The checkpoint has the date of the last event.
fn sign(
    transaction: &Transaction<'_>,
    sql: &LogSql,
    seal: &mut Seal,
    sealing: &Sealing,
    date: Option<LogDate>,
) -> Result<(), StoreError> {
    let failed = |error| StoreError::from_engine(path(transaction), Doing::Writing, error);
    let size = seal.tree.size();
    if size == 0 || seal.last.is_some_and(|(last, _)| last >= size) {
        return Ok(());
    }
    let date = match date {
        Some(date) => date,
        None => {
            let mut statement = transaction.prepare_cached(&sql.by_id).map_err(failed)?;
            statement.query_row([size.cast_signed()], |row| super::read::parsed(row, 1)).map_err(failed)?
        }
    };
    let checkpoint =
        Checkpoint { origin: sealing.origin(&sql.original), size, root: seal.tree.root(), extensions: Vec::new() };
    let note = checkpoint.sign(&sealing.signer).to_string();
    if let (Some((last, last_date)), Some(before)) = (seal.last, seal.before)
        && last_date.micros() - before.micros() < KEPT_EVERY_MICROS
    {
        transaction
            .prepare_cached(&sql.seal.delete_checkpoint)
            .and_then(|mut statement| statement.execute([last.cast_signed()]))
            .map_err(failed)?;
    } else {
        seal.before = seal.last.map(|(_, date)| date);
    }
    transaction
        .prepare_cached(&sql.seal.insert_checkpoint)
        .and_then(|mut statement| statement.execute((size.cast_signed(), date.to_string(), note)))
        .map_err(failed)?;
    seal.last = Some((size, date));
    Ok(())
}

fn load(connection: &Connection, sql: &LogSql, size: u64) -> Result<Seal, StoreError> {
    let stored = Stored { connection, sql };
    let (mut peaks, mut start) = (Vec::new(), 0_u64);
    for height in (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1) {
        peaks.push(TileTree(&stored).subtree(height, start >> height)?);
        start += 1 << height;
    }
    let reading = |error| StoreError::from_engine(path(connection), Doing::Reading, error);
    let mut statement = connection.prepare_cached(&sql.seal.last_checkpoints).map_err(reading)?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), super::read::parsed::<LogDate>(row, 1)?)))
        .map_err(reading)?;
    let last: Vec<(u64, LogDate)> = rows.collect::<Result<_, _>>().map_err(reading)?;
    let tree = Tree::from_peaks(size, peaks).unwrap_or_default();
    Ok(Seal { tree, last: last.first().copied(), before: last.get(1).map(|(_, date)| *date) })
}

/// The stored hashes of one editlog.
pub(crate) struct Stored<'a> {
    connection: &'a Connection,
    sql: &'a LogSql,
}

impl StoredHashes for Stored<'_> {
    type Error = StoreError;

    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<Hash>, StoreError> {
        let hashes = hashes(self.connection, self.sql, level, start, count)?;
        let whole =
            hashes.len() as u64 == count && hashes.iter().zip(start..).all(|((place, _), expected)| *place == expected);
        if whole {
            return Ok(hashes.into_iter().map(|(_, hash)| hash).collect());
        }
        Err(StoreError::Damaged {
            path: path(self.connection).to_owned(),
            what: format!("hashes of the seal of the editlog of `{}` are missing", self.sql.original),
            source: None,
        })
    }
}

/// Hashes of a level with their places, from 0.
pub(super) fn hashes(
    connection: &Connection,
    sql: &LogSql,
    level: u32,
    start: u64,
    count: u64,
) -> Result<Vec<(u64, Hash)>, StoreError> {
    let reading = |error| StoreError::from_engine(path(connection), Doing::Reading, error);
    let (start, end) = (start.cast_signed(), start.saturating_add(count).cast_signed());
    // Leaf n is that of the event with the id n + 1.
    let shift = i64::from(level == 0);
    let place = |row: &Row<'_>| {
        let hash = row.get_ref(1)?.as_blob().ok().and_then(Hash::from_slice).unwrap_or_default();
        Ok(((row.get::<_, i64>(0)? - shift).unsigned_abs(), hash))
    };
    let statement = if level == 0 { &sql.seal.leaf_hashes } else { &sql.seal.node_hashes };
    let mut statement = connection.prepare_cached(statement).map_err(reading)?;
    let rows = match level {
        0 => statement.query_map((start, end), place),
        1..=LEVEL_MAX => statement.query_map((level, start, end), place),
        _ => return Ok(Vec::new()),
    };
    rows.map_err(reading)?.collect::<Result<_, _>>().map_err(reading)
}

/// Where the salts of an event come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// They are made: the event is sealed for the first time.
    New,
    /// They are stored beside the event.
    Stored,
}

/// An event from a row with all columns in the order of the table and its secrets. Nothing in the row is believed: what is
/// no event of ours becomes one whose hash is not the sealed one.
pub(super) fn event<'r>(row: &'r Row<'_>, secrecy: Secrecy) -> rusqlite::Result<Event<'r>> {
    let secrets = match secrecy {
        Secrecy::Stored => row.get_ref(12)?.as_blob_or_null().ok().flatten().and_then(decode_secrets),
        Secrecy::New => None,
    };
    let personal = |column: usize, field: Field, placeholder: Option<&str>| -> rusqlite::Result<Personal<'r>> {
        let text = text(row.get_ref(column)?);
        let secret = match secrets {
            Some(secrets) => secrets[field as usize],
            None if text.is_none() => Secret::Absent,
            None => Secret::Salt(salt(secrecy)),
        };
        let unmatched = text.clone();
        Ok(secret.field(text, placeholder).unwrap_or(match unmatched {
            Some(text) => Personal::Clear(text, Default::default()),
            None => Personal::Absent,
        }))
    };
    let plain = |column: usize| Ok::<_, rusqlite::Error>(text(row.get_ref(column)?).unwrap_or_default());
    let uuid = |column: usize| Ok::<_, rusqlite::Error>(line::uuid_bytes(&plain(column)?).unwrap_or_default());
    Ok(Event {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        date_micros: plain(1)?.parse::<LogDate>().map_or(i64::MIN, LogDate::micros),
        user: personal(2, Field::User, Some(ERASED_USER))?,
        action: plain(3)?,
        key: plain(4)?,
        column_name: text(row.get_ref(5)?),
        value: personal(6, Field::Value, None)?,
        previous: personal(7, Field::Previous, None)?,
        batch_id: uuid(8)?,
        source: plain(9)?,
        reason: personal(10, Field::Reason, None)?,
        event_id: uuid(11)?,
    })
}

fn salt(secrecy: Secrecy) -> stet_editlog::Salt {
    let mut salt = stet_editlog::Salt::default();
    if secrecy == Secrecy::New {
        rand::rng().fill_bytes(&mut salt);
    }
    salt
}

/// A value as text; none for NULL. Tables of ours hold nothing but texts there.
fn text(value: ValueRef<'_>) -> Option<Cow<'_, str>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes)),
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string())),
        ValueRef::Real(number) => Some(Cow::Owned(number.to_string())),
    }
}

fn path(connection: &Connection) -> &Path {
    Path::new(connection.path().unwrap_or_default())
}

/// An editlog as it is, to be verified: nothing is assumed about it, not even that it is protected. What is read is one
/// state of it, however long the reading takes.
pub(crate) struct SqliteSealed {
    connection: Connection,
    sql: LogSql,
}

impl SqliteSealed {
    pub(crate) fn open(file: &Path, original: &DatasetName, busy_timeout_ms: u64) -> Result<SqliteSealed, StoreError> {
        let connection = crate::sqlite::open(file, crate::sqlite::Access::Read, busy_timeout_ms)?;
        let sql = LogSql::new(original);
        if !super::schema::originals(&connection)?.contains(original) {
            return Err(StoreError::NotInitialised { original: original.clone() });
        }
        let reading = |error| StoreError::from_engine(file, Doing::Reading, error);
        connection.execute_batch("BEGIN").map_err(reading)?;
        Ok(SqliteSealed { connection, sql })
    }

    /// What protects the log and is missing or changed.
    pub(crate) fn protection(&self) -> Result<(), StoreError> {
        super::schema::check(&self.connection, &self.sql).map(drop)
    }

    pub(crate) fn last_event(&self) -> Result<u64, StoreError> {
        self.number(&self.sql.seal.last_event)
    }

    pub(crate) fn size(&self) -> Result<u64, StoreError> {
        if self.has_seal()? { self.number(&self.sql.seal.size) } else { Ok(0) }
    }

    fn has_seal(&self) -> Result<bool, StoreError> {
        super::schema::has_tables(&self.connection, &objects(self.sql.original.editlog().as_str()))
    }

    fn number(&self, statement: &str) -> Result<u64, StoreError> {
        let number = self.connection.query_row(statement, [], |row| row.get::<_, i64>(0));
        number.map(i64::unsigned_abs).map_err(|error| self.failed(error))
    }

    /// The checkpoints, the last one first, at most `limit` of them.
    pub(crate) fn checkpoints(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        if !self.has_seal()? {
            return Ok(Vec::new());
        }
        let mut statement =
            self.connection.prepare_cached(&self.sql.seal.checkpoints).map_err(|error| self.failed(error))?;
        let notes = statement.query_map([], |row| Ok(text(row.get_ref(0)?).unwrap_or_default().into_owned()));
        let notes = notes.map_err(|error| self.failed(error))?;
        notes.take(limit).collect::<Result<_, _>>().map_err(|error| self.failed(error))
    }

    pub(crate) fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<(u64, Hash)>, StoreError> {
        if self.has_seal()? { hashes(&self.connection, &self.sql, level, start, count) } else { Ok(Vec::new()) }
    }

    pub(crate) fn tiles(&self) -> Stored<'_> {
        Stored { connection: &self.connection, sql: &self.sql }
    }

    /// The events after an id.
    pub(crate) fn events(&self, after: i64, limit: usize) -> Result<Vec<Event<'static>>, StoreError> {
        let statement = if self.has_seal()? { &self.sql.seal.events } else { &self.sql.seal.events_alone };
        let mut statement = self.connection.prepare_cached(statement).map_err(|error| self.failed(error))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map((after, limit), |row| event(row, Secrecy::Stored).map(Event::into_owned));
        rows.map_err(|error| self.failed(error))?.collect::<Result<_, _>>().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        StoreError::from_engine(path(&self.connection), Doing::Reading, error)
    }
}

/// The largest number of hashes in one read of stored hashes.
pub(crate) const READ_HASHES: u64 = TILE_HASHES * 16;
