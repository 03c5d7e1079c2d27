//! SHA-256 as RFC 6962 (section 2.1) uses it: leaves and inner nodes are hashed with different first bytes, so that
//! neither can stand for the other.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// The bytes of a hash.
pub const HASH_BYTES: usize = 32;

const BLOCK_BYTES: usize = 64;

/// Messages of up to so many blocks, with their padding, are hashed in one step.
const SHORT_BLOCKS: usize = 5;
const SHORT_BYTES_MAX: usize = SHORT_BLOCKS * BLOCK_BYTES - 9;

/// The state that SHA-256 begins with (FIPS 180-4, section 5.3.3).
const INITIAL_STATE: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// A SHA-256 hash. As text it is standard base64, as in checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; HASH_BYTES]);

/// A text that is not the base64 of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 32 bytes in base64")]
pub struct NotAHash;

impl Hash {
    /// The plain SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash::of_parts([bytes])
    }

    /// The SHA-256 of some bytes after each other.
    pub(crate) fn of_parts<const PARTS: usize>(parts: [&[u8]; PARTS]) -> Hash {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > SHORT_BYTES_MAX {
            let mut hasher = Sha256::new();
            parts.iter().for_each(|part| hasher.update(part));
            return Hash(hasher.finalize().into());
        }
        // Nearly all that is hashed here is a few blocks long, where setting up a general hasher costs as much as the
        // hashing. So the message is padded here, as FIPS 180-4 (section 5.1.1) has it.
        let mut blocks = [[0; BLOCK_BYTES]; SHORT_BLOCKS];
        let bytes = blocks.as_flattened_mut();
        let mut end = 0;
        for part in parts {
            bytes[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        bytes[end] = 0x80;
        let used = (end + 9).div_ceil(BLOCK_BYTES);
        bytes[used * BLOCK_BYTES - 8..used * BLOCK_BYTES].copy_from_slice(&(length as u64 * 8).to_be_bytes());
        let mut state = INITIAL_STATE;
        compress256(&mut state, &blocks[..used]);
        let mut hash = [0; HASH_BYTES];
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        Hash(hash)
    }

    /// The hash of a leaf: of a zero byte and the leaf's data.
    pub fn leaf(data: &[u8]) -> Hash {
        Hash::of_parts([&[0], data])
    }

    /// The hash of an inner node: of a one byte and the hashes of its two children.
    pub fn node(left: Hash, right: Hash) -> Hash {
        Hash::of_parts([&[1], &left.0, &right.0])
    }

    /// The root of a tree without leaves.
    pub fn empty_root() -> Hash {
        Hash::of(&[])
    }

    /// A hash from its bytes; none if there are not 32 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;
    fn from_str(text: &str) -> Result<Hash, NotAHash> {
        let mut bytes = [0; 33];
        match STANDARD.decode_slice(text, &mut bytes) {
            Ok(HASH_BYTES) => Hash::from_slice(&bytes[..HASH_BYTES]).ok_or(NotAHash),
            _ => Err(NotAHash),
        }
    }
}
