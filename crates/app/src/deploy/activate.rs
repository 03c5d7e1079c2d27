//! Activation: the new files are written beside the old ones and take their place in one step.
//!
//! Until that step nothing has changed; after it everything has. Which side a killed node was on is told by the note
//! (`deployed.json`) that is in the project's folder and goes with the exchange. What was deployed before stays as a bundle,
//! so that going back is an activation like any other. Editlogs are elsewhere and are not touched.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stet_domain::access::Permission;
use stet_domain::bundle::FileEffect;
use stet_domain::{Actor, ProjectKey};
use stet_store::node::{AuditOutcome, Deployment, NewDeployEvent};
use uuid::Uuid;

use super::plan::DeployPlan;
use crate::bundle::{BundleSummary, cannot_write, open_file, project_texts, read_archive};
use crate::datasets::blocking;
use crate::error::{AppError, Chain};
use crate::projects::definition_files;
use crate::{App, ProjectEvent};

/// The note in a project's folder of what was deployed into it.
pub(crate) const NOTE: &str = "deployed.json";

/// What the note says.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The activation.
    deployment: Uuid,
    /// The bundle.
    digest: String,
}

/// Held by the one activation of a project at a time; it ends with the process, however that ends.
struct DeployLock {
    _file: File,
}

impl DeployLock {
    /// None when another activation holds it.
    fn take(folder: &Path) -> Result<Option<DeployLock>, AppError> {
        fs::create_dir_all(folder).map_err(cannot_write)?;
        let path = folder.join("lock");
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(cannot_write)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DeployLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(cannot_write(error)),
        }
    }
}

impl App {
    /// Activates a bundle that is on this node: all of it, or nothing.
    ///
    /// # Errors
    /// `Refused` with everything that speaks against it; `Conflict` when another activation is under way; when the disk
    /// cannot be written, after which everything is as it was.
    pub async fn activate(&self, actor: &Actor, digest: &str) -> Result<DeployPlan, AppError> {
        let bundle = self.bundle(actor, digest).await?;
        self.carry_out(actor, bundle, false).await
    }

    /// Goes back to a bundle that was active before: the one before the present one, unless another is named. Edits are
    /// untouched.
    ///
    /// # Errors
    /// As [`App::activate`], and when there is nothing to go back to.
    pub async fn rollback(&self, actor: &Actor, project: &str, to: Option<&str>) -> Result<DeployPlan, AppError> {
        let bundle = self.rollback_target(actor, project, to).await?;
        self.carry_out(actor, bundle, true).await
    }

    /// What going back would do.
    ///
    /// # Errors
    /// As [`App::rollback`].
    pub async fn plan_rollback(&self, actor: &Actor, project: &str, to: Option<&str>) -> Result<DeployPlan, AppError> {
        let bundle = self.rollback_target(actor, project, to).await?;
        self.plan(&bundle, true, false).await
    }

    async fn rollback_target(&self, actor: &Actor, project: &str, to: Option<&str>) -> Result<BundleSummary, AppError> {
        let key = self.authorise_bundles(actor, project, &[Permission::Deploy])?;
        let done: Vec<Deployment> = self
            .inner
            .node
            .deployments(&key, super::LISTED_MAX)
            .await?
            .into_iter()
            .filter(|deployment| deployment.state == "done")
            .collect();
        let Some(current) = done.first() else {
            return Err(AppError::Refused(format!(
                "nothing was ever deployed to `{key}`: there is nothing to go back to"
            )));
        };
        let target = match to {
            Some(digest) => {
                let bundle = self.bundle(actor, digest).await?;
                if !done.iter().any(|deployment| deployment.digest == bundle.record.digest) {
                    return Err(AppError::Refused(format!(
                        "the bundle {} was never active here: use `stet deploy activate`",
                        &bundle.record.digest
                    )));
                }
                return Ok(bundle);
            }
            None => done.iter().find(|deployment| deployment.digest != current.digest),
        };
        match target {
            Some(target) => self.bundle(actor, &target.digest.clone()).await,
            None => Err(AppError::Refused(format!(
                "only one bundle was ever active in `{key}`: there is none to go back to"
            ))),
        }
    }

    /// Goes on to its end when whoever asked has gone or lost patience: half an activation is none.
    async fn carry_out(&self, actor: &Actor, bundle: BundleSummary, rollback: bool) -> Result<DeployPlan, AppError> {
        let (app, actor) = (self.clone(), actor.clone());
        let work = tokio::spawn(async move { app.carry_out_now(&actor, bundle, rollback).await });
        work.await.map_err(AppError::internal)?
    }

