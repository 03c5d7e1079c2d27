//! Connections: those of `stet.toml`, and those that were added on the node, whose passwords are sealed in its database.
//! A name that stands in `stet.toml` is that one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use stet_domain::access::Principals;
use stet_domain::project::{Dataset, Location, Project};
use stet_domain::{Actor, ActorKind, DatasetName, GroupName, LogDate};
use stet_store::postgres::{NodeIdentity, PasswordPlace, SealedPassword};
use stet_store::{Postgres, PostgresConfig};

use crate::App;
use crate::config::{Connection, encryption_of};
use crate::error::{AppError, Chain};
use crate::secrets::Context;

pub(crate) use stet_store::node::StoredConnection;

/// How often a served node looks whether connections were changed by another process.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The longest text of one field, in bytes.
const FIELD_BYTES_MAX: usize = 500;

/// A connection as it is listed: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSummary {
    /// By which datasets name it.
    pub name: String,
    /// `files` or `postgresql`.
    pub kind: &'static str,
    /// Whether it stands in `stet.toml`, where alone it is changed.
    pub in_file: bool,
    /// The folder, of `files`.
    pub path: Option<String>,
    /// The host, or the folder of a Unix socket.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<String>,
    /// The database user.
    pub user: Option<String>,
    /// `verify-full`, `require` or `disable`.
    pub sslmode: Option<&'static str>,
    /// Certificates of authorities to trust, if not the system's.
    pub ca_file: Option<String>,
    /// Whether a password is known.
    pub has_password: bool,
    /// Who may use it; everybody when it is empty.
    pub groups: BTreeSet<GroupName>,
    /// When it was last changed on the node, and by whom.
    pub changed: Option<(LogDate, String)>,
}

/// A connection to add.
#[derive(Clone, Default)]
pub struct NewConnection {
    /// By which datasets will name it.
    pub name: String,
    /// A host name, an address, or the folder of a Unix socket.
    pub host: String,
    /// The port; 5432 if none.
    pub port: Option<u16>,
    /// The database.
    pub database: String,
    /// The database user.
    pub user: String,
    /// `verify-full`, `require` or `disable`; what fits the host if none.
    pub sslmode: Option<String>,
    /// Certificates of authorities to trust; the system's if none.
    pub ca_file: Option<String>,
    /// Who may use it; everybody when it is empty.
    pub groups: Vec<String>,
    /// The password; none if the database asks for none.
    pub password: Option<String>,
}

/// What is to change of a connection. What is none stays; an empty text takes away what can be left out.
#[derive(Clone, Default)]
pub struct ConnectionChange {
    /// Where it leads to.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<String>,
    /// The database user.
    pub user: Option<String>,
    /// How it is encrypted.
    pub sslmode: Option<String>,
    /// Certificates of authorities to trust.
    pub ca_file: Option<String>,
    /// Who may use it.
    pub groups: Option<Vec<String>>,
    /// The password.
    pub password: Option<String>,
}

/// The connections of a node as they are now.
pub(crate) struct Connections {
    known: RwLock<Arc<BTreeMap<String, Arc<KnownConnection>>>>,
    /// Whom the editlogs in databases belong to.
    identity: NodeIdentity,
}

/// A connection at hand.
pub(crate) struct KnownConnection {
    pub(crate) connection: Connection,
    /// Open to the database, if it is one; connects when it is first used.
    pub(crate) postgres: Option<Postgres>,
    /// What is kept of it on the node; none for one of `stet.toml`.
    stored: Option<StoredConnection>,
    groups: BTreeSet<GroupName>,
}

/// A database, whose editlogs are to be this node's.
fn database(config: &PostgresConfig, identity: &NodeIdentity) -> Postgres {
    Postgres::new(PostgresConfig { node: Some(identity.clone()), ..config.clone() })
}

