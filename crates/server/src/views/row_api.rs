//! The row API for scripts: keys as objects, arrays or plain values, and values of any plain JSON type.
//!
//! Numbers are taken as they are written, never through a float, so that 64-bit integers survive.

use std::collections::BTreeMap;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use stet_app::ExportFormat;
use stet_domain::Key;
use stet_domain::project::Column;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::given;
use crate::error::Problem;

/// A row to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// An object of columns and values, an array in the order of the key columns, or the value of the one key column.
    #[serde(rename = "primaryKeys")]
    #[schema(value_type = Value)]
    pub(crate) primary_keys: Box<RawValue>,
    /// Values by column: texts, numbers, booleans or null.
    #[serde(default, rename = "columnValues", deserialize_with = "each_once")]
    #[schema(value_type = Object)]
    pub(crate) column_values: BTreeMap<String, Box<RawValue>>,
    /// Why, in the author's words.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// The same request sent twice with the same id is saved once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) event_id: Option<Uuid>,
}

/// A row to read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadBody {
    /// An object of columns and values, an array in the order of the key columns, or the value of the one key column.
    #[serde(rename = "primaryKeys")]
    #[schema(value_type = Value)]
    pub(crate) primary_keys: Box<RawValue>,
}

/// A cell to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateBody {
    /// An object of columns and values, an array in the order of the key columns, or the value of the one key column.
    #[serde(rename = "primaryKeys")]
    #[schema(value_type = Value)]
    pub(crate) primary_keys: Box<RawValue>,
    pub(crate) column: String,
    /// A text, number or boolean, or null to empty the cell.
    #[schema(value_type = Value)]
    pub(crate) value: Box<RawValue>,
    /// The last event on the cell that the author knew; null for none. Without it the edit is made over whatever is there.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>)]
    pub(crate) seen: Option<Option<i64>>,
    /// Why, in the author's words.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// The same request sent twice with the same id is saved once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) event_id: Option<Uuid>,
}

/// A row to delete.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteBody {
    /// An object of columns and values, an array in the order of the key columns, or the value of the one key column.
    #[serde(rename = "primaryKeys")]
    #[schema(value_type = Value)]
    pub(crate) primary_keys: Box<RawValue>,
    /// The last event of the row that the author knew; null for none. Without it the row is deleted whatever happened.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>)]
    pub(crate) seen: Option<Option<i64>>,
    /// Why, in the author's words.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// The same request sent twice with the same id is saved once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) event_id: Option<Uuid>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RowAnswerView {
    /// In plain words.
    pub(crate) msg: String,
    /// `saved`, or `unchanged` when the cell had this value already and nothing was logged.
    #[schema(examples("saved", "unchanged"))]
    pub(crate) status: &'static str,
    /// The event in the editlog; null when nothing was logged.
    pub(crate) event: Option<i64>,
    #[serde(rename = "primaryKeys")]
    pub(crate) primary_keys: BTreeMap<String, String>,
    /// The row as it is now; null when it was deleted.
    pub(crate) row: Option<BTreeMap<String, Option<String>>>,
}

/// In which form all edits are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EditsQuery {
    #[serde(default)]
    #[param(inline)]
    pub(crate) format: EditsFormat,
}

/// The form of a download of edits.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EditsFormat {
    #[default]
    Csv,
    /// One array of objects.
    Json,
    /// One object on each line.
    Jsonl,
    Parquet,
}

impl EditsFormat {
    /// The exporter, none for the CSV of the row API; and the media type.
    pub(crate) fn kind(self) -> (Option<ExportFormat>, &'static str) {
        match self {
            EditsFormat::Csv => (None, "text/csv; charset=utf-8; header=present"),
            EditsFormat::Json => (Some(ExportFormat::Json), "application/json"),
            EditsFormat::Jsonl => (Some(ExportFormat::Jsonl), "application/jsonl"),
            EditsFormat::Parquet => (Some(ExportFormat::Parquet), "application/vnd.apache.parquet"),
        }
    }

    /// The ending of its file's name.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            EditsFormat::Csv => "csv",
            EditsFormat::Json => "json",
            EditsFormat::Jsonl => "jsonl",
            EditsFormat::Parquet => "parquet",
        }
    }
}

/// Whose label.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LabelQuery {
    /// The key in the linked dataset.
    pub(crate) key: String,
}

/// What to look up.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LookupQuery {
    /// A part of what is looked for; the first rows without it.
    #[serde(default)]
    pub(crate) term: String,
    /// How many, 100 at most.
    #[serde(default = "default_options")]
    pub(crate) limit: usize,
}

fn default_options() -> usize {
    20
}

/// A key as a script gives it.
pub(crate) struct RowKey {
    /// The canonical texts of the key columns.
    pub(crate) parts: BTreeMap<String, String>,
    /// The key of the row.
    pub(crate) key: Key,
}

