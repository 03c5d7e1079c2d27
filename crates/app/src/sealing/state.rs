//! How the log of a table stands, for the page of its edits, and verifying it from there.
//!
//! A verification reads the whole log: one at a time for each log, a few on a node, and whoever may start one may stop it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stet_domain::access::{Permission, Use};
use stet_domain::project::Project;
use stet_domain::{Actor, DatasetName, LogDate, ProjectKey};
use stet_editlog::{Checkpoint, time};

use super::{Evidence, PushStatus, Unreached};
use crate::App;
use crate::access::not_allowed;
use crate::datasets::blocking;
use crate::error::{AppError, Chain};

/// The most verifications at a time on a node.
pub const VERIFICATIONS_MAX: usize = 2;

/// The most lines of a verdict.
const VERDICT_LINES_MAX: usize = 20;

/// What it takes to verify a log: a reader of a table does not set the node to work.
const VERIFIERS: [Permission; 3] = [Permission::ReadContent, Permission::WriteContent, Permission::Approve];

/// How the log of a table is sealed, and where that is known.
#[derive(Debug, Clone)]
pub struct SealState {
    /// How many events it has; 0 for a log that nobody began.
    pub events: u64,
    /// How many of them the last checkpoint covers.
    pub sealed: u64,
    /// The root hash of the last checkpoint; none if there is none.
    pub root: Option<String>,
    /// The date of the last event that it covers.
    pub sealed_up_to: Option<LogDate>,
    /// How it stands at each place that it is pushed to. Only administrators of the node are told paths and reasons.
    pub pushes: Vec<PushStatus>,
    /// What is wrong with its protection.
    pub protection: Vec<String>,
    /// Why its sealing is behind.
    pub alarm: Option<String>,
    /// Whether the actor may verify it.
    pub may_verify: bool,
    /// The last verification since the node started.
    pub verification: Option<VerificationStatus>,
}

/// A verification that was started from the page of edits.
#[derive(Debug, Clone)]
pub struct VerificationStatus {
    /// Who started it.
    pub started_by: String,
    /// When.
    pub started_at: LogDate,
    /// When it ended; none while it runs.
    pub ended_at: Option<LogDate>,
    /// How many events were looked at.
    pub done: u64,
    /// How many there are.
    pub all: u64,
    /// What came out; none while it runs.
    pub outcome: Option<VerificationOutcome>,
}

/// What came out of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerificationOutcome {
    /// The log is as it was sealed.
    Whole {
        /// What else is to be said, such as who cosigned.
        told: Vec<String>,
    },
    /// Something is wrong: what, and where.
    NotWhole {
        /// At most 20 lines.
        told: Vec<String>,
    },
    /// As far as could be told it is as it was sealed; some of the places outside did not answer.
    Incomplete {
        /// How many, and what else is to be said.
        told: Vec<String>,
    },
    /// Somebody stopped it.
    Cancelled,
    /// It could not be carried through.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The verifications of the node, the last one of each log.
#[derive(Default)]
pub(crate) struct Verifications(Mutex<BTreeMap<(ProjectKey, DatasetName), Verification>>);

#[derive(Clone)]
struct Verification {
    status: VerificationStatus,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    done: AtomicU64,
    all: AtomicU64,
    cancelled: AtomicBool,
}

impl Verifications {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(ProjectKey, DatasetName), Verification>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, name: &(ProjectKey, DatasetName)) -> Option<VerificationStatus> {
        let found = self.all().get(name).cloned()?;
        let (done, all) = (found.running.done.load(Ordering::Relaxed), found.running.all.load(Ordering::Relaxed));
        Some(VerificationStatus { done, all, ..found.status })
    }
}

