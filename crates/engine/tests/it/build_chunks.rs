//! Apply from Parquet to Parquet: copying column chunks gives the rows that writing them anew gives, for any original.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type, Int96, Int96Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use stet_domain::ColumnType;
use stet_domain::project::{CsvForm, Format};
use stet_engine::build::{ApplyBuild, ApplyTask, apply, apply_row_by_row};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::read::FileSource;

use crate::build_support::{Folder, Log, editable, rows_in};

pub fn source(path: PathBuf) -> FileSource {
    FileSource { dataset: "original".into(), path, format: Format::Parquet, csv: CsvForm::default(), columns: None }
}

fn run(
    original: &FileSource,
    key: &[&str],
    log: &Log,
    columns: &[(&str, ColumnType)],
    output: &Path,
    apply: fn(&ApplyTask<'_>, &Control) -> Result<ApplyBuild, EngineError>,
) -> Result<ApplyBuild, EngineError> {
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let (replay, editable) = (log.replay(), editable(columns));
    let format = Format::Parquet;
    let task = ApplyTask { original, key: &key, replay: &replay, editable: &editable, earlier: None, output, format };
    apply(&task, &Control::unwatched())
}

/// Builds in both ways and checks that rows and account are the same, and that the fast way gives the same bytes twice.
pub fn both(
    folder: &Folder,
    original: &FileSource,
    key: &[&str],
    log: &Log,
    columns: &[(&str, ColumnType)],
) -> ApplyBuild {
    let [fast, again, slow] = ["fast.parquet", "again.parquet", "slow.parquet"].map(|name| folder.path(name));
    let built = run(original, key, log, columns, &fast, apply).unwrap();
    run(original, key, log, columns, &again, apply).unwrap();
    let expected = run(original, key, log, columns, &slow, apply_row_by_row).unwrap();
    assert_eq!(rows_in(&fast), rows_in(&slow));
    assert_eq!(built.report, expected.report);
    assert_eq!(std::fs::read(&fast).unwrap(), std::fs::read(&again).unwrap());
    assert_eq!(built.output.rows as usize, rows_in(&fast).len());
    built
}

/// Rows of many types, in row groups of a few rows; keys in an order of their own.
pub fn exotic(ids: &[i64], required: bool) -> RecordBatch {
    let n = ids.len();
    let text = |id: &i64| (id % 3 != 0).then(|| format!("name {id}"));
    let lists: Vec<Option<Vec<Option<i32>>>> = ids
        .iter()
        .map(|id| (id % 4 != 1).then(|| (0..id % 5).map(|i| (i != 2).then_some(i as i32)).collect()))
        .collect();
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let inner: ArrayRef =
        Arc::new(StringArray::from_iter(ids.iter().map(|id| (id % 2 == 0).then(|| format!("in {id}")))));
    let group = StructArray::from(vec![(Arc::new(Field::new("inner", DataType::Utf8, true)), inner)]);
    let kind: DictionaryArray<Int32Type> = ids.iter().map(|id| ["a", "b", "c"][(id % 3) as usize]).collect();
    let cost = Decimal128Array::from_iter(ids.iter().map(|id| (id % 7 != 0).then_some(i128::from(*id) * 100)));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("id", Arc::new(Int64Array::from(ids.to_vec())), !required),
        ("name", Arc::new(StringArray::from_iter(ids.iter().map(text))), true),
        ("li\0st\"", Arc::new(list), true),
        ("group", Arc::new(group), false),
        ("kind", Arc::new(kind), true),
        ("cost", Arc::new(cost.with_precision_and_scale(12, 2).unwrap()), true),
        ("must", Arc::new(Int32Array::from_iter_values(ids.iter().map(|id| *id as i32))), !required),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(ids.iter().map(|id| id * 1_000_000))), true),
        ("also", Arc::new(Float64Array::from_iter_values((0..n).map(|row| row as f64 / 3.0))), !required),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array, null)| Field::new(*name, array.data_type().clone(), *null)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array, _)| array).collect())
        .unwrap()
}

pub fn write(path: &Path, batch: &RecordBatch, properties: WriterProperties) {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

pub fn groups_of(rows: usize) -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder().set_max_row_group_row_count(Some(rows)).set_data_page_row_count_limit(3)
}

pub const EXOTIC: [(&str, ColumnType); 5] = [
    ("name", ColumnType::Text),
    ("cost", ColumnType::Decimal { precision: 12, scale: 2 }),
    ("must", ColumnType::Integer),
    ("kind", ColumnType::Text),
    ("note", ColumnType::Text),
];

