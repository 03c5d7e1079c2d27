use crate::support::{Node, run};

#[test]
fn init_makes_a_node_that_is_well_and_refuses_to_make_it_again() {
    let node = Node::new();
    assert!(node.run(&["check"]).ok().contains("all is well"));
    let stderr = node.run(&["init"]).fails(2);
    assert!(stderr.contains("is a node already"), "{stderr}");
}

#[test]
fn init_without_a_folder_is_refused() {
    assert!(run(&["init"]).fails(2).contains("--node DIR"));
}

#[test]
fn init_with_a_name_that_cannot_be_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("node");
    for (wrong, told) in [
        (["--name", " "], "needs a name"),
        (["--admin", "a b"], "cannot be the name of a user"),
        (["--admin", "none"], "is reserved"),
    ] {
        let stderr = run(&[&["init", "--node", node.to_str().unwrap()][..], &wrong].concat()).fails(2);
        assert!(stderr.contains(told) && !node.exists(), "{stderr}");
    }
}

#[test]
fn init_without_the_password_that_it_needs_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("node");
    let stderr = run(&["init", "--node", node.to_str().unwrap(), "--admin", "ada"]).fails(2);
    assert!(stderr.contains("no password"), "{stderr}");
    assert!(!node.exists());
}

#[test]
fn a_folder_that_is_no_node_is_refused_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().to_str().unwrap();
    for arguments in [&["serve"][..], &["check"], &["build", "A.b"], &["dataset", "list", "A"], &["user", "list"]] {
        let stderr = run(&[&["--node", node], arguments].concat()).fails(2);
        assert!(stderr.contains("is not a Stet node") && stderr.contains("stet init"), "{stderr}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_node_of_a_later_stet_is_refused_and_nothing_is_written_into_it() {
    let node = Node::new();
    node.write("stet.toml", "version = 2\nname = \"Test\"\nrole = \"design\"\nwarp = true\n");
    std::fs::remove_file(node.file("node.sqlite")).unwrap();
    for arguments in [&["serve"][..], &["check"], &["build", "A.b"]] {
        let stderr = node.run(arguments).fails(2);
        assert!(stderr.contains("later Stet"), "{stderr}");
    }
    assert!(!node.file("node.sqlite").exists() && !node.file("stet.lock").exists());
}

#[test]
fn the_role_and_the_address_of_a_new_node_are_those_that_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().to_str().unwrap();
    run(&["init", "--node", node, "--name", "A \"B\"", "--role", "automation", "--listen", "9001"]).ok();
    let text = std::fs::read_to_string(folder.path().join("stet.toml")).unwrap();
    assert!(text.contains("role = \"automation\"") && text.contains("listen = \"127.0.0.1:9001\""), "{text}");
    run(&["check", "--node", node]).ok();
}
