//! Bundles, and the verifier in Python that was written from their description alone.

use std::process::Command;

use stet_editlog::bundle::{BUNDLE_FORMAT, BundleError, BundleReport, BundleWriter, Expectations, Manifest, verify};
use stet_editlog::erasure::{Erasure, mask};
use stet_editlog::verify::Kept;
use stet_editlog::{Field, Personal, SignerKey};

use crate::logs::{Log, ORIGIN, checkpoint, clear, event, signer};

fn bundle(log: &Log) -> Vec<u8> {
    let manifest = Manifest {
        format: BUNDLE_FORMAT.to_owned(),
        origin: ORIGIN.to_owned(),
        dataset: "strikes".to_owned(),
        events: log.events.len() as u64,
        hashes: log.hashes.len() as u64,
    };
    let inside = log.checkpoints.iter().filter(|(_, kept)| *kept == Kept::Inside);
    let notes: Vec<String> = inside.map(|(note, _)| note.clone()).collect();
    let mut writer = BundleWriter::new(Vec::new(), &manifest, &[signer().verifier().clone()], &notes).unwrap();
    let mut hashes = log.hashes.iter();
    for event in &log.events {
        hashes.next().into_iter().for_each(|hash| writer.push_hash(*hash).unwrap());
        writer.push_event(event).unwrap();
    }
    hashes.for_each(|hash| writer.push_hash(*hash).unwrap());
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<BundleReport, BundleError> {
    let trusted = [signer().verifier().clone()];
    verify(bytes, Expectations { trusted: Some(&trusted), threads: 3, ..Expectations::default() }, &mut |_, _| {})
}

/// Logs with texts of all kinds, more than one tile and one part of events, and erased texts.
fn sample() -> Log {
    let mut log = Log::new(5_000);
    for (event, text) in
        log.events.iter_mut().zip(["", "\"quoted\" \\ \n\r\t\0\u{1f}\u{7f}", "é 😀 \u{2028}", "null", "€\u{feff}"])
    {
        event.value = clear(text, 1);
        event.key = text.to_owned().into();
        event.column_name = None;
    }
    let (key, column_name) = Erasure { ranges: vec![(10, 11)], fields: mask([Field::User, Field::Value]) }.texts();
    let mut erase = event(5_001);
    erase.action = "erase".into();
    erase.key = key.into();
    erase.column_name = Some(column_name.into());
    erase.reason = clear("request 17", 3);
    log.events.push(erase);
    let mut log = Log::of(log.events);
    for field in [Field::User, Field::Value] {
        let commitment = log.events[9].personal(field).commitment().unwrap();
        log.events[9].set_personal(field, Personal::Erased(commitment));
    }
    log
}

#[test]
fn a_bundle_verifies_and_tells_what_is_wrong_in_it() {
    let log = sample();
    let report = read(&bundle(&log)).unwrap();
    assert!(report.report.is_whole(), "{:?}", report.report.findings);
    assert_eq!((report.report.events, report.report.sealed, report.report.erased), (5_001, Some(5_001), 1));
    assert_eq!(report.manifest.origin, ORIGIN);
    assert_eq!(bundle(&log), bundle(&log), "equal logs give equal bundles");
    let mut changed = log.clone();
    changed.events[4000].key = "forged".into();
    changed.events.remove(3000);
    assert_eq!(
        read(&bundle(&changed)).unwrap().report.findings.iter().map(|finding| finding.verdict()).collect::<Vec<_>>(),
        log_verdicts(&changed)
    );
    assert_eq!(log_verdicts(&changed), ["DELETED", "MODIFIED"]);
}

fn log_verdicts(log: &Log) -> Vec<&'static str> {
    log.report().findings.iter().map(|finding| finding.verdict()).collect()
}

#[test]
fn a_bundle_of_a_forger_is_whole_only_by_its_own_keys() {
    let thief = SignerKey::from_seed("birds.example", &[2; 32]).unwrap();
    let mut log = Log::new(10);
    log.reseal(&thief);
    let bytes = bundle(&log);
    assert_eq!(read(&bytes).unwrap().report.findings[0].verdict(), "FORGED");
    let own = verify(bundle(&Log::new(10)).as_slice(), Expectations::default(), &mut |_, _| {}).unwrap();
    assert!(own.report.is_whole() && !own.keys_given);
}

