//! Texts, names and times as PostgreSQL has them.

use std::borrow::Cow;
use std::error::Error;

use postgres::types::{FromSql, Type, accepts};

/// Stands for a NUL, with [`NUL`] behind it, and for itself when doubled: PostgreSQL's `text` holds every character but
/// NUL. U+2400 is the picture of a NUL, so that a tool that does not know of this shows something sensible.
const ESCAPE: char = '\u{2400}';
const NUL: char = '0';

/// The longest name in PostgreSQL, in bytes; it cuts longer ones without a word.
pub(crate) const NAME_BYTES_MAX: usize = 63;

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A text as it is stored.
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => stored.extend([ESCAPE, NUL]),
            ESCAPE => stored.extend([ESCAPE, ESCAPE]),
            other => stored.push(other),
        }
    }
    Cow::Owned(stored)
}

/// A text from how it is stored. An escape of no meaning, which another program has written, is taken as it is.
pub(crate) fn decode(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            (ESCAPE, Some(&NUL)) => {
                text.push('\0');
                characters.next();
            }
            (ESCAPE, Some(&ESCAPE)) => {
                text.push(ESCAPE);
                characters.next();
            }
            (other, _) => text.push(other),
        }
    }
    text
}

/// A name in quotes, whatever its characters.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in quotes.
pub(crate) fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A `timestamptz` in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Micros(pub i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Micros, Box<dyn Error + Sync + Send>> {
        let bytes: [u8; 8] = raw.try_into()?;
        let micros = i64::from_be_bytes(bytes);
        micros.checked_add(EPOCH_MICROS).map(Micros).ok_or_else(|| "a date beyond all reckoning".into())
    }

    accepts!(TIMESTAMPTZ, TIMESTAMP);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was() {
        for text in ["", "a", "\0", "␀", "␀0", "0␀", "\u{0}0", "␀␀", "a\0␀\u{0}0", "␀\0"] {
            let stored = encode(text).into_owned();
            assert!(!stored.contains('\0'), "{text:?}");
            assert_eq!(decode(stored), text);
        }
    }

    #[test]
    fn different_texts_are_stored_differently() {
        let texts = ["\0", "␀0", "␀", "␀␀", "0", "␀␀0", "\0␀"];
        let stored: std::collections::HashSet<_> = texts.iter().map(|text| encode(text).into_owned()).collect();
        assert_eq!(stored.len(), texts.len());
    }
}
