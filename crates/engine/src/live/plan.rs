//! A query made ready to be run: names resolved, values read as the types of their columns.

use arrow_array::Array;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use stet_domain::{ColumnType, Login, Value};

use super::columns::{Columns, LiveColumn};
use super::query::{FILTER_BYTES_MAX, FILTER_VALUES_MAX, FILTERS_MAX, OrderKey, SORT_COLUMNS_MAX, StateFilter, Test};
use super::search::cells_with;
use crate::cell::{CellReader, Ordered, ordered_value};
use crate::error::EngineError;
use crate::ordering::{Needle, compare_folded, order_number};

type TextSet = HashSet<String, FixedState>;

/// A query made ready to be run.
#[derive(Debug)]
pub(super) struct Plan {
    /// The column of each test and the test.
    pub filters: Vec<(usize, Predicate)>,
    pub states: Vec<StateFilter>,
    pub me: Option<Login>,
    pub sort: Vec<SortColumn>,
}

impl Plan {
    /// The columns that filters and sorting look at.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        let filters = self.filters.iter().map(|(column, _)| *column);
        filters.chain(self.sort.iter().map(|by| by.column))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SortColumn {
    pub column: usize,
    pub descending: bool,
}

/// A test on one cell.
#[derive(Debug)]
pub(super) enum Predicate {
    Blank,
    NotBlank,
    /// On a part of the shown text, or on the label of a linked key, which the set then holds.
    Part {
        needle: Needle,
        place: PartPlace,
        negative: bool,
        labelled: Option<TextSet>,
    },
    /// Texts that are equal as they are.
    Texts {
        texts: TextSet,
        blank: bool,
        negative: bool,
    },
    /// Values that are equal by their order numbers, sorted.
    Numbers {
        numbers: Vec<i128>,
        blank: bool,
        negative: bool,
    },
    TextRange {
        from: Option<String>,
        to: Option<String>,
    },
    NumberRange {
        from: i128,
        to: i128,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartPlace {
    Anywhere,
    Start,
    End,
}

/// A cell to test: in an array, or as an override.
pub(super) enum CellRef<'r, 'a> {
    Array(&'r CellReader<'a>, usize),
    Value(Option<&'r Value>),
}

impl Plan {
    pub fn new(columns: &Columns, key: &OrderKey) -> Result<Plan, EngineError> {
        let query = &key.query;
        if query.filters.len() > FILTERS_MAX {
            return Err(EngineError::Request(format!("at most {FILTERS_MAX} filters can be set at once")));
        }
        if query.sort.len() > SORT_COLUMNS_MAX {
            return Err(EngineError::Request(format!("a table can be sorted by at most {SORT_COLUMNS_MAX} columns")));
        }
        let filters = query
            .filters
            .iter()
            .map(|filter| {
                let column = columns.requested(&filter.column)?;
                Ok((column, Predicate::new(&columns.all[column], &filter.test)?))
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        let sort = query
            .sort
            .iter()
            .map(|sort| Ok(SortColumn { column: columns.requested(&sort.column)?, descending: sort.descending }))
            .collect::<Result<Vec<_>, EngineError>>()?;
        Ok(Plan { filters, states: query.states.clone(), me: key.me.clone(), sort })
    }

    /// Whether the result can change when this column of a row changes.
    pub fn looks_at(&self, column: usize) -> bool {
        self.filters.iter().any(|(other, _)| *other == column) || self.sort.iter().any(|sort| sort.column == column)
    }
}

impl Predicate {
    fn new(column: &LiveColumn, test: &Test) -> Result<Predicate, EngineError> {
        let part = |text: &String, place, negative| -> Result<Predicate, EngineError> {
            check_length(column, text)?;
            let needle = Needle::new(text);
            let labelled = column.link.as_ref().map(|link| {
                link.rows()
                    .filter(|row| row.label.is_some_and(|label| part_matches(&needle, place, label)))
                    .map(|row| row.key.to_owned())
                    .collect()
            });
            Ok(Predicate::Part { needle, place, negative, labelled })
        };
        match test {
            Test::Contains(text) => part(text, PartPlace::Anywhere, false),
            Test::NotContains(text) => part(text, PartPlace::Anywhere, true),
            Test::StartsWith(text) => part(text, PartPlace::Start, false),
            Test::EndsWith(text) => part(text, PartPlace::End, false),
            Test::Equals(text) => Predicate::equal(column, &[Some(text.clone())], false),
            Test::NotEquals(text) => Predicate::equal(column, &[Some(text.clone())], true),
            Test::In(values) => Predicate::equal(column, values, false),
            Test::Between { from, to } => Predicate::between(column, from.as_deref(), to.as_deref()),
            Test::Blank => Ok(Predicate::Blank),
            Test::NotBlank => Ok(Predicate::NotBlank),
        }
    }

    fn equal(column: &LiveColumn, values: &[Option<String>], negative: bool) -> Result<Predicate, EngineError> {
        if values.len() > FILTER_VALUES_MAX {
            return Err(EngineError::Request(format!("a filter takes at most {FILTER_VALUES_MAX} values")));
        }
        let blank = values.iter().any(Option::is_none);
        let texts = values.iter().flatten();
        if matches!(column.column_type, ColumnType::Text | ColumnType::Other) {
            let texts =
                texts.map(|text| check_length(column, text).map(|()| text.clone())).collect::<Result<_, _>>()?;
            return Ok(Predicate::Texts { texts, blank, negative });
        }
        let mut numbers = texts.map(|text| read_number(column, text)).collect::<Result<Vec<_>, _>>()?;
        numbers.sort_unstable();
        Ok(Predicate::Numbers { numbers, blank, negative })
    }

    fn between(column: &LiveColumn, from: Option<&str>, to: Option<&str>) -> Result<Predicate, EngineError> {
        if from.is_none() && to.is_none() {
            let message = format!("the range for `{}` has neither a start nor an end: give one", column.name);
            return Err(EngineError::Request(message));
        }
        if matches!(column.column_type, ColumnType::Text | ColumnType::Other) {
            for text in from.iter().chain(&to) {
                check_length(column, text)?;
            }
            return Ok(Predicate::TextRange { from: from.map(str::to_owned), to: to.map(str::to_owned) });
        }
        let from = from.map(|text| read_number(column, text)).transpose()?;
        let to = to.map(|text| read_number(column, text)).transpose()?;
        // Zero and negative zero are two values, but no range begins or ends between them.
        let is_number = column.column_type == ColumnType::Number;
        let from = if is_number && from == Some(ZERO) { Some(NEGATIVE_ZERO) } else { from };
        let to = if is_number && to == Some(NEGATIVE_ZERO) { Some(ZERO) } else { to };
        Ok(Predicate::NumberRange { from: from.unwrap_or(i128::MIN), to: to.unwrap_or(i128::MAX) })
    }

    /// The cells of an array that pass, in ascending order, when they can be found all at once faster than one by one.
    pub fn find_all(&self, array: &dyn Array) -> Option<Vec<u32>> {
        match self {
            Predicate::Part { needle, place: PartPlace::Anywhere, negative, labelled: None } => {
                let found = cells_with(array, needle)?;
                if !negative {
                    return Some(found);
                }
                let mut found = found.into_iter().peekable();
                Some((0..array.len() as u32).filter(|cell| found.next_if_eq(cell).is_none()).collect())
            }
            _ => None,
        }
    }

    /// Whether the cell passes. `text` is room for texts.
    pub fn test(&self, cell: &CellRef<'_, '_>, text: &mut String) -> bool {
        match self {
            Predicate::Blank => cell.is_null(),
            Predicate::NotBlank => !cell.is_null(),
            Predicate::Part { needle, place, negative, labelled } => {
                let found = cell.with_text(text, |text| {
                    part_matches(needle, *place, text) || labelled.as_ref().is_some_and(|keys| keys.contains(text))
                });
                found.unwrap_or(false) != *negative
            }
            Predicate::Texts { texts, blank, negative } => {
                cell.with_text(text, |text| texts.contains(text)).unwrap_or(*blank) != *negative
            }
            Predicate::Numbers { numbers, blank, negative } => {
                let found = match cell.ordered() {
                    Ordered::Null => *blank,
                    value => order_number(&value).is_some_and(|number| numbers.binary_search(&number).is_ok()),
                };
                found != *negative
            }
            Predicate::TextRange { from, to } => cell
                .with_text(text, |text| {
                    from.as_deref().is_none_or(|from| compare_folded(text, from).is_ge())
                        && to.as_deref().is_none_or(|to| compare_folded(text, to).is_le())
                })
                .unwrap_or(false),
            Predicate::NumberRange { from, to } => match cell.ordered() {
                // What is not a number is in no range.
                Ordered::Float(number) if number.is_nan() => false,
                value => order_number(&value).is_some_and(|number| (from..=to).contains(&&number)),
            },
        }
    }
}

impl CellRef<'_, '_> {
    fn is_null(&self) -> bool {
        match self {
            CellRef::Array(reader, row) => reader.is_null(*row),
            CellRef::Value(value) => value.is_none(),
        }
    }

    fn with_text<T>(&self, room: &mut String, look: impl FnOnce(&str) -> T) -> Option<T> {
        match self {
            CellRef::Array(reader, row) => {
                if let Some(text) = reader.str(*row) {
                    return Some(look(text));
                }
                room.clear();
                reader.write(*row, room).then(|| look(room))
            }
            CellRef::Value(Some(Value::Text(text))) => Some(look(text)),
            CellRef::Value(Some(value)) => Some(look(&value.to_string())),
            CellRef::Value(None) => None,
        }
    }

    fn ordered(&self) -> Ordered<'_> {
        match self {
            CellRef::Array(reader, row) => reader.ordered(*row),
            CellRef::Value(value) => value.map_or(Ordered::Null, ordered_value),
        }
    }
}

/// The order number of zero with a floating point.
const ZERO: i128 = 0;

/// The order number of negative zero.
const NEGATIVE_ZERO: i128 = -1;

fn part_matches(needle: &Needle, place: PartPlace, text: &str) -> bool {
    match place {
        PartPlace::Anywhere => needle.is_in(text),
        PartPlace::Start => needle.starts(text),
        PartPlace::End => needle.ends(text),
    }
}

fn read_number(column: &LiveColumn, text: &str) -> Result<i128, EngineError> {
    check_length(column, text)?;
    let wrong =
        |error: String| EngineError::Request(format!("the filter on `{}` cannot be used: {error}", column.name));
    let value = column.column_type.read(text).map_err(|error| wrong(error.to_string()))?;
    order_number(&ordered_value(&value)).ok_or_else(|| wrong(format!("`{text}` is too far from the present")))
}

fn check_length(column: &LiveColumn, text: &str) -> Result<(), EngineError> {
    if text.len() > FILTER_BYTES_MAX {
        let message = format!("the value of the filter on `{}` is longer than {FILTER_BYTES_MAX} bytes", column.name);
        return Err(EngineError::Request(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_the_order_numbers_that_ranges_take_them_to_have() {
        assert_eq!(order_number(&Ordered::Float(0.0)), Some(ZERO));
        assert_eq!(order_number(&Ordered::Float(-0.0)), Some(NEGATIVE_ZERO));
    }
}
