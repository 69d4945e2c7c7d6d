//! Our own responses: JSON that must not be cached.

use std::io;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use zeroize::Zeroizing;

use super::body::Body;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A response with headers that forbid caching and content sniffing.
pub(super) fn bare(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

/// A JSON response. It may contain a token, so the buffer never grows, and is wiped when the response is dropped.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let mut count = Counter(0);
    let counted = serde_json::to_writer(&mut count, value);
    let mut text = Zeroizing::new(Vec::with_capacity(count.0));
    if counted
        .and_then(|()| serde_json::to_writer(&mut *text, value))
        .is_err()
    {
        // Our shapes have string keys only, so serialising them cannot fail.
        return bare(
            StatusCode::INTERNAL_SERVER_ERROR,
            JSON,
            Bytes::from_static(br#"{"error":"internal"}"#),
        );
    }
    bare(status, JSON, Bytes::from_owner(text))
}

/// 204, with a content type for clients that parse before they check the status.
pub(super) fn no_content() -> Response<Body> {
    bare(StatusCode::NO_CONTENT, JSON, Bytes::new())
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
