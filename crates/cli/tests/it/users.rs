use crate::support::{Node, PASSWORD};

#[test]
fn users_are_added_shut_out_and_let_in_again() {
    let node = Node::new();
    node.run_with_input(&["user", "add", "rita", "--name", "Rita M", "--profile", "reader"], PASSWORD).ok();
    let state = || {
        let users = node.run(&["user", "list", "--format", "json"]).json();
        let rita = users["users"].as_array().unwrap().iter().find(|user| user["login"] == "rita").unwrap().clone();
        assert_eq!((rita["name"].as_str(), rita["profile"].as_str()), (Some("Rita M"), Some("reader")));
        rita["disabled"].as_bool().unwrap()
    };
    assert!(!state());
    node.run(&["user", "disable", "rita"]).ok();
    assert!(state());
    node.run(&["user", "enable", "rita"]).ok();
    assert!(!state());
    assert!(node.run(&["user", "list"]).ok().contains("Rita M"));
}

#[test]
fn what_cannot_be_a_user_is_refused_in_words() {
    let node = Node::new();
    let add =
        |arguments: &[&str], password: &str| node.run_with_input(&[&["user", "add"], arguments].concat(), password);
    assert!(add(&["bob"], "short\n").fails(2).contains("at least 8 characters"));
    assert!(add(&["bob"], "").fails(2).contains("--password-file"));
    assert!(add(&["none"], PASSWORD).fails(2).contains("reserved"));
    assert!(add(&["b b"], PASSWORD).fails(2).contains("cannot be the name of a user"));
    assert!(add(&["bob", "--profile", "king"], PASSWORD).fails(2).contains("reader, designer or admin"));
    assert!(add(&["ada"], PASSWORD).fails(1).contains("ada"));
    assert!(node.run(&["user", "disable", "nobody"]).fails(2).contains("nobody"));
}

#[test]
fn a_password_comes_from_a_file_and_is_nowhere_in_the_node() {
    let node = Node::new();
    node.write("secret", "hidden passphrase\nsecond line\n");
    let secret = node.file("secret");
    node.run(&["user", "password", "ada", "--password-file", secret.to_str().unwrap()]).ok();
    let database = std::fs::read(node.file("node.sqlite")).unwrap();
    assert!(!database.windows(6).any(|bytes| bytes == b"hidden"));
}

#[test]
fn a_token_is_printed_once_alone_on_stdout() {
    let node = Node::new();
    let token = node.run(&["token", "add", "ada", "import", "--days", "1"]).ok();
    assert!(token.starts_with("stet_") && token.trim().len() > 40 && token.lines().count() == 1, "{token}");
    let list = node.run(&["token", "list"]).ok();
    assert!(list.contains("import") && list.contains("active") && !list.contains(token.trim()), "{list}");
    assert!(node.run(&["token", "add", "ada", "import"]).fails(1).contains("import"));
    node.run(&["token", "revoke", "ada", "import"]).ok();
    assert_eq!(node.run(&["token", "list", "--format", "json"]).json()["tokens"][0]["state"], "revoked");
    node.run(&["token", "revoke", "ada", "import"]).fails(2);
}
