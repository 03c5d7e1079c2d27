//! A first project from a file: its data, its columns as they are, a key, and a table to edit it.

use std::collections::HashSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};

use stet_domain::project::{Column, CsvForm, Delimiter, Encoding, Format};
use stet_domain::{Actor, ColumnType, DatasetName, ProjectKey};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::read::{FileSource, beginning};
use stet_engine::rows::{read_rows, write_numbered};
use stet_engine::write::AtomicFile;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::App;
use crate::datasets::blocking;
use crate::error::AppError;

/// How much of a file's first line is looked at for its delimiter, in bytes.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// A project to be made of a file.
#[derive(Debug, Clone)]
pub struct NewProject {
    /// The name of its folder.
    pub key: String,
    /// Its name for people; empty for the key.
    pub name: String,
    /// The CSV, Parquet or JSON-lines file with the rows to edit. It is copied.
    pub from: PathBuf,
    /// The key columns; none to take the first column that names every row.
    pub key_columns: Vec<String>,
    /// The name of a column to add with the number of each row, which becomes the key: for rows that nothing else names.
    /// The copy is Parquet then.
    pub number: Option<String>,
    /// The columns to edit; none for all but the key.
    pub editable: Option<Vec<String>>,
    /// Whether a tick for reviewed rows and a column for comments are added.
    pub review: bool,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct MadeProject {
    /// Its key.
    pub key: ProjectKey,
    /// The dataset, and the webapp of the same name.
    pub dataset: DatasetName,
    /// The key columns.
    pub key_columns: Vec<String>,
    /// The columns that can be edited.
    pub editable: Vec<String>,
    /// Rows of the file.
    pub rows: u64,
}

impl App {
    /// Makes a project of a file: copies the file into the node's folder, finds columns and key, and writes a dataset and a
    /// webapp. It is for the node's administrators until its files give permissions.
    ///
    /// # Errors
    /// When the actor is no administrator, there is a project of this key, the file cannot be read, or its rows have no key.
    /// Nothing is left then.
    pub async fn make_project(&self, actor: &Actor, wanted: NewProject) -> Result<MadeProject, AppError> {
        self.require_administrator(actor)?;
        let (app, actor) = (self.clone(), actor.clone());
        blocking(move || app.make_project_now(&actor, &wanted)).await
    }

