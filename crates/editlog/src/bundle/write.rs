//! Writing bundles.

use std::io::{self, Write};

use super::{CHECKPOINTS, EVENTS, KEYS, MANIFEST, Manifest, PART_BYTES, PART_EVENTS, tar};
use crate::checkpoint::Checkpoint;
use crate::event::Event;
use crate::hash::Hash;
use crate::line;
use crate::note::VerifierKey;
use crate::tile::{TILE_BYTES, TILE_HASHES, Tile};

/// Writes a bundle in bounded memory: events and hashes are pushed in log order.
#[derive(Debug)]
pub struct BundleWriter<W> {
    output: W,
    lines: Vec<u8>,
    lines_events: usize,
    /// The first event of the part that is being filled, from 0.
    part: u64,
    events: u64,
    tile: Vec<u8>,
    tiles: u64,
}

impl<W: Write> BundleWriter<W> {
    /// Begins a bundle: with the keys that the log's owner publishes, and checkpoints, which are put in order of size.
    ///
    /// # Errors
    /// When `output` cannot be written.
    pub fn new(mut output: W, manifest: &Manifest, keys: &[VerifierKey], checkpoints: &[String]) -> io::Result<Self> {
        let mut text = serde_json::to_vec_pretty(manifest)?;
        text.push(b'\n');
        tar::append(&mut output, MANIFEST, &text)?;
        let keys: String = keys.iter().map(|key| format!("{key}\n")).collect();
        tar::append(&mut output, KEYS, keys.as_bytes())?;
        let mut sized: Vec<(u64, &String)> = checkpoints
            .iter()
            .map(|note| (Checkpoint::peek(note).map_or(0, |checkpoint| checkpoint.size), note))
            .collect();
        sized.sort();
        for (number, (_, note)) in sized.into_iter().enumerate() {
            tar::append(&mut output, &format!("{CHECKPOINTS}{:06}", number + 1), note.as_bytes())?;
        }
        Ok(BundleWriter { output, lines: Vec::new(), lines_events: 0, part: 0, events: 0, tile: Vec::new(), tiles: 0 })
    }

    /// The next event.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn push_event(&mut self, event: &Event<'_>) -> io::Result<()> {
        line::write(event, &mut self.lines);
        self.lines_events += 1;
        self.events += 1;
        if self.lines_events >= PART_EVENTS || self.lines.len() >= PART_BYTES { self.end_part() } else { Ok(()) }
    }

    /// The next leaf's hash. It should be pushed before its event, so that whoever reads the bundle has it at hand.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn push_hash(&mut self, hash: Hash) -> io::Result<()> {
        self.tile.extend_from_slice(&hash.0);
        if self.tile.len() >= TILE_BYTES { self.end_tile() } else { Ok(()) }
    }

    /// Writes what is left and gives the output back.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_tile()?;
        self.end_part()?;
        tar::end(&mut self.output)?;
        Ok(self.output)
    }

    fn end_tile(&mut self) -> io::Result<()> {
        let hashes = self.tile.len() / crate::hash::HASH_BYTES;
        if hashes == 0 {
            return Ok(());
        }
        let tile = Tile { level: 0, index: self.tiles, width: hashes as u32 };
        tar::append(&mut self.output, &tile.path(), &self.tile)?;
        self.tile.clear();
        self.tiles += u64::from(tile.width as u64 == TILE_HASHES);
        Ok(())
    }

    fn end_part(&mut self) -> io::Result<()> {
        if self.lines_events > 0 {
            tar::append(&mut self.output, &format!("{EVENTS}{:012}.jsonl", self.part + 1), &self.lines)?;
        }
        self.lines.clear();
        self.lines_events = 0;
        self.part = self.events;
        Ok(())
    }
}
