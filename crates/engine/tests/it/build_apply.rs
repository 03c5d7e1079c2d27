//! Apply over files: every promise of the edited dataset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use stet_domain::ColumnType;
use stet_domain::event::Action;
use stet_domain::project::{CsvForm, Format};
use stet_engine::build::{ApplyTask, apply, check_keys, edited_columns};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::read::FileSource;

use crate::build_support::{Folder, Log, build, columns_of, editable, rows_in, rows_of};

const COLUMNS: [(&str, ColumnType); 5] = [
    ("id", ColumnType::Integer),
    ("name", ColumnType::Text),
    ("cost", ColumnType::Number),
    ("seen", ColumnType::Boolean),
    ("day", ColumnType::Date),
];
const EDITABLE: [(&str, ColumnType); 4] =
    [("name", ColumnType::Text), ("cost", ColumnType::Number), ("day", ColumnType::Date), ("note", ColumnType::Text)];
const ORIGINAL: &str = "id,name,cost,seen,day\n\
    10,gull,1.5,true,2001-02-03\n\
    20,\"crow, \"\"black\"\"\",,false,\n\
    9223372036854775807,owl,3,,2001-02-05\n";

#[test]
fn every_row_and_column_stays_and_overrides_stand_in_place() {
    let folder = Folder::new();
    let original = folder.csv("strikes", ORIGINAL, &COLUMNS);
    let log = Log::default()
        .update("20", "name", Some("it's \"=1+1\",\n😀 שלום"), Some("crow, \"black\""))
        .update("9223372036854775807", "cost", Some("-0"), Some("3"))
        .update("10", "day", None, Some("2001-02-03"))
        .update("10", "note", Some("NA"), None);
    for ending in ["csv", "parquet", "jsonl"] {
        let output = folder.path(&format!("edited.{ending}"));
        let built = build(&original, &["id"], &log, &editable(&EDITABLE), &output).unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            rows_in(&output),
            [
                vec![some("10"), some("gull"), some("1.5"), some("true"), None, some("NA")],
                vec![some("20"), some("it's \"=1+1\",\n😀 שלום"), None, some("false"), None, None],
                vec![some("9223372036854775807"), some("owl"), some("-0"), None, some("2001-02-05"), None],
            ],
            "{ending}"
        );
        assert_eq!(built.report.edits_applied, 4);
        assert_eq!(built.report.stale.needed, 4);
        assert_eq!((built.report.rows_in, built.report.rows_out), (3, 3));
        assert_eq!(built.output.file.bytes, std::fs::metadata(&output).unwrap().len());
    }
    let columns = edited_columns(&columns_of(&COLUMNS), &editable(&EDITABLE));
    assert_eq!(columns.last().map(|column| column.name.as_str()), Some("note"));
}

#[test]
fn deleted_rows_go_created_ones_follow_in_order_and_reverted_ones_come_back() {
    let folder = Folder::new();
    let original = folder.csv("strikes", ORIGINAL, &COLUMNS);
    let log = Log::default()
        .create("7", "name", "second")
        .create("3", "name", "third")
        .update("7", "cost", Some("2"), None)
        .delete("10")
        .update("20", "name", Some("x"), Some("y"))
        .revert("20", Some("name"))
        .create("5", "name", "gone")
        .delete("5")
        .delete("9223372036854775807")
        .revert("9223372036854775807", None);
    let output = folder.path("edited.parquet");
    let built = build(&original, &["id"], &log, &editable(&EDITABLE), &output).unwrap();
    let names: Vec<_> = rows_in(&output).into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone())).collect();
    let expected = [("20", "crow, \"black\""), ("9223372036854775807", "owl"), ("7", "second"), ("3", "third")];
    assert_eq!(names, expected.map(|(key, name)| (key.to_owned(), Some(name.to_owned()))));
    assert_eq!((built.report.rows_created, built.report.rows_deleted), (2, 1));
    assert_eq!(built.report.orphans.count, 0);
}

