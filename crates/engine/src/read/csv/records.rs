//! The records of CSV text, as RFC 4180 has them, told with what the usual readers leave out: whether a field stood in
//! quotes. That alone tells an empty text (`""`) from no value.
//!
//! As lenient as other readers where the RFC is silent: lines end with LF, CRLF or CR, blank lines are no records, a byte
//! order mark is passed over, a quote inside a field without quotes is itself, and what follows a closing quote belongs to
//! the field.

use std::io::Read;

use memchr::{memchr, memchr_iter, memchr3};

const BUFFER_BYTES: usize = 1024 * 1024;

/// What is wrong with CSV text.
#[derive(Debug)]
pub(super) enum RecordError {
    /// The text cannot be read.
    Io(std::io::Error),
    /// A record is longer than the limit.
    TooLong,
    /// The text ends inside quotes that were opened on this line.
    Unclosed(u64),
}

/// Reads record after record.
pub(super) struct Records<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The line at hand, from 1.
    line: u64,
    delimiter: u8,
    record_bytes_max: usize,
}

/// One record; its memory is used again for the next.
#[derive(Default)]
pub(super) struct Record {
    bytes: Vec<u8>,
    /// For each field where it ends in `bytes`, and whether it stood in quotes.
    fields: Vec<(usize, bool)>,
    /// The line on which the record starts, from 1.
    pub(super) line: u64,
}

/// What a field ends with.
#[derive(PartialEq, Eq)]
enum FieldEnd {
    Delimiter,
    Record,
}

impl Record {
    /// How many fields it has.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The bytes of a field and whether it stood in quotes.
    pub(super) fn field(&self, place: usize) -> (&[u8], bool) {
        let start = if place == 0 { 0 } else { self.fields[place - 1].0 };
        let (end, is_quoted) = self.fields[place];
        (&self.bytes[start..end], is_quoted)
    }
}

impl<R: Read> Records<R> {
    /// Starts at the beginning of the text. A record longer than `record_bytes_max` is an error.
    pub(super) fn new(input: R, delimiter: u8, record_bytes_max: usize) -> Records<R> {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Records { input, buffer, start: 0, end: 0, line: 0, delimiter, record_bytes_max }
    }

