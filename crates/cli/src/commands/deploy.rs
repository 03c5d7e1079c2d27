//! `stet deploy`: brings bundles into force on the node where they run.

use std::path::{Path, PathBuf};

use stet_app::{App, BuildMode, BundleSummary, DeployPlan, Health, JobState, PLAN_EDITS_MAX};
use stet_domain::{Actor, DeployScopes, ProjectKey};

use crate::Global;
use crate::commands::bundle::is_digest;
use crate::failure::Failure;
use crate::listen::Interrupt;
use crate::output::{self, PrintFormat};
use crate::table::{Table, shown_word};
use crate::{node, progress};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show everything that activating a bundle would do
    Plan {
        #[command(flatten)]
        bundle: BundleArguments,
        /// List the logged edits that would no longer fit, one by one
        #[arg(long)]
        rows: bool,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Activate a bundle: all of it, or nothing
    Activate {
        #[command(flatten)]
        bundle: BundleArguments,
        /// Also build the datasets whose recipes are new or changed
        #[arg(long)]
        build: bool,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Go back to a bundle that was active before; edits are untouched
    Rollback {
        /// The project's key
        project: String,
        /// The bundle, by its digest [default: the one before the present one]
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
        /// Only show what it would do
        #[arg(long)]
        plan: bool,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Show what is deployed, and whether it is still there as it was
    Status {
        /// Only this project
        project: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// List the activations of a project, and what was refused
    History {
        /// The project's key
        project: String,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Tokens with which another node brings its bundles here
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(clap::Args)]
pub(crate) struct BundleArguments {
    /// The bundle's file, which is taken in if it is good; or its digest when this node has it
    bundle: String,
    /// An approval to take in with it; may be given more than once
    #[arg(long, value_name = "FILE")]
    approval: Vec<PathBuf>,
}

#[derive(clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Add a token and print it, this once
    Add {
        /// What it is for, such as the name of the other node
        name: String,
        /// After how many days it expires [default: never]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
        /// Only for this project; may be given more than once [default: all projects]
        #[arg(long, value_name = "PROJECT")]
        project: Vec<String>,
        /// It may also bring approvals, which others have signed
        #[arg(long)]
        may_bring_approvals: bool,
        /// It may also activate what it brings
        #[arg(long)]
        may_activate: bool,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// List the tokens, without their secrets, which nobody has
    List {
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// End a token at once
    Revoke {
        /// The token's name
        name: String,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::Plan { bundle, rows, format } => {
            let bundle = take_in(&app, &actor, &bundle).await?;
            let listed = rows && format == PrintFormat::Json;
            let plan = app.plan_deployment(&actor, &bundle.record.digest, listed).await?;
            print_plan(&plan, format)?;
            if rows && format == PrintFormat::Text {
                print_edits(&app, &actor, &plan).await?;
            }
            blocked(&plan)
        }
        Command::Activate { bundle, build, format } => {
            let bundle = take_in(&app, &actor, &bundle).await?;
            let plan = app.activate(&actor, &bundle.record.digest).await?;
            done(&plan, format)?;
            if build {
                return build_all(&app, &actor, &plan).await;
            }
            say_what_to_build(&plan, format)
        }
        Command::Rollback { project, to, plan: true, format } => {
            let plan = app.plan_rollback(&actor, &project, to.as_deref()).await?;
            print_plan(&plan, format)?;
            blocked(&plan)
        }
        Command::Rollback { project, to, plan: false, format } => {
            let plan = app.rollback(&actor, &project, to.as_deref()).await?;
            done(&plan, format)?;
            say_what_to_build(&plan, format)
        }
        Command::Status { project, format } => status(&app, &actor, project.as_deref(), format).await,
        Command::History { project, format } => history(&app, &actor, &project, format).await,
        Command::Token(command) => token(&app, &actor, command).await,
    }
}

async fn take_in(app: &App, actor: &Actor, arguments: &BundleArguments) -> Result<BundleSummary, Failure> {
    let file = Path::new(&arguments.bundle);
    let bundle = if file.is_file() {
        app.receive_bundle(actor, file).await?
    } else if is_digest(&arguments.bundle) {
        app.bundle(actor, &arguments.bundle).await?
    } else {
        return Err(Failure::usage(format!("there is no file {}", shown_word(&arguments.bundle))));
    };
    for file in &arguments.approval {
        let bytes =
            std::fs::read(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
        app.receive_approval(actor, &bundle.record.digest, &bytes).await?;
    }
    Ok(bundle)
}

fn blocked(plan: &DeployPlan) -> Result<(), Failure> {
    if plan.blockers.is_empty() {
        return Ok(());
    }
    Err(Failure::no(format!("this bundle cannot be activated:\n    {}", plan.blockers.join("\n    "))))
}

fn print_plan(plan: &DeployPlan, format: PrintFormat) -> Result<(), Failure> {
    if format == PrintFormat::Json {
        return output::print_json(plan);
    }
    let mut lines = vec![
        format!("bundle       {} of {}, by {} on {}", plan.sequence, plan.project, plan.author, plan.source),
        format!("digest       sha256:{}", plan.digest),
    ];
    lines.extend(plan.notes.lines().map(|line| format!("notes        {line}")));
    lines.push(format!(
        "takes over   {}",
        plan.current.as_ref().map_or_else(|| "nothing".to_owned(), |digest| format!("sha256:{digest}"))
    ));
    if !plan.judgement.signed_by.is_empty() {
        lines.push(format!("signed by    {}", plan.judgement.signed_by.join(", ")));
    }
    for approval in &plan.judgement.approvals {
        let word = |value: serde_json::Value| value.as_str().map(str::to_owned);
        let feedback = approval.feedback.and_then(|feedback| word(serde_json::json!(feedback)));
        let decision = approval.decision.and_then(|decision| word(serde_json::json!(decision)));
        let said: Vec<String> =
            feedback.into_iter().chain(decision.map(|decision| format!("final {decision}"))).collect();
        let comment = if approval.comment.is_empty() { String::new() } else { format!(": {}", approval.comment) };
        lines.push(format!("approval     {} {}{comment}", approval.person, said.join(", ")));
    }
    for object in &plan.objects {
        let drifted = if object.drifted { " (was changed here)" } else { "" };
        lines.push(format!("{:<12} {} {}{drifted}", object.effect.replace('_', " "), object.kind, object.name));
    }
    for connection in &plan.connections {
        let here = connection.kind_here.as_deref().unwrap_or("not there");
        lines.push(format!("connection   {} ({here})", connection.name));
    }
    for webapp in &plan.webapps {
        let opens = if webapp.opens { ", and opens its table at once" } else { "" };
        lines.push(format!("{:<12} webapp {}{opens}", webapp.effect, webapp.name));
    }
    for dataset in &plan.builds {
        lines.push(format!("to build     {dataset}"));
    }
    for data in &plan.data {
        lines.push(format!("data         {} {} ({} bytes)", data.effect, data.file, data.bytes));
    }
    lines.extend(plan.first_steps.iter().map(|step| format!("editlog      {step}")));
    for effect in &plan.edits {
        lines.push(format!(
            "edits        {}: {} in the log, all stay; {} orphans, {} misfits, {} not editable",
            effect.original, effect.events, effect.orphans, effect.misfits, effect.not_editable
        ));
    }
    lines.extend(plan.warnings.iter().map(|warning| format!("warning      {warning}")));
    lines.extend(plan.blockers.iter().map(|blocker| format!("prevents it  {blocker}")));
    for line in lines {
        output::print(&shown_word(&line))?;
    }
    Ok(())
}

/// The edits that would no longer fit, one by one, page by page.
async fn print_edits(app: &App, actor: &Actor, plan: &DeployPlan) -> Result<(), Failure> {
    for effect in plan.edits.iter().filter(|effect| effect.lost() + effect.rekeyed > 0) {
        let mut after = None;
        loop {
            let page = app.plan_edits(actor, &plan.digest, &effect.original, after, PLAN_EDITS_MAX).await?;
            for row in &page.rows {
                let value = row.value.as_deref().unwrap_or("emptied");
                let column = row.column.as_deref().unwrap_or("the row");
                let fate = row.fate.as_str().replace('_', " ");
                output::print(&shown_word(&format!(
                    "    {}, event {}, {}, {column}: {value} ({fate})",
                    effect.original, row.event, row.key
                )))?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}

fn done(plan: &DeployPlan, format: PrintFormat) -> Result<(), Failure> {
    if format == PrintFormat::Json {
        return output::print_json(plan);
    }
    for warning in &plan.warnings {
        output::note(&shown_word(&format!("warning: {warning}")));
    }
    let verb = if plan.rollback { "Went back to" } else { "Activated" };
    output::print(&format!("{verb} bundle {} of {} (sha256:{})", plan.sequence, plan.project, plan.digest))
}

/// The commands that build what is new or changed, for whoever did not have it built at once.
fn say_what_to_build(plan: &DeployPlan, format: PrintFormat) -> Result<(), Failure> {
    if format == PrintFormat::Json {
        return Ok(());
    }
    for dataset in &plan.builds {
        output::print(&format!("Next: stet build {}.{dataset}", plan.project))?;
    }
    Ok(())
}

async fn build_all(app: &App, actor: &Actor, plan: &DeployPlan) -> Result<(), Failure> {
    let interrupt = Interrupt::watch();
    let mut failed = Vec::new();
    for dataset in &plan.builds {
        let job = progress::build(app, actor, &plan.project, dataset, BuildMode::Required, &interrupt).await?;
        if job.state != JobState::Done {
            failed.push(format!("{dataset}: {}", job.error.as_deref().unwrap_or(job.state.as_str())));
        }
    }
    app.shutdown().await;
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::no(format!("the bundle is active, and not everything was built: {}", failed.join("; "))))
    }
}

async fn status(app: &App, actor: &Actor, project: Option<&str>, format: PrintFormat) -> Result<(), Failure> {
    let mut all = Vec::new();
    match project {
        Some(project) => all.push(app.deploy_status(actor, project).await?),
        None => {
            for key in app.deploy_projects(actor).await? {
                all.push(app.deploy_status(actor, key.as_str()).await?);
            }
        }
    }
    match format {
        PrintFormat::Json => output::print_json(&serde_json::json!({ "projects": all }))?,
        PrintFormat::Text => {
            for status in &all {
                let health = serde_json::json!(status.health);
                let health = health.as_str().unwrap_or_default().replace('_', " ");
                output::print(&format!("{}: {health}", status.project))?;
                if let Some(deployed) = &status.deployed {
                    let how = if deployed.kind == "rollback" { "brought back" } else { "activated" };
                    let approved = if deployed.approved_by.is_empty() {
                        "approved by nobody".to_owned()
                    } else {
                        format!("approved by {}", deployed.approved_by.join(", "))
                    };
                    output::print(&shown_word(&format!(
                        "    bundle {} (sha256:{}), {how} by {} at {}, {approved}",
                        deployed.sequence, deployed.digest, deployed.by, deployed.at
                    )))?;
                }
                for reason in &status.reasons {
                    output::print(&format!("    {}", shown_word(reason)))?;
                }
            }
        }
    }
    let bad = |health: Health| matches!(health, Health::OutOfSync | Health::Unhealthy);
    if all.iter().any(|status| bad(status.health)) { Err(Failure::Printed) } else { Ok(()) }
}

async fn history(app: &App, actor: &Actor, project: &str, format: PrintFormat) -> Result<(), Failure> {
    let deployments = app.deployments(actor, project).await?;
    let events = app.deploy_events(actor, project).await?;
    match format {
        PrintFormat::Json => {
            let events: Vec<serde_json::Value> = events
                .iter()
                .map(|event| {
                    let what = &event.event;
                    serde_json::json!({
                        "id": event.id, "at": what.at, "actor": what.actor, "kind": what.kind, "digest": what.digest,
                        "text": what.text,
                    })
                })
                .collect();
            output::print_json(&serde_json::json!({
                "project": project, "deployments": deployments, "events": events
            }))
        }
        PrintFormat::Text => {
            let mut table = Table::of_texts(&["date", "what", "by", "bundle", "details"]);
            for event in &events {
                let what = &event.event;
                table.words([
                    what.at.to_string().into(),
                    what.kind.replace('_', " ").into(),
                    what.actor.as_str().into(),
                    what.digest.as_deref().and_then(|digest| digest.get(..12)).unwrap_or_default().into(),
                    what.text.as_str().into(),
                ]);
            }
            output::print_table(&table)
        }
    }
}

fn projects_of(token: &stet_app::DeployToken) -> String {
    let projects: Vec<&str> = token.scopes.projects.iter().map(ProjectKey::as_str).collect();
    if projects.is_empty() { "all projects".to_owned() } else { projects.join(", ") }
}

fn also_of(token: &stet_app::DeployToken) -> &'static str {
    match (token.scopes.approvals, token.scopes.activate) {
        (false, false) => "nothing",
        (true, false) => "bring approvals",
        (false, true) => "activate",
        (true, true) => "bring approvals, activate",
    }
}

async fn token(app: &App, actor: &Actor, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Add { name, days, project, may_bring_approvals, may_activate, format } => {
            let projects = project.iter().map(|key| {
                ProjectKey::new(key.as_str())
                    .map_err(|_| Failure::usage(format!("there can be no project `{}`", key.escape_debug())))
            });
            let scopes = DeployScopes {
                projects: projects.collect::<Result<_, _>>()?,
                approvals: may_bring_approvals,
                activate: may_activate,
            };
            let secret = app.add_deploy_token(actor, &name, days, scopes).await?;
            let address = app.config().public_url.as_deref().unwrap_or("https://ADDRESS-OF-THIS-NODE");
            match format {
                PrintFormat::Json => {
                    output::print_json(&serde_json::json!({ "name": name, "token": secret, "node_id": app.node_id() }))
                }
                PrintFormat::Text => {
                    output::note(&format!(
                        "On the node that is to send its bundles here, with the token on stdin, which is shown this once:\n    \
                         stet bundle target add NAME --address {address} --node-id {}",
                        app.node_id()
                    ));
                    output::print(&secret)
                }
            }
        }
        TokenCommand::List { format } => {
            let now = app.clock().now();
            let tokens = app.deploy_tokens(actor).await?;
            let state = |token: &stet_app::DeployToken| match (token.revoked_at, token.expires_at) {
                (Some(_), _) => "revoked",
                (None, Some(end)) if end <= now => "expired",
                _ => "active",
            };
            match format {
                PrintFormat::Json => {
                    let views: Vec<serde_json::Value> = tokens
                        .iter()
                        .map(|token| {
                            serde_json::json!({
                                "name": token.name, "state": state(token), "created_by": token.created_by,
                                "projects": token.scopes.projects, "may_bring_approvals": token.scopes.approvals,
                                "may_activate": token.scopes.activate,
                                "created_at": token.created_at, "expires_at": token.expires_at,
                            })
                        })
                        .collect();
                    output::print_json(&serde_json::json!({ "tokens": views }))
                }
                PrintFormat::Text => {
                    let mut table =
                        Table::of_texts(&["name", "state", "for", "may also", "made by", "created", "expires"]);
                    for token in &tokens {
                        table.words([
                            token.name.as_str().into(),
                            state(token).into(),
                            projects_of(token).into(),
                            also_of(token).into(),
                            token.created_by.as_str().into(),
                            token.created_at.to_string().into(),
                            token.expires_at.map_or_else(|| "never".to_owned(), |date| date.to_string()).into(),
                        ]);
                    }
                    output::print_table(&table)
                }
            }
        }
        TokenCommand::Revoke { name } => {
            app.revoke_deploy_token(actor, &name).await?;
            output::print(&format!("Revoked the deploy token {}", shown_word(&name)))
        }
    }
}
