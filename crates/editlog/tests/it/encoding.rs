//! How events become bytes, and lines.

use proptest::prelude::*;
use stet_editlog::chain::{ChainBreak, Chains, link};
use stet_editlog::erasure::{Erasure, mask};
use stet_editlog::event::{Secret, decode_secrets, encode_secrets};
use stet_editlog::{Event, Field, Hash, Personal, line, time};

use crate::logs::{event, leaf, salt};

#[test]
fn an_event_has_the_bytes_that_the_description_says() {
    // Written out by hand from docs/editlog-format.md: this must never change.
    let mut event = event(7);
    event.user = Personal::Clear("ada".into(), [0x11; 16]);
    event.value = Personal::Clear("".into(), [0x22; 16]);
    event.previous = Personal::Absent;
    event.date_micros = 1;
    event.key = "é".into();
    event.batch_id = [0xbb; 16];
    event.event_id = [0xee; 16];
    event.column_name = None;
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    let commitment = |salt: u8, text: &[u8]| Hash::of(&[&[salt; 16], text].concat()).0;
    let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1];
    expected.extend([0xee; 16]);
    expected.extend([0xbb; 16]);
    expected.extend(b"\0\0\0\x06update\0\0\0\x04grid\0\0\0\x02\xc3\xa9");
    expected.push(0);
    expected.push(1);
    expected.extend(commitment(0x11, b"ada"));
    expected.push(1);
    expected.extend(commitment(0x22, b""));
    expected.extend([0, 0]);
    assert_eq!(bytes, expected);
    assert_eq!(leaf(&event), Hash::leaf(&expected));
}

#[test]
fn an_erased_text_leaves_the_leaf_as_it_was() {
    let event = event(3);
    for field in Field::ALL {
        let Some(commitment) = event.personal(field).commitment() else { continue };
        let mut erased = event.clone();
        erased.set_personal(field, Personal::Erased(commitment));
        assert_eq!(leaf(&erased), leaf(&event));
    }
}

#[test]
fn an_erasure_says_what_it_covers_in_one_spelling() {
    let erasure = Erasure { ranges: vec![(3, 3), (7, 9), (120, 120)], fields: mask([Field::User, Field::Reason]) };
    let (key, column_name) = erasure.texts();
    assert_eq!((key.as_str(), column_name.as_str()), ("3,7-9,120", "user,reason"));
    let logged = |key: &str, column: &str, reason: Personal<'static>| {
        let mut event = event(121);
        event.action = "erase".into();
        event.key = key.to_owned().into();
        event.column_name = Some(column.to_owned().into());
        event.reason = reason;
        Erasure::of(&event)
    };
    let reason = || Personal::Clear("request 17".into(), salt(1));
    assert_eq!(logged(&key, &column_name, reason()), Some(erasure));
    for (key, column) in [
        ("3,7-9,121", "user"),
        ("9-7", "user"),
        ("7,3", "user"),
        ("3,3", "user"),
        ("0", "user"),
        ("03", "user"),
        ("", "user"),
        ("3,", "user"),
        ("3", "reason,user"),
        ("3", "user,user"),
        ("3", ""),
        ("3", "key"),
        ("3-18446744073709551615", "user"),
    ] {
        assert_eq!(logged(key, column, reason()), None, "{key} {column}");
    }
    assert_eq!(logged("3", "user", Personal::Absent), None, "an erasure says why");
}

