use crate::support::{Server, run, stet};

fn kept(folder: &std::path::Path) -> Server {
    let mut command = stet();
    command.args(["demo", "--listen", "127.0.0.1:0", "--node"]).arg(folder);
    Server::start(command)
}

#[tokio::test]
async fn a_kept_demo_opens_into_data_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("demo");
    let mut server = kept(&node);
    let token = run(&["token", "add", "dana", "test", "--node", node.to_str().unwrap()]).ok();
    let client = server.client(token.trim());
    for webapp in ["review-matches", "correct-strikes"] {
        let (status, body) = client.get(&format!("/api/v1/projects/BIRDSTRIKES/webapps/{webapp}")).await;
        assert_eq!(status, 200, "{body}");
    }
    let list = run(&["dataset", "list", "BIRDSTRIKES", "--format", "json", "--node", node.to_str().unwrap()]).json();
    for dataset in list["datasets"].as_array().unwrap() {
        assert!(["source", "fresh", "live"].contains(&dataset["state"].as_str().unwrap()), "{dataset}");
    }
    assert_eq!(server.stop(), Some(0));

    let logins = std::fs::read_to_string(node.join("demo-logins.txt")).unwrap();
    let project = node.join("projects/BIRDSTRIKES/project.toml");
    std::fs::write(&project, "name = \"Mine\"\n").unwrap();
    std::fs::remove_file(node.join("projects/BIRDSTRIKES/webapps/correct-strikes.toml")).unwrap();
    for recipe in ["summarise_by_airport.toml", "summarise_by_airport.sql"] {
        std::fs::remove_file(node.join("projects/BIRDSTRIKES/recipes").join(recipe)).unwrap();
    }
    let mut server = kept(&node);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(std::fs::read_to_string(&project).unwrap(), "name = \"Mine\"\n");
    assert!(!node.join("projects/BIRDSTRIKES/webapps/correct-strikes.toml").exists());
    assert_eq!(std::fs::read_to_string(node.join("demo-logins.txt")).unwrap(), logins);
    run(&["check", "--node", node.to_str().unwrap()]).ok();
}

#[test]
fn a_demo_leaves_a_folder_alone_that_holds_something_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    let node = folder.path().to_str().unwrap();
    assert!(run(&["demo", "--node", node]).fails(2).contains("holds something already"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let real = crate::support::Node::new();
    assert!(real.run(&["demo"]).fails(2).contains("stet serve"));
    assert!(!real.file("projects/BIRDSTRIKES").exists());
}

#[test]
fn a_throw_away_demo_is_for_this_machine_alone() {
    let stderr = run(&["demo", "--listen", "0.0.0.0:0"]).fails(2);
    assert!(stderr.contains("--node DIR"), "{stderr}");
}

#[test]
fn a_throw_away_demo_is_gone_when_it_stops() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = stet();
    command.args(["demo", "--listen", "127.0.0.1:0"]).env("TMPDIR", temporary.path());
    let mut server = Server::start(command);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
