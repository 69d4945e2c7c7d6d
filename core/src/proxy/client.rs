//! The HTTP client under the proxy.
//!
//! It connects, pools connections and sends: nothing else. It follows no redirects, decompresses nothing, ignores proxies
//! of the environment, and sends a request a second time in one case only: when hyper hands it back whole, which means that
//! the connection ended before the request was begun.

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt, io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::time::Sleep;
use tower_service::Service as _;

use super::{
    arriving::Arriving,
    body::Outgoing,
    headers,
    host::Host,
    request::Call,
    wire::{Counted, Line, State, drive},
};
use crate::{
    connection::Credentials,
    engine::limits,
    error::{Code, Error},
    task::Tasks,
    transport::{ExtraRoots, PublicResolver, ResolveError, client_config},
};

/// How many hosts are known before the unused ones are forgotten.
const HOSTS: usize = 4096;
/// The longest header section of a response, in bytes.
const MAX_HEADERS: usize = 256 * 1024;

/// The client's time limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Resolving, connecting and the TLS handshake together.
    pub(crate) connect: Duration,
    /// From the beginning of a call until its answer begins.
    pub(crate) answer: Duration,
    /// Between two pieces of a body, either way.
    pub(crate) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: limits::CALL_CONNECT,
            answer: limits::CALL,
            idle: limits::CALL_IDLE,
        }
    }
}

/// Sends calls to providers' APIs, and keeps connections to them.
pub(crate) struct ProxyClient {
    connector: HttpsConnector<HttpConnector<PublicResolver>>,
    builder: http1::Builder,
    hosts: Mutex<Hosts>,
    pub(super) limits: Limits,
    allow_loopback: bool,
    /// The tasks that drive connections.
    tasks: Tasks,
}

#[derive(Debug)]
struct Hosts {
    known: HashMap<Box<str>, Arc<Host>, foldhash::fast::RandomState>,
    /// The number at which to drop unused ones.
    full: usize,
}

impl fmt::Debug for ProxyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyClient")
            .field("limits", &self.limits)
            .field("allow_loopback", &self.allow_loopback)
            .finish_non_exhaustive()
    }
}

/// A call that got no response.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    /// The response was lost: a call that is safe to repeat may be repeated.
    pub(super) lost: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, lost: false }
    }
}

/// The provider's response, unfiltered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Arriving,
}

impl ProxyClient {
    /// A client on the current runtime. `allow_loopback` permits http to loopback IP literals.
    ///
    /// # Errors
    /// `internal` if this machine has no root certificates, or outside of a runtime.
    pub(crate) fn new(allow_loopback: bool) -> Result<Self, Error> {
        Self::with(allow_loopback, Limits::default())
    }

    pub(crate) fn with(allow_loopback: bool, limits: Limits) -> Result<Self, Error> {
        let tasks =
            Tasks::on_current_runtime().ok_or_else(|| Error::new(Code::Internal).because("runtime"))?;
        let tls = client_config(&ExtraRoots::default(), allow_loopback)
            .map_err(|_| Error::new(Code::Internal).because("tls_roots"))?;
        let mut tcp = HttpConnector::new_with_resolver(PublicResolver::new());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let mut builder = http1::Builder::new();
        builder.max_header_size(MAX_HEADERS);
        let hosts = Hosts {
            known: HashMap::default(),
            full: HOSTS,
        };
        Ok(Self {
            connector,
            builder,
            hosts: Mutex::new(hosts),
            limits,
            allow_loopback,
            tasks,
        })
    }

    /// Sends one call with the set's token to the set's origin, and returns once the header section of the response is
    /// there. `sent` becomes true when the call may have reached the provider. `fresh` asks for a new connection.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the provider may have processed the call.
    pub(super) async fn send(
        &self,
        set: &Credentials,
        call: &Call,
        body: Outgoing,
        deadline: &mut Deadline<'_>,
        sent: &mut bool,
        fresh: bool,
    ) -> Result<Answer, Failed> {
        let host = self.host(&set.instance_url)?;
        if *host.origin != *set.instance_url {
            return Err(Error::new(Code::Internal).because("origin").into());
        }
        let mut request = compose(&host, &set.authorization, call, body);
        loop {
            let kept = if fresh { None } else { host.idle_line().await };
            let (mut line, kept) = match kept {
                Some(line) => (line, true),
                None => (self.dial(&host, deadline).await?, false),
            };
            line.begin();
            let before = std::mem::replace(sent, true);
            let answer = deadline
                .answer(line.sender.try_send_request(request), call, &line.state)
                .await?;
            match answer {
                Ok(answer) => {
                    line.answered();
                    let (parts, incoming) = answer.into_parts();
                    if parts.status.is_informational() {
                        return Err(Error::new(Code::UpstreamProtocol).into());
                    }
                    let body = Arriving::new(incoming, &host, line, self.limits.idle);
                    return Ok(Answer {
                        status: parts.status,
                        headers: parts.headers,
                        body,
                    });
                }
                Err(mut error) => match error.take_message() {
                    // The connection ended while it was idle, and the request was not begun.
                    Some(unsent) if kept => {
                        *sent = before;
                        request = unsent;
                    }
                    Some(_) => {
                        *sent = before;
                        return Err(Error::new(Code::UpstreamUnreachable).into());
                    }
                    None => return Err(judge(error.into_error(), call, &line.state)),
                },
            }
        }
    }

