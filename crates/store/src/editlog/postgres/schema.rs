//! The table, triggers and indexes of an editlog in PostgreSQL: what makes it append-only for everybody but its owner.
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
//! - Keys can be longer than an entry of an index (2,704 bytes), so the indexes hold their hashes.

use postgres::{Client, GenericClient};
use stet_domain::{DatasetName, key::KEY_BYTES_MAX, name::LOGIN_CHARACTERS_MAX};

use crate::error::{Doing, StoreError};
use crate::postgres::{NAME_BYTES_MAX, PostgresConfig, literal, quoted};

/// The version of what is described here.
pub(super) const FORMAT_VERSION: i64 = 1;

/// The advisory lock of a log is this number with the table's identity behind it: "Stet" in ASCII.
const LOCK_CLASS: i64 = 0x5374_6574;

/// The longest name of an editlog's table, in bytes: the names of its functions are longer.
const TABLE_BYTES_MAX: usize = NAME_BYTES_MAX - "_refuse".len();

/// A comment on the table tells every tool what it is, and Stet which dataset and format it is of.
const COMMENT: &str = "Stet editlog, format ";

/// What of an editlog's protection is compared with what it must be.
pub(super) struct Parts {
    /// The columns with their types, in order.
    pub columns: Vec<(&'static str, &'static str, bool)>,
    /// The triggers: name, `tgtype`, function.
    pub triggers: Vec<(&'static str, i16, String)>,
    /// The functions: name and body.
    pub functions: Vec<(String, String)>,
}

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
}

/// The columns of an event, in the order of the table.
const COLUMNS: &str =
    r#"id, date, "user", action, key, column_name, value, previous, batch_id, source, reason, event_id"#;

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
            last: format!("SELECT id, date, pg_catalog.clock_timestamp() FROM {t} ORDER BY id DESC LIMIT 1"),
            insert: format!(
                r#"INSERT INTO {t} ("user", action, key, column_name, value, previous, batch_id, source, reason, event_id,
                                    writer, wseq, wprev)
                   SELECT e.u, e.a, e.k, e.c, e.v, e.p, e.b, e.s, e.r, e.e, $11, e.q, e.w
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[],
                                          $8::text[], $9::text[], $10::uuid[], $12::bigint[], $13::bytea[])
                        WITH ORDINALITY AS e (u, a, k, c, v, p, b, s, r, e, q, w, n)
                   ORDER BY e.n
                   RETURNING id, date"#
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
                   SELECT id FROM {t} WHERE {of_key} AND {} = {} AND column_name = q.column_name
                     AND id <> ALL ($3::bigint[]) ORDER BY id DESC LIMIT 1) AS c ON true
                 LEFT JOIN LATERAL (
                   SELECT id FROM {t} WHERE {of_key} AND id <> ALL ($3::bigint[]) ORDER BY id DESC LIMIT 1) AS r ON true
                 LEFT JOIN LATERAL (
                   SELECT id FROM {t} WHERE {of_key} AND column_name IS NULL AND action <> 'create'
                     AND id <> ALL ($3::bigint[]) ORDER BY id DESC LIMIT 1) AS b ON true
                 ORDER BY q.n",
                hash("column_name"),
                hash("q.column_name"),
            ),
            since: format!("SELECT {COLUMNS} FROM {t} WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3"),
            history_of_row: format!(
                "SELECT {COLUMNS} FROM {t} WHERE {} = {} AND key = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
                hash("key"),
                hash("$1")
            ),
            history_of_cell: format!(
                "SELECT {COLUMNS} FROM {t} WHERE {} = {} AND key = $1 AND (column_name = $4 OR column_name IS NULL)
                   AND id < $2 ORDER BY id DESC LIMIT $3",
                hash("key"),
                hash("$1")
            ),
            count: format!("SELECT count(*) FROM {t}"),
        })
    }

    fn function(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.table)
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
        let refuse = "
BEGIN
  RAISE EXCEPTION 'editlog is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
