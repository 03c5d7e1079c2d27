use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::Node;

/// Keys that tools trip over.
const KEYS: [&str; 9] =
    ["a\"b", "two\nlines", "comma,key", "😀", "שלום", "NA", "'; DROP TABLE x; --", "10.10", "\\x1b[2J"];

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn awkward() -> Node {
    let rows: String = KEYS.iter().map(|key| format!("{},x,9223372036854775807\n", quoted(key))).collect();
    Node::with_items(&format!("id,name,amount\n{rows}"))
}

#[tokio::test]
async fn awkward_keys_and_values_survive_from_the_edit_to_the_export() {
    let node = awkward();
    let mut server = node.serve();
    let client = server.client(&node.token());
    for key in KEYS {
        let result = client.set(key, "name", json!(format!("{key}\u{1b}[31m\t"))).await;
        assert_eq!(result["status"], "saved", "{key:?}: {result}");
    }
    for running in [true, false] {
        if !running {
            assert_eq!(server.stop(), Some(0));
        }
        for key in KEYS {
            let history = node.run(&["editlog", "history", "T.items", "--key", key, "--format", "json"]).json();
            assert_eq!(history["events"].as_array().map(Vec::len), Some(1), "{key:?}");
            let event = &history["events"][0];
            assert_eq!((&event["key"], &event["column_name"]), (&json!(key), &json!("name")));
            assert_eq!(event["value"], json!(format!("{key}\u{1b}[31m\t")));
            assert_eq!((&event["previous"], &event["user"]), (&json!("x"), &json!("ada")));
        }
        node.run(&["build", "T.items_edited", "--mode", "force"]).ok();
        let rows = node.run(&["dataset", "export", "T.items_edited", "--format", "json"]).json();
        for (row, key) in rows.as_array().unwrap().iter().zip(KEYS) {
            assert_eq!(*row, json!({ "id": key, "name": format!("{key}\u{1b}[31m\t"), "amount": i64::MAX }));
        }
    }
}

#[tokio::test]
async fn a_cell_cannot_move_the_cursor() {
    let node = awkward();
    {
        let server = node.serve();
        let client = server.client(&node.token());
        client.set("NA", "name", json!("\u{1b}[2J\nred")).await;
        client.set("😀", "name", json!("")).await;
        client.set("שלום", "name", Value::Null).await;
    }
    node.run(&["build", "T.items_edited"]).ok();
    let shown = node.run(&["dataset", "show", "T.items_edited"]).ok();
    assert!(!shown.contains('\u{1b}') && shown.lines().count() == KEYS.len() + 2, "{shown}");
    assert!(shown.contains("\"two\\nlines\"") && shown.contains("\"\\u{1b}[2J\\nred\""), "{shown}");
    let line =
        |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(line("😀"), ["😀", "\"\"", "9223372036854775807"]);
    assert_eq!(line("שלום"), ["שלום", "9223372036854775807"]);
    let history = node.run(&["editlog", "history", "T.items"]).ok();
    assert!(!history.contains('\u{1b}') && history.lines().count() == 3 + 2, "{history}");
}

#[test]
fn a_log_without_edits_is_empty_and_no_failure() {
    let node = awkward();
    let history = node.run(&["editlog", "history", "T.items", "--format", "json"]).json();
    assert_eq!(history["events"], json!([]));
    node.run(&["editlog", "history", "T.items_editlog"]).ok();
    assert_eq!(node.run(&["editlog", "export", "T.items", "--format", "json"]).json(), json!([]));
    assert!(node.run(&["editlog", "history", "T.totals"]).fails(2).contains("T.items"));
}

