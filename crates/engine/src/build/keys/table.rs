//! A table of a million keys that is asked for ten million: nine in ten are not there, and each look costs a wait for memory.
//!
//! So a run of keys is asked for in passes, each of which is a loop of looks that do not depend on each other: the processor
//! has many of them under way at once (Chen, Ailamaki, Gibbons, Mowry, "Improving Hash Join Performance through
//! Prefetching", 2004, does the same with explicit instructions). The first pass looks into a Bloom filter in which all bits
//! of a key are in one word, small enough to stay near the processor; what it lets through is looked up in slots with open
//! addressing, which hold a part of the hash beside the row's number, so that only keys which are there are compared.

/// Bits of the filter for each key: with [`BITS_SET`] of them set by each, about one key in thirty is let through wrongly.
const BITS_PER_KEY: usize = 12;
const BITS_SET: u32 = 3;

/// Slots for each key, as a fraction.
const SLOTS_NUMERATOR: usize = 3;
const SLOTS_DENOMINATOR: usize = 2;

/// How many keys go through the passes together: what one pass fetches is still near for the next.
const RUN: usize = 512;

/// A slot without a row. The lower half of a slot is a row's number and one more, so that no row's slot is this.
const EMPTY: u64 = 0;

/// Rows by the hashes of their keys.
#[derive(Debug)]
pub(super) struct KeyTable {
    filter: Vec<u64>,
    /// The lower half of the hash above, the number of the row and one more below.
    slots: Vec<u64>,
}

impl KeyTable {
    /// A table with room for so many keys.
    fn for_keys(count: usize) -> KeyTable {
        KeyTable {
            filter: vec![0; count * BITS_PER_KEY / 64 + 1],
            // One slot more than keys is empty in any case, so that each search ends.
            slots: vec![EMPTY; count * SLOTS_NUMERATOR / SLOTS_DENOMINATOR + 1],
        }
    }

    /// A table of rows with the hashes of their keys. Two threads fill its halves when `in_halves` is said.
    pub(super) fn of(rows: &[(u64, u32)], in_halves: bool) -> KeyTable {
        let mut table = KeyTable::for_keys(rows.len());
        if !in_halves {
            rows.iter().for_each(|(hash, row)| table.insert(*hash, *row));
            return table;
        }
        let sizes = (table.filter.len(), table.slots.len());
        let half = 1 << 63;
        let (low_filter, high_filter) = table.filter.split_at_mut(part_of(half, sizes.0));
        let (low_slots, high_slots) = table.slots.split_at_mut(part_of(half, sizes.1));
        let low = Half { filter: low_filter, filter_at: 0, slots: low_slots, slots_at: 0, sizes };
        let high_at = (low.filter.len(), low.slots.len());
        let high = Half { filter: high_filter, filter_at: high_at.0, slots: high_slots, slots_at: high_at.1, sizes };
        let (low, high) = std::thread::scope(|scope| {
            let low = scope.spawn(|| low.fill(rows.iter().filter(|(hash, _)| *hash < half)));
            let high = high.fill(rows.iter().filter(|(hash, _)| *hash >= half));
            (low.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), high)
        });
        low.into_iter().chain(high).for_each(|(hash, row)| table.insert(hash, row));
        table
    }

    /// Puts a row in; at most as many as there is room for.
    fn insert(&mut self, hash: u64, row: u32) {
        let (word, bits) = self.filter_place(hash);
        self.filter[word] |= bits;
        let mut slot = self.slot(hash);
        while self.slots[slot] != EMPTY {
            slot = self.after(slot);
        }
        self.slots[slot] = slot_of(hash, row);
    }

    /// The rows that have one of these keys, each with the key's place among the hashes, in their order. `touch` reads
    /// something that `is_same` will need of a row; `is_same` compares the key at a place with that of a row.
    pub(super) fn find_all(
        &self,
        hashes: &[u64],
        touch: impl Fn(u32) -> u8,
        is_same: impl Fn(usize, u32) -> bool,
    ) -> Vec<(usize, usize)> {
        let mut likely = vec![0u32; hashes.len()];
        let mut count = 0;
        for (place, hash) in hashes.iter().enumerate() {
            let (word, bits) = self.filter_place(*hash);
            // Without a branch: whether a key is there is as good as random.
            likely[count] = place as u32;
            count += usize::from(self.filter[word] & bits == bits);
        }
        likely.truncate(count);

        let mut found = Vec::with_capacity(count);
        let mut firsts = Vec::with_capacity(RUN);
        let mut candidates: Vec<(u32, usize)> = Vec::with_capacity(RUN);
        for run in likely.chunks(RUN) {
            firsts.clear();
            firsts.extend(run.iter().map(|place| self.slots[self.slot(hashes[*place as usize])]));
            candidates.clear();
            for (place, first) in run.iter().zip(&firsts) {
                if *first != EMPTY {
                    let hash = hashes[*place as usize];
                    candidates.extend(self.next_like(hash, self.slot(hash)).map(|slot| (*place, slot)));
                }
            }
            // The result is used, or the compiler would leave the looks out.
            let touched = candidates.iter().fold(0, |sum, (_, slot)| sum ^ touch(self.row(*slot)));
            std::hint::black_box(touched);
            for (place, slot) in &candidates {
                let (place, mut next) = (*place as usize, Some(*slot));
                while let Some(slot) = next {
                    let row = self.row(slot);
                    if is_same(place, row) {
                        found.push((place, row as usize));
                        break;
                    }
                    next = self.next_like(hashes[place], self.after(slot));
                }
            }
        }
        found
    }

    /// The first slot from `slot` on that has the same part of the hash; none when an empty one comes before.
    fn next_like(&self, hash: u64, mut slot: usize) -> Option<usize> {
        loop {
            let content = self.slots[slot];
            if content == EMPTY {
                return None;
            }
            if content >> 32 == hash & 0xffff_ffff {
                return Some(slot);
            }
            slot = self.after(slot);
        }
    }

    fn row(&self, slot: usize) -> u32 {
        ((self.slots[slot] & 0xffff_ffff) - 1) as u32
    }

    fn after(&self, slot: usize) -> usize {
        if slot + 1 < self.slots.len() { slot + 1 } else { 0 }
    }

    fn slot(&self, hash: u64) -> usize {
        part_of(hash, self.slots.len())
    }

    /// The word of the filter for a key, and its bits in it.
    fn filter_place(&self, hash: u64) -> (usize, u64) {
        (part_of(hash, self.filter.len()), filter_bits(hash))
    }
}

