//! The table of docs/security.md, row by row: what each kind of principal is answered by each route.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stet_app::{NewToken, NewUser};
use stet_domain::access::Scopes;
use stet_domain::{Actor, Login, Profile};
use stet_testkit::{Answer, Client, PASSWORD, Setup, TestNode};

use crate::routes;

/// The document that holds the table.
const DOCUMENT: &str = include_str!("../../../../docs/security.md");

/// Who asks, in the order of the table's columns; what each may do is in [`PROJECT`] and [`WEBAPP`].
const PRINCIPALS: [&str; 11] = [
    "anonymous",
    "public",
    "listed",
    "unlisted",
    "stranger",
    "designer",
    "deployer",
    "approver",
    "admin",
    "disabled",
    "expired",
];

/// The users beside the administrators: login and profile.
const USERS: [(&str, Profile); 7] = [
    ("listed", Profile::Reader),
    ("unlisted", Profile::Reader),
    ("stranger", Profile::Designer),
    ("designer", Profile::Designer),
    ("deployer", Profile::Designer),
    ("approver", Profile::Reader),
    ("disabled", Profile::Reader),
];

const PROJECT: &str = "name = \"Bird strikes\"\n[permissions.groups]\nmakers = [\"write_content\", \"export_data\"]\n\
                       [permissions.users]\nlisted = [\"read_dashboards\"]\nunlisted = [\"read_dashboards\"]\n\
                       deployer = [\"deploy\"]\napprover = [\"approve\"]\ndisabled = [\"read_dashboards\"]\n";

/// A webapp over the strikes, with a list.
const WEBAPP: &str = "original = \"strikes\"\n[[editable]]\ncolumn = \"diverted_to\"\ntype = \"text\"\n\
                      link = { dataset = \"airports\", key = \"iata\", label = \"name\" }\n[rows]\ncreate = true\ndelete = true\n\
                      [access]\nusers = [\"listed\", \"disabled\"]\ngroups = [\"makers\"]\n";

struct Principals {
    node: TestNode,
    clients: BTreeMap<&'static str, Client>,
    build: String,
    run: String,
}

async fn principals() -> Principals {
    let public = WEBAPP.split("[access]").next().expect("settings");
    let node = Setup::default()
        .file("projects/BIRDSTRIKES/project.toml", PROJECT)
        .file("projects/BIRDSTRIKES/webapps/correct-strikes.toml", WEBAPP)
        .file("projects/PUBLIC/project.toml", "name = \"Public\"\n")
        .file("projects/PUBLIC/datasets/airports.toml", "path = \"airports.csv\"\nkey = [\"iata\"]\n")
        .file("projects/PUBLIC/datasets/strikes.toml", "path = \"strikes.csv\"\nkey = [\"strike_id\"]\n")
        .file("projects/PUBLIC/webapps/correct-strikes.toml", &format!("{public}[access]\npublic = \"edit\"\n"))
        .file("projects/OTHER/project.toml", "name = \"Other\"\n[permissions.users]\nstranger = [\"administer\"]\n")
        .start()
        .await;
    for file in ["airports.csv", "strikes.csv"] {
        let text = std::fs::read_to_string(node.folder().join("data/BIRDSTRIKES").join(file)).expect("the data");
        node.write(&format!("data/PUBLIC/{file}"), &text);
    }
    let shell = Actor::shell(Login::new("shell").expect("a login"));
    for (login, profile) in USERS {
        let user =
            NewUser { login: login.to_owned(), display_name: String::new(), profile, password: PASSWORD.to_owned() };
        node.app.add_user(&shell, user).await.expect("a user");
    }
    for group in ["makers", "spare"] {
        node.app.add_group(&shell, group, "").await.expect("a group");
    }
    node.app.add_to_group(&shell, "makers", "designer").await.expect("a member");
    let token = async |login: &str, days: Option<u32>| {
        let token = NewToken {
            login: login.to_owned(),
            name: if days.is_some() { "expired" } else { "table" }.to_owned(),
            days,
            scopes: Scopes::ALL,
        };
        node.visitor().with_token(&node.app.add_token(&shell, token).await.expect("a token"))
    };
    let spare = NewToken { login: "unlisted".to_owned(), name: "spare".to_owned(), days: None, scopes: Scopes::ALL };
    node.app.add_token(&shell, spare).await.expect("a token");
    let mut clients = BTreeMap::from([("anonymous", node.visitor()), ("public", node.visitor())]);
    for (login, _) in USERS {
        clients.insert(login, token(login, None).await);
    }
    clients.insert("admin", token(stet_testkit::ADMIN, None).await);
    // A token of no days is one that has expired.
    clients.insert("expired", token("listed", Some(0)).await);
    node.app.set_user_disabled(&shell, "disabled", true).await.expect("disabled");

    let build = json!({ "dataset": "strikes_edited", "mode": "only" });
    let build = clients["designer"].post("/api/v1/projects/BIRDSTRIKES/builds", &build).await.expect_status(202).json();
    let build = build["id"].as_str().expect("an id").to_owned();
    let run = "/api/v1/projects/BIRDSTRIKES/scenarios/commit_edits_strikes/runs";
    let run = clients["designer"].post(run, &json!({})).await.expect_status(202).json();
    let run = run["id"].as_str().expect("an id").to_owned();
    Principals { node, clients, build, run }
}

