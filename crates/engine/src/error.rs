//! What can go wrong with data, in words that say where and what to do.

use std::path::PathBuf;

/// An error of the engine. The message names the dataset or file, and where it can the line, row and column.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Files of a dataset do not exist.
    #[error("dataset `{dataset}` has no data: {path} does not exist")]
    Missing { dataset: String, path: PathBuf },
    /// A file cannot be opened, read, written or put in place. Without a path it is what the caller writes to.
    #[error(
        "cannot {action} {}: {source}",
        if path.as_os_str().is_empty() { "the output".into() } else { path.display().to_string() }
    )]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    /// A file is not what it should be. `place` is such as `line 12` or `row 5, column \`cost\``, or empty.
    #[error("{path}{}{place}: {message}", if place.is_empty() { "" } else { ", " })]
    BadData { path: PathBuf, place: String, message: String },
    /// The data's columns are not those that are expected.
    #[error("dataset `{dataset}`: {message}")]
    Schema { dataset: String, message: String },
    /// Rows without a key, or several with the same key: the message lists the first ones with their rows.
    #[error("dataset `{dataset}` cannot be edited: {message}")]
    Keys { dataset: String, message: String },
    /// A query of a SQL recipe is wrong.
    #[error("{file}: {message}")]
    Query { file: String, message: String },
    /// A request for rows that makes no sense: an unknown column, a value of the wrong type.
    #[error("{0}")]
    Request(String),
    /// The work was cancelled.
    #[error("stopped on request; the earlier output is untouched")]
    Cancelled,
    /// A library failed in a way that is no fault of the data.
    #[error("{action} failed")]
    Internal { action: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl EngineError {
    /// Wraps an IO error with what was tried on which path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> EngineError {
        let path = path.into();
        move |source| EngineError::Io { action, path, source }
    }
}
