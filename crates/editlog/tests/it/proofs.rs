//! Proofs as files.

use stet_editlog::proof_file::{ConsistencyProof, InclusionProof, ProofError};
use stet_editlog::tile::TileTree;
use stet_editlog::tree::{consistency_proof, inclusion_proof};
use stet_editlog::{Checkpoint, SignerKey, line};

use crate::logs::{Levels, Log, ORIGIN, checkpoint, event, signer};

fn proof_of(log: &Log, index: usize) -> InclusionProof {
    let levels = Levels::of(&log.hashes);
    let hashes = inclusion_proof(&TileTree(&levels), index as u64, log.hashes.len() as u64).unwrap().unwrap();
    let mut bytes = Vec::new();
    line::write(&log.events[index], &mut bytes);
    bytes.pop();
    let checkpoint = log.checkpoints[0].0.parse().unwrap();
    InclusionProof { event: String::from_utf8(bytes).unwrap(), index: index as u64, hashes, checkpoint }
}

#[test]
fn a_proof_shows_the_event_and_the_log_it_is_in() {
    let log = Log::new(700);
    let text = proof_of(&log, 432).to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra "));
    let proven = text.parse::<InclusionProof>().unwrap().verify(&[signer().verifier().clone()]).unwrap();
    assert_eq!(proven.event, event(433));
    assert_eq!((proven.checkpoint.origin.as_str(), proven.checkpoint.size), (ORIGIN, 700));
    assert_eq!(proven.signed_by, [signer().verifier().clone()]);
}

#[test]
fn a_proof_with_anything_changed_is_refused() {
    let log = Log::new(700);
    let proof = proof_of(&log, 432);
    let trusted = [signer().verifier().clone()];
    let refused = |proof: &InclusionProof| proof.verify(&trusted).unwrap_err();

    let mut forged = proof.clone();
    forged.event = forged.event.replace("species 433", "species 434");
    assert_eq!(refused(&forged), ProofError::NotIncluded { id: 433 });
    // Another event of the same log, with this one's proof.
    let mut swapped = proof.clone();
    swapped.event = proof_of(&log, 3).event;
    assert_eq!(refused(&swapped), ProofError::NotIncluded { id: 4 });
    let mut moved = proof.clone();
    moved.index = 431;
    assert_eq!(refused(&moved), ProofError::NotIncluded { id: 433 });
    let mut shortened = proof.clone();
    shortened.hashes.pop();
    assert_eq!(refused(&shortened), ProofError::NotIncluded { id: 433 });
    // The checkpoint of another time, and of a thief.
    let mut older = proof.clone();
    older.checkpoint = checkpoint(&log.hashes[..600], &signer()).parse().unwrap();
    assert_eq!(refused(&older), ProofError::NotIncluded { id: 433 });
    let mut stolen = proof.clone();
    let thief = SignerKey::from_seed("birds.example", &[2; 32]).unwrap();
    stolen.checkpoint = checkpoint(&log.hashes, &thief).parse().unwrap();
    assert!(matches!(refused(&stolen), ProofError::Checkpoint(_)));

    let text = proof.to_string();
    for end in [0, 10, 23, 30, text.len() / 2, text.len() - 1] {
        assert!(text[..end].parse::<InclusionProof>().is_err(), "{end}");
    }
}

#[test]
fn a_later_checkpoint_continues_an_older_one_or_is_refused() {
    let log = Log::new(700);
    let old = Checkpoint::peek(&checkpoint(&log.hashes[..333], &signer())).unwrap();
    let hashes = consistency_proof(&TileTree(&Levels::of(&log.hashes)), 333, 700).unwrap().unwrap();
    let proof = ConsistencyProof { old_size: 333, hashes, checkpoint: log.checkpoints[0].0.parse().unwrap() };
    let trusted = [signer().verifier().clone()];
    let read: ConsistencyProof = proof.to_string().parse().unwrap();
    assert_eq!(read, proof);
    assert_eq!(read.verify(&old, &trusted).unwrap().size, 700);
    let mut other_history = old.clone();
    other_history.root = log.hashes[0];
    assert_eq!(read.verify(&other_history, &trusted), Err(ProofError::NotConsistent { old_size: 333, size: 700 }));
    let mut other_log = old;
    other_log.origin = "other.example/log".to_owned();
    assert!(matches!(read.verify(&other_log, &trusted), Err(ProofError::Checkpoint(_))));
}