/// A path with the names of things that are there.
fn filled(path: &str, project: &str, build: &str) -> String {
    let query = if path.ends_with("/plan/edits") {
        "?original=strikes"
    } else if path.ends_with("/history") {
        "?key=127128"
    } else if path.ends_with("/groups") {
        "?by=species"
    } else if path.contains("/label/") {
        "?key=DFW"
    } else if path.contains("/lookup/") {
        "?term=DFW"
    } else {
        ""
    };
    let path = path
        .replace("{project}", project)
        .replace("{webapp}", "correct-strikes")
        .replace("{dataset}", "strikes_edited")
        .replace("{column}", "diverted_to")
        .replace("{scenario}", "commit_edits_strikes")
        .replace("{digest}", "0123456789abcdef")
        .replace("{linked_dataset}", "airports")
        .replace("{id}", build)
        // Things that only administrators manage, of their own for each route, so that each is there when it is asked for.
        .replace("{login}/tokens/{name}", "unlisted/tokens/spare")
        .replace("{group}/members/{login}", "makers/members/disabled")
        .replace("{connection}", "no-such-connection")
        .replace("{passkey}", "no-such-passkey")
        .replace("{target}", "no-such-target")
        .replace("{token}", "no-such-token")
        .replace("{wait}", "018f0000-0000-7000-8000-000000000001")
        .replace("{push}", "018f0000-0000-7000-8000-000000000001")
        .replace("{group}", "spare")
        .replace("{login}", "unlisted")
        .replace("{session}", "0123456789abcdef")
        .replace("{name}", "no-such-token");
    format!("{path}{query}")
}

/// A body that fits a route; each principal uses a row of its own.
fn body(route: &str, row: usize) -> Value {
    let known = 1 + row;
    match route {
        "POST /api/v1/session" => json!({ "login": "listed", "password": PASSWORD }),
        "POST /api/v1/projects/{project}/builds" => json!({ "dataset": "strikes_editlog_pivoted", "mode": "only" }),
        route if route.ends_with("/rows/query") => json!({ "limit": 1 }),
        route if route.contains("/revert") => json!({ "filter": { "key": "no such row" } }),
        route if route.ends_with("/edits") => json!({ "source": "grid", "edits": [] }),
        route if route.ends_with("/presence") => json!({ "key": null, "column": null, "editing": false }),
        route if route.ends_with("/create") => json!({ "primaryKeys": 9_000_000 + row, "columnValues": {} }),
        route if route.ends_with("/read") => json!({ "primaryKeys": known }),
        // Not a row that another route is asked about.
        route if route.ends_with("/delete") => json!({ "primaryKeys": 100 + row }),
        route if route.ends_with("/update") => {
            json!({ "primaryKeys": known, "column": "diverted_to", "value": "DFW" })
        }
        // Not as the files are: nobody changes them.
        "PUT /api/v1/projects/{project}/access" => json!({ "version": "seen", "groups": {}, "users": {} }),
        "PUT /api/v1/projects/{project}/webapps/{webapp}/access" => {
            let nobody = json!({ "users": [], "groups": [] });
            let access = json!({ "users": [], "groups": [], "view_only": nobody, "public": "no" });
            json!({ "version": "seen", "access": access })
        }
        "POST /api/v1/account/password" => json!({ "current_password": "x", "new_password": "a new password" }),
        "POST /api/v1/account/second-factor"
        | "POST /api/v1/account/second-factor/recovery-codes"
        | "POST /api/v1/account/second-factor/remove"
        | "POST /api/v1/account/passkeys/begin"
        | "POST /api/v1/account/passkeys/{passkey}/remove" => {
            json!({ "password": "x" })
        }
        "POST /api/v1/account/second-factor/confirm" => json!({ "code": "000000" }),
        "POST /api/v1/account/tokens" => json!({ "name": format!("row {row}") }),
        "POST /api/v1/users" => json!({ "login": "new", "profile": "reader", "password": "a new password" }),
        "POST /api/v1/groups" => json!({ "name": "new" }),
        "POST /api/v1/account/passkeys" => json!({ "name": "x", "client_data": "", "attestation": "" }),
        "POST /api/v1/bundles/{digest}/push" => json!({ "target": "Production" }),
        "POST /api/v1/deploy-tokens" => json!({ "name": "new" }),
        "POST /api/v1/targets" => {
            json!({ "name": "new", "address": "https://stet.example", "node_id": "x", "token": "x" })
        }
        "POST /api/v1/connections" => {
            json!({ "name": "new", "host": "localhost", "database": "none", "user": "none" })
        }
        _ => json!({}),
    }
}

