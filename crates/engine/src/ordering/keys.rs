//! Sort keys: for each cell a number of 64 bits that orders as the cells do, as far as it goes.
//!
//! Most pairs of rows are told apart by them without looking at the cells again. Equal keys say nothing, unless
//! [`is_exact`] does.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, OffsetSizeTrait};
use arrow_schema::{DataType, TimeUnit};
use stet_domain::ColumnType;

use super::order_number;
use super::text::{folded_bytes, folded_prefix};
use crate::cell::{CellReader, Ordered, one_nan};

/// The key of empty cells, which come after all others whichever the direction.
pub(crate) const EMPTY: u64 = u64::MAX;

/// Whether a cell with this key is equal only to cells with the same key; `text` for columns of texts.
pub(crate) fn is_exact(key: u64, text: bool) -> bool {
    // Numbers beyond 64 bits are cut to the first and the last key, which they share.
    !text && key != 0 && key != EMPTY
}

/// Whether cells of the type are ordered as texts.
pub(crate) fn is_text(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Text | ColumnType::Other)
}

/// The key of one cell.
pub(crate) fn key_of(value: &Ordered<'_>, text: bool, descending: bool) -> u64 {
    let key = match value {
        Ordered::Null => return EMPTY,
        Ordered::Text(cell) if text => folded_prefix(cell),
        // What is not of the column's type comes after what is.
        Ordered::Text(_) => u64::MAX,
        number => {
            let number = order_number(number).unwrap_or(i128::MAX);
            lifted(cut(number))
        }
    };
    if descending { !key } else { key }
}

/// Whether [`write_keys`] makes the keys of arrays of this type without looking at each cell by itself.
pub(crate) fn has_quick_keys(data_type: &DataType) -> bool {
    let is_number = data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64);
    let is_decimal = matches!(data_type, DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..));
    let is_time = matches!(data_type, DataType::Date32 | DataType::Timestamp(..));
    is_number || is_decimal || is_time || has_further_keys(data_type)
}

/// Whether cells of this type have a [`further_key`].
pub(crate) fn has_further_keys(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8)
}

/// Writes the keys of all cells of an array.
pub(crate) fn write_keys(array: &dyn Array, text: bool, descending: bool, keys: &mut Vec<u64>) {
    keys.clear();
    keys.reserve(array.len());
    match array.data_type() {
        DataType::Utf8 => text_keys::<i32>(array, keys),
        DataType::LargeUtf8 => text_keys::<i64>(array, keys),
        DataType::Int8 => numbers::<Int8Type>(array, keys, |number| lifted(number.into())),
        DataType::Int16 => numbers::<Int16Type>(array, keys, |number| lifted(number.into())),
        DataType::Int32 => numbers::<Int32Type>(array, keys, |number| lifted(number.into())),
        DataType::Int64 => numbers::<Int64Type>(array, keys, lifted),
        DataType::UInt8 => numbers::<UInt8Type>(array, keys, |number| lifted(number.into())),
        DataType::UInt16 => numbers::<UInt16Type>(array, keys, |number| lifted(number.into())),
        DataType::UInt32 => numbers::<UInt32Type>(array, keys, |number| lifted(number.into())),
        DataType::UInt64 => numbers::<UInt64Type>(array, keys, |number| lifted(number.min(i64::MAX as u64) as i64)),
        DataType::Float32 => numbers::<Float32Type>(array, keys, |number| float_key(number.into())),
        DataType::Float64 => numbers::<Float64Type>(array, keys, float_key),
        DataType::Date32 => numbers::<Date32Type>(array, keys, |number| lifted(number.into())),
        // Times are compared in nanoseconds; those beyond 64 bits share the first or the last key.
        DataType::Timestamp(TimeUnit::Second, _) => {
            numbers::<TimestampSecondType>(array, keys, |number| lifted(number.saturating_mul(1_000_000_000)));
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            numbers::<TimestampMillisecondType>(array, keys, |number| lifted(number.saturating_mul(1_000_000)));
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(array, keys, |number| lifted(number.saturating_mul(1_000)));
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => numbers::<TimestampNanosecondType>(array, keys, lifted),
        DataType::Decimal32(..) => numbers::<Decimal32Type>(array, keys, |number| lifted(number.into())),
        DataType::Decimal64(..) => numbers::<Decimal64Type>(array, keys, lifted),
        DataType::Decimal128(..) => numbers::<Decimal128Type>(array, keys, |number| lifted(cut(number))),
        _ => {
            let reader = CellReader::new(array);
            keys.extend((0..array.len()).map(|row| key_of(&reader.ordered(row), text, descending)));
            return;
        }
    }
    if descending {
        keys.iter_mut().for_each(|key| *key = !*key);
    }
    if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
        for (row, key) in keys.iter_mut().enumerate() {
            if nulls.is_null(row) {
                *key = EMPTY;
            }
        }
    }
}

/// The key of what comes after the first eight bytes of a value that is a text; see [`further_key`].
pub(crate) fn further_key_of(value: &Ordered<'_>, text: bool, descending: bool) -> u64 {
    let key = match value {
        Ordered::Null => return EMPTY,
        Ordered::Text(cell) if text => folded_bytes(cell, 1),
        _ => return 0,
    };
    if descending { !key } else { key }
}

