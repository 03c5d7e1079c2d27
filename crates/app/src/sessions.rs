//! Signing in and out, and who a request is from.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stet_domain::{Actor, LogDate, Login};
use stet_store::NodeDatabase;
use stet_store::node::{ApiToken, NewSession, Session, TokenHash, User};

use crate::App;
use crate::clock::after_s;
use crate::error::AppError;
use crate::password::{self, PASSWORD_BYTES_MAX, new_secret, secret_hash};

/// How many failed attempts one client address has in [`ATTEMPTS_WINDOW_S`]; one login has five times as many, from all
/// addresses together.
pub const SESSION_ATTEMPTS_MAX: u64 = 10;

/// The time over which failed attempts count, in seconds.
const ATTEMPTS_WINDOW_S: i64 = 60;

/// The most sessions of one user; the oldest ends when there is one more.
const SESSIONS_MAX: usize = 20;

/// How old the last sign of a session may get before it is written down again, in seconds: not every request writes.
const TOUCH_AFTER_S: i64 = 60;

/// What somebody signs in with.
#[derive(Clone)]
pub struct SignIn {
    /// The login, as it was typed.
    pub login: String,
    /// The password.
    pub password: String,
    /// The address of the client, to slow down guessing.
    pub client: String,
}

/// A new session.
#[derive(Clone)]
pub struct SignedIn {
    /// The secret that the client shows with each request; kept nowhere else.
    pub secret: String,
    /// Who signed in.
    pub actor: Actor,
    /// When the session ends at the latest.
    pub expires_at: LogDate,
}

/// The most sessions and tokens that are kept at hand.
const CREDENTIALS_MAX: usize = 10_000;

/// The sessions and tokens that were shown lately, so that a request need not ask the database whose they are. They are as
/// the database has them: with its first commit, by this process or another (`stet token revoke`), all are forgotten.
#[derive(Default)]
pub(crate) struct Credentials(Mutex<KnownCredentials>);

#[derive(Default)]
struct KnownCredentials {
    /// The version of the database under which they were read.
    version: Option<i64>,
    known: HashMap<TokenHash, Known>,
}

/// What a secret opens.
#[derive(Clone)]
enum Known {
    Session(Session),
    Token(ApiToken, User),
}

impl Credentials {
    /// What a secret opens, if that is known to be so now; its time may be over.
    fn get(&self, node: &NodeDatabase, hash: TokenHash) -> Option<Known> {
        let version = node.version().ok()?;
        let credentials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (credentials.version == Some(version)).then(|| credentials.known.get(&hash).cloned())?
    }

    /// Keeps what was read after `version` was.
    fn put(&self, version: Option<i64>, hash: TokenHash, known: Known) {
        let mut credentials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if version.is_none() || credentials.version != version || credentials.known.len() >= CREDENTIALS_MAX {
            credentials.known.clear();
            credentials.version = version;
        }
        if version.is_some() {
            credentials.known.insert(hash, known);
        }
    }
}

