//! Webapps that are open to everybody.

use serde_json::json;
use stet_testkit::{READER, Setup, TestNode};

use crate::{one, update};

const TABLE: &str = "/api/v1/projects/OPEN/webapps/names";
const FILE: &str = "projects/OPEN/webapps/names.toml";
const WEBAPP: &str =
    "original = \"names\"\n[[editable]]\ncolumn = \"name\"\n[layout]\ncolumns = [\"name\"]\n[access]\n";

async fn node(public: &str) -> TestNode {
    Setup::default()
        .file("projects/OPEN/project.toml", "name = \"Open\"\n[permissions.groups]\neveryone = [\"read_content\"]\n")
        .file(
            "projects/OPEN/datasets/names.toml",
            "path = \"names.csv\"\nkey = [\"id\"]\ncolumns = [\n{ name = \"id\", type = \"integer\" },\n\
             { name = \"name\", type = \"text\" },\n{ name = \"salary\", type = \"integer\" },\n]\n",
        )
        .file(FILE, &format!("{WEBAPP}{public}"))
        .file("data/OPEN/names.csv", "id,name,salary\n1,Ann,70000\n2,Bob,80000\n")
        .start()
        .await
}

#[tokio::test]
async fn a_webapp_is_not_public_unless_its_file_says_so() {
    for public in ["", "public = false\n"] {
        let node = node(public).await;
        let there = node.visitor().get(TABLE).await.expect_status(401);
        let gone = node.visitor().get("/api/v1/projects/NOTHING/webapps/names").await.expect_status(401);
        assert_eq!(there.problem()["detail"], gone.problem()["detail"]);
    }
}

#[tokio::test]
async fn a_visitor_reads_the_columns_of_the_table_and_no_names_of_people() {
    let node = node("public = \"read\"\n").await;
    let reader = node.signed_in(READER).await;
    let edit = one(update("1", "name", json!("Anna"), json!(null)));
    reader.post(&format!("{TABLE}/edits"), &edit).await.expect_status(200);

    let visitor = node.visitor();
    let table = visitor.get(TABLE).await.expect_status(200);
    assert!(table.json()["read_only"].is_string(), "{}", table.text);
    let rows = visitor.post(&format!("{TABLE}/rows/query"), &json!({})).await.expect_status(200);
    let history = visitor.get(&format!("{TABLE}/history?key=1")).await.expect_status(200);
    assert!(rows.text.contains("Anna") && history.text.contains("Anna"));
    for answer in [&table, &rows, &history] {
        assert!(!answer.text.contains("70000") && !answer.text.contains("salary"), "{}", answer.text);
        assert!(!answer.text.contains(READER) && !answer.text.contains("Rosa"), "{}", answer.text);
    }
    let mut stream = visitor.events(&format!("{TABLE}/events")).await;
    let _other = reader.events(&format!("{TABLE}/events")).await;
    assert_eq!(stream.wait_for("hello").await["presence"], json!([]));

    // Nothing but the table is there, and it cannot be changed.
    visitor.post(&format!("{TABLE}/edits"), &edit).await.expect_status(403);
    visitor
        .post("/webapps/OPEN/names/update", &json!({ "primaryKeys": 1, "column": "name", "value": "x" }))
        .await
        .expect_status(403);
    for path in ["/api/v1/projects", "/api/v1/projects/OPEN", "/webapps/OPEN/names/read-all-edits"] {
        visitor.get(path).await.expect_status(401);
    }
}

#[tokio::test]
async fn a_visitors_edit_is_by_none_whatever_they_say() {
    let node = node("public = \"edit\"\n").await;
    let visitor = node.visitor();
    let saved = visitor.post(&format!("{TABLE}/edits"), &one(update("1", "name", json!("Anna"), json!(null)))).await;
    assert_eq!(saved.expect_status(200).json()["results"][0]["status"], "saved");
    let mut forged = one(update("2", "name", json!("Bobby"), json!(null)));
    forged["user"] = json!(READER);
    visitor.post(&format!("{TABLE}/edits"), &forged).await.expect_status(422);
    let events = node.signed_in(READER).await.get(&format!("{TABLE}/history?key=1")).await.expect_status(200).json();
    assert_eq!(events["events"][0]["user"], "none");
}

