//! `stet editlog init`, `sql` and `check`, on a database.

use stet_testkit::postgres::{SUPERUSER, SUPERUSER_PASSWORD, TestDatabase};

use crate::support::Node;

const ITEMS: &str = "id,name,amount\na,Ann,1\nb,Bob,2\n";
const PASSWORD: &str = "only the node knows";

/// A node whose editlog is in a database, reached as a user of its own.
fn node(database: &TestDatabase) -> Node {
    let node = Node::with_items(ITEMS);
    let stet_toml = std::fs::read_to_string(node.file("stet.toml")).unwrap();
    let user = format!("node_{}", database.name);
    database.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'"));
    node.write("pg.password", &format!("{PASSWORD}\n"));
    let port = database.server.port;
    let connection = format!(
        "\n[connections.pg]\nkind = \"postgresql\"\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"{}\"\nuser = \"{user}\"\n\
         password_file = \"pg.password\"\n",
        database.name
    );
    node.write("stet.toml", &(stet_toml + &connection));
    node.write("projects/T/datasets/items_editlog.toml", "connection = \"pg\"\ntable = \"edit.items_editlog\"\n");
    node
}

#[test]
fn a_secure_editlog_is_made_checked_and_its_drift_named() {
    let database = TestDatabase::new();
    let node = node(&database);
    let stderr = node.run(&["editlog", "check", "T.items"]).fails(1);
    assert!(stderr.contains("not initialised"), "{stderr}");
    // The node's own user may not make it; nothing of the database's words is shown.
    let stderr = node.run(&["editlog", "init", "T.items"]).fails(2);
    assert!(stderr.contains("may not") && !stderr.contains("permission denied"), "{stderr}");

    let script = node.run(&["editlog", "sql", "T.items", "--secure"]).ok();
    assert!(script.contains("NOLOGIN") && !script.contains(PASSWORD), "{script}");
    node.run(&["editlog", "sql", "T.items"]).fails(2);
    node.run(&["editlog", "init", "T.items", "--secure"]).fails(2);

    let url = format!(
        "postgresql://{SUPERUSER}:{}@127.0.0.1:{}/{}",
        SUPERUSER_PASSWORD.replace(' ', "%20"),
        database.server.port,
        database.name
    );
    node.write("admin.url", &url);
    let file = node.file("admin.url");
    let arguments = ["editlog", "init", "T.items", "--secure", "--admin-url-file", file.to_str().unwrap()];
    let made = node.run(&arguments).ok();
    assert!(made.contains("made securely") && made.contains("holds: the log is not emptied"), "{made}");
    node.run(&arguments).ok();
    let check = node.run(&["editlog", "check", "T.items", "--format", "json"]).json();
    assert_eq!((&check["ok"], &check["mode"]), (&true.into(), &"secure".into()), "{check}");
    // Credentials of the administrator are kept nowhere.
    let kept = std::fs::read_to_string(node.file("data/T/items_editlog.protection.json")).unwrap();
    assert!(!kept.contains(SUPERUSER_PASSWORD) && !kept.contains(PASSWORD));

    let reader = format!("reader_{}", database.name);
    database.sql(&format!("CREATE ROLE {reader} LOGIN; GRANT stet_{}_edit_owner TO {reader}", database.name));
    let run = node.run(&["editlog", "check", "T.items"]);
    assert_eq!(run.code, 1);
    let told = format!("{reader} is a member of the owner");
    assert!(run.stdout.contains(&told), "{}", run.stdout);
    assert!(run.stdout.contains(&format!("new: can act as the owner: {reader}")), "{}", run.stdout);
    database.sql(&format!("REVOKE stet_{}_edit_owner FROM {reader}", database.name));
    node.run(&["editlog", "check", "T.items"]).ok();
}

#[test]
fn an_editlog_in_the_nodes_own_file_is_checked_too() {
    let node = Node::with_items(ITEMS);
    node.run(&["editlog", "init", "T.items"]).ok();
    assert!(node.run(&["editlog", "check", "T.items"]).ok().contains("in the node's own file"));
    let stderr = node.run(&["editlog", "sql", "T.items", "--secure"]).fails(2);
    assert!(stderr.contains("items_editlog.toml"), "{stderr}");
}
