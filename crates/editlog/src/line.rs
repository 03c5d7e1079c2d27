//! An event as one line of JSON, as bundles and proofs have it.
//!
//! The members always come in one order and without spaces, so that there is one way to read a line: two programs that
//! read JSON with different leniency cannot be shown different events.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::event::{EVENT_BYTES_MAX, Event, Field, Personal, SALT_BYTES, Salt};
use crate::hash::Hash;
use crate::time;

/// The longest line: every byte of every text may be an escape of six bytes.
pub const LINE_BYTES_MAX: usize = 6 * EVENT_BYTES_MAX + 4096;

/// A line that is not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {expected} expected")]
pub struct NotAnEvent {
    /// The place in the line, from 0.
    pub at: usize,
    /// What should be there.
    pub expected: &'static str,
}

/// Appends an event as a line, with a newline at its end. A date outside the years 0 to 9999, which no database gives,
/// is written as the empty text and not read back.
pub fn write(event: &Event<'_>, line: &mut Vec<u8>) {
    member(line, b"{\"id\":");
    line.extend_from_slice(event.id.to_string().as_bytes());
    member(line, b",\"date\":");
    string(line, &time::format(event.date_micros).unwrap_or_default());
    member(line, b",\"user\":");
    optional(line, event.user.text());
    member(line, b",\"action\":");
    string(line, &event.action);
    member(line, b",\"key\":");
    string(line, &event.key);
    member(line, b",\"column_name\":");
    optional(line, event.column_name.as_deref());
    member(line, b",\"value\":");
    optional(line, event.value.text());
    member(line, b",\"previous\":");
    optional(line, event.previous.text());
    member(line, b",\"batch_id\":");
    string(line, &uuid_text(&event.batch_id));
    member(line, b",\"source\":");
    string(line, &event.source);
    member(line, b",\"reason\":");
    optional(line, event.reason.text());
    member(line, b",\"event_id\":");
    string(line, &uuid_text(&event.event_id));
    member(line, b",\"salts\":");
    list(line, event, |personal| match personal {
        Personal::Clear(_, salt) => Some(STANDARD.encode(salt)),
        _ => None,
    });
    if Field::ALL.iter().any(|field| matches!(event.personal(*field), Personal::Erased(_))) {
        member(line, b",\"erased\":");
        list(line, event, |personal| match personal {
            Personal::Erased(commitment) => Some(commitment.to_string()),
            _ => None,
        });
    }
    line.extend_from_slice(b"}\n");
}

fn member(line: &mut Vec<u8>, name: &[u8]) {
    line.extend_from_slice(name);
}

fn list(line: &mut Vec<u8>, event: &Event<'_>, text: impl Fn(&Personal<'_>) -> Option<String>) {
    for (index, field) in Field::ALL.into_iter().enumerate() {
        line.push(if index == 0 { b'[' } else { b',' });
        optional(line, text(event.personal(field)).as_deref());
    }
    line.push(b']');
}

fn optional(line: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => line.extend_from_slice(b"null"),
        Some(text) => string(line, text),
    }
}

fn string(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        line.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => line.extend_from_slice(&[b'\\', byte]),
            byte => line.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
    line.push(b'"');
}

/// How many bytes come before the first that ends a text or needs an escape; none if there is none.
///
/// Eight bytes are looked at together. A byte that is zero borrows from the one above it when one is taken from each, so
/// the lowest of the marked bytes is always a right one.
fn plain(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, _) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        let quotes = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        let marked = (controls | quotes) & (ONES * 0x80);
        if marked != 0 {
            return Some(number * 8 + marked.trailing_zeros() as usize / 8);
        }
    }
    let looked_at = words.len() * 8;
    bytes[looked_at..].iter().position(|byte| needs_escape(*byte)).map(|at| looked_at + at)
}

fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// The text of a UUID.
pub fn uuid_text(bytes: &[u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// The bytes of a UUID from its text in lower case; none for any other text.
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    uuid_of(text.as_bytes().try_into().ok()?)
}

fn uuid_of(text: &[u8; UUID_BYTES]) -> Option<[u8; 16]> {
    if [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    // Without the dashes these are four times eight digits.
    const DIGITS: [[usize; 2]; 4] = [[0, 4], [9, 14], [19, 24], [28, 32]];
    let mut bytes = [0; 16];
    for (halves, four) in DIGITS.iter().zip(bytes.chunks_exact_mut(4)) {
        let mut digits = [0; 8];
        for (at, half) in halves.iter().zip(digits.chunks_exact_mut(4)) {
            half.copy_from_slice(&text[*at..*at + 4]);
        }
        four.copy_from_slice(&hexadecimal(digits)?);
    }
    Some(bytes)
}

/// Four bytes from eight digits in lower case; none for any other text. All digits are looked at together.
fn hexadecimal(digits: [u8; 8]) -> Option<[u8; 4]> {
    const ONES: u64 = u64::MAX / 255;
    let digits = u64::from_le_bytes(digits);
    // A letter has the bit 0x40, and its low half counts from 1 where it stands for 10.
    let values = (digits & (ONES * 0x0f)) + (digits >> 6 & ONES) * 9;
    if values & (ONES * 0xf0) != 0 {
        return None;
    }
    // Written again, they must be what was read.
    let letters = (values + ONES * 6) >> 4 & ONES;
    if values + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'9' - 1) != digits {
        return None;
    }
    let pairs = (values << 4 | values >> 8).to_le_bytes();
    Some([pairs[0], pairs[2], pairs[4], pairs[6]])
}

const UUID_BYTES: usize = 36;

/// The length of a salt's base64.
const SALT_TEXT_BYTES: usize = 24;

/// The length of a hash's base64.
const HASH_TEXT_BYTES: usize = 44;

/// In a table of digits, what is none.
const WRONG: u8 = 0x80;

const BASE64: [u8; 256] = digits(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

const fn digits(alphabet: &[u8]) -> [u8; 256] {
    let mut table = [WRONG; 256];
    let mut value = 0;
    while value < alphabet.len() {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table
}

/// The bytes of a salt from their base64; none for any other text. Three of them are in most lines.
fn salt_bytes(text: &[u8; SALT_TEXT_BYTES]) -> Option<Salt> {
    let mut salt = [0; SALT_BYTES];
    let mut wrong = 0;
    let (quads, _) = text.as_chunks::<4>();
    for (quad, bytes) in quads.iter().zip(salt.chunks_mut(3)) {
        // The last four characters are two digits and two signs that stand for nothing.
        let quad = if bytes.len() == 3 { *quad } else { [quad[0], quad[1], b'A', b'A'] };
        let [a, b, c, d] = quad.map(|digit| BASE64[usize::from(digit)]);
        wrong |= a | b | c | d;
        let group = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        bytes.copy_from_slice(&group[..bytes.len()]);
        wrong |= if bytes.len() == 3 { 0 } else { (b & 0x0f != 0) as u8 * WRONG };
    }
    (wrong & WRONG == 0 && text.ends_with(b"==")).then_some(salt)
}

/// Reads a line, without the newline at its end.
///
/// # Errors
/// With the first place that is not as [`write()`] writes it.
pub fn read(line: &str) -> Result<Event<'_>, NotAnEvent> {
    let mut reader = Reader { line, at: 0 };
    reader.expect("{\"id\":", "`{\"id\":`")?;
    let id = reader.number()?;
    reader.expect(",\"date\":", "`date`")?;
    let date_micros = reader.fixed("a date with six digits of a second", time::parse_exact)?;
    reader.expect(",\"user\":", "`user`")?;
    let user = reader.optional()?;
    reader.expect(",\"action\":", "`action`")?;
    let action = reader.string()?;
    reader.expect(",\"key\":", "`key`")?;
    let key = reader.string()?;
    reader.expect(",\"column_name\":", "`column_name`")?;
    let column_name = reader.optional()?;
    reader.expect(",\"value\":", "`value`")?;
    let value = reader.optional()?;
    reader.expect(",\"previous\":", "`previous`")?;
    let previous = reader.optional()?;
    reader.expect(",\"batch_id\":", "`batch_id`")?;
    let batch_id = reader.fixed("a UUID", uuid_of)?;
    reader.expect(",\"source\":", "`source`")?;
    let source = reader.string()?;
    reader.expect(",\"reason\":", "`reason`")?;
    let reason = reader.optional()?;
    reader.expect(",\"event_id\":", "`event_id`")?;
    let event_id = reader.fixed("a UUID", uuid_of)?;
    reader.expect(",\"salts\":", "`salts`")?;
    let salts = reader.list("a salt of 16 bytes in base64", salt_bytes)?;
    let mut erased: [Option<Hash>; 4] = [None; 4];
    if !reader.rest().starts_with('}') {
        reader.expect(",\"erased\":", "`erased` or the end of the object")?;
        erased = reader
            .list("a hash in base64", |text: &[u8; HASH_TEXT_BYTES]| std::str::from_utf8(text).ok()?.parse().ok())?;
    }
    reader.expect("}", "the end of the object")?;
    if !reader.rest().is_empty() {
        return Err(reader.not("the end of the line"));
    }
    let mut fields =
        [user, value, previous, reason].into_iter().zip(salts).zip(erased).map(|((text, salt), erased)| {
            match (text, salt, erased) {
                (None, None, None) => Ok(Personal::Absent),
                (Some(text), Some(salt), None) => Ok(Personal::Clear(text, salt)),
                (None, None, Some(commitment)) => Ok(Personal::Erased(commitment)),
                _ => Err(NotAnEvent { at: line.len(), expected: "a text with a salt, or neither," }),
            }
        });
    let mut next = || fields.next().unwrap_or(Ok(Personal::Absent));
    let (user, value, previous, reason) = (next()?, next()?, next()?, next()?);
    Ok(Event { id, date_micros, user, action, key, column_name, value, previous, batch_id, source, reason, event_id })
}

struct Reader<'a> {
    line: &'a str,
    /// Always at the border of a character.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn bytes(&self) -> &'a [u8] {
        &self.line.as_bytes()[self.at..]
    }

    fn not(&self, expected: &'static str) -> NotAnEvent {
        NotAnEvent { at: self.at, expected }
    }

    // Inlined, so that comparing with a text that is known becomes a few instructions.
    #[inline(always)]
    fn expect(&mut self, text: &str, expected: &'static str) -> Result<(), NotAnEvent> {
        if !self.bytes().starts_with(text.as_bytes()) {
            return Err(self.not(expected));
        }
        self.at += text.len();
        Ok(())
    }

    fn number(&mut self) -> Result<u64, NotAnEvent> {
        let rest = self.rest();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = crate::checkpoint::decimal(&rest[..digits]).ok_or(self.not("a number"))?;
        self.at += digits;
        Ok(number)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NotAnEvent> {
        let expected = "a text";
        let bytes = self.bytes();
        if bytes.first() != Some(&b'"') {
            return Err(self.not(expected));
        }
        let Some(mut end) = plain(&bytes[1..]).map(|plain| plain + 1) else { return Err(self.not(expected)) };
        let rest = self.rest();
        if bytes[end] == b'"' {
            self.at += end + 1;
            return Ok(Cow::Borrowed(&rest[1..end]));
        }
        // There is an escape: the text ends at the next quote that is not escaped.
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(self.not(expected)),
            }
        }
        let text: String = serde_json::from_str(&rest[..=end]).map_err(|_| self.not(expected))?;
        self.at += end + 1;
        Ok(Cow::Owned(text))
    }

    fn optional(&mut self) -> Result<Option<Cow<'a, str>>, NotAnEvent> {
        if self.bytes().starts_with(b"null") {
            self.at += 4;
            return Ok(None);
        }
        self.string().map(Some)
    }

    /// A text whose length is known, and of which `parse` looks at every byte.
    #[inline(always)]
    fn fixed<T, const N: usize>(
        &mut self,
        expected: &'static str,
        parse: impl Fn(&[u8; N]) -> Option<T>,
    ) -> Result<T, NotAnEvent> {
        let found = match self.bytes() {
            [b'"', rest @ ..] => rest.split_first_chunk::<N>().filter(|(_, rest)| rest.first() == Some(&b'"')),
            _ => None,
        };
        let value = found.and_then(|(text, _)| parse(text)).ok_or(self.not(expected))?;
        self.at += N + 2;
        Ok(value)
    }

    fn list<T, const N: usize>(
        &mut self,
        expected: &'static str,
        parse: impl Fn(&[u8; N]) -> Option<T>,
    ) -> Result<[Option<T>; 4], NotAnEvent> {
        let mut list = [None, None, None, None];
        for (index, entry) in list.iter_mut().enumerate() {
            self.expect(if index == 0 { "[" } else { "," }, "a list of four")?;
            if self.bytes().starts_with(b"null") {
                self.at += 4;
            } else {
                *entry = Some(self.fixed(expected, &parse)?);
            }
        }
        self.expect("]", "the end of the list")?;
        Ok(list)
    }
}