#[tokio::test]
async fn visitors_edit_only_so_much_a_minute() {
    let node = node("public = \"edit\"\n").await;
    let visitor = node.visitor();
    let edits: Vec<_> =
        (0..stet_app::VISITOR_EDITS_MAX).map(|n| update("1", "name", json!(format!("A{n}")), json!(null))).collect();
    let paste = json!({ "source": "paste", "edits": edits });
    visitor.post(&format!("{TABLE}/edits"), &paste).await.expect_status(200);
    let late = visitor.post(&format!("{TABLE}/edits"), &one(update("2", "name", json!("x"), json!(null)))).await;
    assert!(late.expect_status(429).header("retry-after").is_some());
    // Who has signed in is not held up by them.
    let reader = node.signed_in(READER).await;
    reader.post(&format!("{TABLE}/edits"), &one(update("2", "name", json!("x"), json!(null)))).await.expect_status(200);
}

#[tokio::test]
async fn a_webapp_that_is_no_longer_public_is_closed_at_once_for_streams_too() {
    let node = node("public = \"edit\"\n").await;
    let visitor = node.visitor();
    visitor.get(TABLE).await.expect_status(200);
    let mut stream = visitor.events(&format!("{TABLE}/events")).await;
    stream.wait_for("hello").await;
    node.write(FILE, WEBAPP);
    // The files are looked at again after half a second at most.
    let mut status = 200;
    for _ in 0..200 {
        status = visitor.get(TABLE).await.status;
        if status != 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(status, 401);
    let edit = one(update("1", "name", json!("heard?"), json!(null)));
    node.signed_in(READER).await.post(&format!("{TABLE}/edits"), &edit).await.expect_status(200);
    while let Some(message) = stream.next().await {
        assert!(!message.data.to_string().contains("heard?"), "{message:?}");
        if message.name == "goodbye" {
            return;
        }
    }
}

#[tokio::test]
async fn nobody_is_called_like_somebody_who_has_not_signed_in() {
    let node = TestNode::start().await;
    let shell = stet_domain::Actor::shell(stet_domain::Login::new("shell").expect("a login"));
    for (login, name) in [
        ("none", ""),
        ("NONE", ""),
        ("n.o.n.e", ""),
        ("n0ne", ""),
        ("nоne", ""),
        ("root@shell", ""),
        ("rosalind", "None"),
        ("rosalind", "nοne"),
        ("rosalind", "n\u{200b}one"),
        ("rosalind", "Ros\u{202e}a"),
        ("no ne", ""),
    ] {
        let user = stet_app::NewUser {
            login: login.to_owned(),
            display_name: name.to_owned(),
            profile: stet_domain::Profile::Reader,
            password: "long enough".to_owned(),
        };
        assert!(node.app.add_user(&shell, user).await.is_err(), "{login:?} {name:?}");
    }
}

#[tokio::test]
async fn visitors_read_so_often_and_never_load_an_original_again() {
    let node = node("public = \"edit\"\n").await;
    let visitor = node.visitor();
    visitor.post(&format!("{TABLE}/reload"), &json!({})).await.expect_status(401).problem();
    let mut last = 200;
    let mut requests = 1;
    while last == 200 && requests <= stet_app::VISITOR_REQUESTS_MAX {
        last = visitor.get(TABLE).await.status;
        requests += 1;
    }
    assert_eq!(last, 429, "after {requests} requests");
    let answer = visitor.post(&format!("{TABLE}/rows/query"), &json!({})).await.expect_status(429);
    assert_eq!(answer.header("retry-after"), Some("60"));
    // Whoever signs in is somebody else.
    node.signed_in(READER).await.get(TABLE).await.expect_status(200);
}
