//! SQL recipes: one SELECT over datasets, run in the embedded SQLite.
//!
//! How the values of datasets look in SQL:
//!
//! | column type | in SQL |
//! |---|---|
//! | text | text |
//! | whole number | integer of 64 bits |
//! | number | real; a NaN is null, since SQLite has none |
//! | decimal | integer or real if no digit is lost by it, and otherwise its text |
//! | true and false | 1 and 0 |
//! | dates and times | ISO 8601 text, as SQLite's own date functions take it |
//! | nested and binary values | text, as Arrow shows them |
//!
//! A result column has the declared type of the output dataset; without one, the type of the input column that it is; and
//! otherwise the narrowest type that holds all its values.

mod column;
mod functions;
mod guard;
mod spool;
mod table;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use rusqlite::{Connection, Statement};
use serde::{Deserialize, Serialize};
use stet_domain::ColumnType;
use stet_domain::project::{Column, Format};

use crate::cell::{Appender, schema_of};
use crate::control::Control;
use crate::error::EngineError;
use crate::manifest::InputStamp;
use crate::read::FileSource;
use crate::write::{DatasetWriter, Output, WriteOptions, Written, at};

use column::SqlCell;
use spool::{Spool, Spooled, convert};
use table::{Attached, Failure, cell_of, lock, quote, type_of_declared};

/// Tables up to this size are kept in memory while a query runs, so that joins need not read them again and again.
const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;

const BATCH_ROWS: usize = 8_192;

/// What to run, and where the result goes.
#[derive(Debug)]
pub struct QueryTask<'a> {
    /// The file that holds the query, for messages.
    pub file: &'a str,
    /// The query: one SELECT.
    pub sql: &'a str,
    /// The datasets that it can read, each as a table of its name.
    pub inputs: &'a [FileSource],
    /// What is known of the inputs from an earlier build, so that unchanged files are not hashed again.
    pub earlier: &'a [InputStamp],
    /// The output's dataset, for messages.
    pub dataset: &'a str,
    /// Its declared columns; none to take types from the query and its values.
    pub columns: Option<&'a [Column]>,
    /// The file to write.
    pub output: &'a Path,
    /// Its format.
    pub format: Format,
}

/// What a query made.
#[derive(Debug, Clone)]
pub struct QueryBuild {
    /// The account.
    pub report: QueryReport,
    /// What the inputs were.
    pub inputs: Vec<InputStamp>,
    /// The file.
    pub output: Written,
    /// How long it took.
    pub duration_ms: u64,
}

/// The account of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryReport {
    /// Rows written.
    pub rows_out: u64,
    /// The columns of the result.
    pub columns: Vec<Column>,
}

/// Runs a query and writes its result.
///
/// # Errors
/// When the query is wrong or does what a recipe may not ([`EngineError::Query`], with line and column where they are
/// known); when an input cannot be read or is changed in the meantime; when a value does not fit a declared column; when
/// the file cannot be written; when the work is cancelled. An earlier output is untouched then.
pub fn run(task: &QueryTask<'_>, control: &Control) -> Result<QueryBuild, EngineError> {
    let started = Instant::now();
    let sources: Vec<FileSource> = task.inputs.iter().map(FileSource::settled).collect::<Result<_, _>>()?;
    let stamps: Vec<InputStamp> = sources
        .iter()
        .map(|source| InputStamp::take(source, task.earlier.iter().find(|stamp| stamp.dataset == source.dataset)))
        .collect::<Result<_, _>>()?;
    let mut session = Session::open(task.file, task.sql, &sources, control)?;
    let (spooled, columns) = session.collect(task.dataset, task.columns, control)?;
    for (source, stamp) in sources.iter().zip(&stamps) {
        stamp.check_unchanged(source)?;
    }
    let output = write(task, spooled, &columns, control)?;
    Ok(QueryBuild {
        report: QueryReport { rows_out: output.rows, columns },
        inputs: stamps,
        output,
        duration_ms: started.elapsed().as_millis() as u64,
    })
}

/// Checks a query without running it, and gives the names of its result's columns.
///
/// # Errors
/// When the query is wrong, or an input's columns cannot be read.
pub fn check(file: &str, sql: &str, inputs: &[FileSource]) -> Result<Vec<String>, EngineError> {
    let session = Session::attach(file, sql, inputs, &Control::unwatched())?;
    let statement = session.prepare()?;
    Ok(statement.column_names().map(str::to_owned).collect())
}

/// A connection with the datasets attached, restricted to reading them.
struct Session<'a> {
    file: &'a str,
    sql: &'a str,
    connection: Connection,
    tables: Vec<Arc<Attached>>,
    failure: Failure,
}

