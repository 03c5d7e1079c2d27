//! Bundles sent from one node to another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use stet_app::{Clock, NewTarget, PushOptions};
use stet_domain::{Actor, DeployScopes, Login, ProjectKey};
use stet_server::Limits;
use stet_testkit::{ADMIN, DESIGNER, EncryptedEnd, READER, Setup, TestNode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PROJECT: &str = "/api/v1/projects/BIRDSTRIKES";

fn shell() -> Actor {
    Actor::shell(Login::new("shell").expect("a login"))
}

/// A node that takes the bundles of another one without approvals.
async fn production(design: &TestNode, setup: Setup) -> TestNode {
    let key = design.app.signing_key().expect("a key").public();
    let config =
        format!("[deploy.approval]\npersons_min = 0\n[[deploy.trusted]]\nname = \"Design\"\nkey = \"{key}\"\n");
    let node = setup.config(&config).start().await;
    std::fs::remove_dir_all(node.folder().join("projects/BIRDSTRIKES")).expect("no project yet");
    node
}

async fn token(node: &TestNode, scopes: DeployScopes) -> String {
    node.app.add_deploy_token(&shell(), "design-node", None, scopes).await.expect("a token")
}

fn target(node: &TestNode, address: &str, token: &str) -> NewTarget {
    NewTarget {
        name: "Production".to_owned(),
        address: address.to_owned(),
        node_id: node.app.node_id().to_string(),
        ca_file: None,
        token: token.to_owned(),
    }
}

async fn bundle(node: &TestNode) -> String {
    let designer = node.signed_in(DESIGNER).await;
    let made = designer.post(&format!("{PROJECT}/bundles"), &json!({ "notes": "first" })).await.expect_status(201);
    made.json()["digest"].as_str().expect("a digest").to_owned()
}

/// Begins a push in the browser and waits for its end.
async fn pushed(node: &TestNode, digest: &str, activate: bool) -> Value {
    let admin = node.signed_in(ADMIN).await;
    let body = json!({ "target": "Production", "activate": activate });
    let mut push = admin.post(&format!("/api/v1/bundles/{digest}/push"), &body).await.expect_status(202).json();
    while push["state"] == "running" {
        tokio::task::yield_now().await;
        let path = format!("/api/v1/pushes/{}", push["id"].as_str().expect("an id"));
        push = admin.get(&path).await.expect_status(200).json();
    }
    push
}

#[tokio::test]
async fn a_bundle_is_sent_once_and_sending_it_again_changes_nothing() {
    let design = TestNode::start().await;
    let node = production(&design, Setup::default()).await;
    let digest = bundle(&design).await;
    let secret = token(&node, DeployScopes::default()).await;
    let admin = design.signed_in(ADMIN).await;
    let new = json!({
        "name": "Production", "address": format!("{}/", node.base), "node_id": node.app.node_id(), "token": secret,
    });
    admin.post("/api/v1/targets", &new).await.expect_status(201);
    admin.post("/api/v1/targets", &new).await.expect_status(409).problem();
    let listed = admin.get("/api/v1/targets").await.expect_status(200);
    assert!(!listed.text.contains(&secret) && listed.json()["targets"][0]["address"] == node.base, "{}", listed.text);
    let tested = admin.post("/api/v1/targets/Production/test", &json!({})).await.expect_status(200).json();
    assert_eq!((&tested["works"], &tested["node"]["name"]), (&json!(true), &json!("Test node")), "{tested}");

    let push = pushed(&design, &digest, false).await;
    assert_eq!((&push["state"], &push["report"]["was_there"]), (&json!("done"), &json!(false)), "{push}");
    assert_eq!(push["bytes_sent"], push["bytes"]);
    let push = pushed(&design, &digest, false).await;
    assert_eq!((&push["state"], &push["report"]["was_there"]), (&json!("done"), &json!(true)), "{push}");
    let there = node.signed_in(ADMIN).await.get(&format!("{PROJECT}/bundles")).await.expect_status(200).json();
    assert_eq!(there["bundles"].as_array().map(Vec::len), Some(1), "{there}");
    assert_eq!(there["bundles"][0]["received_by"], "design-node@deploy-token");
    let events = admin.get(&format!("{PROJECT}/deployment")).await.expect_status(200).json();
    assert_eq!(events["events"][0]["kind"], "pushed", "{events}");

    // A token for uploads does not activate, and the answer is what the other node says.
    let push = pushed(&design, &digest, true).await;
    let error = push["error"].as_str().expect("a reason");
    assert!(error.starts_with("Test node says: ") && error.contains("may not activate"), "{error}");
    node.app.revoke_deploy_token(&shell(), "design-node").await.expect("revoked");
    let push = pushed(&design, &digest, false).await;
    assert!(push["error"].as_str().is_some_and(|error| error.contains("was revoked")), "{push}");
    // Who may not send is not told of what is sent.
    let path = format!("/api/v1/pushes/{}", push["id"].as_str().expect("an id"));
    design.signed_in(READER).await.get(&path).await.expect_status(404).problem();
    let body = json!({ "target": "Production" });
    design.signed_in(READER).await.post(&format!("/api/v1/bundles/{digest}/push"), &body).await.expect_status(404);
    design.signed_in(DESIGNER).await.post("/api/v1/targets", &new).await.expect_status(403).problem();
    admin.delete("/api/v1/targets/Production").await.expect_status(204);
    admin.post(&format!("/api/v1/bundles/{digest}/push"), &body).await.expect_status(404).problem();
}

#[tokio::test]
async fn a_token_opens_its_projects_and_what_it_was_given_for_alone() {
    let design = TestNode::start().await;
    let node = production(&design, Setup::default()).await;
    let digest = bundle(&design).await;
    let other = DeployScopes { projects: [ProjectKey::new("OTHER").expect("a key")].into(), ..DeployScopes::default() };
    let secret = token(&node, other).await;
    design.app.add_target(&shell(), target(&node, &node.base, &secret)).await.expect("a target");
    let push = pushed(&design, &digest, false).await;
    let error = push["error"].as_str().expect("a reason");
    assert!(error.contains("deploy token is not for the project `BIRDSTRIKES`"), "{error}");
    let program = node.visitor().with_token(&secret);
    program.get(&format!("{PROJECT}/deployment")).await.expect_status(404).problem();
    node.app.revoke_deploy_token(&shell(), "design-node").await.expect("revoked");
    design.app.remove_target(&shell(), "Production").await.expect("removed");

    let mine = DeployScopes {
        projects: [ProjectKey::new("BIRDSTRIKES").expect("a key")].into(),
        activate: true,
        ..DeployScopes::default()
    };
    let secret = token(&node, mine).await;
    design.app.add_target(&shell(), target(&node, &node.base, &secret)).await.expect("a target");
    let push = pushed(&design, &digest, true).await;
    assert_eq!((&push["state"], &push["report"]["activated"]), (&json!("done"), &json!(true)), "{push}");
    let program = node.visitor().with_token(&secret);
    let state = program.get(&format!("{PROJECT}/deployment")).await.expect_status(200).json();
    assert_eq!(
        (&state["deployed"]["digest"], &state["deployed"]["by"]),
        (&json!(digest), &json!("design-node@deploy-token"))
    );
    // It brings no approvals, goes nowhere back, and reads nothing else.
    let statement =
        json!({ "payloadType": "application/vnd.stet.bundle-approval+json", "payload": "", "signatures": [] });
    let path = format!("/api/v1/bundles/{digest}/approvals");
    program.post(&path, &statement).await.expect_status(403).problem();
    program.post(&format!("{PROJECT}/rollback"), &json!({})).await.expect_status(401).problem();
    for path in ["/api/v1/projects", "/api/v1/session", "/api/v1/targets", "/api/v1/projects/BIRDSTRIKES/flow"] {
        program.get(path).await.expect_status(401).problem();
    }
}

#[tokio::test]
async fn another_node_at_the_address_gets_nothing_and_clocks_that_disagree_are_told() {
    let design = TestNode::start().await;
    let ahead = Clock::System.now().micros() + 200_000_000;
    let clock = Clock::Manual(AtomicI64::new(ahead));
    let node = production(&design, Setup::default().clock(clock)).await;
    let digest = bundle(&design).await;
    let secret = token(&node, DeployScopes::default()).await;
    let wrong = NewTarget { node_id: design.app.node_id().to_string(), ..target(&node, &node.base, &secret) };
    design.app.add_target(&shell(), wrong).await.expect("a target");
    let push = pushed(&design, &digest, false).await;
    assert!(push["error"].as_str().is_some_and(|error| error.contains("nothing was sent")), "{push}");
    assert_eq!(push["bytes_sent"], 0);
    assert!(node.app.bundle(&shell(), &digest).await.is_err());
    design.app.remove_target(&shell(), "Production").await.expect("removed");
    design.app.add_target(&shell(), target(&node, &node.base, &secret)).await.expect("a target");
    let push = pushed(&design, &digest, false).await;
    let warning = push["report"]["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("the clock of Test node is 3 min") && warning.contains("ahead of"), "{warning}");
}

/// Hands bytes on to `to`; the first connections that send more than `cut_at` bytes break there, `cuts` times.
async fn breaking_line(to: SocketAddr, cut_at: usize, cuts: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    let left = Arc::new(AtomicUsize::new(cuts));
    let counted = left.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut server, left) = (TcpStream::connect(to).await.expect("the node"), counted.clone());
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.split();
                let there = async {
                    let (mut buffer, mut sent) = (vec![0; 8 * 1024], 0);
                    loop {
                        let read = from_client.read(&mut buffer).await.unwrap_or(0);
                        sent += read;
                        let cut = sent > cut_at
                            && left
                                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                                .is_ok();
                        if read == 0 || cut || to_server.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                };
                let back = async { _ = tokio::io::copy(&mut from_server, &mut to_client).await };
                tokio::select! { () = there => (), () = back => () }
            });
        }
    });
    (address, left)
}

