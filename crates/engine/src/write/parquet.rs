//! Apache Parquet.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

use super::io_error;
use crate::error::EngineError;

/// Rows of a row group. One edit rewrites one row group of an unchanged dataset, so they are not too large; and one holds
/// enough rows for its columns to compress.
pub const ROW_GROUP_ROWS: usize = 1024 * 1024;

/// What a row group may take in memory before it is written, for datasets with many or long columns.
const ROW_GROUP_BYTES_MAX: usize = 256 * 1024 * 1024;

/// See [`super::OutputFormat::Parquet`].
pub struct ParquetWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(super) fn new(out: W, schema: &SchemaRef) -> Result<ParquetWriter<W>, EngineError> {
        let writer =
            ArrowWriter::try_new(out, plain(schema), Some(writer_properties().build())).map_err(parquet_error)?;
        Ok(ParquetWriter { writer, schema: plain(schema) })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), batch.columns().to_vec(), &options)
            .map_err(|source| EngineError::Internal { action: "writing Parquet", source: Box::new(source) })?;
        self.writer.write(&batch).map_err(parquet_error)?;
        if self.writer.memory_size() > ROW_GROUP_BYTES_MAX {
            self.writer.flush().map_err(parquet_error)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<W, EngineError> {
        self.writer.into_inner().map_err(parquet_error)
    }
}

/// The settings with which Stet writes Parquet. The writer's name is without a version, so that the same rows give the
/// same bytes after an upgrade that changes nothing in the encoding.
pub fn writer_properties() -> WriterPropertiesBuilder {
    let builder =
        WriterProperties::builder().set_created_by("Stet".to_owned()).set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    match ZstdLevel::try_new(1) {
        Ok(level) => builder.set_compression(Compression::ZSTD(level)),
        Err(_) => builder.set_compression(Compression::SNAPPY),
    }
}

/// The schema without what other programs noted about the file as a whole: it was about the file that was read.
pub(crate) fn plain(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().clone()))
}

/// An error of writing Parquet; a full disk and the like are told as such.
pub(crate) fn parquet_error(error: ParquetError) -> EngineError {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => io_error(*source),
            Err(source) => EngineError::Internal { action: "writing Parquet", source },
        },
        other => EngineError::Internal { action: "writing Parquet", source: Box::new(other) },
    }
}
