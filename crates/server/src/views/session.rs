//! Sessions.

use serde::{Deserialize, Serialize};
use stet_app::NodeConfig;
use stet_domain::Actor;
use utoipa::{IntoParams, ToSchema};

use super::passkey::PasskeyAnswerBody;

/// What somebody signs in with. Without `Debug`, so that a password is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInBody {
    pub(crate) login: String,
    pub(crate) password: String,
    /// The code of the second factor, or a recovery code: when the answer asks for it.
    pub(crate) code: Option<String>,
    /// What a passkey answered, instead of a code: when the answer asks for one (`passkey`).
    pub(crate) passkey: Option<PasskeyAnswerBody>,
}

/// What there is to sign in with beside a password.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignInOptionsView {
    /// The name of the provider; null if there is none.
    pub(crate) provider: Option<String>,
}

/// A sign-in to begin at the provider.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProviderQuery {
    /// The page to go on to.
    #[serde(default)]
    pub(crate) next: String,
}

/// What a browser comes back with from the provider. Without `Debug`, so that a code is never logged.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProviderAnswerQuery {
    /// What the node exchanges for the token.
    pub(crate) code: Option<String>,
    /// What tells that the same browser began it.
    pub(crate) state: Option<String>,
    /// The provider (RFC 9207).
    pub(crate) iss: Option<String>,
    /// Why the provider refuses.
    pub(crate) error: Option<String>,
}

/// Who is signed in, and where.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    user: UserView,
    node: NodeView,
    /// Whether a second factor has to be set up before anything else.
    second_factor_due: bool,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserView {
    login: String,
    /// The name to show.
    name: String,
    #[schema(examples("reader", "designer", "admin"))]
    profile: &'static str,
}

/// The node that answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeView {
    name: String,
    #[schema(examples("design", "automation"))]
    role: &'static str,
    /// The version of Stet.
    version: &'static str,
}

impl SessionView {
    pub(crate) fn new(actor: &Actor, node: &NodeConfig, second_factor_due: bool) -> SessionView {
        SessionView {
            second_factor_due,
            user: UserView {
                login: actor.login.to_string(),
                name: actor.display_name.clone(),
                profile: actor.profile.as_str(),
            },
            node: NodeView { name: node.name.clone(), role: node.role.as_str(), version: env!("CARGO_PKG_VERSION") },
        }
    }
}
