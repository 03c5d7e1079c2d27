//! Sending a bundle to another node. Nothing is left half: the other node keeps what arrives aside until it has read it from
//! end to end, and a bundle is known by its digest, so that sending it again, after whatever happened, changes nothing.

mod line;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stet_domain::{Actor, LogDate};
use uuid::Uuid;

use self::line::{Line, Reply};
use crate::App;
use crate::bundle::{BundleSummary, STET_VERSION};
use crate::config::NodeRole;
use crate::error::AppError;

/// How often a bundle is sent when the line breaks.
const ATTEMPTS: usize = 3;

/// How long to wait before the second attempt; twice that before the next.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// From which difference on the clocks of two nodes disagree, in seconds.
const CLOCKS_DIFFER_S: i64 = 30;

/// The most pushes that are remembered, and the most at a time.
const PUSHES_MAX: usize = 100;
const RUNNING_MAX: usize = 4;

/// Which node it is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswer {
    /// Its identity.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: NodeRole,
    /// Its version of Stet.
    pub stet: String,
    /// Its time.
    pub time: LogDate,
    /// How far its clock is ahead of the one of whoever asked, in seconds; negative when it is behind.
    #[serde(default)]
    pub clock_ahead_s: i64,
}

/// What to do beside sending the bundle.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Approvals to bring along, as `stet bundle approve` writes them.
    pub approvals: Vec<Vec<u8>>,
    /// Whether the target is asked to activate it.
    pub activate: bool,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushReport {
    /// The name of the node that answered.
    pub node: String,
    /// The bundle.
    pub digest: String,
    /// Whether it was there already, so that nothing was sent.
    pub was_there: bool,
    /// How many approvals it took.
    pub approvals: usize,
    /// Whether it activated the bundle.
    pub activated: bool,
    /// What should be known.
    pub warnings: Vec<String>,
}

/// How a push stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushState {
    /// It is under way.
    Running,
    /// It arrived.
    Done(PushReport),
    /// It did not, for this reason.
    Failed(String),
}

/// A push that was begun in the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Its identity, known to this process alone.
    pub id: Uuid,
    /// The project.
    pub project: String,
    /// The bundle.
    pub digest: String,
    /// The target.
    pub target: String,
    /// How much has been sent, in bytes.
    pub bytes_sent: u64,
    /// How large the bundle is.
    pub bytes: u64,
    /// How it stands.
    pub state: PushState,
}

/// The pushes of this process, newest last.
#[derive(Default)]
pub(crate) struct Pushes(Mutex<VecDeque<Push>>);

impl Pushes {
    fn change(&self, id: Uuid, change: impl FnOnce(&mut Push)) {
        let mut pushes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(push) = pushes.iter_mut().find(|push| push.id == id) {
            change(push);
        }
    }

    /// Takes a place for a push. The one that is under way for the same bundle and target counts instead, if there is one.
    fn enter(&self, push: Push) -> Result<(Push, bool), AppError> {
        let mut pushes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |push: &&Push| push.state == PushState::Running;
        let same = |other: &&Push| other.digest == push.digest && other.target == push.target;
        if let Some(found) = pushes.iter().filter(running).find(same) {
            return Ok((found.clone(), false));
        }
        if pushes.iter().filter(running).count() >= RUNNING_MAX {
            return Err(AppError::Conflict(format!(
                "{RUNNING_MAX} bundles are being sent already: wait for one to arrive"
            )));
        }
        while pushes.len() >= PUSHES_MAX {
            let Some(oldest) = pushes.iter().position(|push| push.state != PushState::Running) else { break };
            pushes.remove(oldest);
        }
        pushes.push_back(push.clone());
        Ok((push, true))
    }
}

