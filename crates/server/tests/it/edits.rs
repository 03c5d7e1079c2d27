//! Rows, edits, and what became of them.

use serde_json::json;
use stet_testkit::{OTHER_READER, READER, TestNode};

use crate::{STRIKES, one, update};

#[tokio::test]
async fn the_projects_lead_to_a_table_with_its_columns_and_rules() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let projects = client.get("/api/v1/projects").await.expect_status(200).json();
    assert_eq!(projects["projects"][0]["key"], "BIRDSTRIKES");
    assert_eq!(projects["projects"][0]["webapps"][0]["name"], "correct-strikes");
    let project = client.get("/api/v1/projects/BIRDSTRIKES").await.expect_status(200).json();
    assert!(
        project["datasets"].as_array().expect("datasets").contains(&json!({ "name": "strikes", "role": "original" }))
    );
    let flow = client.get("/api/v1/projects/BIRDSTRIKES/flow").await.expect_status(200).json();
    assert!(flow["nodes"].as_array().expect("nodes").iter().any(|node| node["id"] == "dataset:strikes"), "{flow}");
    let dataset = client.get("/api/v1/projects/BIRDSTRIKES/datasets/strikes").await.expect_status(200).json();
    assert_eq!(dataset["columns"][0], json!({ "name": "strike_id", "type": "integer", "key": true }));
    let rows = client.get("/api/v1/projects/BIRDSTRIKES/datasets/strikes/rows?offset=1&limit=2").await;
    assert_eq!(rows.expect_status(200).json()["rows"][0][0], "2");

    let table = client.get(STRIKES).await.expect_status(200).json();
    assert_eq!(table["primary_keys"], json!(["strike_id"]));
    assert_eq!(table["total"], 10_000);
    let columns = table["columns"].as_array().expect("columns");
    assert_eq!(columns[0]["name"], "strike_id");
    let speed = columns.iter().find(|column| column["name"] == "speed_knots").expect("speed");
    assert_eq!((&speed["min"], &speed["max"], &speed["type"]), (&json!("0"), &json!("600"), &json!("integer")));
    let link = columns.iter().find(|column| column["name"] == "diverted_to").expect("a linked column");
    let expected = json!({ "dataset": "airports", "key": "iata", "label": "name", "lookups": ["city", "state"] });
    assert_eq!(link["link"], expected);
}

#[tokio::test]
async fn rows_are_filtered_and_sorted_by_the_server() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let query = json!({
        "offset": 0, "limit": 5,
        "sort": [{ "column": "speed_knots", "descending": true }],
        "filters": [
            { "column": "species", "op": "contains", "value": "VULTURE" },
            { "column": "speed_knots", "op": "between", "from": "100", "to": "300" },
            { "column": "time_of_day", "op": "in", "values": ["Day", null] },
        ],
    });
    let page = client.post(&format!("{STRIKES}/rows/query"), &query).await.expect_status(200).json();
    let rows = page["rows"].as_array().expect("rows");
    assert!(rows.len() == 5 && page["total"].as_u64() > Some(5), "{page}");
    // Of a table of this size all rows are counted at once, whatever was asked for.
    for count in ["exact", "later"] {
        let mut counted = query.clone();
        counted["count"] = json!(count);
        let again = client.post(&format!("{STRIKES}/rows/query"), &counted).await.expect_status(200).json();
        assert!(again["total"] == page["total"] && again.get("total_pending").is_none(), "{again}");
    }
    let stale = json!({ "snapshot": "another" });
    let answer = client.post(&format!("{STRIKES}/rows/query"), &stale).await.expect_status(409);
    assert_eq!(answer.problem()["snapshot"], page["snapshot"]);
}

