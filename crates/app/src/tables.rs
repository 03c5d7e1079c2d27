//! Datasets in databases: how they are read, when they have changed, and how outputs get there.
//!
//! Whoever needs all rows (a snapshot, an export, a build of files) works on a copy in the cache, which is made anew when
//! the content of the table has changed. Builds whose original and output are in one database do not need it.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stet_domain::project::{Column, CsvForm, Dataset, Format, Location, Project, TableName};
use stet_domain::{ColumnType, DatasetName};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::manifest::{FileStamp, InputStamp};
use stet_engine::read::{FilePrint, FileSource};
use stet_engine::rows::{read_rows, write_rows};
use stet_engine::write::{AtomicFile, digest_text};
use stet_store::postgres::{RowSource, TablePrint, TableWritten};
use stet_store::{Postgres, StoreError};

use crate::App;
use crate::error::AppError;

/// The version of what stands beside a copy.
const COPY_VERSION: u32 = 1;

/// How often the whole content of a table is looked at, at most, while somebody has it open.
const LOOK_AT_CONTENT: Duration = Duration::from_secs(10);

/// How often the result of a query, or a view, is looked at: nothing tells cheaply whether it has changed.
const LOOK_AT_QUERY: Duration = Duration::from_secs(60);

/// What is known of a table and of the copy of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    version: u32,
    /// Equal prints mean equal rows.
    print: Option<String>,
    /// The content of the table when its print was taken.
    content: String,
    /// The content of the copy; none when there is none.
    copied: Option<String>,
    columns: Vec<Column>,
}

/// A dataset in a database.
pub(crate) struct DatabaseTable {
    pub(crate) postgres: Postgres,
    pub(crate) connection: String,
    pub(crate) source: RowSource,
    dataset: String,
    declared: Option<Vec<Column>>,
    /// The copy in the cache.
    copy: PathBuf,
}

/// A table that is open in a webapp, and how it was when it was loaded.
pub(crate) struct WatchedTable {
    table: DatabaseTable,
    print: Option<TablePrint>,
    content: String,
    looked: Mutex<Instant>,
}

impl App {
    /// A dataset that is in a database; none for one in files.
    ///
    /// # Errors
    /// When this node does not have its connection.
    pub(crate) fn database_table(
        &self,
        project: &Project,
        dataset: &Dataset,
    ) -> Result<Option<DatabaseTable>, AppError> {
        let (connection, source) = match &dataset.location {
            Location::Table { connection, table } => (connection, RowSource::Table(table.clone())),
            Location::Query { connection, query } => (connection, RowSource::Query(query.clone())),
            Location::Files { .. } | Location::Editlog { .. } => return Ok(None),
        };
        let postgres = self.database(dataset.name.as_str(), connection)?;
        // A dataset that is moved to another table is another one.
        let place = digest_text(&format!("{}\n{source:?}\n{:?}", postgres.config(), dataset.columns));
        let name = format!("{}-{}.parquet", dataset.name, &place[..16]);
        Ok(Some(DatabaseTable {
            postgres,
            connection: connection.clone(),
            source,
            dataset: dataset.name.to_string(),
            declared: dataset.columns.clone(),
            copy: self.inner.folder.cache(&project.key).join("tables").join(name),
        }))
    }

