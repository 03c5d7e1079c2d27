//! The nodes to which this one sends its bundles: where they are, which node has to answer there, and the deploy token
//! that it takes, sealed by this node's key. A target is never changed: a token that was given for one address is not shown
//! at another. Take the target away and add it anew, with its token.

use stet_domain::access::Permission;
use stet_domain::{Actor, LogDate};
use stet_store::node::StoredTarget;
use uuid::Uuid;

use super::DEPLOY_TOKEN_PREFIX;
use super::push::NodeAnswer;
use crate::App;
use crate::config::is_safe_address;
use crate::error::AppError;
use crate::secrets::Context;

/// The most targets of a node.
const TARGETS_MAX: usize = 100;

/// The longest name of a target, in characters.
const NAME_CHARACTERS_MAX: usize = 80;

/// The longest deploy token, in bytes.
const TOKEN_BYTES_MAX: usize = 200;

/// A target to add. Without `Debug`, so that its token is never logged.
#[derive(Clone)]
pub struct NewTarget {
    /// By which people will call it.
    pub name: String,
    /// Where its pages are, such as `https://stet.example.org`.
    pub address: String,
    /// Which node has to answer there, as `stet deploy token add` tells it.
    pub node_id: String,
    /// Certificates (PEM) of authorities to trust instead of the system's, below the node's folder.
    pub ca_file: Option<String>,
    /// A deploy token of that node.
    pub token: String,
}

/// A node to which this one sends its bundles, without its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// By which people call it.
    pub name: String,
    /// Where its pages are.
    pub address: String,
    /// Which node has to answer there.
    pub node_id: Uuid,
    /// Certificates of authorities to trust, if not the system's.
    pub ca_file: Option<String>,
    /// When it was added.
    pub added_at: LogDate,
    /// By whom.
    pub added_by: String,
}

impl From<StoredTarget> for Target {
    fn from(stored: StoredTarget) -> Target {
        let StoredTarget { name, address, node_id, ca_file, added_at, added_by, sealed_token: _ } = stored;
        Target { name, address, node_id, ca_file, added_at, added_by }
    }
}

