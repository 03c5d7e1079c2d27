//! Small logs to attack, sealed as a node would.

use stet_editlog::tile::StoredHashes;
use stet_editlog::verify::{Kept, Report, Verifier};
use stet_editlog::{Checkpoint, Event, Hash, Personal, Salt, SignerKey, Tree};

pub const ORIGIN: &str = "birds.example/BIRDSTRIKES/strikes";

pub fn signer() -> SignerKey {
    SignerKey::from_seed("birds.example", &[1; 32]).unwrap()
}

pub fn salt(seed: u64) -> Salt {
    Hash::of(&seed.to_be_bytes()).0[..16].try_into().unwrap()
}

pub fn clear(text: &str, seed: u64) -> Personal<'static> {
    Personal::Clear(text.to_owned().into(), salt(seed))
}

pub fn event(id: u64) -> Event<'static> {
    Event {
        id,
        date_micros: 1_795_336_814_120_000 + id as i64 * 1_000_000,
        user: clear("ada@example.org", id * 4),
        action: "update".into(),
        key: (id % 17).to_string().into(),
        column_name: Some("species".into()),
        value: clear(&format!("species {id}"), id * 4 + 1),
        previous: clear("Unknown bird - small", id * 4 + 2),
        batch_id: salt(id / 3),
        source: "grid".into(),
        reason: Personal::Absent,
        event_id: salt(id + 1_000_000),
    }
}

pub fn leaf(event: &Event<'_>) -> Hash {
    event.leaf_hash(&mut Vec::new())
}

/// A log as its owner has it.
#[derive(Clone)]
pub struct Log {
    pub events: Vec<Event<'static>>,
    pub hashes: Vec<Hash>,
    /// Signed, each with where it is kept.
    pub checkpoints: Vec<(String, Kept)>,
    /// Hashes kept elsewhere.
    pub kept: Vec<Hash>,
}

impl Log {
    /// A log of so many events with a checkpoint over all of them.
    pub fn new(events: u64) -> Log {
        Log::of((1..=events).map(event).collect())
    }

    pub fn of(events: Vec<Event<'static>>) -> Log {
        let hashes: Vec<Hash> = events.iter().map(leaf).collect();
        let note = checkpoint(&hashes, &signer());
        Log { events, hashes, checkpoints: vec![(note, Kept::Inside)], kept: Vec::new() }
    }

    /// Seals again what is there now, as somebody with this key can.
    pub fn reseal(&mut self, signer: &SignerKey) {
        self.hashes = self.events.iter().map(leaf).collect();
        self.checkpoints.retain(|(_, kept)| *kept != Kept::Inside);
        self.checkpoints.push((checkpoint(&self.hashes, signer), Kept::Inside));
    }

    /// Keeps the present checkpoint elsewhere.
    pub fn keep_checkpoint(&mut self) {
        let (note, _) = self.checkpoints.last().unwrap().clone();
        self.checkpoints.push((note, Kept::Outside("the safe".to_owned())));
    }

    pub fn report(&self) -> Report {
        let trusted = [signer().verifier().clone()];
        let checkpoints = self.checkpoints.iter().map(|(note, kept)| (note.as_str(), kept.clone()));
        let mut verifier = Verifier::new(ORIGIN, &trusted, checkpoints);
        // In turns of an odd length, as pages come from a database.
        let hashes = self.hashes.len().max(self.kept.len());
        let (mut at, mut events) = (0, self.events.iter());
        while at < hashes {
            for index in at..(at + 50).min(hashes) {
                verifier.push_hash(self.hashes.get(index).copied(), self.kept.get(index).copied());
            }
            at += 50;
            events.by_ref().take(37).for_each(|event| verifier.push_event(event));
        }
        verifier.end_hashes();
        events.for_each(|event| verifier.push_event(event));
        verifier.finish()
    }

    /// Gives the events the ids of their places, as somebody does who hides a gap.
    pub fn renumber(&mut self) {
        for (place, event) in self.events.iter_mut().enumerate() {
            event.id = place as u64 + 1;
        }
    }
}

pub fn checkpoint(hashes: &[Hash], signer: &SignerKey) -> String {
    let mut tree = Tree::new();
    hashes.iter().for_each(|hash| tree.append(*hash));
    let checkpoint =
        Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root(), extensions: Vec::new() };
    checkpoint.sign(signer).to_string()
}

/// The hashes of all levels of tiles.
pub struct Levels(pub Vec<Vec<Hash>>);

impl Levels {
    pub fn of(hashes: &[Hash]) -> Levels {
        let mut levels = vec![hashes.to_vec()];
        let mut tree = Tree::new();
        for hash in hashes {
            tree.append_with(*hash, |node| {
                if node.height % 8 == 0 {
                    let level = node.height as usize / 8;
                    if levels.len() == level {
                        levels.push(Vec::new());
                    }
                    assert_eq!(levels[level].len() as u64, node.index);
                    levels[level].push(node.hash);
                }
            });
        }
        Levels(levels)
    }
}

impl StoredHashes for Levels {
    type Error = std::convert::Infallible;
    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<Hash>, Self::Error> {
        Ok(self.0[level as usize][start as usize..(start + count) as usize].to_vec())
    }
}
