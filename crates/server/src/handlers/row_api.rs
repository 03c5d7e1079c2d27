//! The row API of a webapp: what scripts of this field call. Edits through it have the source `api`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use axum::Json;
use axum::body::{Body as Bytes, Bytes as Chunk};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use stet_app::AppError;
use stet_app::webapp::{Change, Edit, EditRequest, EditResult, Row, Seen};
use stet_domain::{Action, ClientEventId, Event, Source};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{Answer, Shared};
use crate::auth::{Anybody, Signed};
use crate::error::Problem;
use crate::extract::{Body, Path, Query};
use crate::state::Server;
use crate::views::csv::push_field;
use crate::views::edit::{conflict_message, seen_of, status};
use crate::views::row_api::{
    CreateBody, DeleteBody, EditsQuery, LabelQuery, LookupQuery, ReadBody, RowAnswerView, RowKey, UpdateBody, scalar,
};

/// The columns of the download of all edits.
const EDITS_HEADER: &str = "date,user,action,key,column_name,value,id,previous,batch_id,source,reason,event_id\r\n";

/// Edits are sent in pieces of about this size.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many pieces may wait for a slow client.
const CHUNKS_MAX: usize = 4;

/// Add a row.
#[utoipa::path(post, path = "/webapps/{project}/{webapp}/create", tag = "row API",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = CreateBody, responses(
        (status = 200, description = "Added", body = RowAnswerView),
        (status = 409, description = "Somebody else was faster"),
        (status = 422, description = "A rule refuses it: see `rule`"),
    ))]
pub(crate) async fn create(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Body(body): Body<CreateBody>,
) -> Answer<RowAnswerView> {
    let table = Table::open(&server, &signed, &project, &webapp).await?;
    let key = table.key(&body.primary_keys)?;
    let mut values: BTreeMap<String, Option<String>> =
        key.parts.iter().map(|(column, text)| (column.clone(), Some(text.clone()))).collect();
    for (column, raw) in &body.column_values {
        if key.parts.contains_key(column) {
            return Err(
                Problem::refused(format!("`{column}` is a key: give it in `primaryKeys` alone")).with("rule", "key")
            );
        }
        values.insert(column.clone(), scalar(raw, column)?);
    }
    let change = Change::Create { values: values.into_iter().collect() };
    table.edit(key, change, Seen::Unsaid, body.reason, body.event_id).await
}

/// Read a row as it is now: an object of columns and canonical texts, null for empty cells.
#[utoipa::path(post, path = "/webapps/{project}/{webapp}/read", tag = "row API",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = ReadBody,
    responses((status = 200, description = "The row", body = BTreeMap<String, Option<String>>)))]
pub(crate) async fn read(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Body(body): Body<ReadBody>,
) -> Result<Response, Problem> {
    let table = Table::open(&server, &signed, &project, &webapp).await?;
    let key = table.key(&body.primary_keys)?;
    match server.app.read_row(&signed.actor, &project, &webapp, key.key.as_str()).await? {
        Some(row) => {
            // In the order of the table, which a map in alphabetical order would lose.
            let cells = table.columns().zip(row.cells).map(|(column, cell)| {
                let cell = cell.map_or(Value::Null, Value::String);
                format!("{}:{cell}", Value::String(column.to_owned()))
            });
            let text = format!("{{{}}}", cells.collect::<Vec<String>>().join(","));
            let kind = HeaderValue::from_static("application/json");
            Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
        }
        None => Err(no_row(&key)),
    }
}

/// Download all edits of the webapp, oldest first. In CSV, texts that a spreadsheet would take for formulas get a `'` before
/// them.
#[utoipa::path(get, path = "/webapps/{project}/{webapp}/read-all-edits", tag = "row API",
    params(("project" = String, Path), ("webapp" = String, Path), EditsQuery),
    responses((status = 200, description = "The editlog. In CSV (RFC 4180) null is an empty field and an empty text `\"\"`",
        content_type = "text/csv", body = String)))]
