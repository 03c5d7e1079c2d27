//! Users, groups, tokens, sessions and the audit trail.

use serde::{Deserialize, Serialize};
use stet_app::{ApiToken, User};
use stet_app::{AppError, AuditEvent, AuditQuery, Group, OpenSession};
use stet_domain::access::{Scope, Scopes};
use stet_domain::{GroupName, LogDate, Login};
use utoipa::{IntoParams, ToSchema};

use super::csv::push_field;
use crate::error::Problem;

/// All users.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsersView {
    users: Vec<ListedUserView>,
}

/// A user in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListedUserView {
    login: String,
    /// The name to show.
    name: String,
    #[schema(examples("reader", "designer", "admin"))]
    profile: &'static str,
    groups: Vec<String>,
    /// Whether a second factor is in force.
    second_factor: bool,
    disabled: bool,
    created_at: String,
    last_sign_in: Option<String>,
}

/// A user to add. Without `Debug`, so that a password is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUserBody {
    pub(crate) login: String,
    /// The name to show; the login when it is left out.
    #[serde(default)]
    pub(crate) name: String,
    /// `reader`, `designer` or `admin`.
    pub(crate) profile: String,
    pub(crate) password: String,
}

/// What is to change of a user. Without `Debug`, so that a password is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChangeBody {
    /// `reader`, `designer` or `admin`.
    pub(crate) profile: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) disabled: Option<bool>,
    /// True to take the second factor away of somebody who cannot show it any more.
    #[serde(default)]
    pub(crate) reset_second_factor: bool,
}

/// One's present and new password. Without `Debug`, so that they are never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChangeBody {
    pub(crate) current_password: String,
    pub(crate) new_password: String,
}

/// All groups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupsView {
    pub(crate) groups: Vec<GroupView>,
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupView {
    name: String,
    description: String,
    /// Logins.
    members: Vec<String>,
    created_at: String,
}

/// A group to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroupBody {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
}

/// API tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokensView {
    pub(crate) tokens: Vec<TokenView>,
}

/// An API token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenView {
    login: String,
    name: String,
    #[schema(examples("active", "expired", "revoked"))]
    state: &'static str,
    /// `read`, `edit`, `build`, `admin`.
    scopes: Vec<&'static str>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

/// A token to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTokenBody {
    /// What it is for; unique among one's tokens.
    pub(crate) name: String,
    /// After how many days it expires; never when it is left out.
    pub(crate) days: Option<u32>,
    /// `read`, `edit`, `build`, `admin`; all of them when it is left out.
    pub(crate) scopes: Option<Vec<String>>,
}

/// The secret of a new token.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenSecretView {
    /// Shown this once.
    pub(crate) token: String,
}

/// Sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionsView {
    sessions: Vec<OpenSessionView>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenSessionView {
    id: String,
    created_at: String,
    expires_at: String,
    /// The address from which it was begun.
    client: String,
    /// What the browser called itself then.
    agent: String,
    /// Whether it is the one that asks.
    current: bool,
}

/// Which entries of the audit trail.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQueryView {
    /// By this user.
    user: Option<String>,
    /// An action, such as `user.add`, or a group of them, such as `user`.
    action: Option<String>,
    /// With this text in the object or the detail.
    text: Option<String>,
    /// `done`, `refused` or `failed`.
    outcome: Option<String>,
    /// Not before this moment, in UTC, such as `2026-11-22T10:00:00Z`.
    from: Option<String>,
    /// Before this moment.
    to: Option<String>,
}

/// Which entries of the audit trail, a page at a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditPageQuery {
    /// By this user.
    user: Option<String>,
    /// An action, such as `user.add`, or a group of them, such as `user`.
    action: Option<String>,
    /// With this text in the object or the detail.
    text: Option<String>,
    /// `done`, `refused` or `failed`.
    outcome: Option<String>,
    /// Not before this moment, in UTC, such as `2026-11-22T10:00:00Z`.
    from: Option<String>,
    /// Before this moment.
    to: Option<String>,
    /// Entries before this one.
    pub(crate) before: Option<i64>,
    /// How many, 1,000 at most.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

fn default_limit() -> usize {
    100
}

/// Some entries of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    events: Vec<AuditEventView>,
    /// What to ask for as `before` to get the next page; null when there is none.
    before: Option<i64>,
}

/// An entry of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEventView {
    id: i64,
    at: String,
    user: String,
    #[schema(examples("session.sign_in", "user.add", "build.start"))]
    action: String,
    object: String,
    /// The network address that it came from; null at the shell.
    address: Option<String>,
    #[schema(examples("done", "refused", "failed"))]
    outcome: &'static str,
    detail: String,
}

