//! The file of a dataset: where its rows are, its columns and its key.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::files::{DatasetFile, FileText};
use super::{Column, CsvForm, Dataset, Delimiter, Format, Location, Problem, TableName, variables};
use crate::name::DatasetName;

/// Reads the file of a dataset; else what is wrong with it, and where.
pub(super) fn read_dataset(
    stem: &str,
    file: &FileText,
    variables: &BTreeMap<String, String>,
) -> Result<Dataset, Problem> {
    let name = DatasetName::new(stem).map_err(|error| file.problem_of_file(error.to_string()))?;
    let mut written: DatasetFile = file.parse()?;
    if let Some(connection) = &mut written.connection {
        *connection = variables::fill(connection, variables).map_err(|message| file.problem_of_file(message))?;
    }
    let location = read_location(&name, &written, file, variables)?;
    let columns = match written.columns {
        Some(columns) => {
            let mut names = BTreeSet::new();
            for column in &columns {
                if !names.insert(column.get_ref().name.clone()) {
                    let message = format!("the column `{}` is listed twice", column.get_ref().name);
                    return Err(file.problem(column.span().start, message));
                }
            }
            Some(columns.into_iter().map(Spanned::into_inner).collect::<Vec<Column>>())
        }
        None => None,
    };
    if let Some(columns) = &columns {
        for key in &written.key {
            let Some(column) = columns.iter().find(|column| column.name == *key.get_ref()) else {
                let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                let message =
                    format!("the key column `{}` is not among the columns {}", key.get_ref(), known.join(", "));
                return Err(file.problem(key.span().start, message));
            };
            if !column.column_type.is_key() {
                let message = format!("`{}` is of a type that cannot be a key", key.get_ref());
                return Err(file.problem(key.span().start, message));
            }
        }
    }
    Ok(Dataset {
        name,
        description: written.description,
        location,
        columns,
        key: written.key.into_iter().map(Spanned::into_inner).collect(),
    })
}

/// Where the rows of a dataset are, as its file says.
fn read_location(
    name: &DatasetName,
    written: &DatasetFile,
    file: &FileText,
    variables: &BTreeMap<String, String>,
) -> Result<Location, Problem> {
    if let Some(sql) = written.table.as_ref().or(written.query.as_ref()) {
        let offset = sql.span().start;
        if written.table.is_some() && written.query.is_some() {
            return Err(file.problem(offset, "there are `table` and `query`: keep one of them"));
        }
        if written.path.is_some()
            || written.format.is_some()
            || written.delimiter.is_some()
            || written.encoding.is_some()
        {
            return Err(file.problem(
                offset,
                "a dataset is in a file or in a database: keep `path` and what belongs to it, or this",
            ));
        }
        let Some(connection) = written.connection.clone() else {
            return Err(file.problem(offset, "`connection` is missing: the database that has it"));
        };
        return match (&written.table, &written.query) {
            (Some(table), _) => {
                let table = TableName::parse(table.get_ref()).map_err(|message| file.problem(offset, message))?;
                Ok(Location::Table { connection, table })
            }
            (None, query) => {
                let query = query.as_ref().map(|query| query.get_ref().trim().to_owned()).unwrap_or_default();
                if query.is_empty() || query.contains('\0') {
                    return Err(file.problem(offset, "the query is empty: write one SELECT"));
                }
                Ok(Location::Query { connection, query })
            }
        };
    }
    let path = match &written.path {
        Some(path) => {
            let filled = variables::fill(path.get_ref(), variables);
            let filled = filled.map_err(|message| file.problem(path.span().start, message))?;
            check_path(&filled).map_err(|message| file.problem(path.span().start, message))?;
            filled
        }
        None => format!("{name}.{}", written.format.unwrap_or(Format::Parquet).ending()),
    };
    let format = written.format.or_else(|| Format::of_path(&path)).ok_or_else(|| {
        let offset = written.path.as_ref().map_or(0, |path| path.span().start);
        file.problem(offset, "the format is not clear from the path: add `format = \"csv\"`, \"parquet\" or \"jsonl\"")
    })?;
    let of_csv = [
        written.delimiter.as_ref().map(|delimiter| ("delimiter", delimiter.span())),
        written.encoding.as_ref().map(|encoding| ("encoding", encoding.span())),
    ];
    if format != Format::Csv
        && let Some((name, span)) = of_csv.into_iter().flatten().next()
    {
        let message = format!("`{name}` is of CSV, and this dataset is {}: take it out", format.ending());
        return Err(file.problem(span.start, message));
    }
    let csv = CsvForm {
        delimiter: written
            .delimiter
            .as_ref()
            .map_or_else(|| Delimiter::of_path(&path), |delimiter| *delimiter.get_ref()),
        encoding: written.encoding.as_ref().map(|encoding| *encoding.get_ref()).unwrap_or_default(),
    };
    Ok(Location::Files { connection: written.connection.clone(), path, format, csv })
}

/// A path of a project file stays below its connection's folder.
fn check_path(path: &str) -> Result<(), String> {
    let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    // A `/` at the end says that it is a folder.
    let parts = path.strip_suffix('/').unwrap_or(path);
    if path.contains(['\\', '\0']) || parts.split('/').any(bad_part) {
        return Err(format!("`{path}` is not a path below the connection's folder: write it such as strikes/2026.csv"));
    }
    Ok(())
}
