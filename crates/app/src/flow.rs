//! The flow of a project: its datasets and recipes as a graph, and what in it is stale.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use stet_domain::access::{Permission, may_read_dataset};
use stet_domain::project::{CsvForm, Format, Location, Project, Recipe, RecipeKind, Role, Webapp};
use stet_domain::{Actor, DatasetName, LogDate, flow};
use stet_engine::build::OriginalColumns;
use stet_engine::error::EngineError;
use stet_engine::manifest::{Manifest, OriginalStamp, Present, RecipeStamp, StaleReason};
use stet_engine::read::FileSource;

use crate::App;
use crate::builds::BuildReport;
use crate::datasets::blocking;
use crate::error::{AppError, Chain};
use crate::webapp::Resolved;

/// How a dataset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// No recipe makes it, and it is there.
    Source,
    /// It was made of what is there now.
    Fresh,
    /// What it was made of has changed since.
    Stale,
    /// It was never made.
    NeverBuilt,
    /// It is being made.
    Building,
    /// The last attempt to make it failed.
    Failed,
    /// No recipe makes it, and it is not there.
    Missing,
    /// It is an editlog: always up to date.
    Live,
}

/// What a node of the flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowNodeKind {
    /// A dataset.
    Dataset,
    /// A recipe.
    Recipe,
    /// A webapp.
    Webapp,
}

/// A node of the flow.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowNode {
    /// `dataset:…`, `recipe:…` or `webapp:…` with the name.
    pub id: String,
    /// What it is.
    pub kind: FlowNodeKind,
    /// Its name.
    pub name: String,
    /// Its place from left to right.
    pub layer: usize,
    /// What a dataset is in the project.
    pub role: Option<Role>,
    /// What a recipe does: `replay`, `apply` or `sql`.
    pub recipe_kind: Option<&'static str>,
    /// How a dataset stands.
    pub state: Option<FlowState>,
    /// Why it stands so, in plain words.
    pub reason: Option<String>,
    /// When it was made.
    pub built_at: Option<LogDate>,
    /// How many rows it has, if that is known.
    pub rows: Option<u64>,
    /// Its size.
    pub bytes: Option<u64>,
    /// Where it is, below the place where the project's data is.
    pub path: Option<String>,
    /// How many events an editlog has.
    pub events: Option<u64>,
    /// Whether it can be built.
    pub buildable: bool,
}

/// From what to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEdge {
    /// The node that is read.
    pub from: String,
    /// The node that reads it, or is made by it.
    pub to: String,
}

/// The flow of a project.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// Its nodes.
    pub nodes: Vec<FlowNode>,
    /// Its edges.
    pub edges: Vec<FlowEdge>,
}

/// How a dataset stands, with what is known of its file.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub state: FlowState,
    pub reason: Option<String>,
    pub built_at: Option<LogDate>,
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
    pub events: Option<u64>,
}

impl Standing {
    fn new(state: FlowState) -> Standing {
        Standing { state, reason: None, built_at: None, rows: None, bytes: None, events: None }
    }

    fn because(state: FlowState, reason: impl Into<String>) -> Standing {
        Standing { reason: Some(reason.into()), ..Standing::new(state) }
    }

    /// Whether what is made of it is stale for that alone.
    pub(crate) fn is_behind(&self) -> bool {
        matches!(self.state, FlowState::Stale | FlowState::NeverBuilt | FlowState::Failed | FlowState::Missing)
    }
}