    /// The files of a dataset, brought up to date if they are a copy of a table. Blocks.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) fn ready_source(&self, project: &Project, dataset: &Dataset) -> Result<FileSource, AppError> {
        if let Some(table) = self.database_table(project, dataset)? {
            table.refresh().map_err(|error| self.explain_table(project, &table, error))?;
        }
        self.file_source(project, dataset)
    }

    /// Says of a table that is not there how to get it, when a recipe makes it.
    pub(crate) fn explain_table(&self, project: &Project, table: &DatabaseTable, error: AppError) -> AppError {
        let missing =
            table.postgres.columns(&table.source).is_err_and(|error| matches!(error, StoreError::NotThere { .. }));
        if !missing {
            return error;
        }
        let made = DatasetName::new(table.dataset.as_str()).is_ok_and(|name| project.recipe_of(&name).is_some());
        if !made {
            return AppError::Conflict(format!(
                "`{}` has no data: there is no {table}. Look at `table` or `query` in the file of the dataset, and at what the \
                 user of the connection may read",
                table.dataset
            ));
        }
        let path = PathBuf::from(table.to_string());
        self.explain_missing(project, EngineError::Missing { dataset: table.dataset.clone(), path })
    }

    /// What stands for an output in the node's folder, with its manifest beside it: the output itself, or for a table a
    /// file with its content's hash.
    pub(crate) fn output_path(&self, project: &Project, dataset: &Dataset) -> Result<PathBuf, AppError> {
        match &dataset.location {
            Location::Table { .. } => Ok(self.inner.folder.data(&project.key).join(format!("{}.table", dataset.name))),
            Location::Query { .. } => Err(AppError::Invalid(format!(
                "`{}` is the result of a query, which cannot be written: give it a `table`",
                dataset.name
            ))),
            _ => Ok(self.file_source(project, dataset)?.path),
        }
    }

    /// Whether a table that a recipe made is still as it was made; true for files, which their manifests tell of. Blocks.
    pub(crate) fn is_as_built(&self, project: &Project, dataset: &Dataset) -> Result<bool, AppError> {
        let Some(table) = self.database_table(project, dataset)? else { return Ok(true) };
        let marker = std::fs::read_to_string(self.output_path(project, dataset)?).unwrap_or_default();
        match &table.source {
            RowSource::Table(name) if !table.postgres.is_output(name, dataset.name.as_str())? => Ok(false),
            _ => Ok(marker.trim_end() == table.content()?),
        }
    }
}

impl std::fmt::Display for DatabaseTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            RowSource::Table(name) => write!(f, "{}: {name}", self.connection),
            RowSource::Query(_) => write!(f, "{}: a query", self.connection),
        }
    }
}

impl DatabaseTable {
    /// The columns, as declared or as the database has them. Blocks.
    pub(crate) fn columns(&self) -> Result<Vec<Column>, AppError> {
        match &self.declared {
            Some(columns) => Ok(columns.clone()),
            None => Ok(self.postgres.columns(&self.source)?.into_iter().map(|known| known.column).collect()),
        }
    }

    /// Some rows as canonical texts. Blocks.
    pub(crate) fn preview(
        &self,
        offset: u64,
        limit: usize,
    ) -> Result<(Vec<Column>, Vec<stet_store::postgres::TextRow>), AppError> {
        let known = self.postgres.columns(&self.source)?;
        let columns: Vec<Column> = known.iter().map(|known| known.column.clone()).collect();
        let mut rows = self.postgres.some_rows(&self.source, &known, offset, limit)?;
        for row in &mut rows {
            for (cell, column) in row.iter_mut().zip(&columns) {
                if let Some(text) = cell
                    && !matches!(column.column_type, ColumnType::Text | ColumnType::Other)
                    && let Ok(canonical) = column.column_type.canonical(text)
                {
                    *text = canonical;
                }
            }
        }
        Ok((columns, rows))
    }

    /// What tells whether the table's rows are the same. Reads them all, inside the database, unless its print says that
    /// nothing has changed. Blocks.
    pub(crate) fn content(&self) -> Result<String, AppError> {
        let (known, print) = (self.known(), self.postgres.print(&self.source)?);
        if let (Some(known), Some(print)) = (&known, &print)
            && known.print.as_ref() == Some(&print.0)
        {
            return Ok(known.content.clone());
        }
        let content = self.postgres.content(&self.source)?;
        let known = Known {
            version: COPY_VERSION,
            print: print.map(|print| print.0),
            content: content.clone(),
            copied: known.as_ref().and_then(|known| known.copied.clone()),
            columns: known.map(|known| known.columns).unwrap_or_default(),
        };
        self.remember(&known)?;
        Ok(content)
    }

    /// What the manifest of a build keeps of this input.
    pub(crate) fn stamp(&self, content: &str) -> InputStamp {
        let print = FilePrint { path: PathBuf::from(self.to_string()), bytes: 0, modified_ns: 0 };
        InputStamp { dataset: self.dataset.clone(), files: vec![FileStamp { print, sha256: digest_text(content) }] }
    }