#[test]
fn a_change_in_an_unsealed_tail_breaks_the_chain_of_its_writer() {
    let written = |events: &[(&str, Event<'static>)]| {
        let mut ends = std::collections::HashMap::new();
        let mut rows = Vec::new();
        for (writer, event) in events {
            let (number, hash): &mut (u64, Hash) = ends.entry(*writer).or_default();
            *number += 1;
            rows.push(((*writer).to_owned(), *number, *hash, event.clone()));
            *hash = link(*hash, writer, *number, event);
        }
        rows
    };
    let events: Vec<(&str, Event<'static>)> =
        (1..=20).map(|id| (if id % 3 == 0 { "b" } else { "a" }, event(id))).collect();
    let rows = written(&events);
    let check = |rows: &[(String, u64, Hash, Event<'static>)]| {
        let mut chains = Chains::new();
        rows.iter()
            .map(|(writer, number, hash, event)| chains.push(writer, *number, *hash, event))
            .find_map(Result::err)
    };
    assert_eq!(check(&rows), None);
    let mut modified = rows.clone();
    modified[6].3.value = Personal::Clear("forged".into(), salt(0));
    assert_eq!(check(&modified), Some(ChainBreak::Link { id: 8, writer: "a".into() }));
    let mut deleted = rows.clone();
    deleted.remove(6);
    assert!(matches!(check(&deleted), Some(ChainBreak::Number { id: 8, last: 4, found: 6, .. })));
    let mut swapped = rows.clone();
    swapped.swap(0, 1);
    assert!(matches!(check(&swapped), Some(ChainBreak::Number { id: 2, .. })));
}

#[test]
fn dates_are_read_as_they_are_written() {
    for (micros, text) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_795_336_814_120_001, "2026-11-22T08:40:14.120001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(time::format(micros).as_deref(), Some(text));
        assert_eq!(time::parse(text.as_bytes()), Some(micros));
    }
    assert_eq!(time::format(i64::MAX), None);
    assert_eq!(time::format(i64::MIN), None);
    for text in [
        "2026-11-22T08:40:14.120Z",
        "2026-13-22T08:40:14.120001Z",
        "2026-02-29T08:40:14.120001Z",
        "2026-11-22 08:40:14.120001Z",
        "2026-11-22T24:40:14.120001Z",
        "2026-11-00T08:40:14.120001Z",
        "2026-11-22T08:40:60.120001Z",
        "+026-11-22T08:40:14.120001Z",
    ] {
        assert_eq!(time::parse(text.as_bytes()), None, "{text}");
    }
}

fn personal() -> impl Strategy<Value = Personal<'static>> {
    prop_oneof![
        Just(Personal::Absent),
        ("(?s).{0,30}", any::<[u8; 16]>()).prop_map(|(text, salt)| Personal::Clear(text.into(), salt)),
        any::<[u8; 32]>().prop_map(|hash| Personal::Erased(Hash(hash))),
    ]
}

fn any_event() -> impl Strategy<Value = Event<'static>> {
    let texts = ("(?s).{0,12}", "(?s).{0,12}", "(?s).{0,40}", proptest::option::of("(?s).{0,12}"));
    let ids =
        (any::<u64>(), -60_000_000_000_000_000_i64..250_000_000_000_000_000, any::<[u8; 16]>(), any::<[u8; 16]>());
    (texts, ids, [personal(), personal(), personal(), personal()]).prop_map(|(texts, ids, fields)| {
        let (action, source, key, column_name) = texts;
        let (id, date_micros, batch_id, event_id) = ids;
        let [user, value, previous, reason] = fields;
        Event {
            id,
            date_micros,
            user,
            action: action.into(),
            key: key.into(),
            column_name: column_name.map(Into::into),
            value,
            previous,
            batch_id,
            source: source.into(),
            reason,
            event_id,
        }
    })
}

proptest! {
    #[test]
    fn a_line_reads_back_as_the_event_that_was_written(event in any_event()) {
        let mut bytes = Vec::new();
        line::write(&event, &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let text = text.strip_suffix('\n').unwrap();
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(line::read(text).unwrap(), event);
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        prop_assert!(json["id"].is_u64());
    }

    #[test]
    fn events_that_differ_have_different_bytes(a in any_event(), b in any_event(), at: prop::sample::Index, byte: u8) {
        // Two events at random, and two whose lines differ in one byte.
        let mut line = Vec::new();
        line::write(&a, &mut line);
        line.pop();
        let at = at.index(line.len());
        line[at] = byte;
        let near = String::from_utf8(line).ok();
        let near = near.as_deref().and_then(|line| line::read(line).ok());
        for other in [Some(&b), near.as_ref()].into_iter().flatten() {
            prop_assert_eq!(leaf(&a) == leaf(other), a == *other);
        }
    }

    #[test]
    fn secrets_read_back(kinds in [0..3_u8, 0..3, 0..3, 0..3], salt: [u8; 16], hash: [u8; 32]) {
        let secrets = kinds.map(|kind| match kind {
            0 => Secret::Absent,
            1 => Secret::Salt(salt),
            _ => Secret::Erased(Hash(hash)),
        });
        let bytes = encode_secrets(&secrets);
        prop_assert_eq!(decode_secrets(&bytes), Some(secrets));
        prop_assert_eq!(decode_secrets(&bytes[..bytes.len() - 1]), None);
    }
}
