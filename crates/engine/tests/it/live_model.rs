//! The live table against a naive reference: random edits, and every page of every query after each of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stet_domain::event::{Action, Event};
use stet_domain::{ColumnType, Value};
use stet_engine::live::{Group, GroupQuery, GroupSort, LiveTable, Query, StateFilter, TableLimits, Test};

use crate::build_support::{Folder, Log, build, columns_of, editable, rows_in};
use crate::live_support::{all_rows, filter, me, snapshot, sort, spec};

const COLUMNS: [(&str, ColumnType); 6] = [
    ("id", ColumnType::Text),
    ("name", ColumnType::Text),
    ("count", ColumnType::Integer),
    ("price", ColumnType::Number),
    ("day", ColumnType::Date),
    ("flag", ColumnType::Boolean),
];
/// A column that the webapp adds.
const ADDED: (&str, ColumnType) = ("note", ColumnType::Text);

/// Keys and texts that break naive code.
const TEXTS: [&str; 12] =
    ["", "a\"b", "two\nlines", "x,y", "😀", "שלום", "NA", "null", "Ärger", "ärger", "9223372036854775807", "apple"];
const COUNTS: [&str; 5] = ["9223372036854775807", "-9223372036854775808", "0", "7", "-3"];
const PRICES: [&str; 6] = ["10.1", "-0", "0", "1e+21", "NaN", "-2.5"];
const DAYS: [&str; 3] = ["2022-12-21", "1969-12-31", "2000-02-29"];

type Cells = Vec<Option<String>>;

fn original() -> Vec<Cells> {
    let pick = |values: &[&str], at: usize| Some(values[at % values.len()].to_owned()).filter(|text| !text.is_empty());
    (0..30)
        .map(|row| {
            let some = |column: usize, value: Option<String>| value.filter(|_| !(row * 7 + column).is_multiple_of(5));
            vec![
                Some(if row < 10 { format!("k{row}{}", TEXTS[row]) } else { format!("key {row}") }),
                some(1, pick(&TEXTS, row)),
                some(2, pick(&COUNTS, row)),
                some(3, pick(&PRICES, row)),
                some(4, pick(&DAYS, row)),
                some(5, pick(&["true", "false"], row)),
            ]
        })
        .collect()
}

fn csv_of(rows: &[Cells]) -> String {
    let quoted = |cell: &Option<String>| match cell {
        None => String::new(),
        Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
    };
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut text = names.join(",") + "\n";
    for row in rows {
        text += &row.iter().map(quoted).collect::<Vec<_>>().join(",");
        text += "\n";
    }
    text
}

/// One random edit: row, kind, column, value.
type Step = (usize, u8, usize, Option<usize>);

fn log_of(original: &[Cells], steps: &[Step]) -> Log {
    let mut log = Log::default();
    for (row, kind, column, value) in steps {
        // Some keys are not in the original: they are created, or edits of them are orphans.
        let key = match original.get(*row) {
            Some(cells) => cells[0].clone().unwrap(),
            None => format!("new {row}"),
        };
        let (name, column_type) = if *column < 5 { COLUMNS[column + 1] } else { ADDED };
        let values: &[&str] = match column_type {
            ColumnType::Integer => &COUNTS,
            ColumnType::Number => &PRICES,
            ColumnType::Date => &DAYS,
            ColumnType::Boolean => &["true", "false"],
            _ => &TEXTS,
        };
        // One value in a while does not fit the column.
        let value = value.map(|value| if value == 13 { "not of the type" } else { values[value % values.len()] });
        let saw = value.map(|_| "whatever was seen");
        log = match kind {
            0..=5 => log.update(&key, name, value, saw),
            6 => log.revert(&key, (column % 2 == 0).then_some(name)),
            7 => log.delete(&key),
            _ => log.create(&key, name, value.unwrap_or("")),
        };
    }
    log
}

#[derive(Default, Clone)]
struct Known {
    cells: BTreeMap<String, Option<String>>,
    deleted: bool,
    created: Option<i64>,
}

