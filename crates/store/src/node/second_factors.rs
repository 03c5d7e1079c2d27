//! Second factors: what makes a user's codes, as sealed bytes, and the hashes of recovery codes.

use rusqlite::{OptionalExtension, Transaction};
use stet_domain::{LogDate, Login};

use super::{NodeDatabase, SealedBytes, TokenHash, date, date_or_none};
use crate::error::StoreError;

pub(super) const TABLES: &str = "
CREATE TABLE second_factors (
  login TEXT NOT NULL COLLATE NOCASE PRIMARY KEY REFERENCES users (login),
  sealed_secret BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  confirmed_at INTEGER,
  last_step INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE recovery_codes (
  code_hash BLOB NOT NULL PRIMARY KEY CHECK (length(code_hash) = 32),
  login TEXT NOT NULL COLLATE NOCASE REFERENCES users (login),
  used_at INTEGER
) STRICT;
CREATE INDEX recovery_codes_by_login ON recovery_codes (login);

ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT 'password'
  CHECK (method IN ('password', 'second_factor', 'provider'));
";

/// The second factor of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// What the codes are made of, sealed by the node's key.
    pub sealed_secret: SealedBytes,
    /// When it was begun.
    pub created_at: LogDate,
    /// When its user showed the first code; none as long as it is not in force.
    pub confirmed_at: Option<LogDate>,
}

