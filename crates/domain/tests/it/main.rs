//! The rules of `domain`, as claims.

#![allow(clippy::unwrap_used)]

mod project;
mod replay;