impl<'a> Session<'a> {
    /// Attaches datasets and makes ready those that the query reads.
    fn open(file: &'a str, sql: &'a str, inputs: &[FileSource], control: &Control) -> Result<Session<'a>, EngineError> {
        let mut session = Session::attach(file, sql, inputs, control)?;
        // Planning the query tells which columns it uses, and by what it joins.
        drop(session.prepare()?);
        let tables = session.tables.clone();
        for table in tables.iter().filter(|table| table.is_planned()) {
            let is_small = table.source.fingerprint()?.bytes() <= TABLE_BYTES_MAX as u64;
            if is_small && table.buffer(2 * TABLE_BYTES_MAX)? {
                continue;
            }
            if table.is_joined() {
                session.copy(table, control)?;
            }
        }
        guard::watch(&mut session.connection, control).map_err(|error| session.explain(error))?;
        Ok(session)
    }

    fn attach(
        file: &'a str,
        sql: &'a str,
        inputs: &[FileSource],
        control: &Control,
    ) -> Result<Session<'a>, EngineError> {
        let failure: Failure = Arc::new(Mutex::new(None));
        let mut tables = Vec::with_capacity(inputs.len());
        for source in inputs {
            let source = source.settled()?;
            let columns = source.columns()?;
            let rows = match source.rows_known()? {
                Some(rows) => rows as f64,
                // A guess is enough: it only helps to choose what is joined to what.
                None => source.fingerprint()?.bytes() as f64 / (8.0 * columns.len().max(1) as f64),
            };
            tables.push(Arc::new(Attached::new(source, columns, rows, failure.clone(), control.clone())));
        }
        let explain = |error| guard::explain(file, sql, error);
        let mut connection = guard::open().map_err(explain)?;
        functions::register(&connection).map_err(explain)?;
        table::attach(&connection, &tables).map_err(explain)?;
        for (index, table) in tables.iter().enumerate() {
            table::create(&connection, &table.source.dataset, index).map_err(|error| EngineError::Schema {
                dataset: table.source.dataset.clone(),
                message: format!("it cannot be read by SQL: {error}"),
            })?;
        }
        guard::restrict(&mut connection, &names(&tables)).map_err(explain)?;
        Ok(Session { file, sql, connection, tables, failure })
    }

    /// Copies the used columns of a large dataset into a temporary table on disk, in whose stead it is read from then on:
    /// SQLite makes an index over it when it is joined.
    fn copy(&mut self, table: &Arc<Attached>, control: &Control) -> Result<(), EngineError> {
        let (file, sql) = (self.file, self.sql);
        let explain = |error| guard::explain(file, sql, error);
        guard::lift(&mut self.connection).map_err(explain)?;
        let name = quote(&table.source.dataset);
        let marks = vec!["?"; table.columns.len()].join(",");
        // Parameters are forbidden in recipes, but this statement has one for each column.
        guard::allow_parameters(&self.connection, table.columns.len()).map_err(explain)?;
        self.connection
            .execute_batch(&format!("CREATE TEMP TABLE {name} ({}); BEGIN", table.declaration()))
            .map_err(explain)?;
        {
            let mut insert =
                self.connection.prepare(&format!("INSERT INTO temp.{name} VALUES ({marks})")).map_err(explain)?;
            let used = table.used_columns();
            for batch in table.open()?.batches {
                control.check()?;
                let chunk = table.chunk(&batch?)?;
                for row in 0..chunk.rows {
                    for column in &used {
                        let cell = chunk.cell(*column, row);
                        let value = rusqlite::types::ToSqlOutput::Borrowed(cell.as_sqlite());
                        insert.raw_bind_parameter(column + 1, value).map_err(explain)?;
                    }
                    insert.raw_execute().map_err(explain)?;
                }
            }
        }
        self.connection.execute_batch("COMMIT").map_err(explain)?;
        guard::allow_parameters(&self.connection, 0).map_err(explain)?;
        guard::restrict(&mut self.connection, &names(&self.tables)).map_err(explain)
    }

    fn prepare(&self) -> Result<Statement<'_>, EngineError> {
        let query = |message: &str| guard::query(self.file, message.to_owned());
        let statement = self.connection.prepare(self.sql).map_err(|error| self.explain(error))?;
        if statement.column_count() == 0 {
            return Err(query("a recipe is one SELECT, and this is none"));
        }
        if !statement.readonly() || statement.is_explain() != 0 {
            return Err(query("a recipe can only SELECT"));
        }
        if statement.parameter_count() > 0 {
            return Err(query("a recipe has no parameters: write values out, and colons and question marks in quotes"));
        }
        let mut seen = std::collections::HashSet::new();
        for name in statement.column_names() {
            if !seen.insert(name.to_lowercase()) {
                return Err(query(&format!("the result has two columns `{name}`: give one another name with AS")));
            }
        }
        Ok(statement)
    }

    /// Runs the query to its end and settles the types of the result.
    fn collect(
        &mut self,
        dataset: &str,
        declared: Option<&[Column]>,
        control: &Control,
    ) -> Result<(Spooled, Vec<Column>), EngineError> {
        let mut statement = self.prepare()?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let expected: Vec<Option<ColumnType>> =
            statement.columns().map(|column| column.decl_type().and_then(type_of_declared)).collect();
        let declared_types = match declared {
            Some(columns) => Some(declared_types(dataset, columns, &names)?),
            None => None,
        };
        let mut spool = Spool::new(&expected);
        let mut rows = statement.raw_query();
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => return Err(self.explain(error)),
            };
            for (place, name) in names.iter().enumerate() {
                let value = row.get_ref(place).map_err(|error| self.explain(error))?;
                if matches!(value, rusqlite::types::ValueRef::Blob(_)) {
                    let message = format!("the column `{name}` has binary values: use hex() or CAST(... AS TEXT)");
                    return Err(guard::query(self.file, message));
                }
                spool.push(place, &cell_of(value))?;
            }
            let count = spool.end_row();
            if count.is_multiple_of(BATCH_ROWS as u64) {
                control.report(count, None)?;
            }
        }
        drop(rows);
        control.check()?;
        let (spooled, types) = spool.finish()?;
        let types = declared_types.unwrap_or(types);
        let columns = names.into_iter().zip(types).map(|(name, column_type)| Column { name, column_type }).collect();
        Ok((spooled, columns))
    }

    /// The error of the table that failed, if one did, or else SQLite's.
    fn explain(&self, error: rusqlite::Error) -> EngineError {
        lock(&self.failure).take().unwrap_or_else(|| guard::explain(self.file, self.sql, error))
    }
}

