//! Zones: for each run of [`ZONE_ROWS`] rows the least and the greatest sort key of each column that has quick ones.
//!
//! The first rows of an order are found in the zones that begin with the best keys, without looking at the others. The
//! zones of a snapshot are made while it is written, and lie in a file beside it that is mapped into memory.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use arrow_array::{Array, RecordBatch};
use arrow_schema::Schema;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::BATCH_ROWS;
use super::cache::map;
use crate::cell::{CellReader, column_type_of_field};
use crate::error::EngineError;
use crate::ordering::{EMPTY, compare_values, further_key, has_further_keys, has_quick_keys, is_text, write_keys};

/// Rows in each zone but the last of a snapshot. Divides [`BATCH_ROWS`], so that no zone lies in two batches.
pub const ZONE_ROWS: usize = 512;

const MAGIC: &[u8; 8] = b"STETZON1";

/// Magic, identity (32 hexadecimal digits), rows, columns.
const HEADER_BYTES: usize = 8 + 32 + 8 + 8;

/// The SHA-256 of all bytes before it ends the file: a wrong bound would hide rows, so damage has to be seen.
const CHECK_BYTES: usize = 32;

/// How much of a column the zones know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing: its keys would have to be made of each cell by itself.
    Unknown,
    /// The least and the greatest sort key.
    Keys,
    /// The same, of the cells that have these the least and the greatest further key, and where the least and the greatest
    /// cell are.
    FurtherKeys,
}

impl Kind {
    fn of(field: &arrow_schema::Field) -> Kind {
        match field.data_type() {
            data_type if !has_quick_keys(data_type) => Kind::Unknown,
            data_type if has_further_keys(data_type) && is_text(column_type_of_field(field)) => Kind::FurtherKeys,
            _ => Kind::Keys,
        }
    }

    /// Numbers of 64 bits for each zone.
    fn width(self) -> usize {
        match self {
            Kind::Unknown => 0,
            Kind::Keys => 2,
            Kind::FurtherKeys => 5,
        }
    }
}

/// A bound of the sort keys in a zone: no cell of it has a key, with its further key, that is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    /// See [`write_keys`].
    pub key: u64,
    /// See [`further_key`]; 0 for columns that have none.
    pub further: u64,
}

/// What is known of a column in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone {
    /// What its best cell begins with.
    pub bound: Bound,
    /// Its number: the first of its rows is this many times [`ZONE_ROWS`].
    pub number: u32,
    /// The first row that has the best cell, where keys do not tell it.
    pub best: Option<u32>,
}

/// The zones of a snapshot.
#[derive(Debug)]
pub struct Zones {
    /// The whole file: the header, the numbers of each column (little endian), the check.
    bytes: Bytes,
    /// For each column what is known of it and where its numbers begin.
    columns: Vec<(Kind, usize)>,
    zones: usize,
}

impl Zones {
    /// The zones of a column in order of the rows, for an order that begins with the least cells or with the greatest; none
    /// for columns of which the zones know nothing.
    pub fn of(&self, column: usize, descending: bool) -> Option<impl Iterator<Item = Zone>> {
        let (kind, start) = *self.columns.get(column)?;
        if kind == Kind::Unknown {
            return None;
        }
        let numbers = &self.bytes[start..start + self.zones * kind.width() * 8];
        Some(numbers.chunks_exact(kind.width() * 8).zip(0..).map(move |(zone, place)| {
            let number = |at: usize| zone.get(at * 8..at * 8 + 8).map_or(0, read);
            let is_further = kind == Kind::FurtherKeys;
            let bound = match (is_further, descending) {
                // A zone of nothing but empty cells: they are last in both directions.
                _ if number(0) > number(1) => Bound { key: EMPTY, further: if is_further { EMPTY } else { 0 } },
                (true, false) => Bound { key: number(0), further: number(2) },
                (true, true) => Bound { key: !number(1), further: !number(3) },
                (false, false) => Bound { key: number(0), further: 0 },
                (false, true) => Bound { key: !number(1), further: 0 },
            };
            let first = if descending { number(4) >> 32 } else { number(4) & u64::from(u32::MAX) };
            let best = is_further.then_some(place * ZONE_ROWS as u32 + first as u32);
            Zone { bound, number: place, best }
        }))
    }

