//! Changes of a project's files that leave everything else in them as people wrote it: comments, order and spaces.

use std::collections::BTreeSet;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use crate::access::{Permissions, Principals, ProjectPermissions, PublicUse, WebappAccess};

/// Why a file cannot be changed: it is no TOML, or something else stands where the change belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EditError(String);

/// The text of `project.toml` with these permissions in place of those that it gives. Entries that stay the same keep their
/// text.
///
/// # Errors
/// See [`EditError`].
pub fn with_permissions(text: &str, permissions: &ProjectPermissions) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let groups: Vec<(&str, Permissions)> =
        permissions.groups.iter().map(|(name, given)| (name.as_str(), *given)).collect();
    let users: Vec<(&str, Permissions)> =
        permissions.users.iter().map(|(login, given)| (login.as_str(), *given)).collect();
    let whole = table_in(document.as_table_mut(), "permissions", "permissions", true)?;
    for (name, wanted) in [("groups", groups), ("users", users)] {
        let place = format!("permissions.{name}");
        if wanted.is_empty() && !whole.contains_key(name) {
            continue;
        }
        let table = table_in(whole, name, &place, false)?;
        let gone: Vec<String> = (table.iter())
            .map(|(key, _)| key.to_owned())
            .filter(|key| !wanted.iter().any(|(name, _)| *name == key.to_lowercase()))
            .collect();
        for key in gone {
            table.remove(&key);
        }
        for (name, given) in wanted {
            let known = table.iter().map(|(key, _)| key.to_owned()).find(|key| key.to_lowercase() == name);
            let texts: Vec<&str> = given.iter().map(|permission| permission.as_str()).collect();
            put_texts(table, known.as_deref().unwrap_or(name), &texts);
        }
    }
    Ok(document.to_string())
}

/// The text of a webapp's file with this access in place of the one that it has.
///
/// # Errors
/// See [`EditError`].
pub fn with_access(text: &str, access: &WebappAccess) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let root = document.as_table_mut();
    let is_open = access.edit.is_empty() && access.view_only.is_empty() && access.public == PublicUse::No;
    if is_open && !root.contains_key("access") {
        return Ok(document.to_string());
    }
    let table = table_in(root, "access", "access", false)?;
    put_principals(table, &access.edit);
    let public = match access.public {
        PublicUse::No => None,
        PublicUse::Read => Some("read"),
        PublicUse::Edit => Some("edit"),
    };
    let before = table.get("public").and_then(Item::as_str);
    match public {
        None => _ = table.remove("public"),
        Some(text) if before == Some(text) => {}
        Some(text) => _ = table.insert("public", toml_edit::value(text)),
    }
    if access.view_only.is_empty() {
        table.remove("view_only");
    } else {
        put_principals(table_in(table, "view_only", "access.view_only", false)?, &access.view_only);
    }
    if table.is_empty() {
        root.remove("access");
    }
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| EditError(error.to_string().trim_end().to_owned()))
}

/// The table of this name, which is made when it is not there.
fn table_in<'a>(
    table: &'a mut dyn TableLike,
    name: &str,
    shown: &str,
    implicit: bool,
) -> Result<&'a mut dyn TableLike, EditError> {
    if !table.contains_key(name) {
        let mut made = Table::new();
        made.set_implicit(implicit);
        table.insert(name, Item::Table(made));
    }
    let found = table.get_mut(name).and_then(Item::as_table_like_mut);
    found.ok_or_else(|| EditError(format!("`{shown}` is not a table: write `[{shown}]`")))
}

fn put_principals(table: &mut dyn TableLike, people: &Principals) {
    let users: Vec<&str> = people.users.iter().map(|login| login.as_str()).collect();
    let groups: Vec<&str> = people.groups.iter().map(|name| name.as_str()).collect();
    for (name, texts) in [("users", users), ("groups", groups)] {
        if texts.is_empty() {
            table.remove(name);
        } else {
            put_texts(table, name, &texts);
        }
    }
}

