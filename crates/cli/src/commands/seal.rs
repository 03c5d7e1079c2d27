//! The seal of editlogs at the shell: `stet editlog verify`, `prove`, `export --bundle`, `keys` and `push`.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use stet_app::{App, Evidence, KeptAt, Unreached};
use stet_domain::Actor;
use stet_editlog::bundle::{self, BundleError, Expectations};
use stet_editlog::note::parse_keys;
use stet_editlog::proof_file::{InclusionProof, PROOF_BYTES_MAX, ProofError};
use stet_editlog::verify::{Finding, Report};
use stet_editlog::{Checkpoint, Event, Field, Hash, Personal, VerifierKey, time};

use crate::Global;
use crate::failure::Failure;
use crate::names::DatasetArgument;
use crate::node;
use crate::output::{self, PrintFormat, Target};
use crate::table::shown_word;

/// Events that no checkpoint covers are a matter of course for so long: where sealing comes after the commit, it is at most
/// a second behind.
const UNSEALED_MICROS_MAX: i64 = 60_000_000;

/// How often plain lines tell how far a verification is.
const LINES_EVERY: Duration = Duration::from_secs(10);

/// The longest file of keys or checkpoint that is read, in bytes.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;

#[derive(clap::Args)]
pub(crate) struct VerifyArguments {
    /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
    #[arg(value_name = "PROJECT.DATASET", required_unless_present_any = ["bundle", "proof"], conflicts_with_all = ["bundle", "proof"])]
    dataset: Option<DatasetArgument>,
    /// Verify a bundle instead; this needs no node
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    bundle: Option<PathBuf>,
    /// Verify the proof of one event instead; this needs no node
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// A checkpoint of this log that was kept elsewhere; can be given several times
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Where checkpoints and hashes of this log were pushed to: its folder, or s3://BUCKET/PREFIX of stet.toml [default: all
    /// places of `[sealing]` in stet.toml]
    #[arg(long, visible_alias = "kept", value_name = "PLACE", requires = "dataset")]
    checkpoints: Option<KeptAt>,
    /// The public keys of witnesses, one on each line, to be told what they signed [default: those of stet.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    witness_keys: Option<PathBuf>,
    /// The public keys whose signatures count, one on each line [default: this node's, or those in the bundle]
    #[arg(long, value_name = "FILE")]
    trusted_keys: Option<PathBuf>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    format: PrintFormat,
}

#[derive(clap::Args)]
pub(crate) struct ProveArguments {
    /// The original dataset or its editlog, such as BIRDSTRIKES.strikes
    #[arg(value_name = "PROJECT.DATASET")]
    dataset: DatasetArgument,
    /// The event's id
    #[arg(value_name = "EVENT", required_unless_present = "since", value_parser = clap::value_parser!(u64).range(1..))]
    event: Option<u64>,
    /// Prove instead that the log continues what this checkpoint tells of
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "event")]
    since: Option<PathBuf>,
    /// The file to write; `-` for stdout [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The proof as it is verified, or an object with its parts
    #[arg(long, value_enum, default_value_t)]
    format: PrintFormat,
}