#[test]
fn a_row_group_without_edits_is_copied_byte_for_byte() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let ids: Vec<i64> = (0..40).collect();
    write(&path, &exotic(&ids, false), groups_of(10).build());
    let log = Log::default().update("11", "name", Some("edited"), Some("name 11"));
    let built = both(&folder, &source(path.clone()), &["id"], &log, &EXOTIC[..2]);
    assert_eq!((built.report.edits_applied, built.report.rows_in, built.report.rows_out), (1, 40, 40));
    let (before, after) = (std::fs::read(&path).unwrap(), std::fs::read(folder.path("fast.parquet")).unwrap());
    let open = |path: &Path| SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let (old, new) = (open(&path), open(&folder.path("fast.parquet")));
    assert_eq!(new.metadata().num_row_groups(), 4);
    for group in 0..4 {
        for (a, b) in old.metadata().row_group(group).columns().iter().zip(new.metadata().row_group(group).columns()) {
            let bytes = |file: &[u8], chunk: &parquet::file::metadata::ColumnChunkMetaData| {
                let (start, length) = chunk.byte_range();
                file[start as usize..(start + length) as usize].to_vec()
            };
            let is_edited = group == 1 && a.column_path().string() == "name";
            assert_eq!(bytes(&before, a) == bytes(&after, b), !is_edited, "{group} {}", a.column_path());
            assert_eq!(a.statistics().is_some(), b.statistics().is_some());
            assert!(b.offset_index_offset().is_some());
        }
    }
}

#[test]
fn originals_without_statistics_or_page_index_can_be_copied() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let ids: Vec<i64> = (0..40).rev().collect();
    let properties = groups_of(7)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false);
    write(&path, &exotic(&ids, true), properties.build());
    let log = Log::default()
        .update("11", "name", None, None)
        .delete("12")
        .create("99", "must", "5")
        .update("3", "must", None, None);
    both(&folder, &source(path), &["id"], &log, &EXOTIC);
}

#[test]
fn no_rows_one_row_and_rows_that_are_all_dropped() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    write(&path, &exotic(&[], true), groups_of(10).build());
    both(&folder, &source(path.clone()), &["id"], &Log::default(), &EXOTIC);
    both(&folder, &source(path.clone()), &["id"], &Log::default().create("7", "note", "new").delete("8"), &EXOTIC);
    write(&path, &exotic(&[5], true), groups_of(10).build());
    both(&folder, &source(path.clone()), &["id"], &Log::default().delete("5"), &EXOTIC);
    write(&path, &exotic(&[5, 6, 7, 8], true), groups_of(2).build());
    both(&folder, &source(path.clone()), &["id"], &Log::default().delete("5").delete("6").delete("8"), &EXOTIC);
}

#[test]
fn row_groups_without_rows_are_passed_over() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let schema = Arc::new(parse_message_type("message m { required int64 id; optional binary name (UTF8); }").unwrap());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    for ids in [vec![], vec![1i64, 2], vec![], vec![3], vec![]] {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let names: Vec<ByteArray> = ids.iter().map(|id| format!("n{id}").as_str().into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&names, Some(&vec![1; ids.len()]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    let log = Log::default().update("3", "name", Some("edited"), Some("n3")).delete("2").create("9", "name", "new");
    let built = both(&folder, &source(path), &["id"], &log, &[("name", ColumnType::Text)]);
    assert_eq!((built.report.rows_in, built.report.rows_out, built.report.edits_applied), (3, 3, 2));
}

#[test]
fn two_thousand_columns_are_copied() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..20))];
    for column in 1..2_000 {
        fields.push(Field::new(format!("column {column}"), DataType::Int64, true));
        columns.push(Arc::new(Int64Array::from_iter_values((0..20).map(|row| row * column))));
    }
    write(&path, &RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(), groups_of(8).build());
    let log = Log::default().update("9", "column 1999", Some("-1"), None).delete("1").create("50", "column 3", "4");
    both(
        &folder,
        &source(path),
        &["id"],
        &log,
        &[("column 1999", ColumnType::Integer), ("column 3", ColumnType::Integer)],
    );
}

#[test]
fn times_of_96_bits_are_copied_and_can_be_edited() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let schema =
        "message m { required int64 id; optional int96 at; optional int96 seen; required binary name (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    for from in [0i64, 4, 8] {
        let mut group = writer.next_row_group().unwrap();
        let ids: Vec<i64> = (from..from + 4).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        for _ in 0..2 {
            let times: Vec<Int96> = ids[..3].iter().map(|id| Int96::from(vec![0, 0, 2_440_588 + *id as u32])).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int96Type>().write_batch(&times, Some(&[1, 0, 1, 1]), None).unwrap();
            column.close().unwrap();
        }
        let names: Vec<ByteArray> = ids.iter().map(|id| format!("n{id}").as_str().into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&names, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    let log = Log::default()
        .update("5", "name", Some("edited"), Some("n5"))
        .update("6", "at", Some("1999-12-31T23:59:59"), None)
        .delete("9")
        .create("77", "name", "new");
    let columns = [("name", ColumnType::Text), ("at", ColumnType::DateTime)];
    let built = both(&folder, &source(path.clone()), &["id"], &log, &columns);
    assert_eq!(built.report.edits_applied, 3);
    both(&folder, &source(path), &["id"], &Log::default().update("5", "name", None, None), &columns[..1]);
}

