//! Outputs in PostgreSQL: tables that are made beside the present ones and take their places in one transaction.

use std::io::Write;

use postgres::{GenericClient, Transaction};
use stet_domain::project::{Column, TableName};

use super::rows::{columns, copy_out, not_there, table, text_of, wide_type, write_row};
use super::{Postgres, PostgresConfig, RowSource, TextRow, literal, quoted};
use crate::error::{Doing, StoreError};

/// The comment on every table that a recipe made. A table without it is somebody's, and never replaced.
const COMMENT: &str = "Made by Stet: dataset ";

/// The most rows with a key problem that are listed.
const KEYS_LISTED_MAX: usize = 20;

/// A build of an edited dataset inside the database that has its original.
#[derive(Debug)]
pub struct ApplyInside<'a> {
    /// The original.
    pub original: &'a RowSource,
    /// Its key columns, in their configured order.
    pub keys: &'a [String],
    /// The editable columns; one that the original lacks is added behind its own.
    pub editable: &'a [Column],
    /// The table to make.
    pub output: &'a TableName,
    /// The dataset that it is.
    pub dataset: &'a str,
}

/// What an output came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableWritten {
    /// Rows in it.
    pub rows: u64,
    /// See [`Postgres::content`].
    pub content: String,
}

/// What a build inside the database read and wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedInside {
    /// Rows of the original.
    pub rows_in: u64,
    /// The content of the original that was read.
    pub original: String,
    /// The output.
    pub output: TableWritten,
}

impl Postgres {
    /// Makes a table of rows, which takes the place of the one that an earlier build made. Blocks.
    ///
    /// `rows` is called with the place to put rows into: texts that read as the types of the columns.
    ///
    /// # Errors
    /// When the database cannot be written, or has a table of this name that no recipe made; whatever `rows` answers. The
    /// present table is untouched then.
    pub fn replace_table<E: From<StoreError> + Send>(
        &self,
        output: &TableName,
        dataset: &str,
        columns: &[Column],
        rows: impl FnOnce(&mut dyn FnMut(TextRow) -> Result<(), E>) -> Result<(), E> + Send,
    ) -> Result<TableWritten, E> {
        self.on_thread(|config, client| {
            let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
            let mut transaction = client.transaction().map_err(writing)?;
            transaction.batch_execute("SET LOCAL statement_timeout = 0").map_err(writing)?;
            let fresh = prepare(config, &mut transaction, output)?;
            let definition: Vec<String> =
                columns.iter().map(|column| format!("{} {}", quoted(&column.name), wide_type(column, None))).collect();
            run(config, &mut transaction, &format!("CREATE TABLE {} ({})", table(&fresh), definition.join(", ")))?;
            copy_in(config, &mut transaction, &table(&fresh), columns.len(), rows)?;
            let written = swap(config, &mut transaction, &fresh, output, dataset)?;
            transaction.commit().map_err(|error| StoreError::from_postgres(config, Doing::Committing, error))?;
            Ok(written)
        })
    }

    /// Makes an edited dataset in one transaction, of which only the rows that the log knows leave the database. Blocks.
    ///
    /// `known` are the keys that the log knows, as texts that read as the types of the key columns. `edit` is called with
    /// the original's rows of these keys and gives what becomes of them (rows that it does not give are deleted) and the
    /// created ones, in order: the key columns, then the editable ones. All other rows, and all other columns, are copied
    /// by the database itself.
    ///
    /// # Errors
    /// When rows of the original have no key of their own, with a list; when the database cannot be written, or has a table
    /// of the output's name that no recipe made; whatever `edit` answers. The present table is untouched then.
    pub fn apply_inside<E: From<StoreError> + Send>(
        &self,
        task: &ApplyInside<'_>,
        known: &[Vec<String>],
        edit: impl FnOnce(Vec<TextRow>, &[Column]) -> Result<Vec<TextRow>, E> + Send,
    ) -> Result<AppliedInside, E> {
        self.on_thread(|config, client| {
            let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
            let mut transaction = client
                .build_transaction()
                .isolation_level(postgres::IsolationLevel::RepeatableRead)
                .start()
                .map_err(writing)?;
            // The original's order is kept: a scan that begins in the middle, or that workers share, would lose it.
            transaction
                .batch_execute(
                    "SET LOCAL statement_timeout = 0; SET LOCAL synchronize_seqscans = off;
                     SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL enable_mergejoin = off",
                )
                .map_err(writing)?;
            let fresh = prepare(config, &mut transaction, task.output)?;
            let plan = Plan::new(config, &mut transaction, task)?;
            let rows_in = plan.check_keys(config, &mut transaction)?;
            let original = super::rows::content(config, &mut transaction, task.original)?;

            run(config, &mut transaction, &plan.create_known())?;
            copy_in(config, &mut transaction, "pg_temp.stet_known", task.keys.len(), |put| {
                known.iter().try_for_each(|key| put(key.iter().cloned().map(Some).collect()))
            })
            .map_err(|error: StoreError| E::from(error))?;
            run(config, &mut transaction, "ANALYZE pg_temp.stet_known")?;
            let mut rows = Vec::new();
            copy_out::<StoreError>(config, &mut transaction, &plan.select_known(), &mut |row| {
                rows.push(row);
                Ok(())
            })?;
            let edited = edit(rows, &plan.handed)?;
            run(config, &mut transaction, &plan.create_edited())?;
            copy_in(config, &mut transaction, "pg_temp.stet_edited", plan.handed.len() + 1, |put| {
                edited.into_iter().enumerate().try_for_each(|(place, mut row)| {
                    row.insert(0, Some(place.to_string()));
                    put(row)
                })
            })
            .map_err(|error: StoreError| E::from(error))?;
            run(config, &mut transaction, "ANALYZE pg_temp.stet_edited")?;
            run(config, &mut transaction, &plan.create_output(&fresh))?;
            run(config, &mut transaction, &plan.insert_created(&fresh))?;
            let output = swap(config, &mut transaction, &fresh, task.output, task.dataset)?;
            transaction.commit().map_err(|error| StoreError::from_postgres(config, Doing::Committing, error))?;
            Ok(AppliedInside { rows_in, original, output })
        })
    }

