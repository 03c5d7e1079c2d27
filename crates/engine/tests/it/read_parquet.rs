//! Reading Parquet of ordinary and of exotic kinds.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::*;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::*;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use stet_domain::ColumnType;
use stet_domain::project::{CsvForm, Format};
use stet_engine::cell::{Appender, column_type_of, stored, text};
use stet_engine::control::Control;
use stet_engine::read::FileSource;
use stet_engine::rows::write_numbered;

use crate::build_support::{Folder, columns_of, rows_of};

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) -> FileSource {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    FileSource {
        dataset: "exotic".into(),
        path: path.into(),
        format: Format::Parquet,
        csv: CsvForm::default(),
        columns: None,
    }
}

/// A column of each kind with a null in it, and what its first cell is as text.
fn exotic() -> Vec<(&'static str, ArrayRef, ColumnType, &'static str)> {
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None]);
    list.append_null();
    let structs = StructArray::from(vec![(
        Arc::new(Field::new("a", DataType::Int32, true)),
        Arc::new(Int32Array::from(vec![Some(5), None])) as ArrayRef,
    )]);
    let dictionary: DictionaryArray<Int8Type> = vec![Some("Small"), None].into_iter().collect();
    vec![
        ("int8", Arc::new(Int8Array::from(vec![Some(-128), None])), ColumnType::Integer, "-128"),
        ("uint32", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])), ColumnType::Integer, "4294967295"),
        ("uint64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])), decimal(20, 0), "18446744073709551615"),
        ("float32", Arc::new(Float32Array::from(vec![Some(0.1), None])), ColumnType::Number, "0.1"),
        ("large", Arc::new(LargeStringArray::from(vec![Some("é"), None])), ColumnType::Text, "é"),
        (
            "view",
            Arc::new(StringViewArray::from(vec![Some("a text of more than 12 bytes"), None])),
            ColumnType::Text,
            "a text of more than 12 bytes",
        ),
        ("dictionary", Arc::new(dictionary), ColumnType::Text, "Small"),
        (
            "decimal128",
            Arc::new(Decimal128Array::from(vec![Some(-5), None]).with_precision_and_scale(10, 2).unwrap()),
            decimal(10, 2),
            "-0.05",
        ),
        (
            "decimal256",
            Arc::new(
                Decimal256Array::from(vec![Some(arrow_buffer::i256::from(7)), None])
                    .with_precision_and_scale(60, 3)
                    .unwrap(),
            ),
            ColumnType::Other,
            "0.007",
        ),
        ("date32", Arc::new(Date32Array::from(vec![Some(-1), None])), ColumnType::Date, "1969-12-31"),
        (
            "nanoseconds",
            Arc::new(TimestampNanosecondArray::from(vec![Some(1), None])),
            ColumnType::DateTime,
            "1970-01-01T00:00:00.000000001",
        ),
        (
            "zoned",
            Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None]).with_timezone("Europe/Paris")),
            ColumnType::Instant,
            "1969-12-31T23:59:59.999Z",
        ),
        ("time", Arc::new(Time32SecondArray::from(vec![Some(3661), None])), ColumnType::Other, "01:01:01"),
        (
            "fixed",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1u8, 255]), None].into_iter(), 2).unwrap(),
            ),
            ColumnType::Other,
            "01ff",
        ),
        ("list", Arc::new(list.finish()), ColumnType::Other, "[1,null]"),
        ("struct", Arc::new(structs), ColumnType::Other, "{\"a\":5}"),
        ("a \"quoted\", name", Arc::new(BooleanArray::from(vec![Some(true), None])), ColumnType::Boolean, "true"),
        ("with a \0 in it", Arc::new(StringArray::from(vec![Some("NUL"), None])), ColumnType::Text, "NUL"),
    ]
}

#[test]
fn exotic_columns_are_read_shown_and_passed_through() {
    let folder = Folder::new();
    let columns = exotic();
    let source = parquet(&folder.path("a.parquet"), columns.iter().map(|(n, a, ..)| (*n, a.clone())).collect());
    for ((name, array, column_type, shown), column) in columns.iter().zip(source.columns().unwrap()) {
        assert_eq!((column.name.as_str(), column.column_type), (*name, *column_type), "{name}");
        assert_eq!(text(array, 0).as_deref(), Some(*shown), "{name}");
    }
    let rows = rows_of(&source);
    for (place, (name, _, _, shown)) in columns.iter().enumerate() {
        assert_eq!(rows[0][place].as_deref(), Some(*shown), "{name}");
        if *name != "struct" {
            assert_eq!(rows[1][place], None, "{name}");
        }
    }
    // The exact types survive the reading.
    let schema = source.arrow_schema().unwrap();
    assert_eq!(schema.field_with_name("int8").unwrap().data_type(), &DataType::Int8);
    assert!(matches!(schema.field_with_name("dictionary").unwrap().data_type(), DataType::Dictionary(..)));
}

