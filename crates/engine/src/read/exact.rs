//! The types in which columns of Parquet are read where the reader's own choice would change values.
//!
//! Times of 96 bits (`INT96`, of Spark, Hive and Impala) have nanoseconds and the years of a calendar of 2^32 days: more than
//! any type of Arrow. They are read in microseconds, which reach far enough, unless a value has parts of a microsecond: then in
//! nanoseconds, if all values are between the years 1678 and 2261. That is seen by reading the column once, and kept.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{get_column_reader, get_typed_column_reader};
use parquet::data_type::{Int96, Int96Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::parquet::{SharedFile, damaged, guarded};
use super::{FilePrint, FileSource};
use crate::error::EngineError;

/// How many files are remembered that have times of 96 bits.
const FILES_REMEMBERED_MAX: usize = 10_000;

/// How many values are looked at at a time.
const VALUES_AT_ONCE: usize = 16 * 1024;

/// For each column of times of 96 bits, by its path, what its values need.
type Needs = BTreeMap<String, Need>;

/// What is known of files as they were.
type Known = HashMap<PathBuf, (FilePrint, Arc<Needs>)>;

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// What the values of a column of 96 bits need.
#[derive(Debug, Clone, Copy, Default)]
struct Need {
    /// One has parts of a microsecond.
    nanoseconds: bool,
    /// One is before 1678 or after 2261, where nanoseconds of 64 bits end.
    reach: bool,
}

/// The units of times of 96 bits in the files of a dataset, found when they are first asked for.
#[derive(Debug, Default)]
pub(super) struct Int96Units {
    files: Vec<PathBuf>,
    needs: OnceLock<Needs>,
}

impl Int96Units {
    /// Of these files, which are one dataset.
    pub fn of(files: &[PathBuf]) -> Int96Units {
        Int96Units { files: files.to_vec(), needs: OnceLock::new() }
    }

    fn needs(&self, source: &FileSource) -> Result<&Needs, EngineError> {
        if let Some(needs) = self.needs.get() {
            return Ok(needs);
        }
        let mut all = Needs::new();
        for file in &self.files {
            for (column, need) in needs_of(source, file)?.iter() {
                let whole = all.entry(column.clone()).or_default();
                whole.nanoseconds |= need.nanoseconds;
                whole.reach |= need.reach;
                if whole.nanoseconds && whole.reach {
                    let message = format!(
                        "the column `{column}` has times of 96 bits with parts of a microsecond, and others before 1678 or after \
                         2261: no type holds both without loss. Write it as timestamps of 64 bits"
                    );
                    return Err(source.bad_data(file, String::new(), message));
                }
            }
        }
        Ok(self.needs.get_or_init(|| all))
    }
}

/// The schema in which a file is read, when that is not the reader's own: see the module.
///
/// # Errors
/// When a column of times of 96 bits cannot be read, or no type holds its values.
pub(super) fn exact_schema(
    source: &FileSource,
    metadata: &ArrowReaderMetadata,
    units: &Int96Units,
) -> Result<Option<Arc<Schema>>, EngineError> {
    let columns = metadata.parquet_schema().columns();
    let needs = match columns.iter().any(|column| column.physical_type() == PhysicalType::INT96) {
        true => units.needs(source)?,
        false => &Needs::new(),
    };
    let mut is_other = false;
    let mut exact = |leaf: usize, found: &DataType| {
        let column = columns.get(leaf)?;
        let exact = match (column.physical_type(), found) {
            (PhysicalType::INT96, _) => {
                let fine = needs.get(&column.path().string()).is_some_and(|need| need.nanoseconds);
                DataType::Timestamp(if fine { TimeUnit::Nanosecond } else { TimeUnit::Microsecond }, None)
            }
            // Other programs note beside a date that they had it in milliseconds: the file has a date.
            (PhysicalType::INT32, DataType::Date64) => DataType::Date32,
            _ => return None,
        };
        is_other |= exact != *found;
        Some(exact)
    };
    let mut leaf = 0;
    let fields: Vec<FieldRef> =
        metadata.schema().fields().iter().map(|field| with_leaves(field, &mut leaf, &mut exact)).collect();
    Ok(is_other.then(|| Arc::new(Schema::new(fields))))
}

/// A field whose leaves have the types that `exact` gives for them, by their number.
fn with_leaves(
    field: &FieldRef,
    leaf: &mut usize,
    exact: &mut impl FnMut(usize, &DataType) -> Option<DataType>,
) -> FieldRef {
    let mut inner = |field: &FieldRef| with_leaves(field, leaf, exact);
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::ListView(item) => DataType::ListView(inner(item)),
        DataType::LargeListView(item) => DataType::LargeListView(inner(item)),
        DataType::FixedSizeList(item, count) => DataType::FixedSizeList(inner(item), *count),
        DataType::Map(entries, is_sorted) => DataType::Map(inner(entries), *is_sorted),
        found => {
            let number = *leaf;
            *leaf += 1;
            match exact(number, found) {
                Some(exact) => exact,
                None => return field.clone(),
            }
        }
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// What the columns of a file need: known, or seen by reading them.
fn needs_of(source: &FileSource, path: &Path) -> Result<Arc<Needs>, EngineError> {
    let print = FilePrint::of(path.to_owned())?;
    let known = |print: &FilePrint| {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(path).filter(|(of, _)| of == print).map(|(_, needs)| needs.clone())
    };
    if let Some(needs) = known(&print) {
        return Ok(needs);
    }
    let file = Arc::new(SharedFile::open(path)?);
    let needs = guarded(|| read_needs(&file))
        .map_err(|what| damaged(source, path, String::new(), &what))?
        .map_err(|error| damaged(source, path, String::new(), &error))?;
    let needs = Arc::new(needs);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= FILES_REMEMBERED_MAX {
        known.clear();
    }
    known.insert(path.to_owned(), (print, needs.clone()));
    Ok(needs)
}

fn read_needs(file: &Arc<SharedFile>) -> Result<Needs, ParquetError> {
    let metadata: Arc<ParquetMetaData> =
        ArrowReaderMetadata::load(file.as_ref(), Default::default())?.metadata().clone();
    let mut needs = Needs::new();
    let (mut values, mut levels, mut repeats): (Vec<Int96>, Vec<i16>, Vec<i16>) = Default::default();
    for group in metadata.row_groups() {
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        for chunk in group.columns().iter().filter(|chunk| chunk.column_type() == PhysicalType::INT96) {
            let need = needs.entry(chunk.column_path().string()).or_default();
            let pages = SerializedPageReader::new(file.clone(), chunk, rows, None)?;
            let reader = get_column_reader(chunk.column_descr_ptr(), Box::new(pages));
            let mut reader = get_typed_column_reader::<Int96Type>(reader);
            loop {
                values.clear();
                levels.clear();
                repeats.clear();
                let (records, _, read) =
                    reader.read_records(VALUES_AT_ONCE, Some(&mut levels), Some(&mut repeats), &mut values)?;
                for value in &values {
                    let micros = value.to_micros();
                    let fine = value.to_nanos().wrapping_sub(micros.wrapping_mul(1_000));
                    need.nanoseconds |= fine != 0;
                    need.reach |= micros.checked_mul(1_000).is_none_or(|nanos| nanos.checked_add(999).is_none());
                }
                if records == 0 && read == 0 {
                    break;
                }
            }
        }
    }
    Ok(needs)
}
