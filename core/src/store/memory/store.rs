//! The data, and the lock around it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{connections::Connections, integrations::Integrations};
use crate::{
    id::KeyId,
    random,
    store::{KeyRow, PendingRow, Revision, StoreError, StoreErrorKind, UsageKey},
    time::{Clock, StoreInstant, SystemClock},
};

/// The name of this store's clock. It is constant: a store that lives in one process has one boot.
const CLOCK_ID: u64 = 1;

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
pub(super) struct State {
    pub(super) connections: Connections,
    pub(super) integrations: Integrations,
    pub(super) pending: BTreeMap<[u8; 32], PendingRow>,
    pub(super) keys: BTreeMap<KeyId, KeyRow>,
    pub(super) usage: BTreeMap<UsageKey, u64>,
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
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> StoreInstant {
        StoreInstant {
            clock_id: CLOCK_ID,
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
pub(super) fn next_revision(counter: u64, operation: &'static str) -> Result<Revision, StoreError> {
    let write = random::id().map_err(|e| StoreError::new(StoreErrorKind::Unavailable, operation, e))?;
    Ok(Revision {
        counter: counter + 1,
        write,
    })
}
