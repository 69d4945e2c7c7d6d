//! Bodies that are slow or incomplete.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};

/// The page of a maintenance window.
pub(crate) const MAINTENANCE: &str =
    "<html><head><title>Maintenance</title></head><body><h1>We are down for maintenance.</h1></body></html>";
/// The page of a failure behind the edge.
pub(crate) const FAILURE: &str = "<html><head><title>Error</title></head><body><h1>An internal server error has occurred.</h1></body></html>";

/// The error that truncates a body; the connection is closed with it.
pub(crate) fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "cut by a fault")
}

/// A status code; 500 if the number is not one.
pub(crate) fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Announces the length that the body should have.
pub(crate) fn with_length(mut response: Response, length: usize) -> Response {
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A body in pieces of `size` bytes, with a pause before each. `held` lives as long as the body.
pub(crate) fn slow<H: Send + 'static>(body: Bytes, size: usize, pause: Duration, held: H) -> Body {
    let size = size.max(1);
    Body::from_stream(stream::unfold((body, held), move |(mut rest, held)| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(size.min(rest.len()));
        Some((Ok::<_, io::Error>(piece), (rest, held)))
    }))
}

/// The first half of a body, then the truncation.
pub(crate) fn halved(body: &Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    Body::from_stream(stream::iter([Ok(half), Err(cut())]))
}
