//! A first project from a file.

use serde_json::json;

use crate::support::Node;

#[tokio::test]
async fn a_file_becomes_a_table_that_can_be_edited_and_built() {
    let node = Node::new();
    node.write(
        "in/Bird Strikes.csv",
        "operator;strike id;species;cost;reviewed\nBlue;0017;Gull;1.5;x\nBlue;2;\"Owl; barn\";;\nRed;3;Gull;2;y\n",
    );
    std::fs::write(node.file("in/old.csv"), b"id\tname\n1\tM\xFCller\n").unwrap();
    node.run(&["project", "new", "OLD", "--from", node.file("in/old.csv").to_str().unwrap()]).ok();
    let shown = node.run(&["dataset", "show", "OLD.old", "--format", "json"]).json();
    assert_eq!(shown["rows"], json!([{ "id": 1, "name": "Müller" }]));
    let file = node.file("in/Bird Strikes.csv");
    let file = file.to_str().unwrap();
    let made = node.run(&["project", "new", "WILD", "--from", file, "--review", "--format", "json"]).json();
    let editable = ["operator", "species", "cost", "reviewed"];
    assert_eq!(
        made,
        json!({ "project": "WILD", "dataset": "bird_strikes", "webapp": "bird_strikes", "key": ["strike id"],
                "editable": editable, "rows": 3 })
    );
    assert_eq!(
        std::fs::read_to_string(node.file("projects/WILD/datasets/bird_strikes.toml")).unwrap(),
        "path = \"bird_strikes.csv\"\ndelimiter = \";\"\nkey = [\"strike id\"]\ncolumns = [\n  \
         { name = \"operator\", type = \"text\" },\n  { name = \"strike id\", type = \"text\" },\n  \
         { name = \"species\", type = \"text\" },\n  { name = \"cost\", type = \"number\" },\n  \
         { name = \"reviewed\", type = \"text\" },\n]\n"
    );
    node.run(&["check", "WILD"]).ok();
    assert!(node.run(&["project", "list"]).ok().contains("bird_strikes"));
    {
        let server = node.serve();
        let client = server.client(&node.token());
        let edit = json!({ "primaryKeys": { "strike id": "0017" }, "column": "species", "value": "Tern" });
        client.post("/webapps/WILD/bird_strikes/update", &edit).await;
        // The column of the data is no tick; the one that was added has another name.
        let tick = json!({ "primaryKeys": { "strike id": "2" }, "column": "reviewed_", "value": true });
        client.post("/webapps/WILD/bird_strikes/update", &tick).await;
    }
    node.run(&["build", "WILD.bird_strikes_edited"]).ok();
    let rows = node.run(&["dataset", "show", "WILD.bird_strikes_edited", "--format", "json"]).json()["rows"].clone();
    assert_eq!((&rows[0]["species"], &rows[0]["strike id"]), (&json!("Tern"), &json!("0017")));
    assert_eq!((&rows[1]["species"], &rows[1]["reviewed_"]), (&json!("Owl; barn"), &json!(true)));
}

#[test]
fn a_project_that_cannot_be_made_leaves_nothing_and_says_why() {
    let node = Node::new();
    node.write("in/pairs.csv", "a,b,v\n1,1,x\n1,2,y\n2,1,z\n");
    let file = node.file("in/pairs.csv");
    let file = file.to_str().unwrap();
    let new = |arguments: &[&str]| node.run(&[&["project", "new", "P", "--from", file], arguments].concat());
    // Column `v` names each row.
    for (arguments, told) in [
        (&["--key", "a"][..], "the key (a) does not name every row: row 2 has 1, as an earlier row has"),
        (&["--key", "a,x"], "there is no column `x`: the columns are a, b, v"),
        (&["--key", "a,b", "--editable", "a"], "`a` cannot be edited: those that can are v"),
    ] {
        let refused = new(arguments).fails(2);
        assert!(refused.contains(told), "{refused}");
    }
    node.write("in/pairs.csv", "a,b,v\n1,1,x\n1,2,x\n2,1,\n");
    let refused = new(&[]).fails(2);
    assert!(refused.contains("no single column names every row") && refused.contains("--key A,B"), "{refused}");
    assert!(!node.file("projects/P").exists() && !node.file("data/P").exists());

    let numbered = node.run(&["project", "new", "N", "--from", file, "--number", "row", "--format", "json"]).json();
    assert_eq!((&numbered["key"], &numbered["rows"]), (&json!(["row"]), &json!(3)));
    node.run(&["check", "N"]).ok();
    let rows = node.run(&["dataset", "show", "N.pairs", "--format", "json"]).json()["rows"].clone();
    assert_eq!(rows[2], json!({ "row": 3, "a": 2, "b": 1, "v": null }));
    assert!(
        node.run(&["project", "new", "M", "--from", file, "--number", "v"]).fails(2).contains("column `v` already")
    );

    let made = new(&["--key", "a,b", "--editable", "v"]).ok();
    assert!(made.contains("each is named by a, b") && made.contains("Columns to edit: v"), "{made}");
    assert!(new(&[]).fails(1).contains("projects/P is there already"));
    let refused = node.run(&["project", "new", "Q", "--from", "nothing.xlsx"]).fails(2);
    assert!(refused.contains(".csv, .tsv, .parquet"), "{refused}");
}

