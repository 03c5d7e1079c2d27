//! A table whose keys and values are awkward: 64-bit integers, several key columns, quotes, emoji.

use serde_json::{Value, json};
use stet_testkit::{READER, Setup, TestNode, escaped};

use crate::one;

/// The table's API.
pub const TABLE: &str = "/api/v1/projects/AWKWARD/webapps/measures";

/// The table's row API.
pub const ROWS: &str = "/webapps/AWKWARD/measures";

/// The key of its first row.
pub const FIRST: &str = r#"["9007199254740993","a\"b, 😀"]"#;

/// A node with the table beside the sample project.
pub async fn start() -> TestNode {
    with("").await
}

/// The same, with more lines in front of the webapp's settings.
pub async fn with(settings: &str) -> TestNode {
    Setup::default()
        .file("projects/AWKWARD/project.toml", "name = \"Awkward\"\n[permissions.groups]\neveryone = [\"read_content\"]\n")
        .file(
            "projects/AWKWARD/datasets/measures.toml",
            r#"path = "measures.csv"
            key = ["id", "name"]
            columns = [
              { name = "id", type = "integer" },
              { name = "name", type = "text" },
              { name = "amount", type = "number" },
              { name = "count", type = "integer" },
              { name = "ok", type = "boolean" },
              { name = "note", type = "text" },
            ]"#,
        )
        .file(
            "projects/AWKWARD/datasets/places.toml",
            r#"path = "places.csv"
            key = ["code"]
            columns = [
              { name = "code", type = "text" }, { name = "name", type = "text" }, { name = "city", type = "text" },
            ]"#,
        )
        .file(
            "projects/AWKWARD/webapps/measures.toml",
            &format!(
                r#"{settings}
            original = "measures"
            validation_column = "ok"
            rows = {{ create = true, delete = true }}
            [[editable]]
            column = "amount"
            min = 0
            [[editable]]
            column = "count"
            [[editable]]
            column = "ok"
            [[editable]]
            column = "note"
            [[editable]]
            column = "place"
            type = "text"
            link = {{ dataset = "places", key = "code", label = "name", lookups = ["city"] }}
            "#
            ),
        )
        .file(
            "data/AWKWARD/measures.csv",
            "id,name,amount,count,ok,note\n9007199254740993,\"a\"\"b, 😀\",1.5,9223372036854775807,,x\n2,NA,2,5,,\"=1+1\"\n",
        )
        .file("data/AWKWARD/places.csv", "code,name,city\nDFW,Dallas/Fort Worth,Dallas\nMAD,Barajas,Madrid\n")
        .start()
        .await
}

#[tokio::test]
async fn keys_and_integers_of_64_bits_travel_as_text() {
    let node = start().await;
    let client = node.signed_in(READER).await;
    let page = client.post(&format!("{TABLE}/rows/query"), &json!({})).await.expect_status(200).json();
    assert_eq!(page["rows"][0]["key"], FIRST);
    let cells = page["rows"][0]["cells"].as_array().expect("cells");
    assert!(cells.contains(&json!("9007199254740993")) && cells.contains(&json!("9223372036854775807")), "{page}");
    let history = client.get(&format!("{TABLE}/history?key={}&column=count", escaped(FIRST))).await;
    assert_eq!(history.expect_status(200).json()["original"], "9223372036854775807");
}

#[tokio::test]
async fn ticking_the_validation_column_logs_every_editable_column_in_one_batch() {
    let node = start().await;
    let client = node.signed_in(READER).await;
    let tick =
        json!({ "action": "update", "key": FIRST, "column": "ok", "value": "true", "seen": null, "seen_row": null });
    let answer = client.post(&format!("{TABLE}/edits"), &one(tick)).await.expect_status(200).json();
    assert_eq!(answer["results"][0]["status"], "saved", "{answer}");
    let history = client.get(&format!("{TABLE}/history?key={}", escaped(FIRST))).await.expect_status(200).json();
    let events = history["events"].as_array().expect("events");
    let mut columns: Vec<&str> = events.iter().filter_map(|event| event["column"].as_str()).collect();
    columns.sort_unstable();
    assert_eq!(columns, ["amount", "count", "note", "ok", "place"]);
    assert!(events.iter().all(|event| event["batch_id"] == events[0]["batch_id"]), "{history}");
}

#[tokio::test]
async fn a_created_row_can_be_deleted_and_the_others_stay() {
    let node = start().await;
    let client = node.signed_in(READER).await;
    let values = json!({ "id": "3", "name": "سلام\n", "note": "", "amount": "10.50" });
    let create = json!({ "action": "create", "values": values });
    let answer = client.post(&format!("{TABLE}/edits"), &one(create)).await.expect_status(200).json();
    assert_eq!(answer["results"][0]["status"], "saved", "{answer}");
    let row = &answer["rows"][0];
    let key = row["key"].as_str().expect("a key");
    assert_eq!(key, "[\"3\",\"سلام\\n\"]");
    assert_eq!(row["created"], true);
    assert!(row["cells"].as_array().expect("cells").contains(&json!("10.5")), "{row}");
    let delete = json!({ "action": "delete", "key": key });
    let answer = client.post(&format!("{TABLE}/edits"), &one(delete)).await.expect_status(200).json();
    assert_eq!(answer["deleted"], json!([key]), "{answer}");
    let page: Value = client.post(&format!("{TABLE}/rows/query"), &json!({})).await.expect_status(200).json();
    assert_eq!(page["total"], 2);
}
