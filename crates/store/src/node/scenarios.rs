//! Runs of scenarios, with their logs.

use rusqlite::{OptionalExtension, Row};
use stet_domain::{LogDate, Login, ProjectKey};
use uuid::Uuid;

use super::{NodeDatabase, date, date_or_none, limit_of, parsed};
use crate::error::StoreError;

/// The most log lines kept of one run.
pub const RUN_LOG_LINES_MAX: usize = 10_000;

/// The longest log line, in characters; what is longer is cut.
const LOG_LINE_CHARACTERS_MAX: usize = 4_000;

/// A run of a scenario. What states there are and what is in the document is decided by who runs scenarios.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioRun {
    /// A UUID of version 7, so that ids sort by time.
    pub id: Uuid,
    /// The project.
    pub project: ProjectKey,
    /// The scenario.
    pub scenario: String,
    /// How far it is.
    pub state: String,
    /// Who started it.
    pub started_by: Login,
    /// When it started.
    pub started_at: LogDate,
    /// When it ended; none while it runs.
    pub finished_at: Option<LogDate>,
    /// Why it failed, in plain words.
    pub error: Option<String>,
    /// Its steps as JSON text.
    pub document: String,
}

/// A line of the log of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioLogLine {
    /// When.
    pub at: LogDate,
    /// What, in plain words.
    pub text: String,
}

const COLUMNS: &str = "id, project, scenario, state, started_by, started_at, finished_at, error, document";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ScenarioRun> {
    Ok(ScenarioRun {
        id: parsed(row, 0)?,
        project: parsed(row, 1)?,
        scenario: row.get(2)?,
        state: row.get(3)?,
        started_by: parsed(row, 4)?,
        started_at: date(row, 5)?,
        finished_at: date_or_none(row, 6)?,
        error: row.get(7)?,
        document: row.get(8)?,
    })
}

impl NodeDatabase {
    /// Notes a run, or how far it is by now.
    pub async fn save_scenario_run(&self, run: ScenarioRun) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                &format!(
                    "INSERT INTO scenario_runs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT (id) DO UPDATE SET state = excluded.state, finished_at = excluded.finished_at,
                       error = excluded.error, document = excluded.document"
                ),
                (
                    run.id.to_string(),
                    run.project.as_str(),
                    run.scenario,
                    run.state,
                    run.started_by.as_str(),
                    run.started_at.micros(),
                    run.finished_at.map(LogDate::micros),
                    run.error,
                    run.document,
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// A run.
    pub async fn scenario_run(&self, id: Uuid) -> Result<Option<ScenarioRun>, StoreError> {
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM scenario_runs WHERE id = ?1"))?;
            Ok(statement.query_row([id.to_string()], from_row).optional()?)
        })
        .await
    }

    /// The runs of a project's scenarios, or of one of them, newest first.
    pub async fn scenario_runs(
        &self,
        project: &ProjectKey,
        scenario: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ScenarioRun>, StoreError> {
        let (project, scenario) = (project.clone(), scenario.map(str::to_owned));
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM scenario_runs WHERE project = ?1 AND (?2 IS NULL OR scenario = ?2)
                 ORDER BY id DESC LIMIT ?3"
            ))?;
            let runs = statement.query_map((project.as_str(), scenario, limit_of(limit)), from_row)?;
            Ok(runs.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Ends the runs that are noted as running, as they do not after the node has stopped. How many there were.
    pub async fn finish_interrupted_runs(&self, state: &str, error: &str, at: LogDate) -> Result<usize, StoreError> {
        let (state, error) = (state.to_owned(), error.to_owned());
        self.write(move |transaction| {
            Ok(transaction.execute(
                "UPDATE scenario_runs SET state = ?1, error = ?2, finished_at = ?3 WHERE finished_at IS NULL",
                (state, error, at.micros()),
            )?)
        })
        .await
    }

    /// Adds a line to the log of a run; beyond [`RUN_LOG_LINES_MAX`] it is dropped.
    pub async fn append_run_log(&self, id: Uuid, line: ScenarioLogLine) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let text: String = line.text.chars().take(LOG_LINE_CHARACTERS_MAX).collect();
            transaction.execute(
                "INSERT INTO scenario_log_lines (run_id, number, at, text)
                 SELECT ?1, 1 + coalesce(max(number), 0), ?2, ?3 FROM scenario_log_lines WHERE run_id = ?1
                 HAVING coalesce(max(number), 0) < ?4",
                (id.to_string(), line.at.micros(), text, limit_of(RUN_LOG_LINES_MAX)),
            )?;
            Ok(())
        })
        .await
    }

    /// The lines of the log of a run, in order.
    pub async fn run_log(&self, id: Uuid, limit: usize) -> Result<Vec<ScenarioLogLine>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT at, text FROM scenario_log_lines WHERE run_id = ?1 ORDER BY number LIMIT ?2")?;
            let lines = statement.query_map((id.to_string(), limit_of(limit)), |row| {
                Ok(ScenarioLogLine { at: date(row, 0)?, text: row.get(1)? })
            })?;
            Ok(lines.collect::<Result<_, _>>()?)
        })
        .await
    }
}