    /// Whether there is a table of a name, made by a recipe as this dataset. Blocks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_output(&self, output: &TableName, dataset: &str) -> Result<bool, StoreError> {
        let (output, expected) = (output.clone(), comment(dataset));
        self.pooled(
            move |config, client| Ok(comment_of(config, client, &output)?.flatten().as_ref() == Some(&expected)),
        )
    }
}

/// What goes where in an apply.
struct Plan<'a> {
    task: &'a ApplyInside<'a>,
    /// The columns of the original.
    original: Vec<super::TableColumn>,
    /// What is handed out and taken back: the key columns, then the editable ones.
    handed: Vec<Column>,
    /// The type of each handed column in the output.
    types: Vec<String>,
}

impl<'a> Plan<'a> {
    fn new(
        config: &PostgresConfig,
        transaction: &mut Transaction<'_>,
        task: &'a ApplyInside<'a>,
    ) -> Result<Plan<'a>, StoreError> {
        let original = columns(config, transaction, task.original)?;
        let of_original = |name: &str| original.iter().find(|known| known.column.name == name);
        let mut handed = Vec::new();
        let mut types = Vec::new();
        for name in task.keys {
            let column = of_original(name).ok_or_else(|| {
                StoreError::Unusable(format!("the original has no column `{name}`, which is its key"))
            })?;
            types.push(wide_type(&column.column, Some(&column.sql_type)));
            handed.push(column.column.clone());
        }
        for column in task.editable {
            let known = of_original(&column.name);
            types.push(wide_type(column, known.map(|known| known.sql_type.as_str())));
            handed.push(column.clone());
        }
        Ok(Plan { task, original, handed, types })
    }

    fn keys(&self) -> usize {
        self.task.keys.len()
    }

    /// Refuses rows without a key and rows that share one, and counts all rows.
    fn check_keys(&self, config: &PostgresConfig, transaction: &mut Transaction<'_>) -> Result<u64, StoreError> {
        let from = self.task.original.item();
        let names: Vec<String> = self.task.keys.iter().map(|name| format!("o.{}", quoted(name))).collect();
        let nulls: Vec<String> = names.iter().map(|name| format!("{name} IS NULL")).collect();
        let texts: Vec<String> = names.iter().map(|name| format!("coalesce({name}::text, 'null')")).collect();
        let problems = format!(
            "SELECT {}, count(*), bool_or({}) FROM {from} AS o GROUP BY {} HAVING count(*) > 1 OR bool_or({}) LIMIT {}",
            texts.join(" || ', ' || "),
            nulls.join(" OR "),
            names.join(", "),
            nulls.join(" OR "),
            KEYS_LISTED_MAX
        );
        let reading = |error| not_there(config, self.task.original, error);
        let rows = transaction.query(&problems, &[]).map_err(reading)?;
        if !rows.is_empty() {
            let mut lines = Vec::new();
            for row in &rows {
                let (key, count, null): (String, i64, bool) = (
                    row.try_get(0).map_err(reading)?,
                    row.try_get(1).map_err(reading)?,
                    row.try_get(2).map_err(reading)?,
                );
                lines.push(match null {
                    true => format!("no key: {key} ({count} rows)"),
                    false => format!("the key {key} is in {count} rows"),
                });
            }
            return Err(StoreError::Unusable(format!(
                "rows of the original have no key of their own; the key is {}:\n{}",
                self.task.keys.join(", "),
                lines.join("\n")
            )));
        }
        let row = transaction.query_one(&format!("SELECT count(*) FROM {from} AS o"), &[]).map_err(reading)?;
        Ok(row.try_get::<_, i64>(0).map_err(reading)?.unsigned_abs())
    }

    fn create_known(&self) -> String {
        let fields: Vec<String> = (0..self.keys()).map(|n| format!("k{n} {}", self.types[n])).collect();
        format!("CREATE TEMPORARY TABLE stet_known ({}) ON COMMIT DROP", fields.join(", "))
    }

    fn create_edited(&self) -> String {
        let fields: Vec<String> = self.types.iter().enumerate().map(|(n, kind)| format!("c{n} {kind}")).collect();
        format!("CREATE TEMPORARY TABLE stet_edited (n bigint, {}) ON COMMIT DROP", fields.join(", "))
    }

    /// That a row of the original has the key of a row of ours.
    fn same_key(&self, alias: &str, prefix: &str) -> String {
        let parts = self
            .task
            .keys
            .iter()
            .enumerate()
            .map(|(n, name)| format!("{} = {alias}.{prefix}{n}", self.widened(n, name)));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// A column of the original in the type that it has in the output. `real` goes by its text: 0.1 stays 0.1.
    fn widened(&self, handed: usize, name: &str) -> String {
        let kind = &self.types[handed];
        let column = format!("o.{}", quoted(name));
        match self.original.iter().find(|known| known.column.name == name).map(|known| known.sql_type.as_str()) {
            Some(known) if known == kind => column,
            Some("real" | "float4") => format!("{column}::text::{kind}"),
            _ => format!("{column}::{kind}"),
        }
    }

    fn select_known(&self) -> String {
        let fields: Vec<String> = self
            .handed
            .iter()
            .map(|column| match self.original.iter().find(|known| known.column.name == column.name) {
                Some(known) => text_of("o", known),
                None => "NULL".to_owned(),
            })
            .collect();
        format!(
            "SELECT {} FROM {} AS o JOIN pg_temp.stet_known AS k ON {}",
            fields.join(", "),
            self.task.original.item(),
            self.same_key("k", "k")
        )
    }

    /// The place of a column among those that are handed out.
    fn place(&self, name: &str) -> Option<usize> {
        self.handed.iter().position(|column| column.name == name)
    }

    /// The editable columns that the original lacks, by their places among the handed ones.
    fn added(&self) -> impl Iterator<Item = usize> {
        (self.keys()..self.handed.len())
            .filter(|n| !self.original.iter().any(|known| known.column.name == self.handed[*n].name))
    }

    fn create_output(&self, fresh: &TableName) -> String {
        let mut fields: Vec<String> = self
            .original
            .iter()
            .map(|known| {
                let name = &known.column.name;
                match self.place(name) {
                    None => format!("o.{}", quoted(name)),
                    Some(n) if n < self.keys() => format!("{} AS {}", self.widened(n, name), quoted(name)),
                    Some(n) => format!(
                        "CASE WHEN e.n IS NULL THEN {} ELSE e.c{n} END AS {}",
                        self.widened(n, name),
                        quoted(name)
                    ),
                }
            })
            .collect();
        fields.extend(self.added().map(|n| format!("e.c{n} AS {}", quoted(&self.handed[n].name))));
        format!(
            "CREATE TABLE {} AS SELECT {} FROM {} AS o LEFT JOIN pg_temp.stet_known AS k ON {}
             LEFT JOIN pg_temp.stet_edited AS e ON {} WHERE k.k0 IS NULL OR e.n IS NOT NULL",
            table(fresh),
            fields.join(", "),
            self.task.original.item(),
            self.same_key("k", "k"),
            self.same_key("e", "c")
        )
    }

    fn insert_created(&self, fresh: &TableName) -> String {
        let names: Vec<String> = self.handed.iter().map(|column| quoted(&column.name)).collect();
        let fields: Vec<String> = (0..self.handed.len()).map(|n| format!("e.c{n}")).collect();
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM pg_temp.stet_edited AS e
             WHERE NOT EXISTS (SELECT 1 FROM {} AS o WHERE {}) ORDER BY e.n",
            table(fresh),
            names.join(", "),
            fields.join(", "),
            self.task.original.item(),
            self.same_key("e", "c")
        )
    }
}

