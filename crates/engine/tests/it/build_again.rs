//! Builds that go on from the last one: they give the bytes of a full build at the same position of the log.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use stet_domain::ColumnType;
use stet_domain::event::Event;
use stet_domain::project::Format;
use stet_domain::replay::Replay;
use stet_engine::build::{ApplyBuild, ApplyTask, RebuildTask, apply, rebuild};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::manifest::OutputStamp;
use stet_engine::read::FileSource;

use crate::build_chunks::{EXOTIC, exotic, groups_of, source, step, write};
use crate::build_support::{Folder, Log, editable};

/// A dataset that is built again and again while its log grows.
pub struct Growing<'a> {
    original: &'a FileSource,
    log: &'a Log,
    columns: &'a [(&'a str, ColumnType)],
    output: PathBuf,
    /// The last build, and the count of events in it.
    last: (ApplyBuild, usize),
}

/// What a dataset is on the disk, byte for byte: the names of its files (for a folder) and what is in them.
fn bytes_in(path: &Path) -> Vec<(Option<PathBuf>, Vec<u8>)> {
    let name = |file: &Path| file.strip_prefix(path).ok().map(Path::to_owned);
    source(path.to_owned()).files().unwrap().iter().map(|file| (name(file), std::fs::read(file).unwrap())).collect()
}

fn full(
    original: &FileSource,
    events: &[Event],
    columns: &[(&str, ColumnType)],
    output: &Path,
) -> Result<ApplyBuild, EngineError> {
    let (key, replay, editable) = (["id".to_owned()], Replay::of(events), editable(columns));
    let format = Format::Parquet;
    let task = ApplyTask { original, key: &key, replay: &replay, editable: &editable, earlier: None, output, format };
    apply(&task, &Control::unwatched())
}

impl<'a> Growing<'a> {
    pub fn new(
        original: &'a FileSource,
        log: &'a Log,
        at: usize,
        columns: &'a [(&'a str, ColumnType)],
        output: PathBuf,
    ) -> Growing<'a> {
        let last = (full(original, &log.0[..at], columns, &output).unwrap(), at);
        Growing { original, log, columns, output, last }
    }

    /// How many events are in the last build.
    pub fn position(&self) -> usize {
        self.last.1
    }

    /// Goes on to a position of the log; none when that is not possible.
    fn rebuild(&self, to: usize) -> Option<ApplyBuild> {
        let (built, at) = &self.last;
        let touched: Vec<_> = self.log.0[*at..to].iter().map(|event| event.key.clone()).collect();
        let of = |events: &[Event]| Replay::of(events.iter().filter(|event| touched.contains(&event.key)));
        let (before, after) = (of(&self.log.0[..*at]), of(&self.log.0[..to]));
        let (key, editable) = (["id".to_owned()], editable(self.columns));
        let task = ApplyTask {
            original: self.original,
            key: &key,
            replay: &after,
            editable: &editable,
            earlier: Some(&built.original),
            output: &self.output,
            format: Format::Parquet,
        };
        let stamp = OutputStamp {
            parts: built.parts.clone(),
            ..OutputStamp::new(built.output.file.clone(), built.output.rows)
        };
        let again = RebuildTask { task: &task, before: &before, output: &stamp, report: &built.report };
        rebuild(&again, &Control::unwatched()).unwrap()
    }

    /// Goes on to a position of the log, or builds in full when that is not possible, and compares with a full build in
    /// another place. The result says whether going on was possible.
    pub fn grow(&mut self, folder: &Folder, to: usize) -> bool {
        let is_folder = self.output.as_os_str().to_string_lossy().ends_with('/');
        let whole = folder.path(if is_folder { "whole/" } else { "whole.parquet" });
        let expected = full(self.original, &self.log.0[..to], self.columns, &whole).unwrap();
        let old = bytes_in(&self.output);
        let gone_on = self.rebuild(to);
        let goes_on = gone_on.is_some();
        if !goes_on {
            assert_eq!(bytes_in(&self.output), old);
        }
        let built =
            gone_on.unwrap_or_else(|| full(self.original, &self.log.0[..to], self.columns, &self.output).unwrap());
        let (own, full) = (bytes_in(&self.output), bytes_in(&whole));
        // Not `assert_eq`, which would print them.
        assert!(own == full, "the bytes differ");
        assert_eq!(built.report, expected.report);
        assert_eq!(built.log_position, expected.log_position);
        assert_eq!(built.output, expected.output);
        let parts = |build: &ApplyBuild| {
            let parts = build.parts.clone().unwrap();
            (parts.groups, parts.rows_created, parts.has_created, parts.files.len())
        };
        assert_eq!(parts(&built), parts(&expected));
        self.last = (built, to);
        goes_on
    }
}