impl App {
    /// The flow of a project.
    ///
    /// # Errors
    /// When there is no such project that the actor may know of, or its files are wrong.
    pub async fn flow(&self, actor: &Actor, project: &str) -> Result<Flow, AppError> {
        let project = self.authorise(actor, project, &[Permission::ReadContent])?;
        let mut states = self.dataset_states(&project).await?;
        states.retain(|name, _| may_read_dataset(actor, &project, name));
        let layers = flow::layers(&project).map_err(|cycle| AppError::Invalid(cycle.to_string()))?;
        // A dataset of layer n stands at 2n; what makes it stands between it and what it is made of.
        let place = |dataset: &DatasetName| layers.get(dataset).map_or(0, |layer| layer * 2);
        let mut nodes: Vec<FlowNode> =
            states.into_iter().map(|(name, standing)| dataset_node(&project, &name, standing, place(&name))).collect();
        let mut edges = Vec::new();
        let seen = |name: &DatasetName| may_read_dataset(actor, &project, name);
        for recipe in project.recipes.values().filter(|recipe| seen(&recipe.output)) {
            let id = format!("recipe:{}", recipe.name);
            nodes.push(FlowNode {
                kind: FlowNodeKind::Recipe,
                name: recipe.name.to_string(),
                layer: place(&recipe.output).saturating_sub(1),
                recipe_kind: Some(recipe.kind.as_str()),
                ..plain_node(id.clone())
            });
            for input in &recipe.inputs {
                edges.push(FlowEdge { from: format!("dataset:{input}"), to: id.clone() });
            }
            edges.push(FlowEdge { from: id, to: format!("dataset:{}", recipe.output) });
        }
        for webapp in project.webapps.values().filter(|webapp| seen(&webapp.original.editlog())) {
            let id = format!("webapp:{}", webapp.name);
            let editlog = webapp.original.editlog();
            nodes.push(FlowNode {
                kind: FlowNodeKind::Webapp,
                name: webapp.name.to_string(),
                layer: place(&editlog).saturating_sub(1),
                ..plain_node(id.clone())
            });
            edges.push(FlowEdge { from: format!("dataset:{}", webapp.original), to: id.clone() });
            edges.push(FlowEdge { from: id, to: format!("dataset:{editlog}") });
        }
        Ok(Flow { nodes, edges })
    }

    pub(crate) async fn flow_node(
        &self,
        project: &std::sync::Arc<Project>,
        dataset: &DatasetName,
    ) -> Result<FlowNode, AppError> {
        let layers = flow::layers(project).map_err(|cycle| AppError::Invalid(cycle.to_string()))?;
        let standing = self.dataset_states(project).await?.remove(dataset);
        let standing = standing.ok_or_else(|| AppError::not_found(format!("dataset `{dataset}`")))?;
        Ok(dataset_node(project, dataset, standing, layers.get(dataset).map_or(0, |layer| layer * 2)))
    }

    /// How every dataset of a project stands.
    pub(crate) async fn dataset_states(
        &self,
        project: &std::sync::Arc<Project>,
    ) -> Result<BTreeMap<DatasetName, Standing>, AppError> {
        let making = self.inner.builds.making(&project.key);
        let failed = self.failed_datasets(project).await?;
        let (app, project) = (self.clone(), project.clone());
        blocking(move || {
            let order = flow::order(&project).map_err(|cycle| AppError::Invalid(cycle.to_string()))?;
            let mut states: BTreeMap<DatasetName, Standing> = BTreeMap::new();
            for name in order {
                let standing = app.standing(&project, &name, &states, &making, &failed)?;
                states.insert(name, standing);
            }
            Ok(states)
        })
        .await
    }

