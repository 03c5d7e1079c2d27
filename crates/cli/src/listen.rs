//! Where the server listens, and when it stops.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::failure::Failure;

/// The port that Stet listens on when nothing else is told.
pub(crate) const PORT_DEFAULT: u16 = 8820;

/// The last port that is tried when the default one is in use and none was asked for.
pub(crate) const PORT_LAST: u16 = 8839;

/// Reads an address such as `127.0.0.1:8820`, `[::1]:8820`, `localhost:8820`, or a port alone.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix("localhost").unwrap_or(text);
    let port = port.strip_prefix(':').unwrap_or(port);
    match port.parse() {
        Ok(port) => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => Err("write an address and a port, such as 127.0.0.1:8820".to_owned()),
    }
}

/// Listens on an address.
///
/// # Errors
/// When it is in use, not one of this machine's, or not allowed: with what to do.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::usage(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "{address} is in use by another program: stop that one, or choose another port with --listen {}:PORT",
                shown_ip(address.ip())
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "{} is not an address of this machine: use --listen 127.0.0.1:{}, or one of its own",
                address.ip(),
                address.port()
            ),
            io::ErrorKind::PermissionDenied => format!(
                "this user may not listen on port {}: choose one above 1023 with --listen {}:PORT",
                address.port(),
                shown_ip(address.ip())
            ),
            _ => format!("cannot listen on {address}: {error}"),
        })
    })
}

/// Listens on the first free port of this machine's own address, from the default port on.
///
/// # Errors
/// When all of them are in use.
pub(crate) async fn bind_first_free() -> Result<TcpListener, Failure> {
    for port in PORT_DEFAULT..=PORT_LAST {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(Failure::usage(format!("cannot listen on 127.0.0.1:{port}: {error}"))),
        }
    }
    Err(Failure::usage(format!(
        "the ports {PORT_DEFAULT} to {PORT_LAST} are all in use: choose another one with --listen 127.0.0.1:PORT"
    )))
}

/// The address that a browser on this machine opens.
pub(crate) fn url(listener: &TcpListener) -> Result<String, Failure> {
    let address = listener.local_addr().map_err(|error| Failure::no(format!("cannot listen: {error}")))?;
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        // Listening everywhere is also listening here.
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };
    Ok(format!("http://{}", SocketAddr::new(ip, address.port())))
}

fn shown_ip(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Requests to stop this process: Ctrl-C, SIGTERM, or the end of its terminal. From its making on, the first one is
/// told to whoever waits, and the second one ends the process at once: whoever asks twice does not want to wait.
#[derive(Clone)]
pub(crate) struct Interrupt {
    asked: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes the requests from now on. Must be called within a tokio runtime.
    pub(crate) fn watch() -> Interrupt {
        let (sender, asked) = watch::channel(false);
        tokio::spawn(async move {
            next_signal().await;
            // Nobody waiting is no failure: the work may just have ended.
            let _ = sender.send(true);
            next_signal().await;
            crate::output::note("stopped at once");
            std::process::exit(1);
        });
        Interrupt { asked }
    }

    /// Waits for the first request.
    pub(crate) async fn wait(&self) {
        // An error means that the runtime is ending, which ends the waiting too.
        if self.asked.clone().wait_for(|asked| *asked).await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether there was a request.
    pub(crate) fn was_asked(&self) -> bool {
        *self.asked.borrow()
    }
}

#[cfg(unix)]
async fn next_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        // Without our handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
}

#[cfg(not(unix))]
async fn next_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_a_port_alone() {
        for (text, address) in [
            ("9000", "127.0.0.1:9000"),
            (":9000", "127.0.0.1:9000"),
            ("localhost:9000", "127.0.0.1:9000"),
            ("0.0.0.0:9000", "0.0.0.0:9000"),
            ("[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(parse_address(text).unwrap().to_string(), address);
        }
        for text in ["", "localhost", "here:1", "127.0.0.1", "99999"] {
            assert!(parse_address(text).is_err(), "{text:?}");
        }
    }
}