/// The rows that a log makes of the original, without any cleverness; with each row whether an override is in force.
fn reference(original: &[Cells], events: &[Event]) -> Vec<(Cells, bool)> {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for event in events {
        let row = known.entry(event.key.as_str().to_owned()).or_default();
        let column = event.column_name.clone();
        match event.action {
            Action::Update => drop(row.cells.insert(column.unwrap(), event.value.clone())),
            Action::Create => {
                if row.deleted {
                    *row = Known::default();
                }
                row.created.get_or_insert(event.id.0);
                row.cells.insert(column.unwrap(), event.value.clone());
            }
            Action::Delete => row.deleted = true,
            Action::Revert => match column {
                Some(column) => drop(row.cells.remove(&column)),
                None => *row = Known::default(),
            },
            Action::Erase | Action::Note => unreachable!("the logs of this test have none"),
        }
    }
    let mut rows = Vec::new();
    let mut add = |mut cells: Cells, row: Option<&Known>| {
        let mut edited = false;
        for (place, (name, column_type)) in COLUMNS.iter().chain([&ADDED]).enumerate() {
            let Some(value) = row.and_then(|row| row.cells.get(*name)) else { continue };
            if value.as_ref().is_none_or(|text| column_type.read(text).is_ok()) {
                cells[place] = value.clone();
                edited = true;
            }
        }
        rows.push((cells, edited));
    };
    for cells in original {
        let row = known.remove(cells[0].as_ref().unwrap());
        if !row.as_ref().is_some_and(|row| row.deleted) {
            add([cells.clone(), vec![None]].concat(), row.as_ref());
        }
    }
    let mut created: Vec<_> = known.iter().filter(|(_, row)| row.created.is_some() && !row.deleted).collect();
    created.sort_by_key(|(_, row)| row.created);
    for (key, row) in created {
        let mut cells = vec![None; 7];
        cells[0] = Some(key.clone());
        add(cells, Some(row));
    }
    rows
}

/// A query, with what it means for a row of the reference and how it sorts.
struct Asked {
    query: Query,
    passes: fn(&Cells, bool) -> bool,
    sort: &'static [(usize, bool)],
}

fn asked() -> Vec<Asked> {
    let named = |by: &'static [(usize, bool)]| {
        let names: Vec<(&str, bool)> = by
            .iter()
            .map(|(place, descending)| (if *place == 6 { "note" } else { COLUMNS[*place].0 }, *descending))
            .collect();
        sort(&names)
    };
    let ask = |filters, states, passes, sort_by: &'static [(usize, bool)]| Asked {
        query: Query { filters, states, sort: named(sort_by) },
        passes,
        sort: sort_by,
    };
    vec![
        ask(vec![], vec![], |_, _| true, &[]),
        ask(vec![], vec![], |_, _| true, &[(1, false)]),
        ask(vec![], vec![], |_, _| true, &[(2, true), (4, false)]),
        ask(vec![], vec![], |_, _| true, &[(3, false), (1, true)]),
        ask(vec![], vec![], |_, _| true, &[(6, false), (5, true)]),
        ask(
            vec![filter("name", Test::Contains("ÄRG".into()))],
            vec![],
            |cells, _| cells[1].as_ref().is_some_and(|text| text.to_lowercase().contains("ärg")),
            &[(4, true)],
        ),
        ask(
            vec![filter("count", Test::Between { from: Some("0".into()), to: None }), filter("day", Test::NotBlank)],
            vec![],
            |cells, _| cells[2].as_ref().is_some_and(|text| text.parse::<i64>().unwrap() >= 0) && cells[4].is_some(),
            &[],
        ),
        ask(vec![filter("note", Test::Blank)], vec![], |cells, _| cells[6].is_none(), &[(0, true)]),
        ask(
            vec![filter("flag", Test::NotEquals("true".into()))],
            vec![StateFilter::Edited],
            |cells, edited| cells[5].as_deref() != Some("true") && edited,
            &[(2, false)],
        ),
        ask(
            vec![filter("price", Test::In(vec![Some("0".into()), Some("NaN".into()), None]))],
            vec![],
            |cells, _| matches!(cells[3].as_deref(), None | Some("0" | "NaN")),
            &[(3, true)],
        ),
    ]
}

