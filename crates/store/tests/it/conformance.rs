//! What every editlog does, whatever database holds it. The suite is run word for word on each.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use stet_domain::replay::Replay;
use stet_domain::{Action, ClientEventId, Event, EventId, NewEvent, Source};
use stet_store::{Append, EditlogSettings, Expected, Outcome, StoreError};
use uuid::Uuid;

use crate::fixture::{Backend, append_one, appended, dataset, event, ids, seen, strikes, strikes_log, update};

/// Makes a test of each claim of the suite for one kind of place.
#[macro_export]
macro_rules! conformance {
    ($backend:expr) => {
        $crate::conformance!($backend;
            events_are_read_back_as_they_were_appended_in_order_from_one,
            texts_of_every_kind_survive,
            dates_are_set_by_the_database_and_never_go_back,
            the_same_event_sent_twice_is_appended_once,
            an_event_id_with_other_content_is_refused,
            an_edit_of_a_cell_that_moved_is_a_conflict,
            an_edit_of_another_cell_of_the_row_is_no_conflict,
            an_event_of_the_whole_row_conflicts_with_edits_of_each_cell,
            a_delete_conflicts_with_any_later_event_of_the_row,
            a_create_conflicts_with_a_create_that_came_in_between,
            the_columns_of_one_creation_do_not_conflict_with_each_other,
            editing_an_unset_cell_of_a_created_row_is_no_conflict,
            a_repeated_request_is_no_conflict_with_itself,
            what_replay_has_seen_is_what_the_log_compares,
            an_id_from_beyond_the_log_counts_as_having_seen_nothing,
            an_atomic_request_with_a_conflict_appends_nothing_and_names_every_conflict,
            a_request_that_is_not_atomic_appends_what_it_can,
            a_malformed_event_is_refused_and_takes_nobody_with_it,
            requests_beyond_the_limits_are_refused,
            ids_have_no_gaps_after_requests_that_failed,
            history_is_newest_first_and_includes_events_of_the_row,
            events_about_the_log_itself_are_of_no_row,
            a_scan_visits_each_event_once_up_to_its_end,
            editlogs_of_one_place_are_apart,
            initialising_twice_keeps_the_log,
            an_unknown_editlog_is_said_to_be_missing,
            a_watcher_sees_own_commits_and_those_of_others,
            concurrent_appends_are_each_there_once,
            readers_see_a_prefix_of_the_log_while_it_is_written,
        );
    };
    ($backend:expr; $($claim:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::conformance::$claim(&$backend).await;
            }
        )*
    };
}

pub async fn events_are_read_back_as_they_were_appended_in_order_from_one(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    assert_eq!(log.position().await.unwrap(), None);
    let mut sent = Vec::new();
    for (n, source) in
        [Source::Grid, Source::Paste, Source::Fill, Source::Undo, Source::Import, Source::Api].into_iter().enumerate()
    {
        let mut event = update("12", "species", Some(&format!("Gull {n}")));
        event.source = source;
        event.previous = Some("UNKNOWN BIRD".to_owned());
        event.reason = Some("seen on the photo".to_owned());
        assert_eq!(appended(&log, event.clone()).await, EventId(n as i64 + 1));
        sent.push(event);
    }
    sent.push(event(Action::Revert, "12", Some("species"), None));
    sent.push(event(Action::Revert, "12", None, None));
    sent.push(event(Action::Delete, "12", None, None));
    sent.push(event(Action::Create, "13", None, None));
    for event in &sent[6..] {
        appended(&log, event.clone()).await;
    }

    let stored = log.read_since(None, 100).await.unwrap();
    assert_eq!(ids(&stored), (1..=10).collect::<Vec<_>>());
    for (stored, sent) in stored.iter().zip(&sent) {
        assert!(stored.is_same_request(sent));
        assert_eq!((stored.batch_id, stored.source), (sent.batch_id, sent.source));
        assert_eq!((&stored.previous, &stored.reason), (&sent.previous, &sent.reason));
    }
    assert_eq!(ids(&log.read_since(Some(EventId(3)), 4).await.unwrap()), [4, 5, 6, 7]);
    assert_eq!(log.position().await.unwrap(), Some(EventId(10)));
    assert_eq!(log.count().await.unwrap(), 10);
}

