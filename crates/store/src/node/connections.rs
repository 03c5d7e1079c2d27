//! Connections that were added on the node itself, with their passwords as sealed bytes: what opens them is not here.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Row};
use stet_domain::{GroupName, LogDate};

use super::{NodeDatabase, date, limit_of};
use crate::error::StoreError;

pub(super) const TABLES: &str = "
CREATE TABLE connections (
  name TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
  host TEXT NOT NULL,
  port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
  database TEXT NOT NULL,
  user TEXT NOT NULL,
  sslmode TEXT,
  ca_file TEXT,
  groups TEXT NOT NULL,
  sealed_password BLOB,
  changed_at INTEGER NOT NULL,
  changed_by TEXT NOT NULL
) STRICT;
";

/// A connection to a PostgreSQL database, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConnection {
    /// By which datasets name it.
    pub name: String,
    /// A host name, an address, or the folder of a Unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The database user.
    pub user: String,
    /// How it is encrypted, as it is written; none for what fits the host.
    pub sslmode: Option<String>,
    /// Certificates of authorities to trust, if not the system's.
    pub ca_file: Option<String>,
    /// Who may use it; everybody when it is empty.
    pub groups: BTreeSet<GroupName>,
    /// The password, sealed by the node's key; none when the database asks for none.
    pub sealed_password: Option<SealedBytes>,
    /// When it was last changed.
    pub changed_at: LogDate,
    /// By whom.
    pub changed_by: String,
}

/// A secret that only the node's key opens.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBytes(pub Vec<u8>);

impl std::fmt::Debug for SealedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealedBytes(..)")
    }
}

const COLUMNS: &str =
    "name, host, port, database, user, sslmode, ca_file, groups, sealed_password, changed_at, changed_by";

impl NodeDatabase {
    /// The connections by name, at most 10,000.
    pub async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM connections ORDER BY name LIMIT ?1"))?;
            let found = statement.query_map([limit_of(usize::MAX)], from_row)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Keeps a connection, unless it is `new` and there is one of its name. Whether it was kept.
    pub async fn put_connection(&self, kept: StoredConnection, new: bool) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let sql = "SELECT 1 FROM connections WHERE name = ?1";
            let there = transaction.query_row(sql, [&kept.name], |_| Ok(())).optional()?.is_some();
            if there && new {
                return Ok(false);
            }
            let groups: Vec<&str> = kept.groups.iter().map(GroupName::as_str).collect();
            transaction.execute(
                &format!(
                    "INSERT OR REPLACE INTO connections ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                ),
                (
                    kept.name,
                    kept.host,
                    kept.port,
                    kept.database,
                    kept.user,
                    kept.sslmode,
                    kept.ca_file,
                    groups.join(" "),
                    kept.sealed_password.map(|sealed| sealed.0),
                    kept.changed_at.micros(),
                    kept.changed_by,
                ),
            )?;
            Ok(true)
        })
        .await
    }

    /// Takes a connection away with its secret. Whether it was there.
    pub async fn delete_connection(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| Ok(transaction.execute("DELETE FROM connections WHERE name = ?1", [name])? > 0))
            .await
    }

    /// Every secret that is sealed on this node: where it is, and its bytes.
    pub async fn sealed_secrets(&self) -> Result<Vec<(SecretPlace, SealedBytes)>, StoreError> {
        self.read(|connection| {
            let mut all = Vec::new();
            for (kind, sql) in SEALED {
                let mut statement = connection.prepare(&format!("SELECT {sql}"))?;
                let found = statement
                    .query_map([], |row| Ok((SecretPlace { kind, name: row.get(0)? }, SealedBytes(row.get(1)?))))?;
                for secret in found {
                    all.push(secret?);
                }
            }
            Ok(all)
        })
        .await
    }

    /// Puts secrets sealed anew into the places of the old ones, all of them or none. None are taken when one of the old
    /// ones has changed since it was read.
    pub async fn reseal(&self, secrets: Vec<(SecretPlace, SealedBytes, SealedBytes)>) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            for (place, old, new) in &secrets {
                let (table, key, column) = place.kind.columns();
                let changed = transaction.execute(
                    &format!("UPDATE {table} SET {column} = ?3 WHERE {key} = ?1 AND {column} = ?2"),
                    (&place.name, &old.0, &new.0),
                )?;
                if changed != 1 {
                    return Err(StoreError::Unusable(
                        "a secret was changed in the meantime: nothing was done; try again".to_owned(),
                    )
                    .into());
                }
            }
            Ok(true)
        })
        .await
    }
}

/// Where a sealed secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlace {
    /// What it is.
    pub kind: SecretKind,
    /// Whose it is: the name of a connection or of a target, or a login.
    pub name: String,
}

/// What a sealed secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// The password of a connection.
    Connection,
    /// What the second factor of a user is made of.
    SecondFactor,
    /// A secret that `stet.toml` calls by its name.
    Named,
    /// The token with which bundles are brought to another node.
    DeployTarget,
}

/// What reads the secrets of each kind.
const SEALED: [(SecretKind, &str); 4] = [
    (SecretKind::Connection, "name, sealed_password FROM connections WHERE sealed_password IS NOT NULL ORDER BY name"),
    (SecretKind::SecondFactor, "login, sealed_secret FROM second_factors ORDER BY login"),
    (SecretKind::Named, "name, sealed_secret FROM named_secrets ORDER BY name"),
    (SecretKind::DeployTarget, "name, sealed_token FROM deploy_targets ORDER BY name"),
];

impl SecretKind {
    /// The table, the column that names whose secret it is, and the column of the secret.
    fn columns(self) -> (&'static str, &'static str, &'static str) {
        match self {
            SecretKind::Connection => ("connections", "name", "sealed_password"),
            SecretKind::SecondFactor => ("second_factors", "login", "sealed_secret"),
            SecretKind::Named => ("named_secrets", "name", "sealed_secret"),
            SecretKind::DeployTarget => ("deploy_targets", "name", "sealed_token"),
        }
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredConnection> {
    let groups: String = row.get(7)?;
    let groups = groups.split_whitespace().map(GroupName::new).collect::<Result<_, _>>().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(7, rusqlite::types::Type::Text, error.to_string().into())
    })?;
    Ok(StoredConnection {
        name: row.get(0)?,
        host: row.get(1)?,
        port: row.get(2)?,
        database: row.get(3)?,
        user: row.get(4)?,
        sslmode: row.get(5)?,
        ca_file: row.get(6)?,
        groups,
        sealed_password: row.get::<_, Option<Vec<u8>>>(8)?.map(SealedBytes),
        changed_at: date(row, 9)?,
        changed_by: row.get(10)?,
    })
}
