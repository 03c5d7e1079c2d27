//! Reading cells out of Arrow arrays.

use std::borrow::Cow;
use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, BooleanArray, Decimal256Array, Float16Array, LargeStringArray, StringArray, StringViewArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use stet_domain::value::{datetime_of, write_decimal, write_number};
use stet_domain::{ColumnType, Value};

use super::column_type_of;
use super::nested::Nested;
use crate::write::push_json_text;

const DAY_MS: i64 = 86_400_000;

/// Decimals of up to so many digits are numbers in JSON: every reader keeps them.
const JSON_NUMBER_DIGITS_MAX: u8 = 15;

/// Reads the cells of one array; the array's type is looked at once, when the reader is made.
pub struct CellReader<'a> {
    array: &'a dyn Array,
    kind: Kind<'a>,
}

/// A cell's value in the form that sorting and ranges compare. Values of one column are always of one variant, null
/// apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Ordered<'a> {
    /// A number with a point; every NaN is the same one, and comes after all numbers.
    Float(f64),
    /// Whole numbers, the digits of decimals, days of dates, nanoseconds of times, and 0 or 1 for booleans.
    Integer(i128),
    /// Text, and the display text of types that Stet does not edit.
    Text(Cow<'a, str>),
    /// An empty cell.
    Null,
}

