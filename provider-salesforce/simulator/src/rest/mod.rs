//! The REST API of the instance host: who may call, what is counted, which resource responds.

mod apex;
mod describe;
mod filter;
pub(crate) mod query;
pub(crate) mod records;
mod reply;
mod resources;
mod schema;
mod sobjects;
mod soql;
mod soql_lexer;
mod soql_parser;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;

use crate::fault_bodies as bodies;
use crate::http::{self as helpers, Form};
use crate::instance_faults::InstanceFaultKind;
use crate::log::Endpoint;
use crate::state::Shared;

pub(crate) use self::reply::{Reply, RestError};
pub(crate) use self::resources::LATEST;
use self::resources::{known_version, limits, resources, versions};

const LARGEST_BODY: usize = 64 * 1024 * 1024;
const LIMIT_INFO: HeaderName = HeaderName::from_static("sforce-limit-info");

/// An admitted caller.
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
    if !shared.pause(caller.latency).await {
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

/// Checks the session, and takes the pending fault for this call.
fn admit(shared: &Shared, parts: &Parts, path: &str) -> Result<Caller, RestError> {
    let token = helpers::bearer(&parts.headers).ok_or_else(bad_header)?;
    let now = shared.clock.now();
    let mut auth = shared.auth();
    let (_, family) = auth.session(token, now, true).ok_or_else(no_session)?;
    let allowed = ["api", "full", "web"].iter().any(|scope| family.has_scope(scope));
    let owner = family.user;
    if !auth.may_work(owner) {
        let text = "organization locked, closed or suspended".to_owned();
        return Err(RestError::new(StatusCode::FORBIDDEN, "ORG_LOCKED", text));
    }
    if !allowed {
        let text = "This session is not valid for use with the REST API".to_owned();
        return Err(RestError::new(
            StatusCode::UNAUTHORIZED,
            "INVALID_SESSION_ID",
            text,
        ));
    }
    let user = auth.users.get(owner).ok_or_else(no_session)?;
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

/// Routes a call below `/services/data/vNN.0` to its resource.
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

/// What a fault makes of a response.
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
