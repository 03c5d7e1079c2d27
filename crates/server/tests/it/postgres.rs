//! Originals, outputs and editlogs in PostgreSQL: the same answers as with files.

use serde_json::{Value, json};
use stet_app::{BuildMode, ExportFormat, JobState};
use stet_domain::{Actor, Login};
use stet_testkit::postgres::{SUPERUSER, TestDatabase};
use stet_testkit::{DESIGNER, PROJECT, READER, Setup, TestNode};

use crate::{STRIKES, one, update};

/// The sample's strikes with the types of an ordinary database.
const TABLE: &str = "CREATE TABLE strikes (
  strike_id int PRIMARY KEY, airport_name varchar(200), aircraft text, damage text, flight_date date, operator text,
  origin_state text, phase_of_flight text, size text, species text, time_of_day text, cost_other double precision,
  cost_repair real, cost_total numeric(12,0), speed_knots smallint)";

fn shell() -> Actor {
    Actor::shell(Login::new("shell").expect("a login"))
}

fn database() -> TestDatabase {
    let database = TestDatabase::new();
    database.sql(TABLE);
    let csv = stet_testkit::repository().join("examples/birdstrikes/data/strikes.csv");
    database.sql(&format!("\\copy strikes FROM '{}' CSV HEADER", csv.display()));
    database
}

fn connected(database: &TestDatabase) -> Setup {
    let server = &database.server;
    Setup::default().config(&format!(
        "[connections.pg]\nkind = \"postgresql\"\nhost = \"{}\"\nport = {}\ndatabase = \"{}\"\nuser = \"{SUPERUSER}\"",
        server.socket.display(),
        server.port,
        database.name
    ))
}

fn dataset(setup: Setup, name: &str, text: &str) -> Setup {
    setup.file(&format!("projects/{PROJECT}/datasets/{name}.toml"), text)
}

/// A node whose original, editlog and output are all in the database.
fn all_inside(database: &TestDatabase) -> Setup {
    let setup = connected(database);
    let setup = dataset(setup, "strikes", "connection = \"pg\"\ntable = \"strikes\"\nkey = [\"strike_id\"]\n");
    let setup = dataset(setup, "strikes_editlog", "connection = \"pg\"\ntable = \"edit.strikes_editlog\"\n");
    dataset(setup, "strikes_edited", "connection = \"pg\"\ntable = \"public.strikes_edited\"\n")
}

async fn edit(node: &TestNode) {
    let client = node.signed_in(READER).await;
    for (key, column, value) in [
        ("1", "species", json!("Gull")),
        ("2", "cost_repair", json!("0.1")),
        ("2", "diverted_to", json!("SEA")),
        ("3", "size", json!(null)),
        ("4", "flight_date", json!("1999-12-31")),
        ("5", "speed_knots", json!("599")),
        ("9999", "time_of_day", json!("Dusk")),
    ] {
        let answer = client.post(&format!("{STRIKES}/edits"), &one(update(key, column, value, json!(null)))).await;
        let answer = answer.expect_status(200).json();
        assert_eq!(answer["results"][0]["status"], "saved", "{answer}");
    }
}

/// The edited rows by key, and the report without what differs by place.
async fn built(node: &TestNode) -> (Vec<String>, Value) {
    let job = node.app.build_and_wait(&shell(), PROJECT, "strikes_edited", BuildMode::Required).await.expect("a build");
    assert_eq!(job.state, JobState::Done, "{:?}", job.error);
    let report = serde_json::to_value(job.steps.last().and_then(|step| step.report.clone())).expect("a report");
    let app = node.app.clone();
    let rows = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        app.export(&shell(), PROJECT, "strikes_edited", ExportFormat::Jsonl, &mut out).expect("an export");
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
    })
    .await
    .expect("rows");
    (rows, report)
}

