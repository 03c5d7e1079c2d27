//! Rows of a touched row group that come and go with new events: which of its rows the present output lacks, and which the
//! new one will lack.

use std::collections::BTreeSet;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, new_empty_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::filter::filter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use stet_domain::replay::Replay;

use super::group::{Hit, Work, in_file_order};
use super::sink::Place;
use crate::build::apply::rows::arrow_error;
use crate::build::keys::BatchKeys;
use crate::error::EngineError;
use crate::read::parquet::guarded;

/// Rows of a row group of the original that are not in the output, by their numbers, in order.
#[derive(Default)]
pub(super) struct Shift {
    /// Those that the present output lacks.
    pub(super) before: Vec<u32>,
    /// Those that the new one will lack.
    pub(super) after: Vec<u32>,
}

impl Shift {
    /// Finds out for a touched row group; none when the output is not what the log says of the touched rows.
    pub(super) fn of(
        work: &Work<'_>,
        original: Place<'_>,
        own: Place<'_>,
        hits: &[Hit],
        replay_before: &Replay,
    ) -> Result<Option<Shift>, EngineError> {
        let before = if original.group.rows == own.group.rows {
            Vec::new()
        } else {
            let Some(before) = lacking(work, original, own)? else { return Ok(None) };
            before
        };
        let mut after: BTreeSet<u32> = before.iter().copied().collect();
        for hit in hits {
            let (key, state) = work.index.row(hit.known as usize);
            let was_deleted = replay_before.row(key).is_some_and(|row| row.deleted);
            if was_deleted != before.binary_search(&hit.row).is_ok() {
                return Ok(None);
            }
            if state.deleted {
                after.insert(hit.row);
            } else {
                after.remove(&hit.row);
            }
        }
        Ok(Some(Shift { before, after: after.into_iter().collect() }))
    }

    /// Whether all rows are in the output, before and after.
    pub(super) fn is_none(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Whether a row comes into the output.
    pub(super) fn comes(&self, row: u32) -> bool {
        self.before.binary_search(&row).is_ok() && self.after.binary_search(&row).is_err()
    }

    /// Whether a row will not be in the output.
    pub(super) fn lacks(&self, row: u32) -> bool {
        self.after.binary_search(&row).is_ok()
    }
}

/// The rows of a row group that the present output lacks, from the keys of both: rows stay in their order, and each has a
/// key of its own. None when the output has other rows.
fn lacking(work: &Work<'_>, original: Place<'_>, own: Place<'_>) -> Result<Option<Vec<u32>>, EngineError> {
    let places = &work.plan.keys.places;
    let (all, left) = (keys_of(work, original)?, keys_of(work, own)?);
    let place_in = |place: Place<'_>| in_file_order(place.file, places);
    let (all_places, left_places) = (place_in(original), place_in(own));
    let mut lacking = Vec::new();
    {
        let (all, left) = (BatchKeys::new(&all, &all_places)?, BatchKeys::new(&left, &left_places)?);
        let mut next = left.hashes.iter().peekable();
        for (row, hash) in all.hashes.iter().enumerate() {
            if next.next_if_eq(&hash).is_none() {
                lacking.push(row as u32);
            }
        }
        if next.next().is_some() {
            return Ok(None);
        }
    }
    // Hashes only tell where to look: the keys themselves have to be the same.
    let mut kept = vec![true; all.num_rows()];
    lacking.iter().for_each(|row| kept[*row as usize] = false);
    let kept = BooleanArray::from(kept);
    for (all_place, left_place) in all_places.into_iter().zip(left_places) {
        let expected = filter(all.column(all_place), &kept).map_err(arrow_error)?;
        if expected.as_ref() != left.column(left_place).as_ref() {
            return Ok(None);
        }
    }
    Ok(Some(lacking))
}

fn keys_of(work: &Work<'_>, place: Place<'_>) -> Result<RecordBatch, EngineError> {
    let rows = place.group.rows;
    let batch = work.batch_of(place, &work.plan.keys.places)?;
    if batch.num_rows() == rows {
        Ok(batch)
    } else {
        Err(work.damaged_in(place, &"it has other rows than its metadata says"))
    }
}

/// The rows of one column, so many at a time as are asked for.
pub(super) struct Rows {
    reader: ParquetRecordBatchReader,
    data_type: DataType,
    rest: Option<ArrayRef>,
}

impl Rows {
    pub(super) fn new(reader: ParquetRecordBatchReader, data_type: DataType) -> Rows {
        Rows { reader, data_type, rest: None }
    }

    /// The next rows; fewer at the end.
    ///
    /// # Errors
    /// The text of what is wrong with the file.
    pub(super) fn take(&mut self, count: usize) -> Result<ArrayRef, String> {
        let (mut parts, mut wanted) = (Vec::new(), count);
        while wanted > 0
            && let Some(array) = self.next()?
        {
            let here = wanted.min(array.len());
            parts.push(array.slice(0, here));
            if here < array.len() {
                self.rest = Some(array.slice(here, array.len() - here));
            }
            wanted -= here;
        }
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
        match parts.is_empty() {
            true => Ok(new_empty_array(&self.data_type)),
            false => concat(&parts).map_err(|error| error.to_string()),
        }
    }

    fn next(&mut self) -> Result<Option<ArrayRef>, String> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        match guarded(|| self.reader.next()).unwrap_or_else(|what| Some(Err(what))) {
            Some(batch) => Ok(Some(batch.map_err(|error| error.to_string())?.column(0).clone())),
            None => Ok(None),
        }
    }
}
