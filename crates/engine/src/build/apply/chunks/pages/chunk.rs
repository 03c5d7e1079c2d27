//! A column chunk as its pages.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use arrow_schema::DataType;
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::header::{self, PageKind};
use super::hybrid;
use super::values::{Form, Values};
use crate::read::parquet::{ParquetFile, guarded};

/// A larger chunk is not edited page by page, because all of it is in memory then.
const CHUNK_BYTES_MAX: i64 = 256 * 1024 * 1024;

/// A page with more rows is not edited: a place in memory is kept for each of them.
const PAGE_ROWS_MAX: usize = 16 * 1024 * 1024;

/// A chunk of a column without nesting that may have nulls, in pages of kinds that can be edited.
pub(in crate::build::apply::chunks) struct PagedChunk {
    pub(super) metadata: ColumnChunkMetaData,
    pub(super) form: Form,
    pub(super) data_type: DataType,
    bytes: Bytes,
    pub(super) dictionary: Option<PageAt>,
    pub(super) pages: Vec<PageAt>,
    /// The values of the dictionary, once they were asked for.
    values: OnceCell<Values>,
}

/// Where a page lies in its chunk.
#[derive(Debug, Clone)]
pub(super) struct PageAt {
    /// With its header.
    range: Range<usize>,
    /// Of the whole, when it is not compressed: header and content.
    pub(super) bytes_uncompressed: usize,
    /// Its rows, by their numbers in the row group.
    pub(super) rows: Range<usize>,
    pub(super) is_v2: bool,
    pub(super) encoding: Encoding,
}

impl PageAt {
    pub(super) fn is_by_dictionary(&self) -> bool {
        self.encoding != Encoding::PLAIN
    }
}

/// The content of a data page.
pub(super) struct DataPage {
    /// The levels as they are stored, without their length.
    pub(super) levels: Bytes,
    /// For each row where its value is among the values; none when no row is null.
    pub(super) places: Option<Vec<u32>>,
    pub(super) content: Content,
}

/// In [`DataPage::places`] a row without a value.
pub(super) const NULL: u32 = u32::MAX;

/// The values of the rows that are not null.
pub(super) enum Content {
    /// Places in the chunk's dictionary.
    Indices(Vec<u32>),
    Plain(Values),
}

impl DataPage {
    /// Where the value of a row is among the values; none when it is null.
    pub(super) fn place(&self, row: usize) -> Option<usize> {
        match &self.places {
            None => Some(row),
            Some(places) => Some(places[row]).filter(|place| *place != NULL).map(|place| place as usize),
        }
    }
}

impl PagedChunk {
    /// Reads a chunk and looks where its pages are; none when they are of other kinds. That depends on nothing but the
    /// chunk.
    ///
    /// # Errors
    /// When the chunk is not where it should be, or its headers are damaged.
    pub(in crate::build::apply::chunks) fn open(
        file: &ParquetFile,
        group: usize,
        leaf: usize,
        data_type: &DataType,
    ) -> Result<Option<PagedChunk>> {
        let metadata = file.metadata.metadata().row_group(group).column(leaf);
        let descriptor = metadata.column_descr();
        let Some(form) = Form::of(data_type, descriptor) else { return Ok(None) };
        #[allow(deprecated)]
        let is_editable = |encoding| {
            matches!(
                encoding,
                Encoding::PLAIN | Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY | Encoding::RLE
                    // Said by old writers of levels that are not there.
                    | Encoding::BIT_PACKED
            )
        };
        if descriptor.max_def_level() != 1
            || descriptor.max_rep_level() != 0
            || metadata.compressed_size() > CHUNK_BYTES_MAX
            || !metadata.encodings().all(is_editable)
        {
            return Ok(None);
        }
        let start = metadata.dictionary_page_offset().unwrap_or_else(|| metadata.data_page_offset());
        let range = u64::try_from(start).ok().zip(usize::try_from(metadata.compressed_size()).ok());
        let Some((start, length)) =
            range.filter(|(start, length)| start.saturating_add(*length as u64) <= file.file.len())
        else {
            return Err(damaged("a column chunk is beyond the end of the file"));
        };
        let bytes = file.file.get_bytes(start, length)?;
        let mut chunk = PagedChunk {
            metadata: metadata.clone(),
            form,
            data_type: data_type.clone(),
            bytes,
            dictionary: None,
            pages: Vec::new(),
            values: OnceCell::new(),
        };
        let rows = usize::try_from(file.metadata.metadata().row_group(group).num_rows()).unwrap_or(0);
        Ok(chunk.find_pages(rows)?.then_some(chunk))
    }

