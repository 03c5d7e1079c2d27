//! Whose the identities at other providers are. An identity is an issuer and a subject, never a name or an e-mail address,
//! which can be given to somebody else.

use std::collections::BTreeSet;

use rusqlite::OptionalExtension;
use stet_domain::{GroupName, LogDate, Login};

use super::users::{self, User};
use super::{NewUser, NodeDatabase};
use crate::error::StoreError;

pub(super) const TABLES: &str = "
CREATE TABLE identities (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  login TEXT NOT NULL COLLATE NOCASE REFERENCES users (login),
  created_at INTEGER NOT NULL,
  PRIMARY KEY (issuer, subject)
) STRICT;
CREATE INDEX identities_by_login ON identities (login);
";

/// Somebody at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// Who it is there, for ever.
    pub subject: String,
}

impl NodeDatabase {
    /// Whose an identity is, disabled or not.
    pub async fn user_of_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        let Identity { issuer, subject } = identity.clone();
        self.read(move |connection| {
            let sql = "SELECT login FROM identities WHERE issuer = ?1 AND subject = ?2";
            let login: Option<String> = connection.query_row(sql, [issuer, subject], |row| row.get(0)).optional()?;
            Ok(login.map(|login| users::find(connection, &login)).transpose()?.flatten())
        })
        .await
    }

    /// Creates a user of an identity. Fails with `LoginTaken`, also when there is a user of this login who signs in
    /// otherwise: the provider does not say that they are the same.
    pub async fn create_user_of(&self, identity: &Identity, user: NewUser) -> Result<(), StoreError> {
        let Identity { issuer, subject } = identity.clone();
        self.write(move |transaction| {
            let (login, at) = (user.login.clone(), user.created_at);
            users::insert(transaction, user)?;
            transaction.execute(
                "INSERT INTO identities (issuer, subject, login, created_at) VALUES (?1, ?2, ?3, ?4)",
                (issuer, subject, login.as_str(), at.micros()),
            )?;
            Ok(())
        })
        .await
    }

    /// Makes an identity a user's. Fails with `NoSuchUser`, or `Unusable` when it is another one's already.
    pub async fn add_identity(&self, identity: &Identity, login: &Login, at: LogDate) -> Result<(), StoreError> {
        let Identity { issuer, subject } = identity.clone();
        let login = login.clone();
        self.write(move |transaction| {
            if users::find(transaction, login.as_str())?.is_none() {
                return Err(StoreError::NoSuchUser { login }.into());
            }
            let added = transaction.execute(
                "INSERT INTO identities (issuer, subject, login, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                (issuer, subject, login.as_str(), at.micros()),
            )?;
            let taken = "this identity is another user's already".to_owned();
            if added == 0 { Err(StoreError::Unusable(taken).into()) } else { Ok(()) }
        })
        .await
    }

    /// Puts a user into exactly those of the `managed` groups that are `held`; other groups stay as they are. Groups that
    /// are not there are made.
    pub async fn set_managed_groups(
        &self,
        login: &Login,
        managed: BTreeSet<GroupName>,
        held: BTreeSet<GroupName>,
        at: LogDate,
    ) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            for group in &managed {
                if held.contains(group) {
                    transaction.execute(
                        "INSERT INTO groups (name, description, created_at) VALUES (?1, '', ?2) ON CONFLICT DO NOTHING",
                        (group.as_str(), at.micros()),
                    )?;
                    transaction.execute(
                        "INSERT INTO group_members (login, group_name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                        (login.as_str(), group.as_str()),
                    )?;
                } else {
                    transaction.execute(
                        "DELETE FROM group_members WHERE login = ?1 AND group_name = ?2",
                        (login.as_str(), group.as_str()),
                    )?;
                }
            }
            Ok(())
        })
        .await
    }
}
