//! The one validator of edits: the same rules for the grid, pastes, imports and programs.

use serde::{Deserialize, Serialize};

use crate::value::{ColumnType, ValueError};

/// Rules that a new value of an editable column has to meet, beside its type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The cell may not be emptied.
    pub required: bool,
    /// The least value, as canonical text of the column's type.
    pub min: Option<String>,
    /// The greatest value, as canonical text of the column's type.
    pub max: Option<String>,
    /// The fewest characters.
    pub min_length: Option<usize>,
    /// The most characters.
    pub max_length: Option<usize>,
    /// A pattern for the whole text: see [`Pattern`].
    pub pattern: Option<Pattern>,
    /// The only values allowed, as canonical texts.
    pub allowed: Option<Vec<String>>,
}

/// A regular expression that the whole text has to match.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    source: String,
    regex: regex_lite::Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    /// Reads a regular expression in the syntax of Rust's `regex` crate.
    pub fn new(source: &str) -> Result<Pattern, String> {
        let read =
            |text: &str| regex_lite::Regex::new(text).map_err(|error| format!("`{source}` is not a pattern: {error}"));
        // On its own first: `a)|(b` would only be one inside the brackets.
        read(source)?;
        let regex = read(&format!("^(?:{source})$"))?;
        Ok(Pattern { source: source.to_owned(), regex })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(source: String) -> Result<Pattern, String> {
        Pattern::new(&source)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.source
    }
}

/// A refused value: which rule, and what to tell the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The rule's name: `type`, `required`, `range`, `length`, `pattern`, `allowed`, `link`, `key` or `editable`.
    pub rule: &'static str,
    /// Plain words.
    pub message: String,
}

impl Refusal {
    /// A refusal by a rule.
    pub fn new(rule: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { rule, message: message.into() }
    }
}

impl From<ValueError> for Refusal {
    fn from(error: ValueError) -> Refusal {
        Refusal::new("type", error.to_string())
    }
}

/// Checks a value that somebody wants in a cell and gives its canonical text; none means to empty the cell.
///
/// Whether a linked key exists is asked of the linked dataset by the caller, which has the rows.
///
/// # Errors
/// The first rule that the value does not meet.
pub fn validate(column_type: ColumnType, rules: &Rules, value: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(typed) = value else {
        return if rules.required { Err(Refusal::new("required", "this cell cannot be empty")) } else { Ok(None) };
    };
    let text = column_type.canonical(typed)?;
    if rules.required && text.trim().is_empty() {
        return Err(Refusal::new("required", "this cell cannot be empty"));
    }
    if matches!(column_type, ColumnType::Number) && matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") {
        return Err(Refusal::new("type", format!("`{text}` is not a number to keep: write digits, or empty the cell")));
    }
    if text.contains('\0') {
        return Err(Refusal::new("type", "the text holds a NUL character, which databases cannot keep: take it out"));
    }
    if let Some(allowed) = &rules.allowed
        && !allowed.contains(&text)
    {
        let list: Vec<String> = allowed.iter().take(20).map(|value| format!("`{value}`")).collect();
        let more = if allowed.len() > 20 { ", …" } else { "" };
        let message = format!("`{}` is not allowed here: use {}{more}", shortened(&text), list.join(", "));
        return Err(Refusal::new("allowed", message));
    }
    check_range(column_type, rules, &text)?;
    check_length(rules, &text)?;
    if let Some(pattern) = &rules.pattern
        && !pattern.matches(&text)
    {
        return Err(Refusal::new(
            "pattern",
            format!("`{}` does not have the form {}", shortened(&text), pattern.as_str()),
        ));
    }
    Ok(Some(text))
}

