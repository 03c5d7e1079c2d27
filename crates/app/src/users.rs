//! Users and API tokens.

use stet_domain::access::Scopes;
use stet_domain::name::looks_reserved;
use stet_domain::{Actor, ActorKind, LogDate, Login, Profile};
use stet_store::node::{ApiToken, NewApiToken, NewUser as StoredUser, PasswordHash, User};

use crate::App;
use crate::clock::after_s;
use crate::error::AppError;
use crate::password::{self, new_secret, secret_hash};

/// A user to add.
#[derive(Clone)]
pub struct NewUser {
    /// The name to sign in with.
    pub login: String,
    /// The name to show; the login when it is empty.
    pub display_name: String,
    /// What the user may be at most.
    pub profile: Profile,
    /// The password.
    pub password: String,
}

/// A token to add.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// On whose behalf it acts.
    pub login: String,
    /// What it is for.
    pub name: String,
    /// After how many days it expires; none for never.
    pub days: Option<u32>,
    /// What it may be used for.
    pub scopes: Scopes,
}

/// The most tokens of a user that are good at a time.
const TOKENS_MAX: usize = 100;

/// The longest name of a token, in characters.
const TOKEN_NAME_CHARACTERS_MAX: usize = 100;

/// The longest name for people, in characters.
const DISPLAY_NAME_CHARACTERS_MAX: usize = 100;

impl App {
    /// Adds a user.
    ///
    /// # Errors
    /// When the actor is no administrator, the login is taken or reserved, or the password too short.
    pub async fn add_user(&self, actor: &Actor, user: NewUser) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let login =
            Login::new(user.login.trim().to_lowercase()).map_err(|error| AppError::Invalid(error.to_string()))?;
        check_new_login(&login)?;
        password::check_new(&user.password)?;
        let display_name = match user.display_name.trim() {
            "" => login.to_string(),
            name => check_display_name(name)?.to_owned(),
        };
        let password_hash = Some(PasswordHash(password::hash(user.password).await?));
        let entry =
            self.entry(actor, "user.add", format!("user {login}"), format!("profile {}", user.profile.as_str()));
        self.inner
            .node
            .audited(entry)
            .create_user(StoredUser {
                login,
                display_name,
                profile: user.profile,
                password_hash,
                created_at: self.inner.clock.now(),
            })
            .await?;
        Ok(())
    }

    /// All users, by login.
    ///
    /// # Errors
    /// When the actor is no administrator.
    pub async fn users(&self, actor: &Actor) -> Result<Vec<User>, AppError> {
        self.require_administrator(actor)?;
        Ok(self.inner.node.users().await?)
    }

    /// Sets what a user may be at most, from the next request on.
    ///
    /// # Errors
    /// When the actor is no administrator, there is no such user, or the actor would take their own rights away.
    pub async fn set_profile(&self, actor: &Actor, login: &str, profile: Profile) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let login = parse_login(login)?;
        if profile != Profile::Admin {
            not_oneself(actor, &login)?;
        }
        let entry = self.entry(actor, "user.profile", format!("user {login}"), format!("profile {}", profile.as_str()));
        Ok(self.inner.node.audited(entry).set_profile(&login, profile).await?)
    }

    /// Shuts a user out at once, or lets the user in again. Sessions and tokens end; the name stays in the logs.
    ///
    /// # Errors
    /// When the actor is no administrator, there is no such user, or the actor would shut themself out.
    pub async fn set_user_disabled(&self, actor: &Actor, login: &str, disabled: bool) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let login = parse_login(login)?;
        if disabled {
            not_oneself(actor, &login)?;
        }
        let action = if disabled { "user.disable" } else { "user.enable" };
        let node = self.inner.node.audited(self.entry(actor, action, format!("user {login}"), ""));
        if disabled {
            node.disable_user(&login, self.inner.clock.now()).await?;
        } else {
            node.enable_user(&login).await?;
        }
        Ok(())
    }

    /// Sets a user's password and ends the user's sessions.
    ///
    /// # Errors
    /// When the actor is neither the user nor an administrator, or the password is too short.
    pub async fn set_password(&self, actor: &Actor, login: &str, password: String) -> Result<(), AppError> {
        let login = parse_login(login)?;
        self.require_self_or_administrator(actor, &login)?;
        password::check_new(&password)?;
        let hash = PasswordHash(password::hash(password).await?);
        let entry = self.entry(actor, "user.password", format!("user {login}"), "");
        self.inner.node.audited(entry).set_password_hash(&login, hash, None).await?;
        Ok(())
    }

    /// Adds an API token and gives its secret, which is shown this once.
    ///
    /// # Errors
    /// When the actor is neither the user nor an administrator, or the user has a token of this name.
    pub async fn add_token(&self, actor: &Actor, token: NewToken) -> Result<String, AppError> {
        let login = parse_login(&token.login)?;
        self.require_self_or_administrator(actor, &login)?;
        let name = check_token_name(&token.name)?.to_owned();
        let secret = format!("stet_{}", new_secret());
        let now = self.inner.clock.now();
        let known = self.inner.node.api_tokens(Some(&login)).await?;
        let is_good = |known: &ApiToken| known.revoked_at.is_none() && known.expires_at.is_none_or(|end| now < end);
        if known.iter().filter(|known| is_good(known)).count() >= TOKENS_MAX {
            return Err(AppError::Conflict(format!("`{login}` has {TOKENS_MAX} tokens: revoke one first")));
        }
        let entry = self.entry(
            actor,
            "token.add",
            format!("token {name} of user {login}"),
            format!(
                "scopes {}, {}",
                token.scopes,
                token.days.map_or("no end".to_owned(), |days| format!("{days} days"))
            ),
        );
        self.inner
            .node
            .audited(entry)
            .create_api_token(NewApiToken {
                token_hash: secret_hash(&secret),
                login,
                name,
                created_at: now,
                expires_at: token.days.map(|days| after_s(now, i64::from(days) * 24 * 3600)),
                scopes: token.scopes,
            })
            .await?;
        Ok(secret)
    }

    /// A token that is limited to some scopes makes no tokens and no passwords, which would be without its limits.
    fn require_self_or_administrator(&self, actor: &Actor, login: &Login) -> Result<(), AppError> {
        let own = actor.kind == ActorKind::User && actor.login == *login && actor.scopes == Scopes::ALL;
        if own { Ok(()) } else { self.require_administrator(actor) }
    }

    /// The API tokens of all users, newest first, without their secrets, which nobody has.
    ///
    /// # Errors
    /// When the actor is no administrator.
    pub async fn tokens(&self, actor: &Actor) -> Result<Vec<ApiToken>, AppError> {
        self.require_administrator(actor)?;
        Ok(self.inner.node.api_tokens(None).await?)
    }

    /// The API tokens of one user, newest first, without their secrets.
    ///
    /// # Errors
    /// When the actor is neither the user nor an administrator.
    pub async fn tokens_of(&self, actor: &Actor, login: &str) -> Result<Vec<ApiToken>, AppError> {
        let login = parse_login(login)?;
        self.require_self_or_administrator(actor, &login)?;
        Ok(self.inner.node.api_tokens(Some(&login)).await?)
    }

    /// Ends an API token at once.
    ///
    /// # Errors
    /// When the actor is neither the user nor an administrator, or there is no such token.
    pub async fn revoke_token(&self, actor: &Actor, login: &str, name: &str) -> Result<(), AppError> {
        let login = parse_login(login)?;
        self.require_self_or_administrator(actor, &login)?;
        let now: LogDate = self.inner.clock.now();
        let entry = self.entry(actor, "token.revoke", format!("token {name} of user {login}"), "");
        if self.inner.node.audited(entry).revoke_api_token(&login, name, now).await? {
            Ok(())
        } else {
            Err(AppError::not_found(format!("token `{name}` of `{login}`")))
        }
    }
}

