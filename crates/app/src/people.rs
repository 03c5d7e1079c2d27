//! Users and groups as a file says them, for automation: what is missing is added, what differs is changed, and whoever is
//! not named stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use stet_domain::name::looks_reserved;
use stet_domain::project::{FileText, Problem};
use stet_domain::{Actor, GroupName, Login, Profile};
use toml::Spanned;

use crate::App;
use crate::error::AppError;
use crate::groups::reserved;
use crate::password::{self, new_secret};
use crate::users::{NewUser, check_display_name, check_new_login};

/// The most users and groups of a file.
const ENTRIES_MAX: usize = 10_000;

/// The longest file with a password, in bytes.
const PASSWORD_FILE_BYTES_MAX: u64 = 4_096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeopleFile {
    #[serde(default)]
    groups: Vec<GroupEntry>,
    #[serde(default)]
    users: Vec<UserEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupEntry {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    login: Spanned<String>,
    name: Option<String>,
    profile: Option<Spanned<String>>,
    groups: Option<Vec<Spanned<String>>>,
    disabled: Option<bool>,
    password_file: Option<Spanned<String>>,
}

/// One change that brings the node nearer to what the file says.
pub struct PersonChange(Change);

enum Change {
    AddGroup { name: GroupName, description: String },
    AddUser { login: Login, name: String, profile: Profile, password: Option<String> },
    Profile(Login, Profile),
    Disabled(Login, bool),
    Join(Login, GroupName),
    Leave(Login, GroupName),
}

/// As people read it: the passwords of new users are in none of the two.
impl fmt::Debug for PersonChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PersonChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Change::AddGroup { name, .. } => write!(f, "add the group {name}"),
            Change::AddUser { login, profile, password, .. } => {
                let how = if password.is_some() { "" } else { ", without a password" };
                write!(f, "add the user {login} ({}){how}", profile.as_str())
            }
            Change::Profile(login, profile) => write!(f, "give {login} the profile {}", profile.as_str()),
            Change::Disabled(login, true) => write!(f, "shut {login} out"),
            Change::Disabled(login, false) => write!(f, "let {login} in again"),
            Change::Join(login, group) => write!(f, "put {login} into {group}"),
            Change::Leave(login, group) => write!(f, "take {login} out of {group}"),
        }
    }
}

