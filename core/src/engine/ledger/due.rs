//! When a connection needs background work: pure.

use std::time::Duration;

use super::record::Facts;
use crate::{
    connection::Status,
    engine::{
        limits::{IDLE_MARGIN, LAST_SECONDS, SWEEP_AT_ONCE},
        protocol::{Policy, Refresh, schedule::Window},
    },
    time::Timestamp,
};

/// What the broker does for unused connections.
///
/// # Cost
/// Every process reads the due rows of the store's index every 20 seconds. A refresh costs one request at the provider, two
/// durable writes and one row read, whatever triggers it. With [`KeepAlive::idle_limit`] an unused connection is refreshed
/// once in about half to three quarters of its idle limit (of 30 days: every 15 to 22 days). With
/// [`KeepAlive::access_tokens`] every connection is refreshed once in every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepAlive {
    /// Refresh tokens are used before the provider's idle limit ends them. On by default.
    pub idle_limit: bool,
    /// Access tokens are refreshed ahead of their end, so that no caller ever waits. Off by default.
    pub access_tokens: bool,
    /// How many of these requests, revocations included, one process has under way at one token host; 4 by default.
    /// Each takes a quarter of a second at the least, so that 4 are no more than 16 a second.
    pub at_once: u8,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle_limit: true,
            access_tokens: false,
            at_once: SWEEP_AT_ONCE,
        }
    }
}

impl KeepAlive {
    /// Whether refresh tokens are used before the provider's idle limit ends them.
    #[must_use]
    pub fn idle_limit(mut self, on: bool) -> Self {
        self.idle_limit = on;
        self
    }

    /// Whether access tokens are refreshed ahead of their end.
    #[must_use]
    pub fn access_tokens(mut self, on: bool) -> Self {
        self.access_tokens = on;
        self
    }

    /// How many requests one process has under way at one token host.
    #[must_use]
    pub fn at_once(mut self, requests: u8) -> Self {
        self.at_once = requests;
        self
    }
}

/// The settings that due times depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) keep_alive: KeepAlive,
    /// How much of an access token's life must be left when it is handed out.
    pub(crate) minimum: Duration,
    pub(crate) policy: Policy,
}

/// When a sweep should look at a row that is written `now`: to revoke what is owed, to resolve an unknown outcome, or to
/// keep the grant alive. `jitter` (0 to 255) moves it, so that connections of one day do not all come on one other day.
pub(super) fn due(facts: &Facts, jitter: u8, now: Timestamp, schedule: Schedule) -> Option<Timestamp> {
    let owed = facts.owed.iter().map(|o| o.next).min();
    // Every row has the due time of its idle limit, even if this process has keep-alive off.
    let keep_alive = KeepAlive {
        idle_limit: true,
        ..schedule.keep_alive
    };
    let refresh = refresh_due(
        facts,
        jitter,
        now,
        Schedule {
            keep_alive,
            ..schedule
        },
    );
    owed.into_iter().chain(refresh).min()
}

/// When it should be refreshed, if no caller does before.
pub(super) fn refresh_due(
    facts: &Facts,
    jitter: u8,
    now: Timestamp,
    schedule: Schedule,
) -> Option<Timestamp> {
    if facts.row.status != Status::Connected {
        return None;
    }
    // An unknown outcome is resolved once its quarantine is over and nothing that lives is risked.
    let policy = schedule.policy;
    let risked = facts.access_ends.before(LAST_SECONDS);
    let risked = facts
        .refresh_by
        .map_or(risked, |by| risked.min(by.before(IDLE_MARGIN)));
    let resolve = |from: Timestamp, attempt: u32| (from + policy.quarantine_after(attempt)).max(risked);
    match facts.row.refresh {
        Refresh::Idle => kept(facts, jitter, schedule),
        Refresh::Leased { attempt, .. } => Some(resolve(now + policy.lease, attempt)),
        Refresh::Unknown { attempt, .. } => Some(resolve(now, attempt)),
        Refresh::Cooling {
            until, unresolved, ..
        } => match unresolved {
            Some(unresolved) => Some(resolve(now, unresolved.attempt).max(until)),
            None => kept(facts, jitter, schedule).map(|at| at.max(until)),
        },
    }
}