fn expected(rows: &[(Cells, bool)], asked: &Asked) -> Vec<Cells> {
    let mut rows: Vec<Cells> =
        rows.iter().filter(|(cells, edited)| (asked.passes)(cells, *edited)).map(|(cells, _)| cells.clone()).collect();
    rows.sort_by(|a, b| {
        for (place, descending) in asked.sort {
            let column_type = if *place == 6 { ADDED.1 } else { COLUMNS[*place].1 };
            let order = match (&a[*place], &b[*place]) {
                (None, None) => continue,
                (None, _) => return std::cmp::Ordering::Greater,
                (_, None) => return std::cmp::Ordering::Less,
                (Some(a), Some(b)) => match (column_type.read(a).unwrap(), column_type.read(b).unwrap()) {
                    (Value::Text(a), Value::Text(b)) => (a.to_lowercase(), a).cmp(&(b.to_lowercase(), b)),
                    (Value::Integer(a), Value::Integer(b)) => a.cmp(&b),
                    (Value::Number(a), Value::Number(b)) => a.total_cmp(&b),
                    (Value::Date(a), Value::Date(b)) => a.cmp(&b),
                    (Value::Boolean(a), Value::Boolean(b)) => a.cmp(&b),
                    (a, b) => panic!("{a:?} {b:?}"),
                },
            };
            let order = if *descending { order.reverse() } else { order };
            if order.is_ne() {
                return order;
            }
        }
        std::cmp::Ordering::Equal
    });
    rows
}

fn table(folder: &Folder, rows: &[Cells]) -> LiveTable {
    table_with(folder, rows, TableLimits::default())
}

fn table_with(folder: &Folder, rows: &[Cells], limits: TableLimits) -> LiveTable {
    let source = folder.csv("original", &csv_of(rows), &COLUMNS);
    let editable: Vec<_> =
        COLUMNS[1..].iter().map(|(name, _)| (*name, None)).chain([(ADDED.0, Some(ADDED.1))]).collect();
    LiveTable::open_with(snapshot(folder, &source, &["id"]), &spec(&editable), limits).unwrap()
}

