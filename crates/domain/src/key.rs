//! Row keys: the text by which events and original rows find each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest key, in bytes of its text.
pub const KEY_BYTES_MAX: usize = 8 * 1024;

/// The key of a row. With one primary-key column it is that column's canonical text; with several it is a JSON array
/// of those texts in the configured order, without spaces: `["10","2022-12-21"]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

/// A key's text that does not fit the primary key of its dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The primary key has several columns and the text is not a JSON array of as many texts.
    #[error(
        "`{key}` is not a key of {columns} columns: write it as a JSON array of {columns} texts, such as [\"a\",\"b\"]"
    )]
    NotAnArray { key: String, columns: usize },
    /// The key's text is longer than [`KEY_BYTES_MAX`].
    #[error("a key of {bytes} bytes is too long: the longest is {KEY_BYTES_MAX}")]
    TooLong { bytes: usize },
}

impl Key {
    /// The key made of the canonical texts of the primary-key columns, in their configured order.
    pub fn from_parts<S: AsRef<str>>(parts: &[S]) -> Key {
        match parts {
            [one] => Key(one.as_ref().to_owned()),
            many => {
                let mut text = String::with_capacity(many.iter().map(|p| p.as_ref().len() + 3).sum::<usize>() + 2);
                write_key(&mut text, many.iter().map(AsRef::as_ref));
                Key(text)
            }
        }
    }

    /// A key as it stands in an editlog or arrives from a client; [`Key::parts`] checks it.
    pub fn from_text(text: impl Into<String>) -> Key {
        Key(text.into())
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The texts of the primary-key columns.
    ///
    /// # Errors
    /// With several columns, when the text is not a JSON array of as many texts, or is longer than [`KEY_BYTES_MAX`].
    pub fn parts(&self, columns: usize) -> Result<Vec<String>, KeyError> {
        key_parts(&self.0, columns)
    }
}

/// As [`Key::parts`], of a key's text.
///
/// # Errors
/// See [`Key::parts`].
pub fn key_parts(key: &str, columns: usize) -> Result<Vec<String>, KeyError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: key.len() });
    }
    if columns == 1 {
        return Ok(vec![key.to_owned()]);
    }
    match serde_json::from_str::<Vec<String>>(key) {
        Ok(parts) if parts.len() == columns => Ok(parts),
        _ => Err(KeyError::NotAnArray { key: key.to_owned(), columns }),
    }
}

/// Writes the text of a key of several columns into `text`: one form for each list of parts, so that equal keys are
/// equal texts.
pub fn write_key<'a>(text: &mut String, parts: impl Iterator<Item = &'a str>) {
    text.push('[');
    for (index, part) in parts.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(part).to_string());
    }
    text.push(']');
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_several_columns_is_a_json_array_of_texts_and_reads_back() {
        let parts = ["9223372036854775807", "a\"b,\n😀", ""];
        let key = Key::from_parts(&parts);
        assert_eq!(key.as_str(), "[\"9223372036854775807\",\"a\\\"b,\\n😀\",\"\"]");
        assert_eq!(key.parts(3).unwrap(), parts);
        assert!(key.parts(2).is_err());
    }

    #[test]
    fn a_key_of_one_column_is_its_text_whatever_it_looks_like() {
        let key = Key::from_parts(&["[\"a\"]"]);
        assert_eq!(key.as_str(), "[\"a\"]");
        assert_eq!(key.parts(1).unwrap(), ["[\"a\"]"]);
    }
}
