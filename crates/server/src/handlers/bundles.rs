//! Bundles and deployments.

use std::sync::Arc;

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use stet_app::{AppError, BundleSide, DEPLOY_TOKEN_PREFIX, NewBundle, UPLOAD_BYTES_MAX, cannot_write, read_bundle};
use stet_domain::{Actor, EventId, ProjectKey};
use tokio::io::AsyncWriteExt;
use tokio_stream::StreamExt;

use super::{Answer, Shared};
use crate::auth::{Signed, client_address};
use crate::error::Problem;
use crate::extract::{Body, Path, Query};
use crate::state::Server;
use crate::views::deploy::{
    ApprovalView, BundleDetailView, BundleView, BundlesView, DeploymentSummaryView, DeploymentView, DeploymentsView,
    DiffView, NewBundleBody, PlanEditsView, PlanView, RollbackBody,
};

/// Who may bring bundles: somebody who is signed in, or a program with a deploy token, which opens only routes that take
/// this.
pub(crate) struct Bringer(pub(crate) Actor);

impl FromRequestParts<Arc<Server>> for Bringer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Problem> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token.len() < 200)
            .map(|(_, token)| token.trim())
            .filter(|token| token.starts_with(DEPLOY_TOKEN_PREFIX));
        match token {
            Some(token) => {
                let actor = server.app.actor_of_deploy_token(token).await?;
                Ok(Bringer(actor.at(client_address(&parts.extensions))))
            }
            None => Ok(Bringer(Signed::from_request_parts(parts, server).await?.actor)),
        }
    }
}

/// Bring a bundle to this node: its archive is the body. It is read from end to end, and refused unless somebody who is
/// trusted here signed it for this node. A deploy token is enough.
#[utoipa::path(post, path = "/api/v1/bundles", tag = "deployment",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
        (status = 201, description = "Taken in", body = BundleView),
        (status = 408, description = "Nothing arrived of it for 30 seconds"),
        (status = 413, description = "It is larger than 1 GiB"),
        (status = 422, description = "It is refused, with the reason"),
    ))]
pub(crate) async fn bring(
    State(server): Shared,
    Bringer(actor): Bringer,
    headers: HeaderMap,
    body: RawBody,
) -> Result<(StatusCode, Json<BundleView>), Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > UPLOAD_BYTES_MAX) {
        return Err(Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let _place = server
        .uploads
        .try_acquire()
        .map_err(|_| Problem::too_many("other bundles are arriving at this moment: send it again shortly", 10))?;
    let file = server.app.incoming_bundle(&actor)?;
    let cannot = |error: std::io::Error| Problem::from(cannot_write(error));
    {
        let mut out = tokio::fs::File::from_std(file.reopen().map_err(cannot)?);
        let mut stream = body.into_data_stream();
        let mut bytes = 0u64;
        let idle = server.limits.upload_idle_timeout;
        while let Some(chunk) = tokio::time::timeout(idle, stream.next())
            .await
            .map_err(|_| Problem::of_status(StatusCode::REQUEST_TIMEOUT))?
        {
            let chunk = chunk.map_err(|_| Problem::malformed("the bundle did not arrive whole: send it again"))?;
            bytes += chunk.len() as u64;
            if bytes > UPLOAD_BYTES_MAX {
                return Err(Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            out.write_all(&chunk).await.map_err(cannot)?;
        }
        out.flush().await.map_err(cannot)?;
    }
    let bundle = server.app.receive_bundle(&actor, file.path()).await?;
    Ok((StatusCode::CREATED, Json(BundleView::from(&bundle))))
}

/// The bundles of a project that this node has, newest first.
#[utoipa::path(get, path = "/api/v1/projects/{project}/bundles", tag = "deployment", params(("project" = String, Path)),
    responses((status = 200, description = "The bundles", body = BundlesView)))]
pub(crate) async fn list(State(server): Shared, signed: Signed, Path(project): Path<String>) -> Answer<BundlesView> {
    let bundles = server.app.bundles(&signed.actor, &project).await?;
    Ok(Json(BundlesView { bundles: bundles.iter().map(BundleView::from).collect() }))
}

/// Make a bundle of a project as its files stand now. The same state gives the same bundle.
#[utoipa::path(post, path = "/api/v1/projects/{project}/bundles", tag = "deployment", params(("project" = String, Path)),
    request_body = NewBundleBody, responses((status = 201, description = "Made", body = BundleView)))]
pub(crate) async fn create(
    State(server): Shared,
    signed: Signed,
    Path(project): Path<String>,
    Body(body): Body<NewBundleBody>,
) -> Result<(StatusCode, Json<BundleView>), Problem> {
    let expires = body.expires.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose();
    let expires = expires.map_err(|_| Problem::refused("`expires` is a moment such as 2026-12-31T12:00:00Z"))?;
    let new = NewBundle { notes: body.notes, targets: body.targets, expires, with_data: body.with_data };
    let bundle = server.app.create_bundle(&signed.actor, &project, new).await?;
    Ok((StatusCode::CREATED, Json(BundleView::from(&bundle))))
}

