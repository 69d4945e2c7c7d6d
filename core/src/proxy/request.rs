//! Requests to the provider's API.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use serde::Serialize;

use super::{
    body::{ApiRequestBody, Content, Tape, foreign},
    headers, path,
};
use crate::{
    error::{Code, Error},
    provider::ProviderFacts,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A call to the provider's API.
///
/// Building it never fails: mistakes are reported by `send`, before the call is counted or anything is sent. Which paths,
/// headers and query keys a provider's API takes is checked once the connection is found; everything else before.
///
/// ```
/// use grantry::proxy::ApiRequest;
///
/// let query = ApiRequest::get("/api/v2/contacts").query("q", "name = 'Ann Example'");
/// let update = ApiRequest::patch("/api/v2/contacts/42").json(&serde_json::json!({ "name": "Ann" }));
/// ```
#[must_use = "a request does nothing until it is sent"]
pub struct ApiRequest {
    method: Method,
    /// The path as given, followed by the appended pairs.
    target: String,
    /// The length of the path as given.
    given: usize,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers that a `Connection` header named.
    hop: Vec<HeaderName>,
    header_count: usize,
    header_bytes: usize,
    content: Content,
    timeout: Option<Duration>,
    /// The first mistake.
    fault: Option<Error>,
}

impl ApiRequest {
    /// A call with `method`: GET, HEAD, POST, PUT, PATCH or DELETE, in capitals. The path begins with `/` and may have
    /// a query; it must be percent-encoded already, and is sent as it is.
    pub fn new(method: impl TryInto<Method>, path: impl Into<String>) -> Self {
        const ALLOWED: [Method; 6] = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ];
        let method = method.try_into().ok().filter(|method| ALLOWED.contains(method));
        let fault = method.is_none().then(|| Code::MethodNotAllowed.into());
        let target = path.into();
        Self {
            method: method.unwrap_or(Method::GET),
            given: target.len(),
            target,
            headers: Vec::new(),
            hop: Vec::new(),
            header_count: 0,
            header_bytes: 0,
            content: Content::None,
            timeout: None,
            fault,
        }
    }

    /// A GET call.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A HEAD call.
    pub fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    /// A POST call.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// A PUT call.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// A PATCH call.
    pub fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    /// A DELETE call.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Appends a pair to the query, after the path's own query. Key and value are encoded.
    pub fn query(mut self, key: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (key, value) = (key.as_ref(), value.as_ref());
        if path::is_reserved(key) {
            return self.fail(Code::QueryReserved);
        }
        let target = &mut self.target;
        if target.len() == self.given && !target.contains('?') {
            target.push('?');
        } else if !target.ends_with(['?', '&']) {
            target.push('&');
        }
        path::encode(target, key);
        target.push('=');
        path::encode(target, value);
        self
    }

    /// Appends pairs to the query.
    pub fn query_pairs<K: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        pairs
            .into_iter()
            .fold(self, |request, (key, value)| request.query(key, value))
    }

    /// Adds a header. Headers on neither HTTP's nor the provider's list are dropped; those that authenticate, route or
    /// frame a request, or belong to one connection, are the broker's.
    pub fn header(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let Ok(name) = HeaderName::from_bytes(name.as_ref()) else {
            return self.fail(Code::HeaderNameInvalid);
        };
        let Ok(value) = HeaderValue::from_bytes(value.as_ref()) else {
            return self.fail(Code::HeaderValueInvalid);
        };
        self.add_header(&name, &value)
    }

    /// Adds the headers of a forwarded request, by the same rules.
    pub fn headers(self, headers: &HeaderMap) -> Self {
        headers
            .iter()
            .fold(self, |request, (name, value)| request.add_header(name, value))
    }

    fn add_header(mut self, name: &HeaderName, value: &HeaderValue) -> Self {
        self.header_count += 1;
        self.header_bytes += name.as_str().len() + value.len();
        if self.header_count > headers::MAX_HEADERS || self.header_bytes > headers::MAX_BYTES {
            return self.fail(Code::HeadersTooLarge);
        }
        if name == header::CONNECTION {
            self.hop.extend(headers::named(value));
        } else if headers::is_ours(name) {
            dropped(name);
        } else {
            self.headers.push((name.clone(), value.clone()));
        }
        self
    }

    /// Sends `value` as JSON, with that content type unless another is given.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => {
                if !self.headers.iter().any(|(name, _)| name == header::CONTENT_TYPE) {
                    self.headers.push((header::CONTENT_TYPE, JSON));
                }
                self.body(json)
            }
            Err(_) => self.fail(Code::BodyInvalid),
        }
    }

    /// Sends these bytes. They can be sent again after a refused token.
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.content = Content::Whole(bytes.into());
        self
    }

    /// Sends a stream, in constant memory. A stream of up to 64 KiB can be sent again after a refused token; a longer
    /// one cannot, and then the provider's 401 is handed back after the refresh.
    ///
    /// A stream that fails ends the call; if its error is an [`Error`], the caller gets that.
    pub fn stream<B>(mut self, body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.content = Content::Stream(Tape::new(UnsyncBoxBody::new(body.map_err(foreign))));
        self
    }

    /// How long the call may take until the response begins, including the wait for a refresh. 25 seconds by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query as they will be sent, not checked yet.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// How long the call may take until the response begins, if the caller set it.
    pub fn time_limit(&self) -> Option<Duration> {
        self.timeout
    }

    /// Converts it to a request of the `http` crate, for other implementations of [`Connection`](crate::Connection). The
    /// URI is path and query; the implementation adds origin and token, and enforces [`ApiRequest::time_limit`]. Headers
    /// that belong to the caller's own connection are removed. Which paths and headers the provider's API takes is not
    /// checked.
    ///
    /// # Errors
    /// A mistake in the request; `send` should return it.
    pub fn into_http(self) -> Result<http::Request<ApiRequestBody>, Error> {
        let mut call = self.check()?;
        let body = call.content.outgoing().ok_or(Code::Internal)?;
        let mut request = http::Request::new(ApiRequestBody::new(body));
        *request.method_mut() = call.method;
        *request.uri_mut() = call.target.into();
        request.headers_mut().extend(call.headers);
        Ok(request)
    }

    fn fail(mut self, code: Code) -> Self {
        self.fault.get_or_insert_with(|| code.into());
        self
    }

    /// Checks everything that does not depend on the provider, before anything happens.
    pub(super) fn check(self) -> Result<Call, Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        path::check(&self.target[..self.given])?;
        path::check_size(&self.target)?;
        let empty = match &self.content {
            Content::None => true,
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Stream(_) => false,
        };
        let bodiless = matches!(self.method, Method::GET | Method::HEAD);
        if bodiless && !empty {
            return Err(Code::BodyNotAllowed.into());
        }
        let length = self.target.len();
        let target = PathAndQuery::from_maybe_shared(Bytes::from(self.target))
            .map_err(|_| Error::new(Code::PathNotAscii))?;
        // The string that was checked is the one that is sent.
        if target.as_str().len() != length {
            return Err(Code::PathFragment.into());
        }
        let mut headers = self.headers;
        headers.retain(|(name, _)| !self.hop.contains(name));
        Ok(Call {
            method: self.method,
            target,
            headers,
            content: self.content,
            timeout: self.timeout,
        })
    }
}

