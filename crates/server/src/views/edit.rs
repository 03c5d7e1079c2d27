//! Edits and what became of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stet_app::webapp::{Change, CurrentCell, Edit, EditAnswer, EditRequest, EditResult, Seen, Signature};
use stet_domain::{ClientEventId, EventId, Source};
use utoipa::ToSchema;
use uuid::Uuid;

use super::given;
use super::table::{LinksView, RowView, links, rows};
use crate::error::Problem;

/// Edits made together: one paste, one validation, one cell.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditsBody {
    /// A new one without it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    batch_id: Option<Uuid>,
    /// By which way they came.
    #[serde(default)]
    pub(crate) source: SourceBody,
    /// Why, in the author's words.
    #[serde(default)]
    reason: Option<String>,
    /// Where the webapp asks for it to validate rows: the author's password, typed again.
    #[serde(default)]
    signature: Option<SignatureBody>,
    /// All or nothing.
    #[serde(default)]
    atomic: bool,
    /// In order, 10,000 at most.
    edits: Vec<EditBody>,
}

/// An electronic signature.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignatureBody {
    /// The password of whoever sends the edits.
    password: String,
}

/// By which way edits came.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceBody {
    Grid,
    Paste,
    Fill,
    Undo,
    Import,
    #[default]
    Api,
}

impl From<SourceBody> for Source {
    fn from(source: SourceBody) -> Source {
        match source {
            SourceBody::Grid => Source::Grid,
            SourceBody::Paste => Source::Paste,
            SourceBody::Fill => Source::Fill,
            SourceBody::Undo => Source::Undo,
            SourceBody::Import => Source::Import,
            SourceBody::Api => Source::Api,
        }
    }
}

/// One edit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditBody {
    /// The same edit sent twice with the same id is saved once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    event_id: Option<Uuid>,
    action: ActionBody,
    /// The row; not of `create`.
    #[serde(default)]
    key: Option<String>,
    /// The column of an `update` or `revert`; a `revert` without it is of the whole row.
    #[serde(default)]
    column: Option<String>,
    /// Of `update`: the text as it was typed, or null to empty the cell.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    value: Option<Option<String>>,
    /// The last event on the cell, or row, that the author knew; null for none. Without it the edit is made over whatever
    /// is there.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>)]
    seen: Option<Option<i64>>,
    /// Of an `update` that ticks the validation column: the last event of the whole row that the author knew; null for
    /// none. What was not seen is not approved.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>)]
    seen_row: Option<Option<i64>>,
    /// Of `update`: what the author saw in the cell.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    previous: Option<Option<String>>,
    /// Of `create`: the values by column, the key's included.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    values: Option<BTreeMap<String, Option<String>>>,
}

/// What an edit does.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActionBody {
    Update,
    Revert,
    Create,
    Delete,
}

/// What became of edits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EditAnswerView {
    /// The position of the editlog that `rows` show.
    version: i64,
    /// In the order of the edits.
    results: Vec<EditResultView>,
    /// Every row that an edit named, as it is now.
    rows: Vec<RowView>,
    /// The keys of rows that are no longer there.
    deleted: Vec<String>,
    links: LinksView,
}

/// What became of one edit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(crate) enum EditResultView {
    /// It is in the log, durably.
    Saved { event: i64, value: Option<String> },
    /// The cell has this value already: nothing was logged.
    Unchanged { value: Option<String> },
    /// A rule refuses it.
    Refused { rule: &'static str, message: String, value: Option<String> },
    /// The cell or row moved after the author saw it.
    Conflict { message: String, yours: Option<String>, current: CurrentView },
    /// Another edit of an all-or-nothing request was not saved.
    Skipped { message: String },
}

/// How a cell is now, and who made it so.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CurrentView {
    value: Option<String>,
    event: i64,
    user: String,
    date: String,
    action: &'static str,
}

impl EditsBody {
    /// The request as the use case takes it.
    ///
    /// # Errors
    /// When an edit lacks what its action needs, or has what it does not.
    pub(crate) fn request(self) -> Result<EditRequest, Problem> {
        let edits = self
            .edits
            .into_iter()
            .enumerate()
            .map(|(place, edit)| {
                edit.edit().map_err(|message| Problem::refused(format!("edit {}: {message}", place + 1)))
            })
            .collect::<Result<Vec<Edit>, Problem>>()?;
        Ok(EditRequest {
            batch_id: self.batch_id,
            source: self.source.into(),
            reason: self.reason,
            signature: self.signature.map(|SignatureBody { password }| Signature(password)),
            atomic: self.atomic,
            edits,
        })
    }
}

