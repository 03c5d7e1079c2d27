//! What an activation would do, in full, before anything happens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use stet_domain::access::may_read_dataset;
use stet_domain::bundle::{BundlePath, FileEffect, FileState, Manifest, ObjectKind, file_effects};
use stet_domain::project::{Project, ProjectError, RecipeKind, Webapp, load};
use stet_domain::{Actor, DatasetName, ProjectKey, WebappName};

use super::history::HistoryEffect;
use super::judge::{self, Judgement};
use crate::App;
use crate::bundle::{BundleSide, BundleSummary, bundle_texts, files_of, project_texts, read_bundle};
use crate::datasets::blocking;
use crate::editlogs::EditlogPlace;
use crate::error::AppError;
use crate::password::hex;

/// Everything that an activation would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeployPlan {
    /// The project.
    pub project: String,
    /// The bundle.
    pub digest: String,
    /// Its number.
    pub sequence: u64,
    /// Whether it goes back to a bundle that was active before.
    pub rollback: bool,
    /// The node that made it.
    pub source: String,
    /// Who made it.
    pub author: String,
    /// Its release notes.
    pub notes: String,
    /// The bundle that is deployed now, by its digest.
    pub current: Option<String>,
    /// What must be otherwise first; with one of these, nothing is activated.
    pub blockers: Vec<String>,
    /// What should be known.
    pub warnings: Vec<String>,
    /// Those of the warnings that go on being true once it is activated.
    pub lasting_warnings: Vec<String>,
    /// Signatures and approvals.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// The objects that are added, changed or removed, or stay because they were made here.
    pub objects: Vec<PlanObject>,
    /// The connections that the project needs.
    pub connections: Vec<PlanConnection>,
    /// The webapps that begin, end, or open anew with other settings.
    pub webapps: Vec<PlanWebapp>,
    /// The datasets whose recipes are new or changed, to be built afterwards.
    pub builds: Vec<String>,
    /// The originals whose editlog is not there yet on this node.
    pub editlogs_to_initialise: Vec<String>,
    /// For each of them, who makes it and how.
    pub first_steps: Vec<String>,
    /// What becomes of the edits that were logged here. None is ever changed.
    pub edits: Vec<HistoryEffect>,
    /// The data files that change: none unless they are in the bundle.
    pub data: Vec<PlanData>,
    #[serde(skip)]
    pub(super) files: Vec<FileState>,
    /// The files of the definition as they were when the plan was made, with their hashes.
    #[serde(skip)]
    pub(super) present: BTreeMap<String, String>,
}

/// An object in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanObject {
    /// Such as `webapp`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// `add`, `change`, `remove`, `keep_local` or `conflict`.
    pub effect: &'static str,
    /// Whether it was changed on this node since it was deployed.
    pub drifted: bool,
}

/// A connection in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanConnection {
    /// Its name.
    pub name: String,
    /// Its kind on the node that made the bundle.
    pub kind_there: Option<String>,
    /// Its kind on this node; none if it has none of this name.
    pub kind_here: Option<String>,
}

/// A webapp in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanWebapp {
    /// Its name.
    pub name: String,
    /// `start`, `stop` or `restart`.
    pub effect: &'static str,
    /// Whether its table is opened at once, and not when somebody first asks for it: it starts by itself, or is open now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opens: bool,
}

/// A data file in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanData {
    /// Below the folder of the project's data.
    pub file: String,
    /// `add`, `change` or `keep`.
    pub effect: &'static str,
    /// Its size.
    pub bytes: u64,
}

impl App {
    /// What activating a bundle would do. With `rows`, edits that would no longer fit are listed one by one.
    ///
    /// # Errors
    /// When the actor may not, or there is no such bundle on this node.
    pub async fn plan_deployment(&self, actor: &Actor, digest: &str, rows: bool) -> Result<DeployPlan, AppError> {
        let bundle = self.bundle(actor, digest).await?;
        let mut plan = self.plan(&bundle, false, rows).await?;
        if rows {
            self.keep_readable(actor, &bundle, &mut plan);
        }
        Ok(plan)
    }

