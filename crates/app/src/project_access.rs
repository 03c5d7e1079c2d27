//! Who may do what in a project, seen and changed by its administrators. The project's files say it; a change here is a
//! change of these files that leaves everything else in them as it was.

use std::io::Write;
use std::path::PathBuf;

use stet_domain::access::{Permission, Permissions, ProjectPermissions, WebappAccess, permissions_of};
use stet_domain::project::{FileText, Project, edit, load};
use stet_domain::{Actor, GroupName, WebappName};
use stet_engine::error::EngineError;
use stet_engine::write::{AtomicFile, digest_text};

use crate::App;
use crate::error::AppError;
use crate::projects::{read_files, read_text};

/// The most groups and users that a project or a webapp names.
const PRINCIPALS_MAX: usize = 1_000;

/// Who may do what in a project.
#[derive(Debug, Clone)]
pub struct ProjectAccess {
    /// What groups and users are given.
    pub permissions: ProjectPermissions,
    /// Changes when `project.toml` does.
    pub version: String,
    /// Its webapps, by name.
    pub webapps: Vec<WebappAccessState>,
    /// The groups of the node, for choosing.
    pub groups: Vec<GroupName>,
    /// Why nothing can be changed here; none when it can.
    pub fixed: Option<String>,
}

/// Who may use a webapp.
#[derive(Debug, Clone)]
pub struct WebappAccessState {
    /// Its name.
    pub name: WebappName,
    /// Its title for people.
    pub title: String,
    /// Who may use it.
    pub access: WebappAccess,
    /// Changes when its file does.
    pub version: String,
}

/// A change of one file of a project.
struct Change<'a> {
    /// The file, below the project's folder.
    file: String,
    /// The file as the actor saw it.
    version: &'a str,
    /// What the audit trail calls it.
    action: &'static str,
    /// What it gives and takes.
    told: String,
}

impl App {
    /// Who may do what in a project.
    ///
    /// # Errors
    /// When the actor does not administer the project.
    pub async fn project_access(&self, actor: &Actor, project: &str) -> Result<ProjectAccess, AppError> {
        let found = self.authorise(actor, project, &[Permission::Administer])?;
        let groups = self.inner.node.groups().await?.into_iter().map(|group| group.name).collect();
        let webapps = (found.webapps.values())
            .map(|webapp| {
                Ok(WebappAccessState {
                    name: webapp.name.clone(),
                    title: webapp.title.clone(),
                    access: webapp.access.clone(),
                    version: digest_text(&self.definition_file(&found, &file_of(&webapp.name))?.text),
                })
            })
            .collect::<Result<_, AppError>>()?;
        Ok(ProjectAccess {
            permissions: found.permissions.clone(),
            version: digest_text(&self.definition_file(&found, HEADER)?.text),
            webapps,
            groups,
            fixed: self.fixed(&found).await?,
        })
    }

    /// Gives these permissions in place of those that the project gives now. `version` is what the actor saw.
    ///
    /// # Errors
    /// When the actor does not administer the project, or would not any more; when its files come from a bundle; a
    /// conflict when the file was changed meanwhile.
    pub async fn set_project_permissions(
        &self,
        actor: &Actor,
        project: &str,
        version: &str,
        permissions: ProjectPermissions,
    ) -> Result<(), AppError> {
        let found = self.authorise(actor, project, &[Permission::Administer])?;
        check_count(permissions.groups.len() + permissions.users.len())?;
        if let Some(name) =
            permissions.groups.iter().find(|(_, given)| given.is_empty()).map(|(name, _)| name.as_str()).or_else(|| {
                permissions.users.iter().find(|(_, given)| given.is_empty()).map(|(login, _)| login.as_str())
            })
        {
            return Err(AppError::Invalid(format!(
                "`{name}` is given nothing: take it out of the list, or give it something"
            )));
        }
        if !permissions_of(actor, &permissions).has(Permission::Administer) {
            return Err(AppError::Conflict(
                "with this you could not administer the project any more, nor take it back: let another administrator do it".to_owned(),
            ));
        }
        let told = told(&found.permissions, &permissions);
        let change = Change { file: HEADER.to_owned(), version, action: "project.permissions", told };
        self.change_file(actor, &found, change, |text| edit::with_permissions(text, &permissions)).await
    }

    /// Gives a webapp this access in place of the one that it has. `version` is what the actor saw.
    ///
    /// # Errors
    /// See [`App::set_project_permissions`]; and when there is no such webapp.
    pub async fn set_webapp_access(
        &self,
        actor: &Actor,
        project: &str,
        webapp: &str,
        version: &str,
        access: WebappAccess,
    ) -> Result<(), AppError> {
        let found = self.authorise(actor, project, &[Permission::Administer])?;
        let name = WebappName::new(webapp).ok().filter(|name| found.webapps.contains_key(name));
        let name = name.ok_or_else(|| AppError::not_found(format!("webapp `{webapp}` in project `{project}`")))?;
        let lists = [&access.edit, &access.view_only];
        check_count(lists.iter().map(|list| list.users.len() + list.groups.len()).sum())?;
        let told = format!("webapp {name}: {access}", access = shown(&access));
        let change = Change { file: file_of(&name), version, action: "webapp.access", told };
        self.change_file(actor, &found, change, |text| edit::with_access(text, &access)).await
    }

