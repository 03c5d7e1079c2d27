//! Users.

use std::collections::BTreeSet;
use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row};
use stet_domain::{GroupName, LogDate, Login, Profile};

use super::{Failure, NodeDatabase, TokenHash, date, date_or_none, limit_of, parsed};
use crate::error::StoreError;

/// A password's hash in the PHC string format; what is in it concerns only who made it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A user to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Unique whatever its case, for ever.
    pub login: Login,
    /// The name to show to others.
    pub display_name: String,
    /// What the user may be at most.
    pub profile: Profile,
    /// None for a user who cannot sign in with a password.
    pub password_hash: Option<PasswordHash>,
    /// When.
    pub created_at: LogDate,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As it was written when the user was created.
    pub login: Login,
    /// The name to show to others.
    pub display_name: String,
    /// What the user may be at most.
    pub profile: Profile,
    /// None for a user who cannot sign in with a password.
    pub password_hash: Option<PasswordHash>,
    /// Whether the user is shut out.
    pub disabled: bool,
    /// When the user was created.
    pub created_at: LogDate,
    /// When the user last signed in.
    pub last_sign_in: Option<LogDate>,
    /// The groups that the user was put into.
    pub groups: BTreeSet<GroupName>,
    /// Whether a second factor is in force.
    pub has_second_factor: bool,
}

/// The columns of a user, to be selected from `users` in this order by [`from_row`].
pub(super) const COLUMNS: &str = "users.login, users.display_name, users.profile, users.password_hash, users.disabled, \
                                  users.created_at, users.last_sign_in, \
                                  (SELECT group_concat(group_name, ' ') FROM group_members \
                                   WHERE group_members.login = users.login), \
                                  EXISTS (SELECT 1 FROM second_factors AS factor \
                                   WHERE factor.login = users.login AND factor.confirmed_at IS NOT NULL) \
                                  OR EXISTS (SELECT 1 FROM passkeys WHERE passkeys.login = users.login)";

/// A user from the columns that start at `first`.
pub(super) fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<User> {
    Ok(User {
        login: parsed(row, first)?,
        display_name: row.get(first + 1)?,
        profile: parsed(row, first + 2)?,
        password_hash: row.get::<_, Option<String>>(first + 3)?.map(PasswordHash),
        disabled: row.get(first + 4)?,
        created_at: date(row, first + 5)?,
        last_sign_in: date_or_none(row, first + 6)?,
        groups: groups(row, first + 7)?,
        has_second_factor: row.get(first + 8)?,
    })
}

/// The names of groups in a column, with spaces between them, which no name has.
fn groups(row: &Row<'_>, column: usize) -> rusqlite::Result<BTreeSet<GroupName>> {
    let Some(names) = row.get::<_, Option<String>>(column)? else { return Ok(BTreeSet::new()) };
    let names = names.split(' ').map(GroupName::new).collect::<Result<_, _>>();
    names.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.to_string().into())
    })
}

impl NodeDatabase {
    /// Creates a user. Fails with `LoginTaken`, also for `none`, which stands for visitors who have not signed in.
    pub async fn create_user(&self, user: NewUser) -> Result<(), StoreError> {
        self.write(move |transaction| insert(transaction, user)).await
    }

    /// The user with this login in any case, disabled or not.
    pub async fn user(&self, login: &str) -> Result<Option<User>, StoreError> {
        let login = login.to_owned();
        self.read(move |connection| Ok(find(connection, &login)?)).await
    }

    /// All users by login, at most 10,000.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM users ORDER BY login LIMIT ?1"))?;
            let users = statement.query_map([limit_of(usize::MAX)], |row| from_row(row, 0))?;
            Ok(users.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Sets a user's password, and ends all sessions of theirs but `keep`: whoever knew the old one is out. Fails with
    /// `NoSuchUser`.
    pub async fn set_password_hash(
        &self,
        login: &Login,
        password_hash: PasswordHash,
        keep: Option<TokenHash>,
    ) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let changed = transaction
                .execute("UPDATE users SET password_hash = ?2 WHERE login = ?1", (login.as_str(), password_hash.0))?;
            known(changed, &login)?;
            let keep = keep.map(|token_hash| token_hash.0);
            transaction.execute(
                "DELETE FROM sessions WHERE login = ?1 AND token_hash IS NOT ?2",
                (login.as_str(), keep.as_ref().map(|hash| hash.as_slice())),
            )?;
            Ok(())
        })
        .await
    }

    /// Sets what a user may be at most. Fails with `NoSuchUser`.
    pub async fn set_profile(&self, login: &Login, profile: Profile) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let changed = transaction
                .execute("UPDATE users SET profile = ?2 WHERE login = ?1", (login.as_str(), profile.as_str()))?;
            known(changed, &login)
        })
        .await
    }

    /// Shuts a user out, ends all sessions of theirs and revokes their API tokens for good. Fails with `NoSuchUser`.
    pub async fn disable_user(&self, login: &Login, at: LogDate) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let changed = transaction.execute("UPDATE users SET disabled = 1 WHERE login = ?1", [login.as_str()])?;
            known(changed, &login)?;
            transaction.execute("DELETE FROM sessions WHERE login = ?1", [login.as_str()])?;
            transaction.execute(
                "UPDATE api_tokens SET revoked_at = ?2 WHERE login = ?1 AND revoked_at IS NULL",
                (login.as_str(), at.micros()),
            )?;
            Ok(())
        })
        .await
    }

    /// Lets a user in again, who must sign in anew. Fails with `NoSuchUser`.
    pub async fn enable_user(&self, login: &Login) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let changed = transaction.execute("UPDATE users SET disabled = 0 WHERE login = ?1", [login.as_str()])?;
            known(changed, &login)
        })
        .await
    }

    /// Notes that a user signed in. Fails with `NoSuchUser`.
    pub async fn set_last_sign_in(&self, login: &Login, at: LogDate) -> Result<(), StoreError> {
        let login = login.clone();
        self.write(move |transaction| {
            let changed = transaction
                .execute("UPDATE users SET last_sign_in = ?2 WHERE login = ?1", (login.as_str(), at.micros()))?;
            known(changed, &login)
        })
        .await
    }
}

/// [`NodeDatabase::create_user`] in a transaction.
pub(super) fn insert(connection: &Connection, user: NewUser) -> Result<(), Failure> {
    let taken = user.login.as_str().eq_ignore_ascii_case(Login::none().as_str())
        || find(connection, user.login.as_str())?.is_some();
    if taken {
        return Err(StoreError::LoginTaken { login: user.login }.into());
    }
    connection.execute(
        "INSERT INTO users (login, display_name, profile, password_hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            user.login.as_str(),
            user.display_name,
            user.profile.as_str(),
            user.password_hash.map(|hash| hash.0),
            user.created_at.micros(),
        ),
    )?;
    Ok(())
}

/// The user with this login in any case.
pub(super) fn find(connection: &Connection, login: &str) -> rusqlite::Result<Option<User>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE login = ?1"))?;
    statement.query_row([login], |row| from_row(row, 0)).optional()
}

fn known(changed: usize, login: &Login) -> Result<(), Failure> {
    if changed == 0 { Err(StoreError::NoSuchUser { login: login.clone() }.into()) } else { Ok(()) }
}
