//! Edits of a column chunk page by page: a page without an edit stays the bytes that it is, one with edits is decoded and
//! encoded in the way in which it was, and the dictionary stays, with new values behind it.
//!
//! What comes out depends on nothing but the original's chunk and the values that it is to hold: a page becomes another one
//! only when a value in it does, new values get into the dictionary in the order of their first rows, and the smallest and
//! largest values are exact where the original's are. So it does not matter how a build came to know those values.

mod chunk;
mod codec;
mod dictionary;
mod header;
mod hybrid;
mod summary;
mod values;

use arrow_array::ArrayRef;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::errors::Result;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

use super::levels::Buffered;
use crate::error::EngineError;
use chunk::{Content, DataPage, NULL, PageAt, damaged};
use dictionary::Dictionary;
use summary::{PageSummary, Summary};
use values::Form;

pub(super) use chunk::PagedChunk;
pub(super) use summary::OldIndex;
pub(super) use values::CellValues;

/// What some rows of a page are to hold.
#[derive(Default)]
pub(super) struct PageChanges {
    /// Rows by their numbers in the page, in order.
    pub(super) rows: Vec<u32>,
    /// For each of them its value.
    pub(super) cells: CellValues,
}

/// Where a chunk is to change.
pub(super) trait Changes {
    /// Whether the page of this number may change. Its rows are given.
    fn may_change(&mut self, page: usize, rows: std::ops::Range<usize>) -> bool;

    /// What some of the page's rows are to hold; it may be what they hold already.
    fn of(&mut self, page: &OpenPage<'_>) -> Result<PageChanges, EngineError>;
}

/// A page of the original that is being edited.
pub(super) struct OpenPage<'a> {
    chunk: &'a PagedChunk,
    content: DataPage,
    /// Its number among the data pages.
    pub(super) number: usize,
    /// Its rows, by their numbers in the row group.
    pub(super) rows: std::ops::Range<usize>,
}

impl OpenPage<'_> {
    /// The original's values of some rows of the page, by their numbers in it.
    pub(super) fn array(&self, rows: impl Iterator<Item = usize>) -> Result<ArrayRef, String> {
        let mut cells = CellValues::default();
        for row in rows {
            cells.push(self.chunk.value(&self.content, row).map_err(|error| error.to_string())?);
        }
        cells.array(&self.chunk.data_type)
    }

    /// What rows of the page hold in another chunk of the same rows, where that is something else.
    pub(super) fn differences(&self, other: &PagedChunk) -> Result<PageChanges> {
        let content = other.read(&other.pages[self.number])?;
        // Places in the dictionary mean the same in both as far as the original's goes.
        let same_up_to = match (&self.content.content, &content.content) {
            (Content::Indices(_), Content::Indices(_)) => {
                let (own, others) = (self.chunk.values()?, other.values()?);
                if others.plain().starts_with(own.plain()) { own.len() } else { 0 }
            }
            _ => 0,
        };
        let mut changes = PageChanges::default();
        for row in 0..self.rows.len() {
            let (own, others) = (self.content.place(row), content.place(row));
            if let (Some(own), Some(others)) = (own, others)
                && let (Content::Indices(own_indices), Content::Indices(indices)) =
                    (&self.content.content, &content.content)
                && own_indices[own] == indices[others]
                && (indices[others] as usize) < same_up_to
            {
                continue;
            }
            if own.is_none() && others.is_none() {
                continue;
            }
            let value = other.value(&content, row)?;
            if self.chunk.value(&self.content, row)? != value {
                changes.push(row as u32, value);
            }
        }
        Ok(changes)
    }
}

impl PageChanges {
    /// Takes the next row.
    pub(super) fn push(&mut self, row: u32, value: Option<&[u8]>) {
        self.rows.push(row);
        self.cells.push(value);
    }

    /// The changes of the rows of one page.
    pub(super) fn part(&self, rows: std::ops::Range<usize>) -> PageChanges {
        let [first, end] = [rows.start, rows.end].map(|end| self.rows.partition_point(|row| (*row as usize) < end));
        let mut part = PageChanges::default();
        for place in first..end {
            part.push(self.rows[place] - rows.start as u32, self.cells.get(place));
        }
        part
    }

