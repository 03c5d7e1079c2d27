//! Builds.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use stet_app::JobId;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::{Body, Path};
use crate::views::build::{BuildBody, JobView, JobsView};

/// The most builds in a list.
const LISTED_MAX: usize = 100;

/// Start a build. It goes on by itself: watch the project's events, or ask for the build.
#[utoipa::path(post, path = "/api/v1/projects/{project}/builds", tag = "builds", params(("project" = String, Path)),
    request_body = BuildBody, responses(
        (status = 202, description = "Started", body = JobView),
        (status = 409, description = "The dataset is being built already"),
    ))]
pub(crate) async fn start(
    State(server): Shared,
    signed: Signed,
    Path(project): Path<String>,
    Body(body): Body<BuildBody>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let job = server.app.start_build(&signed.actor, &project, &body.dataset, body.mode.into()).await?;
    Ok((StatusCode::ACCEPTED, Json(JobView::from(&job))))
}

/// The builds of a project, newest first, without their logs.
#[utoipa::path(get, path = "/api/v1/projects/{project}/builds", tag = "builds", params(("project" = String, Path)),
    responses((status = 200, description = "The builds", body = JobsView)))]
pub(crate) async fn list(State(server): Shared, signed: Signed, Path(project): Path<String>) -> Answer<JobsView> {
    let jobs = server.app.list_builds(&signed.actor, &project, LISTED_MAX).await?;
    Ok(Json(JobsView { jobs: jobs.iter().map(JobView::from).collect() }))
}

/// A build with its log.
#[utoipa::path(get, path = "/api/v1/projects/{project}/builds/{id}", tag = "builds",
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, description = "The build", body = JobView)))]
pub(crate) async fn show(
    State(server): Shared,
    signed: Signed,
    Path((project, id)): Path<(String, String)>,
) -> Answer<JobView> {
    let (job, log) = server.app.build(&signed.actor, &project, job_id(&id)?).await?;
    Ok(Json(JobView::with_log(&job, &log)))
}

/// Ask a build to stop.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/builds/{id}", tag = "builds",
    params(("project" = String, Path), ("id" = String, Path)), responses(
        (status = 202, description = "Asked", body = JobView),
        (status = 409, description = "It has ended already"),
    ))]
pub(crate) async fn cancel(
    State(server): Shared,
    signed: Signed,
    Path((project, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let job = server.app.cancel_build(&signed.actor, &project, job_id(&id)?).await?;
    Ok((StatusCode::ACCEPTED, Json(JobView::from(&job))))
}

fn job_id(id: &str) -> Result<JobId, Problem> {
    id.parse().map_err(|_| Problem::not_found("such build"))
}
