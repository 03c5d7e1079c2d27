//! Personal data is erased lawfully: it is gone, the erasure is logged, and the log still verifies.

use stet_domain::{Action, Event};
use stet_editlog::Field;
use stet_editlog::erasure::{Erasure, mask};
use stet_store::postgres::NodeIdentity;
use stet_store::{Append, Editlog, Editlogs, Expected, Postgres, PostgresConfig, StoreError};

use crate::fixture::{Backend, PostgresPlace, Sqlite, event, strikes, update};
use crate::postgres_sealing::{sealed_up_to, verified, with_sealed};
use crate::sqlite_sealing::{sealing, verify};

/// Four edits, of which the second and the third are erased, and the event that says so.
async fn erased(editlogs: &Editlogs, log: &Editlog, admin_url: Option<String>) -> Vec<Event> {
    let events = (1..=4).map(|n| {
        let mut event = update("1", "name", Some(&format!("Jane Doe {n}")));
        event.previous = Some("unknown".to_owned());
        event.reason = Some("she called".to_owned());
        (event, Expected::Any)
    });
    log.append(Append { atomic: true, events: events.collect() }).await.unwrap();
    let erasure = Erasure { ranges: vec![(2, 3)], fields: mask([Field::User, Field::Value, Field::Reason]) };
    let (key, fields) = erasure.texts();
    let mut logged = event(Action::Erase, &key, Some(&fields), None);
    logged.reason = Some("asked for by Jane Doe's lawyer, case 7".to_owned());
    log.append(Append { atomic: true, events: vec![(logged, Expected::Any)] }).await.unwrap();
    assert_eq!(editlogs.erase(&strikes(), erasure.clone(), admin_url.clone()).await.unwrap(), 2);
    // Again, as after a crash in between: there is nothing left to erase.
    assert_eq!(editlogs.erase(&strikes(), erasure, admin_url).await.unwrap(), 0);
    log.read_since(None, 10).await.unwrap()
}

fn check(events: &[Event]) {
    let told: Vec<_> =
        events.iter().map(|event| (event.user.as_str(), event.value.as_deref(), event.reason.as_deref())).collect();
    let (ada, erased) = ("ada@example.org", ("erased", None, None));
    assert_eq!(told[0], (ada, Some("Jane Doe 1"), Some("she called")));
    assert_eq!((told[1], told[2]), (erased, erased));
    assert_eq!(events[2].previous.as_deref(), Some("unknown"));
    assert_eq!(events[4].action, Action::Erase);
}

#[tokio::test]
async fn what_is_erased_in_sqlite_is_gone_from_the_file_and_the_log_verifies() {
    let place = Sqlite::new();
    let editlogs = place.open(sealing());
    let log = editlogs.initialise(&strikes()).await.unwrap();
    check(&erased(&editlogs, &log, None).await);
    let report = verify(&place, &[]);
    assert!(report.is_whole() && report.erased == 2 && report.sealed == Some(5), "{report:?}");
    for file in ["", "-wal"] {
        let bytes = std::fs::read(format!("{}{file}", place.path().display())).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("Jane Doe 2") && !text.contains("Jane Doe 3"), "{file}");
    }
    // Changes are refused as before.
    let refused = place.raw().execute("UPDATE strikes_editlog SET value = 'x'", []).unwrap_err();
    assert!(refused.to_string().contains("UPDATE refused"));
    assert!(verify(&place, &[]).is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_in_postgresql_leaves_a_log_that_verifies() {
    let place = PostgresPlace::new();
    let editlogs = place.open(sealing());
    let log = editlogs.initialise(&strikes()).await.unwrap();
    check(&erased(&editlogs, &log, None).await);
    sealed_up_to(&place, 5).await;
    let report = with_sealed(&place, |log| verified(log, &[])).await;
    assert!(report.is_whole() && report.erased == 2, "{report:?}");
    let protection = with_sealed(&place, |log| log.protection().map_err(|error| error.to_string())).await;
    assert_eq!(protection, Ok(()));
    let salts = place.database.sql("SELECT count(DISTINCT secrets) FROM edit.strikes_editlog WHERE id IN (2, 3)");
    assert_eq!(salts, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_administrator_of_the_database_erases_in_a_log_that_was_made_securely() {
    let place = PostgresPlace::new();
    let (server, name) = (&place.database.server, &place.database.name);
    let (user, password) = (format!("writer_{name}"), "kept-from-others");
    place.database.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, password).unwrap();
    let identity = NodeIdentity { id: uuid::Uuid::from_u128(7), name: "production".to_owned() };
    let node = Postgres::new(PostgresConfig {
        password: stet_store::postgres::PasswordPlace::File(file),
        node: Some(identity),
        ..PostgresConfig::new("pg", "127.0.0.1", server.port, name, &user)
    });
    let admin_url = format!(
        "postgresql://{}:{}@127.0.0.1:{}/{name}",
        stet_testkit::postgres::SUPERUSER,
        stet_testkit::postgres::SUPERUSER_PASSWORD.replace(' ', "%20"),
        server.port
    );
    place.tables().initialise_securely(&node, &strikes(), &admin_url).unwrap();
    let editlogs = Editlogs::open_postgres(&node, place.tables(), sealing()).unwrap();
    let log = editlogs.editlog(&strikes()).await.unwrap();
    let erasure = Erasure { ranges: vec![(1, 1)], fields: mask([Field::User]) };
    let refused = editlogs.erase(&strikes(), erasure, None).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotAllowed { .. }), "{refused}");
    check(&erased(&editlogs, &log, Some(admin_url)).await);
    // The node seals in the role that was made for it.
    sealed_up_to(&place, 5).await;
    let report = with_sealed(&place, |log| verified(log, &[])).await;
    assert!(report.is_whole() && report.erased == 2, "{report:?}");
    let protection = place.tables().protection(&node, &strikes()).unwrap();
    assert!(protection.holds(), "{:?}", protection.findings);
    // And nobody resets it, neither by the product nor by the rights of the node's user.
    let refused = editlogs.reset(&strikes(), false).await.unwrap_err();
    assert!(matches!(refused, StoreError::NoReset { .. }), "{refused}");
    assert_eq!(log.count().await.unwrap(), 5);
}
