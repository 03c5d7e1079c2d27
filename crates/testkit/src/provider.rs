//! A provider at which people sign in (OpenID Connect), on a port of its own. It signs real tokens, and can be told to get
//! one thing wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use ring::{digest, hmac};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the node is called there.
pub const CLIENT_ID: &str = "stet-test";

/// The node's secret there.
pub const CLIENT_SECRET: &str = "a secret: of tests";

/// A key for tests and nothing else.
const RSA_KEY: &[u8] = include_bytes!("provider.der");

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// RSA with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Not at all, as the token says itself.
    None,
    /// HMAC with what everybody knows: the modulus of the RSA key.
    Hs256,
    /// RSA, by a key of another name.
    UnknownKey,
    /// RSA, and then somebody changes a claim.
    Tampered,
}

/// What the provider says.
#[derive(Debug, Clone)]
pub struct Says {
    /// How tokens are signed.
    pub signing: Signing,
    /// Claims instead of the right ones or beside them; null takes one out.
    pub claims: Map<String, Value>,
    /// The state that it gives back, instead of the one that it got.
    pub state: Option<String>,
    /// The issuer that stands in its answers to the browser.
    pub answer_issuer: Option<String>,
}

/// The provider.
pub struct TestProvider {
    /// Its address.
    pub issuer: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    issuer: String,
    says: Mutex<Says>,
    /// What was asked with each code that was not exchanged yet.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
}

impl TestProvider {
    /// Starts a provider at which `rita`, known there as `subject-1`, is signed in.
    pub async fn start() -> TestProvider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("its address"));
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        let shared = Arc::new(Shared {
            issuer: issuer.clone(),
            says: Mutex::new(Says { signing: Signing::Rs256, claims: Map::new(), state: None, answer_issuer: None }),
            codes: Mutex::default(),
            rsa: RsaKeyPair::from_der(RSA_KEY).expect("a key"),
            ecdsa: ecdsa.expect("a key"),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/keys", get(keys))
            .with_state(shared.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("the provider serves");
        });
        TestProvider { issuer, shared, serving }
    }

    /// What it says from now on.
    pub fn says(&self) -> MutexGuard<'_, Says> {
        lock(&self.shared.says)
    }

    /// A claim of the tokens that it gives from now on; null takes it out.
    pub fn claim(&self, name: &str, value: Value) {
        self.says().claims.insert(name.to_owned(), value);
    }

    /// Lines of `stet.toml` for a node that people sign in to here.
    pub fn config(&self, more: &str) -> String {
        format!(
            "public_url = \"http://{{address}}\"\n[login.provider]\nname = \"Test provider\"\nissuer = \"{}\"\n\
             client_id = \"{CLIENT_ID}\"\nclient_secret_file = \"provider.secret\"\n{more}",
            self.issuer
        )
    }
}

impl Drop for TestProvider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let issuer = &shared.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }))
}

/// Somebody is signed in already: the browser is sent back at once.
async fn authorize(State(shared): State<Arc<Shared>>, Query(asked): Query<HashMap<String, String>>) -> Response {
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|found| found == value);
    let has = |name: &str| asked.get(name).is_some_and(|found| found.len() >= 32);
    let right = is("response_type", "code")
        && is("client_id", CLIENT_ID)
        && is("code_challenge_method", "S256")
        && ["state", "nonce", "code_challenge"].into_iter().all(has)
        && asked.get("scope").is_some_and(|scope| scope.split(' ').any(|scope| scope == "openid"));
    if !right {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let says = lock(&shared.says).clone();
    let code = format!("code-{}", lock(&shared.codes).len() + 1);
    let state = says.state.unwrap_or_else(|| asked["state"].clone());
    let issuer = says.answer_issuer.unwrap_or_else(|| shared.issuer.clone());
    let back = format!("{}?code={code}&state={state}&iss={issuer}", asked["redirect_uri"]);
    lock(&shared.codes).insert(code, asked);
    Redirect::to(&back).into_response()
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let refused = || (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    let form: HashMap<String, String> = String::from_utf8_lossy(&body)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect();
    let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let credentials = credentials.and_then(|text| String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok());
    let known = credentials.and_then(|text| {
        let (id, secret) = text.split_once(':')?;
        Some(decoded(id) == CLIENT_ID && decoded(secret) == CLIENT_SECRET)
    });
    if known != Some(true) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    // A code is good once.
    let Some(asked) = form.get("code").and_then(|code| lock(&shared.codes).remove(code)) else { return refused() };
    let verifier = form.get("code_verifier").cloned().unwrap_or_default();
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    if asked["code_challenge"] != challenge || form.get("redirect_uri") != asked.get("redirect_uri") {
        return refused();
    }
    Json(json!({ "access_token": "unused", "token_type": "Bearer", "id_token": shared.id_token(&asked["nonce"]) }))
        .into_response()
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let rsa: RsaPublicKeyComponents<Vec<u8>> = shared.rsa.public().into();
    let point = shared.ecdsa.public_key().as_ref();
    Json(json!({ "keys": [
        { "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
          "n": encoded(&rsa.n),
          "e": encoded(&rsa.e) },
        { "kty": "EC", "kid": "ec", "use": "sig", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..]) },
        { "kty": "oct", "kid": "odd", "k": "AAAA" },
    ] }))
}

impl Shared {
    fn id_token(&self, nonce: &str) -> String {
        let says = lock(&self.says).clone();
        // The clock of the node under test.
        #[allow(clippy::disallowed_methods)]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
        let mut claims = json!({
            "iss": self.issuer, "sub": "subject-1", "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce,
            "preferred_username": "rita", "name": "Rita Moreno", "email": "rosa@example.org", "groups": [],
        });
        for (name, value) in says.claims {
            claims[name] = value;
        }
        if let Some(claims) = claims.as_object_mut() {
            claims.retain(|_, value| !value.is_null());
        }
        let (alg, kid) = match says.signing {
            Signing::Rs256 | Signing::Tampered => ("RS256", "rsa"),
            Signing::UnknownKey => ("RS256", "another"),
            Signing::Es256 => ("ES256", "ec"),
            Signing::None => ("none", "rsa"),
            Signing::Hs256 => ("HS256", "rsa"),
        };
        let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = encoded(&json!({ "alg": alg, "kid": kid, "typ": "JWT" }));
        let signed = format!("{header}.{}", encoded(&claims));
        let random = SystemRandom::new();
        let signature = match says.signing {
            Signing::None => Vec::new(),
            Signing::Hs256 => {
                let known: RsaPublicKeyComponents<Vec<u8>> = self.rsa.public().into();
                let key = hmac::Key::new(hmac::HMAC_SHA256, &known.n);
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            Signing::Es256 => self.ecdsa.sign(&random, signed.as_bytes()).expect("signed").as_ref().to_vec(),
            _ => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("signed");
                signature
            }
        };
        let signed = if says.signing == Signing::Tampered {
            claims["sub"] = json!("subject-2");
            format!("{header}.{}", encoded(&claims))
        } else {
            signed
        };
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A text of a form.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = std::str::from_utf8(&digits).unwrap_or("0");
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or(0));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
