//! The editlog in PostgreSQL: the conformance suite, and what only a database of several processes has.

use stet_store::EditlogSettings;
use stet_store::editlog::WriteStep;

use crate::fixture::{Backend, Gate, PostgresPlace, appended, strikes, update};

crate::conformance!(PostgresPlace::new());

#[tokio::test]
async fn many_waiting_appends_share_one_commit() {
    let place = PostgresPlace::new();
    // The writer stops before its first transaction until all the others wait.
    let gate = Gate::new(WriteStep::Begin);
    let editlogs = place.open(EditlogSettings { faults: Some(gate.faults()), ..EditlogSettings::default() });
    let log = editlogs.initialise(&strikes()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let log = log.clone();
        tasks.spawn(async move { appended(&log, update(&n.to_string(), "size", None)).await });
    }
    tokio::task::yield_now().await;
    gate.open();
    assert_eq!(tasks.join_all().await.len(), 200);
    let stats = editlogs.stats();
    assert!(stats.commits <= 2, "{stats:?}");
    assert_eq!((stats.requests, stats.events, stats.failures), (200, 200, 0));
}
