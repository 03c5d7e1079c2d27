//! Live tables of many rows: the first page before the order, and groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stet_domain::ColumnType;
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::live::{Count, GROUPS_MAX, GroupQuery, GroupSort, LiveTable, Page, Query, TableLimits, Test};

use crate::build_support::{Folder, Log};
use crate::live_support::{filter, me, snapshot, sort, spec};

const ROWS: usize = 150_000;

/// Rows with a number that is scrambled, a text that is too, and a text of few values, some of which are empty.
fn table(folder: &Folder, sorted_at_once_rows_max: usize) -> LiveTable {
    table_with(folder, TableLimits { sorted_at_once_rows_max, ..TableLimits::default() })
}

fn table_with(folder: &Folder, limits: TableLimits) -> LiveTable {
    let mut text = "id,number,name,kind\n".to_owned();
    for row in 0..ROWS {
        let scrambled = row * 7_919 % 100_003;
        let kind = match row % 10 {
            0 => "",
            _ => ["Alpha", "beta", "Gamma"][row % 3],
        };
        text += &format!("{row},{},Name {scrambled:06} of many,{kind}\n", scrambled % 5_000);
    }
    let columns = [
        ("id", ColumnType::Integer),
        ("number", ColumnType::Integer),
        ("name", ColumnType::Text),
        ("kind", ColumnType::Text),
    ];
    let source = folder.csv("many", &text, &columns);
    let editable = spec(&[("number", None), ("name", None), ("kind", None)]);
    LiveTable::open_with(snapshot(folder, &source, &["id"]), &editable, limits).unwrap()
}

fn keys(page: &Page) -> Vec<&str> {
    page.rows.iter().map(|row| row.key.as_str()).collect()
}

fn queries() -> Vec<Query> {
    let sorted = |columns: &[(&str, bool)]| Query { sort: sort(columns), ..Query::default() };
    vec![
        sorted(&[("number", false)]),
        sorted(&[("number", true)]),
        sorted(&[("name", false)]),
        sorted(&[("kind", true), ("name", true)]),
        Query {
            filters: vec![filter("name", Test::Contains("7 OF".into()))],
            ..sorted(&[("kind", false), ("number", false)])
        },
        Query {
            filters: vec![filter("number", Test::Between { from: Some("10".into()), to: None })],
            ..sorted(&[("kind", false)])
        },
    ]
}

#[test]
fn the_first_rows_of_a_new_order_are_those_of_the_whole_order() {
    let folder = Folder::new();
    let (hasty, patient) = (table(&folder, 100), table(&folder, usize::MAX));
    let mut log = Log::default();
    for row in 0..500 {
        let key = (row * 299).to_string();
        log = match row % 4 {
            0 => log.update(&key, "number", Some("-5"), None),
            1 => log.update(&key, "name", Some("AAA"), None),
            2 => log.update(&key, "kind", None, None),
            _ => log.delete(&key),
        };
    }
    for table in [&hasty, &patient] {
        table.push(&log.0);
    }
    for query in queries() {
        for offset in [0, 300, 1_500] {
            let (first, whole) =
                (hasty.page(&query, offset, 200, &me()).unwrap(), patient.page(&query, offset, 200, &me()).unwrap());
            assert_eq!(keys(&first), keys(&whole), "{query:?} at {offset}");
            assert_eq!(first.total, whole.total);
            assert!(first.order_pending && !whole.order_pending);
        }
        // Deeper, the page waits for the order, which is there from then on.
        let (deep, whole) =
            (hasty.page(&query, 9_000, 200, &me()).unwrap(), patient.page(&query, 9_000, 200, &me()).unwrap());
        assert_eq!(keys(&deep), keys(&whole), "{query:?}");
        assert!(!hasty.page(&query, 0, 200, &me()).unwrap().order_pending);
    }
}

/// Filters with and without sorting, of which the last ones leave few rows.
fn filtered_queries() -> Vec<Query> {
    let part = |part: &str| vec![filter("name", Test::Contains(part.into()))];
    vec![
        Query { filters: part("7 OF"), ..Query::default() },
        Query { filters: part("7 of"), sort: sort(&[("id", true)]), ..Query::default() },
        Query { filters: part("7 of"), sort: sort(&[("number", false), ("id", true)]), ..Query::default() },
        Query { filters: part("7 of"), sort: sort(&[("name", true)]), ..Query::default() },
        Query { filters: part("AAA"), ..Query::default() },
        Query { filters: part("00077"), sort: sort(&[("id", false)]), ..Query::default() },
        Query { filters: part("not there"), sort: sort(&[("kind", false)]), ..Query::default() },
    ]
}

