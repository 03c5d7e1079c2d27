//! `stet.toml`: what a node is and where its data lives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stet_domain::GroupName;
use toml::Spanned;

use crate::deploy::DeployConfig;
use crate::error::AppError;

mod audit;
mod connections;
mod provider;
mod push;
mod server;

pub use audit::{AuditConfig, SyslogTarget};
pub use connections::Connection;
pub(crate) use connections::encryption_of;
pub use provider::ProviderConfig;
pub(crate) use provider::is_safe_address;
pub use push::{PushTarget, S3Target, WitnessTarget};
pub use server::{ForwardedHeader, Network, ServerConfig};

/// The version of the node folder's layout that this Stet writes, and the latest that it reads.
pub const NODE_VERSION: u32 = 1;

/// The configuration of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The version of the folder's layout.
    pub version: u32,
    /// The node's name, shown to its users.
    pub name: String,
    /// What the node is for.
    pub role: NodeRole,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The address that people type; needed behind a proxy.
    pub public_url: Option<String>,
    /// Places where data lives, by name.
    pub connections: BTreeMap<String, Connection>,
    /// Who stands before the server.
    pub server: ServerConfig,
    /// Who may use a connection, for those that are not for everybody.
    pub connection_groups: BTreeMap<String, BTreeSet<GroupName>>,
    /// How secrets are sealed.
    pub secrets: SecretsConfig,
    /// How people sign in.
    pub login: LoginConfig,
    /// What tables may take.
    pub limits: LimitsConfig,
    /// Which bundles the node takes, and what it does when what is deployed was changed.
    pub deploy: DeployConfig,
    /// How editlogs are sealed.
    pub sealing: SealingConfig,
    /// The node's audit trail.
    pub audit: AuditConfig,
}

/// How editlogs are sealed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SealingConfig {
    /// Where checkpoints and hashes are copied to, so that an editlog can be held against what it was.
    pub push: Vec<PushTarget>,
}

/// How secrets are sealed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsConfig {
    /// The file of the key; relative to the node's folder unless it is absolute.
    pub key_file: Option<PathBuf>,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    version: u32,
    name: String,
    role: NodeRole,
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    public_url: Option<String>,
    #[serde(default)]
    connections: BTreeMap<String, Spanned<connections::ConnectionFile>>,
    #[serde(default)]
    login: LoginConfig,
    #[serde(default)]
    limits: LimitsConfig,
    #[serde(default)]
    deploy: DeployConfig,
    #[serde(default)]
    sealing: SealingConfig,
    #[serde(default)]
    audit: AuditConfig,
    #[serde(default)]
    secrets: SecretsConfig,
    #[serde(default)]
    server: ServerConfig,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Projects are developed here.
    Design,
    /// Projects run in production here.
    Automation,
}

impl NodeRole {
    /// As it is written in `stet.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeRole::Design => "design",
            NodeRole::Automation => "automation",
        }
    }
}

/// How people sign in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginConfig {
    /// How long a session lasts without use, in minutes.
    pub session_idle_minutes: i64,
    /// How long a session lasts at most, in hours.
    pub session_hours_max: i64,
    /// Who has to have a second factor.
    pub second_factor: SecondFactorPolicy,
    /// Where people can sign in as well.
    pub provider: Option<ProviderConfig>,
}

/// Who has to have a second factor beside the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactorPolicy {
    /// Whoever wants to.
    #[default]
    Optional,
    /// Administrators.
    Admins,
    /// Everybody.
    Everybody,
}

impl Default for LoginConfig {
    fn default() -> Self {
        LoginConfig {
            session_idle_minutes: 8 * 60,
            session_hours_max: 7 * 24,
            second_factor: SecondFactorPolicy::Optional,
            provider: None,
        }
    }
}

/// What tables may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// After how many minutes a table that nobody uses or shows is closed; the next request opens it again.
    pub webapp_idle_minutes: u32,
    /// How much the orders of rows of one table may take, in megabytes: the ones that were not asked for the longest are
    /// given up.
    pub webapp_orders_megabytes: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig { webapp_idle_minutes: 30, webapp_orders_megabytes: 128 }
    }
}

