//! SQL recipes over files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stet_domain::ColumnType;
use stet_domain::project::{Column, CsvForm, Format};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::read::FileSource;
use stet_engine::sql::{QueryBuild, QueryTask, check, run};

use crate::build_support::{Folder, columns_of, rows_in};

fn query(sql: &str, inputs: &[FileSource], output: &Path) -> Result<QueryBuild, EngineError> {
    query_as(sql, inputs, None, output)
}

fn query_as(
    sql: &str,
    inputs: &[FileSource],
    columns: Option<&[Column]>,
    output: &Path,
) -> Result<QueryBuild, EngineError> {
    let task = QueryTask {
        file: "recipes/q.sql",
        sql,
        inputs,
        earlier: &[],
        dataset: "out",
        columns,
        output,
        format: Format::of_path(output.to_str().unwrap()).unwrap(),
    };
    run(&task, &Control::unwatched())
}

fn data(name: &str) -> FileSource {
    let path = crate::package().join("tests/data").join(format!("{name}.csv"));
    let dataset = name.split('-').next().unwrap().to_owned();
    FileSource { dataset, path, format: Format::Csv, csv: CsvForm::default(), columns: None }
}

const ALL_TYPES: [(&str, ColumnType); 8] = [
    ("id", ColumnType::Integer),
    ("text", ColumnType::Text),
    ("number", ColumnType::Number),
    ("money", ColumnType::Decimal { precision: 20, scale: 2 }),
    ("flag", ColumnType::Boolean),
    ("day", ColumnType::Date),
    ("at", ColumnType::DateTime),
    ("moment", ColumnType::Instant),
];
const ALL_TYPES_CSV: &str = "id,text,number,money,flag,day,at,moment\n\
    9223372036854775807,\"a \"\"b\"\",\",1.5,123456789012345678.90,true,2001-02-03,2001-02-03T04:05:06,2001-02-03T04:05:06Z\n\
    2,NA,-0,0.10,false,,,\n\
    3,,,,,,,\n";

#[test]
fn every_type_passes_through_a_query_unchanged() {
    let folder = Folder::new();
    let csv = folder.csv("t", ALL_TYPES_CSV, &ALL_TYPES);
    for source in [csv.clone(), folder.convert(&csv, Format::Parquet), folder.convert(&csv, Format::Jsonl)] {
        let output = folder.path("out.parquet");
        let built = query("SELECT * FROM t", std::slice::from_ref(&source), &output).unwrap();
        assert_eq!(built.report.columns, columns_of(&ALL_TYPES));
        assert_eq!(rows_in(&output), crate::build_support::rows_of(&csv));
    }
}

#[test]
fn joins_aggregates_and_windows_give_what_sqlite_gives() {
    let folder = Folder::new();
    let output = folder.path("out.csv");
    let inputs = [data("birdstrikes-500"), data("airports")];
    query(
        "WITH by_state AS (
           SELECT \"Origin State\" AS state, count(*) AS strikes, sum(\"Cost Total $\") AS cost
           FROM birdstrikes GROUP BY 1)
         SELECT state, strikes, cost, rank() OVER (ORDER BY strikes DESC, state) AS place
         FROM by_state ORDER BY place LIMIT 3",
        &inputs,
        &output,
    )
    .unwrap();
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(text.starts_with("state,strikes,cost,place\n"), "{text}");
    assert_eq!(text.lines().count(), 4);

    query(
        "SELECT a.iata, b.iata AS same FROM airports a JOIN airports b ON b.iata = a.iata AND b.state = a.state
         LEFT JOIN airports c ON c.iata = a.iata || 'x' WHERE c.iata IS NULL",
        &inputs,
        &output,
    )
    .unwrap();
    let rows = rows_in(&output);
    assert_eq!(rows.len(), 3376);
    assert!(rows.iter().all(|row| row[0] == row[1]));
}

#[test]
fn texts_that_look_like_numbers_join_as_sqlite_compares_them() {
    let folder = Folder::new();
    let left = folder.csv("l", "k\n1\n2\n3\n", &[("k", ColumnType::Integer)]);
    let right = folder.csv("r", "k,v\n1,a\n02,b\n 3,c\n1.0,d\n", &[("k", ColumnType::Text), ("v", ColumnType::Text)]);
    let output = folder.path("out.csv");
    query("SELECT l.k, v FROM l JOIN r ON l.k = r.k ORDER BY 1, 2", &[left.clone(), right.clone()], &output).unwrap();
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "k,v\n1,a\n1,d\n2,b\n3,c\n");
    query("SELECT v FROM r WHERE k = 1", &[right], &output).unwrap();
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "v\na\n");
}

