//! The node's key, by which its secrets are sealed: where it is, and whether it is one.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rand::Rng as _;
use sha2::{Digest, Sha256};

use super::{KEY_BYTES, KEY_ID_BYTES};
use crate::error::AppError;

/// What a key begins with in its file.
const PREFIX: &str = "stet-secrets-key-1:";

/// The name of the key among the credentials that systemd gives to a service.
const CREDENTIAL: &str = "stet-secrets-key";

/// The environment variable that can hold the key.
const VARIABLE: &str = "STET_SECRETS_KEY";

/// The longest file that is read for a key, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// The node's key. Without `Debug`, so that it is never logged.
#[derive(Clone)]
pub(crate) struct NodeKey([u8; KEY_BYTES]);

impl NodeKey {
    /// A new key, by chance.
    pub(super) fn new() -> NodeKey {
        let mut bytes = [0; KEY_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        NodeKey(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Which key it is, without telling anything of it.
    pub(super) fn id(&self) -> [u8; KEY_ID_BYTES] {
        let hash = Sha256::new().chain_update(b"stet secrets key\0").chain_update(self.0).finalize();
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&hash[..KEY_ID_BYTES]);
        id
    }

    /// As it stands in its file.
    fn to_text(&self) -> String {
        format!("{PREFIX}{}\n", crate::password::hex(&self.0))
    }

    /// Reads a key; what is wrong with it, in words.
    fn parse(text: &str) -> Result<NodeKey, &'static str> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or("it does not begin with `stet-secrets-key-1:`")?;
        if digits.len() != KEY_BYTES * 2 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("it does not have 64 hexadecimal digits");
        }
        let mut bytes = [0; KEY_BYTES];
        for (byte, digits) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).map_err(|_| "it does not have 64 hexadecimal digits")?;
        }
        // Examples in manuals are counted up or repeat themselves; 32 bytes by chance have about 30 different ones.
        let different = bytes.iter().collect::<std::collections::BTreeSet<_>>().len();
        let steps: std::collections::BTreeSet<u8> =
            bytes.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        if different < 12 || steps.len() < 12 {
            return Err("it is an example, not a key: anybody could open what it seals");
        }
        Ok(NodeKey(bytes))
    }
}

/// Where the node's key comes from. It is read when it is needed and kept nowhere, so that a key that was changed needs no
/// restart.
#[derive(Debug)]
pub(crate) struct Keys {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A file that its owner alone may read; made when it is first needed if it is the node's own.
    File { path: PathBuf, own: bool },
    /// A credential of systemd, which guards it.
    Credential(PathBuf),
    /// An environment variable.
    Environment,
}

/// A key that is to take another one's place.
pub(super) struct Rotation {
    pub(super) key: NodeKey,
    /// Where it is written already.
    at: PathBuf,
    /// Where it is to be in the end.
    to: PathBuf,
}

