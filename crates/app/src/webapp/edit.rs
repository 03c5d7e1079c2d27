//! Editing: what a person or program asks for becomes events, or is told why not.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use stet_domain::access::Use;
use stet_domain::validate::{Refusal, validate};
use stet_domain::{Action, Actor, ActorKind, ClientEventId, Event, EventId, Key, LogDate, Login, NewEvent, Source};
use stet_store::{Append, Expected, Outcome};
use uuid::Uuid;

use super::open::OpenWebapp;
use super::resolve::EditColumn;
use super::rows::{LinkLabels, Row};
use super::steps::{OwnEvents, Placed, steps};
use super::viewer::Viewer;
use crate::App;
use crate::error::AppError;

/// The most edits in one request.
pub const EDITS_MAX: usize = 10_000;

/// The longest reason, in characters.
const REASON_CHARACTERS_MAX: usize = 2_000;

/// How the reason of a signed validation begins in the log. No other reason may.
pub const SIGNED: &str = "Signed with the password";

/// Edits made together: one paste, one validation, one cell.
#[derive(Debug, Clone)]
pub struct EditRequest {
    /// The batch that they belong to; a new one when the client names none.
    pub batch_id: Option<Uuid>,
    /// By which way they came.
    pub source: Source,
    /// Why, in the author's words.
    pub reason: Option<String>,
    /// The author's password, where the webapp asks for it to validate rows.
    pub signature: Option<Signature>,
    /// All or nothing.
    pub atomic: bool,
    /// The edits, in order.
    pub edits: Vec<Edit>,
}

/// The password that somebody has typed again to sign what they validate. It is never shown.
#[derive(Clone)]
pub struct Signature(pub String);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// Whether a reason would pass for that of a signed validation.
fn claims_signature(reason: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    letters(reason).starts_with(&letters(SIGNED))
}

/// One edit as a client asks for it.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The idempotency key; a new one when the client names none.
    pub event_id: Option<ClientEventId>,
    /// What to do.
    pub change: Change,
    /// What the author had seen.
    pub seen: Seen,
    /// The last event of the row that the author had seen, if the client says so: what a validation approves.
    pub seen_row: Option<Option<EventId>>,
}

/// What an edit does.
#[derive(Debug, Clone)]
pub enum Change {
    /// Sets a cell; no value empties it.
    Update {
        /// The row.
        key: String,
        /// The column.
        column: String,
        /// The value as it was typed.
        value: Option<String>,
        /// What the author saw in the cell, if the client says so: `Some(None)` is an empty cell.
        previous: Option<Option<String>>,
    },
    /// Takes the override of a cell, or everything done to a row, away.
    Revert {
        /// The row.
        key: String,
        /// The column; none for the whole row.
        column: Option<String>,
    },
    /// Adds a row.
    Create {
        /// The values of the key columns and of any others, as they were typed.
        values: Vec<(String, Option<String>)>,
    },
    /// Hides a row.
    Delete {
        /// The row.
        key: String,
    },
}

impl Change {
    /// What was typed, to give back.
    fn typed(self) -> Option<String> {
        if let Change::Update { value, .. } = self { value } else { None }
    }
}

/// What the author of an edit had seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The client does not say: the edit is made over whatever is there.
    Unsaid,
    /// The last event on the cell (or row) that the client knew, and none when it knew of none.
    Event(Option<EventId>),
}

impl Seen {
    /// What the log may hold at most of what is edited; `seen` adds what the author has seen beside what they say.
    fn expected(self, seen: impl FnOnce(Option<EventId>) -> Option<EventId>) -> Expected {
        match self {
            Seen::Unsaid => Expected::Any,
            Seen::Event(event) => Expected::Seen(seen(event)),
        }
    }
}

/// What became of one edit.
#[derive(Debug, Clone, PartialEq)]
pub enum EditResult {
    /// It is in the log, durably.
    Saved {
        /// Its event.
        event: EventId,
        /// The value as it is kept.
        value: Option<String>,
    },
    /// The cell has this value already: nothing was logged.
    Unchanged {
        /// The value.
        value: Option<String>,
    },
    /// A rule refuses it.
    Refused {
        /// The rule and the reason.
        refusal: Refusal,
        /// What was typed.
        value: Option<String>,
    },
    /// The cell or row moved after the author saw it.
    Conflict {
        /// What was typed.
        yours: Option<String>,
        /// How the cell is now.
        current: CurrentCell,
    },
    /// Another edit of an all-or-nothing request was refused or met a conflict.
    Skipped,
}