/// A bundle with its manifest.
#[utoipa::path(get, path = "/api/v1/bundles/{digest}", tag = "deployment", params(("digest" = String, Path)),
    responses((status = 200, description = "The bundle", body = BundleDetailView)))]
pub(crate) async fn show(
    State(server): Shared,
    Bringer(actor): Bringer,
    Path(digest): Path<String>,
) -> Answer<BundleDetailView> {
    let bundle = server.app.bundle(&actor, &digest).await?;
    let path = bundle.path.clone();
    let read = tokio::task::spawn_blocking(move || read_bundle(&path)).await.map_err(AppError::internal)??;
    Ok(Json(BundleDetailView::new(&bundle, &read.manifest)))
}

/// The archive of a bundle, to carry it to another node.
#[utoipa::path(get, path = "/api/v1/bundles/{digest}/file", tag = "deployment", params(("digest" = String, Path)),
    responses((status = 200, description = "The archive", content_type = "application/octet-stream")))]
pub(crate) async fn download(
    State(server): Shared,
    signed: Signed,
    Path(digest): Path<String>,
) -> Result<Response, Problem> {
    let bundle = server.app.take_bundle(&signed.actor, &digest).await?;
    let file = tokio::fs::File::open(&bundle.path).await.map_err(AppError::internal)?;
    let chunks = tokio_stream::StreamExt::map(chunks_of(file), |chunk| chunk);
    let name = format!("attachment; filename=\"{}-{}.bundle\"", bundle.record.project, bundle.record.sequence);
    let disposition = HeaderValue::try_from(name).map_err(AppError::internal)?;
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, RawBody::from_stream(chunks)).into_response())
}

/// How much of a file is sent at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// The content of a file, piece by piece.
fn chunks_of(mut file: tokio::fs::File) -> impl tokio_stream::Stream<Item = std::io::Result<Vec<u8>>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    tokio::spawn(async move {
        use tokio::io::AsyncReadExt;
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let piece = file.read(&mut chunk).await.map(|read| {
                chunk.truncate(read);
                chunk
            });
            let last = piece.as_ref().map_or(true, Vec::is_empty);
            if piece.as_ref().is_ok_and(Vec::is_empty) || sender.send(piece).await.is_err() || last {
                return;
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

#[derive(Deserialize)]
pub(crate) struct DiffQuery {
    against: Option<String>,
}

/// What differs between a bundle and what is deployed here, or another bundle, or (`working`) the project's files as they
/// stand here.
#[utoipa::path(get, path = "/api/v1/bundles/{digest}/diff", tag = "deployment",
    params(("digest" = String, Path), ("against" = Option<String>, Query)),
    responses((status = 200, description = "The differences, object by object", body = DiffView)))]
pub(crate) async fn diff(
    State(server): Shared,
    signed: Signed,
    Path(digest): Path<String>,
    Query(query): Query<DiffQuery>,
) -> Answer<DiffView> {
    let bundle = server.app.bundle(&signed.actor, &digest).await?;
    let project: ProjectKey = bundle.record.project.clone();
    let after = BundleSide::Archive(bundle.path);
    let objects = match query.against.as_deref().filter(|text| !text.is_empty()) {
        None => server.app.diff_bundles(&signed.actor, BundleSide::Deployed(project), after).await?,
        Some("working") => server.app.diff_bundles(&signed.actor, after, BundleSide::Working(project)).await?,
        Some(other) => {
            let before = server.app.bundle(&signed.actor, other).await?;
            server.app.diff_bundles(&signed.actor, BundleSide::Archive(before.path), after).await?
        }
    };
    Ok(Json(DiffView::from(objects.as_slice())))
}

/// Bring an approval to this node: the signed statement that `stet bundle approve` wrote is the body.
#[utoipa::path(post, path = "/api/v1/bundles/{digest}/approvals", tag = "deployment", params(("digest" = String, Path)),
    request_body = Object, responses((status = 201, description = "Taken in", body = ApprovalView)))]
pub(crate) async fn approve(
    State(server): Shared,
    Bringer(actor): Bringer,
    Path(digest): Path<String>,
    Body(envelope): Body<serde_json::Value>,
) -> Result<(StatusCode, Json<ApprovalView>), Problem> {
    let approval = server.app.receive_approval(&actor, &digest, envelope.to_string().as_bytes()).await?;
    Ok((StatusCode::CREATED, Json(ApprovalView::try_from(&approval).map_err(AppError::internal)?)))
}

#[derive(Deserialize)]
pub(crate) struct PlanQuery {
    #[serde(default)]
    rows: bool,
    #[serde(default)]
    rollback: bool,
}