#[test]
fn an_appender_gives_back_the_exact_type_and_text_of_every_editable_column() {
    for (name, array, column_type, shown) in exotic() {
        let mut appender = Appender::new(array.data_type(), 2);
        if column_type.is_editable() {
            assert!(appender.append(Some(column_type.read(shown).unwrap())), "{name}");
        } else {
            appender.append_null();
        }
        assert!(appender.append(None));
        let built = appender.finish().unwrap();
        assert_eq!(built.data_type(), array.data_type(), "{name}");
        if column_type.is_editable() {
            assert_eq!(text(&built, 0).as_deref(), Some(shown), "{name}");
        }
        assert_eq!(text(&built, 1), None, "{name}");
    }
}

#[test]
fn values_beyond_an_exact_type_are_told_apart() {
    let held = |data_type: DataType, value: &str| {
        let value = column_type_of(&data_type).read(value).unwrap();
        stored(&data_type, value).map(|value| value.to_string())
    };
    assert_eq!(held(DataType::Int8, "127"), Some("127".into()));
    assert_eq!(held(DataType::Int8, "128"), None);
    assert_eq!(held(DataType::UInt32, "-1"), None);
    assert_eq!(held(DataType::UInt64, "18446744073709551615"), Some("18446744073709551615".into()));
    assert_eq!(held(DataType::UInt64, "18446744073709551616"), None);
    assert_eq!(held(DataType::Float32, "0.123456789"), Some("0.12345679".into()));
    assert_eq!(held(DataType::Float32, "1e300"), None);
    assert_eq!(held(DataType::Timestamp(TimeUnit::Second, None), "2022-12-21T10:00:00.5"), None);
    assert_eq!(held(DataType::Timestamp(TimeUnit::Nanosecond, None), "2300-01-01T00:00:00"), None);
}

/// A file with times of 96 bits: days since 1970-01-01 and nanoseconds of the day.
fn int96(path: &Path, times: &[(i32, u64)]) {
    let schema = Arc::new(parse_message_type("message m { optional int96 t; }").unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let moment = |(day, nanoseconds): &(i32, u64)| {
        let mut moment = Int96::new();
        // The Julian day of 1970-01-01.
        let day = u32::try_from(2_440_588 + day).unwrap();
        moment.set_data(*nanoseconds as u32, (*nanoseconds >> 32) as u32, day);
        moment
    };
    let moments: Vec<Int96> = times.iter().map(moment).collect();
    let (none, levels) = (0, vec![1; moments.len()]);
    column.typed::<Int96Type>().write_batch(&moments, Some(&[&levels[..], &[none]].concat()), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn times_of_96_bits_keep_their_nanoseconds_or_reach_beyond_the_year_2262() {
    let folder = Folder::new();
    let path = folder.path("parts");
    std::fs::create_dir(&path).unwrap();
    let source =
        FileSource { dataset: "old".into(), path, format: Format::Parquet, csv: CsvForm::default(), columns: None };
    let texts = || -> Vec<Option<String>> { rows_of(&source).into_iter().map(|mut row| row.remove(0)).collect() };
    let some = |texts: &[&str]| -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned()).filter(|text| text != "∅")).collect()
    };
    // One hour into the day of 3000-01-01.
    int96(&source.path.join("a.parquet"), &[(376_200, 3_600_000_000_000)]);
    assert_eq!(texts(), some(&["3000-01-01T01:00:00", "∅"]));

    // Both files of a dataset are read alike, whichever of them it is that needs it.
    int96(&source.path.join("a.parquet"), &[(-1, 5_000)]);
    int96(&source.path.join("b.parquet"), &[(0, 123_456_789)]);
    let times = ["1969-12-31T00:00:00.000005", "∅", "1970-01-01T00:00:00.123456789", "∅"];
    assert_eq!(texts(), some(&times));

    int96(&source.path.join("b.parquet"), &[(0, 1), (376_200, 0)]);
    let error = source.batches(None, 10).err().unwrap().to_string();
    assert!(error.contains("b.parquet") && error.contains("`t`") && error.contains("96 bits"), "{error}");
}

