//! What any program with a connection of its own may try on an editlog in SQLite, and what the database answers.

use rusqlite::Connection;
use stet_store::{Append, Expected, Outcome, StoreError};

use crate::fixture::{Sqlite, appended, strikes_log, update};

/// Columns and values of a well-formed event; the tests put an `id`, a `date` or an `event_id` in.
const COLUMNS: &str = r#""user", action, key, column_name, value, batch_id, source"#;
const VALUES: &str = "'eve', 'update', '1', 'size', 'forged', '00000000-0000-0000-0000-000000000000', 'grid'";
const FRESH: &str = "'00000000-0000-0000-0000-00000000000f'";

const UPDATE: &str = "editlog is append-only: UPDATE refused";
const DELETE: &str = "editlog is append-only: DELETE refused";
const REPLACE: &str = "editlog is append-only: REPLACE refused";
const ID: &str = "editlog is append-only: id refused";
const DATE: &str = "editlog: date refused, it is set by the database";

/// Attack, and what the answer begins with. `{c}`, `{v}`, `{fresh}`, `{taken}` stand for the above and for the
/// `event_id` of the second of three events.
const ATTACKS: &[(&str, &str)] = &[
    ("UPDATE strikes_editlog SET value = 'forged'", UPDATE),
    ("UPDATE strikes_editlog SET value = 'forged' WHERE id = 2", UPDATE),
    ("UPDATE strikes_editlog SET value = value", UPDATE),
    ("UPDATE strikes_editlog SET id = 9 WHERE id = 3", UPDATE),
    ("UPDATE strikes_editlog SET rowid = -1 WHERE id = 1", UPDATE),
    ("UPDATE strikes_editlog SET date = '2020-01-01T00:00:00.000Z'", UPDATE),
    ("UPDATE OR REPLACE strikes_editlog SET event_id = {taken} WHERE id = 3", UPDATE),
    ("UPDATE OR REPLACE strikes_editlog SET id = 1 WHERE id = 3", UPDATE),
    ("UPDATE OR IGNORE strikes_editlog SET value = 'forged'", UPDATE),
    ("UPDATE OR FAIL strikes_editlog SET value = 'forged'", UPDATE),
    ("UPDATE OR ROLLBACK strikes_editlog SET value = 'forged'", UPDATE),
    ("UPDATE strikes_editlog SET value = 'x' FROM (SELECT 2 AS n) WHERE id = n RETURNING id", UPDATE),
    ("DELETE FROM strikes_editlog", DELETE),
    ("DELETE FROM strikes_editlog WHERE id = 3", DELETE),
    ("DELETE FROM strikes_editlog WHERE id = 1 RETURNING id", DELETE),
    ("INSERT OR REPLACE INTO strikes_editlog ({c}, event_id) VALUES ({v}, {taken})", REPLACE),
    ("REPLACE INTO strikes_editlog ({c}, event_id) VALUES ({v}, {taken})", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog (id, {c}, event_id) VALUES (1, {v}, {fresh})", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog (id, {c}, event_id) VALUES (3, {v}, {fresh})", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog (rowid, {c}, event_id) VALUES (3, {v}, {fresh})", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog (id, {c}, event_id) VALUES ('3', {v}, {fresh})", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog (id, {c}, event_id) VALUES (3.0, {v}, {fresh})", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog (id, {c}, event_id) VALUES (4, {v}, {taken})", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog (id, {c}, event_id) VALUES (NULL, {v}, {taken})", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog SELECT * FROM strikes_editlog", REPLACE),
    ("INSERT OR REPLACE INTO strikes_editlog ({c}, event_id) VALUES ({v}, {fresh}), ({v}, {fresh})", REPLACE),
    ("INSERT OR IGNORE INTO strikes_editlog ({c}, event_id) VALUES ({v}, {taken})", REPLACE),
    ("INSERT INTO strikes_editlog ({c}, event_id) VALUES ({v}, {taken})", REPLACE),
    (
        "INSERT INTO strikes_editlog ({c}, event_id) VALUES ({v}, {taken}) ON CONFLICT DO UPDATE SET value = 'x'",
        REPLACE,
    ),
    (
        "INSERT INTO strikes_editlog ({c}, event_id) VALUES ({v}, {taken}) ON CONFLICT (event_id) DO UPDATE SET value = 'x'",
        REPLACE,
    ),
    (
        "INSERT INTO strikes_editlog (id, {c}, event_id) VALUES (2, {v}, {fresh}) ON CONFLICT (id) DO UPDATE SET value = 'x'",
        REPLACE,
    ),
    ("INSERT INTO strikes_editlog ({c}, event_id) VALUES ({v}, {taken}) ON CONFLICT DO NOTHING", REPLACE),
    ("INSERT INTO strikes_editlog (id, {c}, event_id) VALUES (5, {v}, {fresh})", ID),
    ("INSERT OR REPLACE INTO strikes_editlog (id, {c}, event_id) VALUES (9223372036854775807, {v}, {fresh})", ID),
    ("INSERT INTO strikes_editlog (id, {c}, event_id) VALUES (0, {v}, {fresh})", ID),
    ("INSERT INTO strikes_editlog (id, {c}, event_id) VALUES (-1, {v}, {fresh})", ID),
    ("INSERT INTO strikes_editlog (id, {c}, event_id) VALUES (-7, {v}, {fresh})", ID),
    ("INSERT INTO strikes_editlog (date, {c}, event_id) VALUES ('2020-01-01T00:00:00.000Z', {v}, {fresh})", DATE),
    ("INSERT INTO strikes_editlog (date, {c}, event_id) VALUES ('2999-01-01T00:00:00.000Z', {v}, {fresh})", DATE),
    ("INSERT INTO strikes_editlog (date, {c}, event_id) VALUES ('', {v}, {fresh})", DATE),
    ("INSERT OR IGNORE INTO strikes_editlog (date, {c}, event_id) VALUES ('now', {v}, {fresh})", DATE),
    ("INSERT INTO strikes_editlog (date, {c}, event_id) VALUES (NULL, {v}, {fresh})", "NOT NULL constraint failed"),
    ("INSERT INTO strikes_editlog (date, {c}, event_id) VALUES (0, {v}, {fresh})", DATE),
    ("INSERT INTO strikes_editlog ({c}) VALUES ({v})", "NOT NULL constraint failed"),
    ("INSERT INTO strikes_editlog ({c}, event_id) VALUES ({v}, upper({fresh}))", "CHECK constraint failed"),
    ("INSERT INTO strikes_editlog ({c}, event_id) VALUES ({v}, 'x')", "CHECK constraint failed"),
    ("INSERT INTO strikes_editlog ({c}, event_id) VALUES ({v}, CAST({taken} AS BLOB))", "cannot store BLOB value"),
    (
        "INSERT INTO strikes_editlog SELECT NULL, date, 'e v e', action, key, column_name, value, previous, batch_id, source, reason, {fresh} FROM strikes_editlog WHERE id = 3",
        "CHECK constraint failed",
    ),
    (
        "INSERT INTO strikes_editlog SELECT NULL, date, user, action, key, column_name, value, previous, batch_id, source, reason, {fresh} FROM strikes_editlog WHERE id = 3",
        DATE,
    ),
    (
        "INSERT INTO strikes_editlog SELECT NULL, date, user, 'erase', key, column_name, value, previous, batch_id, source, reason, {fresh} FROM strikes_editlog WHERE id = 3",
        "CHECK constraint failed",
    ),
];

