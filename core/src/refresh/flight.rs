//! One refresh at a time per connection in a process. A flight is a task of the broker's own; callers wait on it, and
//! dropping a caller changes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::cache::Entry;
use crate::{error::Error, id::ConnectionId};

/// How a flight ended.
pub(crate) type Landing = Result<Arc<Entry>, Error>;

/// Flights in the air.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    map: Mutex<HashMap<ConnectionId, watch::Receiver<Option<Landing>>, foldhash::fast::RandomState>>,
}

/// The flight's end of it. Dropping it, a panic included, frees the place.
#[derive(Debug)]
pub(crate) struct Pilot {
    flights: Arc<Flights>,
    id: ConnectionId,
    out: watch::Sender<Option<Landing>>,
}

impl Flights {
    /// The connection's flight, and its pilot if there was none yet: whoever gets the pilot must fly.
    pub(crate) fn join(
        self: &Arc<Self>,
        id: &ConnectionId,
    ) -> (watch::Receiver<Option<Landing>>, Option<Pilot>) {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = map.get(id) {
            return (flight.clone(), None);
        }
        let (out, flight) = watch::channel(None);
        map.insert(id.clone(), flight.clone());
        (
            flight,
            Some(Pilot {
                flights: self.clone(),
                id: id.clone(),
                out,
            }),
        )
    }

    /// The connections whose refresh has not ended.
    pub(crate) fn in_the_air(&self) -> Vec<ConnectionId> {
        self.map
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }
}

impl Pilot {
    /// Tells the waiting callers, and those who still come: the place stays taken.
    pub(crate) fn tell(&self, landing: Landing) {
        self.out.send_replace(Some(landing));
    }

    /// Frees the place and tells the waiting callers; in this order, so that nobody who is told and asks again finds
    /// the flight that is over.
    pub(crate) fn land(self, landing: Landing) {
        let out = self.out.clone();
        drop(self);
        out.send_replace(Some(landing));
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.flights
            .map
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}
