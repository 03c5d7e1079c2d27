//! The replay recipe: the state of an editlog as a dataset, one row for each edited key.

use std::path::Path;
use std::time::Instant;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use stet_domain::apply::{ColumnMap, EditableColumn, ReportItem, ReportList, fit};
use stet_domain::event::{EventId, LogDate};
use stet_domain::project::{Column, Format};
use stet_domain::replay::{Replay, RowState};
use stet_domain::value::datetime_of;
use stet_domain::{ColumnType, Key, Value};

use super::{list, misfit_reason};
use crate::cell::{Appender, schema_of};
use crate::control::Control;
use crate::error::EngineError;
use crate::write::{DatasetWriter, Output, WriteOptions, Written, at};

const BATCH_ROWS: usize = 8_192;

/// What to build `editlog_pivoted` of.
#[derive(Debug)]
pub struct ReplayTask<'a> {
    /// The state of the log.
    pub replay: &'a Replay,
    /// The key columns, in their configured order, with their types in the original.
    pub keys: &'a [Column],
    /// The editable columns, in the webapp's order.
    pub editable: &'a [EditableColumn],
    /// The file to write.
    pub output: &'a Path,
    /// Its format.
    pub format: Format,
}

/// What a replay made.
#[derive(Debug, Clone)]
pub struct ReplayBuild {
    /// The account.
    pub report: ReplayReport,
    /// The last event of the log; none when it is empty.
    pub log_position: Option<EventId>,
    /// The file.
    pub output: Written,
    /// How long it took.
    pub duration_ms: u64,
}

/// The account of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// Events of the log.
    pub events: u64,
    /// Rows written: the keys that were ever edited.
    pub rows_out: u64,
    /// Values that do not fit their column: they are null in the output.
    pub misfits: ReportList,
    /// Overrides of columns that are no longer editable: they are not in the output.
    pub not_editable: ReportList,
}

/// The columns of `editlog_pivoted`.
pub fn pivoted_columns(keys: &[Column], editable: &[EditableColumn]) -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    let mut columns = keys.to_vec();
    columns.extend(editable.iter().map(|editable| column(&editable.name, editable.column_type)));
    columns.extend([
        column("last_edit_date", ColumnType::Instant),
        column("last_action", ColumnType::Text),
        column("first_action", ColumnType::Text),
        column("last_user", ColumnType::Text),
        column("edited_columns", ColumnType::Text),
    ]);
    columns
}

/// Writes the state of an editlog as a dataset: one row for each key that was ever edited, in order of the last edits.
///
/// # Errors
/// When the file cannot be written, and when the work is cancelled: an earlier output is untouched then.
pub fn replay(task: &ReplayTask<'_>, control: &Control) -> Result<ReplayBuild, EngineError> {
    let started = Instant::now();
    let schema = schema_of(&pivoted_columns(task.keys, task.editable));
    let rows = task.replay.rows_by_last_event();
    let mut pivot = Pivot {
        task,
        columns: ColumnMap::new(task.replay, task.editable),
        report: ReplayReport { events: task.replay.events(), ..ReplayReport::default() },
    };

    let output = Output::create(task.output, task.format)?.into_writer()?;
    let mut writer = DatasetWriter::new(output, &schema, WriteOptions::from(task.format))?;
    let rows_total = Some(rows.len() as u64);
    for (batch, part) in rows.chunks(BATCH_ROWS).enumerate() {
        let mut appenders: Vec<Appender> =
            schema.fields().iter().map(|field| Appender::new(field.data_type(), part.len())).collect();
        for (key, row) in part {
            pivot.append(key, row, &mut appenders);
        }
        let arrays: Result<Vec<_>, _> = appenders.iter_mut().map(Appender::finish).collect();
        let rows = RecordBatch::try_new(schema.clone(), arrays?)
            .map_err(|source| EngineError::Internal { action: "making rows", source: Box::new(source) })?;
        writer.write(&rows).map_err(|error| at(task.output, error))?;
        control.report((batch * BATCH_ROWS + part.len()) as u64, rows_total)?;
    }
    let output = writer.finish().map_err(|error| at(task.output, error))?;
    let (file, _) = output.into_output()?.commit()?;
    let mut report = pivot.report;
    report.rows_out = rows.len() as u64;
    report.misfits.sort();
    report.not_editable.sort();
    let output = Written { rows: report.rows_out, file };
    Ok(ReplayBuild {
        report,
        log_position: task.replay.position(),
        output,
        duration_ms: started.elapsed().as_millis() as u64,
    })
}

