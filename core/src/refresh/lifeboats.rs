//! Which token sets are safe in this process only, for those who must know before they stop it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{connection::SetName, health::Unsaved, id::ConnectionId, time::Timestamp};

/// A connection, and the random id of a set that came back for it.
type Key = (ConnectionId, u128);

/// All sets that are on their way into the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifeboats(Arc<Mutex<BTreeMap<Key, Place>>>);

#[derive(Debug)]
struct Place {
    spent: SetName,
    /// Since when it is known that the store does not take it, or might lose it.
    lowered: Option<Timestamp>,
}

/// One set's place; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Seat {
    boats: Lifeboats,
    key: Key,
}

impl Lifeboats {
    /// For a set that came back for `spent`, until it is safe in the store.
    pub(super) fn seat(&self, id: &ConnectionId, spent: SetName, set: u128) -> Seat {
        let key = (id.clone(), set);
        let place = Place { spent, lowered: None };
        self.map().insert(key.clone(), place);
        Seat {
            boats: self.clone(),
            key,
        }
    }

    /// The sets that are not safe, and will not be at once.
    pub(crate) fn list(&self) -> Vec<Unsaved> {
        let map = self.map();
        let unsaved = map.iter().filter_map(|((id, _), place)| {
            Some(Unsaved {
                connection: id.clone(),
                spent: place.spent,
                since: place.lowered?,
            })
        });
        unsaved.collect()
    }

    /// The connections that have a set which is not safe yet.
    pub(crate) fn connections(&self) -> Vec<ConnectionId> {
        self.map().keys().map(|(id, _)| id.clone()).collect()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The set cannot be made safe now; `true` if that is news.
    pub(super) fn lower(&self, since: Timestamp) -> bool {
        let mut map = self.boats.map();
        let Some(place) = map.get_mut(&self.key).filter(|place| place.lowered.is_none()) else {
            return false;
        };
        place.lowered = Some(since);
        metrics::gauge!("grantry_unsaved").increment(1.0);
        true
    }

    pub(super) fn is_lowered(&self) -> bool {
        let map = self.boats.map();
        map.get(&self.key).is_some_and(|place| place.lowered.is_some())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let place = self.boats.map().remove(&self.key);
        if place.is_some_and(|place| place.lowered.is_some()) {
            metrics::gauge!("grantry_unsaved").decrement(1.0);
        }
    }
}
