//! Values as Parquet stores them, one behind the other, and as Arrow arrays.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray, StringArray, StringViewArray, make_array};
use arrow_buffer::{MutableBuffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, TimeUnit as ArrowUnit};
use bytes::Bytes;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::schema::types::ColumnDescriptor;

/// How the values of a column lie in a page that holds them as they are, and how they are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Int32,
    Int64,
    Float,
    Double,
    Text,
}

impl Form {
    /// The form of a column, when its Arrow values are the very bytes that Parquet stores; none for others.
    pub(super) fn of(data_type: &DataType, descriptor: &ColumnDescriptor) -> Option<Form> {
        let logical = descriptor.logical_type_ref();
        let is_plain = logical.is_none() && matches!(descriptor.converted_type(), ConvertedType::NONE);
        let is_integer = |bits: i8| match logical {
            Some(LogicalType::Integer(integer)) => integer.is_signed && integer.bit_width == bits,
            _ => is_plain || matches!(descriptor.converted_type(), ConvertedType::INT_32 | ConvertedType::INT_64),
        };
        match (data_type, descriptor.physical_type()) {
            (DataType::Int32, PhysicalType::INT32) if is_integer(32) => Some(Form::Int32),
            (DataType::Int64, PhysicalType::INT64) if is_integer(64) => Some(Form::Int64),
            (DataType::Date32, PhysicalType::INT32) if descriptor.converted_type() == ConvertedType::DATE => {
                Some(Form::Int32)
            }
            (DataType::Timestamp(unit, _), PhysicalType::INT64) => {
                let stored = match logical {
                    Some(LogicalType::Timestamp(timestamp)) => match timestamp.unit {
                        TimeUnit::MILLIS => ArrowUnit::Millisecond,
                        TimeUnit::MICROS => ArrowUnit::Microsecond,
                        TimeUnit::NANOS => ArrowUnit::Nanosecond,
                    },
                    _ => match descriptor.converted_type() {
                        ConvertedType::TIMESTAMP_MILLIS => ArrowUnit::Millisecond,
                        ConvertedType::TIMESTAMP_MICROS => ArrowUnit::Microsecond,
                        _ => return None,
                    },
                };
                (stored == *unit).then_some(Form::Int64)
            }
            (DataType::Float32, PhysicalType::FLOAT) if is_plain => Some(Form::Float),
            (DataType::Float64, PhysicalType::DOUBLE) if is_plain => Some(Form::Double),
            (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, PhysicalType::BYTE_ARRAY) => Some(Form::Text),
            _ => None,
        }
    }

    /// The bytes of each value; none of texts.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Form::Int32 | Form::Float => Some(4),
            Form::Int64 | Form::Double => Some(8),
            Form::Text => None,
        }
    }

    /// What a value takes where it stands as it is.
    pub(super) fn plain_bytes(self, value: &[u8]) -> usize {
        value.len() + if self == Form::Text { 4 } else { 0 }
    }

    /// Writes a value as it is.
    pub(super) fn put(self, value: &[u8], bytes: &mut Vec<u8>) {
        if self == Form::Text {
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        }
        bytes.extend_from_slice(value);
    }

    /// Whether a value is the special number that is none, which no smallest or largest value is.
    pub(super) fn is_nan(self, value: &[u8]) -> bool {
        match self {
            Form::Float => f32::from_le_bytes(array(value)).is_nan(),
            Form::Double => f64::from_le_bytes(array(value)).is_nan(),
            _ => false,
        }
    }

    /// The order of two values of which none [`Form::is_nan`].
    pub(super) fn compare(self, one: &[u8], other: &[u8]) -> Ordering {
        match self {
            Form::Int32 => i32::from_le_bytes(array(one)).cmp(&i32::from_le_bytes(array(other))),
            Form::Int64 => i64::from_le_bytes(array(one)).cmp(&i64::from_le_bytes(array(other))),
            Form::Float => f32::from_le_bytes(array(one)).total_cmp(&f32::from_le_bytes(array(other))),
            Form::Double => f64::from_le_bytes(array(one)).total_cmp(&f64::from_le_bytes(array(other))),
            Form::Text => one.cmp(other),
        }
    }
}

fn array<const N: usize>(value: &[u8]) -> [u8; N] {
    value.try_into().unwrap_or([0; N])
}

/// Values that stand one behind the other in a page or a dictionary.
pub(super) struct Values {
    bytes: Bytes,
    width: Option<usize>,
    /// Where texts end; the next one begins four bytes later.
    ends: Vec<u32>,
    count: usize,
}