/// Verifies a log, a bundle or a proof.
pub(crate) async fn verify(global: &Global, arguments: VerifyArguments) -> Result<(), Failure> {
    let trusted = arguments.trusted_keys.as_deref().map(read_keys).transpose()?;
    let checkpoints = arguments.checkpoint.iter().map(|path| Ok((read_small(path)?, path.display().to_string())));
    let checkpoints = checkpoints.collect::<Result<Vec<_>, Failure>>()?;
    let witnesses = arguments.witness_keys.as_deref().map(read_keys).transpose()?;
    let format = arguments.format;
    if let Some(path) = arguments.proof {
        let trusted = trusted.ok_or_else(|| {
            Failure::usage("whose signatures count? Give the public keys with --trusted-keys FILE (`stet editlog keys` prints a node's)")
        })?;
        return proof(&path, &trusted, &checkpoints, format);
    }
    if let Some(path) = arguments.bundle {
        let verified = tokio::task::spawn_blocking(move || {
            verify_bundle(&path, trusted, &witnesses.unwrap_or_default(), &checkpoints)
        })
        .await;
        return verified.map_err(|error| Failure::no(format!("the verification broke off: {error}")))??.tell(format);
    }
    let Some(dataset) = arguments.dataset else { return Err(Failure::usage("what is to be verified?")) };
    let app = node::open(global).await?;
    let evidence = Evidence { trusted, checkpoints, kept: arguments.checkpoints, witnesses };
    let verified = tokio::task::spawn_blocking(move || {
        let progress = Progress::new();
        let (project, name) = (&dataset.project, &dataset.dataset);
        let found = app.verify_editlog(&node::actor(), project, name, evidence, &mut |done, all| {
            progress.tell(done, all);
            ControlFlow::Continue(())
        });
        progress.end();
        let found = found?;
        let mut notes = Vec::new();
        if found.outside.is_empty() && found.unreached.is_empty() {
            notes.push(
                "compared with nothing kept elsewhere: whoever owns the node and its key could have sealed another history"
                    .to_owned(),
            );
        }
        let now_micros = app.clock().now().micros();
        let verified = Verified::new(found.origin, found.report, found.protection, notes, Some(now_micros));
        Ok::<_, Failure>(Verified { unreached: found.unreached, ..verified })
    });
    verified.await.map_err(|error| Failure::no(format!("the verification broke off: {error}")))??.tell(format)
}

fn verify_bundle(
    path: &Path,
    trusted: Option<Vec<VerifierKey>>,
    witnesses: &[VerifierKey],
    checkpoints: &[(String, String)],
) -> Result<Verified, Failure> {
    let file = File::open(path).map_err(|error| Failure::usage(format!("cannot open {}: {error}", path.display())))?;
    let progress = Progress::new();
    let expected = Expectations {
        trusted: trusted.as_deref(),
        witnesses,
        checkpoints,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ..Expectations::default()
    };
    let input = BufReader::with_capacity(1024 * 1024, file);
    let report = bundle::verify(input, expected, &mut |done, all| progress.tell(done, all));
    progress.end();
    let report = report.map_err(|error| match error {
        BundleError::Io(source) => Failure::usage(format!("cannot read {}: {source}", path.display())),
        other => Failure::no(format!("{}: {other}", path.display())),
    })?;
    let mut notes = Vec::new();
    if !report.keys_given {
        notes.push("checked with the keys in the bundle only: give --trusted-keys to know who signed".to_owned());
    }
    Ok(Verified::new(report.manifest.origin, report.report, None, notes, None))
}

/// What a verification found, to be told.
struct Verified {
    origin: String,
    report: Report,
    protection: Option<String>,
    notes: Vec<String>,
    /// The places that it could not be compared with.
    unreached: Vec<Unreached>,
    /// Whether the events that no checkpoint covers are more than a matter of course.
    unsealed_too_long: bool,
}

impl Verified {
    /// `now_micros` is the time if the log is a live one; in a bundle, what is not sealed never will be.
    fn new(
        origin: String,
        report: Report,
        protection: Option<String>,
        notes: Vec<String>,
        now_micros: Option<i64>,
    ) -> Verified {
        let unsealed_too_long = report.unsealed.is_some_and(|unsealed| {
            let age = |oldest: i64| now_micros.map(|now| now.saturating_sub(oldest));
            unsealed.oldest_micros.and_then(age).is_none_or(|age| age > UNSEALED_MICROS_MAX)
        });
        Verified { origin, report, protection, notes, unreached: Vec::new(), unsealed_too_long }
    }

