//! Comparing and searching texts without regard to case.

use std::borrow::Cow;
use std::cmp::Ordering;

/// The order of texts in a table: without regard to case, and by code points where only the case differs.
pub(crate) fn compare_text(a: &str, b: &str) -> Ordering {
    compare_folded(a, b).then_with(|| a.cmp(b))
}

/// Compares without regard to case.
pub(crate) fn compare_folded(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        let mut pairs = a.bytes().zip(b.bytes()).map(|(x, y)| x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase()));
        return pairs.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()));
    }
    fold_case(a).as_bytes().cmp(fold_case(b).as_bytes())
}

/// The text in lower case.
pub(crate) fn fold_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        Cow::Owned(lower_case(text))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text in lower case, each letter by itself: a sigma is the same one wherever it stands in its word, or a part of a
/// word would not be found in it.
fn lower_case(text: &str) -> String {
    let lower = text.to_lowercase();
    if lower.contains(FINAL_SIGMA) { lower.replace(FINAL_SIGMA, SIGMA) } else { lower }
}

/// The sigma that ends a word.
const FINAL_SIGMA: &str = "ς";

/// The sigma of all other places.
const SIGMA: &str = "σ";

/// The first eight bytes of the text in lower case, as a number that compares as they do.
pub(crate) fn folded_prefix(text: &str) -> u64 {
    folded_bytes(text, 0)
}

/// The eight bytes after the first `8 * level` of the text in lower case, as a number that compares as they do.
pub(crate) fn folded_bytes(text: &str, level: usize) -> u64 {
    let mut bytes = [0u8; 8];
    let head = &text.as_bytes()[..text.len().min(8 * (level + 1))];
    if head.is_ascii() {
        // A later letter that is not ASCII does not change how these fold.
        for (byte, out) in head.iter().skip(8 * level).zip(&mut bytes) {
            *out = byte.to_ascii_lowercase();
        }
    } else {
        for (byte, out) in lower_case(text).as_bytes().iter().skip(8 * level).zip(&mut bytes) {
            *out = *byte;
        }
    }
    u64::from_be_bytes(bytes)
}

/// A part to look for in texts without regard to case.
#[derive(Debug, Clone)]
pub(crate) struct Needle {
    folded: String,
}

impl Needle {
    pub fn new(part: &str) -> Needle {
        Needle { folded: lower_case(part) }
    }

    /// The part in lower case.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    pub fn is_in(&self, text: &str) -> bool {
        if !text.is_ascii() {
            return lower_case(text).contains(&self.folded);
        }
        let (text, needle) = (text.as_bytes(), self.folded.as_bytes());
        let Some((first, rest)) = needle.split_first() else { return true };
        let Some(last_start) = text.len().checked_sub(needle.len()) else { return false };
        (0..=last_start).any(|start| {
            text[start].to_ascii_lowercase() == *first
                && text[start + 1..start + needle.len()].eq_ignore_ascii_case(rest)
        })
    }

    pub fn starts(&self, text: &str) -> bool {
        if !text.is_ascii() {
            return lower_case(text).starts_with(&self.folded);
        }
        text.as_bytes().get(..self.folded.len()).is_some_and(|head| head.eq_ignore_ascii_case(self.folded.as_bytes()))
    }

    pub fn ends(&self, text: &str) -> bool {
        if !text.is_ascii() {
            return lower_case(text).ends_with(&self.folded);
        }
        let start = text.len().checked_sub(self.folded.len());
        start.is_some_and(|start| text.as_bytes()[start..].eq_ignore_ascii_case(self.folded.as_bytes()))
    }
}
