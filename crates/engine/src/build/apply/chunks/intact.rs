//! Whether a chunk that is copied as bytes can be read.
//!
//! What is copied is not decoded. Without this look, a damaged or encrypted column of an original would become one of an
//! output that nobody can read, and the build would be told as a good one. Only the headers of the pages are read: what
//! is wrong inside a page is found by whoever decodes it, by the page's own checksum if it has one.

use std::sync::Arc;

use parquet::column::page::PageReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use crate::read::parquet::SharedFile;

/// Goes from page to page of a chunk.
///
/// # Errors
/// When the pages do not follow one another to the end of the chunk, or do not have as many values as it has rows.
pub(super) fn check_pages(file: &SharedFile, chunk: &ColumnChunkMetaData, rows: usize) -> Result<(), ParquetError> {
    let mut pages = SerializedPageReader::new(Arc::new(file.clone()), chunk, rows, None)?;
    let mut values = 0;
    while let Some(page) = pages.peek_next_page()? {
        if !page.is_dict {
            values += page.num_levels.unwrap_or(0);
        }
        pages.skip_next_page()?;
    }
    // A list has any count of values in a row.
    let is_one_for_each_row = chunk.column_descr().max_rep_level() == 0;
    if is_one_for_each_row && values != rows {
        let message = format!("the pages of column {} have {values} values, not {rows}", chunk.column_path());
        return Err(ParquetError::General(message));
    }
    Ok(())
}
