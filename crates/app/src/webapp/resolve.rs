//! A webapp's settings held against the original as it is: which columns there are, of which types, and what fits no more.

use std::collections::HashMap;

use stet_domain::ColumnType;
use stet_domain::apply::EditableColumn;
use stet_domain::project::{Column, Link, Webapp};
use stet_domain::validate::{Refusal, Rules, compare};

use crate::error::AppError;

/// A webapp whose settings fit its original.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The settings.
    pub webapp: Webapp,
    /// The primary-key columns, in order.
    pub keys: Vec<Column>,
    /// Every column of the table, in order: keys first.
    pub columns: Vec<TableColumn>,
    /// The columns of the original, in its order.
    pub original_columns: Vec<Column>,
    places: HashMap<String, usize>,
    editable: Vec<EditColumn>,
}

/// A column of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub column_type: ColumnType,
    /// Whether it belongs to the primary key.
    pub key: bool,
    /// Whether the original has it, rather than the webapp adding it.
    pub in_original: bool,
}

/// A column that can be edited, with everything that an edit has to meet.
#[derive(Debug, Clone, PartialEq)]
pub struct EditColumn {
    /// Its name.
    pub name: String,
    /// Its place in [`Resolved::columns`].
    pub place: usize,
    /// What it holds.
    pub column_type: ColumnType,
    /// What new values have to meet.
    pub rules: Rules,
    /// The dataset whose keys the values are.
    pub link: Option<Link>,
}

impl Resolved {
    /// Holds a webapp against the columns of its original.
    ///
    /// # Errors
    /// When the original lacks a key column, or an editable column whose type is not given: with what to do.
    pub fn new(webapp: &Webapp, original: &[Column]) -> Result<Resolved, AppError> {
        let file = format!("webapps/{}.toml", webapp.name);
        let known = || original.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let find = |name: &str| original.iter().find(|column| column.name == name);
        let mut keys: Vec<Column> = Vec::new();
        for name in &webapp.primary_keys {
            if keys.iter().any(|key| key.name == *name) {
                return Err(AppError::Invalid(format!("the primary key in {file} names the column `{name}` twice")));
            }
            let column = find(name).ok_or_else(|| {
                AppError::Invalid(format!(
                    "`{}` has no column `{name}`, which is the primary key in {file}: its columns are {}",
                    webapp.original,
                    known()
                ))
            })?;
            if !column.column_type.is_key() {
                return Err(AppError::Invalid(format!(
                    "the column `{name}` of `{}` has a type that cannot be a primary key",
                    webapp.original
                )));
            }
            keys.push(column.clone());
        }

        let mut columns: Vec<TableColumn> = Vec::new();
        let mut add = |name: &str, column_type: ColumnType, key: bool, in_original: bool| {
            if !columns.iter().any(|column| column.name == name) {
                columns.push(TableColumn { name: name.to_owned(), column_type, key, in_original });
            }
        };
        for key in &keys {
            add(&key.name, key.column_type, true, true);
        }
        let added_type = |name: &str| webapp.editable(name).and_then(|editable| editable.column_type);
        let shown: Vec<&str> = match &webapp.columns {
            Some(columns) => columns.iter().map(String::as_str).collect(),
            None => original.iter().map(|column| column.name.as_str()).collect(),
        };
        for name in shown {
            match (find(name), added_type(name)) {
                (Some(column), _) => add(name, column.column_type, false, true),
                (None, Some(column_type)) => add(name, column_type, false, false),
                (None, None) => {
                    return Err(AppError::Invalid(format!(
                        "`{}` has no column `{name}`, which {file} shows: its columns are {}",
                        webapp.original,
                        known()
                    )));
                }
            }
        }
        for editable in &webapp.editable {
            let name = &editable.column;
            match (find(name), editable.column_type) {
                (Some(column), given) => {
                    if let Some(given) = given.filter(|given| *given != column.column_type) {
                        return Err(AppError::Invalid(format!(
                            "`{}` now has `{name}` as {}, and {file} says {given}: change one of them; edits that no \
                             longer fit are kept in the log and listed by the build",
                            webapp.original, column.column_type
                        )));
                    }
                    if !column.column_type.is_editable() {
                        return Err(AppError::Invalid(format!(
                            "the column `{name}` of `{}` has a type that Stet does not edit: take it out of {file}",
                            webapp.original
                        )));
                    }
                    add(name, column.column_type, false, true);
                }
                (None, Some(column_type)) => add(name, column_type, false, false),
                (None, None) => {
                    return Err(AppError::Invalid(format!(
                        "`{}` no longer has the column `{name}` that {file} lets people edit: its columns are {}. Give \
                         the column's `type` there to keep it as an added column, or rename it; its edits are kept in \
                         the log",
                        webapp.original,
                        known()
                    )));
                }
            }
        }

        let places: HashMap<String, usize> =
            columns.iter().enumerate().map(|(place, column)| (column.name.clone(), place)).collect();
        let mut editable = Vec::with_capacity(webapp.editable.len());
        for written in &webapp.editable {
            let Some(place) = places.get(&written.column).copied() else { continue };
            let column_type = columns[place].column_type;
            let rules = rules_of(column_type, &written.rules)
                .map_err(|reason| AppError::Invalid(format!("{file}: the column `{}`: {reason}", written.column)))?;
            if webapp.validation_column.as_ref() == Some(&written.column) && column_type != ColumnType::Boolean {
                return Err(AppError::Invalid(format!(
                    "{file}: the validation column `{}` has to be a boolean, and it is {column_type}",
                    written.column
                )));
            }
            let (name, link) = (written.column.clone(), written.link.clone());
            editable.push(EditColumn { name, place, column_type, rules, link });
        }
        for condition in webapp.see.iter().chain(&webapp.edit) {
            if let Some(unknown) = condition.comparisons.iter().find(|test| !places.contains_key(&test.column)) {
                return Err(AppError::Invalid(format!(
                    "{file}: a condition on rows names the column `{}`, which the table does not show",
                    unknown.column
                )));
            }
        }
        Ok(Resolved { webapp: webapp.clone(), keys, columns, original_columns: original.to_vec(), places, editable })
    }

