//! How fast the edited dataset of a generated original is built, beside a bare read and rewrite of the same file.
//!
//!     cargo run --release -p stet-engine --example build_rate -- [ROWS] [EDITS] [KEY_COLUMNS]
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use stet_domain::apply::EditableColumn;
use stet_domain::event::{Action, ClientEventId, Event, EventId, LogDate, Source};
use stet_domain::project::Format;
use stet_domain::replay::Replay;
use stet_domain::{ColumnType, Key, Login};
use stet_engine::build::{ApplyTask, apply};
use stet_engine::control::Control;
use stet_engine::read::{Batches, FileSource};
use stet_engine::write::{WriteOptions, write_file};
use uuid::Uuid;

const RUNS: usize = 3;
const BATCH_ROWS: i64 = 65_536;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<i64>());
    let rows = numbers.next().transpose()?.unwrap_or(1_000_000);
    let edits = numbers.next().transpose()?.unwrap_or(100_000);
    let key_columns = numbers.next().transpose()?.unwrap_or(1);
    let key: Vec<String> = ["id", "site"].iter().take(key_columns as usize).map(|name| (*name).into()).collect();

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("original.parquet");
    let original = FileSource { dataset: "original".into(), path, format: Format::Parquet, columns: None };
    generate(&original.path, rows)?;
    let started = Instant::now();
    let replay = log(rows, edits, key.len());
    println!("folding {edits} events: {} ms", started.elapsed().as_millis());

    let editable = [("name", ColumnType::Text), ("cost", ColumnType::Number), ("count", ColumnType::Integer)]
        .map(|(name, column_type)| EditableColumn { name: name.into(), column_type });
    let output = folder.path().join("edited.parquet");
    let mut earlier = None;
    for run in 1..=RUNS {
        let task = ApplyTask {
            original: &original,
            key: &key,
            replay: &replay,
            editable: &editable,
            earlier: earlier.as_ref(),
            output: &output,
            format: Format::Parquet,
        };
        let built = apply(&task, &Control::unwatched())?;
        println!(
            "run {run}: apply {} ms, {} edits applied, {} rows, {} MB",
            built.duration_ms,
            built.report.edits_applied,
            built.report.rows_out,
            built.output.file.bytes / 1_000_000
        );
        println!("  peak memory until here: {} MB", peak_memory_kb() / 1000);
        earlier = Some(built.original);

        let started = Instant::now();
        let rewritten = folder.path().join("rewritten.parquet");
        let rows = original.batches(None, 16 * 1024)?;
        write_file(&rewritten, rows, WriteOptions::from(Format::Parquet), &Control::unwatched())?;
        println!("  read and rewrite {} ms", started.elapsed().as_millis());
    }
    Ok(())
}

/// Two key columns, five to look at, three to edit.
fn generate(path: &Path, rows: i64) -> Result<(), Box<dyn Error>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("site", DataType::Utf8, false),
        Field::new("day", DataType::Date32, true),
        Field::new("species", DataType::Utf8, true),
        Field::new("speed", DataType::Float64, true),
        Field::new("height", DataType::Int64, true),
        Field::new("remarks", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("cost", DataType::Float64, true),
        Field::new("count", DataType::Int64, true),
    ]));
    let of_batch = schema.clone();
    let batches = (0..rows).step_by(BATCH_ROWS as usize).map(move |from| {
        let range = || from..(from + BATCH_ROWS).min(rows);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(range())),
            Arc::new(StringArray::from_iter_values(range().map(|row| format!("site {}", scatter(row) % 500)))),
            Arc::new(Date32Array::from_iter_values(range().map(|row| (scatter(row + 1) % 10_000) as i32))),
            Arc::new(StringArray::from_iter_values(range().map(|row| format!("species {}", scatter(row + 2) % 300)))),
            Arc::new(Float64Array::from_iter_values(range().map(|row| (scatter(row + 3) % 4_000) as f64 / 10.0))),
            Arc::new(Int64Array::from_iter_values(range().map(|row| (scatter(row + 4) % 30_000) as i64))),
            Arc::new(StringArray::from_iter_values(range().map(|row| format!("remark {:x}", scatter(row + 5))))),
            Arc::new(StringArray::from_iter_values(range().map(|row| format!("name {}", scatter(row + 6) % 90_000)))),
            Arc::new(Float64Array::from_iter_values(range().map(|row| (scatter(row + 7) % 1_000_000) as f64 / 100.0))),
            Arc::new(Int64Array::from_iter_values(range().map(|row| (scatter(row + 8) % 50) as i64))),
        ];
        RecordBatch::try_new(of_batch.clone(), columns)
            .map_err(|error| stet_engine::error::EngineError::Request(error.to_string()))
    });
    let batches = Batches { schema, batches: Box::new(batches) };
    write_file(path, batches, WriteOptions::from(Format::Parquet), &Control::unwatched())?;
    Ok(())
}

fn log(rows: i64, edits: i64, key_columns: usize) -> Replay {
    let mut replay = Replay::new();
    let user = Login::new("ada").unwrap_or_else(|_| unreachable!("a login of three letters"));
    for edit in 0..edits {
        let row = (scatter(edit * 31) % rows.unsigned_abs()) as i64;
        let (column, value) = match edit % 3 {
            0 => ("name", format!("new name {edit}")),
            1 => ("cost", format!("{}", edit as f64 / 4.0)),
            _ => ("count", edit.to_string()),
        };
        let parts = [row.to_string(), format!("site {}", scatter(row) % 500)];
        replay.push(&Event {
            id: EventId(edit + 1),
            date: LogDate::from_micros(edit),
            user: user.clone(),
            action: Action::Update,
            key: Key::from_parts(&parts[..key_columns]),
            column_name: Some(column.into()),
            value: Some(value),
            previous: None,
            batch_id: Uuid::nil(),
            source: Source::Api,
            reason: None,
            event_id: ClientEventId(Uuid::nil()),
        });
    }
    replay
}

/// Numbers that look random and are the same in every run.
fn scatter(row: i64) -> u64 {
    let mixed = row.unsigned_abs().wrapping_add(0x9E37_79B9).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 16
}

fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
