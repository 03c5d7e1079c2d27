//! Who a request is from, and whether a browser sent it on behalf of another site.
//!
//! A browser shows its session by a cookie, a program its token by `Authorization: Bearer`. A request with an
//! `Authorization` header is judged by that alone: no page of another site can add one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use stet_app::{AppError, PROVIDER_SIGN_IN_S};
use stet_domain::Actor;

use crate::error::Problem;
use crate::state::Server;

/// The secrets in requests are 64 or 69 characters long; longer ones are not looked up.
const SECRET_BYTES_MAX: usize = 200;

/// How long a device stays known, in seconds: the most that browsers allow, 400 days.
const DEVICE_COOKIE_SECONDS: i64 = 400 * 24 * 3600;

/// A request from somebody who is signed in.
pub(crate) struct Signed {
    pub(crate) actor: Actor,
    pub(crate) credential: Credential,
}

/// A request from somebody who is signed in, also in a session that may do nothing yet but set up a second factor.
pub(crate) struct New {
    pub(crate) signed: Signed,
    /// Whether it is such a session.
    pub(crate) due: bool,
}

/// A request from anybody: somebody who is signed in, or a visitor, for whom only what is public is there.
pub(crate) struct Anybody(pub(crate) Signed);

/// What somebody showed to be let in. Without `Debug`, so that it is never logged.
#[derive(Clone)]
pub(crate) enum Credential {
    /// The secret of a session.
    Session(String),
    /// An API token.
    Token(String),
    /// Nothing: a visitor. The network address, which tells visitors apart well enough.
    Visitor(String),
}

impl Credential {
    /// The secret of the session or token.
    pub(crate) fn secret(&self) -> &str {
        match self {
            Credential::Session(secret) | Credential::Token(secret) | Credential::Visitor(secret) => secret,
        }
    }
}

impl FromRequestParts<Arc<Server>> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Problem> {
        let credential = credential(server, &parts.headers).ok_or(AppError::NotSignedIn)?;
        let actor = server.actor_of(&credential).await?.at(client_address(&parts.extensions));
        Ok(Signed { actor, credential })
    }
}

impl FromRequestParts<Arc<Server>> for New {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Problem> {
        match credential(server, &parts.headers) {
            Some(Credential::Session(secret)) if secret.len() <= SECRET_BYTES_MAX => {
                let (actor, due) = server.app.actor_of_new_session(&secret).await?;
                let actor = actor.at(client_address(&parts.extensions));
                Ok(New { signed: Signed { actor, credential: Credential::Session(secret) }, due })
            }
            _ => Ok(New { signed: Signed::from_request_parts(parts, server).await?, due: false }),
        }
    }
}

impl FromRequestParts<Arc<Server>> for Anybody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Problem> {
        // A token that is no longer good has to be told to the program that shows it. A browser whose session has ended is
        // a visitor's: what is public goes on for it, and everything else asks to sign in.
        match Signed::from_request_parts(parts, server).await {
            Ok(signed) => Ok(Anybody(signed)),
            Err(problem) if problem.is_not_signed_in() && !parts.headers.contains_key(header::AUTHORIZATION) => {
                let address = client_address(&parts.extensions);
                let actor = Actor::visitor().at(address.clone());
                // Before anything else is read of the request: who has to sign in is told nothing but that.
                let params =
                    RawPathParams::from_request_parts(parts, server).await.map_err(|_| AppError::NotSignedIn)?;
                let named = |name: &str| params.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value);
                server.app.admit_visitor(&actor, named("project"), named("webapp"))?;
                Ok(Anybody(Signed { actor, credential: Credential::Visitor(address) }))
            }
            Err(problem) => Err(problem),
        }
    }
}

impl Server {
    /// Who shows this credential.
    ///
    /// # Errors
    /// `NotSignedIn` when it opens nothing, or no longer.
    pub(crate) async fn actor_of(&self, credential: &Credential) -> Result<Actor, AppError> {
        if credential.secret().len() > SECRET_BYTES_MAX {
            return Err(AppError::NotSignedIn);
        }
        match credential {
            Credential::Session(secret) => self.app.actor_of_session(secret).await,
            Credential::Token(token) => self.app.actor_of_token(token).await,
            Credential::Visitor(_) => Ok(Actor::visitor()),
        }
    }

