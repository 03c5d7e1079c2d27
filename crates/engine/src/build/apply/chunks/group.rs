//! The work on one row group: which of its rows the log knows, and new chunks for the columns that change.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::filter::filter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, compute_leaves};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::RowGroupReader;
use parquet::file::serialized_reader::SerializedRowGroupReader;
use parquet::file::statistics::Statistics;

use stet_domain::replay::{ColumnIndex, Replay, RowState};

use super::intact::check_pages;
use super::layout::{Group, Layout, OutputColumn, Treatment};
use super::levels::{Buffered, Change, rewrite};
use super::pages::{CellValues, Changes, OldIndex, OpenPage, PageChanges, PagedChunk, edit};
use super::pipeline::in_order;
use super::sink::Place;
use crate::build::apply::Plan;
use crate::build::apply::rows::{Editor, Overlay, Tally, arrow_error, without_room_for_nulls};
use crate::build::keys::{BatchKeys, EndedRun, KeyFilter, KeyIndex, KeyRun};
use crate::cell::{Appender, CellReader};
use crate::control::Control;
use crate::error::EngineError;
use crate::read::FileSource;
use crate::read::parquet::{ParquetFile, SharedFile, damaged, guarded};
use crate::write::parquet_error;

const KEY_BATCH_ROWS: usize = 32 * 1024;
const BATCH_ROWS: usize = 16 * 1024;

/// About what a record of the log's state takes.
const RECORD_BYTES: usize = 64;

/// What is needed for the work on every row group.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) source: &'a FileSource,
    pub(super) layout: &'a Layout,
    pub(super) plan: &'a Plan,
    pub(super) index: &'a KeyIndex<'a>,
    pub(super) control: &'a Control,
    /// How many threads may work on the columns of one row group.
    pub(super) column_threads: usize,
    pub(super) rows_total: u64,
    pub(super) rows_done: &'a AtomicU64,
}

/// One leaf of one row group of the output.
pub(super) enum Chunk {
    /// The bytes of a leaf of the row group that is worked on: the original's, or in a rebuild the present output's.
    Copy(usize),
    /// In a rebuild the bytes of a leaf of the original's row group.
    CopyOriginal(usize),
    /// Encoded from Arrow arrays.
    Encoded(Box<ArrowColumnChunk>),
    /// Rewritten at the level of Parquet's own values.
    Buffered(Box<Buffered>),
}

/// A row group that is ready to be written.
pub(super) struct Prepared {
    /// Its number in [`Layout::groups`].
    pub(super) group: usize,
    pub(super) keys: EndedRun,
    pub(super) filter: KeyFilter,
    /// Rows of the log that it has: places in the key index.
    pub(super) matched: Vec<u32>,
    pub(super) account: Tally,
    pub(super) rows_out: usize,
    /// For each editable column how many rows have an override.
    pub(super) overrides: Vec<u64>,
    /// The leaves in the order of the output's schema; none when no row is left.
    pub(super) chunks: Vec<Chunk>,
}

/// A row of the row group that the log knows.
#[derive(Clone, Copy)]
pub(super) struct Hit {
    /// Its number in the row group.
    pub(super) row: u32,
    /// Its place in the key index.
    pub(super) known: u32,
}

/// What the log says of the rows of a row group that it knows, in their order. In the log's own state they lie in the order
/// of the edits, so that each look at one waits for memory: here they are fetched once, many at a time, and read in order.
#[derive(Default)]
pub(super) struct Known {
    rows: Vec<u32>,
    records: Vec<u8>,
    /// Where the record of each row ends.
    ends: Vec<usize>,
}

impl Known {
    fn gather(index: &KeyIndex<'_>, hits: &[Hit]) -> Known {
        let (mut records, mut ends) = (Vec::with_capacity(hits.len() * RECORD_BYTES), Vec::with_capacity(hits.len()));
        for hit in hits {
            records.extend_from_slice(index.record(hit.known as usize));
            ends.push(records.len());
        }
        Known { rows: hits.iter().map(|hit| hit.row).collect(), records, ends }
    }

