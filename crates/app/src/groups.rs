//! Groups of users: what permissions are given to.

use stet_domain::access::{DESIGNERS, EVERYONE};
use stet_domain::name::looks_reserved;
use stet_domain::{Actor, GroupName};
use stet_store::node::Group;

use crate::App;
use crate::error::AppError;
use crate::users::parse_login;

/// The longest description of a group, in characters.
const DESCRIPTION_CHARACTERS_MAX: usize = 500;

impl App {
    /// Adds a group without members.
    ///
    /// # Errors
    /// When the actor is no administrator, or the name is taken, reserved or no name.
    pub async fn add_group(&self, actor: &Actor, name: &str, description: &str) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let name = parse_group(name)?;
        if [EVERYONE, DESIGNERS].contains(&name.as_str()) {
            return Err(AppError::Invalid(format!(
                "the group `{name}` is there always: nobody has to be put into it. Choose another name"
            )));
        }
        if description.chars().count() > DESCRIPTION_CHARACTERS_MAX {
            return Err(AppError::Invalid(format!(
                "the description of a group has at most {DESCRIPTION_CHARACTERS_MAX} characters"
            )));
        }
        if looks_reserved(name.as_str()) {
            return Err(reserved(&name));
        }
        let entry = self.entry(actor, "group.add", format!("group {name}"), "");
        self.inner.node.audited(entry).create_group(&name, description.trim(), self.inner.clock.now()).await?;
        Ok(())
    }

    /// All groups with their members, by name.
    ///
    /// # Errors
    /// When the actor is no administrator.
    pub async fn groups(&self, actor: &Actor) -> Result<Vec<Group>, AppError> {
        self.require_administrator(actor)?;
        Ok(self.inner.node.groups().await?)
    }

    /// Deletes a group: what was given to it is given to nobody, at once.
    ///
    /// # Errors
    /// When the actor is no administrator, or there is no such group.
    pub async fn remove_group(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let name = parse_group(name)?;
        let entry = self.entry(actor, "group.remove", format!("group {name}"), "");
        Ok(self.inner.node.audited(entry).delete_group(&name).await?)
    }

    /// Puts a user into a group. Whether the user was not in it before.
    ///
    /// # Errors
    /// When the actor is no administrator, or there is no such group or user.
    pub async fn add_to_group(&self, actor: &Actor, name: &str, login: &str) -> Result<bool, AppError> {
        self.require_administrator(actor)?;
        let (name, login) = (parse_group(name)?, parse_login(login)?);
        let entry = self.entry(actor, "group.add_user", format!("group {name}"), format!("user {login}"));
        Ok(self.inner.node.audited(entry).add_group_member(&name, &login).await?)
    }

    /// Takes a user out of a group. Whether the user was in it.
    ///
    /// # Errors
    /// When the actor is no administrator, or there is no such group.
    pub async fn remove_from_group(&self, actor: &Actor, name: &str, login: &str) -> Result<bool, AppError> {
        self.require_administrator(actor)?;
        let (name, login) = (parse_group(name)?, parse_login(login)?);
        let entry = self.entry(actor, "group.remove_user", format!("group {name}"), format!("user {login}"));
        Ok(self.inner.node.audited(entry).remove_group_member(&name, &login).await?)
    }
}

/// A name that stands for people who have not signed in is nobody's, and no group's.
pub(crate) fn reserved(name: &impl std::fmt::Display) -> AppError {
    AppError::Invalid(format!("`{name}` is reserved: choose another name"))
}

fn parse_group(name: &str) -> Result<GroupName, AppError> {
    GroupName::new(name.trim().to_lowercase()).map_err(|error| AppError::Invalid(error.to_string()))
}
