//! How fast the edited dataset of a generated original is built, in full and after one new edit, beside a bare read and
//! rewrite of the same file.
//!
//! ```text
//! cargo run --release -p stet-engine --example build_rate -- [ROWS] [EDITS] [KEY_COLUMNS] [FOLDER]
//! ```
//!
//! With a folder, `original.parquet`, `edits.parquet` (the log) and `edited.parquet` are left there, for other programs
//! to do the same work. With `PARTS=1` in the environment the output is a folder of files.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use stet_domain::apply::EditableColumn;
use stet_domain::event::{Action, ClientEventId, Event, EventId, LogDate, Source};
use stet_domain::project::{CsvForm, Format};
use stet_domain::replay::Replay;
use stet_domain::{ColumnType, Key, Login};
use stet_engine::build::{ApplyTask, RebuildTask, apply, rebuild, write_events};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::manifest::OutputStamp;
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

    let temporary = tempfile::tempdir()?;
    let folder = std::env::args().nth(4).map_or(temporary.path().to_owned(), PathBuf::from);
    let path = folder.join("original.parquet");
    let original = FileSource {
        dataset: "original".into(),
        path,
        format: Format::Parquet,
        csv: CsvForm::default(),
        columns: None,
    };
    generate(&original.path, rows)?;
    let events = || (0..edits).map(|edit| event(rows, edit, key.len()));
    if std::env::args().nth(4).is_some() {
        let options = WriteOptions::from(Format::Parquet);
        let file = std::fs::File::create(folder.join("edits.parquet"))?;
        write_events(events().map(Ok::<_, EngineError>), file, options, &Control::unwatched())?;
    }
    let mut replay = Replay::new();
    events().for_each(|event| replay.push(&event));
    println!("peak memory with the log folded: {} MB", peak_memory_kb() / 1000);

    let editable = [("name", ColumnType::Text), ("cost", ColumnType::Number), ("count", ColumnType::Integer)]
        .map(|(name, column_type)| EditableColumn { name: name.into(), column_type });
    let output = folder.join(if std::env::var_os("PARTS").is_some() { "edited/" } else { "edited.parquet" });
    let task = ApplyTask {
        original: &original,
        key: &key,
        replay: &replay,
        editable: &editable,
        earlier: None,
        output: &output,
        format: Format::Parquet,
    };
    for run in 1..=RUNS {
        let cpu = cpu_ms();
        let built = apply(&task, &Control::unwatched())?;
        println!(
            "run {run}: apply {} ms ({} ms of CPU), {} edits applied, {} rows, {} MB",
            built.duration_ms,
            cpu_ms() - cpu,
            built.report.edits_applied,
            built.report.rows_out,
            built.output.file.bytes / 1_000_000
        );
        println!("  peak memory until here: {} MB", peak_memory_kb() / 1000);

        // One edit more, of a row in the middle that the log does not know or does.
        let mut one = event(rows, edits, key.len());
        one.column_name = Some("name".into());
        let before: Vec<Event> = events().filter(|event| event.key == one.key).collect();
        let after = Replay::of(before.iter().chain([&one]));
        let before = Replay::of(&before);
        let stamp = OutputStamp { parts: built.parts, ..OutputStamp::new(built.output.file, built.output.rows) };
        let (started, cpu) = (Instant::now(), cpu_ms());
        let task = ApplyTask { replay: &after, earlier: Some(&built.original), ..task };
        let again = RebuildTask { task: &task, before: &before, output: &stamp, report: &built.report };
        let again = rebuild(&again, &Control::unwatched())?;
        let ms = started.elapsed().as_millis();
        println!("  one edit more: {ms} ms ({} ms of CPU), gone on: {}", cpu_ms() - cpu, again.is_some());

        let started = Instant::now();
        let rewritten = temporary.path().join("rewritten.parquet");
        let rows = original.batches(None, 16 * 1024)?;
        write_file(&rewritten, rows, WriteOptions::from(Format::Parquet), &Control::unwatched())?;
        println!("  read and rewrite {} ms", started.elapsed().as_millis());
    }
    // Left as the build of the log alone.
    apply(&task, &Control::unwatched())?;
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

/// The edits of the log, one by one.
fn event(rows: i64, edit: i64, key_columns: usize) -> Event {
    let row = (scatter(edit * 31) % rows.unsigned_abs()) as i64;
    let (column, value) = match edit % 3 {
        0 => ("name", format!("new name {edit}")),
        1 => ("cost", format!("{}", edit as f64 / 4.0)),
        _ => ("count", edit.to_string()),
    };
    let parts = [row.to_string(), format!("site {}", scatter(row) % 500)];
    Event {
        id: EventId(edit + 1),
        date: LogDate::from_micros(edit),
        user: Login::new("ada").unwrap_or_else(|_| unreachable!("a login of three letters")),
        action: Action::Update,
        key: Key::from_parts(&parts[..key_columns]),
        column_name: Some(column.into()),
        value: Some(value),
        previous: None,
        batch_id: Uuid::nil(),
        source: Source::Api,
        reason: None,
        event_id: ClientEventId(Uuid::nil()),
    }
}

/// Numbers that look random and are the same in every run.
fn scatter(row: i64) -> u64 {
    let mixed = row.unsigned_abs().wrapping_add(0x9E37_79B9).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 16
}

/// The CPU time of the process so far, in milliseconds.
fn cpu_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Clock ticks are hundredths of a second on every Linux that there is.
    let behind_name = text.rsplit(") ").next().unwrap_or_default();
    behind_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