    /// What the log says of one of the rows, and its key.
    fn row(&self, at: usize) -> Option<(&str, RowState<'_>)> {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Replay::read_record(&self.records[start..self.ends[at]])
    }
}

impl<'a> Work<'a> {
    /// Prepares one row group.
    pub(super) fn prepare(&self, place: usize, editor: &Editor<'a>) -> Result<Prepared, EngineError> {
        let group = &self.layout.groups[place];
        let (keys, hits) = self.find(group)?;
        let filter = keys.filter();
        let keys = keys.ended();
        let known = Known::gather(self.index, &hits);
        let matched = hits.into_iter().map(|hit| hit.known).collect();
        let mut account = editor.part();
        let (kept, dropped) = self.sort_out(&known, &mut account);
        let overrides: Vec<u64> = kept.iter().map(|kept| kept.len() as u64).collect();
        let rows_out = group.rows - dropped.len();
        let mut chunks = Vec::new();
        // Without rows left, the overrides have gone with them: there is nothing more to take account of.
        if rows_out > 0 {
            let columns = &self.layout.columns;
            in_order(
                columns.len(),
                self.column_threads,
                |column| {
                    let column = &columns[column];
                    let kept = column.editable.map_or(&[][..], |place| kept[place].as_slice());
                    self.column(group, column, &overrides, (&known, kept), &dropped, editor)
                },
                |(leaves, tally)| {
                    chunks.extend(leaves);
                    if let Some(tally) = tally {
                        account.absorb(tally);
                    }
                    Ok(())
                },
            )?;
        }
        let account = account.tally();
        Ok(Prepared { group: place, keys, filter, matched, account, rows_out, overrides, chunks })
    }

    /// Reads the keys of a row group.
    pub(super) fn find(&self, group: &Group) -> Result<(KeyRun, Vec<Hit>), EngineError> {
        let (mut run, mut hits, mut row) = (KeyRun::default(), Vec::new(), 0);
        let reader = self.reader(group, &self.plan.keys.places, KEY_BATCH_ROWS)?;
        let places = in_file_order(&self.layout.files[group.file], &self.plan.keys.places);
        self.for_each_batch(group, reader, |batch| {
            let keys = BatchKeys::new(&batch, &places)?;
            run.take(&keys);
            let known = self.index.hits(&keys).into_iter();
            hits.extend(known.map(|(hit, known)| Hit { row: (row + hit) as u32, known: known as u32 }));
            row += batch.num_rows();
            let done = self.rows_done.fetch_add(batch.num_rows() as u64, Ordering::Relaxed) + batch.num_rows() as u64;
            self.control.report(done, Some(self.rows_total))
        })?;
        if row != group.rows {
            let message =
                format!("row group {} has {row} rows, not the {} that it should have", group.place, group.rows);
            return Err(damaged(self.source, self.path(group), String::new(), &message));
        }
        Ok((run, hits))
    }

    /// Finds keys in some rows of a row group, in order and apart from each other.
    pub(super) fn find_in(&self, group: &Group, rows: &[Range<usize>]) -> Result<Vec<Hit>, EngineError> {
        let places = in_file_order(&self.layout.files[group.file], &self.plan.keys.places);
        let selection = RowSelection::from_consecutive_ranges(rows.iter().cloned(), group.rows);
        let builder = self.builder(group, &self.plan.keys.places, KEY_BATCH_ROWS).with_row_selection(selection);
        let reader = guarded(|| builder.build())
            .map_err(|what| self.damaged(group, &what))?
            .map_err(|error| self.damaged(group, &error))?;
        let wanted: usize = rows.iter().map(Range::len).sum();
        let mut numbers = rows.iter().cloned().flatten();
        let (mut hits, mut read) = (Vec::new(), 0);
        self.for_each_batch(group, reader, |batch| {
            self.control.check()?;
            let keys = BatchKeys::new(&batch, &places)?;
            let own: Vec<usize> = numbers.by_ref().take(batch.num_rows()).collect();
            let known = self.index.hits(&keys).into_iter();
            hits.extend(known.filter_map(|(hit, known)| Some(Hit { row: *own.get(hit)? as u32, known: known as u32 })));
            read += batch.num_rows();
            Ok(())
        })?;
        if read != wanted {
            return Err(self.damaged(group, &"it has fewer rows than its metadata says"));
        }
        Ok(hits)
    }

