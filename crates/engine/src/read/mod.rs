//! Reading datasets as streams of Arrow record batches.
//!
//! A [`FileSource`] is a CSV, Parquet or JSON-lines file, or a folder of files of one format, which are read in order of
//! their names as one dataset. Columns come in the declared order, or as the first file has them.

mod csv;
mod exact;
mod fingerprint;
mod infer;
mod jsonl;
pub(crate) mod parquet;
mod typed;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use stet_domain::project::{Column, CsvForm, Delimiter, Encoding, Format};

use crate::cell::{columns_of, schema_of};
use crate::error::EngineError;

pub use csv::beginning;
pub(crate) use fingerprint::hex;
pub use fingerprint::{FilePrint, Fingerprint};

/// The most columns of a dataset.
pub const COLUMNS_MAX: usize = 10_000;

/// The most files of a dataset.
pub const FILES_MAX: usize = 100_000;

/// The longest record of a CSV or JSON-lines file, in bytes. A quote that is never closed would else read a whole file
/// into one field.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A batch of text data ends early at this size, in bytes, so that 32-bit offsets hold.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A dataset in files: what to read and how.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// The dataset's name, for messages.
    pub dataset: String,
    /// The file, or the folder whose files of the format are read in order of their names.
    pub path: PathBuf,
    /// The format of the file or files.
    pub format: Format,
    /// How CSV is written.
    pub csv: CsvForm,
    /// The declared columns; none to take them from the data.
    pub columns: Option<Vec<Column>>,
}

/// A stream of batches with one schema.
pub struct Batches {
    /// The Arrow schema of every batch.
    pub schema: SchemaRef,
    /// The batches, in the order of the original. After an error there are no more.
    pub batches: Box<dyn Iterator<Item = Result<RecordBatch, EngineError>> + Send>,
}

