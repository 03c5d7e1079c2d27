//! Groups: which values there are in some columns of the rows that pass, and how many rows have each.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use stet_domain::{EventId, Login};

use super::columns::{Columns, LiveColumn};
use super::plan::Plan;
use super::progress::{Step, Watch, WorkKey};
use super::query::{Filter, OrderKey, Query, StateFilter};
use super::rows::{LinkText, Links};
use super::scan::{Distinct, Items, filtered, in_parallel};
use super::set::RowSet;
use super::state::View;
use super::waiting::Patience;
use super::{LiveTable, lock};
use crate::cell::{CellReader, Ordered, ordered_value};
use crate::control::Control;
use crate::error::EngineError;
use crate::ordering::{compare_text, is_text, order_number};
use crate::snapshot::{BATCH_ROWS, Snapshot};

/// The most columns to group by.
pub const GROUP_COLUMNS_MAX: usize = 8;

/// The most groups of one query: they are counted in memory.
pub const GROUPS_MAX: usize = 100_000;

/// The most groups of one page.
pub const GROUP_PAGE_MAX: usize = 1_000;

/// The code of an empty cell.
const EMPTY: u32 = u32::MAX;

/// Which groups, in which order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupQuery {
    /// The columns whose values make a group: one to [`GROUP_COLUMNS_MAX`], each once.
    pub by: Vec<String>,
    /// The rows to group, as for a page: see [`Query`].
    pub filters: Vec<Filter>,
    /// See [`Query`].
    pub states: Vec<StateFilter>,
    /// What the groups are sorted by.
    pub sort: GroupSort,
    /// From the greatest to the least; empty cells stay last. Groups of one count are by value in either case.
    pub descending: bool,
}

/// What groups are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupSort {
    /// How many rows they have.
    Count,
    /// Their values, those of the first column first.
    Value,
}

/// Groups from one place of their order.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPage {
    /// The position of the log that the groups show.
    pub version: i64,
    /// The identity of the snapshot under them.
    pub snapshot: String,
    /// How many rows all groups have together.
    pub rows: usize,
    /// How many groups there are.
    pub total: usize,
    /// Where the page starts.
    pub offset: usize,
    /// The groups.
    pub groups: Vec<Group>,
    /// Labels of the linked values in the groups.
    pub links: Links,
}

/// The rows that have the same values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Canonical texts in the order of the columns grouped by; none for empty, which the empty text is not.
    pub values: Vec<Option<String>>,
    /// How many rows have them.
    pub count: usize,
}

/// The groups that were asked for last, for those who look at them page by page.
#[derive(Debug)]
pub(super) struct KnownGroups {
    key: OrderKey,
    query: GroupQuery,
    position: Option<EventId>,
    rows: usize,
    groups: Arc<Vec<Group>>,
}

impl LiveTable {
    /// The groups of a query from `offset`, at most `limit` and [`GROUP_PAGE_MAX`]. `me` is who asks.
    ///
    /// # Errors
    /// [`EngineError::Request`] for unknown columns, filter values that are not of the column's type, limits that are
    /// passed, and more than [`GROUPS_MAX`] groups.
    pub fn groups(
        &self,
        query: &GroupQuery,
        offset: usize,
        limit: usize,
        me: &Login,
    ) -> Result<GroupPage, EngineError> {
        self.groups_watched(query, offset, limit, me, &Control::unwatched())
    }