fn run(config: &PostgresConfig, transaction: &mut Transaction<'_>, statement: &str) -> Result<(), StoreError> {
    transaction.batch_execute(statement).map_err(|error| StoreError::from_postgres(config, Doing::Writing, error))
}

fn comment(dataset: &str) -> String {
    format!("{COMMENT}{dataset}")
}

/// The comment on a table; none when there is no such table.
fn comment_of(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    name: &TableName,
) -> Result<Option<Option<String>>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let row = client
        .query_opt(
            "SELECT pg_catalog.obj_description(c.oid, 'pg_class') FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
            &[&name.schema, &name.table],
        )
        .map_err(reading)?;
    row.map(|row| row.try_get(0)).transpose().map_err(reading)
}

/// Refuses a table that is not ours, and gives the name under which its successor is made.
fn prepare(
    config: &PostgresConfig,
    transaction: &mut Transaction<'_>,
    output: &TableName,
) -> Result<TableName, StoreError> {
    match comment_of(config, transaction, output)? {
        Some(comment) if !comment.as_deref().is_some_and(|comment| comment.starts_with(COMMENT)) => {
            return Err(StoreError::Unusable(format!(
                "{} has a table `{output}` that no recipe of Stet made: give the output another table, or remove that one",
                config.name
            )));
        }
        _ => {}
    }
    Ok(TableName { schema: output.schema.clone(), table: format!("stet_{}", uuid::Uuid::new_v4().simple()) })
}

