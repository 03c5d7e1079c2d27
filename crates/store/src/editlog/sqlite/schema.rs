//! The tables, triggers and indexes of an editlog in SQLite: what makes it append-only for every connection.
//!
//! Triggers do the refusing, since they run for every program and whatever its pragmas. In particular `REPLACE` does not
//! fire delete triggers unless `recursive_triggers` is on, so the insert itself is refused before it can replace
//! anything. What no trigger can stop is changing the schema, by somebody who may write the file; [`check`] notices
//! that when an editlog is opened.
//!
//! `id` is a plain rowid and not `AUTOINCREMENT`: the latter keeps its counter in `sqlite_sequence`, a table that any
//! connection may update and that an ignored insert moves on. Here the next id is always the last one plus one, so
//! there are no gaps after an insert that was rolled back, and as no row can be deleted no id is ever given twice.

use rusqlite::{Connection, OptionalExtension, Transaction};
use stet_domain::{DatasetName, key::KEY_BYTES_MAX, name::LOGIN_CHARACTERS_MAX};

use super::seal::{self, SealSql};
use crate::error::{Doing, StoreError};

/// The version of what is described here. Later versions of Stet read earlier formats and not the other way round.
/// Version 1 had no seal, version 2 no events about the log itself; an editlog of these gets what it lacks when it is
/// opened to be written.
pub(super) const FORMAT_VERSION: i64 = 3;

/// The actions that an event may have, as they stand in the table: now, and before version 3.
const ACTIONS: &str = "'update', 'create', 'delete', 'revert', 'erase', 'note'";
const ACTIONS_BEFORE: &str = "'update', 'create', 'delete', 'revert'";

/// The first version with a seal.
const SEALED_VERSION: i64 = 2;

/// What the triggers say. The writer recognises [`CLOCK_REFUSED`] among the failures of an insert.
const UPDATE_REFUSED: &str = "editlog is append-only: UPDATE refused";
const DELETE_REFUSED: &str = "editlog is append-only: DELETE refused";
const REPLACE_REFUSED: &str =
    "editlog is append-only: REPLACE refused, there is already an event with this id or event_id";
const ID_REFUSED: &str = "editlog is append-only: id refused, it is the last id plus one";
const DATE_REFUSED: &str = "editlog: date refused, it is set by the database";
pub(super) const CLOCK_REFUSED: &str = "editlog: date refused, the clock is behind the last event";

/// The database's own time. Within one statement it has one value, so the default and the trigger agree.
const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

const METADATA: &str = "CREATE TABLE IF NOT EXISTS main.stet_editlogs (
  original TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
  format_version INTEGER NOT NULL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  created_by TEXT NOT NULL
) STRICT";

/// The names and statements of one editlog. Its only variable part is the name of the original dataset, which has no
/// character that could end a quoted name.
#[derive(Debug)]
pub(super) struct LogSql {
    pub original: DatasetName,
    /// Everything of the schema as (name, statement): as it is created, and as the database must still have it.
    pub(super) objects: Vec<(String, String)>,
    /// The same for what holds its seal.
    pub(super) seal_objects: Vec<(String, String)>,
    pub seal: SealSql,
    pub last: String,
    pub insert: String,
    pub by_event_id: String,
    pub by_id: String,
    pub last_of_cell: String,
    pub last_of_row: String,
    pub row_events: String,
    pub since: String,
    pub edits: String,
    pub history_of_row: String,
    pub history_of_cell: String,
    pub count: String,
}

/// The columns of an event, in the order of the table.
const COLUMNS: &str =
    r#"id, date, "user", action, key, column_name, value, previous, batch_id, source, reason, event_id"#;

/// Those of them that a fold needs.
const FOLD_COLUMNS: &str = r#"id, date, "user", action, key, column_name, value, previous"#;

/// The events that are about the row of their key.
const EDITS: &str = "action IN ('update', 'create', 'delete', 'revert')";

