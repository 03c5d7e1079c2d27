//! The audit trail, shipped as it is written: as JSON lines to a file, and as syslog messages (RFC 5424) to a receiver.
//!
//! Nothing waits in memory: what is to be shipped stands in the node's database, and is read in parts of a limited size. How far a file
//! is, its last line tells; how far a receiver is, a file of the node's folder. An entry may come twice, when something broke in
//! between, and never not at all, unless datagrams get lost on a network.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stet_domain::LogDate;
use stet_engine::write::AtomicFile;
use stet_store::node::{AuditEvent, AuditOutcome, AuditQuery};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};

use crate::App;
use crate::audit::AuditLine;
use crate::config::SyslogTarget;
use crate::datasets::blocking;
use crate::error::{AppError, Chain};

/// How often the trail is looked at for entries to ship.
const SHIP_INTERVAL: Duration = Duration::from_secs(1);

/// How many entries are shipped at a time.
const SHIP_EVENTS: usize = 500;

/// How long a receiver may take to be reached, and to take what it is sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a receiver has to end a connection that is ended; then it is taken to have read everything.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Entries that wait longer than this are an alarm.
pub const SHIPPING_BEHIND_S_MAX: i64 = 60;

/// How much of the end of a file is looked at for its last line; an entry is shorter.
const TAIL_BYTES: u64 = 64 * 1024;

/// The facility of log audits (RFC 5424, section 6.2.1).
const FACILITY: u8 = 13;

/// The longest name of a kind of message.
const MSGID_CHARACTERS_MAX: usize = 32;

/// How far the trail is shipped to one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippingStatus {
    /// The file or the receiver.
    pub to: String,
    /// The last entry that was shipped; none if that is not known yet.
    pub shipped: Option<i64>,
    /// How many entries wait.
    pub waiting: u64,
    /// Why they cannot be shipped, if they cannot.
    pub failure: Option<String>,
    /// Since when.
    pub failing_since: Option<LogDate>,
    /// Whether the first that waits does so for too long.
    pub late: bool,
}

/// How far the trail is shipped; owned by the node.
#[derive(Default)]
pub(crate) struct Shipments(Mutex<Vec<ShippingStatus>>);

impl Shipments {
    fn all(&self) -> MutexGuard<'_, Vec<ShippingStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the trail is shipped to.
enum Sink {
    File(PathBuf),
    Syslog {
        target: SyslogTarget,
        /// The file that says how far the receiver is.
        position: PathBuf,
    },
}

/// How far a receiver is.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    target: String,
    shipped: i64,
}

impl App {
    /// Ships the audit trail to where `[audit]` in `stet.toml` says, for ever; ends at once when that is nowhere. What was
    /// written while the node stood still, or the receiver was gone, is shipped as well.
    pub async fn ship_audit(&self) {
        let config = &self.inner.config.audit;
        let file = config.file.as_ref().map(|file| Sink::File(self.inner.folder.resolve(file)));
        let position = self.inner.folder.resolve(Path::new("audit.shipped.json"));
        let syslog = config.syslog.clone().map(|target| Sink::Syslog { target, position });
        let ship = async |sink: Option<Sink>| {
            if let Some(sink) = sink {
                self.ship_for_ever(&sink).await;
            }
        };
        tokio::join!(ship(file), ship(syslog));
    }

    /// How far the trail is shipped.
    ///
    /// # Errors
    /// When the trail cannot be read.
    pub(crate) async fn shipping_statuses(&self) -> Result<Vec<ShippingStatus>, AppError> {
        let mut statuses = self.inner.shipments.all().clone();
        if statuses.is_empty() {
            return Ok(statuses);
        }
        let last = self.inner.node.audit_events(AuditQuery::default(), None, 1).await?;
        let last = last.first().map_or(0, |event| event.id);
        for status in &mut statuses {
            let Some(shipped) = status.shipped else { continue };
            status.waiting = last.saturating_sub(shipped).unsigned_abs();
            let first = self.inner.node.audit_events_after(shipped, 1).await?;
            let micros = self.inner.clock.now().micros();
            status.late = first.first().is_some_and(|first| {
                micros.saturating_sub(first.event.at.micros()) > SHIPPING_BEHIND_S_MAX * 1_000_000
            });
        }
        Ok(statuses)
    }