    /// As [`LiveTable::groups`], for somebody who may go away: as for [`LiveTable::page_watched`].
    ///
    /// # Errors
    /// As [`LiveTable::groups`]; and [`EngineError::Cancelled`] when it was given up.
    pub fn groups_watched(
        &self,
        query: &GroupQuery,
        offset: usize,
        limit: usize,
        me: &Login,
        control: &Control,
    ) -> Result<GroupPage, EngineError> {
        if limit > GROUP_PAGE_MAX {
            return Err(EngineError::Request(format!("at most {GROUP_PAGE_MAX} groups are told at once, not {limit}")));
        }
        let by = self.grouped_columns(&query.by)?;
        let of_rows = Query { filters: query.filters.clone(), states: query.states.clone(), sort: Vec::new() };
        let key = OrderKey::new(&of_rows, me);
        let plan = Plan::new(&self.columns, &key)?;
        let asking = self.asking.add(WorkKey::of_groups(query, me), control);
        let patience = Patience::new(self.limits.given_up_after);
        let work = self.works.begin(WorkKey::of_groups(query, me));
        let stop = || {
            work.report_to(control);
            asking.is_withdrawn() || patience.ends(asking.is_alone_and_gone())
        };
        // One at a time: they are made of all rows, and their memory counts once.
        let mut known = lock(&self.groups);
        let position = self.read().replay.position();
        if known.as_ref().is_none_or(|known| known.key != key || known.query != *query || known.position != position) {
            // Whoever has gone while others' groups were counted begins nothing.
            control.check()?;
            *known = None;
            let (position, groups) = self.count_groups(&plan, &by, Watch::new(&work, &stop))?;
            let rows = groups.iter().map(|group| group.count).sum();
            let groups = Arc::new(sorted(&self.columns, &by, groups, query));
            *known = Some(KnownGroups { key, query: query.clone(), position, rows, groups });
            work.end();
            work.report_to(control);
        }
        let Some(known) = known.as_ref() else { return Err(too_many(&query.by)) };
        let groups: Vec<Group> = known.groups.iter().skip(offset).take(limit).cloned().collect();
        Ok(GroupPage {
            version: known.position.map_or(0, |position| position.0),
            snapshot: self.snapshot.identity().to_owned(),
            rows: known.rows,
            total: known.groups.len(),
            offset,
            links: links(&self.columns, &by, &groups),
            groups,
        })
    }

    fn grouped_columns(&self, names: &[String]) -> Result<Vec<usize>, EngineError> {
        if names.is_empty() || names.len() > GROUP_COLUMNS_MAX {
            return Err(EngineError::Request(format!(
                "name one to {GROUP_COLUMNS_MAX} columns to group by, not {}",
                names.len()
            )));
        }
        let mut by = Vec::with_capacity(names.len());
        for name in names {
            let column = self.columns.requested(name)?;
            if by.contains(&column) {
                return Err(EngineError::Request(format!("`{name}` is named twice: group by each column once")));
            }
            by.push(column);
        }
        Ok(by)
    }

    /// Counts the groups in no order, and says at which position of the log.
    fn count_groups(
        &self,
        plan: &Plan,
        by: &[usize],
        watch: Watch<'_>,
    ) -> Result<(Option<EventId>, Vec<Group>), EngineError> {
        let names = || by.iter().map(|column| self.columns.all[*column].name.clone()).collect::<Vec<_>>();
        // The rows of the snapshot never change, so nobody has to wait while they are counted.
        let mut concerned = self.read().concerned(&self.snapshot, plan, by);
        let known = RowSet::new(concerned.iter().copied());
        let items = if plan.states.is_empty() {
            filtered(&self.snapshot, &self.columns, plan, watch).ok_or(EngineError::Cancelled)?
        } else {
            Items::Rows(Vec::new())
        };
        // However few rows pass, all batches are gone through.
        let rows = self.snapshot.rows() as u64;
        watch.meter.begin(Step::Grouping, items.len(&self.snapshot), rows, rows / 10);
        let end = End { full: AtomicBool::new(false), stopped: AtomicBool::new(false), watch };
        let parts = in_parallel(self.snapshot.batches().len(), self.snapshot.rows(), |batches| {
            count_batches(&self.snapshot, &self.columns, by, &items, &known, batches, &end)
        });
        if end.stopped.into_inner() {
            return Err(EngineError::Cancelled);
        }
        if end.full.into_inner() {
            return Err(too_many(&names()));
        }
        let mut counts: HashMap<Vec<Option<String>>, usize, FixedState> = HashMap::default();
        for (values, count) in parts.into_iter().flatten() {
            *counts.entry(values).or_default() += count;
        }
        let state = self.read();
        let view = self.view(&state);
        let texts = |row: u32, text: &dyn Fn(View<'_>, u32, usize) -> Option<String>| -> Vec<Option<String>> {
            by.iter().map(|column| text(view, row, *column)).collect()
        };
        let mut news = state.concerned(&self.snapshot, plan, by);
        news.retain(|row| !known.contains(*row));
        concerned.append(&mut news);
        for row in concerned {
            let counted = !known.contains(row)
                && view.is_original(row)
                && match &items {
                    Items::All => true,
                    Items::Rows(rows) => rows.binary_search(&row).is_ok(),
                };
            // An event came while the rows were counted: the row was counted as it was before.
            if counted
                && let Some(count) = counts.get_mut(&texts(row, &|view, row, column| view.original_text(row, column)))
            {
                *count = count.saturating_sub(1);
            }
            if view.passes(plan, row) {
                *counts.entry(texts(row, &|view, row, column| view.text(row, column))).or_default() += 1;
            }
        }
        counts.retain(|_, count| *count > 0);
        if counts.len() > GROUPS_MAX {
            return Err(too_many(&names()));
        }
        let groups = counts.into_iter().map(|(values, count)| Group { values, count }).collect();
        Ok((state.replay.position(), groups))
    }
}

