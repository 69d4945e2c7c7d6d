//! Responses of the REST API: the result of a call, or an array of errors.

use axum::body::Body;
use axum::response::Response;
use http::header::LOCATION;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http as helpers;

/// An error of the REST API.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RestError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Option<Vec<String>>,
}

impl RestError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
            fields: None,
        }
    }

    pub(crate) fn bad_request(code: &'static str, message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "The requested resource does not exist".to_owned(),
        )
    }

    pub(crate) fn with_fields(self, fields: &[&str]) -> Self {
        Self {
            fields: Some(fields.iter().map(|name| (*name).to_owned()).collect()),
            ..self
        }
    }

    /// Rejects methods that a resource does not support.
    pub(crate) fn allow(method: &Method, allowed: &[Method]) -> Result<(), Self> {
        if allowed.contains(method) {
            return Ok(());
        }
        let list = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(",");
        let text = format!("HTTP Method '{method}' not allowed. Allowed are {list}");
        Err(Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            text,
        ))
    }

    pub(crate) fn response(&self) -> Response {
        let mut body = json!({ "message": self.message, "errorCode": self.code });
        if let Some(fields) = &self.fields {
            body["fields"] = json!(fields);
        }
        helpers::json(self.status, &[body])
    }
}

/// A successful response of the REST API.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn ok(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            location: None,
            body,
        }
    }

    pub(crate) fn value(value: &Value) -> Self {
        Self::ok(value.to_string())
    }

    pub(crate) fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            location: None,
            body: String::new(),
        }
    }

    pub(crate) fn response(self) -> Response {
        if self.status == StatusCode::NO_CONTENT {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = self.status;
            return response;
        }
        let mut response = helpers::answer(self.status, helpers::JSON, self.body);
        if let Some(location) = self.location {
            helpers::set(&mut response, LOCATION, &location);
        }
        response
    }
}
