//! `stet demo`: a design node with the sample project, to try Stet.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use stet_app::{App, BuildMode, Clock, FlowState, JobState, NewUser, NodeFolder, NodeRole};
use stet_domain::Profile;
use tokio::net::TcpListener;

use crate::Global;
use crate::commands::serve::until_interrupted;
use crate::failure::Failure;
use crate::listen::{self, Interrupt};
use crate::node::{self, ServeLock};
use crate::{output, password, progress, sample, table};

/// The file of a kept demo node that holds its logins. It also tells that the folder was made by `stet demo`.
const LOGINS_FILE: &str = "demo-logins.txt";

/// The password of all users of a demo that nobody else can reach and that is thrown away.
const PASSWORD: &str = "stet-demo";

/// The users of a demo: login, name, profile.
const USERS: [(&str, &str, Profile); 4] = [
    ("admin", "Administrator", Profile::Admin),
    ("dana", "Dana (designer)", Profile::Designer),
    ("rob", "Rob (reader)", Profile::Reader),
    ("rita", "Rita (reader)", Profile::Reader),
];

/// Without --node the demo lives in a temporary folder and is gone when it stops. With --node DIR it is kept there, and the
/// next `stet demo --node DIR` goes on with it. STET_NODE is not looked at: a demo does not belong into a node of yours.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen, such as 127.0.0.1:8820 [default: the first free port from 8820 on, for this machine alone]
    #[arg(long, value_name = "ADDRESS", value_parser = listen::parse_address)]
    listen: Option<SocketAddr>,
    /// Open the first page in the browser
    #[arg(long)]
    open: bool,
}

pub(crate) async fn run(global: &Global, arguments: Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::watch();
    match &global.node {
        Some(folder) => {
            let folder = NodeFolder::new(folder)?;
            let logins = prepare_kept(folder.root())?;
            let lock = ServeLock::take(folder.root())?;
            let result = start(&folder, &logins, true, &arguments, interrupt).await;
            drop(lock);
            result
        }
        None => {
            if let Some(address) = arguments.listen.filter(|address| !address.ip().is_loopback()) {
                return Err(Failure::usage(format!(
                    "{address} is reached from other machines, and the passwords of a throw-away demo are known to \
                     everybody: listen on 127.0.0.1, or keep the demo with --node DIR, which gives it passwords of its own"
                )));
            }
            let folder = tempfile::Builder::new()
                .prefix("stet-demo-")
                .tempdir()
                .map_err(|error| Failure::usage(format!("cannot make a temporary folder: {error}")))?;
            let logins = USERS.iter().map(|(login, ..)| ((*login).to_owned(), PASSWORD.to_owned())).collect();
            let result = start(&NodeFolder::new(folder.path())?, &logins, false, &arguments, interrupt).await;
            if let Err(error) = folder.close() {
                output::note(&format!("stet: the demo's folder could not be removed: {error}"));
            }
            result
        }
    }
}

/// Logins with their passwords as they were when the demo was made.
type Logins = Vec<(String, String)>;

/// Makes the folder of a kept demo, or finds the one that is there. Never touches a folder that is something else.
fn prepare_kept(folder: &Path) -> Result<Logins, Failure> {
    let path = folder.join(LOGINS_FILE);
    if let Ok(text) = std::fs::read_to_string(&path) {
        let logins = text.lines().filter(|line| !line.starts_with('#'));
        return Ok(logins
            .filter_map(|line| line.split_once(' '))
            .map(|(login, password)| (login.to_owned(), password.trim().to_owned()))
            .collect());
    }
    if folder.join("stet.toml").exists() {
        return Err(Failure::usage(format!(
            "{} is a node that `stet demo` did not make: start it with `stet serve --node {0}`, or choose another folder",
            folder.display()
        )));
    }
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot use {}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(cannot)?;
    if std::fs::read_dir(folder).map_err(cannot)?.next().is_some() {
        return Err(Failure::usage(format!(
            "{} holds something already: give the demo a folder of its own, or a new one",
            folder.display()
        )));
    }
    let logins: Logins = USERS.iter().map(|(login, ..)| ((*login).to_owned(), password::memorable())).collect();
    let mut text =
        "# The logins of this demo as it was made. Passwords that were changed since are not here.\n".to_owned();
    for (login, password) in &logins {
        text.push_str(&format!("{login} {password}\n"));
    }
    write_private(&path, &text).map_err(cannot)?;
    Ok(logins)
}

/// Writes a file that its owner alone can read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}

