//! `stet group`: groups of users, to which projects give permissions.

use std::borrow::Cow;

use stet_domain::Login;

use crate::Global;
use crate::failure::Failure;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::table::Table;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Add a group without members
    Add {
        /// Its name, as project.toml has it under [permissions.groups]
        name: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the groups with their members
    List {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Delete a group; what was given to it is given to nobody
    Remove {
        /// Its name
        name: String,
    },
    /// Put a user into a group
    AddUser {
        /// The group
        name: String,
        /// The user's login
        login: String,
    },
    /// Take a user out of a group
    RemoveUser {
        /// The group
        name: String,
        /// The user's login
        login: String,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::Add { name, description } => {
            app.add_group(&actor, &name, &description).await?;
            output::print(&format!("Added the group {name}: put users into it with `stet group add-user {name} LOGIN`"))
        }
        Command::List { format } => {
            let groups = app.groups(&actor).await?;
            match format {
                PrintFormat::Json => {
                    let views = groups.iter().map(|group| {
                        let members: Vec<&str> = group.members.iter().map(Login::as_str).collect();
                        serde_json::json!({
                            "name": group.name.as_str(),
                            "description": group.description,
                            "created_at": group.created_at,
                            "members": members,
                        })
                    });
                    output::print_json(&serde_json::json!({ "groups": views.collect::<Vec<_>>() }))
                }
                PrintFormat::Text => {
                    let mut table = Table::of_texts(&["name", "members", "description"]);
                    for group in &groups {
                        let members: Vec<&str> = group.members.iter().map(Login::as_str).collect();
                        table.words([
                            Cow::Borrowed(group.name.as_str()),
                            Cow::Owned(members.join(", ")),
                            Cow::Borrowed(group.description.as_str()),
                        ]);
                    }
                    output::print_table(&table)
                }
            }
        }
        Command::Remove { name } => {
            app.remove_group(&actor, &name).await?;
            output::print(&format!("Deleted the group {name}"))
        }
        Command::AddUser { name, login } => {
            let was = if app.add_to_group(&actor, &name, &login).await? { "is now" } else { "was already" };
            output::print(&format!("{login} {was} in the group {name}"))
        }
        Command::RemoveUser { name, login } => {
            let was = if app.remove_from_group(&actor, &name, &login).await? { "is no longer" } else { "was not" };
            output::print(&format!("{login} {was} in the group {name}"))
        }
    }
}
