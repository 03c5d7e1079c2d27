//! Datasets as virtual tables of SQLite.
//!
//! A small dataset is read once into memory, with the columns that the query uses; equality joins find its rows by a hash
//! index, since SQLite builds no indexes of its own over virtual tables. A large dataset is streamed from its files at
//! each scan; one that is joined by equality is copied into a temporary table of SQLite first (see `super::run`).

// The traits of virtual tables are unsafe to implement: SQLite takes a pointer to each of the two structs below for a
// pointer to their first field. Both are `repr(C)` with SQLite's own struct first, which is all that the traits ask for.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_select::concat::concat_batches;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor,
    VTabKind, sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error};
use stet_domain::ColumnType;
use stet_domain::project::Column;

use super::column::{Chunk, HashIndex, SqlCell};
use crate::control::Control;
use crate::error::EngineError;
use crate::read::{Batches, FileSource};

/// The most columns by which a lookup is made at once.
const LOOKUP_COLUMNS_MAX: usize = 8;

const BATCH_ROWS: usize = 8_192;

const MODULE_NAME: &str = "stet_dataset";

/// A dataset that a query can read.
#[derive(Debug)]
pub(super) struct Attached {
    /// The dataset: the table's name.
    pub(super) source: FileSource,
    /// Its columns.
    pub(super) columns: Vec<Column>,
    /// The columns' names in SQL.
    names: Vec<String>,
    /// Rows, roughly.
    rows_estimate: f64,
    /// The columns that the query uses, as SQLite tells them: bit 63 stands for all from the 64th on.
    used: AtomicU64,
    /// Whether the query was seen to read the table at all, and to look rows up in it by values of another table.
    planned: AtomicBool,
    joined: AtomicBool,
    buffer: Mutex<Option<Arc<Buffer>>>,
    failure: Failure,
    control: Control,
}

/// Where the error of a table waits for the query's end: SQLite itself only carries a text.
pub(super) type Failure = Arc<Mutex<Option<EngineError>>>;

/// All rows of a table in memory.
#[derive(Debug)]
struct Buffer {
    chunk: Arc<Chunk>,
    indexes: Mutex<HashMap<Vec<usize>, Arc<HashIndex>>>,
}

/// Makes the datasets known to a connection.
pub(super) fn attach(connection: &Connection, tables: &[Arc<Attached>]) -> rusqlite::Result<()> {
    let module = const { &Module::<AttachedTable>::read_only_module() };
    connection.create_module(MODULE_NAME, module, Some(tables.to_vec()))
}

/// Makes a table of the name of the dataset that is `index` among those that are known.
pub(super) fn create(connection: &Connection, dataset: &str, index: usize) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("CREATE VIRTUAL TABLE {} USING {MODULE_NAME}({index})", quote(dataset)))
}

