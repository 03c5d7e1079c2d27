//! Groups of users.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};
use stet_domain::{GroupName, LogDate, Login};

use super::users;
use super::{NodeDatabase, date, limit_of, parsed};
use crate::error::StoreError;

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Unique whatever its case.
    pub name: GroupName,
    /// What it is for; may be empty.
    pub description: String,
    /// When it was created.
    pub created_at: LogDate,
    /// The users in it, by login; disabled ones too.
    pub members: BTreeSet<Login>,
}

impl NodeDatabase {
    /// Creates a group without members. Fails with `GroupTaken`.
    pub async fn create_group(&self, name: &GroupName, description: &str, at: LogDate) -> Result<(), StoreError> {
        let (name, description) = (name.clone(), description.to_owned());
        self.write(move |transaction| {
            let created = transaction.execute(
                "INSERT INTO groups (name, description, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                (name.as_str(), description, at.micros()),
            )?;
            if created == 0 { Err(StoreError::GroupTaken { group: name }.into()) } else { Ok(()) }
        })
        .await
    }

    /// All groups by name, at most 10,000.
    pub async fn groups(&self) -> Result<Vec<Group>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, description, created_at FROM groups ORDER BY name LIMIT ?1")?;
            let groups = statement.query_map([limit_of(usize::MAX)], |row| {
                Ok(Group {
                    name: parsed(row, 0)?,
                    description: row.get(1)?,
                    created_at: date(row, 2)?,
                    members: BTreeSet::new(),
                })
            })?;
            let mut groups = groups.collect::<Result<Vec<Group>, _>>()?;
            let mut statement =
                connection.prepare_cached("SELECT login FROM group_members WHERE group_name = ?1 ORDER BY login")?;
            for group in &mut groups {
                let members = statement.query_map([group.name.as_str()], |row| parsed::<Login>(row, 0))?;
                group.members = members.collect::<Result<_, _>>()?;
            }
            Ok(groups)
        })
        .await
    }

    /// Deletes a group with its memberships. Fails with `NoSuchGroup`.
    pub async fn delete_group(&self, name: &GroupName) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(move |transaction| {
            transaction.execute("DELETE FROM group_members WHERE group_name = ?1", [name.as_str()])?;
            let deleted = transaction.execute("DELETE FROM groups WHERE name = ?1", [name.as_str()])?;
            if deleted == 0 { Err(StoreError::NoSuchGroup { group: name }.into()) } else { Ok(()) }
        })
        .await
    }

    /// Puts a user into a group. Whether the user was not in it before. Fails with `NoSuchGroup` or `NoSuchUser`.
    pub async fn add_group_member(&self, name: &GroupName, login: &Login) -> Result<bool, StoreError> {
        let (name, login) = (name.clone(), login.clone());
        self.write(move |transaction| {
            if !exists(transaction, &name)? {
                return Err(StoreError::NoSuchGroup { group: name }.into());
            }
            if users::find(transaction, login.as_str())?.is_none() {
                return Err(StoreError::NoSuchUser { login }.into());
            }
            let added = transaction.execute(
                "INSERT INTO group_members (group_name, login) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                (name.as_str(), login.as_str()),
            )?;
            Ok(added > 0)
        })
        .await
    }

    /// Takes a user out of a group. Whether the user was in it. Fails with `NoSuchGroup`.
    pub async fn remove_group_member(&self, name: &GroupName, login: &Login) -> Result<bool, StoreError> {
        let (name, login) = (name.clone(), login.clone());
        self.write(move |transaction| {
            if !exists(transaction, &name)? {
                return Err(StoreError::NoSuchGroup { group: name }.into());
            }
            let removed = transaction.execute(
                "DELETE FROM group_members WHERE group_name = ?1 AND login = ?2",
                (name.as_str(), login.as_str()),
            )?;
            Ok(removed > 0)
        })
        .await
    }
}

fn exists(connection: &Connection, name: &GroupName) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM groups WHERE name = ?1")?;
    Ok(statement.query_row([name.as_str()], |_| Ok(())).optional()?.is_some())
}
