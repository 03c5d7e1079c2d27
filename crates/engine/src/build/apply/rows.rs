//! Edits on batches of original rows.

use std::cell::OnceCell;

use arrow_array::{Array, ArrayRef, BooleanArray, make_array, new_null_array};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_data::transform::MutableArrayData;
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;
use arrow_select::interleave::interleave;
use stet_domain::Value;
use stet_domain::apply::{Apply, ApplyReport, ReportItem, ReportList, RowOutcome, Standing, standing};
use stet_domain::replay::{CellState, ColumnIndex, Override, Replay, RowState};

use super::Plan;
use crate::build::keys::{BatchKeys, KeyIndex};
use crate::build::{list, misfit_reason, uncount};
use crate::cell::{Appender, CellReader, stored};
use crate::error::EngineError;

/// Makes edited rows of original ones, and keeps the account.
pub(super) struct Editor<'a> {
    pub(super) plan: &'a Plan,
    pub(super) index: &'a KeyIndex<'a>,
    pub(super) rules: Apply<'a>,
    /// For each row of the index whether the original has it; empty for an editor whose account another one absorbs.
    pub(super) matched: Vec<bool>,
    /// Values that fit the column's type, but not its exact form in the file (a number too large for 32 bits): the rules
    /// count them as applied, so they are taken out of the account in the end.
    narrow_misfits: Vec<(Standing, ReportItem)>,
    /// Created rows that cannot be in the output.
    pub(super) lost_rows: ReportList,
}

/// The account of a part of the rows, which goes into that of the whole.
pub(super) struct Tally {
    report: ApplyReport,
    narrow_misfits: Vec<(Standing, ReportItem)>,
}

/// The overrides of one column in one batch.
pub(super) struct Overlay {
    rows: Vec<usize>,
    values: Appender,
}

