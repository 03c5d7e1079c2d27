//! Tables that open by themselves: those whose files say so, and those that were open when their settings changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use stet_domain::project::Project;
use stet_domain::{ProjectKey, WebappName};

use crate::App;
use crate::error::Chain;

/// How often it is looked whether the files of projects have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long to wait before a table that could not be opened is tried again: its original may have to be built first.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// What was done about a project.
struct Seen {
    /// Its files as they were then.
    project: Weak<Project>,
    /// Those of its tables that could not be opened, and when they were tried.
    failed: BTreeSet<WebappName>,
    tried: Instant,
}

impl App {
    /// The tables of a project that are open in this process.
    pub(crate) fn open_tables_of(&self, key: &ProjectKey) -> BTreeSet<WebappName> {
        let slots = self.inner.webapps.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = slots.iter().filter(|((project, _), _)| project == key);
        // A table that is being opened is as good as open.
        mine.filter(|(_, slot)| slot.open.try_lock().map_or(true, |open| open.is_some()))
            .map(|((_, name), _)| name.clone())
            .collect()
    }

    /// Opens the tables that open by themselves, and follows the files of projects for ever: when those change, tables that
    /// are open go on with the new settings without waiting for a request.
    pub async fn keep_tables_started(&self) {
        let mut seen: HashMap<ProjectKey, Seen> = HashMap::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            for key in self.inner.projects.keys() {
                // Wrong files are told elsewhere; what is open stays as it is.
                let Ok(project) = self.inner.projects.get(&key) else { continue };
                let wanted = match seen.get(&key) {
                    Some(known) if std::ptr::eq(known.project.as_ptr(), Arc::as_ptr(&project)) => {
                        if known.failed.is_empty() || known.tried.elapsed() < TRY_AGAIN_AFTER {
                            continue;
                        }
                        known.failed.clone()
                    }
                    _ => {
                        let starting = project.webapps.values().filter(|webapp| webapp.auto_start);
                        let mut wanted: BTreeSet<WebappName> = starting.map(|webapp| webapp.name.clone()).collect();
                        wanted.extend(self.open_tables_of(&key));
                        wanted
                    }
                };
                let failed = self.open_all(&project, wanted).await;
                seen.insert(key, Seen { project: Arc::downgrade(&project), failed, tried: Instant::now() });
            }
        }
    }

    /// Opens tables; those that could not be.
    async fn open_all(&self, project: &Arc<Project>, names: BTreeSet<WebappName>) -> BTreeSet<WebappName> {
        let mut failed = BTreeSet::new();
        for name in names {
            if !project.webapps.contains_key(&name) {
                continue;
            }
            if let Err(error) = self.open_table(project.clone(), name.as_str()).await {
                tracing::warn!(project = %project.key, webapp = %name, error = %Chain(&error), "a table cannot be opened");
                failed.insert(name);
            }
        }
        failed
    }
}
