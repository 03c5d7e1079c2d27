//! Searching a whole column of texts for a part, without regard to case: over the bytes of all its cells at once.

use arrow_array::cast::AsArray;
use arrow_array::{Array, GenericStringArray, OffsetSizeTrait};
use arrow_schema::DataType;
use memchr::{memchr2_iter, memmem};

use crate::ordering::Needle;

/// How many bytes of a column are looked at to tell which byte of the part is the rarest.
const SAMPLE_BYTES: usize = 4_096;

/// The letters that are not ASCII and whose lower case has an ASCII letter in it: the Kelvin sign, and I with a dot above.
const FOLDED_TO_ASCII: [&[u8]; 2] = ["\u{212a}".as_bytes(), "\u{130}".as_bytes()];

/// The cells of an array that have the part, in ascending order; none for arrays that are not plain texts.
pub(super) fn cells_with(array: &dyn Array, needle: &Needle) -> Option<Vec<u32>> {
    match array.data_type() {
        DataType::Utf8 => Some(texts_with(array.as_string::<i32>(), needle)),
        DataType::LargeUtf8 => Some(texts_with(array.as_string::<i64>(), needle)),
        _ => None,
    }
}

fn texts_with<O: OffsetSizeTrait>(array: &GenericStringArray<O>, needle: &Needle) -> Vec<u32> {
    let mut found = Vec::new();
    let cells = Cells::of(array);
    let part = needle.folded().as_bytes();
    if part.is_ascii() {
        find_ascii(&cells, part, &mut found);
    }
    // What is found as bytes in a text that is not ASCII is there; what is not may be, where a letter folds to an ASCII one.
    let may_be_more = !part.is_ascii() || part.iter().any(|byte| matches!(byte, b'i' | b'k'));
    let has_folded = || FOLDED_TO_ASCII.iter().any(|letter| memmem::find(cells.bytes, letter).is_some());
    if may_be_more && !cells.bytes.is_ascii() && (!part.is_ascii() || has_folded()) {
        // Case is more than a bit of a byte there, and may change how long a text is.
        let more = (0..array.len()).filter(|cell| {
            let text = array.value(*cell);
            !text.is_ascii() && needle.is_in(text)
        });
        found.extend(more.map(|cell| cell as u32));
        found.sort_unstable();
        found.dedup();
    }
    if let Some(nulls) = array.nulls() {
        found.retain(|cell| nulls.is_valid(*cell as usize));
    }
    found
}

/// The cells of an array, one after the other in its bytes.
struct Cells<'a, O> {
    bytes: &'a [u8],
    offsets: &'a [O],
}

impl<'a, O: OffsetSizeTrait> Cells<'a, O> {
    fn of(array: &'a GenericStringArray<O>) -> Cells<'a, O> {
        let offsets = array.value_offsets();
        let (first, last) = (offsets[0].as_usize(), offsets[array.len()].as_usize());
        Cells { bytes: &array.value_data()[first..last], offsets }
    }

    /// Where a cell ends in the bytes.
    fn end(&self, cell: usize) -> usize {
        self.offsets[cell + 1].as_usize() - self.offsets[0].as_usize()
    }

    fn start(&self, cell: usize) -> usize {
        self.offsets[cell].as_usize() - self.offsets[0].as_usize()
    }

    /// The cell that a place in the bytes is in, which is `from` or a later one.
    fn at(&self, from: usize, place: usize) -> usize {
        // Most often it is near, and else far away.
        for cell in from..from + NEAR_CELLS {
            if self.end(cell) > place {
                return cell;
            }
        }
        // It is in a later one, so there is one. Steps of double length find about where, and halving then finds it.
        let (mut from, mut step) = (from + NEAR_CELLS, NEAR_CELLS);
        let last = self.offsets.len() - 2;
        while from + step < last && self.end(from + step) <= place {
            from += step;
            step *= 2;
        }
        let to = (from + step).min(last);
        let first = self.offsets[0].as_usize();
        from + self.offsets[from + 1..=to + 1].partition_point(|end| end.as_usize() - first <= place)
    }
}

/// How many cells are looked at one by one before the others are halved.
const NEAR_CELLS: usize = 8;

/// Adds the cells that have the part, both taken as ASCII. `part` is in lower case.
fn find_ascii<O: OffsetSizeTrait>(cells: &Cells<'_, O>, part: &[u8], found: &mut Vec<u32>) {
    let bytes = cells.bytes;
    let mut cell = 0;
    let mut see = |hit: usize, place: usize| {
        cell = cells.at(cell, hit);
        let Some(from) = hit.checked_sub(place).filter(|from| *from >= cells.start(cell)) else { return };
        let to = from + part.len();
        if to <= cells.end(cell) && found.last() != Some(&(cell as u32)) && bytes[from..to].eq_ignore_ascii_case(part) {
            found.push(cell as u32);
        }
    };
    // Several bytes that are no letters are rarer than any one, and look the same in any case.
    if let Some((place, plain)) = longest_plain(part) {
        let finder = memmem::Finder::new(plain);
        let mut from = 0;
        // Hits may overlap, as `aa` in `aaa` does.
        while let Some(hit) = finder.find(&bytes[from..]) {
            see(from + hit, place);
            from += hit + 1;
        }
        return;
    }
    let Some(place) = rarest(bytes, part) else {
        found.extend(0..cells.offsets.len() as u32 - 1);
        return;
    };
    let rare = part[place];
    for hit in memchr2_iter(rare, rare.to_ascii_uppercase(), bytes) {
        see(hit, place);
    }
}

/// The longest run of two bytes or more of the part that have no case, with its place in the part; none without one.
fn longest_plain(part: &[u8]) -> Option<(usize, &[u8])> {
    let mut start = 0;
    let runs = part.split(u8::is_ascii_alphabetic).map(|run| {
        let place = start;
        start += run.len() + 1;
        (place, run)
    });
    runs.filter(|(_, run)| run.len() >= 2).max_by_key(|(_, run)| run.len())
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
            Some("199 - 99  - j"),
            Some("a far away one, with nothing of it: 9"),
            Some("9"),
            Some("9 - "),
            Some(" - "),
            Some("x"),
            Some("y"),
            Some("z"),
            Some("4 - - -"),
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
            Some("ΟΔΟΣΕΙΡΑ"),
            Some("οδος"),
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
                " - ",
                "- -",
                "9 -",
                "99",
                "one, w",
                "\u{212a}",
                "οδος",
                "ΔΟΣ",
                "x",
                "lang and not there",
            ] {
                let needle = Needle::new(part);
                let expected = |cell: &u32| {
                    let cell = *cell as usize;
                    array.is_valid(cell) && needle.is_in(array.value(cell))
                };
                let expected: Vec<u32> = (0..array.len() as u32).filter(expected).collect();
                assert_eq!(cells_with(&array, &needle).unwrap(), expected, "`{part}`");
            }
        }
    }

    #[test]
    fn hits_that_are_far_apart_are_in_their_cells() {
        for (cells, every) in [(1, 1), (9, 8), (1_000, 7), (1_000, 100), (5_000, 977), (5_000, 4_999)] {
            let text =
                |cell: usize| if cell % every == every - 1 { format!("{cell} - hit") } else { "-".repeat(cell % 5) };
            let array = StringArray::from_iter_values((0..cells).map(text));
            let expected: Vec<u32> = (0..cells as u32).filter(|cell| *cell as usize % every == every - 1).collect();
            assert_eq!(cells_with(&array, &Needle::new("- HIT")).unwrap(), expected, "{cells} cells");
        }
    }
}
