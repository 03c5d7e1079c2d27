//! What a live table shows of edits, and which requests it refuses.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int8Array, RecordBatch, UInt64Array};
use stet_domain::event::Event;
use stet_domain::{ColumnType, EventId, Key, Login};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::live::{EditState, LinkIndex, LiveTable, Query, StateFilter, TableLimits, TableSpec, Test};

use crate::build_chunks::{groups_of, source as parquet, write};
use crate::build_support::{Folder, Log};
use crate::live_support::{all_rows, filter, keys, me, snapshot, sort, spec};

const COLUMNS: [(&str, ColumnType); 4] = [
    ("id", ColumnType::Integer),
    ("species", ColumnType::Text),
    ("cost", ColumnType::Number),
    ("iata", ColumnType::Text),
];
const ROWS: &str = "id,species,cost,iata\n\
    1,Gull,10,DFW\n2,gull,,\n3,Álamo owl,2.5,JFK\n4,Bat,-1,\n5,,1000,XXX\n";

fn table(folder: &Folder) -> LiveTable {
    let source = folder.csv("strikes", ROWS, &COLUMNS);
    let editable = [("species", None), ("cost", None), ("note", Some(ColumnType::Text))];
    LiveTable::open(snapshot(folder, &source, &["id"]), &spec(&editable)).unwrap()
}

fn key(text: &str) -> Key {
    Key::from_text(text)
}

fn ask(filters: Vec<stet_engine::live::Filter>) -> Query {
    Query { filters, ..Query::default() }
}

fn by(mut event: Event, login: &str) -> Event {
    event.user = Login::new(login).unwrap();
    event
}

#[test]
fn columns_come_keys_first_then_the_originals_then_the_added() {
    let folder = Folder::new();
    let source = folder.csv("strikes", "species,id,cost\nGull,1,2\n", &[COLUMNS[1], COLUMNS[0], COLUMNS[2]]);
    let snapshot = snapshot(&folder, &source, &["id"]);
    let names = |spec: &TableSpec| -> Vec<String> {
        let live = LiveTable::open(snapshot.clone(), spec).unwrap();
        live.columns().iter().map(|column| column.name.clone()).collect()
    };
    let mut spec = spec(&[("note", Some(ColumnType::Text)), ("cost", None)]);
    assert_eq!(names(&spec), ["id", "species", "cost", "note"]);
    spec.columns = Some(vec!["cost".into(), "id".into()]);
    assert_eq!(names(&spec), ["cost", "id"]);
}

#[test]
fn a_row_tells_who_edited_what_and_how_it_stands() {
    let folder = Folder::new();
    let live = table(&folder);
    assert_eq!(
        live.columns().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["id", "species", "cost", "iata", "note"]
    );
    let log = Log::default()
        .update("1", "species", Some("Herring gull"), Some("Gull"))
        .update("1", "cost", Some("10"), Some("12"))
        .update("1", "note", None, None)
        .update("3", "species", None, Some("Owl"))
        .update("3", "cost", Some("many"), Some("2.5"))
        .update("4", "cost", Some("7"), Some("-1"))
        .revert("4", Some("cost"))
        .update("77", "cost", Some("7"), Some("1"))
        .update("2", "iata", Some("LAX"), None);
    live.push(&log.0);
    assert_eq!(live.version(), 9);
    let states = |row: &str| -> Vec<(String, i64, EditState, Option<String>)> {
        let row = live.row(&key(row)).unwrap();
        row.edits.into_iter().map(|edit| (edit.column, edit.event.0, edit.state, edit.original)).collect()
    };
    assert_eq!(
        states("1"),
        [
            ("species".to_owned(), 1, EditState::Needed, Some("Gull".to_owned())),
            ("cost".to_owned(), 2, EditState::Agrees, Some("10".to_owned())),
            ("note".to_owned(), 3, EditState::Agrees, None),
        ]
    );
    let shown = |text: &str| live.row(&key(text)).unwrap().cells;
    assert_eq!(states("3")[0].2, EditState::SourceChanged);
    assert_eq!(states("3")[1].2, EditState::Misfit);
    assert_eq!(shown("3"), ["3", "∅", "2.5", "JFK", "∅"].map(|t| Some(t.to_owned()).filter(|t| t != "∅")));
    assert_eq!(states("4")[0].2, EditState::Reverted);
    assert_eq!(shown("4")[2].as_deref(), Some("-1"));
    // A column that is not editable keeps its original.
    assert_eq!(shown("2")[3], None);
    assert!(states("2").is_empty());
    let report = live.report();
    assert_eq!((report.orphans.count, report.misfits.count, report.not_editable.count), (1, 1, 1));
    assert_eq!((report.stale.needed, report.stale.agrees, report.stale.source_changed), (1, 2, 1));
}

