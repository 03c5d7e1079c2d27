//! Whose rows and columns are whose, by every way that leads into a table and out of it.

use serde_json::{Value, json};
use stet_testkit::{ADMIN, Client, OTHER_READER, READER, Setup, TestNode};

use crate::{one, update};

const TABLE: &str = "/api/v1/projects/TEAM/webapps/tasks";
const ROW_API: &str = "/webapps/TEAM/tasks";

/// A table in which each reader sees the rows that they own, changes those that are open, and leaves `note` to editors.
async fn node() -> TestNode {
    Setup::default()
        .file("projects/TEAM/project.toml", "name = \"Team\"\n[permissions.groups]\neveryone = [\"read_content\"]\n")
        .file(
            "projects/TEAM/datasets/tasks.toml",
            "path = \"tasks.csv\"\nkey = [\"id\"]\ncolumns = [\n{ name = \"id\", type = \"integer\" },\n\
             { name = \"owner\", type = \"text\" },\n{ name = \"state\", type = \"text\" },\n\
             { name = \"size\", type = \"text\" },\n{ name = \"note\", type = \"text\" },\n]\n",
        )
        .file(
            "projects/TEAM/webapps/tasks.toml",
            "original = \"tasks\"\n[[editable]]\ncolumn = \"size\"\n[[editable]]\ncolumn = \"owner\"\n\
             [[editable]]\ncolumn = \"note\"\neditable_by = { groups = [\"editors\"] }\n[[editable]]\ncolumn = \"state\"\n\
             [rows]\ncreate = true\ndelete = true\nsee = \"owner = current_user\"\nedit = \"state in ('open', 'new')\"\n",
        )
        .file(
            "data/TEAM/tasks.csv",
            "id,owner,state,size,note\n1,rosa,open,small,\n2,rosa,done,small,\n3,rafael,open,secret,\n4,,open,nobody,\n",
        )
        .start()
        .await
}

async fn keys(client: &Client) -> Vec<String> {
    let page = client.post(&format!("{TABLE}/rows/query"), &json!({})).await.expect_status(200).json();
    let rows = page["rows"].as_array().expect("rows").clone();
    assert_eq!(page["total"], rows.len(), "{page}");
    rows.iter().map(|row| row["key"].as_str().expect("a key").to_owned()).collect()
}

async fn edited(client: &Client, edit: Value) -> Value {
    client.post(&format!("{TABLE}/edits"), &one(edit)).await.expect_status(200).json()["results"][0].clone()
}

#[tokio::test]
async fn each_sees_their_own_rows_and_an_administrator_all() {
    let node = node().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    assert_eq!(keys(&rosa).await, ["1", "2"]);
    assert_eq!(keys(&rafael).await, ["3"]);
    assert_eq!(keys(&node.signed_in(ADMIN).await).await, ["1", "2", "3", "4"]);
    assert_eq!(rosa.get(TABLE).await.expect_status(200).json()["total"], 2);

    // A filter of one's own does not open what the rule closes.
    let filters = json!({ "filters": [{ "column": "owner", "op": "in", "values": ["rafael", null] }] });
    let page = rosa.post(&format!("{TABLE}/rows/query"), &filters).await.expect_status(200).json();
    assert_eq!((&page["total"], &page["rows"]), (&json!(0), &json!([])));

    // Nor does the row API, the history, or what the pipeline makes of the rows.
    let there = rosa.post(&format!("{ROW_API}/read"), &json!({ "primaryKeys": 3 })).await.expect_status(404);
    let gone = rosa.post(&format!("{ROW_API}/read"), &json!({ "primaryKeys": 5 })).await.expect_status(404);
    assert_eq!(
        there.problem()["detail"].as_str().map(|text| text.replace('3', "5")),
        gone.problem()["detail"].as_str().map(str::to_owned)
    );
    for dataset in ["tasks", "tasks_editlog", "tasks_editlog_pivoted", "tasks_edited"] {
        rosa.get(&format!("/api/v1/projects/TEAM/datasets/{dataset}/rows")).await.expect_status(404);
    }
}

#[tokio::test]
async fn who_gives_a_row_away_is_told_that_it_is_gone() {
    let node = node().await;
    let rosa = node.signed_in(READER).await;
    let edit = one(update("1", "owner", json!("rafael"), json!(null)));
    let answer = rosa.post(&format!("{TABLE}/edits"), &edit).await.expect_status(200).json();
    assert_eq!((&answer["rows"], &answer["deleted"]), (&json!([]), &json!(["1"])), "{answer}");
}

