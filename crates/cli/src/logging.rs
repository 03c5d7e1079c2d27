//! What Stet logs, on stderr, so that stdout is left to what was asked for.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::Failure;

/// How much to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Level {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// Also what a person should look at.
    Warn,
    /// Also what happened.
    Info,
    /// Also how.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

impl FromStr for Level {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        <Level as clap::ValueEnum>::from_str(text.trim(), true)
            .map_err(|_| format!("`{text}` is not a level: use off, error, warn, info, debug or trace"))
    }
}

/// Starts logging at the level that was asked for, else that of `STET_LOG`, else the command's own.
pub(crate) fn start(asked: Option<Level>, default: Level) -> Result<(), Failure> {
    let level = match (asked, std::env::var("STET_LOG")) {
        (Some(level), _) => level,
        (None, Ok(text)) if !text.is_empty() => {
            text.parse().map_err(|message| Failure::usage(format!("STET_LOG: {message}")))?
        }
        _ => default,
    };
    // Libraries are only heard when they warn: their details would bury ours.
    let targets = Targets::new()
        .with_target("stet", level.filter())
        .with_default(level.filter().min(if level == Level::Trace { LevelFilter::DEBUG } else { LevelFilter::WARN }));
    let is_terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    tracing_subscriber::registry().with(layer).with(targets).init();
    Ok(())
}
