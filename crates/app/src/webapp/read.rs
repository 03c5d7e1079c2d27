//! Reading the table: what it is, its rows, the history of a cell, and the choices of linked columns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use stet_domain::access::Use;
use stet_domain::project::Editable;
use stet_domain::{Actor, Event, Key, ProjectKey};
use stet_engine::live::{EditableSpec, GroupQuery, LinkIndex, LinkRow, Query, TableSpec};

use super::open::OpenWebapp;
use super::resolve::{Resolved, TableColumn};
use super::rows::{LinkLabel, LinkLabels, LinkOption, PAGE_ROWS_MAX, Page, Row, RowGroups, Window, labels};
use super::viewer::Asked;
use super::waits::{WaitedAt, WaitedFor, in_vain};
use crate::App;
use crate::error::AppError;

/// The most events in one answer about a cell or row.
const HISTORY_MAX: usize = 500;

/// The most choices in one answer.
const OPTIONS_MAX: usize = 100;

/// How long the making of an order waits for the page that it was asked of to be sent.
const ORDERS_AFTER: Duration = Duration::from_millis(10);

/// What a table is.
#[derive(Debug, Clone)]
pub struct Description {
    /// The project.
    pub project: ProjectKey,
    /// The settings, held against the original.
    pub webapp: Arc<Resolved>,
    /// Why nothing can be edited, in plain words; none when it can.
    pub read_only: Option<String>,
    /// The position of the log.
    pub version: i64,
    /// The identity of the original that is loaded.
    pub snapshot: String,
    /// How many rows there are.
    pub total: usize,
    /// Whether the original's data changed since it was loaded.
    pub original_changed: bool,
    /// The editable columns that are others' to edit.
    locked: BTreeSet<String>,
}

/// A column of the table with its settings.
#[derive(Debug, Clone, Copy)]
pub struct ColumnView<'a> {
    /// The column.
    pub column: &'a TableColumn,
    /// Its settings, if it can be edited at all.
    pub editable: Option<&'a Editable>,
    /// Whether whoever asks may edit it.
    pub may_edit: bool,
}

impl Description {
    /// The columns with their settings, in order.
    pub fn columns(&self) -> impl Iterator<Item = ColumnView<'_>> {
        let webapp = &self.webapp.webapp;
        self.webapp.columns.iter().map(|column| {
            let editable = webapp.editable(&column.name);
            ColumnView { column, editable, may_edit: editable.is_some() && !self.locked.contains(&column.name) }
        })
    }
}

/// What happened to a cell or a row.
#[derive(Debug, Clone)]
pub struct History {
    /// The original's value of the cell now; none for null, and for a row.
    pub original: Option<String>,
    /// The events, newest first.
    pub events: Vec<Event>,
}

/// Choices for a linked column.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// The choices, best first.
    pub options: Vec<LinkOption>,
    /// Whether there are more.
    pub more: bool,
}

impl App {
    /// What a table is.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or it cannot be opened.
    pub async fn describe_webapp(&self, actor: &Actor, project: &str, webapp: &str) -> Result<Description, AppError> {
        let found = self.authorise_webapp(actor, project, webapp, Use::View)?;
        let open = self.open_webapp(actor, project, webapp).await?;
        let viewer = self.viewer(actor, project, webapp).await?;
        let read_only = if let Some(reason) = viewer.read_only() {
            Some(reason.to_owned())
        } else if open.resolved.editable_columns().next().is_none() {
            Some(format!("no column of this table can be edited: add one to webapps/{webapp}.toml"))
        } else {
            open.waiting.clone()
        };
        Ok(Description {
            project: found.key.clone(),
            webapp: open.resolved.clone(),
            read_only,
            version: open.version(),
            snapshot: open.snapshot(),
            locked: viewer.locked().clone(),
            total: crate::datasets::blocking(move || Ok(viewer.total())).await?,
            original_changed: open.original_changed(),
        })
    }