impl LogSql {
    pub(super) fn new(original: &DatasetName) -> LogSql {
        let name = original.editlog().to_string();
        // Quoted and qualified, so that no temporary table can stand in front of it.
        let table = format!("main.\"{name}\"");
        LogSql {
            original: original.clone(),
            objects: objects(&name),
            seal_objects: seal::objects(&name),
            seal: SealSql::new(&name, COLUMNS),
            last: format!("SELECT id, date, {NOW} FROM {table} ORDER BY id DESC LIMIT 1"),
            // The id is given, so that the row cannot land anywhere else than where the writer has looked.
            insert: format!(
                r#"INSERT INTO {table} (id, "user", action, key, column_name, value, previous, batch_id, source, reason, event_id)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"#
            ),
            by_event_id: format!("SELECT {COLUMNS} FROM {table} WHERE event_id = ?1"),
            by_id: format!("SELECT {COLUMNS} FROM {table} WHERE id = ?1"),
            last_of_cell: format!(
                "SELECT id FROM {table} WHERE key = ?1 AND column_name = ?2 AND {EDITS} AND id <= ?3 ORDER BY id DESC"
            ),
            last_of_row: format!("SELECT id FROM {table} WHERE key = ?1 AND {EDITS} AND id <= ?2 ORDER BY id DESC"),
            row_events: format!(
                "SELECT id, action = 'create' FROM {table}
                 WHERE key = ?1 AND (column_name IS NULL OR action = 'create') AND {EDITS} AND id <= ?2 ORDER BY id DESC"
            ),
            since: format!("SELECT {COLUMNS} FROM {table} WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"),
            edits: format!("SELECT {FOLD_COLUMNS} FROM {table} WHERE id > ?1 AND id <= ?2 ORDER BY id"),
            history_of_row: format!(
                "SELECT {COLUMNS} FROM {table} WHERE key = ?1 AND {EDITS} AND id < ?2 ORDER BY id DESC LIMIT ?3"
            ),
            history_of_cell: format!(
                "SELECT {COLUMNS} FROM {table}
                 WHERE key = ?1 AND (column_name = ?4 OR column_name IS NULL) AND {EDITS} AND id < ?2 ORDER BY id DESC LIMIT ?3"
            ),
            count: format!("SELECT count(*) FROM {table}"),
        }
    }
}

fn objects(name: &str) -> Vec<(String, String)> {
    let uuid = [8, 4, 4, 4, 12].map(|digits| "[0-9a-f]".repeat(digits)).join("-");
    let object = |suffix: &str, kind: &str, rest: String| {
        let object = format!("{name}{suffix}");
        let sql = format!("CREATE {kind} \"{object}\" {rest}");
        (object, sql)
    };
    let refusing = |suffix: &str, event: &str, refusals: &[(&str, &str)]| {
        let body: String = refusals
            .iter()
            .map(|(message, condition)| format!("  SELECT RAISE(ABORT, '{message}') WHERE {condition};\n"))
            .collect();
        object(suffix, "TRIGGER", format!("{event} ON \"{name}\"\nFOR EACH ROW BEGIN\n{body}END"))
    };
    vec![
        object(
            "",
            "TABLE",
            format!(
                r#"(
  id INTEGER PRIMARY KEY,
  date TEXT NOT NULL DEFAULT ({NOW}),
  "user" TEXT NOT NULL CHECK (length("user") BETWEEN 1 AND {LOGIN_CHARACTERS_MAX} AND "user" NOT GLOB '*[^-A-Za-z0-9._@+]*'),
  action TEXT NOT NULL CHECK (action IN ({ACTIONS})),
  key TEXT NOT NULL CHECK (length(CAST(key AS BLOB)) <= {KEY_BYTES_MAX}),
  column_name TEXT CHECK (column_name <> ''),
  value TEXT,
  previous TEXT,
  batch_id TEXT NOT NULL CHECK (batch_id GLOB '{uuid}'),
  source TEXT NOT NULL CHECK (source IN ('grid', 'paste', 'fill', 'undo', 'import', 'api')),
  reason TEXT,
  event_id TEXT NOT NULL UNIQUE CHECK (event_id GLOB '{uuid}'),
  CHECK (action <> 'update' OR column_name IS NOT NULL),
  CHECK (action <> 'delete' OR column_name IS NULL),
  CHECK (value IS NULL OR (column_name IS NOT NULL AND action IN ('update', 'create')))
) STRICT"#
            ),
        ),
        refusing("_refuse_update", "BEFORE UPDATE", &[(UPDATE_REFUSED, "TRUE")]),
        refusing("_refuse_delete", "BEFORE DELETE", &[(DELETE_REFUSED, "TRUE")]),
        refusing(
            "_refuse_replace",
            "BEFORE INSERT",
            &[
                (REPLACE_REFUSED, &format!("EXISTS (SELECT 1 FROM \"{name}\" WHERE id = NEW.id)")),
                (REPLACE_REFUSED, &format!("EXISTS (SELECT 1 FROM \"{name}\" WHERE event_id = NEW.event_id)")),
            ],
        ),
        refusing(
            "_refuse_disorder",
            "AFTER INSERT",
            &[
                (
                    ID_REFUSED,
                    &format!("NEW.id <> 1 + coalesce((SELECT max(id) FROM \"{name}\" WHERE id <> NEW.id), 0)"),
                ),
                (DATE_REFUSED, &format!("NEW.date IS NOT {NOW}")),
                (CLOCK_REFUSED, &format!("NEW.date < (SELECT date FROM \"{name}\" WHERE id = NEW.id - 1)")),
            ],
        ),
        object("_by_cell", "INDEX", format!("ON \"{name}\" (key, column_name, id)")),
        object("_by_row", "INDEX", format!("ON \"{name}\" (key, id) WHERE column_name IS NULL OR action = 'create'")),
    ]
}

