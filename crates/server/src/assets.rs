//! The built front end, embedded in the binary, and the page that is served when it was not built.

use std::fmt::Write;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

use crate::error::Problem;

#[derive(Embed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// Where the addresses begin that belong to programs: an unknown one is not a page.
const NOT_PAGES: [&str; 4] = ["/api/", "/webapps/", "/assets/", "/."];

/// Files below this have a hash of their content in their names and never change.
const HASHED: &str = "assets/";

const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Stet</title></head>\n\
    <body>\n<h1>Stet</h1>\n<p>This server was built without its pages. Run <code>make demo</code>, which builds both.</p>\n\
    <p>The API is there: see <a href=\"/openapi.json\">/openapi.json</a>.</p>\n</body>\n</html>\n";

/// Answers what no route does: a file of the front end, or its page, which finds its own way by the address.
pub(crate) async fn serve(request: Request) -> Response {
    let path = request.uri().path();
    let name = path.trim_start_matches('/');
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(file) = (!name.is_empty()).then(|| Dist::get(name)).flatten() {
        return if is_get {
            answer(name, &file, request.headers())
        } else {
            Problem::of_status(StatusCode::METHOD_NOT_ALLOWED).into_response()
        };
    }
    let is_page = is_get && path != "/api" && !NOT_PAGES.iter().any(|prefix| path.starts_with(prefix));
    if !is_page {
        return Problem::of_status(StatusCode::NOT_FOUND).into_response();
    }
    match Dist::get("index.html") {
        Some(page) => answer("index.html", &page, request.headers()),
        None => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            ];
            (headers, NOT_BUILT).into_response()
        }
    }
}

fn answer(name: &str, file: &EmbeddedFile, asked: &HeaderMap) -> Response {
    // Weak, since the same file may travel compressed.
    let tag = file.metadata.sha256_hash().iter().take(16).fold(String::from("W/\""), |mut tag, byte| {
        // Writing to a String cannot fail.
        let _ = write!(tag, "{byte:02x}");
        tag
    }) + "\"";
    let kept = if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    let known = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|tags| tags == "*" || tags.split(',').any(|known| known.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = with_charset(file.metadata.mimetype());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&kind).unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    (headers, Body::from(file.data.clone().into_owned())).into_response()
}

fn with_charset(kind: &str) -> String {
    if kind.starts_with("text/") || kind == "application/javascript" {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
    }
}
