//! How far the work has come that somebody waits for.
//!
//! The work is divided into parts, each with a share of what is still to do; within a part rows are counted, by the batch
//! and never one by one. How far it is never goes back, and whoever asks disturbs nobody.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stet_domain::Login;

use super::groups::GroupQuery;
use super::query::{OrderKey, Query};
use super::{LiveTable, lock};
use crate::control::Control;

/// What is done to rows that somebody waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing yet: other work on the same table is done first.
    #[default]
    Queued,
    /// It is looked which rows pass the filters.
    Filtering,
    /// They are put into their order.
    Sorting,
    /// They are counted by their values.
    Grouping,
}

/// How far the work has come that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkProgress {
    /// What is done at present.
    pub step: Step,
    /// To how many rows it is done.
    pub rows: usize,
    /// How much of all the work is done, all steps together: 0 to 100.
    pub percent: u8,
}

/// What is worked on: the rows of a query, or groups of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WorkKey {
    Order(OrderKey),
    Groups(OrderKey, Box<GroupQuery>),
}

impl WorkKey {
    pub fn of_groups(query: &GroupQuery, me: &Login) -> WorkKey {
        let of_rows = Query { filters: query.filters.clone(), states: query.states.clone(), sort: Vec::new() };
        WorkKey::Groups(OrderKey::new(&of_rows, me), Box::new(query.clone()))
    }
}

impl LiveTable {
    /// How far the rows of a query are that somebody waits for, or that are worked out in the background; none when nobody
    /// works on them.
    pub fn progress(&self, query: &Query, me: &Login) -> Option<WorkProgress> {
        self.works.progress(&WorkKey::Order(OrderKey::new(query, me)))
    }

    /// As [`LiveTable::progress`], for groups.
    pub fn groups_progress(&self, query: &GroupQuery, me: &Login) -> Option<WorkProgress> {
        self.works.progress(&WorkKey::of_groups(query, me))
    }
}

/// The work that is under way. Each piece is of a request that waits, or of the one thread in the background.
#[derive(Debug, Default)]
pub(super) struct Works(Mutex<Vec<(WorkKey, Arc<Meter>)>>);

/// A piece of work; taken out when it is dropped.
pub(super) struct Work<'a> {
    works: &'a Works,
    meter: Arc<Meter>,
}

impl Works {
    pub fn begin(&self, key: WorkKey) -> Work<'_> {
        let meter = Arc::<Meter>::default();
        lock(&self.0).push((key, Arc::clone(&meter)));
        Work { works: self, meter }
    }

    /// Several may wait for the same rows, and one of them does the work: it is as far as the foremost.
    fn progress(&self, key: &WorkKey) -> Option<WorkProgress> {
        let works = lock(&self.0);
        let of_key = works.iter().filter(|(other, _)| other == key).map(|(_, meter)| meter.progress());
        of_key.max_by_key(|progress| (progress.step != Step::Queued, progress.percent))
    }
}

impl Deref for Work<'_> {
    type Target = Meter;

    fn deref(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        lock(&self.works.0).retain(|(_, meter)| !Arc::ptr_eq(meter, &self.meter));
    }
}

/// How far one piece of work is.
#[derive(Debug, Default)]
pub(super) struct Meter {
    part: Mutex<Part>,
    /// Rows that the present part is done with; a row counts as often as it is gone through.
    done: AtomicU64,
}

/// The part of the work that is done at present.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    step: Step,
    rows: usize,
    /// How much of all the work was done before it, and will be after it: 0 to 1.
    begin: f64,
    end: f64,
    /// How many rows it goes through.
    of: u64,
}

impl Part {
    fn at(&self, done: u64) -> f64 {
        let share = if self.of == 0 { 0.0 } else { done.min(self.of) as f64 / self.of as f64 };
        self.begin + (self.end - self.begin) * share
    }
}

