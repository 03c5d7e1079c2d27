//! Signing in at another provider: OpenID Connect, the code flow with PKCE (RFC 7636), state and nonce.
//!
//! What belongs to one sign-in (state, nonce, verifier, the page that was asked for) is in a cookie of the browser that began
//! it, and nowhere on the node: nobody can fill a table of it, and nobody else's browser can end it. Who somebody is is the
//! issuer and the subject, never a name or an e-mail address.

mod http;
mod token;

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use stet_domain::{Actor, GroupName, LogDate, Login};
use stet_store::StoreError;
use stet_store::node::{AuditOutcome, Identity, NewAuditEvent, NewUser, SessionMethod, User};

use self::token::{Claims, Expected, Keys, TokenError};
use crate::App;
use crate::clock::after_s;
use crate::config::{ProviderConfig, is_safe_address};
use crate::error::AppError;
use crate::password::new_secret;
use crate::sessions::{SignedIn, actor_of};
use crate::users::parse_login;

/// How long somebody may take to sign in at the provider, in seconds.
pub const PROVIDER_SIGN_IN_S: i64 = 10 * 60;

/// How long what the provider says of itself is believed, in seconds.
const KNOWN_S: i64 = 60 * 60;

/// How often the keys are asked for again because a token names one that is not known, at most, in seconds.
const KEYS_AGAIN_S: i64 = 60;

/// How long a provider that was of no help is not asked again, in seconds.
const AWAY_S: i64 = 5;

/// What is said of a provider that cannot be used.
const AWAY: &str = "the sign-on provider cannot be used at present: try again, or tell the administrator";

/// The longest name for people, in characters.
const DISPLAY_NAME_CHARACTERS_MAX: usize = 100;

/// Where the provider sends people back to, below the node's address.
pub const PROVIDER_CALLBACK: &str = "/api/v1/session/provider/callback";

/// A sign-in that was begun at the provider.
pub struct ProviderSignIn {
    /// Where to send the browser.
    pub address: String,
    /// What the browser keeps until it comes back. Without `Debug`, so that it is never logged.
    pub cookie: String,
}

/// What a browser comes back with.
#[derive(Clone, Default)]
pub struct ProviderAnswer {
    /// What the browser kept.
    pub cookie: String,
    /// `code` of the answer.
    pub code: Option<String>,
    /// `state` of the answer.
    pub state: Option<String>,
    /// `iss` of the answer (RFC 9207), if there is one.
    pub issuer: Option<String>,
    /// `error` of the answer, if the provider refused.
    pub error: Option<String>,
    /// The address of the client.
    pub client: String,
    /// What the client calls itself.
    pub agent: String,
}

/// What the provider says of itself, as it was last asked.
#[derive(Default)]
pub(crate) struct Provider(Mutex<Remembered>);

/// What is remembered of the provider.
#[derive(Default)]
struct Remembered {
    known: Option<Known>,
    /// It was of no help just now: nobody is made to wait for it again before this.
    away_until: Option<LogDate>,
}

#[derive(Clone)]
struct Known {
    metadata: Metadata,
    keys: Keys,
    since: LogDate,
}

/// OpenID Connect Discovery 1.0.
#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

impl App {
    /// The name of the provider at which people can sign in, if there is one.
    pub fn provider_name(&self) -> Option<&str> {
        self.inner.config.login.provider.as_ref().map(|provider| provider.name.as_str())
    }

