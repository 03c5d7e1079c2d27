//! Checkpoints pushed to a bucket and to a witness, which check what they are sent by themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use stet_app::{App, Clock, Evidence, KeptAt, Pushed};
use stet_testkit::outside::{BUCKET, Fails, SECRET_KEY, TestBucket, TestWitness};
use stet_testkit::{ADMIN, DESIGNER, PROJECT, READER, Setup, TestNode};

fn shell() -> stet_domain::Actor {
    stet_domain::Actor::shell(stet_domain::Login::new("shell").expect("a login"))
}

async fn node(targets: &[String]) -> TestNode {
    let node = Setup::default().config(&format!("[sealing]\npush = [{}]", targets.join(", "))).start().await;
    node.app.set_named_secret(&shell(), "bucket", SECRET_KEY).await.expect("sealed");
    node
}

/// Edits of cells that nobody edited yet.
async fn edits(node: &TestNode, edits: usize) {
    static ROW: AtomicUsize = AtomicUsize::new(1);
    let client = node.signed_in(READER).await;
    for _ in 0..edits {
        let row = ROW.fetch_add(1, Ordering::Relaxed);
        let edit = crate::one(crate::update(&row.to_string(), "species", json!(format!("Bird {row}")), json!(null)));
        client.post(&format!("{}/edits", crate::STRIKES), &edit).await.expect_status(200);
    }
}

async fn push(node: &TestNode) -> Pushed {
    let app = node.app.clone();
    tokio::task::spawn_blocking(move || app.push_checkpoints()).await.expect("pushed")
}

async fn verify(node: &TestNode, evidence: Evidence) -> stet_app::EditlogVerification {
    verified(node, evidence).await.expect("verified")
}

async fn verified(node: &TestNode, evidence: Evidence) -> Result<stet_app::EditlogVerification, stet_app::AppError> {
    let app = node.app.clone();
    let verified = tokio::task::spawn_blocking(move || {
        app.verify_editlog(&shell(), PROJECT, "strikes", evidence, &mut |_, _| std::ops::ControlFlow::Continue(()))
    });
    verified.await.expect("it ends")
}

fn log_key(node: &TestNode) -> String {
    node.app.sealing_keys(&shell())[0].to_string()
}

/// The name of the log, in its checkpoints.
fn origin(node: &TestNode) -> String {
    format!("{}/{PROJECT}/strikes", node.app.sealing_keys(&shell())[0].name())
}

/// The node's folder without the files that hold keys, as one text.
fn everything_told(node: &TestNode) -> String {
    let mut told = String::new();
    let mut folders = vec![node.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                told.push_str(&String::from_utf8_lossy(&std::fs::read(&entry).expect("a file")));
            }
        }
    }
    told
}

#[tokio::test]
async fn a_bucket_has_all_that_a_log_is_held_against() {
    let bucket = TestBucket::start().await;
    let node = node(&[bucket.target()]).await;
    edits(&node, 3).await;
    let pushed = push(&node).await;
    assert_eq!((pushed.checkpoints, &pushed.failures), (2, &Vec::new()), "the log and the audit trail");
    let of_log = format!("stet/logs/{}", origin(&node));
    {
        let objects = bucket.objects();
        let checkpoint = String::from_utf8_lossy(&objects[&format!("{of_log}/checkpoint")]).into_owned();
        assert!(checkpoint.starts_with(&format!("{}\n3\n", origin(&node))), "{checkpoint}");
        assert_eq!(objects[&format!("{of_log}/tile/0/000.p/3")].len(), 96);
        assert!(objects.contains_key(&format!("{of_log}/checkpoints/000000000003")));
    }
    // The next one continues it, and nothing new is nothing to do.
    edits(&node, 5).await;
    assert_eq!(push(&node).await.failures, Vec::<String>::new());
    let asked = bucket.requests().len();
    assert_eq!(push(&node).await.checkpoints, 0);
    assert_eq!(bucket.requests().len(), asked, "a look at a bucket costs, and is not taken each time");

    let kept = KeptAt::Bucket(format!("s3://{BUCKET}/stet/logs"));
    let found = verify(&node, Evidence { kept: Some(kept), ..Evidence::default() }).await;
    assert!(found.report.is_whole(), "{:?}", found.report);
    assert_eq!(found.outside, [format!("s3://{BUCKET}/{of_log}")]);

    // Somebody changes what the bucket has: nobody signed that.
    let key = format!("{of_log}/checkpoint");
    let text = String::from_utf8_lossy(&bucket.objects()[&key]).replace("/strikes\n8\n", "/strokes\n8\n");
    bucket.objects().insert(key, text.into_bytes());
    let found = verify(&node, Evidence::default()).await.report;
    assert!(found.findings.iter().any(|finding| finding.verdict() == "FORGED"), "{found:?}");
}