fn dropped(header: &HeaderName) {
    tracing::debug!(header = header.as_str(), "a request header was dropped");
}

/// Shows method and path only: query, headers and body may contain secrets.
impl fmt::Debug for ApiRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        f.debug_struct("ApiRequest")
            .field("method", &self.method)
            .field("path", &path)
            .finish_non_exhaustive()
    }
}

/// A well-formed request. [`Call::fit`] checks the rest.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: Content,
    pub(super) timeout: Option<Duration>,
}

impl Call {
    /// Checks the rest, by the rules of the provider's API, and drops the headers that it does not take.
    ///
    /// # Errors
    /// `path_outside_api`, `query_reserved`.
    pub(super) fn fit(&mut self, provider: &ProviderFacts) -> Result<(), Code> {
        path::check_for(self.target.as_str(), provider)?;
        self.headers.retain(|(name, _)| {
            let sent = headers::is_sent(name, &provider.request_headers);
            if !sent {
                dropped(name);
            }
            sent
        });
        Ok(())
    }

    /// Whether sending it twice has the effect of sending it once.
    pub(super) fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::HeaderPattern;

    fn code(request: ApiRequest) -> &'static str {
        request.check().map(|_| ()).unwrap_err().code().as_str()
    }

    fn sent(request: ApiRequest) -> String {
        request.check().unwrap().target.to_string()
    }

    /// P33, and S51.
    #[test]
    fn methods() {
        for method in [
            "TRACE",
            "CONNECT",
            "OPTIONS",
            "FOO",
            "get",
            "G ET",
            "",
            &"A".repeat(300),
        ] {
            assert_eq!(
                code(ApiRequest::new(method, "/a")),
                "method_not_allowed",
                "{method}"
            );
        }
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            assert_eq!(ApiRequest::new(method, "/a").check().unwrap().method, method);
        }
    }

    /// P16: a query in the path and pairs beside it are merged. P21 to P23.
    #[test]
    fn queries_merge_and_are_encoded() {
        assert_eq!(
            sent(ApiRequest::get("/a").query("q", "a b").query("r", "é")),
            "/a?q=a%20b&r=%C3%A9"
        );
        assert_eq!(sent(ApiRequest::get("/a?x=1").query("q", "2")), "/a?x=1&q=2");
        assert_eq!(sent(ApiRequest::get("/a?x=1&").query("q", "2")), "/a?x=1&q=2");
        assert_eq!(sent(ApiRequest::get("/a?").query("q", "2")), "/a?q=2");
        assert_eq!(
            sent(ApiRequest::get("/a").query_pairs([("a", "1"), ("b", "?#")])),
            "/a?a=1&b=%3F%23"
        );
        assert_eq!(
            sent(ApiRequest::get("/a").query("q", "\r\nX: y")),
            "/a?q=%0D%0AX%3A%20y"
        );
        assert_eq!(
            code(ApiRequest::get("/a").query("access_token", "x")),
            "query_reserved"
        );
        assert_eq!(
            code(ApiRequest::get("/a").query_pairs((0..300).map(|n| (n.to_string(), "x")))),
            "query_too_large"
        );
        assert_eq!(
            code(ApiRequest::get("/a").query("q", "x".repeat(17_000))),
            "query_too_large"
        );
        // Appending to a bad path does not make it valid.
        assert_eq!(code(ApiRequest::get("/a#").query("q", "1")), "path_fragment");
        assert_eq!(code(ApiRequest::get("").query("q", "1")), "path_empty");
    }

    /// P24 to P26, P31, P32.
    #[test]
    fn headers_are_judged() {
        assert_eq!(
            code(ApiRequest::get("/a").header("authorization ", "x")),
            "header_name_invalid"
        );
        assert_eq!(
            code(ApiRequest::get("/a").header("authorization:", "x")),
            "header_name_invalid"
        );
        for value in ["a\r\nb", "a\nb", "a\0", "a\x7f"] {
            assert_eq!(
                code(ApiRequest::get("/a").header("accept", value)),
                "header_value_invalid"
            );
        }
        let many = (0..200).fold(ApiRequest::get("/a"), |request, n| {
            request.header(format!("x-{n}"), "x")
        });
        assert_eq!(code(many), "headers_too_large");
        let big = ApiRequest::get("/a").header("accept", "x".repeat(100_000));
        assert_eq!(code(big), "headers_too_large");
        let hop = ApiRequest::get("/a")
            .header("Accept", "text/plain")
            .header("If-Match", "x")
            .header("Author_ization", "x")
            .header("Cookie", "x")
            .header("X-Acme", "x")
            .header("X-Other", "x")
            .header("Connection", "authorization, Accept, keep-alive");
        let mut provider = ProviderFacts::new("acme", []);
        provider.request_headers = vec![HeaderPattern::Exact("x-acme".to_owned())];
        let mut hop = hop.check().unwrap();
        let names = |call: &Call| {
            call.headers
                .iter()
                .map(|(n, _)| n.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&hop), ["if-match", "x-acme", "x-other"]);
        hop.fit(&provider).unwrap();
        assert_eq!(names(&hop), ["if-match", "x-acme"]);
        hop.fit(&ProviderFacts::new("other", [])).unwrap();
        assert_eq!(hop.headers, [(header::IF_MATCH, HeaderValue::from_static("x"))]);
    }

    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("secret"))
        }
    }

    /// P35.
    #[test]
    fn bodies() {
        assert_eq!(code(ApiRequest::get("/a").body("x")), "body_not_allowed");
        assert_eq!(code(ApiRequest::head("/a").json(&1)), "body_not_allowed");
        assert_eq!(
            code(ApiRequest::get("/a").stream(http_body_util::Empty::new())),
            "body_not_allowed"
        );
        assert!(ApiRequest::get("/a").body("").check().is_ok());
        assert!(ApiRequest::delete("/a").body("x").check().is_ok());
        let json = ApiRequest::post("/a")
            .json(&serde_json::json!({"a": 1}))
            .check()
            .unwrap();
        assert_eq!(json.headers, [(header::CONTENT_TYPE, JSON)]);
        let own = ApiRequest::post("/a")
            .header("content-type", "application/merge-patch+json")
            .json(&1);
        assert_eq!(own.check().unwrap().headers[0].1, "application/merge-patch+json");
        assert_eq!(code(ApiRequest::post("/a").json(&Unwritable)), "body_invalid");
    }

    #[test]
    fn debug_shows_no_query_header_or_body() {
        let request = ApiRequest::post("/a?secret")
            .query("secret", "secret")
            .header("accept", "secret")
            .body("secret");
        let text = format!("{request:?}");
        assert!(text.contains("/a") && !text.contains("secret"), "{text}");
    }
}
