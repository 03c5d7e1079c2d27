//! Signing in and out, and who a request is from.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stet_domain::access::Scopes;
use stet_domain::{Actor, ActorKind, LogDate, Login};
use stet_store::NodeDatabase;
use stet_store::node::{
    ApiToken, AuditOutcome, ListedSession, NewAuditEvent, NewSession, PasswordHash, Session, SessionMethod, TokenHash,
    User,
};
use tokio::sync::Semaphore;

use crate::App;
use crate::clock::after_s;
use crate::error::AppError;
use crate::passkeys::PasskeyAnswer;
use crate::password::{self, PASSWORD_BYTES_MAX, new_secret, secret_hash};

/// How many failed attempts one client has in [`ATTEMPTS_WINDOW_S`]: an address, or a device that is known.
pub const SESSION_ATTEMPTS_MAX: u64 = 10;

/// How many failed attempts one login has in the same time, from all clients that are not known together.
const LOGIN_ATTEMPTS_MAX: u64 = 50;

/// The most devices that are remembered of one user; the one that was used longest ago is forgotten first.
const DEVICES_MAX: usize = 20;

/// How much of what a client calls itself is kept, in characters.
const AGENT_CHARACTERS_MAX: usize = 200;

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
    /// The code of the second factor, or a recovery code, if it was typed.
    pub code: Option<String>,
    /// What a passkey answered, if one was used.
    pub passkey: Option<PasskeyAnswer>,
    /// The address of the client, to slow down guessing.
    pub client: String,
    /// What the client calls itself, to tell the user's sessions apart; may be empty.
    pub agent: String,
    /// The secret of the device, if the client has one of an earlier sign-in.
    pub device: Option<String>,
}

/// A new session.
#[derive(Clone)]
pub struct SignedIn {
    /// The secret that the client shows with each request; kept nowhere else.
    pub secret: String,
    /// The secret of the device, to be shown when somebody signs in on it again; it opens nothing.
    pub device: String,
    /// Who signed in.
    pub actor: Actor,
    /// When the session ends at the latest.
    pub expires_at: LogDate,
    /// Whether the session may do nothing yet but set up a second factor.
    pub second_factor_due: bool,
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

/// How many passwords are tried at a time. Wrong ones count from when they were found wrong: whoever sends many at once has
/// this many more tries, and no others.
const ATTEMPTS_AT_ONCE_MAX: usize = 4;

/// The places for those who try a password. Owned by the node.
pub(crate) struct Attempts(Semaphore);

impl Default for Attempts {
    fn default() -> Self {
        Attempts(Semaphore::new(ATTEMPTS_AT_ONCE_MAX))
    }
}

/// Who is said in the audit trail to have signed in with what cannot be a login.
const NO_LOGIN: &str = "(no login)";

impl App {
    /// Starts a session.
    ///
    /// # Errors
    /// `WrongCredentials`, whatever is wrong with them; `TooManyAttempts` when there were too many wrong ones.
    pub async fn sign_in(&self, request: SignIn) -> Result<SignedIn, AppError> {
        let _place = self.inner.attempts.0.acquire().await.map_err(AppError::internal)?;
        let now = self.inner.clock.now();
        let since = after_s(now, -ATTEMPTS_WINDOW_S);
        let node = &self.inner.node;
        let attempted = request.login.trim().to_lowercase();
        if request.password.len() > PASSWORD_BYTES_MAX || attempted.len() > PASSWORD_BYTES_MAX {
            return Err(AppError::WrongCredentials);
        }
        // A device that this user signed in on before is counted by itself: whoever tries passwords from elsewhere, even from
        // the same network, cannot lock its owner out. (OWASP calls this device cookies.)
        let known = Login::new(attempted.clone()).ok().zip(request.device.as_deref().map(secret_hash));
        let device = match known {
            Some((login, device)) if node.is_known_device(device, &login).await? => Some(device),
            _ => None,
        };
        let client = match device {
            Some(device) => format!("device {}", password::hex(&device.0)),
            None => request.client.clone(),
        };
        let failures = node.sign_in_failures(&attempted, &client, since).await?;
        // The count of a login slows down guessing from many machines, that of a client guessing on many logins.
        if failures.of_client >= SESSION_ATTEMPTS_MAX || (device.is_none() && failures.of_login >= LOGIN_ATTEMPTS_MAX) {
            return Err(AppError::TooManyAttempts { retry_after_s: ATTEMPTS_WINDOW_S.unsigned_abs() });
        }
        let user = match Login::new(attempted.clone()) {
            Ok(login) => node.user(login.as_str()).await?,
            Err(_) => None,
        };
        let hash = user.as_ref().filter(|user| !user.disabled).and_then(|user| user.password_hash.clone());
        if !password::verify(request.password, hash.map(|hash| hash.0)).await? {
            // What is no login may be a password that went into the wrong field, or text made up to mislead whoever reads.
            let named = Login::new(attempted.clone()).map_or_else(|_| NO_LOGIN.to_owned(), |login| login.to_string());
            let entry = NewAuditEvent {
                at: now,
                user: named,
                action: "session.sign_in".to_owned(),
                object: String::new(),
                address: Some(request.client),
                outcome: AuditOutcome::Refused,
                detail: "wrong login or password".to_owned(),
            };
            node.audited(entry).record_sign_in_failure(&attempted, &client, now).await?;
            return Err(AppError::WrongCredentials);
        }
        let Some(user) = user else { return Err(AppError::WrongCredentials) };
        let actor = actor_of(user).at(request.client.clone());
        let entry = self.entry(&actor, "session.sign_in", "", "");
        let method =
            self.check_second_factor(&actor.login, request.code.as_deref(), request.passkey.as_ref(), entry).await?;
        self.begin_session(actor, method, request.client, &request.agent, request.device, device.is_some()).await
    }

