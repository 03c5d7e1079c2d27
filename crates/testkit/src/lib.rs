//! What tests of Stet stand on: a whole node in a folder of its own, served on a port of its own, with clients that are
//! signed in (feature `node`); what it asks outside (a sign-on provider, a bucket, a witness); and a private PostgreSQL with a
//! database for each test. Failures here end the test: nothing else than tests may depend on this crate.

#[cfg(feature = "node")]
mod client;
#[cfg(feature = "node")]
mod encrypted;
#[cfg(feature = "node")]
mod node;
#[cfg(feature = "node")]
pub mod outside;
#[cfg(feature = "node")]
mod passkey;
pub mod postgres;
#[cfg(feature = "node")]
pub mod provider;
#[cfg(feature = "node")]
mod totp;

#[cfg(feature = "node")]
pub use client::{Answer, Client, Events, Message, escaped};
#[cfg(feature = "node")]
pub use encrypted::EncryptedEnd;
#[cfg(feature = "node")]
pub use node::{ADMIN, DESIGNER, OTHER_READER, PASSWORD, PROJECT, READER, Setup, TestNode};
#[cfg(feature = "node")]
pub use passkey::Authenticator;
#[cfg(feature = "node")]
pub use totp::totp_code;

/// The folder of the repository: the one in which Cargo runs the test, for the folder it was compiled in may be another
/// clone's, when clones share what Cargo builds.
pub fn repository() -> std::path::PathBuf {
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("Cargo runs the tests");
    std::path::Path::new(&package).join("../..")
}