    fn standing(
        &self,
        project: &Project,
        name: &DatasetName,
        states: &BTreeMap<DatasetName, Standing>,
        making: &[DatasetName],
        failed: &BTreeMap<DatasetName, (LogDate, String)>,
    ) -> Result<Standing, AppError> {
        let Some(dataset) = project.datasets.get(name) else {
            return Ok(Standing::new(FlowState::Missing));
        };
        if let Location::Editlog { original, table } = &dataset.location {
            let place = self.editlog_place(project, original)?;
            match place.is_initialised(original) {
                // What the node keeps itself is made when it is first needed.
                Ok(false) if table.is_some() => {
                    return Ok(Standing::because(FlowState::Missing, self.not_initialised(project, original)));
                }
                Ok(_) => {}
                Err(error) => return Ok(Standing::because(FlowState::Missing, error.to_string())),
            }
            let events = self.log_position(project, original)?.map_or(0, |id| id.0.unsigned_abs());
            return Ok(Standing { events: Some(events), rows: Some(events), ..Standing::new(FlowState::Live) });
        }
        let Some(recipe) = project.recipe_of(name) else {
            return Ok(match self.database_table(project, dataset) {
                Ok(Some(table)) => match table.columns() {
                    Ok(_) => Standing::new(FlowState::Source),
                    Err(error) => Standing::because(FlowState::Missing, error.to_string()),
                },
                Ok(None) => match self.file_source(project, dataset) {
                    Ok(source) => source_standing(&source),
                    Err(error) => Standing::because(FlowState::Missing, error.to_string()),
                },
                Err(error) => Standing::because(FlowState::Missing, error.to_string()),
            });
        };
        let output = match self.output_path(project, dataset) {
            Ok(path) => path,
            Err(error) => return Ok(Standing::because(FlowState::Missing, error.to_string())),
        };

        let mut standing = match self.stale_reasons(project, recipe) {
            Ok(reasons) if reasons.contains(&StaleReason::NeverBuilt) => {
                Standing::because(FlowState::NeverBuilt, "never built")
            }
            Ok(reasons) if reasons.is_empty() => {
                let behind = recipe.inputs.iter().find(|input| states.get(input).is_some_and(Standing::is_behind));
                match behind {
                    Some(input) => Standing::because(FlowState::Stale, format!("`{input}` is not up to date")),
                    None => Standing::new(FlowState::Fresh),
                }
            }
            Ok(reasons) => {
                let words: Vec<String> = reasons.iter().map(StaleReason::to_string).collect();
                Standing::because(FlowState::Stale, words.join("; "))
            }
            Err(error) => Standing::because(FlowState::Stale, error.to_string()),
        };
        if standing.state != FlowState::NeverBuilt {
            standing.built_at = modified_at(&output);
            if matches!(dataset.location, Location::Files { .. }) {
                let print = self.file_source(project, dataset).ok().and_then(|source| source.fingerprint().ok());
                standing.bytes = print.map(|print| print.bytes());
            }
            let manifest = Manifest::read(&output).unwrap_or_default();
            standing.rows = manifest.map(|manifest| manifest.output.rows);
        }
        if let Some((at, why)) = failed.get(name)
            && standing.built_at.is_none_or(|built| built < *at)
            && standing.state != FlowState::Fresh
        {
            standing.state = FlowState::Failed;
            standing.reason = Some(why.clone());
        }
        if making.contains(name) {
            standing.state = FlowState::Building;
            standing.reason = None;
        }
        Ok(standing)
    }

    /// Why the output of a recipe is not up to date, inputs that are themselves out of date left aside.
    pub(crate) fn stale_reasons(&self, project: &Project, recipe: &Recipe) -> Result<Vec<StaleReason>, AppError> {
        let dataset = crate::datasets::find(project, recipe.output.as_str())?;
        let output = self.output_path(project, dataset)?;
        let stamp = self.recipe_stamp(project, recipe);
        let inputs = self.input_sources(project, recipe)?;
        let log_position = match self.webapp_of(project, recipe) {
            Some(webapp) => self.log_position(project, &webapp.original)?,
            None => None,
        };
        let present = Present { recipe: &stamp, inputs: &inputs, log_position };
        let mut reasons = Manifest::stale_reasons(&output, &present)?;
        if reasons.contains(&StaleReason::NeverBuilt) || reasons.contains(&StaleReason::NoManifest) {
            return Ok(reasons);
        }
        if !self.is_as_built(project, dataset)? {
            reasons.push(StaleReason::OutputChanged);
        }
        // Inputs in databases are compared by their content.
        let manifest = Manifest::read(&output)?;
        for input in &recipe.inputs {
            let Some(dataset) = project.datasets.get(input) else { continue };
            let Some(table) = self.database_table(project, dataset)? else { continue };
            reasons.retain(|reason| *reason != StaleReason::InputsDiffer { dataset: input.to_string() });
            let built_of = manifest.iter().flat_map(|manifest| &manifest.inputs).find(|s| s.dataset == input.as_str());
            match table.content() {
                Ok(content) if built_of == Some(&table.stamp(&content)) => {}
                // A replay takes the types alone from the original.
                Ok(_) if built_of.is_none() && matches!(recipe.kind, RecipeKind::Replay { .. }) => {}
                Ok(_) => reasons.push(StaleReason::InputChanged { dataset: input.to_string() }),
                Err(_) => reasons.push(StaleReason::InputMissing { dataset: input.to_string() }),
            }
        }
        if let (RecipeKind::Replay { .. }, Some(webapp)) = (&recipe.kind, self.webapp_of(project, recipe))
            && !self.has_types_of(project, webapp, manifest.and_then(|manifest| manifest.original))
        {
            reasons.push(StaleReason::InputChanged { dataset: webapp.original.to_string() });
        }
        Ok(reasons)
    }

