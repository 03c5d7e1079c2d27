//! Reading and verifying bundles.

use std::io::{self, Read};

use super::{BUNDLE_FORMAT, CHECKPOINTS, EVENTS, KEYS, MANIFEST, Manifest, PART_BYTES_MAX, SMALL_BYTES_MAX, tar};
use crate::erasure::erased_fields;
use crate::event::ERASE_ACTION;
use crate::hash::Hash;
use crate::line;
use crate::note::{VerifierKey, parse_keys};
use crate::tile::{TILE_BYTES, TILE_HASHES, Tile, tile_hashes};
use crate::verify::{CHECKPOINTS_MAX, Kept, Report, Verifier};

/// How many lines a thread hashes at a time.
const THREAD_LINES: usize = 2_048;

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
            reader.spare = body.events(&member.name, member.content)?;
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

    /// Takes a part of the events, and gives its memory back.
    fn events(&mut self, name: &str, content: Vec<u8>) -> Result<Vec<u8>, BundleError> {
        let content = text(name, content)?;
        let Some(lines) = content.strip_suffix('\n') else {
            return Err(wrong(name, "its last line does not end".to_owned()));
        };
        let (mut before, mut lines) = (0, lines.split('\n').peekable());
        // Not all at once, so that a line is still at hand in the processor's own memory when it comes to its turn.
        let mut some = Vec::new();
        while lines.peek().is_some() {
            some.clear();
            some.extend(lines.by_ref().take(THREAD_LINES * self.threads));
            self.lines(name, before, &some)?;
            before += some.len();
        }
        Ok(content.into_bytes())
    }

    /// Takes lines of a part, of which `before` come before them.
    fn lines(&mut self, name: &str, before: usize, lines: &[&str]) -> Result<(), BundleError> {
        let hashed = std::thread::scope(|scope| {
            let mut parts = lines.chunks(THREAD_LINES).enumerate();
            // The first part is this thread's own.
            let first = parts.next();
            let others: Vec<_> = parts
                .map(|(number, lines)| scope.spawn(move || hash_lines(before + number * THREAD_LINES, lines)))
                .collect();
            let mut hashed = vec![first.map_or(Ok(Vec::new()), |(_, lines)| hash_lines(before, lines))];
            let panicked = |_| Err((0, "it could not be hashed".to_owned()));
            hashed.extend(others.into_iter().map(|other| other.join().unwrap_or_else(panicked)));
            hashed
        });
        for part in hashed {
            let part = part.map_err(|(line, what)| wrong(name, format!("line {line}: {what}")))?;
            for Hashed { line, hash, date_micros, of_erasure } in part {
                if of_erasure || !self.verifier.push_if_next(date_micros, hash) {
                    let event = line::read(line).map_err(|error| wrong(name, error.to_string()))?;
                    self.verifier.push_hashed(&event, hash);
                }
            }
        }
        Ok(())
    }
}

/// What is kept of a line once it is hashed: events are large, and nearly always nothing more is asked of them.
struct Hashed<'a> {
    line: &'a str,
    hash: Hash,
    date_micros: i64,
    /// Whether it erases, or something of it was erased.
    of_erasure: bool,
}

/// Hashes lines of which `before` come before them. Fails with the number of the line, from 1, that is none.
fn hash_lines<'a>(before: usize, lines: &[&'a str]) -> Result<Vec<Hashed<'a>>, (usize, String)> {
    let mut buffer = Vec::new();
    let hash = |(number, line): (usize, &&'a str)| match line::read(line) {
        Ok(event) => Ok(Hashed {
            line,
            hash: event.leaf_hash(&mut buffer),
            date_micros: event.date_micros,
            of_erasure: event.action == ERASE_ACTION || erased_fields(&event) != 0,
        }),
        Err(error) => Err((before + number + 1, error.to_string())),
    };
    lines.iter().enumerate().map(hash).collect()
}

fn text(name: &str, content: Vec<u8>) -> Result<String, BundleError> {
    String::from_utf8(content).map_err(|_| wrong(name, "it is not UTF-8".to_owned()))
}

fn wrong(name: &str, what: String) -> BundleError {
    BundleError::Wrong { name: name.to_owned(), what }
}
