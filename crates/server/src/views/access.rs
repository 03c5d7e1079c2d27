//! Who may do what in a project.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stet_app::{ProjectAccess, WebappAccessState};
use stet_domain::access::{Permission, Permissions, Principals, ProjectPermissions, PublicUse, WebappAccess};
use stet_domain::{GroupName, Login};
use utoipa::ToSchema;

use crate::error::Problem;

/// Who may do what in a project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectAccessView {
    /// To be sent back with a change: it is refused when the file was changed meanwhile.
    version: String,
    /// What the members of each group are given.
    groups: BTreeMap<String, Vec<String>>,
    /// What single users are given beside that.
    users: BTreeMap<String, Vec<String>>,
    webapps: Vec<WebappAccessView>,
    /// The groups of the node, and `everyone` and `designers`, which are there always.
    known_groups: Vec<String>,
    /// Why nothing can be changed here; null when it can.
    fixed: Option<String>,
}

/// Who may use a webapp.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebappAccessView {
    name: String,
    title: String,
    /// To be sent back with a change.
    version: String,
    #[serde(flatten)]
    access: AccessView,
}

/// Who may use a webapp: those listed; with an empty list, everybody with `read_dashboards`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessView {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    /// Who may look and not edit.
    view_only: PrincipalsView,
    public: PublicView,
}

/// Groups and users.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrincipalsView {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
}

/// What visitors who have not signed in may do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PublicView {
    No,
    Read,
    Edit,
}

/// What a project is to give, in place of what it gives.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PermissionsBody {
    /// The version that was seen.
    pub(crate) version: String,
    groups: BTreeMap<String, BTreeSet<String>>,
    users: BTreeMap<String, BTreeSet<String>>,
}

/// Who is to use a webapp, in place of those who may.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebappAccessBody {
    /// The version that was seen.
    pub(crate) version: String,
    access: AccessView,
}

impl From<ProjectAccess> for ProjectAccessView {
    fn from(found: ProjectAccess) -> ProjectAccessView {
        let names = |given: &Permissions| given.iter().map(|permission| permission.as_str().to_owned()).collect();
        let always = [stet_domain::access::EVERYONE, stet_domain::access::DESIGNERS].map(str::to_owned);
        ProjectAccessView {
            version: found.version,
            groups: found.permissions.groups.iter().map(|(name, given)| (name.to_string(), names(given))).collect(),
            users: found.permissions.users.iter().map(|(login, given)| (login.to_string(), names(given))).collect(),
            webapps: found.webapps.into_iter().map(WebappAccessView::from).collect(),
            known_groups: always.into_iter().chain(found.groups.iter().map(GroupName::to_string)).collect(),
            fixed: found.fixed,
        }
    }
}

impl From<WebappAccessState> for WebappAccessView {
    fn from(webapp: WebappAccessState) -> WebappAccessView {
        let WebappAccess { edit, view_only, public } = webapp.access;
        let PrincipalsView { users, groups } = edit.into();
        let public = match public {
            PublicUse::No => PublicView::No,
            PublicUse::Read => PublicView::Read,
            PublicUse::Edit => PublicView::Edit,
        };
        WebappAccessView {
            name: webapp.name.to_string(),
            title: webapp.title,
            version: webapp.version,
            access: AccessView { users, groups, view_only: view_only.into(), public },
        }
    }
}

impl From<Principals> for PrincipalsView {
    fn from(people: Principals) -> PrincipalsView {
        PrincipalsView {
            users: people.users.iter().map(Login::to_string).collect(),
            groups: people.groups.iter().map(GroupName::to_string).collect(),
        }
    }
}

impl PermissionsBody {
    /// The permissions.
    ///
    /// # Errors
    /// A 422 problem for what is no name or no permission.
    pub(crate) fn permissions(&self) -> Result<ProjectPermissions, Problem> {
        let given = |listed: &BTreeSet<String>| {
            listed
                .iter()
                .map(|name| name.parse::<Permission>().map_err(Problem::refused))
                .collect::<Result<Permissions, Problem>>()
        };
        let mut permissions = ProjectPermissions::default();
        for (name, listed) in &self.groups {
            permissions.groups.insert(group(name)?, given(listed)?);
        }
        for (login, listed) in &self.users {
            permissions.users.insert(user(login)?, given(listed)?);
        }
        Ok(permissions)
    }
}

impl WebappAccessBody {
    /// The access.
    ///
    /// # Errors
    /// A 422 problem for what is no name.
    pub(crate) fn access(&self) -> Result<WebappAccess, Problem> {
        let people = |users: &BTreeSet<String>, groups: &BTreeSet<String>| {
            Ok::<_, Problem>(Principals {
                users: users.iter().map(|login| user(login)).collect::<Result<_, _>>()?,
                groups: groups.iter().map(|name| group(name)).collect::<Result<_, _>>()?,
            })
        };
        let AccessView { users, groups, view_only, public } = &self.access;
        Ok(WebappAccess {
            edit: people(users, groups)?,
            view_only: people(&view_only.users, &view_only.groups)?,
            public: match public {
                PublicView::No => PublicUse::No,
                PublicView::Read => PublicUse::Read,
                PublicView::Edit => PublicUse::Edit,
            },
        })
    }
}

fn group(name: &str) -> Result<GroupName, Problem> {
    GroupName::new(name.trim().to_lowercase()).map_err(|error| Problem::refused(error.to_string()))
}

fn user(login: &str) -> Result<Login, Problem> {
    Login::new(login.trim().to_lowercase()).map_err(|error| Problem::refused(error.to_string()))
}
