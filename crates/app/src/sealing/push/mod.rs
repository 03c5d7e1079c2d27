//! Checkpoints and hashes pushed outside: what an editlog is held against when whoever owns its database and its key is not
//! believed.
//!
//! In a folder or a bucket each log has a part of its own, named by its origin, in the layout of C2SP tlog-tiles:
//! `checkpoint`, the last one; `tile/`, the hashes; and `checkpoints/`, all that were pushed, by size. What is there is never
//! replaced by another history: a push that does not continue it fails. A witness gets each checkpoint with the proof that it
//! continues the one before, and signs it.
//!
//! Places do not wait for each other. A place that cannot be reached is an alarm, and keeps nobody from editing.

mod place;
mod s3;
mod sigv4;
mod witness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stet_domain::{DatasetName, LogDate, ProjectKey};
use stet_editlog::tile::tiles_between;
use stet_editlog::tree::verify_consistency;
use stet_editlog::{Checkpoint, Note};
use stet_store::node::{AuditOutcome, NewAuditEvent};
use stet_store::{Editlogs, SealedLog, StoreError};
use tokio::runtime::Handle;

pub(crate) use self::place::{KeptHashes, Place};
use self::s3::Bucket;
use self::witness::Witness;
use crate::App;
use crate::clock::after_s;
use crate::config::{PushTarget, S3Target};
use crate::editlogs::EditlogPlace;
use crate::error::{AppError, Chain};

/// How often a node that is served pushes what is new.
pub const PUSH_INTERVAL_S: u64 = 20;

/// How long what was pushed to a bucket is taken to be there, in seconds, while nothing is new: each look is a request.
const BUCKET_LOOK_S: i64 = 5 * 60;

/// A place outside that a log could not be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// How the place is called.
    pub place: String,
    /// Why not, in words.
    pub reason: String,
}

impl Unreached {
    pub(crate) fn new(place: String, error: &AppError) -> Unreached {
        Unreached { place, reason: Chain(error).to_string() }
    }
}

impl std::fmt::Display for Unreached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NOT COMPARED with {}: {}", self.place, self.reason)
    }
}

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// How many checkpoints were new, one for each log and place.
    pub checkpoints: usize,
    /// What went wrong, in words. Each is an alarm: a log goes on without a witness.
    pub failures: Vec<String>,
}

/// How a log stands at a place that it is pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushStatus {
    /// How the place is called.
    pub place: String,
    /// `folder`, `s3` or `witness`.
    pub kind: &'static str,
    /// How many events the checkpoint there covers; none if it is not known since the node started.
    pub size: Option<u64>,
    /// When that was last so.
    pub reached_at: Option<LogDate>,
    /// Why the last push failed, if it did.
    pub failure: Option<String>,
    /// Since when pushes have failed.
    pub failing_since: Option<LogDate>,
}

/// How the pushes stand; owned by the node. By the place's number in `stet.toml`.
#[derive(Default)]
pub(crate) struct Pushes {
    states: Mutex<BTreeMap<(String, usize), State>>,
    turns: Mutex<BTreeMap<usize, Arc<Mutex<()>>>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// The note that is there.
    note: Option<String>,
    reached_at: Option<LogDate>,
    failure: Option<String>,
    failing_since: Option<LogDate>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place at hand.
enum Outside {
    Folder(PathBuf),
    Bucket(Arc<Bucket>, String),
    Witness(Box<Witness>),
}

impl Outside {
    /// The part of a log; none for a witness, which keeps no hashes.
    fn place(&self, origin: &str) -> Option<Place> {
        match self {
            Outside::Folder(folder) => Some(Place::Folder(folder.join(origin))),
            Outside::Bucket(bucket, name) => {
                let (bucket, name, origin) = (bucket.clone(), name.clone(), origin.to_owned());
                Some(Place::Bucket { bucket, name, origin })
            }
            Outside::Witness(_) => None,
        }
    }
}

/// What a push of one log found: whether its checkpoint was new there, and the note that is there now. None when there was
/// no need to look.
type Found = Option<(bool, Option<String>)>;

/// One push of all logs to one place.
struct Round<'a> {
    app: &'a App,
    index: usize,
    name: String,
    outside: &'a Outside,
    pushed: Pushed,
    /// Why the place cannot be reached: the other logs are not tried then.
    away: Option<String>,
}

