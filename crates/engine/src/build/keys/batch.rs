//! The keys of a batch of rows, by their cells: texts are made only where an error lists them.

use std::error::Error;
use std::hash::BuildHasher;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Date64Type, Int64Type};
use arrow_array::{Array, Date32Array, Int64Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use stet_domain::Key;

use super::{Part, STATE, combine, hash_text};
use crate::cell::CellReader;
use crate::error::EngineError;

const DAY_MS: i64 = 86_400_000;

/// The keys of the rows of one batch.
pub(in crate::build) struct BatchKeys<'a> {
    pub(super) columns: Vec<KeyColumn<'a>>,
    /// The hash of each row's key; meaningless for a row of `nulls`.
    pub(in crate::build) hashes: Vec<u64>,
    /// Rows of which a key column is null, in order.
    pub(in crate::build) nulls: Vec<usize>,
}

pub(super) enum KeyColumn<'a> {
    /// Whole numbers, and dates as their days since 1970-01-01.
    Integer(Int64Array, IntegerKind),
    /// Any other type, and whether the array has nulls.
    Other(CellReader<'a>, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntegerKind {
    Number,
    Day,
}

impl<'a> BatchKeys<'a> {
    /// Looks at the key columns of a batch, whose places are given.
    pub(in crate::build) fn new(batch: &'a RecordBatch, places: &[usize]) -> Result<BatchKeys<'a>, EngineError> {
        let rows = batch.num_rows();
        let mut keys =
            BatchKeys { columns: Vec::with_capacity(places.len()), hashes: vec![0; rows], nulls: Vec::new() };
        let mut text = String::new();
        for place in places {
            let array = batch.column(*place);
            let column = KeyColumn::new(array.as_ref())?;
            match &column {
                KeyColumn::Integer(array, _) => {
                    for (hash, integer) in keys.hashes.iter_mut().zip(array.values()) {
                        *hash = combine(*hash, STATE.hash_one(*integer));
                    }
                }
                KeyColumn::Other(reader, _) => {
                    for (row, hash) in keys.hashes.iter_mut().enumerate() {
                        let part = match reader.str(row) {
                            Some(text) => hash_text(text),
                            None => {
                                text.clear();
                                reader.write(row, &mut text);
                                hash_text(&text)
                            }
                        };
                        *hash = combine(*hash, part);
                    }
                }
            }
            keys.columns.push(column);
        }
        if keys.columns.iter().any(KeyColumn::has_nulls) {
            keys.nulls = (0..rows).filter(|row| keys.columns.iter().any(|column| column.is_null(*row))).collect();
        }
        Ok(keys)
    }

    /// The key of a row.
    pub(in crate::build) fn key(&self, row: usize) -> Key {
        let parts: Vec<String> = self.columns.iter().map(|column| column.text(row)).collect();
        Key::from_parts(&parts)
    }

    /// The values of a key column of whole numbers (or dates) without nulls: rows whose values in it differ have different
    /// keys, whatever the other columns hold.
    pub(super) fn integers(&self) -> Option<&[i64]> {
        self.columns.iter().find_map(|column| match column {
            KeyColumn::Integer(array, _) if array.null_count() == 0 => Some(&**array.values()),
            _ => None,
        })
    }
}

impl<'a> KeyColumn<'a> {
    fn new(array: &'a dyn Array) -> Result<KeyColumn<'a>, EngineError> {
        let failed = |source| EngineError::Internal {
            action: "reading key columns",
            source: Box::<dyn Error + Send + Sync>::from(source),
        };
        let mut exact = array.data_type();
        while let DataType::Dictionary(_, values) = exact {
            exact = values;
        }
        let is_day = matches!(exact, DataType::Date32 | DataType::Date64);
        if !is_day && (!exact.is_integer() || *exact == DataType::UInt64) {
            return Ok(KeyColumn::Other(CellReader::new(array), array.logical_null_count() > 0));
        }
        let plain = cast(array, exact).map_err(failed)?;
        Ok(match exact {
            DataType::Date32 => {
                let days = plain.as_primitive::<Date32Type>();
                KeyColumn::Integer(days.unary(i64::from), IntegerKind::Day)
            }
            DataType::Date64 => {
                let times = plain.as_primitive::<Date64Type>();
                KeyColumn::Integer(times.unary(|time| time.div_euclid(DAY_MS)), IntegerKind::Day)
            }
            _ => {
                let wide = cast(&plain, &DataType::Int64).map_err(failed)?;
                KeyColumn::Integer(wide.as_primitive::<Int64Type>().clone(), IntegerKind::Number)
            }
        })
    }

    fn has_nulls(&self) -> bool {
        match self {
            KeyColumn::Integer(array, _) => array.null_count() > 0,
            KeyColumn::Other(_, has_nulls) => *has_nulls,
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            KeyColumn::Integer(array, _) => array.is_null(row),
            KeyColumn::Other(reader, _) => reader.is_null(row),
        }
    }

    /// Whether the cell of a row is a part of a key.
    pub(super) fn is(&self, row: usize, part: &Part<'_>) -> bool {
        match (self, part) {
            (KeyColumn::Integer(array, _), Part::Integer(integer)) => {
                array.is_valid(row) && array.value(row) == *integer
            }
            (KeyColumn::Other(reader, _), Part::Text(text)) => match reader.str(row) {
                Some(own) => own == *text,
                None => reader.text(row).is_some_and(|own| own == *text),
            },
            _ => false,
        }
    }

    fn text(&self, row: usize) -> String {
        match self {
            KeyColumn::Integer(array, IntegerKind::Number) => array.value(row).to_string(),
            KeyColumn::Integer(array, IntegerKind::Day) => {
                let day = i32::try_from(array.value(row)).unwrap_or(i32::MAX);
                crate::cell::text(&Date32Array::from_value(day, 1), 0).unwrap_or_default()
            }
            KeyColumn::Other(reader, _) => reader.text(row).unwrap_or_default(),
        }
    }
}
