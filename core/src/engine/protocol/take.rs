//! May a token be presented, and may it still?

use std::time::Duration;

use super::{Policy, Refresh, Row, Unresolved};
use crate::{
    connection::{GrantVersion, Reason, Status},
    engine::limits::COOLING_BELIEVED,
    provider::Rotation,
    time::{StoreInstant, Timestamp},
};

/// Somebody wants a newer token set than `seen`.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The set that is not good enough.
    pub seen: GrantVersion,
    /// Random, for this lease only.
    pub holder: u128,
    /// The store's time, read with the row.
    pub now: StoreInstant,
    /// Wall time.
    pub wall: Timestamp,
    /// The stored access token is known to be dead, or its end is near, or the refresh token's idle limit is.
    pub nothing_to_lose: bool,
}

/// What the one who asks may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The row has a newer set: adopt it.
    Newer,
    /// The row has an older set than was seen: the store was rolled back. Its token was spent and is not presented.
    Older,
    /// The connection is not connected.
    Ended,
    /// Refused for now; ask again after `until`.
    Cooling {
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// Another holder has the lease: wait and read again.
    Busy,
    /// The lease is mine already: my write was applied though its answer was lost.
    Mine,
    /// The outcome of a presentation is not known, and nothing may be presented before this time has passed.
    Quarantine {
        /// How long.
        wait: Duration,
    },
    /// The outcome is not known; the access token still lives, so nothing is risked.
    LetLive,
    /// Write this row first and look again: a moment on a clock that is gone was carried over to the present one.
    Rewrite(Row),
    /// Write this row; if that succeeds the lease is mine.
    Lease {
        /// The row to write.
        row: Row,
        /// How often the token will then have been presented.
        attempt: u32,
        /// What to restore if the lease is given back unspent.
        replaced: Refresh,
    },
}

/// What the row's refresh state is worth at `now`.
enum Reading {
    Free {
        unresolved: Option<Unresolved>,
    },
    Held {
        holder: u128,
    },
    Cooling {
        until: Timestamp,
        reason: Reason,
    },
    /// Of a clock that is gone.
    Foreign {
        attempt: u32,
    },
}

fn read(refresh: Refresh, now: StoreInstant, wall: Timestamp, policy: &Policy) -> Reading {
    match refresh {
        Refresh::Idle => Reading::Free { unresolved: None },
        Refresh::Leased {
            holder,
            until,
            attempt,
        } => match now.since(until) {
            None => Reading::Foreign { attempt },
            Some(_) if now.millis < until.millis => Reading::Held { holder },
            Some(_) => Reading::Free {
                unresolved: policy.rules.intent.then(|| lapsed(until, attempt, policy)),
            },
        },
        Refresh::Unknown { since, attempt } => match now.since(since) {
            None => Reading::Foreign { attempt },
            Some(_) => Reading::Free {
                unresolved: Some(Unresolved { since, attempt }),
            },
        },
        Refresh::Cooling { until, reason, .. } if cools(wall, until) => Reading::Cooling { until, reason },
        Refresh::Cooling { unresolved, .. } => match unresolved {
            Some(Unresolved { since, attempt }) if now.since(since).is_none() => Reading::Foreign { attempt },
            _ => Reading::Free { unresolved },
        },
    }
}

/// Whether it still cools. What would cool for longer than anything does was written by a clock that was wrong.
fn cools(wall: Timestamp, until: Timestamp) -> bool {
    wall < until && wall.until(until) <= COOLING_BELIEVED
}

/// A lapsed lease: its holder may have sent until the gate would have closed on it.
fn lapsed(until: StoreInstant, attempt: u32, policy: &Policy) -> Unresolved {
    let limit = u64::try_from(policy.time_limit.as_millis()).unwrap_or(u64::MAX);
    Unresolved {
        since: StoreInstant {
            millis: until.millis.saturating_sub(limit),
            ..until
        },
        attempt,
    }
}

/// May I present the row's refresh token?
pub fn take(row: &Row, claim: &Claim, policy: &Policy) -> Take {
    if row.version > claim.seen {
        return Take::Newer;
    }
    if row.version < claim.seen {
        return Take::Older;
    }
    if row.status != Status::Connected {
        return Take::Ended;
    }
    let unresolved = match read(row.refresh, claim.now, claim.wall, policy) {
        Reading::Held { holder } if holder == claim.holder => return Take::Mine,
        Reading::Held { .. } => return Take::Busy,
        Reading::Cooling { until, reason } => return Take::Cooling { until, reason },
        Reading::Foreign { attempt } => {
            return Take::Rewrite(Row {
                refresh: Refresh::Unknown {
                    since: claim.now,
                    attempt,
                },
                ..*row
            });
        }
        Reading::Free { unresolved } => unresolved,
    };
    let attempt = match unresolved {
        None => 1,
        Some(unresolved) => match after_unknown(unresolved, claim, policy) {
            Ok(attempt) => attempt,
            Err(wait) => return wait,
        },
    };
    let lease = Refresh::Leased {
        holder: claim.holder,
        until: claim.now.plus(policy.lease),
        attempt,
    };
    // What is restored must be as it reads now: a lapsed lease comes back as the unknown outcome that it stands for.
    let replaced = match (row.refresh, unresolved) {
        (Refresh::Leased { .. }, Some(Unresolved { since, attempt })) => Refresh::Unknown { since, attempt },
        (other, _) => other,
    };
    Take::Lease {
        row: Row {
            refresh: lease,
            ..*row
        },
        attempt,
        replaced,
    }
}

/// The attempt that may be made now after an unknown outcome, or what to do instead.
#[expect(
    clippy::result_large_err,
    reason = "both are the same decision, made once per refresh"
)]
fn after_unknown(unresolved: Unresolved, claim: &Claim, policy: &Policy) -> Result<u32, Take> {
    let passed = claim.now.since(unresolved.since).unwrap_or_default();
    let again = unresolved.attempt.saturating_add(1);
    match policy.rotation {
        Rotation::Reusable => return Ok(1),
        Rotation::Grace(grace) if passed < grace.saturating_sub(policy.time_limit) => return Ok(again),
        Rotation::Grace(_) | Rotation::Strict => {}
    }
    let quarantine = policy.quarantine_after(unresolved.attempt);
    if passed < quarantine && policy.rules.quarantine {
        return Err(Take::Quarantine {
            wait: quarantine.saturating_sub(passed),
        });
    }
    if !claim.nothing_to_lose && policy.rules.wait_for_death {
        return Err(Take::LetLive);
    }
    Ok(again)
}

/// May I still send? `passed` is counted on the boot clock from before the row was read that the lease was written
/// over: the lease's end is reckoned from the store's time that came with it.
pub fn may_still_send(passed: Duration, policy: &Policy) -> bool {
    passed < policy.gate && policy.lease.saturating_sub(passed) > policy.time_limit
}
