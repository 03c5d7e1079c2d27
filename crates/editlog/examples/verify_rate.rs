//! Measures the verification of a bundle beside plain SHA-256 of the same bytes, its memory, and proofs of single events:
//! `cargo run --release -p stet-editlog --example verify_rate [EVENTS] [FILE]`. The bundle is made in FILE, which is in the
//! system's folder for temporary files unless it is named, and taken away again.
//!
//! Where other programs use the processors too, the time of the processor is the one to compare.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::time::Instant;

use sha2::{Digest, Sha256};
use stet_editlog::bundle::{BUNDLE_FORMAT, BundleWriter, Expectations, Manifest, verify};
use stet_editlog::tile::{StoredHashes, TILE_HEIGHT, TileTree};
use stet_editlog::tree::{consistency_proof, inclusion_proof, verify_inclusion};
use stet_editlog::{Checkpoint, Event, Hash, Personal, SignerKey, Tree};

const ORIGIN: &str = "rate.example/T/strikes";

/// How many proofs are made and verified.
const PROOFS: u64 = 10_000;

/// How much is read at a time.
const READ_BYTES: usize = 1024 * 1024;

/// The hashes of every level that is stored.
struct Levels(Vec<Vec<Hash>>);

impl StoredHashes for Levels {
    type Error = &'static str;
    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<Hash>, Self::Error> {
        let level = self.0.get(level as usize).ok_or("no such level")?;
        Ok(level.get(start as usize..(start + count) as usize).ok_or("no such hashes")?.to_vec())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let path = std::env::args().nth(2).map_or_else(|| std::env::temp_dir().join("verify_rate.tar"), PathBuf::from);
    let measured = measure(events, &path);
    let _ = std::fs::remove_file(&path);
    measured
}

fn measure(events: u64, path: &PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let signer = SignerKey::from_seed("rate.example", &[7; 32])?;
    let mut tree = Tree::new();
    let mut levels = vec![Vec::new()];
    let mut buffer = Vec::new();
    for id in 1..=events {
        let leaf = event(id).leaf_hash(&mut buffer);
        levels[0].push(leaf);
        tree.append_with(leaf, |node| {
            if node.height % TILE_HEIGHT == 0 {
                let level = (node.height / TILE_HEIGHT) as usize;
                levels.resize_with(levels.len().max(level + 1), Vec::new);
                levels[level].push(node.hash);
            }
        });
    }
    let mut out = std::io::stdout();
    let levels = Levels(levels);
    proofs(&levels, events, tree.root(), &mut out)?;
    drop(levels);

    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: events, root: tree.root(), extensions: Vec::new() };
    let note = checkpoint.sign(&signer).to_string();
    let manifest = Manifest {
        format: BUNDLE_FORMAT.to_owned(),
        origin: ORIGIN.to_owned(),
        dataset: "strikes".to_owned(),
        events,
        hashes: events,
    };
    let file =
        BufWriter::with_capacity(READ_BYTES, File::options().create(true).truncate(true).write(true).open(path)?);
    let mut bundle = BundleWriter::new(file, &manifest, &[signer.verifier().clone()], &[note])?;
    for id in 1..=events {
        let event = event(id);
        bundle.push_hash(event.leaf_hash(&mut buffer))?;
        bundle.push_event(&event)?;
    }
    bundle.finish()?.flush()?;
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    writeln!(out, "{events} events, {:.1} bytes each", bytes as f64 / events as f64)?;

