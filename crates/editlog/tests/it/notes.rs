//! Signed notes and checkpoints against published examples, and against whoever forges them.

use proptest::prelude::*;
use stet_editlog::checkpoint::CheckpointError;
use stet_editlog::note::{KeyKind, NoteError, parse_keys};
use stet_editlog::{Checkpoint, Hash, Note, SignerKey, VerifierKey};

use crate::logs::{ORIGIN, signer};

/// The example of Go's `sumdb/note`.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PETER_TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER_NOTE: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";

/// Keys of other programs: the examples of signed-note and of a witness.
const OTHERS: [(&str, KeyKind); 2] = [
    ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyKind::Ed25519),
    ("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", KeyKind::Cosignature),
];

#[test]
fn the_published_note_is_made_and_verified() {
    let peter: VerifierKey = PETER.parse().unwrap();
    let secret: SignerKey = PETER_SECRET.parse().unwrap();
    assert_eq!(secret.verifier(), &peter);
    assert_eq!(secret.to_secret_text(), PETER_SECRET);
    assert!(!format!("{secret:?}").contains("AYEKFAL"), "a key is not shown by accident");
    let note = Note::signed(PETER_TEXT.to_owned(), &secret);
    assert_eq!(note.to_string(), PETER_NOTE);
    assert_eq!(PETER_NOTE.parse::<Note>().unwrap(), note);
    assert_eq!(note.verify(std::slice::from_ref(&peter)).unwrap(), [&peter]);
    for (text, kind) in OTHERS {
        let key: VerifierKey = text.parse().unwrap();
        assert_eq!((key.to_string().as_str(), key.kind()), (text, kind));
    }
}

#[test]
fn a_changed_note_is_forged_and_one_of_strangers_is_not_trusted() {
    let peter: VerifierKey = PETER.parse().unwrap();
    let changed: Note = PETER_NOTE.replace("answer", "Answer").parse().unwrap();
    assert!(matches!(changed.verify(std::slice::from_ref(&peter)), Err(NoteError::Forged { .. })));
    let note: Note = PETER_NOTE.parse().unwrap();
    let stranger = signer().verifier().clone();
    assert!(matches!(note.verify(&[stranger]), Err(NoteError::Untrusted { .. })));
    // Another key of the same name is a stranger too.
    let namesake = SignerKey::from_seed("PeterNeumann", &[9; 32]).unwrap();
    assert!(matches!(note.verify(&[namesake.verifier().clone()]), Err(NoteError::Untrusted { .. })));
    // Signatures of strangers beside that of a trusted key do no harm.
    let mut both = note.clone();
    both.signatures.insert(0, namesake.sign(PETER_TEXT));
    assert_eq!(both.to_string().parse::<Note>().unwrap().verify(std::slice::from_ref(&peter)).unwrap(), [&peter]);
}

#[test]
fn a_witness_is_believed_for_the_time_it_signed() {
    // The cosignature of C2SP tlog-cosignature, made here with a known key since no published one names its key.
    let witness = SignerKey::from_seed("witness.example/w1", &[5; 32]).unwrap();
    let text = Checkpoint { origin: ORIGIN.into(), size: 3, root: Hash::of(b"x"), extensions: vec![] }.to_string();
    let time: u64 = 1_679_315_147;
    let signature = witness.sign(&format!("cosignature/v1\ntime {time}\n{text}")).bytes;
    let plain = witness.verifier().to_string();
    let bytes = {
        use base64::Engine as _;
        let decoded = base64::engine::general_purpose::STANDARD.decode(plain.splitn(3, '+').nth(2).unwrap()).unwrap();
        [&[4], &decoded[1..]].concat()
    };
    let id = Hash::of(&[b"witness.example/w1\n", bytes.as_slice()].concat()).0[..4].to_vec();
    let key: VerifierKey = {
        use base64::Engine as _;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("witness.example/w1+{id}+{}", base64::engine::general_purpose::STANDARD.encode(&bytes)).parse().unwrap()
    };
    let mut note = Note::signed(text, &signer());
    let mut cosignature = witness.sign("");
    cosignature.id = key.id();
    cosignature.bytes = [time.to_be_bytes().as_slice(), &signature].concat();
    note.signatures.push(cosignature);
    let trusted = [signer().verifier().clone(), key];
    assert_eq!(note.to_string().parse::<Note>().unwrap().verify(&trusted).unwrap().len(), 2);
    note.signatures[1].bytes[7] ^= 1;
    assert!(matches!(note.verify(&trusted), Err(NoteError::Forged { .. })));
}

