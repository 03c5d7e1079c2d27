//! How a long piece of work is watched and stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::EngineError;

/// How far a piece of work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows done.
    pub rows_done: u64,
    /// Rows in all; none when nobody can know before the end.
    pub rows_total: Option<u64>,
}

/// The caller's hold on a piece of work: it sees how far the work has come and can stop it.
#[derive(Clone)]
pub struct Control {
    cancel: Arc<AtomicBool>,
    /// Somebody asked for the end, rather than only having gone.
    withdrawn: Arc<AtomicBool>,
    progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Control {
    /// The work stops with [`EngineError::Cancelled`] soon after `cancel` becomes true. It calls `progress` after every
    /// batch of rows, from a thread that works: `progress` should be quick.
    pub fn new(cancel: Arc<AtomicBool>, progress: impl Fn(Progress) + Send + Sync + 'static) -> Control {
        Control { cancel, withdrawn: Arc::default(), progress: Arc::new(progress) }
    }

    /// Work that others may still come for goes on for a while after `cancel`; not when nobody is left but those who set
    /// `withdrawn`.
    #[must_use]
    pub fn withdrawn_by(self, withdrawn: Arc<AtomicBool>) -> Control {
        Control { withdrawn, ..self }
    }

    /// For work that nobody watches or stops.
    pub fn unwatched() -> Control {
        Control::new(Arc::default(), |_| {})
    }

    /// Whether the work is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) || self.is_withdrawn()
    }

    /// Whether the work is to stop at once.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Relaxed)
    }

    /// Tells how far the work has come.
    ///
    /// # Errors
    /// When the work is to stop.
    pub fn report(&self, rows_done: u64, rows_total: Option<u64>) -> Result<(), EngineError> {
        self.check()?;
        (self.progress)(Progress { rows_done, rows_total });
        Ok(())
    }

    /// # Errors
    /// When the work is to stop.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
