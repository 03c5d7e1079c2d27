//! Apply that edits single pages: originals in pages of any kind, read back as they should be, with what is told of their
//! values beside them.

use std::cmp::Ordering;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, LargeStringArray, RecordBatch,
    StringArray, TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::statistics::Statistics;
use proptest::prelude::*;
use stet_domain::ColumnType;

use crate::build_again::Growing;
use crate::build_chunks::{both, source, write};
use crate::build_support::{Folder, Log};

const COLUMNS: [(&str, ColumnType); 8] = [
    ("text", ColumnType::Text),
    ("long", ColumnType::Text),
    ("number", ColumnType::Number),
    ("single", ColumnType::Number),
    ("whole", ColumnType::Integer),
    ("small", ColumnType::Integer),
    ("day", ColumnType::Date),
    ("at", ColumnType::DateTime),
];

/// Rows whose values repeat every `distinct` rows, with nulls where `nulls` says so.
fn rows(count: usize, distinct: usize, nulls: usize) -> RecordBatch {
    let some = |row: usize, column: usize| nulls == 0 || !(row * 7 + column * 3).is_multiple_of(nulls + 1);
    fn of<T, A: FromIterator<Option<T>>>(count: usize, value: impl Fn(usize) -> Option<T>) -> A {
        (0..count).map(value).collect()
    }
    let at = |row: usize, column: usize| some(row, column).then_some((row * 31 + column) % distinct);
    let number = |value: usize| match value % 11 {
        3 => f64::NAN,
        4 => -0.0,
        5 => 0.0,
        _ => value as f64 / 4.0 - 5.0,
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(of::<_, Int64Array>(count, |row| Some((row * 307 % count) as i64)))),
        ("text", Arc::new(of::<_, StringArray>(count, |row| at(row, 0).map(|value| format!("text {value}"))))),
        ("long", Arc::new(of::<_, LargeStringArray>(count, |row| at(row, 1).map(|value| "é".repeat(value % 90))))),
        ("number", Arc::new(of::<_, Float64Array>(count, |row| at(row, 2).map(number)))),
        ("single", Arc::new(of::<_, Float32Array>(count, |row| at(row, 3).map(|value| number(value) as f32)))),
        ("whole", Arc::new(of::<_, Int64Array>(count, |row| at(row, 4).map(|value| value as i64 - 20)))),
        ("small", Arc::new(of::<_, Int32Array>(count, |row| at(row, 5).map(|value| value as i32 * 3)))),
        ("day", Arc::new(of::<_, Date32Array>(count, |row| at(row, 6).map(|value| 10_000 + value as i32)))),
        ("at", Arc::new(of::<_, TimestampMillisecondArray>(count, |row| at(row, 7).map(|value| value as i64 * 1000)))),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), *name != "id")).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

/// One of a few values for each column: new ones, ones that are there, the smallest, the largest, and none.
fn value(column: usize, choice: usize) -> Option<String> {
    let of = |values: [&str; 6]| values.get(choice).map(|value| (*value).to_owned());
    match column {
        0 => of(["new", "", "text 3", "zzz", "another", "ü"]),
        1 => (choice < 5)
            .then(|| ["x".repeat(5_000), "é".into(), String::new(), "zz".into(), "y".repeat(200)][choice].clone()),
        2 | 3 => of(["0", "-1000", "1000", "2.5", "-0.25", "0.5"]),
        4 | 5 => of(["0", "-1000", "1000", "3", "6", "12345"]),
        6 => of(["1970-01-01", "2030-01-01", "1997-05-20", "1997-05-21", "2000-02-29", "1900-01-01"]),
        _ => of([
            "1970-01-01T00:00:00",
            "2030-01-01T00:00:00",
            "1970-01-01T00:00:03",
            "1960-01-01T00:00:00",
            "1970-01-01T00:01:00",
            "2001-01-01T00:00:00",
        ]),
    }
}

fn log_of(edits: &[(usize, usize, usize)], count: usize) -> Log {
    edits.iter().fold(Log::default(), |log, (row, column, choice)| {
        let (key, column_name) = ((row % count).to_string(), COLUMNS[*column].0);
        match choice {
            7 => log.revert(&key, Some(column_name)),
            8 if row % 5 == 0 => log.delete(&key),
            9 => log.revert(&key, None),
            choice => log.update(&key, column_name, value(*column, *choice).as_deref(), None),
        }
    })
}

/// A value to be compared with a bound of a statistic; numbers that are none have none.
#[derive(Debug, Clone, PartialEq)]
enum Bound {
    Whole(i64),
    Number(f64),
    Text(Vec<u8>),
}

impl Bound {
    fn order(&self, other: &Bound) -> Ordering {
        match (self, other) {
            (Bound::Whole(one), Bound::Whole(other)) => one.cmp(other),
            (Bound::Number(one), Bound::Number(other)) => one.partial_cmp(other).unwrap(),
            (Bound::Text(one), Bound::Text(other)) => one.cmp(other),
            _ => panic!("bounds of two types"),
        }
    }
}

