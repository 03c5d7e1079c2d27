//! Projects and their flows.

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::{Body, Path};
use crate::sse;
use crate::views::access::{PermissionsBody, ProjectAccessView, WebappAccessBody};
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
    let permissions = server.app.permissions(&signed.actor, &found);
    Ok(Json(ProjectDetailView::new(ProjectView::new(&found, &webapps), &datasets, permissions)))
}

/// Who may do what in a project, for its administrators.
#[utoipa::path(get, path = "/api/v1/projects/{project}/access", tag = "projects", params(("project" = String, Path)),
    responses((status = 200, description = "Permissions, and the access to webapps", body = ProjectAccessView)))]
pub(crate) async fn access(
    State(server): Shared,
    signed: Signed,
    Path(project): Path<String>,
) -> Answer<ProjectAccessView> {
    Ok(Json(server.app.project_access(&signed.actor, &project).await?.into()))
}

/// Changes what a project gives to whom, in its file.
#[utoipa::path(put, path = "/api/v1/projects/{project}/access", tag = "projects", params(("project" = String, Path)),
    request_body = PermissionsBody, responses(
    (status = 200, description = "As it is now", body = ProjectAccessView),
    (status = 409, description = "The file was changed meanwhile, or cannot be changed here"),
))]
pub(crate) async fn set_permissions(
    State(server): Shared,
    signed: Signed,
    Path(project): Path<String>,
    Body(body): Body<PermissionsBody>,
) -> Answer<ProjectAccessView> {
    let permissions = body.permissions()?;
    server.app.set_project_permissions(&signed.actor, &project, &body.version, permissions).await?;
    access(State(server), signed, Path(project)).await
}

/// Changes who may use a webapp, in its file.
#[utoipa::path(put, path = "/api/v1/projects/{project}/webapps/{webapp}/access", tag = "projects",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = WebappAccessBody, responses(
    (status = 200, description = "As it is now in the whole project", body = ProjectAccessView),
    (status = 409, description = "The file was changed meanwhile, or cannot be changed here"),
))]
pub(crate) async fn set_webapp_access(
    State(server): Shared,
    signed: Signed,
    Path((project, webapp)): Path<(String, String)>,
    Body(body): Body<WebappAccessBody>,
) -> Answer<ProjectAccessView> {
    let wanted = body.access()?;
    server.app.set_webapp_access(&signed.actor, &project, &webapp, &body.version, wanted).await?;
    access(State(server), signed, Path(project)).await
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
