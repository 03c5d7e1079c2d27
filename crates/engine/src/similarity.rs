//! How alike two texts are: the measures that SQL recipes offer.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A text brought to the form in which names from different sources come near each other: lower case, without accents,
/// with every run of anything but letters and digits as one space, and none at the ends.
///
/// `DALLAS/FORT WORTH INTL ARPT` becomes `dallas fort worth intl arpt`; `Dallas-Fort Worth` becomes `dallas fort worth`.
pub fn normalize_text(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut gap = false;
    for character in text.nfkd().flat_map(char::to_lowercase) {
        if is_combining_mark(character) || matches!(character, '\'' | '’' | 'ʼ' | '`') {
            // An apostrophe stands inside a word: "O'Hare" is "ohare", as it is without it.
            continue;
        }
        if character.is_alphanumeric() {
            if gap && !normal.is_empty() {
                normal.push(' ');
            }
            gap = false;
            push_plain(&mut normal, character);
        } else {
            gap = true;
        }
    }
    normal
}

/// Adds a lower-case letter as it is typed on a keyboard that does not have it. Unicode takes accents off letters
/// (`ó` is `o` and an accent), but holds these for letters of their own.
pub(crate) fn push_plain(out: &mut String, letter: char) {
    match letter {
        'ł' => out.push('l'),
        'ø' => out.push('o'),
        'đ' | 'ð' => out.push('d'),
        'ħ' => out.push('h'),
        'ŧ' => out.push('t'),
        'ı' => out.push('i'),
        'ß' => out.push_str("ss"),
        'æ' => out.push_str("ae"),
        'œ' => out.push_str("oe"),
        'þ' => out.push_str("th"),
        letter => out.push(letter),
    }
}

/// The share of trigrams that two texts have in common, from 0 to 1. Words are taken in lower case, each with two spaces
/// before it and one behind, as PostgreSQL's `pg_trgm` does; two texts without a letter or digit have nothing in common.
pub fn trigram_similarity(a: &str, b: &str) -> f64 {
    let (a, b) = (Trigrams::of(a), Trigrams::of(b));
    a.similarity(&b)
}

/// The distinct trigrams of a text, to compare it with many others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigrams(Vec<[char; 3]>);

impl Trigrams {
    /// Takes a text apart.
    pub fn of(text: &str) -> Trigrams {
        let mut trigrams = Vec::with_capacity(text.len() + 4);
        let lower = text.to_lowercase();
        for word in lower.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let mut window = [' ', ' ', ' '];
            for character in word.chars().chain([' ']) {
                window = [window[1], window[2], character];
                trigrams.push(window);
            }
        }
        trigrams.sort_unstable();
        trigrams.dedup();
        Trigrams(trigrams)
    }

    /// See [`trigram_similarity`].
    pub fn similarity(&self, other: &Trigrams) -> f64 {
        let (mut common, mut left, mut right) = (0usize, 0usize, 0usize);
        while let (Some(a), Some(b)) = (self.0.get(left), other.0.get(right)) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => left += 1,
                std::cmp::Ordering::Greater => right += 1,
                std::cmp::Ordering::Equal => {
                    common += 1;
                    left += 1;
                    right += 1;
                }
            }
        }
        let all = self.0.len() + other.0.len() - common;
        if all == 0 { 0.0 } else { common as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_airport_come_near_each_other() {
        assert_eq!(normalize_text("DALLAS/FORT WORTH INTL ARPT"), "dallas fort worth intl arpt");
        assert_eq!(normalize_text("  Dallas-Fort   Worth\tInternational. "), "dallas fort worth international");
        assert_eq!(normalize_text("Chicago O'Hare"), normalize_text("CHICAGO OHARE"));
        assert_eq!(normalize_text("São Tomé, Ærø № 5"), "sao tome aero no 5");
        assert_eq!(normalize_text("--"), "");
    }

    #[test]
    fn trigrams_agree_with_the_definition() {
        // "cat" has `  c`, ` ca`, `cat`, `at `; "cats" has `  c`, ` ca`, `cat`, `ats`, `ts `: 3 of 6 in common.
        assert_eq!(trigram_similarity("cat", "Cats"), 0.5);
        assert_eq!(trigram_similarity("a b", "b a"), 1.0);
        assert_eq!(trigram_similarity("", ""), 0.0);
        assert_eq!(trigram_similarity("abc", "xyz"), 0.0);
    }
}
