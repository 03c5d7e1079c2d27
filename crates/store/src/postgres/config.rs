//! How a PostgreSQL database is reached.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::{Client, NoTls};

use super::tls;
use crate::error::{EngineError, StoreError};

/// The oldest PostgreSQL that Stet works with, as `server_version_num` says it.
const SERVER_VERSION_MIN: i32 = 130_000;

/// How long a network that swallows everything is waited for.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest password, in bytes; anything longer is some other file.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// A PostgreSQL database and how to reach it. It holds the place of the password, never the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// The name of the connection, for messages.
    pub name: String,
    /// A host name, an address, or the folder of a Unix socket (which starts with `/`).
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The database user.
    pub user: String,
    /// Where the password is.
    pub password: PasswordPlace,
    /// Whether and how the connection is encrypted.
    pub encryption: Encryption,
    /// Certificates of authorities to trust, in PEM; none for those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// How long making a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long one statement may take, in milliseconds; builds have no limit.
    pub statement_timeout_ms: u64,
    /// The most connections for reading at a time.
    pub connections_max: usize,
    /// Who connects: it writes its name into the editlogs that it makes, and takes none of another. None for a program
    /// that is no node.
    pub node: Option<NodeIdentity>,
}

/// Which node this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Chosen when the node was made.
    pub id: uuid::Uuid,
    /// What people call it.
    pub name: String,
}

/// Where a password is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordPlace {
    /// There is none: the database knows the user otherwise.
    None,
    /// The first line of a file, read at each connection, so that it can be changed without a restart.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// Sealed by the node.
    Sealed(SealedPassword),
}

/// Opens a sealed password at each connection; what is wrong if it cannot, in words.
pub type OpenPassword = dyn Fn() -> Result<String, String> + Send + Sync;

/// A password that is opened at each connection and kept nowhere.
#[derive(Clone)]
pub struct SealedPassword(pub Arc<OpenPassword>);

impl fmt::Debug for SealedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedPassword(..)")
    }
}

impl PartialEq for SealedPassword {
    fn eq(&self, other: &SealedPassword) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SealedPassword {}

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Encrypted, and the server's certificate is from an authority that is trusted and names the host.
    VerifyFull,
    /// Encrypted; whoever answers is believed.
    Require,
    /// In the clear: for connections that do not leave the machine.
    Disable,
}

impl Encryption {
    /// As it is written in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Encryption::VerifyFull => "verify-full",
            Encryption::Require => "require",
            Encryption::Disable => "disable",
        }
    }

    /// The default for a host: full verification, unless the connection does not leave the machine.
    pub fn for_host(host: &str) -> Encryption {
        let local = host.starts_with('/')
            || host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if local { Encryption::Disable } else { Encryption::VerifyFull }
    }
}

impl fmt::Display for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{}/{})", self.name, self.host, self.port, self.database)
    }
}

impl PostgresConfig {
    /// A database with the usual limits, without a password.
    pub fn new(name: &str, host: &str, port: u16, database: &str, user: &str) -> PostgresConfig {
        PostgresConfig {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
            database: database.to_owned(),
            user: user.to_owned(),
            password: PasswordPlace::None,
            encryption: Encryption::for_host(host),
            authorities: None,
            connect_timeout_ms: 5_000,
            statement_timeout_ms: 30_000,
            connections_max: 8,
            node: None,
        }
    }

