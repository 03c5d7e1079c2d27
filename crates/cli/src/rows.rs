//! Rows of data as JSON: the same form as that of an export.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use stet_domain::ColumnType;

/// The most digits of a decimal that stands as a JSON number: readers may round a longer one.
const NUMBER_DIGITS_MAX: u8 = 15;

/// A row: an object of its cells, in the order of the columns.
pub(crate) struct RowView<'a> {
    /// The columns' names.
    pub(crate) names: &'a [&'a str],
    /// The columns' types.
    pub(crate) types: &'a [ColumnType],
    /// Canonical texts; none for null.
    pub(crate) cells: &'a [Option<String>],
}

impl Serialize for RowView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for ((name, column_type), cell) in self.names.iter().zip(self.types).zip(self.cells) {
            match cell {
                None => map.serialize_entry(name, &None::<()>)?,
                Some(text) => match bare(*column_type, text) {
                    Some(raw) => map.serialize_entry(name, &raw)?,
                    None => map.serialize_entry(name, text)?,
                },
            }
        }
        map.end()
    }
}

/// The text as it stands, where it is a JSON number or a truth value: nothing is rounded on the way.
fn bare(column_type: ColumnType, text: &str) -> Option<Box<RawValue>> {
    let is_bare = match column_type {
        ColumnType::Integer | ColumnType::Boolean | ColumnType::Number => true,
        ColumnType::Decimal { precision, .. } => precision <= NUMBER_DIGITS_MAX,
        _ => false,
    };
    // `NaN` and the infinities are no JSON and stay texts.
    is_bare.then(|| RawValue::from_string(text.to_owned()).ok()).flatten()
}

/// Whether a column of this type is aligned to the right.
pub(crate) fn is_right(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Integer | ColumnType::Number | ColumnType::Decimal { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_64_bits_are_exact_and_texts_stay_texts() {
        let types =
            [ColumnType::Integer, ColumnType::Number, ColumnType::Number, ColumnType::Text, ColumnType::Boolean];
        let cells = ["9223372036854775807", "1e+21", "NaN", "12", "true"].map(|text| Some(text.to_owned()));
        let row = RowView { names: &["z", "y", "x", "b", "a"], types: &types, cells: &cells };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"z":9223372036854775807,"y":1e+21,"x":"NaN","b":"12","a":true}"#
        );
    }
}
