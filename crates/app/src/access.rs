//! The one place where use cases ask whether their actor may do what they do. The rules are in `stet_domain::access`; here
//! they meet the node's projects, and become answers.
//!
//! What an actor may not know of is answered exactly as what is not there. Only what they can see and may not do is told
//! as such.

use std::sync::Arc;

use stet_domain::access::{
    Permission, Permissions, Use, may_know_dataset, may_read_dataset, permissions_of, webapp_use,
};
use stet_domain::project::{Dataset, Project, Webapp};
use stet_domain::{Actor, ActorKind, DatasetName, ProjectKey, WebappName};

use crate::App;
use crate::error::AppError;

impl App {
    /// What an actor may do in a project.
    pub fn permissions(&self, actor: &Actor, project: &Project) -> Permissions {
        permissions_of(actor, &project.permissions)
    }

    /// The webapps of a project that an actor may use, by name.
    pub fn webapps<'a>(&self, actor: &Actor, project: &'a Project) -> Vec<(&'a Webapp, Use)> {
        let webapps = project.webapps.values();
        webapps.filter_map(|webapp| Some((webapp, webapp_use(actor, project, webapp)?))).collect()
    }

    /// Fails unless the actor administers the node.
    ///
    /// # Errors
    /// `NotAllowed`, and `NotSignedIn` for a visitor.
    pub fn require_administrator(&self, actor: &Actor) -> Result<(), AppError> {
        match actor.kind {
            _ if actor.may_administer_node() => Ok(()),
            ActorKind::Visitor => Err(AppError::NotSignedIn),
            _ if actor.is_administrator() => {
                Err(not_allowed("this token may not administer: it lacks the scope `admin`"))
            }
            _ => Err(not_allowed("only an administrator may do this")),
        }
    }

    /// A project that the actor may know of: they have a permission in it, or may use one of its webapps.
    pub(crate) fn known_project(&self, actor: &Actor, key: &str) -> Result<Arc<Project>, AppError> {
        let project = self.find_project(actor, key)?;
        let known = !self.permissions(actor, &project).is_empty() || !self.webapps(actor, &project).is_empty();
        if known { Ok(project) } else { Err(hidden(actor, no_project(key))) }
    }

    /// A project in which the actor has one of these permissions.
    ///
    /// # Errors
    /// As for a project that is not there when the actor may not know of it; else `NotAllowed`.
    pub(crate) fn authorise(&self, actor: &Actor, key: &str, one_of: &[Permission]) -> Result<Arc<Project>, AppError> {
        let project = self.known_project(actor, key)?;
        if self.permissions(actor, &project).has_any(one_of) {
            return Ok(project);
        }
        let names: Vec<String> = one_of.iter().map(|permission| format!("`{}`", permission.as_str())).collect();
        Err(hidden(
            actor,
            not_allowed(format!(
                "you may not do this in project `{key}`: it takes the permission {}",
                names.join(" or ")
            )),
        ))
    }

    /// The project of a webapp that the actor may use in this way.
    ///
    /// # Errors
    /// As for a webapp that is not there when the actor may not see it; else `NotAllowed`.
    pub(crate) fn authorise_webapp(
        &self,
        actor: &Actor,
        key: &str,
        webapp: &str,
        needed: Use,
    ) -> Result<Arc<Project>, AppError> {
        let project = self.find_project(actor, key)?;
        let found = WebappName::new(webapp).ok().and_then(|name| project.webapps.get(&name));
        match found.and_then(|found| webapp_use(actor, &project, found)) {
            Some(granted) if granted >= needed => Ok(project),
            Some(_) => Err(not_allowed(VIEW_ONLY)),
            None => {
                // Whoever does not know of the project learns that there is no such project, whatever they ask for in it.
                self.known_project(actor, key)?;
                Err(hidden(actor, AppError::not_found(format!("webapp `{webapp}` in project `{key}`"))))
            }
        }
    }

    /// Fails unless the actor may see a webapp now.
    ///
    /// # Errors
    /// As for a webapp that is not there.
    pub fn may_use_webapp(&self, actor: &Actor, key: &str, webapp: &str) -> Result<(), AppError> {
        self.authorise_webapp(actor, key, webapp, Use::View).map(drop)
    }

    /// A dataset whose rows the actor may read, with its project.
    ///
    /// # Errors
    /// As for a dataset that is not there.
    pub(crate) fn authorise_dataset(
        &self,
        actor: &Actor,
        key: &str,
        dataset: &str,
    ) -> Result<(Arc<Project>, Dataset), AppError> {
        let project = self.known_project(actor, key)?;
        let found = DatasetName::new(dataset).ok().and_then(|name| project.datasets.get(&name).cloned());
        match found.filter(|found| may_read_dataset(actor, &project, &found.name)) {
            Some(found) => Ok((project, found)),
            None => Err(hidden(actor, AppError::not_found(format!("dataset `{dataset}` in project `{key}`")))),
        }
    }

    /// Whether an actor may know of a build of a dataset: they work on builds in the project, and nothing hides the
    /// dataset from them. A dataset that is no longer in the project can only be judged by those who write its files.
    pub(crate) fn may_know_build(&self, actor: &Actor, project: &Project, dataset: &DatasetName) -> bool {
        let mine = self.permissions(actor, project);
        mine.has(Permission::WriteContent)
            || (mine.has_any(&BUILD_READERS)
                && project.datasets.contains_key(dataset)
                && may_know_dataset(actor, project, dataset))
    }

    /// A project by its key, whoever asks. What is wrong with its files is told to those who read them.
    fn find_project(&self, actor: &Actor, key: &str) -> Result<Arc<Project>, AppError> {
        let found = match ProjectKey::new(key) {
            Ok(key) => self.inner.projects.get(&key),
            Err(_) => Err(no_project(key)),
        };
        found.map_err(|error| match error {
            AppError::Project(error) => {
                let mine = permissions_of(actor, &error.permissions);
                if mine.has(Permission::ReadContent) {
                    AppError::Project(error)
                } else if mine.is_empty() {
                    hidden(actor, no_project(key))
                } else {
                    AppError::Unavailable(
                        "this project cannot be used at present: its files are being changed. Tell its designer"
                            .to_owned(),
                    )
                }
            }
            error => hidden(actor, error),
        })
    }
}

/// Why somebody who may only look cannot edit.
pub(crate) const VIEW_ONLY: &str = "you may look at this table, and not change it";

/// What it takes to look at builds.
pub(crate) const BUILD_READERS: [Permission; 3] =
    [Permission::ReadContent, Permission::RunScenarios, Permission::WriteContent];

/// What it takes to start and stop builds.
pub(crate) const BUILDERS: [Permission; 2] = [Permission::RunScenarios, Permission::WriteContent];

pub(crate) fn not_allowed(message: impl Into<String>) -> AppError {
    AppError::NotAllowed(message.into())
}

fn no_project(key: &str) -> AppError {
    AppError::not_found(format!("project `{key}`"))
}

/// Visitors are asked to sign in, whatever is there or not.
fn hidden(actor: &Actor, error: AppError) -> AppError {
    if actor.kind == ActorKind::Visitor { AppError::NotSignedIn } else { error }
}