impl Connections {
    /// Those of `stet.toml`.
    pub(crate) fn of_file(
        connections: &BTreeMap<String, Connection>,
        groups: &BTreeMap<String, BTreeSet<GroupName>>,
        identity: NodeIdentity,
    ) -> Connections {
        let known = |(name, connection): (&String, &Connection)| {
            let postgres = match connection {
                Connection::Postgres(config) => Some(database(config, &identity)),
                Connection::Files { .. } => None,
            };
            let groups = groups.get(name).cloned().unwrap_or_default();
            let known = KnownConnection { connection: connection.clone(), postgres, stored: None, groups };
            (name.clone(), Arc::new(known))
        };
        let known = Arc::new(connections.iter().map(known).collect());
        Connections { known: RwLock::new(known), identity }
    }

    fn all(&self) -> Arc<BTreeMap<String, Arc<KnownConnection>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl App {
    /// A connection by its name.
    pub(crate) fn connection(&self, name: &str) -> Option<Arc<KnownConnection>> {
        self.inner.connections.all().get(name).cloned()
    }

    /// All connections by name, without their secrets.
    ///
    /// # Errors
    /// When the actor is no administrator.
    pub fn connections(&self, actor: &Actor) -> Result<Vec<ConnectionSummary>, AppError> {
        self.require_administrator(actor)?;
        Ok(self.inner.connections.all().iter().map(|(name, known)| known.summary(name)).collect())
    }

    /// Adds a connection to a PostgreSQL database. Its password is sealed by the node's key and never shown again.
    ///
    /// # Errors
    /// When the actor is no administrator, the name is taken, or a field makes no sense.
    pub async fn add_connection(&self, actor: &Actor, new: NewConnection) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        if !is_name(&new.name) {
            return Err(AppError::Invalid(format!(
                "`{}` cannot be the name of a connection: use 1 to 60 letters, digits, `_` and `-`, and begin with a letter",
                new.name.escape_debug()
            )));
        }
        let taken = || AppError::Conflict(format!("there is a connection `{}` already", new.name));
        if self.connection(&new.name).is_some() {
            return Err(taken());
        }
        let kept = StoredConnection {
            name: new.name.clone(),
            host: new.host.trim().to_owned(),
            port: new.port.unwrap_or(5432),
            database: new.database.trim().to_owned(),
            user: new.user.trim().to_owned(),
            sslmode: none_if_empty(new.sslmode.clone()),
            ca_file: none_if_empty(new.ca_file.clone()),
            groups: groups(&new.groups)?,
            sealed_password: None,
            changed_at: self.inner.clock.now(),
            changed_by: actor.login.to_string(),
        };
        let kept = self.with_password(kept, new.password.clone())?;
        self.settings(&kept)?;
        let entry = self.entry(actor, "connection.add", object(&kept.name), told(&kept));
        if !self.inner.node.audited(entry).put_connection(kept, true).await? {
            return Err(taken());
        }
        self.refresh_connections().await
    }

    /// Changes a connection that was added on the node. Whoever lets it lead elsewhere has to know its password: else it
    /// would be told to another host.
    ///
    /// # Errors
    /// When the actor is no administrator, there is no such connection, it stands in `stet.toml`, or a field makes no sense.
    pub async fn change_connection(&self, actor: &Actor, name: &str, change: ConnectionChange) -> Result<(), AppError> {
        let old = self.changeable(actor, name)?;
        let mut kept = old.clone();
        let set = |field: &mut String, text: Option<String>| {
            if let Some(text) = text {
                *field = text.trim().to_owned();
            }
        };
        set(&mut kept.host, change.host);
        set(&mut kept.database, change.database);
        set(&mut kept.user, change.user);
        kept.port = change.port.unwrap_or(kept.port);
        if let Some(sslmode) = change.sslmode {
            kept.sslmode = none_if_empty(Some(sslmode));
        }
        if let Some(file) = change.ca_file {
            kept.ca_file = none_if_empty(Some(file));
        }
        if let Some(names) = &change.groups {
            kept.groups = groups(names)?;
        }
        let elsewhere = leads_elsewhere(&old, &kept);
        let mut entry = self.entry(actor, "connection.change", object(name), told(&kept));
        if elsewhere && old.sealed_password.is_some() && change.password.is_none() {
            entry.outcome = stet_store::node::AuditOutcome::Refused;
            entry.detail = "it would lead elsewhere, and the password was not given again".to_owned();
            self.note(entry).await?;
            return Err(AppError::Invalid(
                "give the password again: a connection that leads elsewhere does not take its secret along".to_owned(),
            ));
        }
        if change.password.is_some() {
            entry.detail.push_str(", new password");
        }
        if change.password.is_some() {
            kept.sealed_password = None;
            kept = self.with_password(kept, change.password)?;
        }
        self.settings(&kept)?;
        kept.changed_at = self.inner.clock.now();
        kept.changed_by = actor.login.to_string();
        self.inner.node.audited(entry).put_connection(kept, false).await?;
        self.refresh_connections().await
    }

