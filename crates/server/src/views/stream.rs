//! What travels on live streams. Each message has its name as the event's type.

use serde::Serialize;
use stet_app::webapp::{Hello, Presence};
use uuid::Uuid;

use super::table::{LinksView, RowView};

/// `hello`: how things are when the stream begins.
#[derive(Serialize)]
pub(crate) struct HelloView {
    /// The listener: what presence is sent with.
    session: String,
    version: i64,
    snapshot: String,
    original_changed: bool,
    presence: Vec<PresenceView>,
}

/// `edit`: rows changed.
#[derive(Serialize)]
pub(crate) struct EditView {
    pub(crate) version: i64,
    /// Who made the last of the edits; null when several edits were missed.
    pub(crate) user: Option<String>,
    pub(crate) rows: Vec<RowView>,
    pub(crate) deleted: Vec<String>,
    pub(crate) links: LinksView,
    /// Too many rows to list: ask for the visible ones again.
    pub(crate) invalidate: bool,
}

/// `presence`: everybody else at the table.
#[derive(Serialize)]
pub(crate) struct PresenceListView {
    presence: Vec<PresenceView>,
}

/// Where somebody is.
#[derive(Serialize)]
pub(crate) struct PresenceView {
    user: String,
    name: String,
    session: String,
    key: Option<String>,
    column: Option<String>,
    editing: bool,
}

/// `original`: the original's data changed since it was loaded.
#[derive(Serialize)]
pub(crate) struct OriginalView {
    pub(crate) changed: bool,
}

/// `reloaded`: the original was loaded again.
#[derive(Serialize)]
pub(crate) struct ReloadedView {
    pub(crate) snapshot: String,
    pub(crate) version: i64,
    pub(crate) total: usize,
    pub(crate) user: Option<String>,
}

/// `goodbye`: the stream ends.
#[derive(Serialize)]
pub(crate) struct GoodbyeView {
    pub(crate) reason: &'static str,
}

/// `log`: a line of a build's log.
#[derive(Serialize)]
pub(crate) struct LogView {
    pub(crate) job: String,
    pub(crate) at: String,
    pub(crate) text: String,
}

/// `flow`: the flow has changed.
#[derive(Serialize)]
pub(crate) struct FlowChangedView {}

impl HelloView {
    pub(crate) fn new(session: Uuid, hello: &Hello) -> HelloView {
        HelloView {
            session: session.to_string(),
            version: hello.version,
            snapshot: hello.snapshot.clone(),
            original_changed: hello.original_changed,
            presence: hello.presence.iter().map(PresenceView::from).collect(),
        }
    }
}

impl PresenceListView {
    pub(crate) fn new(presence: &[Presence]) -> PresenceListView {
        PresenceListView { presence: presence.iter().map(PresenceView::from).collect() }
    }
}

impl From<&Presence> for PresenceView {
    fn from(presence: &Presence) -> PresenceView {
        PresenceView {
            user: presence.user.to_string(),
            name: presence.name.clone(),
            session: presence.session.to_string(),
            key: presence.key.clone(),
            column: presence.column.clone(),
            editing: presence.editing,
        }
    }
}
