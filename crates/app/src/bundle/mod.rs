//! Bundles: making, reading, signing, approving and comparing them.
//!
//! A bundle holds what defines a project, and connection names. It cannot hold rows of an editlog: what may be in it is
//! decided by [`BundlePath`], which knows no place for them, and data is taken only from datasets that no edit went into.

mod archive;
mod envelope;
#[cfg(test)]
mod hostile;
mod keys;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use stet_domain::access::{Permission, Scopes};
use stet_domain::bundle::{
    ApprovalStatement, BundlePath, ConnectionNeed, DEFINITIONS_BYTES_MAX, Feedback, FinalDecision, MANIFEST_FORMAT,
    Manifest, ManifestFile, ObjectDiff, STATEMENT_FORMAT, SourceNode, diff_files,
};
use stet_domain::project::{FileText, Location, Project, ProjectFiles, Role, load};
use stet_domain::{Actor, ActorKind, DatasetName, LogDate, ProjectKey, flow};
use stet_store::node::BundleRecord;

pub use archive::{Bundle, cannot_write};
pub(crate) use archive::{read_archive, size_and_hash};
pub use envelope::Envelope;
pub(crate) use envelope::{APPROVAL_BYTES_MAX, APPROVAL_TYPE, approval_challenge};
pub(crate) use keys::node_key;
pub use keys::{PublicKey, SecretKey};

use crate::App;
use crate::access::not_allowed;
use crate::datasets::{blocking, find};
use crate::error::AppError;
use crate::password::hex;
use crate::projects::{definition_files, read_text};

/// The version of this Stet, which the nodes of a deployment have in common.
pub(crate) const STET_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The fewest characters by which a bundle is named.
const DIGEST_CHARACTERS_MIN: usize = 6;

/// The most bundles in a list.
const LISTED_MAX: usize = 1_000;

/// The longest release notes, in characters.
const NOTES_CHARACTERS_MAX: usize = 20_000;

/// What lets people look at the bundles of a project and at what is deployed.
const BUNDLE_READERS: [Permission; 3] = [Permission::WriteContent, Permission::Deploy, Permission::Approve];

/// A bundle to make.
#[derive(Debug, Clone, Default)]
pub struct NewBundle {
    /// The release notes.
    pub notes: String,
    /// The nodes that it is meant for, by name or id; none for any.
    pub targets: Vec<String>,
    /// From when on no node takes it.
    pub expires: Option<LogDate>,
    /// The datasets whose data is to travel.
    pub with_data: Vec<String>,
}

/// A bundle of this node.
#[derive(Debug, Clone)]
pub struct BundleSummary {
    /// What is noted of it.
    pub record: BundleRecord,
    /// Its archive.
    pub path: PathBuf,
}

/// A state of a project to compare.
#[derive(Debug, Clone)]
pub enum BundleSide {
    /// A bundle's archive.
    Archive(PathBuf),
    /// The project as its files stand on this node.
    Working(ProjectKey),
    /// What was deployed on this node last; nothing at all when nothing was.
    Deployed(ProjectKey),
}

impl Bundle {
    /// Those of these keys that have signed it.
    pub fn signed_by(&self, keys: &[PublicKey]) -> Vec<String> {
        let payload = self.manifest.to_bytes();
        let good = self.envelope.as_ref().map(|envelope| envelope.verified_by(&payload, keys)).unwrap_or_default();
        good.into_iter().map(PublicKey::to_string).collect()
    }
}

/// A person's word on a bundle.
#[derive(Debug, Clone)]
pub struct NewApproval {
    /// The node for which it is meant, by name or id.
    pub target: String,
    /// What the person thinks of it as a reviewer.
    pub feedback: Option<Feedback>,
    /// The decision of whoever is responsible.
    pub decision: Option<FinalDecision>,
    /// In the person's words.
    pub comment: String,
}

