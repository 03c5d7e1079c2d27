//! An authenticator in memory: makes passkeys and uses them, as a browser and a security key do together. It can be told to
//! get one thing wrong.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// Somebody was there, and it was the owner.
const PRESENT_AND_VERIFIED: u8 = 0x05;

/// A key comes along.
const HAS_CREDENTIAL: u8 = 0x40;

/// An authenticator with one passkey.
pub struct Authenticator {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    /// On which page it is used.
    pub origin: String,
    /// For which site.
    pub site: String,
    /// How often it was used.
    pub count: u32,
    /// What it says of whoever uses it.
    pub flags: u8,
}

impl Authenticator {
    /// A new one, for pages of this machine.
    pub fn new(id: u8) -> Authenticator {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("a key");
        Authenticator {
            key,
            id: vec![id; 32],
            origin: "http://localhost".to_owned(),
            site: "localhost".to_owned(),
            count: 0,
            flags: PRESENT_AND_VERIFIED,
        }
    }

    /// The id of its passkey, as browsers write it.
    pub fn id(&self) -> String {
        encoded(&self.id)
    }

    /// Makes its passkey, as the options ask for: the body that the node wants.
    pub fn make(&self, name: &str, options: &Value) -> Value {
        let client_data = self.client_data("webauthn.create", options);
        let point = self.key.public_key().as_ref();
        // {1: 2, 3: -7, -1: 1, -2: x, -3: y} in CBOR.
        let head = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        let key = [&head[..], &point[1..33], &[0x22, 0x58, 0x20], &point[33..]].concat();
        let credential = [&[0; 16][..], &[0, 32], &self.id, &key].concat();
        let data = [self.data(self.flags | HAS_CREDENTIAL), credential].concat();
        let mut attestation = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        attestation.push(u8::try_from(data.len()).expect("a short answer"));
        attestation.extend(data);
        json!({ "name": name, "client_data": encoded(&client_data), "attestation": encoded(&attestation) })
    }

    /// Uses its passkey, as the options ask for: id, authenticator data, client data, signature.
    pub fn answer(&mut self, options: &Value) -> Value {
        self.count += 1;
        let (data, client_data) = (self.data(self.flags), self.client_data("webauthn.get", options));
        let message = [&data[..], digest(&SHA256, &client_data).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message).expect("a signature");
        json!({
            "id": self.id(), "authenticator_data": encoded(&data), "client_data": encoded(&client_data),
            "signature": encoded(signature.as_ref()),
        })
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let site = digest(&SHA256, self.site.as_bytes());
        [site.as_ref(), &[flags], &self.count.to_be_bytes()].concat()
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({ "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false })
            .to_string()
            .into_bytes()
    }
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