    /// Takes out of a plan the edits that the actor may not see.
    fn keep_readable(&self, actor: &Actor, bundle: &BundleSummary, plan: &mut DeployPlan) {
        let project = self.inner.projects.get(&bundle.record.project).ok().filter(|_| actor.deploy.is_none());
        for effect in &mut plan.edits {
            let name = DatasetName::new(effect.original.as_str());
            let may = project
                .as_ref()
                .zip(name.ok())
                .is_some_and(|(project, name)| may_read_dataset(actor, project, &name.editlog()));
            if !may {
                effect.rows.clear();
            }
        }
    }

    pub(super) async fn plan(
        &self,
        summary: &BundleSummary,
        rollback: bool,
        rows: bool,
    ) -> Result<DeployPlan, AppError> {
        let record = &summary.record;
        let key = record.project.clone();
        let approvals = self.inner.node.approvals(&record.digest).await?;
        let deployed = self.inner.node.deployed(&key).await?;
        let deployed_path = self.deployed_archive(&key).await?;
        let (app, path, digest) = (self.clone(), summary.path.clone(), record.digest.clone());
        let current = self.inner.projects.get(&key).ok();
        blocking(move || {
            let bundle = read_bundle(&path)?;
            if bundle.digest != digest {
                return Err(AppError::Refused(format!(
                    "the archive of the bundle {digest} was replaced by another one"
                )));
            }
            let before = deployed_path.as_deref().map(read_bundle).transpose()?.map(|bundle| bundle.manifest);
            let here = app.here();
            let judgement =
                judge::activation(&here, &bundle, &approvals, deployed.as_ref().zip(before.as_ref()), rollback);
            let texts = bundle_texts(&path)?;
            let current = current.or_else(|| app.as_deployed(&key, deployed_path.as_deref()?));
            app.draft_plan(&key, &bundle.manifest, digest, before.as_ref(), &texts, current, judgement, rollback, rows)
        })
        .await
    }

