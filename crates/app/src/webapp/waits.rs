//! Requests that wait for rows or groups: how far these are, and cancelling them.
//!
//! A request names itself, so that another one can ask after it. The name is known to nobody else, and holds for whoever
//! waits by it and for the table that they wait at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stet_domain::access::Use;
use stet_domain::{Actor, Login, ProjectKey, WebappName};
use stet_engine::control::Control;
use stet_engine::error::EngineError;
use stet_engine::live::{GroupQuery, LiveTable, Query, Step, WorkProgress};
use uuid::Uuid;

use super::open::{OpenWebapp, find_webapp};
use super::viewer::Viewer;
use crate::App;
use crate::error::AppError;

/// The most requests that can be asked after at a time. Others wait as well, without being told how far they are.
const WAITS_MAX: usize = 4_096;

/// The requests that wait at all tables.
#[derive(Default)]
pub(crate) struct Waits(Mutex<Known>);

#[derive(Default)]
struct Known {
    last: u64,
    waits: Vec<Arc<Wait>>,
}

/// How far what somebody waits for is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitProgress {
    /// What is done at present.
    pub step: Step,
    /// To how many rows it is done; none for somebody who is not to know how many there are.
    pub rows: Option<usize>,
    /// How much of all the work is done: 0 to 100.
    pub percent: u8,
}

/// One request. Several may have one name: all pages that somebody waits for.
struct Wait {
    number: u64,
    name: Uuid,
    login: Login,
    /// Whether they see only some rows.
    limited: bool,
    table: WaitedAt,
    asked: WaitedFor,
    withdrawn: Arc<AtomicBool>,
}

/// The table that somebody waits at.
pub(super) enum WaitedAt {
    Now(Arc<OpenWebapp>),
    /// The table as it stood; the open one tells which it is.
    Then(Arc<OpenWebapp>, Arc<LiveTable>),
}

/// What somebody waits for, as it is asked of the table.
pub(super) enum WaitedFor {
    Rows(Arc<Query>),
    Groups(Arc<GroupQuery>),
}

impl WaitedAt {
    fn live(&self) -> &LiveTable {
        match self {
            WaitedAt::Now(open) => &open.live,
            WaitedAt::Then(_, live) => live,
        }
    }

    fn is_of(&self, project: &ProjectKey, webapp: &WebappName) -> bool {
        let (WaitedAt::Now(open) | WaitedAt::Then(open, _)) = self;
        open.project() == project && open.resolved.webapp.name == *webapp
    }
}

impl Wait {
    fn progress(&self) -> Option<WaitProgress> {
        let progress = match &self.asked {
            WaitedFor::Rows(query) => self.table.live().progress(query, &self.login),
            WaitedFor::Groups(query) => self.table.live().groups_progress(query, &self.login),
        }?;
        Some(told(progress, self.limited))
    }
}

/// Somebody who waits. Whether they have gone is told when this is dropped, which also happens when a client closes its
/// connection, or a request takes too long.
pub(super) struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is done for somebody who waits. They can cancel it until it is dropped, also when they have gone.
pub(super) struct Waited {
    app: App,
    number: Option<u64>,
    pub control: Control,
}

impl Drop for Waited {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.app.waits().waits.retain(|wait| wait.number != number);
        }
    }
}

/// What is told of work. Whoever sees only some rows is not told how many are looked through for them.
fn told(WorkProgress { step, rows, percent }: WorkProgress, limited: bool) -> WaitProgress {
    let are_theirs = !limited || matches!(step, Step::Sorting | Step::Grouping);
    WaitProgress { step, rows: (are_theirs && rows > 0).then_some(rows), percent }
}

/// Why somebody has waited in vain.
pub(super) fn in_vain(error: EngineError) -> AppError {
    match error {
        EngineError::Cancelled => AppError::Cancelled,
        error => error.into(),
    }
}

impl App {
    /// How far what a request waits for is that named itself so; none when no such request waits here, or nothing is worked
    /// out for it.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use.
    pub fn wait_progress(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        name: Uuid,
    ) -> Result<Option<WaitProgress>, AppError> {
        let waits = self.waits_of(actor, project, webapp, name)?;
        // It may wait for several pages.
        Ok(waits.iter().filter_map(|wait| wait.progress()).max_by_key(|progress| progress.percent))
    }

    /// Lets a request wait no longer, and gives up at once what is worked out for nobody else.
    ///
    /// # Errors
    /// When there is no such webapp that the actor may use.
    pub fn cancel_wait(&self, actor: &Actor, project: &str, webapp: &str, name: Uuid) -> Result<(), AppError> {
        for wait in self.waits_of(actor, project, webapp, name)? {
            wait.withdrawn.store(true, Ordering::Relaxed);
            if let WaitedFor::Rows(query) = &wait.asked {
                wait.table.live().withdraw(query, &wait.login);
            }
        }
        Ok(())
    }

    /// Begins to wait for something at a table, under a name if it has one.
    pub(super) fn begin_wait(
        &self,
        actor: &Actor,
        viewer: &Viewer,
        name: Option<Uuid>,
        table: WaitedAt,
        asked: WaitedFor,
    ) -> (Waiting, Waited) {
        let (gone, withdrawn) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let control = Control::new(Arc::clone(&gone), |_| {}).withdrawn_by(Arc::clone(&withdrawn));
        let number = name.and_then(|name| {
            let mut known = self.waits();
            if known.waits.len() >= WAITS_MAX {
                return None;
            }
            known.last += 1;
            let number = known.last;
            known.waits.push(Arc::new(Wait {
                number,
                name,
                login: actor.login.clone(),
                limited: viewer.is_limited(),
                table,
                asked,
                withdrawn,
            }));
            Some(number)
        });
        (Waiting(gone), Waited { app: self.clone(), number, control })
    }

    /// The requests of an actor that wait at a table by a name.
    fn waits_of(&self, actor: &Actor, project: &str, webapp: &str, name: Uuid) -> Result<Vec<Arc<Wait>>, AppError> {
        let found = self.authorise_webapp(actor, project, webapp, Use::View)?;
        let (webapp, _) = find_webapp(&found, webapp)?;
        let is_asked =
            |wait: &&Arc<Wait>| wait.name == name && wait.login == actor.login && wait.table.is_of(&found.key, webapp);
        Ok(self.waits().waits.iter().filter(is_asked).cloned().collect())
    }

    fn waits(&self) -> MutexGuard<'_, Known> {
        self.inner.waits.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sees_only_some_rows_is_not_told_how_many_there_are() {
        for (step, theirs) in
            [(Step::Queued, false), (Step::Filtering, false), (Step::Sorting, true), (Step::Grouping, true)]
        {
            let work = WorkProgress { step, rows: 10, percent: 7 };
            assert_eq!(told(work, true), WaitProgress { step, rows: theirs.then_some(10), percent: 7 });
            assert_eq!(told(work, false).rows, Some(10));
        }
    }
}