    fn tell(self, format: PrintFormat) -> Result<(), Failure> {
        let Verified { origin, report, protection, notes, unreached, unsealed_too_long } = &self;
        let whole = report.is_whole() && protection.is_none() && !unsealed_too_long;
        match format {
            PrintFormat::Json => {
                let findings: Vec<Value> = report.findings.iter().map(finding_view).collect();
                let unsealed = report.unsealed.map(|unsealed| {
                    json!({ "events": unsealed.events, "oldest": unsealed.oldest_micros.and_then(time::format) })
                });
                let cosigned: Vec<Value> = report
                    .cosigned
                    .iter()
                    .map(|cosigned| {
                        json!({
                            "witness": cosigned.witness.name(), "key": cosigned.witness.to_string(),
                            "events": cosigned.size, "at": seconds_date(cosigned.time_s),
                        })
                    })
                    .collect();
                output::print_json(&json!({
                    "whole": whole, "origin": origin, "events": report.events, "sealed": report.sealed, "findings": findings,
                    "more_findings": report.more, "erased": report.erased, "unsealed": unsealed, "protection": protection,
                    "cosigned": cosigned, "notes": notes,
                    "not_compared": unreached.iter().map(|at| json!({ "place": at.place, "reason": at.reason })).collect::<Vec<_>>(),
                }))?;
            }
            PrintFormat::Text => {
                for finding in &report.findings {
                    output::print(&shown_word(&finding.to_string()))?;
                }
                if report.more > 0 {
                    output::print(&format!("and {} more", report.more))?;
                }
                if let Some(protection) = protection {
                    output::print(&format!("UNPROTECTED: {}", shown_word(protection)))?;
                }
                if let Some(unsealed) = report.unsealed {
                    output::print(&unsealed.to_string())?;
                }
                for cosigned in &report.cosigned {
                    output::print(&shown_word(&cosigned.to_string()))?;
                }
                if report.erased > 0 {
                    output::print(&format!("ERASED: personal data of {} events, by logged erasures", report.erased))?;
                }
                for unreached in unreached {
                    output::print(&shown_word(&unreached.to_string()))?;
                }
                let verdict = match (whole, unreached.is_empty()) {
                    (true, true) => "OK",
                    (true, false) => "INCOMPLETE",
                    (false, _) => "NOT WHOLE",
                };
                let sealed = report.sealed.map_or("nothing".to_owned(), |sealed| sealed.to_string());
                output::print(&format!(
                    "{verdict}: {}: {} events, {sealed} sealed",
                    shown_word(origin),
                    report.events
                ))?;
                notes.iter().for_each(|note| output::note(note));
            }
        }
        if whole && unreached.is_empty() { Ok(()) } else { Err(Failure::Printed) }
    }
}

fn seconds_date(seconds: u64) -> Option<String> {
    i64::try_from(seconds).ok()?.checked_mul(1_000_000).and_then(time::format)
}

fn finding_view(finding: &Finding) -> Value {
    let (mut first, mut last) = (None, None);
    match finding {
        Finding::Modified { first: from, last: to, .. }
        | Finding::ModifiedAmong { first: from, last: to }
        | Finding::Deleted { first: from, last: to } => {
            (first, last) = (Some(*from), Some(*to));
        }
        Finding::Inserted { id } => (first, last) = (Some(*id), Some(*id)),
        Finding::Reordered { sealed, id } => (first, last) = (Some(*sealed), Some(*id)),
        Finding::Truncated { events, sealed } => (first, last) = (Some(*events), Some(*sealed)),
        _ => {}
    }
    json!({ "verdict": finding.verdict(), "first": first, "last": last, "message": finding.to_string() })
}

