//! Datasets: where they are, what is in them, and how they leave.

use std::collections::HashMap;
use std::io::Write;
use std::ops::ControlFlow;

use stet_domain::access::{Permission, Use, may_read_dataset};
use stet_domain::project::{Column, Dataset, Format, Location, Project, Role};
use stet_domain::{Actor, ActorKind, DatasetName, EventId};
use stet_engine::build::{export as write_dataset, write_events};
use stet_engine::control::Control;
use stet_engine::manifest::Manifest;
use stet_engine::read::FileSource;
use stet_engine::write::{Formulas, OutputFormat, WriteOptions};
use stet_store::EditlogReader;

use crate::App;
use crate::builds::BuildReport;
use crate::config::Connection;
use crate::error::AppError;
use crate::flow::{FlowNode, FlowState};
use crate::webapp::{Viewer, find_webapp};

/// The most rows of a preview.
const PREVIEW_ROWS_MAX: usize = 1_000;

/// A dataset in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetSummary {
    /// Its name.
    pub name: DatasetName,
    /// What it is in its project.
    pub role: Role,
    /// How it stands.
    pub state: FlowState,
}

/// A dataset with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetDetail {
    /// How it stands in the flow.
    pub node: FlowNode,
    /// What it is, in the words of the project.
    pub description: String,
    /// Its columns; empty when the data is not there yet.
    pub columns: Vec<Column>,
    /// Its key columns.
    pub key: Vec<String>,
    /// The format of its files; none for an editlog.
    pub format: Option<Format>,
    /// What the last build of it did.
    pub report: Option<BuildReport>,
}

/// Some rows of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Canonical texts; none for null.
    pub rows: Vec<Vec<Option<String>>>,
    /// The place of the first row.
    pub offset: u64,
    /// How many rows there are, if that is known.
    pub total: Option<u64>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values for people: texts that a spreadsheet would take for formulas are defused.
    Csv,
    /// Comma-separated values for programs: every text as it is.
    ExactCsv,
    /// A JSON array of objects.
    Json,
    /// One JSON object on each line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl std::str::FromStr for ExportFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(ExportFormat::Csv),
            "json" => Ok(ExportFormat::Json),
            "jsonl" => Ok(ExportFormat::Jsonl),
            "parquet" => Ok(ExportFormat::Parquet),
            other => Err(format!("`{other}` is not a format: use csv, json, jsonl or parquet")),
        }
    }
}

impl App {
    /// The datasets of a project, by name.
    ///
    /// # Errors
    /// When there is no such project that the actor may know of.
    pub async fn datasets(&self, actor: &Actor, project: &str) -> Result<Vec<DatasetSummary>, AppError> {
        let project = self.known_project(actor, project)?;
        let states = self.dataset_states(&project).await?;
        Ok(states
            .into_iter()
            .filter(|(name, _)| may_read_dataset(actor, &project, name))
            .map(|(name, standing)| DatasetSummary { role: project.role(&name), name, state: standing.state })
            .collect())
    }

    /// A dataset with all that is known of it.
    ///
    /// # Errors
    /// When there is no such dataset that the actor may know of.
    pub async fn dataset(&self, actor: &Actor, project: &str, dataset: &str) -> Result<DatasetDetail, AppError> {
        let (project, definition) = self.authorise_dataset(actor, project, dataset)?;
        let node = self.flow_node(&project, &definition.name).await?;
        let app = self.clone();
        blocking(move || {
            let (format, columns, report) = match &definition.location {
                Location::Editlog { .. } => (None, editlog_columns(), None),
                Location::Table { .. } | Location::Query { .. } => {
                    let columns = match app.database_table(&project, &definition)? {
                        // What is wrong with a table that is there stands in its state.
                        Some(table) => table.columns().unwrap_or_default(),
                        None => Vec::new(),
                    };
                    (None, columns, app.last_report(&project, &definition.name))
                }
                Location::Files { format, .. } => {
                    let source = app.file_source(&project, &definition)?;
                    // A dataset that is not there yet has the columns that are declared; what is wrong with one that is
                    // there stands in its state.
                    let columns = source.columns().unwrap_or_else(|_| definition.columns.clone().unwrap_or_default());
                    (Some(*format), columns, app.last_report(&project, &definition.name))
                }
            };
            Ok(DatasetDetail {
                node,
                description: definition.description.clone(),
                columns,
                key: definition.key.clone(),
                format,
                report,
            })
        })
        .await
    }