struct Pivot<'a> {
    task: &'a ReplayTask<'a>,
    columns: ColumnMap<'a>,
    report: ReplayReport,
}

impl Pivot<'_> {
    /// Appends one row, in the order of [`pivoted_columns`].
    fn append(&mut self, key: &Key, row: &RowState, appenders: &mut [Appender]) {
        let (keys, rest) = appenders.split_at_mut(self.task.keys.len());
        let (cells, meta) = rest.split_at_mut(self.task.editable.len());
        self.append_key(key, row, keys);

        let mut values: Vec<Option<Value>> = vec![None; cells.len()];
        let mut edited = vec![false; cells.len()];
        for (column, cell, overriding) in row.overrides() {
            let item = |reason: String| ReportItem {
                event: cell.event,
                key: key.as_str().to_owned(),
                column: Some(self.task.replay.column_name(column).to_owned()),
                value: overriding.value.as_deref().map(str::to_owned),
                reason,
            };
            let Some((place, editable)) = self.columns.get(column) else {
                list(&mut self.report.not_editable, item("the column is no longer editable".into()));
                continue;
            };
            edited[place] = true;
            match fit(overriding, editable.column_type) {
                Some(value) => values[place] = value,
                None => list(&mut self.report.misfits, item(misfit_reason(editable.column_type))),
            }
        }
        for (place, value) in values.into_iter().enumerate() {
            let shown = value.clone();
            if !cells[place].append(value) {
                cells[place].append_null();
                let editable = &self.task.editable[place];
                list(
                    &mut self.report.misfits,
                    ReportItem {
                        event: row.last_event,
                        key: key.as_str().to_owned(),
                        column: Some(editable.name.clone()),
                        value: shown.map(|value| value.to_string()),
                        reason: misfit_reason(editable.column_type),
                    },
                );
            }
        }

        let edited_names = self.task.editable.iter().zip(&edited).filter(|(_, edited)| **edited);
        let edited_names: Vec<&str> = edited_names.map(|(editable, _)| editable.name.as_str()).collect();
        let edited_names = serde_json::Value::from(edited_names).to_string();
        let user = self.task.replay.user(row.last_user).as_str().to_owned();
        let texts = [row.last_action.to_string(), row.first_action.to_string(), user, edited_names];
        let meta_values = [instant(row.last_date)].into_iter().chain(texts.map(|text| Some(Value::Text(text))));
        for (appender, value) in meta.iter_mut().zip(meta_values) {
            if !appender.append(value) {
                appender.append_null();
            }
        }
    }

    fn append_key(&mut self, key: &Key, row: &RowState, appenders: &mut [Appender]) {
        let parts = key.parts(self.task.keys.len()).ok();
        for (place, (appender, column)) in appenders.iter_mut().zip(self.task.keys).enumerate() {
            let value = parts.as_ref().and_then(|parts| column.column_type.read(&parts[place]).ok());
            let is_misfit = value.is_none();
            if is_misfit || !appender.append(value) {
                appender.append_null();
                list(
                    &mut self.report.misfits,
                    ReportItem {
                        event: row.last_event,
                        key: key.as_str().to_owned(),
                        column: Some(column.name.clone()),
                        value: None,
                        reason: format!("the key column now holds {}", column.column_type.description()),
                    },
                );
            }
        }
    }
}

fn instant(date: LogDate) -> Option<Value> {
    datetime_of(i128::from(date.micros()) * 1_000).map(Value::Instant)
}
