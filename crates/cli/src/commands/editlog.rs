//! `stet editlog`: what was edited, by whom and when.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Serialize;
use stet_app::{App, EditlogCheck, EditlogMode};
use stet_domain::{Actor, Event, EventId, LogDate};

use crate::Global;
use crate::commands::dataset::ExportArguments;
use crate::commands::{erase, seal};
use crate::failure::Failure;
use crate::names::{self, DatasetArgument};
use crate::node;
use crate::output::{self, PrintFormat};
use crate::table::Table;

/// How many events are read at a time.
const PAGE_EVENTS: usize = 1_000;

/// The most events that are printed: more are for an export.
const SHOWN_EVENTS_MAX: u32 = 100_000;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show the events of an editlog, newest first
    History {
        /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        /// Only events of the row with this key (with several key columns: a JSON array of texts)
        #[arg(long)]
        key: Option<String>,
        /// Only events of this column, and those of whole rows
        #[arg(long)]
        column: Option<String>,
        /// Only events of this user
        #[arg(long, value_name = "LOGIN")]
        user: Option<String>,
        /// How many events
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=i64::from(SHOWN_EVENTS_MAX)))]
        limit: u32,
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Empty an editlog: on a design node; on an automation node only before its first edit
    Reset {
        /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        /// Do it without being asked
        #[arg(long)]
        yes: bool,
        /// How to print what was done
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Make the editlog of an original dataset in the database that the project names
    Init {
        /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        /// Let it belong to a role as which nobody can log in: the node may append and read, and nothing else
        #[arg(long, requires = "admin_url_file")]
        secure: bool,
        /// A file with the connection URL of an administrator of the database; it is used once and kept nowhere
        #[arg(long, value_name = "FILE", requires = "secure")]
        admin_url_file: Option<PathBuf>,
        /// How to print what was done
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Print the script that makes the editlog securely, for an administrator of its database
    Sql {
        /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        /// The only kind of script there is: without it, `stet editlog init` does all
        #[arg(long, required = true)]
        secure: bool,
    },
    /// Try what the database of the editlog really refuses, and compare its rights with those it was made with
    Check {
        /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        /// How to print what was found
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Erase personal data of events, by law: the erasure is logged, and the log still verifies
    Erase(Box<erase::EraseArguments>),
    /// Write a whole editlog, in log order, to stdout or a file
    Export {
        /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
        #[arg(value_name = "PROJECT.DATASET")]
        dataset: DatasetArgument,
        /// Write a bundle: the log with all that is needed to verify it elsewhere (`stet editlog verify --bundle`)
        #[arg(long, conflicts_with_all = ["format", "exact"])]
        bundle: bool,
        #[command(flatten)]
        export: ExportArguments,
    },
    /// Verify that nobody changed an editlog: the live one, a bundle, or the proof of one event
    Verify(Box<seal::VerifyArguments>),
    /// Prove that an event is in an editlog, or that the log continues an older checkpoint
    Prove(seal::ProveArguments),
    /// Print the public keys that sign this node's editlogs
    Keys {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Copy the last checkpoints and their hashes to the folders that stet.toml names; a node that is served does so itself
    Push {
        /// How to print what was done
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    // An auditor has a bundle or a proof, and no node.
    let command = match command {
        Command::Verify(arguments) => return seal::verify(global, *arguments).await,
        Command::Prove(arguments) => return seal::prove(global, arguments).await,
        other => other,
    };
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::Verify(_) | Command::Prove(_) => Ok(()),
        Command::Keys { format } => seal::keys(&app, &actor, format),
        Command::Push { format } => seal::push(app, format).await,
        Command::Export { dataset, bundle: true, export } => {
            editlog_of(&app, &actor, &dataset)?;
            seal::export_bundle(&app, &actor, dataset, export.output).await
        }
        Command::History { dataset, key, column, user, limit, format } => {
            let wanted = Wanted { key, column, user, limit: usize::try_from(limit).unwrap_or(usize::MAX) };
            let editlog = editlog_of(&app, &actor, &dataset)?;
            let events = history(&app, &actor, &dataset.project, &editlog, wanted).await?;
            match format {
                PrintFormat::Json => {
                    let events: Vec<EventView<'_>> = events.iter().map(EventView::from).collect();
                    output::print_json(&serde_json::json!({
                        "project": dataset.project, "editlog": editlog, "events": events
                    }))
                }
                PrintFormat::Text => print_table(&events),
            }
        }
        Command::Reset { dataset, yes, format } => {
            let editlog = editlog_of(&app, &actor, &dataset)?;
            if !yes {
                return Err(Failure::usage(format!(
                    "this takes every event out of {}.{editlog}, for ever: add --yes if that is what you want",
                    dataset.project
                )));
            }
            // A running server has the old log in its memory.
            let _lock = node::ServeLock::take(app.folder().root())?;
            let original = editlog.strip_suffix("_editlog").unwrap_or(&editlog);
            let events = app.reset_edits(&actor, &dataset.project, original).await?;
            match format {
                PrintFormat::Json => output::print_json(&serde_json::json!({
                    "project": dataset.project, "editlog": editlog, "events_removed": events
                })),
                PrintFormat::Text => {
                    output::print(&format!("Reset {}.{editlog}: {events} events are gone", dataset.project))
                }
            }
        }
        Command::Erase(arguments) => {
            editlog_of(&app, &actor, &arguments.dataset)?;
            // A running server has the old log in its memory.
            let _lock = node::ServeLock::take(app.folder().root())?;
            erase::run(&app, &actor, *arguments).await
        }
        Command::Init { dataset, secure, admin_url_file, format } => {
            let editlog = editlog_of(&app, &actor, &dataset)?;
            match admin_url_file.filter(|_| secure) {
                Some(file) => init_securely(&app, &actor, &dataset, &file, format).await,
                None => {
                    let was_there = app.initialise_editlog(&actor, &dataset.project, &dataset.dataset).await?;
                    match format {
                        PrintFormat::Json => output::print_json(&serde_json::json!({
                            "project": dataset.project, "editlog": editlog, "made": !was_there
                        })),
                        PrintFormat::Text => {
                            output::note(if was_there {
                                "the editlog is there already"
                            } else {
                                "the editlog is made"
                            });
                            Ok(())
                        }
                    }
                }
            }
        }
        Command::Sql { dataset, secure: _ } => {
            editlog_of(&app, &actor, &dataset)?;
            let script = app.secure_script(&actor, &dataset.project, &dataset.dataset)?;
            output::print(script.trim_end())
        }
        Command::Check { dataset, format } => {
            editlog_of(&app, &actor, &dataset)?;
            let check = app.check_editlog(&actor, &dataset.project, &dataset.dataset).await?;
            print_check(&check, format)
        }
        Command::Export { dataset, bundle: false, export } => {
            let editlog = editlog_of(&app, &actor, &dataset)?;
            export.run(&app, &actor, &dataset.project, &editlog).await
        }
    }
}

/// The name of the editlog that is meant: a dataset stands for its own.
fn editlog_of(app: &App, actor: &Actor, argument: &DatasetArgument) -> Result<String, Failure> {
    let project = names::dataset(app, actor, argument)?;
    let named = &argument.dataset;
    let of_webapp = project
        .webapps
        .values()
        .map(|webapp| &webapp.original)
        .find(|original| [*original, &original.editlog()].iter().any(|name| name.as_str() == named));
    match of_webapp {
        Some(original) => Ok(original.editlog().to_string()),
        None => {
            let originals: Vec<String> =
                project.webapps.values().map(|webapp| format!("{}.{}", project.key, webapp.original)).collect();
            Err(Failure::usage(if originals.is_empty() {
                format!("{}.{named} has no editlog: the project has no webapp", project.key)
            } else {
                format!(
                    "{}.{named} has no editlog: no webapp edits it. Edited are {}",
                    project.key,
                    originals.join(", ")
                )
            }))
        }
    }
}

async fn init_securely(
    app: &App,
    actor: &Actor,
    dataset: &DatasetArgument,
    file: &std::path::Path,
    format: PrintFormat,
) -> Result<(), Failure> {
    let url = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    for line in app.secure_explanation(actor, &dataset.project, &dataset.dataset)? {
        output::note(&line);
    }
    let (project, name) = (&dataset.project, &dataset.dataset);
    let check = app.initialise_editlog_securely(actor, project, name, url).await?;
    print_check(&check, format)
}

fn print_check(check: &EditlogCheck, format: PrintFormat) -> Result<(), Failure> {
    match format {
        PrintFormat::Json => {
            let findings: Vec<_> = check
                .findings
                .iter()
                .map(|(claim, problem)| serde_json::json!({ "claim": claim, "problem": problem }))
                .collect();
            output::print_json(&serde_json::json!({
                "ok": check.holds(), "mode": check.mode.as_str(), "findings": findings, "drifts": check.drifts,
                "recorded_at": check.recorded_at,
            }))?;
        }
        PrintFormat::Text => {
            let mut lines = vec![match check.mode {
                EditlogMode::Node => "in the node's own file".to_owned(),
                EditlogMode::Secure => "in a database, made securely".to_owned(),
                EditlogMode::Simple => {
                    "in a database, as a table of the node's own user, who could take its protection \
                                        away: see `stet editlog init --secure`"
                        .to_owned()
                }
            }];
            lines.extend(check.findings.iter().map(|(claim, problem)| match problem {
                None => format!("holds: {claim}"),
                Some(problem) => format!("BROKEN: {claim}: {problem}"),
            }));
            lines.extend(check.drifts.iter().map(|drift| format!("CHANGED since {}: {drift}", check.recorded_at)));
            output::print(&lines.join("\n"))?;
        }
    }
    if check.holds() { Ok(()) } else { Err(Failure::no("the editlog is not protected as it should be")) }
}

struct Wanted {
    key: Option<String>,
    column: Option<String>,
    user: Option<String>,
    limit: usize,
}

impl Wanted {
    fn takes(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.key, event.key.as_str())
            && event.column_name.as_deref().is_none_or(|column| is(&self.column, column))
            && self.user.as_deref().is_none_or(|user| user.eq_ignore_ascii_case(event.user.as_str()))
    }
}

/// The events that are wanted, newest first. The log is read backwards, and no further than needed.
async fn history(
    app: &App,
    actor: &Actor,
    project: &str,
    editlog: &str,
    wanted: Wanted,
) -> Result<Vec<Event>, Failure> {
    let detail = app.dataset(actor, project, editlog).await?;
    // An editlog that nobody has opened yet is one without events.
    if detail.node.events.is_none_or(|events| events == 0) {
        return Ok(Vec::new());
    }
    let reader = app.editlog_reader(actor, project, editlog)?;
    let read = tokio::task::spawn_blocking(move || {
        let mut found: Vec<Event> = Vec::new();
        let mut before = reader.position()?.map(|last| EventId(last.0 + 1));
        while let Some(end) = before.filter(|end| end.0 > 1 && found.len() < wanted.limit) {
            let page = match &wanted.key {
                Some(key) => reader.history(key, wanted.column.as_deref(), Some(end), PAGE_EVENTS)?,
                None => {
                    // Ids have no gaps, so the page before this one begins as many ids earlier.
                    let start = (end.0 - 1).saturating_sub(PAGE_EVENTS as i64).max(0);
                    let length = usize::try_from(end.0 - 1 - start).unwrap_or(PAGE_EVENTS);
                    let mut page = reader.read_since((start > 0).then_some(EventId(start)), length)?;
                    page.reverse();
                    page
                }
            };
            before = page.last().map(|event| event.id);
            found.extend(page.into_iter().filter(|event| wanted.takes(event)));
        }
        found.truncate(wanted.limit);
        Ok::<_, stet_app::AppError>(found)
    });
    Ok(read.await.map_err(|error| Failure::no(format!("the log cannot be read: {error}")))??)
}

/// An event in JSON, under the names of the editlog's columns.
#[derive(Serialize)]
struct EventView<'a> {
    id: EventId,
    date: LogDate,
    user: &'a str,
    action: &'a str,
    key: &'a str,
    column_name: Option<&'a str>,
    value: Option<&'a str>,
    previous: Option<&'a str>,
    batch_id: String,
    source: &'a str,
    reason: Option<&'a str>,
    event_id: String,
}

impl<'a> From<&'a Event> for EventView<'a> {
    fn from(event: &'a Event) -> EventView<'a> {
        EventView {
            id: event.id,
            date: event.date,
            user: event.user.as_str(),
            action: event.action.as_str(),
            key: event.key.as_str(),
            column_name: event.column_name.as_deref(),
            value: event.value.as_deref(),
            previous: event.previous.as_deref(),
            batch_id: event.batch_id.to_string(),
            source: event.source.as_str(),
            reason: event.reason.as_deref(),
            event_id: event.event_id.0.to_string(),
        }
    }
}

fn print_table(events: &[Event]) -> Result<(), Failure> {
    if events.is_empty() {
        output::note("no such edits");
        return Ok(());
    }
    let headings = ["date", "user", "action", "key", "column", "value", "previous", "source", "reason"];
    let mut table = Table::new(std::iter::once(("id", true)).chain(headings.map(|heading| (heading, false))));
    for event in events {
        let (id, date) = (event.id.to_string(), event.date.to_string());
        let cells = [
            Some(Cow::Borrowed(id.as_str())),
            Some(Cow::Borrowed(date.as_str())),
            Some(Cow::Borrowed(event.user.as_str())),
            Some(Cow::Borrowed(event.action.as_str())),
            Some(Cow::Borrowed(event.key.as_str())),
            event.column_name.as_deref().map(Cow::Borrowed),
            event.value.as_deref().map(Cow::Borrowed),
            event.previous.as_deref().map(Cow::Borrowed),
            Some(Cow::Borrowed(event.source.as_str())),
            event.reason.as_deref().map(Cow::Borrowed),
        ];
        table.values(cells.iter().map(Option::as_deref));
    }
    output::print_table(&table)
}
