//! Opening a webapp: its original as a snapshot, its editlog replayed over it, its linked datasets, and what keeps them
//! up to date.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use stet_domain::access::{Use, may_read_dataset};
use stet_domain::project::{Project, Webapp};
use stet_domain::{Actor, ActorKind, DatasetName, EventId, Key, Login, ProjectKey, WebappName};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::live::{LinkIndex, LiveTable, TableLimits};
use stet_engine::read::{FileSource, Fingerprint};
use stet_engine::snapshot::Snapshot;
use stet_store::Editlog;
use tokio::sync::watch;

use super::feed::{Board, FeedEvent};
use super::past::Past;
use super::read::table_spec;
use super::resolve::Resolved;
use super::rows::Row;
use crate::App;
use crate::datasets::{blocking, find};
use crate::editlogs::EditlogPlace;
use crate::error::{AppError, Chain};
use crate::tables::{DatabaseTable, WatchedTable};

/// How often the original's files are looked at for a change.
const LOOK_AT_ORIGINAL: Duration = Duration::from_secs(1);

/// How often an editlog that was not there is looked for.
const LOOK_FOR_EDITLOG: Duration = Duration::from_secs(1);

/// The shortest time for which a table stays open: whoever has just opened it is about to use it.
const IDLE_MIN: Duration = Duration::from_secs(2);

/// How many events are read from the log at a time.
pub(super) const EVENTS_AT_ONCE: usize = 10_000;

/// More events than these are taken on a thread of its own: every order that is kept is merged anew.
const EVENTS_IN_PASSING_MAX: usize = 256;

/// The most changed rows that listeners are sent; with more they are told to look anew.
const ANNOUNCED_ROWS_MAX: usize = 200;

/// The tables that are open.
#[derive(Default)]
pub struct OpenWebapps {
    pub(super) slots: Mutex<HashMap<(ProjectKey, WebappName), Arc<Slot>>>,
}

impl OpenWebapps {
    /// Closes the table over an original, whose log is another one now: listeners are told, and come back to a new table.
    pub(crate) fn forget(&self, project: &ProjectKey, original: &DatasetName) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(key, _), slot| {
            let Ok(open) = slot.open.try_lock() else { return true };
            let Some(open) = open.as_ref() else { return true };
            let is_it = key == project && open.resolved.webapp.original == *original;
            if is_it {
                open.board.announce(FeedEvent::Closed);
            }
            !is_it
        });
    }

    /// Closes all tables: the next request opens them anew. Listeners are told to come again.
    pub(crate) fn close_all(&self) {
        self.close();
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Tells all listeners that the node is ending.
    pub(crate) fn close(&self) {
        let slots: Vec<Arc<Slot>> =
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for slot in slots {
            // A table that is being opened has no listeners yet.
            if let Ok(open) = slot.open.try_lock()
                && let Some(open) = open.as_ref()
            {
                open.board.announce(FeedEvent::Closed);
            }
        }
    }
}

/// The place of one open table; its lock makes sure that it is opened once.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) open: tokio::sync::Mutex<Option<Arc<OpenWebapp>>>,
}

/// A table as it is open: one loading of its original. When the original is loaded again, another takes its place, and
/// requests that began on this one end on it.
pub struct OpenWebapp {
    /// The settings, held against the original.
    pub resolved: Arc<Resolved>,
    /// None when it is in a database and nobody has made it: the table is read only then.
    editlog: Option<Editlog>,
    /// Why nothing can be edited for now.
    pub(super) waiting: Option<String>,
    /// When it was last looked whether the editlog has been made.
    looked_for_editlog: Mutex<Instant>,
    pub(super) links: BTreeMap<String, Arc<LinkIndex>>,
    pub(super) live: LiveTable,
    pub(super) past: Past,
    project: ProjectKey,
    source: FileSource,
    /// Where the linked datasets were read from, and what they were then.
    link_sources: Vec<(FileSource, Fingerprint)>,
    /// The original, if it is in a database, and the linked datasets that are.
    original_table: Option<Arc<WatchedTable>>,
    link_tables: Arc<Vec<WatchedTable>>,
    board: Arc<Board>,
    /// Where the log ends, as far as the store knows.
    position: watch::Receiver<Option<EventId>>,
    /// The project whose files `resolved` was last held against.
    checked: Mutex<Weak<Project>>,
    /// Events are taken from the log by one at a time, so that they come in order.
    turn: tokio::sync::Mutex<()>,
    original_changed: AtomicBool,
    /// It does not speak to the listeners: another loading has taken its place, or it is not in place yet.
    silent: AtomicBool,
    used: Mutex<Instant>,
}

