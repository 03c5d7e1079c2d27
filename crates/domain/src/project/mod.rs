//! The definition of a project: what its text files say, checked and with its references resolved.

mod access;
mod dataset;
pub mod edit;
mod files;
mod load;
mod scenarios;
mod variables;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::access::{Condition, Principals, ProjectPermissions, WebappAccess};
use crate::name::{DatasetName, ProjectKey, RecipeName, ScenarioName, WebappName};
use crate::scenario::Scenario;
use crate::validate::Rules;
use crate::value::ColumnType;

pub use files::{FileText, ProjectFiles};
pub use load::load;

/// A project, as its files define it, with the datasets and recipes that each webapp brings along.
#[derive(Debug, Clone)]
pub struct Project {
    /// The name of its folder.
    pub key: ProjectKey,
    /// The name for people.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// Who may do what in it.
    pub permissions: ProjectPermissions,
    /// Every dataset: the declared ones and those that a webapp or a recipe implies.
    pub datasets: BTreeMap<DatasetName, Dataset>,
    /// Every webapp.
    pub webapps: BTreeMap<WebappName, Webapp>,
    /// Every recipe: the declared ones and the replay and apply of each webapp.
    pub recipes: BTreeMap<RecipeName, Recipe>,
    /// Every scenario: the declared ones and those that come with each webapp.
    pub scenarios: BTreeMap<ScenarioName, Scenario>,
    /// The texts that `${name}` stands for, on this node.
    pub variables: BTreeMap<String, String>,
}

/// A dataset of a project.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Its name.
    pub name: DatasetName,
    /// What it is; may be empty.
    pub description: String,
    /// Where its rows are.
    pub location: Location,
    /// The declared columns; none when they are to be read from the data.
    pub columns: Option<Vec<Column>>,
    /// The key columns in order; empty when the dataset has no declared key.
    pub key: Vec<String>,
}

/// Where the rows of a dataset are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file, or a folder of files of one format.
    Files {
        /// The connection; none for the folder that the node keeps for the project.
        connection: Option<String>,
        /// The path below the connection's folder, with `/` between its parts.
        path: String,
        /// The format of the file or files.
        format: Format,
        /// How CSV is written.
        csv: CsvForm,
    },
    /// A table or view of a database.
    Table {
        /// The connection.
        connection: String,
        /// The table.
        table: TableName,
    },
    /// The rows of a query in a database: read only.
    Query {
        /// The connection.
        connection: String,
        /// The query: one SELECT.
        query: String,
    },
    /// The editlog of an original dataset.
    Editlog {
        /// The original.
        original: DatasetName,
        /// The connection and the table; none for the editlogs that the node keeps for the project.
        table: Option<(String, TableName)>,
    },
}

/// A table of a database with its schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl TableName {
    /// Reads `table` or `schema.table`; the schema is `public` if none is named.
    ///
    /// # Errors
    /// When a part is empty, too long or has a NUL, with what was expected.
    pub fn parse(text: &str) -> Result<TableName, String> {
        let (schema, table) = text.split_once('.').unwrap_or(("public", text));
        let wrong = |part: &str| part.is_empty() || part.len() > TABLE_NAME_BYTES_MAX || part.contains(['\0', '.']);
        if wrong(schema) || wrong(table) {
            return Err(format!("`{text}` is not the name of a table: write it such as \"wildlife.strikes\""));
        }
        Ok(TableName { schema: schema.to_owned(), table: table.to_owned() })
    }
}

/// The longest name of a schema or table, in bytes: PostgreSQL cuts longer ones.
const TABLE_NAME_BYTES_MAX: usize = 63;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values (RFC 4180), UTF-8, with a header line; a [`Delimiter`] may take the comma's place.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// One JSON object on each line.
    Jsonl,
}

impl Format {
    /// The format that a file's name tells by its ending.
    pub fn of_path(path: &str) -> Option<Format> {
        let (_, ending) = path.strip_suffix('/').unwrap_or(path).rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "csv" | "tsv" => Some(Format::Csv),
            "parquet" => Some(Format::Parquet),
            // Spark and DuckDB write JSON lines under this name; an array of objects is refused when it is read.
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            _ => None,
        }
    }

    /// The ending of files of this format, without the dot.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Parquet => "parquet",
            Format::Jsonl => "jsonl",
        }
    }
}

