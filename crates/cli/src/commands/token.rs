//! `stet token`: what programs sign in with.

use std::borrow::Cow;

use serde::Serialize;
use stet_app::NewToken;
use stet_domain::LogDate;
use stet_domain::access::Scopes;

use crate::Global;
use crate::failure::Failure;
use crate::node;
use crate::output::{self, PrintFormat};
use crate::table::Table;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Add a token and print it, this once
    Add {
        /// On whose behalf the token acts
        login: String,
        /// What it is for; unique among the user's tokens
        name: String,
        /// After how many days it expires [default: never]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
        /// What it may be used for: read, edit, build, admin, with commas between them; edit and build include reading
        #[arg(long, default_value_t = Scopes::ALL)]
        scopes: Scopes,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// List the tokens, without their secrets, which nobody has
    List {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: PrintFormat,
    },
    /// End a token at once
    Revoke {
        /// On whose behalf the token acts
        login: String,
        /// The token's name
        name: String,
    },
}

#[derive(Serialize)]
struct TokenView<'a> {
    login: &'a str,
    name: &'a str,
    state: &'static str,
    created_at: LogDate,
    expires_at: Option<LogDate>,
    last_used_at: Option<LogDate>,
    revoked_at: Option<LogDate>,
    scopes: String,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    match command {
        Command::Add { login, name, days, scopes, format } => {
            let secret =
                app.add_token(&actor, NewToken { login: login.clone(), name: name.clone(), days, scopes }).await?;
            match format {
                PrintFormat::Json => {
                    output::print_json(&serde_json::json!({ "login": login, "name": name, "token": secret }))
                }
                PrintFormat::Text => {
                    output::note(&format!(
                        "The token `{name}` of {login}, shown this once; send it as `Authorization: Bearer TOKEN`:"
                    ));
                    output::print(&secret)
                }
            }
        }
        Command::List { format } => {
            let now = app.clock().now();
            let tokens = app.tokens(&actor).await?;
            let views: Vec<TokenView<'_>> = tokens
                .iter()
                .map(|token| TokenView {
                    login: token.login.as_str(),
                    name: &token.name,
                    state: match (token.revoked_at, token.expires_at) {
                        (Some(_), _) => "revoked",
                        (None, Some(end)) if end <= now => "expired",
                        _ => "active",
                    },
                    created_at: token.created_at,
                    expires_at: token.expires_at,
                    last_used_at: token.last_used_at,
                    revoked_at: token.revoked_at,
                    scopes: token.scopes.to_string(),
                })
                .collect();
            match format {
                PrintFormat::Json => output::print_json(&serde_json::json!({ "tokens": views })),
                PrintFormat::Text => print_table(&views),
            }
        }
        Command::Revoke { login, name } => {
            app.revoke_token(&actor, &login, &name).await?;
            output::print(&format!("Revoked the token {} of {login}", crate::table::shown_word(&name)))
        }
    }
}

fn print_table(tokens: &[TokenView<'_>]) -> Result<(), Failure> {
    let mut table = Table::of_texts(&["login", "name", "state", "scopes", "created", "expires", "last used"]);
    let date = |date: Option<LogDate>| date.map_or(Cow::Borrowed("never"), |date| Cow::Owned(date.to_string()));
    for token in tokens {
        table.words([
            Cow::Borrowed(token.login),
            Cow::Borrowed(token.name),
            Cow::Borrowed(token.state),
            Cow::Borrowed(token.scopes.as_str()),
            date(Some(token.created_at)),
            date(token.expires_at),
            date(token.last_used_at),
        ]);
    }
    output::print_table(&table)
}
