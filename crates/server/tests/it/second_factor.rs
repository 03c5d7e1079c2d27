//! The second factor: setting it up, signing in with it, and what does not get past it.

use serde_json::{Value, json};
use stet_app::{CODE_ATTEMPTS_MAX, Clock};
use stet_domain::{Actor, Login};
use stet_testkit::{ADMIN, Client, PASSWORD, READER, Setup, TestNode, totp_code};

use crate::STRIKES;

const FACTOR: &str = "/api/v1/account/second-factor";
const SESSION: &str = "/api/v1/session";
const START_S: i64 = 1_900_000_000;

async fn node(config: &str) -> TestNode {
    let clock = Clock::Manual(std::sync::atomic::AtomicI64::new(START_S * 1_000_000));
    Setup::default().config(config).clock(clock).start().await
}

fn now_s(node: &TestNode) -> i64 {
    node.app.clock().now().micros() / 1_000_000
}

/// Sets a second factor up; the secret, and recovery codes.
async fn enrol(node: &TestNode, client: &Client) -> (String, Vec<String>) {
    let begun = client.post(FACTOR, &json!({ "password": PASSWORD })).await.expect_status(200).json();
    let secret = begun["secret"].as_str().expect("a secret").to_owned();
    assert!(begun["qr_code"].as_str().expect("a QR code").contains("<svg"));
    let uri = begun["uri"].as_str().expect("an address");
    assert!(uri.starts_with("otpauth://totp/Stet%20Test%20node:") && uri.contains(&secret), "{uri}");
    let code = totp_code(&secret, now_s(node));
    let confirmed = client.post(&format!("{FACTOR}/confirm"), &json!({ "code": code })).await.expect_status(200).json();
    let codes = confirmed["recovery_codes"].as_array().expect("codes");
    (secret, codes.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn body(code: Option<&str>) -> Value {
    json!({ "login": READER, "password": PASSWORD, "code": code })
}

#[tokio::test]
async fn a_code_is_asked_for_beside_the_password_and_is_good_once() {
    let node = node("").await;
    let (reader, other) = (node.signed_in(READER).await, node.signed_in(READER).await);
    let (secret, _) = enrol(&node, &reader).await;
    // Whoever had the password alone is out; who showed the code goes on.
    other.get(STRIKES).await.expect_status(401);
    reader.get(STRIKES).await.expect_status(200);

    let asked = node.visitor().post(SESSION, &body(None)).await.expect_status(401).problem();
    assert_eq!(asked["type"], "urn:stet:problem:second-factor");
    let wrong_password = json!({ "login": READER, "password": "wrong", "code": "000000" });
    let problem = node.visitor().post(SESSION, &wrong_password).await.expect_status(401).problem();
    assert_eq!(problem["type"], "urn:stet:problem:wrong-credentials", "the code is looked at after the password");

    // The code that set it up was used by that.
    let used = totp_code(&secret, now_s(&node));
    let problem = node.visitor().post(SESSION, &body(Some(&used))).await.expect_status(401).problem();
    assert_eq!(problem["type"], "urn:stet:problem:wrong-code");
    node.app.clock().advance_s(30);
    let code = totp_code(&secret, now_s(&node));
    let signed_in = node.visitor();
    signed_in.post(SESSION, &body(Some(&code))).await.expect_status(200);
    signed_in.get(STRIKES).await.expect_status(200);
    node.visitor().post(SESSION, &body(Some(&code))).await.expect_status(401);
    // A code of the half minute before is none any more once a later one was used; one of long ago never is.
    node.app.clock().advance_s(120);
    node.visitor().post(SESSION, &body(Some(&totp_code(&secret, now_s(&node) - 60)))).await.expect_status(401);
    node.visitor().post(SESSION, &body(Some(&totp_code(&secret, now_s(&node) - 30)))).await.expect_status(200);

    let admin = node.signed_in(ADMIN).await;
    let trail = admin.get("/api/v1/audit?user=rosa").await.expect_status(200);
    for told in ["second_factor.begin", "second_factor.confirm", "with a second factor", "wrong code"] {
        assert!(trail.text.contains(told), "{told}");
    }
    assert!(!trail.text.contains(&secret));
}

#[tokio::test]
async fn wrong_codes_are_counted_and_nobody_guesses_on() {
    let node = node("").await;
    let reader = node.signed_in(READER).await;
    let (secret, _) = enrol(&node, &reader).await;
    node.app.clock().advance_s(60);
    let right = totp_code(&secret, now_s(&node));
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for _ in 0..CODE_ATTEMPTS_MAX {
        node.visitor().post(SESSION, &body(Some(wrong))).await.expect_status(401);
    }
    let answer = node.visitor().post(SESSION, &body(Some(&right))).await.expect_status(429);
    assert_eq!(answer.header("retry-after"), Some("900"));
    // Somebody without the password uses up none of them.
    node.app.clock().advance_s(901);
    for _ in 0..9 {
        let guess = json!({ "login": READER, "password": "wrong", "code": wrong });
        node.visitor().post(SESSION, &guess).await.expect_status(401);
    }
    node.app.clock().advance_s(61);
    let right = totp_code(&secret, now_s(&node));
    node.visitor().post(SESSION, &body(Some(&right))).await.expect_status(200);
}

#[tokio::test]
async fn a_recovery_code_opens_once_however_it_is_typed() {
    let node = node("").await;
    let reader = node.signed_in(READER).await;
    let (_, codes) = enrol(&node, &reader).await;
    assert_eq!(codes.len(), 10);
    let typed = codes[3].replace('-', " ").to_uppercase();
    node.visitor().post(SESSION, &body(Some(&typed))).await.expect_status(200);
    node.visitor().post(SESSION, &body(Some(&codes[3]))).await.expect_status(401);
    assert_eq!(reader.get(FACTOR).await.json()["recovery_codes"], 9);
    let database = std::fs::read(node.folder().join("node.sqlite")).expect("the database");
    let plain = codes[5].as_bytes();
    assert!(!database.windows(plain.len()).any(|bytes| bytes == plain));
}

#[tokio::test]
async fn an_administrator_whom_the_node_asks_for_one_does_nothing_before_it_is_set_up() {
    let node = node("[login]\nsecond_factor = \"admins\"").await;
    let admin = node.visitor();
    let answer = admin.sign_in(ADMIN, PASSWORD).await.expect_status(200).json();
    assert_eq!(answer["second_factor_due"], true);
    for path in [STRIKES, "/api/v1/users", "/api/v1/projects", "/api/v1/account/sessions", "/api/v1/audit"] {
        let problem = admin.get(path).await.expect_status(403).problem();
        assert_eq!(problem["type"], "urn:stet:problem:second-factor-due", "{path}");
    }
    let password = json!({ "current_password": PASSWORD, "new_password": "a new password" });
    admin.post("/api/v1/account/password", &password).await.expect_status(403);
    enrol(&node, &admin).await;
    admin.get("/api/v1/users").await.expect_status(200);
    let remove = format!("{FACTOR}/remove");
    admin.post(&remove, &json!({ "password": PASSWORD })).await.expect_status(409).problem();
    // Readers are not asked.
    node.signed_in(READER).await.get(STRIKES).await.expect_status(200);
}

#[tokio::test]
async fn a_second_factor_is_begun_removed_and_reset_by_those_who_may() {
    let node = node("").await;
    let reader = node.signed_in(READER).await;
    reader.post(FACTOR, &json!({ "password": "wrong" })).await.expect_status(422).problem();
    reader.post(&format!("{FACTOR}/confirm"), &json!({ "code": "123456" })).await.expect_status(409).problem();
    // One that was begun and not confirmed asks nobody for a code.
    reader.post(FACTOR, &json!({ "password": PASSWORD })).await.expect_status(200);
    node.signed_in(READER).await;
    enrol(&node, &reader).await;
    reader.post(FACTOR, &json!({ "password": PASSWORD })).await.expect_status(422).problem();
    reader.post(&format!("{FACTOR}/remove"), &json!({ "password": "wrong" })).await.expect_status(422).problem();
    reader.post(&format!("{FACTOR}/remove"), &json!({ "password": PASSWORD })).await.expect_status(204);
    node.signed_in(READER).await;

    let reader = node.signed_in(READER).await;
    enrol(&node, &reader).await;
    let shell = Actor::shell(Login::new("shell").expect("a login"));
    node.app.reset_second_factor(&shell, READER).await.expect("reset");
    reader.get(STRIKES).await.expect_status(401);
    let reader = node.signed_in(READER).await;
    enrol(&node, &reader).await;
    let admin = node.signed_in(ADMIN).await;
    let reset = |client: &Client| {
        client.request("PATCH", &format!("/api/v1/users/{READER}")).json(&json!({ "reset_second_factor": true }))
    };
    reader.send(reset(&reader)).await.expect_status(403);
    admin.send(reset(&admin)).await.expect_status(204);
    admin.send(reset(&admin)).await.expect_status(404);
    node.signed_in(READER).await;
}

#[tokio::test]
async fn new_recovery_codes_take_the_place_of_the_old_ones() {
    let node = node("").await;
    let reader = node.signed_in(READER).await;
    let (_, codes) = enrol(&node, &reader).await;
    let renew = format!("{FACTOR}/recovery-codes");
    let answer = reader.post(&renew, &json!({ "password": PASSWORD })).await.expect_status(200).json();
    let renewed: Vec<&str> =
        answer["recovery_codes"].as_array().expect("codes").iter().filter_map(Value::as_str).collect();
    assert_eq!(renewed.len(), 10);
    node.visitor().post(SESSION, &body(Some(&codes[0]))).await.expect_status(401);
    node.visitor().post(SESSION, &body(Some(renewed[0]))).await.expect_status(200);
    assert_eq!(reader.get(FACTOR).await.json()["recovery_codes"], 9);
    // A token with less than all rights makes none.
    let shell = Actor::shell(Login::new("shell").expect("a login"));
    let scopes = stet_domain::access::Scopes::of(&[stet_domain::access::Scope::Read]);
    let token = stet_app::NewToken { login: READER.to_owned(), name: "few".to_owned(), days: None, scopes };
    let token = node.visitor().with_token(&node.app.add_token(&shell, token).await.expect("a token"));
    token.post(&renew, &json!({ "password": PASSWORD })).await.expect_status(403);
}