    /// Some rows of a dataset.
    ///
    /// # Errors
    /// When there is no such dataset that the actor may know of, or its data cannot be read.
    pub async fn preview(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Preview, AppError> {
        if limit > PREVIEW_ROWS_MAX {
            return Err(AppError::Invalid(format!(
                "{limit} rows are too many at once: the most are {PREVIEW_ROWS_MAX}"
            )));
        }
        let (project, definition) = self.authorise_dataset(actor, project, dataset)?;
        self.may_use_connection_of(actor, &definition)?;
        if let Location::Editlog { original, .. } = &definition.location {
            return self.preview_editlog(&project, original, offset, limit).await;
        }
        let app = self.clone();
        blocking(move || {
            if let Some(table) = app.database_table(&project, &definition)? {
                let read = table.preview(offset, limit);
                let (columns, rows) = read.map_err(|error| app.explain_table(&project, &table, error))?;
                return Ok(Preview {
                    columns,
                    rows,
                    offset,
                    total: app.rows_of_last_build(&project, &definition.name),
                });
            }
            let source = app.file_source(&project, &definition)?;
            let read = stet_engine::preview::preview(&source, offset, limit, &Control::unwatched())?;
            let total = read.total.or_else(|| app.rows_of_last_build(&project, &definition.name));
            Ok(Preview { columns: read.columns, rows: read.rows, offset, total })
        })
        .await
    }

    /// Writes a dataset out and gives the count of its rows. Blocks: call it by `spawn_blocking`.
    ///
    /// # Errors
    /// When there is no such dataset that the actor may know of, its data cannot be read, or `out` not written.
    pub fn export(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        format: ExportFormat,
        out: impl Write + Send,
    ) -> Result<u64, AppError> {
        let (project, definition) = self.authorise_dataset(actor, project, dataset)?;
        self.authorise(actor, project.key.as_str(), &[Permission::ExportData])?;
        self.may_use_connection_of(actor, &definition)?;
        let object = format!("dataset {}.{}", project.key, definition.name);
        self.note_blocking(self.entry(actor, "dataset.export", object, ""))?;
        self.write_rows(&project, &definition, format, out)
    }

    /// Reads a dataset to its end, to see whether that can be done, and gives the count of its rows. Blocks.
    ///
    /// # Errors
    /// As [`App::export`], but it takes no right to export.
    pub fn read_through(&self, actor: &Actor, project: &str, dataset: &str) -> Result<u64, AppError> {
        let (project, definition) = self.authorise_dataset(actor, project, dataset)?;
        self.write_rows(&project, &definition, ExportFormat::Jsonl, std::io::sink())
    }

    fn write_rows(
        &self,
        project: &Project,
        definition: &Dataset,
        format: ExportFormat,
        out: impl Write + Send,
    ) -> Result<u64, AppError> {
        if let Location::Editlog { original, .. } = &definition.location {
            // An editlog that nobody has opened yet is one without events.
            let place = self.editlog_place(project, original)?;
            if !place.is_initialised(original)? {
                let none = std::iter::empty::<Result<Vec<stet_domain::Event>, AppError>>();
                return export_editlog(none, format, out);
            }
            let reader = place.reader(self.inner.node_id, original)?;
            return export_editlog(pages_of(&reader), format, out);
        }
        let source = self.ready_source(project, definition)?;
        Ok(write_dataset(&source, out, format.options(), &Control::unwatched())?.1)
    }

    /// A blocking reader of the editlog of a dataset: the original, its editlog, or what is made of it.
    ///
    /// # Errors
    /// When there is no such dataset that the actor may know of, or it has no editlog.
    pub fn editlog_reader(&self, actor: &Actor, project: &str, dataset: &str) -> Result<EditlogReader, AppError> {
        let (project, definition) = self.authorise_dataset(actor, project, dataset)?;
        self.authorise(actor, project.key.as_str(), &[Permission::ExportData])?;
        let original = self.original_of(&project, definition.name.as_str())?;
        self.editlog_reader_of(&project, &original)
    }

    /// The edits of a webapp, as far as the actor sees its rows. A table that cannot be opened, since its original is
    /// broken, has them all the same.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may see, or its editlog was never begun. Visitors are asked to sign in.
    pub async fn webapp_edits(&self, actor: &Actor, project: &str, webapp: &str) -> Result<WebappEdits, AppError> {
        let found = self.authorise_webapp(actor, project, webapp, Use::View)?;
        if actor.kind == ActorKind::Visitor {
            return Err(AppError::NotSignedIn);
        }
        let definition = find_webapp(&found, webapp)?.1.clone();
        let object = format!("dataset {}.{}", found.key, definition.original.editlog());
        self.note(self.entry(actor, "dataset.export", object, format!("by webapp {webapp}"))).await?;
        // Opening the table makes its log.
        let viewer = match self.viewer(actor, project, webapp).await {
            Ok(viewer) => Some(viewer),
            Err(error) if definition.see.is_some() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, project, webapp, "the edits of a table that cannot be opened are read");
                None
            }
        };
        let app = self.clone();
        blocking(move || {
            let reader = app.editlog_reader_of(&found, &definition.original)?;
            Ok(WebappEdits { original: definition.original, reader, viewer })
        })
        .await
    }

    /// Where the files of a dataset are and how to read them; for a table, those of its copy, whether it is there or not.
    pub(crate) fn file_source(&self, project: &Project, dataset: &Dataset) -> Result<FileSource, AppError> {
        if let Some(table) = self.database_table(project, dataset)? {
            return Ok(table.copy_source());
        }
        let Location::Files { connection, path, format, csv } = &dataset.location else {
            return Err(AppError::Invalid(format!("`{}` is an editlog, which is not kept in files", dataset.name)));
        };
        let root = match connection {
            None => self.inner.folder.data(&project.key),
            Some(name) => match self.connection(name).map(|known| known.connection.clone()) {
                Some(Connection::Files { path }) => self.inner.folder.resolve(&path),
                Some(Connection::Postgres(_)) => {
                    return Err(AppError::Conflict(format!(
                        "dataset `{}` is in the connection `{name}`, which is a database: write `table` instead of `path`",
                        dataset.name
                    )));
                }
                None => return Err(self.no_connection(dataset.name.as_str(), name)),
            },
        };
        let path = root.join(path);
        // Types that were known when a recipe wrote a text file are not guessed from its texts.
        let built = || match format {
            Format::Csv | Format::Jsonl if project.recipe_of(&dataset.name).is_some() => Manifest::columns_of(&path),
            _ => None,
        };
        let columns = dataset.columns.clone().or_else(built);
        Ok(FileSource { dataset: dataset.name.to_string(), path, format: *format, csv: *csv, columns })
    }

    async fn preview_editlog(
        &self,
        project: &Project,
        original: &DatasetName,
        offset: u64,
        limit: usize,
    ) -> Result<Preview, AppError> {
        let editlogs = self.editlogs(project, original).await?;
        let (mut rows, mut total) = (Vec::new(), 0);
        if editlogs.is_initialised(original).await? {
            let editlog = editlogs.editlog(original).await?;
            // Ids have no gaps, so the place of an event is its id less one.
            let after = i64::try_from(offset).ok().filter(|offset| *offset > 0).map(EventId);
            total = editlog.position().await?.map_or(0, |id| id.0.unsigned_abs());
            rows = editlog.read_since(after, limit).await?;
        }
        let rows = rows
            .into_iter()
            .map(|event| {
                vec![
                    Some(event.id.to_string()),
                    Some(event.date.to_string()),
                    Some(event.user.to_string()),
                    Some(event.action.to_string()),
                    Some(event.key.to_string()),
                    event.column_name,
                    event.value,
                    event.previous,
                    Some(event.batch_id.to_string()),
                    Some(event.source.to_string()),
                    event.reason,
                    Some(event.event_id.0.to_string()),
                ]
            })
            .collect();
        Ok(Preview { columns: editlog_columns(), rows, offset, total: Some(total) })
    }
}

