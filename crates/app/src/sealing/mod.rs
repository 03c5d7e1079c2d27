//! The seal of editlogs: the node's key, verification, proofs, bundles, and copies of checkpoints elsewhere.

mod erase;
mod key;
mod push;
mod state;

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use stet_domain::project::Project;
use stet_domain::{Actor, DatasetName, ProjectKey};
use stet_editlog::bundle::{BUNDLE_FORMAT, BundleWriter, Manifest};
use stet_editlog::proof_file::{ConsistencyProof, InclusionProof};
use stet_editlog::verify::{CHECKPOINTS_MAX, Kept, Report, Verifier};
use stet_editlog::{Checkpoint, Hash, Note, VerifierKey, line};
use stet_store::{SealedLog, Sealing};

use crate::App;
use crate::error::AppError;

pub use self::erase::{ERASED_EVENTS_MAX, Erased, ErasureRequest};
pub(crate) use self::key::sealing_key;
pub(crate) use self::push::Pushes;
pub use self::push::{PUSH_INTERVAL_S, PushStatus, Pushed, Unreached};
pub(crate) use self::state::Verifications;
pub use self::state::{SealState, VERIFICATIONS_MAX, VerificationOutcome, VerificationStatus};

/// The most checkpoints of a log's own that a verification looks at: the last ones.
const OWN_CHECKPOINTS_MAX: usize = 2_000;

/// What is known of a log from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Whose signatures count; none for this node's own key.
    pub trusted: Option<Vec<VerifierKey>>,
    /// Signed checkpoints, each with where it was kept.
    pub checkpoints: Vec<(String, String)>,
    /// Where checkpoints and hashes of this log were pushed to; none for the places of `stet.toml`.
    pub kept: Option<KeptAt>,
    /// The witnesses whose cosignatures are looked for; none for those of `stet.toml`.
    pub witnesses: Option<Vec<VerifierKey>>,
}

/// A place that a log was pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptAt {
    /// The folder of this log.
    Folder(PathBuf),
    /// A bucket that `stet.toml` names, as `s3://bucket/prefix`.
    Bucket(String),
}

impl std::str::FromStr for KeptAt {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<KeptAt, Self::Err> {
        Ok(if text.starts_with("s3://") { KeptAt::Bucket(text.to_owned()) } else { KeptAt::Folder(text.into()) })
    }
}

/// What the verification of an editlog found.
#[derive(Debug)]
pub struct EditlogVerification {
    /// The name of the log in its checkpoints.
    pub origin: String,
    /// What the events, hashes and checkpoints say.
    pub report: Report,
    /// What protects the log and is missing or changed, in words.
    pub protection: Option<String>,
    /// The keys that were trusted.
    pub trusted: Vec<VerifierKey>,
    /// Where the evidence from elsewhere was kept.
    pub outside: Vec<String>,
    /// The places of `stet.toml` that could not be asked, or not to the end.
    pub unreached: Vec<Unreached>,
}

impl App {
    /// The public keys that sign the checkpoints of this node's editlogs.
    pub fn sealing_keys(&self, _actor: &Actor) -> Vec<VerifierKey> {
        vec![self.inner.sealing_key.verifier().clone()]
    }

    /// How the editlogs of a project are sealed.
    pub(crate) fn sealing(&self, project: &ProjectKey) -> Sealing {
        let signer = Arc::clone(&self.inner.sealing_key);
        let origin_prefix = format!("{}/{project}", signer.verifier().name());
        Sealing { signer, origin_prefix }
    }

