//! What the crate promises to an auditor.

#![allow(clippy::unwrap_used)]

mod attacks;
mod bundles;
mod encoding;
mod logs;
mod notes;
mod proofs;
mod trees;
