//! Writing the snapshot of an original.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow_array::Array;
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::coalesce::BatchCoalescer;
use stet_domain::key::{KEY_BYTES_MAX, write_key};

use super::cache::{IDENTITY_METADATA, Place};
use super::index::{Duplicate, KeyIndex, hash};
use super::zones::ZonesBuilder;
use super::{BATCH_ROWS, BATCH_SHIFT, KEYS_LISTED_MAX, ROWS_MAX, Snapshot, write_key_of};
use crate::cell::CellReader;
use crate::control::Control;
use crate::error::EngineError;
use crate::read::{FileSource, Fingerprint, near_name};

/// How much text one column may have in [`BATCH_ROWS`] rows; 32-bit offsets end at twice that.
const COLUMN_BYTES_MAX: usize = 1 << 30;

/// How many batches may be read and not yet written.
const BATCHES_AHEAD_MAX: usize = 2;

/// Reads the source, writes the files of the snapshot, and opens it.
pub(super) fn write(
    source: &FileSource,
    key: &[String],
    place: &Place,
    fingerprint: Fingerprint,
    control: &Control,
) -> Result<Snapshot, EngineError> {
    let source = source.settled()?;
    let key_places = key_places(&source, key)?;
    write_rows(&source, place, control).map_err(|error| match error {
        // What is wrong in files that changed meanwhile may be right in the next ones.
        EngineError::BadData { .. } if source.fingerprint().is_ok_and(|now| now != fingerprint) => changed(&source),
        error => error,
    })?;
    let written = write_index(&source, key, &key_places, place, fingerprint, control);
    if written.is_err() {
        // Rows that cannot be edited are of no use in the cache.
        let _ = std::fs::remove_file(place.rows_path());
        let _ = std::fs::remove_file(place.zones_path());
    }
    written
}

/// Checks the keys of the rows that were written, writes the key index, and opens both.
fn write_index(
    source: &FileSource,
    key: &[String],
    key_places: &[usize],
    place: &Place,
    fingerprint: Fingerprint,
    control: &Control,
) -> Result<Snapshot, EngineError> {
    if source.fingerprint()? != fingerprint {
        return Err(changed(source));
    }
    let mapped = place.open_rows().ok_or_else(|| EngineError::BadData {
        path: place.rows_path(),
        place: String::new(),
        message: "the snapshot that was just written cannot be read back: look for a full or failing disk".to_owned(),
    })?;
    check_nulls(source, key, key_places, &mapped.batches)?;
    let hashes = hash_keys(source, key_places, &mapped.batches, control)?;
    let batches = &mapped.batches;
    let write_row_key = |row: u32, out: &mut String| {
        write_key_of(key_places, &batches[row as usize >> BATCH_SHIFT], row as usize & (BATCH_ROWS - 1), out);
    };
    let is_same = |a: u32, b: u32| {
        let (mut one, mut other) = (String::new(), String::new());
        write_row_key(a, &mut one);
        write_row_key(b, &mut other);
        one == other
    };
    let built = KeyIndex::build(&hashes, is_same, KEYS_LISTED_MAX).map_err(|duplicates| {
        let key_text = |row: u32| {
            let mut text = String::new();
            write_row_key(row, &mut text);
            text
        };
        duplicate_keys(source, key, &duplicates, key_text)
    });
    drop(hashes);
    let built = built?;
    built.save(&place.index_path(), &place.folder, &place.identity)?;
    drop(built);
    let index = KeyIndex::open(&place.index_path(), &place.identity, mapped.rows as u64);
    let beside = index.and_then(|index| Some((index, place.open_zones(&mapped)?)));
    beside.and_then(|beside| Snapshot::assemble(place, key, fingerprint, mapped, beside)).ok_or_else(|| {
        EngineError::BadData {
            path: place.index_path(),
            place: String::new(),
            message: "the key index that was just written cannot be read back: look for a full or failing disk".into(),
        }
    })
}

fn changed(source: &FileSource) -> EngineError {
    EngineError::Schema {
        dataset: source.dataset.clone(),
        message: "the files changed while they were read: try again when whatever writes them is done".to_owned(),
    }
}

fn key_places(source: &FileSource, key: &[String]) -> Result<Vec<usize>, EngineError> {
    let keys_error = |message: String| EngineError::Keys { dataset: source.dataset.clone(), message };
    if key.is_empty() {
        return Err(keys_error("it has no key: name the primary-key columns".to_owned()));
    }
    let columns = source.columns()?;
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    key.iter()
        .map(|name| {
            let Some(place) = names.iter().position(|other| other == name) else {
                let near = near_name(name, &names).map(|near| format!("; it has `{near}`")).unwrap_or_default();
                return Err(keys_error(format!("it has no key column `{name}`{near}")));
            };
            if !columns[place].column_type.is_key() {
                return Err(keys_error(format!("the key column `{name}` has a type that cannot be a key")));
            }
            Ok(place)
        })
        .collect()
}

