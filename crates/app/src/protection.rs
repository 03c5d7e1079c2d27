//! What protects an editlog: its secure initialisation, and the check of what its database really enforces.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stet_domain::project::Project;
use stet_domain::{Actor, DatasetName, LogDate, ProjectKey};
use stet_engine::error::EngineError;
use stet_engine::write::AtomicFile;
use stet_store::editlog::{Protection, ProtectionMode};
use stet_store::{EditlogTables, Postgres, SealedLog};

use crate::App;
use crate::datasets::blocking;
use crate::editlogs::EditlogPlace;
use crate::error::AppError;
use crate::guard::SEAL_BEHIND_MS_MAX;

/// The version of what the node keeps of a protection.
const RECORD_VERSION: u32 = 1;

/// What a check of an editlog found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditlogCheck {
    /// Where and how the editlog is kept.
    pub mode: EditlogMode,
    /// Everything that was looked at or tried: what has to hold, and what is wrong with it.
    pub findings: Vec<(String, Option<String>)>,
    /// What has changed since the editlog was initialised: rights and roles that came or went.
    pub drifts: Vec<String>,
    /// When what it is compared with was recorded.
    pub recorded_at: LogDate,
}

/// How an editlog is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditlogMode {
    /// In the node's own SQLite file.
    Node,
    /// In a database, as a table of the node's own user.
    Simple,
    /// In a database, as a table of a role as which nobody can log in.
    Secure,
}

impl EditlogMode {
    /// The mode in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            EditlogMode::Node => "node",
            EditlogMode::Simple => "simple",
            EditlogMode::Secure => "secure",
        }
    }
}

impl EditlogCheck {
    /// Whether everything holds and nothing has changed.
    pub fn holds(&self) -> bool {
        self.drifts.is_empty() && self.findings.iter().all(|(_, problem)| problem.is_none())
    }
}

/// What the node keeps of how an editlog was initialised.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// The connection, the schema and the table.
    place: String,
    secure: bool,
    recorded_at: LogDate,
    facts: BTreeSet<String>,
}

impl App {
    /// The script that makes the editlog of an original securely, for an administrator of its database.
    ///
    /// # Errors
    /// When there is no such dataset, or its editlog is not in a database.
    pub fn secure_script(&self, actor: &Actor, project: &str, dataset: &str) -> Result<String, AppError> {
        self.require_administrator(actor)?;
        let project = self.project(actor, project)?;
        let original = self.original_of(&project, dataset)?;
        let (postgres, tables) = self.database_place(&project, &original)?;
        Ok(tables.secure_script(&postgres, &original)?)
    }

    /// What the script does, in plain words.
    ///
    /// # Errors
    /// As [`App::secure_script`].
    pub fn secure_explanation(&self, actor: &Actor, project: &str, dataset: &str) -> Result<Vec<String>, AppError> {
        self.require_administrator(actor)?;
        let project = self.project(actor, project)?;
        let original = self.original_of(&project, dataset)?;
        let (postgres, tables) = self.database_place(&project, &original)?;
        Ok(tables.secure_explanation(&postgres, &original)?)
    }

