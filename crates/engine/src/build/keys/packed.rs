//! The hashes of many keys in little room, to find those that occur twice.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bits of a hash are left out. Of ten million different keys two have the same 48 bits in one of six originals,
/// which costs a look at the keys themselves.
const CUT_BITS: u32 = 16;

/// Hashes are kept in this many parts by their first byte, each of which is small enough to be looked through near the
/// processor.
const PARTS: usize = 256;

/// Bits of a cut hash behind its first byte.
const REST_BITS: u32 = 40;

/// The most threads that look for hashes that occur twice.
const THREADS_MAX: usize = 16;

/// What is kept of a hash.
pub(super) fn cut(hash: u64) -> u64 {
    hash >> CUT_BITS
}

/// Cut hashes in five bytes each, part after part by the first of their six bytes, which does not have to be kept.
#[derive(Debug, Default)]
pub(super) struct PackedHashes {
    lower: Vec<u32>,
    upper: Vec<u8>,
    /// Where each part ends.
    ends: Vec<u32>,
}

impl PackedHashes {
    /// Takes the hashes of one run, at most 2^32 of them.
    pub(super) fn of(hashes: &[u64]) -> PackedHashes {
        let mut next = vec![0u32; PARTS + 1];
        hashes.iter().for_each(|hash| next[part(*hash) + 1] += 1);
        for part in 0..PARTS {
            next[part + 1] += next[part];
        }
        let (mut lower, mut upper) = (vec![0; hashes.len()], vec![0; hashes.len()]);
        for hash in hashes {
            let place = &mut next[part(*hash)];
            lower[*place as usize] = cut(*hash) as u32;
            upper[*place as usize] = (cut(*hash) >> 32) as u8;
            *place += 1;
        }
        // Each part was filled up to where the next one starts.
        next.truncate(PARTS);
        PackedHashes { lower, upper, ends: next }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lower.len() * size_of::<u32>() + self.upper.len() + self.ends.len() * size_of::<u32>()
    }

    /// The rest of each hash of a part.
    fn part(&self, part: usize) -> impl ExactSizeIterator<Item = u64> {
        let end = |part: usize| self.ends.get(part).map_or(0, |end| *end as usize);
        let range = part.checked_sub(1).map_or(0, end)..end(part);
        let lower = &self.lower[range.clone()];
        lower.iter().zip(&self.upper[range]).map(|(lower, upper)| u64::from(*lower) | u64::from(*upper) << 32)
    }
}

fn part(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// The cut hashes that occur more than once in all runs together, in ascending order. The parts are looked through by all
/// cores.
pub(super) fn repeated(runs: &[PackedHashes]) -> Vec<u64> {
    let hashes: usize = runs.iter().map(|run| run.lower.len()).sum();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    // A thread takes longer to start than a few hashes to look through.
    let threads = threads.min(hashes / 100_000 + 1);
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let mut seen = Seen::default();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= PARTS {
                return;
            }
            let first = (part as u64) << REST_BITS;
            let own = seen.repeated(runs.iter().map(|run| run.part(part))).map(|rest| first | rest);
            all.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable();
    all.dedup();
    all
}

/// The hashes of one part that were seen, in a table with open addressing.
#[derive(Default)]
struct Seen {
    /// A hash and one more; zero is nothing.
    slots: Vec<u64>,
    repeated: Vec<u64>,
}

impl Seen {
    /// The hashes that occur more than once; one that occurs three times is given twice.
    fn repeated<R: ExactSizeIterator<Item = u64>>(
        &mut self,
        runs: impl Iterator<Item = R> + Clone,
    ) -> impl Iterator<Item = u64> {
        let count: usize = runs.clone().map(|run| run.len()).sum();
        let bits = (count * 2).next_power_of_two().trailing_zeros().min(REST_BITS);
        self.slots.clear();
        self.slots.resize(1 << bits, 0);
        for hash in runs.flatten() {
            let mut slot = (hash >> (REST_BITS - bits)) as usize;
            while self.slots[slot] != 0 && self.slots[slot] != hash + 1 {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            if self.slots[slot] != 0 {
                self.repeated.push(hash);
            }
            self.slots[slot] = hash + 1;
        }
        self.repeated.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_that_occur_twice_are_found_in_one_run_and_across_runs() {
        let scattered = |from: u64| (from..from + 50_000).map(|key| key.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let (one, mut other): (Vec<u64>, Vec<u64>) = (scattered(1), scattered(60_000));
        let pack = |one: &[u64], other: &[u64]| [one, &[], other].map(PackedHashes::of);
        assert!(repeated(&pack(&one, &other)).is_empty());
        other.extend([one[7], one[7], other[9], u64::MAX, u64::MAX, 0]);
        let mut expected = [one[7], other[9], u64::MAX].map(cut);
        expected.sort_unstable();
        let runs = pack(&one, &other);
        assert_eq!(repeated(&runs), expected);
        assert!(runs[0].bytes() < 6 * one.len());
        let thrice = [PackedHashes::of(&[5 << 16, 5 << 16, 5 << 16]), PackedHashes::default()];
        assert_eq!(repeated(&thrice), [5]);
    }
}