    /// The statistics of the key columns of a row group, as far as they can be relied on.
    pub(super) fn key_statistics(&self, group: &Group) -> Vec<Option<(&Statistics, DataType)>> {
        let file = &self.layout.files[group.file];
        let metadata = self.layout.group_metadata(group);
        let of = |column: &usize| {
            let chunk = metadata.column(file.leaves(*column).start);
            let statistics = chunk.statistics().filter(|_| file.trusts_statistics())?;
            Some((statistics, self.plan.schema.field(*column).data_type().clone()))
        };
        self.plan.keys.places.iter().map(of).collect()
    }

    /// Parts the rows that the log knows into kept and dropped ones. Those that are kept are given, by their places in
    /// `known`, for each editable column that they have an override of, so that what the log says of a row is looked up once
    /// for each of its cells.
    fn sort_out(&self, known: &Known, account: &mut Editor<'a>) -> (Vec<Vec<u32>>, Vec<u32>) {
        let mut kept = vec![Vec::new(); self.plan.editable.len()];
        let mut dropped = Vec::new();
        for (at, row) in known.rows.iter().enumerate() {
            let Some((key, state)) = known.row(at) else { continue };
            if account.whole_row(key, state) {
                dropped.push(*row);
                continue;
            }
            for place in state.overrides().filter_map(|(column, ..)| account.rules.place(column)) {
                kept[place].push(at as u32);
            }
        }
        (kept, dropped)
    }

    /// The leaves of one column, and the account of its overrides when it has some. `kept` are the rows that stay and
    /// have one of the column, by their places in [`Known`].
    pub(super) fn column(
        &self,
        group: &Group,
        column: &OutputColumn,
        overrides: &[u64],
        kept: (&Known, &[u32]),
        dropped: &[u32],
        editor: &Editor<'a>,
    ) -> Result<(Vec<Chunk>, Option<Tally>), EngineError> {
        self.control.check()?;
        let touched_place = column.editable.filter(|place| overrides[*place] > 0);
        let treatment = column.treatments.get(group.file).copied();
        let (Some(original), Some(treatment)) = (column.original, treatment) else {
            return self.encode(group, column, touched_place, kept, dropped, editor);
        };
        if let Some(place) = touched_place
            && dropped.is_empty()
            && let Some(chunk) = self.paged(group, column)?
        {
            return self.edit(group, column, &chunk, place, kept, editor);
        }
        if touched_place.is_some() || treatment == Treatment::Reencode {
            return self.encode(group, column, touched_place, kept, dropped, editor);
        }
        let leaves = self.layout.files[group.file].leaves(original);
        if dropped.is_empty() && treatment == Treatment::Copy {
            self.check(group, leaves.clone())?;
            return Ok((leaves.map(Chunk::Copy).collect(), None));
        }
        let file = &self.layout.files[group.file];
        let metadata = file.metadata.metadata();
        let change = Change { dropped, widens: treatment == Treatment::Widen };
        let mut chunks = Vec::with_capacity(leaves.len());
        for (own, output) in leaves.zip(column.leaves.clone()) {
            let rewritten = guarded(|| {
                let reader = SerializedRowGroupReader::new(
                    Arc::new(file.file.clone()),
                    metadata.row_group(group.place),
                    metadata.page_index_for_row_group(group.place),
                    Arc::new(ReaderProperties::builder().build()),
                )?;
                rewrite(
                    reader.get_column_reader(own)?,
                    &self.layout.descriptor.column(output),
                    &self.layout.properties,
                    change,
                    || !self.control.is_cancelled(),
                )
            });
            self.control.check()?;
            let rewritten =
                rewritten.map_err(|what| self.damaged(group, &what))?.map_err(|error| self.damaged(group, &error))?;
            chunks.push(Chunk::Buffered(Box::new(rewritten)));
        }
        Ok((chunks, None))
    }

