//! Permissions in a project, and the scopes of API tokens, as small sets.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::actor::Profile;

/// Something that may be done in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Look at dashboards, and use webapps: see and edit.
    ReadDashboards,
    /// Look at the flow, at datasets and at builds.
    ReadContent,
    /// Change the project's files, and build.
    WriteContent,
    /// Start and stop builds and scenarios.
    RunScenarios,
    /// Take whole datasets away.
    ExportData,
    /// Approve bundles.
    Approve,
    /// Bring bundles to an automation node.
    Deploy,
    /// Everything, and say who may do what.
    Administer,
}

impl Permission {
    /// All of them, in the order in which they are told.
    pub const ALL: [Permission; 8] = [
        Permission::ReadDashboards,
        Permission::ReadContent,
        Permission::WriteContent,
        Permission::RunScenarios,
        Permission::ExportData,
        Permission::Approve,
        Permission::Deploy,
        Permission::Administer,
    ];

    /// As it is written in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::ReadDashboards => "read_dashboards",
            Permission::ReadContent => "read_content",
            Permission::WriteContent => "write_content",
            Permission::RunScenarios => "run_scenarios",
            Permission::ExportData => "export_data",
            Permission::Approve => "approve",
            Permission::Deploy => "deploy",
            Permission::Administer => "administer",
        }
    }

    /// The least profile of whom it can be given to: what changes a project or production is not for readers.
    fn profile_min(self) -> Profile {
        match self {
            Permission::WriteContent | Permission::Deploy | Permission::Administer => Profile::Designer,
            _ => Profile::Reader,
        }
    }

    /// The scope that a token needs for it.
    fn scope(self) -> Scope {
        match self {
            Permission::ReadDashboards | Permission::ReadContent | Permission::ExportData => Scope::Read,
            Permission::WriteContent | Permission::RunScenarios => Scope::Build,
            Permission::Approve | Permission::Deploy | Permission::Administer => Scope::Admin,
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl std::str::FromStr for Permission {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Permission::ALL.into_iter().find(|permission| permission.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
            format!("`{text}` is not a permission: use {}", known.join(", "))
        })
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// Nothing may be done.
    pub const NONE: Permissions = Permissions(0);

    /// Everything may be done.
    pub const ALL: Permissions = Permissions(u8::MAX);

    /// These ones, and no other.
    pub fn of(permissions: &[Permission]) -> Permissions {
        permissions.iter().fold(Permissions::NONE, |set, permission| Permissions(set.0 | permission.bit()))
    }

    /// Whether the set has a permission.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether the set has one of these permissions.
    pub fn has_any(self, permissions: &[Permission]) -> bool {
        self.0 & Permissions::of(permissions).0 != 0
    }

    /// Whether nothing may be done.
    pub fn is_empty(self) -> bool {
        self == Permissions::NONE
    }

    /// The permissions in the set.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.has(*permission))
    }

    /// What is in one of the two.
    pub fn union(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }

    /// With what each permission brings along: whoever writes a project's files reads it, and whoever reads it whole uses
    /// its webapps. To approve, to deploy and to start scenarios bring nothing: duties can be kept apart.
    pub(super) fn with_implied(self) -> Permissions {
        let mut set = self;
        if set.has(Permission::Administer) {
            set = Permissions::ALL;
        }
        if set.has(Permission::WriteContent) {
            set.0 |= Permission::ReadContent.bit();
        }
        if set.has(Permission::ReadContent) {
            set.0 |= Permission::ReadDashboards.bit();
        }
        set
    }

    /// What of it a profile can be given.
    pub(super) fn within(self, profile: Profile) -> Permissions {
        self.only(|permission| permission.profile_min() <= profile)
    }

    /// What of it these scopes allow.
    pub(super) fn within_scopes(self, scopes: Scopes) -> Permissions {
        self.only(|permission| scopes.has(permission.scope()))
    }

    fn only(self, keep: impl Fn(Permission) -> bool) -> Permissions {
        self.iter()
            .filter(|permission| keep(*permission))
            .fold(Permissions::NONE, |set, permission| Permissions(set.0 | permission.bit()))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<T: IntoIterator<Item = Permission>>(permissions: T) -> Permissions {
        permissions.into_iter().fold(Permissions::NONE, |set, permission| Permissions(set.0 | permission.bit()))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What an API token may be used for, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read what its user may read.
    Read,
    /// Edit in webapps; reading is part of it.
    Edit,
    /// Build datasets and change projects; reading is part of it.
    Build,
    /// Everything that its user may do, users and permissions included.
    Admin,
}

impl Scope {
    /// All of them, from the least on.
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Edit, Scope::Build, Scope::Admin];

    /// As it is written at the shell, in answers and in the node database.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Edit => "edit",
            Scope::Build => "build",
            Scope::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Scope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a scope: use read, edit, build or admin"))
    }
}

/// A set of scopes. Its text form is a list with commas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// No limit: a session, or the shell.
    pub const ALL: Scopes = Scopes(0b1111);

    /// These ones with what they bring along.
    pub fn of(scopes: &[Scope]) -> Scopes {
        let set = scopes.iter().fold(0, |set, scope| set | 1 << *scope as u8);
        match set {
            0 => Scopes(0),
            _ if set & (1 << Scope::Admin as u8) != 0 => Scopes::ALL,
            _ => Scopes(set | 1 << Scope::Read as u8),
        }
    }

    /// Whether the set has a scope.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// The scopes in the set.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl std::str::FromStr for Scopes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let scopes = text.split(',').map(|scope| scope.trim().parse()).collect::<Result<Vec<Scope>, String>>()?;
        Ok(Scopes::of(&scopes))
    }
}