#[test]
fn a_cell_says_which_event_an_edit_of_it_has_to_have_seen() {
    let folder = Folder::new();
    let live = table(&folder);
    let log = Log::default()
        .update("1", "cost", Some("11"), Some("10"))
        .delete("2")
        .revert("2", None)
        .delete("3")
        .create("9", "species", "Hawk");
    live.push(&log.0);
    let seen = |row: &str, column: &str| live.cell(&key(row), column).unwrap().unwrap().seen.map(|event| event.0);
    assert_eq!(seen("1", "cost"), Some(1));
    assert_eq!(seen("1", "species"), None);
    assert_eq!(seen("2", "species"), Some(3));
    assert_eq!(seen("9", "species"), Some(5));
    assert_eq!(live.cell(&key("3"), "species").unwrap(), None);
    assert!(live.last_edit(&key("3")).unwrap().deleted);
    assert_eq!(live.last_edit(&key("4")), None);
    assert!(live.cell(&key("1"), "colour").is_err());
    let cells = live.editable_cells(&key("1")).unwrap();
    let texts: Vec<_> = cells.iter().map(|(name, cell)| (name.as_str(), cell.value.as_deref())).collect();
    assert_eq!(texts, [("species", Some("Gull")), ("cost", Some("11")), ("note", None)]);
    let rows = live.rows(&[key("9"), key("3"), key("1"), key("none")]);
    assert_eq!(rows.rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["9", "1"]);
    assert_eq!(rows.deleted, [key("3"), key("none")]);
    assert!(rows.rows[0].created);
    assert_eq!(rows.rows[0].event, Some(EventId(5)));
}

#[test]
fn events_that_were_taken_already_are_passed_over() {
    let folder = Folder::new();
    let live = table(&folder);
    let log = Log::default().create("9", "species", "Hawk").delete("9").create("9", "species", "Kite");
    assert_eq!(live.push(&log.0[..2]), [key("9")]);
    assert_eq!(live.total(), 5);
    assert_eq!(live.push(&log.0), [key("9")]);
    assert_eq!(live.push(&log.0), []);
    assert_eq!(live.total(), 6);
    assert_eq!(all_rows(&live, &Query::default(), 4)[5][1].as_deref(), Some("Kite"));
}

#[test]
fn each_filter_means_what_it_says() {
    let folder = Folder::new();
    let live = table(&folder);
    let text = |text: &str| text.to_owned();
    let some = |value: &str| Some(value.to_owned());
    for (column, test, expected) in [
        ("species", Test::Contains(text("GULL")), &["1", "2"][..]),
        ("species", Test::Contains(text("á")), &["3"]),
        ("species", Test::NotContains(text("gull")), &["3", "4", "5"]),
        ("species", Test::StartsWith(text("g")), &["1", "2"]),
        ("species", Test::EndsWith(text("OWL")), &["3"]),
        ("species", Test::Equals(text("gull")), &["2"]),
        ("species", Test::NotEquals(text("gull")), &["1", "3", "4", "5"]),
        ("species", Test::Between { from: some("bat"), to: some("GULL") }, &["1", "2", "4"]),
        ("species", Test::Blank, &["5"]),
        ("species", Test::NotBlank, &["1", "2", "3", "4"]),
        ("species", Test::In(vec![some("Bat"), None]), &["4", "5"]),
        ("cost", Test::Contains(text("0")), &["1", "5"]),
        ("cost", Test::Equals(text("10.0")), &["1"]),
        ("cost", Test::Between { from: some("-1"), to: some("10") }, &["1", "3", "4"]),
        ("cost", Test::Between { from: None, to: some("0") }, &["4"]),
        ("cost", Test::In(vec![some("1000"), None]), &["2", "5"]),
        ("note", Test::Blank, &["1", "2", "3", "4", "5"]),
        ("note", Test::Contains(text("x")), &[]),
    ] {
        assert_eq!(keys(&live, &ask(vec![filter(column, test.clone())])), expected, "{column} {test:?}");
    }
}

