//! The apply recipe: an original with its edits.

mod chunks;
mod placed;
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

use super::keys::{BatchKeys, KeyCheck, KeyColumns, KeyFilter, KeyFilters, KeyIndex};
use super::spill::SpilledLog;
use crate::cell::{arrow_type_of, column_type_of_field, columns_of};
use crate::control::Control;
use crate::error::EngineError;
use crate::manifest::{FileStamp, InputStamp, OUTPUT_FORM, OutputParts, OutputStamp, prints_of};
use crate::read::FileSource;
use crate::write::{DatasetWriter, Output, WriteOptions, Written, at};

use placed::Placed;
use rows::Editor;

const BATCH_ROWS: usize = 16 * 1024;

/// What to build the edited dataset of.
#[derive(Debug, Clone, Copy)]
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
    /// The file to write. A path that ends with a separator, or where a folder is, means a folder: each row group is a file
    /// of its own then, so that a rebuild writes only those that new events touch.
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
    /// How the output lies in row groups, for [`rebuild`]; none when it was not made of the original's row groups.
    pub parts: Option<OutputParts>,
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
    apply_by(task, control, Way::Fastest)
}

/// As [`apply`] for a log that is too large for memory; the task's own `replay` is that of [`SpilledLog::names`].
///
/// The output is that of [`apply`] byte for byte. The key columns of the original are read once more for each part of the
/// log.
///
/// # Errors
/// See [`apply`]; also when temporary files cannot be written.
pub fn apply_spilled(task: &ApplyTask<'_>, log: &SpilledLog, control: &Control) -> Result<ApplyBuild, EngineError> {
    apply_by(&ApplyTask { replay: log.names(), ..*task }, control, Way::Spilled(log))
}

/// As [`apply`], but always row by row, without copying column chunks: for comparing the two.
///
/// # Errors
/// See [`apply`].
#[doc(hidden)]
pub fn apply_row_by_row(task: &ApplyTask<'_>, control: &Control) -> Result<ApplyBuild, EngineError> {
    apply_by(task, control, Way::RowByRow)
}

#[derive(Debug, Clone, Copy)]
enum Way<'a> {
    Fastest,
    RowByRow,
    Spilled(&'a SpilledLog),
}

fn apply_by(task: &ApplyTask<'_>, control: &Control, way: Way<'_>) -> Result<ApplyBuild, EngineError> {
    let started = Instant::now();
    // The types of a text file are worked out once, not again by every pass.
    let original = &task.original.settled()?;
    let prints = original.fingerprint()?;
    let built = std::thread::scope(|scope| {
        // The files are hashed beside the work on them, and so read from the disk only once.
        let hashing = scope.spawn(|| InputStamp::of(original, prints.clone(), task.earlier, control));
        let made = make(task, original, control, way);
        let stamp = hashing.join().unwrap_or_else(|_| {
            Err(EngineError::Internal { action: "hashing the original", source: "a thread stopped".into() })
        });
        made.and_then(|made| Ok((made, stamp?)))
    });
    let (mut made, stamp) = match built {
        Err(EngineError::Cancelled) => return Err(EngineError::Cancelled),
        // What was read may be half old and half new: that is the reason then, whatever it led to.
        Err(error) => return Err(original.changed_since(&prints).err().unwrap_or(error)),
        Ok(built) => built,
    };
    original.changed_since(&prints)?;
    let filters = std::mem::take(&mut made.filters);
    let built = finish(task, made, stamp, started)?;
    if filters.iter().any(|filter| !filter.is_empty()) {
        // Without them the next build is slower; this one is done all the same.
        let identity = chunks::filters_identity(&prints, task.key);
        if let Err(error) = KeyFilters::write(task.output, &identity, &filters) {
            tracing::warn!(%error, "where keys are cannot be noted beside the output");
        }
    }
    Ok(built)
}

