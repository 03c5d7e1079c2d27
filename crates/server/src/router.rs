//! All routes. Handlers are in `handlers`; what the routes mean to clients is told by `/openapi.json`, which a test holds
//! against this list. What is around every request is in `observe`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};

use crate::assets;
use crate::error::Problem;
use crate::handlers::{
    account, admin, builds, bundles, connections, datasets, deploy_tokens, log, node, passkeys, projects, row_api,
    scenarios, session, table, targets,
};
use crate::observe::Matched;
use crate::state::{Limits, Server};

/// Where bundles arrive: limited by size and by time without progress, and not by time.
pub(crate) const BRING: &str = "/api/v1/bundles";

/// The routes, in the order in which the API is told.
fn routes() -> Vec<Route> {
    vec![
        get("/healthz", node::healthz),
        get("/metrics", node::metrics),
        get("/openapi.json", node::openapi),
        get("/api/v1/status", node::status),
        // Session
        post("/api/v1/session", session::sign_in),
        get("/api/v1/session", session::show),
        delete("/api/v1/session", session::sign_out),
        get("/api/v1/session/options", session::options),
        get("/api/v1/session/provider", session::begin_provider),
        get("/api/v1/session/provider/callback", session::end_provider),
        // One's own account
        get("/api/v1/account/sessions", account::sessions),
        delete("/api/v1/account/sessions/{session}", account::end_session),
        post("/api/v1/account/password", account::password),
        get("/api/v1/account/tokens", account::tokens),
        post("/api/v1/account/tokens", account::add_token),
        delete("/api/v1/account/tokens/{name}", account::revoke_token),
        get("/api/v1/account/second-factor", account::second_factor),
        post("/api/v1/account/second-factor", account::begin_second_factor),
        post("/api/v1/account/second-factor/confirm", account::confirm_second_factor),
        post("/api/v1/account/second-factor/recovery-codes", account::renew_recovery_codes),
        post("/api/v1/account/second-factor/remove", account::remove_second_factor),
        get("/api/v1/account/passkeys", passkeys::list),
        post("/api/v1/account/passkeys", passkeys::add),
        post("/api/v1/account/passkeys/begin", passkeys::begin),
        post("/api/v1/account/passkeys/{passkey}/remove", passkeys::remove),
        // Administration
        get("/api/v1/users", admin::users),
        post("/api/v1/users", admin::add_user),
        patch("/api/v1/users/{login}", admin::change_user),
        delete("/api/v1/users/{login}/tokens/{name}", admin::revoke_token),
        get("/api/v1/groups", admin::groups),
        post("/api/v1/groups", admin::add_group),
        delete("/api/v1/groups/{group}", admin::remove_group),
        put("/api/v1/groups/{group}/members/{login}", admin::add_member),
        delete("/api/v1/groups/{group}/members/{login}", admin::remove_member),
        get("/api/v1/tokens", admin::tokens),
        get("/api/v1/connections", connections::list),
        post("/api/v1/connections", connections::add),
        patch("/api/v1/connections/{connection}", connections::change),
        delete("/api/v1/connections/{connection}", connections::remove),
        post("/api/v1/connections/{connection}/test", connections::test),
        get("/api/v1/audit", admin::audit),
        get("/api/v1/audit/export", admin::export_audit),
        // Projects and flow
        get("/api/v1/projects", projects::list),
        get("/api/v1/projects/{project}", projects::show),
        get("/api/v1/projects/{project}/access", projects::access),
        put("/api/v1/projects/{project}/access", projects::set_permissions),
        get("/api/v1/projects/{project}/flow", projects::flow),
        get("/api/v1/projects/{project}/events", projects::events),
        get("/api/v1/projects/{project}/datasets/{dataset}", datasets::show),
        get("/api/v1/projects/{project}/datasets/{dataset}/rows", datasets::rows),
        post("/api/v1/projects/{project}/builds", builds::start),
        get("/api/v1/projects/{project}/builds", builds::list),
        get("/api/v1/projects/{project}/builds/{id}", builds::show),
        delete("/api/v1/projects/{project}/builds/{id}", builds::cancel),
        // Scenarios
        get("/api/v1/projects/{project}/scenarios", scenarios::list),
        post("/api/v1/projects/{project}/scenarios/{scenario}/runs", scenarios::start),
        get("/api/v1/projects/{project}/runs", scenarios::runs),
        get("/api/v1/projects/{project}/runs/{id}", scenarios::run),
        // Bundles and deployment
        get("/api/v1/node", targets::node),
        get("/api/v1/deploy-tokens", deploy_tokens::list),
        post("/api/v1/deploy-tokens", deploy_tokens::add),
        delete("/api/v1/deploy-tokens/{token}", deploy_tokens::revoke),
        get("/api/v1/targets", targets::list),
        post("/api/v1/targets", targets::add),
        delete("/api/v1/targets/{target}", targets::remove),
        post("/api/v1/targets/{target}/test", targets::test),
        post("/api/v1/bundles/{digest}/push", targets::push),
        get("/api/v1/pushes/{push}", targets::pushed),
        post(BRING, bundles::bring),
        get("/api/v1/bundles/{digest}", bundles::show),
        get("/api/v1/bundles/{digest}/file", bundles::download),
        get("/api/v1/bundles/{digest}/diff", bundles::diff),
        post("/api/v1/bundles/{digest}/approvals", bundles::approve),
        post("/api/v1/bundles/{digest}/approvals/begin", passkeys::begin_approval),
        get("/api/v1/bundles/{digest}/plan", bundles::plan),
        get("/api/v1/bundles/{digest}/plan/edits", bundles::plan_edits),
        post("/api/v1/bundles/{digest}/activate", bundles::activate),
        get("/api/v1/deployments", bundles::deployments),
        get("/api/v1/projects/{project}/bundles", bundles::list),
        post("/api/v1/projects/{project}/bundles", bundles::create),
        get("/api/v1/projects/{project}/deployment", bundles::deployment),
        post("/api/v1/projects/{project}/rollback", bundles::rollback),
        // Webapp
        get("/api/v1/projects/{project}/webapps/{webapp}", table::show),
        put("/api/v1/projects/{project}/webapps/{webapp}/access", projects::set_webapp_access),
        post("/api/v1/projects/{project}/webapps/{webapp}/rows/query", table::rows),
        get("/api/v1/projects/{project}/webapps/{webapp}/groups", table::groups),
        get("/api/v1/projects/{project}/webapps/{webapp}/waits/{wait}", table::wait),
        delete("/api/v1/projects/{project}/webapps/{webapp}/waits/{wait}", table::cancel_wait),
        post_edits("/api/v1/projects/{project}/webapps/{webapp}/edits", table::edit),
        get("/api/v1/projects/{project}/webapps/{webapp}/history", table::history),
        get("/api/v1/projects/{project}/webapps/{webapp}/log", log::show),
        get("/api/v1/projects/{project}/webapps/{webapp}/log/seal", log::seal),
        post("/api/v1/projects/{project}/webapps/{webapp}/log/verification", log::verify),
        delete("/api/v1/projects/{project}/webapps/{webapp}/log/verification", log::cancel_verification),
        post("/api/v1/projects/{project}/webapps/{webapp}/revert/plan", log::plan),
        post("/api/v1/projects/{project}/webapps/{webapp}/revert", log::revert),
        get("/api/v1/projects/{project}/webapps/{webapp}/links/{column}", table::links),
        post("/api/v1/projects/{project}/webapps/{webapp}/presence", table::presence),
        post("/api/v1/projects/{project}/webapps/{webapp}/reload", table::reload),
        get("/api/v1/projects/{project}/webapps/{webapp}/events", table::events),
        // Row API for scripts
        post_edits("/webapps/{project}/{webapp}/create", row_api::create),
        post("/webapps/{project}/{webapp}/read", row_api::read),
        get("/webapps/{project}/{webapp}/read-all-edits", row_api::read_all_edits),
        post_edits("/webapps/{project}/{webapp}/update", row_api::update),
        post("/webapps/{project}/{webapp}/delete", row_api::delete),
        get("/webapps/{project}/{webapp}/label/{linked_dataset}", row_api::label),
        get("/webapps/{project}/{webapp}/lookup/{linked_dataset}", row_api::lookup),
    ]
}

