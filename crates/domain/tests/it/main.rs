//! The rules of `domain`, as claims.

mod project;
mod replay;
