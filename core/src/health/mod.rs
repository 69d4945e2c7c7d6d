//! What needs attention: in this process, and in the rows of the store, whichever process wrote them.
//!
//! Everything that the refresh protocol cannot solve by itself ends up here, after one attempt: a token set that is not
//! saved yet, an outcome that is not known, a store that was rolled back, a late presentation.

mod collect;
mod diagnose;
mod doctor;
mod traps;

use std::time::Duration;

pub(crate) use doctor::Doctor;
pub use traps::{Trap, TrapKind};

pub use crate::engine::{journal::Incident, refresh::Unsaved};

use crate::{
    connection::Reason,
    engine::ledger::due::KeepAlive,
    error::Code,
    id::{ConnectionId, IntegrationId},
    integration::IntegrationState,
    store::Warning,
    time::Timestamp,
};

/// A snapshot of the broker's health. If the store cannot be reached, the parts that are read from it are empty.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// When the snapshot was taken.
    pub at: Timestamp,
    /// Why the store could not be read, if it could not.
    pub store_error: Option<Code>,
    /// The store's warnings about its durability. Not a danger by themselves, and not part of [`Health::is_well`].
    pub store: Vec<Warning>,
    /// Token sets that are safe in this process only: they could not be stored yet, and stopping it loses them; or the
    /// store has not confirmed that they would survive the loss of a machine.
    pub unsaved: Vec<Unsaved>,
    /// Connections with a refresh whose outcome is not known.
    pub outcome_unknown: Findings,
    /// Connections whose refresh was refused for now.
    pub cooling: Findings,
    /// Connections that need their user to reconnect.
    pub expired: Findings,
    /// Recent incidents of this process, oldest first: at most 256.
    pub incidents: Vec<Incident>,
    /// Token hosts that fail, and that the sweep leaves alone for now.
    pub token_hosts_down: Vec<TokenHostDown>,
    /// Integrations that do not serve as they should.
    pub integrations: Vec<IntegrationFinding>,
    /// The keys that sealed the store's contents.
    pub keys: Vec<KeyUse>,
    /// What this process does for unused connections.
    pub keep_alive: KeepAlive,
    /// How long the most overdue row has been due. More than some minutes mean that no process sweeps, or that the sweep
    /// falls behind.
    pub sweep_behind: Duration,
}

impl Health {
    /// Whether nothing is in danger: the store can be read, every received token set is saved, every outcome is known,
    /// every key is at hand, and the token hosts answer. Connections that expired or cool are no danger to others.
    pub fn is_well(&self) -> bool {
        self.store_error.is_none()
            && self.unsaved.is_empty()
            && self.outcome_unknown.items.is_empty()
            && self.token_hosts_down.is_empty()
            && self.keys.iter().all(|key| key.at_hand)
    }
}

/// Connections with one thing in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Findings {
    /// The newest ids, at most 100.
    pub items: Vec<Finding>,
    /// Whether there are more.
    pub more: bool,
}

/// A connection that may need attention.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which.
    pub connection: ConnectionId,
    /// Its integration.
    pub integration: IntegrationId,
    /// The reason, if there is one.
    pub reason: Option<Reason>,
    /// Since when, according to its history; `None` if the row cannot be read.
    pub since: Option<Timestamp>,
    /// When the sweep tries it again; `None` means never.
    pub next: Option<Timestamp>,
}

/// A token host that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenHostDown {
    /// Its name.
    pub host: String,
    /// How it failed last.
    pub reason: Reason,
    /// When the sweep tries it again. Callers without a live token do so at any time.
    pub retry_after: Duration,
}

/// An integration that does not serve as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IntegrationFinding {
    /// Which.
    pub integration: IntegrationId,
    /// Its state.
    pub state: IntegrationState,
    /// The reason, which may be the provider's refusal of its client; empty if unknown.
    pub reason: String,
}

/// A key and what it sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyUse {
    /// The key's id; empty for rows that hold nothing sealed.
    pub key: String,
    /// How many connections are sealed with it.
    pub connections: u64,
    /// Whether this process has it.
    pub at_hand: bool,
}