    #[allow(clippy::too_many_arguments)]
    fn draft_plan(
        &self,
        key: &ProjectKey,
        manifest: &Manifest,
        digest: String,
        before: Option<&Manifest>,
        texts: &BTreeMap<String, String>,
        current: Option<Arc<Project>>,
        mut judgement: Judgement,
        rollback: bool,
        rows: bool,
    ) -> Result<DeployPlan, AppError> {
        let root = self.inner.folder.project(key);
        let here = if root.is_dir() { project_texts(&root)? } else { BTreeMap::new() };
        let present = hashes_of(&here);
        let files = file_effects(&present, &before.map(hashes).unwrap_or_default(), &hashes(manifest));
        let mut blockers = std::mem::take(&mut judgement.blockers);
        let mut warnings = std::mem::take(&mut judgement.warnings);
        let mut lasting_warnings = warnings.clone();
        let warnings_of_judgement = warnings.len();
        for state in &files {
            match state.effect {
                FileEffect::Conflict => blockers.push(format!(
                    "`{}` was made on this node and the bundle brings another one: rename or remove the one here",
                    state.file
                )),
                _ if state.drifted => warnings.push(format!(
                    "`{}` was changed on this node since it was deployed: the activation undoes that",
                    state.file
                )),
                _ => {}
            }
        }
        for (file, text) in &here {
            if let Err(error) = BundlePath::definition(file) {
                // A file that is here and that nobody could deploy: it stays, and is worth a word.
                warnings.push(format!("{error} ({} bytes stay here)", text.len()));
            }
        }

        let next = match next_of(key, &root, &files, &here, texts) {
            Ok(next) => Some(next),
            Err(error) => {
                blockers.extend(error.problems.iter().map(|problem| format!("the project would be wrong: {problem}")));
                None
            }
        };
        let current = current.as_deref();
        let connections = next.as_ref().map(|next| self.plan_connections(manifest, next, &mut blockers));
        let edits = match &next {
            Some(next) => self.history_effects(current, next, rows)?,
            None => Vec::new(),
        };
        for effect in edits.iter().filter(|effect| effect.lost() > 0) {
            lasting_warnings.push(format!(
                "with this bundle {} of {} logged edits of `{}` no longer apply ({}); they stay in the log",
                effect.lost(),
                effect.events,
                effect.original,
                effect.in_words()
            ));
        }
        for effect in edits.iter().filter(|effect| effect.rekeyed > 0) {
            lasting_warnings.push(format!(
                "with this bundle the primary key of `{}` is another one: {} logged edits apply to the rows that have the same \
                 key now, which may be other rows",
                effect.original, effect.rekeyed
            ));
        }
        warnings.extend(lasting_warnings.iter().skip(warnings_of_judgement).cloned());
        for effect in &edits {
            if let Some(reason) = &effect.not_looked_at {
                warnings.push(format!("the table on `{}` would not open as things are now: {reason}", effect.original));
            }
        }
        let mut unready = next.as_ref().map(|next| self.unready_editlogs(next)).unwrap_or_default();
        blockers.extend(unready.iter().filter(|editlog| editlog.foreign).map(|e| e.words.clone()));
        warnings.extend(unready.iter().filter(|editlog| !editlog.foreign && !editlog.missing).map(|e| e.words.clone()));
        unready.retain(|editlog| editlog.missing);
        let open = self.open_tables_of(key);
        let data = self.plan_data(key, manifest)?;
        Ok(DeployPlan {
            project: key.to_string(),
            digest,
            sequence: manifest.sequence,
            rollback,
            source: manifest.source.name.clone(),
            author: manifest.author.clone(),
            notes: manifest.notes.clone(),
            current: before.map(|before| hex(&Sha256::digest(before.to_bytes()))),
            objects: objects(&files),
            connections: connections.unwrap_or_default(),
            webapps: next.as_ref().map(|next| webapps(current, next, &open)).unwrap_or_default(),
            builds: next.as_ref().map(|next| builds(current, next)).unwrap_or_default(),
            editlogs_to_initialise: unready.iter().map(|editlog| editlog.original.clone()).collect(),
            first_steps: unready.into_iter().map(|editlog| editlog.words).collect(),
            edits,
            data,
            judgement,
            blockers,
            warnings,
            lasting_warnings,
            files,
            present,
        })
    }

    /// The project as it was deployed, for when its files here cannot be used. Blocks.
    pub(super) fn as_deployed(&self, key: &ProjectKey, archive: &Path) -> Option<Arc<Project>> {
        let texts = bundle_texts(archive).ok()?;
        next_of(key, &self.inner.folder.project(key), &[], &BTreeMap::new(), &texts).ok().map(Arc::new)
    }

    /// The project as it would be after a bundle was activated. Blocks.
    pub(super) fn next_project(&self, bundle: &BundleSummary, deployed: Option<&Path>) -> Result<Project, AppError> {
        let key = &bundle.record.project;
        let root = self.inner.folder.project(key);
        let here = if root.is_dir() { project_texts(&root)? } else { BTreeMap::new() };
        let before = deployed.map(read_bundle).transpose()?.map(|bundle| bundle.manifest);
        let manifest = read_bundle(&bundle.path)?.manifest;
        let files =
            file_effects(&hashes_of(&here), &before.as_ref().map(hashes).unwrap_or_default(), &hashes(&manifest));
        Ok(next_of(key, &root, &files, &here, &bundle_texts(&bundle.path)?)?)
    }

    fn plan_connections(&self, manifest: &Manifest, next: &Project, blockers: &mut Vec<String>) -> Vec<PlanConnection> {
        let mut plan = Vec::new();
        for need in self.connections_of(next) {
            let there = manifest.connections.iter().find(|known| known.name == need.name);
            let kind_there = there.and_then(|known| known.kind.clone());
            match (&kind_there, &need.kind) {
                (_, None) => blockers.push(format!(
                    "this node has no connection `{}`{}: add it with `stet connection add {}`, or to stet.toml",
                    need.name,
                    kind_there.as_ref().map_or_else(String::new, |kind| format!(" of kind `{kind}`")),
                    need.name
                )),
                (Some(there), Some(here)) if there != here => blockers.push(format!(
                    "the connection `{}` is of kind `{here}` here and of kind `{there}` on {}: they have to be of the same kind",
                    need.name, manifest.source.name
                )),
                _ => {}
            }
            plan.push(PlanConnection { name: need.name, kind_there, kind_here: need.kind });
        }
        plan
    }