    async fn carry_out_now(
        &self,
        actor: &Actor,
        bundle: BundleSummary,
        rollback: bool,
    ) -> Result<DeployPlan, AppError> {
        let key = self.authorise_bundles(actor, bundle.record.project.as_str(), &[Permission::Deploy])?;
        let folder = self.inner.folder.deploying(&key);
        let Some(_lock) = DeployLock::take(&folder)? else {
            return Err(AppError::Conflict(format!("another activation of `{key}` is under way: wait for its end")));
        };
        self.recover_project(&key).await?;
        let plan = self.plan(&bundle, rollback, false).await?;
        for connection in &plan.connections {
            self.may_use_connection(actor, &connection.name)?;
        }
        if !plan.blockers.is_empty() {
            let text = plan.blockers.join("; ");
            self.note_deploy(Some(actor), &key, Some(&plan.digest), "refused", text.clone()).await?;
            return Err(AppError::Refused(format!("nothing was changed: {text}")));
        }
        if plan.current.as_deref() == Some(&plan.digest) && !plan.changes_anything() {
            return Err(AppError::Conflict(format!(
                "this bundle is deployed to `{key}` already, and nothing was changed here"
            )));
        }
        let deployment = Deployment {
            id: Uuid::now_v7(),
            project: key.clone(),
            digest: plan.digest.clone(),
            sequence: plan.sequence,
            kind: if rollback { "rollback" } else { "activate" }.to_owned(),
            state: "started".to_owned(),
            started_by: actor.login.clone(),
            started_at: self.inner.clock.now(),
            finished_at: None,
            error: None,
            document: serde_json::to_string(&plan).map_err(AppError::internal)?,
        };
        let id = deployment.id;
        self.inner.node.insert_deployment(deployment).await?;
        let (app, exchanged) = (self.clone(), plan.clone());
        let result = blocking({
            let (key, archive) = (key.clone(), bundle.path.clone());
            move || app.exchange(&key, id, &archive, &exchanged)
        })
        .await;
        let now = self.inner.clock.now();
        if let Err(error) = result {
            let text = Chain(&error).to_string();
            // Should this fail as well, the next start looks which side of the exchange we are on.
            if !self.is_deployed(&key, id) {
                self.inner.node.finish_deployment(id, "failed", Some(text.clone()), now).await?;
            }
            self.note_deploy(Some(actor), &key, Some(&plan.digest), "failed", text).await?;
            return Err(error);
        }
        self.inner.node.finish_deployment(id, "done", None, now).await?;
        let kind = if rollback { "rolled_back" } else { "activated" };
        let mut text = format!("bundle {}, made on {} by {}", plan.sequence, plan.source, plan.author);
        if !plan.judgement.counted.is_empty() {
            text.push_str(&format!("; approved by {}", plan.judgement.counted.join(", ")));
        }
        for warning in &plan.warnings {
            text.push_str(&format!("; {warning}"));
        }
        self.note_deploy(Some(actor), &key, Some(&plan.digest), kind, text).await?;
        let staging = folder.join(id.to_string());
        // What is left there is the earlier state, which is in its bundle; it is in nobody's way.
        let _ = blocking(move || fs::remove_dir_all(staging).map_err(AppError::internal)).await;
        self.inner.projects.forget(&key);
        self.look_for_drift(&key).await?;
        self.announce(&key, ProjectEvent::Flow);
        tracing::info!(project = %key, bundle = %plan.digest, rollback, "deployed");
        Ok(plan)
    }

    /// Writes the new state beside the old one and exchanges them. When it fails before the exchange, nothing has changed.
    fn exchange(&self, key: &ProjectKey, id: Uuid, archive: &Path, plan: &DeployPlan) -> Result<(), AppError> {
        let staging = self.inner.folder.deploying(key).join(id.to_string());
        let staged = stage(&self.inner.folder.project(key), &staging, id, archive, plan);
        if let Err(error) = staged {
            let _ = fs::remove_dir_all(&staging);
            return Err(error);
        }
        let root = self.inner.folder.project(key);
        // Somebody may have worked on the files in the meantime; what they did must not be lost.
        let now = if root.is_dir() { project_texts(&root)? } else { Default::default() };
        let same = now.len() == plan.present.len()
            && now.iter().all(|(file, text)| {
                use sha2::{Digest, Sha256};
                plan.present.get(file) == Some(&crate::password::hex(&Sha256::digest(text.as_bytes())))
            });
        if !same {
            let _ = fs::remove_dir_all(&staging);
            return Err(AppError::Conflict(
                "the project's files on this node changed while the activation was prepared: nothing was changed; try again"
                    .to_owned(),
            ));
        }
        swap(&staging, &root).map_err(cannot_write)?;
        place_data(&staging, &self.inner.folder.data(key)).map_err(cannot_write)
    }

