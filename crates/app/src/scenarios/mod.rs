//! Scenarios: steps run one after the other, by hand, with a history and a log.

mod reset;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stet_domain::access::Permission;
use stet_domain::project::Project;
use stet_domain::scenario::{Scenario, ScenarioStep, StepMode};
use stet_domain::{Actor, LogDate, Login, ProjectKey, ScenarioName};
use stet_store::node::{AuditOutcome, ScenarioLogLine, ScenarioRun};
use tokio::sync::watch;
use uuid::Uuid;

use crate::builds::{BuildMode, JobState};
use crate::error::{AppError, Chain};
use crate::{App, ProjectEvent};

/// What lets people run scenarios.
const RUNNERS: [Permission; 2] = [Permission::RunScenarios, Permission::WriteContent];

/// What lets people look at scenarios and their runs.
const READERS: [Permission; 3] = [Permission::ReadContent, Permission::RunScenarios, Permission::WriteContent];

/// How many runs of a node may be under way.
const OPEN_MAX: usize = 20;

/// The most runs in a list.
const LISTED_MAX: usize = 200;

/// The most lines of a log that are told.
const LOG_LINES_MAX: usize = 1_000;

/// How often a build that a scenario waits for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Is at work.
    Running,
    /// All steps are done.
    Done,
    /// A step failed; those after it were not begun.
    Failed,
    /// The node was stopped in the middle.
    Interrupted,
}

impl RunState {
    /// As it is written for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Done => "done",
            RunState::Failed => "failed",
            RunState::Interrupted => "interrupted",
        }
    }

    fn of(text: &str) -> RunState {
        match text {
            "running" => RunState::Running,
            "done" => RunState::Done,
            "failed" => RunState::Failed,
            _ => RunState::Interrupted,
        }
    }
}

/// A run of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Its identity.
    pub id: Uuid,
    /// The project.
    pub project: ProjectKey,
    /// The scenario.
    pub scenario: String,
    /// How it stands.
    pub state: RunState,
    /// Who started it.
    pub started_by: Login,
    /// When.
    pub started_at: LogDate,
    /// When it ended.
    pub finished_at: Option<LogDate>,
    /// Why it failed, in plain words.
    pub error: Option<String>,
    /// Its steps, in words, those of scenarios that it runs included; and how many are done.
    pub steps: RunSteps,
}

/// The steps of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSteps {
    /// In words, in order.
    pub planned: Vec<String>,
    /// How many are done.
    pub done: usize,
}

/// The runs that are under way.
#[derive(Default)]
pub(crate) struct Runs(Mutex<BTreeMap<Uuid, OpenRun>>);

struct OpenRun {
    project: ProjectKey,
    scenario: ScenarioName,
    /// True when the end of the run is in the node database.
    ended: watch::Receiver<bool>,
}

impl App {
    /// The scenarios of a project, each with its last run.
    ///
    /// # Errors
    /// When there is no such project that the actor may know of.
    pub async fn scenarios(&self, actor: &Actor, project: &str) -> Result<Vec<(Scenario, Option<Run>)>, AppError> {
        let project = self.authorise(actor, project, &READERS)?;
        let mut scenarios = Vec::new();
        for scenario in project.scenarios.values().filter(|found| self.may_know_scenario(actor, &project, found)) {
            let last = self.inner.node.scenario_runs(&project.key, Some(scenario.name.as_str()), 1).await?;
            scenarios.push((scenario.clone(), last.first().map(run_of)));
        }
        Ok(scenarios)
    }