/// How a cell is, with who made it so.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrentCell {
    /// The column that moved; none when the whole row did. A tick that approves a row can meet a change of another one.
    pub column: Option<String>,
    /// The value now.
    pub value: Option<String>,
    /// The event that moved it.
    pub event: EventId,
    /// Who did.
    pub user: Login,
    /// When.
    pub date: LogDate,
    /// What was done.
    pub action: Action,
}

/// The answer to an [`EditRequest`].
#[derive(Debug, Clone)]
pub struct EditAnswer {
    /// The position of the log that `rows` show.
    pub version: i64,
    /// What became of each edit, in their order.
    pub results: Vec<EditResult>,
    /// Every row that an edit named, as it is now.
    pub rows: Vec<Row>,
    /// The keys of rows that are no longer there.
    pub deleted: Vec<String>,
    /// The labels of the linked values in `rows`.
    pub links: LinkLabels,
}

/// The events of one edit, which are saved or not saved together.
struct Unit {
    /// The edit's place in the request.
    place: usize,
    events: Vec<(NewEvent, Expected)>,
    /// What was typed, to give back.
    typed: Option<String>,
    /// Of an edit that would change nothing, the value: it is only asked for whether it was saved by an earlier request.
    unchanged: Option<Option<String>>,
}

impl App {
    /// Edits cells and rows of a webapp.
    ///
    /// Every edit is checked by the same rules whatever its source. Those that pass are appended to the editlog, durably,
    /// before this answers; the others are given back with the reason.
    ///
    /// # Errors
    /// When the whole request cannot be worked on: unknown webapp, too many edits, a store that cannot write.
    pub async fn edit(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        request: EditRequest,
    ) -> Result<EditAnswer, AppError> {
        let project = self.authorise_webapp(actor, project, webapp, Use::Edit)?;
        let viewer = self.viewer_in(actor, project, webapp).await?;
        if actor.kind == ActorKind::Visitor {
            self.inner.visitors.spend(actor, request.edits.len(), self.inner.clock.now())?;
        }
        self.edit_open(actor, &viewer, viewer.table(), request).await
    }

    pub(super) async fn edit_open(
        &self,
        actor: &Actor,
        viewer: &Viewer,
        open: &Arc<OpenWebapp>,
        request: EditRequest,
    ) -> Result<EditAnswer, AppError> {
        self.check_no_drift(open.project())?;
        if request.edits.len() > EDITS_MAX {
            return Err(AppError::Invalid(format!(
                "{} edits are too many for one request: the most are {EDITS_MAX}",
                request.edits.len()
            )));
        }
        if request.reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARACTERS_MAX) {
            return Err(AppError::Invalid(format!("a reason has at most {REASON_CHARACTERS_MAX} characters")));
        }
        let reason = request.reason.filter(|reason| !reason.trim().is_empty());
        if reason.as_deref().is_some_and(claims_signature) {
            return Err(AppError::Invalid(format!("a reason cannot begin with \"{SIGNED}\": sign instead")));
        }
        let webapp = &open.resolved.webapp;
        let no_reason = webapp.require_reason && reason.is_none();
        let signs = webapp.sign_validations && request.edits.iter().any(|edit| open.validates(&edit.change));
        let unsigned = match request.signature {
            // Nothing is signed that is not written.
            _ if !signs || no_reason => None,
            None => Some("validating a row of this table is signed: type your password again"),
            Some(Signature(password)) => {
                let confirmed = self.confirms_password(actor, password).await?;
                (!confirmed).then_some("the password is wrong: nothing was signed")
            }
        };
        let batch = Batch {
            actor,
            viewer,
            batch_id: request.batch_id.unwrap_or_else(Uuid::now_v7),
            source: request.source,
            signed: signs.then(|| match &reason {
                Some(reason) => format!("{SIGNED}: {reason}"),
                None => SIGNED.to_owned(),
            }),
            reason,
        };

