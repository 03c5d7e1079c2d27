//! Rows as they are kept: each is a few bytes in one piece, since there can be millions of them.
//!
//! A record is the key, then what the log says of the row, then its cells. Numbers have seven bits in each byte, the least
//! significant first, and the eighth tells that more follow; signed ones alternate (0, -1, 1, -2). Event and date of a cell
//! are told by how far they lie before those of the row, which for most rows is not at all. Texts have their length before
//! them. A row with one edited cell takes about fifty bytes; as structs and texts of their own it would take five times
//! that.

use super::{CellState, ColumnIndex, Override, RowState, UserIndex};
use crate::event::{Action, EventId, LogDate};

/// Bits of the flags of a row; the first and the last action are in the bits above.
const DELETED: u8 = 1;
const CREATED: u8 = 2;
const ROW_EVENT: u8 = 4;
const FIRST_ACTION_SHIFT: u32 = 3;
const LAST_ACTION_SHIFT: u32 = 5;

/// Bits of the flags of a cell.
const OVERRIDE: u8 = 1;
const VALUE: u8 = 2;
const BASE: u8 = 4;

const ACTIONS: [Action; 4] = [Action::Update, Action::Create, Action::Delete, Action::Revert];

/// The cells of a row, in the bytes of its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    bytes: &'a [u8],
    last_event: EventId,
    last_date: LogDate,
}

/// A row to be written.
pub(super) struct Draft<'a> {
    pub row: RowState<'a>,
    /// What its cells become; sorted by column.
    pub cells: Vec<(ColumnIndex, CellState<'a>)>,
}

/// Writes the record of a row in the place of what is in `bytes`.
pub(super) fn write(bytes: &mut Vec<u8>, key: &str, draft: &Draft<'_>) {
    let Draft { row, cells } = draft;
    bytes.clear();
    text(bytes, key);
    let action = |action: Action| ACTIONS.iter().position(|known| *known == action).unwrap_or(0) as u8;
    let flags =
        flag(row.deleted, DELETED) | flag(row.created.is_some(), CREATED) | flag(row.row_event.is_some(), ROW_EVENT);
    let actions = (action(row.first_action) << FIRST_ACTION_SHIFT) | (action(row.last_action) << LAST_ACTION_SHIFT);
    bytes.push(flags | actions);
    signed(bytes, row.last_event.0);
    signed(bytes, row.last_date.micros());
    number(bytes, row.last_user.0.into());
    for event in row.created.iter().chain(&row.row_event) {
        signed(bytes, row.last_event.0.wrapping_sub(event.0));
    }
    for (column, cell) in cells {
        number(bytes, column.0.into());
        let (value, base) = cell.overriding.map_or((None, None), |over| (over.value, over.base));
        bytes.push(
            flag(cell.overriding.is_some(), OVERRIDE) | flag(value.is_some(), VALUE) | flag(base.is_some(), BASE),
        );
        signed(bytes, row.last_event.0.wrapping_sub(cell.event.0));
        signed(bytes, row.last_date.micros().wrapping_sub(cell.date.micros()));
        number(bytes, cell.user.0.into());
        for content in value.iter().chain(&base) {
            text(bytes, content);
        }
    }
}

/// The key of a record.
pub(super) fn key(mut record: &[u8]) -> &[u8] {
    take_text(&mut record).unwrap_or_default()
}

/// The key and the row of a record; none if it is no record.
pub(super) fn read(mut record: &[u8]) -> Option<(&str, RowState<'_>)> {
    let rest = &mut record;
    let key = std::str::from_utf8(take_text(rest)?).ok()?;
    let flags = take_byte(rest)?;
    let action = |shift: u32| ACTIONS[usize::from(flags >> shift) & 3];
    let last_event = EventId(take_signed(rest)?);
    let last_date = LogDate::from_micros(take_signed(rest)?);
    let last_user = UserIndex(take_number(rest)?.try_into().ok()?);
    let mut event = |flag: u8| -> Option<Option<EventId>> {
        Some(if flags & flag == 0 { None } else { Some(EventId(last_event.0.wrapping_sub(take_signed(rest)?))) })
    };
    let (created, row_event) = (event(CREATED)?, event(ROW_EVENT)?);
    let row = RowState {
        deleted: flags & DELETED != 0,
        created,
        row_event,
        first_action: action(FIRST_ACTION_SHIFT),
        last_action: action(LAST_ACTION_SHIFT),
        last_event,
        last_date,
        last_user,
        cells: Cells { bytes: record, last_event, last_date },
    };
    Some((key, row))
}