    /// Takes a connection away that was added on the node, with its secret.
    ///
    /// # Errors
    /// When the actor is no administrator, there is no such connection, or it stands in `stet.toml`.
    pub async fn remove_connection(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        self.changeable(actor, name)?;
        let entry = self.entry(actor, "connection.remove", object(name), "");
        self.inner.node.audited(entry).delete_connection(name).await?;
        self.refresh_connections().await
    }

    /// Connects as the node does; why that does not work, in words.
    ///
    /// # Errors
    /// When the actor is no administrator, or there is no such connection.
    pub async fn test_connection(&self, actor: &Actor, name: &str) -> Result<Result<(), String>, AppError> {
        self.require_administrator(actor)?;
        let known = self.connection(name).ok_or_else(|| no_such(name))?;
        let found = match (&known.connection, &known.postgres) {
            (Connection::Files { path }, _) => {
                let path = self.inner.folder.resolve(path);
                match std::fs::read_dir(&path) {
                    Ok(_) => Ok(()),
                    Err(error) => Err(format!("cannot read the folder {}: {error}", path.display())),
                }
            }
            // A connection of its own, so that one that was made with an earlier password says nothing.
            (Connection::Postgres(config), _) => {
                Postgres::new(config.as_ref().clone()).check().await.map_err(|error| error.to_string())
            }
        };
        let mut entry = self.entry(actor, "connection.test", object(name), "");
        if let Err(reason) = &found {
            entry.outcome = stet_store::node::AuditOutcome::Failed;
            entry.detail.clone_from(reason);
        }
        self.note(entry).await?;
        Ok(found)
    }

    /// Takes over what the node database has. Tables over a connection that leads elsewhere now are closed: the next
    /// request opens them there.
    ///
    /// # Errors
    /// When the node database cannot be read.
    pub(crate) async fn refresh_connections(&self) -> Result<(), AppError> {
        let stored = self.inner.node.connections().await?;
        let before = self.inner.connections.all();
        let mut known: BTreeMap<String, Arc<KnownConnection>> = before
            .iter()
            .filter(|(_, known)| known.stored.is_none())
            .map(|(name, known)| (name.clone(), known.clone()))
            .collect();
        let mut moved = BTreeSet::new();
        for kept in stored {
            if known.contains_key(&kept.name) {
                tracing::warn!(
                    connection = kept.name,
                    "a connection of this name stands in stet.toml, and that one counts"
                );
                continue;
            }
            let old = before.get(&kept.name);
            if let Some(old) = old
                && old.stored.as_ref() == Some(&kept)
            {
                known.insert(kept.name.clone(), old.clone());
                continue;
            }
            // Who may use it is asked at each use: for that no table is closed.
            let leads_there_still = old
                .and_then(|old| old.stored.as_ref())
                .is_some_and(|old| old.sealed_password == kept.sealed_password && !leads_elsewhere(old, &kept));
            if old.is_some() && !leads_there_still {
                moved.insert(kept.name.clone());
            }
            let config = match self.settings(&kept) {
                Ok(config) => config,
                Err(error) => {
                    tracing::error!(connection = kept.name, error = %Chain(&error), "a connection cannot be used");
                    continue;
                }
            };
            let open = old.filter(|_| leads_there_still).and_then(|old| old.postgres.clone());
            let known_connection = KnownConnection {
                postgres: Some(open.unwrap_or_else(|| database(&config, &self.inner.connections.identity))),
                connection: Connection::Postgres(Box::new(config)),
                groups: kept.groups.clone(),
                stored: Some(kept.clone()),
            };
            known.insert(kept.name, Arc::new(known_connection));
        }
        moved.extend(before.keys().filter(|name| !known.contains_key(*name)).cloned());
        *self.inner.connections.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        if !moved.is_empty() {
            self.forget_editlogs_of(&moved).await;
            self.inner.webapps.close_all();
        }
        Ok(())
    }