impl App {
    /// Sends a bundle of this node to a target and waits for its answer. `progress` is told how many bytes have been sent.
    ///
    /// # Errors
    /// When the actor may not; `Refused` with what the target says; `Unavailable` when it cannot be reached.
    pub async fn push_bundle(
        &self,
        actor: &Actor,
        digest: &str,
        target: &str,
        options: &PushOptions,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<PushReport, AppError> {
        let bundle = self.bundle(actor, digest).await?;
        self.require_pusher(actor, bundle.record.project.as_str())?;
        let result = self.carry_over(&bundle, target, options, Arc::new(progress)).await;
        let (key, digest) = (&bundle.record.project, Some(bundle.record.digest.as_str()));
        match &result {
            Ok(report) => {
                let how = if report.was_there { "was there already" } else { "arrived" };
                let activated = if report.activated { ", and was activated there" } else { "" };
                let text = format!("bundle {} {how} on {}{activated}", bundle.record.sequence, report.node);
                self.note_deploy(Some(actor), key, digest, "pushed", text).await?;
            }
            Err(AppError::NotFound { .. }) => {}
            Err(error) => {
                let text = format!("to {target}: {error}");
                self.note_deploy(Some(actor), key, digest, "push_failed", text).await?;
            }
        }
        result
    }

    /// Begins to send a bundle; the answer is in [`App::push_state`]. One that is under way is not begun twice.
    ///
    /// # Errors
    /// When the actor may not, there is no such bundle or target, or too many are under way.
    pub async fn start_push(
        &self,
        actor: &Actor,
        digest: &str,
        target: &str,
        activate: bool,
    ) -> Result<Push, AppError> {
        let bundle = self.bundle(actor, digest).await?;
        self.require_pusher(actor, bundle.record.project.as_str())?;
        self.target(target).await?;
        let (push, is_new) = self.inner.bundle_pushes.enter(Push {
            id: Uuid::now_v7(),
            project: bundle.record.project.to_string(),
            digest: bundle.record.digest.clone(),
            target: target.to_owned(),
            bytes_sent: 0,
            bytes: bundle.record.bytes,
            state: PushState::Running,
        })?;
        if is_new {
            let (app, actor, id) = (self.clone(), actor.clone(), push.id);
            let (digest, target) = (push.digest.clone(), push.target.clone());
            tokio::spawn(async move {
                let told = app.clone();
                let progress = move |sent| told.inner.bundle_pushes.change(id, |push| push.bytes_sent = sent);
                let options = PushOptions { activate, ..PushOptions::default() };
                let state = match app.push_bundle(&actor, &digest, &target, &options, progress).await {
                    Ok(report) => PushState::Done(report),
                    Err(error) => PushState::Failed(error.to_string()),
                };
                app.inner.bundle_pushes.change(id, |push| push.state = state);
            });
        }
        Ok(push)
    }

    /// How a push stands that was begun in this process.
    ///
    /// # Errors
    /// When there is none that the actor may know of.
    pub fn push_state(&self, actor: &Actor, id: Uuid) -> Result<Push, AppError> {
        let found = {
            let pushes = self.inner.bundle_pushes.0.lock().unwrap_or_else(PoisonError::into_inner);
            pushes.iter().find(|push| push.id == id).cloned()
        };
        let missing =
            || AppError::not_found(format!("push `{id}`: if the node was started anew, send the bundle again"));
        let push = found.ok_or_else(missing)?;
        self.require_pusher(actor, &push.project).map_err(|_| missing())?;
        Ok(push)
    }

    async fn carry_over(
        &self,
        bundle: &BundleSummary,
        target: &str,
        options: &PushOptions,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<PushReport, AppError> {
        let stored = self.target(target).await?;
        let line = self.line_to(&stored).map_err(AppError::Configuration)?;
        let there = line.who_is_there().await.map_err(AppError::Unavailable)?;
        let mut warnings = clock_warning(&there).into_iter().collect::<Vec<_>>();
        if there.stet != STET_VERSION {
            warnings.push(format!(
                "{} runs Stet {} and this node {STET_VERSION}: a bundle is activated only by the version that made it",
                there.name, there.stet
            ));
        }
        let digest = &bundle.record.digest;
        let was_there = self.send_whole(&line, bundle, &there.name, progress).await?;
        let mut approvals = 0;
        for approval in &options.approvals {
            let reply = line.post(&format!("/api/v1/bundles/{digest}/approvals"), approval.clone()).await;
            accepted(reply, &there.name)?;
            approvals += 1;
        }
        if options.activate {
            let reply = line.post(&format!("/api/v1/bundles/{digest}/activate"), b"{}".to_vec()).await;
            accepted(reply, &there.name)?;
        }
        let digest = digest.clone();
        Ok(PushReport { node: there.name, digest, was_there, approvals, activated: options.activate, warnings })
    }

    /// Sends a bundle unless it is there. After a line that broke nobody knows whether it arrived, so that is asked again.
    /// Whether it was there already.
    async fn send_whole(
        &self,
        line: &Line,
        bundle: &BundleSummary,
        node: &str,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<bool, AppError> {
        let path = format!("/api/v1/bundles/{}", bundle.record.digest);
        let mut broken = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                let wait = WAIT_FIRST * 2u32.pow(u32::try_from(attempt).unwrap_or(1) - 1);
                tracing::warn!(node, error = broken, ?wait, "a bundle did not arrive whole; it is sent again");
                tokio::time::sleep(wait).await;
            }
            match line.get(&path).await {
                Ok(reply) if reply.status == 200 => return Ok(attempt == 0),
                Ok(reply) if reply.status == 404 => {}
                Ok(reply) => return Err(refused(&reply, node)),
                Err(reason) => {
                    broken = reason;
                    continue;
                }
            }
            match line.send_file("/api/v1/bundles", &bundle.path, progress.clone()).await {
                Ok(reply) if reply.is_success() => return Ok(false),
                // The target is in trouble itself: what it says is worth another attempt.
                Ok(reply) if reply.status >= 500 => broken = reply.detail(),
                Ok(reply) => return Err(refused(&reply, node)),
                Err(reason) => broken = reason,
            }
        }
        Err(AppError::Unavailable(format!(
            "the bundle did not arrive on {node} in {ATTEMPTS} attempts: {broken}. Nothing of it is left there: send it again"
        )))
    }

    /// The way to a target, with its token.
    pub(super) fn line_to(&self, target: &stet_store::node::StoredTarget) -> Result<Line, String> {
        Ok(Line {
            address: target.address.clone(),
            token: self.token_for(target)?,
            node_id: target.node_id,
            authorities: target.ca_file.as_ref().map(|file| self.inner.folder.resolve(std::path::Path::new(file))),
            clock: self.clone(),
        })
    }
}

/// What to say when the clocks of two nodes disagree: what expires, and when people approved, is then told differently.
pub(crate) fn clock_warning(there: &NodeAnswer) -> Option<String> {
    let seconds = there.clock_ahead_s;
    if seconds.abs() < CLOCKS_DIFFER_S {
        return None;
    }
    let how = if seconds > 0 { "ahead of" } else { "behind" };
    Some(format!(
        "the clock of {} is {} {how} the one of this node: set both by a time server",
        there.name,
        in_words(seconds.abs())
    ))
}

/// A time in words, such as `3 min 20 s`.
pub(crate) fn in_words(seconds: i64) -> String {
    match (seconds / 86_400, seconds % 86_400 / 3_600, seconds % 3_600 / 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

fn accepted(reply: Result<Reply, String>, node: &str) -> Result<(), AppError> {
    match reply {
        Ok(reply) if reply.is_success() => Ok(()),
        Ok(reply) => Err(refused(&reply, node)),
        Err(reason) => Err(AppError::Unavailable(format!("{node} took the bundle, and then: {reason}. Send it again"))),
    }
}

/// What a target says, as its own words.
fn refused(reply: &Reply, node: &str) -> AppError {
    AppError::Refused(format!("{node} says: {}", reply.detail()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_disagree_are_told_with_the_difference() {
        let there = |clock_ahead_s| NodeAnswer {
            id: Uuid::nil(),
            name: "Production".to_owned(),
            role: NodeRole::Automation,
            stet: STET_VERSION.to_owned(),
            time: LogDate::from_micros(0),
            clock_ahead_s,
        };
        assert_eq!(clock_warning(&there(29)), None);
        assert_eq!(clock_warning(&there(-29)), None);
        assert!(clock_warning(&there(-200)).unwrap().contains("is 3 min 20 s behind"));
        assert!(clock_warning(&there(90_000)).unwrap().contains("is 1 d 1 h ahead of"));
    }
}
