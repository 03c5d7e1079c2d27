//! What a browser brings back from an authenticator, held against what was asked for: W3C Web Authentication, Level 3,
//! sections 7.1 (registering) and 7.2 (asserting). Which step is which stands beside it.
//!
//! Taken are ES256, EdDSA with Ed25519 and RS256 (which some computers alone make), and no attestation (`none`): who made an
//! authenticator is nobody's business here.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::cbor::{self, Value};

/// The longest answer of an authenticator that is looked at, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The longest id of a credential (step 25 of section 7.1).
const CREDENTIAL_ID_BYTES_MAX: usize = 1023;

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const HAS_CREDENTIAL: u8 = 0x40;
const HAS_EXTENSIONS: u8 = 0x80;

/// Why what a browser brought back does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// It is cut short, too long, or not in the form of the standard.
    #[error("what the passkey answered cannot be read")]
    Unreadable,
    /// It is an answer to another kind of question.
    #[error("the passkey answered another kind of question")]
    Type,
    /// It is an answer to another question: a replay, or a mix-up.
    #[error("the passkey answered another question: begin again")]
    Challenge,
    /// It was made on a page of another site, or below one.
    #[error("the passkey was used on a page of another site")]
    Origin,
    /// It is for another site.
    #[error("the passkey is one for another site")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("nobody was there when the passkey was used")]
    NotPresent,
    /// The authenticator did not look who it was.
    #[error("the passkey was used without looking who uses it: it needs a PIN, a fingerprint or the like")]
    NotVerified,
    /// It can be backed up no more and is, which cannot be.
    #[error("the passkey says of its backup what cannot be")]
    Backup,
    /// The key is of a kind that Stet does not take.
    #[error("the key of this passkey is of a kind that Stet does not take: it takes ES256, Ed25519 and RS256")]
    Algorithm,
    /// It comes with an attestation, which was not asked for.
    #[error("the passkey comes with a statement of its maker, which was not asked for")]
    Attestation,
    /// The signature is not by the key.
    #[error("the signature of the passkey is not right")]
    Signature,
    /// It has counted backwards: there may be a copy of the authenticator.
    #[error("this passkey has counted backwards: somebody may have a copy of it, so it was refused")]
    Counter,
}

/// What was asked for.
pub struct Expected<'a> {
    /// What was to be signed.
    pub challenge: &'a [u8],
    /// Whose passkeys count, and on which pages.
    pub site: &'a Site,
}

/// A site: the relying party of the standard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The host, whose passkeys count.
    pub id: String,
    /// The address of its pages; none for any port of `localhost`, as long as a node has no address.
    pub origin: Option<String>,
}

/// The key by which a passkey's signatures are checked. As text it is `es256:`, `ed25519-passkey:` or `rs256:` and its Base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasskeyKey {
    /// ECDSA over P-256 with SHA-256: the uncompressed point, 65 bytes.
    Es256(Vec<u8>),
    /// Ed25519: 32 bytes.
    Ed25519(Vec<u8>),
    /// RSA (PKCS #1 v1.5) with SHA-256, of 2048 to 8192 bits: the modulus and the exponent.
    Rs256(Vec<u8>, Vec<u8>),
}

/// A passkey that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeCredential {
    /// Its id.
    pub id: Vec<u8>,
    /// Its key.
    pub key: PasskeyKey,
    /// How often it was used; 0 of those that do not count.
    pub sign_count: u32,
}

/// An answer to the question for a signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assertion<'a> {
    /// `authenticatorData`.
    pub authenticator_data: &'a [u8],
    /// `clientDataJSON`.
    pub client_data: &'a [u8],
    /// `signature`.
    pub signature: &'a [u8],
}

/// Checks that a passkey was made as it was asked for (section 7.1).
///
/// # Errors
/// With what is wrong.
pub fn made(expected: &Expected<'_>, client_data: &[u8], attestation: &[u8]) -> Result<MadeCredential, PasskeyError> {
    // Steps 7 to 12.
    check_client_data(expected, "webauthn.create", client_data)?;
    if attestation.len() > ANSWER_BYTES_MAX {
        return Err(PasskeyError::Unreadable);
    }
    // Step 13.
    let (object, rest) = cbor::read(attestation).ok_or(PasskeyError::Unreadable)?;
    let data = object.get(&Value::Text("authData")).and_then(Value::bytes).ok_or(PasskeyError::Unreadable)?;
    let format = object.get(&Value::Text("fmt")).ok_or(PasskeyError::Unreadable)?;
    if !rest.is_empty() {
        return Err(PasskeyError::Unreadable);
    }
    // Steps 14 to 20.
    let data = AuthenticatorData::read(data)?;
    data.check(expected.site)?;
    let (id, key) = data.credential.ok_or(PasskeyError::Unreadable)?;
    // Steps 21 to 24: no attestation was asked for, and none is believed.
    if *format != Value::Text("none") || object.get(&Value::Text("attStmt")) != Some(&Value::Map(Vec::new())) {
        return Err(PasskeyError::Attestation);
    }
    Ok(MadeCredential { id: id.to_vec(), key, sign_count: data.sign_count })
}