    /// Rows of the table, filtered and sorted, from a place on.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or the query makes no sense.
    pub async fn rows(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        query: Asked<Query>,
        window: Window,
    ) -> Result<Page, AppError> {
        let Window { offset, limit, count } = window;
        check_limit(limit)?;
        let open = self.open_webapp(actor, project, webapp).await?;
        // Whoever edited a moment ago sees the edit, also when another loading of the original took it.
        open.follow().await;
        let viewer = self.viewer(actor, project, webapp).await?;
        let (wait, login) = (query.wait, actor.login.clone());
        let query = Arc::new(viewer.asked(query)?);
        // A new order over many rows takes a while: it is made beside the other requests.
        let (table, rows) = (WaitedAt::Now(open.clone()), WaitedFor::Rows(query.clone()));
        let (_waiting, waited) = self.begin_wait(actor, &viewer, wait, table, rows);
        crate::datasets::blocking(move || {
            let page = open.live.page_watched((&query, count), offset, limit, &login, &waited.control);
            // It could be cancelled until now.
            drop(waited);
            let page = page.map_err(in_vain)?;
            if page.order_pending {
                let open = open.clone();
                // The rest of the order is worked out while this page is read. That keeps all processors busy, so the page is
                // sent first.
                drop(tokio::spawn(async move {
                    tokio::time::sleep(ORDERS_AFTER).await;
                    drop(tokio::task::spawn_blocking(move || open.live.make_orders()));
                }));
            }
            Ok(Page {
                version: page.version,
                snapshot: page.snapshot,
                total: page.total,
                total_pending: page.total_pending,
                offset,
                links: labels(page.links),
                rows: page.rows.into_iter().filter_map(|row| viewer.shown(row.into())).collect(),
            })
        })
        .await
    }

    /// Groups of rows that have the same values in some columns, with how many rows each has.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, the query makes no sense, or there are too many groups.
    pub async fn row_groups(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        query: Asked<GroupQuery>,
        offset: usize,
        limit: usize,
    ) -> Result<RowGroups, AppError> {
        let open = self.open_webapp(actor, project, webapp).await?;
        // Whoever edited a moment ago sees the edit, also when another loading of the original took it.
        open.follow().await;
        let viewer = self.viewer(actor, project, webapp).await?;
        let (wait, login) = (query.wait, actor.login.clone());
        let query = Arc::new(viewer.asked_groups(query)?);
        let (table, groups) = (WaitedAt::Now(open.clone()), WaitedFor::Groups(query.clone()));
        let (_waiting, waited) = self.begin_wait(actor, &viewer, wait, table, groups);
        crate::datasets::blocking(move || {
            let page = open.live.groups_watched(&query, offset, limit, &login, &waited.control).map_err(in_vain)?;
            // It could be cancelled until now.
            drop(waited);
            Ok(RowGroups {
                version: page.version,
                snapshot: page.snapshot,
                rows: page.rows,
                total: page.total,
                offset,
                groups: page.groups,
                links: labels(page.links),
            })
        })
        .await
    }

    /// One row as it is now; none when there is none.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use.
    pub async fn read_row(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        key: &str,
    ) -> Result<Option<Row>, AppError> {
        let viewer = self.viewer(actor, project, webapp).await?;
        Ok(self.open_webapp(actor, project, webapp).await?.row(key).and_then(|row| viewer.shown(row)))
    }

    /// The labels of the linked values in rows.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use.
    pub async fn links_of(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        rows: &[Row],
    ) -> Result<LinkLabels, AppError> {
        Ok(self.open_webapp(actor, project, webapp).await?.labels_of(rows))
    }

