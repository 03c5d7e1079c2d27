//! The table of a webapp: what it is, its rows, and what is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stet_app::webapp::{
    Asked, CellEdit, ColumnView as AppColumn, Count, Description, EditState, Filter, History, LinkLabel, LinkLabels,
    LinkOptions, Page, Query, Row, Sort, StateFilter, Test, Window,
};
use stet_domain::Event;
use utoipa::{IntoParams, ToSchema};

use super::TypeView;
use crate::error::Problem;

/// A webapp with its settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebappView {
    project: String,
    name: String,
    title: String,
    description: String,
    /// The dataset whose rows it edits.
    original: String,
    /// In order.
    primary_keys: Vec<String>,
    /// In the order of display and of `cells` in rows, keys first.
    columns: Vec<ColumnView>,
    validation_column: Option<String>,
    /// The column with the login of the person whose row it is, if there is one.
    assigned_to: Option<String>,
    rows: RowRightsView,
    /// Whether each change has to come with a reason.
    require_reason: bool,
    /// Whether ticking the validation column asks for the password again.
    sign_validations: bool,
    /// Why nothing can be edited, in plain words; null when it can.
    read_only: Option<String>,
    /// The position of the editlog.
    version: i64,
    /// The identity of the original that is loaded.
    snapshot: String,
    total: usize,
    /// Whether the original's data changed since it was loaded.
    original_changed: bool,
}

/// What may be done with rows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RowRightsView {
    create: bool,
    delete: bool,
}

/// A column of the table. Limits are canonical texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnView {
    name: String,
    title: String,
    #[serde(rename = "type")]
    column_type: TypeView,
    key: bool,
    editable: bool,
    /// Whether the original has it, rather than the webapp adding it.
    in_original: bool,
    multiline: bool,
    required: bool,
    /// Whether ticking it logs the values of all editable columns of the row.
    validation: bool,
    comments: bool,
    allowed: Option<Vec<String>>,
    min: Option<String>,
    max: Option<String>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<String>,
    link: Option<LinkView>,
    /// Pixels at 100 %.
    width: Option<u32>,
    description: Option<String>,
}

/// The dataset that the values of a column are keys of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkView {
    dataset: String,
    key: String,
    label: String,
    lookups: Vec<String>,
}

/// Which rows, in which order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowsBody {
    /// The place of the first row, from 0.
    #[serde(default)]
    pub(crate) offset: usize,
    /// How many rows, 1,000 at most.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
    #[serde(default)]
    pub(crate) sort: Vec<SortBody>,
    /// All of them have to hold.
    #[serde(default)]
    pub(crate) filters: Vec<FilterBody>,
    /// One of them has to hold, unless there are none; `assigned` in any case.
    #[serde(default)]
    pub(crate) states: Vec<RowStateBody>,
    /// When the rows are counted.
    #[serde(default)]
    pub(crate) count: CountBody,
    /// Refuses to answer, with 409, when another original is loaded by now.
    #[serde(default)]
    pub(crate) snapshot: Option<String>,
    /// The table as it stood: after the event of this number, or at this moment (RFC 3339). The original is that of now.
    #[serde(default)]
    pub(crate) as_of: Option<String>,
    /// A name that nobody else can guess, for `waits` to ask how far it is and to cancel it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) wait: Option<uuid::Uuid>,
}

/// When the rows are counted: before the answer, or later. With `later` the answer may come before all rows were looked at, and
/// says so by `total_pending`; `exact` with a limit of 0 then gives the count.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CountBody {
    #[default]
    Exact,
    Later,
}

fn default_limit() -> usize {
    100
}

/// A column to sort by.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SortBody {
    column: String,
    #[serde(default)]
    descending: bool,
}

/// A test on the values of a column.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilterBody {
    column: String,
    op: FilterOpBody,
    /// Of all tests on one value.
    #[serde(default)]
    value: Option<String>,
    /// Of `between`: the least value.
    #[serde(default)]
    from: Option<String>,
    /// Of `between`: the greatest value.
    #[serde(default)]
    to: Option<String>,
    /// Of `in`: the values; null for an empty cell.
    #[serde(default)]
    values: Option<Vec<Option<String>>>,
}