fn kept(facts: &Facts, jitter: u8, schedule: Schedule) -> Option<Timestamp> {
    let Schedule {
        keep_alive, minimum, ..
    } = schedule;
    // Half of the idle limit, and up to a quarter of it more.
    let idle = facts.refresh_by.filter(|_| keep_alive.idle_limit).map(|by| {
        let limit = facts.obtained_at.until(by);
        facts.obtained_at + limit / 2 + limit / 1024 * u32::from(jitter)
    });
    let access = keep_alive
        .access_tokens
        .then(|| Window::new(facts.obtained_at, facts.access_ends, minimum, jitter).soft);
    idle.into_iter().chain(access).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connection::Reason,
        engine::{ledger::record::tests::record, protocol::Unresolved},
        provider::Rotation,
        time::StoreInstant,
    };

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn facts(refresh: Refresh) -> Facts {
        let mut facts = record().facts;
        facts.obtained_at = NOW;
        facts.access_ends = NOW + Duration::from_secs(7200);
        facts.refresh_by = Some(NOW + 30 * DAY);
        facts.row.refresh = refresh;
        facts
    }

    fn by(keep_alive: KeepAlive) -> Schedule {
        Schedule {
            keep_alive,
            minimum: Duration::from_secs(300),
            policy: Policy::new(Rotation::Strict),
        }
    }

    fn at(facts: &Facts, jitter: u8) -> Option<Timestamp> {
        due(facts, jitter, NOW, by(KeepAlive::default()))
    }

    #[test]
    fn an_idle_grant_is_used_between_half_and_three_quarters_of_its_limit() {
        let facts = facts(Refresh::Idle);
        assert_eq!(at(&facts, 0), Some(NOW + 15 * DAY));
        for jitter in 0..=255 {
            let due = at(&facts, jitter).unwrap();
            assert!(due >= NOW + 15 * DAY && due < NOW + 45 * DAY / 2, "{jitter}");
        }
        let off = KeepAlive {
            idle_limit: false,
            ..KeepAlive::default()
        };
        assert_eq!(due(&facts, 0, NOW, by(off)), Some(NOW + 15 * DAY), "for others");
        assert_eq!(refresh_due(&facts, 0, NOW, by(off)), None);
    }

    #[test]
    fn an_access_token_is_refreshed_ahead_of_its_end_where_wanted() {
        let keep = KeepAlive {
            access_tokens: true,
            ..KeepAlive::default()
        };
        let due = due(&facts(Refresh::Idle), 0, NOW, by(keep)).unwrap();
        assert_eq!(due, NOW + Duration::from_secs(7200 - 310));
    }

    #[test]
    fn an_unknown_outcome_is_resolved_when_the_access_token_ends() {
        let since = StoreInstant::default();
        let mut facts = facts(Refresh::Unknown { since, attempt: 1 });
        assert_eq!(at(&facts, 9), Some(NOW + Duration::from_secs(7170)));
        facts.access_ends = NOW;
        assert_eq!(
            at(&facts, 9),
            Some(NOW + Duration::from_secs(60)),
            "after the quarantine"
        );
        facts.row.refresh = Refresh::Leased {
            holder: 1,
            until: since,
            attempt: 1,
        };
        assert_eq!(
            at(&facts, 9),
            Some(NOW + Duration::from_secs(90)),
            "after the lease and the quarantine"
        );
        // The idle limit is near: waiting for the access token would cost the grant.
        facts.access_ends = NOW + 10 * DAY;
        facts.refresh_by = Some(NOW + 2 * DAY);
        facts.row.refresh = Refresh::Unknown { since, attempt: 1 };
        assert_eq!(at(&facts, 9), Some(NOW + DAY));
    }

    #[test]
    fn what_cools_is_asked_again_only_if_something_is_open() {
        let since = StoreInstant::default();
        let until = NOW + Duration::from_secs(3600);
        let cooling = |unresolved| Refresh::Cooling {
            until,
            failures: 1,
            reason: Reason::RateLimited,
            unresolved,
        };
        let mut facts = facts(cooling(None));
        assert_eq!(at(&facts, 0), Some(NOW + 15 * DAY));
        facts.row.refresh = cooling(Some(Unresolved { since, attempt: 1 }));
        facts.access_ends = NOW;
        assert_eq!(at(&facts, 0), Some(until));
    }

    #[test]
    fn what_has_ended_needs_nothing_but_its_revocations() {
        let mut facts = facts(Refresh::Idle);
        facts.row.status = Status::Revoked;
        assert_eq!(at(&facts, 0), None);
        let owed = crate::engine::ledger::record::Owed {
            version: facts.row.version,
            sealed: String::new(),
            failures: 0,
            next: NOW,
        };
        facts.owed.push(owed);
        assert_eq!(at(&facts, 0), Some(NOW));
    }
}
