//! The two listeners: accept, route, and close connections without a response where a fault requires it.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get, post};
use http::{StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service as _;

use crate::http::CloseConnection;
use crate::state::Shared;
use crate::{authorize, control, identity, login, pages, rest, revoke, token};

/// Which of the two hosts a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Login,
    Instance,
}

/// Makes hyper close a connection without an answer.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("closed without an answer")
    }
}

impl std::error::Error for Closed {}

/// The routes of a host. REST calls are handled before these.
pub(crate) fn routes(shared: &Arc<Shared>, host: Host) -> Router {
    let routes = Router::new()
        .route(
            "/services/oauth2/authorize",
            get(authorize::authorize).post(authorize::authorize),
        )
        .route("/services/oauth2/token", any(token::token))
        .route(
            "/services/oauth2/revoke",
            get(revoke::revoke).post(revoke::revoke),
        )
        .route("/services/oauth2/introspect", post(revoke::introspect))
        .route(
            "/services/oauth2/userinfo",
            get(identity::userinfo).post(identity::userinfo),
        )
        .route("/id/keys", get(identity::keys))
        .route(
            "/id/{org}/{user}",
            get(identity::identity).post(identity::identity),
        )
        .route("/.well-known/openid-configuration", get(identity::discovery))
        .route("/", get(pages::home))
        .route("/login", get(login::login_form).post(login::login))
        .route("/select", get(login::select_form).post(login::select))
        .route("/consent", get(login::consent_form).post(login::consent));
    let routes = match host {
        Host::Instance => routes,
        Host::Login => routes.merge(control::routes()),
    };
    routes.fallback(not_found).with_state(Arc::clone(shared))
}

async fn not_found() -> Response {
    crate::http::answer(
        StatusCode::NOT_FOUND,
        crate::http::HTML,
        "<html><body>URL No Longer Exists</body></html>",
    )
}

/// Accepts connections until the simulator stops.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, host: Host) {
    let router = routes(&shared, host);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        // A failure here concerns one connection, or too many open files: it is temporary.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        shared
            .tasks
            .spawn(connection(Arc::clone(&shared), stream, router.clone(), host));
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, router: Router, host: Host) {
    const LAST_WORDS: Duration = Duration::from_millis(500);
    // Otherwise small responses wait for acknowledgements; a failure to set it only costs time.
    drop(stream.set_nodelay(true));
    let service = {
        let shared = Arc::clone(&shared);
        service_fn(move |request| respond(Arc::clone(&shared), router.clone(), host, request))
    };
    let mut serving = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = serving.as_mut() => {}
        () = shared.stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            drop(tokio::time::timeout(LAST_WORDS, serving).await);
        }
    }
}

async fn respond(
    shared: Arc<Shared>,
    mut router: Router,
    host: Host,
    request: hyper::Request<Incoming>,
) -> Result<Response, Closed> {
    let request = request.map(Body::new);
    let path = request.uri().path();
    let response = if host == Host::Instance
        && (path.starts_with("/services/data")
            || path.starts_with("/services/apexrest")
            || path.contains("//"))
    {
        rest::serve(&shared, request).await
    } else {
        let answered: Result<Response, Infallible> = router.call(without_slash(request)).await;
        answered.unwrap_or_else(|never| match never {})
    };
    if response.extensions().get::<CloseConnection>().is_some() {
        Err(Closed)
    } else {
        Ok(response)
    }
}

/// Removes a trailing slash from a path.
fn without_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let short = path.trim_end_matches('/');
    if short.len() == path.len() || short.is_empty() {
        return request;
    }
    let target = request
        .uri()
        .query()
        .map_or_else(|| short.to_owned(), |query| format!("{short}?{query}"));
    if let Ok(uri) = target.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}
