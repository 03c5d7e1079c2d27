//! Measures a live table of ten million rows and ten columns: `cargo run --release --example live_rate -- FOLDER [ROWS]`.
//! The folder keeps the generated original and the snapshot between runs.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use stet_domain::event::{Action, ClientEventId, Event, EventId, LogDate, Source};
use stet_domain::project::{CsvForm, Format};
use stet_domain::{Key, Login};
use stet_engine::control::Control;
use stet_engine::live::{EditableSpec, Filter, LiveTable, Query, Sort, TableSpec, Test};
use stet_engine::read::FileSource;
use stet_engine::snapshot::Snapshot;
use uuid::Uuid;

const BATCH_ROWS: usize = 100_000;
const EDITS: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a folder for the files")?;
    let rows: usize = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let folder = Path::new(&folder);
    let original = folder.join(format!("flights-{rows}.parquet"));
    if !original.exists() {
        std::fs::create_dir_all(folder)?;
        generate(&original, rows)?;
    }
    println!("{rows} rows, {} MB as Parquet", original.metadata()?.len() / 1_000_000);
    let source = FileSource {
        dataset: "flights".into(),
        path: original,
        format: Format::Parquet,
        csv: CsvForm::default(),
        columns: None,
    };
    let cache = folder.join("cache");
    let key = ["id".to_owned()];
    if cache.exists() {
        std::fs::remove_dir_all(&cache)?;
    }
    let snapshot =
        timed("first open: snapshot and key index", || Snapshot::open(&source, &key, &cache, &Control::unwatched()))?;
    drop(snapshot);
    let snapshot = timed("second open", || Snapshot::open(&source, &key, &cache, &Control::unwatched()))?;
    let (rows_bytes, index_bytes) = snapshot.bytes_mapped();
    println!("    snapshot {} MB, key index {} MB, both mapped", rows_bytes / 1_000_000, index_bytes / 1_000_000);
    let editable = ["delay", "price", "origin", "comment"];
    let spec = TableSpec {
        name: "flights".into(),
        columns: None,
        editable: editable.map(|name| EditableSpec { name: name.into(), column_type: None, link: None }).to_vec(),
    };
    let table = LiveTable::open(snapshot, &spec)?;
    let events: Vec<Event> = (0..EDITS).map(|at| edit(at, rows, at + 1)).collect();
    timed("100,000 edits resolved", || table.push(&events));
    drop(events);

    let me = Login::none();
    let ask = |filters: &[Filter], sort: &[(&str, bool)]| Query {
        filters: filters.to_vec(),
        states: Vec::new(),
        sort: sort
            .iter()
            .map(|(column, descending)| Sort { column: (*column).into(), descending: *descending })
            .collect(),
    };
    let contains = |column: &str, part: &str| Filter { column: column.into(), test: Test::Contains(part.into()) };
    timed("page of 200 at half depth, unsorted", || table.page(&ask(&[], &[]), rows / 2, 200, &me))?;
    let mut at = EDITS;
    for (name, query) in [
        ("sort by delay (integer, edited)", ask(&[], &[("delay", true)])),
        ("sort by price (number, edited)", ask(&[], &[("price", false)])),
        ("sort by origin (text, 300 values)", ask(&[], &[("origin", false)])),
        ("sort by origin, day, delay", ask(&[], &[("origin", false), ("day", true), ("delay", false)])),
        ("sort by name (text, all different)", ask(&[], &[("name", false)])),
        ("filter name contains `99 jones`", ask(&[contains("name", "99 jones")], &[])),
        ("filter origin contains `a1` + sort by delay", ask(&[contains("origin", "a1")], &[("delay", false)])),
    ] {
        println!("{name}");
        table.release_orders();
        let total = timed("    first page, cold", || table.page(&query, 0, 200, &me))?.total;
        timed("    the same order, page at half depth", || table.page(&query, total / 2, 200, &me))?;
        at += 1;
        let event = edit(at, rows, at + 1);
        timed("    one edit: order patched", || table.push(&[event]));
        timed("    page after it", || table.page(&query, total / 2, 200, &me))?;
    }
    println!("{:?}", table.memory());
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        for line in status.lines().filter(|line| line.starts_with("Rss") || line.starts_with("VmHWM")) {
            println!("{line}");
        }
    }
    Ok(())
}

fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let (start, cpu) = (Instant::now(), cpu_ms());
    let result = work();
    println!("{name}: {:.2} ms ({} ms of CPU)", start.elapsed().as_secs_f64() * 1000.0, cpu_ms() - cpu);
    result
}

/// The CPU time of the process so far, in steps of 10 ms.
fn cpu_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = text.rsplit(") ").next().unwrap_or_default();
    behind_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

fn edit(at: usize, rows: usize, id: usize) -> Event {
    let key = (at * 7_919 % rows) as i64 * 3;
    let (column, value) = match at % 3 {
        0 => ("delay", (at % 500).to_string()),
        1 => ("price", format!("{}.5", at % 900)),
        _ => ("origin", format!("A{}", at % 99)),
    };
    Event {
        id: EventId(id as i64),
        date: LogDate::from_micros(0),
        user: Login::none(),
        action: Action::Update,
        key: Key::from_text(key.to_string()),
        column_name: Some(column.into()),
        value: Some(value),
        previous: None,
        batch_id: Uuid::nil(),
        source: Source::Grid,
        reason: None,
        event_id: ClientEventId(Uuid::from_u128(id as u128)),
    }
}

fn generate(path: &Path, rows: usize) -> Result<(), Box<dyn Error>> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for start in (0..rows).step_by(BATCH_ROWS) {
        let rows = start..(start + BATCH_ROWS).min(rows);
        // A cheap scramble: the same file on every machine.
        let noise =
            |row: usize, salt: usize| (row.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503) >> 7) % 1_000_003;
        let surnames = ["jones", "Smith", "garcía", "Lee", "Okafor", "novak"];
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row as i64 * 3)))),
            (
                "day",
                Arc::new(Date32Array::from_iter_values(rows.clone().map(|row| (noise(row, 1) % 3_650) as i32 + 7_000))),
            ),
            (
                "delay",
                Arc::new(Int32Array::from_iter(
                    rows.clone().map(|row| (row % 50 != 0).then_some((noise(row, 2) % 400) as i32 - 60)),
                )),
            ),
            (
                "distance",
                Arc::new(Int32Array::from_iter_values(rows.clone().map(|row| (noise(row, 3) % 4_900) as i32))),
            ),
            (
                "origin",
                Arc::new(StringArray::from_iter_values(rows.clone().map(|row| format!("A{}", noise(row, 4) % 300)))),
            ),
            (
                "destination",
                Arc::new(StringArray::from_iter_values(rows.clone().map(|row| format!("B{}", noise(row, 5) % 300)))),
            ),
            ("price", Arc::new(Float64Array::from_iter_values(rows.clone().map(|row| noise(row, 6) as f64 / 7.0)))),
            (
                "name",
                Arc::new(StringArray::from_iter_values(
                    rows.clone().map(|row| format!("{:07} {}", noise(row, 7) * 10 + row % 10, surnames[row % 6])),
                )),
            ),
            ("checked", Arc::new(BooleanArray::from_iter(rows.clone().map(|row| Some(row % 3 == 0))))),
            ("comment", Arc::new(StringArray::from_iter(rows.map(|row| (row % 1000 == 0).then_some("look again"))))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties.clone()))?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(())
}
