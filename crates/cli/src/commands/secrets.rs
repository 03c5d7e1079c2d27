//! `stet secrets`: the key that seals the passwords of connections and what second factors are made of.

use std::path::PathBuf;

use crate::Global;
use crate::failure::Failure;
use crate::{node, output};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Seal all secrets under a new key, which takes the place of the old one
    Rotate {
        /// Write the new key into this new file, for a key that is kept elsewhere (a credential of systemd, the environment)
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
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
        Command::Check => {
            app.check_secrets().await?;
            output::print("The node opens all its secrets")
        }
    }
}
