//! Drift: whether what was deployed is still what is there. It is looked for at the start, every hour, and whenever a file
//! changes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use sha2::{Digest, Sha256};
use stet_domain::ProjectKey;

use super::config::OnDrift;
use super::plan::hashes;
use crate::App;
use crate::bundle::read_bundle;
use crate::datasets::blocking;
use crate::error::{AppError, Chain};
use crate::password::hex;
use crate::projects::definition_files;

/// How often sizes and times of files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often everything is hashed again, whatever sizes and times say.
const HASH_EVERY: Duration = Duration::from_secs(60 * 60);

/// Something that was deployed and is no longer as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Drift {
    /// The file, below the project's folder.
    pub file: String,
    /// `changed` or `removed`.
    pub change: &'static str,
}

/// What is known of the drift of each project; owned by the node, written by whoever looked last.
#[derive(Default)]
pub(crate) struct Drifts(Mutex<HashMap<ProjectKey, Vec<Drift>>>);

impl Drifts {
    fn known(&self, key: &ProjectKey) -> Vec<Drift> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }

    /// What was known before.
    fn set(&self, key: &ProjectKey, drift: Vec<Drift>) -> Vec<Drift> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key.clone(), drift).unwrap_or_default()
    }
}

type Stamp = Vec<(std::path::PathBuf, u64, Option<SystemTime>)>;

impl App {
    /// Looks whether what was deployed to a project is still there as it was, and notes what is new about it.
    pub(crate) async fn look_for_drift(&self, key: &ProjectKey) -> Result<Vec<Drift>, AppError> {
        let Some(archive) = self.deployed_archive(key).await? else {
            self.inner.drifts.set(key, Vec::new());
            return Ok(Vec::new());
        };
        let root = self.inner.folder.project(key);
        let drift = blocking(move || {
            let deployed = hashes(&read_bundle(&archive)?.manifest);
            let mut drift = Vec::new();
            for (file, sha256) in &deployed {
                match fs::read(root.join(file)) {
                    Ok(bytes) if hex(&Sha256::digest(&bytes)) == *sha256 => {}
                    Ok(_) => drift.push(Drift { file: file.clone(), change: "changed" }),
                    Err(_) => drift.push(Drift { file: file.clone(), change: "removed" }),
                }
            }
            Ok(drift)
        })
        .await?;
        let before = self.inner.drifts.set(key, drift.clone());
        if before != drift {
            let (kind, text) = if drift.is_empty() {
                ("mended", "everything is as it was deployed again".to_owned())
            } else {
                let items: Vec<String> =
                    drift.iter().map(|item| format!("`{}` was {}", item.file, item.change)).collect();
                ("drift", items.join("; "))
            };
            tracing::warn!(project = %key, "{text}");
            self.note_deploy(None, key, None, kind, text).await?;
        }
        Ok(drift)
    }

    /// Refuses edits of a project whose deployed files were changed on this node, if the node is to be that strict.
    pub(crate) fn check_no_drift(&self, key: &ProjectKey) -> Result<(), AppError> {
        if self.inner.config.deploy.on_drift != OnDrift::Stop {
            return Ok(());
        }
        match self.inner.drifts.known(key).first() {
            None => Ok(()),
            Some(first) => Err(AppError::Conflict(format!(
                "this table takes no edits at present: `{}` was {} on the server since it was deployed. Its administrator \
                 mends it by activating the bundle again",
                first.file, first.change
            ))),
        }
    }

    /// Looks for drift at once and from then on, until the app is dropped by everybody else. Called by the server.
    ///
    /// # Errors
    /// When the node database cannot be used.
    pub async fn watch_for_drift(&self) -> Result<(), AppError> {
        for key in self.inner.projects.keys() {
            if let Err(error) = self.look_for_drift(&key).await {
                tracing::warn!(project = %key, error = %Chain(&error), "cannot tell whether what was deployed is still there");
            }
        }
        let app = std::sync::Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut stamps: BTreeMap<ProjectKey, (Stamp, Instant)> = BTreeMap::new();
            let mut tick = tokio::time::interval(LOOK_EVERY);
            loop {
                tick.tick().await;
                let Some(inner) = app.upgrade() else { return };
                let app = App { inner };
                for key in app.inner.projects.keys() {
                    let root = app.inner.folder.project(&key);
                    let Ok(stamp) = blocking(move || Ok(stamp_of(&root))).await else { continue };
                    let due = stamps
                        .get(&key)
                        .is_some_and(|(known, hashed)| *known != stamp || hashed.elapsed() >= HASH_EVERY);
                    let first = !stamps.contains_key(&key);
                    if (due || first)
                        && let Err(error) = app.look_for_drift(&key).await
                    {
                        tracing::warn!(project = %key, error = %Chain(&error), "cannot tell whether what was deployed is still there");
                    }
                    if due || first {
                        stamps.insert(key, (stamp, Instant::now()));
                    }
                }
            }
        });
        Ok(())
    }
}

fn stamp_of(root: &std::path::Path) -> Stamp {
    definition_files(root)
        .into_iter()
        .map(|(_, path)| {
            let metadata = fs::metadata(&path).ok();
            let size = metadata.as_ref().map_or(0, fs::Metadata::len);
            (path, size, metadata.and_then(|metadata| metadata.modified().ok()))
        })
        .collect()
}
