//! `stet check`: whether a node's configuration, its projects' files and their data can be used.

use serde::Serialize;
use stet_app::{App, AppError, Clock, FlowNodeKind, FlowState, NodeConfig, NodeFolder};
use stet_domain::project::{Location, Problem, Project};
use stet_domain::{Actor, ProjectKey};

use crate::Global;
use crate::failure::Failure;
use crate::names;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::table::shown_word;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this project
    project: Option<String>,
    /// How to print what is wrong
    #[arg(long, value_enum, default_value_t)]
    format: PrintFormat,
}

/// Something that is wrong, with its place.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct ProblemView {
    /// Below the node's folder.
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
}

/// What a check found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    ok: bool,
    projects: usize,
    datasets: usize,
    webapps: usize,
    problems: Vec<ProblemView>,
    /// What could not be looked at, and why.
    notes: Vec<String>,
}

pub(crate) async fn run(global: &Global, arguments: Arguments) -> Result<(), Failure> {
    let folder = NodeFolder::new(&node::folder(global)?)?;
    let mut findings = Findings::default();
    match NodeConfig::read(folder.root()) {
        Ok(_) => {
            let app = App::open(folder.root(), Clock::System).await?;
            projects(&app, &arguments, &mut findings).await?;
        }
        // A line in the file means that the file is wrong, which is what a check is for; else there is no node to check.
        Err(AppError::Configuration(message)) => match config_problem(&folder, &message) {
            Some(problem) => findings.problems.push(problem),
            None => return Err(Failure::Usage(message)),
        },
        Err(error) => return Err(error.into()),
    }
    findings.ok = findings.problems.is_empty();
    match arguments.format {
        PrintFormat::Json => output::print_json(&findings)?,
        PrintFormat::Text => print(&findings)?,
    }
    if findings.ok { Ok(()) } else { Err(Failure::Printed) }
}

fn print(findings: &Findings) -> Result<(), Failure> {
    for note in &findings.notes {
        output::note(&shown_word(note));
    }
    for problem in &findings.problems {
        let place: String =
            [problem.line, problem.column].iter().flatten().map(|number| format!(":{number}")).collect();
        // The lists of rows in some messages have lines of their own.
        let message: Vec<String> = problem.message.lines().map(shown_word).collect();
        output::note(&format!("{}{place}: {}", shown_word(&problem.file), message.join("\n")));
    }
    let Findings { projects, datasets, webapps, .. } = findings;
    if findings.ok {
        let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        output::print(&format!(
            "all is well: {}, {}, {}",
            counted(*projects, "project"),
            counted(*datasets, "dataset"),
            counted(*webapps, "webapp")
        ))
    } else {
        let count = findings.problems.len();
        output::note(&format!("{count} {}", if count == 1 { "problem" } else { "problems" }));
        Ok(())
    }
}

/// The place of a message about stet.toml, which begins with its path and line.
fn config_problem(folder: &NodeFolder, message: &str) -> Option<ProblemView> {
    let path = folder.root().join("stet.toml");
    let rest = message.strip_prefix(&path.display().to_string())?.strip_prefix(':')?;
    let (line, message) = rest.split_once(": ")?;
    let mut numbers = line.split(':').map(str::parse);
    let line = numbers.next()?.ok()?;
    let column = numbers.next().and_then(Result::ok);
    Some(ProblemView { file: "stet.toml".to_owned(), line: Some(line), column, message: message.to_owned() })
}

async fn projects(app: &App, arguments: &Arguments, findings: &mut Findings) -> Result<(), Failure> {
    let actor = node::actor();
    if let Some(key) = &arguments.project
        && let Err(failure @ Failure::Usage(_)) = names::project(app, &actor, key)
        && !app.projects(&actor).iter().any(|(known, _)| known.as_str() == key)
    {
        return Err(failure);
    }
    if arguments.project.is_none() {
        strange_folders(app, findings);
    }
    for (key, project) in app.projects(&actor) {
        if arguments.project.as_ref().is_some_and(|wanted| *wanted != key.as_str()) {
            continue;
        }
        findings.projects += 1;
        match project {
            Ok(project) => data(app, &actor, &project, findings).await,
            Err(AppError::Project(error)) => {
                findings.problems.extend(error.problems.into_iter().map(|problem| in_project(&key, problem)));
            }
            Err(error) => findings.problems.push(of_file(&key, "", &error)),
        }
    }
    Ok(())
}