impl NodeDatabase {
    /// The second factor of a user, in force or begun.
    pub async fn second_factor(&self, login: &Login) -> Result<Option<SecondFactor>, StoreError> {
        let login = login.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sealed_secret, created_at, confirmed_at FROM second_factors WHERE login = ?1",
            )?;
            let found = statement.query_row([login.as_str()], |row| {
                Ok(SecondFactor {
                    sealed_secret: SealedBytes(row.get(0)?),
                    created_at: date(row, 1)?,
                    confirmed_at: date_or_none(row, 2)?,
                })
            });
            Ok(found.optional()?)
        })
        .await
    }

    /// Begins a second factor, which is in force once it is confirmed; one that was begun before is forgotten. Fails with
    /// `Unusable` when one is in force.
    pub async fn begin_second_factor(
        &self,
        login: &Login,
        sealed_secret: SealedBytes,
        at: LogDate,
    ) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let sql = "DELETE FROM second_factors WHERE login = ?1 AND confirmed_at IS NULL";
            transaction.execute(sql, [login.as_str()])?;
            let begun = transaction.execute(
                "INSERT INTO second_factors (login, sealed_secret, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                (login.as_str(), sealed_secret.0, at.micros()),
            )?;
            if begun == 0 { Err(StoreError::Unusable(IN_FORCE.to_owned()).into()) } else { Ok(()) }
        })
        .await
    }

    /// Puts the second factor that was begun in force, with recovery codes. Fails with `Unusable` when none was begun with
    /// this secret.
    pub async fn confirm_second_factor(
        &self,
        login: &Login,
        sealed_secret: SealedBytes,
        step: u64,
        recovery_codes: Vec<TokenHash>,
        session: TokenHash,
        at: LogDate,
    ) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let confirmed = transaction.execute(
                "UPDATE second_factors SET confirmed_at = ?3, last_step = ?4
                 WHERE login = ?1 AND sealed_secret = ?2 AND confirmed_at IS NULL",
                (login.as_str(), sealed_secret.0, at.micros(), step_of(step)),
            )?;
            if confirmed == 0 {
                return Err(StoreError::Unusable("begin the second factor again".to_owned()).into());
            }
            replace_recovery_codes(transaction, &login, &recovery_codes)?;
            // Whoever had only the password is out; the session in which the code was shown goes on.
            transaction.execute("UPDATE sessions SET method = 'second_factor' WHERE token_hash = ?1", [session.0])?;
            transaction.execute("DELETE FROM sessions WHERE login = ?1 AND method = 'password'", [login.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Takes the code of a time step, unless it or a later one was taken before. Whether it was.
    pub async fn take_step(&self, login: &Login, step: u64) -> Result<bool, StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let taken = transaction.execute(
                "UPDATE second_factors SET last_step = ?2 WHERE login = ?1 AND last_step < ?2",
                (login.as_str(), step_of(step)),
            )?;
            Ok(taken > 0)
        })
        .await
    }

    /// How many recovery codes of a user are left.
    pub async fn recovery_codes(&self, login: &Login) -> Result<u32, StoreError> {
        let login = login.clone();
        self.read(move |connection| {
            let sql = "SELECT count(*) FROM recovery_codes WHERE login = ?1 AND used_at IS NULL";
            Ok(connection.prepare_cached(sql)?.query_row([login.as_str()], |row| row.get(0))?)
        })
        .await
    }

    /// Gives a user new recovery codes in the place of all that there were. Fails with `Unusable` when the user has no second
    /// factor in force that they could stand in for.
    pub async fn renew_recovery_codes(&self, login: &Login, codes: Vec<TokenHash>) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            if !has_second_factor(transaction, &login)? {
                return Err(StoreError::Unusable("you have no second factor: set one up first".to_owned()).into());
            }
            Ok(replace_recovery_codes(transaction, &login, &codes)?)
        })
        .await
    }

    /// Uses up a recovery code of a user. Whether it was one that had not been used.
    pub async fn take_recovery_code(&self, login: &Login, code: TokenHash, at: LogDate) -> Result<bool, StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let taken = transaction.execute(
                "UPDATE recovery_codes SET used_at = ?3 WHERE login = ?1 AND code_hash = ?2 AND used_at IS NULL",
                (login.as_str(), code.0, at.micros()),
            )?;
            Ok(taken > 0)
        })
        .await
    }

    /// Takes a user's second factors away: codes, recovery codes, and passkeys. Whether there was one.
    pub async fn reset_second_factor(&self, login: &Login) -> Result<bool, StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            transaction.execute("DELETE FROM recovery_codes WHERE login = ?1", [login.as_str()])?;
            let codes = transaction.execute("DELETE FROM second_factors WHERE login = ?1", [login.as_str()])?;
            let passkeys = transaction.execute("DELETE FROM passkeys WHERE login = ?1", [login.as_str()])?;
            Ok(codes + passkeys > 0)
        })
        .await
    }

    /// Takes a user's codes away, and the recovery codes unless there are passkeys that they stand in for. Whether there
    /// were some.
    pub async fn remove_second_factor(&self, login: &Login) -> Result<bool, StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let removed = transaction.execute("DELETE FROM second_factors WHERE login = ?1", [login.as_str()])?;
            drop_needless_recovery_codes(transaction, &login)?;
            Ok(removed > 0)
        })
        .await
    }
}

/// Puts recovery codes in the place of all that a user had.
pub(super) fn replace_recovery_codes(
    transaction: &Transaction<'_>,
    login: &Login,
    codes: &[TokenHash],
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM recovery_codes WHERE login = ?1", [login.as_str()])?;
    let mut statement = transaction.prepare_cached("INSERT INTO recovery_codes (code_hash, login) VALUES (?1, ?2)")?;
    for code in codes {
        statement.execute((code.0, login.as_str()))?;
    }
    Ok(())
}

/// Takes the recovery codes of a user away who has no second factor in force any more.
pub(super) fn drop_needless_recovery_codes(transaction: &Transaction<'_>, login: &Login) -> rusqlite::Result<()> {
    if !has_second_factor(transaction, login)? {
        transaction.execute("DELETE FROM recovery_codes WHERE login = ?1", [login.as_str()])?;
    }
    Ok(())
}

fn has_second_factor(transaction: &Transaction<'_>, login: &Login) -> rusqlite::Result<bool> {
    transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM second_factors WHERE login = ?1 AND confirmed_at IS NOT NULL)
             OR EXISTS (SELECT 1 FROM passkeys WHERE login = ?1)",
        [login.as_str()],
        |row| row.get(0),
    )
}

const IN_FORCE: &str = "a second factor is in force already: take it away first";

fn step_of(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}
