use crate::support::Node;

const ITEMS: &str = "id,name,amount\na,Ann,1\nb,Bob,2\n";

#[test]
fn an_unknown_field_is_told_with_its_file_line_and_column() {
    let node = Node::with_items(ITEMS);
    node.write("projects/T/webapps/fix.toml", "original = \"items\"\n\n[[editable]]\ncolum = \"name\"\n");
    let stderr = node.run(&["check"]).fails(1);
    assert!(stderr.contains("projects/T/webapps/fix.toml:4:1: ") && stderr.contains("column"), "{stderr}");
    // The same problem keeps everything else from working, in the same words.
    let stderr = node.run(&["build", "T.items_edited"]).fails(2);
    assert!(stderr.contains("webapps/fix.toml:4:1"), "{stderr}");
}

#[test]
fn all_problems_are_told_at_once() {
    let node = Node::with_items(ITEMS);
    node.write("projects/T/webapps/fix.toml", "original = \"item\"\n");
    node.write("projects/T/datasets/more.toml", "path = \"../../secret.csv\"\n");
    node.write("projects/U/project.toml", "name = 1\n");
    node.write("projects/not a project/project.toml", "name = \"x\"\n");
    let findings = node.run(&["check", "--format", "json"]);
    assert_eq!(findings.code, 1);
    let findings: serde_json::Value = serde_json::from_str(&findings.stdout).unwrap();
    assert_eq!(findings["ok"], false);
    let places: Vec<String> = findings["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| format!("{}:{}", problem["file"].as_str().unwrap(), problem["line"]))
        .collect();
    for place in [
        "projects/T/webapps/fix.toml:1",
        "projects/T/datasets/more.toml:1",
        "projects/U/project.toml:1",
        "projects/not a project:null",
    ] {
        assert!(places.iter().any(|found| found == place), "{place} is not in {places:?}");
    }
}

#[test]
fn a_mistake_in_the_nodes_configuration_is_told_with_its_line() {
    let node = Node::new();
    node.write("stet.toml", "version = 1\nname = \"Test\"\nrole = \"design\"\nlisten = 8820\n");
    let stderr = node.run(&["check"]).fails(1);
    assert!(stderr.starts_with("stet.toml:4: "), "{stderr}");
    assert!(node.run(&["serve"]).fails(2).contains("stet.toml:4"));
}

#[test]
fn the_data_is_read_from_end_to_end() {
    for (items, words) in [
        ("id,name,amount\na,Ann,1\nb,Bob\n", "line 3"),
        ("id,name,amount\na,Ann,one\n", "amount"),
        ("id,name,amount\na,Ann,1\nb,Bob,2\na,Amy,3\n", "`a`"),
        ("id,name,amount\na,Ann,1\n,Bob,2\n", "row"),
        ("key,name,amount\na,Ann,1\n", "id"),
    ] {
        let node = Node::with_items(items);
        let stderr = node.run(&["check"]).fails(1);
        assert!(stderr.contains(words) && stderr.contains("projects/T/"), "{items:?}: {stderr}");
    }
    let node = Node::with_items(ITEMS);
    std::fs::write(node.file("data/T/items.csv"), b"id,name,amount\na,Ann,1\nb,B\xe9b,2\n").unwrap();
    let stderr = node.run(&["check"]).fails(1);
    assert!(stderr.contains("line 3") && stderr.contains("UTF-8"), "{stderr}");
    std::fs::remove_file(node.file("data/T/items.csv")).unwrap();
    assert!(node.run(&["check"]).fails(1).contains("items"));
}

#[test]
fn a_missing_connection_is_told() {
    let node = Node::with_items(ITEMS);
    node.write("projects/T/datasets/more.toml", "connection = \"warehouse\"\npath = \"x.csv\"\n");
    let stderr = node.run(&["check"]).fails(1);
    assert!(stderr.contains("projects/T/datasets/more.toml") && stderr.contains("`warehouse`"), "{stderr}");
}

#[test]
fn what_was_never_built_is_no_problem() {
    let node = Node::with_items(ITEMS);
    let run = node.run(&["check"]);
    assert!(run.stderr.contains("T.totals was never built"), "{}", run.stderr);
    assert!(run.ok().contains("1 project, "));
}

#[test]
fn a_mistake_in_a_connection_is_told_with_its_line_and_what_was_expected() {
    for (connection, place, expected) in [
        ("kind = \"oracle\"", 6, "`oracle` is no kind of connection"),
        ("kind = \"files\"", 5, "`path` is missing"),
        ("kind = \"files\"\npath = \"x\"\nhost = \"y\"", 8, "`host` means nothing for a connection of kind \"files\""),
        ("kind = \"postgresql\"", 5, "`host` is missing"),
        (
            "kind = \"postgresql\"\nhost = \"h\"\ndatabase = \"d\"\nuser = \"u\"\npassword = \"secret\"",
            10,
            "a password does not stand in this file",
        ),
        ("kind = \"postgresql\"\nhost = \"h\"\ndatabase = \"d\"\nuser = \"u\"\nport = 99999", 10, "99999"),
        (
            "kind = \"postgresql\"\nhost = \"h\"\ndatabase = \"d\"\nuser = \"u\"\nsslmode = \"prefer\"",
            10,
            "`prefer` is no sslmode",
        ),
        (
            "kind = \"postgresql\"\nhost = \"/run\"\ndatabase = \"d\"\nuser = \"u\"\nsslmode = \"require\"",
            10,
            "a socket is not encrypted",
        ),
        (
            "kind = \"postgresql\"\nhost = \"h\"\ndatabase = \"d\"\nuser = \"u\"\npassword_file = \"f\"\npassword_env = \"E\"",
            11,
            "keep one of them",
        ),
        (
            "kind = \"postgresql\"\nhost = \"h\"\ndatabase = \"d\"\nuser = \"u\"\nstatement_timeout_ms = 0",
            10,
            "is from 1 to",
        ),
        ("kind = \"postgresql\"\nhostname = \"h\"", 7, "unknown field `hostname`"),
    ] {
        let node = Node::new();
        let head = "version = 1\nname = \"Test\"\nrole = \"design\"\n\n[connections.pg]\n";
        node.write("stet.toml", &format!("{head}{connection}\n"));
        let stderr = node.run(&["check"]).fails(1);
        assert!(
            stderr.starts_with(&format!("stet.toml:{place}: ")) && stderr.contains(expected),
            "{connection}: {stderr}"
        );
        assert!(!stderr.contains("secret"), "{stderr}");
    }
}
