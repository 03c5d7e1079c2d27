//! Deployment: bundles arrive, are judged, planned, activated, and watched.

mod activate;
mod approve;
mod config;
mod drift;
mod history;
mod judge;
mod plan;
mod push;
mod targets;
mod tokens;

use std::path::{Path, PathBuf};

use serde::Serialize;
use stet_domain::access::Permission;
use stet_domain::{Actor, ActorKind, LogDate, ProjectKey};
use stet_store::node::{ApprovalRecord, Deployment};

pub use approve::ApprovalRequest;
pub use config::{DeployConfig, OnDrift, TrustedKey};
pub use drift::Drift;
pub(crate) use drift::Drifts;
pub use history::{Fate, HistoryEffect, HistoryPage, HistoryRow, PLAN_EDITS_MAX};
pub use judge::{GivenApproval, Judgement};
pub use plan::{DeployPlan, PlanConnection, PlanData, PlanObject, PlanWebapp};
pub(crate) use push::Pushes;
pub use push::{NodeAnswer, Push, PushOptions, PushReport, PushState};
pub use stet_store::node::{DeployEvent, DeployToken};
pub use targets::{NewTarget, Target};
pub use tokens::DEPLOY_TOKEN_PREFIX;

use crate::App;
use crate::access::not_allowed;
use crate::bundle::{APPROVAL_BYTES_MAX, Bundle, BundleSummary, cannot_write, read_bundle};
use crate::datasets::blocking;
use crate::error::AppError;

/// The most activations and events in a list.
const LISTED_MAX: usize = 1_000;

/// The largest bundle that is taken over the network, in bytes.
pub const UPLOAD_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How a deployed project is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing was deployed.
    NotDeployed,
    /// All is well.
    Healthy,
    /// It works, and something should be known.
    Warning,
    /// Something that was deployed was changed on this node.
    OutOfSync,
    /// It does not work.
    Unhealthy,
}

/// What is deployed to a project and how that is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeployStatus {
    /// The project.
    pub project: String,
    /// How it is.
    pub health: Health,
    /// Why.
    pub reasons: Vec<String>,
    /// The activation that counts; none when nothing was deployed.
    pub deployed: Option<DeploymentSummary>,
    /// What was changed on this node since, item by item.
    pub drift: Vec<Drift>,
}

/// An activation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeploymentSummary {
    /// Its identity.
    pub id: String,
    /// The bundle.
    pub digest: String,
    /// Its number.
    pub sequence: u64,
    /// `activate` or `rollback`.
    pub kind: String,
    /// `started`, `done` or `failed`.
    pub state: String,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: LogDate,
    /// Why it failed.
    pub error: Option<String>,
    /// Whose approvals it had.
    pub approved_by: Vec<String>,
    /// What was warned of.
    pub warnings: Vec<String>,
}

impl From<&Deployment> for DeploymentSummary {
    fn from(deployment: &Deployment) -> DeploymentSummary {
        let document: serde_json::Value = serde_json::from_str(&deployment.document).unwrap_or_default();
        let texts = |name: &str| {
            let list = document[name].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        DeploymentSummary {
            id: deployment.id.to_string(),
            digest: deployment.digest.clone(),
            sequence: deployment.sequence,
            kind: deployment.kind.clone(),
            state: deployment.state.clone(),
            by: deployment.started_by.to_string(),
            at: deployment.started_at,
            error: deployment.error.clone(),
            approved_by: texts("counted"),
            // Those of before there was a difference are told as they were.
            warnings: texts(if document["lasting_warnings"].is_array() { "lasting_warnings" } else { "warnings" }),
        }
    }
}

/// Whether a bundle is good for this node, told without activating it.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The bundle.
    pub bundle: Bundle,
    /// What speaks for and against it.
    pub judgement: Judgement,
}

