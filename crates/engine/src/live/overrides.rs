//! Which rows have an override in force in which column, so that a query finds those that concern it without looking at all
//! that the log knows.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use stet_domain::Value;

use super::columns::Columns;
use crate::cell::{Ordered, ordered_value};
use crate::ordering::{EMPTY, is_text, key_of};

/// The rows with an override, for each column with the sort keys of the overriding values.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    /// By the place of the column; keys are those of an ascending order.
    columns: Vec<HashMap<u32, u64, FixedState>>,
}

/// Cells of a row that differ from the original by an override, by the places of their columns.
pub(super) type Cells = [(u32, Option<Value>)];

impl Overrides {
    /// Takes in that a row had some overrides and now has others.
    pub fn exchange(&mut self, columns: &Columns, row: u32, before: &Cells, after: &Cells) {
        if self.columns.is_empty() {
            self.columns.resize_with(columns.all.len(), HashMap::default);
        }
        for (column, _) in before {
            self.columns[*column as usize].remove(&row);
        }
        for (column, value) in after {
            let text = is_text(columns.all[*column as usize].column_type);
            let key = key_of(&value.as_ref().map_or(Ordered::Null, ordered_value), text, false);
            self.columns[*column as usize].insert(row, key);
        }
    }

    /// The rows with an override in a column, in no order.
    pub fn rows(&self, column: usize) -> impl Iterator<Item = u32> {
        self.columns.get(column).into_iter().flat_map(|rows| rows.keys().copied())
    }

    /// A sort key that is not above that of a row's override in a column; none without one.
    pub fn least_key(&self, row: u32, column: usize, descending: bool) -> Option<u64> {
        let key = *self.columns.get(column)?.get(&row)?;
        // Of an empty cell and of the greatest value in either direction.
        Some(match (descending, key) {
            (true, EMPTY) => 0,
            (true, key) => !key,
            (false, key) => key,
        })
    }

    /// About how many bytes this takes.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|rows| rows.allocation_size()).sum()
    }
}