/// Whoever administers the node cannot stop doing so alone: somebody has to be left who can.
fn not_oneself(actor: &Actor, login: &Login) -> Result<(), AppError> {
    if login.as_str().eq_ignore_ascii_case(actor.login.as_str()) {
        return Err(AppError::Invalid("another administrator has to do this: you would lock yourself out".to_owned()));
    }
    Ok(())
}

pub(crate) fn parse_login(login: &str) -> Result<Login, AppError> {
    Login::new(login.trim().to_lowercase()).map_err(|error| AppError::Invalid(error.to_string()))
}

/// A login that somebody new may have: none that stands for people who have not signed in, or for those at the shell.
pub(crate) fn check_new_login(login: &Login) -> Result<(), AppError> {
    if looks_reserved(login.as_str()) || login.as_str().ends_with("@shell") {
        return Err(AppError::Invalid(format!("`{login}` is reserved: choose another login")));
    }
    Ok(())
}

/// A name for people: seen as it is written, and not to be mistaken for nobody's.
pub(crate) fn check_display_name(name: &str) -> Result<&str, AppError> {
    let reason = if name.chars().count() > DISPLAY_NAME_CHARACTERS_MAX {
        "it is longer than 100 characters"
    } else if name.chars().any(is_unseen) {
        "it has characters that are not seen, or that turn others around"
    } else if looks_reserved(name) {
        "it stands for people who have not signed in"
    } else {
        return Ok(name);
    };
    Err(AppError::Invalid(format!("`{}` cannot be a name to show: {reason}", name.escape_debug())))
}

/// What a token is for: seen as it is written.
fn check_token_name(name: &str) -> Result<&str, AppError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > TOKEN_NAME_CHARACTERS_MAX || name.chars().any(is_unseen) {
        return Err(AppError::Invalid(format!(
            "say what the token is for, in 1 to {TOKEN_NAME_CHARACTERS_MAX} characters that are seen"
        )));
    }
    Ok(name)
}

/// Control characters, those without a width, and those that change the direction of others.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}