#[test]
fn a_date_that_another_program_had_in_milliseconds_is_the_date_that_the_file_has() {
    let folder = Folder::new();
    let path = folder.path("a.parquet");
    let dates: ArrayRef = Arc::new(Date64Array::from(vec![Some(86_400_000), None]));
    let batch = RecordBatch::try_from_iter([("d", dates)]).unwrap();
    let as_dates = WriterProperties::builder().set_coerce_types(true).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(as_dates)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let source =
        FileSource { dataset: "d".into(), path, format: Format::Parquet, csv: CsvForm::default(), columns: None };
    assert_eq!(source.arrow_schema().unwrap().field(0).data_type(), &DataType::Date32);
    assert_eq!(rows_of(&source), [[Some("1970-01-02".to_owned())], [None]]);
}

#[test]
fn nested_values_are_json() {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    map.keys().append_value("a \"b\"");
    map.values().append_value(0.5);
    map.keys().append_value("");
    map.values().append_value(f64::NAN);
    map.append(true).unwrap();
    map.append(false).unwrap();
    let map: ArrayRef = Arc::new(map.finish());
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), None]));
    let wide: ArrayRef = Arc::new(Decimal128Array::from(vec![Some(1), None]).with_precision_and_scale(38, 2).unwrap());
    let lists: ArrayRef =
        Arc::new(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(i64::MAX), None]), None], 2));
    let fields = [("m", map), ("d", dates), ("w", wide), ("l", lists)];
    let fields = fields.map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array));
    let structs: ArrayRef = Arc::new(StructArray::from(fields.to_vec()));
    let expected = [
        r#"{"m":{"a \"b\"":0.5,"":"NaN"},"d":"1970-01-01","w":"0.01","l":[9223372036854775807,null]}"#,
        r#"{"m":null,"d":null,"w":null,"l":null}"#,
    ];
    for (row, expected) in expected.into_iter().enumerate() {
        assert_eq!(text(&structs, row).as_deref(), Some(expected));
        assert_eq!(text(&structs.slice(row, 1), 0).as_deref(), Some(expected));
        serde_json::from_str::<serde_json::Value>(expected).unwrap();
    }
}

#[test]
fn every_codec_of_common_programs_is_read() {
    let folder = Folder::new();
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|row| format!("text {}", row % 7))));
    let batch = RecordBatch::try_from_iter([("t", texts)]).unwrap();
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(Default::default()),
    ] {
        let path = folder.path(&format!("{codec:?}.parquet"));
        let packed = WriterProperties::builder().set_compression(codec).build();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(packed)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let source =
            FileSource { dataset: "c".into(), path, format: Format::Parquet, csv: CsvForm::default(), columns: None };
        assert_eq!(rows_of(&source)[6], [Some("text 6".to_owned())], "{codec:?}");
    }
}

#[test]
fn rows_are_numbered_with_all_other_columns_as_they_were() {
    let folder = Folder::new();
    let columns: Vec<(&str, ArrayRef)> = exotic().iter().map(|(name, array, ..)| (*name, array.clone())).collect();
    let source = parquet(&folder.path("a.parquet"), columns);
    let to = folder.path("numbered.parquet");
    assert_eq!(write_numbered(&source, "row", &to, &Control::unwatched()).unwrap().rows, 2);
    let numbered = FileSource { path: to, ..source.clone() };
    let (before, after) = (source.arrow_schema().unwrap(), numbered.arrow_schema().unwrap());
    assert_eq!(after.fields()[1..], before.fields()[..]);
    let expected = rows_of(&source).into_iter().enumerate();
    let expected: Vec<_> = expected.map(|(row, cells)| [vec![Some((row + 1).to_string())], cells].concat()).collect();
    assert_eq!(rows_of(&numbered), expected);
}

