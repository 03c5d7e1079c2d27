//! The log of a table, and taking edits back.

use axum::Json;
use axum::extract::State;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::extract::{Body, Path, Query};
use crate::views::log::{LogPageView, LogQuery, RevertBody, RevertPlanView, RevertedView};

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
