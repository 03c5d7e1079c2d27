//! Reading and verifying bundles.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::{BUNDLE_FORMAT, CHECKPOINTS, EVENTS, KEYS, MANIFEST, Manifest, PART_BYTES_MAX, SMALL_BYTES_MAX, tar};
use crate::erasure::erased_fields;
use crate::event::ERASE_ACTION;
use crate::hash::Hash;
use crate::line::{self, NotAnEvent};
use crate::note::{VerifierKey, parse_keys};
use crate::tile::{TILE_BYTES, TILE_HASHES, Tile, tile_hashes};
use crate::verify::{CHECKPOINTS_MAX, Kept, Report, Verifier};

/// How much a thread hashes at a time: little enough that a line is still in the processor's own memory when it is asked again.
const PIECE_BYTES: usize = 256 * 1024;

/// What the verifier of a bundle knows from elsewhere.
#[derive(Default)]
pub struct Expectations<'a> {
    /// Whose signatures count; none for the keys in the bundle, which then only agree with themselves.
    pub trusted: Option<&'a [VerifierKey]>,
    /// Which log it should be.
    pub origin: Option<&'a str>,
    /// Signed checkpoints that were kept elsewhere, each with where.
    pub checkpoints: &'a [(String, String)],
    /// The witnesses whose cosignatures are looked for.
    pub witnesses: &'a [VerifierKey],
    /// The hashes of leaves that were kept elsewhere.
    pub hashes: Option<&'a mut dyn Iterator<Item = Hash>>,
    /// How many threads may hash.
    pub threads: usize,
}

/// What the verification of a bundle found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleReport {
    /// What the bundle says about itself.
    pub manifest: Manifest,
    /// The keys in the bundle.
    pub keys: Vec<VerifierKey>,
    /// Whether trusted keys were given. If not, whoever made the bundle vouches for it alone.
    pub keys_given: bool,
    /// What was found.
    pub report: Report,
}