/// A text as a message shows it: whoever typed a page knows what it was.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn check_range(column_type: ColumnType, rules: &Rules, text: &str) -> Result<(), Refusal> {
    use std::cmp::Ordering;
    let below = |limit: &String, wanted: Ordering| compare(column_type, text, limit) == Some(wanted);
    match (&rules.min, &rules.max) {
        (Some(min), Some(max)) if below(min, Ordering::Less) || below(max, Ordering::Greater) => {
            Err(Refusal::new("range", format!("`{text}` is out of range: from {min} to {max}")))
        }
        (Some(min), None) if below(min, Ordering::Less) => {
            Err(Refusal::new("range", format!("`{text}` is too small: the least is {min}")))
        }
        (None, Some(max)) if below(max, Ordering::Greater) => {
            Err(Refusal::new("range", format!("`{text}` is too large: the most is {max}")))
        }
        _ => Ok(()),
    }
}

fn check_length(rules: &Rules, text: &str) -> Result<(), Refusal> {
    let length = text.chars().count();
    if let Some(least) = rules.min_length
        && length < least
    {
        return Err(Refusal::new("length", format!("write at least {least} characters; this has {length}")));
    }
    if let Some(most) = rules.max_length
        && length > most
    {
        return Err(Refusal::new("length", format!("write at most {most} characters; this has {length}")));
    }
    Ok(())
}

/// Compares two canonical texts of a type by value; none when one is not of the type.
pub fn compare(column_type: ColumnType, a: &str, b: &str) -> Option<std::cmp::Ordering> {
    use crate::value::Value;
    match (column_type.read(a).ok()?, column_type.read(b).ok()?) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(&b)),
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(&b)),
        (Value::Number(a), Value::Number(b)) => Some(a.total_cmp(&b)),
        (Value::Decimal(a, _), Value::Decimal(b, _)) => Some(a.cmp(&b)),
        (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(&b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(&b)),
        (Value::DateTime(a), Value::DateTime(b)) => Some(a.cmp(&b)),
        (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(&b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(column_type: ColumnType, rules: Rules, value: Option<&str>) -> Result<Option<String>, &'static str> {
        validate(column_type, &rules, value).map_err(|refusal| refusal.rule)
    }

    #[test]
    fn each_rule_refuses_what_it_names() {
        let none = Rules::default;
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(rule(ColumnType::Integer, none(), Some("12")), some("12"));
        assert_eq!(rule(ColumnType::Integer, none(), Some("12.5")), Err("type"));
        assert_eq!(rule(ColumnType::Integer, none(), None), Ok(None));
        assert_eq!(rule(ColumnType::Text, Rules { required: true, ..none() }, None), Err("required"));
        assert_eq!(rule(ColumnType::Text, Rules { required: true, ..none() }, Some(" ")), Err("required"));
        assert_eq!(rule(ColumnType::Text, none(), Some("")), some(""));
        assert_eq!(rule(ColumnType::Integer, Rules { min: Some("0".into()), ..none() }, Some("-1")), Err("range"));
        assert_eq!(rule(ColumnType::Integer, Rules { max: Some("9".into()), ..none() }, Some("10")), Err("range"));
        assert_eq!(
            rule(ColumnType::Date, Rules { min: Some("1990-01-01".into()), ..none() }, Some("1989-12-31")),
            Err("range")
        );
        assert_eq!(rule(ColumnType::Text, Rules { max_length: Some(2), ..none() }, Some("éé😀")), Err("length"));
        assert!(Pattern::new("a)|(b").is_err());
        let pattern = Some(Pattern::new("[A-Z]{3}").unwrap());
        assert_eq!(rule(ColumnType::Text, Rules { pattern: pattern.clone(), ..none() }, Some("DFWX")), Err("pattern"));
        assert_eq!(rule(ColumnType::Text, Rules { pattern, ..none() }, Some("DFW")), some("DFW"));
        let allowed = Some(vec!["Day".to_owned()]);
        assert_eq!(rule(ColumnType::Text, Rules { allowed, ..none() }, Some("day")), Err("allowed"));
        assert_eq!(rule(ColumnType::Number, none(), Some("NaN")), Err("type"));
        assert_eq!(rule(ColumnType::Text, none(), Some("a\0b")), Err("type"));
    }
}
