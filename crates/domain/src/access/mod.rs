//! Who may do what: project permissions, access to webapps, and the pure functions that decide.
//!
//! The rules, from the inside out:
//! - What somebody may do in a project is the union of what its `[permissions]` give to them and to their groups, capped by
//!   their profile and, for an API token, by its scopes. Administrators of the node may do all. A project without
//!   `[permissions]` is for them alone.
//! - Using a webapp takes `read_dashboards` and, if the webapp lists people, a place on the list.
//! - A dataset is for those with `read_content`; what a webapp with a list or a limit of rows edits, and everything made
//!   of it, is only for those who may see the whole webapp.

pub mod condition;
mod permission;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::condition::{Comparison, Condition, Term};
pub use self::permission::{Permission, Permissions, Scope, Scopes};
use crate::actor::{Actor, ActorKind, Profile};
use crate::name::{DatasetName, GroupName, Login};
use crate::project::{Project, Webapp};

/// The group of everybody who can sign in. Nobody is put into it by hand.
pub const EVERYONE: &str = "everyone";

/// The group of everybody with the profile designer. Nobody is put into it by hand.
pub const DESIGNERS: &str = "designers";

/// What the files of a project give to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectPermissions {
    /// To the members of groups.
    pub groups: BTreeMap<GroupName, Permissions>,
    /// To single users.
    pub users: BTreeMap<Login, Permissions>,
}

/// A list of people: some by name, some by their groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principals {
    /// Single users.
    pub users: BTreeSet<Login>,
    /// Members of groups.
    pub groups: BTreeSet<GroupName>,
}

/// Who may use a webapp.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebappAccess {
    /// Who may see and edit; an empty list is everybody with `read_dashboards`.
    pub edit: Principals,
    /// Who may only see.
    pub view_only: Principals,
    /// What visitors who have not signed in may do.
    pub public: PublicUse,
}

/// What visitors who have not signed in may do with a webapp.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublicUse {
    /// Nothing: it is not there for them.
    #[default]
    No,
    /// See it.
    Read,
    /// See and edit it, as the user `none`.
    Edit,
}

/// What somebody may do with a webapp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// See it.
    View,
    /// See and edit it.
    Edit,
}

/// What an actor may do in a project.
pub fn permissions_of(actor: &Actor, granted: &ProjectPermissions) -> Permissions {
    let mine = match actor.kind {
        ActorKind::Visitor => Permissions::NONE,
        _ if actor.is_administrator() => Permissions::ALL,
        _ => {
            let by_group = granted.groups.iter().filter(|(group, _)| actor.is_in(group)).map(|(_, given)| *given);
            let by_name = granted.users.get(&actor.login).copied();
            by_group.chain(by_name).fold(Permissions::NONE, Permissions::union).with_implied().within(actor.profile)
        }
    };
    mine.within_scopes(actor.scopes)
}

/// What an actor may do with a webapp; none when it is not there for them.
pub fn webapp_use(actor: &Actor, project: &Project, webapp: &Webapp) -> Option<Use> {
    let public = match webapp.access.public {
        PublicUse::No => None,
        PublicUse::Read => Some(Use::View),
        PublicUse::Edit => Some(Use::Edit),
    };
    let found = own_use(actor, project, webapp).max(public)?;
    // A token that may not edit still reads.
    Some(if actor.scopes.has(Scope::Edit) { found } else { found.min(Use::View) })
        .filter(|_| actor.scopes.has(Scope::Read))
}

/// What an actor may do with a webapp by rights of their own, not as a passer-by.
fn own_use(actor: &Actor, project: &Project, webapp: &Webapp) -> Option<Use> {
    let mine = permissions_of(actor, &project.permissions);
    if !mine.has(Permission::ReadDashboards) {
        return None;
    }
    let WebappAccess { edit, view_only, .. } = &webapp.access;
    if mine.has(Permission::Administer) || actor.is_administrator() || edit.includes(actor) {
        Some(Use::Edit)
    } else if view_only.includes(actor) {
        Some(Use::View)
    } else if edit.is_empty() {
        Some(Use::Edit)
    } else {
        None
    }
}

/// Whether an actor may read the rows of a dataset.
pub fn may_read_dataset(actor: &Actor, project: &Project, dataset: &DatasetName) -> bool {
    permissions_of(actor, &project.permissions).has(Permission::ReadContent)
        && may_know_dataset(actor, project, dataset)
}

