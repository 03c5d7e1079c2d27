//! Tables that ask for more than a value: a reason for each change, a signature for a validation.

use serde_json::{Value, json};
use stet_testkit::{Client, PASSWORD, READER, escaped};

use crate::awkward::{FIRST, ROWS, TABLE, with};
use crate::{one, update};

async fn send(client: &Client, body: Value) -> Value {
    client.post(&format!("{TABLE}/edits"), &body).await.expect_status(200).json()["results"].clone()
}

async fn events(client: &Client) -> Vec<Value> {
    let history = client.get(&format!("{TABLE}/history?key={}", escaped(FIRST))).await.expect_status(200).json();
    history["events"].as_array().expect("events").clone()
}

#[tokio::test]
async fn a_table_that_asks_why_saves_nothing_without_a_reason() {
    let node = with("edits = { require_reason = true }").await;
    let client = node.signed_in(READER).await;
    let about = client.get(TABLE).await.expect_status(200).json();
    assert_eq!((&about["require_reason"], &about["sign_validations"]), (&json!(true), &json!(false)));

    let edit = update(FIRST, "note", json!("checked"), Value::Null);
    for reason in [Value::Null, json!(""), json!("  \n")] {
        let results = send(&client, json!({ "reason": reason, "edits": [edit] })).await;
        let expected = json!({ "status": "refused", "rule": "reason", "value": "checked",
            "message": "this table asks why: give a reason with each change" });
        assert_eq!(results[0], expected);
    }
    let row_api = json!({ "primaryKeys": { "id": "2", "name": "NA" }, "column": "note", "value": "x" });
    assert_eq!(client.post(&format!("{ROWS}/update"), &row_api).await.expect_status(422).problem()["rule"], "reason");
    assert_eq!(events(&client).await, Vec::<Value>::new());

    let results = send(&client, json!({ "reason": "weighed again", "edits": [edit] })).await;
    assert_eq!(results[0]["status"], "saved");
    assert_eq!(events(&client).await[0]["reason"], "weighed again");
    let filter = json!({ "key": FIRST });
    let back = client.post(&format!("{TABLE}/revert"), &json!({ "filter": filter })).await.expect_status(200).json();
    assert_eq!((&back["changed"], &back["failed"][0]["result"]["rule"]), (&json!(0), &json!("reason")), "{back}");
    let body = json!({ "filter": filter, "reason": "the scale was wrong" });
    let back = client.post(&format!("{TABLE}/revert"), &body).await.expect_status(200).json();
    assert_eq!(back["changed"], 1, "{back}");
}

#[tokio::test]
async fn a_validation_is_signed_with_the_password_and_the_log_says_so() {
    let node = with("edits = { sign_validations = true }").await;
    let client = node.signed_in(READER).await;
    let tick = update(FIRST, "ok", json!("TRUE"), Value::Null);
    let note = update(FIRST, "note", json!("seen"), Value::Null);

    let results = send(&client, json!({ "edits": [tick, note] })).await;
    assert_eq!((&results[0]["rule"], &results[1]["status"]), (&json!("signature"), &json!("saved")), "{results}");
    let wrong = json!({ "edits": [tick], "signature": { "password": "incorrect horse" } });
    let results = send(&client, wrong).await;
    assert_eq!(results[0]["message"], "the password is wrong: nothing was signed");
    for reason in ["Signed with the password: really", " signed  with the PASSWORD"] {
        let forged = json!({ "edits": [note], "reason": reason });
        client.post(&format!("{TABLE}/edits"), &forged).await.expect_status(422).problem();
    }
    assert_eq!(events(&client).await.len(), 1);

    let signed = json!({ "edits": [tick], "reason": "as delivered", "signature": { "password": PASSWORD } });
    assert_eq!(send(&client, signed).await[0]["status"], "saved");
    let logged = events(&client).await;
    assert_eq!(logged.len(), 6);
    assert!(logged[..5].iter().all(|event| event["reason"] == "Signed with the password: as delivered"), "{logged:?}");

    // Taking the tick out needs no signature, and a row cannot be created with a tick without one.
    let untick = update(FIRST, "ok", json!("false"), logged[0]["id"].clone());
    assert_eq!(send(&client, one(untick)).await[0]["status"], "saved");
    let create = json!({ "action": "create", "values": { "id": "3", "name": "new", "amount": "1", "ok": "true" } });
    assert_eq!(send(&client, one(create)).await[0]["rule"], "signature");
}

#[tokio::test]
async fn wrong_signatures_are_counted_and_end_for_a_while() {
    let node = with("edits = { sign_validations = true }").await;
    let client = node.signed_in(READER).await;
    let tick = update(FIRST, "ok", json!("true"), Value::Null);
    let wrong = json!({ "edits": [tick], "signature": { "password": "incorrect horse" } });
    let mut refused = 0;
    let too_many = loop {
        let answer = client.post(&format!("{TABLE}/edits"), &wrong).await;
        if answer.status != 200 {
            break answer;
        }
        refused += 1;
        assert!(refused < 100, "guesses are never ended");
    };
    too_many.expect_status(429).problem();
    assert_eq!(events(&client).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_table_is_shown_as_it_stood_after_an_event_and_at_a_moment() {
    let node = with("").await;
    let client = node.signed_in(READER).await;
    for note in ["one", "two", "three"] {
        let edit = json!({ "action": "update", "key": FIRST, "column": "note", "value": note });
        assert_eq!(send(&client, one(edit)).await[0]["status"], "saved");
    }
    send(&client, one(json!({ "action": "delete", "key": r#"["2","NA"]"# }))).await;
    let at = |as_of: Value| {
        let client = &client;
        async move {
            let body = json!({ "as_of": as_of });
            let page = client.post(&format!("{TABLE}/rows/query"), &body).await.expect_status(200).json();
            let note = page["rows"][0]["cells"].as_array().expect("cells")[5].clone();
            (note, page["total"].clone(), page["version"].clone())
        }
    };
    assert_eq!(at(json!("0")).await, (json!("x"), json!(2), json!(0)));
    assert_eq!(at(json!("2")).await, (json!("two"), json!(2), json!(2)));
    assert_eq!(at(json!("3")).await, (json!("three"), json!(2), json!(3)));
    assert_eq!(at(json!("4")).await, (json!("three"), json!(1), json!(4)));
    assert_eq!(at(json!("99")).await, (json!("three"), json!(1), json!(4)));
    // Edits that follow each other fast have the same moment, and then all of them have happened by it.
    let events = events(&client).await;
    let date = events[1]["date"].clone();
    let last = events.iter().rposition(|event| event["date"] == date).expect("it is there") + 1;
    let mut possible = vec![at(json!(last.to_string())).await];
    if last == events.len() {
        // So may have the deletion of the other row, which came next.
        possible.push(at(json!("4")).await);
    }
    let shown = at(date).await;
    assert!(possible.contains(&shown), "{shown:?} is none of {possible:?}");
    assert_eq!(at(json!("2000-01-01T00:00:00Z")).await, (json!("x"), json!(2), json!(0)));

    // An event that was still to come is the present until it has come.
    let edit = json!({ "action": "update", "key": FIRST, "column": "note", "value": "four" });
    send(&client, one(edit)).await;
    assert_eq!(at(json!("99")).await.0, json!("four"));

    for wrong in [json!("yesterday"), json!("-1"), json!("")] {
        let body = json!({ "as_of": wrong });
        client.post(&format!("{TABLE}/rows/query"), &body).await.expect_status(422).problem();
    }
}
