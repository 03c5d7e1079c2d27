//! Signed statements: DSSE envelopes (Dead Simple Signing Envelope, version 1 of the protocol) with Ed25519 signatures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stet_domain::bundle::{ApprovalStatement, MANIFEST_BYTES_MAX, STATEMENT_FORMAT};

use super::keys::{PublicKey, SecretKey};
use crate::passkeys::{Assertion, Expected, PasskeyError, PasskeyKey, Site, asserted};

/// The type of an envelope over the manifest of a bundle.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.stet.bundle-manifest+json";

/// The type of an envelope over an approval.
pub(crate) const APPROVAL_TYPE: &str = "application/vnd.stet.bundle-approval+json";

/// The longest envelope, in bytes.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 2 * MANIFEST_BYTES_MAX;

/// The longest approval, in bytes.
pub(crate) const APPROVAL_BYTES_MAX: usize = 256 * 1024;

/// The most signatures of an envelope.
const SIGNATURES_MAX: usize = 20;

/// A payload with its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    #[serde(rename = "payloadType")]
    payload_type: String,
    /// Base64.
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    /// Base64.
    sig: String,
    /// What else a passkey signs with it; none for a key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passkey: Option<SignedByPasskey>,
}

/// What a passkey signs: not the message itself but these two, of which the second names the message's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedByPasskey {
    /// `authenticatorData`, in Base64 for addresses.
    authenticator_data: String,
    /// `clientDataJSON`, in Base64 for addresses.
    client_data: String,
}

impl Envelope {
    /// Signs a payload.
    pub(crate) fn sign(payload_type: &str, payload: &[u8], key: &SecretKey) -> Envelope {
        let mut envelope =
            Envelope { payload_type: payload_type.to_owned(), payload: BASE64.encode(payload), signatures: Vec::new() };
        envelope.add(payload, key);
        envelope
    }

    /// Adds a signature, or renews the one of this key.
    pub(crate) fn add(&mut self, payload: &[u8], key: &SecretKey) {
        let keyid = key.public().id();
        self.signatures.retain(|signature| signature.keyid != keyid);
        let sig = BASE64.encode(key.sign(&pre_authentication(&self.payload_type, payload)));
        self.signatures.push(Signature { keyid, sig, passkey: None });
        self.signatures.sort_by(|a, b| a.keyid.cmp(&b.keyid));
    }

    /// Reads an envelope. With a `payload`, the one inside has to be the same.
    pub(crate) fn parse(bytes: &[u8], payload: Option<&[u8]>) -> Result<Envelope, String> {
        let envelope: Envelope =
            serde_json::from_slice(bytes).map_err(|error| format!("the signatures cannot be read: {error}"))?;
        if envelope.to_bytes() != bytes && payload.is_some() {
            return Err("its signatures are not in the form that Stet writes".to_owned());
        }
        if envelope.signatures.is_empty() || envelope.signatures.len() > SIGNATURES_MAX {
            return Err(format!("an envelope has 1 to {SIGNATURES_MAX} signatures"));
        }
        if let Some(payload) = payload
            && (envelope.payload_type != MANIFEST_TYPE || envelope.payload != BASE64.encode(payload))
        {
            return Err("its signatures are those of another manifest".to_owned());
        }
        Ok(envelope)
    }

    /// The envelope in the form in which it is kept.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Structs of plain fields always serialise.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The ids of the keys that it says signed it; whether they did is not checked.
    pub fn key_ids(&self) -> Vec<&str> {
        self.signatures.iter().map(|signature| signature.keyid.as_str()).collect()
    }

