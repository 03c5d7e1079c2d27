//! Bundles, plans, activations and scenarios.

use serde::{Deserialize, Serialize};
use stet_app::{
    BundleSummary, DeployEvent, DeployPlan, DeployStatus, DeploymentSummary, GivenApproval, Health, HistoryPage,
    HistoryRow, Run, RunState, ScenarioLogLine,
};
use stet_domain::bundle::{Manifest, ObjectDiff};
use stet_domain::scenario::Scenario;
use utoipa::ToSchema;

/// A bundle to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBundleBody {
    /// The release notes.
    #[serde(default)]
    pub(crate) notes: String,
    /// The nodes that it is meant for, by name or id; none for any.
    #[serde(default)]
    pub(crate) targets: Vec<String>,
    /// From when on no node takes it.
    pub(crate) expires: Option<String>,
    /// The datasets whose data is to travel.
    #[serde(default)]
    pub(crate) with_data: Vec<String>,
}

/// The bundles of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BundlesView {
    pub(crate) bundles: Vec<BundleView>,
}

/// The projects that are deployed here, or could be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeploymentsView {
    pub(crate) deployments: Vec<DeploymentSummaryView>,
}

/// A project that is deployed here, or could be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeploymentSummaryView {
    pub(crate) project: String,
    pub(crate) health: HealthView,
    /// How many bundles of it this node has.
    pub(crate) bundles: usize,
}

/// A bundle.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BundleView {
    /// SHA-256 of its manifest, in hexadecimal.
    digest: String,
    project: String,
    /// Counts the bundles of the project on the node that made them.
    sequence: u64,
    /// The node that made it.
    source: String,
    author: String,
    notes: String,
    bytes: u64,
    received_at: String,
    received_by: String,
    made_here: bool,
}

/// A bundle with its manifest.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BundleDetailView {
    #[serde(flatten)]
    bundle: BundleView,
    targets: Vec<String>,
    expires: Option<String>,
    /// The version of Stet that made it.
    stet: String,
    files: Vec<BundleFileView>,
}

/// A file of a bundle.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BundleFileView {
    path: String,
    bytes: u64,
    sha256: String,
}

/// What differs, object by object.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiffView {
    objects: Vec<ObjectDiffView>,
}

/// An object that differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectDiffView {
    /// Such as `webapp`.
    kind: &'static str,
    name: String,
    /// `added`, `changed` or `removed`.
    change: &'static str,
    files: Vec<FileDiffView>,
}

/// A file that differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileDiffView {
    path: String,
    change: &'static str,
    /// The changed lines as a unified diff; null for data.
    diff: Option<String>,
}

/// What an activation would do, or did: see the documentation of deployments for its members.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanView {
    #[schema(value_type = Object)]
    plan: serde_json::Value,
}

/// Edits that would no longer fit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanEditsView {
    rows: Vec<PlanEditView>,
    /// After which event the next page begins; null at the end.
    next: Option<i64>,
}

/// An edit that would no longer fit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanEditView {
    event: i64,
    key: String,
    /// Null for an edit of the whole row.
    column: Option<String>,
    /// Null for a cell that was emptied.
    value: Option<String>,
    /// `not_editable`, `misfit`, `orphan` or `rekeyed`.
    fate: &'static str,
}

impl From<HistoryPage> for PlanEditsView {
    fn from(page: HistoryPage) -> PlanEditsView {
        let row = |row: HistoryRow| PlanEditView {
            event: row.event.0,
            key: row.key,
            column: row.column,
            value: row.value,
            fate: row.fate.as_str(),
        };
        PlanEditsView { rows: page.rows.into_iter().map(row).collect(), next: page.next.map(|event| event.0) }
    }
}

/// An approval that was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovalView {
    #[schema(value_type = Object)]
    approval: serde_json::Value,
}

/// Where to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackBody {
    /// The bundle; without it, the one before the present one.
    pub(crate) to: Option<String>,
}

