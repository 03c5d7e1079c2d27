//! The row API for scripts.

use serde_json::json;
use stet_testkit::{READER, TestNode};

use crate::awkward::{self, FIRST, ROWS};

#[tokio::test]
async fn a_row_is_read_by_its_key_in_every_form() {
    let node = awkward::start().await;
    let script = node.with_token(READER).await;
    let name = "a\"b, 😀";
    for keys in [
        json!({ "id": 9_007_199_254_740_993_i64, "name": name }),
        json!({ "name": name, "id": "9007199254740993" }),
        json!([9_007_199_254_740_993_i64, name]),
    ] {
        let row = script.post(&format!("{ROWS}/read"), &json!({ "primaryKeys": keys })).await.expect_status(200).json();
        let expected = json!({
            "id": "9007199254740993", "name": name, "amount": "1.5", "count": "9223372036854775807", "ok": null,
            "note": "x", "place": null,
        });
        assert_eq!(row, expected);
    }
    let strikes = "/webapps/BIRDSTRIKES/correct-strikes/read";
    for key in [json!(1), json!("1"), json!([1]), json!({ "strike_id": 1 })] {
        let row = script.post(strikes, &json!({ "primaryKeys": key })).await.expect_status(200).json();
        assert_eq!(row["aircraft"], "T-38A");
    }
    script.post(strikes, &json!({ "primaryKeys": 10_001 })).await.expect_status(404).problem();
}

#[tokio::test]
async fn a_number_keeps_all_its_digits() {
    let node = awkward::start().await;
    let script = node.with_token(READER).await;
    for (value, kept) in [
        ("-9223372036854775808", json!("-9223372036854775808")),
        ("9007199254740993", json!("9007199254740993")),
        ("null", json!(null)),
        ("\"12\"", json!("12")),
    ] {
        let body = format!("{{\"primaryKeys\": {FIRST}, \"column\": \"count\", \"value\": {value}}}");
        let request = script.request("POST", &format!("{ROWS}/update")).header("content-type", "application/json");
        let answer = script.send(request.body(body)).await.expect_status(200).json();
        assert_eq!(answer["status"], "saved", "{answer}");
        assert_eq!(answer["row"]["count"], kept);
    }
}

#[tokio::test]
async fn rows_are_created_updated_and_deleted_and_the_log_tells_it() {
    let node = awkward::start().await;
    let script = node.with_token(READER).await;
    let keys = json!({ "id": 7, "name": "=cmd|'/c calc'!A0" });
    let body =
        json!({ "primaryKeys": keys, "columnValues": { "amount": 2, "ok": false, "note": "" }, "reason": "a, \"b\"" });
    let created = script.post(&format!("{ROWS}/create"), &body).await.expect_status(200).json();
    assert_eq!(created["row"]["note"], "");
    assert_eq!(created["row"]["ok"], "false");
    script.post(&format!("{ROWS}/create"), &body).await.expect_status(422).problem();

    let event_id = "018f0000-0000-7000-8000-000000000009";
    let change = json!({ "primaryKeys": keys, "column": "place", "value": "DFW", "event_id": event_id, "seen": created["event"] });
    let updated = script.post(&format!("{ROWS}/update"), &change).await.expect_status(200).json();
    assert_eq!(updated["msg"], "the row was changed");
    let again = script.post(&format!("{ROWS}/update"), &change).await.expect_status(200).json();
    assert_eq!(again["row"]["place"], "DFW");

    let csv = script.get(&format!("{ROWS}/read-all-edits")).await.expect_status(200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"measures_editlog.csv\""));
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    let header: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    assert_eq!(header[..6], ["date", "user", "action", "key", "column_name", "value"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 4, "{}", csv.text);
    let key = "[\"7\",\"=cmd|'/c calc'!A0\"]";
    assert!(rows.iter().all(|row| &row[1] == READER && &row[3] == key && &row[9] == "api"), "{}", csv.text);
    assert_eq!((&rows[0][2], &rows[0][10]), ("create", "a, \"b\""));
    assert_eq!((&rows[3][2], &rows[3][4], &rows[3][5]), ("update", "place", "DFW"));
    assert_eq!(&rows[3][11], event_id);

    let delete = json!({ "primaryKeys": keys });
    let deleted = script.post(&format!("{ROWS}/delete"), &delete).await.expect_status(200).json();
    assert_eq!(deleted["row"], json!(null));
    script.post(&format!("{ROWS}/read"), &delete).await.expect_status(404).problem();
    script.post(&format!("{ROWS}/delete"), &delete).await.expect_status(404).problem();
}

