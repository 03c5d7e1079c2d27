//! JSON lines, and one JSON array.

use std::io::Write;

use arrow_array::Array;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use stet_domain::ColumnType;

use super::io_error;
use crate::cell::{CellReader, column_type_of};
use crate::error::EngineError;

/// Texts are collected up to this size before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// Decimals of up to so many digits are numbers in JSON: every reader keeps them.
const NUMBER_DIGITS_MAX: u8 = 15;

/// See [`super::OutputFormat::Jsonl`] and [`super::OutputFormat::Json`].
pub struct JsonWriter<W> {
    out: W,
    /// For each column its name with quotes and colon, and what stands before it.
    names: Vec<String>,
    is_array: bool,
    is_first: bool,
    buffer: String,
    cell: String,
}

impl<W: Write> JsonWriter<W> {
    pub(super) fn lines(out: W, schema: &SchemaRef) -> Result<JsonWriter<W>, EngineError> {
        Ok(JsonWriter::new(out, schema, false))
    }

    pub(super) fn array(out: W, schema: &SchemaRef) -> Result<JsonWriter<W>, EngineError> {
        Ok(JsonWriter::new(out, schema, true))
    }

    fn new(out: W, schema: &SchemaRef, is_array: bool) -> JsonWriter<W> {
        let name = |(place, field): (usize, &arrow_schema::FieldRef)| {
            let mut text = String::from(if place == 0 { "{" } else { "," });
            push_json_text(&mut text, field.name());
            text.push(':');
            text
        };
        JsonWriter {
            out,
            names: schema.fields().iter().enumerate().map(name).collect(),
            is_array,
            is_first: true,
            buffer: String::with_capacity(BUFFER_BYTES),
            cell: String::new(),
        }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let columns: Vec<(CellReader<'_>, Form)> =
            (batch.columns().iter()).map(|array| (CellReader::new(array.as_ref()), Form::of(array.as_ref()))).collect();
        for row in 0..batch.num_rows() {
            if self.is_array {
                self.buffer.push_str(if self.is_first { "[\n" } else { ",\n" });
            }
            self.is_first = false;
            if columns.is_empty() {
                self.buffer.push('{');
            }
            for ((reader, form), name) in columns.iter().zip(&self.names) {
                self.buffer.push_str(name);
                push_cell(&mut self.buffer, &mut self.cell, reader, *form, row);
            }
            self.buffer.push('}');
            if !self.is_array {
                self.buffer.push('\n');
            }
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, EngineError> {
        if self.is_array {
            self.buffer.push_str(if self.is_first { "[]\n" } else { "\n]\n" });
        }
        self.flush()?;
        Ok(self.out)
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.out.write_all(self.buffer.as_bytes()).map_err(io_error)?;
        self.buffer.clear();
        Ok(())
    }
}

/// How the canonical texts of a column stand in JSON.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// As they are: numbers, true and false.
    Bare,
    /// As they are but for those that JSON has no number for.
    Number,
    /// As texts.
    Text,
}

impl Form {
    fn of(array: &dyn Array) -> Form {
        match column_type_of(array.data_type()) {
            ColumnType::Integer | ColumnType::Boolean => Form::Bare,
            ColumnType::Decimal { precision, .. } if precision <= NUMBER_DIGITS_MAX => Form::Bare,
            ColumnType::Number => Form::Number,
            _ => Form::Text,
        }
    }
}

fn push_cell(out: &mut String, cell: &mut String, reader: &CellReader<'_>, form: Form, row: usize) {
    if let Form::Text = form
        && let Some(text) = reader.str(row)
    {
        return push_json_text(out, text);
    }
    cell.clear();
    if !reader.write(row, cell) {
        return out.push_str("null");
    }
    match form {
        Form::Bare => out.push_str(cell),
        Form::Number if !cell.ends_with(['N', 'y']) => out.push_str(cell),
        Form::Number | Form::Text => push_json_text(out, cell),
    }
}

/// Writes a text as JSON has it.
pub(crate) fn push_json_text(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    out.push('"');
    let mut plain_from = 0;
    for (place, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain_from..place]);
        plain_from = place + 1;
        // Writing to a String cannot fail.
        let _ = match byte {
            b'"' => out.write_str("\\\""),
            b'\\' => out.write_str("\\\\"),
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            b'\t' => out.write_str("\\t"),
            byte => write!(out, "\\u{byte:04x}"),
        };
    }
    out.push_str(&text[plain_from..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_reads_back_from_json(text: String) {
            let mut out = String::new();
            push_json_text(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
