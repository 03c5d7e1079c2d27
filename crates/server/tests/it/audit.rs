//! The node's audit trail, and one's own account.

use serde_json::{Value, json};
use stet_testkit::{ADMIN, PASSWORD, READER, Setup, TestNode};

async fn trail(client: &stet_testkit::Client, query: &str) -> Vec<Value> {
    let page = client.get(&format!("/api/v1/audit?{query}")).await.expect_status(200).json();
    page["events"].as_array().expect("events").clone()
}

#[tokio::test]
async fn who_did_what_is_in_the_trail_with_address_and_outcome() {
    let node = TestNode::start().await;
    node.visitor().sign_in(READER, "wrong").await.expect_status(401);
    let admin = node.signed_in(ADMIN).await;
    let user = json!({ "login": "nina", "profile": "reader", "password": "long enough" });
    admin.post("/api/v1/users", &user).await.expect_status(201);
    admin.post("/api/v1/groups", &json!({ "name": "team" })).await.expect_status(201);
    admin.send(admin.request("PUT", "/api/v1/groups/team/members/nina")).await.expect_status(204);
    let change = admin.request("PATCH", "/api/v1/users/nina").json(&json!({ "profile": "designer", "disabled": true }));
    admin.send(change).await.expect_status(204);
    node.visitor().sign_in("nina", "long enough").await.expect_status(401);
    let build = json!({ "dataset": "strikes_edited", "mode": "only" });
    admin.post("/api/v1/projects/BIRDSTRIKES/builds", &build).await.expect_status(202);

    let events = trail(&admin, "").await;
    let told: Vec<(&str, &str, &str)> = events
        .iter()
        .rev()
        .map(|event| {
            (event["user"].as_str().unwrap(), event["action"].as_str().unwrap(), event["outcome"].as_str().unwrap())
        })
        .filter(|(user, ..)| *user != "shell")
        .collect();
    assert_eq!(
        told,
        [
            (READER, "session.sign_in", "refused"),
            (ADMIN, "session.sign_in", "done"),
            (ADMIN, "user.add", "done"),
            (ADMIN, "group.add", "done"),
            (ADMIN, "group.add_user", "done"),
            (ADMIN, "user.profile", "done"),
            (ADMIN, "user.disable", "done"),
            ("nina", "session.sign_in", "refused"),
            (ADMIN, "build.start", "done"),
        ]
    );
    let added = trail(&admin, "action=user.add&user=ADA").await;
    assert_eq!(added.len(), 1);
    assert_eq!((&added[0]["object"], &added[0]["address"]), (&json!("user nina"), &json!("127.0.0.1")));
    assert_eq!(trail(&admin, "outcome=refused").await.len(), 2);
    assert_eq!(trail(&admin, "text=STRIKES_EDITED&action=build").await.len(), 1);
    assert!(trail(&admin, "to=2001-01-01T00:00:00Z").await.is_empty());

    // A page at a time.
    let page = admin.get("/api/v1/audit?limit=2").await.expect_status(200).json();
    let next = trail(&admin, &format!("limit=2&before={}", page["before"])).await;
    assert_eq!(next[0]["id"].as_i64().unwrap() + 1, page["events"][1]["id"].as_i64().unwrap());
    admin.get("/api/v1/audit?from=yesterday").await.expect_status(422).problem();

    let found = node.app.verify_audit(&shell(), Vec::new()).await.expect("verified");
    assert_eq!((found.problems, found.sealed), (Vec::new(), found.entries));
}

fn shell() -> stet_domain::Actor {
    stet_domain::Actor::shell(stet_domain::Login::new("shell").expect("a login"))
}

#[tokio::test]
async fn a_download_of_the_trail_runs_in_no_spreadsheet() {
    let node = TestNode::start().await;
    for login in ["@SUM", "-1+1"] {
        node.visitor().sign_in(login, "wrong").await.expect_status(401);
    }
    let admin = node.signed_in(ADMIN).await;
    let answer = admin.get("/api/v1/audit/export?outcome=refused").await.expect_status(200);
    assert!(answer.text.starts_with("id,at,user,action,object,address,outcome,detail\r\n"), "{}", answer.text);
    for defused in [",'@sum,", ",'-1+1,"] {
        assert!(answer.text.contains(defused), "{}", answer.text);
    }
    assert_eq!(trail(&admin, "action=audit.export").await.len(), 1);
}

