//! Rows that this process leaves alone for a while, because nothing could be done about them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{engine::limits, id::ConnectionId, time::Timestamp};

/// Rows that this process leaves alone for a while.
#[derive(Debug, Default)]
pub(crate) struct Postponed(Mutex<HashMap<ConnectionId, Timestamp>>);

impl Postponed {
    pub(super) fn until(&self, id: &ConnectionId, at: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(id.clone(), at);
    }

    pub(super) fn holds(&self, id: &ConnectionId, now: Timestamp) -> bool {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A wall clock that was set back must not postpone for years.
        map.get(id)
            .is_some_and(|at| now < *at && now.until(*at) <= limits::POSTPONE_LONGEST)
    }

    pub(super) fn forget_past(&self, now: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, at| now < *at);
    }
}