"
        .to_owned();
        let (stamps, refuses) = (self.function("_stamp"), self.function("_refuse"));
        Parts {
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
            ],
            // Bits of `tgtype` (pg_trigger.h): 1 row, 2 before, 4 insert, 8 delete, 16 update, 32 truncate.
            triggers: vec![
                ("stet_1_stamp", 1 | 2 | 4, stamps.clone()),
                ("stet_2_refuse", 1 | 2 | 8 | 16, refuses.clone()),
                ("stet_3_refuse_truncate", 2 | 32, refuses.clone()),
            ],
            functions: vec![(stamps, stamp), (refuses, refuse)],
        }
    }

    /// The statements that make the editlog in a schema that is there. `by` is the version that made it.
    pub(super) fn create(&self) -> Vec<String> {
        let (t, schema) = (&self.qualified, quoted(&self.schema));
        let parts = self.parts();
        let mut statements = vec![format!(
            r#"CREATE TABLE {t} (
  id bigint PRIMARY KEY,
  date timestamptz NOT NULL,
  "user" text COLLATE "C" NOT NULL CHECK (pg_catalog.length("user") BETWEEN 1 AND {LOGIN_CHARACTERS_MAX} AND "user" !~ '[^-A-Za-z0-9._@+]'),
  action text COLLATE "C" NOT NULL CHECK (action IN ('update', 'create', 'delete', 'revert')),
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
        // The sealer takes events up to a transaction.
        statements.push(format!("CREATE INDEX ON {t} (tx)"));
        for (name, body) in &parts.functions {
            statements.push(format!(
                "CREATE FUNCTION {schema}.{}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {}",
                quoted(name),
                literal(body)
            ));
        }
        let events = [
            "BEFORE INSERT ON {t} FOR EACH ROW",
            "BEFORE UPDATE OR DELETE ON {t} FOR EACH ROW",
            "BEFORE TRUNCATE ON {t} FOR EACH STATEMENT",
        ];
        for ((trigger, _, function), event) in parts.triggers.iter().zip(events) {
            let event = event.replace("{t}", t);
            statements
                .push(format!("CREATE TRIGGER {trigger} {event} EXECUTE FUNCTION {schema}.{}()", quoted(function)));
            statements.push(format!("ALTER TABLE {t} ENABLE ALWAYS TRIGGER {trigger}"));
        }
        statements.push(format!("REVOKE ALL ON TABLE {t} FROM PUBLIC"));
        for (name, _) in &parts.functions {
            statements.push(format!("REVOKE ALL ON FUNCTION {schema}.{}() FROM PUBLIC", quoted(name)));
        }
        statements.push(format!(
            "COMMENT ON TABLE {t} IS {}",
            literal(&format!("{COMMENT}{FORMAT_VERSION}, of {}", self.original))
        ));
        statements
    }
}

/// Creates the editlog, if it is not there, in one transaction, and checks it.
pub(super) fn create(config: &PostgresConfig, client: &mut Client, sql: &LogSql) -> Result<(), StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let mut transaction = client.transaction().map_err(writing)?;
    // One initialisation at a time, whoever does it.
    transaction.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK_CLASS})")).map_err(writing)?;
    if registered(config, &mut transaction, sql)?.is_none() {
        let exists: bool = transaction
            .query_one("SELECT to_regclass($1) IS NOT NULL", &[&sql.qualified])
            .and_then(|row| row.try_get(0))
            .map_err(writing)?;
        if exists {
            return Err(StoreError::Altered {
                original: sql.original.clone(),
                object: format!("{}.{}", sql.schema, sql.table),
                problem: "was there before the editlog and was not made by Stet",
            });
        }
        let schema: bool = transaction
            .query_one("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", &[&sql.schema])
            .and_then(|row| row.try_get(0))
            .map_err(writing)?;
        if !schema {
            transaction.batch_execute(&format!("CREATE SCHEMA {}", quoted(&sql.schema))).map_err(writing)?;
        }
        for statement in sql.create() {
            transaction.batch_execute(&statement).map_err(writing)?;
        }
    }
    check(config, &mut transaction, sql)?;
    transaction.commit().map_err(|error| StoreError::from_postgres(config, Doing::Committing, error))
}

