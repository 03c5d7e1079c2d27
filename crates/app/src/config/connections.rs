//! `[connections.NAME]` of `stet.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use stet_domain::GroupName;
use stet_store::PostgresConfig;
use stet_store::postgres::{Encryption, PasswordPlace};
use toml::Spanned;

/// The longest timeout, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 60 * 60 * 1000;

/// The most connections for reading.
const CONNECTIONS_MAX: usize = 1_000;

/// A place where data lives.
#[derive(Debug, Clone)]
pub enum Connection {
    /// A folder of files.
    Files {
        /// The folder; relative to the node's folder unless it is absolute.
        path: PathBuf,
    },
    /// A PostgreSQL database.
    Postgres(Box<PostgresConfig>),
}

impl Connection {
    /// The kind, as it is written in `stet.toml`.
    pub fn kind(&self) -> &'static str {
        match self {
            Connection::Files { .. } => "files",
            Connection::Postgres(_) => "postgresql",
        }
    }
}

/// A connection as it is written. One form for all kinds, so that every mistake has its line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionFile {
    kind: Spanned<String>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    path: Option<Spanned<PathBuf>>,
    host: Option<Spanned<String>>,
    port: Option<Spanned<u16>>,
    database: Option<Spanned<String>>,
    user: Option<Spanned<String>>,
    password: Option<Spanned<IgnoredAny>>,
    password_file: Option<Spanned<PathBuf>>,
    password_env: Option<Spanned<String>>,
    sslmode: Option<Spanned<String>>,
    ca_file: Option<Spanned<PathBuf>>,
    connect_timeout_ms: Option<Spanned<u64>>,
    statement_timeout_ms: Option<Spanned<u64>>,
    connections_max: Option<Spanned<usize>>,
}

/// Reads a connection and the groups that may use it; else where in the file something is wrong, and what was expected.
pub(super) fn read(
    name: &str,
    written: Spanned<ConnectionFile>,
    folder: &Path,
) -> Result<(Connection, BTreeSet<GroupName>), (usize, String)> {
    let start = written.span().start;
    let file = written.into_inner();
    let group =
        |name: &Spanned<String>| GroupName::new(name.get_ref()).map_err(|error| (name.span().start, error.to_string()));
    let groups = file.groups.iter().map(group).collect::<Result<_, _>>()?;
    connection(name, &file, start, folder).map(|connection| (connection, groups))
}

fn connection(name: &str, file: &ConnectionFile, start: usize, folder: &Path) -> Result<Connection, (usize, String)> {
    if let Some(password) = &file.password {
        let message = "a password does not stand in this file, which others may read: write it into a file of its own \
                       and name that with `password_file`, or name an environment variable with `password_env`";
        return Err((password.span().start, message.to_owned()));
    }
    match file.kind.get_ref().as_str() {
        "files" => {
            let path = file.path.as_ref().ok_or((start, "`path` is missing: the folder of the files".to_owned()))?;
            refuse("files", file.of_postgres())?;
            Ok(Connection::Files { path: path.get_ref().clone() })
        }
        "postgresql" => {
            let path = file.path.as_ref().map(|path| ("path", path.span().start));
            refuse("postgresql", path)?;
            postgres(name, file, start, folder).map(|config| Connection::Postgres(Box::new(config)))
        }
        other => Err((
            file.kind.span().start,
            format!("`{other}` is no kind of connection: write \"files\" or \"postgresql\""),
        )),
    }
}

/// How a connection is encrypted, as it is written.
///
/// # Errors
/// With what can be written.
pub(crate) fn encryption_of(mode: &str) -> Result<Encryption, String> {
    [Encryption::VerifyFull, Encryption::Require, Encryption::Disable]
        .into_iter()
        .find(|encryption| encryption.as_str() == mode)
        .ok_or_else(|| {
            format!(
                "`{mode}` is no sslmode: write \"verify-full\" (encrypted, and the server proves who it is), \"require\" \
                 (encrypted) or \"disable\""
            )
        })
}

