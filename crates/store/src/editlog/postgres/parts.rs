//! What an editlog in PostgreSQL is made of, and whether all of it is there as it was made.
//!
//! Beside the table of the events stand three that hold its seal, as in SQLite: the leaves of the Merkle tree, the inner
//! nodes that make up the tiles of higher levels, and signed checkpoints: the last one, and the last of each minute in which
//! something was sealed.

use postgres::GenericClient;
use stet_domain::{key::KEY_BYTES_MAX, name::LOGIN_CHARACTERS_MAX};

use super::schema::{LOCK_CLASS, LogSql};
use crate::error::{Doing, StoreError};
use crate::postgres::{PostgresConfig, literal, quoted};

/// The suffixes of the tables that hold the seal.
pub(super) const LEAVES: &str = "_leaves";
pub(super) const NODES: &str = "_nodes";
pub(super) const CHECKPOINTS: &str = "_checkpoints";
pub(super) const SEAL_TABLES: [&str; 3] = [LEAVES, NODES, CHECKPOINTS];

/// The most bytes of the secrets of an event: a kind and a hash for each of four fields.
const SECRETS_BYTES_MAX: usize = 4 * 33;

/// What of an editlog's protection is compared with what it must be.
pub(super) struct Parts {
    /// The tables, that of the events first.
    pub tables: Vec<TableParts>,
    /// The functions: name and body.
    pub functions: Vec<(String, String)>,
}

/// A table as it must be.
pub(super) struct TableParts {
    /// Its name, without the schema.
    pub name: String,
    /// The columns with their types and whether they are required, in order.
    columns: Vec<(&'static str, &'static str, bool)>,
    /// How many check, primary key and unique constraints there are.
    constraints: (i64, i64, i64),
    /// The triggers: name, `tgtype`, when, function.
    triggers: Vec<(&'static str, i16, &'static str, String)>,
}

// Bits of `tgtype` (pg_trigger.h).
const ROW: i16 = 1;
const BEFORE: i16 = 2;
const INSERT: i16 = 4;
const DELETE: i16 = 8;
const UPDATE: i16 = 16;
const TRUNCATE: i16 = 32;