impl App {
    /// What has to be done so that the node is as a file says; empty when it is. Passwords of new users are read from the
    /// files that it names, relative to its folder.
    ///
    /// # Errors
    /// When the actor is no administrator; with every mistake of the file and its place.
    pub async fn plan_people(&self, actor: &Actor, path: &Path, text: String) -> Result<Vec<PersonChange>, AppError> {
        self.require_administrator(actor)?;
        let file = FileText { path: path.display().to_string(), text };
        let mut problems = Vec::new();
        let refused = |problems: Vec<Problem>| {
            let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
            AppError::Configuration(lines.join(
                "
",
            ))
        };
        let entries: PeopleFile = file.parse().map_err(|problem| refused(vec![problem]))?;
        if entries.users.len() + entries.groups.len() > ENTRIES_MAX {
            return Err(AppError::Invalid(format!("a file has at most {ENTRIES_MAX} users and groups: use several")));
        }
        let mut changes = Vec::new();
        let mut groups: BTreeSet<GroupName> = self.groups(actor).await?.into_iter().map(|group| group.name).collect();
        let mut named = BTreeSet::new();
        for entry in entries.groups {
            let Some(name) = group_of(&file, &entry.name, &mut problems) else { continue };
            if !named.insert(name.to_string()) {
                problems.push(file.problem(entry.name.span().start, format!("the group `{name}` is there twice")));
            } else if looks_reserved(name.as_str()) {
                problems.push(file.problem(entry.name.span().start, reserved(&name).to_string()));
            } else if groups.insert(name.clone()) {
                changes.push(Change::AddGroup { name, description: entry.description });
            }
        }
        let known: BTreeMap<Login, _> =
            self.users(actor).await?.into_iter().map(|user| (user.login.clone(), user)).collect();
        let mut named = BTreeSet::new();
        for entry in entries.users {
            let at = entry.login.span().start;
            let login = match Login::new(entry.login.get_ref().trim().to_lowercase()) {
                Ok(login) => login,
                Err(error) => {
                    problems.push(file.problem(at, error.to_string()));
                    continue;
                }
            };
            if !named.insert(login.clone()) {
                problems.push(file.problem(at, format!("the user `{login}` is there twice")));
                continue;
            }
            let profile = entry.profile.as_ref().and_then(|profile| {
                let read = profile.get_ref().parse::<Profile>();
                read.map_err(|error| problems.push(file.problem(profile.span().start, error.to_string()))).ok()
            });
            let before = known.get(&login);
            match before {
                None => {
                    let password = entry.password_file.as_ref().and_then(|place| {
                        let read = read_password(path, place.get_ref());
                        read.map_err(|message| problems.push(file.problem(place.span().start, message))).ok()
                    });
                    let profile = profile.unwrap_or(Profile::Reader);
                    let name = entry.name.unwrap_or_default();
                    for refused in [check_new_login(&login).err(), check_display_name(name.trim()).err()] {
                        problems.extend(refused.map(|error| file.problem(at, error.to_string())));
                    }
                    changes.push(Change::AddUser { login: login.clone(), name, profile, password });
                }
                Some(user) => {
                    changes.extend(
                        profile
                            .filter(|profile| *profile != user.profile)
                            .map(|profile| Change::Profile(login.clone(), profile)),
                    );
                }
            }
            let disabled = entry.disabled.filter(|wanted| *wanted != before.is_some_and(|user| user.disabled));
            changes.extend(disabled.map(|disabled| Change::Disabled(login.clone(), disabled)));
            let Some(wanted) = entry.groups else { continue };
            let mut mine = BTreeSet::new();
            for name in &wanted {
                let Some(group) = group_of(&file, name, &mut problems) else { continue };
                if !groups.contains(&group) {
                    let message = format!("there is no group `{group}`: add it under [[groups]]");
                    problems.push(file.problem(name.span().start, message));
                }
                mine.insert(group);
            }
            let now = before.map(|user| user.groups.clone()).unwrap_or_default();
            changes.extend(mine.difference(&now).map(|group| Change::Join(login.clone(), group.clone())));
            changes.extend(now.difference(&mine).map(|group| Change::Leave(login.clone(), group.clone())));
        }
        if problems.is_empty() { Ok(changes.into_iter().map(PersonChange).collect()) } else { Err(refused(problems)) }
    }

    /// Carries changes out, one after the other, each with its entry in the audit trail.
    ///
    /// # Errors
    /// When one is refused: those before it are done, and planning anew tells what is left.
    pub async fn apply_people(&self, actor: &Actor, changes: &[PersonChange]) -> Result<(), AppError> {
        for PersonChange(change) in changes {
            match change {
                Change::AddGroup { name, description } => self.add_group(actor, name.as_str(), description).await?,
                Change::AddUser { login, name, profile, password } => {
                    // Nobody knows the password of who is to sign in at the provider.
                    let password = password.clone().unwrap_or_else(new_secret);
                    let user =
                        NewUser { login: login.to_string(), display_name: name.clone(), profile: *profile, password };
                    self.add_user(actor, user).await?;
                }
                Change::Profile(login, profile) => self.set_profile(actor, login.as_str(), *profile).await?,
                Change::Disabled(login, disabled) => self.set_user_disabled(actor, login.as_str(), *disabled).await?,
                Change::Join(login, group) => {
                    self.add_to_group(actor, group.as_str(), login.as_str()).await?;
                }
                Change::Leave(login, group) => {
                    self.remove_from_group(actor, group.as_str(), login.as_str()).await?;
                }
            }
        }
        Ok(())
    }
}

fn group_of(file: &FileText, name: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<GroupName> {
    GroupName::new(name.get_ref().trim().to_lowercase())
        .map_err(|error| problems.push(file.problem(name.span().start, error.to_string())))
        .ok()
}

fn read_password(file: &Path, place: &str) -> Result<String, String> {
    let path = file.parent().unwrap_or(Path::new("")).join(place);
    let size = std::fs::metadata(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?.len();
    if size > PASSWORD_FILE_BYTES_MAX {
        return Err(format!("{} is longer than any password", path.display()));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    password::check_new(&password).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(password)
}
