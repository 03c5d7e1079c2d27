//! Editlogs in SQLite are sealed as they are written.

use std::sync::Arc;

use stet_editlog::verify::{Kept, Report, Verifier};
use stet_editlog::{Checkpoint, SignerKey};
use stet_store::{Append, EditlogReader, EditlogSettings, Expected, SealedLog, Sealing, StoreError};

use crate::fixture::{Backend, Sqlite, appended, dataset, strikes, update};

pub fn signer() -> SignerKey {
    SignerKey::from_seed("node.example", &[3; 32]).unwrap()
}

pub fn sealing() -> EditlogSettings {
    let sealing = Sealing { signer: Arc::new(signer()), origin_prefix: "node.example/BIRDSTRIKES".to_owned() };
    EditlogSettings { sealing: Some(sealing), ..EditlogSettings::default() }
}

pub const ORIGIN: &str = "node.example/BIRDSTRIKES/strikes";

/// Verifies the log of a place, against checkpoints kept elsewhere if there are any.
pub fn verify(place: &Sqlite, outside: &[String]) -> Report {
    let log = SealedLog::open_sqlite(&place.path(), &strikes()).unwrap();
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
        page.events.iter().for_each(|event| verifier.push_event(event));
        Ok::<_, StoreError>(())
    })
    .unwrap();
    verifier.finish()
}

#[tokio::test]
async fn every_commit_is_sealed_and_signed_with_its_events() {
    let place = Sqlite::new();
    let log = place.open(sealing()).initialise(&strikes()).await.unwrap();
    for n in 0..5 {
        appended(&log, update("1", "size", Some(&n.to_string()))).await;
        let report = verify(&place, &[]);
        assert!(report.is_whole(), "{:?}", report.findings);
        assert_eq!((report.events, report.sealed, report.unsealed), (n + 1, Some(n + 1), None));
    }
    // Enough for tiles of two levels, in requests of odd sizes.
    for size in [300, 1, 700] {
        let events = (0..size).map(|n| (update(&n.to_string(), "size", None), Expected::Any)).collect();
        log.append(Append { atomic: true, events }).await.unwrap();
    }
    let report = verify(&place, &[]);
    assert!(report.is_whole() && report.sealed == Some(1006), "{report:?}");
    // Within a minute, the first and the last checkpoint are kept.
    let sealed = SealedLog::open_sqlite(&place.path(), &strikes()).unwrap();
    let sizes: Vec<u64> =
        sealed.checkpoints(10).unwrap().iter().map(|note| Checkpoint::peek(note).unwrap().size).collect();
    assert_eq!(sizes, [1006, 1]);
}

#[tokio::test]
async fn proofs_come_out_of_a_stored_log() {
    let place = Sqlite::new();
    let log = place.open(sealing()).initialise(&strikes()).await.unwrap();
    let events = (0..777).map(|n| (update(&n.to_string(), "size", None), Expected::Any)).collect();
    log.append(Append { atomic: true, events }).await.unwrap();
    let sealed = SealedLog::open_sqlite(&place.path(), &strikes()).unwrap();
    let checkpoint = Checkpoint::peek(&sealed.checkpoints(1).unwrap()[0]).unwrap();
    for id in [1, 256, 257, 777] {
        let leaf = sealed.event(id).unwrap().unwrap().leaf_hash(&mut Vec::new());
        let proof = sealed.prove_inclusion(id - 1, 777).unwrap().unwrap();
        assert!(stet_editlog::tree::verify_inclusion(leaf, id - 1, 777, &proof, checkpoint.root));
    }
    assert_eq!(sealed.event(778).unwrap(), None);
    assert_eq!(sealed.prove_inclusion(777, 777).unwrap(), None);
}

#[tokio::test]
async fn what_another_program_inserted_is_unsealed_until_the_next_write_or_opening() {
    let place = Sqlite::new();
    let log = place.open(sealing()).initialise(&strikes()).await.unwrap();
    appended(&log, update("1", "size", None)).await;
    let insert = |last: char| {
        let sql = format!(
            "INSERT INTO strikes_editlog (user, action, key, column_name, batch_id, source, event_id)
             VALUES ('bob', 'update', '1', 'size', '00000000-0000-0000-0000-000000000000', 'api', '00000000-0000-0000-0000-00000000000{last}')"
        );
        place.raw().execute(&sql, []).unwrap();
    };
    insert('a');
    assert_eq!(verify(&place, &[]).unsealed.unwrap().events, 1);
    appended(&log, update("1", "size", None)).await;
    assert_eq!(verify(&place, &[]).sealed, Some(3));
    insert('b');
    drop(log);
    place.open(sealing()).editlog(&strikes()).await.unwrap();
    assert_eq!(verify(&place, &[]).sealed, Some(4));
}

