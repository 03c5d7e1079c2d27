//! Going on from an earlier output: only the chunks that new events touch are written anew.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_select::interleave::interleave;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::compute_leaves;
use stet_domain::Value;
use stet_domain::apply::{ApplyReport, ReportList};
use stet_domain::project::{CsvForm, Format};
use stet_domain::replay::{Replay, RowState};

use super::Opened;
use super::group::{Chunk, Hit, Known, Work};
use super::layout::{Group, OutputColumn, groups_of};
use super::sink::{Origin, Place, Sink};
use crate::build::apply::rows::{Editor, Overlay, arrow_error};
use crate::build::keys::KeyFilters;
use crate::cell::CellReader;
use crate::control::Control;
use crate::error::EngineError;
use crate::manifest::OutputParts;
use crate::read::FileSource;
use crate::read::parquet::{ParquetFile, damaged, guarded, open_all};
use crate::write::{Output, is_folder, parquet_error};

const BATCH_ROWS: usize = 16 * 1024;

/// The build that the present output was made by.
pub(in crate::build::apply) struct Earlier<'a> {
    /// The touched rows of the log as they were then.
    pub(in crate::build::apply) before: &'a Replay,
    pub(in crate::build::apply) parts: &'a OutputParts,
    pub(in crate::build::apply) report: &'a ApplyReport,
    pub(in crate::build::apply) output: &'a Path,
    /// Where to look for keys first.
    pub(in crate::build::apply) filters: Option<KeyFilters>,
}

/// An output that was gone on from.
pub(in crate::build::apply) struct Patched {
    pub(in crate::build::apply) output: Output,
    pub(in crate::build::apply) report: ApplyReport,
    pub(in crate::build::apply) parts: OutputParts,
}

/// Writes the present output with the touched rows as they are now, and gives the whole account; none when that cannot be.
pub(in crate::build::apply) fn patch(
    opened: &Opened,
    source: &FileSource,
    editor: &mut Editor<'_>,
    earlier: &Earlier<'_>,
    control: &Control,
) -> Result<Option<Patched>, EngineError> {
    let layout = &opened.layout;
    let (plan, index) = (editor.plan, editor.index);
    let whole = |row: RowState<'_>| row.deleted || row.created.is_some();
    if index.rows().any(|(_, row)| whole(row)) || earlier.before.rows().any(|(_, row)| whole(row)) {
        return Ok(None);
    }
    // The first items of a longer list do not tell what the list is without some of them.
    let is_cut = |list: &ReportList| list.count != list.items.len() as u64;
    let report = earlier.report;
    if is_cut(&report.orphans) || is_cut(&report.misfits) || is_cut(&report.not_editable) {
        return Ok(None);
    }
    let Some(present) = Present::open(opened, editor, earlier)? else { return Ok(None) };

    let rows_done = AtomicU64::new(0);
    let work = Work {
        source,
        layout,
        plan,
        index,
        control,
        column_threads: 1,
        rows_total: layout.groups.iter().map(|group| group.rows as u64).sum(),
        rows_done: &rows_done,
    };
    let (found, left) = find(&work, &earlier.filters, control)?;
    let touched = found.iter().filter(|hits| !hits.is_empty()).count();
    let shifts = |place: usize| earlier.parts.groups[place].rows_in != earlier.parts.groups[place].rows_out;
    if touched * 2 > layout.groups.len().max(2)
        || (0..found.len()).any(|place| !found[place].is_empty() && shifts(place))
    {
        return Ok(None);
    }

    let mut before = Editor::new(earlier.before, plan, index);
    let mut after = editor.part();
    let mut groups = earlier.parts.groups.clone();
    let mut sink = Sink::new(Output::create(earlier.output, Format::Parquet)?, layout)?;
    for (place, group) in present.groups.iter().enumerate() {
        control.check()?;
        let own = Place { source: &present.source, file: &present.files[group.file], group };
        let touched = present.original_of[place].filter(|group| !found[*group].is_empty());
        let Some(touched) = touched else {
            if !sink.keep(&earlier.parts.files[group.file])? {
                let chunks = (0..layout.descriptor.num_columns()).map(Chunk::Copy).collect();
                sink.write(Origin { own, original: own }, group.rows, chunks)?;
            }
            continue;
        };
        let original = &layout.groups[touched];
        let overrides = &mut groups[touched].overrides;
        let mut chunks = Vec::with_capacity(layout.descriptor.num_columns());
        for column in &layout.columns {
            let patch = Patch { work: &work, earlier, column, original, own, hits: &found[touched] };
            match patch.chunks(&mut before, &mut after, overrides)? {
                Some(changed) => chunks.extend(changed),
                None => chunks.extend(column.leaves.clone().map(Chunk::Copy)),
            }
        }
        let original = Place { source, file: &layout.files[original.file], group: original };
        sink.write(Origin { own, original }, group.rows, chunks)?;
    }
    for hit in found.iter().flatten() {
        let (key, state) = index.row(hit.known as usize);
        after.whole_row(key, state);
        if let Some(state) = earlier.before.row(key) {
            before.whole_row(key, state);
        }
    }
    for known in left {
        let (key, state) = index.row(known);
        after.rules.missing_row(key, state);
        if let Some(state) = earlier.before.row(key) {
            before.rules.missing_row(key, state);
        }
    }
    let Some(report) = exchanged(report, before.account(), after.account()) else { return Ok(None) };
    let parts = OutputParts { groups, files: Vec::new(), ..earlier.parts.clone() };
    Ok(Some(Patched { output: sink.finish()?, report, parts }))
}

