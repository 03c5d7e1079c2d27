//! The projects of a node, read from their text files and read again when these change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use stet_domain::ProjectKey;
use stet_domain::project::{FileText, Problem, Project, ProjectError, ProjectFiles, load};

use crate::error::AppError;
use crate::node::NodeFolder;

/// How long the files of a project are taken to be as they were when last looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How often files are read again that change while they are read.
const READ_AGAIN_MAX: usize = 5;

/// The largest file of a project's definition, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The projects of a node.
pub struct Projects {
    folder: NodeFolder,
    known: Mutex<BTreeMap<ProjectKey, Known>>,
}

struct Known {
    looked: Instant,
    stamp: Stamp,
    project: Result<Arc<Project>, ProjectError>,
}

/// The files of a project with their sizes and times: when it is the same, so is the project.
type Stamp = Vec<(PathBuf, u64, Option<SystemTime>)>;

impl Projects {
    /// The projects below a node's folder.
    pub fn new(folder: NodeFolder) -> Projects {
        Projects { folder, known: Mutex::default() }
    }

    /// The keys of all projects.
    pub fn keys(&self) -> Vec<ProjectKey> {
        let Ok(entries) = fs::read_dir(self.folder.projects()) else { return Vec::new() };
        let mut keys: Vec<ProjectKey> = entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| ProjectKey::new(entry.file_name().to_str()?).ok())
            .collect();
        keys.sort();
        keys
    }

    /// Forgets what is known of a project, so that its files are read at the next look.
    pub(crate) fn forget(&self, key: &ProjectKey) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// A project as its files stand now.
    ///
    /// # Errors
    /// When there is none of this name, or its files are wrong.
    pub fn get(&self, key: &ProjectKey) -> Result<Arc<Project>, AppError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(key)
            && entry.looked.elapsed() < LOOK_AGAIN
        {
            return entry.project.clone().map_err(AppError::Project);
        }
        let root = self.folder.project(key);
        if !root.is_dir() {
            known.remove(key);
            return Err(AppError::not_found(format!("project `{key}`")));
        }
        let stamp = stamp(&root);
        if let Some(entry) = known.get_mut(key)
            && entry.stamp == stamp
        {
            entry.looked = Instant::now();
            return entry.project.clone().map_err(AppError::Project);
        }
        let mut stamp = stamp;
        let mut files = read_files(key, &root);
        for _ in 0..READ_AGAIN_MAX {
            // The folder may have been exchanged for another while it was read.
            let now = self::stamp(&root);
            if now == stamp {
                break;
            }
            stamp = now;
            files = read_files(key, &root);
        }
        let project = files.and_then(|files| load(key.clone(), &files)).map(Arc::new);
        known.insert(key.clone(), Known { looked: Instant::now(), stamp, project: project.clone() });
        project.map_err(AppError::Project)
    }
}

/// The file of what holds on this node alone: it never travels.
const LOCAL: &str = "local.toml";

/// What holds for a project on this node alone.
pub(crate) fn local_file(root: &Path) -> Option<FileText> {
    let path = root.join(LOCAL);
    let text = if path.is_file() { read_text(&path).ok()? } else { return None };
    Some(FileText { path: LOCAL.to_owned(), text })
}

const FOLDERS: [(&str, &[&str]); 5] = [
    ("datasets", &["toml"]),
    ("webapps", &["toml"]),
    ("recipes", &["toml", "sql"]),
    ("scenarios", &["toml"]),
    ("dashboards", &["toml"]),
];

/// The files that define a project, each with the folder that it is in.
pub(crate) fn definition_files(root: &Path) -> Vec<(&'static str, PathBuf)> {
    let mut files = Vec::new();
    let project = root.join("project.toml");
    if project.is_file() {
        files.push(("", project));
    }
    for (folder, endings) in FOLDERS {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)))
            .collect();
        paths.sort();
        files.extend(paths.into_iter().map(|path| (folder, path)));
    }
    files
}

fn stamp(root: &Path) -> Stamp {
    let local = root.join(LOCAL);
    definition_files(root)
        .into_iter()
        .map(|(_, path)| path)
        .chain(local.is_file().then_some(local))
        .map(|path| {
            let metadata = fs::metadata(&path).ok();
            let size = metadata.as_ref().map_or(0, fs::Metadata::len);
            (path, size, metadata.and_then(|metadata| metadata.modified().ok()))
        })
        .collect()
}

pub(crate) fn read_files(key: &ProjectKey, root: &Path) -> Result<ProjectFiles, ProjectError> {
    let mut files = ProjectFiles::default();
    let mut problems = Vec::new();
    for (folder, path) in definition_files(root) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(message) => {
                problems.push(Problem { file: shown, line: None, column: None, message });
                continue;
            }
        };
        let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
        let stem = stem.to_owned();
        let file = FileText { path: shown, text };
        match (folder, ending) {
            ("datasets", _) => _ = files.datasets.insert(stem, file),
            ("webapps", _) => _ = files.webapps.insert(stem, file),
            ("recipes", "sql") => _ = files.queries.insert(stem, file),
            ("recipes", _) => _ = files.recipes.insert(stem, file),
            ("scenarios", _) => _ = files.scenarios.insert(stem, file),
            // Dashboards are not read yet; they travel with the rest.
            ("dashboards", _) => {}
            _ => files.project = Some(file),
        }
    }
    files.local = local_file(root);
    if problems.is_empty() {
        Ok(files)
    } else {
        Err(ProjectError { project: key.to_string(), problems, permissions: Default::default() })
    }
}

pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("the file has {size} bytes; the most are {FILE_BYTES_MAX}"));
    }
    let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8: save the file as UTF-8")
    })
}
