//! Reads the files of a project, resolves their references and reports everything that is wrong at once.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::access;
use super::dataset::read_dataset;
use super::files::{
    EditableFile, FileText, LinkFile, ProjectFile, ProjectFiles, RecipeFile, RecipeFileKind, WebappFile,
};
use super::{
    Column, CsvForm, Dataset, Editable, Format, Link, Location, Problem, Project, ProjectError, Recipe, RecipeKind,
    Webapp,
};
use super::{scenarios, variables};
use crate::access::ProjectPermissions;
use crate::flow;
use crate::name::{DatasetName, ProjectKey, RecipeName, WebappName};
use crate::validate::Rules;
use crate::value::ColumnType;

/// Reads a project from its files.
///
/// Each webapp brings along the datasets `<original>_editlog`, `<original>_editlog_pivoted` and `<original>_edited`
/// with the recipes that make them, unless files declare them otherwise.
///
/// # Errors
/// All problems found, each with its file and line.
pub fn load(key: ProjectKey, files: &ProjectFiles) -> Result<Project, ProjectError> {
    let mut loader = Loader { problems: Vec::new(), datasets: BTreeMap::new(), variables: BTreeMap::new(), files };
    let header = loader.header();
    loader.read_datasets();
    let mut recipes = loader.read_recipes();
    let webapps = loader.read_webapps();
    loader.imply_webapp_parts(&webapps, &mut recipes);
    loader.resolve_recipes(&webapps, &mut recipes);
    loader.check_webapps(&webapps, &recipes);

    let mut project = Project {
        key: key.clone(),
        name: header.name,
        description: header.description,
        permissions: header.permissions,
        datasets: loader.datasets,
        webapps: webapps.into_iter().map(|(name, webapp)| (name, webapp.webapp)).collect(),
        recipes: recipes.into_iter().map(|(name, recipe)| (name, recipe.recipe)).collect(),
        scenarios: BTreeMap::new(),
        variables: loader.variables,
    };
    scenarios::read(&mut project, &files.scenarios, &mut loader.problems);
    if loader.problems.is_empty()
        && let Err(cycle) = flow::order(&project)
    {
        loader.problems.push(Problem {
            file: "recipes".to_owned(),
            line: None,
            column: None,
            message: cycle.to_string(),
        });
    }
    if loader.problems.is_empty() {
        complete_types(&mut project);
        Ok(project)
    } else {
        Err(ProjectError { project: key.to_string(), problems: loader.problems, permissions: project.permissions })
    }
}

/// Type of columns that the original declares need not be written again in the webapp.
fn complete_types(project: &mut Project) {
    for webapp in project.webapps.values_mut() {
        let declared = project.datasets.get(&webapp.original).and_then(|dataset| dataset.columns.as_ref());
        for editable in &mut webapp.editable {
            let original = declared.and_then(|columns| columns.iter().find(|column| column.name == editable.column));
            if let Some(column) = original {
                editable.column_type.get_or_insert(column.column_type);
            }
        }
    }
}

struct Loader<'a> {
    files: &'a ProjectFiles,
    problems: Vec<Problem>,
    datasets: BTreeMap<DatasetName, Dataset>,
    /// The values that stand for `${name}`.
    variables: BTreeMap<String, String>,
}

/// What `project.toml` says.
#[derive(Default)]
struct Header {
    name: String,
    description: String,
    permissions: ProjectPermissions,
}

struct ReadWebapp<'a> {
    file: &'a FileText,
    webapp: Webapp,
    original_span: usize,
}

struct ReadRecipe<'a> {
    /// None for a recipe that a webapp implies.
    file: Option<(&'a FileText, RecipeFile)>,
    recipe: Recipe,
}

impl<'a> Loader<'a> {
    fn header(&mut self) -> Header {
        let Some(file) = &self.files.project else {
            self.problems.push(Problem {
                file: "project.toml".to_owned(),
                line: None,
                column: None,
                message: "the file is missing: write one with at least `name = \"…\"`".to_owned(),
            });
            return Default::default();
        };
        match file.parse::<ProjectFile>() {
            Ok(project) => {
                self.variables = variables::merged(project.variables, self.files.local.as_ref(), &mut self.problems);
                Header {
                    permissions: access::permissions(file, &project.permissions, &mut self.problems),
                    name: project.name,
                    description: project.description,
                }
            }
            Err(problem) => {
                self.problems.push(problem);
                Default::default()
            }
        }
    }

