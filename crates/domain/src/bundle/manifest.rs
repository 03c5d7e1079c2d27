//! The manifest of a bundle: every file with its size and hash, and what the bundle is for. It is what gets signed and
//! approved, and its hash is the bundle's name.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::path::{BundlePath, PathKind};
use crate::event::LogDate;
use crate::name::{DatasetName, ProjectKey};

/// The version of the form that this Stet writes, and the only one that it reads.
pub const MANIFEST_FORMAT: u32 = 1;

/// The most files of a bundle.
pub const MANIFEST_FILES_MAX: usize = 5_000;

/// The longest manifest, in bytes. It also bounds the memory that a hostile one can take when it is read.
pub const MANIFEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The largest file of a project's definition, in bytes.
pub const DEFINITION_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The largest definition of a project, in bytes of all its files: it is held in memory to be compared.
pub const DEFINITIONS_BYTES_MAX: u64 = 24 * 1024 * 1024;

/// The most targets of a bundle.
pub const TARGETS_MAX: usize = 100;

/// The longest text of a manifest, in characters: notes, names.
pub const TEXT_CHARACTERS_MAX: usize = 20_000;

/// What a bundle is.
///
/// It holds nothing that differs between two runs over the same project, such as the time: the same state of a project
/// gives the same bytes. The order of two bundles of a node is told by `sequence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The version of the Stet that made it.
    pub stet: String,
    /// The project.
    pub project: ProjectKey,
    /// Counts the bundles of this project on the source node, from 1: a later bundle has a greater number.
    pub sequence: u64,
    /// The node that made it.
    pub source: SourceNode,
    /// Who made it; the author's approval never counts.
    pub author: String,
    /// The nodes that it is meant for, by name or id, sorted; empty for any.
    pub targets: Vec<String>,
    /// From when on no node takes it; none for never.
    pub expires: Option<LogDate>,
    /// The release notes.
    pub notes: String,
    /// The connections that the datasets name, with the kinds that they have on the source node.
    pub connections: Vec<ConnectionNeed>,
    /// The datasets whose data is in the bundle, because it was asked for.
    pub data: Vec<DatasetName>,
    /// The files, by path.
    pub files: Vec<ManifestFile>,
}

/// The node that made a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceNode {
    /// Chosen when the node was made.
    pub id: Uuid,
    /// For people.
    pub name: String,
}

/// A connection that a project needs. Its name and kind only: where it leads is the node's own business.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionNeed {
    /// The name by which datasets call it.
    pub name: String,
    /// Its kind on the source node, such as `files`; none if the source node does not have it either.
    pub kind: Option<String>,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// See [`BundlePath`].
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// A manifest that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It was made by another version of Stet.
    #[error(
        "the manifest has format version {found} and this version of Stet reads version {MANIFEST_FORMAT}: use the Stet that \
         made it"
    )]
    Version {
        /// What it has.
        found: u64,
    },
    /// It is no manifest, or not in the one form that a manifest has.
    #[error("the manifest cannot be used: {0}")]
    Malformed(String),
}

