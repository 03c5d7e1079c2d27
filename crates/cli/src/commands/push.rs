//! `stet bundle push` and `stet bundle target`: sends bundles to other nodes.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stet_app::{App, BundleSide, BundleSummary, NewTarget, PushOptions};
use stet_domain::Actor;

use crate::Global;
use crate::commands::bundle::is_digest;
use crate::failure::Failure;
use crate::output::{self, PrintFormat};
use crate::password::read_pasted;
use crate::table::{Table, shown_word};
use crate::{names, node};

#[derive(clap::Args)]
pub(crate) struct Push {
    /// The project, whose newest bundle is sent; or a bundle's digest, or its file
    #[arg(value_name = "PROJECT|DIGEST|FILE")]
    bundle: String,
    /// The target, as `stet bundle target add` called it
    #[arg(long, value_name = "TARGET")]
    to: String,
    /// An approval to bring along, if the target's token allows that; may be given more than once
    #[arg(long, value_name = "FILE")]
    approval: Vec<PathBuf>,
    /// Ask the target to activate it, if its token allows that
    #[arg(long)]
    activate: bool,
    #[arg(long, value_enum, default_value_t)]
    format: PrintFormat,
}

#[derive(clap::Subcommand)]
pub(crate) enum TargetCommand {
    /// Add a node to send bundles to; its deploy token is read from stdin or a file, and sealed
    Add {
        /// By which you will call it
        name: String,
        /// Where its pages are, such as https://stet.example.org
        #[arg(long)]
        address: String,
        /// Which node it is, as `stet deploy token add` tells it there
        #[arg(long, value_name = "ID")]
        node_id: String,
        /// Certificates (PEM) of authorities to trust instead of the system's, below this node's folder
        #[arg(long, value_name = "FILE")]
        ca_file: Option<String>,
        #[command(flatten)]
        token: TokenArguments,
    },
    /// List the targets, without their tokens
    List {
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Ask a target who it is, with its token; exit code 1 if that does not work
    Test {
        /// Its name
        name: String,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Take a target away, with its token
    Remove {
        /// Its name
        name: String,
    },
}

/// Where a token comes from: never an argument, which others could see.
#[derive(clap::Args)]
pub(crate) struct TokenArguments {
    /// Read the token from the first line of this file; `-` for stdin [default: ask, or stdin if it is no terminal]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(crate) async fn push(global: &Global, arguments: Push) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    let bundle = bundle_of(&app, &actor, &arguments.bundle).await?;
    let read = |file: &PathBuf| {
        std::fs::read(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
    };
    let options = PushOptions {
        approvals: arguments.approval.iter().map(read).collect::<Result<_, _>>()?,
        activate: arguments.activate,
    };
    let bar = ProgressBar::with_draw_target(Some(bundle.record.bytes), ProgressDrawTarget::stderr());
    let style = "sending {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}";
    bar.set_style(ProgressStyle::with_template(style).map_err(|error| Failure::no(error.to_string()))?);
    let progress = {
        let bar = bar.clone();
        move |sent| bar.set_position(sent)
    };
    let result = app.push_bundle(&actor, &bundle.record.digest, &arguments.to, &options, progress).await;
    bar.finish_and_clear();
    let report = result?;
    match arguments.format {
        PrintFormat::Json => output::print_json(&report),
        PrintFormat::Text => {
            for warning in &report.warnings {
                output::note(&shown_word(&format!("warning: {warning}")));
            }
            let how = if report.was_there { "is on" } else { "arrived on" };
            let already = if report.was_there { " already" } else { "" };
            output::print(&shown_word(&format!(
                "Bundle {} of {} (sha256:{}) {how} {}{already}",
                bundle.record.sequence, bundle.record.project, report.digest, report.node
            )))?;
            if report.approvals > 0 {
                output::print(&format!("Approvals taken: {}", report.approvals))?;
            }
            if report.activated {
                output::print(&shown_word(&format!("{} activated it", report.node)))?;
            }
            Ok(())
        }
    }
}

/// The bundle that is meant. Of a project it is the newest that was made here, as it was approved: nothing new is made.
async fn bundle_of(app: &App, actor: &Actor, text: &str) -> Result<BundleSummary, Failure> {
    if Path::new(text).is_file() {
        let bundle = stet_app::read_bundle(Path::new(text))?;
        return app.bundle(actor, &bundle.digest).await.map_err(|_| {
            Failure::no(format!(
                "the bundle {text} was not made on this node: push it from the node that made it, or bring it to the \
                 target yourself"
            ))
        });
    }
    if is_digest(text) {
        return Ok(app.bundle(actor, text).await?);
    }
    let project = names::project(app, actor, text)?;
    let bundles = app.bundles(actor, text).await?;
    let newest = bundles.into_iter().filter(|bundle| bundle.record.made_here).max_by_key(|one| one.record.sequence);
    let Some(bundle) = newest else {
        return Err(Failure::no(format!(
            "no bundle of {text} was made here: make one with `stet bundle create {text}`"
        )));
    };
    let (made, working) = (BundleSide::Archive(bundle.path.clone()), BundleSide::Working(project.key.clone()));
    if app.diff_bundles(actor, made, working).await?.iter().any(|object| object.kind.as_str() != "data") {
        output::note(&format!(
            "The files of {text} have changed since bundle {} was made; that bundle is sent as it is.",
            bundle.record.sequence
        ));
    }
    Ok(bundle)
}

pub(crate) async fn target(global: &Global, command: TargetCommand) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        TargetCommand::Add { name, address, node_id, ca_file, token } => {
            let token = read_pasted(token.token_file, "Deploy token")?;
            app.add_target(&actor, NewTarget { name: name.clone(), address, node_id, ca_file, token }).await?;
            output::print(&shown_word(&format!(
                "Added the target {name}: try it with `stet bundle target test {name}`"
            )))
        }
        TargetCommand::List { format } => {
            let targets = app.targets(&actor).await?;
            match format {
                PrintFormat::Json => {
                    let views: Vec<serde_json::Value> = targets
                        .iter()
                        .map(|target| {
                            serde_json::json!({
                                "name": target.name, "address": target.address, "node_id": target.node_id,
                                "ca_file": target.ca_file, "added_at": target.added_at, "added_by": target.added_by,
                            })
                        })
                        .collect();
                    output::print_json(&serde_json::json!({ "targets": views }))
                }
                PrintFormat::Text => {
                    let mut table = Table::of_texts(&["name", "address", "node", "added by", "added"]);
                    for target in &targets {
                        table.words([
                            target.name.as_str().into(),
                            target.address.as_str().into(),
                            target.node_id.to_string().into(),
                            target.added_by.as_str().into(),
                            target.added_at.to_string().into(),
                        ]);
                    }
                    output::print_table(&table)
                }
            }
        }
        TargetCommand::Test { name, format } => match app.test_target(&actor, &name).await? {
            Ok(found) if format == PrintFormat::Json => output::print_json(&found),
            Ok(found) => output::print(&shown_word(&format!(
                "{name} is the node {} ({}), Stet {}, its clock differs by {} s",
                found.name, found.id, found.stet, found.clock_ahead_s
            ))),
            Err(reason) => Err(Failure::no(reason)),
        },
        TargetCommand::Remove { name } => {
            app.remove_target(&actor, &name).await?;
            output::print(&shown_word(&format!("Removed the target {name}")))
        }
    }
}
