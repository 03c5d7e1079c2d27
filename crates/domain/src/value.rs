//! Column types, typed values and their canonical text.
//!
//! Canonical text is the one form in which a value stands in an editlog, in a key and on the wire, so that two values are
//! equal just when their texts are.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest text of a cell, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The most digits of a decimal.
pub const DECIMAL_PRECISION_MAX: u8 = 38;

/// What kind of values a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ColumnType {
    /// Any Unicode text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number of 64 bits with a floating point (IEEE 754).
    Number,
    /// A number with a fixed count of digits after the point.
    Decimal {
        /// The most digits in all, from 1 to 38.
        precision: u8,
        /// How many of them stand after the point.
        scale: u8,
    },
    /// True or false.
    Boolean,
    /// A calendar day.
    Date,
    /// A day and a time of day, in no particular time zone.
    DateTime,
    /// A moment, in UTC.
    Instant,
    /// A type that Stet passes through and shows, but does not edit.
    Other,
}

impl ColumnType {
    /// The name for people, with its article: "a whole number".
    pub fn description(self) -> String {
        match self {
            ColumnType::Text => "a text".into(),
            ColumnType::Integer => "a whole number".into(),
            ColumnType::Number => "a number".into(),
            ColumnType::Decimal { scale, .. } => format!("a number with at most {scale} digits after the point"),
            ColumnType::Boolean => "true or false".into(),
            ColumnType::Date => "a date".into(),
            ColumnType::DateTime => "a date and time".into(),
            ColumnType::Instant => "a date and time with its zone".into(),
            ColumnType::Other => "a value of a type that Stet does not edit".into(),
        }
    }

    /// Whether a value of this type can be typed in.
    pub fn is_editable(self) -> bool {
        self != ColumnType::Other
    }

    /// Whether a primary-key column can be of this type.
    pub fn is_key(self) -> bool {
        self != ColumnType::Other
    }

    /// Whether the values have an order in which a range makes sense to a person.
    pub fn has_range(self) -> bool {
        !matches!(self, ColumnType::Text | ColumnType::Boolean | ColumnType::Other)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnType::Text => "text",
            ColumnType::Integer => "integer",
            ColumnType::Number => "number",
            ColumnType::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            ColumnType::Boolean => "boolean",
            ColumnType::Date => "date",
            ColumnType::DateTime => "datetime",
            ColumnType::Instant => "instant",
            ColumnType::Other => "other",
        })
    }
}

/// A text that names no column type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a column type: use text, integer, number, decimal(PRECISION,SCALE), boolean, date, datetime or instant"
)]
pub struct UnknownColumnType(String);

impl FromStr for ColumnType {
    type Err = UnknownColumnType;
    fn from_str(text: &str) -> Result<Self, UnknownColumnType> {
        Ok(match text {
            "text" => ColumnType::Text,
            "integer" => ColumnType::Integer,
            "number" => ColumnType::Number,
            "boolean" => ColumnType::Boolean,
            "date" => ColumnType::Date,
            "datetime" => ColumnType::DateTime,
            "instant" => ColumnType::Instant,
            "other" => ColumnType::Other,
            other => {
                return decimal_type(other).ok_or_else(|| UnknownColumnType(other.to_owned()));
            }
        })
    }
}

fn decimal_type(text: &str) -> Option<ColumnType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    ((1..=DECIMAL_PRECISION_MAX).contains(&precision) && scale <= precision)
        .then_some(ColumnType::Decimal { precision, scale })
}

impl TryFrom<String> for ColumnType {
    type Error = UnknownColumnType;
    fn try_from(text: String) -> Result<Self, UnknownColumnType> {
        text.parse()
    }
}

impl From<ColumnType> for String {
    fn from(column_type: ColumnType) -> String {
        column_type.to_string()
    }
}

/// A value with its type. Its `Display` is the canonical text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// See [`ColumnType::Text`].
    Text(String),
    /// See [`ColumnType::Integer`].
    Integer(i64),
    /// See [`ColumnType::Number`].
    Number(f64),
    /// See [`ColumnType::Decimal`]: the digits without the point, and how many stand after it.
    Decimal(i128, u8),
    /// See [`ColumnType::Boolean`].
    Boolean(bool),
    /// See [`ColumnType::Date`].
    Date(Date),
    /// See [`ColumnType::DateTime`].
    DateTime(DateTime),
    /// See [`ColumnType::Instant`]: the day and time in UTC. Not a `Timestamp`, which ends a day before the calendar does,
    /// and the last moment of 9999-12-31 is how much data says "until further notice".
    Instant(DateTime),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Integer(integer) => integer.fmt(f),
            Value::Number(number) => write_number(f, *number),
            Value::Decimal(digits, scale) => write_decimal(f, *digits, *scale),
            Value::Boolean(boolean) => boolean.fmt(f),
            Value::Date(date) => date.fmt(f),
            Value::DateTime(datetime) => datetime.fmt(f),
            Value::Instant(instant) => write!(f, "{instant}Z"),
        }
    }
}