impl<'a> Editor<'a> {
    pub(super) fn new(replay: &'a Replay, plan: &'a Plan, index: &'a KeyIndex<'a>) -> Editor<'a> {
        Editor {
            plan,
            index,
            rules: Apply::new(replay, &plan.editable),
            matched: vec![false; index.len()],
            narrow_misfits: Vec::new(),
            lost_rows: ReportList::default(),
        }
    }

    /// An editor of a part of the rows, whose account another one absorbs.
    pub(super) fn part(&self) -> Editor<'a> {
        Editor {
            plan: self.plan,
            index: self.index,
            rules: Apply::new(self.rules.replay(), &self.plan.editable),
            matched: Vec::new(),
            narrow_misfits: Vec::new(),
            lost_rows: ReportList::default(),
        }
    }

    /// The rows of the log that a batch has: row of the batch, and row of the index.
    fn hits(&self, keys: &BatchKeys<'_>) -> Vec<(usize, usize)> {
        self.index.hits(keys)
    }

    /// The edited rows of a batch of the original, with the columns of the output.
    pub(super) fn edit(&mut self, batch: &RecordBatch, keys: &BatchKeys<'_>) -> Result<RecordBatch, EngineError> {
        let hits = self.hits(keys);
        let mut overlays: Vec<Option<Overlay>> = (0..self.plan.editable.len()).map(|_| None).collect();
        let mut deleted = Vec::new();
        {
            let readers: Vec<OnceCell<CellReader<'_>>> = self.plan.places.iter().map(|_| OnceCell::new()).collect();
            for (row, known) in hits {
                let (key, state) = self.index.row(known);
                self.matched[known] = true;
                let original = |place: usize| {
                    let column = self.plan.places[place];
                    if column >= self.plan.original_width {
                        return None;
                    }
                    readers[place].get_or_init(|| CellReader::new(batch.column(column).as_ref())).text(row)
                };
                match self.rules.original_row(key, state, original) {
                    RowOutcome::Deleted => deleted.push(row),
                    RowOutcome::Cells(cells) => {
                        for (place, value) in self.keep_fitting(key, state, cells, original) {
                            overlay(&mut overlays, self.plan, place).push(row, value);
                        }
                    }
                }
            }
        }
        let edited = self.assemble(batch, overlays)?;
        if deleted.is_empty() {
            return Ok(edited);
        }
        let mut kept = vec![true; batch.num_rows()];
        for row in deleted {
            kept[row] = false;
        }
        filter_record_batch(&edited, &BooleanArray::from(kept)).map_err(arrow_error)
    }

    /// Takes one override of an original row: the value for the column's array; none when it cannot be applied.
    pub(super) fn cell(
        &mut self,
        key: &str,
        column: ColumnIndex,
        cell: CellState<'_>,
        overriding: Override<'_>,
        original: impl Fn() -> Option<String>,
    ) -> Option<Option<Value>> {
        let (place, value) = self.rules.cell(key, column, cell, overriding, |_| original())?;
        if self.fits(place, &value) {
            return Some(value);
        }
        self.narrow_misfit(key, place, cell, overriding, original().as_deref());
        None
    }

    /// Leaves out the values that the exact types of the columns cannot hold.
    pub(super) fn keep_fitting(
        &mut self,
        key: &str,
        state: RowState<'_>,
        cells: Vec<(usize, Option<Value>)>,
        original: impl Fn(usize) -> Option<String>,
    ) -> Vec<(usize, Option<Value>)> {
        if cells.iter().all(|(place, value)| self.fits(*place, value)) {
            return cells;
        }
        let mut kept = Vec::with_capacity(cells.len());
        for (place, value) in cells {
            if self.fits(place, &value) {
                kept.push((place, value));
                continue;
            }
            let column = self.rules.replay().column(&self.plan.editable[place].name);
            let Some(cell) = column.and_then(|column| state.cell(column)) else { continue };
            let Some(overriding) = cell.overriding else { continue };
            self.narrow_misfit(key, place, cell, overriding, original(place).as_deref());
        }
        kept
    }

    fn fits(&self, place: usize, value: &Option<Value>) -> bool {
        match value {
            None => true,
            Some(value) => stored(self.plan.data_type(place), value.clone()).is_some(),
        }
    }

    fn narrow_misfit(
        &mut self,
        key: &str,
        place: usize,
        cell: CellState<'_>,
        overriding: Override<'_>,
        original: Option<&str>,
    ) {
        let editable = &self.plan.editable[place];
        let item = ReportItem {
            event: cell.event,
            key: key.to_owned(),
            column: Some(editable.name.clone()),
            value: overriding.value.map(str::to_owned),
            reason: format!("{} ({} in the file)", misfit_reason(editable.column_type), self.plan.data_type(place)),
        };
        self.narrow_misfits.push((standing(overriding, original), item));
    }

    /// What the editor of a part of the rows has in its account.
    pub(super) fn tally(self) -> Tally {
        Tally { report: self.rules.finish(), narrow_misfits: self.narrow_misfits }
    }

    /// Takes over what an editor of other rows of the same original has in its account.
    pub(super) fn absorb(&mut self, other: Tally) {
        self.rules.absorb(other.report);
        self.narrow_misfits.extend(other.narrow_misfits);
    }

    /// The account, once every row was taken.
    pub(super) fn finish(mut self) -> ApplyReport {
        let mut missing: Vec<usize> = (0..self.index.len()).filter(|known| !self.matched[*known]).collect();
        self.index.sort_by_last_event(&mut missing);
        for known in missing {
            let (key, state) = self.index.row(known);
            self.rules.missing_row(key, state);
        }
        self.account()
    }

    /// The account of the rows that were taken.
    pub(super) fn account(self) -> ApplyReport {
        let mut report = self.rules.finish();
        let lost_beyond_list = self.lost_rows.count - self.lost_rows.items.len() as u64;
        for (standing, item) in self.narrow_misfits {
            uncount(&mut report, standing);
            list(&mut report.misfits, item);
        }
        for item in self.lost_rows.items {
            list(&mut report.misfits, item);
        }
        report.misfits.count += lost_beyond_list;
        for items in [&mut report.orphans, &mut report.misfits, &mut report.not_editable] {
            ReportList::sort(items);
        }
        report
    }

    /// Takes an original row as a whole: whether it is dropped, and its overrides of columns that are not editable.
    pub(super) fn whole_row(&mut self, key: &str, state: RowState<'_>) -> bool {
        if self.rules.row(state) {
            return true;
        }
        for (column, cell, overriding) in state.overrides() {
            if self.rules.place(column).is_none() {
                self.cell(key, column, cell, overriding, || None);
            }
        }
        false
    }

    /// The columns of the output: the original's with the overrides laid over them, and the added ones.
    fn assemble(&self, batch: &RecordBatch, mut overlays: Vec<Option<Overlay>>) -> Result<RecordBatch, EngineError> {
        let mut columns = batch.columns().to_vec();
        for field in &self.plan.schema.fields()[self.plan.original_width..] {
            columns.push(new_null_array(field.data_type(), batch.num_rows()));
        }
        for (place, overlay) in overlays.iter_mut().enumerate() {
            if let Some(overlay) = overlay {
                let column = &mut columns[self.plan.places[place]];
                *column = overlay.over(column)?;
            }
        }
        record_batch(self.plan, columns, batch.num_rows())
    }
}