#[test]
fn a_part_of_a_word_is_found_whichever_sigma_it_ends_with() {
    let folder = Folder::new();
    let source = folder.csv(
        "streets",
        "id,name\n1,ΟΔΟΣ\n2,οδος\n3,ΟΔΟΣΕΙΡΑ\n4,Σίσυφος\n",
        &[("id", ColumnType::Integer), ("name", ColumnType::Text)],
    );
    let live = LiveTable::open(snapshot(&folder, &source, &["id"]), &spec(&[("name", None)])).unwrap();
    let found = |test: Test| keys(&live, &ask(vec![filter("name", test)]));
    for part in ["ΟΔΟΣ", "οδος", "οδοσ"] {
        assert_eq!(found(Test::Contains(part.to_owned())), ["1", "2", "3"], "{part}");
        assert_eq!(found(Test::StartsWith(part.to_owned())), ["1", "2", "3"], "{part}");
    }
    for part in ["Σ", "σ", "ς"] {
        assert_eq!(found(Test::EndsWith(part.to_owned())), ["1", "2", "4"], "{part}");
        assert_eq!(found(Test::Contains(part.to_owned())), ["1", "2", "3", "4"], "{part}");
    }
    let sorted = Query { sort: sort(&[("name", false)]), ..Query::default() };
    assert_eq!(keys(&live, &sorted), ["1", "2", "3", "4"]);
}

#[test]
fn a_range_that_ends_at_zero_has_both_zeros() {
    let folder = Folder::new();
    let source = folder.csv(
        "costs",
        "id,cost\n1,-0\n2,0\n3,-0.5\n4,0.5\n",
        &[("id", ColumnType::Integer), ("cost", ColumnType::Number)],
    );
    let live = LiveTable::open(snapshot(&folder, &source, &["id"]), &spec(&[("cost", None)])).unwrap();
    for zero in ["0", "-0"] {
        let zero = || Some(zero.to_owned());
        let from = Test::Between { from: zero(), to: None };
        assert_eq!(keys(&live, &ask(vec![filter("cost", from)])), ["1", "2", "4"]);
        let to = Test::Between { from: None, to: zero() };
        assert_eq!(keys(&live, &ask(vec![filter("cost", to)])), ["1", "2", "3"]);
    }
}

#[test]
fn what_the_type_of_a_column_lets_pass_and_its_exact_type_does_not_is_told() {
    let folder = Folder::new();
    let columns = [
        ("id", ColumnType::Integer),
        ("at", ColumnType::DateTime),
        ("cost", ColumnType::Number),
        ("name", ColumnType::Text),
    ];
    let source = folder.csv("times", "id,at,cost,name\n1,,,\n", &columns);
    let live = LiveTable::open(snapshot(&folder, &source, &["id"]), &spec(&[("at", None)])).unwrap();
    let kept = |column: &str, text: &str| live.value_kept(column, text.to_owned());
    assert_eq!(
        kept("at", "2020-01-01T00:00:00.1234567").unwrap_err(),
        "`2020-01-01T00:00:00.1234567` does not fit here: the column holds times with at most 6 digits after the second"
    );
    for (column, text) in [
        ("at", "2020-01-01T00:00:00.123456"),
        ("id", "9223372036854775807"),
        ("cost", "1e+308"),
        ("name", ""),
        ("nothing", "1"),
    ] {
        assert_eq!(kept(column, text).as_deref(), Ok(text), "{column} {text}");
    }
    let narrow = RecordBatch::try_from_iter::<_, &str>([
        ("id", Arc::new(Int8Array::from(vec![1])) as ArrayRef),
        ("cost", Arc::new(Float32Array::from(vec![0.5]))),
        ("count", Arc::new(UInt64Array::from(vec![1]))),
    ]);
    let path = folder.path("narrow.parquet");
    write(&path, &narrow.unwrap(), groups_of(10).build());
    let editable = spec(&[("cost", None), ("count", None)]);
    let live = LiveTable::open(snapshot(&folder, &parquet(path), &["id"]), &editable).unwrap();
    let kept = |column: &str, text: &str| live.value_kept(column, text.to_owned());
    assert_eq!(kept("cost", "0.123456789").as_deref(), Ok("0.12345679"));
    assert!(kept("cost", "1e+300").is_err_and(|message| message.contains("numbers up to 3.4e38")));
    assert!(kept("id", "128").is_err_and(|message| message.contains("whole numbers from -128 to 127")));
    assert!(kept("count", "-1").is_err_and(|message| message.contains("from 0 to 18446744073709551615")));
}