/// Puts a new table in the place of the present one, with the rights that people have on it.
fn swap(
    config: &PostgresConfig,
    transaction: &mut Transaction<'_>,
    fresh: &TableName,
    output: &TableName,
    dataset: &str,
) -> Result<TableWritten, StoreError> {
    let writing = |error| StoreError::from_postgres(config, Doing::Writing, error);
    let content = super::rows::content(config, transaction, &RowSource::Table(fresh.clone()))?;
    let grants = transaction
        .query(
            "SELECT format('GRANT %s ON TABLE %s TO %s%s', a.privilege_type, $3::text,
                      CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                      CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
             WHERE n.nspname = $1 AND c.relname = $2 AND a.grantee <> c.relowner",
            &[&output.schema, &output.table, &table(fresh)],
        )
        .map_err(writing)?;
    for grant in grants {
        let statement: String = grant.try_get(0).map_err(writing)?;
        run(config, transaction, &statement)?;
    }
    run(config, transaction, &format!("COMMENT ON TABLE {} IS {}", table(fresh), literal(&comment(dataset))))?;
    transaction.batch_execute(&format!("DROP TABLE IF EXISTS {}", table(output))).map_err(|error| {
        match error.code().map(|state| state.code()) {
            Some("2BP01") => StoreError::Unusable(format!(
                "the table `{output}` cannot be replaced, since a view or a foreign key refers to it: remove that"
            )),
            _ => writing(error),
        }
    })?;
    run(config, transaction, &format!("ALTER TABLE {} RENAME TO {}", table(fresh), quoted(&output.table)))?;
    let rows = content.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default();
    Ok(TableWritten { rows, content })
}

/// Fills a table with rows of texts.
fn copy_in<E: From<StoreError>>(
    config: &PostgresConfig,
    transaction: &mut Transaction<'_>,
    into: &str,
    width: usize,
    rows: impl FnOnce(&mut dyn FnMut(TextRow) -> Result<(), E>) -> Result<(), E>,
) -> Result<(), E> {
    let lost =
        |error: std::io::Error| StoreError::WriteFailed { path: config.to_string().into(), source: error.into() };
    let writer = transaction
        .copy_in(&format!("COPY {into} FROM STDIN"))
        .map_err(|error| StoreError::from_postgres(config, Doing::Writing, error))?;
    let mut writer = std::io::BufWriter::with_capacity(256 * 1024, writer);
    rows(&mut |row| {
        debug_assert_eq!(row.len(), width);
        if row.iter().flatten().any(|text| text.contains('\0')) {
            let message = "a text has a NUL in it, which PostgreSQL cannot store: correct it in the table";
            return Err(E::from(StoreError::Unusable(message.to_owned())));
        }
        write_row(&row, &mut writer).map_err(|error| E::from(lost(error)))
    })?;
    writer.flush().map_err(lost)?;
    let writer = writer.into_inner().map_err(|error| lost(error.into_error()))?;
    writer.finish().map_err(|error| StoreError::from_postgres(config, Doing::Writing, error))?;
    Ok(())
}
