//! Folders of files that appear whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::file::{Digested, digest_text, folder_of, temporary_prefix};
use super::hashed::HashedFile;
use crate::error::EngineError;

/// A dataset of several Parquet files in the making. It is written beside its place under a temporary name and put in
/// place by [`AtomicFolder::commit`], in one step where the system can do that (Linux); dropped before that it leaves
/// nothing behind, and what stood in its place stays whole.
#[derive(Debug)]
pub(crate) struct AtomicFolder {
    path: PathBuf,
    folder: TempDir,
    parts: Vec<(String, Digested)>,
}

/// A file of an [`AtomicFolder`] in the making.
#[derive(Debug)]
pub(crate) struct PartFile {
    path: PathBuf,
    out: HashedFile,
}

impl AtomicFolder {
    /// Starts a folder, with the folders that lead to it.
    pub(crate) fn create(path: &Path) -> Result<AtomicFolder, EngineError> {
        let path: PathBuf = path.components().collect();
        let parent = folder_of(&path);
        std::fs::create_dir_all(parent).map_err(EngineError::io("create the folder", parent))?;
        check_place(&path).map_err(EngineError::io("write the folder", &path))?;
        let prefix = temporary_prefix(&path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let folder = builder.tempdir_in(parent).map_err(EngineError::io("create a folder in", parent))?;
        Ok(AtomicFolder { path, folder, parts: Vec::new() })
    }

    /// Whether no file is in it yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Starts the next file; it is part of the folder once [`AtomicFolder::add`] has it.
    pub(crate) fn part(&self) -> Result<PartFile, EngineError> {
        let path = self.folder.path().join(format!("{:06}.tmp", self.parts.len()));
        let file = File::create_new(&path).map_err(EngineError::io("create", &path))?;
        Ok(PartFile { path, out: HashedFile::new(file) })
    }

    /// Makes the file that was started last durable and names it by its place and content: whoever reads the folder while
    /// it is exchanged misses a file rather than reading old and new ones together.
    pub(crate) fn add(&mut self, part: PartFile) -> Result<(), EngineError> {
        let PartFile { path, out } = part;
        let (_, digested) = out.finish().map_err(EngineError::io("write", &path))?;
        let name = part_name(self.parts.len(), &digested);
        std::fs::rename(&path, self.folder.path().join(&name)).map_err(EngineError::io("put in place", &path))?;
        self.parts.push((name, digested));
        Ok(())
    }

    /// Adds a file that stands elsewhere on the same disk, without copying it where the file system can do that.
    pub(crate) fn link(&mut self, from: &Path, digested: Digested) -> Result<(), EngineError> {
        let name = part_name(self.parts.len(), &digested);
        let path = self.folder.path().join(&name);
        if std::fs::hard_link(from, &path).is_err() {
            std::fs::copy(from, &path).map_err(EngineError::io("copy", from))?;
            File::open(&path).and_then(|file| file.sync_all()).map_err(EngineError::io("write", &path))?;
        }
        self.parts.push((name, digested));
        Ok(())
    }

    /// Puts the folder in place. The hash is that of the list of its files: a line with name, bytes and hash for each.
    pub(crate) fn commit(self) -> Result<(Digested, Vec<Digested>), EngineError> {
        let AtomicFolder { path, folder, parts } = self;
        let durable = |path: &Path| {
            File::open(path)
                .and_then(|folder| folder.sync_all())
                .map_err(EngineError::io("make durable the folder", path))
        };
        durable(folder.path())?;
        if path.exists() {
            swap(folder.path(), &path).map_err(EngineError::io("put in place", &path))?;
            durable(folder_of(&path))?;
            // What stood there before has the temporary name now. If it cannot be taken away, the new one stands anyway.
            if let Err(error) = folder.close() {
                tracing::warn!(path = %path.display(), %error, "the earlier output cannot be removed");
            }
        } else {
            std::fs::rename(folder.path(), &path).map_err(EngineError::io("put in place", &path))?;
            let _ = folder.keep();
            durable(folder_of(&path))?;
        }
        let list: String =
            parts.iter().map(|(name, part)| format!("{name} {} {}\n", part.bytes, part.sha256)).collect();
        let bytes = parts.iter().map(|(_, part)| part.bytes).sum();
        let whole = Digested { bytes, sha256: digest_text(&list) };
        Ok((whole, parts.into_iter().map(|(_, part)| part).collect()))
    }
}

/// What the names of parts begin and end with.
const PART_NAME: (&str, &str) = ("part-", ".parquet");

fn part_name(place: usize, part: &Digested) -> String {
    format!("{}{place:06}-{}{}", PART_NAME.0, part.sha256.get(..12).unwrap_or_default(), PART_NAME.1)
}

/// Refuses to put a folder in the place of anything but an earlier output: what else is there is somebody's data.
fn check_place(path: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let message = "there is a file in its place: move it away, or give the dataset another path";
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(PART_NAME.0) || !name.ends_with(PART_NAME.1) {
            let message =
                format!("it holds `{name}`, which no build wrote: move it away, or give the dataset another path");
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, message));
        }
    }
    Ok(())
}

/// Exchanges the names of two folders in one step.
#[cfg(target_os = "linux")]
fn swap(new: &Path, old: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // A file system that cannot do it.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => swap_in_steps(new, old),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn swap(new: &Path, old: &Path) -> io::Result<()> {
    swap_in_steps(new, old)
}

/// The same where the system has no such step: for a moment there is no folder of the name.
fn swap_in_steps(new: &Path, old: &Path) -> io::Result<()> {
    let mut aside = new.as_os_str().to_owned();
    aside.push("-old");
    std::fs::rename(old, &aside)?;
    if let Err(error) = std::fs::rename(new, old) {
        std::fs::rename(&aside, old)?;
        return Err(error);
    }
    std::fs::rename(&aside, new)
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
