//! Replay, exports and manifests over files.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float32Array, Int8Array, RecordBatch, TimestampNanosecondArray};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ArrowWriter;
use stet_domain::ColumnType;
use stet_domain::event::EventId;
use stet_domain::project::{CsvForm, Format};
use stet_engine::build::{OriginalColumns, ReplayTask, export, pivoted_schema, replay, write_events};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::manifest::{InputStamp, MANIFEST_VERSION, Manifest, OutputStamp, Present, RecipeStamp, StaleReason};
use stet_engine::read::FileSource;
use stet_engine::write::{Formulas, OutputFormat, WriteOptions};

use crate::build_support::{Folder, Log, columns_of, editable, rows_in};

#[test]
fn the_pivoted_log_has_a_row_for_each_key_and_tells_emptied_from_not_edited() {
    let folder = Folder::new();
    let log = Log::default()
        .update("2", "cost", Some("1.50"), Some("1"))
        .update("1", "name", None, Some("a"))
        .create("3", "name", "new")
        .update("2", "cost", Some("many"), Some("1.50"))
        .update("2", "gone", Some("x"), None)
        .update("4", "name", Some("x"), None)
        .revert("4", None);
    let state = log.replay();
    let keys = columns_of(&[("id", ColumnType::Integer)]);
    let columns = editable(&[("name", ColumnType::Text), ("cost", ColumnType::Number)]);
    let output = folder.path("pivoted.jsonl");
    let format = Format::Jsonl;
    let task = ReplayTask { replay: &state, keys: &keys, editable: &columns, original: None, output: &output, format };
    let built = replay(&task, &Control::unwatched()).unwrap();
    let text = std::fs::read_to_string(&output).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[0],
        serde_json::json!({
            "id": 1, "name": null, "cost": null, "last_edit_date": "2023-11-14T22:13:20.000002Z",
            "last_action": "update", "first_action": "update", "last_user": "ada", "edited_columns": "[\"name\"]",
        })
    );
    let of = |line: &serde_json::Value| (line["id"].as_i64(), line["edited_columns"].as_str().unwrap().to_owned());
    assert_eq!(
        lines.iter().map(of).collect::<Vec<_>>(),
        [(Some(1), "[\"name\"]"), (Some(3), "[\"name\"]"), (Some(2), "[\"cost\"]"), (Some(4), "[]")]
            .map(|(id, columns)| (id, columns.to_owned()))
    );
    assert_eq!((built.report.misfits.count, built.report.not_editable.count), (1, 1));
    assert_eq!(built.log_position, Some(EventId(7)));
    assert_eq!(built.report.rows_out, 4);
}