/// Puts a file in place and gives the account of the build.
fn finish(task: &ApplyTask<'_>, made: Made, original: InputStamp, started: Instant) -> Result<ApplyBuild, EngineError> {
    let (file, files) = made.output.commit()?;
    let output = Written { rows: made.report.rows_out, file, columns: made.columns };
    let parts = match made.parts {
        Some(parts) => {
            let prints = prints_of(task.output)?.into_iter().zip(files);
            let files = prints.map(|(print, file)| FileStamp { print, sha256: file.sha256 }).collect();
            Some(OutputParts { files, ..parts })
        }
        None => None,
    };
    Ok(ApplyBuild {
        report: made.report,
        original,
        log_position: task.replay.position(),
        output,
        parts,
        duration_ms: started.elapsed().as_millis() as u64,
    })
}

/// An output that is whole and not yet in place.
struct Made {
    output: Output,
    columns: Vec<Column>,
    report: ApplyReport,
    parts: Option<OutputParts>,
    /// For each row group of the original a filter of its keys; none when they are there already or are of no use.
    filters: Vec<KeyFilter>,
}

/// What a build goes on from: the build that made the present output.
#[derive(Debug, Clone, Copy)]
pub struct RebuildTask<'a> {
    /// The build that is wanted. Its `replay` has the rows of the log that new events touched, with their whole history,
    /// and may lack all others; its `earlier` is the original of the earlier build.
    pub task: &'a ApplyTask<'a>,
    /// The same rows at the position of the log that the present output was made of.
    pub before: &'a Replay,
    /// What the manifest says of the present output.
    pub output: &'a OutputStamp,
    /// The account of the earlier build.
    pub report: &'a ApplyReport,
}

/// Brings an edited dataset up to date with new events by writing anew only the column chunks that they touch; the others
/// are copied from the present output. None, and nothing done, when that cannot be: the original or the output is not
/// what it was, the first row was created or the last one taken back, or most row groups are touched. The caller then builds in full.
///
/// The bytes are those that [`apply`] gives.
///
/// # Errors
/// As [`apply`].
pub fn rebuild(rebuild: &RebuildTask<'_>, control: &Control) -> Result<Option<ApplyBuild>, EngineError> {
    let started = Instant::now();
    let task = rebuild.task;
    let (Some(parts), Some(stamp)) = (&rebuild.output.parts, task.earlier) else { return Ok(None) };
    let original = &task.original.settled()?;
    let prints = original.fingerprint()?;
    let is_same = prints.files.iter().eq(stamp.files.iter().map(|file| &file.print));
    let is_present =
        prints_of(task.output).is_ok_and(|prints| prints.iter().eq(parts.files.iter().map(|file| &file.print)));
    if !is_same || !is_present || parts.form != OUTPUT_FORM {
        return Ok(None);
    }
    let Some((plan, opened)) = chunks::open(task, original, parts.has_created)? else { return Ok(None) };
    let index = KeyIndex::new(task.replay, &plan.keys.columns);
    let mut editor = Editor::new(task.replay, &plan, &index);
    let identity = chunks::filters_identity(&prints, task.key);
    let earlier = chunks::Earlier {
        before: rebuild.before,
        parts,
        report: rebuild.report,
        output: task.output,
        filters: KeyFilters::open(task.output, &identity, parts.groups.len()),
    };
    let patched = chunks::patch(&opened, original, &mut editor, &earlier, control);
    let patched = match patched {
        Err(EngineError::Cancelled) => return Err(EngineError::Cancelled),
        Err(error) => return Err(original.changed_since(&prints).err().unwrap_or_else(|| at(task.output, error))),
        Ok(patched) => patched,
    };
    let Some(chunks::Patched { output, report, parts }) = patched else { return Ok(None) };
    original.changed_since(&prints)?;
    let columns = columns_of(&plan.schema);
    let made = Made { output, columns, report, parts: Some(parts), filters: Vec::new() };
    finish(task, made, stamp.clone(), started).map(Some)
}