/// Reads the rows on this thread, and writes them and their zones on another.
fn write_rows(source: &FileSource, place: &Place, control: &Control) -> Result<(), EngineError> {
    let rows_total = source.rows_known()?;
    let input = source.batches(None, BATCH_ROWS)?;
    let schema = plain_schema(&input.schema);
    let failed = |error| write_failed(place, error);
    std::thread::scope(|scope| {
        let (full, batches) = sync_channel(BATCHES_AHEAD_MAX);
        let writing = scope.spawn(|| write_batches(&schema, batches, place));
        let read = || -> Result<(), EngineError> {
            let mut coalescer = BatchCoalescer::new(schema.clone(), BATCH_ROWS);
            let mut rows = 0u64;
            for batch in input.batches {
                let batch = plain_batch(&schema, batch?).map_err(failed)?;
                rows += batch.num_rows() as u64;
                if rows > ROWS_MAX {
                    return Err(EngineError::Schema {
                        dataset: source.dataset.clone(),
                        message: format!("it has more than {ROWS_MAX} rows, the most that a table can show"),
                    });
                }
                check_text_size(source, &batch)?;
                coalescer.push_batch(batch).map_err(failed)?;
                while let Some(batch) = coalescer.next_completed_batch() {
                    // Nobody takes it when writing has failed, which is told below.
                    if full.send(Some(batch)).is_err() {
                        return Ok(());
                    }
                }
                control.report(rows, rows_total)?;
            }
            coalescer.finish_buffered_batch().map_err(failed)?;
            while let Some(batch) = coalescer.next_completed_batch() {
                if full.send(Some(batch)).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        };
        let read = read();
        if read.is_ok() {
            // Writing that has failed is told below.
            let _ = full.send(None);
        }
        drop(full);
        let written = match writing.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        read.and(written)
    })
}

/// Writes batches and their zones, and puts both files in place when none stands for their end. Without it the rows could not
/// be read to their end, and no file is left.
fn write_batches(schema: &SchemaRef, batches: Receiver<Option<RecordBatch>>, place: &Place) -> Result<(), EngineError> {
    let path = place.rows_path();
    let io_failed = || EngineError::io("write", &path);
    let failed = |error| write_failed(place, error);
    let file = tempfile::Builder::new().prefix(".tmp").tempfile_in(&place.folder).map_err(io_failed())?;
    let out = std::io::BufWriter::with_capacity(1 << 20, file);
    let mut writer = FileWriter::try_new(out, schema).map_err(failed)?;
    writer.write_metadata(IDENTITY_METADATA, &place.identity);
    let mut zones = ZonesBuilder::new(schema);
    loop {
        let Ok(batch) = batches.recv() else { return Ok(()) };
        let Some(batch) = batch else { break };
        zones.take(&batch);
        writer.write(&batch).map_err(failed)?;
    }
    let out = writer.into_inner().map_err(failed)?;
    let file = out.into_inner().map_err(|error| io_failed()(error.into_error()))?;
    zones.save(&place.zones_path(), &place.folder, &place.identity)?;
    file.persist(&path).map_err(|error| io_failed()(error.error))?;
    Ok(())
}

fn write_failed(place: &Place, error: arrow_schema::ArrowError) -> EngineError {
    match error {
        arrow_schema::ArrowError::IoError(_, error) => EngineError::io("write", place.rows_path())(error),
        other => EngineError::Internal { action: "writing the snapshot of an original", source: other.into() },
    }
}

/// Dictionaries are written out: an IPC file has one dictionary for each column, and Parquet one for each row group.
fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let mut data_type = field.data_type();
            while let DataType::Dictionary(_, values) = data_type {
                data_type = values;
            }
            // What is noted of it belongs to its type.
            field.as_ref().clone().with_data_type(data_type.clone()).with_nullable(true)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn plain_batch(schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| match column.data_type() {
            data_type if data_type == field.data_type() => Ok(column.clone()),
            _ => cast(column, field.data_type()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn check_text_size(source: &FileSource, batch: &RecordBatch) -> Result<(), EngineError> {
    let density = BATCH_ROWS / batch.num_rows().clamp(1, BATCH_ROWS);
    for (column, field) in batch.columns().iter().zip(batch.schema_ref().fields()) {
        let bytes = column.get_array_memory_size();
        if bytes > COLUMN_BYTES_MAX && bytes.saturating_mul(density) > COLUMN_BYTES_MAX {
            return Err(EngineError::Schema {
                dataset: source.dataset.clone(),
                message: format!(
                    "column `{}` has more than 1 GB in {BATCH_ROWS} rows, which is too much for a table",
                    field.name()
                ),
            });
        }
    }
    Ok(())
}

fn check_nulls(
    source: &FileSource,
    key: &[String],
    places: &[usize],
    batches: &[RecordBatch],
) -> Result<(), EngineError> {
    let mut count = 0u64;
    let mut first: Vec<(u64, String)> = Vec::new();
    for (place, name) in places.iter().zip(key) {
        for (index, batch) in batches.iter().enumerate() {
            let column = batch.column(*place);
            if column.logical_null_count() == 0 {
                continue;
            }
            let reader = CellReader::new(column.as_ref());
            for row in (0..batch.num_rows()).filter(|row| reader.is_null(*row)) {
                count += 1;
                if first.len() < KEYS_LISTED_MAX {
                    first.push(((index * BATCH_ROWS + row) as u64, format!("`{name}` is empty")));
                }
            }
        }
    }
    if count == 0 {
        return Ok(());
    }
    let listed = list_rows(source, &first);
    Err(EngineError::Keys {
        dataset: source.dataset.clone(),
        message: format!("{count} of its key cells are empty, and every row needs a key: {listed}"),
    })
}

fn duplicate_keys(
    source: &FileSource,
    key: &[String],
    duplicates: &[Duplicate],
    key_text: impl Fn(u32) -> String,
) -> EngineError {
    let rows: Vec<(u64, String)> = duplicates
        .iter()
        .map(|duplicate| {
            let text = format!("has the key `{}` of row {}", key_text(duplicate.row), duplicate.earlier + 1);
            (u64::from(duplicate.row), text)
        })
        .collect();
    let listed = list_rows(source, &rows);
    EngineError::Keys {
        dataset: source.dataset.clone(),
        message: format!("rows have the same key ({}): {listed}", key.join(", ")),
    }
}

/// `row 3 (line 4) …` for each row; rows count from 1 for people.
fn list_rows(source: &FileSource, rows: &[(u64, String)]) -> String {
    let wanted: Vec<u64> = rows.iter().map(|(row, _)| *row).collect();
    // Without lines the rows still say where to look.
    let lines = source.lines_of(&wanted).unwrap_or_default();
    let several = lines.windows(2).any(|pair| pair[0].1 != pair[1].1);
    let mut listed: Vec<String> = rows
        .iter()
        .map(|(row, text)| {
            let line = lines.iter().find(|(other, _, _)| other == row).map(|(_, path, line)| {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                if several { format!(" ({file}, line {line})") } else { format!(" (line {line})") }
            });
            format!("row {}{} {text}", row + 1, line.unwrap_or_default())
        })
        .collect();
    if rows.len() >= KEYS_LISTED_MAX {
        listed.push("…".to_owned());
    }
    listed.join("; ")
}

fn hash_keys(
    source: &FileSource,
    places: &[usize],
    batches: &[RecordBatch],
    control: &Control,
) -> Result<Vec<u64>, EngineError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut hashes = vec![0u64; rows];
    let half = batches.len() / 2;
    let (first, second) = hashes.split_at_mut((half * BATCH_ROWS).min(rows));
    let results = std::thread::scope(|scope| {
        let second = scope.spawn(|| hash_batches(source, places, &batches[half..], half * BATCH_ROWS, second, control));
        let first = hash_batches(source, places, &batches[..half], 0, first, control);
        match second.join() {
            Ok(second) => [first, second],
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    results.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(hashes)
}

fn hash_batches(
    source: &FileSource,
    places: &[usize],
    batches: &[RecordBatch],
    first_row: usize,
    hashes: &mut [u64],
    control: &Control,
) -> Result<(), EngineError> {
    let mut text = String::new();
    let mut hashes = hashes.iter_mut();
    let mut rows_done = first_row;
    for batch in batches {
        control.check()?;
        let readers: Vec<CellReader> = places.iter().map(|place| CellReader::new(batch.column(*place))).collect();
        let mut parts = vec![String::new(); readers.len()];
        for (row, slot) in (0..batch.num_rows()).zip(&mut hashes) {
            text.clear();
            if let [reader] = &readers[..] {
                reader.write(row, &mut text);
            } else {
                for (part, reader) in parts.iter_mut().zip(&readers) {
                    part.clear();
                    reader.write(row, part);
                }
                write_key(&mut text, parts.iter().map(String::as_str));
            }
            if text.len() > KEY_BYTES_MAX {
                return Err(EngineError::Keys {
                    dataset: source.dataset.clone(),
                    message: format!(
                        "the key of row {} has {} bytes; the longest is {KEY_BYTES_MAX}",
                        rows_done + row + 1,
                        text.len()
                    ),
                });
            }
            *slot = hash(&text);
        }
        rows_done += batch.num_rows();
    }
    Ok(())
}