impl EditBody {
    fn edit(self) -> Result<Edit, String> {
        let EditBody { event_id, action, key, column, value, seen, seen_row, previous, values } = self;
        let name = match action {
            ActionBody::Update => "update",
            ActionBody::Revert => "revert",
            ActionBody::Create => "create",
            ActionBody::Delete => "delete",
        };
        let no = |field: &str, there: bool| if there { Err(format!("`{name}` takes no `{field}`")) } else { Ok(()) };
        let need = |field: &str, text: Option<String>| text.ok_or_else(|| format!("`{name}` needs a `{field}`"));
        if !matches!(action, ActionBody::Update) {
            no("value", value.is_some())?;
            no("previous", previous.is_some())?;
            no("seen_row", seen_row.is_some())?;
        }
        if !matches!(action, ActionBody::Create) {
            no("values", values.is_some())?;
        }
        let change = match action {
            ActionBody::Update => Change::Update {
                key: need("key", key)?,
                column: need("column", column)?,
                value: value.ok_or("`update` needs a `value`: a text, or null to empty the cell")?,
                previous,
            },
            ActionBody::Revert => Change::Revert { key: need("key", key)?, column },
            ActionBody::Create => {
                no("key", key.is_some())?;
                no("column", column.is_some())?;
                let values = values.ok_or("`create` needs `values`: an object of columns and texts")?;
                Change::Create { values: values.into_iter().collect() }
            }
            ActionBody::Delete => {
                no("column", column.is_some())?;
                Change::Delete { key: need("key", key)? }
            }
        };
        Ok(Edit {
            event_id: event_id.map(ClientEventId),
            change,
            seen: seen_of(seen),
            seen_row: seen_row.map(|event| event.map(EventId)),
        })
    }
}

/// What an author had seen, of a field that may be missing, null or an event.
pub(crate) fn seen_of(seen: Option<Option<i64>>) -> Seen {
    match seen {
        None => Seen::Unsaid,
        Some(event) => Seen::Event(event.map(EventId)),
    }
}

impl From<EditAnswer> for EditAnswerView {
    fn from(answer: EditAnswer) -> EditAnswerView {
        EditAnswerView {
            version: answer.version,
            results: answer.results.into_iter().map(EditResultView::from).collect(),
            rows: rows(answer.rows),
            deleted: answer.deleted,
            links: links(answer.links),
        }
    }
}

impl From<EditResult> for EditResultView {
    fn from(result: EditResult) -> EditResultView {
        match result {
            EditResult::Saved { event, value } => EditResultView::Saved { event: event.0, value },
            EditResult::Unchanged { value } => EditResultView::Unchanged { value },
            EditResult::Refused { refusal, value } => {
                EditResultView::Refused { rule: refusal.rule, message: refusal.message, value }
            }
            EditResult::Conflict { yours, current } => {
                EditResultView::Conflict { message: conflict_message(&current), yours, current: current.into() }
            }
            EditResult::Skipped => EditResultView::Skipped {
                message: "not saved, because another edit of the same request was not".to_owned(),
            },
        }
    }
}

/// What to tell somebody whose edit met another.
pub(crate) fn conflict_message(current: &CurrentCell) -> String {
    let what = match current.action {
        stet_domain::Action::Update => "changed this cell",
        stet_domain::Action::Revert => "took the edits back",
        stet_domain::Action::Create => "added this row",
        stet_domain::Action::Delete => "deleted this row",
        stet_domain::Action::Erase => "erased personal data",
        stet_domain::Action::Note => "made a note in the log",
    };
    format!("{} {what} at {}, after you saw it: nothing was overwritten", current.user, current.date)
}

impl From<CurrentCell> for CurrentView {
    fn from(current: CurrentCell) -> CurrentView {
        CurrentView {
            value: current.value,
            event: current.event.0,
            user: current.user.to_string(),
            date: current.date.to_string(),
            action: current.action.as_str(),
        }
    }
}

/// The name under which what became of an edit is counted.
pub(crate) fn status(result: &EditResult) -> &'static str {
    match result {
        EditResult::Saved { .. } => "saved",
        EditResult::Unchanged { .. } => "unchanged",
        EditResult::Refused { .. } => "refused",
        EditResult::Conflict { .. } => "conflict",
        EditResult::Skipped => "skipped",
    }
}
