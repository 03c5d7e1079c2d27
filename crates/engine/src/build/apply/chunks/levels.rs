//! Column chunks at the level of Parquet's own values, for columns of any type, nested ones included: some rows left out,
//! nulls made possible, or nothing but nulls.

use std::sync::Arc;

use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, ColumnWriterImpl, get_column_writer};
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

/// Rows read at once.
const BATCH_ROWS: usize = 8 * 1024;

/// A chunk that was written to memory.
pub(super) struct Buffered {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

/// How the rows of a chunk change.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    /// The rows that are left out, in order.
    pub(super) dropped: &'a [u32],
    /// Whether the column could not hold nulls and now can.
    pub(super) widens: bool,
}

/// Writes the values of a chunk anew.
pub(super) fn rewrite(
    reader: ColumnReader,
    descriptor: &ColumnDescPtr,
    properties: &WriterPropertiesPtr,
    change: Change<'_>,
    mut check: impl FnMut() -> bool,
) -> Result<Buffered> {
    buffered(descriptor, properties, |writer| {
        macro_rules! by_type {
            ($($kind:ident: $reader:ident, $writer:ident;)*) => {
                match (reader, writer) {
                    $((ColumnReader::$reader(reader), ColumnWriter::$writer(writer)) => {
                        change_rows(reader, writer, descriptor, change, &mut check)
                    })*
                    _ => Err(ParquetError::General("the physical types of a column differ".into())),
                }
            };
        }
        by_type! {
            Bool: BoolColumnReader, BoolColumnWriter;
            Int32: Int32ColumnReader, Int32ColumnWriter;
            Int64: Int64ColumnReader, Int64ColumnWriter;
            Int96: Int96ColumnReader, Int96ColumnWriter;
            Float: FloatColumnReader, FloatColumnWriter;
            Double: DoubleColumnReader, DoubleColumnWriter;
            Bytes: ByteArrayColumnReader, ByteArrayColumnWriter;
            Fixed: FixedLenByteArrayColumnReader, FixedLenByteArrayColumnWriter;
        }
    })
}

/// Writes a chunk of nothing but nulls of the whole column.
pub(super) fn nulls(descriptor: &ColumnDescPtr, properties: &WriterPropertiesPtr, rows: usize) -> Result<Buffered> {
    buffered(descriptor, properties, |writer| {
        let mut left = rows;
        while left > 0 {
            let count = left.min(BATCH_ROWS);
            let levels = vec![0i16; count];
            let repetition = (descriptor.max_rep_level() > 0).then_some(levels.as_slice());
            macro_rules! write {
                ($($kind:ident),*) => {
                    match writer { $(ColumnWriter::$kind(writer) => writer.write_batch(&[], Some(&levels), repetition)?,)* }
                };
            }
            write!(
                BoolColumnWriter,
                Int32ColumnWriter,
                Int64ColumnWriter,
                Int96ColumnWriter,
                FloatColumnWriter,
                DoubleColumnWriter,
                ByteArrayColumnWriter,
                FixedLenByteArrayColumnWriter
            );
            left -= count;
        }
        Ok(())
    })
}

fn buffered(
    descriptor: &ColumnDescPtr,
    properties: &WriterPropertiesPtr,
    write: impl FnOnce(&mut ColumnWriter<'_>) -> Result<()>,
) -> Result<Buffered> {
    let mut out = TrackedWrite::new(Vec::new());
    let close = {
        let pages = Box::new(SerializedPageWriter::new(&mut out));
        let mut writer = get_column_writer(descriptor.clone(), Arc::clone(properties), pages);
        write(&mut writer)?;
        writer.close()?
    };
    Ok(Buffered { bytes: out.into_inner()?.into(), close })
}

fn change_rows<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    writer: &mut ColumnWriterImpl<'_, T>,
    output: &ColumnDescPtr,
    change: Change<'_>,
    check: &mut impl FnMut() -> bool,
) -> Result<()> {
    let shift = i16::from(change.widens);
    let full = output.max_def_level();
    let repeats = output.max_rep_level() > 0;
    // A column that cannot hold nulls has no levels to read.
    let has_levels = full - shift > 0;
    let mut dropped = change.dropped.iter().copied().peekable();
    let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut row = 0u32;
    loop {
        if !check() {
            return Err(ParquetError::General("stopped".into()));
        }
        definition.clear();
        repetition.clear();
        values.clear();
        let (rows, _, levels) = reader.read_records(
            BATCH_ROWS,
            has_levels.then_some(&mut definition),
            repeats.then_some(&mut repetition),
            &mut values,
        )?;
        if rows == 0 {
            return Ok(());
        }
        if !has_levels {
            definition.resize(levels, 0);
        }
        let end = row + rows as u32;
        definition.iter_mut().for_each(|level| *level += shift);
        if dropped.peek().is_some_and(|next| *next < end) {
            let mut keep = Vec::with_capacity(levels);
            let mut current = row;
            let mut is_kept = true;
            for level in 0..levels {
                // Without repetition every level is a row.
                if repetition.get(level).is_none_or(|level| *level == 0) {
                    is_kept = dropped.next_if_eq(&current).is_none();
                    current += 1;
                }
                keep.push(is_kept);
            }
            let mut is_defined =
                definition.iter().zip(&keep).filter(|(level, _)| **level == full).map(|(_, keep)| *keep);
            values.retain(|_| is_defined.next().unwrap_or(true));
            retain(&mut definition, &keep);
            if repeats {
                retain(&mut repetition, &keep);
            }
        }
        row = end;
        writer.write_batch(&values, (full > 0).then_some(&definition), repeats.then_some(&repetition))?;
    }
}

fn retain(levels: &mut Vec<i16>, keep: &[bool]) {
    let mut keep = keep.iter();
    levels.retain(|_| *keep.next().unwrap_or(&true));
}
