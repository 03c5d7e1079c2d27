//! `stet secrets`: the key that seals the passwords of connections and what second factors are made of, and secrets that
//! `stet.toml` calls by name.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::Global;
use crate::failure::Failure;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::password::PasswordArguments;
use crate::table::Table;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Seal all secrets under a new key, which takes the place of the old one
    Rotate {
        /// Write the new key into this new file, for a key that is kept elsewhere (a credential of systemd, the environment)
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
    },
    /// Seal a secret under a name that stet.toml calls it by, such as the secret key of S3-compatible storage
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// List the names of sealed secrets; what is secret is never shown
    List {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// Take a sealed secret away
    Remove {
        /// Its name
        name: String,
    },
    /// Check that the node has the key to all its secrets; exit code 2 if it has not
    Check,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    match command {
        Command::Rotate { new_key_file } => {
            let (count, path) = app.rotate_secrets(&node::actor(), new_key_file.as_deref()).await?;
            let secrets = if count == 1 { "1 secret is".to_owned() } else { format!("{count} secrets are") };
            output::print(&format!("{secrets} sealed by a new key, in {}", path.display()))?;
            if new_key_file.is_some() {
                output::note("Put it into the place of the old one before the node needs a secret again.");
            }
            Ok(())
        }
        Command::Set { name, password } => {
            let secret = password.read(&format!("the secret {name}"))?;
            app.set_named_secret(&node::actor(), &name, &secret).await?;
            output::print(&format!("Sealed the secret {name}"))
        }
        Command::List { format } => {
            let secrets = app.named_secrets(&node::actor()).await?;
            match format {
                PrintFormat::Json => {
                    let views: Vec<_> = secrets
                        .iter()
                        .map(|secret| {
                            serde_json::json!({
                                "name": secret.name, "changed_at": secret.changed_at.to_string(),
                                "changed_by": secret.changed_by,
                            })
                        })
                        .collect();
                    output::print_json(&serde_json::json!({ "secrets": views }))
                }
                PrintFormat::Text => {
                    let mut table = Table::of_texts(&["name", "set at", "by"]);
                    for secret in &secrets {
                        table.words([
                            Cow::Borrowed(secret.name.as_str()),
                            Cow::Owned(secret.changed_at.to_string()),
                            Cow::Borrowed(secret.changed_by.as_str()),
                        ]);
                    }
                    output::print_table(&table)
                }
            }
        }
        Command::Remove { name } => {
            app.remove_named_secret(&node::actor(), &name).await?;
            output::print(&format!("Took the secret {name} away"))
        }
        Command::Check => {
            app.check_secrets().await?;
            output::print("The node opens all its secrets")
        }
    }
}