/// Folders of `projects/` whose names are none of projects, which everything else passes over.
fn strange_folders(app: &App, findings: &mut Findings) {
    let Ok(entries) = std::fs::read_dir(app.folder().projects()) else { return };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in names {
        if let Err(error) = ProjectKey::new(name.as_str()) {
            let file = format!("projects/{name}");
            findings.problems.push(ProblemView { file, line: None, column: None, message: error.to_string() });
        }
    }
}

/// Reads all sources of a project from end to end and opens each of its tables.
async fn data(app: &App, actor: &Actor, project: &Project, findings: &mut Findings) {
    let key = &project.key;
    let nodes = match app.flow(actor, key.as_str()).await {
        Ok(flow) => flow.nodes,
        Err(error) => return findings.problems.push(of_file(key, "", &error)),
    };
    let mut unusable = Vec::new();
    for node in nodes.iter().filter(|node| node.kind == FlowNodeKind::Dataset) {
        findings.datasets += 1;
        let file = dataset_file(app, project, &node.name);
        match node.state {
            Some(FlowState::NeverBuilt) => {
                findings.notes.push(format!("{key}.{} was never built, so its rows are not checked", node.name));
                unusable.push(node.name.as_str());
            }
            Some(FlowState::Missing | FlowState::Failed) => {
                let reason = node.reason.clone().unwrap_or_else(|| "it cannot be read".to_owned());
                let message = match node.state {
                    Some(FlowState::Failed) => format!("the last build of `{}` failed: {reason}", node.name),
                    _ => format!("`{}` has no data: {reason}", node.name),
                };
                findings.problems.push(ProblemView { file: in_folder(key, &file), line: None, column: None, message });
                unusable.push(node.name.as_str());
            }
            Some(FlowState::Source) => {
                if let Err(error) = read_through(app, actor, key, &node.name).await {
                    findings.problems.push(of_file(key, &file, &error));
                    unusable.push(node.name.as_str());
                }
            }
            _ => {}
        }
    }
    for webapp in project.webapps.values() {
        findings.webapps += 1;
        // What is wrong with the original has been said.
        if unusable.contains(&webapp.original.as_str()) {
            continue;
        }
        let file = format!("webapps/{}.toml", webapp.name);
        match app.describe_webapp(actor, key.as_str(), webapp.name.as_str()).await {
            Ok(description) => {
                if let Some(message) = description.read_only {
                    findings.problems.push(ProblemView {
                        file: in_folder(key, &file),
                        line: None,
                        column: None,
                        message,
                    });
                }
            }
            Err(error) => findings.problems.push(of_file(key, &file, &error)),
        }
    }
}

async fn read_through(app: &App, actor: &Actor, project: &ProjectKey, dataset: &str) -> Result<(), AppError> {
    let (app, actor, project, dataset) = (app.clone(), actor.clone(), project.clone(), dataset.to_owned());
    tokio::task::spawn_blocking(move || app.read_through(&actor, project.as_str(), &dataset).map(|_| ()))
        .await
        .map_err(AppError::internal)?
}

/// The file that declares a dataset, if one does.
fn dataset_file(app: &App, project: &Project, dataset: &str) -> String {
    let declared = format!("datasets/{dataset}.toml");
    if app.folder().project(&project.key).join(&declared).exists() {
        return declared;
    }
    let location = project.datasets.values().find(|known| known.name.as_str() == dataset).map(|known| &known.location);
    match (location, project.recipes.values().find(|recipe| recipe.output.as_str() == dataset)) {
        (Some(Location::Files { .. }), Some(recipe)) => {
            let declared = format!("recipes/{}.toml", recipe.name);
            if app.folder().project(&project.key).join(&declared).exists() {
                declared
            } else {
                "project.toml".to_owned()
            }
        }
        _ => "project.toml".to_owned(),
    }
}

fn in_folder(project: &ProjectKey, file: &str) -> String {
    if file.is_empty() { format!("projects/{project}") } else { format!("projects/{project}/{file}") }
}

fn in_project(project: &ProjectKey, problem: Problem) -> ProblemView {
    ProblemView {
        file: in_folder(project, &problem.file),
        line: problem.line,
        column: problem.column,
        message: problem.message,
    }
}

fn of_file(project: &ProjectKey, file: &str, error: &AppError) -> ProblemView {
    let message = match error {
        AppError::Internal(source) => stet_app::Chain(&**source).to_string(),
        other => other.to_string(),
    };
    ProblemView { file: in_folder(project, file), line: None, column: None, message }
}