/// The routes, with nothing around them: a layer would be copied for each request, with all that is within it.
pub(crate) fn build(server: Arc<Server>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.handler);
    }
    router.fallback(assets::serve).method_not_allowed_fallback(method_not_allowed).with_state(server)
}

async fn method_not_allowed(request: Request) -> Response {
    Matched::note(&request);
    Problem::of_status(StatusCode::METHOD_NOT_ALLOWED).into_response()
}

/// One method of one path.
struct Route {
    /// The router itself asks the handler; the test of the API's document asks this.
    #[cfg(test)]
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<Arc<Server>>,
}

/// A handler that says which route it is on, and limits the body of its requests.
#[derive(Clone)]
struct OnRoute<H> {
    handler: H,
    body_bytes_max: fn(&Limits) -> usize,
}

impl<T, H: Handler<T, Arc<Server>>> Handler<T, Arc<Server>> for OnRoute<H> {
    type Future = H::Future;

    fn call(self, mut request: Request, server: Arc<Server>) -> H::Future {
        Matched::note(&request);
        DefaultBodyLimit::max((self.body_bytes_max)(&server.limits)).apply(&mut request);
        self.handler.call(request, server)
    }
}

fn on_route<H>(handler: H) -> OnRoute<H> {
    OnRoute { handler, body_bytes_max: |limits| limits.body_bytes_max }
}

fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<Server>>) -> Route {
    Route {
        #[cfg(test)]
        method: "get",
        path,
        handler: routing::get(on_route(handler)),
    }
}

fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<Server>>) -> Route {
    Route {
        #[cfg(test)]
        method: "post",
        path,
        handler: routing::post(on_route(handler)),
    }
}

/// A route that takes edits, of which there may be many in one request.
fn post_edits<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<Server>>) -> Route {
    Route {
        #[cfg(test)]
        method: "post",
        path,
        handler: routing::post(OnRoute { handler, body_bytes_max: |limits| limits.edits_body_bytes_max }),
    }
}

fn delete<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<Server>>) -> Route {
    Route {
        #[cfg(test)]
        method: "delete",
        path,
        handler: routing::delete(on_route(handler)),
    }
}

fn put<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<Server>>) -> Route {
    Route {
        #[cfg(test)]
        method: "put",
        path,
        handler: routing::put(on_route(handler)),
    }
}

fn patch<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<Server>>) -> Route {
    Route {
        #[cfg(test)]
        method: "patch",
        path,
        handler: routing::patch(on_route(handler)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_of_the_api_has_exactly_the_routes_of_the_server() {
        let served: BTreeSet<String> =
            routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        let document: serde_json::Value = serde_json::from_str(crate::openapi::document()).unwrap();
        let told: BTreeSet<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
            .collect();
        assert_eq!(served, told);
    }
}
