//! What the database really enforces on an editlog: read from its catalogue, and tried.
//!
//! Everything is tried in a transaction that is rolled back, with the node's own credentials: an event is appended, and
//! then changed, deleted, truncated and back-dated by every way that is known. What succeeds is a hole.

use std::collections::BTreeSet;

use postgres::{Client, Transaction};
use stet_domain::DatasetName;
use uuid::Uuid;

use super::parts::{self, CHECKPOINTS, LEAVES, SEAL_TABLES};
use super::schema::{self, LogSql};
use super::secure::{Roles, WRITER_COLUMNS};
use crate::editlog::EditlogTables;
use crate::error::{Doing, StoreError};
use crate::postgres::{Micros, Postgres, PostgresConfig, literal, quoted};

/// How an editlog was initialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtectionMode {
    /// The node's own user owns the table: it could take the triggers away.
    Simple,
    /// The table belongs to a role as which nobody can log in.
    Secure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectionFinding {
    /// What has to hold, in plain words.
    pub claim: String,
    /// What is wrong; none when it holds.
    pub problem: Option<String>,
}

/// What protects an editlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// How it was initialised, as its owner tells.
    pub mode: ProtectionMode,
    /// Everything that was looked at.
    pub findings: Vec<ProtectionFinding>,
    /// The rights and roles as they are, one in each line, to be compared with what they were.
    pub facts: BTreeSet<String>,
}

impl Protection {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.problem.is_none())
    }
}

/// Looks at everything that protects an editlog, with the node's own credentials. Blocks.
pub(crate) fn protection(
    postgres: &Postgres,
    tables: &EditlogTables,
    original: &DatasetName,
) -> Result<Protection, StoreError> {
    let sql = tables.sql(original)?;
    let config = postgres.config();
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut client = config.connect()?;
            if schema::registered(config, &mut client, &sql)?.is_none() {
                return Err(StoreError::NotInitialised { original: original.clone() });
            }
            look(config, &mut client, &sql)
        });
        looking.join().unwrap_or(Err(StoreError::Closed))
    })
}

fn look(config: &PostgresConfig, client: &mut Client, sql: &LogSql) -> Result<Protection, StoreError> {
    let mut findings = Vec::new();
    let drifts = parts::drifts(config, client, sql)?;
    let problem = drifts.iter().map(|(object, problem)| format!("`{object}` {problem}")).collect::<Vec<_>>().join("; ");
    findings.push(ProtectionFinding {
        claim: "table, constraints, triggers and functions are those that Stet made".to_owned(),
        problem: (!problem.is_empty()).then_some(problem),
    });
    let owner =
        text(config, client, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = $1::text::regclass", sql)?;
    let user = text(config, client, "SELECT session_user::text || substr($1::text, 1, 0)", sql)?;
    let mode = if owner == user { ProtectionMode::Simple } else { ProtectionMode::Secure };
    let facts = facts(config, client, sql)?;
    if mode == ProtectionMode::Secure {
        rights(config, client, sql, &owner, &mut findings)?;
    }
    attempts(config, client, sql, mode, &mut findings)?;
    Ok(Protection { mode, findings, facts })
}

fn text(config: &PostgresConfig, client: &mut Client, query: &str, sql: &LogSql) -> Result<String, StoreError> {
    let row = client.query_one(&format!("SELECT ({query})::text"), &[&sql.qualified]);
    row.and_then(|row| row.try_get(0)).map_err(|error| StoreError::from_postgres(config, Doing::Reading, error))
}

fn lines(config: &PostgresConfig, client: &mut Client, query: &str, sql: &LogSql) -> Result<Vec<String>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let rows = client.query(query, &[&sql.qualified]).map_err(reading)?;
    rows.iter().map(|row| row.try_get(0).map_err(reading)).collect()
}

