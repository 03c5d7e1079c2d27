//! Who gets in.

use serde_json::json;
use stet_testkit::{ADMIN, PASSWORD, READER, Setup, TestNode};

use crate::{STRIKES, routes};

/// What can be reached without signing in, and nothing else.
const PUBLIC: [(&str, &str); 6] = [
    ("GET", "/healthz"),
    ("GET", "/openapi.json"),
    ("POST", "/api/v1/session"),
    ("GET", "/api/v1/session/options"),
    ("GET", "/api/v1/session/provider"),
    ("GET", "/api/v1/session/provider/callback"),
];

/// A path with names of things that are there.
fn filled(path: &str) -> String {
    path.replace("{project}", "BIRDSTRIKES")
        .replace("{webapp}", "correct-strikes")
        .replace("{dataset}", "strikes")
        .replace("{column}", "diverted_to")
        .replace("{linked_dataset}", "airports")
        .replace("{scenario}", "commit_edits_strikes")
        .replace("{digest}", "0123456789abcdef")
        .replace("{id}", "018f0000-0000-7000-8000-000000000000")
}

#[tokio::test]
async fn nothing_is_reachable_without_signing_in() {
    let node = TestNode::start().await;
    let visitor = node.visitor();
    let with_wrong_token = node.visitor().with_token("stet_0000");
    for (method, path) in routes(&visitor).await {
        if PUBLIC.contains(&(method.as_str(), path.as_str())) {
            continue;
        }
        for client in [&visitor, &with_wrong_token] {
            let answer = client.send(client.request(&method, &filled(&path)).json(&json!({}))).await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text);
            answer.problem();
        }
    }
}

#[tokio::test]
async fn a_session_begins_with_the_right_password_and_ends_for_good() {
    let node = TestNode::start().await;
    let client = node.visitor();
    client.get("/api/v1/session").await.expect_status(401);
    for (login, password) in [(READER, "wrong"), ("nobody", PASSWORD), ("", ""), ("a\u{0}b", PASSWORD)] {
        let answer = client.sign_in(login, password).await.expect_status(401);
        assert_eq!(answer.problem()["detail"], "This login and password do not match");
        assert_eq!(answer.header("set-cookie"), None);
    }

    let answer = client.sign_in(&format!(" {} ", READER.to_uppercase()), PASSWORD).await.expect_status(200);
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    for part in ["stet_session=", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    assert_eq!(answer.json()["user"], json!({ "login": READER, "name": "Rosa Reader", "profile": "reader" }));
    assert_eq!(answer.json()["node"]["name"], "Test node");
    assert_eq!(client.get("/api/v1/session").await.expect_status(200).json(), answer.json());

    client.delete("/api/v1/session").await.expect_status(204);
    client.get("/api/v1/session").await.expect_status(401);
    let stolen = cookie.split(';').next().expect("a pair");
    let visitor = node.visitor();
    let replayed = visitor.request("GET", "/api/v1/session").header("cookie", stolen);
    visitor.send(replayed).await.expect_status(401);
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let node = TestNode::start().await;
    let client = node.visitor();
    for _ in 0..10 {
        client.sign_in(READER, "wrong").await.expect_status(401);
    }
    let answer = client.sign_in(READER, PASSWORD).await.expect_status(429);
    answer.problem();
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()));
}

#[tokio::test]
async fn with_an_https_address_the_cookie_is_for_https_and_this_host_alone() {
    let node = Setup::default().config("public_url = \"https://stet.example\"").start().await;
    let answer = node.visitor().sign_in(READER, PASSWORD).await.expect_status(200);
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-stet_session=") && cookie.contains("; Secure"), "{cookie}");
    assert!(answer.header("strict-transport-security").is_some());
}

