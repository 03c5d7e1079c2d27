//! `stet bundle`: makes, reads, signs, approves and compares bundles. What needs no node works without one, as on the
//! machine of an approver.

use std::path::{Path, PathBuf};

use serde::Serialize;
use stet_app::{
    App, Bundle, BundleSide, Clock, NewApproval, NewBundle, PublicKey, SecretKey, approve_bundle, read_bundle,
    sign_bundle,
};
use stet_domain::bundle::{Feedback, FinalDecision, ObjectDiff};
use stet_domain::{LogDate, ProjectKey};

use crate::Global;
use crate::commands::push;
use crate::failure::Failure;
use crate::names;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::table::{Table, shown_word};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a bundle of a project as its files stand now
    Create(Create),
    /// List the bundles of a project that this node has
    List {
        /// The project's key
        project: String,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Show what a bundle says of itself; needs no node
    Inspect {
        /// The bundle's file, or its digest when this node has it
        bundle: String,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Show what differs between two bundles, or between what is deployed here and a bundle
    Diff {
        /// A bundle's file or digest; `deployed:PROJECT`; or `project:PROJECT` for the files as they stand
        first: String,
        /// The same; without it, what is deployed here is compared with the first
        second: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Add a signature to a bundle: the node's own, or that of a key file
    Sign {
        /// The bundle's file, or its digest when this node has it
        bundle: String,
        /// A key file made by `stet bundle keygen` [default: the node's own key]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Say what you think of a bundle, signed with your key; needs no node
    Approve(Approve),
    /// Send a bundle to another node
    Push(push::Push),
    /// Other nodes to send bundles to
    #[command(subcommand)]
    Target(push::TargetCommand),
    /// Check a bundle from end to end, and whether a key that is trusted here has signed it
    Verify {
        /// The bundle's file, or its digest when this node has it
        bundle: String,
        /// Trust these public keys instead of those of the node; no node is needed then
        #[arg(long, value_name = "PUBLIC-KEY")]
        key: Vec<String>,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Print the public key of this node, for `[[deploy.trusted]]` on the nodes that take its bundles
    Key {
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Make a key of your own, to approve bundles with; needs no node
    Keygen {
        /// The new key file, for you alone
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// Your login on the node that is to take your approvals
        #[arg(long, value_name = "LOGIN")]
        name: String,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
}

#[derive(clap::Args)]
pub(crate) struct Create {
    /// The project's key
    project: String,
    /// The release notes
    #[arg(long, default_value = "", conflicts_with = "notes_file")]
    notes: String,
    /// A file with the release notes
    #[arg(long, value_name = "FILE")]
    notes_file: Option<PathBuf>,
    /// A node that it is meant for, by name or id; may be given more than once [default: any]
    #[arg(long, value_name = "NODE")]
    target: Vec<String>,
    /// From when on no node takes it, such as 2026-12-31 or 2026-12-31T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    expires: Option<LogDate>,
    /// Also take along the data of this dataset, which no edit may have gone into; may be given more than once
    #[arg(long, value_name = "DATASET")]
    with_data: Vec<String>,
    /// Also write the bundle to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: PrintFormat,
}

#[derive(clap::Args)]
pub(crate) struct Approve {
    /// The bundle's file
    bundle: PathBuf,
    /// Your key file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The node for which you approve it, by name or id
    #[arg(long, value_name = "NODE")]
    target: String,
    /// What you think of it, as a reviewer
    #[arg(long, value_enum)]
    feedback: Option<FeedbackArgument>,
    /// What you decide, as the one who is responsible
    #[arg(long = "final", value_enum)]
    decision: Option<DecisionArgument>,
    /// In your words
    #[arg(long, default_value = "")]
    comment: String,
    /// Where to write it [default: beside the bundle, with your name]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: PrintFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FeedbackArgument {
    /// Good
    Approve,
    /// Good enough, with a remark
    Minor,
    /// It must not be activated
    Major,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DecisionArgument {
    /// It may be activated
    Approve,
    /// It must not
    Reject,
}

/// A bundle for programs.
#[derive(Serialize)]
struct BundleView<'a> {
    digest: String,
    bytes: u64,
    /// The ids of the keys that it says signed it.
    signatures: Vec<&'a str>,
    manifest: &'a stet_domain::bundle::Manifest,
}

impl<'a> From<&'a Bundle> for BundleView<'a> {
    fn from(bundle: &'a Bundle) -> BundleView<'a> {
        BundleView {
            digest: format!("sha256:{}", bundle.digest),
            bytes: bundle.bytes,
            signatures: bundle.envelope.as_ref().map(stet_app::Envelope::key_ids).unwrap_or_default(),
            manifest: &bundle.manifest,
        }
    }
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => create(global, arguments).await,
        Command::List { project, format } => list(global, &project, format).await,
        Command::Inspect { bundle, format } => {
            let bundle = read_bundle(&path_of(global, &bundle).await?)?;
            match format {
                PrintFormat::Json => output::print_json(&BundleView::from(&bundle)),
                PrintFormat::Text => print_bundle(&bundle),
            }
        }
        Command::Diff { first, second, format } => diff(global, &first, second.as_deref(), format).await,
        Command::Sign { bundle, key, format } => {
            let path = path_of(global, &bundle).await?;
            let key = match key {
                Some(file) => SecretKey::read(&file)?,
                None => node::open(global).await?.signing_key()?,
            };
            let bundle = sign_bundle(&path, &key)?;
            match format {
                PrintFormat::Json => output::print_json(&BundleView::from(&bundle)),
                PrintFormat::Text => output::print(&format!(
                    "Signed sha256:{} as {} with the key {}",
                    bundle.digest,
                    shown_word(&key.name),
                    key.public().id()
                )),
            }
        }
        Command::Approve(arguments) => approve(arguments),
        Command::Push(arguments) => push::push(global, arguments).await,
        Command::Target(command) => push::target(global, command).await,
        Command::Verify { bundle, key, format } => verify(global, &bundle, &key, format).await,
        Command::Key { format } => {
            let app = node::open(global).await?;
            let key = app.signing_key()?;
            print_key(&app.config().name, &key, format)
        }
        Command::Keygen { output, name, format } => {
            let key = SecretKey::new(&name);
            key.write(&output)?;
            if format == PrintFormat::Text {
                output::note(&format!(
                    "Wrote {}: keep it to yourself. For stet.toml of the node that is to take your approvals:",
                    output.display()
                ));
            }
            print_key(&name, &key, format)
        }
    }
}

fn print_key(name: &str, key: &SecretKey, format: PrintFormat) -> Result<(), Failure> {
    let public = key.public();
    match format {
        PrintFormat::Json => output::print_json(
            &serde_json::json!({ "name": name, "id": public.id(), "public_key": public.to_string() }),
        ),
        PrintFormat::Text => output::print(&public.to_string()),
    }
}

async fn create(global: &Global, arguments: Create) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    names::project(&app, &actor, &arguments.project)?;
    let notes = match &arguments.notes_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?,
        None => arguments.notes,
    };
    let new =
        NewBundle { notes, targets: arguments.target, expires: arguments.expires, with_data: arguments.with_data };
    let made = app.create_bundle(&actor, &arguments.project, new).await?;
    let path = match arguments.output {
        Some(output) => {
            std::fs::copy(&made.path, &output)
                .map_err(|error| Failure::no(format!("cannot write {}: {error}", output.display())))?;
            output
        }
        None => made.path,
    };
    let bundle = read_bundle(&path)?;
    match arguments.format {
        PrintFormat::Json => {
            let mut view =
                serde_json::to_value(BundleView::from(&bundle)).map_err(|error| Failure::no(error.to_string()))?;
            view["path"] = serde_json::Value::String(path.display().to_string());
            output::print_json(&view)
        }
        PrintFormat::Text => {
            print_bundle(&bundle)?;
            output::print(&format!("file         {}", path.display()))
        }
    }
}

async fn list(global: &Global, project: &str, format: PrintFormat) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let bundles = app.bundles(&node::actor(), project).await?;
    match format {
        PrintFormat::Json => {
            let views: Vec<serde_json::Value> = bundles
                .iter()
                .map(|bundle| {
                    let record = &bundle.record;
                    serde_json::json!({
                        "digest": format!("sha256:{}", record.digest), "sequence": record.sequence,
                        "source": record.source_name, "author": record.author, "notes": record.notes,
                        "bytes": record.bytes, "received_at": record.received_at, "received_by": record.received_by,
                        "made_here": record.made_here, "path": bundle.path.display().to_string(),
                    })
                })
                .collect();
            output::print_json(&serde_json::json!({ "project": project, "bundles": views }))
        }
        PrintFormat::Text => {
            let mut table = Table::of_texts(&["number", "digest", "made by", "on", "here since", "notes"]);
            for bundle in &bundles {
                let record = &bundle.record;
                table.words([
                    record.sequence.to_string().into(),
                    record.digest.get(..12).unwrap_or_default().into(),
                    record.author.as_str().into(),
                    record.source_name.as_str().into(),
                    record.received_at.to_string().into(),
                    record.notes.lines().next().unwrap_or_default().into(),
                ]);
            }
            output::print_table(&table)
        }
    }
}

fn print_bundle(bundle: &Bundle) -> Result<(), Failure> {
    let manifest = &bundle.manifest;
    let or = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
    let mut lines = vec![
        format!("bundle       {} of {}", manifest.sequence, manifest.project),
        format!("digest       sha256:{}", bundle.digest),
        format!("made by      {} on {} ({})", manifest.author, manifest.source.name, manifest.source.id),
        format!("Stet         {}, form {}", manifest.stet, manifest.format),
        format!("targets      {}", or(manifest.targets.join(", "), "any node")),
        format!("expires      {}", manifest.expires.map_or_else(|| "never".to_owned(), |date| date.to_string())),
        format!(
            "connections  {}",
            or(
                manifest
                    .connections
                    .iter()
                    .map(|need| format!("{} ({})", need.name, need.kind.as_deref().unwrap_or("not there")))
                    .collect::<Vec<_>>()
                    .join(", "),
                "none"
            )
        ),
        format!(
            "data of      {}",
            or(manifest.data.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), "nothing")
        ),
        format!(
            "signed by    {}",
            or(bundle.envelope.as_ref().map(|envelope| envelope.key_ids().join(", ")).unwrap_or_default(), "nobody")
        ),
    ];
    for line in manifest.notes.lines() {
        lines.push(format!("notes        {line}"));
    }
    for file in &manifest.files {
        lines.push(format!("file         {} ({} bytes)", file.path, file.bytes));
    }
    for line in lines {
        output::print(&shown_word(&line))?;
    }
    Ok(())
}

async fn diff(global: &Global, first: &str, second: Option<&str>, format: PrintFormat) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    let objects = match second {
        Some(second) => {
            let (before, after) = (side_of(&app, first).await?, side_of(&app, second).await?);
            app.diff_bundles(&actor, before, after).await?
        }
        None => {
            let after = side_of(&app, first).await?;
            let key = match &after {
                BundleSide::Archive(path) => read_bundle(path)?.manifest.project,
                BundleSide::Working(key) | BundleSide::Deployed(key) => key.clone(),
            };
            app.diff_bundles(&actor, BundleSide::Deployed(key), after).await?
        }
    };
    match format {
        PrintFormat::Json => output::print_json(&serde_json::json!({ "objects": diff_view(&objects) })),
        PrintFormat::Text if objects.is_empty() => output::print("no difference"),
        PrintFormat::Text => {
            for object in &objects {
                output::print(&shown_word(&format!(
                    "{} {} {}",
                    object.change.as_str(),
                    object.kind.as_str(),
                    object.name
                )))?;
                for file in &object.files {
                    let text = file.text.as_deref().unwrap_or("(not shown)");
                    for line in text.lines() {
                        output::print(&format!("    {}", shown_word(line)))?;
                    }
                }
            }
            Ok(())
        }
    }
}