/// A name as SQL takes it.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Attached {
    /// Looks at a dataset.
    ///
    /// # Errors
    /// When its columns cannot be read.
    pub(super) fn new(
        source: FileSource,
        columns: Vec<Column>,
        rows_estimate: f64,
        failure: Failure,
        control: Control,
    ) -> Attached {
        let names = sql_names(&columns);
        Attached {
            source,
            columns,
            names,
            rows_estimate,
            used: AtomicU64::new(0),
            planned: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            buffer: Mutex::new(None),
            failure,
            control,
        }
    }

    /// Whether the query reads the table.
    pub(super) fn is_planned(&self) -> bool {
        self.planned.load(Ordering::Relaxed)
    }

    /// Whether the query looks rows up in the table by values of another one.
    pub(super) fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// The columns with their names and types in SQL, as they stand in `CREATE TABLE`.
    pub(super) fn declaration(&self) -> String {
        let columns: Vec<String> = (self.names.iter().zip(&self.columns))
            .map(|(name, column)| format!("{} {}", quote(name), declared_type(column.column_type)))
            .collect();
        columns.join(", ")
    }

    /// The places of the columns that the query uses.
    pub(super) fn used_columns(&self) -> Vec<usize> {
        let used = self.used.load(Ordering::Relaxed);
        (0..self.columns.len()).filter(|place| used & (1 << (*place).min(63)) != 0).collect()
    }

    /// Starts reading the columns that the query uses.
    pub(super) fn open(&self) -> Result<Batches, EngineError> {
        self.source.batches(Some(&self.used_columns()), BATCH_ROWS)
    }

    /// A batch as SQL sees it.
    pub(super) fn chunk(&self, batch: &arrow_array::RecordBatch) -> Result<Chunk, EngineError> {
        Chunk::new(batch, &self.used_columns(), self.columns.len())
    }

    /// Reads all rows into memory, if they fit; says whether they do.
    pub(super) fn buffer(&self, bytes_max: usize) -> Result<bool, EngineError> {
        let Batches { schema, batches } = self.open()?;
        let (mut kept, mut bytes, mut rows) = (Vec::new(), 0usize, 0usize);
        for batch in batches {
            self.control.check()?;
            let batch = batch?;
            bytes += batch.get_array_memory_size();
            rows += batch.num_rows();
            if bytes > bytes_max || rows >= HashIndex::END as usize {
                return Ok(false);
            }
            kept.push(batch);
        }
        let all = concat_batches(&schema, &kept)
            .map_err(|source| EngineError::Internal { action: "reading a table", source: Box::new(source) })?;
        let chunk = Arc::new(self.chunk(&all)?);
        *lock(&self.buffer) = Some(Arc::new(Buffer { chunk, indexes: Mutex::default() }));
        Ok(true)
    }

    fn buffered(&self) -> Option<Arc<Buffer>> {
        lock(&self.buffer).clone()
    }

    fn fail(&self, error: EngineError) -> Error {
        let message = error.to_string();
        lock(&self.failure).get_or_insert(error);
        Error::ModuleError(message)
    }
}

impl Buffer {
    fn index(&self, columns: &[usize]) -> Arc<HashIndex> {
        let mut indexes = lock(&self.indexes);
        if let Some(index) = indexes.get(columns) {
            return index.clone();
        }
        let index = Arc::new(HashIndex::new(&self.chunk, columns));
        indexes.insert(columns.to_vec(), index.clone());
        index
    }
}

/// Takes a lock; a panic of another holder leaves nothing half done here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The column types in SQL. Each says by its letters which affinity it has, and by its whole which type it stands for.
const DECLARED_TYPES: [(ColumnType, &str); 8] = [
    (ColumnType::Text, "TEXT"),
    (ColumnType::Integer, "INTEGER"),
    (ColumnType::Number, "REAL"),
    (ColumnType::Boolean, "BOOLEAN"),
    (ColumnType::Date, "DATE_TEXT"),
    (ColumnType::DateTime, "DATETIME_TEXT"),
    (ColumnType::Instant, "INSTANT_TEXT"),
    (ColumnType::Other, "OTHER_TEXT"),
];

fn declared_type(column_type: ColumnType) -> String {
    if let ColumnType::Decimal { precision, scale } = column_type {
        return format!("DECIMAL({precision},{scale})");
    }
    DECLARED_TYPES.iter().find(|(known, _)| *known == column_type).map_or("TEXT", |(_, name)| name).to_owned()
}

/// The type that a result column stands for, when it is a column of a table.
pub(super) fn type_of_declared(declared: &str) -> Option<ColumnType> {
    if let Some((known, _)) = DECLARED_TYPES.iter().find(|(_, name)| *name == declared) {
        return Some(if *known == ColumnType::Other { ColumnType::Text } else { *known });
    }
    declared.to_ascii_lowercase().parse().ok()
}

