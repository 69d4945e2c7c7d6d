//! Turns any request into a response: routing, key checks, time limits, panics.

use std::{
    any::Any,
    convert::Infallible,
    error::Error as _,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{Either, select},
};
use http::{Method, Request, Response, request::Parts};
use http_body_util::BodyExt as _;
use tokio::time::Sleep;

use super::{
    body::{Body, Incoming},
    call::{Call, Content, Reply},
    cookie::Cookies,
    json, key, openapi, page,
    problem::Problem,
    query::Query,
    route::{Handler, Route, Verb},
    router::{self, Miss},
    shared::{Lazy, Shared},
};
use crate::{
    Broker,
    engine::limits,
    error::{Code, Error, Kind, causes},
    secret::Secret,
};

/// By when a response must have begun: the published client gives up after 30 seconds.
const DEADLINE: Duration = Duration::from_secs(25);
// A wait for a refresh, or the verification of a client, fits into it.
const _: () = assert!(limits::REFRESH_TIMEOUT.as_millis() < DEADLINE.as_millis());
const _: () = assert!(limits::VERIFY_CLIENT.as_millis() < DEADLINE.as_millis());

/// An invalid setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpConfigError {
    /// An admin key is too short, or has characters that are invalid in a header.
    #[error("admin_key_weak: an admin key has 32 or more visible ASCII characters, without spaces")]
    AdminKey,
    /// The deadline is under a second or over ten minutes.
    #[error("deadline_invalid: the deadline is 1 second to 10 minutes")]
    Deadline,
}

/// Puts an [`HttpService`] together.
#[derive(Debug)]
#[must_use]
pub struct HttpServiceBuilder {
    broker: Broker,
    admin: key::AdminKeys,
    deadline: Duration,
}

impl HttpServiceBuilder {
    /// Lets `key` manage integrations: any 32 or more visible ASCII characters. May be called several times, so that an old
    /// key stays valid until the new one is in use. Without one, only admin keys that the broker made open the admin
    /// routes.
    ///
    /// # Errors
    /// [`HttpConfigError::AdminKey`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the secret ends here; only its digest is kept"
    )]
    pub fn admin_key(mut self, key: Secret) -> Result<Self, HttpConfigError> {
        if self.admin.add(&key) {
            Ok(self)
        } else {
            Err(HttpConfigError::AdminKey)
        }
    }

    /// By when a response must have begun, including waits, refresh and upstream. 25 seconds by default.
    ///
    /// # Errors
    /// [`HttpConfigError::Deadline`].
    pub fn deadline(mut self, deadline: Duration) -> Result<Self, HttpConfigError> {
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&deadline) {
            return Err(HttpConfigError::Deadline);
        }
        self.deadline = deadline;
        Ok(self)
    }

    /// The service.
    pub fn build(self) -> HttpService {
        let Self {
            broker,
            admin,
            deadline,
        } = self;
        let public_url = broker.shared.parts.public_url.clone();
        let shared = Shared {
            broker,
            admin,
            deadline,
            cookies: Cookies::new(&public_url),
            document: Lazy::new(Box::new(move || {
                openapi::document(&public_url).to_string().into()
            })),
        };
        HttpService {
            shared: Arc::new(shared),
        }
    }
}

/// The HTTP surface of a [`Broker`]. Cheap to clone, always ready, and never fails.
#[derive(Clone)]
pub struct HttpService {
    shared: Arc<Shared>,
}

impl HttpService {
    /// A builder with the default settings.
    pub fn builder(broker: Broker) -> HttpServiceBuilder {
        HttpServiceBuilder {
            broker,
            admin: key::AdminKeys::default(),
            deadline: DEADLINE,
        }
    }

    /// Handles a request. Every failure is a response, too: JSON under `/api`, a page for browsers.
    ///
    /// # Cancel safety
    /// Refreshes and connect attempts run to their end, and a change is made completely or not at all. A proxied call is
    /// aborted; it may have run.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
    {
        let (parts, body) = request.into_parts();
        // The text of the caller's own failure is not repeated.
        let body = body
            .map_err(|_| Error::new(Code::BodyInvalid).because("stream"))
            .boxed_unsync();
        self.answer(parts, body).await
    }

