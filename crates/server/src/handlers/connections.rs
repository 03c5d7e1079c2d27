//! Connections, for administrators. No answer has a secret in it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::{Body, Path};
use crate::views::connection::{
    ConnectionChangeBody, ConnectionTestView, ConnectionView, ConnectionsView, NewConnectionBody,
};

/// The connections of the node.
#[utoipa::path(get, path = "/api/v1/connections", tag = "administration", responses(
    (status = 200, description = "The connections by name, without their secrets", body = ConnectionsView),
))]
pub(crate) async fn list(State(server): Shared, signed: Signed) -> Answer<ConnectionsView> {
    let connections = server.app.connections(&signed.actor)?;
    Ok(Json(ConnectionsView { connections: connections.into_iter().map(ConnectionView::from).collect() }))
}

/// Add a connection to a PostgreSQL database. Its password is sealed and never shown again.
#[utoipa::path(post, path = "/api/v1/connections", tag = "administration", request_body = NewConnectionBody, responses(
    (status = 201, description = "Added"),
    (status = 409, description = "The name is taken"),
))]
pub(crate) async fn add(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<NewConnectionBody>,
) -> Result<StatusCode, Problem> {
    server.app.add_connection(&signed.actor, body.into()).await?;
    Ok(StatusCode::CREATED)
}

/// Change a connection: what is not named stays. One that is to lead elsewhere takes its password again.
#[utoipa::path(patch, path = "/api/v1/connections/{connection}", tag = "administration",
    params(("connection" = String, Path)), request_body = ConnectionChangeBody, responses(
        (status = 204, description = "Changed"),
        (status = 422, description = "It would lead elsewhere, and the password is missing"),
    ))]
pub(crate) async fn change(
    State(server): Shared,
    signed: Signed,
    Path(connection): Path<String>,
    Body(body): Body<ConnectionChangeBody>,
) -> Result<StatusCode, Problem> {
    server.app.change_connection(&signed.actor, &connection, body.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a connection away, with its secret.
#[utoipa::path(delete, path = "/api/v1/connections/{connection}", tag = "administration",
    params(("connection" = String, Path)), responses((status = 204, description = "Taken away")))]
pub(crate) async fn remove(
    State(server): Shared,
    signed: Signed,
    Path(connection): Path<String>,
) -> Result<StatusCode, Problem> {
    server.app.remove_connection(&signed.actor, &connection).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Try a connection as the node uses it.
#[utoipa::path(post, path = "/api/v1/connections/{connection}/test", tag = "administration",
    params(("connection" = String, Path)), responses(
        (status = 200, description = "Whether it works, and if not, why", body = ConnectionTestView),
    ))]
pub(crate) async fn test(
    State(server): Shared,
    signed: Signed,
    Path(connection): Path<String>,
) -> Answer<ConnectionTestView> {
    Ok(Json(server.app.test_connection(&signed.actor, &connection).await?.into()))
}
