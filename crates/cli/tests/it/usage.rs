use crate::support::{Node, run, stet};

#[test]
fn help_lists_every_command() {
    let help = run(&["help"]).ok();
    for command in ["demo", "init", "serve", "check", "build", "dataset", "editlog", "user", "token"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in {help}");
    }
    assert!(run(&["--version"]).ok().starts_with("stet "));
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&[][..], &["frobnicate"], &["build"], &["dataset", "show"], &["build", "A.b", "--mode", "some"]] {
        run(arguments).fails(2);
    }
}

#[test]
fn a_dataset_without_its_project_is_refused_with_an_example() {
    let node = Node::with_items("id,name,amount\n");
    let stderr = node.run(&["build", "items_edited"]).fails(2);
    assert!(stderr.contains("BIRDSTRIKES.strikes"), "{stderr}");
}

#[test]
fn a_near_miss_is_told_what_was_probably_meant() {
    let node = Node::with_items("id,name,amount\n");
    let stderr = node.run(&["dataset", "show", "T.itmes"]).fails(2);
    assert!(stderr.contains("did you mean `T.items`?"), "{stderr}");
    let stderr = node.run(&["dataset", "list", "t"]).fails(2);
    assert!(stderr.contains("did you mean `T`?"), "{stderr}");
    let stderr = node.run(&["build", "T.weather"]).fails(2);
    assert!(stderr.contains("`totals`"), "{stderr}");
}

#[test]
fn the_node_is_told_by_option_variable_or_current_folder() {
    let node = Node::with_items("id,name,amount\n");
    let empty = tempfile::tempdir().unwrap();
    let list = ["dataset", "list", "T"];
    let code = |command: &mut std::process::Command| command.args(list).output().unwrap().status.code();
    assert_eq!(code(stet().current_dir(node.path())), Some(0));
    assert_eq!(code(stet().current_dir(empty.path()).env("STET_NODE", node.path())), Some(0));
    assert_eq!(code(stet().current_dir(empty.path())), Some(2));
    let nowhere = stet().current_dir(empty.path()).args(list).output().unwrap();
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--node DIR"));
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let node = Node::new();
    let output = node.command(&["check"]).env("STET_LOG", "loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("off, error, warn, info, debug or trace"));
}