impl App {
    /// Takes a bundle that was brought to this node: reads it from end to end, checks signature, target and expiry, and
    /// keeps it. The file given is left as it is.
    ///
    /// # Errors
    /// `Refused` with the reason, which is noted; when it cannot be written.
    pub async fn receive_bundle(&self, actor: &Actor, file: &Path) -> Result<BundleSummary, AppError> {
        self.require_bringer(actor)?;
        let source = file.to_owned();
        let read = blocking(move || read_bundle(&source)).await;
        let bundle = match read {
            Ok(bundle) => bundle,
            Err(error @ AppError::Refused(_)) => {
                self.note_deploy_event(Some(actor), None, None, "refused", error.to_string()).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let key = bundle.manifest.project.clone();
        match &actor.deploy {
            // Nobody is told by this what there is: the token says it itself.
            Some(scopes) if !scopes.is_for(&key) => {
                let text = format!("this deploy token is not for the project `{key}`");
                self.note_deploy(Some(actor), &key, Some(&bundle.digest), "refused", text.clone()).await?;
                return Err(AppError::Refused(text));
            }
            Some(_) => {}
            None => _ = self.authorise_bundles(actor, key.as_str(), &[Permission::Deploy])?,
        }
        let judgement = self.judge_entry(&bundle).await?;
        if !judgement.blockers.is_empty() {
            let text = judgement.blockers.join("; ");
            self.note_deploy(Some(actor), &key, Some(&bundle.digest), "refused", text.clone()).await?;
            return Err(AppError::Refused(text));
        }
        let folder = self.inner.folder.bundles(&key);
        let (source, digest) = (file.to_owned(), bundle.digest.clone());
        let kept = blocking(move || {
            std::fs::create_dir_all(&folder).map_err(cannot_write)?;
            let path = folder.join(format!("{digest}.bundle"));
            crate::bundle::write_whole(&path, |out| {
                let mut input = crate::bundle::open_file(&source)?;
                std::io::copy(&mut input, out).map(|_| ()).map_err(cannot_write)
            })?;
            // What is kept is what was checked, even if the file changed in between.
            let kept = read_bundle(&path)?;
            if kept.digest != digest || kept.envelope.is_none() {
                std::fs::remove_file(&path).map_err(AppError::internal)?;
                return Err(AppError::Refused("the bundle changed while it was read: bring it again".to_owned()));
            }
            Ok(kept)
        })
        .await?;
        let record = self.keep_bundle(actor, &kept, false).await?;
        Ok(BundleSummary { path: self.bundle_path(&record), record })
    }

    /// A place for a bundle that is arriving; it is gone when this is dropped.
    ///
    /// # Errors
    /// When the actor may not, or the disk cannot be written.
    pub fn incoming_bundle(&self, actor: &Actor) -> Result<tempfile::NamedTempFile, AppError> {
        self.require_bringer(actor)?;
        let folder = self.inner.folder.incoming();
        std::fs::create_dir_all(&folder).map_err(cannot_write)?;
        tempfile::Builder::new().prefix("arriving-").tempfile_in(folder).map_err(cannot_write)
    }

    /// Puts away what was arriving when the server was killed. Called once at its start.
    pub fn clear_incoming(&self) {
        let Ok(entries) = std::fs::read_dir(self.inner.folder.incoming()) else { return };
        for entry in entries.flatten() {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove what was left of an upload");
            }
        }
    }

    /// Takes an approval of a bundle that was brought to this node.
    ///
    /// # Errors
    /// `Refused` with the reason, which is noted: no approval, unknown person, wrong signature, another bundle or node.
    pub async fn receive_approval(
        &self,
        actor: &Actor,
        digest: &str,
        envelope: &[u8],
    ) -> Result<GivenApproval, AppError> {
        let bundle = self.bundle(actor, digest).await?;
        let here = self.here();
        let key = &bundle.record.project;
        let digest = bundle.record.digest.as_str();
        let found = if actor.deploy.as_ref().is_some_and(|scopes| !scopes.approvals) {
            let text = "this deploy token brings bundles, and may not bring approvals";
            self.note_deploy(Some(actor), key, Some(digest), "refused", text.to_owned()).await?;
            return Err(not_allowed(text));
        } else if envelope.len() > APPROVAL_BYTES_MAX {
            Err(format!("an approval has at most {APPROVAL_BYTES_MAX} bytes"))
        } else {
            judge::verified_statement(&here, digest, envelope)
        };
        let (statement, passkey) = match found {
            Ok(found) => found,
            Err(reason) => {
                let text = format!("an approval was refused: {reason}");
                self.note_deploy(Some(actor), key, Some(digest), "refused", text.clone()).await?;
                return Err(AppError::Refused(text));
            }
        };
        let known = self.inner.node.approvals(digest).await?;
        let same = |known: &ApprovalRecord| {
            judge::verified_statement(&here, digest, known.envelope.as_bytes()).is_ok_and(|(said, _)| said == statement)
        };
        // The same words again, however they are wrapped, say nothing new.
        if known.iter().any(same) {
            return Ok(GivenApproval::from(statement));
        }
        let text = String::from_utf8(envelope.to_vec()).map_err(AppError::internal)?;
        if let Some((used, count)) = passkey {
            self.count_passkey(actor, &bundle, &text, &statement.person, &used, count).await?;
        }
        let new = self
            .inner
            .node
            .insert_approval(ApprovalRecord {
                digest: digest.to_owned(),
                person: statement.person.clone(),
                envelope: text,
                received_at: here.now,
                received_by: actor.login.to_string(),
            })
            .await?;
        if new {
            let mut said = format!("{} says", statement.person);
            if let Some(feedback) = statement.feedback {
                said.push_str(&format!(" {}", serde_json::to_string(&feedback).unwrap_or_default().trim_matches('"')));
            }
            if let Some(decision) = statement.decision {
                said.push_str(&format!(
                    " final {}",
                    serde_json::to_string(&decision).unwrap_or_default().trim_matches('"')
                ));
            }
            self.note_deploy(Some(actor), key, Some(digest), "approval", said).await?;
        }
        Ok(GivenApproval::from(statement))
    }

    /// Fails unless the actor may bring bundles of some project.
    fn require_bringer(&self, actor: &Actor) -> Result<(), AppError> {
        let deploys = |(_, project): &(ProjectKey, Result<std::sync::Arc<stet_domain::project::Project>, AppError>)| {
            project.as_ref().is_ok_and(|project| self.permissions(actor, project).has(Permission::Deploy))
        };
        if actor.kind == ActorKind::DeployToken || self.projects(actor).iter().any(deploys) {
            return Ok(());
        }
        self.require_administrator(actor)
    }

    /// Whether a bundle is good for this node.
    ///
    /// # Errors
    /// When it cannot be read, or is not what its manifest says.
    pub async fn verify_bundle(&self, actor: &Actor, file: &Path) -> Result<Verification, AppError> {
        let file = file.to_owned();
        let bundle = blocking(move || read_bundle(&file)).await?;
        self.bundle_project(actor, bundle.manifest.project.as_str())?;
        let judgement = self.judge_entry(&bundle).await?;
        Ok(Verification { bundle, judgement })
    }

    /// This node, as it judges now.
    fn here(&self) -> judge::Here<'_> {
        judge::Here {
            id: self.inner.node_id,
            name: &self.inner.config.name,
            config: &self.inner.config.deploy,
            now: self.inner.clock.now(),
            site: self.site().ok(),
        }
    }