    /// Whether one of these rows changes.
    pub(super) fn is_in(&self, rows: &std::ops::Range<usize>) -> bool {
        let next = self.rows.partition_point(|row| (*row as usize) < rows.start);
        self.rows.get(next).is_some_and(|row| (*row as usize) < rows.end)
    }

    /// These changes with others laid over them; a row of `restored` is to hold what it holds in the original.
    pub(super) fn overlaid(&self, others: &PageChanges, restored: &[u32]) -> PageChanges {
        let mut overlaid = PageChanges::default();
        let mut others_next = 0;
        let mut take_until = |overlaid: &mut PageChanges, end: u32| {
            while others_next < others.rows.len() && others.rows[others_next] < end {
                overlaid.push(others.rows[others_next], others.cells.get(others_next));
                others_next += 1;
            }
        };
        for (place, row) in self.rows.iter().enumerate() {
            take_until(&mut overlaid, *row);
            if others.rows.binary_search(row).is_err() && restored.binary_search(row).is_err() {
                overlaid.push(*row, self.cells.get(place));
            }
        }
        take_until(&mut overlaid, u32::MAX);
        overlaid
    }
}

/// Changes that are known for the whole chunk, by the rows' numbers in the row group.
impl Changes for PageChanges {
    fn may_change(&mut self, _: usize, rows: std::ops::Range<usize>) -> bool {
        self.is_in(&rows)
    }

    fn of(&mut self, page: &OpenPage<'_>) -> Result<PageChanges, EngineError> {
        Ok(self.part(page.rows.clone()))
    }
}

/// Edits a chunk; none when no value in it becomes another one. `old` is the page index that the original's chunk has,
/// when the output has one. `broken` makes an error of what is wrong with the original.
pub(super) fn edit(
    chunk: &PagedChunk,
    old: Option<OldIndex<'_>>,
    changes: &mut impl Changes,
    broken: &dyn Fn(&dyn std::fmt::Display) -> EngineError,
) -> Result<Option<Buffered>, EngineError> {
    let wrong = |error: parquet::errors::ParquetError| broken(&error);
    let mut edit =
        Edit { chunk, dictionary: None, pages: Vec::with_capacity(chunk.pages.len()), summary: Summary::new(chunk) };
    for (number, at) in chunk.pages.iter().enumerate() {
        if !changes.may_change(number, at.rows.clone()) {
            edit.pages.push(NewPage::Kept);
            continue;
        }
        let content = chunk.read(at).map_err(wrong)?;
        let page = OpenPage { chunk, content, number, rows: at.rows.clone() };
        let wanted = changes.of(&page)?;
        let new = edit.page(at, &page.content, &wanted).map_err(wrong)?;
        edit.pages.push(new);
    }
    edit.finish(old).map_err(wrong)
}

struct Edit<'a> {
    chunk: &'a PagedChunk,
    dictionary: Option<Dictionary<'a>>,
    pages: Vec<NewPage>,
    summary: Summary,
}

enum NewPage {
    Kept,
    /// Written anew: with its header, how large header and content are uncompressed, how its values are encoded.
    Edited {
        bytes: Vec<u8>,
        bytes_uncompressed: usize,
        encoding: Encoding,
        summary: PageSummary,
    },
}

/// A change that is one: the row, the place of its value among those of the page before, and the number of the change.
struct Change {
    row: usize,
    place: Option<usize>,
    wanted: usize,
}

