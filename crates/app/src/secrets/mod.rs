//! Secrets that the node has to know again, such as the passwords of databases, sealed so that whoever has the node's
//! database or a backup of it has nothing.
//!
//! Each secret is sealed by a data key of its own with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), and the data key by
//! the node's key. Both are bound to what the secret is for: the node, and the place where it may be shown. Sealed bytes
//! that are put elsewhere do not open. What is kept, in this order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version, 1 |
//! | 8 | which of the node's keys: the beginning of its SHA-256 |
//! | 24 and 48 | nonce, and the data key sealed by the node's key |
//! | 24 and the rest | nonce, and the secret sealed by the data key |

mod key;

use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand::Rng as _;
use stet_domain::Actor;
use stet_store::node::{NamedSecret, SealedBytes, SecretKind, SecretPlace, StoredConnection, StoredTarget};

use crate::App;
use crate::error::AppError;
pub(crate) use key::Keys;
use key::NodeKey;

/// The version of the form of sealed bytes.
const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// A data key, and what proves that it is whole.
const WRAPPED_BYTES: usize = KEY_BYTES + 16;
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES + WRAPPED_BYTES + NONCE_BYTES;

/// The longest name of a named secret, in bytes.
const NAME_BYTES_MAX: usize = 60;

/// The longest named secret, in bytes.
const SECRET_BYTES_MAX: usize = 4096;

/// What a secret is for: it opens with exactly these again.
pub(crate) struct Context(Vec<u8>);

impl Context {
    /// The password of a connection: on this node, under this name, shown to this database as this user and no other.
    pub(crate) fn connection(
        node: uuid::Uuid,
        name: &str,
        host: &str,
        port: u16,
        database: &str,
        user: &str,
    ) -> Context {
        Context::of(&["connection", &node.to_string(), name, host, &port.to_string(), database, user])
    }

    /// What the second factor of a user is made of.
    pub(crate) fn second_factor(node: uuid::Uuid, login: &str) -> Context {
        Context::of(&["second factor", &node.to_string(), login])
    }

    /// A secret that `stet.toml` calls by its name.
    pub(crate) fn named(node: uuid::Uuid, name: &str) -> Context {
        Context::of(&["named secret", &node.to_string(), name])
    }

    /// The token with which bundles are brought to another node: shown at this address as to this node, and nowhere else.
    pub(crate) fn deploy_target(node: uuid::Uuid, name: &str, address: &str, target: uuid::Uuid) -> Context {
        Context::of(&["deploy target", &node.to_string(), name, address, &target.to_string()])
    }

    /// Texts, each with its length, so that no two lists of them are the same bytes.
    fn of(parts: &[&str]) -> Context {
        let mut bytes = b"stet secret\0".to_vec();
        for part in parts {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        Context(bytes)
    }
}

/// Seals a secret under a key.
fn seal(key: &NodeKey, context: &Context, secret: &[u8]) -> Result<SealedBytes, AppError> {
    let mut data_key = [0; KEY_BYTES];
    rand::rng().fill_bytes(&mut data_key);
    let (nonce, wrapped) = encrypt(key.bytes(), &context.0, &data_key)?;
    let (secret_nonce, sealed) = encrypt(&data_key, &context.0, secret)?;
    let mut bytes = vec![VERSION];
    for part in [&key.id()[..], &nonce, &wrapped, &secret_nonce, &sealed] {
        bytes.extend(part);
    }
    Ok(SealedBytes(bytes))
}

/// Opens a secret; why it cannot be opened, in words without anything of it.
fn open(keys: &[NodeKey], context: &Context, sealed: &SealedBytes) -> Result<Vec<u8>, String> {
    let (key, parts) = parts(keys, sealed)?;
    let data_key = decrypt(key.bytes(), parts.nonce, &context.0, parts.wrapped).ok_or(DAMAGED)?;
    decrypt(&data_key, parts.secret_nonce, &context.0, parts.sealed).ok_or_else(|| DAMAGED.to_owned())
}

/// The same secret with its data key sealed by another key. The secret itself is not opened.
fn reseal(keys: &[NodeKey], to: &NodeKey, context: &Context, sealed: &SealedBytes) -> Result<SealedBytes, String> {
    let (key, parts) = parts(keys, sealed)?;
    let data_key = decrypt(key.bytes(), parts.nonce, &context.0, parts.wrapped).ok_or(DAMAGED)?;
    let (nonce, wrapped) = encrypt(to.bytes(), &context.0, &data_key).map_err(|error| error.to_string())?;
    let mut bytes = vec![VERSION];
    for part in [&to.id()[..], &nonce, &wrapped, parts.secret_nonce, parts.sealed] {
        bytes.extend(part);
    }
    Ok(SealedBytes(bytes))
}

const DAMAGED: &str = "its sealed secret is damaged or belongs to something else: set it again";

struct Parts<'a> {
    nonce: &'a [u8],
    wrapped: &'a [u8],
    secret_nonce: &'a [u8],
    sealed: &'a [u8],
}