/// How a value is tested.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FilterOpBody {
    Contains,
    NotContains,
    Equals,
    NotEquals,
    StartsWith,
    EndsWith,
    Between,
    Blank,
    NotBlank,
    In,
}

/// How a row stands: some cell edited, the original of an edited cell changed since, edited by whoever asks, created here.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RowStateBody {
    Edited,
    Stale,
    Mine,
    Created,
    /// Assigned to whoever asks, by the column that the webapp names.
    Assigned,
}

/// Rows from one place of the table.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageView {
    version: i64,
    snapshot: String,
    /// How many rows there are with these filters; with `total_pending`, how many there are at least.
    total: usize,
    /// Whether not all rows were counted yet. Left out when they were.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    total_pending: bool,
    offset: usize,
    rows: Vec<RowView>,
    links: LinksView,
}

/// A row as it is now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RowView {
    key: String,
    /// Canonical texts in the order of the columns; null for empty.
    cells: Vec<Option<String>>,
    /// The last event about the whole row.
    event: Option<i64>,
    /// Whether it stands by creation.
    created: bool,
    /// The cells that events named, by column.
    edits: BTreeMap<String, CellEditView>,
}

/// What the log says of a cell.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CellEditView {
    /// The last event on the cell: what an edit has to have `seen`.
    event: i64,
    user: String,
    date: String,
    state: CellStateView,
    /// The original's value now.
    original: Option<String>,
}

/// How an override stands to the original: it makes the difference; the original has the same value by now; the original
/// has changed since the author saw it; it was taken away; its value does not fit the column any more.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CellStateView {
    Needed,
    Agrees,
    SourceChanged,
    Reverted,
    Misfit,
}

impl From<EditState> for CellStateView {
    fn from(state: EditState) -> CellStateView {
        match state {
            EditState::Needed => CellStateView::Needed,
            EditState::Agrees => CellStateView::Agrees,
            EditState::SourceChanged => CellStateView::SourceChanged,
            EditState::Reverted => CellStateView::Reverted,
            EditState::Misfit => CellStateView::Misfit,
        }
    }
}

/// What the linked values in rows mean: by column, by value.
pub(crate) type LinksView = BTreeMap<String, BTreeMap<String, LinkLabelView>>;

/// What a linked value means.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LinkLabelView {
    label: Option<String>,
    /// In the order of the settings.
    lookups: Vec<Option<String>>,
}

/// Whose history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// The row.
    pub(crate) key: String,
    /// The column; the whole row without it.
    #[serde(default)]
    pub(crate) column: Option<String>,
}

/// What happened to a cell or a row.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryView {
    /// The original's value of the cell now.
    original: Option<String>,
    /// Newest first.
    events: Vec<EventView>,
}

/// An event of the editlog.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    id: i64,
    date: String,
    user: String,
    #[schema(examples("update", "create", "delete", "revert"))]
    action: &'static str,
    column: Option<String>,
    value: Option<String>,
    /// What the author saw in the cell.
    previous: Option<String>,
    #[schema(examples("grid", "paste", "fill", "undo", "import", "api"))]
    source: &'static str,
    reason: Option<String>,
    batch_id: String,
}

/// Which choices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LinksQuery {
    /// What was typed; every choice without it.
    #[serde(default)]
    pub(crate) term: String,
    /// How many, 100 at most.
    #[serde(default = "default_options")]
    pub(crate) limit: usize,
}

fn default_options() -> usize {
    20
}

/// Choices for a linked column.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkOptionsView {
    options: Vec<LinkOptionView>,
    more: bool,
}

/// A choice.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkOptionView {
    /// The value to store.
    value: String,
    label: Option<String>,
    lookups: Vec<Option<String>>,
}

/// Where somebody is in the table.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PresenceBody {
    /// The listener, as the stream's `hello` named it; the one opened last without it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) session: Option<uuid::Uuid>,
    #[serde(default)]
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) column: Option<String>,
    #[serde(default)]
    pub(crate) editing: bool,
}