/// The groups of a query, and what they are by the rows of the reference.
fn check_groups(live: &LiveTable, rows: &[Cells], asked: &Asked, by: &[usize]) {
    let name = |place: &usize| if *place == 6 { ADDED.0 } else { COLUMNS[*place].0 };
    let mut counts: BTreeMap<Cells, usize> = BTreeMap::new();
    for cells in rows {
        *counts.entry(by.iter().map(|place| cells[*place].clone()).collect()).or_default() += 1;
    }
    let query = GroupQuery {
        by: by.iter().map(|place| name(place).to_owned()).collect(),
        filters: asked.query.filters.clone(),
        states: asked.query.states.clone(),
        sort: GroupSort::Count,
        descending: true,
    };
    let page = live.groups(&query, 0, 1000, &me()).unwrap();
    assert_eq!((page.total, page.rows), (counts.len(), rows.len()), "{query:?}");
    assert!(page.groups.is_sorted_by(|a, b| a.count >= b.count), "{:?}", page.groups);
    for Group { values, count } in &page.groups {
        assert_eq!(counts.get(values), Some(count), "{query:?} {values:?}");
        // The filters of a group give its rows.
        let of_group = by.iter().zip(values).map(|(place, value)| filter(name(place), Test::In(vec![value.clone()])));
        let filters = query.filters.iter().cloned().chain(of_group).collect();
        let found = live.page(&Query { filters, states: query.states.clone(), sort: vec![] }, 0, 1, &me()).unwrap();
        assert_eq!(found.total, *count, "{query:?} {values:?}");
    }
    let by_value = GroupQuery { sort: GroupSort::Value, descending: false, ..query };
    let mut paged = Vec::new();
    while paged.len() < page.total {
        paged.extend(live.groups(&by_value, paged.len(), 3, &me()).unwrap().groups);
    }
    assert!(page.groups.iter().all(|group| paged.contains(group)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_page_is_the_reference_after_every_edit(
        steps in prop::collection::vec((0usize..36, 0u8..9, 0usize..6, prop::option::of(0usize..14)), 1..40),
        together in 1usize..6,
    ) {
        let folder = Folder::new();
        let original = original();
        let log = log_of(&original, &steps);
        let live = table(&folder, &original);
        // Here the first rows of each order are found by themselves, and only some orders are made afterwards.
        let hasty = table_with(&folder, &original, TableLimits { sorted_at_once_rows_max: 0, ..TableLimits::default() });
        let asked = asked();
        for end in (0..=log.0.len()).filter(|end| end % together == 0 || *end == log.0.len()) {
            live.push(&log.0[..end]);
            hasty.push(&log.0[..end]);
            let rows = reference(&original, &log.0[..end]);
            for asked in &asked {
                let expected = expected(&rows, asked);
                prop_assert_eq!(all_rows(&hasty, &asked.query, 7), expected.clone(), "{:?}", asked.query);
                prop_assert_eq!(all_rows(&live, &asked.query, 7), expected, "{:?}", asked.query);
            }
            if end % 3 == 0 {
                hasty.make_orders();
            }
        }
        let rows = reference(&original, &log.0);
        for asked in &asked {
            let expected = expected(&rows, asked);
            for by in [&[1][..], &[2], &[3, 5], &[6], &[4, 6, 1]] {
                check_groups(&live, &expected, asked, by);
            }
        }
        // A table that is opened later, or reopened, shows the same as the one that was patched all along.
        let fresh = table(&folder, &original);
        fresh.push(&log.0);
        let reopened = live.reopen(live.snapshot().clone(), &spec(&[("name", None), ("note", Some(ColumnType::Text))]));
        for asked in &asked {
            prop_assert_eq!(all_rows(&live, &asked.query, 1000), all_rows(&fresh, &asked.query, 1000));
        }
        prop_assert_eq!(reopened.unwrap().version(), live.version());
        prop_assert_eq!(live.report(), fresh.report());
    }

    #[test]
    fn a_build_writes_what_the_live_table_shows_and_gives_the_same_account(
        steps in prop::collection::vec((0usize..36, 0u8..9, 0usize..6, prop::option::of(0usize..14)), 1..60),
    ) {
        let folder = Folder::new();
        let original = original();
        let log = log_of(&original, &steps);
        let live = table(&folder, &original);
        live.push(&log.0);
        let source = stet_engine::read::FileSource {
            dataset: "original".into(),
            path: folder.path("original.csv"),
            format: stet_domain::project::Format::Csv, csv: stet_domain::project::CsvForm::default(),
            columns: Some(columns_of(&COLUMNS)),
        };
        let columns: Vec<_> = COLUMNS[1..].iter().copied().chain([ADDED]).collect();
        let output = folder.path("edited.parquet");
        let built = build(&source, &["id"], &log, &editable(&columns), &output).unwrap();
        prop_assert_eq!(all_rows(&live, &Query::default(), 100), rows_in(&output));
        prop_assert_eq!(built.report, live.report());
    }
}

#[test]
fn a_large_batch_of_edits_leaves_every_order_as_if_it_were_worked_out_anew() {
    let folder = Folder::new();
    let rows: Vec<Cells> = (0..3_000)
        .map(|row| {
            let name = Some(format!("name {}", row * 7919 % 1000));
            vec![Some(row.to_string()), name, Some((row % 17).to_string()), None, None, None]
        })
        .collect();
    let live = table(&folder, &rows);
    let asked = asked();
    for asked in &asked {
        all_rows(&live, &asked.query, 1000);
    }
    let mut log = Log::default();
    for row in 0..2_000 {
        let key = (row * 31 % 3_100).to_string();
        log = match row % 5 {
            0 => log.delete(&key),
            1 => log.create(&format!("new {row}"), "name", "Ärger"),
            2 => log.update(&key, "price", Some("1.5"), None),
            _ => log.update(&key, "name", Some("ärger"), None),
        };
    }
    live.push(&log.0);
    let reference = reference(&rows, &log.0);
    for asked in &asked {
        assert_eq!(all_rows(&live, &asked.query, 1000), expected(&reference, asked), "{:?}", asked.query);
    }
}

#[test]
fn a_column_of_many_different_texts_sorts_as_a_column_of_few_does() {
    let folder = Folder::new();
    let rows: Vec<Cells> = (0..60_000usize)
        .map(|row| {
            let scrambled = row * 7_919 % 50_021;
            let name = match row % 10 {
                0 => None,
                1 => Some(format!("the same long start {scrambled}")),
                2 => Some(format!("É{scrambled}")),
                _ => Some(format!("{}{scrambled}", if row % 2 == 0 { "Name" } else { "name" })),
            };
            vec![Some(row.to_string()), name, None, Some((row % 7).to_string()), None, None]
        })
        .collect();
    let live = table(&folder, &rows);
    let reference = reference(&rows, &[]);
    for by in [&[(1, false)][..], &[(1, true)], &[(3, true), (1, false)]] {
        let names: Vec<(&str, bool)> = by.iter().map(|(place, descending)| (COLUMNS[*place].0, *descending)).collect();
        let asked = Asked { query: Query { sort: sort(&names), ..Query::default() }, passes: |_, _| true, sort: by };
        assert!(all_rows(&live, &asked.query, 1000) == expected(&reference, &asked), "{by:?}");
    }
}
