//! What handlers take from a request, with refusals in plain words.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use crate::error::Problem;

/// How long a client may take to send a JSON body: who sends byte by byte keeps no connection for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let bytes = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state))
            .await
            .map_err(|_| Problem::of_status(StatusCode::REQUEST_TIMEOUT))?
            .map_err(|rejection| Problem::of_status(rejection.status()))?;
        // An array would do for an object as well, by the order of its fields, which no client should rely on.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'{') {
            serde_json::from_slice::<IgnoredAny>(&bytes).map_err(|error| unreadable(&error))?;
            return Err(Problem::refused("the request has to be a JSON object"));
        }
        serde_json::from_slice(&bytes).map(Body).map_err(|error| unreadable(&error))
    }
}

fn is_json(headers: &axum::http::HeaderMap) -> bool {
    let Some(Ok(content_type)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// What is wrong with a JSON text, with the place.
pub(crate) fn unreadable(error: &serde_json::Error) -> Problem {
    // The types of numbers are a matter of the program.
    let plain = || error.to_string().replace("expected usize", "expected a whole number from 0 on");
    match error.classify() {
        Category::Data => Problem::refused(format!("the request is not as this address expects it: {}", plain())),
        _ => Problem::malformed(format!("the request is not JSON: {error}")),
    }
}

/// The parts of the path that a route names.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Path(path)),
            // A name that cannot be is the name of nothing.
            Err(_) => Err(Problem::of_status(StatusCode::NOT_FOUND)),
        }
    }
}

/// The query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(rejection) => {
                let cause =
                    std::error::Error::source(&rejection).map_or_else(String::new, |cause| format!(": {cause}"));
                Err(Problem::malformed(format!("the part of the address after `?` cannot be read{cause}")))
            }
        }
    }
}
