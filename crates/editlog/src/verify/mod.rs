//! Holds a log's events against its hashes and checkpoints, in one pass and bounded memory.
//!
//! The caller pushes the hashes of the leaves and the events, both in log order and in turns, so that neither gets far
//! ahead of the other: hashes as the log's owner stores them and, if there are any, as they were kept outside, which are
//! believed first. At the end a [`Report`] says what is wrong and where.
//!
//! A mismatch between event and hash tells the place. That the hashes are the right ones is what the checkpoints tell:
//! a root over them must be the one that a trusted key signed.

mod align;
mod report;

use std::collections::BTreeMap;

use crate::chain::{ChainBreak, Chains};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::erasure::Erasures;
use crate::event::Event;
use crate::hash::Hash;
use crate::note::{Note, NoteError, VerifierKey};
use crate::tree::Tree;

pub use self::report::{Cosigned, Finding, Report, Unsealed};

use self::align::{Aligner, Mismatches};

/// The most findings that are listed; more are counted.
pub const FINDINGS_MAX: usize = 256;

/// The most checkpoints that one verification takes.
pub const CHECKPOINTS_MAX: usize = 10_000;

/// Where a checkpoint was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// With the log, by whoever keeps the log.
    Inside,
    /// Elsewhere: where, in the words of a message.
    Outside(String),
}

/// A trusted checkpoint and how the log compares with it.
#[derive(Debug)]
struct Anchor {
    checkpoint: Checkpoint,
    kept: Kept,
    /// The witnesses who signed it, and when.
    cosigned: Vec<(VerifierKey, u64)>,
    /// Whether the root is that of the hashes the log's owner stores; none before so many were seen.
    stored: Option<bool>,
    /// Whether the root is that of the events themselves.
    events: Option<bool>,
    /// Whether the root is that of the hashes which the events are compared with.
    reference: Option<bool>,
    /// The date of the first event that the checkpoint does not cover.
    next_date_micros: Option<i64>,
}

/// Verifies one log. See the [module](self).
#[derive(Debug)]
pub struct Verifier {
    anchors: Vec<Anchor>,
    findings: Vec<Finding>,
    aligner: Aligner,
    trees: Trees,
    erasures: Erasures,
    chains: Chains,
    breaks: Vec<ChainBreak>,
    events: u64,
    stored: u64,
    hashes: u64,
}

/// Trees over the hashes that were consumed, which are one tree until something differs.
#[derive(Debug, Default)]
struct Trees {
    reference: Tree,
    stored: Option<Tree>,
    events: Option<Tree>,
}

impl Verifier {
    /// A verification of the log `origin` against checkpoints, each a signed note with where it was kept.
    ///
    /// A checkpoint that cannot be believed is a finding, and is compared with nothing. At most [`CHECKPOINTS_MAX`] are
    /// taken, those kept outside first.
    pub fn new<'a>(
        origin: &str,
        trusted: &[VerifierKey],
        checkpoints: impl IntoIterator<Item = (&'a str, Kept)>,
    ) -> Verifier {
        Verifier::witnessed(origin, trusted, &[], checkpoints)
    }

    /// As [`Verifier::new`], and tells which of these witnesses signed states of this log. A cosignature that claims to be
    /// by one of them and is not is a finding.
    pub fn witnessed<'a>(
        origin: &str,
        trusted: &[VerifierKey],
        witnesses: &[VerifierKey],
        checkpoints: impl IntoIterator<Item = (&'a str, Kept)>,
    ) -> Verifier {
        let mut findings = Vec::new();
        let mut anchors = Vec::new();
        let mut checkpoints: Vec<_> = checkpoints.into_iter().collect();
        checkpoints.sort_by_key(|(_, kept)| matches!(kept, Kept::Inside));
        for (note, kept) in checkpoints.into_iter().take(CHECKPOINTS_MAX) {
            match Checkpoint::open(note, origin, trusted) {
                Ok(checkpoint) => {
                    let cosigned = match cosigned(note, witnesses) {
                        Ok(cosigned) => cosigned,
                        Err(error) => {
                            findings.push(forged(note, kept.clone(), &error.into()));
                            Vec::new()
                        }
                    };
                    anchors.push(Anchor {
                        checkpoint,
                        kept,
                        cosigned,
                        stored: None,
                        events: None,
                        reference: None,
                        next_date_micros: None,
                    });
                }
                Err(error) => findings.push(forged(note, kept, &error)),
            }
        }
        anchors.sort_by_key(|anchor| anchor.checkpoint.size);
        for pair in anchors.windows(2) {
            if let [a, b] = pair
                && a.checkpoint.size == b.checkpoint.size
                && a.checkpoint.root != b.checkpoint.root
            {
                findings.push(Finding::Forked { size: a.checkpoint.size, kept: outside(a, b) });
            }
        }
        let mut verifier = Verifier {
            anchors,
            findings,
            aligner: Aligner::new(),
            trees: Trees::default(),
            erasures: Erasures::default(),
            chains: Chains::new(),
            breaks: Vec::new(),
            events: 0,
            stored: 0,
            hashes: 0,
        };
        verifier.trees.compare(&mut verifier.anchors);
        verifier
    }

