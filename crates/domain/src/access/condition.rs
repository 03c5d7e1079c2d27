//! The small language in which a webapp says which rows are whose:
//!
//! ```text
//! owner = current_user
//! state in ('CA', 'TX') and team in current_groups
//! ```
//!
//! Comparisons joined by `and`; each is a column, `=` or `in`, and what its value has to be: `current_user`,
//! `current_groups`, a text in single quotes, a number or word, or a list of these in parentheses. A column whose name is
//! no plain word stands in double quotes. Values are compared as canonical texts. An empty cell is never equal to anything.

use std::collections::BTreeSet;

use crate::actor::{Actor, ActorKind};

/// A limit of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// All of these have to hold; never empty.
    pub comparisons: Vec<Comparison>,
}

/// A test on the value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The column.
    pub column: String,
    /// The value has to be one of these.
    pub terms: Vec<Term>,
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// The login of whoever asks; `none` for a visitor.
    CurrentUser,
    /// The names of the groups of whoever asks.
    CurrentGroups,
    /// This text.
    Constant(String),
}

/// Something wrong in a condition: the byte where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionError {
    /// The place in the text, in bytes.
    pub offset: usize,
    /// What was expected there.
    pub message: String,
}

impl Comparison {
    /// The values that pass for an actor.
    pub fn values(&self, actor: &Actor) -> BTreeSet<String> {
        let mut values = BTreeSet::new();
        for term in &self.terms {
            match term {
                // Whoever has not signed in is nobody: `none` in a cell makes no row theirs.
                Term::CurrentUser if actor.kind == ActorKind::Visitor => {}
                Term::CurrentUser => _ = values.insert(actor.login.to_string()),
                Term::CurrentGroups => values.extend(actor.groups.iter().map(ToString::to_string)),
                Term::Constant(text) => _ = values.insert(text.clone()),
            }
        }
        values
    }
}

/// Reads a condition.
///
/// # Errors
/// With the place and what was expected.
pub fn parse(text: &str) -> Result<Condition, ConditionError> {
    let mut reader = Reader { text, at: 0 };
    let mut comparisons = vec![reader.comparison()?];
    while !reader.is_at_end() {
        reader.word("and").ok_or_else(|| reader.expected("`and` or the end"))?;
        comparisons.push(reader.comparison()?);
    }
    Ok(Condition { comparisons })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn comparison(&mut self) -> Result<Comparison, ConditionError> {
        let column = match self.quoted('"')? {
            Some(column) => column,
            None => self.plain().ok_or_else(|| self.expected("a column"))?.to_owned(),
        };
        let terms = if self.symbol('=') {
            vec![self.term()?]
        } else if self.word("in").is_some() {
            if self.symbol('(') {
                let mut terms = vec![self.term()?];
                while self.symbol(',') {
                    terms.push(self.term()?);
                }
                if !self.symbol(')') {
                    return Err(self.expected("`,` or `)`"));
                }
                terms
            } else {
                self.word("current_groups").ok_or_else(|| self.expected("`current_groups` or `(`"))?;
                vec![Term::CurrentGroups]
            }
        } else {
            return Err(self.expected("`=` or `in`"));
        };
        Ok(Comparison { column, terms })
    }

    fn term(&mut self) -> Result<Term, ConditionError> {
        if let Some(text) = self.quoted('\'')? {
            return Ok(Term::Constant(text));
        }
        match self.plain() {
            Some("current_user") => Ok(Term::CurrentUser),
            Some("current_groups") => Err(ConditionError {
                offset: self.at,
                message: "a value is one of several groups: write `in current_groups`".to_owned(),
            }),
            Some(word) => Ok(Term::Constant(word.to_owned())),
            None => Err(self.expected("`current_user` or a value such as 'CA'")),
        }
    }

    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn is_at_end(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn symbol(&mut self, symbol: char) -> bool {
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len_utf8();
        }
        found
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let before = self.at;
        if self.plain().is_some_and(|found| found.eq_ignore_ascii_case(word)) {
            return Some(());
        }
        self.at = before;
        None
    }

    /// A word without quotes: letters, digits, `_`, `-`, `.`.
    fn plain(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).unwrap_or(rest.len());
        self.at += end;
        (end > 0).then(|| &rest[..end])
    }

    /// A text in quotes, in which a doubled quote stands for one.
    fn quoted(&mut self, quote: char) -> Result<Option<String>, ConditionError> {
        if !self.symbol(quote) {
            return Ok(None);
        }
        let mut text = String::new();
        loop {
            let Some(end) = self.text[self.at..].find(quote) else {
                self.at = self.text.len();
                return Err(self.expected(&format!("a closing {quote}")));
            };
            text.push_str(&self.text[self.at..self.at + end]);
            self.at += end + quote.len_utf8();
            if !self.text[self.at..].starts_with(quote) {
                return Ok(Some(text));
            }
            text.push(quote);
            self.at += quote.len_utf8();
        }
    }

    fn expected(&self, what: &str) -> ConditionError {
        let found = self.text[self.at..].split_whitespace().next().unwrap_or("the end");
        ConditionError { offset: self.at, message: format!("expected {what}, found `{found}`") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(column: &str, terms: &[Term]) -> Comparison {
        Comparison { column: column.to_owned(), terms: terms.to_vec() }
    }

    #[test]
    fn a_condition_names_columns_and_what_their_values_have_to_be() {
        let constant = |text: &str| Term::Constant(text.to_owned());
        assert_eq!(parse("owner = current_user").unwrap().comparisons, [comparison("owner", &[Term::CurrentUser])]);
        assert_eq!(
            parse("\"the \"\"team\"\"\" IN current_groups AND state in ('CA', 'O''Hare', 10, current_user)")
                .unwrap()
                .comparisons,
            [
                comparison("the \"team\"", &[Term::CurrentGroups]),
                comparison("state", &[constant("CA"), constant("O'Hare"), constant("10"), Term::CurrentUser]),
            ]
        );
    }

    #[test]
    fn a_visitor_is_nobody_whom_a_cell_could_name() {
        let comparison = comparison("owner", &[Term::CurrentUser, Term::Constant("all".to_owned())]);
        assert_eq!(comparison.values(&Actor::visitor()), BTreeSet::from(["all".to_owned()]));
    }

    #[test]
    fn what_is_no_condition_is_told_with_its_place() {
        for (text, offset, expected) in [
            ("", 0, "a column"),
            ("owner", 5, "`=` or `in`"),
            ("owner == current_user", 7, "`current_user` or a value"),
            ("owner = 'x", 10, "a closing '"),
            ("owner = x or team = y", 10, "`and` or the end"),
            ("owner in current_user", 9, "`current_groups` or `(`"),
            ("owner in ('a' 'b')", 14, "`,` or `)`"),
            ("1 = 1; DROP TABLE x", 5, "`and` or the end"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(expected), "{text}: {error:?}");
            assert_eq!(error.offset, offset, "{text}: {error:?}");
        }
        assert!(parse("owner = current_groups").unwrap_err().message.contains("in current_groups"));
    }
}
