use serde::Deserialize;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// What `vectors.py` wrote.
#[derive(Deserialize)]
struct Vectors {
    site: String,
    origin: String,
    challenge: String,
    id: String,
    es256: String,
    eddsa: String,
    rs256: String,
    made: Vec<Made>,
    asserted: Vec<Asserted>,
}

#[derive(Deserialize)]
struct Made {
    name: String,
    error: Option<String>,
    client_data: String,
    attestation: String,
}

#[derive(Deserialize)]
struct Asserted {
    name: String,
    error: Option<String>,
    key: String,
    known: Option<u32>,
    client_data: String,
    data: String,
    signature: String,
}

impl Vectors {
    fn key(&self, name: &str) -> &String {
        match name {
            "eddsa" => &self.eddsa,
            "rs256" | "RS256" => &self.rs256,
            _ => &self.es256,
        }
    }
}

fn vectors() -> (Vectors, Site) {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let site = Site { id: vectors.site.clone(), origin: Some(vectors.origin.clone()) };
    (vectors, site)
}

fn told<T: fmt::Debug>(result: &Result<T, PasskeyError>) -> Option<String> {
    result.as_ref().err().map(|error| format!("{error:?}"))
}

#[test]
fn what_another_implementation_made_is_taken_and_each_wrong_kind_is_refused_for_what_it_is() {
    let (vectors, site) = vectors();
    let challenge = bytes(&vectors.challenge);
    let expected = Expected { challenge: &challenge, site: &site };
    for vector in &vectors.made {
        let found = made(&expected, &bytes(&vector.client_data), &bytes(&vector.attestation));
        assert_eq!(told(&found), vector.error, "{}", vector.name);
        if let Ok(found) = found {
            let key = vectors.key(if vector.name == "Ed25519" { "eddsa" } else { &vector.name });
            assert_eq!((found.id, found.key.to_string(), found.sign_count), (bytes(&vectors.id), key.clone(), 7));
        }
    }
    for vector in &vectors.asserted {
        let key = vectors.key(&vector.key);
        let (data, client_data, signature) =
            (bytes(&vector.data), bytes(&vector.client_data), bytes(&vector.signature));
        let assertion = Assertion { authenticator_data: &data, client_data: &client_data, signature: &signature };
        let found = asserted(&expected, &key.parse().unwrap(), vector.known, &assertion);
        assert_eq!(told(&found), vector.error, "{}", vector.name);
    }
    assert!(vectors.made.len() + vectors.asserted.len() > 40);
}

#[test]
fn no_beginning_of_an_answer_is_one_and_no_changed_byte_goes_unseen() {
    let (vectors, site) = vectors();
    let challenge = bytes(&vectors.challenge);
    let expected = Expected { challenge: &challenge, site: &site };
    let (client_data, attestation) = (bytes(&vectors.made[0].client_data), bytes(&vectors.made[0].attestation));
    for length in 0..attestation.len() {
        assert!(made(&expected, &client_data, &attestation[..length]).is_err(), "{length} bytes");
    }
    let vector = &vectors.asserted[0];
    let key: PasskeyKey = vectors.es256.parse().unwrap();
    let whole = [bytes(&vector.data), bytes(&vector.client_data), bytes(&vector.signature)];
    for (part, text) in whole.iter().enumerate() {
        for place in 0..text.len() {
            let mut changed = whole.clone();
            changed[part][place] ^= 1;
            let [authenticator_data, client_data, signature] = &changed;
            let assertion = Assertion { authenticator_data, client_data, signature };
            assert!(asserted(&expected, &key, None, &assertion).is_err(), "byte {place} of part {part}");
        }
    }
}

/// The vectors of the standard itself for ES256 without attestation (W3C Web Authentication Level 3, section 16.2). Its
/// authenticator does not verify the user, which Stet asks for: everything else of it has to hold.
#[test]
fn the_standards_own_vectors_hold_but_for_the_user_who_was_not_verified() {
    let site = Site { id: "example.org".to_owned(), origin: Some("https://example.org".to_owned()) };
    let challenge = bytes("00c30fb78531c464d2b6771dab8d7b603c01162f2fa486bea70f283ae556e130");
    let attestation = bytes(
        "a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b559000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220",
    );
    let client_data = bytes(
        "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a22414d4d507434557878475453746e63647134313759447742466938767049612d7077386f4f755657345441222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a20426b5165446a646354427258426941774a544c453551227d",
    );
    let expected = Expected { challenge: &challenge, site: &site };
    check_client_data(&expected, "webauthn.create", &client_data).unwrap();
    assert_eq!(made(&expected, &client_data, &attestation), Err(PasskeyError::NotVerified));
    let (object, _) = cbor::read(&attestation).unwrap();
    let data = AuthenticatorData::read(object.get(&Value::Text("authData")).unwrap().bytes().unwrap()).unwrap();
    let (id, key) = data.credential.unwrap();
    assert_eq!(id, bytes("f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4"));

    let challenge = bytes("39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408");
    let data = bytes("bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000");
    let client_data = bytes(
        "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224f63446e55685158756c5455506f334a5558543049393770767a7a59425039745a63685879617630314167222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73657d",
    );
    let signature = bytes(
        "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b93538174f575bf11a1dd5d78c6e486013f937295ea13653e331e87",
    );
    let expected = Expected { challenge: &challenge, site: &site };
    let assertion = Assertion { authenticator_data: &data, client_data: &client_data, signature: &signature };
    check_client_data(&expected, "webauthn.get", &client_data).unwrap();
    check_signature(&key, &assertion).unwrap();
    assert_eq!(asserted(&expected, &key, Some(0), &assertion), Err(PasskeyError::NotVerified));
}

#[test]
fn without_an_address_of_its_own_a_node_takes_passkeys_of_this_machine_alone() {
    let site = Site { id: "localhost".to_owned(), origin: None };
    for origin in ["http://localhost", "http://localhost:8820"] {
        assert!(site.has_page(origin), "{origin}");
    }
    for origin in ["http://localhost.evil.example", "http://localhost:80@evil.example", "http://127.0.0.1:8820", "null"]
    {
        assert!(!site.has_page(origin), "{origin}");
    }
}

#[test]
fn a_key_reads_back_from_its_text() {
    let (vectors, _) = vectors();
    for text in [vectors.es256, vectors.eddsa, vectors.rs256] {
        assert_eq!(text.parse::<PasskeyKey>().unwrap().to_string(), text);
    }
    for text in ["", "es256:", "es256:AAAA", "rsa:AAAA", "ed25519:AAAA", "rs256:AQAB", "rs256:AQAB:AAAA"] {
        assert!(text.parse::<PasskeyKey>().is_err(), "{text}");
    }
}