#[test]
fn zero_rows_and_two_thousand_columns_are_ordinary() {
    let folder = Folder::new();
    let names: Vec<String> = (0..2_000).map(|column| format!("c{column}")).collect();
    let empty = parquet(
        &folder.path("empty.parquet"),
        names.iter().map(|name| (name.as_str(), Arc::new(Int32Array::from(Vec::<i32>::new())) as ArrayRef)).collect(),
    );
    assert_eq!(empty.columns().unwrap().len(), 2_000);
    assert!(rows_of(&empty).is_empty());
    assert_eq!(empty.rows_known().unwrap(), Some(0));
    let wide = parquet(
        &folder.path("wide.parquet"),
        names.iter().map(|name| (name.as_str(), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)).collect(),
    );
    assert_eq!(rows_of(&wide).len(), 2);
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let folder = Folder::new();
    let source = parquet(&folder.path("a.parquet"), vec![("x", Arc::new(Int32Array::from_iter_values(0..10_000)))]);
    let whole = std::fs::read(&source.path).unwrap();
    let read = |bytes: &[u8]| -> Result<usize, String> {
        std::fs::write(&source.path, bytes).unwrap();
        let mut rows = 0;
        for batch in source.batches(None, 1000).map_err(|error| error.to_string())?.batches {
            rows += batch.map_err(|error| error.to_string())?.num_rows();
        }
        Ok(rows)
    };
    assert_eq!(read(&whole), Ok(10_000));
    for bytes in [&whole[..whole.len() / 2], b"", b"x,y\n1,2\n"] {
        let message = read(bytes).unwrap_err();
        assert!(message.contains("a.parquet") && message.contains("damaged"), "{message}");
    }
    // Any one wrong byte gives rows or an error, never a crash.
    for place in (0..whole.len()).step_by(whole.len() / 200 + 1) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        if let Err(message) = read(&bytes) {
            assert!(message.contains("a.parquet"), "{message}");
        }
    }
}

/// A file of one column `x` with 1, 2 and 3 that has checksums of its pages, as Arrow and Spark write them.
const WITH_CHECKSUMS: &str = "\
    5041523115001524152415fdb789b50e1c15061500150615061c000000020000000601010000000200000003000000150419\
    2c35001806736368656d6115020015022502180178001606191c191c26001c15021925060019180178150016061656165626\
    08491c150015001502003c2906192600060000001656160626081656002820706172717565742d6370702d6172726f772076\
    657273696f6e2032362e302e31191c1c0000007a00000050415231";

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn read_all(source: &FileSource) -> Result<usize, String> {
    let mut rows = 0;
    for batch in source.batches(None, 1000).map_err(|error| error.to_string())?.batches {
        rows += batch.map_err(|error| error.to_string())?.num_rows();
    }
    Ok(rows)
}

#[test]
fn a_page_that_is_not_what_its_checksum_says_is_an_error_that_names_the_file() {
    let folder = Folder::new();
    let path = folder.path("sums.parquet");
    let mut bytes = bytes_of(WITH_CHECKSUMS);
    std::fs::write(&path, &bytes).unwrap();
    let source = FileSource {
        dataset: "sums".into(),
        path: path.clone(),
        format: Format::Parquet,
        csv: CsvForm::default(),
        columns: None,
    };
    assert_eq!(rows_of(&source), [["1"], ["2"], ["3"]].map(|row| row.map(|cell| Some(cell.to_owned()))));
    // The last value, 3, becomes 7.
    bytes[43] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    let message = read_all(&source).unwrap_err();
    assert!(message.contains("sums.parquet") && message.contains("checksum"), "{message}");
}

#[test]
fn a_file_with_fewer_rows_than_it_says_is_an_error_that_names_it() {
    let folder = Folder::new();
    let source = parquet(&folder.path("short.parquet"), vec![("x", Arc::new(Int32Array::from_iter_values(0..300)))]);
    let mut bytes = std::fs::read(&source.path).unwrap();
    let metadata = bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    // The count of rows is the first whole number of 64 bits in the metadata: 300 becomes 301.
    let count = metadata + bytes[metadata..].windows(3).position(|part| part == [0x16, 0xD8, 0x04]).unwrap();
    bytes[count + 1] = 0xDA;
    std::fs::write(&source.path, &bytes).unwrap();
    let message = read_all(&source).unwrap_err();
    assert!(message.contains("short.parquet") && message.contains("it has 300 rows, not the 301"), "{message}");
}

#[test]
fn declared_types_are_checked_against_the_file() {
    let folder = Folder::new();
    let source = parquet(&folder.path("a.parquet"), vec![("cost", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let declared = |columns: &[(&str, ColumnType)]| FileSource { columns: Some(columns_of(columns)), ..source.clone() };
    assert!(declared(&[("cost", ColumnType::Integer)]).arrow_schema().is_ok());
    let message = declared(&[("cost", ColumnType::Text)]).arrow_schema().unwrap_err().to_string();
    assert!(message.contains("`cost` is declared as text") && message.contains("declare it as integer"), "{message}");
    let message = declared(&[("costs", ColumnType::Integer)]).arrow_schema().unwrap_err().to_string();
    assert!(message.contains("it has `cost`"), "{message}");
}