    fn read_datasets(&mut self) {
        for (stem, file) in &self.files.datasets {
            match read_dataset(stem, file, &self.variables) {
                Ok(dataset) => {
                    self.datasets.insert(dataset.name.clone(), dataset);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn read_webapps(&mut self) -> BTreeMap<WebappName, ReadWebapp<'a>> {
        let mut webapps = BTreeMap::new();
        let files = self.files;
        for (stem, file) in &files.webapps {
            if let Some(webapp) = self.read_webapp(stem, file) {
                webapps.insert(webapp.webapp.name.clone(), webapp);
            }
        }
        webapps
    }

    fn read_webapp(&mut self, stem: &str, file: &'a FileText) -> Option<ReadWebapp<'a>> {
        let (name, written) = match WebappName::new(stem)
            .map_err(|error| file.problem_of_file(error.to_string()))
            .and_then(|name| Ok((name, file.parse::<WebappFile>()?)))
        {
            Ok(read) => read,
            Err(problem) => {
                self.problems.push(problem);
                return None;
            }
        };
        let original = self.reference(file, &written.original)?;
        let dataset = self.datasets.get(&original).cloned();
        let declared = dataset.as_ref().and_then(|dataset| dataset.columns.as_deref());

        let primary_keys: Vec<String> = if written.primary_keys.is_empty() {
            dataset.as_ref().map(|dataset| dataset.key.clone()).unwrap_or_default()
        } else {
            written.primary_keys.iter().map(|key| key.get_ref().clone()).collect()
        };
        if primary_keys.is_empty() {
            let message = format!(
                "no primary key: write `primary_keys = [\"…\"]` here or `key = [\"…\"]` in datasets/{original}.toml"
            );
            self.problems.push(file.problem_of_file(message));
        }
        if let Some(columns) = declared {
            for key in &written.primary_keys {
                self.check_column(file, key, columns, &original);
            }
        }

        let mut editable: Vec<Editable> = Vec::new();
        for column in written.editable {
            let name = column.column.get_ref().clone();
            if editable.iter().any(|earlier| earlier.column == name) {
                let message = format!("the column `{name}` is listed as editable twice");
                self.problems.push(file.problem(column.column.span().start, message));
            } else if primary_keys.contains(&name) {
                let message = format!("`{name}` is a primary-key column: keys cannot be edited");
                self.problems.push(file.problem(column.column.span().start, message));
            } else if let Some(column) = self.read_editable(file, column, declared) {
                editable.push(column);
            }
        }
        for special in [&written.validation_column, &written.comments_column].into_iter().flatten() {
            if !editable.iter().any(|column| column.column == *special.get_ref()) {
                let message = format!(
                    "`{}` is not an editable column: add `[[editable]]` with `column = \"{0}\"`",
                    special.get_ref()
                );
                self.problems.push(file.problem(special.span().start, message));
            }
        }
        if let Some(validation) = &written.validation_column {
            let column_type = editable
                .iter()
                .find(|column| column.column == *validation.get_ref())
                .and_then(|column| column.column_type.or_else(|| declared_type(declared, &column.column)));
            if column_type.is_some_and(|column_type| column_type != ColumnType::Boolean) {
                let message = format!("the validation column `{}` has to be a boolean", validation.get_ref());
                self.problems.push(file.problem(validation.span().start, message));
            }
        }
        let signed = written.edits.sign_validations.filter(|signed| *signed.get_ref());
        if let Some(signed) = signed.as_ref().filter(|_| written.validation_column.is_none()) {
            let message = "there is nothing to sign: name the `validation_column`, or take `sign_validations` out";
            self.problems.push(file.problem(signed.span().start, message.to_owned()));
        }
        let ready_made = self.ready_made(file, written.scenarios);
        let access = access::webapp_access(file, written.access, &mut self.problems);
        let columns: Option<Vec<String>> = written.layout.columns.map(|columns| {
            if let Some(known) = declared {
                for column in &columns {
                    if !editable.iter().any(|editable| editable.column == *column.get_ref()) {
                        self.check_column(file, column, known, &original);
                    }
                }
            }
            columns.into_iter().map(Spanned::into_inner).collect()
        });

        let shown = |name: &String| {
            let listed = match (&columns, declared) {
                (Some(columns), _) => Some(columns.contains(name)),
                (None, Some(declared)) => Some(declared.iter().any(|column| column.name == *name)),
                // What columns the data has is only known when it is read.
                (None, None) => None,
            };
            listed.is_none_or(|listed| listed)
                || primary_keys.contains(name)
                || editable.iter().any(|editable| editable.column == *name)
        };
        if let Some(column) = written.rows.assigned_to.as_ref().filter(|column| !shown(column.get_ref())) {
            let message = format!(
                "rows are assigned by the column `{}`, which the table does not show: add it to [layout]",
                column.get_ref()
            );
            self.problems.push(file.problem(column.span().start, message));
        }
        let mut limit = |written: Option<Spanned<String>>| {
            let written = written?;
            let condition = access::condition(file, &written, &mut self.problems)?;
            for comparison in condition.comparisons.iter().filter(|comparison| !shown(&comparison.column)) {
                let message = format!(
                    "rows are limited by the column `{}`, which the table does not show: add it to [layout]",
                    comparison.column
                );
                self.problems.push(file.problem(written.span().start, message));
            }
            Some(condition)
        };
        let (see, edit) = (limit(written.rows.see), limit(written.rows.edit));
        Some(ReadWebapp {
            file,
            original_span: written.original.span().start,
            webapp: Webapp {
                title: written.title.unwrap_or_else(|| name.to_string()),
                name,
                description: written.description,
                original,
                primary_keys,
                editable,
                validation_column: written.validation_column.map(Spanned::into_inner),
                comments_column: written.comments_column.map(Spanned::into_inner),
                columns,
                create_rows: written.rows.create,
                delete_rows: written.rows.delete,
                require_reason: written.edits.require_reason,
                sign_validations: signed.is_some(),
                scenarios: ready_made,
                auto_start: written.auto_start,
                access,
                see,
                edit,
                assigned_to: written.rows.assigned_to.map(Spanned::into_inner),
            },
        })
    }

    /// Which ready-made scenarios a webapp brings along: all, unless its file lists them.
    fn ready_made(&mut self, file: &FileText, wanted: Option<Vec<Spanned<String>>>) -> Vec<String> {
        let Some(wanted) = wanted else { return scenarios::READY_MADE.map(str::to_owned).to_vec() };
        for name in &wanted {
            if !scenarios::READY_MADE.contains(&name.get_ref().as_str()) {
                let message = format!(
                    "`{}` does not come with a webapp: {} do",
                    name.get_ref(),
                    scenarios::READY_MADE.join(", ")
                );
                self.problems.push(file.problem(name.span().start, message));
            }
        }
        wanted.into_iter().map(Spanned::into_inner).collect()
    }

    fn read_editable(
        &mut self,
        file: &FileText,
        written: EditableFile,
        declared: Option<&[Column]>,
    ) -> Option<Editable> {
        let span = written.column.span().start;
        let column = written.column.into_inner();
        let original_type = declared_type(declared, &column);
        if let (Some(given), Some(original)) = (written.column_type, original_type)
            && given != original
        {
            let message = format!("the original has `{column}` as {original}: take `type` out, or write {original}");
            self.problems.push(file.problem(span, message));
        }
        let column_type = written.column_type.or(original_type);
        if declared.is_some() && column_type.is_none() {
            let message = format!("the original has no column `{column}`: to add it in the webapp, give its `type`");
            self.problems.push(file.problem(span, message));
            return None;
        }
        if column_type.is_some_and(|column_type| !column_type.is_editable()) {
            self.problems.push(file.problem(span, format!("the type of `{column}` cannot be edited")));
            return None;
        }
        // Limits are compared as canonical texts, so they are brought to that form once, here.
        let mut text = |value: Spanned<toml::Value>| {
            let span = value.span().start;
            let text = match value.into_inner() {
                toml::Value::String(text) => text,
                other => other.to_string(),
            };
            match column_type.map(|column_type| column_type.canonical(&text)) {
                Some(Ok(text)) => text,
                None => text,
                Some(Err(error)) => {
                    self.problems.push(file.problem(span, error.to_string()));
                    text
                }
            }
        };
        let rules = Rules {
            required: written.required,
            min: written.min.map(&mut text),
            max: written.max.map(&mut text),
            min_length: written.min_length,
            max_length: written.max_length,
            pattern: written.pattern,
            allowed: written.allowed.map(|allowed| allowed.into_iter().map(&mut text).collect()),
        };
        let link = match written.link {
            Some(link) => Some(self.read_link(file, link)?),
            None => None,
        };
        Some(Editable {
            column,
            title: written.title,
            description: written.description,
            column_type,
            multiline: written.multiline,
            rules,
            link,
            width: written.width,
            editable_by: access::principals(file, &written.editable_by, &mut self.problems),
        })
    }

    fn read_link(&mut self, file: &FileText, written: LinkFile) -> Option<Link> {
        let dataset = self.reference(file, &written.dataset)?;
        let declared = self.datasets.get(&dataset).and_then(|dataset| dataset.columns.clone());
        if let Some(columns) = declared {
            for column in std::iter::once(&written.key).chain(&written.label).chain(&written.lookups) {
                self.check_column(file, column, &columns, &dataset);
            }
        }
        let key = written.key.into_inner();
        Some(Link {
            dataset,
            label: written.label.map_or_else(|| key.clone(), Spanned::into_inner),
            key,
            lookups: written.lookups.into_iter().map(Spanned::into_inner).collect(),
        })
    }

    fn read_recipes(&mut self) -> BTreeMap<RecipeName, ReadRecipe<'a>> {
        let mut recipes = BTreeMap::new();
        let files = self.files;
        for (stem, file) in &files.recipes {
            match read_recipe(stem, file, files) {
                Ok(recipe) => {
                    // The output of a recipe need not be declared: it is then a Parquet file that the node keeps.
                    let output = recipe.recipe.output.clone();
                    self.datasets.entry(output.clone()).or_insert_with(|| managed_dataset(output));
                    recipes.insert(recipe.recipe.name.clone(), recipe);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        for (stem, file) in &files.queries {
            if !files.recipes.contains_key(stem) {
                let message = format!("there is no recipe for this query: write recipes/{stem}.toml, or remove it");
                self.problems.push(file.problem_of_file(message));
            }
        }
        recipes
    }

    fn imply_webapp_parts(
        &mut self,
        webapps: &BTreeMap<WebappName, ReadWebapp<'a>>,
        recipes: &mut BTreeMap<RecipeName, ReadRecipe<'a>>,
    ) {
        for ReadWebapp { webapp, .. } in webapps.values() {
            let original = &webapp.original;
            let (editlog, pivoted, edited) = (original.editlog(), original.editlog_pivoted(), original.edited());
            let declared = self.datasets.remove(&editlog);
            let table = match declared.as_ref().map(|dataset| &dataset.location) {
                Some(Location::Table { connection, table }) => Some((connection.clone(), table.clone())),
                None => None,
                Some(_) => {
                    if let Some(file) = self.files.datasets.get(editlog.as_str()) {
                        let message = format!(
                            "`{editlog}` is the editlog of `{original}`: write `connection` and `table` to keep it in a \
                             database, or remove this file to let the node keep it"
                        );
                        self.problems.push(file.problem_of_file(message));
                    }
                    None
                }
            };
            let described = declared.map(|dataset| dataset.description).filter(|text| !text.is_empty());
            self.datasets.insert(
                editlog.clone(),
                Dataset {
                    name: editlog.clone(),
                    description: described.unwrap_or_else(|| format!("Every edit of {original}, in order")),
                    location: Location::Editlog { original: original.clone(), table },
                    columns: None,
                    key: vec!["id".to_owned()],
                },
            );
            let parts = [
                (&pivoted, RecipeKind::Replay { webapp: webapp.name.clone() }, vec![editlog.clone()]),
                (&edited, RecipeKind::Apply { webapp: webapp.name.clone() }, vec![original.clone(), editlog.clone()]),
            ];
            for (output, kind, inputs) in parts {
                let output_dataset =
                    self.datasets.entry(output.clone()).or_insert_with(|| managed_dataset(output.clone()));
                if output_dataset.key.is_empty() {
                    output_dataset.key = webapp.primary_keys.clone();
                }
                if recipes.values().any(|recipe| recipe.recipe.output == *output) {
                    continue;
                }
                let Ok(name) = RecipeName::new(format!("{}_{original}", kind.as_str())) else { continue };
                recipes.insert(
                    name.clone(),
                    ReadRecipe { file: None, recipe: Recipe { name, kind, inputs, output: output.clone() } },
                );
            }
        }
    }

    fn resolve_recipes(
        &mut self,
        webapps: &BTreeMap<WebappName, ReadWebapp<'a>>,
        recipes: &mut BTreeMap<RecipeName, ReadRecipe<'a>>,
    ) {
        let mut made: BTreeMap<DatasetName, String> = BTreeMap::new();
        for recipe in recipes.values_mut() {
            let output = &recipe.recipe.output;
            let Some((file, written)) = &recipe.file else {
                made.insert(output.clone(), recipe.recipe.name.to_string());
                continue;
            };
            if let Some(other) = made.insert(output.clone(), file.path.clone()) {
                let message = format!("`{output}` is made by {other} already: each dataset has one recipe");
                self.problems.push(file.problem(written.output.span().start, message));
            }
            if let Some(Dataset { location: Location::Editlog { .. }, .. }) = self.datasets.get(output) {
                let message = format!("`{output}` is an editlog: no recipe writes one");
                self.problems.push(file.problem(written.output.span().start, message));
            }
            if let Some(Dataset { location: Location::Query { .. }, .. }) = self.datasets.get(output) {
                let message =
                    format!("`{output}` is the result of a query, which cannot be written: give it a `table`");
                self.problems.push(file.problem(written.output.span().start, message));
            }
            if let Some(Dataset { location: Location::Files { csv, .. }, .. }) = self.datasets.get(output)
                && *csv != CsvForm::default()
            {
                let message = format!(
                    "`{output}` is made by this recipe, and Stet writes CSV with commas and in UTF-8: take `delimiter` \
                     and `encoding` out of its file, and give its `path` the ending .csv"
                );
                self.problems.push(file.problem(written.output.span().start, message));
            }
            let mut inputs = Vec::new();
            for input in &written.inputs {
                if let Some(input) = self.reference(file, input) {
                    inputs.push(input);
                }
            }
            let on_webapp = |suffix: fn(&DatasetName) -> DatasetName| {
                webapps.values().find(|webapp| suffix(&webapp.webapp.original) == *output)
            };
            match &mut recipe.recipe.kind {
                RecipeKind::Sql { .. } => recipe.recipe.inputs = inputs,
                kind => {
                    // Which webapp a replay or an apply belongs to follows from what it makes.
                    let replay = matches!(kind, RecipeKind::Replay { .. });
                    let suffix = if replay { DatasetName::editlog_pivoted } else { DatasetName::edited };
                    let Some(ReadWebapp { webapp: of, .. }) = on_webapp(suffix) else {
                        let ending = if replay { "_editlog_pivoted" } else { "_edited" };
                        let message = format!("no webapp edits a dataset that `{output}` would be the {ending} of");
                        self.problems.push(file.problem(written.output.span().start, message));
                        continue;
                    };
                    let editlog = of.original.editlog();
                    let expected = if replay { vec![editlog] } else { vec![of.original.clone(), editlog] };
                    if !inputs.is_empty() && inputs.iter().collect::<BTreeSet<_>>() != expected.iter().collect() {
                        let names: Vec<String> = expected.iter().map(|name| format!("\"{name}\"")).collect();
                        let message = format!("the inputs of this recipe are [{}]", names.join(", "));
                        self.problems.push(file.problem_of_file(message));
                    }
                    *kind = if replay {
                        RecipeKind::Replay { webapp: of.name.clone() }
                    } else {
                        RecipeKind::Apply { webapp: of.name.clone() }
                    };
                    recipe.recipe.inputs = expected;
                }
            }
        }
    }

    fn check_webapps(
        &mut self,
        webapps: &BTreeMap<WebappName, ReadWebapp<'a>>,
        recipes: &BTreeMap<RecipeName, ReadRecipe<'a>>,
    ) {
        let mut originals: BTreeMap<&DatasetName, &FileText> = BTreeMap::new();
        for webapp in webapps.values() {
            let original = &webapp.webapp.original;
            if let Some(other) = originals.insert(original, webapp.file) {
                let message = format!(
                    "`{original}` is edited by {} already: one webapp for each original, since each has one editlog",
                    other.path
                );
                self.problems.push(webapp.file.problem(webapp.original_span, message));
            }
            let of_edits =
                matches!(self.datasets.get(original), Some(Dataset { location: Location::Editlog { .. }, .. }))
                    || recipes.values().any(|recipe| {
                        recipe.recipe.output == *original && !matches!(recipe.recipe.kind, RecipeKind::Sql { .. })
                    });
            if of_edits {
                let message = format!("`{original}` is made of edits: a webapp edits a dataset of the pipeline");
                self.problems.push(webapp.file.problem(webapp.original_span, message));
            }
        }
    }

    /// The dataset that a name in a file means; a problem with the known names if there is none.
    fn reference(&mut self, file: &FileText, name: &Spanned<String>) -> Option<DatasetName> {
        let found = DatasetName::new(name.get_ref().as_str())
            .ok()
            .filter(|found| self.datasets.contains_key(found) || self.implied(found) || self.output_of_recipe(found));
        if found.is_none() {
            let known: Vec<&str> = self.datasets.keys().map(DatasetName::as_str).collect();
            let message = format!("there is no dataset `{}`: known are {}", name.get_ref(), known.join(", "));
            self.problems.push(file.problem(name.span().start, message));
        }
        found
    }

    /// Whether a webapp brings this dataset along.
    fn implied(&self, name: &DatasetName) -> bool {
        ["_editlog", "_editlog_pivoted", "_edited"].iter().any(|ending| {
            name.as_str().strip_suffix(ending).is_some_and(|original| {
                self.files
                    .webapps
                    .values()
                    .any(|file| file.parse::<WebappFile>().is_ok_and(|webapp| webapp.original.get_ref() == original))
            })
        })
    }

    fn output_of_recipe(&self, name: &DatasetName) -> bool {
        self.files
            .recipes
            .values()
            .any(|file| file.parse::<RecipeFile>().is_ok_and(|recipe| recipe.output.get_ref() == name.as_str()))
    }

    fn check_column(&mut self, file: &FileText, name: &Spanned<String>, columns: &[Column], dataset: &DatasetName) {
        if !columns.iter().any(|column| column.name == *name.get_ref()) {
            let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let message =
                format!("`{dataset}` has no column `{}`: its columns are {}", name.get_ref(), known.join(", "));
            self.problems.push(file.problem(name.span().start, message));
        }
    }
}

fn declared_type(declared: Option<&[Column]>, name: &str) -> Option<ColumnType> {
    declared?.iter().find(|column| column.name == name).map(|column| column.column_type)
}

fn managed_dataset(name: DatasetName) -> Dataset {
    Dataset {
        description: String::new(),
        location: Location::Files {
            connection: None,
            path: format!("{name}.parquet"),
            format: Format::Parquet,
            csv: CsvForm::default(),
        },
        columns: None,
        key: Vec::new(),
        name,
    }
}

fn read_recipe<'a>(stem: &str, file: &'a FileText, files: &ProjectFiles) -> Result<ReadRecipe<'a>, Problem> {
    let name = RecipeName::new(stem).map_err(|error| file.problem_of_file(error.to_string()))?;
    let written: RecipeFile = file.parse()?;
    let output = DatasetName::new(written.output.get_ref().as_str())
        .map_err(|error| file.problem(written.output.span().start, error.to_string()))?;
    // The webapp of a replay or an apply is found when all webapps are read.
    let unresolved = || WebappName::new("unresolved").map_err(|error| file.problem_of_file(error.to_string()));
    let kind = match written.kind {
        RecipeFileKind::Replay => RecipeKind::Replay { webapp: unresolved()? },
        RecipeFileKind::Apply => RecipeKind::Apply { webapp: unresolved()? },
        RecipeFileKind::Sql => {
            let query = files
                .queries
                .get(stem)
                .ok_or_else(|| file.problem_of_file(format!("the query is missing: write it in recipes/{stem}.sql")))?;
            RecipeKind::Sql { sql: query.text.clone(), file: query.path.clone() }
        }
    };
    Ok(ReadRecipe { recipe: Recipe { name, kind, inputs: Vec::new(), output }, file: Some((file, written)) })
}
