//! Places that keep checkpoints and hashes: folders and buckets, in one layout.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stet_editlog::tile::{TILE_BYTES, TILE_HASHES, Tile, tile_hashes};
use stet_editlog::{Checkpoint, Hash};

use super::s3::Bucket;
use crate::error::AppError;

/// The longest checkpoint that is read, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 256 * 1024;

/// The part of a place that is of one log.
#[derive(Clone)]
pub(crate) enum Place {
    /// A folder.
    Folder(PathBuf),
    /// The objects whose keys begin with this origin and a slash.
    Bucket {
        /// The bucket.
        bucket: Arc<Bucket>,
        /// How it is called.
        name: String,
        /// The log's origin.
        origin: String,
    },
}

impl Place {
    /// How it is called in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Place::Folder(folder) => folder.display().to_string(),
            Place::Bucket { name, origin, .. } => format!("{name}/{origin}"),
        }
    }

    fn read(&self, path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, AppError> {
        let found = match self {
            Place::Folder(folder) => {
                let path = folder.join(path);
                let fail =
                    |error: std::io::Error| AppError::Unavailable(format!("cannot read {}: {error}", path.display()));
                match fs::metadata(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => None,
                    Err(error) => return Err(fail(error)),
                    Ok(metadata) if metadata.len() > bytes_max => {
                        return Err(self.too_long(&path.display().to_string()));
                    }
                    Ok(_) => Some(fs::read(&path).map_err(fail)?),
                }
            }
            Place::Bucket { bucket, origin, .. } => bucket.get(&format!("{origin}/{path}"))?,
        };
        match found {
            Some(content) if content.len() as u64 > bytes_max => Err(self.too_long(path)),
            found => Ok(found),
        }
    }

    fn too_long(&self, path: &str) -> AppError {
        AppError::Invalid(format!("{path} is too long for what was pushed there ({})", self.name()))
    }

    /// Writes a file or object, whole or not at all.
    pub(super) fn write(&self, path: &str, content: &[u8]) -> Result<(), AppError> {
        match self {
            Place::Folder(folder) => write_file(&folder.join(path), content),
            Place::Bucket { bucket, origin, .. } => bucket.put(&format!("{origin}/{path}"), content),
        }
    }

    /// The last checkpoint that was pushed; none if none was.
    pub(crate) fn checkpoint(&self) -> Result<Option<String>, AppError> {
        let Some(content) = self.read("checkpoint", CHECKPOINT_BYTES_MAX)? else { return Ok(None) };
        let not_text = |_| AppError::Invalid(format!("the checkpoint in {} is no text", self.name()));
        String::from_utf8(content).map(Some).map_err(not_text)
    }

    /// The last checkpoint and the hashes beside it; none if nothing was pushed there.
    pub(crate) fn kept(&self) -> Result<Option<(String, KeptHashes)>, AppError> {
        let Some(note) = self.checkpoint()? else { return Ok(None) };
        // Without a size that can be read there is nothing to compare with, and the checkpoint itself is what is wrong.
        let size = Checkpoint::peek(&note).map_or(0, |checkpoint| checkpoint.size);
        Ok(Some((note, KeptHashes { place: self.clone(), size, next: 0, tile: Vec::new().into_iter() })))
    }
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), AppError> {
    let fail = |error: std::io::Error| AppError::Unavailable(format!("cannot write {}: {error}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fail)?;
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside).map_err(fail)?;
    std::io::Write::write_all(&mut file, content).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&beside, path).map_err(fail)
}

/// Reads hashes of leaves from where they were pushed to, a tile at a time.
pub(crate) struct KeptHashes {
    place: Place,
    size: u64,
    next: u64,
    tile: std::vec::IntoIter<Hash>,
}

impl KeptHashes {
    /// How the place is called in messages.
    pub(crate) fn place(&self) -> String {
        self.place.name()
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next hash; none after the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Hash>, AppError> {
        if self.next >= self.size {
            return Ok(None);
        }
        if let Some(hash) = self.tile.next() {
            self.next += 1;
            return Ok(Some(hash));
        }
        let index = self.next / TILE_HASHES;
        let width = (self.size - index * TILE_HASHES).min(TILE_HASHES);
        let path = Tile { level: 0, index, width: width as u32 }.path();
        let content = self.place.read(&path, TILE_BYTES as u64)?.ok_or_else(|| {
            AppError::Unavailable(format!("{path} is not in {}, whose checkpoint covers it", self.place.name()))
        })?;
        let hashes = tile_hashes(&content).filter(|hashes| hashes.len() as u64 == width);
        let hashes: Vec<Hash> = hashes
            .ok_or_else(|| {
                AppError::Invalid(format!("{path} in {} has not the {width} hashes that it should", self.place.name()))
            })?
            .collect();
        self.tile = hashes.into_iter();
        self.next += 1;
        Ok(self.tile.next())
    }
}