impl Plan {
    /// The exact type of an editable column.
    pub(super) fn data_type(&self, place: usize) -> &DataType {
        self.schema.field(self.places[place]).data_type()
    }
}

fn overlay<'o>(overlays: &'o mut [Option<Overlay>], plan: &Plan, place: usize) -> &'o mut Overlay {
    overlays[place].get_or_insert_with(|| Overlay::new(plan.data_type(place)))
}

impl Overlay {
    /// No overrides yet for a column of this type.
    pub(super) fn new(data_type: &DataType) -> Overlay {
        Overlay { rows: Vec::new(), values: Appender::new(data_type, 16) }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the next override; rows come in order.
    pub(super) fn push(&mut self, row: usize, value: Option<Value>) {
        if self.values.append(value) {
            self.rows.push(row);
        }
    }

    /// The column with the overrides in it.
    pub(super) fn over(&mut self, column: &ArrayRef) -> Result<ArrayRef, EngineError> {
        let values = self.values.finish()?;
        if matches!(column.data_type(), DataType::Dictionary(..)) {
            // Two dictionaries have to be merged, which copying of runs does not do.
            let mut sources: Vec<(usize, usize)> = (0..column.len()).map(|row| (0, row)).collect();
            for (value, row) in self.rows.iter().enumerate() {
                sources[*row] = (1, value);
            }
            return interleave(&[column.as_ref(), values.as_ref()], &sources).map_err(arrow_error);
        }
        let (old, new) = (column.to_data(), values.to_data());
        let mut merged = MutableArrayData::new(vec![&old, &new], true, column.len());
        let mut from = 0;
        for (value, row) in self.rows.iter().enumerate() {
            if from < *row {
                merged.try_extend(0, from, *row).map_err(arrow_error)?;
            }
            merged.try_extend(1, value, value + 1).map_err(arrow_error)?;
            from = row + 1;
        }
        if from < column.len() {
            merged.try_extend(0, from, column.len()).map_err(arrow_error)?;
        }
        Ok(make_array(merged.freeze()))
    }
}

/// The array without room for nulls when it has none: with that room, the writer of Parquet cuts the same values into other
/// pages, and what an output's bytes are must come of its values alone.
pub(super) fn without_room_for_nulls(array: ArrayRef) -> Result<ArrayRef, EngineError> {
    if array.nulls().is_none_or(|nulls| nulls.null_count() > 0) {
        return Ok(array);
    }
    let data = array.to_data();
    let mut copied = MutableArrayData::new(vec![&data], false, data.len());
    copied.try_extend(0, 0, data.len()).map_err(arrow_error)?;
    Ok(make_array(copied.freeze()))
}

pub(super) fn record_batch(plan: &Plan, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, EngineError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(plan.schema.clone(), columns, &options).map_err(arrow_error)
}

pub(super) fn arrow_error(source: arrow_schema::ArrowError) -> EngineError {
    EngineError::Internal { action: "making edited rows", source: Box::new(source) }
}
