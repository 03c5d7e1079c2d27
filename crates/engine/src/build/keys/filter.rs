//! Which row groups may have a key, remembered from the build that read them all: so that one new edit costs the keys of
//! one row group, also where keys lie in no order and the smallest and largest ones tell nothing.
//!
//! For each row group there is a Bloom filter in blocks of one cache line (Putze, Sanders, Singler, "Cache-, Hash- and
//! Space-Efficient Bloom Filters", 2007): a key sets all its bits in one block, so that looking for it reads 64 bytes.
//!
//! A filter only says where to look first. A key that is in none of the named row groups is looked for in the others, so
//! a damaged file of filters makes a build slower and never wrong.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::EngineError;
use crate::write::{digest_text, temporary_prefix};

const MAGIC: &[u8; 8] = b"StetKey1";

/// Bits for each key: about one key in a hundred is taken for one that is there.
const BITS_PER_KEY: usize = 10;

/// Bits that each key sets in its block.
const BITS_SET: u32 = 6;

const BLOCK_WORDS: usize = 8;
const BLOCK_BYTES: usize = BLOCK_WORDS * 8;

/// The most row groups that filters are kept for.
const FILTERS_MAX: usize = 1_000_000;

/// The filter of one row group; without blocks it says nothing.
#[derive(Debug, Default)]
pub(in crate::build) struct KeyFilter {
    blocks: Vec<[u64; BLOCK_WORDS]>,
}

impl KeyFilter {
    /// The filter of keys with these hashes.
    pub(in crate::build) fn of(hashes: &[u64]) -> KeyFilter {
        let mut blocks = vec![[0u64; BLOCK_WORDS]; (hashes.len() * BITS_PER_KEY).div_ceil(BLOCK_BYTES * 8)];
        for hash in hashes {
            let (block, bits) = place_of(*hash, blocks.len());
            for bit in bits {
                blocks[block][bit / 64] |= 1 << (bit % 64);
            }
        }
        KeyFilter { blocks }
    }

    /// Whether it says nothing.
    pub(in crate::build) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// The block of a hash, and the bits that it sets in it.
fn place_of(hash: u64, blocks: usize) -> (usize, impl Iterator<Item = usize>) {
    // The hashes of keys are mixed best in their upper bits.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let block = ((u128::from(mixed) * blocks as u128) >> 64) as usize;
    let bits = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ hash.rotate_left(29);
    (block, (0..BITS_SET).map(move |bit| (bits >> (bit * 9)) as usize % (BLOCK_BYTES * 8)))
}

/// The file beside an output that holds the filters of its original's row groups.
#[derive(Debug)]
pub(in crate::build) struct KeyFilters {
    file: File,
    /// For each row group where its blocks start in the file, and how many there are.
    places: Vec<(u64, u32)>,
}

impl KeyFilters {
    /// Where the filters of an output are.
    pub(in crate::build) fn path_of(output: &Path) -> PathBuf {
        let mut name = output.components().as_path().as_os_str().to_owned();
        name.push(".stet.keys");
        PathBuf::from(name)
    }

    /// Writes the filters of the row groups of an original in this state, whose `identity` is any text that is another one
    /// for another original or other key columns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(in crate::build) fn write(output: &Path, identity: &str, filters: &[KeyFilter]) -> Result<(), EngineError> {
        let path = KeyFilters::path_of(output);
        let folder = path.parent().unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(&temporary_prefix(&path)).suffix(".tmp").tempfile_in(folder);
        let file = file.map_err(EngineError::io("create a file in", folder))?;
        let mut out = BufWriter::new(file);
        let mut write = || -> std::io::Result<()> {
            out.write_all(MAGIC)?;
            out.write_all(digest_text(identity).as_bytes())?;
            out.write_all(&(filters.len() as u32).to_le_bytes())?;
            for filter in filters {
                out.write_all(&(filter.blocks.len() as u32).to_le_bytes())?;
            }
            for word in filters.iter().flat_map(|filter| filter.blocks.iter().flatten()) {
                out.write_all(&word.to_le_bytes())?;
            }
            out.flush()
        };
        write().map_err(EngineError::io("write", &path))?;
        let file = out.into_inner().map_err(|error| EngineError::io("write", &path)(error.into_error()))?;
        file.persist(&path).map_err(|error| EngineError::io("put in place", &path)(error.error))?;
        Ok(())
    }

    /// Opens the filters of an original in this state; none when there are none, or none that can be used.
    pub(in crate::build) fn open(output: &Path, identity: &str, groups: usize) -> Option<KeyFilters> {
        let mut file = File::open(KeyFilters::path_of(output)).ok()?;
        let mut head = vec![0; MAGIC.len() + 64 + 4];
        file.read_exact(&mut head).ok()?;
        let (magic, rest) = head.split_at(MAGIC.len());
        let (digest, count) = rest.split_at(64);
        let count = u32::from_le_bytes(count.try_into().ok()?) as usize;
        if magic != MAGIC || digest != digest_text(identity).as_bytes() || count != groups || count > FILTERS_MAX {
            return None;
        }
        let mut sizes = vec![0; count * 4];
        file.read_exact(&mut sizes).ok()?;
        let mut at = (head.len() + sizes.len()) as u64;
        let places = sizes
            .chunks_exact(4)
            .map(|size| {
                let blocks = u32::from_le_bytes([size[0], size[1], size[2], size[3]]);
                let place = (at, blocks);
                at += u64::from(blocks) * BLOCK_BYTES as u64;
                place
            })
            .collect();
        Some(KeyFilters { file, places })
    }

    /// Whether a row group may have the key with this hash.
    pub(in crate::build) fn may_have(&self, group: usize, hash: u64) -> bool {
        let (start, blocks) = self.places[group];
        if blocks == 0 {
            return true;
        }
        let (block, mut bits) = place_of(hash, blocks as usize);
        let mut bytes = [0; BLOCK_BYTES];
        let at = start + (block * BLOCK_BYTES) as u64;
        // What cannot be read says nothing.
        if crate::read::parquet::read_exact_at(&self.file, &mut bytes, at).is_err() {
            return true;
        }
        bits.all(|bit| bytes[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_is_always_found_and_few_others_are() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let output = folder.path().join("edited.parquet/");
        let hash = |key: u64| key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let group = |from: u64| (from..from + 10_000).map(hash).collect::<Vec<_>>();
        let filters = [KeyFilter::of(&group(0)), KeyFilter::default(), KeyFilter::of(&group(50_000))];
        KeyFilters::write(&output, "state 1", &filters).unwrap_or_else(|error| panic!("{error}"));
        assert!(KeyFilters::open(&output, "state 2", 3).is_none());
        assert!(KeyFilters::open(&output, "state 1", 2).is_none());
        let opened = KeyFilters::open(&output, "state 1", 3).unwrap_or_else(|| panic!("there are filters"));
        assert!((0..10_000).all(|key| opened.may_have(0, hash(key)) && opened.may_have(2, hash(50_000 + key))));
        assert!(opened.may_have(1, 7));
        let wrong = (10_000..50_000).filter(|key| opened.may_have(0, hash(*key))).count();
        assert!(wrong < 1_200, "{wrong} of 40000");
    }
}
