//! What anybody with a connection of their own may try on an editlog in PostgreSQL that was initialised securely, and
//! what the database answers; and what a check says when somebody with more power was there.

use stet_store::editlog::ProtectionMode;
use stet_store::postgres::PasswordPlace;
use stet_store::{EditlogSettings, EditlogTables, Editlogs, Outcome, Postgres, PostgresConfig, StoreError};
use stet_testkit::postgres::TestDatabase;

use crate::fixture::{Backend, PostgresPlace, append_one, appended, event, strikes, strikes_log, update};

const PASSWORD: &str = "kept-from-others";

/// A secure editlog with three events, and the node's way to it.
struct Secure {
    place: PostgresPlace,
    node: Postgres,
    tables: EditlogTables,
    folder: tempfile::TempDir,
}

impl Secure {
    fn config(place: &PostgresPlace, folder: &tempfile::TempDir) -> PostgresConfig {
        let database = &place.database;
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let writer = writer(database);
        PostgresConfig {
            password: PasswordPlace::File(password),
            ..PostgresConfig::new("pg", "127.0.0.1", database.server.port, &database.name, &writer)
        }
    }

    fn admin_url(database: &TestDatabase) -> String {
        format!(
            "postgresql://{}:{}@127.0.0.1:{}/{}",
            stet_testkit::postgres::SUPERUSER,
            stet_testkit::postgres::SUPERUSER_PASSWORD.replace(' ', "%20"),
            database.server.port,
            database.name
        )
    }

    async fn new() -> Secure {
        let place = PostgresPlace::new();
        let folder = tempfile::tempdir().unwrap();
        let database = &place.database;
        database.sql(&format!("CREATE ROLE {} LOGIN PASSWORD '{PASSWORD}'", writer(database)));
        let node = Postgres::new(Secure::config(&place, &folder));
        let tables = place.tables();
        tables.initialise_securely(&node, &strikes(), &Secure::admin_url(database)).unwrap();
        let secure = Secure { node, tables, folder, place };
        let log = secure.editlogs().editlog(&strikes()).await.unwrap();
        for n in 1..=3 {
            appended(&log, update("1", "size", Some(&n.to_string()))).await;
        }
        secure
    }

    fn editlogs(&self) -> Editlogs {
        Editlogs::open_postgres(&self.node, self.tables.clone(), EditlogSettings::default()).unwrap()
    }

    fn rows(&self) -> String {
        self.place.database.sql("SELECT * FROM edit.strikes_editlog ORDER BY id")
    }

    /// Runs statements as somebody; what the database says against them.
    fn attack(&self, user: &str, password: &str, statements: &str) -> Result<(), String> {
        let address = self.place.database.address(user, password);
        let statements = statements.to_owned();
        let attacking = std::thread::spawn(move || {
            let mut client = postgres::Client::connect(&address, postgres::NoTls).map_err(|e| e.to_string())?;
            client.batch_execute(&statements).map_err(|error| match error.as_db_error() {
                Some(error) => format!("{} {}", error.code().code(), error.message()),
                None => error.to_string(),
            })
        });
        attacking.join().unwrap()
    }
}

fn writer(database: &TestDatabase) -> String {
    format!("writer_{}", database.name)
}

const COLUMNS: &str = r#""user", action, key, column_name, value, batch_id, source, event_id"#;
const VALUES: &str =
    "'eve', 'update', '1', 'size', 'forged', '00000000-0000-0000-0000-000000000000', 'grid', gen_random_uuid()";