    /// The size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Opens the zones of a snapshot, if their file is there and whole.
    pub(super) fn open(path: &Path, identity: &str, rows: u64, schema: &Schema) -> Option<Zones> {
        let bytes = map(&File::open(path).ok()?).ok()?;
        let zones = usize::try_from(rows).ok()?.div_ceil(ZONE_ROWS);
        let mut columns = Vec::with_capacity(schema.fields().len());
        let mut end = HEADER_BYTES;
        for field in schema.fields() {
            let kind = Kind::of(field);
            columns.push((kind, end));
            end += zones * kind.width() * 8;
        }
        let content = bytes.get(..end)?;
        let is_ours = content.get(..HEADER_BYTES)? == header(identity, rows, schema.fields().len())
            && bytes.len() == end + CHECK_BYTES
            && Sha256::digest(content)[..] == bytes[end..];
        is_ours.then_some(Zones { bytes, columns, zones })
    }
}

/// Zones in the making.
pub(super) struct ZonesBuilder {
    columns: Vec<(Kind, bool, Vec<u64>)>,
    keys: Vec<u64>,
    rows: u64,
}

impl ZonesBuilder {
    pub(super) fn new(schema: &Schema) -> ZonesBuilder {
        let columns = schema.fields().iter();
        let columns =
            columns.map(|field| (Kind::of(field), is_text(column_type_of_field(field)), Vec::new())).collect();
        ZonesBuilder { columns, keys: Vec::with_capacity(BATCH_ROWS), rows: 0 }
    }

    /// Takes the next batch of the snapshot: [`BATCH_ROWS`] rows, fewer in the last one.
    pub(super) fn take(&mut self, batch: &RecordBatch) {
        for (array, (kind, text, numbers)) in batch.columns().iter().zip(&mut self.columns) {
            if *kind == Kind::Unknown {
                continue;
            }
            write_keys(array.as_ref(), *text, false, &mut self.keys);
            for (zone, keys) in self.keys.chunks(ZONE_ROWS).enumerate() {
                push_zone(array.as_ref(), zone * ZONE_ROWS, keys, *kind, numbers);
            }
        }
        self.rows += batch.num_rows() as u64;
    }

    /// Writes the zones under a temporary name and puts them in place.
    pub(super) fn save(&self, path: &Path, folder: &Path, identity: &str) -> Result<(), EngineError> {
        let failed = || EngineError::io("write", path);
        let mut bytes = header(identity, self.rows, self.columns.len());
        for (_, _, numbers) in &self.columns {
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check);
        let mut file = tempfile::Builder::new().prefix(".tmp").tempfile_in(folder).map_err(failed())?;
        file.write_all(&bytes).map_err(failed())?;
        file.persist(path).map_err(|error| failed()(error.error))?;
        Ok(())
    }
}

fn header(identity: &str, rows: u64, columns: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(identity.as_bytes());
    header.extend_from_slice(&rows.to_le_bytes());
    header.extend_from_slice(&(columns as u64).to_le_bytes());
    header
}

