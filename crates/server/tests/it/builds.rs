//! Builds, from the request to the rows.

use serde_json::json;
use stet_testkit::{DESIGNER, PROJECT, TestNode};

use crate::{STRIKES, one, update};

#[tokio::test]
async fn a_build_runs_to_its_end_and_an_edit_changes_what_it_delivers() {
    let node = TestNode::start().await;
    let client = node.signed_in(DESIGNER).await;
    let base = format!("/api/v1/projects/{PROJECT}");
    let mut stream = client.events(&format!("{base}/events")).await;
    stream.wait_for("flow").await;

    let build = json!({ "dataset": "strikes_by_airport" });
    let job = client.post(&format!("{base}/builds"), &build).await.expect_status(202).json();
    client.post(&format!("{base}/builds"), &build).await.expect_status(409).problem();
    let ended = loop {
        let heard = stream.wait_for("job").await;
        if heard["id"] == job["id"] && !matches!(heard["state"].as_str(), Some("queued" | "running")) {
            break heard;
        }
    };
    assert_eq!(ended["state"], "done", "{ended}");

    let id = job["id"].as_str().expect("an id");
    let told = client.get(&format!("{base}/builds/{id}")).await.expect_status(200).json();
    assert!(told["log"].as_array().is_some_and(|log| !log.is_empty()), "{told}");
    assert!(told["steps"].as_array().expect("steps").iter().all(|step| step["state"] == "done"), "{told}");
    let list = client.get(&format!("{base}/builds")).await.expect_status(200).json();
    assert_eq!(list["jobs"][0]["id"], job["id"]);
    assert!(list["jobs"][0].get("log").is_none());
    client.delete(&format!("{base}/builds/{id}")).await;
    let still = client.get(&format!("{base}/builds/{id}")).await.expect_status(200).json();
    assert_eq!(still["state"], "done", "a build that has ended cannot be stopped");
    client.get(&format!("{base}/builds/no-such-build")).await.expect_status(404).problem();

    let dataset = client.get(&format!("{base}/datasets/strikes_by_airport")).await.expect_status(200).json();
    assert_eq!(dataset["state"], "fresh", "{dataset}");
    assert!(dataset["report"]["rows_out"].as_u64() > Some(0), "{dataset}");
    let rows = client.get(&format!("{base}/datasets/strikes_by_airport/rows?limit=3")).await.expect_status(200).json();
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(3));

    let edit = one(update("1", "cost_total", json!("12345"), json!(null)));
    client.post(&format!("{STRIKES}/edits"), &edit).await.expect_status(200);
    let stale = client.get(&format!("{base}/datasets/strikes_by_airport")).await.expect_status(200).json();
    assert_eq!(stale["state"], "stale", "{stale}");
    assert!(stale["reason"].is_string(), "{stale}");
}

#[tokio::test]
async fn what_cannot_be_built_is_refused() {
    let node = TestNode::start().await;
    let client = node.signed_in(DESIGNER).await;
    let path = format!("/api/v1/projects/{PROJECT}/builds");
    for (dataset, mode, status) in [("nothing", "only", 404), ("strikes", "only", 422), ("strikes_edited", "all", 422)]
    {
        let answer = client.post(&path, &json!({ "dataset": dataset, "mode": mode })).await.expect_status(status);
        answer.problem();
    }
}