/// A bundle that cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read.
    #[error("the bundle cannot be read")]
    Io(#[from] io::Error),
    /// It is cut off, or no bundle at all.
    #[error("this is not a bundle of an editlog, or it is cut off: {0}")]
    NotABundle(&'static str),
    /// A file in it is longer than any bundle has.
    #[error("`{name}` in the bundle has {bytes} bytes, and no bundle has more than {bytes_max} there")]
    TooLong { name: String, bytes: u64, bytes_max: u64 },
    /// A file in it is not what it should be.
    #[error("`{name}` in the bundle is wrong: {what}")]
    Wrong { name: String, what: String },
    /// A later version's bundle.
    #[error("the bundle has the format `{found}` and this version of Stet knows `{BUNDLE_FORMAT}`: use a newer Stet")]
    OtherFormat { found: String },
    /// Another log's bundle.
    #[error("this is the bundle of another log: `{found}` instead of `{expected}`")]
    OtherLog { expected: String, found: String },
}

impl From<tar::TarError> for BundleError {
    fn from(error: tar::TarError) -> BundleError {
        match error {
            tar::TarError::Io(error) => BundleError::Io(error),
            tar::TarError::NotTar => BundleError::NotABundle("it is not a whole tar archive of plain files"),
            tar::TarError::TooLong { name, bytes, bytes_max } => BundleError::TooLong { name, bytes, bytes_max },
        }
    }
}

/// Verifies a bundle while reading it once, in bounded memory. `progress` is told how many events were looked at, and how
/// many there should be.
///
/// # Errors
/// When it cannot be read to its end, or is not what a bundle is. What is wrong with the log itself is in the report.
pub fn verify(
    mut input: impl Read,
    expected: Expectations<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BundleReport, BundleError> {
    let mut reader = Reader { input: &mut input, next: None, spare: Vec::new() };
    let manifest: Manifest = reader.member(MANIFEST)?.map_or(
        Err(BundleError::NotABundle("it does not begin with `manifest.json`")),
        |content| {
            let wrong = |error: serde_json::Error| wrong(MANIFEST, error.to_string());
            let format: serde_json::Value = serde_json::from_slice(&content).map_err(wrong)?;
            match format.get("format").and_then(|format| format.as_str()) {
                Some(BUNDLE_FORMAT) => serde_json::from_value(format).map_err(wrong),
                found => Err(BundleError::OtherFormat { found: found.unwrap_or("none").to_owned() }),
            }
        },
    )?;
    if let Some(origin) = expected.origin.filter(|origin| *origin != manifest.origin) {
        return Err(BundleError::OtherLog { expected: origin.to_owned(), found: manifest.origin });
    }
    let keys = reader.member(KEYS)?.ok_or(BundleError::NotABundle("it has no `keys`"))?;
    let keys = parse_keys(&text(KEYS, keys)?).map_err(|(line, error)| wrong(KEYS, format!("line {line}: {error}")))?;
    let mut checkpoints = Vec::new();
    while let Some(note) = reader.member(CHECKPOINTS)? {
        if checkpoints.len() >= CHECKPOINTS_MAX {
            return Err(wrong(CHECKPOINTS, format!("there are more than {CHECKPOINTS_MAX}")));
        }
        checkpoints.push(text(CHECKPOINTS, note)?);
    }
    let outside = expected.checkpoints.iter().map(|(note, place)| (note.as_str(), Kept::Outside(place.clone())));
    let verifier = Verifier::witnessed(
        &manifest.origin,
        expected.trusted.unwrap_or(&keys),
        expected.witnesses,
        checkpoints.iter().map(|note| (note.as_str(), Kept::Inside)).chain(outside),
    );
    let mut body = Body {
        verifier,
        kept: expected.hashes,
        hashes: 0,
        hashes_max: manifest.hashes,
        threads: expected.threads.max(1),
    };
    if body.hashes_max == 0 {
        body.end_hashes();
    }
    while let Some(member) = reader.take()? {
        if let Some(tile) = Tile::from_path(&member.name) {
            body.tile(&member.name, tile, &member.content)?;
        } else if member.name.starts_with(EVENTS) {
            // The longest of the files, and the next one is as long: its memory is used again.
            body.events(&member.name, &member.content)?;
            reader.spare = member.content;
            progress(body.verifier.events(), manifest.events);
        } else {
            return Err(wrong(&member.name, "no bundle has a file of this name there".to_owned()));
        }
    }
    body.end_hashes();
    if body.verifier.events() != manifest.events {
        let what =
            format!("it says that there are {} events, and there are {}", manifest.events, body.verifier.events());
        return Err(wrong(MANIFEST, what));
    }
    let report = body.verifier.finish();
    Ok(BundleReport { manifest, keys, keys_given: expected.trusted.is_some(), report })
}

/// Reads the files of an archive one ahead.
struct Reader<'a, R> {
    input: &'a mut R,
    next: Option<tar::Member>,
    /// Memory for the next part of the events.
    spare: Vec<u8>,
}

impl<R: Read> Reader<'_, R> {
    fn take(&mut self) -> Result<Option<tar::Member>, BundleError> {
        if let Some(member) = self.next.take() {
            return Ok(Some(member));
        }
        let spare = std::mem::take(&mut self.spare);
        let next = tar::next(self.input, spare, |name| match Tile::from_path(name) {
            Some(_) => TILE_BYTES as u64,
            None if name.starts_with(EVENTS) => PART_BYTES_MAX,
            None => SMALL_BYTES_MAX,
        })?;
        // Tiles are small: what was at hand for a part waits for the next one.
        Ok(next.map(|mut member| {
            if member.content.len() <= TILE_BYTES && member.content.capacity() > 2 * TILE_BYTES {
                let small = member.content.clone();
                self.spare = std::mem::replace(&mut member.content, small);
            }
            member
        }))
    }

    /// The content of the next file, if its name begins so.
    fn member(&mut self, name: &str) -> Result<Option<Vec<u8>>, BundleError> {
        match self.take()? {
            Some(member) if member.name.starts_with(name) => Ok(Some(member.content)),
            other => {
                self.next = other;
                Ok(None)
            }
        }
    }
}

/// The part of a bundle that may be long.
struct Body<'a> {
    verifier: Verifier,
    kept: Option<&'a mut dyn Iterator<Item = Hash>>,
    hashes: u64,
    hashes_max: u64,
    threads: usize,
}