/// Whether bytes are a record to their end.
pub(super) fn is_whole(record: &[u8]) -> bool {
    let Some((_, row)) = read(record) else { return false };
    let mut cells = row.cells;
    while !cells.bytes.is_empty() {
        if cells.next_cell().is_none() {
            return false;
        }
    }
    true
}

impl<'a> Cells<'a> {
    /// No cells.
    pub(super) fn none() -> Cells<'a> {
        Cells { bytes: &[], last_event: EventId(0), last_date: LogDate::from_micros(0) }
    }

    fn next_cell(&mut self) -> Option<(ColumnIndex, CellState<'a>)> {
        let rest = &mut self.bytes;
        let column = ColumnIndex(take_number(rest)?.try_into().ok()?);
        let flags = take_byte(rest)?;
        let event = EventId(self.last_event.0.wrapping_sub(take_signed(rest)?));
        let date = LogDate::from_micros(self.last_date.micros().wrapping_sub(take_signed(rest)?));
        let user = UserIndex(take_number(rest)?.try_into().ok()?);
        let mut content = |flag: u8| -> Option<Option<&'a str>> {
            Some(if flags & flag == 0 { None } else { Some(std::str::from_utf8(take_text(rest)?).ok()?) })
        };
        let (value, base) = (content(VALUE)?, content(BASE)?);
        let overriding = (flags & OVERRIDE != 0).then_some(Override { value, base });
        Some((column, CellState { event, date, user, overriding }))
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = (ColumnIndex, CellState<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() { None } else { self.next_cell() }
    }
}

fn flag(is: bool, flag: u8) -> u8 {
    if is { flag } else { 0 }
}

fn number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn signed(bytes: &mut Vec<u8>, signed: i64) {
    number(bytes, ((signed << 1) ^ (signed >> 63)).cast_unsigned());
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    number(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = take_byte(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let number = take_number(bytes)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_sizes_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        let numbers = [0, 1, -1, 63, -64, 64, 127, 128, 1 << 40, i64::MAX, i64::MIN];
        numbers.iter().for_each(|number| signed(&mut bytes, *number));
        let mut rest = bytes.as_slice();
        for expected in numbers {
            assert_eq!(take_signed(&mut rest), Some(expected));
        }
        assert_eq!(take_signed(&mut rest), None);
        assert_eq!(take_number(&mut [0xff; 12].as_slice()), None);
    }

    #[test]
    fn a_record_that_is_cut_off_is_none() {
        let row = RowState {
            deleted: true,
            created: Some(EventId(3)),
            row_event: Some(EventId(9)),
            first_action: Action::Create,
            last_action: Action::Delete,
            last_event: EventId(9),
            last_date: LogDate::from_micros(1_700_000_000_000_000),
            last_user: UserIndex(2),
            cells: Cells::none(),
        };
        let overriding = Some(Override { value: Some("größer"), base: None });
        let cell = CellState { event: EventId(7), date: LogDate::from_micros(-5), user: UserIndex(0), overriding };
        let mut bytes = Vec::new();
        write(&mut bytes, "10", &Draft { row, cells: vec![(ColumnIndex(300), cell)] });
        assert!(is_whole(&bytes));
        let (key, read_row) = read(&bytes).unwrap();
        assert_eq!((key, super::key(&bytes)), ("10", b"10".as_slice()));
        assert_eq!(
            (read_row.deleted, read_row.created, read_row.row_event),
            (true, Some(EventId(3)), Some(EventId(9)))
        );
        assert_eq!((read_row.first_action, read_row.last_action), (Action::Create, Action::Delete));
        assert_eq!(read_row.cells().collect::<Vec<_>>(), [(ColumnIndex(300), cell)]);
        // Behind the row's own part, what is left may be a record with fewer cells.
        for length in 0..bytes.len() {
            assert!(!is_whole(&bytes[..length]) || read(&bytes[..length]).unwrap().1.cells().count() == 0);
        }
    }
}