#[tokio::test]
async fn what_a_spreadsheet_would_run_is_defused_in_the_download() {
    let node = awkward::start().await;
    let script = node.with_token(READER).await;
    let body = json!({ "primaryKeys": [2, "NA"], "column": "note", "value": "=HYPERLINK(\"http://x\")" });
    script.post(&format!("{ROWS}/update"), &body).await.expect_status(200);
    let text = script.get(&format!("{ROWS}/read-all-edits")).await.expect_status(200).text;
    assert!(text.contains("\"'=HYPERLINK(\"\"http://x\"\")\""), "{text}");
    assert!(text.contains(",'=1+1,"), "the value seen before is defused as well: {text}");
}

#[tokio::test]
async fn the_log_of_a_table_without_edits_is_a_header() {
    let node = TestNode::start().await;
    let script = node.with_token(READER).await;
    let text = script.get("/webapps/BIRDSTRIKES/correct-strikes/read-all-edits").await.expect_status(200).text;
    assert_eq!(text.lines().count(), 1, "{text}");
    script.get("/webapps/BIRDSTRIKES/nothing/read-all-edits").await.expect_status(404).problem();
}

#[tokio::test]
async fn a_refusal_names_its_rule_and_a_conflict_tells_both_values() {
    let node = awkward::start().await;
    let script = node.with_token(READER).await;
    let update =
        |column: &str, value: serde_json::Value| json!({ "primaryKeys": [2, "NA"], "column": column, "value": value });
    let path = format!("{ROWS}/update");
    for (body, rule) in [
        (update("amount", json!(-1)), "range"),
        (update("amount", json!("much")), "type"),
        (update("amount", json!([1])), "type"),
        (update("place", json!("XXX")), "link"),
        (update("id", json!(3)), "editable"),
        (update("nothing", json!(3)), "editable"),
        (json!({ "primaryKeys": [2], "column": "amount", "value": 1 }), "key"),
        (json!({ "primaryKeys": { "id": 2, "name": "NA", "x": 1 }, "column": "amount", "value": 1 }), "key"),
    ] {
        let answer = script.post(&path, &body).await.expect_status(422);
        assert_eq!(answer.problem()["rule"], rule, "{body}: {}", answer.text);
    }
    script.post(&path, &update("amount", json!(3))).await.expect_status(200);
    let mut late = update("amount", json!(4));
    late["seen"] = json!(null);
    let problem = script.post(&path, &late).await.expect_status(409).problem();
    assert_eq!((&problem["yours"], &problem["current"]["value"]), (&json!("4"), &json!("3")));
    assert_eq!(problem["current"]["user"], READER);
}

#[tokio::test]
async fn labels_and_lookups_give_the_columns_of_the_settings_alone() {
    let node = awkward::start().await;
    let script = node.with_token(READER).await;
    let label = script.get(&format!("{ROWS}/label/places?key=MAD")).await.expect_status(200);
    assert_eq!(label.text, "Barajas");
    let found = script.get(&format!("{ROWS}/lookup/places?term=dallas")).await.expect_status(200).json();
    assert_eq!(found, json!([{ "label": "Dallas/Fort Worth", "value": "DFW", "city": "Dallas" }]));
    script.get(&format!("{ROWS}/label/places?key=XXX")).await.expect_status(404).problem();
    script.get(&format!("{ROWS}/label/measures?key=2")).await.expect_status(404).problem();
    script.get(&format!("{ROWS}/lookup/measures?term=x")).await.expect_status(404).problem();
}