/// Reads a bundle's archive from end to end. Needs no node. Blocks.
///
/// # Errors
/// With what is wrong, when it is not exactly what its manifest says.
pub fn read_bundle(path: &Path) -> Result<Bundle, AppError> {
    read_archive(&mut open_file(path)?, &mut |_, _| Ok(()))
}

/// Adds a signature to a bundle's archive, in place. Needs no node. Blocks.
///
/// # Errors
/// When the bundle cannot be used, or the file not be written.
pub fn sign_bundle(path: &Path, key: &SecretKey) -> Result<Bundle, AppError> {
    let mut bundle = read_bundle(path)?;
    let payload = bundle.manifest.to_bytes();
    let before = bundle.envelope.take();
    let rest = archive::head_bytes(payload.len(), before.as_ref().map(|envelope| envelope.to_bytes().len()));
    let envelope = match before {
        Some(mut envelope) => {
            envelope.add(&payload, key);
            envelope
        }
        None => Envelope::sign(envelope::MANIFEST_TYPE, &payload, key),
    };
    let mut input = open_file(path)?;
    std::io::copy(&mut Read::take(&mut input, rest), &mut std::io::sink()).map_err(archive::cannot_write)?;
    write_whole(path, |out| {
        archive::write_head(out, &payload, Some(&envelope))?;
        std::io::copy(&mut input, out).map_err(archive::cannot_write)?;
        Ok(())
    })?;
    read_bundle(path)
}

/// A signed statement on a bundle, to be brought to its target. Needs no node. Blocks.
///
/// # Errors
/// When the bundle cannot be used, is not meant for the target, or nothing is said.
pub fn approve_bundle(path: &Path, key: &SecretKey, approval: &NewApproval, now: LogDate) -> Result<Vec<u8>, AppError> {
    if approval.feedback.is_none() && approval.decision.is_none() {
        return Err(AppError::Invalid("say what you think: give a feedback, or a final decision".to_owned()));
    }
    let bundle = read_bundle(path)?;
    let targets = &bundle.manifest.targets;
    if !targets.is_empty() && !targets.contains(&approval.target) {
        return Err(AppError::Refused(format!(
            "this bundle is not meant for `{}`: its targets are {}",
            approval.target,
            targets.join(", ")
        )));
    }
    let statement = ApprovalStatement {
        format: STATEMENT_FORMAT,
        manifest_sha256: bundle.digest,
        target: approval.target.clone(),
        person: key.name.clone(),
        feedback: approval.feedback,
        decision: approval.decision,
        comment: approval.comment.clone(),
        made_at: now,
    };
    Ok(Envelope::sign(envelope::APPROVAL_TYPE, &statement.to_bytes(), key).to_bytes())
}

impl App {
    /// Makes a bundle of a project as its files stand now, signed with the node's key, and keeps it on this node. The same
    /// state of the project gives the same bundle, byte for byte.
    ///
    /// # Errors
    /// When the actor may not, the project's files are wrong, or data was asked for that cannot travel.
    pub async fn create_bundle(&self, actor: &Actor, project: &str, new: NewBundle) -> Result<BundleSummary, AppError> {
        let key = self.authorise(actor, project, &[Permission::WriteContent])?.key.clone();
        if new.notes.chars().count() > NOTES_CHARACTERS_MAX {
            return Err(AppError::Invalid(format!("release notes have at most {NOTES_CHARACTERS_MAX} characters")));
        }
        let app = self.clone();
        let author = actor.login.to_string();
        let (mut manifest, texts) = blocking({
            let (app, key) = (app.clone(), key.clone());
            move || app.draft_manifest(&key, new, author)
        })
        .await?;
        let content = hex(&Sha256::digest(manifest.to_bytes()));
        manifest.sequence = self.inner.node.bundle_sequence(&key, &content).await?;
        let (bundle, path) = blocking(move || app.write_bundle(&manifest, &texts)).await?;
        let record = self.keep_bundle(actor, &bundle, true).await?;
        Ok(BundleSummary { record, path })
    }