    /// Begins a sign-in at the provider. `next` is the page that was asked for.
    ///
    /// # Errors
    /// When there is no provider, or it does not answer.
    pub async fn begin_provider_sign_in(&self, next: &str) -> Result<ProviderSignIn, AppError> {
        let provider = self.provider()?;
        let known = self.known_provider(provider).await?;
        let [state, nonce, verifier] = [new_secret(), new_secret(), new_secret()];
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let scope = std::iter::once("openid").chain(provider.scopes.iter().map(String::as_str)).collect::<Vec<_>>();
        let query = [
            ("response_type", "code"),
            ("client_id", &provider.client_id),
            ("redirect_uri", &self.redirect_uri()),
            ("scope", &scope.join(" ")),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let endpoint = &known.metadata.authorization_endpoint;
        let address = format!("{endpoint}{}{}", if endpoint.contains('?') { '&' } else { '?' }, form(&query));
        let until = after_s(self.inner.clock.now(), PROVIDER_SIGN_IN_S).micros();
        let next = BASE64_URL_SAFE_NO_PAD.encode(local_page(next));
        Ok(ProviderSignIn { address, cookie: format!("{state}.{nonce}.{verifier}.{until}.{next}") })
    }

    /// Ends a sign-in at the provider: the new session, and the page that was asked for.
    ///
    /// # Errors
    /// `WrongCredentials` when the provider's answer is not believed or it refused; `NotAllowed` when it says who somebody is
    /// and they are nobody here.
    pub async fn end_provider_sign_in(&self, answer: ProviderAnswer) -> Result<(SignedIn, String), AppError> {
        let provider = self.provider()?;
        let (client, agent) = (answer.client.clone(), answer.agent.clone());
        let refused = |user: &str, reason: String| NewAuditEvent {
            at: self.inner.clock.now(),
            user: user.to_owned(),
            action: "session.sign_in".to_owned(),
            object: format!("at {}", provider.name),
            address: Some(client.clone()),
            outcome: AuditOutcome::Refused,
            detail: reason,
        };
        let (claims, next) = match self.claims_of(provider, answer).await {
            Ok(found) => found,
            Err(error @ (AppError::Unavailable(_) | AppError::Configuration(_) | AppError::Internal(_))) => {
                return Err(error);
            }
            Err(error) => {
                // What exactly is wrong helps whoever forges; the trail has it.
                self.note(refused("", error.to_string())).await?;
                return Err(AppError::WrongCredentials);
            }
        };
        let identity = Identity { issuer: provider.issuer.clone(), subject: claims.subject.clone() };
        let user = match self.user_of(provider, &identity, &claims.all).await {
            Ok(user) if user.disabled => Err(AppError::NotAllowed(format!("`{}` is shut out", user.login))),
            found => found,
        };
        let user = match user {
            Ok(user) => user,
            Err(AppError::NotAllowed(reason)) => {
                self.note(refused(&identity.subject, reason)).await?;
                return Err(AppError::NotAllowed(NOBODY.to_owned()));
            }
            Err(error) => return Err(error),
        };
        let held = groups_of(provider, &claims.all);
        let managed = provider.managed_groups();
        let user = if managed.intersection(&user.groups).eq(&held) {
            user
        } else {
            let names: Vec<&str> = held.iter().map(GroupName::as_str).collect();
            let detail = format!("by {}: {}", provider.name, names.join(", "));
            let mut entry = self.entry_of(None, "group.follow", format!("user {}", user.login), detail);
            entry.address = Some(client.clone());
            let node = self.inner.node.audited(entry);
            node.set_managed_groups(&user.login, managed, held, self.inner.clock.now()).await?;
            self.inner.node.user(user.login.as_str()).await?.ok_or(AppError::WrongCredentials)?
        };
        let actor = actor_of(user).at(client.clone());
        let signed_in = self.begin_session(actor, SessionMethod::Provider, client, &agent, None, false).await?;
        Ok((signed_in, next))
    }

    /// Makes somebody at the provider a user who is there already.
    ///
    /// # Errors
    /// When the actor is no administrator, there is no provider or no such user, or the subject is another user's.
    pub async fn link_identity(&self, actor: &Actor, login: &str, subject: &str) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let provider = self.provider()?;
        let login = parse_login(login)?;
        if subject.is_empty() || subject.len() > 255 {
            return Err(AppError::Invalid("a subject has 1 to 255 characters".to_owned()));
        }
        let identity = Identity { issuer: provider.issuer.clone(), subject: subject.to_owned() };
        let detail = format!("subject {subject} at {}", provider.issuer);
        let entry = self.entry(actor, "user.link", format!("user {login}"), detail);
        Ok(self.inner.node.audited(entry).add_identity(&identity, &login, self.inner.clock.now()).await?)
    }

    fn provider(&self) -> Result<&ProviderConfig, AppError> {
        self.inner.config.login.provider.as_ref().ok_or_else(|| AppError::not_found("sign-on provider"))
    }

    fn redirect_uri(&self) -> String {
        let url = self.inner.config.public_url.as_deref().unwrap_or_default();
        format!("{}{PROVIDER_CALLBACK}", url.trim_end_matches('/'))
    }

