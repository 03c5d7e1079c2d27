//! Keys for signing bundles and approvals: Ed25519 (RFC 8032), with one text form for people.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use rand::Rng;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::AppError;
use crate::password::hex;

/// What stands before a key's Base64 in its text form.
const PREFIX: &str = "ed25519:";

/// The largest key file, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// A key that signatures are checked with. As text it is `ed25519:` and its Base64.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A key that signs, with the name of whom it belongs to.
#[derive(Clone)]
pub struct SecretKey {
    /// The person's login, or the node's name.
    pub name: String,
    key: SigningKey,
}

impl PublicKey {
    /// A short name of the key: the beginning of its SHA-256 hash, in hexadecimal.
    pub fn id(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes())[..8])
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        // Strict: refuses keys of small order and signatures in more than one form.
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not a public key: write it as {PREFIX} and 44 characters", text.escape_debug());
        let bytes = text.trim().strip_prefix(PREFIX).and_then(|text| BASE64.decode(text).ok()).ok_or_else(wrong)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| wrong())?;
        VerifyingKey::from_bytes(&bytes).map(PublicKey).map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A key file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    name: String,
    public: PublicKey,
    secret: String,
}

impl SecretKey {
    /// A new key.
    pub fn new(name: &str) -> SecretKey {
        let mut seed = [0u8; 32];
        rand::rng().fill_bytes(&mut seed);
        SecretKey { name: name.to_owned(), key: SigningKey::from_bytes(&seed) }
    }

    /// The key that others check the signatures with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// Writes the key to a new file that its owner alone can read.
    ///
    /// # Errors
    /// When the file is there already, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), AppError> {
        let cannot = |error: std::io::Error| {
            AppError::Configuration(match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    format!("{} is there already: choose another file, a key is never overwritten", path.display())
                }
                _ => format!("cannot write {}: {error}", path.display()),
            })
        };
        let text = format!(
            "# A secret key of Stet. Whoever has this file can sign as {name}: keep it to yourself.\nname = {name}\n\
             public = \"{}\"\nsecret = \"{PREFIX}{}\"\n",
            self.public(),
            BASE64.encode(self.key.to_bytes()),
            name = toml::Value::String(self.name.clone()),
        );
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.open(path).map_err(cannot)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// When it cannot be read, is not a key file, or others than its owner can read it.
    pub fn read(path: &Path) -> Result<SecretKey, AppError> {
        let cannot =
            |reason: String| AppError::Configuration(format!("cannot use the key {}: {reason}", path.display()));
        let metadata = std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?;
        if metadata.len() > KEY_FILE_BYTES_MAX {
            return Err(cannot("it is too large for a key file".to_owned()));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if metadata.permissions().mode() & 0o077 != 0 {
                return Err(cannot(format!(
                    "others can read it. Make a new key, or if nobody has: chmod 600 {}",
                    path.display()
                )));
            }
        }
        let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
        // The parser's message could show a line of the file, which is secret.
        let wrong = || cannot("it is not a key file, as `stet bundle keygen` writes it".to_owned());
        let file: KeyFile = toml::from_str(&text).map_err(|_| wrong())?;
        let seed = file.secret.strip_prefix(PREFIX).and_then(|text| BASE64.decode(text).ok()).ok_or_else(wrong)?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| wrong())?;
        let key = SecretKey { name: file.name, key: SigningKey::from_bytes(&seed) };
        if key.public() != file.public {
            return Err(cannot("its public key does not belong to its secret key".to_owned()));
        }
        Ok(key)
    }
}

/// The node's own key; makes it if there is none, as in a node of an earlier Stet.
pub(crate) fn node_key(path: &Path, name: &str) -> Result<SecretKey, AppError> {
    if !path.exists() {
        match SecretKey::new(name).write(path) {
            // Another process was faster: its key is the node's.
            Err(_) if path.exists() => {}
            other => other?,
        }
    }
    SecretKey::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_reads_back_is_for_its_owner_alone_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ada.key");
        let key = SecretKey::new("ada \"quoted\"");
        key.write(&path).unwrap();
        assert!(key.write(&path).unwrap_err().to_string().contains("never overwritten"));
        let read = SecretKey::read(&path).unwrap();
        assert_eq!((read.name.as_str(), read.public()), ("ada \"quoted\"", key.public()));
        assert_eq!(read.public().to_string().parse::<PublicKey>().unwrap(), key.public());
        assert!("ed25519:AAAA".parse::<PublicKey>().is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(SecretKey::read(&path).unwrap_err().to_string().contains("others can read it"));
        }
    }
}