/// The key that sealed something, and what it sealed.
fn parts<'a>(keys: &'a [NodeKey], sealed: &'a SealedBytes) -> Result<(&'a NodeKey, Parts<'a>), String> {
    let bytes = sealed.0.as_slice();
    if bytes.len() < HEAD_BYTES || bytes[0] != VERSION {
        return Err(DAMAGED.to_owned());
    }
    let (id, rest) = bytes[1..].split_at(KEY_ID_BYTES);
    let (nonce, rest) = rest.split_at(NONCE_BYTES);
    let (wrapped, rest) = rest.split_at(WRAPPED_BYTES);
    let (secret_nonce, sealed) = rest.split_at(NONCE_BYTES);
    let key = keys.iter().find(|key| key.id()[..] == *id).ok_or(
        "its secret was sealed by another key than the node has now: bring the key back, or set the secret again",
    )?;
    Ok((key, Parts { nonce, wrapped, secret_nonce, sealed }))
}

fn encrypt(key: &[u8; KEY_BYTES], context: &[u8], plain: &[u8]) -> Result<([u8; NONCE_BYTES], Vec<u8>), AppError> {
    // 192 bits by chance are never the same twice.
    let mut nonce = [0; NONCE_BYTES];
    rand::rng().fill_bytes(&mut nonce);
    let payload = Payload { msg: plain, aad: context };
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt(&XNonce::from(nonce), payload);
    Ok((nonce, sealed.map_err(|_| AppError::internal("a secret cannot be sealed"))?))
}

fn decrypt(key: &[u8], nonce: &[u8], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
    let payload = Payload { msg: sealed, aad: context };
    XChaCha20Poly1305::new_from_slice(key).ok()?.decrypt(&XNonce::from(nonce), payload).ok()
}

impl Keys {
    /// Seals a secret under the node's key, which is made when there is none and nothing was sealed before.
    pub(crate) fn seal(&self, context: &Context, secret: &[u8]) -> Result<SealedBytes, AppError> {
        seal(&self.to_seal()?, context, secret)
    }

    /// Opens a secret; why it cannot be opened, in words without anything of it.
    pub(crate) fn open(&self, context: &Context, sealed: &SealedBytes) -> Result<Vec<u8>, String> {
        open(&self.present().map_err(|error| error.to_string())?, context, sealed)
    }
}

