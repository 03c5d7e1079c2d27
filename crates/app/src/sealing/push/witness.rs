//! Witnesses (C2SP tlog-witness): others who see each checkpoint of a log, check that it continues what they saw before, and
//! sign that. What they signed is kept on the node with the checkpoint, and goes with it to the other places.

use hyper::Method;
use hyper::body::Bytes;
use stet_editlog::note::{Cosignature, parse_signatures};
use stet_editlog::proof_file::ConsistencyProof;
use stet_editlog::{Checkpoint, Hash, Note, VerifierKey};
use stet_store::node::CosignedCheckpoint;
use tokio::runtime::Handle;

use crate::App;
use crate::config::{PushTarget, WitnessTarget};
use crate::error::AppError;
use crate::http::{Answer, Peer};

/// How often a witness is asked about one checkpoint: it may tell once or twice that it knows another size.
const ASK_MAX: usize = 3;

/// How many checkpoints that witnesses cosigned are looked at.
const COSIGNED_MAX: usize = 200;

/// A witness at hand.
pub(super) struct Witness {
    peer: Peer,
    path: String,
    key: VerifierKey,
}

/// Gives the consistency proof between two sizes of a log; none if it has not the larger one.
pub(super) type Prove<'a> = &'a dyn Fn(u64, u64) -> Result<Option<Vec<Hash>>, AppError>;

impl Witness {
    pub(super) fn open(target: &WitnessTarget) -> Result<Witness, AppError> {
        let (peer, path) = Peer::of(&target.address).map_err(AppError::Configuration)?;
        let path = format!("{}/add-checkpoint", path.trim_end_matches('/'));
        Ok(Witness { peer, path, key: target.key.clone() })
    }

    fn name(&self) -> String {
        format!("the witness {}", self.key.name())
    }

    fn truncated(&self, sealed: u64, cosigned: u64) -> AppError {
        let name = self.name();
        AppError::Conflict(format!(
            "TRUNCATED: the log is sealed up to {sealed} events, and {name} has signed {cosigned}"
        ))
    }

    fn forked(&self, cosigned: u64) -> AppError {
        AppError::Conflict(format!(
            "FORKED: the log does not continue the {cosigned} events that {} has signed; look into it before anything else is done",
            self.name()
        ))
    }

    /// What the witness has signed of the log, as the node remembers; the note, if it is of the last checkpoint.
    pub(super) fn remembered(&self, app: &App, origin: &str) -> Result<Option<CosignedCheckpoint>, AppError> {
        let known = Handle::current().block_on(app.inner.node.cosigned(origin, COSIGNED_MAX))?;
        let mine = self.key.to_string();
        Ok(known.into_iter().find(|cosigned| cosigned.witness == mine))
    }

    /// Has a checkpoint cosigned, unless it is already. Whether it was new.
    pub(super) fn cosign(&self, app: &App, origin: &str, note: &str, prove: Prove<'_>) -> Result<bool, AppError> {
        let damaged = |error| AppError::Conflict(format!("the checkpoint cannot be read: {error}"));
        let new = Checkpoint::peek(note).map_err(damaged)?;
        let note: Note = note.parse().map_err(AppError::internal)?;
        let known = self.remembered(app, origin)?;
        let mut old = known.as_ref().map_or(0, |known| known.size);
        if let Some(known) = known.filter(|known| known.size >= new.size) {
            if known.size > new.size {
                return Err(self.truncated(new.size, known.size));
            }
            return match known.note.parse::<Note>() {
                Ok(known) if known.text == note.text => Ok(false),
                _ => Err(self.forked(new.size)),
            };
        }
        for _ in 0..ASK_MAX {
            let hashes = prove(old, new.size)?.ok_or_else(|| self.truncated(new.size, old))?;
            let body = ConsistencyProof { old_size: old, hashes, checkpoint: note.clone() }.to_string();
            let answer = Handle::current()
                .block_on(self.peer.ask(Method::POST, &self.path, &[], Bytes::from(body)))
                .map_err(|reason| AppError::Unavailable(format!("{} cannot be reached: {reason}", self.name())))?;
            match answer.status {
                200 => {
                    let cosigned = self.cosigned(&note, &answer)?;
                    let kept = CosignedCheckpoint { witness: self.key.to_string(), size: new.size, note: cosigned };
                    let keeping = app.inner.node.put_cosigned(origin, kept, app.inner.clock.now());
                    Handle::current().block_on(keeping)?;
                    return Ok(true);
                }
                409 => {
                    let size =
                        std::str::from_utf8(&answer.body).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
                    match size {
                        Some(size) if size > new.size => return Err(self.truncated(new.size, size)),
                        Some(size) if size == old => return Err(self.forked(size)),
                        Some(size) => old = size,
                        None if old == new.size => return Err(self.forked(old)),
                        None => return Err(self.refused(origin, old, &answer)),
                    }
                }
                _ => return Err(self.refused(origin, old, &answer)),
            }
        }
        Err(AppError::Unavailable(format!("{} tells another size each time that it is asked", self.name())))
    }

