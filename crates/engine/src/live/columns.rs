//! The columns of a live table: those of the original, and those that the webapp adds.

use std::sync::Arc;

use arrow_schema::DataType;
use stet_domain::ColumnType;
use stet_domain::apply::EditableColumn;

use super::link::LinkIndex;
use crate::cell::arrow_type_of;
use crate::error::EngineError;
use crate::read::near_name;
use crate::snapshot::Snapshot;

/// What a live table shows and lets people edit.
#[derive(Debug, Clone, Default)]
pub struct TableSpec {
    /// The webapp's name, for messages.
    pub name: String,
    /// The columns to show, in order; none for all: keys first, then as in the original, then the added ones.
    pub columns: Option<Vec<String>>,
    /// The editable columns, shown or not.
    pub editable: Vec<EditableSpec>,
}

/// An editable column of a live table.
#[derive(Debug, Clone)]
pub struct EditableSpec {
    /// The column's name.
    pub name: String,
    /// The type of a column that the original does not have. The original's own type wins over it.
    pub column_type: Option<ColumnType>,
    /// The linked dataset whose keys the values are.
    pub link: Option<Arc<LinkIndex>>,
}

/// A column as a live table has it.
#[derive(Debug, Clone)]
pub struct LiveColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub column_type: ColumnType,
    /// Whether people may edit it.
    pub editable: bool,
    /// Its place in the key; none for other columns.
    pub key: Option<usize>,
    /// Its place in the original; none for a column that the webapp adds.
    pub original: Option<usize>,
    /// The linked dataset whose keys the values are.
    pub link: Option<Arc<LinkIndex>>,
    pub(super) data_type: DataType,
}

/// All columns that a table knows: the shown ones, in order, and then those that are only edited or only part of the key.
#[derive(Debug)]
pub(super) struct Columns {
    pub all: Vec<LiveColumn>,
    pub shown: usize,
    /// As the domain's apply wants them.
    pub editable: Vec<EditableColumn>,
    /// For each editable column its place in `all`.
    pub editable_places: Vec<usize>,
    /// For each key column its place in `all`.
    pub key_places: Vec<usize>,
}

impl Columns {
    pub fn new(snapshot: &Snapshot, spec: &TableSpec) -> Result<Columns, EngineError> {
        let error = |message: String| EngineError::Schema { dataset: spec.name.clone(), message };
        let originals = snapshot.columns();
        let place_in_original = |name: &str| originals.iter().position(|column| column.name == name);
        let key_names: Vec<&str> = snapshot.key().iter().map(|place| originals[*place].name.as_str()).collect();

        let mut names: Vec<String> = match &spec.columns {
            Some(columns) => columns.clone(),
            None => {
                let others = originals.iter().map(|column| column.name.as_str());
                let others = others.filter(|name| !key_names.contains(name));
                let added = spec.editable.iter().map(|column| column.name.as_str());
                let added = added.filter(|name| place_in_original(name).is_none());
                key_names.iter().copied().chain(others).chain(added).map(str::to_owned).collect()
            }
        };
        let shown = names.len();
        for name in spec.editable.iter().map(|column| column.name.as_str()).chain(key_names.iter().copied()) {
            if !names.iter().any(|other| other == name) {
                names.push(name.to_owned());
            }
        }

        let mut all = Vec::with_capacity(names.len());
        for name in &names {
            if all.iter().any(|column: &LiveColumn| column.name == *name) {
                return Err(error(format!("column `{name}` is listed twice")));
            }
            let original = place_in_original(name);
            let editable = spec.editable.iter().find(|column| column.name == *name);
            let (column_type, data_type) = match (original, editable.map(|editable| editable.column_type)) {
                (Some(place), _) => (originals[place].column_type, snapshot.schema().field(place).data_type().clone()),
                (None, Some(Some(column_type))) => (column_type, arrow_type_of(column_type)),
                (None, Some(None)) => {
                    return Err(error(format!(
                        "the original has no column `{name}`: give the editable column a type, and the webapp adds it"
                    )));
                }
                (None, None) => {
                    let candidates: Vec<String> = originals.iter().map(|column| column.name.clone()).collect();
                    let near =
                        near_name(name, &candidates).map(|near| format!("; it has `{near}`")).unwrap_or_default();
                    return Err(error(format!("the original has no column `{name}`{near}")));
                }
            };
            all.push(LiveColumn {
                name: name.clone(),
                column_type,
                editable: editable.is_some(),
                key: key_names.iter().position(|key| key == name),
                original,
                link: editable.and_then(|editable| editable.link.clone()),
                data_type,
            });
        }
        let place = |name: &str| all.iter().position(|column| column.name == name);
        let editable_places: Vec<usize> = spec.editable.iter().filter_map(|column| place(&column.name)).collect();
        let editable = editable_places
            .iter()
            .map(|place| EditableColumn { name: all[*place].name.clone(), column_type: all[*place].column_type })
            .collect();
        let key_places = key_names.iter().filter_map(|name| place(name)).collect();
        Ok(Columns { shown, editable, editable_places, key_places, all })
    }

    pub fn shown(&self) -> &[LiveColumn] {
        &self.all[..self.shown]
    }

    /// The place of a shown column that a request names.
    pub fn requested(&self, name: &str) -> Result<usize, EngineError> {
        self.shown().iter().position(|column| column.name == name).ok_or_else(|| {
            let names: Vec<String> = self.shown().iter().map(|column| column.name.clone()).collect();
            let near = near_name(name, &names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            EngineError::Request(format!("this table has no column `{name}`{near}"))
        })
    }
}
