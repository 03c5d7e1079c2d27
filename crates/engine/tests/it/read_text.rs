//! Reading CSV and JSON lines.

use stet_domain::ColumnType;
use stet_domain::project::{Column, CsvForm, Format};
use stet_engine::build::export;
use stet_engine::control::Control;
use stet_engine::read::FileSource;
use stet_engine::write::{Formulas, OutputFormat, WriteOptions};

use crate::build_support::{Folder, columns_of, rows_of};

fn source(folder: &Folder, name: &str, bytes: &[u8], columns: Option<Vec<Column>>) -> FileSource {
    let path = folder.path(name);
    std::fs::write(&path, bytes).unwrap();
    FileSource {
        dataset: "strikes".into(),
        format: Format::of_path(name).unwrap(),
        csv: CsvForm::default(),
        path,
        columns,
    }
}

fn csv(bytes: &[u8], columns: Option<&[(&str, ColumnType)]>) -> (Folder, FileSource) {
    let folder = Folder::new();
    let source = source(&folder, "a.csv", bytes, columns.map(columns_of));
    (folder, source)
}

/// The first error of reading everything, as its message without the folder.
fn error_of(folder: &Folder, source: &FileSource) -> String {
    let error = match source.batches(None, 10) {
        Err(error) => error,
        Ok(batches) => batches.batches.into_iter().find_map(Result::err).expect("an error"),
    };
    error.to_string().replace(&format!("{}/", folder.path("").display().to_string().trim_end_matches('/')), "")
}

fn texts(source: &FileSource) -> Vec<Vec<Option<String>>> {
    rows_of(source)
}

fn row(cells: &[&str]) -> Vec<Option<String>> {
    cells.iter().map(|cell| Some((*cell).to_owned()).filter(|text| text != "∅")).collect()
}

#[test]
fn real_strikes_get_their_types_from_their_values() {
    let path = crate::package().join("tests/data/birdstrikes-500.csv");
    let source =
        FileSource { dataset: "strikes".into(), path, format: Format::Csv, csv: CsvForm::default(), columns: None };
    let columns = source.columns().unwrap();
    let type_of = |name: &str| columns.iter().find(|column| column.name == name).unwrap().column_type;
    assert_eq!(type_of("Airport Name"), ColumnType::Text);
    assert_eq!(type_of("Flight Date"), ColumnType::Date);
    assert_eq!(type_of("Cost Total $"), ColumnType::Integer);
    assert_eq!(texts(&source).len(), 500);
    assert_eq!(texts(&source.settled().unwrap()), texts(&source));
}

#[test]
fn awkward_texts_survive_and_an_empty_field_is_null_unless_it_stands_in_quotes() {
    let (_folder, source) = csv(
        "\u{feff}code,text,number\r\n00501,\"say \"\"hi\"\", א\n😀\",1.50\r\n,NA,\r\n9223372036854775807,\"\",1e21\r\n1,,\"\"\r\n"
            .as_bytes(),
        None,
    );
    let types: Vec<ColumnType> = source.columns().unwrap().iter().map(|column| column.column_type).collect();
    assert_eq!(types, [ColumnType::Text, ColumnType::Text, ColumnType::Number]);
    assert_eq!(
        texts(&source),
        [
            row(&["00501", "say \"hi\", א\n😀", "1.5"]),
            row(&["∅", "NA", "∅"]),
            row(&["9223372036854775807", "", "1e+21"]),
            row(&["1", "∅", "∅"]),
        ]
    );
}

#[test]
fn an_empty_text_and_no_value_stay_apart_through_a_csv_output() {
    let columns = [("id", ColumnType::Integer), ("text", ColumnType::Text), ("cost", ColumnType::Number)];
    let (folder, source) = csv(b"id,text,cost\n1,,\n2,\"\",\"\"\n3,\" \",1\n", Some(&columns));
    let expected = [row(&["1", "∅", "∅"]), row(&["2", "", "∅"]), row(&["3", " ", "1"])];
    assert_eq!(texts(&source), expected);
    for format in [Format::Parquet, Format::Jsonl] {
        assert_eq!(texts(&folder.convert(&source, format)), expected);
    }
    // From another format into CSV, and back.
    let parquet = folder.convert(&source, Format::Parquet);
    let again = folder.convert(&FileSource { dataset: "again".into(), ..parquet }, Format::Csv);
    assert_eq!(std::fs::read_to_string(&again.path).unwrap(), "id,text,cost\n1,,\n2,\"\",\n3,\" \",1\n");
    assert_eq!(texts(&again), expected);
}