/// The key of what comes after the first eight bytes of a text: it orders cells with equal keys, as far as it goes.
pub(crate) fn further_key(array: &dyn Array, place: usize, descending: bool) -> u64 {
    let key = match array.data_type() {
        _ if array.is_null(place) => return EMPTY,
        DataType::Utf8 => folded_bytes(array.as_string::<i32>().value(place), 1),
        DataType::LargeUtf8 => folded_bytes(array.as_string::<i64>().value(place), 1),
        _ => return 0,
    };
    if descending { !key } else { key }
}

fn numbers<T: ArrowPrimitiveType>(array: &dyn Array, keys: &mut Vec<u64>, key: impl Fn(T::Native) -> u64) {
    keys.extend(array.as_primitive::<T>().values().iter().map(|number| key(*number)));
}

fn text_keys<O: OffsetSizeTrait>(array: &dyn Array, keys: &mut Vec<u64>) {
    let array = array.as_string::<O>();
    let bytes = array.value_data();
    keys.extend(array.value_offsets().windows(2).enumerate().map(|(row, ends)| {
        let (start, end) = (ends[0].as_usize(), ends[1].as_usize());
        // Most often there are eight bytes to be read at once, be they of the next cell.
        let head = match bytes.get(start..start + 8).and_then(|head| <[u8; 8]>::try_from(head).ok()) {
            Some(head) => u64::from_be_bytes(head),
            None => {
                let mut head = [0u8; 8];
                let length = (end - start).min(8);
                head[..length].copy_from_slice(&bytes[start..start + length]);
                u64::from_be_bytes(head)
            }
        };
        let head = if end - start < 8 { head & !(u64::MAX >> (8 * (end - start))) } else { head };
        if head & HIGH_BITS == 0 { lower_ascii(head) } else { folded_prefix(array.value(row)) }
    }));
}

const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Eight ASCII characters in lower case, all at once.
fn lower_ascii(bytes: u64) -> u64 {
    let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
    // No byte is above 0x7f, so none of the sums reaches into the next byte.
    let from_a = bytes + each(0x80 - b'A');
    let after_z = bytes + each(0x80 - b'Z' - 1);
    let upper = (from_a & !after_z) & HIGH_BITS;
    bytes + (upper >> 2)
}

/// The nearest number of 64 bits.
fn cut(number: i128) -> i64 {
    number.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Moves a signed number so that it orders as an unsigned one.
fn lifted(number: i64) -> u64 {
    (number as u64) ^ (1 << 63)
}

fn float_key(number: f64) -> u64 {
    let bits = one_nan(number).to_bits() as i64;
    lifted(bits ^ ((((bits >> 63) as u64) >> 1) as i64))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, Decimal32Array, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    };

    use super::*;
    use crate::ordering::compare_values;

    fn check(array: ArrayRef, text: bool) {
        let reader = CellReader::new(array.as_ref());
        for descending in [false, true] {
            let mut keys = Vec::new();
            write_keys(array.as_ref(), text, descending, &mut keys);
            for a in 0..array.len() {
                assert_eq!(keys[a], key_of(&reader.ordered(a), text, descending));
                for b in 0..array.len() {
                    let order = compare_values(&reader.ordered(a), &reader.ordered(b), descending);
                    let further = |row| if text { further_key(array.as_ref(), row, descending) } else { 0 };
                    match keys[a].cmp(&keys[b]).then_with(|| further(a).cmp(&further(b))) {
                        std::cmp::Ordering::Equal if !is_exact(keys[a], text) => {}
                        of_keys => assert_eq!(of_keys, order, "row {a} and {b}"),
                    }
                }
            }
        }
    }

    #[test]
    fn keys_order_as_the_cells_do() {
        check(
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(-1), None, Some(0), Some(7), Some(i64::MAX)])),
            false,
        );
        check(Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None, Some(1 << 63), Some(5)])), false);
        let floats = [-0.0, 0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5, -1.5];
        check(Arc::new(Float64Array::from_iter(floats.into_iter().map(Some).chain([None]))), false);
        check(
            Arc::new(Decimal128Array::from(vec![
                Some(i128::from(i64::MAX) * 4),
                None,
                Some(-3),
                Some(i128::MAX / 100),
            ])),
            false,
        );
        check(Arc::new(Decimal32Array::from(vec![Some(5), None, Some(i32::MIN), Some(0), Some(i32::MAX)])), false);
        // Seconds and milliseconds reach beyond 64 bits of nanoseconds, where keys tell nothing.
        let times = [Some(0), Some(-1), None, Some(i64::MAX), Some(i64::MIN), Some(1_700_000_000), Some(i64::MAX - 1)];
        check(Arc::new(TimestampSecondArray::from(times.to_vec())), false);
        check(Arc::new(TimestampMillisecondArray::from(times.to_vec())), false);
        check(Arc::new(TimestampMicrosecondArray::from(times.to_vec())), false);
        check(Arc::new(TimestampNanosecondArray::from(times.to_vec())), false);
        let texts = [
            "",
            "a",
            "A",
            "Ab",
            "aBcdefgh",
            "ABCDEFGHi",
            "abcdefgh",
            "zZ[`{@",
            "é",
            "Éa",
            "abcdefgé",
            "ABCDEFGHIJ",
            "abcdefghijé",
            "abcdefghÉ",
            "abcdefghik and further",
            "abcdefghik and farther",
            "\0\0\0\0\0\0\0\0a",
            "İİİİ",
            "ß",
            "\0",
            "İ",
            "z",
        ];
        check(Arc::new(StringArray::from_iter(texts.into_iter().map(Some).chain([None, Some("end")]))), true);
    }
}