    fn make_project_now(&self, actor: &Actor, wanted: &NewProject) -> Result<MadeProject, AppError> {
        let key = ProjectKey::new(wanted.key.as_str()).map_err(|error| AppError::Invalid(error.to_string()))?;
        let (project, data) = (self.inner.folder.project(&key), self.inner.folder.data(&key));
        for folder in [&project, &data] {
            if folder.exists() {
                return Err(AppError::Conflict(format!(
                    "{} is there already: choose another key, or change the files of the project",
                    self.shown_path(folder)
                )));
            }
        }
        let source = source_of(&wanted.from)?;
        let dataset =
            DatasetName::new(source.dataset.as_str()).map_err(|error| AppError::Invalid(error.to_string()))?;
        let source = source.settled()?;
        let columns = source.columns()?;
        let (rows, key_columns) = match &wanted.number {
            None => key_of(&source, &columns, &wanted.key_columns)?,
            Some(name) if !wanted.key_columns.is_empty() => {
                return Err(AppError::Invalid(format!(
                    "the key is the number `{name}`, or other columns: name one of them"
                )));
            }
            Some(name) if name.is_empty() || columns.iter().any(|column| column.name == *name) => {
                return Err(AppError::Invalid(format!(
                    "there is a column `{name}` already: give the number another name"
                )));
            }
            Some(name) => (0, vec![name.clone()]),
        };
        let editable = editable_of(&columns, &key_columns, wanted.editable.as_deref())?;

        let ending = if wanted.number.is_some() { Format::Parquet.ending() } else { ending_of(&source) };
        let file = format!("{dataset}.{ending}");
        let written = [
            ("project.toml".to_owned(), header(if wanted.name.is_empty() { key.as_str() } else { &wanted.name })),
            (format!("datasets/{dataset}.toml"), dataset_file(&source, &file, &columns, &key_columns)),
            (format!("webapps/{dataset}.toml"), webapp_file(&dataset, &columns, &editable, wanted.review)),
        ];
        self.note_blocking(self.entry(actor, "project.add", format!("project {key}"), format!("from {file}")))?;
        let copied = match &wanted.number {
            None => copy(&wanted.from, &data.join(&file)).map(|()| rows),
            Some(name) => copy_numbered(&source, name, &data.join(&file)),
        };
        let made = copied.and_then(|rows| {
            written.iter().try_for_each(|(name, text)| write(&project.join(name), text)).map(|()| rows)
        });
        let rows = match made {
            Ok(rows) => rows,
            Err(error) => {
                // What is left of it is not in anybody's way: the folders are those that were not there.
                let _ = fs::remove_dir_all(&data);
                let _ = fs::remove_dir_all(&project);
                return Err(error);
            }
        };
        self.inner.projects.forget(&key);
        self.inner.projects.get(&key)?;
        Ok(MadeProject { key, dataset, key_columns, editable, rows })
    }
}

fn source_of(from: &Path) -> Result<FileSource, AppError> {
    let shown = from.display();
    let name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let format = Format::of_path(&name).ok_or_else(|| {
        let known = "what it is is told by its ending: .csv, .tsv, .parquet, .jsonl, .ndjson or .json (one object on each line)";
        let packed = [".gz", ".zst", ".bz2", ".xz", ".zip"].iter().any(|ending| name.ends_with(ending));
        let sheet = [".xlsx", ".xls", ".ods"].iter().any(|ending| name.ends_with(ending));
        let what_to_do = match (packed, sheet) {
            (true, _) => ": unpack it first",
            (_, true) => ": save the sheet as CSV in UTF-8",
            _ => "",
        };
        AppError::Invalid(format!("{shown}: {known}{what_to_do}"))
    })?;
    if !from.is_file() {
        return Err(AppError::Invalid(format!("{shown} is not there, or is no file")));
    }
    let csv = if format == Format::Csv { form_of(from)? } else { CsvForm::default() };
    let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
    Ok(FileSource { dataset: name_of(stem), path: from.to_owned(), format, csv, columns: None })
}

/// A name for a dataset, of the name of a file.
fn name_of(stem: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '_' };
    let mut name: String = stem.chars().take(90).map(plain).collect::<String>().to_lowercase();
    if !name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_') {
        name.insert(0, '_');
    }
    name
}

/// How a CSV file is written: by its byte order mark, by whether it is UTF-8, and by the delimiter that stands most often in
/// its header, outside quotes.
fn form_of(from: &Path) -> Result<CsvForm, AppError> {
    let encoding = encoding_of(from)?;
    let text = beginning(from, encoding, HEADER_BYTES_MAX)?;
    let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    // Spreadsheets write it into a line of its own.
    let said = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let said = said.strip_prefix(b"\"").and_then(|said| said.strip_suffix(b"\"")).unwrap_or(said);
    if let Some(named) = said.strip_prefix(b"sep=")
        && let Some(delimiter) = Delimiter::ALL.into_iter().find(|delimiter| *named == [delimiter.byte()])
    {
        return Ok(CsvForm { delimiter, encoding });
    }
    let count = |delimiter: Delimiter| {
        let mut quoted = false;
        line.iter()
            .filter(|byte| {
                quoted ^= **byte == b'"';
                !quoted && **byte == delimiter.byte()
            })
            .count()
    };
    let most = Delimiter::ALL.into_iter().rev().max_by_key(|delimiter| count(*delimiter));
    let delimiter = most.filter(|delimiter| count(*delimiter) > 0).unwrap_or_default();
    Ok(CsvForm { delimiter, encoding })
}