/// Writes a number as ECMAScript's `Number::toString` does (ECMA-262, 6.1.6.1.20), so that the browser and the server
/// write the same text; but a negative zero keeps its sign, so that the value survives.
pub fn write_number(f: &mut impl fmt::Write, number: f64) -> fmt::Result {
    if number.is_nan() {
        return f.write_str("NaN");
    }
    if number.is_infinite() {
        return f.write_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        // Rust writes the shortest digits that read back as the same number, without an exponent.
        return write!(f, "{number}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => write!(f, "{digits}e+{exponent}"),
        _ => f.write_str(&text),
    }
}

/// Writes a decimal with all its digits after the point.
pub fn write_decimal(f: &mut impl fmt::Write, digits: i128, scale: u8) -> fmt::Result {
    if scale == 0 {
        return write!(f, "{digits}");
    }
    let sign = if digits < 0 { "-" } else { "" };
    let text = format!("{:0width$}", digits.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = text.split_at(text.len() - usize::from(scale));
    write!(f, "{sign}{whole}.{fraction}")
}

/// Why a text is not a value of a column type. The messages are for the person who typed the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The text cannot be read as the type.
    #[error("`{text}` is not {expected}{hint}")]
    NotOfType {
        /// The text, cut if it is long.
        text: String,
        /// What was expected, with its article.
        expected: String,
        /// How to write it, or empty.
        hint: &'static str,
    },
    /// A whole number that does not fit 64 bits.
    #[error("`{text}` is too large: whole numbers go from -9223372036854775808 to 9223372036854775807")]
    IntegerRange { text: String },
    /// A decimal with more digits than the column has.
    #[error("`{text}` has too many digits: {precision} in all, {scale} of them after the point, is the most")]
    DecimalRange { text: String, precision: u8, scale: u8 },
    /// A text longer than [`VALUE_BYTES_MAX`].
    #[error("a text of {bytes} bytes is too long: the longest is {VALUE_BYTES_MAX}")]
    TooLong { bytes: usize },
    /// The column's type cannot be edited.
    #[error("this column has a type that Stet does not edit")]
    NotEditable,
}

impl ColumnType {
    /// Reads a text as a value of this type: canonical text as it stands in logs, and what a person may type for it
    /// (spaces around it, a sign, zeros before it, `yes` for true).
    ///
    /// # Errors
    /// When the text is not a value of this type; the message says how to write one.
    pub fn read(self, text: &str) -> Result<Value, ValueError> {
        if text.len() > VALUE_BYTES_MAX {
            return Err(ValueError::TooLong { bytes: text.len() });
        }
        let trimmed = text.trim();
        match self {
            ColumnType::Text => Ok(Value::Text(text.to_owned())),
            ColumnType::Integer => read_integer(trimmed).map(Value::Integer),
            ColumnType::Number => read_number(trimmed).map(Value::Number),
            ColumnType::Decimal { precision, scale } => {
                read_decimal(trimmed, precision, scale).map(|digits| Value::Decimal(digits, scale))
            }
            ColumnType::Boolean => read_boolean(trimmed).map(Value::Boolean),
            ColumnType::Date => read_date(trimmed).map(Value::Date),
            ColumnType::DateTime => read_datetime(trimmed).map(Value::DateTime),
            ColumnType::Instant => read_instant(trimmed).map(Value::Instant),
            ColumnType::Other => Err(ValueError::NotEditable),
        }
    }

    /// The canonical text of what a person typed. See [`ColumnType::read`].
    pub fn canonical(self, text: &str) -> Result<String, ValueError> {
        self.read(text).map(|value| value.to_string())
    }
}

fn not_of_type(text: &str, column_type: ColumnType, hint: &'static str) -> ValueError {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    ValueError::NotOfType { text: shown, expected: column_type.description(), hint }
}

fn read_integer(text: &str) -> Result<i64, ValueError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(not_of_type(text, ColumnType::Integer, ": write digits only, such as 1200"));
    }
    text.parse().map_err(|_| ValueError::IntegerRange { text: text.chars().take(60).collect() })
}

fn read_number(text: &str) -> Result<f64, ValueError> {
    match text {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(f64::INFINITY),
        "-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let error = || not_of_type(text, ColumnType::Number, ": write it such as 1200.5, without spaces or separators");
    // Rust also reads `inf`, `nan` and `infinity`, which nobody means as numbers in a table.
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')) {
        return Err(error());
    }
    let number: f64 = text.parse().map_err(|_| error())?;
    if number.is_infinite() {
        return Err(not_of_type(text, ColumnType::Number, ": it is too large"));
    }
    Ok(number)
}

