//! A bucket of S3-compatible storage: objects are read and written whole, by signed requests that are followed nowhere else.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::sigv4::{Credentials, ToSign, authorization, encoded, sha256_hex};
use crate::App;
use crate::config::S3Target;
use crate::error::AppError;
use crate::http::{Answer, Peer};

/// The longest code of an error that is repeated from an answer, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// A bucket with what opens it. Without `Debug`, so that it is never logged.
pub(crate) struct Bucket {
    peer: Peer,
    /// What stands before the keys in a path: that of the address, and the bucket.
    base: String,
    target: S3Target,
    secret: Vec<u8>,
    app: App,
}

impl Bucket {
    /// Opens a bucket with the credentials that are sealed on the node. Nothing is sent yet.
    pub(super) fn open(app: &App, target: &S3Target) -> Result<Bucket, AppError> {
        let secret = Handle::current().block_on(app.named_secret(&target.secret)).map_err(AppError::Configuration)?;
        let (peer, path) = Peer::of(&target.endpoint).map_err(AppError::Configuration)?;
        let base = format!("{}/{}", path.trim_end_matches('/'), target.bucket);
        Ok(Bucket { peer, base, target: target.clone(), secret, app: app.clone() })
    }

    /// An object; none if there is none of this key.
    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, AppError> {
        let answer = self.ask(Method::GET, key, Vec::new())?;
        match answer.status {
            200 => Ok(Some(answer.body.to_vec())),
            404 => Ok(None),
            _ => Err(self.refused("read", key, &answer)),
        }
    }

    /// Writes an object.
    pub(super) fn put(&self, key: &str, content: &[u8]) -> Result<(), AppError> {
        let answer = self.ask(Method::PUT, key, content.to_vec())?;
        if matches!(answer.status, 200 | 201 | 204) { Ok(()) } else { Err(self.refused("write", key, &answer)) }
    }

    fn ask(&self, method: Method, key: &str, body: Vec<u8>) -> Result<Answer, AppError> {
        let slash = if self.target.prefix.is_empty() { "" } else { "/" };
        let path = encoded(&format!("{}/{}{slash}{key}", self.base, self.target.prefix));
        let now = stet_editlog::time::format(self.app.inner.clock.now().micros()).unwrap_or_default();
        let moment: String = now.chars().take(19).filter(|letter| !matches!(letter, '-' | ':')).collect();
        let moment = format!("{moment}Z");
        let body_hash = sha256_hex(&body);
        // What buckets whose objects are locked ask for.
        let checksum = BASE64_STANDARD.encode(Sha256::digest(&body));
        let mut signed = vec![
            ("host", self.peer.authority()),
            ("x-amz-content-sha256", body_hash.as_str()),
            ("x-amz-date", moment.as_str()),
        ];
        if method == Method::PUT {
            signed.insert(1, ("x-amz-checksum-sha256", checksum.as_str()));
        }
        let credentials =
            Credentials { access_key: &self.target.access_key, secret: &self.secret, region: &self.target.region };
        let request =
            ToSign { method: method.as_str(), path: &path, headers: &signed, body_hash: &body_hash, moment: &moment };
        let mut headers = vec![(AUTHORIZATION, authorization(&credentials, &request))];
        let others = signed.iter().filter(|(name, _)| *name != "host");
        headers.extend(others.map(|(name, value)| (HeaderName::from_static(name_of(name)), (*value).to_owned())));
        Handle::current()
            .block_on(self.peer.ask(method, &path, &headers, Bytes::from(body)))
            .map_err(|reason| AppError::Unavailable(format!("{} cannot be reached: {reason}", self.target.name())))
    }

    /// What an answer means, with no more of it than its code.
    fn refused(&self, doing: &str, key: &str, answer: &Answer) -> AppError {
        let body = String::from_utf8_lossy(&answer.body);
        let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
        let code = code.filter(|code| {
            !code.is_empty() && code.len() <= CODE_BYTES_MAX && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let code = code.map(|code| format!(", {code}")).unwrap_or_default();
        let (name, status) = (self.target.name(), answer.status);
        let told = format!("{name}: cannot {doing} {key} (status {status}{code})");
        match status {
            300..400 => AppError::Configuration(format!(
                "{told}: it sends elsewhere, and Stet does not follow. Is `region` right, and `s3` the address of that region?"
            )),
            403 => AppError::Refused(format!(
                "{told}: look at `access_key`, the secret `{}` and the clock; the key has to be allowed s3:GetObject, s3:PutObject and s3:ListBucket (without the last one, what is missing looks forbidden)",
                self.target.secret
            )),
            500.. | 429 => AppError::Unavailable(told),
            _ => AppError::Configuration(told),
        }
    }
}

/// The names above are written here; others are not asked for.
fn name_of(name: &str) -> &'static str {
    match name {
        "x-amz-checksum-sha256" => "x-amz-checksum-sha256",
        "x-amz-date" => "x-amz-date",
        _ => "x-amz-content-sha256",
    }
}