/// Whether nothing hides a dataset from an actor who may look into the project: the webapps whose rows it holds are all
/// open to them as a whole. Who writes the project's files decides what they say, so nothing is hidden from those.
pub fn may_know_dataset(actor: &Actor, project: &Project, dataset: &DatasetName) -> bool {
    if permissions_of(actor, &project.permissions).has(Permission::WriteContent) || actor.is_administrator() {
        return true;
    }
    let sources = sources_of(project, dataset);
    project.webapps.values().all(|webapp| {
        let original = &webapp.original;
        let of_webapp = [original.clone(), original.editlog(), original.editlog_pivoted(), original.edited()];
        !of_webapp.iter().any(|part| sources.contains(part))
            || (own_use(actor, project, webapp).is_some() && webapp.see.is_none())
    })
}

/// A dataset and everything that it is made of.
fn sources_of(project: &Project, dataset: &DatasetName) -> BTreeSet<DatasetName> {
    let mut found = BTreeSet::new();
    let mut open = vec![dataset.clone()];
    while let Some(next) = open.pop() {
        if found.insert(next.clone())
            && let Some(recipe) = project.recipe_of(&next)
        {
            open.extend(recipe.inputs.iter().cloned());
        }
    }
    found
}

impl Principals {
    /// Whether nobody is listed.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether an actor is listed, by name or by a group.
    pub fn includes(&self, actor: &Actor) -> bool {
        actor.kind != ActorKind::Visitor
            && (self.users.contains(&actor.login) || self.groups.iter().any(|group| actor.is_in(group)))
    }
}