#[test]
fn a_damaged_row_group_is_an_error_that_names_the_file_and_leaves_the_old_output() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let ids: Vec<i64> = (0..40).collect();
    write(&path, &exotic(&ids, false), groups_of(10).build());
    let mut bytes = std::fs::read(&path).unwrap();
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let (start, length) = reader.metadata().row_group(2).column(0).byte_range();
    bytes[start as usize..(start + length) as usize].fill(0xAB);
    std::fs::write(&path, &bytes).unwrap();
    let output = folder.path("fast.parquet");
    std::fs::write(&output, "old").unwrap();
    let log = Log::default().update("25", "name", Some("x"), None);
    let error = run(&source(path.clone()), &["id"], &log, &EXOTIC, &output, apply).unwrap_err().to_string();
    assert!(error.contains("original.parquet") && error.contains("row group 3"), "{error}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "old");
    assert_eq!(folder.files(), ["fast.parquet", "original.parquet"]);

    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = run(&source(path), &["id"], &log, &EXOTIC, &output, apply).unwrap_err().to_string();
    assert!(error.contains("original.parquet"), "{error}");
}

#[test]
fn a_column_that_would_be_copied_and_cannot_be_read_is_an_error_and_no_output() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let ids: Vec<i64> = (0..40).collect();
    write(&path, &exotic(&ids, false), groups_of(10).build());
    let whole = std::fs::read(&path).unwrap();
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let columns = reader.metadata().row_group(1).num_columns();
    // The log touches nothing of the second row group, so all of its columns are copied.
    let log = Log::default().update("5", "name", Some("x"), None);
    for column in 1..columns {
        let chunk = reader.metadata().row_group(1).column(column).byte_range();
        let mut bytes = whole.clone();
        bytes[chunk.0 as usize..(chunk.0 + chunk.1) as usize].fill(0xAB);
        std::fs::write(&path, &bytes).unwrap();
        let output = folder.path("edited.parquet");
        let result = run(&source(path.clone()), &["id"], &log, &EXOTIC, &output, apply);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("original.parquet") && error.contains("row group 2"), "{column}: {error}");
        assert_eq!(folder.files(), ["original.parquet"]);
    }
}

#[test]
fn an_original_that_is_replaced_in_the_middle_of_a_build_is_an_error_that_says_so() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    write(&path, &exotic(&(0..60_000).collect::<Vec<_>>(), false), WriterProperties::builder().build());
    let original = source(path.clone());
    let (key, replay, editable) =
        (["id".to_owned()], Log::default().update("5", "name", None, None).replay(), editable(&EXOTIC));
    let output = folder.path("edited.parquet");
    let task = ApplyTask {
        original: &original,
        key: &key,
        replay: &replay,
        editable: &editable,
        earlier: None,
        output: &output,
        format: Format::Parquet,
    };
    // Cut short in place, which is the worst: the file that is open has lost its end.
    let control = Control::new(Arc::default(), move |_| std::fs::write(&path, "PAR1").unwrap());
    let error = apply(&task, &control).unwrap_err().to_string();
    assert!(error.contains("changed while it was being read"), "{error}");
    assert_eq!(folder.files(), ["original.parquet"]);
}

pub fn step() -> impl Strategy<Value = (u8, i64, usize, Option<String>)> {
    let value = prop_oneof![Just(None), "[a-z]{1,4}".prop_map(Some), "[0-9]{1,3}".prop_map(Some)];
    (0u8..10, 0i64..60, 0usize..6, value)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_edits_give_the_same_rows_and_account_in_both_ways(
        ids in proptest::sample::subsequence((0i64..40).collect::<Vec<_>>(), 0..40).prop_shuffle(),
        is_sorted in any::<bool>(),
        required in any::<bool>(),
        group_rows in 1usize..12,
        file_rows in 5usize..50,
        two_keys in any::<bool>(),
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let folder = Folder::new();
        let mut ids = ids;
        if is_sorted {
            ids.sort_unstable();
        }
        let path = folder.path("originals");
        std::fs::create_dir(&path).unwrap();
        let parts: Vec<&[i64]> = if ids.is_empty() { vec![&[]] } else { ids.chunks(file_rows).collect() };
        for (part, ids) in parts.into_iter().enumerate() {
            // The files differ in what they allow to be null.
            write(&path.join(format!("{part}.parquet")), &exotic(ids, required ^ (part == 1)), groups_of(group_rows).build());
        }
        let names = ["name", "cost", "must", "kind", "note", "gone"];
        let log = steps.iter().fold(Log::default(), |log, (kind, id, column, value)| {
            let key = if two_keys { format!("[\"{id}\",\"{}\"]", ["a", "b", "c"][(id % 3) as usize]) } else { id.to_string() };
            match kind {
                0 => log.delete(&key),
                1 => log.revert(&key, None),
                2 => log.revert(&key, Some(names[*column])),
                3 => log.create(&key, names[*column], value.as_deref().unwrap_or("7")),
                _ => log.update(&key, names[*column], value.as_deref(), Some("5")),
            }
        });
        let key: &[&str] = if two_keys { &["id", "kind"] } else { &["id"] };
        let columns: Vec<_> = EXOTIC.into_iter().filter(|(name, _)| !two_keys || *name != "kind").collect();
        both(&folder, &source(path), key, &log, &columns);
    }
}
