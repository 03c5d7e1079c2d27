//! One build: its plan, and the running of its recipes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stet_domain::apply::ApplyReport;
use stet_domain::project::{Location, Project, Recipe};
use stet_domain::{DatasetName, EventId, LogDate, RecipeName, flow};
use stet_engine::build::ReplayReport;
use stet_engine::control::{Control, Progress as Rows};
use stet_engine::error::EngineError;
use stet_engine::sql::QueryReport;
use stet_engine::write::OutputLock;
use stet_store::node::{AuditOutcome, Build as BuildRecord, NewLogLine};
use tokio::sync::mpsc;

use super::{BuildMode, Job, JobState, KEPT_MAX, OpenJob, Step, StepState};
use crate::datasets::find;
use crate::error::{AppError, Chain};
use crate::{App, ProjectEvent};

/// How often those who watch a build are told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How many of the last builds are looked at for what failed.
const FAILURES_LOOKED_AT: usize = 30;

/// The account of what one recipe did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum BuildReport {
    /// Of a replay.
    Replay {
        /// What it met.
        #[serde(flatten)]
        account: ReplayReport,
        /// What it read and wrote.
        #[serde(flatten)]
        files: ReportFiles,
    },
    /// Of an apply.
    Apply {
        /// What it met.
        #[serde(flatten)]
        account: ApplyReport,
        /// What it read and wrote.
        #[serde(flatten)]
        files: ReportFiles,
    },
    /// Of a query.
    Sql {
        /// What it met.
        #[serde(flatten)]
        account: QueryReport,
        /// What it read and wrote.
        #[serde(flatten)]
        files: ReportFiles,
    },
}

impl BuildReport {
    /// Rows written.
    pub fn rows_out(&self) -> u64 {
        match self {
            BuildReport::Replay { account, .. } => account.rows_out,
            BuildReport::Apply { account, .. } => account.rows_out,
            BuildReport::Sql { account, .. } => account.rows_out,
        }
    }

    /// What it read and wrote.
    pub fn files(&self) -> &ReportFiles {
        match self {
            BuildReport::Replay { files, .. } | BuildReport::Apply { files, .. } | BuildReport::Sql { files, .. } => {
                files
            }
        }
    }
}

/// What a recipe read and wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFiles {
    /// The files read.
    pub inputs: Vec<ReportFile>,
    /// The last event of the editlog that is in the output; none when no editlog was read, or an empty one.
    pub log_position: Option<EventId>,
    /// The file written.
    pub output: ReportFile,
    /// How long it took.
    pub duration_ms: u64,
}

/// A file in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFile {
    /// The dataset that it belongs to.
    pub dataset: String,
    /// Where it is: below the node's folder, or the whole path.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// Which recipes a build runs, in order.
pub(super) struct Plan {
    pub dataset: DatasetName,
    pub steps: Vec<(RecipeName, DatasetName)>,
    mode: BuildMode,
}

impl Plan {
    pub(super) fn new(project: &Project, dataset: &str, mode: BuildMode) -> Result<Plan, AppError> {
        let dataset = find(project, dataset)?.name.clone();
        let Some(own) = project.recipe_of(&dataset) else {
            let what = match project.datasets[&dataset].location {
                Location::Editlog { .. } => "it is an editlog, which grows with every edit".to_owned(),
                _ => "no recipe makes it".to_owned(),
            };
            return Err(AppError::Invalid(format!("`{dataset}` cannot be built: {what}")));
        };
        let recipes = match mode {
            BuildMode::Only => vec![own],
            BuildMode::Required | BuildMode::Force => {
                flow::upstream(project, &dataset).map_err(|cycle| AppError::Invalid(cycle.to_string()))?
            }
        };
        let steps = recipes.into_iter().map(|recipe| (recipe.name.clone(), recipe.output.clone())).collect();
        Ok(Plan { dataset, steps, mode })
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps
            .iter()
            .map(|(recipe, dataset)| Step {
                dataset: dataset.clone(),
                recipe: recipe.to_string(),
                state: StepState::Waiting,
                report: None,
            })
            .collect()
    }
}

/// What of a build the node database keeps as text.
#[derive(Serialize, Deserialize)]
struct Document {
    job: Job,
}

