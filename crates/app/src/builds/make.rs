//! The making of one dataset: in files, or inside the database that has the original.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use stet_domain::apply::ApplyReport;
use stet_domain::key::key_parts;
use stet_domain::project::{Column, CsvForm, Dataset, Format, Location, Project, Recipe, RecipeKind, Webapp};
use stet_domain::replay::Replay;
use stet_domain::{DatasetName, EventId};
use stet_engine::build::{
    ApplyBuild, ApplyTask, OriginalColumns, RebuildTask, ReplayReport, ReplayTask, apply, apply_spilled, rebuild,
    replay, replay_spilled,
};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::manifest::{InputStamp, MANIFEST_VERSION, Manifest, OriginalStamp, OutputParts, OutputStamp};
use stet_engine::read::FileSource;
use stet_engine::rows::{read_rows, write_rows};
use stet_engine::sql::{QueryReport, QueryTask, run as query};
use stet_engine::write::{AtomicFile, Digested, digest_text};
use stet_store::postgres::{ApplyInside, TableWritten};

use super::fold::Log;
use super::{BuildMode, BuildReport, ReportFile, ReportFiles};
use crate::App;
use crate::datasets::find;
use crate::error::AppError;
use crate::tables::DatabaseTable;
use crate::webapp::Resolved;

/// With more new events than this an edited dataset is built in full.
const EVENTS_GONE_ON_MAX: i64 = 5_000;

/// With this many events of one row an edited dataset is built in full.
const ROW_EVENTS_MAX: usize = 1_000;

/// A file that a recipe is to make.
#[derive(Clone, Copy)]
struct FileToMake<'a> {
    dataset: &'a Dataset,
    path: &'a Path,
    format: Format,
}

/// What a recipe made, and of what.
struct Made {
    outcome: Outcome,
    inputs: Vec<InputStamp>,
    position: Option<stet_domain::EventId>,
    rows: u64,
    file: Digested,
    /// The columns of an output whose file does not tell their types.
    columns: Vec<Column>,
    /// The parts of an output that is a folder.
    parts: Option<OutputParts>,
    /// What a replay took from its original.
    original: Option<OriginalStamp>,
}

enum Outcome {
    Replay(ReplayReport),
    Apply(ApplyReport),
    Sql(QueryReport),
}

