//! `stet.toml`: what a node is and where its data lives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::AppError;

/// The version of the node folder's layout that this Stet writes, and the latest that it reads.
pub const NODE_VERSION: u32 = 1;

/// The configuration of a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The version of the folder's layout.
    pub version: u32,
    /// The node's name, shown to its users.
    pub name: String,
    /// What the node is for.
    pub role: NodeRole,
    /// Where the server listens.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The address that people type; needed behind a proxy.
    pub public_url: Option<String>,
    /// Places where data lives, by name.
    #[serde(default)]
    pub connections: BTreeMap<String, Connection>,
    /// How people sign in.
    #[serde(default)]
    pub login: LoginConfig,
    /// What tables may take.
    #[serde(default)]
    pub limits: LimitsConfig,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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

/// A place where data lives.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Connection {
    /// A folder of files.
    Files {
        /// The folder; relative to the node's folder unless it is absolute.
        path: PathBuf,
    },
}

/// How people sign in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginConfig {
    /// How long a session lasts without use, in minutes.
    pub session_idle_minutes: i64,
    /// How long a session lasts at most, in hours.
    pub session_hours_max: i64,
}

impl Default for LoginConfig {
    fn default() -> Self {
        LoginConfig { session_idle_minutes: 8 * 60, session_hours_max: 7 * 24 }
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

impl LimitsConfig {
    /// How much the orders of rows of one table may take, in bytes.
    pub fn order_bytes_max(&self) -> usize {
        (self.webapp_orders_megabytes as usize).saturating_mul(1024 * 1024)
    }
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
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            AppError::Configuration(format!("{}:{line}: {}", path.display(), error.message().replace('\n', " ")))
        })
    }
}
