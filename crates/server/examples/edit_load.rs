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
use std::io;
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
    column: String,
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
            value: value.clone(),
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
    let (mut took_ms, mut answer, mut room) = (Vec::new(), Vec::new(), vec![0; 65_536]);
    while Instant::now() < load.until {
        let request = match &load.edits {
            Some(edits) => {
                let body = edits.next()?;
                format!("{}{}\r\n\r\n{body}", load.head, body.len())
            }
            None => format!("{}\r\n", load.head),
        };
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !is_whole(&answer)? {
            match stream.read(&mut room).await? {
                0 => return Err("the server closed the connection".into()),
                count => answer.extend_from_slice(&room[..count]),
            }
        }
        took_ms.push(sent.elapsed().as_secs_f64() * 1000.0);
        if load.edits.is_some() && !contains(&answer, br#""status":"saved""#) {
            return Err(format!("an edit was not saved: {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    Ok(took_ms)
}

impl Edits {
    /// The body of the next edit.
    fn next(&self) -> Result<String, Failure> {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let value = match key / self.rows {
            0 => self.value.clone(),
            turn => format!("{} again {turn}", self.value),
        };
        let (column, value, key) = (&self.column, serde_json::to_string(&value)?, key % self.rows);
        let edit = format!(r#"{{"action":"update","key":"{key}","column":{column},"value":{value}}}"#);
        Ok(format!(r#"{{"source":"grid","edits":[{edit}]}}"#))
    }
}

/// Whether an answer with a content length is there to its end.
fn is_whole(answer: &[u8]) -> Result<bool, Failure> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.ok_or("an answer has no content length")?.trim().parse()?;
    Ok(answer.len() >= end + 4 + length)
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