/// Finds the rows of the log in the row groups of the original: the rows of each, and those that are in none.
fn find(
    work: &Work<'_>,
    filters: &Option<KeyFilters>,
    control: &Control,
) -> Result<(Vec<Vec<Hit>>, Vec<usize>), EngineError> {
    let (groups, index) = (&work.layout.groups, work.index);
    let mut found: Vec<Vec<Hit>> = groups.iter().map(|_| Vec::new()).collect();
    let mut is_searched = vec![false; groups.len()];
    let hashes: Vec<Option<u64>> = (0..index.len()).map(|known| index.hash(known)).collect();
    let mut left: Vec<usize> = (0..index.len()).collect();
    index.sort_by_last_event(&mut left);
    // First where the filters say; what is not there, because they are not or are damaged, everywhere else.
    for filters in [filters.as_ref(), None] {
        for (place, group) in groups.iter().enumerate() {
            control.check()?;
            let statistics = work.key_statistics(group);
            let may_be_here = |known: &usize| {
                let Some(hash) = hashes[*known] else { return false };
                index.may_be_in(*known, &statistics) && filters.is_none_or(|filters| filters.may_have(place, hash))
            };
            if is_searched[place] || !left.iter().any(may_be_here) {
                continue;
            }
            is_searched[place] = true;
            let (_, hits) = work.find(group)?;
            // A key is that of one row only, so a row that was found is looked for no more.
            let here: HashSet<usize> = hits.iter().map(|hit| hit.known as usize).collect();
            left.retain(|known| !here.contains(known));
            found[place] = hits;
        }
    }
    Ok((found, left))
}

/// The present output, opened.
struct Present {
    source: FileSource,
    files: Vec<ParquetFile>,
    groups: Vec<Group>,
    /// For each of its row groups the one of the original that it was made of; none for created rows.
    original_of: Vec<Option<usize>>,
}

impl Present {
    /// None when the file does not lie as the manifest says or as a build would write it now.
    fn open(opened: &Opened, editor: &Editor<'_>, earlier: &Earlier<'_>) -> Result<Option<Present>, EngineError> {
        let layout = &opened.layout;
        let path = earlier.output.to_owned();
        let source = FileSource {
            dataset: "output".into(),
            path,
            format: Format::Parquet,
            csv: CsvForm::default(),
            columns: None,
        };
        let paths = earlier.parts.files.iter().map(|file| file.print.path.clone()).collect();
        let Ok((schema, files)) = open_all(&source, paths) else { return Ok(None) };
        let is_folder = is_folder(earlier.output);
        let is_same_schema = schema.fields() == editor.plan.schema.fields()
            && files.iter().all(|file| file.metadata.parquet_schema().columns() == layout.descriptor.columns());
        let groups = groups_of(&files);
        let mut original_of = Vec::with_capacity(groups.len());
        let stamps = &earlier.parts.groups;
        let is_same_original = stamps.iter().map(|stamp| stamp.rows_in).eq(layout.groups.iter().map(|g| g.rows as u64));
        for (place, stamp) in stamps.iter().enumerate() {
            if stamp.rows_out > 0 {
                if groups.get(original_of.len()).is_none_or(|group| group.rows as u64 != stamp.rows_out) {
                    return Ok(None);
                }
                original_of.push(Some(place));
            }
        }
        let created: u64 = groups.iter().skip(original_of.len()).map(|group| group.rows as u64).sum();
        original_of.resize(groups.len(), None);
        // In a folder every row group is a file, so that one can be kept without another.
        let is_parted = !is_folder || files.iter().all(|file| file.metadata.metadata().num_row_groups() == 1);
        if !is_same_schema || !is_same_original || !is_parted || created != earlier.parts.rows_created {
            return Ok(None);
        }
        Ok(Some(Present { source, files, groups, original_of }))
    }
}

