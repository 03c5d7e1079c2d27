//! The text files of a project as they are written, before their references are resolved.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{Column, Delimiter, Encoding, Format, Problem};
use crate::validate::Pattern;
use crate::value::ColumnType;

/// A file's place and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    /// The path below the project's folder, with `/` between its parts.
    pub path: String,
    /// What the file says.
    pub text: String,
}

/// All files of a project that define it, by the name that the file's name gives.
#[derive(Debug, Clone, Default)]
pub struct ProjectFiles {
    /// `project.toml`.
    pub project: Option<FileText>,
    /// `datasets/<name>.toml`.
    pub datasets: BTreeMap<String, FileText>,
    /// `webapps/<name>.toml`.
    pub webapps: BTreeMap<String, FileText>,
    /// `recipes/<name>.toml`.
    pub recipes: BTreeMap<String, FileText>,
    /// `recipes/<name>.sql`.
    pub queries: BTreeMap<String, FileText>,
    /// `scenarios/<name>.toml`.
    pub scenarios: BTreeMap<String, FileText>,
    /// `local.toml`: what holds on one node alone and never travels.
    pub local: Option<FileText>,
}

impl FileText {
    /// Reads the file as TOML of a known form.
    ///
    /// # Errors
    /// With the place of what is wrong.
    pub fn parse<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Problem> {
        toml::from_str(&self.text).map_err(|error| {
            let message = error.message().trim().replace('\n', " ");
            match error.span() {
                Some(span) => self.problem(span.start, message),
                None => Problem { file: self.path.clone(), line: None, column: None, message },
            }
        })
    }

    /// A problem at a byte of the file.
    pub fn problem(&self, offset: usize, message: impl Into<String>) -> Problem {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |place| place + 1);
        Problem {
            file: self.path.clone(),
            line: Some(before.matches('\n').count() + 1),
            column: Some(before[line_start..].chars().count() + 1),
            message: message.into(),
        }
    }

    /// A problem of the whole file.
    pub(super) fn problem_of_file(&self, message: impl Into<String>) -> Problem {
        Problem { file: self.path.clone(), line: None, column: None, message: message.into() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectFile {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    #[serde(default)]
    pub permissions: PermissionsFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalFile {
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PermissionsFile {
    pub groups: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    pub users: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatasetFile {
    #[serde(default)]
    pub description: String,
    pub connection: Option<String>,
    pub path: Option<Spanned<String>>,
    pub table: Option<Spanned<String>>,
    pub query: Option<Spanned<String>>,
    pub format: Option<Format>,
    pub delimiter: Option<Spanned<Delimiter>>,
    pub encoding: Option<Spanned<Encoding>>,
    #[serde(default)]
    pub key: Vec<Spanned<String>>,
    pub columns: Option<Vec<Spanned<Column>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebappFile {
    pub title: Option<String>,
    #[serde(default)]
    pub description: String,
    pub original: Spanned<String>,
    #[serde(default)]
    pub primary_keys: Vec<Spanned<String>>,
    pub validation_column: Option<Spanned<String>>,
    pub comments_column: Option<Spanned<String>>,
    #[serde(default)]
    pub editable: Vec<EditableFile>,
    #[serde(default)]
    pub layout: LayoutFile,
    #[serde(default)]
    pub rows: RowsFile,
    #[serde(default)]
    pub edits: EditsFile,
    pub scenarios: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub auto_start: bool,
    #[serde(default)]
    pub access: AccessFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EditsFile {
    pub require_reason: bool,
    pub sign_validations: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AccessFile {
    pub users: Vec<Spanned<String>>,
    pub groups: Vec<Spanned<String>>,
    pub view_only: PrincipalsFile,
    pub public: Option<Spanned<toml::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PrincipalsFile {
    pub users: Vec<Spanned<String>>,
    pub groups: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditableFile {
    pub column: Spanned<String>,
    pub title: Option<String>,
    pub description: Option<String>,
    #[serde(rename = "type")]
    pub column_type: Option<ColumnType>,
    #[serde(default)]
    pub multiline: bool,
    #[serde(default)]
    pub required: bool,
    pub min: Option<Spanned<toml::Value>>,
    pub max: Option<Spanned<toml::Value>>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    pub pattern: Option<Pattern>,
    pub allowed: Option<Vec<Spanned<toml::Value>>>,
    pub link: Option<LinkFile>,
    pub width: Option<u32>,
    #[serde(default)]
    pub editable_by: PrincipalsFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkFile {
    pub dataset: Spanned<String>,
    pub key: Spanned<String>,
    pub label: Option<Spanned<String>>,
    #[serde(default)]
    pub lookups: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayoutFile {
    pub columns: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowsFile {
    #[serde(default)]
    pub create: bool,
    #[serde(default)]
    pub delete: bool,
    pub see: Option<Spanned<String>>,
    pub edit: Option<Spanned<String>>,
    pub assigned_to: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RecipeFileKind {
    Replay,
    Apply,
    Sql,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecipeFile {
    pub kind: RecipeFileKind,
    #[serde(default)]
    pub inputs: Vec<Spanned<String>>,
    pub output: Spanned<String>,
}