#[test]
fn every_declared_type_is_read_and_written_in_its_canonical_form() {
    let columns = [
        ("text", ColumnType::Text),
        ("integer", ColumnType::Integer),
        ("number", ColumnType::Number),
        ("money", ColumnType::Decimal { precision: 20, scale: 2 }),
        ("flag", ColumnType::Boolean),
        ("day", ColumnType::Date),
        ("time", ColumnType::DateTime),
        ("moment", ColumnType::Instant),
    ];
    let (_folder, source) = csv(
        b"day,text,integer,number,money,flag,time,moment\n\
          0001-01-01,x,-9223372036854775808,-0,123456789012345678.9,Yes,1969-12-31 23:59:59.999999,2022-12-21T10:00:00+02:00\n\
          9999-12-31,y,1,1,1,No,9999-12-31 23:59:59.999999,9999-12-31T23:59:59.999999Z\n",
        Some(&columns),
    );
    assert_eq!(
        texts(&source),
        [
            row(&[
                "x",
                "-9223372036854775808",
                "-0",
                "123456789012345678.90",
                "true",
                "0001-01-01",
                "1969-12-31T23:59:59.999999",
                "2022-12-21T08:00:00Z"
            ]),
            row(&[
                "y",
                "1",
                "1",
                "1.00",
                "false",
                "9999-12-31",
                "9999-12-31T23:59:59.999999",
                "9999-12-31T23:59:59.999999Z"
            ])
        ]
    );
}

#[test]
fn bad_csv_is_refused_with_its_place_and_what_to_do() {
    let declared = [("id", ColumnType::Integer), ("cost", ColumnType::Number)];
    let cases: &[(&[u8], &[&str])] = &[
        (b"id,cost\n1,2\n3\n", &["a.csv, line 3:", "2 columns", "this line 1"]),
        (b"id,cost\n1,\"a\nb\"\n", &["a.csv, line 2, column `cost`:", "is not a number", "Correct the file"]),
        (b"id,cost\n1,2\nx,3\n", &["a.csv, line 3, column `id`:", "`x` is not a whole number"]),
        (b"id,cost\n1,2\n2,\"3\n4,5\n", &["a.csv, line 3:", "is not closed"]),
        (b"id,cost\n1,\xe9\n", &["line 2, column `cost`", "0xE9", "save the file as UTF-8"]),
        (b"", &["a.csv: the file is empty"]),
        (b"\xff\xfei\0d\0", &["UTF-16"]),
        (b"id,cost,id\n", &["line 1", "two columns are named `id`"]),
        (b"id,\n", &["`cost` is declared", "has no such column"]),
        (b"\x1F\x8B\x08", &["a.csv: it is compressed (gzip): unpack it first"]),
        (b"PK\x03\x04", &["a.csv: it is an Excel workbook or a ZIP archive"]),
        (b"i\0d\0", &["a.csv: the text is UTF-16"]),
        (b"sep=;\nid;cost\n1;2\n", &["line 1", "separated by `;`", "delimiter = \";\""]),
        (b"id,costs\n", &["dataset `strikes`", "`cost` is declared", "it has `costs`"]),
        (b"id,cost,speed\n", &["has a column `speed` that is not declared"]),
    ];
    for (bytes, parts) in cases {
        let (folder, source) = csv(bytes, Some(&declared));
        let message = error_of(&folder, &source);
        for part in *parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}

#[test]
fn a_quote_that_is_never_closed_is_refused_before_the_file_fills_the_memory() {
    let mut bytes = b"id,cost\n1,\"".to_vec();
    bytes.resize(80 * 1024 * 1024, b'x');
    let (folder, source) = csv(&bytes, None);
    assert!(error_of(&folder, &source).contains("a quote is probably not closed"));
}

#[test]
fn missing_files_and_empty_folders_say_so() {
    let folder = Folder::new();
    let missing = FileSource {
        dataset: "strikes".into(),
        path: folder.path("gone.csv"),
        format: Format::Csv,
        csv: CsvForm::default(),
        columns: None,
    };
    assert!(missing.files().unwrap_err().to_string().contains("gone.csv does not exist"));
    std::fs::create_dir(folder.path("empty")).unwrap();
    let empty = FileSource { path: folder.path("empty"), ..missing };
    assert!(empty.files().unwrap_err().to_string().contains("has no .csv file"));
}

#[test]
fn the_files_of_a_folder_are_one_dataset_in_order_of_their_names() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("parts")).unwrap();
    for (name, text) in [("b.csv", "y,x\n3,4\n"), ("a.csv", "x,y\n1,2\n"), ("_done.csv", ""), ("note.txt", "")] {
        std::fs::write(folder.path("parts").join(name), text).unwrap();
    }
    let source = FileSource {
        dataset: "parts".into(),
        path: folder.path("parts"),
        format: Format::Csv,
        csv: CsvForm::default(),
        columns: None,
    };
    assert_eq!(texts(&source), [row(&["1", "2"]), row(&["4", "3"])]);
    let before = source.fingerprint().unwrap();
    assert_eq!(before, source.fingerprint().unwrap());
    assert_eq!(before.files.len(), 2);
    assert_eq!(before.files[0].sha256().unwrap().len(), 64);
    std::fs::write(folder.path("parts").join("a.csv"), "x,y\n1,22\n").unwrap();
    assert_ne!(before.identity(), source.fingerprint().unwrap().identity());
}