fn read_decimal(text: &str, precision: u8, scale: u8) -> Result<i128, ValueError> {
    let column_type = ColumnType::Decimal { precision, scale };
    let error = || not_of_type(text, column_type, ": write it such as 1200.50, without spaces or separators");
    let range = || ValueError::DecimalRange { text: text.chars().take(60).collect(), precision, scale };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(error());
    }
    let kept = fraction.trim_end_matches('0');
    if kept.len() > usize::from(scale) || whole.trim_start_matches('0').len() > usize::from(precision - scale) {
        return Err(range());
    }
    let mut value: i128 = 0;
    let zeros = std::iter::repeat_n(b'0', usize::from(scale) - kept.len());
    for digit in whole.bytes().chain(kept.bytes()).chain(zeros) {
        value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit - b'0'))).ok_or_else(range)?;
    }
    Ok(if negative { -value } else { value })
}

fn read_boolean(text: &str) -> Result<bool, ValueError> {
    const TRUE: [&str; 4] = ["true", "yes", "t", "1"];
    const FALSE: [&str; 4] = ["false", "no", "f", "0"];
    if TRUE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        Ok(true)
    } else if FALSE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        Ok(false)
    } else {
        Err(not_of_type(text, ColumnType::Boolean, ": write true or false"))
    }
}

fn read_date(text: &str) -> Result<Date, ValueError> {
    let error = || not_of_type(text, ColumnType::Date, ": write it as YYYY-MM-DD, such as 2022-12-21");
    // jiff also reads a date from the front of a date and time: half of what was typed would be lost.
    if text.contains(['T', 't', ' ', ':']) {
        return Err(error());
    }
    text.parse().map_err(|_| error())
}

fn read_datetime(text: &str) -> Result<DateTime, ValueError> {
    let error =
        || not_of_type(text, ColumnType::DateTime, ": write it as YYYY-MM-DDThh:mm:ss, such as 2022-12-21T10:00:00");
    let Some((_, time)) = text.split_once(['T', 't', ' ']) else { return Err(error()) };
    // jiff passes over an offset behind the time: the moment that was meant would be lost.
    if text.ends_with(['Z', 'z']) || text.contains(['[', '+']) || time.contains('-') {
        return Err(error());
    }
    text.parse().map_err(|_| error())
}

fn read_instant(text: &str) -> Result<DateTime, ValueError> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(Offset::UTC.to_datetime(timestamp));
    }
    read_instant_at_the_end(text).ok_or_else(|| {
        not_of_type(
            text,
            ColumnType::Instant,
            ": write it as YYYY-MM-DDThh:mm:ssZ, such as 2022-12-21T10:00:00Z, or with +02:00 in place of Z",
        )
    })
}

/// Reads an instant of the first or last day of the calendar, which are beyond `Timestamp`.
fn read_instant_at_the_end(text: &str) -> Option<DateTime> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset()?;
    let local = DateTime::from_parts(pieces.date(), pieces.time()?);
    local.checked_sub(SignedDuration::from_secs(offset.seconds().into())).ok()
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Nanoseconds from 1970-01-01T00:00:00 to this day and time, without regard to zones: for every day of the calendar,
/// from -9999-01-01 to 9999-12-31.
pub fn nanoseconds_of(datetime: DateTime) -> i128 {
    datetime.duration_since(EPOCH).as_nanos()
}

