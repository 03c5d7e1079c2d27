//! What an activation would do to the files of a project, worked out before anything happens.

use std::collections::{BTreeMap, BTreeSet};

/// What an activation does to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileEffect {
    /// The bundle brings it and it is not there.
    Add,
    /// The bundle brings it in another form than the one that is there.
    Change,
    /// An earlier bundle brought it, and this one does not.
    Remove,
    /// It stays as it is.
    Keep,
    /// It was made on this node, and stays.
    KeepLocal,
    /// It was made on this node, and the bundle brings another one of the same name.
    Conflict,
}

impl FileEffect {
    /// As it is written for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            FileEffect::Add => "add",
            FileEffect::Change => "change",
            FileEffect::Remove => "remove",
            FileEffect::Keep => "keep",
            FileEffect::KeepLocal => "keep_local",
            FileEffect::Conflict => "conflict",
        }
    }
}

/// A file in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// The path below the project's folder.
    pub file: String,
    /// What an activation does to it.
    pub effect: FileEffect,
    /// Whether it was changed or removed on this node since a bundle brought it: an activation undoes that.
    pub drifted: bool,
}

/// What an activation does to each file: `present` are the files that are there with their hashes, `deployed` those that
/// the last activation brought, `incoming` those of the bundle.
pub fn file_effects(
    present: &BTreeMap<String, String>,
    deployed: &BTreeMap<String, String>,
    incoming: &BTreeMap<String, String>,
) -> Vec<FileState> {
    let all: BTreeSet<&String> = present.keys().chain(deployed.keys()).chain(incoming.keys()).collect();
    let mut states = Vec::new();
    for file in all {
        let (here, before, next) = (present.get(file), deployed.get(file), incoming.get(file));
        let effect = match (here, before, next) {
            (None, _, Some(_)) => FileEffect::Add,
            (Some(here), _, Some(next)) if here == next => FileEffect::Keep,
            (Some(_), Some(_), Some(_)) => FileEffect::Change,
            (Some(_), None, Some(_)) => FileEffect::Conflict,
            (Some(_), Some(_), None) => FileEffect::Remove,
            (Some(_), None, None) => FileEffect::KeepLocal,
            (None, _, None) => continue,
        };
        states.push(FileState { file: file.clone(), effect, drifted: before.is_some() && here != before });
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(file, hash)| ((*file).to_owned(), (*hash).to_owned())).collect()
    }

    #[test]
    fn what_was_made_here_stays_and_what_a_bundle_brought_goes_with_the_next() {
        let present =
            hashes(&[("same", "1"), ("old", "1"), ("gone", "1"), ("mine", "1"), ("both", "1"), ("bent", "9")]);
        let deployed = hashes(&[("same", "1"), ("old", "1"), ("gone", "1"), ("bent", "1"), ("lost", "1")]);
        let incoming =
            hashes(&[("same", "1"), ("old", "2"), ("new", "1"), ("both", "2"), ("bent", "1"), ("lost", "1")]);
        let effects: Vec<(String, &str, bool)> = file_effects(&present, &deployed, &incoming)
            .into_iter()
            .map(|state| (state.file, state.effect.as_str(), state.drifted))
            .collect();
        let expected = [
            ("bent", "change", true),
            ("both", "conflict", false),
            ("gone", "remove", false),
            ("lost", "add", true),
            ("mine", "keep_local", false),
            ("new", "add", false),
            ("old", "change", false),
            ("same", "keep", false),
        ];
        assert_eq!(effects, expected.map(|(file, effect, drifted)| (file.to_owned(), effect, drifted)));
    }
}
