//! Which rows a query gives: from an order that is kept, from the first rows of one that is not, or from one that is
//! worked out now.
//!
//! The first page of a new sort is found by the zones of the snapshot, or in one pass over the rows, and that of a new filter
//! without looking at all rows, if whoever asks can wait for their count ([`Count::Later`]). Its whole order is then wanted, and worked out by
//! [`LiveTable::make_orders`] beside other requests; a page that lies deeper waits for it. What a page waits for is given up
//! when everybody who waited has gone (`waiting.rs`).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLockReadGuard};
use std::time::Duration;

use stet_domain::{EventId, Login};

use super::order::Order;
use super::plan::Plan;
use super::progress::{Watch, WorkKey};
use super::query::{Count, OrderKey, PAGE_ROWS_MAX, Query};
use super::scan::{self, Items};
use super::set::RowSet;
use super::state::{State, View};
use super::top::{Among, Sorting, top_passing, top_rows};
use super::waiting::Patience;
use super::{LiveTable, lock};
use crate::control::Control;
use crate::error::EngineError;
use crate::ordering::{further_key_of, is_text, key_of};

/// How deep into an order that is not there yet a page may lie and still be found without it.
const FIRST_ROWS_MAX: usize = 2_000;

/// How many of the first rows are found at least, so that the next pages need no search of their own.
const FIRST_ROWS_MIN: usize = 400;

/// How many more are found than asked for: some may be edited while they are.
const FIRST_ROWS_SPARE: usize = 64;

/// For how many orders first rows are kept.
const FIRSTS_MAX: usize = 8;

/// How many orders may wait to be worked out; the one that waits the longest gives way.
const WANTED_MAX: usize = 4;

/// How long the background work lets others go first before it looks again.
const GIVE_WAY: Duration = Duration::from_millis(2);

/// What a query gives at one position of the log.
pub(super) struct Found {
    /// How many rows in all, or at least when not all were counted yet.
    pub total: usize,
    /// Whether not all rows were counted.
    pub total_pending: bool,
    /// The rows of the page.
    pub rows: Vec<u32>,
    /// Whether the whole order is still to be worked out.
    pub order_pending: bool,
}

/// The first rows of an order that is not there yet; they are good at one position of the log.
#[derive(Debug, Clone)]
pub(super) struct First {
    key: OrderKey,
    position: Option<EventId>,
    total: usize,
    total_pending: bool,
    rows: Vec<u32>,
}

/// The rows of the snapshot that first rows are looked for among.
enum Passing<'a> {
    /// All that pass the filters are known.
    Known(&'a Items),
    /// They are not.
    Unknown(Watch<'a>),
}

/// The orders that are to be worked out.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Those that wait, the last one first.
    keys: VecDeque<OrderKey>,
    /// The one that is worked on in the background.
    current: Option<OrderKey>,
    /// That one is wanted no more.
    withdrawn: bool,
    /// Whether somebody works them off.
    busy: bool,
    /// Nobody wants any.
    closed: bool,
}

