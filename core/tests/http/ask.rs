//! A request as a test writes it, and the answer as a test reads it.

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use grantry::http::{HttpService, routes};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

/// A request to be.
#[must_use]
pub(crate) struct Ask {
    service: HttpService,
    request: Request<Bytes>,
}

impl Ask {
    pub(crate) fn new(service: &HttpService, method: &str, target: &str) -> Self {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(target)
            .body(Bytes::new())
            .unwrap();
        Self {
            service: service.clone(),
            request,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = http::HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.request.headers_mut().append(name, value);
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is written by json! in place")]
    pub(crate) fn json(self, value: Value) -> Self {
        self.header("content-type", "application/json")
            .body(value.to_string())
    }

    /// Sends, and checks that an error of ours is one that the document tells of.
    pub(crate) async fn send(self) -> Got {
        let (method, path) = (
            self.request.method().clone(),
            self.request.uri().path().to_owned(),
        );
        let got = answer_of(&self.service, self.request).await;
        let code = got.code();
        if !matches!(&*code, "" | "route_unknown" | "method_not_allowed") {
            let documented = documented(&self.service).await;
            let template = template_of(&path).unwrap();
            let told = &documented[&(method.to_string(), template.to_owned())];
            assert!(
                told.contains(&format!("`{code}`")),
                "{method} {template} does not tell of {code}"
            );
        }
        got
    }

    /// Sends, and checks that it is refused as JSON with this status and code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &'static str) -> impl Future<Output = Got> {
        let place = std::panic::Location::caller();
        let what = format!("{} {} at {place}", self.request.method(), self.request.uri());
        async move {
            let got = self.send().await;
            assert_eq!(
                (got.status.as_u16(), got.code().as_str()),
                (status, code),
                "{what}: {}",
                got.text()
            );
            assert_eq!(got.header("content-type"), "application/json", "{what}");
            assert_eq!(got.header("cache-control"), "no-store", "{what}");
            let message = got.json()["message"].as_str().unwrap().to_owned();
            assert!(message.len() > 10, "{what}: {message}");
            got
        }
    }

    /// Sends, and gives the JSON of an answer with this status.
    #[track_caller]
    pub(crate) fn granted(self, status: u16) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let got = self.send().await;
            assert_eq!(got.status.as_u16(), status, "{} at {place}", got.text());
            assert_eq!(got.header("content-type"), "application/json");
            if got.body.is_empty() {
                Value::Null
            } else {
                got.json()
            }
        }
    }
}

async fn answer_of(service: &HttpService, request: Request<Bytes>) -> Got {
    let (parts, body) = service.handle(request.map(Full::new)).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Got {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// The template that a path is an instance of.
fn template_of(path: &str) -> Option<&'static str> {
    let fits = |template: &str| {
        let mut parts = path.strip_suffix('/').unwrap_or(path).split('/');
        for part in template.split('/') {
            if part.ends_with("...}") {
                return true;
            }
            if parts
                .next()
                .is_none_or(|given| part != given && !part.starts_with('{'))
            {
                return false;
            }
        }
        parts.next().is_none()
    };
    let slashes = |template: &&str| path.ends_with("//") || path == "/connect/" || fits(template);
    routes().map(|route| route.template).find(slashes)
}

/// What the document says about the errors of each method and template.
async fn documented(service: &HttpService) -> &'static BTreeMap<(String, String), String> {
    static DOCUMENTED: OnceLock<BTreeMap<(String, String), String>> = OnceLock::new();
    if let Some(known) = DOCUMENTED.get() {
        return known;
    }
    let request = Request::get("/openapi.json").body(Bytes::new()).unwrap();
    let document = answer_of(service, request).await.json();
    DOCUMENTED.get_or_init(|| {
        let errors = |template: &str, method: &str| {
            let responses =
                &document["paths"][template.replace("...", "")][method.to_ascii_lowercase()]["responses"];
            responses
                .as_object()
                .unwrap()
                .values()
                .map(|r| r["description"].to_string())
                .collect::<String>()
        };
        let each = |route: grantry::http::RouteInfo| {
            let told = move |method: &Method| (method.to_string(), route.template.to_owned());
            route.methods.iter().map(told).collect::<Vec<_>>()
        };
        routes()
            .flat_map(each)
            .map(|(method, template)| {
                let told = errors(&template, &method);
                ((method, template), told)
            })
            .collect()
    })
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    /// The stable code: of JSON, or of a page.
    pub(crate) fn code(&self) -> String {
        if let Ok(json) = serde_json::from_slice::<Value>(&self.body) {
            return json["error"].as_str().unwrap_or_default().to_owned();
        }
        let text = self.text();
        text.split_once("<code>")
            .and_then(|(_, rest)| rest.split_once("</code>"))
            .map_or_else(String::new, |(code, _)| code.to_owned())
    }

    /// The cookie that was set, as `name=value`.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie")
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned()
    }
}