pub(super) fn record(job: &Job) -> Result<BuildRecord, AppError> {
    Ok(BuildRecord {
        id: job.id,
        project: job.project.clone(),
        dataset: job.dataset.clone(),
        mode: job.mode.as_str().to_owned(),
        state: job.state.as_str().to_owned(),
        started_by: job.started_by.clone(),
        started_at: job.started_at,
        finished_at: job.finished_at,
        error: job.error.clone(),
        document: serde_json::to_string(&Document { job: job.clone() }).map_err(AppError::internal)?,
    })
}

pub(super) fn job_of(record: &BuildRecord) -> Result<Job, AppError> {
    let document: Document = serde_json::from_str(&record.document).map_err(AppError::internal)?;
    Ok(document.job)
}

impl App {
    pub(super) async fn run_job(self, project: Arc<Project>, plan: Plan, open: Arc<OpenJob>) {
        let permit = self.inner.builds.permits.clone().acquire_owned().await;
        let result = self.run_steps(&project, &plan, &open).await;
        drop(permit);
        let job = self.change(&open, |job| {
            job.finished_at = Some(self.inner.clock.now());
            job.progress.dataset = None;
            for step in &mut job.steps {
                if matches!(step.state, StepState::Waiting | StepState::Running) {
                    step.state = match (&result, step.state) {
                        (Err(AppError::Data(EngineError::Cancelled)), _) | (_, StepState::Waiting) => {
                            StepState::Cancelled
                        }
                        _ => StepState::Failed,
                    };
                }
            }
            match &result {
                Ok(()) => job.state = JobState::Done,
                Err(AppError::Data(EngineError::Cancelled)) => {
                    job.state = JobState::Cancelled;
                    job.error = Some("stopped on request; what was there before is untouched".to_owned());
                }
                Err(error) => {
                    job.state = JobState::Failed;
                    job.error = Some(error.to_string());
                }
            }
        });
        if let Err(error) = &result {
            tracing::warn!(build = %job.id, dataset = %job.dataset, error = %Chain(error), "a build did not end well");
        }
        let ending = match (&job.state, &job.error) {
            (JobState::Done, _) => "done".to_owned(),
            (_, Some(error)) => error.clone(),
            (state, None) => state.as_str().to_owned(),
        };
        self.log(&job, ending).await;
        let kept = async {
            let mut entry = self.entry_of(None, "build.end", format!("dataset {}.{}", job.project, job.dataset), "");
            entry.user = job.started_by.to_string();
            entry.outcome = if job.state == JobState::Done { AuditOutcome::Done } else { AuditOutcome::Failed };
            entry.detail = format!("build {}: {}", job.id, job.error.as_deref().unwrap_or(job.state.as_str()));
            self.inner.node.audited(entry).update_build(&record(&job)?).await?;
            self.inner.node.purge_builds(&job.project, KEPT_MAX).await?;
            Ok::<_, AppError>(())
        };
        if let Err(error) = kept.await {
            tracing::error!(build = %job.id, error = %Chain(&error), "the end of a build cannot be kept");
        }
        self.inner.builds.open().remove(&job.id);
        open.ended.send_replace(true);
        self.announce(&job.project, ProjectEvent::Job(Box::new(job.clone())));
        self.announce(&job.project, ProjectEvent::Flow);
    }

