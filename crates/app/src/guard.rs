//! The guard of the editlogs in databases: while the node is served it keeps them open, so that they are sealed whether or
//! not anybody has their table open, and looks whether they are sealed in time and protected as they were made.
//!
//! What protects a log is checked when the node starts and every hour. What is new about it is told to administrators, written
//! into the audit trail, and appended to the log itself as a note, which is sealed with the rest. What was told last is kept
//! in a file, so that a restart tells nothing twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stet_domain::{Action, Actor, ClientEventId, DatasetName, Key, LogDate, Login, NewEvent, ProjectKey, Source};
use stet_engine::error::EngineError;
use stet_engine::write::AtomicFile;
use stet_store::node::AuditOutcome;
use stet_store::{Append, Editlog, Editlogs, Expected, SealProgress, StoreError};
use uuid::Uuid;

use crate::App;
use crate::datasets::blocking;
use crate::error::{AppError, Chain};
use crate::protection::EditlogMode;

/// How often it is looked whether editlogs are sealed in time.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often what protects them is checked.
const CHECK_EVERY: Duration = Duration::from_secs(60 * 60);

/// Sealing that is behind by more than this is an alarm; it is within a second as a rule.
pub const SEAL_BEHIND_MS_MAX: u64 = 10_000;

/// Who makes the node's own notes in an editlog.
const NOTE_LOGIN: &str = "stet.node";

/// The longest note, in characters.
const NOTE_CHARACTERS_MAX: usize = 2_000;

/// How an editlog in a database stands.
#[derive(Debug, Clone)]
pub struct EditlogStatus {
    /// Its project.
    pub project: ProjectKey,
    /// The dataset whose edits are in it.
    pub original: DatasetName,
    /// How it was made; none before the first check.
    pub mode: Option<EditlogMode>,
    /// The last event, and how many are sealed; none when its database was not reached the last time.
    pub seal: Option<SealProgress>,
    /// What is wrong with its protection.
    pub protection: Vec<String>,
    /// Why its sealing is behind, or its database cannot be used.
    pub alarm: Option<String>,
    /// When what protects it was last checked.
    pub checked_at: Option<LogDate>,
}

/// What is known of each editlog; owned by the node, written by the guard.
#[derive(Default)]
pub(crate) struct Guards(Mutex<BTreeMap<(ProjectKey, DatasetName), Guarded>>);

#[derive(Clone)]
struct Guarded {
    status: EditlogStatus,
    checked: Option<Instant>,
    /// It stays open, which seals it.
    open: Option<(Editlogs, Editlog)>,
}

impl Guards {
    /// Lets go of an editlog that is made anew.
    pub(crate) fn forget(&self, key: &ProjectKey, original: &DatasetName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(key.clone(), original.clone()));
    }
}

/// What was told last of an editlog.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    problems: Vec<String>,
    /// Whether the log itself has a note of it.
    noted: bool,
}