pub(crate) async fn read_all_edits(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Query(query): Query<EditsQuery>,
) -> Result<Response, Problem> {
    let (format, kind) = query.format.kind();
    let edits = server.app.webapp_edits(&signed.actor, &project, &webapp).await?;
    let file = format!("attachment; filename=\"{}.{}\"", edits.original.editlog(), query.format.ending());
    let (sender, receiver) = mpsc::channel::<io::Result<Chunk>>(CHUNKS_MAX);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, HeaderValue::try_from(file).map_err(AppError::internal)?),
    ];
    let answer = (headers, Bytes::from_stream(ReceiverStream::new(receiver))).into_response();
    if let Some(format) = format {
        tokio::task::spawn_blocking(move || {
            let mut out = BufWriter::with_capacity(CHUNK_BYTES, ChunkWriter(sender.clone()));
            let written = edits.export(format, &mut out).map_err(|error| stet_app::Chain(&error).to_string());
            if let Err(error) = written.and_then(|_| out.flush().map_err(|error| error.to_string())) {
                tracing::warn!(error, "an export of edits ended early");
                let _ = sender.blocking_send(Err(io::Error::other("the editlog cannot be read to its end")));
            }
        });
        return Ok(answer);
    }
    // A client that has gone away gets nothing more: every failed send ends the work.
    tokio::task::spawn_blocking(move || {
        let mut text = String::from(EDITS_HEADER);
        let scanned = edits.scan(&mut |event| {
            // Scripts that read this know the four actions of edits.
            if event.action.is_edit() {
                push_event(&mut text, &event);
            }
            if text.len() >= CHUNK_BYTES && sender.blocking_send(Ok(std::mem::take(&mut text).into())).is_err() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = scanned {
            // The client sees that the answer is cut short, not a shorter log.
            tracing::error!(error = %stet_app::Chain(&error), "cannot read an editlog to its end");
            let _ = sender.blocking_send(Err(io::Error::other("the editlog cannot be read to its end")));
            return;
        }
        let _ = sender.blocking_send(Ok(text.into()));
    });
    Ok(answer)
}

/// Sends what is written to it to a client.
struct ChunkWriter(mpsc::Sender<io::Result<Chunk>>);

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone away");
        self.0.blocking_send(Ok(Chunk::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Change a cell.
#[utoipa::path(post, path = "/webapps/{project}/{webapp}/update", tag = "row API",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = UpdateBody, responses(
        (status = 200, description = "Changed", body = RowAnswerView),
        (status = 409, description = "The cell moved after the event in `seen`: see `yours` and `current`"),
        (status = 422, description = "A rule refuses it: see `rule`"),
    ))]
pub(crate) async fn update(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Body(body): Body<UpdateBody>,
) -> Answer<RowAnswerView> {
    let table = Table::open(&server, &signed, &project, &webapp).await?;
    let key = table.key(&body.primary_keys)?;
    let value = scalar(&body.value, &body.column)?;
    let change = Change::Update { key: key.key.to_string(), column: body.column, value, previous: None };
    table.edit(key, change, seen_of(body.seen), body.reason, body.event_id).await
}

/// Delete a row. The original keeps it.
#[utoipa::path(post, path = "/webapps/{project}/{webapp}/delete", tag = "row API",
    params(("project" = String, Path), ("webapp" = String, Path)), request_body = DeleteBody, responses(
        (status = 200, description = "Deleted", body = RowAnswerView),
        (status = 409, description = "The row moved after the event in `seen`: see `current`"),
        (status = 422, description = "A rule refuses it: see `rule`"),
    ))]
pub(crate) async fn delete(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp)): Path<(String, String)>,
    Body(body): Body<DeleteBody>,
) -> Answer<RowAnswerView> {
    let table = Table::open(&server, &signed, &project, &webapp).await?;
    let key = table.key(&body.primary_keys)?;
    let change = Change::Delete { key: key.key.to_string() };
    table.edit(key, change, seen_of(body.seen), body.reason, body.event_id).await
}

/// The label of a row of a linked dataset, as plain text.
#[utoipa::path(get, path = "/webapps/{project}/{webapp}/label/{linked_dataset}", tag = "row API",
    params(("project" = String, Path), ("webapp" = String, Path), ("linked_dataset" = String, Path), LabelQuery),
    responses((status = 200, description = "The label", content_type = "text/plain", body = String)))]
pub(crate) async fn label(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp, linked)): Path<(String, String, String)>,
    Query(query): Query<LabelQuery>,
) -> Result<String, Problem> {
    let found = server.app.link_label(&signed.actor, &project, &webapp, &linked, &query.key).await?;
    let found = found.ok_or_else(|| Problem::not_found(&format!("row `{}` in `{linked}`", query.key)))?;
    Ok(found.label.unwrap_or_default())
}

/// Rows of a linked dataset that match a term: label, value, and the lookup columns by name.
#[utoipa::path(get, path = "/webapps/{project}/{webapp}/lookup/{linked_dataset}", tag = "row API",
    params(("project" = String, Path), ("webapp" = String, Path), ("linked_dataset" = String, Path), LookupQuery),
    responses((status = 200, description = "The rows, best first", body = Vec<Object>)))]
pub(crate) async fn lookup(
    State(server): Shared,
    Anybody(signed): Anybody,
    Path((project, webapp, linked)): Path<(String, String, String)>,
    Query(query): Query<LookupQuery>,
) -> Answer<Vec<Map<String, Value>>> {
    let table = Table::open(&server, &signed, &project, &webapp).await?;
    let (column, lookups) = table
        .description
        .webapp
        .editable_columns()
        .find_map(|column| {
            let link = column.link.as_ref().filter(|link| link.dataset.as_str() == linked)?;
            Some((column.name.as_str(), link.lookups.as_slice()))
        })
        .ok_or_else(|| Problem::not_found(&format!("linked dataset `{linked}` in this table")))?;
    let found = server.app.link_options(&signed.actor, &project, &webapp, column, &query.term, query.limit).await?;
    let rows = found
        .options
        .into_iter()
        .map(|option| {
            // The two names that every script knows win over a lookup column of the same name.
            let mut row: Map<String, Value> =
                lookups.iter().cloned().zip(option.label.lookups.into_iter().map(Value::from)).collect();
            row.insert("value".to_owned(), Value::String(option.value));
            row.insert("label".to_owned(), option.label.label.into());
            row
        })
        .collect();
    Ok(Json(rows))
}

