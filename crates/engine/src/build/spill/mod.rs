//! Logs that are too large to be folded in memory.
//!
//! The events are written to temporary files, in parts by the hashes of their keys, so that each part has all events of
//! its keys in the order of the log and is folded by itself. What the parts give is sorted in runs on disk and merged
//! (the external merge sort of Knuth, "The Art of Computer Programming", volume 3, section 5.4), so that outputs come in
//! the order that they would have from memory.

mod runs;

use std::fs::File;
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};
use stet_domain::event::{Action, ClientEventId, Event, EventId, LogDate, Source};
use stet_domain::replay::Replay;
use stet_domain::{Key, Login};
use uuid::Uuid;

use crate::error::EngineError;

pub(super) use runs::{Merged, Run, RunWriter, SortedRow};

/// The most parts of a log: each is an open file.
pub const PARTS_MAX: usize = 128;

const BUFFER_BYTES: usize = 64 * 1024;

/// Another seed than that of the tables which the parts are then folded in.
const STATE: FixedState = FixedState::with_seed(0x5061_7274);

/// What a fold needs of an event.
#[derive(Serialize, Deserialize)]
struct Spilled<'a> {
    id: i64,
    date: i64,
    user: std::borrow::Cow<'a, str>,
    action: Action,
    key: std::borrow::Cow<'a, str>,
    column: Option<std::borrow::Cow<'a, str>>,
    value: Option<std::borrow::Cow<'a, str>>,
    previous: Option<std::borrow::Cow<'a, str>>,
}

/// Takes the events of a log, in their order, into parts on disk.
#[derive(Debug)]
pub struct LogSpiller {
    folder: PathBuf,
    names: Replay,
    parts: Vec<BufWriter<File>>,
}

/// A log in parts on disk; its files are gone when it is dropped, and when the process ends.
#[derive(Debug)]
pub struct SpilledLog {
    folder: PathBuf,
    names: Replay,
    parts: Vec<File>,
}

impl LogSpiller {
    /// Starts with that many parts, at most [`PARTS_MAX`], in temporary files of a folder.
    ///
    /// # Errors
    /// When the files cannot be made.
    pub fn new(folder: &Path, parts: usize) -> Result<LogSpiller, EngineError> {
        std::fs::create_dir_all(folder).map_err(EngineError::io("create the folder", folder))?;
        let parts = (0..parts.clamp(1, PARTS_MAX)).map(|_| temporary(folder).map(buffered));
        Ok(LogSpiller { folder: folder.to_owned(), names: Replay::new(), parts: parts.collect::<Result<_, _>>()? })
    }

    /// Takes the next event of the log.
    ///
    /// # Errors
    /// When it cannot be written, such as when the disk is full.
    pub fn push(&mut self, event: &Event) -> Result<(), EngineError> {
        self.names.note(event);
        if !event.action.is_edit() {
            return Ok(());
        }
        let part = STATE.hash_one(event.key.as_str().as_bytes()) % self.parts.len() as u64;
        let spilled = Spilled {
            id: event.id.0,
            date: event.date.micros(),
            user: event.user.as_str().into(),
            action: event.action,
            key: event.key.as_str().into(),
            column: event.column_name.as_deref().map(Into::into),
            value: event.value.as_deref().map(Into::into),
            previous: event.previous.as_deref().map(Into::into),
        };
        write_line(&mut self.parts[part as usize], &spilled)
            .map_err(EngineError::io("write a part of the log in", &self.folder))
    }

    /// Ends the log.
    ///
    /// # Errors
    /// When the last events cannot be written.
    pub fn finish(self) -> Result<SpilledLog, EngineError> {
        let folder = self.folder;
        let parts = self.parts.into_iter().map(|part| part.into_inner().map_err(std::io::IntoInnerError::into_error));
        let parts = parts.collect::<Result<_, _>>().map_err(EngineError::io("write a part of the log in", &folder))?;
        Ok(SpilledLog { folder, names: self.names, parts })
    }
}

impl SpilledLog {
    /// The state of the log without its rows: columns, users, position.
    pub fn names(&self) -> &Replay {
        &self.names
    }

    /// Where temporary files are made.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The states of the parts, one after the other; each is the whole state of its keys.
    pub(super) fn folded(&self) -> impl Iterator<Item = Result<Replay, EngineError>> {
        self.parts.iter().map(|part| self.fold(part))
    }

    fn fold(&self, part: &File) -> Result<Replay, EngineError> {
        let failed = |error| EngineError::io("read a part of the log in", &self.folder)(error);
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, part);
        reader.seek(SeekFrom::Start(0)).map_err(failed)?;
        let (mut replay, mut line) = (self.names.without_rows(), Vec::new());
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return Ok(replay);
            }
            let spilled: Spilled<'_> = serde_json::from_slice(&line).map_err(unreadable)?;
            replay.push(&Event {
                id: EventId(spilled.id),
                date: LogDate::from_micros(spilled.date),
                user: Login::new(spilled.user).map_err(unreadable)?,
                action: spilled.action,
                key: Key::from_text(spilled.key),
                column_name: spilled.column.map(Into::into),
                value: spilled.value.map(Into::into),
                previous: spilled.previous.map(Into::into),
                // What follows is not part of any state.
                batch_id: Uuid::nil(),
                source: Source::Api,
                reason: None,
                event_id: ClientEventId(Uuid::nil()),
            });
        }
    }
}

/// A file that nobody else sees and that is gone when it is closed.
fn temporary(folder: &Path) -> Result<File, EngineError> {
    tempfile::tempfile_in(folder).map_err(EngineError::io("create a temporary file in", folder))
}

fn buffered(file: File) -> BufWriter<File> {
    BufWriter::with_capacity(BUFFER_BYTES, file)
}

/// JSON has no line ends inside, so that a line is a value.
fn write_line(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> EngineError {
    EngineError::Internal { action: "reading a temporary file", source: Box::new(error) }
}
