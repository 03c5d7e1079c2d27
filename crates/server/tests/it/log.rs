//! The log of a table as a whole, and taking edits back.

use serde_json::{Value, json};
use stet_testkit::{Client, OTHER_READER, READER, TestNode};

use crate::{STRIKES, one, update};

async fn edit(client: &Client, edits: Value) -> Value {
    let body = json!({ "source": "paste", "edits": edits });
    let answer = client.post(&format!("{STRIKES}/edits"), &body).await.expect_status(200).json();
    for result in answer["results"].as_array().expect("results") {
        assert_eq!(result["status"], "saved", "{answer}");
    }
    answer
}

/// An update of whatever is there.
fn set(key: &str, column: &str, value: Value) -> Value {
    json!({ "action": "update", "key": key, "column": column, "value": value })
}

async fn log(client: &Client, query: &str) -> Value {
    client.get(&format!("{STRIKES}/log?{query}")).await.expect_status(200).json()
}

fn ids(page: &Value) -> Vec<i64> {
    page["events"].as_array().expect("events").iter().filter_map(|event| event["id"].as_i64()).collect()
}

async fn row(client: &Client, key: &str) -> Value {
    let path = "/webapps/BIRDSTRIKES/correct-strikes/read";
    client.post(path, &json!({ "primaryKeys": { "strike_id": key } })).await.expect_status(200).json()
}

#[tokio::test]
async fn the_log_is_read_newest_first_page_by_page_and_by_who_what_and_when() {
    let node = TestNode::start().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    let nothing = log(&rosa, "").await;
    assert_eq!((ids(&nothing), &nothing["before"]), (vec![], &json!(null)));

    edit(&rosa, json!([set("1", "speed_knots", json!("100")), set("2", "speed_knots", json!("100"))])).await;
    edit(&rafael, json!([set("1", "comments", json!("near the runway"))])).await;
    edit(&rosa, json!([{ "action": "delete", "key": "3" }])).await;

    let first = log(&rosa, "limit=3").await;
    assert_eq!((ids(&first), &first["before"], &first["position"]), (vec![4, 3, 2], &json!(2), &json!(4)));
    assert_eq!(ids(&log(&rosa, "limit=3&before=2").await), [1]);
    assert_eq!(ids(&log(&rosa, &format!("user={OTHER_READER}")).await), [3]);
    assert_eq!(ids(&log(&rosa, "action=delete").await), [4]);
    assert_eq!(ids(&log(&rosa, "column=speed_knots").await), [2, 1]);
    assert_eq!(ids(&log(&rosa, "key=1").await), [3, 1]);
    assert_eq!(ids(&log(&rosa, "key=1&column=speed_knots").await), [1]);
    assert_eq!(ids(&log(&rosa, "source=grid").await), Vec::<i64>::new());
    let batch = first["events"][2]["batch_id"].as_str().expect("a batch").to_owned();
    assert_eq!(ids(&log(&rosa, &format!("batch_id={batch}")).await), [2, 1]);

    // Edits that follow each other fast have the same moment. Moments are texts that order as they do.
    let all = log(&rosa, "").await;
    let date = first["events"][1]["date"].as_str().expect("a date").to_owned();
    let those = |is_in: &dyn Fn(&str) -> bool| -> Vec<i64> {
        let events = all["events"].as_array().expect("events").iter();
        let events = events.filter(|event| is_in(event["date"].as_str().expect("a date")));
        events.map(|event| event["id"].as_i64().expect("an id")).collect()
    };
    let (since, until) = (those(&|other| other >= date.as_str()), those(&|other| other <= date.as_str()));
    assert!(since.starts_with(&[4, 3]) && until.ends_with(&[3, 2, 1]), "{since:?} {until:?}");
    assert_eq!(ids(&log(&rosa, &format!("since={date}")).await), since);
    assert_eq!(ids(&log(&rosa, &format!("until={date}")).await), until);
    assert_eq!(ids(&log(&rosa, "until=2000-01-01T00:00:00Z").await), Vec::<i64>::new());
    assert_eq!(ids(&log(&rosa, "since=2999-01-01T00:00:00Z").await), Vec::<i64>::new());

    for query in ["action=truncate", "since=yesterday", "batch_id=1", "source=wire"] {
        let problem = rosa.get(&format!("{STRIKES}/log?{query}")).await.expect_status(422).problem();
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{query}: {problem}");
    }
    for query in ["column=x&sort=y", "before=x"] {
        rosa.get(&format!("{STRIKES}/log?{query}")).await.expect_status(400).problem();
    }
}

