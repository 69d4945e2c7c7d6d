//! Which received token sets are not safe in the store yet, for those who must know before they stop the process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{connection::GrantVersion, id::ConnectionId, time::Timestamp};

/// A token set that is not saved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsaved {
    /// Whose.
    pub connection: ConnectionId,
    /// Which set it replaces.
    pub spent: GrantVersion,
    /// Since when.
    pub since: Timestamp,
}

/// A connection, and the random id of a set that came back for it.
type Key = (ConnectionId, u128);

/// All sets that are on their way into the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnsavedSets(Arc<Mutex<BTreeMap<Key, Place>>>);

#[derive(Debug)]
struct Place {
    spent: GrantVersion,
    /// Since when it is known that the store does not take it, or might lose it.
    unsaved_since: Option<Timestamp>,
}

/// Keeps a set in the list; dropping it takes the set out.
#[derive(Debug)]
pub(super) struct Guard {
    sets: UnsavedSets,
    key: Key,
}

impl UnsavedSets {
    /// For a set that came back for `spent`, until it is safe in the store.
    pub(super) fn insert(&self, id: &ConnectionId, spent: GrantVersion, write_id: u128) -> Guard {
        let key = (id.clone(), write_id);
        let place = Place {
            spent,
            unsaved_since: None,
        };
        self.map().insert(key.clone(), place);
        Guard {
            sets: self.clone(),
            key,
        }
    }

    /// The sets that could not be made safe at once.
    pub(crate) fn list(&self) -> Vec<Unsaved> {
        let map = self.map();
        let unsaved = map.iter().filter_map(|((id, _), place)| {
            Some(Unsaved {
                connection: id.clone(),
                spent: place.spent,
                since: place.unsaved_since?,
            })
        });
        unsaved.collect()
    }

    /// The connections that have a set which is not safe yet.
    pub(crate) fn connections(&self) -> Vec<ConnectionId> {
        self.map().keys().map(|(id, _)| id.clone()).collect()
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<Key, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// The set could not be made safe at once.
    pub(super) fn mark_unsaved(&self, since: Timestamp) {
        let mut map = self.sets.map();
        if let Some(place) = map
            .get_mut(&self.key)
            .filter(|place| place.unsaved_since.is_none())
        {
            place.unsaved_since = Some(since);
            metrics::gauge!("grantry_unsaved").increment(1.0);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let place = self.sets.map().remove(&self.key);
        if place.is_some_and(|place| place.unsaved_since.is_some()) {
            metrics::gauge!("grantry_unsaved").decrement(1.0);
        }
    }
}
