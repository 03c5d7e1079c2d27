//! Users, groups, tokens and the audit trail, for administrators.

use axum::Json;
use axum::body::{Body as Bytes, Bytes as Chunk};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use stet_app::{AppError, NewUser};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Answer, Shared};
use crate::auth::Signed;
use crate::error::Problem;
use crate::extract::{Body, Path, Query};
use crate::views::admin::{
    AUDIT_HEADER, AuditPageQuery, AuditQueryView, AuditView, GroupView, GroupsView, NewGroupBody, NewUserBody,
    TokenView, TokensView, UserChangeBody, UsersView, audit_csv,
};

/// How many pieces of an export may wait for a slow client.
const CHUNKS_MAX: usize = 4;

/// The users of the node.
#[utoipa::path(get, path = "/api/v1/users", tag = "administration", responses(
    (status = 200, description = "The users, by login", body = UsersView),
))]
pub(crate) async fn users(State(server): Shared, signed: Signed) -> Answer<UsersView> {
    Ok(Json(server.app.users(&signed.actor).await?.into()))
}

/// Add a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "administration", request_body = NewUserBody, responses(
    (status = 201, description = "Added"),
    (status = 409, description = "The login is taken"),
))]
pub(crate) async fn add_user(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<NewUserBody>,
) -> Result<StatusCode, Problem> {
    let profile = body.profile.parse().map_err(AppError::Invalid)?;
    let user = NewUser { login: body.login, display_name: body.name, profile, password: body.password };
    server.app.add_user(&signed.actor, user).await?;
    Ok(StatusCode::CREATED)
}

/// Change a user: profile, password, whether they are shut out. What is not named stays.
#[utoipa::path(patch, path = "/api/v1/users/{login}", tag = "administration", params(("login" = String, Path)),
    request_body = UserChangeBody, responses((status = 204, description = "Changed")))]
pub(crate) async fn change_user(
    State(server): Shared,
    signed: Signed,
    Path(login): Path<String>,
    Body(body): Body<UserChangeBody>,
) -> Result<StatusCode, Problem> {
    let app = &server.app;
    app.require_administrator(&signed.actor)?;
    if let Some(profile) = body.profile {
        app.set_profile(&signed.actor, &login, profile.parse().map_err(AppError::Invalid)?).await?;
    }
    if let Some(password) = body.password {
        app.set_password(&signed.actor, &login, password).await?;
    }
    if let Some(disabled) = body.disabled {
        app.set_user_disabled(&signed.actor, &login, disabled).await?;
    }
    if body.reset_second_factor {
        app.reset_second_factor(&signed.actor, &login).await?;
    }
    // Live streams look at their session at once.
    server.session_ended();
    Ok(StatusCode::NO_CONTENT)
}

/// The groups of the node with their members.
#[utoipa::path(get, path = "/api/v1/groups", tag = "administration", responses(
    (status = 200, description = "The groups, by name", body = GroupsView),
))]
pub(crate) async fn groups(State(server): Shared, signed: Signed) -> Answer<GroupsView> {
    let groups = server.app.groups(&signed.actor).await?;
    Ok(Json(GroupsView { groups: groups.iter().map(GroupView::from).collect() }))
}

/// Add a group without members.
#[utoipa::path(post, path = "/api/v1/groups", tag = "administration", request_body = NewGroupBody, responses(
    (status = 201, description = "Added"),
    (status = 409, description = "The name is taken"),
))]
pub(crate) async fn add_group(
    State(server): Shared,
    signed: Signed,
    Body(body): Body<NewGroupBody>,
) -> Result<StatusCode, Problem> {
    server.app.add_group(&signed.actor, &body.name, &body.description).await?;
    Ok(StatusCode::CREATED)
}

/// Delete a group: what was given to it is given to nobody.
#[utoipa::path(delete, path = "/api/v1/groups/{group}", tag = "administration", params(("group" = String, Path)),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn remove_group(
    State(server): Shared,
    signed: Signed,
    Path(group): Path<String>,
) -> Result<StatusCode, Problem> {
    server.app.remove_group(&signed.actor, &group).await?;
    server.session_ended();
    Ok(StatusCode::NO_CONTENT)
}

