//! One's passkeys, and approving with them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Answer, Shared};
use crate::auth::{New, Signed};
use crate::error::Problem;
use crate::extract::{Body, Path};
use crate::views::account::{PasswordBody, RecoveryCodesView};
use crate::views::passkey::{
    ApprovalRequestView, NewApprovalBody, NewPasskeyBody, PasskeyCreationView, PasskeyView, PasskeysView,
};

/// One's passkeys.
#[utoipa::path(get, path = "/api/v1/account/passkeys", tag = "account", responses(
    (status = 200, description = "The passkeys, oldest first", body = PasskeysView),
))]
pub(crate) async fn list(State(server): Shared, New { signed, .. }: New) -> Answer<PasskeysView> {
    let passkeys = server.app.passkeys(&signed.actor).await?;
    Ok(Json(PasskeysView { passkeys: passkeys.into_iter().map(PasskeyView::from).collect() }))
}

/// Begin a passkey. It is there once the browser has made it.
#[utoipa::path(post, path = "/api/v1/account/passkeys/begin", tag = "account", request_body = PasswordBody, responses(
    (status = 200, description = "What the browser needs to make it", body = PasskeyCreationView),
    (status = 422, description = "The password is another one"),
))]
pub(crate) async fn begin(
    State(server): Shared,
    New { signed, .. }: New,
    Body(body): Body<PasswordBody>,
) -> Answer<PasskeyCreationView> {
    let secret = signed.credential.secret();
    Ok(Json(server.app.begin_passkey(&signed.actor, secret, body.password).await?.into()))
}

/// Add the passkey that the browser made. Sessions that were begun with the password alone end, but for this one. The answer
/// has recovery codes, this once, if there were none.
#[utoipa::path(post, path = "/api/v1/account/passkeys", tag = "account", request_body = NewPasskeyBody, responses(
    (status = 201, description = "Added", body = RecoveryCodesView),
    (status = 422, description = "It is not what was asked for"),
))]
pub(crate) async fn add(
    State(server): Shared,
    New { signed, .. }: New,
    Body(body): Body<NewPasskeyBody>,
) -> Result<(StatusCode, Json<RecoveryCodesView>), Problem> {
    let recovery_codes = server.app.add_passkey(&signed.actor, signed.credential.secret(), body.into()).await?;
    server.session_ended();
    Ok((StatusCode::CREATED, Json(RecoveryCodesView { recovery_codes })))
}

/// Take one of one's passkeys away.
#[utoipa::path(post, path = "/api/v1/account/passkeys/{passkey}/remove", tag = "account",
    params(("passkey" = String, Path)), request_body = PasswordBody, responses(
        (status = 204, description = "Taken away"),
        (status = 409, description = "It is the last second factor, and the node asks for one"),
    ))]
pub(crate) async fn remove(
    State(server): Shared,
    signed: Signed,
    Path(passkey): Path<String>,
    Body(body): Body<PasswordBody>,
) -> Result<StatusCode, Problem> {
    server.app.remove_passkey(&signed.actor, signed.credential.secret(), &passkey, body.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begin an approval that a passkey signs: what it signs is the hash of the statement. The envelope that comes of it is
/// brought to `POST …/approvals`.
#[utoipa::path(post, path = "/api/v1/bundles/{digest}/approvals/begin", tag = "deployment",
    params(("digest" = String, Path)), request_body = NewApprovalBody,
    responses((status = 200, description = "What is to be signed", body = ApprovalRequestView)))]
pub(crate) async fn begin_approval(
    State(server): Shared,
    signed: Signed,
    Path(digest): Path<String>,
    Body(body): Body<NewApprovalBody>,
) -> Answer<ApprovalRequestView> {
    Ok(Json(server.app.begin_approval(&signed.actor, &digest, body.into()).await?.into()))
}
