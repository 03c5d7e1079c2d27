//! `stet dataset`: what datasets there are, what is in them, and how they leave.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Serialize;
use stet_app::{App, ExportFormat, FlowNode, FlowNodeKind, FlowState, Preview};
use stet_domain::project::{Format, Role};
use stet_domain::{Actor, ColumnType, LogDate};

use crate::Global;
use crate::failure::Failure;
use crate::names::{self, DatasetArgument};
use crate::output::{self, PrintFormat, Target};
use crate::report::count;
use crate::rows::RowView;
use crate::table::Table;
use crate::{node, rows};

/// The most rows that one request for a preview gives.
const PREVIEW_ROWS_MAX: usize = 1_000;

/// The most rows that are shown: more are for an export.
const SHOWN_ROWS_MAX: u32 = 10_000;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List the datasets of a project and how they stand
    List {
        /// The project's key, such as BIRDSTRIKES
        project: String,
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Show a dataset's columns and where it is
    Schema {
        /// The dataset, such as BIRDSTRIKES.strikes
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Show rows of a dataset
    Show {
        /// The dataset, such as BIRDSTRIKES.strikes
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        /// How many rows
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=i64::from(SHOWN_ROWS_MAX)))]
        limit: u32,
        /// How many rows to leave out before them
        #[arg(long, default_value_t = 0)]
        offset: u64,
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Write a whole dataset to stdout or a file
    Export {
        /// The dataset, such as BIRDSTRIKES.strikes_edited
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        #[command(flatten)]
        export: ExportArguments,
    },
}

/// Where an export goes and in which form.
#[derive(clap::Args)]
pub(crate) struct ExportArguments {
    /// The form of the rows [default: by the ending of the file, else csv]
    #[arg(long, value_enum)]
    format: Option<ExportForm>,
    /// The file to write, which appears when it is whole; `-` for stdout [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// In CSV, write every text as it is: without this, one that a spreadsheet would take for a formula (it begins with =, +,
    /// -, @, a tab or a carriage return) gets a ' before it
    #[arg(long)]
    exact: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ExportForm {
    /// Comma-separated values with a header line
    Csv,
    /// A JSON array of objects
    Json,
    /// One JSON object on each line
    Jsonl,
    /// Apache Parquet
    Parquet,
}

impl ExportArguments {
    fn form(&self) -> ExportForm {
        let ending = self.output.as_deref().and_then(|path| path.extension()).and_then(|ending| ending.to_str());
        self.format.unwrap_or_else(|| match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("json") => ExportForm::Json,
            Some("jsonl" | "ndjson") => ExportForm::Jsonl,
            Some("parquet") => ExportForm::Parquet,
            _ => ExportForm::Csv,
        })
    }

    /// Writes a dataset that is there.
    ///
    /// # Errors
    /// When its data cannot be read, or the output not written.
    pub(crate) async fn run(self, app: &App, actor: &Actor, project: &str, dataset: &str) -> Result<(), Failure> {
        let form = self.form();
        let target = Target::new(self.output);
        if form == ExportForm::Parquet {
            target.refuse_terminal("Parquet")?;
        }
        let format = match form {
            ExportForm::Csv if self.exact => ExportFormat::ExactCsv,
            ExportForm::Csv => ExportFormat::Csv,
            ExportForm::Json => ExportFormat::Json,
            ExportForm::Jsonl => ExportFormat::Jsonl,
            ExportForm::Parquet => ExportFormat::Parquet,
        };
        let note = match &target {
            Target::File(path) => Some(path.display().to_string()),
            Target::Stdout => None,
        };
        let (app, actor, project, dataset) = (app.clone(), actor.clone(), project.to_owned(), dataset.to_owned());
        let written = target.fill(move |out| Ok(app.export(&actor, &project, &dataset, format, out)?)).await?;
        if let Some(path) = note {
            output::note(&format!("{} rows written to {path}", count(written)));
        }
        Ok(())
    }
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::List { project, format } => list(&app, &actor, &project, format).await,
        Command::Schema { dataset, format } => schema(&app, &actor, &dataset, format).await,
        Command::Show { dataset, limit, offset, format } => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            show(&app, &actor, &dataset, offset, limit, format).await
        }
        Command::Export { dataset, export } => {
            names::dataset(&app, &actor, &dataset)?;
            export.run(&app, &actor, &dataset.project, &dataset.dataset).await
        }
    }
}

/// A dataset in JSON.
#[derive(Serialize)]
struct DatasetView<'a> {
    name: &'a str,
    role: Option<Role>,
    state: Option<FlowState>,
    reason: Option<&'a str>,
    rows: Option<u64>,
    bytes: Option<u64>,
    built_at: Option<LogDate>,
    path: Option<&'a str>,
    buildable: bool,
}

impl<'a> From<&'a FlowNode> for DatasetView<'a> {
    fn from(node: &'a FlowNode) -> DatasetView<'a> {
        DatasetView {
            name: &node.name,
            role: node.role,
            state: node.state,
            reason: node.reason.as_deref(),
            rows: node.rows.or(node.events),
            bytes: node.bytes,
            built_at: node.built_at,
            path: node.path.as_deref(),
            buildable: node.buildable,
        }
    }
}

async fn list(app: &App, actor: &Actor, project: &str, format: PrintFormat) -> Result<(), Failure> {
    names::project(app, actor, project)?;
    let mut nodes = app.flow(actor, project).await?.nodes;
    nodes.retain(|node| node.kind == FlowNodeKind::Dataset);
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let views: Vec<DatasetView<'_>> = nodes.iter().map(DatasetView::from).collect();
    if format == PrintFormat::Json {
        return output::print_json(&serde_json::json!({ "project": project, "datasets": views }));
    }
    let mut table = Table::new([("dataset", false), ("role", false), ("state", false), ("rows", true), ("why", false)]);
    for view in &views {
        table.words([
            Cow::Borrowed(view.name),
            Cow::Owned(words(&view.role)),
            Cow::Owned(words(&view.state)),
            view.rows.map_or(Cow::Borrowed(""), |rows| Cow::Owned(count(rows))),
            Cow::Borrowed(view.reason.unwrap_or_default()),
        ]);
    }
    output::print_table(&table)
}

