//! Where a key may be, remembered from the build that read them all: so that one new edit costs the keys of a few pages,
//! also where keys lie in no order and the smallest and largest ones tell nothing.
//!
//! For each run of rows of a row group there is a Bloom filter in blocks of one cache line (Putze, Sanders, Singler, "Cache-, Hash- and
//! Space-Efficient Bloom Filters", 2007): a key sets all its bits in one block, so that looking for it reads 64 bytes.
//!
//! A filter only says where to look first. A key that is in none of the named runs is looked for in all rows, so a damaged
//! file of filters makes a build slower and never wrong.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::EngineError;
use crate::write::{digest_text, temporary_prefix};

const MAGIC: &[u8; 8] = b"StetKey2";

/// Rows of a row group that share a filter; the last run of a row group may be shorter.
const RUN_ROWS: usize = 64 * 1024;

/// For more keys than these the filters of a row group are read as a whole, and not a block for each.
const KEYS_ONE_BY_ONE_MAX: usize = 64;

/// Bits for each key: about one key in a hundred is taken for one that is there.
const BITS_PER_KEY: usize = 10;

/// Bits that each key sets in its block.
const BITS_SET: u32 = 6;

const BLOCK_WORDS: usize = 8;
const BLOCK_BYTES: usize = BLOCK_WORDS * 8;

/// The most row groups, and runs of rows, that filters are kept for.
const FILTERS_MAX: usize = 1_000_000;
const RUNS_MAX: usize = 4_000_000;

/// The filters of one row group; without any it says nothing.
#[derive(Debug, Default)]
pub(in crate::build) struct KeyFilter {
    runs: Vec<Vec<[u64; BLOCK_WORDS]>>,
}

impl KeyFilter {
    /// The filter of keys with these hashes, in the order of their rows.
    pub(in crate::build) fn of(hashes: &[u64]) -> KeyFilter {
        KeyFilter { runs: hashes.chunks(RUN_ROWS).map(KeyFilter::run).collect() }
    }

    fn run(hashes: &[u64]) -> Vec<[u64; BLOCK_WORDS]> {
        let mut blocks = vec![[0u64; BLOCK_WORDS]; (hashes.len() * BITS_PER_KEY).div_ceil(BLOCK_BYTES * 8)];
        for hash in hashes {
            let (block, bits) = place_of(*hash, blocks.len());
            for bit in bits {
                blocks[block][bit / 64] |= 1 << (bit % 64);
            }
        }
        blocks
    }

    /// Whether it says nothing.
    pub(in crate::build) fn is_empty(&self) -> bool {
        self.runs.is_empty()
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
    /// For each run of rows of each row group where its blocks start in the file, and how many there are.
    places: Vec<Vec<(u64, u32)>>,
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
                out.write_all(&(filter.runs.len() as u32).to_le_bytes())?;
            }
            for run in filters.iter().flat_map(|filter| &filter.runs) {
                out.write_all(&(run.len() as u32).to_le_bytes())?;
            }
            for word in filters.iter().flat_map(|filter| filter.runs.iter().flatten().flatten()) {
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
        let counts = read_numbers(&mut file, count)?;
        let runs: usize = counts.iter().map(|count| *count as usize).sum();
        if runs > RUNS_MAX {
            return None;
        }
        let mut sizes = read_numbers(&mut file, runs)?.into_iter();
        let mut at = (head.len() + (count + runs) * 4) as u64;
        let mut place = |blocks: u32| {
            let place = (at, blocks);
            at += u64::from(blocks) * BLOCK_BYTES as u64;
            place
        };
        let places =
            counts.iter().map(|count| sizes.by_ref().take(*count as usize).map(&mut place).collect()).collect();
        Some(KeyFilters { file, places })
    }