impl App {
    /// Guards the editlogs in databases as long as the node lives, beginning now. A database that is away keeps nobody
    /// waiting.
    pub fn watch_editlogs(&self) {
        let app = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(LOOK_EVERY);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let Some(inner) = app.upgrade() else { return };
                App { inner }.look_at_editlogs().await;
            }
        });
    }

    /// How the editlogs in databases stand, by project and original.
    pub(crate) fn editlog_statuses(&self) -> Vec<EditlogStatus> {
        let guards = self.inner.guards.0.lock().unwrap_or_else(PoisonError::into_inner);
        guards.values().map(|guarded| guarded.status.clone()).collect()
    }

    async fn look_at_editlogs(&self) {
        let mut there = Vec::new();
        for key in self.inner.projects.keys() {
            let (app, of) = (self.clone(), key.clone());
            let places = match blocking(move || app.places_in_databases(&of)).await {
                Ok(places) => places,
                Err(error) => {
                    tracing::debug!(project = %key, error = %Chain(&error), "cannot tell where its editlogs are");
                    continue;
                }
            };
            for (original, _) in places {
                there.push((key.clone(), original.clone()));
                self.look_at_editlog(&key, &original).await;
            }
        }
        let mut guards = self.inner.guards.0.lock().unwrap_or_else(PoisonError::into_inner);
        guards.retain(|name, _| there.contains(name));
    }

    async fn look_at_editlog(&self, key: &ProjectKey, original: &DatasetName) {
        let name = (key.clone(), original.clone());
        let before = {
            let guards = self.inner.guards.0.lock().unwrap_or_else(PoisonError::into_inner);
            guards.get(&name).cloned()
        };
        let mut guarded = before.clone().unwrap_or_else(|| Guarded {
            status: EditlogStatus {
                project: key.clone(),
                original: original.clone(),
                mode: None,
                seal: None,
                protection: Vec::new(),
                alarm: None,
                checked_at: None,
            },
            checked: None,
            open: None,
        });
        let mut reached = true;
        if guarded.open.is_none() {
            match self.opened(key, original).await {
                Ok(open) => guarded.open = Some(open),
                // Nobody has made it yet, which its table says.
                Err(Some(StoreError::NotInitialised { .. })) => return,
                Err(error) => {
                    reached = matches!(error, Some(StoreError::Altered { .. }));
                    let why = error.map(|error| error.to_string());
                    guarded.status.alarm = Some(why.unwrap_or("its project or place cannot be used".to_owned()));
                }
            }
        }
        guarded.status.seal = None;
        if let Some((editlogs, log)) = &guarded.open {
            match log.seal_progress().await {
                Ok(seal) => {
                    guarded.status.alarm = late(seal, editlogs.sealing_failure(original));
                    guarded.status.seal = Some(seal);
                }
                Err(error) => {
                    guarded.status.alarm = Some(error.to_string());
                    (guarded.open, reached) = (None, false);
                }
            }
        }
        if reached && guarded.checked.is_none_or(|checked| checked.elapsed() >= CHECK_EVERY) {
            match self.check_protection(key, original).await {
                Ok((mode, problems)) => {
                    guarded.status.mode = Some(mode);
                    guarded.status.protection = problems;
                    guarded.status.checked_at = Some(self.inner.clock.now());
                    guarded.checked = Some(Instant::now());
                    if let Err(error) = self.tell_protection(key, original, &guarded.status.protection).await {
                        tracing::error!(project = %key, %original, error = %Chain(&error), "a change of an editlog's protection could not be noted");
                        guarded.checked = None;
                    }
                }
                Err(error) => guarded.status.alarm = Some(Chain(&error).to_string()),
            }
        }
        let alarm_before = before.and_then(|before| before.status.alarm);
        if let Err(error) =
            self.tell_alarm(key, original, alarm_before.as_deref(), guarded.status.alarm.as_deref()).await
        {
            tracing::error!(project = %key, %original, error = %Chain(&error), "an alarm could not be noted");
        }
        self.inner.guards.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, guarded);
    }

    /// Opens the editlog; no error of the store when the project is in the way.
    async fn opened(
        &self,
        key: &ProjectKey,
        original: &DatasetName,
    ) -> Result<(Editlogs, Editlog), Option<StoreError>> {
        let project = self.inner.projects.get(key).map_err(|_| None)?;
        let editlogs = self.editlogs(&project, original).await.map_err(|_| None)?;
        let log = editlogs.editlog(original).await.map_err(Some)?;
        Ok((editlogs, log))
    }

    /// What is wrong with what protects an editlog, and how it was made.
    async fn check_protection(
        &self,
        key: &ProjectKey,
        original: &DatasetName,
    ) -> Result<(EditlogMode, Vec<String>), AppError> {
        let check = self.check_editlog_as_node(key, original).await?;
        let broken =
            check.findings.iter().filter_map(|(claim, problem)| Some(format!("{claim}: {}", problem.as_ref()?)));
        Ok((check.mode, broken.chain(check.drifts.iter().cloned()).collect()))
    }

    /// Writes down what is new about the protection of an editlog: in the audit trail, and in the log itself.
    async fn tell_protection(
        &self,
        key: &ProjectKey,
        original: &DatasetName,
        problems: &[String],
    ) -> Result<(), AppError> {
        let path = self.inner.folder.data(key).join(format!("{}.told.json", original.editlog()));
        let reading = path.clone();
        let told = blocking(move || read_told(&reading)).await?;
        let same = told.problems == problems;
        if same && (told.noted || problems.is_empty()) {
            return Ok(());
        }
        let text = if problems.is_empty() {
            "what protects this log is as it was recorded".to_owned()
        } else {
            format!("what protects this log has changed: {}", problems.join("; "))
        };
        let outcome = if problems.is_empty() { AuditOutcome::Done } else { AuditOutcome::Failed };
        if !same {
            self.note_of_editlog(key, original, "editlog.protection", outcome, &text).await?;
        }
        let noted = match self.append_note(key, original, &text).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(project = %key, %original, error = %Chain(&error), "the log has no note of what protects it");
                false
            }
        };
        let told = Told { problems: problems.to_vec(), noted };
        blocking(move || write_told(&path, &told)).await
    }

    /// Writes an alarm, or its end, into the audit trail; nothing while it goes on.
    async fn tell_alarm(
        &self,
        key: &ProjectKey,
        original: &DatasetName,
        before: Option<&str>,
        now: Option<&str>,
    ) -> Result<(), AppError> {
        match (before, now) {
            (None, Some(alarm)) => {
                tracing::error!(project = %key, %original, alarm, "an editlog needs attention");
                self.note_of_editlog(key, original, "editlog.alarm", AuditOutcome::Failed, alarm).await
            }
            (Some(_), None) => {
                self.note_of_editlog(key, original, "editlog.alarm", AuditOutcome::Done, "it is sealed in time again")
                    .await
            }
            _ => Ok(()),
        }
    }

    async fn note_of_editlog(
        &self,
        key: &ProjectKey,
        original: &DatasetName,
        action: &str,
        outcome: AuditOutcome,
        text: &str,
    ) -> Result<(), AppError> {
        let login = Login::new(NOTE_LOGIN).map_err(AppError::internal)?;
        let object = format!("editlog {key}.{original}");
        let entry = self.entry(&Actor::shell(login), action, object, text);
        self.note(stet_store::node::NewAuditEvent { outcome, ..entry }).await
    }

    /// Appends a note to the log: an event of no row, with the text as its reason.
    pub(crate) async fn append_note(
        &self,
        key: &ProjectKey,
        original: &DatasetName,
        text: &str,
    ) -> Result<(), AppError> {
        let project = self.inner.projects.get(key)?;
        let log = self.editlogs(&project, original).await?.editlog(original).await?;
        let event = NewEvent {
            user: Login::new(NOTE_LOGIN).map_err(AppError::internal)?,
            action: Action::Note,
            key: Key::from_text(""),
            column_name: None,
            value: None,
            previous: None,
            batch_id: Uuid::new_v4(),
            source: Source::Api,
            reason: Some(text.chars().take(NOTE_CHARACTERS_MAX).collect()),
            event_id: ClientEventId(Uuid::new_v4()),
        };
        log.append(Append { atomic: true, events: vec![(event, Expected::Any)] }).await?;
        Ok(())
    }
}

/// Why events wait to be sealed, if they wait too long.
fn late(seal: SealProgress, failure: Option<String>) -> Option<String> {
    let events = seal.events.saturating_sub(seal.sealed);
    match (failure, seal.behind_ms) {
        (Some(why), _) if events > 0 => Some(format!("{events} events are not sealed: {why}")),
        (_, Some(behind)) if behind > SEAL_BEHIND_MS_MAX => {
            Some(format!("{events} events wait to be sealed, the first of them for {} s", behind / 1000))
        }
        _ => None,
    }
}

fn read_told(path: &Path) -> Result<Told, AppError> {
    match std::fs::read(path) {
        // What cannot be read is told again.
        Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Told::default()),
        Err(error) => Err(EngineError::io("read", path)(error).into()),
    }
}

fn write_told(path: &Path, told: &Told) -> Result<(), AppError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| AppError::from(EngineError::io("make", folder)(error)))?;
    }
    let mut file = AtomicFile::create(path)?;
    serde_json::to_writer_pretty(&mut file, told).map_err(AppError::internal)?;
    file.commit()?;
    Ok(())
}