    /// Brings the copy up to date and gives its content. Blocks.
    pub(crate) fn refresh(&self) -> Result<String, AppError> {
        let columns = self.columns()?;
        let content = self.content()?;
        if let Some(known) = self.known()
            && known.copied.as_ref() == Some(&content)
            && known.columns == columns
            && self.copy.exists()
        {
            return Ok(content);
        }
        // The print is taken before the rows, so that a change in between shows at the next look.
        let print = self.postgres.print(&self.source)?;
        let mut copied = String::new();
        write_rows(&self.copy, &columns, |put| {
            let visit = &mut |row| put(row).map_err(AppError::from);
            copied = self.postgres.scan::<AppError>(&self.source, &columns, visit)?;
            Ok::<_, AppError>(())
        })
        .map_err(|error| self.of_table(error))?;
        self.remember(&Known {
            version: COPY_VERSION,
            print: print.map(|print| print.0),
            content: copied.clone(),
            copied: Some(copied.clone()),
            columns,
        })?;
        Ok(copied)
    }

    /// A value that cannot be copied is one of the table: nobody knows the copy.
    fn of_table(&self, error: AppError) -> AppError {
        match error {
            AppError::Data(EngineError::BadData { path, place, message }) if path == self.copy => {
                AppError::Data(EngineError::Schema {
                    dataset: self.dataset.clone(),
                    message: format!(
                        "{self}, {place}: {message}. Declare the columns of the dataset, this one as `text`, or leave such values \
                         out by a `query`"
                    ),
                })
            }
            error => error,
        }
    }

    /// The table as it is now, to notice changes.
    pub(crate) fn watch(self) -> Result<WatchedTable, AppError> {
        let print = self.postgres.print(&self.source)?;
        let content = self.known().and_then(|known| known.copied).unwrap_or_default();
        Ok(WatchedTable { table: self, print, content, looked: Mutex::new(Instant::now()) })
    }

    fn known(&self) -> Option<Known> {
        let text = std::fs::read(self.copy.with_extension("json")).ok()?;
        serde_json::from_slice(&text).ok().filter(|known: &Known| known.version == COPY_VERSION)
    }

    fn remember(&self, known: &Known) -> Result<(), AppError> {
        let path = self.copy.with_extension("json");
        let mut file = AtomicFile::create(&path)?;
        serde_json::to_writer(&mut file, known).map_err(AppError::internal)?;
        file.commit()?;
        Ok(())
    }

    /// Puts the rows of a file into the table that this dataset is, and gives what it came to. Blocks.
    pub(crate) fn replace(&self, rows: &FileSource, control: &Control) -> Result<TableWritten, AppError> {
        let name = self.table_name()?;
        let columns = rows.columns()?;
        self.postgres
            .replace_table::<AppError>(name, &self.dataset, &columns, |put| read_rows(rows, control, put).map(|_| ()))
    }

    /// The table; else the dataset is a query, which cannot be written.
    pub(crate) fn table_name(&self) -> Result<&TableName, AppError> {
        match &self.source {
            RowSource::Table(name) => Ok(name),
            RowSource::Query(_) => {
                Err(AppError::Invalid(format!("`{}` is the result of a query, which cannot be written", self.dataset)))
            }
        }
    }

    /// Where the copy is.
    pub(crate) fn copy_source(&self) -> FileSource {
        FileSource {
            dataset: self.dataset.clone(),
            path: self.copy.clone(),
            format: Format::Parquet,
            csv: CsvForm::default(),
            columns: self.declared.clone(),
        }
    }
}

impl WatchedTable {
    /// Whether the rows have changed since the table was loaded. Asks for little, and for everything once in a while.
    /// A database that is away says nothing. Blocks.
    pub(crate) fn has_changed(&self) -> bool {
        let print = match self.table.postgres.print(&self.table.source) {
            Ok(print) => print,
            Err(_) => return false,
        };
        if print.is_some() && print == self.print {
            return false;
        }
        let every = if print.is_some() { LOOK_AT_CONTENT } else { LOOK_AT_QUERY };
        {
            let mut looked = self.looked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if looked.elapsed() < every {
                return false;
            }
            *looked = Instant::now();
        }
        self.table.content().is_ok_and(|content| content != self.content)
    }
}
