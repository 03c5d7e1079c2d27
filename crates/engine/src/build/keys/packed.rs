//! The hashes of many keys in little room, to find those that occur twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// How many bits of a hash are left out. Of ten million different keys two have the same 48 bits in one of six originals,
/// which costs a look at the keys themselves.
const CUT_BITS: u32 = 16;

/// What is kept of a hash.
pub(super) fn cut(hash: u64) -> u64 {
    hash >> CUT_BITS
}

/// Cut hashes in ascending order, each told by how far it lies behind the one before, in bytes of seven bits: for a million
/// keys between four and five bytes each.
#[derive(Debug, Default)]
pub(super) struct PackedHashes {
    bytes: Vec<u8>,
}

impl PackedHashes {
    pub(super) fn of(mut hashes: Vec<u64>) -> PackedHashes {
        hashes.sort_unstable();
        let mut bytes = Vec::with_capacity(hashes.len() * 9 / 2 + 16);
        let mut last = 0;
        for hash in hashes.into_iter().map(cut) {
            let mut step = hash - last;
            while step >= 0x80 {
                bytes.push(step as u8 | 0x80);
                step >>= 7;
            }
            bytes.push(step as u8);
            last = hash;
        }
        bytes.shrink_to_fit();
        PackedHashes { bytes }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The hashes of one run, one after the other.
struct Unpacked<'a> {
    rest: std::slice::Iter<'a, u8>,
    last: u64,
}

impl Iterator for Unpacked<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (mut step, mut shift) = (0, 0);
        loop {
            let byte = *self.rest.next()?;
            step |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.last += step;
                return Some(self.last);
            }
            shift += 7;
        }
    }
}

/// The cut hashes that occur more than once in all runs together, in ascending order.
pub(super) fn repeated(runs: &[PackedHashes]) -> Vec<u64> {
    let mut unpacked: Vec<Unpacked<'_>> = runs.iter().map(|run| Unpacked { rest: run.bytes.iter(), last: 0 }).collect();
    let mut heads: BinaryHeap<Reverse<(u64, usize)>> =
        unpacked.iter_mut().enumerate().filter_map(|(run, hashes)| Some(Reverse((hashes.next()?, run)))).collect();
    let (mut repeated, mut last) = (Vec::new(), None);
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((hash, run)) = *head;
        if last == Some(hash) && repeated.last() != Some(&hash) {
            repeated.push(hash);
        }
        last = Some(hash);
        match unpacked[run].next() {
            Some(next) => *head = Reverse((next, run)),
            None => drop(PeekMut::pop(head)),
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_that_occur_twice_are_found_in_one_run_and_across_runs() {
        let scattered = |from: u64| (from..from + 50_000).map(|key| key.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let (one, mut other): (Vec<u64>, Vec<u64>) = (scattered(1), scattered(60_000));
        let pack = |one: &[u64], other: &[u64]| [one, &[], other].map(|run| PackedHashes::of(run.to_vec()));
        assert!(repeated(&pack(&one, &other)).is_empty());
        other.extend([one[7], one[7], other[9], u64::MAX, u64::MAX, 0]);
        let mut expected = [one[7], other[9], u64::MAX].map(cut);
        expected.sort_unstable();
        let runs = pack(&one, &other);
        assert_eq!(repeated(&runs), expected);
        assert!(runs[0].bytes() < 6 * one.len());
    }
}
