//! The nodes to which this one sends its bundles, with their deploy tokens as sealed bytes: what opens them is not here.

use rusqlite::Row;
use stet_domain::LogDate;
use uuid::Uuid;

use super::{NodeDatabase, SealedBytes, date, limit_of, parsed};
use crate::error::StoreError;

pub(super) const TABLES: &str = "
CREATE TABLE deploy_targets (
  name TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
  address TEXT NOT NULL,
  node_id TEXT NOT NULL,
  ca_file TEXT,
  sealed_token BLOB NOT NULL,
  added_at INTEGER NOT NULL,
  added_by TEXT NOT NULL
) STRICT;

ALTER TABLE deploy_tokens ADD COLUMN projects TEXT NOT NULL DEFAULT '';
ALTER TABLE deploy_tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
";

/// A node to which this one sends its bundles. It is never changed: a token is for one address, and for no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTarget {
    /// By which people call it.
    pub name: String,
    /// Where its pages are, such as `https://stet.example.org`.
    pub address: String,
    /// Which node has to answer there.
    pub node_id: Uuid,
    /// Certificates of authorities to trust, if not the system's.
    pub ca_file: Option<String>,
    /// The deploy token, sealed by the node's key.
    pub sealed_token: SealedBytes,
    /// When it was added.
    pub added_at: LogDate,
    /// By whom.
    pub added_by: String,
}

const COLUMNS: &str = "name, address, node_id, ca_file, sealed_token, added_at, added_by";

impl NodeDatabase {
    /// The targets by name, at most 10,000.
    pub async fn deploy_targets(&self) -> Result<Vec<StoredTarget>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM deploy_targets ORDER BY name LIMIT ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map([limit_of(usize::MAX)], from_row)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Keeps a target. False when there is one of its name.
    pub async fn add_deploy_target(&self, target: StoredTarget) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let added = transaction.execute(
                &format!(
                    "INSERT INTO deploy_targets ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"
                ),
                (
                    target.name,
                    target.address,
                    target.node_id.to_string(),
                    target.ca_file,
                    target.sealed_token.0,
                    target.added_at.micros(),
                    target.added_by,
                ),
            )?;
            Ok(added > 0)
        })
        .await
    }

    /// Takes a target away with its token. Whether it was there.
    pub async fn delete_deploy_target(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(
            move |transaction| Ok(transaction.execute("DELETE FROM deploy_targets WHERE name = ?1", [name])? > 0),
        )
        .await
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredTarget> {
    Ok(StoredTarget {
        name: row.get(0)?,
        address: row.get(1)?,
        node_id: parsed(row, 2)?,
        ca_file: row.get(3)?,
        sealed_token: SealedBytes(row.get(4)?),
        added_at: date(row, 5)?,
        added_by: row.get(6)?,
    })
}
