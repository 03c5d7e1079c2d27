//! The editlog in SQLite: the conformance suite, and what only a SQLite file has.

use std::ops::ControlFlow;

use stet_domain::EventId;
use stet_domain::replay::Edit;
use stet_store::editlog::WriteStep;
use stet_store::{Append, EditlogReader, EditlogSettings, Editlogs, Expected, StoreError};

use crate::fixture::{Backend, Gate, Sqlite, append_one, appended, dataset, strikes, strikes_log, update};

crate::conformance!(Sqlite::new());

#[tokio::test]
async fn many_waiting_appends_share_one_commit() {
    let place = Sqlite::new();
    // The writer stops before its first transaction until all the others wait.
    let gate = Gate::new(WriteStep::Begin);
    let editlogs = place.open(EditlogSettings { faults: Some(gate.faults()), ..EditlogSettings::default() });
    let log = editlogs.initialise(&strikes()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let log = log.clone();
        tasks.spawn(async move { appended(&log, update(&n.to_string(), "size", None)).await });
    }
    // On a runtime of one thread each task has run once after this, so each has its place in the queue.
    tokio::task::yield_now().await;
    gate.open();
    assert_eq!(tasks.join_all().await.len(), 200);
    let stats = editlogs.stats();
    assert!(stats.commits <= 2, "{stats:?}");
    assert_eq!((stats.requests, stats.events, stats.failures), (200, 200, 0));
}

