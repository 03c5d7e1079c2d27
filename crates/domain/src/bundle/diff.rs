//! What differs between two states of a project's definition, object by object, in a form that people read.

use std::collections::{BTreeMap, BTreeSet};

use similar::TextDiff;

/// The most bytes of a file that are compared line by line.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// How many unchanged lines stand around a change.
const CONTEXT_LINES: usize = 3;

/// What an object of a project is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// The project itself: its name, variables, permissions.
    Project,
    /// A dataset.
    Dataset,
    /// A webapp.
    Webapp,
    /// A recipe with its query.
    Recipe,
    /// A scenario.
    Scenario,
    /// A dashboard.
    Dashboard,
    /// A file of data.
    Data,
}

/// What happened to an object or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectChange {
    /// It is new.
    Added,
    /// It is different.
    Changed,
    /// It is gone.
    Removed,
}

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDiff {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// What happened to it.
    pub change: ObjectChange,
    /// Its files that differ.
    pub files: Vec<FileDiff>,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiff {
    /// The path in the bundle.
    pub path: String,
    /// What happened to it.
    pub change: ObjectChange,
    /// The changed lines, as a unified diff; none for data and for files that are too large.
    pub text: Option<String>,
}

impl ObjectKind {
    /// As it is written for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::Project => "project",
            ObjectKind::Dataset => "dataset",
            ObjectKind::Webapp => "webapp",
            ObjectKind::Recipe => "recipe",
            ObjectKind::Scenario => "scenario",
            ObjectKind::Dashboard => "dashboard",
            ObjectKind::Data => "data",
        }
    }

    /// The object that a file of a bundle belongs to, with its name.
    pub fn of_path(path: &str) -> (ObjectKind, String) {
        if let Some(data) = path.strip_prefix("data/") {
            return (ObjectKind::Data, data.to_owned());
        }
        let file = path.strip_prefix("project/").unwrap_or(path);
        let Some((folder, name)) = file.split_once('/') else { return (ObjectKind::Project, "project".to_owned()) };
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
        let kind = match folder {
            "datasets" => ObjectKind::Dataset,
            "webapps" => ObjectKind::Webapp,
            "recipes" => ObjectKind::Recipe,
            "scenarios" => ObjectKind::Scenario,
            _ => ObjectKind::Dashboard,
        };
        (kind, stem)
    }
}

impl ObjectChange {
    /// As it is written for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectChange::Added => "added",
            ObjectChange::Changed => "changed",
            ObjectChange::Removed => "removed",
        }
    }
}

/// What differs between two states, each given as the content of its files by path in the bundle. For data, which is not
/// shown, any text that differs when the data does will do, such as its hash.
pub fn diff_files(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<ObjectDiff> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut objects: BTreeMap<(ObjectKind, String), Vec<FileDiff>> = BTreeMap::new();
    let mut unchanged: BTreeSet<(ObjectKind, String)> = BTreeSet::new();
    for path in paths {
        let object = ObjectKind::of_path(path);
        let (change, old, new) = match (before.get(path), after.get(path)) {
            (Some(old), Some(new)) if old == new => {
                unchanged.insert(object);
                continue;
            }
            (Some(old), Some(new)) => (ObjectChange::Changed, old.as_str(), new.as_str()),
            (None, Some(new)) => (ObjectChange::Added, "", new.as_str()),
            (Some(old), None) => (ObjectChange::Removed, old.as_str(), ""),
            (None, None) => continue,
        };
        let shown = object.0 != ObjectKind::Data && old.len().max(new.len()) <= TEXT_BYTES_MAX;
        let text = shown.then(|| unified(path, old, new));
        objects.entry(object).or_default().push(FileDiff { path: path.clone(), change, text });
    }
    objects
        .into_iter()
        .map(|((kind, name), files)| {
            let first = files.first().map_or(ObjectChange::Changed, |file| file.change);
            // A recipe that gets a query is changed; one whose files are all new is added.
            let alike = files.iter().all(|file| file.change == first);
            let change =
                if alike && !unchanged.contains(&(kind, name.clone())) { first } else { ObjectChange::Changed };
            ObjectDiff { kind, name, change, files }
        })
        .collect()
}

fn unified(path: &str, old: &str, new: &str) -> String {
    let header = |text: &str| if text.is_empty() { "/dev/null".to_owned() } else { path.to_owned() };
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(CONTEXT_LINES)
        .missing_newline_hint(false)
        .header(&header(old), &header(new))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> BTreeMap<String, String> {
        texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_query_that_changes_is_a_changed_recipe_with_the_lines_that_differ() {
        let before = files(&[
            ("project/recipes/sum.toml", "kind = \"sql\"\n"),
            ("project/recipes/sum.sql", "select a\nfrom t\n"),
            ("project/datasets/gone.toml", "x\n"),
        ]);
        let after = files(&[
            ("project/recipes/sum.toml", "kind = \"sql\"\n"),
            ("project/recipes/sum.sql", "select b\nfrom t\n"),
            ("project/webapps/new.toml", "y\n"),
        ]);
        let found = diff_files(&before, &after);
        let told: Vec<(&str, &str, &str)> =
            found.iter().map(|object| (object.kind.as_str(), object.name.as_str(), object.change.as_str())).collect();
        assert_eq!(told, [("dataset", "gone", "removed"), ("webapp", "new", "added"), ("recipe", "sum", "changed")]);
        let text = found[2].files[0].text.as_deref().unwrap();
        assert!(text.contains("-select a\n+select b\n from t\n"), "{text}");
        assert!(diff_files(&after, &after).is_empty());
    }
}
