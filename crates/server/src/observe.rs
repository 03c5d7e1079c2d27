//! Around every request: its id, its time, one line in the log, the counters, and the final form of the answer.
//!
//! Bodies, query strings and headers of requests are never logged.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower::{Service as _, ServiceExt as _, service_fn};
use tower_http::compression::Compression;
use uuid::Uuid;

use crate::error::Problem;
use crate::router::BRING;
use crate::state::Server;
use crate::{auth, proxy, security};

/// The route that requests for the front end's files, and for nothing at all, are counted under.
const NO_ROUTE: &str = "(pages)";

/// Smaller answers are not compressed: they go out as one packet in any case, and a compressor costs more than an edit.
const COMPRESSED_BYTES_MIN: u64 = 1_200;

/// The route that a request was for; known once its handler was called.
#[derive(Clone, Default)]
pub(crate) struct Matched(Arc<OnceLock<MatchedPath>>);

impl Matched {
    /// Notes the route of a request that the router has handed to its handler.
    pub(crate) fn note(request: &Request) {
        let extensions = request.extensions();
        if let (Some(matched), Some(path)) = (extensions.get::<Matched>(), extensions.get::<MatchedPath>()) {
            // A request has one route.
            let _ = matched.0.set(path.clone());
        }
    }

    fn route(&self) -> &str {
        self.0.get().map_or(NO_ROUTE, MatchedPath::as_str)
    }
}

/// Answers a request: runs its handler under a time limit and finishes its answer.
///
/// This is all that is around the routes, in one function: as layers, each would be copied for each request with all that is
/// within it.
pub(crate) async fn answer(server: &Arc<Server>, routes: Router, request: Request) -> Response {
    let encodings = request.headers().get_all(header::ACCEPT_ENCODING).iter().cloned().collect::<Vec<HeaderValue>>();
    let response = observe(server, routes, request).await;
    match response.body().size_hint().exact() {
        Some(bytes) if bytes < COMPRESSED_BYTES_MIN => response,
        _ => compressed(encodings, response).await,
    }
}

async fn observe(server: &Arc<Server>, mut routes: Router, mut request: Request) -> Response {
    let started = Instant::now();
    let id = Uuid::now_v7().to_string();
    let method = request.method().clone();
    let matched = Matched::default();
    request.extensions_mut().insert(matched.clone());

    // What is large arrives as fast as the line is; its handler looks that it moves.
    let is_bundle = method == Method::POST && request.uri().path() == BRING;
    let limit = if is_bundle { Duration::MAX } else { server.limits.request_timeout };
    let answer = async {
        match proxy::resolve(server, &mut request).or_else(|| auth::refuse_foreign(server, &request)) {
            Some(refused) => refused,
            None => {
                caught(async move {
                    match routes.call(request).await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    }
                })
                .await
            }
        }
    };
    let response = match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "this took too long and was given up. If it was an edit, look whether it was saved; sending it again with \
             the same event ids saves nothing twice",
        )
        .into_response(),
    };
    let mut response = finish(server, &id, response);
    let headers = response.headers_mut();
    security::add_headers(headers, server.https);
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }

    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    let route = matched.route();
    server.metrics.request(&method, route, status, elapsed);
    let ms = elapsed.as_secs_f64() * 1_000.0;
    if response.status().is_server_error() {
        tracing::warn!(%method, route, status, ms, request = %id, "request");
    } else {
        tracing::info!(%method, route, status, ms, request = %id, "request");
    }
    response
}

/// An answer, compressed if its client takes that and it is worth it.
async fn compressed(encodings: Vec<HeaderValue>, response: Response) -> Response {
    // To the compressor, the answer is the body of a request that is given back.
    let mut given = axum::http::Request::new(response);
    let headers: &mut HeaderMap = given.headers_mut();
    for encoding in encodings {
        headers.append(header::ACCEPT_ENCODING, encoding);
    }
    let give = |given: axum::http::Request<Response>| ready(Ok::<Response, Infallible>(given.into_body()));
    match Compression::new(service_fn(give)).oneshot(given).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// Gives a failed answer the form of a problem document.
fn finish(server: &Server, id: &str, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if parts.status.is_client_error() || parts.status.is_server_error() => Problem::of_status(parts.status),
        None => return Response::from_parts(parts, body),
    };
    let problem = Problem { detail: without_folder(server, &problem.detail), ..problem };
    let mut rendered = problem.render(Some(id));
    for name in [header::ALLOW, header::SET_COOKIE] {
        if let Some(value) = parts.headers.remove(&name) {
            rendered.headers_mut().insert(name, value);
        }
    }
    rendered
}

/// Where the node's folder is on its machine is nobody's business; what is where in it helps to mend it.
fn without_folder(server: &Server, text: &str) -> String {
    let root = server.app.folder().root().display().to_string();
    if root.len() > 1 {
        text.replace(&format!("{root}/"), "").replace(&root, "the node's folder")
    } else {
        text.to_owned()
    }
}

/// Runs a handler; a panic in it costs this request alone.
async fn caught(handler: impl Future<Output = Response>) -> Response {
    let mut handler = pin!(handler);
    let answer = poll_fn(|context| {
        // Nothing that the handler was in the middle of is used again: it is dropped.
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(panicked(panic)))
    });
    answer.await
}

/// The answer to a request whose handler panicked.
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message, "a request's handler panicked");
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_handler_is_answered_and_goes_no_further() {
        let answer = caught(async {
            tokio::task::yield_now().await;
            panic!("in the middle of the work");
        });
        assert_eq!(answer.await.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(caught(async { StatusCode::NO_CONTENT.into_response() }).await.status(), StatusCode::NO_CONTENT);
    }
}
