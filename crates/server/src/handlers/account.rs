//! One's own account: sessions, password, API tokens.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use stet_app::NewToken;
use stet_domain::access::Scopes;

use super::{Answer, Shared};
use crate::auth::{New, Signed};
use crate::error::Problem;
use crate::extract::{Body, Path};
use crate::views::account::{CodeBody, EnrolmentView, PasswordBody, RecoveryCodesView, SecondFactorView};
use crate::views::admin::{
    NewTokenBody, PasswordChangeBody, SessionsView, TokenSecretView, TokenView, TokensView, scopes,
};

/// The sessions of whoever asks.
#[utoipa::path(get, path = "/api/v1/account/sessions", tag = "account", responses(
    (status = 200, description = "The sessions, newest first", body = SessionsView),
))]
pub(crate) async fn sessions(State(server): Shared, signed: Signed) -> Answer<SessionsView> {
    Ok(Json(server.app.sessions(&signed.actor, signed.credential.secret()).await?.into()))
}

/// End one of one's sessions.
#[utoipa::path(delete, path = "/api/v1/account/sessions/{session}", tag = "account", params(("session" = String, Path)),
    responses((status = 204, description = "Ended")))]
pub(crate) async fn end_session(
    State(server): Shared,
    signed: Signed,
    Path(session): Path<String>,
) -> Result<StatusCode, Problem> {
    server.app.end_session(&signed.actor, &session).await?;
    server.session_ended();
    Ok(StatusCode::NO_CONTENT)
}

/// Change one's password; the other sessions end.
#[utoipa::path(post, path = "/api/v1/account/password", tag = "account", request_body = PasswordChangeBody, responses(
    (status = 204, description = "Changed"),
    (status = 422, description = "The present password is another one, or the new one is too short"),
))]
pub(crate) async fn password(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<PasswordChangeBody>,
) -> Result<StatusCode, Problem> {
    let secret = signed.credential.secret();
    server.app.change_password(&signed.actor, secret, body.current_password, body.new_password).await?;
    server.session_ended();
    Ok(StatusCode::NO_CONTENT)
}

/// One's API tokens, without their secrets, which nobody has.
#[utoipa::path(get, path = "/api/v1/account/tokens", tag = "account", responses(
    (status = 200, description = "The tokens, newest first", body = TokensView),
))]
pub(crate) async fn tokens(State(server): Shared, signed: Signed) -> Answer<TokensView> {
    let now = server.app.clock().now();
    let tokens = server.app.tokens_of(&signed.actor, signed.actor.login.as_str()).await?;
    Ok(Json(TokensView { tokens: tokens.iter().map(|token| TokenView::new(token, now)).collect() }))
}

/// Add an API token. The answer shows its secret, this once.
#[utoipa::path(post, path = "/api/v1/account/tokens", tag = "account", request_body = NewTokenBody, responses(
    (status = 201, description = "Added", body = TokenSecretView),
    (status = 409, description = "There is a token of this name"),
))]
pub(crate) async fn add_token(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<NewTokenBody>,
) -> Result<(StatusCode, Json<TokenSecretView>), Problem> {
    let scopes = body.scopes.as_deref().map_or(Ok(Scopes::ALL), scopes)?;
    let token = NewToken { login: signed.actor.login.to_string(), name: body.name, days: body.days, scopes };
    let secret = server.app.add_token(&signed.actor, token).await?;
    Ok((StatusCode::CREATED, Json(TokenSecretView { token: secret })))
}

/// End one of one's API tokens at once.
#[utoipa::path(delete, path = "/api/v1/account/tokens/{name}", tag = "account", params(("name" = String, Path)),
    responses((status = 204, description = "Ended")))]
pub(crate) async fn revoke_token(
    State(server): Shared,
    signed: Signed,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    server.app.revoke_token(&signed.actor, signed.actor.login.as_str(), &name).await?;
    server.session_ended();
    Ok(StatusCode::NO_CONTENT)
}

/// How one's second factor stands.
#[utoipa::path(get, path = "/api/v1/account/second-factor", tag = "account", responses(
    (status = 200, description = "Whether it is in force", body = SecondFactorView),
))]
pub(crate) async fn second_factor(State(server): Shared, New { signed, .. }: New) -> Answer<SecondFactorView> {
    Ok(Json(server.app.second_factor(&signed.actor).await?.into()))
}

/// Begin a second factor. It is in force once its first code is shown.
#[utoipa::path(post, path = "/api/v1/account/second-factor", tag = "account", request_body = PasswordBody, responses(
    (status = 200, description = "What an app on a phone makes codes of", body = EnrolmentView),
    (status = 422, description = "The password is another one, or a second factor is in force"),
))]
pub(crate) async fn begin_second_factor(
    State(server): Shared,
    New { signed, .. }: New,
    Body(body): Body<PasswordBody>,
) -> Answer<EnrolmentView> {
    let secret = signed.credential.secret();
    Ok(Json(server.app.begin_second_factor(&signed.actor, secret, body.password).await?.into()))
}

/// Show the first code: the second factor is in force. The answer has recovery codes, this once.
#[utoipa::path(post, path = "/api/v1/account/second-factor/confirm", tag = "account", request_body = CodeBody, responses(
    (status = 200, description = "In force", body = RecoveryCodesView),
    (status = 422, description = "The code is wrong"),
))]
pub(crate) async fn confirm_second_factor(
    State(server): Shared,
    New { signed, .. }: New,
    Body(body): Body<CodeBody>,
) -> Answer<RecoveryCodesView> {
    let recovery_codes =
        server.app.confirm_second_factor(&signed.actor, signed.credential.secret(), &body.code).await?;
    server.session_ended();
    Ok(Json(RecoveryCodesView { recovery_codes }))
}

/// Make new recovery codes, which the answer shows this once. The ones before open nothing any more.
#[utoipa::path(post, path = "/api/v1/account/second-factor/recovery-codes", tag = "account", request_body = PasswordBody,
    responses(
        (status = 200, description = "The new ones", body = RecoveryCodesView),
        (status = 409, description = "There is no second factor"),
        (status = 422, description = "The password is another one"),
    ))]
pub(crate) async fn renew_recovery_codes(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<PasswordBody>,
) -> Answer<RecoveryCodesView> {
    let secret = signed.credential.secret();
    let recovery_codes = server.app.renew_recovery_codes(&signed.actor, secret, body.password).await?;
    Ok(Json(RecoveryCodesView { recovery_codes }))
}

/// Take one's second factor away.
#[utoipa::path(post, path = "/api/v1/account/second-factor/remove", tag = "account", request_body = PasswordBody,
    responses(
        (status = 204, description = "Taken away"),
        (status = 409, description = "There is none, or the node asks for one"),
    ))]
pub(crate) async fn remove_second_factor(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<PasswordBody>,
) -> Result<StatusCode, Problem> {
    server.app.remove_second_factor(&signed.actor, signed.credential.secret(), body.password).await?;
    Ok(StatusCode::NO_CONTENT)
}
