//! Copies of checkpoints and hashes in folders elsewhere, in the layout of C2SP tlog-tiles: what an editlog is held against
//! when whoever owns its database and its key is not believed.
//!
//! Below a folder each log has one of its own, named by its origin: `checkpoint`, the last one; `tile/`, the hashes; and
//! `checkpoints/`, all that were pushed, by size. What is there is never replaced by another history: a push that does not
//! continue it fails.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use stet_domain::{DatasetName, ProjectKey};
use stet_editlog::tile::{TILE_HASHES, Tile, tile_hashes, tiles_between};
use stet_editlog::tree::verify_consistency;
use stet_editlog::{Checkpoint, Hash};
use stet_store::{Editlogs, SealedLog, StoreError};

use crate::App;
use crate::editlogs::EditlogPlace;
use crate::error::{AppError, Chain};

/// How often a node that is served pushes what is new.
pub const PUSH_INTERVAL_S: u64 = 20;

/// The longest checkpoint that is read from a folder, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 256 * 1024;

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// How many checkpoints were new, one for each log and folder.
    pub checkpoints: usize,
    /// What went wrong, in words. Each is an alarm: a log goes on without a witness.
    pub failures: Vec<String>,
}

impl App {
    /// Pushes the last checkpoint of every editlog, with the hashes it covers, to the folders that `stet.toml` names.
    /// Blocks.
    pub fn push_checkpoints(&self) -> Pushed {
        let mut pushed = Pushed::default();
        if self.inner.config.sealing.push.is_empty() {
            return pushed;
        }
        if let Err(error) = self.push_audit(&mut pushed) {
            pushed.failures.push(format!("audit trail: {}", Chain(&error)));
        }
        for key in self.inner.projects.keys() {
            match self.push_project(&key) {
                Ok(of_project) => {
                    pushed.checkpoints += of_project.checkpoints;
                    pushed.failures.extend(of_project.failures);
                }
                Err(error) => pushed.failures.push(format!("{key}: {}", Chain(&error))),
            }
        }
        for failure in &pushed.failures {
            tracing::error!(failure, "a checkpoint could not be pushed");
        }
        pushed
    }

    /// Pushes the last checkpoint of the audit trail. That its entries are those of the checkpoints is what verifying tells.
    fn push_audit(&self, pushed: &mut Pushed) -> Result<(), AppError> {
        let runtime = tokio::runtime::Handle::current();
        let Some((size, note)) = runtime.block_on(self.inner.node.audit_checkpoints(1))?.into_iter().next() else {
            return Ok(());
        };
        let origin = self.audit_origin();
        for folder in self.push_folders(&origin) {
            let old = read_checkpoint(&folder)?.map(|note| Checkpoint::peek(&note)).transpose();
            let old = old.map_err(|error| AppError::Conflict(format!("the checkpoint cannot be read: {error}")))?;
            if let Some(old) = old {
                let ours = runtime.block_on(self.inner.node.audit_checkpoint(old.size))?;
                let ours = ours.and_then(|note| Checkpoint::peek(&note).ok());
                if ours.is_none_or(|ours| ours.root != old.root) {
                    pushed.failures.push(format!(
                        "FORKED: the audit trail does not continue the {} entries that were pushed to {}",
                        old.size,
                        folder.display()
                    ));
                    continue;
                }
                if old.size == size {
                    continue;
                }
            }
            write(&folder.join(format!("checkpoints/{size:012}")), note.as_bytes())?;
            write(&folder.join("checkpoint"), note.as_bytes())?;
            pushed.checkpoints += 1;
        }
        Ok(())
    }

    fn push_project(&self, key: &ProjectKey) -> Result<Pushed, AppError> {
        let mut pushed = Pushed::default();
        for (original, place) in self.places(key)? {
            let origin = self.sealing(key).origin(&original);
            // One log that cannot be read keeps no other from its witness.
            let sealed = place.sealed(&original).and_then(|log| {
                let note = log.checkpoints(1)?.into_iter().next();
                Ok(note.map(|note| (log, note)))
            });
            let sealed = match sealed {
                Ok(sealed) => sealed,
                Err(StoreError::NotInitialised { .. }) => None,
                Err(error) => {
                    pushed.failures.push(format!("{origin}: {}", Chain(&error)));
                    continue;
                }
            };
            for folder in self.push_folders(&origin) {
                let result = match &sealed {
                    Some((log, note)) => push(log, note, &folder),
                    None => nothing_to_push(&folder),
                };
                match result {
                    Ok(new) => pushed.checkpoints += usize::from(new),
                    Err(error) => pushed.failures.push(format!("{origin} to {}: {error}", folder.display())),
                }
            }
        }
        Ok(pushed)
    }

    /// The editlogs of a project: those in the node's file, also of originals that no webapp edits any more, and those in
    /// databases that its files name, which may not be initialised yet.
    fn places(&self, key: &ProjectKey) -> Result<Vec<(DatasetName, EditlogPlace)>, AppError> {
        let path = self.inner.folder.editlogs(key);
        let mut places = Vec::new();
        if path.exists() {
            let own = Editlogs::originals_sqlite(&path)?;
            places.extend(own.into_iter().map(|original| (original, EditlogPlace::Node(path.clone()))));
        }
        places.extend(self.places_in_databases(key)?);
        Ok(places)
    }

