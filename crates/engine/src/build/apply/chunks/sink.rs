//! The output file: row groups of copied and new chunks.

use std::io::{BufReader, Write};

use arrow_array::RecordBatch;
use parquet::arrow::arrow_writer::compute_leaves;
use parquet::basic::Type as PhysicalType;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::group::Chunk;
use super::layout::{Group, Layout};
use super::levels::nulls;
use crate::build::apply::{BATCH_ROWS, Plan};
use crate::error::EngineError;
use crate::read::FileSource;
use crate::read::parquet::{ParquetFile, ReadFrom, SharedFile, damaged};
use crate::write::{AtomicFile, ROW_GROUP_ROWS, parquet_error};

/// Batches of created rows that make one row group.
pub(super) const CREATED_BATCHES: usize = ROW_GROUP_ROWS / BATCH_ROWS;

/// Bytes read at once of a chunk that is copied.
const COPY_BYTES: usize = 1024 * 1024;

/// Writes the output.
pub(super) struct Sink<'a> {
    layout: &'a Layout,
    writer: SerializedFileWriter<AtomicFile>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(file: AtomicFile, layout: &'a Layout) -> Result<Sink<'a>, EngineError> {
        let writer = SerializedFileWriter::new(file, layout.schema.clone(), layout.properties.clone());
        Ok(Sink { layout, writer: writer.map_err(parquet_error)? })
    }

    /// Writes one row group; what is copied is copied from a row group of `file`.
    pub(super) fn write(
        &mut self,
        source: &FileSource,
        file: &ParquetFile,
        group: &Group,
        rows: usize,
        chunks: Vec<Chunk>,
    ) -> Result<(), EngineError> {
        let mut writer = self.writer.next_row_group().map_err(parquet_error)?;
        for chunk in chunks {
            match chunk {
                Chunk::Copy(leaf) => copy(source, file, group, leaf, rows, self.layout.has_page_index, &mut writer)?,
                Chunk::Encoded(chunk) => chunk.append_to_row_group(&mut writer).map_err(parquet_error)?,
                Chunk::Buffered(chunk) => {
                    let chunk = *chunk;
                    writer.append_column(&chunk.bytes, chunk.close).map_err(parquet_error)?;
                }
            }
        }
        writer.close().map(drop).map_err(parquet_error)
    }

    /// Writes created rows as one row group; gives their count.
    pub(super) fn write_created(&mut self, plan: &Plan, batches: &[RecordBatch]) -> Result<u64, EngineError> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(0);
        }
        let mut writer = self.writer.next_row_group().map_err(parquet_error)?;
        for (place, column) in self.layout.columns.iter().enumerate() {
            if column.editable.is_none() && !plan.keys.places.contains(&place) {
                // Created rows have values in their key and editable columns only.
                for leaf in column.leaves.clone() {
                    let chunk = nulls(&self.layout.descriptor.column(leaf), &self.layout.properties, rows);
                    let chunk = chunk.map_err(parquet_error)?;
                    writer.append_column(&chunk.bytes, chunk.close).map_err(parquet_error)?;
                }
                continue;
            }
            let mut writers = column.writers(None)?;
            for batch in batches {
                let leaves = compute_leaves(plan.schema.field(place), batch.column(place)).map_err(parquet_error)?;
                for (leaf, writer) in leaves.iter().zip(&mut writers) {
                    writer.write(leaf).map_err(parquet_error)?;
                }
            }
            for column_writer in writers {
                let chunk = column_writer.close().map_err(parquet_error)?;
                chunk.append_to_row_group(&mut writer).map_err(parquet_error)?;
            }
        }
        writer.close().map_err(parquet_error)?;
        Ok(rows as u64)
    }

    /// Ends the file.
    pub(super) fn finish(self) -> Result<AtomicFile, EngineError> {
        self.writer.into_inner().map_err(parquet_error)
    }
}

/// Copies a chunk as it is, with what the file says of it. Bloom filters are left behind: they are rare and can be made
/// again.
fn copy<W: Write + Send>(
    source: &FileSource,
    file: &ParquetFile,
    group: &Group,
    leaf: usize,
    rows: usize,
    has_page_index: bool,
    writer: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<(), EngineError> {
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
