//! Live streams.

use serde_json::json;
use stet_testkit::{DESIGNER, OTHER_READER, READER, TestNode};

use crate::{STRIKES, one, update};

#[tokio::test]
async fn an_edit_is_seen_by_others_as_it_happens() {
    let node = TestNode::start().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    let mut stream = rafael.events(&format!("{STRIKES}/events")).await;
    let hello = stream.wait_for("hello").await;
    assert_eq!(hello["original_changed"], false);
    assert!(hello["session"].is_string() && hello["snapshot"].is_string(), "{hello}");

    let edit = one(update("7", "diverted_to", json!("00M"), json!(null)));
    let answer = rosa.post(&format!("{STRIKES}/edits"), &edit).await.expect_status(200).json();
    let heard = stream.wait_for("edit").await;
    assert_eq!(heard["user"], READER);
    assert_eq!(heard["rows"], answer["rows"]);
    assert_eq!(heard["version"], answer["version"]);
    assert_eq!(heard["links"]["diverted_to"]["00M"]["label"], "Thigpen");
    assert_eq!(heard["invalidate"], false);
}

#[tokio::test]
async fn people_see_where_the_others_are_and_that_they_have_gone() {
    let node = TestNode::start().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    let mut his = rafael.events(&format!("{STRIKES}/events")).await;
    his.wait_for("hello").await;
    let mut hers = rosa.events(&format!("{STRIKES}/events")).await;
    let hello = hers.wait_for("hello").await;
    assert_eq!(hello["presence"][0]["user"], OTHER_READER);
    let path = format!("{STRIKES}/presence");
    let place = json!({ "key": "8", "column": "species", "editing": true });
    rosa.post(&path, &place).await.expect_status(204);
    loop {
        let heard = his.wait_for("presence").await;
        if heard["presence"][0]["key"] == "8" {
            assert_eq!(heard["presence"][0]["name"], "Rosa Reader");
            assert_eq!(heard["presence"][0]["editing"], true);
            break;
        }
    }
    let mut forged = place.clone();
    forged["session"] = hello["session"].clone();
    rafael.post(&path, &forged).await.expect_status(404).problem();
    drop(hers);
    while his.wait_for("presence").await["presence"] != json!([]) {}
}

#[tokio::test]
async fn a_reload_is_told_to_all() {
    let node = TestNode::start().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    let mut stream = rafael.events(&format!("{STRIKES}/events")).await;
    stream.wait_for("hello").await;
    let answer = rosa.post(&format!("{STRIKES}/reload"), &json!({})).await.expect_status(202).json();
    let heard = stream.wait_for("reloaded").await;
    assert_eq!((&heard["snapshot"], &heard["user"]), (&answer["snapshot"], &json!(READER)));
}

#[tokio::test]
async fn a_stream_ends_when_its_session_does() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let mut table = client.events(&format!("{STRIKES}/events")).await;
    let mut project = client.events("/api/v1/projects/BIRDSTRIKES/events").await;
    table.wait_for("hello").await;
    client.delete("/api/v1/session").await.expect_status(204);
    for stream in [&mut table, &mut project] {
        assert!(stream.wait_for("goodbye").await["reason"].as_str().is_some_and(|text| text.contains("sign in")));
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn streams_end_with_the_server_and_do_not_hold_it_up() {
    let node = TestNode::start().await;
    let client = node.signed_in(DESIGNER).await;
    let mut stream = client.events(&format!("{STRIKES}/events")).await;
    stream.wait_for("hello").await;
    let (goodbye, ()) = tokio::join!(stream.wait_for("goodbye"), node.stop());
    assert!(goodbye["reason"].as_str().is_some_and(|reason| reason.contains("stopping")), "{goodbye}");
}

#[tokio::test]
async fn one_user_cannot_take_all_streams() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let path = "/api/v1/projects/BIRDSTRIKES/events";
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(client.events(path).await);
    }
    let answer = client.get(path).await.expect_status(429);
    answer.problem();
    assert!(answer.header("retry-after").is_some());
    drop(node.signed_in(OTHER_READER).await.events(path).await);
}

#[tokio::test]
async fn who_is_shut_out_at_the_shell_hears_nothing_more_and_the_stream_ends_by_itself() {
    let node = TestNode::start().await;
    let rosa = node.signed_in(READER).await;
    let mut stream = rosa.events(&format!("{STRIKES}/events")).await;
    stream.wait_for("hello").await;
    // As `stet user disable` does, in another process: the server is not told.
    let other = stet_app::App::open(node.folder(), stet_app::Clock::System).await.expect("the node opens");
    let shell = stet_domain::Actor::shell(stet_domain::Login::new("shell").expect("a login"));
    other.set_user_disabled(&shell, READER, true).await.expect("disabled");
    let edit = one(update("9", "comments", json!("after"), json!(null)));
    node.signed_in(DESIGNER).await.post(&format!("{STRIKES}/edits"), &edit).await.expect_status(200);
    while let Some(message) = stream.next().await {
        assert!(message.name != "edit", "{message:?}");
    }
}