impl App {
    /// Pushes the last checkpoint of every log to all places that `stet.toml` names, to all at the same time. Blocks.
    pub fn push_checkpoints(&self) -> Pushed {
        let runtime = Handle::current();
        let all = std::thread::scope(|scope| {
            let pushing: Vec<_> = (0..self.push_places())
                .map(|index| {
                    let runtime = runtime.clone();
                    scope.spawn(move || {
                        let _entered = runtime.enter();
                        self.push_to(index)
                    })
                })
                .collect();
            pushing.into_iter().filter_map(|pushing| pushing.join().ok()).collect::<Vec<_>>()
        });
        all.into_iter().fold(Pushed::default(), |mut all, one| {
            all.checkpoints += one.checkpoints;
            all.failures.extend(one.failures);
            all
        })
    }

    /// How many places `stet.toml` names.
    pub fn push_places(&self) -> usize {
        self.inner.config.sealing.push.len()
    }

    /// Pushes the last checkpoint of every log, with the hashes it covers, to the place of this number. Blocks.
    pub fn push_to(&self, index: usize) -> Pushed {
        let Some(target) = self.inner.config.sealing.push.get(index) else { return Pushed::default() };
        let turn = lock(&self.inner.pushes.turns).entry(index).or_default().clone();
        let _mine = lock(&turn);
        let pushed = match self.outside(target) {
            Ok(outside) => {
                let mut round = Round {
                    app: self,
                    index,
                    name: target.name(),
                    outside: &outside,
                    pushed: Pushed::default(),
                    away: None,
                };
                round.all();
                round.pushed
            }
            Err(error) => {
                let failure = format!("{}: {}", target.name(), Chain(&error));
                self.note_all(index, &failure);
                Pushed { checkpoints: 0, failures: vec![failure] }
            }
        };
        for failure in &pushed.failures {
            tracing::error!(failure, "a checkpoint could not be pushed");
        }
        pushed
    }

    fn outside(&self, target: &PushTarget) -> Result<Outside, AppError> {
        Ok(match target {
            PushTarget::Folder(folder) => Outside::Folder(self.inner.folder.resolve(folder)),
            PushTarget::S3(target) => self.bucket(target)?,
            PushTarget::Witness(target) => Outside::Witness(Box::new(Witness::open(target)?)),
        })
    }

    fn bucket(&self, target: &S3Target) -> Result<Outside, AppError> {
        Ok(Outside::Bucket(Arc::new(Bucket::open(self, target)?), target.name()))
    }

    /// Where a log is kept outside: the folders and buckets of `stet.toml`. For one that cannot be had, its name and why.
    pub(crate) fn kept_places(&self, origin: &str) -> Vec<Result<Place, Unreached>> {
        let targets = self.inner.config.sealing.push.iter();
        let kept = targets.filter(|target| !matches!(target, PushTarget::Witness(_)));
        kept.filter_map(|target| match self.outside(target) {
            Ok(outside) => outside.place(origin).map(Ok),
            Err(error) => Some(Err(Unreached::new(target.name(), &error))),
        })
        .collect()
    }

    /// The part of a log in a bucket of `stet.toml`, which is called as [`S3Target::name`] says.
    pub(super) fn kept_in_bucket(&self, name: &str, origin: &str) -> Result<Option<Place>, AppError> {
        let mut targets = self.inner.config.sealing.push.iter();
        let target = targets.find_map(|target| match target {
            PushTarget::S3(target) if target.name() == name.trim_end_matches('/') => Some(target),
            _ => None,
        });
        let target = target
            .ok_or_else(|| AppError::not_found(format!("`{}` below [sealing] of stet.toml", name.escape_debug())))?;
        Ok(self.bucket(target)?.place(origin))
    }

