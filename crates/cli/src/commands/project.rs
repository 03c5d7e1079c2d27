//! `stet project`: the projects of the node, and a first one from a file.

use std::borrow::Cow;
use std::path::PathBuf;

use stet_app::NewProject;

use crate::Global;
use crate::failure::Failure;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::table::Table;

/// How many columns are told by name.
const COLUMNS_SHOWN_MAX: usize = 20;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a project of a file: copies it, finds columns and key, and makes a table to edit it
    New {
        /// The key of the project: the name of its folder, such as WILDLIFE
        key: String,
        /// The CSV, Parquet or JSON-lines file with the rows to edit
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Its name for people [default: the key]
        #[arg(long, default_value = "")]
        name: String,
        /// The columns that name a row, in order [default: the first column that is in each row, and in each another one]
        #[arg(long = "key", id = "key_columns", value_name = "COLUMNS", value_delimiter = ',')]
        key_columns: Vec<String>,
        /// Number the rows in a new column of this name, which is the key: for rows that nothing else names
        #[arg(long, value_name = "COLUMN", conflicts_with = "key_columns")]
        number: Option<String>,
        /// The columns that can be edited [default: all but the key]
        #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
        editable: Option<Vec<String>>,
        /// Also a tick for reviewed rows, and a column for comments
        #[arg(long)]
        review: bool,
        /// How to print what was made
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// List the projects
    List {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::New { key, from, name, key_columns, number, editable, review, format } => {
            output::note(&format!("Reading {} …", from.display()));
            let wanted = NewProject { key, name, from, key_columns, number, editable, review };
            let made = app.make_project(&actor, wanted).await?;
            match format {
                PrintFormat::Json => output::print_json(&serde_json::json!({
                    "project": made.key.as_str(),
                    "dataset": made.dataset.as_str(),
                    "webapp": made.dataset.as_str(),
                    "key": made.key_columns,
                    "editable": made.editable,
                    "rows": made.rows,
                })),
                PrintFormat::Text => {
                    let (key, dataset) = (&made.key, &made.dataset);
                    output::print(&format!(
                        "Made the project {key} with {} rows in `{dataset}`, of which each is named by {}",
                        made.rows,
                        made.key_columns.join(", ")
                    ))?;
                    let shown = made.editable.iter().take(COLUMNS_SHOWN_MAX).map(String::as_str).collect::<Vec<_>>();
                    let more = match made.editable.len() - shown.len() {
                        0 => String::new(),
                        more => format!(" and {more} more"),
                    };
                    output::print(&format!("Columns to edit: {}{more}", shown.join(", ")))?;
                    output::print(&format!(
                        "Open it:  stet serve, then /projects/{key}/webapps/{dataset}\n\
                         Who may:  administrators of the node, until its page Access, or project.toml, gives permissions\n\
                         Change:   projects/{key}/webapps/{dataset}.toml has the columns and their rules\n\
                         Results:  stet build {key}.{dataset}_edited"
                    ))
                }
            }
        }
        Command::List { format } => {
            let projects = app.projects(&actor);
            match format {
                PrintFormat::Json => {
                    let views = projects.iter().map(|(key, project)| match project {
                        Ok(project) => serde_json::json!({
                            "key": key.as_str(),
                            "name": project.name,
                            "description": project.description,
                            "webapps": project.webapps.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
                            "problem": null,
                        }),
                        Err(error) => serde_json::json!({ "key": key.as_str(), "problem": error.to_string() }),
                    });
                    output::print_json(&serde_json::json!({ "projects": views.collect::<Vec<_>>() }))
                }
                PrintFormat::Text => {
                    let mut table = Table::of_texts(&["key", "name", "webapps"]);
                    for (key, project) in &projects {
                        let (name, webapps) = match project {
                            Ok(project) => {
                                let webapps: Vec<&str> = project.webapps.keys().map(|name| name.as_str()).collect();
                                (project.name.clone(), webapps.join(", "))
                            }
                            Err(_) => (String::new(), "cannot be used: see `stet check`".to_owned()),
                        };
                        table.words([Cow::Borrowed(key.as_str()), Cow::Owned(name), Cow::Owned(webapps)]);
                    }
                    output::print_table(&table)
                }
            }
        }
    }
}
