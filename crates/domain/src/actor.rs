//! Who acts.

use serde::{Deserialize, Serialize};

use crate::name::Login;

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

/// The person or program on whose behalf a use case runs. Every use case takes one and decides by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The login that is copied into the events of this actor.
    pub login: Login,
    /// The name to show to others.
    pub display_name: String,
    /// What the actor may be at most.
    pub profile: Profile,
}

impl Actor {
    /// The person at the shell of the node's machine, who can read and write its files anyhow.
    pub fn shell(login: Login) -> Actor {
        Actor { display_name: login.to_string(), login, profile: Profile::Admin }
    }
}