fn too_many(by: &[String]) -> EngineError {
    let names: Vec<String> = by.iter().map(|name| format!("`{name}`")).collect();
    EngineError::Request(format!(
        "grouping by {} gives more than {GROUPS_MAX} groups: filter the rows first, or group by columns with fewer \
         different values",
        names.join(", ")
    ))
}

/// Why counting ends before all rows are counted.
struct End<'a> {
    /// There are too many groups.
    full: AtomicBool,
    /// `watch` said to stop.
    stopped: AtomicBool,
    watch: Watch<'a>,
}

/// The groups of the rows of some batches, as if there were no edits; rows in `out` are left out. Sets `end`, and gives up,
/// when there are too many groups or it is to stop.
fn count_batches(
    snapshot: &Snapshot,
    columns: &Columns,
    by: &[usize],
    items: &Items,
    out: &RowSet,
    batches: Range<usize>,
    end: &End<'_>,
) -> Vec<(Vec<Option<String>>, usize)> {
    let mut codes_of: Vec<Codes> = by.iter().map(|column| Codes::new(&columns.all[*column])).collect();
    let mut pairs: Vec<Pairs> = by[1..].iter().map(|_| Pairs::default()).collect();
    let mut counts: Vec<usize> = Vec::new();
    let mut empty = 0;
    for batch in batches {
        if end.watch.stops() {
            end.stopped.store(true, atomic::Ordering::Relaxed);
        }
        if end.full.load(atomic::Ordering::Relaxed) || end.stopped.load(atomic::Ordering::Relaxed) {
            return Vec::new();
        }
        let first = (batch * BATCH_ROWS) as u32;
        let batch = &snapshot.batches()[batch];
        end.watch.meter.add(batch.num_rows());
        let last = first + batch.num_rows() as u32;
        let rows: Vec<u32> = match items {
            Items::All => (first..last).filter(|row| !out.contains(*row)).map(|row| row - first).collect(),
            Items::Rows(rows) => {
                let from = rows.partition_point(|row| *row < first);
                let to = rows.partition_point(|row| *row < last);
                rows[from..to].iter().filter(|row| !out.contains(**row)).map(|row| row - first).collect()
            }
        };
        let mut codes: Vec<u32> = Vec::new();
        for (place, column) in by.iter().enumerate() {
            let reader = columns.all[*column].original.map(|original| CellReader::new(batch.column(original).as_ref()));
            let of_column = codes_of[place].of_rows(reader.as_ref(), &rows);
            if place == 0 {
                codes = of_column;
            } else {
                let pairs = &mut pairs[place - 1];
                codes.iter_mut().zip(of_column).for_each(|(code, other)| *code = pairs.code(*code, other));
            }
        }
        for code in codes {
            match code {
                EMPTY => empty += 1,
                code => {
                    let code = code as usize;
                    if code >= counts.len() {
                        counts.resize(code + 1, 0);
                    }
                    counts[code] += 1;
                }
            }
        }
        if counts.len() > GROUPS_MAX {
            end.full.store(true, atomic::Ordering::Relaxed);
            return Vec::new();
        }
    }
    let values = |code: u32| {
        let mut values = vec![None; by.len()];
        let mut code = code;
        for place in (1..by.len()).rev() {
            let (before, own) = pairs[place - 1].pairs[code as usize];
            values[place] = codes_of[place].text(own);
            code = before;
        }
        values[0] = codes_of[0].text(code);
        values
    };
    let mut groups: Vec<(Vec<Option<String>>, usize)> =
        counts.iter().enumerate().map(|(code, count)| (values(code as u32), *count)).collect();
    if empty > 0 {
        groups.push((vec![None; by.len()], empty));
    }
    groups
}

/// A code for each different value of a column.
enum Codes<'a> {
    Texts(Distinct<'a>),
    Numbers { codes: HashMap<i128, u32, FixedState>, texts: Vec<String> },
}