/// One column of one touched row group.
struct Patch<'a, 'w> {
    work: &'a Work<'w>,
    earlier: &'a Earlier<'a>,
    column: &'a OutputColumn,
    /// The row group in the original.
    original: &'a Group,
    /// The row group in the present output.
    own: Place<'a>,
    hits: &'a [Hit],
}

/// What is to be done with one cell: the override's value, or the original's value again.
enum Cell {
    Set(Option<Value>),
    Restore,
}

/// The cells of a column in touched rows, by the rows' numbers, and how many of them had and have an override.
struct Cells {
    cells: Vec<(u32, Cell)>,
    had: u64,
    has: u64,
}

impl<'w> Patch<'_, 'w> {
    /// The new leaves of the column, with the overrides as they were and as they are taken into the accounts and counted;
    /// none when no touched row has, or had, an override in it.
    fn chunks(
        &self,
        before: &mut Editor<'_>,
        after: &mut Editor<'w>,
        overrides: &mut BTreeMap<String, u64>,
    ) -> Result<Option<Vec<Chunk>>, EngineError> {
        let Some(place) = self.column.editable else { return Ok(None) };
        let name = &self.work.plan.editable[place].name;
        let Cells { cells, had, has } = self.cells(name, before, after)?;
        if had + has == 0 {
            return Ok(None);
        }
        let count = overrides.get(name).copied().unwrap_or(0).saturating_sub(had) + has;
        if count > 0 {
            overrides.insert(name.clone(), count);
            return self.encode(place, &cells).map(Some);
        }
        overrides.remove(name);
        // Its last override is gone: the column becomes what it is where nobody ever edited it.
        let nothing = vec![0; self.work.plan.editable.len()];
        let (chunks, _) =
            self.work.column(self.original, self.column, &nothing, (&Known::default(), &[]), &[], after)?;
        let from_original = |chunk| match chunk {
            Chunk::Copy(leaf) => Chunk::CopyOriginal(leaf),
            other => other,
        };
        Ok(Some(chunks.into_iter().map(from_original).collect()))
    }

    /// What becomes of the cells of the column in touched rows, in order of the rows.
    fn cells(&self, name: &str, before: &mut Editor<'_>, after: &mut Editor<'w>) -> Result<Cells, EngineError> {
        let work = self.work;
        let (old, new) = (self.earlier.before.column(name), after.rules.replay().column(name));
        let had = |hit: &Hit| {
            let (key, _) = work.index.row(hit.known as usize);
            let (column, row) = (old?, self.earlier.before.row(key)?);
            let cell = row.cell(column)?;
            Some((key, column, cell, cell.overriding?))
        };
        let has = |hit: &Hit| {
            let (key, row) = work.index.row(hit.known as usize);
            let column = new?;
            let cell = row.cell(column)?;
            Some((key, column, cell, cell.overriding?))
        };
        let touched: Vec<&Hit> = self.hits.iter().filter(|hit| had(hit).is_some() || has(hit).is_some()).collect();
        let rows: Vec<u32> = touched.iter().map(|hit| hit.row).collect();
        let originals = match self.column.original {
            Some(original) if !rows.is_empty() => Some(work.rows_of(self.original, original, &rows)?),
            _ => None,
        };
        let reader = originals.as_ref().map(|array| CellReader::new(array.as_ref()));
        let (mut cells, mut had_count, mut has_count) = (Vec::with_capacity(touched.len()), 0, 0);
        for (at, hit) in touched.into_iter().enumerate() {
            let text = || reader.as_ref()?.text(at);
            if let Some((key, column, cell, value)) = had(hit) {
                had_count += 1;
                before.cell(key, column, cell, value, text);
            }
            let value = has(hit).and_then(|(key, column, cell, value)| {
                has_count += 1;
                after.cell(key, column, cell, value, text)
            });
            cells.push((hit.row, value.map_or(Cell::Restore, Cell::Set)));
        }
        Ok(Cells { cells, had: had_count, has: has_count })
    }

    /// Writes the column of the present output anew with other values in some cells.
    fn encode(&self, place: usize, cells: &[(u32, Cell)]) -> Result<Vec<Chunk>, EngineError> {
        let work = self.work;
        let field = work.plan.schema.field(work.plan.places[place]);
        let like = self.column.original.map(|original| {
            let leaf = work.layout.files[self.original.file].leaves(original).start;
            work.layout.group_metadata(self.original).column(leaf)
        });
        let restored: Vec<u32> =
            cells.iter().filter(|(_, cell)| matches!(cell, Cell::Restore)).map(|(row, _)| *row).collect();
        let originals = match self.column.original {
            Some(original) if !restored.is_empty() => Some(work.rows_of(self.original, original, &restored)?),
            _ => None,
        };
        let originals = originals.unwrap_or_else(|| new_null_array(field.data_type(), restored.len()));
        let mut writers = self.column.writers(like)?;
        let mut present = self.present_reader(work.plan.places[place])?;
        let mut cells = cells.iter().peekable();
        let (mut row, mut restored) = (0, 0);
        while let Some(batch) = guarded(|| present.next()).unwrap_or_else(|what| Some(Err(what))) {
            work.control.check()?;
            let mut array = batch.map_err(|error| self.damaged(&error))?.column(0).clone();
            let end = (row + array.len()) as u32;
            let mut overlay = Overlay::new(field.data_type());
            let mut from_original = Vec::new();
            while let Some((at, cell)) = cells.next_if(|(at, _)| *at < end) {
                let at = *at as usize - row;
                match cell {
                    Cell::Set(value) => overlay.push(at, value.clone()),
                    Cell::Restore => {
                        from_original.push((at, restored));
                        restored += 1;
                    }
                }
            }
            if !from_original.is_empty() {
                array = taken(&array, &originals, &from_original)?;
            }
            if !overlay.is_empty() {
                array = overlay.over(&array)?;
            }
            let leaves = compute_leaves(field, &array).map_err(parquet_error)?;
            for (leaf, writer) in leaves.iter().zip(&mut writers) {
                writer.write(leaf).map_err(parquet_error)?;
            }
            row = end as usize;
        }
        if row != self.own.group.rows {
            return Err(self.damaged(&"it has other rows than its metadata says"));
        }
        let closed = writers.into_iter().map(|writer| writer.close().map_err(parquet_error));
        closed.map(|chunk| Ok(Chunk::Encoded(Box::new(chunk?)))).collect()
    }

    fn present_reader(&self, root: usize) -> Result<ParquetRecordBatchReader, EngineError> {
        let metadata = self.own.file.metadata.clone();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), [root]);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.own.file.file.clone(), metadata)
            .with_row_groups(vec![self.own.group.place])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS.min(self.own.group.rows));
        guarded(|| builder.build()).map_err(|what| self.damaged(&what))?.map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> EngineError {
        let place = format!("row group {}", self.own.group.place + 1);
        damaged(self.own.source, &self.own.file.path, place, error)
    }
}

