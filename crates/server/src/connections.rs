//! Connections: how many there are, and for how long one may keep a place without asking for anything.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::observe;
use crate::state::Server;

/// Answers the connections of a listener until the server stops, and then those that are open until they end. A client that
/// sends the head of its request too slowly is cut off, so that nobody takes all the places by sending nothing.
pub(crate) async fn serve(mut listener: TcpListener, routes: Router, server: Arc<Server>) {
    let connections_max = u32::try_from(server.limits.connections_max).unwrap_or(u32::MAX);
    let places = Arc::new(Semaphore::new(server.limits.connections_max));
    let mut stopping = server.stopping();
    loop {
        let next = async {
            // Whoever comes when all places are taken waits in the queue of the operating system.
            let place = places.clone().acquire_owned().await.ok()?;
            let (stream, peer) = Listener::accept(&mut listener).await;
            Some((place, stream, peer))
        };
        let (place, stream, peer) = tokio::select! {
            // An error means that the sender is gone: then the server has ended as well.
            _ = stopping.wait_for(|stopping| *stopping) => break,
            accepted = next => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        let (routes, server) = (routes.clone(), server.clone());
        tokio::spawn(async move {
            answer(stream, peer, routes, &server).await;
            drop(place);
        });
    }
    drop(listener);
    // All places are free when the last connection has ended.
    let _ = places.acquire_many(connections_max).await;
}

/// Answers the requests of one connection, one after the other.
async fn answer(stream: TcpStream, peer: SocketAddr, routes: Router, server: &Arc<Server>) {
    // Small answers go out at once: an edit's answer must not wait for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch delays of a connection off");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(observe::answer(server, routes, request.map(Body::new)).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(server.limits.head_timeout)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut stopping = server.stopping();
    let stop = async move { stopping.wait_for(|stopping| *stopping).await.map(drop) };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stop => {
            // The request under way is answered, and no other is taken.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients that go away in the middle are no news.
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}
