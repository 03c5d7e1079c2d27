//! The output file: row groups of copied and new chunks.

use std::io::{BufReader, Write};

use arrow_array::RecordBatch;
use parquet::arrow::arrow_writer::compute_leaves;
use parquet::basic::Type as PhysicalType;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::group::Chunk;
use super::layout::{Group, Layout};
use super::levels::{Buffered, nulls};
use crate::build::apply::rows::without_room_for_nulls;
use crate::build::apply::{BATCH_ROWS, Plan};
use crate::error::EngineError;
use crate::manifest::FileStamp;
use crate::read::FileSource;
use crate::read::parquet::{ParquetFile, ReadFrom, SharedFile, damaged};
use crate::write::{AtomicFolder, Digested, Output, OutputWriter, ROW_GROUP_ROWS, parquet_error};

/// Batches of created rows that make one row group.
pub(super) const CREATED_BATCHES: usize = ROW_GROUP_ROWS / BATCH_ROWS;

/// Bytes read at once of a chunk that is copied.
const COPY_BYTES: usize = 1024 * 1024;

/// Writes the output.
pub(super) struct Sink<'a> {
    layout: &'a Layout,
    target: Target,
}

/// Where row groups go.
enum Target {
    /// One behind the other into a file.
    File(Box<SerializedFileWriter<OutputWriter>>),
    /// Each into a file of its own.
    Folder(AtomicFolder),
}

impl<'a> Sink<'a> {
    pub(super) fn new(output: Output, layout: &'a Layout) -> Result<Sink<'a>, EngineError> {
        let target = match output {
            Output::Folder(folder) => Target::Folder(folder),
            file => Target::File(Box::new(file_writer(file.into_writer()?, layout)?)),
        };
        Ok(Sink { layout, target })
    }

    /// Writes a row group by `write`.
    fn row_group(&mut self, write: impl WriteGroup) -> Result<(), EngineError> {
        match &mut self.target {
            Target::File(file) => {
                let mut group = file.next_row_group().map_err(parquet_error)?;
                write.write(&mut group)?;
                group.close().map(drop).map_err(parquet_error)
            }
            Target::Folder(folder) => {
                let mut file = file_writer(folder.part()?, self.layout)?;
                let mut group = file.next_row_group().map_err(parquet_error)?;
                write.write(&mut group)?;
                group.close().map_err(parquet_error)?;
                folder.add(file.into_inner().map_err(parquet_error)?)
            }
        }
    }

    /// Takes over a whole file of the earlier output; false when the output is one file and its row groups are copied.
    pub(super) fn keep(&mut self, file: &FileStamp) -> Result<bool, EngineError> {
        let Target::Folder(folder) = &mut self.target else { return Ok(false) };
        let digested = Digested { bytes: file.print.bytes, sha256: file.sha256.clone() };
        folder.link(&file.print.path, digested).map(|()| true)
    }

    /// Writes one row group of copied and new chunks.
    pub(super) fn write(
        &mut self,
        from: Origin<'_>,
        rows: usize,
        chunks: impl Iterator<Item = Result<Chunk, EngineError>>,
    ) -> Result<(), EngineError> {
        let layout = self.layout;
        self.row_group(Chunks { layout, from, rows, chunks })
    }

    /// Writes created rows as one row group; gives their count.
    pub(super) fn write_created(&mut self, plan: &Plan, batches: &[RecordBatch]) -> Result<u64, EngineError> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(0);
        }
        let layout = self.layout;
        self.row_group(Created { layout, plan, batches, rows })?;
        Ok(rows as u64)
    }

    /// Ends the output.
    pub(super) fn finish(self) -> Result<Output, EngineError> {
        match self.target {
            Target::File(writer) => writer.into_inner().map_err(parquet_error)?.into_output(),
            Target::Folder(mut folder) => {
                if folder.is_empty() {
                    // A dataset without rows has columns all the same.
                    let file = file_writer(folder.part()?, self.layout)?;
                    folder.add(file.into_inner().map_err(parquet_error)?)?;
                }
                Ok(Output::Folder(folder))
            }
        }
    }
}

fn file_writer<W: Write + Send>(out: W, layout: &Layout) -> Result<SerializedFileWriter<W>, EngineError> {
    SerializedFileWriter::new(out, layout.schema.clone(), layout.properties.clone()).map_err(parquet_error)
}

/// The content of one row group.
trait WriteGroup {
    fn write<W: Write + Send>(self, writer: &mut SerializedRowGroupWriter<'_, W>) -> Result<(), EngineError>;
}

/// Where chunks are copied from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The row group that [`Chunk::Copy`] means.
    pub(super) own: Place<'a>,
    /// The row group that [`Chunk::CopyOriginal`] means.
    pub(super) original: Place<'a>,
}

/// A row group in a file.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) source: &'a FileSource,
    pub(super) file: &'a ParquetFile,
    pub(super) group: &'a Group,
}

struct Chunks<'a, C> {
    layout: &'a Layout,
    from: Origin<'a>,
    rows: usize,
    chunks: C,
}

impl<C: Iterator<Item = Result<Chunk, EngineError>>> WriteGroup for Chunks<'_, C> {
    fn write<W: Write + Send>(self, writer: &mut SerializedRowGroupWriter<'_, W>) -> Result<(), EngineError> {
        for chunk in self.chunks {
            match chunk? {
                Chunk::Copy(leaf) => copy(self.from.own, leaf, self.rows, self.layout.has_page_index, writer)?,
                Chunk::CopyOriginal(leaf) => {
                    copy(self.from.original, leaf, self.rows, self.layout.has_page_index, writer)?;
                }
                Chunk::Encoded(mut chunk) => {
                    without_old_statistics(chunk.close_mut())?;
                    chunk.append_to_row_group(writer).map_err(parquet_error)?;
                }
                Chunk::Buffered(chunk) => append(*chunk, writer)?,
            }
        }
        Ok(())
    }
}