#[test]
fn what_may_belong_to_a_dataset_and_cannot_be_read_is_never_left_out_silently() {
    let folder = Folder::new();
    let parts = folder.path("parts");
    std::fs::create_dir(&parts).unwrap();
    let source = FileSource {
        dataset: "parts".into(),
        path: parts.clone(),
        format: Format::Csv,
        csv: CsvForm::default(),
        columns: None,
    };
    std::fs::create_dir(parts.join("older")).unwrap();
    let message = error_of(&folder, &source);
    assert!(message.contains("has no .csv file; folders in it are not looked into"), "{message}");
    std::fs::write(parts.join("a.csv"), "x\n1\n").unwrap();
    assert_eq!(texts(&source), [row(&["1"])]);
    std::fs::create_dir(parts.join("_year=2025")).unwrap();
    std::fs::create_dir(parts.join("year=2026")).unwrap();
    let message = error_of(&folder, &source);
    assert!(message.contains("`year=2026`") && message.contains("with `year` as a column"), "{message}");
    std::fs::remove_dir(parts.join("year=2026")).unwrap();
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;
        std::fs::write(parts.join(std::ffi::OsStr::from_bytes(b"\xff.csv")), "x\n2\n").unwrap();
        let message = error_of(&folder, &source);
        assert!(message.contains("is not UTF-8"), "{message}");
        let device = FileSource { path: "/dev/zero".into(), ..source };
        let message = error_of(&folder, &device);
        assert!(message.contains("neither a file nor a folder"), "{message}");
    }
}

#[test]
fn a_projection_gives_the_wanted_columns_in_the_wanted_order() {
    let folder = Folder::new();
    for name in ["a.csv", "a.jsonl"] {
        let text: &[u8] = if name == "a.csv" { b"x,y,z\n1,2,3\n" } else { b"{\"x\":1,\"y\":2,\"z\":3}" };
        let source = source(&folder, name, text, None);
        let mut batches = source.batches(Some(&[2, 0]), 10).unwrap();
        let batch = batches.batches.next().unwrap().unwrap();
        let cells: Vec<_> = batch.columns().iter().map(|array| stet_engine::cell::text(array, 0)).collect();
        assert_eq!(cells, row(&["3", "1"]));
        assert!(source.batches(Some(&[3]), 10).is_err());
    }
}

#[test]
fn json_lines_keep_64_bit_integers_and_decimals_exact() {
    let folder = Folder::new();
    let text = "\u{feff}{\"id\":9223372036854775807,\"t\":\"a\\n\\ud83d\\ude00\",\"n\":0.1,\"d\":\"2022-12-21\"}\r\n\
                \n{\"n\":2,\"id\":-9223372036854775808,\"b\":true,\"deep\":{\"a\":[1]}}\n";
    let inferred = source(&folder, "a.jsonl", text.as_bytes(), None);
    let types: Vec<(String, ColumnType)> =
        inferred.columns().unwrap().into_iter().map(|column| (column.name, column.column_type)).collect();
    let expected = [
        ("id", ColumnType::Integer),
        ("t", ColumnType::Text),
        ("n", ColumnType::Number),
        ("d", ColumnType::Date),
        ("b", ColumnType::Boolean),
        ("deep", ColumnType::Other),
    ];
    assert_eq!(types, expected.map(|(name, column_type)| (name.to_owned(), column_type)));
    assert_eq!(
        texts(&inferred),
        [
            row(&["9223372036854775807", "a\n😀", "0.1", "2022-12-21", "∅", "∅"]),
            row(&["-9223372036854775808", "∅", "2", "∅", "true", "{\"a\":[1]}"]),
        ]
    );
    let money = ColumnType::Decimal { precision: 38, scale: 20 };
    let exact = source(
        &folder,
        "b.jsonl",
        b"{\"m\":123456789012345678.12345678901234567890}",
        Some(columns_of(&[("m", money)])),
    );
    assert_eq!(texts(&exact), [row(&["123456789012345678.12345678901234567890"])]);
}