/// Creates the editlog, if it is not there, and checks it.
pub(super) fn create(transaction: &Transaction<'_>, sql: &LogSql) -> Result<(), StoreError> {
    let path = || std::path::PathBuf::from(transaction.path().unwrap_or_default());
    let writing = |error| StoreError::from_engine(&path(), Doing::Writing, error);
    let original = &sql.original;
    if original.as_str().to_ascii_lowercase().starts_with("sqlite_") {
        return Err(StoreError::NameReserved { original: original.clone() });
    }
    transaction.execute_batch(METADATA).map_err(writing)?;
    match registered(transaction, original)? {
        Some((existing, _)) if existing != original.as_str() => {
            return Err(StoreError::NameTaken { original: original.clone(), existing });
        }
        Some((_, version)) => {
            if check(transaction, sql)? < FORMAT_VERSION {
                if !is_sealed(version) {
                    create_objects(transaction, original, &sql.seal_objects)?;
                }
                admit_actions(transaction, sql).map_err(writing)?;
                transaction
                    .execute(
                        "UPDATE main.stet_editlogs SET format_version = ?2 WHERE original = ?1 AND format_version = ?3",
                        (original.as_str(), FORMAT_VERSION, version),
                    )
                    .map_err(writing)?;
            }
            return check(transaction, sql).map(drop);
        }
        None => {}
    }
    create_objects(transaction, original, &sql.objects)?;
    create_objects(transaction, original, &sql.seal_objects)?;
    transaction
        .execute(
            "INSERT INTO main.stet_editlogs (original, format_version, created_by) VALUES (?1, ?2, ?3)",
            (original.as_str(), FORMAT_VERSION, concat!("stet ", env!("CARGO_PKG_VERSION"))),
        )
        .map_err(writing)?;
    check(transaction, sql).map(drop)
}

fn create_objects(
    transaction: &Transaction<'_>,
    original: &DatasetName,
    objects: &[(String, String)],
) -> Result<(), StoreError> {
    for (name, statement) in objects {
        if stored_sql(transaction, name)?.is_some() {
            let problem = "was there before the editlog and was not made by Stet";
            return Err(StoreError::Altered { original: original.clone(), object: name.clone(), problem });
        }
        transaction.execute_batch(statement).map_err(|error| {
            StoreError::from_engine(transaction.path().unwrap_or_default().as_ref(), Doing::Writing, error)
        })?;
    }
    Ok(())
}