    /// Checks that leaves of the original that are going to be copied can be read.
    fn check(&self, group: &Group, leaves: std::ops::Range<usize>) -> Result<(), EngineError> {
        let file = &self.layout.files[group.file];
        let metadata = self.layout.group_metadata(group);
        for leaf in leaves {
            guarded(|| check_pages(&file.file, metadata.column(leaf), group.rows))
                .map_err(|what| self.damaged(group, &what))?
                .map_err(|error| self.damaged(group, &error))?;
        }
        Ok(())
    }

    /// The original's chunk of an editable column, when it can be edited page by page.
    pub(super) fn paged(&self, group: &Group, column: &OutputColumn) -> Result<Option<PagedChunk>, EngineError> {
        let file = &self.layout.files[group.file];
        let (Some(original), Some(Treatment::Copy)) = (column.original, column.treatments.get(group.file)) else {
            return Ok(None);
        };
        let leaves = file.leaves(original);
        if leaves.len() != 1 {
            return Ok(None);
        }
        let data_type = self.plan.schema.field(original).data_type();
        PagedChunk::open(file, group.place, leaves.start, data_type).map_err(|error| self.damaged(group, &error))
    }

    /// Edits the pages of a chunk; a copy of the original when no value in it becomes another one.
    pub(super) fn edited(
        &self,
        group: &Group,
        column: &OutputColumn,
        chunk: &PagedChunk,
        changes: &mut impl Changes,
    ) -> Result<Chunk, EngineError> {
        let file = &self.layout.files[group.file];
        let leaf = column.original.map_or(0, |original| file.leaves(original).start);
        let index = file.metadata.metadata().page_index_for_row_group(group.place);
        let old = OldIndex { column: index.column_index(leaf).filter(|_| file.trusts_statistics()) };
        let old = self.layout.has_page_index.then_some(old);
        let edited = edit(chunk, old, changes, &|error| self.damaged(group, error))?;
        Ok(edited.map_or(Chunk::Copy(leaf), |edited| Chunk::Buffered(Box::new(edited))))
    }

    /// The chunk of a column with the log's overrides in its pages, and the account of them.
    fn edit(
        &self,
        group: &Group,
        column: &OutputColumn,
        chunk: &PagedChunk,
        place: usize,
        kept: (&Known, &[u32]),
        editor: &Editor<'a>,
    ) -> Result<(Vec<Chunk>, Option<Tally>), EngineError> {
        let mut account = editor.part();
        let (known, kept) = kept;
        let mut overrides = Overrides {
            work: self,
            group,
            data_type: self.plan.data_type(place),
            column: account.rules.replay().column(&self.plan.editable[place].name),
            known,
            kept,
            next: 0,
            account: &mut account,
        };
        let chunk = self.edited(group, column, chunk, &mut overrides)?;
        Ok((vec![chunk], Some(account.tally())))
    }

