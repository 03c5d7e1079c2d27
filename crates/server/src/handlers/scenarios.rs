//! Scenarios.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::{Path, Query};
use crate::views::deploy::{RunView, RunsView, ScenarioView, ScenariosView};

/// The most runs in a list.
const LISTED_MAX: usize = 100;

/// The scenarios of a project, each with its last run.
#[utoipa::path(get, path = "/api/v1/projects/{project}/scenarios", tag = "scenarios", params(("project" = String, Path)),
    responses((status = 200, description = "The scenarios", body = ScenariosView)))]
pub(crate) async fn list(State(server): Shared, signed: Signed, Path(project): Path<String>) -> Answer<ScenariosView> {
    let scenarios = server.app.scenarios(&signed.actor, &project).await?;
    let scenarios = scenarios.iter().map(|(scenario, last)| ScenarioView::new(scenario, last.as_ref())).collect();
    Ok(Json(ScenariosView { scenarios }))
}

/// Run a scenario. It goes on by itself: ask for the run.
#[utoipa::path(post, path = "/api/v1/projects/{project}/scenarios/{scenario}/runs", tag = "scenarios",
    params(("project" = String, Path), ("scenario" = String, Path)), responses(
        (status = 202, description = "Started", body = RunView),
        (status = 409, description = "It is running already"),
    ))]
pub(crate) async fn start(
    State(server): Shared,
    signed: Signed,
    Path((project, scenario)): Path<(String, String)>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let run = server.app.start_scenario(&signed.actor, &project, &scenario).await?;
    Ok((StatusCode::ACCEPTED, Json(RunView::from(&run))))
}

#[derive(Deserialize)]
pub(crate) struct RunsQuery {
    scenario: Option<String>,
}

/// The runs of a project's scenarios, or of one of them, newest first.
#[utoipa::path(get, path = "/api/v1/projects/{project}/runs", tag = "scenarios",
    params(("project" = String, Path), ("scenario" = Option<String>, Query)),
    responses((status = 200, description = "The runs", body = RunsView)))]
pub(crate) async fn runs(
    State(server): Shared,
    signed: Signed,
    Path(project): Path<String>,
    Query(query): Query<RunsQuery>,
) -> Answer<RunsView> {
    let runs = server.app.scenario_runs(&signed.actor, &project, query.scenario.as_deref(), LISTED_MAX).await?;
    Ok(Json(RunsView { runs: runs.iter().map(RunView::from).collect() }))
}

/// A run with its log.
#[utoipa::path(get, path = "/api/v1/projects/{project}/runs/{id}", tag = "scenarios",
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, description = "The run", body = RunView)))]
pub(crate) async fn run(
    State(server): Shared,
    signed: Signed,
    Path((project, id)): Path<(String, String)>,
) -> Answer<RunView> {
    let id = id.parse().map_err(|_| Problem::not_found("such run"))?;
    let (run, log) = server.app.scenario_run(&signed.actor, &project, id).await?;
    Ok(Json(RunView::with_log(&run, &log)))
}