#[tokio::test]
async fn edits_of_a_person_are_taken_back_and_later_ones_of_others_stay() {
    let node = TestNode::start().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    let before = [row(&rosa, "1").await, row(&rosa, "2").await, row(&rosa, "3").await];
    edit(&rafael, json!([set("2", "speed_knots", json!("111"))])).await;
    edit(
        &rosa,
        json!([
            set("1", "speed_knots", json!("100")),
            set("2", "speed_knots", json!("100")),
            set("2", "comments", json!("wrong")),
            { "action": "delete", "key": "3" },
            { "action": "create", "values": { "strike_id": "20001", "species": "Gull", "damage": "None" } },
        ]),
    )
    .await;
    edit(&rafael, json!([set("2", "comments", json!("right"))])).await;

    let body = json!({ "filter": { "user": READER } });
    let plan = rosa.post(&format!("{STRIKES}/revert/plan"), &body).await.expect_status(200).json();
    let mut changes: Vec<(String, String, String)> = plan["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| (change["key"].to_string(), change["action"].to_string(), change["to"].to_string()))
        .collect();
    changes.sort();
    let expected =
        [("1", "revert", "\"300\""), ("2", "update", "\"111\""), ("20001", "delete", "null"), ("3", "revert", "null")];
    let expected: Vec<_> =
        expected.map(|(key, action, to)| (format!("{key:?}"), format!("{action:?}"), to.to_owned())).into();
    let with_value = |wanted: &[(String, String, String)], found: &[(String, String, String)]| {
        wanted.iter().zip(found).all(|(wanted, found)| wanted.0 == found.0 && wanted.1 == found.1)
    };
    assert!(changes.len() == 4 && with_value(&expected, &changes), "{plan}");
    assert_eq!(changes[1].2, "\"111\"", "{plan}");
    assert_eq!((&plan["overtaken"], &plan["count"]), (&json!(1), &json!(4)), "{plan}");
    assert_eq!(log(&rosa, "").await["position"], plan["up_to"], "a plan writes nothing");

    // What comes after the plan is not meant.
    edit(&rosa, json!([set("5", "speed_knots", json!("99"))])).await;
    let body = json!({ "filter": { "user": READER }, "up_to": plan["up_to"], "reason": "wrong column" });
    let done = rafael.post(&format!("{STRIKES}/revert"), &body).await.expect_status(200).json();
    assert_eq!((&done["changed"], &done["failed"]), (&json!(4), &json!([])), "{done}");

    assert_eq!(row(&rosa, "1").await, before[0]);
    assert_eq!(row(&rosa, "3").await, before[2]);
    let second = row(&rosa, "2").await;
    assert_eq!((&second["speed_knots"], &second["comments"]), (&json!("111"), &json!("right")));
    assert_eq!(row(&rosa, "5").await["speed_knots"], "99");
    let read = "/webapps/BIRDSTRIKES/correct-strikes/read";
    rosa.post(read, &json!({ "primaryKeys": { "strike_id": "20001" } })).await.expect_status(404);
    let events = log(&rosa, &format!("batch_id={}", done["batch_id"].as_str().expect("a batch"))).await;
    for event in events["events"].as_array().expect("events") {
        assert_eq!(
            (&event["user"], &event["source"], &event["reason"]),
            (&json!(OTHER_READER), &json!("undo"), &json!("wrong column"))
        );
    }

    // Taking it back again takes the taking back back.
    let body = json!({ "filter": { "batch_id": done["batch_id"] } });
    rosa.post(&format!("{STRIKES}/revert"), &body).await.expect_status(200);
    assert_eq!(row(&rosa, "1").await["speed_knots"], "100");
    assert_eq!(row(&rosa, "20001").await["species"], "Gull");
    rosa.post(read, &json!({ "primaryKeys": { "strike_id": "3" } })).await.expect_status(404);
}

#[tokio::test]
async fn a_row_that_comes_back_has_the_edits_that_it_had() {
    let node = TestNode::start().await;
    let rosa = node.signed_in(READER).await;
    edit(&rosa, json!([set("7", "comments", json!("kept")), set("7", "speed_knots", json!("120"))])).await;
    let before = row(&rosa, "7").await;
    edit(&rosa, json!([{ "action": "delete", "key": "7" }])).await;
    let body = json!({ "filter": { "key": "7", "action": "delete" } });
    let done = rosa.post(&format!("{STRIKES}/revert"), &body).await.expect_status(200).json();
    assert_eq!(done["failed"], json!([]), "{done}");
    assert_eq!(row(&rosa, "7").await, before);
}

#[tokio::test]
async fn a_cell_that_moved_after_the_plan_is_left_alone_and_told() {
    let node = TestNode::start().await;
    let (rosa, rafael) = (node.signed_in(READER).await, node.signed_in(OTHER_READER).await);
    edit(&rosa, json!([set("1", "speed_knots", json!("100")), set("2", "speed_knots", json!("100"))])).await;
    let body = json!({ "filter": { "key": "1" } });
    let plan = rosa.post(&format!("{STRIKES}/revert/plan"), &body).await.expect_status(200).json();
    assert_eq!(plan["count"], 1);
    client_edits_cell(&rafael).await;
    let body = json!({ "filter": { "key": "1" }, "up_to": plan["up_to"] });
    let done = rosa.post(&format!("{STRIKES}/revert"), &body).await.expect_status(200).json();
    assert_eq!((&done["changed"], &done["failed"]), (&json!(0), &json!([])), "the later edit stands: {done}");
    assert_eq!(row(&rosa, "1").await["speed_knots"], "140");
}

async fn client_edits_cell(client: &Client) {
    let edit = one(update("1", "speed_knots", json!("140"), json!(1)));
    client.post(&format!("{STRIKES}/edits"), &edit).await.expect_status(200);
}

#[tokio::test]
async fn everything_at_once_is_never_taken_back_by_an_empty_filter() {
    let node = TestNode::start().await;
    let rosa = node.signed_in(READER).await;
    edit(&rosa, json!([set("1", "speed_knots", json!("100"))])).await;
    for path in ["revert/plan", "revert"] {
        let answer = rosa.post(&format!("{STRIKES}/{path}"), &json!({ "filter": {} })).await.expect_status(422);
        assert!(answer.problem()["detail"].as_str().is_some_and(|detail| detail.contains("which edits")));
    }
}

#[tokio::test]
async fn all_edits_are_downloaded_as_csv_json_and_parquet() {
    let node = TestNode::start().await;
    let rosa = node.signed_in(READER).await;
    edit(&rosa, json!([set("1", "comments", json!("=1+1")), set("2", "species", Value::Null)])).await;
    let path = "/webapps/BIRDSTRIKES/correct-strikes/read-all-edits";
    let csv = rosa.get(path).await.expect_status(200).text;
    assert!(csv.starts_with("date,user,action,key,column_name,value,id,") && csv.contains(",'=1+1,"), "{csv}");
    assert_eq!(rosa.get(&format!("{path}?format=csv")).await.expect_status(200).text, csv);

    let events = rosa.get(&format!("{path}?format=json")).await.expect_status(200).json();
    assert_eq!(
        (&events[0]["value"], &events[1]["value"], &events[1]["key"]),
        (&json!("=1+1"), &Value::Null, &json!("2"))
    );
    let lines = rosa.get(&format!("{path}?format=jsonl")).await.expect_status(200).text;
    let parsed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(json!(parsed), events);
    let parquet = rosa.get(&format!("{path}?format=parquet")).await.expect_status(200).text;
    assert!(parquet.starts_with("PAR1") && parquet.ends_with("PAR1"), "{} bytes", parquet.len());
    rosa.get(&format!("{path}?format=xlsx")).await.expect_status(400).problem();
}
