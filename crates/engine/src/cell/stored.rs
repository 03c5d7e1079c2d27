//! What a column of an exact Arrow type makes of a value.

use std::borrow::Cow;

use arrow_array::ArrowPrimitiveType;
use arrow_array::types::Float16Type;
use arrow_schema::{DataType, TimeUnit};
use stet_domain::Value;
use stet_domain::value::nanoseconds_of;

use super::reader::{nanoseconds_in, one_nan, shortest};
use super::{Ordered, column_type_of};

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// The value as a column of this type holds it: rounded for floating-point types of 16 and 32 bits, unchanged else. None
/// when the column cannot hold it: a whole number out of the range of a narrow type, a time with more digits of a second
/// than the type has, a value of another type. The live table and builds count such an override as a misfit.
pub fn stored(data_type: &DataType, value: Value) -> Option<Value> {
    match (data_type, value) {
        (DataType::Dictionary(_, values), value) => stored(values, value),
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, Value::Text(text)) => Some(Value::Text(text)),
        (DataType::Int64, Value::Integer(integer)) => Some(Value::Integer(integer)),
        (DataType::Int8, Value::Integer(integer)) => ranged(integer, i8::MIN.into(), i8::MAX.into()),
        (DataType::Int16, Value::Integer(integer)) => ranged(integer, i16::MIN.into(), i16::MAX.into()),
        (DataType::Int32, Value::Integer(integer)) => ranged(integer, i32::MIN.into(), i32::MAX.into()),
        (DataType::UInt8, Value::Integer(integer)) => ranged(integer, 0, u8::MAX.into()),
        (DataType::UInt16, Value::Integer(integer)) => ranged(integer, 0, u16::MAX.into()),
        (DataType::UInt32, Value::Integer(integer)) => ranged(integer, 0, u32::MAX.into()),
        (DataType::UInt64, Value::Decimal(digits, 0)) => u64::try_from(digits).ok().map(|_| Value::Decimal(digits, 0)),
        (DataType::Float64, Value::Number(number)) => Some(Value::Number(number)),
        (DataType::Float32, Value::Number(number)) => {
            let narrow = number as f32;
            (narrow.is_infinite() == number.is_infinite()).then(|| Value::Number(shortest(narrow)))
        }
        (DataType::Float16, Value::Number(number)) => {
            let narrow = F16::from_f64(number);
            (narrow.is_infinite() == number.is_infinite()).then(|| Value::Number(narrow.to_f64()))
        }
        (
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..),
            Value::Decimal(digits, scale),
        ) => match column_type_of(data_type) {
            stet_domain::ColumnType::Decimal { precision, scale: own } if own == scale => {
                (digits.unsigned_abs() < 10u128.pow(precision.into())).then_some(Value::Decimal(digits, scale))
            }
            _ => None,
        },
        (DataType::Boolean, Value::Boolean(boolean)) => Some(Value::Boolean(boolean)),
        (DataType::Date32 | DataType::Date64, Value::Date(date)) => Some(Value::Date(date)),
        (DataType::Timestamp(unit, None), Value::DateTime(datetime)) => {
            whole_units(nanoseconds_of(datetime), nanoseconds_in(*unit))?;
            Some(Value::DateTime(datetime))
        }
        (DataType::Timestamp(unit, Some(_)), Value::Instant(instant)) => {
            whole_units(nanoseconds_of(instant), nanoseconds_in(*unit))?;
            Some(Value::Instant(instant))
        }
        _ => None,
    }
}

/// What a column of this exact type holds, for a message about a value that [`stored`] gave none for.
pub(crate) fn holding(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Dictionary(_, values) => holding(values),
        DataType::Int8 => "whole numbers from -128 to 127",
        DataType::Int16 => "whole numbers from -32768 to 32767",
        DataType::Int32 => "whole numbers from -2147483648 to 2147483647",
        DataType::UInt8 => "whole numbers from 0 to 255",
        DataType::UInt16 => "whole numbers from 0 to 65535",
        DataType::UInt32 => "whole numbers from 0 to 4294967295",
        DataType::UInt64 => "whole numbers from 0 to 18446744073709551615",
        DataType::Float16 => "numbers up to 65504",
        DataType::Float32 => "numbers up to 3.4e38",
        DataType::Timestamp(TimeUnit::Second, _) => "times without parts of a second",
        DataType::Timestamp(TimeUnit::Millisecond, _) => "times with at most 3 digits after the second",
        DataType::Timestamp(TimeUnit::Microsecond, _) => "times with at most 6 digits after the second",
        DataType::Timestamp(TimeUnit::Nanosecond, _) => "times between the years 1678 and 2261",
        _ => "other values",
    }
}

fn ranged(integer: i64, min: i64, max: i64) -> Option<Value> {
    (min..=max).contains(&integer).then_some(Value::Integer(integer))
}

pub(super) fn whole_units(nanoseconds: i128, unit: i128) -> Option<i64> {
    (nanoseconds % unit == 0).then(|| i64::try_from(nanoseconds / unit).ok()).flatten()
}

/// Days since 1970-01-01.
pub(super) fn day_of(date: jiff::civil::Date) -> i64 {
    // Midnight is a whole number of days, of which the calendar has a few million.
    date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24
}

/// A value in the form that sorting and ranges compare: the same as [`super::CellReader::ordered`] gives for a column
/// of the value's type.
pub fn ordered_value(value: &Value) -> Ordered<'_> {
    match value {
        Value::Text(text) => Ordered::Text(Cow::Borrowed(text)),
        Value::Integer(integer) => Ordered::Integer((*integer).into()),
        Value::Number(number) => Ordered::Float(one_nan(*number)),
        Value::Decimal(digits, _) => Ordered::Integer(*digits),
        Value::Boolean(boolean) => Ordered::Integer((*boolean).into()),
        Value::Date(date) => Ordered::Integer(day_of(*date).into()),
        Value::DateTime(time) | Value::Instant(time) => Ordered::Integer(nanoseconds_of(*time)),
    }
}