impl LiveTable {
    /// Row numbers of a page, with the count of all rows of the query, and the state that they belong to.
    pub(super) fn find_rows(
        &self,
        (query, count): (&Query, Count),
        offset: usize,
        limit: usize,
        me: &Login,
        control: &Control,
    ) -> Result<(RwLockReadGuard<'_, State>, Found), EngineError> {
        if limit > PAGE_ROWS_MAX {
            return Err(EngineError::Request(format!("a page has at most {PAGE_ROWS_MAX} rows, not {limit}")));
        }
        let key = OrderKey::new(query, me);
        if key.is_natural() {
            let state = self.read();
            let rows = state.natural_page(&self.snapshot, offset, limit);
            let total = state.rows_shown(&self.snapshot);
            return Ok((state, Found { total, total_pending: false, rows, order_pending: false }));
        }
        {
            let state = self.read();
            if let Some(found) = self.kept(&state, (&key, count), offset, limit) {
                return Ok((state, found));
            }
        }
        let plan = Arc::new(Plan::new(&self.columns, &key)?);
        let asking = self.asking.add(WorkKey::Order(key.clone()), control);
        let patience = Patience::new(self.limits.given_up_after);
        let work = self.works.begin(WorkKey::Order(key.clone()));
        let stop = || {
            work.report_to(control);
            asking.is_withdrawn() || patience.ends(asking.is_alone_and_gone())
        };
        let watch = Watch::new(&work, &stop);
        let mut items = None;
        let end = offset.saturating_add(limit);
        let is_first = end <= FIRST_ROWS_MAX && plan.states.is_empty();
        if is_first
            && count == Count::Later
            && !plan.filters.is_empty()
            && self.snapshot.rows() > self.limits.sorted_at_once_rows_max
            && let Some((state, first)) = self.first_rows(&key, &plan, Passing::Unknown(watch), end)
        {
            return Ok((state, first.page(offset, limit)));
        }
        if is_first && !plan.sort.is_empty() {
            let passing = scan::filtered(&self.snapshot, &self.columns, &plan, watch).ok_or(EngineError::Cancelled)?;
            if passing.len(&self.snapshot) > self.limits.sorted_at_once_rows_max
                && let Some((state, first)) = self.first_rows(&key, &plan, Passing::Known(&passing), end)
            {
                return Ok((state, first.page(offset, limit)));
            }
            items = Some(passing);
        }
        let found = self.whole_order((key, plan), items, offset..end, control, watch)?;
        work.report_to(control);
        Ok(found)
    }

    /// Works out the orders that pages were asked of before they were there, until there are none left. Returns at once
    /// if another thread is at it. To be called on a thread that may block, after a [`super::Page`] that says so.
    pub fn make_orders(&self) {
        {
            let mut wanted = lock(&self.wanted);
            if wanted.busy {
                return;
            }
            wanted.busy = true;
        }
        let _busy = Busy(self);
        while let Some(key) = self.next_wanted() {
            // Whoever waits for an order goes first.
            while self.waiting.load(Ordering::SeqCst) > 0 {
                std::thread::sleep(GIVE_WAY);
            }
            let work = self.works.begin(WorkKey::Order(key.clone()));
            let _working = lock(&self.working);
            if lock(&self.orders).get(&key).is_some() {
                continue;
            }
            let Ok(plan) = Plan::new(&self.columns, &key) else { continue };
            let stop = || self.stop.load(Ordering::SeqCst);
            let made = self.make(&plan, None, Watch::new(&work, &stop));
            match made {
                Some((_state, order)) => {
                    lock(&self.firsts).retain(|first| first.key != key);
                    lock(&self.orders).put(key, Arc::new(plan), order);
                }
                None => {
                    let mut wanted = lock(&self.wanted);
                    if !wanted.closed && !wanted.withdrawn && wanted.keys.len() < WANTED_MAX {
                        wanted.keys.push_back(key);
                    }
                }
            }
        }
    }

