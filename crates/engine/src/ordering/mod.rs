//! How cells are ordered: numbers by their values, texts without regard to case, empty cells after all others.

mod keys;
mod text;

use std::cmp::Ordering;

use crate::cell::Ordered;

pub(crate) use keys::{
    EMPTY, further_key, further_key_of, has_further_keys, has_quick_keys, is_exact, is_text, key_of, write_keys,
};
pub(crate) use text::{Needle, compare_folded, compare_text, fold_case, folded_bytes, folded_prefix};

/// A whole number that orders as the value does; none for texts and for null.
pub(crate) fn order_number(value: &Ordered<'_>) -> Option<i128> {
    match value {
        Ordered::Integer(integer) => Some(*integer),
        Ordered::Float(number) => {
            // The order of IEEE 754's totalOrder, as `f64::total_cmp` has it.
            let bits = number.to_bits() as i64;
            Some(i128::from(bits ^ ((((bits >> 63) as u64) >> 1) as i64)))
        }
        Ordered::Text(_) | Ordered::Null => None,
    }
}

/// The order of two values of a column; null after everything else, whichever the direction.
pub(crate) fn compare_values(a: &Ordered<'_>, b: &Ordered<'_>, descending: bool) -> Ordering {
    let order = match (a, b) {
        (Ordered::Null, Ordered::Null) => return Ordering::Equal,
        (Ordered::Null, _) => return Ordering::Greater,
        (_, Ordered::Null) => return Ordering::Less,
        (Ordered::Text(a), Ordered::Text(b)) => compare_text(a, b),
        // A key of a created row that is not of its column's type comes after the values that are.
        (Ordered::Text(_), _) => Ordering::Greater,
        (_, Ordered::Text(_)) => Ordering::Less,
        (a, b) => order_number(a).cmp(&order_number(b)),
    };
    if descending { order.reverse() } else { order }
}