impl App {
    /// Fails when there are secrets and not the key that opens all of them: a node does not run half blind.
    ///
    /// # Errors
    /// With what is missing and what to do.
    pub async fn check_secrets(&self) -> Result<(), AppError> {
        let sealed = self.inner.node.sealed_secrets().await?;
        if sealed.is_empty() {
            // A key that is no good is told before something is sealed by it.
            return self.inner.keys.present().map(drop);
        }
        let keys = self.inner.keys.present()?;
        if keys.is_empty() {
            return Err(AppError::Configuration(format!(
                "this node has {} sealed secrets and no key to open them: {}",
                sealed.len(),
                self.inner.keys.where_to_put()
            )));
        }
        let places = self.secret_places().await?;
        for (place, bytes) in sealed {
            let context = self.context_of(&place, &places);
            if let Err(reason) = context.ok_or(DAMAGED.to_owned()).and_then(|context| open(&keys, &context, &bytes)) {
                let what = match place.kind {
                    SecretKind::Connection => format!("connection `{}`", place.name),
                    SecretKind::SecondFactor => format!("the second factor of `{}`", place.name),
                    SecretKind::Named => format!("the secret `{}`", place.name),
                    SecretKind::DeployTarget => format!("the token for `{}`", place.name),
                };
                // One damaged secret is the matter of its owner; another key is that of the node.
                if reason == DAMAGED {
                    tracing::error!(secret = what, "a sealed secret is damaged: set it again");
                } else {
                    return Err(AppError::Configuration(format!("{what}: {reason}")));
                }
            }
        }
        Ok(())
    }

    /// Seals all secrets under a new key and puts it into the place of the old one; into `new_key_file` if that is given,
    /// for a key that is kept elsewhere. Gives how many secrets there are and where the new key is.
    ///
    /// # Errors
    /// When the actor is no administrator, a secret cannot be opened, or the key cannot be written.
    pub async fn rotate_secrets(
        &self,
        actor: &Actor,
        new_key_file: Option<&Path>,
    ) -> Result<(usize, PathBuf), AppError> {
        self.require_administrator(actor)?;
        let keys = self.inner.keys.present()?;
        // The new key is on the disk before anything is sealed by it, and takes the old one's place after everything is.
        let pending = self.inner.keys.begin_rotation(new_key_file)?;
        let places = self.secret_places().await?;
        let mut secrets = Vec::new();
        for (place, bytes) in self.inner.node.sealed_secrets().await? {
            let context = self.context_of(&place, &places).ok_or_else(|| AppError::Conflict(DAMAGED.to_owned()))?;
            let new = reseal(&keys, &pending.key, &context, &bytes)
                .map_err(|reason| AppError::Conflict(format!("`{}`: {reason}", place.name)))?;
            secrets.push((place, bytes, new));
        }
        let count = secrets.len();
        let entry = self.entry(actor, "secrets.rotate", "", format!("{count} secrets"));
        self.inner.node.audited(entry).reseal(secrets).await?;
        let path = self.inner.keys.end_rotation(pending)?;
        self.refresh_connections().await?;
        Ok((count, path))
    }