fn diff_view(objects: &[ObjectDiff]) -> Vec<serde_json::Value> {
    objects
        .iter()
        .map(|object| {
            let files: Vec<serde_json::Value> = object
                .files
                .iter()
                .map(|file| serde_json::json!({ "path": file.path, "change": file.change.as_str(), "diff": file.text }))
                .collect();
            serde_json::json!({
                "kind": object.kind.as_str(), "name": object.name, "change": object.change.as_str(), "files": files
            })
        })
        .collect()
}

async fn side_of(app: &App, text: &str) -> Result<BundleSide, Failure> {
    let project = |key: &str| {
        ProjectKey::new(key).map_err(|_| Failure::usage(format!("there is no project `{}`", key.escape_debug())))
    };
    if let Some(key) = text.strip_prefix("deployed:") {
        return Ok(BundleSide::Deployed(project(key)?));
    }
    if let Some(key) = text.strip_prefix("project:") {
        return Ok(BundleSide::Working(names::project(app, &node::actor(), key)?.key.clone()));
    }
    if Path::new(text).is_file() {
        return Ok(BundleSide::Archive(text.into()));
    }
    Ok(BundleSide::Archive(app.bundle(&node::actor(), text).await?.path))
}

/// The archive that is meant: a file, or a bundle of the node by its digest.
pub(crate) async fn path_of(global: &Global, bundle: &str) -> Result<PathBuf, Failure> {
    if Path::new(bundle).exists() || !is_digest(bundle) {
        return Ok(bundle.into());
    }
    Ok(node::open(global).await?.bundle(&node::actor(), bundle).await?.path)
}

