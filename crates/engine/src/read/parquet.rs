//! Parquet files, by the `parquet` crate's Arrow reader.

use std::any::Any;
use std::fs::File;
use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};

use super::exact::{Int96Units, exact_schema};
use super::{Batches, FileSource, check_names, place_columns};
use crate::cell::{column_type_of_field, columns_of};
use crate::error::EngineError;

/// How much is told of what the reader says of a damaged file, in characters.
const ERROR_CHARS_MAX: usize = 300;

/// The exact schema, in the declared order when columns are declared.
pub(super) fn schema(source: &FileSource, files: &[PathBuf]) -> Result<SchemaRef, EngineError> {
    let Some(first) = files.first() else {
        return Err(source.schema_error("there are no files".to_owned()));
    };
    let (_, metadata) = open(source, first, &Int96Units::of(files))?;
    let (schema, _) = arrange(source, first, metadata.schema())?;
    Ok(schema)
}

/// The count of rows of all files.
pub(super) fn rows(source: &FileSource, files: &[PathBuf]) -> Result<u64, EngineError> {
    let mut rows = 0;
    for path in files {
        // Their units say nothing of the count of rows.
        let (_, metadata) = open_as_it_is(source, path)?;
        rows += u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
    }
    Ok(rows)
}

/// The rows of all files.
pub(super) fn batches(
    source: &FileSource,
    files: Vec<PathBuf>,
    projection: Option<&[usize]>,
    rows_max: usize,
) -> Result<Batches, EngineError> {
    let whole = schema(source, &files)?;
    let projection: Vec<usize> = match projection {
        Some(places) => places.to_vec(),
        None => (0..whole.fields().len()).collect(),
    };
    let schema = whole
        .project(&projection)
        .map_err(|_| EngineError::Request(format!("dataset `{}` has no column with such a number", source.dataset)))?;
    // What the files say of themselves beside names and types is left behind: it is no part of the data.
    let schema = Arc::new(Schema::new(schema.fields().clone()));
    let units = Int96Units::of(&files);
    let stream = ParquetStream {
        source: source.clone(),
        whole,
        schema: schema.clone(),
        projection,
        rows_max,
        files: files.into_iter(),
        units,
        open: None,
        failed: false,
    };
    Ok(Batches { schema, batches: Box::new(stream) })
}

struct ParquetStream {
    source: FileSource,
    /// The schema of all columns, which every file has to have.
    whole: SchemaRef,
    /// The schema of the batches.
    schema: SchemaRef,
    projection: Vec<usize>,
    rows_max: usize,
    files: std::vec::IntoIter<PathBuf>,
    units: Int96Units,
    open: Option<OpenFile>,
    failed: bool,
}

struct OpenFile {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// Where each wanted column is in the reader's batches, which have the file's order.
    order: Vec<usize>,
    rows: u64,
    /// How many rows the file says that it has.
    rows_told: u64,
}

impl ParquetStream {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(path) = self.files.next() else { return Ok(None) };
                self.open = Some(self.open_file(path)?);
                continue;
            };
            let next = guarded(|| open.reader.next()).unwrap_or_else(|what| Some(Err(what)));
            let place = || format!("after row {}", open.rows);
            match next {
                None if open.rows != open.rows_told => {
                    // The reader takes the end of the pages for the end of the rows.
                    let message = format!("it has {} rows, not the {} that it should have", open.rows, open.rows_told);
                    return Err(damaged(&self.source, &open.path, String::new(), &message));
                }
                None => self.open = None,
                Some(Err(error)) => return Err(damaged(&self.source, &open.path, place(), &error)),
                Some(Ok(batch)) => {
                    let columns = open.order.iter().map(|place| batch.column(*place).clone()).collect();
                    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                    let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
                        .map_err(|error| damaged(&self.source, &open.path, place(), &error))?;
                    open.rows += batch.num_rows() as u64;
                    return Ok(Some(batch));
                }
            }
        }
    }

    fn open_file(&self, path: PathBuf) -> Result<OpenFile, EngineError> {
        let (file, metadata) = open(&self.source, &path, &self.units)?;
        let (schema, places) = arrange(&self.source, &path, metadata.schema())?;
        check_alike(&self.source, &path, &self.whole, &schema)?;
        let mut roots: Vec<usize> = self.projection.iter().map(|column| places[*column]).collect();
        let wanted = roots.clone();
        roots.sort_unstable();
        roots.dedup();
        let order = wanted.iter().map(|root| roots.partition_point(|other| other < root)).collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let rows_told = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(mask)
            .with_batch_size(self.rows_max);
        let reader = guarded(|| builder.build())
            .map_err(|what| damaged(&self.source, &path, String::new(), &what))?
            .map_err(|error| damaged(&self.source, &path, String::new(), &error))?;
        Ok(OpenFile { path, reader, order, rows: 0, rows_told })
    }
}