    fn plan_data(&self, key: &ProjectKey, manifest: &Manifest) -> Result<Vec<PlanData>, AppError> {
        let root = self.inner.folder.data(key);
        manifest
            .data_files()
            .map(|(file, listed)| {
                let effect = match std::fs::symlink_metadata(root.join(file)) {
                    Err(_) => "add",
                    Ok(_) if file_hash(&root.join(file)).is_ok_and(|hash| hash == listed.sha256) => "keep",
                    Ok(_) => "change",
                };
                Ok(PlanData { file: file.to_owned(), effect, bytes: listed.bytes })
            })
            .collect()
    }

    /// The editlogs of a project that take no edits on this node yet, and what to do. Blocks.
    pub(super) fn unready_editlogs(&self, project: &Project) -> Vec<UnreadyEditlog> {
        let unready = |webapp: &Webapp| {
            let original = &webapp.original;
            // A connection that is missing is told as such.
            let place = self.editlog_place(project, original).ok()?;
            let is_there = place.is_initialised(original);
            let opened = is_there.and_then(|there| {
                if !there {
                    return Ok(false);
                }
                // Whose it is shows only when it is opened.
                place.reader(self.inner.node_id, original).map(|_| true)
            });
            let (missing, foreign, words) = match opened {
                Ok(true) => return None,
                Ok(false) => (true, false, first_step(&place, &project.key, original)),
                Err(error) => (false, matches!(error, AppError::Configuration(_)), error.to_string()),
            };
            Some(UnreadyEditlog { original: original.to_string(), missing, foreign, words })
        };
        project.webapps.values().filter_map(unready).collect()
    }

    /// What differs between what is deployed and a bundle, object by object.
    ///
    /// # Errors
    /// As [`App::diff_bundles`].
    pub async fn diff_with_deployed(
        &self,
        actor: &Actor,
        digest: &str,
    ) -> Result<Vec<stet_domain::bundle::ObjectDiff>, AppError> {
        let bundle = self.bundle(actor, digest).await?;
        let before = BundleSide::Deployed(bundle.record.project.clone());
        self.diff_bundles(actor, before, BundleSide::Archive(bundle.path)).await
    }
}

/// An editlog that takes no edits on this node.
pub(super) struct UnreadyEditlog {
    /// Whose edits it would hold.
    pub original: String,
    /// Whether it only has to be made.
    pub missing: bool,
    /// Whether it is there and cannot be this node's: another node's, or not as Stet made it.
    pub foreign: bool,
    /// What to do, in words.
    pub words: String,
}

/// Who makes an editlog that is not there yet, and how.
fn first_step(place: &EditlogPlace, project: &ProjectKey, original: &DatasetName) -> String {
    let begin = format!("`{original}` has no editlog on this node yet:");
    match place {
        EditlogPlace::Node(_) => {
            format!("{begin} opening its table makes it, as does the scenario reset_edits_{original}")
        }
        EditlogPlace::Database(..) => format!(
            "{begin} the scenario reset_edits_{original} or `stet editlog init {project}.{original}` makes it with the rights of \
             the node; `stet editlog init {project}.{original} --secure --admin-url-file FILE` makes it so that the node can \
             append and read, and nothing else"
        ),
    }
}

/// Texts as the hashes of them.
fn hashes_of(texts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    texts.iter().map(|(file, text)| (file.clone(), hex(&Sha256::digest(text.as_bytes())))).collect()
}