/// Rights and roles as they are.
fn facts(config: &PostgresConfig, client: &mut Client, sql: &LogSql) -> Result<BTreeSet<String>, StoreError> {
    let queries = [
        "SELECT 'owner of the table: ' || pg_get_userbyid(relowner) FROM pg_class WHERE oid = $1::text::regclass",
        "SELECT 'owner of the schema: ' || pg_get_userbyid(n.nspowner) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = $1::text::regclass",
        "SELECT 'owner of the function ' || p.proname || ': ' || pg_get_userbyid(p.proowner)
         FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = $1::text::regclass AND NOT t.tgisinternal",
        "SELECT 'on the table: ' || CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee)::text END
                || ' may ' || a.privilege_type
         FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a WHERE c.oid = $1::text::regclass",
        "SELECT 'on the column ' || t.attname || ': '
                || CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee)::text END || ' may ' || a.privilege_type
         FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = $1::text::regclass",
        "SELECT 'on the schema: ' || CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee)::text END
                || ' may ' || a.privilege_type
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
         WHERE c.oid = $1::text::regclass",
        "SELECT 'the node''s user is a member of ' || r.rolname FROM pg_roles r
         WHERE pg_has_role(session_user, r.oid, 'MEMBER') AND r.rolname <> session_user AND $1::text IS NOT NULL",
        "SELECT 'can act as the owner: ' || r.rolname FROM pg_roles r, pg_class c
         WHERE c.oid = $1::text::regclass AND r.rolcanlogin AND NOT r.rolsuper AND pg_has_role(r.oid, c.relowner, 'MEMBER')",
        "SELECT 'is a superuser: ' || rolname FROM pg_roles WHERE rolsuper AND $1::text IS NOT NULL",
    ];
    let mut facts = BTreeSet::new();
    for query in queries {
        facts.extend(lines(config, client, query, sql)?);
    }
    Ok(facts)
}

/// What the catalogue says of a secure editlog.
fn rights(
    config: &PostgresConfig,
    client: &mut Client,
    sql: &LogSql,
    owner: &str,
    findings: &mut Vec<ProtectionFinding>,
) -> Result<(), StoreError> {
    let roles = sql.roles(config);
    let mut add = |claim: &str, wrong: Vec<String>| {
        let problem = (!wrong.is_empty()).then(|| wrong.join("; "));
        findings.push(ProtectionFinding { claim: claim.to_owned(), problem });
    };
    let other_owner = if owner == roles.owner {
        Vec::new()
    } else {
        vec![format!("it belongs to `{owner}`, not to `{}`", roles.owner)]
    };
    add("the log belongs to the role that was made for it", other_owner);
    let query = "SELECT r.rolname || ' ' || w.what FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner,
                   LATERAL (VALUES (r.rolcanlogin, 'can log in'), (r.rolsuper, 'is a superuser')) w (wrong, what)
                 WHERE c.oid = $1::text::regclass AND w.wrong";
    add("nobody can log in as the owner", lines(config, client, query, sql)?);
    let query = "SELECT r.rolname || ' is a member of the owner' FROM pg_roles r, pg_class c
                 WHERE c.oid = $1::text::regclass AND r.oid <> c.relowner AND NOT r.rolsuper
                   AND pg_has_role(r.oid, c.relowner, 'MEMBER')";
    add("nobody can act as the owner", lines(config, client, query, sql)?);
    let query = "SELECT 'it ' || w.what FROM pg_roles r,
                   LATERAL (VALUES (r.rolsuper, 'is a superuser'), (r.rolcreaterole, 'may create roles'),
                     (r.rolreplication, 'may replicate'), (r.rolbypassrls, 'passes row-level security')) w (wrong, what)
                 WHERE r.rolname = session_user AND w.wrong AND $1::text IS NOT NULL
                 UNION ALL
                 SELECT 'it is a member of ' || r.rolname FROM pg_roles r
                 WHERE r.rolname IN ('pg_write_all_data', 'pg_execute_server_program', 'pg_write_server_files',
                                     'pg_read_server_files', 'pg_database_owner', 'pg_maintain', 'pg_signal_backend')
                   AND pg_has_role(session_user, r.oid, 'MEMBER')";
    add("the node's user is no administrator", lines(config, client, query, sql)?);

    let allowed: BTreeSet<String> =
        [&roles.writer, &roles.reader, &roles.sealer].iter().map(|role| format!("{role} may SELECT")).collect();
    let query = "SELECT CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee)::text END || ' may ' || a.privilege_type
                 FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
                 WHERE c.oid = $1::text::regclass AND a.grantee <> c.relowner";
    let strange = lines(config, client, query, sql)?.into_iter().filter(|line| !allowed.contains(line)).collect();
    add("the table is open to reading alone, by those who were granted it", strange);
    let allowed: BTreeSet<String> =
        WRITER_COLUMNS.iter().map(|column| format!("{} may INSERT {column}", roles.writer)).collect();
    let query = "SELECT CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee)::text END || ' may '
                        || a.privilege_type || ' ' || t.attname
                 FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = $1::text::regclass";
    let strange = lines(config, client, query, sql)?.into_iter().filter(|line| !allowed.contains(line)).collect();
    add("only the node's user inserts, and only into the columns that are its own", strange);
    seal_rights(config, client, sql, &roles, &mut add)?;
    let query = "SELECT p.proname || ' belongs to ' || pg_get_userbyid(p.proowner)
                 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
                 WHERE t.tgrelid = $1::text::regclass AND NOT t.tgisinternal AND p.proowner <> c.relowner
                 UNION ALL
                 SELECT 'the schema belongs to ' || pg_get_userbyid(n.nspowner)
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = $1::text::regclass AND n.nspowner <> c.relowner";
    add("functions and schema belong to the owner of the log", lines(config, client, query, sql)?);
    let query = "SELECT w.what FROM pg_class c,
                   LATERAL (VALUES (has_schema_privilege(session_user, c.relnamespace, 'CREATE'), 'it may create objects in the schema'),
                     (has_database_privilege(session_user, current_database(), 'TEMPORARY'), 'it may make temporary tables'))
                   w (wrong, what) WHERE c.oid = $1::text::regclass AND w.wrong";
    add("the node's user makes nothing beside the log", lines(config, client, query, sql)?);
    Ok(())
}