    fn host(&self, origin: &str) -> Result<Arc<Host>, Error> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.known.get(origin) {
            return Ok(host.clone());
        }
        let host = Arc::new(Host::parse(origin, self.allow_loopback)?);
        if hosts.known.len() >= hosts.full {
            hosts
                .known
                .retain(|_, host| Arc::strong_count(host) > 1 || !host.is_unused());
            hosts.full = HOSTS.max(2 * hosts.known.len());
        }
        hosts.known.insert(origin.into(), host.clone());
        Ok(host)
    }

    async fn dial(&self, host: &Host, deadline: &mut Deadline<'_>) -> Result<Line, Failed> {
        let dialled = deadline
            .dial(self.limits.connect, self.connector.clone().call(host.uri.clone()))
            .await;
        let stream = match dialled {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => return Err(unreachable(error).into()),
            None => return Err(Error::new(Code::UpstreamUnreachable).because("timeout").into()),
        };
        let state = Arc::new(State::default());
        let stream = TokioIo::new(Counted::new(TokioIo::new(stream), state.clone()));
        // No byte is sent by this handshake; it cannot fail in HTTP/1.1.
        let (sender, connection) = self
            .builder
            .handshake(stream)
            .await
            .map_err(|error| Error::new(Code::UpstreamUnreachable).caused_by(error))?;
        self.tasks.spawn(drive(connection, state.clone()));
        Ok(Line { sender, state })
    }

    /// Closes idle connections and waits for the others; `false` if `limit` passed first.
    pub(crate) async fn close(&self, limit: Duration) -> bool {
        for host in self
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .known
            .values()
        {
            host.hang_up();
        }
        self.tasks.close(limit).await
    }
}

fn compose(host: &Host, authorization: &HeaderValue, call: &Call, body: Outgoing) -> Request<Outgoing> {
    let given = call.headers.iter().map(|(name, value)| (name, value));
    let mut headers = headers::outgoing(given, &host.header, authorization);
    // RFC 9110 section 8.6: a method that usually has a body must say so if it has none.
    if body.is_end_stream() && matches!(call.method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = Uri::from(call.target.clone());
    *request.headers_mut() = headers;
    request
}

/// The time limit of a call, until its response begins.
pub(super) struct Deadline<'a> {
    pub(super) sleep: Pin<&'a mut Sleep>,
    /// How much a long body that makes progress extends it.
    pub(super) window: Duration,
}

impl Deadline<'_> {
    /// `None` if the deadline passed.
    pub(super) async fn or_none<F: Future>(&mut self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.sleep.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    async fn dial<F: Future>(&mut self, limit: Duration, work: F) -> Option<F::Output> {
        self.or_none(tokio::time::timeout(limit, work))
            .await
            .and_then(Result::ok)
    }

    /// Waits for the response. A long body may take any time to send, as long as it makes progress.
    async fn answer<F: Future>(&mut self, work: F, call: &Call, state: &State) -> Result<F::Output, Error> {
        let long = call.content.is_long();
        let mut written = None;
        let mut over = false;
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            loop {
                std::task::ready!(self.sleep.as_mut().poll(cx));
                let now = state.written();
                let moved = written.replace(now) != Some(now);
                if !long || over || !moved {
                    let error = Error::new(Code::UpstreamTimeout);
                    let stalled = !call.content.is_over();
                    return Poll::Ready(Err(if stalled {
                        error.because("body_stalled")
                    } else {
                        error
                    }));
                }
                over = matches!(call.content, super::body::Content::Stream(_)) && call.content.is_over();
                let next = self.sleep.deadline() + self.window;
                self.sleep.as_mut().reset(next);
            }
        })
        .await
    }
}

/// Why no connection could be made. Nothing of the call can have been sent.
fn unreachable(error: Box<dyn StdError + Send + Sync>) -> Error {
    Error::new(class(&*error)).caused_by(error)
}

fn class(error: &(dyn StdError + 'static)) -> Code {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref() == Some(&ResolveError::Forbidden) {
            return Code::TargetForbidden;
        }
        if error.is::<rustls::Error>() {
            return Code::UpstreamTls;
        }
        // The error that an I/O error wraps is not its source.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    Code::UpstreamUnreachable
}

/// Why a call that was begun got no response.
fn judge(error: hyper::Error, call: &Call, state: &State) -> Failed {
    if let Some(fault) = call.content.fault() {
        return fault.into();
    }
    if error.is_body_write_aborted() {
        return Error::new(Code::BodyInvalid).because("length").into();
    }
    if error.is_parse() || state.is_flooded() {
        return Error::new(Code::UpstreamProtocol).caused_by(error).into();
    }
    Failed {
        error: Error::new(Code::UpstreamLost).caused_by(error),
        lost: true,
    }
}
