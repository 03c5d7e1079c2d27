//! Where Stet keeps what people did: editlogs, and the node's own database.
//!
//! - [`Editlogs`] is a place that holds editlogs (a SQLite file, or a schema in PostgreSQL); an [`Editlog`] appends and reads the edit events of
//!   one original dataset; an [`EditlogReader`] reads one from a program that does not run the node.
//! - [`NodeDatabase`] holds users, sessions, API tokens, sign-in attempts and builds.
//!
//! This is the only crate with SQL of our own. It has no HTTP, no Arrow, no rules about who may do what, and no clock:
//! the dates of events are set by the database, and all other times are passed in by the caller.

pub mod editlog;
mod error;
pub mod node;
pub mod postgres;
mod sqlite;

pub use editlog::{
    Append, Editlog, EditlogReader, EditlogSettings, EditlogStats, EditlogTables, Editlogs, Expected, Outcome,
    SealProgress, SealedLog, SealedPage, Sealing,
};
pub use error::{EngineError, StoreError};
pub use node::NodeDatabase;
pub use postgres::{Postgres, PostgresConfig};