        let mut results: Vec<Option<EditResult>> = vec![None; request.edits.len()];
        let mut touched: Vec<Key> = Vec::new();
        let wanting = |edit: &Edit| match unsigned {
            _ if no_reason => Some(Refusal::new("reason", "this table asks why: give a reason with each change")),
            Some(message) if open.validates(&edit.change) => Some(Refusal::new("signature", message)),
            _ => None,
        };
        let mut version = open.version();
        let mut own = OwnEvents::default();
        let mut steps = steps(&open.resolved, request.edits);
        if request.atomic {
            let mut edits: Vec<Placed> = steps.into_iter().flatten().collect();
            edits.sort_by_key(|edit| edit.place);
            steps = vec![edits];
        }
        for step in steps {
            let mut units: Vec<Unit> = Vec::new();
            let mut created_here = HashSet::new();
            for Placed { place, edit, builds_on } in step {
                if request.atomic && builds_on {
                    // One transaction cannot see what it has done itself.
                    results[place] = Some(EditResult::Refused { refusal: builds_on_another(), value: None });
                    continue;
                }
                if let Some(refusal) = wanting(&edit) {
                    results[place] = Some(EditResult::Refused { refusal, value: edit.change.typed() });
                    continue;
                }
                match open.prepare(&batch, edit, &own, &mut touched, &mut created_here) {
                    Prepared::Events(events, typed) => units.push(Unit { place, events, typed, unchanged: None }),
                    Prepared::Again(event, value) if !request.atomic => {
                        units.push(Unit { place, events: vec![event], typed: None, unchanged: Some(value) });
                    }
                    Prepared::Again(_, value) => results[place] = Some(EditResult::Unchanged { value }),
                    Prepared::Done(result) => results[place] = Some(result),
                }
            }
            let refused = results.iter().flatten().any(|result| matches!(result, EditResult::Refused { .. }));
            if request.atomic && refused {
                units.clear();
            }
            let outcomes = append(open, units, request.atomic, &mut own).await?;
            // The answer shows every event that it speaks of.
            version = match outcomes.iter().filter_map(|(_, outcome)| outcome.event()).max() {
                Some(event) => open.catch_up_to(event).await?,
                None => open.version(),
            };
            for (place, outcome) in outcomes {
                results[place] = Some(viewer.result(open.result_of(outcome)));
            }
        }
        touched.sort();
        touched.dedup();
        let (rows, mut deleted) = open.rows_of(&touched);
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let key = row.key.clone();
            match viewer.shown(row) {
                Some(row) => shown.push(row),
                // Who gives a row away no longer sees it.
                None => deleted.push(key),
            }
        }
        Ok(EditAnswer {
            version,
            results: results.into_iter().map(|result| result.unwrap_or(EditResult::Skipped)).collect(),
            links: open.labels_of(&shown),
            rows: shown,
            deleted,
        })
    }
}

struct Batch<'a> {
    actor: &'a Actor,
    viewer: &'a Viewer,
    batch_id: Uuid,
    source: Source,
    reason: Option<String>,
    /// The reason of the validations, if they are signed.
    signed: Option<String>,
}

impl Batch<'_> {
    fn event(
        &self,
        event_id: ClientEventId,
        action: Action,
        key: Key,
        column: Option<&str>,
        value: Option<String>,
        previous: Option<String>,
    ) -> NewEvent {
        NewEvent {
            user: self.actor.login.clone(),
            action,
            key,
            column_name: column.map(str::to_owned),
            value,
            previous,
            batch_id: self.batch_id,
            source: self.source,
            reason: self.reason.clone(),
            event_id,
        }
    }
}

enum Prepared {
    /// Events to append, and what was typed.
    Events(Vec<(NewEvent, Expected)>, Option<String>),
    /// The cell has this value. The event may be there already, sent by an earlier request; it will not be appended.
    Again((NewEvent, Expected), Option<String>),
    /// Nothing to append.
    Done(EditResult),
}

fn builds_on_another() -> Refusal {
    Refusal::new(
        "atomic",
        "an all-or-nothing request cannot edit a cell twice, or a row that it also adds, deletes or approves: send one after \
         the other",
    )
}

fn refused(refusal: Refusal, value: Option<String>) -> Prepared {
    Prepared::Done(EditResult::Refused { refusal, value })
}