    /// Whether this activation is the one that the project's files are of.
    fn is_deployed(&self, key: &ProjectKey, id: Uuid) -> bool {
        let note = self.inner.folder.project(key).join(NOTE);
        fs::read(note)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok())
            .is_some_and(|note| note.deployment == id)
    }

    /// Ends the activations in whose middle the node was stopped: completes those that had made the exchange, and puts away
    /// the others. One that is under way in another process is left alone. Called at the start.
    ///
    /// # Errors
    /// When the node database or the disk cannot be used.
    pub async fn recover_deployments(&self) -> Result<(), AppError> {
        let projects: BTreeSet<ProjectKey> =
            self.inner.node.unfinished_deployments().await?.into_iter().map(|deployment| deployment.project).collect();
        for key in projects {
            if let Some(_lock) = DeployLock::take(&self.inner.folder.deploying(&key))? {
                self.recover_project(&key).await?;
            }
        }
        Ok(())
    }

    /// The caller holds the lock of the project.
    async fn recover_project(&self, key: &ProjectKey) -> Result<(), AppError> {
        let folder = self.inner.folder.deploying(key);
        for deployment in self.inner.node.unfinished_deployments().await? {
            if deployment.project != *key {
                continue;
            }
            let staging = folder.join(deployment.id.to_string());
            let root = self.inner.folder.project(key);
            // Without an exchange in one step, a node can be stopped between the two renames of `swap`.
            if !root.exists() && staging.join("aside").exists() {
                fs::rename(staging.join("project"), &root).map_err(cannot_write)?;
            }
            let now = self.inner.clock.now();
            if self.is_deployed(key, deployment.id) {
                place_data(&staging, &self.inner.folder.data(key)).map_err(cannot_write)?;
                self.inner.node.finish_deployment(deployment.id, "done", None, now).await?;
                let text = "the node was stopped in the middle of this activation, and completed it".to_owned();
                self.note_deploy(None, key, Some(&deployment.digest), "activated", text).await?;
            } else {
                let text = "the node was stopped in the middle of this activation: nothing was changed".to_owned();
                self.inner.node.finish_deployment(deployment.id, "failed", Some(text.clone()), now).await?;
                self.note_deploy(None, key, Some(&deployment.digest), "failed", text).await?;
            }
            if staging.exists() {
                fs::remove_dir_all(&staging).map_err(cannot_write)?;
            }
            self.inner.projects.forget(key);
        }
        Ok(())
    }

    /// Notes what happened to a project, in its history and in the audit trail. Without an actor the node did it itself.
    pub(crate) async fn note_deploy(
        &self,
        actor: Option<&Actor>,
        key: &ProjectKey,
        digest: Option<&str>,
        kind: &str,
        text: String,
    ) -> Result<(), AppError> {
        self.note_deploy_event(actor, Some(key), digest, kind, text).await
    }

    /// As [`App::note_deploy`], also of a bundle of which no project is known.
    pub(crate) async fn note_deploy_event(
        &self,
        actor: Option<&Actor>,
        key: Option<&ProjectKey>,
        digest: Option<&str>,
        kind: &str,
        text: String,
    ) -> Result<(), AppError> {
        let (action, outcome) = match kind {
            "created" => ("bundle.create", AuditOutcome::Done),
            "received" => ("bundle.receive", AuditOutcome::Done),
            "pushed" => ("bundle.push", AuditOutcome::Done),
            "push_failed" => ("bundle.push", AuditOutcome::Failed),
            "approval" => ("bundle.approve", AuditOutcome::Done),
            "refused" => ("deploy.refuse", AuditOutcome::Refused),
            "activated" => ("deploy.activate", AuditOutcome::Done),
            "failed" => ("deploy.activate", AuditOutcome::Failed),
            "rolled_back" => ("deploy.rollback", AuditOutcome::Done),
            "reset" => ("editlog.reset", AuditOutcome::Done),
            "mended" => ("deploy.mended", AuditOutcome::Done),
            _ => ("deploy.drift", AuditOutcome::Failed),
        };
        let project = key.map(|key| format!("project {key}"));
        let bundle = digest.map(|digest| format!("bundle {}", digest.get(..12).unwrap_or(digest)));
        let object: Vec<String> = project.into_iter().chain(bundle).collect();
        let mut entry = self.entry_of(actor, action, object.join(", "), text.clone());
        entry.outcome = outcome;
        let event = NewDeployEvent {
            at: entry.at,
            project: key.map(ToString::to_string),
            digest: digest.map(str::to_owned),
            actor: entry.user.clone(),
            kind: kind.to_owned(),
            text,
        };
        Ok(self.inner.node.audited(entry).append_deploy_event(event).await?)
    }
}