#[test]
fn nothing_is_lost_silently() {
    let folder = Folder::new();
    let original = folder.csv("strikes", ORIGINAL, &COLUMNS);
    let log = Log::default()
        .update("99", "name", Some("orphan"), None)
        .delete("98")
        .update("10", "cost", Some("a lot"), Some("1.5"))
        .update("10", "seen", Some("false"), Some("true"))
        .update("10", "name", Some("gull"), Some("gul"))
        .update("20", "name", Some("rook"), Some("crow"))
        .create("seven", "name", "no number")
        .update("010", "name", Some("not the key of row 10"), None);
    let output = folder.path("edited.csv");
    let report = build(&original, &["id"], &log, &editable(&EDITABLE), &output).unwrap().report;
    let listed = |list: &stet_domain::apply::ReportList| -> Vec<String> {
        list.items.iter().map(|item| format!("{} {}", item.event, item.key)).collect()
    };
    assert_eq!(listed(&report.orphans), ["1 99", "2 98", "8 010"]);
    assert_eq!(listed(&report.misfits), ["3 10", "7 seven"]);
    assert_eq!(listed(&report.not_editable), ["4 10"]);
    assert_eq!(
        (report.stale.needed, report.stale.agrees, report.stale.source_changed, report.stale.orphan),
        (0, 1, 1, 3)
    );
    assert_eq!(report.edits_applied, 2);
    assert_eq!(report.rows_out, 3);
}

#[test]
fn a_value_that_the_files_narrow_type_cannot_hold_is_a_misfit() {
    use arrow_array::{Int16Array, Int32Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    let folder = Folder::new();
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("small", DataType::Int16, false),
    ]));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(Int16Array::from(vec![5, 6]))],
    );
    let path = folder.path("narrow.parquet");
    let batches = stet_engine::read::Batches { schema, batches: Box::new([Ok(batch.unwrap())].into_iter()) };
    stet_engine::write::write_file(&path, batches, Format::Parquet.into(), &Control::unwatched()).unwrap();
    let original = stet_engine::read::FileSource {
        dataset: "narrow".into(),
        path,
        format: Format::Parquet,
        csv: CsvForm::default(),
        columns: None,
    };
    let log = Log::default().update("1", "small", Some("70000"), Some("5")).update("2", "small", None, Some("6"));
    let output = folder.path("edited.parquet");
    let built = build(&original, &["id"], &log, &editable(&[("small", ColumnType::Integer)]), &output).unwrap();
    assert_eq!(rows_in(&output), [vec![Some("1".into()), Some("5".into())], vec![Some("2".into()), None]]);
    assert_eq!((built.report.misfits.count, built.report.edits_applied, built.report.stale.needed), (1, 1, 1));
    let edited = stet_engine::read::FileSource { path: output, ..original };
    assert_eq!(edited.arrow_schema().unwrap().field(1).data_type(), &DataType::Int16);
}

#[test]
fn a_key_of_two_columns_finds_its_row_by_both() {
    let folder = Folder::new();
    let columns = [("port", ColumnType::Text), ("day", ColumnType::Date), ("n", ColumnType::Integer)];
    let text = "port,day,n\n\"a\"\"b\",2001-01-01,1\n\"a\"\"b\",2001-01-02,2\nc,2001-01-01,3\n";
    let original = folder.csv("flights", text, &columns);
    let log = Log::default()
        .update("[\"a\\\"b\",\"2001-01-02\"]", "n", Some("20"), Some("2"))
        .create("[\"d\",\"2001-01-09\"]", "n", "4")
        .update("[\"c\"]", "n", Some("9"), None);
    let output = folder.path("edited.csv");
    let built = build(&original, &["port", "day"], &log, &editable(&[("n", ColumnType::Integer)]), &output).unwrap();
    assert_eq!(
        std::fs::read_to_string(&output).unwrap(),
        "port,day,n\n\"a\"\"b\",2001-01-01,1\n\"a\"\"b\",2001-01-02,20\nc,2001-01-01,3\nd,2001-01-09,4\n"
    );
    assert_eq!(built.report.orphans.count, 1);
}

#[test]
fn an_original_without_keys_of_its_rows_own_is_refused_with_the_rows() {
    let folder = Folder::new();
    let mut text = String::from("id,name\n");
    for row in 1..=60 {
        text.push_str(&if row % 30 == 7 { format!(",null{row}\n") } else { format!("{},x\n", row / 2) });
    }
    let columns = [("id", ColumnType::Integer), ("name", ColumnType::Text)];
    let original = folder.csv("strikes", &text, &columns);
    let output = folder.path("edited.csv");
    std::fs::write(&output, "old").unwrap();
    let error = build(&original, &["id"], &Log::default(), &[], &output).unwrap_err().to_string();
    assert!(error.contains("2 row(s) have no value in the key column(s) `id`: row 7, 37"), "{error}");
    assert!(
        error.contains("27 key(s) of `id` are those of several rows: `1` in rows 2, 3; `2` in rows 4, 5"),
        "{error}"
    );
    assert_eq!(error.matches(" in rows ").count(), 20);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "old");
    assert_eq!(folder.files(), ["edited.csv", "strikes.csv"]);
    assert!(matches!(check_keys(&original, &["id".into()], &Control::unwatched()), Err(EngineError::Keys { .. })));
    let missing = build(&original, &["nr"], &Log::default(), &[], &output).unwrap_err().to_string();
    assert!(missing.contains("`nr`") && missing.contains("id, name"), "{missing}");
}