    /// Runs the script with the credentials of an administrator of the database, which are used once and kept nowhere, and
    /// then checks what it has come to. What is checked is recorded, for later checks to compare with.
    ///
    /// # Errors
    /// When the database refuses the script, or the node cannot use what it has made.
    pub async fn initialise_editlog_securely(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        admin_url: String,
    ) -> Result<EditlogCheck, AppError> {
        self.require_administrator(actor)?;
        let project = self.project(actor, project)?;
        let original = self.original_of(&project, dataset)?;
        let (postgres, tables) = self.database_place(&project, &original)?;
        let (app, for_check) = (self.clone(), project.clone());
        let object = format!("dataset {}.{}", project.key, original.editlog());
        let mut entry = self.entry(actor, "editlog.init", object, "securely");
        let made = blocking(move || {
            tables.initialise_securely(&postgres, &original, &admin_url)?;
            // What was recorded of an earlier state is no longer what is meant to be.
            let path = app.record_path(&for_check, &original);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(AppError::from(EngineError::io("remove", path)(error)));
                }
                _ => {}
            }
            app.check_in_database(&for_check, &original, &postgres, &tables)
        })
        .await;
        if let Err(error) = &made {
            entry.outcome = stet_store::node::AuditOutcome::Failed;
            entry.detail = format!("securely: {error}");
        }
        self.note(entry).await?;
        made
    }

    /// Checks what protects an editlog: what its database has, what it really refuses, and what of it has changed since it
    /// was initialised. What is tried is taken back.
    ///
    /// # Errors
    /// When there is no such dataset, its editlog is not initialised, or its database cannot be used.
    pub async fn check_editlog(&self, actor: &Actor, project: &str, dataset: &str) -> Result<EditlogCheck, AppError> {
        self.require_administrator(actor)?;
        let project = self.project(actor, project)?;
        let original = self.original_of(&project, dataset)?;
        let mut check = self.check_editlog_as_node(&project.key, &original).await?;
        if let EditlogPlace::Database(postgres, tables) = self.editlog_place(&project, &original)? {
            let finding = blocking(move || sealed_in_time(&postgres, &tables, &original)).await?;
            check.findings.push(finding);
        }
        Ok(check)
    }

    /// The same by the node itself, of what protects the editlog alone.
    pub(crate) async fn check_editlog_as_node(
        &self,
        project: &ProjectKey,
        original: &DatasetName,
    ) -> Result<EditlogCheck, AppError> {
        let (project, original) = (self.inner.projects.get(project)?, original.clone());
        let place = self.editlog_place(&project, &original)?;
        let app = self.clone();
        blocking(move || match place {
            EditlogPlace::Database(postgres, tables) => app.check_in_database(&project, &original, &postgres, &tables),
            EditlogPlace::Node(path) => {
                let claim = "table, triggers and indexes are those that Stet made".to_owned();
                let problem = match stet_store::EditlogReader::open_sqlite(&path, &original) {
                    Ok(_) => None,
                    Err(error @ stet_store::StoreError::Altered { .. }) => Some(error.to_string()),
                    Err(error) => return Err(error.into()),
                };
                let recorded_at = app.inner.clock.now();
                Ok(EditlogCheck {
                    mode: EditlogMode::Node,
                    findings: vec![(claim, problem)],
                    drifts: Vec::new(),
                    recorded_at,
                })
            }
        })
        .await
    }

    fn check_in_database(
        &self,
        project: &Project,
        original: &DatasetName,
        postgres: &Postgres,
        tables: &EditlogTables,
    ) -> Result<EditlogCheck, AppError> {
        let protection = tables.protection(postgres, original)?;
        let place = format!("{} {}.{}", postgres.config(), tables.schema, tables.table.as_deref().unwrap_or_default());
        let secure = protection.mode == ProtectionMode::Secure;
        let path = self.record_path(project, original);
        let recorded = read_record(&path)?.filter(|record| record.place == place);
        let (drifts, recorded_at) = match recorded {
            Some(record) => (drifts(&record, &protection, secure), record.recorded_at),
            None => {
                let record = Record {
                    version: RECORD_VERSION,
                    place,
                    secure,
                    recorded_at: self.inner.clock.now(),
                    facts: protection.facts.clone(),
                };
                // What does not hold is nothing to compare with later.
                if protection.holds() {
                    write_record(&path, &record)?;
                }
                (Vec::new(), record.recorded_at)
            }
        };
        let findings = protection.findings.into_iter().map(|finding| (finding.claim, finding.problem)).collect();
        Ok(EditlogCheck {
            mode: if secure { EditlogMode::Secure } else { EditlogMode::Simple },
            findings,
            drifts,
            recorded_at,
        })
    }

    /// The tables of an editlog that is in a database.
    fn database_place(&self, project: &Project, original: &DatasetName) -> Result<(Postgres, EditlogTables), AppError> {
        match self.editlog_place(project, original)? {
            EditlogPlace::Database(postgres, tables) => Ok((postgres, tables)),
            EditlogPlace::Node(_) => Err(AppError::Invalid(format!(
                "the editlog of `{original}` is in the node's own file: to keep it in a database, write \
                 datasets/{}.toml with `connection` and `table`",
                original.editlog()
            ))),
        }
    }

    fn record_path(&self, project: &Project, original: &DatasetName) -> PathBuf {
        self.inner.folder.data(&project.key).join(format!("{}.protection.json", original.editlog()))
    }
}

/// Whether the events of an editlog in a database are sealed in time.
fn sealed_in_time(
    postgres: &Postgres,
    tables: &EditlogTables,
    original: &DatasetName,
) -> Result<(String, Option<String>), AppError> {
    let seal = SealedLog::open_postgres(postgres, tables, original)?.progress()?;
    let behind = seal.behind_ms.filter(|behind| *behind > SEAL_BEHIND_MS_MAX);
    let problem = behind.map(|behind| {
        let (waiting, seconds) = (seal.events.saturating_sub(seal.sealed), behind / 1000);
        format!("{waiting} events wait, the first of them for {seconds} s: is the node served?")
    });
    Ok((format!("events are sealed within {} s", SEAL_BEHIND_MS_MAX / 1000), problem))
}

/// Rights and roles that came or went.
fn drifts(record: &Record, protection: &Protection, secure: bool) -> Vec<String> {
    let mut drifts = Vec::new();
    if record.secure && !secure {
        drifts.push("it was initialised securely, and now belongs to the node's own user".to_owned());
    }
    drifts.extend(protection.facts.difference(&record.facts).map(|fact| format!("new: {fact}")));
    drifts.extend(record.facts.difference(&protection.facts).map(|fact| format!("gone: {fact}")));
    drifts
}

fn read_record(path: &std::path::Path) -> Result<Option<Record>, AppError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EngineError::io("read", path)(error).into()),
    };
    let record: Record = serde_json::from_slice(&text).map_err(|_| {
        AppError::Configuration(format!(
            "{} is damaged: restore it from a backup, or remove it to record anew what protects the editlog",
            path.display()
        ))
    })?;
    Ok(Some(record))
}

fn write_record(path: &std::path::Path, record: &Record) -> Result<(), AppError> {
    let mut file = AtomicFile::create(path)?;
    serde_json::to_writer_pretty(&mut file, record).map_err(AppError::internal)?;
    file.commit()?;
    Ok(())
}
