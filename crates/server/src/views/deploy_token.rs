//! Tokens with which other nodes bring their bundles here.

use serde::{Deserialize, Serialize};
use stet_app::DeployToken;
use stet_domain::{DeployScopes, LogDate, ProjectKey};
use utoipa::ToSchema;

/// For how many days a token can be good.
const DAYS_MAX: u32 = 36_500;

/// The deploy tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeployTokensView {
    pub(crate) tokens: Vec<DeployTokenView>,
}

/// A deploy token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeployTokenView {
    name: String,
    /// `active`, `expired` or `revoked`.
    state: &'static str,
    /// The projects of which it brings bundles; empty for all.
    projects: Vec<String>,
    /// Whether it also brings approvals, which others have signed.
    may_bring_approvals: bool,
    /// Whether it also activates what it brings.
    may_activate: bool,
    created_by: String,
    created_at: String,
    /// Null for never.
    expires_at: Option<String>,
}

/// A deploy token to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDeployTokenBody {
    /// Such as the name of the node that gets it.
    pub(crate) name: String,
    /// After how many days it expires, 36,500 at most; never without it.
    days: Option<u32>,
    /// The keys of the projects of which it may bring bundles; empty for all.
    #[serde(default)]
    projects: Vec<String>,
    #[serde(default)]
    may_bring_approvals: bool,
    #[serde(default)]
    may_activate: bool,
}

/// A deploy token that was added. Without `Debug`, so that it is never logged.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewDeployTokenView {
    pub(crate) name: String,
    /// The secret, told this once.
    pub(crate) token: String,
    /// Which node this is, for whoever sends bundles here.
    pub(crate) node_id: String,
    /// The address that people type, if `stet.toml` tells it.
    pub(crate) address: Option<String>,
}

impl NewDeployTokenBody {
    /// What it is good for; what is wrong, in words.
    pub(crate) fn scopes(&self) -> Result<DeployScopes, String> {
        let key = |key: &String| {
            ProjectKey::new(key.as_str()).map_err(|_| format!("there can be no project `{}`", key.escape_debug()))
        };
        Ok(DeployScopes {
            projects: self.projects.iter().map(key).collect::<Result<_, _>>()?,
            approvals: self.may_bring_approvals,
            activate: self.may_activate,
        })
    }

    /// For how long it is good; what is wrong, in words.
    pub(crate) fn days(&self) -> Result<Option<u32>, String> {
        match self.days {
            Some(days) if !(1..=DAYS_MAX).contains(&days) => Err(format!("`days` is from 1 to {DAYS_MAX}")),
            days => Ok(days),
        }
    }
}

impl DeployTokenView {
    pub(crate) fn new(token: &DeployToken, now: LogDate) -> DeployTokenView {
        DeployTokenView {
            name: token.name.clone(),
            state: match (token.revoked_at, token.expires_at) {
                (Some(_), _) => "revoked",
                (None, Some(end)) if end <= now => "expired",
                _ => "active",
            },
            projects: token.scopes.projects.iter().map(ToString::to_string).collect(),
            may_bring_approvals: token.scopes.approvals,
            may_activate: token.scopes.activate,
            created_by: token.created_by.clone(),
            created_at: token.created_at.to_string(),
            expires_at: token.expires_at.map(|date| date.to_string()),
        }
    }
}