impl RowKey {
    /// Reads the primary keys of a request.
    ///
    /// # Errors
    /// A 422 problem that says what the key should be.
    pub(crate) fn read(columns: &[Column], raw: &RawValue) -> Result<RowKey, Problem> {
        let values: Vec<Option<String>> = match raw.get().as_bytes().first() {
            Some(b'{') => {
                let Each(mut given) = parse(raw)?;
                let values = columns
                    .iter()
                    .map(|column| match given.remove(&column.name) {
                        Some(value) => scalar(&value, &column.name),
                        None => Err(refused(format!("`primaryKeys` needs a value for `{}`", column.name))),
                    })
                    .collect::<Result<_, Problem>>()?;
                if let Some(name) = given.keys().next() {
                    return Err(refused(format!("`{name}` in `primaryKeys` is no key column: {}", names(columns))));
                }
                values
            }
            Some(b'[') => {
                let given: Vec<Box<RawValue>> = parse(raw)?;
                if given.len() != columns.len() {
                    return Err(refused(format!(
                        "`primaryKeys` has {} values, and the key has {}: {}",
                        given.len(),
                        columns.len(),
                        names(columns)
                    )));
                }
                given
                    .iter()
                    .zip(columns)
                    .map(|(value, column)| scalar(value, &column.name))
                    .collect::<Result<_, _>>()?
            }
            _ if columns.len() == 1 => vec![scalar(raw, "primaryKeys")?],
            _ => return Err(refused(format!("`primaryKeys` needs the values of several columns: {}", names(columns)))),
        };
        let mut texts = Vec::with_capacity(columns.len());
        for (column, value) in columns.iter().zip(values) {
            let value = value.ok_or_else(|| refused(format!("the key `{}` cannot be null", column.name)))?;
            let text = column
                .column_type
                .canonical(&value)
                .map_err(|error| refused(format!("the key `{}`: {error}", column.name)))?;
            texts.push(text);
        }
        let key = Key::from_parts(&texts);
        key.parts(texts.len()).map_err(|error| refused(error.to_string()))?;
        Ok(RowKey { parts: columns.iter().map(|column| column.name.clone()).zip(texts).collect(), key })
    }
}

/// An object in which each name occurs once: of two values for one column nobody knows which was meant.
#[derive(Deserialize)]
#[serde(transparent)]
struct Each(#[serde(deserialize_with = "each_once")] BTreeMap<String, Box<RawValue>>);

fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Box<RawValue>>, D::Error> {
    struct Once;
    impl<'de> Visitor<'de> for Once {
        type Value = BTreeMap<String, Box<RawValue>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of columns and values")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            let mut values = BTreeMap::new();
            while let Some((name, value)) = object.next_entry::<String, Box<RawValue>>()? {
                if values.contains_key(&name) {
                    return Err(serde::de::Error::custom(format!("`{name}` is given twice: give each column once")));
                }
                values.insert(name, value);
            }
            Ok(values)
        }
    }
    deserializer.deserialize_map(Once)
}

/// The text of a plain JSON value as it was written; none for null.
///
/// # Errors
/// A 422 problem when it is an object or an array.
pub(crate) fn scalar(raw: &RawValue, name: &str) -> Result<Option<String>, Problem> {
    match raw.get().as_bytes().first() {
        Some(b'"') => parse(raw).map(Some),
        Some(b'n') => Ok(None),
        Some(b'[' | b'{') | None => {
            Err(Problem::refused(format!("`{name}` has to be a text, a number, true, false or null"))
                .with("rule", "type"))
        }
        Some(_) => Ok(Some(raw.get().to_owned())),
    }
}

fn parse<T: serde::de::DeserializeOwned>(raw: &RawValue) -> Result<T, Problem> {
    serde_json::from_str(raw.get()).map_err(|error| crate::extract::unreadable(&error))
}

fn refused(detail: String) -> Problem {
    Problem::refused(detail).with("rule", "key")
}

fn names(columns: &[Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| format!("`{}`", column.name)).collect();
    format!("use {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use stet_domain::ColumnType;

    use super::*;

    fn key(columns: &[(&str, ColumnType)], json: &str) -> Result<String, String> {
        let columns: Vec<Column> = columns
            .iter()
            .map(|(name, column_type)| Column { name: (*name).to_owned(), column_type: *column_type })
            .collect();
        let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
        RowKey::read(&columns, &raw).map(|key| key.key.to_string()).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_key_can_be_an_object_an_array_or_a_plain_value() {
        let one = [("id", ColumnType::Integer)];
        for json in ["9007199254740993", "\"9007199254740993\"", "[9007199254740993]", "{\"id\": 9007199254740993}"] {
            assert_eq!(key(&one, json).as_deref(), Ok("9007199254740993"), "{json}");
        }
        let two = [("id", ColumnType::Integer), ("day", ColumnType::Date)];
        for json in ["[1, \"2022-12-21\"]", "{\"day\": \"2022-12-21\", \"id\": 1}"] {
            assert_eq!(key(&two, json).as_deref(), Ok("[\"1\",\"2022-12-21\"]"), "{json}");
        }
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused() {
        let two = [("id", ColumnType::Integer), ("name", ColumnType::Text)];
        for json in [
            "1",
            "[1]",
            "[1,2,3]",
            "{\"id\":1}",
            "{\"id\":1,\"name\":null}",
            "{\"id\":1,\"name\":\"a\",\"x\":1}",
            "[1,[2]]",
            "[1.5,\"a\"]",
            "null",
        ] {
            assert!(key(&two, json).is_err(), "{json}");
        }
    }
}