    /// Who the provider says somebody is, and the page that was asked for.
    async fn claims_of(&self, provider: &ProviderConfig, answer: ProviderAnswer) -> Result<(Claims, String), AppError> {
        let refused = |reason: &str| AppError::Refused(reason.to_owned());
        let mut kept = answer.cookie.split('.');
        let mut part = || kept.next().filter(|part| !part.is_empty());
        let (Some(state), Some(nonce), Some(verifier), Some(until)) = (part(), part(), part(), part()) else {
            return Err(refused("this browser did not begin the sign-in"));
        };
        let next = part().and_then(|next| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(next).ok()?).ok());
        if until.parse::<i64>().map_or(true, |until| until <= self.inner.clock.now().micros()) {
            return Err(refused("the sign-in took too long"));
        }
        if answer.state.as_deref() != Some(state) {
            return Err(refused("the answer is of another sign-in"));
        }
        if answer.issuer.as_ref().is_some_and(|issuer| *issuer != provider.issuer) {
            return Err(refused("the answer is another provider's"));
        }
        if let Some(error) = answer.error {
            return Err(refused(&format!("the provider refused: {error}")));
        }
        let code = answer.code.ok_or_else(|| refused("the answer has no code"))?;
        let known = self.known_provider(provider).await?;
        let token = self.token_of(provider, &known.metadata, &code, verifier).await?;
        let now_s = self.inner.clock.now().micros() / 1_000_000;
        let expected = Expected { issuer: &provider.issuer, client_id: &provider.client_id, nonce, now_s };
        let claims = match token::verify(&token, &known.keys, &expected) {
            Err(TokenError::UnknownKey) => {
                let keys = self.keys_again(provider, known).await?;
                token::verify(&token, &keys, &expected)
            }
            found => found,
        };
        let claims = claims.map_err(|error| AppError::Refused(error.to_string()))?;
        Ok((claims, local_page(next.as_deref().unwrap_or("/")).to_owned()))
    }

    /// Exchanges a code for an ID token (RFC 6749, section 4.1.3).
    async fn token_of(
        &self,
        provider: &ProviderConfig,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
    ) -> Result<String, AppError> {
        let redirect_uri = self.redirect_uri();
        let secret = provider.client_secret(self.inner.folder.root())?;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", verifier),
        ];
        let methods = &metadata.token_endpoint_auth_methods_supported;
        let has = |method: &str| methods.iter().any(|known| known == method);
        // Without a list it is `client_secret_basic`.
        let in_body = has("client_secret_post") && !has("client_secret_basic");
        let mut authorization = None;
        match &secret {
            Some(secret) if !in_body => {
                let pair = format!("{}:{}", form_encoded(&provider.client_id), form_encoded(secret));
                authorization = Some(format!("Basic {}", BASE64_STANDARD.encode(pair)));
            }
            Some(secret) => fields.extend([("client_id", provider.client_id.as_str()), ("client_secret", secret)]),
            None => fields.push(("client_id", &provider.client_id)),
        }
        let answer = http::post::<TokenAnswer>(&metadata.token_endpoint, authorization, form(&fields)).await;
        let answer = answer.map_err(|failure| match failure {
            // It is there and says no: the code is none, or was used.
            http::Failure::Status(status @ 400..=403) => {
                AppError::Refused(format!("the provider does not take the code (status {status})"))
            }
            failure => failure.into(),
        })?;
        Ok(answer.id_token)
    }

    /// What the provider says of itself; asked for when it is not known, or was for long.
    async fn known_provider(&self, provider: &ProviderConfig) -> Result<Known, AppError> {
        let now = self.inner.clock.now();
        if let Some(known) = self.inner.provider.get()
            && now < after_s(known.since, KNOWN_S)
        {
            return Ok(known);
        }
        if self.inner.provider.is_away(now) {
            return Err(AppError::Unavailable(AWAY.to_owned()));
        }
        let asked = self.ask_provider(provider, now).await;
        match &asked {
            Ok(known) => self.inner.provider.set(known.clone()),
            Err(_) => self.inner.provider.set_away_until(after_s(now, AWAY_S)),
        }
        asked
    }

    /// What the provider says of itself now.
    async fn ask_provider(&self, provider: &ProviderConfig, now: LogDate) -> Result<Known, AppError> {
        let address = format!("{}/.well-known/openid-configuration", provider.issuer.trim_end_matches('/'));
        let metadata: Metadata = http::get(&address).await?;
        // Else another provider could speak for this one.
        if metadata.issuer != provider.issuer {
            return Err(unusable(&format!("it calls itself `{}`, not `{}`", metadata.issuer, provider.issuer)));
        }
        for address in [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri] {
            if !is_safe_address(address) {
                return Err(unusable(&format!("it names an address that is not encrypted: {address}")));
            }
        }
        let keys = http::get(&metadata.jwks_uri).await?;
        Ok(Known { metadata, keys, since: now })
    }

    /// The provider's keys, asked for once more, unless that was done just now.
    async fn keys_again(&self, provider: &ProviderConfig, known: Known) -> Result<Keys, AppError> {
        let now = self.inner.clock.now();
        if now < after_s(known.since, KEYS_AGAIN_S) {
            return Ok(known.keys);
        }
        tracing::info!(provider = provider.name, "a token names a key that is not known: the keys are asked for again");
        let keys: Keys = http::get(&known.metadata.jwks_uri).await?;
        self.inner.provider.set(Known { keys: keys.clone(), since: now, ..known });
        Ok(keys)
    }

    /// Whose an identity is; somebody new, if the settings let new people in.
    async fn user_of(
        &self,
        provider: &ProviderConfig,
        identity: &Identity,
        claims: &Map<String, Value>,
    ) -> Result<User, AppError> {
        if let Some(user) = self.inner.node.user_of_identity(identity).await? {
            return Ok(user);
        }
        let Some(profile) = provider.new_users else {
            return Err(AppError::NotAllowed("nobody new is let in".to_owned()));
        };
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let named = text(&provider.login_claim).unwrap_or_default().trim().to_lowercase();
        let login = Login::new(named.clone())
            .ok()
            .filter(|login| crate::users::check_new_login(login).is_ok())
            .ok_or_else(|| AppError::NotAllowed(format!("`{}` cannot be a login", named.escape_debug())))?;
        let display_name: String =
            text("name").unwrap_or_default().trim().chars().take(DISPLAY_NAME_CHARACTERS_MAX).collect();
        let display_name = crate::users::check_display_name(&display_name).ok().filter(|name| !name.is_empty());
        let display_name = display_name.unwrap_or(login.as_str()).to_owned();
        let detail = format!("profile {}, subject {} at {}", profile.as_str(), identity.subject, identity.issuer);
        let entry = self.entry_of(None, "user.add", format!("user {login}"), detail);
        let user = NewUser {
            login: login.clone(),
            display_name,
            profile,
            password_hash: None,
            created_at: self.inner.clock.now(),
        };
        match self.inner.node.audited(entry).create_user_of(identity, user).await {
            // That the names are the same does not say that they are the same person.
            Err(StoreError::LoginTaken { .. }) => Err(AppError::NotAllowed(format!(
                "there is a user `{login}` who signs in otherwise: `stet user link {login} {}` makes them one",
                identity.subject
            ))),
            Err(error) => Err(error.into()),
            Ok(()) => self.inner.node.user(login.as_str()).await?.ok_or(AppError::WrongCredentials),
        }
    }
}