    /// Gives up the orders that are wanted, for a table that nobody asks any more.
    pub fn close(&self) {
        let mut wanted = lock(&self.wanted);
        wanted.closed = true;
        wanted.keys.clear();
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Gives up the making of an order in the background, for somebody who wants it no more; not when somebody else waits
    /// for a page of it.
    pub fn withdraw(&self, query: &Query, me: &Login) {
        let key = OrderKey::new(query, me);
        if self.asking.is_waited_for(&WorkKey::Order(key.clone())) {
            return;
        }
        // Whoever asks for the first rows again finds them anew, and wants the order again.
        lock(&self.firsts).retain(|first| first.key != key);
        let mut wanted = lock(&self.wanted);
        wanted.keys.retain(|other| *other != key);
        if wanted.current.as_ref() == Some(&key) {
            wanted.withdrawn = true;
            self.stop.store(true, Ordering::SeqCst);
        }
    }

    /// The page out of what is kept. `state` is locked, so that what is kept belongs to it.
    fn kept(&self, state: &State, (key, count): (&OrderKey, Count), offset: usize, limit: usize) -> Option<Found> {
        if let Some(order) = lock(&self.orders).get(key) {
            return Some(Found::in_order(order, offset, limit));
        }
        let firsts = lock(&self.firsts);
        let first = firsts.iter().find(|first| first.key == *key && first.position == state.replay.position())?;
        if first.total_pending && count == Count::Exact {
            return None;
        }
        let end = offset.saturating_add(limit);
        // Behind rows that are not counted yet there may be more.
        let end = if first.total_pending { end } else { end.min(first.total) };
        (end <= first.rows.len()).then(|| first.page(offset, limit))
    }

    /// The first rows of an order that is not there, up to `end` or further; its making is then wanted. None if so many
    /// rows were edited while they were searched that some are missing, and if they are not found without looking for all that pass.
    fn first_rows(
        &self,
        key: &OrderKey,
        plan: &Plan,
        passing: Passing<'_>,
        end: usize,
    ) -> Option<(RwLockReadGuard<'_, State>, First)> {
        let original = |row: &u32| (*row as usize) < self.snapshot.rows();
        let mut concerned = self.read().concerned(&self.snapshot, plan, &[]);
        let known_count = concerned.iter().filter(|row| original(row)).count();
        let known = RowSet::new(concerned.iter().copied());
        let count = match passing {
            // Each row more costs a look at many others, and the order is there soon.
            Passing::Unknown(_) if plan.sort.is_empty() => end,
            _ => end.max(FIRST_ROWS_MIN),
        };
        let count = count + FIRST_ROWS_SPARE;
        let sorting = Sorting { snapshot: &self.snapshot, columns: &self.columns, sort: &plan.sort };
        // How many rows pass of those for which the log does not matter, if that is known.
        let (mut base, mut base_count) = match &passing {
            Passing::Known(Items::All) => {
                (top_rows(sorting, Among::All, &known, count), Some(self.snapshot.rows() - known_count))
            }
            Passing::Known(Items::Rows(rows)) => {
                let passing = rows.iter().filter(|row| !known.contains(**row)).count();
                (top_rows(sorting, Among::Rows(rows), &known, count), Some(passing))
            }
            Passing::Unknown(watch) => {
                let base = match plan.sort.is_empty() {
                    true => scan::first_passing(&self.snapshot, &self.columns, plan, &known, count, *watch)?,
                    false => top_passing(sorting, plan, &known, count)?,
                };
                if watch.stops() {
                    return None;
                }
                // Fewer than wanted are all there are.
                let counted = (base.len() < count).then_some(base.len());
                (base, counted)
            }
        };
        let all_there = base.len() < count;
        let state = self.read();
        let view = self.view(&state);
        let mut news = state.concerned(&self.snapshot, plan, &[]);
        news.retain(|row| !known.contains(*row));
        if !news.is_empty() {
            let news_set = RowSet::new(news.iter().copied());
            let before = base.len();
            base.retain(|row| !news_set.contains(*row));
            if let Some(base_count) = &mut base_count {
                *base_count -= match &passing {
                    Passing::Known(Items::All) => news.iter().filter(|row| original(row)).count(),
                    Passing::Known(Items::Rows(rows)) => {
                        news.iter().filter(|row| rows.binary_search(row).is_ok()).count()
                    }
                    Passing::Unknown(_) => before - base.len(),
                };
            }
            concerned.append(&mut news);
        }
        let last = base.last().copied().filter(|_| !all_there);
        let last_key = last.map(|last| with_keys(view, plan, vec![last])[0].0);
        let leading = plan.sort.first();
        // Most of those that the log knows cannot be among the first rows, and what stands in them is not looked at.
        let may_be_first = |row: &u32| match (last, last_key, leading) {
            (Some(last), _, None) => *row < last,
            (Some(_), Some((last_key, _)), Some(by)) => {
                let overriding = state.overrides.least_key(*row, by.column, by.descending);
                overriding.unwrap_or_else(|| {
                    let text = is_text(self.columns.all[by.column].column_type);
                    key_of(&view.original_ordered(*row, by.column), text, by.descending)
                }) <= last_key
            }
            _ => true,
        };
        let (touched, touched_count) = if base_count.is_some() && !plan.filters.is_empty() {
            let pass = |range: std::ops::Range<usize>| {
                concerned[range].iter().copied().filter(|row| view.passes(plan, *row)).collect::<Vec<_>>()
            };
            let touched = scan::in_parallel(concerned.len(), concerned.len(), pass).concat();
            let count = touched.len();
            (touched, count)
        } else {
            // Without filters every row passes that is not hidden, and all hidden ones are among those that the log knows.
            let without_filters = concerned.len() - state.hidden.len();
            let touched = concerned.into_iter().filter(may_be_first).filter(|row| view.passes(plan, *row));
            let touched: Vec<u32> = touched.collect();
            let count = if plan.filters.is_empty() { without_filters } else { touched.len() };
            (touched, count)
        };
        let total = base_count.unwrap_or(base.len()) + touched_count;
        let wanted = if base_count.is_some() { end.min(total) } else { end };
        if !all_there && (base.is_empty() || base.len() < wanted) {
            return None;
        }
        let mut touched = with_keys(view, plan, touched);
        if let (Some(last), Some(last_key)) = (last, last_key) {
            touched.retain(|(key, row)| {
                *key < last_key || (*key == last_key && view.compare(&plan.sort, *row, last).is_lt())
            });
        }
        if touched.len() > count {
            touched.select_nth_unstable_by(count, |a, b| compare_with_keys(view, plan, a, b));
            touched.truncate(count);
        }
        let touched = sorted(view, plan, touched);
        let mut order = Order::from_rows(base);
        order.insert_sorted(&touched, |a, b| view.compare(&plan.sort, a, b));
        let rows = order.page(0, count);
        let total_pending = base_count.is_none();
        let first = First { key: key.clone(), position: state.replay.position(), total, total_pending, rows };
        let mut firsts = lock(&self.firsts);
        firsts.retain(|other| other.key != *key);
        if firsts.len() >= FIRSTS_MAX {
            firsts.remove(0);
        }
        firsts.push(first.clone());
        drop(firsts);
        self.want(key);
        Some((state, first))
    }

    fn want(&self, key: &OrderKey) {
        let mut wanted = lock(&self.wanted);
        if wanted.closed || (wanted.current.as_ref() == Some(key) && !wanted.withdrawn) {
            return;
        }
        wanted.keys.retain(|other| other != key);
        wanted.keys.push_front(key.clone());
        wanted.keys.truncate(WANTED_MAX);
    }

    fn next_wanted(&self) -> Option<OrderKey> {
        let mut wanted = lock(&self.wanted);
        wanted.current = wanted.keys.pop_front();
        wanted.withdrawn = false;
        // Whoever wants another one from now on has to find somebody to make it.
        wanted.busy = wanted.current.is_some();
        if !wanted.closed {
            self.stop.store(false, Ordering::SeqCst);
        }
        wanted.current.clone()
    }

    /// Waits for an order, or works it out, and gives the rows of a range of it.
    fn whole_order(
        &self,
        (key, plan): (OrderKey, Arc<Plan>),
        items: Option<Items>,
        range: std::ops::Range<usize>,
        control: &Control,
        watch: Watch<'_>,
    ) -> Result<(RwLockReadGuard<'_, State>, Found), EngineError> {
        let (offset, limit) = (range.start, range.len());
        watch.meter.queue();
        if watch.stops() {
            return Err(EngineError::Cancelled);
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if lock(&self.wanted).current.as_ref().is_some_and(|current| *current != key) {
            // What is worked on in the background is wanted by nobody so much.
            self.stop.store(true, Ordering::SeqCst);
        }
        let _working = lock(&self.working);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        {
            // Somebody else may have asked for the same meanwhile.
            let state = self.read();
            if let Some(found) = self.kept(&state, (&key, Count::Exact), offset, limit) {
                return Ok((state, found));
            }
        }
        // Whoever has gone while others worked begins nothing.
        control.check()?;
        let Some((state, order)) = self.make(&plan, items.as_ref(), watch) else { return Err(EngineError::Cancelled) };
        let mut orders = lock(&self.orders);
        let order = orders.put(key, plan, order);
        let found = Found::in_order(order, offset, limit);
        Ok((state, found))
    }

    /// Works an order out; none when it was stopped. The state comes along locked, so that the order can be kept while it
    /// belongs to it.
    fn make(
        &self,
        plan: &Plan,
        items: Option<&Items>,
        watch: Watch<'_>,
    ) -> Option<(RwLockReadGuard<'_, State>, Order)> {
        // The rows of the snapshot never change, so nobody has to wait while they are sorted; the log's rows are then put
        // in while no event can be pushed.
        let mut concerned = self.read().concerned(&self.snapshot, plan, &[]);
        let known = RowSet::new(concerned.iter().copied());
        let base = scan::rows(&self.snapshot, &self.columns, plan, items, watch)?;
        let mut order = Order::from_rows(base.into_iter().filter(|row| !known.contains(*row)));
        let state = self.read();
        let view = self.view(&state);
        let mut news = state.concerned(&self.snapshot, plan, &[]);
        news.retain(|row| !known.contains(*row));
        if !news.is_empty() {
            let news_set = RowSet::new(news.iter().copied());
            order.retain(|row| !news_set.contains(*row));
            concerned.append(&mut news);
        }
        let touched = placed(view, plan, concerned.into_iter());
        order.insert_sorted(&touched, |a, b| view.compare(&plan.sort, a, b));
        watch.meter.end();
        Some((state, order))
    }
}

impl Found {
    fn in_order(order: &Order, offset: usize, limit: usize) -> Found {
        Found { total: order.len(), total_pending: false, rows: order.page(offset, limit), order_pending: false }
    }
}

impl First {
    fn page(&self, offset: usize, limit: usize) -> Found {
        let rows = self.rows.iter().copied().skip(offset).take(limit).collect();
        Found { total: self.total, total_pending: self.total_pending, rows, order_pending: true }
    }
}

/// Gives the background work free when it panics.
struct Busy<'a>(&'a LiveTable);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut wanted = lock(&self.0.wanted);
            wanted.busy = false;
            wanted.current = None;
        }
    }
}