    /// A column that can be edited.
    ///
    /// # Errors
    /// When there is no such column, or it cannot be edited.
    pub fn editable(&self, name: &str) -> Result<&EditColumn, Refusal> {
        self.editable.iter().find(|column| column.name == name).ok_or_else(|| {
            let message = if self.keys.iter().any(|column| column.name == name) {
                format!("`{name}` is the key of the row, which cannot be edited")
            } else if self.places.contains_key(name) {
                format!("the column `{name}` cannot be edited")
            } else {
                format!("this table has no column `{name}`")
            };
            Refusal::new("editable", message)
        })
    }

    /// The columns that can be edited, in the order of the settings.
    pub fn editable_columns(&self) -> impl Iterator<Item = &EditColumn> {
        self.editable.iter()
    }

    /// The editable columns as replay and apply take them.
    pub fn apply_columns(&self) -> Vec<EditableColumn> {
        self.editable
            .iter()
            .map(|column| EditableColumn { name: column.name.clone(), column_type: column.column_type })
            .collect()
    }

    /// The place of a column in the table.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}

/// Rules as they hold for a column of this type.
///
/// # Errors
/// When a value in them is not of the type, or nothing could meet them: why.
fn rules_of(column_type: ColumnType, written: &Rules) -> Result<Rules, String> {
    let read = |text: &String| column_type.canonical(text).map_err(|error| error.to_string());
    let rules = Rules {
        min: written.min.as_ref().map(read).transpose()?,
        max: written.max.as_ref().map(read).transpose()?,
        allowed: written.allowed.as_ref().map(|allowed| allowed.iter().map(read).collect()).transpose()?,
        ..written.clone()
    };
    if let (Some(min), Some(max)) = (&rules.min, &rules.max)
        && compare(column_type, min, max).is_some_and(std::cmp::Ordering::is_gt)
    {
        return Err(format!("`min` is {min} and `max` is {max}: no value is between them"));
    }
    if let (Some(min), Some(max)) = (rules.min_length, rules.max_length)
        && min > max
    {
        return Err(format!("`min_length` is {min} and `max_length` is {max}: no text is between them"));
    }
    if rules.allowed.as_ref().is_some_and(Vec::is_empty) {
        return Err("`allowed` has no value, so nothing could be typed: name some, or take it out".to_owned());
    }
    Ok(rules)
}