    /// The hash of the next leaf: as it is stored with the log, and as it was kept outside. Where there is neither, the
    /// hashes have ended.
    pub fn push_hash(&mut self, stored: Option<Hash>, kept: Option<Hash>) {
        let Some(reference) = kept.or(stored) else { return };
        self.stored += u64::from(stored.is_some());
        self.aligner.push_hash(self.hashes, reference, stored);
        self.hashes += 1;
        self.settle();
    }

    /// There are no more hashes: events that follow are not sealed.
    pub fn end_hashes(&mut self) {
        self.aligner.end_hashes();
        self.settle();
    }

    /// The next event, in log order.
    pub fn push_event(&mut self, event: &Event<'_>) {
        let hash = self.aligner.hash(event);
        self.push_hashed(event, hash);
    }

    /// The place of an event in the chain of its writer, if the log has such chains: called with every event, in log order.
    ///
    /// What a broken chain tells counts where the seal tells nothing: for events that are not sealed, and for those that
    /// were changed before they were.
    pub fn push_link(&mut self, writer: &str, number: u64, previous: Hash, event: &Event<'_>) {
        if let Err(broken) = self.chains.push(writer, number, previous, event)
            && self.breaks.len() < FINDINGS_MAX
        {
            self.breaks.push(broken);
        }
    }

    /// The next event and the hash of its leaf, for callers that hash on many threads.
    pub fn push_hashed(&mut self, event: &Event<'_>, hash: Hash) {
        self.at_anchor(event.date_micros);
        self.events += 1;
        self.erasures.push(event);
        match self.aligner.push_event(event, hash) {
            Some(matched) => {
                let (reference, stored) =
                    matched.map_or((None, None), |waiting| (Some(waiting.reference), waiting.stored));
                self.trees.consume(&mut self.anchors, reference, stored, Some(hash));
            }
            None => self.settle(),
        }
    }

    /// The next event, for callers that hash on many threads and have let go of it: of its hash and date alone. Gives
    /// whether that was enough; if not, nothing was done, and the event itself must be pushed. An event that erases, or of
    /// which something was erased, must always be pushed itself.
    pub fn push_if_next(&mut self, date_micros: i64, hash: Hash) -> bool {
        let Some(waiting) = self.aligner.take_if_next(hash) else { return false };
        self.at_anchor(date_micros);
        self.events += 1;
        self.trees.consume(&mut self.anchors, Some(waiting.reference), waiting.stored, Some(hash));
        true
    }

    fn at_anchor(&mut self, date_micros: i64) {
        let start = self.anchors.partition_point(|anchor| anchor.checkpoint.size < self.events);
        for anchor in self.anchors[start..].iter_mut().take_while(|anchor| anchor.checkpoint.size == self.events) {
            anchor.next_date_micros = Some(date_micros);
        }
    }

    /// How many events were pushed.
    pub fn events(&self) -> u64 {
        self.events
    }

    fn settle(&mut self) {
        let Verifier { aligner, trees, anchors, .. } = self;
        aligner.advance(false, &mut |reference, stored, event| trees.consume(anchors, reference, stored, event));
    }

