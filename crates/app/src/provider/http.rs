//! One question to the provider and its answer: HTTP/1.1, encrypted unless it stays on the machine. Nobody is followed
//! elsewhere, and no more is read than an answer has.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::unusable;
use crate::config::is_safe_address;
use crate::error::AppError;

/// How long the provider may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer of a provider, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

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
    let away = |reason: String| Failure::Other(unusable(&reason));
    let answer = tokio::time::timeout(TIMEOUT, exchange(method, address, authorization, form)).await;
    let (status, body) = answer.map_err(|_| away("it did not answer in time".to_owned()))?.map_err(away)?;
    if status != 200 {
        return Err(Failure::Status(status));
    }
    serde_json::from_slice(&body).map_err(|_| away("its answer cannot be read".to_owned()))
}

/// The status and the body of an answer; why there is none, in words for the log.
async fn exchange(
    method: Method,
    address: &str,
    authorization: Option<String>,
    form: String,
) -> Result<(u16, Bytes), String> {
    let uri: Uri = address.parse().map_err(|error| format!("{address} is no address: {error}"))?;
    let (Some(authority), true) = (uri.authority(), is_safe_address(address)) else {
        return Err(format!("{address} is no address that is encrypted"));
    };
    let encrypted = uri.scheme_str() == Some("https");
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(&method)
        .uri(path)
        .header(HOST, authority.as_str())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "stet");
    if method == Method::POST {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(Full::new(Bytes::from(form))).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
    if !encrypted {
        return send(stream, request).await;
    }
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(tls()?).connect(name, stream).await.map_err(|error| error.to_string())?;
    send(stream, request).await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Bytes), String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }
    .await;
    connection.abort();
    answer
}

/// Trusts the authorities that the system trusts.
fn tls() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut authorities = RootCertStore::empty();
    // Single certificates that this library cannot read are no reason not to use the others.
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let made = Arc::new(builder.with_root_certificates(authorities).with_no_client_auth());
    Ok(CONFIG.get_or_init(|| made).clone())
}
