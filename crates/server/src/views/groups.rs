//! Groups of rows: what is asked for, and the answer.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stet_app::webapp::{Asked, GroupQuery, GroupSort, RowGroups};
use utoipa::{IntoParams, ToSchema};

use super::table::{FilterBody, LinksView, links, states};
use crate::error::Problem;

/// Which groups, in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GroupsQuery {
    /// The columns to group by, separated by commas; a JSON array of their names if a name has a comma in it.
    #[serde(default)]
    by: String,
    /// Which rows to group: a JSON array of the same filters that `rows/query` takes.
    #[serde(default)]
    filters: Option<String>,
    /// Which rows to group: a JSON array of the same states that `rows/query` takes.
    #[serde(default)]
    states: Option<String>,
    /// What to sort the groups by; by their count without it.
    #[serde(default)]
    #[param(inline)]
    sort: GroupSortBody,
    /// From the greatest to the least; without it so by count, and not so by value.
    #[serde(default)]
    descending: Option<bool>,
    /// The place of the first group, from 0.
    #[serde(default)]
    pub(crate) offset: usize,
    /// How many groups, 1,000 at most.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
    /// A name that nobody else can guess, for `waits` to ask how far it is and to cancel it.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    wait: Option<uuid::Uuid>,
}

fn default_limit() -> usize {
    100
}

/// What groups are sorted by.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupSortBody {
    #[default]
    Count,
    Value,
}

/// Groups from one place of their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupsView {
    version: i64,
    snapshot: String,
    /// The columns grouped by.
    by: Vec<String>,
    /// How many rows there are in all groups.
    rows: usize,
    /// How many groups there are.
    total: usize,
    offset: usize,
    groups: Vec<GroupView>,
    links: LinksView,
}

/// The rows that have the same values. The filter `in` with one of the values, null too, gives the rows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupView {
    /// Canonical texts in the order of `by`; null for empty, which the empty text is not.
    values: Vec<Option<String>>,
    /// How many rows have them.
    count: usize,
}

impl GroupsQuery {
    /// The query as the use case takes it.
    ///
    /// # Errors
    /// When a part of it cannot be read.
    pub(crate) fn query(self) -> Result<Asked<GroupQuery>, Problem> {
        let by = match self.by.trim_start().starts_with('[') {
            true => list("by", Some(&self.by), "names of columns")?,
            false => self.by.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        };
        let filters: Vec<FilterBody> = list("filters", self.filters.as_deref(), "filters")?;
        let (states, assigned_to_me) = states(list("states", self.states.as_deref(), "states of rows")?);
        let sort = match self.sort {
            GroupSortBody::Count => GroupSort::Count,
            GroupSortBody::Value => GroupSort::Value,
        };
        let query = GroupQuery {
            by,
            filters: filters.into_iter().map(FilterBody::filter).collect::<Result<_, _>>()?,
            states,
            sort,
            descending: self.descending.unwrap_or(sort == GroupSort::Count),
        };
        Ok(Asked { query, assigned_to_me, wait: self.wait })
    }
}

fn list<T: DeserializeOwned>(name: &str, text: Option<&str>, of: &str) -> Result<Vec<T>, Problem> {
    let Some(text) = text else { return Ok(Vec::new()) };
    serde_json::from_str(text)
        .map_err(|error| Problem::refused(format!("`{name}` has to be a JSON array of {of}: {error}")))
}

impl GroupsView {
    pub(crate) fn new(by: Vec<String>, groups: RowGroups) -> GroupsView {
        GroupsView {
            version: groups.version,
            snapshot: groups.snapshot,
            by,
            rows: groups.rows,
            total: groups.total,
            offset: groups.offset,
            groups: groups
                .groups
                .into_iter()
                .map(|group| GroupView { values: group.values, count: group.count })
                .collect(),
            links: links(groups.links),
        }
    }
}
