//! What all handlers share: the use cases, the limits, and who listens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stet_app::App;
use stet_domain::{Actor, ActorKind};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::error::Problem;
use crate::metrics::Metrics;

/// How often it is looked whether the node's database was written to.
const SESSIONS_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The limits of a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// The largest request body of edits, in bytes.
    pub edits_body_bytes_max: usize,
    /// The most connections that are open.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, and leave a connection unused. Longer than proxies keep
    /// unused ones, so that it is they who close them.
    pub head_timeout: Duration,
    /// How long a request may take until its answer begins.
    pub request_timeout: Duration,
    /// How long nothing may arrive of a bundle that is being brought.
    pub upload_idle_timeout: Duration,
    /// The most bundles that are being brought at a time.
    pub uploads_max: usize,
    /// The most live streams of one user.
    pub streams_of_user_max: usize,
    /// The most live streams in all.
    pub streams_max: usize,
    /// How often the session behind a live stream is looked at, and a sign of life is sent.
    pub stream_check_interval: Duration,
    /// How long a live stream waits for a client that does not read.
    pub stream_write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes_max: 1024 * 1024,
            edits_body_bytes_max: 16 * 1024 * 1024,
            connections_max: 8_192,
            head_timeout: Duration::from_secs(130),
            request_timeout: Duration::from_secs(60),
            upload_idle_timeout: Duration::from_secs(30),
            uploads_max: 4,
            streams_of_user_max: 20,
            streams_max: 2_000,
            stream_check_interval: Duration::from_secs(15),
            stream_write_timeout: Duration::from_secs(30),
        }
    }
}

/// What all handlers share.
pub(crate) struct Server {
    pub(crate) app: App,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) streams: Arc<Streams>,
    /// A place for each bundle that may be brought at a time.
    pub(crate) uploads: Semaphore,
    /// Whether people reach the node by https: then cookies are for https alone.
    pub(crate) https: bool,
    /// Scheme, host and port of the public URL in lower case, if one is configured.
    pub(crate) public_origin: Option<String>,
    stopping: watch::Sender<bool>,
    /// Counts up when a session has ended, so that streams look at theirs at once.
    sessions_ended: watch::Sender<u64>,
}

impl Server {
    pub(crate) fn new(app: App, limits: Limits) -> Arc<Server> {
        let public_origin = app.config().public_url.as_deref().and_then(origin_of);
        Arc::new(Server {
            https: public_origin.as_ref().is_some_and(|origin| origin.starts_with("https://")),
            public_origin,
            streams: Arc::new(Streams {
                of_user_max: limits.streams_of_user_max,
                all_max: limits.streams_max,
                open: Mutex::default(),
            }),
            uploads: Semaphore::new(limits.uploads_max),
            app,
            limits,
            metrics: Metrics::default(),
            stopping: watch::Sender::new(false),
            sessions_ended: watch::Sender::new(0),
        })
    }

    /// Ends all live streams; called once, when the server is to stop.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Tells all live streams to look whether their session is still there.
    pub(crate) fn session_ended(&self) {
        self.sessions_ended.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn sessions_ended(&self) -> watch::Receiver<u64> {
        self.sessions_ended.subscribe()
    }

    /// Tells the live streams to look at their sessions whenever something was written to the node's database: by this
    /// process, or by a command at the shell that shuts somebody out. Never ends.
    pub(crate) async fn watch_sessions(&self) {
        let mut look = tokio::time::interval(SESSIONS_LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut known = self.app.version();
        loop {
            look.tick().await;
            let version = self.app.version();
            if version != known {
                known = version;
                self.session_ended();
            }
        }
    }
}

/// Scheme, host and port of a URL, in lower case and without a default port.
fn origin_of(url: &str) -> Option<String> {
    let uri: axum::http::Uri = url.trim().parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let host = uri.host()?.to_ascii_lowercase();
    let default_port = if scheme == "https" { 443 } else { 80 };
    Some(match uri.port_u16().filter(|port| *port != default_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// The live streams that are open.
pub(crate) struct Streams {
    of_user_max: usize,
    all_max: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    of_user: HashMap<String, usize>,
    /// The listeners of each table by the session or token that opened them, oldest first.
    listeners: HashMap<ListenerPlace, Vec<Uuid>>,
}

/// Which table a listener is at, and whose session or token opened it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ListenerPlace {
    /// The secret of the session or token; owned here and never shown.
    pub(crate) secret: String,
    pub(crate) project: String,
    pub(crate) webapp: String,
}

impl Streams {
    /// Takes a place for one more stream, until the answer is dropped.
    ///
    /// # Errors
    /// A 429 problem when the user, or the server, has too many.
    pub(crate) fn enter(self: &Arc<Self>, actor: &Actor) -> Result<StreamPlace, Problem> {
        // Visitors are told apart by their address: one of them must not take the places of all.
        let user = match (actor.kind, &actor.address) {
            (ActorKind::Visitor, Some(address)) => format!("visitor at {address}"),
            _ => actor.login.to_string(),
        };
        let mut open = self.open();
        if open.all >= self.all_max {
            return Err(Problem::too_many("too many pages are open on this server: try again later", 30));
        }
        let of_user = open.of_user.entry(user.clone()).or_default();
        if *of_user >= self.of_user_max {
            return Err(Problem::too_many("you have too many pages open: close some of them", 30));
        }
        *of_user += 1;
        open.all += 1;
        Ok(StreamPlace { streams: self.clone(), user, listener: None })
    }

    pub(crate) fn count(&self) -> usize {
        self.open().all
    }

    /// The listener that a session or token opened last at a table.
    pub(crate) fn listener(&self, place: &ListenerPlace) -> Option<Uuid> {
        self.open().listeners.get(place).and_then(|listeners| listeners.last().copied())
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the live streams; given back when dropped.
pub(crate) struct StreamPlace {
    streams: Arc<Streams>,
    user: String,
    listener: Option<(ListenerPlace, Uuid)>,
}

impl StreamPlace {
    /// Says which listener of a table this stream is.
    pub(crate) fn listens(&mut self, place: ListenerPlace, session: Uuid) {
        self.streams.open().listeners.entry(place.clone()).or_default().push(session);
        self.listener = Some((place, session));
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        open.all = open.all.saturating_sub(1);
        if let Some(count) = open.of_user.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.of_user.remove(&self.user);
            }
        }
        if let Some((place, session)) = self.listener.take()
            && let Some(listeners) = open.listeners.get_mut(&place)
        {
            listeners.retain(|listener| *listener != session);
            if listeners.is_empty() {
                open.listeners.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_no_default_port() {
        assert_eq!(origin_of("https://Stet.example:443/x").as_deref(), Some("https://stet.example"));
        assert_eq!(origin_of("http://stet.example:8820").as_deref(), Some("http://stet.example:8820"));
        assert_eq!(origin_of("stet"), None);
    }
}
