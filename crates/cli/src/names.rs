//! Names as they are typed at the shell, and what was probably meant when there is no such thing.

use std::str::FromStr;

use std::sync::Arc;
use stet_app::App;
use stet_domain::Actor;
use stet_domain::project::Project;

use crate::failure::Failure;

/// `PROJECT.DATASET`, split at the first dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatasetArgument {
    /// The project's key.
    pub(crate) project: String,
    /// The dataset's name.
    pub(crate) dataset: String,
}

impl FromStr for DatasetArgument {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('.') {
            Some((project, dataset)) if !project.is_empty() && !dataset.is_empty() => {
                Ok(DatasetArgument { project: project.to_owned(), dataset: dataset.to_owned() })
            }
            _ => {
                Err("write the project and the dataset with a dot between them, such as BIRDSTRIKES.strikes".to_owned())
            }
        }
    }
}

/// The project of this key.
///
/// # Errors
/// When there is none: with the name that is nearest to it.
pub(crate) fn project(app: &App, actor: &Actor, key: &str) -> Result<Arc<Project>, Failure> {
    let projects = app.projects(actor);
    let known: Vec<&str> = projects.iter().map(|(key, _)| key.as_str()).collect();
    if known.contains(&key) {
        return Ok(app.project(actor, key)?);
    }
    let folder = app.folder().projects();
    Err(Failure::usage(match suggestion(key, &known) {
        Some(near) => format!("there is no project `{key}`: did you mean `{near}`?"),
        None if known.is_empty() => format!("there is no project `{key}`: {} holds none", folder.display()),
        None => format!("there is no project `{key}`: there {}", list(&known)),
    }))
}

/// Checks that a project has a dataset of this name.
///
/// # Errors
/// When it has none: with the name that is nearest to it.
pub(crate) fn dataset(app: &App, actor: &Actor, argument: &DatasetArgument) -> Result<Arc<Project>, Failure> {
    let project = project(app, actor, &argument.project)?;
    let name = &argument.dataset;
    let known: Vec<&str> = project.datasets.keys().map(|dataset| dataset.as_str()).collect();
    if known.contains(&name.as_str()) {
        return Ok(project);
    }
    Err(Failure::usage(match suggestion(name, &known) {
        Some(near) => format!("{} has no dataset `{name}`: did you mean `{}.{near}`?", project.key, project.key),
        None if known.is_empty() => format!("{} has no dataset `{name}`: it has none at all", project.key),
        None => format!("{} has no dataset `{name}`: there {}", project.key, list(&known)),
    }))
}

/// The name that is nearest to what was typed, if one is near.
pub(crate) fn suggestion<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    let nearest = known.iter().copied().min_by_key(|name| distance(name))?;
    (distance(nearest) <= 1 + lower.chars().count() / 4).then_some(nearest)
}

fn list(known: &[&str]) -> String {
    let verb = if known.len() == 1 { "is" } else { "are" };
    let names: Vec<String> = known.iter().take(20).map(|name| format!("`{name}`")).collect();
    let more = if known.len() > 20 { ", …" } else { "" };
    format!("{verb} {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_named_with_its_project_before_the_first_dot() {
        let argument: DatasetArgument = "BIRDSTRIKES.strikes".parse().unwrap();
        assert_eq!((argument.project.as_str(), argument.dataset.as_str()), ("BIRDSTRIKES", "strikes"));
        assert_eq!("A.b.c".parse::<DatasetArgument>().unwrap().dataset, "b.c");
        for text in ["strikes", ".strikes", "BIRDSTRIKES.", "", "."] {
            assert!(text.parse::<DatasetArgument>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_near_miss_is_told_and_a_far_one_is_not() {
        let known = ["strikes", "strikes_edited", "airports"];
        assert_eq!(suggestion("strike", &known), Some("strikes"));
        assert_eq!(suggestion("Strikes_Edited", &known), Some("strikes_edited"));
        assert_eq!(suggestion("aiprorts", &known), Some("airports"));
        assert_eq!(suggestion("weather", &known), None);
    }
}