fn account(report: &Value) -> Value {
    let names = ["rows_in", "rows_out", "edits_applied", "rows_created", "rows_deleted", "orphans", "misfits", "stale"];
    names.iter().map(|name| ((*name).to_owned(), report[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_inside_the_database_equals_a_build_of_files() {
    let database = database();
    let inside = all_inside(&database).start().await;
    inside.app.initialise_editlog(&shell(), PROJECT, "strikes").await.expect("an editlog");
    let files = TestNode::start().await;
    // The same log on both: the second node reads the first's database, and makes files of it.
    edit(&inside).await;
    edit(&files).await;
    // Rows that the original loses and changes after they were edited.
    database.sql("DELETE FROM strikes WHERE strike_id = 9999; UPDATE strikes SET species = 'Gull' WHERE strike_id = 1");
    let csv = files.folder().join(format!("data/{PROJECT}/strikes.csv"));
    let text = std::fs::read_to_string(&csv).expect("the original");
    let changed: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("9999,"))
        .map(|line| if line.starts_with("1,") { line.replace("Turkey vulture", "Gull") } else { line.to_owned() })
        .collect();
    std::fs::write(&csv, changed.join("\n") + "\n").expect("the original");

    let (rows_inside, report_inside) = built(&inside).await;
    let (rows_files, report_files) = built(&files).await;
    assert_eq!(account(&report_inside), account(&report_files));
    assert_eq!(report_inside["orphans"]["count"], 1);
    assert_eq!(report_inside["stale"]["agrees"], 1);
    let by_key = |rows: Vec<String>| {
        let mut rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).expect("a row")).collect();
        for row in &mut rows {
            // The file has a number where the database has a decimal without digits behind the point.
            if let Some(cost) = row["cost_total"].as_str().and_then(|text| text.parse::<f64>().ok()) {
                row["cost_total"] = json!(cost);
            }
        }
        rows.sort_by_key(|row| row["strike_id"].as_i64());
        rows
    };
    let (rows_inside, rows_files) = (by_key(rows_inside), by_key(rows_files));
    assert_eq!(rows_inside.len(), 9_999);
    for (inside, files) in rows_inside.iter().zip(&rows_files) {
        let plain = |row: &Value| {
            let mut row = row.clone();
            let cost = row["cost_total"].as_f64();
            row["cost_total"] = json!(cost);
            row
        };
        assert_eq!(plain(inside), plain(files));
    }
    // In the database's own eyes: the order of the original, and types that hold whatever people may type.
    assert_eq!(database.sql("SELECT size IS NULL, speed_knots, diverted_to IS NULL FROM strikes_edited WHERE strike_id IN (3, 5) ORDER BY 1 DESC, 2"), "t|130|t\nf|599|t");
    assert_eq!(database.sql("SELECT strike_id FROM strikes_edited LIMIT 4"), "2\n3\n4\n5");
    assert_eq!(database.sql("SELECT cost_repair FROM strikes_edited WHERE strike_id = 2"), "0.1");
    assert_eq!(database.sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'stet\\_%' AND relkind = 'r'"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_stale_when_and_only_when_something_changed() {
    let database = database();
    let node = all_inside(&database).start().await;
    node.app.initialise_editlog(&shell(), PROJECT, "strikes").await.expect("an editlog");
    built(&node).await;
    let again = async |mode| node.app.build_and_wait(&shell(), PROJECT, "strikes_edited", mode).await;
    let state = async || {
        let job = again(BuildMode::Required).await.expect("a build");
        assert_eq!(job.state, JobState::Done, "{:?}", job.error);
        format!("{:?}", job.steps.last().expect("a step").state)
    };
    assert_eq!(state().await, "Fresh");
    edit(&node).await;
    assert_eq!(state().await, "Done");
    assert_eq!(state().await, "Fresh");
    database.sql("GRANT SELECT ON strikes_edited TO PUBLIC; DELETE FROM strikes_edited WHERE strike_id = 7");
    let mut found = String::new();
    // The database tells of a change up to some seconds after it.
    for _ in 0..40 {
        found = state().await;
        if found == "Done" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert_eq!(found, "Done", "an output that somebody changed is made again");
    assert_eq!(database.sql("SELECT count(*) FROM strikes_edited"), "10000");
    assert_eq!(
        database.sql("SELECT has_table_privilege('public', 'strikes_edited', 'SELECT')"),
        "t",
        "rights outlive a build"
    );
    // A table that nobody of ours made is never replaced.
    database.sql("DROP TABLE strikes_edited; CREATE TABLE strikes_edited AS SELECT 1 AS precious");
    let job = again(BuildMode::Force).await.expect("a build");
    assert_eq!(job.state, JobState::Failed);
    assert!(job.error.as_deref().is_some_and(|error| error.contains("no recipe of Stet made")), "{:?}", job.error);
    assert_eq!(database.sql("SELECT precious FROM strikes_edited"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_an_editlog_is_read_only_until_it_is_initialised() {
    let database = database();
    let node = all_inside(&database).start().await;
    let client = node.signed_in(READER).await;
    let table = client.get(STRIKES).await.expect_status(200).json();
    assert_eq!(table["total"], 10_000);
    let reason = table["read_only"].as_str().expect("a reason");
    assert!(reason.contains("not initialised") && reason.contains("stet editlog init BIRDSTRIKES.strikes"), "{reason}");
    let request = one(update("1", "species", json!("Gull"), json!(null)));
    client.post(&format!("{STRIKES}/edits"), &request).await.expect_status(409).problem();
    let rows = client.post(&format!("{STRIKES}/rows/query"), &json!({ "limit": 1 })).await.expect_status(200).json();
    assert_eq!(rows["rows"][0]["key"], "1", "{rows}");
    let flow = client.get(&format!("/api/v1/projects/{PROJECT}/datasets/strikes_editlog")).await.expect_status(200);
    assert!(flow.json()["reason"].as_str().is_some_and(|reason| reason.contains("not initialised")));

    assert!(!node.app.initialise_editlog(&shell(), PROJECT, "strikes").await.expect("an editlog"));
    assert!(node.app.initialise_editlog(&shell(), PROJECT, "strikes").await.expect("an editlog"));
    // It is noticed by itself.
    for _ in 0..40 {
        if client.get(STRIKES).await.expect_status(200).json()["read_only"].is_null() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    client.post(&format!("{STRIKES}/edits"), &request).await.expect_status(200);
    assert_eq!(
        database.sql("SELECT \"user\", key, column_name, value, db_user FROM edit.strikes_editlog"),
        format!("{READER}|1|species|Gull|{SUPERUSER}")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_in_the_database_can_have_its_outputs_in_files_and_the_reverse() {
    let database = database();
    let setup = dataset(
        connected(&database),
        "strikes",
        "connection = \"pg\"\nquery = \"SELECT * FROM public.strikes -- all\"\nkey = [\"strike_id\"]\n",
    );
    let mixed = setup.start().await;
    edit(&mixed).await;
    let (rows, report) = built(&mixed).await;
    assert_eq!((rows.len(), &report["edits_applied"]), (10_000, &json!(7)));

    let setup = dataset(connected(&database), "strikes_edited", "connection = \"pg\"\ntable = \"from_files\"\n");
    let reverse = setup.start().await;
    edit(&reverse).await;
    let (rows, report) = built(&reverse).await;
    assert_eq!((rows.len(), &report["edits_applied"]), (10_000, &json!(7)));
    assert_eq!(database.sql("SELECT species, pg_typeof(strike_id) FROM from_files WHERE strike_id = 1"), "Gull|bigint");
    let client = reverse.signed_in(DESIGNER).await;
    let shown = client.get(&format!("/api/v1/projects/{PROJECT}/datasets/strikes_edited/rows?limit=2")).await;
    assert_eq!(shown.expect_status(200).json()["rows"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_table_is_said_without_the_databases_words() {
    let database = database();
    database.sql("CREATE TABLE twice AS SELECT 1 AS id, 'a' AS x UNION ALL SELECT 1, 'b' UNION ALL SELECT NULL, 'c'");
    let setup = all_inside(&database);
    let setup = dataset(setup, "gone", "connection = \"pg\"\ntable = \"nowhere.gone\"\n");
    let setup = dataset(setup, "wrong", "connection = \"pg\"\nquery = \"SELECT nothing FROM public.strikes\"\n");
    let node = dataset(setup, "elsewhere", "connection = \"other\"\ntable = \"x\"\n").start().await;
    let client = node.signed_in(DESIGNER).await;
    for (dataset, expected) in [
        ("gone", "no data"),
        ("wrong", "query of the dataset is wrong"),
        ("elsewhere", "the connection `other`, which this node does not have"),
    ] {
        let answer = client.get(&format!("/api/v1/projects/{PROJECT}/datasets/{dataset}/rows")).await;
        let problem = answer.problem();
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(expected)), "{dataset}: {problem}");
    }
}