pub async fn texts_of_every_kind_survive(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let long = "Ω".repeat(1_000_000);
    let texts = [
        "",
        "NA",
        "null",
        "None",
        "NaN",
        "-0",
        " ",
        "'",
        "\"",
        "'); DROP TABLE strikes_editlog; --",
        "a\nb\r\nc",
        "a,b;c\td",
        "🐦‍⬛🇫🇷",
        "שלום עולם \u{202e}x",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "\u{0}",
        "a\u{0}b",
        "%_?1$1",
        &long,
    ];
    for text in texts {
        appended(&log, update("k", "c", Some(text))).await;
    }
    for key in texts.iter().filter(|key| key.len() < 8_000) {
        appended(&log, update(key, key.get(..1).unwrap_or("c"), None)).await;
    }
    let events = log.read_since(None, 1000).await.unwrap();
    let values: Vec<_> = events.iter().take(texts.len()).map(|event| event.value.as_deref()).collect();
    assert_eq!(values, texts.map(Some));
    let keys: Vec<_> = events.iter().skip(texts.len()).map(|event| event.key.as_str()).collect();
    assert_eq!(keys, &texts[..texts.len() - 1]);
    assert!(events.iter().skip(texts.len()).all(|event| event.value.is_none()));
    for key in keys {
        let history = log.history(key, None, None, 10).await.unwrap();
        assert!(!history.is_empty() && history.iter().all(|event| event.key.as_str() == key), "{key:?}");
    }
}

pub async fn dates_are_set_by_the_database_and_never_go_back(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64;
    // A date may have no digits beyond milliseconds.
    let before = now() - 1_000;
    for n in 0..20 {
        appended(&log, update("1", "size", Some(&n.to_string()))).await;
    }
    let after = now();
    let dates: Vec<_> = log.read_since(None, 100).await.unwrap().iter().map(|event| event.date.micros()).collect();
    assert!(dates.is_sorted());
    assert!(before <= dates[0] && dates[19] <= after, "{before} {dates:?} {after}");
}

pub async fn the_same_event_sent_twice_is_appended_once(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let event = update("1", "size", Some("Small"));
    let Outcome::Appended(first) = append_one(&log, event.clone(), Expected::Seen(None)).await else { panic!() };
    appended(&log, update("1", "size", Some("Large"))).await;
    let again = append_one(&log, event, Expected::Seen(None)).await;
    assert_eq!(again, Outcome::AlreadyThere(first));
    assert_eq!(log.count().await.unwrap(), 2);
}

pub async fn an_event_id_with_other_content_is_refused(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let event = update("1", "size", Some("Small"));
    let Outcome::Appended(first) = append_one(&log, event.clone(), Expected::Any).await else { panic!() };
    let mut other = event;
    other.value = None;
    assert_eq!(append_one(&log, other, Expected::Any).await, Outcome::EventIdTaken(first));
    assert_eq!(log.count().await.unwrap(), 1);
}

pub async fn an_edit_of_a_cell_that_moved_is_a_conflict(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let first = appended(&log, update("1", "size", Some("Small"))).await;
    let Outcome::Appended(second) = append_one(&log, update("1", "size", Some("Large")), seen(first)).await else {
        panic!()
    };
    for expected in [Expected::Seen(None), seen(first)] {
        for late in [update("1", "size", None), event(Action::Revert, "1", Some("size"), None)] {
            assert_eq!(append_one(&log, late, expected).await, Outcome::Conflict(second.clone()));
        }
    }
    let revert = event(Action::Revert, "1", Some("size"), None);
    let Outcome::Appended(third) = append_one(&log, revert, seen(second.id)).await else { panic!() };
    assert_eq!(append_one(&log, update("1", "size", None), seen(second.id)).await, Outcome::Conflict(third));
}

pub async fn an_edit_of_another_cell_of_the_row_is_no_conflict(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    appended(&log, update("1", "size", Some("Small"))).await;
    appended(&log, update("2", "damage", Some("None"))).await;
    let outcome = append_one(&log, update("1", "damage", Some("Minor")), Expected::Seen(None)).await;
    assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
}