/// What an actor is told of a table that cannot be opened. What is wrong with an original is told with its places and values:
/// its keys to those who see all rows, anything else to those who read the dataset.
fn told_to(actor: &Actor, project: &Project, webapp: &str, error: AppError) -> AppError {
    let AppError::Data(reason) = &error else { return error };
    let Ok((_, definition)) = find_webapp(project, webapp) else { return error };
    let told = match reason {
        EngineError::Keys { .. } => definition.see.is_none(),
        _ => false,
    };
    if told || may_read_dataset(actor, project, &definition.original) {
        return error;
    }
    tracing::warn!(error = %Chain(&error), webapp, "a table cannot be opened");
    AppError::Unavailable("the rows of this table cannot be read at present: tell its designer".to_owned())
}

impl App {
    /// The open table of a webapp; opens it if it is not.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, its settings do not fit its original, or the original
    /// cannot be read.
    pub(crate) async fn open_webapp(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
    ) -> Result<Arc<OpenWebapp>, AppError> {
        let project = self.authorise_webapp(actor, project, webapp, Use::View)?;
        let found = Arc::clone(&project);
        self.open_table(project, webapp).await.map_err(|error| told_to(actor, &found, webapp, error))
    }

    /// The open table of a webapp, whoever asks; opens it if it is not.
    pub(super) async fn open_table(&self, project: Arc<Project>, webapp: &str) -> Result<Arc<OpenWebapp>, AppError> {
        let (name, definition) = find_webapp(&project, webapp)?;
        let slot = self.slot(&project.key, name);
        let mut place = slot.open.lock().await;
        if let Some(open) = place.as_ref() {
            let is_current = open.was_checked_against(&project)
                || (open.resolved.webapp == *definition && open.is_of(self, &project));
            if is_current && !self.editlog_was_made(open, &project).await {
                open.touch(&project);
                return Ok(open.clone());
            }
            // The settings changed, or the editlog was made: the table is opened anew, and its listeners go on there.
            let next = self.load(&project, definition, open.board.clone()).await?;
            return Ok(replace(&mut place, next, None).await);
        }
        let open = Arc::new(self.load(&project, definition, Board::new()).await?);
        *place = Some(open.clone());
        drop(place);
        self.keep_up(Arc::downgrade(&slot), (project.key.clone(), name.clone()));
        Ok(open)
    }

    /// Loads the original of a webapp again, for everybody who has it open.
    ///
    /// # Errors
    /// As when the webapp is opened; what was open stays then.
    pub async fn reload_original(&self, actor: &Actor, project: &str, webapp: &str) -> Result<String, AppError> {
        let found = self.authorise_webapp(actor, project, webapp, Use::Edit)?;
        // Loading takes long: whoever is not known does not make the node work.
        if actor.kind == ActorKind::Visitor {
            return Err(AppError::NotSignedIn);
        }
        let open = self.open_webapp(actor, project, webapp).await?;
        let project = found;
        let (name, definition) = find_webapp(&project, webapp)?;
        let slot = self.slot(&project.key, name);
        // The new snapshot is made beside the old one, which goes on serving.
        let next = self.load(&project, definition, open.board.clone()).await;
        let next = next.map_err(|error| told_to(actor, &project, webapp, error))?;
        let object = format!("dataset {}.{}", project.key, definition.original);
        self.note(self.entry(actor, "original.reload", object, format!("by webapp {webapp}"))).await?;
        let mut place = slot.open.lock().await;
        Ok(replace(&mut place, next, Some(actor.login.clone())).await.snapshot())
    }

