//! A store in memory, for tests and for hosts that may forget. It is also the example that authors of stores copy: one
//! file for each role, and every rule of the [contract](super) named where it is kept.
//!
//! All roles share one lock, so every call is atomic, and no lock is held at an await, so a dropped future has either
//! not begun or is done.

mod connection;
mod integration;
mod key;
mod pending;
mod usage;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Revision, StoreError, StoreErrorKind};
use crate::{
    random,
    time::{Clock, StoreInstant, SystemClock},
};

/// The name of this store's clock. It is constant: a store that lives in one process has one boot.
const ERA: u64 = 1;

/// A store that keeps everything in this process. Clones share the data.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: connection::Connections,
    integrations: integration::Integrations,
    pending: BTreeMap<[u8; 32], super::PendingRow>,
    keys: BTreeMap<crate::id::KeyId, super::KeyRow>,
    usage: BTreeMap<super::UsageKey, u64>,
}

impl MemoryStore {
    /// An empty store that takes its own time from the boot clock of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = Mutex::default();
        Self {
            shared: Arc::new(Shared { clock, state }),
        }
    }

    /// A call that panicked may have poisoned the lock; each call changes the state in its last steps only, so what it
    /// left is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> StoreInstant {
        StoreInstant {
            era: ERA,
            millis: self.shared.clock.boot().0,
        }
    }
}

/// An empty store on the machine's clock.
impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

/// The revision after `counter`: counted on, with a write id that was never used.
fn next_revision(counter: u64, operation: &'static str) -> Result<Revision, StoreError> {
    let write = random::id().map_err(|e| StoreError::new(StoreErrorKind::Unavailable, operation, e))?;
    Ok(Revision {
        counter: counter + 1,
        write,
    })
}
