//! Builds: recipes run one after the other, with progress, a log, and a way to stop them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stet_domain::{Actor, DatasetName, LogDate, Login, ProjectKey};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::access::{BUILD_READERS, BUILDERS};
use crate::datasets::no_dataset;
use crate::error::AppError;
use crate::{App, ProjectEvent};

mod fold;
mod make;
mod run;

pub use run::{BuildReport, ReportFile, ReportFiles};

/// How many builds run at the same time on a node; others wait.
const RUNNING_MAX: usize = 2;

/// How many builds may wait or run.
const OPEN_MAX: usize = 50;

/// How many builds of a project are remembered.
const KEPT_MAX: usize = 200;

/// The most lines of a build's log.
const LOG_LINES_MAX: usize = 1_000;

/// How long the end of the node waits for a build to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The identity of a build.
pub type JobId = Uuid;

/// Which datasets a build makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildMode {
    /// The dataset and all that it is made of, as far as they are not up to date.
    Required,
    /// The dataset alone, whatever it is made of.
    Only,
    /// The dataset and all that it is made of, whether up to date or not.
    Force,
}

impl std::str::FromStr for BuildMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "required" => Ok(BuildMode::Required),
            "only" => Ok(BuildMode::Only),
            "force" => Ok(BuildMode::Force),
            other => Err(format!("`{other}` is not a mode: use required, only or force")),
        }
    }
}

impl BuildMode {
    /// `required`, `only` or `force`.
    pub fn as_str(self) -> &'static str {
        match self {
            BuildMode::Required => "required",
            BuildMode::Only => "only",
            BuildMode::Force => "force",
        }
    }
}

/// How a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for others to end.
    Queued,
    /// Is at work.
    Running,
    /// Has made everything that it was to make.
    Done,
    /// Has stopped at an error; earlier outputs are untouched.
    Failed,
    /// Was stopped by a person, or by the end of the server.
    Cancelled,
}

impl JobState {
    /// As it is written in answers and in the node database.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
    }

    /// Whether the build is over.
    pub fn has_ended(self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }
}

/// How one dataset of a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Is being made.
    Running,
    /// Was made.
    Done,
    /// Was up to date.
    Fresh,
    /// Could not be made.
    Failed,
    /// Was not made because the build was stopped.
    Cancelled,
}

/// A build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its identity.
    pub id: JobId,
    /// The project.
    pub project: ProjectKey,
    /// The dataset that was asked for.
    pub dataset: DatasetName,
    /// Which datasets it makes.
    pub mode: BuildMode,
    /// How it stands.
    pub state: JobState,
    /// Who asked for it.
    pub started_by: Login,
    /// When they did.
    pub started_at: LogDate,
    /// When it ended.
    pub finished_at: Option<LogDate>,
    /// Why it failed, in plain words.
    pub error: Option<String>,
    /// How far it is.
    pub progress: Progress,
    /// The datasets that it makes, in order.
    pub steps: Vec<Step>,
}

/// How far a build is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Datasets done.
    pub step: usize,
    /// Datasets in all.
    pub steps: usize,
    /// The dataset that is being made.
    pub dataset: Option<DatasetName>,
    /// Rows done of it.
    pub rows_done: u64,
    /// Its rows in all, if that is known.
    pub rows_total: Option<u64>,
}

/// One dataset of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The dataset.
    pub dataset: DatasetName,
    /// The recipe that makes it.
    pub recipe: String,
    /// How it stands.
    pub state: StepState,
    /// What was done.
    pub report: Option<BuildReport>,
}

/// A line of a build's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    pub at: LogDate,
    /// What it says.
    pub text: String,
}

/// The builds of a node that wait or run.
pub(crate) struct Builds {
    open: Mutex<BTreeMap<JobId, Arc<OpenJob>>>,
    permits: Arc<Semaphore>,
    /// The one writer of each dataset at a time: a build that would make it waits.
    outputs: Mutex<HashMap<(ProjectKey, DatasetName), OutputLock>>,
}

/// Held by whoever writes a dataset.
type OutputLock = Arc<tokio::sync::Mutex<()>>;