/// Puts a list of texts, unless the list there has the same ones in any order and case.
fn put_texts(table: &mut dyn TableLike, name: &str, texts: &[&str]) {
    let before = table
        .get(name)
        .and_then(Item::as_array)
        .map(|array| array.iter().filter_map(Value::as_str).map(str::to_lowercase).collect::<BTreeSet<_>>());
    if before == Some(texts.iter().map(|text| (*text).to_owned()).collect()) {
        return;
    }
    let value = Item::Value(Value::Array(texts.iter().copied().collect::<Array>()));
    match table.get_mut(name) {
        // The comment behind the old list stays behind the new one.
        Some(item) => {
            let decor = item.as_value().map(|value| value.decor().clone());
            *item = value;
            if let (Some(value), Some(decor)) = (item.as_value_mut(), decor) {
                *value.decor_mut() = decor;
            }
        }
        None => _ = table.insert(name, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Permission;
    use crate::name::{GroupName, Login};

    fn group(name: &str) -> GroupName {
        GroupName::new(name).unwrap()
    }

    fn login(name: &str) -> Login {
        Login::new(name).unwrap()
    }

    #[test]
    fn permissions_are_changed_and_the_rest_of_the_file_stays() {
        let text = "# Birds\nname = \"Birds\"   # for people\n\n[permissions.groups]\n# all of us\neveryone = [ \"read_dashboards\" ] # kept\n\
                    old = [\"approve\"]\n\n[permissions.users]\nDana = [\"administer\"]\n\n[variables]\nyear = \"2026\"\n";
        let mut wanted = ProjectPermissions::default();
        wanted.groups.insert(group("everyone"), Permissions::of(&[Permission::ReadDashboards]));
        wanted.groups.insert(group("makers"), Permissions::of(&[Permission::Deploy, Permission::WriteContent]));
        wanted.users.insert(login("dana"), Permissions::of(&[Permission::ReadContent]));
        assert_eq!(
            with_permissions(text, &wanted).unwrap(),
            "# Birds\nname = \"Birds\"   # for people\n\n[permissions.groups]\n# all of us\neveryone = [ \"read_dashboards\" ] # kept\n\
             makers = [\"write_content\", \"deploy\"]\n\n[permissions.users]\nDana = [\"read_content\"]\n\n[variables]\nyear = \"2026\"\n"
        );
        let bare = with_permissions("name = \"Birds\"\n", &wanted).unwrap();
        assert_eq!(
            bare,
            "name = \"Birds\"\n\n[permissions.groups]\neveryone = [\"read_dashboards\"]\n\
             makers = [\"write_content\", \"deploy\"]\n\n[permissions.users]\ndana = [\"read_content\"]\n"
        );
        let inline =
            with_permissions("name = \"B\"\npermissions = { groups = { everyone = [\"approve\"] } }\n", &wanted);
        let inline: toml::Table = inline.unwrap().parse().unwrap();
        assert_eq!(inline["permissions"]["groups"]["makers"][1].as_str(), Some("deploy"));
        assert_eq!(inline["permissions"]["users"]["dana"][0].as_str(), Some("read_content"));
        let wrong = with_permissions("name = \"B\"\npermissions = 1\n", &wanted).unwrap_err().to_string();
        assert_eq!(wrong, "`permissions` is not a table: write `[permissions]`");
        assert!(with_permissions("name = \n", &wanted).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn access_is_changed_and_the_rest_of_the_file_stays() {
        let text = "original = \"strikes\"\n\n[[editable]]\ncolumn = \"size\" # of the animal\n";
        let mut access = WebappAccess::default();
        assert_eq!(with_access(text, &access).unwrap(), text);
        access.edit.groups.insert(group("editors"));
        access.edit.users.insert(login("rita"));
        access.view_only.groups.insert(group("everyone"));
        access.public = PublicUse::Read;
        let listed = with_access(text, &access).unwrap();
        assert_eq!(
            listed,
            format!(
                "{text}\n[access]\nusers = [\"rita\"]\ngroups = [\"editors\"]\npublic = \"read\"\n\n\
                 [access.view_only]\ngroups = [\"everyone\"]\n"
            )
        );
        access.public = PublicUse::No;
        access.view_only = Principals::default();
        let closed = with_access(&listed, &access).unwrap();
        assert_eq!(closed, format!("{text}\n[access]\nusers = [\"rita\"]\ngroups = [\"editors\"]\n"));
        assert_eq!(with_access(&closed, &WebappAccess::default()).unwrap(), text);
    }
}
