//! The table: opening a webapp, reading its rows, editing them, and hearing of others' edits.

mod edit;
mod feed;
mod log;
mod open;
mod past;
mod read;
mod resolve;
mod rows;
mod start;
mod status;
mod steps;
mod viewer;
mod waits;

pub use edit::{Change, CurrentCell, EDITS_MAX, Edit, EditAnswer, EditRequest, EditResult, SIGNED, Seen, Signature};
pub use feed::{Feed, FeedEvent, Hello, Presence};
pub use log::{LOG_PAGE_MAX, LogFilter, LogPage, REVERT_CHANGES_MAX, RevertChange, RevertPlan, Reverted};
pub use open::OpenWebapps;
pub(crate) use open::find_webapp;
pub use past::AsOf;
pub use read::{ColumnView, Description, History, LinkOptions};
pub use resolve::{EditColumn, Resolved, TableColumn};
pub use rows::{CellEdit, EditState, LinkLabel, LinkLabels, LinkOption, PAGE_ROWS_MAX, Page, Row, RowGroups, Window};
pub use status::{NodeStatus, OpenTable, ProcessMemory, TableLimits};
pub use stet_engine::live::{Count, Filter, Group, GroupQuery, GroupSort, Query, Sort, StateFilter, Step, Test};
pub use viewer::{Asked, Viewer};
pub use waits::WaitProgress;
pub(crate) use waits::Waits;
