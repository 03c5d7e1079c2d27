//! Running the binary on nodes of temporary folders.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The password of everybody in these tests.
pub const PASSWORD: &str = "correct horse";

/// A run of the binary that has ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn of(output: Output) -> Run {
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What was printed, when all went well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// What was printed as JSON, when all went well.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// What stderr says, when it ended with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// The binary, with nothing of the caller's environment that it looks at.
pub fn stet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stet"));
    command.env_remove("STET_NODE").env_remove("STET_LOG").env("USER", "tester").stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Run {
    Run::of(stet().args(arguments).output().unwrap())
}

/// A node in a temporary folder.
pub struct Node {
    pub folder: TempDir,
}

impl Node {
    /// A node with an administrator and no project.
    pub fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let node = Node { folder };
        node.run_with_input(&["init", "--name", "Test", "--admin", "ada"], &format!("{PASSWORD}\n")).ok();
        node
    }

    /// A node with the project `T`: a webapp `fix` on `items`, and a query over the edited items.
    pub fn with_items(items: &str) -> Node {
        let node = Node::new();
        for (file, text) in [
            ("project.toml", "name = \"Test\"\n"),
            (
                "datasets/items.toml",
                "key = [\"id\"]\ncolumns = [\n  { name = \"id\", type = \"text\" },\n  { name = \"name\", type = \"text\" },\n  \
                 { name = \"amount\", type = \"integer\" },\n]\npath = \"items.csv\"\n",
            ),
            (
                "webapps/fix.toml",
                "original = \"items\"\n\n[[editable]]\ncolumn = \"name\"\n\n[[editable]]\ncolumn = \"amount\"\nmax = 9223372036854775807\n",
            ),
            ("recipes/sum_up.toml", "kind = \"sql\"\ninputs = [\"items_edited\"]\noutput = \"totals\"\n"),
            ("recipes/sum_up.sql", "SELECT count(*) AS items, count(name) AS named FROM items_edited"),
        ] {
            node.write(&format!("projects/T/{file}"), text);
        }
        node.write("data/T/items.csv", items);
        node
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = stet();
        command.arg("--node").arg(self.path()).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments has ended before it reads; what it answers is what counts.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::of(child.wait_with_output().unwrap())
    }

    /// A token of the administrator.
    pub fn token(&self) -> String {
        // Its name is new each time, since a token cannot be shown again.
        let name = format!(
            "test-{}",
            self.run(&["token", "list", "--format", "json"]).json()["tokens"].as_array().unwrap().len()
        );
        self.run(&["token", "add", "ada", &name]).ok().trim().to_owned()
    }

    pub fn serve(&self) -> Server {
        Server::start(self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }
}

/// A server that is running; it is killed at the end of the test.
pub struct Server {
    pub child: Child,
    pub url: String,
    /// What it printed until it told its address.
    pub greeting: String,
    /// What it wrote to stderr.
    log: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Starts it and waits for it to tell its address.
    pub fn start(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = String::new();
        let url = loop {
            let Some(Ok(line)) = lines.next() else {
                let output = child.wait_with_output().unwrap();
                panic!("the server ended: {}", String::from_utf8_lossy(&output.stderr));
            };
            greeting.push_str(&line);
            greeting.push('\n');
            if let Some(place) = line.find("http://") {
                break line[place..].split_whitespace().next().unwrap().to_owned();
            }
        };
        // What it goes on to write must have a reader, or it would wait for one.
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| _ = sender.send(line)));
        drop(receiver);
        let mut stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(bytes @ 1..) = stderr.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..bytes]);
            }
        });
        Server { child, url, greeting, log }
    }

    /// Asks it to stop and waits; gives the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// What it has written to stderr.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub fn client(&self, token: &str) -> Client {
        Client { http: reqwest::Client::new(), url: self.url.clone(), token: token.to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that edits over HTTP.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// Sends edits to the webapp `fix` of the project `T`; none when the server does not answer.
    pub async fn edit(&self, edits: Value) -> Option<Value> {
        let answer = self
            .http
            .post(format!("{}/api/v1/projects/T/webapps/fix/edits", self.url))
            .bearer_auth(&self.token)
            .json(&json!({ "source": "api", "edits": edits }))
            .send()
            .await
            .ok()?;
        let status = answer.status();
        let body: Value = answer.json().await.ok()?;
        assert!(status.is_success(), "{status}: {body}");
        Some(body)
    }

    /// Sets one cell, whatever is there.
    pub async fn set(&self, key: &str, column: &str, value: Value) -> Value {
        let answer = self.edit(json!([{ "action": "update", "key": key, "column": column, "value": value }])).await;
        answer.unwrap()["results"][0].clone()
    }

    /// Sends a JSON body and gives the answer, which has to be a success.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(body);
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}