    /// Takes over what other processes change in the connections, for ever.
    pub async fn follow_connections(&self) {
        let mut version = None;
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        loop {
            look.tick().await;
            let now = self.inner.node.version().ok();
            if now.is_some() && now == version {
                continue;
            }
            match self.refresh_connections().await {
                Ok(()) => version = now,
                Err(error) => tracing::error!(error = %Chain(&error), "the connections cannot be read"),
            }
        }
    }

    /// Fails unless the actor may use the connection that a dataset is in.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub(crate) fn may_use_connection_of(&self, actor: &Actor, dataset: &Dataset) -> Result<(), AppError> {
        connection_name(dataset).map_or(Ok(()), |name| self.may_use_connection(actor, name))
    }

    /// Fails unless the actor may use a connection: it is for everybody, for a group of theirs, or they administer the node.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub(crate) fn may_use_connection(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        let Some(known) = self.connection(name) else { return Ok(()) };
        let listed = Principals { groups: known.groups.clone(), ..Principals::default() };
        if listed.is_empty() || actor.kind == ActorKind::Shell || actor.may_administer_node() || listed.includes(actor)
        {
            return Ok(());
        }
        Err(AppError::NotAllowed(format!(
            "the connection `{name}` is for some groups alone, and you are in none of them"
        )))
    }

    /// Fails unless the actor may use the connections of all these datasets and of what the recipes that make them read.
    pub(crate) fn may_build<'a>(
        &self,
        actor: &Actor,
        project: &Project,
        outputs: impl Iterator<Item = &'a DatasetName>,
    ) -> Result<(), AppError> {
        for output in outputs {
            let inputs = project.recipe_of(output).into_iter().flat_map(|recipe| recipe.inputs.iter());
            for dataset in inputs.chain([output]).filter_map(|name| project.datasets.get(name)) {
                self.may_use_connection_of(actor, dataset)?;
            }
        }
        Ok(())
    }

    /// A connection that was added on the node, for somebody who may change it.
    fn changeable(&self, actor: &Actor, name: &str) -> Result<StoredConnection, AppError> {
        self.require_administrator(actor)?;
        let known = self.connection(name).ok_or_else(|| no_such(name))?;
        known.stored.clone().ok_or_else(|| {
            AppError::Conflict(format!(
                "the connection `{name}` stands in stet.toml: change it there, and restart the node"
            ))
        })
    }

    /// The connection with a password sealed for exactly where it leads to.
    fn with_password(
        &self,
        mut kept: StoredConnection,
        password: Option<String>,
    ) -> Result<StoredConnection, AppError> {
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            if password.len() > FIELD_BYTES_MAX || password.contains('\0') {
                return Err(AppError::Invalid(format!("a password has at most {FIELD_BYTES_MAX} bytes, and no NUL")));
            }
            let sealed = self.inner.keys.seal(&self.context(&kept), password.as_bytes())?;
            kept.sealed_password = Some(sealed);
        }
        Ok(kept)
    }

    fn context(&self, kept: &StoredConnection) -> Context {
        Context::connection(self.inner.node_id, &kept.name, &kept.host, kept.port, &kept.database, &kept.user)
    }

    /// How a kept connection is reached.
    fn settings(&self, kept: &StoredConnection) -> Result<PostgresConfig, AppError> {
        for (field, text) in [("host", &kept.host), ("database", &kept.database), ("user", &kept.user)] {
            if text.is_empty() || text.len() > FIELD_BYTES_MAX || text.chars().any(char::is_control) {
                return Err(AppError::Invalid(format!("`{field}` of the connection is missing, or is none")));
            }
        }
        let mut config = PostgresConfig::new(&kept.name, &kept.host, kept.port, &kept.database, &kept.user);
        if let Some(mode) = &kept.sslmode {
            config.encryption = encryption_of(mode).map_err(AppError::Invalid)?;
        }
        if kept.host.starts_with('/') && config.encryption != stet_store::postgres::Encryption::Disable {
            return Err(AppError::Invalid("a socket is not encrypted: take `sslmode` out".to_owned()));
        }
        config.authorities = kept.ca_file.as_ref().map(|path| self.inner.folder.resolve(std::path::Path::new(path)));
        if let Some(sealed) = kept.sealed_password.clone() {
            let (keys, context) = (self.inner.keys.clone(), self.context(kept));
            config.password = PasswordPlace::Sealed(SealedPassword(Arc::new(move || {
                let password = keys.open(&context, &sealed)?;
                String::from_utf8(password).map_err(|_| "its sealed secret is no text: set it again".to_owned())
            })));
        }
        Ok(config)
    }
}

