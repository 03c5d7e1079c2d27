//! Who acts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::access::{Scope, Scopes};
use crate::name::{GroupName, Login, ProjectKey};

/// What a user may be at most, on the whole node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Uses webapps and reads results.
    Reader,
    /// Also builds datasets and changes projects.
    Designer,
    /// Also administers the node and its users.
    Admin,
}

impl Profile {
    /// The profile as it is written in files, answers and the node database.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Reader => "reader",
            Profile::Designer => "designer",
            Profile::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "reader" => Ok(Profile::Reader),
            "designer" => Ok(Profile::Designer),
            "admin" => Ok(Profile::Admin),
            other => Err(format!("`{other}` is not a profile: use reader, designer or admin")),
        }
    }
}

/// What kind of principal acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// A user of the node, in a session or by a token.
    User,
    /// The person at the shell of the node's machine.
    Shell,
    /// Somebody who has not signed in.
    Visitor,
    /// A program that brings bundles, and may do no more than [`Actor::deploy`] says.
    DeployToken,
}

/// What a deploy token is good for, beside bringing bundles and reading how they are deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployScopes {
    /// The projects that it is for; all when it is empty.
    pub projects: BTreeSet<ProjectKey>,
    /// Whether it may also bring approvals, which others have signed.
    pub approvals: bool,
    /// Whether it may also activate what it brings.
    pub activate: bool,
}

impl DeployScopes {
    /// Whether it is for this project.
    pub fn is_for(&self, project: &ProjectKey) -> bool {
        self.projects.is_empty() || self.projects.contains(project)
    }
}

/// The person or program on whose behalf a use case runs. Every use case takes one and decides by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The login that is copied into the events of this actor.
    pub login: Login,
    /// The name to show to others.
    pub display_name: String,
    /// What the actor may be at most.
    pub profile: Profile,
    /// The groups that the actor was put into; see [`Actor::is_in`] for the others.
    pub groups: BTreeSet<GroupName>,
    /// What kind of principal this is.
    pub kind: ActorKind,
    /// What the token that was shown may be used for; everything for a session.
    pub scopes: Scopes,
    /// The network address that the request came from; none at the shell.
    pub address: Option<String>,
    /// What a deploy token is good for; none for everybody else.
    pub deploy: Option<DeployScopes>,
}

impl Actor {
    /// A user of the node, without the limits of a token.
    pub fn user(login: Login, display_name: String, profile: Profile, groups: BTreeSet<GroupName>) -> Actor {
        Actor {
            login,
            display_name,
            profile,
            groups,
            kind: ActorKind::User,
            scopes: Scopes::ALL,
            address: None,
            deploy: None,
        }
    }

    /// The person at the shell of the node's machine, who can read and write its files anyhow.
    pub fn shell(login: Login) -> Actor {
        let display_name = login.to_string();
        Actor { kind: ActorKind::Shell, ..Actor::user(login, display_name, Profile::Admin, BTreeSet::new()) }
    }

    /// A program with a deploy token of this name.
    pub fn deploy_token(login: Login, name: String, scopes: DeployScopes) -> Actor {
        let user = Actor::user(login, name, Profile::Reader, BTreeSet::new());
        Actor { kind: ActorKind::DeployToken, deploy: Some(scopes), ..user }
    }

    /// Somebody who has not signed in: only what is public is there for them.
    pub fn visitor() -> Actor {
        let display_name = "Visitor".to_owned();
        Actor { kind: ActorKind::Visitor, ..Actor::user(Login::none(), display_name, Profile::Reader, BTreeSet::new()) }
    }

    /// The same actor, at a network address.
    pub fn at(self, address: String) -> Actor {
        Actor { address: Some(address), ..self }
    }

    /// Whether the actor administers the node. What a token may be used for is another question: see
    /// [`Actor::may_administer_node`].
    pub fn is_administrator(&self) -> bool {
        self.profile == Profile::Admin && self.kind != ActorKind::Visitor
    }

    /// Whether the actor may manage users, groups and tokens and read the audit trail now.
    pub fn may_administer_node(&self) -> bool {
        self.is_administrator() && self.scopes.has(Scope::Admin)
    }
}