/// UTF-16 says so itself, or has a nothing beside every plain letter. What is not UTF-8 is taken for the encoding that older
/// spreadsheets save, unless letters of UTF-8 are in it as well: then it is damaged, and whoever reads it is told where.
fn encoding_of(from: &Path) -> Result<Encoding, AppError> {
    let mut file = fs::File::open(from).map_err(EngineError::io("open", from))?;
    let mut start = Vec::new();
    (&mut file).take(4).read_to_end(&mut start).map_err(EngineError::io("read", from))?;
    let is_plain_utf16 = matches!(start[..], [a, 0, b, 0] if a != 0 && b != 0);
    if is_plain_utf16 || matches!(start[..], [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) {
        return Ok(Encoding::Utf16);
    }
    let (mut buffer, mut kept) = (vec![0; 256 * 1024], start.len());
    buffer[..kept].copy_from_slice(&start);
    let (mut has_letters, mut has_others) = (false, false);
    loop {
        let count = file.read(&mut buffer[kept..]).map_err(EngineError::io("read", from))?;
        let (end, mut at) = (kept + count, 0);
        kept = 0;
        while at < end {
            let (valid, wrong) = match std::str::from_utf8(&buffer[at..end]) {
                Ok(text) => (text.len(), 0),
                // A letter may go on in what is read next.
                Err(error) if error.error_len().is_none() && count > 0 => {
                    kept = end - at - error.valid_up_to();
                    (error.valid_up_to(), 0)
                }
                Err(error) => (error.valid_up_to(), error.error_len().unwrap_or(end - at - error.valid_up_to())),
            };
            // The byte order mark is no letter.
            has_letters |= !buffer[at..at + valid].is_ascii() && buffer[at..at + valid] != *b"\xEF\xBB\xBF";
            has_others |= wrong > 0;
            at += valid + wrong;
            if kept > 0 {
                buffer.copy_within(at..end, 0);
                break;
            }
        }
        if count == 0 {
            return Ok(if has_others && !has_letters { Encoding::Windows1252 } else { Encoding::Utf8 });
        }
    }
}

/// How many rows there are, and the columns that name each: those that are wanted, or the first one that does.
fn key_of(source: &FileSource, columns: &[Column], wanted: &[String]) -> Result<(u64, Vec<String>), AppError> {
    let place_of = |name: &String| {
        columns.iter().position(|column| column.name == *name).ok_or_else(|| {
            let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            AppError::Invalid(format!("there is no column `{name}`: the columns are {}", known.join(", ")))
        })
    };
    let wanted_places = wanted.iter().map(place_of).collect::<Result<Vec<_>, _>>()?;
    if let Some(place) = wanted_places.iter().find(|place| !columns[**place].column_type.is_key()) {
        return Err(AppError::Invalid(format!(
            "the column `{}` has a type that cannot be a key: name others, write it as text or as a number, or have the rows \
             numbered with --number row",
            columns[*place].name
        )));
    }
    let mut candidates: Vec<(Vec<usize>, HashSet<u64>)> = if wanted.is_empty() {
        let may_be = |place: &usize| {
            matches!(columns[*place].column_type, ColumnType::Text | ColumnType::Integer | ColumnType::Decimal { .. })
        };
        (0..columns.len()).filter(may_be).map(|place| (vec![place], HashSet::new())).collect()
    } else {
        vec![(wanted_places, HashSet::new())]
    };
    let hashing = RandomState::new();
    let mut row_number = 0u64;
    let mut failed = String::new();
    let rows = read_rows::<AppError>(source, &Control::unwatched(), &mut |row| {
        row_number += 1;
        candidates.retain_mut(|(places, seen)| {
            let parts: Vec<Option<&String>> = places.iter().map(|place| row[*place].as_ref()).collect();
            let is_whole = parts.iter().all(Option::is_some);
            let is_new = is_whole && seen.insert(hashing.hash_one(&parts));
            if !is_new {
                let shown: Vec<&str> = parts.iter().map(|part| part.map_or("nothing", String::as_str)).collect();
                let what = if is_whole { "as an earlier row has" } else { "which is no whole key" };
                failed = format!("row {row_number} has {}, {what}", shown.join(", "));
            }
            is_new
        });
        Ok(())
    })?;
    let Some((places, _)) = candidates.first() else {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        return Err(AppError::Invalid(if wanted.is_empty() {
            format!(
                "no single column names every row: say which ones do together, with --key A,B, or have the rows numbered, with \
                 --number row. The columns are {}",
                names.join(", ")
            )
        } else {
            format!("the key ({}) does not name every row: {failed}", wanted.join(", "))
        }));
    };
    Ok((rows, places.iter().map(|place| columns[*place].name.clone()).collect()))
}

fn editable_of(columns: &[Column], key: &[String], wanted: Option<&[String]>) -> Result<Vec<String>, AppError> {
    let may_be = |column: &&Column| !key.contains(&column.name) && column.column_type != ColumnType::Other;
    let Some(wanted) = wanted else {
        return Ok(columns.iter().filter(may_be).map(|column| column.name.clone()).collect());
    };
    for name in wanted {
        if !columns.iter().filter(may_be).any(|column| column.name == *name) {
            let known: Vec<&str> = columns.iter().filter(may_be).map(|column| column.name.as_str()).collect();
            return Err(AppError::Invalid(format!(
                "`{name}` cannot be edited: those that can are {}",
                known.join(", ")
            )));
        }
    }
    Ok(wanted.to_vec())
}

fn ending_of(source: &FileSource) -> &'static str {
    if source.format == Format::Csv && source.csv.delimiter == Delimiter::Tab { "tsv" } else { source.format.ending() }
}

