//! What those who look at a table hear as it happens: edits, who is where, and news of the original.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stet_domain::{Actor, Login};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::rows::Row;
use crate::App;
use crate::error::AppError;

/// How far a listener may fall behind before it has to look at the table anew.
const EVENTS_MAX: usize = 1024;

/// The most listeners of one table.
const LISTENERS_MAX: usize = 2_000;

/// Something that happened to a table.
#[derive(Debug, Clone)]
pub enum FeedEvent {
    /// Rows changed.
    Edit {
        /// The position of the log that the rows show.
        version: i64,
        /// Who made the last of the edits.
        user: Login,
        /// The rows as they are now.
        rows: Arc<Vec<Row>>,
        /// The keys of rows that are no longer there.
        deleted: Arc<Vec<String>>,
        /// Too many rows to list: look at the table anew.
        invalidate: bool,
    },
    /// Somebody came, went or moved: see [`Feed::presence`].
    Presence,
    /// The original's data changed since it was loaded.
    Original,
    /// The original was loaded again.
    Reloaded {
        /// Its identity.
        snapshot: String,
        /// The position of the log.
        version: i64,
        /// How many rows there are.
        total: usize,
        /// Who asked for it; none when the node did it itself, after a change of the settings.
        user: Option<Login>,
    },
    /// The node is ending.
    Closed,
}

/// Where somebody is in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Who.
    pub user: Login,
    /// The name to show.
    pub name: String,
    /// Which of their open pages.
    pub session: Uuid,
    /// The row, if they are in one.
    pub key: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// Whether they are changing the cell.
    pub editing: bool,
}

/// How things are when a listener begins.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The position of the log.
    pub version: i64,
    /// The identity of the original that is loaded.
    pub snapshot: String,
    /// Whether the original's data changed since.
    pub original_changed: bool,
    /// Who else is there.
    pub presence: Vec<Presence>,
}

/// A listener's place at a table. When it is dropped, the others no longer see the listener.
pub struct Feed {
    /// How things are now.
    pub hello: Hello,
    /// What happens from now on.
    pub receiver: broadcast::Receiver<FeedEvent>,
    /// Which open page this is.
    pub session: Uuid,
    board: Arc<Board>,
}

impl Feed {
    /// Everybody at the table but this listener.
    pub fn presence(&self) -> Vec<Presence> {
        self.board.others(self.session)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.board.leave(self.session);
    }
}

/// Who is at a table, and the way to tell them things. Shared by the table and its listeners.
#[derive(Debug)]
pub(super) struct Board {
    sender: broadcast::Sender<FeedEvent>,
    present: Mutex<BTreeMap<Uuid, Presence>>,
}

impl Board {
    pub(super) fn new() -> Arc<Board> {
        Arc::new(Board { sender: broadcast::channel(EVENTS_MAX).0, present: Mutex::default() })
    }

    pub(super) fn announce(&self, event: FeedEvent) {
        // Nobody listening is no failure.
        let _ = self.sender.send(event);
    }

    pub(super) fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub(super) fn listeners(&self) -> usize {
        self.present().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present().is_empty()
    }

    pub(super) fn join(self: &Arc<Board>, actor: &Actor, hello: Hello) -> Result<Feed, AppError> {
        let session = Uuid::now_v7();
        let receiver = self.sender.subscribe();
        {
            let mut present = self.present();
            if present.len() >= LISTENERS_MAX {
                return Err(AppError::Unavailable("too many people have this table open: try again later".to_owned()));
            }
            present.insert(
                session,
                Presence {
                    user: actor.login.clone(),
                    name: actor.display_name.clone(),
                    session,
                    key: None,
                    column: None,
                    editing: false,
                },
            );
        }
        self.announce(FeedEvent::Presence);
        let hello = Hello { presence: self.others(session), ..hello };
        Ok(Feed { hello, receiver, session, board: self.clone() })
    }

    fn leave(&self, session: Uuid) {
        self.present().remove(&session);
        self.announce(FeedEvent::Presence);
    }

    /// Moves somebody; a session that is not the actor's own stays where it is.
    fn move_to(
        &self,
        actor: &Actor,
        session: Uuid,
        key: Option<String>,
        column: Option<String>,
        editing: bool,
    ) -> bool {
        let mut present = self.present();
        let Some(presence) = present.get_mut(&session).filter(|presence| presence.user == actor.login) else {
            return false;
        };
        let before = presence.clone();
        presence.key = key;
        presence.column = column;
        presence.editing = editing;
        let moved = *presence != before;
        drop(present);
        if moved {
            self.announce(FeedEvent::Presence);
        }
        true
    }

    fn others(&self, session: Uuid) -> Vec<Presence> {
        self.present().values().filter(|presence| presence.session != session).cloned().collect()
    }

    fn present(&self) -> MutexGuard<'_, BTreeMap<Uuid, Presence>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Begins to listen to a table.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or too many listen already.
    pub async fn subscribe(&self, actor: &Actor, project: &str, webapp: &str) -> Result<Feed, AppError> {
        let viewer = self.viewer(actor, project, webapp).await?;
        let open = self.open_webapp(actor, project, webapp).await?;
        let hello = Hello {
            version: open.version(),
            snapshot: open.snapshot(),
            original_changed: open.original_changed(),
            presence: Vec::new(),
        };
        let mut feed = open.board().join(actor, hello)?;
        feed.hello.presence = viewer.presence(std::mem::take(&mut feed.hello.presence));
        Ok(feed)
    }

    /// Tells the others at a table where a listener is.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or the listener is not the actor's.
    #[allow(clippy::too_many_arguments)]
    pub async fn set_presence(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        session: Uuid,
        key: Option<String>,
        column: Option<String>,
        editing: bool,
    ) -> Result<(), AppError> {
        let open = self.open_webapp(actor, project, webapp).await?;
        // A place that is not in the table is nobody's business.
        let column = column.filter(|column| open.resolved.place(column).is_some());
        let key = key.filter(|key| key.len() <= stet_domain::key::KEY_BYTES_MAX);
        if open.board().move_to(actor, session, key, column, editing) {
            Ok(())
        } else {
            Err(AppError::not_found("such listener: open the table's event stream first"))
        }
    }
}