#[tokio::test]
async fn a_log_that_does_not_continue_what_a_bucket_has_is_not_pushed() {
    let bucket = TestBucket::start().await;
    let first = node(&[bucket.target()]).await;
    edits(&first, 3).await;
    push(&first).await;
    // Whoever has the key makes another history.
    let key = std::fs::read_to_string(first.folder().join("sealing.key")).expect("the key");
    let setup = Setup::default().config(&format!("[sealing]\npush = [{}]", bucket.target())).file("sealing.key", &key);
    let other = setup.start().await;
    other.app.set_named_secret(&shell(), "bucket", SECRET_KEY).await.expect("sealed");
    edits(&other, 1).await;
    let before = bucket.objects().clone();
    let told = push(&other).await.failures.join("\n");
    assert!(told.contains("TRUNCATED: the log is sealed up to 1 events, and 3 were pushed"), "{told}");
    edits(&other, 4).await;
    let told = push(&other).await.failures.join("\n");
    assert!(told.contains("FORKED: the log does not continue the 3 events"), "{told}");
    let of_log = |objects: &std::collections::BTreeMap<String, Vec<u8>>| {
        objects.iter().filter(|(key, _)| key.contains("/strikes/")).map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of_log(&before), of_log(&bucket.objects()), "nothing was written over");
    let found = verify(&other, Evidence::default()).await.report;
    assert!(found.findings.iter().any(|finding| finding.verdict() == "FORKED"), "{found:?}");
}

