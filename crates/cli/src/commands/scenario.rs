//! `stet scenario`: runs the steps of a scenario, and shows what ran.

use std::borrow::Cow;

use stet_app::{Run, RunState};
use stet_domain::scenario::ScenarioStep;

use crate::Global;
use crate::failure::Failure;
use crate::names::{self, DatasetArgument};
use crate::node::{self, ServeLock};
use crate::output::{self, PrintFormat};
use crate::table::{Table, shown_word};

/// The most runs that are listed.
const LISTED_MAX: usize = 200;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List the scenarios of a project
    List {
        /// The project's key
        project: String,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Run a scenario to its end
    Run {
        /// The scenario, such as BIRDSTRIKES.commit_edits_strikes
        #[arg(value_name = "PROJECT.SCENARIO")]
        scenario: DatasetArgument,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Show the runs of a project's scenarios, or of one, newest first
    History {
        /// The project, or a scenario such as BIRDSTRIKES.commit_edits_strikes
        #[arg(value_name = "PROJECT[.SCENARIO]")]
        what: String,
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::List { project, format } => {
            names::project(&app, &actor, &project)?;
            let scenarios = app.scenarios(&actor, &project).await?;
            match format {
                PrintFormat::Json => {
                    let views: Vec<serde_json::Value> = scenarios
                        .iter()
                        .map(|(scenario, last)| {
                            serde_json::json!({
                                "name": scenario.name, "title": scenario.title, "description": scenario.description,
                                "steps": scenario.steps, "ready_made": scenario.implied, "last_run": last,
                            })
                        })
                        .collect();
                    output::print_json(&serde_json::json!({ "project": project, "scenarios": views }))
                }
                PrintFormat::Text => {
                    let mut table = Table::of_texts(&["scenario", "title", "steps", "last run"]);
                    for (scenario, last) in &scenarios {
                        let steps: Vec<String> = scenario.steps.iter().map(ToString::to_string).collect();
                        let last = last.as_ref().map_or(Cow::Borrowed("never"), |run| {
                            Cow::Owned(format!("{} at {}", run.state.as_str(), run.started_at))
                        });
                        table.words([
                            scenario.name.as_str().into(),
                            scenario.title.as_str().into(),
                            steps.join(", ").into(),
                            last,
                        ]);
                    }
                    output::print_table(&table)
                }
            }
        }
        Command::Run { scenario, format } => {
            let project = names::project(&app, &actor, &scenario.project)?;
            let resets = project
                .scenarios
                .values()
                .filter(|known| known.name.as_str() == scenario.dataset)
                .any(|known| known.steps.iter().any(|step| matches!(step, ScenarioStep::ResetEdits { .. })));
            // A running server has the old log in its memory: such a scenario is run there, in the browser.
            let _lock = if resets { Some(ServeLock::take(app.folder().root())?) } else { None };
            let started = app.start_scenario(&actor, &scenario.project, &scenario.dataset).await?;
            let (run, log) = app.wait_for_run(&actor, &scenario.project, started.id).await?;
            app.shutdown().await;
            match format {
                PrintFormat::Json => {
                    let log: Vec<serde_json::Value> =
                        log.iter().map(|line| serde_json::json!({ "at": line.at, "text": line.text })).collect();
                    output::print_json(&serde_json::json!({ "run": run, "log": log }))?;
                }
                PrintFormat::Text => {
                    for line in &log {
                        output::print(&shown_word(&line.text))?;
                    }
                }
            }
            match (run.state, run.error) {
                (RunState::Done, _) => Ok(()),
                (state, error) => Err(Failure::no(format!(
                    "{}.{} {}: {}",
                    scenario.project,
                    scenario.dataset,
                    state.as_str(),
                    error.unwrap_or_else(|| "no reason is known".to_owned())
                ))),
            }
        }
        Command::History { what, format } => {
            let (project, scenario) = what.split_once('.').map_or((what.as_str(), None), |(p, s)| (p, Some(s)));
            names::project(&app, &actor, project)?;
            let runs = app.scenario_runs(&actor, project, scenario, LISTED_MAX).await?;
            match format {
                PrintFormat::Json => output::print_json(&serde_json::json!({ "project": project, "runs": runs })),
                PrintFormat::Text => print_runs(&runs),
            }
        }
    }
}

fn print_runs(runs: &[Run]) -> Result<(), Failure> {
    let mut table = Table::of_texts(&["started", "scenario", "state", "by", "steps", "reason"]);
    for run in runs {
        table.words([
            run.started_at.to_string().into(),
            run.scenario.as_str().into(),
            run.state.as_str().into(),
            run.started_by.as_str().into(),
            format!("{} of {}", run.steps.done, run.steps.planned.len()).into(),
            run.error.as_deref().unwrap_or_default().into(),
        ]);
    }
    output::print_table(&table)
}