impl Body<'_> {
    fn tile(&mut self, name: &str, tile: Tile, content: &[u8]) -> Result<(), BundleError> {
        let hashes = tile_hashes(content).filter(|hashes| hashes.len() == tile.width as usize);
        let (Some(hashes), 0) = (hashes, tile.level) else {
            return Err(wrong(name, "it has not the hashes that its name says".to_owned()));
        };
        if tile.index * TILE_HASHES != self.hashes {
            return Err(wrong(name, "it does not follow the tile before it".to_owned()));
        }
        for hash in hashes {
            let kept = self.kept.as_mut().and_then(Iterator::next);
            self.verifier.push_hash(Some(hash), kept);
            self.hashes += 1;
        }
        if self.hashes == self.hashes_max {
            self.end_hashes();
        }
        Ok(())
    }

    /// After the last of the bundle's own hashes there may be more of those kept elsewhere.
    fn end_hashes(&mut self) {
        if let Some(kept) = self.kept.take() {
            kept.for_each(|hash| self.verifier.push_hash(None, Some(hash)));
        }
        self.verifier.end_hashes();
    }

    /// Takes a part of the events.
    ///
    /// Pieces of it are hashed on all threads, this one included, while it takes in order what is hashed already.
    fn events(&mut self, name: &str, content: &[u8]) -> Result<(), BundleError> {
        let Some(lines) = content.strip_suffix(b"\n") else {
            return Err(wrong(name, "its last line does not end".to_owned()));
        };
        let pieces = pieces(lines);
        let (next, (hashed, arrivals)) = (AtomicUsize::new(0), mpsc::channel());
        let hash_next = || {
            let number = next.fetch_add(1, Ordering::Relaxed);
            pieces.get(number).map(|piece| (number, hash_lines(piece)))
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(pieces.len()) {
                let (hashed, hash_next) = (hashed.clone(), &hash_next);
                scope.spawn(move || while hash_next().is_some_and(|piece| hashed.send(piece).is_ok()) {});
            }
            drop(hashed);
            let mut waiting = BTreeMap::new();
            let mut before = 0;
            let taken = (0..pieces.len()).try_for_each(|number| {
                let piece = loop {
                    if let Some(piece) = waiting.remove(&number) {
                        break piece;
                    }
                    let arrived = arrivals.try_recv().ok().or_else(hash_next).or_else(|| arrivals.recv().ok());
                    let cut = || wrong(name, "it could not be hashed".to_owned());
                    let (number, piece) = arrived.ok_or_else(cut)?;
                    waiting.insert(number, piece);
                };
                let piece = piece.map_err(|at| match at {
                    NotLines::Text => wrong(name, "it is not UTF-8".to_owned()),
                    NotLines::Event(line, error) => wrong(name, format!("line {}: {error}", before + line)),
                })?;
                before += piece.len();
                self.take(name, piece)
            });
            // Nobody needs the rest after an error.
            next.store(pieces.len(), Ordering::Relaxed);
            taken
        })
    }

    fn take(&mut self, name: &str, piece: Vec<Hashed<'_>>) -> Result<(), BundleError> {
        for Hashed { line, hash, date_micros, of_erasure } in piece {
            if of_erasure || !self.verifier.push_if_next(date_micros, hash) {
                let event = line::read(line).map_err(|error| wrong(name, error.to_string()))?;
                self.verifier.push_hashed(&event, hash);
            }
        }
        Ok(())
    }
}

/// Divides lines into pieces of whole lines that are about [`PIECE_BYTES`] long.
fn pieces(mut lines: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some(end) = lines.get(PIECE_BYTES..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
        let (piece, rest) = lines.split_at(PIECE_BYTES + end);
        pieces.push(piece);
        lines = &rest[1..];
    }
    pieces.push(lines);
    pieces
}

/// What is kept of a line once it is hashed: events are large, and nearly always nothing more is asked of them.
struct Hashed<'a> {
    line: &'a str,
    hash: Hash,
    date_micros: i64,
    /// Whether it erases, or something of it was erased.
    of_erasure: bool,
}

/// Why a piece has no lines of events.
enum NotLines {
    /// It is not UTF-8.
    Text,
    /// The line with this number, from 1, is no event.
    Event(usize, NotAnEvent),
}

/// Hashes the lines of a piece.
fn hash_lines(piece: &[u8]) -> Result<Vec<Hashed<'_>>, NotLines> {
    let piece = std::str::from_utf8(piece).map_err(|_| NotLines::Text)?;
    let mut buffer = Vec::new();
    let hash = |(number, line)| match line::read(line) {
        Ok(event) => Ok(Hashed {
            line,
            hash: event.leaf_hash(&mut buffer),
            date_micros: event.date_micros,
            of_erasure: event.action == ERASE_ACTION || erased_fields(&event) != 0,
        }),
        Err(error) => Err(NotLines::Event(number + 1, error)),
    };
    piece.split('\n').enumerate().map(hash).collect()
}

fn text(name: &str, content: Vec<u8>) -> Result<String, BundleError> {
    String::from_utf8(content).map_err(|_| wrong(name, "it is not UTF-8".to_owned()))
}

fn wrong(name: &str, what: String) -> BundleError {
    BundleError::Wrong { name: name.to_owned(), what }
}