struct Created<'a> {
    layout: &'a Layout,
    plan: &'a Plan,
    batches: &'a [RecordBatch],
    rows: usize,
}

impl WriteGroup for Created<'_> {
    fn write<W: Write + Send>(self, writer: &mut SerializedRowGroupWriter<'_, W>) -> Result<(), EngineError> {
        let (plan, rows) = (self.plan, self.rows);
        for (place, column) in self.layout.columns.iter().enumerate() {
            if column.editable.is_none() && !plan.keys.places.contains(&place) {
                // Created rows have values in their key and editable columns only.
                for leaf in column.leaves.clone() {
                    let chunk = nulls(&self.layout.descriptor.column(leaf), &self.layout.properties, rows);
                    append(chunk.map_err(parquet_error)?, writer)?;
                }
                continue;
            }
            let mut writers = column.writers(None)?;
            for batch in self.batches {
                let array = without_room_for_nulls(batch.column(place).clone())?;
                let leaves = compute_leaves(plan.schema.field(place), &array).map_err(parquet_error)?;
                for (leaf, writer) in leaves.iter().zip(&mut writers) {
                    writer.write(leaf).map_err(parquet_error)?;
                }
            }
            for column_writer in writers {
                let mut chunk = column_writer.close().map_err(parquet_error)?;
                without_old_statistics(chunk.close_mut())?;
                chunk.append_to_row_group(writer).map_err(parquet_error)?;
            }
        }
        Ok(())
    }
}

fn append<W: Write + Send>(chunk: Buffered, writer: &mut SerializedRowGroupWriter<'_, W>) -> Result<(), EngineError> {
    let mut close = chunk.close;
    without_old_statistics(&mut close)?;
    writer.append_column(&chunk.bytes, close).map_err(parquet_error)
}

/// Leaves out the smallest and largest value in the fields that have no stated order (`min` and `max`); they stand in
/// `min_value` and `max_value`. A chunk that is copied cannot have them, because reading does not tell whether it had: so
/// none has, and a chunk is the same bytes whether it was just encoded or is copied from an earlier output.
fn without_old_statistics(close: &mut ColumnCloseResult) -> Result<(), EngineError> {
    let Some(statistics) = close.metadata.statistics() else { return Ok(()) };
    let statistics = match statistics.clone() {
        Statistics::Boolean(values) => Statistics::Boolean(values.with_backwards_compatible_min_max(false)),
        Statistics::Int32(values) => Statistics::Int32(values.with_backwards_compatible_min_max(false)),
        Statistics::Int64(values) => Statistics::Int64(values.with_backwards_compatible_min_max(false)),
        Statistics::Int96(values) => Statistics::Int96(values.with_backwards_compatible_min_max(false)),
        Statistics::Float(values) => Statistics::Float(values.with_backwards_compatible_min_max(false)),
        Statistics::Double(values) => Statistics::Double(values.with_backwards_compatible_min_max(false)),
        Statistics::ByteArray(values) => Statistics::ByteArray(values.with_backwards_compatible_min_max(false)),
        Statistics::FixedLenByteArray(values) => {
            Statistics::FixedLenByteArray(values.with_backwards_compatible_min_max(false))
        }
    };
    let builder = close.metadata.clone().into_builder().set_statistics(statistics);
    close.metadata = builder.build().map_err(parquet_error)?;
    Ok(())
}

/// Copies a chunk as it is, with what the file says of it. Bloom filters are left behind: they are rare and can be made
/// again.
fn copy<W: Write + Send>(
    from: Place<'_>,
    leaf: usize,
    rows: usize,
    has_page_index: bool,
    writer: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<(), EngineError> {
    let Place { source, file, group } = from;
    let damaged =
        |error: &dyn std::fmt::Display| damaged(source, &file.path, format!("row group {}", group.place + 1), error);
    let metadata = file.metadata.metadata();
    let chunk = metadata.row_group(group.place).column(leaf);
    let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    let bytes = u64::try_from(chunk.compressed_size()).ok();
    let end = bytes.zip(u64::try_from(start).ok()).and_then(|(bytes, start)| start.checked_add(bytes));
    let (Some(bytes), true) = (bytes, end.is_some_and(|end| end <= file.file.len())) else {
        return Err(damaged(&"a column chunk is beyond the end of the file"));
    };
    // The order of 96-bit times is nowhere defined, and that of statistics without a stated order is unknown.
    let is_trusted = file.trusts_statistics() && chunk.column_type() != PhysicalType::INT96;
    let index = metadata.page_index_for_row_group(group.place);
    let chunk = if is_trusted {
        chunk.clone()
    } else {
        chunk.clone().into_builder().clear_statistics().build().map_err(|error| damaged(&error))?
    };
    let close = ColumnCloseResult {
        bytes_written: bytes,
        rows_written: rows as u64,
        metadata: chunk,
        bloom_filter: None,
        column_index: index.column_index(leaf).filter(|_| has_page_index && is_trusted).cloned(),
        offset_index: index.offset_index(leaf).filter(|_| has_page_index).cloned(),
    };
    writer.append_column(&InLargeReads(&file.file), close).map_err(parquet_error)
}

/// A file that is read in large pieces.
struct InLargeReads<'a>(&'a SharedFile);

impl Length for InLargeReads<'_> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for InLargeReads<'_> {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::with_capacity(COPY_BYTES, self.0.read_from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<bytes::Bytes> {
        self.0.get_bytes(start, length)
    }
}
