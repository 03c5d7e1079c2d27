//! The files of snapshots in their cache folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::root_as_footer;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use memmap2::Mmap;

use super::{BATCH_ROWS, ROWS_MAX, Zones};
use crate::error::EngineError;

/// The key of the identity in the footer of the IPC file.
pub(super) const IDENTITY_METADATA: &str = "stet.identity";

/// The footer's length and the closing magic of an Arrow IPC file.
const TRAILER_BYTES: usize = 10;

/// Half-written files of a process that died are removed when they are older than this.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the files of one snapshot are.
pub(super) struct Place {
    /// The folder of the dataset's snapshots.
    pub folder: PathBuf,
    pub identity: String,
}

/// The rows of a snapshot, mapped into memory.
pub(super) struct MappedRows {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    pub rows: usize,
    pub bytes: u64,
}

impl Place {
    pub fn new(cache_folder: &Path, dataset: &str, identity: &str) -> Result<Place, EngineError> {
        // Dataset names are plain words; anything else must not lead out of the folder.
        let name: String =
            dataset.chars().map(|c| if c.is_alphanumeric() || "_-".contains(c) { c } else { '_' }).collect();
        let folder = cache_folder.join(name);
        std::fs::create_dir_all(&folder).map_err(EngineError::io("make the folder", &folder))?;
        Ok(Place { folder, identity: identity.to_owned() })
    }

    pub fn rows_path(&self) -> PathBuf {
        self.folder.join(format!("{}.arrow", self.identity))
    }

    pub fn index_path(&self) -> PathBuf {
        self.folder.join(format!("{}.keys", self.identity))
    }

    pub fn zones_path(&self) -> PathBuf {
        self.folder.join(format!("{}.zones", self.identity))
    }

    /// The zones of the rows, if their file is there and whole.
    pub fn open_zones(&self, rows: &MappedRows) -> Option<Zones> {
        Zones::open(&self.zones_path(), &self.identity, rows.rows as u64, &rows.schema)
    }

    /// The rows, if the file is there and whole.
    pub fn open_rows(&self) -> Option<MappedRows> {
        let path = self.rows_path();
        let file = File::open(&path).ok()?;
        let mapped = map(&file).ok().and_then(|bytes| decode(bytes, &self.identity));
        if mapped.is_none() {
            tracing::warn!(path = %path.display(), "the snapshot is damaged; it is written again");
        }
        mapped
    }

    /// Removes the dataset's other snapshots. Files that are mapped live on until they are unmapped.
    pub fn remove_others(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let is_snapshot = [".arrow", ".keys", ".zones"].iter().any(|ending| name.ends_with(ending));
            let is_abandoned = name.starts_with(".tmp") && is_older(&path, ABANDONED_AFTER);
            if (is_snapshot && !name.starts_with(&self.identity)) || is_abandoned {
                // What cannot be removed now is tried again with the next snapshot.
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|since| since > age))
}

/// Maps a file of the cache folder into memory.
#[allow(unsafe_code)]
pub(super) fn map(file: &File) -> std::io::Result<Bytes> {
    // SAFETY: the mapping is sound as long as nobody writes to the file or shortens it while it is mapped. Stet writes
    // such files under temporary names, renames them when they are whole, and from then on only ever removes them, which
    // leaves the mapping intact. The cache folder belongs to the node alone, like the memory of its process.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}

/// Reads the Arrow IPC file in `bytes` without copying its buffers. Every batch is validated, on all cores, so that no
/// damage can lead to a read out of bounds.
fn decode(bytes: Bytes, identity: &str) -> Option<MappedRows> {
    let length = bytes.len();
    let buffer = Buffer::from(bytes);
    let trailer: [u8; TRAILER_BYTES] = buffer.get(length.checked_sub(TRAILER_BYTES)?..)?.try_into().ok()?;
    let footer_length = read_footer_length(trailer).ok()?;
    let footer_start = length.checked_sub(TRAILER_BYTES)?.checked_sub(footer_length)?;
    let footer = root_as_footer(buffer.get(footer_start..length - TRAILER_BYTES)?).ok()?;
    let is_ours = footer
        .custom_metadata()?
        .iter()
        .any(|pair| pair.key() == Some(IDENTITY_METADATA) && pair.value() == Some(identity));
    if !is_ours {
        return None;
    }
    let schema: SchemaRef = Arc::new(try_fb_to_schema(footer.schema()?).ok()?);
    let blocks: Vec<_> = footer.recordBatches()?.iter().copied().collect();
    let decoder = FileDecoder::new(schema.clone(), footer.version());
    let read = |block: &arrow_ipc::Block| -> Option<RecordBatch> {
        let start = usize::try_from(block.offset()).ok()?;
        let size =
            usize::try_from(block.bodyLength()).ok()?.checked_add(usize::try_from(block.metaDataLength()).ok()?)?;
        if start.checked_add(size)? > footer_start {
            return None;
        }
        decoder.read_record_batch(block, &buffer.slice_with_length(start, size)).ok().flatten()
    };
    let half = blocks.len() / 2;
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| blocks[half..].iter().map(read).collect::<Option<Vec<_>>>());
        (blocks[..half].iter().map(read).collect::<Option<Vec<_>>>(), second.join().ok().flatten())
    });
    let mut batches = first?;
    batches.extend(second?);
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let even = batches.iter().rev().skip(1).all(|batch| batch.num_rows() == BATCH_ROWS);
    let last_fits = batches.last().is_none_or(|batch| (1..=BATCH_ROWS).contains(&batch.num_rows()));
    (even && last_fits && rows as u64 <= ROWS_MAX).then_some(MappedRows { schema, batches, rows, bytes: length as u64 })
}