#[derive(Serialize)]
struct ColumnView<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    column_type: ColumnType,
    key: bool,
}

#[derive(Serialize)]
struct SchemaView<'a> {
    project: &'a str,
    #[serde(flatten)]
    dataset: DatasetView<'a>,
    description: &'a str,
    format: Option<Format>,
    key: &'a [String],
    columns: Vec<ColumnView<'a>>,
}

async fn schema(app: &App, actor: &Actor, dataset: &DatasetArgument, format: PrintFormat) -> Result<(), Failure> {
    names::dataset(app, actor, dataset)?;
    let detail = app.dataset(actor, &dataset.project, &dataset.dataset).await?;
    let columns = detail.columns.iter().map(|column| ColumnView {
        name: &column.name,
        column_type: column.column_type,
        key: detail.key.contains(&column.name),
    });
    let view = SchemaView {
        project: &dataset.project,
        dataset: DatasetView::from(&detail.node),
        description: &detail.description,
        format: detail.format,
        key: &detail.key,
        columns: columns.collect(),
    };
    if format == PrintFormat::Json {
        return output::print_json(&view);
    }
    let reason = view.dataset.reason.map_or(String::new(), |reason| format!(": {reason}"));
    let head = format!(
        "{}.{} ({}, {}{reason})",
        dataset.project,
        view.dataset.name,
        words(&view.dataset.role),
        words(&view.dataset.state)
    );
    output::print(&crate::table::shown_word(&head))?;
    let place = [
        view.dataset.path.map(ToOwned::to_owned),
        view.dataset.rows.map(|rows| format!("{} rows", count(rows))),
        view.dataset.bytes.map(|bytes| format!("{} bytes", count(bytes))),
        view.dataset.built_at.map(|date| format!("built {date}")),
    ];
    for words in [view.description.to_owned(), place.into_iter().flatten().collect::<Vec<_>>().join(", ")] {
        if !words.is_empty() {
            output::print(&crate::table::shown_word(&words))?;
        }
    }
    output::print("")?;
    let mut table = Table::of_texts(&["column", "type", "key"]);
    for column in &view.columns {
        table.values([Some(column.name), Some(column.column_type.to_string().as_str()), column.key.then_some("key")]);
    }
    output::print_table(&table)
}

async fn show(
    app: &App,
    actor: &Actor,
    dataset: &DatasetArgument,
    offset: u64,
    limit: usize,
    format: PrintFormat,
) -> Result<(), Failure> {
    names::dataset(app, actor, dataset)?;
    let shown = preview(app, actor, dataset, offset, limit).await?;
    let types: Vec<ColumnType> = shown.columns.iter().map(|column| column.column_type).collect();
    if format == PrintFormat::Json {
        let names: Vec<&str> = shown.columns.iter().map(|column| column.name.as_str()).collect();
        let rows: Vec<RowView<'_>> =
            shown.rows.iter().map(|cells| RowView { names: &names, types: &types, cells }).collect();
        return output::print_json(
            &serde_json::value::to_raw_value(&ShowView {
                project: &dataset.project,
                dataset: &dataset.dataset,
                columns: &shown.columns,
                offset,
                total: shown.total,
                rows,
            })
            .map_err(|error| Failure::no(format!("the rows cannot be written as JSON: {error}")))?,
        );
    }
    let headings = shown.columns.iter().map(|column| (column.name.as_str(), rows::is_right(column.column_type)));
    let mut table = Table::new(headings);
    for row in &shown.rows {
        table.values(row.iter().map(Option::as_deref));
    }
    output::print_table(&table)?;
    let last = offset + shown.rows.len() as u64;
    match shown.total {
        _ if shown.rows.is_empty() => output::note("no rows here"),
        Some(total) if shown.rows.len() as u64 != total => {
            output::note(&format!("rows {} to {} of {}", count(offset + 1), count(last), count(total)));
        }
        None => output::note(&format!("rows {} to {}", count(offset + 1), count(last))),
        Some(_) => {}
    }
    Ok(())
}

#[derive(Serialize)]
struct ShowView<'a> {
    project: &'a str,
    dataset: &'a str,
    columns: &'a [stet_domain::project::Column],
    offset: u64,
    total: Option<u64>,
    rows: Vec<RowView<'a>>,
}

/// Rows of a dataset, in as many requests as it takes.
async fn preview(
    app: &App,
    actor: &Actor,
    dataset: &DatasetArgument,
    offset: u64,
    limit: usize,
) -> Result<Preview, Failure> {
    let DatasetArgument { project, dataset } = dataset;
    let mut all = app.preview(actor, project, dataset, offset, limit.min(PREVIEW_ROWS_MAX)).await?;
    while all.rows.len() < limit && all.rows.len().is_multiple_of(PREVIEW_ROWS_MAX) && !all.rows.is_empty() {
        let at_once = (limit - all.rows.len()).min(PREVIEW_ROWS_MAX);
        let more = app.preview(actor, project, dataset, offset + all.rows.len() as u64, at_once).await?;
        if more.rows.is_empty() {
            break;
        }
        all.rows.extend(more.rows);
    }
    Ok(all)
}

/// A name of ours as words.
fn words(value: &impl Serialize) -> String {
    let name = serde_json::to_value(value).ok();
    name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().replace('_', " ")
}
