//! A node's folder: what is where in it, and how a new one is made.

use std::path::{Path, PathBuf};

use stet_domain::ProjectKey;

use crate::config::{NODE_VERSION, NodeRole};
use crate::error::AppError;

/// The places in a node's folder.
#[derive(Debug, Clone)]
pub struct NodeFolder {
    root: PathBuf,
}

impl NodeFolder {
    /// The folder of a node, made absolute.
    pub fn new(root: &Path) -> Result<NodeFolder, AppError> {
        let root = std::path::absolute(root)
            .map_err(|error| AppError::Configuration(format!("cannot use {}: {error}", root.display())))?;
        Ok(NodeFolder { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The node's own database.
    pub fn node_database(&self) -> PathBuf {
        self.root.join("node.sqlite")
    }

    /// The key that signs the checkpoints of editlogs.
    pub fn sealing_key(&self) -> PathBuf {
        self.root.join("sealing.key")
    }

    /// The key that seals secrets, unless `stet.toml` names another place.
    pub fn secrets_key(&self) -> PathBuf {
        self.root.join("secrets.key")
    }

    /// The folders of projects.
    pub fn projects(&self) -> PathBuf {
        self.root.join("projects")
    }

    /// The files that define a project.
    pub fn project(&self, project: &ProjectKey) -> PathBuf {
        self.projects().join(project.as_str())
    }

    /// The data that the node keeps for a project.
    pub fn data(&self, project: &ProjectKey) -> PathBuf {
        self.root.join("data").join(project.as_str())
    }

    /// The editlogs of a project.
    pub fn editlogs(&self, project: &ProjectKey) -> PathBuf {
        self.data(project).join("editlog.sqlite")
    }

    /// What can be made again from the data.
    pub fn cache(&self, project: &ProjectKey) -> PathBuf {
        self.root.join("cache").join(project.as_str())
    }

    /// The bundles of a project.
    pub fn bundles(&self, project: &ProjectKey) -> PathBuf {
        self.root.join("bundles").join(project.as_str())
    }

    /// Where bundles arrive.
    pub fn incoming(&self) -> PathBuf {
        self.root.join("deploying").join(".incoming")
    }

    /// What an activation of a project is working on.
    pub fn deploying(&self, project: &ProjectKey) -> PathBuf {
        self.root.join("deploying").join(project.as_str())
    }

    /// The key with which the node signs its bundles.
    pub fn signing_key(&self) -> PathBuf {
        self.root.join("signing.key")
    }

    /// A path of `stet.toml`: relative ones are below the node's folder.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// Makes a new node in this folder.
    ///
    /// # Errors
    /// When the folder holds a node already, or cannot be written.
    pub fn init(&self, name: &str, role: NodeRole, listen: &str) -> Result<(), AppError> {
        let config = self.root.join("stet.toml");
        if config.exists() {
            return Err(AppError::Configuration(format!(
                "{} is a node already: choose another folder, or start it with `stet serve --node {0}`",
                self.root.display()
            )));
        }
        let fail =
            |error: std::io::Error| AppError::Configuration(format!("cannot write {}: {error}", self.root.display()));
        for folder in [self.root.clone(), self.projects(), self.root.join("data"), self.root.join("cache")] {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        let text = format!(
            "# A Stet node. Fields: docs/node.md\nversion = {NODE_VERSION}\nname = {}\nrole = \"{}\"\nlisten = \"{listen}\"\n",
            toml::Value::String(name.to_owned()),
            role.as_str()
        );
        std::fs::write(config, text).map_err(fail)?;
        crate::bundle::node_key(&self.signing_key(), name).map(|_| ())
    }
}

/// Copies a folder's files and folders; what is there already is kept.
///
/// # Errors
/// When something cannot be read or written; the message names it.
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), AppError> {
    let fail = |path: &Path, error: std::io::Error| {
        AppError::Configuration(format!("cannot copy {}: {error}", path.display()))
    };
    std::fs::create_dir_all(to).map_err(|error| fail(to, error))?;
    for entry in std::fs::read_dir(from).map_err(|error| fail(from, error))? {
        let entry = entry.map_err(|error| fail(from, error))?;
        let target = to.join(entry.file_name());
        let path = entry.path();
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else if !target.exists() {
            std::fs::copy(&path, &target).map_err(|error| fail(&path, error))?;
        }
    }
    Ok(())
}
