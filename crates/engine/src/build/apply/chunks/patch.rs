//! Going on from an earlier output: only the chunks that new events touch are written anew.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_schema::{DataType, Field};
use arrow_select::interleave::interleave;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, compute_leaves};
use parquet::file::metadata::ColumnChunkMetaData;
use stet_domain::Value;
use stet_domain::apply::{ApplyReport, ReportList};
use stet_domain::project::{CsvForm, Format};
use stet_domain::replay::Replay;

use super::group::{Chunk, Hit, Known, Work};
use super::layout::{Group, OutputColumn, groups_of};
use super::pages::{CellValues, Changes, OpenPage, PageChanges, PagedChunk};
use super::shift::{Rows, Shift};
use super::sink::{Origin, Place, Sink};
use super::{Opened, created};
use crate::build::apply::rows::{Editor, Overlay, arrow_error, without_room_for_nulls};
use crate::build::keys::KeyFilters;
use crate::cell::{Appender, CellReader};
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
    let mut before = Editor::new(earlier.before, plan, index);
    let mut after = editor.part();
    let created = if created::is_touched(&work, earlier.before) {
        let mut of_created = (0..present.groups.len()).filter(|place| present.original_of[*place].is_none());
        // A created row that cannot be written is not among the others, and the first one makes other columns nullable.
        let is_lost = report.misfits.items.iter().any(|item| item.column.is_none());
        let (Some(place), None, false) = (of_created.next(), of_created.next(), is_lost) else { return Ok(None) };
        let Some(created) = created::created(&work, present.place(place), earlier.before, &mut before, &mut after)?
        else {
            return Ok(None);
        };
        Some(created)
    } else {
        None
    };
    let known_elsewhere = created.as_ref().map(|created| &created.known);
    let (found, left) = find(&work, &earlier.filters, known_elsewhere, control)?;
    let touched = found.iter().filter(|hits| !hits.is_empty()).count();
    // A created row that the original has by now is one of the original's, and no longer a created one.
    let was_created = |key: &str| earlier.before.row(key).is_some_and(|row| row.created.is_some());
    let is_both = |hit: &Hit| {
        let (key, row) = index.row(hit.known as usize);
        row.created.is_some() || was_created(key)
    };
    if touched * 2 > layout.groups.len().max(2) || found.iter().flatten().any(is_both) {
        return Ok(None);
    }
    let mut shifts: Vec<Option<Shift>> = layout.groups.iter().map(|_| None).collect();
    for (place, group) in present.original_of.iter().enumerate() {
        let Some(group) = group.filter(|group| !found[*group].is_empty()) else { continue };
        let original = Place { source, file: &layout.files[layout.groups[group].file], group: &layout.groups[group] };
        shifts[group] = Shift::of(&work, original, present.place(place), &found[group], earlier.before)?;
    }
    // A row group that had no row left is not in the present output, and one that will have none not in the next.
    let is_empty = |group: usize| match &shifts[group] {
        Some(shift) => shift.after.len() == layout.groups[group].rows,
        None => true,
    };
    if (0..found.len()).any(|group| !found[group].is_empty() && is_empty(group)) {
        return Ok(None);
    }

    let mut groups = earlier.parts.groups.clone();
    let mut sink = Sink::new(Output::create(earlier.output, Format::Parquet)?, layout)?;
    for (place, group) in present.groups.iter().enumerate() {
        control.check()?;
        let own = present.place(place);
        if created.is_some() && present.original_of[place].is_none() {
            continue;
        }
        let touched = present.original_of[place].filter(|group| !found[*group].is_empty());
        let (Some(touched), Some(shift)) = (touched, touched.and_then(|group| shifts[group].as_ref())) else {
            if !sink.keep(&earlier.parts.files[group.file])? {
                let chunks = (0..layout.descriptor.num_columns()).map(|leaf| Ok(Chunk::Copy(leaf)));
                sink.write(Origin { own, original: own }, group.rows, chunks)?;
            }
            continue;
        };
        let original = &layout.groups[touched];
        let overrides = &mut groups[touched].overrides;
        let rows_out = original.rows - shift.after.len();
        let (before, after) = (&mut before, &mut after);
        // While a column is made anew, those before it are copied and hashed.
        let (sender, receiver) = sync_channel(layout.descriptor.num_columns());
        let (work, hits) = (&work, &found[touched]);
        let make = move || {
            for column in &layout.columns {
                let patch = Patch { work, earlier, column, original, own, hits, shift };
                let copies = || column.leaves.clone().map(Chunk::Copy).collect();
                let chunks = patch.chunks(before, after, overrides).map(|chunks| chunks.unwrap_or_else(copies));
                let (chunks, error) = match chunks {
                    Ok(chunks) => (chunks, None),
                    Err(error) => (Vec::new(), Some(Err(error))),
                };
                let is_over = error.is_some();
                for chunk in chunks.into_iter().map(Ok).chain(error) {
                    if sender.send(chunk).is_err() {
                        return;
                    }
                }
                if is_over {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            let making = scope.spawn(move || guarded(make));
            let from = Place { source, file: &layout.files[original.file], group: original };
            let written = sink.write(Origin { own, original: from }, rows_out, receiver.into_iter());
            match making.join() {
                Ok(Ok(())) => written,
                Ok(Err(what)) => Err(work.damaged(original, &what)),
                Err(_) => {
                    written.and(Err(EngineError::Internal { action: "building", source: "a thread stopped".into() }))
                }
            }
        })?;
        groups[touched].rows_out = rows_out as u64;
    }
    let rows_created = match &created {
        Some(created) => sink.write_created(plan, std::slice::from_ref(&created.batch))?,
        None => earlier.parts.rows_created,
    };
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
    let Some(mut report) = exchanged(report, before.account(), after.account()) else { return Ok(None) };
    report.rows_out = groups.iter().map(|group| group.rows_out).sum::<u64>() + rows_created;
    let parts = OutputParts { groups, rows_created, files: Vec::new(), ..earlier.parts.clone() };
    Ok(Some(Patched { output: sink.finish()?, report, parts }))
}

