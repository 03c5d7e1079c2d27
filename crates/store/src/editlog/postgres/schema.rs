//! The names and statements of an editlog in PostgreSQL, and what makes it append-only for everybody but its owner.
//!
//! - `id` is the last one plus one, given by a trigger that holds a lock of the log until its transaction ends. So events
//!   become visible in the order of their ids: whoever sees an event sees all before it, every read is a prefix of the
//!   log, and there are no gaps. An identity column promises none of this: its values are given out when rows are
//!   inserted, and are seen when transactions commit, in whatever order, so that readers who go by the last id that
//!   they saw lose events.
//! - `date`, `db_user` and `tx` are set by the same trigger, from the clock at that moment (`now()` is the time at which
//!   the transaction began, which its author chooses).
//! - `UPDATE`, `DELETE` and `TRUNCATE` are refused by triggers that fire in every `session_replication_role`.
//! - Whoever owns the table can take its triggers away, which [`check`] notices. So in production the owner is a role as
//!   which nobody can log in; see the script of the secure initialisation.
//! - A comment on the table says which node the log belongs to. Only its owner can change a comment.
//! - Keys can be longer than an entry of an index (2,704 bytes), so the indexes hold their hashes.

use std::path::PathBuf;

use postgres::{Client, GenericClient};
use stet_domain::DatasetName;

use super::parts::{self, CHECKPOINTS};
use super::seal::SealSql;
use crate::error::{Doing, StoreError};
use crate::postgres::{NAME_BYTES_MAX, PostgresConfig, literal, quoted};

/// The version of what is described here. Version 1 had no seal, and was in no release.
pub(super) const FORMAT_VERSION: i64 = 2;

/// The advisory lock of a log is this number with the table's identity behind it: "Stet" in ASCII.
pub(super) const LOCK_CLASS: i64 = 0x5374_6574;

/// The longest name of an editlog's table, in bytes: the names of what stands beside it are longer.
const TABLE_BYTES_MAX: usize = NAME_BYTES_MAX - CHECKPOINTS.len();

/// A comment on the table tells every tool what it is, and Stet which dataset and format it is of.
const COMMENT: &str = "Stet editlog, format ";

/// What comes before the node in that comment.
pub(super) const BY_NODE: &str = ", of the node ";

/// The names and statements of one editlog.
#[derive(Debug)]
pub(super) struct LogSql {
    pub original: DatasetName,
    pub schema: String,
    pub table: String,
    /// Schema and table, quoted.
    pub qualified: String,
    pub last: String,
    pub lock: String,
    pub insert: String,
    pub by_event_ids: String,
    pub by_ids: String,
    pub moved: String,
    pub since: String,
    pub history_of_row: String,
    pub history_of_cell: String,
    pub count: String,
    pub seal: SealSql,
}

/// The columns of an event, in the order of the table.
const COLUMNS: &str =
    r#"id, date, "user", action, key, column_name, value, previous, batch_id, source, reason, event_id"#;

/// The events that are about the row of their key.
const EDITS: &str = "action IN ('update', 'create', 'delete', 'revert')";