    let before = Stopwatch::start();
    let mut digest = Sha256::new();
    let mut part = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            break;
        }
        digest.update(&part[..read]);
    }
    let plain = before.stop();
    writeln!(out, "plain SHA-256: {plain} ({:x?})", &digest.finalize()[..4])?;
    for threads in [1, std::thread::available_parallelism()?.get()] {
        let keys = [signer.verifier().clone()];
        let expected = Expectations { trusted: Some(&keys), threads, ..Expectations::default() };
        file.rewind()?;
        // From here on the peak of the memory is told anew (Linux).
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = Stopwatch::start();
        let report = verify(BufReader::with_capacity(READ_BYTES, &file), expected, &mut |_, _| {})?.report;
        let took = before.stop();
        assert!(report.is_whole() && report.sealed == Some(events), "{report:?}");
        writeln!(
            out,
            "verification, {threads} thread(s): {took}; {:.2} x plain by the processor, {:.2} x by the clock, {:.0} events/s, \
             memory at most {}",
            took.processor_s / plain.processor_s,
            took.clock_s / plain.clock_s,
            events as f64 / took.clock_s,
            memory_max()
        )?;
    }
    Ok(())
}

/// The most memory that the process had, as Linux tells it.
fn memory_max() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "not known".to_owned(), |text| text.trim().to_owned())
}

/// Proofs of events all over the log, and of the last checkpoint against older ones.
fn proofs(levels: &Levels, events: u64, root: Hash, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let tree = TileTree(levels);
    let started = Instant::now();
    let mut made = Vec::new();
    for number in 0..PROOFS {
        let index = number * 7919 % events;
        made.push((index, inclusion_proof(&tree, index, events)?.ok_or("no proof")?));
    }
    let making = started.elapsed().as_secs_f64() / PROOFS as f64;
    let started = Instant::now();
    let leaves = &levels.0[0];
    let hold = made.iter().all(|(index, proof)| verify_inclusion(leaves[*index as usize], *index, events, proof, root));
    let verifying = started.elapsed().as_secs_f64() / PROOFS as f64;
    assert!(hold);
    let started = Instant::now();
    for number in 0..PROOFS {
        consistency_proof(&tree, number * 7919 % events, events)?.ok_or("no proof")?;
    }
    let consistency = started.elapsed().as_secs_f64() / PROOFS as f64;
    writeln!(
        out,
        "one proof of {events} events, in memory: made in {:.1} µs, verified in {:.1} µs; of consistency: {:.1} µs",
        making * 1e6,
        verifying * 1e6,
        consistency * 1e6
    )?;
    Ok(())
}

/// Time by the clock and by the processor, and memory since.
struct Stopwatch {
    clock: Instant,
    processor_s: f64,
}

struct Took {
    clock_s: f64,
    processor_s: f64,
}

impl Stopwatch {
    fn start() -> Stopwatch {
        Stopwatch { clock: Instant::now(), processor_s: processor_s() }
    }

    fn stop(&self) -> Took {
        Took { clock_s: self.clock.elapsed().as_secs_f64(), processor_s: processor_s() - self.processor_s }
    }
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s by the clock, {:.2} s of the processor", self.clock_s, self.processor_s)
    }
}

/// What the process has used of the processors so far; 0 where the system does not tell.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit_once(") ")
        .map(|(_, fields)| fields.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect())
        .unwrap_or_default();
    // User and system time, in hundredths of a second on Linux.
    fields.get(11).zip(fields.get(12)).map_or(0.0, |(user, system)| (user + system) / 100.0)
}

fn event(id: u64) -> Event<'static> {
    let number = Hash::of(&id.to_be_bytes()).0;
    let salt = |at: usize| std::array::from_fn(|byte| number[byte + at]);
    Event {
        id,
        date_micros: 1_795_336_814_120_000 + id as i64 * 250_000,
        user: Personal::Clear("ada@example.org".into(), salt(0)),
        action: "update".into(),
        key: (id * 7919 % 1_000_003).to_string().into(),
        column_name: Some("species".into()),
        value: Personal::Clear("European starling".into(), salt(8)),
        previous: Personal::Clear("Unknown bird - small".into(), salt(16)),
        batch_id: salt(4),
        source: "grid".into(),
        reason: Personal::Absent,
        event_id: salt(12),
    }
}
