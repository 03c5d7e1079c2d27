//! Apply from Parquet to Parquet without decoding what no edit touches.
//!
//! Only the key columns are read of every row group. A column chunk without an edit in it is copied as bytes, with its
//! statistics and its page index; in a row group with edits the chunks of the edited columns are decoded and encoded
//! anew; where rows are dropped all of its chunks are. Row groups stay what they were; created rows come in row groups
//! of their own behind them. Row groups are worked on by all cores and written in order, so that the same original and
//! the same position of the log give the same bytes.

mod created;
mod group;
mod intact;
mod layout;
mod levels;
mod pages;
mod patch;
mod pipeline;
mod shift;
mod sink;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use stet_domain::project::Format;

use super::placed::Placed;
use super::rows::Editor;
use super::{ApplyTask, Plan};
use crate::build::keys::{KeyCheck, KeyFilter, KeyIndex};
use crate::control::Control;
use crate::error::EngineError;
use crate::manifest::{GroupStamp, OUTPUT_FORM, OutputParts};
use crate::read::parquet::open_all;
use crate::read::{FileSource, Fingerprint};
use crate::write::Output;

use group::Work;
use layout::Layout;
use pipeline::in_order;
use sink::{Origin, Place, Sink};

/// Threads that work on row groups at once, whatever the number of cores: each of them takes memory.
const THREADS_MAX: usize = 16;

/// The original's files, opened, when they can be copied in chunks.
pub(super) struct Opened {
    layout: Layout,
    has_created: bool,
}

pub(super) use patch::{Earlier, Patched, patch};

/// Opens an original to copy it in chunks; none when the output has to be written row by row: see [`Layout::new`].
pub(super) fn open(
    task: &ApplyTask<'_>,
    original: &FileSource,
    has_created: bool,
) -> Result<Option<(Plan, Opened)>, EngineError> {
    if original.format != Format::Parquet || task.format != Format::Parquet {
        return Ok(None);
    }
    let (schema, files) = open_all(original, original.files()?)?;
    let plan = Plan::new(task, original, &schema, has_created)?;
    Ok(Layout::new(files, &plan, has_created)?.map(|layout| (plan, Opened { layout, has_created })))
}

/// An output that is whole and not yet in place.
pub(super) struct Copied {
    pub(super) output: Output,
    pub(super) rows_out: u64,
    pub(super) parts: OutputParts,
    /// For each row group of the original a filter of its keys.
    pub(super) filters: Vec<KeyFilter>,
}

/// What names the state of an original and its key columns, for [`KeyFilters`].
pub(super) fn filters_identity(original: &Fingerprint, key: &[String]) -> String {
    format!("{} {} {key:?}", env!("CARGO_PKG_VERSION"), original.identity())
}

/// Writes the edited dataset and gives its count of rows. The editor gets the whole account, and the check all keys.
pub(super) fn copy(
    opened: &Opened,
    source: &FileSource,
    editor: &mut Editor<'_>,
    check: &mut KeyCheck,
    mut placed: Option<&mut Placed<'_>>,
    output: Output,
    control: &Control,
) -> Result<Copied, EngineError> {
    let layout = &opened.layout;
    let (plan, index) = (editor.plan, editor.index);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let rows_done = AtomicU64::new(0);
    let work = Work {
        source,
        layout,
        plan,
        index,
        control,
        // With few row groups their columns are what is shared out.
        column_threads: if layout.groups.len() < 2 * threads { threads } else { 1 },
        rows_total: layout.groups.iter().map(|group| group.rows as u64).sum(),
        rows_done: &rows_done,
    };
    let mut sink = Sink::new(output, layout)?;
    let mut rows_out = 0;
    let mut groups = Vec::with_capacity(layout.groups.len());
    let mut filters = Vec::with_capacity(layout.groups.len());
    let template = editor.part();
    let ends: Vec<u64> = layout
        .groups
        .iter()
        .scan(0, |end, group| {
            *end += group.rows as u64;
            Some(*end)
        })
        .collect();
    let placed_groups = placed.as_deref();
    in_order(
        layout.groups.len(),
        threads,
        |place| match placed_groups {
            None => work.prepare(place, &template),
            Some(placed) => {
                let rows = placed.group(place, &ends)?;
                let index = KeyIndex::new(&rows, &plan.keys.columns);
                Work { index: &index, ..work }.prepare(place, &Editor::new(&rows, plan, &index))
            }
        },
        |prepared| {
            let rows_in = layout.groups[prepared.group].rows;
            check.add(prepared.keys);
            filters.push(prepared.filter);
            // What a placed log says of other rows is known already.
            if placed_groups.is_none() {
                for known in &prepared.matched {
                    editor.matched[*known as usize] = true;
                }
            }
            editor.absorb(prepared.account);
            rows_out += prepared.rows_out as u64;
            if prepared.rows_out > 0 {
                let group = &layout.groups[prepared.group];
                let place = Place { source, file: &layout.files[group.file], group };
                sink.write(
                    Origin { own: place, original: place },
                    prepared.rows_out,
                    prepared.chunks.into_iter().map(Ok),
                )?;
            }
            groups.push(GroupStamp {
                rows_in: rows_in as u64,
                rows_out: prepared.rows_out as u64,
                overrides: named(plan, &prepared.overrides),
            });
            control.check()
        },
    )?;
    let mut rows_created = 0;
    for batches in editor.created()?.chunks(sink::CREATED_BATCHES) {
        control.check()?;
        rows_created += sink.write_created(plan, batches)?;
    }
    while let Some(placed) = &mut placed
        && let Some(batches) = placed.created(editor, sink::CREATED_BATCHES)?
    {
        control.check()?;
        rows_created += sink.write_created(plan, &batches)?;
    }
    let parts =
        OutputParts { form: OUTPUT_FORM, groups, rows_created, has_created: opened.has_created, files: Vec::new() };
    Ok(Copied { output: sink.finish()?, rows_out: rows_out + rows_created, parts, filters })
}

/// The counts of overrides of the editable columns that have some, by the names of the columns.
fn named(plan: &Plan, overrides: &[u64]) -> BTreeMap<String, u64> {
    let named = plan.editable.iter().zip(overrides).filter(|(_, count)| **count > 0);
    named.map(|(column, count)| (column.name.clone(), *count)).collect()
}