/// The columns' names as SQL can tell them apart: it takes no NUL in a name, and no two names that differ in case only.
fn sql_names(columns: &[Column]) -> Vec<String> {
    let mut taken = std::collections::HashSet::new();
    let mut names = Vec::with_capacity(columns.len());
    for column in columns {
        let clean = column.name.replace('\0', "\u{fffd}");
        let mut name = clean.clone();
        let mut number = 2;
        while !taken.insert(name.to_ascii_lowercase()) {
            name = format!("{clean}:{number}");
            number += 1;
        }
        names.push(name);
    }
    names
}

/// A table as SQLite holds it.
#[repr(C)]
struct AttachedTable {
    base: sqlite3_vtab,
    table: Arc<Attached>,
}

// SAFETY: `AttachedTable` is `repr(C)` and its first field is `sqlite3_vtab`.
unsafe impl VTab<'_> for AttachedTable {
    type Aux = Vec<Arc<Attached>>;
    type Cursor = Cursor;

    fn connect(
        db: &mut VTabConnection,
        tables: Option<&Self::Aux>,
        _module_name: &[u8],
        _database_name: &[u8],
        _table_name: &[u8],
        args: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        db.config(VTabConfig::Innocuous)?;
        let index: Option<usize> = args.first().and_then(|arg| std::str::from_utf8(arg).ok()?.trim().parse().ok());
        let table = tables
            .zip(index)
            .and_then(|(tables, index)| tables.get(index))
            .ok_or_else(|| Error::ModuleError("there is no such dataset".into()))?
            .clone();
        let schema = CString::new(format!("CREATE TABLE x({})", table.declaration()))?;
        Ok((Cow::Owned(schema), AttachedTable { base: sqlite3_vtab::default(), table }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let table = &self.table;
        table.used.fetch_or(info.col_used(), Ordering::Relaxed);
        table.planned.store(true, Ordering::Relaxed);

        let mut lookup = Vec::new();
        for (place, constraint) in info.constraints().enumerate() {
            let is_equality = constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ;
            let Ok(column) = usize::try_from(constraint.column()) else { continue };
            // The index compares bytes, so it cannot serve another collation.
            if !is_equality || !info.collation(place).is_ok_and(|name| name.eq_ignore_ascii_case("binary")) {
                continue;
            }
            if !matches!(info.rhs_value(place), Ok(Some(_))) {
                table.joined.store(true, Ordering::Relaxed);
            }
            if constraint.is_usable() && lookup.len() < LOOKUP_COLUMNS_MAX {
                lookup.push((place, column));
            }
        }
        let rows = table.rows_estimate.max(1.0);
        if lookup.is_empty() {
            info.set_idx_num(SCAN);
            info.set_estimated_rows(rows as i64);
            info.set_estimated_cost(rows * 2.0);
            return Ok(true);
        }
        let columns: Vec<String> = lookup.iter().map(|(_, column)| column.to_string()).collect();
        for (argument, (place, _)) in lookup.iter().enumerate() {
            info.constraint_usage(*place).set_argv_index(argument as c_int + 1);
        }
        info.set_idx_num(LOOKUP);
        info.set_idx_str(&columns.join(","));
        info.set_estimated_rows(rows.sqrt().min(25.0) as i64);
        info.set_estimated_cost(rows.sqrt().min(25.0));
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<Cursor> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            table: self.table.clone(),
            chunk: None,
            row: 0,
            rows_before: 0,
            rest: Rest::Nothing,
        })
    }
}

impl CreateVTab<'_> for AttachedTable {
    const KIND: VTabKind = VTabKind::Default;
}

const SCAN: c_int = 0;
const LOOKUP: c_int = 1;

/// One walk over rows of a table.
#[repr(C)]
struct Cursor {
    base: sqlite3_vtab_cursor,
    table: Arc<Attached>,
    /// The rows in which the cursor stands; none at the end.
    chunk: Option<Arc<Chunk>>,
    row: usize,
    /// Rows in earlier chunks.
    rows_before: usize,
    rest: Rest,
}

