//! Errors, to be rendered as a JSON body or a page.

use std::{borrow::Cow, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::{answer, body::Body};
use crate::{
    error::{Advice, Code, Error, Kind},
    id::IdError,
};

/// How long to wait before repeating a call that an operator must first make possible.
const REPAIR: Duration = Duration::from_secs(60);

/// An error, and what the HTTP surface adds to it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) error: Error,
    /// A reason that is not a constant, such as the name of one of our fields.
    reason: Option<Cow<'static, str>>,
    /// The methods that the route takes.
    allow: Option<String>,
    /// Where the user reconnects.
    reconnect_url: Option<String>,
}

impl Problem {
    pub(super) fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub(super) fn allow(methods: String) -> Self {
        let mut problem = Self::from(Code::MethodNotAllowed);
        problem.allow = Some(methods);
        problem
    }

    pub(super) fn reconnect_url(mut self, url: String) -> Self {
        self.reconnect_url = Some(url);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.error.code().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref().or_else(|| self.error.reason())
    }

    /// The response under `/api`.
    pub(super) fn into_json(self, offerings: impl FnOnce() -> Vec<String>) -> Response<Body> {
        let code = self.error.code();
        let reason = self.reason();
        let message = match reason {
            Some(reason) => format!("{} ({reason})", code.message()),
            None => code.message().to_owned(),
        };
        let plan = self.error.plan();
        let body = ErrorBody {
            error: code.as_str(),
            message: &message,
            reason,
            plan_limit: plan.map(|plan| plan.limit),
            current_usage: plan.map(|plan| plan.used),
            offerings: plan.map(|_| offerings()),
            reconnect_url: self.reconnect_url.as_deref(),
        };
        let mut response = answer::json(self.status(), &body);
        self.headers(&mut response);
        response
    }

    /// Headers that a status requires, on JSON and pages alike.
    pub(super) fn headers(&self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        if let Some(wait) = retry_after(&self.error) {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| allow.parse().ok()) {
            headers.insert(header::ALLOW, allow);
        }
    }
}

/// When the same call makes sense again. `None` if it may have run at the provider: then it must not be repeated blindly.
fn retry_after(error: &Error) -> Option<Duration> {
    let code = error.code();
    if !matches!(code.http_status(), 429 | 502 | 503 | 504) {
        return None;
    }
    error.wait().or_else(|| match (error.advice(), code.kind()) {
        (Advice::Retry { after }, _) => Some(after),
        (_, Kind::Configuration) => Some(REPAIR),
        _ => None,
    })
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self {
            error,
            reason: None,
            allow: None,
            reconnect_url: None,
        }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Error::new(code).into()
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Error::from(error).into()
    }
}

/// An error under `/api`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorBody<'a> {
    /// A stable code in snake_case.
    error: &'a str,
    /// What happened and what to do.
    message: &'a str,
    /// More about it, from a closed list: a field's name, or the provider's error as the broker classed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// With 429: calls that the plan allows per calendar month.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_limit: Option<u64>,
    /// With 429: calls made in this calendar month.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_usage: Option<u64>,
    /// With 429: the offerings of this broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    offerings: Option<Vec<String>>,
    /// With `connection_expired` and `connection_revoked`: a one-use URL where the user reconnects. The id is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    reconnect_url: Option<&'a str>,
}
