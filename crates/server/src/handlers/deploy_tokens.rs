//! Tokens with which other nodes bring their bundles here, for administrators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::{Body, Path};
use crate::views::deploy_token::{DeployTokenView, DeployTokensView, NewDeployTokenBody, NewDeployTokenView};

/// The deploy tokens, newest first, without their secrets, which nobody has.
#[utoipa::path(get, path = "/api/v1/deploy-tokens", tag = "deployment",
    responses((status = 200, description = "The tokens", body = DeployTokensView)))]
pub(crate) async fn list(State(server): Shared, signed: Signed) -> Answer<DeployTokensView> {
    let now = server.app.clock().now();
    let tokens = server.app.deploy_tokens(&signed.actor).await?;
    Ok(Json(DeployTokensView { tokens: tokens.iter().map(|token| DeployTokenView::new(token, now)).collect() }))
}

/// Add a token with which another node brings its bundles here. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/deploy-tokens", tag = "deployment", request_body = NewDeployTokenBody, responses(
    (status = 201, description = "Added", body = NewDeployTokenView),
    (status = 409, description = "The name is taken"),
))]
pub(crate) async fn add(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<NewDeployTokenBody>,
) -> Result<(StatusCode, Json<NewDeployTokenView>), Problem> {
    let scopes = body.scopes().map_err(Problem::refused)?;
    let days = body.days().map_err(Problem::refused)?;
    let token = server.app.add_deploy_token(&signed.actor, &body.name, days, scopes).await?;
    let answer = NewDeployTokenView {
        name: body.name,
        token,
        node_id: server.app.node_id().to_string(),
        address: server.app.config().public_url.clone(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// End a deploy token at once.
#[utoipa::path(delete, path = "/api/v1/deploy-tokens/{token}", tag = "deployment", params(("token" = String, Path)),
    responses((status = 204, description = "Revoked")))]
pub(crate) async fn revoke(
    State(server): Shared,
    signed: Signed,
    Path(token): Path<String>,
) -> Result<StatusCode, Problem> {
    server.app.revoke_deploy_token(&signed.actor, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
