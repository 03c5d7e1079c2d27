//! Who may do what in a project, changed by its administrators.

use serde_json::json;
use stet_testkit::{ADMIN, DESIGNER, READER, Setup, TestNode};

const ACCESS: &str = "/api/v1/projects/TEAM/access";
const WEBAPP: &str = "/api/v1/projects/TEAM/webapps/tasks";
const PROJECT: &str = "# The team.\nname = \"Team\" # for people\n\n[permissions.groups]\n# all of us\neveryone = [\"read_content\"]\n\n\
                       [permissions.users]\ndora = [\"administer\"]\n";

async fn node() -> TestNode {
    Setup::default()
        .file("projects/TEAM/project.toml", PROJECT)
        .file("projects/TEAM/datasets/tasks.toml", "path = \"tasks.csv\"\nkey = [\"id\"]\n")
        .file("projects/TEAM/webapps/tasks.toml", "original = \"tasks\" # theirs\n[[editable]]\ncolumn = \"size\"\n")
        .file("data/TEAM/tasks.csv", "id,size\n1,small\n")
        .start()
        .await
}

fn read(node: &TestNode, file: &str) -> String {
    std::fs::read_to_string(node.folder().join(file)).expect("a file")
}

#[tokio::test]
async fn the_administrator_of_a_project_gives_and_takes_and_the_file_keeps_the_rest() {
    let node = node().await;
    let (dora, rosa) = (node.signed_in(DESIGNER).await, node.signed_in(READER).await);
    rosa.get(ACCESS).await.expect_status(403).problem();
    let seen = dora.get(ACCESS).await.expect_status(200).json();
    assert_eq!(seen["groups"], json!({ "everyone": ["read_content"] }));
    assert_eq!(seen["users"], json!({ "dora": ["administer"] }));
    assert_eq!(seen["webapps"][0]["public"], "no");
    assert!(
        seen["fixed"].is_null() && seen["known_groups"].as_array().unwrap().contains(&json!("designers")),
        "{seen}"
    );

    let wanted = json!({
        "version": seen["version"],
        "groups": { "everyone": ["read_dashboards"], "Makers": ["write_content"] },
        "users": { "dora": ["administer"] },
    });
    let now = dora.request("PUT", ACCESS).json(&wanted);
    let now = dora.send(now).await.expect_status(200).json();
    assert_eq!(now["groups"], json!({ "everyone": ["read_dashboards"], "makers": ["write_content"] }));
    assert_eq!(
        read(&node, "projects/TEAM/project.toml"),
        PROJECT.replace("[\"read_content\"]", "[\"read_dashboards\"]\nmakers = [\"write_content\"]")
    );
    // It holds at once.
    rosa.get("/api/v1/projects/TEAM/flow").await.expect_status(403);

    // What was seen is old by now: nothing is overwritten.
    let refused = dora.send(dora.request("PUT", ACCESS).json(&wanted)).await.expect_status(409).problem();
    assert!(refused["detail"].as_str().unwrap().contains("was changed in the meantime"), "{refused}");
    let audit = node.signed_in(ADMIN).await.get("/api/v1/audit?action=project").await.expect_status(200).json();
    let entry = &audit["events"][0];
    assert_eq!((&entry["action"], &entry["user"]), (&json!("project.permissions"), &json!("dora")), "{audit}");
    assert_eq!(entry["detail"], "group everyone: read_dashboards; group makers: write_content");
}

#[tokio::test]
async fn changes_that_make_no_sense_are_refused_and_change_nothing() {
    let node = node().await;
    let dora = node.signed_in(DESIGNER).await;
    let version = dora.get(ACCESS).await.expect_status(200).json()["version"].clone();
    let mine = json!({ "dora": ["administer"] });
    for (groups, users, status, told) in [
        (json!({}), json!({}), 409, "could not administer the project any more"),
        (json!({ "everyone": [] }), mine.clone(), 422, "is given nothing"),
        (json!({ "everyone": ["fly"] }), mine.clone(), 422, "`fly` is not a permission"),
        (json!({ "a b!": ["approve"] }), mine.clone(), 422, "a b!"),
    ] {
        let body = json!({ "version": version, "groups": groups, "users": users });
        let refused = dora.send(dora.request("PUT", ACCESS).json(&body)).await.expect_status(status).problem();
        assert!(refused["detail"].as_str().unwrap().contains(told), "{told}: {refused}");
    }
    assert_eq!(read(&node, "projects/TEAM/project.toml"), PROJECT);
}

#[tokio::test]
async fn a_webapp_is_given_to_a_list_and_closed_again() {
    let node = node().await;
    let (dora, rosa) = (node.signed_in(DESIGNER).await, node.signed_in(READER).await);
    rosa.get(WEBAPP).await.expect_status(200);
    let put = async |access: serde_json::Value| {
        let version = dora.get(ACCESS).await.expect_status(200).json()["webapps"][0]["version"].clone();
        let body = json!({ "version": version, "access": access });
        dora.send(dora.request("PUT", &format!("{WEBAPP}/access")).json(&body)).await.expect_status(200);
    };
    let nobody = json!({ "users": [], "groups": [] });
    put(json!({ "users": ["dora"], "groups": [], "view_only": nobody, "public": "no" })).await;
    rosa.get(WEBAPP).await.expect_status(404);
    put(json!({ "users": ["dora"], "groups": [], "view_only": { "users": ["ROSA"], "groups": [] }, "public": "read" }))
        .await;
    assert!(rosa.get(WEBAPP).await.expect_status(200).json()["read_only"].is_string());
    node.visitor().get(WEBAPP).await.expect_status(200);
    put(json!({ "users": [], "groups": [], "view_only": nobody, "public": "no" })).await;
    assert_eq!(
        read(&node, "projects/TEAM/webapps/tasks.toml"),
        "original = \"tasks\" # theirs\n[[editable]]\ncolumn = \"size\"\n"
    );
    assert!(rosa.get(WEBAPP).await.expect_status(200).json()["read_only"].is_null());
    node.visitor().get(WEBAPP).await.expect_status(401);
}