/// What stands between the fields of a line of CSV.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Delimiter {
    /// `,`
    #[default]
    #[serde(rename = ",")]
    Comma,
    /// `;`, as spreadsheets write where the comma is part of numbers.
    #[serde(rename = ";")]
    Semicolon,
    /// A tab.
    #[serde(rename = "\t", alias = "tab")]
    Tab,
    /// `|`
    #[serde(rename = "|")]
    Pipe,
}

impl Delimiter {
    /// All there are.
    pub const ALL: [Delimiter; 4] = [Delimiter::Comma, Delimiter::Semicolon, Delimiter::Tab, Delimiter::Pipe];

    /// What a file's name tells by its ending: a tab for `.tsv`, else the comma.
    pub fn of_path(path: &str) -> Delimiter {
        let ending = path.strip_suffix('/').unwrap_or(path).rsplit_once('.').map(|(_, ending)| ending);
        if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("tsv")) { Delimiter::Tab } else { Delimiter::Comma }
    }

    /// The character.
    pub fn byte(self) -> u8 {
        match self {
            Delimiter::Comma => b',',
            Delimiter::Semicolon => b';',
            Delimiter::Tab => b'\t',
            Delimiter::Pipe => b'|',
        }
    }

    /// As it is written in a dataset's file, between quotes.
    pub fn written(self) -> &'static str {
        match self {
            Delimiter::Comma => ",",
            Delimiter::Semicolon => ";",
            Delimiter::Tab => "\\t",
            Delimiter::Pipe => "|",
        }
    }
}

/// How the texts of a CSV file are written as bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// One byte for each letter, of Western Europe: what older spreadsheets save. ISO 8859-1 is a part of it.
    #[serde(rename = "windows-1252", alias = "iso-8859-1", alias = "latin1")]
    Windows1252,
    /// UTF-16, whose byte order the mark at the start tells; without one the lesser byte comes first.
    #[serde(rename = "utf-16")]
    Utf16,
}

impl Encoding {
    /// As it is written in a dataset's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Windows1252 => "windows-1252",
            Encoding::Utf16 => "utf-16",
        }
    }
}

/// How a CSV file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CsvForm {
    /// What stands between the fields.
    pub delimiter: Delimiter,
    /// How texts are bytes.
    pub encoding: Encoding,
}

/// A column of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

/// An editing table over one original dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Webapp {
    /// Its name.
    pub name: WebappName,
    /// The title for people.
    pub title: String,
    /// What to do with it; may be empty.
    pub description: String,
    /// The dataset whose rows are edited.
    pub original: DatasetName,
    /// The primary-key columns, in order; never empty.
    pub primary_keys: Vec<String>,
    /// The columns that can be edited.
    pub editable: Vec<Editable>,
    /// The boolean column whose ticking logs all editable columns of the row.
    pub validation_column: Option<String>,
    /// The column for comments.
    pub comments_column: Option<String>,
    /// The columns to show, in order; none for all: keys first, then as in the original, then the added ones.
    pub columns: Option<Vec<String>>,
    /// Whether people may add rows.
    pub create_rows: bool,
    /// Whether people may delete rows.
    pub delete_rows: bool,
    /// Whether each change has to come with a reason.
    pub require_reason: bool,
    /// Whether ticking the validation column asks for the password again: an electronic signature.
    pub sign_validations: bool,
    /// Who may use it.
    pub access: WebappAccess,
    /// Which of the ready-made scenarios it brings along.
    pub scenarios: Vec<String>,
    /// Whether its table is opened when the node starts and when it is deployed, and not when somebody first asks for it.
    pub auto_start: bool,
    /// Which rows people see; none for all.
    pub see: Option<Condition>,
    /// Which of the rows that they see people may change; none for all.
    pub edit: Option<Condition>,
    /// The column that holds the login of the person whose row it is, if there is one.
    pub assigned_to: Option<String>,
}

/// A column that a webapp lets people edit.
#[derive(Debug, Clone, PartialEq)]
pub struct Editable {
    /// The column.
    pub column: String,
    /// Its heading; none for the column's name.
    pub title: Option<String>,
    /// A word of help.
    pub description: Option<String>,
    /// Its type, which has to be given when the original has no such column: the column is then added by the webapp.
    pub column_type: Option<ColumnType>,
    /// Whether values may have several lines.
    pub multiline: bool,
    /// What new values have to meet.
    pub rules: Rules,
    /// The dataset whose keys the values are.
    pub link: Option<Link>,
    /// The width in pixels at 100 %; none for a width by type.
    pub width: Option<u32>,
    /// Who may edit it; an empty list is everybody who may edit in the webapp.
    pub editable_by: Principals,
}