    /// The checkpoint with the cosignatures that are in an answer, if they are right.
    fn cosigned(&self, note: &Note, answer: &Answer) -> Result<String, AppError> {
        let wrong = |why: String| AppError::Refused(format!("{} answered with {why}", self.name()));
        let lines = std::str::from_utf8(&answer.body).map_err(|_| wrong("something that is no text".to_owned()))?;
        let signatures = parse_signatures(lines).map_err(|error| wrong(format!("something else: {error}")))?;
        let mut cosigned = Note { text: note.text.clone(), signatures };
        let keys = std::slice::from_ref(&self.key);
        let found =
            cosigned.cosignatures(keys).map_err(|error| wrong(format!("a cosignature that is none: {error}")))?;
        if found.is_empty() {
            return Err(wrong("no cosignature by the key that stet.toml names: look at `key`".to_owned()));
        }
        cosigned.signatures.retain(|signature| signature.name == self.key.name() && signature.id == self.key.id());
        cosigned.signatures.splice(0..0, note.signatures.iter().cloned());
        Ok(cosigned.to_string())
    }

    /// What an answer means.
    fn refused(&self, origin: &str, old: u64, answer: &Answer) -> AppError {
        let (name, status) = (self.name(), answer.status);
        match status {
            403 => AppError::Refused(format!(
                "{name} does not trust the key of this node: give its operator the key (`stet editlog keys`) for `{origin}`"
            )),
            404 => AppError::Refused(format!(
                "{name} does not know the log `{origin}`: give its operator this name and the key (`stet editlog keys`). Is the address right?"
            )),
            422 => self.forked(old),
            300..400 => AppError::Configuration(format!(
                "{name} sends elsewhere (status {status}), and Stet does not follow: write the address that it sends to into stet.toml"
            )),
            429 | 500.. => AppError::Unavailable(format!("{name} cannot do its work (status {status})")),
            _ => AppError::Refused(format!("{name} refused the checkpoint (status {status})")),
        }
    }
}

impl App {
    /// The keys of the witnesses that `stet.toml` names.
    pub(crate) fn witness_keys(&self) -> Vec<VerifierKey> {
        let targets = self.inner.config.sealing.push.iter();
        let key = |target: &PushTarget| match target {
            PushTarget::Witness(witness) => Some(witness.key.clone()),
            _ => None,
        };
        targets.filter_map(key).collect()
    }

    /// The checkpoints of a log that these witnesses cosigned, as the node remembers, with how to call them. One that a
    /// witness is said to have signed and has not is among them, to be found out.
    pub(crate) fn cosigned_checkpoints(
        &self,
        origin: &str,
        witnesses: &[VerifierKey],
    ) -> Result<Vec<(String, String)>, AppError> {
        let known = Handle::current().block_on(self.inner.node.cosigned(origin, COSIGNED_MAX))?;
        let mut found = Vec::new();
        for CosignedCheckpoint { note, .. } in known {
            let Ok(parsed) = note.parse::<Note>() else { continue };
            let by: Vec<&str> = match parsed.cosignatures(witnesses) {
                Ok(cosigned) if cosigned.is_empty() => continue,
                Ok(cosigned) => cosigned.iter().map(|Cosignature { witness, .. }| witness.name()).collect(),
                Err(_) => vec!["a witness"],
            };
            let place = format!("what {} has signed", by.join(" and "));
            found.push((note, place));
        }
        Ok(found)
    }

    /// A checkpoint with the cosignatures that the node has for it.
    pub(super) fn with_cosignatures(&self, origin: &str, note: &str) -> Result<String, AppError> {
        let witnesses = self.witness_keys();
        if witnesses.is_empty() {
            return Ok(note.to_owned());
        }
        let mut note: Note = note.parse().map_err(AppError::internal)?;
        let known = Handle::current().block_on(self.inner.node.cosigned(origin, COSIGNED_MAX))?;
        for known in known.iter().filter_map(|known| known.note.parse::<Note>().ok()) {
            if known.text == note.text && known.cosignatures(&witnesses).is_ok_and(|found| !found.is_empty()) {
                let new = known.signatures.into_iter().filter(|signature| !note.signatures.contains(signature));
                note.signatures.extend(new.collect::<Vec<_>>());
            }
        }
        Ok(note.to_string())
    }
}