    async fn ship_for_ever(&self, sink: &Sink) {
        let mut shipped: Option<i64> = None;
        let mut version = None;
        let mut look = tokio::time::interval(SHIP_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let now = self.inner.node.version().ok();
            if now.is_some() && now == version {
                continue;
            }
            let result = self.ship(sink, &mut shipped).await;
            if result.is_ok() {
                version = now;
            }
            self.note_shipping(&sink.name(), shipped, result.err().map(|error| Chain(&error).to_string()));
        }
    }

    async fn ship(&self, sink: &Sink, shipped: &mut Option<i64>) -> Result<(), AppError> {
        loop {
            let after = match *shipped {
                Some(after) => after,
                None => *shipped.insert(sink.shipped().await?),
            };
            let events = self.inner.node.audit_events_after(after, SHIP_EVENTS).await?;
            let Some(last) = events.last().map(|event| event.id) else { return Ok(()) };
            sink.ship(events).await?;
            *shipped = Some(last);
            // The page of the status tells how far a long way is.
            self.note_shipping(&sink.name(), *shipped, None);
        }
    }

    /// Remembers how far it is; the log of the node has the beginning and the end of a failure.
    fn note_shipping(&self, to: &str, shipped: Option<i64>, failure: Option<String>) {
        let mut all = self.inner.shipments.all();
        let place = all.iter().position(|status| status.to == to).unwrap_or_else(|| {
            let (to, failure, failing_since) = (to.to_owned(), None, None);
            all.push(ShippingStatus { to, shipped, waiting: 0, failure, failing_since, late: false });
            all.len() - 1
        });
        let status = &mut all[place];
        match (&status.failure, &failure) {
            (None, Some(failure)) => tracing::error!(to, failure, "the audit trail cannot be shipped"),
            (Some(_), None) => tracing::info!(to, "the audit trail is shipped again"),
            _ => {}
        }
        status.shipped = shipped.or(status.shipped);
        status.failing_since = failure.as_ref().map(|_| status.failing_since.unwrap_or(self.inner.clock.now()));
        status.failure = failure;
    }
}

impl Sink {
    fn name(&self) -> String {
        match self {
            Sink::File(path) => path.display().to_string(),
            Sink::Syslog { target, .. } => target.to_string(),
        }
    }

