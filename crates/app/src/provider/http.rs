//! One question to the provider and its answer.

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::de::DeserializeOwned;

use super::unusable;
use crate::error::AppError;
use crate::http::{Answer, Peer};

/// Why the provider was no help.
pub(super) enum Failure {
    /// It answered with this status.
    Status(u16),
    /// It did not answer, or not what one could read.
    Other(AppError),
}

impl From<Failure> for AppError {
    fn from(failure: Failure) -> AppError {
        match failure {
            Failure::Status(status) => unusable(&format!("it answered with status {status}")),
            Failure::Other(error) => error,
        }
    }
}

/// Asks for a document.
pub(super) async fn get<T: DeserializeOwned>(address: &str) -> Result<T, Failure> {
    ask(Method::GET, address, None, String::new()).await
}

/// Sends a form, with the credentials of the header `Authorization` if there are some.
pub(super) async fn post<T: DeserializeOwned>(
    address: &str,
    authorization: Option<String>,
    form: String,
) -> Result<T, Failure> {
    ask(Method::POST, address, authorization, form).await
}

async fn ask<T: DeserializeOwned>(
    method: Method,
    address: &str,
    authorization: Option<String>,
    form: String,
) -> Result<T, Failure> {
    let answer = exchange(method, address, authorization, form).await;
    let answer = answer.map_err(|reason| Failure::Other(unusable(&reason)))?;
    if answer.status != 200 {
        return Err(Failure::Status(answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|_| Failure::Other(unusable("its answer cannot be read")))
}

/// The answer; why there is none, in words for the log.
async fn exchange(
    method: Method,
    address: &str,
    authorization: Option<String>,
    form: String,
) -> Result<Answer, String> {
    let (peer, path) = Peer::of(address)?;
    let mut headers = vec![(ACCEPT, "application/json".to_owned())];
    if method == Method::POST {
        headers.push((CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()));
    }
    headers.extend(authorization.map(|authorization| (AUTHORIZATION, authorization)));
    peer.ask(method, &path, &headers, Bytes::from(form)).await
}
