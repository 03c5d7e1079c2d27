//! Which column chunks of an original can stand in the output as they are, and what the output's columns are.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::{Field, FieldRef, Schema};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Encoding, PageType, Repetition};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{BasicTypeInfo, SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use crate::build::apply::Plan;
use crate::error::EngineError;
use crate::read::parquet::ParquetFile;
use crate::write::{parquet_error, plain, writer_properties};

/// Below this many rows in a row group on average, and above [`SMALL_GROUPS_MAX`] row groups, an original is in too small
/// pieces to be worth keeping so: its rows are written anew in groups of the usual size.
const GROUP_ROWS_MIN: u64 = 16 * 1024;
const SMALL_GROUPS_MAX: usize = 64;

/// The most rows of one row group.
const GROUP_ROWS_MAX: i64 = u32::MAX as i64;

/// What is to be done with a column of a file whose cells no edit touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Its bytes can stand in the output.
    Copy,
    /// The file says that it has no nulls, the output that it may: its values are the same, their levels are not.
    Widen,
    /// The output has another physical type: it is read and written through Arrow.
    Reencode,
}

/// A row group of the original with rows in it.
pub(super) struct Group {
    /// Which of the files.
    pub(super) file: usize,
    /// Its number in the file.
    pub(super) place: usize,
    /// Its rows.
    pub(super) rows: usize,
}

/// A column of the output.
pub(super) struct OutputColumn {
    /// Its leaves among those of the output's schema.
    pub(super) leaves: Range<usize>,
    /// Its place among the editable columns.
    pub(super) editable: Option<usize>,
    /// Its place in the original; none for a column that the original lacks.
    pub(super) original: Option<usize>,
    /// For each file what to do with it.
    pub(super) treatments: Vec<Treatment>,
    /// Makes its chunks out of Arrow arrays, with and without a dictionary; only for key and editable columns.
    encoders: Option<[ArrowRowGroupWriterFactory; 2]>,
}

/// What is read and what is written.
pub(super) struct Layout {
    pub(super) files: Vec<ParquetFile>,
    pub(super) groups: Vec<Group>,
    pub(super) columns: Vec<OutputColumn>,
    pub(super) schema: TypePtr,
    pub(super) descriptor: SchemaDescPtr,
    pub(super) properties: WriterPropertiesPtr,
    /// Whether all copied chunks have a page index, so that the output has one.
    pub(super) has_page_index: bool,
}

impl Layout {
    /// Plans the output; none when the original has to be decoded and written anew:
    /// - its row groups are tiny and many, or larger than 32-bit row numbers;
    /// - its files differ in the types or levels of a column that Stet cannot write;
    /// - rows are created and a key column has a physical type that Stet does not write, or a column repeats at the root
    ///   (the form of lists of very old writers), which has no null.
    pub(super) fn new(files: Vec<ParquetFile>, plan: &Plan, has_created: bool) -> Result<Option<Layout>, EngineError> {
        let groups = groups_of(&files);
        let rows: u64 = groups.iter().map(|group| group.rows as u64).sum();
        let is_tiny = groups.len() > SMALL_GROUPS_MAX && rows / (groups.len() as u64) < GROUP_ROWS_MIN;
        let too_large =
            |file: &ParquetFile| file.metadata.metadata().row_groups().iter().any(|g| g.num_rows() > GROUP_ROWS_MAX);
        if is_tiny || files.is_empty() || files.iter().any(too_large) {
            return Ok(None);
        }
        let has_page_index = groups.iter().all(|group| has_page_index(&files[group.file], group.place));
        let mut properties = writer_properties();
        if !has_page_index {
            properties = properties.set_statistics_enabled(EnabledStatistics::Chunk).set_offset_index_disabled(true);
        }

        let mut roots: Vec<TypePtr> = Vec::with_capacity(plan.schema.fields().len());
        let mut is_derived = Vec::with_capacity(roots.len());
        for (place, field) in plan.schema.fields().iter().enumerate() {
            let is_written = plan.places.contains(&place) || (has_created && plan.keys.places.contains(&place));
            let derived = if is_written { derived_root(field)? } else { None };
            if place >= plan.original_width {
                let Some(derived) = derived else { return Ok(None) };
                roots.push(derived);
                is_derived.push(false);
                continue;
            }
            let own = files[0].root(place);
            if has_created && own.get_basic_info().repetition() == Repetition::REPEATED {
                return Ok(None);
            }
            let is_optional = field.is_nullable()
                || files.iter().any(|file| file.root(place).get_basic_info().repetition() == Repetition::OPTIONAL);
            let own = if is_optional { optional(own)? } else { own };
            let is_foreign = is_written && !derived.as_ref().is_some_and(|derived| writes_alike(derived, &own));
            match derived {
                Some(derived) if is_foreign && plan.places.contains(&place) => {
                    roots.push(derived);
                    is_derived.push(true);
                }
                _ if is_foreign => return Ok(None),
                _ => {
                    roots.push(own);
                    is_derived.push(false);
                }
            }
        }
        let schema = Type::group_type_builder("arrow_schema").with_fields(roots).build().map_err(parquet_error)?;
        let schema = Arc::new(schema);
        let descriptor = Arc::new(SchemaDescriptor::new(schema.clone()));

        let properties = properties.build();
        let without_dictionary = Arc::new(properties.clone().into_builder().set_dictionary_enabled(false).build());
        let with_dictionary = Arc::new(properties.clone());
        let mut columns = Vec::with_capacity(plan.schema.fields().len());
        for (place, field) in plan.schema.fields().iter().enumerate() {
            let editable = plan.places.iter().position(|editable| *editable == place);
            let leaves = leaves_of(&descriptor, place);
            let mut treatments = Vec::with_capacity(files.len());
            if place < plan.original_width {
                for file in &files {
                    match file.treatment(place, &descriptor, &leaves, is_derived[place]) {
                        Some(Treatment::Reencode) if editable.is_none() => return Ok(None),
                        Some(treatment) => treatments.push(treatment),
                        None if editable.is_some() => treatments.push(Treatment::Reencode),
                        None => return Ok(None),
                    }
                }
            }
            let is_written = editable.is_some() || (has_created && plan.keys.places.contains(&place));
            let encoders = if is_written {
                let root = schema.get_fields()[place].clone();
                let [with, without] = [&with_dictionary, &without_dictionary]
                    .map(|properties| encoder(field, root.clone(), properties.clone()));
                Some([with?, without?])
            } else {
                None
            };
            let original = (place < plan.original_width).then_some(place);
            columns.push(OutputColumn { leaves, editable, original, treatments, encoders });
        }
        let mut properties = properties;
        add_encoded_arrow_schema_to_metadata(&plain(&plan.schema), &mut properties);
        let properties = Arc::new(properties);
        Ok(Some(Layout { files, groups, columns, schema, descriptor, properties, has_page_index }))
    }

