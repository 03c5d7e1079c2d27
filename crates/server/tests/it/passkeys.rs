//! Passkeys over HTTP: making them, signing in and approving with them, and what does not get past them. What single bytes of
//! an answer have to be is tested beside their reading, in `app`.

use serde_json::{Value, json};
use stet_domain::{Actor, Login};
use stet_testkit::{ADMIN, Authenticator, Client, PASSWORD, READER, Setup, TestNode};

use crate::STRIKES;

const PASSKEYS: &str = "/api/v1/account/passkeys";
const SESSION: &str = "/api/v1/session";
const PROJECT: &str = "/api/v1/projects/BIRDSTRIKES";

fn shell() -> Actor {
    Actor::shell(Login::new("shell").expect("a login"))
}

/// Makes a passkey of whoever is signed in, and gives the recovery codes that came with it.
async fn make(client: &Client, authenticator: &Authenticator, name: &str) -> Vec<String> {
    let body = json!({ "password": PASSWORD });
    let begun = client.post(&format!("{PASSKEYS}/begin"), &body).await.expect_status(200).json();
    codes_of(&client.post(PASSKEYS, &authenticator.make(name, &begun["public_key"])).await.expect_status(201).json())
}

fn codes_of(answer: &Value) -> Vec<String> {
    let codes = answer["recovery_codes"].as_array().expect("recovery codes");
    codes.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Makes a passkey of whoever is signed in, and gives its public key.
async fn enrol(client: &Client, authenticator: &Authenticator, name: &str) -> String {
    make(client, authenticator, name).await;
    let listed = client.get(PASSKEYS).await.expect_status(200).json();
    let passkeys = listed["passkeys"].as_array().expect("passkeys");
    let mine = passkeys.iter().find(|passkey| passkey["name"] == name).expect("the passkey");
    mine["public_key"].as_str().expect("a key").to_owned()
}

/// Signs in with the password, and gives what a passkey is asked for.
async fn asked(node: &TestNode, login: &str) -> Value {
    let body = json!({ "login": login, "password": PASSWORD });
    let problem = node.visitor().post(SESSION, &body).await.expect_status(401).problem();
    assert_eq!(problem["type"], "urn:stet:problem:second-factor");
    problem["passkey"].clone()
}

async fn sign_in(client: &Client, login: &str, answer: &Value) -> u16 {
    let body = json!({ "login": login, "password": PASSWORD, "passkey": answer });
    client.post(SESSION, &body).await.status
}

#[tokio::test]
async fn a_passkey_is_asked_for_beside_the_password_and_an_answer_is_good_once() {
    let node = TestNode::start().await;
    let (reader, other) = (node.signed_in(READER).await, node.signed_in(READER).await);
    let mut key = Authenticator::new(1);
    let wrong = json!({ "password": "wrong" });
    reader.post(&format!("{PASSKEYS}/begin"), &wrong).await.expect_status(422).problem();
    enrol(&reader, &key, "laptop").await;
    // Whoever had the password alone is out; who made the passkey goes on.
    other.get(STRIKES).await.expect_status(401);
    reader.get(STRIKES).await.expect_status(200);

    let options = asked(&node, READER).await;
    assert_eq!(options["userVerification"], "required");
    assert_eq!(options["allowCredentials"][0]["id"], key.id());
    let answer = key.answer(&options);
    let client = node.visitor();
    assert_eq!(sign_in(&client, READER, &answer).await, 200);
    client.get(STRIKES).await.expect_status(200);
    // The same answer again, one to a question that was not asked, and one that another person was asked.
    assert_eq!(sign_in(&node.visitor(), READER, &answer).await, 422);
    assert_eq!(sign_in(&node.visitor(), READER, &key.answer(&json!({ "challenge": "AAAA" }))).await, 422);
    let mut theirs = Authenticator::new(2);
    enrol(&node.signed_in(ADMIN).await, &theirs, "key").await;
    let for_admin = asked(&node, ADMIN).await;
    assert_eq!(sign_in(&node.visitor(), READER, &key.answer(&for_admin)).await, 422);
    assert_eq!(
        sign_in(&node.visitor(), ADMIN, &key.answer(&asked(&node, ADMIN).await)).await,
        422,
        "another's passkey"
    );
    assert_eq!(sign_in(&node.visitor(), ADMIN, &theirs.answer(&asked(&node, ADMIN).await)).await, 200);

    // Each wrong kind, and a count that goes back.
    let right = (key.origin.clone(), key.site.clone(), key.flags, key.count);
    for (origin, site, flags, count) in [
        ("http://localhost.evil.example", "localhost", 5, 50),
        ("http://localhost", "evil.example", 5, 50),
        ("http://localhost", "localhost", 4, 50),
        ("http://localhost", "localhost", 1, 50),
        ("http://localhost", "localhost", 5, 0),
    ] {
        (key.origin, key.site, key.flags, key.count) = (origin.to_owned(), site.to_owned(), flags, count);
        let answer = key.answer(&asked(&node, READER).await);
        assert_eq!(sign_in(&node.visitor(), READER, &answer).await, 422, "{origin} {site} {flags} {count}");
    }
    (key.origin, key.site, key.flags, key.count) = right;
    assert_eq!(sign_in(&node.visitor(), READER, &key.answer(&asked(&node, READER).await)).await, 200);

    // A passkey is one user's, whoever brings it again.
    let begun =
        reader.post(&format!("{PASSKEYS}/begin"), &json!({ "password": PASSWORD })).await.expect_status(200).json();
    reader.post(PASSKEYS, &theirs.make("mine too", &begun["public_key"])).await.expect_status(422).problem();
    let remove = format!("{PASSKEYS}/{}/remove", key.id());
    reader.post(&remove, &wrong).await.expect_status(422).problem();
    reader.post(&remove, &json!({ "password": PASSWORD })).await.expect_status(204);
    node.visitor().sign_in(READER, PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn whoever_has_lost_the_only_passkey_gets_in_by_a_recovery_code_once() {
    let node = TestNode::start().await;
    let reader = node.signed_in(READER).await;
    let (factor, renew) = ("/api/v1/account/second-factor", "/api/v1/account/second-factor/recovery-codes");
    let password = json!({ "password": PASSWORD });
    reader.post(renew, &password).await.expect_status(409).problem();
    let (laptop, phone) = (Authenticator::new(1), Authenticator::new(2));
    let codes = make(&reader, &laptop, "laptop").await;
    assert_eq!(codes.len(), 10);
    // There are some: another passkey shows none again.
    assert_eq!(make(&reader, &phone, "phone").await, Vec::<String>::new());

    let sign_in = async |code: &str| {
        let body = json!({ "login": READER, "password": PASSWORD, "code": code });
        node.visitor().post(SESSION, &body).await
    };
    let problem = node.visitor().sign_in(READER, PASSWORD).await.expect_status(401).problem();
    assert_eq!((&problem["codes"], &problem["recovery_codes"]), (&json!(false), &json!(true)), "{problem}");
    sign_in(&codes[0]).await.expect_status(200);
    sign_in(&codes[0]).await.expect_status(401).problem();
    sign_in("000000").await.expect_status(401).problem();
    assert_eq!(reader.get(factor).await.expect_status(200).json()["recovery_codes"], 9);
    let wrong = json!({ "login": READER, "password": "wrong", "code": codes[1] });
    node.visitor().post(SESSION, &wrong).await.expect_status(401);

    // New ones take the place of all earlier ones, and the password is asked for.
    reader.post(renew, &json!({ "password": "wrong" })).await.expect_status(422).problem();
    node.visitor().post(renew, &password).await.expect_status(401);
    let renewed = codes_of(&reader.post(renew, &password).await.expect_status(200).json());
    assert_eq!(renewed.len(), 10);
    sign_in(&codes[1]).await.expect_status(401).problem();
    sign_in(&renewed[1].to_uppercase()).await.expect_status(200);

    // They go with the last passkey, and are in no file as they are typed.
    for key in [&laptop, &phone] {
        assert_ne!(reader.get(factor).await.json()["recovery_codes"], 0);
        reader.post(&format!("{PASSKEYS}/{}/remove", key.id()), &password).await.expect_status(204);
    }
    assert_eq!(reader.get(factor).await.json()["recovery_codes"], 0);
    node.visitor().sign_in(READER, PASSWORD).await.expect_status(200);
    let trail = node.signed_in(ADMIN).await.get("/api/v1/audit?user=rosa").await.expect_status(200).text;
    for told in ["second_factor.recovery", "9 are left", "second_factor.recovery_codes"] {
        assert!(trail.contains(told), "{told}: {trail}");
    }
    for file in ["node.sqlite", "node.sqlite-wal"] {
        let bytes = std::fs::read(node.folder().join(file)).unwrap_or_default();
        for code in codes.iter().chain(&renewed) {
            assert!(!bytes.windows(code.len()).any(|found| found == code.as_bytes()), "{file}");
            assert!(!trail.contains(code.as_str()));
        }
    }
}

#[tokio::test]
async fn where_a_second_factor_is_asked_for_a_passkey_is_one_and_the_last_one_stays() {
    let node = Setup::default().config("[login]\nsecond_factor = \"admins\"").start().await;
    let admin = node.visitor();
    let signed_in = admin.sign_in(ADMIN, PASSWORD).await.expect_status(200).json();
    assert_eq!(signed_in["second_factor_due"], true);
    admin.get("/api/v1/users").await.expect_status(403);
    let key = Authenticator::new(1);
    enrol(&admin, &key, "key").await;
    admin.get("/api/v1/users").await.expect_status(200);
    let remove = format!("{PASSKEYS}/{}/remove", key.id());
    admin.post(&remove, &json!({ "password": PASSWORD })).await.expect_status(409).problem();
    // Whoever has lost it is helped by another administrator.
    node.app.reset_second_factor(&shell(), ADMIN).await.expect("reset");
    assert_eq!(node.visitor().sign_in(ADMIN, PASSWORD).await.expect_status(200).json()["second_factor_due"], true);
}

#[tokio::test]
async fn a_bundle_is_approved_by_passkey_and_the_approval_counts_for_it_alone() {
    let design = TestNode::start().await;
    let designer = design.signed_in(ADMIN).await;
    let mut archives = Vec::new();
    for (name, notes) in [("Birds", "first"), ("Bird strikes", "second")] {
        design.write("projects/BIRDSTRIKES/project.toml", &format!("name = \"{name}\"\n"));
        let made =
            designer.post(&format!("{PROJECT}/bundles"), &json!({ "notes": notes })).await.expect_status(201).json();
        let digest = made["digest"].as_str().expect("a digest").to_owned();
        let file = designer.request("GET", &format!("/api/v1/bundles/{digest}/file")).send().await.expect("an answer");
        archives.push((digest, file.bytes().await.expect("the archive")));
    }
    let key = design.app.signing_key().expect("a key").public();
    // The passkey is known before the node that names it starts: made on a node of the same address.
    let mut passkey = Authenticator::new(7);
    let earlier = TestNode::start().await;
    let public = enrol(&earlier.signed_in(READER).await, &passkey, "key").await;
    let config = format!(
        "[[deploy.trusted]]\nname = \"Design\"\nkey = \"{key}\"\n[[deploy.approvers]]\nlogin = \"{READER}\"\npasskeys = [\"{public}\"]\n"
    );
    let node = Setup::default().config(&config).start().await;
    std::fs::remove_dir_all(node.folder().join("projects/BIRDSTRIKES")).expect("no project yet");
    let admin = node.signed_in(ADMIN).await;
    for (_, archive) in &archives {
        admin.send(admin.request("POST", "/api/v1/bundles").body(archive.clone())).await.expect_status(201);
    }
    let ([first, second], reader) = ([&archives[0].0, &archives[1].0], node.signed_in(READER).await);
    let begin = |digest: &str| format!("/api/v1/bundles/{digest}/approvals/begin");
    let approve = json!({ "feedback": "approve", "comment": "looked at every line" });
    reader.post(&begin(first), &approve).await.expect_status(409).problem();
    enrol(&reader, &passkey, "key").await;
    reader.post(&begin(first), &json!({})).await.expect_status(422).problem();
    admin.post(&begin(first), &approve).await.expect_status(409).problem();

    let envelope = async |passkey: &mut Authenticator| {
        let asked = reader.post(&begin(first), &approve).await.expect_status(200).json();
        let answer = passkey.answer(&asked["public_key"]);
        let standard = answer["signature"].as_str().expect("a signature").replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - standard.len() % 4) % 4);
        json!({
            "payloadType": asked["payload_type"], "payload": asked["payload"],
            "signatures": [{
                "keyid": answer["id"], "sig": format!("{standard}{padding}"),
                "passkey": { "authenticator_data": answer["authenticator_data"], "client_data": answer["client_data"] },
            }],
        })
    };
    let bring = |digest: &str| format!("/api/v1/bundles/{digest}/approvals");
    let activate = format!("/api/v1/bundles/{first}/activate");
    admin.post(&activate, &json!({})).await.expect_status(422).problem();
    // By another passkey, on a page of another site, without looking who it is.
    let wrong = envelope(&mut Authenticator::new(7)).await;
    reader.post(&bring(first), &wrong).await.expect_status(422).problem();
    passkey.origin = "https://evil.example".to_owned();
    let wrong = envelope(&mut passkey).await;
    reader.post(&bring(first), &wrong).await.expect_status(422).problem();
    (passkey.origin, passkey.flags) = ("http://localhost:8820".to_owned(), 1);
    let wrong = envelope(&mut passkey).await;
    let refused = reader.post(&bring(first), &wrong).await.expect_status(422).problem();
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("without looking who uses it")), "{refused}");
    passkey.flags = 5;
    let good = envelope(&mut passkey).await;
    // A word of the statement that was changed is another question than the one that was answered.
    let mut changed = good.clone();
    let other = envelope(&mut passkey).await;
    changed["payload"] = other["payload"].clone();
    reader.post(&bring(first), &changed).await.expect_status(422).problem();
    reader.post(&bring(first), &good).await.expect_status(201);
    reader.post(&bring(first), &good).await.expect_status(201);
    let plan = admin.get(&format!("/api/v1/bundles/{first}/plan")).await.expect_status(200).json()["plan"].clone();
    assert_eq!((&plan["approved"], &plan["counted"]), (&json!(true), &json!([READER])), "{plan}");
    let plan = admin.get(&format!("/api/v1/bundles/{second}/plan")).await.expect_status(200).json()["plan"].clone();
    assert_eq!(plan["approved"], false, "{plan}");
    // A copy of the passkey that has counted less.
    passkey.count = 0;
    let copied = envelope(&mut passkey).await;
    let refused = reader.post(&bring(first), &copied).await.expect_status(422).problem();
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("counted backwards")), "{refused}");
    admin.post(&activate, &json!({})).await.expect_status(200);
}
