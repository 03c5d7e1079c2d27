//! Some rows of a dataset as text, to look at.

use stet_domain::project::Column;

use crate::cell::CellReader;
use crate::control::Control;
use crate::error::EngineError;
use crate::read::FileSource;

/// The rows that are read at a time: small, since a preview is of few.
const BATCH_ROWS: usize = 4_096;

/// Some rows of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewRows {
    /// Every column of the dataset.
    pub columns: Vec<Column>,
    /// Canonical texts; none for null.
    pub rows: Vec<Vec<Option<String>>>,
    /// How many rows the dataset has, if the files say so.
    pub total: Option<u64>,
}

/// Reads at most `limit` rows from the row `offset` on (from 0). The rows before it are read and passed over.
///
/// # Errors
/// When the data cannot be read up to there, or the work is cancelled.
pub fn preview(source: &FileSource, offset: u64, limit: usize, control: &Control) -> Result<PreviewRows, EngineError> {
    let source = source.settled()?;
    let columns = source.columns()?;
    let mut rows = Vec::new();
    let mut passed = 0u64;
    for batch in source.batches(None, BATCH_ROWS)?.batches {
        let batch = batch?;
        control.check()?;
        let count = batch.num_rows() as u64;
        if passed + count > offset {
            let first = usize::try_from(offset.saturating_sub(passed)).unwrap_or(usize::MAX);
            let readers: Vec<CellReader<'_>> =
                batch.columns().iter().map(|array| CellReader::new(array.as_ref())).collect();
            for row in first..batch.num_rows() {
                if rows.len() == limit {
                    break;
                }
                rows.push(readers.iter().map(|reader| reader.text(row)).collect());
            }
        }
        passed += count;
        if rows.len() == limit {
            break;
        }
    }
    Ok(PreviewRows { columns, rows, total: source.rows_known()? })
}
