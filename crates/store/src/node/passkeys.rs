//! Passkeys: their ids and public keys, which are no secrets.

use rusqlite::Row;
use stet_domain::{LogDate, Login};

use super::second_factors::{drop_needless_recovery_codes, replace_recovery_codes};
use super::{NodeDatabase, TokenHash, date, date_or_none, limit_of};
use crate::error::StoreError;

pub(super) const TABLES: &str = "
CREATE TABLE passkeys (
  credential_id BLOB NOT NULL PRIMARY KEY CHECK (length(credential_id) BETWEEN 1 AND 1023),
  login TEXT NOT NULL COLLATE NOCASE REFERENCES users (login),
  name TEXT NOT NULL CHECK (name <> ''),
  public_key TEXT NOT NULL,
  sign_count INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER
) STRICT;
CREATE INDEX passkeys_by_login ON passkeys (login, created_at);
";

/// A passkey of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPasskey {
    /// By which its authenticator knows it.
    pub credential_id: Vec<u8>,
    /// How its user calls it.
    pub name: String,
    /// The key that its signatures are checked with, as text.
    pub public_key: String,
    /// How often it was used when it was last seen; 0 of those that do not count.
    pub sign_count: u32,
    /// When it was made.
    pub created_at: LogDate,
    /// When it was last used here.
    pub last_used_at: Option<LogDate>,
}

const COLUMNS: &str = "credential_id, name, public_key, sign_count, created_at, last_used_at";

impl NodeDatabase {
    /// The passkeys of a user, oldest first.
    pub async fn passkeys(&self, login: &Login) -> Result<Vec<StoredPasskey>, StoreError> {
        let login = login.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM passkeys WHERE login = ?1 ORDER BY created_at, name LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map((login.as_str(), limit_of(usize::MAX)), from_row)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Adds a passkey of a user. Sessions that were begun with the password alone end, but for this one, which counts as one
    /// with a second factor from now on. Recovery codes, if there are any, take the place of those that the user had. Fails
    /// with `Unusable` when the passkey is known, whosever it is.
    pub async fn add_passkey(
        &self,
        login: &Login,
        passkey: StoredPasskey,
        recovery_codes: Vec<TokenHash>,
        session: TokenHash,
    ) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let added = transaction.execute(
                "INSERT INTO passkeys (credential_id, login, name, public_key, sign_count, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                (
                    passkey.credential_id,
                    login.as_str(),
                    passkey.name,
                    passkey.public_key,
                    passkey.sign_count,
                    passkey.created_at.micros(),
                ),
            )?;
            if added == 0 {
                return Err(StoreError::Unusable("this passkey is known on this node already".to_owned()).into());
            }
            if !recovery_codes.is_empty() {
                replace_recovery_codes(transaction, &login, &recovery_codes)?;
            }
            transaction.execute("UPDATE sessions SET method = 'second_factor' WHERE token_hash = ?1", [session.0])?;
            transaction.execute("DELETE FROM sessions WHERE login = ?1 AND method = 'password'", [login.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Notes that a passkey was used. False, and nothing is noted, when it has not counted on since it was last seen: two
    /// uses at once do not both pass.
    pub async fn use_passkey(&self, credential_id: &[u8], sign_count: u32, at: LogDate) -> Result<bool, StoreError> {
        let credential_id = credential_id.to_owned();
        self.write(move |transaction| {
            let used = transaction.execute(
                "UPDATE passkeys SET sign_count = ?2, last_used_at = ?3
                 WHERE credential_id = ?1 AND (sign_count < ?2 OR (sign_count = 0 AND ?2 = 0))",
                (credential_id, sign_count, at.micros()),
            )?;
            Ok(used > 0)
        })
        .await
    }

    /// Takes a passkey of a user away, and the recovery codes with the last second factor. Whether it was there.
    pub async fn remove_passkey(&self, login: &Login, credential_id: &[u8]) -> Result<bool, StoreError> {
        let (login, credential_id) = (login.clone(), credential_id.to_owned());
        self.write(move |transaction| {
            let sql = "DELETE FROM passkeys WHERE login = ?1 AND credential_id = ?2";
            let removed = transaction.execute(sql, (login.as_str(), credential_id))?;
            drop_needless_recovery_codes(transaction, &login)?;
            Ok(removed > 0)
        })
        .await
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredPasskey> {
    Ok(StoredPasskey {
        credential_id: row.get(0)?,
        name: row.get(1)?,
        public_key: row.get(2)?,
        sign_count: row.get(3)?,
        created_at: date(row, 4)?,
        last_used_at: date_or_none(row, 5)?,
    })
}
