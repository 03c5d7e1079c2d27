//! What is told of an edited chunk beside its pages: statistics, page index, sizes.

use std::cmp::Ordering;

use parquet::basic::{Encoding, PageType};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::NewPage;
use super::chunk::{Content, PageAt, PagedChunk};
use super::dictionary::Dictionary;
use super::values::Form;

/// A longer text is not told as the smallest or largest value: nothing is told then.
const BOUND_BYTES_MAX: usize = 4096;

/// The page index of the original's chunk.
#[derive(Clone, Copy)]
pub(in crate::build::apply::chunks) struct OldIndex<'a> {
    /// What it tells of the values of each page, as far as that can be relied on.
    pub(in crate::build::apply::chunks) column: Option<&'a ColumnIndexMetaData>,
}

/// The smallest and the largest value.
#[derive(Clone)]
struct Bounds {
    min: Vec<u8>,
    max: Vec<u8>,
}

/// What a page holds.
pub(super) struct PageSummary {
    form: Form,
    /// How many of its rows are not null.
    pub(super) values: usize,
    nans: usize,
    bounds: Option<Bounds>,
}

impl PageSummary {
    pub(super) fn new(form: Form) -> PageSummary {
        PageSummary { form, values: 0, nans: 0, bounds: None }
    }

    pub(super) fn take(&mut self, value: &[u8]) {
        self.values += 1;
        if self.form.is_nan(value) {
            self.nans += 1;
        } else {
            widen(self.form, &mut self.bounds, value);
        }
    }

    pub(super) fn of_indices(form: Form, indices: &[u32], dictionary: &Dictionary<'_>) -> PageSummary {
        PageSummary::of_places(form, indices, dictionary.len(), |place| dictionary.get(place))
    }

    fn of_places<'v>(form: Form, indices: &[u32], size: usize, get: impl Fn(usize) -> &'v [u8]) -> PageSummary {
        let mut uses = vec![0u32; size];
        indices.iter().for_each(|index| uses[*index as usize] += 1);
        let mut summary = PageSummary::new(form);
        for (place, uses) in uses.into_iter().enumerate().filter(|(_, uses)| *uses > 0) {
            let value = get(place);
            summary.values += uses as usize;
            if form.is_nan(value) {
                summary.nans += uses as usize;
            } else {
                widen(form, &mut summary.bounds, value);
            }
        }
        summary
    }

    /// Of a page that stays as it is.
    fn of_page(chunk: &PagedChunk, at: &PageAt) -> Result<PageSummary> {
        let page = chunk.read(at)?;
        match &page.content {
            Content::Indices(indices) => {
                let values = chunk.values()?;
                Ok(PageSummary::of_places(chunk.form, indices, values.len(), |place| values.get(place)))
            }
            Content::Plain(values) => {
                let mut summary = PageSummary::new(chunk.form);
                (0..values.len()).for_each(|place| summary.take(values.get(place)));
                Ok(summary)
            }
        }
    }
}

fn widen(form: Form, bounds: &mut Option<Bounds>, value: &[u8]) {
    let Some(Bounds { min, max }) = bounds else {
        *bounds = Some(Bounds { min: value.to_vec(), max: value.to_vec() });
        return;
    };
    for (bound, beyond) in [(min, Ordering::Less), (max, Ordering::Greater)] {
        if form.compare(value, bound) == beyond {
            bound.clear();
            bound.extend_from_slice(value);
        }
    }
}

/// Bounds in the form in which they are told: of the two zeros the smaller one is the smallest value.
fn told(form: Form, bounds: Bounds) -> Bounds {
    let Bounds { min, max } = bounds;
    match form {
        Form::Float if number(form, &min) == 0.0 || number(form, &max) == 0.0 => Bounds {
            min: if number(form, &min) == 0.0 { (-0.0f32).to_le_bytes().to_vec() } else { min },
            max: if number(form, &max) == 0.0 { 0.0f32.to_le_bytes().to_vec() } else { max },
        },
        Form::Double if number(form, &min) == 0.0 || number(form, &max) == 0.0 => Bounds {
            min: if number(form, &min) == 0.0 { (-0.0f64).to_le_bytes().to_vec() } else { min },
            max: if number(form, &max) == 0.0 { 0.0f64.to_le_bytes().to_vec() } else { max },
        },
        _ => Bounds { min, max },
    }
}

