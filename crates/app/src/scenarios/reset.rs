//! Resetting edits: an editlog is emptied, where that is allowed. It is the only way by which events ever go.

use stet_domain::access::Permission;
use stet_domain::{Actor, DatasetName};

use crate::App;
use crate::config::NodeRole;
use crate::datasets::find;
use crate::error::AppError;

impl App {
    /// Empties the editlog of an original and tells how many events are gone: on a design node at any time, on an automation
    /// node only before its first edit. An editlog that is not there yet is made.
    ///
    /// # Errors
    /// `Refused` on an automation node after the first edit; when the actor may not, or no webapp edits the dataset.
    pub async fn reset_edits(&self, actor: &Actor, project: &str, dataset: &str) -> Result<u64, AppError> {
        let project = self.project(actor, project)?;
        self.authorise(actor, project.key.as_str(), &[Permission::WriteContent])?;
        let original: DatasetName = find(&project, dataset)?.name.clone();
        if project.webapp_on(&original).is_none() {
            return Err(AppError::Invalid(format!("`{original}` has no editlog: no webapp edits it")));
        }
        let production = self.inner.config.role == NodeRole::Automation;
        if production {
            self.require_administrator(actor)?;
        }
        let editlogs = self.editlogs(&project, &original).await?;
        let events = editlogs.reset(&original, production).await?;
        // Tables that are open show events that are gone: they are opened anew.
        self.inner.webapps.forget(&project.key, &original);
        self.inner.guards.forget(&project.key, &original);
        let text = format!("the edits of `{original}` were reset: {events} events are gone");
        self.note_deploy(Some(actor), &project.key, None, "reset", text).await?;
        Ok(events)
    }
}
