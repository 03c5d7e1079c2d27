//! The HTTP edge of Stet: routes, sign-in, wire types, live streams, the embedded front end.
//!
//! [`serve`] runs a node's server; [`router`] is the same without a socket. Every route is listed in `router.rs`, its
//! handler calls one use case of [`stet_app::App`], and what travels is defined in `views`. There are no rules and no SQL
//! here: what may be done is decided in the use cases.

mod assets;
mod auth;
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

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
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
    let server = state::Server::new(app, Limits::default());
    let routes = router::build(server.clone()).into_make_service_with_connect_info::<SocketAddr>();
    // Small answers go out at once: an edit's answer must not wait for an acknowledgement.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch delays of a connection off");
        }
    });
    let mut stopping = server.stopping();
    let stopper = server.clone();
    let serving = axum::serve(listener, routes).with_graceful_shutdown(async move {
        shutdown.await;
        stopper.stop();
    });
    let overdue = async move {
        // An error means that the sender is gone: then the server has ended as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    let app = server.app.clone();
    let shipping = async move {
        tokio::join!(app.ship_audit(), app.follow_connections(), app.keep_tables_started());
        std::future::pending::<()>().await
    };
    let result = tokio::select! {
        result = serving => result,
        () = shipping => Ok(()),
        () = overdue => {
            tracing::warn!("some requests did not end in time and were cut off");
            Ok(())
        }
    };
    server.app.shutdown().await;
    result
}

/// All routes of a node, for a server of one's own or for tests.
pub fn router(app: App) -> Router {
    router_with(app, Limits::default())
}

/// All routes of a node, with limits other than the usual ones.
pub fn router_with(app: App, limits: Limits) -> Router {
    router::build(state::Server::new(app, limits))
}
