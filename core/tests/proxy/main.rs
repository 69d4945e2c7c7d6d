//! Proves the proxy over real sockets: what is on the wire, what comes back, and what never happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod flow;
mod second;
mod upstream;
mod wire;
mod world;