#[tokio::test]
async fn rows_of_others_are_not_edited_and_not_told_from_rows_that_are_not_there() {
    let node = node().await;
    let rosa = node.signed_in(READER).await;
    let other = edited(&rosa, update("3", "size", json!("big"), json!(null))).await;
    let none = edited(&rosa, update("5", "size", json!("big"), json!(null))).await;
    assert_eq!(other.to_string().replace('3', "5"), none.to_string());
    assert_eq!(other["status"], "refused");
    assert_eq!(edited(&rosa, json!({ "action": "delete", "key": "3" })).await["status"], "refused");
    assert_eq!(edited(&rosa, json!({ "action": "revert", "key": "3" })).await["status"], "refused");

    // One's own row, as long as it is open; its state is read as the table shows it.
    assert_eq!(edited(&rosa, update("1", "size", json!("big"), json!(null))).await["status"], "saved");
    assert_eq!(edited(&rosa, update("2", "size", json!("big"), json!(null))).await["status"], "refused");
    assert_eq!(edited(&rosa, update("1", "state", json!("done"), json!(null))).await["status"], "saved");
    assert_eq!(edited(&rosa, update("1", "size", json!("huge"), json!(null))).await["status"], "refused");
}

#[tokio::test]
async fn a_new_row_has_to_be_ones_own() {
    let node = node().await;
    let rosa = node.signed_in(READER).await;
    let create =
        |id: &str, owner: &str| json!({ "action": "create", "values": { "id": id, "owner": owner, "state": "new" } });
    assert_eq!(edited(&rosa, create("8", "rafael")).await["status"], "refused");
    assert_eq!(edited(&rosa, create("9", "rosa")).await["status"], "saved");
    assert!(keys(&rosa).await.contains(&"9".to_owned()));
    assert!(!keys(&node.signed_in(OTHER_READER).await).await.contains(&"9".to_owned()));
}

#[tokio::test]
async fn a_column_of_a_group_is_edited_by_its_members_alone() {
    let node = node().await;
    let rosa = node.signed_in(READER).await;
    let editable = async |client: &Client| {
        let table = client.get(TABLE).await.expect_status(200).json();
        let columns = table["columns"].as_array().expect("columns").clone();
        columns.into_iter().find(|column| column["name"] == "note").expect("note")["editable"].clone()
    };
    assert_eq!(editable(&rosa).await, false);
    let refused = edited(&rosa, update("1", "note", json!("x"), json!(null))).await;
    assert_eq!((&refused["status"], &refused["rule"]), (&json!("refused"), &json!("editable")));

    let shell = stet_domain::Actor::shell(stet_domain::Login::new("shell").expect("a login"));
    node.app.add_group(&shell, "editors", "").await.expect("a group");
    node.app.add_to_group(&shell, "editors", READER).await.expect("a member");
    assert_eq!(editable(&rosa).await, true);
    assert_eq!(edited(&rosa, update("1", "note", json!("x"), json!(null))).await["status"], "saved");
    // Everything in the row at once would take the group's edit away, too.
    node.app.remove_from_group(&shell, "editors", READER).await.expect("no member");
    assert_eq!(edited(&rosa, json!({ "action": "revert", "key": "1" })).await["status"], "refused");
}

#[tokio::test]
async fn the_edits_of_others_rows_are_neither_heard_nor_downloaded() {
    let node = node().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    let mut stream = rosa.events(&format!("{TABLE}/events")).await;
    stream.wait_for("hello").await;
    assert_eq!(edited(&rafael, update("3", "size", json!("whispered"), json!(null))).await["status"], "saved");
    let heard = stream.wait_for("edit").await;
    assert!(
        !heard.to_string().contains("whispered") && heard["rows"] == json!([]) && heard["deleted"] == json!([]),
        "{heard}"
    );
    assert_eq!(edited(&rosa, update("1", "size", json!("said"), json!(null))).await["status"], "saved");
    assert!(stream.wait_for("edit").await.to_string().contains("said"));

    let edits = rosa.get(&format!("{ROW_API}/read-all-edits")).await.expect_status(200).text;
    assert!(edits.contains("said") && !edits.contains("whispered"), "{edits}");
    let history = rosa.get(&format!("{TABLE}/history?key=3")).await.expect_status(200).json();
    assert_eq!(history["events"], json!([]));
    let edits = rafael.get(&format!("{ROW_API}/read-all-edits")).await.expect_status(200).text;
    assert!(!edits.contains("said") && edits.contains("whispered"), "{edits}");
}
