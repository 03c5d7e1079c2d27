//! The secure initialisation: an editlog that belongs to a role as which nobody can log in.
//!
//! Whoever owns a table can take its triggers away. So the node's own user may read the log and insert into some of its
//! columns, and owns nothing. The rest is said by the script itself, which an administrator of the database reads and
//! runs, or lets Stet run with credentials that are used once.

use std::fmt::Write;

use stet_domain::DatasetName;

use super::parts::{CHECKPOINTS, SEAL_TABLES};
use super::schema::{BY_NODE, LogSql};
use crate::editlog::EditlogTables;
use crate::error::{Doing, StoreError};
use crate::postgres::{NAME_BYTES_MAX, Postgres, PostgresConfig, literal, quoted};

/// The columns that the writer may give; the database sets the others.
pub(super) const WRITER_COLUMNS: [&str; 14] = [
    "user",
    "action",
    "key",
    "column_name",
    "value",
    "previous",
    "batch_id",
    "source",
    "reason",
    "event_id",
    "writer",
    "wseq",
    "wprev",
    "secrets",
];

/// The roles of a secure editlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roles {
    /// Owns everything and cannot log in.
    pub owner: String,
    /// The node's own user.
    pub writer: String,
    /// May read; granted to auditors.
    pub reader: String,
    /// May read, and write the seal. The node takes it where it seals, and only there.
    pub sealer: String,
}

impl Roles {
    pub(super) fn new(config: &PostgresConfig, schema: &str) -> Roles {
        // Roles are known to all databases of a server, so their names say to which one they belong.
        let name = |what: &str| {
            let plain = format!("stet_{}_{schema}_{what}", config.database);
            if plain.len() <= NAME_BYTES_MAX {
                return plain;
            }
            let hash = plain
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            format!("stet_{hash:016x}_{what}")
        };
        Roles { owner: name("owner"), writer: config.user.clone(), reader: name("reader"), sealer: name("sealer") }
    }
}

/// The script, as the administrator is to read it.
pub(crate) fn script(
    postgres: &Postgres,
    tables: &EditlogTables,
    original: &DatasetName,
) -> Result<String, StoreError> {
    let config = postgres.config();
    let sql = tables.sql(original)?;
    let roles = Roles::new(config, &sql.schema);
    let mut text = String::new();
    let (owner, writer) = (quoted(&roles.owner), quoted(&roles.writer));
    let (reader, sealer) = (quoted(&roles.reader), quoted(&roles.sealer));
    let (schema, table) = (quoted(&sql.schema), &sql.qualified);
    let database = quoted(&config.database);
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "-- The editlog of `{original}` in {table}, for an administrator of the database {database}.
-- It can be run again: what is there already stays, and so does every event.
--
--   {owner}: owns the log; nobody can log in as it.
--   {writer}: the user of the Stet node. It may read the log and append to it, and nothing else.
--     If the script makes it, give it a password then: \\password {writer}
--   {sealer}: may read the log and append to its seal. The node takes this role where it seals.
--   {reader}: may read. Grant it to auditors.
--
-- What it takes away: nobody but those who are named here may make temporary tables in this database. For programs
-- that need them: GRANT TEMPORARY ON DATABASE {database} TO ...;
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DO $stet$
DECLARE
  role text;
BEGIN
  IF current_database() <> {database_text} THEN
    RAISE EXCEPTION 'this is the database %, and the script is for {database_name}', current_database();
  END IF;
  FOREACH role IN ARRAY ARRAY[{owner_text}, {reader_text}, {sealer_text}] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    END IF;
  END LOOP;
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = {writer_text}) THEN
    EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', {writer_text});
  END IF;
  IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = {writer_text}
             AND (rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls)) THEN
    RAISE EXCEPTION 'the user % of the node is an administrator of the database: give the node a user of its own', {writer_text};
  END IF;
  IF pg_has_role({writer_text}, {owner_text}, 'MEMBER') THEN
    RAISE EXCEPTION 'the user % of the node is a member of %: revoke that', {writer_text}, {owner_text};
  END IF;
  -- Only for the time of this transaction, if whoever runs it is no superuser.
  IF NOT pg_has_role(current_user, {owner_text}, 'USAGE') THEN
    EXECUTE format('GRANT %I TO CURRENT_USER', {owner_text});
    PERFORM set_config('stet.granted', 'yes', true);
  END IF;
  IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = {schema_text}) THEN
    EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', {schema_text}, {owner_text});
  END IF;
