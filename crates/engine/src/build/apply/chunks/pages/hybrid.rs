//! Parquet's mixture of runs and packed bits, in which levels and places in a dictionary are stored.

/// Values that one packed group has.
const GROUP: usize = 8;

/// Room that is made for values before they are there: a damaged page may claim any number of them.
const ROOM_MAX: usize = 1 << 20;

/// Reads `count` values of `width` bits; none when there are fewer.
pub(super) fn decode(mut bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    let mut values = Vec::with_capacity(count.min(ROOM_MAX));
    if width > 32 {
        return None;
    }
    while values.len() < count {
        let (head, rest) = varint(bytes)?;
        bytes = rest;
        let left = count - values.len();
        let length = usize::try_from(head >> 1).ok()?;
        if head & 1 == 1 {
            // Some writers cut the last group short.
            let run = length.checked_mul(width as usize)?.min(bytes.len());
            let here = length.checked_mul(GROUP)?.min(left);
            if here == 0 || here.checked_mul(width as usize)?.div_ceil(8) > run {
                return None;
            }
            unpack(&bytes[..run], width, here, &mut values);
            bytes = &bytes[run..];
        } else {
            let (value, rest) = bytes.split_at_checked(width.div_ceil(8) as usize)?;
            bytes = rest;
            let value = value.iter().rev().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
            if length == 0 {
                return None;
            }
            values.resize(values.len() + length.min(left), value);
        }
    }
    Some(values)
}

/// Writes values of which each needs at most `width` bits. Eight and more that are the same become a run.
pub(super) fn encode(values: &[u32], width: u32, bytes: &mut Vec<u8>) {
    let (mut packed, mut at) = (0, 0);
    while at < values.len() {
        let rest = &values[at..];
        if rest.len() >= GROUP && rest[1..GROUP].iter().all(|value| *value == rest[0]) {
            pack(&values[packed..at], width, bytes);
            let run = rest.iter().take_while(|value| **value == rest[0]).count();
            put_varint((run as u64) << 1, bytes);
            bytes.extend_from_slice(&rest[0].to_le_bytes()[..width.div_ceil(8) as usize]);
            at += run;
            packed = at;
        } else {
            at += GROUP.min(rest.len());
        }
    }
    pack(&values[packed..], width, bytes);
}

/// The bits that a value needs; at least one, since some readers know no values of none.
pub(super) fn width_of(largest: u32) -> u32 {
    (32 - largest.leading_zeros()).max(1)
}

fn unpack(bytes: &[u8], width: u32, count: usize, values: &mut Vec<u32>) {
    let mask = if width == 32 { u64::from(u32::MAX) } else { (1u64 << width) - 1 };
    let width = width as usize;
    // As many as can be read in words of eight bytes, and the rest out of a copy with zeros behind it.
    let whole = (bytes.len().saturating_sub(8) * 8).checked_div(width).unwrap_or(0).min(count);
    values.extend((0..whole).map(|place| {
        let bit = place * width;
        let word = bytes[bit / 8..bit / 8 + 8].try_into().map_or(0, u64::from_le_bytes);
        ((word >> (bit % 8)) & mask) as u32
    }));
    for place in whole..count {
        let bit = place * width;
        let mut word = [0; 8];
        let here = &bytes[(bit / 8).min(bytes.len())..(bit / 8 + 8).min(bytes.len())];
        word[..here.len()].copy_from_slice(here);
        values.push(((u64::from_le_bytes(word) >> (bit % 8)) & mask) as u32);
    }
}

fn pack(values: &[u32], width: u32, bytes: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    put_varint((groups as u64) << 1 | 1, bytes);
    let end = bytes.len() + groups * width as usize;
    bytes.reserve(groups * width as usize + 8);
    let (mut word, mut bits) = (0u64, 0);
    for value in values {
        word |= u64::from(*value) << bits;
        bits += width;
        if bits >= 32 {
            bytes.extend_from_slice(&(word as u32).to_le_bytes());
            word >>= 32;
            bits -= 32;
        }
    }
    bytes.extend_from_slice(&word.to_le_bytes());
    bytes.resize(end, 0);
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (place * 7);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

fn put_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            runs in prop::collection::vec((0u32..=u32::MAX, 0usize..40), 0..40), width in 1u32..=32, scattered in 0usize..50,
        ) {
            let mask = if width == 32 { u32::MAX } else { (1 << width) - 1 };
            let mut values: Vec<u32> = runs.iter().flat_map(|(value, count)| vec![value & mask; *count]).collect();
            values.extend((0..scattered as u32).map(|n| n.wrapping_mul(2_654_435_761) & mask));
            let mut bytes = Vec::new();
            encode(&values, width, &mut bytes);
            prop_assert_eq!(decode(&bytes, width, values.len()), Some(values.clone()));
            prop_assert!(decode(&bytes, width, values.len() + 8).is_none());
            prop_assert!(width_of(values.iter().copied().max().unwrap_or(0)) <= width);
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), width in 0u32..=40) {
            let values = decode(&bytes, width, 100);
            prop_assert!(values.is_none_or(|values| values.len() == 100));
        }
    }
}