    /// What the file says of a row group.
    pub(super) fn group_metadata(&self, group: &Group) -> &RowGroupMetaData {
        self.files[group.file].metadata.metadata().row_group(group.place)
    }
}

impl OutputColumn {
    /// Makes writers of the leaves of one chunk of the column. `like` is the chunk that the new one stands in for: where
    /// its writer found no use for a dictionary, none is tried.
    pub(super) fn writers(&self, like: Option<&ColumnChunkMetaData>) -> Result<Vec<ArrowColumnWriter>, EngineError> {
        let encoders = self.encoders.as_ref().ok_or_else(|| EngineError::Internal {
            action: "writing a column",
            source: "the column is not one that is written".into(),
        })?;
        let without_dictionary = like.is_some_and(|like| !uses_dictionary(like));
        encoders[usize::from(without_dictionary)].create_column_writers(0).map_err(parquet_error)
    }
}

impl ParquetFile {
    /// The leaves of a column of the dataset among those of the file.
    pub(super) fn leaves(&self, column: usize) -> Range<usize> {
        leaves_of(self.metadata.parquet_schema(), self.places[column])
    }

    fn root(&self, column: usize) -> TypePtr {
        self.metadata.parquet_schema().root_schema().get_fields()[self.places[column]].clone()
    }

    /// How the chunks of a column get into the output; none when they cannot without Arrow.
    fn treatment(
        &self,
        column: usize,
        output: &SchemaDescriptor,
        leaves: &Range<usize>,
        is_derived: bool,
    ) -> Option<Treatment> {
        if is_derived {
            return Some(Treatment::Reencode);
        }
        let own = self.leaves(column);
        if own.len() != leaves.len() {
            return None;
        }
        let schema = self.metadata.parquet_schema();
        let pairs = || own.clone().zip(leaves.clone()).map(|(own, out)| (schema.column(own), output.column(out)));
        if pairs().all(|(own, out)| own == out) {
            return Some(Treatment::Copy);
        }
        let widens = pairs().all(|(own, out)| {
            own.physical_type() == out.physical_type()
                && own.type_length() == out.type_length()
                && own.logical_type_ref() == out.logical_type_ref()
                && own.converted_type() == out.converted_type()
                && own.type_precision() == out.type_precision()
                && own.type_scale() == out.type_scale()
                && own.max_rep_level() == out.max_rep_level()
                && own.max_def_level() + 1 == out.max_def_level()
        });
        let root = self.root(column);
        (widens && root.get_basic_info().repetition() == Repetition::REQUIRED).then_some(Treatment::Widen)
    }
}

pub(super) fn groups_of(files: &[ParquetFile]) -> Vec<Group> {
    let mut groups = Vec::new();
    for (file, opened) in files.iter().enumerate() {
        for (place, group) in opened.metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            if rows > 0 {
                groups.push(Group { file, place, rows });
            }
        }
    }
    groups
}

