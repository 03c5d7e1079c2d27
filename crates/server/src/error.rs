//! The one mapping from failures to answers: RFC 9457 problem documents in plain words.
//!
//! What is not the business of the person who asked, such as a database's text, goes to the log, once, and never into
//! an answer.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use stet_app::{AppError, Chain};

use crate::views::passkey::request_options;

/// A failure as it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The last part of the problem's type, such as `not-found`.
    pub(crate) kind: &'static str,
    /// One plain sentence to show.
    pub(crate) detail: String,
    /// Members beside those of the RFC.
    pub(crate) members: Map<String, Value>,
    /// When to try again, in seconds.
    pub(crate) retry_after_s: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, kind, detail: detail.into(), members: Map::new(), retry_after_s: None }
    }

    /// The request cannot be read.
    pub(crate) fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The request can be read and asks for something that a rule forbids or that makes no sense.
    pub(crate) fn refused(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", detail)
    }

    pub(crate) fn not_found(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", format!("there is no {what}"))
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub(crate) fn too_many(detail: impl Into<String>, retry_after_s: u64) -> Problem {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail);
        Problem { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// A failure of ours, whose cause was logged.
    pub(crate) fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong on the server: the administrator finds the cause in the log",
        )
    }

    /// Adds a member to the document.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Whether it asks to sign in.
    pub(crate) fn is_not_signed_in(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// What to say of an answer of which only the status is known.
    pub(crate) fn of_status(status: StatusCode) -> Problem {
        let (kind, detail) = match status {
            StatusCode::UNAUTHORIZED => ("not-signed-in", "please sign in"),
            StatusCode::NOT_FOUND => ("not-found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method", "this address does not know the method of the request: see /openapi.json")
            }
            StatusCode::REQUEST_TIMEOUT => ("too-slow", "the request took too long to arrive: send it again"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "this is too much for one request: send less at a time"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("media-type", "send JSON, with the header `Content-Type: application/json`")
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                ("unavailable", "the server cannot do this at present: try again shortly")
            }
            status if status.is_client_error() => ("malformed", "this request cannot be understood: see /openapi.json"),
            _ => return Problem { status, ..Problem::internal() },
        };
        Problem::new(status, kind, detail)
    }

    /// The answer with the problem's document; `finish` may shorten what it tells.
    pub(crate) fn render(&self, request_id: Option<&str>) -> Response {
        let mut document = json!({
            "type": format!("urn:stet:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "detail": capitalised(&self.detail),
        });
        if let Some(members) = document.as_object_mut() {
            if let Some(id) = request_id {
                members.insert("instance".to_owned(), Value::String(format!("urn:uuid:{id}")));
            }
            for (name, value) in &self.members {
                members.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        let mut response = (self.status, document.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"stet\""));
        }
        response
    }
}

/// The text as a sentence begins, unless it begins with the name of a file.
fn capitalised(text: &str) -> String {
    let first = text.split([' ', ',', ':']).next().unwrap_or_default();
    if first.contains(['/', '.']) {
        return text.to_owned();
    }
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

impl IntoResponse for Problem {
    /// Leaves the problem with the answer: `observe` renders it once more with the request's id, and hides the node's
    /// folder.
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Problem {
        let detail = error.to_string();
        match error {
            AppError::NotSignedIn => Problem::new(StatusCode::UNAUTHORIZED, "not-signed-in", detail),
            AppError::WrongCredentials => Problem::new(StatusCode::UNAUTHORIZED, "wrong-credentials", detail),
            AppError::SecondFactorNeeded(asked) => {
                let passkey = asked.passkey.as_ref().map(request_options);
                let problem = Problem::new(StatusCode::UNAUTHORIZED, "second-factor", detail);
                let problem = problem.with("codes", asked.codes).with("recovery_codes", asked.recovery_codes);
                problem.with("passkey", passkey)
            }
            AppError::WrongCode => Problem::new(StatusCode::UNAUTHORIZED, "wrong-code", detail),
            AppError::SecondFactorDue => Problem::new(StatusCode::FORBIDDEN, "second-factor-due", detail),
            AppError::TooManyAttempts { retry_after_s } => Problem::too_many(detail, retry_after_s),
            AppError::NotFound { .. } => Problem::new(StatusCode::NOT_FOUND, "not-found", detail),
            AppError::NotAllowed(_) => Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail),
            AppError::Invalid(_) | AppError::Refused(_) => Problem::refused(detail),
            AppError::Conflict(_) | AppError::Cancelled => Problem::conflict(detail),
            AppError::Project(error) => {
                let problems: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
                Problem::new(StatusCode::CONFLICT, "project", detail).with("problems", problems)
            }
            AppError::Data(_) => Problem::new(StatusCode::CONFLICT, "data", detail),
            AppError::Unavailable(_) => {
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
                Problem { retry_after_s: Some(5), ..problem }
            }
            AppError::Configuration(_) => {
                tracing::error!(error = %Chain(&error), "the node is not set up well");
                Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "configuration",
                    "this node is not set up well: its administrator finds the cause in the log",
                )
            }
            AppError::Internal(_) => {
                tracing::error!(error = %Chain(&error), "a request failed");
                Problem::internal()
            }
        }
    }
}
