//! One refresh at a time per connection in a process. A flight is a task of the broker's own; callers wait on it, and
//! dropping a caller changes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::cache::Entry;
use crate::{error::Error, id::ConnectionId};

/// How a flight ended.
pub(crate) type Landing = Result<Arc<Entry>, Error>;

/// Where those who wait for a flight look. They are woken in the order in which they came, so that a simulated run
/// replays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    said: Mutex<Said>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Said {
    landing: Option<Landing>,
    over: bool,
}

impl Board {
    /// How the flight ended, as soon as that is told; `None` if it ended without a word.
    pub(crate) async fn landing(&self) -> Option<Landing> {
        loop {
            let news = self.0.news.notified();
            {
                let said = self.said();
                if said.landing.is_some() || said.over {
                    return said.landing.clone();
                }
            }
            news.await;
        }
    }

    fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said());
        self.0.news.notify_waiters();
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Flights in the air.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    map: Mutex<HashMap<ConnectionId, Board, foldhash::fast::RandomState>>,
}

/// The flight's end of it. Dropping it, a panic included, frees the place.
#[derive(Debug)]
pub(crate) struct Pilot {
    flights: Arc<Flights>,
    id: ConnectionId,
    board: Board,
    freed: bool,
}

impl Flights {
    /// The connection's flight, and its pilot if there was none yet: whoever gets the pilot must fly.
    pub(crate) fn join(self: &Arc<Self>, id: &ConnectionId) -> (Board, Option<Pilot>) {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(board) = map.get(id) {
            return (board.clone(), None);
        }
        let board = Board::default();
        map.insert(id.clone(), board.clone());
        let pilot = Pilot {
            flights: self.clone(),
            id: id.clone(),
            board: board.clone(),
            freed: false,
        };
        (board, Some(pilot))
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
        self.board.say(|said| said.landing = Some(landing));
    }

    /// Frees the place and tells the waiting callers; in this order, so that nobody who is told and asks again finds
    /// the flight that is over.
    pub(crate) fn land(mut self, landing: Landing) {
        self.free();
        self.tell(landing);
    }

    /// Once only: the place may be another flight's by then.
    fn free(&mut self) {
        if !std::mem::replace(&mut self.freed, true) {
            self.flights
                .map
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.id);
        }
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.free();
        self.board.say(|said| said.over = true);
    }
}