    async fn answer(&self, parts: Parts, body: Incoming) -> Response<Body> {
        let method = parts.method.clone();
        let path = parts.uri.path();
        let first = path.split('/').nth(1);
        let browser = matches!(first, Some("connect" | "callback"));
        let found = router::find(&method, path);
        let label = found.as_ref().map_or("none", |route| route.template.0);
        let result = match found {
            Ok(route) => self.guarded(route, parts, body).await,
            Err(Miss::Path) => Err(Code::RouteUnknown.into()),
            Err(Miss::Method(allow)) => Err(Problem::allow(allow)),
        };
        let mut response = match result {
            Ok(response) => response,
            Err(problem) => self.refuse(problem, browser, label),
        };
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        let status = response.status();
        metrics::counter!("grantry_http_requests", "route" => label, "status" => status.as_str().to_owned())
            .increment(1);
        tracing::debug!(
            method = method.as_str(),
            route = label,
            status = status.as_u16(),
            "answered"
        );
        response
    }

    /// Runs a route; a panic becomes an error, without its message.
    async fn guarded(
        &self,
        route: &'static Route,
        parts: Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let work = AssertUnwindSafe(self.serve(route, parts, body)).catch_unwind();
        work.await.unwrap_or_else(|_: Box<dyn Any + Send>| {
            tracing::error!(route = route.template.0, "a handler panicked");
            Err(Code::Internal.into())
        })
    }

    async fn serve(
        &self,
        route: &'static Route,
        parts: Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let shared = &self.shared;
        let mut clock = pin!(tokio::time::sleep(shared.deadline));
        let broker = &shared.broker;
        key::refuse_duplicates(&parts.headers)?;
        let opened = match route.handler {
            Handler::Api(handler) => {
                key::refuse_in_url(&parts, &shared.admin, route.verb == Verb::Any)?;
                let key = key::api(broker, &shared.admin, &parts.headers);
                let integration = in_time(clock.as_mut(), key, Code::StoreUnavailable).await??;
                Opened::Api(handler, integration)
            }
            Handler::Admin(handler) => {
                key::refuse_in_url(&parts, &shared.admin, false)?;
                let key = key::admin(broker, &shared.admin, &parts.headers);
                in_time(clock.as_mut(), key, Code::StoreUnavailable).await??;
                Opened::Other(handler)
            }
            Handler::Browser(handler) | Handler::Open(handler) => Opened::Other(handler),
        };
        if !matches!(route.handler, Handler::Browser(_)) && route.verb != Verb::Any {
            Query::strict(parts.uri.query(), route.params)?;
        }
        let body = match route.takes {
            Some(takes) => {
                let read = json::read(&parts.headers, body, takes.limit);
                let text = in_time(clock.as_mut(), read, Code::RequestTimeout).await??;
                if text.is_empty() && takes.required {
                    return Err(Problem::from(Code::BodyInvalid).because("empty"));
                }
                Content::Json(text)
            }
            None => Content::Stream(body),
        };
        let call = Call {
            shared: shared.clone(),
            template: route.template,
            params: route.params,
            parts,
            body,
        };
        let reply = match opened {
            Opened::Api(handler, integration) => handler(call, integration),
            Opened::Other(handler) => handler(call),
        };
        if route.streams {
            return reply.await;
        }
        in_time(clock.as_mut(), reply, route.late).await?
    }

    fn refuse(&self, problem: Problem, browser: bool, route: &'static str) -> Response<Body> {
        let error = &problem.error;
        let (code, reason) = (error.code().as_str(), error.reason());
        if error.code().kind() == Kind::Internal {
            tracing::error!(route, code, reason, causes = causes(error), "a request failed");
        } else if error.source().is_some() {
            // The store, the vault or the network: the cause is only in the log.
            tracing::warn!(route, code, reason, causes = causes(error), "a request failed");
        }
        if browser {
            return page::problem(&problem);
        }
        let broker = &self.shared.broker;
        problem.into_json(|| {
            broker
                .offerings()
                .into_iter()
                .map(|offering| offering.id)
                .collect()
        })
    }
}

/// A handler, with what its key opened.
enum Opened {
    Api(
        fn(Call, crate::IntegrationHandle) -> Reply,
        crate::IntegrationHandle,
    ),
    Other(fn(Call) -> Reply),
}

/// Waits for `work` until the deadline.
async fn in_time<F: Future>(deadline: Pin<&mut Sleep>, work: F, late: Code) -> Result<F::Output, Error> {
    match select(deadline, pin!(work)).await {
        Either::Left(_) => Err(Error::new(late).because("deadline")),
        Either::Right((done, _)) => Ok(done),
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").finish_non_exhaustive()
    }
}

impl<B> tower_service::Service<Request<B>> for HttpService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.handle(request).await) })
    }
}
