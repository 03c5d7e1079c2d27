//! Searching a whole column of texts for a part, without regard to case: over the bytes of all its cells at once.

use arrow_array::cast::AsArray;
use arrow_array::{Array, GenericStringArray, OffsetSizeTrait};
use arrow_schema::DataType;
use memchr::{memchr2_iter, memmem};

use super::text::Needle;

/// How many bytes of a column are looked at to tell which byte of the part is the rarest.
const SAMPLE_BYTES: usize = 4_096;

/// The letters that are not ASCII and whose lower case has an ASCII letter in it: the Kelvin sign, and I with a dot above.
const FOLDED_TO_ASCII: [&[u8]; 2] = ["\u{212a}".as_bytes(), "\u{130}".as_bytes()];

/// For each cell of an array whether it has the part; none for arrays that are not plain texts.
pub(super) fn cells_with(array: &dyn Array, needle: &Needle) -> Option<Vec<bool>> {
    match array.data_type() {
        DataType::Utf8 => Some(texts_with(array.as_string::<i32>(), needle)),
        DataType::LargeUtf8 => Some(texts_with(array.as_string::<i64>(), needle)),
        _ => None,
    }
}

fn texts_with<O: OffsetSizeTrait>(array: &GenericStringArray<O>, needle: &Needle) -> Vec<bool> {
    let mut found = vec![false; array.len()];
    let offsets = array.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[array.len()].as_usize());
    let bytes = &array.value_data()[first..last];
    let ends: Vec<usize> = offsets[1..].iter().map(|end| end.as_usize() - first).collect();
    let part = needle.folded().as_bytes();
    if part.is_ascii() {
        find_ascii(bytes, &ends, part, &mut found);
    }
    // What is found as bytes in a text that is not ASCII is there; what is not may be, where a letter folds to an ASCII one.
    let may_be_more = !part.is_ascii() || FOLDED_TO_ASCII.iter().any(|letter| memmem::find(bytes, letter).is_some());
    if may_be_more && !bytes.is_ascii() {
        // Case is more than a bit of a byte there, and may change how long a text is.
        let mut start = 0;
        for (cell, end) in ends.iter().enumerate() {
            if !bytes[start..*end].is_ascii() {
                found[cell] = needle.is_in(array.value(cell));
            }
            start = *end;
        }
    }
    if let Some(nulls) = array.nulls() {
        found.iter_mut().enumerate().for_each(|(cell, found)| *found &= nulls.is_valid(cell));
    }
    found
}

/// Marks the cells that have the part, both taken as ASCII. `part` is in lower case; the cells lie in `bytes` one after
/// the other, each up to its end.
fn find_ascii(bytes: &[u8], ends: &[usize], part: &[u8], found: &mut [bool]) {
    let Some(place) = rarest(bytes, part) else {
        found.fill(true);
        return;
    };
    let rare = part[place];
    let (mut cell, mut start) = (0, 0);
    for hit in memchr2_iter(rare, rare.to_ascii_uppercase(), bytes) {
        while ends[cell] <= hit {
            start = ends[cell];
            cell += 1;
        }
        let Some(from) = hit.checked_sub(place).filter(|from| *from >= start) else { continue };
        let to = from + part.len();
        if !found[cell] && to <= ends[cell] && bytes[from..to].eq_ignore_ascii_case(part) {
            found[cell] = true;
        }
    }
}

/// The place of that byte of the part which is the rarest in a sample of the bytes; none for an empty part.
fn rarest(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let mut counts = [0u32; 256];
    for byte in &bytes[..bytes.len().min(SAMPLE_BYTES)] {
        counts[byte.to_ascii_lowercase() as usize] += 1;
    }
    (0..part.len()).min_by_key(|place| counts[part[*place] as usize])
}

#[cfg(test)]
mod tests {
    use arrow_array::StringArray;

    use super::*;

    #[test]
    fn no_other_letters_fold_to_ascii_ones() {
        let folds = |letter: &char| !letter.is_ascii() && letter.to_lowercase().any(|lower| lower.is_ascii());
        let letters: Vec<char> = (char::MIN..=char::MAX).filter(folds).collect();
        assert_eq!(letters, ['\u{130}', '\u{212a}']);
    }

    #[test]
    fn a_search_of_all_cells_finds_what_a_search_of_each_one_finds() {
        let texts = [
            Some("Jones"),
            Some("99 JONES"),
            None,
            Some(""),
            Some("jo"),
            Some("nes"),
            Some("Ärger"),
            Some("ärGER"),
            Some("\u{212a}elvin"),
            Some("kelvin"),
            Some("aaab"),
            Some("aab"),
            Some("straße"),
            Some("STRASSE"),
            Some("İx"),
        ];
        let all = StringArray::from_iter(texts);
        for array in [all.clone(), all.slice(1, 9)] {
            for part in [
                "jones",
                "J",
                "",
                "nes",
                "ärg",
                "k",
                "aab",
                "ss",
                "ß",
                "i",
                "99 j",
                "\u{212a}",
                "x",
                "lang and not there",
            ] {
                let needle = Needle::new(part);
                let found = cells_with(&array, &needle).unwrap();
                for (cell, found) in found.into_iter().enumerate() {
                    let expected = array.is_valid(cell) && needle.is_in(array.value(cell));
                    assert_eq!(found, expected, "`{part}` in {:?}", array.is_valid(cell).then(|| array.value(cell)));
                }
            }
        }
    }
}
