//! Builds: the recipes that Stet itself knows, run over whole datasets.
//!
//! Each build reads streams, keeps a bounded part of them in memory, and writes one file that appears when it is whole.
//! The same inputs and the same position of the log give the same bytes.

mod apply;
mod export;
mod keys;
mod replay;
mod spill;

use stet_domain::apply::{EditableColumn, REPORT_ITEMS_MAX, ReportItem, ReportList};
use stet_domain::project::{Column, Webapp};
use stet_domain::{ColumnType, apply as rules};

pub use apply::{ApplyBuild, ApplyTask, RebuildTask, apply, apply_row_by_row, apply_spilled, edited_columns, rebuild};
pub use export::{ExportedEvent, export, export_file, write_events};
pub use keys::{KEYS_LISTED_MAX, check_keys};
pub use replay::{OriginalColumns, ReplayBuild, ReplayReport, ReplayTask, pivoted_schema, replay, replay_spilled};
pub use spill::{LogSpiller, PARTS_MAX, SpilledLog};

/// The columns that a webapp lets people edit, with the types that they have in the original now; a column that the
/// original lacks has the type that the webapp gives it.
pub fn editable_columns(original: &[Column], webapp: &Webapp) -> Vec<EditableColumn> {
    webapp
        .editable
        .iter()
        .map(|editable| EditableColumn {
            name: editable.column.clone(),
            column_type: original
                .iter()
                .find(|column| column.name == editable.column)
                .map(|column| column.column_type)
                .or(editable.column_type)
                .unwrap_or(ColumnType::Text),
        })
        .collect()
}

/// Adds to a list of a report as the rules of apply do: all are counted, the first ones are listed.
fn list(report: &mut ReportList, item: ReportItem) {
    report.count += 1;
    if report.items.len() < REPORT_ITEMS_MAX {
        report.items.push(item);
    }
}

/// Says why a value is a misfit, in the words of [`rules::Apply`].
fn misfit_reason(column_type: ColumnType) -> String {
    format!("the column now holds {}", column_type.description())
}

/// The standing of an override, for taking it out of the account again.
fn uncount(report: &mut rules::ApplyReport, standing: rules::Standing) {
    report.edits_applied -= 1;
    match standing {
        rules::Standing::Needed => report.stale.needed -= 1,
        rules::Standing::Agrees => report.stale.agrees -= 1,
        rules::Standing::SourceChanged => report.stale.source_changed -= 1,
    }
}