#[tokio::test]
async fn two_processes_seal_one_log_in_turns() {
    let place = Sqlite::new();
    let first = place.open(sealing()).initialise(&strikes()).await.unwrap();
    let second = place.open(sealing()).editlog(&strikes()).await.unwrap();
    for n in 0..20 {
        let log = if n % 3 == 0 { &first } else { &second };
        appended(log, update("1", "size", Some(&n.to_string()))).await;
    }
    let report = verify(&place, &[]);
    assert!(report.is_whole() && report.sealed == Some(20), "{report:?}");
}

#[tokio::test]
async fn an_editlog_of_the_version_without_seals_is_read_as_it_is_and_sealed_when_it_is_opened() {
    let place = Sqlite::new();
    let log = place.open(sealing()).initialise(&strikes()).await.unwrap();
    for n in 0..600 {
        appended(&log, update(&n.to_string(), "size", None)).await;
    }
    let before = log.read_since(None, 1000).await.unwrap();
    drop(log);
    // What version 1 was.
    place
        .raw()
        .execute_batch(
            "DROP TABLE strikes_editlog_leaves; DROP TABLE strikes_editlog_nodes; DROP TABLE strikes_editlog_checkpoints;
             UPDATE stet_editlogs SET format_version = 1",
        )
        .unwrap();
    let reader = EditlogReader::open_sqlite(&place.path(), &strikes()).unwrap();
    assert_eq!(reader.read_since(None, 1000).unwrap(), before);
    assert_eq!(verify(&place, &[]).findings.len(), 1);
    let log = place.open(sealing()).editlog(&strikes()).await.unwrap();
    assert_eq!(log.read_since(None, 1000).await.unwrap(), before);
    let report = verify(&place, &[]);
    assert!(report.is_whole() && report.sealed == Some(600), "{report:?}");
}

#[tokio::test]
async fn an_editlog_of_the_version_without_events_about_itself_takes_them_once_it_is_opened() {
    let place = Sqlite::new();
    let log = place.open(sealing()).initialise(&strikes()).await.unwrap();
    appended(&log, update("1", "size", None)).await;
    drop(log);
    // What version 2 was.
    place
        .raw()
        .execute_batch(
            "PRAGMA writable_schema = on;
             UPDATE sqlite_schema SET sql = replace(sql, ', ''erase'', ''note''', '') WHERE name = 'strikes_editlog';
             PRAGMA writable_schema = off; UPDATE stet_editlogs SET format_version = 2",
        )
        .unwrap();
    let reader = EditlogReader::open_sqlite(&place.path(), &strikes()).unwrap();
    assert_eq!(reader.count().unwrap(), 1);
    let log = place.open(sealing()).editlog(&strikes()).await.unwrap();
    let mut note = crate::fixture::event(stet_domain::Action::Note, "", None, None);
    note.reason = Some("rights have changed".to_owned());
    appended(&log, note).await;
    let checked: String = place.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(checked, "ok");
    let report = verify(&place, &[]);
    assert!(report.is_whole() && report.sealed == Some(2), "{report:?}");
}

#[tokio::test]
async fn a_log_that_was_kept_without_a_key_is_signed_once_there_is_one() {
    let place = Sqlite::new();
    let log = place.open(EditlogSettings::default()).initialise(&strikes()).await.unwrap();
    appended(&log, update("1", "size", None)).await;
    assert_eq!(verify(&place, &[]).sealed, None);
    drop(log);
    place.open(sealing()).editlog(&strikes()).await.unwrap();
    assert_eq!(verify(&place, &[]).sealed, Some(1));
}

#[tokio::test]
async fn logs_of_one_file_are_sealed_apart() {
    let place = Sqlite::new();
    let editlogs = place.open(sealing());
    let strikes_log = editlogs.initialise(&strikes()).await.unwrap();
    let airports = editlogs.initialise(&dataset("airports")).await.unwrap();
    for _ in 0..3 {
        appended(&strikes_log, update("1", "size", None)).await;
        appended(&airports, update("1", "city", None)).await;
    }
    assert_eq!(verify(&place, &[]).sealed, Some(3));
    let sealed = SealedLog::open_sqlite(&place.path(), &dataset("airports")).unwrap();
    let checkpoint = Checkpoint::peek(&sealed.checkpoints(1).unwrap()[0]).unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("node.example/BIRDSTRIKES/airports", 3));
}

#[tokio::test]
async fn the_seal_cannot_be_changed_by_plain_sql() {
    let place = Sqlite::new();
    let log = place.open(sealing()).initialise(&strikes()).await.unwrap();
    appended(&log, update("1", "size", None)).await;
    for attack in [
        "UPDATE strikes_editlog_leaves SET secrets = x'00'",
        "DELETE FROM strikes_editlog_leaves",
        "UPDATE OR REPLACE strikes_editlog_nodes SET hash = zeroblob(32) WHERE TRUE",
    ] {
        match place.raw().execute(attack, []) {
            Err(refused) => assert!(refused.to_string().contains("append-only"), "{attack}: {refused}"),
            // There are no nodes yet.
            Ok(changed) => assert_eq!(changed, 0, "{attack}"),
        }
    }
    assert!(verify(&place, &[]).is_whole());
}