impl Keys {
    /// Finds out where the key is: the file that `stet.toml` names, else a credential of systemd, else the environment, else
    /// a file in the node's folder.
    pub(crate) fn find(configured: Option<PathBuf>, own: PathBuf) -> Keys {
        let credentials =
            std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| PathBuf::from(folder).join(CREDENTIAL));
        let source = match (configured, credentials.filter(|path| path.exists())) {
            (Some(path), _) => Source::File { path, own: false },
            (None, Some(path)) => Source::Credential(path),
            (None, None) if std::env::var_os(VARIABLE).is_some() => Source::Environment,
            (None, None) => Source::File { path: own, own: true },
        };
        Keys { source }
    }

    /// The keys that open what is sealed: the node's key, and one that is about to take its place. Empty when there is none.
    pub(super) fn present(&self) -> Result<Vec<NodeKey>, AppError> {
        match &self.source {
            Source::Environment => {
                let text = std::env::var(VARIABLE).unwrap_or_default();
                let key = NodeKey::parse(&text);
                Ok(vec![key.map_err(|reason| no_key(&format!("the environment variable {VARIABLE}"), reason))?])
            }
            Source::Credential(path) => Ok(read(path, false)?.into_iter().collect()),
            Source::File { path, .. } => {
                let mut keys: Vec<NodeKey> = read(path, true)?.into_iter().collect();
                // A rotation that was cut off left its key beside.
                keys.extend(read(&beside(path), true)?);
                Ok(keys)
            }
        }
    }

    /// The key to seal with; made when it is the node's own and there is none.
    pub(super) fn to_seal(&self) -> Result<NodeKey, AppError> {
        if let Some(key) = self.present()?.into_iter().next() {
            return Ok(key);
        }
        match &self.source {
            Source::File { path, own: true } => {
                let key = NodeKey::new();
                match write_new(path, &key) {
                    // Another process was quicker.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    written => written.map_err(|error| cannot("write", path, &error))?,
                }
                let made = read(path, true)?;
                made.ok_or_else(|| AppError::Configuration(format!("{} is gone again", path.display())))
            }
            _ => Err(AppError::Configuration(format!("this node has no key to seal secrets: {}", self.where_to_put()))),
        }
    }

    /// What to do when there is no key.
    pub(super) fn where_to_put(&self) -> String {
        match &self.source {
            Source::File { path, own: true } => format!(
                "put it back as {}, or name its place with `key_file` in [secrets] of stet.toml; without it, set the secrets \
                 again",
                path.display()
            ),
            Source::File { path, own: false } => format!("put it into {}", path.display()),
            Source::Credential(path) => format!("put it into the credential {}", path.display()),
            Source::Environment => format!("put it into the environment variable {VARIABLE}"),
        }
    }

    /// Makes a key and writes it beside the present one, or into a file for one that is kept elsewhere.
    pub(super) fn begin_rotation(&self, new_key_file: Option<&Path>) -> Result<Rotation, AppError> {
        let key = NodeKey::new();
        let (at, to) = match (&self.source, new_key_file) {
            (_, Some(path)) => (path.to_owned(), path.to_owned()),
            (Source::File { path, .. }, None) => (beside(path), path.clone()),
            (_, None) => {
                return Err(AppError::Invalid(
                    "the key is not kept in a file that Stet may write: say with --new-key-file FILE where the new one is \
                     to be written, and put it into the place of the old one then"
                        .to_owned(),
                ));
            }
        };
        match write_new(&at, &key) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && new_key_file.is_none() => {
                // An earlier rotation was cut off: it is ended with its key.
                let key = read(&at, true)?.ok_or_else(|| AppError::Conflict("try again".to_owned()))?;
                Ok(Rotation { key, at, to })
            }
            written => {
                written.map(|()| Rotation { key, to, at: at.clone() }).map_err(|error| cannot("write", &at, &error))
            }
        }
    }

    /// Puts the new key into the place of the old one.
    pub(super) fn end_rotation(&self, rotation: Rotation) -> Result<PathBuf, AppError> {
        if rotation.at != rotation.to {
            std::fs::rename(&rotation.at, &rotation.to).map_err(|error| cannot("write", &rotation.to, &error))?;
        }
        Ok(rotation.to)
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// Reads a key; none when there is no file.
fn read(path: &Path, strict: bool) -> Result<Option<NodeKey>, AppError> {
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot("read", path, &error)),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(no_key(&path.display().to_string(), "it is too long"));
        }
        Ok(metadata) => {
            if strict {
                refuse_if_others_read(path, &metadata)?;
            }
            std::fs::read_to_string(path).map_err(|error| cannot("read", path, &error))?
        }
    };
    NodeKey::parse(&text).map(Some).map_err(|reason| no_key(&path.display().to_string(), reason))
}

#[cfg(unix)]
fn refuse_if_others_read(path: &Path, metadata: &std::fs::Metadata) -> Result<(), AppError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(AppError::Configuration(format!(
        "others may read the key that seals secrets, {0} (mode {mode:o}): `chmod 600 {0}`, and rotate it if they did",
        path.display()
    )))
}

#[cfg(not(unix))]
fn refuse_if_others_read(_path: &Path, _metadata: &std::fs::Metadata) -> Result<(), AppError> {
    Ok(())
}

/// Writes a key into a new file that its owner alone may read.
fn write_new(path: &Path, key: &NodeKey) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key.to_text().as_bytes())?;
    file.sync_all()
}

fn cannot(doing: &str, path: &Path, error: &std::io::Error) -> AppError {
    AppError::Configuration(format!("cannot {doing} the key that seals secrets, {}: {error}", path.display()))
}

fn no_key(place: &str, reason: &str) -> AppError {
    AppError::Configuration(format!("{place} is no key that seals secrets: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_no_key() {
        let counted: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        for digits in ["00".repeat(32), "ab".repeat(32), counted, "0123456789abcdef".repeat(4), "x".repeat(64)] {
            assert!(NodeKey::parse(&format!("{PREFIX}{digits}")).is_err(), "{digits}");
        }
        assert!(NodeKey::parse("changeme").is_err());
        for _ in 0..100 {
            let key = NodeKey::new();
            assert!(NodeKey::parse(&key.to_text()).unwrap().bytes() == key.bytes());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let keys = Keys { source: Source::File { path: path.clone(), own: true } };
        assert!(keys.present().unwrap().is_empty());
        keys.to_seal().unwrap();
        assert_eq!(keys.present().unwrap().len(), 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = keys.present().map(drop).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_rotation_that_was_cut_off_loses_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys { source: Source::File { path: folder.path().join("secrets.key"), own: true } };
        let old = keys.to_seal().unwrap();
        let cut_off = keys.begin_rotation(None).unwrap();
        let ids: Vec<_> = keys.present().unwrap().iter().map(NodeKey::id).collect();
        assert_eq!(ids, [old.id(), cut_off.key.id()]);
        let again = keys.begin_rotation(None).unwrap();
        assert_eq!(again.key.id(), cut_off.key.id());
        keys.end_rotation(again).unwrap();
        let ids: Vec<_> = keys.present().unwrap().iter().map(NodeKey::id).collect();
        assert_eq!(ids, [cut_off.key.id()]);
    }
}
