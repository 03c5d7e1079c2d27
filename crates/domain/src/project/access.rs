//! Reads who may do what from the files of a project.

use toml::Spanned;

use super::Problem;
use super::files::{AccessFile, FileText, PermissionsFile, PrincipalsFile};
use crate::access::{
    Condition, Permission, Permissions, Principals, ProjectPermissions, PublicUse, WebappAccess, condition,
};
use crate::name::{GroupName, Login};

/// Reads `[permissions]` of `project.toml`. What cannot be read gives nobody anything.
pub(super) fn permissions(
    file: &FileText,
    written: &PermissionsFile,
    problems: &mut Vec<Problem>,
) -> ProjectPermissions {
    let mut given = |listed: &[Spanned<String>]| {
        let mut set = Permissions::NONE;
        for name in listed {
            match name.get_ref().parse::<Permission>() {
                Ok(permission) => set = set.union(Permissions::of(&[permission])),
                Err(message) => problems.push(file.problem(name.span().start, message)),
            }
        }
        set
    };
    let groups: Vec<_> = written.groups.iter().map(|(name, listed)| (name, given(listed))).collect();
    let users: Vec<_> = written.users.iter().map(|(name, listed)| (name, given(listed))).collect();
    let mut permissions = ProjectPermissions::default();
    for (name, set) in groups {
        if let Some(name) = group(file, name, problems) {
            permissions.groups.insert(name, set);
        }
    }
    for (name, set) in users {
        if let Some(name) = user(file, name, problems) {
            permissions.users.insert(name, set);
        }
    }
    permissions
}

/// Reads `[access]` of a webapp.
pub(super) fn webapp_access(file: &FileText, written: AccessFile, problems: &mut Vec<Problem>) -> WebappAccess {
    let public = match written.public {
        None => PublicUse::No,
        Some(value) => match value.get_ref() {
            toml::Value::Boolean(false) => PublicUse::No,
            toml::Value::String(text) if text == "read" => PublicUse::Read,
            toml::Value::String(text) if text == "edit" => PublicUse::Edit,
            other => {
                let message = format!(
                    "`public = {other}` is not known: write false, \"read\" (everybody may look) or \"edit\" (everybody \
                     may edit, as the user `none`)"
                );
                problems.push(file.problem(value.span().start, message));
                PublicUse::No
            }
        },
    };
    let edit = PrincipalsFile { users: written.users, groups: written.groups };
    WebappAccess {
        edit: principals(file, &edit, problems),
        view_only: principals(file, &written.view_only, problems),
        public,
    }
}

/// Reads a list of people.
pub(super) fn principals(file: &FileText, written: &PrincipalsFile, problems: &mut Vec<Problem>) -> Principals {
    Principals {
        users: written.users.iter().filter_map(|name| user(file, name, problems)).collect(),
        groups: written.groups.iter().filter_map(|name| group(file, name, problems)).collect(),
    }
}

/// Reads a limit of rows.
pub(super) fn condition(file: &FileText, written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Condition> {
    condition::parse(written.get_ref())
        .map_err(|error| {
            // The text stands after its opening quote; what is before an escape in it stands where it seems to.
            let offset = written.span().start + 1 + error.offset;
            let message =
                format!("this is no condition on rows: {}. Write such as \"owner = current_user\"", error.message);
            problems.push(file.problem(offset.min(written.span().end), message));
        })
        .ok()
}

/// A login as the node keeps it: in lower case.
fn user(file: &FileText, name: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Login> {
    Login::new(name.get_ref().to_lowercase())
        .map_err(|error| problems.push(file.problem(name.span().start, error.to_string())))
        .ok()
}

fn group(file: &FileText, name: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<GroupName> {
    GroupName::new(name.get_ref().to_lowercase())
        .map_err(|error| problems.push(file.problem(name.span().start, error.to_string())))
        .ok()
}
