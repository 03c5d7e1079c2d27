//! Passwords and secrets: how they are kept and compared.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use rand::Rng;
use sha2::{Digest, Sha256};
use stet_store::node::TokenHash;
use tokio::sync::Semaphore;

use crate::error::AppError;

/// The fewest characters of a password (NIST SP 800-63B, 3.1.1.2, for a password beside no other factor, asks for 15 as the
/// better choice; 8 is the least).
pub const PASSWORD_CHARACTERS_MIN: usize = 8;

/// The longest password, in bytes: hashing a longer one would be a way to keep the server busy.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Hashes a password with Argon2id (RFC 9106) and a salt of its own. Takes about 20 ms of one core and 19 MiB.
pub(crate) async fn hash(password: String) -> Result<String, AppError> {
    blocking(move || {
        let hash: PasswordHash =
            Argon2::default().hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
        Ok(hash.to_string())
    })
    .await
}

/// Whether a password is the one that was hashed. With no hash (there is no such user) it takes as long as with one, so
/// that the time does not tell who exists.
pub(crate) async fn verify(password: String, hash: Option<String>) -> Result<bool, AppError> {
    blocking(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
        let hash = PasswordHash::new(&hash).map_err(|error| error.to_string())?;
        Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && known)
    })
    .await
}

/// A hash with the parameters of [`hash`], of a password that nobody knows.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c3RldHN0ZXRzdGV0c3RldA$3BsjwNQ1lXVuwz3JQcGZxHmVIYtgN0zSxKk2iJaN6pE";

/// How many passwords are hashed at a time: each takes memory and a core.
const HASHING_MAX: usize = 4;

static HASHING: Semaphore = Semaphore::const_new(HASHING_MAX);

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, AppError> {
    let place = HASHING.acquire().await.map_err(AppError::internal)?;
    // The place is given back when the work is done, also when whoever asked has gone.
    let work = move || {
        let done = work();
        drop(place);
        done
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(AppError::internal)?
        .map_err(|error| AppError::internal(error.to_string()))
}

/// Checks a new password.
///
/// # Errors
/// When it is too short or too long.
pub(crate) fn check_new(password: &str) -> Result<(), AppError> {
    if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        return Err(AppError::Invalid(format!("a password needs at least {PASSWORD_CHARACTERS_MIN} characters")));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(AppError::Invalid(format!("a password has at most {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// A new secret of 256 random bits, as text that fits a cookie or a header.
pub fn new_secret() -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    hex(&bytes)
}

/// What is kept of a secret: whoever reads the node database cannot use it. The secrets are random, so a plain hash is
/// enough.
pub(crate) fn secret_hash(secret: &str) -> TokenHash {
    TokenHash(Sha256::digest(secret.as_bytes()).into())
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