#[test]
fn the_same_original_and_log_position_give_the_same_bytes() {
    let folder = Folder::new();
    let csv = folder.csv("strikes", ORIGINAL, &COLUMNS);
    for format in [Format::Csv, Format::Parquet, Format::Jsonl] {
        let original = if format == Format::Csv { csv.clone() } else { folder.convert(&csv, format) };
        let log = Log::default().update("10", "name", Some("x"), None).create("1", "name", "n").delete("20");
        let outputs = ["one", "two"].map(|name| folder.path(&format!("{name}.{}", format.ending())));
        let hashes = outputs
            .each_ref()
            .map(|output| build(&original, &["id"], &log, &editable(&EDITABLE), output).unwrap().output.file.sha256);
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(std::fs::read(&outputs[0]).unwrap(), std::fs::read(&outputs[1]).unwrap());
    }
}

#[test]
fn a_cancelled_build_leaves_the_old_output_whole_and_nothing_else() {
    let folder = Folder::new();
    let rows: String = (0..100_000).map(|row| format!("{row},n,1,true,\n")).collect();
    let original = folder.csv("strikes", &format!("id,name,cost,seen,day\n{rows}"), &COLUMNS);
    let output = folder.path("edited.csv");
    std::fs::write(&output, "old").unwrap();
    let cancel = Arc::new(AtomicBool::new(false));
    let control = Control::new(cancel.clone(), move |progress| cancel.store(progress.rows_done > 0, Ordering::Relaxed));
    let replay = Log::default().replay();
    let task = ApplyTask {
        original: &original,
        key: &["id".to_owned()],
        replay: &replay,
        editable: &[],
        earlier: None,
        output: &output,
        format: Format::Csv,
    };
    assert!(matches!(apply(&task, &control), Err(EngineError::Cancelled)));
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "old");
    assert_eq!(folder.files(), ["edited.csv", "strikes.csv"]);
}

/// Names the folder for the process that has no room: see the test below.
#[cfg(unix)]
const NO_ROOM: &str = "STET_TEST_NO_ROOM";

#[cfg(unix)]
#[test]
fn a_disk_without_room_is_told_and_leaves_the_old_output_whole() {
    let original_of = |folder: &Folder| {
        let rows: String = (0..40_000).map(|row| format!("{row},name {},1,true,\n", row * 7919 % 40_001)).collect();
        folder.csv("strikes", &format!("id,name,cost,seen,day\n{rows}"), &COLUMNS)
    };
    if let Some(output) = std::env::var_os(NO_ROOM) {
        // This is the process without room: none of its files can grow beyond a few blocks.
        let output = std::path::PathBuf::from(output);
        let original = FileSource {
            dataset: "strikes".into(),
            path: output.with_file_name("strikes.csv"),
            format: Format::Csv,
            csv: CsvForm::default(),
            columns: Some(columns_of(&COLUMNS)),
        };
        let error = build(&original, &["id"], &Log::default(), &[], &output).unwrap_err();
        let EngineError::Io { path, .. } = &error else { panic!("{error:?}") };
        assert_eq!(path.file_name(), output.file_name(), "{error}");
        return;
    }
    for name in ["edited.csv", "edited.parquet", "edited.jsonl"] {
        let folder = Folder::new();
        original_of(&folder);
        let output = folder.path(name);
        std::fs::write(&output, "old").unwrap();
        // A limit on the size of files is what a full disk is to whoever writes: the first block too many fails.
        let done = std::process::Command::new("bash")
            .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg("build_apply::a_disk_without_room_is_told_and_leaves_the_old_output_whole")
            .env(NO_ROOM, &output)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && told.contains("1 passed"), "{name}: {told}");
        assert_eq!(std::fs::read_to_string(&output).unwrap(), "old");
        assert_eq!(folder.files(), [name, "strikes.csv"]);
    }
}

