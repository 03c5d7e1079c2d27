//! A log that is too large for memory, laid beside the rows of an original: what it says of each row, in the order of the
//! rows, and the rows that it creates or that are missing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use stet_domain::replay::Replay;

use super::BATCH_ROWS;
use super::rows::Editor;
use crate::build::keys::{BatchKeys, KeyColumns, KeyIndex};
use crate::build::spill::{Merged, Run, RunWriter, SortedRow, SpilledLog, unreadable};
use crate::control::Control;
use crate::error::EngineError;
use crate::read::FileSource;

const KEY_BATCH_ROWS: usize = 32 * 1024;

/// What a log says, by rows of the original.
pub(super) struct Placed<'a> {
    names: &'a Replay,
    /// Whether the log creates rows that stand.
    pub(super) has_created: bool,
    rows: Mutex<Rows>,
    created: Merged,
    missing: Merged,
}

/// The rows of the log that the original has, sorted by their numbers in it.
struct Rows {
    merged: Merged,
    /// Row groups that were read and not yet asked for, and the number of the next to read.
    groups: BTreeMap<usize, Vec<SortedRow>>,
    group_next: usize,
}

impl<'a> Placed<'a> {
    /// Finds the rows of the log in the original: its key columns are read once for each part of the log.
    pub(super) fn new(
        log: &'a SpilledLog,
        original: &FileSource,
        keys: &KeyColumns,
        control: &Control,
    ) -> Result<Placed<'a>, EngineError> {
        let places: Vec<usize> = (0..keys.places.len()).collect();
        let (mut rows, mut created, mut missing, mut has_created) = (Vec::new(), Vec::new(), Vec::new(), false);
        for replay in log.folded() {
            let replay = replay?;
            has_created |= replay.has_created();
            let index = KeyIndex::new(&replay, &keys.columns);
            let mut is_matched = vec![false; index.len()];
            let mut run = RunWriter::new(log.folder())?;
            let mut first = 0u64;
            for batch in original.batches(Some(&keys.places), KEY_BATCH_ROWS)?.batches {
                control.check()?;
                let batch = batch?;
                let batch_keys = BatchKeys::new(&batch, &places)?;
                for (row, known) in index.hits(&batch_keys) {
                    is_matched[known] = true;
                    run.push(first + row as u64, index.record(known))?;
                }
                first += batch.num_rows() as u64;
            }
            rows.push(run.finish()?);

            let mut left: Vec<usize> = (0..index.len()).filter(|known| !is_matched[*known]).collect();
            index.sort_by_last_event(&mut left);
            let mut run = RunWriter::new(log.folder())?;
            for known in &left {
                let (_, state) = index.row(*known);
                if !state.is_created() {
                    run.push(state.last_event.0.unsigned_abs(), index.record(*known))?;
                }
            }
            missing.push(run.finish()?);
            left.retain(|known| index.row(*known).1.is_created());
            left.sort_unstable_by_key(|known| index.row(*known).1.created);
            created.push(created_run(log, &index, &left)?);
        }
        Ok(Placed {
            names: log.names(),
            has_created,
            rows: Mutex::new(Rows { merged: Merged::new(rows)?, groups: BTreeMap::new(), group_next: 0 }),
            created: Merged::new(created)?,
            missing: Merged::new(missing)?,
        })
    }

    /// The state of the rows of one row group; `ends` has the count of rows up to the end of each. Each is asked for once,
    /// in about their order.
    pub(super) fn group(&self, group: usize, ends: &[u64]) -> Result<Replay, EngineError> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        while rows.group_next <= group {
            let end = ends[rows.group_next];
            let read = rows.read(end)?;
            let place = rows.group_next;
            rows.groups.insert(place, read);
            rows.group_next += 1;
        }
        let own = rows.groups.remove(&group).unwrap_or_default();
        drop(rows);
        self.state(own)
    }

    /// The state of the next rows, up to the one with this number.
    pub(super) fn until(&self, end: u64) -> Result<Replay, EngineError> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).read(end)?;
        self.state(rows)
    }

    fn state(&self, rows: Vec<SortedRow>) -> Result<Replay, EngineError> {
        let mut replay = self.names.without_rows();
        for row in rows {
            replay.put_record(&row.record).map_err(unreadable)?;
        }
        Ok(replay)
    }

    /// The next created rows, as at most that many batches; none when there are no more.
    pub(super) fn created(
        &mut self,
        editor: &mut Editor<'_>,
        batches_max: usize,
    ) -> Result<Option<Vec<RecordBatch>>, EngineError> {
        let mut batches = Vec::new();
        while batches.len() < batches_max {
            let rows = next_rows(&mut self.created, BATCH_ROWS)?;
            if rows.is_empty() {
                break;
            }
            let state = self.state(rows)?;
            let rows: Vec<_> = state.rows().collect();
            batches.push(editor.created_batch(&rows)?);
        }
        Ok((!batches.is_empty()).then_some(batches))
    }

    /// Takes the rows that the original does not have into the account.
    pub(super) fn take_missing(&mut self, editor: &mut Editor<'_>) -> Result<(), EngineError> {
        while let Some(row) = self.missing.next_before(u64::MAX)? {
            let state = self.state(vec![row])?;
            state.rows().for_each(|(key, row)| editor.rules.missing_row(key, row));
        }
        Ok(())
    }
}

impl Rows {
    fn read(&mut self, end: u64) -> Result<Vec<SortedRow>, EngineError> {
        let mut rows = Vec::new();
        while let Some(row) = self.merged.next_before(end)? {
            rows.push(row);
        }
        Ok(rows)
    }
}

fn created_run(log: &SpilledLog, index: &KeyIndex<'_>, created: &[usize]) -> Result<Run, EngineError> {
    let mut run = RunWriter::new(log.folder())?;
    for known in created {
        let (_, state) = index.row(*known);
        run.push(state.created.unwrap_or(state.last_event).0.unsigned_abs(), index.record(*known))?;
    }
    run.finish()
}

fn next_rows(merged: &mut Merged, count: usize) -> Result<Vec<SortedRow>, EngineError> {
    let mut rows = Vec::new();
    while rows.len() < count
        && let Some(row) = merged.next_before(u64::MAX)?
    {
        rows.push(row);
    }
    Ok(rows)
}
