//! Sorted runs of rows on disk, and their merging.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stet_domain::Key;
use stet_domain::replay::RowState;

use super::{BUFFER_BYTES, buffered, temporary, unreadable, write_line};
use crate::error::EngineError;

/// A row of a log with what it is sorted by; no two rows have the same.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::build) struct SortedRow {
    pub(in crate::build) by: u64,
    pub(in crate::build) key: Key,
    pub(in crate::build) state: RowState,
}

/// Writes one run.
pub(in crate::build) struct RunWriter {
    folder: PathBuf,
    out: BufWriter<File>,
}

/// A run on disk.
#[derive(Debug)]
pub(in crate::build) struct Run {
    folder: PathBuf,
    file: File,
}

impl RunWriter {
    pub(in crate::build) fn new(folder: &Path) -> Result<RunWriter, EngineError> {
        Ok(RunWriter { folder: folder.to_owned(), out: buffered(temporary(folder)?) })
    }

    /// Takes the next row: rows come in their order.
    pub(in crate::build) fn push(&mut self, by: u64, key: &Key, state: &RowState) -> Result<(), EngineError> {
        write_line(&mut self.out, &(by, key, state)).map_err(EngineError::io("write a temporary file in", &self.folder))
    }

    pub(in crate::build) fn finish(self) -> Result<Run, EngineError> {
        let RunWriter { folder, out } = self;
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error);
        Ok(Run { file: file.map_err(EngineError::io("write a temporary file in", &folder))?, folder })
    }
}

impl Run {
    fn rows(self) -> Result<RunRows, EngineError> {
        let Run { folder, mut file } = self;
        file.seek(SeekFrom::Start(0)).map_err(EngineError::io("read a temporary file in", &folder))?;
        Ok(RunRows { folder, reader: BufReader::with_capacity(BUFFER_BYTES, file), line: Vec::new() })
    }
}

struct RunRows {
    folder: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
}

impl RunRows {
    fn next(&mut self) -> Result<Option<SortedRow>, EngineError> {
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line);
        if read.map_err(EngineError::io("read a temporary file in", &self.folder))? == 0 {
            return Ok(None);
        }
        let (by, key, state) = serde_json::from_slice(&self.line).map_err(unreadable)?;
        Ok(Some(SortedRow { by, key, state }))
    }
}

/// The rows of several runs in one order. One row of each run is in memory.
pub(in crate::build) struct Merged {
    runs: Vec<RunRows>,
    heads: Vec<Option<SortedRow>>,
    order: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Merged {
    pub(in crate::build) fn new(runs: Vec<Run>) -> Result<Merged, EngineError> {
        let runs = runs.into_iter().map(Run::rows).collect::<Result<Vec<_>, _>>()?;
        let heads = runs.iter().map(|_| None).collect();
        let mut merged = Merged { runs, heads, order: BinaryHeap::new() };
        for run in 0..merged.runs.len() {
            merged.advance(run)?;
        }
        Ok(merged)
    }

    fn advance(&mut self, run: usize) -> Result<(), EngineError> {
        self.heads[run] = self.runs[run].next()?;
        if let Some(row) = &self.heads[run] {
            self.order.push(Reverse((row.by, run)));
        }
        Ok(())
    }

    /// The next row if it comes before `end`; none otherwise and at the end.
    pub(in crate::build) fn next_before(&mut self, end: u64) -> Result<Option<SortedRow>, EngineError> {
        let Some(Reverse((by, run))) = self.order.peek().copied() else { return Ok(None) };
        if by >= end {
            return Ok(None);
        }
        self.order.pop();
        let row = self.heads[run].take();
        self.advance(run)?;
        Ok(row)
    }
}
