//! The REST API of the instance host: who may call, what counts, which resource answers.

mod apex;
mod describe;
mod filter;
pub(crate) mod query;
pub(crate) mod records;
mod schema;
mod sobjects;
mod soql;
mod soql_lexer;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::fault_bodies as bodies;
use crate::faults::InstanceFaultKind;
use crate::http::{self as helpers, Form};
use crate::log::Endpoint;
use crate::state::Shared;
use crate::token::pause;

/// The version that `latest` stands for.
pub(crate) const LATEST: &str = "68.0";
const OLDEST_VERSION: u32 = 31;
const LATEST_VERSION: u32 = 68;
const LARGEST_BODY: usize = 64 * 1024 * 1024;
const LIMIT_INFO: HeaderName = HeaderName::from_static("sforce-limit-info");

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

    /// Refuses methods that a resource does not have.
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

    fn response(&self) -> Response {
        let mut body = json!({ "message": self.message, "errorCode": self.code });
        if let Some(fields) = &self.fields {
            body["fields"] = json!(fields);
        }
        helpers::json(self.status, &[body])
    }
}

/// A successful answer of the REST API.
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

    fn response(self) -> Response {
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

/// A caller who may go on.
#[derive(Debug)]
struct Caller {
    user: usize,
    user_id: String,
    org: usize,
    fault: Option<InstanceFaultKind>,
    latency: Duration,
    daily_limit: u64,
}

/// Answers a call below `/services/data` or `/services/apexrest`.
pub(crate) async fn serve(shared: &Arc<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if path.contains("//") {
        return refused(shared, &bad_header());
    }
    let path = path.trim_end_matches('/');
    if path == "/services/data" {
        shared.counters.add(Endpoint::Versions);
        let result = RestError::allow(&read_method(&parts.method), &[Method::GET]);
        return result.map_or_else(
            |error| error.response(),
            |()| Reply::value(&versions()).response(),
        );
    }
    let caller = match admit(shared, &parts, path) {
        Ok(caller) => caller,
        Err(error) => return refused(shared, &error),
    };
    if !pause(shared, caller.latency).await {
        return helpers::close_connection();
    }
    match &caller.fault {
        Some(InstanceFaultKind::Unauthorized) => return refused(shared, &no_session()),
        Some(InstanceFaultKind::Unavailable { html: true }) => {
            shared.counters.add(Endpoint::RestRefused);
            return helpers::answer(
                StatusCode::SERVICE_UNAVAILABLE,
                helpers::HTML,
                bodies::MAINTENANCE,
            );
        }
        Some(InstanceFaultKind::Unavailable { html: false }) => {
            let text = "The server is temporarily unavailable".to_owned();
            let error = RestError::new(StatusCode::SERVICE_UNAVAILABLE, "SERVER_UNAVAILABLE", text);
            return refused(shared, &error);
        }
        Some(InstanceFaultKind::Redirect { location, status }) => {
            shared.counters.add(Endpoint::RestRefused);
            return helpers::redirect_with(bodies::status(*status), location);
        }
        Some(InstanceFaultKind::Hang) => {
            shared.counters.add(Endpoint::RestRefused);
            shared.stop.cancelled().await;
            return helpers::close_connection();
        }
        _ => {}
    }
    let response = run(shared, &caller, &parts, path, body).await;
    spoil(response, caller.fault).await
}

/// Checks the session, takes the fault that waits for this call.
fn admit(shared: &Shared, parts: &Parts, path: &str) -> Result<Caller, RestError> {
    let token = helpers::bearer(&parts.headers).ok_or_else(bad_header)?;
    let now = shared.clock.now();
    let mut auth = shared.auth();
    let (_, family) = auth.session(token, now, true).ok_or_else(no_session)?;
    let allowed = ["api", "full", "web"].iter().any(|scope| family.has_scope(scope));
    let owner = family.user;
    let user = auth.users.get(owner).ok_or_else(no_session)?;
    if !allowed {
        let text = "This session is not valid for use with the REST API".to_owned();
        return Err(RestError::new(
            StatusCode::UNAUTHORIZED,
            "INVALID_SESSION_ID",
            text,
        ));
    }
    let (user_id, org) = (user.id18.clone(), user.user.org);
    let fault = if auth.faults.instance.is_empty() {
        None
    } else {
        auth.faults.take_instance(path)
    };
    Ok(Caller {
        user: owner,
        user_id,
        org,
        fault,
        latency: Duration::from_millis(auth.settings.instance_latency_ms),
        daily_limit: auth.settings.api_daily_limit,
    })
}

/// Counts the call and runs it.
async fn run(shared: &Arc<Shared>, caller: &Caller, parts: &Parts, path: &str, body: Body) -> Response {
    let Some(org) = shared.orgs.get(caller.org) else {
        return RestError::not_found().response();
    };
    let now = shared.clock.now();
    let (used, allowed) = org.data().count_call(caller.daily_limit, now);
    let mut response = if !allowed {
        let text = "TotalRequests Limit exceeded.".to_owned();
        refused(
            shared,
            &RestError::new(StatusCode::FORBIDDEN, "REQUEST_LIMIT_EXCEEDED", text),
        )
    } else if let Some(rest) = path.strip_prefix("/services/apexrest") {
        shared.counters.add(Endpoint::ApexRest);
        apex::serve(parts, rest, body).await
    } else {
        match helpers::read_body(body, LARGEST_BODY).await {
            Some(body) => resource(shared, caller, parts, path, &body)
                .map_or_else(|error| error.response(), Reply::response),
            None => RestError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "REQUEST_TOO_LARGE",
                "too large".to_owned(),
            )
            .response(),
        }
    };
    helpers::set(
        &mut response,
        LIMIT_INFO,
        &format!("api-usage={used}/{}", caller.daily_limit),
    );
    let cache = HeaderValue::from_static("no-cache,must-revalidate,max-age=0,no-store,private");
    response.headers_mut().insert(CACHE_CONTROL, cache);
    response
}