pub async fn an_event_of_the_whole_row_conflicts_with_edits_of_each_cell(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    for action in [Action::Delete, Action::Revert] {
        let key = action.as_str();
        let first = appended(&log, update(key, "size", Some("Small"))).await;
        let row = appended(&log, event(action, key, None, None)).await;
        for (column, expected) in [("size", seen(first)), ("damage", Expected::Seen(None))] {
            match append_one(&log, update(key, column, Some("x")), expected).await {
                Outcome::Conflict(event) => assert_eq!(event.id, row),
                other => panic!("{other:?}"),
            }
        }
        let outcome = append_one(&log, update(key, "damage", Some("x")), seen(row)).await;
        assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
    }
}

pub async fn a_delete_conflicts_with_any_later_event_of_the_row(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let size = appended(&log, update("1", "size", Some("Small"))).await;
    let damage = appended(&log, update("1", "damage", Some("Minor"))).await;
    for action in [Action::Delete, Action::Revert] {
        match append_one(&log, event(action, "1", None, None), seen(size)).await {
            Outcome::Conflict(event) => assert_eq!(event.id, damage),
            other => panic!("{other:?}"),
        }
    }
    let outcome = append_one(&log, event(Action::Delete, "1", None, None), seen(damage)).await;
    assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
}

/// The events of one creation, one for each column, all made by somebody who had seen the same.
fn creation(key: &str, columns: &[&str], expected: Expected) -> Append {
    let events = columns.iter().map(|column| (event(Action::Create, key, Some(column), Some("x")), expected)).collect();
    Append { atomic: true, events }
}

pub async fn a_create_conflicts_with_a_create_that_came_in_between(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    log.append(creation("new", &["size", "damage"], Expected::Seen(None))).await.unwrap();
    let outcomes = log.append(creation("new", &["size", "cost"], Expected::Seen(None))).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Conflict(event) if event.id == EventId(1))));

    // The row is deleted; two people create it afresh, both having seen the deletion.
    let deleted = appended(&log, event(Action::Delete, "new", None, None)).await;
    let outcomes = log.append(creation("new", &["size", "cost"], seen(deleted))).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))), "{outcomes:?}");
    let outcomes = log.append(creation("new", &["cost"], seen(deleted))).await.unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Conflict(event)] if event.id == EventId(4)), "{outcomes:?}");
    assert_eq!(log.count().await.unwrap(), 5);
}

pub async fn the_columns_of_one_creation_do_not_conflict_with_each_other(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let outcomes = log.append(creation("new", &["size", "damage", "cost"], Expected::Seen(None))).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))), "{outcomes:?}");

    // One cell in sequence, and a whole life of a row, in one request.
    let mut request = creation("other", &["size"], Expected::Seen(None));
    request.events.push((update("other", "size", Some("y")), Expected::Seen(None)));
    request.events.push((event(Action::Delete, "other", None, None), Expected::Seen(None)));
    let outcomes = log.append(request).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))), "{outcomes:?}");
}

pub async fn editing_an_unset_cell_of_a_created_row_is_no_conflict(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    // Somebody who saw the creation, whose row event is its first, edits a cell that it did not set.
    log.append(creation("new", &["size", "damage"], Expected::Seen(None))).await.unwrap();
    let outcome = append_one(&log, update("new", "cost", Some("1")), seen(EventId(1))).await;
    assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
    // Somebody who did not see it has a conflict.
    let outcome = append_one(&log, update("new", "speed", Some("1")), Expected::Seen(None)).await;
    assert!(matches!(&outcome, Outcome::Conflict(event) if event.id == EventId(1)), "{outcome:?}");
}

pub async fn a_repeated_request_is_no_conflict_with_itself(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let theirs = appended(&log, update("1", "size", Some("theirs"))).await;
    let mut request = Append { atomic: false, events: Vec::new() };
    request.events.push((update("1", "damage", Some("a")), Expected::Seen(None)));
    request.events.push((update("1", "damage", Some("b")), Expected::Seen(None)));
    request.events.push((update("1", "size", Some("c")), Expected::Seen(None)));
    for attempt in 0..2 {
        let outcomes = log.append(request.clone()).await.unwrap();
        match &outcomes[..] {
            [Outcome::Appended(_), Outcome::Appended(_), Outcome::Conflict(event)] if attempt == 0 => {
                assert_eq!(event.id, theirs);
            }
            [Outcome::AlreadyThere(_), Outcome::AlreadyThere(_), Outcome::Conflict(event)] if attempt == 1 => {
                assert_eq!(event.id, theirs);
            }
            other => panic!("{other:?}"),
        }
    }
    // A further event on a cell of the request's own passes, over its events that are there already.
    request.events.push((update("1", "damage", Some("d")), Expected::Seen(None)));
    assert!(matches!(log.append(request).await.unwrap()[3], Outcome::Appended(_)));
}

