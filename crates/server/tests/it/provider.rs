//! Signing in at another provider (OpenID Connect), against one that runs beside the test.

use serde_json::{Value, json};
use stet_domain::{Actor, Login};
use stet_testkit::provider::{CLIENT_SECRET, Signing, TestProvider};
use stet_testkit::{ADMIN, Answer, Client, Setup, TestNode};

const BEGIN: &str = "/api/v1/session/provider?next=/projects/BIRDSTRIKES";

async fn node(provider: &TestProvider, more: &str) -> TestNode {
    let setup = Setup::default().file("provider.secret", &format!("{CLIENT_SECRET}\n"));
    setup.config(&provider.config(more)).start().await
}

/// Goes to the provider and back; the last answer, and who is signed in then.
async fn sign_in(client: &Client) -> (Answer, Option<Value>) {
    let page = client.get(BEGIN).await;
    let session = client.get("/api/v1/session").await;
    let user = (session.status == 200).then(|| session.json()["user"].clone());
    (page, user)
}

const NEW: &str =
    "new_users = \"reader\"\n[login.provider.groups]\n\"wildlife editors\" = \"editors\"\nstaff = \"staff\"\n";

#[tokio::test]
async fn somebody_new_is_let_in_as_the_settings_say_and_is_the_same_person_from_then_on() {
    let provider = TestProvider::start().await;
    let node = node(&provider, NEW).await;
    let options = node.visitor().get("/api/v1/session/options").await.expect_status(200).json();
    assert_eq!(options, json!({ "provider": "Test provider" }));
    provider.claim("groups", json!(["wildlife editors", "others"]));
    let client = node.visitor();
    let (_, user) = sign_in(&client).await;
    assert_eq!(user, Some(json!({ "login": "rita", "name": "Rita Moreno", "profile": "reader" })));
    let admin = node.signed_in(ADMIN).await;
    let groups = async || {
        let users = admin.get("/api/v1/users").await.json();
        let rita = users["users"].as_array().unwrap().iter().find(|user| user["login"] == "rita").unwrap().clone();
        rita["groups"].clone()
    };
    assert_eq!(groups().await, json!(["editors"]));

    // Another name and another e-mail address are the same person; groups follow the provider, others stay.
    let shell = Actor::shell(Login::new("shell").unwrap());
    node.app.add_group(&shell, "ours", "").await.unwrap();
    node.app.add_to_group(&shell, "ours", "rita").await.unwrap();
    provider.says().signing = Signing::Es256;
    provider.claim("preferred_username", json!("ada"));
    provider.claim("groups", json!(["staff"]));
    let (_, user) = sign_in(&node.visitor()).await;
    assert_eq!(user.expect("signed in")["login"], "rita");
    assert_eq!(groups().await, json!(["ours", "staff"]));

    // Whoever is shut out is out, whatever the provider says.
    node.app.set_user_disabled(&shell, "rita", true).await.unwrap();
    assert_eq!(sign_in(&node.visitor()).await.1, None);
    assert_eq!(client.get("/api/v1/session").await.status, 401);
    let trail = admin.get("/api/v1/audit?action=session.sign_in&outcome=refused").await.json();
    assert_eq!(trail["events"][0]["detail"], "`rita` is shut out");
}

#[tokio::test]
async fn a_token_that_is_not_for_this_sign_in_opens_nothing() {
    let provider = TestProvider::start().await;
    let node = node(&provider, NEW).await;
    let original = provider.says().clone();
    let claim = |name: &'static str, value: Value| (None, Some((name, value)));
    for (told, (signing, changed)) in [
        ("alg none", (Some(Signing::None), None)),
        ("a key that everybody knows", (Some(Signing::Hs256), None)),
        ("an unknown key", (Some(Signing::UnknownKey), None)),
        ("a changed token", (Some(Signing::Tampered), None)),
        ("another issuer", claim("iss", json!("https://evil.example"))),
        ("no issuer", claim("iss", Value::Null)),
        ("another client", claim("aud", json!("another"))),
        ("several clients and no party", claim("aud", json!(["stet-test", "another"]))),
        ("another party", claim("azp", json!("another"))),
        ("another nonce", claim("nonce", json!("0123456789abcdef0123456789abcdef"))),
        ("no nonce", claim("nonce", Value::Null)),
        ("expired", claim("exp", json!(1_700_000_000))),
        ("no end", claim("exp", Value::Null)),
        ("of the future", claim("iat", json!(9_999_999_999_u64))),
        ("nobody", claim("sub", Value::Null)),
        ("a subject without end", claim("sub", json!("x".repeat(256)))),
    ] {
        provider.says().clone_from(&original);
        if let Some(signing) = signing {
            provider.says().signing = signing;
        }
        if let Some((name, value)) = changed {
            provider.claim(name, value);
        }
        let client = node.visitor();
        assert_eq!(sign_in(&client).await.1, None, "{told}");
    }
    provider.says().clone_from(&original);
    provider.says().state = Some("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".to_owned());
    assert_eq!(sign_in(&node.visitor()).await.1, None, "another state");
    provider.says().clone_from(&original);
    provider.says().answer_issuer = Some("https://evil.example".to_owned());
    assert_eq!(sign_in(&node.visitor()).await.1, None, "a mix-up of providers");
    provider.says().clone_from(&original);
    // Nothing of all that made a user, and the right one still gets in.
    let admin = node.signed_in(ADMIN).await;
    assert!(!admin.get("/api/v1/users").await.text.contains("rita"));
    assert!(sign_in(&node.visitor()).await.1.is_some());
    let refused = admin.get("/api/v1/audit?action=session.sign_in&outcome=refused").await.json();
    assert_eq!(refused["events"].as_array().unwrap().len(), 18);
}