/// Leads a call below `/services/data/vNN.0` to its resource.
fn resource(
    shared: &Shared,
    caller: &Caller,
    parts: &Parts,
    path: &str,
    body: &Bytes,
) -> Result<Reply, RestError> {
    let mut segments = path.trim_start_matches("/services/data/").split('/');
    let version = segments
        .next()
        .and_then(known_version)
        .ok_or_else(RestError::not_found)?;
    let segments: Vec<&str> = segments.collect();
    let form = Form::query(&parts.uri);
    let overridden = form
        .get("_HttpMethod")
        .and_then(|name| Method::from_bytes(name.as_bytes()).ok());
    let method = overridden.filter(|_| parts.method == Method::POST);
    let method = method.unwrap_or_else(|| read_method(&parts.method));
    let org = shared.orgs.get(caller.org).ok_or_else(RestError::not_found)?;
    let now = shared.clock.now();
    let asked = query::Asked {
        version,
        headers: &parts.headers,
        user: caller.user,
        now,
    };
    let mut data = org.data();
    match segments.as_slice() {
        [] => {
            shared.counters.add(Endpoint::RestOther);
            RestError::allow(&method, &[Method::GET])?;
            Ok(Reply::value(&resources(version, &org.id18, &caller.user_id)))
        }
        ["limits"] => {
            shared.counters.add(Endpoint::RestOther);
            RestError::allow(&method, &[Method::GET])?;
            Ok(Reply::ok(limits(data.calls(), caller.daily_limit)))
        }
        [name @ ("query" | "queryAll")] => {
            shared.counters.add(Endpoint::Query);
            query::query(&mut data, &method, &form, &asked, *name == "queryAll")
        }
        ["query" | "queryAll", locator] => {
            shared.counters.add(Endpoint::Query);
            query::more(&data, &method, locator, &asked)
        }
        ["sobjects", below @ ..] => {
            shared.counters.add(Endpoint::Sobjects);
            let content_type = parts
                .headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            let call = sobjects::Call {
                version,
                method: &method,
                form: &form,
                is_json: content_type.is_some_and(|value| value.starts_with("application/json")),
                body,
                user_id: &caller.user_id,
                now,
            };
            sobjects::sobjects(&mut data, below, &call)
        }
        _ => {
            shared.counters.add(Endpoint::RestOther);
            Err(RestError::not_found())
        }
    }
}