END
$stet$;

REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {writer}, {reader}, {sealer};
ALTER SCHEMA {schema} OWNER TO {owner};
REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {writer};
GRANT USAGE ON SCHEMA {schema} TO {writer}, {reader}, {sealer};

DO $stet$
BEGIN
  IF to_regclass({table_text}) IS NULL THEN
",
        database_text = literal(&config.database),
        database_name = config.database.replace('\'', "''"),
        owner_text = literal(&roles.owner),
        writer_text = literal(&roles.writer),
        reader_text = literal(&roles.reader),
        sealer_text = literal(&roles.sealer),
        schema_text = literal(&sql.schema),
        table_text = literal(table),
    );
    for statement in sql.create() {
        let _ = writeln!(text, "    {statement};");
    }
    let whose = config.node.as_ref().map_or(String::new(), |node| {
        let whose = literal(&format!("%{BY_NODE}%"));
        let ours = literal(&format!("%{BY_NODE}{} %", node.id));
        let comment = format!("pg_catalog.obj_description({}::regclass, 'pg_class')", literal(table));
        format!(
            "  IF {comment} LIKE {whose} AND {comment} NOT LIKE {ours} THEN
    RAISE EXCEPTION 'the editlog belongs to another node: %', {comment};
  END IF;
"
        )
    });
    let _ = write!(text, "  END IF;\n{whose}END\n$stet$;\n");
    let _ = writeln!(text, "{};", sql.comment(config));
    for part in &sql.parts().tables {
        let _ = writeln!(text, "ALTER TABLE {schema}.{} OWNER TO {owner};", quoted(&part.name));
    }
    for (function, _) in &sql.parts().functions {
        let name = format!("{schema}.{}()", quoted(function));
        let _ = writeln!(
            text,
            "ALTER FUNCTION {name} OWNER TO {owner};\nREVOKE ALL ON FUNCTION {name} FROM PUBLIC, {writer};"
        );
    }
    let columns: Vec<String> = WRITER_COLUMNS.iter().map(|column| quoted(column)).collect();
    let _ = write!(
        text,
        "REVOKE ALL ON TABLE {table} FROM PUBLIC, {writer}, {reader}, {sealer};
GRANT SELECT ON TABLE {table} TO {writer}, {reader}, {sealer};
-- Not the id, the date, the database user and the transaction: those are the database's own.
GRANT INSERT ({columns}) ON TABLE {table} TO {writer};
{seal}DO $stet$
BEGIN
  IF current_setting('stet.granted', true) = 'yes' THEN
    EXECUTE format('REVOKE %I FROM CURRENT_USER', {owner_text});
  END IF;
END
$stet$;
COMMIT;
",
        columns = columns.join(", "),
        seal = seal_grants(&sql, &roles),
        owner_text = literal(&roles.owner),
    );
    Ok(text)
}