    /// False when there is a page of another kind.
    fn find_pages(&mut self, rows: usize) -> Result<bool> {
        let (mut at, mut row) = (0, 0usize);
        while at < self.bytes.len() {
            let read = header::read(&self.bytes[at..]);
            let end = read.and_then(|(header, length)| at.checked_add(length)?.checked_add(header.compressed));
            let (Some((header, length)), Some(end)) = (read, end.filter(|end| *end <= self.bytes.len())) else {
                return Err(damaged("the header of a page"));
            };
            let encoding = match header.encoding {
                header::PLAIN => Encoding::PLAIN,
                header::PLAIN_DICTIONARY => Encoding::PLAIN_DICTIONARY,
                header::RLE_DICTIONARY => Encoding::RLE_DICTIONARY,
                _ => return Ok(false),
            };
            let bytes_uncompressed = length.saturating_add(header.uncompressed);
            let is_v2 = header.kind == PageKind::DataV2;
            let page = |rows| PageAt { range: at..end, bytes_uncompressed, rows, is_v2, encoding };
            match header.kind {
                PageKind::Dictionary if at == 0 && encoding != Encoding::RLE_DICTIONARY => {
                    self.dictionary = Some(page(0..header.values));
                }
                PageKind::DataV1 | PageKind::DataV2 if header.values > PAGE_ROWS_MAX => return Ok(false),
                PageKind::DataV1 | PageKind::DataV2 if header.levels_encoding == header::RLE => {
                    let after = row.saturating_add(header.values);
                    self.pages.push(page(row..after));
                    row = after;
                }
                _ => return Ok(false),
            }
            at = end;
        }
        if row != rows {
            return Err(damaged("a column has other rows than its row group"));
        }
        let has_dictionary = self.dictionary.is_some();
        Ok(self.pages.iter().all(|page| has_dictionary || !page.is_by_dictionary()))
    }

    /// Whether another chunk has its rows in the same pages.
    pub(in crate::build::apply::chunks) fn lies_like(&self, other: &PagedChunk) -> bool {
        self.pages.iter().map(|page| &page.rows).eq(other.pages.iter().map(|page| &page.rows))
    }

    /// Whether a page is the same bytes in another chunk that [`PagedChunk::lies_like`] this one.
    pub(in crate::build::apply::chunks) fn has_same(&self, page: usize, other: &PagedChunk) -> bool {
        self.raw(&self.pages[page]) == other.raw(&other.pages[page])
    }

    /// A page as it is in the file.
    pub(super) fn raw(&self, page: &PageAt) -> &[u8] {
        &self.bytes[page.range.clone()]
    }

    fn page(&self, at: &PageAt) -> Result<Page> {
        let metadata = self
            .metadata
            .clone()
            .into_builder()
            .clear_statistics()
            .set_dictionary_page_offset(None)
            .set_data_page_offset(0)
            .set_total_compressed_size(at.range.len() as i64)
            .build()?;
        let bytes = Arc::new(self.bytes.slice(at.range.clone()));
        guarded(|| SerializedPageReader::new(bytes, &metadata, at.rows.len(), None)?.get_next_page())
            .map_err(|error| ParquetError::General(error.to_string()))??
            .ok_or_else(|| damaged("a page without content"))
    }

    /// The values of the dictionary; none of them when there is none.
    pub(super) fn values(&self) -> Result<&Values> {
        if let Some(values) = self.values.get() {
            return Ok(values);
        }
        let values = match &self.dictionary {
            None => Values::read(Bytes::new(), self.form, 0),
            Some(at) => Values::read(self.page(at)?.buffer().clone(), self.form, at.rows.len()),
        };
        let values = values.ok_or_else(|| damaged("a dictionary that is too short"))?;
        Ok(self.values.get_or_init(|| values))
    }

    /// The content of a data page.
    pub(super) fn read(&self, at: &PageAt) -> Result<DataPage> {
        let rows = at.rows.len();
        let too_short = || damaged("a page that is too short");
        let (levels, values) = match self.page(at)? {
            Page::DataPage { buf, .. } => {
                let length = buf.get(..4).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes);
                let end = length.and_then(|length| 4usize.checked_add(length as usize));
                let end = end.filter(|end| *end <= buf.len()).ok_or_else(too_short)?;
                (buf.slice(4..end), buf.slice(end..))
            }
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
                let (definition, repetition) = (def_levels_byte_len as usize, rep_levels_byte_len as usize);
                let end = definition.checked_add(repetition).filter(|end| *end <= buf.len()).ok_or_else(too_short)?;
                (buf.slice(repetition..end), buf.slice(end..))
            }
            Page::DictionaryPage { .. } => return Err(damaged("a dictionary among other pages")),
        };
        let (mut places, mut count) = (None, rows);
        let defined = hybrid::decode(&levels, 1, rows).ok_or_else(too_short)?;
        if defined.contains(&0) {
            count = 0;
            let mut defined = defined;
            for defined in &mut defined {
                *defined = if *defined == 0 {
                    NULL
                } else {
                    count += 1;
                    count as u32 - 1
                };
            }
            places = Some(defined);
        }
        let content = if at.is_by_dictionary() {
            let (width, indices) = match values.split_first() {
                Some((width, indices)) => (u32::from(*width), indices),
                None if count == 0 => (0, &[][..]),
                None => return Err(too_short()),
            };
            let indices = hybrid::decode(indices, width, count).ok_or_else(too_short)?;
            let size = self.values()?.len();
            if indices.iter().any(|index| *index as usize >= size) {
                return Err(damaged("a value that is not in the dictionary"));
            }
            Content::Indices(indices)
        } else {
            Content::Plain(Values::read(values, self.form, count).ok_or_else(too_short)?)
        };
        Ok(DataPage { levels, places, content })
    }

    /// The value of a row of a page; none when it is null.
    pub(super) fn value<'v>(&'v self, page: &'v DataPage, row: usize) -> Result<Option<&'v [u8]>> {
        let Some(place) = page.place(row) else { return Ok(None) };
        Ok(Some(match &page.content {
            Content::Indices(indices) => self.values()?.get(indices[place] as usize),
            Content::Plain(values) => values.get(place),
        }))
    }
}

pub(super) fn damaged(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}
