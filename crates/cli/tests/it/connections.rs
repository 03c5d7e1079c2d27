//! Connections whose passwords are sealed on the node, and the key that seals them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use stet_testkit::postgres::TestDatabase;

use crate::support::{Node, Server};

/// A password that is found wherever it should not be.
const CANARY: &str = "canary-7f3a91c2-do-not-tell";

/// A database with a table of items and a user who has the canary as password.
fn database() -> (TestDatabase, String) {
    let database = TestDatabase::new();
    let user = format!("{}_reader", database.name);
    database.sql(&format!(
        "CREATE TABLE items (id text PRIMARY KEY, name text, amount bigint);
         INSERT INTO items VALUES ('1', 'one', 1), ('2', 'two', 2);
         CREATE ROLE {user} LOGIN PASSWORD '{CANARY}'; GRANT SELECT ON items TO {user};"
    ));
    (database, user)
}

fn drop_user(database: &TestDatabase, user: &str) {
    database.sql(&format!("DROP OWNED BY {user}; DROP ROLE {user}"));
}

fn add(node: &Node, database: &TestDatabase, user: &str) {
    let port = database.server.port.to_string();
    let arguments = [
        "connection",
        "add",
        "warehouse",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--database",
        &database.name,
        "--user",
        user,
    ];
    node.run_with_input(&arguments, &format!("{CANARY}\n")).ok();
}

/// Every file below a folder that has this text in it.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_sealed_password_works_and_is_in_no_answer_log_file_export_bundle_or_backup() {
    let (database, user) = database();
    let node = Node::with_items("id,name,amount\n1,one,1\n");
    add(&node, &database, &user);
    node.run(&["connection", "test", "warehouse"]).ok();
    node.write("projects/T/datasets/items.toml", "connection = \"warehouse\"\ntable = \"items\"\nkey = [\"id\"]\n");

    let mut said = String::new();
    let mut server = Server::start(node.command(&["serve", "--listen", "127.0.0.1:0", "--log", "trace"]));
    let client = server.client(&node.token());
    assert_eq!(client.set("1", "name", json!("eins")).await["status"], "saved", "the table is there by its password");
    let (_, document) = client.get("/openapi.json").await;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let fill = |path: &str| {
        let path = path.replace("{project}", "T").replace("{webapp}", "fix").replace("{dataset}", "items");
        path.replace("{connection}", "warehouse").replace("{column}", "name").replace("{linked_dataset}", "items")
    };
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        // A live stream has no end.
        if item.get("get").is_some() && !path.ends_with("/events") {
            said.push_str(&client.get(&fill(path)).await.1);
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked} routes were asked");
    for arguments in [
        &["connection", "list"][..],
        &["connection", "list", "--format", "json"],
        &["connection", "show", "warehouse"],
        &["connection", "show", "warehouse", "--format", "json"],
        &["build", "T.totals"],
        &["bundle", "create", "T", "--output", node.file("out.bundle").to_str().unwrap()],
        &["dataset", "export", "T.items_edited", "--output", node.file("out.csv").to_str().unwrap()],
        &["editlog", "export", "T.items", "--bundle", "--output", node.file("out.tar").to_str().unwrap()],
        &["audit", "export"],
        &["check"],
    ] {
        let run = node.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        said.push_str(&run.stdout);
        said.push_str(&run.stderr);
    }
    // What goes wrong is told without it, too.
    database.sql(&format!("ALTER ROLE {user} PASSWORD 'another'"));
    let wrong = node.run(&["connection", "test", "warehouse", "--log", "trace"]).fails(1);
    assert!(wrong.contains("does not accept the user"), "{wrong}");
    said.push_str(&wrong);
    server.stop();
    let log = server.log();
    assert!(log.contains("/api/v1/connections"), "requests were logged: {log}");
    assert!(said.contains("warehouse") && !said.contains(CANARY) && !log.contains(CANARY));
    assert_eq!(files_with(node.path(), CANARY), [""; 0], "no file of the node, and so no backup, has it");
    drop_user(&database, &user);
}

#[test]
fn a_key_is_rotated_and_every_secret_opens_with_the_new_one() {
    let (database, user) = database();
    let node = Node::new();
    add(&node, &database, &user);
    let old = std::fs::read_to_string(node.file("secrets.key")).unwrap();
    let mode = std::fs::metadata(node.file("secrets.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(node.run(&["secrets", "rotate"]).ok().contains("1 secret is sealed by a new key"));
    assert!(std::fs::read_to_string(node.file("secrets.key")).unwrap() != old);
    node.run(&["connection", "test", "warehouse"]).ok();
    // The old key opens nothing any more.
    std::fs::write(node.file("secrets.key"), old).unwrap();
    assert!(node.run(&["secrets", "check"]).fails(2).contains("sealed by another key"));
    drop_user(&database, &user);
}

#[test]
fn a_node_with_secrets_does_not_start_without_its_key_or_with_an_example() {
    let (database, user) = database();
    let node = Node::new();
    add(&node, &database, &user);
    let refused = || node.run(&["serve", "--listen", "127.0.0.1:0"]).fails(2);
    let key = std::fs::read_to_string(node.file("secrets.key")).unwrap();

    std::fs::remove_file(node.file("secrets.key")).unwrap();
    assert!(refused().contains("no key to open them"));
    let write = |text: &str, mode: u32| {
        std::fs::write(node.file("secrets.key"), text).unwrap();
        std::fs::set_permissions(node.file("secrets.key"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&format!("stet-secrets-key-1:{}", "0123456789abcdef".repeat(4)), 0o600);
    assert!(refused().contains("it is an example"));
    write("stet-secrets-key-1:", 0o600);
    assert!(refused().contains("64 hexadecimal digits"));
    write(&key, 0o644);
    assert!(refused().contains("others may read the key"));
    write(&key, 0o600);
    Server::start(node.command(&["serve", "--listen", "127.0.0.1:0"])).stop();

    // The key can be elsewhere: in the environment, as a credential of systemd, in a file that stet.toml names.
    std::fs::remove_file(node.file("secrets.key")).unwrap();
    let mut check = node.command(&["secrets", "check"]);
    assert!(check.env("STET_SECRETS_KEY", &key).status().unwrap().success());
    node.write("credentials/stet-secrets-key", &key);
    let mut check = node.command(&["secrets", "check"]);
    assert!(check.env("CREDENTIALS_DIRECTORY", node.file("credentials")).status().unwrap().success());
    node.write("elsewhere.key", &key);
    std::fs::set_permissions(node.file("elsewhere.key"), std::fs::Permissions::from_mode(0o400)).unwrap();
    let settings = std::fs::read_to_string(node.file("stet.toml")).unwrap();
    node.write("stet.toml", &format!("{settings}[secrets]\nkey_file = \"elsewhere.key\"\n"));
    node.run(&["secrets", "check"]).ok();
    drop_user(&database, &user);
}
