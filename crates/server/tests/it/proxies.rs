//! Proxies before the node: whose word counts for where a request came from.

use serde_json::json;
use stet_testkit::{ADMIN, Client, PASSWORD, READER, Setup};

async fn wrong_sign_in(client: &Client, from: &str) -> u16 {
    let body = json!({ "login": READER, "password": "wrong" });
    let request = client.request("POST", "/api/v1/session").header("x-forwarded-for", from);
    client.send(request.json(&body)).await.status
}

#[tokio::test]
async fn a_proxy_that_is_trusted_tells_from_where_a_request_came() {
    let node = Setup::default().config("[server]\ntrusted_proxies = [\"127.0.0.1\"]").start().await;
    // The throttle counts by the client's address: the next one is not shut out with it.
    for _ in 0..10 {
        assert_eq!(wrong_sign_in(&node.visitor(), "192.0.2.1").await, 401);
    }
    assert_eq!(wrong_sign_in(&node.visitor(), "192.0.2.1").await, 429);
    assert_eq!(
        wrong_sign_in(&node.visitor(), "10.0.0.1, 192.0.2.1").await,
        429,
        "what the client made up is not looked at"
    );
    assert_eq!(wrong_sign_in(&node.visitor(), "192.0.2.2").await, 401);
    let admin = node.with_token(ADMIN).await;
    let trail = admin.get("/api/v1/audit?outcome=refused&limit=1").await.expect_status(200).json();
    assert_eq!(trail["events"][0]["address"], "192.0.2.2");
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let node = Setup::default().config("[server]\ntrusted_proxies = [\"192.0.2.0/24\"]").start().await;
    for number in 0..10 {
        assert_eq!(wrong_sign_in(&node.visitor(), &format!("198.51.100.{number}")).await, 401);
    }
    assert_eq!(wrong_sign_in(&node.visitor(), "198.51.100.99").await, 429);
    let admin = node.with_token(ADMIN).await;
    let trail = admin.get("/api/v1/audit?outcome=refused&limit=1").await.expect_status(200).json();
    assert_eq!(trail["events"][0]["address"], "127.0.0.1");
}

#[tokio::test]
async fn a_password_that_came_without_encryption_to_an_encrypted_node_is_refused() {
    let setup = Setup::default().config("public_url = \"https://stet.example\"");
    let node = setup.config("[server]\ntrusted_proxies = [\"127.0.0.1\"]").start().await;
    let visitor = node.visitor();
    let sign_in = |proto: &str| {
        let body = json!({ "login": READER, "password": PASSWORD });
        visitor.request("POST", "/api/v1/session").header("x-forwarded-proto", proto).json(&body)
    };
    let problem = visitor.send(sign_in("http")).await.expect_status(403).problem();
    assert_eq!(problem["type"], "urn:stet:problem:not-encrypted");
    let cookie = visitor.send(sign_in("https")).await.expect_status(200);
    let cookie = cookie.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-stet_session=") && cookie.contains("; Secure"), "{cookie}");
}
