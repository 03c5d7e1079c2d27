//! Nested values as JSON: lists, structures and maps.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;

use super::reader::CellReader;
use crate::write::push_json_text;

/// A reader of an array of nested values.
pub(super) enum Nested<'a> {
    /// Where the items of each row start, with one more at the end.
    List(Offsets<'a>, Box<CellReader<'a>>),
    /// So many items for each row.
    FixedList(usize, Box<CellReader<'a>>),
    /// Fields with their names.
    Structure(Vec<(String, CellReader<'a>)>),
    /// Keys and values.
    Map(Offsets<'a>, Box<(CellReader<'a>, CellReader<'a>)>),
}

/// Where the items of rows start.
pub(super) enum Offsets<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
}

impl Offsets<'_> {
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        // Arrow has checked that none is negative.
        let at = |row: usize| match self {
            Offsets::Small(offsets) => usize::try_from(offsets[row]).unwrap_or(0),
            Offsets::Large(offsets) => usize::try_from(offsets[row]).unwrap_or(0),
        };
        at(row)..at(row + 1)
    }
}

impl<'a> Nested<'a> {
    /// A reader of an array, if it is a nested one.
    pub(super) fn of(array: &'a dyn Array) -> Option<Nested<'a>> {
        Some(match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Nested::List(Offsets::Small(list.value_offsets()), reader(list.values().as_ref()))
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                Nested::List(Offsets::Large(list.value_offsets()), reader(list.values().as_ref()))
            }
            DataType::FixedSizeList(_, _) => {
                let list = array.as_fixed_size_list();
                Nested::FixedList(usize::try_from(list.value_length()).ok()?, reader(list.values().as_ref()))
            }
            DataType::Struct(fields) => {
                let names = fields.iter().map(|field| field.name().clone());
                let columns = array.as_struct().columns().iter().map(|column| CellReader::new(column.as_ref()));
                Nested::Structure(names.zip(columns).collect())
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let (keys, values) = (map.keys().as_ref(), map.values().as_ref());
                let entries = Box::new((CellReader::new(keys), CellReader::new(values)));
                Nested::Map(Offsets::Small(map.value_offsets()), entries)
            }
            _ => return None,
        })
    }

    /// Writes the value of a row, which is not null, as JSON without spaces.
    pub(super) fn write_json(&self, row: usize, out: &mut String) {
        match self {
            Nested::List(offsets, items) => push_list(offsets.range(row), items, out),
            Nested::FixedList(count, items) => push_list(row * count..(row + 1) * count, items, out),
            Nested::Structure(fields) => {
                out.push('{');
                for (place, (name, field)) in fields.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    push_json_text(out, name);
                    out.push(':');
                    field.write_json(row, out);
                }
                out.push('}');
            }
            Nested::Map(offsets, entries) => {
                out.push('{');
                for (place, entry) in offsets.range(row).enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    push_json_text(out, &entries.0.text(entry).unwrap_or_default());
                    out.push(':');
                    entries.1.write_json(entry, out);
                }
                out.push('}');
            }
        }
    }
}

fn reader(array: &dyn Array) -> Box<CellReader<'_>> {
    Box::new(CellReader::new(array))
}

fn push_list(range: std::ops::Range<usize>, items: &CellReader<'_>, out: &mut String) {
    out.push('[');
    for (place, item) in range.enumerate() {
        if place > 0 {
            out.push(',');
        }
        items.write_json(item, out);
    }
    out.push(']');
}
