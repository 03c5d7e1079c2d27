//! What the open tables take, for those who run the node.

use std::sync::{Arc, PoisonError};

use stet_domain::{Actor, LogDate, ProjectKey, WebappName};
use stet_engine::live::{GROUPS_MAX, PAGE_ROWS_MAX};

use crate::App;
use crate::clock::after_s;
use crate::error::AppError;
use crate::{EditlogStatus, PushStatus, ShippingStatus};

/// How the node stands.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// The tables that are open, by project and name.
    pub webapps: Vec<OpenTable>,
    /// The editlogs in databases, by project and original.
    pub editlogs: Vec<EditlogStatus>,
    /// The places that checkpoints are pushed to, in the order of `stet.toml`.
    pub pushes: Vec<PushStatus>,
    /// Where the audit trail is shipped to.
    pub shipping: Vec<ShippingStatus>,
    /// The memory of the process; none where the system does not tell.
    pub process: Option<ProcessMemory>,
    /// The limits that hold.
    pub limits: TableLimits,
}

/// An open table and what it takes.
#[derive(Debug, Clone)]
pub struct OpenTable {
    /// Its project.
    pub project: ProjectKey,
    /// Its name.
    pub webapp: WebappName,
    /// How many rows it shows without filters.
    pub rows: usize,
    /// Memory of its own, in bytes: the orders, and the state of the log, which is an estimate.
    pub own_bytes: u64,
    /// Files that are mapped into memory, in bytes: the system drops their pages when it needs the room.
    pub mapped_bytes: u64,
    /// The orders of rows that are kept.
    pub orders: usize,
    /// What these take of `own_bytes`.
    pub order_bytes: u64,
    /// The position of the log that it shows; 0 for an empty log.
    pub version: i64,
    /// How many rows the log knows.
    pub rows_edited: usize,
    /// How many pages show it now.
    pub listeners: usize,
    /// When it was last used.
    pub last_used: LogDate,
}

/// The memory of the process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    /// What of it is in memory now, with the pages of mapped files.
    pub resident_bytes: u64,
    /// What of that is its own, without the pages of files.
    pub own_bytes: u64,
}

/// The limits of open tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableLimits {
    /// What the orders of one table may take, in bytes.
    pub order_bytes_max: u64,
    /// After how many minutes a table that nobody uses or shows is closed.
    pub idle_minutes: u64,
    /// The most groups of one table.
    pub groups_max: usize,
    /// The most rows of one page.
    pub page_rows_max: usize,
}

impl App {
    /// How the node stands: the tables that are open, what they take, and the limits.
    ///
    /// # Errors
    /// When the actor is no administrator, or the audit trail cannot be read.
    pub async fn status(&self, actor: &Actor) -> Result<NodeStatus, AppError> {
        self.require_administrator(actor)?;
        let now = self.inner.clock.now();
        let shipping = self.shipping_statuses().await?;
        let slots: Vec<_> = {
            let slots = self.inner.webapps.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().map(|(name, slot)| (name.clone(), slot.clone())).collect()
        };
        let mut webapps: Vec<OpenTable> = slots
            .into_iter()
            .filter_map(|((project, webapp), slot)| {
                // A table that is being opened takes nothing yet that could be told.
                let open = slot.open.try_lock().ok()?.as_ref().map(Arc::clone)?;
                let memory = open.live.memory();
                let idle_s = i64::try_from(open.idle_for().as_secs()).unwrap_or(i64::MAX);
                Some(OpenTable {
                    project,
                    webapp,
                    rows: open.total(),
                    own_bytes: (memory.orders + memory.edits) as u64,
                    mapped_bytes: memory.rows_mapped + memory.index_mapped,
                    orders: memory.orders_kept,
                    order_bytes: memory.orders as u64,
                    version: open.version(),
                    rows_edited: open.live.keys_edited(),
                    listeners: open.board().listeners(),
                    last_used: after_s(now, -idle_s),
                })
            })
            .collect();
        webapps.sort_by(|a, b| (&a.project, &a.webapp).cmp(&(&b.project, &b.webapp)));
        let limits = &self.inner.config.limits;
        Ok(NodeStatus {
            webapps,
            editlogs: self.editlog_statuses(),
            pushes: self.place_statuses(),
            shipping,
            process: process_memory(),
            limits: TableLimits {
                order_bytes_max: limits.order_bytes_max() as u64,
                idle_minutes: limits.webapp_idle_minutes.into(),
                groups_max: GROUPS_MAX,
                page_rows_max: PAGE_ROWS_MAX,
            },
        })
    }
}

/// What Linux tells of the memory of this process.
fn process_memory() -> Option<ProcessMemory> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(ProcessMemory { resident_bytes: kibibytes("VmRSS")? * 1024, own_bytes: kibibytes("RssAnon")? * 1024 })
}
