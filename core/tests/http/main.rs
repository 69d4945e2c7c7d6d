//! Proves the HTTP surface in process: every answer is made by `HttpService::handle` on a broker with a store in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod ask;
mod browser;
mod causes;
mod connections;
mod credentials;
mod fake;
mod keys;
mod lists;
mod proxy;
mod surface;
#[path = "../proxy/upstream.rs"]
#[expect(
    dead_code,
    reason = "it is shared with the tests of the proxy, which use more of it"
)]
mod upstream;
mod world;