    /// Writes a column anew through Arrow, with its overrides.
    fn encode(
        &self,
        group: &Group,
        column: &OutputColumn,
        touched: Option<usize>,
        kept: (&Known, &[u32]),
        dropped: &[u32],
        editor: &Editor<'a>,
    ) -> Result<(Vec<Chunk>, Option<Tally>), EngineError> {
        let place = column.editable.ok_or_else(|| EngineError::Internal {
            action: "writing a column",
            source: "a column that is not editable was to be written anew".into(),
        })?;
        let field = self.plan.schema.field(self.plan.places[place]);
        let like = column.original.map(|original| {
            let leaf = self.layout.files[group.file].leaves(original).start;
            self.layout.group_metadata(group).column(leaf)
        });
        let mut writers = column.writers(like)?;
        let mut account = editor.part();
        let edited = touched.and_then(|place| account.rules.replay().column(&self.plan.editable[place].name));
        let (known, kept) = kept;
        let mut kept = kept.iter().map(|at| *at as usize).peekable();
        let mut dropped = dropped.iter().peekable();
        let mut row = 0;
        let mut take = |array: ArrayRef| -> Result<(), EngineError> {
            self.control.check()?;
            let rows = array.len();
            let end = (row + rows) as u32;
            let mut overlay = Overlay::new(field.data_type());
            {
                let reader = std::cell::OnceCell::new();
                while let Some(at) = kept.next_if(|at| known.rows[*at] < end) {
                    let Some((key, state)) = known.row(at) else { continue };
                    let Some((edited, cell)) = edited.and_then(|edited| Some((edited, state.cell(edited)?))) else {
                        continue;
                    };
                    let Some(overriding) = cell.overriding else { continue };
                    let at = known.rows[at] as usize - row;
                    let original = || {
                        column.original?;
                        reader.get_or_init(|| CellReader::new(array.as_ref())).text(at)
                    };
                    if let Some(value) = account.cell(key, edited, cell, overriding, original) {
                        overlay.push(at, value);
                    }
                }
            }
            let mut array = if overlay.is_empty() { array } else { overlay.over(&array)? };
            if dropped.peek().is_some_and(|next| **next < end) {
                let mut kept = vec![true; rows];
                while let Some(next) = dropped.next_if(|next| **next < end) {
                    kept[*next as usize - row] = false;
                }
                array = filter(&array, &BooleanArray::from(kept)).map_err(arrow_error)?;
            }
            let array = without_room_for_nulls(array)?;
            let leaves = compute_leaves(field, &array).map_err(parquet_error)?;
            for (leaf, writer) in leaves.iter().zip(&mut writers) {
                writer.write(leaf).map_err(parquet_error)?;
            }
            row += rows;
            Ok(())
        };
        match column.original {
            Some(original) => {
                let reader = self.reader(group, &[original], BATCH_ROWS)?;
                self.for_each_batch(group, reader, |batch| take(batch.column(0).clone()))?;
            }
            None => {
                for from in (0..group.rows).step_by(BATCH_ROWS) {
                    take(new_null_array(field.data_type(), BATCH_ROWS.min(group.rows - from)))?;
                }
            }
        }
        let chunks: Result<Vec<Chunk>, EngineError> = writers
            .into_iter()
            .map(|writer| Ok(Chunk::Encoded(Box::new(writer.close().map_err(parquet_error)?))))
            .collect();
        Ok((chunks?, touched.map(|_| account.tally())))
    }

    /// Some rows of a column of the original, given in ascending order.
    pub(super) fn rows_of(&self, group: &Group, column: usize, rows: &[u32]) -> Result<ArrayRef, EngineError> {
        let ranges = rows.iter().map(|row| *row as usize..*row as usize + 1);
        let selection = RowSelection::from_consecutive_ranges(ranges, group.rows);
        let builder = self.builder(group, &[column], rows.len()).with_row_selection(selection);
        let mut reader = guarded(|| builder.build())
            .map_err(|what| self.damaged(group, &what))?
            .map_err(|error| self.damaged(group, &error))?;
        let mut parts = Vec::new();
        while let Some(batch) = guarded(|| reader.next()).unwrap_or_else(|what| Some(Err(what))) {
            parts.push(batch.map_err(|error| self.damaged(group, &error))?.column(0).clone());
        }
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
        let array = concat(&parts).map_err(arrow_error)?;
        if array.len() != rows.len() {
            return Err(self.damaged(group, &"it has other rows than its metadata says"));
        }
        Ok(array)
    }

    pub(super) fn reader(
        &self,
        group: &Group,
        columns: &[usize],
        rows_max: usize,
    ) -> Result<ParquetRecordBatchReader, EngineError> {
        let builder = self.builder(group, columns, rows_max);
        guarded(|| builder.build())
            .map_err(|what| self.damaged(group, &what))?
            .map_err(|error| self.damaged(group, &error))
    }

    fn builder(
        &self,
        group: &Group,
        columns: &[usize],
        rows_max: usize,
    ) -> ParquetRecordBatchReaderBuilder<SharedFile> {
        let file = &self.layout.files[group.file];
        let roots = columns.iter().map(|column| file.places[*column]);
        let mask = ProjectionMask::roots(file.metadata.parquet_schema(), roots);
        ParquetRecordBatchReaderBuilder::new_with_metadata(file.file.clone(), file.metadata.clone())
            .with_row_groups(vec![group.place])
            .with_projection(mask)
            .with_batch_size(rows_max.min(group.rows))
    }