#[tokio::test]
async fn a_line_that_breaks_in_the_middle_leaves_nothing_and_the_next_attempt_arrives() {
    let design = TestNode::start().await;
    let node = production(&design, Setup::default()).await;
    let digest = bundle(&design).await;
    let secret = token(&node, DeployScopes::default()).await;
    let (address, left) = breaking_line(node.host().parse().expect("an address"), 4_000, 1).await;
    design.app.add_target(&shell(), target(&node, &address, &secret)).await.expect("a target");
    let report = design.app.push_bundle(&shell(), &digest, "Production", &PushOptions::default(), |_| ()).await;
    assert!(!report.expect("it arrives").was_there);
    assert_eq!(left.load(Ordering::SeqCst), 0, "the line broke once");
    assert_eq!(node.app.bundle(&shell(), &digest).await.expect("it is there").record.digest, digest);
    let arriving = std::fs::read_dir(node.folder().join("deploying/.incoming")).map(|entries| entries.count());
    assert_eq!(arriving.unwrap_or(0), 0, "nothing is left of what broke off");

    // One that breaks every time ends with a reason, and with nothing half on the other side.
    design.app.remove_target(&shell(), "Production").await.expect("removed");
    let (address, _) = breaking_line(node.host().parse().expect("an address"), 4_000, usize::MAX).await;
    design.app.add_target(&shell(), target(&node, &address, &secret)).await.expect("a target");
    design.write("projects/BIRDSTRIKES/project.toml", "name = \"Birds\"\n");
    let designer = design.signed_in(ADMIN).await;
    let made =
        designer.post(&format!("{PROJECT}/bundles"), &json!({ "notes": "next" })).await.expect_status(201).json();
    let next = made["digest"].as_str().expect("a digest");
    let failed = design.app.push_bundle(&shell(), next, "Production", &PushOptions::default(), |_| ()).await;
    assert!(failed.expect_err("it never arrives").to_string().contains("Nothing of it is left there"));
    assert!(node.app.bundle(&shell(), next).await.is_err());
}

