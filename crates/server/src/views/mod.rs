//! What travels: the wire types of the API. They live only here, so that the inside can change without the outside.
//!
//! A cell is always canonical text or null, never a JSON number: 64-bit integers survive every client.

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod build;
pub(crate) mod connection;
pub(crate) mod csv;
pub(crate) mod deploy;
pub(crate) mod deploy_token;
pub(crate) mod edit;
pub(crate) mod flow;
pub(crate) mod groups;
pub(crate) mod log;
pub(crate) mod passkey;
pub(crate) mod project;
pub(crate) mod row_api;
pub(crate) mod seal;
pub(crate) mod session;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod wait;

use serde::{Deserialize, Deserializer, Serialize};
use stet_domain::ColumnType;
use stet_domain::project::Column;
use utoipa::ToSchema;

/// What a column holds. A fixed-point number travels as `number`, a moment as `datetime` with its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TypeView {
    Text,
    Integer,
    Number,
    Boolean,
    Date,
    Datetime,
    Other,
}

impl From<ColumnType> for TypeView {
    fn from(column_type: ColumnType) -> TypeView {
        match column_type {
            ColumnType::Text => TypeView::Text,
            ColumnType::Integer => TypeView::Integer,
            ColumnType::Number | ColumnType::Decimal { .. } => TypeView::Number,
            ColumnType::Boolean => TypeView::Boolean,
            ColumnType::Date => TypeView::Date,
            ColumnType::DateTime | ColumnType::Instant => TypeView::Datetime,
            ColumnType::Other => TypeView::Other,
        }
    }
}

/// A column of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnTypeView {
    name: String,
    #[serde(rename = "type")]
    column_type: TypeView,
    /// Whether it belongs to the primary key.
    key: bool,
}

impl ColumnTypeView {
    pub(crate) fn new(column: &Column, keys: &[String]) -> ColumnTypeView {
        ColumnTypeView {
            name: column.name.clone(),
            column_type: column.column_type.into(),
            key: keys.contains(&column.name),
        }
    }
}

/// A failure, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemView {
    /// What kind of failure, such as `urn:stet:problem:conflict`.
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    /// One plain sentence to show.
    detail: String,
    /// The request, as it is named in the server's log.
    instance: Option<String>,
}

/// Tells a field that is null from one that is not there.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
