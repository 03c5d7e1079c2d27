//! Clients that edit one cell after the other:
//! `STET_TOKEN=TOKEN edit_load PORT PATH CLIENTS SECONDS FIRST_KEY ROWS COLUMN VALUE`; or, without the last four, clients
//! that ask for the path again and again, to know what everything around an edit costs.
//!
//! Each client sends an edit of a row of its own on a connection that stays open, waits for the answer, and sends the
//! next: keys are whole numbers from `FIRST_KEY` on, and after the last of the `ROWS` from 0 on with another value. Prints
//! one line of JSON: how many edits a second, how long each took in milliseconds, sorted, and the CPU time of the clients
//! as a share of one core.
//! `bench/edits.py` runs it, since clients in Python would take a core that the server needs.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Failure = Box<dyn Error + Send + Sync>;

struct Load {
    port: u16,
    head: String,
    edits: Option<Edits>,
    until: Instant,
}

struct Edits {
    rows: u64,
    /// As JSON.
    column: String,
    /// As JSON, without its quotes.
    value: String,
    next_key: AtomicU64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([port, path, clients, seconds] | [port, path, clients, seconds, _, _, _, _]) = &arguments[..] else {
        return Err(
            "usage: edit_load PORT PATH CLIENTS SECONDS [FIRST_KEY ROWS COLUMN VALUE], with a token in STET_TOKEN"
                .into(),
        );
    };
    let edits = match &arguments[4..] {
        [first_key, rows, column, value] => Some(Edits {
            rows: rows.parse::<u64>()?.max(1),
            column: serde_json::to_string(column)?,
            value: inner(&serde_json::to_string(value)?).to_owned(),
            next_key: AtomicU64::new(first_key.parse()?),
        }),
        _ => None,
    };
    let token = std::env::var("STET_TOKEN").map_err(|_| "STET_TOKEN is not set")?;
    let started = Instant::now();
    let (method, content) =
        if edits.is_some() { ("POST", "Content-Type: application/json\r\nContent-Length: ") } else { ("GET", "") };
    let load = Arc::new(Load {
        port: port.parse()?,
        head: format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n{content}"),
        edits,
        until: started + Duration::from_secs_f64(seconds.parse()?),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients.parse::<usize>()? {
        tasks.spawn(client(load.clone()));
    }
    let mut took_ms = Vec::new();
    while let Some(done) = tasks.join_next().await {
        took_ms.extend(done??);
    }
    let elapsed_s = started.elapsed().as_secs_f64();
    took_ms.sort_by(f64::total_cmp);
    let answer = serde_json::json!({
        "per_second": took_ms.len() as f64 / elapsed_s,
        "client_share": cpu_s().unwrap_or(0.0) / elapsed_s,
        "latencies_ms": took_ms,
    });
    println!("{answer}");
    Ok(())
}

async fn client(load: Arc<Load>) -> Result<Vec<f64>, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", load.port)).await?;
    stream.set_nodelay(true)?;
    let (mut took_ms, mut answer, mut request) = (Vec::new(), Vec::with_capacity(65_536), Vec::new());
    while Instant::now() < load.until {
        request.clear();
        request.extend_from_slice(load.head.as_bytes());
        match &load.edits {
            Some(edits) => {
                let body = edits.next();
                write!(request, "{}\r\n\r\n{body}", body.len())?;
            }
            None => request.extend_from_slice(b"\r\n"),
        }
        let sent = Instant::now();
        stream.write_all(&request).await?;
        answer.clear();
        let body = loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            if let Some(body) = body_of(&answer)? {
                break body;
            }
        };
        took_ms.push(sent.elapsed().as_secs_f64() * 1000.0);
        if load.edits.is_some() && !contains(body, br#""status":"saved""#) {
            return Err(format!("an edit was not saved: {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    Ok(took_ms)
}

impl Edits {
    /// The body of the next edit.
    fn next(&self) -> String {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let (turn, key) = (key / self.rows, key % self.rows);
        let (column, value) = (&self.column, &self.value);
        let again = if turn == 0 { String::new() } else { format!(" again {turn}") };
        format!(
            r#"{{"source":"grid","edits":[{{"action":"update","key":"{key}","column":{column},"value":"{value}{again}"}}]}}"#
        )
    }
}

/// The body of an answer with a content length, if it is there to its end.
fn body_of(answer: &[u8]) -> Result<Option<&[u8]>, Failure> {
    const LENGTH: &[u8] = b"content-length:";
    let (mut rest, mut length) = (answer, None);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = rest[..end].trim_ascii();
        rest = &rest[end + 1..];
        if line.is_empty() {
            let length: usize = length.ok_or("an answer has no content length")?;
            return Ok((rest.len() >= length).then_some(rest));
        }
        if line.len() > LENGTH.len() && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH) {
            length = Some(std::str::from_utf8(line[LENGTH.len()..].trim_ascii())?.parse()?);
        }
    }
    Ok(None)
}

/// A text in JSON without the quotes around it.
fn inner(json: &str) -> &str {
    json.get(1..json.len().saturating_sub(1)).unwrap_or_default()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The CPU time of this process, in seconds, as Linux tells it.
fn cpu_s() -> Result<f64, io::Error> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time, in hundredths of a second.
    Ok(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}
