//! The seal of an editlog, as an auditor sees it from the shell.

use serde_json::{Value, json};
use stet_testkit::outside::{BUCKET, SECRET_KEY, TestBucket, TestWitness};

use crate::support::{Node, run};

const ITEMS: &str = "id,name,amount\na,Apple,1\nb,Pear,2\n";

/// A node whose log has so many edits, and which pushes its checkpoints to a folder `safe`.
async fn node_with_edits(edits: usize) -> Node {
    let node = Node::with_items(ITEMS);
    let config = std::fs::read_to_string(node.file("stet.toml")).unwrap();
    node.write("stet.toml", &format!("{config}[sealing]\npush = [{{ folder = \"safe\" }}]\n"));
    edit(&node, edits).await;
    node
}

async fn edit(node: &Node, edits: usize) {
    let token = node.token();
    let mut server = node.serve();
    let client = server.client(&token);
    for n in 0..edits {
        client.set("a", "name", json!(format!("Apple {n}"))).await;
    }
    server.stop();
}

fn verified(node: &Node, more: &[&str]) -> Value {
    node.run(&[&["editlog", "verify", "T.items", "--format", "json"], more].concat()).json()
}

#[tokio::test]
async fn a_log_verifies_with_what_was_pushed_when_the_server_stopped() {
    let node = node_with_edits(3).await;
    let found = verified(&node, &[]);
    assert_eq!((&found["whole"], &found["events"], &found["sealed"]), (&json!(true), &json!(3), &json!(3)));
    assert_eq!(found["notes"], json!([]), "it was compared with what was pushed");
    let text = node.run(&["editlog", "verify", "T.items_editlog"]).ok();
    assert!(text.starts_with("OK: ") && text.ends_with("/T/items: 3 events, 3 sealed\n"), "{text}");
    assert!(node.run(&["editlog", "push"]).ok().starts_with("0 new checkpoints"));
    // The key is nobody else's to read.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(node.file("sealing.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let keys = node.run(&["editlog", "keys"]).ok();
    assert!(!keys.contains("PRIVATE") && keys.lines().count() == 1, "{keys}");
}

#[tokio::test]
async fn a_copy_of_the_log_from_yesterday_is_truncated() {
    let node = node_with_edits(2).await;
    let files = ["", "-wal"].map(|ending| node.file(&format!("data/T/editlog.sqlite{ending}")));
    // What is in the file itself, and what in the journal beside it, is the database's affair.
    let yesterday = files.each_ref().map(|file| std::fs::read(file).ok());
    edit(&node, 2).await;
    assert_eq!(verified(&node, &[])["events"], 4);
    let _ = std::fs::remove_file(node.file("data/T/editlog.sqlite-shm"));
    for (file, content) in files.iter().zip(yesterday) {
        match content {
            Some(content) => std::fs::write(file, content).unwrap(),
            None => drop(std::fs::remove_file(file)),
        }
    }
    let run = node.run(&["editlog", "verify", "T.items"]);
    assert_eq!(run.code, 1);
    let ends = "TRUNCATED: the log ends after 2 events, and 4 were sealed";
    assert!(run.stdout.contains(ends), "{}", run.stdout);
    // Nor is what was pushed overwritten.
    assert!(node.run(&["editlog", "push"]).fails(1).contains("TRUNCATED"));
}

#[tokio::test]
async fn a_log_that_is_gone_is_missed_where_its_checkpoints_were_kept() {
    let node = node_with_edits(3).await;
    assert_eq!(verified(&node, &[])["events"], 3);
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(node.file(&format!("data/T/editlog.sqlite{ending}")));
    }
    let run = node.run(&["editlog", "verify", "T.items"]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("TRUNCATED: the log ends after 0 events, and 3 were sealed"), "{}", run.stdout);
    assert!(run.stdout.contains("the editlog is gone"), "{}", run.stdout);
}