/// Everything that activating a bundle would do. With `rows=true`, the logged edits that would no longer fit one by one.
/// With `rollback=true`, what going back to it would do, if it was active here before.
#[utoipa::path(get, path = "/api/v1/bundles/{digest}/plan", tag = "deployment",
    params(("digest" = String, Path), ("rows" = Option<bool>, Query), ("rollback" = Option<bool>, Query)),
    responses((status = 200, description = "The plan", body = PlanView)))]
pub(crate) async fn plan(
    State(server): Shared,
    signed: Signed,
    Path(digest): Path<String>,
    Query(query): Query<PlanQuery>,
) -> Answer<PlanView> {
    let plan = if query.rollback {
        let project = server.app.bundle(&signed.actor, &digest).await?.record.project;
        server.app.plan_rollback(&signed.actor, project.as_str(), Some(&digest)).await?
    } else {
        server.app.plan_deployment(&signed.actor, &digest, query.rows).await?
    };
    Ok(Json(PlanView::try_from(&plan).map_err(AppError::internal)?))
}

#[derive(Deserialize)]
pub(crate) struct PlanEditsQuery {
    original: String,
    after: Option<i64>,
    limit: Option<usize>,
}

/// The edits of a table that are logged here and would no longer fit when a bundle is activated, one by one and in the order
/// of the log.
#[utoipa::path(get, path = "/api/v1/bundles/{digest}/plan/edits", tag = "deployment",
    params(
        ("digest" = String, Path),
        ("original" = String, Query, description = "The dataset whose edits are meant"),
        ("after" = Option<i64>, Query, description = "The event after which the page begins"),
        ("limit" = Option<usize>, Query, description = "100 unless told otherwise, 1000 at most"),
    ),
    responses((status = 200, description = "A page of edits", body = PlanEditsView)))]
pub(crate) async fn plan_edits(
    State(server): Shared,
    signed: Signed,
    Path(digest): Path<String>,
    Query(query): Query<PlanEditsQuery>,
) -> Answer<PlanEditsView> {
    let (after, limit) = (query.after.map(EventId), query.limit.unwrap_or(100));
    let page = server.app.plan_edits(&signed.actor, &digest, &query.original, after, limit).await?;
    Ok(Json(PlanEditsView::from(page)))
}

/// Activate a bundle: all of it, or nothing.
#[utoipa::path(post, path = "/api/v1/bundles/{digest}/activate", tag = "deployment", params(("digest" = String, Path)),
    responses(
        (status = 200, description = "Done", body = PlanView),
        (status = 409, description = "Another activation is under way"),
        (status = 422, description = "It is refused, with the reasons"),
    ))]
pub(crate) async fn activate(
    State(server): Shared,
    Bringer(actor): Bringer,
    Path(digest): Path<String>,
) -> Answer<PlanView> {
    let plan = server.app.activate(&actor, &digest).await?;
    Ok(Json(PlanView::try_from(&plan).map_err(AppError::internal)?))
}

/// The projects that are deployed here or of which bundles have arrived, for administrators.
#[utoipa::path(get, path = "/api/v1/deployments", tag = "deployment",
    responses((status = 200, description = "The projects by key", body = DeploymentsView)))]
pub(crate) async fn deployments(State(server): Shared, signed: Signed) -> Answer<DeploymentsView> {
    let mut deployments = Vec::new();
    for key in server.app.deploy_projects(&signed.actor).await? {
        let status = server.app.deploy_status(&signed.actor, key.as_str()).await?;
        let bundles = server.app.bundles(&signed.actor, key.as_str()).await?.len();
        deployments.push(DeploymentSummaryView { project: key.to_string(), health: status.health.into(), bundles });
    }
    Ok(Json(DeploymentsView { deployments }))
}

/// What is deployed to a project, whether it is still there as it was, and how it came to be.
#[utoipa::path(get, path = "/api/v1/projects/{project}/deployment", tag = "deployment",
    params(("project" = String, Path)), responses((status = 200, description = "The state", body = DeploymentView)))]
pub(crate) async fn deployment(
    State(server): Shared,
    Bringer(actor): Bringer,
    Path(project): Path<String>,
) -> Answer<DeploymentView> {
    let status = server.app.deploy_status(&actor, &project).await?;
    let activations = server.app.deployments(&actor, &project).await?;
    let events = server.app.deploy_events(&actor, &project).await?;
    Ok(Json(DeploymentView::new(status, &activations, &events)))
}

/// Go back to a bundle that was active before; edits are untouched.
#[utoipa::path(post, path = "/api/v1/projects/{project}/rollback", tag = "deployment",
    params(("project" = String, Path)), request_body = RollbackBody,
    responses((status = 200, description = "Done", body = PlanView)))]
pub(crate) async fn rollback(
    State(server): Shared,
    signed: Signed,
    Path(project): Path<String>,
    Body(body): Body<RollbackBody>,
) -> Answer<PlanView> {
    let plan = server.app.rollback(&signed.actor, &project, body.to.as_deref()).await?;
    Ok(Json(PlanView::try_from(&plan).map_err(AppError::internal)?))
}