#[tokio::test]
async fn the_trail_is_shipped_to_a_file_and_goes_on_where_it_ended() {
    let node = Setup::default().config("[audit]\nfile = \"audit.jsonl\"").start().await;
    let file = node.folder().join("audit.jsonl");
    let admin = node.signed_in(ADMIN).await;
    let shipped = async |wanted: &str| {
        for _ in 0..500 {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.contains(wanted) {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{wanted} was not shipped");
    };
    shipped("session.sign_in").await;
    admin.post("/api/v1/groups", &json!({ "name": "team" })).await.expect_status(201);
    let text = shipped("group.add").await;
    let ids: Vec<i64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON")["id"].as_i64().expect("an id"))
        .collect();
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>());
}

/// The parts of a message of RFC 5424, and the entry in it.
fn parsed(message: &str) -> (u16, String, Value) {
    let (priority, rest) = message.strip_prefix('<').and_then(|rest| rest.split_once(">1 ")).expect("a priority");
    let parts: Vec<&str> = rest.splitn(7, ' ').collect();
    let [moment, _, "stet", process, kind, "-", text] = parts[..] else { panic!("{message}") };
    assert!(moment.ends_with('Z') && process.parse::<u32>().is_ok(), "{message}");
    let entry: Value = serde_json::from_str(text).expect("an entry");
    assert_eq!((entry["at"].as_str(), entry["action"].as_str()), (Some(moment), Some(kind)));
    (priority.parse().expect("a number"), kind.to_owned(), entry)
}

/// A receiver of syslog over TCP, at a port that stays its own: the messages of all connections, by their lengths.
async fn receive(listener: tokio::net::TcpListener, into: std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::AsyncReadExt;
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("all of it");
        let mut rest = std::str::from_utf8(&bytes).expect("UTF-8");
        while let Some((length, after)) = rest.split_once(' ') {
            let (message, after) = after.split_at(length.parse().expect("a length"));
            into.lock().expect("the messages").push(message.to_owned());
            rest = after;
        }
    }
}

