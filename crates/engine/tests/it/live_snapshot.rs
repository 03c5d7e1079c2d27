//! Snapshots: used again, written anew, and refused for bad keys.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use stet_domain::ColumnType;
use stet_domain::project::Format;
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::read::FileSource;
use stet_engine::snapshot::{BATCH_ROWS, Snapshot};

use crate::build_support::Folder;
use crate::live_support::snapshot;

const COLUMNS: [(&str, ColumnType); 2] = [("id", ColumnType::Integer), ("name", ColumnType::Text)];

fn open(folder: &Folder, source: &FileSource, key: &[&str]) -> Result<Arc<Snapshot>, EngineError> {
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    Snapshot::open(source, &key, &folder.path("cache"), &Control::unwatched())
}

fn many(rows: usize) -> String {
    (0..rows).fold("id,name\n".to_owned(), |text, row| text + &format!("{},name {row}\n", row * 3))
}

fn files(folder: &Folder) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder.path("cache/original")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_row_is_found_by_its_key_and_by_its_number() {
    let folder = Folder::new();
    let rows = 2 * BATCH_ROWS + 17;
    let source = folder.csv("original", &many(rows), &COLUMNS);
    let snapshot = snapshot(&folder, &source, &["id"]);
    assert_eq!(snapshot.rows(), rows);
    for row in (0..rows).step_by(997).chain([0, BATCH_ROWS - 1, BATCH_ROWS, rows - 1]) {
        assert_eq!(snapshot.find(&(row * 3).to_string()), Some(row as u32));
        assert_eq!(snapshot.text(row, 1).unwrap(), format!("name {row}"));
        assert_eq!(snapshot.find(&(row * 3 + 1).to_string()), None);
    }
    assert_eq!(snapshot.find("03"), None);
    assert_eq!(snapshot.find(""), None);
}

#[test]
fn a_key_of_several_columns_is_found_by_its_json_text() {
    let folder = Folder::new();
    let text = "a,b,c\n\"x\"\"y\",1,\n\"x\"\"y\",2,\n\"[\"\"1\"\"]\",1,é\n";
    let columns = [("a", ColumnType::Text), ("b", ColumnType::Number), ("c", ColumnType::Text)];
    let source = folder.csv("original", text, &columns);
    let snapshot = snapshot(&folder, &source, &["b", "a"]);
    assert_eq!(snapshot.find("[\"2\",\"x\\\"y\"]"), Some(1));
    assert_eq!(snapshot.find("[\"1\",\"[\\\"1\\\"]\"]"), Some(2));
    assert_eq!(snapshot.find("[\"1\"]"), None);
    assert_eq!(snapshot.key_names(), ["b", "a"]);
}

#[test]
fn an_unchanged_original_is_not_read_again() {
    let folder = Folder::new();
    let source = folder.csv("original", &many(100), &COLUMNS);
    let first = snapshot(&folder, &source, &["id"]);
    let cancel = Arc::new(AtomicBool::new(true));
    // Reading the original would notice that the work is cancelled.
    let second =
        Snapshot::open(&source, &["id".to_owned()], &folder.path("cache"), &Control::new(cancel, |_| {})).unwrap();
    assert_eq!(first.identity(), second.identity());
    assert_eq!(second.find("297"), Some(99));
}

#[test]
fn a_rebuilt_original_gets_a_new_snapshot_while_the_old_one_stays_readable() {
    let folder = Folder::new();
    let source = folder.csv("original", &many(100), &COLUMNS);
    let old = snapshot(&folder, &source, &["id"]);
    let source = folder.csv("original", &many(200), &COLUMNS);
    assert_ne!(Snapshot::identity_of(&source, &["id".to_owned()]).unwrap(), old.identity());
    let new = snapshot(&folder, &source, &["id"]);
    assert_eq!((old.rows(), new.rows()), (100, 200));
    assert_eq!(old.find("297"), Some(99));
    assert_eq!(old.text(99, 1).unwrap(), "name 99");
    // Only the files of the new one are left.
    assert_eq!(files(&folder).len(), 3);
}

