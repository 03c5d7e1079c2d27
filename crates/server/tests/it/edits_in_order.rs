//! Edits of one request that build on each other, and edits that are sent again.

use serde_json::{Value, json};
use stet_testkit::{Client, OTHER_READER, READER, Setup, TestNode};

use crate::{one, update};

const TABLE: &str = "/api/v1/projects/SHOP/webapps/goods";

/// A table with a tick that approves rows, to which rows can be added and from which they can be taken.
async fn node() -> TestNode {
    Setup::default()
        .file("projects/SHOP/project.toml", "name = \"Shop\"\n[permissions.groups]\neveryone = [\"read_dashboards\"]\n")
        .file("projects/SHOP/datasets/goods.toml", "path = \"goods.csv\"\nkey = [\"id\"]\n")
        .file(
            "projects/SHOP/webapps/goods.toml",
            "original = \"goods\"\nvalidation_column = \"approved\"\n[rows]\ncreate = true\ndelete = true\n\
             [[editable]]\ncolumn = \"name\"\n[[editable]]\ncolumn = \"size\"\n\
             [[editable]]\ncolumn = \"approved\"\ntype = \"boolean\"\n",
        )
        .file("data/SHOP/goods.csv", "id,name,size\n1,Tea,small\n2,Rice,small\n3,Salt,small\n")
        .start()
        .await
}

async fn sent(client: &Client, edits: Value) -> Value {
    let body = json!({ "source": "paste", "edits": edits });
    client.post(&format!("{TABLE}/edits"), &body).await.expect_status(200).json()
}

fn statuses(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().expect("results").iter().filter_map(|result| result["status"].as_str()).collect()
}

async fn cells(client: &Client, key: &str) -> Value {
    let filter = json!({ "filters": [{ "column": "id", "op": "equals", "value": key }] });
    let page = client.post(&format!("{TABLE}/rows/query"), &filter).await.expect_status(200).json();
    page["rows"][0]["cells"].clone()
}

#[tokio::test]
async fn what_comes_later_in_a_request_is_what_stands_in_the_cell() {
    let node = node().await;
    let client = node.signed_in(READER).await;
    let there_and_back =
        json!([update("1", "name", json!("Coffee"), json!(null)), update("1", "name", json!("Tea"), json!(null))]);
    let answer = sent(&client, there_and_back).await;
    assert_eq!(statuses(&answer), ["saved", "saved"], "{answer}");
    assert_eq!(cells(&client, "1").await, json!(["1", "Tea", "small", null]));
}

#[tokio::test]
async fn a_paste_of_values_with_the_tick_that_approves_them_is_no_conflict_with_itself() {
    let node = node().await;
    let client = node.signed_in(READER).await;
    let tick = |key: &str| {
        let mut tick = update(key, "approved", json!("true"), json!(null));
        tick["seen_row"] = json!(null);
        tick
    };
    let answer = sent(
        &client,
        json!([
            update("1", "name", json!("Coffee"), json!(null)),
            tick("1"),
            tick("2"),
            update("2", "name", json!("Beans"), json!(null)),
        ]),
    )
    .await;
    assert_eq!(statuses(&answer), ["saved", "saved", "saved", "saved"], "{answer}");
    assert_eq!(cells(&client, "1").await, json!(["1", "Coffee", "small", "true"]));
    assert_eq!(cells(&client, "2").await, json!(["2", "Beans", "small", "true"]));
    // What was approved is on record: the value that was pasted in the first row, the one before the paste in the second.
    for (key, expected) in [("1", ["Coffee", "Coffee"]), ("2", ["Beans", "Rice"])] {
        let history = client.get(&format!("{TABLE}/history?key={key}&column=name")).await.expect_status(200).json();
        let values: Vec<&str> =
            history["events"].as_array().expect("events").iter().filter_map(|event| event["value"].as_str()).collect();
        assert_eq!(values, expected, "{history}");
    }
}

#[tokio::test]
async fn a_tick_in_a_paste_still_meets_what_somebody_else_has_changed() {
    let node = node().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    sent(&rafael, json!([update("1", "size", json!("large"), json!(null))])).await;
    let mut tick = update("1", "approved", json!("true"), json!(null));
    tick["seen_row"] = json!(null);
    let answer = sent(&rosa, json!([update("1", "name", json!("Coffee"), json!(null)), tick])).await;
    assert_eq!(statuses(&answer), ["saved", "conflict"], "{answer}");
    assert_eq!(cells(&rosa, "1").await, json!(["1", "Coffee", "large", null]));
    let mut delete = json!({ "action": "delete", "key": "1" });
    delete["seen"] = json!(null);
    let answer =
        sent(&rosa, json!([update("1", "name", json!("Cocoa"), answer["results"][0]["event"].clone()), delete])).await;
    assert_eq!(statuses(&answer), ["saved", "conflict"], "{answer}");
}

#[tokio::test]
async fn rows_are_added_filled_and_taken_away_in_one_request() {
    let node = node().await;
    let client = node.signed_in(READER).await;
    let answer = sent(
        &client,
        json!([
            { "action": "create", "values": { "id": "9", "name": "Figs" } },
            { "action": "update", "key": "9", "column": "size", "value": "large" },
            { "action": "delete", "key": "2" },
            { "action": "update", "key": "2", "column": "size", "value": "large" },
            { "action": "delete", "key": "3" },
            { "action": "create", "values": { "id": "3", "name": "Sugar" } },
        ]),
    )
    .await;
    assert_eq!(statuses(&answer), ["saved", "saved", "saved", "refused", "saved", "saved"], "{answer}");
    assert_eq!(cells(&client, "9").await, json!(["9", "Figs", "large", null]));
    assert_eq!(cells(&client, "2").await, json!(null));
    assert_eq!(cells(&client, "3").await, json!(["3", "Sugar", "small", null]));
}

#[tokio::test]
async fn an_all_or_nothing_request_whose_edits_build_on_each_other_is_refused_as_a_whole() {
    let node = node().await;
    let client = node.signed_in(READER).await;
    let edits = json!({ "atomic": true, "edits": [
        { "action": "update", "key": "1", "column": "name", "value": "Coffee" },
        { "action": "update", "key": "1", "column": "approved", "value": "true" },
    ] });
    let answer = client.post(&format!("{TABLE}/edits"), &edits).await.expect_status(200).json();
    assert_eq!(statuses(&answer), ["skipped", "refused"], "{answer}");
    assert_eq!(answer["results"][1]["rule"], "atomic");
    assert_eq!(cells(&client, "1").await, json!(["1", "Tea", "small", null]));
}

#[tokio::test]
async fn an_edit_that_is_sent_again_is_answered_with_its_event() {
    let node = node().await;
    let client = node.signed_in(READER).await;
    let mut edit = json!({ "action": "update", "key": "1", "column": "name", "value": "Coffee" });
    edit["event_id"] = json!("018f0000-0000-7000-8000-000000000021");
    let first = client.post(&format!("{TABLE}/edits"), &one(edit.clone())).await.expect_status(200).json();
    let second = client.post(&format!("{TABLE}/edits"), &one(edit.clone())).await.expect_status(200).json();
    assert_eq!(first["results"], second["results"]);
    edit["event_id"] = json!("018f0000-0000-7000-8000-000000000022");
    let another = client.post(&format!("{TABLE}/edits"), &one(edit)).await.expect_status(200).json();
    assert_eq!(statuses(&another), ["unchanged"], "{another}");
    let history = client.get(&format!("{TABLE}/history?key=1")).await.expect_status(200).json();
    assert_eq!(history["events"].as_array().map(Vec::len), Some(1), "{history}");
}
