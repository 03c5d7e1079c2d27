//! JSON lines: one JSON object on each line. A missing field is null.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use stet_domain::ColumnType;
use stet_domain::project::Column;

use super::infer::Candidates;
use super::typed::{BatchBuilder, Layout};
use super::{COLUMNS_MAX, FileSource, RECORD_BYTES_MAX, check_count, check_name, near_name, open_text};
use crate::error::EngineError;

/// The columns of JSON-lines files without declared ones: fields in the order in which they first appear, types from all
/// values. Fields with values of several kinds become text; those with objects and arrays alone are passed on as they are
/// written ([`ColumnType::Other`]).
pub(super) fn infer(source: &FileSource, files: &[PathBuf]) -> Result<Vec<Column>, EngineError> {
    let mut places: HashMap<String, usize, FixedState> = HashMap::default();
    let mut names: Vec<String> = Vec::new();
    let mut candidates: Vec<Candidates> = Vec::new();
    for path in files {
        let mut file = OpenLines::open(source, path)?;
        while file.next(source)? {
            let object = file.object(source)?;
            for (name, raw) in &object.fields {
                let place = match places.get(name.as_ref()) {
                    Some(place) => *place,
                    None => {
                        let place = format!("line {}", file.line);
                        check_name(source, path, &place, names.len(), name)?;
                        check_count(source, path, &place, names.len() + 1)?;
                        names.push(name.clone().into_owned());
                        candidates.push(Candidates::new());
                        places.insert(name.clone().into_owned(), names.len() - 1);
                        names.len() - 1
                    }
                };
                match field_text(raw) {
                    Field::Null => {}
                    Field::String(text) => candidates[place].see_string(&text),
                    Field::Other(raw) => candidates[place].see_json(raw),
                }
            }
        }
    }
    if names.is_empty() {
        return Err(source.schema_error(format!(
            "{} has no rows, so its columns are not known: declare the columns of the dataset",
            source.path.display()
        )));
    }
    let types = candidates.iter().map(Candidates::column_type);
    Ok(names.into_iter().zip(types).map(|(name, column_type)| Column { name, column_type }).collect())
}

/// The rows of JSON-lines files as batches.
pub(super) fn stream(layout: Layout, files: Vec<PathBuf>) -> JsonStream {
    let builder = layout.builder();
    let places = layout.columns.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
    JsonStream { layout, places, files: files.into_iter(), open: None, builder, failed: false }
}

/// The line on which each of these rows stands.
pub(super) fn lines_of(
    source: &FileSource,
    files: &[PathBuf],
    rows: &[u64],
) -> Result<Vec<(u64, PathBuf, u64)>, EngineError> {
    let mut wanted: Vec<u64> = rows.to_vec();
    wanted.sort_unstable();
    let mut wanted = wanted.into_iter().peekable();
    let mut found = Vec::new();
    let mut row = 0;
    for path in files {
        let mut file = OpenLines::open(source, path)?;
        while wanted.peek().is_some() && file.read_line()? {
            while wanted.next_if_eq(&row).is_some() {
                found.push((row, path.clone(), file.line));
            }
            row += 1;
        }
    }
    Ok(found)
}

pub(super) struct JsonStream {
    layout: Layout,
    /// The place of each field in the columns of the layout.
    places: HashMap<String, usize, FixedState>,
    files: std::vec::IntoIter<PathBuf>,
    open: Option<OpenLines>,
    builder: BatchBuilder,
    failed: bool,
}

impl JsonStream {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        loop {
            let mut file = match self.open.take() {
                Some(file) => file,
                None => match self.files.next() {
                    Some(path) => OpenLines::open(&self.layout.source, &path)?,
                    None if self.builder.is_empty() => return Ok(None),
                    None => return self.builder.finish(&self.layout.schema).map(Some),
                },
            };
            while file.next(&self.layout.source)? {
                self.push(&file)?;
                if self.builder.end_row(self.layout.rows_max) {
                    self.open = Some(file);
                    return self.builder.finish(&self.layout.schema).map(Some);
                }
            }
        }
    }

    fn push(&mut self, file: &OpenLines) -> Result<(), EngineError> {
        let source = &self.layout.source;
        let object = file.object(source)?;
        let mut raws: Vec<Option<&RawValue>> = vec![None; self.layout.columns.len()];
        for (name, raw) in &object.fields {
            let Some(place) = self.places.get(name.as_ref()) else {
                let names: Vec<String> = self.layout.columns.iter().map(|column| column.name.clone()).collect();
                let near = near_name(name, &names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(source.bad_data(
                    &file.path,
                    format!("line {}", file.line),
                    format!("the field `{name}` is not a declared column: add it to the columns of the dataset{near}"),
                ));
            };
            raws[*place] = Some(*raw);
        }
        for (column, place) in self.layout.projection.iter().enumerate() {
            let is_json = self.layout.columns[*place].column_type == ColumnType::Other;
            let field = match raws[*place] {
                None => Field::Null,
                Some(raw) if is_json && raw.get() != "null" => Field::Other(raw.get()),
                Some(raw) => field_text(raw),
            };
            let pushed = match field {
                Field::Null => self.builder.push(column, None),
                Field::String(text) => self.builder.push(column, Some(&text)),
                Field::Other(raw) => self.builder.push(column, Some(raw)),
            };
            pushed.map_err(|message| self.layout.value_error(&file.path, file.line, *place, &message))?;
        }
        Ok(())
    }
}