    /// A bundle that is taken away as a file, which is noted.
    ///
    /// # Errors
    /// As [`App::bundle`].
    pub async fn take_bundle(&self, actor: &Actor, digest: &str) -> Result<BundleSummary, AppError> {
        let bundle = self.bundle(actor, digest).await?;
        let object = format!("project {}, bundle {}", bundle.record.project, &bundle.record.digest[..12]);
        self.note(self.entry(actor, "bundle.export", object, "")).await?;
        Ok(bundle)
    }

    /// The bundles of a project on this node, newest first.
    ///
    /// # Errors
    /// When there is no such project that the actor may know of.
    pub async fn bundles(&self, actor: &Actor, project: &str) -> Result<Vec<BundleSummary>, AppError> {
        let key = self.bundle_project(actor, project)?;
        let records = self.inner.node.bundles(&key, LISTED_MAX).await?;
        Ok(records.into_iter().map(|record| BundleSummary { path: self.bundle_path(&record), record }).collect())
    }

    /// A bundle of this node, by its digest or the beginning of it.
    ///
    /// # Errors
    /// When the actor may not, there is none, or more than one begins so.
    pub async fn bundle(&self, actor: &Actor, digest: &str) -> Result<BundleSummary, AppError> {
        if actor.kind == ActorKind::Visitor {
            return Err(AppError::NotSignedIn);
        }
        let missing = || AppError::not_found(format!("bundle `{}` on this node", digest.escape_debug()));
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest).to_lowercase();
        if digest.len() < DIGEST_CHARACTERS_MIN || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let mut found = self.inner.node.bundles_by_prefix(&digest).await?;
        // A bundle of a project that the actor may not see is answered as one that is not there.
        found.retain(|record| self.bundle_project(actor, record.project.as_str()).is_ok());
        match (found.pop(), found.is_empty()) {
            (Some(record), true) => Ok(BundleSummary { path: self.bundle_path(&record), record }),
            (None, _) => Err(missing()),
            (Some(_), false) => {
                Err(AppError::Invalid(format!("more than one bundle begins with `{digest}`: write more of it")))
            }
        }
    }

    /// What differs between two states of a project, object by object.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub async fn diff_bundles(
        &self,
        actor: &Actor,
        before: BundleSide,
        after: BundleSide,
    ) -> Result<Vec<ObjectDiff>, AppError> {
        for side in [&before, &after] {
            if let BundleSide::Working(key) | BundleSide::Deployed(key) = side {
                self.bundle_project(actor, key.as_str())?;
            }
        }
        let (before, after) = (self.side_files(before).await?, self.side_files(after).await?);
        blocking(move || Ok(diff_files(&before, &after))).await
    }

    /// The key that others check this node's signatures with.
    ///
    /// # Errors
    /// When the key file cannot be used.
    pub fn signing_key(&self) -> Result<SecretKey, AppError> {
        node_key(&self.inner.folder.signing_key(), &self.inner.config.name)
    }

    /// The project whose bundles are meant: one in which the actor has one of these permissions. For an administrator of the
    /// node it need not be there yet.
    pub(crate) fn authorise_bundles(
        &self,
        actor: &Actor,
        project: &str,
        one_of: &[Permission],
    ) -> Result<ProjectKey, AppError> {
        if let Some(scopes) = &actor.deploy {
            let key = ProjectKey::new(project).ok().filter(|key| scopes.is_for(key));
            let key = key.ok_or_else(|| AppError::not_found(format!("project `{project}`")))?;
            // Reading is what each token may.
            if !scopes.activate && !one_of.contains(&Permission::WriteContent) {
                return Err(not_allowed("this deploy token brings bundles, and may not activate them"));
            }
            return Ok(key);
        }
        // Whose approvals stet.toml asks for may look at what there is to approve, also before the project is there.
        let is_approver = actor.kind == ActorKind::User
            && actor.scopes == Scopes::ALL
            && one_of.contains(&Permission::Approve)
            && self.inner.config.deploy.approver(actor.login.as_str()).is_some();
        if is_approver || self.require_administrator(actor).is_ok() {
            return ProjectKey::new(project).map_err(|_| AppError::not_found(format!("project `{project}`")));
        }
        Ok(self.authorise(actor, project, one_of)?.key.clone())
    }

    pub(crate) fn bundle_project(&self, actor: &Actor, project: &str) -> Result<ProjectKey, AppError> {
        self.authorise_bundles(actor, project, &BUNDLE_READERS)
    }

    pub(crate) fn bundle_path(&self, record: &BundleRecord) -> PathBuf {
        self.inner.folder.bundles(&record.project).join(format!("{}.bundle", record.digest))
    }

    /// Notes a bundle that is in the folder of bundles.
    pub(crate) async fn keep_bundle(
        &self,
        actor: &Actor,
        bundle: &Bundle,
        made_here: bool,
    ) -> Result<BundleRecord, AppError> {
        let manifest = &bundle.manifest;
        let now = self.inner.clock.now();
        let record = BundleRecord {
            digest: bundle.digest.clone(),
            project: manifest.project.clone(),
            sequence: manifest.sequence,
            source_node: manifest.source.id,
            source_name: manifest.source.name.clone(),
            author: manifest.author.clone(),
            notes: manifest.notes.clone(),
            bytes: bundle.bytes,
            received_at: now,
            received_by: actor.login.to_string(),
            made_here,
        };
        self.inner.node.insert_bundle(record.clone()).await?;
        let kind = if made_here { "created" } else { "received" };
        let text = format!("bundle {}, made on {} by {}", manifest.sequence, manifest.source.name, manifest.author);
        self.note_deploy(Some(actor), &manifest.project, Some(&bundle.digest), kind, text).await?;
        Ok(record)
    }

    fn draft_manifest(
        &self,
        key: &ProjectKey,
        new: NewBundle,
        author: String,
    ) -> Result<(Manifest, BTreeMap<String, String>), AppError> {
        let root = self.inner.folder.project(key);
        let texts = project_texts(&root)?;
        // Held against each other once more as they were read, so that no bundle is made of half a change.
        let project = load(key.clone(), &files_of(&texts))?;
        let mut files: Vec<ManifestFile> = Vec::new();
        for (file, text) in &texts {
            let path = BundlePath::definition(file).map_err(|error| AppError::Invalid(error.to_string()))?;
            files.push(ManifestFile {
                path: path.as_str().to_owned(),
                bytes: text.len() as u64,
                sha256: hex(&Sha256::digest(text.as_bytes())),
            });
        }
        let mut data: Vec<DatasetName> = Vec::new();
        for dataset in &new.with_data {
            files.extend(self.data_files(&project, dataset)?);
            data.extend(DatasetName::new(dataset.as_str()));
        }
        data.sort();
        data.dedup();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup();
        let mut targets = new.targets;
        targets.sort();
        targets.dedup();
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            stet: STET_VERSION.to_owned(),
            project: key.clone(),
            sequence: 0,
            source: SourceNode { id: self.inner.node_id, name: self.inner.config.name.clone() },
            author,
            targets,
            expires: new.expires,
            notes: new.notes,
            connections: self.connections_of(&project),
            data,
            files,
        };
        manifest.check().map_err(|reason| AppError::Invalid(format!("this project cannot be bundled: {reason}")))?;
        Ok((manifest, texts))
    }

    /// The connections that the datasets of a project name.
    pub(crate) fn connections_of(&self, project: &Project) -> Vec<ConnectionNeed> {
        let mut needs: Vec<ConnectionNeed> = project
            .datasets
            .values()
            .filter_map(|dataset| match &dataset.location {
                Location::Files { connection: Some(name), .. } => Some(name),
                Location::Table { connection, .. } | Location::Query { connection, .. } => Some(connection),
                Location::Editlog { table: Some((connection, _)), .. } => Some(connection),
                Location::Files { connection: None, .. } | Location::Editlog { table: None, .. } => None,
            })
            .map(|name| ConnectionNeed {
                name: name.clone(),
                kind: self.connection(name).map(|connection| connection.kind().to_owned()),
            })
            .collect();
        needs.sort();
        needs.dedup();
        needs
    }

    /// The files of a dataset whose data is to travel.
    fn data_files(&self, project: &Project, dataset: &str) -> Result<Vec<ManifestFile>, AppError> {
        let definition = find(project, dataset)?;
        let made_of_edits = || {
            flow::upstream(project, &definition.name).is_ok_and(|recipes| {
                recipes.iter().any(|recipe| matches!(project.role(&recipe.output), Role::EditlogPivoted | Role::Edited))
            })
        };
        let path = match &definition.location {
            Location::Editlog { .. } => {
                return Err(AppError::Invalid(format!("`{dataset}` is an editlog: edits are never in a bundle")));
            }
            _ if made_of_edits() => {
                return Err(AppError::Invalid(format!("`{dataset}` is made of edits, which are never in a bundle")));
            }
            Location::Files { connection: Some(connection), .. }
            | Location::Table { connection, .. }
            | Location::Query { connection, .. } => {
                return Err(AppError::Invalid(format!(
                    "the data of `{dataset}` lies in the connection `{connection}`: only data that the node keeps itself travels"
                )));
            }
            Location::Files { connection: None, path, .. } => path,
        };
        let root = self.inner.folder.data(&project.key);
        let mut found = Vec::new();
        walk(&root, path, &mut found)?;
        found
            .into_iter()
            .map(|file| {
                let path = BundlePath::data(&file).map_err(|error| AppError::Invalid(error.to_string()))?;
                let (bytes, sha256) = size_and_hash(open_file(&root.join(&file))?)?;
                Ok(ManifestFile { path: path.as_str().to_owned(), bytes, sha256 })
            })
            .collect()
    }

    fn write_bundle(
        &self,
        manifest: &Manifest,
        texts: &BTreeMap<String, String>,
    ) -> Result<(Bundle, PathBuf), AppError> {
        let key = self.signing_key()?;
        let payload = manifest.to_bytes();
        let envelope = Envelope::sign(envelope::MANIFEST_TYPE, &payload, &key);
        let digest = hex(&Sha256::digest(&payload));
        let folder = self.inner.folder.bundles(&manifest.project);
        fs::create_dir_all(&folder).map_err(archive::cannot_write)?;
        let path = folder.join(format!("{digest}.bundle"));
        let data = self.inner.folder.data(&manifest.project);
        write_whole(&path, |out| {
            archive::write_archive(out, manifest, Some(&envelope), &mut |file| {
                if let Some(text) = file.path.strip_prefix("project/").and_then(|file| texts.get(file)) {
                    return Ok(Box::new(std::io::Cursor::new(text.clone().into_bytes())));
                }
                let file = file.path.strip_prefix("data/").unwrap_or(&file.path);
                Ok(Box::new(open_file(&data.join(file))?))
            })
        })?;
        Ok((read_bundle(&path)?, path))
    }

    async fn side_files(&self, side: BundleSide) -> Result<BTreeMap<String, String>, AppError> {
        let path = match side {
            BundleSide::Working(key) => {
                let root = self.inner.folder.project(&key);
                return blocking(move || {
                    let texts = project_texts(&root)?;
                    Ok(texts.into_iter().map(|(file, text)| (format!("project/{file}"), text)).collect())
                })
                .await;
            }
            BundleSide::Archive(path) => path,
            BundleSide::Deployed(key) => match self.deployed_archive(&key).await? {
                Some(path) => path,
                None => return Ok(BTreeMap::new()),
            },
        };
        blocking(move || bundle_texts(&path)).await
    }
}

