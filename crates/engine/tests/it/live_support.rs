//! What the tests of live tables share.

use std::sync::Arc;

use stet_domain::ColumnType;
use stet_domain::Login;
use stet_engine::control::Control;
use stet_engine::live::{EditableSpec, Filter, LiveTable, PAGE_ROWS_MAX, Query, Sort, TableSpec, Test};
use stet_engine::read::FileSource;
use stet_engine::snapshot::Snapshot;

use crate::build_support::Folder;

pub fn me() -> Login {
    Login::new("ada").unwrap()
}

pub fn snapshot(folder: &Folder, source: &FileSource, key: &[&str]) -> Arc<Snapshot> {
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    Snapshot::open(source, &key, &folder.path("cache"), &Control::unwatched()).unwrap()
}

pub fn spec(editable: &[(&str, Option<ColumnType>)]) -> TableSpec {
    let editable = editable.iter().map(|(name, column_type)| EditableSpec {
        name: (*name).into(),
        column_type: *column_type,
        link: None,
    });
    TableSpec { name: "table".into(), columns: None, editable: editable.collect() }
}

pub fn sort(columns: &[(&str, bool)]) -> Vec<Sort> {
    columns.iter().map(|(column, descending)| Sort { column: (*column).into(), descending: *descending }).collect()
}

pub fn filter(column: &str, test: Test) -> Filter {
    Filter { column: column.into(), test }
}

/// Every row of a query as texts, read in pages of some size.
pub fn all_rows(table: &LiveTable, query: &Query, page_rows: usize) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    let mut first_total = None;
    loop {
        let page = table.page(query, rows.len(), page_rows.min(PAGE_ROWS_MAX), &me()).unwrap();
        let total = page.total;
        assert_eq!(*first_total.get_or_insert(total), total, "each page tells the same total");
        rows.extend(page.rows.into_iter().map(|row| row.cells));
        if rows.len() >= total {
            assert_eq!(rows.len(), total);
            return rows;
        }
    }
}

/// The keys of a query's first rows.
pub fn keys(table: &LiveTable, query: &Query) -> Vec<String> {
    let page = table.page(query, 0, PAGE_ROWS_MAX, &me()).unwrap();
    page.rows.iter().map(|row| row.key.as_str().to_owned()).collect()
}
