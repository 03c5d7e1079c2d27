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

#[test]
fn users_and_groups_are_brought_to_what_a_file_says() {
    let node = Node::new();
    node.run_with_input(&["user", "add", "rob"], PASSWORD).ok();
    node.run(&["group", "add", "old"]).ok();
    node.run(&["group", "add-user", "old", "rob"]).ok();
    node.write("secrets/rita", "a long passphrase\n");
    let people = "[[groups]]\nname = \"editors\"\n\n[[users]]\nlogin = \"rita\"\nname = \"Rita M\"\nprofile = \"designer\"\n\
                  groups = [\"editors\"]\npassword_file = \"secrets/rita\"\n\n[[users]]\nlogin = \"Rob\"\ngroups = [\"editors\"]\n\
                  disabled = true\n\n[[users]]\nlogin = \"sam\"\n";
    node.write("people.toml", people);
    let file = node.file("people.toml");
    let file = file.to_str().unwrap();
    let changes = [
        "add the group editors",
        "add the user rita (designer)",
        "put rita into editors",
        "shut rob out",
        "put rob into editors",
        "take rob out of old",
        "add the user sam (reader), without a password",
    ];
    let planned = node.run(&["user", "apply", file, "--dry-run", "--format", "json"]).json();
    assert_eq!(planned, serde_json::json!({ "changes": changes, "done": false }));
    assert_eq!(node.run(&["user", "list", "--format", "json"]).json()["users"].as_array().unwrap().len(), 2);
    assert_eq!(node.run(&["user", "apply", file]).ok().lines().count(), changes.len());
    assert!(node.run(&["user", "apply", file]).ok().contains("Everything is as the file says"));
    let users = node.run(&["user", "list", "--format", "json"]).json();
    let rita = users["users"].as_array().unwrap().iter().find(|user| user["login"] == "rita").unwrap();
    assert_eq!((&rita["profile"], &rita["groups"][0]), (&"designer".into(), &"editors".into()));

    // Every mistake is told with its place, and nothing is done.
    node.write(
        "people.toml",
        "[[users]]\nlogin = \"new\"\nprofile = \"king\"\n[[users]]\nlogin = \"new\"\n[[users]]\nlogin = \"ann\"\n\
         groups = [\"makers\"]\npassword_file = \"nothing\"\n",
    );
    let told = node.run(&["user", "apply", file]).fails(2);
    for (place, words) in [
        ("3:11", "`king` is not a profile"),
        ("5:9", "there twice"),
        ("8:11", "no group `makers`"),
        ("9:17", "cannot read"),
    ] {
        let line = told.lines().find(|line| line.contains(&format!("people.toml:{place}"))).unwrap_or_default();
        assert!(line.contains(words), "{place}: {told}");
    }
    assert_eq!(node.run(&["user", "list", "--format", "json"]).json()["users"].as_array().unwrap().len(), 4);
}

#[test]
fn nobody_and_no_group_gets_a_name_that_stands_for_visitors() {
    let node = Node::new();
    for name in ["none", "NONE", "n0ne", "_none_", "n.o.n.e", "nu11", "anonymous", "systern"] {
        assert!(node.run_with_input(&["user", "add", name], PASSWORD).fails(2).contains("reserved"), "{name}");
        assert!(node.run(&["group", "add", name]).fails(2).contains("reserved"), "{name}");
    }
    for shown in ["None", "ｎｏｎｅ", "nοne", "n\u{200b}one", "𝐧𝐨𝐧𝐞", "ⓝⓞⓝⓔ", "no\u{ad}ne"] {
        let told = node.run_with_input(&["user", "add", "rita", "--name", shown], PASSWORD).fails(2);
        assert!(told.contains("cannot be a name to show"), "{shown}: {told}");
    }
    // A file says so with the place, before anything is done.
    let people = "[[groups]]\nname = \"No-ne\"\n[[groups]]\nname = \"good\"\n[[users]]\nlogin = \"n0ne\"\n\
                  [[users]]\nlogin = \"rita\"\nname = \"Ｎone\"\n";
    node.write("people.toml", people);
    let file = node.file("people.toml");
    let told = node.run(&["user", "apply", file.to_str().unwrap()]).fails(2);
    for (place, words) in [("2:8", "`no-ne` is reserved"), ("6:9", "`n0ne` is reserved"), ("8:9", "cannot be a name")] {
        let line = told.lines().find(|line| line.contains(&format!("people.toml:{place}"))).unwrap_or_default();
        assert!(line.contains(words), "{place}: {told}");
    }
    assert_eq!(node.run(&["group", "list", "--format", "json"]).json()["groups"].as_array().map(Vec::len), Some(0));
}
