//! Scenarios: steps that are run one after the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{DatasetName, ScenarioName};

/// The most steps of a scenario.
pub const STEPS_MAX: usize = 100;

/// A scenario of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Its name.
    pub name: ScenarioName,
    /// The title for people.
    pub title: String,
    /// What it is for; may be empty.
    pub description: String,
    /// What it does, in order.
    pub steps: Vec<ScenarioStep>,
    /// Whether a webapp brings it along, without a file of its own.
    pub implied: bool,
}

/// A step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScenarioStep {
    /// Builds a dataset.
    Build {
        /// The dataset.
        dataset: DatasetName,
        /// Which datasets are made with it.
        mode: StepMode,
    },
    /// Loads the original of a webapp again, for everybody who has its table open.
    Refresh {
        /// The original.
        dataset: DatasetName,
    },
    /// Empties the editlog of an original, where that is allowed.
    ResetEdits {
        /// The original.
        dataset: DatasetName,
    },
    /// Runs another scenario.
    Scenario {
        /// That scenario.
        scenario: ScenarioName,
    },
}

/// Which datasets a build step makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepMode {
    /// The dataset and all that it is made of, as far as they are not up to date.
    #[default]
    Required,
    /// The dataset alone.
    Only,
    /// The dataset and all that it is made of, whether up to date or not.
    Force,
}

impl std::fmt::Display for ScenarioStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ScenarioStep::Build { dataset, mode: StepMode::Required } => write!(f, "build {dataset}"),
            ScenarioStep::Build { dataset, mode: StepMode::Only } => write!(f, "build {dataset} alone"),
            ScenarioStep::Build { dataset, mode: StepMode::Force } => {
                write!(f, "build {dataset} and all that it is made of")
            }
            ScenarioStep::Refresh { dataset } => write!(f, "load {dataset} again"),
            ScenarioStep::ResetEdits { dataset } => write!(f, "reset the edits of {dataset}"),
            ScenarioStep::Scenario { scenario } => write!(f, "run {scenario}"),
        }
    }
}

/// A way from a scenario back to itself, if there is one: it would run for ever.
pub fn cycle(scenarios: &BTreeMap<ScenarioName, Scenario>) -> Option<Vec<ScenarioName>> {
    fn visit(
        scenarios: &BTreeMap<ScenarioName, Scenario>,
        name: &ScenarioName,
        path: &mut Vec<ScenarioName>,
    ) -> Option<Vec<ScenarioName>> {
        if let Some(start) = path.iter().position(|earlier| earlier == name) {
            let mut cycle = path[start..].to_vec();
            cycle.push(name.clone());
            return Some(cycle);
        }
        // No way is longer than there are scenarios.
        path.push(name.clone());
        let steps = scenarios.get(name).map(|scenario| scenario.steps.as_slice()).unwrap_or_default();
        let found = steps.iter().find_map(|step| match step {
            ScenarioStep::Scenario { scenario } => visit(scenarios, scenario, path),
            _ => None,
        });
        path.pop();
        found
    }
    scenarios.keys().find_map(|name| visit(scenarios, name, &mut Vec::new()))
}