impl DeployPlan {
    fn changes_anything(&self) -> bool {
        let moves = |effect| !matches!(effect, FileEffect::Keep | FileEffect::KeepLocal);
        self.files.iter().any(|state| moves(state.effect)) || self.data.iter().any(|data| data.effect != "keep")
    }
}

/// Writes the folder as it will be, and the data that comes along, below `staging`.
fn stage(root: &Path, staging: &Path, id: Uuid, archive: &Path, plan: &DeployPlan) -> Result<(), AppError> {
    let project = staging.join("project");
    fs::create_dir_all(&project).map_err(cannot_write)?;
    let bundle = read_archive(&mut open_file(archive)?, &mut |file, content| {
        let target = match file.path.split_once('/') {
            Some(("project", rest)) => project.join(rest),
            _ => staging.join(&file.path),
        };
        write_file(&target, content).map_err(cannot_write)
    })?;
    if bundle.digest != plan.digest {
        return Err(AppError::Refused("the archive of this bundle was replaced by another one".to_owned()));
    }
    let local: BTreeSet<&str> = plan
        .files
        .iter()
        .filter(|state| state.effect == FileEffect::KeepLocal)
        .map(|state| state.file.as_str())
        .collect();
    let known: BTreeSet<PathBuf> = definition_files(root).into_iter().map(|(_, path)| path).collect();
    if root.is_dir() {
        keep(root, root, &project, &known, &local).map_err(cannot_write)?;
    }
    let note = Note { deployment: id, digest: plan.digest.clone() };
    let note = serde_json::to_vec_pretty(&note).map_err(AppError::internal)?;
    write_file(&project.join(NOTE), &mut note.as_slice()).map_err(cannot_write)?;
    sync_folders(staging).map_err(cannot_write)
}

/// Brings along what is in the project's folder and belongs to no bundle: what was made here, and what is no definition.
fn keep(
    root: &Path,
    folder: &Path,
    target: &Path,
    known: &BTreeSet<PathBuf>,
    local: &BTreeSet<&str>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let below = path.strip_prefix(root).map_err(io::Error::other)?;
        let to = target.join(below);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir_all(&to)?;
            keep(root, &path, target, known, local)?;
        } else if known.contains(&path) {
            let file = below.to_string_lossy().replace('\\', "/");
            if local.contains(file.as_str()) {
                write_file(&to, &mut File::open(&path)?)?;
            }
        } else if below != Path::new(NOTE) && !to.exists() {
            if kind.is_symlink() {
                #[cfg(unix)]
                std::os::unix::fs::symlink(fs::read_link(&path)?, &to)?;
            } else {
                // The same file in both folders; one of them goes.
                fs::hard_link(&path, &to).or_else(|_| write_file(&to, &mut File::open(&path)?))?;
            }
        }
    }
    Ok(())
}

/// Puts the staged project in the place of the present one.
fn swap(staging: &Path, root: &Path) -> io::Result<()> {
    let project = staging.join("project");
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
    }
    if root.exists() {
        exchange_folders(&project, root, &staging.join("aside"))?;
    } else {
        fs::rename(&project, root)?;
    }
    for folder in [root.parent(), Some(staging)].into_iter().flatten() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Exchanges two folders in one step. Where the file system cannot, the old one is put aside first: a node that is stopped
/// in between completes that when it starts.
fn exchange_folders(new: &Path, old: &Path, aside: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            fs::rename(old, aside)?;
            fs::rename(new, old)
        }
        Err(error) => Err(error.into()),
    }
}

/// Moves staged data to its place; what was moved before is passed over.
fn place_data(staging: &Path, data: &Path) -> io::Result<()> {
    fn each(from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                each(&entry.path(), &target)?;
            } else {
                fs::rename(entry.path(), target)?;
            }
        }
        File::open(to)?.sync_all()
    }
    let staged = staging.join("data");
    if staged.is_dir() { each(&staged, data) } else { Ok(()) }
}

fn write_file(path: &Path, content: &mut dyn io::Read) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::options().write(true).create_new(true).open(path)?;
    io::copy(content, &mut file)?;
    file.flush()?;
    file.sync_all()
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}
