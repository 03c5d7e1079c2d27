//! Finding the type of a column of texts.
//!
//! A type is taken only when no value would change by it: codes with leading zeros or such as `1E5`, whole numbers beyond 64
//! bits, fractions with more digits than a number keeps, leap seconds, and times with more digits than Stet keeps stay text.

use stet_domain::ColumnType;

/// The digits that a number of 64 bits can have at most when a program writes it.
const NUMBER_DIGITS_MAX: usize = 17;

/// The types that every value seen so far could be of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidates {
    any: bool,
    /// Every value is an object or an array of JSON.
    nested: bool,
    integer: bool,
    number: bool,
    boolean: bool,
    date: bool,
    datetime: bool,
    instant: bool,
}

impl Candidates {
    pub fn new() -> Candidates {
        Candidates {
            any: false,
            nested: true,
            integer: true,
            number: true,
            boolean: true,
            date: true,
            datetime: true,
            instant: true,
        }
    }

    /// Takes a text that is not null.
    pub fn see_text(&mut self, text: &str) {
        // Programs that write a large E write a fraction before it or a sign behind it; `1E5` is a code.
        let is_code = text.contains('E') && !text.contains(['.', '+', '-']);
        self.nested = false;
        self.see(text, is_code);
    }

    fn see(&mut self, text: &str, is_code: bool) {
        self.any = true;
        if self.integer || self.number {
            let (integer, number) = if is_code { (false, false) } else { numeric(text) };
            self.integer &= integer;
            self.number &= number;
        }
        if self.boolean {
            self.boolean = text == "true" || text == "false";
        }
        if self.date || self.datetime || self.instant {
            self.see_time(text);
        }
    }

    /// Takes a JSON value that is not a string: such a column holds no dates.
    pub fn see_json(&mut self, raw: &str) {
        self.nested &= raw.starts_with(['{', '[']);
        self.see(raw, false);
        self.date = false;
        self.datetime = false;
        self.instant = false;
    }

    /// Takes a JSON string: it may be a date, but it is no number and no boolean, whatever it looks like.
    pub fn see_string(&mut self, text: &str) {
        self.see_text(text);
        self.integer = false;
        self.number = false;
        self.boolean = false;
    }

    /// The narrowest type for all values; text when there are none, and [`ColumnType::Other`] when all are nested.
    pub fn column_type(&self) -> ColumnType {
        match self {
            _ if !self.any => ColumnType::Text,
            Candidates { nested: true, .. } => ColumnType::Other,
            Candidates { boolean: true, .. } => ColumnType::Boolean,
            Candidates { integer: true, .. } => ColumnType::Integer,
            Candidates { number: true, .. } => ColumnType::Number,
            Candidates { date: true, .. } => ColumnType::Date,
            Candidates { datetime: true, .. } => ColumnType::DateTime,
            Candidates { instant: true, .. } => ColumnType::Instant,
            _ => ColumnType::Text,
        }
    }

    fn see_time(&mut self, text: &str) {
        // Everything that can be one starts with a year of four digits.
        let bytes = text.as_bytes();
        if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            self.date = false;
            self.datetime = false;
            self.instant = false;
            return;
        }
        self.date = self.date && bytes.len() == 10 && ColumnType::Date.read(text).is_ok();
        let fraction = text.rsplit_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
        let kept = bytes.len() >= 16 && fraction <= 6 && text.trim().len() == text.len() && !text.contains(":60");
        self.datetime = self.datetime && kept && ColumnType::DateTime.read(text).is_ok();
        self.instant = self.instant && kept && ColumnType::Instant.read(text).is_ok();
    }
}

/// Whether a text is an integer, and whether it is a number, without loss.
fn numeric(text: &str) -> (bool, bool) {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let bytes = digits.as_bytes();
    let leading_zero = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit();
    if bytes.is_empty() || leading_zero || !bytes[0].is_ascii_digit() && bytes[0] != b'.' {
        return (false, false);
    }
    if bytes.iter().all(u8::is_ascii_digit) {
        // A negative zero would lose its sign as an integer.
        return match text.parse::<i64>() {
            Ok(integer) => (text != "-0", integer.unsigned_abs() <= 1 << 53),
            Err(_) => (false, false),
        };
    }
    let plain = bytes.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    (false, plain && significant_digits(bytes) <= NUMBER_DIGITS_MAX && ColumnType::Number.read(text).is_ok())
}

/// How many digits of a fraction count: without the zeros at its ends.
fn significant_digits(text: &[u8]) -> usize {
    if text.len() <= NUMBER_DIGITS_MAX {
        return 0;
    }
    let digits = || text.iter().take_while(|b| !b.eq_ignore_ascii_case(&b'e')).filter(|b| b.is_ascii_digit());
    let zeros_before = digits().take_while(|b| **b == b'0').count();
    let last = digits().enumerate().filter(|(_, b)| **b != b'0').last().map_or(0, |(place, _)| place + 1);
    last.saturating_sub(zeros_before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_taken_only_when_no_value_would_change() {
        for (values, expected) in [
            (&["1", "-2", "9223372036854775807"][..], ColumnType::Integer),
            (&["1", "2.50"], ColumnType::Number),
            (&["1", "00501"], ColumnType::Text),
            (&["00.5"], ColumnType::Text),
            (&["0.5", "-0"], ColumnType::Number),
            (
                &["0.30000000000000004", "-1.2e-05", "100000000000000000000.00", "0.000000000000000000001"],
                ColumnType::Number,
            ),
            (&["1234567890123456.78"], ColumnType::Text),
            (&["1E5", "2"], ColumnType::Text),
            (&["1.5E5", "1E+05", "1e21"], ColumnType::Number),
            (&["2016-12-31T23:59:60"], ColumnType::Text),
            (&["2022-12-21T10:00:00-05:00", "2022-12-21T10:00:00-04:00"], ColumnType::Instant),
            (&["9223372036854775808"], ColumnType::Text),
            (&["9223372036854775807", "0.5"], ColumnType::Text),
            (&["true", "false"], ColumnType::Boolean),
            (&["true", "yes"], ColumnType::Text),
            (&["0", "1"], ColumnType::Integer),
            (&["2022-12-21"], ColumnType::Date),
            (&["2022-12-21", "2022-12-21T10:00:00"], ColumnType::Text),
            (&["2022-12-21 10:00", "2022-12-21T10:00:00.123456"], ColumnType::DateTime),
            (&["2022-12-21T10:00:00.123456789"], ColumnType::Text),
            (&["2022-12-21T10:00:00Z", "2022-12-21T10:00:00+02:00"], ColumnType::Instant),
            (&["2022-02-30"], ColumnType::Text),
            (&["NA", "1"], ColumnType::Text),
            (&["NaN"], ColumnType::Text),
            (&[" 1"], ColumnType::Text),
            (&[], ColumnType::Text),
        ] {
            let mut candidates = Candidates::new();
            values.iter().for_each(|value| candidates.see_text(value));
            assert_eq!(candidates.column_type(), expected, "{values:?}");
        }
    }
}