#[tokio::test]
async fn every_attack_on_the_log_is_refused_by_the_database() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    let mut taken = String::new();
    for n in 1..=3 {
        let event = update("1", "size", Some(&n.to_string()));
        if n == 2 {
            taken = format!("'{}'", event.event_id.0);
        }
        appended(&log, event).await;
    }
    let before = log.read_since(None, 100).await.unwrap();

    let pragmas = [
        "",
        "PRAGMA recursive_triggers = OFF",
        "PRAGMA recursive_triggers = ON",
        "PRAGMA ignore_check_constraints = OFF; PRAGMA foreign_keys = ON; PRAGMA defer_foreign_keys = ON",
        "PRAGMA trusted_schema = OFF; PRAGMA locking_mode = NORMAL; PRAGMA count_changes = ON",
        "PRAGMA synchronous = OFF; PRAGMA reverse_unordered_selects = ON; PRAGMA legacy_alter_table = ON",
    ];
    for pragma in pragmas {
        for (attack, expected) in ATTACKS {
            let attack = attack
                .replace("{c}", COLUMNS)
                .replace("{v}", VALUES)
                .replace("{fresh}", FRESH)
                .replace("{taken}", &taken);
            for (begin, end) in [("", ""), ("BEGIN", "COMMIT"), ("SAVEPOINT s", "RELEASE s")] {
                let raw = place.raw();
                raw.execute_batch(pragma).unwrap();
                raw.execute_batch(begin).unwrap();
                let refused = run(&raw, &attack).expect_err(&attack).to_string();
                assert!(refused.starts_with(expected), "{pragma} {attack}: {refused}");
                // Whatever else a refused statement leaves behind is kept by the attacker. The transaction is gone
                // if the attack asked for that.
                if !raw.is_autocommit() {
                    raw.execute_batch(end).unwrap();
                }
            }
            assert_eq!(log.read_since(None, 100).await.unwrap(), before, "{pragma} {attack}");
        }
    }
    assert_eq!(appended(&log, update("1", "size", None)).await.0, 4);
}

