//! What the engine promises, tested from outside.
#![allow(clippy::unwrap_used)]

mod build_again;
mod build_apply;
mod build_chunks;
mod build_pages;
mod build_replay;
mod build_spilled;
mod build_support;
mod live_links;
mod live_many;
mod live_model;
mod live_snapshot;
mod live_support;
mod live_table;
mod live_waits;
mod read_parquet;
mod read_text;
mod sql_recipes;

/// The folder of this package, as Cargo says when it runs the test: the folder it was compiled in may be another clone's.
fn package() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo runs the tests").into()
}
