//! How the node stands.

use serde::Serialize;
use stet_app::webapp::{NodeStatus, OpenTable};
use stet_app::{EditlogStatus, PushStatus, ShippingStatus};
use utoipa::ToSchema;

/// How the node stands. Sizes are in bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusView {
    /// The version of Stet.
    version: &'static str,
    /// The tables that are open, by project and name.
    webapps: Vec<OpenTableView>,
    /// The editlogs in databases, by project and original dataset.
    editlogs: Vec<EditlogStatusView>,
    /// The places that checkpoints are pushed to, without sizes.
    pushes: Vec<PushStatusView>,
    /// Where the audit trail is shipped to.
    audit: Vec<ShippingView>,
    /// What the process has in memory, with the pages of files that are mapped; null where the system does not tell.
    resident_bytes: Option<u64>,
    /// What of that is its own.
    own_bytes: Option<u64>,
    /// Live streams that are open.
    streams: usize,
    limits: StatusLimitsView,
}

/// An open table.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenTableView {
    project: String,
    webapp: String,
    /// Without filters.
    rows: usize,
    /// How many of them the log knows.
    rows_edited: usize,
    /// Memory of its own: orders, and the state of the log, which is an estimate.
    own_bytes: u64,
    /// Files that are mapped into memory, whose pages the system drops when it needs the room.
    mapped_bytes: u64,
    /// Sorted or filtered orders that are kept.
    orders: usize,
    /// What of `own_bytes` they take.
    order_bytes: u64,
    /// The position of the editlog that the table shows.
    log_position: i64,
    /// How many pages show it now.
    listeners: usize,
    last_used: String,
}

/// An editlog in a database: how far it is sealed, and whether it is protected as it was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EditlogStatusView {
    project: String,
    /// The original dataset whose edits are in it.
    dataset: String,
    /// `simple` or `secure`; null before the first check.
    mode: Option<&'static str>,
    /// How many events it has; null when its database was not reached.
    events: Option<u64>,
    /// How many of them the last checkpoint covers.
    sealed: Option<u64>,
    /// How long the first event that it does not cover has been waiting.
    behind_ms: Option<u64>,
    /// What is wrong with its protection, in words.
    protection: Vec<String>,
    /// Why it is not sealed in time, or its database cannot be used.
    alarm: Option<String>,
    /// When what protects it was last checked.
    checked_at: Option<String>,
}

impl From<EditlogStatus> for EditlogStatusView {
    fn from(status: EditlogStatus) -> EditlogStatusView {
        EditlogStatusView {
            project: status.project.to_string(),
            dataset: status.original.to_string(),
            mode: status.mode.map(stet_app::EditlogMode::as_str),
            events: status.seal.map(|seal| seal.events),
            sealed: status.seal.map(|seal| seal.sealed),
            behind_ms: status.seal.and_then(|seal| seal.behind_ms),
            protection: status.protection,
            alarm: status.alarm,
            checked_at: status.checked_at.map(|date| date.to_string()),
        }
    }
}

/// How a log, or all of them, stand at a place that checkpoints are pushed to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushStatusView {
    /// How the place is called.
    place: String,
    /// `folder`, `s3` or `witness`.
    kind: &'static str,
    /// How many events the checkpoint there covers; null if that is not known since the node started.
    size: Option<u64>,
    /// When that was last so.
    reached_at: Option<String>,
    /// Why the last push failed; null if it did not.
    failure: Option<String>,
    /// Since when pushes have failed.
    failing_since: Option<String>,
}

impl From<PushStatus> for PushStatusView {
    fn from(status: PushStatus) -> PushStatusView {
        PushStatusView {
            place: status.place,
            kind: status.kind,
            size: status.size,
            reached_at: status.reached_at.map(|date| date.to_string()),
            failure: status.failure,
            failing_since: status.failing_since.map(|date| date.to_string()),
        }
    }
}

/// How far the audit trail is shipped to one place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShippingView {
    /// The file or the receiver.
    to: String,
    /// The last entry that was shipped; null if that is not known yet.
    shipped: Option<i64>,
    /// How many entries wait.
    waiting: u64,
    /// Why they cannot be shipped; null if they can.
    failure: Option<String>,
    /// Since when.
    failing_since: Option<String>,
    /// Whether entries wait for more than a minute.
    late: bool,
}

impl From<ShippingStatus> for ShippingView {
    fn from(status: ShippingStatus) -> ShippingView {
        ShippingView {
            to: status.to,
            shipped: status.shipped,
            waiting: status.waiting,
            failure: status.failure,
            failing_since: status.failing_since.map(|date| date.to_string()),
            late: status.late,
        }
    }
}

/// The limits that hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusLimitsView {
    /// What the orders of one table may take.
    order_bytes_max: u64,
    /// After how many minutes a table that nobody uses or shows is closed.
    webapp_idle_minutes: u64,
    groups_max: usize,
    page_rows_max: usize,
    streams_max: usize,
}

impl StatusView {
    pub(crate) fn new(status: NodeStatus, streams: usize, streams_max: usize) -> StatusView {
        StatusView {
            version: env!("CARGO_PKG_VERSION"),
            webapps: status.webapps.into_iter().map(OpenTableView::from).collect(),
            editlogs: status.editlogs.into_iter().map(EditlogStatusView::from).collect(),
            pushes: status.pushes.into_iter().map(PushStatusView::from).collect(),
            audit: status.shipping.into_iter().map(ShippingView::from).collect(),
            resident_bytes: status.process.map(|memory| memory.resident_bytes),
            own_bytes: status.process.map(|memory| memory.own_bytes),
            streams,
            limits: StatusLimitsView {
                order_bytes_max: status.limits.order_bytes_max,
                webapp_idle_minutes: status.limits.idle_minutes,
                groups_max: status.limits.groups_max,
                page_rows_max: status.limits.page_rows_max,
                streams_max,
            },
        }
    }
}

impl From<OpenTable> for OpenTableView {
    fn from(table: OpenTable) -> OpenTableView {
        OpenTableView {
            project: table.project.to_string(),
            webapp: table.webapp.to_string(),
            rows: table.rows,
            rows_edited: table.rows_edited,
            own_bytes: table.own_bytes,
            mapped_bytes: table.mapped_bytes,
            orders: table.orders,
            order_bytes: table.order_bytes,
            log_position: table.version,
            listeners: table.listeners,
            last_used: table.last_used.to_string(),
        }
    }
}
