//! Erasures: which events an event with the action `erase` covers.
//!
//! An erasure takes texts and salts away and leaves their commitments. It is an event of the same log: its `action` is
//! `erase`, its `key` lists the ids of the events, all before its own, as numbers and ranges in ascending order
//! (`3,7-9,120`), its `column_name` lists the fields in the order of the encoding (`user,value`), and its `reason` says why
//! and is not itself erased. What is erased in a log without such an event is a change like any other.

use crate::event::{ERASE_ACTION, Event, Field, Personal};

/// Fields as bits, in the order of [`Field::ALL`].
pub type FieldMask = u8;

/// The most ranges that are remembered while a log is verified: erasures beyond them are reported as not logged.
pub const RANGES_MAX: usize = 4_000_000;

/// What an erasure covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// First and last id of each range, ascending.
    pub ranges: Vec<(u64, u64)>,
    /// Which fields.
    pub fields: FieldMask,
}

/// The bits of some fields.
pub fn mask(fields: impl IntoIterator<Item = Field>) -> FieldMask {
    fields.into_iter().fold(0, |mask, field| mask | 1 << field as u8)
}

/// The fields of an event that are erased.
pub fn erased_fields(event: &Event<'_>) -> FieldMask {
    mask(Field::ALL.into_iter().filter(|field| matches!(event.personal(*field), Personal::Erased(_))))
}

impl Erasure {
    /// What an event erases; none if it is no erasure, or not one that counts.
    pub fn of(event: &Event<'_>) -> Option<Erasure> {
        if event.action != ERASE_ACTION || !matches!(event.reason, Personal::Clear(..)) {
            return None;
        }
        let ranges = parse_ranges(&event.key)?;
        let fields = parse_fields(event.column_name.as_deref()?)?;
        ranges.last().is_some_and(|(_, last)| *last < event.id).then_some(Erasure { ranges, fields })
    }

    /// The `key` and the `column_name` of its event.
    pub fn texts(&self) -> (String, String) {
        let ranges: Vec<String> = self
            .ranges
            .iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
            .collect();
        let names: Vec<&str> =
            Field::ALL.into_iter().filter(|field| self.fields & mask([*field]) != 0).map(Field::name).collect();
        (ranges.join(","), names.join(","))
    }
}

fn parse_ranges(text: &str) -> Option<Vec<(u64, u64)>> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = (crate::checkpoint::decimal(first)?, crate::checkpoint::decimal(last)?);
        let ascends = ranges.last().is_none_or(|(_, before)| *before < range.0);
        if range.0 == 0 || range.0 > range.1 || !ascends {
            return None;
        }
        ranges.push(range);
    }
    Some(ranges)
}

fn parse_fields(text: &str) -> Option<FieldMask> {
    let mut fields = 0;
    for name in text.split(',') {
        let bit = mask([Field::ALL.into_iter().find(|field| field.name() == name)?]);
        // In the order of the encoding, each once: one spelling for each set.
        if bit <= fields {
            return None;
        }
        fields |= bit;
    }
    (fields != 0).then_some(fields)
}

/// What was found erased in a log and what its erasures cover, to be compared at its end.
#[derive(Debug, Default)]
pub(crate) struct Erasures {
    /// Ranges of events with the same fields erased, in log order.
    found: Vec<(u64, u64, FieldMask)>,
    logged: Vec<(u64, u64, FieldMask)>,
    /// Events that could not be remembered.
    forgotten: u64,
}

impl Erasures {
    /// Takes note of an event that is sealed.
    pub(crate) fn push(&mut self, event: &Event<'_>) {
        let erased = erased_fields(event);
        if erased != 0 {
            let full = self.found.len() >= RANGES_MAX;
            match self.found.last_mut() {
                Some((_, last, fields)) if *fields == erased && last.checked_add(1) == Some(event.id) => {
                    *last = event.id
                }
                _ if full => self.forgotten += 1,
                _ => self.found.push((event.id, event.id, erased)),
            }
        }
        if let Some(erasure) = Erasure::of(event)
            && self.logged.len() + erasure.ranges.len() <= RANGES_MAX
        {
            self.logged.extend(erasure.ranges.iter().map(|(first, last)| (*first, *last, erasure.fields)));
        }
    }

    /// How many events have something erased, all as logged; and the ids of those where it was not logged, the first
    /// `listed_max` of them.
    pub(crate) fn compare(mut self, listed_max: usize) -> (u64, Vec<u64>) {
        self.logged.sort_unstable();
        let mut logged = self.logged.iter().peekable();
        // For each field, how far the ranges that have begun reach.
        let mut reach = [0; Field::ALL.len()];
        let (mut erased, mut unlogged) = (0, Vec::new());
        for (first, last, fields) in &self.found {
            for id in *first..=*last {
                while let Some((_, end, fields)) = logged.next_if(|(start, _, _)| *start <= id) {
                    for field in Field::ALL.into_iter().filter(|field| fields & mask([*field]) != 0) {
                        reach[field as usize] = reach[field as usize].max(*end);
                    }
                }
                let covered = mask(Field::ALL.into_iter().filter(|field| reach[*field as usize] >= id));
                if fields & !covered == 0 {
                    erased += 1;
                } else if unlogged.len() < listed_max {
                    unlogged.push(id);
                }
            }
        }
        (erased, unlogged)
    }

    /// How many events with something erased were too many to remember.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