    /// Whether a table that has no editlog can have one now. It is looked for once in a while.
    async fn editlog_was_made(&self, open: &OpenWebapp, project: &Project) -> bool {
        if open.editlog.is_some() {
            return false;
        }
        {
            let mut looked = open.looked_for_editlog.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.elapsed() < LOOK_FOR_EDITLOG {
                return false;
            }
            *looked = Instant::now();
        }
        let original = &open.resolved.webapp.original;
        match self.editlogs(project, original).await {
            Ok(editlogs) => editlogs.is_initialised(original).await.unwrap_or(false),
            Err(_) => false,
        }
    }

    fn slot(&self, project: &ProjectKey, webapp: &WebappName) -> Arc<Slot> {
        let mut slots = self.inner.webapps.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry((project.clone(), webapp.clone())).or_default().clone()
    }

    async fn load(&self, project: &Arc<Project>, webapp: &Webapp, board: Arc<Board>) -> Result<OpenWebapp, AppError> {
        let place = self.editlog_place(project, &webapp.original)?;
        let is_ours = matches!(place, EditlogPlace::Node(_));
        // Asked with a connection of its own, which is closed again: one that stays would keep the new table in the journal.
        let original = webapp.original.clone();
        let is_new = is_ours && !blocking(move || place.is_initialised(&original)).await?;
        let editlogs = self.editlogs(project, &webapp.original).await?;
        let editlog = if is_ours {
            let editlog = editlogs.initialise(&webapp.original).await?;
            if is_new {
                let object = format!("dataset {}.{}", project.key, webapp.original.editlog());
                self.note(self.entry_of(None, "editlog.init", object, "when its table was first opened")).await?;
            }
            Some(editlog)
        } else if editlogs.is_initialised(&webapp.original).await? {
            Some(editlogs.editlog(&webapp.original).await?)
        } else {
            None
        };
        let waiting = editlog.is_none().then(|| self.not_initialised(project, &webapp.original));
        let position = match &editlog {
            Some(editlog) => editlog.watch(),
            // It never moves.
            None => watch::channel(None).1,
        };
        let (app, project, webapp, log) = (self.clone(), project.clone(), webapp.clone(), editlog.clone());
        blocking(move || {
            let explain = |error| app.explain_missing(&project, error);
            let original = find(&project, webapp.original.as_str())?;
            let source = app.ready_source(&project, original)?;
            let original_table = app.database_table(&project, original)?.map(DatabaseTable::watch).transpose()?;
            let columns = source.columns().map_err(explain)?;
            let resolved = Arc::new(Resolved::new(&webapp, &columns)?);
            let unwatched = Control::unwatched();
            let cache = app.inner.folder.cache(&project.key);
            let snapshot = Snapshot::open(&source, &webapp.primary_keys, &cache, &unwatched).map_err(explain)?;

            let mut links = BTreeMap::new();
            let mut by_link: HashMap<_, Arc<LinkIndex>> = HashMap::new();
            let mut link_sources = Vec::new();
            let mut link_tables = Vec::new();
            for editable in &webapp.editable {
                let Some(link) = &editable.link else { continue };
                let known = (link.dataset.clone(), link.key.clone(), link.label.clone(), link.lookups.clone());
                let index = match by_link.get(&known) {
                    Some(index) => index.clone(),
                    None => {
                        let linked = find(&project, link.dataset.as_str())?;
                        let source = app.ready_source(&project, linked)?;
                        if let Some(table) = app.database_table(&project, linked)? {
                            link_tables.push(table.watch()?);
                        }
                        let index = LinkIndex::load(&source, &link.key, &link.label, &link.lookups, &unwatched)
                            .map_err(explain)?;
                        let index = Arc::new(index);
                        link_sources.push((source, index.fingerprint().clone()));
                        by_link.insert(known, index.clone());
                        index
                    }
                };
                links.insert(editable.column.clone(), index);
            }

            let limits =
                TableLimits { order_bytes_max: app.inner.config.limits.order_bytes_max(), ..TableLimits::default() };
            let live = LiveTable::open_with(snapshot, &table_spec(&resolved, &links), limits)?;
            if let Some(log) = &log {
                let mut events = Vec::new();
                log.reader()?.scan(None, None, &mut |event| {
                    events.push(event);
                    if events.len() == EVENTS_AT_ONCE {
                        live.push(&events);
                        events.clear();
                    }
                    ControlFlow::Continue(())
                })?;
                live.push(&events);
            }
            Ok(OpenWebapp {
                resolved,
                editlog: log,
                waiting,
                looked_for_editlog: Mutex::new(Instant::now()),
                links,
                live,
                past: Past::default(),
                project: project.key.clone(),
                source,
                link_sources,
                original_table: original_table.map(Arc::new),
                link_tables: Arc::new(link_tables),
                board,
                position,
                checked: Mutex::new(Arc::downgrade(&project)),
                turn: tokio::sync::Mutex::new(()),
                original_changed: AtomicBool::new(false),
                silent: AtomicBool::new(false),
                used: Mutex::new(Instant::now()),
            })
        })
        .await
    }