/// The edits of a webapp as one actor sees them.
pub struct WebappEdits {
    /// The dataset that is edited.
    pub original: DatasetName,
    reader: EditlogReader,
    viewer: Option<Viewer>,
}

impl WebappEdits {
    /// Goes through the edits, oldest first, until `visit` breaks. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read to its end.
    pub fn scan(&self, visit: &mut dyn FnMut(stet_domain::Event) -> ControlFlow<()>) -> Result<(), AppError> {
        let mut known = HashMap::new();
        self.reader.scan(None, None, &mut |event| match &self.viewer {
            Some(viewer) if !viewer.sees_event(&event, &mut known) => ControlFlow::Continue(()),
            _ => visit(event),
        })?;
        Ok(())
    }

    /// Writes the edits to `out`, oldest first; gives how many they were. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read to its end, or `out` not written.
    pub fn export(&self, format: ExportFormat, out: impl Write + Send) -> Result<u64, AppError> {
        let mut known = HashMap::new();
        let pages = pages_of(&self.reader).map(|page| {
            let mut events = page?;
            if let Some(viewer) = &self.viewer {
                events.retain(|event| viewer.sees_event(event, &mut known));
            }
            Ok(events)
        });
        export_editlog(pages, format, out)
    }
}

impl ExportFormat {
    fn options(self) -> WriteOptions {
        let format = match self {
            ExportFormat::Csv | ExportFormat::ExactCsv => OutputFormat::Csv,
            ExportFormat::Json => OutputFormat::Json,
            ExportFormat::Jsonl => OutputFormat::Jsonl,
            ExportFormat::Parquet => OutputFormat::Parquet,
        };
        // Exports are for people, who may open them in a spreadsheet, unless they say otherwise.
        let formulas = if self == ExportFormat::ExactCsv { Formulas::Keep } else { Formulas::Defuse };
        WriteOptions { format, formulas }
    }
}

