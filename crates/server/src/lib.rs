//! The HTTP edge of Stet: routes, sign-in, wire types, live streams, the embedded front end.
//!
//! [`serve`] runs a node's server; [`router`] is the same without a socket. Every route is listed in `router.rs`, its
//! handler calls one use case of [`stet_app::App`], and what travels is defined in `views`. There are no rules and no SQL
//! here: what may be done is decided in the use cases.

mod assets;
mod auth;
mod connections;
mod error;
mod extract;
mod handlers;
mod metrics;
mod observe;
mod openapi;
mod proxy;
mod router;
mod security;
mod sse;
mod state;
mod views;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use stet_app::App;
use tokio::net::TcpListener;

pub use state::Limits;

/// How long requests under way may take to end after the server was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a node on a listener until `shutdown` is over, then lets requests under way end, for 10 seconds at most.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_with(app, listener, Limits::default(), shutdown).await
}

/// As [`serve`], with limits other than the usual ones.
///
/// # Errors
/// When the listener fails.
pub async fn serve_with(
    app: App,
    listener: TcpListener,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let server = state::Server::new(app, limits);
    let routes = router::build(server.clone());
    let mut stopping = server.stopping();
    let serving = connections::serve(listener, routes, server.clone());
    let stopper = async {
        shutdown.await;
        server.stop();
        std::future::pending::<()>().await
    };
    let overdue = async move {
        // An error means that the sender is gone: then the server has ended as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    let (app, watcher) = (server.app.clone(), server.clone());
    let shipping = async move {
        tokio::join!(app.ship_audit(), app.follow_connections(), app.keep_tables_started(), watcher.watch_sessions());
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = serving => {}
        () = stopper => {}
        () = shipping => {}
        () = overdue => tracing::warn!("some requests did not end in time and were cut off"),
    }
    server.app.shutdown().await;
    Ok(())
}

/// All routes of a node, for a server of one's own or for tests.
pub fn router(app: App) -> Router {
    router_with(app, Limits::default())
}

/// All routes of a node, with limits other than the usual ones.
pub fn router_with(app: App, limits: Limits) -> Router {
    let server = state::Server::new(app, limits);
    let routes = router::build(server.clone());
    Router::new().fallback_service(tower::service_fn(move |request| {
        let (server, routes) = (server.clone(), routes.clone());
        async move { Ok::<_, Infallible>(observe::answer(&server, routes, request).await) }
    }))
}
