//! What a replay takes from the original, of which it reads no rows: its columns.

use arrow_schema::SchemaRef;
use stet_domain::apply::EditableColumn;
use stet_domain::project::{Column, Format};

use super::pivoted_schema;
use crate::cell::columns_of;
use crate::error::EngineError;
use crate::manifest::OriginalStamp;
use crate::read::{FilePrint, FileSource};

/// The columns of an original.
#[derive(Debug, Clone)]
pub struct OriginalColumns {
    columns: Vec<Column>,
    /// The exact types, when the files tell them.
    exact: Option<SchemaRef>,
    files: Vec<FilePrint>,
}

impl OriginalColumns {
    /// The columns of files. Those of Parquet have exact types, which the output of a replay has too.
    ///
    /// # Errors
    /// See [`FileSource::columns`].
    pub fn of_files(source: &FileSource) -> Result<OriginalColumns, EngineError> {
        // Taken first: files that change in between are then seen to have changed.
        let files = source.fingerprint()?.files;
        if source.format != Format::Parquet {
            return Ok(OriginalColumns { columns: source.columns()?, exact: None, files });
        }
        let exact = source.arrow_schema()?;
        Ok(OriginalColumns { columns: columns_of(&exact), exact: Some(exact), files })
    }

    /// The columns of a table of a database.
    pub fn of_table(columns: Vec<Column>) -> OriginalColumns {
        OriginalColumns { columns, exact: None, files: Vec::new() }
    }

    /// The columns, in the original's order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What a manifest keeps of them, for a replay of these key columns and editable columns.
    pub fn stamp(&self, keys: &[Column], editable: &[EditableColumn]) -> OriginalStamp {
        OriginalStamp::new(&pivoted_schema(keys, editable, Some(self)), self.files.clone())
    }

    pub(super) fn exact(&self) -> Option<&SchemaRef> {
        self.exact.as_ref()
    }
}