    /// The last entry that is there.
    async fn shipped(&self) -> Result<i64, AppError> {
        match self {
            Sink::File(path) => {
                let path = path.clone();
                blocking(move || last_in_file(&path)).await
            }
            Sink::Syslog { target, position } => {
                let (target, path) = (target.to_string(), position.clone());
                blocking(move || match std::fs::read(&path) {
                    // A position that cannot be read, or is that of another receiver, is none: everything is shipped.
                    Ok(text) => {
                        let kept = serde_json::from_slice::<Position>(&text).ok();
                        Ok(kept.filter(|kept| kept.target == target).map_or(0, |kept| kept.shipped))
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
                    Err(error) => Err(cannot(&path.display(), &error)),
                })
                .await
            }
        }
    }

    async fn ship(&self, events: Vec<AuditEvent>) -> Result<(), AppError> {
        match self {
            Sink::File(path) => {
                let path = path.clone();
                blocking(move || append_lines(&path, &events)).await
            }
            Sink::Syslog { target, position } => {
                let messages = events.iter().map(message).collect::<Result<Vec<_>, _>>()?;
                let sending = send(target, &messages);
                let sent = tokio::time::timeout(SEND_TIMEOUT, sending).await;
                let sent = sent.unwrap_or_else(|_| Err(std::io::Error::from(ErrorKind::TimedOut)));
                sent.map_err(|error| cannot(target, &error))?;
                let shipped = events.last().map_or(0, |event| event.id);
                let (kept, path) = (Position { target: target.to_string(), shipped }, position.clone());
                blocking(move || {
                    let mut file = AtomicFile::create(&path)?;
                    serde_json::to_writer(&mut file, &kept).map_err(AppError::internal)?;
                    file.commit()?;
                    Ok(())
                })
                .await
            }
        }
    }
}

fn cannot(to: &dyn std::fmt::Display, error: &std::io::Error) -> AppError {
    AppError::Unavailable(format!("the audit trail cannot be shipped to {to}: {error}"))
}

/// An entry as a message of RFC 5424, with its JSON as the text.
fn message(entry: &AuditEvent) -> Result<String, AppError> {
    let event = &entry.event;
    let severity = match event.outcome {
        AuditOutcome::Done => 6,
        AuditOutcome::Refused => 4,
        AuditOutcome::Failed => 3,
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = |text: &str, most: usize| {
        let name: String = text.trim().chars().filter(char::is_ascii_graphic).take(most).collect();
        if name.is_empty() { "-".to_owned() } else { name }
    };
    let text = serde_json::to_string(&AuditLine::from(entry)).map_err(AppError::internal)?;
    Ok(format!(
        "<{}>1 {} {} stet {} {} - {text}",
        FACILITY * 8 + severity,
        event.at,
        name(&host, 255),
        std::process::id(),
        name(&event.action, MSGID_CHARACTERS_MAX),
    ))
}

/// Sends messages. When it succeeds, the receiver has them, as far as its kind of connection can tell.
async fn send(target: &SyslogTarget, messages: &[String]) -> std::io::Result<()> {
    match target {
        #[cfg(unix)]
        SyslogTarget::Unix(path) => {
            let socket = tokio::net::UnixDatagram::unbound()?;
            socket.connect(path)?;
            for message in messages {
                socket.send(message.as_bytes()).await?;
            }
            Ok(())
        }
        #[cfg(not(unix))]
        SyslogTarget::Unix(_) => Err(std::io::Error::from(ErrorKind::Unsupported)),
        SyslogTarget::Udp(address) => {
            let to = lookup_host(address).await?.next().ok_or(ErrorKind::AddrNotAvailable)?;
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(to).await?;
            for message in messages {
                socket.send(message.as_bytes()).await?;
            }
            Ok(())
        }
        SyslogTarget::Tcp(address) => {
            let mut stream = TcpStream::connect(address.as_str()).await?;
            let mut bytes = Vec::new();
            for message in messages {
                bytes.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
            }
            stream.write_all(&bytes).await?;
            // That it was written says nothing: it may lie in a buffer of a receiver that was killed. So we end the connection, and
            // the receiver ends it too when it has read to the end; one that is gone resets it.
            stream.shutdown().await?;
            let mut rest = [0; 256];
            let ended = async {
                while stream.read(&mut rest).await? > 0 {}
                Ok(())
            };
            tokio::time::timeout(END_TIMEOUT, ended).await.unwrap_or(Ok(()))
        }
    }
}

/// The last entry in a file; 0 for none. A line that was cut off by a crash is ended, and shipped again.
fn last_in_file(path: &PathBuf) -> Result<i64, AppError> {
    use std::io::{Read, Seek, SeekFrom, Write};
    #[derive(Deserialize)]
    struct Line {
        id: i64,
    }
    let fail = |error| cannot(&path.display(), &error);
    let mut file = match std::fs::File::options().read(true).append(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(fail(error)),
    };
    let mut tail = Vec::new();
    let size = file.metadata().map_err(fail)?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))
        .and_then(|_| file.read_to_end(&mut tail))
        .map_err(fail)?;
    if !tail.is_empty() && tail.last() != Some(&b'\n') {
        file.write_all(b"\n").map_err(fail)?;
    }
    let lines = tail.split(|byte| *byte == b'\n').rev();
    let last = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()).next();
    Ok(last.map_or(0, |line| line.id))
}

fn append_lines(path: &Path, events: &[AuditEvent]) -> Result<(), AppError> {
    use std::io::Write;
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(&AuditLine::from(event)).map_err(AppError::internal)?);
        text.push('\n');
    }
    let fail = |error| cannot(&path.display(), &error);
    let mut options = std::fs::File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    let mut file = options.open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(fail)
}