#[test]
fn the_first_rows_that_pass_can_be_had_before_all_are_counted() {
    let folder = Folder::new();
    let (hasty, patient) = (table(&folder, 100), table(&folder, usize::MAX));
    let mut log = Log::default();
    for row in 0..900 {
        let key = (row * 149).to_string();
        log = match row % 4 {
            0 => log.update(&key, "name", Some("AAA 7 of"), None),
            1 => log.update(&key, "name", Some("gone"), None),
            2 => log.update(&key, "number", Some("-5"), None),
            _ => log.delete(&key),
        };
    }
    for table in [&hasty, &patient] {
        table.push(&log.0);
    }
    let unwatched = Control::unwatched();
    for query in filtered_queries() {
        let mut was_pending = false;
        for offset in [0, 100, 1_200] {
            let first = hasty.page_watched((&query, Count::Later), offset, 100, &me(), &unwatched).unwrap();
            let whole = patient.page(&query, offset, 100, &me()).unwrap();
            assert_eq!(keys(&first), keys(&whole), "{query:?} at {offset}");
            assert!(!whole.total_pending);
            was_pending |= first.total_pending;
            if first.total_pending {
                assert!(first.total >= offset + first.rows.len() && first.total <= whole.total, "{query:?}");
            } else {
                assert_eq!(first.total, whole.total, "{query:?}");
            }
        }
        // Who wants to know is never given the count of the rows that were found so far.
        let counted = hasty.page(&query, 0, 0, &me()).unwrap();
        let whole = patient.page(&query, 0, 100, &me()).unwrap();
        assert_eq!((counted.total, counted.total_pending), (whole.total, false), "{query:?}");
        let again = hasty.page_watched((&query, Count::Later), 0, 100, &me(), &unwatched).unwrap();
        assert_eq!((again.total, again.total_pending), (whole.total, false), "{query:?}");
        assert!(was_pending || whole.total < 20_000, "{query:?} was counted");
    }
}

#[test]
fn an_order_that_a_page_was_asked_of_is_made_afterwards_and_patched_by_edits() {
    let folder = Folder::new();
    let table = table(&folder, 100);
    for query in queries() {
        assert!(table.page(&query, 0, 10, &me()).unwrap().order_pending);
    }
    table.make_orders();
    // The last ones that were asked for: no more are kept waiting.
    for query in queries().into_iter().skip(2) {
        assert!(!table.page(&query, 0, 10, &me()).unwrap().order_pending, "{query:?}");
    }
    let query = &queries()[2];
    table.push(&Log::default().update("77", "name", Some("  first of all"), None).0);
    let page = table.page(query, 0, 1, &me()).unwrap();
    assert_eq!((keys(&page), page.order_pending), (vec!["77"], false));
}

#[test]
fn orders_are_made_while_others_wait_for_theirs_and_edits_come() {
    let folder = Folder::new();
    let table = Arc::new(table(&folder, 100));
    let queries = queries();
    let mut log = Log::default();
    for row in 0..400 {
        log = log.update(&(row * 311).to_string(), "number", Some(&(row % 7).to_string()), None);
    }
    std::thread::scope(|scope| {
        for query in &queries {
            let table = &table;
            scope.spawn(move || {
                for offset in [0, 50_000] {
                    table.page(query, offset, 100, &me()).unwrap();
                    table.make_orders();
                }
            });
        }
        for event in &log.0 {
            table.push(std::slice::from_ref(event));
        }
    });
    let fresh = self::table(&Folder::new(), usize::MAX);
    fresh.push(&log.0);
    for query in &queries {
        for offset in [0, 700, 20_000] {
            let (one, other) =
                (table.page(query, offset, 300, &me()).unwrap(), fresh.page(query, offset, 300, &me()).unwrap());
            assert_eq!((keys(&one), one.total), (keys(&other), other.total), "{query:?} at {offset}");
        }
    }
}

