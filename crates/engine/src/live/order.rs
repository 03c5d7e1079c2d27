//! Orders of rows: which rows a query gives, in which order, kept so that one edit changes them cheaply.

use std::cmp::Ordering;
use std::sync::Arc;

use super::plan::Plan;
use super::query::OrderKey;

/// Chunks are cut in two when they grow past this.
const CHUNK_ROWS_MAX: usize = 8_192;
const CHUNK_ROWS: usize = CHUNK_ROWS_MAX / 2;

/// Row numbers in an order. They are kept in chunks, so that taking one out or putting one in moves few others.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Never empty ones.
    chunks: Vec<Vec<u32>>,
    len: usize,
}

impl Order {
    pub fn from_rows(rows: impl IntoIterator<Item = u32>) -> Order {
        let mut order = Order::default();
        let mut chunk = Vec::with_capacity(CHUNK_ROWS);
        for row in rows {
            chunk.push(row);
            if chunk.len() == CHUNK_ROWS {
                order.len += chunk.len();
                order.chunks.push(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_ROWS)));
            }
        }
        order.len += chunk.len();
        if !chunk.is_empty() {
            chunk.shrink_to_fit();
            order.chunks.push(chunk);
        }
        order
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.capacity() * 4 + size_of::<Vec<u32>>()).sum()
    }

    /// The rows from `offset`, at most `limit`.
    pub fn page(&self, offset: usize, limit: usize) -> Vec<u32> {
        let mut skip = offset;
        let mut rows = Vec::with_capacity(limit.min(self.len.saturating_sub(offset)));
        for chunk in &self.chunks {
            if skip >= chunk.len() {
                skip -= chunk.len();
                continue;
            }
            let end = chunk.len().min(skip + limit - rows.len());
            rows.extend_from_slice(&chunk[skip..end]);
            skip = 0;
            if rows.len() == limit {
                break;
            }
        }
        rows
    }

    /// Takes a row out; `compare` gives the order of any row to the one that is taken out, and equals only itself.
    pub fn remove(&mut self, row: u32, compare: impl Fn(u32) -> Ordering) {
        let (chunk, place) = self.place(&compare);
        let found = self.chunks.get(chunk).and_then(|rows| rows.get(place)) == Some(&row);
        let place = if found { Some((chunk, place)) } else { self.search(row) };
        if let Some((chunk, place)) = place {
            self.chunks[chunk].remove(place);
            if self.chunks[chunk].is_empty() {
                self.chunks.remove(chunk);
            }
            self.len -= 1;
        }
    }

    /// Puts a row in its place; `compare` as for [`Order::remove`].
    pub fn insert(&mut self, row: u32, compare: impl Fn(u32) -> Ordering) {
        let (mut chunk, mut place) = self.place(&compare);
        if chunk == self.chunks.len() {
            match self.chunks.last() {
                Some(last) => (chunk, place) = (chunk - 1, last.len()),
                None => self.chunks.push(Vec::new()),
            }
        }
        let rows = &mut self.chunks[chunk];
        rows.insert(place, row);
        if rows.len() > CHUNK_ROWS_MAX {
            let tail = rows.split_off(CHUNK_ROWS);
            self.chunks.insert(chunk + 1, tail);
        }
        self.len += 1;
    }

    /// Takes out all rows but those that `is_in` holds for. One pass over all rows.
    pub fn retain(&mut self, is_in: impl Fn(&u32) -> bool) {
        for chunk in &mut self.chunks {
            chunk.retain(&is_in);
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.len = self.chunks.iter().map(Vec::len).sum();
    }

    /// Puts in rows that are sorted by `compare`. Chunks that none of them falls into stay as they are.
    pub fn insert_sorted(&mut self, sorted: &[u32], compare: impl Fn(u32, u32) -> Ordering) {
        if sorted.is_empty() {
            return;
        }
        let mut rest = sorted;
        let mut chunks = Vec::with_capacity(self.chunks.len() + sorted.len() / CHUNK_ROWS);
        for chunk in std::mem::take(&mut self.chunks) {
            let before = chunk.last().map_or(0, |last| rest.partition_point(|row| compare(*row, *last).is_lt()));
            let (few, after) = rest.split_at(before);
            rest = after;
            if few.is_empty() {
                chunks.push(chunk);
            } else {
                push_chunks(&mut chunks, merged(&chunk, few, &compare));
            }
        }
        push_chunks(&mut chunks, rest.to_vec());
        self.chunks = chunks;
        self.len += sorted.len();
    }

    /// The first place, as chunk and place in it, whose row is not before the searched one.
    fn place(&self, compare: &impl Fn(u32) -> Ordering) -> (usize, usize) {
        let chunk = self.chunks.partition_point(|rows| rows.last().is_some_and(|last| compare(*last).is_lt()));
        let place = self.chunks.get(chunk).map_or(0, |rows| rows.partition_point(|row| compare(*row).is_lt()));
        (chunk, place)
    }

    /// Looks at every row. Only needed if values that were compared have changed meanwhile, which they should not have.
    fn search(&self, row: u32) -> Option<(usize, usize)> {
        self.chunks
            .iter()
            .enumerate()
            .find_map(|(chunk, rows)| rows.iter().position(|other| *other == row).map(|place| (chunk, place)))
    }
}