/// Put a user into a group.
#[utoipa::path(put, path = "/api/v1/groups/{group}/members/{login}", tag = "administration",
    params(("group" = String, Path), ("login" = String, Path)),
    responses((status = 204, description = "The user is in the group")))]
pub(crate) async fn add_member(
    State(server): Shared,
    signed: Signed,
    Path((group, login)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    server.app.add_to_group(&signed.actor, &group, &login).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a user out of a group.
#[utoipa::path(delete, path = "/api/v1/groups/{group}/members/{login}", tag = "administration",
    params(("group" = String, Path), ("login" = String, Path)),
    responses((status = 204, description = "The user is not in the group")))]
pub(crate) async fn remove_member(
    State(server): Shared,
    signed: Signed,
    Path((group, login)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    server.app.remove_from_group(&signed.actor, &group, &login).await?;
    server.session_ended();
    Ok(StatusCode::NO_CONTENT)
}

/// The API tokens of all users, without their secrets, which nobody has.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "administration", responses(
    (status = 200, description = "The tokens, newest first", body = TokensView),
))]
pub(crate) async fn tokens(State(server): Shared, signed: Signed) -> Answer<TokensView> {
    let now = server.app.clock().now();
    let tokens = server.app.tokens(&signed.actor).await?;
    Ok(Json(TokensView { tokens: tokens.iter().map(|token| TokenView::new(token, now)).collect() }))
}

/// End an API token of a user at once.
#[utoipa::path(delete, path = "/api/v1/users/{login}/tokens/{name}", tag = "administration",
    params(("login" = String, Path), ("name" = String, Path)), responses((status = 204, description = "Ended")))]
pub(crate) async fn revoke_token(
    State(server): Shared,
    signed: Signed,
    Path((login, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    server.app.require_administrator(&signed.actor)?;
    server.app.revoke_token(&signed.actor, &login, &name).await?;
    server.session_ended();
    Ok(StatusCode::NO_CONTENT)
}

/// The audit trail, newest first. For the next page ask with `before` as the answer has it.
#[utoipa::path(get, path = "/api/v1/audit", tag = "administration", params(AuditPageQuery), responses(
    (status = 200, description = "The entries", body = AuditView),
))]
pub(crate) async fn audit(
    State(server): Shared,
    signed: Signed,
    Query(query): Query<AuditPageQuery>,
) -> Answer<AuditView> {
    let (before, limit) = (query.before, query.limit);
    let events = server.app.audit_events(&signed.actor, query.query()?, before, limit).await?;
    Ok(Json(AuditView::new(&events, limit)))
}

/// Download the audit trail, newest first. Texts that a spreadsheet would take for formulas get a `'` before them.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "administration", params(AuditQueryView), responses(
    (status = 200, description = "The entries (RFC 4180)", content_type = "text/csv", body = String),
))]
pub(crate) async fn export_audit(
    State(server): Shared,
    signed: Signed,
    Query(query): Query<AuditQueryView>,
) -> Result<Response, Problem> {
    let query = query.query()?;
    server.app.require_administrator(&signed.actor)?;
    let (sender, receiver) = mpsc::channel::<std::io::Result<Chunk>>(CHUNKS_MAX);
    tokio::spawn(async move {
        // A client that has gone away gets nothing more: every failed send ends the work.
        let mut text = AUDIT_HEADER.to_owned();
        let mut before = None;
        while sender.send(Ok(text.into())).await.is_ok() {
            match server.app.export_audit(&signed.actor, query.clone(), before).await {
                Ok(events) => {
                    let Some(last) = events.last() else { return };
                    before = Some(last.id);
                    text = audit_csv(&events);
                }
                Err(error) => {
                    // The client sees that the answer is cut short, not a shorter trail.
                    tracing::warn!(%error, "the audit trail was not exported to its end");
                    let _ = sender.send(Err(std::io::Error::other("the audit trail cannot be read to its end"))).await;
                    return;
                }
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"stet-audit.csv\"")),
    ];
    Ok((headers, Bytes::from_stream(ReceiverStream::new(receiver))).into_response())
}
