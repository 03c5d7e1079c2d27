//! Bundles: a log with all that is needed to verify it, in one file that is read from its beginning to its end.
//!
//! A bundle is a tar archive of text files and tiles; `docs/editlog-format.md` describes it. [`BundleWriter`] writes one in
//! bounded memory, [`verify()`] reads and verifies one.

mod read;
mod tar;
mod write;

use serde::{Deserialize, Serialize};

use crate::line::LINE_BYTES_MAX;

pub use self::read::{BundleError, BundleReport, Expectations, verify};
pub use self::write::BundleWriter;

/// The form of bundle that is written and read.
pub const BUNDLE_FORMAT: &str = "stet-editlog-bundle/1";

/// A part of the events is written when it has so many of them, or so many bytes.
const PART_EVENTS: usize = 65_536;
const PART_BYTES: usize = 16 * 1024 * 1024;

/// The longest part that is read: one event may come on top.
const PART_BYTES_MAX: u64 = (PART_BYTES + LINE_BYTES_MAX) as u64;

/// The longest of the other files that is read.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;

const MANIFEST: &str = "manifest.json";
const KEYS: &str = "keys";
const CHECKPOINTS: &str = "checkpoints/";
const EVENTS: &str = "events/";

/// What a bundle says about itself. Nothing of it is believed for being said here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`BUNDLE_FORMAT`].
    pub format: String,
    /// Which log it is.
    pub origin: String,
    /// The original dataset whose edits are in the log, in the words of its node.
    pub dataset: String,
    /// How many events are in the bundle.
    pub events: u64,
    /// How many hashes of leaves are in the bundle.
    pub hashes: u64,
}
