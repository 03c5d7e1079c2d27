//! Finds out which events belong to which hashes, and names those that do not.
//!
//! While event and hash are equal nothing is kept. At a mismatch a window of both is looked through for the nearest
//! place from which they agree again; what lies before it was changed, taken away or put in.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{FINDINGS_MAX, Finding};
use crate::event::{Event, Field, Personal};
use crate::hash::Hash;

/// How many events and hashes are looked through for the place where a log goes on.
const WINDOW: usize = 128;

/// How many events in a row must agree before a log counts as going on.
const RUN: usize = 2;

/// How often the window is searched; after that, events and hashes are compared one to one.
const SEARCHES_MAX: usize = 128;

/// A hash that waits for its event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// The leaf, from 0.
    index: u64,
    pub(super) reference: Hash,
    pub(super) stored: Option<Hash>,
}

#[derive(Debug)]
struct Pending {
    event: Event<'static>,
    hash: Hash,
}

/// What disagrees.
#[derive(Debug, Default)]
pub(super) struct Mismatches {
    pub(super) found: Vec<Finding>,
    /// How many are not in `found`.
    pub(super) more: u64,
    /// The first leaf, from 0, after which hashes and no events are left.
    pub(super) missing_from: Option<u64>,
}

/// Events and hashes between two places where a log agrees.
#[derive(Debug)]
struct Block {
    events: Vec<Event<'static>>,
    hashes: Vec<Waiting>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Aligner {
    buffer: Vec<u8>,
    hashes: VecDeque<Waiting>,
    events: VecDeque<Pending>,
    hashes_ended: bool,
    hashes_pushed: u64,
    /// Whether events were found to stand at other places than they were sealed at.
    shifted: bool,
    searches: usize,
    blocks: Vec<Block>,
    /// Events and hashes in `blocks`.
    held: usize,
    mismatches: Mismatches,
    /// Events before those that wait, newest last, since the first mismatch: an event that was moved may have left its
    /// salts behind.
    recent: VecDeque<Event<'static>>,
}

type Consume<'a> = dyn FnMut(Option<Hash>, Option<Hash>, Option<Hash>) + 'a;

impl Aligner {
    pub(super) fn new() -> Aligner {
        Aligner {
            buffer: Vec::new(),
            hashes: VecDeque::new(),
            events: VecDeque::new(),
            hashes_ended: false,
            hashes_pushed: 0,
            shifted: false,
            searches: 0,
            blocks: Vec::new(),
            held: 0,
            mismatches: Mismatches::default(),
            recent: VecDeque::new(),
        }
    }

    pub(super) fn hash(&mut self, event: &Event<'_>) -> Hash {
        event.leaf_hash(&mut self.buffer)
    }

    pub(super) fn push_hash(&mut self, index: u64, reference: Hash, stored: Option<Hash>) {
        self.hashes_pushed = index + 1;
        self.hashes.push_back(Waiting { index, reference, stored });
    }

    pub(super) fn end_hashes(&mut self) {
        self.hashes_ended = true;
    }

    /// Takes an event. In the ordinary case, where it is done with at once, gives the hash that it agrees with, or none
    /// for an event that is not sealed.
    pub(super) fn push_event(&mut self, event: &Event<'_>, hash: Hash) -> Option<Option<Waiting>> {
        if self.events.is_empty() {
            if self.hashes.front().is_some_and(|waiting| waiting.reference == hash) {
                if self.shifted {
                    self.remember(event.clone().into_owned());
                }
                return Some(self.hashes.pop_front());
            }
            if self.hashes.is_empty() && self.hashes_ended {
                return Some(None);
            }
        }
        self.events.push_back(Pending { event: event.clone().into_owned(), hash });
        None
    }

    /// The hash at the front, if it is this one and nothing is out of order.
    pub(super) fn take_if_next(&mut self, hash: Hash) -> Option<Waiting> {
        let next = !self.shifted && self.events.is_empty() && self.hashes.front()?.reference == hash;
        if next { self.hashes.pop_front() } else { None }
    }

