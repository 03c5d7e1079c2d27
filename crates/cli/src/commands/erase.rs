//! `stet editlog erase`: the lawful erasure of personal data.

use std::path::PathBuf;

use stet_app::{App, ErasureRequest};
use stet_domain::Actor;
use stet_editlog::Field;

use crate::failure::Failure;
use crate::names::DatasetArgument;
use crate::output::{self, PrintFormat};

#[derive(clap::Args)]
pub(crate) struct EraseArguments {
    /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
    #[arg(value_name = "PROJECT.DATASET")]
    pub dataset: DatasetArgument,
    /// The ids of the events: numbers and ranges, such as 3,7-9,120
    #[arg(value_name = "EVENTS", value_parser = parse_events)]
    events: Events,
    /// Why; this stays in the log
    #[arg(long)]
    reason: String,
    /// What to erase of them
    #[arg(long, value_delimiter = ',', value_parser = parse_field, default_value = "user,value,previous,reason")]
    fields: Vec<Field>,
    /// A file with the connection URL of an administrator of the database, for an editlog that was made securely; it is used
    /// once and kept nowhere
    #[arg(long, value_name = "FILE")]
    admin_url_file: Option<PathBuf>,
    /// Do it without being asked
    #[arg(long)]
    yes: bool,
    /// How to print what was done
    #[arg(long, value_enum, default_value_t)]
    format: PrintFormat,
}

/// First and last id of each range.
#[derive(Debug, Clone)]
struct Events(Vec<(u64, u64)>);

fn parse_events(text: &str) -> Result<Events, String> {
    let id = |text: &str| text.trim().parse::<u64>().ok().filter(|id| (1..=i64::MAX as u64).contains(id));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = (id(first)?, id(last)?);
        (range.0 <= range.1).then_some(range)
    };
    let ranges = text.split(',').map(range).collect::<Option<Vec<_>>>();
    ranges.map(Events).ok_or_else(|| "write ids of events as numbers and ranges, such as 3,7-9,120".to_owned())
}

fn parse_field(text: &str) -> Result<Field, String> {
    Field::ALL
        .into_iter()
        .find(|field| field.name() == text)
        .ok_or_else(|| "what can be erased is user, value, previous and reason".to_owned())
}

pub(crate) async fn run(app: &App, actor: &Actor, arguments: EraseArguments) -> Result<(), Failure> {
    let EraseArguments { dataset, events, reason, fields, admin_url_file, yes, format } = arguments;
    if !yes {
        return Err(Failure::usage("this takes texts out of the log for ever: add --yes if that is what you want"));
    }
    let admin_url = admin_url_file
        .map(|file| {
            std::fs::read_to_string(&file)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
        })
        .transpose()?;
    let request = ErasureRequest { events: events.0, fields, reason, admin_url };
    let erased = app.erase_events(actor, &dataset.project, &dataset.dataset, request).await?;
    match format {
        PrintFormat::Json => {
            output::print_json(&serde_json::json!({ "event": erased.event, "events_erased": erased.events }))
        }
        PrintFormat::Text => {
            output::print(&format!("Erased in {} events, as event {} of the log says", erased.events, erased.event))?;
            output::note(
                "datasets that were built, bundles of the log and backups still have the texts: build, and remove them; \
                 a database in PostgreSQL has them until its tables are vacuumed",
            );
            Ok(())
        }
    }
}