/// A row with the sort key, and the further key, of the column that rows are sorted by first.
type WithKeys = ((u64, u64), u32);

fn with_keys(view: View<'_>, plan: &Plan, rows: Vec<u32>) -> Vec<WithKeys> {
    let Some(leading) = plan.sort.first() else { return rows.into_iter().map(|row| ((0, 0), row)).collect() };
    let text = is_text(view.columns.all[leading.column].column_type);
    let keys = |row: u32| {
        let cell = view.ordered(row, leading.column);
        (key_of(&cell, text, leading.descending), further_key_of(&cell, text, leading.descending))
    };
    // There can be as many rows as there are edits, and each is looked up.
    let keys = scan::in_parallel(rows.len(), rows.len(), |range| {
        rows[range].iter().map(|row| (keys(*row), *row)).collect::<Vec<_>>()
    });
    keys.concat()
}

fn compare_with_keys(view: View<'_>, plan: &Plan, a: &WithKeys, b: &WithKeys) -> std::cmp::Ordering {
    a.0.cmp(&b.0).then_with(|| view.compare(&plan.sort, a.1, b.1))
}

/// The rows in the order of the plan.
fn sorted(view: View<'_>, plan: &Plan, mut rows: Vec<WithKeys>) -> Vec<u32> {
    rows.sort_unstable_by(|a, b| compare_with_keys(view, plan, a, b));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Rows that changed, in the order in which they now stand among the rows of a query; those that are not in it left out.
pub(super) fn placed(view: View<'_>, plan: &Plan, rows: impl Iterator<Item = u32>) -> Vec<u32> {
    let rows = rows.filter(|row| view.passes(plan, *row)).collect();
    sorted(view, plan, with_keys(view, plan, rows))
}
