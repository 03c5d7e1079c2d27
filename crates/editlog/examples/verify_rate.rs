//! Measures the verification of a bundle beside plain SHA-256 of the same bytes:
//! `cargo run --release -p stet-editlog --example verify_rate [EVENTS]`.

use std::io::Write;
use std::time::Instant;

use stet_editlog::bundle::{BUNDLE_FORMAT, BundleWriter, Expectations, Manifest, verify};
use stet_editlog::{Checkpoint, Event, Hash, Personal, SignerKey, Tree};

const ORIGIN: &str = "rate.example/T/strikes";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let signer = SignerKey::from_seed("rate.example", &[7; 32])?;
    let mut tree = Tree::new();
    let mut buffer = Vec::new();
    for id in 1..=events {
        tree.append(event(id).leaf_hash(&mut buffer));
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: events, root: tree.root(), extensions: Vec::new() };
    let note = checkpoint.sign(&signer).to_string();
    let manifest = Manifest {
        format: BUNDLE_FORMAT.to_owned(),
        origin: ORIGIN.to_owned(),
        dataset: "strikes".to_owned(),
        events,
        hashes: events,
    };
    let mut bundle = BundleWriter::new(Vec::new(), &manifest, &[signer.verifier().clone()], &[note])?;
    for id in 1..=events {
        let event = event(id);
        bundle.push_hash(event.leaf_hash(&mut buffer))?;
        bundle.push_event(&event)?;
    }
    let bundle = bundle.finish()?;

    let mut out = std::io::stdout();
    writeln!(out, "{events} events, {:.1} bytes each", bundle.len() as f64 / events as f64)?;
    let started = Instant::now();
    let digest = Hash::of(&bundle);
    let plain = started.elapsed().as_secs_f64();
    writeln!(out, "plain SHA-256: {plain:.3} s ({digest})")?;
    for threads in [1, std::thread::available_parallelism()?.get()] {
        let keys = [signer.verifier().clone()];
        let expected = Expectations { trusted: Some(&keys), threads, ..Expectations::default() };
        let started = Instant::now();
        let report = verify(bundle.as_slice(), expected, &mut |_, _| {})?.report;
        let seconds = started.elapsed().as_secs_f64();
        assert!(report.is_whole() && report.sealed == Some(events), "{report:?}");
        writeln!(
            out,
            "verification, {threads} thread(s): {seconds:.3} s, {:.2} x plain, {:.0} events/s",
            seconds / plain,
            events as f64 / seconds
        )?;
    }
    Ok(())
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