#[test]
fn rows_that_are_too_large_for_one_page_are_asked_for_in_parts() {
    let folder = Folder::new();
    let source = folder.csv(
        "large",
        "id,name\n1,aaaa\n2,bbbb\n3,a long one\n",
        &[("id", ColumnType::Integer), ("name", ColumnType::Text)],
    );
    let limits = TableLimits { page_bytes_max: 10, ..TableLimits::default() };
    let live = LiveTable::open_with(snapshot(&folder, &source, &["id"]), &spec(&[("name", None)]), limits).unwrap();
    let page = |offset, limit| live.page(&Query::default(), offset, limit, &me());
    assert_eq!(page(0, 2).unwrap().rows.len(), 2);
    let message = page(0, 3).unwrap_err().to_string();
    assert_eq!(message, "the first 3 of these 3 rows have more than 10 bytes: ask for fewer rows at once");
    // A row by itself is shown whatever its size.
    assert_eq!(page(2, 1).unwrap().rows.len(), 1);
}

#[test]
fn filters_by_state_look_at_the_log_and_at_who_asks() {
    let folder = Folder::new();
    let live = table(&folder);
    let log = Log::default()
        .update("1", "species", Some("x"), Some("Gull"))
        .update("2", "species", Some("x"), Some("not what is there"))
        .update("3", "cost", Some("no number"), None)
        .update("4", "cost", Some("1"), Some("-1"))
        .revert("4", Some("cost"))
        .create("9", "species", "Hawk");
    let mut events = log.0;
    events[1] = by(events[1].clone(), "grace");
    live.push(&events);
    let states = |states: &[StateFilter]| Query { states: states.to_vec(), ..Query::default() };
    assert_eq!(keys(&live, &states(&[StateFilter::Edited])), ["1", "2", "9"]);
    assert_eq!(keys(&live, &states(&[StateFilter::Stale])), ["2"]);
    assert_eq!(keys(&live, &states(&[StateFilter::Mine])), ["1", "9"]);
    assert_eq!(keys(&live, &states(&[StateFilter::Created, StateFilter::Stale])), ["2", "9"]);
    let grace = Login::new("grace").unwrap();
    let page = live.page(&states(&[StateFilter::Mine]), 0, 10, &grace).unwrap();
    assert_eq!(page.rows.len(), 1);
    // An edit by somebody else takes the row away from the one who edited it before.
    let next = Log(events.clone()).update("1", "species", Some("y"), Some("x"));
    live.push(&[by(next.0.last().unwrap().clone(), "grace")]);
    assert_eq!(keys(&live, &states(&[StateFilter::Mine])), ["9"]);
}

#[test]
fn empty_cells_sort_last_in_either_direction_and_equal_ones_keep_their_order() {
    let folder = Folder::new();
    let live = table(&folder);
    let sorted = |columns: &[(&str, bool)]| keys(&live, &Query { sort: sort(columns), ..Query::default() });
    assert_eq!(sorted(&[("species", false)]), ["4", "1", "2", "3", "5"]);
    assert_eq!(sorted(&[("species", true)]), ["3", "2", "1", "4", "5"]);
    assert_eq!(sorted(&[("cost", true)]), ["5", "1", "3", "4", "2"]);
    assert_eq!(sorted(&[("note", true)]), ["1", "2", "3", "4", "5"]);
    assert_eq!(sorted(&[("note", true), ("id", true)]), ["5", "4", "3", "2", "1"]);
}