impl App {
    /// Runs one recipe. Blocks.
    pub(super) fn make(
        &self,
        project: &Project,
        recipe: &Recipe,
        mode: BuildMode,
        control: &Control,
    ) -> Result<BuildReport, AppError> {
        let dataset = find(project, recipe.output.as_str())?;
        if matches!(dataset.location, Location::Editlog { .. }) {
            return Err(AppError::Invalid(format!("`{}` is an editlog: no recipe writes one", dataset.name)));
        }
        let output = self.output_path(project, dataset)?;
        if let Some(folder) = output.parent() {
            std::fs::create_dir_all(folder).map_err(EngineError::io("make the folder", folder))?;
        }
        let started = Instant::now();
        let table = self.database_table(project, dataset)?;
        let made = match (&table, self.inside(project, recipe, table.as_ref())?) {
            (Some(table), Some((webapp, original))) => {
                self.apply_inside(project, webapp, &original, table, &output, control)?
            }
            (Some(table), None) => self.make_table(project, recipe, dataset, table, &output, control)?,
            (None, _) => {
                let Location::Files { format, .. } = dataset.location else {
                    return Err(AppError::Invalid(format!("`{}` cannot be written", dataset.name)));
                };
                let file = FileToMake { dataset, path: &output, format };
                self.make_file(project, recipe, &file, mode, control)?
            }
        };

        let shown_output = table.as_ref().map_or_else(|| self.shown_path(&output), DatabaseTable::to_string);
        let files = ReportFiles {
            inputs: made
                .inputs
                .iter()
                .flat_map(|stamp| stamp.files.iter().map(|file| (stamp.dataset.clone(), file)))
                .map(|(dataset, file)| ReportFile {
                    dataset,
                    path: self.shown_path(&file.print.path),
                    bytes: file.print.bytes,
                    sha256: file.sha256.clone(),
                })
                .collect(),
            log_position: made.position,
            output: ReportFile {
                dataset: recipe.output.to_string(),
                path: shown_output,
                bytes: if table.is_some() { 0 } else { made.file.bytes },
                sha256: made.file.sha256.clone(),
            },
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        let report = match made.outcome {
            Outcome::Replay(account) => BuildReport::Replay { account, files },
            Outcome::Apply(account) => BuildReport::Apply { account, files },
            Outcome::Sql(account) => BuildReport::Sql { account, files },
        };
        let manifest = Manifest {
            format_version: MANIFEST_VERSION,
            stet_version: env!("CARGO_PKG_VERSION").to_owned(),
            dataset: recipe.output.to_string(),
            recipe: self.recipe_stamp(project, recipe),
            inputs: made.inputs,
            log_position: made.position,
            output: OutputStamp { columns: made.columns, parts: made.parts, ..OutputStamp::new(made.file, made.rows) },
            original: made.original,
            report: serde_json::to_value(&report).map_err(AppError::internal)?,
        };
        manifest.write(&output)?;
        Ok(report)
    }

    /// Runs a recipe over files, or copies of tables, into a file.
    fn make_file(
        &self,
        project: &Project,
        recipe: &Recipe,
        file: &FileToMake<'_>,
        mode: BuildMode,
        control: &Control,
    ) -> Result<Made, AppError> {
        let FileToMake { dataset, path: output, format } = *file;
        let mut inputs = Vec::new();
        // The content of each input that is in a database, as its copy has it.
        let mut contents = Vec::new();
        for input in &recipe.inputs {
            let input = find(project, input.as_str())?;
            if matches!(input.location, Location::Editlog { .. }) {
                continue;
            }
            if let Some(table) = self.database_table(project, input)? {
                // A replay takes the columns of its original alone.
                let content = table.refresh().map_err(|error| self.explain_table(project, &table, error))?;
                contents.push(table.stamp(&content));
            }
            inputs.push(self.file_source(project, input)?);
        }
        let present = Manifest::read(output)?;
        let earlier = present.as_ref().map(|manifest| manifest.inputs.clone()).unwrap_or_default();
        let (mut parts, mut original_stamp) = (None, None);
        let explain = |error| self.explain_missing(project, error);
        let (outcome, written, mut stamps, position) = match (&recipe.kind, self.webapp_of(project, recipe)) {
            (RecipeKind::Sql { sql, file }, _) => {
                let task = QueryTask {
                    file,
                    sql,
                    inputs: &inputs,
                    earlier: &earlier,
                    dataset: recipe.output.as_str(),
                    columns: dataset.columns.as_deref(),
                    output,
                    format,
                };
                let build = query(&task, control).map_err(explain)?;
                (Outcome::Sql(build.report), build.output, build.inputs, None)
            }
            (kind, Some(webapp)) => {
                let original = find(project, webapp.original.as_str())?;
                if matches!(kind, RecipeKind::Replay { .. }) {
                    let columns = match self.database_table(project, original)? {
                        Some(table) => {
                            let columns = table.columns();
                            OriginalColumns::of_table(
                                columns.map_err(|error| self.explain_table(project, &table, error))?,
                            )
                        }
                        None => OriginalColumns::of_files(&self.file_source(project, original)?).map_err(explain)?,
                    };
                    let resolved = Resolved::new(webapp, columns.columns())?;
                    let editable = resolved.apply_columns();
                    let nothing = Replay::new();
                    original_stamp = Some(columns.stamp(&resolved.keys, &editable));
                    let task = ReplayTask {
                        replay: &nothing,
                        keys: &resolved.keys,
                        editable: &editable,
                        original: Some(&columns),
                        output,
                        format,
                    };
                    let build = match self.fold(project, &webapp.original, control)? {
                        Log::Folded(log) => replay(&ReplayTask { replay: &log, ..task }, control)?,
                        Log::Spilled(log) => replay_spilled(&task, &log, control)?,
                    };
                    (Outcome::Replay(build.report), build.output, Vec::new(), build.log_position)
                } else {
                    let original = self.file_source(project, original)?.settled().map_err(explain)?;
                    let resolved = Resolved::new(webapp, &original.columns()?)?;
                    let editable = resolved.apply_columns();
                    let nothing = Replay::new();
                    let task = ApplyTask {
                        original: &original,
                        key: &webapp.primary_keys,
                        replay: &nothing,
                        editable: &editable,
                        earlier: earlier.iter().find(|stamp| stamp.dataset == original.dataset),
                        output,
                        format,
                    };
                    let recipe_stamp = self.recipe_stamp(project, recipe);
                    // A copy of a table is another file with every change of the table.
                    let gone_on = match present.filter(|present| present.recipe == recipe_stamp) {
                        Some(present) if mode != BuildMode::Force && contents.is_empty() => {
                            self.go_on(project, &webapp.original, &present, &task, control)?
                        }
                        _ => None,
                    };
                    let build = match gone_on {
                        Some(build) => build,
                        None => match self.fold(project, &webapp.original, control)? {
                            Log::Folded(log) => apply(&ApplyTask { replay: &log, ..task }, control)?,
                            Log::Spilled(log) => apply_spilled(&task, &log, control)?,
                        },
                    };
                    parts = build.parts;
                    (Outcome::Apply(build.report), build.output, vec![build.original], build.log_position)
                }
            }
            (_, None) => return Err(AppError::not_found(format!("webapp of recipe `{}`", recipe.name))),
        };
        for stamp in &mut stamps {
            if let Some(content) = contents.iter().find(|content| content.dataset == stamp.dataset) {
                *stamp = content.clone();
            }
        }
        let columns = if format == Format::Parquet { Vec::new() } else { written.columns };
        let original = original_stamp;
        Ok(Made { outcome, inputs: stamps, position, rows: written.rows, file: written.file, columns, parts, original })
    }

    /// Brings an edited dataset up to date by what new events touch, without reading the rest of the log; none when that
    /// cannot be.
    fn go_on(
        &self,
        project: &Project,
        original: &DatasetName,
        present: &Manifest,
        task: &ApplyTask<'_>,
        control: &Control,
    ) -> Result<Option<ApplyBuild>, AppError> {
        let (Some(from), Some(to)) = (present.log_position, self.log_position(project, original)?) else {
            return Ok(None);
        };
        let Ok(BuildReport::Apply { account, .. }) = serde_json::from_value(present.report.clone()) else {
            return Ok(None);
        };
        if to <= from || to.0 - from.0 > EVENTS_GONE_ON_MAX {
            return Ok(None);
        }
        let reader = self.editlog_reader_of(project, original)?;
        let mut keys = BTreeSet::new();
        reader.scan(Some(from), Some(to), &mut |event| {
            if event.action.is_edit() {
                keys.insert(event.key);
            }
            ControlFlow::Continue(())
        })?;
        if keys.is_empty() {
            return Ok(None);
        }
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for key in keys {
            control.check()?;
            let events = reader.history(key.as_str(), None, Some(EventId(to.0 + 1)), ROW_EVENTS_MAX)?;
            if events.len() >= ROW_EVENTS_MAX {
                return Ok(None);
            }
            before.extend(events.iter().filter(|event| event.id <= from).cloned());
            after.extend(events);
        }
        before.sort_unstable_by_key(|event| event.id);
        after.sort_unstable_by_key(|event| event.id);
        let (before, after) = (Replay::of(&before), Replay::of(&after));
        let task = ApplyTask { replay: &after, ..*task };
        let again = RebuildTask { task: &task, before: &before, output: &present.output, report: &account };
        Ok(rebuild(&again, control)?)
    }

    /// Runs a recipe into a file of the cache and puts its rows into a table.
    fn make_table(
        &self,
        project: &Project,
        recipe: &Recipe,
        dataset: &Dataset,
        table: &DatabaseTable,
        output: &Path,
        control: &Control,
    ) -> Result<Made, AppError> {
        let folder = self.scratch(project)?;
        let path = folder.path().join("output.parquet");
        let file = FileToMake { dataset, path: &path, format: Format::Parquet };
        let made = self.make_file(project, recipe, &file, BuildMode::Only, control)?;
        let rows = FileSource {
            dataset: dataset.name.to_string(),
            path,
            format: Format::Parquet,
            csv: CsvForm::default(),
            columns: None,
        };
        let written = table.replace(&rows, control)?;
        self.mark(made, &written, output)
    }

    /// The webapp and the original of an apply that the database of its output can make by itself.
    fn inside<'p>(
        &self,
        project: &'p Project,
        recipe: &Recipe,
        output: Option<&DatabaseTable>,
    ) -> Result<Option<(&'p Webapp, DatabaseTable)>, AppError> {
        let (RecipeKind::Apply { .. }, Some(webapp), Some(output)) =
            (&recipe.kind, self.webapp_of(project, recipe), output)
        else {
            return Ok(None);
        };
        let original = self.database_table(project, find(project, webapp.original.as_str())?)?;
        Ok(original.filter(|original| original.connection == output.connection).map(|original| (webapp, original)))
    }

