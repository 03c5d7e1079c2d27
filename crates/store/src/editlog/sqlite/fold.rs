//! Reading a whole editlog for a fold: only the columns that a fold needs, into memory that is used again, by as many
//! connections as there are cores.
//!
//! The log is cut into pieces by ids, which follow each other without a gap, so that where each piece starts is known.
//! Readers take the pieces in turns and hand them over in order; the fold works on one piece while the next are read.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;

use rusqlite::Connection;
use stet_domain::event::LogDate;
use stet_domain::replay::Edit;
use stet_domain::{Action, EventId, Login};

use super::read::{SqliteReader, missing, parsed};
use super::schema::LogSql;
use crate::error::{Doing, StoreError};
use crate::sqlite::{self, Access};

/// Events of one piece.
const PIECE_EVENTS: i64 = 8_192;

/// The most connections that read at once.
const READERS_MAX: usize = 4;

/// Pieces that a reader may be ahead of the fold.
const PIECES_AHEAD: usize = 1;

/// Some events, one after the other, with their texts in one.
#[derive(Debug, Default)]
struct Piece {
    edits: Vec<Packed>,
    texts: String,
    users: Vec<Login>,
    columns: Vec<String>,
}

/// An event in a [`Piece`].
#[derive(Debug)]
struct Packed {
    id: i64,
    date: LogDate,
    action: Action,
    user: usize,
    column: Option<usize>,
    /// Where key, value and previous value end in the texts; each starts where the one before it ends.
    key_end: usize,
    value_end: usize,
    previous_end: usize,
    has_value: bool,
    has_previous: bool,
}

impl SqliteReader {
    pub(crate) fn scan_edits(
        &self,
        up_to: Option<EventId>,
        visit: &mut dyn FnMut(&Edit<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (path, sql) = (self.path(), self.sql());
        let last = self.position()?.map_or(0, |id| id.0);
        let last = up_to.map_or(last, |id| last.min(id.0));
        let pieces = last.unsigned_abs().div_ceil(PIECE_EVENTS.unsigned_abs());
        let range = |piece: u64| {
            let first = piece as i64 * PIECE_EVENTS;
            (first, last.min(first + PIECE_EVENTS))
        };
        let readers = std::thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX) as u64;
        if pieces <= readers {
            for piece in 0..pieces {
                if Piece::read(self.connection(), path, sql, range(piece))?.visit(visit).is_break() {
                    break;
                }
            }
            return Ok(());
        }
        std::thread::scope(|scope| {
            let mut read = Vec::new();
            for reader in 0..readers {
                let (sender, receiver) = mpsc::sync_channel(PIECES_AHEAD);
                read.push(receiver);
                scope.spawn(move || {
                    let connection = match sqlite::open(path, Access::Read, super::read::READER_BUSY_TIMEOUT_MS) {
                        Ok(connection) => connection,
                        // Whoever does not receive it has ended already.
                        Err(error) => return drop(sender.send(Err(error))),
                    };
                    for piece in (reader..pieces).step_by(readers as usize) {
                        let piece = Piece::read(&connection, path, sql, range(piece));
                        let is_last = piece.is_err();
                        if sender.send(piece).is_err() || is_last {
                            return;
                        }
                    }
                });
            }
            for piece in 0..pieces {
                let Ok(piece) = read[(piece % readers) as usize].recv() else { return Err(StoreError::Closed) };
                if piece?.visit(visit).is_break() {
                    break;
                }
            }
            // The readers end when nobody takes what they read.
            drop(read);
            Ok(())
        })
    }
}

impl Piece {
    /// Reads the events behind the first id up to and with the last.
    fn read(
        connection: &Connection,
        path: &Path,
        sql: &LogSql,
        (after, last): (i64, i64),
    ) -> Result<Piece, StoreError> {
        let reading = |error| StoreError::from_engine(path, Doing::Reading, error);
        let mut statement = connection.prepare_cached(&sql.edits).map_err(reading)?;
        let mut rows = statement.query((after, last)).map_err(reading)?;
        let mut piece = Piece { edits: Vec::with_capacity((last - after) as usize), ..Piece::default() };
        let mut expected = after;
        while let Some(row) = rows.next().map_err(reading)? {
            expected += 1;
            piece.take(row).map_err(reading)?;
            if piece.edits.last().is_none_or(|edit| edit.id != expected) {
                return Err(missing(path, sql, expected));
            }
        }
        if expected == last { Ok(piece) } else { Err(missing(path, sql, expected + 1)) }
    }

    fn take(&mut self, row: &rusqlite::Row<'_>) -> rusqlite::Result<()> {
        let user = row.get_ref(2)?.as_str()?;
        let user = match self.users.iter().rposition(|known| known.as_str() == user) {
            Some(user) => user,
            None => {
                self.users.push(parsed(row, 2)?);
                self.users.len() - 1
            }
        };
        let column = match row.get_ref(5)?.as_str_or_null()? {
            None => None,
            Some(column) => Some(self.columns.iter().position(|known| known == column).unwrap_or_else(|| {
                self.columns.push(column.to_owned());
                self.columns.len() - 1
            })),
        };
        let value = row.get_ref(6)?.as_str_or_null()?;
        let previous = row.get_ref(7)?.as_str_or_null()?;
        let mut put = |text: &str| {
            self.texts.push_str(text);
            self.texts.len()
        };
        self.edits.push(Packed {
            id: row.get(0)?,
            date: parsed(row, 1)?,
            action: parsed(row, 3)?,
            user,
            column,
            key_end: put(row.get_ref(4)?.as_str()?),
            value_end: put(value.unwrap_or_default()),
            previous_end: put(previous.unwrap_or_default()),
            has_value: value.is_some(),
            has_previous: previous.is_some(),
        });
        Ok(())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Edit<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut start = 0;
        for edit in &self.edits {
            let edit_of = Edit {
                id: EventId(edit.id),
                date: edit.date,
                user: &self.users[edit.user],
                action: edit.action,
                key: &self.texts[start..edit.key_end],
                column: edit.column.map(|column| self.columns[column].as_str()),
                value: edit.has_value.then(|| &self.texts[edit.key_end..edit.value_end]),
                previous: edit.has_previous.then(|| &self.texts[edit.value_end..edit.previous_end]),
            };
            start = edit.previous_end;
            visit(&edit_of)?;
        }
        ControlFlow::Continue(())
    }
}
