//! What the node keeps for places outside: secrets that `stet.toml` calls by name, as sealed bytes, and what witnesses have
//! cosigned.

use stet_domain::LogDate;

use super::{NodeDatabase, SealedBytes, date, limit_of};
use crate::error::StoreError;

pub(super) const TABLES: &str = "
CREATE TABLE named_secrets (
  name TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
  sealed_secret BLOB NOT NULL,
  changed_at INTEGER NOT NULL,
  changed_by TEXT NOT NULL
) STRICT;

CREATE TABLE cosigned_checkpoints (
  origin TEXT NOT NULL,
  witness TEXT NOT NULL,
  size INTEGER NOT NULL,
  note TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (origin, witness, size)
) STRICT, WITHOUT ROWID;
";

/// How many cosigned checkpoints of a log are kept for each witness: the last ones.
const COSIGNED_MAX: usize = 1_000;

/// A named secret without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSecret {
    /// Its name.
    pub name: String,
    /// When it was set.
    pub changed_at: LogDate,
    /// By whom.
    pub changed_by: String,
}

/// A checkpoint of a log with the cosignature of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignedCheckpoint {
    /// The witness's key, as text.
    pub witness: String,
    /// How many events the log had.
    pub size: u64,
    /// The signed note, with the log's own signature and the witness's.
    pub note: String,
}

impl NodeDatabase {
    /// Keeps a named secret in the place of one that may be there.
    pub async fn put_named_secret(&self, secret: NamedSecret, sealed: SealedBytes) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO named_secrets (name, sealed_secret, changed_at, changed_by)
                 VALUES (?1, ?2, ?3, ?4)",
                (secret.name, sealed.0, secret.changed_at.micros(), secret.changed_by),
            )?;
            Ok(())
        })
        .await
    }

    /// The named secrets by name, without what is secret.
    pub async fn named_secrets(&self) -> Result<Vec<NamedSecret>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT name, changed_at, changed_by FROM named_secrets ORDER BY name LIMIT ?1")?;
            let found = statement.query_map([limit_of(usize::MAX)], |row| {
                Ok(NamedSecret { name: row.get(0)?, changed_at: date(row, 1)?, changed_by: row.get(2)? })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The sealed bytes of a named secret; none if there is none.
    pub async fn named_secret(&self, name: &str) -> Result<Option<SealedBytes>, StoreError> {
        use rusqlite::OptionalExtension;
        let name = name.to_owned();
        self.read(move |connection| {
            let sql = "SELECT sealed_secret FROM named_secrets WHERE name = ?1";
            Ok(connection.query_row(sql, [name], |row| Ok(SealedBytes(row.get(0)?))).optional()?)
        })
        .await
    }

    /// Takes a named secret away. Whether it was there.
    pub async fn delete_named_secret(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| Ok(transaction.execute("DELETE FROM named_secrets WHERE name = ?1", [name])? > 0))
            .await
    }

    /// Keeps what a witness has cosigned, and the last 1,000 of the same log and witness beside it.
    pub async fn put_cosigned(
        &self,
        origin: &str,
        cosigned: CosignedCheckpoint,
        at: LogDate,
    ) -> Result<(), StoreError> {
        let origin = origin.to_owned();
        self.write(move |transaction| {
            let CosignedCheckpoint { witness, size, note } = cosigned;
            transaction.execute(
                "INSERT OR REPLACE INTO cosigned_checkpoints (origin, witness, size, note, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                (&origin, &witness, size.cast_signed(), note, at.micros()),
            )?;
            transaction.execute(
                "DELETE FROM cosigned_checkpoints WHERE origin = ?1 AND witness = ?2 AND size <=
                 (SELECT size FROM cosigned_checkpoints WHERE origin = ?1 AND witness = ?2
                  ORDER BY size DESC LIMIT 1 OFFSET ?3)",
                (&origin, &witness, limit_of(COSIGNED_MAX)),
            )?;
            Ok(())
        })
        .await
    }

    /// What witnesses have cosigned of a log, the largest first, at most `limit`.
    pub async fn cosigned(&self, origin: &str, limit: usize) -> Result<Vec<CosignedCheckpoint>, StoreError> {
        let origin = origin.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT witness, size, note FROM cosigned_checkpoints WHERE origin = ?1 ORDER BY size DESC, witness LIMIT ?2",
            )?;
            let found = statement.query_map((origin, limit_of(limit)), |row| {
                let size = row.get::<_, i64>(1)?.unsigned_abs();
                Ok(CosignedCheckpoint { witness: row.get(0)?, size, note: row.get(2)? })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }
}
