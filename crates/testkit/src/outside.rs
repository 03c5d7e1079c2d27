//! Where a node pushes checkpoints to: a bucket of S3-compatible storage, and a witness (C2SP tlog-witness). Both check what
//! they are sent by themselves, from the specifications and not by Stet's code, and can be told to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{digest, hmac};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The public part of the credentials of the bucket.
pub const ACCESS_KEY: &str = "AKIDTESTOFSTET";

/// The secret part.
pub const SECRET_KEY: &str = "swordfish/of+tests0123456789";

/// The bucket.
pub const BUCKET: &str = "safe";

/// How a server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fails {
    /// Not at all.
    #[default]
    Never,
    /// It answers with this status, and an error that tells what it was sent.
    Status(u16),
    /// It sends elsewhere: to itself, where all is well.
    Redirect,
    /// It answers after so many milliseconds.
    Slow(u64),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve<S: Clone + Send + Sync + 'static>(router: Router<S>, state: S) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    let router = router.with_state(state);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (address, serving)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

/// A bucket of S3-compatible storage. Requests that are not signed as they should be are refused.
pub struct TestBucket {
    /// The address of the storage.
    pub address: String,
    shared: Arc<Storage>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Storage {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    fails: Mutex<Fails>,
    requests: Mutex<Vec<String>>,
}

impl TestBucket {
    /// Starts an empty one.
    pub async fn start() -> TestBucket {
        let shared = Arc::new(Storage::default());
        let (address, serving) = serve(Router::new().fallback(object), shared.clone()).await;
        TestBucket { address, shared, serving }
    }

    /// The line of `push` in `stet.toml` for it; its secret is sealed as `bucket`.
    pub fn target(&self) -> String {
        format!(
            "{{ s3 = \"{}\", bucket = \"{BUCKET}\", prefix = \"stet/logs\", region = \"eu-test-1\", access_key = \"{ACCESS_KEY}\", secret = \"bucket\" }}",
            self.address
        )
    }

    /// What is in it, by key.
    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        lock(&self.shared.objects)
    }

    /// How it fails from now on.
    pub fn fails(&self, fails: Fails) {
        *lock(&self.shared.fails) = fails;
    }

    /// The method and path of each request so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }
}

impl Drop for TestBucket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn object(
    State(storage): State<Arc<Storage>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    lock(&storage.requests).push(format!("{method} {uri}"));
    let fails = *lock(&storage.fails);
    match fails {
        Fails::Never => {}
        Fails::Slow(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Fails::Redirect => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, uri.to_string())]).into_response();
        }
        Fails::Status(status) => {
            let told = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let body = format!("<Error><Code>InternalError</Code><Message>{told}</Message></Error>");
            return (StatusCode::from_u16(status).expect("a status"), body).into_response();
        }
    }
    if let Err(why) = check_signature(&method, &uri, &headers, &body) {
        let body = format!("<Error><Code>SignatureDoesNotMatch</Code><Message>{why}</Message></Error>");
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    let Some(key) = uri.path().strip_prefix(&format!("/{BUCKET}/")).map(str::to_owned) else {
        return (StatusCode::NOT_FOUND, "<Error><Code>NoSuchBucket</Code></Error>").into_response();
    };
    match method {
        Method::GET => match lock(&storage.objects).get(&key) {
            Some(content) => content.clone().into_response(),
            None => (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response(),
        },
        Method::PUT => {
            lock(&storage.objects).insert(key, body.to_vec());
            StatusCode::OK.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

/// AWS Signature Version 4 (*Authenticating Requests* in the Amazon S3 API Reference), worked out anew.
fn check_signature(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(format!("no {name}"));
    let authorization = text("authorization")?;
    let parts: BTreeMap<&str, &str> = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("another algorithm")?
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .collect();
    let part = |name: &str| parts.get(name).copied().ok_or(format!("no {name}"));
    let (signed, found) = (part("SignedHeaders")?, part("Signature")?);
    let moment = text("x-amz-date")?;
    let scope = part("Credential")?.strip_prefix(&format!("{ACCESS_KEY}/")).ok_or("another access key")?;
    let scope_parts: Vec<&str> = scope.split('/').collect();
    let [day, "eu-test-1", "s3", "aws4_request"] = scope_parts[..] else { return Err("another scope".to_owned()) };
    if moment.len() != 16 || !moment.starts_with(day) {
        return Err("another day".to_owned());
    }
    for needed in ["host", "x-amz-content-sha256", "x-amz-date"] {
        if !signed.split(';').any(|name| name == needed) {
            return Err(format!("{needed} is not signed"));
        }
    }
    let body_hash = hex(&sha256(body));
    if text("x-amz-content-sha256")? != body_hash {
        return Err("another body".to_owned());
    }
    if *method == Method::PUT && text("x-amz-checksum-sha256")? != BASE64_STANDARD.encode(sha256(body)) {
        return Err("another checksum".to_owned());
    }
    let mut canonical = format!("{method}\n{}\n{}\n", uri.path(), uri.query().unwrap_or_default());
    for name in signed.split(';') {
        canonical.push_str(&format!("{name}:{}\n", text(name)?));
    }
    canonical.push_str(&format!("\n{signed}\n{body_hash}"));
    let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())));
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for step in scope_parts {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), step.as_bytes()).as_ref().to_vec();
    }
    let right = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes()).as_ref());
    if right == found { Ok(()) } else { Err("the signature is another one".to_owned()) }
}