/// Lets a table of an earlier version take the actions that came since, in the way that SQLite documents for a constraint
/// that becomes wider: nothing that is stored has to be looked at or written again.
fn admit_actions(transaction: &Transaction<'_>, sql: &LogSql) -> rusqlite::Result<()> {
    let Some((name, statement)) = sql.objects.first() else { return Ok(()) };
    let version: i64 = transaction.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    transaction.pragma_update(None, "writable_schema", true)?;
    let updated = transaction
        .execute("UPDATE main.sqlite_schema SET sql = ?2 WHERE type = 'table' AND name = ?1", (name, statement))
        .and_then(|_| transaction.pragma_update(None, "schema_version", version + 1));
    transaction.pragma_update(None, "writable_schema", false)?;
    updated
}

/// Whether an editlog of this version is sealed.
fn is_sealed(version: i64) -> bool {
    version >= SEALED_VERSION
}

/// Whether an editlog of this version has all that this Stet gives it.
pub(super) fn is_current(version: i64) -> bool {
    version >= FORMAT_VERSION
}

/// Whether all tables among some objects are there.
pub(super) fn has_tables(connection: &Connection, objects: &[(String, String)]) -> Result<bool, StoreError> {
    let mut tables = objects.iter().filter(|(_, statement)| statement.starts_with("CREATE TABLE"));
    tables.try_fold(true, |all, (name, _)| Ok(all && stored_sql(connection, name)?.is_some()))
}

/// Checks that the editlog is there, of a version that we know, and protected as it was created; gives its version.
pub(super) fn check(connection: &Connection, sql: &LogSql) -> Result<i64, StoreError> {
    let original = &sql.original;
    let version = match registered(connection, original)? {
        Some((existing, version)) if existing == original.as_str() => version,
        _ => return Err(StoreError::NotInitialised { original: original.clone() }),
    };
    if version > FORMAT_VERSION {
        let what = format!("the editlog of `{original}`");
        return Err(StoreError::NewerVersion { what, found: version, known: FORMAT_VERSION });
    }
    let seal_objects = if is_sealed(version) { sql.seal_objects.as_slice() } else { &[] };
    for (name, statement) in sql.objects.iter().chain(seal_objects) {
        let problem = match stored_sql(connection, name)? {
            None => "is missing",
            Some(stored) if version < FORMAT_VERSION && stored == statement.replace(ACTIONS, ACTIONS_BEFORE) => {
                continue;
            }
            Some(stored) if stored != *statement => "was changed",
            Some(_) => continue,
        };
        return Err(StoreError::Altered { original: original.clone(), object: name.clone(), problem });
    }
    Ok(version)
}

/// The original datasets that have an editlog in this file.
pub(super) fn originals(connection: &Connection) -> Result<Vec<DatasetName>, StoreError> {
    let reading = |error| reading(connection, error);
    if stored_sql(connection, "stet_editlogs")?.is_none() {
        return Ok(Vec::new());
    }
    let mut statement =
        connection.prepare("SELECT original FROM main.stet_editlogs ORDER BY original").map_err(reading)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0)).map_err(reading)?;
    names
        .map(|name| {
            let name = name.map_err(reading)?;
            DatasetName::new(name).map_err(|error| StoreError::Damaged {
                path: connection.path().unwrap_or_default().into(),
                what: format!("its list of editlogs has a wrong name: {error}"),
                source: None,
            })
        })
        .collect()
}

/// The name under which the editlog is registered, which may differ in case, and its format version.
fn registered(connection: &Connection, original: &DatasetName) -> Result<Option<(String, i64)>, StoreError> {
    if stored_sql(connection, "stet_editlogs")?.is_none() {
        return Ok(None);
    }
    connection
        .query_row(
            "SELECT original, format_version FROM main.stet_editlogs WHERE original = ?1",
            [original.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(|error| reading(connection, error))
}

/// The statement that made a table, trigger or index, as the database remembers it.
fn stored_sql(connection: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    connection
        .query_row("SELECT sql FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE", [name], |row| row.get(0))
        .optional()
        .map_err(|error| reading(connection, error))
}

fn reading(connection: &Connection, error: rusqlite::Error) -> StoreError {
    StoreError::from_engine(std::path::Path::new(connection.path().unwrap_or_default()), Doing::Reading, error)
}
