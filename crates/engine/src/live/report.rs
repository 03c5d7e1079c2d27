//! The account of a live table's overrides.

use stet_domain::apply::{Apply, ApplyReport, REPORT_ITEMS_MAX, ReportItem, Standing, fit, standing};
use stet_domain::replay::RowState;

use super::LiveTable;
use super::state::{InForce, View, in_force, key_values};

impl LiveTable {
    /// The account of all overrides, as the apply recipe gives it at this position of the log.
    pub fn report(&self) -> ApplyReport {
        let state = self.read();
        let view = self.view(&state);
        let mut apply = Apply::new(&state.replay, &self.columns.editable);
        let mut narrow: Vec<(Standing, ReportItem)> = Vec::new();
        let mut lost: Vec<ReportItem> = Vec::new();
        for (key, row) in state.replay.rows() {
            match self.snapshot.find(key) {
                Some(number) => {
                    apply.original_row(key, row, |place| {
                        view.original_text(number, self.columns.editable_places[place])
                    });
                    if !row.deleted {
                        narrow_misfits(view, key, row, Some(number), &mut narrow);
                    }
                }
                None if row.is_created() && key_values(&self.columns, key).is_none() => lost.push(ReportItem {
                    event: row.created.unwrap_or(row.last_event),
                    key: key.to_owned(),
                    column: None,
                    value: None,
                    reason: "the created row's key does not fit the key columns of the original".to_owned(),
                }),
                None if row.is_created() => {
                    apply.created_row(key, row);
                    narrow_misfits(view, key, row, None, &mut narrow);
                }
                None => apply.missing_row(key, row),
            }
        }
        let mut report = apply.finish();
        report.rows_in = self.snapshot.rows() as u64;
        report.rows_out = state.rows_shown(&self.snapshot) as u64;
        for (standing, _) in &narrow {
            report.edits_applied -= 1;
            match standing {
                Standing::Needed => report.stale.needed -= 1,
                Standing::Agrees => report.stale.agrees -= 1,
                Standing::SourceChanged => report.stale.source_changed -= 1,
            }
        }
        for item in narrow.into_iter().map(|(_, item)| item).chain(lost) {
            report.misfits.count += 1;
            if report.misfits.items.len() < REPORT_ITEMS_MAX {
                report.misfits.items.push(item);
            }
        }
        for list in [&mut report.orphans, &mut report.misfits, &mut report.not_editable] {
            list.sort();
        }
        report
    }
}

/// The overrides that are of the column's type, but that its exact type cannot hold: the rules of apply, which know no
/// exact types, have counted them as applied.
fn narrow_misfits(
    view: View<'_>,
    key: &str,
    row: RowState<'_>,
    number: Option<u32>,
    narrow: &mut Vec<(Standing, ReportItem)>,
) {
    for (column, cell, overriding) in row.overrides() {
        let name = view.state.replay.column_name(column);
        let Some(place) = view.columns.editable_places.iter().find(|place| view.columns.all[**place].name == name)
        else {
            continue;
        };
        let column = &view.columns.all[*place];
        let original = || number.and_then(|number| view.original_text(number, *place));
        if fit(overriding, column.column_type).is_none()
            || !matches!(in_force(column, overriding, original), InForce::Misfit)
        {
            continue;
        }
        let item = ReportItem {
            event: cell.event,
            key: key.to_owned(),
            column: Some(column.name.clone()),
            value: overriding.value.map(str::to_owned),
            reason: format!(
                "the column now holds {} ({} in the file)",
                column.column_type.description(),
                column.data_type
            ),
        };
        narrow.push((standing(overriding, original().as_deref()), item));
    }
}