#[test]
fn an_order_is_given_up_when_nobody_waits_for_it_any_more() {
    let folder = Folder::new();
    let limits = TableLimits { given_up_after: Duration::ZERO, ..TableLimits::default() };
    let table = table_with(&folder, limits);
    let gone = Control::new(Arc::new(AtomicBool::new(true)), |_| {});
    for query in queries() {
        let error = table.page_watched((&query, Count::Exact), 9_000, 10, &me(), &gone).unwrap_err();
        assert!(matches!(error, EngineError::Cancelled), "{query:?}: {error}");
        assert_eq!(table.memory().orders_kept, 0);
    }
    // A first page looks through the rows without waiting for an order, and gives that up too.
    let hasty = table_with(&Folder::new(), TableLimits { sorted_at_once_rows_max: 100, ..limits });
    let error = hasty.page_watched((&queries()[4], Count::Exact), 0, 10, &me(), &gone).unwrap_err();
    assert!(matches!(error, EngineError::Cancelled), "{error}");
    // What is there is given to anybody, and what somebody waits for is made.
    let query = &queries()[0];
    let whole = table.page(query, 9_000, 10, &me()).unwrap();
    assert_eq!(table.page_watched((query, Count::Exact), 9_000, 10, &me(), &gone).unwrap(), whole);

    // As long as it may be asked for again, it is gone on with.
    let patient = table_with(&Folder::new(), TableLimits { given_up_after: Duration::from_secs(3_600), ..limits });
    let cancel = Arc::new(AtomicBool::new(false));
    let leaves = Control::new(Arc::clone(&cancel), |_| {});
    std::thread::scope(|scope| {
        let page = scope.spawn(|| patient.page_watched((query, Count::Exact), 9_000, 10, &me(), &leaves));
        cancel.store(true, Ordering::Relaxed);
        match page.join().unwrap() {
            Ok(page) => assert_eq!(keys(&page), keys(&whole)),
            Err(error) => assert!(matches!(error, EngineError::Cancelled), "{error}"),
        }
    });
}

#[test]
fn a_closed_table_makes_no_more_orders() {
    let folder = Folder::new();
    let table = table(&folder, 100);
    let query = &queries()[0];
    table.page(query, 0, 10, &me()).unwrap();
    table.close();
    table.make_orders();
    assert!(table.page(query, 0, 10, &me()).unwrap().order_pending);
    assert_eq!(table.memory().orders_kept, 0);
}

fn groups_by(columns: &[&str]) -> GroupQuery {
    GroupQuery {
        by: columns.iter().map(|column| (*column).to_owned()).collect(),
        filters: Vec::new(),
        states: Vec::new(),
        sort: GroupSort::Count,
        descending: true,
    }
}

#[test]
fn a_group_of_empty_cells_is_not_that_of_empty_texts_and_edits_move_rows_between_groups() {
    let folder = Folder::new();
    let table = table(&folder, 100);
    table.push(
        &Log::default().update("2", "kind", Some(""), None).update("3", "kind", Some("delta"), None).delete("4").0,
    );
    let page = table.groups(&groups_by(&["kind"]), 0, 100, &me()).unwrap();
    assert_eq!((page.rows, page.version), (ROWS - 1, 3));
    let count = |value: Option<&str>| {
        page.groups.iter().find(|group| group.values[0].as_deref() == value).map(|group| group.count)
    };
    assert_eq!(count(None), Some(ROWS / 10));
    assert_eq!(count(Some("")), Some(1));
    assert_eq!(count(Some("delta")), Some(1));
    // Groups of one count are by value.
    let last: Vec<_> = page.groups[page.groups.len() - 2..].iter().map(|group| group.values[0].as_deref()).collect();
    assert_eq!(last, [Some(""), Some("delta")]);
    let sorted = GroupQuery { sort: GroupSort::Value, descending: false, ..groups_by(&["kind"]) };
    let values: Vec<_> = table
        .groups(&sorted, 0, 100, &me())
        .unwrap()
        .groups
        .into_iter()
        .map(|mut group| group.values.remove(0))
        .collect();
    let expected = [Some(""), Some("Alpha"), Some("beta"), Some("delta"), Some("Gamma"), None];
    assert_eq!(values.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
}

#[test]
fn groups_that_make_no_sense_or_are_too_many_are_refused_with_what_to_do() {
    let folder = Folder::new();
    let table = table(&folder, 100);
    let refusal = |query: &GroupQuery, limit: usize| match table.groups(query, 0, limit, &me()) {
        Err(EngineError::Request(message)) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refusal(&groups_by(&["id"]), 10),
        format!(
            "grouping by `id` gives more than {GROUPS_MAX} groups: filter the rows first, or group by columns with fewer \
             different values"
        )
    );
    assert_eq!(refusal(&groups_by(&["knid"]), 10), "this table has no column `knid`; did you mean `kind`?");
    assert_eq!(refusal(&groups_by(&["kind", "kind"]), 10), "`kind` is named twice: group by each column once");
    assert_eq!(refusal(&groups_by(&[]), 10), "name one to 8 columns to group by, not 0");
    assert_eq!(refusal(&groups_by(&["kind"]), 1_001), "at most 1000 groups are told at once, not 1001");
    let filtered = GroupQuery {
        filters: vec![filter("id", Test::Between { from: None, to: Some("9".into()) })],
        ..groups_by(&["id"])
    };
    assert_eq!(table.groups(&filtered, 0, 10, &me()).unwrap().total, 10);
}