    /// Some columns of a whole row group of any file, in the order in which they stand in that file.
    pub(super) fn batch_of(&self, place: Place<'_>, columns: &[usize]) -> Result<RecordBatch, EngineError> {
        let (file, group) = (place.file, place.group);
        let roots = columns.iter().map(|column| file.places[*column]);
        let mask = ProjectionMask::roots(file.metadata.parquet_schema(), roots);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.file.clone(), file.metadata.clone())
            .with_row_groups(vec![group.place])
            .with_projection(mask)
            .with_batch_size(group.rows);
        let mut reader = guarded(|| builder.build())
            .map_err(|what| self.damaged_in(place, &what))?
            .map_err(|error| self.damaged_in(place, &error))?;
        match guarded(|| reader.next()).unwrap_or_else(|what| Some(Err(what))) {
            Some(batch) => batch.map_err(|error| self.damaged_in(place, &error)),
            None => Err(self.damaged_in(place, &"it has no rows")),
        }
    }

    pub(super) fn for_each_batch(
        &self,
        group: &Group,
        mut reader: ParquetRecordBatchReader,
        mut take: impl FnMut(RecordBatch) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        while let Some(batch) = guarded(|| reader.next()).unwrap_or_else(|what| Some(Err(what))) {
            take(batch.map_err(|error| self.damaged(group, &error))?)?;
        }
        Ok(())
    }

    fn path(&self, group: &Group) -> &std::path::Path {
        &self.layout.files[group.file].path
    }

    pub(super) fn damaged(&self, group: &Group, error: &dyn std::fmt::Display) -> EngineError {
        damaged(self.source, self.path(group), format!("row group {}", group.place + 1), error)
    }

    pub(super) fn damaged_in(&self, place: Place<'_>, error: &dyn std::fmt::Display) -> EngineError {
        damaged(place.source, &place.file.path, format!("row group {}", place.group.place + 1), error)
    }
}

/// What the log says of the rows of a column, page by page.
struct Overrides<'w, 'a, 'e> {
    work: &'w Work<'a>,
    group: &'w Group,
    data_type: &'w DataType,
    column: Option<ColumnIndex>,
    known: &'w Known,
    /// The rows that have an override, by their places in `known`.
    kept: &'w [u32],
    /// The first of them that is not before the page.
    next: usize,
    account: &'e mut Editor<'a>,
}

impl Changes for Overrides<'_, '_, '_> {
    fn may_change(&mut self, _: usize, rows: Range<usize>) -> bool {
        self.kept.get(self.next).is_some_and(|at| (self.known.rows[*at as usize] as usize) < rows.end)
    }

    fn of(&mut self, page: &OpenPage<'_>) -> Result<PageChanges, EngineError> {
        self.work.control.check()?;
        let first = self.next;
        let row = |at: &u32| self.known.rows[*at as usize] as usize;
        let own = &self.kept[first..];
        let own = &own[..own.partition_point(|at| row(at) < page.rows.end)];
        self.next += own.len();
        let originals = page.array(own.iter().map(|at| row(at) - page.rows.start));
        let originals = originals.map_err(|error| self.work.damaged(self.group, &error))?;
        let originals = CellReader::new(originals.as_ref());
        let (mut rows, mut values) = (Vec::with_capacity(own.len()), Appender::new(self.data_type, own.len()));
        for (place, at) in own.iter().enumerate() {
            let Some((key, state)) = self.known.row(*at as usize) else { continue };
            let Some((column, cell)) = self.column.and_then(|column| Some((column, state.cell(column)?))) else {
                continue;
            };
            let Some(overriding) = cell.overriding else { continue };
            if let Some(value) = self.account.cell(key, column, cell, overriding, || originals.text(place))
                && values.append(value)
            {
                rows.push((row(at) - page.rows.start) as u32);
            }
        }
        Ok(PageChanges { rows, cells: CellValues::of(values.finish()?.as_ref()) })
    }
}

/// Where some columns are in a batch that holds just them, in the order of the file.
pub(super) fn in_file_order(file: &ParquetFile, columns: &[usize]) -> Vec<usize> {
    let places = &file.places;
    columns.iter().map(|column| columns.iter().filter(|other| places[**other] < places[*column]).count()).collect()
}