/// The project as it would be: the bundle's files, and those made here.
fn next_of(
    key: &ProjectKey,
    root: &Path,
    files: &[FileState],
    here: &BTreeMap<String, String>,
    texts: &BTreeMap<String, String>,
) -> Result<Project, ProjectError> {
    let mut next: BTreeMap<String, String> = texts
        .iter()
        .filter_map(|(path, text)| Some((path.strip_prefix("project/")?.to_owned(), text.clone())))
        .collect();
    for state in files.iter().filter(|state| state.effect == FileEffect::KeepLocal) {
        if let Some(text) = here.get(&state.file) {
            next.insert(state.file.clone(), text.clone());
        }
    }
    let mut next = files_of(&next);
    next.local = crate::projects::local_file(root);
    load(key.clone(), &next)
}

/// The files of a definition with their hashes.
pub(super) fn hashes(manifest: &Manifest) -> BTreeMap<String, String> {
    manifest.definition_files().map(|(file, listed)| (file.to_owned(), listed.sha256.clone())).collect()
}

fn file_hash(path: &Path) -> Result<String, AppError> {
    Ok(crate::bundle::size_and_hash(crate::bundle::open_file(path)?)?.1)
}

fn objects(files: &[FileState]) -> Vec<PlanObject> {
    let mut objects: BTreeMap<(ObjectKind, String), (BTreeSet<FileEffect>, bool)> = BTreeMap::new();
    for state in files {
        let entry = objects.entry(ObjectKind::of_path(&format!("project/{}", state.file))).or_default();
        entry.0.insert(state.effect);
        entry.1 |= state.drifted;
    }
    objects
        .into_iter()
        .filter_map(|((kind, name), (effects, drifted))| {
            let effect = match effects.iter().collect::<Vec<_>>().as_slice() {
                [FileEffect::Keep] if !drifted => return None,
                [one] => **one,
                _ if effects.contains(&FileEffect::Conflict) => FileEffect::Conflict,
                _ => FileEffect::Change,
            };
            Some(PlanObject { kind: kind.as_str(), name, effect: effect.as_str(), drifted })
        })
        .collect()
}

fn webapps(current: Option<&Project>, next: &Project, open: &BTreeSet<WebappName>) -> Vec<PlanWebapp> {
    let none = BTreeMap::new();
    let before = current.map_or(&none, |current| &current.webapps);
    let mut plan = Vec::new();
    for (name, webapp) in &next.webapps {
        let same_original = current
            .is_some_and(|current| current.datasets.get(&webapp.original) == next.datasets.get(&webapp.original));
        match before.get(name) {
            None => plan.push(PlanWebapp { name: name.to_string(), effect: "start", opens: webapp.auto_start }),
            Some(before) if before != webapp || !same_original => {
                let opens = webapp.auto_start || open.contains(name);
                plan.push(PlanWebapp { name: name.to_string(), effect: "restart", opens });
            }
            Some(_) => {}
        }
    }
    for name in before.keys().filter(|name| !next.webapps.contains_key(name)) {
        plan.push(PlanWebapp { name: name.to_string(), effect: "stop", opens: false });
    }
    plan
}

fn builds(current: Option<&Project>, next: &Project) -> Vec<String> {
    let changed = |recipe: &&stet_domain::project::Recipe| {
        let Some(current) = current else { return true };
        let webapp_changed = match &recipe.kind {
            RecipeKind::Replay { webapp } | RecipeKind::Apply { webapp } => {
                current.webapps.get(webapp) != next.webapps.get(webapp)
            }
            RecipeKind::Sql { .. } => false,
        };
        webapp_changed
            || current.recipe_of(&recipe.output) != Some(*recipe)
            || current.datasets.get(&recipe.output) != next.datasets.get(&recipe.output)
    };
    // Each after those that it is made of; a cycle is told as a problem of the project.
    let order = stet_domain::flow::order(next).unwrap_or_default();
    order
        .iter()
        .filter(|dataset| next.recipe_of(dataset).is_some_and(|recipe| changed(&recipe)))
        .map(ToString::to_string)
        .collect()
}
