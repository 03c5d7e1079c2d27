//! Snapshots: an original written once in a form that can be read at any row, and mapped into memory from then on.
//!
//! A snapshot is an Arrow IPC file in a cache folder, in batches of [`BATCH_ROWS`] rows, with a [`KeyIndex`] file and one of
//! [`Zones`] beside it. All carry the snapshot's identity, made of the files' sizes and times of change, the declared columns, the key
//! and the format version; they are used again as long as the identity is the same, and written anew when they are
//! missing or damaged. The system can drop their pages from memory and read them again at any time.

mod cache;
mod index;
mod write;
mod zones;

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use sha2::{Digest, Sha256};
use stet_domain::key::write_key;
use stet_domain::project::{Column, CsvForm};

use crate::cell::{CellReader, columns_of};
use crate::control::Control;
use crate::error::EngineError;
use crate::read::{FileSource, Fingerprint};

pub use index::KeyIndex;
pub use zones::{Bound, ZONE_ROWS, Zone, Zones};

/// Rows in each batch of a snapshot but the last: a power of two, so that a row is found by shifting.
pub const BATCH_ROWS: usize = 1 << BATCH_SHIFT;
const BATCH_SHIFT: usize = 16;

/// The most rows of an original that can be edited in a table.
pub const ROWS_MAX: u64 = u32::MAX as u64 - (1 << 28);

/// How many bad keys an error lists.
const KEYS_LISTED_MAX: usize = 20;

/// Changes whenever the files of a snapshot are laid out differently, or cells are ordered in another way, which the zones tell of.
const FORMAT_VERSION: u32 = 2;

/// An original as it was when it was read: rows by number, and by key. Immutable, so any number of threads can read it.
#[derive(Debug)]
pub struct Snapshot {
    identity: String,
    fingerprint: Fingerprint,
    schema: SchemaRef,
    columns: Vec<Column>,
    key: Vec<usize>,
    key_names: Vec<String>,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: u64,
    index: KeyIndex,
    zones: Zones,
}

impl Snapshot {
    /// Opens the snapshot of a source: maps the one in the cache folder if the source is unchanged, and else reads the
    /// source and writes one. Older snapshots of the dataset are removed from the folder; tables that still use one keep
    /// it until they are dropped. One cache folder is for one project: in it a dataset's name stands for one dataset.
    ///
    /// # Errors
    /// When the source cannot be read, changes while it is read, lacks a key column, or has null or repeated keys (the
    /// first ones are listed); when the cache folder cannot be written.
    pub fn open(
        source: &FileSource,
        key: &[String],
        cache_folder: &Path,
        control: &Control,
    ) -> Result<Arc<Snapshot>, EngineError> {
        let fingerprint = source.fingerprint()?;
        let identity = identity(source, key, &fingerprint);
        let place = cache::Place::new(cache_folder, &source.dataset, &identity)?;
        let snapshot = match Snapshot::reopen(&place, key, fingerprint.clone()) {
            Some(snapshot) => snapshot,
            None => write::write(source, key, &place, fingerprint, control)?,
        };
        place.remove_others();
        Ok(Arc::new(snapshot))
    }

    /// The identity that [`Snapshot::open`] would give now: differs from [`Snapshot::identity`] when the original was
    /// rebuilt since.
    ///
    /// # Errors
    /// When the source is missing.
    pub fn identity_of(source: &FileSource, key: &[String]) -> Result<String, EngineError> {
        Ok(identity(source, key, &source.fingerprint()?))
    }

    /// What tells this snapshot from others (hexadecimal).
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The files of the original, as they were when they were read.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// How many rows the original has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns of the original.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The exact types of the columns; dictionaries are written out as their values.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The places of the key columns.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// Bytes of the files that are mapped into memory: of the rows, and of what is known about them (key index and zones).
    pub fn bytes_mapped(&self) -> (u64, u64) {
        (self.bytes, self.index.bytes() + self.zones.bytes())
    }

    /// Where the least and the greatest cells are.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// The row with this key.
    pub fn find(&self, key: &str) -> Option<u32> {
        let mut text = String::new();
        self.index.find(key, |row| {
            text.clear();
            self.write_row_key(row as usize, &mut text);
            text == key
        })
    }

    /// Writes the key of a row at the end of `out`.
    pub fn write_row_key(&self, row: usize, out: &mut String) {
        write_key_of(&self.key, &self.batches[row >> BATCH_SHIFT], row & (BATCH_ROWS - 1), out);
    }

    /// The canonical text of one cell; none for null.
    pub fn text(&self, row: usize, column: usize) -> Option<String> {
        let array = self.batches[row >> BATCH_SHIFT].column(column);
        CellReader::new(array.as_ref()).text(row & (BATCH_ROWS - 1))
    }

