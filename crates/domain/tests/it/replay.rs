//! Replay and apply against a naive reference that keeps whole rows and does what the design says, word for word.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stet_domain::apply::{Apply, EditableColumn, RowOutcome, Standing, standing};
use stet_domain::replay::Replay;
use stet_domain::value::ColumnType;
use stet_domain::{Action, ClientEventId, Event, EventId, Key, LogDate, Login, Source};
use uuid::Uuid;

fn event(id: i64, action: Action, key: &str, column: Option<&str>, value: Option<&str>, saw: Option<&str>) -> Event {
    Event {
        id: EventId(id),
        date: LogDate::from_micros(id * 1_000),
        user: Login::new("ana").unwrap(),
        action,
        key: Key::from_text(key),
        column_name: column.map(str::to_owned),
        value: value.map(str::to_owned),
        previous: saw.map(str::to_owned),
        batch_id: Uuid::nil(),
        source: Source::Grid,
        reason: None,
        event_id: ClientEventId(Uuid::from_u128(id as u128)),
    }
}

fn update(id: i64, key: &str, value: Option<&str>, saw: Option<&str>) -> Event {
    event(id, Action::Update, key, Some("size"), value, saw)
}

fn columns() -> Vec<EditableColumn> {
    ["size", "species"].map(|name| EditableColumn { name: name.to_owned(), column_type: ColumnType::Text }).to_vec()
}

type Row = (String, [Option<String>; 2]);

/// What `domain` makes of an original and a log.
fn applied(original: &[Row], events: &[Event]) -> (Vec<Row>, u64) {
    let columns = columns();
    let replay = Replay::of(events);
    let mut apply = Apply::new(&replay, &columns);
    let mut rows = Vec::new();
    for (key, cells) in original {
        let mut cells = cells.clone();
        if let Some(row) = replay.row(key) {
            match apply.original_row(key, row, |place| cells[place].clone()) {
                RowOutcome::Deleted => continue,
                RowOutcome::Cells(changes) => {
                    for (place, value) in changes {
                        cells[place] = value.map(|value| value.to_string());
                    }
                }
            }
        }
        rows.push((key.clone(), cells));
    }
    let known = |key: &str| original.iter().any(|(original, _)| original == key);
    assert_eq!(replay.has_created(), !replay.created_rows().is_empty());
    for (key, row) in replay.created_rows() {
        if !known(key) {
            let mut cells = [None, None];
            for (place, value) in apply.created_row(key, row) {
                cells[place] = value.map(|value| value.to_string());
            }
            rows.push((key.to_string(), cells));
        }
    }
    for (key, row) in replay.rows() {
        if !known(key) && !row.is_created() {
            apply.missing_row(key, row);
        }
    }
    (rows, apply.finish().orphans.count)
}

/// The reference: events are done one by one to a copy of the rows.
fn naive(original: &[Row], events: &[Event]) -> Vec<Row> {
    #[derive(Clone, Default)]
    struct State {
        cells: BTreeMap<String, Option<String>>,
        deleted: bool,
        created: Option<i64>,
    }
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    for event in events.iter().filter(|event| event.action.is_edit()) {
        let state = states.entry(event.key.to_string()).or_default();
        match event.action {
            Action::Update => {
                state.cells.insert(event.column_name.clone().unwrap(), event.value.clone());
            }
            Action::Create => {
                if state.deleted {
                    *state = State::default();
                }
                state.created.get_or_insert(event.id.0);
                if let Some(column) = &event.column_name {
                    state.cells.insert(column.clone(), event.value.clone());
                }
            }
            Action::Delete => state.deleted = true,
            Action::Revert => match &event.column_name {
                Some(column) => {
                    state.cells.remove(column);
                }
                None => *state = State::default(),
            },
            Action::Erase | Action::Note => unreachable!("they are no edits"),
        }
    }
    let write = |state: &State, cells: &mut [Option<String>; 2]| {
        for (place, column) in columns().iter().enumerate() {
            if let Some(value) = state.cells.get(&column.name) {
                cells[place] = value.clone();
            }
        }
    };
    let mut rows = Vec::new();
    for (key, cells) in original {
        let mut cells = cells.clone();
        if let Some(state) = states.get(key) {
            if state.deleted {
                continue;
            }
            write(state, &mut cells);
        }
        rows.push((key.clone(), cells));
    }
    let mut created: Vec<_> = states
        .iter()
        .filter(|(key, state)| state.created.is_some() && !state.deleted && original.iter().all(|(k, _)| k != *key))
        .collect();
    created.sort_by_key(|(_, state)| state.created);
    for (key, state) in created {
        let mut cells = [None, None];
        write(state, &mut cells);
        rows.push((key.clone(), cells));
    }
    rows
}

fn any_event() -> impl Strategy<Value = (u8, u8, bool, Option<u8>, bool)> {
    (0u8..8, 0u8..8, any::<bool>(), proptest::option::of(0u8..4), any::<bool>())
}