/// Whether every chunk of a row group has an offset index. A file without the order of its statistics (very old writers)
/// counts as one that has none: its statistics are not trusted.
fn has_page_index(file: &ParquetFile, group: usize) -> bool {
    let metadata = file.metadata.metadata();
    let index = metadata.page_index_for_row_group(group);
    file.trusts_statistics()
        && (0..metadata.row_group(group).num_columns()).all(|leaf| index.offset_index(leaf).is_some())
}

impl ParquetFile {
    /// Whether the statistics of the file's chunks may be repeated under another writer's name: only when the file says in
    /// which order they are.
    pub(super) fn trusts_statistics(&self) -> bool {
        self.metadata.metadata().file_metadata().column_orders().is_some()
    }
}

fn leaves_of(schema: &SchemaDescriptor, root: usize) -> Range<usize> {
    // The leaves of one root follow each other.
    let columns = schema.num_columns();
    let first = partition(columns, |leaf| schema.get_column_root_idx(leaf) < root);
    first..partition(columns, |leaf| schema.get_column_root_idx(leaf) <= root)
}

fn partition(count: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// The Parquet type that the Arrow writer gives a column; none when it has none for it.
fn derived_root(field: &FieldRef) -> Result<Option<TypePtr>, EngineError> {
    let schema = Schema::new(vec![field.clone()]);
    let Ok(descriptor) = ArrowSchemaConverter::new().convert(&schema) else { return Ok(None) };
    Ok(descriptor.root_schema().get_fields().first().cloned())
}

/// Whether what the Arrow writer writes for one type is right for the other.
fn writes_alike(derived: &TypePtr, own: &TypePtr) -> bool {
    let descriptor = |root: &TypePtr| {
        let schema = Type::group_type_builder("schema").with_fields(vec![root.clone()]).build().ok()?;
        Some(SchemaDescriptor::new(Arc::new(schema)))
    };
    let (Some(derived), Some(own)) = (descriptor(derived), descriptor(own)) else { return false };
    derived.num_columns() == own.num_columns()
        && derived.columns().iter().zip(own.columns()).all(|(a, b)| {
            a.physical_type() == b.physical_type()
                && a.type_length() == b.type_length()
                && a.max_def_level() == b.max_def_level()
                && a.max_rep_level() == b.max_rep_level()
        })
}

/// The same type, that may hold nulls.
fn optional(root: TypePtr) -> Result<TypePtr, EngineError> {
    if root.get_basic_info().repetition() != Repetition::REQUIRED {
        return Ok(root);
    }
    let id = |info: &BasicTypeInfo| info.has_id().then(|| info.id());
    let widened = match root.as_ref() {
        Type::PrimitiveType { basic_info, physical_type, type_length, scale, precision } => {
            Type::primitive_type_builder(basic_info.name(), *physical_type)
                .with_repetition(Repetition::OPTIONAL)
                .with_converted_type(basic_info.converted_type())
                .with_logical_type(basic_info.logical_type_ref().cloned())
                .with_length(*type_length)
                .with_precision(*precision)
                .with_scale(*scale)
                .with_id(id(basic_info))
                .build()
        }
        Type::GroupType { basic_info, fields } => Type::group_type_builder(basic_info.name())
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(basic_info.converted_type())
            .with_logical_type(basic_info.logical_type_ref().cloned())
            .with_fields(fields.clone())
            .with_id(id(basic_info))
            .build(),
    };
    widened.map(Arc::new).map_err(parquet_error)
}

fn encoder(
    field: &FieldRef,
    root: TypePtr,
    properties: WriterPropertiesPtr,
) -> Result<ArrowRowGroupWriterFactory, EngineError> {
    let schema = Type::group_type_builder("arrow_schema").with_fields(vec![root]).build().map_err(parquet_error)?;
    let file = SerializedFileWriter::new(std::io::sink(), Arc::new(schema), properties).map_err(parquet_error)?;
    let field: Field = field.as_ref().clone();
    Ok(ArrowRowGroupWriterFactory::new(&file, Arc::new(Schema::new(vec![field]))))
}

/// Whether most pages of a chunk refer to a dictionary; unknown counts as yes.
fn uses_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    let Some(pages) = chunk.page_encoding_stats() else { return true };
    let count = |wanted: &dyn Fn(Encoding) -> bool| -> i64 {
        let is_data = |page: PageType| matches!(page, PageType::DATA_PAGE | PageType::DATA_PAGE_V2);
        pages
            .iter()
            .filter(|page| is_data(page.page_type) && wanted(page.encoding))
            .map(|page| i64::from(page.count))
            .sum()
    };
    let by_dictionary = |encoding| matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
    count(&by_dictionary) >= count(&|encoding| !by_dictionary(encoding))
}
