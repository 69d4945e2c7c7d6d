//! Which token sets live in this process only, for those who must know before they stop it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{connection::SetName, health::Unsaved, id::ConnectionId, time::Timestamp};

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifeboats(Arc<Mutex<BTreeMap<ConnectionId, Unsaved>>>);

/// One that is out; dropping it takes it in.
#[derive(Debug)]
pub(super) struct Out {
    boats: Lifeboats,
    id: ConnectionId,
}

impl Lifeboats {
    /// The set that came back for `spent` cannot be stored now.
    pub(super) fn lower(&self, id: &ConnectionId, spent: SetName, since: Timestamp) -> Out {
        metrics::gauge!("grantry_unsaved").increment(1.0);
        let unsaved = Unsaved {
            connection: id.clone(),
            spent,
            since,
        };
        self.map().insert(id.clone(), unsaved);
        Out {
            boats: self.clone(),
            id: id.clone(),
        }
    }

    /// The sets that are not stored.
    pub(crate) fn list(&self) -> Vec<Unsaved> {
        self.map().values().cloned().collect()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnectionId, Unsaved>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        metrics::gauge!("grantry_unsaved").decrement(1.0);
        self.boats.map().remove(&self.id);
    }
}