/// The statements that let the node seal the log, in a role of its own.
fn seal_grants(sql: &LogSql, roles: &Roles) -> String {
    let (writer, reader, sealer) = (quoted(&roles.writer), quoted(&roles.reader), quoted(&roles.sealer));
    let mut text = String::new();
    for suffix in SEAL_TABLES {
        let table = sql.qualified_beside(suffix);
        // Not the date of a checkpoint. One is deleted only when a later one of the same minute is there.
        let write = if suffix == CHECKPOINTS { "INSERT (size, note), DELETE" } else { "INSERT" };
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "REVOKE ALL ON TABLE {table} FROM PUBLIC, {writer}, {reader}, {sealer};
GRANT SELECT ON TABLE {table} TO {writer}, {reader}, {sealer};
GRANT {write} ON TABLE {table} TO {sealer};
"
        );
    }
    // Not inherited: the connections that append have no right to seal.
    let (writer_text, sealer_text) = (literal(&roles.writer), literal(&roles.sealer));
    let _ = write!(
        text,
        "DO $stet$
BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', {sealer_text}, {writer_text});
  ELSE
    -- Before version 16 this is the affair of the role: it stays as it is if it is a member of others, too.
    IF NOT EXISTS (SELECT 1 FROM pg_auth_members m JOIN pg_roles w ON w.oid = m.member JOIN pg_roles r ON r.oid = m.roleid
                   WHERE w.rolname = {writer_text} AND r.rolname <> {sealer_text}) THEN
      EXECUTE format('ALTER ROLE %I NOINHERIT', {writer_text});
    END IF;
    EXECUTE format('GRANT %I TO %I', {sealer_text}, {writer_text});
  END IF;
END
$stet$;
"
    );
    text
}

/// What the script does, in a few lines, for whoever lets Stet run it.
pub(crate) fn explain(
    postgres: &Postgres,
    tables: &EditlogTables,
    original: &DatasetName,
) -> Result<Vec<String>, StoreError> {
    let config = postgres.config();
    let sql = tables.sql(original)?;
    let roles = Roles::new(config, &sql.schema);
    Ok(vec![
        format!("the editlog of `{original}` is the table {} in the database {config}", sql.qualified),
        format!("it belongs to the role `{}`, as which nobody can log in", roles.owner),
        format!("the node's user `{}` may read it and append to it, and nothing else", roles.writer),
        format!("`{}` (for auditors) may read it; `{}` may also append to its seal", roles.reader, roles.sealer),
        format!(
            "nobody keeps the right to make temporary tables in `{}` unless it is granted by name",
            config.database
        ),
        "what is there already stays; `stet editlog sql --secure` shows every statement".to_owned(),
    ])
}

/// Runs the script with an administrator's credentials, which are kept nowhere. Blocks.
pub(crate) fn run(
    postgres: &Postgres,
    tables: &EditlogTables,
    original: &DatasetName,
    admin_url: &str,
) -> Result<(), StoreError> {
    let script = script(postgres, tables, original)?;
    let (admin, password) = administrator(postgres.config(), admin_url)?;
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let mut client = admin.connect_with(password.as_deref())?;
            client.batch_execute(&script).map_err(|error| refused(&admin, error))
        });
        running.join().unwrap_or(Err(StoreError::Closed))
    })
}

/// How an administrator reaches the database of a node: by a URL, encrypted as the node is.
pub(super) fn administrator(
    node: &PostgresConfig,
    admin_url: &str,
) -> Result<(PostgresConfig, Option<String>), StoreError> {
    let (mut admin, password) = PostgresConfig::from_url("the administrator's connection", admin_url)?;
    if admin.database != node.database {
        return Err(StoreError::Unusable(format!(
            "the administrator's URL names the database `{}`, and the editlog is to be in `{}`: write that one",
            admin.database, node.database
        )));
    }
    if admin.host == node.host {
        admin.encryption = node.encryption;
        admin.authorities.clone_from(&node.authorities);
    }
    admin.node.clone_from(&node.node);
    Ok((admin, password))
}

/// What the database says to an administrator's script: the script's own words if it is one of them.
fn refused(admin: &PostgresConfig, error: postgres::Error) -> StoreError {
    match error.as_db_error() {
        Some(raised) if raised.code().code() == "P0001" => StoreError::Unusable(raised.message().to_owned()),
        Some(raised) if raised.code().code() == "42501" => StoreError::NotAllowed {
            connection: admin.to_string(),
            what: "make the roles and the table: it needs the right to create roles and schemas",
            source: Some(error.into()),
        },
        _ => StoreError::from_postgres(admin, Doing::Writing, error),
    }
}

impl LogSql {
    /// The roles that the log has when it was made by the script.
    pub(super) fn roles(&self, config: &PostgresConfig) -> Roles {
        Roles::new(config, &self.schema)
    }
}