#[tokio::test]
async fn an_edit_is_saved_and_told_in_the_history() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let edit = one(update("1", "speed_knots", json!("250"), json!(null)));
    let answer = client.post(&format!("{STRIKES}/edits"), &edit).await.expect_status(200).json();
    assert_eq!(answer["results"][0]["status"], "saved", "{answer}");
    let row = &answer["rows"][0];
    assert_eq!(row["edits"]["speed_knots"]["user"], READER);
    assert_eq!(row["edits"]["speed_knots"]["state"], "needed");
    assert_eq!(row["edits"]["speed_knots"]["original"], "300");

    let emptied = one(update("1", "cost_total", json!(null), json!(null)));
    client.post(&format!("{STRIKES}/edits"), &emptied).await.expect_status(200);
    let history = client.get(&format!("{STRIKES}/history?key=1&column=speed_knots")).await.expect_status(200).json();
    assert_eq!(history["original"], "300");
    assert_eq!(history["events"][0]["value"], "250");
    assert_eq!(history["events"][0]["previous"], "300");
    assert_eq!(history["events"][0]["source"], "grid");
    let of_row = client.get(&format!("{STRIKES}/history?key=1")).await.expect_status(200).json();
    assert_eq!(of_row["events"].as_array().map(Vec::len), Some(2));
    assert_eq!(of_row["events"][0]["value"], json!(null));

    let mine = json!({ "states": ["mine"] });
    let page = client.post(&format!("{STRIKES}/rows/query"), &mine).await.expect_status(200).json();
    assert_eq!(page["total"], 1);
    let other = node.signed_in(OTHER_READER).await;
    let page = other.post(&format!("{STRIKES}/rows/query"), &mine).await.expect_status(200).json();
    assert_eq!(page["total"], 0);
}

#[tokio::test]
async fn an_edit_over_a_cell_that_moved_is_a_conflict_that_tells_both_values_and_who() {
    let node = TestNode::start().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    let path = format!("{STRIKES}/edits");
    rosa.post(&path, &one(update("2", "speed_knots", json!("210"), json!(null)))).await.expect_status(200);
    let answer = rafael.post(&path, &one(update("2", "speed_knots", json!("220"), json!(null)))).await.json();
    let result = &answer["results"][0];
    assert_eq!(result["status"], "conflict", "{answer}");
    assert_eq!((&result["yours"], &result["current"]["value"]), (&json!("220"), &json!("210")));
    assert_eq!(result["current"]["user"], READER);
    let seen = result["current"]["event"].clone();
    let answer = rafael.post(&path, &one(update("2", "speed_knots", json!("220"), seen))).await.json();
    assert_eq!(answer["results"][0]["status"], "saved", "{answer}");
}

#[tokio::test]
async fn a_refused_value_is_given_back_with_its_rule_and_the_others_are_saved() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let edits = json!({ "source": "paste", "edits": [
        update("3", "speed_knots", json!("fast"), json!(null)),
        update("3", "speed_knots", json!("601"), json!(null)),
        update("3", "time_of_day", json!("Noon"), json!(null)),
        update("3", "damage", json!(null), json!(null)),
        update("3", "diverted_to", json!("XXX"), json!(null)),
        update("3", "strike_id", json!("4"), json!(null)),
        update("no such row", "species", json!("Gull"), json!(null)),
        update("3", "comments", json!("kept"), json!(null)),
    ]});
    let answer = client.post(&format!("{STRIKES}/edits"), &edits).await.expect_status(200).json();
    let results = answer["results"].as_array().expect("results");
    let rules: Vec<&str> = results.iter().filter_map(|result| result["rule"].as_str()).collect();
    assert_eq!(rules, ["type", "range", "allowed", "required", "link", "editable", "key"], "{answer}");
    assert_eq!(results[0]["value"], "fast");
    assert_eq!(results[7]["status"], "saved");

    let mut atomic = edits.clone();
    atomic["atomic"] = json!(true);
    atomic["edits"][7]["value"] = json!("not kept");
    let answer = client.post(&format!("{STRIKES}/edits"), &atomic).await.expect_status(200).json();
    assert_eq!(answer["results"][7]["status"], "skipped", "{answer}");
}

#[tokio::test]
async fn an_edit_sent_twice_with_one_event_id_is_saved_once() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let mut edit = update("4", "comments", json!("once"), json!(null));
    edit["event_id"] = json!("018f0000-0000-7000-8000-000000000001");
    edit["previous"] = json!(null);
    let first = client.post(&format!("{STRIKES}/edits"), &one(edit.clone())).await.expect_status(200).json();
    let second = client.post(&format!("{STRIKES}/edits"), &one(edit)).await.expect_status(200).json();
    assert_eq!(first["results"][0]["status"], "saved");
    assert!(matches!(second["results"][0]["status"].as_str(), Some("saved" | "unchanged")), "{second}");
    let history = client.get(&format!("{STRIKES}/history?key=4")).await.expect_status(200).json();
    assert_eq!(history["events"].as_array().map(Vec::len), Some(1), "{history}");
}

