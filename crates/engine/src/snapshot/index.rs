//! The key index: from a key's text to its row, without keeping the keys.
//!
//! It is an open-addressing table in a file that is mapped into memory: for each slot a row number and a tag of 8 bits
//! out of the key's hash. A search compares the key of a row only where the tag is the same. The table is cut into
//! regions that are filled independently, one thread each.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::cache::map;
use crate::error::EngineError;

const MAGIC: &[u8; 8] = b"STETKEY1";

/// Magic, identity (32 hexadecimal digits), rows, slots of a region.
const HEADER_BYTES: usize = 8 + 32 + 8 + 8;

/// Regions are filled by one thread each, so this is also the most threads that are used.
const REGIONS: usize = 2;

/// A slot without a row.
const EMPTY: u32 = u32::MAX;

/// The seed of the hash; a file that was written with another hash finds no rows and is built again.
const SEED: u64 = 0x5354_4554;

/// Where each key is. Owns no keys: whoever asks compares.
#[derive(Debug)]
pub struct KeyIndex {
    /// The whole file: the header, then for each region its row numbers (little endian) and then its tags.
    bytes: Bytes,
    slots: usize,
}

/// A key that two rows have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Duplicate {
    pub row: u32,
    pub earlier: u32,
}

/// A key's hash, stable over starts of the program.
pub(super) fn hash(key: &str) -> u64 {
    let mut hasher = FixedState::with_seed(SEED).build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}

impl KeyIndex {
    /// The row whose key is asked for. `is_same` says whether a row has that very key.
    pub fn find(&self, key: &str, is_same: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = hash(key);
        let (rows, tags) = self.region(region_of(hash));
        search(rows, tags, hash, is_same).ok()
    }

    /// The size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Opens the index file of a snapshot, if it is there and whole.
    pub(super) fn open(path: &Path, identity: &str, rows: u64) -> Option<KeyIndex> {
        let bytes = map(&File::open(path).ok()?).ok()?;
        let header = bytes.get(..HEADER_BYTES)?;
        let slots = usize::try_from(u64::from_le_bytes(header[48..56].try_into().ok()?)).ok()?;
        let is_ours = header[..8] == *MAGIC
            && header[8..40] == *identity.as_bytes()
            && header[40..48] == rows.to_le_bytes()
            && slots == slots_for(rows as usize)
            && bytes.len() == HEADER_BYTES + REGIONS * slots * 5;
        is_ours.then_some(KeyIndex { bytes, slots })
    }

    /// Builds the index of rows whose keys have these hashes, in the order of the rows, and writes it into a file.
    /// `is_same` says whether two rows have the same key. The duplicates, if there are any, are returned instead: the
    /// first `duplicates_max` of each region.
    pub(super) fn build(
        hashes: &[u64],
        is_same: impl Fn(u32, u32) -> bool + Sync,
        duplicates_max: usize,
    ) -> Result<Built, Vec<Duplicate>> {
        let slots = slots_for(hashes.len());
        let fill = |region: usize| -> (Vec<u32>, Vec<u8>, Vec<Duplicate>) {
            let mut rows = vec![EMPTY; slots];
            let mut tags = vec![0u8; slots];
            let mut duplicates = Vec::new();
            for (row, hash) in hashes.iter().enumerate().filter(|(_, hash)| region_of(**hash) == region) {
                let row = row as u32;
                match search(&rows[..], &tags, *hash, |earlier| is_same(row, earlier)) {
                    Err(free) => {
                        rows[free] = row;
                        tags[free] = tag_of(*hash);
                    }
                    Ok(earlier) if duplicates.len() < duplicates_max => duplicates.push(Duplicate { row, earlier }),
                    Ok(_) => {}
                }
            }
            (rows, tags, duplicates)
        };
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| fill(1));
            let first = fill(0);
            match second.join() {
                Ok(second) => (first, second),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        let mut duplicates = [first.2, second.2].concat();
        if duplicates.is_empty() {
            return Ok(Built { rows: hashes.len() as u64, slots, regions: [(first.0, first.1), (second.0, second.1)] });
        }
        duplicates.sort_unstable();
        duplicates.truncate(duplicates_max);
        Err(duplicates)
    }

    fn region(&self, region: usize) -> (MappedSlots<'_>, &[u8]) {
        let start = HEADER_BYTES + region * self.slots * 5;
        let (rows, rest) = self.bytes[start..].split_at(self.slots * 4);
        (MappedSlots(rows), &rest[..self.slots])
    }
}

/// An index that is not in its file yet.
pub(super) struct Built {
    rows: u64,
    slots: usize,
    regions: [(Vec<u32>, Vec<u8>); REGIONS],
}

impl Built {
    /// Writes the index under a temporary name and puts it in place.
    pub fn save(&self, path: &Path, folder: &Path, identity: &str) -> Result<(), EngineError> {
        let failed = || EngineError::io("write", path);
        let file = tempfile::Builder::new().prefix(".tmp").tempfile_in(folder).map_err(failed())?;
        let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
        let write = |out: &mut std::io::BufWriter<tempfile::NamedTempFile>| -> std::io::Result<()> {
            out.write_all(MAGIC)?;
            out.write_all(identity.as_bytes())?;
            out.write_all(&self.rows.to_le_bytes())?;
            out.write_all(&(self.slots as u64).to_le_bytes())?;
            for (rows, tags) in &self.regions {
                for row in rows {
                    out.write_all(&row.to_le_bytes())?;
                }
                out.write_all(tags)?;
            }
            out.flush()
        };
        write(&mut out).map_err(failed())?;
        let file = out.into_inner().map_err(|error| failed()(error.into_error()))?;
        file.persist(path).map_err(|error| failed()(error.error))?;
        Ok(())
    }
}

/// The row numbers of a region, in memory or in a mapped file.
trait Slots: Copy {
    fn slots(self) -> usize;
    fn row(self, slot: usize) -> u32;
}

impl Slots for &[u32] {
    fn slots(self) -> usize {
        self.len()
    }
    fn row(self, slot: usize) -> u32 {
        self[slot]
    }
}

#[derive(Clone, Copy)]
struct MappedSlots<'a>(&'a [u8]);

impl Slots for MappedSlots<'_> {
    fn slots(self) -> usize {
        self.0.len() / 4
    }
    fn row(self, slot: usize) -> u32 {
        let bytes = &self.0[slot * 4..slot * 4 + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

/// The row that is the same, or else the free slot where the search ended.
fn search(rows: impl Slots, tags: &[u8], hash: u64, mut is_same: impl FnMut(u32) -> bool) -> Result<u32, usize> {
    let mask = rows.slots() - 1;
    let tag = tag_of(hash);
    let mut slot = (hash as usize) & mask;
    // A damaged file may have no free slot: the search ends after one round.
    for _ in 0..rows.slots() {
        let row = rows.row(slot);
        if row == EMPTY {
            return Err(slot);
        }
        if tags[slot] == tag && is_same(row) {
            return Ok(row);
        }
        slot = (slot + 1) & mask;
    }
    Err(slot)
}

/// Slots of a region: a power of two that leaves a quarter of them free or more.
fn slots_for(rows: usize) -> usize {
    ((rows / REGIONS + rows / 32 + 64) * 4 / 3).next_power_of_two()
}

fn tag_of(hash: u64) -> u8 {
    (hash >> 48) as u8
}

fn region_of(hash: u64) -> usize {
    (hash >> 63) as usize
}
