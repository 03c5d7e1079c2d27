//! Erasing personal data in PostgreSQL: by the owner of the tables, in one transaction in which changes are not refused.

use postgres::{Client, Transaction};
use stet_editlog::erasure::Erasure;

use super::parts::LEAVES;
use super::schema::{self, LogSql};
use super::seal::{Missing, sealed_row};
use crate::editlog::{ERASED_USER, erased_secrets};
use crate::error::{Doing, StoreError};
use crate::postgres::{PostgresConfig, quoted};

/// Erases what an erasure tells, with a connection of whoever owns the tables or may become their owner; how many events
/// had something to erase.
pub(super) fn erase(
    config: &PostgresConfig,
    client: &mut Client,
    sql: &LogSql,
    erasure: &Erasure,
) -> Result<u64, StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    schema::check_registered(config, client, sql)?;
    let mut transaction = client.transaction().map_err(writing)?;
    let granted = become_owner(config, &mut transaction, sql)?;
    let leaves = sql.qualified_beside(LEAVES);
    // Others do not see the triggers off: what is done to them is part of the transaction, and locks the tables.
    for table in [&sql.qualified, &leaves] {
        let off = format!("ALTER TABLE {table} DISABLE TRIGGER stet_2_refuse");
        transaction.batch_execute(&off).map_err(writing)?;
    }
    let mut erased = 0;
    for (first, last) in &erasure.ranges {
        for id in *first..=*last {
            erased += u64::from(erase_event(config, &mut transaction, sql, &leaves, id, erasure)?);
        }
    }
    for table in [&sql.qualified, &leaves] {
        let on = format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER stet_2_refuse");
        transaction.batch_execute(&on).map_err(writing)?;
    }
    if let Some(owner) = granted {
        let revoke = format!("RESET ROLE; REVOKE {} FROM CURRENT_USER", quoted(&owner));
        transaction.batch_execute(&revoke).map_err(writing)?;
    }
    transaction.commit().map_err(|error| StoreError::from_postgres(config, Doing::Committing, error))?;
    Ok(erased)
}

/// Takes the role of the owner for the transaction; its name if that had to be granted first.
fn become_owner(
    config: &PostgresConfig,
    transaction: &mut Transaction<'_>,
    sql: &LogSql,
) -> Result<Option<String>, StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let row = transaction
        .query_one(
            "SELECT pg_get_userbyid(relowner)::text, relowner = (SELECT oid FROM pg_roles WHERE rolname = session_user),
                    pg_has_role(session_user, relowner, 'USAGE')
             FROM pg_class WHERE oid = $1::text::regclass",
            &[&sql.qualified],
        )
        .map_err(writing)?;
    let owner: String = row.try_get(0).map_err(writing)?;
    if row.try_get(1).map_err(writing)? {
        return Ok(None);
    }
    let member: bool = row.try_get(2).map_err(writing)?;
    let become_it = format!("SET LOCAL ROLE {}", quoted(&owner));
    let statements = if member { become_it } else { format!("GRANT {} TO CURRENT_USER; {become_it}", quoted(&owner)) };
    transaction.batch_execute(&statements).map_err(|error| match error.as_db_error() {
        Some(raised) if raised.code().code() == "42501" || raised.code().code() == "0LP01" => StoreError::NotAllowed {
            connection: config.to_string(),
            what: "erase in an editlog that belongs to another role",
            source: Some(error.into()),
        },
        _ => writing(error),
    })?;
    Ok((!member).then_some(owner))
}

fn erase_event(
    config: &PostgresConfig,
    transaction: &mut Transaction<'_>,
    sql: &LogSql,
    leaves: &str,
    id: u64,
    erasure: &Erasure,
) -> Result<bool, StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let after = id.cast_signed() - 1;
    let Some(row) = transaction.query_opt(&sql.seal.events, &[&after, &1_i64]).map_err(writing)? else {
        return Ok(false);
    };
    let event = sealed_row(config, &row, Missing::Keep)?.event;
    let Some(secrets) = (event.id == id).then(|| erased_secrets(&event, erasure.fields)).flatten() else {
        return Ok(false);
    };
    let id = id.cast_signed();
    let fields = [0, 1, 2, 3].map(|bit: u8| erasure.fields >> bit & 1 == 1);
    let update = format!(
        "UPDATE {} SET \"user\" = CASE WHEN $2 THEN '{ERASED_USER}' ELSE \"user\" END,
           value = CASE WHEN $3 THEN NULL ELSE value END, previous = CASE WHEN $4 THEN NULL ELSE previous END,
           reason = CASE WHEN $5 THEN NULL ELSE reason END, secrets = $6 WHERE id = $1",
        sql.qualified
    );
    transaction.execute(&update, &[&id, &fields[0], &fields[1], &fields[2], &fields[3], &secrets]).map_err(writing)?;
    // Salts that were made when the event was sealed are in the other table: they are those above from now on.
    transaction.execute(&format!("UPDATE {leaves} SET secrets = NULL WHERE id = $1"), &[&id]).map_err(writing)?;
    Ok(true)
}
