//! What a verification found, in words.

use std::fmt;

use super::Kept;
use crate::chain::ChainBreak;
use crate::note::VerifierKey;
use crate::time;

/// Something that is wrong, with its place. Its `Display` is a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// One event, or several in a row, that are not as they were sealed.
    Modified {
        /// The first event's id.
        first: u64,
        /// The last event's id.
        last: u64,
        /// Personal data was taken away and no erasure says so.
        erased: bool,
    },
    /// Something in a range is not as it was sealed, and nothing tells what.
    ModifiedAmong { first: u64, last: u64 },
    /// Events that were sealed and are gone.
    Deleted { first: u64, last: u64 },
    /// An event between others that was not there when they were sealed.
    Inserted { id: u64 },
    /// An event that was sealed in another place.
    Reordered { sealed: u64, id: u64 },
    /// The log ends before what was sealed.
    Truncated { events: u64, sealed: u64 },
    /// The log and a signed checkpoint, or two of these, tell different histories.
    Forked { size: u64, kept: Kept },
    /// A checkpoint that no trusted key has signed.
    Forged { size: Option<u64>, kept: Kept, foreign: bool, why: String },
    /// The events are whole, and the hashes stored beside them are not.
    HashesDamaged,
    /// There is no checkpoint at all.
    Unvouched,
    /// The hash chain of a writer is broken before an event.
    Unchained(ChainBreak),
}

impl Finding {
    /// The verdict in one word.
    pub fn verdict(&self) -> &'static str {
        match self {
            Finding::Modified { .. } | Finding::ModifiedAmong { .. } => "MODIFIED",
            Finding::Deleted { .. } => "DELETED",
            Finding::Inserted { .. } => "INSERTED",
            Finding::Reordered { .. } => "REORDERED",
            Finding::Truncated { .. } => "TRUNCATED",
            Finding::Forked { .. } => "FORKED",
            Finding::Forged { .. } => "FORGED",
            Finding::HashesDamaged => "HASHES",
            Finding::Unvouched => "UNVOUCHED",
            Finding::Unchained(broken) => broken.verdict(),
        }
    }

    /// The last place, from 1, that a finding about single events names.
    pub(super) fn last_place(&self) -> Option<u64> {
        match self {
            Finding::Modified { last, .. } | Finding::Deleted { last, .. } => Some(*last),
            Finding::Inserted { id } => Some(*id),
            Finding::Reordered { sealed, id } => Some(*sealed.max(id)),
            _ => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Modified { first, erased: true, .. } => {
                write!(f, "MODIFIED: personal data of event {first} was taken away, and no logged erasure covers it")
            }
            Finding::Modified { first, last, .. } if first == last => {
                write!(f, "MODIFIED: event {first} is not as it was sealed")
            }
            Finding::Modified { first, last, .. } => {
                write!(f, "MODIFIED: events {first} to {last} are not as they were sealed")
            }
            Finding::ModifiedAmong { first, last } => write!(
                f,
                "MODIFIED: something among events {first} to {last} is not as it was sealed; hashes kept outside would tell what"
            ),
            Finding::Deleted { first, last } if first == last => write!(f, "DELETED: event {first} is gone"),
            Finding::Deleted { first, last } => write!(f, "DELETED: events {first} to {last} are gone"),
            Finding::Inserted { id } => {
                // No id of ours is negative; those of forgers may be.
                let id = id.cast_signed();
                write!(f, "INSERTED: event {id} was not there when the events around it were sealed")
            }
            Finding::Reordered { sealed, id } if sealed == id => {
                write!(f, "REORDERED: event {id} does not stand where it was sealed")
            }
            Finding::Reordered { sealed, id } => {
                write!(f, "REORDERED: the event that was sealed as {sealed} now stands at {id}")
            }
            Finding::Truncated { events, sealed } => {
                write!(f, "TRUNCATED: the log ends after {events} events, and {sealed} were sealed")
            }
            Finding::Forked { size, kept } => write!(
                f,
                "FORKED: the checkpoint {kept} tells of another history of the first {size} events than this log"
            ),
            Finding::Forged { size: None, kept, why, .. } => write!(f, "FORGED: the checkpoint {kept}: {why}"),
            Finding::Forged { size: Some(size), kept, why, .. } => {
                write!(f, "FORGED: the checkpoint {kept} of {size} events: {why}")
            }
            Finding::HashesDamaged => {
                f.write_str("HASHES: the events are whole, and the hashes stored beside them are not")
            }
            Finding::Unvouched => write!(f, "UNVOUCHED: there is no checkpoint, so nothing vouches for any event"),
            Finding::Unchained(broken) => write!(f, "{}: {broken}", broken.verdict()),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Inside => f.write_str("stored with the log"),
            Kept::Outside(place) => write!(f, "kept in {place}"),
        }
    }
}

/// Events at the end of a log that no checkpoint covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsealed {
    /// How many.
    pub events: u64,
    /// The date of the first of them; none if it is not known.
    pub oldest_micros: Option<i64>,
}

impl fmt::Display for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UNSEALED: no checkpoint covers the last {} events", self.events)?;
        match self.oldest_micros.and_then(time::format) {
            Some(date) => write!(f, ", since {date}"),
            None => Ok(()),
        }
    }
}

/// That a witness signed a state of the log, which the events make. Its `Display` is a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// Who.
    pub witness: VerifierKey,
    /// How many events the log had then.
    pub size: u64,
    /// When, by the witness's clock, in seconds since 1970.
    pub time_s: u64,
}

impl fmt::Display for Cosigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "COSIGNED: {} has signed the first {} events", self.witness.name(), self.size)?;
        let micros = i64::try_from(self.time_s).ok().and_then(|seconds| seconds.checked_mul(1_000_000));
        match micros.and_then(time::format) {
            Some(date) => write!(f, ", at {date}"),
            None => Ok(()),
        }
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many events the log has.
    pub events: u64,
    /// How many of them the last checkpoint covers that holds; none if none holds.
    pub sealed: Option<u64>,
    /// What is wrong, at most [`super::FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings are not listed.
    pub more: u64,
    /// How many events had personal data erased, each by a logged erasure.
    pub erased: u64,
    /// The events that no checkpoint covers.
    pub unsealed: Option<Unsealed>,
    /// For each witness that was asked about and signed a state of this log, the largest one.
    pub cosigned: Vec<Cosigned>,
}

impl Report {
    /// Whether every sealed event is as it was sealed. Events that are not sealed yet are the caller's to judge.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }
}