impl Values {
    /// Looks through `count` values; none when there are fewer.
    pub(super) fn read(bytes: Bytes, form: Form, count: usize) -> Option<Values> {
        let mut ends = Vec::new();
        match form.width() {
            Some(width) => {
                if count.checked_mul(width)? > bytes.len() {
                    return None;
                }
            }
            None => {
                u32::try_from(bytes.len()).ok()?;
                let mut at = 0usize;
                // Each text takes four bytes at least.
                ends.reserve(count.min(bytes.len() / 4));
                for _ in 0..count {
                    let length = bytes.get(at..at.checked_add(4)?)?;
                    at = at.checked_add(4)?.checked_add(u32::from_le_bytes(array(length)) as usize)?;
                    if at > bytes.len() {
                        return None;
                    }
                    ends.push(at as u32);
                }
            }
        }
        Some(Values { bytes, width: form.width(), ends, count })
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, place: usize) -> &[u8] {
        match self.width {
            Some(width) => &self.bytes[place * width..(place + 1) * width],
            None => {
                let start = place.checked_sub(1).map_or(0, |before| self.ends[before] as usize) + 4;
                &self.bytes[start..self.ends[place] as usize]
            }
        }
    }

    /// All of them as they stand.
    pub(super) fn plain(&self) -> &[u8] {
        let end = match self.width {
            Some(width) => self.count * width,
            None => self.ends.last().map_or(0, |end| *end as usize),
        };
        &self.bytes[..end]
    }
}

/// CellValues that were taken out of arrays or pages.
#[derive(Default)]
pub(in crate::build::apply::chunks) struct CellValues {
    bytes: Vec<u8>,
    /// Where each ends, and whether it is null.
    ends: Vec<(usize, bool)>,
}

impl CellValues {
    /// The cells of an array of a type that has a [`Form`].
    pub(in crate::build::apply::chunks) fn of(array: &dyn Array) -> CellValues {
        let mut cells = CellValues::default();
        let nulls = array.nulls();
        let is_null = |row: usize| nulls.is_some_and(|nulls| nulls.is_null(row));
        macro_rules! texts {
            ($texts:expr) => {{
                let texts = $texts;
                (0..array.len()).for_each(|row| cells.push((!is_null(row)).then(|| texts.value(row).as_bytes())));
            }};
        }
        match array.data_type() {
            DataType::Utf8 => texts!(array.as_string::<i32>()),
            DataType::LargeUtf8 => texts!(array.as_string::<i64>()),
            DataType::Utf8View => texts!(array.as_string_view()),
            data_type => {
                let width = data_type.primitive_width().unwrap_or(0);
                let data = array.to_data();
                let values = data.buffers().first().map_or(&[][..], |buffer| buffer.as_slice());
                for row in 0..array.len() {
                    let start = (data.offset() + row) * width;
                    cells.push((!is_null(row)).then(|| &values[start..start + width]));
                }
            }
        }
        cells
    }

    pub(in crate::build::apply::chunks) fn push(&mut self, value: Option<&[u8]>) {
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.ends.push((self.bytes.len(), value.is_none()));
    }

    pub(in crate::build::apply::chunks) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(in crate::build::apply::chunks) fn get(&self, place: usize) -> Option<&[u8]> {
        let (end, is_null) = self.ends[place];
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before].0);
        (!is_null).then(|| &self.bytes[start..end])
    }

    /// The cells as an array.
    ///
    /// # Errors
    /// What is wrong with them: texts have to be UTF-8.
    pub(super) fn array(&self, data_type: &DataType) -> Result<ArrayRef, String> {
        let texts = || {
            (0..self.len())
                .map(|place| self.get(place).map(std::str::from_utf8).transpose())
                .collect::<Result<Vec<Option<&str>>, _>>()
                .map_err(|error| error.to_string())
        };
        Ok(match data_type {
            DataType::Utf8 => Arc::new(StringArray::from(texts()?)),
            DataType::LargeUtf8 => Arc::new(LargeStringArray::from(texts()?)),
            DataType::Utf8View => Arc::new(StringViewArray::from(texts()?)),
            data_type => {
                let width = data_type.primitive_width().ok_or("a type without a width")?;
                let mut values = MutableBuffer::with_capacity(self.len() * width);
                for place in 0..self.len() {
                    match self.get(place) {
                        Some(value) => values.extend_from_slice(value),
                        None => values.extend_zeros(width),
                    }
                }
                let nulls: NullBuffer = self.ends.iter().map(|(_, is_null)| !is_null).collect();
                let data = ArrayData::builder(data_type.clone())
                    .len(self.len())
                    .add_buffer(values.into())
                    .nulls(Some(nulls))
                    .build()
                    .map_err(|error| error.to_string())?;
                make_array(data)
            }
        })
    }
}