/// The day and time so many nanoseconds after 1970-01-01T00:00:00; none outside the calendar.
pub fn datetime_of(nanoseconds: i128) -> Option<DateTime> {
    const SECOND: i128 = 1_000_000_000;
    let seconds = i64::try_from(nanoseconds.div_euclid(SECOND)).ok()?;
    // Less than a second always fits.
    let rest = i32::try_from(nanoseconds.rem_euclid(SECOND)).ok()?;
    EPOCH.checked_add(SignedDuration::new(seconds, rest)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_type_becomes_canonical_text() {
        for (column_type, typed, canonical) in [
            (ColumnType::Integer, " +007 ", "7"),
            (ColumnType::Integer, "9223372036854775807", "9223372036854775807"),
            (ColumnType::Number, "10.50", "10.5"),
            (ColumnType::Number, "-0", "-0"),
            (ColumnType::Number, "1e21", "1e+21"),
            (ColumnType::Number, "1E-7", "1e-7"),
            (ColumnType::Number, "NaN", "NaN"),
            (ColumnType::Decimal { precision: 5, scale: 2 }, "10.5", "10.50"),
            (ColumnType::Decimal { precision: 5, scale: 2 }, "-.05", "-0.05"),
            (ColumnType::Boolean, "Yes", "true"),
            (ColumnType::Date, "2022-12-21", "2022-12-21"),
            (ColumnType::DateTime, "2022-12-21 10:00", "2022-12-21T10:00:00"),
            (ColumnType::Instant, "2022-12-21T10:00:00+02:00", "2022-12-21T08:00:00Z"),
            (ColumnType::Date, "9999-12-31", "9999-12-31"),
            (ColumnType::DateTime, "9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"),
            (ColumnType::Instant, "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            (ColumnType::Instant, "9999-12-31T01:00:00+02:00", "9999-12-30T23:00:00Z"),
            (ColumnType::Instant, "-009999-01-01T00:00:00Z", "-009999-01-01T00:00:00Z"),
            (ColumnType::Text, " NA ", " NA "),
            (ColumnType::Text, "", ""),
        ] {
            assert_eq!(column_type.canonical(typed).as_deref(), Ok(canonical), "{column_type} {typed:?}");
        }
    }

    #[test]
    fn what_is_not_of_the_type_is_refused() {
        for (column_type, typed) in [
            (ColumnType::Integer, "12.0"),
            (ColumnType::Integer, ""),
            (ColumnType::Integer, "9223372036854775808"),
            (ColumnType::Number, "1 200"),
            (ColumnType::Number, "inf"),
            (ColumnType::Number, "1e999"),
            (ColumnType::Decimal { precision: 5, scale: 2 }, "1.005"),
            (ColumnType::Decimal { precision: 5, scale: 2 }, "1000"),
            (ColumnType::Boolean, "maybe"),
            (ColumnType::Date, "2022-02-30"),
            (ColumnType::Date, "2022-02-03T10:00:00"),
            (ColumnType::DateTime, "2022-02-03T10:00:00Z"),
            (ColumnType::DateTime, "2022-02-03"),
            (ColumnType::DateTime, "2022-02-03T10:00:00-05:00"),
            (ColumnType::DateTime, "2022-02-03 10:00:00-05"),
            (ColumnType::DateTime, "2022-02-03T10:00:00+05:00"),
            (ColumnType::Instant, "2022-02-03T10:00:00"),
            (ColumnType::Instant, "9999-12-31T23:00:00"),
            (ColumnType::Instant, "9999-12-31T23:00:00-02:00"),
            (ColumnType::Other, "x"),
        ] {
            assert!(column_type.read(typed).is_err(), "{column_type} {typed:?}");
        }
    }

    #[test]
    fn a_column_type_reads_back_from_its_name() {
        for name in ["text", "integer", "number", "decimal(38,0)", "boolean", "date", "datetime", "instant"] {
            assert_eq!(name.parse::<ColumnType>().unwrap().to_string(), name);
        }
        assert!("decimal(39,2)".parse::<ColumnType>().is_err());
        assert!("float".parse::<ColumnType>().is_err());
    }

    proptest! {
        #[test]
        fn every_number_survives_its_text(bits: u64) {
            let number = f64::from_bits(bits);
            let text = Value::Number(number).to_string();
            match ColumnType::Number.read(&text).unwrap() {
                Value::Number(back) if number.is_nan() => prop_assert!(back.is_nan()),
                Value::Number(back) => prop_assert_eq!(back.to_bits(), number.to_bits()),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn every_moment_of_the_calendar_survives_as_nanoseconds(day in -4_371_587i64..=2_932_896, second in 0i64..86_400) {
            let nanoseconds = i128::from(day * 86_400 + second) * 1_000_000_000 + 999_999_999;
            let datetime = datetime_of(nanoseconds).unwrap();
            prop_assert_eq!(nanoseconds_of(datetime), nanoseconds);
            let instant = Value::Instant(datetime);
            prop_assert_eq!(ColumnType::Instant.read(&instant.to_string()).unwrap(), instant);
        }

        #[test]
        fn every_decimal_survives_its_text(digits in -99_999_999i128..99_999_999, scale in 0u8..8) {
            let text = Value::Decimal(digits, scale).to_string();
            let column_type = ColumnType::Decimal { precision: 8, scale };
            prop_assert_eq!(column_type.read(&text).unwrap(), Value::Decimal(digits, scale));
        }

        #[test]
        fn no_text_makes_reading_panic(text: String) {
            for column_type in [ColumnType::Integer, ColumnType::Number, ColumnType::Boolean, ColumnType::Date,
                ColumnType::DateTime, ColumnType::Instant, ColumnType::Decimal { precision: 3, scale: 3 }] {
                if let Ok(value) = column_type.read(&text) {
                    prop_assert_eq!(column_type.canonical(&value.to_string()).unwrap(), value.to_string());
                }
            }
        }
    }
}
