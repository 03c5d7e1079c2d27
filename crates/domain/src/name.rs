//! Names of the things in a project, as types, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of a project, dataset, webapp or recipe, in characters.
pub const NAME_CHARACTERS_MAX: usize = 100;

/// The longest login, in characters.
pub const LOGIN_CHARACTERS_MAX: usize = 100;

/// A name that does not follow the rules for names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be the name of a {kind}: {reason}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    reason: &'static str,
}

fn check_name(kind: &'static str, name: &str) -> Result<(), NameError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.chars().count() > NAME_CHARACTERS_MAX {
        "it is longer than 100 characters"
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        "it must start with a letter or an underscore"
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        "use only letters, digits, `_` and `-`"
    } else {
        return Ok(());
    };
    Err(NameError { kind, name: name.to_owned(), reason })
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks the text against the rules for names.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                $check($kind, &name)?;
                Ok(Self(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The key of a project: the name of its folder under `projects/`.
    ProjectKey, "project", check_name
}
name_type! {
    /// The name of a dataset, unique in its project.
    DatasetName, "dataset", check_name
}
name_type! {
    /// The name of a webapp, unique in its project.
    WebappName, "webapp", check_name
}
name_type! {
    /// The name of a recipe, unique in its project.
    RecipeName, "recipe", check_name
}
name_type! {
    /// The name of a scenario, unique in its project.
    ScenarioName, "scenario", check_name
}
name_type! {
    /// The name that a user signs in with, and that is copied into every event of theirs.
    Login, "user", check_login
}

name_type! {
    /// The name of a group of users.
    GroupName, "group", check_login
}

impl DatasetName {
    /// The editlog of this original dataset: `<original>_editlog`.
    pub fn editlog(&self) -> DatasetName {
        DatasetName(format!("{self}_editlog"))
    }

    /// The output of the replay recipe over this original dataset: `<original>_editlog_pivoted`.
    pub fn editlog_pivoted(&self) -> DatasetName {
        DatasetName(format!("{self}_editlog_pivoted"))
    }

    /// The output of the apply recipe over this original dataset: `<original>_edited`.
    pub fn edited(&self) -> DatasetName {
        DatasetName(format!("{self}_edited"))
    }
}

impl Login {
    /// The author of edits by visitors who have not signed in.
    pub fn none() -> Login {
        Login("none".to_owned())
    }
}

fn check_login(kind: &'static str, login: &str) -> Result<(), NameError> {
    let reason = if login.is_empty() {
        "it is empty"
    } else if login.chars().count() > LOGIN_CHARACTERS_MAX {
        "it is longer than 100 characters"
    } else if !login.chars().all(|c| c.is_ascii_alphanumeric() || "._-@+".contains(c)) {
        "use only letters, digits and `.`, `_`, `-`, `@`, `+`"
    } else {
        return Ok(());
    };
    Err(NameError { kind, name: login.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_path_in_it_is_refused() {
        for name in ["", "../x", "a/b", "a b", "1st", "é", "a\0"] {
            assert!(DatasetName::new(name).is_err(), "{name:?}");
        }
        assert!(WebappName::new("review-matches").is_ok());
    }
}