/// A table that a script works on.
struct Table<'a> {
    server: &'a Server,
    signed: &'a Signed,
    project: &'a str,
    webapp: &'a str,
    description: stet_app::webapp::Description,
}

impl<'a> Table<'a> {
    async fn open(
        server: &'a Server,
        signed: &'a Signed,
        project: &'a str,
        webapp: &'a str,
    ) -> Result<Table<'a>, Problem> {
        let description = server.app.describe_webapp(&signed.actor, project, webapp).await?;
        Ok(Table { server, signed, project, webapp, description })
    }

    fn key(&self, raw: &serde_json::value::RawValue) -> Result<RowKey, Problem> {
        RowKey::read(&self.description.webapp.keys, raw)
    }

    fn columns(&self) -> impl Iterator<Item = &str> {
        self.description.webapp.columns.iter().map(|column| column.name.as_str())
    }

    async fn edit(
        &self,
        key: RowKey,
        change: Change,
        seen: Seen,
        reason: Option<String>,
        event_id: Option<Uuid>,
    ) -> Answer<RowAnswerView> {
        let unsaid = seen == Seen::Unsaid;
        let (done, of_row) = match &change {
            Change::Create { .. } => ("added", false),
            Change::Delete { .. } => ("deleted", true),
            _ => ("changed", true),
        };
        let request = EditRequest {
            batch_id: None,
            source: Source::Api,
            reason,
            signature: None,
            atomic: false,
            edits: vec![Edit { event_id: event_id.map(ClientEventId), change, seen, seen_row: None }],
        };
        let answer = self.server.app.edit(&self.signed.actor, self.project, self.webapp, request).await?;
        let result = answer.results.into_iter().next().ok_or_else(Problem::internal)?;
        self.server.metrics.edits(Source::Api.as_str(), status(&result), 1);
        let row = answer.rows.into_iter().find(|row| row.key == key.key.as_str());
        let (msg, event) = match result {
            EditResult::Saved { event, .. } => (format!("the row was {done}"), Some(event.0)),
            EditResult::Unchanged { .. } => ("the cell had this value already".to_owned(), None),
            EditResult::Refused { refusal, .. } if refusal.rule == "key" && of_row && row.is_none() => {
                return Err(no_row(&key));
            }
            EditResult::Refused { refusal, value } => {
                return Err(Problem::refused(refusal.message).with("rule", refusal.rule).with("value", value));
            }
            // Nobody said what they had seen, so there is nothing that this could be a conflict with.
            EditResult::Conflict { current, .. } if of_row && unsaid && current.action == Action::Delete => {
                return Err(no_row(&key));
            }
            EditResult::Conflict { yours, current } => {
                let message = conflict_message(&current);
                let current = json!({
                    "value": current.value,
                    "event": current.event.0,
                    "user": current.user.as_str(),
                    "date": current.date.to_string(),
                    "action": current.action.as_str(),
                });
                return Err(Problem::conflict(message).with("yours", yours).with("current", current));
            }
            EditResult::Skipped => return Err(Problem::conflict("nothing was saved: try again")),
        };
        Ok(Json(RowAnswerView {
            msg,
            status: if event.is_some() { "saved" } else { "unchanged" },
            event,
            primary_keys: key.parts,
            row: row.map(|row| self.cells(row)),
        }))
    }

    fn cells(&self, row: Row) -> BTreeMap<String, Option<String>> {
        self.columns().map(str::to_owned).zip(row.cells).collect()
    }
}

fn no_row(key: &RowKey) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("there is no row with the key `{}`", key.key))
}

fn push_event(text: &mut String, event: &Event) {
    // What Stet makes itself needs neither quotes nor defusing.
    text.push_str(&event.date.to_string());
    text.push(',');
    push_field(text, Some(event.user.as_str()));
    text.push(',');
    text.push_str(event.action.as_str());
    text.push(',');
    push_field(text, Some(event.key.as_str()));
    text.push(',');
    push_field(text, event.column_name.as_deref());
    text.push(',');
    push_field(text, event.value.as_deref());
    text.push(',');
    text.push_str(&event.id.to_string());
    text.push(',');
    push_field(text, event.previous.as_deref());
    text.push(',');
    text.push_str(&event.batch_id.to_string());
    text.push(',');
    text.push_str(event.source.as_str());
    text.push(',');
    push_field(text, event.reason.as_deref());
    text.push(',');
    text.push_str(&event.event_id.0.to_string());
    text.push_str("\r\n");
}
