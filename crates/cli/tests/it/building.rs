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

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_in_the_middle_of_a_build_leaves_the_output_of_before_whole() {
    let rows = |count: usize| -> String {
        let mut text = "id,name,amount\n".to_owned();
        // Numbers in no order, which do not compress.
        text.extend((0..count).map(|row| format!("k{row},{:x},{row}\n", row.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        text
    };
    let node = Node::with_items(&rows(10));
    node.run(&["build", "T.items_edited"]).ok();
    let output = node.file("data/T/items_edited.parquet");
    let before = std::fs::read(&output).unwrap();
    let files = || std::fs::read_dir(node.file("data/T")).unwrap().count();
    let count = files();
    node.write("data/T/items.csv", &rows(400_000));
    // No file may grow beyond 2 MiB (4,096 blocks): writing on fails as it does on a full disk.
    let build = node.command(&["build", "T.items_edited"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "sh"]).arg(build.get_program());
    limited.args(build.get_args()).env_remove("STET_NODE");
    let failed = limited.output().unwrap();
    let message = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot write") && message.contains("items_edited.parquet"), "{message}");
    assert_eq!(std::fs::read(&output).unwrap(), before);
    assert_eq!(files(), count);
    node.run(&["build", "T.items_edited"]).ok();
    assert!(std::fs::metadata(&output).unwrap().len() > 2 * 1024 * 1024);
}

#[test]
fn a_build_waits_for_another_process_that_builds_the_same_dataset() {
    let node = Node::with_items(ITEMS);
    std::fs::create_dir_all(node.file("data/T")).unwrap();
    let lock = node.file("data/T/items_edited.parquet.stet.lock");
    let held = std::fs::File::create(&lock).unwrap();
    std::io::Write::write_all(&mut &held, b"process 4711\n").unwrap();
    held.lock().unwrap();
    let mut build =
        node.command(&["build", "T.items_edited"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(build.stderr.take().unwrap()).lines();
    let line = said.by_ref().find(|line| line.as_ref().is_ok_and(|line| line.contains("waiting for process 4711")));
    assert!(line.is_some());
    assert!(!node.file("data/T/items_edited.parquet").exists());
    drop(held);
    said.for_each(drop);
    assert!(build.wait().unwrap().success());
    assert!(node.file("data/T/items_edited.parquet").exists() && !lock.exists());
}

#[test]
fn another_declared_type_of_an_input_makes_its_outputs_stale() {
    let declared = |id: &str| {
        format!(
            "key = [\"id\"]\npath = \"codes.csv\"\n\
             columns = [{{ name = \"id\", type = \"{id}\" }}, {{ name = \"v\", type = \"text\" }}]\n"
        )
    };
    let node = Node::new();
    node.write("projects/C/project.toml", "name = \"C\"\n");
    node.write("projects/C/datasets/codes.toml", &declared("integer"));
    node.write("projects/C/webapps/codes.toml", "original = \"codes\"\n[[editable]]\ncolumn = \"v\"\n");
    node.write("data/C/codes.csv", "id,v\n1,a\n");
    let outputs = ["C.codes_edited", "C.codes_editlog_pivoted"];
    let id_of = |output: &str| {
        node.run(&["build", output]).ok();
        node.run(&["dataset", "schema", output, "--format", "json"]).json()["columns"][0]["type"].clone()
    };
    assert_eq!(outputs.map(id_of), ["integer", "integer"]);
    node.write("projects/C/datasets/codes.toml", &declared("text"));
    assert_eq!(outputs.map(id_of), ["text", "text"]);
}

#[test]
fn another_type_that_the_data_itself_tells_makes_the_pivoted_log_stale() {
    let node = Node::new();
    node.write("projects/C/project.toml", "name = \"C\"\n");
    node.write("projects/C/datasets/codes.toml", "key = [\"id\"]\npath = \"codes.csv\"\n");
    node.write("projects/C/webapps/codes.toml", "original = \"codes\"\n[[editable]]\ncolumn = \"v\"\n");
    let pivoted = "C.codes_editlog_pivoted";
    let built = || {
        let job = node.run(&["build", pivoted, "--format", "json"]).json();
        let shown = node.run(&["dataset", "schema", pivoted, "--format", "json"]).json();
        (job["steps"][0]["state"].clone(), shown["columns"][0]["type"].clone(), shown["columns"][1]["type"].clone())
    };
    node.write("data/C/codes.csv", "id,v\n1,1\n");
    assert_eq!(built(), (json!("done"), json!("integer"), json!("integer")));
    assert_eq!(built().0, "fresh");
    node.write("data/C/codes.csv", "id,v\n01,1.5\n");
    assert_eq!(built(), (json!("done"), json!("text"), json!("number")));
    assert_eq!(built().0, "fresh");

    // A Parquet file tells its types without being read: only another type is a reason to build.
    node.write("projects/C/datasets/codes.toml", "key = [\"id\"]\npath = \"codes.parquet\"\n");
    let parquet = |text: &str| {
        node.write("data/C/x.csv", text);
        node.write("projects/C/datasets/x.toml", "path = \"x.csv\"\n");
        let to = node.file("data/C/codes.parquet");
        node.run(&["dataset", "export", "C.x", "--output", to.to_str().unwrap()]).ok();
    };
    parquet("id,v\n1,x\n");
    assert_eq!(built(), (json!("done"), json!("integer"), json!("text")));
    parquet("id,v\n1,x\n2,y\n");
    assert_eq!(built().0, "fresh");
    parquet("id,v\n1,true\n");
    assert_eq!(built(), (json!("done"), json!("integer"), json!("boolean")));
}

#[test]
fn the_types_of_a_text_output_are_those_it_was_written_with() {
    let node = Node::new();
    node.write("projects/C/project.toml", "name = \"C\"\n");
    node.write(
        "projects/C/datasets/codes.toml",
        "key = [\"id\"]\npath = \"codes.csv\"\n\
         columns = [{ name = \"id\", type = \"text\" }, { name = \"v\", type = \"number\" }]\n",
    );
    node.write("projects/C/datasets/codes_edited.toml", "path = \"codes_edited.csv\"\n");
    node.write("projects/C/datasets/copied.toml", "path = \"copied.jsonl\"\n");
    node.write("projects/C/webapps/codes.toml", "original = \"codes\"\n[[editable]]\ncolumn = \"v\"\n");
    node.write(
        "projects/C/recipes/copy.toml",
        "kind = \"sql\"\ninputs = [\"codes_edited\", \"codes\"]\noutput = \"copied\"\n",
    );
    node.write("projects/C/recipes/copy.sql", "SELECT e.id, e.v FROM codes_edited e JOIN codes c ON c.id = e.id\n");
    node.write("data/C/codes.csv", "id,v\n1,7\n02,8\n");
    let types_of = |output: &str| {
        node.run(&["build", output]).ok();
        let shown = node.run(&["dataset", "schema", output, "--format", "json"]).json();
        shown["columns"].as_array().unwrap().iter().map(|column| column["type"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(types_of("C.codes_edited"), ["text", "number"]);
    // Nothing in the texts tells that these are no whole numbers.
    node.write("data/C/codes.csv", "id,v\n1,7\n2,8\n");
    assert_eq!(types_of("C.codes_edited"), ["text", "number"]);
    assert_eq!(types_of("C.copied"), ["text", "number"]);
    assert_eq!(std::fs::read_to_string(node.file("data/C/copied.jsonl")).unwrap().lines().count(), 2);
}

#[test]
fn files_with_other_delimiters_are_read_as_their_dataset_says() {
    let node = Node::new();
    node.write("projects/C/project.toml", "name = \"C\"\n");
    node.write("projects/C/datasets/semicolons.toml", "path = \"semicolons.csv\"\ndelimiter = \";\"\n");
    node.write("projects/C/datasets/tabs.toml", "path = \"tabs.tsv\"\n");
    node.write("data/C/semicolons.csv", "id;cost\n1;\"a;b\"\n2;1,5\n");
    node.write("data/C/tabs.tsv", "id\tcost\n1\ta;b\n2\t1,5\n");
    for dataset in ["C.semicolons", "C.tabs"] {
        let shown = node.run(&["dataset", "show", dataset, "--format", "json"]).json();
        assert_eq!(shown["rows"], json!([{ "id": 1, "cost": "a;b" }, { "id": 2, "cost": "1,5" }]), "{dataset}");
    }

    // Saved by spreadsheets in one byte for each letter, or in two.
    std::fs::write(node.file("data/C/semicolons.csv"), b"id;cost\n1;M\xFCller\n2;\x80\n").unwrap();
    let refused = node.run(&["dataset", "show", "C.semicolons"]).fails(1);
    assert!(refused.contains("line 2, column `cost`") && refused.contains("windows-1252"), "{refused}");
    for (encoding, bytes) in [
        ("windows-1252", b"id;cost\n1;M\xFCller\n2;\x80\n".to_vec()),
        ("utf-16", "\u{feff}id;cost\r\n1;Müller\r\n2;€\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ] {
        std::fs::write(node.file("data/C/semicolons.csv"), bytes).unwrap();
        let written = format!("path = \"semicolons.csv\"\ndelimiter = \";\"\nencoding = \"{encoding}\"\n");
        node.write("projects/C/datasets/semicolons.toml", &written);
        let shown = node.run(&["dataset", "show", "C.semicolons", "--format", "json"]).json();
        assert_eq!(shown["rows"], json!([{ "id": 1, "cost": "Müller" }, { "id": 2, "cost": "€" }]), "{encoding}");
    }
    node.write("data/C/semicolons.csv", "id;cost\n1;\"a;b\"\n2;1,5\n");

    node.write("projects/C/datasets/semicolons.toml", "path = \"semicolons.csv\"\n");
    let refused = node.run(&["dataset", "show", "C.semicolons"]).fails(1);
    assert!(refused.contains("line 1") && refused.contains("delimiter = \";\""), "{refused}");
    node.write("projects/C/datasets/semicolons.toml", "path = \"a.parquet\"\ndelimiter = \";\"\n");
    let refused = node.run(&["check"]).fails(1);
    assert!(refused.contains("semicolons.toml:2:13: `delimiter` is of CSV"), "{refused}");
}