#[test]
fn nested_values_of_json_lines_are_passed_on_as_they_are_written() {
    let folder = Folder::new();
    let text = "{\"id\":1,\"deep\":{\"n\": 1.50, \"big\":123456789012345678901234567890},\"mixed\":[1]}\n\
                {\"id\":2,\"deep\":[\"a\\u00e9\\n\"],\"mixed\":\"x\"}\n{\"id\":3,\"deep\":null,\"mixed\":5}\n";
    let from = source(&folder, "a.jsonl", text.as_bytes(), None);
    let types: Vec<ColumnType> = from.columns().unwrap().iter().map(|column| column.column_type).collect();
    assert_eq!(types, [ColumnType::Integer, ColumnType::Other, ColumnType::Text]);
    let mixed_is_text = "{\"id\":1,\"deep\":{\"n\": 1.50, \"big\":123456789012345678901234567890},\"mixed\":\"[1]\"}\n\
                {\"id\":2,\"deep\":[\"a\\u00e9\\n\"],\"mixed\":\"x\"}\n{\"id\":3,\"deep\":null,\"mixed\":\"5\"}\n";
    let written = |source: &FileSource| {
        let options = WriteOptions { format: OutputFormat::Jsonl, formulas: Formulas::Keep };
        String::from_utf8(export(source, Vec::new(), options, &Control::unwatched()).unwrap().0).unwrap()
    };
    assert_eq!(written(&from), mixed_is_text);
    // On the way through Parquet too, and with types that were declared.
    let parquet = folder.convert(&from, Format::Parquet);
    assert_eq!(parquet.columns().unwrap()[1].column_type, ColumnType::Other);
    assert_eq!(written(&parquet), mixed_is_text);
    assert_eq!(written(&from.settled().unwrap()), mixed_is_text);
    let declared = columns_of(&[("id", ColumnType::Other), ("deep", ColumnType::Text), ("mixed", ColumnType::Other)]);
    let line = written(&FileSource { columns: Some(declared), ..from });
    assert!(line.ends_with("{\"id\":3,\"deep\":null,\"mixed\":5}\n"), "{line}");
}

#[test]
fn a_line_that_names_the_separator_is_no_header_and_columns_without_a_name_have_their_place() {
    let folder = Folder::new();
    for text in ["sep=,\r\n,id,,column_1\r\n0,1,x,y\r\n", "\u{feff}\"sep=,\"\n\"\",id,,column_1\n0,1,x,y\n"] {
        let source = source(&folder, "a.csv", text.as_bytes(), None);
        let names: Vec<String> = source.columns().unwrap().into_iter().map(|column| column.name).collect();
        assert_eq!(names, ["column_1_", "id", "column_3", "column_1"]);
        assert_eq!(texts(&source), [row(&["0", "1", "x", "y"])]);
        assert_eq!(texts(&source.settled().unwrap()), texts(&source));
    }
}

/// An object with so many fields, and another one.
fn many_fields(count: usize, another: &str) -> String {
    let fields: String = (0..count).map(|field| format!("\"f{field}\": {field}, ")).collect();
    format!("{{{fields}{another}}}\n")
}

#[test]
fn as_many_fields_as_a_dataset_can_have_columns_are_read() {
    let folder = Folder::new();
    let text = many_fields(9_999, "\"last\": \"x\"").repeat(2);
    let source = source(&folder, "wide.jsonl", text.as_bytes(), None);
    let rows = texts(&source);
    assert_eq!((rows.len(), rows[1].len(), rows[1][9_998].as_deref()), (2, 10_000, Some("9998")));
    assert_eq!(rows[1][9_999].as_deref(), Some("x"));
}

#[test]
fn bad_json_lines_are_refused_with_their_line() {
    let declared = columns_of(&[("id", ColumnType::Integer), ("cost", ColumnType::Number)]);
    for (text, parts) in [
        ("{\"id\":1}\n{\"id\":", &["a.jsonl, line 2, character", "not a JSON object"][..]),
        ("[1]\n", &["line 1", "not a JSON object"]),
        ("{\"id\":1.5}\n", &["line 1, column `id`", "is not a whole number"]),
        ("{\"id\":1,\"costs\":2}", &["line 1", "`costs` is not a declared column", "did you mean `cost`?"]),
        ("{\"id\":1,\"id\":2}", &["line 1", "occurs twice"]),
        (many_fields(20, "\"f3\": 1").as_str(), &["line 1", "`f3` occurs twice"]),
        (many_fields(10_000, "\"more\": 1").as_str(), &["line 1", "it has more than 10000 fields"]),
    ] {
        let folder = Folder::new();
        let source = source(&folder, "a.jsonl", text.as_bytes(), Some(declared.clone()));
        let message = error_of(&folder, &source);
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}
