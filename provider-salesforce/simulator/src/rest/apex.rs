//! Fictional Apex REST resources for testing proxies: echo, a stream of bytes, a sink, any status.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::request::Parts;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::http::{Form, answer, json as json_answer, read_body};
use crate::ids::hex;
use crate::rest::RestError;

const LARGEST_ECHO: usize = 8 * 1024 * 1024;
const CHUNK: usize = 16 * 1024;
static PATTERN: [u8; CHUNK] = pattern();

const fn pattern() -> [u8; CHUNK] {
    let letters = b"abcdefghijklmnopqrstuvwxyz012345";
    let mut bytes = [0; CHUNK];
    let mut place = 0;
    while place < CHUNK {
        bytes[place] = letters[place % 32];
        place += 1;
    }
    bytes
}

/// Answers a call below `/services/apexrest`.
pub(crate) async fn serve(parts: &Parts, path: &str, body: Body) -> Response {
    let query = Form::query(&parts.uri);
    match path {
        "/echo" => echo(parts, body).await,
        "/bytes" => bytes(&query),
        "/sink" => sink(body).await,
        "/status" => status(parts, &query, body).await,
        _ => {
            let text = "Could not find a match for URL".to_owned();
            RestError::new(StatusCode::NOT_FOUND, "NOT_FOUND", text).response()
        }
    }
}

/// Reports what arrived: method, path, query, headers, body.
async fn echo(parts: &Parts, body: Body) -> Response {
    let Some(body) = read_body(body, LARGEST_ECHO).await else {
        let text = "too large for echo".to_owned();
        return RestError::new(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_TOO_LARGE", text).response();
    };
    let mut headers = Map::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match headers.get_mut(name.as_str()) {
            Some(Value::String(earlier)) => {
                earlier.push_str(", ");
                earlier.push_str(&value);
            }
            _ => {
                headers.insert(name.as_str().to_owned(), Value::String(value));
            }
        }
    }
    let mut told = json!({
        "method": parts.method.as_str(), "path": parts.uri.path(), "query": parts.uri.query(),
        "headers": headers, "bodyBytes": body.len(),
    });
    match std::str::from_utf8(&body) {
        Ok(text) => told["body"] = Value::from(text),
        Err(_) => told["bodyBase64"] = Value::from(STANDARD.encode(&body)),
    }
    json_answer(StatusCode::OK, &told)
}

/// `?n=` bytes in chunks of 16 KiB, optionally with a pause of `?delay_ms=` before each.
fn bytes(query: &Form) -> Response {
    let number = |name| {
        query
            .get(name)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or_default()
    };
    let pause = Duration::from_millis(number("delay_ms"));
    let chunks = stream::unfold(number("n"), move |left| async move {
        if left == 0 {
            return None;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let size = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let left = left - u64::try_from(size).unwrap_or(left);
        Some((Ok::<_, io::Error>(Bytes::from_static(&PATTERN[..size])), left))
    });
    answer(
        StatusCode::OK,
        "application/octet-stream",
        Body::from_stream(chunks),
    )
}

/// Accepts a body of any size and returns its length and SHA-256.
async fn sink(mut body: Body) -> Response {
    let (mut count, mut hash) = (0_u64, Sha256::new());
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return RestError::bad_request("JSON_PARSER_ERROR", "the body ended early".to_owned()).response();
        };
        if let Some(data) = frame.data_ref() {
            count += u64::try_from(data.len()).unwrap_or_default();
            hash.update(data);
        }
    }
    json_answer(
        StatusCode::OK,
        &json!({ "bytes": count, "sha256": hex(&hash.finalize()) }),
    )
}

/// Responds with the status `?code=`, and with the body and content type of the request.
async fn status(parts: &Parts, query: &Form, body: Body) -> Response {
    let code = query
        .get("code")
        .and_then(|text| text.parse().ok())
        .and_then(|code| StatusCode::from_u16(code).ok());
    let body = read_body(body, LARGEST_ECHO).await.unwrap_or_default();
    let mut response = answer(code.unwrap_or(StatusCode::OK), crate::http::JSON, body);
    if let Some(content_type) = parts.headers.get(http::header::CONTENT_TYPE) {
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, content_type.clone());
    }
    response
}