impl<'a> Codes<'a> {
    fn new(column: &LiveColumn) -> Codes<'a> {
        if is_text(column.column_type) {
            Codes::Texts(Distinct::default())
        } else {
            Codes::Numbers { codes: HashMap::default(), texts: Vec::new() }
        }
    }

    /// The codes of rows of a batch; of a column that the webapp adds there is no reader, and every cell is empty.
    fn of_rows(&mut self, reader: Option<&CellReader<'a>>, rows: &[u32]) -> Vec<u32> {
        let Some(reader) = reader else { return vec![EMPTY; rows.len()] };
        let code = |row: &u32| {
            let row = *row as usize;
            match self {
                Codes::Texts(distinct) => match reader.str(row) {
                    Some(text) => distinct.code(Cow::Borrowed(text)),
                    None => match reader.ordered(row) {
                        Ordered::Text(text) => distinct.code(text),
                        _ => EMPTY,
                    },
                },
                Codes::Numbers { codes, texts } => match order_number(&reader.ordered(row)) {
                    None => EMPTY,
                    Some(number) => *codes.entry(number).or_insert_with(|| {
                        texts.push(reader.text(row).unwrap_or_default());
                        texts.len() as u32 - 1
                    }),
                },
            }
        };
        rows.iter().map(code).collect()
    }

    fn text(&self, code: u32) -> Option<String> {
        match self {
            _ if code == EMPTY => None,
            Codes::Texts(distinct) => Some(distinct.text(code).to_owned()),
            Codes::Numbers { texts, .. } => texts.get(code as usize).cloned(),
        }
    }
}

/// A code for each pair of codes that occurs.
#[derive(Default)]
struct Pairs {
    codes: HashMap<(u32, u32), u32, FixedState>,
    pairs: Vec<(u32, u32)>,
}

impl Pairs {
    fn code(&mut self, before: u32, own: u32) -> u32 {
        *self.codes.entry((before, own)).or_insert_with(|| {
            self.pairs.push((before, own));
            self.pairs.len() as u32 - 1
        })
    }
}

/// A value in the form that sorting compares.
enum Sortable {
    Number(i128),
    Text,
    Empty,
}

fn sorted(columns: &Columns, by: &[usize], groups: Vec<Group>, query: &GroupQuery) -> Vec<Group> {
    let sortable = |group: &Group| -> Vec<Sortable> {
        let of_value = |(column, value): (&usize, &Option<String>)| {
            let column_type = columns.all[*column].column_type;
            match value {
                None => Sortable::Empty,
                Some(_) if is_text(column_type) => Sortable::Text,
                Some(text) => {
                    match column_type.read(text).ok().and_then(|value| order_number(&ordered_value(&value))) {
                        Some(number) => Sortable::Number(number),
                        None => Sortable::Text,
                    }
                }
            }
        };
        by.iter().zip(&group.values).map(of_value).collect()
    };
    let by_value = query.sort == GroupSort::Value;
    let mut groups: Vec<(Vec<Sortable>, Group)> = groups.into_iter().map(|group| (sortable(&group), group)).collect();
    groups.sort_unstable_by(|a, b| {
        let of_values = || {
            let texts = a.1.values.iter().zip(&b.1.values);
            let mut orders = a.0.iter().zip(&b.0).zip(texts).map(|((a, b), (a_text, b_text))| {
                let order = match (a, b) {
                    (Sortable::Empty, Sortable::Empty) => return Ordering::Equal,
                    (Sortable::Empty, _) => return Ordering::Greater,
                    (_, Sortable::Empty) => return Ordering::Less,
                    (Sortable::Number(a), Sortable::Number(b)) => a.cmp(b),
                    (Sortable::Number(_), Sortable::Text) => Ordering::Less,
                    (Sortable::Text, Sortable::Number(_)) => Ordering::Greater,
                    (Sortable::Text, Sortable::Text) => {
                        compare_text(a_text.as_deref().unwrap_or_default(), b_text.as_deref().unwrap_or_default())
                    }
                };
                if by_value && query.descending { order.reverse() } else { order }
            });
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        match query.sort {
            GroupSort::Value => of_values(),
            GroupSort::Count => {
                let order = a.1.count.cmp(&b.1.count);
                if query.descending { order.reverse() } else { order }.then_with(of_values)
            }
        }
    });
    groups.into_iter().map(|(_, group)| group).collect()
}

fn links(columns: &Columns, by: &[usize], groups: &[Group]) -> Links {
    let mut links = Links::new();
    for (place, column) in by.iter().enumerate() {
        let column = &columns.all[*column];
        let Some(link) = &column.link else { continue };
        let mut texts = BTreeMap::new();
        for value in groups.iter().filter_map(|group| group.values[place].as_ref()) {
            if let Some(row) = link.get(value) {
                let lookups = row.lookups.iter().map(|text| text.map(str::to_owned)).collect();
                texts.insert(value.clone(), LinkText { label: row.label.map(str::to_owned), lookups });
            }
        }
        links.insert(column.name.clone(), texts);
    }
    links
}