impl Meter {
    /// Begins the next part: what is done to how many rows, what it costs, and what all that comes after it costs. A cost is
    /// how many rows are gone through, roughly.
    pub fn begin(&self, step: Step, rows: usize, cost: u64, cost_after: u64) {
        let mut part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        // What went faster than was thought is done all the same.
        let begin = part.end;
        let share = cost as f64 / (cost + cost_after).max(1) as f64;
        *part = Part { step, rows, begin, end: begin + (1.0 - begin) * share, of: cost };
        self.done.store(0, Ordering::Relaxed);
    }

    /// It waits until other work is done.
    pub fn queue(&self) {
        self.part.lock().unwrap_or_else(PoisonError::into_inner).step = Step::Queued;
    }

    /// Rows were gone through.
    pub fn add(&self, rows: usize) {
        self.done.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// All is done.
    pub fn end(&self) {
        let mut part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        *part = Part { begin: 1.0, end: 1.0, ..*part };
    }

    /// Tells whoever waits how far it is.
    pub fn report_to(&self, control: &Control) {
        let WorkProgress { rows, percent, .. } = self.progress();
        // Whether it is to stop is another question.
        control.report(rows as u64 * u64::from(percent) / 100, Some(rows as u64)).ok();
    }

    pub fn progress(&self) -> WorkProgress {
        let part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        let percent = (part.at(self.done.load(Ordering::Relaxed)) * 100.0) as u8;
        WorkProgress { step: part.step, rows: part.rows, percent }
    }
}

/// What work on many rows is given: where it tells how far it is, and whether it is to stop.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub meter: &'a Meter,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Watch<'a> {
    pub fn new(meter: &'a Meter, stop: &'a (dyn Fn() -> bool + Sync)) -> Watch<'a> {
        Watch { meter, stop }
    }

    /// Whether the work is to be given up. Asked once for many rows.
    pub fn stops(&self) -> bool {
        (self.stop)()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_never_goes_back_whatever_its_parts_cost() {
        let meter = Meter::default();
        let mut last = 0;
        let mut see = |meter: &Meter| {
            let progress = meter.progress();
            assert!(progress.percent >= last, "{progress:?} after {last}");
            last = progress.percent;
            progress
        };
        assert_eq!(see(&meter), WorkProgress { step: Step::Queued, rows: 0, percent: 0 });
        meter.begin(Step::Filtering, 1_000, 1_000, 3_000);
        meter.add(500);
        assert_eq!(see(&meter), WorkProgress { step: Step::Filtering, rows: 1_000, percent: 12 });
        // Fewer rows pass than could have, and the part before ended early.
        meter.begin(Step::Sorting, 10, 20, 20);
        assert_eq!(see(&meter), WorkProgress { step: Step::Sorting, rows: 10, percent: 25 });
        meter.add(10_000);
        assert_eq!(see(&meter).percent, 62);
        meter.queue();
        assert_eq!(see(&meter).step, Step::Queued);
        meter.begin(Step::Sorting, 0, 0, 0);
        see(&meter);
        meter.end();
        assert_eq!(see(&meter).percent, 100);
    }

    #[test]
    fn each_piece_of_work_is_told_by_itself_while_it_lasts() {
        let works = Works::default();
        let key = |column: &str| {
            let sort = vec![super::super::Sort { column: column.into(), descending: false }];
            WorkKey::Order(OrderKey::new(&Query { sort, ..Query::default() }, &Login::none()))
        };
        let (first, second) = (works.begin(key("a")), works.begin(key("a")));
        second.begin(Step::Sorting, 10, 10, 10);
        second.add(5);
        // Whoever waits for what another one works out is as far as that one.
        let told = Some(WorkProgress { step: Step::Sorting, rows: 10, percent: 25 });
        assert_eq!((works.progress(&key("a")), works.progress(&key("b"))), (told, None));
        drop(second);
        assert_eq!(works.progress(&key("a")).map(|progress| progress.step), Some(Step::Queued));
        drop(first);
        assert_eq!(works.progress(&key("a")), None);
    }
}
