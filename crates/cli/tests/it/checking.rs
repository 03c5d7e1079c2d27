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
