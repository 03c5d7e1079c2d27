//! How the log of a table is sealed.

use serde::Serialize;
use stet_app::{SealState, VerificationOutcome, VerificationStatus};
use utoipa::ToSchema;

use super::status::PushStatusView;

/// How the log of a table is sealed, and where that is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SealView {
    /// How many events it has.
    events: u64,
    /// How many of them the last checkpoint covers.
    sealed: u64,
    /// The root hash of the last checkpoint, in base64; null if there is none.
    root: Option<String>,
    /// The date of the last event that it covers.
    sealed_up_to: Option<String>,
    /// How it stands at each place that it is pushed to. Paths and reasons are for administrators of the node.
    pushes: Vec<PushStatusView>,
    /// What is wrong with its protection, in words.
    protection: Vec<String>,
    /// Why its sealing is behind; null if it is not.
    alarm: Option<String>,
    /// Whether this user may have it verified.
    may_verify: bool,
    /// The last verification since the node started.
    verification: Option<VerificationView>,
}

/// A verification of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerificationView {
    started_by: String,
    started_at: String,
    /// Null while it runs.
    ended_at: Option<String>,
    /// How many events were looked at.
    done: u64,
    /// How many there are.
    all: u64,
    /// `running`, `whole`, `not_whole`, `incomplete`, `cancelled` or `failed`.
    state: &'static str,
    /// What is wrong and where, or what else is to be said.
    told: Vec<String>,
}

impl From<SealState> for SealView {
    fn from(state: SealState) -> SealView {
        SealView {
            events: state.events,
            sealed: state.sealed,
            root: state.root,
            sealed_up_to: state.sealed_up_to.map(|date| date.to_string()),
            pushes: state.pushes.into_iter().map(PushStatusView::from).collect(),
            protection: state.protection,
            alarm: state.alarm,
            may_verify: state.may_verify,
            verification: state.verification.map(VerificationView::from),
        }
    }
}

impl From<VerificationStatus> for VerificationView {
    fn from(status: VerificationStatus) -> VerificationView {
        let (state, told) = match status.outcome {
            None => ("running", Vec::new()),
            Some(VerificationOutcome::Whole { told }) => ("whole", told),
            Some(VerificationOutcome::NotWhole { told }) => ("not_whole", told),
            Some(VerificationOutcome::Incomplete { told }) => ("incomplete", told),
            Some(VerificationOutcome::Cancelled) => ("cancelled", Vec::new()),
            Some(VerificationOutcome::Failed { reason }) => ("failed", vec![reason]),
        };
        VerificationView {
            started_by: status.started_by,
            started_at: status.started_at.to_string(),
            ended_at: status.ended_at.map(|date| date.to_string()),
            done: status.done,
            all: status.all,
            state,
            told,
        }
    }
}