    /// Starts a scenario and answers at once; ask for the run to see how it goes.
    ///
    /// # Errors
    /// When the actor may not, there is no such scenario, or it is running already.
    pub async fn start_scenario(&self, actor: &Actor, project: &str, scenario: &str) -> Result<Run, AppError> {
        let project = self.authorise(actor, project, &RUNNERS)?;
        let scenario = self.known_scenario(actor, &project, scenario)?.clone();
        let mut planned = Vec::new();
        flatten(&project, &scenario, &mut planned);
        let run = Run {
            id: Uuid::now_v7(),
            project: project.key.clone(),
            scenario: scenario.name.to_string(),
            state: RunState::Running,
            started_by: actor.login.clone(),
            started_at: self.inner.clock.now(),
            finished_at: None,
            error: None,
            steps: RunSteps { planned: planned.iter().map(ToString::to_string).collect(), done: 0 },
        };
        let (ended, waiting) = watch::channel(false);
        {
            let mut open = self.inner.runs.0.lock().unwrap_or_else(PoisonError::into_inner);
            if open.values().any(|open| open.project == project.key && open.scenario == scenario.name) {
                return Err(AppError::Conflict(format!("`{}` is running already: wait for its end", scenario.name)));
            }
            if open.len() >= OPEN_MAX {
                return Err(AppError::Unavailable(format!(
                    "{OPEN_MAX} scenarios are running: try again when some are done"
                )));
            }
            open.insert(
                run.id,
                OpenRun { project: project.key.clone(), scenario: scenario.name.clone(), ended: waiting },
            );
        }
        if let Err(error) = self.save_run(&run).await {
            self.inner.runs.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&run.id);
            return Err(error);
        }
        let object = format!("scenario {}.{}", project.key, scenario.name);
        self.note(self.entry(actor, "scenario.start", object, format!("run {}", run.id))).await?;
        let (app, actor, mut going) = (self.clone(), actor.clone(), run.clone());
        tokio::spawn(async move {
            app.carry_out_run(&actor, &project, &planned, &mut going).await;
            app.inner.runs.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&going.id);
            // Nobody waiting is no failure.
            let _ = ended.send(true);
        });
        Ok(run)
    }

    /// Waits for a run that was started in this process, and gives it as it ended.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn wait_for_run(
        &self,
        actor: &Actor,
        project: &str,
        id: Uuid,
    ) -> Result<(Run, Vec<ScenarioLogLine>), AppError> {
        let waiting = {
            let open = self.inner.runs.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.get(&id).map(|open| open.ended.clone())
        };
        if let Some(mut ended) = waiting {
            // An error means that the sender is gone, and so the run has ended.
            let _ = ended.wait_for(|ended| *ended).await;
        }
        self.scenario_run(actor, project, id).await
    }

    /// A run with its log.
    ///
    /// # Errors
    /// When there is no such run that the actor may know of.
    pub async fn scenario_run(
        &self,
        actor: &Actor,
        project: &str,
        id: Uuid,
    ) -> Result<(Run, Vec<ScenarioLogLine>), AppError> {
        let project = self.authorise(actor, project, &READERS)?;
        let record = self.inner.node.scenario_run(id).await?.filter(|record| record.project == project.key);
        let record = record.filter(|record| self.may_know_run(actor, &project, record));
        let record = record.ok_or_else(|| AppError::not_found("such run"))?;
        Ok((run_of(&record), self.inner.node.run_log(id, LOG_LINES_MAX).await?))
    }

    /// The runs of a project's scenarios, or of one of them, newest first.
    ///
    /// # Errors
    /// When there is no such project or scenario that the actor may know of.
    pub async fn scenario_runs(
        &self,
        actor: &Actor,
        project: &str,
        scenario: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Run>, AppError> {
        let project = self.authorise(actor, project, &READERS)?;
        if let Some(scenario) = scenario {
            self.known_scenario(actor, &project, scenario)?;
        }
        let mut records = self.inner.node.scenario_runs(&project.key, scenario, limit.min(LISTED_MAX)).await?;
        records.retain(|record| self.may_know_run(actor, &project, record));
        Ok(records.iter().map(run_of).collect())
    }

    /// A scenario that the actor may know of.
    fn known_scenario<'a>(&self, actor: &Actor, project: &'a Project, name: &str) -> Result<&'a Scenario, AppError> {
        let found = ScenarioName::new(name).ok().and_then(|name| project.scenarios.get(&name));
        found
            .filter(|found| self.may_know_scenario(actor, project, found))
            .ok_or_else(|| AppError::not_found(format!("scenario `{name}` in project `{}`", project.key)))
    }

    /// Whether nothing hides what a scenario works on from an actor: its steps, its runs and what became of them tell of
    /// datasets.
    fn may_know_scenario(&self, actor: &Actor, project: &Project, scenario: &Scenario) -> bool {
        let mut steps = Vec::new();
        flatten(project, scenario, &mut steps);
        steps.iter().all(|step| match step {
            ScenarioStep::Build { dataset, .. }
            | ScenarioStep::Refresh { dataset }
            | ScenarioStep::ResetEdits { dataset } => self.may_know_build(actor, project, dataset),
            // Its steps stand in its place.
            ScenarioStep::Scenario { .. } => true,
        })
    }

    /// Whether an actor may know of a run. One of a scenario that is gone or has changed can only be judged by those who write
    /// the project's files.
    fn may_know_run(&self, actor: &Actor, project: &Project, record: &ScenarioRun) -> bool {
        if self.permissions(actor, project).has(Permission::WriteContent) {
            return true;
        }
        let Ok(scenario) = self.known_scenario(actor, project, &record.scenario) else { return false };
        let mut steps = Vec::new();
        flatten(project, scenario, &mut steps);
        run_of(record).steps.planned == steps.iter().map(ToString::to_string).collect::<Vec<_>>()
    }

    /// Marks runs that were under way when the server ended. Called once at the start.
    ///
    /// # Errors
    /// When the node database cannot be used.
    pub async fn recover_runs(&self) -> Result<(), AppError> {
        let error = "the server was stopped before the scenario ended; run it again";
        let now = self.inner.clock.now();
        self.inner.node.finish_interrupted_runs(RunState::Interrupted.as_str(), error, now).await?;
        Ok(())
    }

    async fn carry_out_run(&self, actor: &Actor, project: &Arc<Project>, steps: &[ScenarioStep], run: &mut Run) {
        let mut failure = None;
        for step in steps {
            self.log_run(run.id, format!("{step}: started")).await;
            match self.carry_out_step(actor, project, step).await {
                Ok(text) => self.log_run(run.id, format!("{step}: {text}")).await,
                Err(error) => {
                    let text = Chain(&error).to_string();
                    self.log_run(run.id, format!("{step}: failed: {text}")).await;
                    failure = Some(match error {
                        // What is not the reader's business stays in the log of the server.
                        AppError::Internal(_) => error.to_string(),
                        _ => text,
                    });
                    break;
                }
            }
            run.steps.done += 1;
            if let Err(error) = self.save_run(run).await {
                tracing::warn!(run = %run.id, error = %Chain(&error), "cannot note how far a scenario is");
            }
        }
        run.state = if failure.is_none() { RunState::Done } else { RunState::Failed };
        run.error = failure;
        run.finished_at = Some(self.inner.clock.now());
        if let Err(error) = self.save_run(run).await {
            tracing::error!(run = %run.id, error = %Chain(&error), "cannot note the end of a scenario");
        }
        let object = format!("scenario {}.{}", run.project, run.scenario);
        let mut entry = self.entry(actor, "scenario.end", object, run.error.clone().unwrap_or_default());
        if run.state == RunState::Failed {
            entry.outcome = AuditOutcome::Failed;
        }
        if let Err(error) = self.note(entry).await {
            tracing::error!(run = %run.id, error = %Chain(&error), "cannot write the audit trail");
        }
        self.announce(&run.project, ProjectEvent::Flow);
        tracing::info!(project = %run.project, scenario = %run.scenario, state = run.state.as_str(), "scenario ended");
    }

    async fn carry_out_step(&self, actor: &Actor, project: &Project, step: &ScenarioStep) -> Result<String, AppError> {
        let key = project.key.as_str();
        match step {
            ScenarioStep::Build { dataset, mode } => {
                let mode = match mode {
                    StepMode::Required => BuildMode::Required,
                    StepMode::Only => BuildMode::Only,
                    StepMode::Force => BuildMode::Force,
                };
                let mut job = self.start_build(actor, key, dataset.as_str(), mode).await?;
                while !job.state.has_ended() {
                    tokio::time::sleep(LOOK_EVERY).await;
                    job = self.build(actor, key, job.id).await?.0;
                }
                match job.state {
                    JobState::Done => Ok("done".to_owned()),
                    state => Err(AppError::Refused(job.error.unwrap_or_else(|| state.as_str().to_owned()))),
                }
            }
            ScenarioStep::Refresh { dataset } => {
                let Some(webapp) = project.webapp_on(dataset) else {
                    return Err(AppError::Refused(format!("no webapp edits `{dataset}` any more")));
                };
                self.reload_original(actor, key, webapp.name.as_str()).await?;
                Ok("done".to_owned())
            }
            ScenarioStep::ResetEdits { dataset } => {
                let events = self.reset_edits(actor, key, dataset.as_str()).await?;
                Ok(format!("done, {events} events are gone"))
            }
            // Its steps stand in its place.
            ScenarioStep::Scenario { .. } => Ok("done".to_owned()),
        }
    }

    async fn save_run(&self, run: &Run) -> Result<(), AppError> {
        let record = ScenarioRun {
            id: run.id,
            project: run.project.clone(),
            scenario: run.scenario.clone(),
            state: run.state.as_str().to_owned(),
            started_by: run.started_by.clone(),
            started_at: run.started_at,
            finished_at: run.finished_at,
            error: run.error.clone(),
            document: serde_json::to_string(&run.steps).map_err(AppError::internal)?,
        };
        Ok(self.inner.node.save_scenario_run(record).await?)
    }

    async fn log_run(&self, id: Uuid, text: String) {
        let line = ScenarioLogLine { at: self.inner.clock.now(), text };
        if let Err(error) = self.inner.node.append_run_log(id, line).await {
            tracing::warn!(run = %id, %error, "cannot keep a line of a scenario's log");
        }
    }
}

/// The steps that are carried out, with those of scenarios that are run in their places. The project's files were checked:
/// no scenario comes back to itself.
fn flatten(project: &Project, scenario: &Scenario, steps: &mut Vec<ScenarioStep>) {
    for step in &scenario.steps {
        match step {
            ScenarioStep::Scenario { scenario } => {
                if let Some(scenario) = project.scenarios.get(scenario) {
                    flatten(project, scenario, steps);
                }
            }
            step => steps.push(step.clone()),
        }
    }
}

fn run_of(record: &ScenarioRun) -> Run {
    Run {
        id: record.id,
        project: record.project.clone(),
        scenario: record.scenario.clone(),
        state: RunState::of(&record.state),
        started_by: record.started_by.clone(),
        started_at: record.started_at,
        finished_at: record.finished_at,
        error: record.error.clone(),
        steps: serde_json::from_str(&record.document).unwrap_or_default(),
    }
}
