//! Datasets in PostgreSQL: their columns, whether they have changed, and their rows as texts.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;

use postgres::{Client, GenericClient};
use stet_domain::ColumnType;
use stet_domain::project::{Column, TableName};

use super::{Postgres, PostgresConfig, quoted};
use crate::error::{Doing, StoreError};

/// The longest row, in bytes of its texts.
const ROW_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowSource {
    /// A table or view.
    Table(TableName),
    /// The rows of a query.
    Query(String),
}

/// A column in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name, and what Stet takes it to hold.
    pub column: Column,
    /// The database's own type, with its limits.
    pub sql_type: String,
}

/// What tells cheaply whether a table may have changed. Equal prints mean equal rows; different ones mean nothing.
///
/// It holds the table's file (another one after `TRUNCATE` or a rewrite), the counts of rows ever inserted, updated and
/// deleted, and the start of the server, which may forget the counts. Counts of a session reach the server's statistics
/// up to a second after its commit, so a change can be seen that late, and never not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePrint(pub String);

/// A row: canonical texts or the database's own, none for null.
pub type TextRow = Vec<Option<String>>;

impl RowSource {
    /// What stands behind `FROM`.
    pub(super) fn item(&self) -> String {
        match self {
            RowSource::Table(name) => table(name),
            // On lines of their own, so that a comment at the end of the query ends there.
            RowSource::Query(query) => format!("(\n{}\n)", query.trim().trim_end_matches(';')),
        }
    }
}

impl Postgres {
    /// The columns. Blocks.
    ///
    /// # Errors
    /// `NotThere` when there is no such table, `Unusable` when the query is wrong or names a column twice.
    pub fn columns(&self, source: &RowSource) -> Result<Vec<TableColumn>, StoreError> {
        let source = source.clone();
        self.pooled(move |config, client| columns(config, client, &source))
    }

    /// What tells whether a table may have changed; none for a view or a query. Blocks.
    ///
    /// # Errors
    /// `NotThere` when there is no such table.
    pub fn print(&self, source: &RowSource) -> Result<Option<TablePrint>, StoreError> {
        let source = source.clone();
        self.pooled(move |config, client| print(config, client, &source))
    }

    /// A text that is the same just when the rows are, whatever their order: their count and the sums of two 64-bit hashes
    /// of each. Reads every row, inside the database. Blocks.
    ///
    /// # Errors
    /// As [`Postgres::columns`].
    pub fn content(&self, source: &RowSource) -> Result<String, StoreError> {
        self.blocking(|config, client| {
            client
                .batch_execute("BEGIN READ ONLY; SET LOCAL statement_timeout = 0")
                .map_err(|error| StoreError::from_postgres(config, Doing::Reading, error))?;
            content(config, client, source)
        })
    }

    /// Gives every row to `visit`, as texts that can be read as the types of the columns, with the content (see
    /// [`Postgres::content`]) of exactly these rows. Blocks.
    ///
    /// # Errors
    /// As [`Postgres::columns`], and whatever `visit` answers.
    pub fn scan<E: From<StoreError> + Send>(
        &self,
        source: &RowSource,
        columns: &[Column],
        visit: &mut (dyn FnMut(TextRow) -> Result<(), E> + Send),
    ) -> Result<String, E> {
        self.on_thread(|config, client| {
            let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
            // One snapshot for the rows and their content.
            client
                .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0")
                .map_err(reading)?;
            let content = content(config, client, source)?;
            let known = self::columns(config, client, source)?;
            let selected: Vec<String> = columns
                .iter()
                .map(|column| match known.iter().find(|known| known.column.name == column.name) {
                    Some(known) => Ok(text_of("o", known)),
                    None => Err(StoreError::Unusable(format!(
                        "the dataset declares a column `{}` that {} does not have",
                        column.name, config.name
                    ))),
                })
                .collect::<Result<_, _>>()?;
            copy_out(config, client, &format!("SELECT {} FROM {} AS o", selected.join(", "), source.item()), visit)?;
            client.batch_execute("COMMIT").map_err(reading)?;
            Ok(content)
        })
    }