#[tokio::test]
async fn triggers_and_views_of_an_attacker_cannot_write_for_them() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    appended(&log, update("1", "size", Some("1"))).await;
    let before = log.read_since(None, 100).await.unwrap();
    let raw = place.raw();
    raw.execute_batch(
        "CREATE TABLE bait (id INTEGER PRIMARY KEY, log_id INTEGER);
         INSERT INTO bait VALUES (1, 1);
         CREATE TRIGGER bait_update AFTER UPDATE ON bait BEGIN UPDATE strikes_editlog SET value = 'forged'; END;
         CREATE TRIGGER bait_delete AFTER DELETE ON bait BEGIN DELETE FROM strikes_editlog; END;
         CREATE VIEW window AS SELECT * FROM strikes_editlog;
         CREATE TRIGGER window_update INSTEAD OF UPDATE ON window
           BEGIN UPDATE OR REPLACE strikes_editlog SET value = NEW.value WHERE id = NEW.id; END;
         CREATE TEMP TRIGGER t BEFORE INSERT ON main.strikes_editlog BEGIN DELETE FROM main.strikes_editlog; END;",
    )
    .unwrap();
    for attack in [
        "UPDATE bait SET log_id = 2",
        "DELETE FROM bait",
        "UPDATE window SET value = 'forged'",
        "INSERT INTO strikes_editlog (user, action, key, column_name, batch_id, source, event_id)
         VALUES ('eve', 'update', '1', 'size', '00000000-0000-0000-0000-000000000000', 'grid', '00000000-0000-0000-0000-00000000000f')",
    ] {
        let refused = run(&raw, attack).unwrap_err().to_string();
        assert!(refused.starts_with("editlog is append-only: "), "{attack}: {refused}");
    }
    assert_eq!(log.read_since(None, 100).await.unwrap(), before);
}

#[tokio::test]
async fn a_trigger_that_drops_inserts_is_never_taken_for_a_success() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    place
        .raw()
        .execute_batch(
            "CREATE TRIGGER swallow BEFORE INSERT ON strikes_editlog WHEN NEW.key = 'x' BEGIN SELECT RAISE(IGNORE); END",
        )
        .unwrap();
    // In one commit with others, who are none the worse for it.
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let log = log.clone();
        tasks.spawn(async move {
            let swallowed = n % 4 == 1;
            let other = update("y", "size", None);
            let event = update(if swallowed { "x" } else { "y" }, "size", None);
            let events = vec![(other, Expected::Any), (event, Expected::Any)];
            match log.append(Append { atomic: false, events }).await {
                Ok(outcomes) => assert!(!swallowed && outcomes.iter().all(|o| matches!(o, Outcome::Appended(_)))),
                Err(error) => assert!(swallowed && matches!(error, StoreError::Refused { .. }), "{error:?}"),
            }
        });
    }
    tasks.join_all().await;
    let events = log.read_since(None, 100).await.unwrap();
    assert_eq!(crate::fixture::ids(&events), (1..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_plain_insert_of_another_program_gets_its_place_and_date_from_the_database() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    appended(&log, update("1", "size", Some("1"))).await;
    let raw = place.raw();
    let insert = |event_id: &str| {
        let sql = format!("INSERT INTO strikes_editlog ({COLUMNS}, event_id) VALUES ({VALUES}, '{event_id}')");
        raw.execute(&sql, [])
    };
    insert("00000000-0000-0000-0000-00000000000a").unwrap();
    raw.execute_batch("BEGIN").unwrap();
    insert("00000000-0000-0000-0000-00000000000b").unwrap();
    raw.execute_batch("ROLLBACK").unwrap();
    insert("00000000-0000-0000-0000-00000000000c").unwrap();
    let two_rows = format!(
        "INSERT INTO strikes_editlog ({COLUMNS}, event_id)
         VALUES ({VALUES}, '00000000-0000-0000-0000-00000000000d'), ({VALUES}, '00000000-0000-0000-0000-00000000000e')"
    );
    raw.execute(&two_rows, []).unwrap();
    let events = log.read_since(None, 100).await.unwrap();
    assert_eq!(crate::fixture::ids(&events), [1, 2, 3, 4, 5]);
    assert!(events.is_sorted_by_key(|event| event.date));
}

/// Runs a statement to its end, whether or not it gives rows.
fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
