//! Bundles sent to another node with `stet bundle push`, and what hostile or unlucky people bring.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stet_testkit::EncryptedEnd;

use crate::bundles::{ITEMS, Landscape, TWO, text};
use crate::support::{Node, Server, run, stet};

const NONE: &str = "[deploy.approval]\npersons_min = 0\n";

/// Makes a deploy token on production; gives it and the id of the node.
fn token(landscape: &Landscape, name: &str, more: &[&str]) -> (String, String) {
    let words = ["deploy", "token", "add", name, "--project", "T", "--format", "json"];
    let told = landscape.production.run(&[&words[..], more].concat()).json();
    (told["token"].as_str().unwrap().to_owned(), told["node_id"].as_str().unwrap().to_owned())
}

fn add_target(landscape: &Landscape, address: &str, node_id: &str, token: &str, more: &[&str]) {
    let words = ["bundle", "target", "add", "Production", "--address", address, "--node-id", node_id];
    let told = landscape.design.run_with_input(&[&words[..], more].concat(), &format!("{token}\n")).ok();
    assert!(told.contains("stet bundle target test Production"), "{told}");
}

/// A project on design whose bundle has some megabytes of reference data.
fn with_much_data(landscape: &Landscape) {
    let columns = "columns = [\n  { name = \"id\", type = \"integer\" },\n  { name = \"text\", type = \"text\" },\n]\n";
    landscape
        .design
        .write("projects/T/datasets/places.toml", &format!("path = \"places.csv\"\nkey = [\"id\"]\n{columns}"));
    let rows: String =
        (0..60_000).map(|row| format!("{row},{}\n", "a place of which much is known ".repeat(4))).collect();
    landscape.design.write("data/T/places.csv", &format!("id,text\n{rows}"));
}

/// What is kept of bundles that are arriving.
fn arriving(node: &Node) -> usize {
    std::fs::read_dir(node.file("deploying/.incoming")).map_or(0, Iterator::count)
}

#[test]
fn a_target_is_added_tested_listed_and_removed_and_its_token_is_never_shown() {
    let landscape = Landscape::new(NONE);
    let Landscape { design, production, .. } = &landscape;
    let told = production.run(&["deploy", "token", "add", "design-node", "--days", "30"]);
    let (secret, node_id) = {
        let id = told.stderr.split("--node-id ").nth(1).expect("the command for the other node").trim().to_owned();
        (told.ok().trim().to_owned(), id)
    };
    let server = production.serve();
    design.write("token", &format!("{secret}\n"));
    let file = design.file("token");
    let add = ["bundle", "target", "add", "Production", "--address", &server.url, "--node-id", &node_id];
    design.run(&[&add[..], &["--token-file", text(&file)]].concat()).ok();
    assert!(design.run(&[&add[..], &["--token-file", text(&file)]].concat()).fails(1).contains("already"));
    let tested = design.run(&["bundle", "target", "test", "Production"]).ok();
    assert!(tested.contains(&format!("Production is the node Production ({node_id}), Stet ")), "{tested}");
    let listed = design.run(&["bundle", "target", "list"]).ok();
    assert!(listed.contains(&server.url) && !listed.contains(&secret), "{listed}");
    let listed = design.run(&["bundle", "target", "list", "--format", "json"]).json();
    assert_eq!(
        (&listed["targets"][0]["name"], &listed["targets"][0]["node_id"]),
        (&json!("Production"), &json!(node_id))
    );
    drop(server);
    let gone = design.run(&["bundle", "target", "test", "Production"]).fails(1);
    assert!(gone.contains("cannot be reached"), "{gone}");
    design.run(&["bundle", "target", "remove", "Production"]).ok();
    assert!(design.run(&["bundle", "target", "test", "Production"]).fails(2).contains("there is no target"));

    for (words, expected) in [
        (["--address", "http://stet.example.org", "--node-id", &node_id], "begins with https://"),
        (["--address", "https://stet.example.org", "--node-id", "Production"], "say which node it is"),
    ] {
        let words = [&["bundle", "target", "add", "X"], &words[..]].concat();
        let refused = design.run_with_input(&words, &format!("{secret}\n"));
        assert!(refused.code != 0 && refused.stderr.contains(expected), "{refused:?}");
    }
    let words = ["bundle", "target", "add", "X", "--address", "https://stet.example.org", "--node-id", &node_id];
    assert!(design.run_with_input(&words, "no token\n").fails(2).contains("this is no deploy token"));
}

