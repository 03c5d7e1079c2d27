//! Sessions of people who have signed in.

use rusqlite::OptionalExtension;
use stet_domain::{LogDate, Login};

use super::users::{self, User};
use super::{NodeDatabase, TokenHash, date};
use crate::error::StoreError;

/// A session to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The hash of the token that the browser holds.
    pub token_hash: TokenHash,
    /// Whose session it is.
    pub login: Login,
    /// When the user signed in.
    pub created_at: LogDate,
    /// From when on the session is no longer good.
    pub expires_at: LogDate,
    /// The most sessions of one user, this one included; the oldest go.
    pub sessions_max: usize,
    /// The network address from which the user signed in.
    pub client: String,
    /// What the client called itself.
    pub agent: String,
    /// What the user showed.
    pub method: SessionMethod,
}

/// What a user showed to begin a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionMethod {
    /// A password alone.
    Password,
    /// A password and a second factor.
    SecondFactor,
    /// Whatever another provider asks for.
    Provider,
}

impl SessionMethod {
    /// As it is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionMethod::Password => "password",
            SessionMethod::SecondFactor => "second_factor",
            SessionMethod::Provider => "provider",
        }
    }
}

impl std::str::FromStr for SessionMethod {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "password" => Ok(SessionMethod::Password),
            "second_factor" => Ok(SessionMethod::SecondFactor),
            "provider" => Ok(SessionMethod::Provider),
            other => Err(format!("`{other}` is no way to sign in")),
        }
    }
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// The hash of the token that the browser holds.
    pub token_hash: TokenHash,
    /// When the user signed in.
    pub created_at: LogDate,
    /// From when on it is no longer good.
    pub expires_at: LogDate,
    /// The network address from which the user signed in.
    pub client: String,
    /// What the client called itself.
    pub agent: String,
}

/// A session that is good now, with its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose session it is; not disabled.
    pub user: User,
    /// When the user signed in.
    pub created_at: LogDate,
    /// From when on the session is no longer good.
    pub expires_at: LogDate,
    /// What the user showed.
    pub method: SessionMethod,
}

impl NodeDatabase {
    /// Begins a session. Fails with `NoSuchUser`, also for a user who is disabled.
    pub async fn create_session(&self, session: NewSession) -> Result<(), StoreError> {
        self.write(move |transaction| {
            // Looked at in the same transaction, so that a user who is disabled meanwhile gets no session.
            if users::find(transaction, session.login.as_str())?.is_none_or(|user| user.disabled) {
                return Err(StoreError::NoSuchUser { login: session.login }.into());
            }
            transaction.execute(
                "INSERT INTO sessions (token_hash, login, created_at, expires_at, client, agent, method)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                (
                    session.token_hash.0,
                    session.login.as_str(),
                    session.created_at.micros(),
                    session.expires_at.micros(),
                    session.client,
                    session.agent,
                    session.method.as_str(),
                ),
            )?;
            transaction.execute(
                "DELETE FROM sessions WHERE token_hash IN (
                   SELECT token_hash FROM sessions WHERE login = ?1 AND token_hash <> ?2
                   ORDER BY created_at DESC, rowid DESC LIMIT -1 OFFSET ?3)",
                (
                    session.login.as_str(),
                    session.token_hash.0,
                    i64::try_from(session.sessions_max.saturating_sub(1)).unwrap_or(i64::MAX),
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// The session of a token, if it is good at `now`: there, not expired, and its user not disabled.
    pub async fn session(&self, token_hash: TokenHash, now: LogDate) -> Result<Option<Session>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT sessions.created_at, sessions.expires_at, sessions.method, {} FROM sessions JOIN users USING (login)
                 WHERE token_hash = ?1 AND expires_at > ?2 AND NOT disabled",
                users::COLUMNS
            ))?;
            let session = statement.query_row((token_hash.0, now.micros()), |row| {
                Ok(Session {
                    created_at: date(row, 0)?,
                    expires_at: date(row, 1)?,
                    method: super::parsed(row, 2)?,
                    user: users::from_row(row, 3)?,
                })
            });
            Ok(session.optional()?)
        })
        .await
    }

    /// The sessions of a user that are good at `now`, newest first.
    pub async fn sessions_of(&self, login: &Login, now: LogDate) -> Result<Vec<ListedSession>, StoreError> {
        let login = login.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT token_hash, created_at, expires_at, client, agent FROM sessions
                 WHERE login = ?1 AND expires_at > ?2 ORDER BY created_at DESC, rowid DESC",
            )?;
            let sessions = statement.query_map((login.as_str(), now.micros()), |row| {
                Ok(ListedSession {
                    token_hash: TokenHash(row.get(0)?),
                    created_at: date(row, 1)?,
                    expires_at: date(row, 2)?,
                    client: row.get(3)?,
                    agent: row.get(4)?,
                })
            })?;
            Ok(sessions.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Moves the expiry of a session. It waits for the disk, so do it now and then and not at every request. Whether
    /// there is the session.
    pub async fn touch_session(&self, token_hash: TokenHash, expires_at: LogDate) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let changed = transaction.execute(
                "UPDATE sessions SET expires_at = ?2 WHERE token_hash = ?1",
                (token_hash.0, expires_at.micros()),
            )?;
            Ok(changed > 0)
        })
        .await
    }

    /// Ends a session. Whether there was one.
    pub async fn delete_session(&self, token_hash: TokenHash) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            Ok(transaction.execute("DELETE FROM sessions WHERE token_hash = ?1", [token_hash.0])? > 0)
        })
        .await
    }

    /// Ends all sessions of a user. How many there were.
    pub async fn delete_sessions_of(&self, login: &Login) -> Result<usize, StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            Ok(transaction.execute("DELETE FROM sessions WHERE login = ?1", [login.as_str()])?)
        })
        .await
    }

    /// Deletes the sessions that have expired at `now`. How many there were.
    pub async fn purge_sessions(&self, now: LogDate) -> Result<usize, StoreError> {
        self.write(move |transaction| {
            Ok(transaction.execute("DELETE FROM sessions WHERE expires_at <= ?1", [now.micros()])?)
        })
        .await
    }
}
