//! How much visitors who have not signed in may edit: public webapps are open to everybody, programs included.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stet_domain::{Actor, LogDate};

use crate::clock::after_s;
use crate::error::AppError;

/// The time over which edits are counted, in seconds.
const WINDOW_S: i64 = 60;

/// The most edits from one network address in [`WINDOW_S`].
pub const VISITOR_EDITS_MAX: usize = 60;

/// The most edits of all visitors together in [`WINDOW_S`].
const ALL_EDITS_MAX: usize = 1_200;

/// The most addresses that are remembered; no more than this can edit in one window, since each makes an edit.
const ADDRESSES_MAX: usize = ALL_EDITS_MAX;

/// The edits of visitors in the present window.
#[derive(Default)]
pub(crate) struct Visitors(Mutex<Counted>);

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
        let edits = edits.max(1);
        let address = visitor.address.as_deref().unwrap_or("unknown");
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.since.is_none_or(|since| now >= after_s(since, WINDOW_S) || now < since) {
            *counted = Counted { since: Some(now), ..Counted::default() };
        }
        let of_address = counted.by_address.get(address).copied().unwrap_or(0);
        let is_full = counted.by_address.len() >= ADDRESSES_MAX && of_address == 0;
        if of_address + edits > VISITOR_EDITS_MAX || counted.all + edits > ALL_EDITS_MAX || is_full {
            return Err(AppError::TooManyAttempts { retry_after_s: WINDOW_S.unsigned_abs() });
        }
        counted.all += edits;
        *counted.by_address.entry(address.to_owned()).or_default() += edits;
        Ok(())
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
}
