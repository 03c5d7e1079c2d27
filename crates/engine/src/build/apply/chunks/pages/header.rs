//! The headers of pages (Thrift, compact protocol): where pages lie in a chunk, without taking anything out of them.

/// Structures in structures that are passed over at most.
const DEPTH_MAX: u32 = 8;

/// What kind of page follows a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    Dictionary,
    /// Levels and values compressed together.
    DataV1,
    /// Values compressed without their levels.
    DataV2,
    Other,
}

/// A page's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) kind: PageKind,
    /// What the page takes in the file behind its header.
    pub(super) compressed: usize,
    pub(super) uncompressed: usize,
    /// Values with the nulls among them.
    pub(super) values: usize,
    /// The numbers of Parquet's encodings: of the values, and of the levels that say what is null.
    pub(super) encoding: i64,
    pub(super) levels_encoding: i64,
}

/// Numbers of encodings.
pub(super) const PLAIN: i64 = 0;
pub(super) const PLAIN_DICTIONARY: i64 = 2;
pub(super) const RLE: i64 = 3;
pub(super) const RLE_DICTIONARY: i64 = 8;

/// Reads the header at the start of `bytes`, and gives how long it is; none when there is none.
pub(super) fn read(bytes: &[u8]) -> Option<(PageHeader, usize)> {
    let mut input = Input { bytes, at: 0 };
    let mut header = PageHeader {
        kind: PageKind::Other,
        compressed: 0,
        uncompressed: 0,
        values: 0,
        encoding: -1,
        levels_encoding: RLE,
    };
    let (mut kind, mut last) = (-1, 0);
    let (mut has_sizes, mut has_own) = (0, -1);
    while let Some((kind_of_field, field)) = input.field(last)? {
        last = field;
        match (field, kind_of_field) {
            (1, INTEGER_32) => kind = input.integer()?,
            (2, INTEGER_32) => {
                header.uncompressed = usize::try_from(input.integer()?).ok()?;
                has_sizes |= 1;
            }
            (3, INTEGER_32) => {
                header.compressed = usize::try_from(input.integer()?).ok()?;
                has_sizes |= 2;
            }
            (5 | 7 | 8, STRUCT) => {
                has_own = field;
                input.own(field, &mut header)?;
            }
            _ => input.skip(kind_of_field, 0)?,
        }
    }
    header.kind = match (kind, has_own) {
        (0, 5) => PageKind::DataV1,
        (2, 7) => PageKind::Dictionary,
        (3, 8) => PageKind::DataV2,
        (0 | 2 | 3, _) => return None,
        _ => PageKind::Other,
    };
    (has_sizes == 3).then_some((header, input.at))
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const INTEGER_32: u8 = 5;
const INTEGER_64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    /// The header of one kind of page: those of data pages of both versions and of dictionaries.
    fn own(&mut self, kind: i64, header: &mut PageHeader) -> Option<()> {
        let mut last = 0;
        while let Some((kind_of_field, field)) = self.field(last)? {
            last = field;
            match (kind, field, kind_of_field) {
                (_, 1, INTEGER_32) => header.values = usize::try_from(self.integer()?).ok()?,
                (5 | 7, 2, INTEGER_32) | (8, 4, INTEGER_32) => header.encoding = self.integer()?,
                (5, 3, INTEGER_32) => header.levels_encoding = self.integer()?,
                _ => self.skip(kind_of_field, 0)?,
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field's type and number; the inner none is the end of the structure.
    #[allow(clippy::option_option, reason = "the outer one is the end of the bytes")]
    fn field(&mut self, last: i64) -> Option<Option<(u8, i64)>> {
        let head = self.byte()?;
        if head & 0x0f == 0 {
            return Some(None);
        }
        let field = match head >> 4 {
            0 => self.integer()?,
            delta => last.checked_add(i64::from(delta))?,
        };
        Some(Some((head & 0x0f, field)))
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        self.at = end;
        (end <= self.bytes.len()).then_some(())
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.pass(1),
            4..=INTEGER_64 => self.varint().map(drop),
            DOUBLE => self.pass(8),
            BINARY => {
                let length = self.varint()?;
                self.pass(length)
            }
            LIST | SET => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                (0..count).try_for_each(|_| self.item(head & 0x0f, depth))
            }
            MAP => {
                let count = self.varint()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..count).try_for_each(|_| self.item(kinds >> 4, depth).and_then(|()| self.item(kinds & 0x0f, depth)))
            }
            STRUCT => {
                let mut last = 0;
                while let Some((kind, field)) = self.field(last)? {
                    last = field;
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// An item of a list: unlike a field, one that is true or false takes a byte.
    fn item(&mut self, kind: u8, depth: u32) -> Option<()> {
        if matches!(kind, TRUE | FALSE) { self.pass(1) } else { self.skip(kind, depth + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_data_page_with_statistics_is_read_and_measured() {
        // Type 0, sizes 300 and 20, then a header of a data page with 7 values, RLE_DICTIONARY, levels RLE, and statistics.
        let bytes = [
            0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x28, 0x2c, 0x15, 0x0e, 0x15, 0x10, 0x15, 0x06, 0x15, 0x06, 0x1c, 0x18,
            0x02, b'a', b'b', 0x00, 0x00, 0x00, 99,
        ];
        let header = PageHeader {
            kind: PageKind::DataV1,
            compressed: 20,
            uncompressed: 300,
            values: 7,
            encoding: RLE_DICTIONARY,
            levels_encoding: RLE,
        };
        assert_eq!(read(&bytes), Some((header, bytes.len() - 1)));
        assert!((0..bytes.len() - 1).all(|end| read(&bytes[..end]).is_none()));
    }
}
