//! Passkeys. Bytes are in Base64 for addresses (base64url without padding), as browsers hand them over in JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stet_app::{ApprovalRequest, NewApproval, NewPasskey, Passkey, PasskeyAnswer, PasskeyCreation, PasskeyRequest};
use stet_domain::bundle::{Feedback, FinalDecision};
use utoipa::ToSchema;

/// One's passkeys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasskeysView {
    pub(crate) passkeys: Vec<PasskeyView>,
}

/// A passkey.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasskeyView {
    id: String,
    name: String,
    /// For `passkeys` of `[[deploy.approvers]]` in `stet.toml`.
    public_key: String,
    created_at: String,
    last_used_at: Option<String>,
}

/// What a browser needs to make a passkey.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasskeyCreationView {
    /// `PublicKeyCredentialCreationOptions` in its form for JSON (W3C Web Authentication, section 5.4).
    #[schema(value_type = Object)]
    public_key: Value,
}

/// What an authenticator answered that made a passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPasskeyBody {
    name: String,
    client_data: String,
    attestation: String,
}

/// What an authenticator answered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyAnswerBody {
    id: String,
    authenticator_data: String,
    client_data: String,
    signature: String,
}

/// What somebody thinks of a bundle.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApprovalBody {
    /// `approve`, `minor` or `major`.
    #[schema(value_type = Option<String>)]
    feedback: Option<Feedback>,
    /// `approve` or `reject`.
    #[serde(rename = "final")]
    #[schema(value_type = Option<String>)]
    decision: Option<FinalDecision>,
    #[serde(default)]
    comment: String,
}

/// An approval to be signed by a passkey: the envelope to bring has this payload, and in its signature what the passkey
/// answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovalRequestView {
    payload_type: &'static str,
    /// The statement, in Base64.
    payload: String,
    /// `PublicKeyCredentialRequestOptions` in its form for JSON.
    #[schema(value_type = Object)]
    public_key: Value,
}

/// What a browser is asked for to use a passkey.
pub(crate) fn request_options(request: &PasskeyRequest) -> Value {
    json!({
        "challenge": request.challenge, "rpId": request.site, "allowCredentials": credentials(&request.known),
        "userVerification": "required",
    })
}

fn credentials(ids: &[String]) -> Vec<Value> {
    ids.iter().map(|id| json!({ "type": "public-key", "id": id })).collect()
}

impl From<Passkey> for PasskeyView {
    fn from(passkey: Passkey) -> PasskeyView {
        PasskeyView {
            id: passkey.id,
            name: passkey.name,
            public_key: passkey.public_key,
            created_at: passkey.created_at.to_string(),
            last_used_at: passkey.last_used_at.map(|date| date.to_string()),
        }
    }
}

impl From<PasskeyCreation> for PasskeyCreationView {
    fn from(creation: PasskeyCreation) -> PasskeyCreationView {
        let kinds = [-8, -7, -257].map(|alg| json!({ "type": "public-key", "alg": alg }));
        PasskeyCreationView {
            public_key: json!({
                "challenge": creation.challenge,
                "rp": { "id": creation.site, "name": format!("Stet {}", creation.node) },
                "user": { "id": creation.user_id, "name": creation.login, "displayName": creation.display_name },
                "pubKeyCredParams": kinds,
                "excludeCredentials": credentials(&creation.known),
                "authenticatorSelection": { "residentKey": "preferred", "userVerification": "required" },
                "attestation": "none",
            }),
        }
    }
}

impl From<NewPasskeyBody> for NewPasskey {
    fn from(body: NewPasskeyBody) -> NewPasskey {
        NewPasskey { name: body.name, client_data: body.client_data, attestation: body.attestation }
    }
}

impl From<PasskeyAnswerBody> for PasskeyAnswer {
    fn from(body: PasskeyAnswerBody) -> PasskeyAnswer {
        let PasskeyAnswerBody { id, authenticator_data, client_data, signature } = body;
        PasskeyAnswer { id, authenticator_data, client_data, signature }
    }
}

impl From<NewApprovalBody> for NewApproval {
    fn from(body: NewApprovalBody) -> NewApproval {
        let NewApprovalBody { feedback, decision, comment } = body;
        // It is for the node that is asked, which fills that in.
        NewApproval { target: String::new(), feedback, decision, comment }
    }
}

impl From<ApprovalRequest> for ApprovalRequestView {
    fn from(request: ApprovalRequest) -> ApprovalRequestView {
        ApprovalRequestView {
            payload_type: request.payload_type,
            payload: request.payload,
            public_key: request_options(&request.passkey),
        }
    }
}
