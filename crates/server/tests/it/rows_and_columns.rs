//! Whose rows and columns are whose, by every way that leads into a table and out of it.

use serde_json::{Value, json};
use stet_testkit::{ADMIN, Client, DESIGNER, OTHER_READER, READER, Setup, TestNode};

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

#[tokio::test]
async fn rows_are_assigned_to_people_and_everybody_can_look_at_their_own_alone() {
    let project = "name = \"Desk\"\n[permissions.groups]\neveryone = [\"read_dashboards\"]\n";
    let dataset = "path = \"cases.csv\"\nkey = [\"id\"]\ncolumns = [\n{ name = \"id\", type = \"integer\" },\n\
                   { name = \"owner\", type = \"text\" },\n{ name = \"state\", type = \"text\" },\n]\n";
    let webapp = "original = \"cases\"\n[[editable]]\ncolumn = \"owner\"\neditable_by = { users = [\"dora\"] }\n\
                  [[editable]]\ncolumn = \"state\"\n[rows]\nassigned_to = \"owner\"\n";
    let node = stet_testkit::Setup::default()
        .file("projects/DESK/project.toml", project)
        .file("projects/DESK/datasets/cases.toml", dataset)
        .file("projects/DESK/webapps/cases.toml", webapp)
        .file("data/DESK/cases.csv", "id,owner,state\n1,rosa,new\n2,rafael,new\n3,,new\n4,rosa,old\n")
        .start()
        .await;
    let table = "/api/v1/projects/DESK/webapps/cases";
    let (rosa, dora) = (node.signed_in(READER).await, node.signed_in(DESIGNER).await);
    assert_eq!(rosa.get(table).await.expect_status(200).json()["assigned_to"], "owner");
    let query = format!("{table}/rows/query");
    let mine = async |client: &stet_testkit::Client, more: serde_json::Value| {
        let mut body = json!({ "states": ["assigned"] });
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let page = client.post(&query, &body).await.expect_status(200).json();
        (page["total"].as_u64().expect("a total"), page["rows"].as_array().expect("rows").len())
    };
    assert_eq!(mine(&rosa, json!({})).await, (2, 2));
    assert_eq!(mine(&rosa, json!({ "limit": 1 })).await, (2, 1), "all are counted");
    let new = json!([{ "column": "state", "op": "equals", "value": "new" }]);
    assert_eq!(mine(&rosa, json!({ "filters": new })).await, (1, 1), "beside other filters");
    let groups = format!("{table}/groups?by=state&states={}", stet_testkit::escaped("[\"assigned\"]"));
    assert_eq!(rosa.get(&groups).await.expect_status(200).json()["rows"], 2);

    // Whoever may edit the column assigns rows; others do not, and everybody still sees all of them.
    let assign = |seen| crate::one(crate::update("3", "owner", json!("rosa"), seen));
    let refused = rosa.post(&format!("{table}/edits"), &assign(json!(null))).await.expect_status(200).json();
    assert_eq!(refused["results"][0]["status"], "refused", "{refused}");
    let saved = dora.post(&format!("{table}/edits"), &assign(json!(null))).await.expect_status(200).json();
    assert_eq!(saved["results"][0]["status"], "saved", "{saved}");
    assert_eq!(mine(&rosa, json!({})).await, (3, 3));
    assert_eq!(rosa.post(&query, &json!({})).await.json()["total"], 4);
    // A table that does not say whose rows are whose cannot tell.
    let answer = rosa.post(&format!("{}/rows/query", crate::STRIKES), &json!({ "states": ["assigned"] })).await;
    assert!(answer.expect_status(422).text.contains("assigned_to"));
}

#[tokio::test]
async fn the_log_is_searched_as_if_the_edits_of_others_rows_were_not_in_it() {
    let node = node().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    let mut stream = rosa.events(&format!("{TABLE}/events")).await;
    stream.wait_for("hello").await;
    for (column, value) in [("size", "whispered"), ("state", "new"), ("size", "again")] {
        let edit = update("3", column, json!(value), json!(null));
        let edit = json!({ "edits": [edit], "source": "grid" });
        rafael.post(&format!("{TABLE}/edits"), &edit).await.expect_status(200);
    }
    // Neither who is at work there is heard.
    let heard = stream.wait_for("edit").await;
    assert!(!heard.to_string().contains(OTHER_READER), "{heard}");

    let search = async |query: &str| {
        let mut found = rosa.get(&format!("{TABLE}/log?limit=1&{query}")).await.expect_status(200).json();
        found.as_object_mut().expect("an object").remove("position");
        found
    };
    let nothing = json!({ "events": [], "before": null });
    for query in
        ["key=3", "key=99", "user=rafael", "user=nobody", "column=state", "user=rafael&column=size", "source=grid"]
    {
        assert_eq!(search(query).await, nothing, "{query}");
    }
    let plan = async |filter: Value| {
        rosa.post(&format!("{TABLE}/revert/plan"), &json!({ "filter": filter })).await.expect_status(200).json()
    };
    assert_eq!(plan(json!({ "user": "rafael" })).await, plan(json!({ "user": "nobody" })).await);
    assert_eq!(plan(json!({ "key": "3" })).await["events"], 0);

    // One's own are found among them, one page after the other.
    for value in ["big", "bigger"] {
        rosa.post(
            &format!("{TABLE}/edits"),
            &json!({ "edits": [{ "action": "update", "key": "1", "column": "size", "value": value }] }),
        )
        .await
        .expect_status(200);
    }
    let first = search("column=size").await;
    assert_eq!(first["events"][0]["value"], "bigger", "{first}");
    let second = search(&format!("column=size&before={}", first["before"])).await;
    assert_eq!(second["events"][0]["value"], "big", "{second}");
    assert_eq!(search(&format!("column=size&before={}", second["before"])).await, nothing);
}

