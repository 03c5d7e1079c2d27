//! Connections.

use serde::{Deserialize, Serialize};
use stet_app::{ConnectionChange, ConnectionSummary, NewConnection};
use stet_domain::GroupName;
use utoipa::ToSchema;

/// All connections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionsView {
    pub(crate) connections: Vec<ConnectionView>,
}

/// A connection, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionView {
    name: String,
    #[schema(examples("postgresql", "files"))]
    kind: &'static str,
    /// Whether it stands in `stet.toml`, where alone it is changed.
    in_file: bool,
    /// The folder, of `files`.
    path: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    #[schema(examples("verify-full", "require", "disable"))]
    sslmode: Option<&'static str>,
    ca_file: Option<String>,
    /// Whether a password is known. It is never shown.
    has_password: bool,
    /// Who may use it; everybody when it is empty.
    groups: Vec<String>,
    changed_at: Option<String>,
    changed_by: Option<String>,
}

/// A connection to add. Without `Debug`, so that a password is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConnectionBody {
    name: String,
    host: String,
    /// 5432 when it is left out.
    port: Option<u16>,
    database: String,
    user: String,
    /// `verify-full`, `require` or `disable`; what fits the host when it is left out.
    sslmode: Option<String>,
    ca_file: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    password: Option<String>,
}

/// What is to change of a connection. Without `Debug`, so that a password is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionChangeBody {
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    sslmode: Option<String>,
    ca_file: Option<String>,
    groups: Option<Vec<String>>,
    /// Needed again when it is to lead elsewhere.
    password: Option<String>,
}

/// Whether a connection works.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionTestView {
    works: bool,
    /// Why not, in words.
    reason: Option<String>,
}

impl From<ConnectionSummary> for ConnectionView {
    fn from(connection: ConnectionSummary) -> ConnectionView {
        let (changed_at, changed_by) = connection.changed.unzip();
        ConnectionView {
            name: connection.name,
            kind: connection.kind,
            in_file: connection.in_file,
            path: connection.path,
            host: connection.host,
            port: connection.port,
            database: connection.database,
            user: connection.user,
            sslmode: connection.sslmode,
            ca_file: connection.ca_file,
            has_password: connection.has_password,
            groups: connection.groups.iter().map(GroupName::to_string).collect(),
            changed_at: changed_at.map(|date| date.to_string()),
            changed_by,
        }
    }
}

impl From<NewConnectionBody> for NewConnection {
    fn from(body: NewConnectionBody) -> NewConnection {
        let NewConnectionBody { name, host, port, database, user, sslmode, ca_file, groups, password } = body;
        NewConnection { name, host, port, database, user, sslmode, ca_file, groups, password }
    }
}

impl From<ConnectionChangeBody> for ConnectionChange {
    fn from(body: ConnectionChangeBody) -> ConnectionChange {
        let ConnectionChangeBody { host, port, database, user, sslmode, ca_file, groups, password } = body;
        ConnectionChange { host, port, database, user, sslmode, ca_file, groups, password }
    }
}

impl From<Result<(), String>> for ConnectionTestView {
    fn from(found: Result<(), String>) -> ConnectionTestView {
        ConnectionTestView { works: found.is_ok(), reason: found.err() }
    }
}