/// Checks a signature by a passkey (section 7.2), and gives how often it was used. `known_count` is how often it had been
/// used before, if that is known.
///
/// # Errors
/// With what is wrong.
pub fn asserted(
    expected: &Expected<'_>,
    key: &PasskeyKey,
    known_count: Option<u32>,
    assertion: &Assertion<'_>,
) -> Result<u32, PasskeyError> {
    // Steps 9 to 14.
    check_client_data(expected, "webauthn.get", assertion.client_data)?;
    // Steps 15 to 19.
    let data = AuthenticatorData::read(assertion.authenticator_data)?;
    data.check(expected.site)?;
    // Steps 20 and 21.
    check_signature(key, assertion)?;
    // Step 22: a count of 0 on both sides is that of an authenticator that does not count.
    if let Some(known) = known_count
        && (data.sign_count != 0 || known != 0)
        && data.sign_count <= known
    {
        return Err(PasskeyError::Counter);
    }
    Ok(data.sign_count)
}

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<String>,
}

fn check_client_data(expected: &Expected<'_>, kind: &str, bytes: &[u8]) -> Result<(), PasskeyError> {
    if bytes.len() > ANSWER_BYTES_MAX {
        return Err(PasskeyError::Unreadable);
    }
    // A byte order mark is taken off, as the standard's "UTF-8 decode" does; what else is in it may grow.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let data: ClientData = serde_json::from_slice(bytes).map_err(|_| PasskeyError::Unreadable)?;
    if data.kind != kind {
        return Err(PasskeyError::Type);
    }
    if BASE64_URL_SAFE_NO_PAD.decode(&data.challenge).ok().as_deref() != Some(expected.challenge) {
        return Err(PasskeyError::Challenge);
    }
    if !expected.site.has_page(&data.origin) || data.cross_origin || data.top_origin.is_some() {
        return Err(PasskeyError::Origin);
    }
    Ok(())
}

fn check_signature(key: &PasskeyKey, assertion: &Assertion<'_>) -> Result<(), PasskeyError> {
    let mut message = assertion.authenticator_data.to_vec();
    message.extend(Sha256::digest(assertion.client_data));
    let verified = match key {
        PasskeyKey::Es256(point) => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&message, assertion.signature)
        }
        PasskeyKey::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(&message, assertion.signature),
        PasskeyKey::Rs256(n, e) => {
            RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, &message, assertion.signature)
        }
    };
    verified.map_err(|_| PasskeyError::Signature)
}

/// What an authenticator says (section 6.1).
struct AuthenticatorData<'a> {
    site_hash: &'a [u8],
    flags: u8,
    sign_count: u32,
    /// The id and the key of a credential that was just made.
    credential: Option<(&'a [u8], PasskeyKey)>,
}

impl<'a> AuthenticatorData<'a> {
    fn read(bytes: &'a [u8]) -> Result<AuthenticatorData<'a>, PasskeyError> {
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(PasskeyError::Unreadable);
        }
        let cut = PasskeyError::Unreadable;
        let (site_hash, rest) = bytes.split_at_checked(32).ok_or(cut)?;
        let (flags, rest) = rest.split_first().ok_or(cut)?;
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or(cut)?;
        let mut credential = None;
        if flags & HAS_CREDENTIAL != 0 {
            // The model of the authenticator, 16 bytes, which is nobody's business here.
            let (_, after) = rest.split_at_checked(16).ok_or(cut)?;
            let (length, after) = after.split_first_chunk::<2>().ok_or(cut)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length == 0 || length > CREDENTIAL_ID_BYTES_MAX {
                return Err(cut);
            }
            let (id, after) = after.split_at_checked(length).ok_or(cut)?;
            let (key, after) = cbor::read(after).ok_or(cut)?;
            credential = Some((id, cose_key(&key)?));
            rest = after;
        }
        if flags & HAS_EXTENSIONS != 0 {
            let (extensions, after) = cbor::read(rest).ok_or(cut)?;
            if !matches!(extensions, Value::Map(_)) {
                return Err(cut);
            }
            rest = after;
        }
        if !rest.is_empty() {
            return Err(cut);
        }
        Ok(AuthenticatorData { site_hash, flags: *flags, sign_count: u32::from_be_bytes(*count), credential })
    }