    /// Verifies the editlog of a dataset as it is now, against checkpoints of its own and from elsewhere. Blocks.
    /// `progress` is told how many events were looked at, and how many there are, and may end it. A place of `stet.toml` that
    /// cannot be reached is told, and keeps nobody from verifying what can be; one that was asked for must be there.
    ///
    /// # Errors
    /// When there is no such editlog that the actor may know of, it cannot be read to its end, or it was ended: `Cancelled`.
    pub fn verify_editlog(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        evidence: Evidence,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<EditlogVerification, AppError> {
        let (project, original) = self.sealed_original(actor, project, dataset)?;
        let origin = self.sealing(&project.key).origin(&original);
        let place = self.editlog_place(&project, &original)?;
        let log = if place.is_initialised(&original)? { Some(place.sealed(&original)?) } else { None };
        let own = match &log {
            Some(log) => log.checkpoints(OWN_CHECKPOINTS_MAX.min(CHECKPOINTS_MAX))?,
            None => Vec::new(),
        };
        let trusted = evidence.trusted.unwrap_or_else(|| self.sealing_keys(actor));

        let witnesses = evidence.witnesses.unwrap_or_else(|| self.witness_keys());

        let asked_for = evidence.kept.is_some();
        let places = match evidence.kept {
            Some(KeptAt::Folder(folder)) => vec![Ok(push::Place::Folder(folder))],
            Some(KeptAt::Bucket(name)) => self.kept_in_bucket(&name, &origin)?.into_iter().map(Ok).collect(),
            None => self.kept_places(&origin),
        };
        let mut outside = evidence.checkpoints;
        let mut kept = KeptOutside { hashes: None, must: asked_for, unreached: Vec::new() };
        for place in places {
            match place.map(|place| (place.kept(), place.name())) {
                Ok((Ok(None), _)) => {}
                Ok((Ok(Some((note, hashes))), name)) => {
                    // Of several places the one that kept the most is compared with event by event.
                    if kept.hashes.as_ref().is_none_or(|kept| kept.size() < hashes.size()) {
                        kept.hashes = Some(hashes);
                    }
                    outside.push((note, name));
                }
                Ok((Err(error), name)) => kept.cannot(name, error)?,
                Err(unreached) => kept.unreached.push(unreached),
            }
        }
        outside.extend(self.cosigned_checkpoints(&origin, &witnesses)?);
        if log.is_none() && outside.is_empty() {
            return Err(never_begun(&original));
        }
        let checkpoints = own.iter().map(|note| (note.as_str(), Kept::Inside));
        let elsewhere = outside.iter().map(|(note, place)| (note.as_str(), Kept::Outside(place.clone())));
        let mut verifier = Verifier::witnessed(&origin, &trusted, &witnesses, checkpoints.chain(elsewhere));
        let Some(log) = log else {
            // Somebody kept checkpoints of it, so it was there: a log that is gone has lost all its events.
            while let Some(hash) = kept.next()? {
                verifier.push_hash(None, Some(hash));
            }
            verifier.end_hashes();
            return Ok(EditlogVerification {
                origin,
                report: verifier.finish(),
                protection: Some("the editlog is gone: there is no file or table of it".to_owned()),
                trusted,
                outside: outside.into_iter().map(|(_, place)| place).collect(),
                unreached: kept.unreached,
            });
        };
        let events = log.last_event()?;
        log.scan(&mut |page| {
            for hash in page.hashes {
                verifier.push_hash(Some(hash), kept.next()?);
            }
            if page.hashes_ended {
                while let Some(hash) = kept.next()? {
                    verifier.push_hash(None, Some(hash));
                }
                verifier.end_hashes();
            }
            for (event, link) in page.events.iter().zip(&page.links) {
                if let Some(link) = link {
                    verifier.push_link(&link.writer, link.number, link.previous, event);
                }
                verifier.push_event(event);
            }
            match progress(verifier.events(), events) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(AppError::Cancelled),
            }
        })?;
        Ok(EditlogVerification {
            origin,
            report: verifier.finish(),
            protection: log.protection().err().map(|error| error.to_string()),
            trusted,
            outside: outside.into_iter().map(|(_, place)| place).collect(),
            unreached: kept.unreached,
        })
    }

    /// The proof that an event is in the editlog of a dataset. Blocks.
    ///
    /// # Errors
    /// When there is no such editlog that the actor may know of, no such event, or it is not sealed.
    pub fn prove_event(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        event: u64,
    ) -> Result<InclusionProof, AppError> {
        let (project, original) = self.sealed_original(actor, project, dataset)?;
        let log = self.sealed_log(&project, &original)?;
        let found = log.event(event)?.ok_or_else(|| AppError::not_found(format!("event {event} in this editlog")))?;
        let (checkpoint, note) = self.last_checkpoint(&log)?;
        let index = event.saturating_sub(1);
        let hashes = log.prove_inclusion(index, checkpoint.size)?.ok_or_else(|| {
            AppError::Conflict(format!(
                "event {event} is not sealed yet: the last checkpoint is of {} events",
                checkpoint.size
            ))
        })?;
        let mut bytes = Vec::new();
        line::write(&found, &mut bytes);
        let event = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
        Ok(InclusionProof { event, index, hashes, checkpoint: note.parse().map_err(AppError::internal)? })
    }

    /// The proof that the editlog of a dataset continues what an older checkpoint tells of. Blocks.
    ///
    /// # Errors
    /// When there is no such editlog that the actor may know of, or it is shorter than the checkpoint says.
    pub fn prove_consistency(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        old: &Checkpoint,
    ) -> Result<ConsistencyProof, AppError> {
        let (project, original) = self.sealed_original(actor, project, dataset)?;
        let log = self.sealed_log(&project, &original)?;
        let (checkpoint, note) = self.last_checkpoint(&log)?;
        let hashes = log.prove_consistency(old.size, checkpoint.size)?.ok_or_else(|| {
            AppError::Conflict(format!(
                "TRUNCATED: the log is sealed up to {} events, and the checkpoint tells of {}",
                checkpoint.size, old.size
            ))
        })?;
        Ok(ConsistencyProof { old_size: old.size, hashes, checkpoint: note.parse().map_err(AppError::internal)? })
    }

