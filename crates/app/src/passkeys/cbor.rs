//! The part of CBOR (RFC 8949) that authenticators write: CTAP2's canonical form, which has definite lengths, the shortest
//! integers, no tags and no floating-point numbers. Whatever else is met is refused.

/// How deep maps and arrays may lie in each other; CTAP2 allows four.
const DEPTH_MAX: usize = 4;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(Vec<Value<'a>>),
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// `false`, `true` or `null`.
    Simple(u8),
}

impl<'a> Value<'a> {
    /// The value of a key of a map.
    pub(super) fn get(&self, key: &Value<'_>) -> Option<&Value<'a>> {
        let Value::Map(pairs) = self else { return None };
        pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value)
    }

    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        if let Value::Integer(number) = self { Some(*number) } else { None }
    }
}

/// Reads one value from the beginning of `bytes`; what follows it is left over. None when it is cut short or not in the
/// canonical form.
pub(super) fn read(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    read_at(bytes, 0)
}

fn read_at(bytes: &[u8], depth: usize) -> Option<(Value<'_>, &[u8])> {
    if depth > DEPTH_MAX {
        return None;
    }
    let (first, rest) = bytes.split_first()?;
    let (major, argument) = (first >> 5, first & 0x1f);
    if major == 7 {
        return matches!(argument, 20..=22).then_some((Value::Simple(argument), rest));
    }
    let (number, rest) = number(argument, rest)?;
    match major {
        0 => Some((Value::Integer(i64::try_from(number).ok()?), rest)),
        1 => Some((Value::Integer(-1 - i64::try_from(number).ok()?), rest)),
        2 => take(number, rest).map(|(bytes, rest)| (Value::Bytes(bytes), rest)),
        3 => {
            let (bytes, rest) = take(number, rest)?;
            Some((Value::Text(std::str::from_utf8(bytes).ok()?), rest))
        }
        4 => {
            let (mut items, mut rest) = (Vec::new(), rest);
            for _ in 0..number {
                let (item, left) = read_at(rest, depth + 1)?;
                items.push(item);
                rest = left;
            }
            Some((Value::Array(items), rest))
        }
        5 => {
            let (mut pairs, mut rest) = (Vec::<(Value<'_>, Value<'_>)>::new(), rest);
            for _ in 0..number {
                let (key, left) = read_at(rest, depth + 1)?;
                let (value, left) = read_at(left, depth + 1)?;
                // Of two values for one key nobody knows which counts.
                if pairs.iter().any(|(known, _)| *known == key) {
                    return None;
                }
                pairs.push((key, value));
                rest = left;
            }
            Some((Value::Map(pairs), rest))
        }
        _ => None,
    }
}

/// The number after the first byte of a value, in its shortest form.
fn number(argument: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    let (size, least) = match argument {
        0..=23 => return Some((u64::from(argument), rest)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(size)?;
    let number = bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    (number >= least).then_some((number, rest))
}

fn take(count: u64, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(usize::try_from(count).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_standard_writes_them() {
        // RFC 8949, appendix A, as far as CTAP2 has them.
        assert_eq!(read(&[0x00]).unwrap().0, Value::Integer(0));
        assert_eq!(read(&[0x18, 0x64]).unwrap().0, Value::Integer(100));
        assert_eq!(read(&[0x1a, 0x00, 0x0f, 0x42, 0x40]).unwrap().0, Value::Integer(1_000_000));
        assert_eq!(read(&[0x38, 0x63]).unwrap().0, Value::Integer(-100));
        assert_eq!(read(&[0x44, 1, 2, 3, 4]).unwrap().0, Value::Bytes(&[1, 2, 3, 4]));
        assert_eq!(read(&[0x64, 0x49, 0x45, 0x54, 0x46]).unwrap().0, Value::Text("IETF"));
        assert_eq!(read(&[0xf5, 9]).unwrap(), (Value::Simple(21), &[9][..]));
        let map = read(&[0xa2, 0x61, 0x61, 0x01, 0x61, 0x62, 0x82, 0x02, 0x03]).unwrap().0;
        assert_eq!(map.get(&Value::Text("a")), Some(&Value::Integer(1)));
        assert_eq!(map.get(&Value::Text("b")), Some(&Value::Array(vec![Value::Integer(2), Value::Integer(3)])));
    }

    #[test]
    fn what_is_cut_short_or_not_canonical_is_refused() {
        for bytes in [
            &[][..],
            &[0x18],                         // no number
            &[0x18, 0x17],                   // 23 in two bytes
            &[0x19, 0x00, 0xff],             // 255 in three
            &[0x44, 1, 2, 3],                // three bytes of four
            &[0x5f, 0x41, 1, 0xff],          // of no definite length
            &[0x61, 0xff],                   // no UTF-8
            &[0xa1, 0x01],                   // a key without a value
            &[0xa2, 0x01, 0x02, 0x01, 0x03], // one key twice
            &[0xc1, 0x00],                   // a tag
            &[0xf9, 0x00, 0x00],             // a floating-point number
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x00],
        ] {
            assert_eq!(read(bytes), None, "{bytes:02x?}");
        }
    }
}