/// The files of a bundle to compare: the texts of the definition, and the hashes of data.
pub(crate) fn bundle_texts(path: &Path) -> Result<BTreeMap<String, String>, AppError> {
    let mut texts = BTreeMap::new();
    read_archive(&mut open_file(path)?, &mut |file, content| {
        let text = if file.path.starts_with("data/") {
            format!("{} bytes, sha256 {}", file.bytes, file.sha256)
        } else {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(archive::cannot_write)?;
            String::from_utf8(bytes).map_err(|_| AppError::Refused(format!("`{}` is not UTF-8", file.path)))?
        };
        texts.insert(file.path.clone(), text);
        Ok(())
    })?;
    Ok(texts)
}

/// The texts of a project's definition, by their paths below its folder.
pub(crate) fn project_texts(root: &Path) -> Result<BTreeMap<String, String>, AppError> {
    let mut texts = BTreeMap::new();
    let mut bytes = 0u64;
    for (folder, path) in definition_files(root) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") };
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(AppError::Invalid(format!("{file} is a link or a folder: a project consists of plain files")));
        }
        let text = read_text(&path).map_err(|message| AppError::Invalid(format!("{file}: {message}")))?;
        bytes += text.len() as u64;
        if bytes > DEFINITIONS_BYTES_MAX {
            return Err(AppError::Invalid(format!(
                "the project's files have more than {DEFINITIONS_BYTES_MAX} bytes together, which is too much for a bundle"
            )));
        }
        texts.insert(file, text);
    }
    Ok(texts)
}