impl Iterator for ParquetStream {
    type Item = Result<RecordBatch, EngineError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_batch().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// A Parquet file that several threads read at once, with all that is known of it.
pub(crate) struct ParquetFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) file: SharedFile,
    /// Its metadata, with the page index if it has one.
    pub(crate) metadata: ArrowReaderMetadata,
    /// Where each column of the dataset is among the file's columns.
    pub(crate) places: Vec<usize>,
}

/// Opens all files of a dataset, which have to have the same columns, and gives the schema of the dataset.
pub(crate) fn open_all(source: &FileSource, files: Vec<PathBuf>) -> Result<(SchemaRef, Vec<ParquetFile>), EngineError> {
    let mut whole: Option<SchemaRef> = None;
    let mut opened = Vec::with_capacity(files.len());
    let units = Int96Units::of(&files);
    for path in files {
        let file = SharedFile::open(&path)?;
        let options = ArrowReaderOptions::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_encoding_stats_as_mask(false);
        let metadata = load(source, &path, &file, options, &units)?;
        let (schema, places) = arrange(source, &path, metadata.schema())?;
        check_alike(source, &path, whole.get_or_insert_with(|| schema.clone()), &schema)?;
        opened.push(ParquetFile { path, file, metadata, places });
    }
    let whole = whole.ok_or_else(|| source.schema_error("there are no files".to_owned()))?;
    Ok((whole, opened))
}

/// A file that is read at any place by several threads at once: none of them moves the place of another.
#[derive(Debug, Clone)]
pub(crate) struct SharedFile {
    file: Arc<File>,
    bytes: u64,
}

/// Reads a [`SharedFile`] onward from a place.
pub(crate) struct ReadFrom {
    file: Arc<File>,
    at: u64,
}

impl SharedFile {
    pub(crate) fn open(path: &Path) -> Result<SharedFile, EngineError> {
        let file = File::open(path).map_err(EngineError::io("open", path))?;
        let bytes = file.metadata().map_err(EngineError::io("read", path))?.len();
        Ok(SharedFile { file: Arc::new(file), bytes })
    }

    /// A reader onward from a place, without a buffer.
    pub(crate) fn read_from(&self, at: u64) -> ReadFrom {
        ReadFrom { file: self.file.clone(), at }
    }
}

impl Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = read_at(&self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Fills a buffer from a place in a file.
pub(crate) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, at) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                at += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}

