//! Erasing personal data in SQLite: in one transaction, in which the triggers that refuse changes are away.

use std::path::Path;

use rusqlite::Transaction;
use stet_editlog::erasure::Erasure;

use super::schema::{self, LogSql};
use super::seal::{self, Secrecy};
use crate::editlog::{ERASED_USER, erased_secrets};
use crate::error::{Doing, StoreError};

/// Erases what an erasure tells; how many events had something to erase.
pub(super) fn erase(
    transaction: &Transaction<'_>,
    path: &Path,
    sql: &LogSql,
    erasure: &Erasure,
) -> Result<u64, StoreError> {
    let writing = |error| StoreError::from_engine(path, Doing::Writing, error);
    schema::check(transaction, sql)?;
    let name = sql.original.editlog();
    let refusing = |trigger: &str| {
        let wanted = trigger.to_owned();
        sql.objects.iter().chain(&sql.seal_objects).find(move |(name, _)| *name == wanted).map(|(_, made)| made.clone())
    };
    let triggers = [format!("{name}_refuse_update"), format!("{name}_leaves_refuse_update")];
    for trigger in &triggers {
        transaction.execute_batch(&format!("DROP TRIGGER main.\"{trigger}\"")).map_err(writing)?;
    }
    let mut erased = 0;
    for (first, last) in &erasure.ranges {
        for id in *first..=*last {
            erased += u64::from(erase_event(transaction, path, sql, id, erasure)?);
        }
    }
    for trigger in &triggers {
        transaction.execute_batch(&refusing(trigger).unwrap_or_default()).map_err(writing)?;
    }
    schema::check(transaction, sql)?;
    Ok(erased)
}

fn erase_event(
    transaction: &Transaction<'_>,
    path: &Path,
    sql: &LogSql,
    id: u64,
    erasure: &Erasure,
) -> Result<bool, StoreError> {
    let writing = |error| StoreError::from_engine(path, Doing::Writing, error);
    let event = {
        let mut statement = transaction.prepare_cached(&sql.seal.events).map_err(writing)?;
        let mut rows = statement
            .query_map((id.cast_signed() - 1, 1_i64), |row| {
                seal::event(row, Secrecy::Stored).map(stet_editlog::Event::into_owned)
            })
            .map_err(writing)?;
        rows.next().transpose().map_err(writing)?
    };
    let event = event.filter(|event| event.id == id);
    let Some(secrets) = event.and_then(|event| erased_secrets(&event, erasure.fields)) else {
        return Ok(false);
    };
    let id = id.cast_signed();
    let fields = [0, 1, 2, 3].map(|bit: u8| erasure.fields >> bit & 1 == 1);
    let name = sql.original.editlog();
    let update = format!(
        "UPDATE main.\"{name}\" SET \"user\" = CASE WHEN ?2 THEN '{ERASED_USER}' ELSE \"user\" END,
           value = CASE WHEN ?3 THEN NULL ELSE value END, previous = CASE WHEN ?4 THEN NULL ELSE previous END,
           reason = CASE WHEN ?5 THEN NULL ELSE reason END WHERE id = ?1"
    );
    transaction.execute(&update, (id, fields[0], fields[1], fields[2], fields[3])).map_err(writing)?;
    transaction
        .execute(&format!("UPDATE main.\"{name}_leaves\" SET secrets = ?2 WHERE id = ?1"), (id, secrets))
        .map_err(writing)?;
    Ok(true)
}
