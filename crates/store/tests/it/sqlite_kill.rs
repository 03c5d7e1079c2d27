//! A process that appends is killed again and again: what it acknowledged is there, once.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use stet_domain::ClientEventId;
use stet_store::{Append, EditlogSettings, Editlogs, Expected, Outcome};
use uuid::Uuid;

use crate::fixture::{Backend, Sqlite, strikes, update};

/// Names the file that the child process appends to.
const CHILD_FILE: &str = "STET_STORE_TEST_CHILD_FILE";
const ROUNDS: usize = 12;
const ACKNOWLEDGED_BEFORE_KILL: usize = 150;

#[test]
fn what_was_acknowledged_before_a_kill_is_there_exactly_once() {
    if let Some(path) = std::env::var_os(CHILD_FILE) {
        append_for_ever(PathBuf::from(path));
    }
    let place = Sqlite::new();
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite_kill::what_was_acknowledged_before_a_kill_is_there_exactly_once", "--nocapture"])
            .env(CHILD_FILE, place.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut fresh = 0;
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            // The last line may be cut short by the kill.
            if let Some(id) = line.strip_prefix("acknowledged ").and_then(|rest| rest.strip_suffix('\n')) {
                fresh += usize::from(acknowledged.insert(id.parse::<Uuid>().unwrap()));
                if fresh == ACKNOWLEDGED_BEFORE_KILL + round {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        assert!(!child.wait().unwrap().success());
        assert!(fresh >= ACKNOWLEDGED_BEFORE_KILL, "the child ended by itself");

        let events = place.reader(&strikes()).read_since(None, 100_000).unwrap();
        let stored: Vec<_> = events.iter().map(|event| event.event_id.0).collect();
        let once: HashSet<_> = stored.iter().copied().collect();
        assert_eq!(once.len(), stored.len(), "an event is there twice");
        assert_eq!(acknowledged.difference(&once).count(), 0, "an acknowledged event is lost");
        // Each of the tasks has at most one event under way.
        assert!(stored.len() <= acknowledged.len() + ROUNDS * TASKS, "{} {}", stored.len(), acknowledged.len());
    }
}

const TASKS: usize = 8;

/// Appends and tells what was acknowledged until the process is killed. It sends what earlier rounds have sent again,
/// as clients do who never got an answer.
fn append_for_ever(path: PathBuf) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let editlogs = Editlogs::open_sqlite(&path, EditlogSettings::default()).unwrap();
        let log = editlogs.initialise(&strikes()).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..TASKS {
            let log = log.clone();
            tasks.spawn(async move {
                for n in 0_u64.. {
                    let mut event = update(&task.to_string(), "size", Some(&n.to_string()));
                    event.event_id = ClientEventId(Uuid::from_u64_pair(task as u64, n));
                    let id = event.event_id.0;
                    let request = Append { atomic: false, events: vec![(event, Expected::Any)] };
                    let outcomes = log.append(request).await.unwrap();
                    assert!(matches!(outcomes[..], [Outcome::Appended(_) | Outcome::AlreadyThere(_)]));
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {id}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
        tasks.join_all().await;
    });
}
