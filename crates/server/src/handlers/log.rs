//! The log of a table, and taking edits back.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::{Body, Path, Query};
use crate::views::log::{LogPageView, LogQuery, RevertBody, RevertPlanView, RevertedView};
use crate::views::seal::SealView;

/// The log of a table, newest first, filtered.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webapps/{webapp}/log", tag = "log",
    params(("project" = String, Path), ("webapp" = String, Path), LogQuery),
    responses((status = 200, description = "The events, newest first", body = LogPageView)))]
pub(crate) async fn show(
    State(server): Shared,
    signed: Signed,
    Path((project, webapp)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
) -> Answer<LogPageView> {
    let (before, limit) = (query.before(), query.limit());
    let page = server.app.search_log(&signed.actor, &project, &webapp, query.filter()?, before, limit).await?;
    Ok(Json(page.into()))
}

/// How the log of a table stands: sealed up to where, pushed to which places, and the last verification.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webapps/{webapp}/log/seal", tag = "log",
    params(("project" = String, Path), ("webapp" = String, Path)),
    responses((status = 200, description = "How it stands", body = SealView)))]
pub(crate) async fn seal(
    State(server): Shared,
    signed: Signed,
    Path((project, webapp)): Path<(String, String)>,
) -> Answer<SealView> {
    Ok(Json(server.app.seal_state(&signed.actor, &project, &webapp).await?.into()))
}

/// Verify the log of a table, in the background: `…/log/seal` tells how far it is and what came out.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webapps/{webapp}/log/verification", tag = "log",
    params(("project" = String, Path), ("webapp" = String, Path)),
    responses((status = 202, description = "It is under way", body = SealView),
        (status = 409, description = "One of this log is under way already")))]
pub(crate) async fn verify(
    State(server): Shared,
    signed: Signed,
    Path((project, webapp)): Path<(String, String)>,
) -> Result<(StatusCode, Json<SealView>), Problem> {
    server.app.start_verification(&signed.actor, &project, &webapp).await?;
    Ok((StatusCode::ACCEPTED, Json(server.app.seal_state(&signed.actor, &project, &webapp).await?.into())))
}

/// Stop the verification of the log of a table.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/webapps/{webapp}/log/verification", tag = "log",
    params(("project" = String, Path), ("webapp" = String, Path)),
    responses((status = 204, description = "It stops, if there was one")))]
pub(crate) async fn cancel_verification(
    State(server): Shared,
    signed: Signed,
    Path((project, webapp)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    server.app.cancel_verification(&signed.actor, &project, &webapp).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What would change if edits were taken back. Nothing is written.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webapps/{webapp}/revert/plan", tag = "log",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = RevertBody,
    responses((status = 200, description = "What would change", body = RevertPlanView)))]
pub(crate) async fn plan(
    State(server): Shared,
    signed: Signed,
    Path((project, webapp)): Path<(String, String)>,
    Body(body): Body<RevertBody>,
) -> Answer<RevertPlanView> {
    let (filter, up_to) = body.scope()?;
    Ok(Json(server.app.plan_revert(&signed.actor, &project, &webapp, filter, up_to).await?.into()))
}

/// Take edits back, by new events. A cell that somebody edited later stays as it is.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webapps/{webapp}/revert", tag = "log",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = RevertBody,
    responses((status = 200, description = "What became of it", body = RevertedView)))]
pub(crate) async fn revert(
    State(server): Shared,
    signed: Signed,
    Path((project, webapp)): Path<(String, String)>,
    Body(mut body): Body<RevertBody>,
) -> Answer<RevertedView> {
    let reason = body.reason.take();
    let (filter, up_to) = body.scope()?;
    Ok(Json(server.app.revert(&signed.actor, &project, &webapp, filter, up_to, reason).await?.into()))
}