    /// Some rows as texts. Blocks.
    ///
    /// # Errors
    /// As [`Postgres::columns`].
    pub fn some_rows(
        &self,
        source: &RowSource,
        columns: &[TableColumn],
        offset: u64,
        limit: usize,
    ) -> Result<Vec<TextRow>, StoreError> {
        let mut rows = Vec::new();
        let selected: Vec<String> = columns.iter().map(|column| text_of("o", column)).collect();
        let query = format!("SELECT {} FROM {} AS o LIMIT {limit} OFFSET {offset}", selected.join(", "), source.item());
        self.blocking(|config, client| {
            copy_out::<StoreError>(config, client, &query, &mut |row| {
                rows.push(row);
                Ok(())
            })
        })?;
        Ok(rows)
    }

    /// Runs work on a connection of its own, on a thread that may block.
    pub(super) fn on_thread<T: Send, E: From<StoreError> + Send>(
        &self,
        work: impl FnOnce(&PostgresConfig, &mut Client) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let config = self.shared_config();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let mut client = config.connect()?;
                work(config, &mut client)
            });
            running.join().unwrap_or(Err(E::from(StoreError::Closed)))
        })
    }

    /// Runs a short read on a connection of the pool.
    pub(super) fn pooled<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&PostgresConfig, &mut Client) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let config = Arc::clone(self.shared_config());
        self.pool().read_blocking(move |client| work(&config, client))
    }

    fn blocking<T: Send>(
        &self,
        work: impl FnOnce(&PostgresConfig, &mut Client) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        self.on_thread(work)
    }
}

/// A table's name, in quotes.
pub(super) fn table(name: &TableName) -> String {
    format!("{}.{}", quoted(&name.schema), quoted(&name.table))
}

/// The columns of a source, with the types that the database gives them.
pub(super) fn columns(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    source: &RowSource,
) -> Result<Vec<TableColumn>, StoreError> {
    let statement = client
        .prepare(&format!("SELECT * FROM {} AS o LIMIT 0", source.item()))
        .map_err(|error| not_there(config, source, error))?;
    // The statement's description lacks the limits of types, which only tables have.
    let limits: Vec<(String, String)> = match source {
        RowSource::Table(name) => client
            .query(
                "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod) FROM pg_attribute
                 WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
                &[&table(name)],
            )
            .and_then(|rows| rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect())
            .map_err(|error| not_there(config, source, error))?,
        RowSource::Query(_) => Vec::new(),
    };
    let mut columns: Vec<TableColumn> = Vec::new();
    for column in statement.columns() {
        let name = column.name().to_owned();
        if columns.iter().any(|known| known.column.name == name) {
            return Err(StoreError::Unusable(format!(
                "the query gives two columns named `{name}`: rename one of them"
            )));
        }
        let sql_type = match limits.iter().find(|(limited, _)| *limited == name) {
            Some((_, sql_type)) => sql_type.clone(),
            None => column.type_().name().to_owned(),
        };
        columns.push(TableColumn { column: Column { name, column_type: column_type(&sql_type) }, sql_type });
    }
    Ok(columns)
}

