//! The replay recipe: the state of an editlog as a dataset, one row for each edited key.

mod merge;
mod original;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use stet_domain::apply::{ColumnMap, EditableColumn, REPORT_ITEMS_MAX, ReportItem, ReportList, fit};
use stet_domain::event::{EventId, LogDate};
use stet_domain::key::key_parts;
use stet_domain::project::{Column, Format};
use stet_domain::replay::{Replay, RowNumber, RowState};
use stet_domain::value::datetime_of;
use stet_domain::{ColumnType, Value};

use merge::{Merged, RunWriter};

pub use original::OriginalColumns;

use super::misfit_reason;
use super::spill::SpilledLog;
use crate::cell::{Appender, arrow_type_of, column_type_of, columns_of};
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
    /// The original's columns, whose exact types the output has; none where only the types of `keys` and `editable` are
    /// known.
    pub original: Option<&'a OriginalColumns>,
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

/// The columns of `editlog_pivoted`: those of the original have its exact types where these are known, but dictionaries are
/// written out. A column of the original that has the name of one of the last five keeps it, and that one is told by
/// `stet_` before its name.
pub fn pivoted_schema(keys: &[Column], editable: &[EditableColumn], original: Option<&OriginalColumns>) -> SchemaRef {
    let original = original.and_then(OriginalColumns::exact);
    let of_original = |name: &str, column_type: ColumnType| {
        let known = original.and_then(|original| original.field_with_name(name).ok()).map(Field::data_type);
        let exact = known.filter(|exact| column_type_of(exact) == column_type).map(written_out);
        Field::new(name, exact.cloned().unwrap_or_else(|| arrow_type_of(column_type)), true)
    };
    let mut fields: Vec<Field> = keys.iter().map(|key| of_original(&key.name, key.column_type)).collect();
    fields.extend(editable.iter().map(|editable| of_original(&editable.name, editable.column_type)));
    for (name, column_type) in [
        ("last_edit_date", ColumnType::Instant),
        ("last_action", ColumnType::Text),
        ("first_action", ColumnType::Text),
        ("last_user", ColumnType::Text),
        ("edited_columns", ColumnType::Text),
    ] {
        let mut name = name.to_owned();
        while fields.iter().any(|other| *other.name() == name) {
            name.insert_str(0, "stet_");
        }
        fields.push(Field::new(name, arrow_type_of(column_type), true));
    }
    Arc::new(Schema::new(fields))
}

fn written_out(mut data_type: &DataType) -> &DataType {
    while let DataType::Dictionary(_, values) = data_type {
        data_type = values;
    }
    data_type
}

/// Writes the state of an editlog as a dataset: one row for each key that was ever edited, in order of the last edits.
///
/// # Errors
/// When the file cannot be written, and when the work is cancelled: an earlier output is untouched then.
pub fn replay(task: &ReplayTask<'_>, control: &Control) -> Result<ReplayBuild, EngineError> {
    let started = Instant::now();
    let schema = pivoted_schema(task.keys, task.editable, task.original);
    let rows = task.replay.by_last_event();
    let mut pivot = Pivot::new(task, task.replay);
    let batches = rows.chunks(BATCH_ROWS).map(|part| pivot.batch(part));
    let output = write(task, &schema, batches, Some(rows.len() as u64), control)?;
    Ok(account(task.replay, pivot.account, output, started))
}

/// As [`replay`] for a log that is too large for memory; the task's own `replay` is not looked at. The output is that of
/// [`replay`] byte for byte.
///
/// # Errors
/// As [`replay`]; also when temporary files cannot be written.
pub fn replay_spilled(task: &ReplayTask<'_>, log: &SpilledLog, control: &Control) -> Result<ReplayBuild, EngineError> {
    let started = Instant::now();
    let schema = pivoted_schema(task.keys, task.editable, task.original);
    let (mut runs, mut whole, mut rows_total) = (Vec::new(), Account::default(), 0);
    for replay in log.folded() {
        let replay = replay?;
        let rows = replay.by_last_event();
        rows_total += rows.len() as u64;
        let mut pivot = Pivot::new(task, &replay);
        let mut run = RunWriter::new(log.folder(), &schema)?;
        for part in rows.chunks(BATCH_ROWS) {
            control.check()?;
            let by = part.iter().map(|number| replay.at(*number).1.last_event.0).collect();
            run.write(by, &pivot.batch(part)?)?;
        }
        runs.push(run.finish(log.folder())?);
        whole.absorb(pivot.account);
    }
    let mut merged = Merged::new(runs, &schema)?;
    let batches = std::iter::from_fn(|| merged.next().transpose());
    let output = write(task, &schema, batches, Some(rows_total), control)?;
    Ok(account(log.names(), whole, output, started))
}

fn write(
    task: &ReplayTask<'_>,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, EngineError>>,
    rows_total: Option<u64>,
    control: &Control,
) -> Result<Written, EngineError> {
    let output = Output::create(task.output, task.format)?.into_writer()?;
    let mut writer = DatasetWriter::new(output, schema, WriteOptions::from(task.format))?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        writer.write(&batch).map_err(|error| at(task.output, error))?;
        rows += batch.num_rows() as u64;
        control.report(rows, rows_total)?;
    }
    let output = writer.finish().map_err(|error| at(task.output, error))?;
    let (file, _) = output.into_output()?.commit()?;
    Ok(Written { rows, file, columns: columns_of(schema) })
}

