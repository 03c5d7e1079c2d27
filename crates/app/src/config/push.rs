//! `[sealing]` of `stet.toml`: the places that checkpoints are pushed to.

use std::path::PathBuf;

use serde::Deserialize;
use stet_editlog::VerifierKey;
use stet_editlog::note::KeyKind;

use super::is_safe_address;

/// A place that checkpoints are pushed to.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "PushFile")]
pub enum PushTarget {
    /// A folder, best one that those who own the node's database cannot write; relative to the node's folder unless it is
    /// absolute.
    Folder(PathBuf),
    /// A bucket of S3-compatible storage.
    S3(S3Target),
    /// A witness that cosigns (C2SP tlog-witness).
    Witness(WitnessTarget),
}

/// A bucket of S3-compatible storage.
#[derive(Debug, Clone)]
pub struct S3Target {
    /// The address of the service, without the bucket.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// What keys begin with, without slashes at either end; may be empty.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The public part of the credentials.
    pub access_key: String,
    /// The name under which the secret part is sealed on the node.
    pub secret: String,
}

impl S3Target {
    /// How it is called: `s3://bucket/prefix`.
    pub fn name(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }
}

/// A witness that cosigns checkpoints.
#[derive(Debug, Clone)]
pub struct WitnessTarget {
    /// Its submission prefix.
    pub address: String,
    /// Its public key, for cosignatures.
    pub key: VerifierKey,
}

impl PushTarget {
    /// How it is called in messages.
    pub fn name(&self) -> String {
        match self {
            PushTarget::Folder(folder) => folder.display().to_string(),
            PushTarget::S3(target) => target.name(),
            PushTarget::Witness(target) => format!("witness {}", target.key.name()),
        }
    }
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PushFile {
    folder: Option<PathBuf>,
    s3: Option<String>,
    bucket: Option<String>,
    #[serde(default)]
    prefix: String,
    region: Option<String>,
    access_key: Option<String>,
    secret: Option<String>,
    witness: Option<String>,
    key: Option<String>,
}

impl TryFrom<PushFile> for PushTarget {
    type Error = String;

    fn try_from(file: PushFile) -> Result<PushTarget, String> {
        let PushFile { folder, s3, bucket, prefix, region, access_key, secret, witness, key } = file;
        let of_s3 =
            bucket.is_some() || !prefix.is_empty() || region.is_some() || access_key.is_some() || secret.is_some();
        let safe = |address: &String| {
            let rest = address.split_once("://").map_or("", |(_, rest)| rest);
            is_safe_address(address) && !rest.contains('?')
        };
        match (folder, s3, witness) {
            (Some(folder), None, None) if !of_s3 && key.is_none() => Ok(PushTarget::Folder(folder)),
            (None, Some(endpoint), None) if key.is_none() => {
                if !safe(&endpoint) {
                    return Err("`s3` is the address of the storage: it begins with https:// (http:// is for this machine alone)".to_owned());
                }
                let part = |value: Option<String>, what: &str| {
                    let right = |text: &String| {
                        !text.is_empty() && text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic())
                    };
                    value.filter(right).ok_or_else(|| {
                        format!("a place in S3-compatible storage needs `{what}`, of printable ASCII without spaces")
                    })
                };
                let bucket = part(bucket, "bucket")?;
                if bucket.contains('/') || bucket.starts_with('.') {
                    return Err("`bucket` is the name of a bucket, without a path: write the path as `prefix`".to_owned());
                }
                let prefix = prefix.trim_matches('/').to_owned();
                let odd = |part: &str| matches!(part, "" | "." | "..");
                if !prefix.is_empty() && (prefix.len() > 500 || prefix.split('/').any(odd)) {
                    return Err("`prefix` has parts with one slash between them, none of which is `.` or `..`".to_owned());
                }
                Ok(PushTarget::S3(S3Target {
                    endpoint: endpoint.trim_end_matches('/').to_owned(),
                    bucket,
                    prefix,
                    region: part(region, "region")?,
                    access_key: part(access_key, "access_key")?,
                    secret: part(secret, "secret").map_err(|_| {
                        "a place in S3-compatible storage needs `secret`: the name under which `stet secrets set` sealed its secret key".to_owned()
                    })?,
                }))
            }
            (None, None, Some(address)) if !of_s3 => {
                if !safe(&address) {
                    return Err("`witness` is the address of the witness: it begins with https:// (http:// is for this machine alone)".to_owned());
                }
                let key = key.ok_or("a witness needs `key`: its public key, which its operator tells")?;
                let key: VerifierKey = key.parse().map_err(|error| format!("`key` of a witness: {error}"))?;
                if key.kind() != KeyKind::Cosignature {
                    return Err("`key` of a witness is a key for cosignatures (type 4 of C2SP tlog-cosignature)".to_owned());
                }
                Ok(PushTarget::Witness(WitnessTarget { address: address.trim_end_matches('/').to_owned(), key }))
            }
            _ => Err(
                "a place to push to is one of `{ folder = … }`, `{ s3 = …, bucket = …, region = …, access_key = …, secret = … }` and `{ witness = …, key = … }`"
                    .to_owned(),
            ),
        }
    }
}