impl<'a> Edit<'a> {
    fn page(&mut self, at: &PageAt, old: &DataPage, wanted: &PageChanges) -> Result<NewPage> {
        let chunk = self.chunk;
        let mut changes = Vec::with_capacity(wanted.rows.len());
        let mut changes_nulls = false;
        for (number, row) in wanted.rows.iter().enumerate() {
            let row = *row as usize;
            let (before, after) = (chunk.value(old, row)?, wanted.cells.get(number));
            if before != after {
                self.summary.exchange(before, after);
                changes_nulls |= before.is_none() != after.is_none();
                changes.push(Change { row, place: old.place(row), wanted: number });
            }
        }
        if changes.is_empty() {
            return Ok(NewPage::Kept);
        }
        let new = NewValues { rows: at.rows.len(), old, changes: &changes, wanted: &wanted.cells, changes_nulls };
        let mut encoding = at.encoding;
        let mut body = Vec::new();
        let summary = match &old.content {
            Content::Indices(indices) => {
                let dictionary = match &mut self.dictionary {
                    Some(dictionary) => dictionary,
                    empty => empty.insert(Dictionary::new(chunk.form, chunk.values()?)),
                };
                match new.indices(indices, dictionary) {
                    Some(indices) => {
                        let width = hybrid::width_of(indices.iter().copied().max().unwrap_or(0));
                        body.push(width as u8);
                        hybrid::encode(&indices, width, &mut body);
                        PageSummary::of_indices(chunk.form, &indices, dictionary)
                    }
                    None => {
                        encoding = Encoding::PLAIN;
                        let dictionary: &Dictionary<'_> = dictionary;
                        new.plain(chunk.form, |place| dictionary.get(indices[place] as usize), &mut body)
                    }
                }
            }
            Content::Plain(values) => new.plain(chunk.form, |place| values.get(place), &mut body),
        };
        let levels = if changes_nulls { Bytes::from(new.levels()) } else { old.levels.clone() };
        let nulls = at.rows.len() - summary.values;
        let (bytes, bytes_uncompressed) = write_page(at, encoding, nulls, &levels, body, chunk.metadata.compression())?;
        Ok(NewPage::Edited { bytes, bytes_uncompressed, encoding, summary })
    }

    fn finish(self, old: Option<OldIndex<'_>>) -> Result<Option<Buffered>> {
        let Edit { chunk, dictionary, pages, summary } = self;
        if pages.iter().all(|page| matches!(page, NewPage::Kept)) {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(chunk.metadata.compressed_size() as usize + 64 * 1024);
        let mut layout = summary::Layout::default();
        if let Some(at) = &chunk.dictionary {
            let uncompressed = match &dictionary {
                Some(dictionary) if dictionary.has_grown() => {
                    let plain = dictionary.plain();
                    let uncompressed = plain.len();
                    let page = Page::DictionaryPage {
                        buf: codec::compress(plain, chunk.metadata.compression())?,
                        num_values: dictionary.len() as u32,
                        encoding: at.encoding,
                        is_sorted: false,
                    };
                    let (page, header) = with_header(page, uncompressed)?;
                    bytes.extend_from_slice(&page);
                    header + uncompressed
                }
                _ => {
                    bytes.extend_from_slice(chunk.raw(at));
                    at.bytes_uncompressed
                }
            };
            layout.dictionary(at.encoding, bytes.len(), uncompressed);
        }
        for (at, page) in chunk.pages.iter().zip(&pages) {
            let (raw, uncompressed, encoding) = match page {
                NewPage::Kept => (chunk.raw(at), at.bytes_uncompressed, at.encoding),
                NewPage::Edited { bytes, bytes_uncompressed, encoding, .. } => {
                    (&bytes[..], *bytes_uncompressed, *encoding)
                }
            };
            bytes.extend_from_slice(raw);
            layout.page(at, encoding, raw.len(), uncompressed);
        }
        let close = summary.close(chunk, old, &pages, layout)?;
        Ok(Some(Buffered { bytes: bytes.into(), close }))
    }
}

/// The values that a page is to hold.
struct NewValues<'a> {
    rows: usize,
    old: &'a DataPage,
    changes: &'a [Change],
    wanted: &'a CellValues,
    /// Whether other rows are null than before.
    changes_nulls: bool,
}

