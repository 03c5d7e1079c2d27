//! The SQL functions that Stet adds: text similarity for matching names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error};
use stet_domain::Value;

use crate::similarity::{Trigrams, normalize_text};

/// The longest text that two texts are compared by, in bytes: the work of comparing grows with the product of both.
const COMPARED_BYTES_MAX: usize = 4_096;

/// Adds the functions to a connection. Each gives null when an argument is null.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    compare(connection, "jaro_winkler", |a, b| strsim::jaro_winkler(a, b).into())?;
    compare(connection, "levenshtein", |a, b| (strsim::levenshtein(a, b) as i64).into())?;
    compare(connection, "normalized_levenshtein", |a, b| strsim::normalized_levenshtein(a, b).into())?;
    let known = Mutex::new(KnownTrigrams::default());
    compare(connection, "trigram_similarity", move |a, b| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let (a, b) = (known.of(a), known.of(b));
        a.similarity(&b).into()
    })?;
    connection.create_scalar_function("normalize_text", 1, flags(), |context| {
        Ok(text(context, 0, "normalize_text")?.map(|text| normalize_text(&text)))
    })
}

/// The most texts whose trigrams are remembered; with more, all are forgotten and it begins anew.
const KNOWN_TRIGRAMS_MAX: usize = 32 * 1024;

/// The trigrams of texts that were compared lately: matching compares the same few thousand texts with each other again
/// and again, and taking them apart is most of the work.
#[derive(Default)]
struct KnownTrigrams(HashMap<Box<str>, Arc<Trigrams>>);

impl KnownTrigrams {
    fn of(&mut self, text: &str) -> Arc<Trigrams> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        if self.0.len() >= KNOWN_TRIGRAMS_MAX {
            self.0.clear();
        }
        let trigrams = Arc::new(Trigrams::of(text));
        self.0.insert(text.into(), trigrams.clone());
        trigrams
    }
}

fn flags() -> FunctionFlags {
    FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS
}

fn compare(
    connection: &Connection,
    name: &'static str,
    measure: impl Fn(&str, &str) -> rusqlite::types::Value + Send + 'static,
) -> rusqlite::Result<()> {
    connection.create_scalar_function(name, 2, flags(), move |context| {
        let (Some(a), Some(b)) = (text(context, 0, name)?, text(context, 1, name)?) else {
            return Ok(None);
        };
        if a.len().max(b.len()) > COMPARED_BYTES_MAX {
            return Err(failure(format!(
                "{name}: a text of {} bytes is too long to compare; the longest is {COMPARED_BYTES_MAX}: use substr()",
                a.len().max(b.len())
            )));
        }
        Ok(Some(measure(&a, &b)))
    })
}

fn text<'a>(
    context: &'a Context<'_>,
    argument: usize,
    name: &str,
) -> rusqlite::Result<Option<std::borrow::Cow<'a, str>>> {
    Ok(Some(match context.get_raw(argument) {
        ValueRef::Null => return Ok(None),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes),
        ValueRef::Integer(integer) => integer.to_string().into(),
        ValueRef::Real(number) => Value::Number(number).to_string().into(),
        ValueRef::Blob(_) => return Err(failure(format!("{name}: argument {} is not a text", argument + 1))),
    }))
}

fn failure(message: String) -> Error {
    Error::UserFunctionError(message.into())
}