impl Actor {
    /// Whether the actor belongs to a group.
    pub fn is_in(&self, group: &GroupName) -> bool {
        match group.as_str() {
            EVERYONE => self.kind == ActorKind::User,
            DESIGNERS => self.kind == ActorKind::User && self.profile == Profile::Designer,
            _ => self.groups.contains(group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ProjectKey;
    use crate::project::{FileText, ProjectFiles, load};

    const PERMISSIONS: &str = "name = \"Birds\"\n[permissions.groups]\neditors = [\"read_dashboards\"]\n\
                               checkers = [\"read_content\"]\ndesigners = [\"write_content\"]\n\
                               [permissions.users]\nRob = [\"run_scenarios\", \"administer\"]\n";

    fn project(header: &str, access: &str) -> Project {
        let file = |path: &str, text: String| FileText { path: path.to_owned(), text };
        let mut files = ProjectFiles { project: Some(file("project.toml", header.to_owned())), ..Default::default() };
        let dataset = "key = [\"id\"]\ncolumns = [\n{ name = \"id\", type = \"integer\" },\n\
                       { name = \"size\", type = \"text\" },\n]\n";
        files.datasets.insert("strikes".to_owned(), file("datasets/strikes.toml", dataset.to_owned()));
        let webapp = format!("original = \"strikes\"\n[[editable]]\ncolumn = \"size\"\n{access}");
        files.webapps.insert("correct".to_owned(), file("webapps/correct.toml", webapp));
        let recipe = "kind = \"sql\"\ninputs = [\"strikes_edited\"]\noutput = \"sums\"\n";
        files.recipes.insert("sum_up".to_owned(), file("recipes/sum_up.toml", recipe.to_owned()));
        files.queries.insert("sum_up".to_owned(), file("recipes/sum_up.sql", "select 1".to_owned()));
        load(ProjectKey::new("BIRDS").unwrap(), &files).unwrap()
    }

    fn user(login: &str, profile: Profile, groups: &[&str]) -> Actor {
        let groups = groups.iter().map(|group| GroupName::new(*group).unwrap()).collect();
        Actor::user(Login::new(login).unwrap(), login.to_owned(), profile, groups)
    }

    fn used(actor: &Actor, access: &str) -> Option<Use> {
        let project = project(PERMISSIONS, access);
        webapp_use(actor, &project, project.webapps.values().next().unwrap())
    }

    #[test]
    fn a_project_without_permissions_is_for_administrators_alone() {
        let project = project("name = \"Birds\"\n", "");
        let of = |actor: &Actor| permissions_of(actor, &project.permissions);
        assert_eq!(of(&user("dana", Profile::Designer, &["editors"])), Permissions::NONE);
        assert_eq!(of(&user("ada", Profile::Admin, &[])), Permissions::ALL);
        assert_eq!(of(&Actor::shell(Login::new("root").unwrap())), Permissions::ALL);
        assert_eq!(of(&Actor::visitor()), Permissions::NONE);
    }

    #[test]
    fn permissions_of_groups_add_up_and_the_profile_limits_them() {
        let granted = project(PERMISSIONS, "").permissions;
        let both = permissions_of(&user("rita", Profile::Reader, &["editors", "checkers"]), &granted);
        assert_eq!(both, Permissions::of(&[Permission::ReadDashboards, Permission::ReadContent]));
        // A reader cannot be made a project's administrator; the rest of what they are given holds.
        let rob = permissions_of(&user("rob", Profile::Reader, &[]), &granted);
        assert!(
            rob.has(Permission::RunScenarios) && !rob.has(Permission::Administer) && !rob.has(Permission::WriteContent)
        );
        // The group of all designers needs no member.
        assert!(permissions_of(&user("dana", Profile::Designer, &[]), &granted).has(Permission::ReadContent));
        assert_eq!(permissions_of(&user("rita", Profile::Reader, &["designers"]), &granted), Permissions::NONE);
    }

    #[test]
    fn a_token_is_limited_to_its_scopes() {
        let granted = project(PERMISSIONS, "").permissions;
        let mut dana = user("dana", Profile::Designer, &[]);
        dana.scopes = Scopes::of(&[Scope::Read]);
        let mine = permissions_of(&dana, &granted);
        assert!(mine.has(Permission::ReadContent) && !mine.has(Permission::WriteContent));
        assert_eq!(used(&dana, ""), Some(Use::View));
        dana.scopes = Scopes::of(&[Scope::Edit]);
        assert_eq!(used(&dana, ""), Some(Use::Edit));
    }

    #[test]
    fn a_webapp_with_a_list_is_for_those_on_it() {
        let (rita, rob) = (user("rita", Profile::Reader, &["editors"]), user("rob", Profile::Reader, &["editors"]));
        assert_eq!(used(&rita, ""), Some(Use::Edit));
        let listed = "[access]\nusers = [\"rob\"]\n";
        assert_eq!((used(&rita, listed), used(&rob, listed)), (None, Some(Use::Edit)));
        // A place on the list is worth nothing to those who may not look at the project.
        assert_eq!(
            used(&user("rob", Profile::Reader, &["others"]), "[access]\ngroups = [\"others\"]\n"),
            Some(Use::Edit)
        );
        assert_eq!(used(&user("zoe", Profile::Reader, &["others"]), "[access]\ngroups = [\"others\"]\n"), None);
    }

    #[test]
    fn view_only_takes_editing_away_unless_a_list_gives_it() {
        let rita = user("rita", Profile::Reader, &["editors"]);
        assert_eq!(used(&rita, "[access]\nview_only = { users = [\"rita\"] }\n"), Some(Use::View));
        assert_eq!(
            used(&rita, "[access]\nusers = [\"rob\"]\nview_only = { groups = [\"editors\"] }\n"),
            Some(Use::View)
        );
        assert_eq!(
            used(&rita, "[access]\nusers = [\"rita\"]\nview_only = { groups = [\"editors\"] }\n"),
            Some(Use::Edit)
        );
    }

    #[test]
    fn a_visitor_uses_a_public_webapp_and_no_other() {
        let visitor = Actor::visitor();
        assert_eq!(used(&visitor, ""), None);
        assert_eq!(used(&visitor, "[access]\ngroups = [\"everyone\"]\nusers = [\"none\"]\n"), None);
        assert_eq!(used(&visitor, "[access]\npublic = false\n"), None);
        assert_eq!(used(&visitor, "[access]\npublic = \"read\"\n"), Some(Use::View));
        assert_eq!(used(&visitor, "[access]\npublic = \"edit\"\n"), Some(Use::Edit));
    }

    #[test]
    fn what_is_made_of_a_webapp_with_a_list_is_hidden_with_it() {
        let name = |text: &str| DatasetName::new(text).unwrap();
        let rita = user("rita", Profile::Reader, &["checkers"]);
        let open = project(PERMISSIONS, "");
        let listed = project(PERMISSIONS, "[access]\nusers = [\"zoe\"]\n");
        for dataset in ["strikes", "strikes_editlog", "strikes_editlog_pivoted", "strikes_edited", "sums"] {
            assert!(may_read_dataset(&rita, &open, &name(dataset)), "{dataset}");
            assert!(!may_read_dataset(&rita, &listed, &name(dataset)), "{dataset}");
            assert!(may_read_dataset(&user("dana", Profile::Designer, &[]), &listed, &name(dataset)), "{dataset}");
        }
        assert!(!may_read_dataset(&user("zoe", Profile::Reader, &["editors"]), &open, &name("strikes")));
    }
}
