//! Databases that go away, connections that are cut, writers that are killed: never a success without a row.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stet_domain::ClientEventId;
use stet_store::editlog::WriteStep;
use stet_store::postgres::{Encryption, PasswordPlace};
use stet_store::{
    Append, EditlogSettings, EditlogTables, Editlogs, Expected, Outcome, Postgres, PostgresConfig, StoreError,
};
use stet_testkit::postgres::{PrivateServer, SUPERUSER, SUPERUSER_PASSWORD};
use uuid::Uuid;

use crate::fixture::{Backend, PostgresPlace, append_one, appended, ids, strikes, strikes_log, update};

fn request(key: &str) -> Append {
    Append { atomic: false, events: vec![(update(key, "size", Some("Small")), Expected::Seen(None))] }
}

#[tokio::test]
async fn a_write_that_fails_at_any_step_is_never_a_success_and_can_be_repeated() {
    for (steps, kept) in [
        (&[WriteStep::Begin][..], false),
        (&[WriteStep::Insert], false),
        (&[WriteStep::Commit], false),
        (&[WriteStep::Committed], true),
        (&[WriteStep::Insert, WriteStep::Reopen], false),
        (&[WriteStep::Committed, WriteStep::Reopen, WriteStep::Reopen], true),
    ] {
        let place = PostgresPlace::new();
        let left = Arc::new(Mutex::new(Vec::new()));
        let for_faults = Arc::clone(&left);
        let faults = move |step| {
            let mut left: std::sync::MutexGuard<'_, Vec<WriteStep>> = for_faults.lock().unwrap();
            let fails = left.first() == Some(&step);
            if fails {
                left.remove(0);
            }
            fails
        };
        let editlogs = place.open(EditlogSettings { faults: Some(Arc::new(faults)), ..EditlogSettings::default() });
        let log = editlogs.initialise(&strikes()).await.unwrap();
        appended(&log, update("before", "size", None)).await;
        left.lock().unwrap().extend(steps);

        let request = request("1");
        for step in steps {
            let failed = log.append(request.clone()).await;
            match step {
                WriteStep::Committed => assert!(matches!(failed, Err(StoreError::OutcomeUnknown { .. })), "{failed:?}"),
                WriteStep::Reopen => assert!(matches!(failed, Err(StoreError::CannotConnect { .. })), "{failed:?}"),
                _ => assert!(matches!(failed, Err(StoreError::WriteFailed { .. })), "{failed:?}"),
            }
            let rows = if kept { 2 } else { 1 };
            assert_eq!(log.count().await.unwrap(), rows, "{steps:?}");
        }
        let outcomes = log.append(request).await.unwrap();
        match &outcomes[..] {
            [Outcome::AlreadyThere(event)] if kept => assert_eq!(event.id.0, 2),
            [Outcome::Appended(event)] if !kept => assert_eq!(event.id.0, 2),
            other => panic!("{steps:?}: {other:?}"),
        }
        assert_eq!(ids(&log.read_since(None, 10).await.unwrap()), [1, 2]);
        assert_eq!(editlogs.stats().failures, steps.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_costs_one_request_at_most_and_no_event() {
    let place = PostgresPlace::new();
    let log = strikes_log(&place).await;
    for n in 0..10 {
        appended(&log, update("1", "size", Some(&n.to_string()))).await;
        place.database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'stet' AND datname = current_database()",
        );
        // Reads notice it and go on by themselves.
        assert_eq!(log.count().await.unwrap(), 2 * n + 1);
        let event = update("2", "size", Some(&n.to_string()));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let request = Append { atomic: false, events: vec![(event.clone(), Expected::Any)] };
            match log.append(request).await {
                Ok(outcomes) => {
                    assert!(matches!(outcomes[..], [Outcome::Appended(_) | Outcome::AlreadyThere(_)]));
                    break;
                }
                Err(error) => assert!(attempts < 3, "{error:?}"),
            }
        }
        assert_eq!(log.count().await.unwrap(), 2 * n + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_back_is_used_again_within_ten_seconds() {
    let mut server = tokio::task::spawn_blocking(PrivateServer::start).await.unwrap();
    let at = &server.server;
    let config = PostgresConfig::new("pg", at.socket.to_str().unwrap(), at.port, "postgres", SUPERUSER);
    let tables = EditlogTables { schema: "edit".to_owned(), table: None };
    let editlogs = Editlogs::open_postgres(&Postgres::new(config), tables, EditlogSettings::default()).unwrap();
    let log = editlogs.initialise(&strikes()).await.unwrap();
    let first = appended(&log, update("1", "size", None)).await;
    let mut watch = log.watch();

    server.crash();
    for _ in 0..3 {
        let refused = log.append(request("2")).await.unwrap_err();
        assert!(!refused.to_string().contains("fatal"), "{refused}");
    }
    assert!(matches!(log.count().await, Err(StoreError::CannotConnect { .. })));
    assert!(editlogs.is_initialised(&strikes()).await.is_err());

    let mut server = tokio::task::spawn_blocking(move || {
        server.resume();
        server
    })
    .await
    .unwrap();
    let started = Instant::now();
    let outcome = append_one(&log, update("3", "size", None), Expected::Any).await;
    assert!(matches!(outcome, Outcome::Appended(event) if event.id.0 == first.0 + 1));
    assert_eq!(ids(&log.read_since(None, 10).await.unwrap()), [1, 2]);
    watch.wait_for(|position| position.is_some_and(|id| id.0 == 2)).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    server.crash();
}

#[tokio::test]
async fn a_log_that_another_program_holds_is_said_to_be_locked() {
    let place = PostgresPlace::new();
    let config = PostgresConfig { statement_timeout_ms: 200, ..place.config() };
    let editlogs = Editlogs::open_postgres(&Postgres::new(config), place.tables(), EditlogSettings::default()).unwrap();
    let log = editlogs.initialise(&strikes()).await.unwrap();
    let address = place.database.superuser();
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let mut client = postgres::Client::connect(&address, postgres::NoTls).unwrap();
        let mut transaction = client.transaction().unwrap();
        transaction.batch_execute("LOCK TABLE edit.strikes_editlog IN ACCESS EXCLUSIVE MODE").unwrap();
        locked.send(()).unwrap();
        let _ = released.recv();
    });
    is_locked.recv().unwrap();
    let refused = log.append(request("1")).await;
    assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
    drop(release);
    holder.join().unwrap();
    assert_eq!(appended(&log, update("1", "size", None)).await.0, 1);
}

#[tokio::test]
async fn what_cannot_be_connected_is_said_in_plain_words() {
    let place = PostgresPlace::new();
    let server = &place.database.server;
    let loopback = PostgresConfig { host: "127.0.0.1".to_owned(), ..place.config() };
    let folder = tempfile::tempdir().unwrap();
    let password = |text: &str| {
        let path = folder.path().join(Uuid::new_v4().to_string());
        std::fs::write(&path, text).unwrap();
        PasswordPlace::File(path)
    };
    let good = password(&format!("{SUPERUSER_PASSWORD}\n"));
    let with_password = PostgresConfig { password: good.clone(), ..loopback.clone() };
    Postgres::new(with_password.clone()).check().await.unwrap();
    for (config, expected) in [
        (PostgresConfig { password: password("wrong"), ..loopback.clone() }, "does not accept the user"),
        (PostgresConfig { password: password(""), ..loopback.clone() }, "is empty"),
        (
            PostgresConfig { password: PasswordPlace::File(folder.path().join("none")), ..loopback.clone() },
            "No such file",
        ),
        (
            PostgresConfig { password: PasswordPlace::Environment("STET_TEST_NOT_SET".to_owned()), ..loopback.clone() },
            "`STET_TEST_NOT_SET`",
        ),
        (PostgresConfig { database: "nothing".to_owned(), ..with_password.clone() }, "there is no database `nothing`"),
        (PostgresConfig { port: 1, ..with_password.clone() }, "nobody answers there"),
    ] {
        let refused = Postgres::new(config).check().await.unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        assert!(!refused.to_string().contains(SUPERUSER_PASSWORD));
    }

    let Some(authority) = server.authority.clone() else { return };
    let named = PostgresConfig {
        host: "localhost".to_owned(),
        encryption: Encryption::VerifyFull,
        authorities: Some(authority),
        ..with_password
    };
    Postgres::new(named.clone()).check().await.unwrap();
    // Encrypted, with a certificate for another name; and from an authority that nobody trusts.
    let other_name = PostgresConfig { host: "127.0.0.1".to_owned(), ..named.clone() };
    let untrusted = PostgresConfig { authorities: None, ..named.clone() };
    for config in [other_name.clone(), untrusted] {
        let refused = Postgres::new(config).check().await.unwrap_err();
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
    Postgres::new(PostgresConfig { encryption: Encryption::Require, ..other_name }).check().await.unwrap();
}

/// Where the child process appends.
const CHILD: &str = "STET_STORE_TEST_CHILD_POSTGRES";
const ROUNDS: usize = 6;
const ACKNOWLEDGED_BEFORE_KILL: usize = 100;
const TASKS: usize = 8;

#[test]
fn what_was_acknowledged_before_a_kill_is_there_exactly_once() {
    if let Ok(place) = std::env::var(CHILD) {
        append_for_ever(&place);
    }
    let place = PostgresPlace::new();
    let config = place.config();
    let at = format!("{}\n{}\n{}", config.host, config.port, config.database);
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "postgres_failures::what_was_acknowledged_before_a_kill_is_there_exactly_once"])
            .arg("--nocapture")
            .env(CHILD, &at)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (mut fresh, mut line) = (0, String::new());
        while lines.read_line(&mut line).unwrap() > 0 {
            // The last line may be cut short by the kill.
            if let Some(id) = line.strip_prefix("acknowledged ").and_then(|rest| rest.strip_suffix('\n')) {
                fresh += usize::from(acknowledged.insert(id.parse::<Uuid>().unwrap()));
                if fresh == ACKNOWLEDGED_BEFORE_KILL + round {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        assert!(!child.wait().unwrap().success());
        assert!(fresh >= ACKNOWLEDGED_BEFORE_KILL, "the child ended by itself");

        let events = place.reader(&strikes()).read_since(None, 100_000).unwrap();
        let stored: Vec<_> = events.iter().map(|event| event.event_id.0).collect();
        let once: HashSet<_> = stored.iter().copied().collect();
        assert_eq!(once.len(), stored.len(), "an event is there twice");
        assert_eq!(acknowledged.difference(&once).count(), 0, "an acknowledged event is lost");
    }
}

/// Appends and tells what was acknowledged until the process is killed. It sends what earlier rounds have sent again,
/// as clients do who never got an answer.
fn append_for_ever(place: &str) {
    let parts: Vec<&str> = place.lines().collect();
    let config = PostgresConfig::new("pg", parts[0], parts[1].parse().unwrap(), parts[2], SUPERUSER);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tables = EditlogTables { schema: "edit".to_owned(), table: None };
        let editlogs = Editlogs::open_postgres(&Postgres::new(config), tables, EditlogSettings::default()).unwrap();
        let log = editlogs.initialise(&strikes()).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..TASKS {
            let log = log.clone();
            tasks.spawn(async move {
                for n in 0_u64.. {
                    let mut event = update(&task.to_string(), "size", Some(&n.to_string()));
                    event.event_id = ClientEventId(Uuid::from_u64_pair(task as u64, n));
                    let id = event.event_id.0;
                    let request = Append { atomic: false, events: vec![(event, Expected::Any)] };
                    let outcomes = log.append(request).await.unwrap();
                    assert!(matches!(outcomes[..], [Outcome::Appended(_) | Outcome::AlreadyThere(_)]));
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {id}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
        tasks.join_all().await;
    });
}