#[tokio::test]
async fn a_bundle_and_a_proof_are_verified_without_the_node() {
    let node = node_with_edits(5).await;
    let path = |name: &str| node.file(name).display().to_string();
    node.write("keys", &node.run(&["editlog", "keys"]).ok());
    node.run(&["editlog", "export", "T.items", "--bundle", "-o", &path("log.tar")]).ok();
    let trusted = ["--trusted-keys", &path("keys")];
    let verify =
        |what: &str, file: &str| run(&[&["editlog", "verify", what, &path(file)], trusted.as_slice()].concat());
    assert!(verify("--bundle", "log.tar").ok().starts_with("OK: "));
    let alone = run(&["editlog", "verify", "--bundle", &path("log.tar")]);
    assert!(alone.code == 0 && alone.stderr.contains("give --trusted-keys"), "{}", alone.stderr);

    let mut bundle = std::fs::read(node.file("log.tar")).unwrap();
    let at = bundle.windows(7).position(|window| window == b"Apple 2").unwrap();
    bundle[at] = b'a';
    std::fs::write(node.file("forged.tar"), &bundle).unwrap();
    let forged = verify("--bundle", "forged.tar");
    assert_eq!(forged.code, 1);
    assert!(forged.stdout.contains("MODIFIED: event 3 is not as it was sealed"), "{}", forged.stdout);
    assert!(verify("--bundle", "keys").fails(1).contains("not a bundle"));
    assert!(verify("--bundle", "nowhere").fails(2).contains("cannot open"));

    node.run(&["editlog", "prove", "T.items", "4", "-o", &path("4.tlog-proof")]).ok();
    let proven = verify("--proof", "4.tlog-proof").ok();
    assert!(proven.starts_with("PROVEN: event 4 of ") && proven.contains("Apple 3"), "{proven}");
    let proof = std::fs::read_to_string(node.file("4.tlog-proof")).unwrap();
    node.write("moved.tlog-proof", &proof.replace("index 3", "index 2"));
    assert!(verify("--proof", "moved.tlog-proof").fails(1).contains("event 4 is not in the log"));
    assert!(node.run(&["editlog", "prove", "T.items", "6"]).fails(2).contains("there is no event 6"));
    assert!(run(&["editlog", "verify", "--proof", &path("4.tlog-proof")]).fails(2).contains("--trusted-keys"));

    let origin = verified(&node, &[])["origin"].as_str().unwrap().to_owned();
    let since = node.file("safe").join(origin).join("checkpoint").display().to_string();
    let consistency = node.run(&["editlog", "prove", "T.items", "--since", &since]).ok();
    assert!(consistency.starts_with("old 5\n"), "{consistency}");
}

#[tokio::test]
async fn a_log_that_is_not_there_is_told_and_usage_is_checked() {
    let node = Node::with_items(ITEMS);
    assert!(node.run(&["editlog", "verify", "T.items"]).fails(1).contains("has no editlog yet"));
    assert!(node.run(&["editlog", "verify", "T.nothing"]).fails(2).contains("nothing"));
    assert!(node.run(&["editlog", "push"]).fails(2).contains("[sealing]"));
    node.run(&["editlog", "verify"]).fails(2);
}

#[tokio::test]
async fn what_is_proven_and_checked_is_told_as_json_too() {
    let node = node_with_edits(3).await;
    let proof = node.run(&["editlog", "prove", "T.items", "2", "--format", "json"]).json();
    assert_eq!((&proof["kind"], &proof["index"]), (&json!("inclusion"), &json!(1)));
    assert_eq!(proof["hashes"].as_array().unwrap().len(), 2);
    node.write("2.tlog-proof", proof["proof"].as_str().unwrap());
    node.write("keys", &node.run(&["editlog", "keys"]).ok());
    let path = |name: &str| node.file(name).display().to_string();
    run(&["editlog", "verify", "--proof", &path("2.tlog-proof"), "--trusted-keys", &path("keys")]).ok();

    let found = node.run(&["audit", "verify", "--format", "json"]).json();
    assert_eq!((&found["whole"], &found["entries"]), (&json!(true), &found["sealed"]));
    assert!(found["compared_with"][0].as_str().unwrap().ends_with("/audit"), "{found}");
    let entries = node.run(&["audit", "export", "--format", "json"]).json();
    let lines = node.run(&["audit", "export"]).ok();
    // Each export is an entry itself.
    assert_eq!(entries.as_array().unwrap().len() + 1, lines.lines().count());
    assert_eq!(node.run(&["audit", "export", "--user", "nobody", "--format", "json"]).json(), json!([]));
}