impl App {
    /// How the log of a table stands.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use, or the log cannot be read.
    pub async fn seal_state(&self, actor: &Actor, project: &str, webapp: &str) -> Result<SealState, AppError> {
        let (project, original) = self.log_of(actor, project, webapp)?;
        let name = (project.key.clone(), original.clone());
        let origin = self.sealing(&project.key).origin(&original);
        let told_all = actor.may_administer_node();
        let mut pushes = self.push_statuses(&origin);
        if !told_all {
            for push in &mut pushes {
                if push.kind != "witness" {
                    push.place = if push.kind == "s3" { "a bucket" } else { "a folder" }.to_owned();
                }
                if push.failure.is_some() {
                    push.failure = Some("an administrator finds the reason on the status page".to_owned());
                }
            }
        }
        let guarded = self.editlog_statuses();
        let guarded = guarded.into_iter().find(|status| (&status.project, &status.original) == (&name.0, &name.1));
        let (protection, alarm) = guarded.map_or((Vec::new(), None), |status| (status.protection, status.alarm));
        let may_verify = self.permissions(actor, &project).has_any(&VERIFIERS);
        let app = self.clone();
        let (events, checkpoint, date) = blocking(move || app.last_sealed(&project, &original)).await?;
        Ok(SealState {
            events,
            sealed: checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size),
            root: checkpoint.map(|checkpoint| checkpoint.root.to_string()),
            sealed_up_to: date,
            pushes,
            protection: if told_all || protection.is_empty() {
                protection
            } else {
                vec![TOLD_ADMINISTRATORS.to_owned()]
            },
            alarm: if told_all { alarm } else { alarm.map(|_| TOLD_ADMINISTRATORS.to_owned()) },
            may_verify,
            verification: self.inner.verifications.of(&name),
        })
    }

    /// Starts the verification of the log of a table, in the background.
    ///
    /// # Errors
    /// When the actor may not, one of this log is under way, or there are too many.
    pub async fn start_verification(&self, actor: &Actor, project: &str, webapp: &str) -> Result<(), AppError> {
        let (project, original) = self.verifiable(actor, project, webapp)?;
        let name = (project.key.clone(), original.clone());
        let running = Arc::new(Running::default());
        {
            let mut all = self.inner.verifications.all();
            let under_way = |verification: &Verification| verification.status.outcome.is_none();
            if all.get(&name).is_some_and(under_way) {
                return Err(AppError::Conflict("this log is being verified already".to_owned()));
            }
            if all.values().filter(|verification| under_way(verification)).count() >= VERIFICATIONS_MAX {
                return Err(AppError::Unavailable(format!(
                    "{VERIFICATIONS_MAX} logs are being verified already: try again when one of them is done"
                )));
            }
            let status = VerificationStatus {
                started_by: actor.login.to_string(),
                started_at: self.inner.clock.now(),
                ended_at: None,
                done: 0,
                all: 0,
                outcome: None,
            };
            all.insert(name.clone(), Verification { status, running: running.clone() });
        }
        let (app, actor) = (self.clone(), actor.clone());
        tokio::spawn(async move {
            let (at, of) = (app.clone(), actor.clone());
            let (key, dataset) = (name.0.to_string(), name.1.to_string());
            let verified = blocking(move || {
                at.verify_editlog(&of, &key, &dataset, Evidence::default(), &mut |done, all| {
                    running.done.store(done, Ordering::Relaxed);
                    running.all.store(all, Ordering::Relaxed);
                    if running.cancelled.load(Ordering::Relaxed) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
            });
            let verified = verified.await;
            let unreached = verified.as_ref().map_or(Vec::new(), |found| found.unreached.clone());
            let outcome = app.outcome_of(verified);
            app.end_verification(&actor, &name, outcome, &unreached).await;
        });
        Ok(())
    }

    /// Stops the verification of the log of a table, if one is under way.
    ///
    /// # Errors
    /// When the actor may not.
    pub async fn cancel_verification(&self, actor: &Actor, project: &str, webapp: &str) -> Result<(), AppError> {
        let (project, original) = self.verifiable(actor, project, webapp)?;
        if let Some(verification) = self.inner.verifications.all().get(&(project.key.clone(), original)) {
            verification.running.cancelled.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn outcome_of(&self, verified: Result<super::EditlogVerification, AppError>) -> VerificationOutcome {
        let found = match verified {
            Ok(found) => found,
            Err(AppError::Cancelled) => return VerificationOutcome::Cancelled,
            Err(error) => return VerificationOutcome::Failed { reason: error.to_string() },
        };
        let report = found.report;
        let mut told: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        told.extend(found.protection.map(|problem| format!("UNPROTECTED: {problem}")));
        let whole = told.is_empty() && report.more == 0;
        let complete = found.unreached.is_empty();
        let beyond = told.len().saturating_sub(VERDICT_LINES_MAX) as u64 + report.more;
        told.truncate(VERDICT_LINES_MAX);
        if beyond > 0 {
            told.push(format!("and {beyond} more: `stet editlog verify` lists them"));
        }
        if !complete {
            // Where the places are is for administrators.
            told.push(format!(
                "NOT COMPARED with {} of the places that it is kept in: the audit trail tells which, and why",
                found.unreached.len()
            ));
        }
        told.extend(report.cosigned.iter().map(ToString::to_string));
        told.extend(report.unsealed.map(|unsealed| unsealed.to_string()));
        if found.outside.is_empty() && complete {
            told.push(
                "compared with nothing kept elsewhere: whoever owns the node and its key could have sealed another history"
                    .to_owned(),
            );
        }
        match (whole, complete) {
            (true, true) => VerificationOutcome::Whole { told },
            (true, false) => VerificationOutcome::Incomplete { told },
            (false, _) => VerificationOutcome::NotWhole { told },
        }
    }

    async fn end_verification(
        &self,
        actor: &Actor,
        name: &(ProjectKey, DatasetName),
        outcome: VerificationOutcome,
        unreached: &[Unreached],
    ) {
        use stet_store::node::AuditOutcome;
        let (audit, detail) = match &outcome {
            VerificationOutcome::Whole { .. } => (AuditOutcome::Done, "it is whole".to_owned()),
            VerificationOutcome::NotWhole { told } => (AuditOutcome::Failed, told.join("; ")),
            VerificationOutcome::Incomplete { .. } => {
                (AuditOutcome::Failed, "it is whole as far as it could be compared".to_owned())
            }
            VerificationOutcome::Cancelled => (AuditOutcome::Done, "cancelled".to_owned()),
            VerificationOutcome::Failed { reason } => (AuditOutcome::Failed, reason.clone()),
        };
        let places = unreached.iter().map(|unreached| format!("; {unreached}"));
        let detail = places.fold(detail, |detail, place| detail + &place);
        let entry = self.entry(actor, "editlog.verify", format!("editlog {}.{}", name.0, name.1), detail);
        if let Err(error) = self.note(stet_store::node::NewAuditEvent { outcome: audit, ..entry }).await {
            tracing::error!(error = %Chain(&error), "a verification could not be noted");
        }
        if let Some(verification) = self.inner.verifications.all().get_mut(name) {
            verification.status.outcome = Some(outcome);
            verification.status.ended_at = Some(self.inner.clock.now());
        }
    }

    /// The project and the original whose log is that of a table.
    fn log_of(&self, actor: &Actor, project: &str, webapp: &str) -> Result<(Arc<Project>, DatasetName), AppError> {
        let project = self.authorise_webapp(actor, project, webapp, Use::View)?;
        let found = project.webapps.values().find(|found| found.name.as_str() == webapp);
        let original = found.map(|found| found.original.clone());
        let original = original.ok_or_else(|| AppError::not_found(format!("webapp `{webapp}`")))?;
        Ok((project, original))
    }

    fn verifiable(&self, actor: &Actor, project: &str, webapp: &str) -> Result<(Arc<Project>, DatasetName), AppError> {
        let (project, original) = self.log_of(actor, project, webapp)?;
        if self.permissions(actor, &project).has_any(&VERIFIERS) {
            return Ok((project, original));
        }
        Err(not_allowed(
            "you may look at this log, and not have it verified: whoever may look at the project's content may",
        ))
    }

    /// How many events a log has, its last checkpoint, and the date of the last event that this covers.
    fn last_sealed(
        &self,
        project: &Project,
        original: &DatasetName,
    ) -> Result<(u64, Option<Checkpoint>, Option<LogDate>), AppError> {
        let place = self.editlog_place(project, original)?;
        if !place.is_initialised(original)? {
            return Ok((0, None, None));
        }
        let log = place.sealed(original)?;
        let checkpoint = log.checkpoints(1)?.first().and_then(|note| Checkpoint::peek(note).ok());
        let last = checkpoint.as_ref().map_or(Ok(None), |checkpoint| log.event(checkpoint.size))?;
        let date = last.filter(|event| time::format(event.date_micros).is_some());
        Ok((log.last_event()?, checkpoint, date.map(|event| LogDate::from_micros(event.date_micros))))
    }
}

const TOLD_ADMINISTRATORS: &str = "something is not as it should be: administrators find what on the status page";
