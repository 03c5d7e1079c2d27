//! Whether a bundle may be activated here: signatures, target, age, and approvals.

use serde::Serialize;
use stet_domain::LogDate;
use stet_domain::bundle::{ApprovalStatement, Enforcement, Manifest};
use stet_store::node::{ApprovalRecord, Deployment};
use uuid::Uuid;

use super::config::{DeployConfig, passkeys_of};
use super::push::in_words;
use crate::bundle::{Bundle, Envelope, STET_VERSION};
use crate::passkeys::{PasskeyKey, Site};

/// From which difference on the clocks of two machines disagree, in seconds.
const CLOCKS_DIFFER_S: i64 = 60;

/// What speaks for and against a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Whose signatures on the bundle are good here.
    pub signed_by: Vec<String>,
    /// The approvals that were brought for this node.
    pub approvals: Vec<GivenApproval>,
    /// Whether the node's policy is met.
    pub approved: bool,
    /// The persons whose approval counts.
    pub counted: Vec<String>,
    /// What must be otherwise before the bundle can be activated. A plan tells them with its own.
    #[serde(skip)]
    pub blockers: Vec<String>,
    /// What should be known, and does not prevent it. A plan tells them with its own.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// An approval whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenApproval {
    /// Who.
    pub person: String,
    /// The review, if one was given: `approve`, `minor` or `major`.
    pub feedback: Option<stet_domain::bundle::Feedback>,
    /// The decision, if one was made: `approve` or `reject`.
    #[serde(rename = "final")]
    pub decision: Option<stet_domain::bundle::FinalDecision>,
    /// In the person's words.
    pub comment: String,
    /// When, by the clock of the person's machine.
    pub made_at: LogDate,
}

impl From<ApprovalStatement> for GivenApproval {
    fn from(statement: ApprovalStatement) -> GivenApproval {
        GivenApproval {
            person: statement.person,
            feedback: statement.feedback,
            decision: statement.decision,
            comment: statement.comment,
            made_at: statement.made_at,
        }
    }
}

/// The node that judges, and when.
pub(super) struct Here<'a> {
    pub id: Uuid,
    pub name: &'a str,
    pub config: &'a DeployConfig,
    pub now: LogDate,
    /// Whose passkeys count; none when the node's address is one that has no passkeys.
    pub site: Option<Site>,
}

/// Whether a bundle may come to this node at all: signature, target, expiry.
pub(super) fn entry(here: &Here<'_>, bundle: &Bundle) -> Judgement {
    let mut judgement = Judgement::default();
    let manifest = &bundle.manifest;
    let payload = manifest.to_bytes();
    match &bundle.envelope {
        None => judgement.blockers.push("nobody signed this bundle: sign it with `stet bundle sign`".to_owned()),
        Some(envelope) => {
            let trusted = &here.config.trusted;
            let good = envelope.verified_by(&payload, trusted.iter().map(|trusted| &trusted.key));
            judgement.signed_by = trusted
                .iter()
                .filter(|trusted| good.contains(&&trusted.key))
                .map(|trusted| trusted.name.clone())
                .collect();
            if judgement.signed_by.is_empty() {
                judgement.blockers.push(format!(
                    "no signature of this bundle is by a key that this node trusts (it names the keys {}): add the key of \
                     the node that made it under [[deploy.trusted]] in stet.toml, if it is the right one",
                    envelope.key_ids().join(", ").escape_debug()
                ));
            }
        }
    }
    if !manifest.is_for(here.id, here.name) {
        judgement.blockers.push(format!(
            "this bundle is meant for {}, and this node is `{}` ({})",
            manifest.targets.join(", ").escape_debug(),
            here.name,
            here.id
        ));
    }
    if let Some(expires) = manifest.expires.filter(|expires| *expires <= here.now) {
        judgement.blockers.push(format!("this bundle expired at {expires}: make a new one"));
    }
    judgement
}

/// Whether a bundle may be activated now. A rollback is to a bundle that was active here before: its age and version are
/// known, and it was approved then.
pub(super) fn activation(
    here: &Here<'_>,
    bundle: &Bundle,
    approvals: &[ApprovalRecord],
    deployed: Option<(&Deployment, &Manifest)>,
    rollback: bool,
) -> Judgement {
    let manifest = &bundle.manifest;
    let mut judgement = entry(here, bundle);
    if rollback {
        // The signature and the target hold for ever; being late does not matter for what was there in time.
        if manifest.expires.is_some_and(|expires| expires <= here.now) {
            let before = judgement.blockers.len();
            judgement.blockers.retain(|blocker| !blocker.starts_with("this bundle expired at"));
            if judgement.blockers.len() < before {
                judgement.warnings.push("this bundle has expired since it was active here".to_owned());
            }
        }
    } else if let Some((_, current)) = deployed
        && current.source.id == manifest.source.id
        && manifest.sequence < current.sequence
    {
        judgement.blockers.push(format!(
            "this bundle has number {} and number {} is deployed: to go back, use `stet deploy rollback`",
            manifest.sequence, current.sequence
        ));
    } else if let Some((_, current)) = deployed
        && current.source.id != manifest.source.id
    {
        judgement.warnings.push(format!(
            "what is deployed comes from the node `{}`, and this bundle from `{}`",
            current.source.name, manifest.source.name
        ));
    }
    if manifest.stet != STET_VERSION {
        let text = format!("the bundle was made by Stet {} and this node runs {STET_VERSION}", manifest.stet);
        if rollback {
            judgement.warnings.push(text);
        } else {
            judgement.blockers.push(format!("{text}: bring both nodes to the same version"));
        }
    }
    approvals_into(here, bundle, approvals, &mut judgement, rollback);
    judgement
}