/// How many events are read at a time for an export.
const EXPORT_EVENTS_AT_ONCE: usize = 10_000;

/// The events of an editlog, in pages.
fn pages_of(reader: &EditlogReader) -> impl Iterator<Item = Result<Vec<stet_domain::Event>, AppError>> {
    let (mut after, mut done) = (None, false);
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let page = reader.read_since(after, EXPORT_EVENTS_AT_ONCE);
        match page.as_ref().map(|events| events.last().map(|event| event.id)) {
            Ok(Some(last)) => after = Some(last),
            _ => done = true,
        }
        Some(page.map_err(AppError::from))
    })
}

fn export_editlog(
    pages: impl Iterator<Item = Result<Vec<stet_domain::Event>, AppError>>,
    format: ExportFormat,
    out: impl Write + Send,
) -> Result<u64, AppError> {
    let events = pages.flat_map(|page| match page {
        Ok(events) => events.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    });
    Ok(write_events(events, out, format.options(), &Control::unwatched())?.1)
}

/// A dataset of a project.
pub(crate) fn find<'a>(project: &'a Project, dataset: &str) -> Result<&'a Dataset, AppError> {
    DatasetName::new(dataset)
        .ok()
        .and_then(|name| project.datasets.get(&name))
        .ok_or_else(|| no_dataset(project, dataset))
}

/// A dataset that is not there, or that the actor may not know of.
pub(crate) fn no_dataset(project: &Project, dataset: &str) -> AppError {
    AppError::not_found(format!("dataset `{dataset}` in project `{}`", project.key))
}

/// The columns of every editlog.
pub(crate) fn editlog_columns() -> Vec<Column> {
    use stet_domain::ColumnType::{Instant, Integer, Text};
    [
        ("id", Integer),
        ("date", Instant),
        ("user", Text),
        ("action", Text),
        ("key", Text),
        ("column_name", Text),
        ("value", Text),
        ("previous", Text),
        ("batch_id", Text),
        ("source", Text),
        ("reason", Text),
        ("event_id", Text),
    ]
    .map(|(name, column_type)| Column { name: name.to_owned(), column_type })
    .to_vec()
}

/// Runs blocking work beside the requests.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work).await.map_err(AppError::internal)?
}