    /// Those in databases alone.
    pub(crate) fn places_in_databases(&self, key: &ProjectKey) -> Result<Vec<(DatasetName, EditlogPlace)>, AppError> {
        let project = self.inner.projects.get(key)?;
        let mut places = BTreeMap::new();
        for original in project.webapps.values().map(|webapp| &webapp.original) {
            let place = self.editlog_place(&project, original)?;
            if matches!(place, EditlogPlace::Database(..)) {
                places.insert(original.clone(), place);
            }
        }
        Ok(places.into_iter().collect())
    }

    /// Where a log is pushed to.
    pub(crate) fn push_folders(&self, origin: &str) -> Vec<PathBuf> {
        let targets = self.inner.config.sealing.push.iter();
        targets.map(|target| self.inner.folder.resolve(&target.folder).join(origin)).collect()
    }
}

/// What is said of a log of which nothing is sealed.
fn nothing_to_push(folder: &Path) -> Result<bool, AppError> {
    match read_checkpoint(folder)?.map(|note| Checkpoint::peek(&note)) {
        Some(Ok(old)) if old.size > 0 => Err(AppError::Conflict(format!(
            "TRUNCATED: nothing of the log is sealed, and {} events were pushed",
            old.size
        ))),
        _ => Ok(false),
    }
}

/// Pushes a checkpoint of a log to its folder, if it is newer than what is there.
///
/// The checkpoint is written last, so that whoever reads one finds all hashes that it covers.
fn push(log: &SealedLog, note: &str, folder: &Path) -> Result<bool, AppError> {
    let damaged = |error| AppError::Conflict(format!("the checkpoint cannot be read: {error}"));
    let new = Checkpoint::peek(note).map_err(damaged)?;
    let old = match read_checkpoint(folder)? {
        Some(note) => Some(Checkpoint::peek(&note).map_err(damaged)?),
        None => None,
    };
    let old_size = old.as_ref().map_or(0, |old| old.size);
    if let Some(old) = &old {
        if old.size == new.size && old.root == new.root {
            return Ok(false);
        }
        let proof = log.prove_consistency(old.size, new.size)?.ok_or_else(|| {
            let (size, was) = (new.size, old.size);
            AppError::Conflict(format!("TRUNCATED: the log is sealed up to {size} events, and {was} were pushed"))
        })?;
        if !verify_consistency(old.size, new.size, &proof, old.root, new.root) {
            return Err(AppError::Conflict(format!(
                "FORKED: the log does not continue the {} events that were pushed; look into it before anything else is done",
                old.size
            )));
        }
    }
    for tile in tiles_between(old_size, new.size) {
        let bytes: Vec<u8> = log.tile(tile)?.into_iter().flat_map(|hash| hash.0).collect();
        write(&folder.join(tile.path()), &bytes)?;
    }
    write(&folder.join(format!("checkpoints/{:012}", new.size)), note.as_bytes())?;
    write(&folder.join("checkpoint"), note.as_bytes())?;
    Ok(true)
}

/// Writes a file whole or not at all.
fn write(path: &Path, content: &[u8]) -> Result<(), AppError> {
    let fail = |error: std::io::Error| AppError::Unavailable(format!("cannot write {}: {error}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fail)?;
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside).map_err(fail)?;
    std::io::Write::write_all(&mut file, content).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&beside, path).map_err(fail)
}

pub(crate) fn read_checkpoint(folder: &Path) -> Result<Option<String>, AppError> {
    let path = folder.join("checkpoint");
    let fail = |error: std::io::Error| AppError::Unavailable(format!("cannot read {}: {error}", path.display()));
    match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
        Ok(metadata) if metadata.len() > CHECKPOINT_BYTES_MAX => {
            Err(AppError::Invalid(format!("{} is too long for a checkpoint", path.display())))
        }
        Ok(_) => fs::read_to_string(&path).map(Some).map_err(fail),
    }
}

/// The checkpoint in a folder and the hashes beside it; none if nothing was pushed there.
pub(super) fn read_kept(folder: &Path) -> Result<Option<(String, KeptHashes)>, AppError> {
    let Some(note) = read_checkpoint(folder)? else { return Ok(None) };
    // Without a size that can be read there is nothing to compare with, and the checkpoint itself is what is wrong.
    let size = Checkpoint::peek(&note).map_or(0, |checkpoint| checkpoint.size);
    Ok(Some((note, KeptHashes { folder: folder.to_owned(), size, next: 0, tile: Vec::new().into_iter() })))
}

/// Reads hashes of leaves from a folder, a tile at a time.
pub(super) struct KeptHashes {
    folder: PathBuf,
    size: u64,
    next: u64,
    tile: std::vec::IntoIter<Hash>,
}

impl KeptHashes {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next hash; none after the last one.
    pub(super) fn next(&mut self) -> Result<Option<Hash>, AppError> {
        if self.next >= self.size {
            return Ok(None);
        }
        if let Some(hash) = self.tile.next() {
            self.next += 1;
            return Ok(Some(hash));
        }
        let index = self.next / TILE_HASHES;
        let width = (self.size - index * TILE_HASHES).min(TILE_HASHES);
        let path = self.folder.join(Tile { level: 0, index, width: width as u32 }.path());
        let content = fs::read(&path).map_err(|error| {
            AppError::Unavailable(format!("cannot read {}, which its checkpoint covers: {error}", path.display()))
        })?;
        let hashes = tile_hashes(&content).filter(|hashes| hashes.len() as u64 == width);
        let hashes: Vec<Hash> = hashes
            .ok_or_else(|| AppError::Invalid(format!("{} has not the {width} hashes that it should", path.display())))?
            .collect();
        self.tile = hashes.into_iter();
        self.next += 1;
        Ok(self.tile.next())
    }
}
