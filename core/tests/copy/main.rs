//! Proves that a store can be copied to another one while both are used: no refresh token ever has two owners. The judge is
//! the fake provider's log and the rows of both stores.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test, in paused time"
)]

mod back;
mod connects;
mod crash;
mod late;
mod owners;
mod slugs;
#[path = "../support/mod.rs"]
mod support;
mod two;
mod wrong;