impl App {
    /// Adds a node to which this one sends its bundles; its token is sealed by the node's key.
    ///
    /// # Errors
    /// When the actor is no administrator, something is wrong with what was given, or there is one of this name.
    pub async fn add_target(&self, actor: &Actor, new: NewTarget) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let name = new.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || name.chars().any(char::is_control) {
            return Err(AppError::Invalid(format!("the name of a target has 1 to {NAME_CHARACTERS_MAX} characters")));
        }
        let address = new.address.trim().trim_end_matches('/').to_owned();
        if !is_safe_address(&address) || address.contains('?') {
            return Err(AppError::Invalid(
                "the address of a target begins with https:// (http:// is for this machine alone)".to_owned(),
            ));
        }
        let node_id: Uuid = new.node_id.trim().parse().map_err(|_| {
            AppError::Invalid(
                "say which node it is: its id stands in what `stet deploy token add` prints there".to_owned(),
            )
        })?;
        let token = new.token.trim();
        if !token.starts_with(DEPLOY_TOKEN_PREFIX) || token.len() > TOKEN_BYTES_MAX {
            return Err(AppError::Invalid(format!(
                "this is no deploy token: make one on the target with `stet deploy token add`; it begins with {DEPLOY_TOKEN_PREFIX}"
            )));
        }
        if self.inner.node.deploy_targets().await?.len() >= TARGETS_MAX {
            return Err(AppError::Invalid(format!("a node has at most {TARGETS_MAX} targets")));
        }
        let context = Context::deploy_target(self.inner.node_id, &name, &address, node_id);
        let sealed_token = self.inner.keys.seal(&context, token.as_bytes())?;
        let entry = self.entry(actor, "target.add", format!("target {name}"), format!("{address}, node {node_id}"));
        let stored = StoredTarget {
            name: name.clone(),
            address,
            node_id,
            ca_file: new.ca_file.map(|file| file.trim().to_owned()).filter(|file| !file.is_empty()),
            sealed_token,
            added_at: self.inner.clock.now(),
            added_by: actor.login.to_string(),
        };
        if !self.inner.node.audited(entry).add_deploy_target(stored).await? {
            return Err(AppError::Conflict(format!(
                "there is a target `{name}` already: remove it first, or choose another name"
            )));
        }
        Ok(())
    }

    /// The nodes to which this one sends its bundles, by name.
    ///
    /// # Errors
    /// When the actor may bring bundles of no project.
    pub async fn targets(&self, actor: &Actor) -> Result<Vec<Target>, AppError> {
        self.require_bringer(actor)?;
        if actor.deploy.is_some() {
            return Err(crate::access::not_allowed("a deploy token brings bundles, and sends none on"));
        }
        Ok(self.inner.node.deploy_targets().await?.into_iter().map(Target::from).collect())
    }

    /// Takes a target away, with its token.
    ///
    /// # Errors
    /// When the actor is no administrator, or there is no such target.
    pub async fn remove_target(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        self.target(name).await?;
        let entry = self.entry(actor, "target.remove", format!("target {name}"), "");
        self.inner.node.audited(entry).delete_deploy_target(name).await?;
        Ok(())
    }

    /// Asks a target who it is, with the token, as a push does first; why that does not work, in words.
    ///
    /// # Errors
    /// When the actor is no administrator, or there is no such target.
    pub async fn test_target(&self, actor: &Actor, name: &str) -> Result<Result<NodeAnswer, String>, AppError> {
        self.require_administrator(actor)?;
        let target = self.target(name).await?;
        let found = match self.line_to(&target) {
            Ok(line) => line.who_is_there().await,
            Err(reason) => Err(reason),
        };
        let mut entry = self.entry(actor, "target.test", format!("target {name}"), "");
        if let Err(reason) = &found {
            entry.outcome = stet_store::node::AuditOutcome::Failed;
            entry.detail.clone_from(reason);
        }
        self.note(entry).await?;
        Ok(found)
    }

    /// A target with its sealed token.
    pub(super) async fn target(&self, name: &str) -> Result<StoredTarget, AppError> {
        let targets = self.inner.node.deploy_targets().await?;
        let missing = || AppError::not_found(format!("target `{}` on this node", name.escape_debug()));
        targets.into_iter().find(|target| target.name == name).ok_or_else(missing)
    }

    /// The deploy token of a target; why it cannot be opened, in words.
    pub(super) fn token_for(&self, target: &StoredTarget) -> Result<String, String> {
        let context = Context::deploy_target(self.inner.node_id, &target.name, &target.address, target.node_id);
        let token = self.inner.keys.open(&context, &target.sealed_token)?;
        String::from_utf8(token).map_err(|_| "its sealed token is no text: add the target again".to_owned())
    }

    /// Which node this is, for another one that asks with a deploy token, or for somebody who deploys.
    ///
    /// # Errors
    /// When the actor may bring bundles of no project.
    pub fn identity(&self, actor: &Actor) -> Result<NodeAnswer, AppError> {
        self.require_bringer(actor)?;
        Ok(NodeAnswer {
            id: self.inner.node_id,
            name: self.inner.config.name.clone(),
            role: self.inner.config.role,
            stet: crate::bundle::STET_VERSION.to_owned(),
            time: self.inner.clock.now(),
            clock_ahead_s: 0,
        })
    }

    /// Fails unless the actor may send bundles of this project to other nodes.
    pub(super) fn require_pusher(&self, actor: &Actor, project: &str) -> Result<(), AppError> {
        if actor.deploy.is_some() {
            return Err(crate::access::not_allowed("a deploy token brings bundles, and sends none on"));
        }
        self.authorise_bundles(actor, project, &[Permission::Deploy]).map(drop)
    }
}