    /// The name of the session cookie: with https one that only this host can have set.
    fn cookie_name(&self) -> &'static str {
        if self.https { "__Host-stet_session" } else { "stet_session" }
    }

    /// The header that gives a browser its session.
    pub(crate) fn session_cookie(&self, secret: &str) -> Option<HeaderValue> {
        let seconds = self.app.config().login.session_hours_max.max(0).saturating_mul(3600);
        self.cookie(secret, seconds)
    }

    /// The header that makes a browser forget its session.
    pub(crate) fn no_session_cookie(&self) -> Option<HeaderValue> {
        self.cookie("", 0)
    }

    /// The header that lets a browser be known when somebody signs in on it again.
    pub(crate) fn device_cookie(&self, secret: &str) -> Option<HeaderValue> {
        self.cookie_of(self.device_cookie_name(), secret, DEVICE_COOKIE_SECONDS)
    }

    /// The header by which a browser keeps the sign-in that it began at a provider; an empty one is forgotten.
    pub(crate) fn provider_cookie(&self, text: &str) -> Option<HeaderValue> {
        self.cookie_of(self.provider_cookie_name(), text, if text.is_empty() { 0 } else { PROVIDER_SIGN_IN_S })
    }

    /// The sign-in at a provider that a request's browser began.
    pub(crate) fn provider_sign_in<'a>(&self, headers: &'a HeaderMap) -> &'a str {
        cookie_value(headers, self.provider_cookie_name()).unwrap_or_default()
    }

    fn provider_cookie_name(&self) -> &'static str {
        if self.https { "__Host-stet_provider" } else { "stet_provider" }
    }

    fn device_cookie_name(&self) -> &'static str {
        if self.https { "__Host-stet_device" } else { "stet_device" }
    }

    fn cookie(&self, value: &str, seconds_max: i64) -> Option<HeaderValue> {
        self.cookie_of(self.cookie_name(), value, seconds_max)
    }

    fn cookie_of(&self, name: &str, value: &str, seconds_max: i64) -> Option<HeaderValue> {
        let secure = if self.https { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds_max}{secure}");
        HeaderValue::try_from(text).ok()
    }

    /// The secret of the session cookie that a request carries.
    pub(crate) fn session_secret<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        cookie_value(headers, self.cookie_name())
    }

    /// The secret of the device cookie that a request carries.
    pub(crate) fn device_secret<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        cookie_value(headers, self.device_cookie_name()).filter(|secret| secret.len() <= SECRET_BYTES_MAX)
    }
}

fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, secret)| secret)
        .filter(|secret| !secret.is_empty())
}

fn credential(server: &Server, headers: &HeaderMap) -> Option<Credential> {
    match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| Credential::Token(token.trim().to_owned()))
        }
        None => server.session_secret(headers).map(|secret| Credential::Session(secret.to_owned())),
    }
}

/// Refuses requests that change something and that a browser sends on behalf of another site.
///
/// Every browser says where such a request comes from, by `Sec-Fetch-Site` (over https and on the same machine) or by
/// `Origin`. A request with neither is from a program, which no other site can make send our cookie.
///
/// The answer, if the request is such a one.
pub(crate) fn refuse_foreign(server: &Server, request: &Request) -> Option<Response> {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes || request.headers().contains_key(header::AUTHORIZATION) || !is_foreign(server, request.headers()) {
        return None;
    }
    let problem = Problem::new(
        StatusCode::FORBIDDEN,
        "foreign-site",
        "this request came from a page of another site and was not carried out: open Stet itself and try again",
    );
    Some(problem.into_response())
}

fn is_foreign(server: &Server, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else { return true };
    if server.public_origin.as_ref() == Some(&origin) {
        return false;
    }
    // Whoever types the machine's name instead of the public URL is at home as well. A page of another site cannot choose
    // the host of the request that it makes, so its own origin never fits.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_ascii_lowercase);
    let same_host = host.is_some_and(|host| {
        origin.split_once("://").is_some_and(|(scheme, authority)| {
            let default_port = if scheme == "https" { ":443" } else { ":80" };
            !authority.is_empty() && authority.trim_end_matches(default_port) == host.trim_end_matches(default_port)
        })
    });
    !same_host || (server.https && origin.starts_with("http://"))
}

/// The address of the client's machine, to slow down guessing: of IPv6 the first 64 bits, which are one customer's.
pub(crate) fn client_address(extensions: &Extensions) -> String {
    let Some(ConnectInfo(address)) = extensions.get::<ConnectInfo<SocketAddr>>() else { return "unknown".to_owned() };
    match address.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}