enum Kind<'a> {
    Null,
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float16(&'a Float16Array),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal32(&'a [i32], u8),
    Decimal64(&'a [i64], u8),
    Decimal128(&'a [i128], u8),
    Decimal256(&'a Decimal256Array, u8),
    Date32(&'a [i32]),
    Date64(&'a [i64]),
    DateTime(&'a [i64], TimeUnit),
    Instant(&'a [i64], TimeUnit),
    Dictionary(Vec<usize>, Box<CellReader<'a>>),
    Nested(Nested<'a>),
    Other(ArrayFormatter<'a>),
    /// A type that Arrow itself cannot write as text; it is shown as its name.
    Unreadable(String),
}

impl<'a> CellReader<'a> {
    /// A reader of an array of any type.
    pub fn new(array: &'a dyn Array) -> CellReader<'a> {
        CellReader { array, kind: Kind::of(array) }
    }

    /// Whether the cell is empty.
    pub fn is_null(&self, row: usize) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Dictionary(keys, values) => self.array.is_null(row) || values.is_null(keys[row]),
            _ => self.array.is_null(row),
        }
    }

    /// The canonical text of the cell; none for null.
    pub fn text(&self, row: usize) -> Option<String> {
        let mut text = String::new();
        self.write(row, &mut text).then_some(text)
    }

    /// Writes the canonical text of the cell at the end of `out`; false and nothing written for null.
    pub fn write(&self, row: usize, out: &mut String) -> bool {
        if self.is_null(row) {
            return false;
        }
        // Writing to a String does not fail.
        let _ = match &self.kind {
            Kind::Null => Ok(()),
            Kind::Dictionary(keys, values) => {
                values.write(keys[row], out);
                Ok(())
            }
            Kind::Text(array) => out.write_str(array.value(row)),
            Kind::LargeText(array) => out.write_str(array.value(row)),
            Kind::TextView(array) => out.write_str(array.value(row)),
            Kind::Boolean(array) => out.write_str(if array.value(row) { "true" } else { "false" }),
            Kind::Int8(values) => write!(out, "{}", values[row]),
            Kind::Int16(values) => write!(out, "{}", values[row]),
            Kind::Int32(values) => write!(out, "{}", values[row]),
            Kind::Int64(values) => write!(out, "{}", values[row]),
            Kind::UInt8(values) => write!(out, "{}", values[row]),
            Kind::UInt16(values) => write!(out, "{}", values[row]),
            Kind::UInt32(values) => write!(out, "{}", values[row]),
            Kind::UInt64(values) => write!(out, "{}", values[row]),
            Kind::Float16(_) | Kind::Float32(_) | Kind::Float64(_) => match self.float(row) {
                Some(number) => write_number(out, number),
                None => Ok(()),
            },
            Kind::Decimal32(values, scale) => write_decimal(out, i128::from(values[row]), *scale),
            Kind::Decimal64(values, scale) => write_decimal(out, i128::from(values[row]), *scale),
            Kind::Decimal128(values, scale) => write_decimal(out, values[row], *scale),
            Kind::Decimal256(array, scale) => match array.value(row).to_i128() {
                Some(digits) => write_decimal(out, digits, *scale),
                None => out.write_str(&array.value_as_string(row)),
            },
            Kind::Date32(_) | Kind::Date64(_) | Kind::DateTime(..) | Kind::Instant(..) => match self.value(row) {
                Some(value) => write!(out, "{value}"),
                None => self.write_beyond_calendar(row, out),
            },
            Kind::Nested(nested) => {
                nested.write_json(row, out);
                Ok(())
            }
            Kind::Other(formatter) => {
                let before = out.len();
                if formatter.value(row).write(out).is_err() {
                    out.truncate(before);
                    out.push('?');
                }
                Ok(())
            }
            Kind::Unreadable(name) => write!(out, "({name})"),
        };
        true
    }

    /// Writes the cell as JSON. Numbers that JSON has none for, and decimals of more than
    /// 15 digits, which many readers would round, are texts.
    pub fn write_json(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            return out.push_str("null");
        }
        let is_bare = match &self.kind {
            Kind::Dictionary(keys, values) => return values.write_json(keys[row], out),
            Kind::Nested(nested) => return nested.write_json(row, out),
            Kind::Float16(_) | Kind::Float32(_) | Kind::Float64(_) => self.float(row).is_some_and(f64::is_finite),
            _ => match column_type_of(self.array.data_type()) {
                ColumnType::Integer | ColumnType::Boolean => true,
                ColumnType::Decimal { precision, .. } => precision <= JSON_NUMBER_DIGITS_MAX,
                _ => false,
            },
        };
        if is_bare {
            self.write(row, out);
        } else if let Some(text) = self.str(row) {
            push_json_text(out, text);
        } else {
            push_json_text(out, &self.text(row).unwrap_or_default());
        }
    }

    /// The typed value of the cell; none for null, for types that Stet does not edit, and for times beyond the calendar
    /// (years before -9999 or after 9999).
    pub fn value(&self, row: usize) -> Option<Value> {
        if self.is_null(row) {
            return None;
        }
        Some(match &self.kind {
            Kind::Null | Kind::Nested(_) | Kind::Other(_) | Kind::Unreadable(_) => return None,
            Kind::Dictionary(keys, values) => return values.value(keys[row]),
            Kind::Text(array) => Value::Text(array.value(row).to_owned()),
            Kind::LargeText(array) => Value::Text(array.value(row).to_owned()),
            Kind::TextView(array) => Value::Text(array.value(row).to_owned()),
            Kind::Boolean(array) => Value::Boolean(array.value(row)),
            Kind::Int8(values) => Value::Integer(values[row].into()),
            Kind::Int16(values) => Value::Integer(values[row].into()),
            Kind::Int32(values) => Value::Integer(values[row].into()),
            Kind::Int64(values) => Value::Integer(values[row]),
            Kind::UInt8(values) => Value::Integer(values[row].into()),
            Kind::UInt16(values) => Value::Integer(values[row].into()),
            Kind::UInt32(values) => Value::Integer(values[row].into()),
            Kind::UInt64(values) => Value::Decimal(values[row].into(), 0),
            Kind::Float16(_) | Kind::Float32(_) | Kind::Float64(_) => Value::Number(self.float(row)?),
            Kind::Decimal32(values, scale) => Value::Decimal(values[row].into(), *scale),
            Kind::Decimal64(values, scale) => Value::Decimal(values[row].into(), *scale),
            Kind::Decimal128(values, scale) => Value::Decimal(values[row], *scale),
            Kind::Decimal256(array, scale) => Value::Decimal(array.value(row).to_i128()?, *scale),
            Kind::Date32(values) => Value::Date(date_of_day(values[row].into())?),
            Kind::Date64(values) => Value::Date(date_of_day(values[row].div_euclid(DAY_MS))?),
            Kind::DateTime(values, unit) => Value::DateTime(time_of(values[row], *unit)?),
            Kind::Instant(values, unit) => Value::Instant(time_of(values[row], *unit)?),
        })
    }

    /// The cell's value in the form that sorting and ranges compare.
    pub fn ordered(&self, row: usize) -> Ordered<'a> {
        if self.is_null(row) {
            return Ordered::Null;
        }
        match &self.kind {
            Kind::Null => Ordered::Null,
            Kind::Dictionary(keys, values) => values.ordered(keys[row]),
            Kind::Text(array) => Ordered::Text(Cow::Borrowed(array.value(row))),
            Kind::LargeText(array) => Ordered::Text(Cow::Borrowed(array.value(row))),
            Kind::TextView(array) => Ordered::Text(Cow::Borrowed(array.value(row))),
            Kind::Float16(_) | Kind::Float32(_) | Kind::Float64(_) => {
                self.float(row).map_or(Ordered::Null, |number| Ordered::Float(one_nan(number)))
            }
            Kind::Boolean(array) => Ordered::Integer(array.value(row).into()),
            Kind::Int8(values) => Ordered::Integer(values[row].into()),
            Kind::Int16(values) => Ordered::Integer(values[row].into()),
            Kind::Int32(values) => Ordered::Integer(values[row].into()),
            Kind::Int64(values) => Ordered::Integer(values[row].into()),
            Kind::UInt8(values) => Ordered::Integer(values[row].into()),
            Kind::UInt16(values) => Ordered::Integer(values[row].into()),
            Kind::UInt32(values) => Ordered::Integer(values[row].into()),
            Kind::UInt64(values) => Ordered::Integer(values[row].into()),
            Kind::Decimal32(values, _) => Ordered::Integer(values[row].into()),
            Kind::Decimal64(values, _) => Ordered::Integer(values[row].into()),
            Kind::Decimal128(values, _) => Ordered::Integer(values[row]),
            Kind::Decimal256(array, _) => match array.value(row).to_i128() {
                Some(digits) => Ordered::Integer(digits),
                // Only damaged data: the precision of such a column is 38 at most.
                None => Ordered::Null,
            },
            Kind::Date32(values) => Ordered::Integer(values[row].into()),
            Kind::Date64(values) => Ordered::Integer(values[row].div_euclid(DAY_MS).into()),
            Kind::DateTime(values, unit) | Kind::Instant(values, unit) => {
                Ordered::Integer(i128::from(values[row]) * nanoseconds_in(*unit))
            }
            Kind::Nested(_) | Kind::Other(_) | Kind::Unreadable(_) => {
                self.text(row).map_or(Ordered::Null, |text| Ordered::Text(Cow::Owned(text)))
            }
        }
    }

    /// The text of the cell without copying it, when the array holds text; none for null and for other types.
    pub fn str(&self, row: usize) -> Option<&'a str> {
        if self.is_null(row) {
            return None;
        }
        match &self.kind {
            Kind::Text(array) => Some(array.value(row)),
            Kind::LargeText(array) => Some(array.value(row)),
            Kind::TextView(array) => Some(array.value(row)),
            Kind::Dictionary(keys, values) => values.str(keys[row]),
            _ => None,
        }
    }

    fn float(&self, row: usize) -> Option<f64> {
        match &self.kind {
            Kind::Float16(array) => Some(array.value(row).to_f64()),
            Kind::Float32(values) => Some(shortest(values[row])),
            Kind::Float64(values) => Some(values[row]),
            _ => None,
        }
    }

    fn write_beyond_calendar(&self, row: usize, out: &mut String) -> std::fmt::Result {
        match &self.kind {
            Kind::Date32(values) => write!(out, "day {} after 1970-01-01", values[row]),
            Kind::Date64(values) => write!(out, "day {} after 1970-01-01", values[row].div_euclid(DAY_MS)),
            Kind::DateTime(values, unit) | Kind::Instant(values, unit) => {
                let unit = match unit {
                    TimeUnit::Second => "second",
                    TimeUnit::Millisecond => "millisecond",
                    TimeUnit::Microsecond => "microsecond",
                    TimeUnit::Nanosecond => "nanosecond",
                };
                write!(out, "{unit} {} after 1970-01-01", values[row])
            }
            _ => Ok(()),
        }
    }
}

impl<'a> Kind<'a> {
    fn of(array: &'a dyn Array) -> Kind<'a> {
        let data_type = array.data_type();
        match data_type {
            DataType::Null => Kind::Null,
            DataType::Utf8 => Kind::Text(array.as_string()),
            DataType::LargeUtf8 => Kind::LargeText(array.as_string()),
            DataType::Utf8View => Kind::TextView(array.as_string_view()),
            DataType::Boolean => Kind::Boolean(array.as_boolean()),
            DataType::Int8 => Kind::Int8(array.as_primitive::<Int8Type>().values()),
            DataType::Int16 => Kind::Int16(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => Kind::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Int64 => Kind::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::UInt8 => Kind::UInt8(array.as_primitive::<UInt8Type>().values()),
            DataType::UInt16 => Kind::UInt16(array.as_primitive::<UInt16Type>().values()),
            DataType::UInt32 => Kind::UInt32(array.as_primitive::<UInt32Type>().values()),
            DataType::UInt64 => Kind::UInt64(array.as_primitive::<UInt64Type>().values()),
            DataType::Float16 => Kind::Float16(array.as_primitive::<Float16Type>()),
            DataType::Float32 => Kind::Float32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Kind::Float64(array.as_primitive::<Float64Type>().values()),
            DataType::Date32 => Kind::Date32(array.as_primitive::<Date32Type>().values()),
            DataType::Date64 => Kind::Date64(array.as_primitive::<Date64Type>().values()),
            DataType::Timestamp(unit, zone) => {
                let values: &[i64] = match unit {
                    TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                    TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
                    TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
                    TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
                };
                if zone.is_some() { Kind::Instant(values, *unit) } else { Kind::DateTime(values, *unit) }
            }
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                // With no values every key is null, and the keys cannot be made indices.
                if dictionary.values().is_empty() {
                    return Kind::Null;
                }
                Kind::Dictionary(dictionary.normalized_keys(), Box::new(CellReader::new(dictionary.values().as_ref())))
            }
            _ => match (column_type_of(data_type), data_type) {
                (ColumnType::Decimal { scale, .. }, DataType::Decimal32(..)) => {
                    Kind::Decimal32(array.as_primitive::<Decimal32Type>().values(), scale)
                }
                (ColumnType::Decimal { scale, .. }, DataType::Decimal64(..)) => {
                    Kind::Decimal64(array.as_primitive::<Decimal64Type>().values(), scale)
                }
                (ColumnType::Decimal { scale, .. }, DataType::Decimal128(..)) => {
                    Kind::Decimal128(array.as_primitive::<Decimal128Type>().values(), scale)
                }
                (ColumnType::Decimal { scale, .. }, DataType::Decimal256(..)) => {
                    Kind::Decimal256(array.as_primitive::<Decimal256Type>(), scale)
                }
                _ => match Nested::of(array) {
                    Some(nested) => Kind::Nested(nested),
                    None => match ArrayFormatter::try_new(array, &FormatOptions::default()) {
                        Ok(formatter) => Kind::Other(formatter),
                        Err(_) => Kind::Unreadable(data_type.to_string()),
                    },
                },
            },
        }
    }
}

/// The number of 64 bits whose shortest text is the shortest text of this number of 32 bits, so that `0.1` is shown and
/// edited as `0.1`, not as `0.10000000149011612`.
pub(super) fn shortest(number: f32) -> f64 {
    if number.is_finite() { number.to_string().parse().unwrap_or(f64::from(number)) } else { f64::from(number) }
}

/// Gives every NaN the one form that sorts after all numbers.
pub(crate) fn one_nan(number: f64) -> f64 {
    if number.is_nan() { f64::NAN.abs() } else { number }
}

pub(super) fn nanoseconds_in(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn date_of_day(day: i64) -> Option<jiff::civil::Date> {
    datetime_of(i128::from(day) * i128::from(DAY_MS) * nanoseconds_in(TimeUnit::Millisecond)).map(|time| time.date())
}

fn time_of(value: i64, unit: TimeUnit) -> Option<jiff::civil::DateTime> {
    datetime_of(i128::from(value) * nanoseconds_in(unit))
}
