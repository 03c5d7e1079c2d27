//! What a use case answers when it cannot do what was asked.

use crate::second_factor::SecondFactorAsked;
use stet_domain::project::ProjectError;
use stet_engine::error::EngineError;
use stet_store::StoreError;

/// A failed use case. The messages are for the person who asked; what is not their business is in `source`, for the log.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Nobody is signed in, or the session has ended.
    #[error("please sign in")]
    NotSignedIn,
    /// The login or the password is wrong, or the user is disabled: which of them is not told.
    #[error("this login and password do not match")]
    WrongCredentials,
    /// The password is right, and the second factor is missing: what will do.
    #[error("{}", match (.0.codes, .0.recovery_codes) {
        (true, _) => "type the code that your app shows, or a recovery code",
        (false, true) => "use your passkey, or a recovery code",
        (false, false) => "use your passkey",
    })]
    SecondFactorNeeded(Box<SecondFactorAsked>),
    /// The code is none, was used before, or is of another time.
    #[error("this code is not right, or was used before")]
    WrongCode,
    /// The node asks for a second factor, and the user has not set one up.
    #[error("set up a second factor first: this node asks you for one")]
    SecondFactorDue,
    /// Too many attempts in a short time.
    #[error("too many attempts: wait {retry_after_s} seconds, then try again")]
    TooManyAttempts {
        /// How long to wait.
        retry_after_s: u64,
    },
    /// It does not exist, or the actor may not know of it.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for, with its name.
        what: String,
    },
    /// The actor may see it and may not do this.
    #[error("{0}")]
    NotAllowed(String),
    /// What was asked for makes no sense or breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The answer is no, with the reason: what was brought is not good enough.
    #[error("{0}")]
    Refused(String),
    /// Something else was done in the meantime.
    #[error("{0}")]
    Conflict(String),
    /// Whoever asked for it stopped it.
    #[error("it was cancelled")]
    Cancelled,
    /// The files of a project are wrong.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The node's folder or its configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The data cannot be used.
    #[error(transparent)]
    Data(EngineError),
    /// Try again later.
    #[error("{0}")]
    Unavailable(String),
    /// A failure of ours.
    #[error("something went wrong on the server: the administrator finds the cause in the log")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AppError {
    /// Something that is not there, or that the actor may not know of.
    pub fn not_found(what: impl Into<String>) -> AppError {
        AppError::NotFound { what: what.into() }
    }

    /// A failure of ours.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AppError {
        AppError::Internal(error.into())
    }
}

impl From<EngineError> for AppError {
    fn from(error: EngineError) -> AppError {
        match error {
            EngineError::Request(message) => AppError::Invalid(message),
            EngineError::Internal { .. } => AppError::internal(error),
            other => AppError::Data(other),
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> AppError {
        match error {
            StoreError::NotInitialised { .. }
            | StoreError::LoginTaken { .. }
            | StoreError::GroupTaken { .. }
            | StoreError::TokenNameTaken { .. } => AppError::Conflict(error.to_string()),
            StoreError::HasEvents { .. } | StoreError::NoReset { .. } => AppError::Refused(error.to_string()),
            StoreError::NoSuchUser { .. } | StoreError::NoSuchGroup { .. } | StoreError::NoSuchBuild { .. } => {
                AppError::NotFound { what: error.to_string().trim_start_matches("there is no ").to_owned() }
            }
            StoreError::TooManyEvents { .. }
            | StoreError::EventTooLong { .. }
            | StoreError::EventIdTwice { .. }
            | StoreError::NotThere { .. }
            | StoreError::Unusable(_)
            | StoreError::Refused { .. } => AppError::Invalid(error.to_string()),
            StoreError::Busy { .. }
            | StoreError::Locked { .. }
            | StoreError::Full { .. }
            | StoreError::WriteFailed { .. }
            | StoreError::OutcomeUnknown { .. }
            | StoreError::FileReplaced { .. }
            | StoreError::ClockWentBack { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::CannotConnect { .. }
            | StoreError::Closed => {
                tracing::error!(error = %Chain(&error), "the store cannot do its work");
                AppError::Unavailable(unavailable(&error))
            }
            StoreError::NotADatabase { .. }
            | StoreError::CannotOpen { .. }
            | StoreError::NewerVersion { .. }
            | StoreError::Altered { .. }
            | StoreError::NotAllowed { .. }
            | StoreError::OtherNode { .. }
            | StoreError::NameTaken { .. }
            | StoreError::NameReserved { .. } => AppError::Configuration(error.to_string()),
            other => AppError::internal(other),
        }
    }
}

/// What people are told of a store that cannot work: no paths.
fn unavailable(error: &StoreError) -> String {
    match error {
        StoreError::Full { .. } => {
            "nothing was saved: the server has no disk space left. Tell its administrator".into()
        }
        StoreError::CannotConnect { connection, reason, .. } => {
            // The connection's own name is everybody's business; its host is not.
            let name = connection.split(' ').next().unwrap_or_default();
            tracing::debug!(connection, reason, "a database is away");
            format!("the database `{name}` cannot be reached at present, and nothing was saved: try again shortly")
        }
        StoreError::OutcomeUnknown { .. } => {
            "it is not known whether this was saved: try again, which saves nothing twice".into()
        }
        _ => "nothing was saved: the server cannot write at present. Try again shortly".into(),
    }
}

/// An error with all its causes, for logs.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut told = self.0.to_string();
        f.write_str(&told)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Some errors tell their cause themselves.
            if !told.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            told = text;
            source = error.source();
        }
        Ok(())
    }
}
