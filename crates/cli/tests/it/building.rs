use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::Node;

const ITEMS: &str = "id,name,amount\na,Ann,1\nb,Bob,2\nc,Cyd,\n";

#[tokio::test]
async fn the_same_position_of_the_log_gives_the_same_file_byte_for_byte() {
    let node = Node::with_items(ITEMS);
    {
        let server = node.serve();
        let client = server.client(&node.token());
        assert_eq!(client.set("a", "name", json!("Änn")).await["status"], "saved");
        assert_eq!(client.set("b", "name", Value::Null).await["status"], "saved");
    }
    for dataset in ["items_edited", "items_editlog_pivoted"] {
        let file = node.file(&format!("data/T/{dataset}.parquet"));
        node.run(&["build", &format!("T.{dataset}")]).ok();
        let first = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        node.run(&["build", &format!("T.{dataset}")]).ok();
        assert_eq!(std::fs::read(&file).unwrap(), first);
        node.run(&["build", &format!("T.{dataset}"), "--mode", "force"]).ok();
        assert_eq!(std::fs::read(&file).unwrap(), first);
    }
}

#[tokio::test]
async fn an_emptied_cell_is_empty_after_a_rebuild_beside_the_running_server() {
    let node = Node::with_items(ITEMS);
    let server = node.serve();
    let client = server.client(&node.token());
    assert_eq!(client.set("a", "amount", Value::Null).await["status"], "saved");
    let text = node.run(&["build", "T.items_edited"]).ok();
    assert!(text.contains("T.items_edited: built") && text.contains("log position      event 1"), "{text}");
    let shown = node.run(&["dataset", "show", "T.items_edited", "--format", "json"]).json();
    assert_eq!(shown["rows"][0], json!({ "id": "a", "name": "Ann", "amount": null }));
    assert_eq!(shown["rows"][1]["amount"], 2);
}

#[tokio::test]
async fn the_account_of_a_build_tells_what_could_not_be_applied() {
    let node = Node::with_items(ITEMS);
    {
        let server = node.serve();
        let client = server.client(&node.token());
        for key in ["a", "c"] {
            assert_eq!(client.set(key, "amount", json!("7")).await["status"], "saved");
        }
    }
    node.write("data/T/items.csv", "id,name,amount\na,Ann,5\nb,Bob,2\n");
    let text = node.run(&["build", "T.items_edited"]).ok();
    assert!(text.contains("orphans           1") && text.contains("event 2, c, amount: `7`"), "{text}");
    assert!(text.contains("1 where the original has changed since"), "{text}");
    let job = node.run(&["build", "T.items_edited", "--mode", "only", "--format", "json"]).json();
    let report = &job["steps"][0]["report"];
    assert_eq!((&report["rows_in"], &report["edits_applied"]), (&json!(2), &json!(1)));
    assert_eq!(report["orphans"]["count"], 1);
    assert_eq!(report["inputs"][0]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(report["log_position"], 2);
}

#[test]
fn what_is_up_to_date_is_not_built_again_unless_forced() {
    let node = Node::with_items(ITEMS);
    let states = |arguments: &[&str]| -> Vec<String> {
        let job = node.run(&[&["build", "T.totals", "--format", "json"], arguments].concat()).json();
        let steps = job["steps"].as_array().unwrap();
        steps.iter().map(|step| step["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&[]), ["done", "done"]);
    assert_eq!(states(&[]), ["fresh", "fresh"]);
    assert_eq!(states(&["--mode", "only"]), ["done"]);
    assert_eq!(states(&["--mode", "force"]), ["done", "done"]);
}

#[test]
fn a_build_that_fails_ends_with_1_and_the_reason_and_leaves_the_earlier_output() {
    let node = Node::with_items(ITEMS);
    node.run(&["build", "T.totals"]).ok();
    let before = std::fs::read(node.file("data/T/totals.parquet")).unwrap();
    node.write("projects/T/recipes/sum_up.sql", "SELECT nonsense FROM items_edited");
    let run = node.run(&["build", "T.totals"]);
    assert!(run.stdout.contains("T.totals: failed"), "{}", run.stdout);
    let stderr = run.fails(1);
    assert!(stderr.contains("T.totals was not built") && stderr.contains("nonsense"), "{stderr}");
    assert_eq!(std::fs::read(node.file("data/T/totals.parquet")).unwrap(), before);
}

#[test]
fn what_no_recipe_makes_cannot_be_built() {
    let node = Node::with_items(ITEMS);
    assert!(node.run(&["build", "T.items"]).fails(2).contains("no recipe makes it"));
    assert!(node.run(&["build", "T.items_editlog"]).fails(2).contains("editlog"));
}

/// A query that goes on until it is stopped.
const ENDLESS: &str = "WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up) SELECT max(n) AS n FROM up";

#[test]
fn an_interrupted_build_stops_and_leaves_the_earlier_output() {
    let node = Node::with_items(ITEMS);
    node.run(&["build", "T.totals"]).ok();
    let before = std::fs::read(node.file("data/T/totals.parquet")).unwrap();
    node.write("projects/T/recipes/sum_up.sql", ENDLESS);
    let mut child = node.command(&["build", "T.totals"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "totals: started (sql)"));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(rest.last().unwrap().contains("T.totals was not built: stopped on request"), "{rest:?}");
    assert!(rest.iter().all(|line| !line.contains("ERROR")), "{rest:?}");
    assert_eq!(std::fs::read(node.file("data/T/totals.parquet")).unwrap(), before);
}
