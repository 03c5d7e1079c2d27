//! How commands end when they cannot do what was asked: the exit code and what stderr says.

use std::io;
use std::process::ExitCode;

use stet_app::{AppError, Chain};

/// A command's failure.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The answer is no: exit code 1.
    No(String),
    /// Wrong usage or configuration: exit code 2.
    Usage(String),
    /// What is wrong was printed already: exit code 1.
    Printed,
    /// Whoever read our output has left, such as `head`: nothing more to do, and nobody to tell.
    ReaderLeft,
}

impl Failure {
    /// The answer is no.
    pub(crate) fn no(message: impl Into<String>) -> Failure {
        Failure::No(message.into())
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    /// Says on stderr what is wrong and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (code, message) = match self {
            Failure::No(message) => (1, message),
            Failure::Usage(message) => (2, message),
            Failure::Printed => return ExitCode::from(1),
            Failure::ReaderLeft => return ExitCode::SUCCESS,
        };
        crate::output::note(&format!("stet: {message}"));
        ExitCode::from(code)
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Failure {
        match error {
            // The person at the shell is the administrator whom the message would send to the log.
            AppError::Internal(source) => Failure::No(format!("something failed that should not: {}", Chain(&*source))),
            AppError::NotFound { .. }
            | AppError::Invalid(_)
            | AppError::NotAllowed(_)
            | AppError::Project(_)
            | AppError::Configuration(_) => Failure::Usage(error.to_string()),
            other => Failure::No(Chain(&other).to_string()),
        }
    }
}

/// An error of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::ReaderLeft
        } else {
            Failure::No(format!("cannot write the output: {error}"))
        }
    }
}
