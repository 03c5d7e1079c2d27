//! The apply recipe: an original with its edits.

mod rows;
mod tail;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_schema::{Field, Schema, SchemaRef};
use stet_domain::apply::{ApplyReport, EditableColumn};
use stet_domain::event::EventId;
use stet_domain::project::{Column, Format};
use stet_domain::replay::Replay;

use super::keys::{BatchKeys, KeyCheck, KeyColumns, KeyIndex};
use crate::cell::{arrow_type_of, column_type_of, columns_of};
use crate::control::Control;
use crate::error::EngineError;
use crate::manifest::InputStamp;
use crate::read::FileSource;
use crate::write::{AtomicFile, DatasetWriter, WriteOptions, Written, at};

use rows::Editor;

const BATCH_ROWS: usize = 16 * 1024;

/// What to build the edited dataset of.
#[derive(Debug)]
pub struct ApplyTask<'a> {
    /// The original.
    pub original: &'a FileSource,
    /// Its key columns, in their configured order.
    pub key: &'a [String],
    /// The state of the log.
    pub replay: &'a Replay,
    /// The editable columns, in the webapp's order. A column that the original has takes the original's type.
    pub editable: &'a [EditableColumn],
    /// What is known of the original from an earlier build, so that an unchanged file is not hashed again.
    pub earlier: Option<&'a InputStamp>,
    /// The file to write.
    pub output: &'a Path,
    /// Its format.
    pub format: Format,
}

/// What an apply made.
#[derive(Debug, Clone)]
pub struct ApplyBuild {
    /// The account.
    pub report: ApplyReport,
    /// What the original was.
    pub original: InputStamp,
    /// The last event of the log; none when it is empty.
    pub log_position: Option<EventId>,
    /// The file.
    pub output: Written,
    /// How long it took.
    pub duration_ms: u64,
}

/// The columns of an edited dataset: those of the original, and behind them the editable ones that it lacks.
pub fn edited_columns(original: &[Column], editable: &[EditableColumn]) -> Vec<Column> {
    let added = editable.iter().filter(|editable| !original.iter().any(|column| column.name == editable.name));
    let added = added.map(|editable| Column { name: editable.name.clone(), column_type: editable.column_type });
    original.iter().cloned().chain(added).collect()
}

/// Writes an original with its edits: every row and column of the original in its order, overrides in place, deleted rows
/// left out, created rows behind in order of creation. What cannot be applied is counted and listed in the report.
///
/// # Errors
/// When the original cannot be read, has rows without a key of their own or is changed in the meantime; when the file
/// cannot be written; when the work is cancelled. An earlier output is untouched then.
pub fn apply(task: &ApplyTask<'_>, control: &Control) -> Result<ApplyBuild, EngineError> {
    let started = Instant::now();
    // The types of a text file are worked out once, not again by every pass.
    let original = &task.original.settled()?;
    let stamp = InputStamp::take(original, task.earlier)?;
    let plan = Plan::new(task, original)?;
    let index = KeyIndex::new(task.replay, &plan.keys.columns);
    let mut editor = Editor::new(task.replay, &plan, &index);
    let mut check = KeyCheck::new();
    let rows_total = original.rows_known()?;

    let file = AtomicFile::create(task.output)?;
    let mut rows_out = 0;
    let file = (|| {
        let mut writer = DatasetWriter::new(file, &plan.schema, WriteOptions::from(task.format))?;
        for batch in original.batches(None, BATCH_ROWS)?.batches {
            let batch = batch?;
            let keys = BatchKeys::new(&batch, &plan.keys.places)?;
            check.take(&keys);
            let edited = editor.edit(&batch, &keys)?;
            rows_out += edited.num_rows() as u64;
            writer.write(&edited)?;
            control.report(check.rows(), rows_total)?;
        }
        for batch in editor.created()? {
            rows_out += batch.num_rows() as u64;
            writer.write(&batch)?;
            control.check()?;
        }
        writer.finish()
    })()
    .map_err(|error| at(task.output, error))?;

    let rows_in = check.rows();
    check.finish(original, &plan.keys, control)?;
    stamp.check_unchanged(original)?;
    let mut report = editor.finish();
    report.rows_in = rows_in;
    report.rows_out = rows_out;
    let output = Written { rows: rows_out, file: file.commit()? };
    Ok(ApplyBuild {
        report,
        original: stamp,
        log_position: task.replay.position(),
        output,
        duration_ms: started.elapsed().as_millis() as u64,
    })
}

/// What goes where.
struct Plan {
    /// The key columns in the original.
    keys: KeyColumns,
    /// The editable columns with the types that they have now.
    editable: Vec<EditableColumn>,
    /// For each of them its place in the output.
    places: Vec<usize>,
    /// How many columns the original has: they are the first of the output.
    original_width: usize,
    /// The columns of the output.
    schema: SchemaRef,
}

impl Plan {
    fn new(task: &ApplyTask<'_>, original: &FileSource) -> Result<Plan, EngineError> {
        let original_schema = original.arrow_schema()?;
        let columns = columns_of(&original_schema);
        let keys = KeyColumns::find(&original.dataset, &columns, task.key)?;
        let mut fields: Vec<Arc<Field>> = original_schema.fields().iter().cloned().collect();
        let mut editable = task.editable.to_vec();
        let mut places = Vec::with_capacity(editable.len());
        for column in &mut editable {
            let place = fields.iter().position(|field| *field.name() == column.name);
            match place {
                Some(place) => {
                    let field = &mut fields[place];
                    column.column_type = column_type_of(field.data_type());
                    // People may empty the cells of any editable column.
                    *field = Arc::new(field.as_ref().clone().with_nullable(true));
                    places.push(place);
                }
                None => {
                    places.push(fields.len());
                    fields.push(Arc::new(Field::new(&column.name, arrow_type_of(column.column_type), true)));
                }
            }
        }
        if task.replay.rows().any(|(_, row)| row.is_created()) {
            // A created row has values in its key and its editable columns only.
            for (place, field) in fields.iter_mut().enumerate() {
                if !keys.places.contains(&place) {
                    *field = Arc::new(field.as_ref().clone().with_nullable(true));
                }
            }
        }
        Ok(Plan {
            keys,
            editable,
            places,
            original_width: original_schema.fields().len(),
            schema: Arc::new(Schema::new(fields)),
        })
    }
}
