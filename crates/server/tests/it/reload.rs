//! A rebuilt original takes the old one's place without a stall.

use serde_json::{Value, json};
use stet_testkit::{READER, TestNode};

use crate::{STRIKES, one, update};

/// The strikes again and again, each time under other keys.
fn many_strikes(node: &TestNode, times: usize) -> (String, usize) {
    let path = node.folder().join("data/BIRDSTRIKES/strikes.csv");
    let mut reader = csv::Reader::from_path(path).expect("the strikes");
    let header = reader.headers().expect("a header").clone();
    let key = header.iter().position(|name| name == "strike_id").expect("the key");
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header).expect("a header");
    for turn in 0..times {
        for row in &rows {
            let id = row[key].parse::<usize>().expect("a number") + turn * 1_000_000;
            let cells = row.iter().enumerate();
            let cells = cells.map(|(place, cell)| if place == key { id.to_string() } else { cell.to_owned() });
            writer.write_record(cells).expect("a row");
        }
    }
    (String::from_utf8(writer.into_inner().expect("a text")).expect("UTF-8"), rows.len() * times)
}

#[tokio::test]
async fn the_old_original_goes_on_serving_while_the_rebuilt_one_is_loaded_and_no_edit_is_lost() {
    let node = TestNode::start().await;
    let (client, other) = (node.signed_in(READER).await, node.signed_in(READER).await);
    let rows = format!("{STRIKES}/rows/query");
    let first = client.post(&rows, &json!({ "limit": 1 })).await.expect_status(200).json();
    let (text, rows_after) = many_strikes(&node, 20);
    node.write("data/BIRDSTRIKES/strikes.csv", &text);

    let reload_path = format!("{STRIKES}/reload");
    let nothing = json!({});
    let mut reload = std::pin::pin!(other.post(&reload_path, &nothing));
    let (mut answered_by_old, mut edits) = (0, Vec::new());
    let reloaded = loop {
        let key = (edits.len() + 1).to_string();
        let work = async {
            let edit = one(update(&key, "species", json!("Edited meanwhile"), Value::Null));
            let edited = client.post(&format!("{STRIKES}/edits"), &edit).await.expect_status(200).json();
            assert_eq!(edited["results"][0]["status"], "saved", "{edited}");
            client.post(&rows, &json!({ "limit": 1 })).await.expect_status(200).json()
        };
        tokio::select! {
            biased;
            page = work => {
                edits.push(key);
                answered_by_old += usize::from(page["snapshot"] == first["snapshot"] && page["total"] == first["total"]);
            }
            answer = &mut reload => break answer.expect_status(202).json(),
        }
        if edits.len() == 2_000 {
            break reload.await.expect_status(202).json();
        }
    };
    assert!(answered_by_old > 2, "the table answered {answered_by_old} times while the original was loaded");

    let edited =
        json!({ "filters": [{ "column": "species", "op": "equals", "value": "Edited meanwhile" }], "limit": 1 });
    let page = client.post(&rows, &edited).await.expect_status(200).json();
    assert_eq!(page["snapshot"], reloaded["snapshot"]);
    // One more may have been on its way as the reload ended.
    let total = page["total"].as_u64().expect("a total") as usize;
    assert!(total == edits.len() || total == edits.len() + 1, "{total} of {}", edits.len());
    let page = client.post(&rows, &json!({ "limit": 1 })).await.expect_status(200).json();
    assert_eq!(page["total"], rows_after);
}
