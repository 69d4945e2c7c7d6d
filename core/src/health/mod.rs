//! What needs somebody's eyes: in this process, and in the rows of the store whichever process wrote them.
//!
//! Everything that the refresh protocol cannot solve by itself ends up here, after one attempt: a token set that is not
//! saved yet, an outcome that is not known, a store that was rolled back, a presenter that came late.

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

/// A snapshot of the broker's health. Answered also when the store cannot be reached; what stands in the store is empty then.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// When it was looked at.
    pub at: Timestamp,
    /// Why the store could not be read, if it could not.
    pub store_error: Option<Code>,
    /// What the store says of how it keeps what is written. No danger by itself, and no part of [`Health::is_well`].
    pub store: Vec<Warning>,
    /// Token sets that are safe in this process only: they could not be stored yet, and stopping it loses them; or the
    /// store does not know whether they would survive the loss of a machine.
    pub unsaved: Vec<Unsaved>,
    /// Connections of which a refresh was sent whose outcome is not known.
    pub outcome_unknown: Findings,
    /// Connections whose refresh was refused for now.
    pub cooling: Findings,
    /// Connections that need their user to reconnect.
    pub expired: Findings,
    /// What happened in this process lately that should not, oldest first: at most 256.
    pub incidents: Vec<Incident>,
    /// Token hosts that fail, so that the sweep does not ask there for now.
    pub token_hosts_down: Vec<TokenHostDown>,
    /// Integrations that do not serve as they should.
    pub integrations: Vec<IntegrationFinding>,
    /// The keys that sealed what is in the store.
    pub keys: Vec<KeyUse>,
    /// What this process does for connections that nobody uses.
    pub keep_alive: KeepAlive,
    /// How long the row has waited that is due for longest. More than some minutes say that no process sweeps, or that
    /// the sweep does not get on.
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

/// A connection that somebody may want to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which.
    pub connection: ConnectionId,
    /// Of which integration.
    pub integration: IntegrationId,
    /// Why, where there is a reason.
    pub reason: Option<Reason>,
    /// Since when, as its history says; `None` if the row cannot be read.
    pub since: Option<Timestamp>,
    /// When it is tried again without anybody asking; `None` is never.
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
    /// When the sweep tries it again. Callers without a living token do so at any time.
    pub retry_after: Duration,
}

/// An integration that does not serve as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IntegrationFinding {
    /// Which.
    pub integration: IntegrationId,
    /// Where it stands.
    pub state: IntegrationState,
    /// Why; empty if that is not known. The provider's refusal of its client stands here, too.
    pub reason: String,
}

/// A key and what it sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyUse {
    /// The key's id; empty for rows that hold nothing sealed.
    pub key: String,
    /// How many connections it sealed.
    pub connections: u64,
    /// Whether this process was given it.
    pub at_hand: bool,
}