    /// Compares as far as what is there allows, or to the end.
    pub(super) fn advance(&mut self, events_ended: bool, consume: &mut Consume<'_>) {
        loop {
            match (self.events.front(), self.hashes.front()) {
                (Some(pending), Some(waiting)) => {
                    if pending.hash == waiting.reference || (self.shifted && self.belongs(&pending.event, waiting)) {
                        self.take(1, 1, consume);
                        continue;
                    }
                    // The ids of a log have no gaps: a later id says that events before it are gone.
                    let jumps = pending.event.id > waiting.index + 1
                        && self.events.get(1).is_none_or(|next| next.event.id == pending.event.id + 1)
                        && !self.shifted;
                    let enough = |waiting: usize, ended: bool| ended || waiting >= WINDOW + RUN;
                    if !enough(self.events.len(), events_ended) || !enough(self.hashes.len(), self.hashes_ended) {
                        return;
                    }
                    if jumps && self.goes_on_by_id() {
                        let gone = pending.event.id - 1 - waiting.index;
                        let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(self.hashes.len());
                        self.gone(gone, consume);
                        continue;
                    }
                    let (events, hashes) = self.search(events_ended);
                    self.block(events, hashes, consume);
                }
                (Some(_), None) if self.hashes_ended => {
                    // Not sealed.
                    let rest = self.events.len();
                    self.take(rest, 0, consume);
                }
                (None, Some(waiting)) if events_ended => {
                    self.mismatches.missing_from.get_or_insert(waiting.index);
                    let rest = self.hashes.len();
                    self.take(0, rest, consume);
                }
                _ => return,
            }
        }
    }

    /// Whether the event at the front is the one that was sealed under its own id, further on.
    fn goes_on_by_id(&self) -> bool {
        let (Some(pending), Some(waiting)) = (self.events.front(), self.hashes.front()) else { return false };
        let ahead = pending.event.id - 1 - waiting.index;
        match usize::try_from(ahead).ok().and_then(|ahead| self.hashes.get(ahead)) {
            Some(waiting) => waiting.reference == pending.hash,
            // Further than what was pushed so far: the id is all there is to go by.
            None => true,
        }
    }

    /// Hashes at the front whose events are gone.
    fn gone(&mut self, count: usize, consume: &mut Consume<'_>) {
        if let Some(first) = self.hashes.front().map(|waiting| waiting.index + 1) {
            let last = first + count as u64 - 1;
            match self.mismatches.found.last_mut() {
                Some(Finding::Deleted { last: before, .. }) if *before + 1 == first => *before = last,
                _ => self.find(Finding::Deleted { first, last }),
            }
        }
        self.take(0, count, consume);
    }

    fn find(&mut self, finding: Finding) {
        if self.mismatches.found.len() < FINDINGS_MAX {
            self.mismatches.found.push(finding);
        } else {
            self.mismatches.more += 1;
        }
    }

    /// The nearest place where events and hashes agree again, as how many of each lie before it.
    fn search(&mut self, events_ended: bool) -> (usize, usize) {
        let (events, hashes) = (self.events.len().min(WINDOW), self.hashes.len().min(WINDOW));
        if self.searches >= SEARCHES_MAX {
            return (1, 1);
        }
        self.searches += 1;
        let agree = |event: usize, hash: usize| match (self.events.get(event), self.hashes.get(hash)) {
            (Some(pending), Some(waiting)) => {
                pending.hash == waiting.reference || self.belongs(&pending.event, waiting)
            }
            (None, None) => events_ended && self.hashes_ended,
            // Events after the last hash are not sealed.
            (Some(pending), None) => self.hashes_ended && pending.event.id > self.hashes_pushed,
            (None, Some(_)) => false,
        };
        for distance in 1..=events + hashes {
            // Changed in place is likelier than taken away and put in.
            let middle = distance / 2;
            let order = (0..=distance).flat_map(|off| [middle.checked_sub(off), middle.checked_add(off)]);
            for event in order.flatten().filter(|event| *event <= distance) {
                let hash = distance - event;
                if event <= events && hash <= hashes && (0..RUN).all(|run| agree(event + run, hash + run)) {
                    return (event, hash);
                }
            }
        }
        let both = events.min(hashes).max(1);
        (both, both)
    }

    /// Whether `event` is the one that was sealed there, though its id says another place.
    fn belongs(&self, event: &Event<'_>, waiting: &Waiting) -> bool {
        let id = waiting.index + 1;
        let mut buffer = Vec::new();
        if event.id != id && event.leaf_hash_at(id, &mut buffer) == waiting.reference {
            return true;
        }
        let salts = self.recent.iter().chain(self.events.iter().map(|pending| &pending.event));
        salts.filter(|other| other.id == id && event.id != id).any(|other| {
            with_salts_of(event, other).is_some_and(|event| event.leaf_hash_at(id, &mut buffer) == waiting.reference)
        })
    }