impl Length for SharedFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for SharedFile {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(self.read_from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // A damaged file may ask for more than there is: no room is made for it.
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            let message = format!("{length} bytes at {start} are beyond the end of the file");
            return Err(parquet::errors::ParquetError::EOF(message));
        }
        let mut bytes = vec![0; length];
        self.read_from(start).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Checks that a file has the columns of the whole dataset.
fn check_alike(source: &FileSource, path: &Path, whole: &SchemaRef, schema: &SchemaRef) -> Result<(), EngineError> {
    for (expected, found) in whole.fields().iter().zip(schema.fields()) {
        if expected.name() != found.name() || expected.data_type() != found.data_type() {
            return Err(source.schema_error(format!(
                "column `{}` is {} in the first file, but {} has `{}` with {}: all files need the same columns",
                expected.name(),
                expected.data_type(),
                path.display(),
                found.name(),
                found.data_type(),
            )));
        }
    }
    if schema.fields().len() != whole.fields().len() {
        return Err(source.schema_error(format!("{} has other columns than the first file", path.display())));
    }
    Ok(())
}

fn open(source: &FileSource, path: &Path, units: &Int96Units) -> Result<(File, ArrowReaderMetadata), EngineError> {
    let file = File::open(path).map_err(EngineError::io("open", path))?;
    let metadata = load(source, path, &file, ArrowReaderOptions::new(), units)?;
    Ok((file, metadata))
}

fn open_as_it_is(source: &FileSource, path: &Path) -> Result<(File, ArrowReaderMetadata), EngineError> {
    let file = File::open(path).map_err(EngineError::io("open", path))?;
    let metadata = load_as_it_is(source, path, &file, ArrowReaderOptions::new())?;
    Ok((file, metadata))
}

/// The metadata of a file, with the types in which its columns are read.
fn load<R: ChunkReader>(
    source: &FileSource,
    path: &Path,
    file: &R,
    options: ArrowReaderOptions,
    units: &Int96Units,
) -> Result<ArrowReaderMetadata, EngineError> {
    let metadata = load_as_it_is(source, path, file, options.clone())?;
    match exact_schema(source, &metadata, units)? {
        None => Ok(metadata),
        Some(schema) => load_as_it_is(source, path, file, options.with_schema(schema)),
    }
}

fn load_as_it_is<R: ChunkReader>(
    source: &FileSource,
    path: &Path,
    file: &R,
    options: ArrowReaderOptions,
) -> Result<ArrowReaderMetadata, EngineError> {
    guarded(|| ArrowReaderMetadata::load(file, options))
        .map_err(|what| damaged(source, path, String::new(), &what))?
        .map_err(|error| damaged(source, path, String::new(), &error))
}

/// The schema in the declared order, with the place of each column in the file.
fn arrange(source: &FileSource, path: &Path, found: &SchemaRef) -> Result<(SchemaRef, Vec<usize>), EngineError> {
    let names: Vec<String> = found.fields().iter().map(|field| field.name().clone()).collect();
    check_names(source, path, "", &names)?;
    let wanted = match &source.columns {
        Some(columns) => columns.clone(),
        None => columns_of(found),
    };
    let places = place_columns(source, path, &names, &wanted)?;
    let mut fields = Vec::with_capacity(wanted.len());
    for (column, place) in wanted.iter().zip(&places) {
        let field = found.field(*place);
        let column_type = column_type_of_field(field);
        if column_type != column.column_type {
            return Err(source.schema_error(format!(
                "column `{}` is declared as {}, but {} holds {} ({}): declare it as {}",
                column.name,
                column.column_type,
                path.display(),
                column_type,
                field.data_type(),
                column_type,
            )));
        }
        fields.push(found.fields()[*place].clone());
    }
    Ok((Arc::new(Schema::new(fields)), places))
}

/// Runs a piece of the reader. It panics on some damaged files, which must be an error that names the file.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, arrow_schema::ArrowError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let what = panic_text(panic.as_ref()).unwrap_or("the reader stopped");
        arrow_schema::ArrowError::ParquetError(what.to_owned())
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

pub(crate) fn damaged(source: &FileSource, path: &Path, place: String, error: &dyn std::fmt::Display) -> EngineError {
    let text = error.to_string();
    let message = if text.contains("encrypted") || text.contains("encryption") {
        "it is encrypted, which Stet does not read: write it without encryption".to_owned()
    } else if let Some((_, codec)) = text.split_once("Disabled feature at compile time: ") {
        format!("it is compressed with {codec}, which Stet does not read: write it with zstd, snappy, lz4 or gzip")
    } else {
        let first = text.lines().next().unwrap_or_default();
        let cut = first.char_indices().nth(ERROR_CHARS_MAX).map_or(first, |(end, _)| &first[..end]);
        format!("this is not a Parquet file that can be read, or it is damaged ({cut})")
    };
    source.bad_data(path, place, message)
}