#[test]
fn hashes_and_checkpoints_kept_elsewhere_are_held_against_a_bundle() {
    let mut log = Log::new(600);
    let kept = [(log.checkpoints[0].0.clone(), "the safe".to_owned())];
    let hashes = log.hashes.clone();
    log.events[20].key = "forged".into();
    log.reseal(&signer());
    let trusted = [signer().verifier().clone()];
    let verdicts = |bytes: &[u8]| -> Vec<String> {
        let expected = Expectations {
            witnesses: &[],
            trusted: Some(&trusted),
            origin: Some(ORIGIN),
            checkpoints: &kept,
            hashes: Some(&mut hashes.iter().copied()),
            threads: 1,
        };
        let report = verify(bytes, expected, &mut |_, _| {}).unwrap().report;
        report.findings.iter().map(ToString::to_string).collect()
    };
    let found = verdicts(&bundle(&log));
    assert!(found[0].starts_with("FORKED") && found[1] == "MODIFIED: event 21 is not as it was sealed", "{found:?}");
    log.events.truncate(300);
    log.reseal(&signer());
    let found = verdicts(&bundle(&log));
    assert!(found.iter().any(|finding| finding == "TRUNCATED: the log ends after 300 events, and 600 were sealed"));
}

#[test]
fn what_is_no_bundle_is_refused_with_its_place() {
    let bytes = bundle(&sample());
    for end in [0, 1, 511, 512, 600, 3000, bytes.len() / 2, bytes.len() - 1024] {
        assert!(read(&bytes[..end]).is_err(), "{end}");
    }
    let replaced = |from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        read(&bytes).unwrap_err().to_string()
    };
    assert!(replaced("stet-editlog-bundle/1", "stet-editlog-bundle/2").contains("use a newer Stet"));
    assert!(replaced("{\"id\":300,", "{\"ID\":300,").contains("line 300: at byte 0: `{\"id\":` expected"));
    assert!(replaced("\"events\": 5001", "\"events\": 5002").contains("there are 5002 events, and there are 5001"));
    assert!(replaced("tile/0/003", "tile/0/004").contains("not a whole tar archive"));
    let trusted = [signer().verifier().clone()];
    let other = Expectations { trusted: Some(&trusted), origin: Some("other.example"), ..Expectations::default() };
    assert!(matches!(verify(bytes.as_slice(), other, &mut |_, _| {}), Err(BundleError::OtherLog { .. })));
}

/// Runs the verifier in Python on a bundle; gives its exit code and what it says.
fn python(bytes: &[u8], keys: &SignerKey, kept: Option<&str>) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.tar");
    std::fs::write(&path, bytes).unwrap();
    let keys_path = folder.path().join("keys");
    std::fs::write(&keys_path, format!("{}\n", keys.verifier())).unwrap();
    let mut command = Command::new(std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned()));
    // Where Cargo runs the test: the folder it was compiled in may be another clone's.
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("Cargo runs the tests");
    command.arg(format!("{package}/../../docs/verify-editlog.py"));
    command.arg(&path).arg("--keys").arg(&keys_path);
    if let Some(kept) = kept {
        let kept_path = folder.path().join("kept");
        std::fs::write(&kept_path, kept).unwrap();
        command.arg("--checkpoint").arg(kept_path);
    }
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        !text.contains("No module named"),
        "the verifier needs Python's `cryptography`: run scripts/need-cryptography"
    );
    (output.status.code().unwrap(), text)
}

#[test]
fn the_independent_verifier_agrees_about_whole_and_changed_logs() {
    let log = sample();
    let (code, text) = python(&bundle(&log), &signer(), Some(&checkpoint(&log.hashes[..77], &signer())));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("5001 events") && text.contains("1 erased"), "{text}");

    let mut modified = log.clone();
    modified.events[4000].key = "forged".into();
    let mut unlogged = log.clone();
    let commitment = unlogged.events[20].user.commitment().unwrap();
    unlogged.events[20].user = Personal::Erased(commitment);
    let mut truncated = log.clone();
    truncated.events.truncate(4_990);
    let mut resealed = log.clone();
    resealed.events[4000].key = "forged".into();
    resealed.reseal(&signer());
    let mut damaged = log.clone();
    damaged.events[4000].key = "forged".into();
    damaged.hashes[4000] = crate::logs::leaf(&damaged.events[4000]);
    let stranger = SignerKey::from_seed("birds.example", &[2; 32]).unwrap();
    let kept = checkpoint(&log.hashes, &signer());
    for (log, keys, kept, says) in [
        (&modified, &signer(), None, "MODIFIED: event 4001"),
        (&unlogged, &signer(), None, "MODIFIED: personal data of event 21"),
        (&truncated, &signer(), None, "TRUNCATED: 4990 events, 5001 sealed"),
        (&resealed, &signer(), Some(kept.as_str()), "FORKED"),
        (&damaged, &signer(), None, "the root"),
        (&log, &stranger, None, "FORGED"),
    ] {
        let (code, text) = python(&bundle(log), keys, kept);
        assert!(code == 1 && text.contains(says), "{says}: {code} {text}");
    }
    let (code, text) = python(&bundle(&log)[..5000], &signer(), None);
    assert_eq!(code, 2, "{text}");
}