/// Grows a file and a folder from one position of the log to another; the result says whether going on was possible.
fn grows(folder: &Folder, original: &FileSource, log: &Log, at: usize, to: usize) -> bool {
    let [file, parts] = ["output.parquet", "parts.parquet/"]
        .map(|name| Growing::new(original, log, at, &EXOTIC, folder.path(name)).grow(folder, to));
    assert_eq!(file, parts);
    file
}

#[test]
fn an_original_without_nulls_gives_the_same_pages_when_rows_of_it_are_deleted() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    // More rows than a page has, and than are worked on at once.
    let ids = 0..100_000i64;
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        ("name", Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("n{}", id % 300))))),
        ("cost", Arc::new(Float64Array::from_iter_values(ids.map(|id| (id % 977) as f64)))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap();
    write(&path, &batch, groups_of(60_000).build());
    let original = source(path);
    let log = Log::default()
        .update("10", "name", Some("x"), Some("n10"))
        .update("40000", "cost", Some("1"), Some("920"))
        .delete("30000")
        .create("200000", "name", "new")
        .update("20000", "name", Some("y"), Some("n200"))
        .update("50000", "cost", Some("2"), Some("173"))
        .revert("10", None)
        .update("11", "cost", None, Some("11"))
        .delete("20001");
    let columns = [("name", ColumnType::Text), ("cost", ColumnType::Number)];
    let mut growing = Growing::new(&original, &log, 4, &columns, folder.path("output.parquet"));
    for to in 5..=log.0.len() {
        assert!(growing.grow(&folder, to), "event {to}");
    }
}

#[test]
fn going_on_after_new_edits_gives_the_bytes_and_the_account_of_a_full_build() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    let ids: Vec<i64> = (0..100).collect();
    write(&path, &exotic(&ids, true), groups_of(10).build());
    let original = source(path);
    let log = Log::default()
        .update("11", "name", Some("edited"), Some("name 11"))
        .update("11", "must", Some("5"), Some("11"))
        .update("45", "note", Some("a note"), None)
        .update("77", "cost", Some("not a number"), None)
        .update("500", "name", Some("nobody"), None)
        .delete("60")
        .create("200", "name", "new")
        .update("11", "name", Some("edited again"), Some("edited"))
        .revert("11", Some("must"))
        .revert("45", None)
        .update("46", "gone", Some("x"), None)
        .update("77", "cost", Some("1.25"), None)
        .update("500", "must", Some("3"), None);
    for at in 7..log.0.len() {
        assert!(grows(&folder, &original, &log, at, log.0.len()), "{at}");
    }
    // The first created row makes other columns nullable: it is built in full.
    assert!(!grows(&folder, &original, &log, 6, log.0.len()));
}

#[test]
fn going_on_drops_deleted_rows_and_brings_them_back() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    write(&path, &exotic(&(0..100).collect::<Vec<_>>(), true), groups_of(20).build());
    let original = source(path);
    let log = Log::default()
        .update("11", "name", Some("edited"), Some("name 11"))
        .update("13", "cost", Some("7"), None)
        .delete("10")
        // A row without an edit, one with an edit, and one that is edited afterwards.
        .delete("12")
        .delete("11")
        .update("10", "name", Some("edited while deleted"), None)
        .delete("15")
        // Rows come back: without edits, and with one.
        .revert("12", None)
        .create("11", "name", "created again")
        .update("14", "note", Some("last"), None)
        .revert("10", None)
        .revert("15", None)
        // A row that nobody has.
        .delete("500")
        .revert("500", None);
    for at in 0..log.0.len() {
        let to = log.0.len();
        // A deleted row that is created is one of the original's and of the log's: that is built in full.
        assert_eq!(grows(&folder, &original, &log, at, to), at > 8, "{at}");
    }
    for to in 2..=8 {
        assert!(grows(&folder, &original, &log, 1, to), "{to}");
        assert!(grows(&folder, &original, &log, to - 1, to), "{to}");
    }
    // A row group that loses its last row, and one that gets its first.
    let all = (20..40).fold(Log::default(), |log, row| log.delete(&row.to_string())).revert("25", None);
    assert!(grows(&folder, &original, &all, 5, 19));
    assert!(!grows(&folder, &original, &all, 19, 20));
    assert!(!grows(&folder, &original, &all, 20, 21));
}

