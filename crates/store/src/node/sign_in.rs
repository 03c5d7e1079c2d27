//! Failed attempts to sign in, counted so that guessing can be slowed down.

use stet_domain::{LogDate, Login, name::LOGIN_CHARACTERS_MAX};

use super::{NodeDatabase, TokenHash};
use crate::error::StoreError;

/// How many attempts failed in a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignInFailures {
    /// For this login, from any client.
    pub of_login: u64,
    /// From this client, for any login.
    pub of_client: u64,
}

impl NodeDatabase {
    /// Notes a failed attempt. `login` is what was typed, whether or not there is such a user; `client` is an address.
    pub async fn record_sign_in_failure(&self, login: &str, client: &str, at: LogDate) -> Result<(), StoreError> {
        let (login, client) = (cut(login), cut(client));
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO sign_in_failures (login, client, at) VALUES (?1, ?2, ?3)",
                (login, client, at.micros()),
            )?;
            Ok(())
        })
        .await
    }

    /// How many attempts failed since a time, that time included.
    pub async fn sign_in_failures(
        &self,
        login: &str,
        client: &str,
        since: LogDate,
    ) -> Result<SignInFailures, StoreError> {
        let (login, client) = (cut(login), cut(client));
        self.read(move |connection| {
            let count = |sql: &str, of: &str| -> rusqlite::Result<u64> {
                let mut statement = connection.prepare_cached(sql)?;
                statement.query_row((of, since.micros()), |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
            };
            Ok(SignInFailures {
                of_login: count("SELECT count(*) FROM sign_in_failures WHERE login = ?1 AND at >= ?2", &login)?,
                of_client: count("SELECT count(*) FROM sign_in_failures WHERE client = ?1 AND at >= ?2", &client)?,
            })
        })
        .await
    }

    /// Forgets the failed attempts for a login, as after a successful one.
    pub async fn clear_sign_in_failures(&self, login: &str) -> Result<(), StoreError> {
        let login = cut(login);
        self.write(move |transaction| {
            transaction.execute("DELETE FROM sign_in_failures WHERE login = ?1", [login])?;
            Ok(())
        })
        .await
    }

    /// Forgets the failed attempts before a time. How many there were.
    pub async fn purge_sign_in_failures(&self, before: LogDate) -> Result<usize, StoreError> {
        self.write(move |transaction| {
            Ok(transaction.execute("DELETE FROM sign_in_failures WHERE at < ?1", [before.micros()])?)
        })
        .await
    }

    /// Whether a user signed in on a device before.
    pub async fn is_known_device(&self, device: TokenHash, login: &Login) -> Result<bool, StoreError> {
        let login = login.clone();
        self.read(move |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM known_devices WHERE token_hash = ?1 AND login = ?2)";
            Ok(connection.query_row(sql, (device.0, login.as_str()), |row| row.get(0))?)
        })
        .await
    }

    /// Notes that a user signed in on a device, and forgets the ones used longest ago when there are more than
    /// `devices_max`.
    pub async fn remember_device(
        &self,
        device: TokenHash,
        login: &Login,
        at: LogDate,
        devices_max: usize,
    ) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO known_devices (token_hash, login, last_used_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (token_hash) DO UPDATE SET login = ?2, last_used_at = ?3",
                (device.0, login.as_str(), at.micros()),
            )?;
            transaction.execute(
                "DELETE FROM known_devices WHERE token_hash IN (
                   SELECT token_hash FROM known_devices WHERE login = ?1
                   ORDER BY last_used_at DESC, rowid DESC LIMIT -1 OFFSET ?2)",
                (login.as_str(), i64::try_from(devices_max).unwrap_or(i64::MAX)),
            )?;
            Ok(())
        })
        .await
    }
}

/// What is typed as a login can be of any length; what is longer than any login is nobody's.
fn cut(text: &str) -> String {
    text.chars().take(LOGIN_CHARACTERS_MAX + 1).collect()
}
