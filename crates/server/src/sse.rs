//! Live streams: what happens to a table or in a project, as server-sent events.
//!
//! A task for each stream turns what it hears into messages and puts them into a short queue. When the client has gone,
//! the queue closes, the task ends, and with it the listener's place at the table. A client that does not read loses
//! messages, not the server its memory: it is told to ask for the rows anew.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use stet_app::webapp::{Feed, FeedEvent};
use stet_app::{AppError, ProjectEvent};
use stet_domain::Actor;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;

use crate::auth::{Credential, Signed};
use crate::error::Problem;
use crate::state::{ListenerPlace, Server, StreamPlace};
use crate::views::build::JobView;
use crate::views::stream::{
    EditView, FlowChangedView, GoodbyeView, HelloView, LogView, OriginalView, PresenceListView, ReloadedView,
};
use crate::views::table::{links, rows};

/// How many messages may wait for a client.
const QUEUE_MAX: usize = 64;

/// Why a stream is over: the client has gone, or was told goodbye.
struct Over;

/// The stream of a table.
pub(crate) async fn of_table(server: Arc<Server>, signed: Signed, place: ListenerPlace) -> Result<Response, Problem> {
    let mut stream_place = server.streams.enter(&signed.actor)?;
    let feed = server.app.subscribe(&signed.actor, &place.project, &place.webapp).await?;
    stream_place.listens(place.clone(), feed.session);
    let (mut stream, response) =
        Stream::new(server, signed, stream_place, place.project.clone(), Some(place.webapp.clone()));
    tokio::spawn(async move {
        // An error only says that the stream is over.
        let _ = stream.run_table(feed, &place.webapp).await;
    });
    Ok(response)
}

/// The stream of a project.
pub(crate) fn of_project(server: Arc<Server>, signed: Signed, project: String) -> Result<Response, Problem> {
    let stream_place = server.streams.enter(&signed.actor)?;
    let receiver = server.app.watch_project(&signed.actor, &project)?;
    let (mut stream, response) = Stream::new(server, signed, stream_place, project, None);
    tokio::spawn(async move {
        let _ = stream.run_project(receiver).await;
    });
    Ok(response)
}

/// One open stream; owned by its task.
struct Stream {
    server: Arc<Server>,
    actor: Actor,
    credential: Credential,
    project: String,
    /// None for the stream of a project.
    webapp: Option<String>,
    sender: mpsc::Sender<Result<Event, Infallible>>,
    look: Interval,
    stopping: watch::Receiver<bool>,
    sessions_ended: watch::Receiver<u64>,
    _place: StreamPlace,
}

