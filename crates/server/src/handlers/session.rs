//! Signing in and out.

use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use stet_app::SignIn;

use super::{Answer, Shared};
use crate::auth::{New, client_address};
use crate::error::Problem;
use crate::extract::Body;
use crate::views::session::{SessionView, SignInBody};

/// Sign in: the answer sets the session cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", security(()), request_body = SignInBody, responses(
    (status = 200, description = "Signed in", body = SessionView),
    (status = 401, description = "The login and password do not match; or `second-factor`: they do, and the code is missing"),
    (status = 429, description = "Too many attempts: wait as long as `Retry-After` says"),
))]
pub(crate) async fn sign_in(
    State(server): Shared,
    extensions: Extensions,
    headers: HeaderMap,
    Body(body): Body<SignInBody>,
) -> Result<Response, Problem> {
    let client = client_address(&extensions);
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    let device = server.device_secret(&headers).map(str::to_owned);
    let request = SignIn { login: body.login, password: body.password, code: body.code, client, agent, device };
    let signed_in = server.app.sign_in(request).await?;
    // The session that the browser had before is of no use to anybody any more.
    if let Some(secret) = server.session_secret(&headers)
        && let Ok(actor) = server.app.actor_of_new_session(secret).await.map(|(actor, _)| actor)
    {
        server.app.sign_out(&actor, secret).await?;
        server.session_ended();
    }
    let mut response =
        Json(SessionView::new(&signed_in.actor, server.app.config(), signed_in.second_factor_due)).into_response();
    let cookie = server.session_cookie(&signed_in.secret).ok_or_else(Problem::internal)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    if let Some(cookie) = server.device_cookie(&signed_in.device) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses(
    (status = 200, description = "Who is signed in", body = SessionView),
))]
pub(crate) async fn show(State(server): Shared, New { signed, due }: New) -> Answer<SessionView> {
    Ok(Json(SessionView::new(&signed.actor, server.app.config(), due)))
}

/// Sign out: the session ends at once, and the streams with it.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses(
    (status = 204, description = "Signed out"),
))]
pub(crate) async fn sign_out(State(server): Shared, New { signed, .. }: New) -> Result<Response, Problem> {
    server.app.sign_out(&signed.actor, signed.credential.secret()).await?;
    server.session_ended();
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = server.no_session_cookie() {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
