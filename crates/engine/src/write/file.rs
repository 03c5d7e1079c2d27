//! Files that appear whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempPath;

use super::hashed::HashedFile;
use crate::error::EngineError;

/// What the names of files in the making end with.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// What the temporary name of a file or folder in the making begins with: it tells what it was to become.
pub(crate) fn temporary_prefix(path: &Path) -> std::ffi::OsString {
    let mut prefix = std::ffi::OsString::from(".stet-");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push("-");
    prefix
}

/// Removes what writers of an output left in the making when they were killed: the output itself, and what stands beside
/// it. The caller holds the output's lock, so none of it is still being written. What cannot be removed stays.
pub(super) fn remove_abandoned(output: &Path) {
    let (Some(name), Ok(entries)) = (output.file_name(), std::fs::read_dir(folder_of(output))) else { return };
    let begin = format!(".stet-{}", name.to_string_lossy());
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(rest) = file_name.to_str().and_then(|name| name.strip_prefix(&begin)) else { continue };
        let Some(middle) = rest.strip_suffix(TEMPORARY_SUFFIX) else { continue };
        // `-` and the random part; the files beside the output have `.stet.` and a word before that.
        let (beside, random) = middle.rsplit_once('-').unwrap_or(("?", ""));
        if !(beside.is_empty() || beside.starts_with(".stet.")) || random.len() != TEMPORARY_RANDOM_CHARACTERS {
            continue;
        }
        let path = entry.path();
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
}

/// How many random characters `tempfile` puts between prefix and suffix.
const TEMPORARY_RANDOM_CHARACTERS: usize = 6;

/// A file in the making. It is written beside its place under a temporary name and put in place by
/// [`AtomicFile::commit`]; dropped before that (an error, a panic, a cancelled build), it leaves nothing behind, and what
/// stood in its place stays whole.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: TempPath,
    out: HashedFile,
}

/// Size and hash of what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digested {
    /// Bytes written.
    pub bytes: u64,
    /// SHA-256 of them, in lower-case hex.
    pub sha256: String,
}

impl AtomicFile {
    /// Starts a file, with the folders that lead to it.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn create(path: &Path) -> Result<AtomicFile, EngineError> {
        let folder = folder_of(path);
        std::fs::create_dir_all(folder).map_err(EngineError::io("create the folder", folder))?;
        if path.is_dir() {
            let message = "there is a folder in its place: move it away, or write a `/` at the end of the path";
            return Err(EngineError::io("write", path)(io::Error::new(io::ErrorKind::IsADirectory, message)));
        }
        let prefix = temporary_prefix(path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(TEMPORARY_SUFFIX);
        // Without this the file would keep the owner-only permissions of temporary files; the process umask applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(EngineError::io("create a file in", folder))?;
        let (file, temporary) = file.into_parts();
        Ok(AtomicFile { path: path.to_owned(), temporary, out: HashedFile::new(file) })
    }

    /// Where the file is going to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what was written durable and puts it in place in one step.
    ///
    /// # Errors
    /// When the file cannot be written or renamed: what stood in its place is untouched.
    pub fn commit(self) -> Result<Digested, EngineError> {
        let AtomicFile { path, temporary, out } = self;
        let (_, digested) = out.finish().map_err(EngineError::io("write", &path))?;
        temporary.persist(&path).map_err(|error| EngineError::io("put in place", &path)(error.error))?;
        // The rename itself is durable only once the folder is.
        let folder = folder_of(&path);
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(EngineError::io("make durable the folder", folder))?;
        Ok(digested)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// SHA-256 of a text, in lower-case hex.
pub fn digest_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
