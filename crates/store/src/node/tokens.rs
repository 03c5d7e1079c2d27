//! API tokens: what programs sign in with, on behalf of a user.

use rusqlite::{OptionalExtension, Row};
use stet_domain::access::Scopes;
use stet_domain::{LogDate, Login};

use super::users::{self, User};
use super::{NodeDatabase, TokenHash, date, date_or_none, limit_of, parsed};
use crate::error::StoreError;

/// An API token to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiToken {
    /// The hash of the token, which is shown to its user once and kept nowhere.
    pub token_hash: TokenHash,
    /// On whose behalf it acts.
    pub login: Login,
    /// What its user calls it; unique among the user's tokens that are not revoked.
    pub name: String,
    /// When.
    pub created_at: LogDate,
    /// From when on it is no longer good; none for never.
    pub expires_at: Option<LogDate>,
    /// What it may be used for.
    pub scopes: Scopes,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// On whose behalf it acts.
    pub login: Login,
    /// What its user calls it.
    pub name: String,
    /// When it was created.
    pub created_at: LogDate,
    /// From when on it is no longer good; none for never.
    pub expires_at: Option<LogDate>,
    /// When it was last used, as far as was noted.
    pub last_used_at: Option<LogDate>,
    /// When it was revoked.
    pub revoked_at: Option<LogDate>,
    /// What it may be used for.
    pub scopes: Scopes,
}

const COLUMNS: &str = "api_tokens.login, name, api_tokens.created_at, expires_at, last_used_at, revoked_at, scopes";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        login: parsed(row, 0)?,
        name: row.get(1)?,
        created_at: date(row, 2)?,
        expires_at: date_or_none(row, 3)?,
        last_used_at: date_or_none(row, 4)?,
        revoked_at: date_or_none(row, 5)?,
        scopes: parsed(row, 6)?,
    })
}

impl NodeDatabase {
    /// Creates an API token. Fails with `NoSuchUser`, also for a user who is disabled, or `TokenNameTaken`.
    pub async fn create_api_token(&self, token: NewApiToken) -> Result<(), StoreError> {
        self.write(move |transaction| {
            if users::find(transaction, token.login.as_str())?.is_none_or(|user| user.disabled) {
                return Err(StoreError::NoSuchUser { login: token.login }.into());
            }
            let taken = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM api_tokens WHERE login = ?1 AND name = ?2 AND revoked_at IS NULL)",
                (token.login.as_str(), &token.name),
                |row| row.get::<_, bool>(0),
            )?;
            if taken {
                return Err(StoreError::TokenNameTaken { login: token.login, name: token.name }.into());
            }
            transaction.execute(
                "INSERT INTO api_tokens (token_hash, login, name, created_at, expires_at, scopes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    token.token_hash.0,
                    token.login.as_str(),
                    token.name,
                    token.created_at.micros(),
                    token.expires_at.map(LogDate::micros),
                    token.scopes.to_string(),
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// The API tokens of a user, or of all users, newest first; revoked and expired ones too.
    pub async fn api_tokens(&self, login: Option<&Login>) -> Result<Vec<ApiToken>, StoreError> {
        let login = login.cloned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM api_tokens WHERE ?1 IS NULL OR login = ?1 COLLATE NOCASE
                 ORDER BY created_at DESC, name LIMIT ?2"
            ))?;
            let tokens = statement.query_map((login.as_ref().map(Login::as_str), limit_of(usize::MAX)), from_row)?;
            Ok(tokens.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Revokes a user's token by its name. Whether there was one to revoke.
    pub async fn revoke_api_token(&self, login: &Login, name: &str, at: LogDate) -> Result<bool, StoreError> {
        let (login, name) = (login.clone(), name.to_owned());
        self.write(move |transaction| {
            let changed = transaction.execute(
                "UPDATE api_tokens SET revoked_at = ?3 WHERE login = ?1 AND name = ?2 AND revoked_at IS NULL",
                (login.as_str(), name, at.micros()),
            )?;
            Ok(changed > 0)
        })
        .await
    }

    /// An API token and its user, if it is good at `now`: there, not revoked, not expired, and its user not disabled.
    pub async fn api_token(&self, token_hash: TokenHash, now: LogDate) -> Result<Option<(ApiToken, User)>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS}, {} FROM api_tokens JOIN users USING (login)
                 WHERE token_hash = ?1 AND revoked_at IS NULL AND coalesce(expires_at > ?2, TRUE) AND NOT disabled",
                users::COLUMNS
            ))?;
            let found =
                statement.query_row((token_hash.0, now.micros()), |row| Ok((from_row(row)?, users::from_row(row, 7)?)));
            Ok(found.optional()?)
        })
        .await
    }

    /// Notes that a token was used. It waits for the disk, so do it now and then and not at every request.
    pub async fn touch_api_token(&self, token_hash: TokenHash, at: LogDate) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE api_tokens SET last_used_at = ?2 WHERE token_hash = ?1",
                (token_hash.0, at.micros()),
            )?;
            Ok(())
        })
        .await
    }
}
