//! How far what somebody waits for is.

use serde::Serialize;
use stet_app::webapp::{Step, WaitProgress};
use utoipa::ToSchema;

/// How far the rows or groups are that a request waits for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitView {
    step: StepView,
    /// To how many rows it is done; null when nothing is done to rows, and for somebody who is not to know how many there are.
    rows: Option<usize>,
    /// How much of all the work is done, all steps together: 0 to 100.
    percent: u8,
}

/// What is done to the rows at present: nothing, for no request waits here by this name or its rows are there already; nothing
/// yet, as others' rows of the same table are worked out first; they are filtered; sorted; counted by groups.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepView {
    None,
    Queued,
    Filtering,
    Sorting,
    Grouping,
}

impl From<Option<WaitProgress>> for WaitView {
    fn from(progress: Option<WaitProgress>) -> WaitView {
        let Some(WaitProgress { step, rows, percent }) = progress else {
            return WaitView { step: StepView::None, rows: None, percent: 0 };
        };
        let step = match step {
            Step::Queued => StepView::Queued,
            Step::Filtering => StepView::Filtering,
            Step::Sorting => StepView::Sorting,
            Step::Grouping => StepView::Grouping,
        };
        WaitView { step, rows, percent }
    }
}
