//! What tells whether the files of a dataset have changed.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::EngineError;

/// The fingerprints of all files of a dataset, in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// One for each file.
    pub files: Vec<FilePrint>,
}

/// What tells whether one file has changed, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePrint {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970-01-01.
    pub modified_ns: i64,
}

impl Fingerprint {
    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// A short text (hexadecimal) that is the same just when all files are.
    pub fn identity(&self) -> String {
        let mut hasher = Sha256::new();
        for file in &self.files {
            let path = file.path.as_os_str().as_encoded_bytes();
            hasher.update((path.len() as u64).to_le_bytes());
            hasher.update(path);
            hasher.update(file.bytes.to_le_bytes());
            hasher.update(file.modified_ns.to_le_bytes());
        }
        hex(&hasher.finalize()[..16])
    }
}

impl FilePrint {
    /// The fingerprint of a file as it is now.
    ///
    /// # Errors
    /// When the file is not there.
    pub fn of(path: PathBuf) -> Result<FilePrint, EngineError> {
        let metadata = std::fs::metadata(&path).map_err(EngineError::io("read", &path))?;
        let modified = metadata.modified().map_err(EngineError::io("read", &path))?;
        let modified_ns = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        };
        Ok(FilePrint { path, bytes: metadata.len(), modified_ns })
    }

    /// The SHA-256 of the file's bytes, in hexadecimal. The whole file is read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sha256(&self) -> Result<String, EngineError> {
        let mut file = File::open(&self.path).map_err(EngineError::io("open", &self.path))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            let read = file.read(&mut buffer).map_err(EngineError::io("read", &self.path))?;
            if read == 0 {
                return Ok(hex(&hasher.finalize()));
            }
            hasher.update(&buffer[..read]);
        }
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
