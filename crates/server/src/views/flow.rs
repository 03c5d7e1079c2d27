//! The flow and its datasets.

use serde::{Deserialize, Serialize};
use stet_app::{DatasetDetail, Flow, FlowNode, FlowNodeKind, FlowState, Preview};
use utoipa::{IntoParams, ToSchema};

use super::project::RoleView;
use super::{ColumnTypeView, build};

/// The flow of a project as a graph.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlowView {
    nodes: Vec<FlowNodeView>,
    edges: Vec<FlowEdgeView>,
}

/// A node of the flow.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlowNodeView {
    /// The kind and the name, such as `dataset:strikes`.
    id: String,
    kind: FlowKindView,
    name: String,
    /// The place from left to right.
    layer: usize,
    role: Option<RoleView>,
    #[schema(examples("replay", "apply", "sql"))]
    recipe_kind: Option<&'static str>,
    state: Option<StateView>,
    /// Plain words why a dataset is stale, failed or missing.
    reason: Option<String>,
    built_at: Option<String>,
    rows: Option<u64>,
    bytes: Option<u64>,
    path: Option<String>,
    /// How many events there are; of editlogs only.
    events: Option<u64>,
    buildable: bool,
}

/// What a node of the flow is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FlowKindView {
    Dataset,
    Recipe,
    Webapp,
}

/// How a dataset stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateView {
    Source,
    Fresh,
    Stale,
    NeverBuilt,
    Building,
    Failed,
    Missing,
    Live,
}

/// From which node to which.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlowEdgeView {
    from: String,
    to: String,
}

/// A dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatasetView {
    name: String,
    description: String,
    role: Option<RoleView>,
    state: Option<StateView>,
    /// Plain words why it is stale, failed or missing.
    reason: Option<String>,
    columns: Vec<ColumnTypeView>,
    rows: Option<u64>,
    bytes: Option<u64>,
    /// How many events there are; of editlogs only.
    events: Option<u64>,
    #[schema(examples("csv", "parquet", "jsonl"))]
    format: Option<&'static str>,
    path: Option<String>,
    built_at: Option<String>,
    buildable: bool,
    /// What the last build did: its fields depend on the kind of recipe.
    #[schema(value_type = Option<Object>)]
    report: Option<serde_json::Value>,
}

/// Which rows of a dataset.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PreviewQuery {
    /// The place of the first row, from 0.
    #[serde(default)]
    pub(crate) offset: u64,
    /// How many rows, 1,000 at most.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

fn default_limit() -> usize {
    100
}

/// Some rows of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewView {
    columns: Vec<ColumnTypeView>,
    /// Canonical texts; null for null.
    rows: Vec<Vec<Option<String>>>,
    offset: u64,
    /// How many rows there are; null when that is not known.
    total: Option<u64>,
}

impl From<Flow> for FlowView {
    fn from(flow: Flow) -> FlowView {
        FlowView {
            nodes: flow.nodes.into_iter().map(FlowNodeView::from).collect(),
            edges: flow.edges.into_iter().map(|edge| FlowEdgeView { from: edge.from, to: edge.to }).collect(),
        }
    }
}

impl From<FlowNode> for FlowNodeView {
    fn from(node: FlowNode) -> FlowNodeView {
        FlowNodeView {
            id: node.id,
            kind: match node.kind {
                FlowNodeKind::Dataset => FlowKindView::Dataset,
                FlowNodeKind::Recipe => FlowKindView::Recipe,
                FlowNodeKind::Webapp => FlowKindView::Webapp,
            },
            name: node.name,
            layer: node.layer,
            role: node.role.map(RoleView::from),
            recipe_kind: node.recipe_kind,
            state: node.state.map(StateView::from),
            reason: node.reason,
            built_at: node.built_at.map(|date| date.to_string()),
            rows: node.rows,
            bytes: node.bytes,
            path: node.path,
            events: node.events,
            buildable: node.buildable,
        }
    }
}

impl From<FlowState> for StateView {
    fn from(state: FlowState) -> StateView {
        match state {
            FlowState::Source => StateView::Source,
            FlowState::Fresh => StateView::Fresh,
            FlowState::Stale => StateView::Stale,
            FlowState::NeverBuilt => StateView::NeverBuilt,
            FlowState::Building => StateView::Building,
            FlowState::Failed => StateView::Failed,
            FlowState::Missing => StateView::Missing,
            FlowState::Live => StateView::Live,
        }
    }
}

impl From<DatasetDetail> for DatasetView {
    fn from(detail: DatasetDetail) -> DatasetView {
        let DatasetDetail { node, description, columns, key, format, report } = detail;
        DatasetView {
            name: node.name,
            description,
            role: node.role.map(RoleView::from),
            state: node.state.map(StateView::from),
            reason: node.reason,
            columns: columns.iter().map(|column| ColumnTypeView::new(column, &key)).collect(),
            rows: node.rows,
            bytes: node.bytes,
            events: node.events,
            format: format.map(|format| format.ending()),
            path: node.path,
            built_at: node.built_at.map(|date| date.to_string()),
            buildable: node.buildable,
            report: report.as_ref().map(build::report),
        }
    }
}

impl PreviewView {
    pub(crate) fn new(preview: Preview) -> PreviewView {
        PreviewView {
            columns: preview.columns.iter().map(|column| ColumnTypeView::new(column, &[])).collect(),
            rows: preview.rows,
            offset: preview.offset,
            total: preview.total,
        }
    }
}