pub async fn what_replay_has_seen_is_what_the_log_compares(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let columns = ["a", "b", "c"];
    let (mut replay, mut first) = (Replay::default(), None);
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 20) % below
    };
    for _ in 0..400 {
        let key = ["k1", "k2"][next(2) as usize];
        let column = columns[next(3) as usize];
        let events = match next(8) {
            0 => vec![event(Action::Delete, key, None, None)],
            1 => vec![event(Action::Revert, key, None, None)],
            2 => vec![event(Action::Create, key, None, None)],
            3 => vec![event(Action::Create, key, Some(column), Some("x")), event(Action::Create, key, Some("d"), None)],
            4 => vec![event(Action::Revert, key, Some(column), None)],
            _ => vec![update(key, column, Some("x"))],
        };
        let events = events.into_iter().map(|event| (event, Expected::Any)).collect();
        log.append(Append { atomic: true, events }).await.unwrap();

        for event in log.read_since(replay.position(), 10_000).await.unwrap() {
            first.get_or_insert(event.event_id);
            replay.push(&event);
        }
        // With what replay says was seen there is no conflict; with any less there is.
        let mut probes: Vec<(NewEvent, Option<EventId>, bool)> = Vec::new();
        let mut probe = |event: NewEvent, needed: Option<EventId>| {
            if let Some(needed) = needed {
                let less = (needed.0 > 1).then_some(EventId(needed.0 - 1));
                probes.push((NewEvent { event_id: ClientEventId(Uuid::new_v4()), ..event.clone() }, less, true));
            }
            probes.push((event, needed, false));
        };
        for key in ["k1", "k2"] {
            let Some(row) = replay.row(key) else { continue };
            for name in columns {
                probe(event(Action::Revert, key, Some(name), None), row.seen(replay.column(name)));
            }
            probe(event(Action::Delete, key, None, None), Some(row.last_event));
            probe(event(Action::Create, key, Some("a"), None), row.row_event);
        }
        // All at once, since events of one request never conflict with each other, and without appending them: a taken
        // event id makes the atomic request fail in any case.
        let mut blocker = update("blocker", "x", None);
        blocker.event_id = first.unwrap();
        let mut events: Vec<_> = probes.iter().map(|(event, seen, _)| (event.clone(), Expected::Seen(*seen))).collect();
        events.push((blocker, Expected::Any));
        let outcomes = log.append(Append { atomic: true, events }).await.unwrap();
        assert!(matches!(outcomes.last(), Some(Outcome::EventIdTaken(_))));
        for ((event, seen, expected), outcome) in probes.iter().zip(&outcomes) {
            let conflicts = matches!(outcome, Outcome::Conflict(_));
            assert_eq!(conflicts, *expected, "{event:?} {seen:?} {:?}", replay.position());
        }
    }
}

pub async fn an_id_from_beyond_the_log_counts_as_having_seen_nothing(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    appended(&log, update("1", "size", Some("Small"))).await;
    let outcome = append_one(&log, update("1", "size", None), seen(EventId(1_000))).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{outcome:?}");
}

pub async fn an_atomic_request_with_a_conflict_appends_nothing_and_names_every_conflict(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let taken = update("9", "size", Some("x"));
    appended(&log, taken.clone()).await;
    appended(&log, update("1", "size", Some("x"))).await;
    let mut other = taken.clone();
    other.value = None;
    let events = vec![
        (update("2", "size", Some("y")), Expected::Seen(None)),
        (update("1", "size", Some("y")), Expected::Seen(None)),
        (taken, Expected::Seen(None)),
        (update("3", "size", Some("y")), Expected::Seen(None)),
        (update("9", "size", Some("y")), Expected::Seen(None)),
    ];
    let outcomes = log.append(Append { atomic: true, events }).await.unwrap();
    assert!(
        matches!(
            &outcomes[..],
            [
                Outcome::NotDone,
                Outcome::Conflict(_),
                Outcome::AlreadyThere(_),
                Outcome::NotDone,
                // Its own repeated event does not count, and there is no other.
                Outcome::NotDone
            ]
        ),
        "{outcomes:?}"
    );
    let events = vec![(update("2", "size", None), Expected::Any), (other, Expected::Any)];
    let outcomes = log.append(Append { atomic: true, events }).await.unwrap();
    assert!(matches!(&outcomes[..], [Outcome::NotDone, Outcome::EventIdTaken(_)]), "{outcomes:?}");
    assert_eq!(log.count().await.unwrap(), 2);
    assert_eq!(log.read_since(None, 10).await.unwrap().len(), 2);
}

