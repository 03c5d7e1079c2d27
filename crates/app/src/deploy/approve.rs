//! Approving in the browser, with a passkey. What is signed is the same statement that a key file signs, so that it is
//! verified again wherever an approval counts; the node never has what signs it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use stet_domain::access::Permission;
use stet_domain::bundle::{ApprovalStatement, STATEMENT_FORMAT};
use stet_domain::{Actor, Login};

use super::config::passkeys_of;
use crate::App;
use crate::bundle::{APPROVAL_TYPE, BundleSummary, NewApproval, approval_challenge};
use crate::error::AppError;
use crate::passkeys::{PasskeyError, PasskeyKey, PasskeyRequest, encoded};
use crate::second_factor::require_user;

/// The longest comment, in characters.
const COMMENT_CHARACTERS_MAX: usize = 4_000;

/// An approval to be signed by a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// The type of the envelope that it will be.
    pub payload_type: &'static str,
    /// The statement, in Base64.
    pub payload: String,
    /// What the passkey has to answer: the hash of the statement.
    pub passkey: PasskeyRequest,
}

impl App {
    /// Begins an approval of the actor, to be signed by one of their passkeys and then brought like any other.
    ///
    /// # Errors
    /// When the actor may not approve, says nothing, or has no passkey that `stet.toml` names: what to do.
    pub async fn begin_approval(
        &self,
        actor: &Actor,
        digest: &str,
        approval: NewApproval,
    ) -> Result<ApprovalRequest, AppError> {
        require_user(actor)?;
        let bundle = self.bundle(actor, digest).await?;
        let readers = [Permission::Approve, Permission::Deploy];
        self.authorise_bundles(actor, bundle.record.project.as_str(), &readers)?;
        if approval.feedback.is_none() && approval.decision.is_none() {
            return Err(AppError::Invalid("say what you think: give a feedback, or a final decision".to_owned()));
        }
        if approval.comment.chars().count() > COMMENT_CHARACTERS_MAX {
            return Err(AppError::Invalid(format!("a comment has at most {COMMENT_CHARACTERS_MAX} characters")));
        }
        let site = self.site()?;
        let mine = self.inner.node.passkeys(&actor.login).await?;
        if mine.is_empty() {
            return Err(AppError::Conflict(
                "you have no passkey on this node: make one in your account first".to_owned(),
            ));
        }
        let listed = self.inner.config.deploy.approver(actor.login.as_str()).map(passkeys_of).unwrap_or_default();
        let known: Vec<String> = mine
            .iter()
            .filter(|passkey| passkey.public_key.parse().is_ok_and(|key: PasskeyKey| listed.contains(&key)))
            .map(|passkey| encoded(&passkey.credential_id))
            .collect();
        if known.is_empty() {
            return Err(AppError::Conflict(format!(
                "none of your passkeys counts for approvals: whoever owns stet.toml adds the key that your account shows to \
                 `passkeys` of [[deploy.approvers]] with login = \"{}\"",
                actor.login
            )));
        }
        let statement = ApprovalStatement {
            format: STATEMENT_FORMAT,
            manifest_sha256: bundle.record.digest,
            target: self.inner.node_id.to_string(),
            person: actor.login.to_string(),
            feedback: approval.feedback,
            decision: approval.decision,
            comment: approval.comment,
            made_at: self.inner.clock.now(),
        };
        let payload = statement.to_bytes();
        let challenge = encoded(&approval_challenge(&payload));
        Ok(ApprovalRequest {
            payload_type: APPROVAL_TYPE,
            payload: BASE64_STANDARD.encode(&payload),
            passkey: PasskeyRequest { challenge, site: site.id, known },
        })
    }

    /// Notes that a passkey signed an approval that arrives, if it is one of this node's. One that counts backwards is
    /// refused: somebody may have a copy of it. The same approval again is no second use.
    pub(super) async fn count_passkey(
        &self,
        actor: &Actor,
        bundle: &BundleSummary,
        envelope: &str,
        person: &str,
        used: &PasskeyKey,
        count: u32,
    ) -> Result<(), AppError> {
        let record = &bundle.record;
        if self.inner.node.approvals(&record.digest).await?.iter().any(|known| known.envelope == envelope) {
            return Ok(());
        }
        let Ok(login) = Login::new(person) else { return Ok(()) };
        let text = used.to_string();
        let known = self.inner.node.passkeys(&login).await?;
        let Some(passkey) = known.iter().find(|passkey| passkey.public_key == text) else { return Ok(()) };
        if self.inner.node.use_passkey(&passkey.credential_id, count, self.inner.clock.now()).await? {
            return Ok(());
        }
        let text = format!("an approval of {person} was refused: {}", PasskeyError::Counter);
        self.note_deploy(Some(actor), &record.project, Some(&record.digest), "refused", text.clone()).await?;
        Err(AppError::Refused(text))
    }
}