    /// Reads a connection URL (`postgresql://user:password@host:port/database`), as an administrator keeps in a file for
    /// one use. The password is given beside it, and stays in memory only.
    ///
    /// # Errors
    /// When the text is no such URL; the message does not repeat it.
    pub fn from_url(name: &str, url: &str) -> Result<(PostgresConfig, Option<String>), StoreError> {
        let wrong = |reason: &str| StoreError::CannotConnect {
            connection: name.to_owned(),
            reason: format!("{reason}: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
            source: None,
        };
        let parsed: postgres::Config = url.trim().parse().map_err(|_| wrong("this is no connection URL"))?;
        let host = match parsed.get_hosts() {
            [postgres::config::Host::Tcp(host)] => host.clone(),
            #[cfg(unix)]
            [postgres::config::Host::Unix(path)] => path.display().to_string(),
            _ => return Err(wrong("the URL has to name one host")),
        };
        let user = parsed.get_user().ok_or_else(|| wrong("the URL names no user"))?;
        let port = parsed.get_ports().first().copied().unwrap_or(5432);
        let database = parsed.get_dbname().unwrap_or(user);
        let password = parsed.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok((PostgresConfig::new(name, &host, port, database, user), password))
    }

    /// Connects, and makes the session one in which nothing that is not named in full is found.
    pub(crate) fn connect(&self) -> Result<Client, StoreError> {
        self.connect_with(self.read_password()?.as_deref())
    }

    /// [`PostgresConfig::connect`] for statements that all have an index to find their rows by.
    ///
    /// A statement that is prepared while its table is small is planned to read all of it, and may keep that plan as the
    /// table grows, until its statistics are made.
    pub(crate) fn connect_to_look_up(&self) -> Result<Client, StoreError> {
        let mut client = self.connect()?;
        client.batch_execute("SET enable_seqscan = off").map_err(|error| self.cannot_connect(error))?;
        Ok(client)
    }

    /// [`PostgresConfig::connect`] with a password that is at hand.
    pub(crate) fn connect_with(&self, password: Option<&str>) -> Result<Client, StoreError> {
        let mut config = postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .user(&self.user)
            .application_name("stet")
            .connect_timeout(Duration::from_millis(self.connect_timeout_ms))
            .tcp_user_timeout(NETWORK_TIMEOUT)
            .keepalives_idle(NETWORK_TIMEOUT);
        if let Some(password) = password {
            config.password(password);
        }
        let failed = |error: postgres::Error| self.cannot_connect(error);
        let mut client = match self.encryption {
            Encryption::Disable => config.ssl_mode(SslMode::Disable).connect(NoTls).map_err(failed)?,
            encryption => {
                config.ssl_mode(SslMode::Require);
                config.connect(tls::connector(self, encryption)?).map_err(failed)?
            }
        };
        let version = client.query_one("SELECT pg_catalog.current_setting('server_version_num')::int", &[]);
        let version: i32 = version.and_then(|row| row.try_get(0)).map_err(failed)?;
        if version < SERVER_VERSION_MIN {
            let reason = format!("it is PostgreSQL {}, and Stet needs 13 or later", version / 10_000);
            return Err(StoreError::CannotConnect { connection: self.to_string(), reason, source: None });
        }
        // `pg_temp` stands last, so that no temporary table is taken for a real one.
        let settings = format!(
            "SET search_path = pg_catalog, pg_temp; SET client_min_messages = warning; SET timezone = 'UTC';
             SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1;
             SET bytea_output = 'hex'; SET synchronous_commit = on; SET lock_timeout = {timeout};
             SET statement_timeout = {timeout}; SET idle_in_transaction_session_timeout = {timeout}",
            timeout = self.statement_timeout_ms
        );
        client.batch_execute(&settings).map_err(failed)?;
        Ok(client)
    }

    fn cannot_connect(&self, error: postgres::Error) -> StoreError {
        use postgres::error::SqlState;
        let state = error.code().cloned();
        let reason = match state {
            Some(state)
                if state == SqlState::INVALID_PASSWORD || state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
            {
                format!("the database does not accept the user `{}` with this password", self.user)
            }
            Some(state) if state == SqlState::INVALID_CATALOG_NAME => {
                format!("there is no database `{}`", self.database)
            }
            Some(state) if state == SqlState::TOO_MANY_CONNECTIONS => "it has no connection left".to_owned(),
            Some(state) if state == SqlState::CANNOT_CONNECT_NOW => "it is starting or stopping".to_owned(),
            Some(state) if state == SqlState::INSUFFICIENT_PRIVILEGE => {
                format!("the user `{}` may not use the database `{}`", self.user, self.database)
            }
            _ => match self.encryption {
                Encryption::Disable => "nobody answers there: check host and port, and that it runs".to_owned(),
                _ => "there is no encrypted connection: check host and port, that the server offers TLS, and that its \
                      certificate names the host and is from an authority that is trusted (`ca_file`)"
                    .to_owned(),
            },
        };
        StoreError::CannotConnect { connection: self.to_string(), reason, source: Some(EngineError::from(error)) }
    }

    fn read_password(&self) -> Result<Option<String>, StoreError> {
        let wrong = |reason: String| StoreError::CannotConnect { connection: self.to_string(), reason, source: None };
        match &self.password {
            PasswordPlace::None => Ok(None),
            PasswordPlace::Sealed(SealedPassword(open)) => open().map(Some).map_err(wrong),
            PasswordPlace::Environment(name) => match std::env::var(name) {
                Ok(password) if !password.is_empty() => Ok(Some(password)),
                _ => Err(wrong(format!("the environment variable `{name}` with its password is not set"))),
            },
            PasswordPlace::File(path) => match first_line(path) {
                Ok(password) if !password.is_empty() => Ok(Some(password)),
                Ok(_) => Err(wrong(format!("the file {} with its password is empty", path.display()))),
                Err(error) => Err(wrong(format!("the file {} with its password: {error}", path.display()))),
            },
        }
    }
}

/// The first line of a small file.
fn first_line(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > PASSWORD_BYTES_MAX {
        return Err(std::io::Error::other("it is too long for a password"));
    }
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
