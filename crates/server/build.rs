//! Makes the folder of the built front end, empty if need be, so that it can be embedded and Cargo notices when npm has
//! filled it.

fn main() {
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("Cargo runs this");
    let dist = format!("{package}/../../web/dist");
    // A source tree that cannot be written is no reason to fail: the server then has no pages and says so.
    let _ = std::fs::create_dir_all(&dist);
    println!("cargo:rerun-if-changed={dist}");
}