fn header(name: &str) -> String {
    let mut file = DocumentMut::new();
    file["name"] = value(name);
    format!(
        "{file}\n# Until somebody is given something, the project is for the node's administrators alone, such as:\n\
         # [permissions.groups]\n# everyone = [\"read_dashboards\"]\n"
    )
}

fn dataset_file(source: &FileSource, file: &str, columns: &[Column], key: &[String]) -> String {
    let mut written = DocumentMut::new();
    written["path"] = value(file);
    if Format::of_path(file) == Some(Format::Csv) && source.csv.delimiter != Delimiter::of_path(file) {
        written["delimiter"] = value(char::from(source.csv.delimiter.byte()).to_string());
    }
    if Format::of_path(file) == Some(Format::Csv) && source.csv.encoding != Encoding::Utf8 {
        written["encoding"] = value(source.csv.encoding.as_str());
    }
    written["key"] = value(key.iter().map(String::as_str).collect::<Array>());
    // Parquet tells its types itself.
    if Format::of_path(file) != Some(Format::Parquet) {
        let mut list = Array::new();
        for column in columns {
            let mut entry = InlineTable::new();
            entry.insert("name", column.name.as_str().into());
            entry.insert("type", column.column_type.to_string().into());
            let mut entry = Value::InlineTable(entry);
            entry.decor_mut().set_prefix("\n  ");
            list.push_formatted(entry);
        }
        list.set_trailing("\n");
        list.set_trailing_comma(true);
        written["columns"] = value(list);
    }
    written.to_string()
}

fn webapp_file(dataset: &DatasetName, columns: &[Column], editable: &[String], review: bool) -> String {
    let mut written = DocumentMut::new();
    written["original"] = value(dataset.as_str());
    // Names that are taken by the data get another one.
    let free = |name: &str| {
        let mut name = name.to_owned();
        while columns.iter().any(|column| column.name == name) {
            name.push('_');
        }
        name
    };
    let (reviewed, comments) = (free("reviewed"), free("comments"));
    let mut entries = ArrayOfTables::new();
    let mut add = |name: &str, column_type: Option<&str>, multiline: bool| {
        let mut entry = Table::new();
        entry["column"] = value(name);
        if let Some(column_type) = column_type {
            entry["type"] = value(column_type);
        }
        if multiline {
            entry["multiline"] = value(true);
        }
        entries.push(entry);
    };
    editable.iter().for_each(|name| add(name, None, false));
    if review {
        written["validation_column"] = value(reviewed.as_str());
        written["comments_column"] = value(comments.as_str());
        add(&reviewed, Some("boolean"), false);
        add(&comments, Some("text"), true);
    }
    written["editable"] = Item::ArrayOfTables(entries);
    written.to_string()
}

fn copy(from: &Path, to: &Path) -> Result<(), AppError> {
    let mut input = fs::File::open(from).map_err(EngineError::io("open", from))?;
    let mut out = AtomicFile::create(to)?;
    std::io::copy(&mut input, &mut out).map_err(EngineError::io("copy", to))?;
    out.commit()?;
    Ok(())
}

/// Copies the rows with their numbers, from 1 on, as a column before the others; gives how many there are.
fn copy_numbered(source: &FileSource, name: &str, to: &Path) -> Result<u64, AppError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(EngineError::io("make the folder", folder))?;
    }
    Ok(write_numbered(source, name, to, &Control::unwatched())?.rows)
}

fn write(path: &Path, text: &str) -> Result<(), AppError> {
    let mut out = AtomicFile::create(path)?;
    std::io::Write::write_all(&mut out, text.as_bytes()).map_err(EngineError::io("write", path))?;
    out.commit()?;
    Ok(())
}