#[test]
fn a_text_file_is_known_by_its_bytes_and_by_what_spreadsheets_write() {
    let node = Node::new();
    let new = |key: &str, name: &str, bytes: &[u8], arguments: &[&str]| {
        node.write(&format!("in/{name}"), "");
        let file = node.file(&format!("in/{name}"));
        std::fs::write(&file, bytes).unwrap();
        node.run(&[&["project", "new", key, "--from", file.to_str().unwrap()], arguments].concat())
    };
    let rows = |dataset: &str| node.run(&["dataset", "show", dataset, "--format", "json"]).json()["rows"].clone();
    new("SEP", "a.csv", "\u{feff}sep=;\r\nid;v\r\n1;1,5\r\n".as_bytes(), &[]).ok();
    assert_eq!(rows("SEP.a"), json!([{ "id": 1, "v": "1,5" }]));
    new("INDEX", "b.csv", b",id,v\n0,x,5\n1,y,6\n", &["--key", "id"]).ok();
    assert_eq!(rows("INDEX.b")[1], json!({ "column_1": 1, "id": "y", "v": 6 }));
    let wide: Vec<u8> = "id,v\n1,\u{fc}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    new("WIDE", "c.csv", &wide, &[]).ok();
    assert_eq!(rows("WIDE.c"), json!([{ "id": 1, "v": "\u{fc}" }]));
    // Letters of UTF-8 and one byte that is none: no other encoding, but damage.
    let told = new("MIXED", "d.csv", b"id,v\n1,\xC3\xBC\n2,\xFF\n", &[]).fails(1);
    assert!(told.contains("line 3, column `v`") && told.contains("0xFF"), "{told}");
    new("OLD", "e.csv", b"id,v\n1,\xFC\n", &[]).ok();
    assert_eq!(rows("OLD.e"), json!([{ "id": 1, "v": "\u{fc}" }]));
    let told = new("GZ", "f.csv", b"\x1F\x8B\x08\x00", &[]).fails(1);
    assert!(told.contains("f.csv: it is compressed (gzip)"), "{told}");
    assert!(new("GZ", "f.csv.gz", b"\x1F\x8B\x08\x00", &[]).fails(2).contains("unpack it first"));
    assert!(new("XLS", "f.xlsx", b"PK", &[]).fails(2).contains("save the sheet as CSV"));

    new("JSON", "g.json", b"{\"id\":1,\"o\":{\"a\":[1.50]},\"t\":\"x\"}\n", &[]).ok();
    assert_eq!(rows("JSON.g"), json!([{ "id": 1, "o": "{\"a\":[1.50]}", "t": "x" }]));
    let told = new("KEY", "g.json", b"{\"id\":[1]}\n{\"id\":[2]}\n", &["--key", "id"]).fails(2);
    assert!(told.contains("`id` has a type that cannot be a key"), "{told}");
    node.run(&["check", "JSON"]).ok();
    node.write("projects/JSON/datasets/g_edited.toml", "path = \"g_edited.jsonl\"\n");
    node.run(&["build", "JSON.g_edited"]).ok();
    let edited = std::fs::read_to_string(node.file("data/JSON/g_edited.jsonl")).unwrap();
    assert_eq!(edited, "{\"id\":1,\"o\":{\"a\":[1.50]},\"t\":\"x\"}\n");
}