/// The original that is loaded now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReloadedView {
    pub(crate) snapshot: String,
}

impl From<&Description> for WebappView {
    fn from(description: &Description) -> WebappView {
        let webapp = &description.webapp.webapp;
        WebappView {
            project: description.project.to_string(),
            name: webapp.name.to_string(),
            title: webapp.title.clone(),
            description: webapp.description.clone(),
            original: webapp.original.to_string(),
            primary_keys: webapp.primary_keys.clone(),
            columns: description
                .columns()
                .map(|column| ColumnView {
                    validation: webapp.validation_column.as_ref() == Some(&column.column.name),
                    comments: webapp.comments_column.as_ref() == Some(&column.column.name),
                    ..ColumnView::from(column)
                })
                .collect(),
            validation_column: webapp.validation_column.clone(),
            assigned_to: webapp.assigned_to.clone(),
            rows: RowRightsView { create: webapp.create_rows, delete: webapp.delete_rows },
            require_reason: webapp.require_reason,
            sign_validations: webapp.sign_validations,
            read_only: description.read_only.clone(),
            version: description.version,
            snapshot: description.snapshot.clone(),
            total: description.total,
            original_changed: description.original_changed,
        }
    }
}

impl From<AppColumn<'_>> for ColumnView {
    fn from(AppColumn { column, editable, may_edit }: AppColumn<'_>) -> ColumnView {
        let rules = editable.map(|editable| &editable.rules);
        ColumnView {
            name: column.name.clone(),
            title: editable.and_then(|editable| editable.title.clone()).unwrap_or_else(|| column.name.clone()),
            column_type: column.column_type.into(),
            key: column.key,
            editable: may_edit,
            in_original: column.in_original,
            multiline: editable.is_some_and(|editable| editable.multiline),
            required: rules.is_some_and(|rules| rules.required),
            validation: false,
            comments: false,
            allowed: rules.and_then(|rules| rules.allowed.clone()),
            min: rules.and_then(|rules| rules.min.clone()),
            max: rules.and_then(|rules| rules.max.clone()),
            min_length: rules.and_then(|rules| rules.min_length),
            max_length: rules.and_then(|rules| rules.max_length),
            pattern: rules.and_then(|rules| rules.pattern.as_ref()).map(|pattern| pattern.as_str().to_owned()),
            link: editable.and_then(|editable| editable.link.as_ref()).map(|link| LinkView {
                dataset: link.dataset.to_string(),
                key: link.key.clone(),
                label: link.label.clone(),
                lookups: link.lookups.clone(),
            }),
            width: editable.and_then(|editable| editable.width),
            description: editable.and_then(|editable| editable.description.clone()),
        }
    }
}

impl RowsBody {
    /// Which of the rows are asked for.
    pub(crate) fn window(&self) -> Window {
        let count = match self.count {
            CountBody::Exact => Count::Exact,
            CountBody::Later => Count::Later,
        };
        Window { offset: self.offset, limit: self.limit, count }
    }

    /// The query as the use case takes it.
    ///
    /// # Errors
    /// When a filter lacks its value.
    pub(crate) fn query(self) -> Result<Asked<Query>, Problem> {
        let (states, assigned_to_me) = states(self.states);
        let query = Query {
            sort: self.sort.into_iter().map(|sort| Sort { column: sort.column, descending: sort.descending }).collect(),
            filters: self.filters.into_iter().map(FilterBody::filter).collect::<Result<_, _>>()?,
            states,
        };
        Ok(Asked { query, assigned_to_me, wait: self.wait })
    }
}

/// The states of rows, and whether only those are asked for that are assigned to whoever asks.
pub(crate) fn states(asked: Vec<RowStateBody>) -> (Vec<StateFilter>, bool) {
    let mut assigned_to_me = false;
    let state = |state| match state {
        RowStateBody::Edited => Some(StateFilter::Edited),
        RowStateBody::Stale => Some(StateFilter::Stale),
        RowStateBody::Mine => Some(StateFilter::Mine),
        RowStateBody::Created => Some(StateFilter::Created),
        RowStateBody::Assigned => {
            assigned_to_me = true;
            None
        }
    };
    (asked.into_iter().filter_map(state).collect(), assigned_to_me)
}

