//! Around every request: its id, its time, one line in the log, the counters, and the final form of the answer.
//!
//! Bodies, query strings and headers of requests are never logged.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use crate::error::Problem;
use crate::router::BRING;
use crate::state::Server;
use crate::{auth, proxy, security};

/// The route that requests for the front end's files, and for nothing at all, are counted under.
const NO_ROUTE: &str = "(pages)";

/// Runs a request under a time limit and finishes its answer.
///
/// What else is asked of every request is asked here as well: a layer of its own would copy all that is within it once
/// more for each request.
pub(crate) async fn observe(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Uuid::now_v7().to_string();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);

    // What is large arrives as fast as the line is; its handler looks that it moves.
    let limit = if method == Method::POST && route == BRING { Duration::MAX } else { server.limits.request_timeout };
    let answer = async {
        match proxy::resolve(&server, &mut request).or_else(|| auth::refuse_foreign(&server, &request)) {
            Some(refused) => refused,
            None => caught(next.run(request)).await,
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
    let mut response = finish(&server, &id, response);
    let headers = response.headers_mut();
    security::add_headers(headers, server.https);
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }

    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    server.metrics.request(&method, route, status, elapsed);
    let ms = elapsed.as_secs_f64() * 1_000.0;
    if response.status().is_server_error() {
        tracing::warn!(%method, route, status, ms, request = %id, "request");
    } else {
        tracing::info!(%method, route, status, ms, request = %id, "request");
    }
    response
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