/// One half of a table that is being filled.
struct Half<'t> {
    filter: &'t mut [u64],
    /// Where it starts in the whole filter, and the slots among all slots.
    filter_at: usize,
    slots: &'t mut [u64],
    slots_at: usize,
    /// The sizes of the whole filter, and of all slots.
    sizes: (usize, usize),
}

impl Half<'_> {
    /// Puts rows in; gives those that belong beyond the half's end.
    fn fill<'r>(self, rows: impl Iterator<Item = &'r (u64, u32)>) -> Vec<(u64, u32)> {
        let mut left = Vec::new();
        for (hash, row) in rows {
            let word = part_of(*hash, self.sizes.0) - self.filter_at;
            let mut slot = part_of(*hash, self.sizes.1) - self.slots_at;
            while self.slots.get(slot).is_some_and(|content| *content != EMPTY) {
                slot += 1;
            }
            match (self.filter.get_mut(word), self.slots.get_mut(slot)) {
                (Some(word), Some(slot)) => {
                    *word |= filter_bits(*hash);
                    *slot = slot_of(*hash, *row);
                }
                _ => left.push((*hash, *row)),
            }
        }
        left
    }
}

/// The bits of a key in its word of the filter.
fn filter_bits(hash: u64) -> u64 {
    (0..BITS_SET).fold(0, |bits, bit| bits | 1 << ((hash >> (bit * 6)) & 63))
}

/// What a slot holds of a row.
fn slot_of(hash: u64, row: u32) -> u64 {
    (hash << 32) | (u64::from(row) + 1)
}

/// One of `count` parts by the upper half of a hash.
fn part_of(hash: u64, count: usize) -> usize {
    (((hash >> 32) * count as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: u64) -> u64 {
        (key + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }

    #[test]
    fn all_keys_that_are_there_are_found_in_order_and_no_others() {
        let mut table = KeyTable::for_keys(3_000);
        (0..3_000).for_each(|key| table.insert(hash(u64::from(key) * 2), key));
        let asked: Vec<u64> = (0..9_000).map(hash).collect();
        let compared = std::cell::Cell::new(0);
        let is_same = |place: usize, row: u32| {
            compared.set(compared.get() + 1);
            place == row as usize * 2
        };
        let found = table.find_all(&asked, |_| 0, is_same);
        assert_eq!(found, (0..3_000).map(|row| (row * 2, row)).collect::<Vec<_>>());
        assert_eq!(compared.get(), 3_000);
        assert!(KeyTable::for_keys(0).find_all(&asked, |_| 0, |_, _| true).is_empty());
    }

    #[test]
    fn a_table_that_two_threads_fill_has_all_keys_also_where_its_halves_meet() {
        for count in [1, 2, 3, 1_000, 5_001] {
            // Keys that crowd around the middle and the end of the table, and scattered ones.
            let crowded = |key: u64| match key % 3 {
                0 => hash(key),
                1 => (1 << 63) - 1 - (key << 20),
                _ => u64::MAX - (key << 20),
            };
            let rows: Vec<(u64, u32)> = (0..count).map(|key| (crowded(u64::from(key)), key)).collect();
            let hashes: Vec<u64> = rows.iter().map(|(hash, _)| *hash).collect();
            for in_halves in [false, true] {
                let table = KeyTable::of(&rows, in_halves);
                let found = table.find_all(&hashes, |_| 0, |place, row| place == row as usize);
                assert_eq!(found, (0..count as usize).map(|row| (row, row)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn rows_whose_keys_have_one_hash_are_told_apart_by_their_keys() {
        let mut table = KeyTable::for_keys(5);
        // One of them has another hash and the same slot.
        [7, 7, 8, 7, u64::MAX].into_iter().zip(0..).for_each(|(hash, row)| table.insert(hash, row));
        let find = |wanted: u32| table.find_all(&[7], |_| 0, |_, row| row == wanted);
        assert_eq!([find(0), find(1), find(3)], [0, 1, 3].map(|row| vec![(0, row)]));
        assert!(find(2).is_empty() && find(9).is_empty());
        assert_eq!(table.find_all(&[u64::MAX, 9], |_| 0, |_, _| true), [(0, 4)]);
    }
}