    /// How a log stands at each place that it is pushed to.
    pub(crate) fn push_statuses(&self, origin: &str) -> Vec<PushStatus> {
        let states = lock(&self.inner.pushes.states);
        let targets = self.inner.config.sealing.push.iter().enumerate();
        let status = |(index, target): (usize, &PushTarget)| {
            let state = states.get(&(origin.to_owned(), index)).cloned().unwrap_or_default();
            let size = state.note.as_deref().and_then(|note| Checkpoint::peek(note).ok()).map(|there| there.size);
            PushStatus {
                place: target.name(),
                kind: match target {
                    PushTarget::Folder(_) => "folder",
                    PushTarget::S3(_) => "s3",
                    PushTarget::Witness(_) => "witness",
                },
                size,
                reached_at: state.reached_at,
                failure: state.failure,
                failing_since: state.failing_since,
            }
        };
        targets.map(status).collect()
    }

    /// How each place of `stet.toml` stands: without a size, with the first of the reasons why logs could not be pushed.
    pub(crate) fn place_statuses(&self) -> Vec<PushStatus> {
        let origins: Vec<String> = lock(&self.inner.pushes.states).keys().map(|(origin, _)| origin.clone()).collect();
        // Without a log there are the names of the places.
        let mut places = self.push_statuses("");
        for statuses in origins.iter().map(|origin| self.push_statuses(origin)) {
            for (place, status) in places.iter_mut().zip(statuses) {
                place.reached_at = place.reached_at.max(status.reached_at);
                if place.failure.is_none() {
                    (place.failure, place.failing_since) = (status.failure, status.failing_since);
                }
            }
        }
        places
    }

    /// Writes down that a place cannot be used at all.
    fn note_all(&self, index: usize, failure: &str) {
        let origins = [self.audit_origin()].into_iter().chain(self.known_origins());
        for origin in origins {
            self.note_push(&origin, index, Err(failure.to_owned()));
        }
    }

    fn known_origins(&self) -> Vec<String> {
        let keys = self.inner.projects.keys().into_iter();
        let of_project = |key: ProjectKey| {
            let places = self.places(&key).unwrap_or_default();
            places.into_iter().map(|(original, _)| self.sealing(&key).origin(&original)).collect::<Vec<_>>()
        };
        keys.flat_map(of_project).collect()
    }

    /// Remembers what became of a push; the audit trail has the first failure and the end of failures.
    fn note_push(&self, origin: &str, index: usize, result: Result<Option<String>, String>) {
        let now = self.inner.clock.now();
        let (before, after) = {
            let mut states = lock(&self.inner.pushes.states);
            let state = states.entry((origin.to_owned(), index)).or_default();
            let before = state.failure.clone();
            match result {
                Ok(note) => {
                    let reached_at = Some(now);
                    *state = State { note, reached_at, failure: None, failing_since: None };
                }
                Err(failure) => {
                    state.failure = Some(failure);
                    state.failing_since.get_or_insert(now);
                }
            }
            (before, state.failure.clone())
        };
        let place = self.inner.config.sealing.push.get(index).map(PushTarget::name).unwrap_or_default();
        let (outcome, detail) = match (before, after) {
            (None, Some(failure)) => (AuditOutcome::Failed, failure),
            (Some(_), None) => (AuditOutcome::Done, "checkpoints are pushed there again".to_owned()),
            _ => return,
        };
        let entry = self.entry_of(None, "sealing.push", format!("log {origin} to {place}"), detail);
        if let Err(error) = self.note_blocking(NewAuditEvent { outcome, ..entry }) {
            tracing::error!(error = %Chain(&error), "an alarm could not be noted");
        }
    }

    /// The editlogs of a project: those in the node's file, also of originals that no webapp edits any more, and those in
    /// databases that its files name, which may not be initialised yet.
    fn places(&self, key: &ProjectKey) -> Result<Vec<(DatasetName, EditlogPlace)>, AppError> {
        let path = self.inner.folder.editlogs(key);
        let mut places = Vec::new();
        if path.exists() {
            let own = Editlogs::originals_sqlite(&path)?;
            places.extend(own.into_iter().map(|original| (original, EditlogPlace::Node(path.clone()))));
        }
        places.extend(self.places_in_databases(key)?);
        Ok(places)
    }

