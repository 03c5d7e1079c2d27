//! The names that a file of a bundle may have. Whatever is not one of them is refused before anything is written.

use crate::name::{DatasetName, NAME_CHARACTERS_MAX};

/// The longest path in a bundle, in bytes: what the `ustar` form of a tar archive can hold without an extension.
pub const PATH_BYTES_MAX: usize = 200;

/// The path of a file in a bundle, checked: relative, plain, below one of the known folders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundlePath(String);

/// What a file of a bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathKind {
    /// A file of the project's definition; the path below the project's folder.
    Definition(String),
    /// A file of a dataset's data; the path below the folder that the node keeps for the project's data.
    Data(String),
}

/// A name that no file of a bundle may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be a file of a bundle: {reason}", path.escape_debug())]
pub struct PathError {
    path: String,
    reason: &'static str,
}

/// The folders of a project's definition with the endings of their files.
const FOLDERS: [(&str, &[&str]); 5] = [
    ("datasets", &["toml"]),
    ("webapps", &["toml"]),
    ("recipes", &["toml", "sql"]),
    ("scenarios", &["toml"]),
    ("dashboards", &["toml"]),
];

impl BundlePath {
    /// Checks a path as it stands in a manifest or an archive.
    ///
    /// # Errors
    /// With the reason, when it is not a plain path below `project/` or `data/`.
    pub fn new(path: &str) -> Result<BundlePath, PathError> {
        match reason(path) {
            None => Ok(BundlePath(path.to_owned())),
            Some(reason) => Err(PathError { path: path.chars().take(PATH_BYTES_MAX).collect(), reason }),
        }
    }

    /// The path of a definition's file.
    ///
    /// # Errors
    /// When it is not one of a project's files.
    pub fn definition(file: &str) -> Result<BundlePath, PathError> {
        BundlePath::new(&format!("project/{file}"))
    }

    /// The path of a data file.
    ///
    /// # Errors
    /// When it is not a plain path.
    pub fn data(file: &str) -> Result<BundlePath, PathError> {
        BundlePath::new(&format!("data/{file}"))
    }

    /// The path as text, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the file is.
    pub fn kind(&self) -> PathKind {
        match self.0.split_once('/') {
            Some(("data", rest)) => PathKind::Data(rest.to_owned()),
            Some((_, rest)) => PathKind::Definition(rest.to_owned()),
            None => PathKind::Definition(self.0.clone()),
        }
    }

    /// The path below the project's folder; none for data.
    pub fn definition_file(&self) -> Option<&str> {
        self.0.strip_prefix("project/")
    }
}

impl std::fmt::Display for BundlePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn reason(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("it is longer than 200 bytes");
    }
    if path.starts_with('/') || path.contains(['\\', ':']) || path.chars().any(char::is_control) {
        return Some("it is not a plain relative path");
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Some("a part of it is empty, `.` or `..`");
    }
    // Names that some file systems take for others, or keep for themselves.
    if path.split('/').any(|part| part.ends_with(['.', ' ']) || part.starts_with(' ')) {
        return Some("a part of it begins with a space, or ends with a dot or a space");
    }
    match path.split_once('/') {
        Some(("project", file)) => definition_reason(file),
        Some(("data", file)) => data_reason(file),
        _ => Some("it is neither below `project/` nor below `data/`"),
    }
}

fn definition_reason(file: &str) -> Option<&'static str> {
    if file == "project.toml" {
        return None;
    }
    const UNKNOWN: Option<&str> = Some("it is not a file of a project's definition");
    let Some((folder, name)) = file.split_once('/') else { return UNKNOWN };
    let Some((_, endings)) = FOLDERS.iter().find(|(known, _)| *known == folder) else { return UNKNOWN };
    let Some((stem, ending)) = name.rsplit_once('.') else { return UNKNOWN };
    // All names in a project follow the same rules.
    if !endings.contains(&ending) || stem.len() > NAME_CHARACTERS_MAX || DatasetName::new(stem).is_err() {
        return UNKNOWN;
    }
    None
}

fn data_reason(file: &str) -> Option<&'static str> {
    let first = file.split('/').next().unwrap_or(file).to_ascii_lowercase();
    // The databases of edits live in the same folder; no archive comes near them, whatever follows the name.
    if first.starts_with("editlog.sqlite") {
        return Some("editlogs are never in a bundle");
    }
    if file.split('/').any(|part| part.starts_with('.')) {
        return Some("a part of it begins with a dot");
    }
    if file.ends_with(".stet.json") {
        return Some("what Stet notes beside built datasets is never in a bundle");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_below_the_known_folders_are_taken() {
        for good in
            ["project/project.toml", "project/datasets/a.toml", "project/recipes/a-b.sql", "data/a.csv", "data/x/é.csv"]
        {
            assert_eq!(BundlePath::new(good).map(|path| path.as_str().to_owned()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "/etc/passwd",
            "project/../x",
            "../project/project.toml",
            "project//project.toml",
            "project/./project.toml",
            "project/datasets/a.sql",
            "project/datasets/../../x.toml",
            "project/local.toml",
            "project/datasets/a b.toml",
            "project\\project.toml",
            "c:/x",
            "data",
            "data/",
            "data/editlog.sqlite",
            "data/EDITLOG.SQLITE-wal",
            "data/.x",
            "data/a.parquet.stet.json",
            "data/a\nb",
            "other/x",
            "manifest.json",
        ] {
            assert!(BundlePath::new(bad).is_err(), "{bad:?}");
        }
        assert!(BundlePath::new(&format!("data/{}", "a".repeat(300))).is_err());
    }
}