/// Whether a text can be the beginning of a digest rather than the name of a file.
pub(crate) fn is_digest(text: &str) -> bool {
    let text = text.strip_prefix("sha256:").unwrap_or(text);
    text.len() >= 6 && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn approve(arguments: Approve) -> Result<(), Failure> {
    let key = SecretKey::read(&arguments.key)?;
    let approval = NewApproval {
        target: arguments.target,
        feedback: arguments.feedback.map(|feedback| match feedback {
            FeedbackArgument::Approve => Feedback::Approve,
            FeedbackArgument::Minor => Feedback::Minor,
            FeedbackArgument::Major => Feedback::Major,
        }),
        decision: arguments.decision.map(|decision| match decision {
            DecisionArgument::Approve => FinalDecision::Approve,
            DecisionArgument::Reject => FinalDecision::Reject,
        }),
        comment: arguments.comment,
    };
    if approval.feedback.is_none() && approval.decision.is_none() {
        return Err(Failure::usage("say what you think: `--feedback` as a reviewer, `--final` if you decide, or both"));
    }
    let envelope = approve_bundle(&arguments.bundle, &key, &approval, Clock::System.now())?;
    let path = arguments.output.unwrap_or_else(|| {
        let name = arguments.bundle.file_name().unwrap_or_default().to_string_lossy();
        arguments.bundle.with_file_name(format!("{name}.{}.approval", key.name.replace(['/', '\\'], "_")))
    });
    std::fs::write(&path, envelope)
        .map_err(|error| Failure::no(format!("cannot write {}: {error}", path.display())))?;
    match arguments.format {
        PrintFormat::Json => output::print_json(&serde_json::json!({
            "path": path.display().to_string(), "person": key.name, "target": approval.target
        })),
        PrintFormat::Text => output::print(&format!(
            "Wrote {}: bring it to {} with the bundle",
            path.display(),
            shown_word(&approval.target)
        )),
    }
}

async fn verify(global: &Global, bundle: &str, keys: &[String], format: PrintFormat) -> Result<(), Failure> {
    let (bundle, signed_by, problems) = if keys.is_empty() {
        let path = path_of(global, bundle).await?;
        let app = node::open(global).await?;
        let verified = app.verify_bundle(&node::actor(), &path).await?;
        (verified.bundle, verified.judgement.signed_by, verified.judgement.blockers)
    } else {
        let keys: Vec<PublicKey> =
            keys.iter().map(|key| key.parse().map_err(Failure::usage)).collect::<Result<_, _>>()?;
        let bundle = read_bundle(Path::new(bundle))?;
        let signed = bundle.signed_by(&keys);
        let problems =
            if signed.is_empty() { vec!["it is signed by none of these keys".to_owned()] } else { Vec::new() };
        (bundle, signed, problems)
    };
    match format {
        PrintFormat::Json => output::print_json(&serde_json::json!({
            "digest": format!("sha256:{}", bundle.digest), "ok": problems.is_empty(), "signed_by": signed_by,
            "problems": problems,
        }))?,
        PrintFormat::Text => {
            output::print(&format!("sha256:{}: {} files, all as listed", bundle.digest, bundle.manifest.files.len()))?;
            if !signed_by.is_empty() {
                output::print(&shown_word(&format!("signed by {}", signed_by.join(", "))))?;
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::no(problems.join("\n"))) }
}

/// A date, or a date with a time.
fn parse_date(text: &str) -> Result<LogDate, String> {
    let full = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    full.parse().map_err(|_| "write a date such as 2026-12-31, or a moment such as 2026-12-31T12:00:00Z".to_owned())
}