/// Checks that the editlog is there, of a version that we know, and protected as it was created.
pub(super) fn check(config: &PostgresConfig, client: &mut impl GenericClient, sql: &LogSql) -> Result<(), StoreError> {
    let original = &sql.original;
    match registered(config, client, sql)? {
        None => return Err(StoreError::NotInitialised { original: original.clone() }),
        Some(version) if version > FORMAT_VERSION => {
            let what = format!("the editlog of `{original}`");
            return Err(StoreError::NewerVersion { what, found: version, known: FORMAT_VERSION });
        }
        Some(_) => {}
    }
    match drifts(config, client, sql)?.into_iter().next() {
        None => Ok(()),
        Some((object, problem)) => Err(StoreError::Altered { original: original.clone(), object, problem }),
    }
}

/// Every part of the editlog that is not as it was created: which, and what is wrong with it.
pub(super) fn drifts(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
) -> Result<Vec<(String, &'static str)>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let parts = sql.parts();
    let mut found = Vec::new();

    let columns = client
        .query(
            "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull
             FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&sql.qualified],
        )
        .map_err(reading)?;
    let columns: Vec<(String, String, bool)> = columns
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect::<Result<_, _>>()
        .map_err(reading)?;
    let expected = parts.columns.iter().map(|(name, kind, required)| (*name, *kind, *required));
    if !columns.iter().map(|(name, kind, required)| (name.as_str(), kind.as_str(), *required)).eq(expected) {
        found.push((sql.table.clone(), "has other columns"));
    }

    let constraints = client
        .query_one(
            "SELECT count(*) FILTER (WHERE contype = 'c' AND convalidated), count(*) FILTER (WHERE contype = 'p'),
                    count(*) FILTER (WHERE contype = 'u')
             FROM pg_constraint WHERE conrelid = $1::text::regclass",
            &[&sql.qualified],
        )
        .map_err(reading)?;
    let count = |place: usize| constraints.try_get::<_, i64>(place).map_err(reading);
    if (count(0)?, count(1)?, count(2)?) != (10, 1, 2) {
        found.push((sql.table.clone(), "has other constraints"));
    }

    let triggers = client
        .query(
            "SELECT t.tgname::text, t.tgtype, t.tgenabled::text, p.proname::text, p.prosrc, n.nspname::text,
                    pg_catalog.array_to_string(p.proconfig, ';'), t.tgqual IS NULL AND t.tgattr = ''::int2vector
             FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE t.tgrelid = $1::text::regclass AND NOT t.tgisinternal",
            &[&sql.qualified],
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
        match parts.triggers.iter().find(|(expected, ..)| *expected == name) {
            None => found.push((name.clone(), "is a trigger that Stet did not make")),
            Some((_, expected_kind, expected_function)) => {
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
    for (name, ..) in &parts.triggers {
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
            &[&sql.qualified],
        )
        .map_err(reading)?;
    if more.try_get::<_, i64>(0).map_err(reading)? > 0 {
        found.push((sql.table.clone(), "has rules"));
    }
    if more.try_get::<_, i64>(1).map_err(reading)? > 0 {
        found.push((sql.table.clone(), "has or is an inherited table"));
    }
    if more.try_get::<_, bool>(2).map_err(reading)? {
        found.push((sql.table.clone(), "hides rows by row-level security"));
    }
    if !more.try_get::<_, bool>(3).map_err(reading)? {
        found.push((sql.table.clone(), "is not an ordinary table that survives a crash"));
    }
    Ok(found)
}

/// The format version of the editlog, if it is there and made by Stet for this original.
pub(super) fn registered(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
) -> Result<Option<i64>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let comment = client
        .query_opt(
            "SELECT pg_catalog.obj_description(c.oid, 'pg_class')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
            &[&sql.schema, &sql.table],
        )
        .map_err(reading)?;
    let comment: Option<String> = comment.map(|row| row.try_get(0)).transpose().map_err(reading)?.flatten();
    Ok(comment.and_then(|comment| {
        let (version, original) = comment.strip_prefix(COMMENT)?.split_once(", of ")?;
        (original == sql.original.as_str()).then(|| version.parse().ok())?
    }))
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
        originals.extend(comment.split_once(", of ").and_then(|(_, name)| DatasetName::new(name).ok()));
    }
    originals.sort();
    Ok(originals)
}
