//! `stet init`: makes a node.

use std::net::SocketAddr;

use stet_app::{App, Clock, NewUser, NodeFolder, NodeRole};
use stet_domain::name::looks_reserved;
use stet_domain::{Login, Profile};

use crate::Global;
use crate::failure::Failure;
use crate::password::PasswordArguments;
use crate::{listen, node, output};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The node's name, shown to its users [default: the folder's name]
    #[arg(long)]
    name: Option<String>,
    /// What the node is for
    #[arg(long, value_enum, default_value_t = Role::Design)]
    role: Role,
    /// Where the node will listen
    #[arg(long, value_name = "ADDRESS", value_parser = listen::parse_address, default_value = "127.0.0.1:8820")]
    listen: SocketAddr,
    /// Also add an administrator with this login
    #[arg(long, value_name = "LOGIN")]
    admin: Option<String>,
    #[command(flatten)]
    password: PasswordArguments,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Role {
    /// Projects are developed here
    Design,
    /// Projects run in production here
    Automation,
}

pub(crate) async fn run(global: &Global, arguments: Arguments) -> Result<(), Failure> {
    let folder = match &global.node {
        Some(folder) => folder.clone(),
        None => return Err(Failure::usage("in which folder? Give it with --node DIR; it is made if it is not there")),
    };
    let folder = NodeFolder::new(&folder)?;
    let name = match arguments.name {
        Some(name) => name,
        None => folder.root().file_name().map_or_else(|| "stet".to_owned(), |name| name.to_string_lossy().into_owned()),
    };
    if folder.root().join("stet.toml").exists() {
        return Err(Failure::usage(format!(
            "{} is a node already: start it with `stet serve --node {0}`, or choose another folder",
            folder.root().display()
        )));
    }
    // Names and the password come before the folder: when one of them cannot be, nothing is half made.
    if name.trim().is_empty() {
        return Err(Failure::usage("a node needs a name: give it with --name, such as --name \"Wildlife data\""));
    }
    if let Some(login) = &arguments.admin {
        Login::new(login.as_str()).map_err(|error| Failure::usage(error.to_string()))?;
        if looks_reserved(login) {
            return Err(Failure::usage(format!("`{login}` is reserved: choose another login")));
        }
    }
    let password = match &arguments.admin {
        Some(login) => Some(arguments.password.read(login)?),
        None => None,
    };
    let role = match arguments.role {
        Role::Design => NodeRole::Design,
        Role::Automation => NodeRole::Automation,
    };
    folder.init(&name, role, &arguments.listen.to_string())?;
    let shown = folder.root().display();
    output::print(&format!("Made the {} node {} in {shown}", role.as_str(), crate::table::shown_word(&name)))?;
    let app = App::open(folder.root(), Clock::System).await?;
    match (arguments.admin, password) {
        (Some(login), Some(password)) => {
            let user = NewUser { login: login.clone(), display_name: String::new(), profile: Profile::Admin, password };
            app.add_user(&node::actor(), user).await.map_err(|error| {
                Failure::usage(format!(
                    "the node is made, but has no administrator yet: {error}. Add one with `stet user add {login} \
                     --profile admin --node {shown}`"
                ))
            })?;
            output::print(&format!("Added the administrator {login}"))?;
        }
        _ => output::print(&format!(
            "Next, add somebody who can sign in: stet user add LOGIN --profile admin --node {shown}"
        ))?,
    }
    output::print(&format!("Start it with: stet serve --node {shown}"))
}