    /// Seals a secret under a name that `stet.toml` calls it by, in the place of one that may be there.
    ///
    /// # Errors
    /// When the actor is no administrator, the name or the secret is none, or the node has no key.
    pub async fn set_named_secret(&self, actor: &Actor, name: &str, secret: &str) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let mut letters = name.bytes();
        let is_name = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && name.len() <= NAME_BYTES_MAX
            && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'-'));
        if !is_name {
            return Err(AppError::Invalid(format!(
                "`{}` cannot be the name of a secret: use 1 to {NAME_BYTES_MAX} letters, digits, `_` and `-`, and begin with a letter",
                name.escape_debug()
            )));
        }
        if secret.is_empty() || secret.len() > SECRET_BYTES_MAX {
            return Err(AppError::Invalid(format!("a secret has 1 to {SECRET_BYTES_MAX} bytes")));
        }
        let sealed = self.inner.keys.seal(&Context::named(self.inner.node_id, name), secret.as_bytes())?;
        let named = NamedSecret {
            name: name.to_owned(),
            changed_at: self.inner.clock.now(),
            changed_by: actor.login.to_string(),
        };
        let entry = self.entry(actor, "secrets.set", format!("secret {name}"), "");
        Ok(self.inner.node.audited(entry).put_named_secret(named, sealed).await?)
    }

    /// The named secrets, without what is secret.
    ///
    /// # Errors
    /// When the actor is no administrator.
    pub async fn named_secrets(&self, actor: &Actor) -> Result<Vec<NamedSecret>, AppError> {
        self.require_administrator(actor)?;
        Ok(self.inner.node.named_secrets().await?)
    }

    /// Takes a named secret away.
    ///
    /// # Errors
    /// When the actor is no administrator, or there is no such secret.
    pub async fn remove_named_secret(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        if self.inner.node.named_secret(name).await?.is_none() {
            return Err(AppError::not_found(format!("secret `{}`", name.escape_debug())));
        }
        let entry = self.entry(actor, "secrets.remove", format!("secret {name}"), "");
        self.inner.node.audited(entry).delete_named_secret(name).await?;
        Ok(())
    }

    /// A named secret; why there is none, in words without anything of it.
    pub(crate) async fn named_secret(&self, name: &str) -> Result<Vec<u8>, String> {
        let sealed = self.inner.node.named_secret(name).await.map_err(|error| error.to_string())?;
        let sealed = sealed.ok_or_else(|| format!("the secret `{name}` is not set: `stet secrets set {name}`"))?;
        self.inner.keys.open(&Context::named(self.inner.node_id, name), &sealed)
    }

    async fn secret_places(&self) -> Result<Places, AppError> {
        let node = &self.inner.node;
        Ok(Places { connections: node.connections().await?, targets: node.deploy_targets().await? })
    }

    /// What a sealed secret is for; none when that is no longer there.
    fn context_of(&self, place: &SecretPlace, places: &Places) -> Option<Context> {
        match place.kind {
            SecretKind::SecondFactor => Some(Context::second_factor(self.inner.node_id, &place.name)),
            SecretKind::Named => Some(Context::named(self.inner.node_id, &place.name)),
            SecretKind::DeployTarget => {
                let found = places.targets.iter().find(|target| target.name == place.name)?;
                Some(Context::deploy_target(self.inner.node_id, &found.name, &found.address, found.node_id))
            }
            SecretKind::Connection => {
                let found = places.connections.iter().find(|connection| connection.name == place.name)?;
                Some(Context::connection(
                    self.inner.node_id,
                    &found.name,
                    &found.host,
                    found.port,
                    &found.database,
                    &found.user,
                ))
            }
        }
    }
}

/// What the sealed secrets of a node are for.
struct Places {
    connections: Vec<StoredConnection>,
    targets: Vec<StoredTarget>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(host: &str) -> Context {
        Context::connection(uuid::Uuid::nil(), "warehouse", host, 5432, "wildlife", "stet")
    }

    #[test]
    fn a_secret_opens_with_its_key_and_for_its_place_alone() {
        let (key, other) = (NodeKey::new(), NodeKey::new());
        let sealed = seal(&key, &context("db.example"), b"swordfish").unwrap();
        assert!(!sealed.0.windows(9).any(|bytes| bytes == b"swordfish"));
        let keys = [other, key];
        assert_eq!(open(&keys, &context("db.example"), &sealed).unwrap(), b"swordfish");
        assert!(open(&keys, &context("db.attacker"), &sealed).is_err(), "another host");
        assert!(open(&keys[..1], &context("db.example"), &sealed).unwrap_err().contains("another key"));
        let again = seal(&keys[1], &context("db.example"), b"swordfish").unwrap();
        assert!(sealed != again, "the same secret twice is not the same bytes");
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let keys = [NodeKey::new()];
        let sealed = seal(&keys[0], &context("db.example"), b"swordfish").unwrap();
        for place in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[place] ^= 1;
            assert!(open(&keys, &context("db.example"), &changed).is_err(), "byte {place}");
        }
        for length in 0..sealed.0.len() {
            assert!(open(&keys, &context("db.example"), &SealedBytes(sealed.0[..length].to_vec())).is_err());
        }
    }

    #[test]
    fn what_is_sealed_anew_opens_with_the_new_key_alone() {
        let keys = [NodeKey::new(), NodeKey::new()];
        let sealed = seal(&keys[0], &context("db.example"), b"swordfish").unwrap();
        let anew = reseal(&keys[..1], &keys[1], &context("db.example"), &sealed).unwrap();
        assert_eq!(open(&keys[1..], &context("db.example"), &anew).unwrap(), b"swordfish");
        assert!(open(&keys[..1], &context("db.example"), &anew).is_err());
    }
}