/// Waits until the messages have what is looked for.
async fn until(what: &str, mut there: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if there() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn the_trail_goes_to_syslog_over_tcp_and_nothing_is_lost_while_the_receiver_is_gone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let messages = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let receiver = tokio::spawn(receive(listener, messages.clone()));
    let node = Setup::default().config(&format!("[audit]\nsyslog = \"tcp://{address}\"")).start().await;
    let has = |kind: &str| messages.lock().expect("the messages").iter().any(|text| parsed(text).1 == kind);
    node.visitor().sign_in(READER, "wrong").await.expect_status(401);
    let admin = node.signed_in(ADMIN).await;
    until("the sign-in is not shipped", || has("session.sign_in")).await;

    // The receiver goes away: the page says so, and entries wait.
    receiver.abort();
    let _ = receiver.await;
    admin.post("/api/v1/groups", &json!({ "name": "team" })).await.expect_status(201);
    let mut told = json!(null);
    for _ in 0..500 {
        told = admin.get("/api/v1/status").await.expect_status(200).json()["audit"][0].clone();
        if told["failure"].is_string() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(told["failure"].is_string() && told["failing_since"].is_string(), "{told}");
    assert!(told["waiting"].as_u64().is_some_and(|waiting| waiting > 0), "{told}");
    assert_eq!((&told["to"], &told["late"]), (&json!(format!("tcp://{address}")), &json!(false)));

    // It comes back, and has all entries in order, each once.
    let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
    let receiver = tokio::spawn(receive(listener, messages.clone()));
    until("the group is not shipped", || has("group.add")).await;
    let ids: Vec<i64> = {
        let messages = messages.lock().expect("the messages");
        for message in messages.iter() {
            let (priority, _, entry) = parsed(message);
            let expected = if entry["outcome"] == "refused" { 13 * 8 + 4 } else { 13 * 8 + 6 };
            assert_eq!(priority, expected, "{message}");
        }
        messages.iter().map(|message| parsed(message).2["id"].as_i64().expect("an id")).collect()
    };
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>());
    let mut healthy = false;
    for _ in 0..500 {
        let told = admin.get("/api/v1/status").await.json()["audit"][0].clone();
        healthy = told["failure"].is_null() && told["waiting"] == 0;
        if healthy {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(healthy);
    let kept = std::fs::read_to_string(node.folder().join("audit.shipped.json")).expect("the position");
    assert!(kept.contains(&format!("tcp://{address}")), "{kept}");
    receiver.abort();
}

#[cfg(unix)]
#[tokio::test]
async fn the_trail_goes_to_a_socket_of_the_machine_and_by_datagrams() {
    let folder = std::env::temp_dir().join(format!("stet-log-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    let unix = tokio::net::UnixDatagram::bind(&folder).expect("a socket");
    let node = Setup::default().config(&format!("[audit]\nsyslog = \"{}\"", folder.display())).start().await;
    let mut buffer = vec![0; 65_536];
    let timeout = std::time::Duration::from_secs(20);
    let length = tokio::time::timeout(timeout, unix.recv(&mut buffer)).await.expect("in time").expect("a message");
    assert_eq!(parsed(std::str::from_utf8(&buffer[..length]).expect("UTF-8")).2["id"], 1);
    drop(node);
    let _ = std::fs::remove_file(&folder);

    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = udp.local_addr().expect("its address");
    let _node = Setup::default().config(&format!("[audit]\nsyslog = \"udp://{address}\"")).start().await;
    let length = tokio::time::timeout(timeout, udp.recv(&mut buffer)).await.expect("in time").expect("a message");
    assert_eq!(parsed(std::str::from_utf8(&buffer[..length]).expect("UTF-8")).2["id"], 1);
}

#[tokio::test]
async fn somebody_who_guesses_locks_nobody_else_out() {
    let node = TestNode::start().await;
    let rosa = node.signed_in(READER).await;
    // From the same address, until it is refused.
    let mut refused = 0;
    for _ in 0..12 {
        refused = node.visitor().sign_in(READER, "wrong").await.status;
    }
    assert_eq!(refused, 429);
    node.visitor().sign_in(READER, PASSWORD).await.expect_status(429);
    // The device on which she signed in before is known, and counted by itself.
    rosa.sign_in(READER, PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_not_this_one() {
    let node = TestNode::start().await;
    let (here, there) = (node.signed_in(READER).await, node.signed_in(READER).await);
    let change = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    here.post("/api/v1/account/password", &change("wrong", "a longer one")).await.expect_status(422).problem();
    here.post("/api/v1/account/password", &change(PASSWORD, "short")).await.expect_status(422);
    here.post("/api/v1/account/password", &change(PASSWORD, "a longer one")).await.expect_status(204);
    here.get("/api/v1/session").await.expect_status(200);
    there.get("/api/v1/session").await.expect_status(401);
    node.visitor().sign_in(READER, PASSWORD).await.expect_status(401);
    node.visitor().sign_in(READER, "a longer one").await.expect_status(200);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_user_alone() {
    let node = TestNode::start().await;
    let (here, there, other) =
        (node.signed_in(READER).await, node.signed_in(READER).await, node.signed_in(ADMIN).await);
    let sessions = here.get("/api/v1/account/sessions").await.expect_status(200).json()["sessions"].clone();
    let sessions = sessions.as_array().expect("sessions");
    assert_eq!(sessions.len(), 2);
    let second = sessions.iter().find(|session| session["current"] == false).expect("the other one");
    let path = format!("/api/v1/account/sessions/{}", second["id"].as_str().expect("an id"));
    other.delete(&path).await.expect_status(404);
    here.delete(&path).await.expect_status(204);
    there.get("/api/v1/session").await.expect_status(401);
    here.get("/api/v1/session").await.expect_status(200);
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say_and_no_more() {
    let node = TestNode::start().await;
    let admin = node.signed_in(ADMIN).await;
    let token = async |name: &str, scopes: &[&str]| {
        let answer = admin.post("/api/v1/account/tokens", &json!({ "name": name, "scopes": scopes })).await;
        let secret = answer.expect_status(201).json()["token"].as_str().expect("a secret").to_owned();
        node.visitor().with_token(&secret)
    };
    let (read, edit) = (token("read", &["read"]).await, token("edit", &["edit"]).await);
    let build = token("build", &["build"]).await;
    let one_edit = crate::one(crate::update("1", "size", json!("Small"), json!(null)));
    let edits = format!("{}/edits", crate::STRIKES);
    let start = json!({ "dataset": "strikes_editlog_pivoted", "mode": "only" });
    for (client, expected) in
        [(&read, [200, 403, 403, 403]), (&edit, [200, 200, 403, 403]), (&build, [200, 403, 202, 403])]
    {
        let found = [
            client.get(crate::STRIKES).await.status,
            client.post(&edits, &one_edit).await.status,
            client.post("/api/v1/projects/BIRDSTRIKES/builds", &start).await.status,
            client.get("/api/v1/users").await.status,
        ];
        assert_eq!(found, expected);
        // A limited token makes no other one, and no password.
        client.post("/api/v1/account/tokens", &json!({ "name": "more" })).await.expect_status(403);
        client.get("/api/v1/account/sessions").await.expect_status(403);
    }
    admin.post("/api/v1/account/tokens", &json!({ "name": "none", "scopes": [] })).await.expect_status(422);
}

#[tokio::test]
async fn bundles_deployments_scenarios_reloads_and_exports_are_in_the_trail() {
    let node = TestNode::start().await;
    let admin = node.signed_in(ADMIN).await;
    let project = format!("/api/v1/projects/{}", stet_testkit::PROJECT);
    admin.get(crate::STRIKES).await.expect_status(200);
    let bundle = admin.post(&format!("{project}/bundles"), &json!({})).await.expect_status(201).json();
    let digest = bundle["digest"].as_str().expect("a digest");
    admin.get(&format!("/api/v1/bundles/{digest}/file")).await.expect_status(200);
    // The node does not trust its own bundles: what is refused is told as well.
    admin.post(&format!("/api/v1/bundles/{digest}/activate"), &json!({})).await.expect_status(422);
    let run =
        admin.post(&format!("{project}/scenarios/commit_edits_strikes/runs"), &json!({})).await.expect_status(202);
    let run = run.json()["id"].as_str().expect("an id").parse().expect("a UUID");
    node.app.wait_for_run(&shell(), stet_testkit::PROJECT, run).await.expect("it ends");
    admin.post(&format!("{}/reload", crate::STRIKES), &json!({})).await.expect_status(202);
    admin.get("/webapps/BIRDSTRIKES/correct-strikes/read-all-edits").await.expect_status(200);

    for (action, user, object, outcome) in [
        ("editlog.init", "system", "dataset BIRDSTRIKES.strikes_editlog", "done"),
        ("bundle.create", ADMIN, "project BIRDSTRIKES, bundle ", "done"),
        ("bundle.export", ADMIN, "project BIRDSTRIKES, bundle ", "done"),
        ("deploy.refuse", ADMIN, "project BIRDSTRIKES, bundle ", "refused"),
        ("scenario.start", ADMIN, "scenario BIRDSTRIKES.commit_edits_strikes", "done"),
        ("build.end", ADMIN, "dataset BIRDSTRIKES.", "done"),
        ("scenario.end", ADMIN, "scenario BIRDSTRIKES.commit_edits_strikes", "done"),
        ("original.reload", ADMIN, "dataset BIRDSTRIKES.strikes", "done"),
        ("dataset.export", ADMIN, "dataset BIRDSTRIKES.strikes_editlog", "done"),
    ] {
        let events = trail(&admin, &format!("action={action}")).await;
        let event = events.first().unwrap_or_else(|| panic!("no {action}"));
        assert_eq!((&event["user"], &event["outcome"]), (&json!(user), &json!(outcome)), "{event}");
        assert!(event["object"].as_str().is_some_and(|told| told.starts_with(object)), "{event}");
    }
    let found = node.app.verify_audit(&shell(), Vec::new()).await.expect("verified");
    assert_eq!((found.problems, found.sealed), (Vec::new(), found.entries));
}

#[tokio::test]
async fn a_trail_that_does_not_continue_a_checkpoint_kept_elsewhere_is_found_out() {
    let node = Setup::default().config("[sealing]\npush = [{ folder = \"kept\" }]").start().await;
    node.visitor().sign_in(READER, "wrong").await.expect_status(401);
    let push = async |node: &TestNode| {
        let app = node.app.clone();
        tokio::task::spawn_blocking(move || app.push_checkpoints()).await.expect("pushed")
    };
    assert_eq!(push(&node).await.failures, Vec::<String>::new());
    node.signed_in(ADMIN).await;
    let verify = async |node: &TestNode| node.app.verify_audit(&shell(), Vec::new()).await.expect("verified");
    let found = verify(&node).await;
    assert_eq!((found.problems, found.outside.len()), (Vec::new(), 1));

    // Whoever has the key makes another history, in which the refused sign-in never was.
    let key = std::fs::read_to_string(node.folder().join("sealing.key")).expect("the key");
    let kept = format!("[sealing]\npush = [{{ folder = \"{}\" }}]", node.folder().join("kept").display());
    let other = Setup::default().config(&kept).file("sealing.key", &key).start().await;
    assert!(verify(&other).await.problems.join("\n").contains("TRUNCATED"));
    for _ in 0..3 {
        other.signed_in(ADMIN).await;
    }
    let problems = verify(&other).await.problems.join("\n");
    assert!(problems.contains("FORKED") && problems.contains("kept"), "{problems}");
    let pushed = push(&other).await;
    assert!(pushed.failures.iter().any(|failure| failure.contains("FORKED")), "{pushed:?}");
}

#[tokio::test]
async fn what_cannot_be_a_login_is_not_written_into_the_trail() {
    let node = TestNode::start().await;
    for typed in [
        "my secret: correct horse!",
        "eve\r\n1,2026-01-01,ada,user.add",
        "e\u{1b}[31mve",
        "e\u{202e}ve",
        &"x".repeat(500),
    ] {
        node.visitor().sign_in(typed, "wrong").await.expect_status(401);
    }
    node.visitor().sign_in("nobody.here", "wrong").await.expect_status(401);
    let admin = node.signed_in(ADMIN).await;
    let trail = admin.get("/api/v1/audit?action=session.sign_in").await.expect_status(200).json();
    let users: Vec<&str> =
        trail["events"].as_array().expect("entries").iter().filter_map(|event| event["user"].as_str()).collect();
    assert_eq!(users, [ADMIN, "nobody.here", "(no login)", "(no login)", "(no login)", "(no login)", "(no login)"]);
}

#[tokio::test]
async fn a_token_has_a_name_that_is_seen_and_nobody_has_too_many() {
    let node = TestNode::start().await;
    let reader = node.signed_in(READER).await;
    let add = async |name: &str| {
        let token = json!({ "name": name, "scopes": ["read"] });
        reader.post("/api/v1/account/tokens", &token).await
    };
    for name in ["", "  ", "two\nlines", "red \u{1b}[31m", "turned \u{202e}", "\u{200b}", &"x".repeat(101)] {
        let problem = add(name).await.expect_status(422).problem();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("what the token is for")), "{problem}");
    }
    for number in 0..100 {
        add(&format!("token {number}")).await.expect_status(201);
    }
    add("one more").await.expect_status(409).problem();
    reader.delete("/api/v1/account/tokens/token%201").await.expect_status(204);
    add("one more").await.expect_status(201);
}
