//! `stet user`: who can sign in.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Serialize;
use stet_app::NewUser;
use stet_domain::{LogDate, Profile};

use crate::Global;
use crate::failure::Failure;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::password::PasswordArguments;
use crate::table::Table;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Add a user
    Add {
        /// The name to sign in with
        login: String,
        /// The name to show to others [default: the login]
        #[arg(long)]
        name: Option<String>,
        /// What the user may be at most: reader, designer or admin
        #[arg(long, default_value = "reader")]
        profile: Profile,
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// Bring users and groups to what a file says; who is not in it stays
    Apply {
        /// The file; docs/command-line.md tells its form
        file: PathBuf,
        /// Only tell what would be done
        #[arg(long)]
        dry_run: bool,
        /// How to print what is done
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// List the users
    List {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Change what a user may be at most
    Profile {
        /// The user's login
        login: String,
        /// reader, designer or admin
        profile: Profile,
    },
    /// Shut a user out at once: sessions end, tokens are revoked; the name stays in the logs
    Disable {
        /// The user's login
        login: String,
    },
    /// Let a user in again, who must sign in anew
    Enable {
        /// The user's login
        login: String,
    },
    /// Let somebody at the sign-on provider be a user who is there already
    Link {
        /// The user's login
        login: String,
        /// The subject: who it is at the provider, as the audit trail tells it of a refused sign-in
        subject: String,
    },
    /// Take the second factor away of a user who cannot show it any more, and end the user's sessions
    ResetSecondFactor {
        /// The user's login
        login: String,
    },
    /// Set a user's password and end the user's sessions
    Password {
        /// The user's login
        login: String,
        #[command(flatten)]
        password: PasswordArguments,
    },
}

#[derive(Serialize)]
struct UserView<'a> {
    login: &'a str,
    name: &'a str,
    profile: Profile,
    groups: Vec<&'a str>,
    disabled: bool,
    created_at: LogDate,
    last_sign_in: Option<LogDate>,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::Add { login, name, profile, password } => {
            let password = password.read(&login)?;
            let display_name = name.unwrap_or_default();
            app.add_user(&actor, NewUser { login: login.clone(), display_name, profile, password }).await?;
            output::print(&format!("Added the user {login}, a {}", profile.as_str()).replace("a admin", "an admin"))
        }
        Command::Apply { file, dry_run, format } => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
            let plan = app.plan_people(&actor, &file, text).await?;
            if !dry_run {
                app.apply_people(&actor, &plan).await?;
            }
            match format {
                PrintFormat::Json => {
                    let changes: Vec<String> = plan.iter().map(ToString::to_string).collect();
                    output::print_json(&serde_json::json!({ "changes": changes, "done": !dry_run }))
                }
                PrintFormat::Text if plan.is_empty() => output::print("Everything is as the file says"),
                PrintFormat::Text => plan.iter().try_for_each(|change| {
                    output::print(&if dry_run { format!("would {change}") } else { format!("done: {change}") })
                }),
            }
        }
        Command::List { format } => {
            let users = app.users(&actor).await?;
            let views: Vec<UserView<'_>> = users
                .iter()
                .map(|user| UserView {
                    login: user.login.as_str(),
                    name: &user.display_name,
                    profile: user.profile,
                    groups: user.groups.iter().map(stet_domain::GroupName::as_str).collect(),
                    disabled: user.disabled,
                    created_at: user.created_at,
                    last_sign_in: user.last_sign_in,
                })
                .collect();
            match format {
                PrintFormat::Json => output::print_json(&serde_json::json!({ "users": views })),
                PrintFormat::Text => print_table(&views),
            }
        }
        Command::Profile { login, profile } => {
            app.set_profile(&actor, &login, profile).await?;
            output::print(&format!("{login} is now a {}", profile.as_str()).replace("a admin", "an admin"))
        }
        Command::Disable { login } => {
            app.set_user_disabled(&actor, &login, true).await?;
            output::print(&format!("{login} is shut out: sessions ended, tokens revoked"))
        }
        Command::Enable { login } => {
            app.set_user_disabled(&actor, &login, false).await?;
            output::print(&format!("{login} can sign in again"))
        }
        Command::Link { login, subject } => {
            app.link_identity(&actor, &login, &subject).await?;
            output::print(&format!("{login} signs in at the provider as {subject}"))
        }
        Command::ResetSecondFactor { login } => {
            app.reset_second_factor(&actor, &login).await?;
            output::print(&format!("Took the second factor of {login} away and ended the sessions"))
        }
        Command::Password { login, password } => {
            let password = password.read(&login)?;
            app.set_password(&actor, &login, password).await?;
            output::print(&format!("Set the password of {login} and ended the sessions"))
        }
    }
}

fn print_table(users: &[UserView<'_>]) -> Result<(), Failure> {
    let mut table = Table::of_texts(&["login", "name", "profile", "groups", "state", "last sign-in"]);
    for user in users {
        table.words([
            Cow::Borrowed(user.login),
            Cow::Borrowed(user.name),
            Cow::Borrowed(user.profile.as_str()),
            Cow::Owned(user.groups.join(", ")),
            Cow::Borrowed(if user.disabled { "disabled" } else { "active" }),
            user.last_sign_in.map_or(Cow::Borrowed("never"), |date| Cow::Owned(date.to_string())),
        ]);
    }
    output::print_table(&table)
}
