//! The key that signs checkpoints: a file in the node's folder that nobody else may read.

use std::io::{ErrorKind, Write};
use std::path::Path;

use rand::Rng as _;
use stet_editlog::SignerKey;

use crate::error::AppError;

/// The most characters of a node's name in the name of its key.
const NAME_CHARACTERS_MAX: usize = 40;

/// The node's key; made if there is none yet. Its name, which begins every origin of the node's logs, has the node's name
/// as it is now and something random, so that no two nodes have the same.
///
/// # Errors
/// When the file cannot be read or made, or is no key.
pub(crate) fn sealing_key(path: &Path, node_name: &str) -> Result<SignerKey, AppError> {
    let fail = |doing: &str, error: std::io::Error| {
        AppError::Configuration(format!("cannot {doing} the key that seals editlogs, {}: {error}", path.display()))
    };
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => match make(path, node_name) {
            // Another process was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => std::fs::read_to_string(path),
            made => made,
        }
        .map_err(|error| fail("make", error))?,
        read => read.map_err(|error| fail("read", error))?,
    };
    warn_if_others_read(path);
    text.trim_end().parse().map_err(|error| {
        AppError::Configuration(format!(
            "{} is not a key that seals editlogs: {error}. Restore it from a backup; without it, new checkpoints are of another origin",
            path.display()
        ))
    })
}

/// Makes the file whole or not at all.
fn make(path: &Path, node_name: &str) -> Result<String, std::io::Error> {
    let (mut seed, mut number) = ([0; 32], [0; 4]);
    rand::rng().fill_bytes(&mut seed);
    rand::rng().fill_bytes(&mut number);
    let slug: String = node_name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(NAME_CHARACTERS_MAX)
        .collect();
    let name = format!("{}-{:08x}", slug.trim_matches('-'), u32::from_be_bytes(number));
    let key = SignerKey::from_seed(name.trim_start_matches('-'), &seed).map_err(std::io::Error::other)?;
    let text = format!("{}\n", key.to_secret_text());
    let beside = path.with_extension(format!("new-{:08x}", u32::from_be_bytes(number)));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // A link, unlike a renaming, never replaces a key that another process made in the meantime.
    let linked = written.and_then(|()| std::fs::hard_link(&beside, path));
    let _ = std::fs::remove_file(&beside);
    linked.map(|()| text)
}

#[cfg(unix)]
fn warn_if_others_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read the key that seals editlogs: set its mode to 600");
    }
}

#[cfg(not(unix))]
fn warn_if_others_read(_path: &Path) {}
