//! A client of a node, as a browser or a script would be.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// How long a test waits for an answer or a message before it fails.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client that keeps its cookies.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// What was asked, for messages.
    asked: String,
}

impl Client {
    pub(crate) fn new(base: &str) -> Client {
        let http = reqwest::Client::builder().cookie_store(true).no_proxy().build().expect("a client");
        Client { http, base: base.to_owned(), token: None }
    }

    /// The same client with an API token.
    pub fn with_token(mut self, token: &str) -> Client {
        self.token = Some(token.to_owned());
        self
    }

    /// A request to finish by hand and give to [`Client::send`].
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and reads the answer to its end.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.timeout(TIMEOUT).build().expect("a request");
        let asked = format!("{} {}", request.method(), request.url());
        let response = self.http.execute(request).await.unwrap_or_else(|error| panic!("{asked}: {error}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap_or_else(|error| panic!("{asked}: {error}"));
        Answer { status, headers, text, asked }
    }

    /// Sends a request and reads the answer to its end unless it is a success: a live stream has no end.
    pub async fn send_for_head(&self, request: RequestBuilder) -> Answer {
        let request = request.timeout(TIMEOUT).build().expect("a request");
        let asked = format!("{} {}", request.method(), request.url());
        let response = self.http.execute(request).await.unwrap_or_else(|error| panic!("{asked}: {error}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = if response.status().is_success() {
            String::new()
        } else {
            response.text().await.unwrap_or_else(|error| panic!("{asked}: {error}"))
        };
        Answer { status, headers, text, asked }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    /// Signs in; the client keeps the cookie.
    pub async fn sign_in(&self, login: &str, password: &str) -> Answer {
        self.post("/api/v1/session", &json!({ "login": login, "password": password })).await
    }

    /// Opens a live stream.
    pub async fn events(&self, path: &str) -> Events {
        let sent = tokio::time::timeout(TIMEOUT, self.request("GET", path).send()).await;
        let response = sent.expect("the stream opens in time").expect("the stream opens");
        assert_eq!(response.status().as_u16(), 200, "GET {path}");
        Events { response, buffer: String::new() }
    }
}

impl Answer {
    /// The answer if it has this status; the test fails otherwise.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text);
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}: {}", self.asked, self.text))
    }

    /// The problem document, after checking that the answer is one as RFC 9457 has it.
    #[track_caller]
    pub fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}: {}", self.asked, self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{}: {problem}", self.asked);
        }
        problem
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A text as it stands in a query string.
pub fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

/// A message of a live stream.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its type.
    pub name: String,
    /// Its data.
    pub data: Value,
}

/// An open live stream.
pub struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    /// The next message of this type; others before it are passed over.
    pub async fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("the stream ended before a message `{name}`"));
            if message.name == name {
                return message.data;
            }
        }
    }

    /// The next message; none when the stream has ended.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let message = message(block);
                self.buffer = rest.to_owned();
                match message {
                    Some(message) => return Some(message),
                    // A comment: a sign of life.
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(TIMEOUT, self.response.chunk()).await.expect("a message in time");
            let chunk = chunk.expect("the stream goes on")?;
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("the stream is UTF-8"));
        }
    }
}

fn message(block: &str) -> Option<Message> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    let data = field("data")?;
    let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
    Some(Message { name: field("event").unwrap_or_default(), data })
}