#[test]
fn going_on_adds_changes_and_takes_back_created_rows() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    write(&path, &exotic(&(0..100).collect::<Vec<_>>(), true), groups_of(20).build());
    let original = source(path);
    let log = Log::default()
        .create("200", "name", "first")
        .create("201", "cost", "7")
        .update("200", "cost", Some("1.5"), None)
        .update("11", "name", Some("edited"), None)
        .create("202", "note", "third")
        .delete("201")
        .update("202", "note", None, Some("third"))
        .create("203", "must", "not a number")
        .create("201", "kind", "fourth, again")
        .revert("200", Some("name"))
        .revert("203", None);
    for at in 1..log.0.len() {
        for to in at + 1..=log.0.len() {
            assert!(grows(&folder, &original, &log, at, to), "{at} to {to}");
        }
    }
    let taken_back = Log::default().create("200", "name", "a").create("201", "name", "b").delete("200").delete("201");
    assert!(!grows(&folder, &original, &taken_back, 0, 1));
    assert!(grows(&folder, &original, &taken_back, 1, 3));
    // The last one: other columns cannot be null any more.
    assert!(!grows(&folder, &original, &taken_back, 3, 4));
    // A key that is no key of the original cannot be written, and the account of it is not gone on from.
    let lost = Log::default().create("200", "name", "a").create("no number", "name", "b").create("201", "name", "c");
    assert!(!grows(&folder, &original, &lost, 1, 2));
    assert!(!grows(&folder, &original, &lost, 2, 3));
    // A created row that is the original's as well.
    let both = Log::default().create("200", "name", "a").create("20", "name", "b");
    assert!(!grows(&folder, &original, &both, 1, 2));
}

#[test]
fn a_chunk_that_loses_its_last_edit_is_the_originals_again() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    // No dictionaries and no statistics: what Stet encodes differs from it.
    let properties = groups_of(10).set_dictionary_enabled(false).set_compression(parquet::basic::Compression::SNAPPY);
    write(&path, &exotic(&(0..100).collect::<Vec<_>>(), true), properties.build());
    let original = source(path);
    let log = Log::default()
        .update("11", "name", Some("edited"), Some("name 11"))
        .update("12", "name", Some("too"), None)
        .revert("11", None)
        .revert("12", Some("name"));
    let untouched = folder.path("untouched.parquet");
    full(&original, &[], &EXOTIC, &untouched).unwrap();
    let mut growing = Growing::new(&original, &log, 2, &EXOTIC, folder.path("output.parquet"));
    assert!(growing.grow(&folder, 3));
    assert_ne!(bytes_in(&growing.output)[0].1, std::fs::read(&untouched).unwrap());
    assert!(growing.grow(&folder, 4));
    assert_eq!(bytes_in(&growing.output)[0].1, std::fs::read(&untouched).unwrap());
}

#[test]
fn in_a_folder_only_the_files_of_touched_row_groups_are_written() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    write(&path, &exotic(&(0..100).collect::<Vec<_>>(), true), groups_of(10).build());
    let original = source(path);
    let log = Log::default().update("11", "name", Some("a"), None).delete("31").create("200", "name", "c").update(
        "77",
        "name",
        Some("z"),
        None,
    );
    let output = folder.path("parts.parquet/");
    let mut growing = Growing::new(&original, &log, 3, &EXOTIC, output.clone());
    let inodes = || -> Vec<u64> {
        source(output.clone()).files().unwrap().iter().map(|file| std::fs::metadata(file).unwrap().ino()).collect()
    };
    let before = inodes();
    assert!(growing.grow(&folder, 4));
    let after = inodes();
    assert_eq!(after.len(), 11);
    let written: Vec<usize> = (0..11).filter(|place| before[*place] != after[*place]).collect();
    assert_eq!(written, [7]);
    assert_eq!(folder.files(), ["original.parquet", "parts.parquet", "whole"]);
}