fn names(tables: &[Arc<Attached>]) -> Vec<String> {
    tables.iter().map(|table| table.source.dataset.clone()).collect()
}

/// The declared type of each column of a result.
fn declared_types(dataset: &str, declared: &[Column], names: &[String]) -> Result<Vec<ColumnType>, EngineError> {
    let schema_error = |message| EngineError::Schema { dataset: dataset.to_owned(), message };
    if let Some(missing) = declared.iter().find(|column| !names.contains(&column.name)) {
        return Err(schema_error(format!(
            "the column `{}` is declared, and the query has no such column; it has {}",
            missing.name,
            names.join(", ")
        )));
    }
    names
        .iter()
        .map(|name| {
            let column = declared.iter().find(|column| column.name == *name);
            column.map(|column| column.column_type).ok_or_else(|| {
                schema_error(format!(
                    "the query has a column `{name}` that is not declared: declare it, or leave it out"
                ))
            })
        })
        .collect()
}

fn write(
    task: &QueryTask<'_>,
    mut spooled: Spooled,
    columns: &[Column],
    control: &Control,
) -> Result<Written, EngineError> {
    let schema = schema_of(columns);
    let mut rows = 0u64;
    let output = Output::create(task.output, task.format)?.into_writer()?;
    let mut writer = DatasetWriter::new(output, &schema, WriteOptions::from(task.format))?;
    loop {
        let batch = next_batch(task, &mut spooled, columns, &schema, rows)?;
        if batch.num_rows() == 0 {
            break;
        }
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(|error| at(task.output, error))?;
        control.report(rows, None)?;
    }
    let file = writer.finish().map_err(|error| at(task.output, error))?;
    let (file, _) = file.into_output()?.commit()?;
    Ok(Written { rows, file, columns: columns.to_vec() })
}

fn next_batch(
    task: &QueryTask<'_>,
    spooled: &mut Spooled,
    columns: &[Column],
    schema: &SchemaRef,
    rows_before: u64,
) -> Result<RecordBatch, EngineError> {
    let mut appenders: Vec<Appender> =
        schema.fields().iter().map(|field| Appender::new(field.data_type(), BATCH_ROWS)).collect();
    let mut rows = 0;
    while rows < BATCH_ROWS
        && let Some(cells) = spooled.next_row()?
    {
        rows += 1;
        for ((cell, column), appender) in cells.iter().zip(columns).zip(&mut appenders) {
            append(appender, cell, column).map_err(|message| {
                let row = rows_before + rows as u64;
                guard::query(task.file, format!("row {row} of the result, column `{}`: {message}", column.name))
            })?;
        }
    }
    let arrays: Result<Vec<_>, _> = appenders.iter_mut().map(Appender::finish).collect();
    RecordBatch::try_new(schema.clone(), arrays?)
        .map_err(|source| EngineError::Internal { action: "making rows", source: Box::new(source) })
}

fn append(appender: &mut Appender, cell: &SqlCell<'_>, column: &Column) -> Result<(), String> {
    let value = convert(cell, column.column_type)?;
    if appender.append(value) { Ok(()) } else { Err(format!("it does not fit a column of {}", column.column_type)) }
}