/// Where a cursor goes from its row.
enum Rest {
    /// To the next row of the chunk, and then nowhere.
    Nothing,
    /// To the next row of the chunk, and then to the next batch.
    Stream(Batches),
    /// To the next row that the index knows.
    Lookup(Arc<HashIndex>),
}

impl Cursor {
    fn start(&mut self, idx_num: c_int, idx_str: Option<&str>, args: &Filters<'_>) -> Result<(), EngineError> {
        self.row = 0;
        self.rows_before = 0;
        self.chunk = None;
        self.rest = Rest::Nothing;
        let Some(buffer) = self.table.buffered() else {
            self.rest = Rest::Stream(self.table.open()?);
            return self.next_chunk();
        };
        if idx_num == LOOKUP {
            let columns: Vec<usize> =
                idx_str.unwrap_or("").split(',').filter_map(|column| column.parse().ok()).collect();
            let index = buffer.index(&columns);
            let first = index.first(args.iter().map(cell_of));
            if first != HashIndex::END {
                self.row = first as usize;
                self.chunk = Some(buffer.chunk.clone());
                self.rest = Rest::Lookup(index);
            }
            return Ok(());
        }
        self.chunk = Some(buffer.chunk.clone()).filter(|chunk| chunk.rows > 0);
        Ok(())
    }

    fn step(&mut self) -> Result<(), EngineError> {
        if let Rest::Lookup(index) = &self.rest {
            match index.next(self.row as u32) {
                HashIndex::END => self.chunk = None,
                row => self.row = row as usize,
            }
            return Ok(());
        }
        self.row += 1;
        if self.chunk.as_ref().is_some_and(|chunk| self.row >= chunk.rows) {
            self.next_chunk()?;
        }
        Ok(())
    }

    /// Goes to the next batch that has rows, or to the end.
    fn next_chunk(&mut self) -> Result<(), EngineError> {
        self.rows_before += self.chunk.take().map_or(0, |chunk| chunk.rows);
        self.row = 0;
        let Rest::Stream(stream) = &mut self.rest else { return Ok(()) };
        for batch in stream.batches.by_ref() {
            self.table.control.check()?;
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.chunk = Some(Arc::new(self.table.chunk(&batch)?));
                break;
            }
        }
        Ok(())
    }

    /// Runs a step that reads data. A panic must not unwind into SQLite, which is C.
    fn guarded(&mut self, step: impl FnOnce(&mut Cursor) -> Result<(), EngineError>) -> rusqlite::Result<()> {
        let outcome = catch_unwind(AssertUnwindSafe(|| step(self)));
        let outcome = outcome.unwrap_or_else(|_| {
            Err(EngineError::Internal { action: "reading a table", source: "a reader panicked".into() })
        });
        outcome.map_err(|error| self.table.fail(error))
    }
}

// SAFETY: `Cursor` is `repr(C)` and its first field is `sqlite3_vtab_cursor`.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, idx_num: c_int, idx_str: Option<&str>, args: &Filters<'_>) -> rusqlite::Result<()> {
        self.guarded(|cursor| cursor.start(idx_num, idx_str, args))
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.guarded(Cursor::step)
    }

    fn eof(&self) -> bool {
        self.chunk.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let cell = match (&self.chunk, usize::try_from(column)) {
            (Some(chunk), Ok(column)) => chunk.cell(column, self.row),
            _ => SqlCell::Null,
        };
        context.set_result(ToSqlOutput::Borrowed(cell.as_sqlite()))
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok((self.rows_before + self.row) as i64)
    }
}

/// A value of SQLite as a cell.
pub(super) fn cell_of(value: ValueRef<'_>) -> SqlCell<'_> {
    match value {
        ValueRef::Null => SqlCell::Null,
        ValueRef::Integer(integer) => SqlCell::Integer(integer),
        ValueRef::Real(number) => SqlCell::Number(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => SqlCell::Text(String::from_utf8_lossy(bytes)),
    }
}
