//! Which requests a writer commits together.
//!
//! A commit waits for the disk once, however many requests are in it. Those that arrive during a commit are the next one,
//! without waiting. That alone makes clients which send one request after the other fall into two groups that take turns,
//! each waiting for the other's commit: half as many edits in each, and twice as many commits. So a writer that has just
//! answered several clients waits for them to come back: as long as they keep coming, and no longer than the commit took,
//! since a commit that is ready a commit later has gained nothing. (`commit_delay` of PostgreSQL does the same with a fixed
//! time.) Clients that do not come back delay the others by a fraction of a commit. Where one client is alone nobody waits.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// The most requests, and about the most events, in one commit: so that nobody waits long for others.
pub(super) const COMMIT_REQUESTS_MAX: usize = 512;
const COMMIT_EVENTS_MAX: usize = 20_000;

/// The longest wait for requests that keep coming, beside the time that the last commit took.
const WAIT_MAX: Duration = Duration::from_millis(5);

/// The part of the time of a commit after which nobody else is expected, if nobody has come in it, as one part of so many;
/// and its limits. The least is what a client takes to read its answer and send the next request.
const GAP_PART: u32 = 4;
const GAP_MIN: Duration = Duration::from_micros(100);
const GAP_MAX: Duration = Duration::from_millis(1);

/// How often in that time the writer looks whether somebody has come.
const LOOKS_IN_GAP: u32 = 4;

/// The queue of a writer.
pub(super) struct Batches<R> {
    requests: mpsc::Receiver<R>,
    /// How many events a request has.
    events: fn(&R) -> usize,
    /// How many requests the next batch is likely to have: the clients that were just answered, and those that wait.
    expected: usize,
    /// How long to wait for them at most.
    wait: Duration,
    /// How long to wait for the next of them.
    gap: Duration,
}

impl<R> Batches<R> {
    pub(super) fn new(requests: mpsc::Receiver<R>, events: fn(&R) -> usize) -> Batches<R> {
        Batches { requests, events, expected: 0, wait: Duration::ZERO, gap: GAP_MIN }
    }

    /// The next requests to commit together, in the order in which they came; none when nobody can send any more.
    pub(super) fn next(&mut self) -> Option<Vec<R>> {
        let first = self.requests.blocking_recv()?;
        self.wait_for_others();
        let mut events = (self.events)(&first);
        let mut batch = Vec::with_capacity((1 + self.requests.len()).min(COMMIT_REQUESTS_MAX));
        batch.push(first);
        while batch.len() < COMMIT_REQUESTS_MAX && events < COMMIT_EVENTS_MAX {
            let Ok(next) = self.requests.try_recv() else { break };
            events += (self.events)(&next);
            batch.push(next);
        }
        Some(batch)
    }

    /// Waits for those who are expected beside the first one. Nobody has to wake the writer for that: it looks by itself.
    fn wait_for_others(&self) {
        let started = Instant::now();
        let (mut there, mut came) = (self.requests.len(), started);
        while 1 + there < self.expected {
            let now = Instant::now();
            if now - started >= self.wait || now - came >= self.gap {
                return;
            }
            std::thread::sleep(self.gap / LOOKS_IN_GAP);
            let there_now = self.requests.len();
            if there_now != there {
                (there, came) = (there_now, Instant::now());
            }
        }
    }

    /// Notes that a batch of so many requests was committed and answered, and how long that took.
    pub(super) fn committed(&mut self, requests: usize, took: Duration) {
        self.expected = (requests + self.requests.len()).min(COMMIT_REQUESTS_MAX);
        self.wait = took.min(WAIT_MAX);
        self.gap = (took / GAP_PART).clamp(GAP_MIN, GAP_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> (mpsc::Sender<usize>, Batches<usize>) {
        let (sender, receiver) = mpsc::channel(1_024);
        (sender, Batches::new(receiver, |events| *events))
    }

    fn send(sender: &mpsc::Sender<usize>, events: &[usize]) {
        events.iter().for_each(|events| sender.try_send(*events).unwrap_or_else(|error| panic!("{error}")));
    }

    #[test]
    fn what_waits_together_is_one_batch_up_to_the_limits() {
        let (sender, mut batches) = queue();
        send(&sender, &[1; COMMIT_REQUESTS_MAX + 3]);
        assert_eq!(batches.next().map(|batch| batch.len()), Some(COMMIT_REQUESTS_MAX));
        assert_eq!(batches.next().map(|batch| batch.len()), Some(3));
        send(&sender, &[1, COMMIT_EVENTS_MAX, 1]);
        assert_eq!(batches.next(), Some(vec![1, COMMIT_EVENTS_MAX]));
        assert_eq!(batches.next(), Some(vec![1]));
        drop(sender);
        assert_eq!(batches.next(), None);
    }

    #[test]
    fn whoever_does_not_come_back_delays_the_others_by_a_part_of_a_commit() {
        let (sender, mut batches) = queue();
        batches.committed(64, Duration::from_millis(2));
        assert_eq!((batches.wait, batches.gap), (Duration::from_millis(2), Duration::from_micros(500)));
        batches.committed(64, Duration::from_micros(80));
        assert_eq!((batches.wait, batches.gap), (Duration::from_micros(80), GAP_MIN));
        // However long the queue, nobody waits for more than one commit takes.
        send(&sender, &[1; COMMIT_REQUESTS_MAX]);
        batches.committed(COMMIT_REQUESTS_MAX, Duration::from_secs(1));
        assert_eq!(batches.expected, COMMIT_REQUESTS_MAX);
    }

    #[test]
    fn a_client_alone_never_waits_and_several_wait_for_each_other() {
        let (sender, mut batches) = queue();
        send(&sender, &[1]);
        assert_eq!(batches.next(), Some(vec![1]));
        batches.committed(1, Duration::from_secs(1));
        // A batch that is not smaller than expected ends without a wait.
        assert_eq!(batches.expected, 1);
        send(&sender, &[1]);
        assert_eq!(batches.next(), Some(vec![1]));

        // Two were answered and one waits: the batch ends with the third, or when the time is over.
        send(&sender, &[7]);
        batches.committed(2, Duration::from_secs(1));
        assert_eq!((batches.expected, batches.wait, batches.gap), (3, WAIT_MAX, GAP_MAX));
        send(&sender, &[8, 9]);
        assert_eq!(batches.next(), Some(vec![7, 8, 9]));
        send(&sender, &[1]);
        assert_eq!(batches.next(), Some(vec![1]));
    }
}