    /// Writes the editlog of a dataset with all that is needed to verify it; gives how many events were written. Blocks.
    ///
    /// # Errors
    /// When there is no such editlog that the actor may know of, it cannot be read, or `out` not written.
    pub fn export_bundle(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
        out: impl Write,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<u64, AppError> {
        let (project, original) = self.sealed_original(actor, project, dataset)?;
        let log = self.sealed_log(&project, &original)?;
        let object = format!("dataset {}.{}", project.key, original.editlog());
        self.note_blocking(self.entry(actor, "editlog.export", object, ""))?;
        let manifest = Manifest {
            format: BUNDLE_FORMAT.to_owned(),
            origin: self.sealing(&project.key).origin(&original),
            dataset: original.to_string(),
            // Ids have no gaps; if some were made, the bundle is refused by whoever reads it, and verifying says why.
            events: log.last_event()?,
            hashes: log.size()?,
        };
        let writing = |error: std::io::Error| AppError::Unavailable(format!("the bundle cannot be written: {error}"));
        let mut checkpoints = log.checkpoints(OWN_CHECKPOINTS_MAX)?;
        let cosigned = self.cosigned_checkpoints(&manifest.origin, &self.witness_keys())?;
        with_cosigned(&mut checkpoints, cosigned);
        let mut bundle = BundleWriter::new(out, &manifest, &self.sealing_keys(actor), &checkpoints).map_err(writing)?;
        let mut written = 0;
        log.scan(&mut |page| {
            page.hashes.into_iter().try_for_each(|hash| bundle.push_hash(hash)).map_err(writing)?;
            page.events.iter().try_for_each(|event| bundle.push_event(event)).map_err(writing)?;
            written += page.events.len() as u64;
            progress(written, manifest.events);
            Ok::<_, AppError>(())
        })?;
        bundle.finish().and_then(|mut out| out.flush()).map_err(writing)?;
        Ok(written)
    }

    /// The original whose editlog is meant by a dataset: the original itself, or its editlog.
    fn sealed_original(
        &self,
        actor: &Actor,
        project: &str,
        dataset: &str,
    ) -> Result<(Arc<Project>, DatasetName), AppError> {
        let project = self.project(actor, project)?;
        let original = self.original_of(&project, dataset)?;
        Ok((project, original))
    }

    fn sealed_log(&self, project: &Project, original: &DatasetName) -> Result<SealedLog, AppError> {
        let place = self.editlog_place(project, original)?;
        if !place.is_initialised(original)? {
            return Err(never_begun(original));
        }
        Ok(place.sealed(original)?)
    }

    fn last_checkpoint(&self, log: &SealedLog) -> Result<(Checkpoint, String), AppError> {
        let note = log.checkpoints(1)?.into_iter().next();
        let note = note.ok_or_else(|| AppError::Conflict("nothing of this editlog is sealed yet".to_owned()))?;
        let checkpoint = Checkpoint::peek(&note)
            .map_err(|error| AppError::Conflict(format!("the last checkpoint of this editlog is damaged: {error}")))?;
        Ok((checkpoint, note))
    }
}

fn never_begun(original: &DatasetName) -> AppError {
    AppError::Conflict(format!("`{original}` has no editlog yet: nobody has opened its table"))
}

/// Puts cosigned checkpoints into the places of those without cosignatures, or beside them, the last one first.
fn with_cosigned(checkpoints: &mut Vec<String>, cosigned: Vec<(String, String)>) {
    let text_of = |note: &str| note.parse::<Note>().map(|note| note.text).ok();
    for (note, _) in cosigned {
        let text = text_of(&note);
        match checkpoints.iter_mut().find(|own| text_of(own) == text) {
            Some(own) => *own = note,
            None => checkpoints.push(note),
        }
    }
    checkpoints.sort_by_key(|note| std::cmp::Reverse(Checkpoint::peek(note).map_or(0, |checkpoint| checkpoint.size)));
}

/// The hashes that were kept outside, while their place answers.
struct KeptOutside {
    hashes: Option<push::KeptHashes>,
    /// Whether somebody asked for this place.
    must: bool,
    unreached: Vec<Unreached>,
}

impl KeptOutside {
    /// The next hash; none after the last one.
    fn next(&mut self) -> Result<Option<Hash>, AppError> {
        let Some(hashes) = &mut self.hashes else { return Ok(None) };
        match hashes.next() {
            Ok(hash) => Ok(hash),
            Err(error) => {
                let place = hashes.place();
                self.hashes = None;
                self.cannot(place, error).map(|()| None)
            }
        }
    }

    fn cannot(&mut self, place: String, error: AppError) -> Result<(), AppError> {
        if self.must {
            return Err(error);
        }
        self.unreached.push(Unreached::new(place, &error));
        Ok(())
    }
}