    /// Reads the next record; false at the end of the text.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, RecordError> {
        record.bytes.clear();
        record.fields.clear();
        if self.line == 0 {
            self.line = 1;
            self.pass_byte_order_mark()?;
        }
        loop {
            match self.peek()? {
                None => return Ok(false),
                Some(b'\n' | b'\r') => self.end_line()?,
                Some(_) => break,
            }
        }
        record.line = self.line;
        loop {
            let is_quoted = self.peek()? == Some(b'"');
            if is_quoted {
                self.start += 1;
                self.quoted(record)?;
            }
            let end = self.plain(record)?;
            record.fields.push((record.bytes.len(), is_quoted));
            if end == FieldEnd::Record {
                return Ok(true);
            }
        }
    }

    /// Reads up to the end of the field.
    fn plain(&mut self, record: &mut Record) -> Result<FieldEnd, RecordError> {
        loop {
            let part = &self.buffer[self.start..self.end];
            let Some(at) = memchr3(self.delimiter, b'\n', b'\r', part) else {
                self.take(record, self.end)?;
                if !self.refill()? {
                    return Ok(FieldEnd::Record);
                }
                continue;
            };
            let end = self.start + at;
            self.take(record, end)?;
            if self.buffer[end] == self.delimiter {
                self.start += 1;
                return Ok(FieldEnd::Delimiter);
            }
            self.end_line()?;
            return Ok(FieldEnd::Record);
        }
    }

    /// Reads behind an opening quote up to the closing one.
    fn quoted(&mut self, record: &mut Record) -> Result<(), RecordError> {
        let opened = self.line;
        loop {
            let part = &self.buffer[self.start..self.end];
            let at = memchr(b'"', part);
            let end = at.map_or(self.end, |at| self.start + at);
            self.line += memchr_iter(b'\n', &self.buffer[self.start..end]).count() as u64;
            self.take(record, end)?;
            if at.is_none() {
                if !self.refill()? {
                    return Err(RecordError::Unclosed(opened));
                }
                continue;
            }
            self.start += 1;
            if self.peek()? != Some(b'"') {
                return Ok(());
            }
            // Two quotes mean one.
            self.start += 1;
            record.bytes.push(b'"');
        }
    }

    /// Moves the bytes up to `end` of the buffer into the record.
    fn take(&mut self, record: &mut Record, end: usize) -> Result<(), RecordError> {
        record.bytes.extend_from_slice(&self.buffer[self.start..end]);
        self.start = end;
        if record.bytes.len() > self.record_bytes_max { Err(RecordError::TooLong) } else { Ok(()) }
    }

    /// Passes over one end of a line: LF, CR, or both.
    fn end_line(&mut self) -> Result<(), RecordError> {
        let is_return = self.buffer[self.start] == b'\r';
        self.start += 1;
        if is_return && self.peek()? == Some(b'\n') {
            self.start += 1;
        }
        self.line += 1;
        Ok(())
    }

    fn pass_byte_order_mark(&mut self) -> Result<(), RecordError> {
        // A short read is no end: the first three bytes may come one by one.
        while self.end < 3 && self.fill()? {}
        if self.buffer[..self.end].starts_with(b"\xEF\xBB\xBF") {
            self.start = 3;
        }
        Ok(())
    }

    /// The next byte; none at the end of the text.
    fn peek(&mut self) -> Result<Option<u8>, RecordError> {
        if self.start == self.end && !self.refill()? {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.start]))
    }

    /// Reads the next part of the text, when all of the buffer is used; false at the end of the text.
    fn refill(&mut self) -> Result<bool, RecordError> {
        self.start = 0;
        self.end = 0;
        self.fill()
    }

    /// Reads more behind what is in the buffer.
    fn fill(&mut self) -> Result<bool, RecordError> {
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(RecordError::Io(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes one by one: every place is the end of a buffer.
    struct OneByOne<'a>(&'a [u8]);

    impl Read for OneByOne<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    type Fields = Vec<(String, bool)>;

    fn all(input: impl Read) -> Result<Vec<(u64, Fields)>, RecordError> {
        let mut records = Records::new(input, b',', 1_000);
        let (mut record, mut found) = (Record::default(), Vec::new());
        while records.next(&mut record)? {
            let field = |place| {
                let (bytes, is_quoted) = record.field(place);
                (String::from_utf8_lossy(bytes).into_owned(), is_quoted)
            };
            found.push((record.line, (0..record.len()).map(field).collect()));
        }
        Ok(found)
    }

    #[test]
    fn fields_are_told_with_their_quotes_wherever_a_buffer_ends() {
        let plain = |texts: &[&str]| -> Fields { texts.iter().map(|text| ((*text).to_owned(), false)).collect() };
        let quoted = |text: &str| (text.to_owned(), true);
        let cases: Vec<(&str, Vec<(u64, Fields)>)> = vec![
            ("", vec![]),
            ("\n\r\n\n", vec![]),
            ("a,b\nc,\n", vec![(1, plain(&["a", "b"])), (2, plain(&["c", ""]))]),
            ("\u{feff}a\r\rb", vec![(1, plain(&["a"])), (3, plain(&["b"]))]),
            (",\r\n\"\",\"\"\r\n", vec![(1, plain(&["", ""])), (2, vec![quoted(""), quoted("")])]),
            (
                "\"a\nb\"\"c\",x\nd\"e,\"f\"g",
                vec![
                    (1, vec![quoted("a\nb\"c"), ("x".into(), false)]),
                    (3, vec![("d\"e".into(), false), quoted("fg")]),
                ],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(all(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}")), expected, "{text:?}");
            assert_eq!(
                all(OneByOne(text.as_bytes())).unwrap_or_else(|error| panic!("{error:?}")),
                expected,
                "{text:?}"
            );
        }
        assert!(matches!(all("a\nb,\"c\nd".as_bytes()), Err(RecordError::Unclosed(2))));
        assert!(matches!(all("x".repeat(2_000).as_bytes()), Err(RecordError::TooLong)));
    }
}