impl App {
    /// Starts a session.
    ///
    /// # Errors
    /// `WrongCredentials`, whatever is wrong with them; `TooManyAttempts` when there were too many wrong ones.
    pub async fn sign_in(&self, request: SignIn) -> Result<SignedIn, AppError> {
        let now = self.inner.clock.now();
        let since = after_s(now, -ATTEMPTS_WINDOW_S);
        let node = &self.inner.node;
        let attempted = request.login.trim().to_lowercase();
        if request.password.len() > PASSWORD_BYTES_MAX || attempted.len() > PASSWORD_BYTES_MAX {
            return Err(AppError::WrongCredentials);
        }
        // The count of a login slows down guessing from many machines, that of a client guessing on many logins.
        let failures = node.sign_in_failures(&attempted, &request.client, since).await?;
        if failures.of_login >= 5 * SESSION_ATTEMPTS_MAX || failures.of_client >= SESSION_ATTEMPTS_MAX {
            return Err(AppError::TooManyAttempts { retry_after_s: ATTEMPTS_WINDOW_S.unsigned_abs() });
        }
        let user = match Login::new(attempted.clone()) {
            Ok(login) => node.user(login.as_str()).await?,
            Err(_) => None,
        };
        let hash = user.as_ref().filter(|user| !user.disabled).and_then(|user| user.password_hash.clone());
        if !password::verify(request.password, hash.map(|hash| hash.0)).await? {
            node.record_sign_in_failure(&attempted, &request.client, now).await?;
            return Err(AppError::WrongCredentials);
        }
        let Some(user) = user else { return Err(AppError::WrongCredentials) };
        let secret = new_secret();
        let expires_at = after_s(now, self.inner.config.login.session_idle_minutes * 60);
        node.create_session(NewSession {
            token_hash: secret_hash(&secret),
            login: user.login.clone(),
            created_at: now,
            expires_at,
            sessions_max: SESSIONS_MAX,
        })
        .await?;
        node.set_last_sign_in(&user.login, now).await?;
        tracing::info!(user = %user.login, "signed in");
        Ok(SignedIn { secret, actor: actor_of(user).at(request.client), expires_at })
    }

    /// Whose session a secret opens.
    ///
    /// # Errors
    /// `NotSignedIn` when there is no such session, it has ended, or the user is disabled.
    pub async fn actor_of_session(&self, secret: &str) -> Result<Actor, AppError> {
        let now = self.inner.clock.now();
        let hash = secret_hash(secret);
        let session = match self.inner.credentials.get(&self.inner.node, hash) {
            Some(Known::Session(session)) if now < session.expires_at => session,
            _ => {
                let version = self.inner.node.version().ok();
                let session = self.inner.node.session(hash, now).await?.ok_or(AppError::NotSignedIn)?;
                self.inner.credentials.put(version, hash, Known::Session(session.clone()));
                session
            }
        };
        let login = &self.inner.config.login;
        let end = after_s(session.created_at, login.session_hours_max * 3600);
        if now >= end {
            self.inner.node.delete_session(hash).await?;
            return Err(AppError::NotSignedIn);
        }
        let expires_at = after_s(now, login.session_idle_minutes * 60).min(end);
        if expires_at >= after_s(session.expires_at, TOUCH_AFTER_S) {
            self.inner.node.touch_session(hash, expires_at).await?;
        }
        Ok(actor_of(session.user))
    }

    /// Whose API token this is.
    ///
    /// # Errors
    /// `NotSignedIn` when there is no such token, it has expired, or its user is disabled.
    pub async fn actor_of_token(&self, token: &str) -> Result<Actor, AppError> {
        let now = self.inner.clock.now();
        let hash = secret_hash(token);
        let (token, user) = match self.inner.credentials.get(&self.inner.node, hash) {
            Some(Known::Token(token, user)) if token.expires_at.is_none_or(|end| now < end) => (token, user),
            _ => {
                let version = self.inner.node.version().ok();
                let (token, user) = self.inner.node.api_token(hash, now).await?.ok_or(AppError::NotSignedIn)?;
                self.inner.credentials.put(version, hash, Known::Token(token.clone(), user.clone()));
                (token, user)
            }
        };
        if token.last_used_at.is_none_or(|used| now >= after_s(used, TOUCH_AFTER_S)) {
            self.inner.node.touch_api_token(hash, now).await?;
        }
        Ok(Actor { scopes: token.scopes, ..actor_of(user) })
    }

    /// Ends a session; one that has ended already is no failure.
    pub async fn sign_out(&self, secret: &str) -> Result<(), AppError> {
        self.inner.node.delete_session(secret_hash(secret)).await?;
        Ok(())
    }
}

fn actor_of(user: User) -> Actor {
    Actor::user(user.login, user.display_name, user.profile, user.groups)
}