impl Stream {
    fn new(
        server: Arc<Server>,
        signed: Signed,
        place: StreamPlace,
        project: String,
        webapp: Option<String>,
    ) -> (Stream, Response) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let mut look = interval(server.limits.stream_check_interval);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        let stream = Stream {
            actor: signed.actor,
            credential: signed.credential,
            project,
            webapp,
            sender,
            look,
            stopping: server.stopping(),
            sessions_ended: server.sessions_ended(),
            _place: place,
            server,
        };
        let mut response = Sse::new(ReceiverStream::new(receiver)).into_response();
        // Proxies that collect answers before they pass them on would hold messages back.
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        (stream, response)
    }

    async fn run_table(&mut self, mut feed: Feed, webapp: &str) -> Result<(), Over> {
        self.send("hello", &HelloView::new(feed.session, &feed.hello)).await?;
        let mut snapshot = feed.hello.snapshot.clone();
        loop {
            let event = tokio::select! {
                event = feed.receiver.recv() => event,
                end = self.end() => return end,
            };
            self.look_at_session().await?;
            // Who has lost the right to the table hears nothing more of it, and everybody hears of what they see alone.
            let viewer = match self.server.app.viewer(&self.actor, &self.project, webapp).await {
                Ok(viewer) => viewer,
                Err(error) => return self.lost(error).await,
            };
            match event.map(|event| viewer.feed_event(event)) {
                Ok(FeedEvent::Edit { version, user, rows: edited, deleted, invalidate }) => {
                    let labels = match self.server.app.links_of(&self.actor, &self.project, webapp, &edited).await {
                        Ok(labels) => labels,
                        Err(error) => return self.lost(error).await,
                    };
                    let edit = EditView {
                        version,
                        user: Some(user.to_string()),
                        rows: rows(edited.to_vec()),
                        deleted: deleted.to_vec(),
                        links: links(labels),
                        invalidate,
                    };
                    self.send("edit", &edit).await?;
                }
                Ok(FeedEvent::Presence) => {
                    self.send("presence", &PresenceListView::new(&viewer.presence(feed.presence()))).await?;
                }
                Ok(FeedEvent::Original) => self.send("original", &OriginalView { changed: true }).await?,
                Ok(FeedEvent::Reloaded { snapshot: loaded, version, total, user }) => {
                    snapshot.clone_from(&loaded);
                    let user = user.map(|user| user.to_string());
                    self.send("reloaded", &ReloadedView { snapshot: loaded, version, total, user }).await?;
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, user = %self.actor.login, "a live stream fell behind");
                    self.catch_up(webapp, &mut snapshot).await?;
                    self.send("presence", &PresenceListView::new(&viewer.presence(feed.presence()))).await?;
                }
                Ok(FeedEvent::Closed) | Err(RecvError::Closed) => return self.goodbye(STOPPING).await,
            }
        }
    }

    /// Tells how the table is now, after messages were missed.
    async fn catch_up(&mut self, webapp: &str, snapshot: &mut String) -> Result<(), Over> {
        let now = match self.server.app.describe_webapp(&self.actor, &self.project, webapp).await {
            Ok(now) => now,
            Err(error) => return self.lost(error).await,
        };
        if now.snapshot != *snapshot {
            snapshot.clone_from(&now.snapshot);
            let (snapshot, version, total) = (now.snapshot, now.version, now.total);
            self.send("reloaded", &ReloadedView { snapshot, version, total, user: None }).await?;
        }
        if now.original_changed {
            self.send("original", &OriginalView { changed: true }).await?;
        }
        let edit = EditView {
            version: now.version,
            user: None,
            rows: Vec::new(),
            deleted: Vec::new(),
            links: links(Default::default()),
            invalidate: true,
        };
        self.send("edit", &edit).await
    }

    async fn run_project(&mut self, mut receiver: broadcast::Receiver<ProjectEvent>) -> Result<(), Over> {
        // Whatever happened before is to be asked for: the client may have missed it.
        self.send("flow", &FlowChangedView {}).await?;
        loop {
            let event = tokio::select! {
                event = receiver.recv() => event,
                end = self.end() => return end,
            };
            if let Ok(event) = &event
                && !self.server.app.may_hear(&self.actor, &self.project, event)
            {
                continue;
            }
            match event {
                Ok(ProjectEvent::Job(job)) => self.send("job", &JobView::from(job.as_ref())).await?,
                Ok(ProjectEvent::Log { job, line, .. }) => {
                    let line = LogView { job: job.to_string(), at: line.at.to_string(), text: line.text };
                    self.send("log", &line).await?;
                }
                Ok(ProjectEvent::Flow) | Err(RecvError::Lagged(_)) => self.send("flow", &FlowChangedView {}).await?,
                Err(RecvError::Closed) => return self.goodbye(STOPPING).await,
            }
        }
    }

    /// Waits for the end of the stream: the client goes, the server stops, or the session ends. Sends a sign of life now
    /// and then. Can be dropped at any await without losing anything.
    async fn end(&mut self) -> Result<(), Over> {
        loop {
            tokio::select! {
                () = self.sender.closed() => return Err(Over),
                // An error of either means that the server is gone.
                stopping = self.stopping.changed() => {
                    if stopping.is_err() {
                        return Err(Over);
                    }
                }
                ended = self.sessions_ended.changed() => {
                    if ended.is_err() {
                        return Err(Over);
                    }
                }
                _ = self.look.tick() => {
                    // A full queue is a sign of life as well.
                    let _ = self.sender.try_send(Ok(Event::default().comment("")));
                }
            }
            if *self.stopping.borrow_and_update() {
                return self.goodbye(STOPPING).await;
            }
            self.look_at_session().await?;
            if !self.is_allowed() {
                return self.goodbye(NO_ACCESS).await;
            }
        }
    }

    /// Looks who the listener is now: their session may have ended, or they may be in other groups, also by a command at the
    /// shell. What is known of it is kept as long as nothing was written to the node's database.
    async fn look_at_session(&mut self) -> Result<(), Over> {
        match self.server.actor_of(&self.credential).await {
            Ok(actor) => self.actor = Actor { address: self.actor.address.take(), ..actor },
            Err(AppError::NotSignedIn | AppError::SecondFactorDue) => {
                return self.goodbye("your session has ended: please sign in again").await;
            }
            // A database that does not answer for a moment signs nobody out.
            Err(error) => tracing::warn!(%error, "cannot look at the session of a live stream"),
        }
        Ok(())
    }

    /// Whether what the stream tells of is still there for its listener.
    fn is_allowed(&self) -> bool {
        let app = &self.server.app;
        let found = match &self.webapp {
            Some(webapp) => app.may_use_webapp(&self.actor, &self.project, webapp),
            None => app.project(&self.actor, &self.project).map(drop),
        };
        !matches!(found, Err(AppError::NotFound { .. } | AppError::NotAllowed(_) | AppError::NotSignedIn))
    }

    /// Ends a stream whose table can no longer be looked at.
    async fn lost(&mut self, error: AppError) -> Result<(), Over> {
        let reason = match error {
            AppError::NotFound { .. } | AppError::NotAllowed(_) | AppError::NotSignedIn => NO_ACCESS,
            error => {
                tracing::warn!(%error, "a live stream ends because its table cannot be used");
                "the table cannot be used at present"
            }
        };
        self.goodbye(reason).await
    }

    async fn goodbye(&mut self, reason: &'static str) -> Result<(), Over> {
        self.send("goodbye", &GoodbyeView { reason }).await?;
        Err(Over)
    }

    async fn send<T: Serialize>(&self, name: &'static str, data: &T) -> Result<(), Over> {
        let event = Event::default().event(name).json_data(data).map_err(|error| {
            tracing::error!(%error, name, "a message of a live stream cannot be written");
            Over
        })?;
        match self.sender.send_timeout(Ok(event), self.server.limits.stream_write_timeout).await {
            Ok(()) => {
                self.server.metrics.stream_message();
                Ok(())
            }
            Err(_) => Err(Over),
        }
    }
}

const STOPPING: &str = "the server is stopping: it will be back shortly";

const NO_ACCESS: &str = "this is no longer there, or you may no longer see it";
