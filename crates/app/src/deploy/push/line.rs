//! One request to a target and its answer. What is sent is limited by time without progress, not by time: a large bundle on
//! a slow line arrives.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::NodeAnswer;
use crate::App;
use crate::outgoing;

/// How long a small request may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long nothing may be sent of a bundle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the target may look at a bundle that arrived, or activate one.
const WORK_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much of a file is sent at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

type Body = BoxBody<Bytes, std::io::Error>;

/// The way to a target. Without `Debug`, so that its token is never logged.
pub(in crate::deploy) struct Line {
    pub(super) address: String,
    pub(super) token: String,
    pub(super) node_id: Uuid,
    pub(super) authorities: Option<PathBuf>,
    /// For the time on this node.
    pub(super) clock: App,
}

/// What a target answers.
pub(super) struct Reply {
    pub(super) status: u16,
    body: Bytes,
}

impl Reply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What it says in plain words.
    pub(super) fn detail(&self) -> String {
        let problem: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str()).map(str::to_owned);
        match (detail, self.status) {
            (_, 401) => "the deploy token is not good here: it was revoked, has expired, or belongs to another node. \
                         Make a new one there, and add the target again"
                .to_owned(),
            (Some(detail), _) => detail.chars().filter(|letter| !letter.is_control()).take(2_000).collect(),
            (None, status) => format!("an answer with status {status} that is none of Stet's: look at the address"),
        }
    }
}

impl Line {
    /// Asks the target which node it is; fails unless it is the one that is meant.
    pub(in crate::deploy) async fn who_is_there(&self) -> Result<NodeAnswer, String> {
        let before = self.clock.clock().now().micros();
        let reply = self.get("/api/v1/node").await?;
        let after = self.clock.clock().now().micros();
        if !reply.is_success() {
            return Err(format!("{}: {}", self.address, reply.detail()));
        }
        let mut node: NodeAnswer = serde_json::from_slice(&reply.body)
            .map_err(|_| format!("{} answers, and not as a node of Stet does", self.address))?;
        node.name.retain(|letter| !letter.is_control());
        if node.id != self.node_id {
            return Err(format!(
                "{} is the node `{}` ({}), and the target is meant to be {}: nothing was sent. If the node was made anew, \
                 remove the target and add it again",
                self.address, node.name, node.id, self.node_id
            ));
        }
        // The target told its time somewhere between the question and the answer.
        let here = before + (after - before) / 2;
        node.clock_ahead_s = (node.time.micros() - here) / 1_000_000;
        Ok(node)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Reply, String> {
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        let asked = self.exchange(Method::GET, path, None, None, body);
        tokio::time::timeout(ANSWER_TIMEOUT, asked).await.map_err(|_| self.too_late(ANSWER_TIMEOUT))?
    }

    /// Sends a JSON text.
    pub(super) async fn post(&self, path: &str, json: Vec<u8>) -> Result<Reply, String> {
        let body = Full::new(Bytes::from(json)).map_err(|never| match never {}).boxed();
        let asked = self.exchange(Method::POST, path, Some("application/json"), None, body);
        tokio::time::timeout(WORK_TIMEOUT, asked).await.map_err(|_| self.too_late(WORK_TIMEOUT))?
    }

    /// Sends a file as it is, for as long as it moves.
    pub(super) async fn send_file(
        &self,
        path: &str,
        file: &Path,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Reply, String> {
        let cannot = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
        let input = tokio::fs::File::open(file).await.map_err(cannot)?;
        let bytes = input.metadata().await.map_err(cannot)?.len();
        let sent = Arc::new(AtomicU64::new(0));
        let state = (input, sent.clone(), progress);
        let chunks = stream::try_unfold(state, |(mut input, sent, progress)| async move {
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = input.read(&mut chunk).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(None);
            }
            chunk.truncate(read);
            progress(sent.fetch_add(read as u64, Ordering::Relaxed) + read as u64);
            Ok(Some((Frame::data(Bytes::from(chunk)), (input, sent, progress))))
        });
        let body = BodyExt::boxed(StreamBody::new(chunks));
        let exchange = self.exchange(Method::POST, path, Some("application/octet-stream"), Some(bytes), body);
        tokio::pin!(exchange);
        let mut before = 0;
        loop {
            let limit = if before < bytes { IDLE_TIMEOUT } else { WORK_TIMEOUT };
            match tokio::time::timeout(limit, &mut exchange).await {
                Ok(reply) => return reply,
                Err(_) => {
                    let now = sent.load(Ordering::Relaxed);
                    if now == before {
                        return Err(self.too_late(limit));
                    }
                    before = now;
                }
            }
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        kind: Option<&str>,
        bytes: Option<u64>,
        body: Body,
    ) -> Result<Reply, String> {
        let there = |reason: String| format!("{} cannot be reached: {reason}", self.address);
        let opened =
            outgoing::open(&format!("{}{path}", self.address), self.authorities.as_deref()).await.map_err(there)?;
        let mut request = Request::builder()
            .method(method)
            .uri(&opened.path)
            .header(HOST, &opened.host)
            .header(ACCEPT, "application/json, application/problem+json")
            .header(USER_AGENT, "stet")
            .header(AUTHORIZATION, format!("Bearer {}", self.token));
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(bytes) = bytes {
            request = request.header(CONTENT_LENGTH, bytes);
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        let broken = |error: hyper::Error| format!("the line to {} broke: {error}", self.address);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(opened.line)).await.map_err(broken)?;
        let connection = Ended(tokio::spawn(connection).abort_handle());
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("the answer of {} broke off: {error}", self.address))?.to_bytes();
        drop(connection);
        Ok(Reply { status, body })
    }

    fn too_late(&self, limit: Duration) -> String {
        format!("{} did not answer within {} seconds", self.address, limit.as_secs())
    }
}

/// Ends a connection with the request that it was for, also when that was given up.
struct Ended(tokio::task::AbortHandle);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}
