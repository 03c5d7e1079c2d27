//! From a design node to production with editlogs in two PostgreSQL databases, by the commands and requests that people
//! make: at each step the edits of production are all there, and those of design are nowhere but on design.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stet_testkit::postgres::{SUPERUSER, SUPERUSER_PASSWORD, TestDatabase};

use crate::support::{Node, PASSWORD, Server, run};

const ITEMS: &str = "id,name,amount\na,Ann,1\nb,Bob,2\nc,Cyd,\n";
const DATABASE_PASSWORD: &str = "only the node knows";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Adds the connection `pg`, the same name on every node, to a database of the node's own, where it has a user that is no
/// administrator.
fn connect(node: &Node, database: &TestDatabase) {
    let user = format!("node_{}", database.name);
    database.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD '{DATABASE_PASSWORD}'"));
    node.write("pg.password", &format!("{DATABASE_PASSWORD}\n"));
    let config = std::fs::read_to_string(node.file("stet.toml")).unwrap();
    let (port, name) = (database.server.port, &database.name);
    node.write(
        "stet.toml",
        &format!(
            "{config}\n[connections.pg]\nkind = \"postgresql\"\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"{name}\"\n\
             user = \"{user}\"\npassword_file = \"pg.password\"\n"
        ),
    );
}

fn admin_url(node: &Node, database: &TestDatabase) -> PathBuf {
    let (password, port) = (SUPERUSER_PASSWORD.replace(' ', "%20"), database.server.port);
    node.write("admin.url", &format!("postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{}", database.name));
    node.file("admin.url")
}

struct Landscape {
    design: Node,
    production: Node,
    design_database: TestDatabase,
    production_database: TestDatabase,
    desk: tempfile::TempDir,
}

impl Landscape {
    fn new() -> Landscape {
        let (design_database, production_database) = (TestDatabase::new(), TestDatabase::new());
        let design = Node::with_items(ITEMS);
        design.write("projects/T/datasets/items_editlog.toml", "connection = \"pg\"\ntable = \"edit.items_editlog\"\n");
        connect(&design, &design_database);
        // Where people try things out, the node's own user makes the tables.
        let user = format!("node_{}", design_database.name);
        design_database.sql(&format!("GRANT CREATE ON DATABASE {} TO {user}", design_database.name));

        let production = Node { folder: tempfile::tempdir().unwrap() };
        let init = ["init", "--name", "Production", "--role", "automation", "--admin", "ada"];
        production.run_with_input(&init, &format!("{PASSWORD}\n")).ok();
        production.write("data/T/items.csv", ITEMS);
        connect(&production, &production_database);
        let desk = tempfile::tempdir().unwrap();
        let trusted = design.run(&["bundle", "key"]).ok();
        let mut config = std::fs::read_to_string(production.file("stet.toml")).unwrap();
        config.push_str("\n[deploy.approval]\npersons_min = 2\ngroups = { quality = 1 }\n");
        config.push_str(&format!("\n[[deploy.trusted]]\nname = \"Design\"\nkey = \"{}\"\n", trusted.trim()));
        for person in ["quinn", "olga"] {
            let file = desk.path().join(format!("{person}.key"));
            let key = run(&["bundle", "keygen", "--output", text(&file), "--name", person]).ok();
            config.push_str(&format!(
                "\n[[deploy.approvers]]\nlogin = \"{person}\"\nkey = \"{}\"\ngroups = [\"quality\"]\n",
                key.trim()
            ));
        }
        let safe = desk.path().join("safe");
        config.push_str(&format!("\n[sealing]\npush = [{{ folder = \"{}\" }}]\n", text(&safe)));
        production.write("stet.toml", &config);
        Landscape { design, production, design_database, production_database, desk }
    }

    fn bundle(&self, name: &str) -> PathBuf {
        let file = self.desk.path().join(name);
        self.design.run(&["bundle", "create", "T", "--output", text(&file)]).ok();
        file
    }

