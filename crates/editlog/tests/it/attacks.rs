//! Every way to change a sealed log, and its name.

use proptest::prelude::*;
use stet_editlog::erasure::{Erasure, mask};
use stet_editlog::verify::{Finding, Kept};
use stet_editlog::{Event, Field, Personal, SignerKey};

use crate::logs::{Log, checkpoint, clear, event, salt, signer};

#[test]
fn a_log_that_nobody_touched_is_whole() {
    for events in [0, 1, 2, 255, 256, 257, 600] {
        let report = Log::new(events).report();
        assert!(report.is_whole(), "{:?}", report.findings);
        assert_eq!((report.events, report.sealed, report.unsealed), (events, Some(events), None));
    }
}

fn found(log: &Log) -> Vec<Finding> {
    log.report().findings
}

fn modified(id: u64) -> Finding {
    Finding::Modified { first: id, last: id, erased: false }
}

#[test]
fn a_modified_event_is_named_whatever_was_changed() {
    let changes: [fn(&mut Event<'static>); 12] = [
        |event| event.user = clear("eve", event.id * 4),
        |event| event.value = clear("forged", event.id * 4 + 1),
        |event| event.previous = Personal::Absent,
        |event| event.reason = clear("made up", 3),
        |event| event.date_micros += 1,
        |event| event.action = "revert".into(),
        |event| event.key = "another row".into(),
        |event| event.column_name = None,
        |event| event.source = "api".into(),
        |event| event.batch_id[0] ^= 1,
        |event| event.event_id[15] ^= 1,
        |event| event.value = Personal::Clear(event.value.text().unwrap().to_owned().into(), salt(99)),
    ];
    for id in [1, 2, 300, 599, 600] {
        for change in changes {
            let mut log = Log::new(600);
            change(&mut log.events[id as usize - 1]);
            assert_eq!(found(&log), [modified(id)]);
        }
    }
}

#[test]
fn several_modified_events_are_all_named() {
    let mut log = Log::new(900);
    for id in [5, 6, 7, 300, 302, 800] {
        log.events[id - 1].key = "forged".into();
    }
    let together = Finding::Modified { first: 5, last: 7, erased: false };
    assert_eq!(found(&log), [together, modified(300), modified(302), modified(800)]);
}

#[test]
fn deleted_events_are_named_with_or_without_a_gap_in_the_ids() {
    for (from, to) in [(1, 1), (2, 2), (300, 302), (1, 90), (500, 599)] {
        for renumber in [false, true] {
            let mut log = Log::new(600);
            log.events.drain(from - 1..to);
            if renumber {
                log.renumber();
            }
            let expected = [Finding::Deleted { first: from as u64, last: to as u64 }];
            assert_eq!(found(&log), expected, "{from} to {to}, {renumber}");
        }
    }
    // Far more than is looked through at a time.
    let mut log = Log::new(3000);
    log.events.drain(99..2500);
    assert_eq!(found(&log), [Finding::Deleted { first: 100, last: 2500 }]);
}

#[test]
fn deleted_events_are_named_when_the_salts_stayed_behind() {
    let mut log = Log::new(600);
    let salts: Vec<Event<'static>> = log.events.clone();
    log.events.drain(299..302);
    log.renumber();
    for (event, salts) in log.events.iter_mut().zip(&salts) {
        for field in Field::ALL {
            if let (Personal::Clear(text, _), Personal::Clear(_, salt)) = (event.personal(field), salts.personal(field))
            {
                let personal = Personal::Clear(text.clone(), *salt);
                event.set_personal(field, personal);
            }
        }
    }
    // The salts of the last three are beside no event any more.
    let together = Finding::Modified { first: 598, last: 600, erased: false };
    assert_eq!(found(&log), [Finding::Deleted { first: 300, last: 302 }, together]);
}

#[test]
fn an_inserted_event_is_named() {
    for at in [1, 2, 300, 600] {
        let mut log = Log::new(600);
        let mut forged = event(7_000);
        forged.id = at;
        log.events.insert(at as usize - 1, forged);
        log.renumber();
        let report = log.report();
        assert_eq!(report.findings, [Finding::Inserted { id: at }], "{at}");
    }
}

#[test]
fn swapped_and_moved_events_are_named_with_both_places() {
    for (a, b) in [(5, 9), (1, 2), (100, 400)] {
        let mut log = Log::new(600);
        log.events.swap(a - 1, b - 1);
        log.renumber();
        let mut found = found(&log);
        found.sort_by_key(|finding| format!("{finding:?}"));
        let (a, b) = (a as u64, b as u64);
        let mut expected = [Finding::Reordered { sealed: b, id: a }, Finding::Reordered { sealed: a, id: b }];
        expected.sort_by_key(|finding| format!("{finding:?}"));
        assert_eq!(found, expected);
    }
    let mut log = Log::new(600);
    let moved = log.events.remove(49);
    log.events.insert(59, moved);
    log.renumber();
    assert_eq!(found(&log), [Finding::Reordered { sealed: 50, id: 60 }]);
}

#[test]
fn a_truncated_log_is_named_with_both_sizes() {
    for left in [0, 1, 255, 256, 599] {
        let mut log = Log::new(600);
        log.events.truncate(left);
        assert_eq!(found(&log), [Finding::Truncated { events: left as u64, sealed: 600 }]);
        // With the hashes cut as well, the checkpoint still tells.
        log.hashes.truncate(left);
        assert_eq!(found(&log), [Finding::Truncated { events: left as u64, sealed: 600 }]);
    }
    // With an older checkpoint put back in its place, only one that was kept elsewhere tells.
    let mut log = Log::new(600);
    log.keep_checkpoint();
    log.events.truncate(500);
    log.hashes.truncate(500);
    log.checkpoints[0].0 = checkpoint(&log.hashes, &signer());
    assert_eq!(found(&log), [Finding::Truncated { events: 500, sealed: 600 }]);
}

#[test]
fn a_log_that_was_sealed_again_by_a_stranger_is_forged() {
    let thief = SignerKey::from_seed("birds.example", &[2; 32]).unwrap();
    let mut log = Log::new(600);
    log.events[9].key = "forged".into();
    log.reseal(&thief);
    let found = found(&log);
    assert!(matches!(found.as_slice(), [Finding::Forged { size: Some(600), foreign: true, .. }]), "{found:?}");
    assert_eq!(log.report().sealed, None);
}

#[test]
fn a_log_that_was_sealed_again_with_its_own_key_is_forked() {
    let mut log = Log::new(600);
    log.keep_checkpoint();
    log.events[9].key = "forged".into();
    log.reseal(&signer());
    let forked = Finding::Forked { size: 600, kept: Kept::Outside("the safe".to_owned()) };
    assert_eq!(found(&log), std::slice::from_ref(&forked));
    // Hashes kept elsewhere tell the place as well.
    log.kept = Log::new(600).hashes;
    assert_eq!(found(&log), [forked, modified(10)]);
}

#[test]
fn a_signature_that_was_tampered_with_is_forged() {
    let mut log = Log::new(600);
    log.checkpoints[0].0 = log.checkpoints[0].0.replacen("600", "599", 1);
    assert!(matches!(found(&log).as_slice(), [Finding::Forged { foreign: false, .. }]));
    log.checkpoints[0].0 = "nonsense".to_owned();
    assert!(matches!(found(&log).as_slice(), [Finding::Forged { size: None, .. }]));
}

#[test]
fn two_signed_histories_are_a_fork_even_if_the_log_is_one_of_them() {
    let mut log = Log::new(600);
    let mut other = Log::new(600);
    other.events[3].key = "other".into();
    other.reseal(&signer());
    log.checkpoints.push((other.checkpoints[0].0.clone(), Kept::Outside("the safe".to_owned())));
    assert!(found(&log).contains(&Finding::Forked { size: 600, kept: Kept::Outside("the safe".to_owned()) }));
}

#[test]
fn hashes_changed_with_their_event_are_placed_between_checkpoints() {
    let mut log = Log::new(600);
    for size in [100, 200, 300] {
        log.checkpoints.push((checkpoint(&log.hashes[..size], &signer()), Kept::Inside));
    }
    log.events[149].key = "forged".into();
    log.hashes[149] = crate::logs::leaf(&log.events[149]);
    let found = found(&log);
    assert_eq!(found[0], Finding::ModifiedAmong { first: 101, last: 200 });
    assert!(found.iter().all(|finding| finding.verdict() == "MODIFIED"), "{found:?}");
}

#[test]
fn hashes_changed_without_their_events_are_told_apart() {
    let mut log = Log::new(600);
    log.hashes[149] = log.hashes[0];
    assert_eq!(found(&log), [Finding::HashesDamaged]);
    log.hashes.truncate(10);
    assert_eq!(found(&log), [Finding::HashesDamaged]);
    log.hashes.clear();
    assert_eq!(found(&log), [Finding::HashesDamaged]);
}

#[test]
fn events_after_the_last_checkpoint_are_unsealed() {
    let mut log = Log::new(600);
    log.events.extend([event(601), event(602)]);
    let report = log.report();
    assert!(report.is_whole());
    let unsealed = report.unsealed.unwrap();
    assert_eq!((unsealed.events, unsealed.oldest_micros), (2, Some(event(601).date_micros)));
    assert_eq!(
        unsealed.to_string(),
        "UNSEALED: no checkpoint covers the last 2 events, since 2026-11-22T08:50:15.120000Z"
    );
    // Hashes without a signature do not seal.
    log.hashes = log.events.iter().map(crate::logs::leaf).collect();
    assert_eq!(log.report().unsealed.unwrap().events, 2);
}

#[test]
fn without_a_checkpoint_nothing_is_vouched_for() {
    let mut log = Log::new(6);
    log.checkpoints.clear();
    assert_eq!(found(&log), [Finding::Unvouched]);
}

/// A log whose last event erases the users of events 3 and 7 to 9.
fn with_erasure(reason: Personal<'static>) -> Log {
    let mut events: Vec<Event<'static>> = (1..=20).map(event).collect();
    let (key, column_name) = Erasure { ranges: vec![(3, 3), (7, 9)], fields: mask([Field::User]) }.texts();
    let mut erase = event(21);
    erase.action = "erase".into();
    erase.key = key.into();
    erase.column_name = Some(column_name.into());
    erase.value = Personal::Absent;
    erase.previous = Personal::Absent;
    erase.reason = reason;
    events.push(erase);
    Log::of(events)
}

fn erase(log: &mut Log, id: usize, field: Field) {
    let event = &mut log.events[id - 1];
    let commitment = event.personal(field).commitment().unwrap();
    event.set_personal(field, Personal::Erased(commitment));
}

#[test]
fn a_logged_erasure_is_erased_and_any_other_is_modified() {
    let mut log = with_erasure(clear("request 17 of the data protection officer", 1));
    for id in [3, 7, 8, 9] {
        erase(&mut log, id, Field::User);
    }
    let report = log.report();
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!(report.erased, 4);
    // Another field of the same event, and another event.
    let erased = |id| Finding::Modified { first: id, last: id, erased: true };
    let mut more = log.clone();
    erase(&mut more, 3, Field::Value);
    assert_eq!(found(&more), [erased(3)]);
    let mut more = log.clone();
    erase(&mut more, 10, Field::User);
    assert_eq!(found(&more), [erased(10)]);
    // With a commitment that is not the sealed one.
    let mut forged = log;
    forged.events[2].user = Personal::Erased(crate::logs::leaf(&event(1)));
    assert_eq!(found(&forged), [modified(3)]);
    // An erasure that does not say why does not count.
    let mut log = with_erasure(Personal::Absent);
    erase(&mut log, 3, Field::User);
    assert_eq!(found(&log), [erased(3)]);
}

#[test]
fn an_erasure_that_is_not_sealed_yet_counts_all_the_same() {
    let mut log = with_erasure(clear("request 17", 1));
    log.hashes.pop();
    log.checkpoints[0].0 = checkpoint(&log.hashes, &signer());
    erase(&mut log, 3, Field::User);
    let report = log.report();
    assert!(report.is_whole());
    assert_eq!((report.erased, report.unsealed.unwrap().events), (1, 1));
}

#[test]
fn a_log_with_everything_changed_is_told_in_bounded_time_and_space() {
    let mut log = Log::new(20_000);
    for event in &mut log.events {
        event.key = "forged".into();
    }
    let report = log.report();
    let Finding::Modified { first: 1, last, .. } = report.findings[0] else { panic!("{:?}", report.findings) };
    assert!(report.findings.len() <= 256);
    assert_eq!(last + report.more, 20_000, "{:?}", report.findings);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Any change at all to a sealed log is found.
    #[test]
    fn no_change_goes_unseen(
        size in 1_usize..400,
        at: prop::sample::Index,
        other: prop::sample::Index,
        kind in 0..6,
        renumber: bool,
        kept: bool,
        resealed: bool,
    ) {
        let mut log = Log::new(size as u64);
        if kept || resealed {
            log.keep_checkpoint();
        }
        if kept {
            log.kept = log.hashes.clone();
        }
        let before = log.events.clone();
        let (at, other) = (at.index(size), other.index(size));
        match kind {
            0 => log.events[at].key = "forged".into(),
            1 => { log.events.remove(at); }
            2 => log.events.insert(at, event(5000)),
            3 => log.events.swap(at, other),
            4 => log.events.truncate(at),
            _ => { let moved = log.events.remove(at); log.events.insert(other, moved); }
        }
        if renumber {
            log.renumber();
        }
        if resealed {
            log.reseal(&signer());
        }
        let report = log.report();
        prop_assert_eq!(report.is_whole(), log.events == before, "{:?}", report.findings);
    }
}
