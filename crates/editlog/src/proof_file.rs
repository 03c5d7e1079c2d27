//! Proofs as files: one event with its inclusion proof (C2SP tlog-proof), and the consistency of two checkpoints (the
//! request of C2SP tlog-witness).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::event::Event;
use crate::hash::Hash;
use crate::line::{self, LINE_BYTES_MAX};
use crate::note::{Note, VerifierKey};
use crate::tree::{PROOF_HASHES_MAX, verify_consistency, verify_inclusion};

/// The longest proof that is read, in bytes.
pub const PROOF_BYTES_MAX: usize = 2 * LINE_BYTES_MAX;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// That one event is in a log. Its `Display` is its file, by custom with the ending `.tlog-proof`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The event's line, as [`line::write`] writes it, without its newline. It is what the proof proves, and travels as
    /// the extra data that the format leaves to us.
    pub event: String,
    /// The event's leaf, from 0.
    pub index: u64,
    /// From the leaf's sibling upwards.
    pub hashes: Vec<Hash>,
    /// The checkpoint that the proof leads to.
    pub checkpoint: Note,
}

/// A proof that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof.
    #[error("this is not a proof of an event: {0}")]
    Malformed(&'static str),
    /// The event in it cannot be read.
    #[error("the event of this proof cannot be read: {0}")]
    Event(#[from] line::NotAnEvent),
    /// Its checkpoint cannot be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The event is not the one that the log has there.
    #[error("event {id} is not in the log of the checkpoint as it stands in this proof")]
    NotIncluded { id: u64 },
    /// Two checkpoints of different histories.
    #[error("the log of {old_size} events is not the beginning of that of {size} events")]
    NotConsistent { old_size: u64, size: u64 },
}

/// What a proof that holds proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The event, as it was sealed.
    pub event: Event<'static>,
    /// The state of the log that the event is part of.
    pub checkpoint: Checkpoint,
    /// The trusted keys that signed that state.
    pub signed_by: Vec<VerifierKey>,
}

impl InclusionProof {
    /// Checks the proof. The origin in the answer is the caller's to compare with the log that was meant.
    ///
    /// # Errors
    /// When it does not hold: see [`ProofError`].
    pub fn verify(&self, trusted: &[VerifierKey]) -> Result<Proven, ProofError> {
        let signed_by = self.checkpoint.verify(trusted).map_err(CheckpointError::from)?;
        let checkpoint: Checkpoint = self.checkpoint.text.parse()?;
        let event = line::read(&self.event)?;
        let leaf = event.leaf_hash(&mut Vec::new());
        if !verify_inclusion(leaf, self.index, checkpoint.size, &self.hashes, checkpoint.root) {
            return Err(ProofError::NotIncluded { id: event.id });
        }
        let signed_by = signed_by.into_iter().cloned().collect();
        Ok(Proven { event: event.into_owned(), checkpoint, signed_by })
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nextra {}\nindex {}", STANDARD.encode(&self.event), self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for InclusionProof {
    type Err = ProofError;
    fn from_str(text: &str) -> Result<InclusionProof, ProofError> {
        let malformed = ProofError::Malformed;
        if text.len() > PROOF_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let text = text
            .strip_prefix(FIRST_LINE)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(malformed("its first line is not `c2sp.org/tlog-proof@v1`"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        let event = lines
            .next()
            .and_then(|line| line.strip_prefix("extra "))
            .and_then(|extra| STANDARD.decode(extra).ok())
            .and_then(|event| String::from_utf8(event).ok())
            .ok_or(malformed("it has no event: its second line is not `extra` and base64"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decimal)
            .ok_or(malformed("its third line is not `index` and a number"))?;
        let hashes = parse_hashes(lines).ok_or(malformed("a line before its blank line is no hash"))?;
        let checkpoint = checkpoint.parse().map_err(CheckpointError::Note)?;
        Ok(InclusionProof { event, index, hashes, checkpoint })
    }
}

/// That a checkpoint continues an older one. Its `Display` is the body of a request to a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The size of the older checkpoint.
    pub old_size: u64,
    /// The proof.
    pub hashes: Vec<Hash>,
    /// The newer checkpoint.
    pub checkpoint: Note,
}

impl ConsistencyProof {
    /// Checks that the newer checkpoint is of the log of the older one and continues it.
    ///
    /// # Errors
    /// When it is not: see [`ProofError`].
    pub fn verify(&self, old: &Checkpoint, trusted: &[VerifierKey]) -> Result<Checkpoint, ProofError> {
        let new = Checkpoint::open(&self.checkpoint.to_string(), &old.origin, trusted)?;
        let consistent =
            self.old_size == old.size && verify_consistency(old.size, new.size, &self.hashes, old.root, new.root);
        if consistent { Ok(new) } else { Err(ProofError::NotConsistent { old_size: old.size, size: new.size }) }
    }
}

impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for ConsistencyProof {
    type Err = ProofError;
    fn from_str(text: &str) -> Result<ConsistencyProof, ProofError> {
        let malformed = ProofError::Malformed;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(decimal)
            .ok_or(malformed("its first line is not `old` and a number"))?;
        let hashes = parse_hashes(lines).ok_or(malformed("a line before its blank line is no hash"))?;
        let checkpoint = checkpoint.parse().map_err(CheckpointError::Note)?;
        Ok(ConsistencyProof { old_size, hashes, checkpoint })
    }
}

fn parse_hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Hash>> {
    let hashes = lines.take(PROOF_HASHES_MAX + 1).map(|line| line.parse().ok()).collect::<Option<Vec<Hash>>>()?;
    (hashes.len() <= PROOF_HASHES_MAX).then_some(hashes)
}