impl FilterBody {
    pub(crate) fn filter(self) -> Result<Filter, Problem> {
        let FilterBody { column, op, value, from, to, values } = self;
        let one = |value: Option<String>| {
            value.ok_or_else(|| Problem::refused(format!("the filter on `{column}` needs a `value`")))
        };
        let test = match op {
            FilterOpBody::Contains => Test::Contains(one(value)?),
            FilterOpBody::NotContains => Test::NotContains(one(value)?),
            FilterOpBody::Equals => Test::Equals(one(value)?),
            FilterOpBody::NotEquals => Test::NotEquals(one(value)?),
            FilterOpBody::StartsWith => Test::StartsWith(one(value)?),
            FilterOpBody::EndsWith => Test::EndsWith(one(value)?),
            FilterOpBody::Between if from.is_none() && to.is_none() => {
                return Err(Problem::refused(format!("the filter on `{column}` needs `from` or `to`")));
            }
            FilterOpBody::Between => Test::Between { from, to },
            FilterOpBody::Blank => Test::Blank,
            FilterOpBody::NotBlank => Test::NotBlank,
            FilterOpBody::In => {
                Test::In(values.ok_or_else(|| Problem::refused(format!("the filter on `{column}` needs `values`")))?)
            }
        };
        Ok(Filter { column, test })
    }
}

impl From<Page> for PageView {
    fn from(page: Page) -> PageView {
        PageView {
            version: page.version,
            snapshot: page.snapshot,
            total: page.total,
            total_pending: page.total_pending,
            offset: page.offset,
            rows: rows(page.rows),
            links: links(page.links),
        }
    }
}

/// Rows as they travel.
pub(crate) fn rows(rows: Vec<Row>) -> Vec<RowView> {
    rows.into_iter().map(RowView::from).collect()
}

/// The meanings of linked values as they travel.
pub(crate) fn links(links: LinkLabels) -> LinksView {
    let of_column = |labels: BTreeMap<String, LinkLabel>| {
        labels.into_iter().map(|(value, label)| (value, LinkLabelView::from(label))).collect()
    };
    links.into_iter().map(|(column, labels)| (column, of_column(labels))).collect()
}

impl From<Row> for RowView {
    fn from(row: Row) -> RowView {
        RowView {
            key: row.key,
            cells: row.cells,
            event: row.event.map(|event| event.0),
            created: row.created,
            edits: row.edits.into_iter().map(|(column, edit)| (column, CellEditView::from(edit))).collect(),
        }
    }
}

impl From<CellEdit> for CellEditView {
    fn from(edit: CellEdit) -> CellEditView {
        CellEditView {
            event: edit.event.0,
            user: edit.user.to_string(),
            date: edit.date.to_string(),
            state: edit.state.into(),
            original: edit.original,
        }
    }
}

impl From<LinkLabel> for LinkLabelView {
    fn from(label: LinkLabel) -> LinkLabelView {
        LinkLabelView { label: label.label, lookups: label.lookups }
    }
}

impl From<History> for HistoryView {
    fn from(history: History) -> HistoryView {
        HistoryView { original: history.original, events: history.events.into_iter().map(EventView::from).collect() }
    }
}

impl From<Event> for EventView {
    fn from(event: Event) -> EventView {
        EventView {
            id: event.id.0,
            date: event.date.to_string(),
            user: event.user.to_string(),
            action: event.action.as_str(),
            column: event.column_name,
            value: event.value,
            previous: event.previous,
            source: event.source.as_str(),
            reason: event.reason,
            batch_id: event.batch_id.to_string(),
        }
    }
}

impl From<LinkOptions> for LinkOptionsView {
    fn from(found: LinkOptions) -> LinkOptionsView {
        let options = found
            .options
            .into_iter()
            .map(|option| LinkOptionView {
                value: option.value,
                label: option.label.label,
                lookups: option.label.lookups,
            })
            .collect();
        LinkOptionsView { options, more: found.more }
    }
}
