//! The nodes to which this one sends bundles, and sending. No answer has a token in it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use uuid::Uuid;

use super::bundles::Bringer;
use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::{Body, Path};
use crate::views::target::{NewTargetBody, NodeView, PushBody, PushView, TargetTestView, TargetView, TargetsView};

/// Which node this is and what its clock shows, for whoever brings bundles. A deploy token is enough.
#[utoipa::path(get, path = "/api/v1/node", tag = "deployment",
    responses((status = 200, description = "The node", body = NodeView)))]
pub(crate) async fn node(State(server): Shared, Bringer(actor): Bringer) -> Answer<NodeView> {
    Ok(Json(NodeView::from(&server.app.identity(&actor)?)))
}

/// The nodes to which this one sends bundles, without their tokens.
#[utoipa::path(get, path = "/api/v1/targets", tag = "deployment",
    responses((status = 200, description = "The nodes by name", body = TargetsView)))]
pub(crate) async fn list(State(server): Shared, signed: Signed) -> Answer<TargetsView> {
    let targets = server.app.targets(&signed.actor).await?;
    Ok(Json(TargetsView { targets: targets.into_iter().map(TargetView::from).collect() }))
}

/// Add a node to which this one sends bundles. Its token is sealed and never shown again.
#[utoipa::path(post, path = "/api/v1/targets", tag = "deployment", request_body = NewTargetBody, responses(
    (status = 201, description = "Added"),
    (status = 409, description = "The name is taken"),
))]
pub(crate) async fn add(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<NewTargetBody>,
) -> Result<StatusCode, Problem> {
    server.app.add_target(&signed.actor, body.into()).await?;
    Ok(StatusCode::CREATED)
}

/// Take a node away, with its token.
#[utoipa::path(delete, path = "/api/v1/targets/{target}", tag = "deployment", params(("target" = String, Path)),
    responses((status = 204, description = "Taken away")))]
pub(crate) async fn remove(
    State(server): Shared,
    signed: Signed,
    Path(target): Path<String>,
) -> Result<StatusCode, Problem> {
    server.app.remove_target(&signed.actor, &target).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask a node who it is, with the token that is known of it.
#[utoipa::path(post, path = "/api/v1/targets/{target}/test", tag = "deployment", params(("target" = String, Path)),
    responses((status = 200, description = "Whether it answers, and if not, why", body = TargetTestView)))]
pub(crate) async fn test(State(server): Shared, signed: Signed, Path(target): Path<String>) -> Answer<TargetTestView> {
    Ok(Json(server.app.test_target(&signed.actor, &target).await?.into()))
}

/// Send a bundle to another node. One that is being sent there is not sent twice.
#[utoipa::path(post, path = "/api/v1/bundles/{digest}/push", tag = "deployment", params(("digest" = String, Path)),
    request_body = PushBody, responses((status = 202, description = "It is under way", body = PushView)))]
pub(crate) async fn push(
    State(server): Shared,
    signed: Signed,
    Path(digest): Path<String>,
    Body(body): Body<PushBody>,
) -> Result<(StatusCode, Json<PushView>), Problem> {
    let push = server.app.start_push(&signed.actor, &digest, &body.target, body.activate).await?;
    Ok((StatusCode::ACCEPTED, Json(push.into())))
}

/// How far a bundle that is being sent has come, and what the other node said.
#[utoipa::path(get, path = "/api/v1/pushes/{push}", tag = "deployment", params(("push" = String, Path)),
    responses((status = 200, description = "How it stands", body = PushView)))]
pub(crate) async fn pushed(State(server): Shared, signed: Signed, Path(push): Path<Uuid>) -> Answer<PushView> {
    Ok(Json(server.app.push_state(&signed.actor, push)?.into()))
}