fn number(form: Form, value: &[u8]) -> f64 {
    match form {
        Form::Float => value.try_into().map_or(f64::NAN, |value| f64::from(f32::from_le_bytes(value))),
        _ => value.try_into().map_or(f64::NAN, f64::from_le_bytes),
    }
}

/// How the values of a chunk change.
pub(super) struct Summary {
    form: Form,
    /// Those of the original, when they are known: and whether they are exact.
    old: Option<(Bounds, [bool; 2])>,
    /// Whether a value is gone that was the smallest or the largest.
    has_lost_bound: bool,
    /// Of the new values.
    new: Option<Bounds>,
    nulls: i64,
    nans: i64,
}

impl Summary {
    pub(super) fn new(chunk: &PagedChunk) -> Summary {
        let form = chunk.form;
        let old = chunk.metadata.statistics().and_then(|statistics| {
            let (min, max) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
            let is_told = |value: &[u8]| form.width().is_none_or(|width| value.len() == width) && !form.is_nan(value);
            let exact = [statistics.min_is_exact(), statistics.max_is_exact()];
            (is_told(min) && is_told(max)).then(|| (Bounds { min: min.to_vec(), max: max.to_vec() }, exact))
        });
        Summary { form, old, has_lost_bound: false, new: None, nulls: 0, nans: 0 }
    }

    /// A value takes the place of another one.
    pub(super) fn exchange(&mut self, before: Option<&[u8]>, after: Option<&[u8]>) {
        self.nulls += i64::from(after.is_none()) - i64::from(before.is_none());
        let is_nan = |value: Option<&[u8]>| value.is_some_and(|value| self.form.is_nan(value));
        let (was_nan, is_nan) = (is_nan(before), is_nan(after));
        self.nans += i64::from(is_nan) - i64::from(was_nan);
        let Some((old, exact)) = &self.old else { return };
        if let Some(before) = before.filter(|_| !was_nan) {
            let is_number = matches!(self.form, Form::Float | Form::Double);
            let is_same =
                |bound: &[u8]| before == bound || (is_number && number(self.form, before) == number(self.form, bound));
            self.has_lost_bound |= (exact[0] && is_same(&old.min)) || (exact[1] && is_same(&old.max));
        }
        if let Some(after) = after.filter(|_| !is_nan) {
            widen(self.form, &mut self.new, after);
        }
    }

    /// The smallest and largest value of the new chunk, and whether they are exact.
    fn bounds(&self, chunk: &PagedChunk, pages: &[NewPage]) -> Result<Option<(Bounds, [bool; 2])>> {
        let Some((old, exact)) = &self.old else { return Ok(None) };
        let mut bounds = None;
        let mut is_exact = [true; 2];
        if self.has_lost_bound {
            for (at, page) in chunk.pages.iter().zip(pages) {
                let kept;
                let own = match page {
                    NewPage::Edited { summary, .. } => &summary.bounds,
                    NewPage::Kept => {
                        kept = PageSummary::of_page(chunk, at)?.bounds;
                        &kept
                    }
                };
                if let Some(own) = own {
                    widen(self.form, &mut bounds, &own.min);
                    widen(self.form, &mut bounds, &own.max);
                }
            }
        } else {
            bounds = Some(old.clone());
            is_exact = *exact;
            if let Some(new) = &self.new {
                is_exact[0] |= self.form.compare(&new.min, &old.min) == Ordering::Less;
                is_exact[1] |= self.form.compare(&new.max, &old.max) == Ordering::Greater;
                widen(self.form, &mut bounds, &new.min);
                widen(self.form, &mut bounds, &new.max);
            }
        }
        let Some(bounds) = bounds.map(|bounds| told(self.form, bounds)) else { return Ok(None) };
        let is_short = |bound: &[u8], old: &[u8]| bound.len() <= BOUND_BYTES_MAX || bound == old;
        let are_short = is_short(&bounds.min, &old.min) && is_short(&bounds.max, &old.max);
        Ok(are_short.then_some((bounds, is_exact)))
    }