/// What a fault makes of an answer.
async fn spoil(response: Response, fault: Option<InstanceFaultKind>) -> Response {
    match fault {
        Some(InstanceFaultKind::Close) => helpers::close_connection(),
        Some(InstanceFaultKind::CloseMidBody) => {
            let (parts, body) = response.into_parts();
            let whole = body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            bodies::with_length(
                Response::from_parts(parts, bodies::halved(&whole)),
                whole.len().max(1),
            )
        }
        Some(InstanceFaultKind::SlowBody { ms, bytes }) => {
            let (parts, body) = response.into_parts();
            let whole = body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            let length = whole.len();
            let slow = bodies::slow(whole, bytes, Duration::from_millis(ms), ());
            bodies::with_length(Response::from_parts(parts, slow), length)
        }
        _ => response,
    }
}

fn read_method(method: &Method) -> Method {
    if *method == Method::HEAD {
        Method::GET
    } else {
        method.clone()
    }
}

fn refused(shared: &Shared, error: &RestError) -> Response {
    shared.counters.add(Endpoint::RestRefused);
    error.response()
}

fn bad_header() -> RestError {
    RestError::new(
        StatusCode::UNAUTHORIZED,
        "INVALID_AUTH_HEADER",
        "INVALID_HEADER_TYPE".to_owned(),
    )
}

fn no_session() -> RestError {
    RestError::new(
        StatusCode::UNAUTHORIZED,
        "INVALID_SESSION_ID",
        "Session expired or invalid".to_owned(),
    )
}

fn known_version(segment: &str) -> Option<&str> {
    let version = segment.strip_prefix('v')?;
    let number: u32 = version.strip_suffix(".0")?.parse().ok()?;
    (OLDEST_VERSION..=LATEST_VERSION)
        .contains(&number)
        .then_some(version)
}

fn versions() -> Value {
    (OLDEST_VERSION..=LATEST_VERSION)
        .map(|number| {
            // v31.0 is Summer '14; three releases make a year, and a winter release belongs to the next one.
            let (season, year) = match (number - OLDEST_VERSION) % 3 {
                0 => ("Summer", 14 + (number - OLDEST_VERSION) / 3),
                1 => ("Winter", 15 + (number - OLDEST_VERSION) / 3),
                _ => ("Spring", 15 + (number - OLDEST_VERSION) / 3),
            };
            json!({
                "label": format!("{season} '{year}"),
                "url": format!("/services/data/v{number}.0"),
                "version": format!("{number}.0"),
            })
        })
        .collect()
}

fn resources(version: &str, org_id: &str, user_id: &str) -> Value {
    let path = |name: &str| format!("/services/data/v{version}/{name}");
    json!({
        "sobjects": path("sobjects"), "query": path("query"), "queryAll": path("queryAll"), "limits": path("limits"),
        "identity": format!("/id/{org_id}/{user_id}"),
    })
}

fn limits(used: u64, limit: u64) -> String {
    let remaining = limit.saturating_sub(used);
    format!(
        r#"{{"DailyApiRequests":{{"Max":{limit},"Remaining":{remaining}}},"DailyAsyncApexExecutions":{{"Max":250000,"Remaining":250000}},"DailyBulkApiBatches":{{"Max":15000,"Remaining":15000}},"DataStorageMB":{{"Max":1024,"Remaining":1000}},"FileStorageMB":{{"Max":1024,"Remaining":1024}},"HourlyPublishedPlatformEvents":{{"Max":50000,"Remaining":50000}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_their_seasons() {
        let versions = versions();
        let label = |number: usize| versions[number - 31]["label"].as_str().unwrap().to_owned();
        assert_eq!(
            [label(31), label(66), label(67), label(68)],
            ["Summer '14", "Spring '26", "Summer '26", "Winter '27"]
        );
        assert_eq!(known_version("v66.0"), Some("66.0"));
        assert_eq!(known_version("v30.0"), None);
        assert_eq!(known_version("v66"), None);
    }
}