/// Finds the rows of the log in the row groups of the original: the rows of each, and those that are in none.
fn find(
    work: &Work<'_>,
    filters: &Option<KeyFilters>,
    known_elsewhere: Option<&HashSet<usize>>,
    control: &Control,
) -> Result<(Vec<Vec<Hit>>, Vec<usize>), EngineError> {
    let (groups, index) = (&work.layout.groups, work.index);
    let mut found: Vec<Vec<Hit>> = groups.iter().map(|_| Vec::new()).collect();
    let mut is_searched = vec![false; groups.len()];
    let hashes: Vec<Option<u64>> = (0..index.len()).map(|known| index.hash(known)).collect();
    let is_elsewhere = |known: &usize| known_elsewhere.is_some_and(|elsewhere| elsewhere.contains(known));
    let mut left: Vec<usize> = (0..index.len()).filter(|known| !is_elsewhere(known)).collect();
    index.sort_by_last_event(&mut left);
    // First where the filters say; what is not there, because they are not or are damaged, everywhere else.
    for filters in [filters.as_ref(), None] {
        for (place, group) in groups.iter().enumerate() {
            control.check()?;
            let statistics = work.key_statistics(group);
            if is_searched[place] {
                continue;
            }
            let may_be_here = |known: &&usize| index.may_be_in(**known, &statistics);
            let likely: Vec<u64> = left.iter().filter(may_be_here).filter_map(|known| hashes[*known]).collect();
            if likely.is_empty() {
                continue;
            }
            let hits = match filters.and_then(|filters| filters.rows(place, group.rows, &likely)) {
                Some(rows) if rows.is_empty() => continue,
                Some(rows) => work.find_in(group, &rows)?,
                None => {
                    is_searched[place] = true;
                    work.find(group)?.1
                }
            };
            if hits.is_empty() {
                continue;
            }
            // A key is that of one row only, so a row that was found is looked for no more.
            let here: HashSet<usize> = hits.iter().map(|hit| hit.known as usize).collect();
            left.retain(|known| !here.contains(known));
            found[place] = hits;
        }
    }
    left.extend((0..index.len()).filter(is_elsewhere));
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

impl Present {
    fn place(&self, place: usize) -> Place<'_> {
        let group = &self.groups[place];
        Place { source: &self.source, file: &self.files[group.file], group }
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
    shift: &'a Shift,
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
        let Some(place) = self.column.editable else {
            return if self.shift.is_none() { Ok(None) } else { self.of_original(after).map(Some) };
        };
        let name = &self.work.plan.editable[place].name;
        let Cells { cells, had, has } = self.cells(name, before, after)?;
        if had + has == 0 && self.shift.is_none() {
            return Ok(None);
        }
        let count = overrides.get(name).copied().unwrap_or(0).saturating_sub(had) + has;
        if count > 0 {
            overrides.insert(name.clone(), count);
            // As in a full build: a row group that loses rows is written anew.
            let paged = if self.shift.after.is_empty() { self.work.paged(self.original, self.column)? } else { None };
            let chunks = match paged {
                Some(paged) => self.edit(place, &paged, &cells),
                None if self.shift.is_none() => self.encode(place, &cells),
                None => self.encode_shifted(place, &cells),
            };
            return chunks.map(Some);
        }
        overrides.remove(name);
        // Its last override is gone: the column becomes what it is where nobody ever edited it.
        self.of_original(after).map(Some)
    }

    /// The column as it is without overrides.
    fn of_original(&self, after: &Editor<'w>) -> Result<Vec<Chunk>, EngineError> {
        let nothing = vec![0; self.work.plan.editable.len()];
        let (chunks, _) = self.work.column(
            self.original,
            self.column,
            &nothing,
            (&Known::default(), &[]),
            &self.shift.after,
            after,
        )?;
        Ok(chunks.into_iter().map(from_original).collect())
    }

    /// What becomes of the cells of the column in touched rows, in order of the rows.
    fn cells(&self, name: &str, before: &mut Editor<'_>, after: &mut Editor<'w>) -> Result<Cells, EngineError> {
        let work = self.work;
        let (old, new) = (self.earlier.before.column(name), after.rules.replay().column(name));
        let had = |hit: &Hit| {
            let (key, _) = work.index.row(hit.known as usize);
            let (column, row) = (old?, self.earlier.before.row(key).filter(|row| !row.deleted)?);
            let cell = row.cell(column)?;
            Some((key, column, cell, cell.overriding?))
        };
        let has = |hit: &Hit| {
            let (key, row) = work.index.row(hit.known as usize);
            let column = new.filter(|_| !row.deleted)?;
            let cell = row.cell(column)?;
            Some((key, column, cell, cell.overriding?))
        };
        let touched: Vec<&Hit> = self
            .hits
            .iter()
            .filter(|hit| had(hit).is_some() || has(hit).is_some() || self.shift.comes(hit.row))
            .collect();
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

    /// Edits the original's pages again: with what the present output holds elsewhere, and with other values in some cells.
    fn edit(&self, place: usize, paged: &PagedChunk, cells: &[(u32, Cell)]) -> Result<Vec<Chunk>, EngineError> {
        let data_type = self.work.plan.data_type(place);
        let (mut rows, mut values, mut restored) = (Vec::new(), Appender::new(data_type, cells.len()), Vec::new());
        for (row, cell) in cells {
            match cell {
                Cell::Set(value) if values.append(value.clone()) => rows.push(*row),
                Cell::Set(_) => {}
                Cell::Restore => restored.push(*row),
            }
        }
        let touched = PageChanges { rows, cells: CellValues::of(values.finish()?.as_ref()) };
        let mut present = None;
        if self.shift.is_none() {
            let (file, group) = (self.own.file, self.own.group.place);
            let opened = PagedChunk::open(file, group, self.column.leaves.start, data_type);
            present = opened.map_err(|error| self.damaged(&error))?.filter(|present| present.lies_like(paged));
        }
        let chunk = match &present {
            Some(present) => {
                let mut changes = SincePresent { patch: self, paged, present, touched, restored };
                self.work.edited(self.original, self.column, paged, &mut changes)?
            }
            None => {
                let mut changes = self.differences(place)?.overlaid(&touched, &restored);
                self.work.edited(self.original, self.column, paged, &mut changes)?
            }
        };
        Ok(vec![from_original(chunk)])
    }

    /// What rows of the original's row group hold in the present output, where that is something else. Rows that the output
    /// lacks are as in the original.
    fn differences(&self, place: usize) -> Result<PageChanges, EngineError> {
        let work = self.work;
        let data_type = work.plan.data_type(place);
        let Some(original) = self.column.original else { return Ok(PageChanges::default()) };
        let mut present = Rows::new(self.present_reader(work.plan.places[place])?, data_type.clone());
        let mut lacking = self.shift.before.iter().peekable();
        let (mut changes, mut row) = (PageChanges::default(), 0u32);
        let reader = work.reader(self.original, &[original], BATCH_ROWS)?;
        work.for_each_batch(self.original, reader, |batch| {
            work.control.check()?;
            let end = row + batch.num_rows() as u32;
            let own: Vec<u32> = (row..end).filter(|row| lacking.next_if_eq(&row).is_none()).collect();
            let values = present.take(own.len()).map_err(|error| self.damaged(&error))?;
            if values.len() != own.len() {
                return Err(self.damaged(&"it has fewer rows than its metadata says"));
            }
            let (values, originals) = (CellValues::of(values.as_ref()), CellValues::of(batch.column(0).as_ref()));
            for (at, own_row) in own.into_iter().enumerate() {
                if values.get(at) != originals.get((own_row - row) as usize) {
                    changes.push(own_row, values.get(at));
                }
            }
            row = end;
            Ok(())
        })?;
        Ok(changes)
    }

    /// Writes the column of the present output anew with other values in some cells.
    fn encode(&self, place: usize, cells: &[(u32, Cell)]) -> Result<Vec<Chunk>, EngineError> {
        let work = self.work;
        let field = work.plan.schema.field(work.plan.places[place]);
        let restored: Vec<u32> =
            cells.iter().filter(|(_, cell)| matches!(cell, Cell::Restore)).map(|(row, _)| *row).collect();
        let originals = self.originals(&restored, field.data_type())?;
        let mut writers = self.column.writers(self.like())?;
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
            write_leaves(field, &array, &mut writers)?;
            row = end as usize;
        }
        if row != self.own.group.rows {
            return Err(self.damaged(&"it has other rows than its metadata says"));
        }
        closed(writers)
    }

    /// As [`Patch::encode`] where rows come or go: batches are those of the original, as in a full build.
    fn encode_shifted(&self, place: usize, cells: &[(u32, Cell)]) -> Result<Vec<Chunk>, EngineError> {
        let (work, shift) = (self.work, self.shift);
        let field = work.plan.schema.field(work.plan.places[place]);
        let mut cells = cells.iter().filter(|(row, _)| !shift.lacks(*row)).peekable();
        let restored: Vec<u32> =
            cells.clone().filter(|(_, cell)| matches!(cell, Cell::Restore)).map(|(row, _)| *row).collect();
        let originals = self.originals(&restored, field.data_type())?;
        let nothing = new_null_array(field.data_type(), 1);
        let mut writers = self.column.writers(self.like())?;
        let mut present = Rows::new(self.present_reader(work.plan.places[place])?, field.data_type().clone());
        let (mut before, mut after) = (shift.before.iter().peekable(), shift.after.iter().peekable());
        let mut restored = 0;
        for from in (0..self.original.rows).step_by(BATCH_ROWS) {
            work.control.check()?;
            let batch = from as u32..(from + BATCH_ROWS).min(self.original.rows) as u32;
            // Rows of the present output (0), of the original (1), and those that get a value of their own (2).
            let (mut sources, mut overlay, mut own_rows) =
                (Vec::with_capacity(batch.len()), Overlay::new(field.data_type()), 0);
            for row in batch {
                let own_row = own_rows;
                own_rows += usize::from(before.next_if_eq(&&row).is_none());
                if after.next_if_eq(&&row).is_some() {
                    continue;
                }
                sources.push(match cells.next_if(|(at, _)| *at == row) {
                    None => (0, own_row),
                    Some((_, Cell::Restore)) => {
                        restored += 1;
                        (1, restored - 1)
                    }
                    Some((_, Cell::Set(value))) => {
                        overlay.push(sources.len(), value.clone());
                        (2, 0)
                    }
                });
            }
            let own = present.take(own_rows).map_err(|error| self.damaged(&error))?;
            if own.len() != own_rows {
                return Err(self.damaged(&"it has fewer rows than its metadata says"));
            }
            let mut array =
                interleave(&[own.as_ref(), originals.as_ref(), nothing.as_ref()], &sources).map_err(arrow_error)?;
            if !overlay.is_empty() {
                array = overlay.over(&array)?;
            }
            write_leaves(field, &array, &mut writers)?;
        }
        closed(writers)
    }

    /// Rows of the column in the original, in ascending order; nulls where the original lacks the column.
    fn originals(&self, rows: &[u32], data_type: &DataType) -> Result<ArrayRef, EngineError> {
        match self.column.original {
            Some(original) if !rows.is_empty() => self.work.rows_of(self.original, original, rows),
            _ => Ok(new_null_array(data_type, rows.len())),
        }
    }

    /// The original's chunk of the column.
    fn like(&self) -> Option<&ColumnChunkMetaData> {
        let work = self.work;
        let leaf = work.layout.files[self.original.file].leaves(self.column.original?).start;
        Some(work.layout.group_metadata(self.original).column(leaf))
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

/// The values of the present output with other ones in some cells, page by page.
struct SincePresent<'p, 'a, 'w> {
    patch: &'p Patch<'a, 'w>,
    paged: &'p PagedChunk,
    present: &'p PagedChunk,
    touched: PageChanges,
    restored: Vec<u32>,
}

impl Changes for SincePresent<'_, '_, '_> {
    fn may_change(&mut self, page: usize, rows: Range<usize>) -> bool {
        self.touched.is_in(&rows) || !self.paged.has_same(page, self.present)
    }

    fn of(&mut self, page: &OpenPage<'_>) -> Result<PageChanges, EngineError> {
        self.patch.work.control.check()?;
        let touched = self.touched.part(page.rows.clone());
        if self.paged.has_same(page.number, self.present) {
            return Ok(touched);
        }
        let present = page.differences(self.present).map_err(|error| self.patch.damaged(&error))?;
        let rows = page.rows.start as u32..page.rows.end as u32;
        let restored = self.restored.iter().filter(|row| rows.contains(row)).map(|row| row - rows.start);
        Ok(present.overlaid(&touched, &restored.collect::<Vec<_>>()))
    }
}

/// A chunk of the original's row group, in a row group of which the other chunks are the present output's.
fn from_original(chunk: Chunk) -> Chunk {
    match chunk {
        Chunk::Copy(leaf) => Chunk::CopyOriginal(leaf),
        other => other,
    }
}

fn write_leaves(field: &Field, array: &ArrayRef, writers: &mut [ArrowColumnWriter]) -> Result<(), EngineError> {
    let array = without_room_for_nulls(array.clone())?;
    let leaves = compute_leaves(field, &array).map_err(parquet_error)?;
    leaves.iter().zip(writers).try_for_each(|(leaf, writer)| writer.write(leaf).map_err(parquet_error))
}

fn closed(writers: Vec<ArrowColumnWriter>) -> Result<Vec<Chunk>, EngineError> {
    let closed = writers.into_iter().map(|writer| writer.close().map_err(parquet_error));
    closed.map(|chunk| Ok(Chunk::Encoded(Box::new(chunk?)))).collect()
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
    report.rows_created = report.rows_created.checked_sub(before.rows_created)?;
    report.rows_deleted = report.rows_deleted.checked_sub(before.rows_deleted)?;
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