/// A server with limits of its own over the same node.
async fn served_with(node: &TestNode, limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let routes = stet_server::router_with(node.app.clone(), limits);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test]
async fn a_slow_upload_may_take_longer_than_a_request_and_one_that_stands_still_may_not() {
    let design = TestNode::start().await;
    let node = production(&design, Setup::default()).await;
    let digest = bundle(&design).await;
    let archive =
        std::fs::read(design.app.bundle(&shell(), &digest).await.expect("a bundle").path).expect("the archive");
    let secret = token(&node, DeployScopes::default()).await;
    let limits = Limits {
        request_timeout: Duration::from_millis(400),
        upload_idle_timeout: Duration::from_millis(2_000),
        ..Limits::default()
    };
    let address = served_with(&node, limits).await;
    let head = format!(
        "POST /api/v1/bundles HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {secret}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        archive.len()
    );
    let upload = async |parts: usize, stop_at: usize| {
        let mut line = TcpStream::connect(address).await.expect("a line");
        line.write_all(head.as_bytes()).await.expect("the head is sent");
        for part in archive.chunks(archive.len().div_ceil(parts)).take(stop_at) {
            line.write_all(part).await.expect("a part is sent");
            // What takes its time is the line, not the test: parts are 100 ms apart.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut answer = String::new();
        line.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let answer = upload(10, 10).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let answer = upload(10, 3).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("too long to arrive"), "{answer}");
}

#[tokio::test]
async fn an_encrypted_line_is_used_when_its_certificate_is_signed_by_whom_the_target_names() {
    let design = TestNode::start().await;
    let node = production(&design, Setup::default()).await;
    let digest = bundle(&design).await;
    let secret = token(&node, DeployScopes::default()).await;
    let end = EncryptedEnd::start(node.host().parse().expect("an address")).await;
    std::fs::copy(&end.authority, design.folder().join("authority.pem")).expect("a copy");
    design.write("empty.pem", "no certificate\n");
    let by_number = format!("https://127.0.0.1:{}", end.port);
    let admin = design.signed_in(ADMIN).await;
    for (address, ca_file, expected) in [
        (end.address(), json!(null), "signed by an authority that this node does not trust"),
        (by_number, json!("authority.pem"), "its certificate is for another name"),
        (end.address(), json!("missing.pem"), "cannot read the certificates"),
        (end.address(), json!("empty.pem"), "there is none in it"),
    ] {
        let new = json!({
            "name": "Production", "address": address, "node_id": node.app.node_id(), "token": secret, "ca_file": ca_file,
        });
        admin.post("/api/v1/targets", &new).await.expect_status(201);
        let push = pushed(&design, &digest, false).await;
        assert!(push["error"].as_str().is_some_and(|error| error.contains(expected)), "{expected}: {push}");
        admin.delete("/api/v1/targets/Production").await.expect_status(204);
    }
    assert!(node.app.bundle(&shell(), &digest).await.is_err(), "nothing was sent");

    let named = NewTarget { ca_file: Some("authority.pem".to_owned()), ..target(&node, &end.address(), &secret) };
    design.app.add_target(&shell(), named).await.expect("a target");
    let push = pushed(&design, &digest, false).await;
    assert_eq!((&push["state"], &push["report"]["was_there"]), (&json!("done"), &json!(false)), "{push}");
    assert!(node.app.bundle(&shell(), &digest).await.is_ok());
}

#[tokio::test]
async fn a_deploy_token_is_made_and_revoked_in_the_browser_and_told_once() {
    let node = TestNode::start().await;
    let admin = node.signed_in(ADMIN).await;
    let new = json!({ "name": "design-node", "days": 30, "projects": ["BIRDSTRIKES"], "may_activate": true });
    let made = admin.post("/api/v1/deploy-tokens", &new).await.expect_status(201).json();
    let secret = made["token"].as_str().expect("the secret").to_owned();
    assert_eq!(made["node_id"], json!(node.app.node_id()));
    admin.post("/api/v1/deploy-tokens", &new).await.expect_status(409).problem();
    for wrong in [
        json!({ "name": "two words" }),
        json!({ "name": "" }),
        json!({ "name": "x", "days": 0 }),
        json!({ "name": "x", "projects": ["no key"] }),
    ] {
        admin.post("/api/v1/deploy-tokens", &wrong).await.expect_status(422).problem();
    }
    let listed = admin.get("/api/v1/deploy-tokens").await.expect_status(200);
    assert!(!listed.text.contains(&secret), "{}", listed.text);
    let token = listed.json()["tokens"][0].clone();
    assert_eq!((&token["state"], &token["projects"]), (&json!("active"), &json!(["BIRDSTRIKES"])), "{token}");
    assert_eq!((&token["may_activate"], &token["may_bring_approvals"]), (&json!(true), &json!(false)), "{token}");

    let program = node.visitor().with_token(&secret);
    program.get("/api/v1/node").await.expect_status(200);
    // It makes no tokens, and lists none.
    program.get("/api/v1/deploy-tokens").await.expect_status(401).problem();
    admin.delete("/api/v1/deploy-tokens/design-node").await.expect_status(204);
    program.get("/api/v1/node").await.expect_status(401).problem();
    admin.delete("/api/v1/deploy-tokens/nobody").await.expect_status(404).problem();
    let listed = admin.get("/api/v1/deploy-tokens").await.expect_status(200).json();
    assert_eq!(listed["tokens"][0]["state"], "revoked", "{listed}");
}
