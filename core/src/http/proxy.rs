//! Calls to the provider: described in JSON, or passed through as they are.

use std::time::Duration;

use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::Body as _;

use super::{
    answer,
    body::{Body, Incoming},
    call::{self, Call, Content, Reply},
    problem::Problem,
    shape::ProxyCall,
};
use crate::{
    IntegrationHandle,
    error::Code,
    id::ConnectionId,
    proxy::{ApiRequest, ApiResponse},
};

/// The methods that the JSON form takes.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// `POST /api/v1/proxy/{provider}`.
pub(super) fn json(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let named = call
            .headers()
            .get("x-connection-id")
            .ok_or(Code::ConnectionIdMissing)?;
        let id: ConnectionId = named.to_str().map_err(|_| Code::IdInvalid)?.parse()?;
        let request = described(call.json()?, call.time_limit())?;
        let connection = integration.connection(&id);
        let sent = connection.send_to(Some(call.segment("provider")), request).await;
        let mut response = match sent {
            Ok(answer) => passed_on(answer),
            Err(error) => return Err(call::explain(&connection, error).await),
        };
        if response.status() == StatusCode::NO_CONTENT {
            // For clients that parse before they check the status.
            response.headers_mut().insert(header::CONTENT_TYPE, answer::JSON);
            *response.body_mut() = Body::empty();
        }
        Ok(response)
    })
}

fn described(call: ProxyCall, limit: Duration) -> Result<ApiRequest, Problem> {
    let ProxyCall {
        method,
        path,
        query,
        data,
    } = call;
    if !METHODS.contains(&&*method) {
        return Err(Problem::from(Code::FieldInvalid).because("method"));
    }
    let mut request = ApiRequest::new(&*method, path)
        .header("accept", "application/json")
        .timeout(limit)
        .query_pairs(query.unwrap_or_default().0);
    if let Some(data) = data
        && method != "GET"
    {
        request = request
            .header("content-type", "application/json")
            .body(data.into_bytes());
    }
    Ok(request)
}

/// `ANY /api/v1/connections/{id}/proxy/{path...}`.
pub(super) fn raw(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let id: ConnectionId = call.id("id")?;
        let mut target = call.segment("path").to_owned();
        if let Some(query) = call.parts.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let mut request = ApiRequest::new(call.method().clone(), target)
            .timeout(call.time_limit())
            .headers(call.headers());
        if let Content::Stream(body) = call.body
            && has_body(&call.parts.method, &call.parts.headers, &body)
        {
            request = request.stream(body);
        }
        let connection = integration.connection(&id);
        match connection.send(request).await {
            Ok(answer) => Ok(passed_on(answer)),
            Err(error) => Err(call::explain(&connection, error).await),
        }
    })
}

/// Whether there is a body to forward. A framework's empty body may not know that it is empty; then the headers decide.
fn has_body(method: &Method, headers: &HeaderMap, body: &Incoming) -> bool {
    if body.is_end_stream() {
        return false;
    }
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .map(|length| length.as_bytes() != b"0");
    let framed = announced.unwrap_or(headers.contains_key(header::TRANSFER_ENCODING));
    framed || body.size_hint().lower() > 0 || !matches!(*method, Method::GET | Method::HEAD)
}

/// The provider's response, not to be cached unless the provider allows it.
fn passed_on(answer: ApiResponse) -> Response<Body> {
    let mut response = answer.into_http().map(Body::api);
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, answer::NO_STORE);
    }
    response
}