    /// Ends the verification.
    pub fn finish(mut self) -> Report {
        let Verifier { aligner, trees, anchors, .. } = &mut self;
        aligner.end_hashes();
        aligner.advance(true, &mut |reference, stored, event| trees.consume(anchors, reference, stored, event));
        let mismatches = std::mem::replace(&mut self.aligner, Aligner::new()).finish();

        let vouches = |anchor: &&Anchor| anchor.stored == Some(true) || anchor.events == Some(true);
        let sealed = self.anchors.iter().filter(vouches).map(|anchor| anchor.checkpoint.size).max();
        let mut findings = std::mem::take(&mut self.findings);
        let empty = self.events == 0 && self.hashes == 0;
        if self.anchors.is_empty()
            && !empty
            && !findings.iter().any(|finding| matches!(finding, Finding::Forged { .. }))
        {
            findings.push(Finding::Unvouched);
        }
        self.against_checkpoints(&mut findings);
        let more = self.against_hashes(&mut findings, mismatches);
        let forgotten = self.erasures.forgotten();
        let (erased, unlogged) = std::mem::take(&mut self.erasures).compare(FINDINGS_MAX);
        findings.extend(unlogged.into_iter().map(|id| Finding::Modified { first: id, last: id, erased: true }));
        let more = more + forgotten + findings.len().saturating_sub(FINDINGS_MAX) as u64;
        findings.truncate(FINDINGS_MAX);

        // Whatever was overlooked above: a log is whole only if the events themselves make the roots that were signed.
        if findings.is_empty()
            && let Some(anchor) = self.anchors.iter().find(|anchor| anchor.events != Some(true))
        {
            findings.push(Finding::ModifiedAmong { first: 1, last: anchor.checkpoint.size });
        }

        let whole = findings.is_empty();
        let breaks = std::mem::take(&mut self.breaks).into_iter();
        findings.extend(
            breaks
                .filter(|broken| whole || broken.id().is_none_or(|id| id > sealed.unwrap_or(0)))
                .map(Finding::Unchained),
        );
        findings.truncate(FINDINGS_MAX);

        let covered = self.anchors.last().map_or(0, |anchor| anchor.checkpoint.size);
        let unsealed = (self.events > covered).then(|| Unsealed {
            events: self.events - covered,
            oldest_micros: self
                .anchors
                .iter()
                .filter(|anchor| anchor.checkpoint.size == covered)
                .find_map(|anchor| anchor.next_date_micros),
        });
        let cosigned = self.cosigned();
        Report { events: self.events, sealed, findings, more, erased, unsealed, cosigned }
    }

    /// For each witness the largest state of this very log that it signed.
    fn cosigned(&self) -> Vec<Cosigned> {
        let mut found: BTreeMap<String, Cosigned> = BTreeMap::new();
        for anchor in self.anchors.iter().filter(|anchor| anchor.events == Some(true)) {
            for (witness, time_s) in &anchor.cosigned {
                let cosigned = Cosigned { witness: witness.clone(), size: anchor.checkpoint.size, time_s: *time_s };
                // They are sorted by size.
                found.insert(witness.to_string(), cosigned);
            }
        }
        found.into_values().collect()
    }

    /// What the checkpoints say about the log as a whole.
    fn against_checkpoints(&self, findings: &mut Vec<Finding>) {
        let mut good = 0;
        let mut hashes_damaged = false;
        let mut truncated: Option<&Anchor> = None;
        for anchor in &self.anchors {
            let size = anchor.checkpoint.size;
            if anchor.stored == Some(true) {
                good = size;
            } else if anchor.events == Some(true) {
                good = size;
                hashes_damaged = true;
            } else if size > self.stored {
                // The largest one tells how long the log was.
                truncated = Some(anchor);
            } else if anchor.kept != Kept::Inside {
                let forked = Finding::Forked { size, kept: anchor.kept.clone() };
                if !findings.contains(&forked) {
                    findings.push(forked);
                }
            } else {
                // Not the hashes that were signed. The place is between this checkpoint and the one before it.
                findings.push(Finding::ModifiedAmong { first: good + 1, last: size });
                good = size;
            }
        }
        if hashes_damaged {
            findings.push(Finding::HashesDamaged);
        }
        if let Some(anchor) = truncated {
            let sealed = anchor.checkpoint.size;
            findings.push(Finding::Truncated { events: self.events.min(self.stored), sealed });
        }
    }