    fn activate(&self, bundle: &Path) {
        let approve = |person: &str| -> PathBuf {
            let key = self.desk.path().join(format!("{person}.key"));
            let words = ["bundle", "approve", text(bundle), "--key", text(&key), "--target", "Production"];
            let more = ["--feedback", "approve", "--format", "json"];
            run(&[&words[..], &more].concat()).json()["path"].as_str().unwrap().into()
        };
        let (quinn, olga) = (approve("quinn"), approve("olga"));
        let one = ["deploy", "activate", text(bundle), "--approval", text(&quinn)];
        assert!(self.production.run(&one).fails(1).contains("1 of 2 approvals"));
        self.production.run(&[&one[..], &["--approval", text(&olga)]].concat()).ok();
    }

    /// The values of both logs, each in its order.
    #[track_caller]
    fn edits_are(&self, design: &[&str], production: &[&str]) {
        for (node, expected) in [(&self.design, design), (&self.production, production)] {
            let events = node.run(&["editlog", "export", "T.items", "--format", "json"]).json();
            let values: Vec<&str> = events.as_array().unwrap().iter().map(|e| e["value"].as_str().unwrap()).collect();
            assert_eq!(values, expected);
        }
    }
}

/// Waits until so many events of a served node are all sealed, and gives how it stands.
async fn sealed(server: &Server, token: &str, events: u64) -> Value {
    let started = Instant::now();
    loop {
        let (status, text) = server.client(token).get("/api/v1/status").await;
        assert_eq!(status, 200, "{text}");
        let told: Value = serde_json::from_str(&text).unwrap();
        let log = told["editlogs"][0].clone();
        if log["events"] == json!(events) && log["sealed"] == json!(events) && log["mode"].is_string() {
            return log;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_in_production_stay_through_updates_and_rollbacks_and_those_of_design_never_come() {
    let land = Landscape::new();
    // On design: the editlog is made by the node itself, and somebody tries the table out.
    land.design.run(&["scenario", "run", "T.reset_edits_items"]).ok();
    {
        let token = land.design.token();
        let mut server = land.design.serve();
        assert_eq!(server.client(&token).set("a", "name", json!("tried out")).await["status"], "saved");
        assert_eq!(server.stop(), Some(0));
    }

    // A bundle without approvals is refused, and nothing of it is there.
    let first = land.bundle("first.bundle");
    assert!(land.production.run(&["deploy", "activate", text(&first)]).fails(1).contains("0 of 2 approvals"));
    assert!(!land.production.file("projects/T").exists());
    let plan = land.production.run(&["deploy", "plan", text(&first), "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["editlogs_to_initialise"], json!(["items"]), "{plan}");
    let step = plan["first_steps"][0].as_str().unwrap();
    assert!(step.contains("`stet editlog init T.items`") && step.contains("--secure"), "both procedures: {step}");
    land.activate(&first);

    // Not initialised: readable, not editable, and it says who has to do what.
    let token = land.production.token();
    {
        let mut server = land.production.serve();
        let (status, told) = server.client(&token).get("/api/v1/projects/T/webapps/fix").await;
        assert!(status == 200 && told.contains("stet editlog init"), "{status} {told}");
        server.stop();
    }
    let url = admin_url(&land.production, &land.production_database);
    let init = ["editlog", "init", "T.items", "--secure", "--admin-url-file", text(&url)];
    assert!(land.production.run(&init).ok().contains("made securely"));

    let mut server = land.production.serve();
    assert_eq!(server.client(&token).set("a", "name", json!("one")).await["status"], "saved");
    assert_eq!(server.client(&token).set("b", "name", json!("two")).await["status"], "saved");
    let log = sealed(&server, &token, 2).await;
    assert_eq!((&log["mode"], &log["protection"], &log["alarm"]), (&json!("secure"), &json!([]), &Value::Null));
    server.stop();
    land.edits_are(&["tried out"], &["one", "two"]);
    // From the first edit on, nobody resets it: not the product, and not the rights of the node.
    let refused = land.production.run(&["editlog", "reset", "T.items", "--yes"]);
    assert_ne!(refused.code, 0, "{}", refused.stdout);

    // The recipe changes on design, and the update goes the same way.
    land.design.write("projects/T/recipes/sum_up.sql", "SELECT count(*) AS items FROM items_edited");
    let second = land.bundle("second.bundle");
    land.activate(&second);
    land.edits_are(&["tried out"], &["one", "two"]);
    let mut server = land.production.serve();
    assert_eq!(server.client(&token).set("c", "name", json!("three")).await["status"], "saved");
    sealed(&server, &token, 3).await;
    server.stop();
    land.production.run(&["build", "T.totals"]).ok();
    let totals = land.production.run(&["dataset", "show", "T.totals", "--format", "json"]).ok();
    assert!(totals.contains("items") && !totals.contains("named"), "{totals}");

    // And back.
    land.production.run(&["deploy", "rollback", "T"]).ok();
    land.edits_are(&["tried out"], &["one", "two", "three"]);
    land.production.run(&["build", "T.totals"]).ok();
    let totals = land.production.run(&["dataset", "show", "T.totals", "--format", "json"]).ok();
    assert!(totals.contains("named"), "{totals}");

    // The log is whole, and whoever brings the database of one node to the other is refused.
    let verified = land.production.run(&["editlog", "verify", "T.items"]);
    assert!(verified.stdout.contains("OK") && verified.stdout.contains("3 events, 3 sealed"), "{verified:?}");
    // It was held against what the server has pushed to the safe.
    assert!(verified.code == 0 && !verified.stderr.contains("compared with nothing"), "{verified:?}");
    let proof = land.desk.path().join("proof");
    land.production.run(&["editlog", "prove", "T.items", "2", "--output", text(&proof)]).ok();
    let keys = land.desk.path().join("keys");
    std::fs::write(&keys, land.production.run(&["editlog", "keys"]).ok()).unwrap();
    assert!(
        run(&["editlog", "verify", "--proof", text(&proof), "--trusted-keys", text(&keys)]).ok().contains("PROVEN")
    );
    let bundle = land.desk.path().join("log.bundle");
    land.production.run(&["editlog", "export", "T.items", "--bundle", "--output", text(&bundle)]).ok();
    run(&["editlog", "verify", "--bundle", text(&bundle), "--trusted-keys", text(&keys)]).ok();

    let forged =
        "ALTER TABLE edit.items_editlog DISABLE TRIGGER ALL; UPDATE edit.items_editlog SET value = 'no' WHERE id = 2";
    land.production_database.sql(forged);
    let verified = land.production.run(&["editlog", "verify", "T.items"]);
    assert!(
        verified.code == 1 && verified.stdout.contains("MODIFIED: event 2 is not as it was sealed"),
        "{verified:?}"
    );
    assert!(verified.stdout.contains("UNPROTECTED"), "{verified:?}");

    let config = std::fs::read_to_string(land.design.file("stet.toml")).unwrap();
    let stolen = config.replace(&land.design_database.name, &land.production_database.name);
    land.design.write("stet.toml", &stolen);
    let refused = land.design.run(&["editlog", "export", "T.items", "--format", "json"]);
    assert!(refused.code != 0 && refused.stderr.contains("belong to the node `Production`"), "{}", refused.stderr);
    // And whoever lets production lead to the database of design sees it before anything else.
    let config = std::fs::read_to_string(land.production.file("stet.toml")).unwrap();
    land.production.write("stet.toml", &config.replace(&land.production_database.name, &land.design_database.name));
    let status = land.production.run(&["deploy", "status", "T"]);
    assert!(status.code == 1 && status.stdout.contains("T: unhealthy"), "{status:?}");
    assert!(status.stdout.contains("belong to the node `Test`"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drift_of_what_protects_the_log_is_told_noted_and_sealed_once() {
    let database = TestDatabase::new();
    let node = Node::with_items(ITEMS);
    node.write("projects/T/datasets/items_editlog.toml", "connection = \"pg\"\ntable = \"edit.items_editlog\"\n");
    connect(&node, &database);
    let url = admin_url(&node, &database);
    node.run(&["editlog", "init", "T.items", "--secure", "--admin-url-file", text(&url)]).ok();
    let token = node.token();
    database.sql(&format!("GRANT UPDATE ON edit.items_editlog TO node_{}", database.name));
    for _ in 0..2 {
        let mut server = node.serve();
        let log = sealed(&server, &token, 1).await;
        let told = log["protection"].as_array().unwrap();
        assert!(told.iter().any(|line| line.as_str().unwrap().contains("may UPDATE")), "{log}");
        server.stop();
    }
    // One note in the log and one in the trail, however often it was looked at.
    let events = node.run(&["editlog", "export", "T.items", "--format", "json"]).json();
    let notes = events.as_array().unwrap();
    assert!(notes.len() == 1 && notes[0]["action"] == "note", "{events}");
    assert!(notes[0]["reason"].as_str().unwrap().contains("may UPDATE"), "{events}");
    let trail = node.run(&["audit", "list", "--format", "json"]).ok();
    assert_eq!(trail.matches("editlog.protection").count(), 1, "{trail}");
    // When it is put right, that is noted as well.
    database.sql(&format!("REVOKE UPDATE ON edit.items_editlog FROM node_{}", database.name));
    let mut server = node.serve();
    assert_eq!(sealed(&server, &token, 2).await["protection"], json!([]));
    assert_eq!(server.client(&token).set("a", "name", json!("edited")).await["status"], "saved");
    // What was edited last is sealed before the server ends.
    assert_eq!(server.stop(), Some(0));
    let verified = node.run(&["editlog", "verify", "T.items"]).ok();
    assert!(verified.contains("3 events, 3 sealed"), "{verified}");

    // Personal data is erased by the administrator of the database, and the log is whole.
    let erase = ["editlog", "erase", "T.items", "3", "--reason", "asked for", "--yes"];
    let refused = node.run(&erase);
    assert!(refused.code != 0 && refused.stderr.contains("may not"), "{}", refused.stderr);
    node.run(&[&erase[..], &["--admin-url-file", text(&url)]].concat()).ok();
    let verified = node.run(&["editlog", "verify", "T.items"]);
    assert!(verified.stdout.contains("ERASED: personal data of 1 events"), "{}", verified.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_no_acknowledged_edit_and_the_next_one_seals_them_all() {
    let database = TestDatabase::new();
    let node = Node::with_items(ITEMS);
    node.write("projects/T/datasets/items_editlog.toml", "connection = \"pg\"\ntable = \"edit.items_editlog\"\n");
    connect(&node, &database);
    let url = admin_url(&node, &database);
    node.run(&["editlog", "init", "T.items", "--secure", "--admin-url-file", text(&url)]).ok();
    let token = node.token();
    let mut acknowledged = 0_u64;
    for round in 0..4_u64 {
        let mut server = node.serve();
        let client = server.client(&token);
        for n in 0..20 {
            assert_eq!(client.set("a", "amount", json!(format!("{}", round * 100 + n))).await["status"], "saved");
            acknowledged += 1;
        }
        // In the middle of a sealing, as a rule: it looks four times a second.
        tokio::time::sleep(Duration::from_millis(70 * round)).await;
        server.child.kill().unwrap();
        server.child.wait().unwrap();
    }
    let mut server = node.serve();
    sealed(&server, &token, acknowledged).await;
    server.stop();
    let verified = node.run(&["editlog", "verify", "T.items"]).ok();
    assert!(verified.contains(&format!("{acknowledged} events, {acknowledged} sealed")), "{verified}");
}