impl From<Vec<User>> for UsersView {
    fn from(users: Vec<User>) -> UsersView {
        let view = |user: User| ListedUserView {
            login: user.login.to_string(),
            name: user.display_name,
            profile: user.profile.as_str(),
            groups: user.groups.iter().map(GroupName::to_string).collect(),
            second_factor: user.has_second_factor,
            disabled: user.disabled,
            created_at: user.created_at.to_string(),
            last_sign_in: user.last_sign_in.map(|date| date.to_string()),
        };
        UsersView { users: users.into_iter().map(view).collect() }
    }
}

impl From<&Group> for GroupView {
    fn from(group: &Group) -> GroupView {
        GroupView {
            name: group.name.to_string(),
            description: group.description.clone(),
            members: group.members.iter().map(Login::to_string).collect(),
            created_at: group.created_at.to_string(),
        }
    }
}

impl TokenView {
    pub(crate) fn new(token: &ApiToken, now: LogDate) -> TokenView {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "active",
        };
        TokenView {
            login: token.login.to_string(),
            name: token.name.clone(),
            state,
            scopes: token.scopes.iter().map(Scope::as_str).collect(),
            created_at: token.created_at.to_string(),
            expires_at: token.expires_at.map(|date| date.to_string()),
            last_used_at: token.last_used_at.map(|date| date.to_string()),
        }
    }
}

impl From<Vec<OpenSession>> for SessionsView {
    fn from(sessions: Vec<OpenSession>) -> SessionsView {
        let view = |session: OpenSession| OpenSessionView {
            id: session.id,
            created_at: session.created_at.to_string(),
            expires_at: session.expires_at.to_string(),
            client: session.client,
            agent: session.agent,
            current: session.current,
        };
        SessionsView { sessions: sessions.into_iter().map(view).collect() }
    }
}

impl AuditQueryView {
    /// The query, if its dates are dates.
    pub(crate) fn query(self) -> Result<AuditQuery, Problem> {
        let date = |name: &str, text: Option<String>| {
            text.map(|text| {
                text.parse::<LogDate>()
                    .map_err(|_| Problem::refused(format!("`{name}` is no moment: write such as 2026-11-22T10:00:00Z")))
            })
            .transpose()
        };
        Ok(AuditQuery {
            user: self.user,
            action: self.action,
            text: self.text,
            outcome: self.outcome.map(|text| text.parse().map_err(AppError::Invalid)).transpose()?,
            from: date("from", self.from)?,
            to: date("to", self.to)?,
        })
    }
}

impl AuditPageQuery {
    /// The query, if its dates are dates.
    pub(crate) fn query(self) -> Result<AuditQuery, Problem> {
        let AuditPageQuery { user, action, text, outcome, from, to, .. } = self;
        AuditQueryView { user, action, text, outcome, from, to }.query()
    }
}

impl AuditView {
    pub(crate) fn new(events: &[AuditEvent], limit: usize) -> AuditView {
        let view = |entry: &AuditEvent| AuditEventView {
            id: entry.id,
            at: entry.event.at.to_string(),
            user: entry.event.user.clone(),
            action: entry.event.action.clone(),
            object: entry.event.object.clone(),
            address: entry.event.address.clone(),
            outcome: entry.event.outcome.as_str(),
            detail: entry.event.detail.clone(),
        };
        let before = events.last().filter(|last| events.len() == limit && last.id > 1).map(|last| last.id);
        AuditView { events: events.iter().map(view).collect(), before }
    }
}

/// The head of a download of the audit trail.
pub(crate) const AUDIT_HEADER: &str = "id,at,user,action,object,address,outcome,detail\r\n";

/// Entries of the audit trail as lines of CSV.
pub(crate) fn audit_csv(events: &[AuditEvent]) -> String {
    let mut text = String::new();
    for entry in events {
        let event = &entry.event;
        text.push_str(&format!("{},{},", entry.id, event.at));
        for field in [&event.user, &event.action, &event.object] {
            push_field(&mut text, Some(field));
            text.push(',');
        }
        push_field(&mut text, event.address.as_deref());
        text.push(',');
        text.push_str(event.outcome.as_str());
        text.push(',');
        push_field(&mut text, Some(&event.detail));
        text.push_str("\r\n");
    }
    text
}

/// Scopes by their names.
pub(crate) fn scopes(names: &[String]) -> Result<Scopes, Problem> {
    let scopes = names.iter().map(|name| name.parse()).collect::<Result<Vec<Scope>, String>>();
    let scopes = scopes.map_err(Problem::refused)?;
    if scopes.is_empty() {
        return Err(Problem::refused("a token needs a scope: read, edit, build or admin"));
    }
    Ok(Scopes::of(&scopes))
}
