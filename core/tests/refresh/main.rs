//! Proves the refresh engine in paused time. The judge is the fake provider's log and the rows of the store, never the
//! broker's own counters.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unchecked_time_subtraction,
    unreachable_pub,
    reason = "a test, in paused time"
)]

mod answers;
mod causes;
mod confirm;
mod ended;
mod ensure;
mod freeze;
mod health;
mod herd;
mod hosts;
mod integration;
mod keep_alive;
mod owner;
mod processes;
mod refusals;
mod rollback;
mod shutdown;
mod slug;
#[path = "../support/mod.rs"]
mod support;
mod unknown;
mod unsaved;