#[tokio::test]
async fn a_token_opens_the_api_and_a_cookie_beside_it_does_not_count() {
    let node = TestNode::start().await;
    let script = node.with_token(READER).await;
    script.get(STRIKES).await.expect_status(200);
    let browser = node.signed_in(READER).await;
    let both = browser.request("GET", STRIKES).header("authorization", "Bearer wrong");
    browser.send(both).await.expect_status(401);
    let basic = browser.request("GET", STRIKES).header("authorization", "Basic cm9zYTpy");
    browser.send(basic).await.expect_status(401);
}

#[tokio::test]
async fn a_user_who_is_shut_out_is_out_at_once() {
    let node = TestNode::start().await;
    let (browser, script) = (node.signed_in(READER).await, node.with_token(READER).await);
    let shell = stet_domain::Actor::shell(stet_domain::Login::new("shell").expect("a login"));
    node.app.set_user_disabled(&shell, READER, true).await.expect("disabled");
    browser.get(STRIKES).await.expect_status(401);
    script.get(STRIKES).await.expect_status(401);
    node.visitor().sign_in(READER, PASSWORD).await.expect_status(401);
}

#[tokio::test]
async fn only_an_administrator_reads_the_counters() {
    let node = TestNode::start().await;
    node.signed_in(READER).await.get("/metrics").await.expect_status(403).problem();
    let admin = node.with_token(ADMIN).await;
    admin.get(STRIKES).await.expect_status(200);
    let text = admin.get("/metrics").await.expect_status(200).text;
    let route = "/api/v1/projects/{project}/webapps/{webapp}";
    assert!(
        text.contains(&format!("stet_http_requests_total{{method=\"GET\",route=\"{route}\",status=\"200\"}} 1\n")),
        "{text}"
    );
    assert!(text.contains("\nstet_streams_open 0\n"), "{text}");
}

#[tokio::test]
async fn what_is_not_there_is_answered_alike_everywhere() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    for (method, path) in routes(&client).await {
        if !path.contains("{project}") {
            continue;
        }
        let body = json!({ "dataset": "x", "mode": "only", "edits": [], "primaryKeys": 1, "column": "x", "value": 1 });
        for project in ["NOTHING", "%2e%2e%2f", "%ff", "a%00b"] {
            let gone = filled(&path.replace("{project}", project));
            let query = if gone.contains("history") || gone.contains("/label/") { "?key=1" } else { "" };
            let request = client.request(&method, &format!("{gone}{query}"));
            let answer = client.send(if has_body(&method) { request.json(&body) } else { request }).await;
            assert!(matches!(answer.status, 404 | 422), "{method} {gone}: {} {}", answer.status, answer.text);
            if answer.status == 422 {
                // The body did not fit this route; the name is looked up after it was read.
                assert!(has_body(&method), "{method} {gone}");
            }
        }
    }
}

fn has_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT")
}

#[tokio::test]
async fn no_administrator_locks_themself_out() {
    let node = TestNode::start().await;
    let admin = node.signed_in(ADMIN).await;
    for login in [ADMIN.to_owned(), ADMIN.to_uppercase()] {
        for change in [json!({ "disabled": true }), json!({ "profile": "reader" })] {
            let change = admin.request("PATCH", &format!("/api/v1/users/{login}")).json(&change);
            let problem = admin.send(change).await.expect_status(422).problem();
            assert!(problem["detail"].as_str().is_some_and(|text| text.contains("lock yourself out")), "{problem}");
        }
    }
    admin.get("/api/v1/users").await.expect_status(200);
}

#[tokio::test]
async fn many_passwords_at_once_are_no_more_tries_than_one_after_the_other() {
    let node = TestNode::start().await;
    let tries = (0..60).map(|number| {
        let visitor = node.visitor();
        tokio::spawn(async move { visitor.sign_in(READER, &format!("guess {number}")).await.status })
    });
    let tries: Vec<_> = tries.collect();
    let mut looked_at = 0;
    for guess in tries {
        match guess.await.expect("an answer") {
            401 => looked_at += 1,
            status => assert_eq!(status, 429),
        }
    }
    // Ten, and those that were under way when the tenth was found wrong.
    assert!((10..=14).contains(&looked_at), "{looked_at}");
}