/// What the catalogue says of the tables that hold the seal.
fn seal_rights(
    config: &PostgresConfig,
    client: &mut Client,
    sql: &LogSql,
    roles: &Roles,
    add: &mut dyn FnMut(&str, Vec<String>),
) -> Result<(), StoreError> {
    let mut strange = Vec::new();
    for suffix in SEAL_TABLES {
        let mut allowed: BTreeSet<String> =
            [&roles.writer, &roles.reader, &roles.sealer].iter().map(|role| format!("{role} may SELECT")).collect();
        let sealer = &roles.sealer;
        if suffix == CHECKPOINTS {
            allowed.extend(["INSERT size", "INSERT note", "DELETE"].map(|what| format!("{sealer} may {what}")));
        } else {
            allowed.insert(format!("{sealer} may INSERT"));
        }
        let query = "SELECT CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee)::text END || ' may ' || a.what
                     FROM pg_class c, LATERAL (
                       SELECT grantee, privilege_type AS what FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner)))
                       UNION ALL
                       SELECT x.grantee, x.privilege_type || ' ' || t.attname FROM pg_attribute t, aclexplode(t.attacl) x
                       WHERE t.attrelid = c.oid) a
                     WHERE c.oid = to_regclass($1::text) AND a.grantee <> c.relowner
                     UNION ALL
                     SELECT 'it belongs to ' || pg_get_userbyid(c.relowner) FROM pg_class c, pg_class log
                     WHERE c.oid = to_regclass($1::text) AND log.oid = to_regclass($2::text) AND c.relowner <> log.relowner";
        let table = sql.qualified_beside(suffix);
        let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
        for row in client.query(query, &[&table, &sql.qualified]).map_err(reading)? {
            let line: String = row.try_get(0).map_err(reading)?;
            if !allowed.contains(&line) {
                strange.push(format!("{table}: {line}"));
            }
        }
    }
    add("the seal is appended to by the role that seals alone", strange);
    Ok(())
}