    /// Applies the edits of a webapp inside the database that has original and output: only the rows that the log knows
    /// come here, where the engine does with them what it does with files.
    fn apply_inside(
        &self,
        project: &Project,
        webapp: &Webapp,
        original: &DatabaseTable,
        output: &DatabaseTable,
        marker: &Path,
        control: &Control,
    ) -> Result<Made, AppError> {
        let columns = original.columns().map_err(|error| self.explain_table(project, original, error))?;
        let resolved = Resolved::new(webapp, &columns)?;
        let log = self.fold_in_memory(project, &webapp.original, control)?;
        let editable = resolved.apply_columns();
        let editable_columns: Vec<Column> = editable
            .iter()
            .map(|column| Column { name: column.name.clone(), column_type: column.column_type })
            .collect();
        // Keys that are none of the original's types are of no row there.
        let reads = |parts: &Vec<String>| {
            parts.iter().zip(&resolved.keys).all(|(part, column)| column.column_type.read(part).is_ok())
        };
        let known: Vec<Vec<String>> =
            log.rows().filter_map(|(key, _)| key_parts(key, resolved.keys.len()).ok()).filter(reads).collect();
        let folder = self.scratch(project)?;
        let dataset = webapp.original.edited();
        let task = ApplyInside {
            original: &original.source,
            keys: &webapp.primary_keys,
            editable: &editable_columns,
            output: output.table_name()?,
            dataset: dataset.as_str(),
        };
        let mut report = None;
        let applied = original.postgres.apply_inside::<AppError>(&task, &known, |rows, handed| {
            let path = folder.path().join("original.parquet");
            // An added column is not in the original: the engine adds it as it does for files.
            let kept: Vec<usize> = (0..handed.len())
                .filter(|place| {
                    *place < resolved.keys.len() || columns.iter().any(|column| column.name == handed[*place].name)
                })
                .collect();
            let of_original: Vec<Column> = kept.iter().map(|place| handed[*place].clone()).collect();
            write_rows(&path, &of_original, |put| {
                rows.into_iter().try_for_each(|mut row| put(kept.iter().map(|place| row[*place].take()).collect()))
            })?;
            let touched = FileSource {
                dataset: webapp.original.to_string(),
                path,
                format: Format::Parquet,
                csv: CsvForm::default(),
                columns: Some(of_original),
            };
            let edited = folder.path().join("edited.parquet");
            let task = ApplyTask {
                original: &touched,
                key: &webapp.primary_keys,
                replay: &log,
                editable: &editable,
                earlier: None,
                output: &edited,
                format: Format::Parquet,
            };
            report = Some(apply(&task, control)?.report);
            let source = FileSource {
                dataset: webapp.original.to_string(),
                path: edited,
                format: Format::Parquet,
                csv: CsvForm::default(),
                columns: None,
            };
            let names = source.columns()?;
            let places: Vec<Option<usize>> =
                handed.iter().map(|column| names.iter().position(|name| name.name == column.name)).collect();
            let mut result = Vec::new();
            read_rows::<AppError>(&source, control, &mut |mut row| {
                result.push(places.iter().map(|place| place.and_then(|place| row[place].take())).collect());
                Ok(())
            })?;
            Ok(result)
        })?;
        let mut report = report.unwrap_or_default();
        report.rows_in = applied.rows_in;
        report.rows_out = applied.output.rows;
        let made = Made {
            outcome: Outcome::Apply(report),
            inputs: vec![original.stamp(&applied.original)],
            position: log.position(),
            rows: applied.output.rows,
            file: Digested { bytes: 0, sha256: String::new() },
            columns: Vec::new(),
            parts: None,
            original: None,
        };
        self.mark(made, &applied.output, marker)
    }

    /// Writes what stands for a table in the node's folder.
    fn mark(&self, made: Made, written: &TableWritten, marker: &Path) -> Result<Made, AppError> {
        let mut file = AtomicFile::create(marker)?;
        std::io::Write::write_all(&mut file, format!("{}\n", written.content).as_bytes())
            .map_err(EngineError::io("write", marker))?;
        let bytes = file.commit()?.bytes;
        let file = Digested { bytes, sha256: digest_text(&written.content) };
        Ok(Made { rows: written.rows, file, parts: None, ..made })
    }

    /// A folder for what a build needs in between, gone when it is dropped.
    fn scratch(&self, project: &Project) -> Result<tempfile::TempDir, AppError> {
        let folder = self.inner.folder.cache(&project.key);
        std::fs::create_dir_all(&folder).map_err(EngineError::io("make the folder", &folder))?;
        Ok(tempfile::Builder::new()
            .prefix(".build-")
            .tempdir_in(&folder)
            .map_err(EngineError::io("make a folder in", &folder))?)
    }
}
