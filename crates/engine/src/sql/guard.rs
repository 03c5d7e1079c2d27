//! What a query may do: read its own tables, compute, and nothing else.

use std::collections::BTreeSet;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Error, ErrorCode};

use crate::control::Control;
use crate::error::EngineError;

/// The longest value that a query can make, in bytes.
pub(super) const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest query, in bytes.
const QUERY_BYTES_MAX: i32 = 1024 * 1024;

/// Instructions of SQLite's machine between two looks at whether the work is to stop: about a millisecond.
const OPERATIONS_BETWEEN_CHECKS: i32 = 20_000;

/// The page cache of a query, in KiB: sorts and temporary tables that are larger go to disk.
const CACHE_KIB: i32 = 64 * 1024;

/// Opens the connection in which one query runs.
///
/// There is no heap limit, since SQLite has only one for the whole process, and it would stop the node's own databases;
/// values are limited in length instead, and sorts and temporary tables go to disk.
pub(super) fn open() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX as i32),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, QUERY_BYTES_MAX),
        (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 10_000),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    // A misspelt column in double quotes is an error, and not a text.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(Some("temp"), "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

/// From here on only queries over `tables` are taken.
pub(super) fn restrict(connection: &mut Connection, tables: &[String]) -> rusqlite::Result<()> {
    let tables: BTreeSet<String> = tables.iter().map(|name| name.to_ascii_lowercase()).collect();
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if is_allowed(&context.action, &tables) { Authorization::Allow } else { Authorization::Deny }
    }))
}

/// Lifts [`restrict`], for what the engine itself has to set up.
pub(super) fn lift(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)
}

/// Sets how many parameters a statement may have: none in a recipe.
pub(super) fn allow_parameters(connection: &Connection, count: usize) -> rusqlite::Result<()> {
    connection.set_limit(Limit::SQLITE_LIMIT_VARIABLE_NUMBER, i32::try_from(count).unwrap_or(i32::MAX)).map(|_| ())
}

/// Stops the query soon after the work is to stop.
pub(super) fn watch(connection: &mut Connection, control: &Control) -> rusqlite::Result<()> {
    let control = control.clone();
    connection.progress_handler(OPERATIONS_BETWEEN_CHECKS, Some(move || control.is_cancelled()))
}

fn is_allowed(action: &AuthAction<'_>, tables: &BTreeSet<String>) -> bool {
    match action {
        AuthAction::Select | AuthAction::Recursive => true,
        AuthAction::Read { table_name, column_name } => {
            let table = table_name.to_ascii_lowercase();
            // A table of which no column is read (`SELECT count(*)`) is told with an empty column, and so is a common
            // table expression, whose name can be anything.
            let hidden = table.starts_with("sqlite_") || table.starts_with("pragma_");
            tables.contains(&table)
                || matches!(table.as_str(), "json_each" | "json_tree")
                || (column_name.is_empty() && !hidden)
        }
        AuthAction::Function { function_name } => !is_forbidden(function_name),
        _ => false,
    }
}

/// Functions of SQLite that reach outside of the query, or tell about the process.
fn is_forbidden(function: &str) -> bool {
    const FORBIDDEN: [&str; 10] = [
        "load_extension",
        "fts3_tokenizer",
        "readfile",
        "writefile",
        "edit",
        "fsdir",
        "sqlite_log",
        "sqlite_compileoption_get",
        "sqlite_compileoption_used",
        "sqlite_offset",
    ];
    FORBIDDEN.iter().any(|name| function.eq_ignore_ascii_case(name))
}

/// Tells an error of SQLite in the words of a query's author: the file, the line and column if they are known, and the
/// text near it.
pub(super) fn explain(file: &str, sql: &str, error: Error) -> EngineError {
    match error {
        Error::SqliteFailure(failure, _) if failure.code == ErrorCode::OperationInterrupted => EngineError::Cancelled,
        Error::SqlInputError { error, msg, offset, .. } => {
            let message = plain(error.code, &msg);
            match usize::try_from(offset).ok().filter(|offset| sql.is_char_boundary(*offset)) {
                Some(offset) => at(file, sql, offset, message),
                None => query(file, message),
            }
        }
        Error::SqliteFailure(failure, message) => {
            let message = message.unwrap_or_else(|| failure.to_string());
            query(file, plain(failure.code, &message))
        }
        Error::MultipleStatement => query(file, "a recipe is exactly one SELECT, and this is more than one".into()),
        Error::NulError(_) => query(file, "the query holds a NUL character".into()),
        other => query(file, other.to_string()),
    }
}

/// An error of a query as a whole.
pub(super) fn query(file: &str, message: String) -> EngineError {
    EngineError::Query { file: file.to_owned(), message }
}

fn at(file: &str, sql: &str, offset: usize, message: String) -> EngineError {
    let before = &sql[..offset];
    let line_start = before.rfind('\n').map_or(0, |place| place + 1);
    let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
    let near: String = sql[offset..].lines().next().unwrap_or("").chars().take(40).collect();
    let near = if near.trim().is_empty() { String::new() } else { format!(" (near `{}`)", near.trim_end()) };
    EngineError::Query { file: format!("{file}:{line}:{column}"), message: format!("{message}{near}") }
}

fn plain(code: ErrorCode, message: &str) -> String {
    match code {
        ErrorCode::AuthorizationForStatementDenied => {
            format!("a recipe can only read the recipe's inputs ({message})")
        }
        ErrorCode::TooBig => "a value or the query is too large".into(),
        ErrorCode::OutOfMemory => "the query needs more memory than there is".into(),
        ErrorCode::DiskFull => "the query needs more temporary disk space than there is".into(),
        _ => match message.strip_prefix("no such table: ") {
            Some(table) => format!("there is no table `{table}`: name it among the recipe's inputs"),
            None => message.to_owned(),
        },
    }
}