    /// Starts a session of somebody who has shown who they are.
    pub(crate) async fn begin_session(
        &self,
        actor: Actor,
        method: SessionMethod,
        client: String,
        agent: &str,
        device: Option<String>,
        is_known_device: bool,
    ) -> Result<SignedIn, AppError> {
        let (now, node) = (self.inner.clock.now(), &self.inner.node);
        let secret = new_secret();
        let expires_at = after_s(now, self.inner.config.login.session_idle_minutes * 60);
        let session = NewSession {
            token_hash: secret_hash(&secret),
            login: actor.login.clone(),
            created_at: now,
            expires_at,
            sessions_max: SESSIONS_MAX,
            client,
            agent: agent.chars().take(AGENT_CHARACTERS_MAX).collect(),
            method,
        };
        let how = match method {
            SessionMethod::Password => "",
            SessionMethod::SecondFactor => "with a second factor",
            SessionMethod::Provider => "by the provider",
        };
        node.audited(self.entry(&actor, "session.sign_in", "", how)).create_session(session).await?;
        node.set_last_sign_in(&actor.login, now).await?;
        let device = match device.filter(|_| is_known_device) {
            Some(device) => device,
            None => new_secret(),
        };
        node.remember_device(secret_hash(&device), &actor.login, now, DEVICES_MAX).await?;
        tracing::info!(user = %actor.login, "signed in");
        let second_factor_due = method == SessionMethod::Password && self.asks_for_second_factor(actor.profile);
        Ok(SignedIn { secret, device, actor, expires_at, second_factor_due })
    }

    /// Whose session a secret opens.
    ///
    /// # Errors
    /// `NotSignedIn` when there is no such session, it has ended, or the user is disabled.
    /// `SecondFactorDue` when it may do nothing yet but set up a second factor.
    pub async fn actor_of_session(&self, secret: &str) -> Result<Actor, AppError> {
        let session = self.session_of(secret).await?;
        if self.is_second_factor_due(&session) { Err(AppError::SecondFactorDue) } else { Ok(actor_of(session.user)) }
    }

    /// Whose session a secret opens, also one that may do nothing yet but set up a second factor: whether it is such a one.
    ///
    /// # Errors
    /// `NotSignedIn` when there is no such session, it has ended, or the user is disabled.
    pub async fn actor_of_new_session(&self, secret: &str) -> Result<(Actor, bool), AppError> {
        let session = self.session_of(secret).await?;
        let due = self.is_second_factor_due(&session);
        Ok((actor_of(session.user), due))
    }