/// Texts of a definition as a project is loaded from them.
pub(crate) fn files_of(texts: &BTreeMap<String, String>) -> ProjectFiles {
    let mut files = ProjectFiles::default();
    for (path, text) in texts {
        let file = FileText { path: path.clone(), text: text.clone() };
        let (folder, name) = path.split_once('/').unwrap_or(("", path));
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        let stem = stem.to_owned();
        match (folder, ending) {
            ("", _) => files.project = Some(file),
            ("datasets", _) => _ = files.datasets.insert(stem, file),
            ("webapps", _) => _ = files.webapps.insert(stem, file),
            ("recipes", "sql") => _ = files.queries.insert(stem, file),
            ("recipes", _) => _ = files.recipes.insert(stem, file),
            ("scenarios", _) => _ = files.scenarios.insert(stem, file),
            _ => {}
        }
    }
    files
}

/// The plain files at and below a path, in order; hidden ones and what Stet notes are left out.
fn walk(root: &Path, path: &str, found: &mut Vec<String>) -> Result<(), AppError> {
    let full = root.join(path);
    let missing = |error: std::io::Error| AppError::Invalid(format!("the data at {path} cannot be read: {error}"));
    let metadata = fs::symlink_metadata(&full).map_err(missing)?;
    if metadata.is_file() {
        found.push(path.to_owned());
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(AppError::Invalid(format!("the data at {path} is a link: only plain files travel")));
    }
    let mut names: Vec<String> = fs::read_dir(&full)
        .map_err(missing)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with(['.', '_']) && !name.ends_with(".stet.json"))
        .collect();
    names.sort();
    for name in names {
        walk(root, &format!("{path}/{name}"), found)?;
    }
    Ok(())
}

pub(crate) fn open_file(path: &Path) -> Result<File, AppError> {
    File::open(path).map_err(|error| AppError::Invalid(format!("cannot read {}: {error}", path.display())))
}

/// Writes a file that appears when it is whole and on the disk.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), AppError>,
) -> Result<(), AppError> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".stet-").tempfile_in(folder).map_err(archive::cannot_write)?;
    {
        let mut out = std::io::BufWriter::new(&mut file);
        write(&mut out)?;
        out.flush().map_err(archive::cannot_write)?;
    }
    file.as_file().sync_all().map_err(archive::cannot_write)?;
    file.persist(path).map_err(|error| archive::cannot_write(error.error))?;
    Ok(())
}
