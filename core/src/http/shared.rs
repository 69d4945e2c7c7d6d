//! State shared by all handlers.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;

use super::{cookie::Cookies, key::AdminKeys};
use crate::Broker;

/// Bytes that are made on first use.
pub(super) type Lazy = LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) broker: Broker,
    pub(super) admin: AdminKeys,
    pub(super) deadline: Duration,
    pub(super) cookies: Cookies,
    /// The OpenAPI document. Set by the service: the document is made from the table, which names the handlers.
    pub(super) document: Lazy,
}
