//! Comma-separated values, as RFC 4180 has them.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use stet_domain::ColumnType;

use super::{Formulas, io_error};
use crate::cell::{CellReader, column_type_of};
use crate::error::EngineError;

/// Texts are collected up to this size before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// See [`super::OutputFormat::Csv`].
pub struct CsvWriter<W> {
    out: W,
    formulas: Formulas,
    buffer: String,
    cell: String,
}

impl<W: Write> CsvWriter<W> {
    pub(super) fn new(out: W, schema: &SchemaRef, formulas: Formulas) -> Result<CsvWriter<W>, EngineError> {
        let mut writer = CsvWriter { out, formulas, buffer: String::with_capacity(BUFFER_BYTES), cell: String::new() };
        for (place, field) in schema.fields().iter().enumerate() {
            if place > 0 {
                writer.buffer.push(',');
            }
            push_text(&mut writer.buffer, field.name(), formulas);
        }
        writer.buffer.push('\n');
        Ok(writer)
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let columns: Vec<(CellReader<'_>, ColumnType)> = (batch.columns().iter())
            .map(|array| (CellReader::new(array.as_ref()), column_type_of(array.data_type())))
            .collect();
        let is_lone = columns.len() == 1;
        for row in 0..batch.num_rows() {
            let line_start = self.buffer.len();
            for (place, (reader, column_type)) in columns.iter().enumerate() {
                if place > 0 {
                    self.buffer.push(',');
                }
                match column_type {
                    ColumnType::Text | ColumnType::Other => match reader.str(row) {
                        Some(text) => push_text(&mut self.buffer, text, self.formulas),
                        None => {
                            self.cell.clear();
                            if reader.write(row, &mut self.cell) {
                                push_text(&mut self.buffer, &self.cell, self.formulas);
                            }
                        }
                    },
                    // No canonical text of the other types needs quotes.
                    _ => {
                        reader.write(row, &mut self.buffer);
                    }
                }
            }
            if is_lone && self.buffer.len() == line_start {
                // Readers skip empty lines, and the row would be lost.
                self.buffer.push_str("\"\"");
            }
            self.buffer.push('\n');
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, EngineError> {
        self.flush()?;
        Ok(self.out)
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.out.write_all(self.buffer.as_bytes()).map_err(io_error)?;
        self.buffer.clear();
        Ok(())
    }
}

fn push_text(out: &mut String, text: &str, formulas: Formulas) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let defused = formulas == Formulas::Defuse && is_formula;
    // An empty text is told from null by its quotes; spaces at the ends are kept by readers that would trim them.
    let quoted = text.is_empty()
        || text.contains([',', '"', '\n', '\r'])
        || text.starts_with([' ', '\t'])
        || text.ends_with([' ', '\t']);
    if !quoted {
        if defused {
            out.push('\'');
        }
        out.push_str(text);
        return;
    }
    out.push('"');
    if defused {
        out.push('\'');
    }
    for (place, piece) in text.split('"').enumerate() {
        if place > 0 {
            out.push_str("\"\"");
        }
        out.push_str(piece);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_just_when_they_need_it() {
        for (text, written) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            (" space", "\" space\""),
            ("=1+1", "=1+1"),
            ("NA", "NA"),
        ] {
            let mut out = String::new();
            push_text(&mut out, text, Formulas::Keep);
            assert_eq!(out, written);
        }
    }

    #[test]
    fn a_formula_is_defused_for_people() {
        for (text, written) in
            [("=1+1", "'=1+1"), ("@x", "'@x"), ("-a,b", "\"'-a,b\""), ("\tx", "\"'\tx\""), ("a=b", "a=b")]
        {
            let mut out = String::new();
            push_text(&mut out, text, Formulas::Defuse);
            assert_eq!(out, written);
        }
    }
}