#[test]
fn a_broken_original_leaves_the_old_output_whole() {
    let folder = Folder::new();
    let original = folder.csv("strikes", "id,name,cost,seen,day\n1,a,2,true,\n2,b,not a number,true,\n", &COLUMNS);
    let output = folder.path("edited.csv");
    std::fs::write(&output, "old").unwrap();
    let error = build(&original, &["id"], &Log::default(), &[], &output).unwrap_err().to_string();
    assert!(error.contains("line 3"), "{error}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "old");
    assert_eq!(folder.files(), ["edited.csv", "strikes.csv"]);
}

/// A row of the model: what a person who applies the log by hand would keep.
#[derive(Default, Clone)]
struct ModelRow {
    cells: BTreeMap<String, Option<String>>,
    deleted: bool,
    created: Option<usize>,
}

fn model(original: &[Vec<Option<String>>], columns: &[&str], log: &Log) -> Vec<Vec<Option<String>>> {
    let mut rows: BTreeMap<String, ModelRow> = BTreeMap::new();
    for (place, event) in log.0.iter().enumerate() {
        let row = rows.entry(event.key.as_str().to_owned()).or_default();
        match (event.action, &event.column_name) {
            (Action::Update, Some(column)) => drop(row.cells.insert(column.clone(), event.value.clone())),
            (Action::Create, Some(column)) => {
                if row.deleted {
                    *row = ModelRow::default();
                }
                row.created.get_or_insert(place);
                row.cells.insert(column.clone(), event.value.clone());
            }
            (Action::Delete, _) => row.deleted = true,
            (Action::Revert, Some(column)) => drop(row.cells.remove(column)),
            (Action::Revert, None) => *row = ModelRow::default(),
            other => panic!("{other:?}"),
        }
    }
    let apply = |mut cells: Vec<Option<String>>, row: &ModelRow| {
        for (column, value) in &row.cells {
            let place = columns.iter().position(|name| name == column).unwrap();
            cells[place].clone_from(value);
        }
        cells
    };
    let mut result = Vec::new();
    for cells in original {
        let mut cells = cells.clone();
        cells.resize(columns.len(), None);
        match rows.remove(cells[0].as_deref().unwrap()) {
            Some(row) if row.deleted => {}
            Some(row) => result.push(apply(cells, &row)),
            None => result.push(cells),
        }
    }
    let mut created: Vec<_> = rows.iter().filter(|(_, row)| row.created.is_some() && !row.deleted).collect();
    created.sort_by_key(|(_, row)| row.created);
    for (key, row) in created {
        let mut cells = vec![None; columns.len()];
        cells[0] = Some(key.clone());
        result.push(apply(cells, row));
    }
    result
}

fn step() -> impl Strategy<Value = (u8, i64, usize, Option<String>)> {
    let value = prop_oneof![
        Just(None),
        Just(Some("NA".to_owned())),
        Just(Some("a,\"b\"\n".to_owned())),
        "[a-z😀ß]{1,4}".prop_map(Some),
    ];
    (0u8..10, 0i64..14, 0usize..2, value)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_edits_over_any_format_give_what_applying_them_by_hand_gives(
        rows in proptest::collection::btree_map(0i64..10, proptest::option::of("[a-z ,]{1,5}"), 0..10),
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let folder = Folder::new();
        let columns = [("id", ColumnType::Integer), ("name", ColumnType::Text)];
        let editable_columns = [("name", ColumnType::Text), ("note", ColumnType::Text)];
        let mut text = String::from("id,name\n");
        // In an order that is not that of the keys.
        for (id, name) in rows.iter().rev() {
            text.push_str(&format!("{id},{}\n", name.as_ref().map(|n| format!("\"{n}\"")).unwrap_or_default()));
        }
        let csv = folder.csv("strikes", &text, &columns);
        let log = steps.iter().fold(Log::default(), |log, (kind, key, column, value)| {
            let (key, column) = (key.to_string(), ["name", "note"][*column]);
            match kind {
                0 => log.delete(&key),
                1 => log.revert(&key, None),
                2 => log.revert(&key, Some(column)),
                3 | 4 => log.create(&key, column, value.as_deref().unwrap_or("new")),
                _ => log.update(&key, column, value.as_deref(), None),
            }
        });
        let expected = model(&rows_of(&csv), &["id", "name", "note"], &log);
        for format in [Format::Csv, Format::Parquet, Format::Jsonl] {
            let original = if format == Format::Csv { csv.clone() } else { folder.convert(&csv, format) };
            let output = folder.path("edited.parquet");
            let built = build(&original, &["id"], &log, &editable(&editable_columns), &output).unwrap();
            prop_assert_eq!(rows_in(&output), expected.clone());
            prop_assert_eq!(built.report.rows_out as usize, expected.len());
        }
    }
}