#[test]
fn requests_that_make_no_sense_are_refused_in_plain_words() {
    let folder = Folder::new();
    let live = table(&folder);
    let refused = |query: Query, limit: usize| {
        let error = live.page(&query, 0, limit, &me()).unwrap_err();
        assert!(matches!(error, EngineError::Request(_)));
        error.to_string()
    };
    for (query, limit, part) in [
        (ask(vec![filter("speces", Test::Blank)]), 10, "no column `speces`; did you mean `species`?"),
        (Query { sort: sort(&[("colour", true)]), ..Query::default() }, 10, "no column `colour`"),
        (ask(vec![filter("cost", Test::Equals("abc".into()))]), 10, "`abc` is not a number"),
        (ask(vec![filter("cost", Test::Between { from: None, to: None })]), 10, "neither a start nor an end"),
        (ask(vec![filter("species", Test::Contains("x".repeat(20_000)))]), 10, "longer than 10000 bytes"),
        (ask(vec![filter("species", Test::Blank); 101]), 10, "at most 100 filters"),
        (Query::default(), 1_001, "at most 1000 rows, not 1001"),
    ] {
        let message = refused(query, limit);
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
    let beyond = live.page(&Query::default(), usize::MAX, 10, &me()).unwrap();
    assert_eq!((beyond.total, beyond.rows.len()), (5, 0));
}

#[test]
fn a_spec_with_a_wrong_column_is_refused() {
    let folder = Folder::new();
    let live = table(&folder);
    let open = |spec: &TableSpec| LiveTable::open(live.snapshot().clone(), spec).unwrap_err().to_string();
    let columns = |names: &[&str]| TableSpec {
        columns: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..spec(&[])
    };
    assert!(open(&columns(&["id", "speces"])).contains("no column `speces`; it has `species`"));
    assert!(open(&columns(&["id", "id"])).contains("`id` is listed twice"));
    assert!(open(&spec(&[("reviewed", None)])).contains("give the editable column a type"));
}

#[test]
fn a_linked_column_shows_labels_and_is_found_by_them() {
    let folder = Folder::new();
    let airports = folder.csv(
        "airports",
        "iata,name,city\nDFW,Dallas-Fort Worth,Dallas\nJFK,John F Kennedy,New York\nLAX,Los Angeles,\n",
        &[("iata", ColumnType::Text), ("name", ColumnType::Text), ("city", ColumnType::Text)],
    );
    let link = LinkIndex::load(&airports, "iata", "name", &["city".to_owned()], &Control::unwatched()).unwrap();
    let source = folder.csv("strikes", ROWS, &COLUMNS);
    let mut spec = spec(&[("iata", None)]);
    spec.editable[0].link = Some(Arc::new(link));
    let live = LiveTable::open(snapshot(&folder, &source, &["id"]), &spec).unwrap();
    let contains = |part: &str| ask(vec![filter("iata", Test::Contains(part.into()))]);
    assert_eq!(keys(&live, &contains("fort")), ["1"]);
    live.push(&Log::default().update("2", "iata", Some("DFW"), None).0);
    assert_eq!(keys(&live, &contains("fort")), ["1", "2"]);
    assert_eq!(keys(&live, &contains("jf")), ["3"]);
    let page = live.page(&Query::default(), 0, 10, &me()).unwrap();
    assert_eq!(page.links["iata"].keys().collect::<Vec<_>>(), ["DFW", "JFK"]);
    assert_eq!(page.links["iata"]["JFK"].lookups, [Some("New York".to_owned())]);
    assert!(live.memory().index_mapped > 0);
}

#[test]
fn readers_and_an_editor_at_once_see_whole_states() {
    let folder = Folder::new();
    let text = (0..2_000).fold("id,species,cost,iata\n".to_owned(), |text, row| text + &format!("{row},a,{row},\n"));
    let source = folder.csv("strikes", &text, &COLUMNS);
    let live =
        LiveTable::open(snapshot(&folder, &source, &["id"]), &spec(&[("species", None), ("cost", None)])).unwrap();
    let log =
        (0..400).fold(Log::default(), |log, at| log.update(&(at * 5).to_string(), "species", Some("b"), Some("a")));
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let live = &live;
            scope.spawn(move || {
                for _ in 0..60 {
                    let mut query = ask(vec![filter("species", Test::Equals("b".into()))]);
                    query.sort = sort(&[("cost", reader % 2 == 0)]);
                    let page = live.page(&query, 0, 1000, &me()).unwrap();
                    // One more row is edited at every version: the count belongs to the version.
                    assert_eq!(page.total as i64, page.version);
                    assert_eq!(page.rows.len(), page.total);
                }
            });
        }
        for event in &log.0 {
            live.push(std::slice::from_ref(event));
        }
    });
    assert_eq!(live.version(), 400);
}
