//! Rows of `editlog_pivoted` in runs on disk, merged in the order of their last events.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::interleave::interleave;

use super::BATCH_ROWS;
use crate::error::EngineError;

/// Writes the rows of one run.
pub(super) struct RunWriter {
    schema: SchemaRef,
    writer: StreamWriter<BufWriter<File>>,
}

/// A run on disk.
pub(super) struct Run {
    folder: PathBuf,
    file: File,
}

impl RunWriter {
    pub(super) fn new(folder: &Path, schema: &SchemaRef) -> Result<RunWriter, EngineError> {
        let file = tempfile::tempfile_in(folder).map_err(EngineError::io("create a temporary file in", folder))?;
        // What rows are ordered by comes before their own columns.
        let fields = std::iter::once(Arc::new(Field::new("last_event", DataType::Int64, false)));
        let schema = Arc::new(Schema::new(fields.chain(schema.fields().iter().cloned()).collect::<Vec<_>>()));
        let writer = StreamWriter::try_new_buffered(file, &schema).map_err(failed)?;
        Ok(RunWriter { schema, writer })
    }

    /// Takes the next rows with the numbers of their last events.
    pub(super) fn write(&mut self, by: Int64Array, batch: &RecordBatch) -> Result<(), EngineError> {
        let by: ArrayRef = Arc::new(by);
        let columns = std::iter::once(by).chain(batch.columns().iter().cloned()).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(failed)?;
        self.writer.write(&batch).map_err(failed)
    }

    pub(super) fn finish(self, folder: &Path) -> Result<Run, EngineError> {
        let out = self.writer.into_inner().map_err(failed)?;
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error);
        let file = file.map_err(EngineError::io("write a temporary file in", folder))?;
        Ok(Run { folder: folder.to_owned(), file })
    }
}

/// What is at hand of one run.
struct Head {
    reader: StreamReader<BufReader<File>>,
    batch: Option<RecordBatch>,
    row: usize,
}

/// The rows of several runs in one order. One batch of each run is in memory.
pub(super) struct Merged {
    schema: SchemaRef,
    heads: Vec<Head>,
    order: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Merged {
    pub(super) fn new(runs: Vec<Run>, schema: &SchemaRef) -> Result<Merged, EngineError> {
        let mut merged = Merged { schema: schema.clone(), heads: Vec::new(), order: BinaryHeap::new() };
        for (place, run) in runs.into_iter().enumerate() {
            let Run { folder, mut file } = run;
            file.seek(SeekFrom::Start(0)).map_err(EngineError::io("read a temporary file in", folder))?;
            let reader = StreamReader::try_new_buffered(file, None).map_err(failed)?;
            merged.heads.push(Head { reader, batch: None, row: 0 });
            merged.advance(place)?;
        }
        Ok(merged)
    }

    /// Moves a run to its next row, and to its next batch if need be.
    fn advance(&mut self, place: usize) -> Result<(), EngineError> {
        let head = &mut self.heads[place];
        head.row += 1;
        if head.batch.as_ref().is_none_or(|batch| head.row >= batch.num_rows()) {
            head.batch = head.reader.next().transpose().map_err(failed)?;
            head.row = 0;
        }
        if let Some(batch) = &head.batch {
            let by = batch.column(0).as_primitive::<Int64Type>().value(head.row);
            self.order.push(Reverse((by, place)));
        }
        Ok(())
    }

    /// The next rows; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        // The batches that rows were taken from, and for each run which of them is its present one.
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut present: Vec<Option<usize>> = vec![None; self.heads.len()];
        let mut taken: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
        while taken.len() < BATCH_ROWS
            && let Some(Reverse((_, place))) = self.order.pop()
        {
            let head = &self.heads[place];
            let Some(batch) = &head.batch else { continue };
            let source = *present[place].get_or_insert_with(|| {
                batches.push(batch.clone());
                batches.len() - 1
            });
            taken.push((source, head.row));
            self.advance(place)?;
            if self.heads[place].row == 0 {
                present[place] = None;
            }
        }
        if taken.is_empty() {
            return Ok(None);
        }
        let columns = (1..=self.schema.fields().len()).map(|column| {
            let sources: Vec<_> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
            interleave(&sources, &taken)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        RecordBatch::try_new(self.schema.clone(), columns).map(Some).map_err(failed)
    }
}

fn failed(error: ArrowError) -> EngineError {
    match error {
        // Such as a full disk.
        ArrowError::IoError(_, source) => {
            EngineError::Io { action: "write a temporary file in", path: std::env::temp_dir(), source }
        }
        error => EngineError::Internal { action: "sorting rows", source: Box::new(error) },
    }
}
