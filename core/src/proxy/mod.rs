//! Sends API calls on a user's behalf.
//!
//! A caller names a connection, a method and a path; the origin and the token come only from the sealed token set. The
//! provider's response is returned unchanged, except if it refuses the token: then the set is refreshed once and the call,
//! which did not run, is sent once more.
//!
//! | what | where |
//! |---|---|
//! | the request, checked | `request`, `path`, `headers` |
//! | bodies out and in | `body`, `arriving`, `response` |
//! | origins, connections, sending | `host`, `wire`, `client` |
//! | tokens, limits, the second try | `send` |

mod arriving;
mod body;
mod client;
mod headers;
mod host;
mod path;
mod request;
mod response;
mod send;
mod wire;

pub use body::ApiRequestBody;
pub(crate) use client::ProxyClient;
pub use request::ApiRequest;
pub use response::{ApiBody, ApiResponse};
pub(crate) use send::Proxy;