impl OpenWebapp {
    /// Whether a change ticks the validation column.
    fn validates(&self, change: &Change) -> bool {
        let Some(validation) = self.resolved.webapp.validation_column.as_deref() else { return false };
        let ticks = |column: &str, typed: Option<&str>| {
            let value = self.resolved.editable(column).and_then(|editable| self.check(editable, typed));
            column == validation && value.is_ok_and(|value| value.as_deref() == Some("true"))
        };
        match change {
            Change::Update { column, value, .. } => ticks(column, value.as_deref()),
            Change::Create { values } => values.iter().any(|(column, value)| ticks(column, value.as_deref())),
            Change::Revert { .. } | Change::Delete { .. } => false,
        }
    }

    fn prepare(
        &self,
        batch: &Batch<'_>,
        edit: Edit,
        own: &OwnEvents,
        touched: &mut Vec<Key>,
        created_here: &mut HashSet<String>,
    ) -> Prepared {
        if let Some(refusal) = batch.viewer.refuses(&edit.change) {
            return refused(refusal, edit.change.typed());
        }
        let is_new = edit.event_id.is_none();
        let event_id = edit.event_id.unwrap_or_else(|| ClientEventId(Uuid::now_v7()));
        match edit.change {
            Change::Update { key, column, value, previous } => {
                touched.push(Key::from_text(key.as_str()));
                let seen = (edit.seen, edit.seen_row);
                match self.prepare_update(batch, event_id, own, seen, key, &column, value, previous) {
                    Prepared::Again(_, value) if is_new => Prepared::Done(EditResult::Unchanged { value }),
                    prepared => prepared,
                }
            }
            Change::Revert { key, column } => {
                touched.push(Key::from_text(key.as_str()));
                self.prepare_revert(batch, event_id, own, edit.seen, key, column.as_deref())
            }
            Change::Delete { key } => {
                touched.push(Key::from_text(key.as_str()));
                if !self.resolved.webapp.delete_rows {
                    return refused(Refusal::new("rows", "rows cannot be deleted in this table"), None);
                }
                let expected = match (self.row(&key), self.is_deleted(&key)) {
                    (Some(row), _) => edit.seen.expected(|said| own.seen_row(said, &row)),
                    // A request that was sent twice is answered as the first time; any other meets the deletion.
                    (None, true) => Expected::Seen(None),
                    (None, false) => return refused(no_row(&key), None),
                };
                let event = batch.event(event_id, Action::Delete, Key::from_text(key), None, None, None);
                Prepared::Events(vec![(event, expected)], None)
            }
            Change::Create { values } => match self.prepare_create(batch, event_id, edit.seen, values, created_here) {
                Ok((key, events)) => {
                    touched.push(key);
                    Prepared::Events(events, None)
                }
                Err(refusal) => refused(refusal, None),
            },
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn prepare_update(
        &self,
        batch: &Batch<'_>,
        event_id: ClientEventId,
        own: &OwnEvents,
        (seen, edit_seen_row): (Seen, Option<Option<EventId>>),
        key: String,
        column: &str,
        typed: Option<String>,
        previous: Option<Option<String>>,
    ) -> Prepared {
        let editable = match self.resolved.editable(column) {
            Ok(editable) => editable,
            Err(refusal) => return refused(refusal, typed),
        };
        let value = match self.check(editable, typed.as_deref()) {
            Ok(value) => value,
            Err(refusal) => return refused(refusal, typed),
        };
        let Some(now) = self.value_of(&key, column) else {
            return refused(no_row(&key), typed);
        };
        // What the client says it saw counts when it is a value of the column at all.
        let previous = match previous {
            Some(Some(text)) => editable.column_type.canonical(&text).map_or_else(|_| now.clone(), Some),
            Some(None) => None,
            None => now.clone(),
        };
        let ticked =
            self.resolved.webapp.validation_column.as_deref() == Some(column) && value.as_deref() == Some("true");
        // The whole row is put together only where it is needed.
        let key_text = key;
        let key = Key::from_text(key_text.as_str());
        if value == now && previous == now && !ticked {
            if self.row(&key_text).is_none_or(|row| row.seen(column).is_none()) {
                return Prepared::Done(EditResult::Unchanged { value });
            }
            // An edit that was sent twice is answered as the first time: the store knows its event id. Any other meets the
            // event that the cell has, which it claims not to have seen.
            let event = batch.event(event_id, Action::Update, key, Some(column), value.clone(), previous);
            return Prepared::Again((event, Expected::Seen(None)), value);
        }
        let mut events = Vec::new();
        let row = if ticked || !own.is_empty() { self.row(&key_text) } else { None };
        if ticked && row.is_none() {
            return refused(no_row(&key_text), typed);
        }
        if let Some(row) = row.as_ref().filter(|_| ticked) {
            // What was approved goes on record: the value of every editable column of the row.
            for other in self.resolved.editable_columns().filter(|other| other.name != column) {
                let value = row.cells.get(other.place).cloned().flatten();
                let derived = event_id.derive(&other.name);
                let event = batch.event(derived, Action::Update, key.clone(), Some(&other.name), value.clone(), value);
                // Nobody approves a value that they have not seen.
                let said = edit_seen_row.unwrap_or_else(|| row.seen(&other.name));
                let expected = own.seen(said, row, &other.name);
                events.push((event, Expected::Seen(expected)));
            }
        }
        let event = batch.event(event_id, Action::Update, key, Some(column), value, previous);
        let said = |said| row.as_ref().map_or(said, |row| own.seen(said, row, column));
        events.push((event, seen.expected(said)));
        if ticked && batch.signed.is_some() {
            events.iter_mut().for_each(|(event, _)| event.reason.clone_from(&batch.signed));
        }
        Prepared::Events(events, typed)
    }

    fn prepare_revert(
        &self,
        batch: &Batch<'_>,
        event_id: ClientEventId,
        own: &OwnEvents,
        seen: Seen,
        key: String,
        column: Option<&str>,
    ) -> Prepared {
        if let Some(column) = column
            && let Err(refusal) = self.resolved.editable(column)
        {
            return refused(refusal, None);
        }
        let row = self.row(&key);
        let previous = match (column, &row) {
            (Some(column), Some(row)) => {
                self.resolved.place(column).and_then(|place| row.cells.get(place).cloned().flatten())
            }
            _ => None,
        };
        if row.is_none() && !self.is_deleted(&key) {
            return refused(no_row(&key), None);
        }
        let expected = seen.expected(|said| match (column, &row) {
            (Some(column), Some(row)) => own.seen(said, row, column),
            (None, Some(row)) => own.seen_row(said, row),
            (_, None) => said,
        });
        let event = batch.event(event_id, Action::Revert, Key::from_text(key), column, None, previous);
        Prepared::Events(vec![(event, expected)], None)
    }

    fn prepare_create(
        &self,
        batch: &Batch<'_>,
        event_id: ClientEventId,
        seen: Seen,
        values: Vec<(String, Option<String>)>,
        created_here: &mut HashSet<String>,
    ) -> Result<(Key, Vec<(NewEvent, Expected)>), Refusal> {
        if !self.resolved.webapp.create_rows {
            return Err(Refusal::new("rows", "rows cannot be added in this table"));
        }
        let mut parts = Vec::with_capacity(self.resolved.keys.len());
        for column in &self.resolved.keys {
            let typed = values.iter().find(|(name, _)| *name == column.name).and_then(|(_, value)| value.as_deref());
            let Some(typed) = typed else {
                return Err(Refusal::new("key", format!("a new row needs a value for its key `{}`", column.name)));
            };
            let text = column
                .column_type
                .canonical(typed)
                .map_err(|error| Refusal::new("key", format!("`{}`: {error}", column.name)))?;
            let text = self
                .live
                .value_kept(&column.name, text)
                .map_err(|message| Refusal::new("key", format!("`{}`: {message}", column.name)))?;
            parts.push(text);
        }
        let key = Key::from_parts(&parts);
        key.parts(parts.len()).map_err(|error| Refusal::new("key", error.to_string()))?;
        let here = self.row(key.as_str());
        // A creation that was sent twice is answered as the first time: the store knows its event id.
        let perhaps_again = here.as_ref().is_some_and(|row| row.created);
        if (here.is_some() && !perhaps_again) || !created_here.insert(key.to_string()) {
            return Err(row_exists(key.as_str()));
        }
        let mut cells = Vec::new();
        for (name, typed) in &values {
            if self.resolved.keys.iter().any(|column| column.name == *name) {
                continue;
            }
            let editable = self.resolved.editable(name)?;
            let value = self
                .check(editable, typed.as_deref())
                .map_err(|refusal| Refusal::new(refusal.rule, format!("{name}: {}", refusal.message)))?;
            cells.push((name.as_str(), value));
        }
        for required in self.resolved.editable_columns().filter(|column| column.rules.required) {
            if !cells.iter().any(|(name, _)| *name == required.name) {
                return Err(Refusal::new("required", format!("a new row needs a value for `{}`", required.name)));
            }
        }
        let expected = match (perhaps_again, seen) {
            (true, _) => Expected::Seen(None),
            (false, Seen::Unsaid) => Expected::Seen(self.row_event(key.as_str())),
            (false, said) => said.expected(|said| said),
        };
        let mut events = Vec::new();
        if cells.is_empty() {
            events.push((batch.event(event_id, Action::Create, key.clone(), None, None, None), expected));
        }
        for (index, (name, value)) in cells.into_iter().enumerate() {
            let id = if index == 0 { event_id } else { event_id.derive(name) };
            let signed = batch.signed.as_ref().filter(|_| {
                self.resolved.webapp.validation_column.as_deref() == Some(name) && value.as_deref() == Some("true")
            });
            let mut event = batch.event(id, Action::Create, key.clone(), Some(name), value.clone(), None);
            event.reason = signed.cloned().or(event.reason);
            events.push((event, expected));
        }
        Ok((key, events))
    }

    /// Checks a value by the rules of its column, the linked dataset included.
    fn check(&self, column: &EditColumn, typed: Option<&str>) -> Result<Option<String>, Refusal> {
        let value = validate(column.column_type, &column.rules, typed)?;
        // What is logged is what the column keeps, so that the log, the table and a build say the same.
        let value = value.map(|text| self.live.value_kept(&column.name, text)).transpose();
        let value = value.map_err(|message| Refusal::new("type", message))?;
        if let (Some(link), Some(text)) = (self.links.get(&column.name), value.as_deref())
            && !link.contains(text)
        {
            let dataset = column.link.as_ref().map_or("", |link| link.dataset.as_str());
            return Err(Refusal::new("link", format!("`{text}` is not in `{dataset}`: choose one from the list")));
        }
        Ok(value)
    }

    fn result_of(&self, outcome: UnitOutcome) -> EditResult {
        match outcome {
            UnitOutcome::Saved(event) => EditResult::Saved { event: event.id, value: event.value },
            UnitOutcome::Unchanged(value) => EditResult::Unchanged { value },
            UnitOutcome::Skipped => EditResult::Skipped,
            UnitOutcome::IdTaken { typed } => EditResult::Refused {
                refusal: Refusal::new(
                    "event_id",
                    "another edit was sent with the same event id: give each edit its own, or reload the page",
                ),
                value: typed,
            },
            UnitOutcome::Conflict { with, typed, creation: true, .. } => {
                EditResult::Refused { refusal: row_exists(with.key.as_str()), value: typed }
            }
            UnitOutcome::Conflict { with, asked, typed, .. } => {
                let value = match asked.as_deref().and_then(|column| self.resolved.place(column)) {
                    Some(place) => self.row(with.key.as_str()).and_then(|row| row.cells.get(place).cloned().flatten()),
                    None => with.value.clone(),
                };
                let current = CurrentCell {
                    column: with.column_name,
                    value,
                    event: with.id,
                    user: with.user,
                    date: with.date,
                    action: with.action,
                };
                EditResult::Conflict { yours: typed, current }
            }
        }
    }
}

fn row_exists(key: &str) -> Refusal {
    Refusal::new("key", format!("there is a row with the key `{key}` already"))
}

pub(super) fn no_row(key: &str) -> Refusal {
    Refusal::new("key", format!("there is no row with the key `{key}`: it was deleted, or the original has changed"))
}

enum UnitOutcome {
    /// The unit's own event, new or appended by an earlier request.
    Saved(Event),
    /// The cell has this value.
    Unchanged(Option<String>),
    Conflict {
        with: Event,
        /// The column that was edited.
        asked: Option<String>,
        typed: Option<String>,
        /// Whether a row was to be created.
        creation: bool,
    },
    IdTaken {
        typed: Option<String>,
    },
    Skipped,
}

impl UnitOutcome {
    /// The event that it is about.
    fn event(&self) -> Option<EventId> {
        match self {
            UnitOutcome::Saved(event) | UnitOutcome::Conflict { with: event, .. } => Some(event.id),
            UnitOutcome::Unchanged(_) | UnitOutcome::IdTaken { .. } | UnitOutcome::Skipped => None,
        }
    }
}

/// Appends the units and says what became of each, by its place in the request.
/// The events go to `own`.
async fn append(
    open: &OpenWebapp,
    units: Vec<Unit>,
    atomic: bool,
    own: &mut OwnEvents,
) -> Result<Vec<(usize, UnitOutcome)>, AppError> {
    // Edits of one event stand for themselves and go together; each edit of several events is all or nothing.
    let mut groups: Vec<(bool, Vec<Unit>)> = Vec::new();
    if atomic {
        groups.push((true, units));
    } else {
        let (single, several): (Vec<Unit>, Vec<Unit>) = units.into_iter().partition(|unit| unit.events.len() == 1);
        groups.push((false, single));
        groups.extend(several.into_iter().map(|unit| (true, vec![unit])));
    }
    if groups.iter().all(|(_, units)| units.is_empty()) {
        return Ok(Vec::new());
    }
    let editlog = open.editlog()?;
    groups.retain(|(_, units)| !units.is_empty());
    let save = |atomic: bool, units: Vec<Unit>| async move {
        let (mut events, mut waiting) = (Vec::with_capacity(units.len()), Vec::with_capacity(units.len()));
        for unit in units {
            waiting.push(Waiting::new(&unit.events, unit.place, unit.typed, unit.unchanged));
            events.extend(unit.events);
        }
        let outcomes = editlog.append(Append { atomic, events }).await?;
        let saved: Vec<EventId> = outcomes.iter().filter_map(Outcome::saved).collect();
        Ok::<_, AppError>((outcomes_of(waiting, outcomes), saved))
    };
    // What most requests are: one group, which needs nothing that joins it with others.
    if groups.len() == 1
        && let Some((atomic, units)) = groups.pop()
    {
        let (outcomes, saved) = save(atomic, units).await?;
        own.0.extend(saved);
        return Ok(outcomes);
    }
    // Sent together, so that they share a commit; the queue of the store limits how many wait.
    let requests = groups.into_iter().map(|(atomic, units)| save(atomic, units));
    let mut all = Vec::new();
    for answer in futures_util::future::join_all(requests).await {
        let (outcomes, saved) = answer?;
        all.extend(outcomes);
        own.0.extend(saved);
    }
    Ok(all)
}

/// A unit whose events are on their way into the log.
struct Waiting {
    place: usize,
    /// How many events it has, and which of them is the edit's own, that its answer is about: the last of a validation, the
    /// first of a creation.
    events: usize,
    own: usize,
    creation: bool,
    /// The column of the edit's own event.
    asked: Option<String>,
    typed: Option<String>,
    unchanged: Option<Option<String>>,
}

impl Waiting {
    fn new(
        events: &[(NewEvent, Expected)],
        place: usize,
        typed: Option<String>,
        unchanged: Option<Option<String>>,
    ) -> Waiting {
        let creation = events.first().is_some_and(|(event, _)| event.action == Action::Create);
        let own = if creation { 0 } else { events.len().saturating_sub(1) };
        let asked = events.get(own).and_then(|(event, _)| event.column_name.clone());
        Waiting { place, events: events.len(), own, creation, asked, typed, unchanged }
    }
}

fn outcomes_of(units: Vec<Waiting>, outcomes: Vec<Outcome>) -> Vec<(usize, UnitOutcome)> {
    let mut outcomes = outcomes.into_iter();
    let mut answers = Vec::with_capacity(units.len());
    for Waiting { place, events, own, creation, asked, typed, unchanged } in units {
        let of_unit: Vec<Outcome> = outcomes.by_ref().take(events).collect();
        let conflict = of_unit.iter().find_map(|outcome| match outcome {
            Outcome::Conflict(event) => Some(event.clone()),
            _ => None,
        });
        let taken = of_unit.iter().any(|outcome| matches!(outcome, Outcome::EventIdTaken(_)));
        let answer = match (of_unit.into_iter().nth(own), conflict, taken) {
            (Some(Outcome::Appended(event) | Outcome::AlreadyThere(event)), _, _) => UnitOutcome::Saved(event),
            (_, Some(_), _) if unchanged.is_some() => UnitOutcome::Unchanged(unchanged.flatten()),
            (_, Some(with), _) => {
                let asked = with.column_name.clone().or(asked);
                UnitOutcome::Conflict { with, asked, typed, creation }
            }
            (_, None, true) => UnitOutcome::IdTaken { typed },
            _ => UnitOutcome::Skipped,
        };
        answers.push((place, answer));
    }
    answers
}