impl LogSql {
    /// Fails with `Unusable` for a name that PostgreSQL would cut.
    pub(super) fn new(original: &DatasetName, schema: &str, table: &str) -> Result<LogSql, StoreError> {
        if table.len() > TABLE_BYTES_MAX || schema.len() > NAME_BYTES_MAX || table.is_empty() || schema.is_empty() {
            return Err(StoreError::Unusable(format!(
                "the editlog of `{original}` cannot be the table `{schema}.{table}`: names in PostgreSQL have at most \
                 {TABLE_BYTES_MAX} bytes here; give `table` in datasets/{}.toml",
                original.editlog()
            )));
        }
        let t = format!("{}.{}", quoted(schema), quoted(table));
        let beside = |suffix: &str| format!("{}.{}", quoted(schema), quoted(&format!("{table}{suffix}")));
        let hash = |text: &str| format!("pg_catalog.hashtextextended({text}, 0)");
        let of_key = format!("{} = {} AND key = q.key", hash("key"), hash("q.key"));
        Ok(LogSql {
            original: original.clone(),
            schema: schema.to_owned(),
            table: table.to_owned(),
            qualified: t.clone(),
            // Two statements: the second sees what was committed while the first waited.
            lock: format!(
                "SELECT pg_catalog.pg_advisory_xact_lock(({LOCK_CLASS}::bigint << 32) | {}::regclass::oid::bigint)",
                literal(&t)
            ),
            last: format!("SELECT id, date, pg_catalog.clock_timestamp(), tableoid::bigint FROM {t} ORDER BY id DESC LIMIT 1"),
            insert: format!(
                r#"INSERT INTO {t} ("user", action, key, column_name, value, previous, batch_id, source, reason, event_id,
                                    writer, wseq, wprev, secrets)
                   SELECT e.u, e.a, e.k, e.c, e.v, e.p, e.b, e.s, e.r, e.e, $11, e.q, e.w, e.x
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[],
                                          $8::text[], $9::text[], $10::uuid[], $12::bigint[], $13::bytea[],
                                          $14::bytea[])
                        WITH ORDINALITY AS e (u, a, k, c, v, p, b, s, r, e, q, w, x, n)
                   ORDER BY e.n
                   RETURNING id, date, tableoid::bigint"#
            ),
            by_event_ids: format!("SELECT {COLUMNS} FROM {t} WHERE event_id = ANY ($1::uuid[])"),
            by_ids: format!("SELECT {COLUMNS} FROM {t} WHERE id = ANY ($1::bigint[])"),
            // For each cell that was asked for: its last event, the last of its row, the last delete or revert of the
            // whole row, and the first create after that. Events in $3 do not count.
            moved: format!(
                "SELECT c.id, r.id, b.id,
                        (SELECT id FROM {t} WHERE {of_key} AND action = 'create' AND id > coalesce(b.id, 0)
                           AND id <> ALL ($3::bigint[]) ORDER BY id LIMIT 1)
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (key, column_name, n)
                 LEFT JOIN LATERAL (
                   SELECT id FROM {t} WHERE {of_key} AND {} = {} AND column_name = q.column_name AND {EDITS}
                     AND id <> ALL ($3::bigint[]) ORDER BY id DESC LIMIT 1) AS c ON true
                 LEFT JOIN LATERAL (
                   SELECT id FROM {t} WHERE {of_key} AND {EDITS} AND id <> ALL ($3::bigint[]) ORDER BY id DESC LIMIT 1) AS r ON true
                 LEFT JOIN LATERAL (
                   SELECT id FROM {t} WHERE {of_key} AND column_name IS NULL AND action IN ('delete', 'revert')
                     AND id <> ALL ($3::bigint[]) ORDER BY id DESC LIMIT 1) AS b ON true
                 ORDER BY q.n",
                hash("column_name"),
                hash("q.column_name"),
            ),
            since: format!("SELECT {COLUMNS} FROM {t} WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3"),
            history_of_row: format!(
                "SELECT {COLUMNS} FROM {t} WHERE {} = {} AND key = $1 AND {EDITS} AND id < $2 ORDER BY id DESC LIMIT $3",
                hash("key"),
                hash("$1")
            ),
            history_of_cell: format!(
                "SELECT {COLUMNS} FROM {t} WHERE {} = {} AND key = $1 AND {EDITS}
                   AND (column_name = $4 OR column_name IS NULL) AND id < $2 ORDER BY id DESC LIMIT $3",
                hash("key"),
                hash("$1")
            ),
            count: format!("SELECT count(*) FROM {t}"),
            seal: SealSql::new(&t, &beside, COLUMNS),
        })
    }
}