#[tokio::test]
async fn a_bucket_that_fails_is_an_alarm_and_stops_no_edit() {
    let bucket = TestBucket::start().await;
    let node = node(&[bucket.target()]).await;
    edits(&node, 1).await;
    for (fails, expected) in [
        (Fails::Status(500), "status 500, InternalError"),
        (Fails::Status(403), "look at `access_key`, the secret `bucket` and the clock"),
        (Fails::Redirect, "sends elsewhere, and Stet does not follow"),
        (Fails::Slow(11_000), "did not answer in time"),
    ] {
        bucket.fails(fails);
        let told = push(&node).await.failures.join("\n");
        assert!(told.contains(expected), "{fails:?}: {told}");
        edits(&node, 1).await;
    }
    let admin = node.signed_in(ADMIN).await;
    let status = admin.get("/api/v1/status").await.expect_status(200);
    let place = &status.json()["pushes"][0];
    assert_eq!((&place["kind"], &place["place"]), (&json!("s3"), &json!(format!("s3://{BUCKET}/stet/logs"))));
    assert!(place["failure"].is_string() && place["failing_since"].is_string(), "{place}");
    bucket.fails(Fails::Never);
    assert_eq!(push(&node).await.failures, Vec::<String>::new());
    let place = admin.get("/api/v1/status").await.json()["pushes"][0].clone();
    assert_eq!((&place["failure"], place["reached_at"].is_string()), (&json!(null), true));

    // The audit trail has the beginning and the end for each log, and nothing in between.
    let trail = admin.get("/api/v1/audit?action=sealing.push").await.expect_status(200);
    let outcomes: Vec<_> = trail.json()["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|event| event["object"].as_str().is_some_and(|object| object.contains("/strikes to s3://")))
        .map(|event| event["outcome"].clone())
        .collect();
    assert_eq!(outcomes, [json!("done"), json!("failed")]);
    // The secret is nowhere.
    for text in [&trail.text, &status.text, &everything_told(&node)] {
        assert!(!text.contains(SECRET_KEY));
    }
}

#[tokio::test]
async fn a_bucket_that_is_away_or_whose_secret_is_wrong_is_told() {
    let bucket = TestBucket::start().await;
    let target = bucket.target();
    let away = target.replace(&bucket.address, "http://127.0.0.1:9");
    let node = node(&[target, away]).await;
    edits(&node, 1).await;
    node.app.set_named_secret(&shell(), "bucket", "another").await.expect("sealed");
    let told = push(&node).await.failures.join("\n");
    assert!(told.contains("status 403, SignatureDoesNotMatch") && told.contains("cannot be reached"), "{told}");
    node.app.remove_named_secret(&shell(), "bucket").await.expect("removed");
    let told = push(&node).await.failures.join("\n");
    assert!(told.contains("`stet secrets set bucket`"), "{told}");
    assert!(node.app.remove_named_secret(&shell(), "bucket").await.is_err());
    assert!(node.app.set_named_secret(&shell(), "../x", "y").await.is_err());
}

#[tokio::test]
async fn a_witness_cosigns_what_continues_and_nothing_else() {
    let witness = TestWitness::start().await;
    let node = node(&[witness.target(), "{ folder = \"kept\" }".to_owned()]).await;
    edits(&node, 3).await;
    let told = push(&node).await.failures.join("\n");
    assert!(told.contains("does not know the log") && told.contains("stet editlog keys"), "{told}");
    witness.trust(&log_key(&node));
    assert_eq!(push(&node).await.failures, Vec::<String>::new());
    assert_eq!(witness.seen()[&origin(&node)], 3);
    // That the alarm is over is an entry of the audit trail, which is pushed as well.
    push(&node).await;
    let answers = witness.statuses().len();
    push(&node).await;
    assert_eq!(witness.statuses().len(), answers, "what is cosigned is not asked for again");
    edits(&node, 8).await;
    assert_eq!(push(&node).await.failures, Vec::<String>::new());
    assert_eq!(witness.seen()[&origin(&node)], 11);

    // The cosignature is kept with the checkpoint, goes to the folder, and is told by whoever verifies.
    push(&node).await;
    let kept = std::fs::read_to_string(node.folder().join("kept").join(origin(&node)).join("checkpoint")).expect("it");
    assert!(kept.contains("\u{2014} witness.test/w1 "), "{kept}");
    let report = verify(&node, Evidence::default()).await.report;
    assert!(report.is_whole(), "{report:?}");
    let cosigned: Vec<_> = report.cosigned.iter().map(|by| (by.witness.name(), by.size, by.time_s)).collect();
    assert_eq!(cosigned, [("witness.test/w1", 11, 1_800_000_011)]);
    let none = verify(&node, Evidence { witnesses: Some(Vec::new()), ..Evidence::default() }).await.report;
    assert_eq!(none.cosigned, []);

    // A bundle takes it along.
    let bundle = node.folder().join("log.tar");
    let (app, to) = (node.app.clone(), bundle.clone());
    let exported = tokio::task::spawn_blocking(move || {
        let out = std::fs::File::create(to).expect("a file");
        app.export_bundle(&shell(), PROJECT, "strikes", out, &mut |_, _| {})
    });
    assert_eq!(exported.await.expect("it ends").expect("exported"), 11);
    assert!(String::from_utf8_lossy(&std::fs::read(&bundle).expect("a file")).contains("\u{2014} witness.test/w1 "));
}

#[tokio::test]
async fn a_node_that_forgot_asks_a_witness_and_a_fork_is_found_out() {
    let witness = TestWitness::start().await;
    let first = node(&[witness.target()]).await;
    witness.trust(&log_key(&first));
    edits(&first, 5).await;
    assert_eq!(push(&first).await.failures, Vec::<String>::new());

    let key = std::fs::read_to_string(first.folder().join("sealing.key")).expect("the key");
    let config = format!("[sealing]\npush = [{}]", witness.target());
    let other = Setup::default().config(&config).file("sealing.key", &key).start().await;
    edits(&other, 2).await;
    let told = push(&other).await.failures.join("\n");
    assert!(
        told.contains("TRUNCATED: the log is sealed up to 2 events, and the witness witness.test/w1 has signed 5"),
        "{told}"
    );
    edits(&other, 6).await;
    let told = push(&other).await.failures.join("\n");
    assert!(told.contains("FORKED: the log does not continue the 5 events that the witness"), "{told}");
    assert_eq!(witness.seen()[&origin(&first)], 5);
    let statuses = witness.statuses();
    assert!(statuses.contains(&409) && statuses.contains(&422), "{statuses:?}");

    // The log that is right goes on from what the witness tells, though the node remembers nothing of its new key.
    witness.change_key();
    edits(&first, 1).await;
    let file = first.folder().join("stet.toml");
    let text = std::fs::read_to_string(&file).expect("stet.toml");
    let line = text.lines().position(|line| line.starts_with("push = ")).expect("the line");
    let changed: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(n, old)| if n == line { format!("push = [{}]", witness.target()) } else { old.to_owned() })
        .collect();
    std::fs::write(&file, changed.join("\n")).expect("written");
    let again = App::open(first.folder(), Clock::System).await.expect("the node opens");
    let pushed = tokio::task::spawn_blocking(move || again.push_checkpoints()).await.expect("pushed");
    assert_eq!(pushed.failures, Vec::<String>::new());
    assert_eq!(witness.seen()[&origin(&first)], 6);
}

#[tokio::test]
async fn what_a_witness_answers_is_not_believed_unless_it_is_signed_by_its_key() {
    let witness = TestWitness::start().await;
    let node = node(&[witness.target()]).await;
    edits(&node, 1).await;
    witness.trust(&log_key(&node));
    witness.lies(true);
    let told = push(&node).await.failures.join("\n");
    assert!(told.contains("a cosignature that is none"), "{told}");
    witness.lies(false);
    for (fails, expected) in [
        (Fails::Status(403), "does not trust the key of this node"),
        (Fails::Status(503), "cannot do its work (status 503)"),
        (Fails::Status(200), "answered with something else"),
        (Fails::Redirect, "sends elsewhere (status 308), and Stet does not follow"),
    ] {
        edits(&node, 1).await;
        witness.fails(fails);
        let told = push(&node).await.failures.join("\n");
        assert!(told.contains(expected), "{fails:?}: {told}");
    }
    witness.fails(Fails::Never);
    assert_eq!(push(&node).await.failures, Vec::<String>::new());
    assert!(verify(&node, Evidence::default()).await.report.is_whole());
}