impl FileSource {
    /// The file, or the files of the format in the folder, in order of their names. Files whose names start with `.` or
    /// `_` are markers of other programs and are left out; folders in the folder are not looked into.
    ///
    /// # Errors
    /// When the path does not exist or is neither a file nor a folder, when the folder has no file of the format or is
    /// partitioned into folders such as `year=2026`, or when a name in it is no text.
    pub fn files(&self) -> Result<Vec<PathBuf>, EngineError> {
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(EngineError::Missing { dataset: self.dataset.clone(), path: self.path.clone() });
            }
            Err(error) => return Err(EngineError::io("read", &self.path)(error)),
        };
        if metadata.is_file() {
            return Ok(vec![self.path.clone()]);
        }
        if !metadata.is_dir() {
            // Whoever reads a pipe or a device may wait for ever.
            return Err(self.bad_data(&self.path, String::new(), "this is neither a file nor a folder"));
        }
        let mut files = Vec::new();
        let mut has_folders = false;
        for entry in std::fs::read_dir(&self.path).map_err(EngineError::io("list the folder", &self.path))? {
            let path = entry.map_err(EngineError::io("list the folder", &self.path))?.path();
            let Some(name) = path.file_name() else { continue };
            let Some(name) = name.to_str() else {
                if Format::of_path(&name.to_string_lossy()) == Some(self.format) {
                    let message = "the name of this file is not UTF-8: rename it, or move it away";
                    return Err(self.bad_data(&path, String::new(), message));
                }
                continue;
            };
            // Files with tabs and files with commas are not one dataset.
            let is_of_format = Format::of_path(name) == Some(self.format)
                && (Delimiter::of_path(name) != Delimiter::Tab || self.csv.delimiter == Delimiter::Tab);
            // What stands beside an output of Stet is no data.
            let is_marker = name.starts_with(['.', '_']) || name.ends_with(".stet.json");
            if !is_marker && is_of_format && path.is_file() {
                files.push(path);
            } else if !is_marker && path.is_dir() {
                if let Some((column, _)) = name.split_once('=') {
                    return Err(self.schema_error(format!(
                        "the folder {} is partitioned: it has the folder `{name}`, and Stet reads the files of one folder \
                         alone. Write the rows without partitions, with `{column}` as a column",
                        self.path.display(),
                    )));
                }
                has_folders = true;
            }
        }
        if files.is_empty() {
            let ending = self.format.ending();
            let hint = if has_folders { "; folders in it are not looked into" } else { "" };
            return Err(self.schema_error(format!("the folder {} has no .{ending} file{hint}", self.path.display())));
        }
        if files.len() > FILES_MAX {
            return Err(self.schema_error(format!("the folder has more than {FILES_MAX} files")));
        }
        files.sort_unstable();
        Ok(files)
    }

    /// The same source with its columns settled, so that they are not worked out from the data again by every call.
    ///
    /// # Errors
    /// See [`FileSource::columns`].
    pub fn settled(&self) -> Result<FileSource, EngineError> {
        Ok(FileSource { columns: Some(self.columns()?), ..self.clone() })
    }

    /// The declared columns, or those of the data: a CSV or JSON-lines file is read to its end to find their types.
    ///
    /// # Errors
    /// When the data cannot be read, or its columns are not the declared ones.
    pub fn columns(&self) -> Result<Vec<Column>, EngineError> {
        match (self.format, &self.columns) {
            (Format::Parquet, _) => Ok(columns_of(self.arrow_schema()?.as_ref())),
            (_, Some(columns)) => Ok(columns.clone()),
            (Format::Csv, None) => csv::infer(self, &self.files()?),
            (Format::Jsonl, None) => jsonl::infer(self, &self.files()?),
        }
    }

    /// The Arrow schema of the batches: for Parquet the exact types of the file.
    ///
    /// # Errors
    /// See [`FileSource::columns`].
    pub fn arrow_schema(&self) -> Result<SchemaRef, EngineError> {
        match self.format {
            Format::Parquet => parquet::schema(self, &self.files()?),
            Format::Csv | Format::Jsonl => Ok(schema_of(&self.columns()?)),
        }
    }

    /// The rows, as batches of at most `rows_max` rows (they may be shorter), with all columns or those of a projection:
    /// places in [`FileSource::columns`], in the wanted order.
    ///
    /// # Errors
    /// When the data cannot be opened or its columns are not the declared ones. What is wrong further inside comes as an
    /// error in the stream.
    pub fn batches(&self, projection: Option<&[usize]>, rows_max: usize) -> Result<Batches, EngineError> {
        let rows_max = rows_max.max(1);
        let files = self.files()?;
        if self.format == Format::Parquet {
            return parquet::batches(self, files, projection, rows_max);
        }
        let columns = self.columns()?;
        check_declared(self, &columns)?;
        let projection: Vec<usize> = match projection {
            Some(places) => places.to_vec(),
            None => (0..columns.len()).collect(),
        };
        if let Some(place) = projection.iter().find(|place| **place >= columns.len()) {
            return Err(EngineError::Request(format!("dataset `{}` has no column number {place}", self.dataset)));
        }
        let projected: Vec<Column> = projection.iter().map(|place| columns[*place].clone()).collect();
        let schema = schema_of(&projected);
        let layout = typed::Layout { source: self.clone(), columns, projection, schema: schema.clone(), rows_max };
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, EngineError>> + Send> = match self.format {
            Format::Csv => Box::new(csv::stream(layout, files)?),
            _ => Box::new(jsonl::stream(layout, files)),
        };
        Ok(Batches { schema, batches })
    }

    /// How many rows there are, when the files say so without being read: Parquet's do.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn rows_known(&self) -> Result<Option<u64>, EngineError> {
        match self.format {
            Format::Parquet => parquet::rows(self, &self.files()?).map(Some),
            Format::Csv | Format::Jsonl => Ok(None),
        }
    }

    /// The line on which each of these rows (from 0, in the order of the dataset) starts, with its file; the map lacks
    /// rows that are not found. Only CSV and JSON lines have lines.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn lines_of(&self, rows: &[u64]) -> Result<Vec<(u64, PathBuf, u64)>, EngineError> {
        match self.format {
            Format::Csv => csv::lines_of(self, &self.files()?, rows),
            Format::Jsonl => jsonl::lines_of(self, &self.files()?, rows),
            Format::Parquet => Ok(Vec::new()),
        }
    }

    /// What tells whether the data has changed: size and time of change of every file.
    ///
    /// # Errors
    /// When a file is not there.
    pub fn fingerprint(&self) -> Result<Fingerprint, EngineError> {
        let files = self.files()?.into_iter().map(FilePrint::of).collect::<Result<_, _>>()?;
        Ok(Fingerprint { files })
    }

    /// Checks that the files are those that they were.
    ///
    /// # Errors
    /// When one was changed, added or taken away: what was read since may be half old and half new.
    pub(crate) fn changed_since(&self, prints: &Fingerprint) -> Result<(), EngineError> {
        if self.fingerprint().is_ok_and(|now| now == *prints) {
            return Ok(());
        }
        Err(self.bad_data(&self.path, String::new(), "the data was changed while it was being read; build again"))
    }

    fn schema_error(&self, message: String) -> EngineError {
        EngineError::Schema { dataset: self.dataset.clone(), message }
    }

    fn bad_data(&self, path: &Path, place: String, message: impl Into<String>) -> EngineError {
        EngineError::BadData { path: path.to_owned(), place, message: message.into() }
    }
}

