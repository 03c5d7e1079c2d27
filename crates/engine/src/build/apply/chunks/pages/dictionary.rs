//! The dictionary of an edited chunk: that of the original, with new values behind.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::values::{Form, Values};

/// With new values a dictionary may take so many bytes uncompressed, as with the writers of most originals; a page whose new
/// values have no room holds its values as they are.
const DICTIONARY_BYTES_MAX: usize = 1024 * 1024;

const STATE: FixedState = FixedState::with_seed(0x5061_6765);

/// Values by their places.
pub(super) struct Dictionary<'a> {
    form: Form,
    original: &'a Values,
    /// New values, one behind the other, and where each ends.
    added: Vec<u8>,
    ends: Vec<usize>,
    /// What all of them take as a page.
    bytes: usize,
    /// Places by values; made when the first value is looked for.
    table: Option<HashTable<u32>>,
}

/// How much was in a dictionary.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    added: usize,
    ends: usize,
    bytes: usize,
}

impl<'a> Dictionary<'a> {
    pub(super) fn new(form: Form, original: &'a Values) -> Dictionary<'a> {
        let bytes = original.plain().len();
        Dictionary { form, original, added: Vec::new(), ends: Vec::new(), bytes, table: None }
    }

    pub(super) fn len(&self) -> usize {
        self.original.len() + self.ends.len()
    }

    /// Whether it has more values than the original's.
    pub(super) fn has_grown(&self) -> bool {
        !self.ends.is_empty()
    }

    pub(super) fn get(&self, place: usize) -> &[u8] {
        get(self.original, &self.added, &self.ends, place)
    }

    /// The place of a value, which is added when it is not there; none when there is no room for it.
    pub(super) fn place(&mut self, value: &[u8]) -> Option<u32> {
        let Dictionary { form, original, added, ends, bytes, table } = self;
        let original: &Values = original;
        let table = table.get_or_insert_with(|| {
            let mut table = HashTable::with_capacity(original.len());
            for place in 0..original.len() {
                let value = original.get(place);
                let hash = STATE.hash_one(value);
                // Of a value that is there twice the first place is taken.
                if table.find(hash, |other| original.get(*other as usize) == value).is_none() {
                    table.insert_unique(hash, place as u32, |other| STATE.hash_one(original.get(*other as usize)));
                }
            }
            table
        });
        let hash = STATE.hash_one(value);
        if let Some(place) = table.find(hash, |other| get(original, added, ends, *other as usize) == value) {
            return Some(*place);
        }
        let more = form.plain_bytes(value);
        if *bytes + more > DICTIONARY_BYTES_MAX {
            return None;
        }
        *bytes += more;
        let place = (original.len() + ends.len()) as u32;
        added.extend_from_slice(value);
        ends.push(added.len());
        table.insert_unique(hash, place, |other| STATE.hash_one(get(original, added, ends, *other as usize)));
        Some(place)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { added: self.added.len(), ends: self.ends.len(), bytes: self.bytes }
    }

    /// Takes the values out again that were added since.
    pub(super) fn back_to(&mut self, mark: Mark) {
        let first = self.original.len() + mark.ends;
        for place in first..self.len() {
            let hash = STATE.hash_one(self.get(place));
            if let Some(table) = &mut self.table
                && let Ok(entry) = table.find_entry(hash, |other| *other as usize == place)
            {
                entry.remove();
            }
        }
        self.added.truncate(mark.added);
        self.ends.truncate(mark.ends);
        self.bytes = mark.bytes;
    }

    /// All values as a page holds them.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.bytes);
        plain.extend_from_slice(self.original.plain());
        (self.original.len()..self.len()).for_each(|place| self.form.put(self.get(place), &mut plain));
        plain
    }
}

fn get<'v>(original: &'v Values, added: &'v [u8], ends: &[usize], place: usize) -> &'v [u8] {
    match place.checked_sub(original.len()) {
        None => original.get(place),
        Some(place) => {
            let start = place.checked_sub(1).map_or(0, |before| ends[before]);
            &added[start..ends[place]]
        }
    }
}