    /// Follows the editlog and the original of an open table until nobody looks at it for a while.
    fn keep_up(&self, slot: Weak<Slot>, name: (ProjectKey, WebappName)) {
        let app = self.clone();
        tokio::spawn(async move {
            let mut looked = tokio::time::interval(LOOK_AT_ORIGINAL);
            let mut position = None;
            loop {
                let moved = tokio::select! {
                    moved = moves(&mut position) => {
                        if !moved {
                            return;
                        }
                        true
                    }
                    _ = looked.tick() => false,
                };
                let Some(open) = current(&slot).await else { return };
                if position.is_none()
                    && let Some(editlog) = &open.editlog
                {
                    // What was appended between the opening and the watching is taken at the first look.
                    position.insert(editlog.watch()).mark_changed();
                }
                if moved {
                    open.follow().await;
                    continue;
                }
                open.past.forget_old();
                open.look_at_original().await;
                if open.links_changed().await
                    && let Err(error) = app.reload_links(&slot, &name).await
                {
                    tracing::warn!(project = %name.0, webapp = %name.1, error = %Chain(&error), "cannot read linked datasets again");
                }
                drop(open);
                if app.release_idle(&slot, &name).await {
                    return;
                }
            }
        });
    }
}

impl App {
    /// Closes a table that nobody uses or shows; the next request opens it again. Whether it did.
    async fn release_idle(&self, slot: &Weak<Slot>, name: &(ProjectKey, WebappName)) -> bool {
        let Some(slot) = slot.upgrade() else { return true };
        let idle = Duration::from_secs(u64::from(self.inner.config.limits.webapp_idle_minutes) * 60).max(IDLE_MIN);
        let mut place = slot.open.lock().await;
        match place.as_ref() {
            Some(open) if open.board.is_empty() && open.idle_for() > idle => {
                open.live.close();
                tracing::info!(project = %name.0, webapp = %name.1, "closed a table that nobody uses");
            }
            _ => return false,
        }
        // The place itself stays, for whoever has got hold of it meanwhile: they open the table anew.
        *place = None;
        true
    }

    /// Opens a table anew after a linked dataset changed: its rows are choices, so nobody has to be asked. An original that
    /// changed at the same time waits for somebody to load it.
    async fn reload_links(&self, slot: &Weak<Slot>, name: &(ProjectKey, WebappName)) -> Result<(), AppError> {
        let Some(open) = current(slot).await.filter(|open| !open.original_changed()) else { return Ok(()) };
        let project = self.inner.projects.get(&name.0)?;
        let (_, definition) = find_webapp(&project, name.1.as_str())?;
        // Made beside the table that is open, which goes on serving.
        let next = self.load(&project, definition, open.board.clone()).await?;
        let Some(slot) = slot.upgrade() else { return Ok(()) };
        let mut place = slot.open.lock().await;
        // Somebody may have loaded everything anew meanwhile.
        if place.as_ref().is_some_and(|now| Arc::ptr_eq(now, &open)) {
            replace(&mut place, next, None).await;
        }
        Ok(())
    }
}

