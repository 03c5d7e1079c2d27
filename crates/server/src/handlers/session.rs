//! Signing in and out.

use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use stet_app::{AppError, PasskeyAnswer, ProviderAnswer, SignIn};

use super::{Answer, Shared};
use crate::auth::{New, client_address};
use crate::error::Problem;
use crate::extract::{Body, Query};
use crate::state::Server;
use crate::views::session::{ProviderAnswerQuery, ProviderQuery, SessionView, SignInBody, SignInOptionsView};

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
    let passkey = body.passkey.map(PasskeyAnswer::from);
    let request =
        SignIn { login: body.login, password: body.password, code: body.code, passkey, client, agent, device };
    let signed_in = server.app.sign_in(request).await?;
    end_earlier(&server, &headers).await?;
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

/// What there is to sign in with beside a password.
#[utoipa::path(get, path = "/api/v1/session/options", tag = "session", security(()), responses(
    (status = 200, description = "The provider at which people can sign in, if there is one", body = SignInOptionsView),
))]
pub(crate) async fn options(State(server): Shared) -> Answer<SignInOptionsView> {
    Ok(Json(SignInOptionsView { provider: server.app.provider_name().map(str::to_owned) }))
}

/// Go to the provider to sign in (OpenID Connect).
#[utoipa::path(get, path = "/api/v1/session/provider", tag = "session", security(()), params(ProviderQuery), responses(
    (status = 303, description = "The browser is sent to the provider"),
    (status = 404, description = "There is no provider"),
))]
pub(crate) async fn begin_provider(
    State(server): Shared,
    Query(query): Query<ProviderQuery>,
) -> Result<Response, Problem> {
    match server.app.begin_provider_sign_in(&query.next).await {
        Ok(begun) => Ok(sent_on(&begun.address, [server.provider_cookie(&begun.cookie)])),
        Err(error) => not_signed_in(&server, error),
    }
}

/// Come back from the provider: the answer sets the session cookie.
#[utoipa::path(get, path = "/api/v1/session/provider/callback", tag = "session", security(()),
    params(ProviderAnswerQuery), responses(
        (status = 303, description = "Signed in, or to the sign-in page with the reason"),
        (status = 404, description = "There is no provider"),
    ))]
pub(crate) async fn end_provider(
    State(server): Shared,
    extensions: Extensions,
    headers: HeaderMap,
    Query(query): Query<ProviderAnswerQuery>,
) -> Result<Response, Problem> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    let answer = ProviderAnswer {
        cookie: server.provider_sign_in(&headers).to_owned(),
        code: query.code,
        state: query.state,
        issuer: query.iss,
        error: query.error,
        client: client_address(&extensions),
        agent,
    };
    match server.app.end_provider_sign_in(answer).await {
        Ok((signed_in, next)) => {
            end_earlier(&server, &headers).await?;
            let cookies = [server.session_cookie(&signed_in.secret), server.provider_cookie("")];
            Ok(sent_on(&next, cookies))
        }
        Err(error) => not_signed_in(&server, error),
    }
}

/// Ends the session that the browser had before: it is of no use to anybody any more.
async fn end_earlier(server: &Server, headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(secret) = server.session_secret(headers)
        && let Ok((actor, _)) = server.app.actor_of_new_session(secret).await
    {
        server.app.sign_out(&actor, secret).await?;
        server.session_ended();
    }
    Ok(())
}

/// Sends a browser to the sign-in page, which says why.
fn not_signed_in(server: &Server, error: AppError) -> Result<Response, Problem> {
    let reason = match error {
        AppError::WrongCredentials | AppError::Refused(_) => "failed",
        AppError::NotAllowed(_) => "unknown",
        AppError::Unavailable(_) => "away",
        AppError::Configuration(_) => {
            // Writes to the log what the administrator has to mend.
            let _ = Problem::from(error);
            "away"
        }
        error => return Err(error.into()),
    };
    Ok(sent_on(&format!("/signin?refused={reason}"), [server.provider_cookie("")]))
}

fn sent_on<const COUNT: usize>(address: &str, cookies: [Option<HeaderValue>; COUNT]) -> Response {
    let mut response = Redirect::to(address).into_response();
    for cookie in cookies.into_iter().flatten() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