#[test]
fn the_pivoted_log_has_the_exact_types_of_a_parquet_original() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let columns: [(&str, ArrayRef); 4] = [
        ("at", Arc::new(TimestampNanosecondArray::from(vec![1, 2]))),
        ("small", Arc::new(Int8Array::from(vec![1, 2]))),
        ("size", Arc::new(DictionaryArray::<Int32Type>::from_iter(["a", "b"]))),
        ("ratio", Arc::new(Float32Array::from(vec![0.5, 0.1]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let source =
        FileSource { dataset: "o".into(), path, format: Format::Parquet, csv: CsvForm::default(), columns: None };
    let original = OriginalColumns::of_files(&source).unwrap();

    let log = Log::default()
        .update("1970-01-01T00:00:00.000000001", "small", Some("7"), None)
        .update("1970-01-01T00:00:00.000000001", "ratio", Some("0.1"), None)
        .update("1970-01-01T00:00:00.000000001", "size", Some("c"), None)
        .update("1970-01-01T00:00:00.000000001", "added", Some("x"), None)
        .update("1970-01-01T00:00:00.000000002", "small", Some("300"), None);
    let state = log.replay();
    let keys = columns_of(&[("at", ColumnType::DateTime)]);
    let columns = editable(&[
        ("small", ColumnType::Integer),
        ("size", ColumnType::Text),
        ("ratio", ColumnType::Number),
        ("added", ColumnType::Text),
    ]);
    let output = folder.path("pivoted.parquet");
    let format = Format::Parquet;
    let task = ReplayTask {
        replay: &state,
        keys: &keys,
        editable: &columns,
        original: Some(&original),
        output: &output,
        format,
    };
    let built = replay(&task, &Control::unwatched()).unwrap();
    let pivoted = FileSource { path: output.clone(), ..source };
    let types: Vec<DataType> =
        pivoted.arrow_schema().unwrap().fields().iter().map(|field| field.data_type().clone()).take(5).collect();
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    assert_eq!(types, [nanoseconds, DataType::Int8, DataType::Utf8, DataType::Float32, DataType::Utf8]);
    let rows = rows_in(&output);
    let texts =
        |row: usize| -> Vec<&str> { rows[row][..5].iter().map(|cell| cell.as_deref().unwrap_or("∅")).collect() };
    assert_eq!(texts(0), ["1970-01-01T00:00:00.000000001", "7", "c", "0.1", "x"]);
    // What the edited dataset cannot hold, this one cannot either.
    assert_eq!(texts(1), ["1970-01-01T00:00:00.000000002", "∅", "∅", "∅", "∅"]);
    assert_eq!(built.report.misfits.count, 1);
    assert!(built.report.misfits.items[0].reason.contains("Int8 in the file"), "{:?}", built.report.misfits.items);
    assert_ne!(original.stamp(&keys, &columns), OriginalColumns::of_table(Vec::new()).stamp(&keys, &columns));
}

#[test]
fn a_column_with_the_name_of_what_replay_adds_keeps_it() {
    let keys = columns_of(&[("last_user", ColumnType::Text)]);
    let columns =
        pivoted_schema(&keys, &editable(&[("last_action", ColumnType::Text), ("cost", ColumnType::Number)]), None);
    let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        names,
        [
            "last_user",
            "last_action",
            "cost",
            "last_edit_date",
            "stet_last_action",
            "first_action",
            "stet_last_user",
            "edited_columns"
        ]
    );
}

#[test]
fn an_exported_log_has_every_event_and_formulas_are_defused_for_people() {
    let log = Log::default().update("a", "b", Some("=1+1"), None).delete("-1").update("a", "b", Some(""), None);
    let options = WriteOptions { format: OutputFormat::Csv, formulas: Formulas::Defuse };
    let events = || log.0.iter().cloned().map(Ok::<_, EngineError>);
    let (csv, count) = write_events(events(), Vec::new(), options, &Control::unwatched()).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!(count, 3);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "id,date,user,action,key,column_name,value,previous,batch_id,source,reason,event_id");
    assert!(lines[1].starts_with("1,2023-11-14T22:13:20.000001Z,ada,update,a,b,'=1+1,,"), "{}", lines[1]);
    assert!(lines[2].contains(",ada,delete,'-1,,,,"), "{}", lines[2]);
    assert!(lines[3].contains(",a,b,\"\",,"), "{}", lines[3]);

    let options = WriteOptions { format: OutputFormat::Json, formulas: Formulas::Keep };
    let (json, _) = write_events(events(), Vec::new(), options, &Control::unwatched()).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json[0]["value"], "=1+1");
    assert_eq!(json[1]["value"], serde_json::Value::Null);
}

#[test]
fn json_keeps_all_digits_and_tells_what_it_has_no_number_for() {
    let folder = Folder::new();
    let columns = [
        ("n", ColumnType::Integer),
        ("x", ColumnType::Number),
        ("d", ColumnType::Decimal { precision: 5, scale: 2 }),
        ("w", ColumnType::Decimal { precision: 30, scale: 2 }),
        ("t", ColumnType::Text),
    ];
    let text = "n,x,d,w,t\n9223372036854775807,NaN,1.5,12345678901234567890.12,\"a\n\"\"\"\n,-0,,,\n";
    let source = folder.csv("d", text, &columns);
    let options = WriteOptions { format: OutputFormat::Jsonl, formulas: Formulas::Keep };
    let (json, rows) = export(&source, Vec::new(), options, &Control::unwatched()).unwrap();
    assert_eq!(rows, 2);
    assert_eq!(
        String::from_utf8(json).unwrap(),
        "{\"n\":9223372036854775807,\"x\":\"NaN\",\"d\":1.50,\"w\":\"12345678901234567890.12\",\"t\":\"a\\n\\\"\"}\n\
         {\"n\":null,\"x\":-0,\"d\":null,\"w\":null,\"t\":null}\n"
    );
    let back = folder.convert(&source, Format::Jsonl);
    assert_eq!(crate::build_support::rows_of(&back), crate::build_support::rows_of(&source));
}

