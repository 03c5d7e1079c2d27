//! Logs that are folded in parts on disk: what is built of them is what is built of the log in memory, byte for byte.

use proptest::prelude::*;
use stet_domain::ColumnType;
use stet_domain::project::Format;
use stet_domain::replay::Replay;
use stet_engine::build::{ApplyTask, LogSpiller, ReplayTask, SpilledLog, apply, apply_spilled, replay, replay_spilled};
use stet_engine::control::Control;
use stet_engine::read::FileSource;

use crate::build_chunks::{EXOTIC, exotic, groups_of, source, step, write};
use crate::build_support::{Folder, Log, columns_of, editable};

fn spilled(folder: &Folder, log: &Log, parts: usize) -> SpilledLog {
    let mut spiller = LogSpiller::new(&folder.path("temporary"), parts).unwrap();
    for event in &log.0 {
        spiller.push(event).unwrap();
    }
    spiller.finish().unwrap()
}

/// Applies a log in both ways and compares the files and the accounts.
fn same_edited(folder: &Folder, original: &FileSource, log: &Log, columns: &[(&str, ColumnType)], parts: usize) {
    let ending = original.format.ending();
    let [whole, in_parts] = ["whole", "parts"].map(|name| folder.path(&format!("{name}.{ending}")));
    let (key, replay, editable) = (["id".to_owned()], log.replay(), editable(columns));
    let task = |output| ApplyTask {
        original,
        key: &key,
        replay: &replay,
        editable: &editable,
        earlier: None,
        output,
        format: original.format,
    };
    let expected = apply(&task(&whole), &Control::unwatched()).unwrap();
    let nothing = Replay::new();
    let task = ApplyTask { replay: &nothing, ..task(&in_parts) };
    let built = apply_spilled(&task, &spilled(folder, log, parts), &Control::unwatched()).unwrap();
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&in_parts).unwrap(), "the bytes differ");
    assert_eq!(built.report, expected.report);
    assert_eq!(built.log_position, expected.log_position);
    assert_eq!(built.output, expected.output);
    assert_eq!(built.parts.map(|parts| parts.groups), expected.parts.map(|parts| parts.groups));
}

/// The same for the replay recipe.
fn same_pivoted(folder: &Folder, log: &Log, columns: &[(&str, ColumnType)], parts: usize) {
    let [whole, in_parts] = ["whole.csv", "parts.csv"].map(|name| folder.path(name));
    let (keys, folded, editable) = (columns_of(&[("id", ColumnType::Integer)]), log.replay(), editable(columns));
    let of = |replay, output| ReplayTask {
        replay,
        keys: &keys,
        editable: &editable,
        original: None,
        output,
        format: Format::Csv,
    };
    let expected = replay(&of(&folded, whole.as_path()), &Control::unwatched()).unwrap();
    let nothing = Replay::new();
    let log = spilled(folder, log, parts);
    let built = replay_spilled(&of(&nothing, in_parts.as_path()), &log, &Control::unwatched()).unwrap();
    assert_eq!(std::fs::read_to_string(&whole).unwrap(), std::fs::read_to_string(&in_parts).unwrap());
    assert_eq!(built.report, expected.report);
    assert_eq!((built.log_position, built.output), (expected.log_position, expected.output));
}

#[test]
fn more_rows_than_a_batch_come_in_the_order_of_their_last_edits() {
    let folder = Folder::new();
    let log = (0..20_000).fold(Log::default(), |log, place| {
        // Every third row is edited again much later.
        let id = if place % 3 == 0 { place % 300 } else { place };
        log.update(&id.to_string(), "must", Some(&place.to_string()), None)
    });
    let columns = [("must", ColumnType::Integer)];
    same_pivoted(&folder, &log, &columns, 7);
    let path = folder.path("original.parquet");
    write(&path, &exotic(&(0..15_000).collect::<Vec<_>>(), false), groups_of(4_000).build());
    same_edited(&folder, &source(path), &log, &columns, 7);
}

#[test]
fn of_more_misfits_than_a_report_lists_the_same_ones_are_listed() {
    let folder = Folder::new();
    let log = (0..2_500).fold(Log::default(), |log, id| log.update(&id.to_string(), "must", Some("many"), None));
    same_pivoted(&folder, &log, &[("must", ColumnType::Integer)], 5);
    let path = folder.path("original.parquet");
    write(&path, &exotic(&(0..2_000).rev().collect::<Vec<_>>(), false), groups_of(300).build());
    same_edited(&folder, &source(path), &log, &[("must", ColumnType::Integer)], 5);
}

#[test]
fn the_temporary_files_are_gone_in_the_end() {
    let folder = Folder::new();
    let log = Log::default().update("1", "must", Some("2"), None);
    same_pivoted(&folder, &log, &[("must", ColumnType::Integer)], 3);
    assert_eq!(std::fs::read_dir(folder.path("temporary")).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_log_in_parts_gives_what_it_gives_in_memory(
        ids in proptest::sample::subsequence((0i64..60).collect::<Vec<_>>(), 0..60).prop_shuffle(),
        required in any::<bool>(),
        is_csv in any::<bool>(),
        parts in 1usize..6,
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let folder = Folder::new();
        let names = ["name", "cost", "must", "kind", "note", "gone"];
        let log = steps.iter().fold(Log::default(), |log, (kind, id, column, value)| {
            let key = id.to_string();
            match kind {
                0 => log.delete(&key),
                1 => log.revert(&key, None),
                2 => log.revert(&key, Some(names[*column])),
                3 => log.create(&key, names[*column], value.as_deref().unwrap_or("7")),
                _ => log.update(&key, names[*column], value.as_deref(), Some("5")),
            }
        });
        if is_csv {
            let rows: String = ids.iter().map(|id| format!("{id},name {id},{id}.50,{id}\n")).collect();
            let columns = [
                ("id", ColumnType::Integer),
                ("name", ColumnType::Text),
                ("cost", ColumnType::Decimal { precision: 12, scale: 2 }),
                ("must", ColumnType::Integer),
            ];
            let original = folder.csv("original", &format!("id,name,cost,must\n{rows}"), &columns);
            same_edited(&folder, &original, &log, &EXOTIC, parts);
        } else {
            let path = folder.path("original.parquet");
            write(&path, &exotic(&ids, required), groups_of(7).build());
            same_edited(&folder, &source(path), &log, &EXOTIC, parts);
        }
        same_pivoted(&folder, &log, &EXOTIC, parts);
    }
}
