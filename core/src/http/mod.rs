//! The HTTP surface (feature `http`): connect pages, connections, credentials, the proxy and the admin routes.
//!
//! [`HttpService`] maps an [`http::Request`] to an [`http::Response`] and never fails, whatever it is sent. It depends on
//! no framework:
//!
//! - **axum**: `Router::new().fallback_service(service)`, or `.nest_service("/integrations", service)` under a prefix,
//!   which is then part of the broker's `public_url`.
//! - **poem**: `Route::new().nest("/", service.compat())`, with `poem::endpoint::TowerCompatExt` in scope.
//! - **actix-web**: a default handler of some twenty lines. It copies method, URI and headers into an [`http::Request`],
//!   wraps the `Payload` as a body ([`http_body_util::StreamBody`] over a channel, since a `Payload` is not `Send`),
//!   awaits [`HttpService::handle`], and passes the response's body on as a `BodyStream`.
//! - **hyper**: [`HttpService`] is a [`tower_service::Service`]; `hyper_util`'s `TowerToHyperService` takes it.
//!
//! A host that binds connect attempts to its own signed-in users calls `begin_connect` and `finish_connect` of the broker
//! in process instead, and handles `/callback/{integration}` itself, before this service sees it.
//!
//! The host provides TLS, the listener, limits on header sizes and on the number of connections, and any routes of its own.
//! Everything under `/api` responds with JSON and is checked against one table, from which `GET /openapi.json` is generated
//! as well: see [`routes`].
//!
//! ```
//! # use grantry::{Broker, http::HttpService, secret::Secret};
//! # fn service(broker: Broker) -> Result<HttpService, Box<dyn std::error::Error>> {
//! let service = HttpService::builder(broker)
//!     .admin_key(Secret::new("32-or-more-visible-characters-abcdef"))?
//!     .build();
//! # Ok(service)
//! # }
//! ```

mod activity;
mod answer;
mod body;
mod browser;
mod call;
mod connections;
mod cookie;
mod credentials;
mod details;
mod document;
mod integration_keys;
mod integrations;
mod json;
mod key;
mod openapi;
mod operations;
mod page;
mod param;
mod problem;
mod proxy;
mod query;
mod route;
mod router;
mod service;
mod shape;
mod shape_admin;
mod shape_health;
mod shared;
mod table;
mod template;

pub use body::Body;
pub use service::{HttpConfigError, HttpService, HttpServiceBuilder};
pub use table::{Caller, RouteInfo, routes};