    async fn session_of(&self, secret: &str) -> Result<Session, AppError> {
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
        Ok(session)
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
    pub async fn sign_out(&self, actor: &Actor, secret: &str) -> Result<(), AppError> {
        self.inner
            .node
            .audited(self.entry(actor, "session.sign_out", "", ""))
            .delete_session(secret_hash(secret))
            .await?;
        Ok(())
    }

    /// The sessions of the actor that are good now, newest first, and which of them a secret opens.
    ///
    /// # Errors
    /// When the actor is no user in a session.
    pub async fn sessions(&self, actor: &Actor, secret: &str) -> Result<Vec<OpenSession>, AppError> {
        require_own_session(actor)?;
        let mine = secret_hash(secret);
        let sessions = self.inner.node.sessions_of(&actor.login, self.inner.clock.now()).await?;
        let open = |session: ListedSession| OpenSession {
            id: session_id(session.token_hash),
            created_at: session.created_at,
            expires_at: session.expires_at,
            client: session.client,
            agent: session.agent,
            current: session.token_hash == mine,
        };
        Ok(sessions.into_iter().map(open).collect())
    }

    /// Ends one session of the actor, by its id in the list.
    ///
    /// # Errors
    /// When the actor is no user in a session, or has no such session.
    pub async fn end_session(&self, actor: &Actor, id: &str) -> Result<(), AppError> {
        require_own_session(actor)?;
        let sessions = self.inner.node.sessions_of(&actor.login, self.inner.clock.now()).await?;
        let found = sessions.into_iter().find(|session| session_id(session.token_hash) == id);
        let session = found.ok_or_else(|| AppError::not_found("such session of yours"))?;
        let entry = self.entry(actor, "session.end", format!("session since {}", session.created_at), "");
        self.inner.node.audited(entry).delete_session(session.token_hash).await?;
        Ok(())
    }

    /// Changes the actor's own password. The other sessions end; the one with this secret goes on.
    ///
    /// # Errors
    /// `Invalid` when the present password is not the one that was given, or the new one is too short.
    pub async fn change_password(
        &self,
        actor: &Actor,
        secret: &str,
        current: String,
        new: String,
    ) -> Result<(), AppError> {
        require_own_session(actor)?;
        password::check_new(&new)?;
        let entry = self.entry(actor, "user.password", format!("user {}", actor.login), "by the user");
        self.check_own_password(actor, secret, current, entry.clone()).await?;
        let hash = PasswordHash(password::hash(new).await?);
        self.inner.node.audited(entry).set_password_hash(&actor.login, hash, Some(secret_hash(secret))).await?;
        Ok(())
    }

    /// Fails unless this is the actor's present password; a wrong one is noted by the entry.
    pub(crate) async fn check_own_password(
        &self,
        actor: &Actor,
        secret: &str,
        current: String,
        entry: NewAuditEvent,
    ) -> Result<(), AppError> {
        // Whoever found a session open guesses no faster than at the door.
        let client = format!("session {}", session_id(secret_hash(secret)));
        if self.is_own_password(actor, &client, current, entry).await? {
            return Ok(());
        }
        Err(AppError::Invalid("this is not your present password".to_owned()))
    }

    /// Whether a password that was typed again is the actor's.
    ///
    /// # Errors
    /// When the actor has no password of their own to type, or too many were wrong.
    pub(crate) async fn confirms_password(&self, actor: &Actor, password: String) -> Result<bool, AppError> {
        if actor.kind != ActorKind::User {
            return Err(AppError::NotAllowed("only somebody who has signed in can sign with a password".to_owned()));
        }
        let entry = self.entry(actor, "session.signature", "", "wrong password");
        self.is_own_password(actor, &format!("signature {}", actor.login), password, entry).await
    }

    /// Whether this is the actor's present password. Wrong ones are counted by what `client` names, like those at the door,
    /// and noted by the entry.
    ///
    /// # Errors
    /// `TooManyAttempts` when too many were wrong.
    async fn is_own_password(
        &self,
        actor: &Actor,
        client: &str,
        password: String,
        mut entry: NewAuditEvent,
    ) -> Result<bool, AppError> {
        let _place = self.inner.attempts.0.acquire().await.map_err(AppError::internal)?;
        let (now, node, login) = (self.inner.clock.now(), &self.inner.node, actor.login.as_str());
        let failures = node.sign_in_failures(login, client, after_s(now, -ATTEMPTS_WINDOW_S)).await?;
        if failures.of_client >= SESSION_ATTEMPTS_MAX {
            return Err(AppError::TooManyAttempts { retry_after_s: ATTEMPTS_WINDOW_S.unsigned_abs() });
        }
        let user = node.user(login).await?.ok_or(AppError::NotSignedIn)?;
        let known = user.password_hash.map(|hash| hash.0);
        // What is longer than any password is none; looking at it would only take time.
        if password.len() <= PASSWORD_BYTES_MAX && password::verify(password, known).await? {
            return Ok(true);
        }
        entry.outcome = AuditOutcome::Refused;
        node.audited(entry).record_sign_in_failure(login, client, now).await?;
        Ok(false)
    }
}

/// A session of the actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// By which it can be ended; opens nothing.
    pub id: String,
    /// When the user signed in.
    pub created_at: LogDate,
    /// When it ends if it is not used.
    pub expires_at: LogDate,
    /// The network address from which the user signed in.
    pub client: String,
    /// What the client called itself then.
    pub agent: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// The start of the hash of the session's secret: enough to tell a user's sessions apart.
fn session_id(hash: TokenHash) -> String {
    password::hex(&hash.0[..8])
}

/// A token is no session: it neither sees sessions nor changes passwords.
fn require_own_session(actor: &Actor) -> Result<(), AppError> {
    match actor.kind {
        ActorKind::User if actor.scopes == Scopes::ALL => Ok(()),
        ActorKind::Visitor => Err(AppError::NotSignedIn),
        _ => Err(AppError::NotAllowed("sign in to do this: a limited token cannot".to_owned())),
    }
}

pub(crate) fn actor_of(user: User) -> Actor {
    Actor::user(user.login, user.display_name, user.profile, user.groups)
}