/// Puts a newly loaded table in the place of the one that is open, and tells the listeners.
async fn replace(place: &mut Option<Arc<OpenWebapp>>, next: OpenWebapp, user: Option<Login>) -> Arc<OpenWebapp> {
    let next = Arc::new(next);
    // Most of what was appended while it was loaded is taken before anybody sees it.
    next.silent.store(true, Ordering::SeqCst);
    next.follow().await;
    if let Some(before) = place.replace(next.clone()) {
        before.silent.store(true, Ordering::SeqCst);
        before.live.close();
    }
    next.silent.store(false, Ordering::SeqCst);
    next.board.announce(FeedEvent::Reloaded {
        snapshot: next.snapshot(),
        version: next.version(),
        total: next.total(),
        user,
    });
    // And what came between: the table before may have taken it alone.
    next.follow().await;
    next
}

/// Waits until a log moves; for ever, if there is none. False when it will move no more.
async fn moves(watch: &mut Option<watch::Receiver<Option<EventId>>>) -> bool {
    match watch {
        Some(watch) => watch.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

async fn current(slot: &Weak<Slot>) -> Option<Arc<OpenWebapp>> {
    slot.upgrade()?.open.lock().await.clone()
}

pub(crate) fn find_webapp<'a>(project: &'a Project, webapp: &str) -> Result<(&'a WebappName, &'a Webapp), AppError> {
    WebappName::new(webapp)
        .ok()
        .and_then(|name| project.webapps.get_key_value(&name))
        .ok_or_else(|| AppError::not_found(format!("webapp `{webapp}` in project `{}`", project.key)))
}

impl OpenWebapp {
    /// The editlog.
    ///
    /// # Errors
    /// When it is in a database and nobody has made it yet, with what to do.
    pub(super) fn editlog(&self) -> Result<&Editlog, AppError> {
        self.editlog.as_ref().ok_or_else(|| AppError::Conflict(self.waiting.clone().unwrap_or_default()))
    }

    /// Takes what is new in the editlog, as far as the store knows of it, and tells the listeners.
    pub(super) async fn follow(self: &Arc<Self>) {
        let position = *self.position.borrow();
        let Some(position) = position else { return };
        if let Err(error) = self.catch_up_to(position).await {
            let webapp = &self.resolved.webapp.name;
            tracing::warn!(project = %self.project, %webapp, error = %Chain(&error), "cannot follow the editlog");
        }
    }

    /// Takes what is new in the editlog up to an event and perhaps beyond, tells the listeners, and gives the position.
    ///
    /// Those whose events were committed together come here together: the first one takes all of them.
    pub(super) async fn catch_up_to(self: &Arc<Self>, event: EventId) -> Result<i64, AppError> {
        if self.version() >= event.0 {
            return Ok(self.version());
        }
        let _turn = self.turn.lock().await;
        let Some(editlog) = &self.editlog else { return Ok(self.version()) };
        loop {
            let version = self.version();
            if version >= event.0 {
                return Ok(version);
            }
            let after = Some(EventId(version)).filter(|id| id.0 > 0);
            let events = match editlog.recent_since(after, EVENTS_AT_ONCE) {
                Some(events) => events,
                None => editlog.read_since(after, EVENTS_AT_ONCE).await?,
            };
            let Some(last) = events.last() else { return Ok(version) };
            let user = last.user.clone();
            let more = events.len() == EVENTS_AT_ONCE;
            let keys = if events.len() <= EVENTS_IN_PASSING_MAX {
                self.live.push(&events)
            } else {
                let open = self.clone();
                blocking(move || Ok(open.live.push(&events))).await?
            };
            if self.board.has_listeners() && !self.silent.load(Ordering::SeqCst) {
                let invalidate = more || keys.len() > ANNOUNCED_ROWS_MAX;
                let (rows, deleted) = if invalidate { Default::default() } else { self.rows_of(&keys) };
                self.board.announce(FeedEvent::Edit {
                    version: self.version(),
                    user,
                    rows: Arc::new(rows),
                    deleted: Arc::new(deleted),
                    invalidate,
                });
            }
        }
    }

    async fn look_at_original(&self) {
        let (source, key) = (self.source.clone(), self.resolved.webapp.primary_keys.clone());
        if let Some(table) = self.original_table.clone() {
            let changed = tokio::task::spawn_blocking(move || table.has_changed()).await.unwrap_or(false);
            if changed && !self.original_changed.swap(true, Ordering::SeqCst) {
                self.board.announce(FeedEvent::Original);
            }
            return;
        }
        let identity = tokio::task::spawn_blocking(move || Snapshot::identity_of(&source, &key)).await;
        // An original that is not there at the moment is being replaced; what is loaded goes on serving.
        let Ok(Ok(identity)) = identity else { return };
        let changed = identity != self.live.snapshot().identity();
        if changed != self.original_changed.swap(changed, Ordering::SeqCst) && changed {
            self.board.announce(FeedEvent::Original);
        }
    }

    async fn links_changed(&self) -> bool {
        let (sources, tables) = (self.link_sources.clone(), Arc::clone(&self.link_tables));
        let look = move || {
            // A linked dataset that is not there at the moment is being replaced.
            sources.iter().any(|(source, before)| source.fingerprint().is_ok_and(|now| now != *before))
                || tables.iter().any(WatchedTable::has_changed)
        };
        tokio::task::spawn_blocking(look).await.unwrap_or(false)
    }

    fn is_of(&self, app: &App, project: &Project) -> bool {
        // A dataset that the project now reads from elsewhere is another one.
        find(project, self.resolved.webapp.original.as_str())
            .and_then(|dataset| app.file_source(project, dataset))
            .is_ok_and(|source| source.path == self.source.path && source.columns == self.source.columns)
            && self.project == project.key
    }

    /// Whether the settings were held against these very files before.
    fn was_checked_against(&self, project: &Arc<Project>) -> bool {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        std::ptr::eq(checked.as_ptr(), Arc::as_ptr(project))
    }

    /// Notes that somebody uses the table, whose settings agree with the files of the project.
    fn touch(&self, project: &Arc<Project>) {
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(project);
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// For how long nobody has used it.
    pub(super) fn idle_for(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The project that the table belongs to.
    pub(super) fn project(&self) -> &ProjectKey {
        &self.project
    }

    pub(super) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The position of the log that the table shows; 0 for an empty log.
    pub(super) fn version(&self) -> i64 {
        self.live.version()
    }

    /// The identity of the original that is loaded.
    pub(super) fn snapshot(&self) -> String {
        self.live.snapshot().identity().to_owned()
    }

    pub(super) fn total(&self) -> usize {
        self.live.total()
    }

    pub(super) fn original_changed(&self) -> bool {
        self.original_changed.load(Ordering::SeqCst)
    }

    /// A row as it is now; none when there is none, or it is deleted.
    pub(super) fn row(&self, key: &str) -> Option<Row> {
        self.live.row(&Key::from_text(key)).map(Row::from)
    }

    /// The value of one cell as it is now, where none is an empty one; none when there is no such row, or it is deleted.
    pub(super) fn value_of(&self, key: &str, column: &str) -> Option<Option<String>> {
        let cell = self.live.cell(&Key::from_text(key), column).ok().flatten()?;
        Some(cell.value)
    }

    /// Rows as they are now, and the keys of those that are not there.
    pub(super) fn rows_of(&self, keys: &[Key]) -> (Vec<Row>, Vec<String>) {
        let found = self.live.rows(keys);
        let deleted = found.deleted.iter().map(Key::to_string).collect();
        (found.rows.into_iter().map(Row::from).collect(), deleted)
    }

    /// Whether the log says that a row is deleted.
    pub(super) fn is_deleted(&self, key: &str) -> bool {
        self.live.last_edit(&Key::from_text(key)).is_some_and(|last| last.deleted)
    }

    /// The event that an edit of the whole row has to have seen.
    pub(super) fn row_event(&self, key: &str) -> Option<EventId> {
        self.live.last_edit(&Key::from_text(key)).and_then(|last| last.row_event)
    }
}