async fn start(
    folder: &NodeFolder,
    logins: &Logins,
    kept: bool,
    arguments: &Arguments,
    interrupt: Interrupt,
) -> Result<(), Failure> {
    // The address comes first: when it is in use, it is said before anything is built.
    let listener = match arguments.listen {
        Some(address) => listen::bind(address).await?,
        None => listen::bind_first_free().await?,
    };
    // stet.toml is written last, so that a start that broke off is gone on with.
    if !folder.root().join("stet.toml").exists() {
        sample::write_missing(folder.root())?;
        folder.init("Stet demo", NodeRole::Design, &format!("127.0.0.1:{}", listen::PORT_DEFAULT))?;
    }
    let app = App::open(folder.root(), Clock::System).await?;
    app.recover_builds().await?;
    add_users(&app, logins).await?;
    build_what_is_not_there(&app, &interrupt).await?;
    if interrupt.was_asked() {
        app.shutdown().await;
        return Ok(());
    }
    welcome(&app, &listener, logins, kept.then(|| folder.root().to_owned()))?;
    if arguments.open {
        open_in_browser(&page(&listen::url(&listener)?, sample::WEBAPPS[0]));
    }
    until_interrupted(app, listener, interrupt).await?;
    if !kept {
        output::note("The demo has stopped, and its folder is removed.");
    }
    Ok(())
}

async fn add_users(app: &App, logins: &Logins) -> Result<(), Failure> {
    let actor = node::actor();
    let there = app.users(&actor).await?;
    for (login, name, profile) in USERS {
        if there.iter().any(|user| user.login.as_str() == login) {
            continue;
        }
        let Some((_, password)) = logins.iter().find(|(known, _)| known == login) else { continue };
        app.add_user(
            &actor,
            NewUser { login: login.to_owned(), display_name: name.to_owned(), profile, password: password.clone() },
        )
        .await?;
    }
    Ok(())
}

/// Builds what was never built, so that every page opens into data. What is stale stays so: to build is for people.
async fn build_what_is_not_there(app: &App, interrupt: &Interrupt) -> Result<(), Failure> {
    let actor = node::actor();
    if app.project(&actor, sample::PROJECT).is_err() {
        // Somebody is changing the project of a kept demo: its page says what is wrong.
        return Ok(());
    }
    let mut datasets = app.flow(&actor, sample::PROJECT).await?.nodes;
    datasets.retain(|node| node.buildable && node.state == Some(FlowState::NeverBuilt));
    if datasets.is_empty() {
        return Ok(());
    }
    output::note("Building the sample's datasets …");
    // The last ones first: most of the others are made on the way.
    datasets.sort_by_key(|node| std::cmp::Reverse(node.layer));
    for dataset in datasets {
        if interrupt.was_asked() {
            break;
        }
        if app.dataset(&actor, sample::PROJECT, &dataset.name).await?.node.state != Some(FlowState::NeverBuilt) {
            continue;
        }
        let job = progress::build(app, &actor, sample::PROJECT, &dataset.name, BuildMode::Required, interrupt).await?;
        if let (JobState::Failed, Some(error)) = (job.state, &job.error) {
            output::note(&format!("stet: {} was not built: {error}", dataset.name));
        }
    }
    Ok(())
}

fn page(url: &str, webapp: &str) -> String {
    format!("{url}/projects/{}/webapps/{webapp}", sample::PROJECT)
}

/// Says where the demo is, what to open first, and how to sign in.
fn welcome(app: &App, listener: &TcpListener, logins: &Logins, kept: Option<PathBuf>) -> Result<(), Failure> {
    let url = listen::url(listener)?;
    let mut lines =
        vec![String::new(), format!("  Stet is running on {url}"), String::new(), "  Open first".to_owned()];
    let project = app.project(&node::actor(), sample::PROJECT).ok();
    for webapp in sample::WEBAPPS {
        lines.push(format!("    {}", page(&url, webapp)));
        let found =
            project.iter().flat_map(|project| project.webapps.values()).find(|found| found.name.as_str() == webapp);
        if let Some(found) = found {
            lines.push(format!("      {}", table::shown_word(&found.description)));
        }
    }
    lines.extend([String::new(), "  Sign in with".to_owned()]);
    let width = logins.iter().map(|(_, password)| password.len()).max().unwrap_or_default();
    for (login, password) in logins {
        let profile = USERS.iter().find(|(known, ..)| known == login).map_or("", |(.., profile)| profile.as_str());
        lines.push(format!("    {login:<8}  {password:<width$}  {profile}"));
    }
    lines.push(String::new());
    lines.push(match kept {
        Some(folder) => format!("  Ctrl-C stops it. Everything is kept in {}", folder.display()),
        None => "  Ctrl-C stops it, and all of it is gone. `stet demo --node DIR` keeps it.".to_owned(),
    });
    output::print(&lines.join("\n"))
}

fn open_in_browser(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = std::process::Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if started.is_err() {
        output::note(&format!("stet: no browser could be opened from here: open {url} yourself"));
    }
}
