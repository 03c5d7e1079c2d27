//! `stet`: the commands of the shell. Each lives in a file of [`commands`]; rules live in the use cases that they call.

mod commands;
mod failure;
mod listen;
mod logging;
mod names;
mod node;
mod output;
mod password;
mod progress;
mod report;
mod rows;
mod sample;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// How long what runs in the background may take to end once a command is done.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// Correct the data of a pipeline in a web table, and let the original stand.
#[derive(Parser)]
#[command(name = "stet", version, about, propagate_version = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done and true; 1 the answer is no, with the reason on stderr; \
                          2 wrong usage or configuration.\n\nA first look: `stet demo`.";

/// What every command takes.
#[derive(clap::Args)]
pub(crate) struct Global {
    /// The node's folder [default: $STET_NODE, else the current folder if it has a stet.toml]
    #[arg(long, global = true, value_name = "DIR")]
    node: Option<PathBuf>,
    /// How much to log on stderr [default: $STET_LOG, else info for `serve`, error for `build`, warn for the others]
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<logging::Level>,
}

#[derive(Subcommand)]
enum Command {
    /// Start a design node with the sample project, to try Stet
    Demo(commands::demo::Arguments),
    /// Make a new node in a folder
    Init(commands::init::Arguments),
    /// Run a node: its pages and its API
    Serve(commands::serve::Arguments),
    /// Check a node's configuration, its projects' files and their data
    Check(commands::check::Arguments),
    /// Make a project of a file, and list the projects
    #[command(subcommand)]
    Project(commands::project::Command),
    /// Build a dataset, with all that it is made of
    Build(commands::build::Arguments),
    /// Look at datasets and export them
    #[command(subcommand)]
    Dataset(commands::dataset::Command),
    /// Look at editlogs and export them
    #[command(subcommand)]
    Editlog(commands::editlog::Command),
    /// Make, sign, approve and compare bundles of projects
    #[command(subcommand)]
    Bundle(commands::bundle::Command),
    /// Bring bundles into force on the node where they run
    #[command(subcommand)]
    Deploy(commands::deploy::Command),
    /// Run the scenarios of a project and see what ran
    #[command(subcommand)]
    Scenario(commands::scenario::Command),
    /// Add users and manage their access
    #[command(subcommand)]
    User(commands::user::Command),
    /// Say how the node reaches databases
    #[command(subcommand)]
    Connection(commands::connection::Command),
    /// Look after the key that seals the node's secrets
    #[command(subcommand)]
    Secrets(commands::secrets::Command),
    /// Look at who did what on the node
    #[command(subcommand)]
    Audit(commands::audit::Command),
    /// Put users into groups, to which projects give permissions
    #[command(subcommand)]
    Group(commands::group::Command),
    /// Add and revoke the tokens that programs sign in with
    #[command(subcommand)]
    Token(commands::token::Command),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = run(arguments);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(Arguments { global, command }: Arguments) -> Result<(), Failure> {
    let level = match &command {
        Command::Serve(_) => logging::Level::Info,
        // Why a build failed is what the command itself says.
        Command::Build(_) => logging::Level::Error,
        _ => logging::Level::Warn,
    };
    logging::start(global.log, level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::no(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        match command {
            Command::Demo(arguments) => commands::demo::run(&global, arguments).await,
            Command::Init(arguments) => commands::init::run(&global, arguments).await,
            Command::Serve(arguments) => commands::serve::run(&global, arguments).await,
            Command::Check(arguments) => commands::check::run(&global, arguments).await,
            Command::Project(command) => commands::project::run(&global, command).await,
            Command::Build(arguments) => commands::build::run(&global, arguments).await,
            Command::Dataset(command) => commands::dataset::run(&global, command).await,
            Command::Editlog(command) => commands::editlog::run(&global, command).await,
            Command::Bundle(command) => commands::bundle::run(&global, command).await,
            Command::Deploy(command) => commands::deploy::run(&global, command).await,
            Command::Scenario(command) => commands::scenario::run(&global, command).await,
            Command::User(command) => commands::user::run(&global, command).await,
            Command::Connection(command) => commands::connection::run(&global, command).await,
            Command::Secrets(command) => commands::secrets::run(&global, command).await,
            Command::Audit(command) => commands::audit::run(&global, command).await,
            Command::Group(command) => commands::group::run(&global, command).await,
            Command::Token(command) => commands::token::run(&global, command).await,
        }
    });
    runtime.shutdown_timeout(BACKGROUND_TIMEOUT);
    result
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Id};

    use super::Arguments;

    /// Looks at a command and all below it.
    fn look(command: &clap::Command, path: &str, of_all: &[Id], wrong: &mut Vec<String>) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            let taken = below.get_arguments().map(clap::Arg::get_id).filter(|id| of_all.contains(id));
            wrong.extend(taken.map(|id| format!("{path} --{id}")));
            look(below, &path, of_all, wrong);
        }
    }

    #[test]
    fn no_command_has_an_option_by_the_name_of_one_that_all_have() {
        let command = Arguments::command();
        let of_all: Vec<Id> = command
            .get_arguments()
            .filter(|option| option.is_global_set())
            .map(|option| option.get_id().clone())
            .collect();
        assert!(of_all.len() >= 2, "{of_all:?}");
        let mut wrong = Vec::new();
        look(&command, "stet", &of_all, &mut wrong);
        assert_eq!(wrong, Vec::<String>::new(), "the library ends the program when one of these is used");
        command.debug_assert();
    }
}
