//! A hash chain for each writing process.
//!
//! Where sealing comes some time after the commit, the events in between are held together by their writers: each event
//! names its writer, its number among that writer's events, and the hash of the writer's event before it. Whoever alters,
//! drops or inserts one of them breaks the chain at the next event of that writer, or at the checkpoint that seals it.
//!
//! The hash is over what the writer knows before the database gives the event a place and a date:
//!
//! ```text
//! SHA-256( "stet-editlog-writer/v1\n" || length of writer (4 bytes) || writer || number (8 bytes) || previous hash || body )
//! ```
//!
//! with numbers from 1, and 32 zero bytes before a writer's first event.

use std::collections::HashMap;

use crate::event::Event;
use crate::hash::Hash;

/// The most writers of one log that are followed.
pub const WRITERS_MAX: usize = 1_000_000;

const DOMAIN: &[u8] = b"stet-editlog-writer/v1\n";

/// The hash that the writer's next event names, after this one.
pub fn link(previous: Hash, writer: &str, number: u64, event: &Event<'_>) -> Hash {
    let mut bytes = DOMAIN.to_vec();
    bytes.extend_from_slice(&(writer.len() as u32).to_be_bytes());
    bytes.extend_from_slice(writer.as_bytes());
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&previous.0);
    event.encode_body(&mut bytes);
    Hash::of(&bytes)
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// Events of the writer are missing before this one, or this one is there twice.
    #[error("event {id} is number {found} of its writer, {writer}, after number {last}")]
    Number { id: u64, writer: String, last: u64, found: u64 },
    /// The event before it is not what its writer wrote.
    #[error("event {id} does not follow what its writer, {writer}, wrote before it")]
    Link { id: u64, writer: String },
    /// More writers than are followed.
    #[error("more than {WRITERS_MAX} writers have written this log")]
    Writers,
}

impl ChainBreak {
    /// The event at which it shows.
    pub fn id(&self) -> Option<u64> {
        match self {
            ChainBreak::Number { id, .. } | ChainBreak::Link { id, .. } => Some(*id),
            ChainBreak::Writers => None,
        }
    }

    /// What was done, in one word.
    pub fn verdict(&self) -> &'static str {
        match self {
            ChainBreak::Number { last, found, .. } if found > last => "DELETED",
            ChainBreak::Number { .. } => "INSERTED",
            ChainBreak::Link { .. } => "MODIFIED",
            ChainBreak::Writers => "UNCHAINED",
        }
    }
}

/// Checks the chains of all writers while events are read in log order.
#[derive(Debug, Default)]
pub struct Chains {
    /// Number and hash of each writer's last event.
    ends: HashMap<String, (u64, Hash)>,
}

impl Chains {
    /// No events yet.
    pub fn new() -> Chains {
        Chains::default()
    }

    /// Starts in the middle of a log: `writer`'s last event before it has this number and hash.
    pub fn resume(&mut self, writer: &str, number: u64, hash: Hash) {
        self.ends.insert(writer.to_owned(), (number, hash));
    }

    /// Checks the next event of the log. After a break the chain goes on from this event, so that later breaks are found.
    ///
    /// # Errors
    /// When the event does not follow its writer's event before it.
    pub fn push(&mut self, writer: &str, number: u64, previous: Hash, event: &Event<'_>) -> Result<(), ChainBreak> {
        let (last, expected) = self.ends.get(writer).copied().unwrap_or_default();
        if !self.ends.contains_key(writer) && self.ends.len() >= WRITERS_MAX {
            return Err(ChainBreak::Writers);
        }
        self.ends.insert(writer.to_owned(), (number, link(previous, writer, number, event)));
        if last.checked_add(1) != Some(number) {
            return Err(ChainBreak::Number { id: event.id, writer: writer.to_owned(), last, found: number });
        }
        if previous != expected {
            return Err(ChainBreak::Link { id: event.id, writer: writer.to_owned() });
        }
        Ok(())
    }
}
