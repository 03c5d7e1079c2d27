//! Connections in the browser: what is shown of them, what changing them takes, and who may use them.

use serde_json::json;
use stet_testkit::postgres::{SUPERUSER, SUPERUSER_PASSWORD, TestDatabase};
use stet_testkit::{ADMIN, DESIGNER, PROJECT, Setup, TestNode};

const CONNECTIONS: &str = "/api/v1/connections";

fn body(database: &TestDatabase) -> serde_json::Value {
    json!({
        "name": "warehouse", "host": "127.0.0.1", "port": database.server.port, "database": database.name,
        "user": SUPERUSER, "password": SUPERUSER_PASSWORD,
    })
}

#[tokio::test]
async fn a_connection_is_added_tried_changed_and_taken_away() {
    let database = TestDatabase::new();
    let node = Setup::default().config("[connections.shelf]\nkind = \"files\"\npath = \"data\"").start().await;
    let admin = node.signed_in(ADMIN).await;
    admin.post(CONNECTIONS, &body(&database)).await.expect_status(201);
    admin.post(CONNECTIONS, &body(&database)).await.expect_status(409).problem();
    let list = admin.get(CONNECTIONS).await.expect_status(200);
    assert!(!list.text.contains(SUPERUSER_PASSWORD), "{}", list.text);
    let list = list.json();
    assert_eq!((&list["connections"][0]["name"], &list["connections"][0]["in_file"]), (&json!("shelf"), &json!(true)));
    assert_eq!(list["connections"][1]["has_password"], true);
    assert_eq!(list["connections"][1]["changed_by"], ADMIN);

    let test = format!("{CONNECTIONS}/warehouse/test");
    assert_eq!(admin.post(&test, &json!({})).await.expect_status(200).json(), json!({ "works": true, "reason": null }));
    let one = format!("{CONNECTIONS}/warehouse");
    admin.send(admin.request("PATCH", &one).json(&json!({ "password": "wrong" }))).await.expect_status(204);
    let answer = admin.post(&test, &json!({})).await.expect_status(200).json();
    assert!(answer["reason"].as_str().unwrap().contains("does not accept the user"), "{answer}");

    // What stands in stet.toml is changed there.
    let shelf = admin.request("PATCH", &format!("{CONNECTIONS}/shelf")).json(&json!({ "groups": ["makers"] }));
    admin.send(shelf).await.expect_status(409).problem();
    admin.delete(&one).await.expect_status(204);
    admin.delete(&one).await.expect_status(404).problem();
    let done = admin.get("/api/v1/audit?action=connection").await.expect_status(200).json();
    let done: Vec<&str> =
        done["events"].as_array().unwrap().iter().filter_map(|event| event["action"].as_str()).collect();
    let expected = ["connection.remove", "connection.test", "connection.change", "connection.test", "connection.add"];
    assert_eq!(done, expected);
}

#[tokio::test]
async fn a_connection_that_is_to_lead_elsewhere_takes_its_password_again() {
    let database = TestDatabase::new();
    let node = TestNode::start().await;
    let admin = node.signed_in(ADMIN).await;
    admin.post(CONNECTIONS, &body(&database)).await.expect_status(201);
    let one = format!("{CONNECTIONS}/warehouse");
    for change in [
        json!({ "host": "attacker.example" }),
        json!({ "port": 5433 }),
        json!({ "database": "other" }),
        json!({ "user": "other" }),
        json!({ "sslmode": "require" }),
        json!({ "ca_file": "mine.pem" }),
    ] {
        let answer = admin.send(admin.request("PATCH", &one).json(&change)).await.expect_status(422);
        assert!(answer.text.contains("password again"), "{}", answer.text);
    }
    assert_eq!(admin.get(CONNECTIONS).await.json()["connections"][0]["host"], "127.0.0.1");
    // Who may use it is another matter.
    admin.send(admin.request("PATCH", &one).json(&json!({ "groups": ["makers"] }))).await.expect_status(204);
    let moved = json!({ "host": "localhost", "password": SUPERUSER_PASSWORD });
    admin.send(admin.request("PATCH", &one).json(&moved)).await.expect_status(204);
    let answer = admin.post(&format!("{one}/test"), &json!({})).await.expect_status(200).json();
    assert_eq!(answer["works"], true, "{answer}");
    let refused = admin.get("/api/v1/audit?action=connection.change&outcome=refused").await.json();
    assert_eq!(refused["events"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn a_connection_is_used_by_its_groups_alone() {
    let database = TestDatabase::new();
    database.sql("CREATE TABLE items (id int PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one')");
    let project = format!("projects/{PROJECT}/datasets");
    let node = Setup::default()
        .file(&format!("{project}/items.toml"), "connection = \"warehouse\"\ntable = \"items\"\nkey = [\"id\"]\n")
        .file(
            &format!("projects/{PROJECT}/recipes/count.toml"),
            "kind = \"sql\"\ninputs = [\"items\"]\noutput = \"counted\"\n",
        )
        .file(&format!("projects/{PROJECT}/recipes/count.sql"), "SELECT count(*) AS items FROM items")
        .file(&format!("{project}/counted.toml"), "path = \"counted.parquet\"\n")
        .start()
        .await;
    let admin = node.signed_in(ADMIN).await;
    let mut new = body(&database);
    new["groups"] = json!(["makers"]);
    admin.post(CONNECTIONS, &new).await.expect_status(201);
    admin.post("/api/v1/groups", &json!({ "name": "makers" })).await.expect_status(201);
    let designer = node.signed_in(DESIGNER).await;
    let rows = format!("/api/v1/projects/{PROJECT}/datasets/items/rows");
    let builds = format!("/api/v1/projects/{PROJECT}/builds");
    let build = json!({ "dataset": "counted", "mode": "required" });
    designer.get(&rows).await.expect_status(403).problem();
    designer.post(&builds, &build).await.expect_status(403).problem();
    admin.send(admin.request("PUT", &format!("/api/v1/groups/makers/members/{DESIGNER}"))).await.expect_status(204);
    designer.get(&rows).await.expect_status(200);
    designer.post(&builds, &build).await.expect_status(202);
    // Nobody but administrators sees how it is reached.
    designer.get(CONNECTIONS).await.expect_status(403).problem();
}