/// What is deployed to a project, how that is, and how it came to be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeploymentView {
    project: String,
    health: HealthView,
    /// Why.
    reasons: Vec<String>,
    /// What is deployed now.
    deployed: Option<ActivationView>,
    /// What was changed on this node since.
    drift: Vec<DriftView>,
    /// The activations, newest first.
    activations: Vec<ActivationView>,
    /// What happened around bundles, newest first: refusals, too.
    events: Vec<DeployEventView>,
}

/// How a deployed project is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HealthView {
    NotDeployed,
    Healthy,
    Warning,
    OutOfSync,
    Unhealthy,
}

/// An activation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivationView {
    id: String,
    digest: String,
    sequence: u64,
    /// `activate` or `rollback`.
    kind: String,
    /// `started`, `done` or `failed`.
    state: String,
    by: String,
    at: String,
    error: Option<String>,
    approved_by: Vec<String>,
    warnings: Vec<String>,
}

/// Something that was deployed and changed on this node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftView {
    file: String,
    /// `changed` or `removed`.
    change: &'static str,
}

/// Something that happened around bundles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeployEventView {
    id: u64,
    at: String,
    actor: String,
    kind: String,
    digest: Option<String>,
    text: String,
}

/// The scenarios of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScenariosView {
    pub(crate) scenarios: Vec<ScenarioView>,
}

/// A scenario.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScenarioView {
    name: String,
    title: String,
    description: String,
    /// In words, in order.
    steps: Vec<String>,
    /// Whether it comes with a webapp, without a file of its own.
    ready_made: bool,
    /// Whether it empties an editlog.
    resets: bool,
    last_run: Option<RunView>,
}

/// The runs of scenarios.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunsView {
    pub(crate) runs: Vec<RunView>,
}

/// A run of a scenario.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunView {
    id: String,
    scenario: String,
    state: RunStateView,
    started_by: String,
    started_at: String,
    finished_at: Option<String>,
    error: Option<String>,
    /// In words, those of scenarios that it runs included.
    steps: Vec<String>,
    steps_done: usize,
    /// The log, when one run is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Vec<RunLogLineView>>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RunStateView {
    Running,
    Done,
    Failed,
    Interrupted,
}

/// A line of a run's log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunLogLineView {
    at: String,
    text: String,
}

impl From<&BundleSummary> for BundleView {
    fn from(bundle: &BundleSummary) -> BundleView {
        let record = &bundle.record;
        BundleView {
            digest: record.digest.clone(),
            project: record.project.to_string(),
            sequence: record.sequence,
            source: record.source_name.clone(),
            author: record.author.clone(),
            notes: record.notes.clone(),
            bytes: record.bytes,
            received_at: record.received_at.to_string(),
            received_by: record.received_by.clone(),
            made_here: record.made_here,
        }
    }
}

impl BundleDetailView {
    pub(crate) fn new(bundle: &BundleSummary, manifest: &Manifest) -> BundleDetailView {
        let file = |file: &stet_domain::bundle::ManifestFile| BundleFileView {
            path: file.path.clone(),
            bytes: file.bytes,
            sha256: file.sha256.clone(),
        };
        BundleDetailView {
            bundle: bundle.into(),
            targets: manifest.targets.clone(),
            expires: manifest.expires.map(|date| date.to_string()),
            stet: manifest.stet.clone(),
            files: manifest.files.iter().map(file).collect(),
        }
    }
}

impl From<&[ObjectDiff]> for DiffView {
    fn from(objects: &[ObjectDiff]) -> DiffView {
        let object = |object: &ObjectDiff| ObjectDiffView {
            kind: object.kind.as_str(),
            name: object.name.clone(),
            change: object.change.as_str(),
            files: object
                .files
                .iter()
                .map(|file| FileDiffView {
                    path: file.path.clone(),
                    change: file.change.as_str(),
                    diff: file.text.clone(),
                })
                .collect(),
        };
        DiffView { objects: objects.iter().map(object).collect() }
    }
}

