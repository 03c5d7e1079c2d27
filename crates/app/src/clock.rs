//! The time, injected: tests move it by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use stet_domain::LogDate;

/// Tells the time of everything but the dates of edit events, which the database sets itself.
#[derive(Debug)]
pub enum Clock {
    /// The clock of the machine.
    System,
    /// A clock that stands until it is moved; microseconds since the epoch.
    Manual(AtomicI64),
}

impl Clock {
    /// The time now.
    pub fn now(&self) -> LogDate {
        match self {
            Clock::System => {
                // The one place that reads the machine's clock.
                #[allow(clippy::disallowed_methods)]
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                LogDate::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }
            Clock::Manual(micros) => LogDate::from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock on; the machine's clock stays as it is.
    pub fn advance_s(&self, seconds: i64) {
        if let Clock::Manual(micros) = self {
            micros.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        }
    }
}

/// A time some seconds after another.
pub(crate) fn after_s(date: LogDate, seconds: i64) -> LogDate {
    LogDate::from_micros(date.micros().saturating_add(seconds.saturating_mul(1_000_000)))
}