#[test]
fn airports_written_in_another_way_are_found_by_similarity() {
    let folder = Folder::new();
    let names = "name\nDALLAS/FORT WORTH INTL ARPT\nCHICAGO O'HARE INTL ARPT\nNEWARK INTL ARPT\n";
    let names = folder.csv("names", names, &[("name", ColumnType::Text)]);
    let output = folder.path("out.csv");
    let sql = "WITH scored AS (
           SELECT n.name, a.iata, trigram_similarity(
             replace(replace(normalize_text(n.name), 'intl', 'international'), 'arpt', ''),
             replace(normalize_text(a.name), 'intl', 'international')) AS score
           FROM names n, airports a),
         ranked AS (SELECT *, row_number() OVER (PARTITION BY name ORDER BY score DESC, iata) AS place FROM scored)
         SELECT name, iata, round(score, 3) AS score FROM ranked WHERE place = 1 ORDER BY name";
    query(sql, &[names, data("airports")], &output).unwrap();
    let found: Vec<_> = rows_in(&output).into_iter().map(|row| row[1].clone().unwrap()).collect();
    assert_eq!(found, ["ORD", "DFW", "EWR"]);

    query(
        "SELECT jaro_winkler('MARTHA', 'MARHTA') AS j, levenshtein('kitten', 'sitting') AS l,
           normalized_levenshtein('abc', 'abd') AS n, levenshtein(NULL, 'a') AS none, normalize_text('Ça, là!') AS t",
        &[],
        &output,
    )
    .unwrap();
    let row = &rows_in(&output)[0];
    assert!(row[0].as_ref().unwrap().starts_with("0.961"));
    assert_eq!(row[1..], [Some("3".into()), Some(row[2].clone().unwrap()), None, Some("ca la".into())]);
}

#[test]
fn a_column_that_turns_out_wider_in_a_late_row_is_right_in_every_row() {
    let folder = Folder::new();
    let output = folder.path("out.parquet");
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)";
    let built = query(
        &format!(
            "{numbers} SELECT i, CASE WHEN i = 20000 THEN 0.5 ELSE i END AS x,
             CASE WHEN i = 19999 THEN 'late' ELSE i END AS t,
             CASE WHEN i = 3 THEN 9007199254740993 WHEN i = 4 THEN 0.5 ELSE i END AS exact, NULL AS empty FROM n"
        ),
        &[],
        &output,
    )
    .unwrap();
    let types: Vec<ColumnType> = built.report.columns.iter().map(|column| column.column_type).collect();
    let expected = [ColumnType::Integer, ColumnType::Number, ColumnType::Text, ColumnType::Text, ColumnType::Text];
    assert_eq!(types, expected);
    let rows = rows_in(&output);
    assert_eq!(rows.len(), 20_000);
    assert_eq!(rows[2][3].as_deref(), Some("9007199254740993"));
    assert_eq!(rows[19_999][1].as_deref(), Some("0.5"));
    assert_eq!(rows[19_998][2].as_deref(), Some("late"));

    // The first part of a compound gives the expected type, which the second one does not keep.
    let t = folder.csv("t", "n\n1\n", &[("n", ColumnType::Integer)]);
    let built = query("SELECT n FROM t UNION ALL SELECT 'x'", &[t], &output).unwrap();
    assert_eq!(built.report.columns, columns_of(&[("n", ColumnType::Text)]));
}

#[test]
fn declared_columns_give_the_types_and_a_value_that_does_not_fit_is_told() {
    let folder = Folder::new();
    let output = folder.path("out.parquet");
    let declared = columns_of(&[("d", ColumnType::Date), ("ok", ColumnType::Boolean), ("x", ColumnType::Number)]);
    let built = query_as("SELECT '2001-01-01' AS d, 1 AS ok, 2 AS x", &[], Some(&declared), &output).unwrap();
    assert_eq!(built.report.columns, declared);
    let error = query_as("SELECT 'soon' AS d, 1 AS ok, 2 AS x", &[], Some(&declared), &output).unwrap_err().to_string();
    assert!(error.contains("row 1 of the result, column `d`: `soon` is not a date"), "{error}");
    let error = query_as("SELECT 1 AS ok, 2 AS x", &[], Some(&declared), &output).unwrap_err().to_string();
    assert!(error.contains("the column `d` is declared"), "{error}");
}