const NOBODY: &str = "the provider knows you, and this node does not: ask its administrator to let you in";

impl Provider {
    fn get(&self) -> Option<Known> {
        self.remembered().known.clone()
    }

    fn set(&self, known: Known) {
        *self.remembered() = Remembered { known: Some(known), away_until: None };
    }

    fn is_away(&self, now: LogDate) -> bool {
        self.remembered().away_until.is_some_and(|until| now < until)
    }

    fn set_away_until(&self, until: LogDate) {
        self.remembered().away_until = Some(until);
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node's groups of somebody, by those of the provider. A claim that is no list of texts gives none.
fn groups_of(provider: &ProviderConfig, claims: &Map<String, Value>) -> std::collections::BTreeSet<GroupName> {
    let theirs = match claims.get(&provider.groups_claim) {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    theirs.into_iter().filter_map(|name| provider.groups.get(name).cloned()).collect()
}

/// A page of this node; the first one if it is anything else, such as another site.
fn local_page(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(['\\', '\r', '\n'])
        && next.len() <= 1_000
        && next.is_ascii()
        && !next.chars().any(char::is_control);
    if is_local { next } else { "/" }
}

/// Names and values as a form.
fn form(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", form_encoded(value))).collect();
    fields.join("&")
}

/// A text as it stands in a form.
fn form_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

fn unusable(reason: &str) -> AppError {
    tracing::error!(reason, "the sign-on provider cannot be used");
    AppError::Unavailable(AWAY.to_owned())
}
