//! How much visitors who have not signed in may read and edit: public webapps are open to everybody, programs included.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stet_domain::{Actor, LogDate};

use crate::App;
use crate::clock::after_s;
use crate::error::AppError;

/// The time over which edits are counted, in seconds.
const WINDOW_S: i64 = 60;

/// The most edits from one network address in [`WINDOW_S`].
pub const VISITOR_EDITS_MAX: usize = 60;

/// The most edits of all visitors together in [`WINDOW_S`].
const ALL_EDITS_MAX: usize = 1_200;

/// The most requests from one network address in [`WINDOW_S`]: somebody who scrolls through a table for a minute makes about
/// 300.
pub const VISITOR_REQUESTS_MAX: usize = 600;

/// The most requests of all visitors together in [`WINDOW_S`].
const ALL_REQUESTS_MAX: usize = 12_000;

/// The most addresses that are remembered; no more than this can come in one window, since each makes a request.
const ADDRESSES_MAX: usize = ALL_REQUESTS_MAX;

/// What visitors did in the present window.
#[derive(Default)]
pub(crate) struct Visitors {
    edits: Mutex<Counted>,
    requests: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    since: Option<LogDate>,
    all: usize,
    by_address: HashMap<String, usize>,
}

impl Visitors {
    /// Counts edits that a visitor is about to make.
    ///
    /// # Errors
    /// `TooManyAttempts` when they would be too many; none of them is counted then.
    pub(crate) fn spend(&self, visitor: &Actor, edits: usize, now: LogDate) -> Result<(), AppError> {
        // A request without edits costs one as well, so that every address that is remembered has spent something.
        Self::count(&self.edits, visitor, edits.max(1), now, VISITOR_EDITS_MAX, ALL_EDITS_MAX)
    }

    /// Counts a request that a visitor makes, whatever it is for.
    ///
    /// # Errors
    /// `TooManyAttempts` when there were too many.
    pub(crate) fn come(&self, visitor: &Actor, now: LogDate) -> Result<(), AppError> {
        Self::count(&self.requests, visitor, 1, now, VISITOR_REQUESTS_MAX, ALL_REQUESTS_MAX)
    }

    fn count(
        counted: &Mutex<Counted>,
        visitor: &Actor,
        spent: usize,
        now: LogDate,
        address_max: usize,
        all_max: usize,
    ) -> Result<(), AppError> {
        let address = visitor.address.as_deref().unwrap_or("unknown");
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.since.is_none_or(|since| now >= after_s(since, WINDOW_S) || now < since) {
            *counted = Counted { since: Some(now), ..Counted::default() };
        }
        let of_address = counted.by_address.get(address).copied().unwrap_or(0);
        let is_full = counted.by_address.len() >= ADDRESSES_MAX && of_address == 0;
        if of_address + spent > address_max || counted.all + spent > all_max || is_full {
            return Err(AppError::TooManyAttempts { retry_after_s: WINDOW_S.unsigned_abs() });
        }
        counted.all += spent;
        *counted.by_address.entry(address.to_owned()).or_default() += spent;
        Ok(())
    }
}

impl App {
    /// Lets a visitor in to a public webapp, or tells to wait.
    ///
    /// # Errors
    /// As for a webapp that is not there when it is not public; `TooManyAttempts` when the visitor came too often.
    pub fn admit_visitor(&self, visitor: &Actor, project: &str, webapp: &str) -> Result<(), AppError> {
        self.may_use_webapp(visitor, project, webapp)?;
        self.inner.visitors.come(visitor, self.inner.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_edit_so_many_cells_a_minute_by_address_and_in_all() {
        let visitors = Visitors::default();
        let at = |address: &str| Actor::visitor().at(address.to_owned());
        let now = LogDate::from_micros(0);
        visitors.spend(&at("192.0.2.1"), VISITOR_EDITS_MAX, now).unwrap();
        assert!(matches!(visitors.spend(&at("192.0.2.1"), 1, now), Err(AppError::TooManyAttempts { .. })));
        for other in 2..=20 {
            visitors.spend(&at(&format!("192.0.2.{other}")), VISITOR_EDITS_MAX, now).unwrap();
        }
        assert!(visitors.spend(&at("192.0.2.99"), 1, now).is_err(), "all together are too many");
        visitors.spend(&at("192.0.2.1"), 1, after_s(now, WINDOW_S)).unwrap();
    }

    #[test]
    fn visitors_come_so_often_by_address() {
        let visitors = Visitors::default();
        let at = |address: &str| Actor::visitor().at(address.to_owned());
        let now = LogDate::from_micros(0);
        for _ in 0..VISITOR_REQUESTS_MAX {
            visitors.come(&at("192.0.2.1"), now).unwrap();
        }
        assert!(matches!(visitors.come(&at("192.0.2.1"), now), Err(AppError::TooManyAttempts { .. })));
        visitors.come(&at("192.0.2.2"), now).unwrap();
        visitors.come(&at("192.0.2.1"), after_s(now, WINDOW_S)).unwrap();
    }
}