/// How files begin that are no text, and what they are.
const NO_TEXT: [(&[u8], &str); 5] = [
    (b"\x1F\x8B", "it is compressed (gzip): unpack it first"),
    (b"\x28\xB5\x2F\xFD", "it is compressed (zstd): unpack it first"),
    (b"PK\x03\x04", "it is an Excel workbook or a ZIP archive: save the sheet as CSV in UTF-8, or unpack it first"),
    (b"\xD0\xCF\x11\xE0", "it is an Excel workbook: save the sheet as CSV in UTF-8"),
    (b"PAR1", "it is a Parquet file: give it the ending .parquet"),
];

/// Opens a file of text. What is none by its first bytes is told as what it is.
fn open_text(source: &FileSource, path: &Path) -> Result<File, EngineError> {
    let mut file = File::open(path).map_err(EngineError::io("open", path))?;
    let mut first = Vec::new();
    (&mut file).take(4).read_to_end(&mut first).map_err(EngineError::io("read", path))?;
    if let Some((_, what)) = NO_TEXT.into_iter().find(|(bytes, _)| first.starts_with(bytes)) {
        return Err(source.bad_data(path, String::new(), what));
    }
    // Every second byte of plain letters in UTF-16 is nothing.
    let is_utf16 = matches!(first[..], [a, 0, b, 0] | [0, a, 0, b] if a != 0 && b != 0);
    if is_utf16 && source.csv.encoding != Encoding::Utf16 {
        return Err(source.bad_data(path, String::new(), UTF16));
    }
    file.rewind().map_err(EngineError::io("read", path))?;
    Ok(file)
}

/// What to do with UTF-16.
const UTF16: &str = "the text is UTF-16: write `encoding = \"utf-16\"` in the file of the dataset, or save it as UTF-8";

/// Checks the names of a file's columns by themselves.
fn check_names(source: &FileSource, path: &Path, place: &str, names: &[String]) -> Result<(), EngineError> {
    check_count(source, path, place, names.len())?;
    let mut seen = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        check_name(source, path, place, index, name)?;
        if !seen.insert(name) {
            let message = format!("two columns are named `{name}`: rename one of them");
            return Err(source.bad_data(path, place.to_owned(), message));
        }
    }
    Ok(())
}

/// Checks how many columns a file has.
fn check_count(source: &FileSource, path: &Path, place: &str, columns: usize) -> Result<(), EngineError> {
    if columns > COLUMNS_MAX {
        let message = format!("there are {columns} columns; the most is {COLUMNS_MAX}");
        return Err(source.bad_data(path, place.to_owned(), message));
    }
    Ok(())
}

/// Checks that a column has a name; `index` is its place, from 0.
fn check_name(source: &FileSource, path: &Path, place: &str, index: usize, name: &str) -> Result<(), EngineError> {
    if name.is_empty() {
        let message = format!("column {} has no name: give every column a name", index + 1);
        return Err(source.bad_data(path, place.to_owned(), message));
    }
    Ok(())
}

/// The place of each wanted column among those found in a file; both have to be the same set.
fn place_columns(
    source: &FileSource,
    path: &Path,
    found: &[String],
    wanted: &[Column],
) -> Result<Vec<usize>, EngineError> {
    // A source whose columns were taken from its data has them declared from then on.
    let declared = match source.columns {
        Some(_) if source.path != path => "declared or in the first file",
        Some(_) => "declared",
        None => "in the first file",
    };
    let found_places: HashMap<&str, usize> =
        found.iter().enumerate().rev().map(|(place, name)| (name.as_str(), place)).collect();
    let places = wanted
        .iter()
        .map(|column| {
            found_places.get(column.name.as_str()).copied().ok_or_else(|| {
                let near = near_name(&column.name, found).map(|name| format!("; it has `{name}`")).unwrap_or_default();
                source.schema_error(format!(
                    "column `{}` is {declared}, but {} has no such column{near}",
                    column.name,
                    path.display()
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let wanted_names: BTreeSet<&str> = wanted.iter().map(|column| column.name.as_str()).collect();
    if let Some(extra) = found.iter().find(|name| !wanted_names.contains(name.as_str())) {
        let names: Vec<String> = wanted.iter().map(|column| column.name.clone()).collect();
        let near = near_name(extra, &names).map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default();
        return Err(source.schema_error(format!(
            "{} has a column `{extra}` that is not {declared}: add it to the columns of the dataset{near}",
            path.display()
        )));
    }
    Ok(places)
}

/// The name that was probably meant, if one is near.
pub(crate) fn near_name<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    names
        .iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name.as_str()))
        .filter(|(similarity, _)| *similarity > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn check_declared(source: &FileSource, columns: &[Column]) -> Result<(), EngineError> {
    if source.format == Format::Jsonl {
        return Ok(());
    }
    if let Some(column) = columns.iter().find(|column| column.column_type == stet_domain::ColumnType::Other) {
        return Err(source.schema_error(format!(
            "column `{}` is declared as `other`, which a CSV file cannot hold: declare it as `text`",
            column.name
        )));
    }
    Ok(())
}