#[test]
fn damaged_files_of_a_snapshot_are_written_again() {
    let folder = Folder::new();
    let source = folder.csv("original", &many(3_000), &COLUMNS);
    let first = snapshot(&folder, &source, &["id"]);
    drop(first);
    // Rows, keys and zones.
    for index in 0..3 {
        let path = files(&folder)[index].clone();
        let whole = std::fs::read(&path).unwrap();
        let zeros = vec![0; whole.len()];
        for damaged in [&whole[..whole.len() / 2], b"", &zeros[..]] {
            // A new file, as a damaged disk would show it: the old one may still be mapped.
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, damaged).unwrap();
            let again = snapshot(&folder, &source, &["id"]);
            assert_eq!(again.rows(), 3_000);
            assert_eq!(again.find("8997"), Some(2_999));
        }
    }
}

#[test]
fn bad_keys_are_refused_with_the_rows_and_lines_where_they_are() {
    let folder = Folder::new();
    let message = |text: &str, key: &[&str]| {
        let source = folder.csv("original", text, &COLUMNS);
        let error = open(&folder, &source, key).unwrap_err();
        assert!(matches!(error, EngineError::Keys { .. }));
        error.to_string()
    };
    let text = message("id,name\n1,a\n,b\n2,\"c\nd\"\n,e\n", &["id"]);
    assert!(text.contains("2 of its key cells are empty"), "{text}");
    assert!(text.contains("row 2 (line 3) `id` is empty; row 4 (line 6) `id` is empty"), "{text}");
    let text = message("id,name\n1,a\n2,b\n1,c\n01,d\n", &["id"]);
    assert!(
        text.contains("row 3 (line 4) has the key `1` of row 1; row 4 (line 5) has the key `1` of row 1"),
        "{text}"
    );
    let text = message(&(0..50).fold("id,name\n".to_owned(), |text, _| text + "7,x\n"), &["id"]);
    assert_eq!(text.matches("has the key").count(), 20, "{text}");
    let text = message("id,name\n1,a\n", &["idd"]);
    assert!(text.contains("no key column `idd`; it has `id`"), "{text}");
    let text = message("id,name\n1,a\n", &[]);
    assert!(text.contains("has no key"), "{text}");
    // Nothing half-made is left to be taken for a snapshot.
    let source = folder.csv("original", "id,name\n1,a\n2,b\n", &COLUMNS);
    assert_eq!(open(&folder, &source, &["id"]).unwrap().rows(), 2);
}

#[test]
fn opening_tells_how_far_it_is_and_stops_when_it_is_told_to() {
    let folder = Folder::new();
    let source = folder.csv("original", &many(BATCH_ROWS + 1), &COLUMNS);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let cancel = Arc::new(AtomicBool::new(false));
    let (shown, stop) = (seen.clone(), cancel.clone());
    let control = Control::new(cancel, move |progress| {
        shown.lock().unwrap().push(progress.rows_done);
        stop.store(true, Ordering::Relaxed);
    });
    let error = Snapshot::open(&source, &["id".to_owned()], &folder.path("cache"), &control).unwrap_err();
    assert!(matches!(error, EngineError::Cancelled));
    assert_eq!(*seen.lock().unwrap(), [BATCH_ROWS as u64]);
    assert!(files(&folder).is_empty());
}

#[test]
fn an_original_that_is_cut_short_while_it_is_read_is_told_as_one_that_changed() {
    let folder = Folder::new();
    let source = folder.csv("original", &many(8 * BATCH_ROWS), &COLUMNS);
    let path = source.path.clone();
    // Whatever reads it finds half a line at the end, for which nobody is to blame.
    let control = Control::new(Arc::default(), move |_| std::fs::write(&path, "id,name\n1").unwrap());
    let error = Snapshot::open(&source, &["id".to_owned()], &folder.path("cache"), &control).unwrap_err().to_string();
    assert!(error.contains("the files changed while they were read"), "{error}");
    assert!(files(&folder).is_empty());
}

#[test]
fn an_original_without_rows_opens() {
    let folder = Folder::new();
    let source = folder.csv("original", "id,name\n", &COLUMNS);
    assert_eq!(snapshot(&folder, &source, &["id"]).rows(), 0);
    let parquet = folder.convert(&source, Format::Parquet);
    assert_eq!(snapshot(&folder, &parquet, &["id"]).find("1"), None);
}
