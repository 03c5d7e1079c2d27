//! `stet connection`: how the node reaches databases.

use std::borrow::Cow;

use stet_app::{ConnectionChange, ConnectionSummary, NewConnection};
use stet_domain::GroupName;

use crate::Global;
use crate::failure::Failure;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::password::PasswordArguments;
use crate::table::Table;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Add a connection to a PostgreSQL database; its password is sealed by the node's key
    Add {
        /// By which datasets will name it
        name: String,
        /// The host, or the folder of a Unix socket
        #[arg(long)]
        host: String,
        /// The port
        #[arg(long, default_value_t = 5432)]
        port: u16,
        /// The database
        #[arg(long)]
        database: String,
        /// The database user that Stet connects as
        #[arg(long)]
        user: String,
        /// verify-full, require or disable [default: verify-full, and disable on this machine]
        #[arg(long)]
        sslmode: Option<String>,
        /// Certificates (PEM) of authorities to trust instead of the system's
        #[arg(long, value_name = "FILE")]
        ca_file: Option<String>,
        /// Only for these groups, with commas between them [default: everybody]
        #[arg(long, value_delimiter = ',')]
        groups: Vec<String>,
        /// The database asks for no password
        #[arg(long, conflicts_with = "password_file")]
        no_password: bool,
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// List the connections, those of stet.toml too
    List {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Show a connection; its password is never shown
    Show {
        /// Its name
        name: String,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Seal another password for a connection
    SetPassword {
        /// Its name
        name: String,
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// Say who may use a connection
    SetGroups {
        /// Its name
        name: String,
        /// The groups; none for everybody
        groups: Vec<String>,
    },
    /// Connect as the node does; exit code 1 if that does not work
    Test {
        /// Its name
        name: String,
    },
    /// Take a connection away, with its password
    Remove {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::Add { name, host, port, database, user, sslmode, ca_file, groups, no_password, password } => {
            let password = if no_password { None } else { Some(password.read(&format!("{user} at {host}"))?) };
            let new = NewConnection {
                name: name.clone(),
                host,
                port: Some(port),
                database,
                user,
                sslmode,
                ca_file,
                groups,
                password,
            };
            app.add_connection(&actor, new).await?;
            output::print(&format!("Added the connection {name}: try it with `stet connection test {name}`"))
        }
        Command::List { format } => {
            let connections = app.connections(&actor)?;
            match format {
                PrintFormat::Json => {
                    let views: Vec<_> = connections.iter().map(view).collect();
                    output::print_json(&serde_json::json!({ "connections": views }))
                }
                PrintFormat::Text => {
                    let mut table = Table::of_texts(&["name", "kind", "place", "password", "groups", "kept in"]);
                    for connection in &connections {
                        table.words([
                            Cow::Borrowed(connection.name.as_str()),
                            Cow::Borrowed(connection.kind),
                            Cow::Owned(place(connection)),
                            Cow::Borrowed(if connection.has_password { "known" } else { "none" }),
                            Cow::Owned(groups_of(connection)),
                            Cow::Borrowed(if connection.in_file { "stet.toml" } else { "the node" }),
                        ]);
                    }
                    output::print_table(&table)
                }
            }
        }
        Command::Show { name, format } => {
            let connections = app.connections(&actor)?;
            let Some(connection) = connections.iter().find(|connection| connection.name == name) else {
                return Err(Failure::usage(format!(
                    "there is no connection `{name}`: `stet connection list` tells all"
                )));
            };
            match format {
                PrintFormat::Json => output::print_json(&view(connection)),
                PrintFormat::Text => {
                    let mut table = Table::of_texts(&["field", "value"]);
                    let (changed_at, changed_by) = connection.changed.clone().unzip();
                    for (field, value) in [
                        ("name", Some(connection.name.clone())),
                        ("kind", Some(connection.kind.to_owned())),
                        ("place", Some(place(connection))),
                        ("user", connection.user.clone()),
                        ("sslmode", connection.sslmode.map(str::to_owned)),
                        ("ca_file", connection.ca_file.clone()),
                        ("password", Some(if connection.has_password { "known" } else { "none" }.to_owned())),
                        ("groups", Some(groups_of(connection))),
                        ("changed", changed_at.map(|date| date.to_string())),
                        ("changed by", changed_by),
                    ] {
                        if let Some(value) = value {
                            table.words([Cow::Borrowed(field), Cow::Owned(value)]);
                        }
                    }
                    output::print_table(&table)
                }
            }
        }
        Command::SetPassword { name, password } => {
            let password = Some(password.read(&name)?);
            app.change_connection(&actor, &name, ConnectionChange { password, ..ConnectionChange::default() }).await?;
            output::print(&format!("Sealed another password for the connection {name}"))
        }
        Command::SetGroups { name, groups } => {
            let change = ConnectionChange { groups: Some(groups.clone()), ..ConnectionChange::default() };
            app.change_connection(&actor, &name, change).await?;
            let whose = if groups.is_empty() { "everybody".to_owned() } else { groups.join(", ") };
            output::print(&format!("The connection {name} is for {whose}"))
        }
        Command::Test { name } => match app.test_connection(&actor, &name).await? {
            Ok(()) => output::print(&format!("The connection {name} works")),
            Err(reason) => Err(Failure::no(reason)),
        },
        Command::Remove { name } => {
            app.remove_connection(&actor, &name).await?;
            output::print(&format!("Took the connection {name} away"))
        }
    }
}

fn place(connection: &ConnectionSummary) -> String {
    match (&connection.host, &connection.path) {
        (Some(host), _) => format!(
            "{host}:{}/{}",
            connection.port.unwrap_or_default(),
            connection.database.as_deref().unwrap_or_default()
        ),
        (None, path) => path.clone().unwrap_or_default(),
    }
}

fn groups_of(connection: &ConnectionSummary) -> String {
    let groups: Vec<&str> = connection.groups.iter().map(GroupName::as_str).collect();
    if groups.is_empty() { "everybody".to_owned() } else { groups.join(", ") }
}

fn view(connection: &ConnectionSummary) -> serde_json::Value {
    let groups: Vec<&str> = connection.groups.iter().map(GroupName::as_str).collect();
    serde_json::json!({
        "name": connection.name,
        "kind": connection.kind,
        "in_file": connection.in_file,
        "path": connection.path,
        "host": connection.host,
        "port": connection.port,
        "database": connection.database,
        "user": connection.user,
        "sslmode": connection.sslmode,
        "ca_file": connection.ca_file,
        "has_password": connection.has_password,
        "groups": groups,
        "changed_at": connection.changed.as_ref().map(|(date, _)| date.to_string()),
        "changed_by": connection.changed.as_ref().map(|(_, login)| login),
    })
}
