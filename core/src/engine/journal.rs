//! Events: where they go, and the last ones that should not happen.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::limits;
use crate::{
    event::{Event, EventSink, What},
    id::{ConnectionId, IntegrationId},
    time::{Clock, Timestamp},
};

/// Something that should not happen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Incident {
    /// When.
    pub at: Timestamp,
    /// Of which integration.
    pub integration: IntegrationId,
    /// To which connection, if to one.
    pub connection: Option<ConnectionId>,
    /// What.
    pub what: What,
}

/// Tells the host's sink, and remembers incidents for `health`.
#[derive(Debug)]
pub(crate) struct Journal {
    clock: Arc<dyn Clock>,
    sink: Arc<dyn EventSink>,
    incidents: Mutex<VecDeque<Incident>>,
}

impl Journal {
    pub(crate) fn new(clock: Arc<dyn Clock>, sink: Arc<dyn EventSink>) -> Self {
        Self {
            clock,
            sink,
            incidents: Mutex::default(),
        }
    }

    pub(crate) fn emit(&self, integration: &IntegrationId, connection: Option<&ConnectionId>, what: What) {
        let event = Event {
            at: self.clock.wall(),
            integration: integration.clone(),
            connection: connection.cloned(),
            what,
        };
        tracing::debug!(integration = %event.integration, connection = ?event.connection, what = ?event.what, "event");
        if is_incident(&event.what) {
            self.remember(&event);
        }
        self.sink.emit(&event);
    }

    /// The last incidents, oldest first.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        let ring = self.incidents.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().cloned().collect()
    }

    fn remember(&self, event: &Event) {
        let mut ring = self.incidents.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == limits::INCIDENTS {
            ring.pop_front();
        }
        ring.push_back(Incident {
            at: event.at,
            integration: event.integration.clone(),
            connection: event.connection.clone(),
            what: event.what.clone(),
        });
    }
}

fn is_incident(what: &What) -> bool {
    matches!(
        what,
        What::OutcomeUnknown
            | What::Unsaved
            | What::Superseded
            | What::CameAfterCopy
            | What::StoreRolledBack
            | What::LatePresenter
            | What::RevocationGivenUp
            | What::IntegrationFault(_)
    )
}