#[tokio::test]
async fn an_answer_that_another_browser_began_signs_nobody_in() {
    let provider = TestProvider::start().await;
    let node = node(&provider, NEW).await;
    // The victim's browser never began a sign-in: it has no cookie of one.
    let callback = "/api/v1/session/provider/callback?code=code-1&state=0123456789abcdef0123456789abcdef";
    let client = node.visitor();
    client.get(callback).await;
    assert_eq!(client.get("/api/v1/session").await.status, 401);
    // Another site is no page to go on to.
    for next in ["https://evil.example", "//evil.example", "/\\evil.example"] {
        let next = stet_testkit::escaped(next);
        let page = node.visitor().get(&format!("/api/v1/session/provider?next={next}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
    }
}

#[tokio::test]
async fn nobody_becomes_somebody_who_is_there_already_by_a_name() {
    let provider = TestProvider::start().await;
    let node = node(&provider, NEW).await;
    for taken in [ADMIN, "ADA", "none", "N\u{43e}ne", "root@shell", "", "a b"] {
        provider.claim("preferred_username", json!(taken));
        assert_eq!(sign_in(&node.visitor()).await.1, None, "{taken}");
    }
    // An administrator says that they are the same.
    let shell = Actor::shell(Login::new("shell").unwrap());
    node.app.link_identity(&shell, ADMIN, "subject-1").await.expect("linked");
    assert_eq!(sign_in(&node.visitor()).await.1.expect("signed in")["login"], ADMIN);
    assert!(node.app.link_identity(&shell, "rosa", "subject-1").await.is_err(), "a subject is one person");
}

#[tokio::test]
async fn nobody_new_is_let_in_unless_the_settings_say_so() {
    let provider = TestProvider::start().await;
    let node = node(&provider, "").await;
    assert_eq!(sign_in(&node.visitor()).await.1, None);
    let shell = Actor::shell(Login::new("shell").unwrap());
    node.app.link_identity(&shell, "rosa", "subject-1").await.expect("linked");
    let (_, user) = sign_in(&node.visitor()).await;
    assert_eq!(user.expect("signed in")["login"], "rosa");
    // A node without a provider has nowhere to send people.
    let plain = TestNode::start().await;
    assert_eq!(plain.visitor().get("/api/v1/session/options").await.json(), json!({ "provider": null }));
    plain.visitor().get(BEGIN).await.expect_status(404).problem();
}

#[tokio::test]
async fn a_provider_that_is_away_is_asked_again_after_a_while_and_not_for_each_who_tries() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let issuer = listener.local_addr().expect("its address");
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        // It hangs up on whoever asks.
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let config = format!(
        "public_url = \"http://{{address}}\"\n[login.provider]\nname = \"Away\"\nissuer = \"http://{issuer}\"\nclient_id = \"stet\"\n"
    );
    let clock = stet_app::Clock::Manual(std::sync::atomic::AtomicI64::new(1_900_000_000_000_000));
    let node = Setup::default().config(&config).clock(clock).start().await;
    let times = || asked.load(std::sync::atomic::Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(sign_in(&node.visitor()).await.1, None);
    }
    assert_eq!(times(), 1);
    node.app.clock().advance_s(6);
    sign_in(&node.visitor()).await;
    assert_eq!(times(), 2);
}