fn make(task: &ApplyTask<'_>, original: &FileSource, control: &Control, way: Way<'_>) -> Result<Made, EngineError> {
    let mut placed = match way {
        Way::Spilled(log) => {
            let keys = KeyColumns::find(&original.dataset, &original.columns()?, task.key)?;
            Some(Placed::new(log, original, &keys, control)?)
        }
        Way::Fastest | Way::RowByRow => None,
    };
    let has_created = match &placed {
        Some(placed) => placed.has_created,
        None => task.replay.has_created(),
    };
    let opened = match way {
        Way::Fastest | Way::Spilled(_) => chunks::open(task, original, has_created)?,
        Way::RowByRow => None,
    };
    let (plan, opened) = match opened {
        Some((plan, opened)) => (plan, Some(opened)),
        None => (Plan::new(task, original, &original.arrow_schema()?, has_created)?, None),
    };
    let index = KeyIndex::new(task.replay, &plan.keys.columns);
    let mut editor = Editor::new(task.replay, &plan, &index);
    let mut check = KeyCheck::new();
    let output = Output::create(task.output, task.format)?;
    let made = match &opened {
        Some(opened) => chunks::copy(opened, original, &mut editor, &mut check, placed.as_mut(), output, control)
            .map(|copied| (copied.output, copied.rows_out, Some((copied.parts, copied.filters)))),
        None => write_rows(task, original, &mut editor, &mut check, placed.as_mut(), output, control)
            .map(|(output, rows_out)| (output, rows_out, None)),
    };
    let (output, rows_out, parts) = made.map_err(|error| at(task.output, error))?;
    let (parts, filters) = parts.map_or((None, Vec::new()), |(parts, filters)| (Some(parts), filters));
    let rows_in = check.rows();
    check.finish(original, &plan.keys, control)?;
    if let Some(placed) = &mut placed {
        placed.take_missing(&mut editor)?;
    }
    let mut report = editor.finish();
    report.rows_in = rows_in;
    report.rows_out = rows_out;
    Ok(Made { output, columns: columns_of(&plan.schema), report, parts, filters })
}

/// Reads, edits and writes all rows.
fn write_rows(
    task: &ApplyTask<'_>,
    original: &FileSource,
    editor: &mut Editor<'_>,
    check: &mut KeyCheck,
    mut placed: Option<&mut Placed<'_>>,
    output: Output,
    control: &Control,
) -> Result<(Output, u64), EngineError> {
    let plan = editor.plan;
    let rows_total = original.rows_known()?;
    let mut rows_out = 0;
    let mut writer = DatasetWriter::new(output.into_writer()?, &plan.schema, WriteOptions::from(task.format))?;
    for batch in original.batches(None, BATCH_ROWS)?.batches {
        let batch = batch?;
        let keys = BatchKeys::new(&batch, &plan.keys.places)?;
        check.take(&keys);
        let edited = match placed.as_deref() {
            None => editor.edit(&batch, &keys)?,
            Some(placed) => {
                let rows = placed.until(check.rows())?;
                let index = KeyIndex::new(&rows, &plan.keys.columns);
                let mut part = Editor::new(&rows, plan, &index);
                let edited = part.edit(&batch, &keys)?;
                editor.absorb(part.tally());
                edited
            }
        };
        rows_out += edited.num_rows() as u64;
        writer.write(&edited)?;
        control.report(check.rows(), rows_total)?;
    }
    for batch in editor.created()? {
        rows_out += batch.num_rows() as u64;
        writer.write(&batch)?;
        control.check()?;
    }
    while let Some(placed) = &mut placed
        && let Some(batches) = placed.created(editor, 1)?
    {
        for batch in batches {
            rows_out += batch.num_rows() as u64;
            writer.write(&batch)?;
        }
        control.check()?;
    }
    Ok((writer.finish()?.into_output()?, rows_out))
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
    fn new(
        task: &ApplyTask<'_>,
        original: &FileSource,
        original_schema: &SchemaRef,
        has_created: bool,
    ) -> Result<Plan, EngineError> {
        let columns = columns_of(original_schema);
        let keys = KeyColumns::find(&original.dataset, &columns, task.key)?;
        let mut fields: Vec<Arc<Field>> = original_schema.fields().iter().cloned().collect();
        let mut editable = task.editable.to_vec();
        let mut places = Vec::with_capacity(editable.len());
        for column in &mut editable {
            let place = fields.iter().position(|field| *field.name() == column.name);
            match place {
                Some(place) => {
                    let field = &mut fields[place];
                    column.column_type = column_type_of_field(field);
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
        if has_created {
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