/// The table of the document: for each route, what each principal is answered.
fn table() -> BTreeMap<String, Vec<String>> {
    let lines = DOCUMENT.lines().skip_while(|line| *line != "<!-- table of routes -->").skip(1);
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let mut lines = lines.skip_while(|line| line.is_empty()).take_while(|line| line.starts_with('|')).map(cells);
    let head = lines.next().expect("the head of the table");
    assert_eq!(head[1..], PRINCIPALS, "the columns of the table");
    let rows = lines.skip(1).map(|mut cells| (cells.remove(0), cells));
    let mut table = BTreeMap::new();
    for (route, answers) in rows {
        assert_eq!(answers.len(), PRINCIPALS.len(), "{route}");
        assert!(table.insert(route.clone(), answers).is_none(), "{route} is in the table twice");
    }
    table
}

async fn ask(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    let request = client.request(method, path);
    let request = if matches!(method, "GET" | "DELETE") { request } else { request.json(body) };
    // A live stream has no end: that it begins is answer enough.
    if path.ends_with("/events") { client.send_for_head(request).await } else { client.send(request).await }
}

/// What an answer says, without what tells one request from another.
fn said(answer: &Answer) -> String {
    let mut problem = answer.json();
    if let Some(members) = problem.as_object_mut() {
        members.remove("instance");
    }
    problem.to_string()
}

/// The word of the table for an answer.
fn word(answer: &Answer) -> &'static str {
    match answer.status {
        // It was let in; what became of it is another question, such as a build that has ended already.
        200..=299 | 400 | 409 | 415 | 422 => "yes",
        401 => "sign in",
        403 => "no",
        404 => "unknown",
        _ => "?",
    }
}

#[tokio::test]
async fn every_route_is_in_the_table_and_answers_each_principal_as_it_says() {
    let table = table();
    let Principals { node, clients, build, run } = principals().await;
    let all = routes(&node.visitor()).await;
    let served: BTreeSet<String> = all.iter().map(|(method, path)| format!("{method} {path}")).collect();
    let told: BTreeSet<String> = table.keys().cloned().collect();
    assert_eq!(told, served, "the table of docs/security.md has to have the routes of the server");

    let mut wrong = Vec::new();
    for (method, path) in &all {
        let route = format!("{method} {path}");
        let build = if path.contains("/runs/") { &run } else { &build };
        for (place, principal) in PRINCIPALS.into_iter().enumerate() {
            // Who signs in keeps a cookie, which would make another principal of a visitor.
            let fresh = node.visitor();
            let client = if route == "POST /api/v1/session" { &fresh } else { &clients[principal] };
            let project = if principal == "public" { "PUBLIC" } else { "BIRDSTRIKES" };
            let body = body(&route, place);
            let answer = ask(client, method, &filled(path, project, build), &body).await;
            let (found, expected) = (word(&answer), table[&route][place].as_str());
            if found != expected {
                wrong.push(format!(
                    "{route} for {principal}: {found} ({}), not {expected}: {}",
                    answer.status, answer.text
                ));
            }
            if found == "unknown" {
                // What the principal may not know of reads exactly as what is not there.
                let gone = ask(client, method, &filled(path, "NOTHING", build), &body).await;
                let gone_project = said(&gone).replace("NOTHING", project);
                // What is one's own is not there for others in the first place.
                let own = path.starts_with("/api/v1/account/");
                let other = filled(path, project, "018f0000-0000-7000-8000-000000000000")
                    .replace("correct-strikes", "no-such-webapp")
                    .replace("strikes_edited", "no_such_dataset");
                let gone = ask(client, method, &other, &body).await;
                let gone_part = said(&gone)
                    .replace("no-such-webapp", "correct-strikes")
                    .replace("no_such_dataset", "strikes_edited");
                if !own && said(&answer) != gone_project && said(&answer) != gone_part {
                    wrong.push(format!("{route} tells {principal} that it is there: {} / {gone_part}", answer.text));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