/// What is tried, in a transaction that is rolled back.
fn attempts(
    config: &PostgresConfig,
    client: &mut Client,
    sql: &LogSql,
    mode: ProtectionMode,
    findings: &mut Vec<ProtectionFinding>,
) -> Result<(), StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let t = &sql.qualified;
    let mut transaction = client.transaction().map_err(writing)?;
    let probe = Uuid::new_v4();
    let columns = r#""user", action, key, column_name, value, batch_id, source, event_id"#;
    let values = format!("'stet.check', 'update', 'stet.check', 'stet.check', 'x', '{probe}', 'api', '{probe}'");

    let before: Micros =
        transaction.query_one("SELECT clock_timestamp()", &[]).and_then(|row| row.try_get(0)).map_err(writing)?;
    let inserted = transaction.query_one(
        &format!(
            "INSERT INTO {t} ({columns}) VALUES ({values})
             RETURNING date, db_user = session_user, tx = pg_current_xact_id(), id"
        ),
        &[],
    );
    let row = match inserted {
        Ok(row) => row,
        Err(error) => {
            let problem = match error.code().map(|state| state.code()) {
                Some("42501") => "the node's user may not".to_owned(),
                _ => "the database refuses it".to_owned(),
            };
            findings.push(ProtectionFinding { claim: "the node can append".to_owned(), problem: Some(problem) });
            return transaction.rollback().map_err(writing);
        }
    };
    let mut add = |claim: &str, holds: bool, problem: &str| {
        findings.push(ProtectionFinding { claim: claim.to_owned(), problem: (!holds).then(|| problem.to_owned()) });
    };
    let date: Micros = row.try_get(0).map_err(writing)?;
    add("the node can append", true, "");
    add(
        "the database sets the date of an event when it comes, not when its transaction began",
        date.0 >= before.0,
        "it has an earlier date",
    );
    add(
        "the database notes its user and its transaction with each event",
        row.try_get::<_, bool>(1).map_err(writing)? && row.try_get::<_, bool>(2).map_err(writing)?,
        "it notes others",
    );

    let fresh = Uuid::new_v4();
    let others = values.replace(&format!("'api', '{probe}'"), &format!("'api', '{fresh}'"));
    let mut tried: Vec<(&str, String)> = vec![
        ("an event is not given a date", format!("INSERT INTO {t} (date, {columns}) VALUES ('2020-01-01', {others})")),
        ("an event is not given a place", format!("INSERT INTO {t} (id, {columns}) VALUES (1, {others})")),
        (
            "an event is not given a database user",
            format!("INSERT INTO {t} (db_user, {columns}) VALUES ('postgres', {others})"),
        ),
        ("an event is not changed", format!("UPDATE {t} SET value = 'forged' WHERE event_id = '{probe}'")),
        (
            "an event is not changed by an insert",
            format!(
                "INSERT INTO {t} ({columns}) VALUES ({values}) ON CONFLICT (event_id) DO UPDATE SET value = 'forged'"
            ),
        ),
        ("an event is not deleted", format!("DELETE FROM {t} WHERE event_id = '{probe}'")),
        ("the log is not emptied", format!("TRUNCATE {t}")),
    ];
    let (leaves, checkpoints) = (sql.qualified_beside(LEAVES), sql.qualified_beside(CHECKPOINTS));
    tried.extend([
        ("a sealed hash is not changed", format!("INSERT INTO {leaves} (id, hash) VALUES (-1, decode(repeat('00', 32), 'hex')); UPDATE {leaves} SET id = -2 WHERE id = -1")),
        ("the seal is not emptied", format!("TRUNCATE {leaves}")),
        (
            "the last checkpoint is not taken away",
            format!("INSERT INTO {checkpoints} (size, note) VALUES (9000000000000000000, ''); DELETE FROM {checkpoints} WHERE size = 9000000000000000000"),
        ),
    ]);
    if mode == ProtectionMode::Secure {
        let roles = sql.roles(config);
        tried.extend([
            (
                "who seals changes no hash",
                format!("SET LOCAL ROLE {}; UPDATE {leaves} SET hash = hash", quoted(&roles.sealer)),
            ),
            ("triggers are not switched off", format!("ALTER TABLE {t} DISABLE TRIGGER ALL")),
            ("triggers are not removed", format!("DROP TRIGGER stet_1_stamp ON {t}")),
            (
                "functions are not replaced",
                format!(
                    "CREATE OR REPLACE FUNCTION {}.{}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
                    quoted(&sql.schema),
                    quoted(&format!("{}_stamp", sql.table))
                ),
            ),
            ("nobody becomes the owner", format!("SET LOCAL ROLE {}", quoted(&roles.owner))),
            ("replication mode is not entered", "SET LOCAL session_replication_role = replica".to_owned()),
            ("the table is not removed", format!("DROP TABLE {t}")),
            (
                "rights are not handed on",
                // A GRANT without the right to grant is a warning, after which nothing is granted.
                format!(
                    "DO $stet$ BEGIN GRANT UPDATE ON {t} TO PUBLIC;
                     IF NOT has_table_privilege('public', {}, 'UPDATE') THEN RAISE EXCEPTION 'nothing was granted'; END IF;
                     END $stet$",
                    literal(t)
                ),
            ),
            ("no temporary table is made", "CREATE TEMPORARY TABLE stet_check (id int)".to_owned()),
        ]);
    }
    for (claim, statement) in tried {
        let refused = is_refused(config, &mut transaction, &statement)?;
        findings.push(ProtectionFinding {
            claim: claim.to_owned(),
            problem: (!refused).then(|| "the database let the node's user do it (it was taken back)".to_owned()),
        });
    }
    transaction.rollback().map_err(writing)
}

/// Whether the database refuses a statement.
fn is_refused(config: &PostgresConfig, transaction: &mut Transaction<'_>, statement: &str) -> Result<bool, StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let mut attempt = transaction.transaction().map_err(writing)?;
    let refused = match attempt.batch_execute(statement) {
        Ok(()) => false,
        Err(error) if error.code().is_some() => true,
        Err(error) => return Err(writing(error)),
    };
    attempt.rollback().map_err(writing)?;
    Ok(refused)
}