    /// The rows of a row group that may have one of the keys with these hashes, in order and apart from each other; none
    /// when nothing is known.
    pub(in crate::build) fn rows(&self, group: usize, rows: usize, hashes: &[u64]) -> Option<Vec<Range<usize>>> {
        let places = &self.places[group];
        if places.len() != rows.div_ceil(RUN_ROWS) {
            return None;
        }
        let mut found: Vec<Range<usize>> = Vec::new();
        for (run, (start, blocks)) in places.iter().enumerate() {
            let whole = if hashes.len() > KEYS_ONE_BY_ONE_MAX {
                let mut whole = vec![0; *blocks as usize * BLOCK_BYTES];
                // What cannot be read says nothing.
                crate::read::parquet::read_exact_at(&self.file, &mut whole, *start).ok()?;
                Some(whole)
            } else {
                None
            };
            let mut is_here = false;
            for hash in hashes {
                if *blocks == 0 {
                    return None;
                }
                let (block, mut bits) = place_of(*hash, *blocks as usize);
                let mut bytes = [0; BLOCK_BYTES];
                match &whole {
                    Some(whole) => bytes.copy_from_slice(&whole[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES]),
                    None => {
                        let at = start + (block * BLOCK_BYTES) as u64;
                        crate::read::parquet::read_exact_at(&self.file, &mut bytes, at).ok()?;
                    }
                }
                if bits.all(|bit| bytes[bit / 8] & (1 << (bit % 8)) != 0) {
                    is_here = true;
                    break;
                }
            }
            if is_here {
                let own = run * RUN_ROWS..((run + 1) * RUN_ROWS).min(rows);
                match found.last_mut() {
                    Some(last) if last.end == own.start => last.end = own.end,
                    _ => found.push(own),
                }
            }
        }
        Some(found)
    }
}

fn read_numbers(file: &mut File, count: usize) -> Option<Vec<u32>> {
    let mut bytes = vec![0; count * 4];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes.chunks_exact(4).map(|number| u32::from_le_bytes([number[0], number[1], number[2], number[3]])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_is_always_found_and_few_others_are() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let output = folder.path().join("edited.parquet/");
        let hash = |key: u64| key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let group = |from: u64, rows: u64| (from..from + rows).map(hash).collect::<Vec<_>>();
        let filters = [KeyFilter::of(&group(0, 10_000)), KeyFilter::default(), KeyFilter::of(&group(50_000, 150_000))];
        KeyFilters::write(&output, "state 1", &filters).unwrap_or_else(|error| panic!("{error}"));
        assert!(KeyFilters::open(&output, "state 2", 3).is_none());
        assert!(KeyFilters::open(&output, "state 1", 2).is_none());
        let opened = KeyFilters::open(&output, "state 1", 3).unwrap_or_else(|| panic!("there are filters"));
        let rows = |group, rows, keys: &[u64]| {
            opened.rows(group, rows, &keys.iter().map(|key| hash(*key)).collect::<Vec<_>>())
        };
        let all = |rows: usize| Some(std::iter::once(0..rows).collect::<Vec<_>>());
        assert!((0..10_000).all(|key| rows(0, 10_000, &[key]) == all(10_000)));
        assert_eq!((rows(1, 10_000, &[7]), rows(2, 60_000, &[7])), (None, None));
        let wrong = (10_000..50_000).filter(|key| rows(0, 10_000, &[*key]) != Some(Vec::new())).count();
        assert!(wrong < 1_200, "{wrong} of 40000");
        // The rows of one key are few of those of a large row group, and many keys together are found in all of them.
        let is_in = |key: u64| {
            rows(2, 150_000, &[50_000 + key]).unwrap_or_default().iter().any(|rows| rows.contains(&(key as usize)))
        };
        assert!((0..150_000).all(is_in));
        let few =
            (0..150_000).filter(|key| rows(2, 150_000, &[50_000 + key]).is_some_and(|rows| rows.len() == 1)).count();
        assert!(few > 140_000, "{few} of 150000");
        let many: Vec<u64> = (0..100).map(|key| 50_000 + key * 1_499).collect();
        assert_eq!(rows(2, 150_000, &many), all(150_000));
        assert_eq!(rows(2, 150_000, &[]), Some(Vec::new()));
    }
}