    /// What happened to a cell, or to a row.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or no such column.
    pub async fn history(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        key: &str,
        column: Option<&str>,
    ) -> Result<History, AppError> {
        let open = self.open_webapp(actor, project, webapp).await?;
        if let Some(column) = column
            && open.resolved.place(column).is_none()
        {
            return Err(AppError::not_found(format!("column `{column}` in this table")));
        }
        let viewer = self.viewer(actor, project, webapp).await?;
        if !viewer.sees_key(key) {
            return Ok(History { original: None, events: Vec::new() });
        }
        let events = match open.editlog() {
            Ok(editlog) => editlog.history(key, column, None, HISTORY_MAX).await?,
            Err(_) => Vec::new(),
        };
        let events = events.into_iter().filter_map(|event| viewer.event(event)).collect();
        let original = match column {
            Some(column) => open.live.cell(&Key::from_text(key), column)?.and_then(|cell| cell.original),
            None => None,
        };
        Ok(History { original, events })
    }

    /// Choices for a linked column.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or the column is not linked.
    pub async fn link_options(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        column: &str,
        term: &str,
        limit: usize,
    ) -> Result<LinkOptions, AppError> {
        let open = self.open_webapp(actor, project, webapp).await?;
        let index = open.link(column)?;
        let (limit, term) = (limit.clamp(1, OPTIONS_MAX), term.to_owned());
        crate::datasets::blocking(move || {
            let found = index.search(&term, limit);
            let option = |row: LinkRow<'_>| LinkOption { value: row.key.to_owned(), label: row.into() };
            Ok(LinkOptions { more: found.more, options: found.rows.into_iter().map(option).collect() })
        })
        .await
    }

    /// What a value of a linked column, or of a linked dataset, means; none when it is not there.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or no such linked column or dataset.
    pub async fn link_label(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        link: &str,
        key: &str,
    ) -> Result<Option<LinkLabel>, AppError> {
        let open = self.open_webapp(actor, project, webapp).await?;
        Ok(open.link(link)?.get(key).map(LinkLabel::from))
    }
}

impl OpenWebapp {
    /// The choices of a linked column, named by the column or by the linked dataset.
    fn link(&self, name: &str) -> Result<Arc<LinkIndex>, AppError> {
        self.links
            .get(name)
            .or_else(|| {
                let column = self
                    .resolved
                    .editable_columns()
                    .find(|column| column.link.as_ref().is_some_and(|link| link.dataset.as_str() == name))?;
                self.links.get(&column.name)
            })
            .cloned()
            .ok_or_else(|| AppError::not_found(format!("linked column or dataset `{name}` in this table")))
    }

    /// What the linked values in rows mean.
    pub(super) fn labels_of(&self, rows: &[Row]) -> LinkLabels {
        let mut labels = BTreeMap::new();
        for (column, index) in &self.links {
            let Some(place) = self.resolved.place(column) else { continue };
            let mut of_column = BTreeMap::new();
            for value in rows.iter().filter_map(|row| row.cells.get(place)?.as_ref()) {
                if of_column.contains_key(value) {
                    continue;
                }
                if let Some(found) = index.get(value) {
                    of_column.insert(value.clone(), LinkLabel::from(found));
                }
            }
            labels.insert(column.clone(), of_column);
        }
        labels
    }
}

pub(super) fn check_limit(limit: usize) -> Result<(), AppError> {
    if limit > PAGE_ROWS_MAX {
        return Err(AppError::Invalid(format!("{limit} rows are too many at once: the most are {PAGE_ROWS_MAX}")));
    }
    Ok(())
}

/// What the engine has to know of a table.
pub(super) fn table_spec(resolved: &Resolved, links: &BTreeMap<String, Arc<LinkIndex>>) -> TableSpec {
    let editable = resolved.editable_columns().map(|column| EditableSpec {
        name: column.name.clone(),
        column_type: Some(column.column_type),
        link: links.get(&column.name).cloned(),
    });
    TableSpec {
        name: resolved.webapp.name.to_string(),
        columns: Some(resolved.columns.iter().map(|column| column.name.clone()).collect()),
        editable: editable.collect(),
    }
}