/// What Stet takes a type of the database to hold. A `numeric` without limits is a number, whose digits beyond the
/// sixteenth do not show; declare the column as `decimal(…)` to have them all.
fn column_type(sql_type: &str) -> ColumnType {
    let base = sql_type.split('(').next().unwrap_or_default().trim();
    match base {
        "smallint" | "integer" | "bigint" | "int2" | "int4" | "int8" => ColumnType::Integer,
        "real" | "double precision" | "float4" | "float8" => ColumnType::Number,
        "numeric" => {
            let limits = sql_type.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or_default();
            let (precision, scale) = limits.split_once(',').unwrap_or((limits, "0"));
            match (precision.parse::<u8>(), scale.parse::<u8>()) {
                (Ok(precision @ 1..=38), Ok(scale)) if scale <= precision => ColumnType::Decimal { precision, scale },
                _ => ColumnType::Number,
            }
        }
        "text" | "character varying" | "varchar" | "character" | "bpchar" | "name" | "uuid" | "json" | "jsonb" => {
            ColumnType::Text
        }
        "boolean" | "bool" => ColumnType::Boolean,
        "date" => ColumnType::Date,
        _ if sql_type.starts_with("timestamp") => {
            let with_zone = sql_type.ends_with("with time zone") || base == "timestamptz";
            if with_zone { ColumnType::Instant } else { ColumnType::DateTime }
        }
        // What Stet has no type for is read as the text that the database writes for it.
        _ => ColumnType::Text,
    }
}

/// The type in which a build writes a column that people edit, wide enough for whatever Stet takes the column to hold.
pub(super) fn wide_type(column: &Column, sql_type: Option<&str>) -> String {
    if let Some(numeric) = sql_type.filter(|sql_type| sql_type.starts_with("numeric")) {
        return numeric.to_owned();
    }
    match column.column_type {
        ColumnType::Text | ColumnType::Other => "text".to_owned(),
        ColumnType::Integer => "bigint".to_owned(),
        ColumnType::Number => "double precision".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        ColumnType::Boolean => "boolean".to_owned(),
        ColumnType::Date => "date".to_owned(),
        ColumnType::DateTime => "timestamp without time zone".to_owned(),
        ColumnType::Instant => "timestamp with time zone".to_owned(),
    }
}

/// The text of a column that reads as its type: ISO 8601 for times, `true` and `false`, what PostgreSQL writes for others.
pub(super) fn text_of(alias: &str, column: &TableColumn) -> String {
    let name = format!("{alias}.{}", quoted(&column.column.name));
    match column.column.column_type {
        ColumnType::DateTime | ColumnType::Instant => format!("pg_catalog.to_json({name}) #>> '{{}}'"),
        _ => format!("({name})::text"),
    }
}

fn print(config: &PostgresConfig, client: &mut Client, source: &RowSource) -> Result<Option<TablePrint>, StoreError> {
    let RowSource::Table(name) = source else { return Ok(None) };
    let row = client
        .query_one(
            "SELECT c.relkind IN ('r', 'm'),
                    c.oid::text || ' ' || c.relfilenode::text || ' '
                    || pg_stat_get_tuples_inserted(c.oid)::text || ' ' || pg_stat_get_tuples_updated(c.oid)::text || ' '
                    || pg_stat_get_tuples_deleted(c.oid)::text || ' ' || pg_postmaster_start_time()::text || ' '
                    || c.relnatts::text
             FROM pg_class c WHERE c.oid = $1::text::regclass",
            &[&table(name)],
        )
        .map_err(|error| not_there(config, source, error))?;
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let is_table: bool = row.try_get(0).map_err(reading)?;
    is_table.then(|| row.try_get(1).map(TablePrint)).transpose().map_err(reading)
}

pub(super) fn content(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    source: &RowSource,
) -> Result<String, StoreError> {
    let query = format!(
        "SELECT count(*)::text || ' ' || coalesce(sum(hashtextextended(o::text, 0)::numeric), 0)::text || ' '
                || coalesce(sum(hashtextextended(o::text, 1)::numeric), 0)::text FROM {} AS o",
        source.item()
    );
    let row = client.query_one(&query, &[]).map_err(|error| not_there(config, source, error))?;
    row.try_get(0).map_err(|error| StoreError::from_postgres(config, Doing::Reading, error))
}