#[tokio::test]
async fn a_fold_reads_in_pieces_what_a_scan_reads_as_a_whole() {
    const EVENTS: usize = 50_000;
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    let value = |n: usize| [Some("Small"), Some(""), None][n % 3];
    for from in (0..EVENTS).step_by(10_000) {
        let updates = (from..from + 10_000).map(|n| update(&format!("{n} ü"), ["size", "damage"][n % 2], value(n)));
        let events = updates.map(|event| (event, Expected::Any)).collect();
        log.append(Append { atomic: false, events }).await.unwrap();
    }
    let reader = log.reader().unwrap();
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    let told = |edit: &Edit<'_>| format!("{edit:?}");
    reader
        .scan(None, None, &mut |event| {
            whole.push(told(&Edit::from(&event)));
            ControlFlow::Continue(())
        })
        .unwrap();
    reader
        .scan_edits(None, &mut |edit| {
            pieces.push(told(edit));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((whole.len(), whole == pieces), (EVENTS, true));

    // Up to an event, and until the visitor has enough.
    let mut count = 0;
    reader
        .scan_edits(Some(EventId(40_001)), &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(count, 40_001);
    reader
        .scan_edits(None, &mut |edit| {
            if edit.id.0 == 9_000 {
                ControlFlow::Break(())
            } else {
                count += 1;
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!(count, 40_001 + 8_999);

    // An event that somebody took away is missed, wherever in a piece it was.
    let raw = place.raw();
    raw.execute_batch("DROP TRIGGER strikes_editlog_refuse_delete").unwrap();
    for gone in [30_000, 8_193, 8_192, 1] {
        raw.execute("DELETE FROM strikes_editlog WHERE id = ?1", [gone]).unwrap();
        let error = reader.scan_edits(None, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(
            matches!(&error, StoreError::Damaged { what, .. } if what.contains(&format!("event {gone} is missing"))),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_table_is_plain_for_any_sql_tool() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    appended(&log, update("1", "size", Some("Small"))).await;
    let raw = place.raw();
    let mut statement = raw.prepare("SELECT * FROM strikes_editlog").unwrap();
    assert_eq!(
        statement.column_names().collect::<Vec<_>>(),
        [
            "id",
            "date",
            "user",
            "action",
            "key",
            "column_name",
            "value",
            "previous",
            "batch_id",
            "source",
            "reason",
            "event_id"
        ]
    );
    let date: String = statement.query_row([], |row| row.get("date")).unwrap();
    assert_eq!((date.len(), &date[date.len() - 1..]), (24, "Z"));
    let dates = log.read_since(None, 1).await.unwrap();
    assert_eq!(dates[0].date.to_string(), date);
    let (created_by, version): (String, i64) = raw
        .query_row("SELECT created_by, format_version FROM stet_editlogs WHERE original = 'strikes'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!((created_by.as_str(), version), (concat!("stet ", env!("CARGO_PKG_VERSION")), 3));
}

#[tokio::test]
async fn names_that_differ_only_in_case_cannot_both_have_an_editlog() {
    let place = Sqlite::new();
    let editlogs = place.open(EditlogSettings::default());
    editlogs.initialise(&strikes()).await.unwrap();
    let taken = editlogs.initialise(&dataset("Strikes")).await;
    assert!(matches!(&taken, Err(StoreError::NameTaken { existing, .. }) if existing == "strikes"), "{taken:?}");
    assert!(matches!(editlogs.editlog(&dataset("STRIKES")).await, Err(StoreError::NotInitialised { .. })));
    assert!(!editlogs.is_initialised(&dataset("STRIKES")).await.unwrap());
    let reserved = editlogs.initialise(&dataset("sqlite_x")).await;
    assert!(matches!(reserved, Err(StoreError::NameReserved { .. })), "{reserved:?}");
}

#[tokio::test]
async fn every_name_of_a_dataset_is_quoted() {
    let place = Sqlite::new();
    let editlogs = place.open(EditlogSettings::default());
    for name in
        ["airport-matches", "select", "_", "A-", "x_editlog", "strikes_editlog_by_cell", "stet", "stet_editlogs"]
    {
        let log = editlogs.initialise(&dataset(name)).await.unwrap();
        assert_eq!(appended(&log, update("1", "size", None)).await.0, 1, "{name}");
    }
}

#[tokio::test]
async fn an_editlog_that_lost_its_protection_is_not_opened() {
    for (tampering, object) in [
        ("DROP TRIGGER strikes_editlog_refuse_update", "strikes_editlog_refuse_update"),
        ("DROP TRIGGER strikes_editlog_refuse_disorder", "strikes_editlog_refuse_disorder"),
        ("DROP TABLE strikes_editlog", "strikes_editlog"),
        ("ALTER TABLE strikes_editlog DROP COLUMN reason", "strikes_editlog"),
        (
            "DROP TRIGGER strikes_editlog_refuse_delete;
             CREATE TRIGGER strikes_editlog_refuse_delete BEFORE DELETE ON strikes_editlog BEGIN SELECT 1; END",
            "strikes_editlog_refuse_delete",
        ),
    ] {
        let place = Sqlite::new();
        strikes_log(&place).await;
        place.raw().execute_batch(tampering).unwrap();
        let editlogs = place.open(EditlogSettings::default());
        for refused in [
            editlogs.editlog(&strikes()).await.map(drop),
            editlogs.initialise(&strikes()).await.map(drop),
            EditlogReader::open_sqlite(&place.path(), &strikes()).map(drop),
        ] {
            match refused {
                Err(StoreError::Altered { object: found, .. }) => assert_eq!(found, object),
                other => panic!("{tampering}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_event_that_was_taken_away_is_noticed_when_the_log_is_read() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    for n in 0..3 {
        appended(&log, update(&n.to_string(), "size", None)).await;
    }
    let raw = place.raw();
    raw.execute_batch("DROP TRIGGER strikes_editlog_refuse_delete; DELETE FROM strikes_editlog WHERE id = 2").unwrap();
    let error = log.read_since(None, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("event 2 is missing"), "{error}");
}

#[tokio::test]
async fn an_editlog_of_a_newer_version_is_refused() {
    let place = Sqlite::new();
    let editlogs = place.open(EditlogSettings::default());
    editlogs.initialise(&strikes()).await.unwrap();
    place.raw().execute("UPDATE stet_editlogs SET format_version = 7", []).unwrap();
    let refused = editlogs.editlog(&strikes()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the editlog of `strikes` has format version 7 and this version of Stet knows versions up to 3: use a newer Stet"
    );
}

#[test]
fn a_file_that_cannot_be_used_is_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| Editlogs::open_sqlite(path, EditlogSettings::default()).map(drop);

    let text = folder.path().join("strikes.csv");
    std::fs::write(&text, "strike_id,species\n".repeat(1000)).unwrap();
    let before = std::fs::read(&text).unwrap();
    assert!(matches!(open(&text), Err(StoreError::NotADatabase { .. })), "{:?}", open(&text));
    assert!(matches!(EditlogReader::open_sqlite(&text, &strikes()), Err(StoreError::NotADatabase { .. })));
    assert_eq!(std::fs::read(&text).unwrap(), before);

    let nowhere = folder.path().join("no/such/folder/x.sqlite");
    assert!(matches!(open(&nowhere), Err(StoreError::CannotOpen { .. })));
    assert!(matches!(open(folder.path()), Err(StoreError::CannotOpen { .. })));

    let missing = folder.path().join("missing.sqlite");
    assert!(matches!(EditlogReader::open_sqlite(&missing, &strikes()), Err(StoreError::CannotOpen { .. })));
    assert!(!EditlogReader::is_initialised_sqlite(&missing, &strikes()).unwrap());
    assert!(!missing.exists(), "reading creates nothing");

    // A folder whose name could be taken for options of a database address.
    let odd = folder.path().join("a?mode=memory&x#%41");
    std::fs::create_dir(&odd).unwrap();
    open(&odd.join("e.sqlite")).unwrap();
    assert!(odd.join("e.sqlite").exists());
}

#[cfg(unix)]
#[test]
fn a_file_without_the_right_to_write_is_said_to_be_read_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Sqlite::new();
    drop(place.open(EditlogSettings::default()));
    let path = place.path();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    let refused = Editlogs::open_sqlite(&path, EditlogSettings::default()).map(drop);
    // The superuser may write everything, whatever the mode of the file.
    let superuser = std::fs::OpenOptions::new().append(true).open(&path).is_ok();
    assert!(superuser || matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_reader_works_beside_a_running_node_and_after_it() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    appended(&log, update("1", "size", None)).await;
    let beside = EditlogReader::open_sqlite(&place.path(), &strikes()).unwrap();
    assert_eq!(beside.count().unwrap(), 1);
    appended(&log, update("2", "size", None)).await;
    assert_eq!(beside.count().unwrap(), 2);
    drop(log);
    assert!(EditlogReader::is_initialised_sqlite(&place.path(), &strikes()).unwrap());
    assert!(!EditlogReader::is_initialised_sqlite(&place.path(), &dataset("airports")).unwrap());
    assert_eq!(EditlogReader::open_sqlite(&place.path(), &strikes()).unwrap().count().unwrap(), 2);
}

/// Puts an event into the log that is dated later than now, as if the clock had been ahead.
fn append_in_the_future(place: &Sqlite, ahead: &str) {
    let raw = place.raw();
    let trigger: String = raw
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'strikes_editlog_refuse_disorder'", [], |row| row.get(0))
        .unwrap();
    raw.execute_batch(&format!(
        "BEGIN;
         DROP TRIGGER strikes_editlog_refuse_disorder;
         INSERT INTO strikes_editlog (date, user, action, key, column_name, batch_id, source, event_id)
         VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{ahead}'), 'ada', 'update', '1', 'size',
                 '00000000-0000-0000-0000-000000000000', 'api', '00000000-0000-0000-0000-000000000001');
         {trigger};
         COMMIT"
    ))
    .unwrap();
}

#[tokio::test]
async fn a_clock_that_is_a_little_behind_is_waited_for() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    append_in_the_future(&place, "+0.3 seconds");
    appended(&log, update("1", "size", None)).await;
    let events = log.read_since(None, 10).await.unwrap();
    assert!(events.len() == 2 && events[0].date <= events[1].date, "{events:?}");
}

#[tokio::test]
async fn a_clock_that_is_far_behind_is_said_to_be_so_and_nothing_is_appended() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    append_in_the_future(&place, "+1 hour");
    let request = stet_store::Append { atomic: false, events: vec![(update("1", "size", None), Expected::Any)] };
    match log.append(request).await {
        Err(StoreError::ClockWentBack { behind_ms }) => assert!((3_590_000..=3_600_000).contains(&behind_ms)),
        other => panic!("{other:?}"),
    }
    assert_eq!(log.count().await.unwrap(), 1);
    // Other logs of the file go on.
    let other = place.open(EditlogSettings::default()).initialise(&dataset("airports")).await.unwrap();
    let outcome = append_one(&other, update("1", "iata", None), Expected::Any).await;
    assert!(matches!(outcome, stet_store::Outcome::Appended(_)));
}