#[test]
fn keys_that_are_none_are_refused() {
    let longer = format!("{}+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "n".repeat(300));
    for text in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a3+",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        longer.as_str(),
        PETER_SECRET,
    ] {
        assert!(text.parse::<VerifierKey>().is_err(), "{text}");
        assert!(PETER_SECRET == text || text.parse::<SignerKey>().is_err(), "{text}");
    }
    for at in 0..PETER.len() {
        assert!(PETER[..at].parse::<VerifierKey>().is_err());
    }
    assert!(SignerKey::from_seed("a b", &[0; 32]).is_err());
    assert_eq!(parse_keys(&format!("# trusted\n\n  {PETER}\n")).unwrap().len(), 1);
    assert_eq!(parse_keys(&format!("{PETER}\nnonsense")).unwrap_err().0, 2);
}

#[test]
fn a_checkpoint_is_of_its_log_and_signed_by_a_trusted_key() {
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 70_000, root: Hash::of(b"root"), extensions: vec![] };
    let note = checkpoint.sign(&signer()).to_string();
    let trusted = [signer().verifier().clone()];
    assert_eq!(Checkpoint::open(&note, ORIGIN, &trusted).unwrap(), checkpoint);
    let other = Checkpoint::open(&note, "other.example/log", &trusted).unwrap_err();
    assert!(matches!(other, CheckpointError::OtherLog { .. }), "{other}");
    let thief = SignerKey::from_seed("birds.example", &[2; 32]).unwrap();
    let stolen = Checkpoint::open(&checkpoint.sign(&thief).to_string(), ORIGIN, &trusted).unwrap_err();
    assert!(matches!(stolen, CheckpointError::Note(NoteError::Untrusted { .. })), "{stolen}");
    let larger = note.replacen("70000", "70001", 1);
    assert!(matches!(
        Checkpoint::open(&larger, ORIGIN, &trusted),
        Err(CheckpointError::Note(NoteError::Forged { .. }))
    ));
}

#[test]
fn texts_that_are_no_checkpoints_are_refused() {
    let root = Hash::of(b"root");
    for text in [
        String::new(),
        "a\n".into(),
        "a\n1\n".into(),
        format!("a\n1\n{root}"),
        format!("\n1\n{root}\n"),
        format!("a\n01\n{root}\n"),
        format!("a\n-1\n{root}\n"),
        format!("a\n+1\n{root}\n"),
        format!("a\n18446744073709551616\n{root}\n"),
        "a\n1\nAAAA\n".into(),
        format!("a\n1\n{root}\n\n"),
        format!("a\n1\n{root}\nx\n\n"),
        format!("a\n1 \n{root}\n"),
        format!("{}\n1\n{root}\n", "a".repeat(2000)),
    ] {
        assert!(text.parse::<Checkpoint>().is_err(), "{text:?}");
    }
    let extended: Checkpoint = format!("a\n0\n{root}\nmore\n").parse().unwrap();
    assert_eq!(extended.extensions, ["more"]);
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "(?s).{0,400}", tail in "[a-zA-Z0-9+/=— \n]{0,200}") {
        for text in [text.clone(), tail.clone(), format!("{text}\n\n— {tail}\n"), format!("— x {tail}")] {
            if let Ok(note) = text.parse::<Note>() {
                // What is read is written the same, but for base64 that could be spelled otherwise, which is refused.
                prop_assert_eq!(note.to_string(), text.clone());
            }
            let _ = text.parse::<Checkpoint>();
            let _ = text.parse::<VerifierKey>();
            let _ = text.parse::<SignerKey>();
            let _ = text.parse::<stet_editlog::proof_file::InclusionProof>();
            let _ = text.parse::<stet_editlog::proof_file::ConsistencyProof>();
            let _ = stet_editlog::line::read(&text);
            let _ = stet_editlog::tile::Tile::from_path(&text);
        }
    }
}
