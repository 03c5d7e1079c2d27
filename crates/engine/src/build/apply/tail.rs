//! The rows that people created.

use arrow_array::RecordBatch;
use stet_domain::Value;
use stet_domain::apply::ReportItem;
use stet_domain::key::key_parts;
use stet_domain::replay::RowState;

use super::BATCH_ROWS;
use super::rows::{Editor, record_batch};
use crate::build::list;
use crate::cell::{Appender, stored};
use crate::error::EngineError;

impl Editor<'_> {
    /// The rows that stand by creation and are not in the original, in order of creation, with the columns of the output.
    /// It is called once, after all batches of the original.
    pub(super) fn created(&mut self) -> Result<Vec<RecordBatch>, EngineError> {
        let mut created: Vec<usize> = (0..self.index.len())
            .filter(|known| !self.matched[*known] && self.index.row(*known).1.is_created())
            .collect();
        created.sort_unstable_by_key(|known| self.index.row(*known).1.created);
        let mut batches = Vec::with_capacity(created.len() / BATCH_ROWS + 1);
        for part in created.chunks(BATCH_ROWS) {
            let rows: Vec<_> = part.iter().map(|known| self.index.row(*known)).collect();
            batches.push(self.created_batch(&rows)?);
        }
        Ok(batches)
    }

    /// The same for some of the rows.
    pub(super) fn created_batch(&mut self, rows: &[(&str, RowState<'_>)]) -> Result<RecordBatch, EngineError> {
        let fields = self.plan.schema.fields();
        let mut appenders: Vec<Appender> =
            fields.iter().map(|field| Appender::new(field.data_type(), rows.len())).collect();
        let mut written = 0;
        for (key, state) in rows {
            written += usize::from(self.append_created(key, *state, &mut appenders));
        }
        let columns: Result<Vec<_>, _> = appenders.iter_mut().map(Appender::finish).collect();
        record_batch(self.plan, columns?, written)
    }

    /// Appends a created row; false when its key is no key of the original by now.
    fn append_created(&mut self, key: &str, state: RowState<'_>, appenders: &mut [Appender]) -> bool {
        let Some(parts) = self.key_values(key) else {
            let item = ReportItem {
                event: state.created.unwrap_or(state.last_event),
                key: key.to_owned(),
                column: None,
                value: None,
                reason: "the created row's key does not fit the key columns of the original".into(),
            };
            list(&mut self.lost_rows, item);
            return false;
        };
        let cells = self.rules.created_row(key, state);
        let mut values: Vec<Option<Value>> = vec![None; appenders.len()];
        for (place, value) in self.keep_fitting(key, state, cells, |_| None) {
            values[self.plan.places[place]] = value;
        }
        for (place, part) in self.plan.keys.places.iter().zip(parts) {
            values[*place] = Some(part);
        }
        for (appender, value) in appenders.iter_mut().zip(values) {
            if !appender.append(value) {
                appender.append_null();
            }
        }
        true
    }

    fn key_values(&self, key: &str) -> Option<Vec<Value>> {
        let keys = &self.plan.keys;
        let parts = key_parts(key, keys.columns.len()).ok()?;
        parts
            .iter()
            .zip(&keys.columns)
            .zip(&keys.places)
            .map(|((part, column), place)| {
                let value = column.column_type.read(part).ok()?;
                stored(self.plan.schema.field(*place).data_type(), value)
            })
            .collect()
    }
}