#[test]
fn an_empty_dataset_is_written_in_every_format() {
    let folder = Folder::new();
    let source = folder.csv("d", "a,b\n", &[("a", ColumnType::Text), ("b", ColumnType::Integer)]);
    for (format, text) in [
        (OutputFormat::Csv, Some("a,b\n")),
        (OutputFormat::Jsonl, Some("")),
        (OutputFormat::Json, Some("[]\n")),
        (OutputFormat::Parquet, None),
    ] {
        let options = WriteOptions { format, formulas: Formulas::Keep };
        let (bytes, _) = export(&source, Vec::new(), options, &Control::unwatched()).unwrap();
        if let Some(text) = text {
            assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }
    let lone = folder.csv("lone", "a\n\"x\"\n", &[("a", ColumnType::Text)]);
    folder.convert(&lone, Format::Parquet);
    assert_eq!(rows_in(&folder.path("lone.parquet")), [[Some("x".to_owned())]]);
}

#[test]
fn a_manifest_tells_in_plain_words_why_an_output_is_stale() {
    let folder = Folder::new();
    let source = folder.csv("strikes", "id\n1\n", &[("id", ColumnType::Integer)]);
    let output = folder.path("edited.csv");
    let recipe = RecipeStamp { kind: "apply".into(), definition_sha256: "a".into() };
    let sources = [source.clone()];
    let reasons = |recipe: &RecipeStamp, position: Option<i64>, sources: &[_]| -> Vec<String> {
        let present = Present { recipe, inputs: sources, log_position: position.map(EventId) };
        let reasons: Vec<StaleReason> = Manifest::stale_reasons(&output, &present).unwrap();
        reasons.iter().map(StaleReason::to_string).collect()
    };
    assert_eq!(reasons(&recipe, None, &sources), ["never built"]);
    std::fs::write(&output, "id\n1\n").unwrap();
    assert_eq!(reasons(&recipe, None, &sources), ["it is not known how the present file was made"]);
    let manifest = Manifest {
        format_version: MANIFEST_VERSION,
        stet_version: "0.1.0".into(),
        dataset: "strikes_edited".into(),
        recipe: recipe.clone(),
        inputs: vec![InputStamp::take(&source, None).unwrap()],
        log_position: Some(EventId(3)),
        output: OutputStamp { bytes: 5, sha256: "x".into(), rows: 1, columns: Vec::new(), parts: None },
        original: None,
        report: serde_json::json!({ "rows_out": 1 }),
    };
    manifest.write(&output).unwrap();
    assert_eq!(Manifest::read(&output).unwrap(), Some(manifest));
    assert_eq!(reasons(&recipe, Some(3), &sources), [""; 0]);
    assert_eq!(reasons(&recipe, Some(15), &sources), ["12 new edits"]);
    assert_eq!(reasons(&recipe, Some(4), &sources), ["1 new edit"]);
    assert_eq!(reasons(&recipe, None, &sources), ["the edits were reset"]);
    let other = RecipeStamp { kind: "sql".into(), definition_sha256: "b".into() };
    assert_eq!(reasons(&other, Some(3), &sources), ["the query has changed"]);

    // Touched, but the same bytes.
    std::fs::File::options().append(true).open(&source.path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(reasons(&recipe, Some(3), &sources), [""; 0]);
    // Copied to another folder, with the node.
    let mut copy = source.clone();
    copy.path = folder.path("copy").join("strikes.csv");
    std::fs::create_dir(folder.path("copy")).unwrap();
    std::fs::copy(&source.path, &copy.path).unwrap();
    assert_eq!(reasons(&recipe, Some(3), &[copy]), [""; 0]);
    std::fs::write(&source.path, "id\n2\n").unwrap();
    assert_eq!(reasons(&recipe, Some(3), &sources), ["`strikes` has changed"]);
    std::fs::remove_file(&source.path).unwrap();
    assert_eq!(reasons(&recipe, Some(3), &sources), ["`strikes` has no data"]);
    std::fs::write(Manifest::path_of(&output), "{ half").unwrap();
    assert_eq!(reasons(&recipe, Some(3), &sources), ["it is not known how the present file was made"]);
}