/// A witness of logs that are signed by one key. It checks signatures and proofs, and cosigns.
pub struct TestWitness {
    /// Its submission prefix.
    pub address: String,
    shared: Arc<Watched>,
    serving: JoinHandle<()>,
}

struct Watched {
    key: Mutex<Ed25519KeyPair>,
    /// The public keys of logs, as texts; a log is known if the name of its key begins its origin.
    logs: Mutex<Vec<String>>,
    /// The size and root of each log, as it was last cosigned.
    seen: Mutex<BTreeMap<String, (u64, [u8; 32])>>,
    fails: Mutex<Fails>,
    /// Whether it signs something else than it should.
    lies: Mutex<bool>,
    statuses: Mutex<Vec<u16>>,
}

const WITNESS: &str = "witness.test/w1";

impl TestWitness {
    /// Starts one that knows no log.
    pub async fn start() -> TestWitness {
        let shared = Arc::new(Watched {
            key: Mutex::new(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key")),
            logs: Mutex::default(),
            seen: Mutex::default(),
            fails: Mutex::default(),
            lies: Mutex::default(),
            statuses: Mutex::default(),
        });
        let (address, serving) = serve(Router::new().fallback(add_checkpoint), shared.clone()).await;
        TestWitness { address: format!("{address}/w1"), shared, serving }
    }

    /// Its public key as text.
    pub fn key(&self) -> String {
        vkey(WITNESS, 4, lock(&self.shared.key).public_key().as_ref())
    }

    /// Signs with another key from now on.
    pub fn change_key(&self) {
        *lock(&self.shared.key) = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).expect("a key");
    }

    /// The line of `push` in `stet.toml` for it.
    pub fn target(&self) -> String {
        format!("{{ witness = \"{}\", key = \"{}\" }}", self.address, self.key())
    }

    /// Makes a key of logs known to it.
    pub fn trust(&self, key: &str) {
        lock(&self.shared.logs).push(key.to_owned());
    }

    /// How it fails from now on.
    pub fn fails(&self, fails: Fails) {
        *lock(&self.shared.fails) = fails;
    }

    /// Whether its cosignatures are wrong from now on.
    pub fn lies(&self, lies: bool) {
        *lock(&self.shared.lies) = lies;
    }

    /// The size of each log that it cosigned, by origin.
    pub fn seen(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.seen).iter().map(|(origin, (size, _))| (origin.clone(), *size)).collect()
    }

    /// The statuses of its answers so far.
    pub fn statuses(&self) -> Vec<u16> {
        lock(&self.shared.statuses).clone()
    }
}

impl Drop for TestWitness {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn key_id(name: &str, kind: u8, key: &[u8]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[kind], key].concat());
    [hash[0], hash[1], hash[2], hash[3]]
}

fn vkey(name: &str, kind: u8, key: &[u8]) -> String {
    format!("{name}+{}+{}", hex(&key_id(name, kind, key)), BASE64_STANDARD.encode([&[kind], key].concat()))
}

async fn add_checkpoint(State(watched): State<Arc<Watched>>, method: Method, uri: Uri, body: String) -> Response {
    let fails = *lock(&watched.fails);
    let answer = match fails {
        Fails::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Fails::Redirect => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, uri.to_string())]).into_response(),
        Fails::Slow(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            watched.add(&body)
        }
        Fails::Never if method == Method::POST && uri.path() == "/w1/add-checkpoint" => watched.add(&body),
        Fails::Never => StatusCode::NOT_FOUND.into_response(),
    };
    lock(&watched.statuses).push(answer.status().as_u16());
    answer
}

