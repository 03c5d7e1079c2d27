//! Sorted runs of rows on disk, and their merging.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{BUFFER_BYTES, buffered, temporary};
use crate::error::EngineError;

/// A row of a log with what it is sorted by; no two rows have the same.
#[derive(Debug)]
pub(in crate::build) struct SortedRow {
    by: u64,
    /// The row, for [`stet_domain::replay::Replay::put_record`].
    pub(in crate::build) record: Vec<u8>,
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
    pub(in crate::build) fn push(&mut self, by: u64, record: &[u8]) -> Result<(), EngineError> {
        let out = &mut self.out;
        let mut write = || {
            out.write_all(&by.to_le_bytes())?;
            out.write_all(&(record.len() as u64).to_le_bytes())?;
            out.write_all(record)
        };
        write().map_err(EngineError::io("write a temporary file in", &self.folder))
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
        Ok(RunRows { folder, reader: BufReader::with_capacity(BUFFER_BYTES, file) })
    }
}

struct RunRows {
    folder: PathBuf,
    reader: BufReader<File>,
}

impl RunRows {
    fn next(&mut self) -> Result<Option<SortedRow>, EngineError> {
        let reader = &mut self.reader;
        let mut read = || -> std::io::Result<Option<SortedRow>> {
            if reader.fill_buf()?.is_empty() {
                return Ok(None);
            }
            let mut number = || {
                let mut bytes = [0; 8];
                reader.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
            };
            let (by, length) = (number()?, number()?);
            let mut record = Vec::new();
            if reader.take(length).read_to_end(&mut record)? as u64 != length {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            Ok(Some(SortedRow { by, record }))
        };
        read().map_err(EngineError::io("read a temporary file in", &self.folder))
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
