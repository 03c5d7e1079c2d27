//! What a build writes to: a file, or a folder of files.

use std::io::{self, Write};
use std::path::Path;

use stet_domain::project::Format;

use super::file::{AtomicFile, Digested};
use super::folder::{AtomicFolder, PartFile};
use crate::error::EngineError;

/// The output of a build in the making.
#[derive(Debug)]
pub(crate) enum Output {
    File(AtomicFile),
    Folder(AtomicFolder),
}

/// What one file of the output is written to.
#[derive(Debug)]
pub(crate) enum OutputWriter {
    File(AtomicFile),
    Part(PartFile, AtomicFolder),
}

/// Whether an output is a folder of files: its path ends with a separator.
pub(crate) fn is_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_some_and(|last| std::path::is_separator(char::from(*last)))
}

impl Output {
    /// Starts the output; what stands in its place is untouched until [`Output::commit`].
    ///
    /// # Errors
    /// When it cannot be made, something is in its place that no build wrote, or a folder is to hold another format than
    /// Parquet.
    pub(crate) fn create(path: &Path, format: Format) -> Result<Output, EngineError> {
        if !is_folder(path) {
            return Ok(Output::File(AtomicFile::create(path)?));
        }
        if format != Format::Parquet {
            let message =
                "only Parquet is written as a folder: take the `/` from the end of the path, or use `parquet`";
            return Err(EngineError::BadData { path: path.to_owned(), place: String::new(), message: message.into() });
        }
        Ok(Output::Folder(AtomicFolder::create(path)?))
    }

    /// For rows that are written in one go: the file, or the only file of the folder.
    pub(crate) fn into_writer(self) -> Result<OutputWriter, EngineError> {
        Ok(match self {
            Output::File(file) => OutputWriter::File(file),
            Output::Folder(folder) => OutputWriter::Part(folder.part()?, folder),
        })
    }

    /// Makes the output durable and puts it in place in one step. With size and hash of the whole come those of its files.
    pub(crate) fn commit(self) -> Result<(Digested, Vec<Digested>), EngineError> {
        match self {
            Output::File(file) => file.commit().map(|digested| (digested.clone(), vec![digested])),
            Output::Folder(folder) => folder.commit(),
        }
    }
}

impl OutputWriter {
    /// The output once its file is written.
    pub(crate) fn into_output(self) -> Result<Output, EngineError> {
        Ok(match self {
            OutputWriter::File(file) => Output::File(file),
            OutputWriter::Part(part, mut folder) => {
                folder.add(part)?;
                Output::Folder(folder)
            }
        })
    }
}

impl Write for OutputWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            OutputWriter::File(file) => file.write(bytes),
            OutputWriter::Part(part, _) => part.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            OutputWriter::File(file) => file.flush(),
            OutputWriter::Part(part, _) => part.flush(),
        }
    }
}