#[tokio::test]
async fn scenarios_tell_only_those_of_a_table_who_see_all_its_rows() {
    let permissions = "name = \"Team\"\n[permissions.groups]\neveryone = [\"read_content\", \"run_scenarios\"]\n";
    let node = node().await;
    node.write("projects/TEAM/project.toml", permissions);
    let (rosa, admin) = (node.signed_in(READER).await, node.signed_in(ADMIN).await);
    let scenarios = "/api/v1/projects/TEAM/scenarios";
    let start = format!("{scenarios}/commit_edits_tasks/runs");
    let run = admin.post(&start, &json!({})).await.expect_status(202).json();
    let run = format!("/api/v1/projects/TEAM/runs/{}", run["id"].as_str().expect("an id"));
    admin.get(&run).await.expect_status(200);

    // The new permissions hold when she may look at scenarios at all.
    let listed = loop {
        let answer = rosa.get(scenarios).await;
        if answer.status == 200 {
            break answer.json();
        }
    };
    assert_eq!(listed, json!({ "scenarios": [] }));
    assert_eq!(rosa.get("/api/v1/projects/TEAM/runs").await.expect_status(200).json(), json!({ "runs": [] }));
    rosa.get(&run).await.expect_status(404);
    let there = rosa.post(&start, &json!({})).await.expect_status(404).problem();
    let gone = rosa.post(&format!("{scenarios}/no_such/runs"), &json!({})).await.expect_status(404).problem();
    let detail =
        |problem: &Value| problem["detail"].as_str().expect("a detail").replace("commit_edits_tasks", "no_such");
    assert_eq!(detail(&there), detail(&gone));
    assert_eq!(admin.get(scenarios).await.expect_status(200).json()["scenarios"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn what_is_wrong_with_an_original_is_told_to_those_alone_who_may_read_it() {
    let node = node().await;
    let (rosa, admin) = (node.signed_in(READER).await, node.signed_in(ADMIN).await);
    for (rows, told) in [
        ("3,rafael,open,secret,\n3,rafael,open,secret,\n", "`3`"),
        ("confidential,rafael,open,secret,\n", "confidential"),
    ] {
        node.write("data/TEAM/tasks.csv", &format!("id,owner,state,size,note\n1,rosa,open,small,\n{rows}"));
        let answer = rosa.get(TABLE).await;
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(!answer.problem().to_string().contains(told), "{}", answer.text);
        let answer = admin.get(TABLE).await.expect_status(409);
        assert!(answer.problem()["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_visitor_is_nobody_whose_rows_there_could_be() {
    let node = stet_testkit::Setup::default()
        .file("projects/OPEN/project.toml", "name = \"Open\"\n[permissions.groups]\neveryone = [\"read_dashboards\"]\n")
        .file("projects/OPEN/datasets/wishes.toml", "path = \"wishes.csv\"\nkey = [\"id\"]\n")
        .file(
            "projects/OPEN/webapps/wishes.toml",
            "original = \"wishes\"\n[[editable]]\ncolumn = \"wish\"\n[rows]\nsee = \"owner = current_user\"\n\
             [access]\npublic = \"edit\"\n",
        )
        .file("data/OPEN/wishes.csv", "id,owner,wish\n1,none,a\n2,rosa,b\n")
        .start()
        .await;
    let table = "/api/v1/projects/OPEN/webapps/wishes";
    let visitor = node.visitor();
    let page = visitor.post(&format!("{table}/rows/query"), &json!({})).await.expect_status(200).json();
    assert_eq!((&page["total"], &page["rows"]), (&json!(0), &json!([])));
    let edit = one(update("1", "wish", json!("mine"), json!(null)));
    let answer = visitor.post(&format!("{table}/edits"), &edit).await.expect_status(200).json();
    assert_eq!(answer["results"][0]["status"], "refused", "{answer}");
}
