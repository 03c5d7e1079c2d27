//! The rows that people created, in a rebuild: they stand in a row group of their own behind all others, in order of
//! creation, so that new ones go behind and the others stay where they are.

use std::collections::HashSet;

use arrow_array::RecordBatch;
use arrow_select::interleave::interleave;
use stet_domain::replay::{Replay, RowState};

use super::group::Work;
use super::sink::Place;
use crate::build::apply::BATCH_ROWS;
use crate::build::apply::rows::{Editor, arrow_error, record_batch};
use crate::build::keys::BatchKeys;
use crate::error::EngineError;

/// What becomes of the created rows.
pub(super) struct Created {
    /// All of them, with the columns of the output.
    pub(super) batch: RecordBatch,
    /// Rows of the key index that the present output has among them: they are in no row group of the original.
    pub(super) known: HashSet<usize>,
}

/// Whether new events concern created rows.
pub(super) fn is_touched(work: &Work<'_>, before: &Replay) -> bool {
    work.index.rows().any(|(key, row)| row.is_created() || before.row(key).is_some_and(|row| row.is_created()))
}

/// The created rows as they are now, with what was and is said of the touched ones taken into the accounts. `present` is
/// the row group that they stand in. None when that cannot be worked out from the touched rows alone: one cannot be
/// written because its key is no key by now, none is left, or there are so many that a build writes them in several pieces.
pub(super) fn created<'a>(
    work: &Work<'a>,
    present: Place<'_>,
    before_replay: &Replay,
    before: &mut Editor<'_>,
    after: &mut Editor<'a>,
) -> Result<Option<Created>, EngineError> {
    let (plan, index) = (work.plan, work.index);
    let places: Vec<usize> = (0..plan.schema.fields().len()).collect();
    let batch = work.batch_of(present, &places)?;
    if batch.num_rows() != present.group.rows || present.group.rows > BATCH_ROWS {
        return Ok(None);
    }
    let was = |known: usize| {
        let (key, _) = index.row(known);
        before_replay.row(key).filter(|row| row.is_created())
    };
    let hits = index.hits(&BatchKeys::new(&batch, &plan.keys.places)?);
    let known: HashSet<usize> = hits.iter().map(|(_, known)| *known).collect();
    if (0..index.len()).any(|row| was(row).is_some() != known.contains(&row)) {
        return Ok(None);
    }
    let stays = |known: usize| {
        let (_, now) = index.row(known);
        now.is_created() && was(known).is_some_and(|was| was.created == now.created)
    };
    let mut comes: Vec<usize> =
        (0..index.len()).filter(|known| index.row(*known).1.is_created() && !stays(*known)).collect();
    comes.sort_unstable_by_key(|known| index.row(*known).1.created);

    // Rows of the present output (0), and of what is made of the touched ones (1).
    let (mut sources, mut made) = (Vec::with_capacity(batch.num_rows()), Vec::new());
    let mut hits = hits.into_iter().peekable();
    for row in 0..batch.num_rows() {
        match hits.next_if(|(hit, _)| *hit == row) {
            None => sources.push((0, row)),
            Some((_, known)) if stays(known) => {
                sources.push((1, made.len()));
                made.push(index.row(known));
            }
            Some(_) => {}
        }
    }
    for known in comes {
        sources.push((1, made.len()));
        made.push(index.row(known));
    }
    let gone: Vec<(&str, RowState<'_>)> =
        (0..index.len()).filter_map(|known| Some((index.row(known).0, was(known)?))).collect();
    let (written, taken) = (after.created_batch(&made)?, before.created_batch(&gone)?);
    let is_lost = written.num_rows() != made.len() || taken.num_rows() != gone.len();
    if is_lost || sources.is_empty() || sources.len() > BATCH_ROWS {
        return Ok(None);
    }
    let columns = places.iter().map(|column| {
        interleave(&[batch.column(*column).as_ref(), written.column(*column).as_ref()], &sources).map_err(arrow_error)
    });
    let batch = record_batch(plan, columns.collect::<Result<_, _>>()?, sources.len())?;
    Ok(Some(Created { batch, known }))
}
