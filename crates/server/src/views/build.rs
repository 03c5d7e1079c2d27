//! Builds.

use serde::{Deserialize, Serialize};
use stet_app::{BuildMode, BuildReport, Job, JobState, LogLine, StepState};
use utoipa::ToSchema;

/// What to build.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuildBody {
    pub(crate) dataset: String,
    /// `required` without it.
    #[serde(default)]
    pub(crate) mode: ModeView,
}

/// Which datasets a build makes: the dataset and all that it is made of, as far as they are not up to date
/// (`required`); the dataset alone (`only`); all, whether up to date or not (`force`).
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModeView {
    #[default]
    Required,
    Only,
    Force,
}

impl From<ModeView> for BuildMode {
    fn from(mode: ModeView) -> BuildMode {
        match mode {
            ModeView::Required => BuildMode::Required,
            ModeView::Only => BuildMode::Only,
            ModeView::Force => BuildMode::Force,
        }
    }
}

impl From<BuildMode> for ModeView {
    fn from(mode: BuildMode) -> ModeView {
        match mode {
            BuildMode::Required => ModeView::Required,
            BuildMode::Only => ModeView::Only,
            BuildMode::Force => ModeView::Force,
        }
    }
}

/// The builds of a project, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsView {
    pub(crate) jobs: Vec<JobView>,
}

/// A build.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobView {
    id: String,
    project: String,
    dataset: String,
    mode: ModeView,
    state: JobStateView,
    started_by: String,
    started_at: String,
    finished_at: Option<String>,
    /// Why it failed, in plain words.
    error: Option<String>,
    progress: ProgressView,
    steps: Vec<StepView>,
    /// Left out of lists and live messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Vec<LogLineView>>,
}

/// How a build stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobStateView {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

/// How far a build is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressView {
    /// Datasets done.
    step: usize,
    /// Datasets in all.
    steps: usize,
    /// The dataset that is being made.
    dataset: Option<String>,
    rows_done: u64,
    rows_total: Option<u64>,
}

/// One dataset of a build.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    dataset: String,
    recipe: String,
    state: StepStateView,
    /// What was done: its fields depend on the kind of recipe.
    #[schema(value_type = Option<Object>)]
    report: Option<serde_json::Value>,
}

/// How one dataset of a build stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepStateView {
    Waiting,
    Running,
    Done,
    Fresh,
    Failed,
    Cancelled,
}

/// A line of a build's log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogLineView {
    pub(crate) at: String,
    pub(crate) text: String,
}

/// A report as it travels: its own form is that of the API.
pub(crate) fn report(report: &BuildReport) -> serde_json::Value {
    serde_json::to_value(report).unwrap_or_else(|error| {
        tracing::error!(%error, "a build's report cannot be written as JSON");
        serde_json::Value::Null
    })
}

impl From<&LogLine> for LogLineView {
    fn from(line: &LogLine) -> LogLineView {
        LogLineView { at: line.at.to_string(), text: line.text.clone() }
    }
}

impl JobView {
    /// A build with its log.
    pub(crate) fn with_log(job: &Job, log: &[LogLine]) -> JobView {
        JobView { log: Some(log.iter().map(LogLineView::from).collect()), ..JobView::from(job) }
    }
}

impl From<&Job> for JobView {
    fn from(job: &Job) -> JobView {
        let progress = &job.progress;
        JobView {
            id: job.id.to_string(),
            project: job.project.to_string(),
            dataset: job.dataset.to_string(),
            mode: job.mode.into(),
            state: match job.state {
                JobState::Queued => JobStateView::Queued,
                JobState::Running => JobStateView::Running,
                JobState::Done => JobStateView::Done,
                JobState::Failed => JobStateView::Failed,
                JobState::Cancelled => JobStateView::Cancelled,
            },
            started_by: job.started_by.to_string(),
            started_at: job.started_at.to_string(),
            finished_at: job.finished_at.map(|date| date.to_string()),
            error: job.error.clone(),
            progress: ProgressView {
                step: progress.step,
                steps: progress.steps,
                dataset: progress.dataset.as_ref().map(ToString::to_string),
                rows_done: progress.rows_done,
                rows_total: progress.rows_total,
            },
            steps: job.steps.iter().map(StepView::from).collect(),
            log: None,
        }
    }
}

impl From<&stet_app::Step> for StepView {
    fn from(step: &stet_app::Step) -> StepView {
        StepView {
            dataset: step.dataset.to_string(),
            recipe: step.recipe.clone(),
            state: match step.state {
                StepState::Waiting => StepStateView::Waiting,
                StepState::Running => StepStateView::Running,
                StepState::Done => StepStateView::Done,
                StepState::Fresh => StepStateView::Fresh,
                StepState::Failed => StepStateView::Failed,
                StepState::Cancelled => StepStateView::Cancelled,
            },
            report: step.report.as_ref().map(report),
        }
    }
}