pub(super) fn not_there(config: &PostgresConfig, source: &RowSource, error: postgres::Error) -> StoreError {
    let state = error.code().map(|state| state.code().to_owned());
    match (source, state.as_deref()) {
        (RowSource::Table(name), Some("42P01" | "3F000")) => {
            StoreError::NotThere { connection: config.name.clone(), what: format!("table `{name}`") }
        }
        // The author of a query needs the database's words about it; they speak of nothing else.
        (RowSource::Query(_), Some(state)) if state.starts_with("42") && state != "42501" => {
            let words = error.as_db_error().map_or_else(String::new, |error| error.message().to_owned());
            let hint = match state {
                "42P01" => "; name tables with their schema, such as public.strikes",
                _ => "",
            };
            StoreError::Unusable(format!("the query of the dataset is wrong: {words}{hint}"))
        }
        _ => StoreError::from_postgres(config, Doing::Reading, error),
    }
}

/// Gives the rows of a query whose columns are all texts.
pub(super) fn copy_out<E: From<StoreError>>(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    query: &str,
    visit: &mut (dyn FnMut(TextRow) -> Result<(), E> + Send),
) -> Result<(), E> {
    let lost = |error: std::io::Error| StoreError::ReadFailed { path: config.to_string().into(), source: error.into() };
    let reader = client
        .copy_out(&format!("COPY ({query}) TO STDOUT"))
        .map_err(|error| StoreError::from_postgres(config, Doing::Reading, error))?;
    let mut reader = BufReader::with_capacity(256 * 1024, reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(ROW_BYTES_MAX).read_until(b'\n', &mut line).map_err(lost)?;
        if read == 0 {
            return Ok(());
        }
        if line.pop() != Some(b'\n') {
            return Err(StoreError::Unusable(format!("a row is longer than {ROW_BYTES_MAX} bytes")).into());
        }
        visit(read_row(&line).map_err(StoreError::Unusable)?)?;
    }
}

/// A row of COPY's text format.
fn read_row(line: &[u8]) -> Result<TextRow, String> {
    line.split(|byte| *byte == b'\t')
        .map(|field| {
            if field == b"\\N" {
                return Ok(None);
            }
            let mut text = Vec::with_capacity(field.len());
            let mut bytes = field.iter();
            while let Some(byte) = bytes.next() {
                text.push(match byte {
                    b'\\' => match bytes.next() {
                        Some(b'b') => 8,
                        Some(b'f') => 12,
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(b'v') => 11,
                        Some(other) => *other,
                        None => b'\\',
                    },
                    other => *other,
                });
            }
            String::from_utf8(text).map(Some).map_err(|_| "the database sent a text that is not UTF-8".to_owned())
        })
        .collect()
}

/// Writes a row in COPY's text format.
pub(super) fn write_row(row: &[Option<String>], out: &mut impl Write) -> std::io::Result<()> {
    for (place, field) in row.iter().enumerate() {
        if place > 0 {
            out.write_all(b"\t")?;
        }
        let Some(text) = field else {
            out.write_all(b"\\N")?;
            continue;
        };
        let mut rest = text.as_bytes();
        while let Some(special) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
            out.write_all(&rest[..special])?;
            out.write_all(match rest[special] {
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                _ => b"\\t",
            })?;
            rest = &rest[special + 1..];
        }
        out.write_all(rest)?;
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_back_as_it_was() {
        let rows: [TextRow; 4] = [
            vec![None, Some(String::new()), Some("\\N".into())],
            vec![Some("a\tb\nc\rd\\e\\\\".into()), Some("\u{b}\u{8}\u{c}".into()), None],
            vec![Some("ünï\t".into())],
            vec![Some("\\t".into()), Some("\\".into())],
        ];
        for row in rows {
            let mut line = Vec::new();
            write_row(&row, &mut line).unwrap_or_default();
            assert_eq!(line.pop(), Some(b'\n'));
            assert!(!line.contains(&b'\n'));
            assert_eq!(read_row(&line), Ok(row));
        }
    }
}