impl TryFrom<&DeployPlan> for PlanView {
    type Error = serde_json::Error;
    fn try_from(plan: &DeployPlan) -> Result<PlanView, serde_json::Error> {
        Ok(PlanView { plan: serde_json::to_value(plan)? })
    }
}

impl TryFrom<&GivenApproval> for ApprovalView {
    type Error = serde_json::Error;
    fn try_from(approval: &GivenApproval) -> Result<ApprovalView, serde_json::Error> {
        Ok(ApprovalView { approval: serde_json::to_value(approval)? })
    }
}

impl From<Health> for HealthView {
    fn from(health: Health) -> HealthView {
        match health {
            Health::NotDeployed => HealthView::NotDeployed,
            Health::Healthy => HealthView::Healthy,
            Health::Warning => HealthView::Warning,
            Health::OutOfSync => HealthView::OutOfSync,
            Health::Unhealthy => HealthView::Unhealthy,
        }
    }
}

impl DeploymentView {
    pub(crate) fn new(
        status: DeployStatus,
        activations: &[DeploymentSummary],
        events: &[DeployEvent],
    ) -> DeploymentView {
        let event = |event: &DeployEvent| DeployEventView {
            id: event.id,
            at: event.event.at.to_string(),
            actor: event.event.actor.clone(),
            kind: event.event.kind.clone(),
            digest: event.event.digest.clone(),
            text: event.event.text.clone(),
        };
        DeploymentView {
            project: status.project,
            health: status.health.into(),
            reasons: status.reasons,
            deployed: status.deployed.as_ref().map(ActivationView::from),
            drift: status.drift.into_iter().map(|item| DriftView { file: item.file, change: item.change }).collect(),
            activations: activations.iter().map(ActivationView::from).collect(),
            events: events.iter().map(event).collect(),
        }
    }
}

impl From<&DeploymentSummary> for ActivationView {
    fn from(deployment: &DeploymentSummary) -> ActivationView {
        ActivationView {
            id: deployment.id.clone(),
            digest: deployment.digest.clone(),
            sequence: deployment.sequence,
            kind: deployment.kind.clone(),
            state: deployment.state.clone(),
            by: deployment.by.clone(),
            at: deployment.at.to_string(),
            error: deployment.error.clone(),
            approved_by: deployment.approved_by.clone(),
            warnings: deployment.warnings.clone(),
        }
    }
}

impl ScenarioView {
    pub(crate) fn new(scenario: &Scenario, last: Option<&Run>) -> ScenarioView {
        use stet_domain::scenario::ScenarioStep;
        ScenarioView {
            name: scenario.name.to_string(),
            title: scenario.title.clone(),
            description: scenario.description.clone(),
            steps: scenario.steps.iter().map(ToString::to_string).collect(),
            ready_made: scenario.implied,
            resets: scenario.steps.iter().any(|step| matches!(step, ScenarioStep::ResetEdits { .. })),
            last_run: last.map(RunView::from),
        }
    }
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> RunView {
        RunView {
            id: run.id.to_string(),
            scenario: run.scenario.clone(),
            state: match run.state {
                RunState::Running => RunStateView::Running,
                RunState::Done => RunStateView::Done,
                RunState::Failed => RunStateView::Failed,
                RunState::Interrupted => RunStateView::Interrupted,
            },
            started_by: run.started_by.to_string(),
            started_at: run.started_at.to_string(),
            finished_at: run.finished_at.map(|date| date.to_string()),
            error: run.error.clone(),
            steps: run.steps.planned.clone(),
            steps_done: run.steps.done,
            log: None,
        }
    }
}

impl RunView {
    pub(crate) fn with_log(run: &Run, log: &[ScenarioLogLine]) -> RunView {
        let line = |line: &ScenarioLogLine| RunLogLineView { at: line.at.to_string(), text: line.text.clone() };
        RunView { log: Some(log.iter().map(line).collect()), ..RunView::from(run) }
    }
}