    /// Those of these keys that have signed this payload.
    pub(crate) fn verified_by<'a>(
        &self,
        payload: &[u8],
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Vec<&'a PublicKey> {
        let message = pre_authentication(&self.payload_type, payload);
        let signed = |key: &PublicKey| {
            self.signatures.iter().any(|signature| {
                signature.passkey.is_none()
                    && signature.keyid == key.id()
                    && BASE64.decode(&signature.sig).is_ok_and(|sig| key.verify(&message, &sig))
            })
        };
        keys.into_iter().filter(|key| signed(key)).collect()
    }

    /// The one of these passkeys that has signed this payload on a page of this site, and how often it had been used; why
    /// not, if none has.
    pub(crate) fn verified_by_passkey(
        &self,
        payload: &[u8],
        keys: &[PasskeyKey],
        site: &Site,
    ) -> Result<(PasskeyKey, u32), PasskeyError> {
        let challenge = approval_challenge(payload);
        let mut why = PasskeyError::Signature;
        for signature in &self.signatures {
            let Some(signed) = &signature.passkey else { continue };
            let parts =
                [&signed.authenticator_data, &signed.client_data].map(|text| BASE64_URL_SAFE_NO_PAD.decode(text));
            let ([Ok(authenticator_data), Ok(client_data)], Ok(signature)) = (parts, BASE64.decode(&signature.sig))
            else {
                why = PasskeyError::Unreadable;
                continue;
            };
            let assertion =
                Assertion { authenticator_data: &authenticator_data, client_data: &client_data, signature: &signature };
            for key in keys {
                match asserted(&Expected { challenge: &challenge, site }, key, None, &assertion) {
                    Ok(count) => return Ok((key.clone(), count)),
                    Err(error) => why = error,
                }
            }
        }
        Err(why)
    }

    /// Whether it says that a passkey signed it.
    pub(crate) fn is_of_passkey(&self) -> bool {
        self.signatures.iter().any(|signature| signature.passkey.is_some())
    }

    /// The statement of an approval, as it is said; whether it was signed is not checked.
    pub(crate) fn statement(&self) -> Result<(ApprovalStatement, Vec<u8>), String> {
        if self.payload_type != APPROVAL_TYPE {
            return Err(format!("this is not an approval: its type is `{}`", self.payload_type.escape_debug()));
        }
        let payload = BASE64.decode(&self.payload).map_err(|_| "the approval cannot be read".to_owned())?;
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        let version: Version =
            serde_json::from_slice(&payload).map_err(|error| format!("the approval cannot be read: {error}"))?;
        if version.format != u64::from(STATEMENT_FORMAT) {
            return Err(format!(
                "the approval has format version {} and this version of Stet reads version {STATEMENT_FORMAT}",
                version.format
            ));
        }
        let statement =
            serde_json::from_slice(&payload).map_err(|error| format!("the approval cannot be read: {error}"))?;
        Ok((statement, payload))
    }
}

/// What a passkey is asked to sign for an approval: the hash of the message that a key file would sign.
pub(crate) fn approval_challenge(payload: &[u8]) -> Vec<u8> {
    Sha256::digest(pre_authentication(APPROVAL_TYPE, payload)).to_vec()
}

/// What is really signed: the type and the payload, each with its length, so that neither can pass for the other.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_message_is_that_of_the_protocols_example() {
        // The example of the DSSE protocol's description.
        assert_eq!(
            pre_authentication("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn a_signature_holds_for_its_payload_and_type_alone() {
        let (key, other) = (SecretKey::new("a"), SecretKey::new("b"));
        let (public, stranger) = (key.public(), other.public());
        let envelope = Envelope::sign(MANIFEST_TYPE, b"payload", &key);
        assert_eq!(envelope.verified_by(b"payload", [&stranger, &public]), [&public]);
        assert!(envelope.verified_by(b"payloaD", [&public]).is_empty());
        assert!(envelope.verified_by(b"payload", [&stranger]).is_empty());
        let retyped = Envelope { payload_type: APPROVAL_TYPE.to_owned(), ..envelope.clone() };
        assert!(retyped.verified_by(b"payload", [&public]).is_empty());
        // A foreign signature under the right key's id.
        let mut forged = Envelope::sign(MANIFEST_TYPE, b"payload", &other);
        forged.signatures[0].keyid = public.id();
        assert!(forged.verified_by(b"payload", [&public]).is_empty());
    }
}
