//! How the tree's hashes are stored: tiles of 256 hashes, as C2SP tlog-tiles has them.
//!
//! A hash of level `l` is the root over 256^l leaves. A full tile is never changed; the last tile of a level is partial.

use crate::hash::{HASH_BYTES, Hash};
use crate::tree::Subtrees;

/// The hashes in a full tile.
pub const TILE_HASHES: u64 = 256;

/// The height of a tile in the tree: levels of tiles are this far apart.
pub const TILE_HEIGHT: u32 = 8;

/// The bytes of a full tile.
pub const TILE_BYTES: usize = TILE_HASHES as usize * HASH_BYTES;

/// The highest level of tiles that any tree can have.
pub const LEVEL_MAX: u32 = 7;

/// A tile of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// 0 for tiles of leaves.
    pub level: u32,
    /// Its place within the level, from 0.
    pub index: u64,
    /// How many hashes it has, from 1 to 256.
    pub width: u32,
}

impl Tile {
    /// The path below the log's prefix, such as `tile/0/x001/x234/067` or `tile/1/000.p/5`.
    pub fn path(&self) -> String {
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if u64::from(self.width) < TILE_HASHES { format!(".p/{}", self.width) } else { String::new() };
        format!("tile/{}/{number}{partial}", self.level)
    }

    /// The tile of a path; none if the path is not one that [`Tile::path`] writes.
    pub fn from_path(path: &str) -> Option<Tile> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok()?),
            None => (rest, TILE_HASHES as u32),
        };
        let mut index: u64 = 0;
        for part in number.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Tile { level: level.parse().ok()?, index, width };
        // One spelling for each tile: what is written again must be what was read.
        (tile.level <= LEVEL_MAX && (1..=TILE_HASHES as u32).contains(&width) && tile.path() == path).then_some(tile)
    }
}

/// How many hashes a level has in a tree of this size.
pub fn level_hashes(level: u32, size: u64) -> u64 {
    size.checked_shr(level * TILE_HEIGHT).unwrap_or(0)
}

/// The tiles that a tree of `size` has and one of `old_size` had not, level by level: what is to be written when a tree
/// has grown. Partial tiles are among them.
pub fn tiles_between(old_size: u64, size: u64) -> impl Iterator<Item = Tile> {
    (0..=LEVEL_MAX).flat_map(move |level| {
        let (old, new) = (level_hashes(level, old_size), level_hashes(level, size));
        let last = if new > old { new.div_ceil(TILE_HASHES) } else { old / TILE_HASHES };
        (old / TILE_HASHES..last).map(move |index| {
            let width = (new - index * TILE_HASHES).min(TILE_HASHES);
            Tile { level, index, width: width as u32 }
        })
    })
}

/// Gives stored hashes, for making proofs.
pub trait StoredHashes {
    /// Why hashes could not be had.
    type Error;
    /// The hashes of `level` from `start`, `count` of them; at most 256, and all within one tile.
    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<Hash>, Self::Error>;
}

/// Reads perfect subtrees from stored tiles: heights between two levels are hashed from those below.
#[derive(Debug, Clone, Copy)]
pub struct TileTree<'a, T>(pub &'a T);

impl<T: StoredHashes> Subtrees for TileTree<'_, T> {
    type Error = T::Error;

    fn subtree(&self, height: u32, index: u64) -> Result<Hash, T::Error> {
        let level = height / TILE_HEIGHT;
        let above = height % TILE_HEIGHT;
        let mut hashes = self.0.hashes(level, index << above, 1 << above)?;
        while hashes.len() > 1 {
            hashes = hashes.chunks(2).map(|pair| pair.iter().copied().reduce(Hash::node).unwrap_or_default()).collect();
        }
        Ok(hashes.first().copied().unwrap_or_default())
    }
}

/// The hashes of a tile from its bytes; none if these are no whole number of hashes from 1 to 256.
pub fn tile_hashes(bytes: &[u8]) -> Option<impl ExactSizeIterator<Item = Hash>> {
    let (chunks, rest) = bytes.as_chunks::<HASH_BYTES>();
    (rest.is_empty() && (1..=TILE_HASHES as usize).contains(&chunks.len()))
        .then(|| chunks.iter().map(|chunk| Hash(*chunk)))
}