    /// What the hashes say about single events; how many findings were too many to list.
    fn against_hashes(&self, findings: &mut Vec<Finding>, mismatches: Mismatches) -> u64 {
        let Mismatches { found, more, missing_from } = mismatches;
        // Below this the events themselves make a root that was signed: it is the hashes that are not as they were.
        let up_to = |holds: fn(&&Anchor) -> bool| {
            self.anchors.iter().filter(holds).map(|anchor| anchor.checkpoint.size).max().unwrap_or(0)
        };
        let whole = up_to(|anchor| anchor.events == Some(true));
        // But hashes that make a signed root are right, whatever else is signed.
        let right = up_to(|anchor| anchor.reference == Some(true));
        // And where stored hashes were shown to be changed, they tell nothing about events that others do not cover.
        let altered = self.trees.stored.is_some() && right > 0;
        let counts = |place: u64| place <= right || (place > whole && !altered);
        let placed: Vec<Finding> =
            found.into_iter().filter(|finding| finding.last_place().is_none_or(counts)).collect();
        if !placed.is_empty() {
            // A range is not needed where single events are named.
            let named = |first: u64, last: u64| {
                placed.iter().any(|finding| finding.last_place().is_some_and(|place| (first..=last).contains(&place)))
            };
            findings.retain(|finding| match finding {
                Finding::ModifiedAmong { first, last } => !named(*first, *last),
                _ => true,
            });
        }
        let truncated = findings.iter().any(|finding| matches!(finding, Finding::Truncated { .. }));
        if let Some(index) = missing_from
            && !truncated
        {
            findings.push(Finding::Truncated { events: index, sealed: self.hashes });
        }
        for finding in placed {
            match (findings.last_mut(), &finding) {
                // Neighbours are told together.
                (
                    Some(Finding::Modified { last, erased: false, .. }),
                    Finding::Modified { first, last: next, erased: false },
                ) if *last + 1 == *first => *last = *next,
                _ => findings.push(finding),
            }
        }
        // The end of a log that is gone is told once.
        if let Some(end) = findings.iter().find_map(|finding| match finding {
            Finding::Truncated { sealed, .. } => Some(*sealed),
            _ => None,
        }) {
            findings.retain(|finding| !matches!(finding, Finding::Deleted { last, .. } if *last == end));
        }
        // Where all events are proven whole, what could not be listed concerned the hashes too.
        if (self.hashes <= whole && self.hashes > right) || altered { 0 } else { more }
    }
}

impl Trees {
    /// Takes in the next reference hash with the stored one beside it, and the next event's; either may be missing.
    fn consume(&mut self, anchors: &mut [Anchor], reference: Option<Hash>, stored: Option<Hash>, event: Option<Hash>) {
        if self.events.is_none() && event != reference {
            self.events = Some(self.reference.clone());
        }
        if self.stored.is_none() && stored != reference {
            self.stored = Some(self.reference.clone());
        }
        if let (Some(tree), Some(event)) = (&mut self.events, event) {
            tree.append(event);
        }
        if let (Some(tree), Some(stored)) = (&mut self.stored, stored) {
            tree.append(stored);
        }
        if let Some(reference) = reference {
            self.reference.append(reference);
        }
        self.compare(anchors);
    }

    fn compare(&self, anchors: &mut [Anchor]) {
        let stored = self.stored.as_ref().unwrap_or(&self.reference);
        let events = self.events.as_ref().unwrap_or(&self.reference);
        let smaller = stored.size().min(events.size());
        // Sorted by size; nearly always there is none of this size.
        let start = anchors.partition_point(|anchor| anchor.checkpoint.size < smaller);
        let larger = self.reference.size().max(events.size());
        for anchor in anchors[start..].iter_mut().take_while(|anchor| anchor.checkpoint.size <= larger) {
            let Checkpoint { size, root, .. } = anchor.checkpoint;
            if anchor.reference.is_none() && self.reference.size() == size {
                anchor.reference = Some(self.reference.root() == root);
            }
            if anchor.stored.is_none() && stored.size() == size {
                anchor.stored = Some(stored.root() == root);
            }
            if anchor.events.is_none() && events.size() == size {
                anchor.events = Some(events.root() == root);
            }
        }
    }
}

fn cosigned(note: &str, witnesses: &[VerifierKey]) -> Result<Vec<(VerifierKey, u64)>, NoteError> {
    if witnesses.is_empty() {
        return Ok(Vec::new());
    }
    let note: Note = note.parse()?;
    let found = note.cosignatures(witnesses)?;
    Ok(found.into_iter().map(|found| (found.witness.clone(), found.time_s)).collect())
}

fn forged(note: &str, kept: Kept, error: &CheckpointError) -> Finding {
    let size = Checkpoint::peek(note).ok().map(|checkpoint| checkpoint.size);
    let foreign =
        matches!(error, CheckpointError::Note(NoteError::Untrusted { .. }) | CheckpointError::OtherLog { .. });
    Finding::Forged { size, kept, foreign, why: error.to_string() }
}

/// Of two checkpoints that contradict each other, the place of one that the log's owner does not hold.
fn outside(a: &Anchor, b: &Anchor) -> Kept {
    if a.kept == Kept::Inside { b.kept.clone() } else { a.kept.clone() }
}
