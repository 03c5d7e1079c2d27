//! Reads the files of scenarios, and adds those that come with each webapp.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::files::FileText;
use super::{Problem, Project};
use crate::name::{DatasetName, ScenarioName};
use crate::scenario::{STEPS_MAX, Scenario, ScenarioStep, StepMode, cycle};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    title: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "step")]
    steps: Vec<StepFile>,
}

/// A step as it is written. One struct for all kinds, since places in the file are not known inside a tagged enum.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    kind: Spanned<String>,
    dataset: Option<Spanned<String>>,
    mode: Option<Spanned<StepMode>>,
    scenario: Option<Spanned<String>>,
}

/// The scenarios that come with a webapp, as its file names them.
pub(super) const READY_MADE: [&str; 3] = ["commit_edits", "update_source", "reset_edits"];

/// Reads the scenarios of a project whose other files are read.
pub(super) fn read(project: &mut Project, files: &BTreeMap<String, FileText>, problems: &mut Vec<Problem>) {
    imply(project);
    let mut names: Vec<ScenarioName> = project.scenarios.keys().cloned().collect();
    names.extend(files.keys().filter_map(|stem| ScenarioName::new(stem.as_str()).ok()));
    for (stem, file) in files {
        let name = match ScenarioName::new(stem.as_str()) {
            Ok(name) => name,
            Err(error) => {
                problems.push(file.problem_of_file(error.to_string()));
                continue;
            }
        };
        let written: ScenarioFile = match file.parse() {
            Ok(written) => written,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        if written.steps.len() > STEPS_MAX {
            problems.push(file.problem_of_file(format!("a scenario has at most {STEPS_MAX} steps")));
            continue;
        }
        let steps = written
            .steps
            .into_iter()
            .filter_map(|step| read_step(project, &names, file, step).map_err(|problem| problems.push(problem)).ok())
            .collect();
        let scenario = Scenario {
            title: written.title.unwrap_or_else(|| name.to_string()),
            description: written.description,
            steps,
            implied: false,
            name: name.clone(),
        };
        project.scenarios.insert(name, scenario);
    }
    if let Some(cycle) = cycle(&project.scenarios) {
        let names: Vec<&str> = cycle.iter().map(ScenarioName::as_str).collect();
        let message = format!("these scenarios run each other without end: {}", names.join(" → "));
        problems.push(Problem { file: "scenarios".to_owned(), line: None, column: None, message });
    }
}

fn read_step(
    project: &Project,
    scenarios: &[ScenarioName],
    file: &FileText,
    step: StepFile,
) -> Result<ScenarioStep, Problem> {
    let dataset = |name: &Spanned<String>| {
        let found = DatasetName::new(name.get_ref().as_str()).ok().filter(|name| project.datasets.contains_key(name));
        found.ok_or_else(|| {
            let known: Vec<&str> = project.datasets.keys().map(DatasetName::as_str).collect();
            let message = format!("there is no dataset `{}`: known are {}", name.get_ref(), known.join(", "));
            file.problem(name.span().start, message)
        })
    };
    let original = |name: &Spanned<String>| {
        let found = dataset(name)?;
        if project.webapp_on(&found).is_none() {
            let message = format!("no webapp edits `{found}`: name the original of one");
            return Err(file.problem(name.span().start, message));
        }
        Ok(found)
    };
    let kind = step.kind.get_ref().as_str();
    let place = step.kind.span().start;
    let only = |used: &[&str]| {
        let given = [
            ("dataset", step.dataset.as_ref().map(Spanned::span)),
            ("mode", step.mode.as_ref().map(Spanned::span)),
            ("scenario", step.scenario.as_ref().map(Spanned::span)),
        ];
        match given.into_iter().find_map(|(name, span)| Some((name, span.filter(|_| !used.contains(&name))?))) {
            Some((name, span)) => {
                Err(file.problem(span.start, format!("`{name}` means nothing for a step of kind `{kind}`")))
            }
            None => Ok(()),
        }
    };
    let missing = |name: &str| file.problem(place, format!("a step of kind `{kind}` needs `{name}`"));
    let named = || step.dataset.as_ref().ok_or_else(|| missing("dataset"));
    Ok(match kind {
        "build" => {
            only(&["dataset", "mode"])?;
            let name = named()?;
            let mode = step.mode.as_ref().map(|mode| *mode.get_ref()).unwrap_or_default();
            let found = dataset(name)?;
            if project.recipe_of(&found).is_none() {
                let message = format!("`{found}` cannot be built: no recipe makes it");
                return Err(file.problem(name.span().start, message));
            }
            ScenarioStep::Build { dataset: found, mode }
        }
        "refresh" | "reset_edits" => {
            only(&["dataset"])?;
            let dataset = original(named()?)?;
            if kind == "refresh" { ScenarioStep::Refresh { dataset } } else { ScenarioStep::ResetEdits { dataset } }
        }
        "scenario" => {
            only(&["scenario"])?;
            let scenario = step.scenario.as_ref().ok_or_else(|| missing("scenario"))?;
            let found = scenarios.iter().find(|name| name.as_str() == scenario.get_ref());
            let found = found.ok_or_else(|| {
                let known: Vec<&str> = scenarios.iter().map(ScenarioName::as_str).collect();
                let message = format!("there is no scenario `{}`: known are {}", scenario.get_ref(), known.join(", "));
                file.problem(scenario.span().start, message)
            })?;
            ScenarioStep::Scenario { scenario: found.clone() }
        }
        other => {
            let message = format!("`{other}` is no kind of step: use build, refresh, reset_edits or scenario");
            return Err(file.problem(place, message));
        }
    })
}

/// Every webapp comes with three scenarios, unless its file says which.
fn imply(project: &mut Project) {
    let mut implied = Vec::new();
    for webapp in project.webapps.values() {
        let original = &webapp.original;
        let build = |dataset: DatasetName, mode| ScenarioStep::Build { dataset, mode };
        for kind in READY_MADE.iter().filter(|kind| webapp.scenarios.iter().any(|wanted| wanted == *kind)) {
            let (title, description, steps) = match *kind {
                "commit_edits" => (
                    format!("Commit edits of {}", webapp.title),
                    format!("Makes {} and {} of the edits so far.", original.editlog_pivoted(), original.edited()),
                    vec![
                        build(original.editlog_pivoted(), StepMode::Required),
                        build(original.edited(), StepMode::Required),
                    ],
                ),
                "update_source" => {
                    let mut steps = Vec::new();
                    if project.recipe_of(original).is_some() {
                        steps.push(build(original.clone(), StepMode::Force));
                    }
                    steps.push(ScenarioStep::Refresh { dataset: original.clone() });
                    (
                        format!("Update source of {}", webapp.title),
                        format!("Brings {original} up to date, and shows it to everybody who has the table open."),
                        steps,
                    )
                }
                _ => (
                    format!("Reset edits of {}", webapp.title),
                    format!(
                        "Empties the editlog of {original}. On a design node at any time; on an automation node only \
                         before the first edit."
                    ),
                    vec![ScenarioStep::ResetEdits { dataset: original.clone() }],
                ),
            };
            let Ok(name) = ScenarioName::new(format!("{kind}_{original}")) else { continue };
            implied.push(Scenario { name, title, description, steps, implied: true });
        }
    }
    project.scenarios = implied.into_iter().map(|scenario| (scenario.name.clone(), scenario)).collect();
}
