//! Other nodes, and what is sent to them.

use serde::{Deserialize, Serialize};
use stet_app::{NewTarget, NodeAnswer, Push, PushReport, PushState, Target};
use utoipa::ToSchema;

/// Which node answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeView {
    id: String,
    name: String,
    #[schema(value_type = String, examples("design", "automation"))]
    role: stet_app::NodeRole,
    /// The version of Stet.
    stet: String,
    /// What its clock shows.
    time: String,
}

/// The nodes to which this one sends bundles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TargetsView {
    pub(crate) targets: Vec<TargetView>,
}

/// A node to which this one sends bundles, without its token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TargetView {
    name: String,
    address: String,
    /// Which node has to answer there.
    node_id: String,
    ca_file: Option<String>,
    added_at: String,
    added_by: String,
}

/// A node to add. Without `Debug`, so that its token is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTargetBody {
    name: String,
    /// Such as `https://stet.example.org`.
    address: String,
    node_id: String,
    /// Certificates (PEM) of authorities to trust instead of the system's.
    ca_file: Option<String>,
    /// A deploy token of that node.
    token: String,
}

/// Whether a node can be reached.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TargetTestView {
    works: bool,
    /// Why not.
    reason: Option<String>,
    /// Which node answered.
    node: Option<NodeView>,
    /// How far its clock is ahead of this node's, in seconds; negative when it is behind.
    clock_ahead_s: Option<i64>,
}

/// Where a bundle is to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushBody {
    pub(crate) target: String,
    /// Whether the target is asked to activate it, which the token has to allow.
    #[serde(default)]
    pub(crate) activate: bool,
}

/// A bundle that is being sent, or was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushView {
    id: String,
    digest: String,
    target: String,
    bytes_sent: u64,
    bytes: u64,
    /// `running`, `done` or `failed`.
    state: &'static str,
    /// Why it did not arrive: what the target says, in its words.
    error: Option<String>,
    report: Option<PushReportView>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushReportView {
    /// The name of the node that answered.
    node: String,
    /// Whether it was there already.
    was_there: bool,
    activated: bool,
    warnings: Vec<String>,
}

impl From<&NodeAnswer> for NodeView {
    fn from(node: &NodeAnswer) -> NodeView {
        NodeView {
            id: node.id.to_string(),
            name: node.name.clone(),
            role: node.role,
            stet: node.stet.clone(),
            time: node.time.to_string(),
        }
    }
}

impl From<Target> for TargetView {
    fn from(target: Target) -> TargetView {
        TargetView {
            name: target.name,
            address: target.address,
            node_id: target.node_id.to_string(),
            ca_file: target.ca_file,
            added_at: target.added_at.to_string(),
            added_by: target.added_by,
        }
    }
}

impl From<NewTargetBody> for NewTarget {
    fn from(body: NewTargetBody) -> NewTarget {
        let NewTargetBody { name, address, node_id, ca_file, token } = body;
        NewTarget { name, address, node_id, ca_file, token }
    }
}

impl From<Result<NodeAnswer, String>> for TargetTestView {
    fn from(found: Result<NodeAnswer, String>) -> TargetTestView {
        TargetTestView {
            works: found.is_ok(),
            clock_ahead_s: found.as_ref().ok().map(|node| node.clock_ahead_s),
            node: found.as_ref().ok().map(NodeView::from),
            reason: found.err(),
        }
    }
}

impl From<Push> for PushView {
    fn from(push: Push) -> PushView {
        let (state, error, report) = match push.state {
            PushState::Running => ("running", None, None),
            PushState::Done(report) => ("done", None, Some(PushReportView::from(report))),
            PushState::Failed(reason) => ("failed", Some(reason), None),
        };
        PushView {
            id: push.id.to_string(),
            digest: push.digest,
            target: push.target,
            bytes_sent: push.bytes_sent,
            bytes: push.bytes,
            state,
            error,
            report,
        }
    }
}

impl From<PushReport> for PushReportView {
    fn from(report: PushReport) -> PushReportView {
        let PushReport { node, was_there, activated, warnings, .. } = report;
        PushReportView { node, was_there, activated, warnings }
    }
}
