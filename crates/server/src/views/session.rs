//! Sessions.

use serde::{Deserialize, Serialize};
use stet_app::NodeConfig;
use stet_domain::Actor;
use utoipa::ToSchema;

/// What somebody signs in with. Without `Debug`, so that a password is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInBody {
    pub(crate) login: String,
    pub(crate) password: String,
    /// The code of the second factor, or a recovery code: when the answer asks for it.
    pub(crate) code: Option<String>,
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