#[tokio::test]
async fn the_history_is_newest_first_and_filtered() {
    let node = Node::with_items("id,name,amount\na,Ann,1\nb,Bob,2\n");
    {
        let server = node.serve();
        let client = server.client(&node.token());
        for place in 0..1_300 {
            let (key, column) = if place % 2 == 0 { ("a", "name") } else { ("b", "amount") };
            assert_eq!(client.set(key, column, json!(place.to_string())).await["status"], "saved");
        }
    }
    let ids = |arguments: &[&str]| -> Vec<i64> {
        let history = node.run(&[&["editlog", "history", "T.items", "--format", "json"], arguments].concat()).json();
        history["events"].as_array().unwrap().iter().map(|event| event["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&[]), (1_201..=1_300).rev().collect::<Vec<_>>());
    assert_eq!(ids(&["--limit", "9999"]), (1..=1_300).rev().collect::<Vec<_>>());
    assert_eq!(ids(&["--key", "a", "--limit", "2"]), [1_299, 1_297]);
    assert_eq!(ids(&["--key", "a", "--limit", "9999"]).len(), 650);
    assert_eq!(ids(&["--key", "a", "--column", "amount"]), [] as [i64; 0]);
    assert_eq!(ids(&["--column", "amount", "--limit", "1"]), [1_300]);
    assert_eq!(ids(&["--user", "ADA", "--limit", "1"]), [1_300]);
    assert_eq!(ids(&["--user", "rita"]), [] as [i64; 0]);
    let events = node.run(&["editlog", "export", "T.items", "--format", "json"]).json();
    assert_eq!(
        events.as_array().unwrap().iter().map(|event| event["id"].as_i64().unwrap()).collect::<Vec<_>>(),
        (1..=1_300).collect::<Vec<_>>()
    );
}

#[test]
fn no_text_of_a_csv_export_is_a_formula_unless_it_is_to_be_exact() {
    let node = Node::with_items("id,name,amount\na,=1+1,-5\n");
    let export = |arguments: &[&str]| node.run(&[&["dataset", "export", "T.items"], arguments].concat()).ok();
    assert_eq!(export(&[]), "id,name,amount\na,'=1+1,-5\n");
    assert_eq!(export(&["--exact"]), "id,name,amount\na,=1+1,-5\n");
    assert_eq!(export(&["--format", "jsonl"]), "{\"id\":\"a\",\"name\":\"=1+1\",\"amount\":-5}\n");
}

fn long() -> Node {
    let rows: String = (0..30_000).map(|row| format!("k{row:06},name {row},{row}\n")).collect();
    Node::with_items(&format!("id,name,amount\n{rows}"))
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let node = long();
    for arguments in [
        &["dataset", "export", "T.items"][..],
        &["dataset", "export", "T.items", "--format", "json"],
        &["dataset", "show", "T.items", "--limit", "10000"],
        &["dataset", "show", "T.items", "--limit", "10000", "--format", "json"],
    ] {
        let mut child = node.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn rows_are_shown_from_a_place_on_over_several_requests() {
    let node = long();
    let shown =
        node.run(&["dataset", "show", "T.items", "--offset", "27500", "--limit", "2700", "--format", "json"]).json();
    let rows = shown["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2_500);
    assert_eq!((&rows[0]["id"], &rows[2_499]["amount"]), (&json!("k027500"), &json!(29_999)));
    assert_eq!(node.run(&["dataset", "show", "T.items"]).ok().lines().count(), 22);
    node.run(&["dataset", "show", "T.items", "--limit", "10001"]).fails(2);
}

#[test]
fn an_export_appears_whole_under_its_name_in_the_form_of_its_ending() {
    let node = long();
    let folder = tempfile::tempdir().unwrap();
    for (name, start) in
        [("x.csv", &b"id,name,amount\n"[..]), ("x.json", b"[\n{"), ("x.jsonl", b"{\"id\""), ("x.parquet", b"PAR1")]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, "earlier").unwrap();
        node.run(&["dataset", "export", "T.items", "--output", path.to_str().unwrap()]).ok();
        assert!(std::fs::read(&path).unwrap().starts_with(start), "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "nothing is left beside the exports");
    let nowhere = folder.path().join("no/such/folder.csv");
    node.run(&["dataset", "export", "T.items", "--output", nowhere.to_str().unwrap()]).fails(1);
    node.write("data/T/items.csv", "id,name,amount\na,Ann,1\nb,Bob\n");
    let path = folder.path().join("x.csv");
    let before = std::fs::read(&path).unwrap();
    assert!(node.run(&["dataset", "export", "T.items", "-o", path.to_str().unwrap()]).fails(1).contains("line 3"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
#[cfg(target_os = "linux")]
fn an_export_to_a_full_disk_says_so_once() {
    let node = long();
    let message = node.run(&["dataset", "export", "T.items", "--output", "/dev/full"]).fails(1);
    assert!(message.contains("cannot write the output: No space left on device"), "{message}");
    assert_eq!(message.matches("No space left").count(), 1, "{message}");
}

#[test]
fn datasets_are_listed_and_described() {
    let node = Node::with_items("id,name,amount\na,Ann,1\n");
    let list = node.run(&["dataset", "list", "T", "--format", "json"]).json();
    let names: Vec<&str> = list["datasets"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["items", "items_edited", "items_editlog", "items_editlog_pivoted", "totals"]);
    assert_eq!(list["datasets"][1]["state"], "never_built");
    assert!(node.run(&["dataset", "list", "T"]).ok().contains("never built"));
    let schema = node.run(&["dataset", "schema", "T.items", "--format", "json"]).json();
    assert_eq!(
        schema["columns"],
        json!([
            { "name": "id", "type": "text", "key": true },
            { "name": "name", "type": "text", "key": false },
            { "name": "amount", "type": "integer", "key": false },
        ])
    );
    assert!(node.run(&["dataset", "schema", "T.items"]).ok().contains("T.items (original, source)"));
    assert!(node.run(&["dataset", "show", "T.items_edited"]).fails(1).contains("items_edited"));
}