    fn statistics(&self, chunk: &PagedChunk, pages: &[NewPage]) -> Result<Option<Statistics>> {
        let Some(old) = chunk.metadata.statistics() else { return Ok(None) };
        let changed = |count: Option<u64>, by: i64| count.and_then(|count| count.checked_add_signed(by));
        let (nulls, nans) = (changed(old.null_count_opt(), self.nulls), changed(old.nan_count_opt(), self.nans));
        let bounds = self.bounds(chunk, pages)?;
        let exact = bounds.as_ref().map_or([true; 2], |(_, exact)| *exact);
        let bounds = bounds.map(|(bounds, _)| bounds);
        macro_rules! statistics {
            ($kind:ident, $read:expr) => {{
                let read = $read;
                let (min, max) = bounds.map(|bounds| (read(bounds.min), read(bounds.max))).unzip();
                let (has_min, has_max) = (min.is_some(), max.is_some());
                Statistics::$kind(
                    ValueStatistics::new(min, max, None, nulls, false)
                        .with_min_is_exact(has_min && exact[0])
                        .with_max_is_exact(has_max && exact[1])
                        .with_nan_count(nans),
                )
            }};
        }
        fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().unwrap_or([0; N])
        }
        Ok(Some(match self.form {
            Form::Int32 => statistics!(Int32, |bytes: Vec<u8>| i32::from_le_bytes(fixed(&bytes))),
            Form::Int64 => statistics!(Int64, |bytes: Vec<u8>| i64::from_le_bytes(fixed(&bytes))),
            Form::Float => statistics!(Float, |bytes: Vec<u8>| f32::from_le_bytes(fixed(&bytes))),
            Form::Double => statistics!(Double, |bytes: Vec<u8>| f64::from_le_bytes(fixed(&bytes))),
            Form::Text => statistics!(ByteArray, ByteArray::from),
        }))
    }

    /// What is told of the new chunk.
    pub(super) fn close(
        &self,
        chunk: &PagedChunk,
        old: Option<OldIndex<'_>>,
        pages: &[NewPage],
        layout: Layout,
    ) -> Result<ColumnCloseResult> {
        let mut builder = chunk
            .metadata
            .clone()
            .into_builder()
            .clear_statistics()
            .set_encodings(layout.encodings.clone())
            .set_page_encoding_stats(layout.pages)
            .set_dictionary_page_offset(layout.has_dictionary.then_some(0))
            .set_data_page_offset(layout.first_page as i64)
            .set_total_compressed_size(layout.bytes as i64)
            .set_total_uncompressed_size(layout.bytes_uncompressed as i64)
            .set_index_page_offset(None)
            .set_bloom_filter_offset(None)
            .set_bloom_filter_length(None)
            .set_unencoded_byte_array_data_bytes(None)
            .set_repetition_level_histogram(None)
            .set_definition_level_histogram(None);
        if let Some(statistics) = self.statistics(chunk, pages)? {
            builder = builder.set_statistics(statistics);
        }
        let column_index = match old.and_then(|old| old.column) {
            Some(old) => self.column_index(chunk, old, pages)?,
            None => None,
        };
        let offset_index = old.map(|_| {
            let mut index = OffsetIndexBuilder::new();
            for ((offset, bytes), at) in layout.places.iter().zip(&chunk.pages) {
                index.append_offset_and_size(*offset as i64, *bytes as i32);
                index.append_row_count(at.rows.len() as i64);
            }
            index.build()
        });
        Ok(ColumnCloseResult {
            bytes_written: layout.bytes as u64,
            rows_written: chunk.pages.last().map_or(0, |page| page.rows.end as u64),
            metadata: builder.build()?,
            bloom_filter: None,
            column_index,
            offset_index,
        })
    }

    /// The index of the pages' values; none when that of the original does not tell enough, or a page has no bounds.
    fn column_index(
        &self,
        chunk: &PagedChunk,
        old: &ColumnIndexMetaData,
        pages: &[NewPage],
    ) -> Result<Option<ColumnIndexMetaData>> {
        if old.num_pages() != pages.len() as u64 {
            return Ok(None);
        }
        let has_nans = old.nan_counts().is_some();
        let mut index = ColumnIndexBuilder::new(chunk.metadata.column_type());
        for (number, (at, page)) in chunk.pages.iter().zip(pages).enumerate() {
            let (is_null, bounds, nulls, nans) = match page {
                NewPage::Edited { summary, .. } => {
                    let nulls = (at.rows.len() - summary.values) as i64;
                    let bounds = summary.bounds.clone().map(|bounds| told(self.form, bounds));
                    (summary.values == 0, bounds, Some(nulls), Some(summary.nans as i64))
                }
                NewPage::Kept => {
                    (old.is_null_page(number), old_bounds(old, number), old.null_count(number), old.nan_count(number))
                }
            };
            let bounds = match bounds {
                _ if is_null => Bounds { min: Vec::new(), max: Vec::new() },
                Some(bounds) if bounds.min.len().max(bounds.max.len()) <= BOUND_BYTES_MAX => bounds,
                _ => return Ok(None),
            };
            let (Some(nulls), true) = (nulls, nans.is_some() || !has_nans) else { return Ok(None) };
            index.append(is_null, bounds.min, bounds.max, nulls, nans.filter(|_| has_nans));
        }
        index.build().map(Some)
    }
}