impl Watched {
    /// What C2SP tlog-witness says of `add-checkpoint`, step by step.
    fn add(&self, body: &str) -> Response {
        let bad = StatusCode::BAD_REQUEST.into_response();
        let Some((head, checkpoint)) = body.split_once("\n\n") else { return bad };
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(|old| old.parse::<u64>().ok());
        let proof: Option<Vec<[u8; 32]>> =
            lines.map(|line| BASE64_STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok())).collect();
        let (Some(old), Some(proof)) = (old, proof) else { return bad };
        let Some((text, signatures)) = checkpoint.split_once("\n\n").map(|(text, rest)| (format!("{text}\n"), rest))
        else {
            return bad;
        };
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else { return bad };
        let size: u64 = size.parse().expect("a size");
        let root: [u8; 32] = BASE64_STANDARD.decode(root).expect("base64").try_into().expect("a hash");
        if !lock(&self.logs).iter().any(|key| key.split('+').next().is_some_and(|name| origin.starts_with(name))) {
            return StatusCode::NOT_FOUND.into_response();
        }
        if !lock(&self.logs).iter().any(|key| signed_by(key, &text, signatures)) {
            return StatusCode::FORBIDDEN.into_response();
        }
        if old > size {
            return bad;
        }
        let mut seen = lock(&self.seen);
        let (known, known_root) = seen.get(origin).copied().unwrap_or_default();
        let conflict = (StatusCode::CONFLICT, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{known}\n"));
        if old != known || (old == size && known_root != root) {
            return conflict.into_response();
        }
        if !(if old == 0 { proof.is_empty() } else { consistent(old, size, known_root, root, &proof) }) {
            return StatusCode::UNPROCESSABLE_ENTITY.into_response();
        }
        seen.insert(origin.to_owned(), (size, root));
        let time = 1_800_000_000_u64 + size;
        let signed = if *lock(&self.lies) { text.replace('\n', "\n\n") } else { text };
        let key = lock(&self.key);
        let signature = key.sign(format!("cosignature/v1\ntime {time}\n{signed}").as_bytes());
        let id = key_id(WITNESS, 4, key.public_key().as_ref());
        let line = BASE64_STANDARD.encode([&id[..], &time.to_be_bytes(), signature.as_ref()].concat());
        format!("\u{2014} {WITNESS} {line}\n").into_response()
    }
}

/// Whether a line of signatures is by a key over a text.
fn signed_by(key: &str, text: &str, signatures: &str) -> bool {
    let Some((name, key)) = key.split_once('+').map(|(name, rest)| (name, rest.split_once('+').expect("a key").1))
    else {
        return false;
    };
    let key = BASE64_STANDARD.decode(key).expect("base64");
    let public = UnparsedPublicKey::new(&ED25519, &key[1..]);
    signatures.lines().any(|line| {
        let line = line.strip_prefix(&format!("\u{2014} {name} ")).and_then(|line| BASE64_STANDARD.decode(line).ok());
        line.is_some_and(|line| {
            line.get(..4) == Some(&key_id(name, 1, &key[1..])[..]) && public.verify(text.as_bytes(), &line[4..]).is_ok()
        })
    })
}

/// Whether a consistency proof holds, by the algorithm of RFC 9162, section 2.1.4.2.
fn consistent(first: u64, second: u64, first_root: [u8; 32], second_root: [u8; 32], proof: &[[u8; 32]]) -> bool {
    let node = |left: &[u8; 32], right: &[u8; 32]| sha256(&[&[1], &left[..], &right[..]].concat());
    if first == second {
        return proof.is_empty() && first_root == second_root;
    }
    let mut path = proof.to_vec();
    if first.is_power_of_two() {
        path.insert(0, first_root);
    }
    let Some((start, rest)) = path.split_first() else { return false };
    let (mut f, mut s) = (first - 1, second - 1);
    while f & 1 == 1 {
        (f, s) = (f >> 1, s >> 1);
    }
    let (mut of_first, mut of_second) = (*start, *start);
    for hash in rest {
        if s == 0 {
            return false;
        }
        if f & 1 == 1 || f == s {
            of_first = node(hash, &of_first);
            of_second = node(hash, &of_second);
            while f & 1 == 0 && f != 0 {
                (f, s) = (f >> 1, s >> 1);
            }
        } else {
            of_second = node(&of_second, hash);
        }
        (f, s) = (f >> 1, s >> 1);
    }
    s == 0 && of_first == first_root && of_second == second_root
}