/// Adds rows as one chunk, or as several if they are too many for one.
fn push_chunks(chunks: &mut Vec<Vec<u32>>, rows: Vec<u32>) {
    match rows.len() {
        0 => {}
        len if len <= CHUNK_ROWS_MAX => chunks.push(rows),
        _ => chunks.extend(rows.chunks(CHUNK_ROWS).map(<[u32]>::to_vec)),
    }
}

/// Merges rows that are sorted by `compare`, few among many: their places are found by halving.
fn merged(many: &[u32], few: &[u32], compare: impl Fn(u32, u32) -> Ordering) -> Vec<u32> {
    let mut rows = Vec::with_capacity(many.len() + few.len());
    let mut rest = many;
    for row in few {
        let (before, after) = rest.split_at(rest.partition_point(|other| compare(*other, *row).is_lt()));
        rows.extend_from_slice(before);
        rows.push(*row);
        rest = after;
    }
    rows.extend_from_slice(rest);
    rows
}

/// The orders of a table that were asked for lately, within a limit of bytes.
#[derive(Debug)]
pub(super) struct OrderCache {
    entries: Vec<Entry>,
    bytes_max: usize,
    clock: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    key: OrderKey,
    pub plan: Arc<Plan>,
    pub order: Order,
    used: u64,
}

/// The most orders kept, however small: each one costs a little at every edit.
const ORDERS_MAX: usize = 32;

impl OrderCache {
    pub fn new(bytes_max: usize) -> OrderCache {
        OrderCache { entries: Vec::new(), bytes_max, clock: 0 }
    }

    pub fn get(&mut self, key: &OrderKey) -> Option<&Order> {
        self.clock += 1;
        let entry = self.entries.iter_mut().find(|entry| entry.key == *key)?;
        entry.used = self.clock;
        Some(&entry.order)
    }

    /// Keeps an order; the ones that were not asked for the longest go. The newest stays even if it is larger than the
    /// limit by itself.
    pub fn put(&mut self, key: OrderKey, plan: Arc<Plan>, order: Order) -> &Order {
        self.clock += 1;
        let used = self.clock;
        self.entries.retain(|entry| entry.key != key);
        let mut bytes = self.bytes() + order.bytes();
        while !self.entries.is_empty() && (bytes > self.bytes_max || self.entries.len() >= ORDERS_MAX) {
            let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.used).map_or(0, |(at, _)| at);
            bytes -= self.entries.swap_remove(oldest).order.bytes();
        }
        self.entries.push(Entry { key, plan, order, used });
        let last = self.entries.len() - 1;
        &self.entries[last].order
    }

    pub fn entries(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.order.bytes()).sum()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