impl KnownConnection {
    /// The kind, as it is written in `stet.toml`.
    pub(crate) fn kind(&self) -> &'static str {
        self.connection.kind()
    }

    fn summary(&self, name: &str) -> ConnectionSummary {
        let config = match &self.connection {
            Connection::Postgres(config) => Some(config),
            Connection::Files { .. } => None,
        };
        ConnectionSummary {
            name: name.to_owned(),
            kind: self.kind(),
            in_file: self.stored.is_none(),
            path: match &self.connection {
                Connection::Files { path } => Some(path.display().to_string()),
                Connection::Postgres(_) => None,
            },
            host: config.map(|config| config.host.clone()),
            port: config.map(|config| config.port),
            database: config.map(|config| config.database.clone()),
            user: config.map(|config| config.user.clone()),
            sslmode: config.map(|config| config.encryption.as_str()),
            ca_file: match &self.stored {
                Some(stored) => stored.ca_file.clone(),
                None => config.and_then(|config| config.authorities.as_ref()).map(|path| path.display().to_string()),
            },
            has_password: config.is_some_and(|config| config.password != PasswordPlace::None),
            groups: self.groups.clone(),
            changed: self.stored.as_ref().map(|stored| (stored.changed_at, stored.changed_by.clone())),
        }
    }
}

/// The connection that a dataset is in; none for one in the node's own files.
fn connection_name(dataset: &Dataset) -> Option<&str> {
    match &dataset.location {
        Location::Files { connection, .. } => connection.as_deref(),
        Location::Table { connection, .. } | Location::Query { connection, .. } => Some(connection),
        Location::Editlog { table, .. } => table.as_ref().map(|(connection, _)| connection.as_str()),
    }
}

/// Whether the password of a connection would be shown to another place, or on another way.
fn leads_elsewhere(old: &StoredConnection, new: &StoredConnection) -> bool {
    let place = |of: &StoredConnection| {
        (of.host.clone(), of.port, of.database.clone(), of.user.clone(), of.sslmode.clone(), of.ca_file.clone())
    };
    place(old) != place(new)
}

fn object(name: &str) -> String {
    format!("connection {name}")
}

/// What the audit trail says of a connection.
fn told(kept: &StoredConnection) -> String {
    let groups: Vec<&str> = kept.groups.iter().map(GroupName::as_str).collect();
    let groups = if groups.is_empty() { "everybody".to_owned() } else { groups.join(", ") };
    format!("{}@{}:{}/{}, for {groups}", kept.user, kept.host, kept.port, kept.database)
}

fn groups(names: &[String]) -> Result<BTreeSet<GroupName>, AppError> {
    let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    names.map(|name| GroupName::new(name).map_err(|error| AppError::Invalid(error.to_string()))).collect()
}

fn none_if_empty(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn is_name(name: &str) -> bool {
    name.len() <= 60
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
}

fn no_such(name: &str) -> AppError {
    AppError::not_found(format!("connection `{name}`"))
}