proptest! {
    #[test]
    fn replay_and_apply_equal_the_naive_reference(edits in proptest::collection::vec(any_event(), 0..60)) {
        let original: Vec<Row> = (0..5)
            .map(|row| (row.to_string(), [Some("Small".to_owned()), (row % 2 == 0).then(|| "Gull".to_owned())]))
            .collect();
        let values = ["", "NA", "Large", "a\"b,\n😀"];
        let events: Vec<Event> = edits
            .iter()
            .enumerate()
            .map(|(index, (kind, key, second, value, whole))| {
                let column = if *second { "species" } else { "size" };
                let (action, column) = match kind {
                    0 => (Action::Delete, None),
                    1 => (Action::Create, (!whole).then_some(column)),
                    2 => (Action::Revert, (!whole).then_some(column)),
                    _ => (Action::Update, Some(column)),
                };
                let value = value.map(|value| values[usize::from(value)]);
                event(index as i64 + 1, action, &key.to_string(), column, value, None)
            })
            .collect();
        prop_assert_eq!(applied(&original, &events).0, naive(&original, &events));
    }
}

#[test]
fn an_emptied_cell_is_an_edit_and_not_the_same_as_no_edit() {
    let original = [("1".to_owned(), [Some("Small".to_owned()), None])];
    let (rows, _) = applied(&original, &[update(1, "1", None, Some("Small"))]);
    assert_eq!(rows[0].1[0], None);
}

#[test]
fn a_create_after_a_delete_starts_afresh() {
    let log = [
        event(1, Action::Create, "9", Some("size"), Some("Large"), None),
        event(2, Action::Delete, "9", None, None, None),
        event(3, Action::Create, "9", Some("species"), Some("Gull"), None),
    ];
    assert_eq!(applied(&[], &log).0, [("9".to_owned(), [None, Some("Gull".to_owned())])]);
    assert_eq!(Replay::of(&log).row("9").unwrap().first_action, Action::Create);
}

#[test]
fn created_rows_stand_in_order_of_creation() {
    let log = ["z", "a", "m"]
        .iter()
        .enumerate()
        .map(|(index, key)| event(index as i64 + 1, Action::Create, key, None, None, None))
        .collect::<Vec<_>>();
    let keys: Vec<String> = applied(&[], &log).0.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["z", "a", "m"]);
}

#[test]
fn an_override_whose_row_is_gone_is_an_orphan_and_one_of_a_deleted_creation_is_not() {
    let log = [
        update(1, "gone", Some("Large"), Some("Small")),
        event(2, Action::Delete, "also gone", None, None, None),
        event(3, Action::Create, "new", Some("size"), Some("x"), None),
        event(4, Action::Delete, "new", None, None, None),
    ];
    assert_eq!(applied(&[], &log).1, 2);
}

#[test]
fn standing_compares_the_original_with_what_the_first_author_saw() {
    let log = [update(1, "1", Some("B"), Some("A")), update(2, "1", Some("C"), Some("B"))];
    let replay = Replay::of(&log);
    let (_, _, overriding) = replay.row("1").unwrap().overrides().next().unwrap();
    assert_eq!(standing(overriding, Some("A")), Standing::Needed);
    assert_eq!(standing(overriding, Some("C")), Standing::Agrees);
    assert_eq!(standing(overriding, Some("B")), Standing::SourceChanged);
    assert_eq!(standing(overriding, None), Standing::SourceChanged);
}

#[test]
fn keeping_an_override_over_a_changed_source_settles_the_change() {
    let log = [update(1, "1", Some("B"), Some("A")), update(2, "1", Some("B"), Some("A2"))];
    let replay = Replay::of(&log);
    let (_, _, overriding) = replay.row("1").unwrap().overrides().next().unwrap();
    assert_eq!(standing(overriding, Some("A2")), Standing::Needed);
}

#[test]
fn the_event_to_have_seen_is_the_last_one_on_the_cell_or_its_row() {
    let mut log = vec![update(1, "1", Some("B"), Some("A"))];
    let replay = Replay::of(&log);
    let size = replay.column("size");
    assert_eq!(replay.row("1").unwrap().seen(size), Some(EventId(1)));
    assert_eq!(replay.row("1").unwrap().seen(None), None);
    log.push(event(2, Action::Revert, "1", None, None, None));
    assert_eq!(Replay::of(&log).row("1").unwrap().seen(size), Some(EventId(2)));
}

#[test]
fn a_misfit_and_an_override_of_a_column_no_longer_editable_are_listed_and_not_applied() {
    let log = [
        event(1, Action::Update, "1", Some("speed"), Some("fast"), None),
        event(2, Action::Update, "1", Some("former"), Some("x"), None),
    ];
    let replay = Replay::of(&log);
    let columns = [EditableColumn { name: "speed".to_owned(), column_type: ColumnType::Integer }];
    let mut apply = Apply::new(&replay, &columns);
    let outcome = apply.original_row("1", replay.row("1").unwrap(), |_| Some("200".to_owned()));
    assert_eq!(outcome, RowOutcome::Cells(vec![]));
    let report = apply.finish();
    assert_eq!((report.misfits.count, report.not_editable.count, report.edits_applied), (1, 1, 0));
    assert_eq!(report.misfits.items[0].value.as_deref(), Some("fast"));
}

#[test]
fn events_about_the_log_itself_touch_no_row() {
    let original = vec![("1".to_owned(), [Some("Small".to_owned()), None])];
    let edits = [update(1, "1", Some("Large"), None)];
    let with_others = [
        edits[0].clone(),
        event(2, Action::Erase, "1", Some("user,value"), None, None),
        event(3, Action::Note, "", None, None, None),
    ];
    assert_eq!(applied(&original, &edits), applied(&original, &with_others));
    let replay = Replay::of(&with_others);
    assert_eq!((replay.position(), replay.row("1").map(|row| row.last_event)), (Some(EventId(3)), Some(EventId(1))));
    assert!(replay.row("").is_none());
}