/// Creates the editlog, if it is not there, in one transaction, and checks it.
pub(super) fn create(config: &PostgresConfig, client: &mut Client, sql: &LogSql) -> Result<(), StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let mut transaction = client.transaction().map_err(writing)?;
    // One initialisation at a time, whoever does it.
    transaction.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK_CLASS})")).map_err(writing)?;
    if registered(config, &mut transaction, sql)?.is_none() {
        create_objects(config, &mut transaction, sql)?;
    }
    check(config, &mut transaction, sql)?;
    transaction.commit().map_err(|error| StoreError::from_postgres(config, Doing::Committing, error))
}

fn create_objects(config: &PostgresConfig, client: &mut impl GenericClient, sql: &LogSql) -> Result<(), StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    for table in sql.parts().tables {
        let qualified = format!("{}.{}", quoted(&sql.schema), quoted(&table.name));
        let exists: bool = client
            .query_one("SELECT to_regclass($1) IS NOT NULL", &[&qualified])
            .and_then(|row| row.try_get(0))
            .map_err(writing)?;
        if exists {
            return Err(StoreError::Altered {
                original: sql.original.clone(),
                object: format!("{}.{}", sql.schema, table.name),
                problem: "was there before the editlog and was not made by Stet",
            });
        }
    }
    let schema: bool = client
        .query_one("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", &[&sql.schema])
        .and_then(|row| row.try_get(0))
        .map_err(writing)?;
    if !schema {
        client.batch_execute(&format!("CREATE SCHEMA {}", quoted(&sql.schema))).map_err(writing)?;
    }
    for statement in sql.create().into_iter().chain([sql.comment(config)]) {
        client.batch_execute(&statement).map_err(writing)?;
    }
    Ok(())
}

/// Makes the editlog anew, without its events; how many there were. Only the owner of its tables can.
pub(super) fn reset(
    config: &PostgresConfig,
    client: &mut Client,
    sql: &LogSql,
    only_empty: bool,
) -> Result<u64, StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let mut transaction = client.transaction().map_err(writing)?;
    transaction.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK_CLASS})")).map_err(writing)?;
    let mut events = 0;
    if registered(config, &mut transaction, sql)?.is_some() {
        // One that is damaged is not hidden by a new one.
        check(config, &mut transaction, sql)?;
        let owned: bool = transaction
            .query_one(
                "SELECT pg_has_role(session_user, relowner, 'USAGE') FROM pg_class WHERE oid = $1::text::regclass",
                &[&sql.qualified],
            )
            .and_then(|row| row.try_get(0))
            .map_err(writing)?;
        if !owned {
            return Err(StoreError::NoReset { original: sql.original.clone() });
        }
        // Nobody appends between the count and the end.
        transaction
            .batch_execute(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", sql.qualified))
            .map_err(writing)?;
        let count: i64 = transaction.query_one(&sql.count, &[]).and_then(|row| row.try_get(0)).map_err(writing)?;
        events = count.unsigned_abs();
        if only_empty && events > 0 {
            return Err(StoreError::HasEvents { original: sql.original.clone(), events });
        }
        for statement in sql.drop() {
            transaction.batch_execute(&statement).map_err(writing)?;
        }
    }
    create_objects(config, &mut transaction, sql)?;
    transaction.commit().map_err(|error| StoreError::from_postgres(config, Doing::Committing, error))?;
    Ok(events)
}

/// Checks that the editlog is there, of a version that we know, of this node, and protected as it was created.
pub(super) fn check(config: &PostgresConfig, client: &mut impl GenericClient, sql: &LogSql) -> Result<(), StoreError> {
    check_registered(config, client, sql)?;
    intact(sql, parts::drifts(config, client, sql)?)
}

/// [`check`] of the events alone, for those who only read them.
pub(super) fn check_events(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
) -> Result<(), StoreError> {
    check_registered(config, client, sql)?;
    intact(sql, parts::drifts_of_events(config, client, sql)?)
}