    /// Puts events and hashes that do not belong together aside.
    fn block(&mut self, events: usize, hashes: usize, consume: &mut Consume<'_>) {
        let (events, hashes) = (events.min(self.events.len()), hashes.min(self.hashes.len()));
        if events != hashes {
            self.shifted = true;
        }
        if self.held + events + hashes <= 2 * FINDINGS_MAX + 2 * WINDOW {
            self.held += events + hashes;
            self.blocks.push(Block {
                events: self.events.iter().take(events).map(|pending| pending.event.clone()).collect(),
                hashes: self.hashes.iter().take(hashes).copied().collect(),
            });
        } else {
            self.mismatches.more += events.max(hashes) as u64;
        }
        self.take(events, hashes, consume);
    }

    /// Is done with what is at the front.
    fn take(&mut self, events: usize, hashes: usize, consume: &mut Consume<'_>) {
        for at in 0..events.max(hashes) {
            let pending = if at < events { self.events.pop_front() } else { None };
            let waiting = if at < hashes { self.hashes.pop_front() } else { None };
            consume(
                waiting.map(|waiting| waiting.reference),
                waiting.and_then(|waiting| waiting.stored),
                pending.as_ref().map(|pending| pending.hash),
            );
            if let Some(pending) = pending {
                self.remember(pending.event);
            }
        }
    }

    fn remember(&mut self, event: Event<'static>) {
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
    }

    /// Names what was put aside. An event that stands far from where it was sealed is found here.
    pub(super) fn finish(mut self) -> Mismatches {
        let mut blocks = std::mem::take(&mut self.blocks);
        // Between two changes that are near each other some events may be as they were, and in their order.
        for Block { events, hashes } in &mut blocks {
            let mut from = 0;
            events.retain(|event| {
                let hash = event.leaf_hash(&mut self.buffer);
                let own = hashes.iter().skip(from).position(|waiting| waiting.reference == hash);
                if let Some(ahead) = own {
                    from += ahead;
                    hashes.remove(from);
                }
                own.is_none()
            });
        }
        let hashes: Vec<Waiting> = blocks.iter().flat_map(|block| block.hashes.iter().copied()).collect();
        let salts: HashMap<u64, Event<'static>> =
            blocks.iter().flat_map(|block| &block.events).map(|event| (event.id, event.clone())).collect();
        let mut moved = HashSet::new();
        for block in &mut blocks {
            block.events.retain(|event| {
                let sealed = hashes.iter().filter(|waiting| !moved.contains(&waiting.index)).find(|waiting| {
                    let id = waiting.index + 1;
                    let mut sealed_as =
                        |event: &Event<'_>| event.leaf_hash_at(id, &mut self.buffer) == waiting.reference;
                    let left_behind = || salts.get(&id).and_then(|other| with_salts_of(event, other));
                    sealed_as(event) || (event.id != id && left_behind().is_some_and(|event| sealed_as(&event)))
                });
                let Some(sealed) = sealed else { return true };
                moved.insert(sealed.index);
                self.mismatches.found.push(Finding::Reordered { sealed: sealed.index + 1, id: event.id });
                false
            });
        }
        for block in blocks {
            let mut hashes = block.hashes.iter().filter(|waiting| !moved.contains(&waiting.index));
            for event in &block.events {
                self.find(match hashes.next() {
                    Some(waiting) => {
                        Finding::Modified { first: waiting.index + 1, last: waiting.index + 1, erased: false }
                    }
                    None => Finding::Inserted { id: event.id },
                });
            }
            for waiting in hashes {
                let id = waiting.index + 1;
                match self.mismatches.found.last_mut() {
                    Some(Finding::Deleted { last, .. }) if *last + 1 == id => *last = id,
                    _ => self.find(Finding::Deleted { first: id, last: id }),
                }
            }
        }
        self.mismatches
    }
}

/// `event` with the salts that stand beside `other`; none if the two do not have the same fields.
fn with_salts_of(event: &Event<'_>, other: &Event<'_>) -> Option<Event<'static>> {
    let mut event = event.clone().into_owned();
    for field in Field::ALL {
        let personal = match (event.personal(field), other.personal(field)) {
            (Personal::Clear(text, _), Personal::Clear(_, salt)) => Personal::Clear(text.clone(), *salt),
            (mine, theirs) if std::mem::discriminant(mine) == std::mem::discriminant(theirs) => continue,
            _ => return None,
        };
        event.set_personal(field, personal);
    }
    Some(event)
}
