//! What tests of Stet stand on: a whole node in a folder of its own, served on a port of its own, and clients that are
//! signed in. Failures here end the test: nothing else than tests may depend on this crate.

mod client;
mod node;

pub use client::{Answer, Client, Events, Message, escaped};
pub use node::{ADMIN, DESIGNER, OTHER_READER, PASSWORD, PROJECT, READER, Setup, TestNode};
