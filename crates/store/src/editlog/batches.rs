//! Which requests a writer commits together.
//!
//! A commit waits for the disk once, however many requests are in it. Those that arrive during a commit are the next one,
//! without waiting. That alone makes clients which send one request after the other fall into two groups that take turns,
//! each waiting for the other's commit. So a writer that has just answered several clients waits a little for them to come
//! back, a fraction of what the commit took (as `commit_delay` of PostgreSQL does, with a time that follows the disk).
//! Where one client is alone nobody waits.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// The most requests, and about the most events, in one commit: so that nobody waits long for others.
pub(super) const COMMIT_REQUESTS_MAX: usize = 512;
const COMMIT_EVENTS_MAX: usize = 20_000;

/// The part of the time of a commit that the next one waits for more requests, as one part of so many, and its limit.
const WAIT_PART: u32 = 4;
const WAIT_MAX: Duration = Duration::from_millis(2);

/// How long the writer sleeps before it looks for requests again.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// The queue of a writer.
pub(super) struct Batches<R> {
    requests: mpsc::Receiver<R>,
    /// How many events a request has.
    events: fn(&R) -> usize,
    /// How many requests the next batch is likely to have: the clients that were just answered, and those that wait.
    expected: usize,
    wait: Duration,
}

impl<R> Batches<R> {
    pub(super) fn new(requests: mpsc::Receiver<R>, events: fn(&R) -> usize) -> Batches<R> {
        Batches { requests, events, expected: 0, wait: Duration::ZERO }
    }

    /// The next requests to commit together, in the order in which they came; none when nobody can send any more.
    pub(super) fn next(&mut self) -> Option<Vec<R>> {
        let first = self.requests.blocking_recv()?;
        let mut events = (self.events)(&first);
        let mut batch = vec![first];
        let started = Instant::now();
        while batch.len() < COMMIT_REQUESTS_MAX && events < COMMIT_EVENTS_MAX {
            match self.requests.try_recv() {
                Ok(next) => {
                    events += (self.events)(&next);
                    batch.push(next);
                }
                Err(mpsc::error::TryRecvError::Empty)
                    if batch.len() < self.expected && started.elapsed() < self.wait =>
                {
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(_) => break,
            }
        }
        Some(batch)
    }

    /// Notes that a batch of so many requests was committed and answered, and how long that took.
    pub(super) fn committed(&mut self, requests: usize, took: Duration) {
        self.expected = requests + self.requests.len();
        self.wait = (took / WAIT_PART).min(WAIT_MAX);
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
        assert_eq!((batches.expected, batches.wait), (3, WAIT_MAX));
        send(&sender, &[8, 9]);
        assert_eq!(batches.next(), Some(vec![7, 8, 9]));
        send(&sender, &[1]);
        assert_eq!(batches.next(), Some(vec![1]));
    }
}
