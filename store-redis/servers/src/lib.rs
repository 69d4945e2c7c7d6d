//! Redis servers of a test's own, on free ports of the loopback interface, each with a folder of its own: one server, a
//! primary with replicas and Sentinels, and a Cluster. Dropping them ends them. Or in network namespaces, between which
//! links can be cut.
//!
//! They need `redis-server` on the path, and `openssl` where TLS is wanted. What is missing, or does not come up, is a
//! panic that says what to do, as a test wants it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that has no server must end, and say why"
)]

mod cluster;
mod net;
mod sentinels;
mod server;

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

pub use cluster::Cluster;
pub use net::{Net, Seat};
pub use rustix::process::Signal;
pub use sentinels::Sentinels;
pub use server::Server;

/// Something that several tests use at the same time, and that ends with the last of them.
#[derive(Debug)]
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The one that is in use, or a new one.
    pub fn get(&self, new: impl FnOnce() -> T) -> Arc<T> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = shared.upgrade() {
            return shared;
        }
        let made = Arc::new(new());
        *shared = Arc::downgrade(&made);
        made
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Looks every ten milliseconds, for as long as a minute.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within a minute");
}
