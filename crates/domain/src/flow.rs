//! The flow: which dataset is made of which, in what order to build, and what is stale.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::DatasetName;
use crate::project::{Project, Recipe};

/// Recipes that need each other's output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these datasets are made of each other: {}; take one of the recipes' inputs out", datasets.join(" → "))]
pub struct Cycle {
    /// The datasets, each made of the next.
    pub datasets: Vec<String>,
}

/// All datasets of a project, each after those that it is made of.
///
/// # Errors
/// When recipes form a cycle.
pub fn order(project: &Project) -> Result<Vec<DatasetName>, Cycle> {
    let mut order = Vec::new();
    let mut done = BTreeSet::new();
    for dataset in project.datasets.keys() {
        visit(project, dataset, &mut Vec::new(), &mut done, &mut order)?;
    }
    Ok(order)
}

/// The recipes to run for a dataset to be made from its sources, each after those that it needs, its own last.
///
/// # Errors
/// When recipes form a cycle.
pub fn upstream<'a>(project: &'a Project, dataset: &DatasetName) -> Result<Vec<&'a Recipe>, Cycle> {
    let mut order = Vec::new();
    visit(project, dataset, &mut Vec::new(), &mut BTreeSet::new(), &mut order)?;
    Ok(order.iter().filter_map(|dataset| project.recipe_of(dataset)).collect())
}

/// For each dataset, the longest way from a source to it, in recipes: a layer for drawing the flow.
///
/// # Errors
/// When recipes form a cycle.
pub fn layers(project: &Project) -> Result<BTreeMap<DatasetName, usize>, Cycle> {
    let mut layers: BTreeMap<DatasetName, usize> = BTreeMap::new();
    for dataset in order(project)? {
        let inputs = project.recipe_of(&dataset).map_or(&[][..], |recipe| &recipe.inputs);
        let below = inputs.iter().filter_map(|input| layers.get(input)).max().map_or(0, |layer| layer + 1);
        // An editlog stands one step after the original that it is the log of: the webapp is the step.
        let of_original = project
            .webapps
            .values()
            .find(|webapp| webapp.original.editlog() == dataset)
            .and_then(|webapp| layers.get(&webapp.original))
            .map_or(0, |layer| layer + 1);
        layers.insert(dataset, below.max(of_original));
    }
    Ok(layers)
}

fn visit(
    project: &Project,
    dataset: &DatasetName,
    path: &mut Vec<DatasetName>,
    done: &mut BTreeSet<DatasetName>,
    order: &mut Vec<DatasetName>,
) -> Result<(), Cycle> {
    if done.contains(dataset) {
        return Ok(());
    }
    if let Some(start) = path.iter().position(|earlier| earlier == dataset) {
        let mut datasets: Vec<String> = path[start..].iter().map(DatasetName::to_string).collect();
        datasets.push(dataset.to_string());
        return Err(Cycle { datasets });
    }
    path.push(dataset.clone());
    // The original of an editlog comes first, so that the flow is drawn and built from left to right.
    if let Some(webapp) = project.webapps.values().find(|webapp| webapp.original.editlog() == *dataset) {
        visit(project, &webapp.original, path, done, order)?;
    }
    if let Some(recipe) = project.recipe_of(dataset) {
        for input in &recipe.inputs {
            visit(project, input, path, done, order)?;
        }
    }
    path.pop();
    done.insert(dataset.clone());
    order.push(dataset.clone());
    Ok(())
}