fn intact(sql: &LogSql, drifts: Vec<(String, &'static str)>) -> Result<(), StoreError> {
    match drifts.into_iter().next() {
        None => Ok(()),
        Some((object, problem)) => Err(StoreError::Altered { original: sql.original.clone(), object, problem }),
    }
}

pub(super) fn check_registered(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
) -> Result<(), StoreError> {
    let original = &sql.original;
    let Some(registered) = registered(config, client, sql)? else {
        return Err(StoreError::NotInitialised { original: original.clone() });
    };
    if registered.version != FORMAT_VERSION {
        let what = format!("the editlog of `{original}`");
        if registered.version < FORMAT_VERSION {
            return Err(StoreError::Unusable(format!(
                "{what} was made before editlogs in PostgreSQL were sealed: rename its table, initialise a new one, and \
                 import its events"
            )));
        }
        return Err(StoreError::NewerVersion { what, found: registered.version, known: FORMAT_VERSION });
    }
    match (&config.node, registered.owner) {
        (Some(node), Some((id, name))) if node.id.to_string() != id => Err(StoreError::OtherNode {
            path: PathBuf::from(format!("{config} {}.{}", sql.schema, sql.table)),
            owner: name,
            owner_id: id,
        }),
        _ => Ok(()),
    }
}

/// What the comment on a table says of an editlog.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Registered {
    pub version: i64,
    /// Id and name of the node that it belongs to; none if nobody has said.
    pub owner: Option<(String, String)>,
}

impl LogSql {
    /// Says what the table is, and whose.
    pub(super) fn comment(&self, config: &PostgresConfig) -> String {
        let node = config.node.as_ref().map_or(String::new(), |node| format!("{BY_NODE}{} {}", node.id, node.name));
        let comment = format!("{COMMENT}{FORMAT_VERSION}, of {}{node}", self.original);
        format!("COMMENT ON TABLE {} IS {}", self.qualified, literal(&comment))
    }
}

/// Version, original and owner from a comment; none if it is no comment of ours.
fn parse_comment(comment: &str) -> Option<(&str, Registered)> {
    let (version, rest) = comment.strip_prefix(COMMENT)?.split_once(", of ")?;
    let (original, owner) = match rest.split_once(BY_NODE) {
        None => (rest, None),
        Some((original, node)) => {
            let (id, name) = node.split_once(' ').unwrap_or((node, ""));
            (original, Some((id.to_owned(), name.to_owned())))
        }
    };
    Some((original, Registered { version: version.parse().ok()?, owner }))
}

/// What the editlog says of itself, if it is there and made by Stet for this original.
pub(super) fn registered(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
) -> Result<Option<Registered>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let comment = client
        .query_opt(
            "SELECT pg_catalog.obj_description(c.oid, 'pg_class')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
            &[&sql.schema, &sql.table],
        )
        .map_err(reading)?;
    let comment: Option<String> = comment.map(|row| row.try_get(0)).transpose().map_err(reading)?.flatten();
    let parsed = comment.as_deref().and_then(parse_comment);
    Ok(parsed.and_then(|(original, registered)| (original == sql.original.as_str()).then_some(registered)))
}

/// The original datasets that have an editlog in a schema.
pub(super) fn originals(
    config: &PostgresConfig,
    client: &mut Client,
    schema: &str,
) -> Result<Vec<DatasetName>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let comments = client
        .query(
            "SELECT pg_catalog.obj_description(c.oid, 'pg_class')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind = 'r'
               AND starts_with(pg_catalog.obj_description(c.oid, 'pg_class'), $2)",
            &[&schema, &COMMENT],
        )
        .map_err(reading)?;
    let mut originals = Vec::new();
    for row in comments {
        let comment: String = row.try_get(0).map_err(reading)?;
        originals.extend(parse_comment(&comment).and_then(|(original, _)| DatasetName::new(original).ok()));
    }
    originals.sort();
    Ok(originals)
}
