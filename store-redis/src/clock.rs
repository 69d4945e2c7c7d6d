//! The store's clock: the server's, named after the run of the server.
//!
//! It is wall time, so the server's clock must be kept without jumps. A run ends with a restart and with a failover, and
//! the next server's clock may stand elsewhere: a turn whose time was read on the one must not seem to be over, or not
//! yet over, on the other. Moments of two runs therefore do not compare, and whoever finds a turn of another run waits
//! as long as it could still last. What this costs is one such wait for each refresh that was under way.

use grantry::time::StoreInstant;

use crate::hash::hash;

/// The name of the clock of this run of the server at this address; of all its runs if it does not tell them apart.
pub(crate) fn era(run: Option<&str>, address: &str) -> u64 {
    match run {
        Some(run) => hash(&[run.as_bytes()]),
        None => hash(&[b"", address.as_bytes()]),
    }
}

/// A moment as the server's `TIME` tells it.
pub(crate) fn moment(era: u64, seconds: u64, micros: u64) -> StoreInstant {
    let millis = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    StoreInstant { era, millis }
}