pub async fn a_request_that_is_not_atomic_appends_what_it_can(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    appended(&log, update("1", "size", Some("x"))).await;
    let events = vec![
        (update("2", "size", Some("y")), Expected::Seen(None)),
        (update("1", "size", Some("y")), Expected::Seen(None)),
        (update("3", "size", Some("y")), Expected::Seen(None)),
    ];
    let outcomes = log.append(Append { atomic: false, events }).await.unwrap();
    assert!(
        matches!(&outcomes[..], [Outcome::Appended(_), Outcome::Conflict(_), Outcome::Appended(_)]),
        "{outcomes:?}"
    );
    assert_eq!(ids(&log.read_since(None, 10).await.unwrap()), [1, 2, 3]);
    assert_eq!(log.append(Append { atomic: true, events: Vec::new() }).await.unwrap(), []);
}

pub async fn a_malformed_event_is_refused_and_takes_nobody_with_it(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let malformed = [
        event(Action::Update, "1", None, Some("x")),
        event(Action::Update, "1", None, None),
        event(Action::Update, "1", Some(""), None),
        event(Action::Delete, "1", Some("size"), None),
        event(Action::Revert, "1", Some("size"), Some("x")),
        event(Action::Create, "1", None, Some("x")),
        update(&"k".repeat(8 * 1024 + 1), "size", None),
    ];
    let mut requests = tokio::task::JoinSet::new();
    for (n, event) in malformed.into_iter().enumerate() {
        let (bad, good) = (log.clone(), log.clone());
        requests.spawn(async move {
            let events = vec![(update("2", "size", None), Expected::Any), (event, Expected::Any)];
            let refused = bad.append(Append { atomic: false, events }).await;
            assert!(matches!(refused, Err(StoreError::Malformed { .. })), "{n}: {refused:?}");
        });
        requests.spawn(async move {
            appended(&good, update("3", "size", Some(&n.to_string()))).await;
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
    let events = log.read_since(None, 100).await.unwrap();
    assert_eq!(ids(&events), (1..=7).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event.key.as_str() == "3"));
}

pub async fn requests_beyond_the_limits_are_refused(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let event = update("1", "size", None);
    let twice = vec![(event.clone(), Expected::Any), (event.clone(), Expected::Any)];
    let refused = log.append(Append { atomic: false, events: twice }).await;
    assert!(matches!(refused, Err(StoreError::EventIdTwice { event_id }) if event_id == event.event_id));
    let many = vec![(event.clone(), Expected::Any); stet_store::editlog::REQUEST_EVENTS_MAX + 1];
    let refused = log.append(Append { atomic: false, events: many }).await;
    assert!(matches!(refused, Err(StoreError::TooManyEvents { .. })));
    let long = update("1", "size", Some(&"x".repeat(stet_store::editlog::EVENT_BYTES_MAX)));
    let refused = log.append(Append { atomic: false, events: vec![(long, Expected::Any)] }).await;
    assert!(matches!(refused, Err(StoreError::EventTooLong { .. })));
    assert_eq!(log.count().await.unwrap(), 0);
}

pub async fn ids_have_no_gaps_after_requests_that_failed(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    for n in 0..10 {
        appended(&log, update("1", "size", Some(&n.to_string()))).await;
        let refused =
            vec![(update("2", "size", None), Expected::Any), (event(Action::Update, "1", None, None), Expected::Any)];
        log.append(Append { atomic: true, events: refused }).await.unwrap_err();
        let conflict =
            vec![(update("2", "size", None), Expected::Any), (update("1", "size", None), Expected::Seen(None))];
        log.append(Append { atomic: true, events: conflict }).await.unwrap();
    }
    assert_eq!(ids(&log.read_since(None, 100).await.unwrap()), (1..=10).collect::<Vec<_>>());
}

pub async fn history_is_newest_first_and_includes_events_of_the_row(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    for event in [
        update("1", "size", Some("a")),
        update("1", "damage", Some("b")),
        update("2", "size", Some("c")),
        event(Action::Delete, "1", None, None),
        event(Action::Create, "1", Some("damage"), Some("d")),
        update("1", "size", None),
    ] {
        appended(&log, event).await;
    }
    let history = async |column, before: Option<i64>, limit| {
        ids(&log.history("1", column, before.map(EventId), limit).await.unwrap())
    };
    assert_eq!(history(None, None, 100).await, [6, 5, 4, 2, 1]);
    assert_eq!(history(Some("size"), None, 100).await, [6, 4, 1]);
    assert_eq!(history(Some("size"), Some(6), 1).await, [4]);
    assert_eq!(history(Some("damage"), Some(5), 100).await, [4, 2]);
    assert_eq!(history(None, None, 2).await, [6, 5]);
    assert!(log.history("3", None, None, 100).await.unwrap().is_empty());
}

pub async fn events_about_the_log_itself_are_of_no_row(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let first = appended(&log, update("1", "user", Some("a"))).await;
    // The key of an erasure lists ids of events, and could be that of a row.
    let mut erasure = event(Action::Erase, "1", Some("user"), None);
    erasure.reason = Some("asked for".to_owned());
    let mut note = event(Action::Note, "", None, None);
    note.reason = Some("rights have changed".to_owned());
    for event in [&erasure, &note] {
        appended(&log, event.clone()).await;
    }
    assert_eq!(ids(&log.history("1", None, None, 10).await.unwrap()), [1]);
    assert_eq!(ids(&log.history("1", Some("user"), None, 10).await.unwrap()), [1]);
    assert!(log.history("", None, None, 10).await.unwrap().is_empty());
    let outcome = append_one(&log, update("1", "user", Some("b")), seen(first)).await;
    let Outcome::Appended(second) = outcome else { panic!("{outcome:?}") };
    let outcome = append_one(&log, event(Action::Delete, "1", None, None), seen(second.id)).await;
    assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
    assert_eq!(log.count().await.unwrap(), 5);
    // Without their reasons they say nothing.
    for event in [NewEvent { reason: None, ..erasure }, NewEvent { reason: None, ..note }] {
        let event = NewEvent { event_id: ClientEventId(Uuid::new_v4()), ..event };
        let refused = log.append(Append { atomic: true, events: vec![(event, Expected::Any)] }).await.unwrap_err();
        assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
    }
}

pub async fn a_scan_visits_each_event_once_up_to_its_end(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    // More than are read at a time.
    for _ in 0..3 {
        let events = (0..4_000).map(|n| (update(&n.to_string(), "size", None), Expected::Any)).collect();
        log.append(Append { atomic: false, events }).await.unwrap();
    }
    let reader = backend.reader(&strikes());
    let scan = |after: Option<i64>, up_to: Option<i64>, breaking_at: i64| {
        let mut visited = Vec::new();
        let last = reader
            .scan(after.map(EventId), up_to.map(EventId), &mut |event| {
                visited.push(event.id.0);
                if event.id.0 == breaking_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        (visited, last.map(|id| id.0))
    };
    assert_eq!(scan(None, None, 0), ((1..=12_000).collect(), Some(12_000)));
    assert_eq!(scan(Some(4_000), Some(9_000), 0), ((4_001..=9_000).collect(), Some(9_000)));
    assert_eq!(scan(Some(10), None, 15), ((11..=15).collect(), Some(15)));
    assert_eq!(scan(Some(12_000), None, 0), (vec![], Some(12_000)));
    assert_eq!(reader.position().unwrap(), Some(EventId(12_000)));
    assert_eq!(reader.count().unwrap(), 12_000);
    assert_eq!(ids(&reader.history("7", None, None, 10).unwrap()), [8_008, 4_008, 8]);
    assert_eq!(log.reader().unwrap().read_since(Some(EventId(11_998)), 10).unwrap().len(), 2);
}

pub async fn editlogs_of_one_place_are_apart(backend: &impl Backend) {
    let editlogs = backend.open(EditlogSettings::default());
    let strikes = editlogs.initialise(&strikes()).await.unwrap();
    let matches = editlogs.initialise(&dataset("airport-matches")).await.unwrap();
    let event = update("1", "size", Some("x"));
    appended(&strikes, event.clone()).await;
    appended(&strikes, update("2", "size", None)).await;
    // The same event id is free in another log.
    assert_eq!(appended(&matches, event).await, EventId(1));
    assert_eq!((strikes.count().await.unwrap(), matches.count().await.unwrap()), (2, 1));
    assert_eq!(editlogs.originals().await.unwrap(), [dataset("airport-matches"), dataset("strikes")]);
    assert_eq!(*matches.watch().borrow(), Some(EventId(1)));
}

pub async fn initialising_twice_keeps_the_log(backend: &impl Backend) {
    let editlogs = backend.open(EditlogSettings::default());
    assert!(!editlogs.is_initialised(&strikes()).await.unwrap());
    appended(&editlogs.initialise(&strikes()).await.unwrap(), update("1", "size", None)).await;
    let again = backend.open(EditlogSettings::default());
    assert!(again.is_initialised(&strikes()).await.unwrap());
    assert_eq!(again.initialise(&strikes()).await.unwrap().count().await.unwrap(), 1);
    assert_eq!(again.editlog(&strikes()).await.unwrap().original(), &strikes());
}

pub async fn an_unknown_editlog_is_said_to_be_missing(backend: &impl Backend) {
    let editlogs = backend.open(EditlogSettings::default());
    for _ in 0..2 {
        let missing = editlogs.editlog(&dataset("airports")).await;
        assert!(matches!(&missing, Err(StoreError::NotInitialised { original }) if original.as_str() == "airports"));
        editlogs.initialise(&strikes()).await.unwrap();
    }
}

pub async fn a_watcher_sees_own_commits_and_those_of_others(backend: &impl Backend) {
    let ours = strikes_log(backend).await;
    let theirs = strikes_log(backend).await;
    let mut watch = ours.watch();
    assert_eq!(*watch.borrow_and_update(), None);
    let own = appended(&ours, update("1", "size", None)).await;
    // Before the answer, so that whoever has the answer finds the position there.
    assert_eq!(*watch.borrow_and_update(), Some(own));
    let other = appended(&theirs, update("1", "damage", None)).await;
    tokio::time::timeout(Duration::from_secs(1), watch.wait_for(|position| *position == Some(other)))
        .await
        .expect("edits of others appear within a second")
        .unwrap();
    // Who opens the log now begins at its end.
    assert_eq!(*strikes_log(backend).await.watch().borrow(), Some(other));
}

pub async fn concurrent_appends_are_each_there_once(backend: &impl Backend) {
    // Two handles, as of two processes, and each event sent twice.
    let logs = [strikes_log(backend).await, strikes_log(backend).await];
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let event = update(&(n % 7).to_string(), "size", Some(&n.to_string()));
        for log in &logs {
            let (log, event) = (log.clone(), event.clone());
            tasks.spawn(async move { append_one(&log, event, Expected::Any).await });
        }
    }
    let (mut appended, mut there) = (HashSet::new(), HashSet::new());
    while let Some(outcome) = tasks.join_next().await {
        match outcome.unwrap() {
            Outcome::Appended(event) => assert!(appended.insert(event.id)),
            Outcome::AlreadyThere(event) => assert!(there.insert(event.id)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(appended.len(), 64);
    assert_eq!(appended, there);
    assert_eq!(ids(&logs[0].read_since(None, 1000).await.unwrap()), (1..=64).collect::<Vec<_>>());
}

pub async fn readers_see_a_prefix_of_the_log_while_it_is_written(backend: &impl Backend) {
    let log = strikes_log(backend).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let log = log.clone();
        writers.spawn(async move {
            for n in 0..10 {
                appended(&log, update(&writer.to_string(), "size", Some(&n.to_string()))).await;
            }
        });
    }
    let reads = tokio::spawn({
        let log = log.clone();
        async move {
            let mut reads: Vec<Vec<Event>> = Vec::new();
            while reads.last().is_none_or(|events| events.len() < 160) {
                reads.push(log.read_since(None, 1000).await.unwrap());
            }
            reads
        }
    });
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let reads = Arc::new(reads.await.unwrap());
    let whole = log.read_since(None, 1000).await.unwrap();
    assert!(reads.iter().all(|read| whole.starts_with(read)));
}