fn old_bounds(index: &ColumnIndexMetaData, page: usize) -> Option<Bounds> {
    macro_rules! bounds {
        ($index:expr) => {{
            let (min, max) = ($index.min_value(page)?, $index.max_value(page)?);
            Some(Bounds { min: min.to_le_bytes().to_vec(), max: max.to_le_bytes().to_vec() })
        }};
    }
    match index {
        ColumnIndexMetaData::INT32(index) => bounds!(index),
        ColumnIndexMetaData::INT64(index) => bounds!(index),
        ColumnIndexMetaData::FLOAT(index) => bounds!(index),
        ColumnIndexMetaData::DOUBLE(index) => bounds!(index),
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            Some(Bounds { min: index.min_value(page)?.to_vec(), max: index.max_value(page)?.to_vec() })
        }
        _ => None,
    }
}

/// How an edited chunk lies.
#[derive(Default)]
pub(super) struct Layout {
    bytes: usize,
    bytes_uncompressed: usize,
    has_dictionary: bool,
    first_page: usize,
    /// Where each data page starts, and how long it is.
    places: Vec<(usize, usize)>,
    encodings: Vec<Encoding>,
    pages: Vec<PageEncodingStats>,
}

impl Layout {
    pub(super) fn dictionary(&mut self, encoding: Encoding, bytes: usize, uncompressed: usize) {
        self.has_dictionary = true;
        self.first_page = bytes;
        self.add(PageType::DICTIONARY_PAGE, encoding, bytes, uncompressed);
    }

    pub(super) fn page(&mut self, at: &PageAt, encoding: Encoding, bytes: usize, uncompressed: usize) {
        self.places.push((self.bytes, bytes));
        let page_type = if at.is_v2 { PageType::DATA_PAGE_V2 } else { PageType::DATA_PAGE };
        self.add(page_type, encoding, bytes, uncompressed);
    }

    fn add(&mut self, page_type: PageType, encoding: Encoding, bytes: usize, uncompressed: usize) {
        self.bytes += bytes;
        self.bytes_uncompressed += uncompressed;
        for encoding in [encoding, Encoding::RLE] {
            if !self.encodings.contains(&encoding) {
                self.encodings.push(encoding);
            }
        }
        match self.pages.iter_mut().find(|stats| stats.page_type == page_type && stats.encoding == encoding) {
            Some(stats) => stats.count += 1,
            None => self.pages.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
    }
}
