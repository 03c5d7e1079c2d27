//! `[deploy]` of `stet.toml`: which bundles a node takes, and what it does about drift.

use serde::Deserialize;
use stet_domain::bundle::{ApprovalPolicy, Approver, same_person};

use crate::bundle::PublicKey;
use crate::passkeys::PasskeyKey;

/// Which bundles a node takes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeployConfig {
    /// What has to be approved, and by how many.
    pub approval: ApprovalPolicy,
    /// The nodes and persons whose signature on a bundle is good here.
    pub trusted: Vec<TrustedKey>,
    /// Those whose approvals count here.
    pub approvers: Vec<Approver>,
    /// What happens when something that was deployed is changed on this node.
    pub on_drift: OnDrift,
}

/// A key whose signature on a bundle is good.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// Whose it is.
    pub name: String,
    /// As `stet bundle key` prints it.
    pub key: PublicKey,
}

/// What happens when something that was deployed is changed on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDrift {
    /// It is shown and noted.
    #[default]
    Warn,
    /// The project's webapps also take no edits until it is mended.
    Stop,
}

impl DeployConfig {
    /// What is wrong with it, if something is.
    ///
    /// # Errors
    /// When a key cannot be read, or one person or key stands there twice: then two approvals would be one person's.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut keys: Vec<(PublicKey, &str)> = Vec::new();
        let mut passkeys: Vec<(PasskeyKey, &str)> = Vec::new();
        for (place, approver) in self.approvers.iter().enumerate() {
            if self.approvers[..place].iter().any(|other| same_person(&other.login, &approver.login)) {
                return Err(format!("[[deploy.approvers]] {} stands there twice", approver.login));
            }
            for text in &approver.passkeys {
                let passkey: PasskeyKey =
                    text.parse().map_err(|error| format!("[[deploy.approvers]] {}: {error}", approver.login))?;
                if let Some((_, other)) = passkeys.iter().find(|(known, _)| *known == passkey) {
                    return Err(format!("[[deploy.approvers]] {other} and {} have the same passkey", approver.login));
                }
                passkeys.push((passkey, &approver.login));
            }
            if approver.key.is_none() && approver.passkeys.is_empty() {
                return Err(format!("[[deploy.approvers]] {}: give a `key`, or `passkeys`", approver.login));
            }
            let Some(text) = &approver.key else { continue };
            let key: PublicKey =
                text.parse().map_err(|error| format!("[[deploy.approvers]] {}: {error}", approver.login))?;
            if let Some((_, other)) = keys.iter().find(|(known, _)| *known == key) {
                return Err(format!("[[deploy.approvers]] {other} and {} have the same key", approver.login));
            }
            keys.push((key, &approver.login));
        }
        Ok(())
    }

    /// The approver with this login.
    pub(crate) fn approver(&self, login: &str) -> Option<&Approver> {
        self.approvers.iter().find(|approver| approver.login.eq_ignore_ascii_case(login))
    }

    /// The approvers with their keys.
    pub(crate) fn approver_keys(&self) -> impl Iterator<Item = (&Approver, PublicKey)> {
        self.approvers.iter().filter_map(|approver| Some((approver, approver.key.as_ref()?.parse().ok()?)))
    }
}

/// The passkeys of an approver.
pub(crate) fn passkeys_of(approver: &Approver) -> Vec<PasskeyKey> {
    approver.passkeys.iter().filter_map(|text| text.parse().ok()).collect()
}