/// A linked dataset: reference rows offered in a dropdown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The dataset.
    pub dataset: DatasetName,
    /// Its column whose values are stored.
    pub key: String,
    /// Its column that is shown for people.
    pub label: String,
    /// Its columns that are shown beside the label.
    pub lookups: Vec<String>,
}

/// A recipe: how one dataset is made of others.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Its name.
    pub name: RecipeName,
    /// What it does.
    pub kind: RecipeKind,
    /// The datasets that it reads.
    pub inputs: Vec<DatasetName>,
    /// The dataset that it makes.
    pub output: DatasetName,
}

/// What a recipe does.
#[derive(Debug, Clone, PartialEq)]
pub enum RecipeKind {
    /// Folds the editlog of a webapp into `editlog_pivoted`.
    Replay {
        /// The webapp.
        webapp: WebappName,
    },
    /// Applies the edits of a webapp to its original.
    Apply {
        /// The webapp.
        webapp: WebappName,
    },
    /// Runs a SQL query over its inputs.
    Sql {
        /// The query: one SELECT.
        sql: String,
        /// The file that holds it, below the project's folder.
        file: String,
    },
}

impl RecipeKind {
    /// `replay`, `apply` or `sql`.
    pub fn as_str(&self) -> &'static str {
        match self {
            RecipeKind::Replay { .. } => "replay",
            RecipeKind::Apply { .. } => "apply",
            RecipeKind::Sql { .. } => "sql",
        }
    }
}

/// What a dataset is in its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The rows that a webapp edits.
    Original,
    /// Reference rows of a dropdown.
    Linked,
    /// A log of edits.
    Editlog,
    /// The output of a replay.
    EditlogPivoted,
    /// The output of an apply.
    Edited,
    /// The output of another recipe.
    Derived,
    /// A dataset that recipes only read.
    Source,
}

impl Project {
    /// The recipe that makes a dataset, if one does.
    pub fn recipe_of(&self, dataset: &DatasetName) -> Option<&Recipe> {
        self.recipes.values().find(|recipe| recipe.output == *dataset)
    }

    /// The webapp that edits a dataset, if one does.
    pub fn webapp_on(&self, original: &DatasetName) -> Option<&Webapp> {
        self.webapps.values().find(|webapp| webapp.original == *original)
    }

    /// What a dataset is in this project.
    pub fn role(&self, dataset: &DatasetName) -> Role {
        if let Some(Dataset { location: Location::Editlog { .. }, .. }) = self.datasets.get(dataset) {
            return Role::Editlog;
        }
        if self.webapp_on(dataset).is_some() {
            return Role::Original;
        }
        match self.recipe_of(dataset).map(|recipe| &recipe.kind) {
            Some(RecipeKind::Replay { .. }) => Role::EditlogPivoted,
            Some(RecipeKind::Apply { .. }) => Role::Edited,
            Some(RecipeKind::Sql { .. }) => Role::Derived,
            None => {
                let linked = self
                    .webapps
                    .values()
                    .flat_map(|webapp| &webapp.editable)
                    .any(|editable| editable.link.as_ref().is_some_and(|link| link.dataset == *dataset));
                if linked { Role::Linked } else { Role::Source }
            }
        }
    }
}

impl Webapp {
    /// The settings of an editable column.
    pub fn editable(&self, column: &str) -> Option<&Editable> {
        self.editable.iter().find(|editable| editable.column == column)
    }
}

/// Something wrong in a file of a project, with its place and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, below the project's folder.
    pub file: String,
    /// The line, from 1; none when the whole file is meant.
    pub line: Option<usize>,
    /// The column in that line, in characters from 1.
    pub column: Option<usize>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong in the files of a project.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("project `{project}` cannot be used:\n{}", problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ProjectError {
    /// The project.
    pub project: String,
    /// One entry for each thing that is wrong; never empty.
    pub problems: Vec<Problem>,
    /// Who may know of the project, as far as its files can be read.
    pub permissions: ProjectPermissions,
}