/// A build that waits or runs.
struct OpenJob {
    cancel: Arc<AtomicBool>,
    job: Mutex<Job>,
    /// True when the end of the build is in the node database.
    ended: watch::Sender<bool>,
}

impl OpenJob {
    fn get(&self) -> Job {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Builds {
    pub(crate) fn new() -> Builds {
        Builds { open: Mutex::default(), permits: Arc::new(Semaphore::new(RUNNING_MAX)), outputs: Mutex::default() }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, Arc<OpenJob>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn output_lock(&self, project: &ProjectKey, dataset: &DatasetName) -> OutputLock {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.entry((project.clone(), dataset.clone())).or_default().clone()
    }

    /// The datasets of a project that are being made now.
    pub(crate) fn making(&self, project: &ProjectKey) -> Vec<DatasetName> {
        let jobs: Vec<Job> = self.open().values().map(|job| job.get()).collect();
        jobs.into_iter()
            .filter(|job| job.project == *project && job.state == JobState::Running)
            .filter_map(|job| job.progress.dataset)
            .collect()
    }
}

impl App {
    /// Starts a build and answers at once; watch the project, or ask for the build, to see how it goes.
    ///
    /// # Errors
    /// When there is no such dataset, no recipe makes it, it is being built already, or too many builds wait.
    pub async fn start_build(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        mode: BuildMode,
    ) -> Result<Job, AppError> {
        let project = self.authorise(actor, project, &BUILDERS)?;
        let plan = run::Plan::new(&project, dataset, mode)?;
        if !self.may_know_build(actor, &project, &plan.dataset) {
            return Err(no_dataset(&project, dataset));
        }
        self.may_build(actor, &project, plan.steps.iter().map(|(_, output)| output))?;
        let job = Job {
            id: Uuid::now_v7(),
            project: project.key.clone(),
            dataset: plan.dataset.clone(),
            mode,
            state: JobState::Queued,
            started_by: actor.login.clone(),
            started_at: self.inner.clock.now(),
            finished_at: None,
            error: None,
            progress: Progress { steps: plan.steps.len(), ..Progress::default() },
            steps: plan.steps(),
        };
        let open = Arc::new(OpenJob {
            cancel: Arc::default(),
            job: Mutex::new(job.clone()),
            ended: watch::Sender::new(false),
        });
        {
            let mut all = self.inner.builds.open();
            let same = all
                .values()
                .map(|open| open.get())
                .find(|open| open.project == job.project && open.dataset == job.dataset && !open.state.has_ended());
            if let Some(same) = same {
                return Err(AppError::Conflict(format!(
                    "`{}` is being built already, since {} by {}",
                    job.dataset, same.started_at, same.started_by
                )));
            }
            if all.len() >= OPEN_MAX {
                return Err(AppError::Unavailable(format!(
                    "{OPEN_MAX} builds are waiting: try again when some are done"
                )));
            }
            all.insert(job.id, open.clone());
        }
        let object = format!("dataset {}.{}", job.project, job.dataset);
        let entry = self.entry(actor, "build.start", object, format!("mode {}, build {}", mode.as_str(), job.id));
        let saved = self.inner.node.audited(entry).insert_build(run::record(&job)?).await;
        if let Err(error) = saved {
            self.inner.builds.open().remove(&job.id);
            return Err(error.into());
        }
        self.announce(&job.project, ProjectEvent::Job(Box::new(job.clone())));
        let app = self.clone();
        tokio::spawn(async move { app.run_job(project, plan, open).await });
        Ok(job)
    }

    /// A build and its log.
    ///
    /// # Errors
    /// When there is no such build that the actor may know of.
    pub async fn build(&self, actor: &Actor, project: &str, id: JobId) -> Result<(Job, Vec<LogLine>), AppError> {
        let project = self.authorise(actor, project, &BUILD_READERS)?;
        let running = self.inner.builds.open().get(&id).map(|open| open.get());
        let job = match running {
            Some(job) => job,
            None => match self.inner.node.build(id).await? {
                Some(record) => run::job_of(&record)?,
                None => return Err(AppError::not_found("such build")),
            },
        };
        if job.project != project.key || !self.may_know_build(actor, &project, &job.dataset) {
            return Err(AppError::not_found("such build"));
        }
        let lines = self.inner.node.build_log(id, 0, LOG_LINES_MAX).await?;
        let lines = lines.into_iter().map(|line| LogLine { at: line.at, text: line.text }).collect();
        Ok((job, lines))
    }

    /// The builds of a project, newest first.
    ///
    /// # Errors
    /// When there is no such project that the actor may know of.
    pub async fn list_builds(&self, actor: &Actor, project: &str, limit: usize) -> Result<Vec<Job>, AppError> {
        let project = self.authorise(actor, project, &BUILD_READERS)?;
        let records = self.inner.node.builds(&project.key, limit.min(KEPT_MAX)).await?;
        let mut jobs = records.iter().map(run::job_of).collect::<Result<Vec<Job>, AppError>>()?;
        jobs.retain(|job| self.may_know_build(actor, &project, &job.dataset));
        let open = self.inner.builds.open();
        for job in &mut jobs {
            if let Some(open) = open.get(&job.id) {
                *job = open.get();
            }
        }
        Ok(jobs)
    }

    /// Asks a build to stop. It does so after the rows that it is at; what it had finished before stays.
    ///
    /// # Errors
    /// When there is no such build, or it has ended.
    pub async fn cancel_build(&self, actor: &Actor, project: &str, id: JobId) -> Result<Job, AppError> {
        self.authorise(actor, project, &BUILDERS)?;
        let (job, _) = self.build(actor, project, id).await?;
        let open = self.inner.builds.open().get(&id).cloned();
        match open.filter(|open| !open.get().state.has_ended()) {
            Some(open) => {
                let object = format!("dataset {}.{}", job.project, job.dataset);
                self.note(self.entry(actor, "build.cancel", object, format!("build {id}"))).await?;
                open.cancel.store(true, Ordering::Relaxed);
                self.log(&job, format!("{} asked to stop", actor.login)).await;
                Ok(open.get())
            }
            None => Err(AppError::Conflict("this build has ended".to_owned())),
        }
    }

    /// Marks builds that were running when the server ended as stopped. Called once at the start.
    ///
    /// # Errors
    /// When the node database cannot be used.
    pub async fn recover_builds(&self) -> Result<(), AppError> {
        for key in self.inner.projects.keys() {
            for record in self.inner.node.builds(&key, KEPT_MAX).await? {
                let mut job = run::job_of(&record)?;
                if !job.state.has_ended() {
                    job.state = JobState::Cancelled;
                    job.finished_at = Some(self.inner.clock.now());
                    job.error = Some("the server was stopped before the build ended; build again".to_owned());
                    for step in &mut job.steps {
                        if matches!(step.state, StepState::Running | StepState::Waiting) {
                            step.state = StepState::Cancelled;
                        }
                    }
                    self.inner.node.update_build(&run::record(&job)?).await?;
                }
            }
        }
        Ok(())
    }

    /// Stops all builds and waits until they have noted their end.
    pub(crate) async fn stop_builds(&self) {
        let open: Vec<Arc<OpenJob>> = self.inner.builds.open().values().cloned().collect();
        let mut ends = Vec::new();
        for job in &open {
            job.cancel.store(true, Ordering::Relaxed);
            ends.push(job.ended.subscribe());
        }
        for mut end in ends {
            // A build that is gone has ended, too.
            let _ = tokio::time::timeout(STOP_TIMEOUT, end.wait_for(|ended| *ended)).await;
        }
    }

    async fn log(&self, job: &Job, text: String) {
        let line = LogLine { at: self.inner.clock.now(), text };
        if let Err(error) = self.inner.node.append_build_log(job.id, vec![run::log_line(line.at, &line.text)]).await {
            tracing::warn!(build = %job.id, %error, "cannot keep a line of a build's log");
        }
        self.announce(&job.project, ProjectEvent::Log { job: job.id, dataset: job.dataset.clone(), line });
    }
}
