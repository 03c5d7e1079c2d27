//! `stet audit`: who did what on the node.

use std::borrow::Cow;
use std::path::PathBuf;

use stet_app::{AuditLine, AuditOutcome, AuditQuery};
use stet_domain::LogDate;

use crate::Global;
use crate::failure::Failure;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::table::Table;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List entries, newest first
    List {
        #[command(flatten)]
        query: QueryArguments,
        /// How many entries
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Print all entries that fit, newest first
    Export {
        #[command(flatten)]
        query: QueryArguments,
        /// An object on each line, or one list
        #[arg(long, value_enum, default_value_t)]
        format: ExportFormat,
    },
    /// Check that no entry was altered, added, taken out or cut off: exit code 1 if one was
    Verify {
        /// Also compare with a checkpoint that was kept elsewhere
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// How to print what was found
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
}

/// How entries are exported.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum ExportFormat {
    /// A JSON object on each line.
    #[default]
    Jsonl,
    /// One JSON list.
    Json,
}

/// Which entries.
#[derive(clap::Args)]
pub(crate) struct QueryArguments {
    /// By this user
    #[arg(long)]
    user: Option<String>,
    /// An action such as user.add, or a group of them such as user
    #[arg(long)]
    action: Option<String>,
    /// With this text in the object or the detail
    #[arg(long)]
    text: Option<String>,
    /// done, refused or failed
    #[arg(long)]
    outcome: Option<AuditOutcome>,
    /// Not before this moment in UTC, such as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "MOMENT")]
    from: Option<LogDate>,
    /// Before this moment
    #[arg(long, value_name = "MOMENT")]
    to: Option<LogDate>,
}

impl QueryArguments {
    fn query(self) -> AuditQuery {
        let QueryArguments { user, action, text, outcome, from, to } = self;
        AuditQuery { user, action, text, outcome, from, to }
    }
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::List { query, limit, format } => {
            let events = app.audit_events(&actor, query.query(), None, limit.into()).await?;
            match format {
                PrintFormat::Json => {
                    let lines: Vec<AuditLine<'_>> = events.iter().map(AuditLine::from).collect();
                    output::print_json(&serde_json::json!({ "events": lines }))
                }
                PrintFormat::Text => {
                    let mut table = Table::of_texts(&["at", "user", "action", "object", "outcome", "from", "detail"]);
                    for event in events.iter().map(|entry| &entry.event) {
                        table.words([
                            Cow::Owned(event.at.to_string()),
                            Cow::Borrowed(event.user.as_str()),
                            Cow::Borrowed(event.action.as_str()),
                            Cow::Borrowed(event.object.as_str()),
                            Cow::Borrowed(event.outcome.as_str()),
                            Cow::Borrowed(event.address.as_deref().unwrap_or("shell")),
                            Cow::Borrowed(event.detail.as_str()),
                        ]);
                    }
                    output::print_table(&table)
                }
            }
        }
        Command::Export { query, format } => {
            let (query, mut before) = (query.query(), None);
            let is_list = matches!(format, ExportFormat::Json);
            let mut separator = if is_list { "[" } else { "" };
            loop {
                let events = app.export_audit(&actor, query.clone(), before).await?;
                let Some(last) = events.last() else {
                    return match (is_list, before) {
                        (false, _) => Ok(()),
                        (true, None) => output::print("[]"),
                        (true, Some(_)) => output::print("]"),
                    };
                };
                before = Some(last.id);
                for event in &events {
                    let line = serde_json::to_string(&AuditLine::from(event)).map_err(stet_app::AppError::internal)?;
                    output::print(&format!("{separator}{line}"))?;
                    separator = if is_list { "," } else { "" };
                }
            }
        }
        Command::Verify { checkpoint, format } => {
            let mut given = Vec::new();
            for path in checkpoint {
                let note = std::fs::read_to_string(&path)
                    .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
                given.push((note, path.display().to_string()));
            }
            let found = app.verify_audit(&actor, given).await?;
            if let PrintFormat::Json = format {
                output::print_json(&serde_json::json!({
                    "whole": found.problems.is_empty(), "entries": found.entries, "sealed": found.sealed,
                    "problems": found.problems, "compared_with": found.outside,
                }))?;
                return if found.problems.is_empty() { Ok(()) } else { Err(Failure::Printed) };
            }
            if !found.problems.is_empty() {
                return Err(Failure::no(found.problems.join("\n")));
            }
            output::print(&format!(
                "All {} entries of the audit trail are as they were written and sealed",
                found.entries
            ))?;
            match found.outside.as_slice() {
                [] => output::note(
                    "Compared with the node's own checkpoints alone: keep some elsewhere ([sealing] push in stet.toml, or \
                     --checkpoint FILE)",
                ),
                places => output::print(&format!("Compared with the checkpoints in {}", places.join(", ")))?,
            }
            Ok(())
        }
    }
}
