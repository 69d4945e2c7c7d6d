//! Times and rules.

use std::time::Duration;

use crate::{engine::limits, provider::Rotation};

/// The protocol's times and rules. Every process that shares a store must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What presenting a token twice means.
    pub rotation: Rotation,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How long a presentation may take in all.
    pub time_limit: Duration,
    /// How soon after the lease was taken it must be sent.
    pub gate: Duration,
    /// How long nothing is presented after an unknown outcome.
    pub quarantine: Duration,
    pub(crate) rules: Rules,
}

impl Policy {
    /// The times that the broker uses.
    pub fn new(rotation: Rotation) -> Self {
        Self {
            rotation,
            lease: limits::LEASE,
            time_limit: limits::PRESENTATION,
            gate: limits::GATE,
            quarantine: limits::QUARANTINE,
            rules: Rules::ALL,
        }
    }

    /// How long nothing is presented after the `attempt`th presentation had no known outcome. An outage marks nobody
    /// dead; it only makes the probes rarer.
    pub(crate) fn quarantine_after(&self, attempt: u32) -> Duration {
        let [first, second, third, later] = limits::QUARANTINES;
        let times = match attempt {
            0 | 1 => first,
            2 => second,
            3 => third,
            _ => later,
        };
        self.quarantine * times
    }

    /// Which protective rules are on.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The same policy with some protective rules switched off, to show what they are worth.
    #[cfg(any(test, feature = "simulation"))]
    #[must_use]
    pub fn without(mut self, off: impl FnOnce(&mut Rules)) -> Self {
        off(&mut self.rules);
        self
    }
}

/// The protective rules. All are on; only tests can switch one off, and then something dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Cooling and give-back keep an unresolved unknown.
    pub keep_unknown: bool,
    /// A later presentation waits until the access token is dead.
    pub wait_for_death: bool,
    /// A set that came late is tried before it counts as healthy.
    pub verify_late: bool,
    /// Unknown outcomes, refusals and give-backs are written by the lease's holder only.
    pub holder_only: bool,
    /// Nothing is presented during the quarantine.
    pub quarantine: bool,
    /// A set of an earlier epoch is not stored.
    pub epoch: bool,
    /// A lease that lapsed is an unknown outcome.
    pub intent: bool,
    /// However often the outcome is unknown, that alone marks nothing dead.
    pub no_cap: bool,
    /// One's own write is known again by the set's id.
    pub own_write: bool,
    /// A set that another one was stored before is dropped, and not revoked.
    pub superseded_kept: bool,
    /// Each lease has a holder of its own.
    pub fresh_holder: bool,
    /// A lease is used, and a stored set is let go, once the store would not lose it with a machine.
    pub confirm: bool,
    /// What may still be sent is counted from before the row was read, as the lease's end is.
    pub gate_from_read: bool,
    /// Before a later presentation the row is read once more.
    pub recheck: bool,
    /// A newer set that is found after a refused presentation is tried before it counts as healthy.
    pub verify_newer: bool,
    /// A set that replaced a dead one while that was tried is tried, too.
    pub verify_follows: bool,
    /// "A request with this token is in work" is an unknown outcome, not a refusal that passes.
    pub in_progress_unknown: bool,
    /// A set that came for a connection that had ended is owed a revocation.
    pub owe_late: bool,
}

impl Rules {
    const ALL: Self = Self {
        keep_unknown: true,
        wait_for_death: true,
        verify_late: true,
        holder_only: true,
        quarantine: true,
        epoch: true,
        intent: true,
        no_cap: true,
        own_write: true,
        superseded_kept: true,
        fresh_holder: true,
        confirm: true,
        gate_from_read: true,
        recheck: true,
        verify_newer: true,
        verify_follows: true,
        in_progress_unknown: true,
        owe_late: true,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::ALL
    }
}