impl LogSql {
    /// The name of a function or table beside the log, without the schema.
    pub(super) fn beside(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.table)
    }

    /// The same, quoted and with the schema.
    pub(super) fn qualified_beside(&self, suffix: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.beside(suffix)))
    }

    /// What must be there.
    pub(super) fn parts(&self) -> Parts {
        let stamp = format!(
            "
DECLARE
  last_id bigint;
  last_date timestamptz;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(({LOCK_CLASS}::bigint << 32) | TG_RELID::bigint);
  SELECT id, date INTO last_id, last_date FROM {t} ORDER BY id DESC LIMIT 1;
  IF NEW.id IS NOT NULL THEN
    RAISE EXCEPTION 'editlog is append-only: id refused, it is the last id plus one' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF NEW.date IS NOT NULL THEN
    RAISE EXCEPTION 'editlog: date refused, it is set by the database' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF NEW.db_user IS NOT NULL OR NEW.tx IS NOT NULL THEN
    RAISE EXCEPTION 'editlog: db_user and tx refused, they are set by the database' USING ERRCODE = 'insufficient_privilege';
  END IF;
  NEW.id := coalesce(last_id, 0) + 1;
  NEW.date := pg_catalog.clock_timestamp();
  NEW.db_user := session_user;
  NEW.tx := pg_catalog.pg_current_xact_id();
  IF NEW.date < last_date THEN
    RAISE EXCEPTION 'editlog: date refused, the clock is behind the last event' USING ERRCODE = 'ST001';
  END IF;
  RETURN NEW;
END
",
            t = self.qualified
        );
        let refuse = |what: &str| {
            format!(
                "\nBEGIN\n  RAISE EXCEPTION '{what} is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';\nEND\n"
            )
        };
        let checkpoint = format!(
            "
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.date IS NOT NULL THEN
      RAISE EXCEPTION 'the seal of an editlog: date refused, it is set by the database' USING ERRCODE = 'insufficient_privilege';
    END IF;
    NEW.date := pg_catalog.clock_timestamp();
    RETURN NEW;
  END IF;
  -- Of those of one minute, the last one is enough.
  IF TG_OP = 'DELETE' AND EXISTS (
    SELECT 1 FROM {c} WHERE size > OLD.size AND date_trunc('minute', date) = date_trunc('minute', OLD.date)
  ) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'the seal of an editlog is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
",
            c = self.qualified_beside(CHECKPOINTS)
        );
        let (stamps, refuses) = (self.beside("_stamp"), self.beside("_refuse"));
        let (refuses_seal, stamps_checkpoint) = (self.beside("_refuse_seal"), self.beside("_checkpoint"));
        let change = ("stet_2_refuse", ROW | BEFORE | DELETE | UPDATE, "BEFORE UPDATE OR DELETE ON {t} FOR EACH ROW");
        let truncate = ("stet_3_refuse_truncate", BEFORE | TRUNCATE, "BEFORE TRUNCATE ON {t} FOR EACH STATEMENT");
        let stamping = ("stet_1_stamp", ROW | BEFORE | INSERT, "BEFORE INSERT ON {t} FOR EACH ROW");
        let every = (
            "stet_1_checkpoint",
            ROW | BEFORE | INSERT | DELETE | UPDATE,
            "BEFORE INSERT OR UPDATE OR DELETE ON {t} FOR EACH ROW",
        );
        let trigger = |(name, kind, when): (&'static str, i16, &'static str), function: &String| {
            (name, kind, when, function.clone())
        };
        let tables = vec![
            TableParts {
                name: self.table.clone(),
                columns: vec![
                    ("id", "bigint", true),
                    ("date", "timestamp with time zone", true),
                    ("user", "text", true),
                    ("action", "text", true),
                    ("key", "text", true),
                    ("column_name", "text", false),
                    ("value", "text", false),
                    ("previous", "text", false),
                    ("batch_id", "uuid", true),
                    ("source", "text", true),
                    ("reason", "text", false),
                    ("event_id", "uuid", true),
                    ("db_user", "name", true),
                    ("tx", "xid8", true),
                    ("writer", "uuid", false),
                    ("wseq", "bigint", false),
                    ("wprev", "bytea", false),
                    ("secrets", "bytea", false),
                ],
                constraints: (11, 1, 2),
                triggers: vec![trigger(stamping, &stamps), trigger(change, &refuses), trigger(truncate, &refuses)],
            },
            TableParts {
                name: self.beside(LEAVES),
                columns: vec![("id", "bigint", true), ("hash", "bytea", true), ("secrets", "bytea", false)],
                constraints: (2, 1, 0),
                triggers: vec![trigger(change, &refuses_seal), trigger(truncate, &refuses_seal)],
            },
            TableParts {
                name: self.beside(NODES),
                columns: vec![("level", "smallint", true), ("place", "bigint", true), ("hash", "bytea", true)],
                constraints: (1, 1, 0),
                triggers: vec![trigger(change, &refuses_seal), trigger(truncate, &refuses_seal)],
            },
            TableParts {
                name: self.beside(CHECKPOINTS),
                columns: vec![
                    ("size", "bigint", true),
                    ("date", "timestamp with time zone", true),
                    ("note", "text", true),
                ],
                constraints: (0, 1, 0),
                triggers: vec![trigger(every, &stamps_checkpoint), trigger(truncate, &refuses_seal)],
            },
        ];
        let functions = vec![
            (stamps, stamp),
            (refuses, refuse("editlog")),
            (refuses_seal, refuse("the seal of an editlog")),
            (stamps_checkpoint, checkpoint),
        ];
        Parts { tables, functions }
    }

    /// The statements that make the editlog in a schema that is there.
    pub(super) fn create(&self) -> Vec<String> {
        let (t, schema) = (&self.qualified, quoted(&self.schema));
        let parts = self.parts();
        let mut statements = vec![format!(
            r#"CREATE TABLE {t} (
  id bigint PRIMARY KEY,
  date timestamptz NOT NULL,
  "user" text COLLATE "C" NOT NULL CHECK (pg_catalog.length("user") BETWEEN 1 AND {LOGIN_CHARACTERS_MAX} AND "user" !~ '[^-A-Za-z0-9._@+]'),
  action text COLLATE "C" NOT NULL CHECK (action IN ('update', 'create', 'delete', 'revert', 'erase', 'note')),
  key text COLLATE "C" NOT NULL CHECK (pg_catalog.octet_length(key) <= {key_bytes}),
  column_name text COLLATE "C" CHECK (column_name <> ''),
  value text COLLATE "C",
  previous text COLLATE "C",
  batch_id uuid NOT NULL,
  source text COLLATE "C" NOT NULL CHECK (source IN ('grid', 'paste', 'fill', 'undo', 'import', 'api')),
  reason text COLLATE "C",
  event_id uuid NOT NULL UNIQUE,
  db_user name NOT NULL,
  tx xid8 NOT NULL,
  writer uuid,
  wseq bigint,
  wprev bytea CHECK (pg_catalog.octet_length(wprev) = 32),
  secrets bytea CHECK (pg_catalog.octet_length(secrets) <= {SECRETS_BYTES_MAX}),
  CHECK (action <> 'update' OR column_name IS NOT NULL),
  CHECK (action <> 'delete' OR column_name IS NULL),
  CHECK (value IS NULL OR (column_name IS NOT NULL AND action IN ('update', 'create'))),
  CHECK ((writer IS NULL) = (wseq IS NULL) AND (writer IS NULL) = (wprev IS NULL)),
  UNIQUE (writer, wseq)
)"#,
            // Each NUL of a key takes four bytes.
            key_bytes = KEY_BYTES_MAX * 4,
        )];
        let hash = "pg_catalog.hashtextextended(key, 0)";
        statements.push(format!("CREATE INDEX ON {t} ({hash}, id)"));
        statements.push(format!("CREATE INDEX ON {t} ({hash}, pg_catalog.hashtextextended(column_name, 0), id)"));
        statements.push(format!("CREATE INDEX ON {t} ({hash}, id) WHERE column_name IS NULL OR action = 'create'"));
        statements.push(format!(
            "CREATE TABLE {} (
  id bigint PRIMARY KEY,
  hash bytea NOT NULL CHECK (pg_catalog.octet_length(hash) = 32),
  secrets bytea CHECK (pg_catalog.octet_length(secrets) <= {SECRETS_BYTES_MAX})
)",
            self.qualified_beside(LEAVES)
        ));
        statements.push(format!(
            "CREATE TABLE {} (
  level smallint NOT NULL,
  place bigint NOT NULL,
  hash bytea NOT NULL CHECK (pg_catalog.octet_length(hash) = 32),
  PRIMARY KEY (level, place)
)",
            self.qualified_beside(NODES)
        ));
        statements.push(format!(
            "CREATE TABLE {} (\n  size bigint PRIMARY KEY,\n  date timestamptz NOT NULL,\n  note text NOT NULL\n)",
            self.qualified_beside(CHECKPOINTS)
        ));
        for (name, body) in &parts.functions {
            statements.push(format!(
                "CREATE FUNCTION {schema}.{}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {}",
                quoted(name),
                literal(body)
            ));
        }
        for table in &parts.tables {
            let t = format!("{schema}.{}", quoted(&table.name));
            for (trigger, _, when, function) in &table.triggers {
                let when = when.replace("{t}", &t);
                statements
                    .push(format!("CREATE TRIGGER {trigger} {when} EXECUTE FUNCTION {schema}.{}()", quoted(function)));
                statements.push(format!("ALTER TABLE {t} ENABLE ALWAYS TRIGGER {trigger}"));
            }
            statements.push(format!("REVOKE ALL ON TABLE {t} FROM PUBLIC"));
        }
        for (name, _) in &parts.functions {
            statements.push(format!("REVOKE ALL ON FUNCTION {schema}.{}() FROM PUBLIC", quoted(name)));
        }
        statements
    }

    /// The statements that take the editlog away with all its events.
    pub(super) fn drop(&self) -> Vec<String> {
        let parts = self.parts();
        let schema = quoted(&self.schema);
        let tables = parts.tables.iter().map(|table| format!("DROP TABLE {schema}.{}", quoted(&table.name)));
        let functions = parts.functions.iter().map(|(name, _)| format!("DROP FUNCTION {schema}.{}()", quoted(name)));
        tables.chain(functions).collect()
    }
}

