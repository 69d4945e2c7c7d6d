//! How a token request ends: with its response, or with what a fault makes of it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value};

use crate::client_auth::OAuthError;
use crate::fault_bodies as bodies;
use crate::faults::TokenFaultKind;
use crate::http as helpers;
use crate::in_flight::{HeldBody, Processing, Waiting};
use crate::state::Shared;
use crate::token_answer::Format;

/// The decision on a token request.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) verdict: Result<Map<String, Value>, OAuthError>,
    pub(crate) processing: Option<Processing>,
}

impl From<OAuthError> for Decision {
    fn from(error: OAuthError) -> Self {
        Self {
            verdict: Err(error),
            processing: None,
        }
    }
}

/// How long a fault delays processing.
pub(crate) fn lateness(fault: Option<&TokenFaultKind>) -> Duration {
    match fault {
        Some(TokenFaultKind::Late { ms, .. }) => Duration::from_millis(*ms),
        _ => Duration::ZERO,
    }
}

/// Runs the work and sends its outcome, or what a fault makes of it. Delayed work continues when the client leaves,
/// as at a real server.
pub(crate) async fn conclude(
    shared: &Arc<Shared>,
    fault: Option<TokenFaultKind>,
    waiting: Option<Waiting>,
    format: Format,
    takes_time: bool,
    work: impl Future<Output = Option<Decision>> + Send + 'static,
) -> Response {
    if let Some(fault) = fault.as_ref().filter(|fault| !fault.is_processed()) {
        return unprocessed(shared, fault, waiting).await;
    }
    if let Some(TokenFaultKind::Late { close: true, .. }) = fault {
        shared.tasks.spawn(work);
        return helpers::close_connection();
    }
    let decision = if takes_time {
        shared.tasks.spawn(work).await.ok().flatten()
    } else {
        work.await
    };
    let Some(Decision { verdict, processing }) = decision else {
        return helpers::close_connection();
    };
    let Some(fault) = fault.filter(|fault| !matches!(fault, TokenFaultKind::Late { .. })) else {
        return answer(&verdict, format, waiting, processing);
    };
    drop(processing);
    garbled(shared, fault, &verdict, waiting, format).await
}

/// Sends a decision.
pub(crate) fn answer(
    verdict: &Result<Map<String, Value>, OAuthError>,
    format: Format,
    waiting: Option<Waiting>,
    processing: Option<Processing>,
) -> Response {
    let (status, body) = render(verdict, format);
    let body = HeldBody {
        body: Full::new(Bytes::from(body)),
        _waiting: waiting,
        _processing: processing,
    };
    helpers::no_store(helpers::answer(status, format.content_type(), Body::new(body)))
}

fn render(verdict: &Result<Map<String, Value>, OAuthError>, format: Format) -> (StatusCode, Vec<u8>) {
    match verdict {
        Ok(fields) => (StatusCode::OK, format.render(fields)),
        Err(OAuthError { error, description }) => {
            let mut fields = Map::new();
            fields.insert("error".to_owned(), Value::from(*error));
            fields.insert("error_description".to_owned(), Value::from(*description));
            (StatusCode::BAD_REQUEST, format.render(&fields))
        }
    }
}

/// The response to a request that a fault keeps from being processed.
async fn unprocessed(shared: &Shared, fault: &TokenFaultKind, waiting: Option<Waiting>) -> Response {
    match fault {
        TokenFaultKind::Error {
            error,
            error_description,
            status,
            retry_after,
        } => {
            let body = serde_json::json!({ "error": error, "error_description": error_description });
            let mut response = helpers::no_store(helpers::json(bodies::status(*status), &body));
            if let Some(seconds) = retry_after {
                response
                    .headers_mut()
                    .insert(http::header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            response
        }
        TokenFaultKind::Html503 => helpers::answer(
            StatusCode::SERVICE_UNAVAILABLE,
            helpers::HTML,
            bodies::MAINTENANCE,
        ),
        TokenFaultKind::Redirect { location, status } => {
            helpers::redirect_with(bodies::status(*status), location)
        }
        TokenFaultKind::Hang { .. } => {
            shared.stop.cancelled().await;
            drop(waiting);
            helpers::close_connection()
        }
        _ => helpers::close_connection(),
    }
}

/// The response to a processed request, spoilt by a fault.
async fn garbled(
    shared: &Shared,
    fault: TokenFaultKind,
    verdict: &Result<Map<String, Value>, OAuthError>,
    waiting: Option<Waiting>,
    format: Format,
) -> Response {
    let (status, body) = render(verdict, format);
    match fault {
        TokenFaultKind::Hang { .. } => {
            shared.stop.cancelled().await;
            drop(waiting);
            helpers::close_connection()
        }
        TokenFaultKind::Drip { ms } => {
            let pieces = bodies::slow(Bytes::from(body.clone()), 1, Duration::from_millis(ms), waiting);
            bodies::with_length(helpers::answer(status, format.content_type(), pieces), body.len())
        }
        TokenFaultKind::Truncated => {
            let body = Bytes::from(body);
            let cut = helpers::answer(status, format.content_type(), bodies::halved(&body));
            bodies::with_length(cut, body.len())
        }
        TokenFaultKind::FailedAfterCommit { status } => {
            helpers::answer(bodies::status(status), helpers::HTML, bodies::FAILURE)
        }
        TokenFaultKind::Garbage { body, content_type } => {
            let mut response = helpers::answer(StatusCode::OK, helpers::HTML, body);
            helpers::set(&mut response, http::header::CONTENT_TYPE, &content_type);
            response
        }
        TokenFaultKind::Extra { member } => {
            let rest = String::from_utf8_lossy(&body).replacen('{', &format!("{{{member},"), 1);
            helpers::no_store(helpers::answer(status, format.content_type(), rest))
        }
        TokenFaultKind::Oversized { bytes } => {
            let mut fields = verdict.clone().unwrap_or_default();
            fields.insert("padding".to_owned(), Value::from("x".repeat(bytes)));
            helpers::no_store(helpers::answer(
                status,
                format.content_type(),
                format.render(&fields),
            ))
        }
        _ => helpers::close_connection(),
    }
}
