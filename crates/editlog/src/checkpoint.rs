//! Checkpoints (C2SP tlog-checkpoint): the size and root of a log's tree, as the text of a signed note.

use std::fmt;
use std::str::FromStr;

use crate::hash::Hash;
use crate::note::{Note, NoteError, SignerKey, VerifierKey};

/// The longest origin, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 1024;

/// What a log was when it had `size` events. Its `Display` is the text that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log it is: a name that no other log has.
    pub origin: String,
    /// How many leaves the tree has.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
    /// Further lines, of which this crate makes none.
    pub extensions: Vec<String>,
}

/// A checkpoint that cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note, or not signed by a trusted key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note's text is no checkpoint.
    #[error("this is not a checkpoint: {0}")]
    Malformed(&'static str),
    /// The checkpoint of another log.
    #[error("this is the checkpoint of another log: `{found}` instead of `{expected}`")]
    OtherLog { expected: String, found: String },
}

impl Checkpoint {
    /// The checkpoint as a signed note.
    pub fn sign(&self, signer: &SignerKey) -> Note {
        Note::signed(self.to_string(), signer)
    }

    /// Reads a signed checkpoint, and checks that it is of this log and signed by a trusted key.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn open(note: &str, origin: &str, trusted: &[VerifierKey]) -> Result<Checkpoint, CheckpointError> {
        let note: Note = note.parse()?;
        note.verify(trusted)?;
        let checkpoint: Checkpoint = note.text.parse()?;
        if checkpoint.origin == origin {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::OtherLog { expected: origin.to_owned(), found: checkpoint.origin })
        }
    }

    /// Reads a signed checkpoint without checking who signed it.
    ///
    /// # Errors
    /// When it is no checkpoint.
    pub fn peek(note: &str) -> Result<Checkpoint, CheckpointError> {
        note.parse::<Note>()?.text.parse()
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;
    fn from_str(text: &str) -> Result<Checkpoint, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let text = text.strip_suffix('\n').ok_or(malformed("it does not end in a newline"))?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed("it has fewer than three lines"));
        };
        if origin.is_empty() || origin.len() > ORIGIN_BYTES_MAX {
            return Err(malformed("its origin is empty or too long"));
        }
        let root = root.parse().map_err(|_| malformed("its third line is no hash"))?;
        let size = decimal(size).ok_or(malformed("its second line is no size"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(malformed("it has an empty line"));
        }
        Ok(Checkpoint { origin: origin.to_owned(), size, root, extensions })
    }
}

/// A decimal number with no sign and no needless zero, as all formats of C2SP write it.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}
