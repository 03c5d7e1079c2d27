//! Groups of rows, and how the node stands.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stet_testkit::{ADMIN, READER, Setup, TestNode, escaped};

use crate::{STRIKES, one, update};

/// How many rows a query has.
async fn total(client: &stet_testkit::Client, filters: &Value) -> u64 {
    let body = json!({ "filters": filters, "limit": 1 });
    let page = client.post(&format!("{STRIKES}/rows/query"), &body).await.expect_status(200).json();
    page["total"].as_u64().expect("a total")
}

#[tokio::test]
async fn a_group_has_as_many_rows_as_the_filter_of_its_values_gives() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let edits = format!("{STRIKES}/edits");
    client.post(&edits, &one(update("7", "species", json!("Heron, made up"), json!(null)))).await.expect_status(200);
    let answer =
        client.get(&format!("{STRIKES}/groups?by=species,diverted_to&limit=1000")).await.expect_status(200).json();
    assert_eq!(answer["by"], json!(["species", "diverted_to"]));
    assert_eq!(answer["rows"].as_u64().expect("rows"), total(&client, &json!([])).await);
    let groups = answer["groups"].as_array().expect("groups");
    assert_eq!(groups.len() as u64, answer["total"].as_u64().expect("a total").min(1000));
    assert!(groups.iter().any(|group| group["values"] == json!(["Heron, made up", null]) && group["count"] == 1));
    assert!(groups.is_sorted_by(|a, b| a["count"].as_u64() >= b["count"].as_u64()));
    for group in groups.iter().take(5).chain(groups.iter().rev().take(5)) {
        let filters = json!([
            { "column": "species", "op": "in", "values": [group["values"][0]] },
            { "column": "diverted_to", "op": "in", "values": [group["values"][1]] },
        ]);
        assert_eq!(group["count"].as_u64().expect("a count"), total(&client, &filters).await, "{group}");
    }
    let filters = escaped("[{\"column\": \"species\", \"op\": \"contains\", \"value\": \"HERON, MADE\"}]");
    let path = format!(
        "{STRIKES}/groups?by={}&filters={filters}&sort=value&states={}",
        escaped("[\"species\"]"),
        escaped("[\"edited\"]")
    );
    let answer = client.get(&path).await.expect_status(200).json();
    assert_eq!(answer["groups"], json!([{ "values": ["Heron, made up"], "count": 1 }]));
}

#[tokio::test]
async fn groups_that_make_no_sense_are_refused_in_plain_words() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let wrong_type = escaped("[{\"column\": \"speed_knots\", \"op\": \"equals\", \"value\": \"fast\"}]");
    for (query, status, part) in [
        ("", 422, "one to 8 columns"),
        ("?by=no_such", 422, "no column `no_such`"),
        ("?by=species,species", 422, "named twice"),
        ("?by=species&limit=1001", 422, "at most 1000 groups"),
        ("?by=species&filters=%7B", 422, "`filters` has to be a JSON array"),
        ("?by=species&states=edited", 422, "`states` has to be a JSON array"),
        (&format!("?by=species&filters={wrong_type}"), 422, "the filter on `speed_knots` cannot be used"),
        ("?by=species&sort=size", 400, "cannot be read"),
        ("?by=species&order=1", 400, "cannot be read"),
    ] {
        let answer = client.get(&format!("{STRIKES}/groups{query}")).await.expect_status(status);
        let detail = answer.problem()["detail"].as_str().expect("a detail").to_lowercase();
        assert!(detail.contains(&part.to_lowercase()), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_filter_or_sort_that_makes_no_sense_is_refused_with_what_to_do() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    for (body, detail) in [
        (json!({ "sort": [{ "column": "speces" }] }), "This table has no column `speces`; did you mean `species`?"),
        (
            json!({ "filters": [{ "column": "speces", "op": "blank" }] }),
            "This table has no column `speces`; did you mean `species`?",
        ),
        (
            json!({ "filters": [{ "column": "speed_knots", "op": "between" }] }),
            "The filter on `speed_knots` needs `from` or `to`",
        ),
    ] {
        let answer = client.post(&format!("{STRIKES}/rows/query"), &body).await.expect_status(422);
        assert_eq!(answer.problem()["detail"], detail);
    }
    let wrong_type = json!({ "filters": [{ "column": "speed_knots", "op": "equals", "value": "fast" }] });
    let answer = client.post(&format!("{STRIKES}/rows/query"), &wrong_type).await.expect_status(422);
    let detail = answer.problem()["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.starts_with("The filter on `speed_knots` cannot be used: ") && detail.contains("fast"), "{detail}");
}

#[tokio::test]
async fn an_administrator_sees_what_open_tables_take_and_nobody_else_does() {
    let node = TestNode::start().await;
    node.signed_in(READER).await.get("/api/v1/status").await.expect_status(403).problem();
    let admin = node.signed_in(ADMIN).await;
    assert_eq!(admin.get("/api/v1/status").await.expect_status(200).json()["webapps"], json!([]));
    let body = json!({ "sort": [{ "column": "species" }] });
    let rows = admin.post(&format!("{STRIKES}/rows/query"), &body).await.expect_status(200).json();
    let status = admin.get("/api/v1/status").await.expect_status(200).json();
    let table = &status["webapps"][0];
    assert_eq!((&table["project"], &table["webapp"]), (&json!("BIRDSTRIKES"), &json!("correct-strikes")));
    assert_eq!(table["rows"], rows["total"]);
    assert_eq!((&table["orders"], &table["listeners"], &table["log_position"]), (&json!(1), &json!(0), &json!(0)));
    let bytes = |value: &Value| value.as_u64().expect("a size");
    assert!(bytes(&table["own_bytes"]) >= bytes(&table["order_bytes"]) && bytes(&table["order_bytes"]) > 0, "{table}");
    assert!(
        bytes(&table["mapped_bytes"]) > 0
            && bytes(&table["order_bytes"]) <= bytes(&status["limits"]["order_bytes_max"])
    );
    assert!(bytes(&status["own_bytes"]) <= bytes(&status["resident_bytes"]), "{status}");
    assert_eq!(status["limits"]["webapp_idle_minutes"], 30);
}

#[tokio::test]
async fn a_table_that_nobody_uses_is_closed_unless_a_page_shows_it_and_opened_again_when_asked_for() {
    let node = Setup::default().config("[limits]\nwebapp_idle_minutes = 0").start().await;
    let (admin, client) = (node.signed_in(ADMIN).await, node.signed_in(READER).await);
    let mut stream = client.events(&format!("{STRIKES}/events")).await;
    stream.wait_for("hello").await;
    let is_open = async || admin.get("/api/v1/status").await.expect_status(200).json()["webapps"] != json!([]);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert!(is_open().await, "a page shows it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(stream);
    while is_open().await {
        assert!(began.elapsed() < Duration::from_secs(60), "it is still open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut stream = client.events(&format!("{STRIKES}/events")).await;
    stream.wait_for("hello").await;
    assert!(is_open().await);
    let edit = one(update("7", "species", json!("Heron"), json!(null)));
    client.post(&format!("{STRIKES}/edits"), &edit).await.expect_status(200);
    assert_eq!(stream.wait_for("edit").await["rows"][0]["key"], "7");
}
