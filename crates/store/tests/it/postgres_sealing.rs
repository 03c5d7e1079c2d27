//! Editlogs in PostgreSQL are sealed a moment after they are written, by one process among all that have them open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stet_editlog::verify::{Kept, Report, Verifier};
use stet_editlog::{Checkpoint, Tree};
use stet_store::editlog::{Faults, WriteStep};
use stet_store::postgres::NodeIdentity;
use stet_store::{
    Append, EditlogReader, EditlogSettings, Editlogs, Expected, Outcome, Postgres, PostgresConfig, SealedLog,
    StoreError,
};

use crate::fixture::{Backend, PostgresPlace, append_one, appended, strikes, update};
use crate::sqlite_sealing::{ORIGIN, sealing, signer};

/// One state of the log, read on a thread that may block.
pub async fn with_sealed<T: Send + 'static>(
    place: &PostgresPlace,
    work: impl FnOnce(&SealedLog) -> T + Send + 'static,
) -> T {
    let (postgres, tables) = (place.postgres(), place.tables());
    tokio::task::spawn_blocking(move || work(&SealedLog::open_postgres(&postgres, &tables, &strikes()).unwrap()))
        .await
        .unwrap()
}

/// Waits until so many events are sealed.
pub async fn sealed_up_to(place: &PostgresPlace, events: u64) {
    let started = Instant::now();
    while with_sealed(place, |log| log.progress().unwrap().sealed).await < events {
        assert!(started.elapsed() < Duration::from_secs(30), "nothing is sealed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn verified(log: &SealedLog, outside: &[String]) -> Report {
    let inside = log.checkpoints(1000).unwrap();
    let checkpoints = inside.iter().map(|note| (note.as_str(), Kept::Inside));
    let outside = outside.iter().map(|note| (note.as_str(), Kept::Outside("the safe".to_owned())));
    let trusted = [signer().verifier().clone()];
    let mut verifier = Verifier::new(ORIGIN, &trusted, checkpoints.chain(outside));
    log.scan(&mut |page| {
        page.hashes.iter().for_each(|hash| verifier.push_hash(Some(*hash), None));
        if page.hashes_ended {
            verifier.end_hashes();
        }
        for (event, link) in page.events.iter().zip(&page.links) {
            if let Some(link) = link {
                verifier.push_link(&link.writer, link.number, link.previous, event);
            }
            verifier.push_event(event);
        }
        Ok::<_, StoreError>(())
    })
    .unwrap();
    verifier.finish()
}

async fn verify(place: &PostgresPlace) -> Report {
    with_sealed(place, |log| verified(log, &[])).await
}

async fn append_many(editlogs: &Editlogs, events: u64) {
    let log = editlogs.editlog(&strikes()).await.unwrap();
    let events = (0..events).map(|n| (update(&n.to_string(), "size", Some("␀ \0")), Expected::Any)).collect();
    log.append(Append { atomic: true, events }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_sealed_soon_and_one_checkpoint_of_each_minute_is_kept() {
    let place = PostgresPlace::new();
    let editlogs = place.open(sealing());
    editlogs.initialise(&strikes()).await.unwrap();
    let mut sizes = 0;
    for size in [1, 300, 700, 5_000] {
        append_many(&editlogs, size).await;
        sizes += size;
        sealed_up_to(&place, sizes).await;
        let report = verify(&place).await;
        assert!(report.is_whole(), "{:?}", report.findings);
        assert_eq!((report.events, report.sealed, report.unsealed), (sizes, Some(sizes), None));
    }
    let kept = with_sealed(&place, |log| log.checkpoints(100).unwrap().len()).await;
    assert!(kept <= 4, "{kept}");
    // Another program's event has no salts of its own, and gets them.
    place.database.sql(
        "INSERT INTO edit.strikes_editlog (\"user\", action, key, column_name, value, batch_id, source, event_id)
         VALUES ('eve', 'update', '1', 'size', 'x', gen_random_uuid(), 'api', gen_random_uuid())",
    );
    sealed_up_to(&place, sizes + 1).await;
    assert!(verify(&place).await.is_whole());
    assert_eq!(place.database.sql("SELECT count(*) FROM edit.strikes_editlog_leaves WHERE secrets IS NOT NULL"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_come_out_of_a_stored_log() {
    let place = PostgresPlace::new();
    let editlogs = place.open(sealing());
    editlogs.initialise(&strikes()).await.unwrap();
    append_many(&editlogs, 777).await;
    sealed_up_to(&place, 777).await;
    with_sealed(&place, |sealed| {
        let checkpoint = Checkpoint::peek(&sealed.checkpoints(1).unwrap()[0]).unwrap();
        for id in [1, 256, 257, 777] {
            let leaf = sealed.event(id).unwrap().unwrap().leaf_hash(&mut Vec::new());
            let proof = sealed.prove_inclusion(id - 1, 777).unwrap().unwrap();
            assert!(stet_editlog::tree::verify_inclusion(leaf, id - 1, 777, &proof, checkpoint.root));
        }
        assert_eq!(sealed.event(778).unwrap(), None);
        assert_eq!(sealed.prove_inclusion(777, 777).unwrap(), None);
        assert_eq!(sealed.prove_consistency(778, 777).unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealer_or_writer_that_fails_at_any_step_loses_nothing_and_goes_on_at_the_same_root() {
    for step in [
        WriteStep::Begin,
        WriteStep::Insert,
        WriteStep::Commit,
        WriteStep::Committed,
        WriteStep::SealBegin,
        WriteStep::SealLeaves,
        WriteStep::SealCheckpoint,
        WriteStep::SealCommit,
        WriteStep::SealCommitted,
    ] {
        let place = PostgresPlace::new();
        let failing = Arc::new(AtomicBool::new(false));
        let failed = Arc::new(AtomicUsize::new(0));
        let (is_failing, has_failed) = (Arc::clone(&failing), Arc::clone(&failed));
        let faults: Faults = Arc::new(move |at| {
            let fails = at == step && is_failing.load(Ordering::SeqCst);
            has_failed.fetch_add(usize::from(fails), Ordering::SeqCst);
            fails
        });
        let editlogs = place.open(EditlogSettings { faults: Some(faults), ..sealing() });
        let log = editlogs.initialise(&strikes()).await.unwrap();
        append_many(&editlogs, 300).await;
        sealed_up_to(&place, 300).await;
        let before = with_sealed(&place, |log| log.checkpoints(1).unwrap().remove(0)).await;

        failing.store(true, Ordering::SeqCst);
        // Its answer may be lost with the writer; sent again with the same id, it is there once.
        let last = update("1", "size", Some("last"));
        let _ = log.append(Append { atomic: true, events: vec![(last.clone(), Expected::Any)] }).await;
        let started = Instant::now();
        while failed.load(Ordering::SeqCst) == 0 {
            assert!(started.elapsed() < Duration::from_secs(30), "{step:?} is never reached");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if step == WriteStep::SealCheckpoint {
            // It is told a moment after it was met.
            while !editlogs.sealing_failure(&strikes()).is_some_and(|why| why.contains("writing")) {
                assert!(started.elapsed() < Duration::from_secs(30), "{step:?} is never told");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        // As if the process ended here: what it has open is lost.
        drop((log, editlogs));

        let next = place.open(sealing());
        let log = next.editlog(&strikes()).await.unwrap();
        let outcome = append_one(&log, last, Expected::Any).await;
        assert!(matches!(outcome, Outcome::Appended(_) | Outcome::AlreadyThere(_)), "{step:?}: {outcome:?}");
        append_many(&next, 3).await;
        sealed_up_to(&place, 304).await;
        let report = with_sealed(&place, move |log| verified(log, &[before])).await;
        assert!(report.is_whole() && report.events == 304, "{step:?}: {report:?}");
        let (root, expected) = with_sealed(&place, |log| {
            let mut tree = Tree::new();
            let events = (1..=304).map(|id| log.event(id).unwrap().unwrap());
            events.for_each(|event| tree.append(event.leaf_hash(&mut Vec::new())));
            (Checkpoint::peek(&log.checkpoints(1).unwrap()[0]).unwrap().root, tree.root())
        })
        .await;
        assert_eq!(root, expected, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_seals_and_another_takes_over_when_it_ends() {
    let place = PostgresPlace::new();
    let first = place.open(sealing());
    first.initialise(&strikes()).await.unwrap();
    append_many(&first, 10).await;
    sealed_up_to(&place, 10).await;
    let second = place.open(sealing());
    append_many(&second, 10).await;
    sealed_up_to(&place, 20).await;
    assert!(first.seals(&strikes()) && !second.seals(&strikes()));
    // As a process that is killed: the database notices that its session is gone.
    place.database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND classid::bigint = 1399153004 AND granted AND database = (
           SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    drop(first);
    append_many(&second, 10).await;
    sealed_up_to(&place, 30).await;
    assert!(second.seals(&strikes()));
    assert!(verify(&place).await.is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_that_meets_a_log_with_a_hole_stops_and_says_so() {
    let place = PostgresPlace::new();
    let editlogs = place.open(EditlogSettings { sealing: None, ..EditlogSettings::default() });
    editlogs.initialise(&strikes()).await.unwrap();
    append_many(&editlogs, 10).await;
    place.database.sql(
        "ALTER TABLE edit.strikes_editlog DISABLE TRIGGER ALL; DELETE FROM edit.strikes_editlog WHERE id = 4;
         ALTER TABLE edit.strikes_editlog ENABLE ALWAYS TRIGGER stet_1_stamp;
         ALTER TABLE edit.strikes_editlog ENABLE ALWAYS TRIGGER stet_2_refuse;
         ALTER TABLE edit.strikes_editlog ENABLE ALWAYS TRIGGER stet_3_refuse_truncate",
    );
    let sealer = place.open(sealing());
    sealer.editlog(&strikes()).await.unwrap();
    let started = Instant::now();
    let why = loop {
        if let Some(why) = sealer.sealing_failure(&strikes()) {
            break why;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "nothing is said");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(why.contains("event 4 is missing"), "{why}");
    let report = verify(&place).await;
    let said: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|finding| finding.starts_with("DELETED: event 5 ")), "{said:?}");
    let progress = with_sealed(&place, |log| log.progress().unwrap()).await;
    assert!(progress.sealed == 0 && progress.behind_ms.is_some(), "{progress:?}");
}

fn of_node(place: &PostgresPlace, id: u128, name: &str) -> Postgres {
    let node = NodeIdentity { id: uuid::Uuid::from_u128(id), name: name.to_owned() };
    Postgres::new(PostgresConfig { node: Some(node), ..place.config() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_node_opens_the_editlog_of_another() {
    let place = PostgresPlace::new();
    let (ours, theirs) = (of_node(&place, 1, "design, of the north"), of_node(&place, 2, "production"));
    let open = |postgres: &Postgres| Editlogs::open_postgres(postgres, place.tables(), sealing()).unwrap();
    let log = open(&ours).initialise(&strikes()).await.unwrap();
    appended(&log, update("1", "size", None)).await;
    for refused in [
        open(&theirs).editlog(&strikes()).await.map(drop).unwrap_err(),
        open(&theirs).initialise(&strikes()).await.map(drop).unwrap_err(),
        open(&theirs).reset(&strikes(), false).await.map(drop).unwrap_err(),
        EditlogReader::open_postgres(&theirs, &place.tables(), &strikes()).map(drop).unwrap_err(),
    ] {
        let StoreError::OtherNode { owner, .. } = &refused else { panic!("{refused}") };
        assert_eq!(owner, "design, of the north");
    }
    assert_eq!(open(&ours).originals().await.unwrap(), [strikes()]);
    assert_eq!(open(&ours).editlog(&strikes()).await.unwrap().count().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_takes_events_and_seal_and_is_refused_after_the_first_edit_where_it_must_be() {
    let place = PostgresPlace::new();
    let editlogs = place.open(sealing());
    editlogs.initialise(&strikes()).await.unwrap();
    assert_eq!(editlogs.reset(&strikes(), true).await.unwrap(), 0);
    append_many(&editlogs, 5).await;
    sealed_up_to(&place, 5).await;
    let refused = editlogs.reset(&strikes(), true).await.unwrap_err();
    assert!(matches!(refused, StoreError::HasEvents { events: 5, .. }), "{refused}");
    assert_eq!(editlogs.reset(&strikes(), false).await.unwrap(), 5);
    append_many(&editlogs, 3).await;
    sealed_up_to(&place, 3).await;
    let report = verify(&place).await;
    assert!(report.is_whole() && report.events == 3, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_events_are_sealed_a_few_at_a_time_and_in_order() {
    let place = PostgresPlace::new();
    let editlogs = place.open(sealing());
    editlogs.initialise(&strikes()).await.unwrap();
    let log = editlogs.editlog(&strikes()).await.unwrap();
    let large = "ä".repeat(3 * 1024 * 1024);
    for n in 0..5 {
        let event = update(&n.to_string(), "size", Some(&large));
        log.append(Append { atomic: true, events: vec![(event, Expected::Any)] }).await.unwrap();
    }
    sealed_up_to(&place, 5).await;
    let report = verify(&place).await;
    assert!(report.is_whole() && report.sealed == Some(5), "{report:?}");
    // Three of them have more than 16 MiB together.
    let sizes: Vec<u64> = with_sealed(&place, |log| {
        log.checkpoints(10).unwrap().iter().map(|note| Checkpoint::peek(note).unwrap().size).collect()
    })
    .await;
    assert!(sizes.contains(&5), "{sizes:?}");
}
