//! What a browser is told, and what it is kept from doing on behalf of other sites.

use serde_json::json;
use stet_testkit::{READER, Setup, TestNode};

use crate::{STRIKES, one, routes, update};

#[tokio::test]
async fn a_change_that_another_site_asks_for_is_refused() {
    let node = TestNode::start().await;
    let browser = node.signed_in(READER).await;
    let own = format!("http://{}", node.host());
    let path = format!("{STRIKES}/edits");
    let edit = one(update("1", "comments", json!("x"), json!(null)));
    let table: [(&[(&str, &str)], u16); 12] = [
        (&[], 200),
        (&[("sec-fetch-site", "same-origin")], 200),
        (&[("sec-fetch-site", "none")], 200),
        (&[("origin", &own)], 200),
        (&[("sec-fetch-site", "same-origin"), ("origin", "http://proxied.example")], 200),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("sec-fetch-site", "cross-site"), ("origin", &own)], 403),
        (&[("sec-fetch-site", "")], 403),
        (&[("origin", "http://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", "http://127.0.0.1")], 403),
    ];
    for (headers, status) in table {
        let request =
            headers.iter().fold(browser.request("POST", &path), |request, (name, value)| request.header(*name, *value));
        let answer = browser.send(request.json(&edit)).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text);
    }
    // To read is no change, and no page of another site can read the answer.
    browser.send(browser.request("GET", STRIKES).header("sec-fetch-site", "cross-site")).await.expect_status(200);
    // No page of another site can make a browser sign in as somebody else, or out.
    let visitor = node.visitor();
    let sign_in = visitor.request("POST", "/api/v1/session").header("sec-fetch-site", "cross-site");
    visitor.send(sign_in.json(&json!({ "login": READER, "password": "x" }))).await.expect_status(403).problem();
    let sign_out = browser.request("DELETE", "/api/v1/session").header("origin", "https://evil.example");
    browser.send(sign_out).await.expect_status(403);
    browser.get("/api/v1/session").await.expect_status(200);
    // A program shows a token, which no page of another site has.
    let script = node.with_token(READER).await;
    let request = script.request("POST", &path).header("origin", "https://notebook.example");
    script.send(request.json(&edit)).await.expect_status(200);
}

#[tokio::test]
async fn behind_a_proxy_the_public_address_is_the_own_one() {
    let node = Setup::default().config("public_url = \"https://stet.example/\"").start().await;
    let client = node.visitor();
    for (origin, status) in [
        ("https://stet.example", 401),
        ("http://stet.example", 403),
        ("https://stet.example.evil.example", 403),
        ("https://evil.example", 403),
    ] {
        let request = client.request("POST", "/api/v1/session").header("origin", origin);
        let answer = client.send(request.json(&json!({ "login": "x", "password": "x" }))).await;
        assert_eq!(answer.status, status, "{origin}: {}", answer.text);
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let mut asked = routes(&node.visitor()).await;
    asked.extend(
        [("GET", "/"), ("GET", "/nothing/here"), ("GET", "/assets/x.js"), ("PUT", "/healthz"), ("GET", "/api/x")]
            .map(|(method, path)| (method.to_owned(), path.to_owned())),
    );
    for (method, path) in asked {
        let filled = path.replace(['{', '}'], "");
        let answer = client.send(client.request(&method, &filled)).await;
        assert!(answer.status < 500, "{method} {path}: {} {}", answer.status, answer.text);
        let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
        for part in ["default-src 'self'", "frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{method} {path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {path}");
        }
        for name in ["permissions-policy", "x-request-id", "cache-control"] {
            assert!(answer.header(name).is_some(), "{method} {path}: {name}");
        }
        if path.starts_with("/api/") || path.starts_with("/webapps/") {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        }
        for name in ["access-control-allow-origin", "server", "x-powered-by"] {
            assert_eq!(answer.header(name), None, "{method} {path}");
        }
        // A session ends in one of these requests; the others are to be asked all the same.
        client.sign_in(READER, stet_testkit::PASSWORD).await.expect_status(200);
    }
}

#[tokio::test]
async fn an_address_of_the_front_end_gives_its_page() {
    let node = TestNode::start().await;
    let visitor = node.visitor();
    for path in ["/", "/signin", "/projects/BIRDSTRIKES/webapps/correct-strikes", "/projects/x.y"] {
        let page = visitor.get(path).await.expect_status(200);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-cache"), "{path}");
        assert!(page.text.contains("<title>Stet</title>"), "{path}");
    }
    visitor.send(visitor.request("POST", "/signin")).await.expect_status(404).problem();
    assert_eq!(visitor.get("/healthz").await.expect_status(200).json(), json!({ "status": "ok" }));
}

#[tokio::test]
async fn a_link_never_comes_from_the_host_header() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let request = client.request("GET", "/api/v1/projects").header("host", "evil.example");
    assert!(!client.send(request).await.text.contains("evil.example"));
}

#[tokio::test]
async fn large_answers_travel_compressed() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let request = client.request("GET", "/openapi.json").header("accept-encoding", "gzip");
    let request = request.timeout(std::time::Duration::from_secs(30)).send().await.expect("an answer");
    assert_eq!(request.headers().get("content-encoding").and_then(|value| value.to_str().ok()), Some("gzip"));
}
