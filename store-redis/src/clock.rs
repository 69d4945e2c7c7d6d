//! The store's clock: the server's own, named after the server run.
//!
//! It is wall time, so the server's clock must not be stepped. A run ends with a restart or a failover, and the next
//! server's clock may differ: a lease whose time was read on one server must not look expired, or unexpired, on the
//! other. Instants of different runs therefore do not compare, and a reader who finds a lease of another run waits
//! for as long as it could still last. The price is one such wait per refresh that was under way.

use grantry::time::StoreInstant;

use crate::hash::hash;

/// The id of the clock of this server run at this address. It covers all runs of a server that does not tell them
/// apart.
pub(crate) fn clock_id(run: Option<&str>, address: &str) -> u64 {
    match run {
        Some(run) => hash(&[run.as_bytes()]),
        None => hash(&[b"", address.as_bytes()]),
    }
}

/// An instant from the server's reply to `TIME`.
pub(crate) fn moment(clock_id: u64, seconds: u64, micros: u64) -> StoreInstant {
    let millis = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    StoreInstant { clock_id, millis }
}
