//! Tests of the stores at their boundary.

#![allow(clippy::unwrap_used, reason = "a test that unwraps what is not there fails, as it should")]

mod conformance;
mod erasing;
mod fixture;
mod node;
mod postgres_attacks;
mod postgres_editlog;
mod postgres_failures;
mod postgres_sealing;
mod sealed_attacks;
mod sealed_attacks_postgres;
mod sqlite_attacks;
mod sqlite_editlog;
mod sqlite_failures;
mod sqlite_kill;
mod sqlite_sealing;