    /// Whether the columns of an original still have the types that a replay took from them. An original that cannot be
    /// looked at has them: what is made of its rows tells that.
    fn has_types_of(&self, project: &Project, webapp: &Webapp, built: Option<OriginalStamp>) -> bool {
        let Some(built) = built else { return false };
        let Some(original) = project.datasets.get(&webapp.original) else { return true };
        let columns = match self.database_table(project, original) {
            Ok(Some(table)) => match table.columns() {
                Ok(columns) => OriginalColumns::of_table(columns),
                Err(_) => return true,
            },
            Ok(None) => {
                let Ok(source) = self.file_source(project, original) else { return true };
                match source.fingerprint() {
                    Ok(now) if now.files != built.files => {}
                    _ => return true,
                }
                if source.format != Format::Parquet && source.columns.is_none() {
                    // To know its types is to read it whole: rather build again.
                    return false;
                }
                match OriginalColumns::of_files(&source) {
                    Ok(columns) => columns,
                    Err(_) => return true,
                }
            }
            Err(_) => return true,
        };
        let resolved = Resolved::new(webapp, columns.columns());
        resolved.is_ok_and(|resolved| {
            columns.stamp(&resolved.keys, &resolved.apply_columns()).columns_sha256 == built.columns_sha256
        })
    }

    /// The inputs of a recipe that are files. A replay and an apply both read the original: its columns give the types.
    pub(crate) fn input_sources(&self, project: &Project, recipe: &Recipe) -> Result<Vec<FileSource>, AppError> {
        let mut sources = Vec::new();
        for input in &recipe.inputs {
            if let Some(dataset) = project.datasets.get(input)
                && matches!(dataset.location, Location::Files { .. })
            {
                sources.push(self.file_source(project, dataset)?);
            }
        }
        Ok(sources)
    }