    async fn run_steps(&self, project: &Arc<Project>, plan: &Plan, open: &Arc<OpenJob>) -> Result<(), AppError> {
        self.check_cancelled(open)?;
        self.change(open, |job| job.state = JobState::Running);
        for (place, (recipe, dataset)) in plan.steps.iter().enumerate() {
            self.check_cancelled(open)?;
            let recipe =
                project.recipes.get(recipe).ok_or_else(|| AppError::not_found(format!("recipe `{recipe}`")))?;
            // The output has one writer at a time; another build of it ends first.
            let lock = self.inner.builds.output_lock(&project.key, dataset);
            let _writing = lock.lock().await;
            let mut is_fresh = plan.mode == BuildMode::Required && self.is_fresh(project, recipe).await?;
            let mut written_alone = None;
            if !is_fresh {
                let (lock, waited) = self.lock_output(project, recipe, open).await?;
                written_alone = Some(lock);
                // The process that was waited for may have built just what is wanted.
                is_fresh = waited && plan.mode == BuildMode::Required && self.is_fresh(project, recipe).await?;
            }
            if is_fresh {
                let job = self.change(open, |job| {
                    job.progress.step = place + 1;
                    job.steps[place].state = StepState::Fresh;
                });
                self.log(&job, format!("{dataset}: up to date")).await;
                continue;
            }
            let job = self.change(open, |job| {
                job.progress.step = place;
                job.progress.dataset = Some(dataset.clone());
                job.progress.rows_done = 0;
                job.progress.rows_total = None;
                job.steps[place].state = StepState::Running;
            });
            self.announce(&project.key, ProjectEvent::Flow);
            self.log(&job, format!("{dataset}: started ({})", recipe.kind.as_str())).await;
            let report = self.make_watched(project, recipe, plan.mode, open).await?;
            drop(written_alone);
            let words = in_words(&report);
            let job = self.change(open, |job| {
                job.progress.step = place + 1;
                job.steps[place].state = StepState::Done;
                job.steps[place].report = Some(report);
            });
            for line in words {
                self.log(&job, format!("{dataset}: {line}")).await;
            }
            self.announce(&project.key, ProjectEvent::Flow);
        }
        Ok(())
    }

    async fn is_fresh(&self, project: &Arc<Project>, recipe: &Recipe) -> Result<bool, AppError> {
        let (app, project, recipe) = (self.clone(), project.clone(), recipe.clone());
        crate::datasets::blocking(move || {
            Ok(app.stale_reasons(&project, &recipe).is_ok_and(|reasons| reasons.is_empty()))
        })
        .await
    }

    /// Keeps other processes from writing the output of a recipe; with it whether one of them had to be waited for.
    async fn lock_output(
        &self,
        project: &Arc<Project>,
        recipe: &Recipe,
        open: &Arc<OpenJob>,
    ) -> Result<(OutputLock, bool), AppError> {
        let output = self.output_path(project, find(project, recipe.output.as_str())?)?;
        let control = Control::new(open.cancel.clone(), |_| {});
        let (sender, mut receiver) = mpsc::channel::<String>(1);
        let taking = tokio::task::spawn_blocking(move || {
            OutputLock::take(&output, &control, |holder| {
                let _ = sender.try_send(holder.to_owned());
            })
        });
        let mut waited = false;
        while let Some(holder) = receiver.recv().await {
            waited = true;
            let job = self.change(open, |job| job.progress.dataset = Some(recipe.output.clone()));
            self.log(&job, format!("{}: waiting for {holder}, which is building it", recipe.output)).await;
        }
        Ok((taking.await.map_err(AppError::internal)??, waited))
    }

    /// Runs a recipe beside the requests, and tells those who watch how far it is.
    async fn make_watched(
        &self,
        project: &Arc<Project>,
        recipe: &Recipe,
        mode: BuildMode,
        open: &Arc<OpenJob>,
    ) -> Result<BuildReport, AppError> {
        let (sender, mut receiver) = mpsc::channel::<Rows>(16);
        let (app, project, recipe, cancel) = (self.clone(), project.clone(), recipe.clone(), open.cancel.clone());
        let work = tokio::task::spawn_blocking(move || {
            let last = std::sync::Mutex::new(Instant::now());
            let progress = move |rows: Rows| {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= PROGRESS_EVERY {
                    *last = Instant::now();
                    // Whoever watches is told the next time if it is too slow now.
                    let _ = sender.try_send(rows);
                }
            };
            app.make(&project, &recipe, mode, &Control::new(cancel, progress))
        });
        while let Some(rows) = receiver.recv().await {
            self.change(open, |job| {
                job.progress.rows_done = rows.rows_done;
                job.progress.rows_total = rows.rows_total;
            });
        }
        work.await.map_err(AppError::internal)?
    }

