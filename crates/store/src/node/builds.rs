//! Builds of datasets, past and running, with their logs.

use rusqlite::{OptionalExtension, Row};
use stet_domain::{DatasetName, LogDate, Login, ProjectKey};
use uuid::Uuid;

use super::{Failure, NodeDatabase, date, date_or_none, limit_of, parsed};
use crate::error::StoreError;

/// The most log lines kept of one build.
pub const LOG_LINES_MAX: usize = 10_000;

/// The longest log line, in characters; what is longer is cut.
const LOG_LINE_CHARACTERS_MAX: usize = 4_000;

/// A build. What modes and states there are, and what is in the document, is decided by who runs builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// A UUID of version 7, so that ids sort by time.
    pub id: Uuid,
    /// The project of the dataset.
    pub project: ProjectKey,
    /// The dataset that was asked for.
    pub dataset: DatasetName,
    /// What was to be built: only the dataset, what it needs, everything.
    pub mode: String,
    /// How far it is.
    pub state: String,
    /// Who started it.
    pub started_by: Login,
    /// When it started.
    pub started_at: LogDate,
    /// When it ended; none while it runs.
    pub finished_at: Option<LogDate>,
    /// Why it failed, in plain words; none if it did not.
    pub error: Option<String>,
    /// Steps and report as JSON text.
    pub document: String,
}

/// A line for the log of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogLine {
    /// When.
    pub at: LogDate,
    /// What, in plain words.
    pub text: String,
}

/// A line of the log of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildLogLine {
    /// From 1, without gaps.
    pub number: u64,
    /// When.
    pub at: LogDate,
    /// What, in plain words.
    pub text: String,
}

const COLUMNS: &str = "id, project, dataset, mode, state, started_by, started_at, finished_at, error, document";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Build> {
    Ok(Build {
        id: parsed(row, 0)?,
        project: parsed(row, 1)?,
        dataset: parsed(row, 2)?,
        mode: row.get(3)?,
        state: row.get(4)?,
        started_by: parsed(row, 5)?,
        started_at: date(row, 6)?,
        finished_at: date_or_none(row, 7)?,
        error: row.get(8)?,
        document: row.get(9)?,
    })
}

impl NodeDatabase {
    /// Notes a build that starts. Fails with `Refused` if its id is there already.
    pub async fn insert_build(&self, build: Build) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                &format!("INSERT INTO builds ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
                (
                    build.id.to_string(),
                    build.project.as_str(),
                    build.dataset.as_str(),
                    build.mode,
                    build.state,
                    build.started_by.as_str(),
                    build.started_at.micros(),
                    build.finished_at.map(LogDate::micros),
                    build.error,
                    build.document,
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// Sets what changes of a build: state, end, error and document. Fails with `NoSuchBuild`.
    pub async fn update_build(&self, build: &Build) -> Result<(), StoreError> {
        let build = build.clone();
        self.write(move |transaction| {
            let changed = transaction.execute(
                "UPDATE builds SET state = ?2, finished_at = ?3, error = ?4, document = ?5 WHERE id = ?1",
                (
                    build.id.to_string(),
                    build.state,
                    build.finished_at.map(LogDate::micros),
                    build.error,
                    build.document,
                ),
            )?;
            if changed == 0 { Err(StoreError::NoSuchBuild { id: build.id }.into()) } else { Ok(()) }
        })
        .await
    }

    /// A build.
    pub async fn build(&self, id: Uuid) -> Result<Option<Build>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM builds WHERE id = ?1"))?;
            Ok(statement.query_row([id.to_string()], from_row).optional()?)
        })
        .await
    }

    /// The builds of a project, newest first.
    pub async fn builds(&self, project: &ProjectKey, limit: usize) -> Result<Vec<Build>, StoreError> {
        let project = project.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM builds WHERE project = ?1 ORDER BY id DESC LIMIT ?2"
            ))?;
            let builds = statement.query_map((project.as_str(), limit_of(limit)), from_row)?;
            Ok(builds.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Ends the builds that are noted as running, as they do not after the node has stopped. How many there were.
    pub async fn finish_interrupted_builds(
        &self,
        state: &str,
        error: &str,
        finished_at: LogDate,
    ) -> Result<usize, StoreError> {
        let (state, error) = (state.to_owned(), error.to_owned());
        self.write(move |transaction| {
            Ok(transaction.execute(
                "UPDATE builds SET state = ?1, error = ?2, finished_at = ?3 WHERE finished_at IS NULL",
                (state, error, finished_at.micros()),
            )?)
        })
        .await
    }

    /// Adds lines to the log of a build, up to [`LOG_LINES_MAX`] in all; what is beyond is dropped. Fails with
    /// `NoSuchBuild`.
    pub async fn append_build_log(&self, id: Uuid, lines: Vec<NewLogLine>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let id_text = id.to_string();
            let last: Option<i64> = transaction
                .query_row(
                    "SELECT (SELECT coalesce(max(number), 0) FROM build_log_lines WHERE build_id = id)
                     FROM builds WHERE id = ?1",
                    [&id_text],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(last) = last else {
                return Err(Failure::Store(StoreError::NoSuchBuild { id }));
            };
            let mut statement = transaction
                .prepare_cached("INSERT INTO build_log_lines (build_id, number, at, text) VALUES (?1, ?2, ?3, ?4)")?;
            for (number, line) in (last + 1..=LOG_LINES_MAX as i64).zip(lines) {
                let text: String = line.text.chars().take(LOG_LINE_CHARACTERS_MAX).collect();
                statement.execute((&id_text, number, line.at.micros(), text))?;
            }
            Ok(())
        })
        .await
    }

    /// The lines of the log of a build after a number (0 for all), in order.
    pub async fn build_log(&self, id: Uuid, after: u64, limit: usize) -> Result<Vec<BuildLogLine>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, at, text FROM build_log_lines WHERE build_id = ?1 AND number > ?2
                 ORDER BY number LIMIT ?3",
            )?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let lines = statement.query_map((id.to_string(), after, limit_of(limit)), |row| {
                let number = row.get::<_, i64>(0)?.unsigned_abs();
                Ok(BuildLogLine { number, at: date(row, 1)?, text: row.get(2)? })
            })?;
            Ok(lines.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Deletes all but the newest `keep` builds of a project, with their logs; never one that still runs. How many
    /// there were.
    pub async fn purge_builds(&self, project: &ProjectKey, keep: usize) -> Result<usize, StoreError> {
        let project = project.clone();
        self.write(move |transaction| {
            Ok(transaction.execute(
                "DELETE FROM builds WHERE finished_at IS NOT NULL AND id IN (
                   SELECT id FROM builds WHERE project = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
                (project.as_str(), i64::try_from(keep).unwrap_or(i64::MAX)),
            )?)
        })
        .await
    }
}
