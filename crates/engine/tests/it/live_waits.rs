//! What somebody waits for at a live table: how far it is, and that it can be cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use stet_domain::ColumnType;
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::live::{Count, GroupQuery, GroupSort, LiveTable, Query, Step, TableLimits, Test, WorkProgress};

use crate::build_support::Folder;
use crate::live_support::{filter, me, snapshot, sort, spec};

/// More than are sorted on one thread, and more than one batch.
const ROWS: usize = 150_000;

/// Work goes on for ever when nobody waits, unless it is cancelled.
fn table(folder: &Folder, sorted_at_once_rows_max: usize) -> LiveTable {
    let mut text = "id,number,name\n".to_owned();
    for row in 0..ROWS {
        let scrambled = row * 7_919 % 100_003;
        text += &format!("{row},{},Name {scrambled:06} of many\n", scrambled % 5_000);
    }
    let columns = [("id", ColumnType::Integer), ("number", ColumnType::Integer), ("name", ColumnType::Text)];
    let source = folder.csv("many", &text, &columns);
    let given_up_after = std::time::Duration::MAX;
    let limits = TableLimits { sorted_at_once_rows_max, given_up_after, ..TableLimits::default() };
    LiveTable::open_with(snapshot(folder, &source, &["id"]), &spec(&[("number", None)]), limits).unwrap()
}

fn sorted(column: &str) -> Query {
    Query { sort: sort(&[(column, false)]), ..Query::default() }
}

fn groups() -> GroupQuery {
    GroupQuery {
        by: vec!["number".into()],
        filters: vec![filter("name", Test::Contains("0".into()))],
        states: Vec::new(),
        sort: GroupSort::Count,
        descending: true,
    }
}

/// A control that looks, whenever work tells how far it is, what the table tells of it.
fn looking(look: impl Fn() -> Option<WorkProgress> + Send + Sync + 'static) -> (Control, Seen) {
    let seen = Seen::default();
    let into = Arc::clone(&seen);
    let control = Control::new(Arc::default(), move |_| {
        // Two threads work, and the one that looked first may come second here.
        let mut seen = into.lock().unwrap();
        seen.push(look());
    });
    (control, seen)
}

type Seen = Arc<Mutex<Vec<Option<WorkProgress>>>>;

fn rises_to_the_end(seen: &Seen, steps: &[Step]) {
    let seen: Vec<WorkProgress> = seen.lock().unwrap().iter().map(|progress| progress.unwrap()).collect();
    assert!(seen.is_sorted_by_key(|progress| progress.percent), "{seen:?}");
    assert_eq!(seen.last().unwrap().percent, 100, "{seen:?}");
    let mut found: Vec<Step> = seen.iter().map(|progress| progress.step).filter(|step| *step != Step::Queued).collect();
    found.dedup();
    assert_eq!(found, steps, "{seen:?}");
    let between = seen.iter().filter(|progress| (1..100).contains(&progress.percent)).count();
    assert!(between >= 3, "{seen:?}");
}

#[test]
fn the_progress_of_an_order_rises_to_its_end_and_is_told_of_that_order_alone() {
    for (query, steps) in [
        (sorted("number"), &[Step::Sorting] as &[Step]),
        (sorted("name"), &[Step::Sorting]),
        (
            Query { filters: vec![filter("name", Test::Contains("0".into()))], ..sorted("number") },
            &[Step::Filtering, Step::Sorting],
        ),
    ] {
        let folder = Folder::new();
        let table = Arc::new(table(&folder, usize::MAX));
        let (watched, asked) = (Arc::clone(&table), query.clone());
        let (control, seen) = looking(move || {
            assert_eq!(watched.progress(&sorted("id"), &me()), None);
            watched.progress(&asked, &me())
        });
        let page = table.page_watched((&query, Count::Exact), 9_000, 10, &me(), &control).unwrap();
        assert_eq!(page.rows.len(), 10);
        rises_to_the_end(&seen, steps);
        assert_eq!(table.progress(&query, &me()), None, "nobody works on what is there");
    }
}

#[test]
fn the_progress_of_groups_rises_to_its_end() {
    let folder = Folder::new();
    let table = Arc::new(table(&folder, usize::MAX));
    let watched = Arc::clone(&table);
    let (control, seen) = looking(move || watched.groups_progress(&groups(), &me()));
    assert_eq!(table.groups_watched(&groups(), 0, 10, &me(), &control).unwrap().total, 5_000);
    rises_to_the_end(&seen, &[Step::Filtering, Step::Grouping]);
    assert_eq!(table.groups_progress(&groups(), &me()), None);
}

/// A control that withdraws at the first sign of work.
fn withdrawing() -> Control {
    let withdrawn = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&withdrawn);
    Control::new(Arc::default(), move |progress| flag.store(progress.rows_done > 0, Ordering::Relaxed))
        .withdrawn_by(withdrawn)
}

