//! Handlers: each takes a request apart, calls one use case, and gives the answer its form.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod builds;
pub(crate) mod bundles;
pub(crate) mod connections;
pub(crate) mod datasets;
pub(crate) mod deploy_tokens;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod passkeys;
pub(crate) mod projects;
pub(crate) mod row_api;
pub(crate) mod scenarios;
pub(crate) mod session;
pub(crate) mod table;
pub(crate) mod targets;

use std::sync::Arc;

use axum::extract::State;

use crate::error::Problem;
use crate::state::Server;

/// What all handlers share.
pub(crate) type Shared = State<Arc<Server>>;

/// An answer in JSON, or why there is none.
pub(crate) type Answer<T> = Result<axum::Json<T>, Problem>;