impl NewValues<'_> {
    /// Gives for each row that is not null the old place of its value, or the number of its change.
    fn for_each(&self, mut take: impl FnMut(Option<usize>, usize)) {
        let mut changes = self.changes.iter().peekable();
        for row in 0..self.rows {
            match changes.next_if(|change| change.row == row) {
                Some(change) if self.wanted.get(change.wanted).is_some() => take(None, change.wanted),
                Some(_) => {}
                None => {
                    if let Some(place) = self.old.place(row) {
                        take(Some(place), 0);
                    }
                }
            }
        }
    }

    /// By their places in the dictionary; none, and nothing added to it, when there is no room for a new one.
    fn indices(&self, old: &[u32], dictionary: &mut Dictionary<'_>) -> Option<Vec<u32>> {
        let mark = dictionary.mark();
        let mut places = Vec::with_capacity(self.changes.len());
        for change in self.changes {
            let place = match self.wanted.get(change.wanted) {
                None => NULL,
                Some(value) => match dictionary.place(value) {
                    Some(place) => place,
                    None => {
                        dictionary.back_to(mark);
                        return None;
                    }
                },
            };
            places.push(place);
        }
        if !self.changes_nulls {
            let mut indices = old.to_vec();
            for (change, new) in self.changes.iter().zip(places) {
                if let Some(place) = change.place {
                    indices[place] = new;
                }
            }
            return Some(indices);
        }
        let mut indices = Vec::with_capacity(old.len() + self.changes.len());
        let mut changes = self.changes.iter().zip(places).peekable();
        for row in 0..self.rows {
            match changes.next_if(|(change, _)| change.row == row) {
                Some((_, NULL)) => {}
                Some((_, place)) => indices.push(place),
                None => indices.extend(self.old.place(row).map(|place| old[place])),
            }
        }
        Some(indices)
    }

    /// As they are.
    fn plain<'v>(&'v self, form: Form, old: impl Fn(usize) -> &'v [u8], body: &mut Vec<u8>) -> PageSummary {
        let mut summary = PageSummary::new(form);
        self.for_each(|place, wanted| {
            let value = match place {
                Some(place) => old(place),
                None => self.wanted.get(wanted).unwrap_or_default(),
            };
            summary.take(value);
            form.put(value, body);
        });
        summary
    }

    fn levels(&self) -> Vec<u8> {
        let mut changes = self.changes.iter().peekable();
        let defined: Vec<u32> = (0..self.rows)
            .map(|row| match changes.next_if(|change| change.row == row) {
                Some(change) => u32::from(self.wanted.get(change.wanted).is_some()),
                None => u32::from(self.old.place(row).is_some()),
            })
            .collect();
        let mut levels = Vec::new();
        hybrid::encode(&defined, 1, &mut levels);
        levels
    }
}

/// A data page of the same version as the one at `at`, and what it takes uncompressed.
fn write_page(
    at: &PageAt,
    encoding: Encoding,
    nulls: usize,
    levels: &[u8],
    values: Vec<u8>,
    compression: Compression,
) -> Result<(Vec<u8>, usize)> {
    let rows = at.rows.len() as u32;
    let (page, uncompressed) = if at.is_v2 {
        let uncompressed = levels.len() + values.len();
        let packed = codec::compress(values.clone(), compression)?;
        let is_compressed = packed.len() < values.len();
        let mut buf = levels.to_vec();
        buf.extend_from_slice(if is_compressed { &packed } else { &values });
        let page = Page::DataPageV2 {
            buf: buf.into(),
            num_values: rows,
            encoding,
            num_nulls: nulls as u32,
            num_rows: rows,
            def_levels_byte_len: levels.len() as u32,
            rep_levels_byte_len: 0,
            is_compressed,
            statistics: None,
        };
        (page, uncompressed)
    } else {
        let mut content = Vec::with_capacity(4 + levels.len() + values.len());
        content.extend_from_slice(&(levels.len() as u32).to_le_bytes());
        content.extend_from_slice(levels);
        content.extend_from_slice(&values);
        let uncompressed = content.len();
        let page = Page::DataPage {
            buf: codec::compress(content, compression)?,
            num_values: rows,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        (page, uncompressed)
    };
    let (bytes, header) = with_header(page, uncompressed)?;
    Ok((bytes, header + uncompressed))
}

/// A page behind its header, and the length of that.
fn with_header(page: Page, uncompressed: usize) -> Result<(Vec<u8>, usize)> {
    let content = page.buffer().len();
    let mut out = TrackedWrite::new(Vec::with_capacity(content + 64));
    SerializedPageWriter::new(&mut out).write_page(CompressedPage::new(page, uncompressed))?;
    let bytes = out.into_inner()?;
    let header = bytes.len().checked_sub(content).ok_or_else(|| damaged("a page without a header"))?;
    Ok((bytes, header))
}