#[test]
fn what_is_cancelled_ends_at_once_and_makes_room_for_others() {
    let folder = Folder::new();
    let table = table(&folder, usize::MAX);
    for query in [
        sorted("number"),
        sorted("name"),
        Query { filters: vec![filter("name", Test::Contains("0".into()))], ..Query::default() },
    ] {
        let error = table.page_watched((&query, Count::Exact), 9_000, 10, &me(), &withdrawing()).unwrap_err();
        assert!(matches!(error, EngineError::Cancelled), "{query:?}: {error}");
        assert_eq!((table.memory().orders_kept, table.progress(&query, &me())), (0, None));
    }
    let error = table.groups_watched(&groups(), 0, 10, &me(), &withdrawing()).unwrap_err();
    assert!(matches!(error, EngineError::Cancelled), "{error}");
    assert_eq!(table.groups_progress(&groups(), &me()), None);
    // Whoever asks for the same afterwards gets it.
    assert_eq!(table.page(&sorted("number"), 9_000, 10, &me()).unwrap().rows.len(), 10);
    assert_eq!(table.groups(&groups(), 0, 10, &me()).unwrap().total, 5_000);
}

#[test]
fn what_one_cancels_and_another_waits_for_is_worked_out() {
    let folder = Folder::new();
    let table = Arc::new(table(&folder, usize::MAX));
    let query = sorted("name");
    let withdrawn = Arc::new(AtomicBool::new(false));
    // Both are there before the one who cancels works on.
    let other_waits = Arc::new(OnceLock::new());
    let (flag, waits) = (Arc::clone(&withdrawn), Arc::clone(&other_waits));
    let cancels = Control::new(Arc::default(), move |progress| {
        if progress.rows_done > 0 {
            waits.wait();
            flag.store(true, Ordering::Relaxed);
        }
    })
    .withdrawn_by(withdrawn);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| table.page_watched((&query, Count::Exact), 9_000, 10, &me(), &cancels));
        until(|| table.progress(&query, &me()).is_some_and(|progress| progress.step == Step::Sorting));
        let other_waits = Arc::clone(&other_waits);
        // It is told where it is when it begins to wait.
        let patient = Control::new(Arc::default(), move |_| {
            let _ = other_waits.set(());
        });
        let whole = table.page_watched((&query, Count::Exact), 9_000, 10, &me(), &patient).unwrap();
        assert_eq!(first.join().unwrap().unwrap(), whole);
    });
    assert_eq!(table.memory().orders_kept, 1);
}

#[test]
fn who_waits_behind_another_order_is_told_so_and_can_cancel() {
    let folder = Folder::new();
    let table = Arc::new(table(&folder, usize::MAX));
    let go_on = Arc::new(OnceLock::new());
    let held = Arc::clone(&go_on);
    let works = Control::new(Arc::default(), move |progress| {
        if progress.rows_done > 0 {
            held.wait();
        }
    });
    let withdrawn = Arc::new(AtomicBool::new(false));
    let queued = Control::new(Arc::default(), |_| {}).withdrawn_by(Arc::clone(&withdrawn));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| table.page_watched((&sorted("name"), Count::Exact), 9_000, 10, &me(), &works));
        until(|| table.progress(&sorted("name"), &me()).is_some_and(|progress| progress.step == Step::Sorting));
        let second = scope.spawn(|| table.page_watched((&sorted("number"), Count::Exact), 9_000, 10, &me(), &queued));
        until(|| table.progress(&sorted("number"), &me()).is_some());
        let told = table.progress(&sorted("number"), &me()).unwrap();
        assert_eq!((told.step, told.percent), (Step::Queued, 0));
        withdrawn.store(true, Ordering::Relaxed);
        go_on.set(()).unwrap();
        assert_eq!(first.join().unwrap().unwrap().rows.len(), 10);
        assert!(matches!(second.join().unwrap().unwrap_err(), EngineError::Cancelled));
    });
    assert_eq!(table.memory().orders_kept, 1);
}

#[test]
fn an_order_that_was_wanted_for_a_first_page_is_not_made_when_that_is_cancelled() {
    let folder = Folder::new();
    let table = table(&folder, 100);
    let query = sorted("number");
    assert!(table.page(&query, 0, 10, &me()).unwrap().order_pending);
    assert!(table.page(&sorted("name"), 0, 10, &me()).unwrap().order_pending);
    table.withdraw(&query, &me());
    table.make_orders();
    assert!(table.page(&query, 0, 10, &me()).unwrap().order_pending);
    assert!(!table.page(&sorted("name"), 0, 10, &me()).unwrap().order_pending);
    assert_eq!(table.memory().orders_kept, 1);
}

fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}
