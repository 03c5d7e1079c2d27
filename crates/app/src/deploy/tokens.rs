//! Tokens with which a design node brings bundles to an automation node. What else they are good for is said of each.

use stet_domain::{Actor, DeployScopes, Login};
use stet_store::node::{DeployToken, NewDeployToken};

use crate::App;
use crate::clock::after_s;
use crate::error::AppError;
use crate::password::{new_secret, secret_hash};

/// What a deploy token begins with.
pub const DEPLOY_TOKEN_PREFIX: &str = "stetd_";

/// The longest name of a token, in characters.
const NAME_CHARACTERS_MAX: usize = 80;

impl App {
    /// Adds a deploy token and gives its secret, which is shown this once.
    ///
    /// # Errors
    /// When the actor may not, or there is a token of this name.
    pub async fn add_deploy_token(
        &self,
        actor: &Actor,
        name: &str,
        days: Option<u32>,
        scopes: DeployScopes,
    ) -> Result<String, AppError> {
        self.require_administrator(actor)?;
        let login = token_login(name)?;
        let secret = format!("{DEPLOY_TOKEN_PREFIX}{}", new_secret());
        let now = self.inner.clock.now();
        let entry = self.entry(actor, "token.add", format!("deploy token {name}"), words_of(&scopes));
        let new = self
            .inner
            .node
            .audited(entry)
            .create_deploy_token(NewDeployToken {
                token_hash: secret_hash(&secret),
                name: name.to_owned(),
                scopes,
                created_by: actor.login.to_string(),
                created_at: now,
                expires_at: days.map(|days| after_s(now, i64::from(days) * 24 * 3600)),
            })
            .await?;
        if !new {
            return Err(AppError::Conflict(format!(
                "there is a deploy token `{name}` already: revoke it, or choose another name"
            )));
        }
        tracing::info!(token = %login, "deploy token added");
        Ok(secret)
    }

    /// The deploy tokens, newest first, without their secrets, which nobody has.
    ///
    /// # Errors
    /// When the actor may not.
    pub async fn deploy_tokens(&self, actor: &Actor) -> Result<Vec<DeployToken>, AppError> {
        self.require_administrator(actor)?;
        Ok(self.inner.node.deploy_tokens().await?)
    }

    /// Ends a deploy token at once.
    ///
    /// # Errors
    /// When the actor may not, or there is no such token.
    pub async fn revoke_deploy_token(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let entry = self.entry(actor, "token.revoke", format!("deploy token {name}"), "");
        if self.inner.node.audited(entry).revoke_deploy_token(name, self.inner.clock.now()).await? {
            Ok(())
        } else {
            Err(AppError::not_found(format!("deploy token `{}`", name.escape_debug())))
        }
    }

    /// Who brings a bundle with this token.
    ///
    /// # Errors
    /// `NotSignedIn` when it is none, or no longer.
    pub async fn actor_of_deploy_token(&self, token: &str) -> Result<Actor, AppError> {
        let now = self.inner.clock.now();
        let found = self.inner.node.deploy_token(secret_hash(token), now).await?;
        let (name, scopes) = found.ok_or(AppError::NotSignedIn)?;
        let login = token_login(&name)?;
        Ok(Actor::deploy_token(login, name, scopes))
    }
}

/// What a token is good for, in words for the audit trail.
fn words_of(scopes: &DeployScopes) -> String {
    let projects: Vec<&str> = scopes.projects.iter().map(stet_domain::ProjectKey::as_str).collect();
    let mut words =
        if projects.is_empty() { "for all projects".to_owned() } else { format!("for {}", projects.join(", ")) };
    if scopes.approvals {
        words.push_str(", brings approvals");
    }
    if scopes.activate {
        words.push_str(", activates");
    }
    words
}

/// The name under which what a token did is noted; no user's login has this ending.
fn token_login(name: &str) -> Result<Login, AppError> {
    if name.chars().count() > NAME_CHARACTERS_MAX {
        return Err(AppError::Invalid(format!("the name of a token has at most {NAME_CHARACTERS_MAX} characters")));
    }
    Login::new(format!("{name}@deploy-token")).map_err(|_| {
        AppError::Invalid("the name of a deploy token has only letters, digits, `.`, `_` and `-`".to_owned())
    })
}