#[test]
fn a_folder_of_other_files_is_not_replaced() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    write(&path, &exotic(&(0..10).collect::<Vec<_>>(), true), groups_of(10).build());
    let original = source(path);
    std::fs::create_dir(folder.path("mine")).unwrap();
    std::fs::write(folder.path("mine/letter.txt"), "dear").unwrap();
    let error = full(&original, &[], &EXOTIC, &folder.path("mine/")).unwrap_err().to_string();
    assert!(error.contains("letter.txt") && error.contains("another path"), "{error}");
    let error = full(&original, &[], &EXOTIC, &folder.path("mine")).unwrap_err().to_string();
    assert!(error.contains("there is a folder in its place"), "{error}");
    std::fs::write(folder.path("file"), "mine").unwrap();
    let error = full(&original, &[], &EXOTIC, &folder.path("file/")).unwrap_err().to_string();
    assert!(error.contains("there is a file in its place"), "{error}");
    assert_eq!(folder.files(), ["file", "mine", "original.parquet"]);
    assert_eq!(std::fs::read_to_string(folder.path("mine/letter.txt")).unwrap(), "dear");
}

#[test]
fn an_output_or_original_that_was_changed_is_not_gone_on_from() {
    let folder = Folder::new();
    let path = folder.path("original.parquet");
    write(&path, &exotic(&(0..40).collect::<Vec<_>>(), false), WriterProperties::builder().build());
    let original = source(path.clone());
    let log = Log::default().update("5", "name", None, None).update("6", "name", None, None);
    let growing = Growing::new(&original, &log, 1, &EXOTIC, folder.path("output.parquet"));
    let touch = |path: &Path| {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    touch(&growing.output);
    assert!(growing.rebuild(2).is_none());
    let growing = Growing::new(&original, &log, 1, &EXOTIC, folder.path("output.parquet"));
    touch(&path);
    assert!(growing.rebuild(2).is_none());
    let growing = Growing::new(&original, &log, 1, &EXOTIC, folder.path("output.parquet"));
    assert!(growing.rebuild(2).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn going_on_never_differs_from_a_full_build(
        ids in proptest::sample::subsequence((0i64..60).collect::<Vec<_>>(), 20..60).prop_shuffle(),
        is_sorted in any::<bool>(),
        required in any::<bool>(),
        is_plain in any::<bool>(),
        is_folder in any::<bool>(),
        first in proptest::collection::vec(step(), 0..30),
        then in proptest::collection::vec(step(), 1..8),
    ) {
        let folder = Folder::new();
        let mut ids = ids;
        if is_sorted {
            ids.sort_unstable();
        }
        let path = folder.path("original.parquet");
        write(&path, &exotic(&ids, required), groups_of(5).set_dictionary_enabled(!is_plain).build());
        let names = ["name", "cost", "must", "kind", "note", "gone"];
        let at = first.len();
        let log = first.iter().chain(&then).enumerate().fold(Log::default(), |log, (place, (kind, id, column, value))| {
            let key = id.to_string();
            match kind {
                0 => log.delete(&key),
                1 => log.revert(&key, None),
                2 | 3 => log.revert(&key, Some(names[*column])),
                // Of a key that the original lacks, or mostly does not know.
                4 if place < at || *id >= 30 => log.create(&(id + 30).to_string(), names[*column], value.as_deref().unwrap_or("7")),
                _ => log.update(&key, names[*column], value.as_deref(), Some("5")),
            }
        });
        let original = source(path);
        let output = folder.path(if is_folder { "output.parquet/" } else { "output.parquet" });
        let mut growing = Growing::new(&original, &log, at, &EXOTIC, output);
        for to in at + 1..=log.0.len() {
            growing.grow(&folder, to);
        }
    }
}