fn proof(
    path: &Path,
    trusted: &[VerifierKey],
    checkpoints: &[(String, String)],
    format: PrintFormat,
) -> Result<(), Failure> {
    let text = read_text(path, PROOF_BYTES_MAX as u64)?;
    let no = |error: ProofError| Failure::no(format!("{}: {error}", path.display()));
    let proven = text.parse::<InclusionProof>().and_then(|proof| proof.verify(trusted)).map_err(no)?;
    for (note, place) in checkpoints {
        let kept = Checkpoint::open(note, &proven.checkpoint.origin, trusted)
            .map_err(|error| Failure::no(format!("FORGED: {place}: {error}")))?;
        if kept.size == proven.checkpoint.size && kept.root != proven.checkpoint.root {
            return Err(Failure::no(format!("FORKED: the checkpoint of the proof is not that of {place}")));
        }
    }
    let event = &proven.event;
    match format {
        PrintFormat::Json => output::print_json(&json!({
            "proven": true, "origin": proven.checkpoint.origin, "size": proven.checkpoint.size,
            "signed_by": proven.signed_by.iter().map(ToString::to_string).collect::<Vec<_>>(), "event": EventView::from(event),
        })),
        PrintFormat::Text => {
            let Event { id, action, key, .. } = event;
            let shown = |field| event.personal(field).text().map_or("-".to_owned(), shown_word);
            output::print(&format!(
                "PROVEN: event {id} of {}, sealed among {} events: {} by {} at {}, key {}, column {}, value {}",
                shown_word(&proven.checkpoint.origin),
                proven.checkpoint.size,
                shown_word(action),
                shown(Field::User),
                time::format(event.date_micros).unwrap_or_default(),
                shown_word(key),
                event.column_name.as_deref().map_or("-".to_owned(), shown_word),
                shown(Field::Value),
            ))
        }
    }
}

/// A proven event in JSON, under the names of the editlog's columns.
#[derive(Serialize)]
struct EventView<'a> {
    id: u64,
    date: Option<String>,
    user: Option<&'a str>,
    action: &'a str,
    key: &'a str,
    column_name: Option<&'a str>,
    value: Option<&'a str>,
    previous: Option<&'a str>,
    source: &'a str,
    reason: Option<&'a str>,
    erased: Vec<&'static str>,
}

impl<'a> From<&'a Event<'_>> for EventView<'a> {
    fn from(event: &'a Event<'_>) -> EventView<'a> {
        let erased = |field: &Field| matches!(event.personal(*field), Personal::Erased(_));
        EventView {
            id: event.id,
            date: time::format(event.date_micros),
            user: event.user.text(),
            action: &event.action,
            key: &event.key,
            column_name: event.column_name.as_deref(),
            value: event.value.text(),
            previous: event.previous.text(),
            source: &event.source,
            reason: event.reason.text(),
            erased: Field::ALL.into_iter().filter(erased).map(Field::name).collect(),
        }
    }
}

/// Makes a proof.
pub(crate) async fn prove(global: &Global, arguments: ProveArguments) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let old = match &arguments.since {
        None => None,
        Some(path) => Some(
            Checkpoint::peek(&read_small(path)?)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
        ),
    };
    let (dataset, event, format) = (arguments.dataset, arguments.event, arguments.format);
    Target::new(arguments.output)
        .fill(move |out| {
            let (actor, project, name) = (node::actor(), &dataset.project, &dataset.dataset);
            let (proof, parts) = match (&old, event) {
                (Some(old), _) => {
                    let proof = app.prove_consistency(&actor, project, name, old)?;
                    let parts = json!({
                        "kind": "consistency", "old_size": proof.old_size, "hashes": texts(&proof.hashes),
                        "checkpoint": proof.checkpoint.to_string(), "proof": proof.to_string(),
                    });
                    (proof.to_string(), parts)
                }
                (None, Some(event)) => {
                    let proof = app.prove_event(&actor, project, name, event)?;
                    let parts = json!({
                        "kind": "inclusion", "index": proof.index, "hashes": texts(&proof.hashes), "event": proof.event,
                        "checkpoint": proof.checkpoint.to_string(), "proof": proof.to_string(),
                    });
                    (proof.to_string(), parts)
                }
                (None, None) => return Err(Failure::usage("which event is to be proven?")),
            };
            let proof = match format {
                PrintFormat::Text => proof,
                PrintFormat::Json => format!("{parts:#}\n"),
            };
            Ok(std::io::Write::write_all(out, proof.as_bytes())?)
        })
        .await
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(ToString::to_string).collect()
}