fn account(log: &Replay, account: Account, output: Written, started: Instant) -> ReplayBuild {
    let report = ReplayReport {
        events: log.events(),
        rows_out: output.rows,
        misfits: account.misfits.into_report(),
        not_editable: account.not_editable.into_report(),
    };
    let duration_ms = started.elapsed().as_millis() as u64;
    ReplayBuild { report, log_position: log.position(), output, duration_ms }
}

/// What was met in some rows.
#[derive(Default)]
struct Account {
    misfits: Listed,
    not_editable: Listed,
}

/// A count with the first items of what was counted, each with the last event of its row, by which rows are in order.
#[derive(Default)]
struct Listed {
    count: u64,
    items: Vec<(EventId, ReportItem)>,
}

impl Account {
    fn absorb(&mut self, other: Account) {
        self.misfits.absorb(other.misfits);
        self.not_editable.absorb(other.not_editable);
    }
}

impl Listed {
    fn add(&mut self, row: RowState<'_>, item: ReportItem) {
        self.count += 1;
        if self.items.len() < REPORT_ITEMS_MAX {
            self.items.push((row.last_event, item));
        }
    }

    fn absorb(&mut self, other: Listed) {
        self.count += other.count;
        self.items.extend(other.items);
        self.items.sort_by_key(|(row, _)| *row);
        self.items.truncate(REPORT_ITEMS_MAX);
    }

    fn into_report(self) -> ReportList {
        let items = self.items.into_iter().map(|(_, item)| item).collect();
        let mut report = ReportList { count: self.count, items };
        report.sort();
        report
    }
}

struct Pivot<'a> {
    task: &'a ReplayTask<'a>,
    replay: &'a Replay,
    columns: ColumnMap<'a>,
    schema: SchemaRef,
    account: Account,
}

impl<'a> Pivot<'a> {
    fn new(task: &'a ReplayTask<'a>, replay: &'a Replay) -> Pivot<'a> {
        let schema = pivoted_schema(task.keys, task.editable, task.original);
        Pivot { task, replay, columns: ColumnMap::new(replay, task.editable), schema, account: Account::default() }
    }

    fn batch(&mut self, rows: &[RowNumber]) -> Result<RecordBatch, EngineError> {
        let mut appenders: Vec<Appender> =
            self.schema.fields().iter().map(|field| Appender::new(field.data_type(), rows.len())).collect();
        for number in rows {
            let (key, row) = self.replay.at(*number);
            self.append(key, row, &mut appenders);
        }
        let arrays: Result<Vec<_>, _> = appenders.iter_mut().map(Appender::finish).collect();
        RecordBatch::try_new(self.schema.clone(), arrays?)
            .map_err(|source| EngineError::Internal { action: "making rows", source: Box::new(source) })
    }

    /// Appends one row, in the order of [`pivoted_schema`].
    fn append(&mut self, key: &str, row: RowState<'_>, appenders: &mut [Appender]) {
        let (keys, rest) = appenders.split_at_mut(self.task.keys.len());
        let (cells, meta) = rest.split_at_mut(self.task.editable.len());
        self.append_key(key, row, keys);

        let mut values: Vec<Option<Value>> = vec![None; cells.len()];
        let mut edited = vec![false; cells.len()];
        for (column, cell, overriding) in row.overrides() {
            let item = |reason: String| ReportItem {
                event: cell.event,
                key: key.to_owned(),
                column: Some(self.replay.column_name(column).to_owned()),
                value: overriding.value.map(str::to_owned),
                reason,
            };
            let Some((place, editable)) = self.columns.get(column) else {
                self.account.not_editable.add(row, item("the column is no longer editable".into()));
                continue;
            };
            edited[place] = true;
            match fit(overriding, editable.column_type) {
                Some(value) => values[place] = value,
                None => self.account.misfits.add(row, item(misfit_reason(editable.column_type))),
            }
        }
        for (place, value) in values.into_iter().enumerate() {
            let shown = value.clone();
            if !cells[place].append(value) {
                cells[place].append_null();
                let editable = &self.task.editable[place];
                self.account.misfits.add(
                    row,
                    ReportItem {
                        event: row.last_event,
                        key: key.to_owned(),
                        column: Some(editable.name.clone()),
                        value: shown.map(|value| value.to_string()),
                        reason: format!(
                            "{} ({} in the file)",
                            misfit_reason(editable.column_type),
                            self.schema.field(self.task.keys.len() + place).data_type()
                        ),
                    },
                );
            }
        }

        let edited_names = self.task.editable.iter().zip(&edited).filter(|(_, edited)| **edited);
        let edited_names: Vec<&str> = edited_names.map(|(editable, _)| editable.name.as_str()).collect();
        let edited_names = serde_json::Value::from(edited_names).to_string();
        let user = self.replay.user(row.last_user).as_str().to_owned();
        let texts = [row.last_action.to_string(), row.first_action.to_string(), user, edited_names];
        let meta_values = [instant(row.last_date)].into_iter().chain(texts.map(|text| Some(Value::Text(text))));
        for (appender, value) in meta.iter_mut().zip(meta_values) {
            if !appender.append(value) {
                appender.append_null();
            }
        }
    }

    fn append_key(&mut self, key: &str, row: RowState<'_>, appenders: &mut [Appender]) {
        let parts = key_parts(key, self.task.keys.len()).ok();
        for (place, (appender, column)) in appenders.iter_mut().zip(self.task.keys).enumerate() {
            let value = parts.as_ref().and_then(|parts| column.column_type.read(&parts[place]).ok());
            let is_misfit = value.is_none();
            if is_misfit || !appender.append(value) {
                appender.append_null();
                self.account.misfits.add(
                    row,
                    ReportItem {
                        event: row.last_event,
                        key: key.to_owned(),
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
