//! Datasets and their rows.

use axum::Json;
use axum::extract::State;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::extract::{Path, Query};
use crate::views::flow::{DatasetView, PreviewQuery, PreviewView};

/// A dataset: columns, state, and what its last build did.
#[utoipa::path(get, path = "/api/v1/projects/{project}/datasets/{dataset}", tag = "projects",
    params(("project" = String, Path), ("dataset" = String, Path)),
    responses((status = 200, description = "The dataset", body = DatasetView)))]
pub(crate) async fn show(
    State(server): Shared,
    signed: Signed,
    Path((project, dataset)): Path<(String, String)>,
) -> Answer<DatasetView> {
    Ok(Json(server.app.dataset(&signed.actor, &project, &dataset).await?.into()))
}

/// Some rows of a dataset.
#[utoipa::path(get, path = "/api/v1/projects/{project}/datasets/{dataset}/rows", tag = "projects",
    params(("project" = String, Path), ("dataset" = String, Path), PreviewQuery),
    responses((status = 200, description = "The rows", body = PreviewView)))]
pub(crate) async fn rows(
    State(server): Shared,
    signed: Signed,
    Path((project, dataset)): Path<(String, String)>,
    Query(query): Query<PreviewQuery>,
) -> Answer<PreviewView> {
    let preview = server.app.preview(&signed.actor, &project, &dataset, query.offset, query.limit).await?;
    Ok(Json(PreviewView::new(preview)))
}