fn bounds_in(array: &dyn Array) -> Vec<Bound> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
    let whole = |values: Vec<i64>| values.into_iter().map(Bound::Whole).collect();
    let numbers = |values: Vec<f64>| values.into_iter().filter(|value| !value.is_nan()).map(Bound::Number).collect();
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().flatten().map(|text| Bound::Text(text.into())).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().flatten().map(|text| Bound::Text(text.into())).collect(),
        DataType::Float64 => numbers(array.as_primitive::<Float64Type>().iter().flatten().collect()),
        DataType::Float32 => numbers(array.as_primitive::<Float32Type>().iter().flatten().map(f64::from).collect()),
        DataType::Int64 => whole(array.as_primitive::<Int64Type>().iter().flatten().collect()),
        DataType::Int32 => whole(array.as_primitive::<Int32Type>().iter().flatten().map(i64::from).collect()),
        DataType::Date32 => whole(array.as_primitive::<Date32Type>().iter().flatten().map(i64::from).collect()),
        _ => whole(array.as_primitive::<TimestampMillisecondType>().iter().flatten().collect()),
    }
}

/// The smallest and largest value that statistics tell; none of a column with nothing but numbers that are none.
fn told(statistics: &Statistics) -> Option<(Bound, Bound)> {
    let whole = |min: i64, max: i64| (Bound::Whole(min), Bound::Whole(max));
    let numbers = |min: f64, max: f64| (Bound::Number(min), Bound::Number(max));
    let (min, max) = match statistics {
        Statistics::Int32(told) => whole(i64::from(*told.min_opt()?), i64::from(*told.max_opt()?)),
        Statistics::Int64(told) => whole(*told.min_opt()?, *told.max_opt()?),
        Statistics::Float(told) => numbers(f64::from(*told.min_opt()?), f64::from(*told.max_opt()?)),
        Statistics::Double(told) => numbers(*told.min_opt()?, *told.max_opt()?),
        Statistics::ByteArray(told) => {
            (Bound::Text(told.min_opt()?.data().to_vec()), Bound::Text(told.max_opt()?.data().to_vec()))
        }
        _ => return None,
    };
    let is_nan = |bound: &Bound| matches!(bound, Bound::Number(number) if number.is_nan());
    (!is_nan(&min) && !is_nan(&max)).then_some((min, max))
}

fn told_of_page(index: &ColumnIndexMetaData, page: usize) -> Option<(Bound, Bound)> {
    macro_rules! of {
        ($index:expr, $kind:ident, $as:ty) => {
            Some((
                Bound::$kind(<$as>::from(*$index.min_value(page)?)),
                Bound::$kind(<$as>::from(*$index.max_value(page)?)),
            ))
        };
    }
    match index {
        ColumnIndexMetaData::INT32(index) => of!(index, Whole, i64),
        ColumnIndexMetaData::INT64(index) => of!(index, Whole, i64),
        ColumnIndexMetaData::FLOAT(index) => of!(index, Number, f64),
        ColumnIndexMetaData::DOUBLE(index) => of!(index, Number, f64),
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            Some((Bound::Text(index.min_value(page)?.to_vec()), Bound::Text(index.max_value(page)?.to_vec())))
        }
        _ => None,
    }
}

/// Checks what a file tells of its values, and that its pages can be skipped by what it tells of them.
fn check_told(path: &Path) {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let open =
        || ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path).unwrap(), options.clone()).unwrap();
    let metadata = open().metadata().clone();
    for (place, group) in metadata.row_groups().iter().enumerate() {
        let rows = group.num_rows() as usize;
        let read = |column: usize, selection: Option<RowSelection>| -> Vec<RecordBatch> {
            let mut builder = open().with_row_groups(vec![place]).with_batch_size(rows.max(1));
            let mask = ProjectionMask::roots(builder.parquet_schema(), [column]);
            if let Some(selection) = selection {
                builder = builder.with_row_selection(selection);
            }
            builder.with_projection(mask).build().unwrap().map(|batch| batch.unwrap()).collect()
        };
        let index = metadata.page_index_for_row_group(place);
        for (column, chunk) in group.columns().iter().enumerate() {
            let name = chunk.column_path().string();
            let batches = read(column, None);
            let array = batches[0].column(0);
            assert_eq!((batches.len(), array.len()), (1, rows), "{name}");
            if let Some(statistics) = chunk.statistics() {
                if let Some(nulls) = statistics.null_count_opt() {
                    assert_eq!(nulls as usize, array.null_count(), "{name}");
                }
                if let Some((min, max)) = told(statistics) {
                    let values = bounds_in(array.as_ref());
                    assert!(values.iter().all(|value| min.order(value).is_le() && max.order(value).is_ge()), "{name}");
                    let has = |bound: &Bound| values.iter().any(|value| value.order(bound).is_eq());
                    assert!(!statistics.min_is_exact() || has(&min), "{name} {min:?}");
                    assert!(!statistics.max_is_exact() || has(&max), "{name} {max:?}");
                }
            }
            let Some(offsets) = index.offset_index(column) else { continue };
            let firsts: Vec<usize> =
                offsets.page_locations().iter().map(|page| page.first_row_index as usize).collect();
            for (page, first) in firsts.iter().enumerate() {
                let end = firsts.get(page + 1).copied().unwrap_or(rows);
                let selection = RowSelection::from_consecutive_ranges(std::iter::once(*first..end), rows);
                let own = read(column, Some(selection));
                let own = own[0].column(0);
                assert_eq!(own.as_ref(), array.slice(*first, end - first).as_ref(), "{name}");
                let Some(index) = index.column_index(column) else { continue };
                if let Some(nulls) = index.null_count(page) {
                    assert_eq!(nulls as usize, own.null_count(), "{name} page {page}");
                }
                assert_eq!(index.is_null_page(page), own.null_count() == own.len(), "{name} page {page}");
                if let Some((min, max)) = told_of_page(index, page) {
                    let mut values = bounds_in(own.as_ref()).into_iter();
                    assert!(
                        values.all(|value| min.order(&value).is_le() && max.order(&value).is_ge()),
                        "{name} {page}"
                    );
                }
            }
        }
    }
}