// The bucket and the witness answer while the test waits for a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_sealed_by_name_listed_without_themselves_and_used_for_a_bucket() {
    let bucket = TestBucket::start().await;
    let witness = TestWitness::start().await;
    let node = Node::with_items(ITEMS);
    let config = std::fs::read_to_string(node.file("stet.toml")).unwrap();
    let push = format!("[sealing]\npush = [{}, {}]\n", bucket.target(), witness.target());
    node.write("stet.toml", &format!("{config}{push}"));
    let set = node.run_with_input(&["secrets", "set", "bucket", "--password-file", "-"], &format!("{SECRET_KEY}\n"));
    assert!(!set.ok().contains(SECRET_KEY));
    let listed = node.run(&["secrets", "list", "--format", "json"]).ok();
    assert!(listed.contains("\"bucket\"") && !listed.contains(SECRET_KEY), "{listed}");
    witness.trust(node.run(&["editlog", "keys"]).ok().trim());
    edit(&node, 3).await;
    assert!(bucket.objects().keys().any(|key| key.ends_with("/T/items/checkpoint")));
    // Another key of the node opens it as well.
    node.run(&["secrets", "rotate"]).ok();
    node.run(&["secrets", "check"]).ok();
    let told = node.run(&["editlog", "push"]);
    assert!(told.code == 0, "{}", told.stderr);

    let place = format!("s3://{BUCKET}/stet/logs");
    let found = verified(&node, &["--checkpoints", &place]);
    assert_eq!((&found["whole"], &found["cosigned"][0]["witness"]), (&json!(true), &json!("witness.test/w1")));
    assert_eq!((&found["cosigned"][0]["events"], &found["notes"]), (&json!(3), &json!([])));
    let text = node.run(&["editlog", "verify", "T.items"]).ok();
    assert!(text.contains("COSIGNED: witness.test/w1 has signed the first 3 events"), "{text}");
    let unknown = node.run(&["editlog", "verify", "T.items", "--checkpoints", "s3://other"]);
    assert!(unknown.stderr.contains("there is no `s3://other`"), "{}", unknown.stderr);

    // An auditor without the node sees it in a bundle, if they have the witness's key.
    let path = |name: &str| node.file(name).display().to_string();
    node.write("keys", &node.run(&["editlog", "keys"]).ok());
    node.write("witnesses", &witness.key());
    node.run(&["editlog", "export", "T.items", "--bundle", "-o", &path("log.tar")]).ok();
    let bundle = ["editlog", "verify", "--bundle", &path("log.tar"), "--trusted-keys", &path("keys")];
    assert!(!run(&bundle).ok().contains("COSIGNED"));
    assert!(
        run(&[&bundle[..], &["--witness-keys", &path("witnesses")]].concat()).ok().contains("COSIGNED: witness.test")
    );
    node.run(&["secrets", "remove", "bucket"]).ok();
    assert!(node.run(&["editlog", "push"]).fails(1).contains("stet secrets set bucket"));
    // The settings are checked when they are read.
    for (wrong, told) in [
        ("{ s3 = \"http://storage.example\", bucket = \"b\" }", "begins with https://"),
        ("{ s3 = \"https://storage.example\", bucket = \"b\", region = \"r\", access_key = \"k\" }", "needs `secret`"),
        ("{ witness = \"https://w.example\", key = \"x\" }", "`key` of a witness"),
        ("{ folder = \"f\", bucket = \"b\" }", "a place to push to is one of"),
    ] {
        node.write("stet.toml", &format!("{config}[sealing]\npush = [{wrong}]\n"));
        let refused = node.run(&["editlog", "push"]);
        assert!(refused.code == 2 && refused.stderr.contains(told), "{wrong}: {}", refused.stderr);
    }
}
