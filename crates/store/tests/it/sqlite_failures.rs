//! Disks that are full or fail, files that go away, queues that are full: never a success without a row.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use stet_store::editlog::WriteStep;
use stet_store::{Append, Editlog, EditlogSettings, Expected, Outcome, StoreError};

use crate::fixture::{Backend, Gate, Sqlite, appended, ids, strikes, strikes_log, update};

fn request(key: &str) -> Append {
    Append { atomic: false, events: vec![(update(key, "size", Some("Small")), Expected::Seen(None))] }
}

/// Fails at the steps of a list, one after the other, as they come.
fn failing_at(steps: &[WriteStep]) -> (EditlogSettings, Arc<Mutex<Vec<WriteStep>>>) {
    let steps = Arc::new(Mutex::new(steps.to_vec()));
    let left = Arc::clone(&steps);
    let faults = move |step| {
        let mut left = left.lock().unwrap();
        let fails = left.first() == Some(&step);
        if fails {
            left.remove(0);
        }
        fails
    };
    (EditlogSettings { faults: Some(Arc::new(faults)), ..EditlogSettings::default() }, steps)
}

#[tokio::test]
async fn a_write_that_fails_at_any_step_is_never_a_success_and_can_be_repeated() {
    for (steps, kept) in [
        (&[WriteStep::Begin][..], false),
        (&[WriteStep::Insert], false),
        (&[WriteStep::Commit], false),
        // What cannot be sealed is not kept either.
        (&[WriteStep::SealBegin], false),
        (&[WriteStep::Committed], true),
        (&[WriteStep::Insert, WriteStep::Reopen], false),
        (&[WriteStep::Committed, WriteStep::Reopen, WriteStep::Reopen], true),
    ] {
        let place = Sqlite::new();
        let (settings, left) = failing_at(steps);
        left.lock().unwrap().clear();
        let editlogs = place.open(settings);
        let log = editlogs.initialise(&strikes()).await.unwrap();
        appended(&log, update("before", "size", None)).await;
        left.lock().unwrap().extend(steps);

        let request = request("1");
        for step in steps {
            let failed = log.append(request.clone()).await;
            match step {
                WriteStep::Committed => assert!(matches!(failed, Err(StoreError::OutcomeUnknown { .. })), "{failed:?}"),
                WriteStep::Reopen => assert!(matches!(failed, Err(StoreError::CannotOpen { .. })), "{failed:?}"),
                _ => assert!(matches!(failed, Err(StoreError::WriteFailed { .. })), "{failed:?}"),
            }
            // Reads go on, and so does what others read.
            let rows = if kept { 2 } else { 1 };
            assert_eq!(log.count().await.unwrap(), rows, "{steps:?}");
            assert_eq!(place.reader(&strikes()).count().unwrap(), rows, "{steps:?}");
        }
        // Nothing but the next request is needed to recover.
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

#[tokio::test]
async fn on_a_full_disk_no_event_is_lost_and_writing_recovers_with_room() {
    let place = Sqlite::new();
    let settings = EditlogSettings { file_bytes_max: Some(300_000), ..EditlogSettings::default() };
    let editlogs = place.open(settings);
    let log = editlogs.initialise(&strikes()).await.unwrap();
    let mut acknowledged = 0;
    let large = |n: usize| update(&n.to_string(), "comments", Some(&"x".repeat(10_000)));
    let refused = loop {
        let events = vec![(large(acknowledged), Expected::Any)];
        match log.append(Append { atomic: false, events }).await {
            Ok(outcomes) => {
                assert!(matches!(outcomes[..], [Outcome::Appended(_)]));
                acknowledged += 1;
            }
            Err(error) => break error,
        }
        assert!(acknowledged < 100);
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert!(acknowledged > 5);
    // Many at once, all of whom must hear of it.
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (log, event) = (log.clone(), large(n));
        tasks.spawn(async move { log.append(Append { atomic: true, events: vec![(event, Expected::Any)] }).await });
    }
    for result in tasks.join_all().await {
        assert!(matches!(result, Err(StoreError::Full { .. })), "{result:?}");
    }
    assert_eq!(log.count().await.unwrap(), acknowledged as u64);
    assert_eq!(log.read_since(None, 1000).await.unwrap().len(), acknowledged);

    editlogs.set_file_bytes_max(None);
    assert_eq!(appended(&log, large(0)).await.0, acknowledged as i64 + 1);
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_into_a_file_that_was_moved_away() {
    let place = Sqlite::new();
    let log = strikes_log(&place).await;
    appended(&log, update("1", "size", None)).await;
    let away = place.path().with_extension("away");
    std::fs::rename(place.path(), &away).unwrap();
    for _ in 0..2 {
        let refused = log.append(request("2")).await;
        assert!(matches!(refused, Err(StoreError::FileReplaced { .. })), "{refused:?}");
        assert!(!place.path().exists(), "no new and empty log takes the place of the old one");
    }
    std::fs::rename(&away, place.path()).unwrap();
    assert_eq!(appended(&log, update("2", "size", None)).await.0, 2);
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_said_to_be_locked() {
    let place = Sqlite::new();
    let settings = EditlogSettings { busy_timeout_ms: 50, ..EditlogSettings::default() };
    let log = place.open(settings).initialise(&strikes()).await.unwrap();
    let raw = place.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = log.append(request("1")).await;
    assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
    assert_eq!(log.count().await.unwrap(), 0);
    raw.execute_batch("ROLLBACK").unwrap();
    assert_eq!(appended(&log, update("1", "size", None)).await.0, 1);
}

#[tokio::test]
async fn a_full_queue_is_busy_and_keeps_nothing_of_what_it_refused() {
    let place = Sqlite::new();
    let gate = Gate::new(WriteStep::Begin);
    let settings = EditlogSettings {
        queue_requests_max: 1,
        queue_timeout_ms: 20,
        faults: Some(gate.faults()),
        ..EditlogSettings::default()
    };
    let log = place.open(settings).initialise(&strikes()).await.unwrap();
    let spawn = |log: &Editlog, key: &'static str| {
        let log = log.clone();
        tokio::spawn(async move { log.append(request(key)).await })
    };
    let written = spawn(&log, "written");
    gate.reached().await;
    let waiting = spawn(&log, "waiting");
    tokio::task::yield_now().await;
    let refused = log.append(request("refused")).await;
    assert!(matches!(refused, Err(StoreError::Busy { waited_ms: 20 })), "{refused:?}");
    gate.open();
    written.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    let keys: Vec<_> = log.read_since(None, 10).await.unwrap().into_iter().map(|event| event.key.to_string()).collect();
    assert_eq!(keys, ["written", "waiting"]);
}

#[tokio::test]
async fn a_writer_that_panics_answers_nobody_with_success_and_goes_on() {
    let place = Sqlite::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let faults = move |step| {
        assert!(step != WriteStep::Insert || counted.fetch_add(1, Ordering::SeqCst) != 0, "a panic of the test");
        false
    };
    let settings = EditlogSettings { faults: Some(Arc::new(faults)), ..EditlogSettings::default() };
    let log = place.open(settings).initialise(&strikes()).await.unwrap();
    let request = request("1");
    let refused = log.append(request.clone()).await;
    assert!(matches!(refused, Err(StoreError::OutcomeUnknown { .. })), "{refused:?}");
    assert!(matches!(log.append(request).await.unwrap()[..], [Outcome::Appended(_)]));
    assert_eq!(log.count().await.unwrap(), 1);
}
