//! ID tokens (OpenID Connect Core 1.0, section 3.1.3.7): whether one is the provider's, for this node, for this sign-in, now.
//!
//! The algorithm is decided by the kind of the provider's key, never by the token: only RS256 and ES256 are known, and each
//! only with keys of its kind.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How much clocks may differ, in seconds.
const LEEWAY_S: i64 = 60;

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// The longest subject, in bytes (section 2: 255 characters).
const SUBJECT_BYTES_MAX: usize = 255;

/// The most keys of a provider that are looked at.
const KEYS_MAX: usize = 100;

/// What a token is held against.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now_s: i64,
}

/// Why a token is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// The keys may have changed: they are asked for once more.
    #[error("the provider has no key of this name")]
    UnknownKey,
    #[error("{0}")]
    Refused(&'static str),
}

/// The provider's keys (RFC 7517).
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Keys {
    keys: Vec<Value>,
}

/// A key that signs tokens.
#[derive(Debug, Clone, Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// The claims of a token that is believed.
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) all: Map<String, Value>,
}

/// Looks at a token from end to end.
pub(super) fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    use TokenError::Refused;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused("the token is too long"));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refused("the token has no signature"))?;
    let (header, payload) = signed.split_once('.').ok_or(Refused("the token has no payload"))?;
    let header: Header = parsed(header)?;
    if header.crit.is_some() {
        return Err(Refused("the token asks for something that is not known"));
    }
    let kind = match header.alg.as_str() {
        "RS256" => "RSA",
        "ES256" => "EC",
        _ => return Err(Refused("the token is signed in a way that is not believed")),
    };
    let signature = decoded(signature)?;
    let known: Vec<Key> =
        keys.keys.iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
    let mut fitting = known.iter().filter(|key| {
        key.kty == kind
            && key.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && key.alg.as_ref().is_none_or(|alg| *alg == header.alg)
            && (header.kid.is_none() || header.kid == key.kid)
    });
    let key = fitting.next().ok_or(TokenError::UnknownKey)?;
    if fitting.next().is_some() {
        return Err(Refused("the token does not say which of the provider's keys signed it"));
    }
    if !is_signed(key, signed.as_bytes(), &signature) {
        return Err(Refused("the signature of the token is wrong"));
    }
    let claims: Map<String, Value> = parsed(payload)?;
    check(claims, expected)
}

fn check(claims: Map<String, Value>, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    use TokenError::Refused;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // Times are numbers, which may have fractions.
    let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(|seconds| seconds as i64);
    if text("iss") != Some(expected.issuer) {
        return Err(Refused("the token is another provider's"));
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audience.contains(&expected.client_id) {
        return Err(Refused("the token is for somebody else"));
    }
    let party = text("azp");
    if party.is_some_and(|party| party != expected.client_id) || (audience.len() > 1 && party.is_none()) {
        return Err(Refused("the token was given to somebody else"));
    }
    if time("exp").is_none_or(|end| end.saturating_add(LEEWAY_S) <= expected.now_s) {
        return Err(Refused("the token has expired"));
    }
    if time("iat").is_none_or(|made| made > expected.now_s.saturating_add(LEEWAY_S))
        || time("nbf").is_some_and(|start| start > expected.now_s.saturating_add(LEEWAY_S))
    {
        return Err(Refused("the token is of a time that has not come"));
    }
    if text("nonce") != Some(expected.nonce) {
        return Err(Refused("the token is of another sign-in"));
    }
    let subject = text("sub").filter(|subject| !subject.is_empty() && subject.len() <= SUBJECT_BYTES_MAX);
    let subject = subject.ok_or(Refused("the token does not say who it is about"))?.to_owned();
    Ok(Claims { subject, all: claims })
}

fn is_signed(key: &Key, signed: &[u8], signature: &[u8]) -> bool {
    let part = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_deref().unwrap_or_default()).ok();
    if key.kty == "RSA" {
        let (Some(n), Some(e)) = (part(&key.n), part(&key.e)) else { return false };
        // A number does not begin with zeros, but some providers write them.
        let n: Vec<u8> = n.into_iter().skip_while(|byte| *byte == 0).collect();
        return RsaPublicKeyComponents { n: &n, e: &e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).is_ok();
    }
    let (Some("P-256"), Some(x), Some(y)) = (key.crv.as_deref(), part(&key.x), part(&key.y)) else { return false };
    if x.len() != 32 || y.len() != 32 {
        return false;
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
}

fn decoded(text: &str) -> Result<Vec<u8>, TokenError> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Refused("the token is not in base64url"))
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&decoded(text)?).map_err(|_| TokenError::Refused("the token is not JSON inside"))
}
