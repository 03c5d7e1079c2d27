//! Archives that somebody made to do harm, or that broke on their way: each is refused, with a reason.

use std::io::{self, Read};

use sha2::{Digest, Sha256};
use stet_domain::ProjectKey;
use stet_domain::bundle::{MANIFEST_FORMAT, Manifest, ManifestFile, SourceNode};
use uuid::Uuid;

use super::archive::{header, read_archive, write_archive};
use crate::error::AppError;
use crate::password::hex;

fn manifest(files: &[(&str, &str)]) -> Manifest {
    let mut files: Vec<ManifestFile> = files
        .iter()
        .map(|(path, text)| ManifestFile {
            path: (*path).to_owned(),
            bytes: text.len() as u64,
            sha256: hex(&Sha256::digest(text.as_bytes())),
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Manifest {
        format: MANIFEST_FORMAT,
        stet: "0.1.0".to_owned(),
        project: ProjectKey::new("P").unwrap(),
        sequence: 1,
        source: SourceNode { id: Uuid::nil(), name: "Design".to_owned() },
        author: "dana".to_owned(),
        targets: Vec::new(),
        expires: None,
        notes: String::new(),
        connections: Vec::new(),
        data: Vec::new(),
        files,
    }
}

const FILES: [(&str, &str); 2] = [("project/project.toml", "name = \"P\"\n"), ("project/webapps/a.toml", "x = 1\n")];

fn archive() -> Vec<u8> {
    let mut bytes = Vec::new();
    write_archive(&mut bytes, &manifest(&FILES), None, &mut |file| {
        let text = FILES.iter().find(|(path, _)| *path == file.path).unwrap().1;
        Ok(Box::new(text.as_bytes()))
    })
    .unwrap();
    bytes
}

/// An archive with any entries: their headers, and their contents.
fn entries(entries: &[([u8; 512], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (header, content) in entries {
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn entry(name: &str, content: &str) -> [u8; 512] {
    header(name, content.len() as u64)
}

/// The same header with another type, and a fresh checksum.
fn of_type(name: &str, kind: u8, link: &str) -> [u8; 512] {
    let mut block = header(name, 0);
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn refusal(mut bytes: &[u8]) -> String {
    match read_archive(&mut bytes, &mut |_, content| {
        io::copy(content, &mut io::sink()).unwrap();
        Ok(())
    }) {
        Err(AppError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_archive_reads_back_and_any_changed_byte_of_it_is_noticed() {
    let bytes = archive();
    let bundle = read_archive(&mut bytes.as_slice(), &mut |_, _| Ok(())).unwrap();
    assert_eq!((bundle.manifest.files.len(), bundle.bytes), (2, bytes.len() as u64));
    assert_eq!(bytes, archive(), "the same files give the same bytes");
    let mut silent = Vec::new();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        if let Ok(read) = read_archive(&mut changed.as_slice(), &mut |_, _| Ok(()))
            && read.digest == bundle.digest
        {
            silent.push(place);
        }
    }
    assert!(silent.is_empty(), "changes at {silent:?} were not noticed");
    for length in (0..bytes.len()).step_by(97) {
        refusal(&bytes[..length]);
    }
    refusal(&[bytes.as_slice(), b"x"].concat());
}

#[test]
fn what_is_no_plain_file_of_the_manifest_is_refused_with_its_name() {
    let listed = manifest(&FILES).to_bytes();
    let head = (header("manifest.json", listed.len() as u64), listed.as_slice());
    let first = (entry(FILES[0].0, FILES[0].1), FILES[0].1.as_bytes());
    let second = (entry(FILES[1].0, FILES[1].1), FILES[1].1.as_bytes());
    type Entry<'a> = ([u8; 512], &'a [u8]);
    let cases: [(Vec<Entry<'_>>, &str); 12] = [
        (vec![head, (of_type(FILES[0].0, b'2', "/etc/passwd"), b"")], "is a link"),
        (vec![head, (of_type(FILES[0].0, b'1', "x"), b"")], "is a link"),
        (vec![head, (of_type("project/", b'5', ""), b"")], "is a folder"),
        (vec![head, (of_type(FILES[0].0, b'3', ""), b"")], "not a plain file"),
        (vec![head, (of_type("x", b'x', ""), b"")], "an extension"),
        (vec![head, (of_type("x", b'L', ""), b"")], "an extension"),
        (vec![head, (entry("project/../../x", "y"), b"y")], "`..`"),
        (vec![head, (entry("/etc/cron.d/x", "y"), b"y")], "not a plain relative path"),
        (vec![head, first, first], "where its manifest lists"),
        (vec![head, first, second, second], "twice"),
        (vec![head, first, second, (entry("project/datasets/b.toml", ""), b"")], "does not list"),
        (vec![head, first], "ends before"),
    ];
    for (parts, expected) in cases {
        let reason = refusal(&entries(&parts));
        assert!(reason.contains(expected), "{reason:?} has no {expected:?}");
    }
    assert!(refusal(b"\x1f\x8b\x08 compressed").contains("not an archive"));
    assert!(refusal(&[b"PK\x03\x04".as_slice(), &[0; 600]].concat()).contains("not an archive"));
}

#[test]
fn names_that_collide_are_refused_before_any_file_is_read() {
    for (files, expected) in [
        (vec![FILES[0], ("project/webapps/A.toml", ""), ("project/webapps/a.toml", "")], "upper and lower case"),
        (vec![FILES[0], FILES[0]], "listed twice"),
        (vec![FILES[0], ("project/../x", "")], "`..`"),
        (vec![FILES[0], ("data/editlog.sqlite", "")], "editlogs are never in a bundle"),
    ] {
        let listed = manifest(&files).to_bytes();
        let bytes = entries(&[(header("manifest.json", listed.len() as u64), &listed)]);
        let reason = refusal(&bytes);
        assert!(reason.contains(expected), "{reason:?} has no {expected:?}");
    }
}

/// Gives a start and then the same block without end, and counts what was read.
struct Endless<'a> {
    start: &'a [u8],
    block: [u8; 512],
    read: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = if self.start.is_empty() { (&self.block[..]).read(buffer)? } else { self.start.read(buffer)? };
        self.read += read as u64;
        Ok(read)
    }
}

#[test]
fn bombs_are_refused_by_what_they_announce() {
    // Sizes that nobody would read: in the manifest, and of the manifest.
    let mut huge = manifest(&FILES);
    huge.files[1].bytes = u64::MAX / 2;
    let listed = huge.to_bytes();
    assert!(refusal(&entries(&[(header("manifest.json", listed.len() as u64), &listed)])).contains("the most are"));
    let mut endless = Endless { start: &header("manifest.json", 4 << 30), block: [b' '; 512], read: 0 };
    let Err(AppError::Refused(reason)) = read_archive(&mut endless, &mut |_, _| Ok(())) else { panic!() };
    assert!(reason.contains("the most are") && endless.read <= 1024, "{reason}, {} bytes read", endless.read);
    // A million entries: the first that is not listed ends it.
    let whole = archive();
    let mut endless =
        Endless { start: &whole[..whole.len() - 1024], block: entry("project/datasets/x.toml", ""), read: 0 };
    let Err(AppError::Refused(reason)) = read_archive(&mut endless, &mut |_, _| Ok(())) else { panic!() };
    assert!(reason.contains("does not list") && endless.read < whole.len() as u64 + 1024, "{reason}");
    // A million names in the manifest.
    let names: String = (0..60_000).map(|n| format!("\"{n}\",")).collect();
    let text = String::from_utf8(manifest(&FILES).to_bytes()).unwrap();
    let text = text.replacen("\"targets\": []", &format!("\"targets\": [{}]", names.trim_end_matches(',')), 1);
    let bytes = entries(&[(header("manifest.json", text.len() as u64), text.as_bytes())]);
    assert!(refusal(&bytes).contains("targets"));
}

#[test]
fn a_manifest_of_a_later_version_is_refused_as_that() {
    let text = String::from_utf8(manifest(&FILES).to_bytes()).unwrap().replacen("\"format\": 1", "\"format\": 7", 1);
    let reason = refusal(&entries(&[(header("manifest.json", text.len() as u64), text.as_bytes())]));
    assert!(reason.contains("format version 7"), "{reason}");
}