    pub(crate) fn webapp_of<'a>(
        &self,
        project: &'a Project,
        recipe: &Recipe,
    ) -> Option<&'a stet_domain::project::Webapp> {
        match &recipe.kind {
            RecipeKind::Replay { webapp } | RecipeKind::Apply { webapp } => project.webapps.get(webapp),
            RecipeKind::Sql { .. } => None,
        }
    }

    /// What a recipe is now: when it changes, its output is stale.
    pub(crate) fn recipe_stamp(&self, project: &Project, recipe: &Recipe) -> RecipeStamp {
        let output = project.datasets.get(&recipe.output);
        let mut definition = match &recipe.kind {
            RecipeKind::Sql { sql, .. } => {
                serde_json::json!({ "sql": sql, "columns": output.and_then(|output| output.columns.as_ref()) })
            }
            RecipeKind::Replay { .. } | RecipeKind::Apply { .. } => {
                let webapp = self.webapp_of(project, recipe);
                let editable: Vec<_> = webapp
                    .iter()
                    .flat_map(|webapp| &webapp.editable)
                    .map(|editable| (&editable.column, editable.column_type))
                    .collect();
                serde_json::json!({ "keys": webapp.map(|webapp| &webapp.primary_keys), "editable": editable })
            }
        };
        // What the values of an input are is told by its declared types, and not by its files alone.
        let original = self.webapp_of(project, recipe).map(|webapp| &webapp.original);
        let declared: Vec<_> = recipe
            .inputs
            .iter()
            .chain(original)
            .filter_map(|input| Some((input, project.datasets.get(input)?.columns.as_ref()?)))
            .collect();
        if !declared.is_empty() {
            definition["inputs"] = serde_json::json!(declared);
        }
        // So it is by how its text is written.
        let written: Vec<_> = (recipe.inputs.iter().chain(original))
            .filter_map(|input| match project.datasets.get(input)?.location {
                Location::Files { csv, .. } if csv != CsvForm::default() => Some((input, csv)),
                _ => None,
            })
            .collect();
        if !written.is_empty() {
            definition["csv"] = serde_json::json!(written);
        }
        RecipeStamp {
            kind: recipe.kind.as_str().to_owned(),
            definition_sha256: stet_engine::write::digest_text(&definition.to_string()),
        }
    }

    pub(crate) fn last_report(&self, project: &Project, dataset: &DatasetName) -> Option<BuildReport> {
        let output = self.output_path(project, project.datasets.get(dataset)?).ok()?;
        let manifest = Manifest::read(&output).ok()??;
        match serde_json::from_value(manifest.report) {
            Ok(report) => Some(report),
            Err(error) => {
                tracing::warn!(%dataset, error = %Chain(&error), "the report beside an output cannot be read");
                None
            }
        }
    }

    pub(crate) fn rows_of_last_build(&self, project: &Project, dataset: &DatasetName) -> Option<u64> {
        let output = self.output_path(project, project.datasets.get(dataset)?).ok()?;
        Manifest::read(&output).ok()?.map(|manifest| manifest.output.rows)
    }
}

fn source_standing(source: &FileSource) -> Standing {
    match source.fingerprint() {
        Ok(print) => Standing {
            bytes: Some(print.bytes()),
            rows: source.rows_known().ok().flatten(),
            ..Standing::new(FlowState::Source)
        },
        Err(EngineError::Missing { .. }) => Standing::because(FlowState::Missing, "its file is not there"),
        Err(error) => Standing::because(FlowState::Missing, error.to_string()),
    }
}

fn modified_at(path: &std::path::Path) -> Option<LogDate> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    let micros = modified.duration_since(UNIX_EPOCH).ok()?.as_micros();
    Some(LogDate::from_micros(i64::try_from(micros).ok()?))
}

fn plain_node(id: String) -> FlowNode {
    FlowNode {
        id,
        kind: FlowNodeKind::Dataset,
        name: String::new(),
        layer: 0,
        role: None,
        recipe_kind: None,
        state: None,
        reason: None,
        built_at: None,
        rows: None,
        bytes: None,
        path: None,
        events: None,
        buildable: false,
    }
}

fn dataset_node(project: &Project, name: &DatasetName, standing: Standing, layer: usize) -> FlowNode {
    let path = match project.datasets.get(name).map(|dataset| &dataset.location) {
        Some(Location::Files { connection: None, path, .. }) => Some(path.clone()),
        Some(Location::Files { connection: Some(connection), path, .. }) => Some(format!("{connection}: {path}")),
        Some(Location::Table { connection, table }) => Some(format!("{connection}: {table}")),
        Some(Location::Query { connection, .. }) => Some(format!("{connection}: a query")),
        Some(Location::Editlog { table: Some((connection, table)), .. }) => Some(format!("{connection}: {table}")),
        _ => None,
    };
    FlowNode {
        name: name.to_string(),
        layer,
        role: Some(project.role(name)),
        state: Some(standing.state),
        reason: standing.reason,
        built_at: standing.built_at,
        rows: standing.rows,
        bytes: standing.bytes,
        path,
        events: standing.events,
        buildable: project.recipe_of(name).is_some(),
        ..plain_node(format!("dataset:{name}"))
    }
}