    /// Those in databases alone.
    pub(crate) fn places_in_databases(&self, key: &ProjectKey) -> Result<Vec<(DatasetName, EditlogPlace)>, AppError> {
        let project = self.inner.projects.get(key)?;
        let mut places = BTreeMap::new();
        for original in project.webapps.values().map(|webapp| &webapp.original) {
            let place = self.editlog_place(&project, original)?;
            if matches!(place, EditlogPlace::Database(..)) {
                places.insert(original.clone(), place);
            }
        }
        Ok(places.into_iter().collect())
    }
}

impl Round<'_> {
    fn all(&mut self) {
        let app = self.app;
        let origin = app.audit_origin();
        self.tell(&origin, |round| round.audit(&origin));
        for key in app.inner.projects.keys() {
            match app.places(&key) {
                Ok(places) => {
                    for (original, place) in places {
                        let origin = app.sealing(&key).origin(&original);
                        self.tell(&origin, |round| round.editlog(&origin, &original, &place));
                    }
                }
                Err(error) => self.pushed.failures.push(format!("{key}: {}", Chain(&error))),
            }
        }
    }

    /// Pushes one log and writes down what became of it. One log that cannot be read keeps no other from its witness.
    fn tell(&mut self, origin: &str, push: impl FnOnce(&Self) -> Result<Found, AppError>) {
        let result = match &self.away {
            Some(reason) => Err(reason.clone()),
            None => match push(self) {
                Ok(None) => return,
                Ok(Some((new, note))) => {
                    self.pushed.checkpoints += usize::from(new);
                    Ok(note)
                }
                Err(error) => {
                    let reason = Chain(&error).to_string();
                    let elsewhere = !matches!(self.outside, Outside::Folder(_));
                    if elsewhere && matches!(error, AppError::Unavailable(_)) {
                        self.away = Some(reason.clone());
                    }
                    Err(reason)
                }
            },
        };
        if let Err(reason) = &result {
            let place = self.outside.place(origin).map_or_else(|| self.name.clone(), |place| place.name());
            self.pushed.failures.push(format!("{origin} to {place}: {reason}"));
        }
        self.app.note_push(origin, self.index, result);
    }

    /// The last checkpoint of the audit trail. That its entries are those of the checkpoints is what verifying tells.
    fn audit(&self, origin: &str) -> Result<Found, AppError> {
        let (app, runtime) = (self.app, Handle::current());
        let Some((size, note)) = runtime.block_on(app.inner.node.audit_checkpoints(1))?.into_iter().next() else {
            return Ok(Some((false, None)));
        };
        let place = match self.outside {
            Outside::Witness(witness) => {
                let prove = |old, new| Ok(runtime.block_on(app.inner.node.prove_audit_consistency(old, new))?);
                return Ok(Some((witness.cosign(app, origin, &note, &prove)?, Some(note))));
            }
            outside => outside.place(origin).ok_or_else(|| AppError::internal("a place without a folder"))?,
        };
        let note = app.with_cosignatures(origin, &note)?;
        if self.is_there(origin, &note) {
            return Ok(None);
        }
        if let Some(there) = place.checkpoint()? {
            let old = Checkpoint::peek(&there).map_err(damaged)?;
            let ours = runtime.block_on(app.inner.node.audit_checkpoint(old.size))?;
            let ours = ours.and_then(|note| Checkpoint::peek(&note).ok());
            if ours.is_none_or(|ours| ours.root != old.root) {
                return Err(AppError::Conflict(format!(
                    "FORKED: the audit trail does not continue the {} entries that were pushed",
                    old.size
                )));
            }
            if old.size == size && !has_more(&note, &there) {
                return Ok(Some((false, Some(there))));
            }
        }
        write_checkpoint(&place, size, &note)?;
        Ok(Some((true, Some(note))))
    }

    fn editlog(&self, origin: &str, original: &DatasetName, place: &EditlogPlace) -> Result<Found, AppError> {
        let sealed = place.sealed(original).and_then(|log| {
            let note = log.checkpoints(1)?.into_iter().next();
            Ok(note.map(|note| (log, note)))
        });
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(StoreError::NotInitialised { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        match (&sealed, self.outside) {
            (Some((log, note)), Outside::Witness(witness)) => {
                let prove = |old, new| Ok(log.prove_consistency(old, new)?);
                Ok(Some((witness.cosign(self.app, origin, note, &prove)?, Some(note.clone()))))
            }
            (None, Outside::Witness(witness)) => {
                let cosigned = witness.remembered(self.app, origin)?.map_or(0, |known| known.size);
                nothing_left(cosigned).map(|()| Some((false, None)))
            }
            (sealed, outside) => {
                let place = outside.place(origin).ok_or_else(|| AppError::internal("a place without a folder"))?;
                let Some((log, note)) = sealed else {
                    let there = place.checkpoint()?.and_then(|note| Checkpoint::peek(&note).ok());
                    return nothing_left(there.map_or(0, |there| there.size)).map(|()| Some((false, None)));
                };
                let note = self.app.with_cosignatures(origin, note)?;
                if self.is_there(origin, &note) {
                    return Ok(None);
                }
                Ok(Some((push(log, &note, &place)?, Some(note))))
            }
        }
    }

    /// Whether a bucket has a checkpoint, as far as a look not long ago tells.
    fn is_there(&self, origin: &str, note: &str) -> bool {
        let states = lock(&self.app.inner.pushes.states);
        let Some(state) = states.get(&(origin.to_owned(), self.index)) else { return false };
        let looked = state.reached_at.is_some_and(|at| after_s(at, BUCKET_LOOK_S) > self.app.inner.clock.now());
        matches!(self.outside, Outside::Bucket(..))
            && looked
            && state.failure.is_none()
            && state.note.as_deref() == Some(note)
    }
}

fn damaged(error: stet_editlog::checkpoint::CheckpointError) -> AppError {
    AppError::Conflict(format!("the checkpoint cannot be read: {error}"))
}

/// What is said of a log of which nothing is sealed.
fn nothing_left(pushed: u64) -> Result<(), AppError> {
    if pushed == 0 {
        return Ok(());
    }
    Err(AppError::Conflict(format!("TRUNCATED: nothing of the log is sealed, and {pushed} events were pushed")))
}

/// Whether a note has signatures that another one of the same text has not.
fn has_more(note: &str, other: &str) -> bool {
    match (note.parse::<Note>(), other.parse::<Note>()) {
        (Ok(note), Ok(other)) => note.signatures.iter().any(|signature| !other.signatures.contains(signature)),
        _ => false,
    }
}

fn write_checkpoint(place: &Place, size: u64, note: &str) -> Result<(), AppError> {
    place.write(&format!("checkpoints/{size:012}"), note.as_bytes())?;
    place.write("checkpoint", note.as_bytes())
}

/// Pushes a checkpoint of a log to its place, if it is newer than what is there. Whether it was.
///
/// The checkpoint is written last, so that whoever reads one finds all hashes that it covers.
fn push(log: &SealedLog, note: &str, place: &Place) -> Result<bool, AppError> {
    let new = Checkpoint::peek(note).map_err(damaged)?;
    let there = place.checkpoint()?;
    let old = there.as_deref().map(Checkpoint::peek).transpose().map_err(damaged)?;
    let old_size = old.as_ref().map_or(0, |old| old.size);
    if let Some(old) = &old {
        if old.size == new.size && old.root == new.root {
            if there.is_some_and(|there| has_more(note, &there)) {
                write_checkpoint(place, new.size, note)?;
            }
            return Ok(false);
        }
        let proof = log.prove_consistency(old.size, new.size)?.ok_or_else(|| {
            let (size, was) = (new.size, old.size);
            AppError::Conflict(format!("TRUNCATED: the log is sealed up to {size} events, and {was} were pushed"))
        })?;
        if !verify_consistency(old.size, new.size, &proof, old.root, new.root) {
            return Err(AppError::Conflict(format!(
                "FORKED: the log does not continue the {} events that were pushed; look into it before anything else is done",
                old.size
            )));
        }
    }
    for tile in tiles_between(old_size, new.size) {
        let bytes: Vec<u8> = log.tile(tile)?.into_iter().flat_map(|hash| hash.0).collect();
        place.write(&tile.path(), &bytes)?;
    }
    write_checkpoint(place, new.size, note)?;
    Ok(true)
}
