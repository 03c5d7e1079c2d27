//! What makes an editlog believable: every event becomes a leaf of a Merkle tree, the tree's head is signed as a
//! checkpoint, and whoever keeps a checkpoint can tell later whether any event before it was changed.
//!
//! - [`event`]: an event as bytes, with salted commitments in place of personal texts, so that these can be erased.
//! - [`tree`] and [`tile`]: the Merkle tree of RFC 6962, its proofs, and how its hashes are stored.
//! - [`note`] and [`checkpoint`]: signed notes and checkpoints in the formats of C2SP.
//! - [`chain`]: a hash chain for each writing process, for events that are not sealed yet.
//! - [`verify`]: holds events against hashes and checkpoints and names what is wrong, and where.
//! - [`proof_file`] and [`bundle`]: what is handed to an auditor. `docs/editlog-format.md` describes both.
//!
//! This crate never touches disk, network or clock and depends on nothing else of Stet: an auditor can build it alone.
//! Randomness and times are passed in.

pub mod bundle;
pub mod chain;
pub mod checkpoint;
pub mod erasure;
pub mod event;
pub mod hash;
pub mod line;
pub mod note;
pub mod proof_file;
pub mod tile;
pub mod time;
pub mod tree;
pub mod verify;

pub use checkpoint::Checkpoint;
pub use event::{Event, Field, Personal, SALT_BYTES, Salt};
pub use hash::Hash;
pub use note::{Note, SignerKey, VerifierKey};
pub use tree::Tree;