#[tokio::test]
async fn a_revert_brings_the_original_back() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let path = format!("{STRIKES}/edits");
    let saved = client.post(&path, &one(update("5", "species", json!("Gull"), json!(null)))).await.json();
    let seen = saved["results"][0]["event"].clone();
    let revert = json!({ "action": "revert", "key": "5", "column": "species", "seen": seen });
    let answer = client.post(&path, &one(revert)).await.expect_status(200).json();
    assert_eq!(answer["results"][0]["status"], "saved", "{answer}");
    let edit = &answer["rows"][0]["edits"]["species"];
    assert_eq!(edit["state"], "reverted", "{answer}");
}

#[tokio::test]
async fn a_linked_column_offers_choices_with_labels_and_lookups() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let found =
        client.get(&format!("{STRIKES}/links/diverted_to?term=thigpen&limit=5")).await.expect_status(200).json();
    let option = json!({ "value": "00M", "label": "Thigpen", "lookups": ["Bay Springs", "MS"] });
    assert_eq!(found, json!({ "options": [option], "more": false }));
    let many = client.get(&format!("{STRIKES}/links/diverted_to?limit=3")).await.expect_status(200).json();
    assert_eq!((many["options"].as_array().map(Vec::len), &many["more"]), (Some(3), &json!(true)));
    client.get(&format!("{STRIKES}/links/species")).await.expect_status(404).problem();

    let edit = one(update("6", "diverted_to", json!("00M"), json!(null)));
    let answer = client.post(&format!("{STRIKES}/edits"), &edit).await.expect_status(200).json();
    assert_eq!(answer["links"]["diverted_to"]["00M"]["label"], "Thigpen", "{answer}");
}

#[tokio::test]
async fn a_value_that_the_exact_type_of_its_column_cannot_keep_is_refused_and_not_saved() {
    let column = |name: &str| format!("{{ name = \"{name}\", type = \"datetime\" }}");
    let node = stet_testkit::Setup::default()
        .file("projects/T/project.toml", "name = \"T\"\n[permissions.groups]\neveryone = [\"read_content\"]\n")
        .file(
            "projects/T/datasets/times.toml",
            &format!("path = \"times.csv\"\nkey = [\"at\"]\ncolumns = [{}, {}]\n", column("at"), column("seen_at")),
        )
        .file(
            "projects/T/webapps/times.toml",
            "original = \"times\"\nrows = { create = true }\n[[editable]]\ncolumn = \"seen_at\"\n",
        )
        .file("data/T/times.csv", "at,seen_at\n2020-01-01T00:00:00,\n")
        .start()
        .await;
    let client = node.signed_in(READER).await;
    let (fine, finer) = ("2020-01-02T00:00:00.123456", "2020-01-02T00:00:00.1234567");
    let edits = json!({ "edits": [
        { "action": "update", "key": "2020-01-01T00:00:00", "column": "seen_at", "value": finer },
        { "action": "create", "values": { "at": finer } },
        { "action": "create", "values": { "at": "2020-01-03T00:00:00", "seen_at": finer } },
        { "action": "update", "key": "2020-01-01T00:00:00", "column": "seen_at", "value": fine },
    ]});
    let answer = client.post("/api/v1/projects/T/webapps/times/edits", &edits).await.expect_status(200).json();
    for (place, rule) in [(0, "type"), (1, "key"), (2, "type")] {
        let result = &answer["results"][place];
        assert_eq!((&result["status"], &result["rule"]), (&json!("refused"), &json!(rule)), "{answer}");
        assert!(result["message"].as_str().is_some_and(|message| message.contains("at most 6 digits")), "{answer}");
    }
    assert_eq!(answer["results"][3]["status"], "saved", "{answer}");
    assert_eq!((&answer["version"], &answer["rows"][0]["cells"][1]), (&json!(1), &json!(fine)));
}