fn approvals_into(
    here: &Here<'_>,
    bundle: &Bundle,
    approvals: &[ApprovalRecord],
    judgement: &mut Judgement,
    rollback: bool,
) {
    let mut statements = Vec::new();
    for record in approvals {
        match verified_statement(here, &bundle.digest, record.envelope.as_bytes()) {
            Ok((statement, _)) => statements.push(statement),
            // The keys in stet.toml may have changed since it was brought.
            Err(reason) => judgement.warnings.push(format!("an approval does not count: {reason}")),
        }
    }
    let payload = bundle.manifest.to_bytes();
    // Whoever signed the bundle stands for its content, as its author does.
    let signers: Vec<String> = bundle
        .envelope
        .iter()
        .flat_map(|envelope| {
            here.config
                .approver_keys()
                .filter(|(_, key)| !envelope.verified_by(&payload, [key]).is_empty())
                .map(|(approver, _)| approver.login.clone())
                .collect::<Vec<_>>()
        })
        .collect();
    for statement in &statements {
        let ahead_s = (statement.made_at.micros() - here.now.micros()) / 1_000_000;
        if ahead_s >= CLOCKS_DIFFER_S {
            judgement.warnings.push(format!(
                "by the clock of this node, {} approves in {}: set the clocks of both machines by a time server",
                statement.person,
                in_words(ahead_s)
            ));
        }
    }
    let policy = &here.config.approval;
    let assessed = policy.assess(&bundle.manifest, &signers, &here.config.approvers, &statements);
    judgement.approvals = statements.into_iter().map(GivenApproval::from).collect();
    judgement.approved = assessed.met;
    judgement.counted = assessed.counted;
    if assessed.met {
        return;
    }
    let text = format!("this bundle is not approved: {}", assessed.lacking.join("; "));
    match policy.mode {
        Enforcement::Prevent if !rollback => judgement.blockers.push(text),
        Enforcement::Prevent => judgement.warnings.push(format!("{text}; it was active here before")),
        Enforcement::Warn => {
            judgement.warnings.push(format!("{text}; this node only warns ([deploy.approval] mode = \"warn\")"));
        }
    }
}

/// The statement of an approval, after checking who signed it and for what; and the passkey that signed it, with how often it
/// had been used.
pub(super) fn verified_statement(
    here: &Here<'_>,
    digest: &str,
    envelope: &[u8],
) -> Result<(ApprovalStatement, Option<(PasskeyKey, u32)>), String> {
    let envelope = Envelope::parse(envelope, None)?;
    let (statement, payload) = envelope.statement()?;
    let person = statement.person.escape_debug();
    let Some(approver) = here.config.approver(&statement.person) else {
        return Err(format!("`{person}` is not among the approvers of this node ([[deploy.approvers]] in stet.toml)"));
    };
    let mut passkey = None;
    if envelope.is_of_passkey() {
        let site = here.site.as_ref().ok_or_else(|| "this node's address is one that has no passkeys".to_owned())?;
        let found = envelope.verified_by_passkey(&payload, &passkeys_of(approver), site);
        passkey = Some(found.map_err(|error| format!("it is not signed by a passkey of {}: {error}", approver.login))?);
    } else {
        let key = here.config.approver_keys().find(|(known, _)| known.login == approver.login).map(|(_, key)| key);
        if key.is_none_or(|key| envelope.verified_by(&payload, [&key]).is_empty()) {
            return Err(format!("it is not signed by the key of {}", approver.login));
        }
    }
    if statement.manifest_sha256 != digest {
        return Err(format!(
            "the approval of {} is for another bundle (sha256:{}): any change to a bundle needs approvals of its own",
            approver.login,
            statement.manifest_sha256.get(..12).unwrap_or_default().escape_debug()
        ));
    }
    if statement.target != here.name && statement.target != here.id.to_string() {
        return Err(format!(
            "the approval of {} is for the node `{}`, and this is `{}`",
            approver.login,
            statement.target.escape_debug(),
            here.name
        ));
    }
    Ok((statement, passkey))
}
