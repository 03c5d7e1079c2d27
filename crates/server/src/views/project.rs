//! Projects and what is in them.

use serde::Serialize;
use stet_app::{AppError, DatasetSummary};
use stet_domain::ProjectKey;
use stet_domain::access::{Permissions, Use};
use stet_domain::project::{Project, Role, Webapp};
use utoipa::ToSchema;

/// All projects.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectsView {
    pub(crate) projects: Vec<ProjectView>,
}

/// A project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectView {
    key: String,
    name: String,
    description: String,
    webapps: Vec<WebappSummaryView>,
    /// What is wrong with the project's files, if something is; it cannot be used until this is mended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// A webapp in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebappSummaryView {
    name: String,
    title: String,
    description: String,
    /// The dataset whose rows it edits.
    original: String,
}

/// A project with its datasets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectDetailView {
    #[serde(flatten)]
    project: ProjectView,
    datasets: Vec<DatasetSummaryView>,
    /// What whoever asks may do in it.
    permissions: Vec<&'static str>,
}

/// A dataset in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatasetSummaryView {
    name: String,
    role: RoleView,
}

/// What a dataset is in its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleView {
    Original,
    Linked,
    Editlog,
    EditlogPivoted,
    Edited,
    Derived,
    Source,
}

impl From<Role> for RoleView {
    fn from(role: Role) -> RoleView {
        match role {
            Role::Original => RoleView::Original,
            Role::Linked => RoleView::Linked,
            Role::Editlog => RoleView::Editlog,
            Role::EditlogPivoted => RoleView::EditlogPivoted,
            Role::Edited => RoleView::Edited,
            Role::Derived => RoleView::Derived,
            Role::Source => RoleView::Source,
        }
    }
}

impl ProjectView {
    /// A project with the webapps that whoever asks may use.
    pub(crate) fn new(project: &Project, webapps: &[(&Webapp, Use)]) -> ProjectView {
        ProjectView {
            key: project.key.to_string(),
            name: project.name.clone(),
            description: project.description.clone(),
            webapps: webapps.iter().map(|(webapp, _)| WebappSummaryView::from(*webapp)).collect(),
            problems: Vec::new(),
        }
    }

    /// A project whose files cannot be used.
    pub(crate) fn broken(key: &ProjectKey, error: &AppError) -> ProjectView {
        let problems = match error {
            AppError::Project(error) => error.problems.iter().map(ToString::to_string).collect(),
            _ => vec!["the project cannot be read: its administrator finds the cause in the log".to_owned()],
        };
        ProjectView {
            key: key.to_string(),
            name: key.to_string(),
            description: String::new(),
            webapps: Vec::new(),
            problems,
        }
    }
}

impl ProjectDetailView {
    pub(crate) fn new(
        project: ProjectView,
        datasets: &[DatasetSummary],
        permissions: Permissions,
    ) -> ProjectDetailView {
        let datasets = datasets
            .iter()
            .map(|dataset| DatasetSummaryView { name: dataset.name.to_string(), role: dataset.role.into() })
            .collect();
        let permissions = permissions.iter().map(|permission| permission.as_str()).collect();
        ProjectDetailView { project, datasets, permissions }
    }
}

impl From<&Webapp> for WebappSummaryView {
    fn from(webapp: &Webapp) -> WebappSummaryView {
        WebappSummaryView {
            name: webapp.name.to_string(),
            title: webapp.title.clone(),
            description: webapp.description.clone(),
            original: webapp.original.to_string(),
        }
    }
}