impl Manifest {
    /// The manifest in its one canonical form: what is hashed and signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Structs of plain fields always serialise.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a manifest and checks everything that can be checked without the files.
    ///
    /// # Errors
    /// With what is wrong: another version, unknown fields, another form than the canonical one, names that no bundle
    /// may have, names that differ in upper and lower case only, limits.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let malformed = |reason: String| ManifestError::Malformed(reason);
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(malformed(format!("it has {} bytes; the most are {MANIFEST_BYTES_MAX}", bytes.len())));
        }
        // The version comes first: a manifest of another version may well have fields that this one does not know.
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        let version: Version = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if version.format != u64::from(MANIFEST_FORMAT) {
            return Err(ManifestError::Version { found: version.format });
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        manifest.check().map_err(malformed)?;
        if manifest.to_bytes() != bytes {
            return Err(malformed("it is not in the form that Stet writes, so its hash would mean nothing".to_owned()));
        }
        Ok(manifest)
    }

    /// What is wrong with it, if something is.
    ///
    /// # Errors
    /// The first thing that is wrong, in plain words.
    pub fn check(&self) -> Result<(), String> {
        if self.files.len() > MANIFEST_FILES_MAX {
            return Err(format!("it lists {} files; the most are {MANIFEST_FILES_MAX}", self.files.len()));
        }
        if self.targets.len() > TARGETS_MAX {
            return Err(format!("it names {} targets; the most are {TARGETS_MAX}", self.targets.len()));
        }
        let texts = [&self.stet, &self.source.name, &self.author, &self.notes];
        if texts.into_iter().chain(&self.targets).any(|text| text.chars().count() > TEXT_CHARACTERS_MAX) {
            return Err(format!("a text of it has more than {TEXT_CHARACTERS_MAX} characters"));
        }
        let mut folded = BTreeSet::new();
        let mut before: Option<&str> = None;
        for file in &self.files {
            let path = BundlePath::new(&file.path).map_err(|error| error.to_string())?;
            if before.is_some_and(|before| before >= file.path.as_str()) {
                return Err(format!("`{path}` is listed twice or out of order"));
            }
            before = Some(&file.path);
            if !folded.insert(file.path.to_lowercase()) {
                return Err(format!("`{path}` differs from another file in upper and lower case only"));
            }
            let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            if file.sha256.len() != 64 || !file.sha256.chars().all(hexadecimal) {
                return Err(format!("the hash of `{path}` is not a SHA-256 hash in hexadecimal"));
            }
            if matches!(path.kind(), PathKind::Data(_)) && self.data.is_empty() {
                return Err(format!("`{path}` is data, and the manifest names no dataset whose data it holds"));
            }
        }
        let mut definitions_bytes = 0u64;
        for (file, written) in self.definition_files() {
            if written.bytes > DEFINITION_BYTES_MAX {
                return Err(format!("`{file}` has {} bytes; the most are {DEFINITION_BYTES_MAX}", written.bytes));
            }
            definitions_bytes += written.bytes;
        }
        if definitions_bytes > DEFINITIONS_BYTES_MAX {
            return Err(format!("the definition has {definitions_bytes} bytes; the most are {DEFINITIONS_BYTES_MAX}"));
        }
        // A file cannot be where another one has its folder.
        for file in &self.files {
            let mut path = file.path.as_str();
            while let Some((folder, _)) = path.rsplit_once('/') {
                if folded.contains(&folder.to_lowercase()) {
                    return Err(format!("`{folder}` is both a file and a folder"));
                }
                path = folder;
            }
        }
        if self.file("project/project.toml").is_none() {
            return Err("it has no `project/project.toml`".to_owned());
        }
        Ok(())
    }

    /// A file by its path.
    pub fn file(&self, path: &str) -> Option<&ManifestFile> {
        let place = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(place)
    }

    /// The files of the definition, each with its path below the project's folder.
    pub fn definition_files(&self) -> impl Iterator<Item = (&str, &ManifestFile)> {
        self.files.iter().filter_map(|file| Some((file.path.strip_prefix("project/")?, file)))
    }

    /// The files of data, each with its path below the folder of the project's data.
    pub fn data_files(&self) -> impl Iterator<Item = (&str, &ManifestFile)> {
        self.files.iter().filter_map(|file| Some((file.path.strip_prefix("data/")?, file)))
    }

    /// Whether it is meant for a node.
    pub fn is_for(&self, id: Uuid, name: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|target| *target == name || *target == id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let mut files: Vec<ManifestFile> = paths
            .iter()
            .map(|path| ManifestFile { path: (*path).to_owned(), bytes: 1, sha256: "a".repeat(64) })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Manifest {
            format: MANIFEST_FORMAT,
            stet: "0.1.0".to_owned(),
            project: ProjectKey::new("P").unwrap(),
            sequence: 1,
            source: SourceNode { id: Uuid::nil(), name: "Design".to_owned() },
            author: "dana".to_owned(),
            targets: Vec::new(),
            expires: None,
            notes: String::new(),
            connections: Vec::new(),
            data: Vec::new(),
            files,
        }
    }

    #[test]
    fn a_manifest_reads_back_and_any_other_form_of_it_is_refused() {
        let manifest = manifest(&["project/project.toml", "project/datasets/a.toml"]);
        let bytes = manifest.to_bytes();
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            text.trim_end().to_owned(),
            text.replace("  ", " "),
            text.replacen("\"sequence\": 1", "\"sequence\": 1.0", 1),
            text.replacen("\"notes\"", "\"more\": 1, \"notes\"", 1),
        ] {
            assert!(matches!(Manifest::parse(other.as_bytes()), Err(ManifestError::Malformed(_))), "{other}");
        }
        let later =
            text.replacen("\"format\": 1", "\"format\": 2", 1).replacen("\"notes\"", "\"more\": 1, \"notes\"", 1);
        assert_eq!(Manifest::parse(later.as_bytes()), Err(ManifestError::Version { found: 2 }));
    }

    #[test]
    fn names_that_would_meet_on_a_disk_are_refused() {
        let parse = |manifest: Manifest| Manifest::parse(&manifest.to_bytes()).unwrap_err().to_string();
        let collision = manifest(&["project/project.toml", "project/datasets/a.toml", "project/datasets/A.toml"]);
        assert!(parse(collision).contains("upper and lower case"));
        let mut twice = manifest(&["project/project.toml"]);
        twice.files.push(twice.files[0].clone());
        assert!(parse(twice).contains("twice"));
        let mut nested = manifest(&["project/project.toml", "data/a", "data/a/b"]);
        nested.data.push(DatasetName::new("a").unwrap());
        assert!(parse(nested).contains("both a file and a folder"));
        assert!(parse(manifest(&["project/project.toml", "data/a.csv"])).contains("names no dataset"));
        assert!(parse(manifest(&["project/datasets/a.toml"])).contains("has no `project/project.toml`"));
        let mut many = manifest(&["project/project.toml"]);
        many.files = (0..=MANIFEST_FILES_MAX)
            .map(|n| ManifestFile { path: format!("project/datasets/d{n:06}.toml"), bytes: 0, sha256: "a".repeat(64) })
            .collect();
        assert!(parse(many).contains("the most are 5000"));
    }
}