#[tokio::test]
async fn the_page_of_edits_tells_how_the_log_stands_and_has_it_verified() {
    let bucket = TestBucket::start().await;
    let node = node(&[bucket.target(), "{ folder = \"kept\" }".to_owned()]).await;
    let (admin, designer, reader) =
        (node.signed_in(ADMIN).await, node.signed_in(DESIGNER).await, node.signed_in(READER).await);
    let seal = format!("{}/log/seal", crate::STRIKES);
    let verification = format!("{}/log/verification", crate::STRIKES);
    let before = admin.get(&seal).await.expect_status(200).json();
    assert_eq!((&before["events"], &before["root"], &before["verification"]), (&json!(0), &json!(null), &json!(null)));
    edits(&node, 3).await;
    bucket.fails(Fails::Status(500));
    push(&node).await;
    let told = admin.get(&seal).await.expect_status(200).json();
    assert_eq!((&told["events"], &told["sealed"], &told["may_verify"]), (&json!(3), &json!(3), &json!(true)));
    assert!(told["root"].as_str().is_some_and(|root| root.len() == 44) && told["sealed_up_to"].is_string(), "{told}");
    assert!(told["pushes"][0]["failure"].as_str().is_some_and(|why| why.contains("status 500")), "{told}");
    assert_eq!((&told["pushes"][1]["place"], &told["pushes"][1]["size"]), (&json!("kept"), &json!(3)));
    // A reader learns that it is pushed, and not where to.
    let told = reader.get(&seal).await.expect_status(200);
    assert!(
        !told.text.contains("kept") && !told.text.contains("s3://") && !told.text.contains("status 500"),
        "{}",
        told.text
    );
    assert_eq!(told.json()["pushes"][0]["place"], "a bucket");

    bucket.fails(Fails::Slow(700));
    designer.post(&verification, &json!({})).await.expect_status(202);
    // One at a time.
    admin.post(&verification, &json!({})).await.expect_status(409).problem();
    let ended = async || {
        for _ in 0..1_000 {
            let found = admin.get(&seal).await.json()["verification"].clone();
            if found["state"] != "running" {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("it does not end");
    };
    let found = ended().await;
    assert_eq!((&found["state"], &found["done"], &found["all"]), (&json!("whole"), &json!(3), &json!(3)), "{found}");
    assert_eq!(found["started_by"], DESIGNER);
    // And it can be stopped.
    designer.post(&verification, &json!({})).await.expect_status(202);
    designer.delete(&verification).await.expect_status(204);
    assert_eq!(ended().await["state"], "cancelled");
    let trail = admin.get("/api/v1/audit?action=editlog.verify").await.json();
    assert_eq!(trail["events"].as_array().map(Vec::len), Some(2));
    // A place that does not answer is told, and keeps nobody from verifying the rest.
    bucket.fails(Fails::Status(500));
    designer.post(&verification, &json!({})).await.expect_status(202);
    let found = ended().await;
    assert_eq!((&found["state"], &found["done"]), (&json!("incomplete"), &json!(3)), "{found}");
    assert!(found["told"][0].as_str().is_some_and(|line| line.starts_with("NOT COMPARED with 1 of")), "{found}");
    let trail = admin.get("/api/v1/audit?action=editlog.verify").await.json();
    let detail = trail["events"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("NOT COMPARED with s3://") && detail.contains("status 500"), "{detail}");
    // One that was asked for must be there.
    let evidence = Evidence { kept: Some(KeptAt::Bucket(format!("s3://{BUCKET}/stet/logs"))), ..Evidence::default() };
    assert!(verified(&node, evidence).await.is_err());
    // What somebody did to the evidence is told.
    bucket.fails(Fails::Never);
    let checkpoint = node.folder().join("kept").join(origin(&node)).join("checkpoint");
    let forged = std::fs::read_to_string(&checkpoint).expect("it").replace("/strikes\n", "/strokes\n");
    std::fs::write(&checkpoint, forged).expect("written");
    designer.post(&verification, &json!({})).await.expect_status(202);
    let found = ended().await;
    assert_eq!(found["state"], "not_whole");
    assert!(found["told"][0].as_str().is_some_and(|line| line.starts_with("FORGED")), "{found}");
}
