use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::Node;

/// Rows that are edited, each by one edit.
const ROWS: usize = 4_000;

/// How many edits are acknowledged before the server is killed.
const KILLED_AFTER: usize = 300;

/// How many edit at the same time.
const EDITORS: usize = 16;

fn edit(row: usize) -> Value {
    json!([{
        "event_id": event_id(row),
        "action": "update",
        "key": row.to_string(),
        "column": "name",
        "value": format!("edited {row}"),
        "seen": null,
        "previous": "name",
    }])
}

fn event_id(row: usize) -> String {
    format!("00000000-0000-4000-8000-{row:012}")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_editing_it_loses_no_acknowledged_edit_and_applies_none_twice() {
    let rows: String = (0..ROWS).map(|row| format!("{row},name,1\n")).collect();
    let node = Node::with_items(&format!("id,name,amount\n{rows}"));
    let token = node.token();
    let mut server = node.serve();
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let sent = Arc::new(Mutex::new(HashSet::new()));
    let next = Arc::new(AtomicUsize::new(0));
    let editors: Vec<_> = (0..EDITORS)
        .map(|_| {
            let (client, answered, sent, next) = (server.client(&token), answered.clone(), sent.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let row = next.fetch_add(1, Ordering::SeqCst);
                    if row >= ROWS {
                        return;
                    }
                    sent.lock().unwrap().insert(row);
                    // No answer means that the server is gone, and nobody knows whether it took the edit.
                    let Some(answer) = client.edit(edit(row)).await else { return };
                    assert_eq!(answer["results"][0]["status"], "saved", "{answer}");
                    answered.send(row).unwrap();
                }
            })
        })
        .collect();
    drop(answered);
    let mut acknowledged = HashSet::new();
    while acknowledged.len() < KILLED_AFTER {
        acknowledged.insert(answers.recv().await.unwrap());
    }
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    for editor in editors {
        editor.await.unwrap();
    }
    while let Some(row) = answers.recv().await {
        acknowledged.insert(row);
    }
    let sent = sent.lock().unwrap().clone();
    assert!(sent.len() > acknowledged.len() && sent.len() < ROWS, "it was killed while edits were under way");

    let logged = logged_rows(&node);
    for row in &acknowledged {
        assert!(logged.contains_key(row), "the acknowledged edit of row {row} is lost");
    }
    // What has no answer is sent again, and what has one too: a client cannot know.
    let server = node.serve();
    let client = server.client(&token);
    for row in &sent {
        let answer = client.edit(edit(*row)).await.unwrap();
        assert_eq!(answer["results"][0]["status"], "saved", "{answer}");
    }
    let logged = logged_rows(&node);
    assert_eq!(logged.keys().copied().collect::<HashSet<_>>(), sent);
    assert!(logged.values().all(|times| *times == 1));
}

/// How many events there are for each row; ends the test when an event is not as it was sent.
fn logged_rows(node: &Node) -> HashMap<usize, usize> {
    let events = node.run(&["editlog", "export", "T.items", "--format", "json"]).json();
    let mut rows = HashMap::new();
    for event in events.as_array().unwrap() {
        let row: usize = event["key"].as_str().unwrap().parse().unwrap();
        assert_eq!((&event["event_id"], &event["value"]), (&json!(event_id(row)), &json!(format!("edited {row}"))));
        *rows.entry(row).or_default() += 1;
    }
    rows
}