    fn check(&self, site: &Site) -> Result<(), PasskeyError> {
        if self.site_hash != Sha256::digest(site.id.as_bytes()).as_slice() {
            return Err(PasskeyError::RelyingParty);
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(PasskeyError::NotPresent);
        }
        if self.flags & USER_VERIFIED == 0 {
            return Err(PasskeyError::NotVerified);
        }
        if self.flags & BACKUP_ELIGIBLE == 0 && self.flags & BACKED_UP != 0 {
            return Err(PasskeyError::Backup);
        }
        Ok(())
    }
}

/// A key in the form of COSE (RFC 9052 and 9053): its type, algorithm and curve have to fit each other.
fn cose_key(key: &Value<'_>) -> Result<PasskeyKey, PasskeyError> {
    let number = |label: i64| key.get(&Value::Integer(label)).and_then(Value::integer);
    let coordinate = |label: i64| {
        let bytes = key.get(&Value::Integer(label)).and_then(Value::bytes);
        bytes.filter(|bytes| bytes.len() == 32).ok_or(PasskeyError::Algorithm)
    };
    if !matches!(key, Value::Map(_)) {
        return Err(PasskeyError::Unreadable);
    }
    match (number(1), number(3), number(-1)) {
        // EC2, ES256, P-256.
        (Some(2), Some(-7), Some(1)) => Ok(PasskeyKey::Es256([&[4], coordinate(-2)?, coordinate(-3)?].concat())),
        // OKP, EdDSA, Ed25519.
        (Some(1), Some(-8), Some(6)) => Ok(PasskeyKey::Ed25519(coordinate(-2)?.to_vec())),
        // RSA, RS256: its curve's place holds the modulus.
        (Some(3), Some(-257), None) => {
            let part = |label: i64| key.get(&Value::Integer(label)).and_then(Value::bytes).map(<[u8]>::to_vec);
            let (n, e) = part(-1).zip(part(-2)).ok_or(PasskeyError::Algorithm)?;
            if is_rsa(&n, &e) { Ok(PasskeyKey::Rs256(n, e)) } else { Err(PasskeyError::Algorithm) }
        }
        _ => Err(PasskeyError::Algorithm),
    }
}

/// Whether these can be the modulus and the exponent of a key of 2048 to 8192 bits.
fn is_rsa(n: &[u8], e: &[u8]) -> bool {
    (256..=1024).contains(&n.len()) && n[0] >= 0x80 && (1..=5).contains(&e.len())
}

impl Site {
    fn has_page(&self, origin: &str) -> bool {
        match &self.origin {
            Some(known) => known == origin,
            None => {
                let rest = origin.strip_prefix("http://localhost");
                rest.is_some_and(|rest| {
                    rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
                })
            }
        }
    }
}

impl fmt::Display for PasskeyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasskeyKey::Es256(point) => write!(f, "es256:{}", BASE64_STANDARD.encode(point)),
            PasskeyKey::Ed25519(key) => write!(f, "ed25519-passkey:{}", BASE64_STANDARD.encode(key)),
            PasskeyKey::Rs256(n, e) => {
                write!(f, "rs256:{}:{}", BASE64_STANDARD.encode(e), BASE64_STANDARD.encode(n))
            }
        }
    }
}

impl FromStr for PasskeyKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not the key of a passkey: the account page shows it", text.escape_debug());
        let (kind, rest) = text.trim().split_once(':').ok_or_else(wrong)?;
        if kind == "rs256" {
            let (e, n) = rest.split_once(':').ok_or_else(wrong)?;
            let [e, n] = [e, n].map(|part| BASE64_STANDARD.decode(part).unwrap_or_default());
            return if is_rsa(&n, &e) { Ok(PasskeyKey::Rs256(n, e)) } else { Err(wrong()) };
        }
        let bytes = BASE64_STANDARD.decode(rest).map_err(|_| wrong())?;
        match (kind, bytes.len(), bytes.first()) {
            ("es256", 65, Some(4)) => Ok(PasskeyKey::Es256(bytes)),
            ("ed25519-passkey", 32, _) => Ok(PasskeyKey::Ed25519(bytes)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
