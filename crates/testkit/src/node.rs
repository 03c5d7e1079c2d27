//! A node for a test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use stet_app::{App, Clock, NewToken, NewUser, NodeFolder, NodeRole, copy_folder};
use stet_domain::access::Scopes;
use stet_domain::{Actor, Login, Profile, ProjectKey};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// The key of the sample project.
pub const PROJECT: &str = "BIRDSTRIKES";

/// The password of all users.
pub const PASSWORD: &str = "correct horse";

/// The login of a reader.
pub const READER: &str = "rosa";

/// The login of another reader.
pub const OTHER_READER: &str = "rafael";

/// The login of a designer.
pub const DESIGNER: &str = "dora";

/// The login of the administrator.
pub const ADMIN: &str = "ada";

/// A node in a folder of its own, with the sample project, served on a port of its own. It ends when it is dropped.
pub struct TestNode {
    /// The node itself, to look behind the server's answers.
    pub app: App,
    /// Where it is served.
    pub base: String,
    address: SocketAddr,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// How a node is to differ from the usual one.
#[derive(Default)]
pub struct Setup {
    /// Lines to add to `stet.toml`; `{address}` stands for the host and port at which the node is served.
    pub config: String,
    /// Files to write before the node starts: paths below its folder, and texts.
    pub files: Vec<(String, String)>,
    /// The node's clock; the machine's if none.
    pub clock: Option<Clock>,
}

impl Setup {
    /// Adds a file below the node's folder.
    pub fn file(mut self, path: &str, text: &str) -> Setup {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Adds a line to `stet.toml`.
    pub fn config(mut self, line: &str) -> Setup {
        self.config.push_str(line);
        self.config.push('\n');
        self
    }

    /// Gives the node another clock.
    pub fn clock(self, clock: Clock) -> Setup {
        Setup { clock: Some(clock), ..self }
    }

    /// Starts the node.
    pub async fn start(self) -> TestNode {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = NodeFolder::new(folder.path()).expect("the folder of the node");
        node.init("Test node", NodeRole::Design, "127.0.0.1:0").expect("a new node");
        let project = ProjectKey::new(PROJECT).expect("a key");
        copy_folder(&example().join("project"), &node.project(&project)).expect("the sample project");
        copy_folder(&example().join("data"), &node.data(&project)).expect("the sample data");
        for (path, text) in &self.files {
            write(folder.path(), path, text);
        }
        if !self.config.is_empty() {
            let file = folder.path().join("stet.toml");
            let text = std::fs::read_to_string(&file).expect("stet.toml");
            std::fs::write(file, format!("{text}{}", self.config.replace("{address}", &address.to_string())))
                .expect("stet.toml can be written");
        }

        let app = App::open(folder.path(), self.clock.unwrap_or(Clock::System)).await.expect("the node opens");
        let shell = Actor::shell(Login::new("shell").expect("a login"));
        for (login, name, profile) in [
            (READER, "Rosa Reader", Profile::Reader),
            (OTHER_READER, "Rafael Reader", Profile::Reader),
            (DESIGNER, "Dora Designer", Profile::Designer),
            (ADMIN, "Ada Admin", Profile::Admin),
        ] {
            let user = NewUser {
                login: login.to_owned(),
                display_name: name.to_owned(),
                profile,
                password: PASSWORD.to_owned(),
            };
            app.add_user(&shell, user).await.expect("a user");
        }

        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(stet_server::serve(app.clone(), listener, async move {
            // The sender's end is as good as its message.
            let _ = stopped.await;
        }));
        TestNode { app, base: format!("http://{address}"), address, folder, stop: Some(stop), serving }
    }
}

impl TestNode {
    /// Starts a node with the sample project.
    pub async fn start() -> TestNode {
        Setup::default().start().await
    }

    /// The node's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The host and port that it is served at.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A client that is not signed in.
    pub fn visitor(&self) -> Client {
        Client::new(&self.base)
    }

    /// A client that signed in.
    pub async fn signed_in(&self, login: &str) -> Client {
        let client = self.visitor();
        client.sign_in(login, PASSWORD).await.expect_status(200);
        client
    }

    /// A client with an API token.
    pub async fn with_token(&self, login: &str) -> Client {
        let shell = Actor::shell(Login::new("shell").expect("a login"));
        let token = NewToken { login: login.to_owned(), name: "test".to_owned(), days: None, scopes: Scopes::ALL };
        let token = self.app.add_token(&shell, token).await.expect("a token");
        self.visitor().with_token(&token)
    }

    /// Writes a file below the node's folder.
    pub fn write(&self, path: &str, text: &str) {
        write(self.folder.path(), path, text);
    }

    /// Stops the server as its administrator would, and waits until it has ended.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let serving = std::mem::replace(&mut self.serving, tokio::spawn(async { Ok(()) }));
        serving.await.expect("the server ends by itself").expect("the server ends without an error");
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The folder of the sample project.
fn example() -> PathBuf {
    crate::repository().join("examples/birdstrikes")
}

fn write(folder: &Path, path: &str, text: &str) {
    let file = folder.join(path);
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent).expect("a folder");
    }
    std::fs::write(file, text).expect("a file");
}