/// Ten years.
const MINUTES_MAX: i64 = 10 * 365 * 24 * 60;

impl LimitsConfig {
    /// How much the orders of rows of one table may take, in bytes.
    pub fn order_bytes_max(&self) -> usize {
        (self.webapp_orders_megabytes as usize).saturating_mul(1_000_000)
    }
}

/// What a reader of TOML says, with what to write where it does not tell.
fn plain(message: &str) -> String {
    match message {
        "invalid socket address syntax" => {
            "`listen` is an address and a port: write it such as 127.0.0.1:8820".to_owned()
        }
        message => message.to_owned(),
    }
}

/// What is wrong with values that are of the right type.
fn check(file: &NodeFile) -> Result<(), &'static str> {
    if file.name.trim().is_empty() {
        return Err("`name` is empty: write what the node is called");
    }
    if !(1..=MINUTES_MAX).contains(&file.login.session_idle_minutes) {
        return Err("`session_idle_minutes` is how long a session lasts without use: write 1 to 5256000");
    }
    if !(1..=MINUTES_MAX / 60).contains(&file.login.session_hours_max) {
        return Err("`session_hours_max` is how long a session lasts at most: write 1 to 87600");
    }
    let web = |url: &String| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace))
    };
    if file.public_url.as_ref().is_some_and(|url| !web(url)) {
        return Err("`public_url` is the address that people type: write it such as https://stet.example.org");
    }
    Ok(())
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8820))
}

impl NodeConfig {
    /// Reads `stet.toml` of a node's folder.
    ///
    /// # Errors
    /// When the folder is no node, the file is wrong (with its line), or a later Stet made it.
    pub fn read(folder: &Path) -> Result<NodeConfig, AppError> {
        let path = folder.join("stet.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            AppError::Configuration(if error.kind() == std::io::ErrorKind::NotFound {
                format!(
                    "{} is not a Stet node: it has no stet.toml. Make one with `stet init --node {0}`, or try `stet demo`",
                    folder.display()
                )
            } else {
                format!("cannot read {}: {error}", path.display())
            })
        })?;
        // The version comes first: a file of a later Stet may well have fields that this one does not know.
        #[derive(Deserialize)]
        struct Version {
            version: Option<u32>,
        }
        if let Ok(Version { version: Some(version) }) = toml::from_str::<Version>(&text)
            && version > NODE_VERSION
        {
            return Err(AppError::Configuration(format!(
                "{} is a node of version {version}, made by a later Stet; this one knows versions up to {NODE_VERSION}: use the newer Stet",
                folder.display()
            )));
        }
        let at = |offset: usize, message: String| {
            let line = text[..offset].matches('\n').count() + 1;
            AppError::Configuration(format!("{}:{line}: {}", path.display(), message.replace('\n', " ")))
        };
        let file: NodeFile = toml::from_str(&text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), plain(error.message())))?;
        file.deploy.check().map_err(|reason| AppError::Configuration(format!("{}: {reason}", path.display())))?;
        check(&file).map_err(|reason| AppError::Configuration(format!("{}: {reason}", path.display())))?;
        if let Some(provider) = &file.login.provider {
            provider
                .check(file.public_url.as_deref())
                .map_err(|reason| AppError::Configuration(format!("{}: {reason}", path.display())))?;
        }
        let (mut connections, mut connection_groups) = (BTreeMap::new(), BTreeMap::new());
        for (name, written) in file.connections {
            let (connection, groups) = connections::read(&name, written, folder)
                .map_err(|(offset, message)| at(offset, format!("connection `{name}`: {message}")))?;
            connection_groups.insert(name.clone(), groups);
            connections.insert(name, connection);
        }
        Ok(NodeConfig {
            version: file.version,
            name: file.name,
            role: file.role,
            listen: file.listen,
            public_url: file.public_url,
            connections,
            connection_groups,
            secrets: file.secrets,
            server: file.server,
            login: file.login,
            limits: file.limits,
            deploy: file.deploy,
            sealing: file.sealing,
            audit: file.audit,
        })
    }
}
