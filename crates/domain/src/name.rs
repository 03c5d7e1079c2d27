//! Names of the things in a project, as types, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

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

    /// What visitors are told instead of a person's login.
    pub fn someone() -> Login {
        Login("someone".to_owned())
    }
}

/// Names that stand for no user of the node, and must not be taken by one.
const RESERVED: [&str; 6] = ["none", "null", "anonymous", "system", "someone", "visitor"];

/// Whether a login, a group or a name for people would be mistaken for one that stands for no user, such as `none`, the
/// author of visitors' edits. Case, spaces, signs, invisible characters and the usual lookalikes of letters do not matter.
pub fn looks_reserved(name: &str) -> bool {
    let seen = skeleton(name);
    RESERVED.iter().any(|reserved| skeleton(reserved) == seen)
}

/// What is seen of a name, without the differences that nobody looks for: two names with the same one are taken for each
/// other. Compatibility forms (wide, mathematical, circled letters) and accents go by Unicode's decomposition (UAX 15), the
/// rest by lookalikes, as Unicode's confusables (UTS 39) have them.
fn skeleton(name: &str) -> String {
    let letters = name.nfkd().flat_map(char::to_lowercase).nfkd().filter_map(plain_letter);
    // Two letters that are read as one.
    letters.collect::<String>().replace("rn", "m")
}

/// The ASCII letter that a character looks like; none for what is not seen as a letter. It covers the letters of the
/// reserved names only; `i` stands for all that look like `l` and `1` as well.
fn plain_letter(letter: char) -> Option<char> {
    Some(match letter {
        'l' | '1' | 'ı' | 'і' | 'ι' | 'ɩ' | 'ꙇ' | 'ӏ' | 'ǀ' | 'ו' | 'ן' | 'ا' | '١' | '۱' | 'ⅼ' | 'ⲓ' | 'ł' | 'ɫ'
        | 'ᛁ' => 'i',
        'a'..='z' => letter,
        '0' | 'о' | 'ο' | 'օ' | 'ø' | 'ᴏ' | 'ᴑ' | 'ס' | 'ه' | 'ہ' | 'ە' | '੦' | '০' | '०' | '૦' | '௦' | '౦' | '೦'
        | '൦' | '๐' | '໐' | '၀' | '٥' | '۵' | 'ჿ' | 'ⲟ' | '〇' | 'ං' | 'σ' | 'ѳ' | 'ө' | 'ɵ' | '𐓪' | '𐐬' => {
            'o'
        }
        '3' | 'е' | 'ε' | 'ҽ' | 'ᴇ' | '℮' | 'є' | 'ɛ' | 'ə' | 'ǝ' | 'ꬲ' | 'ⲉ' | 'ɇ' | 'э' => 'e',
        'ո' | 'п' | 'η' | 'ռ' | 'ɴ' | 'ν' | 'ŋ' | 'ɲ' | 'ɳ' | 'ƞ' | 'и' | 'ⲛ' | 'ח' => 'n',
        '4' | 'а' | 'α' | 'ɑ' | 'ᴀ' | 'ⲁ' => 'a',
        '5' | 'ѕ' | 'ꜱ' | 'ʂ' => 's',
        'υ' | 'ս' | 'ʋ' | 'ᴜ' | 'µ' | 'μ' | 'џ' => 'u',
        'у' | 'γ' | 'ү' | 'ʏ' | 'ყ' => 'y',
        'м' | 'ᴍ' | 'ⲙ' => 'm',
        '7' | 'т' | 'τ' | 'ᴛ' | 'ⲧ' | 'ŧ' => 't',
        'г' | 'ᴦ' | 'ʀ' | 'ⲅ' => 'r',
        'ѵ' | 'ᴠ' | 'ⱱ' => 'v',
        other if other.is_alphanumeric() => other,
        _ => return None,
    })
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
    fn a_name_that_looks_like_none_is_told_apart_from_others() {
        for name in [
            "none",
            "NONE",
            "n o n e",
            "none.",
            "_none_",
            "nоne",
            "nοne",
            "n\u{200b}one",
            "ｎｏｎｅ",
            "n0ne",
            "nonе",
            "Null",
            "nu11",
            "ℕone",
            "𝐧𝐨𝐧𝐞",
            "ⓝⓞⓝⓔ",
            "ⁿone",
            "nọñê",
            "n\u{303}one",
            "ＮＯＮＥ",
            "ŋone",
            "n\u{2060}o\u{ad}ne",
            "\u{202e}none",
            "sуstеm",
            "systern",
            "vis1tor",
            "аnonymоus",
            "none!",
            "none|●",
        ] {
            assert!(looks_reserved(name), "{name:?}");
        }
        for name in [
            "nona",
            "none2",
            "anon",
            "noneman",
            "nina",
            "",
            "小野",
            "nils",
            "noel",
            "simone",
            "Élise",
            "Ανδρέας",
            "Иван",
        ] {
            assert!(!looks_reserved(name), "{name:?}");
        }
    }

    #[test]
    fn a_name_with_a_path_in_it_is_refused() {
        for name in ["", "../x", "a/b", "a b", "1st", "é", "a\0"] {
            assert!(DatasetName::new(name).is_err(), "{name:?}");
        }
        assert!(WebappName::new("review-matches").is_ok());
    }
}
