//! The data engine of Stet: reading datasets, snapshots, live tables, builds and SQL recipes. The only crate that names
//! Arrow and Parquet. It knows nothing of HTTP and of users.

pub mod build;
pub mod cell;
pub mod control;
pub mod error;
pub mod live;
pub mod manifest;
mod ordering;
pub mod preview;
pub mod read;
pub mod rows;
pub mod similarity;
pub mod snapshot;
pub mod sql;
pub mod write;
