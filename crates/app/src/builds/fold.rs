//! The state of an editlog for a build.

use std::ops::ControlFlow;

use stet_domain::DatasetName;
use stet_domain::project::Project;
use stet_domain::replay::{Edit, Replay};
use stet_engine::build::{LogSpiller, PARTS_MAX, SpilledLog};
use stet_engine::control::Control;

use crate::App;
use crate::error::AppError;

/// About what the state of an event and its place in an index take in memory besides its texts.
const EVENT_BYTES: u64 = 100;

/// A log whose state would take more memory than this is folded in parts on disk: above four million edits or so.
const LOG_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What the state of one part is to take.
const LOG_PART_BYTES: u64 = 128 * 1024 * 1024;

/// The state of an editlog.
pub(super) enum Log {
    /// In memory.
    Folded(Replay),
    /// In parts on disk.
    Spilled(SpilledLog),
}

impl App {
    /// The state of an editlog now, read from its beginning; in parts on disk when it is too large for memory.
    pub(super) fn fold(&self, project: &Project, original: &DatasetName, control: &Control) -> Result<Log, AppError> {
        let place = self.editlog_place(project, original)?;
        if !place.is_initialised(original)? {
            return Ok(Log::Folded(Replay::new()));
        }
        let reader = place.reader(self.inner.node_id, original)?;
        let Some(end) = reader.position()? else { return Ok(Log::Folded(Replay::new())) };
        let (mut replay, mut bytes) = (Replay::new(), 0u64);
        reader.scan_edits(Some(end), &mut |edit| {
            bytes += bytes_of(edit);
            replay.push_edit(edit);
            let ends = control.is_cancelled() || bytes > LOG_BYTES_MAX;
            if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        control.check()?;
        if bytes <= LOG_BYTES_MAX {
            return Ok(Log::Folded(replay));
        }
        // From what was read of it, how large all of it is.
        let whole = u128::from(bytes) * u128::from(end.0.unsigned_abs()) / u128::from(replay.events().max(1));
        drop(replay);
        let parts = usize::try_from(whole / u128::from(LOG_PART_BYTES) + 1).unwrap_or(PARTS_MAX);
        let mut spiller = LogSpiller::new(&self.inner.folder.cache(&project.key), parts)?;
        let mut failed = None;
        reader.scan(None, Some(end), &mut |event| {
            failed = spiller.push(&event).err();
            let ends = control.is_cancelled() || failed.is_some();
            if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        control.check()?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(Log::Spilled(spiller.finish()?)),
        }
    }

    /// The state of an editlog now, in memory however large it is.
    pub(super) fn fold_in_memory(
        &self,
        project: &Project,
        original: &DatasetName,
        control: &Control,
    ) -> Result<Replay, AppError> {
        let place = self.editlog_place(project, original)?;
        let mut replay = Replay::new();
        if place.is_initialised(original)? {
            place.reader(self.inner.node_id, original)?.scan_edits(None, &mut |edit| {
                replay.push_edit(edit);
                if control.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            control.check()?;
        }
        Ok(replay)
    }
}

fn bytes_of(edit: &Edit<'_>) -> u64 {
    let texts = [Some(edit.key), edit.value, edit.previous];
    EVENT_BYTES + texts.iter().flatten().map(|text| text.len() as u64).sum::<u64>()
}