#[test]
fn a_bundle_is_pushed_with_its_approvals_and_activated_as_far_as_the_token_allows() {
    let landscape = Landscape::new(TWO);
    let Landscape { design, production, .. } = &landscape;
    let server = production.serve();
    let push = |more: &[&str]| design.run(&[&["bundle", "push", "T", "--to", "Production"], more].concat());
    assert!(push(&[]).fails(1).contains("make one with `stet bundle create T`"));
    let bundle = landscape.bundle("one.bundle", &[]);
    assert!(push(&[]).fails(2).contains("there is no target `Production`"));
    let (secret, node_id) = token(&landscape, "brings", &[]);
    add_target(&landscape, &server.url, &node_id, &secret, &[]);
    let told = push(&[]).ok();
    assert!(told.starts_with("Bundle 1 of T (sha256:") && told.ends_with(" arrived on Production\n"), "{told}");
    assert!(push(&[]).ok().ends_with(" is on Production already\n"));
    let report = push(&["--format", "json"]).json();
    assert_eq!((&report["was_there"], &report["activated"]), (&json!(true), &json!(false)), "{report}");

    let (quinn, olga) = (
        landscape.approve(&bundle, "quinn", &["--feedback", "approve"]),
        landscape.approve(&bundle, "olga", &["--feedback", "approve"]),
    );
    let approvals = ["--approval", text(&quinn), "--approval", text(&olga)];
    let refused = push(&approvals).fails(1);
    assert!(
        refused.contains("Production says: This deploy token brings bundles, and may not bring approvals"),
        "{refused}"
    );
    design.run(&["bundle", "target", "remove", "Production"]).ok();
    let (secret, _) = token(&landscape, "does-more", &["--may-bring-approvals", "--may-activate"]);
    add_target(&landscape, &server.url, &node_id, &secret, &[]);
    let refused = push(&["--activate"]).fails(1);
    assert!(refused.contains("Production says: Nothing was changed: this bundle is not approved"), "{refused}");
    let told = push(&[&approvals[..], &["--activate"]].concat()).ok();
    assert!(told.contains("Approvals taken: 2\n") && told.contains("Production activated it\n"), "{told}");
    let status = production.run(&["deploy", "status", "T"]).ok();
    assert!(status.contains("activated by does-more@deploy-token at"), "{status}");

    // By its digest and by its file, as well; one that another node made is not this node's to send.
    let digest =
        run(&["bundle", "inspect", text(&bundle), "--format", "json"]).json()["digest"].as_str().unwrap().to_owned();
    for name in [digest.as_str(), text(&bundle)] {
        design.run(&["bundle", "push", name, "--to", "Production"]).ok();
    }
    let stranger = Node::with_items(ITEMS);
    let foreign = landscape.desk.path().join("foreign.bundle");
    stranger.run(&["bundle", "create", "T", "--notes", "another", "--output", text(&foreign)]).ok();
    let refused = design.run(&["bundle", "push", text(&foreign), "--to", "Production"]).fails(1);
    assert!(refused.contains("was not made on this node"), "{refused}");
    // Files that changed since are not in what is sent.
    design.write("projects/T/recipes/sum_up.sql", "SELECT 1 AS n");
    assert!(push(&[]).stderr.contains("that bundle is sent as it is"));
    // A token that was revoked opens nothing.
    production.run(&["deploy", "token", "revoke", "does-more"]).ok();
    assert!(push(&[]).fails(1).contains("the deploy token is not good here"));
    let history = design.run(&["deploy", "history", "T", "--format", "json"]).ok();
    assert!(history.contains("\"pushed\"") && history.contains("\"push_failed\""), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_pushed_over_an_encrypted_line_that_the_named_authority_signed() {
    let landscape = Landscape::new(NONE);
    let server = landscape.production.serve();
    let end = EncryptedEnd::start(server.url.trim_start_matches("http://").parse().unwrap()).await;
    landscape.bundle("one.bundle", &[]);
    let (secret, node_id) = token(&landscape, "design-node", &[]);
    add_target(&landscape, &end.address(), &node_id, &secret, &[]);
    let refused = landscape.design.run(&["bundle", "push", "T", "--to", "Production"]).fails(1);
    assert!(
        refused.contains("an authority that this node does not trust") && refused.contains("`ca_file`"),
        "{refused}"
    );
    landscape.design.run(&["bundle", "target", "remove", "Production"]).ok();
    std::fs::copy(&end.authority, landscape.design.file("authority.pem")).unwrap();
    add_target(&landscape, &end.address(), &node_id, &secret, &["--ca-file", "authority.pem"]);
    landscape.design.run(&["bundle", "target", "test", "Production"]).ok();
    let told = landscape.design.run(&["bundle", "push", "T", "--to", "Production"]).ok();
    assert!(told.contains("arrived on Production"), "{told}");
}

/// Hands bytes on to `to` up to a number of them, and then keeps the line open without reading. Says when it does.
fn stalling_line(to: &str, bytes_max: usize) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let to = to.trim_start_matches("http://").to_owned();
    let (sender, stalled) = mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (to, sender) = (to.clone(), sender.clone());
            std::thread::spawn(move || {
                let mut node = TcpStream::connect(to).unwrap();
                let (mut from_node, mut to_client) = (node.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || _ = std::io::copy(&mut from_node, &mut to_client));
                let (mut buffer, mut sent) = (vec![0; 64 * 1024], 0);
                let mut client = client;
                loop {
                    let read = client.read(&mut buffer).unwrap_or(0);
                    if read == 0 || node.write_all(&buffer[..read]).is_err() {
                        let _ = node.shutdown(std::net::Shutdown::Both);
                        return;
                    }
                    let before = sent;
                    sent += read;
                    if before < bytes_max && sent >= bytes_max {
                        let _ = sender.send(());
                        // Until the other side is gone.
                        while client.peek(&mut [0; 1]).is_ok_and(|there| there > 0) {
                            std::thread::sleep(Duration::from_millis(20));
                            if sender.send(()).is_err() {
                                let _ = node.shutdown(std::net::Shutdown::Both);
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    (address, stalled)
}

#[test]
fn a_design_node_that_is_killed_in_the_middle_of_a_push_leaves_nothing_and_sends_it_again() {
    let landscape = Landscape::new(NONE);
    let Landscape { design, production, .. } = &landscape;
    with_much_data(&landscape);
    landscape.bundle("big.bundle", &["--with-data", "places"]);
    let server = production.serve();
    let (address, stalled) = stalling_line(&server.url, 1024 * 1024);
    let (secret, node_id) = token(&landscape, "design-node", &[]);
    add_target(&landscape, &address, &node_id, &secret, &[]);
    let mut command = design.command(&["bundle", "push", "T", "--to", "Production"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stalled.recv_timeout(Duration::from_secs(60)).expect("a megabyte is sent");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stalled);
    let limit = Instant::now() + Duration::from_secs(60);
    while arriving(production) > 0 {
        assert!(Instant::now() < limit, "what broke off is put away");
        std::thread::sleep(Duration::from_millis(50));
    }
    let bundles = production.run(&["bundle", "list", "T", "--format", "json"]);
    assert!(!bundles.stdout.contains("sha256:"), "{bundles:?}");
    design.run(&["bundle", "target", "remove", "Production"]).ok();
    add_target(&landscape, &server.url, &node_id, &secret, &[]);
    let told = design.run(&["bundle", "push", "T", "--to", "Production"]).ok();
    assert!(told.contains("arrived on Production"), "{told}");
}

#[test]
fn a_disk_without_room_is_told_and_nothing_of_a_bundle_is_left_on_it() {
    let landscape = Landscape::new(NONE);
    let Landscape { design, production, .. } = &landscape;
    with_much_data(&landscape);
    let bundle = landscape.bundle("big.bundle", &["--with-data", "places"]);
    // A file may have two megabytes: enough for the databases, and not for the bundle.
    let limited = |words: &[&str]| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]).arg(stet().get_program());
        command.arg("--node").arg(production.path()).args(words).env_remove("STET_NODE").env("USER", "tester");
        command
    };
    let output = limited(&["deploy", "activate", text(&bundle)]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("there is no room left on the disk"), "{output:?}");
    assert!(!production.file("projects/T").exists() && !production.file("data/T/places.csv").exists());

    let server = Server::start(limited(&["serve", "--listen", "127.0.0.1:0"]));
    let (secret, node_id) = token(&landscape, "design-node", &[]);
    add_target(&landscape, &server.url, &node_id, &secret, &[]);
    let refused = design.run(&["bundle", "push", "T", "--to", "Production"]).fails(1);
    assert!(refused.contains("There is no room left on the disk of the node"), "{refused}");
    assert_eq!(arriving(production), 0);
    drop(server);
    // With room it goes on as if nothing had been.
    production.run(&["deploy", "activate", text(&bundle)]).ok();
    assert!(production.file("data/T/places.csv").exists());
}

#[test]
fn of_two_activations_at_once_one_waits_for_nobody_and_is_refused() {
    let landscape = Landscape::new(NONE);
    let bundle = landscape.bundle("one.bundle", &[]);
    landscape.production.run(&["deploy", "plan", text(&bundle)]).ok();
    let folder = landscape.production.file("deploying/T");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = File::options().read(true).write(true).create(true).truncate(false).open(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let refused = landscape.production.run(&["deploy", "activate", text(&bundle)]).fails(1);
    assert!(refused.contains("another activation of `T` is under way: wait for its end"), "{refused}");
    assert!(!landscape.production.file("projects/T").exists());
    drop(lock);

    // For real: as many as come, one of them activates it.
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = landscape.production.command(&["deploy", "activate", text(&bundle)]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let done = outputs.iter().filter(|output| output.status.success()).count();
    assert_eq!(done, 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("is under way") || told.contains("is deployed to `T` already"), "{told}");
    }
    let told = landscape.production.run(&["deploy", "history", "T", "--format", "json"]).json();
    assert_eq!(told["deployments"].as_array().unwrap().len(), 1, "{told}");
}

/// The same bundle, signed by a stranger as well; the signature that the node trusts is spoiled.
fn re_signed(landscape: &Landscape, bundle: &std::path::Path) -> PathBuf {
    let copy = landscape.desk.path().join("re-signed.bundle");
    std::fs::copy(bundle, &copy).unwrap();
    landscape.keygen("stranger");
    let key = landscape.desk.path().join("stranger.key");
    let trusted =
        landscape.design.run(&["bundle", "key", "--format", "json"]).json()["id"].as_str().unwrap().to_owned();
    run(&["bundle", "sign", text(&copy), "--key", text(&key)]).ok();
    let mut bytes = std::fs::read(&copy).unwrap();
    let find = |bytes: &[u8], from: usize, text: &str| {
        from + bytes[from..].windows(text.len()).position(|window| window == text.as_bytes()).expect(text)
    };
    let place = find(&bytes, find(&bytes, 0, &format!("\"keyid\": \"{trusted}\"")), "\"sig\": \"") + 12;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    std::fs::write(&copy, bytes).unwrap();
    copy
}

#[test]
fn whoever_approves_what_is_not_theirs_to_approve_is_refused_and_noted() {
    let landscape = Landscape::new(TWO);
    let Landscape { production, .. } = &landscape;
    // The author has a key as well: `tester` makes the bundles at the shell of design.
    let mut config = std::fs::read_to_string(production.file("stet.toml")).unwrap();
    let key = landscape.keygen("tester");
    config.push_str(&format!("\n[[deploy.approvers]]\nlogin = \"tester\"\nkey = \"{key}\"\n"));
    production.write("stet.toml", &config);
    let bundle = landscape.bundle("one.bundle", &[]);
    let activate = |bundle: &std::path::Path, approvals: &[&PathBuf]| {
        let mut words = vec!["deploy", "activate", text(bundle)];
        for approval in approvals {
            words.extend(["--approval", text(approval)]);
        }
        production.run(&words).fails(1)
    };
    let good = ["--feedback", "approve"];
    let (quinn, author) = (landscape.approve(&bundle, "quinn", &good), landscape.approve(&bundle, "tester", &good));
    let told = activate(&bundle, &[&quinn, &author]);
    assert!(told.contains("1 of 2 approvals are there") && told.contains("tester made this bundle"), "{told}");
    // The same person twice, and the same words in another wrapping, are one approval.
    let again = landscape.approve(&bundle, "quinn", &["--feedback", "minor"]);
    let wrapped = landscape.desk.path().join("wrapped.approval");
    let envelope: Value = serde_json::from_slice(&std::fs::read(&quinn).unwrap()).unwrap();
    std::fs::write(&wrapped, format!("  {envelope}\n\n")).unwrap();
    assert!(activate(&bundle, &[&again, &wrapped]).contains("1 of 2 approvals are there"));

    let key = landscape.desk.path().join("olga.key");
    let elsewhere = landscape.desk.path().join("elsewhere.approval");
    let words =
        ["bundle", "approve", text(&bundle), "--key", text(&key), "--target", "Elsewhere", "--final", "approve"];
    run(&[&words[..], &["--output", text(&elsewhere)]].concat()).ok();
    let for_another = activate(&bundle, &[&elsewhere]);
    assert!(for_another.contains("the approval of olga is for the node `Elsewhere`"), "{for_another}");
    let nonsense = landscape.desk.path().join("nonsense.approval");
    std::fs::write(&nonsense, "{}").unwrap();
    assert!(activate(&bundle, &[&nonsense]).contains("an approval was refused"));
    // `{"format": 9}`, of a later Stet.
    let later = r#"{"payloadType":"application/vnd.stet.bundle-approval+json","payload":"eyJmb3JtYXQiOiA5fQ==","signatures":[{"keyid":"x","sig":"x"}]}"#;
    std::fs::write(&nonsense, later).unwrap();
    assert!(activate(&bundle, &[&nonsense]).contains("the approval has format version 9"));
    assert!(activate(&re_signed(&landscape, &bundle), &[]).contains("a key that this node trusts"));

    landscape.design.write("projects/T/recipes/sum_up.sql", "SELECT 1 AS n");
    let next = landscape.bundle("two.bundle", &[]);
    let old = activate(&next, &[&quinn]);
    assert!(old.contains("the approval of quinn is for another bundle"), "{old}");
    let trail = production.run(&["audit", "list", "--format", "json"]).ok();
    for refusal in [
        "tester made this bundle",
        "is for the node `Elsewhere`",
        "the signatures cannot be read",
        "a key that this node trusts",
        "is for another bundle",
    ] {
        assert!(trail.contains(refusal), "{refusal} is not in the trail: {trail}");
    }
    assert!(!production.file("projects/T").exists(), "nothing was written");

    // Two keys of one person are no two persons.
    production.write(
        "stet.toml",
        &format!("{config}\n[[deploy.approvers]]\nlogin = \"Quinn\"\nkey = \"{}\"\n", landscape.keygen("second")),
    );
    let refused = production.run(&["deploy", "status", "T"]).fails(2);
    assert!(refused.contains("[[deploy.approvers]] Quinn stands there twice"), "{refused}");
}