    async fn judge_entry(&self, bundle: &Bundle) -> Result<Judgement, AppError> {
        let here = self.here();
        Ok(judge::entry(&here, bundle))
    }

    /// What is deployed to a project and how that is.
    ///
    /// # Errors
    /// When the actor may not.
    pub async fn deploy_status(&self, actor: &Actor, project: &str) -> Result<DeployStatus, AppError> {
        let key = self.bundle_project(actor, project)?;
        let deployed = self.inner.node.deployed(&key).await?;
        let mut reasons = Vec::new();
        let mut health = Health::Healthy;
        let mut drift = Vec::new();
        let summary = deployed.as_ref().map(DeploymentSummary::from);
        match &summary {
            None => health = Health::NotDeployed,
            Some(summary) => {
                if !summary.warnings.is_empty() {
                    health = Health::Warning;
                    reasons.extend(summary.warnings.iter().cloned());
                }
                drift = self.look_for_drift(&key).await?;
                if !drift.is_empty() {
                    health = Health::OutOfSync;
                    reasons = drift.iter().map(|item| format!("`{}` was {}", item.file, item.change)).collect();
                }
                match self.inner.projects.get(&key) {
                    Err(error) => {
                        health = Health::Unhealthy;
                        reasons.push(error.to_string());
                    }
                    Ok(project) => {
                        let app = self.clone();
                        let unready = blocking(move || Ok(app.unready_editlogs(&project))).await?;
                        if unready.iter().any(|editlog| editlog.foreign) {
                            health = Health::Unhealthy;
                        } else if !unready.is_empty() && health == Health::Healthy {
                            health = Health::Warning;
                        }
                        reasons.extend(unready.into_iter().map(|editlog| editlog.words));
                    }
                }
            }
        }
        Ok(DeployStatus { project: key.to_string(), health, reasons, deployed: summary, drift })
    }

    /// The activations of a project, newest first.
    ///
    /// # Errors
    /// When the actor may not.
    pub async fn deployments(&self, actor: &Actor, project: &str) -> Result<Vec<DeploymentSummary>, AppError> {
        let key = self.bundle_project(actor, project)?;
        let deployments = self.inner.node.deployments(&key, LISTED_MAX).await?;
        Ok(deployments.iter().map(DeploymentSummary::from).collect())
    }

    /// What happened around the bundles of a project, newest first: refusals, too.
    ///
    /// # Errors
    /// When the actor may not.
    pub async fn deploy_events(&self, actor: &Actor, project: &str) -> Result<Vec<DeployEvent>, AppError> {
        let key = self.bundle_project(actor, project)?;
        Ok(self.inner.node.deploy_events(key.as_str(), LISTED_MAX).await?)
    }

    /// The projects to which something was deployed, or could be.
    ///
    /// # Errors
    /// When the actor may not.
    pub async fn deploy_projects(&self, actor: &Actor) -> Result<Vec<ProjectKey>, AppError> {
        self.require_administrator(actor)?;
        let mut keys = self.inner.projects.keys();
        if let Ok(entries) = std::fs::read_dir(self.inner.folder.root().join("bundles")) {
            keys.extend(entries.flatten().filter_map(|entry| ProjectKey::new(entry.file_name().to_str()?).ok()));
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// The archive of the bundle that is deployed to a project, checked against its record by whoever reads it.
    pub(crate) async fn deployed_archive(&self, key: &ProjectKey) -> Result<Option<PathBuf>, AppError> {
        let deployed = self.inner.node.deployed(key).await?;
        Ok(deployed.map(|deployed| self.inner.folder.bundles(key).join(format!("{}.bundle", deployed.digest))))
    }
}