/// Every part of the editlog that is not as it was created: which, and what is wrong with it.
pub(super) fn drifts(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
) -> Result<Vec<(String, &'static str)>, StoreError> {
    let parts = sql.parts();
    drifts_of(config, client, sql, &parts, &parts.tables)
}

/// [`drifts`] of the table of the events.
pub(super) fn drifts_of_events(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
) -> Result<Vec<(String, &'static str)>, StoreError> {
    let parts = sql.parts();
    drifts_of(config, client, sql, &parts, &parts.tables[..1])
}

fn drifts_of(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
    parts: &Parts,
    tables: &[TableParts],
) -> Result<Vec<(String, &'static str)>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let mut found = Vec::new();
    for table in tables {
        let qualified = format!("{}.{}", quoted(&sql.schema), quoted(&table.name));
        let there: bool = client
            .query_one("SELECT to_regclass($1) IS NOT NULL", &[&qualified])
            .and_then(|row| row.try_get(0))
            .map_err(reading)?;
        if there {
            drifts_of_table(config, client, sql, table, parts, &qualified, &mut found)?;
        } else {
            found.push((table.name.clone(), "is missing"));
        }
    }
    Ok(found)
}

fn drifts_of_table(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
    table: &TableParts,
    parts: &Parts,
    qualified: &str,
    found: &mut Vec<(String, &'static str)>,
) -> Result<(), StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);

    let columns = client
        .query(
            "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull
             FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&qualified],
        )
        .map_err(reading)?;
    let columns: Vec<(String, String, bool)> = columns
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect::<Result<_, _>>()
        .map_err(reading)?;
    let expected = table.columns.iter().map(|(name, kind, required)| (*name, *kind, *required));
    if !columns.iter().map(|(name, kind, required)| (name.as_str(), kind.as_str(), *required)).eq(expected) {
        found.push((table.name.clone(), "has other columns"));
    }

    let constraints = client
        .query_one(
            "SELECT count(*) FILTER (WHERE contype = 'c' AND convalidated), count(*) FILTER (WHERE contype = 'p'),
                    count(*) FILTER (WHERE contype = 'u')
             FROM pg_constraint WHERE conrelid = $1::text::regclass",
            &[&qualified],
        )
        .map_err(reading)?;
    let count = |place: usize| constraints.try_get::<_, i64>(place).map_err(reading);
    if (count(0)?, count(1)?, count(2)?) != table.constraints {
        found.push((table.name.clone(), "has other constraints"));
    }

    let triggers = client
        .query(
            "SELECT t.tgname::text, t.tgtype, t.tgenabled::text, p.proname::text, p.prosrc, n.nspname::text,
                    pg_catalog.array_to_string(p.proconfig, ';'), t.tgqual IS NULL AND t.tgattr = ''::int2vector
             FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE t.tgrelid = $1::text::regclass AND NOT t.tgisinternal",
            &[&qualified],
        )
        .map_err(reading)?;
    let mut there = Vec::new();
    for row in &triggers {
        let name: String = row.try_get(0).map_err(reading)?;
        let (kind, enabled): (i16, String) = (row.try_get(1).map_err(reading)?, row.try_get(2).map_err(reading)?);
        let (function, body): (String, String) = (row.try_get(3).map_err(reading)?, row.try_get(4).map_err(reading)?);
        let (schema, settings): (String, Option<String>) =
            (row.try_get(5).map_err(reading)?, row.try_get(6).map_err(reading)?);
        let unconditional: bool = row.try_get(7).map_err(reading)?;
        match table.triggers.iter().find(|(expected, ..)| *expected == name) {
            None => found.push((name.clone(), "is a trigger that Stet did not make")),
            Some((_, expected_kind, _, expected_function)) => {
                let source = parts.functions.iter().find(|(name, _)| name == expected_function).map(|(_, body)| body);
                if kind != *expected_kind || function != *expected_function || schema != sql.schema || !unconditional {
                    found.push((name.clone(), "was changed"));
                } else if enabled != "A" {
                    found.push((name.clone(), "does not fire always"));
                } else if source != Some(&body) || settings.as_deref() != Some("search_path=pg_catalog, pg_temp") {
                    found.push((function, "was changed"));
                }
            }
        }
        there.push(name);
    }
    for (name, ..) in &table.triggers {
        if !there.iter().any(|found| found == name) {
            found.push(((*name).to_owned(), "is missing"));
        }
    }

    let more = client
        .query_one(
            "SELECT (SELECT count(*) FROM pg_rewrite WHERE ev_class = $1::text::regclass),
                    (SELECT count(*) FROM pg_inherits WHERE inhparent = $1::text::regclass OR inhrelid = $1::text::regclass),
                    (SELECT relrowsecurity FROM pg_class WHERE oid = $1::text::regclass),
                    (SELECT relpersistence = 'p' AND relkind = 'r' FROM pg_class WHERE oid = $1::text::regclass)",
            &[&qualified],
        )
        .map_err(reading)?;
    if more.try_get::<_, i64>(0).map_err(reading)? > 0 {
        found.push((table.name.clone(), "has rules"));
    }
    if more.try_get::<_, i64>(1).map_err(reading)? > 0 {
        found.push((table.name.clone(), "has or is an inherited table"));
    }
    if more.try_get::<_, bool>(2).map_err(reading)? {
        found.push((table.name.clone(), "hides rows by row-level security"));
    }
    if !more.try_get::<_, bool>(3).map_err(reading)? {
        found.push((table.name.clone(), "is not an ordinary table that survives a crash"));
    }
    Ok(())
}