fn read(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Adds the numbers of the zone that begins at a row of an array and has these keys.
fn push_zone(array: &dyn Array, first: usize, keys: &[u64], kind: Kind, numbers: &mut Vec<u64>) {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let is_cell = |place: usize, key: u64| key != EMPTY || nulls.is_none_or(|nulls| nulls.is_valid(first + place));
    let cells = || keys.iter().copied().enumerate().filter(|(place, key)| is_cell(*place, *key));
    // Without a cell the least key is above the greatest.
    let (least, greatest) = match nulls {
        None => keys.iter().fold((u64::MAX, 0), |(least, greatest), key| (least.min(*key), greatest.max(*key))),
        Some(_) => cells().fold((u64::MAX, 0), |(least, greatest), (_, key)| (least.min(key), greatest.max(key))),
    };
    numbers.extend([least, greatest]);
    if kind == Kind::FurtherKeys {
        let reader = CellReader::new(array);
        // Of equal cells the first one is taken in both directions, as an order takes it.
        let best = |key: u64, descending: bool| {
            let with_key = cells().filter(move |(_, other)| *other == key).map(|(place, _)| first + place);
            with_key.reduce(|best, row| {
                let further = |row| further_key(array, row, descending);
                let order = further(row).cmp(&further(best));
                let order = order.then_with(|| compare_values(&reader.ordered(row), &reader.ordered(best), descending));
                if order.is_lt() { row } else { best }
            })
        };
        let (least, greatest) = (best(least, false), best(greatest, true));
        let further = |row: Option<usize>| row.map_or(0, |row| further_key(array, row, false));
        let place = |row: Option<usize>| row.map_or(0, |row| (row - first) as u64);
        numbers.extend([further(least), further(greatest), place(greatest) << 32 | place(least)]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use arrow_schema::{DataType, Field};

    use super::*;

    fn batch() -> RecordBatch {
        let rows = 3 * ZONE_ROWS + 7;
        // The second zone has nothing but empty cells, and the last one the greatest number there is.
        let number = |row: usize| match row / ZONE_ROWS {
            1 => None,
            3 => Some(i64::MAX),
            _ => (!row.is_multiple_of(3)).then_some((row * 7919 % 1_000) as i64 - 500),
        };
        let texts = (0..rows).map(|row| (row % 5 > 0).then(|| format!("Report {}x{row}", row * 31 % 10)));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("number", Arc::new(Int64Array::from_iter((0..rows).map(number)))),
            ("text", Arc::new(StringArray::from_iter(texts))),
            ("float", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| -(row as f64))))),
            ("truth", Arc::new(arrow_array::BooleanArray::from(vec![true; rows]))),
        ];
        let fields: Vec<Field> =
            columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    }

    fn saved(folder: &Path, batch: &RecordBatch) -> std::path::PathBuf {
        let mut builder = ZonesBuilder::new(batch.schema_ref());
        builder.take(batch);
        let path = folder.join("some.zones");
        builder.save(&path, folder, &"0".repeat(32)).unwrap();
        path
    }

    #[test]
    fn a_zone_begins_with_the_best_of_its_keys_in_both_directions() {
        let (folder, batch) = (tempfile::tempdir().unwrap(), batch());
        let path = saved(folder.path(), &batch);
        let zones = Zones::open(&path, &"0".repeat(32), batch.num_rows() as u64, batch.schema_ref()).unwrap();
        assert!(zones.of(3, false).is_none() && zones.of(4, false).is_none());
        for (column, descending) in [(0, false), (0, true), (1, false), (1, true), (2, false), (2, true)] {
            let (array, text) = (batch.column(column), *batch.column(column).data_type() == DataType::Utf8);
            let mut keys = Vec::new();
            write_keys(array.as_ref(), text, descending, &mut keys);
            let further = |row: usize| if text { further_key(array.as_ref(), row, descending) } else { 0 };
            let keys: Vec<Bound> =
                keys.iter().enumerate().map(|(row, key)| Bound { key: *key, further: further(row) }).collect();
            let zones: Vec<Zone> = zones.of(column, descending).unwrap().collect();
            let bounds: Vec<Bound> = zones.iter().map(|zone| zone.bound).collect();
            let expected: Vec<Bound> = keys.chunks(ZONE_ROWS).map(|zone| *zone.iter().min().unwrap()).collect();
            assert_eq!(bounds, expected, "column {column}");
            assert_eq!(bounds.len(), 4);
            let reader = CellReader::new(array.as_ref());
            for zone in zones {
                let first = zone.number as usize * ZONE_ROWS;
                let compare = |a: &usize, b: &usize| {
                    compare_values(&reader.ordered(*a), &reader.ordered(*b), descending).then(a.cmp(b))
                };
                let best = (first..(first + ZONE_ROWS).min(array.len())).min_by(compare).unwrap();
                assert_eq!(zone.best, text.then_some(best as u32), "column {column}");
            }
        }
    }

    #[test]
    fn zones_that_are_damaged_or_of_another_snapshot_are_not_opened() {
        let (folder, batch) = (tempfile::tempdir().unwrap(), batch());
        let path = saved(folder.path(), &batch);
        let rows = batch.num_rows() as u64;
        let open = |identity: &str, rows: u64| Zones::open(&path, identity, rows, batch.schema_ref()).is_some();
        assert!(open(&"0".repeat(32), rows) && !open(&"1".repeat(32), rows) && !open(&"0".repeat(32), rows + 1));
        let whole = std::fs::read(&path).unwrap();
        for place in [0, 20, 45, HEADER_BYTES + 3, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(!open(&"0".repeat(32), rows), "byte {place}");
        }
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert!(!open(&"0".repeat(32), rows));
    }
}