    /// Why the files of a project cannot be changed here; none when they can.
    async fn fixed(&self, project: &Project) -> Result<Option<String>, AppError> {
        let deployed = self.inner.node.deployed(&project.key).await?;
        Ok(deployed.map(|_| {
            "this project came in a bundle: change permissions on its design node, and deploy a new one".to_owned()
        }))
    }

    fn definition_file(&self, project: &Project, file: &str) -> Result<FileText, AppError> {
        let path = self.path_of(project, file);
        let text = read_text(&path).map_err(|message| AppError::Conflict(format!("{file} {message}")))?;
        Ok(FileText { path: file.to_owned(), text })
    }

    fn path_of(&self, project: &Project, file: &str) -> PathBuf {
        self.inner.folder.project(&project.key).join(file)
    }

    /// Changes one file of a project, if it is as the actor saw it and the project can be read with the change.
    async fn change_file(
        &self,
        actor: &Actor,
        project: &Project,
        change: Change<'_>,
        changed: impl FnOnce(&str) -> Result<String, edit::EditError>,
    ) -> Result<(), AppError> {
        let file = change.file.as_str();
        if let Some(reason) = self.fixed(project).await? {
            return Err(AppError::Conflict(reason));
        }
        let _alone = self.inner.project_files.lock().await;
        let before = self.definition_file(project, file)?;
        if digest_text(&before.text) != change.version {
            return Err(AppError::Conflict(format!(
                "`{file}` was changed in the meantime: look at it again, and say once more what you want"
            )));
        }
        let text = changed(&before.text).map_err(|error| AppError::Conflict(format!("{file}: {error}")))?;
        if text == before.text {
            return Ok(());
        }
        let mut files = read_files(&project.key, &self.inner.folder.project(&project.key))?;
        let with_change = FileText { path: file.to_owned(), text: text.clone() };
        match file.strip_prefix("webapps/").and_then(|name| name.strip_suffix(".toml")) {
            Some(stem) => _ = files.webapps.insert(stem.to_owned(), with_change),
            None => files.project = Some(with_change),
        }
        load(project.key.clone(), &files)?;
        let path = self.path_of(project, file);
        let mut out = AtomicFile::create(&path)?;
        out.write_all(text.as_bytes()).map_err(EngineError::io("write", &path))?;
        self.note(self.entry(actor, change.action, format!("project {}", project.key), change.told)).await?;
        out.commit()?;
        self.inner.projects.forget(&project.key);
        Ok(())
    }
}

/// The file that says what a project is.
const HEADER: &str = "project.toml";

fn file_of(webapp: &WebappName) -> String {
    format!("webapps/{webapp}.toml")
}

fn check_count(count: usize) -> Result<(), AppError> {
    if count <= PRINCIPALS_MAX {
        return Ok(());
    }
    Err(AppError::Invalid(format!("there are {count} groups and users; the most are {PRINCIPALS_MAX}: use groups")))
}

/// What a change gives and takes, for the audit trail.
fn told(before: &ProjectPermissions, after: &ProjectPermissions) -> String {
    let lists = |permissions: &ProjectPermissions| -> Vec<(String, Permissions)> {
        let groups = permissions.groups.iter().map(|(name, given)| (format!("group {name}"), *given));
        groups.chain(permissions.users.iter().map(|(login, given)| (format!("user {login}"), *given))).collect()
    };
    let (before, after) = (lists(before), lists(after));
    let mut told: Vec<String> = after
        .iter()
        .filter(|entry| !before.contains(entry))
        .map(|(name, given)| {
            let given: Vec<&str> = given.iter().map(|permission| permission.as_str()).collect();
            format!("{name}: {}", given.join(", "))
        })
        .collect();
    let gone = before.iter().filter(|(name, _)| !after.iter().any(|(other, _)| other == name));
    told.extend(gone.map(|(name, _)| format!("{name}: nothing")));
    told.join("; ")
}

fn shown(access: &WebappAccess) -> String {
    let people = |list: &stet_domain::access::Principals| {
        let groups = list.groups.iter().map(|name| format!("group {name}"));
        groups.chain(list.users.iter().map(|login| format!("user {login}"))).collect::<Vec<_>>().join(", ")
    };
    let mut parts = Vec::new();
    parts.push(if access.edit.is_empty() { "open to the project".to_owned() } else { people(&access.edit) });
    if !access.view_only.is_empty() {
        parts.push(format!("view only {}", people(&access.view_only)));
    }
    parts.push(format!("public {:?}", access.public).to_lowercase());
    parts.join("; ")
}