fn properties(kind: (usize, usize, usize, usize), group_rows: usize) -> WriterProperties {
    let (codec, page_rows, dictionary, statistics) = kind;
    let compression = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::try_new(3).unwrap()),
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4_RAW,
        Compression::BROTLI(BrotliLevel::default()),
    ][codec % 6];
    let version = if codec.is_multiple_of(2) { WriterVersion::PARQUET_1_0 } else { WriterVersion::PARQUET_2_0 };
    let statistics =
        [EnabledStatistics::None, EnabledStatistics::Chunk, EnabledStatistics::Page, EnabledStatistics::Page]
            [statistics];
    let mut builder = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(page_rows)
        .set_write_batch_size(page_rows)
        .set_statistics_enabled(statistics)
        .set_offset_index_disabled(statistics != EnabledStatistics::Page);
    builder = match dictionary {
        0 => builder.set_dictionary_enabled(false).set_encoding(Encoding::PLAIN),
        // One that is soon too large, so that pages of both kinds follow each other.
        1 => builder.set_dictionary_page_size_limit(64).set_encoding(Encoding::PLAIN),
        // Pages of a kind that is not edited, behind or without a dictionary.
        2 => builder.set_dictionary_page_size_limit(200),
        _ => builder,
    };
    builder.build()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn edited_pages_hold_what_rows_written_anew_hold_and_a_build_that_goes_on_gives_the_same_bytes(
        count in 1usize..300,
        distinct in 1usize..120,
        nulls in 0usize..5,
        kind in (0usize..6, 1usize..60, 0usize..4, 0usize..4),
        edits in prop::collection::vec((0usize..300, 0usize..8, 0usize..10), 1..60),
        share in 0usize..100,
    ) {
        let folder = Folder::new();
        let path = folder.path("original.parquet");
        write(&path, &rows(count, distinct, nulls), properties(kind, 100));
        let original = source(path);
        let log = log_of(&edits, count);
        both(&folder, &original, &["id"], &log, &COLUMNS);
        check_told(&folder.path("fast.parquet"));
        let at = log.0.len() * share / 100;
        for name in ["output.parquet", "parts.parquet/"] {
            let mut growing = Growing::new(&original, &log, at, &COLUMNS, folder.path(name));
            for to in [at + 1, (at + log.0.len()).div_ceil(2), log.0.len()] {
                if to > growing.position() {
                    growing.grow(&folder, to);
                }
            }
        }
    }
}

#[test]
fn one_edit_changes_one_page_and_a_new_value_goes_behind_the_dictionary() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    write(&path, &rows(1_000, 40, 3), properties((2, 50, 3, 2), 1_000));
    let log = Log::default().update("370", "text", Some("quite new"), None);
    both(&folder, &source(path.clone()), &["id"], &log, &COLUMNS);
    let pages = |path: &Path| {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let file = std::fs::read(path).unwrap();
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path).unwrap(), options).unwrap();
        let metadata = builder.metadata().clone();
        let offsets = metadata.page_index_for_row_group(0).offset_index(1).unwrap().page_locations().clone();
        let pages: Vec<Vec<u8>> = offsets
            .iter()
            .map(|page| file[page.offset as usize..][..page.compressed_page_size as usize].to_vec())
            .collect();
        pages
    };
    let (old, new) = (pages(&path), pages(&folder.path("fast.parquet")));
    assert_eq!((old.len(), new.len()), (20, 20));
    assert_eq!(old.iter().zip(&new).filter(|(old, new)| old != new).count(), 1);
    // An edit that says what is there already changes nothing at all.
    let text = Log::default().update("0", "whole", Some("-16"), None);
    both(&folder, &source(path.clone()), &["id"], &text, &COLUMNS);
    check_told(&folder.path("fast.parquet"));
}