    /// The array that holds a row's cell of this column, and the row's place in it.
    pub fn array_at(&self, row: usize, column: usize) -> (&ArrayRef, usize) {
        (self.batches[row >> BATCH_SHIFT].column(column), row & (BATCH_ROWS - 1))
    }

    /// Fetches the cells of some rows into the processor's memory; those behind the last row of the snapshot are passed over.
    ///
    /// In an order by some column the rows of a page lie far apart, so that nearly every cell has to be waited for. Looked at
    /// one right after the other, with nothing in between, many are on their way at once.
    pub fn fetch(&self, rows: &[u32], columns: impl Iterator<Item = usize>) {
        let mut seen = 0u64;
        for column in columns {
            let in_order = rows.iter().map(|row| *row as usize).filter(|row| *row < self.rows);
            let cells = in_order.map(|row| self.array_at(row, column));
            match self.schema.field(column).data_type() {
                DataType::Utf8 => {
                    let starts = cells.map(|(array, row)| {
                        let texts = array.as_string::<i32>();
                        texts.value_data().get(texts.value_offsets()[row] as usize)
                    });
                    let starts: Vec<Option<&u8>> = starts.collect();
                    seen = starts.iter().flatten().fold(seen, |seen, byte| seen.wrapping_add(u64::from(**byte)));
                }
                DataType::Int64 => {
                    let values = cells.map(|(array, row)| array.as_primitive::<Int64Type>().value(row));
                    seen = values.fold(seen, |seen, value| seen.wrapping_add(value as u64));
                }
                DataType::Float64 => {
                    let values = cells.map(|(array, row)| array.as_primitive::<Float64Type>().value(row));
                    seen = values.fold(seen, |seen, value| seen.wrapping_add(value.to_bits()));
                }
                // Smaller ones lie closer together, and others are rare.
                _ => {}
            }
        }
        std::hint::black_box(seen);
    }

    /// The batches: [`BATCH_ROWS`] rows each, but for the last.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    fn reopen(place: &cache::Place, key: &[String], fingerprint: Fingerprint) -> Option<Snapshot> {
        let mapped = place.open_rows()?;
        let index = KeyIndex::open(&place.index_path(), &place.identity, mapped.rows as u64)?;
        let zones = place.open_zones(&mapped)?;
        let snapshot = Snapshot::assemble(place, key, fingerprint, mapped, (index, zones))?;
        snapshot.index_agrees().then_some(snapshot)
    }

    fn assemble(
        place: &cache::Place,
        key: &[String],
        fingerprint: Fingerprint,
        mapped: cache::MappedRows,
        (index, zones): (KeyIndex, Zones),
    ) -> Option<Snapshot> {
        let columns = columns_of(&mapped.schema);
        let places = key.iter().map(|name| columns.iter().position(|column| column.name == *name));
        Some(Snapshot {
            identity: place.identity.clone(),
            fingerprint,
            key: places.collect::<Option<Vec<_>>>()?,
            key_names: key.to_vec(),
            columns,
            schema: mapped.schema,
            batches: mapped.batches,
            rows: mapped.rows,
            bytes: mapped.bytes,
            index,
            zones,
        })
    }

    /// Whether the index finds rows from all over the snapshot: a damaged one is built again.
    fn index_agrees(&self) -> bool {
        let step = (self.rows / 256).max(1);
        let mut key = String::new();
        (0..self.rows).step_by(step).all(|row| {
            key.clear();
            self.write_row_key(row, &mut key);
            self.find(&key) == Some(row as u32)
        })
    }

    /// The names of the key columns, in the configured order.
    pub fn key_names(&self) -> &[String] {
        &self.key_names
    }
}

fn identity(source: &FileSource, key: &[String], fingerprint: &Fingerprint) -> String {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(&FORMAT_VERSION.to_le_bytes());
    part(fingerprint.identity().as_bytes());
    part(source.format.ending().as_bytes());
    if source.csv != CsvForm::default() {
        part(&[source.csv.delimiter.byte()]);
        part(source.csv.encoding.as_str().as_bytes());
    }
    for column in source.columns.iter().flatten() {
        part(column.name.as_bytes());
        part(column.column_type.to_string().as_bytes());
    }
    part(b"key");
    for name in key {
        part(name.as_bytes());
    }
    crate::read::hex(&hasher.finalize()[..16])
}

/// Writes the key of a row of a batch; `key` holds the places of the key columns.
fn write_key_of(key: &[usize], batch: &RecordBatch, row: usize, out: &mut String) {
    if let [column] = key {
        CellReader::new(batch.column(*column).as_ref()).write(row, out);
        return;
    }
    let parts: Vec<String> = key
        .iter()
        .map(|column| CellReader::new(batch.column(*column).as_ref()).text(row).unwrap_or_default())
        .collect();
    write_key(out, parts.iter().map(String::as_str));
}
