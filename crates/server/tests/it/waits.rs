//! Requests that wait for rows: how far these are, who is told, and cancelling them.

use std::fmt::Write;

use serde_json::{Value, json};
use stet_testkit::{Client, READER, Setup, TestNode};
use uuid::Uuid;

const TABLE: &str = "/api/v1/projects/MANY/webapps/many";
const ROWS: usize = 200_000;
const COLUMNS: usize = 8;

/// A node with a table of so many rows that a new order takes some time.
async fn many() -> TestNode {
    let mut text = "id".to_owned();
    (0..COLUMNS).for_each(|column| write!(text, ",c{column}").expect("text"));
    for row in 0..ROWS {
        write!(text, "\n{row}").expect("text");
        for column in 0..COLUMNS {
            write!(text, ",Text {:06} of many", row * 7_919 * (column + 1) % 100_003).expect("text");
        }
    }
    Setup::default()
        .file("projects/MANY/project.toml", "name = \"Many\"\n[permissions.groups]\neveryone = [\"read_content\"]\n")
        .file("projects/MANY/datasets/many.toml", "path = \"many.csv\"\nkey = [\"id\"]\n")
        .file(
            "projects/MANY/webapps/many.toml",
            "original = \"many\"\n[[editable]]\ncolumn = \"c0\"\n[access]\ngroups = [\"everyone\"]\n",
        )
        .file("data/MANY/many.csv", &text)
        .start()
        .await
}

/// Orders that nobody has asked for yet, one after the other.
fn orders() -> impl Iterator<Item = Value> {
    let pairs = (0..COLUMNS).flat_map(|first| (0..COLUMNS).map(move |second| (first, second)));
    pairs.filter(|(first, second)| first != second).map(|(first, second)| {
        json!([{ "column": format!("c{first}") }, { "column": format!("c{second}"), "descending": true }])
    })
}

async fn deep_page(client: &Client, sort: Value, wait: Uuid) -> stet_testkit::Answer {
    let body = json!({ "sort": sort, "offset": 150_000, "limit": 1, "wait": wait });
    client.post(&format!("{TABLE}/rows/query"), &body).await
}

async fn asked_after(client: &Client, wait: Uuid) -> Value {
    client.get(&format!("{TABLE}/waits/{wait}")).await.expect_status(200).json()
}

/// Asks for deep pages of new orders until something came true while one of them was waited for.
async fn while_waiting<T>(client: &Client, see: impl AsyncFn(Uuid) -> Option<T>) -> (T, stet_testkit::Answer) {
    for sort in orders() {
        let wait = Uuid::new_v4();
        let mut page = Box::pin(deep_page(client, sort, wait));
        loop {
            tokio::select! {
                biased;
                _ = &mut page => break,
                seen = see(wait) => if let Some(seen) = seen {
                    return (seen, page.await);
                },
            }
        }
    }
    panic!("no order took long enough to be seen");
}

/// What is told when nothing waits.
fn nothing() -> Value {
    json!({ "step": "none", "rows": null, "percent": 0 })
}

#[tokio::test]
async fn whoever_waits_for_rows_is_told_how_far_they_are_and_nobody_else_is() {
    let node = many().await;
    let (client, other) = (node.signed_in(READER).await, node.signed_in(stet_testkit::ADMIN).await);
    let (seen, page) = while_waiting(&client, async |wait| {
        let told = asked_after(&other, wait).await;
        assert_eq!(told, nothing(), "a wait of somebody else");
        let elsewhere = TABLE.replace("MANY", "BIRDSTRIKES").replace("many", "correct-strikes");
        let told = client.get(&format!("{elsewhere}/waits/{wait}")).await.expect_status(200);
        assert_eq!(told.json(), nothing(), "a wait at another table");
        let told = asked_after(&client, wait).await;
        (told["step"] == "sorting").then_some(told)
    })
    .await;
    assert_eq!((&seen["rows"], page.status), (&json!(ROWS), 200));
    assert!(seen["percent"].as_u64().is_some_and(|percent| percent <= 100), "{seen}");
}

#[tokio::test]
async fn a_wait_that_is_cancelled_ends_and_what_others_wait_for_does_not() {
    let node = many().await;
    let (client, other) = (node.signed_in(READER).await, node.signed_in(stet_testkit::ADMIN).await);
    // Whoever guesses the name of another's wait cancels nothing.
    let ((), page) = while_waiting(&client, async |wait| {
        other.delete(&format!("{TABLE}/waits/{wait}")).await.expect_status(204);
        (asked_after(&client, wait).await["step"] == "sorting").then_some(())
    })
    .await;
    page.expect_status(200);
    // It may be done at the very moment when it is cancelled; not each time.
    for _ in 0..orders().count() {
        let ((), page) = while_waiting(&client, async |wait| {
            if asked_after(&client, wait).await["step"] != "sorting" {
                return None;
            }
            client.delete(&format!("{TABLE}/waits/{wait}")).await.expect_status(204);
            Some(())
        })
        .await;
        if page.status == 409 {
            assert_eq!(page.problem()["detail"], "It was cancelled");
            return;
        }
    }
    panic!("no wait was cancelled");
}

#[tokio::test]
async fn of_a_name_that_nothing_waits_by_it_is_told_that_nothing_does() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let waits = format!("{}/waits", crate::STRIKES);
    let name = Uuid::new_v4();
    assert_eq!(client.get(&format!("{waits}/{name}")).await.expect_status(200).json(), nothing());
    client.delete(&format!("{waits}/{name}")).await.expect_status(204);
    // What was waited for and is there is waited for no more.
    let body = json!({ "limit": 1, "sort": [{ "column": "species" }], "wait": name });
    client.post(&format!("{}/rows/query", crate::STRIKES), &body).await.expect_status(200);
    client.get(&format!("{}/groups?by=species&wait={name}", crate::STRIKES)).await.expect_status(200);
    assert_eq!(client.get(&format!("{waits}/{name}")).await.expect_status(200).json(), nothing());
    // No name at all.
    client.get(&format!("{waits}/mine")).await.expect_status(404);
    let body = json!({ "limit": 1, "wait": "mine" });
    client.post(&format!("{}/rows/query", crate::STRIKES), &body).await.expect_status(422);
    client.get(&format!("{}/groups?by=species&wait=mine", crate::STRIKES)).await.expect_status(400);
    node.visitor().get(&format!("{waits}/{name}")).await.expect_status(401);
}
