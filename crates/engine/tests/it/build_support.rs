//! What the tests of builds share: small originals, logs, and a naive reading of CSV.

use std::path::{Path, PathBuf};

use stet_domain::apply::EditableColumn;
use stet_domain::event::{Action, ClientEventId, Event, EventId, LogDate, Source};
use stet_domain::project::{Column, CsvForm, Format};
use stet_domain::replay::Replay;
use stet_domain::{ColumnType, Key, Login};
use stet_engine::build::{ApplyBuild, ApplyTask, apply};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::read::FileSource;
use stet_engine::write::{WriteOptions, write_file};
use tempfile::TempDir;
use uuid::Uuid;

/// A folder of one test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A dataset in a CSV file, with its declared columns.
    pub fn csv(&self, name: &str, text: &str, columns: &[(&str, ColumnType)]) -> FileSource {
        let path = self.path(&format!("{name}.csv"));
        std::fs::write(&path, text).unwrap();
        FileSource {
            dataset: name.into(),
            path,
            format: Format::Csv,
            csv: CsvForm::default(),
            columns: Some(columns_of(columns)),
        }
    }

    /// The same rows in another format.
    pub fn convert(&self, source: &FileSource, format: Format) -> FileSource {
        let path = self.path(&format!("{}.{}", source.dataset, format.ending()));
        let rows = source.batches(None, 100).unwrap();
        write_file(&path, rows, WriteOptions::from(format), &Control::unwatched()).unwrap();
        FileSource { path, format, csv: CsvForm::default(), ..source.clone() }
    }

    /// The names of the files in the folder.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn columns_of(columns: &[(&str, ColumnType)]) -> Vec<Column> {
    columns.iter().map(|(name, column_type)| Column { name: (*name).into(), column_type: *column_type }).collect()
}

pub fn editable(columns: &[(&str, ColumnType)]) -> Vec<EditableColumn> {
    columns
        .iter()
        .map(|(name, column_type)| EditableColumn { name: (*name).into(), column_type: *column_type })
        .collect()
}

/// A log being written.
#[derive(Default)]
pub struct Log(pub Vec<Event>);

impl Log {
    fn push(mut self, action: Action, key: Key, column: Option<&str>, value: Option<&str>, saw: Option<&str>) -> Log {
        let id = self.0.len() as i64 + 1;
        self.0.push(Event {
            id: EventId(id),
            date: LogDate::from_micros(1_700_000_000_000_000 + id),
            user: Login::new("ada").unwrap(),
            action,
            key,
            column_name: column.map(str::to_owned),
            value: value.map(str::to_owned),
            previous: saw.map(str::to_owned),
            batch_id: Uuid::from_u128(1),
            source: Source::Grid,
            reason: None,
            event_id: ClientEventId(Uuid::from_u128(id as u128)),
        });
        self
    }

    pub fn update(self, key: &str, column: &str, value: Option<&str>, saw: Option<&str>) -> Log {
        self.push(Action::Update, Key::from_text(key), Some(column), value, saw)
    }

    pub fn create(self, key: &str, column: &str, value: &str) -> Log {
        self.push(Action::Create, Key::from_text(key), Some(column), Some(value), None)
    }

    pub fn delete(self, key: &str) -> Log {
        self.push(Action::Delete, Key::from_text(key), None, None, None)
    }

    pub fn revert(self, key: &str, column: Option<&str>) -> Log {
        self.push(Action::Revert, Key::from_text(key), column, None, None)
    }

    pub fn replay(&self) -> Replay {
        Replay::of(&self.0)
    }
}

/// Builds the edited dataset.
pub fn build(
    original: &FileSource,
    key: &[&str],
    log: &Log,
    editable: &[EditableColumn],
    output: &Path,
) -> Result<ApplyBuild, EngineError> {
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let format = Format::of_path(output.to_str().unwrap()).unwrap();
    let replay = log.replay();
    let task = ApplyTask { original, key: &key, replay: &replay, editable, earlier: None, output, format };
    apply(&task, &Control::unwatched())
}

/// The rows of a dataset as canonical texts.
pub fn rows_of(source: &FileSource) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for batch in source.batches(None, 7).unwrap().batches {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|array| stet_engine::cell::text(array, row)).collect());
        }
    }
    rows
}

/// The rows of a file that a build wrote.
pub fn rows_in(path: &Path) -> Vec<Vec<Option<String>>> {
    let format = Format::of_path(path.to_str().unwrap()).unwrap();
    rows_of(&FileSource { dataset: "output".into(), path: path.into(), format, csv: CsvForm::default(), columns: None })
}
