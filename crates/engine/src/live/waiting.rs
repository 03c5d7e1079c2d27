//! Who waits for which rows: work that nobody waits for any more is given up.
//!
//! Not at once. Whoever scrolls on asks for the same order again, and a request that took too long is often sent again: so
//! the work goes on for a little while after the last of those who asked has gone. Not for those who said that they want it no
//! more: they do not come again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::progress::WorkKey;
use crate::control::Control;

/// Everybody who waits for rows that are not there yet. Locked only to look, or to be put in or taken out.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    asking: Mutex<Vec<Asked>>,
}

#[derive(Debug)]
struct Asked {
    number: u64,
    key: WorkKey,
    control: Control,
}

/// One who waits; taken out when it is dropped.
pub(super) struct Asking<'a> {
    waiting: &'a Waiting,
    number: u64,
    key: WorkKey,
}

impl Waiting {
    pub(super) fn add(&self, key: WorkKey, control: &Control) -> Asking<'_> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        // Those who came later are behind.
        let number = asking.last().map_or(0, |last| last.number + 1);
        asking.push(Asked { number, key: key.clone(), control: control.clone() });
        Asking { waiting: self, number, key }
    }

    /// Whether somebody waits for these rows and has not gone.
    pub(super) fn is_waited_for(&self, key: &WorkKey) -> bool {
        let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.iter().any(|asked| asked.key == *key && !asked.control.is_cancelled())
    }
}

impl Asking<'_> {
    /// Whether this one has gone, and everybody else who waited for the same rows.
    pub(super) fn is_alone_and_gone(&self) -> bool {
        self.all(Control::is_cancelled)
    }

    /// Whether this one wants the rows no more, and nobody else who waited for them does.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.all(Control::is_withdrawn)
    }

    fn all(&self, is_so: impl Fn(&Control) -> bool) -> bool {
        let asking = self.waiting.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.iter().filter(|asked| asked.key == self.key).all(|asked| is_so(&asked.control))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut asking = self.waiting.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.retain(|asked| asked.number != self.number);
    }
}

/// Ends when something has been so for a time without a break, as often as it was looked at.
pub(super) struct Patience {
    length: Duration,
    since: Mutex<Option<Instant>>,
}

impl Patience {
    pub(super) fn new(length: Duration) -> Patience {
        Patience { length, since: Mutex::new(None) }
    }

    /// Looks whether it is so now, and whether it has been for long enough.
    pub(super) fn ends(&self, is_so: bool) -> bool {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_so {
            *since = None;
            return false;
        }
        since.get_or_insert_with(Instant::now).elapsed() >= self.length
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use stet_domain::Login;

    use super::*;
    use crate::live::query::OrderKey;
    use crate::live::{Query, Sort};

    fn key(column: &str) -> WorkKey {
        let sort = vec![Sort { column: column.into(), descending: false }];
        WorkKey::Order(OrderKey::new(&Query { sort, ..Query::default() }, &Login::none()))
    }

    #[test]
    fn rows_are_waited_for_until_all_who_asked_for_them_have_gone() {
        let flags: Vec<Arc<AtomicBool>> = (0..3).map(|_| Arc::default()).collect();
        let [one, other, third] = [0, 1, 2].map(|place| Control::new(Arc::clone(&flags[place]), |_| {}));
        let waiting = Waiting::default();
        let first = waiting.add(key("a"), &one);
        let second = waiting.add(key("a"), &other);
        let of_another = waiting.add(key("b"), &third);
        flags[0].store(true, Ordering::Relaxed);
        assert!(!first.is_alone_and_gone());
        drop(second);
        assert!(first.is_alone_and_gone() && !of_another.is_alone_and_gone());
        // Somebody asks again before it is given up.
        let again = waiting.add(key("a"), &other);
        assert!(!first.is_alone_and_gone());
        drop((first, again, of_another));
        assert!(waiting.asking.lock().unwrap().is_empty());
    }

    #[test]
    fn rows_are_withdrawn_when_all_who_asked_for_them_want_them_no_more() {
        let flags: Vec<Arc<AtomicBool>> = (0..2).map(|_| Arc::default()).collect();
        let gone: Vec<Arc<AtomicBool>> = (0..2).map(|_| Arc::default()).collect();
        let [one, other] =
            [0, 1].map(|place| Control::new(gone[place].clone(), |_| {}).withdrawn_by(Arc::clone(&flags[place])));
        let waiting = Waiting::default();
        let first = waiting.add(key("a"), &one);
        let second = waiting.add(key("a"), &other);
        flags[0].store(true, Ordering::Relaxed);
        assert!(!first.is_withdrawn() && !first.is_alone_and_gone() && waiting.is_waited_for(&key("a")));
        // Who has only gone may come again.
        gone[1].store(true, Ordering::Relaxed);
        assert!(!first.is_withdrawn() && first.is_alone_and_gone() && !waiting.is_waited_for(&key("a")));
        drop(second);
        assert!(first.is_withdrawn());
    }

    #[test]
    fn patience_begins_anew_whenever_it_was_not_so() {
        let short = Patience::new(Duration::ZERO);
        assert!(!short.ends(false) && short.ends(true) && !short.ends(false));
        let long = Patience::new(Duration::from_secs(3_600));
        assert!(!long.ends(true) && long.since.lock().unwrap().is_some());
        assert!(!long.ends(false) && long.since.lock().unwrap().is_none());
    }
}