fn postgres(name: &str, file: &ConnectionFile, start: usize, folder: &Path) -> Result<PostgresConfig, (usize, String)> {
    let text = |field: &Option<Spanned<String>>, name: &str, what: &str| match field {
        Some(text) if !text.get_ref().is_empty() && !text.get_ref().contains('\0') => Ok(text.get_ref().clone()),
        Some(text) => Err((text.span().start, format!("`{name}` is {what}"))),
        None => Err((start, format!("`{name}` is missing: {what}"))),
    };
    let host = text(&file.host, "host", "the host name of the database, or the folder of its socket")?;
    let database = text(&file.database, "database", "the name of the database")?;
    let user = text(&file.user, "user", "the database user that Stet connects as")?;
    let port = file.port.as_ref().map_or(5432, |port| *port.get_ref());
    let mut config = PostgresConfig::new(name, &host, port, &database, &user);

    config.password = match (&file.password_file, &file.password_env) {
        (Some(_), Some(variable)) => {
            let message = "there are `password_file` and `password_env`: keep one of them".to_owned();
            return Err((variable.span().start, message));
        }
        (Some(path), None) => PasswordPlace::File(folder.join(path.get_ref())),
        (None, Some(variable)) => {
            let name = variable.get_ref();
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err((
                    variable.span().start,
                    "`password_env` is the name of an environment variable".to_owned(),
                ));
            }
            PasswordPlace::Environment(name.clone())
        }
        (None, None) => PasswordPlace::None,
    };
    if let Some(mode) = &file.sslmode {
        config.encryption = encryption_of(mode.get_ref()).map_err(|message| (mode.span().start, message))?;
    }
    if host.starts_with('/') && config.encryption != Encryption::Disable {
        let offset = file.sslmode.as_ref().map_or(start, |mode| mode.span().start);
        return Err((offset, "a socket is not encrypted: take `sslmode` out".to_owned()));
    }
    config.authorities = file.ca_file.as_ref().map(|path| folder.join(path.get_ref()));
    for (field, name, limit) in [
        (&file.connect_timeout_ms, "connect_timeout_ms", &mut config.connect_timeout_ms),
        (&file.statement_timeout_ms, "statement_timeout_ms", &mut config.statement_timeout_ms),
    ] {
        if let Some(timeout) = field {
            if !(1..=TIMEOUT_MS_MAX).contains(timeout.get_ref()) {
                let message = format!("`{name}` is from 1 to {TIMEOUT_MS_MAX} milliseconds");
                return Err((timeout.span().start, message));
            }
            *limit = *timeout.get_ref();
        }
    }
    if let Some(most) = &file.connections_max {
        if !(1..=CONNECTIONS_MAX).contains(most.get_ref()) {
            return Err((most.span().start, format!("`connections_max` is from 1 to {CONNECTIONS_MAX}")));
        }
        config.connections_max = *most.get_ref();
    }
    Ok(config)
}

/// Refuses a field that has no meaning for a kind.
fn refuse(kind: &str, field: Option<(&'static str, usize)>) -> Result<(), (usize, String)> {
    match field {
        Some((name, offset)) => Err((offset, format!("`{name}` means nothing for a connection of kind \"{kind}\""))),
        None => Ok(()),
    }
}

impl ConnectionFile {
    /// A field that only PostgreSQL has, with its place.
    fn of_postgres(&self) -> Option<(&'static str, usize)> {
        fn at<T>(name: &'static str, field: &Option<Spanned<T>>) -> Option<(&'static str, usize)> {
            field.as_ref().map(|field| (name, field.span().start))
        }
        at("host", &self.host)
            .or(at("port", &self.port))
            .or(at("database", &self.database))
            .or(at("user", &self.user))
            .or(at("password_file", &self.password_file))
            .or(at("password_env", &self.password_env))
            .or(at("sslmode", &self.sslmode))
            .or(at("ca_file", &self.ca_file))
            .or(at("connect_timeout_ms", &self.connect_timeout_ms))
            .or(at("statement_timeout_ms", &self.statement_timeout_ms))
            .or(at("connections_max", &self.connections_max))
    }
}
