//! Variables: texts of `project.toml` that travel with the project, and those of `local.toml`, which hold on one node alone
//! and go before. `${name}` in a dataset's `path` or `connection` stands for one.

use std::collections::BTreeMap;

use super::Problem;
use super::files::{FileText, LocalFile};

/// The longest value, in characters.
const VALUE_CHARACTERS_MAX: usize = 1_000;

/// The variables that hold: those of the project, and over them those of this node.
pub(super) fn merged(
    travelling: BTreeMap<String, String>,
    local: Option<&FileText>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut variables = travelling;
    if let Some(file) = local {
        match file.parse::<LocalFile>() {
            Ok(local) => variables.extend(local.variables),
            Err(problem) => problems.push(problem),
        }
    }
    for (name, value) in &variables {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            let message = format!("`{name}` cannot be the name of a variable: use letters, digits and `_`");
            problems.push(Problem { file: "project.toml".to_owned(), line: None, column: None, message });
        } else if value.chars().count() > VALUE_CHARACTERS_MAX {
            let message = format!("the variable `{name}` has more than {VALUE_CHARACTERS_MAX} characters");
            problems.push(Problem { file: "project.toml".to_owned(), line: None, column: None, message });
        }
    }
    variables
}

/// A text with its variables filled in.
pub(super) fn fill(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            return Err(format!("`{text}` has a `${{` without its `}}`"));
        };
        match variables.get(name) {
            Some(value) => filled.push_str(value),
            None => {
                return Err(format!(
                    "the variable `{name}` has no value: give it one under [variables] in project.toml, or in local.toml \
                     for this node alone"
                ));
            }
        }
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}
