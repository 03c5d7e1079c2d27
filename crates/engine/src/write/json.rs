//! JSON lines, and one JSON array.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::io_error;
use crate::cell::{CellReader, is_json};
use crate::error::EngineError;

/// Texts are collected up to this size before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// See [`super::OutputFormat::Jsonl`] and [`super::OutputFormat::Json`].
pub struct JsonWriter<W> {
    out: W,
    /// For each column its name with quotes and colon, and what stands before it.
    names: Vec<String>,
    is_array: bool,
    is_first: bool,
    /// For each column whether its texts are JSON by themselves.
    is_json: Vec<bool>,
    buffer: String,
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
            is_json: schema.fields().iter().map(|field| is_json(field)).collect(),
            buffer: String::with_capacity(BUFFER_BYTES),
        }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let columns: Vec<CellReader<'_>> =
            batch.columns().iter().map(|array| CellReader::new(array.as_ref())).collect();
        for row in 0..batch.num_rows() {
            if self.is_array {
                self.buffer.push_str(if self.is_first { "[\n" } else { ",\n" });
            }
            self.is_first = false;
            if columns.is_empty() {
                self.buffer.push('{');
            }
            for ((reader, name), is_json) in columns.iter().zip(&self.names).zip(&self.is_json) {
                self.buffer.push_str(name);
                match reader.str(row).filter(|text| *is_json && is_one_line_of_json(text)) {
                    Some(json) => self.buffer.push_str(json),
                    None => reader.write_json(row, &mut self.buffer),
                }
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

/// Whether a text can stand in JSON lines as it is.
fn is_one_line_of_json(text: &str) -> bool {
    !text.contains(['\n', '\r']) && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
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