impl Iterator for JsonStream {
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

/// A file that is being read, with the line at hand.
struct OpenLines {
    path: PathBuf,
    reader: BufReader<File>,
    buffer: Vec<u8>,
    /// The number of the line at hand, from 1.
    line: u64,
}

impl OpenLines {
    fn open(source: &FileSource, path: &Path) -> Result<OpenLines, EngineError> {
        let file = open_text(source, path)?;
        let reader = BufReader::with_capacity(1024 * 1024, file);
        Ok(OpenLines { path: path.to_owned(), reader, buffer: Vec::new(), line: 0 })
    }

    /// Moves to the next line that is not blank; false at the end of the file.
    fn next(&mut self, source: &FileSource) -> Result<bool, EngineError> {
        let more = self.read_line()?;
        if self.buffer.len() > RECORD_BYTES_MAX {
            let message = "the line is longer than 64 MB: write one object on each line";
            return Err(source.bad_data(&self.path, format!("line {}", self.line), message));
        }
        Ok(more)
    }

    fn read_line(&mut self) -> Result<bool, EngineError> {
        loop {
            self.buffer.clear();
            let mut limited = self.reader.by_ref().take(RECORD_BYTES_MAX as u64 + 2);
            let read =
                limited.read_until(b'\n', &mut self.buffer).map_err(EngineError::io("read", self.path.as_path()))?;
            if read == 0 {
                return Ok(false);
            }
            self.line += 1;
            if self.line == 1 && self.buffer.starts_with(b"\xEF\xBB\xBF") {
                self.buffer.drain(..3);
            }
            if !self.buffer.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }

    fn object(&self, source: &FileSource) -> Result<Object<'_>, EngineError> {
        // Without the end of the line, so that what is missing is missing at the line's last character.
        serde_json::from_slice(self.buffer.trim_ascii_end()).map_err(|error| {
            let text = error.to_string();
            // Every line is a document of its own: the line in serde's message is always 1.
            let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
            let message = format!("this is not a JSON object ({text}): write one object on each line, in UTF-8");
            source.bad_data(&self.path, format!("line {}, character {}", self.line, error.column()), message)
        })
    }
}

/// The fields of a line; a name that occurs twice is refused.
struct Object<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((Name(name), raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if fields.len() >= COLUMNS_MAX {
                        return Err(serde::de::Error::custom(format!("it has more than {COLUMNS_MAX} fields")));
                    }
                    fields.push((name, raw));
                }
                match twice(&fields) {
                    Some(name) => Err(serde::de::Error::custom(format!("the field `{name}` occurs twice"))),
                    None => Ok(Object { fields }),
                }
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Fewer names than this are held against each other faster than they are hashed.
const FEW_FIELDS: usize = 16;

/// A name that occurs twice.
fn twice<'a>(fields: &'a [(Cow<'_, str>, &RawValue)]) -> Option<&'a str> {
    let names = fields.iter().map(|(name, _)| name.as_ref());
    if fields.len() < FEW_FIELDS {
        let is_earlier = |place: usize, name: &str| fields[..place].iter().any(|(other, _)| other == name);
        return names.enumerate().find(|(place, name)| is_earlier(*place, name)).map(|(_, name)| name);
    }
    let mut seen: HashSet<&str, FixedState> = HashSet::with_capacity_and_hasher(fields.len(), FixedState::default());
    { names }.find(|name| !seen.insert(name))
}

/// A field's name, borrowed from the line unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

enum Field<'a> {
    Null,
    String(Cow<'a, str>),
    /// Numbers, booleans, objects and arrays, as they are written.
    Other(&'a str),
}

fn field_text(raw: &RawValue) -> Field<'_> {
    match raw.get() {
        "null" => Field::Null,
        text if text.starts_with('"') => match serde_json::from_str::<Name<'_>>(text) {
            Ok(Name(string)) => Field::String(string),
            // A string with half a surrogate pair: it is no text, so it is shown as it is written.
            Err(_) => Field::Other(text),
        },
        text => Field::Other(text),
    }
}