/// Writes a bundle.
pub(crate) async fn export_bundle(
    app: &App,
    actor: &Actor,
    dataset: DatasetArgument,
    output: Option<PathBuf>,
) -> Result<(), Failure> {
    let target = Target::new(output);
    target.refuse_terminal("A bundle")?;
    let shown = match &target {
        Target::File(path) => Some(path.display().to_string()),
        Target::Stdout => None,
    };
    let (app, actor) = (app.clone(), actor.clone());
    let written = target
        .fill(move |out| {
            let progress = Progress::new();
            let mut tell = |done, all| progress.tell(done, all);
            let written = app.export_bundle(&actor, &dataset.project, &dataset.dataset, out, &mut tell);
            progress.end();
            Ok(written?)
        })
        .await?;
    if let Some(path) = shown {
        output::note(&format!("{written} events written to {path}"));
    }
    Ok(())
}

/// Prints the node's public keys.
pub(crate) fn keys(app: &App, actor: &Actor, format: PrintFormat) -> Result<(), Failure> {
    let keys: Vec<String> = app.sealing_keys(actor).iter().map(ToString::to_string).collect();
    match format {
        PrintFormat::Json => output::print_json(&json!({ "keys": keys })),
        PrintFormat::Text => keys.iter().try_for_each(|key| output::print(key)),
    }
}

/// Pushes checkpoints now.
pub(crate) async fn push(app: App, format: PrintFormat) -> Result<(), Failure> {
    if app.config().sealing.push.is_empty() {
        return Err(Failure::usage(
            "stet.toml names no place to push to: add `[sealing]` and `push = [{ folder = \"/somewhere/else\" }]`; docs/node.md has the other places",
        ));
    }
    let pushed = tokio::task::spawn_blocking(move || app.push_checkpoints()).await;
    let pushed = pushed.map_err(|error| Failure::no(format!("the push broke off: {error}")))?;
    match format {
        PrintFormat::Json => {
            output::print_json(&json!({ "checkpoints": pushed.checkpoints, "failures": pushed.failures }))?;
        }
        PrintFormat::Text => {
            pushed.failures.iter().for_each(|failure| output::note(&shown_word(failure)));
            output::print(&format!("{} new checkpoints pushed", pushed.checkpoints))?;
        }
    }
    if pushed.failures.is_empty() { Ok(()) } else { Err(Failure::Printed) }
}

fn read_keys(path: &Path) -> Result<Vec<VerifierKey>, Failure> {
    parse_keys(&read_small(path)?)
        .map_err(|(line, error)| Failure::usage(format!("{}:{line}: {error}", path.display())))
}

fn read_small(path: &Path) -> Result<String, Failure> {
    read_text(path, SMALL_BYTES_MAX)
}

fn read_text(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let mut text = String::new();
    let read = File::open(path).map_err(cannot)?.take(bytes_max + 1).read_to_string(&mut text).map_err(cannot)?;
    if read as u64 > bytes_max {
        return Err(Failure::usage(format!("{} is too long: the most are {bytes_max} bytes", path.display())));
    }
    Ok(text)
}

/// How far a verification is: a bar on a terminal, now and then a line elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    last_line: Cell<Instant>,
}

impl Progress {
    fn new() -> Progress {
        let bar = output::stderr_is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is ours and right; without it the bar would only look plainer.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:30} {human_pos}/{human_len} events") {
                bar.set_style(style);
            }
            bar
        });
        Progress { bar, last_line: Cell::new(Instant::now()) }
    }

    fn tell(&self, done: u64, all: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(all);
                bar.set_position(done);
            }
            None if self.last_line.get().elapsed() >= LINES_EVERY => {
                self.last_line.set(Instant::now());
                output::note(&format!("{done} of {all} events"));
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
