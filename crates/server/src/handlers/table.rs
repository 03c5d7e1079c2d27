//! The table of a webapp.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use uuid::Uuid;

use super::{Answer, Shared};
use crate::auth::{Anybody, Signed};
use crate::error::Problem;
use crate::extract::{Body, Path, Query};
use crate::sse;
use crate::state::ListenerPlace;
use crate::views::edit::{EditAnswerView, EditsBody, status};
use crate::views::groups::{GroupsQuery, GroupsView};
use crate::views::table::{
    HistoryQuery, HistoryView, LinkOptionsView, LinksQuery, PageView, PresenceBody, ReloadedView, RowsBody, WebappView,
};
use crate::views::wait::WaitView;

/// The webapp: its columns, rules and rights.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webapps/{webapp}", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path)),
    responses((status = 200, description = "The webapp", body = WebappView)))]
pub(crate) async fn show(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
) -> Answer<WebappView> {
    Ok(Json((&server.app.describe_webapp(&signed.actor, &project, &webapp).await?).into()))
}

/// Rows of the table, filtered and sorted. A request that reads; it is a POST for the size of what is asked.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webapps/{webapp}/rows/query", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = RowsBody,
    responses((status = 200, description = "The rows", body = PageView)))]
pub(crate) async fn rows(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Body(mut body): Body<RowsBody>,
) -> Answer<PageView> {
    let (window, expected) = (body.window(), body.snapshot.take());
    let page = match body.as_of.take() {
        None => server.app.rows(&signed.actor, &project, &webapp, body.query()?, window).await?,
        Some(as_of) => {
            let (as_of, query) = (as_of.parse()?, body.query()?);
            // An earlier state is always counted before the answer.
            let (offset, limit) = (window.offset, window.limit);
            server.app.rows_as_of(&signed.actor, &project, &webapp, as_of, query, offset, limit).await?
        }
    };
    if expected.is_some_and(|expected| expected != page.snapshot) {
        return Err(Problem::conflict("the original was loaded again in the meantime: ask for the rows anew")
            .with("snapshot", page.snapshot));
    }
    Ok(Json(page.into()))
}

/// Groups of rows that have the same values in some columns, with how many rows each has, edits of this second included.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webapps/{webapp}/groups", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path), GroupsQuery),
    responses((status = 200, description = "The groups", body = GroupsView)))]
pub(crate) async fn groups(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Query(query): Query<GroupsQuery>,
) -> Answer<GroupsView> {
    let (offset, limit) = (query.offset, query.limit);
    let query = query.query()?;
    let by = query.query.by.clone();
    let groups = server.app.row_groups(&signed.actor, &project, &webapp, query, offset, limit).await?;
    Ok(Json(GroupsView::new(by, groups)))
}

/// How far the rows or groups are that a request of one's own waits for, by the `wait` that it was sent with.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webapps/{webapp}/waits/{wait}", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path), ("wait" = String, Path)),
    responses((status = 200, description = "How far they are", body = WaitView)))]
pub(crate) async fn wait(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp, wait)): Path<(String, String, Uuid)>,
) -> Answer<WaitView> {
    Ok(Json(server.app.wait_progress(&signed.actor, &project, &webapp, wait)?.into()))
}

/// Wait no longer for rows or groups. Work for them is given up at once unless somebody else waits for the same.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/webapps/{webapp}/waits/{wait}", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path), ("wait" = String, Path)),
    responses((status = 204, description = "Nothing waits by this name any more")))]
pub(crate) async fn cancel_wait(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp, wait)): Path<(String, String, Uuid)>,
) -> Result<StatusCode, Problem> {
    server.app.cancel_wait(&signed.actor, &project, &webapp, wait)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Edit cells and rows. Every edit is checked by the same rules; what passes is saved durably before the answer, the
/// others are given back with the reason.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webapps/{webapp}/edits", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = EditsBody,
    responses((status = 200, description = "What became of each edit", body = EditAnswerView)))]
pub(crate) async fn edit(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Body(body): Body<EditsBody>,
) -> Answer<EditAnswerView> {
    let request = body.request()?;
    let source = request.source.as_str();
    let answer = server.app.edit(&signed.actor, &project, &webapp, request).await?;
    for result in &answer.results {
        server.metrics.edits(source, status(result), 1);
    }
    Ok(Json(EditAnswerView::from(answer)))
}

/// What happened to a cell, or to a row.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webapps/{webapp}/history", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path), HistoryQuery),
    responses((status = 200, description = "The events, newest first", body = HistoryView)))]
pub(crate) async fn history(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Query(query): Query<HistoryQuery>,
) -> Answer<HistoryView> {
    let history = server.app.history(&signed.actor, &project, &webapp, &query.key, query.column.as_deref()).await?;
    Ok(Json(history.into()))
}

/// Choices for a linked column.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webapps/{webapp}/links/{column}", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path), ("column" = String, Path), LinksQuery),
    responses((status = 200, description = "The choices, best first", body = LinkOptionsView)))]
pub(crate) async fn links(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp, column)): Path<(String, String, String)>,
    Query(query): Query<LinksQuery>,
) -> Answer<LinkOptionsView> {
    let found = server.app.link_options(&signed.actor, &project, &webapp, &column, &query.term, query.limit).await?;
    Ok(Json(found.into()))
}

/// Tell the others at the table where one is.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webapps/{webapp}/presence", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = PresenceBody,
    responses((status = 204, description = "Told")))]
pub(crate) async fn presence(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Body(body): Body<PresenceBody>,
) -> Result<StatusCode, Problem> {
    let PresenceBody { session, key, column, editing } = body;
    let session = session.or_else(|| server.streams.listener(&listener_place(&signed, &project, &webapp)));
    match session {
        Some(session) => {
            server.app.set_presence(&signed.actor, &project, &webapp, session, key, column, editing).await?;
        }
        // Somebody who does not listen is not at the table; whether there is one is told all the same.
        None => drop(server.app.describe_webapp(&signed.actor, &project, &webapp).await?),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Load the rebuilt original. Edits stay as they are.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webapps/{webapp}/reload", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path)),
    responses((status = 202, description = "Loaded", body = ReloadedView)))]
pub(crate) async fn reload(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
) -> Result<(StatusCode, Json<ReloadedView>), Problem> {
    let snapshot = server.app.reload_original(&signed.actor, &project, &webapp).await?;
    Ok((StatusCode::ACCEPTED, Json(ReloadedView { snapshot })))
}

/// What happens to the table: `hello`, `edit`, `presence`, `original`, `reloaded`, `goodbye`.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webapps/{webapp}/events", tag = "table",
    params(("project" = String, Path), ("webapp" = String, Path)),
    responses((status = 200, description = "A stream of server-sent events", content_type = "text/event-stream")))]
pub(crate) async fn events(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let place = listener_place(&signed, &project, &webapp);
    sse::of_table(server, signed, place).await
}

fn listener_place(signed: &Signed, project: &str, webapp: &str) -> ListenerPlace {
    ListenerPlace {
        secret: signed.credential.secret().to_owned(),
        project: project.to_owned(),
        webapp: webapp.to_owned(),
    }
}
