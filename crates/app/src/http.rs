//! Questions of the node to other servers, on the lines of `outgoing`: short ones, on a connection that is used again. No more
//! is read than an answer may have.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderName, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::outgoing;

/// How long a server may take to answer, from connecting on.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A server, with a connection to it that is used again while both keep it. Why something fails is told in words for
/// administrators, which hold nothing of what was sent.
pub(crate) struct Peer {
    /// The address without path and query.
    origin: String,
    /// Host and port as they stand in the address and in the header `Host`.
    authority: String,
    connection: Mutex<Option<Open>>,
}

/// A connection that ends when it is dropped.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Peer {
    /// The server of an address, which must be encrypted or stay on the machine, and the path and query in the address.
    pub(crate) fn of(address: &str) -> Result<(Peer, String), String> {
        let (uri, authority) = outgoing::checked(address)?;
        let peer = Peer {
            origin: format!("{}://{authority}", uri.scheme_str().unwrap_or("https")),
            authority: authority.as_str().to_owned(),
            connection: Mutex::new(None),
        };
        Ok((peer, uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()))
    }

    /// Host and port as they stand in the header `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Asks once. What is asked must be harmless to ask twice: a connection that the server had closed is made anew.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let exchange = async {
            let mut connection = self.connection.lock().await;
            if let Some(mut open) = connection.take()
                && open.sender.ready().await.is_ok()
                && let Ok(answer) = send(&mut open, self.request(&method, path, headers, &body)?).await
            {
                *connection = Some(open);
                return Ok(answer);
            }
            let mut open = self.connect().await?;
            let answer = send(&mut open, self.request(&method, path, headers, &body)?).await?;
            *connection = Some(open);
            Ok(answer)
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err("it did not answer in time".to_owned()))
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: &Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        request = request.header(USER_AGENT, "stet");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body.clone())).map_err(|_| "the request cannot be written".to_owned())
    }

    async fn connect(&self) -> Result<Open, String> {
        open(outgoing::open(&self.origin, None).await?.line).await
    }
}

async fn open(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Open, String> {
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Its end is told by the sender.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Open { sender, driver })
}

async fn send(open: &mut Open, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let response = open.sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok(Answer { status, body: body.map_err(|error| error.to_string())?.to_bytes() })
}