/// By whom, what, and what the answer begins with.
const ATTACKS: &[(&str, &str, &str)] = &[
    ("writer", "UPDATE edit.strikes_editlog SET value = 'forged'", "42501 permission denied"),
    ("writer", "UPDATE edit.strikes_editlog SET date = '2020-01-01' WHERE id = 2", "42501 permission denied"),
    ("writer", "DELETE FROM edit.strikes_editlog WHERE id = 3", "42501 permission denied"),
    ("writer", "TRUNCATE edit.strikes_editlog", "42501 permission denied"),
    ("writer", "DROP TABLE edit.strikes_editlog", "42501 must be owner"),
    ("writer", "ALTER TABLE edit.strikes_editlog DISABLE TRIGGER ALL", "42501 must be owner"),
    ("writer", "ALTER TABLE edit.strikes_editlog ADD COLUMN x int", "42501 must be owner"),
    ("writer", "DROP TRIGGER stet_1_stamp ON edit.strikes_editlog", "42501 must be owner"),
    ("writer", "CREATE RULE r AS ON INSERT TO edit.strikes_editlog DO INSTEAD NOTHING", "42501 must be owner"),
    ("writer", "CREATE TABLE edit.other (id int)", "42501 permission denied for schema"),
    ("writer", "CREATE TABLE public.child () INHERITS (edit.strikes_editlog)", "42501"),
    ("writer", "CREATE TEMPORARY TABLE strikes_editlog (id int)", "42501 permission denied to create temporary tables"),
    ("writer", "SET session_replication_role = replica", "42501"),
    ("writer", "SET ROLE {owner}", "42501 permission denied to set role"),
    ("writer", "GRANT {owner} TO {writer}", "42501"),
    ("writer", "SET SESSION AUTHORIZATION {superuser}", "42501"),
    ("writer", "INSERT INTO edit.strikes_editlog (id, {c}) VALUES (2, {v})", "42501 permission denied"),
    ("writer", "INSERT INTO edit.strikes_editlog (date, {c}) VALUES ('2020-01-01', {v})", "42501 permission denied"),
    ("writer", "INSERT INTO edit.strikes_editlog (db_user, {c}) VALUES ('ada', {v})", "42501 permission denied"),
    ("writer", "INSERT INTO edit.strikes_editlog (tx, {c}) VALUES ('1', {v})", "42501 permission denied"),
    (
        "writer",
        "INSERT INTO edit.strikes_editlog ({c}) SELECT {v} ON CONFLICT (id) DO UPDATE SET value = 'forged'",
        "42501 permission denied",
    ),
    (
        "writer",
        "INSERT INTO edit.strikes_editlog ({c}) SELECT 'eve', 'update', '1', 'size', 'x', batch_id, 'grid', event_id
         FROM edit.strikes_editlog WHERE id = 1",
        "23505 duplicate key",
    ),
    (
        "writer",
        "INSERT INTO edit.strikes_editlog ({c}) SELECT {v} FROM (SELECT 1) t WHERE false; DELETE FROM edit.strikes_editlog",
        "42501",
    ),
    ("writer", "COPY edit.strikes_editlog (id) FROM '/etc/passwd'", "42501"),
    ("writer", "BEGIN; LOCK TABLE edit.strikes_editlog IN ACCESS EXCLUSIVE MODE", "42501 permission denied"),
    ("writer", "COMMENT ON TABLE edit.strikes_editlog IS 'none'", "42501 must be owner"),
    (
        "writer",
        "CREATE OR REPLACE FUNCTION edit.strikes_editlog_stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "42501",
    ),
    (
        "writer",
        "INSERT INTO edit.strikes_editlog_leaves (id, hash) VALUES (4, decode(repeat('00', 32), 'hex'))",
        "42501 permission denied",
    ),
    ("writer", "UPDATE edit.strikes_editlog_leaves SET hash = hash", "42501 permission denied"),
    ("writer", "DELETE FROM edit.strikes_editlog_checkpoints", "42501 permission denied"),
    // The role in which the node seals may append to the seal alone.
    ("writer", "SET ROLE {sealer}; INSERT INTO edit.strikes_editlog ({c}) VALUES ({v})", "42501 permission denied"),
    ("writer", "SET ROLE {sealer}; UPDATE edit.strikes_editlog_leaves SET hash = hash", "42501 permission denied"),
    ("writer", "SET ROLE {sealer}; DELETE FROM edit.strikes_editlog_leaves", "42501 permission denied"),
    ("writer", "SET ROLE {sealer}; TRUNCATE edit.strikes_editlog_checkpoints", "42501 permission denied"),
    (
        "writer",
        "SET ROLE {sealer}; INSERT INTO edit.strikes_editlog_checkpoints (size, date, note) VALUES (9, '2020-01-01', '')",
        "42501 permission denied",
    ),
    (
        "writer",
        "SET ROLE {sealer}; INSERT INTO edit.strikes_editlog_checkpoints (size, note) VALUES (9, '');
         DELETE FROM edit.strikes_editlog_checkpoints",
        "42501 the seal of an editlog is append-only: DELETE refused",
    ),
    ("reader", "INSERT INTO edit.strikes_editlog ({c}) VALUES ({v})", "42501 permission denied"),
    ("reader", "UPDATE edit.strikes_editlog SET value = 'forged'", "42501 permission denied"),
    ("stranger", "SELECT * FROM edit.strikes_editlog", "42501 permission denied for schema"),
    // Those who are more than we are: the triggers are in their way as long as they are there.
    ("owner", "UPDATE edit.strikes_editlog SET value = 'forged'", "42501 editlog is append-only: UPDATE refused"),
    ("owner", "DELETE FROM edit.strikes_editlog", "42501 editlog is append-only: DELETE refused"),
    ("owner", "TRUNCATE edit.strikes_editlog", "42501 editlog is append-only: TRUNCATE refused"),
    ("owner", "INSERT INTO edit.strikes_editlog (date, {c}) VALUES ('2020-01-01', {v})", "42501 editlog: date refused"),
    ("owner", "INSERT INTO edit.strikes_editlog (id, {c}) VALUES (9, {v})", "42501 editlog is append-only: id refused"),
    (
        "owner",
        "INSERT INTO edit.strikes_editlog (db_user, {c}) VALUES ('ada', {v})",
        "42501 editlog: db_user and tx refused",
    ),
    (
        "superuser",
        "SET session_replication_role = replica; UPDATE edit.strikes_editlog SET value = 'forged'",
        "42501 editlog is append-only: UPDATE refused",
    ),
    (
        "superuser",
        "SET session_replication_role = replica; DELETE FROM edit.strikes_editlog WHERE id = 3",
        "42501 editlog is append-only: DELETE refused",
    ),
    (
        "superuser",
        "SET session_replication_role = replica; TRUNCATE edit.strikes_editlog CASCADE",
        "42501 editlog is append-only: TRUNCATE refused",
    ),
    (
        "superuser",
        "SET session_replication_role = replica; INSERT INTO edit.strikes_editlog (date, {c}) VALUES ('2020-01-01', {v})",
        "42501 editlog: date refused",
    ),
    (
        "superuser",
        "MERGE INTO edit.strikes_editlog t USING (SELECT 2 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "42501 editlog is append-only: DELETE refused",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_on_a_secure_log_is_refused_by_the_database() {
    let secure = Secure::new().await;
    let database = &secure.place.database;
    let (owner, writer) = (format!("stet_{}_edit_owner", database.name), writer(database));
    let (reader, stranger) = (format!("auditor_{}", database.name), format!("stranger_{}", database.name));
    database.sql(&format!(
        "CREATE ROLE {reader} LOGIN PASSWORD '{PASSWORD}' IN ROLE stet_{}_edit_reader;
         CREATE ROLE {stranger} LOGIN PASSWORD '{PASSWORD}'",
        database.name
    ));
    let before = secure.rows();
    for (who, attack, expected) in ATTACKS {
        if attack.starts_with("MERGE") && database.sql("SHOW server_version_num").parse::<i32>().unwrap() < 150_000 {
            continue;
        }
        let attack = attack
            .replace("{c}", COLUMNS)
            .replace("{v}", VALUES)
            .replace("{owner}", &owner)
            .replace("{sealer}", &format!("stet_{}_edit_sealer", database.name))
            .replace("{writer}", &writer)
            .replace("{superuser}", stet_testkit::postgres::SUPERUSER);
        let superuser = (stet_testkit::postgres::SUPERUSER, stet_testkit::postgres::SUPERUSER_PASSWORD);
        let ((user, password), attack) = match *who {
            "writer" => ((writer.as_str(), PASSWORD), attack),
            "reader" => ((reader.as_str(), PASSWORD), attack),
            "stranger" => ((stranger.as_str(), PASSWORD), attack),
            "owner" => (superuser, format!("SET ROLE {owner}; {attack}")),
            _ => (superuser, attack),
        };
        let refused = secure.attack(user, password, &attack).expect_err(&attack);
        assert!(refused.starts_with(expected), "{who}: {attack}: {refused}");
        assert_eq!(secure.rows(), before, "{who}: {attack}");
    }
    // The owner cannot log in at all.
    assert!(secure.attack(&owner, PASSWORD, "SELECT 1").is_err());
    let log = secure.editlogs().editlog(&strikes()).await.unwrap();
    assert_eq!(appended(&log, update("1", "size", None)).await.0, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_waits_in_a_transaction_has_the_time_at_which_it_came() {
    let secure = Secure::new().await;
    let insert = format!("INSERT INTO edit.strikes_editlog ({COLUMNS}) VALUES ({VALUES})");
    let writer = writer(&secure.place.database);
    // A transaction that begins early, to be dated early.
    let backdating = format!("BEGIN; SELECT now(); SELECT pg_sleep(0.4); {insert}; COMMIT");
    secure.attack(&writer, PASSWORD, &backdating).unwrap();
    let found = secure.place.database.sql(
        "SELECT e.date > p.date + interval '0.3 s', e.\"user\", e.db_user, e.writer IS NULL
         FROM edit.strikes_editlog e JOIN edit.strikes_editlog p ON p.id = e.id - 1 WHERE e.id = 4",
    );
    // Its author may claim to be anybody; whose connection it was is on record, and that it is not of our making.
    assert_eq!(found, format!("t|eve|{writer}|t"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_table_of_the_same_name_shadows_nothing() {
    let place = PostgresPlace::new();
    let log = strikes_log(&place).await;
    appended(&log, update("1", "size", Some("Small"))).await;
    // Somebody whose session has a table of the same name, first in the path, and who calls our functions.
    place.database.sql(
        "CREATE TEMPORARY TABLE strikes_editlog (id bigint, date timestamptz); SET search_path = pg_temp, edit;
         INSERT INTO pg_temp.strikes_editlog VALUES (100, '2999-01-01');
         INSERT INTO edit.strikes_editlog (\"user\", action, key, column_name, batch_id, source, event_id)
         VALUES ('eve', 'update', '1', 'size', gen_random_uuid(), 'api', gen_random_uuid())",
    );
    assert_eq!(place.database.sql("SELECT max(id) FROM edit.strikes_editlog"), "2");
    assert!(
        matches!(append_one(&log, update("1", "x", None), stet_store::Expected::Any).await, Outcome::Appended(e) if e.id.0 == 3)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_of_a_secure_log_holds_and_leaves_no_trace() {
    let secure = Secure::new().await;
    let before = secure.rows();
    let protection = secure.tables.protection(&secure.node, &strikes()).unwrap();
    assert_eq!(protection.mode, ProtectionMode::Secure);
    assert!(protection.holds(), "{:#?}", protection.findings);
    assert!(protection.findings.len() > 20);
    assert_eq!(secure.rows(), before);
    let log = secure.editlogs().editlog(&strikes()).await.unwrap();
    assert_eq!(appended(&log, event(stet_domain::Action::Delete, "1", None, None)).await.0, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hole_that_a_superuser_makes_is_named() {
    for (hole, expected) in [
        ("GRANT UPDATE ON edit.strikes_editlog TO {writer}", "may UPDATE"),
        ("GRANT UPDATE (value) ON edit.strikes_editlog TO {writer}", "may UPDATE value"),
        ("GRANT INSERT ON edit.strikes_editlog TO PUBLIC", "everybody may INSERT"),
        ("GRANT DELETE ON edit.strikes_editlog TO {reader}", "may DELETE"),
        ("GRANT INSERT (date) ON edit.strikes_editlog TO {writer}", "may INSERT date"),
        ("GRANT {owner} TO {writer}", "is a member of the owner"),
        ("ALTER ROLE {owner} LOGIN", "can log in"),
        ("ALTER ROLE {writer} SUPERUSER", "is a superuser"),
        ("GRANT pg_write_all_data TO {writer}", "pg_write_all_data"),
        ("GRANT CREATE ON SCHEMA edit TO {writer}", "may create objects in the schema"),
        ("GRANT TEMPORARY ON DATABASE {database} TO {writer}", "temporary table"),
        ("ALTER TABLE edit.strikes_editlog DISABLE TRIGGER stet_2_refuse", "`stet_2_refuse` does not fire always"),
        ("ALTER TABLE edit.strikes_editlog ENABLE TRIGGER stet_2_refuse", "`stet_2_refuse` does not fire always"),
        ("DROP TRIGGER stet_3_refuse_truncate ON edit.strikes_editlog", "`stet_3_refuse_truncate` is missing"),
        (
            "CREATE OR REPLACE FUNCTION edit.strikes_editlog_refuse() RETURNS trigger LANGUAGE plpgsql
             SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN OLD; END'",
            "`strikes_editlog_refuse` was changed",
        ),
        (
            "CREATE FUNCTION edit.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER zz BEFORE INSERT ON edit.strikes_editlog FOR EACH ROW EXECUTE FUNCTION edit.f()",
            "`zz` is a trigger that Stet did not make",
        ),
        ("CREATE RULE r AS ON DELETE TO edit.strikes_editlog DO INSTEAD NOTHING", "has rules"),
        ("ALTER TABLE edit.strikes_editlog DROP CONSTRAINT strikes_editlog_event_id_key", "has other constraints"),
        ("ALTER TABLE edit.strikes_editlog ALTER date DROP NOT NULL", "has other columns"),
        ("ALTER TABLE edit.strikes_editlog ENABLE ROW LEVEL SECURITY", "row-level security"),
        ("ALTER TABLE edit.strikes_editlog SET UNLOGGED", "survives a crash"),
        ("ALTER FUNCTION edit.strikes_editlog_stamp() OWNER TO {reader}", "belongs to"),
        ("ALTER SCHEMA edit OWNER TO {reader}", "the schema belongs to"),
        ("GRANT UPDATE ON edit.strikes_editlog_leaves TO {writer}", "may UPDATE"),
        ("GRANT INSERT ON edit.strikes_editlog_nodes TO {writer}", "may INSERT"),
        ("ALTER TABLE edit.strikes_editlog_checkpoints OWNER TO {reader}", "it belongs to"),
        ("DROP TRIGGER stet_2_refuse ON edit.strikes_editlog_leaves", "`stet_2_refuse` is missing"),
        ("DROP TABLE edit.strikes_editlog_nodes", "`strikes_editlog_nodes` is missing"),
    ] {
        let secure = Secure::new().await;
        let database = &secure.place.database;
        let before = secure.tables.protection(&secure.node, &strikes()).unwrap();
        let hole = hole
            .replace("{writer}", &writer(database))
            .replace("{owner}", &format!("stet_{}_edit_owner", database.name))
            .replace("{reader}", &format!("stet_{}_edit_reader", database.name))
            .replace("{database}", &database.name);
        database.sql(&hole);
        let after = secure.tables.protection(&secure.node, &strikes()).unwrap();
        assert!(before.holds() && !after.holds(), "{hole}");
        let problems: Vec<&str> = after.findings.iter().filter_map(|finding| finding.problem.as_deref()).collect();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{hole}: {problems:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secure_initialisation_can_be_repeated_and_takes_over_what_is_there() {
    let place = PostgresPlace::new();
    let folder = tempfile::tempdir().unwrap();
    let database = &place.database;
    let config = Secure::config(&place, &folder);
    let tables = place.tables();
    // A simple editlog of the node's own user, with an event.
    database.sql(&format!(
        "CREATE ROLE {0} LOGIN PASSWORD '{PASSWORD}'; GRANT CREATE ON DATABASE {1} TO {0}",
        config.user, database.name
    ));
    let node = Postgres::new(config.clone());
    let editlogs = Editlogs::open_postgres(&node, tables.clone(), EditlogSettings::default()).unwrap();
    let log = editlogs.initialise(&strikes()).await.unwrap();
    appended(&log, update("1", "size", Some("Small"))).await;
    let simple = tables.protection(&node, &strikes()).unwrap();
    assert_eq!((simple.mode, simple.holds()), (ProtectionMode::Simple, true), "{:?}", simple.findings);

    for _ in 0..2 {
        tables.initialise_securely(&node, &strikes(), &Secure::admin_url(database)).unwrap();
        let protection = tables.protection(&node, &strikes()).unwrap();
        assert_eq!(protection.mode, ProtectionMode::Secure);
        assert!(protection.holds(), "{:?}", protection.findings);
    }
    assert_eq!(appended(&log, update("1", "size", None)).await.0, 2);

    // What makes no sense, and what must not be.
    let elsewhere = Secure::admin_url(database).replace(&format!("/{}", database.name), "/postgres");
    let refused = tables.initialise_securely(&node, &strikes(), &elsewhere).unwrap_err();
    assert!(matches!(&refused, StoreError::Unusable(message) if message.contains("`postgres`")), "{refused}");
    let refused = tables.initialise_securely(&node, &strikes(), "no url").unwrap_err();
    assert!(!refused.to_string().contains("no url"), "{refused}");
    database.sql(&format!("ALTER ROLE {} CREATEROLE", config.user));
    let refused = tables.initialise_securely(&node, &strikes(), &Secure::admin_url(database)).unwrap_err();
    assert!(refused.to_string().contains("is an administrator of the database"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_who_is_no_superuser_can_initialise_and_keeps_no_way_in() {
    let place = PostgresPlace::new();
    let folder = tempfile::tempdir().unwrap();
    let database = &place.database;
    let admin = format!("admin_{}", database.name);
    database.sql(&format!(
        "CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD '{PASSWORD}'; ALTER DATABASE {} OWNER TO {admin};
         CREATE ROLE {} LOGIN PASSWORD '{PASSWORD}'",
        database.name,
        writer(database)
    ));
    let node = Postgres::new(Secure::config(&place, &folder));
    let url = format!("postgresql://{admin}:{PASSWORD}@127.0.0.1:{}/{}", database.server.port, database.name);
    place.tables().initialise_securely(&node, &strikes(), &url).unwrap();
    let member = format!("SELECT pg_has_role('{admin}', 'stet_{}_edit_owner', 'USAGE')", database.name);
    assert_eq!(database.sql(&member), "f");
    let reader = place.reader(&strikes());
    assert_eq!(tokio::task::spawn_blocking(move || reader.count()).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn the_script_that_is_printed_is_the_one_that_is_run() {
    let secure = Secure::new().await;
    let script = secure.tables.secure_script(&secure.node, &strikes()).unwrap();
    assert!(!script.contains(PASSWORD));
    let file = secure.folder.path().join("script.sql");
    std::fs::write(&file, &script).unwrap();
    let before = secure.rows();
    secure.place.database.sql(&script);
    assert_eq!(secure.rows(), before);
    assert!(secure.tables.protection(&secure.node, &strikes()).unwrap().holds());
}
