//! One's second factor.

use serde::{Deserialize, Serialize};
use stet_app::{Enrolment, SecondFactorState};
use utoipa::ToSchema;

/// How a second factor stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecondFactorView {
    in_force: bool,
    since: Option<String>,
    /// How many recovery codes are left.
    recovery_codes: u32,
    /// How many passkeys there are, each of which is a second factor.
    passkeys: usize,
    /// Whether the node asks this user for one.
    required: bool,
}

/// One's password. Without `Debug`, so that it is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    pub(crate) password: String,
}

/// A code. Without `Debug`, so that it is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeBody {
    pub(crate) code: String,
}

/// What codes are made of.
#[derive(Serialize, ToSchema)]
pub(crate) struct EnrolmentView {
    /// In base32, to be typed into an app.
    secret: String,
    /// With all that an app wants to know.
    uri: String,
    /// The same as a QR code, an SVG document.
    qr_code: String,
}

/// Recovery codes, each good once.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecoveryCodesView {
    pub(crate) recovery_codes: Vec<String>,
}

impl From<SecondFactorState> for SecondFactorView {
    fn from(state: SecondFactorState) -> SecondFactorView {
        SecondFactorView {
            in_force: state.since.is_some(),
            since: state.since.map(|date| date.to_string()),
            recovery_codes: state.recovery_codes,
            passkeys: state.passkeys,
            required: state.required,
        }
    }
}

impl From<Enrolment> for EnrolmentView {
    fn from(enrolment: Enrolment) -> EnrolmentView {
        EnrolmentView { secret: enrolment.secret, uri: enrolment.uri, qr_code: enrolment.qr_code }
    }
}