#[test]
fn a_recipe_can_do_nothing_but_read_its_inputs() {
    let folder = Folder::new();
    let t = folder.csv("t", "n\n1\n", &[("n", ColumnType::Integer)]);
    let victim = folder.path("victim.db");
    let output = folder.path("out.csv");
    let attach = format!("ATTACH '{}' AS v", victim.display());
    let vacuum = format!("VACUUM INTO '{}'", victim.display());
    for sql in [
        &attach,
        &vacuum,
        "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA table_list",
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET n = 2",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE x(a)",
        "CREATE TEMP TABLE x AS SELECT * FROM t",
        "CREATE VIRTUAL TABLE x USING stet_dataset(0)",
        "BEGIN",
        "SELECT n FROM t; SELECT n FROM t",
        "SELECT n FROM t; DROP TABLE t",
        "EXPLAIN SELECT n FROM t",
        "SELECT * FROM sqlite_master",
        "SELECT count(*) AS n FROM sqlite_schema",
        "SELECT * FROM sqlite_temp_master",
        "SELECT * FROM pragma_table_list",
        "SELECT count(*) AS n FROM pragma_database_list",
        "SELECT load_extension('x') AS x",
        "SELECT readfile('/etc/passwd') AS x",
        "SELECT writefile('/tmp/x', 'y') AS x",
        "SELECT fts3_tokenizer('simple') AS x",
        "SELECT * FROM other",
        "SELECT n, n FROM t",
        "SELECT ?1 AS x",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "",
        "-- nothing",
    ] {
        let error = query(sql, std::slice::from_ref(&t), &output).unwrap_err();
        assert!(matches!(error, EngineError::Query { .. }), "{sql}: {error}");
    }
    assert!(!victim.exists() && !output.exists());
    let ok =
        "WITH x AS (SELECT n FROM t) SELECT (SELECT count(*) FROM x) AS n, (SELECT value FROM json_each('[7]')) AS v;";
    query(ok, std::slice::from_ref(&t), &output).unwrap();
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "n,v\n1,7\n");
}

#[test]
fn an_error_of_a_query_is_told_with_its_place() {
    let folder = Folder::new();
    let t = folder.csv("t", "n\n1\n", &[("n", ColumnType::Integer)]);
    let place = |sql: &str| check("recipes/q.sql", sql, std::slice::from_ref(&t)).unwrap_err().to_string();
    let error = place("SELECT n,\n  nn FROM t");
    assert!(error.starts_with("recipes/q.sql:2:3: no such column: nn (near `nn FROM t`)"), "{error}");
    let error = place("SELECT n\nFORM t");
    assert!(error.starts_with("recipes/q.sql:2:6: near \"t\": syntax error"), "{error}");
    let error = place("SELECT n FROM u");
    assert!(error.contains("there is no table `u`: name it among the recipe's inputs"), "{error}");
    assert_eq!(check("q", "SELECT n AS m FROM t", &[t]).unwrap(), ["m"]);
}

#[test]
fn a_query_without_an_end_is_stopped_on_request() {
    let folder = Folder::new();
    let output = folder.path("out.csv");
    std::fs::write(&output, "old").unwrap();
    let cancel = Arc::new(AtomicBool::new(false));
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n";
    let task = QueryTask {
        file: "q.sql",
        sql,
        inputs: &[],
        earlier: &[],
        dataset: "out",
        columns: None,
        output: &output,
        format: Format::Csv,
    };
    let control = Control::new(cancel.clone(), |_| {});
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&task, &control));
        cancel.store(true, Ordering::Relaxed);
        assert!(matches!(running.join().unwrap(), Err(EngineError::Cancelled)));
    });
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "old");
    assert_eq!(folder.files(), ["out.csv"]);
}

#[test]
fn odd_column_names_can_be_queried() {
    let folder = Folder::new();
    let columns = [
        ("a \"b\"", ColumnType::Integer),
        ("select", ColumnType::Integer),
        ("A", ColumnType::Integer),
        ("a", ColumnType::Integer),
        ("é,", ColumnType::Integer),
    ];
    let t = folder.csv("t", "\"a \"\"b\"\"\",select,A,a,\"é,\"\n1,2,3,4,5\n", &columns);
    let output = folder.path("out.csv");
    let sql = "SELECT \"a \"\"b\"\"\" AS v, \"select\" AS w, A AS x, \"a:2\" AS y, \"é,\" AS z FROM t";
    query(sql, &[t], &output).unwrap();
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "v,w,x,y,z\n1,2,3,4,5\n");
}

#[test]
fn what_is_wrong_in_an_input_is_told_as_such() {
    let folder = Folder::new();
    let t = folder.csv("t", "n\n1\nx\n", &[("n", ColumnType::Integer)]);
    let output = folder.path("out.csv");
    let error = query("SELECT sum(n) AS n FROM t", &[t], &output).unwrap_err();
    assert!(matches!(&error, EngineError::BadData { .. }) && error.to_string().contains("line 3"), "{error}");
}

#[test]
fn tables_too_large_for_memory_are_joined_and_streamed() {
    let folder = Folder::new();
    let rows: u64 = 1_100_000;
    let mut text = String::with_capacity(80_000_000);
    text.push_str("k,pad\n");
    for row in 0..rows {
        use std::fmt::Write;
        writeln!(text, "{row},{:060}", row % 1000).unwrap();
    }
    let t = folder.csv("t", &text, &[("k", ColumnType::Integer), ("pad", ColumnType::Text)]);
    let output = folder.path("out.csv");
    query("SELECT count(*) AS n, sum(k) AS s FROM t", std::slice::from_ref(&t), &output).unwrap();
    assert_eq!(rows_in(&output)[0][0].as_deref(), Some("1100000"));
    query("SELECT count(*) AS n, max(b.pad) AS p FROM t a JOIN t b ON b.k = a.k + 1", &[t], &output).unwrap();
    assert_eq!(rows_in(&output)[0][0].as_deref(), Some("1099999"));
}