/// An array with some of its rows (first of each pair) taken from rows of another one.
fn taken(array: &ArrayRef, other: &ArrayRef, rows: &[(usize, usize)]) -> Result<ArrayRef, EngineError> {
    let mut sources: Vec<(usize, usize)> = (0..array.len()).map(|row| (0, row)).collect();
    for (row, from) in rows {
        sources[*row] = (1, *from);
    }
    interleave(&[array.as_ref(), other.as_ref()], &sources).map_err(arrow_error)
}

/// An account with what it said of some rows exchanged for what is so now; none when it did not say that of them.
fn exchanged(report: &ApplyReport, before: ApplyReport, after: ApplyReport) -> Option<ApplyReport> {
    let mut report = report.clone();
    report.edits_applied = report.edits_applied.checked_sub(before.edits_applied)?;
    report.stale.needed = report.stale.needed.checked_sub(before.stale.needed)?;
    report.stale.agrees = report.stale.agrees.checked_sub(before.stale.agrees)?;
    report.stale.source_changed = report.stale.source_changed.checked_sub(before.stale.source_changed)?;
    report.stale.orphan = report.stale.orphan.checked_sub(before.stale.orphan)?;
    for (list, gone) in [
        (&mut report.orphans, before.orphans),
        (&mut report.misfits, before.misfits),
        (&mut report.not_editable, before.not_editable),
    ] {
        list.items.retain(|item| !gone.items.contains(item));
        if list.count.checked_sub(gone.count)? != list.items.len() as u64 {
            return None;
        }
        list.count = list.items.len() as u64;
    }
    report.absorb(after);
    for list in [&mut report.orphans, &mut report.misfits, &mut report.not_editable] {
        list.sort();
    }
    Some(report)
}
