//! What ARCHITECTURE.md says must hold, checked where it can be.

#![allow(clippy::unwrap_used)]

mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    stet_testkit::repository()
}

/// The crates of the workspace, each with those that it may depend on.
const MAY_DEPEND_ON: [(&str, &[&str]); 8] = [
    ("domain", &[]),
    ("editlog", &[]),
    ("store", &["domain", "editlog"]),
    ("engine", &["domain"]),
    ("app", &["domain", "editlog", "store", "engine"]),
    ("server", &["domain", "editlog", "store", "engine", "app"]),
    ("cli", &["domain", "editlog", "store", "engine", "app", "server"]),
    ("testkit", &["domain", "editlog", "store", "engine", "app", "server"]),
];

/// Libraries that only some crates may name.
const ONLY_IN: [(&str, &[&str]); 9] = [
    ("arrow", &["engine"]),
    ("parquet", &["engine"]),
    ("rusqlite", &["store", "engine"]),
    // A sign-on provider for tests serves too.
    ("axum", &["server", "testkit"]),
    ("tower-http", &["server"]),
    ("utoipa", &["server"]),
    ("clap", &["cli"]),
    ("argon2", &["app"]),
    ("tokio", &["store", "app", "server", "cli", "testkit"]),
];

fn dependencies(krate: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("crates").join(krate).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn crates_depend_only_on_those_below_them() {
    let found: BTreeSet<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let known: BTreeSet<String> = MAY_DEPEND_ON.iter().map(|(krate, _)| (*krate).to_owned()).collect();
    assert_eq!(found, known, "a crate is missing in ARCHITECTURE.md and here, or is gone");
    for (krate, allowed) in MAY_DEPEND_ON {
        for dependency in dependencies(krate) {
            if let Some(ours) = dependency.strip_prefix("stet-") {
                assert!(allowed.contains(&ours), "{krate} must not depend on {ours}");
            }
        }
    }
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    for (krate, _) in MAY_DEPEND_ON {
        let dependencies = dependencies(krate);
        for (library, crates) in ONLY_IN {
            assert!(
                crates.contains(&krate) || !dependencies.contains(library),
                "{krate} must not depend on {library}: it belongs in {crates:?}"
            );
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn source_files(krate: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root().join("crates").join(krate).join("src"), &mut found);
    found
}

#[test]
fn sql_of_our_own_is_in_store_alone() {
    let statements = ["\"SELECT ", "INSERT INTO ", "UPDATE OR", "DELETE FROM ", "CREATE TABLE ", "PRAGMA "];
    for (krate, _) in MAY_DEPEND_ON {
        for path in source_files(krate) {
            // The engine attaches datasets to the SQLite that runs the users' queries, in this module alone.
            let engine_sql = path.components().collect::<PathBuf>().display().to_string().contains("engine/src/sql/");
            // Tests prepare databases of their own; their helpers are in no product.
            if krate == "store" || krate == "testkit" || engine_sql {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for statement in statements {
                    assert!(!line.contains(statement), "{}: SQL belongs in store: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn pure_crates_have_no_io_and_no_clock() {
    for path in source_files("domain").into_iter().chain(source_files("editlog")) {
        let text = fs::read_to_string(&path).unwrap();
        // The editlog crate hashes bundles on several threads, which is no input or output.
        let threads: &[&str] = if path.starts_with(root().join("crates/domain")) { &["std::thread"] } else { &[] };
        let banned = ["std::fs", "std::net", "std::process", "SystemTime", "Instant::now", "async fn"];
        for banned in banned.iter().chain(threads) {
            assert!(!text.contains(banned), "{} names {banned}", path.display());
        }
    }
}

#[test]
fn every_dependency_is_freely_licensed() {
    const FREE: [&str; 13] = [
        "MIT",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "Unlicense",
        "CC0-1.0",
        "MIT-0",
        "0BSD",
        "BSL-1.0",
    ];
    // Packages of other platforms are not fetched, and so not known here.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &platform])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut refused = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let license = package["license"].as_str().unwrap_or("none").replace('/', " OR ");
        // Each part of an AND has to be free; of an OR, one.
        let free = license.split(" AND ").all(|part| {
            part.trim_matches(['(', ')', ' '])
                .split(" OR ")
                .any(|one| FREE.contains(&one.trim_matches(['(', ')', ' '])))
        });
        if !free {
            refused.insert(package["name"].as_str().unwrap().to_owned(), license);
        }
    }
    assert!(refused.is_empty(), "not known to be free: {refused:?}");
}

#[test]
fn what_people_write_down_names_no_place_that_is_gone() {
    // Paths in backquotes of ARCHITECTURE.md exist.
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for quoted in text.split('`').skip(1).step_by(2) {
        if quoted.starts_with("crates/") || quoted.starts_with("web/") || quoted.starts_with("docs/") {
            assert!(root().join(quoted).exists(), "ARCHITECTURE.md names `{quoted}`, which is not there");
        }
    }
}
