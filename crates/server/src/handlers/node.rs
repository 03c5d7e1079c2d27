//! The node itself: whether it is there, what it does, what its API is.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use stet_app::JobState;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::metrics::Gauge;
use crate::openapi;
use crate::views::status::StatusView;

/// How many builds of each project are counted.
const COUNTED_MAX: usize = 200;

/// Whether the server answers. Needs no sign-in.
#[utoipa::path(get, path = "/healthz", tag = "node", security(()), responses(
    (status = 200, description = "It does", body = Object),
))]
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Counters for Prometheus, for administrators.
#[utoipa::path(get, path = "/metrics", tag = "node", responses(
    (status = 200, description = "The counters", content_type = "text/plain", body = String),
    (status = 403, description = "Only an administrator may read them"),
))]
pub(crate) async fn metrics(State(server): Shared, signed: Signed) -> Result<Response, Problem> {
    // The counters are the server's own, so no use case guards them.
    server.app.require_administrator(&signed.actor)?;
    let mut builds = Vec::new();
    for (key, project) in server.app.projects(&signed.actor) {
        if project.is_err() {
            continue;
        }
        let jobs = server.app.list_builds(&signed.actor, key.as_str(), COUNTED_MAX).await?;
        for state in [JobState::Queued, JobState::Running, JobState::Done, JobState::Failed, JobState::Cancelled] {
            let count = jobs.iter().filter(|job| job.state == state).count();
            builds.push((format!("project=\"{key}\",state=\"{}\"", state.as_str()), count as u64));
        }
    }
    let gauges = [
        Gauge {
            name: "stet_streams_open",
            help: "Live streams that are open.",
            values: vec![(String::new(), server.streams.count() as u64)],
        },
        Gauge { name: "stet_builds", help: "Builds by state, of the last 200 of each project.", values: builds },
    ];
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], server.metrics.text(&gauges)).into_response())
}

/// How the node stands, for administrators: the tables that are open, what they take, and the limits.
#[utoipa::path(get, path = "/api/v1/status", tag = "node", responses(
    (status = 200, description = "How it stands", body = StatusView),
    (status = 403, description = "Only an administrator may know"),
))]
pub(crate) async fn status(State(server): Shared, signed: Signed) -> Answer<StatusView> {
    let status = server.app.status(&signed.actor).await?;
    Ok(Json(StatusView::new(status, server.streams.count(), server.limits.streams_max)))
}

/// This document. Needs no sign-in: it tells nothing of the node.
#[utoipa::path(get, path = "/openapi.json", tag = "node", security(()), responses(
    (status = 200, description = "An OpenAPI 3.1 document", body = Object),
))]
pub(crate) async fn openapi() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], openapi::document()).into_response()
}
