//! Signatures of requests to S3-compatible storage: AWS Signature Version 4, in the header `Authorization`.
//!
//! As the *Amazon S3 API Reference* describes it under "Signature Calculations for the Authorization Header: Transferring
//! Payload in a Single Chunk". The tests are its examples.

use ring::hmac::{HMAC_SHA256, Key, Tag, sign};
use sha2::{Digest, Sha256};

use crate::password::hex;

/// Whose requests they are, and where to.
pub(super) struct Credentials<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret: &'a [u8],
    pub(super) region: &'a str,
}

/// What is signed of a request.
pub(super) struct ToSign<'a> {
    pub(super) method: &'a str,
    /// As it travels, every part of it [encoded].
    pub(super) path: &'a str,
    /// All headers that are signed, with names in lower case and in the order of the alphabet, `host` and `x-amz-date`
    /// among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// The SHA-256 of the body in hexadecimal.
    pub(super) body_hash: &'a str,
    /// The moment, such as `20130524T000000Z`.
    pub(super) moment: &'a str,
}

/// The header `Authorization` of a request.
pub(super) fn authorization(credentials: &Credentials<'_>, request: &ToSign<'_>) -> String {
    let ToSign { method, path, headers, body_hash, moment } = request;
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    // There is no query: the line for it is empty.
    let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{body_hash}");
    let day = moment.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/s3/aws4_request", credentials.region);
    let text = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let first = [b"AWS4", credentials.secret].concat();
    let key = [day, credentials.region, "s3", "aws4_request"]
        .iter()
        .fold(first, |key, part| hmac(&key, part).as_ref().to_vec());
    let signature = hex(hmac(&key, &text).as_ref());
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
        credentials.access_key
    )
}

fn hmac(key: &[u8], text: &str) -> Tag {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes())
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A path as it travels: of each part every byte but letters, digits and `-._~` by its number.
pub(super) fn encoded(path: &str) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            text.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Credentials<'_> = Credentials {
        access_key: "AKIAIOSFODNN7EXAMPLE",
        secret: b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
    };

    fn signature(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let body_hash = sha256_hex(body);
        let request = ToSign { method, path, headers, body_hash: &body_hash, moment: "20130524T000000Z" };
        let header = authorization(&EXAMPLE, &request);
        header.rsplit_once('=').map(|(_, signature)| signature.to_owned()).unwrap_or_default()
    }

    #[test]
    fn the_examples_of_the_reference_are_signed_as_it_says() {
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let get = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", nothing),
            ("x-amz-date", "20130524T000000Z"),
        ];
        assert_eq!(
            signature("GET", "/test.txt", &get, b""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let body = b"Welcome to Amazon S3.";
        let hash = sha256_hex(body);
        let put = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", hash.as_str()),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        assert_eq!(
            signature("PUT", &encoded("/test$file.text"), &put, body),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
    }

    #[test]
    fn what_is_no_letter_digit_or_sign_of_a_path_travels_by_its_number() {
        assert_eq!(encoded("/a b/ü+%.~_-9"), "/a%20b/%C3%BC%2B%25.~_-9");
    }
}
