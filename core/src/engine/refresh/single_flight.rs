//! One refresh at a time per connection in a process. Who leads runs in a task of the broker's own; callers wait for it, and
//! dropping a caller changes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{engine::cache::Entry, error::Error, id::ConnectionId};

/// How a refresh ended, for those who wait for it.
pub(crate) type Outcome = Result<Arc<Entry>, Error>;

/// Waits for a refresh. Waiters are woken in the order in which they came, so that a simulated run replays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    over: bool,
}

impl Waiter {
    /// The outcome, as soon as it is known; `None` if the leader ended without one.
    pub(crate) async fn outcome(&self) -> Option<Outcome> {
        loop {
            let changed = self.0.changed.notified();
            {
                let state = self.state();
                if state.outcome.is_some() || state.over {
                    return state.outcome.clone();
                }
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refreshes that are under way.
#[derive(Debug, Default)]
pub(crate) struct SingleFlight {
    map: Mutex<HashMap<ConnectionId, Waiter, foldhash::fast::RandomState>>,
}

/// The place of the one who refreshes. Dropping it, a panic included, frees the place.
#[derive(Debug)]
pub(crate) struct Leader {
    single_flight: Arc<SingleFlight>,
    id: ConnectionId,
    waiter: Waiter,
    freed: bool,
}

impl SingleFlight {
    /// Waits for the connection's refresh. Whoever gets the leader's place, too, must refresh.
    pub(crate) fn join(self: &Arc<Self>, id: &ConnectionId) -> (Waiter, Option<Leader>) {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiter) = map.get(id) {
            return (waiter.clone(), None);
        }
        let waiter = Waiter::default();
        map.insert(id.clone(), waiter.clone());
        let leader = Leader {
            single_flight: self.clone(),
            id: id.clone(),
            waiter: waiter.clone(),
            freed: false,
        };
        (waiter, Some(leader))
    }

    /// The connections whose refresh has not ended.
    pub(crate) fn running(&self) -> Vec<ConnectionId> {
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.keys().cloned().collect()
    }
}

impl Leader {
    /// Tells those who wait, and those who still come: the place stays taken.
    pub(crate) fn publish(&self, outcome: Outcome) {
        self.waiter.change(|state| state.outcome = Some(outcome));
    }

    /// Frees the place and tells those who wait; in this order, so that nobody who is told and asks again finds the refresh
    /// that is over.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.free();
        self.publish(outcome);
    }

    /// Once only: the place may be another refresh's by then.
    fn free(&mut self) {
        if !std::mem::replace(&mut self.freed, true) {
            self.single_flight
                .map
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.id);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.free();
        self.waiter.change(|state| state.over = true);
    }
}
