//! `stet serve`: runs a node.

use std::net::SocketAddr;
use std::time::Duration;

use stet_app::{App, Clock, NodeConfig, PUSH_INTERVAL_S};
use tokio::net::TcpListener;

use crate::Global;
use crate::failure::Failure;
use crate::listen::Interrupt;
use crate::node::{self, ServeLock};
use crate::{listen, output};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen, such as 127.0.0.1:8820 [default: `listen` in stet.toml]
    #[arg(long, value_name = "ADDRESS", value_parser = listen::parse_address)]
    listen: Option<SocketAddr>,
}

pub(crate) async fn run(global: &Global, arguments: Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::watch();
    let folder = node::folder(global)?;
    // The configuration comes first: nothing is written into the folder of a node that this Stet cannot run.
    let config = NodeConfig::read(&folder)?;
    let _lock = ServeLock::take(&folder)?;
    let app = App::open(&folder, Clock::System).await?;
    app.check_secrets().await?;
    app.recover_builds().await?;
    app.recover_runs().await?;
    app.clear_incoming();
    app.watch_for_drift().await?;
    app.watch_editlogs();
    let listener = listen::bind(arguments.listen.unwrap_or(config.listen)).await?;
    output::print(&format!(
        "Stet serves the {} node {} on {}",
        config.role.as_str(),
        crate::table::shown_word(&config.name),
        listen::url(&listener)?
    ))?;
    if !listener.local_addr().is_ok_and(|address| address.ip().is_loopback()) {
        tracing::warn!(
            "this address is reached from other machines, and what travels is not encrypted: put a proxy with TLS before it"
        );
    }
    until_interrupted(app, listener, interrupt).await
}

/// Serves until this process is asked to stop, then ends what is under way.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn until_interrupted(app: App, listener: TcpListener, interrupt: Interrupt) -> Result<(), Failure> {
    let stop = async move {
        interrupt.wait().await;
        tracing::info!("stopping");
    };
    let mut pushing = tokio::task::JoinSet::new();
    for place in 0..app.push_places() {
        pushing.spawn(push_checkpoints(app.clone(), place));
    }
    let served = stet_server::serve(app.clone(), listener, stop).await;
    pushing.abort_all();
    // What was edited last is kept elsewhere too. A failure is in the log.
    let _ = tokio::task::spawn_blocking(move || app.push_checkpoints()).await;
    served.map_err(|error| Failure::no(format!("the server failed: {error}")))
}

/// Pushes new checkpoints to the place of this number in `stet.toml`, as long as the node is served. A place that is slow
/// keeps no other waiting.
async fn push_checkpoints(app: App, place: usize) {
    let mut interval = tokio::time::interval(Duration::from_secs(PUSH_INTERVAL_S));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let app = app.clone();
        // What fails is in the log; the next time may do better.
        let _ = tokio::task::spawn_blocking(move || app.push_to(place)).await;
    }
}
