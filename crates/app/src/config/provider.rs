//! `[login.provider]` of `stet.toml`: a provider at which people sign in (OpenID Connect).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stet_domain::{GroupName, Profile};

use crate::error::AppError;

/// The longest secret, in bytes; anything longer is some other file.
const SECRET_BYTES_MAX: u64 = 4096;

/// A provider at which people sign in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its name on the sign-in page.
    pub name: String,
    /// Its address, exactly as it calls itself.
    pub issuer: String,
    /// What the node is called there.
    pub client_id: String,
    /// A file whose first line is the node's secret there; without one the node is a public client.
    pub client_secret_file: Option<PathBuf>,
    /// Or an environment variable that holds it.
    pub client_secret_env: Option<String>,
    /// What is asked for beside `openid`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// The claim that becomes the login of a new user.
    #[serde(default = "default_login_claim")]
    pub login_claim: String,
    /// The claim with the groups of a user.
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// The groups of the node for those of the provider.
    #[serde(default)]
    pub groups: BTreeMap<String, GroupName>,
    /// What somebody becomes who signs in for the first time; nobody new is let in if none.
    pub new_users: Option<Profile>,
}

fn default_scopes() -> Vec<String> {
    vec!["profile".to_owned()]
}

fn default_login_claim() -> String {
    "preferred_username".to_owned()
}

fn default_groups_claim() -> String {
    "groups".to_owned()
}

impl ProviderConfig {
    /// What is wrong with it, in words.
    pub(super) fn check(&self, public_url: Option<&str>) -> Result<(), String> {
        if !is_safe_address(&self.issuer) {
            return Err(
                "[login.provider] `issuer` is an address that begins with https:// (http:// is for this machine alone)"
                    .to_owned(),
            );
        }
        if self.client_secret_file.is_some() && self.client_secret_env.is_some() {
            return Err(
                "[login.provider] has `client_secret_file` and `client_secret_env`: keep one of them".to_owned()
            );
        }
        if self.new_users == Some(Profile::Admin) {
            return Err(
                "[login.provider] `new_users` is \"reader\" or \"designer\": administrators are made here".to_owned()
            );
        }
        if public_url.is_none() {
            return Err(
                "[login.provider] needs `public_url`: the address to which the provider sends people back".to_owned()
            );
        }
        Ok(())
    }

    /// The groups of the node that the provider decides about.
    pub(crate) fn managed_groups(&self) -> BTreeSet<GroupName> {
        self.groups.values().cloned().collect()
    }

    /// The node's secret at the provider, read when it is needed.
    pub(crate) fn client_secret(&self, folder: &Path) -> Result<Option<String>, AppError> {
        let missing = |what: String| AppError::Configuration(format!("the secret of the sign-on provider: {what}"));
        if let Some(name) = &self.client_secret_env {
            let secret = std::env::var(name).ok().filter(|secret| !secret.is_empty());
            return secret.map(Some).ok_or_else(|| missing(format!("the environment variable {name} is not set")));
        }
        let Some(file) = &self.client_secret_file else { return Ok(None) };
        let path = folder.join(file);
        let cannot = |error: std::io::Error| missing(format!("{}: {error}", path.display()));
        if std::fs::metadata(&path).map_err(cannot)?.len() > SECRET_BYTES_MAX {
            return Err(missing(format!("{} is too long for a secret", path.display())));
        }
        let text = std::fs::read_to_string(&path).map_err(cannot)?;
        let secret = text.lines().next().unwrap_or_default().trim();
        if secret.is_empty() {
            Err(missing(format!("{} is empty", path.display())))
        } else {
            Ok(Some(secret.to_owned()))
        }
    }
}

/// Whether an address is encrypted, or does not leave the machine.
pub(crate) fn is_safe_address(address: &str) -> bool {
    if address.len() > 2_000 || address.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return false;
    }
    if let Some(rest) = address.strip_prefix("https://") {
        return !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', '#']);
    }
    let Some(rest) = address.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') || rest.contains('#') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_are_encrypted_or_stay_on_the_machine_are_safe() {
        for address in ["https://id.example", "https://id.example/realms/x", "http://127.0.0.1:80/x", "http://[::1]:8/"]
        {
            assert!(is_safe_address(address), "{address}");
        }
        for address in [
            "",
            "http://id.example",
            "http://localhost.evil.example",
            "http://127.0.0.1@evil.example/",
            "https://",
            "https:///x",
            "https://id.example@evil.example",
            "file:///etc/passwd",
            "https://id.example/#x",
            "https://id.example/ x",
        ] {
            assert!(!is_safe_address(address), "{address}");
        }
    }
}
