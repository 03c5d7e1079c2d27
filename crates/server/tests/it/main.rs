//! The server over real HTTP, as claims. Every test has a node of its own on a port of its own.

mod access;
mod audit;
mod awkward;
mod bad_input;
mod browser;
mod builds;
mod connections;
mod deployment;
mod edits;
mod edits_in_order;
mod groups;
mod log;
mod passkeys;
mod permission_table;
mod postgres;
mod project_access;
mod provider;
mod proxies;
mod public;
mod push;
mod pushing;
mod reload;
mod row_api;
mod rows_and_columns;
mod second_factor;
mod signed;
mod streams;
mod waits;

use serde_json::{Value, json};

/// The table of strikes in the sample project.
const STRIKES: &str = "/api/v1/projects/BIRDSTRIKES/webapps/correct-strikes";

/// An update of one cell, with what its author had seen.
fn update(key: &str, column: &str, value: Value, seen: Value) -> Value {
    json!({ "action": "update", "key": key, "column": column, "value": value, "seen": seen })
}

/// A request with one edit.
fn one(edit: Value) -> Value {
    json!({ "source": "grid", "edits": [edit] })
}

/// The methods and paths of all routes, as the API's document tells them.
async fn routes(client: &stet_testkit::Client) -> Vec<(String, String)> {
    let document = client.get("/openapi.json").await.expect_status(200).json();
    let paths = document["paths"].as_object().expect("paths");
    let methods = |item: &Value| item.as_object().expect("methods").keys().cloned().collect::<Vec<String>>();
    paths
        .iter()
        .flat_map(|(path, item)| methods(item).into_iter().map(move |method| (method.to_uppercase(), path.clone())))
        .collect()
}