    /// Says of data that is not there how to get it, when a recipe makes it.
    pub(crate) fn explain_missing(&self, project: &Project, error: EngineError) -> AppError {
        if let EngineError::Missing { dataset, .. } = &error {
            let made = DatasetName::new(dataset.as_str()).ok().filter(|name| project.recipe_of(name).is_some());
            return AppError::Conflict(match made {
                Some(name) => format!(
                    "`{name}` has not been built yet: build it first, in the flow or with `stet build {}.{name}`",
                    project.key
                ),
                None => format!("`{dataset}` has no data: its file is not where the project says it is"),
            });
        }
        error.into()
    }

    pub(crate) fn shown_path(&self, path: &Path) -> String {
        path.strip_prefix(self.inner.folder.root()).unwrap_or(path).display().to_string()
    }

    fn check_cancelled(&self, open: &OpenJob) -> Result<(), AppError> {
        if open.cancel.load(Ordering::Relaxed) { Err(AppError::Data(EngineError::Cancelled)) } else { Ok(()) }
    }

    fn change(&self, open: &OpenJob, change: impl FnOnce(&mut Job)) -> Job {
        let job = {
            let mut job = open.job.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut job);
            job.clone()
        };
        self.announce(&job.project, ProjectEvent::Job(Box::new(job.clone())));
        job
    }

    /// The datasets whose last build failed: when, and why.
    pub(crate) async fn failed_datasets(
        &self,
        project: &Project,
    ) -> Result<BTreeMap<DatasetName, (LogDate, String)>, AppError> {
        let mut last: BTreeMap<DatasetName, Option<(LogDate, String)>> = BTreeMap::new();
        for record in self.inner.node.builds(&project.key, FAILURES_LOOKED_AT).await? {
            let job = job_of(&record)?;
            for step in &job.steps {
                let failure = match step.state {
                    StepState::Failed => {
                        Some((job.finished_at.unwrap_or(job.started_at), job.error.clone().unwrap_or_default()))
                    }
                    StepState::Done | StepState::Fresh => None,
                    _ => continue,
                };
                last.entry(step.dataset.clone()).or_insert(failure);
            }
        }
        Ok(last.into_iter().filter_map(|(dataset, failure)| Some((dataset, failure?))).collect())
    }

    /// Builds in order, waiting for the end: for the shell and for tests.
    ///
    /// # Errors
    /// Those of [`App::start_build`]; how the build went is in the job.
    pub async fn build_and_wait(
        &self,
        actor: &stet_domain::Actor,
        project: &str,
        dataset: &str,
        mode: BuildMode,
    ) -> Result<Job, AppError> {
        let mut events = self.watch_project(actor, project)?;
        let started = self.start_build(actor, project, dataset, mode).await?;
        loop {
            match events.recv().await {
                Ok(ProjectEvent::Job(job)) if job.id == started.id && job.state.has_ended() => return Ok(*job),
                Ok(_) => {}
                Err(_) => {
                    let (job, _) = self.build(actor, project, started.id).await?;
                    if job.state.has_ended() {
                        return Ok(job);
                    }
                    events = self.watch_project(actor, project)?;
                }
            }
        }
    }
}

/// The account of a recipe as lines of a log.
fn in_words(report: &BuildReport) -> Vec<String> {
    let files = report.files();
    let took = format!("{} rows in {} ms", report.rows_out(), files.duration_ms);
    let mut lines = match report {
        BuildReport::Sql { .. } => vec![took],
        BuildReport::Replay { account, .. } => vec![format!("{took}, of {} events", account.events)],
        BuildReport::Apply { account, .. } => vec![format!(
            "{took}; {} edits applied, {} rows created, {} deleted",
            account.edits_applied, account.rows_created, account.rows_deleted
        )],
    };
    let mut warn = |count: u64, what: &str| {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    };
    if let BuildReport::Apply { account, .. } = report {
        warn(account.orphans.count, "edits of rows that are not in the original");
        warn(account.misfits.count, "edits that no longer fit their column");
        warn(account.not_editable.count, "edits of columns that are no longer editable");
        warn(account.stale.source_changed, "edits over values that have changed in the original since");
    }
    lines
}

pub(super) fn log_line(at: LogDate, text: &str) -> NewLogLine {
    NewLogLine { at, text: text.to_owned() }
}
