//! Projects and their flows.

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::Path;
use crate::sse;
use crate::views::flow::FlowView;
use crate::views::project::{ProjectDetailView, ProjectView, ProjectsView};

/// The projects of the node.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", responses(
    (status = 200, description = "The projects", body = ProjectsView),
))]
pub(crate) async fn list(State(server): Shared, signed: Signed) -> Answer<ProjectsView> {
    let projects = server.app.projects(&signed.actor);
    let projects = projects
        .iter()
        .map(|(key, project)| match project {
            Ok(project) => ProjectView::new(project, &server.app.webapps(&signed.actor, project)),
            Err(error) => ProjectView::broken(key, error),
        })
        .collect();
    Ok(Json(ProjectsView { projects }))
}

/// A project.
#[utoipa::path(get, path = "/api/v1/projects/{project}", tag = "projects", params(("project" = String, Path)), responses(
    (status = 200, description = "The project", body = ProjectDetailView),
))]
pub(crate) async fn show(
    State(server): Shared,
    signed: Signed,
    Path(project): Path<String>,
) -> Answer<ProjectDetailView> {
    let found = server.app.project(&signed.actor, &project)?;
    let datasets = server.app.datasets(&signed.actor, &project).await?;
    let webapps = server.app.webapps(&signed.actor, &found);
    Ok(Json(ProjectDetailView::new(ProjectView::new(&found, &webapps), &datasets)))
}

/// The datasets and recipes of a project as a graph, and what in it is stale.
#[utoipa::path(get, path = "/api/v1/projects/{project}/flow", tag = "projects", params(("project" = String, Path)),
    responses((status = 200, description = "The flow", body = FlowView)))]
pub(crate) async fn flow(State(server): Shared, signed: Signed, Path(project): Path<String>) -> Answer<FlowView> {
    Ok(Json(server.app.flow(&signed.actor, &project).await?.into()))
}

/// What happens in a project: `job` (a build without its log), `log` (`{job, at, text}`), `flow` (`{}`: ask for the flow
/// again), `goodbye` (`{reason}`).
#[utoipa::path(get, path = "/api/v1/projects/{project}/events", tag = "projects", params(("project" = String, Path)),
    responses((status = 200, description = "A stream of server-sent events", content_type = "text/event-stream")))]
pub(crate) async fn events(
    State(server): Shared,
    signed: Signed,
    Path(project): Path<String>,
) -> Result<Response, Problem> {
    sse::of_project(server, signed, project)
}
