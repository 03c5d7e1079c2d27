//! Compressing the content of a page.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Repetition, Type as PhysicalType};
use parquet::column::page::{CompressedPage, PageWriteSpec, PageWriter};
use parquet::column::writer::{ColumnWriter, get_column_writer};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};

/// Compresses bytes with one of Parquet's codecs.
///
/// The `parquet` crate keeps its codecs to itself. But a page with one value of a fixed length, in a column without nulls,
/// holds nothing beside that value: so one is written, and caught before it gets a header.
pub(super) fn compress(content: Vec<u8>, compression: Compression) -> Result<Bytes> {
    let length = i32::try_from(content.len()).map_err(|_| ParquetError::General("a page is too large".into()))?;
    if compression == Compression::UNCOMPRESSED || length == 0 {
        return Ok(content.into());
    }
    let column = Type::primitive_type_builder("content", PhysicalType::FIXED_LEN_BYTE_ARRAY)
        .with_repetition(Repetition::REQUIRED)
        .with_length(length)
        .build()?;
    let descriptor = Arc::new(ColumnDescriptor::new(Arc::new(column), 0, 0, ColumnPath::from("content")));
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_encoding(Encoding::PLAIN)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let caught = Caught::default();
    let mut writer = get_column_writer(descriptor, Arc::new(properties), Box::new(caught.clone()));
    let ColumnWriter::FixedLenByteArrayColumnWriter(column) = &mut writer else {
        return Err(ParquetError::General("a column of fixed length has another writer".into()));
    };
    column.write_batch(&[parquet::data_type::ByteArray::from(content).into()], None, None)?;
    writer.close()?;
    let page = caught.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    page.ok_or_else(|| ParquetError::General("a page was not written".into()))
}

#[derive(Clone, Default)]
struct Caught(Arc<Mutex<Option<Bytes>>>);

impl PageWriter for Caught {
    fn write_page(&mut self, page: CompressedPage) -> Result<PageWriteSpec> {
        let mut caught = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if caught.replace(page.compressed_page().buffer().clone()).is_some() {
            return Err(ParquetError::General("one value became two pages".into()));
        }
        let mut spec = PageWriteSpec::new();
        spec.page_type = page.page_type();
        spec.uncompressed_size = page.uncompressed_size();
        spec.compressed_size = page.compressed_size();
        spec.num_values = page.num_values();
        spec.bytes_written = page.compressed_size() as u64;
        Ok(spec)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}
